"""The line that says that the supply fails: what is measured is committed before the board's reserve is used up.

    await Power(board["powerFail"], gateway).run(life)

On the failing edge, in this order: the event, the commit of all that is pending, the outlets' cursors. Then nothing is
written until the line recovers or the reserve must be used up: the loop is held, so that no erase is in its middle when
the voltage goes. A line that stays low for longer tells of a battery that carries the board, which then goes on.
"""
import asyncio
import time

import machine
from micropython import const

from gateway import clock, log
from gateway.records import ALARM, CLEAR, INFO, SET

_LOOK_MS = const(1000)  # an interrupt may be lost: the line is looked at all the same
_GOOD_MS = const(3000)  # a supply that comes and goes is one failure
_HOLD_MS = const(10)


class Power:
    """One task: `run(life)`. `row`: the board's `powerFail`. `failing`: since which uptime in ms, or None."""

    def __init__(self, row, gateway):
        self._fails = 0 if row.get("activeLow") else 1
        self._hold_ms = row.get("holdMs", 500)
        self._gateway = gateway
        self._edge = asyncio.ThreadSafeFlag()
        self.failing = None
        # Both edges; the handler runs soft, out of the main loop, and does nothing but wake the task.
        edges = machine.Pin.IRQ_FALLING | machine.Pin.IRQ_RISING
        self._pin = machine.Pin(row["pin"], machine.Pin.IN)
        self._pin.irq(lambda pin: self._edge.set(), edges)

    async def run(self, life):
        """Watch the line, for ever."""
        good = None  # since when the line says so while it counts as failing, in ticks
        while True:
            life.beat()
            now = time.ticks_ms()
            if self._pin.value() == self._fails:
                if self.failing is None or good is not None:
                    self._fail()
                good = None
            elif self.failing is not None:
                if good is None:
                    good = now
                elif time.ticks_diff(now, good) >= _GOOD_MS:
                    self._restore(time.ticks_diff(now, good))
                    good = None
            try:
                await asyncio.wait_for_ms(self._edge.wait(), _LOOK_MS)
            except asyncio.TimeoutError:
                pass

    def _fail(self):
        """Store what there is, and stand still while the line is low and the reserve lasts."""
        began = time.ticks_ms()
        recorder = self._gateway.recorder
        if self.failing is None:
            self.failing = clock.uptime_ms()
            recorder.event(0, "power_fail", ALARM, SET, {})
        recorder.commit()
        mesh = self._gateway.mesh
        for one in self._gateway.outlets + ([mesh] if mesh else []):
            try:
                one.keep(True)
            except OSError:
                pass
        took = time.ticks_diff(time.ticks_ms(), began)
        while self._pin.value() == self._fails and time.ticks_diff(time.ticks_ms(), began) < self._hold_ms:
            time.sleep_ms(_HOLD_MS)  # rule: the supply is going, and nothing may be written any more
        log.warn("power", "fails; what was pending was stored in %d ms" % took)

    def _restore(self, good):
        ms = clock.uptime_ms() - self.failing - good
        self.failing = None
        self._gateway.recorder.event(0, "power_restore", INFO, CLEAR, {"ms": ms})
        log.info("power", "is back after %d ms" % ms)
