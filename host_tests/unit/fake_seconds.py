"""A clock that stands still until it is told to go: for tasks that sleep by asyncio.sleep_ms.

    seconds.start(module, ...)      `time` of the modules, the gateway's uptime and asyncio.sleep_ms are its own now
    await seconds.go(30)            lets 30 seconds pass; every task wakes at its time, in order
"""
import asyncio
import time

from gateway import clock

_sleep_ms = asyncio.sleep_ms
_TURNS = 3  # of the loop until a task that woke sleeps again


class Time:
    """What a module sees of `time`."""

    ticks_diff = time.ticks_diff

    def ticks_ms(self):
        return _now


_now = 0
_sleepers = []


def now_ms():
    """Return the time in ms since start()."""
    return _now


async def _sleep(ms):
    event = asyncio.Event()
    _sleepers.append((_now + ms, event))
    await event.wait()


def start(*modules):
    """Take over."""
    asyncio.sleep_ms = _sleep
    clock.uptime_ms = now_ms
    for module in modules:
        module.time = Time()


async def go(s):
    """Let `s` seconds pass."""
    global _now
    end = _now + s * 1000
    while True:
        for _ in range(_TURNS):
            await _sleep_ms(0)
        due = [at for at, _ in _sleepers if at <= end]
        if not due:
            _now = end
            return
        _now = min(due)
        for sleeper in [one for one in _sleepers if one[0] == _now]:
            _sleepers.remove(sleeper)
            sleeper[1].set()
