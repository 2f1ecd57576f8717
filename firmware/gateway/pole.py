"""A pole of the mesh: what its journal holds goes to a root in batches, and is the journal's until a root has it safe.

The mesh is one more consumer of the journal, with a cursor of its own. A batch is a few records (gateway/batches), and
goes as one part, or as some where a single record is longer than a frame; the cursor moves over the prefix of which the
root has acknowledged every part. After a reset all beyond the cursor goes again, under new numbers: a root takes it as
new, and (gatewayId, seq) tells a consumer so.
"""
import asyncio

from micropython import const

from gateway import VERSION, bridge, clock, log
from gateway.batches import AGAIN, IDENTITY, LAYOUT, RECORDS, REPORT, TABLE, Writer
from gateway.replay import History
from lib import once

IDLE_MS = 200
_LIMIT_MS = const(60000)
_CURSOR_MS = const(5000)  # least time between two writes of the cursor to flash
_SPREAD_S = const(60)  # over which the poles of a site spread what they all read at the same second
_TABLE_MS = const(300000)
_FIRST_MS = const(20000)
_ANSWER = const(200)  # bytes of what a root has asked for, in one answer
_PARTS = const(15)
_NEAR = const(8)  # these two as at an outlet
_FAR = const(4)


class Pole(bridge.Bridge):
    """`place`: the next ordinal to be acknowledged. `feed(life)` fills batches and offers them to the node."""

    gateway = None  # whose report is sent too

    def __init__(self, now, recorder, nvs, identity, journal, cursor, dating, problems, archive):
        super().__init__(now, recorder, nvs)
        self._feeder, self._gateway, self.names, self._every, self._epoch = identity
        self._problems = problems
        self.journal = journal
        self._cursor = cursor
        kept = journal.cursor(cursor)
        self.place = kept if kept is not None and kept <= journal.next else journal.first
        self._kept, self._kept_at = kept, 0
        self._dating = dating
        self._archive = archive
        self._history = History(journal, self.names, dating, self.place, archive, self._missed)
        self._resend = None
        self.again = []  # numbers of parts of what is sent again, not acknowledged yet
        self._writer = None
        self._held = None  # the record that was read last belongs into the next batch
        self._opened = self._late = 0  # uptime ms of the batch's first record, and how old that was then
        self._number = 0
        self._parts = []  # (number, kind, bytes) not yet taken by the node
        self._way = []  # (ordinal after it, numbers of its parts that are not acknowledged) of each batch of records
        self._named = False  # this boot has said who it is
        self._table_at = self._report_at = _FIRST_MS
        self._near = False
        self._gaps = ()  # that events have told of, as at an outlet

    def start(self, keep):
        """Start the tasks."""
        super().start(keep)
        node = self.node
        self._writer = Writer(self._epoch, node.room - 1)
        self._number = node.secrecy.counter.epoch << 16  # above all that went before
        self._phase = node.rand(1000 * min(list(self._every.values()) + [_SPREAD_S]))
        keep("mesh batches", self.feed, _LIMIT_MS)

    @property
    def behind(self):
        """Return how many records are not acknowledged."""
        return self.journal.next - self.place

    async def feed(self, life):
        """Fill batches and offer them, for ever."""
        # started anew after a death: what was in hand then is in the journal, and a root asks again for what it lacks
        self._history.start(self._way[-1][0] if self._way else self.place)
        self._writer.count = 0
        self._held = None
        self._resend = None
        self.again.clear()
        while True:
            life.beat()
            parts = self._parts
            while parts and self.node.offer(parts[0][0], parts[0][2], bridge.ticks(), parts[0][1]):
                parts.pop(0)
            if not parts and self.node.uplinked():  # what waited would be old, and published as new
                self._tell(clock.uptime_ms())
            if not parts:
                await self._fill()
            if self._resend and await self._resend.step():
                self._resend = None
            self.keep()
            await asyncio.sleep_ms(IDLE_MS)

    def _tell(self, now):
        """Send what is due: at first who this is, since that may be another than before."""
        if not self._named:
            self._named = True
            self.cut(IDENTITY, self._identity())
        elif now >= self._table_at:
            self._table_at = now + _TABLE_MS
            self.cut(TABLE, self.table(self.journal.volatile))
        elif self.gateway and self.gateway.report_ms and now >= self._report_at:
            self._report_at = now + self.gateway.report_ms
            self.cut(REPORT, once.call("gateway.brief", "report", self.gateway))

    def _identity(self):
        """Return whose records these are: feeder, gateway, firmware, problems, then serial and cadence of each slot."""
        lines = [self._feeder, self._gateway, VERSION, str(self._problems)]
        slot = 1
        while self.names.serial(slot):
            lines.append("%s %d" % (self.names.serial(slot), self._every.get(slot, 60)))
            slot += 1
        return "\n".join(lines).encode()

    async def _fill(self):
        """Put records into the batch; let it go when it is full, or when it is time."""
        writer = self._writer
        full = False
        while True:
            record = self._held or await self._history.next()
            if not record:
                break
            self._held = None
            if not writer.put(record):
                self._held = record
                full = True
                break
            if writer.count == 1:
                self._opened = clock.uptime_ms()
                now = self.clock.now()
                self._late = now[0] - record.unix_ms if now else 0
        waited = clock.uptime_ms() - self._opened
        if writer.count and waited + max(0, self._late) >= self._phase and (full or waited >= IDLE_MS):
            count, first = writer.count, self._number + 1
            data = writer.take()
            if len(data) < self.node.room:
                if not self.node.offer(first, b"\0" + bytes(data), bridge.ticks(), RECORDS):
                    writer.count = count  # it stays open: what comes meanwhile goes with it
                    return
                self._number = first
            else:
                self.cut(RECORDS, data)
            self._way.append((writer.after, list(range(first, self._number + 1))))

    def _missed(self, first, after, thinned):
        """Say that records are gone before they went, but for what the archive has of `thinned` ones."""
        where = self.recorder, self.name, self._epoch << 32
        self._gaps = once.call("gateway.overrun", "gone", self._gaps, self.place, where, first, after, thinned)

    def cut(self, kind, data):
        """Queue a batch, in parts: the first byte says which of how many it is."""
        room = self.node.room - 1
        last = (len(data) - 1) // room
        if last > _PARTS:
            log.error(self.name, "%d bytes are too much for the mesh" % len(data))
            return
        parts = []
        for part in range(last + 1):
            self._number += 1
            text = bytes((part << 4 | last,)) + bytes(data[part * room : part * room + room])
            parts.append((self._number, kind, text))
            if kind == AGAIN:
                self.again.append(self._number)
        self._parts.extend(parts)  # all or none

    def acked(self, number):
        """Take that a root has a part safe; the cursor moves over what is acknowledged without a gap."""
        if number in self.again:
            self.again.remove(number)
        for _, numbers in self._way:
            if number in numbers:
                numbers.remove(number)
        while self._way and not self._way[0][1]:
            self.place = self._way.pop(0)[0]

    def command(self, ident, payload):
        """Return a part of what a root wants to know: the number of the last part, and bytes; b"" when it is not known.

        It goes beside the batches: those may wait for just this.
        """
        if len(payload) == 9 and payload[0] == AGAIN:
            from gateway.resend import Resend

            epoch, begin = payload[1] << 8 | payload[2], int.from_bytes(payload[3:7], "big")
            end = self._way[-1][0] if self._way else self.place  # what is on its way may be so without that outlet
            if epoch != self._epoch:
                begin = end  # of a journal that is no more: there is nothing to send
            shared = self.journal, self.names, self._dating, self._archive, Writer(self._epoch, self.node.room - 1)
            self._resend = Resend(self, *shared, begin, end, payload[7:])
        if len(payload) != 4:
            return b""
        kind, part, number = payload[0], payload[1], payload[2] << 8 | payload[3]
        text = b""
        if kind == IDENTITY:
            text = self._identity()
        elif kind == LAYOUT:
            text = (self.names.columns(number) or "").encode()
        if not text:
            return b""
        return bytes(((len(text) - 1) // _ANSWER & 255,)) + text[part * _ANSWER :][:_ANSWER]

    def keep(self, at_once=False):
        """Write the cursor to flash when it moved and the last write is long enough ago, or `at_once`."""
        now = clock.uptime_ms()
        if self.place != self._kept and (at_once or now - self._kept_at >= _CURSOR_MS):
            self._kept_at = now
            try:
                self.journal.put(self._cursor, self.place)
                self._kept = self.place
            except OSError:  # as at an outlet: after a restart more is sent twice, and nothing is lost
                pass
        first = self.journal.first
        part = _FAR if self._near else _NEAR
        near = 0 < first and (self.place - first) * part < self.journal.next - first
        if near != self._near:
            self._near = near
            once.call("gateway.overrun", "near_full", self, self.recorder, near)
