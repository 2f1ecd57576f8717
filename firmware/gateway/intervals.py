"""Minimum, average and maximum of what a meter measures, on the quarter hours of the clock.

    stage = Intervals(recorder, now, 900)                   # stands before the recorder, one for each bus
    stage.add(slot, schema, every, layout, picks)
    stage.reading(uptime_ms, slot, schema, values)          # goes on to the recorder as it is

What belongs to an interval are the readings whose instant lies in it. The record of an interval bears the instant of
its end, and says in its first column how many seconds it covers. Nothing outlives a reboot, so the first interval of a
boot covers what is left of it.
"""
from micropython import const

from gateway import clock
from lib import fixed

_STEP_MS = const(1000)  # what moves the clock further is a step, and cuts the interval
_LEAST_MS = const(1000)  # what covers less is no interval
_MISSED = const(3)  # periods without a reading are not covered


class _Tally:
    """The open interval of one layout of one meter; `end` is its end in unix ms, None when none is open."""

    def __init__(self, slot, schema, picks, limit_ms):
        self.slot = slot
        self.schema = schema
        self.picks = picks
        self.limit = limit_ms
        self.end = None
        self.at = None  # uptime ms of the last reading
        self.offset = 0  # unix ms at uptime 0, as of the last reading


class Intervals:
    """A recorder before the recorder; `span` in s divides a day."""

    def __init__(self, recorder, now, span):
        self._recorder = recorder
        self.lost = recorder.lost
        self.event = recorder.event
        self._clock = now
        self._span = span * 1000
        self._tallies = {}

    def add(self, slot, schema, every, layout, picks):
        """Have the columns `picks` (bytes) of the readings of `slot` in `schema` counted; they come each `every` s.

        `layout` is the schema of the record: the seconds, then minimum, average and maximum of each pick.
        """
        self._tallies[slot << 16 | schema] = _Tally(slot, layout, picks, _MISSED * every * 1000)

    def reading(self, uptime_ms, slot, schema, values, suspect=0):
        """Count a reading, behind the interval that it ends, and hand it on."""
        tally = self._tallies.get(slot << 16 | schema)
        if tally:
            self._take(tally, uptime_ms, values, suspect)
        self._recorder.reading(uptime_ms, slot, schema, values, suspect)

    def commit(self):
        """Store the intervals that have ended, also those of silent meters, and commit."""
        uptime_ms = clock.uptime_ms()
        for tally in self._tallies.values():
            self._over(tally, uptime_ms)
        self._recorder.commit()

    def _over(self, tally, uptime_ms):
        """Close the interval when it has ended before `uptime_ms`, or was cut by a step; return the UTC of `uptime_ms`.

        None before the time is known.
        """
        now = self._clock.at(uptime_ms)
        if now is None:
            return None
        offset = now[0] - uptime_ms
        if tally.end is not None:
            if abs(offset - tally.offset) > _STEP_MS:
                self._close(tally, tally.at)
                tally.at = None
            elif now[0] >= tally.end:
                end = tally.end - offset
                end += tally.end - self._clock.at(end)[0]  # the clock may be on its way to a correction
                self._close(tally, end)
        tally.offset = offset
        return now[0]

    def _take(self, tally, uptime_ms, values, suspect):
        unix_ms = self._over(tally, uptime_ms)
        if unix_ms is None:
            return
        if tally.end is None:
            tally.end = unix_ms - unix_ms % self._span + self._span
            tally.covered = tally.suspect = 0
            tally.counts = [0] * len(tally.picks)
            tally.sums = tally.counts[:]
            tally.least = [None] * len(tally.picks)
            tally.most = tally.least[:]
        if tally.at is not None and uptime_ms - tally.at <= tally.limit:
            begin = tally.end - self._span - tally.offset
            tally.covered += uptime_ms - max(tally.at, begin)
        tally.at = uptime_ms
        for j, i in enumerate(tally.picks):
            value = values[i]
            if value is None:
                continue
            if not tally.counts[j]:
                tally.least[j] = tally.most[j] = value
            tally.least[j] = min(tally.least[j], value)
            tally.most[j] = max(tally.most[j], value)
            tally.sums[j] += value
            tally.counts[j] += 1
            if suspect >> i & 1:
                tally.suspect |= 7 << 3 * j + 1

    def _close(self, tally, uptime_ms):
        """Store what the interval has, as of `uptime_ms`, its end; what covers too little is dropped."""
        if uptime_ms - tally.at <= tally.limit:
            tally.covered += uptime_ms - tally.at
        tally.end = None
        if tally.covered < _LEAST_MS:
            return
        whole = tally.covered > self._span - _STEP_MS  # corrections of the clock cut nothing
        values = [(self._span if whole else tally.covered) // 1000]
        for j, count in enumerate(tally.counts):
            mean = fixed.ratio(tally.sums[j], count) if count else None
            values.extend((tally.least[j], mean, tally.most[j]))
        self._recorder.reading(uptime_ms, tally.slot, tally.schema, values, tally.suspect)
