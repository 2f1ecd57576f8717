"""Buttons: one at a pin, or several at one ADC pin through resistors; debounced, with short and long presses.

    read = ladder(machine.ADC(machine.Pin(1)), {"idle": 3300, "a": 1650, "b": 2760})
    button = Button(read)
    press = button.step(time.ticks_ms())        # every 20 to 50 ms: None, or ("a", False), True for a long one

No interrupts: an ADC has none, and who looks 20 times a second misses no finger.
"""
import time

from micropython import const

_MOST_MV = const(3100)  # an ESP32's ADC with 11 dB reads no more (data sheet of the S3, 4.5.2)
_LONG_MS = const(1000)


def pin(line):
    """Return a reader of a button between `line`, a Pin with its pull-up, and ground."""
    return lambda: "" if line.value() else "a"


def ladder(adc, levels):
    """Return a reader of the buttons at `adc`: the name of the nearest of `levels` {name: mV}, "" for `idle`."""

    def read():
        mv = adc.read_uv() // 1000
        name = min(levels, key=lambda name: abs(min(levels[name], _MOST_MV) - mv))
        return "" if name == "idle" else name

    return read


class Button:
    """Presses of what `read()` names."""

    def __init__(self, read):
        self._read = read
        self._last = ""  # read once, not yet believed
        self.held = ""  # read twice in a row
        self._since = None  # ticks; None when its press was told already

    def step(self, now):
        """Return (name, long) of a press at `now` (ticks in ms): a short one when it ends, a long one after 1 s."""
        name = self._read()
        if name != self._last:
            self._last = name
            return None
        before = self.held
        if name == before:
            if name and self._since is not None and time.ticks_diff(now, self._since) >= _LONG_MS:
                self._since = None
                return name, True
            return None
        self.held = name
        told = self._since is None
        self._since = now if name else None
        return (before, False) if before and not told else None
