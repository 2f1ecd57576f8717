"""Beacons: when they go, what they say, and what follows from a neighbour's.

Every 120 s a root moves its sequence number on and the wave runs outward: who gets the new one from its parent passes
it on, and once more ten seconds later. Between waves only what is wrong is told at once, each time after twice as
long a pause as before.
"""

from struct import pack_into, unpack_from

from micropython import const

from lib.mesh import counts
from lib.mesh.frames import BEACON_BODY, BODY, BUSY, LACKS, MIC, NEVER, OFF, PULL, ROOT, TIMED, UPLINK
from lib.mesh.links import DEAD
from lib.mesh.nettime import NEVER as TIMELESS
from lib.mesh.queue import LONG
from lib.mesh.routes import newer
from lib.mesh.ticks import diff, later

_WAVE_MS = const(120000)
_SECOND_MS = const(8000)
_SECOND_SPREAD_MS = const(4000)
_PASS_MS = const(30)
_PASS_SPREAD_MS = const(570)
_HURRY_MS = const(20)
_HURRY_SPREAD_MS = const(180)
_MINUTE_MS = const(60000)
_GAP_MS = const(1000)  # between beacons that hurry; doubled with each, until a wave begins after a calm minute
_AGAIN_MS = const(2000)  # after the loss of a route
_LEAST_MS = const(800)  # between any two
_CALM_MS = const(60000)
_GAP_MOST_MS = const(32000)
_TOKENS = const(24)  # beacons in a burst, then one in that time, whatever happens
_TOKEN_MS = const(4000)
_KEPT = const(20)  # of them for what all have to know
_CHANGED = const(200)  # cost that children should hear of


class Beacons:
    """A node's own beacons and those it hears."""

    def __init__(self, node):
        self._node = node
        self._due = None
        self._second = None
        self._tokens = _TOKENS
        self._filled = 0
        self._wave = None  # at a root: when the next begins
        self._gap = _GAP_MS
        self._calm = None  # since when the gap grows
        self._last = None
        self._number = 0
        self._told = NEVER  # cost that was advertised last
        self._root = 0  # likewise
        self._uplinked = False  # likewise
        self._dated = False  # at a root: the seqno was set by the time of day
        self._passed = None  # (root, seqno) whose wave was passed on

    def due(self, now):
        """Return whether one is to go now."""
        return self._tokens > 0 and self._due is not None and diff(self._due, now) <= 0

    def spare(self):
        """Return whether one may be sent to somebody alone, who asked for it."""
        return self._tokens > _KEPT

    def hurry(self, now):
        """Send one soon: something is not as the neighbours think."""
        due = later(now, _HURRY_MS + self._node.rand(_HURRY_SPREAD_MS))
        if self._last is not None and diff(later(self._last, self._gap), due) > 0:
            due = later(self._last, self._gap)
        if self._due is None or diff(due, self._due) < 0:
            self._due = due
            self._gap = min(2 * self._gap, _GAP_MOST_MS)

    def urge(self, now):
        """Send one in a moment, however many there were."""
        due = later(now, _HURRY_MS + self._node.rand(_HURRY_SPREAD_MS))
        if self._last is not None and diff(later(self._last, _LEAST_MS), due) > 0:
            due = later(self._last, _LEAST_MS)
        if self._due is None or diff(due, self._due) < 0:
            self._due = due

    def wave(self, now):
        """Begin a wave, at a root."""
        routes = self._node.routes
        routes.own = routes.own + 1 & 0xFFFF
        ms = self._node.nettime.read(now)
        if ms is not None and not self._dated:
            self._dated = True
            if newer(ms // _MINUTE_MS & 0xFFFF, routes.own):
                routes.own = ms // _MINUTE_MS & 0xFFFF  # two a wave: newer than all before the reboot
        self._wave = later(now, _WAVE_MS)
        self._spread(now, 0)

    def _spread(self, now, ms):
        self._due = later(now, ms)
        self._second = later(now, _SECOND_MS + self._node.rand(_SECOND_SPREAD_MS))
        if self._calm is None or diff(now, self._calm) > _CALM_MS:
            self._calm = now
            self._gap = _GAP_MS

    def tick(self, now, most):
        """Begin what is due; return the ms until the next is, at most `most`."""
        while self._tokens < _TOKENS and diff(now, self._filled) >= _TOKEN_MS:
            self._tokens += 1
            self._filled = later(self._filled, _TOKEN_MS)
        if self._tokens == _TOKENS:
            self._filled = now
        if self._node.is_root:
            if self._wave is None or diff(self._wave, now) <= 0:
                self.wave(now)
            most = min(most, diff(self._wave, now))
        if self._second is not None:
            wait = diff(self._second, now)
            if wait <= 0:
                self._second = None
                if self._due is None:
                    self._due = now
            else:
                most = min(most, wait)
        return most

    def minute(self, now):
        """Forget what is long ago: ticks wrap. To be called once a minute."""
        if self._last is not None and diff(now, self._last) > _CALM_MS:
            self._last = None
        if self._calm is not None and diff(now, self._calm) > _CALM_MS:
            self._calm = None

    def wait(self, now, most):
        """Return the ms until the next beacon is due, at most `most`."""
        return most if self._due is None or not self._tokens else min(most, max(0, diff(self._due, now)))

    def changed(self, now):
        """The parent is another one: tell the neighbours when it makes a difference to them."""
        node = self._node
        cost = node.routes.cost()
        if node.routes.root != self._root:
            # whoever relies on the old root must not wait: its tree falls apart from above, one level after the other
            self.urge(now)
            self._second = later(now, _AGAIN_MS)
        elif abs(cost - self._told) > _CHANGED or node.uplinked() != self._uplinked:
            self.hurry(now)

    def write(self, buf, now, nonce=b""):
        """Write the body into a frame as it is to be sent now; return where it ends."""
        node = self._node
        routes = node.routes
        ms = node.nettime.read(now) if node.nettime.stratum != TIMELESS else None
        cost = self._told = routes.cost()
        self._root = routes.root
        self._uplinked = node.uplinked()
        flags = (
            (PULL if cost == NEVER else 0)
            | (UPLINK if self._uplinked else 0)
            | (TIMED if ms is not None else 0)
            | (BUSY if node.queue.count > LONG else 0)
            | (ROOT if node.is_root else 0)
            | (0 if node.acked_by_radio else LACKS)
        )
        ms = ms or 0
        self._tokens -= 1
        if not nonce:
            self._number = self._number + 1 & 255
            self._due = None
            self._last = now
        pack_into(
            BEACON_BODY, buf, BODY, routes.root, routes.seqno(), cost, routes.hops(), node.parent_id(), flags,
            self._number, node.channel.at, node.queue.count, ms >> 32, ms & 0xFFFFFFFF, node.nettime.stratum,
            node.nettime.epoch, 0, node.config,
        )  # fmt: skip
        routes.advertised()
        end = BODY + 25
        buf[end : end + len(nonce)] = nonce
        return end + len(nonce)

    def heard(self, frame, neighbour, alone, now):
        """Take a beacon that was admitted; `alone`: it was sent to this node only."""
        node = self._node
        routes = node.routes
        (root, seqno, cost, hops, parent, flags, number, channel, _, high, low, stratum, epoch, _, _) = unpack_from(
            BEACON_BODY, frame, BODY
        )
        source = node.guard.source
        if flags & ROOT:
            lies = root != source or hops
        else:
            lies = cost != NEVER and (not 0 < hops < 255 or cost < 100 * hops or root == source)
        if lies or cost < OFF and not flags & UPLINK:
            node.notes.note(counts.LIAR, source)
            return
        if flags & ROOT and not node.is_root:
            node.seqnos.renew(source, seqno, now)
        if routes.is_root and root == node.id and newer(seqno, routes.own):
            node.seqnos.overtaken(seqno + 1 & 0xFFFF, now)  # from before this root's reboot
        if not neighbour:
            return
        if not alone:
            neighbour.counted(number)
        if root != neighbour.root or newer(seqno, neighbour.seqno):
            neighbour.advanced = now
        neighbour.fails = min(neighbour.fails, DEAD - 2)
        if root != neighbour.root or seqno != neighbour.seqno or cost < neighbour.least:
            neighbour.least = cost
        if routes.parent and neighbour.parent == routes.parent.id != parent != node.id:
            node.upward.probe(now)  # it has left the parent that is this node's too: is that one alive?
        neighbour.root = root
        neighbour.seqno = seqno
        neighbour.cost = cost
        neighbour.hops = hops
        neighbour.parent = parent
        neighbour.flags = flags
        if flags & PULL and routes.root:
            self.hurry(now)
        elif parent == node.id and not routes.root:
            self.urge(now)  # it does not know yet
        node.upward.choose(now)
        if neighbour is routes.parent:
            nonce = node.channel.nonce
            proved = nonce and frame[BODY + 25 : len(frame) - MIC] == nonce  # said now, not repeated by somebody
            if flags & TIMED and not node.nettime.heard((high << 32) + low, stratum, epoch, seqno, now, proved):
                node.notes.note(counts.TIME, source)
                if node.nettime.stratum == TIMELESS:
                    node.channel.question(source)
            self._followed(neighbour, flags, now)
            node.channel.beacon(channel, now)

    def _followed(self, parent, flags, now):
        """The parent's beacon: pass a new wave on."""
        node = self._node
        if flags & BUSY:
            node.custody.congested(now)
        if self._passed != (parent.root, parent.seqno):
            self._passed = (parent.root, parent.seqno)
            self._spread(now, _PASS_MS + node.rand(_PASS_SPREAD_MS))
        else:
            self.changed(now)
