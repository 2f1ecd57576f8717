"""A root: batches in, once each, and acknowledgements out when the brokers have them.

What is kept for each origin is what the next acknowledgement says: the newest sequence number, which of the last 16 are
safe, and which were taken and wait for their broker. A batch that is safe and comes again was not acknowledged in time:
it is acknowledged again, and the application hears nothing of it.
"""

from array import array
from struct import pack, unpack_from

from micropython import const

from lib.mesh.counts import CROWDED, DUPLICATE
from lib.mesh.down import send
from lib.mesh.frames import ACK, HELLO, RESULT
from lib.mesh.secrecy import WINDOW
from lib.mesh.ticks import diff, later

_MERGE_MS = const(300)
_HELD_MS = const(1000)  # no confirmation until then: the origin is told that its batch is here
_SPAN = const(16)
_OLDER = const(6)  # in ten minutes: more than a node has under way when it reboots
_MINUTES = const(10)


class Collect:
    """The origins of one root; their rows are those of `secrecy.floors`."""

    def __init__(self, node):
        self._node = node
        self._epoch = array("H")
        self._newest = array("H")
        self._safe = array("H")
        self._held = array("H")
        self._seqs = array("H")  # four a row: the batches that are held and not safe
        self._numbers = array("I")
        self._twins = {}  # origin: frames that came as if there were two of it
        self._minutes = 0
        self._due = {}  # origin: when its acknowledgement goes
        self._slow = {}  # origin: its way is congested

    def _row(self, origin):
        row = self._node.secrecy.floors.rows[origin]
        while row >= len(self._newest):  # rows are added by who was heard first
            for column in (self._epoch, self._newest, self._safe, self._held):
                column.append(0)
            for _ in range(4):
                self._seqs.append(0)
                self._numbers.append(0)
        return row

    def again(self, origin, epoch, ctr):
        """A frame is not new: it was repeated, its origin has rebooted since, or there are two of that id.

        Or it is new, and there is no room for one more origin.
        """
        floors = self._node.secrecy.floors
        row = floors.rows.get(origin, -1)
        if row < 0:
            self._node.notes.note(CROWDED, origin)
            return
        now, newest = floors.newest(row)
        if epoch < now or ctr < newest - WINDOW:
            self._twin(origin)

    def _twin(self, origin):
        """Count what looks as if there were two of that id: so it does after a reboot too, but not often."""
        self._twins[origin] = self._twins.get(origin, 0) + 1
        if self._twins[origin] == _OLDER:
            self._node.notes.note(DUPLICATE, origin)

    def minute(self):
        """Forget what looked like twins, once in ten minutes; to be called once a minute."""
        self._minutes = (self._minutes + 1) % _MINUTES
        if not self._minutes:
            self._twins = {}

    def arrived(self, origin, text, busy, now):
        """Take what came from a member: kind 1 · parent 2 · what the kind says. `busy`: its way is congested."""
        kind = text[0]
        self._node.app.heard(origin)
        if len(text) < 3 or kind == HELLO:
            return
        if kind == RESULT:
            self._node.orders.result(origin, text[3:], now)
        elif kind < HELLO:
            self._batch(origin, kind, text, busy, now)

    def _batch(self, origin, kind, text, busy, now):
        """seq 2 · number 4 · payload."""
        if len(text) < 9:
            return
        seq, number = unpack_from(">HI", text, 3)
        row = self._row(origin)
        epoch, _ = self._node.secrecy.floors.newest(row)
        ahead = seq - self._newest[row] & 0xFFFF
        if epoch != self._epoch[row] or _SPAN <= ahead <= 0x10000 - _SPAN:
            # another life of that node; or it was with another root meanwhile, since it never falls back so far
            if epoch == self._epoch[row]:
                self._twin(origin)
            self._epoch[row] = epoch
            self._newest[row] = seq
            self._safe[row] = self._held[row] = 0
        elif ahead < _SPAN:
            self._safe[row] = self._safe[row] << ahead & 0xFFFF
            self._held[row] = self._held[row] << ahead & 0xFFFF
            self._newest[row] = seq
        back = self._newest[row] - seq & 0xFFFF
        if busy:
            self._slow[origin] = True
        if self._safe[row] >> back & 1:
            self._answer(origin, now, 20)
            return
        slot = self._slot(row, seq)
        self._seqs[slot] = seq
        self._numbers[slot] = number
        self._held[row] |= 1 << back  # before the application hears of it: it may confirm at once
        if not self._node.app.received(origin, number, kind, text[9:]):
            self._held[row] &= ~(1 << back)
            self._slow[origin] = True
        self._answer(origin, now, _HELD_MS)

    def _waits(self, row, seq):
        """Return whether a batch is held and not safe."""
        back = self._newest[row] - seq & 0xFFFF
        return back < _SPAN and (self._held[row] & ~self._safe[row]) >> back & 1

    def _slot(self, row, seq):
        """Return where a batch is noted until it is confirmed.

        No origin has more than four under way: with a fifth, another root has made one of them safe, the oldest first.
        Should it come again all the same, it is one that is new here.
        """
        found = oldest = -1
        for slot in range(4 * row, 4 * row + 4):
            other = self._seqs[slot]
            if other == seq:
                return slot
            back = self._newest[row] - other & 0xFFFF if self._waits(row, other) else _SPAN
            if back > oldest:
                found, oldest = slot, back
        self._held[row] &= ~(1 << oldest)
        return found

    def _answer(self, origin, now, ms):
        due = later(now, ms)
        if origin not in self._due or diff(due, self._due[origin]) < 0:
            self._due[origin] = due

    def confirm(self, origin, number, now):
        """The brokers have a batch: acknowledge it soon, with others of that origin that come meanwhile."""
        if origin not in self._node.secrecy.floors.rows:
            return
        row = self._row(origin)
        more = found = False
        for slot in range(4 * row, 4 * row + 4):
            if self._waits(row, self._seqs[slot]):
                if self._numbers[slot] == number:
                    found = True  # else it is of an earlier life of that node, which offers it again
                    self._safe[row] |= 1 << (self._newest[row] - self._seqs[slot] & 0xFFFF)
                else:
                    more = True
        if found:
            self._answer(origin, now, _MERGE_MS if more else 0)

    def tick(self, now, most):
        """Send the acknowledgements that are due; return the ms until the next is, at most `most`."""
        for origin in list(self._due):
            wait = diff(self._due[origin], now)
            if wait <= 0:
                del self._due[origin]
                row = self._row(origin)
                credit = not self._slow.pop(origin, False)
                text = pack(">HHHHB", self._epoch[row], self._newest[row], self._safe[row], self._held[row], credit)
                if not send(self._node, origin, ACK, text, False, now):
                    self._due[origin] = later(now, _HELD_MS)
            else:
                most = min(most, wait)
        return most
