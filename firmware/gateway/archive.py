"""The archive: each view of each meter once in 15 minutes and every event, in a ring of its own, for long after the
journal has gone round. Only where the board has a partition for it.

    archive = Archive(Journal(partition), journal, names, epoch, dating)
    await archive.run(life)             # thins what the recorder has stored
    replay = archive.replay(ordinal)    # a Replay of what the journal has lost

Its frames are those of gateway/records. Behind the last record stands how many of the journal's ordinals each one
covers (varints, the record's own ordinal is the last of them), their length (u8), and the first ordinal of all (u32).
"""
import asyncio
import struct
from errno import EAGAIN

from micropython import const

from gateway import clock, log
from gateway.records import EVENT, LOST, RECORDS, Decoder, Encoder
from gateway.replay import Replay
from lib import once, varint
from lib.journal import MAX

_EVERY = const(90000)  # 15 min, in 10 ms
_TICK_MS = const(500)
_TRIES = const(3)
_ROWS = const(63)
_FIRST = const(0)  # its cursors: where the records of the present epoch begin, and that epoch
_EPOCH = const(1)


class Archive:
    """`next`: the ordinal of the journal that is looked at next. `dropped` counts records that flash would not take."""

    def __init__(self, journal, hot, names, epoch, dating):
        self.journal = journal
        self.hot = hot
        self.names = names
        self.dating = dating
        self.dropped = 0
        self._decoder = Decoder(names)
        self._encoder = Encoder(0)
        self._boot = 0
        self._buf = memoryview(bytearray(MAX))
        self._covers = bytearray(255)
        self._quarters = {}  # slot and layout: the quarter of an hour of its newest record
        if journal.cursor(_EPOCH) != epoch:  # the journal was formatted: its ordinals began anew
            journal.put(_FIRST, journal.next)
            journal.put(_EPOCH, epoch)
        self.first = journal.cursor(_FIRST)
        self.next = self._newest()
        hot.next = max(hot.next, self.next)  # what it has taken is never numbered again
        self._reader = hot.reader(self.next)

    def _newest(self):
        """Return the ordinal of the journal after the newest record."""
        reader = self.journal.reader(max(self.first, self.journal.next - 1))
        after = 0
        frame = reader.read()
        while frame:
            if frame[1] >= self.first:
                at, end, after = _covered(frame[3])
                while at < end:
                    count, at = varint.get(frame[3], at)
                    after += count
            frame = reader.read()
        return after

    async def run(self, life):
        """Thin what is new, for ever, and erase ahead."""
        while True:
            life.beat()
            while self.step():
                life.beat()
                await asyncio.sleep_ms(0)
            self.journal.prepare()
            await asyncio.sleep_ms(_TICK_MS)

    def step(self):
        """Thin one frame of the journal; return whether there was one."""
        frame = self._reader.read()
        if frame is None:
            return False
        kind, ordinal, count, payload, fresh = frame
        head = self._decoder
        if fresh:
            head.forget()
        if kind == RECORDS:
            rows = []
            try:
                head.begin(payload)
                for at in range(ordinal, ordinal + count):
                    row = head.record()
                    if at >= self.next and self._wanted(row):
                        rows.append((at, row[:4] + (row[4] and list(row[4]),)))
            except (IndexError, ValueError):
                head.forget()
            self._store(rows)
        return True

    def _wanted(self, row):
        if row[2] == EVENT:
            return True
        quarter = (row[0] - self._decoder.uptime + self._decoder.utc if self._decoder.source else row[0]) // _EVERY
        layout = row[1] << 16 | (row[3] or 0)  # each view of a meter, its intervals, and that it is silent
        if self._quarters.get(layout) == quarter:
            return False
        self._quarters[layout] = quarter
        return True

    def _store(self, rows):
        if self._boot != self._decoder.boot:
            self._boot = self._decoder.boot
            self._encoder = Encoder(self._boot)
        tries = _TRIES
        while rows:
            room = self.journal.room()
            if not room:
                self._encoder.forget()
            count, length = self._encode(self._buf[: room or MAX], rows)
            if not count and room:
                self._encoder.forget()
                count, length = self._encode(self._buf, rows)
            if not count:  # with what the archive adds it is larger than a frame
                rows.pop(0)
                self.dropped += 1
                continue
            try:
                self.journal.append(RECORDS, self._buf[:length], count, rows[count - 1][0])
                self.next = rows[count - 1][0] + 1
                del rows[:count]
            except OSError as error:
                self._encoder.forget()
                tries -= 1
                if not tries or error.errno != EAGAIN:
                    log.error("archive", "cannot store: %r" % error)
                    self.dropped += len(rows)
                    return

    def _encode(self, view, rows):
        """Return (rows encoded, bytes used)."""
        head, covers = self._decoder, self._covers
        count = at = used = 0
        before, after = head.uptime, self.next
        utc = ((head.utc + clock.EPOCH * 100) * 10, head.bound) if head.source != clock.NONE else None
        try:
            at = self._encoder.begin(view, before, head.source, utc)
            for ordinal, row in rows[:_ROWS]:
                more = varint.put(covers, used, ordinal + 1 - after)
                if row[2] & 15 < LOST:
                    row = row[:2] + (row[2] & -4,) + row[3:]  # the encoder chooses key and partial
                at = self._encoder.add(view[: max(0, len(view) - 5 - more)], at, row[0] - before, row)
                before, after, used = row[0], ordinal + 1, more
                count += 1
        except IndexError:
            pass
        if not count:
            return 0, 0
        view[at : at + used] = memoryview(covers)[:used]
        struct.pack_into("<BI", view, at + used, used, self.next)
        return count, at + used + 5

    def replay(self, ordinal):
        """Return a Thinned of what there is from `ordinal` of the journal on."""
        return Thinned(self, ordinal)


def _covered(payload):
    """Return (begin, end) of the counts in a frame's payload, and the first ordinal."""
    end = len(payload) - 5
    used, first = struct.unpack_from("<BI", payload, end)
    return end - used, end, first


class _Covered(Decoder):
    """Reads the archive's frames: `first` and `after` of the ordinals that the record read last covers."""

    def begin(self, payload):
        super().begin(payload)
        self._counts, _, self.after = _covered(payload)
        self._payload = payload

    def record(self):
        row = super().record()
        count, self._counts = varint.get(self._payload, self._counts)
        self.first = self.after
        self.after += count
        return row


class Thinned(Replay):
    """A Replay of the archive up to where the journal begins. `first` and `ordinal`: what the record covers.

    `done` is None, or the ordinal at which a Replay of the journal goes on: there is no more here.
    """

    def __init__(self, archive, ordinal):
        found = max(archive.first, once.call("lib.journal.index", "find", archive.journal, ordinal))
        super().__init__(archive.journal, archive.names, archive.dating, found)
        self._decoder = self._covered = _Covered(archive.names)
        self._hot = archive.hot
        self._begin = ordinal

    async def next(self):
        """Return self with the next record; None when it is done, or when a record's time cannot be known yet."""
        while await super().next():
            self.gap = None  # a hole in the archive itself: what it covered is gone with it
            self.first, self.ordinal = self._covered.first, self._covered.after - 1
            if self.ordinal >= self._hot.first:
                self._left = 0
                break
            if self.ordinal >= self._begin:
                self._begin = self.ordinal + 1
                return self
        self.gap = None
        if not self._left:
            self.done = self._begin
        return None
