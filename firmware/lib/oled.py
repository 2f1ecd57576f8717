"""OLED of 128 x 64 dots with an SH1106 or SSD1306, as eight lines of 16 characters.

    screen = Oled(spi_writer(spi, dc, cs), "sh1106")
    screen = Oled(i2c_writer(i2c, 0x3C), "ssd1306")
    screen.begin()
    screen.line(0, "METERS       7/8", True)            # white on black; True: black on white
    screen.power(True)

A line of text is one page of the controller's memory, eight dots high, so that one line is what is drawn and sent, 128
bytes: 3 ms at 400 kHz of I2C, where a whole screen would hold the loop for 25. Only what changed is sent.
Commands: Sino Wealth SH1106 V2.3, chapter "Commands"; Solomon Systech SSD1306 rev 1.5, 10.1. Both know the pages
(B0 to B7) and the column (00 to 1F); the SH1106 has 132 columns, of which the middle ones are wired.
"""
import framebuf

LINES = 8
WIDTH = 16  # characters
_DATA = 0x40
_BEGIN = (
    b"\xae"  # off
    b"\xd5\x80"  # clock: as it comes
    b"\xa8\x3f\xd3\x00\x40"  # 64 rows, from the first one on
    b"\xa1\xc8\xda\x12"  # as the modules are wired: the flat cable below
    b"\x81\x80\xd9\x22\xdb\x35"  # middle brightness, precharge and level of VCOM
    b"\xa4\xa6"  # what the memory says, not inverted
)
_KINDS = {  # the column of its memory in which the glass begins; its converter on, and memory by pages
    "sh1106": (2, b"\xad\x8b"),
    "ssd1306": (0, b"\x8d\x14\x20\x02"),
}


def spi_writer(spi, dc, cs):
    """Return write(kind, data) for `spi` with the pins D/C and CS; kind 0 is commands, 0x40 memory."""

    def write(kind, data):
        dc.value(1 if kind else 0)
        cs.value(0)
        try:
            spi.write(data)
        finally:
            cs.value(1)

    return write


def i2c_writer(i2c, address):
    """Return write(kind, data) for `i2c`; OSError when nobody answers."""
    kinds = {0: b"\x00", _DATA: b"\x40"}
    return lambda kind, data: i2c.writevto(address, (kinds[kind], data))


class Oled:
    """`write` as the writers above return it, `kind` of _KINDS. What fails is an OSError."""

    def __init__(self, write, kind):
        self._write = write
        self._first, self._own = _KINDS[kind]
        self._dots = bytearray(128)
        self._frame = framebuf.FrameBuffer(self._dots, 128, 8, framebuf.MONO_VLSB)
        self._shown = [None] * LINES

    def begin(self):
        """Set the controller up, dark: its memory came up with anything, so all lines are sent before it is lit."""
        self._write(0, _BEGIN + self._own)
        self._shown = [None] * LINES

    def power(self, on):
        """Light the screen, or not: it keeps what it shows."""
        self._write(0, b"\xaf" if on else b"\xae")

    def line(self, row, text, inverse=False):
        """Show `text`, of which the first 16 characters fit, in a row (0..7); return whether it had to be sent."""
        text = text[:WIDTH]
        if self._shown[row] == (text, inverse):
            return False
        self._shown[row] = None  # not known, when one of these fails
        self._frame.fill(1 if inverse else 0)
        self._frame.text(text, 0, 0, 0 if inverse else 1)
        first = self._first
        self._write(0, bytes((0xB0 | row, first & 15, 0x10 | first >> 4)))
        self._write(_DATA, self._dots)
        self._shown[row] = text, inverse
        return True
