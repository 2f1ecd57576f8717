"""Reads stored records back in order, each with its UTC: what an outlet sends.

    replay = Replay(journal, ids, dating, ordinal)
    record = await replay.next()        # None: nothing more now, ask again later
"""
from gateway.records import RECORDS, Decoder


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
