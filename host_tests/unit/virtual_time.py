"""Virtual time: asyncio's clock only moves when every task sleeps.

    import virtual_time                     # before anything of the gateway
    virtual_time.passed = lambda ms: ...    # called with the time since the beginning, each time it has moved

asyncio asks two things of its surroundings: the time, and to wait until a task is due. Both are its globals, in the
frozen module too. What the queue of tasks pushes without a time it stamps with the real clock, so virtual time begins
far above that: such a task is due at once.
"""
import sys
import time as real
from asyncio import core

_BEGIN_MS = 1 << 45
_IDLE_MS = 1000  # that pass when no task is due ever

now_ms = _BEGIN_MS


class Time:
    """The module `time` of all that is imported from now on."""

    def __getattr__(self, name):
        return getattr(real, name)

    def ticks_ms(self):
        return now_ms

    def ticks_us(self):
        return now_ms * 1000


class Waiting:
    """Takes the place of asyncio's poll."""

    def wait_io_event(self, ms):
        global now_ms
        now_ms += _IDLE_MS if ms < 0 else ms
        passed(now_ms - _BEGIN_MS)


def passed(ms):
    """Nothing else lives in this time, unless somebody takes the place of this function."""


core.ticks = lambda: now_ms
core._io_queue = Waiting()
sys.modules["time"] = Time()
