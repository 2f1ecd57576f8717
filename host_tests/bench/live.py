"""Tells what lives on the heap of the gateway in the current folder, garbage collected: `live.py SECONDS`.

The line before the last is what micropython.qstr_info() says, the last one JSON, in bytes: {"start": the interpreter,
with asyncio and the stand-ins that it takes, "built": a gateway that does not run yet, "running": after SECONDS}.
"""

import asyncio
import gc
import json
import sys
from array import array

import micropython

live = array("I", [0] * 3)


def count(i):
    """Note what is allocated and not garbage."""
    gc.collect()
    live[i] = gc.mem_alloc()


async def _run(coroutine, seconds):
    count(1)
    asyncio.create_task(coroutine)
    await asyncio.sleep_ms(1000 * seconds)
    count(2)


count(0)
import caught  # noqa: E402

run = asyncio.run
caught.main(lambda coroutine: run(_run(coroutine, int(sys.argv[1]))))
micropython.qstr_info()
print(json.dumps({"start": live[0], "built": live[1], "running": live[2]}))
