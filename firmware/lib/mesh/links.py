"""Neighbours, and how good the link to each is: ETX, times 100, from acknowledged sends and from missed beacons.

The radio repeats a frame by itself and tells nobody, so a poor link looks like a good one until it breaks: what it is
heard with, in dBm, counts too (cost below).
"""

from micropython import const

from lib.mesh.frames import NEVER
from lib.mesh.ticks import diff, later

NEIGHBOURS = const(24)
STALE_MS = const(420000)  # 3.5 waves of beacons
_UNKNOWN = const(200)  # ETX x 100 of a link that was not tried
_BROKEN = const(600)
_SENDS = const(5)  # in a sample
_WEIGHT = const(5)  # of so many samples one is as heavy as
_BEACON_WEIGHT = const(15)  # the same of samples by one beacon
DEAD = const(4)
_WEAK_DBM = const(-86)
_PER_DB = const(20)
_STRONGER_DB = const(5)  # so much stronger, and a newcomer takes a neighbour's place
_PENALTY = const(300)
_PENALTY_MOST = const(1500)


class Neighbour:
    """Another member whose frames are heard, what its last beacon said, and how frames to it fare."""

    def __init__(self, ident, rssi, now):
        self.id = ident
        self.heard = now
        self.level = rssi * 16  # dBm x 16, averaged
        self.root = 0  # of its last beacon, with seqno, cost, hops, parent, flags; 0: none was heard
        self.seqno = 0
        self.cost = NEVER
        self.least = NEVER  # the least cost that it has advertised with this seqno
        self.hops = 0
        self.parent = 0
        self.flags = 0
        self.advanced = now  # when its root's seqno moved on last
        self.etx = _UNKNOWN
        self.fails = 0  # sends in a row that were not acknowledged; from DEAD on it is left alone until its next beacon
        self.penalty = 0  # for acknowledging what never arrived
        self.silent = 0  # time-outs since something last came back by this way
        self._sends = 0  # of the window: tried << 4 | acknowledged
        self._beacon = -1  # number of its last one

    def hear(self, rssi, now):
        """Note that a frame was heard."""
        self.heard = now
        self.level += (rssi * 16 - self.level) // 4

    def link(self):
        """Return the cost of the link, ETX x 100 and more."""
        weak = max(0, _WEAK_DBM * 16 - self.level)
        return self.etx + self.penalty + (weak * _PER_DB >> 4)

    def sent(self, ok):
        """Note the fate of a frame that was sent there."""
        self._sends += 0x11 if ok else 0x10
        self.fails = 0 if ok else self.fails + 1
        if self.fails == DEAD - 1:
            self._sample(_BROKEN, _WEIGHT)
        if self._sends >> 4 == _SENDS:
            acked = self._sends & 15
            self._sample(100 * _SENDS // acked if acked else _BROKEN, _WEIGHT)
            self._sends = 0

    def counted(self, number):
        """Note the number of a beacon that was broadcast, 0..255."""
        step = number - self._beacon & 255
        if self._beacon >= 0 and 0 < step <= 16:  # else it is the first, or the sender has begun anew
            self._sample(100 * step, _BEACON_WEIGHT)
        self._beacon = number

    def _sample(self, etx, weight):
        self.etx = (self.etx * (weight - 1) + etx) // weight

    def unanswered(self):
        """Note an end-to-end time-out of what this neighbour acknowledged; return whether it now counts as dearer."""
        self.silent += 1
        if self.silent < 2:
            return False
        self.silent = 0
        self.penalty = min(_PENALTY_MOST, self.penalty + _PENALTY)
        return True

    def answered(self):
        """Note that something came back: what is sent this way arrives."""
        self.silent = self.penalty = 0


class Links:
    """The neighbours, at most 24. Whoever is not among them is heard all the same, but never a parent."""

    def __init__(self):
        self.all = []

    def get(self, ident):
        """Return a neighbour, or None."""
        for one in self.all:
            if one.id == ident:
                return one
        return None

    def hear(self, ident, rssi, now, keep):
        """Return the neighbour whose frame was heard, None when the table is full of better ones; `keep` stays."""
        one = self.get(ident)
        if one:
            one.hear(rssi, now)
            return one
        if len(self.all) == NEIGHBOURS:
            worst = None
            for one in self.all:
                if one is keep:
                    continue
                if diff(now, one.heard) > STALE_MS:
                    worst = one
                    break
                if worst is None or one.level < worst.level:
                    worst = one
            if diff(now, worst.heard) <= STALE_MS and rssi * 16 < worst.level + _STRONGER_DB * 16:
                return None
            self.all.remove(worst)
        one = Neighbour(ident, rssi, now)
        self.all.append(one)
        return one

    def age(self, now, keep):
        """Forget who was not heard for 3.5 waves, and forgive a little; to be called once a minute."""
        for i in range(len(self.all) - 1, -1, -1):
            one = self.all[i]
            if one is not keep and diff(now, one.heard) > STALE_MS:
                del self.all[i]
                continue
            one.penalty = max(0, one.penalty - 50)
            if diff(now, one.advanced) > 2 * STALE_MS:
                one.advanced = later(now, -2 * STALE_MS)  # ticks wrap
