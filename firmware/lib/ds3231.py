"""The DS3231, a battery-backed clock on I2C. Sections and tables: Maxim's data sheet, rev 10.

    rtc = DS3231(machine.I2C(0, sda=14, scl=20))
    rtc.datetime()          # as machine.RTC's; None when it stopped since it was set, or does not answer
"""
from micropython import const

PPM = 5  # 3.5 from -40 to 85 degrees, and 1 a year of ageing ("Electrical Characteristics")
GRAIN_MS = 2000  # seconds are read whole, and begin when they are written
_ADDRESS = const(0x68)
_STATUS = const(0x0F)
_STOPPED = const(0x80)  # OSF: the oscillator stood still since the bit was cleared ("Status Register")
_CENTURY = const(0x80)  # of the month; set here from 2100 on, which nothing in it needs
_HOURS12 = const(0x40)


def _number(bcd, low, high):
    """Return the number of a BCD byte; ValueError when it is none from `low` to `high`."""
    number = (bcd >> 4) * 10 + (bcd & 15)
    if bcd & 15 > 9 or not low <= number <= high:
        raise ValueError("not a time")
    return number


def _bcd(number):
    return number // 10 << 4 | number % 10


class DS3231:
    """The clock on this bus. `datetime` as machine.RTC has it, in UTC, whole seconds."""

    def __init__(self, i2c):
        self._i2c = i2c

    def datetime(self, fields=None):
        """Return (year, month, day, weekday, hour, minute, second, 0) or None when it cannot be trusted; or set it.

        A clock that does not answer is not set, and says so by None the next time that it is read.
        """
        try:
            return self._write(fields) if fields else self._read()
        except (OSError, ValueError):
            return None

    def _read(self):
        if self._i2c.readfrom_mem(_ADDRESS, _STATUS, 1)[0] & _STOPPED:
            return None
        second, minute, hour, weekday, day, month, year = self._i2c.readfrom_mem(_ADDRESS, 0, 7)
        if hour & _HOURS12 or month & _CENTURY:  # not set by us
            return None
        return (
            2000 + _number(year, 0, 99), _number(month, 1, 12), _number(day, 1, 31), (weekday - 1) & 7,
            _number(hour, 0, 23), _number(minute, 0, 59), _number(second, 0, 59), 0,
        )  # fmt: skip

    def _write(self, fields):
        """The stop flag is cleared last: a cut in between leaves a clock that is not believed."""
        year, month, day, weekday, hour, minute, second, _ = fields
        packed = [_bcd(n) for n in (second, minute, hour)] + [weekday % 7 + 1]
        self._i2c.writeto_mem(_ADDRESS, 0, bytes(packed + [_bcd(n) for n in (day, month, year - 2000)]))
        status = self._i2c.readfrom_mem(_ADDRESS, _STATUS, 1)[0]
        self._i2c.writeto_mem(_ADDRESS, _STATUS, bytes((status & ~_STOPPED,)))
