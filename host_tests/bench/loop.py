"""Runs the gateway of the current folder and times each step of each of its tasks (timed.py): `loop.py SECONDS`.

The last line of the output is JSON: {"tasks": [[name, steps, longest in us, cpu in ms]], "gap_ms"}.
"""

import timed  # first: it wraps what becomes a task

# isort: split
import asyncio
import json
import sys
from array import array

import caught
from ticker import ticker, worst

import boot  # noqa: F401  sets when garbage is collected, as on the chip
from gateway import health

gaps = array("I", [0] * 1000)
_keep = health.Health.keep


def keep(self, name, start, limit_ms):
    """Let a supervised task be named as its supervisor does."""
    timed.name[0] = name
    _keep(self, name, start, limit_ms)


health.Health.keep = keep


async def _run(coroutine, seconds):
    timed.name[0] = "ticker"
    asyncio.create_task(ticker(gaps))
    timed.name[0] = "health"
    asyncio.create_task(coroutine)
    await asyncio.sleep_ms(1000 * seconds)


run = asyncio.run
caught.main(lambda coroutine: run(_run(coroutine, int(sys.argv[1]))))
rows = [[name] + timed.tasks[name] for name in sorted(timed.tasks)]
print(json.dumps({"tasks": rows, "gap_ms": worst(gaps)}))
