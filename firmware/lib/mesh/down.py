"""Downward at every node: frames are passed on along the way that their receiver's own frames came up.

A command is carried out at most once for each ident: the application stores the ident (`app.floor`) before it acts, and
whoever asks again gets the same answer from here.
"""

from struct import pack, unpack_from

from micropython import const

from lib.mesh import counts
from lib.mesh.frames import ACK, ALL, BODY, COMMAND, DOWN, DOWN_BODY, DOWN_SEALED, FLOOD, HOPS, MIC, RESULT
from lib.mesh.queue import SIZE
from lib.mesh.secrecy import DOWNWARD
from lib.mesh.ticks import later

DONE = const(0)
KNOWN = const(1)  # the ident is not above the floor, and its answer is not here any more
EXPIRED = const(2)
PENDING = const(3)  # it is being carried out
_ANSWERS = const(16)
_COPIES = const(3)  # heard so often, a flood needs no help
_FLOOD_MS = const(20)
_FLOOD_SPREAD_MS = const(180)
_TTL = const(15)  # offset of the ttl in a frame


class Down:
    """What a node does with frames that come down."""

    def __init__(self, node):
        self._node = node
        self._answers = []  # (ident, state, payload)

    def frame(self, kind, frame, neighbour, now):
        """Take a DOWN or FLOOD that was admitted; return False when there is no room for it."""
        node = self._node
        to, root, ttl, what, epoch, ctr = unpack_from(DOWN_BODY, frame, BODY)
        if what == ACK and neighbour:
            neighbour.answered()  # what went up through it has arrived
        if to == node.id:
            if not node.is_root:
                self._mine(what, root, epoch, ctr, frame[DOWN_SEALED : len(frame) - MIC], now)
            return True
        queue = node.queue
        if queue.count == SIZE:  # before it is known: it comes again
            node.notes.note(counts.CROWDED)
            return False
        key = bytes((kind,)) + bytes(frame[13:15]) + bytes(frame[17:21])
        if queue.known(key):
            slot = queue.flooding(key) if kind == FLOOD else -1
            if slot >= 0 and slot != node.outbox.flight:
                queue.tries[slot] += 1
                if queue.tries[slot] >= _COPIES - 1:
                    queue.free(slot)
            return True
        if kind == FLOOD:
            if node.is_root or ttl < 2:
                return True
            via = ALL
            now = later(now, _FLOOD_MS + node.rand(_FLOOD_SPREAD_MS))
        else:
            via = node.guard.members.via(to)
            if ttl < 2 or not via or via == node.guard.source:
                node.notes.note(counts.LOST_WAY if ttl > 1 else counts.LOOP, to)
                return True
        length = len(frame) - MIC
        slot = queue.take(kind, length, via, now)
        copy = queue.frame(slot)
        copy[BODY:length] = frame[BODY:length]
        copy[_TTL] = ttl - 1
        return True

    def _mine(self, what, root, epoch, ctr, sealed, now):
        node = self._node
        text = node.secrecy.open(DOWNWARD | what, node.id, root, root, epoch, ctr, sealed)
        if text is None:
            node.notes.note(counts.UNSEALED, root)
        elif text and what == ACK:
            node.custody.acked(text, now)
        elif what == COMMAND and len(text) > 7:
            self._command(text, now)

    def _command(self, text, now):
        ident, expiry = unpack_from(">II", text)
        for one in self._answers:
            if one[0] == ident:
                self._say(one, now)
                return
        app = self._node.app
        ms = self._node.nettime.read(now)
        if expiry and ms is None:
            return  # it may have expired long ago; while it has not, the root sends it again
        if expiry and ms // 1000 > expiry:
            self._say((ident, EXPIRED, b""), now)
        elif not app.floor(ident):
            self._say((ident, KNOWN, b""), now)
        else:
            self._keep((ident, PENDING, b""))
            answer = app.command(ident, text[8:])
            if answer is not None:
                self.answer(ident, answer, now)

    def _keep(self, one):
        self._answers = [other for other in self._answers if other[0] != one[0]][1 - _ANSWERS :]
        self._answers.append(one)

    def answer(self, ident, payload, now):
        """Send the answer to a command up, and keep it for whoever asks again."""
        one = (ident, DONE, bytes(payload))
        self._keep(one)
        self._say(one, now)

    def _say(self, one, now):
        ident, state, payload = one
        node = self._node
        node.upward.send(bytes((RESULT,)) + pack(">HIB", node.parent_id(), ident, state) + payload, 0, 0, now)


def send(node, to, what, text, flood, now):
    """Seal a text for a member and queue it, at a root; return False when there is no way or no room."""
    via = ALL if flood else node.guard.members.via(to)
    if not via or node.secrecy.key(to) is None:
        return False
    sealed = node.secrecy.seal(DOWNWARD | what, to, node.id, text)
    if not sealed:
        return False
    length = DOWN_SEALED + len(sealed)
    slot = node.queue.take(FLOOD if flood else DOWN, length, via, now)
    if slot < 0:
        node.notes.note(counts.CROWDED)
        return False
    frame = node.queue.frame(slot)
    counter = node.secrecy.counter
    frame[BODY:DOWN_SEALED] = pack(DOWN_BODY, to, node.id, HOPS, what, counter.epoch, counter.ctr)
    frame[DOWN_SEALED:length] = sealed
    return True
