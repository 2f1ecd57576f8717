"""Keeps the tasks alive and the watchdog honest.

A task that dies is logged, counted and started again. Each task shows life of its own by calling `life.beat()`; the
watchdog is fed only while every task did so within its limit, so that one hung task resets the board:

    health = Health(machine.WDT(timeout=WATCHDOG_MS))
    health.keep("bus 0", lambda life: bus.run(life), limit_ms=20000)
    await health.run()
"""
import asyncio
import gc
import time

from gateway import log

WATCHDOG_MS = 30000  # above the longest step that cannot be cut up: a TLS handshake, a scan, a DNS lookup
TICK_MS = 1000
RESTART_MS = 1000, 60000  # first pause before a dead task starts again, and the longest


class Life:
    """The sign of life of one task. `deaths` counts how often it had to be started again."""

    def __init__(self, name, limit_ms):
        self.name = name
        self.limit_ms = limit_ms
        self.deaths = 0
        self.beat()

    def beat(self):
        """Say that the task is alive now."""
        self.at = time.ticks_ms()

    def late(self):
        """Return whether the last sign of life is longer ago than the limit."""
        return time.ticks_diff(time.ticks_ms(), self.at) > self.limit_ms


class Health:
    """Supervises tasks and feeds `watchdog` (anything with `feed()`)."""

    def __init__(self, watchdog):
        self._watchdog = watchdog
        self.lives = []

    def keep(self, name, start, limit_ms):
        """Run the coroutine `start(life)` for ever, again whenever it ends; needs a running loop."""
        life = Life(name, limit_ms)
        self.lives.append(life)
        asyncio.create_task(self._keep(life, start))

    async def _keep(self, life, start):
        pause = RESTART_MS[0]
        while True:
            began = time.ticks_ms()
            try:
                await start(life)
                log.error(life.name, "ended")
            except Exception as error:
                log.error(life.name, "died: %r" % error)
                gc.collect()
            life.deaths += 1
            if time.ticks_diff(time.ticks_ms(), began) > RESTART_MS[1]:
                pause = RESTART_MS[0]
            until = time.ticks_add(time.ticks_ms(), pause)
            while time.ticks_diff(until, time.ticks_ms()) > 0:
                life.beat()
                await asyncio.sleep_ms(min(pause, 1000))
            pause = min(2 * pause, RESTART_MS[1])

    async def run(self):
        """Feed the watchdog while all tasks live. The first task that is late is named in the log, once."""
        named = None
        while True:
            late = [life for life in self.lives if life.late()]
            if not late:
                self._watchdog.feed()
                named = None
            elif named is not late[0]:
                named = late[0]
                log.error("health", "%s shows no life: the watchdog is not fed" % named.name)
            await asyncio.sleep_ms(TICK_MS)
