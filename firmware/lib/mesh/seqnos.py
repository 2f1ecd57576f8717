"""Newer sequence numbers of a root: asked for where no neighbour may be followed, passed on, and made at the root.

RFC 8966, 3.8.1.2 and 3.8.2.1.
"""

from struct import pack, unpack_from

from micropython import const

from lib.mesh.frames import BODY, SEQREQ
from lib.mesh.routes import newer
from lib.mesh.ticks import diff

_ASK_MS = const(2000)
_CALM_MS = const(60000)


class Seqnos:
    """The questions of one node, at most one in 2 s."""

    def __init__(self, node):
        self._node = node
        self._asked = None  # when the last was
        self._passed = None  # the seqno for which another's question was passed on last
        self._gap = _ASK_MS  # at a root: between waves that were asked for

    def minute(self, now):
        """Forget what is long ago: ticks wrap. To be called once a minute."""
        if self._asked is not None and diff(now, self._asked) > _CALM_MS:
            self._asked = None

    def seek(self, now):
        """Without a route, or a good one: ask for a newer sequence number."""
        best = self._quiet(now) and self._node.routes.wanted(now)
        if best:
            one, root, seqno = best
            self._ask(one.id, root, seqno, now)

    def _quiet(self, now):
        return self._asked is None or diff(now, self._asked) > _ASK_MS

    def _ask(self, to, root, seqno, now):
        self._asked = now
        self._node.outbox.say(to, SEQREQ, pack(">HH", root, seqno))

    def renew(self, root, seqno, now):
        """A root says where it stands: one that has begun anew does not know how far it was."""
        last = self._node.routes.newest(root)
        if last >= 0 and newer(last, seqno) and self._quiet(now):
            self._ask(root, root, last + 1 & 0xFFFF, now)

    def sought(self, frame, source, now):
        """Somebody asks for a newer sequence number: have it, make it, or pass the question on."""
        root, seqno = unpack_from(">HH", frame, BODY)
        routes = self._node.routes
        if not root or root != routes.root:
            return
        if not newer(seqno, routes.seqno()):
            self._node.beacons.urge(now)
        elif routes.is_root:
            self.overtaken(seqno, now)
        elif routes.parent and routes.parent.id != source and self._quiet(now):
            self._asked = now  # `silent` asks nothing of its own
            if self._passed == seqno:
                self._node.upward.silent(routes.parent, now)  # what was passed on before has not arrived
            self._passed = seqno
            if routes.parent and routes.parent.id != source:
                self._ask(routes.parent.id, root, seqno, now)

    def overtaken(self, seqno, now):
        """At a root: begin a wave with a seqno newer than its own, since somebody needs it."""
        if self._asked is None or diff(now, self._asked) > _CALM_MS:
            self._gap = _ASK_MS
        elif diff(now, self._asked) < self._gap:
            return
        else:
            self._gap *= 2  # a wave for each question of a hundred nodes would be a flood
        self._asked = now
        self._node.routes.own = seqno - 1
        self._node.beacons.wave(now)
