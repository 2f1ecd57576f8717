"""Parts of the chip as a test wants them: a Pin that others drive, an ADC, a Timer, a board.json, a boot."""
import json
import os
import sys

import machine
import micropython


def describe(**parts):
    """Let the board of this test have `parts` and nothing else; its description stands before the desktop's."""
    try:
        os.mkdir("board")
    except OSError:
        pass
    with open("board/board.json", "w") as file:
        json.dump(dict({"name": "test", "uarts": [], "flash": {"journal": 65536}}, **parts), file)
    if "board" not in sys.path:
        sys.path.insert(0, "board")


class ADC:
    """As the ESP32's at 11 dB: nothing above 3.1 V is told apart. `mv` is what lies at each pin."""

    ATTN_11DB = 3
    mv = {}

    def __init__(self, pin, atten=0):
        assert atten == self.ATTN_11DB, "else it ends at about 1 V"
        self._pin = pin

    def read_uv(self):
        return min(self.mv[repr(self._pin)], 3100) * 1000


class Timer:
    """Never fires by itself; `all` are those that run."""

    ONE_SHOT, PERIODIC = 0, 1
    all = {}

    def __init__(self, id):
        if not 0 <= id < 4:
            raise ValueError("invalid Timer number")
        self.id = id

    def init(self, *, mode=PERIODIC, callback=None, period=-1):
        self.all[self.id] = mode, period, callback

    def deinit(self):
        self.all.pop(self.id, None)


class Pin(machine.Pin):
    """An input that the test drives; its interrupt runs as a soft one does: after the line has moved, or never."""

    IRQ_FALLING, IRQ_RISING = 2, 1
    level = None
    deaf = False  # the interrupt is lost, as when eight wait to be run
    _handler = None
    _edges = 0

    def value(self, level=None):
        return super().value(level) if level is not None or self.level is None else self.level

    __call__ = value

    def irq(self, handler=None, trigger=3):
        assert self._mode == self.IN, "of an input"
        self._handler, self._edges = handler, trigger

    def drive(self, level):
        before, self.level = self.value(), level
        edge = self.IRQ_FALLING if before > level else self.IRQ_RISING if level > before else 0
        if self._handler and self._edges & edge and not self.deaf:
            micropython.schedule(self._handler, self)


machine.ADC = ADC
machine.Pin = Pin
machine.Timer = Timer


def boot(cause):
    """Run boot.py as a chip does after a reset with this cause; return what `safe` says."""
    machine.reset_cause = lambda: cause
    sys.modules.pop("boot", None)
    import boot as ran

    return ran.safe
