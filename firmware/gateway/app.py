"""Starts the gateway and ends it: one supervised task for each bus, each outlet, the recorder, network and time.

What is not configured is not imported, and what is needed at start only (gateway/build) is forgotten after it.
"""
import asyncio
import gc

import machine
from micropython import const

from gateway import log
from gateway.health import WATCHDOG_MS, Health
from lib import once

_BUS_LIMIT_MS = const(20000)  # the longest that a task may show no life; the watchdog bites WATCHDOG_MS later
_UPLINK_LIMIT_MS = const(60000)
_TASK_LIMIT_MS = const(10000)


class Gateway:
    """Everything that one configuration describes; `run` starts it."""

    def __init__(self, conf, secrets, problems):
        from gateway import build

        made = build.parts(conf, secrets, problems)
        self.clock, self.journal, self.recorder, self.buses, self.outlets, self._archive = made
        self._ntp = conf["clock"]["ntp"]
        self._network = conf["network"]
        self._password = secrets.get("network", {}).get("wifi", {}).get("password")

    async def run(self):
        """Start every task and supervise them; never returns."""
        self.health = health = Health(machine.WDT(timeout=WATCHDOG_MS))
        health.keep("recorder", self.recorder.run, _TASK_LIMIT_MS)
        for bus in self.buses:
            health.keep(bus.name, bus.run, _BUS_LIMIT_MS)
        for outlet in self.outlets:
            health.keep("link " + outlet.name, outlet.link, _UPLINK_LIMIT_MS)
            health.keep("uplink " + outlet.name, outlet.run, _UPLINK_LIMIT_MS)
        if self._archive:
            health.keep("archive", self._archive.run, _TASK_LIMIT_MS)
        if self._network:
            once.call("gateway.ways", "start", self, self._network, self._password)
        if self._ntp:
            from gateway.timesync import TimeSync

            health.keep("clock", TimeSync(self._ntp, self.clock, self.recorder).run, _BUS_LIMIT_MS)
        await health.run()


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
