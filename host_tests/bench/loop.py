"""Runs the gateway of the current folder and times each step of each of its tasks: `loop.py SECONDS`.

A step is what a task does between two awaits that let others run: one `send` of its coroutine. So every coroutine that
becomes a task is wrapped, and the scheduler stays the interpreter's own. CPU time is that of the interpreter's
`time.clock`, which counts whole milliseconds: a step took less than its difference + 1 ms, and not more than its wall
time. The smaller of the two is noted.

The last line of the output is JSON: {"tasks": [[name, steps, longest in us, cpu in ms]], "gap_ms"}.
"""

import sys

_path = sys.path
sys.path = ()  # the board's own `time` has no `clock`, as the chip's
from time import clock, ticks_diff, ticks_us  # noqa: E402

sys.path = _path
sys.modules.pop("time", None)

import asyncio  # noqa: E402
import json  # noqa: E402
from array import array  # noqa: E402

from ticker import ticker, worst  # noqa: E402

import boot  # noqa: E402, F401  sets when garbage is collected, as on the chip

tasks = {}  # name: [steps, longest in us, cpu in ms]
gaps = array("I", [0] * 1000)
_next = ["main"]  # the name of the task that is made next
_create_task = asyncio.create_task


class Timed:
    """A coroutine, to the scheduler. Each step is noted under the task's name."""

    def __init__(self, coroutine, name):
        self._coroutine = coroutine
        self._row = tasks.setdefault(name, [0, 0, 0])

    def send(self, value):
        """Do a step."""
        cpu, wall = clock(), ticks_us()
        try:
            return self._coroutine.send(value)
        finally:
            self._note(cpu, wall)

    def throw(self, error):
        """Do a step that begins with an exception: a cancelled task's."""
        cpu, wall = clock(), ticks_us()
        try:
            return self._coroutine.throw(error)
        finally:
            self._note(cpu, wall)

    def _note(self, cpu, wall):
        wall = ticks_diff(ticks_us(), wall)
        cpu = round((clock() - cpu) * 1000)
        row = self._row
        row[0] += 1
        row[1] = max(row[1], min(wall, 1000 * (cpu + 1)))
        row[2] += cpu


def create_task(coroutine):
    """Take the place of asyncio's own."""
    name = _next[0] or str(coroutine).split("'")[1]
    _next[0] = None
    return _create_task(Timed(coroutine, name))


asyncio.create_task = asyncio.core.create_task = create_task

import caught  # noqa: E402

from gateway import health  # noqa: E402

_keep = health.Health.keep


def keep(self, name, start, limit_ms):
    """Let a supervised task be named as its supervisor does."""
    _next[0] = name
    _keep(self, name, start, limit_ms)


health.Health.keep = keep


async def _run(coroutine, seconds):
    _next[0] = "ticker"
    asyncio.create_task(ticker(gaps))
    _next[0] = "health"
    asyncio.create_task(coroutine)
    await asyncio.sleep_ms(1000 * seconds)


run = asyncio.run
caught.main(lambda coroutine: run(_run(coroutine, int(sys.argv[1]))))
rows = [[name] + tasks[name] for name in sorted(tasks)]
print(json.dumps({"tasks": rows, "gap_ms": worst(gaps)}))
