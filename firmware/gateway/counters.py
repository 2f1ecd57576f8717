"""Judges one energy register from its last value to the next: it only grows, and no faster than the meter can carry.

    counter = Counter(-3, 90000)            # units of 0.001 kWh, 90 kW at most
    counter.take(1842510, uptime_ms)        # OK, ROLLBACK or JUMP

Nothing is altered: a value that does not follow from the last good one is reported, and counts from then on if the next
one follows from it. So a single wrong reading is reported once, and the right ones after it are right.
"""
from micropython import const

OK, ROLLBACK, JUMP = range(3)
_WMS = const(3600000000)  # W x ms in a kWh
_STILL_MS = const(900000)  # a counter that has not moved for so long, and should have
_STEPS = const(4)  # moved so many times
_GAP_MS = const(3600000)  # of two readings further apart it is not known what was between them


class Counter:
    """`value` is the last good one, None before the first; `at` its uptime in ms, None for one of an earlier boot."""

    def __init__(self, exponent, watts):
        self.unit = 10 ** max(0, -exponent)  # of these make a kWh; one with a coarser step than that counts as 1 kWh
        self._watts = watts
        self._last = self._load = 0  # of `frozen`: instant and power of its last call
        self.forget()

    def forget(self):
        """Begin anew, as with another meter: the next value is taken as it comes."""
        self.value = self.at = None
        self._odd = self._odd_at = None
        self._seen = None  # of `frozen`: the last value
        self._step = self.unit

    def take(self, value, at):
        """Return OK when `value` at the uptime `at` is plausible, else ROLLBACK or JUMP; alike at the same instant."""
        kind = self._judge(self.value, self.at, value, at)
        if kind and (self._odd is None or at == self._odd_at or self._judge(self._odd, self._odd_at, value, at)):
            self._odd, self._odd_at = value, at
            return kind
        self.value, self.at, self._odd = value, at, None
        return OK

    def _judge(self, before, since, value, at):
        if before is None or before <= value and since is None:
            return OK
        if value < before:
            return ROLLBACK
        # one kWh more than the meter can carry: the coarsest step in which counters count
        return JUMP if value - before > self._watts * (at - since) * self.unit // _WMS + self.unit else OK

    def frozen(self, value, at, watts):
        """Return whether the register stands still under load: `watts` is the power of now, None when not known.

        That is: not moved for 15 minutes in which it should have moved by four times its smallest step so far; before
        it has moved that step is 1 kWh.
        """
        if value != self._seen:
            if self._seen is not None and value > self._seen:
                self._step = min(self._step, value - self._seen)
            self._seen = value
            self._since, self._due = at, 0
        elif watts and self._load and at - self._last <= _GAP_MS:
            self._due += min(watts, self._load) * (at - self._last)
        self._last, self._load = at, max(0, watts or 0)
        return at - self._since >= _STILL_MS and self._due * self.unit >= _STEPS * self._step * _WMS
