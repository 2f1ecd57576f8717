"""Runs the gateway of the current folder for a second and tells which modules it imported.

The last line of the output is JSON: {"order": names in the order in which their import was complete,
"kept": those that are still there}.
"""

import asyncio
import builtins
import json
import sys

_import = builtins.__import__
_outside = set(sys.modules)
_loading = []  # names whose import has begun
order = []


def _noted(name, *args):
    _loading.append(name)
    module = _import(name, *args)
    _loading.pop()
    for new in sorted(set(sys.modules) - _outside):
        if new not in order and new not in _loading:
            order.append(new)
    return module


async def _second(coroutine):
    asyncio.create_task(coroutine)
    await asyncio.sleep_ms(1000)


builtins.__import__ = _noted
import caught  # noqa: E402

run = asyncio.run
caught.main(lambda coroutine: run(_second(coroutine)))
print(json.dumps({"order": order, "kept": [name for name in order if name in sys.modules]}))
