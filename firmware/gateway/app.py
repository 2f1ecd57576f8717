"""Starts the gateway and ends it.

What is not configured is not imported, and what is needed at start only (gateway/build, gateway/tasks) is forgotten
after it.
"""
import asyncio
import gc

import esp32
import machine

from gateway import log
from gateway.health import WATCHDOG_MS, Health
from lib import once


class Gateway:
    """Everything that one configuration describes, as gateway/build makes it; `run` starts it.

    clock, journal, recorder, buses, outlets, archive, mesh    the parts; the last two may be None
    report_ms                                                  from one report to the next
    """

    _start: tuple = ()  # what gateway/tasks has to know beside it

    async def run(self):
        """Start every task and supervise them; never returns."""
        self.health = Health(machine.WDT(timeout=WATCHDOG_MS))
        once.call("gateway.tasks", "start", self, *self._start)
        self._start = None
        await self.health.run()


def main():
    """Run the gateway until the console says Ctrl-C. When it fails the board is reset; boot.py counts that."""
    gateway = None
    try:
        from gateway import build

        gateway = build.gateway(Gateway)
        build = None
        once.forget("gateway.build")
        gc.collect()
        if gateway:
            asyncio.run(gateway.run())
        else:
            log.error("config", "no valid configuration: nothing to run")
            once.call("gateway.epoch", "lasted", esp32.NVS("gw"))
    except KeyboardInterrupt:
        once.call("gateway.epoch", "lasted", esp32.NVS("gw"))
        if gateway:
            from gateway.closing import close

            asyncio.run(close(gateway))
    except Exception as error:
        log.error("app", "failed: %r" % error)
        machine.reset()
