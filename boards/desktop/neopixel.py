"""Stands in for the library `neopixel` that the stock firmware has: `shown` is what the LEDs show, [(r, g, b)]."""


class NeoPixel:
    """LEDs at a pin: what is set counts with write()."""

    def __init__(self, pin, n, bpp=3, timing=1):
        self.n = n
        self.pin = pin
        self._rows = [(0,) * bpp] * n
        self.shown = None
        pin.init(pin.OUT)

    def __setitem__(self, i, value):
        self._rows[i] = tuple([part & 255 for part in value])

    def __getitem__(self, i):
        return self._rows[i]

    def write(self):
        """Send what was set to the LEDs."""
        self.shown = list(self._rows)
