"""The light: one code at a time, on an RGB LED (WS2812) with a colour, on a plain LED by the number of its flashes.

    lamp = Lamp(board["led"])
    lamp.show(SAFE)                 # at once, and it stays
    lamp.step(codes)                # every 200 ms: the codes that hold, told one after the other

What the codes mean to who stands before the board: docs/panel.md.
"""
import machine
from micropython import const

STARTING, WELL, UPLINK, METER, CLOCK, SAFE = range(6)
_FLASHES = const(b"\0\1\2\3\4\0")  # of each code; 0: steady
_COLOURS = (6, 6, 6), (0, 12, 0), (12, 8, 0), (16, 0, 0), (0, 0, 16), (12, 0, 12)  # dim: a pole is dark at night
_ROUND = const(20)  # steps in which one code is told


class Lamp:
    """The LED of a row `led` of the board; `on`: whether it shines now."""

    def __init__(self, row):
        pin = machine.Pin(row["pin"], machine.Pin.OUT)
        self._pixel = None
        if row["kind"] == "ws2812":
            from neopixel import NeoPixel

            self._pixel = NeoPixel(pin, 1)
        self._pin = pin
        self._low = row.get("activeLow", False)
        self._count = 0
        self._code = STARTING
        self.on = None
        self.show(STARTING)

    def show(self, code, on=True):
        """Show a code's light, or none."""
        if self._pixel:
            self._pixel[0] = _COLOURS[code] if on else (0, 0, 0)
            self._pixel.write()
        else:
            self._pin.value(on != self._low)
        self.on = on

    def step(self, codes):
        """Go on by 200 ms; `codes` are those that hold now, WELL when there is none."""
        at = self._count % _ROUND
        if at == 0:
            codes = codes or (WELL,)
            self._code = codes[self._count // _ROUND % len(codes)]
        flashes = _FLASHES[self._code]
        on = not flashes or at & 1 == 0 and at < 2 * flashes
        if on != self.on or at == 0:
            self.show(self._code, on)
        self._count += 1
