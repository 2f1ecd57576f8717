"""Asks the configured NTP servers for the time and sets the clock; each step is an event.

A time is what most of the answers agree on. One that contradicts what the gateway knows (its clock within its bound, or
the last time that it wrote down) is believed when two servers say so, or one says so three times in a row.
"""
import asyncio

from micropython import const

from gateway import clock, log
from gateway.records import INFO, ONCE
from lib import ntp, once

_EVERY_S = const(3600)
_RETRY_S = const(30)
_STEP_MS = const(1000)  # a smaller correction is no event
_INSIST = const(3)  # rounds in which a server that is alone has to say what contradicts the clock


class TimeSync:
    """One task: `run(life)`."""

    def __init__(self, servers, now, recorder):
        self._servers = servers
        self._clock = now
        self._recorder = recorder
        self._doubts = 0  # rounds in a row that contradicted what is known

    async def run(self, life):
        """Keep the clock right, for ever."""
        while True:
            answers = []  # (unix ms at uptime 0, bound ms)
            for host in self._servers:
                life.beat()
                try:
                    unix_ms, bound_ms, ticks = await ntp.query(host)
                    answers.append((unix_ms - clock.uptime_at(ticks), bound_ms))
                except (OSError, ntp.NtpError) as error:
                    log.warn("clock", "%s: %s" % (host, error))
            synced = False
            try:
                synced = bool(answers) and self._take(*agreed(answers))
            except ValueError as error:
                log.warn("clock", str(error))
            for _ in range(_EVERY_S if synced else _RETRY_S):
                life.beat()
                await asyncio.sleep_ms(1000)

    def _take(self, start_ms, bound_ms, count):
        """Set the clock unless it knows better; return whether it is right now. `start_ms` is unix ms at uptime 0."""
        uptime = clock.uptime_ms()
        now = self._clock.at(uptime)
        unix_ms = start_ms + uptime
        if now:
            wrong = abs(unix_ms - now[0]) > bound_ms + now[1]
        else:
            wrong = unix_ms + bound_ms < once.call("gateway.setting", "written_ms", self._clock)
        if wrong and count < 2 and self._doubts < _INSIST - 1:
            self._doubts += 1
            log.warn("clock", "ntp says what cannot be: asked again")
            return False
        self._doubts = 0
        if now and self._clock.source >= clock.NTP and now[1] < bound_ms:
            return True
        moved = self._clock.set(unix_ms, clock.NTP, bound_ms)
        log.info("clock", "ntp, within %d ms" % bound_ms)
        if moved is None or abs(moved) >= _STEP_MS:
            self._recorder.event(0, "clock_set", INFO, ONCE, {"source": "ntp", "stepMs": moved or 0})
        return True


def agreed(answers):
    """Return (time, bound, how many agree) of the answers [(time, bound)]: what lies within most of their intervals.

    ValueError when no majority agrees. After K. Marzullo, "Maintaining the time in a distributed system" (1984).
    """
    best = 0
    for time, bound in answers:
        low = time - bound
        inside = [other for other in answers if other[0] - other[1] <= low <= other[0] + other[1]]
        if len(inside) > best:
            best = len(inside)
            high = min([other[0] + other[1] for other in inside])
            found = (low + high) // 2, (high - low + 1) // 2, best
    if 2 * best <= len(answers):
        raise ValueError("the servers disagree")
    return found
