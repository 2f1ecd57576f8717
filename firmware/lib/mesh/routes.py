"""The way to a root: the neighbour whose cost, and the link to it, come to least; never one that leads back here.

A route carries its root's sequence number, which the root alone moves on, once a wave. The feasibility distance of a
root is the best (seqno, cost) that this node has ever advertised: a neighbour that advertises better than that cannot
have it from here, so following it makes no loop (RFC 8966, 2.4 and 3.5.1). A neighbour's own distance never gets worse
while the number stands, so one that advertised better once may be followed although it has become dearer since: along
any path these distances fall strictly. Where nobody is better, a newer sequence number is asked for (3.8.1.2). The
numbers are compared as serial numbers of 16 bits (RFC 1982).
"""

from micropython import const

from lib.mesh.frames import HOPS, NEVER
from lib.mesh.links import DEAD, STALE_MS, Links
from lib.mesh.ticks import diff

_SWITCH = const(150)  # so much better, ETX x 100, and the parent is changed
_DEARER = const(400)  # one that was better is followed until it is so much dearer: then its root is gone
_DOUBT = const(300)  # so much dearer is a root whose way was lost; doubled each time it is lost again
_DOUBT_MOST = const(9600)
LOST = const(8)  # sends in a row that fail before a parent is given up for nobody
_ROOTS = const(8)  # whose feasibility distance is kept


def newer(a, b):
    """Return whether sequence number `a` comes after `b`."""
    return 0 < (a - b & 0xFFFF) < 0x8000


class Routes:
    """At a root `parent` stays None and `root` is the node itself; elsewhere `root` is 0 while there is no route."""

    def __init__(self, me, is_root):
        self.me = me
        self.links = Links()
        self.parent = None
        self.is_root = is_root
        self.root = me if is_root else 0
        self.own = 0  # a root's sequence number
        self.load = 0  # what a root adds to its cost: it is busy, or its uplink is down
        self._doubt = None  # [root, seqno, cost]: parents that led to it were lost, nothing newer was heard of it since
        self._sought = 0  # cost by the neighbour who was asked for a newer seqno last
        self._floors = []  # [root, seqno, cost], the one used last at the end

    def seqno(self):
        """Return the sequence number of the route."""
        return self.own if self.is_root else self.parent.seqno if self.parent else 0

    def cost(self):
        """Return what is advertised: the cost from here to the root, 65535 without a route."""
        if self.is_root:
            return self.load
        return min(self.parent.cost + self.parent.link(), NEVER) if self.parent else NEVER

    def hops(self):
        """Return how many hops away the root is, 255 without a route."""
        return 0 if self.is_root else self.parent.hops + 1 if self.parent else 255

    def advertised(self):
        """Note that the route is being advertised: from now on only better ones are followed."""
        cost = self.cost()
        if self.is_root or cost == NEVER:
            return
        seqno = self.parent.seqno
        floor = self._floor(self.root)
        if floor:
            self._floors.remove(floor)
            if newer(seqno, floor[1]) or cost < floor[2]:
                floor[1] = seqno
                floor[2] = cost
        else:
            floor = [self.root, seqno, cost]
            if len(self._floors) == _ROOTS:
                del self._floors[0]
        self._floors.append(floor)

    def _floor(self, root):
        for floor in self._floors:
            if floor[0] == root:
                return floor
        return None

    def newest(self, root):
        """Return the newest sequence number of a root that was ever advertised from here, -1 when none was."""
        floor = self._floor(root)
        return floor[1] if floor else -1

    def feasible(self, one):
        """Return whether what a neighbour advertises cannot come from here."""
        floor = self._floor(one.root)
        if not floor or newer(one.seqno, floor[1]):
            return True
        return one.seqno == floor[1] and one.least < floor[2] and one.cost < floor[2] + _DEARER

    def usable(self, one, now, fails=DEAD):
        """Return whether a neighbour has a route that is alive, not too long, and does not lead through here."""
        return (
            one.root
            and one.fails < fails
            and one.cost + one.link() < NEVER
            and one.hops < HOPS
            and one.parent != self.me
            and diff(now, one.advanced) <= STALE_MS
        )

    def select(self, now):
        """Choose the parent; return whether it is another one than before."""
        if self.is_root:
            return False
        before = best = self.parent
        if before and not (self.usable(before, now) and self.feasible(before)):
            best = None
            self._lost()
        least = self._dear(best) - (0 if best.penalty else _SWITCH) if best else 2 * NEVER
        for one in self.links.all:
            if one is not before and self.usable(one, now):
                cost = self._dear(one)
                if cost < least and self.feasible(one):
                    best = one
                    least = cost
        if before and not best and self.usable(before, now, LOST) and self.feasible(before):
            return False  # a poor way is better than none
        self.parent = best
        self.root = best.root if best else 0
        return best is not before

    def _lost(self):
        """The parent is lost: the next one that leads to this root, and knows nothing newer, may lead nowhere."""
        floor = self._floor(self.root)
        if floor:
            before = self._doubt
            again = before and before[0] == floor[0] and not newer(floor[1], before[1])
            cost = min(2 * before[2], _DOUBT_MOST) if again else _DOUBT
            self._doubt = [floor[0], floor[1], cost]

    def _dear(self, one):
        """Return the cost by this neighbour, as it is compared."""
        doubt = self._doubt
        cost = one.cost + one.link()
        return cost + doubt[2] if doubt and one.root == doubt[0] and not newer(one.seqno, doubt[1]) else cost

    def wanted(self, now):
        """Return (neighbour, root, seqno) to ask for a newer sequence number; None when nobody has a route at all.

        Each time it is the next dearer one, at the end the cheapest again: behind the cheapest may be what was lost.
        """
        best = None
        least = 4 * NEVER
        for one in self.links.all:
            if self.usable(one, now) and not self.feasible(one):
                cost = one.cost + one.link()
                again = cost + (2 * NEVER if cost <= self._sought else 0)
                if again < least:
                    best = one
                    least = again
        self._sought = least % (2 * NEVER)
        return (best, best.root, self._floor(best.root)[1] + 1 & 0xFFFF) if best else None
