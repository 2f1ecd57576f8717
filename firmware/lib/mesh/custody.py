"""An origin's batches until a root says that they are safe: sent, sent again, never forgotten here before that.

They come from the origin's flash and stay there until `app.acked`; what is held here is a window of four, so that one
that is lost does not stop the rest. A batch gets a sequence number of its own for the air, which begins anywhere after
each start: an acknowledgement names the epoch, so one for an earlier life of this node never counts.
"""

from struct import pack, unpack

from micropython import const

from lib.mesh.frames import UPLINK
from lib.mesh.ticks import diff, later

WINDOW = const(4)
_SPAN = const(16)  # sequence numbers that an acknowledgement covers
_RTO_MS = const(3000)
_RTO_MOST_MS = const(120000)
_DOUBLED = const(6)  # times, and it is more than that
_EARLY_MS = const(1500)  # a later one has arrived, and this one is older than that: it is lost
_HELD_MS = const(15000)  # a root has it and waits for its broker
_PACE_MS = const(2000)  # between batches of a backlog
_PACE_FIRST_MS = const(4000)  # after a start
_PACE_MOST_MS = const(8000)  # each time-out doubles it, each answer takes an eighth off
_BURST = const(4)
_LONG = const(12)  # frames in the queue, and own ones wait
_HOLD_MS = const(10000)
_SETTLE_MS = const(8000)
_TURN_MS = const(1000)

_WAITS, _QUEUED, _GONE, _HELD = range(4)


class Batch:
    """One batch; `state`: _WAITS to be queued at `due`; _QUEUED; _GONE, or _HELD by a root, until `due`: then again."""

    def __init__(self, number, seq, payload, now):
        self.number = number
        self.seq = seq
        self.payload = payload
        self.state = _WAITS
        self.due = now
        self.gone = 0  # when it was sent last
        self.tries = 0
        self.via = None  # the neighbour that acknowledged it


class Custody:
    """The window of one node."""

    def __init__(self, node):
        self._node = node
        self._batches = []
        self._seq = 0
        self._tokens = 1  # not a burst of everybody's after a blackout
        self._refilled = None
        self._slow_until = None  # congestion: half the rate
        self._pace = _PACE_FIRST_MS
        self._start = None

    def offer(self, number, kind, payload, now):
        """Take a batch; False: not now."""
        node = self._node
        routes = node.routes
        self._refill(now)
        if (
            not self._tokens
            or len(self._batches) == WINDOW
            or self._batches
            and (self._seq - self._batches[0].seq & 0xFFFF) >= _SPAN - 1
            or not routes.parent
            or not self._settled(now)
            or not routes.parent.flags & UPLINK
            or node.queue.count > _LONG
        ):
            return False
        self._tokens -= 1
        self._seq = self._seq + 1 & 0xFFFF
        self._batches.append(Batch(number, self._seq, bytes((kind,)) + payload, now))
        self.tick(now)
        return True

    def _settled(self, now):
        """After a start the first batch waits a moment: after a blackout everybody starts at once."""
        if self._start is not None:
            if diff(self._start, now) > 0:
                return False
            self._start = None
        return True

    def routed(self, now):
        """There is a route for the first time: wait for a while that nobody knows, and number batches from there.

        Two nodes of one id and epoch would be acknowledged for each other if they began alike.
        """
        wait = self._node.rand(_SETTLE_MS)
        self._start = later(now, wait)
        self._seq = 8 * wait  # below 2^16

    def _refill(self, now):
        if self._refilled is None:
            self._refilled = now
        pace = self._pace
        if self._slow_until is not None:
            if diff(self._slow_until, now) > 0:
                pace *= 2
            else:
                self._slow_until = None
        while self._tokens < _BURST and diff(now, self._refilled) >= pace:
            self._tokens += 1
            self._refilled = later(self._refilled, pace)
        if self._tokens == _BURST:
            self._refilled = now

    def minute(self, now):
        """Look at what ends by itself: ticks wrap. To be called once a minute."""
        self._settled(now)
        self._refill(now)

    def unqueued(self, now):
        """The queue has been emptied of what goes up."""
        for batch in self._batches:
            if batch.state == _QUEUED:
                batch.state = _WAITS
                batch.due = now

    def congested(self, now):
        """Halve the rate for ten seconds."""
        self._slow_until = later(now, _HOLD_MS)

    def tick(self, now, most=1000):
        """Queue what is due; return the ms until the next is, at most `most`."""
        for batch in self._batches:
            if batch.state == _QUEUED:
                continue
            wait = diff(batch.due, now)
            if wait <= 0 and not self._node.routes.parent:
                batch.state = _WAITS
                wait = 300 + self._node.rand(1000)  # not everybody at once when a root is back
                batch.due = later(now, wait)
            elif wait <= 0:
                if batch.state == _GONE:
                    self._pace = min(_PACE_MOST_MS, 2 * self._pace)
                    if batch.via:
                        self._node.upward.silent(batch.via, now)
                self._queue(batch, now)
                wait = diff(batch.due, now) if batch.state == _WAITS else most
            most = min(most, wait)
        if self._tokens < _BURST:
            self._refill(now)
        return most

    def _queue(self, batch, now):
        node = self._node
        content = batch.payload[:1] + pack(">HHI", node.parent_id(), batch.seq, batch.number) + batch.payload[1:]
        batch.state = _QUEUED
        if not node.upward.send(content, min(batch.tries, 127), batch.seq % 255 + 1, now):
            batch.state = _WAITS
            batch.due = later(now, 500)

    def _owned(self, owner):
        for batch in self._batches:
            if batch.seq % 255 + 1 == owner:
                return batch
        return None

    def moved(self, now):
        """The route leads to another root: it knows nothing of what is on its way to the one before, or held there."""
        for batch in self._batches:
            due = later(now, _EARLY_MS + self._node.rand(_RTO_MS))
            if batch.state > _QUEUED and diff(due, batch.due) < 0:
                batch.due = due
                batch.tries = 1
                batch.via = None

    def turned(self, now):
        """The parent is another one: what timed out before goes there at once."""
        for batch in self._batches:
            due = later(now, self._node.rand(_TURN_MS))
            if (
                batch.state == _GONE
                and batch.tries > 1
                and diff(now, batch.gone) > _EARLY_MS
                and diff(due, batch.due) < 0
            ):
                batch.due = due
                batch.state = _WAITS
                batch.tries = 1  # how often it was sent says nothing of this way

    def sent(self, owner, neighbour, smooth, now):
        """The parent has acknowledged the frame of a batch; `smooth`: the first time it was sent there.

        Where the air is full, one time-out says nothing of the parent.
        """
        batch = self._owned(owner)
        if batch and batch.state == _QUEUED:
            rto = min(_RTO_MOST_MS, _RTO_MS << min(max(0, batch.tries - 2), _DOUBLED))
            batch.state = _GONE
            batch.via = neighbour if smooth or batch.tries else None
            batch.tries += 1
            batch.gone = now
            batch.due = later(now, rto + self._node.rand(rto // 2))

    def dropped(self, owner, now):
        """The queue has given up the frame of a batch."""
        batch = self._owned(owner)
        if batch and batch.state == _QUEUED:
            batch.state = _WAITS
            batch.due = later(now, 1000 + self._node.rand(1000))

    def acked(self, text, now):
        """A root has answered: epoch 2 · newest 2 · safe 2 · held 2 · credit 1, bit n of a map is the newest less n."""
        if len(text) != 9:
            return
        epoch, newest, safe, held, credit = unpack(">HHHHB", text)
        if epoch != self._node.secrecy.counter.epoch:
            return
        if not credit:
            self.congested(now)
        done = []
        for batch in self._batches:
            back = newest - batch.seq & 0xFFFF
            if back >= _SPAN:
                continue
            if (safe | held) >> back & 1 and batch.via:
                batch.via.answered()
            if safe >> back & 1:
                done.append(batch)
            elif held >> back & 1:
                self._unqueue(batch)
                batch.state = _HELD
                batch.due = later(now, _HELD_MS + self._node.rand(_HELD_MS))
            elif batch.state == _GONE and back and diff(now, batch.gone) > _EARLY_MS:
                batch.state = _WAITS
                batch.due = now
        if done:
            self._pace = max(_PACE_MS, self._pace * 7 // 8)
        for batch in done:
            self._unqueue(batch)
            self._batches.remove(batch)
            self._node.app.acked(batch.number)

    def _unqueue(self, batch):
        if batch.state == _QUEUED:
            slot = self._node.queue.owned(batch.seq % 255 + 1)
            if slot >= 0 and slot != self._node.outbox.flight:
                self._node.queue.free(slot)
