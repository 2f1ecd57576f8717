"""What this node hands to its radio, one frame at a time, and what becomes of it.

Where no radio acknowledges (UDP), a frame to one neighbour counts as arrived when its LACK has come; it is sent three
times, 150 ms apart, before it counts as lost: what the radio of a board does by itself.
"""

from struct import pack_into

from micropython import const

from lib.mesh import counts
from lib.mesh.frames import ALL, BEACON, BODY, LACK, UP
from lib.mesh.queue import LONG
from lib.mesh.ticks import diff, later

_NONE = const(-1)  # of flight: nothing; or a slot of the queue, or
_SPARE = const(-2)  # a frame that is in no slot
_SAYINGS = const(8)
_LACK_MS = const(150)
_TRIES = const(3)
_ANSWER_MS = const(50)
_ANSWER_SPREAD_MS = const(150)


class Outbox:
    """`flight`: the slot of the queue whose frame is with the radio, negative: none."""

    def __init__(self, node, lacks):
        self._node = node
        self._lacks = lacks
        self.flight = _NONE
        self._kind = 0
        self._to = 0  # whom the frame in flight is for
        self._frame = None  # its bytes and
        self._end = 0  # where its body ends
        self._numbers = b""  # epoch and ctr of each time it was sent
        self._lack = None  # until when a LACK for it may come; None: the radio has it
        self._repeat = False  # no LACK came: it is to be sent once more
        self._aside = False  # a LACK is with the radio meanwhile
        self._small = memoryview(bytearray(24)) if lacks else None  # for that one
        self._spare = memoryview(bytearray(64))
        self._sayings = []  # (to, kind, body) that go first
        self._answers = []  # (to, nonce, due): who asked for a beacon

    def say(self, to, kind, body):
        """Send a short frame before all others; when eight wait already, it is left out."""
        if len(self._sayings) < _SAYINGS:
            self._sayings.append((to, kind, bytes(body)))

    def _lacking(self):
        """Return which of what is to be said is a LACK, -1: none."""
        for i, saying in enumerate(self._sayings):
            if saying[1] == LACK:
                return i
        return -1

    def asked(self, to, nonce, now):
        """Answer a SOLICIT with a beacon to its sender, in a moment: others answer too."""
        if len(self._answers) < _SAYINGS and all(to != other for other, _, _ in self._answers):
            due = later(now, _ANSWER_MS + self._node.rand(_ANSWER_SPREAD_MS))
            self._answers.append((to, bytes(nonce), due))

    def lacked(self, source, number, taken, now):
        """A neighbour says that it has a frame, or had no room for it."""
        if (self._lack is not None or self._repeat) and source == self._to:
            for at in range(0, len(self._numbers), 4):
                if self._numbers[at : at + 4] == number:
                    self._fate(taken, now)
                    return

    def sent(self, ok, now):
        """Take the fate of the frame that `next` gave last."""
        if self._aside:
            self._aside = False
        elif self.flight != _NONE and self._lack is None:
            if ok and self._lacks and self._to != ALL and self._kind != LACK:
                self._lack = later(now, _LACK_MS)
            else:
                self._fate(ok, now)

    def tick(self, now, most):
        """Give up waiting for a LACK; return the ms until then, at most `most`."""
        if self._lack is not None:
            wait = diff(self._lack, now)
            if wait > 0:
                return min(most, wait)
            if len(self._numbers) < 4 * _TRIES:
                self._lack = None
                self._repeat = True
            else:
                self._fate(False, now)
        return most

    def wait(self, now, most):
        """Return the ms until there is something to send, at most `most`."""
        if self._aside:
            return most
        if self._repeat:
            return 0
        if self.flight != _NONE:
            return 0 if self._lack is not None and self._lacking() >= 0 else most
        if self._sayings:
            return 0
        for _, _, due in self._answers:
            most = min(most, max(0, diff(due, now)))
        return self._node.queue.wait(now, self._node.routes.parent, self._node.beacons.wait(now, most))

    def next(self, now):
        """Return (mac, frame), or None."""
        if self._aside:
            return None
        node = self._node
        if self.flight != _NONE:
            waits = self._lack is not None or self._repeat
            i = self._lacking() if waits else -1
            if i >= 0:  # others wait for it, and do not wait for what this node waits for
                to, kind, body = self._sayings.pop(i)
                self._small[BODY : BODY + len(body)] = body
                n = node.guard.seal(self._small, BODY + len(body), kind, to)
                self._aside = n > 0
                return (node.guard.members.mac(to), self._small[:n]) if n else None
            if self._repeat:
                self._repeat = False
                return self._hand(self._frame, self._end, self._kind, self._to)
            return None
        self.flight = _SPARE
        self._numbers = b""
        if self._sayings:
            return self._say(*self._sayings.pop(0))
        if node.beacons.due(now):
            return self._hand(self._spare, node.beacons.write(self._spare, now), BEACON, ALL)
        for i, (to, nonce, due) in enumerate(self._answers):
            if diff(due, now) <= 0:
                del self._answers[i]
                if not node.beacons.spare():
                    node.beacons.urge(now)  # one for all who ask
                    break
                return self._hand(self._spare, node.beacons.write(self._spare, now, nonce), BEACON, to)
        queue = node.queue
        slot = self.flight = queue.pick(now, node.routes.parent)
        if slot < 0:
            return None
        frame = queue.frame(slot)
        kind = queue.kind[slot]
        to = queue.to[slot]
        if kind == UP:
            to = node.parent_id()
            pack_into(">H", frame, BODY + 6, node.routes.cost())
            if queue.count > LONG:
                frame[BODY + 5] |= 0x80
        out = self._hand(frame, queue.length[slot], kind, to)
        if not out and not queue.failed(slot, later(now, 1000)) and queue.owner[slot]:
            node.custody.dropped(queue.owner[slot], now)
        return out

    def _say(self, to, kind, body):
        end = BODY + len(body)
        self._spare[BODY:end] = body
        return self._hand(self._spare, end, kind, to)

    def _hand(self, frame, end, kind, to):
        """Sign a frame and give it to the radio; None when no number may be used."""
        guard = self._node.guard
        n = guard.seal(frame, end, kind, to)
        if not n:
            self.flight = _NONE
            return None
        self._to = to
        self._kind = kind
        if self._lacks:
            self._frame = frame
            self._end = end
            self._numbers += bytes(frame[7:BODY])
        return None if to == ALL else guard.members.mac(to), frame[:n]

    def _fate(self, ok, now):
        """The frame in flight was acknowledged or not."""
        node = self._node
        slot = self.flight
        self.flight = _NONE
        self._lack = None
        self._repeat = False
        neighbour = node.routes.links.get(self._to)
        if neighbour and self._kind != LACK:
            neighbour.sent(ok)
            if ok:
                node.upward.proved(neighbour)
            if neighbour.fails > 2:
                node.upward.choose(now)
        if slot < 0:
            return
        queue = node.queue
        owner = queue.owner[slot]
        if ok:
            if owner:
                node.custody.sent(owner, neighbour, not queue.tries[slot], now)
            elif neighbour and queue.kind[slot] == UP and queue.frame(slot)[BODY + 5] & 0x7F and not queue.tries[slot]:
                # its origin repeats it: what went this way before was not answered
                node.upward.silent(neighbour, now)
            queue.free(slot)
        elif not queue.failed(slot, now):
            node.notes.note(counts.LOST_WAY)
            if owner:
                node.custody.dropped(owner, now)
