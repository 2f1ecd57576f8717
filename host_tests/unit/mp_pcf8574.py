"""lib/pcf8574 on a model of the chip: quasi-bidirectional lines, reversed order, active low, and what goes wrong."""
from errno import EIO, ENODEV

from lib.pcf8574 import PCF8574

WASM = True
REVERSED = (7, 6, 5, 4, 3, 2, 1, 0)


class Chip:
    """One PCF8574 at `at`. `pulled`: lines that something outside holds low; `left` transfers, then a dead bus."""

    def __init__(self, at=0x27):
        self.at = at
        self.latch = 255  # at power-on
        self.pulled = 0
        self.left = 1000
        self.written = []

    def _use(self, at):
        self.left -= 1
        if at != self.at or self.left < 0:
            raise OSError(ENODEV)

    def readfrom(self, at, n):
        self._use(at)
        return bytes([self.latch & ~self.pulled] * n)

    def writeto(self, at, data):
        self._use(at)
        self.latch = data[-1]
        self.written.append(self.latch)
        return len(data)


def refused(errno, call, *given):
    try:
        call(*given)
    except OSError as error:
        assert error.errno == errno, error
    else:
        raise AssertionError("not refused")


def test_relay_1_is_bit_7_and_on_is_low():
    chip = Chip()
    bank = PCF8574(chip, (0x27,), REVERSED, True)
    for line in range(1, 9):
        bank.switch(line, True)
        assert chip.latch == 255 & ~(1 << (8 - line)) and bank.on(line)
        bank.switch(line, False)
        assert chip.latch == 255 and not bank.on(line)


def test_in_plain_order_and_active_high():
    chip = Chip()
    chip.latch = 0
    bank = PCF8574(chip, (0x27,), range(8), False)
    bank.switch(3, True)
    assert chip.latch == 4 and [bank.on(line) for line in range(1, 9)] == [i == 2 for i in range(8)]


def test_either_address_is_found_and_none_is_an_error():
    assert PCF8574(Chip(0x3F), (0x27, 0x3F), REVERSED, True).at == 0x3F
    assert PCF8574(Chip(0x27), (0x27, 0x3F), REVERSED, True).at == 0x27
    refused(ENODEV, PCF8574, Chip(0x20), (0x27, 0x3F), REVERSED, True)


def test_a_restart_of_the_processor_moves_no_relay_and_knows_their_state():
    chip = Chip()
    PCF8574(chip, (0x27,), REVERSED, True).switch(2, True)
    before = list(chip.written)
    again = PCF8574(chip, (0x27,), REVERSED, True)
    assert chip.written == before and again.on(2) and not again.on(1)
    again.switch(5, True)
    assert again.on(2) and again.on(5)


def test_a_line_that_does_not_follow_is_an_error():
    chip = Chip()
    bank = PCF8574(chip, (0x27,), REVERSED, True)
    chip.pulled = 1 << 7
    refused(EIO, bank.switch, 1, False)
    chip.pulled = 0
    bank.switch(1, False)


def test_a_line_that_is_held_low_is_not_switched_on_by_switching_another():
    chip = Chip()
    bank = PCF8574(chip, (0x27,), REVERSED, True)
    chip.pulled = 1 << 6
    bank.switch(1, True)
    chip.pulled = 0
    assert bank.on(1) and not bank.on(2)


def test_lines_that_are_not_ours_stay_inputs_whatever_their_level():
    chip = Chip()
    bank = PCF8574(chip, (0x27,), (7, 6), True)
    chip.pulled = 0x15
    bank.switch(1, True)
    bank.switch(2, False)
    assert chip.latch == 0x7F


def test_a_bus_that_dies_is_an_error_at_each_step():
    for left in range(2):
        chip = Chip()
        bank = PCF8574(chip, (0x27,), REVERSED, True)
        chip.left = left
        refused(ENODEV, bank.switch, 1, True)
