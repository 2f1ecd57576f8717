"""Upward at every node: the parent, what is said on the way to a root, and the frames of others that are passed on."""

from struct import pack, pack_into, unpack_from

from micropython import const

from lib.mesh import counts
from lib.mesh.frames import ALL, BODY, HELLO, HOPS, LIMIT, MIC, SEQREQ, SOLICIT, TAG, UP, UP_BODY, UP_SEALED
from lib.mesh.queue import SIZE
from lib.mesh.routes import LOST, newer
from lib.mesh.secrecy import UPWARD
from lib.mesh.ticks import diff, later

_ASK_MS = const(2000)
_CALM_MS = const(60000)
_ALIVE_MS = const(300000)
_HELLO_MS = const(200)
_FORM_MS = const(20000)
_LATE_MS = const(150000)  # a wave and a quarter
_ASKS = b"\1\1\1\1"
_HEARD_MS = const(2000)
_TRIALS = const(2)
_TRY_MS = const(1000)
_PROBES = const(4)
_PROBE_MS = const(100)
_SPREAD_MS = const(8000)


class Upward:
    """What a node does about its way to a root."""

    def __init__(self, node):
        self._node = node
        self._asked = None  # when a newer seqno was asked for last
        self._passed = None  # the seqno for which another's question was passed on last
        self._gap = _ASK_MS  # at a root: between waves that were asked for
        self._hello = None  # when to say hello
        self._formed = None  # when there was a route again, as long as nobody is blamed for what does not arrive
        self._trial = None  # by when the parent has to answer, or its program hangs
        self._left = 0  # how often it is asked yet
        self._probes = 0  # still to be sent to the parent
        self._probe = 0  # when the next is
        self._spoke = None  # when a frame of this node's own went up last

    def choose(self, now):
        """Choose the parent anew, and tell who has to know."""
        node = self._node
        routed = node.routes.parent
        root = node.routes.root
        if node.routes.select(now):
            if self._spoke is None and self._hello is None:
                node.custody.routed(now)
            self._hello = later(now, _HELLO_MS + node.rand(_SPREAD_MS))
            self._probes = 0
            self._trial = None
            if not routed:
                self._formed = now
            if node.routes.root not in (0, root):
                node.custody.moved(now)
            node.custody.turned(now)
            node.beacons.changed(now)

    def silent(self, one, now):
        """What a neighbour has acknowledged was not answered in time: when it happens again, look for another one."""
        if self._formed is not None:
            return
        node = self._node
        if one is node.routes.parent and self._trial is None and diff(now, one.heard) > _HEARD_MS:
            self._left = _TRIALS
            self._trial = now
        if one.unanswered():
            node.notes.note(counts.SILENT, one.id)
            self.choose(now)
            node.beacons.changed(now)
        if one.penalty and one is node.routes.parent:
            # nobody better may be followed: who was given up may be heard again, others with a newer seqno
            node.outbox.say(ALL, SOLICIT, _ASKS)
            self.seek(now)

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
            self._asked = now
            if self._passed == seqno:
                self.silent(routes.parent, now)  # what was passed on before has not arrived
            self._passed = seqno
            if routes.parent:
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

    def minute(self, now):
        """Forget what is long ago: ticks wrap. Ask a parent whose beacons are not heard. To be called once a minute."""
        parent = self._node.routes.parent
        if parent and diff(now, parent.advanced) > _LATE_MS:
            # the radio repeats what is sent to one, and not what is sent to all: readings get through there, no wave
            self._node.outbox.say(parent.id, SOLICIT, _ASKS)
        if self._asked is not None and diff(now, self._asked) > _CALM_MS:
            self._asked = None

    def probe(self, now):
        """Find out whether the parent is alive: until it acknowledges one, or as many as make it dead."""
        if not self._probes:
            self._probes = _PROBES
            self._probe = later(now, self._node.rand(_PROBE_MS))

    def proved(self, one):
        """A neighbour has acknowledged."""
        if one is self._node.routes.parent:
            self._probes = 0

    def tick(self, now, most):
        """Probe the parent, say hello; return the ms until there is more to do, at most `most`."""
        if self._probes:
            wait = diff(self._probe, now)
            if wait > 0:
                most = min(most, wait)
            else:
                self._probes -= 1
                self._probe = later(now, _PROBE_MS)
                self._node.outbox.say(self._node.routes.parent.id, SOLICIT, bytes(4))
        if self._trial is not None:
            most = min(most, self._try(now))
        if self._formed is not None and diff(now, self._formed) > _FORM_MS:
            self._formed = None
        self._greet(now)
        return most

    def _try(self, now):
        """Ask the parent for a beacon, which only a program sends, no radio; return the ms to wait."""
        parent = self._node.routes.parent
        wait = diff(self._trial, now)
        if diff(now, parent.heard) < _TRY_MS - wait and self._left < _TRIALS:
            self._trial = None
        elif wait > 0:
            return wait
        elif self._left:
            self._left -= 1
            self._trial = later(now, _TRY_MS)
            self._node.outbox.say(parent.id, SOLICIT, _ASKS)
        else:
            self._trial = None
            parent.fails = LOST
            self._node.notes.note(counts.SILENT, parent.id)
            self.choose(now)
        return _TRY_MS

    def _greet(self, now):
        """Say hello to the root when the way has changed, or nothing went up for five minutes."""
        if self._spoke is not None and diff(now, self._spoke) > _ALIVE_MS:
            self._hello = now
        if self._hello is not None and diff(self._hello, now) <= 0:
            parent = self._node.routes.parent
            self._hello = later(now, _ASK_MS)  # when there is no room
            self.send(pack(">BHhH", HELLO, parent.id, parent.level // 16, parent.etx), 0, 0, now)

    def send(self, text, tries, owner, now):
        """Seal what begins with its kind and the parent, and queue it; return False when there is no room."""
        if UP_SEALED + len(text) + TAG + MIC > LIMIT:
            return False
        node = self._node
        root = node.routes.root
        sealed = node.secrecy.seal(UPWARD, node.id, root, text)
        slot = node.queue.take(UP, UP_SEALED + len(sealed), 0, now, owner) if sealed else -1
        if slot < 0:
            return False
        frame = node.queue.frame(slot)
        counter = node.secrecy.counter
        pack_into(UP_BODY, frame, BODY, node.id, root, 0, tries, 0, counter.epoch, counter.ctr)
        frame[UP_SEALED : UP_SEALED + len(sealed)] = sealed
        self._spoke = now
        self._hello = None  # this shows the way too
        return True

    def take(self, frame, now):
        """Pass a frame on, or at a root take what is in it; return False when there is no room."""
        origin, root, hops, tries, cost, epoch, ctr = unpack_from(UP_BODY, frame, BODY)
        node = self._node
        source = node.guard.source
        note = node.notes.note
        if origin == node.id or hops >= HOPS or not 0 < origin < ALL:
            note(counts.LOOP, source)
            node.beacons.hurry(now)
            return True
        end = len(frame) - MIC
        if node.is_root:
            text = node.secrecy.open(UPWARD, origin, root, origin, epoch, ctr, frame[UP_SEALED:end])
            if text is None:
                note(counts.UNSEALED if node.secrecy.key(origin) else counts.UNKNOWN, origin)
            elif not text:
                node.collect.again(origin, epoch, ctr)
            else:
                node.guard.members.came(origin, source)
                node.collect.arrived(origin, text, tries & 0x80, now)
            return True
        queue = node.queue
        if queue.count == SIZE:  # before it is known: it comes again
            note(counts.CROWDED, source)
            return False
        if queue.known(b"\0" + bytes(frame[11:13]) + bytes(frame[19:23])):
            return True
        slot = queue.take(UP, end, 0, now)
        node.guard.members.came(origin, source)
        copy = queue.frame(slot)
        copy[BODY:end] = frame[BODY:end]
        copy[BODY + 4] = hops + 1
        if not node.routes.root:
            node.beacons.urge(now)  # its sender does not know yet
        elif cost <= node.routes.cost():
            node.outbox.asked(source, bytes(4), now)  # who is further away should not be cheaper
        return True

