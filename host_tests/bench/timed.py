"""Times each step of each task: import it before what makes tasks.

A step is what a task does between two awaits that let others run: one `send` of its coroutine. So every coroutine that
becomes a task is wrapped, and the scheduler stays the interpreter's own. CPU time is that of the interpreter's
`time.clock`, which counts whole milliseconds: a step took less than its difference + 1 ms, and not more than its wall
time. The smaller of the two is noted.
"""

import sys

_path = sys.path
sys.path = ()  # the board's own `time` has no `clock`, as the chip's
from time import clock, ticks_diff, ticks_us  # noqa: E402

sys.path = _path
sys.modules.pop("time", None)

import asyncio  # noqa: E402

tasks = {}  # name: [steps, longest in us, cpu in ms]
name = ["main"]  # of the task that is made next; None: that of its function
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
    called = name[0] or str(coroutine).split("'")[1]
    name[0] = None
    return _create_task(Timed(coroutine, called))


asyncio.create_task = asyncio.core.create_task = create_task
