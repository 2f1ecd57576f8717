"""Reads stored records back in order, each with its UTC: what an outlet sends.

    history = History(journal, ids, dating, ordinal, archive, missed)
    record = await history.next()       # a Replay; None: nothing more now, ask again later

A frame without a time belongs to a boot. If that boot learnt the time later, its next dated frame says by how much
uptime and UTC differ; if it never did, it is placed as a whole (gateway/bracket).
"""
from gateway import clock
from gateway.records import RECORDS, Decoder
from lib import once


class Replay:
    """The records from `ordinal` on. `next` returns the object itself, with the record in its attributes:

    ordinal; slot, tag, what, values as in gateway/records (values change with the next call);
    unix_ms, source, bound_ms of its instant. `gap` is (first, after): the ordinals from first to after - 1 are gone,
    overwritten or damaged; whoever reads it sets it to None. `first` and `done` are those of gateway/archive.
    """

    first = None
    done = None

    def __init__(self, journal, names, dating, ordinal):
        self._reader = journal.reader(ordinal)
        self._decoder = Decoder(names)
        self._dating = dating
        self.start(ordinal)

    def start(self, ordinal):
        """Go to `ordinal`."""
        self._reader.start(ordinal)
        self._decoder.forget()
        self._from = ordinal
        self._next = 0  # ordinal of the frame's next record
        self._left = 0  # records of the frame that are still to come
        self._dated = None
        self._lost = 0  # what the reader has counted of it
        self.gap = None

    def _frame(self):
        """Take the next frame of records; return whether there is one."""
        while True:
            frame = self._reader.read()
            if frame is None:
                return False
            kind, ordinal, count, payload, fresh = frame
            if fresh:
                self._decoder.forget()
            lost = self._reader.lost - self._lost
            self._lost += lost
            self._miss(ordinal - lost, lost)
            if kind != RECORDS:
                continue
            try:
                self._decoder.begin(payload)
            except (IndexError, ValueError):
                self._miss(ordinal, count)
                self._decoder.forget()
                continue
            self._next, self._left, self._dated = ordinal, count, None
            return True

    def _miss(self, first, count):
        """Add to the gap what lies behind the ordinal that was asked for."""
        after = first + count
        if count and after > self._from:
            self.gap = (self.gap[0] if self.gap else max(first, self._from), after)

    async def next(self):
        """Return self with the next record, or None when there is none yet or its time cannot be known yet."""
        while self._left or self._frame():
            if self._dated is None and self._next + self._left > self._from:
                self._dated = await self._dating.of(self._decoder, self._next)
                if self._dated is None:
                    return None
            try:
                uptime, self.slot, self.tag, self.what, self.values = self._decoder.record()
            except (IndexError, ValueError):
                self._miss(self._next, self._left)
                self._decoder.forget()
                self._left = 0
                continue
            self.ordinal = self._next
            self._next += 1
            self._left -= 1
            if self.ordinal >= self._from:
                offset, self.source, self.bound_ms = self._dated
                self.unix_ms = offset + uptime * 10
                return self
        return None


class History:
    """The records from `ordinal` on: the journal's, and what an archive (or None) has of those that the journal lost.

    `missed(first, after, thinned)` is told that ordinals first to after - 1 are gone; of `thinned` ones the archive's
    records come. What was told may be told again.
    """

    def __init__(self, journal, names, dating, ordinal, archive, missed):
        self._journal = journal
        self._archive = archive
        self._missed = missed
        self._replay = self._now = Replay(journal, names, dating, ordinal)
        self._asked = -1  # from where on the archive was asked

    def start(self, ordinal):
        """Go to `ordinal`. For each new connection a new History would cut up the heap."""
        self._replay.start(ordinal)
        self._now = self._replay
        self._asked = -1

    async def next(self):
        """Return a Replay with the next record, or None when there is none yet or its time cannot be known yet."""
        while True:
            replay = self._now
            record = await replay.next()
            if replay.gap:
                first, after = replay.gap
                replay.gap = None
                begin = self._journal.first
                if self._archive and self._asked < first < begin:
                    self._asked = first
                    self._missed(first, begin, True)
                    self._now = self._archive.replay(first)
                    continue
                self._missed(first, after, False)
            if replay.done is None:
                return record
            self._now = self._replay
            self._replay.start(replay.done)


def offset(head):
    """Return the unix ms at uptime 0 of the boot of a dated frame's `head` (a Decoder)."""
    return (clock.EPOCH * 100 + head.utc - head.uptime) * 10


def drift(ms):
    """Return by how many ms the crystal may be off after `ms` of uptime, or before."""
    return abs(ms) * clock.CRYSTAL_PPM // 1000000 + 1


class Dating:
    """Finds the offset (unix ms at uptime 0) of a boot; each is looked up once.

    `hints`: the hints in the journal's block headers are seconds from clock.EPOCH.
    """

    def __init__(self, journal, now, boot, hints=True):
        self._journal = journal
        self._clock = now
        self._boot = boot
        self._hints = hints
        self._known = (0, (0, 0, 0, 0))  # the last boot asked for: (boot, its answer)
        self._unknown = 0  # the last boot for which the journal was searched
        self._next = 0  # the journal's then

    async def of(self, head, ordinal):
        """Return (unix ms at uptime 0, source, bound ms) for the frame with `head` (a Decoder) at `ordinal`.

        None while the time of its boot cannot be known yet: the frame has to wait.
        """
        if head.source != clock.NONE:
            return offset(head), head.source, head.bound
        if self._known[0] != head.boot:
            if self._clock.source == clock.NONE and head.boot in (self._boot, self._unknown):
                return None  # nothing that would date it is stored meanwhile
            journal = self._journal
            if head.boot == self._unknown and journal.next == self._next:
                return None
            before = journal.next
            found = await once.call("gateway.bracket", "search", journal, head.boot, ordinal, self._hints)
            if found is None:
                self._unknown, self._next = head.boot, before
                return None
            self._known = (head.boot, found)
        start, source, bound, at = self._known[1]
        return start, source, bound + drift(head.uptime * 10 - at)
