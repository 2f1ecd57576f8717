"""An OLED's controller behind SPI or I2C: what it was sent becomes dots, and the dots are read as text again.

It takes commands one by one as the data sheets say, counts the bytes that each of them wants, and refuses those of the
other kind. `text()` is what somebody would read.
"""
import framebuf

WANTS = {0x81: 1, 0xA8: 1, 0xD3: 1, 0xD5: 1, 0xD9: 1, 0xDA: 1, 0xDB: 1}
PLAIN = [0x40, 0xA0, 0xA1, 0xA4, 0xA5, 0xA6, 0xA7, 0xAE, 0xAF, 0xC0, 0xC8] + list(range(0xB0, 0xB8)) + list(range(0x20))
OWN = {"sh1106": {0xAD: 1}, "ssd1306": {0x20: 1, 0x8D: 1, 0x21: 2, 0x22: 2}}


def _glyphs():
    dots = bytearray(8)
    frame = framebuf.FrameBuffer(dots, 8, 8, framebuf.MONO_VLSB)
    found = {}
    for code in range(32, 127):
        frame.fill(0)
        frame.text(chr(code), 0, 0, 1)
        found.setdefault(bytes(dots), chr(code))
    return found


class Controller:
    """`kind` sh1106 (132 columns, glass from 2 on) or ssd1306 (128). `sent`: bytes by what they were."""

    def __init__(self, kind):
        self.kind = kind
        self.columns, self.first = (132, 2) if kind == "sh1106" else (128, 0)
        self.memory = bytearray(b"\xa5" * (8 * self.columns))  # it comes up with anything
        self.page = self.column = 0
        self.lit = self.pumped = False
        self.by_page = kind == "sh1106"
        self.sent = {"command": 0, "data": 0}

    def commands(self, data):
        self.sent["command"] += len(data)
        at = 0
        while at < len(data):
            code = data[at]
            wants = WANTS.get(code, OWN[self.kind].get(code, 0))
            assert wants or code in PLAIN, "command 0x%02x is not known to an %s" % (code, self.kind)
            more = data[at + 1 : at + 1 + wants]
            assert len(more) == wants, "command 0x%02x ends too early" % code
            at += 1 + wants
            if 0xB0 <= code <= 0xB7:
                self.page = code & 7
            elif code <= 0x0F:
                self.column = self.column & 0xF0 | code
            elif code <= 0x1F:
                self.column = self.column & 0x0F | (code & 15) << 4
            elif code in (0xAE, 0xAF):
                self.lit = code == 0xAF
            elif code == 0xA8:
                assert more == b"\x3f", "64 rows"
            elif code in (0xAD, 0x8D):
                self.pumped = more in (b"\x8b", b"\x14")
            elif code == 0x20:
                self.by_page = more == b"\x02"

    def data(self, data):
        self.sent["data"] += len(data)
        assert self.by_page, "the SSD1306 would go on in the next page"
        for byte in data:
            assert self.column < self.columns, "beyond the last column"
            self.memory[self.page * self.columns + self.column] = byte
            self.column += 1

    def text(self):
        """Return the eight lines on the glass, right ends cut; [] when it is dark."""
        if not (self.lit and self.pumped):
            return []
        glyphs = _glyphs()
        lines = []
        for page in range(8):
            row = self.memory[page * self.columns + self.first :][:128]
            if sum([byte >> bit & 1 for byte in row for bit in range(8)]) > 512:  # black on white
                row = bytes([255 - byte for byte in row])
            lines.append("".join([glyphs.get(bytes(row[at : at + 8]), "?") for at in range(0, 128, 8)]).rstrip())
        return lines


class Line:
    """An output."""

    level = 1

    def value(self, level=None):
        if level is None:
            return self.level
        self.level = level


class SPI:
    """The bus; `pins` are the D/C and CS of the one device."""

    def __init__(self, controller, dc, cs):
        self.controller, self.dc, self.cs = controller, dc, cs

    def write(self, data):
        assert self.cs.value() == 0, "not selected"
        (self.controller.data if self.dc.value() else self.controller.commands)(bytes(data))


class I2C:
    """The bus; after `left` transfers nobody answers any more."""

    def __init__(self, controller, address=0x3C):
        self.controller, self.address = controller, address
        self.left = 1 << 30

    def writevto(self, address, parts):
        self.left -= 1
        if address != self.address or self.left < 0:
            raise OSError(19)
        first, rest = parts
        assert len(first) == 1 and first[0] in (0, 0x40)
        (self.controller.data if first[0] else self.controller.commands)(bytes(rest))
