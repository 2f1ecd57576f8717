"""Asks the configured NTP servers for the time, in turn, and sets the clock; each change is an event."""
import asyncio

from micropython import const

from gateway import clock, log
from gateway.records import INFO, ONCE
from lib import ntp

_EVERY_S = const(3600)
_RETRY_S = const(30)
_STEP_MS = const(1000)  # a smaller correction is no event


class TimeSync:
    """One task: `run(life)`."""

    def __init__(self, servers, now, recorder):
        self._servers = servers
        self._clock = now
        self._recorder = recorder

    async def run(self, life):
        """Keep the clock right, for ever."""
        turn = 0
        while True:
            synced = False
            host = self._servers[turn % len(self._servers)]
            try:
                synced = self._take(*await ntp.query(host))
            except (OSError, ntp.NtpError, ValueError) as error:
                log.warn("clock", "%s: %s" % (host, error))
            turn += 1
            for _ in range(_EVERY_S if synced else _RETRY_S):
                life.beat()
                await asyncio.sleep_ms(1000)

    def _take(self, unix_ms, bound_ms, ticks):
        """Set the clock unless it knows better; return True."""
        at = clock.uptime_at(ticks)
        now = self._clock.now()
        if now is not None and self._clock.source in (clock.NTP, clock.GPS) and now[1] < bound_ms:
            return True
        moved = self._clock.set(unix_ms + clock.uptime_ms() - at, clock.NTP, bound_ms)
        log.info("clock", "ntp, within %d ms" % bound_ms)
        if moved is None or abs(moved) >= _STEP_MS:
            self._recorder.event(0, "clock_set", INFO, ONCE, {"source": "ntp", "stepMs": moved or 0})
        return True
