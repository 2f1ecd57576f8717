"""Reads stored records back in order, each with its UTC: what an outlet sends.

    replay = Replay(journal, ids, dating, ordinal)
    record = await replay.next()        # None: nothing more now, ask again later
"""
from gateway.records import RECORDS, Decoder


class Replay:
    """The records from `ordinal` on. `next` returns the object itself, with the record in its attributes:

    ordinal; slot, tag, what, values as in gateway/records (values change with the next call);
    unix_ms, source, bound_ms of its instant. `dropped` counts records that are in the journal but cannot be known.
    """

    def __init__(self, journal, names, dating, ordinal):
        self._reader = journal.reader(ordinal)
        self._decoder = Decoder(names)
        self._dating = dating
        self._from = ordinal
        self._next = 0  # ordinal of the frame's next record
        self._left = 0  # records of the frame that are still to come
        self._dated = None
        self.dropped = 0

    def _frame(self):
        """Take the next frame of records; return whether there is one."""
        while True:
            frame = self._reader.read()
            if frame is None:
                return False
            kind, ordinal, count, payload, fresh = frame
            if fresh:
                self._decoder.forget()
            if kind != RECORDS:
                continue
            try:
                self._decoder.begin(payload)
            except (IndexError, ValueError):
                self._give_up(count)
                continue
            self._next, self._left, self._dated = ordinal, count, None
            return True

    def _give_up(self, count):
        self.dropped += count
        self._left = 0
        self._decoder.forget()

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
                self._give_up(self._left)
                continue
            self.ordinal = self._next
            self._next += 1
            self._left -= 1
            if self.ordinal >= self._from:
                offset, self.source, self.bound_ms = self._dated
                self.unix_ms = offset + uptime * 10
                return self
        return None
