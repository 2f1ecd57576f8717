"""lib/oled on a model of both controllers, over SPI and I2C: what is written is what is read on the glass."""
from fake_oled import I2C, SPI, Controller, Line
from lib.oled import LINES, Oled, i2c_writer, spi_writer

WASM = True


def made(kind, bus):
    chip = Controller(kind)
    if bus == "spi":
        dc, cs = Line(), Line()
        write = spi_writer(SPI(chip, dc, cs), dc, cs)
    else:
        write = i2c_writer(I2C(chip), 0x3C)
    screen = Oled(write, kind)
    screen.begin()
    assert chip.text() == [], "what the memory came up with is not shown"
    for row in range(LINES):
        screen.line(row, "")
    screen.power(True)
    return chip, screen


ALL = [(kind, bus) for kind in ("sh1106", "ssd1306") for bus in ("spi", "i2c")]


def test_it_comes_up_lit_and_empty():
    for kind, bus in ALL:
        chip, _ = made(kind, bus)
        assert chip.text() == [""] * LINES, (kind, bus, chip.text())


def test_lines_are_read_where_they_were_written_both_ways_round():
    for kind, bus in ALL:
        chip, screen = made(kind, bus)
        screen.line(0, "METERS       7/8", True)
        screen.line(3, "SN-1 230.1V ok")
        screen.line(7, "0123456789abcdefgh")  # what does not fit is cut off
        assert chip.text() == ["METERS       7/8", "", "", "SN-1 230.1V ok", "", "", "", "0123456789abcdef"]


def test_one_line_is_one_short_transfer_and_what_is_there_is_not_sent_again():
    chip, screen = made("sh1106", "spi")
    chip.sent = {"command": 0, "data": 0}
    assert screen.line(2, "clock ok")
    assert chip.sent == {"command": 3, "data": 128}
    assert not screen.line(2, "clock ok")
    assert chip.sent == {"command": 3, "data": 128}
    assert screen.line(2, "clock ok", True)


def test_the_screen_goes_dark_and_comes_back_with_what_it_showed():
    chip, screen = made("sh1106", "i2c")
    screen.line(1, "journal")
    screen.power(False)
    assert chip.text() == []
    screen.power(True)
    assert chip.text()[1] == "journal"


def test_a_line_that_could_not_be_sent_is_sent_again():
    chip = Controller("ssd1306")
    bus = I2C(chip)
    screen = Oled(i2c_writer(bus, 0x3C), "ssd1306")
    screen.begin()
    for row in range(LINES):
        screen.line(row, "")
    screen.power(True)
    for left in (0, 1):
        bus.left = left
        try:
            screen.line(4, "text %d" % left)
            raise AssertionError("it was sent")
        except OSError:
            pass
        bus.left = 100
        assert screen.line(4, "text %d" % left) and chip.text()[4] == "text %d" % left


def test_nobody_at_the_address_is_an_error():
    screen = Oled(i2c_writer(I2C(Controller("ssd1306")), 0x3D), "ssd1306")
    try:
        screen.begin()
        raise AssertionError("begun")
    except OSError as error:
        assert error.errno == 19
