"""lib/ds3231 on a register model of the chip: BCD, the stop flag, a cut between any two transfers."""
from lib.ds3231 import DS3231

WASM = True


class I2C:
    """The DS3231's registers 0 to 0x12; `left` transfers work, then the bus is dead."""

    def __init__(self):
        self.registers = bytearray(0x13)
        self.registers[0x0F] = 0x88  # after power-on: stopped before, 32 kHz output on
        self.left = 100000

    def _use(self, address, at, n):
        self.left -= 1
        if self.left < 0 or address != 0x68:
            raise OSError(19)
        assert at + n <= len(self.registers)

    def readfrom_mem(self, address, at, n):
        self._use(address, at, n)
        return bytes(self.registers[at : at + n])

    def writeto_mem(self, address, at, data):
        self._use(address, at, len(data))
        if at <= 0x0F < at + len(data):
            data = bytearray(data)
            data[0x0F - at] &= self.registers[0x0F] | 0x7F  # the stop flag can only be cleared
        self.registers[at : at + len(data)] = data


TIME = (2026, 6, 22, 0, 14, 30, 59, 0)


def test_a_clock_that_stopped_is_not_believed_until_it_is_set():
    rtc = DS3231(I2C())
    assert rtc.datetime() is None
    rtc.datetime(TIME)
    assert rtc.datetime() == TIME


def test_the_registers_are_those_of_the_data_sheet():
    i2c = I2C()
    DS3231(i2c).datetime(TIME)
    assert bytes(i2c.registers[:7]) == b"\x59\x30\x14\x01\x22\x06\x26"
    assert i2c.registers[0x0F] == 0x08  # the stop flag is clear, the rest as it was


def test_every_second_of_a_leap_day_and_every_day_of_a_year_come_back():
    i2c = I2C()
    rtc = DS3231(i2c)
    days = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    for month in range(12):
        for day in range(1, days[month] + 1):
            time = (2028, month + 1, day, 3, day % 24, month, day, 0)
            rtc.datetime(time)
            assert rtc.datetime() == time


def test_a_cut_while_it_is_set_leaves_a_clock_that_is_not_believed():
    for left in range(3):
        i2c = I2C()
        i2c.left = left
        DS3231(i2c).datetime(TIME)
        i2c.left = 1000
        assert DS3231(i2c).datetime() is None
    i2c = I2C()
    i2c.left = 3
    DS3231(i2c).datetime(TIME)
    i2c.left = 1000
    assert DS3231(i2c).datetime() == TIME


def test_no_chip_and_registers_that_are_no_time_give_nothing():
    i2c = I2C()
    rtc = DS3231(i2c)
    rtc.datetime(TIME)
    bad = (0, 0x60), (1, 0x7A), (2, 0x24), (2, 0x52), (4, 0x00), (4, 0x32), (5, 0x13), (5, 0x86), (6, 0xA0)
    for at, value in bad:
        kept, i2c.registers[at] = i2c.registers[at], value
        assert rtc.datetime() is None, (at, value)
        i2c.registers[at] = kept
    i2c.left = 0
    assert rtc.datetime() is None
    rtc.datetime(TIME)  # raises nothing
