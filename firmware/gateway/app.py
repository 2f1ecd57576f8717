"""Starts the gateway and ends it.

What is not configured is not imported, and what is needed at start only (gateway/build, gateway/tasks) is forgotten
after it.
"""
import asyncio
import gc

import machine

from gateway import log
from gateway.health import WATCHDOG_MS, Health
from lib import once


class Gateway:
    """Everything that one configuration describes; `run` starts it. `report_ms`: from one report to the next."""

    def __init__(self, conf, secrets, problems):
        from gateway import build

        made = build.parts(conf, secrets, problems)
        self.clock, self.journal, self.recorder, self.buses, self.outlets, self.archive = made
        build.tell(self.recorder)
        self.report_ms = conf["health"]["every"] * 1000
        password = secrets.get("network", {}).get("wifi", {}).get("password")
        self._start = conf["clock"]["ntp"], conf["network"], password

    async def run(self):
        """Start every task and supervise them; never returns."""
        self.health = Health(machine.WDT(timeout=WATCHDOG_MS))
        once.call("gateway.tasks", "start", self, *self._start)
        self._start = None
        await self.health.run()


def _made():
    """Return the Gateway of the configuration in force, or None; nothing of the start stays behind."""
    from gateway import build

    conf, secrets, problems = build.configuration()
    gc.collect()
    gateway = Gateway(conf, secrets, problems) if conf else None
    for name in ("gateway.build", "gateway.parsed", "gateway.ids", "gateway.data", "lib.twin"):
        once.forget(name)
    return gateway


def main():
    """Run the gateway until the board is reset, or until the console says Ctrl-C."""
    gateway = None
    try:
        gateway = _made()
        gc.collect()
        if gateway:
            asyncio.run(gateway.run())
        else:
            log.error("config", "no valid configuration: nothing to run")
    except KeyboardInterrupt:
        if gateway:
            from gateway.closing import close

            asyncio.run(close(gateway))
