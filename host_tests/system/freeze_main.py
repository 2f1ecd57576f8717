"""Runs the real gateway inside MicroPython with one task frozen after a while: what does the watchdog get?

    FREEZE="bus 0" micropython freeze_main.py       prints `fed MS` for each feeding, `frozen MS`, `limit MS`

All limits are a tenth of what the firmware says. A frozen task is one whose next sleep never ends.
"""

import asyncio
import os

import machine

from gateway import app, health
from gateway.clock import uptime_ms

SCALE = 10
FREEZE_MS = 3000
WATCH_MS = 500  # the observation goes on for the limit and this long
victim = os.getenv("FREEZE")
tasks = []
state = {"frozen": False}


class Watchdog:
    def __init__(self, timeout):
        assert timeout == health.WATCHDOG_MS

    def feed(self):
        print("fed", uptime_ms())


machine.WDT = Watchdog
health.TICK_MS //= SCALE
keep, sleep_ms = health.Health.keep, asyncio.sleep_ms


async def sleep_or_freeze(ms):
    if state["frozen"] and asyncio.current_task() in tasks:
        print("frozen", uptime_ms())
        asyncio.create_task(end())
        await asyncio.Event().wait()
    await sleep_ms(ms)


def keep_and_mark(self, name, start, limit_ms):
    if name == victim:

        async def marked(life):
            tasks.append(asyncio.current_task())
            await start(life)

        asyncio.create_task(freeze(limit_ms // SCALE))
        keep(self, name, marked, limit_ms // SCALE)
    else:
        keep(self, name, start, limit_ms // SCALE)


async def freeze(limit_ms):
    print("limit", limit_ms)
    state["limit"] = limit_ms
    await sleep_ms(FREEZE_MS)
    state["frozen"] = True


async def end():
    await sleep_ms(state["limit"] + health.TICK_MS + WATCH_MS)
    raise SystemExit("end of watch")


asyncio.sleep_ms = sleep_or_freeze
health.Health.keep = keep_and_mark
app.main()
