"""Upward at every node: the parent, what is said on the way to a root, and the frames of others that are passed on."""

from struct import pack, pack_into, unpack_from

from micropython import const

from lib.mesh import counts
from lib.mesh.frames import ALL, BODY, HELLO, HOPS, LIMIT, MIC, SOLICIT, TAG, UP, UP_BODY, UP_SEALED
from lib.mesh.queue import SIZE
from lib.mesh.routes import LOST
from lib.mesh.secrecy import UPWARD
from lib.mesh.ticks import diff, later

_KEEPALIVE_MS = const(300000)
_HELLO_MS = const(200)
_AGAIN_MS = const(2000)
_FORMING_MS = const(20000)
_OVERDUE_MS = const(150000)  # a wave and a quarter
_ASKS = b"\1\1\1\1"
_HEARD_MS = const(2000)
_TRIALS = const(2)
_TRIAL_MS = const(1000)
_PROBES = const(4)
_PROBE_MS = const(100)
_HELLO_SPREAD_MS = const(8000)


class Upward:
    """What a node does about its way to a root."""

    def __init__(self, node):
        self._node = node
        self._hello = None  # when to say hello
        self._formed = None  # when there was a route again, as long as nobody is blamed for what does not arrive
        self._trial = None  # by when the parent has to answer, or its program hangs
        self._trials = 0  # how often it is asked yet
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
            self._hello = later(now, _HELLO_MS + node.rand(_HELLO_SPREAD_MS))
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
            self._trials = _TRIALS
            self._trial = now
        if one.unanswered():
            node.notes.note(counts.SILENT, one.id)
            self.choose(now)
            node.beacons.changed(now)
        if one.penalty and one is node.routes.parent:
            # nobody better may be followed: who was given up may be heard again, others with a newer seqno
            node.outbox.say(ALL, SOLICIT, _ASKS)
            node.seqnos.seek(now)

    def minute(self, now):
        """Ask a parent whose beacons are not heard for one. To be called once a minute."""
        parent = self._node.routes.parent
        if parent and diff(now, parent.advanced) > _OVERDUE_MS:
            # the radio repeats what is sent to one, and not what is sent to all: readings get through there, no wave
            self._node.outbox.say(parent.id, SOLICIT, _ASKS)

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
        if self._formed is not None and diff(now, self._formed) > _FORMING_MS:
            self._formed = None
        self._greet(now)
        return most

    def _try(self, now):
        """Ask the parent for a beacon, which only a program sends, no radio; return the ms to wait."""
        parent = self._node.routes.parent
        wait = diff(self._trial, now)
        if diff(now, parent.heard) < _TRIAL_MS - wait and self._trials < _TRIALS:
            self._trial = None
        elif wait > 0:
            return wait
        elif self._trials:
            self._trials -= 1
            self._trial = later(now, _TRIAL_MS)
            self._node.outbox.say(parent.id, SOLICIT, _ASKS)
        else:
            self._trial = None
            parent.fails = LOST
            self._node.notes.note(counts.SILENT, parent.id)
            self.choose(now)
        return _TRIAL_MS

    def _greet(self, now):
        """Say hello to the root when the way has changed, or nothing went up for five minutes."""
        if self._spoke is not None and diff(now, self._spoke) > _KEEPALIVE_MS:
            self._hello = now
        if self._hello is not None and diff(self._hello, now) <= 0:
            parent = self._node.routes.parent
            self._hello = later(now, _AGAIN_MS)  # when there is no room
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

