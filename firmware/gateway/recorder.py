"""Takes the readings and events of all tasks and commits them to the journal, in order.

    recorder.reading(uptime_ms, slot, schema, values)
    recorder.event(slot, "comms_lost", WARN, SET, {"misses": 3})
    recorder.commit()           # at the end of a bus round; on its own after 2 s

A record is committed when its frame was read back from flash: only then is it stored, numbered and sent.
"""
import asyncio
from errno import EAGAIN

from micropython import const

from gateway import clock, log
from gateway.records import EVENT, FLAGGED, LOST, RECORDS, Encoder
from lib import once

_COMMIT_MS = const(2000)  # a record is on flash at the latest this long after it was made
_TICK_MS = const(500)
_TRIES = const(3)  # worn blocks that one commit may meet
_SHORT_MS = const(60000)  # a boot that lasted so long is none of a boot loop
_PENDING = const(48)  # records; more than one frame holds, and what a flash that fails for long may cost


class Recorder:
    """The only writer of the journal. `dropped` counts records that flash would not take.

    `begin` is the uptime in ms from which on something is stored. `lines` are the locks of the buses; `sure` says
    whether the clock was trusted when it was looked at last, in this boot or before.
    """

    lines: tuple = ()
    sure = True

    def __init__(self, journal, boot, now, begin=0):
        self._journal = journal
        self._clock = now
        self._encoder = Encoder(boot)
        self.boot = boot
        self.begin = begin
        self._lasted = False  # whether this boot is known not to be one of a loop
        self._buf = journal.buffer()
        self._rows = []
        self._since = 0  # uptime ms of the oldest pending row's arrival
        self._failing = False
        self._told = 0  # unix ms of the newest record: what follows is never dated before it
        self._told_at = 0  # its uptime in 10 ms
        self.dropped = 0

    def _put(self, row):
        if not self._rows:
            self._since = clock.uptime_ms()
        self._rows.append(row)
        if len(self._rows) >= _PENDING:
            self.commit()

    def reading(self, uptime_ms, slot, schema, values, suspect=0):
        """Take what a meter answered at `uptime_ms`: integers in the order of its schema, None for what is absent.

        `suspect` has a bit for each column whose value the checks do not believe.
        """
        self._put((uptime_ms // 10, slot, suspect << 4 | FLAGGED if suspect else 0, schema, values))

    def lost(self, slot):
        """Take the fact that a meter known as lost was due now and is still silent."""
        self._put((clock.uptime_ms() // 10, slot, LOST, None, None))

    def event(self, slot, code, severity, state, detail, uptime_ms=None):
        """Take an event, of now or of `uptime_ms`; `code` is one word of events.CODES, `detail` a small dict."""
        what = once.call("gateway.events", "stored", code, severity, state, detail)
        self._put(((clock.uptime_ms() if uptime_ms is None else uptime_ms) // 10, slot, EVENT, what, None))

    def commit(self):
        """Store what is pending. Never raises: what flash refuses is kept, and dropped from the oldest when full."""
        tries = _TRIES
        while self._rows:
            try:
                self._frame()
            except OSError as error:
                self._encoder.forget()  # what was written last may not be there
                tries -= 1
                if tries and error.errno == EAGAIN:
                    continue
                over = len(self._rows) - _PENDING + 1
                if over > 0:
                    del self._rows[:over]
                    self.dropped += over
                if not self._failing:
                    log.error("journal", "cannot store: %r" % error)
                self._failing = True
                return
        if self._failing:
            log.info("journal", "stores again, %d records were dropped" % self.dropped)
        self._failing = False

    def _frame(self):
        """Encode as many rows as one frame takes, and append it."""
        if clock.uptime_ms() < self.begin:
            raise OSError("boot loop")
        room = self._journal.room()
        if not room:  # the frame opens a block, where nothing is known of what came before
            self._encoder.forget()
            room = len(self._buf)
        count, length = self._encode(self._buf[:room])
        if not count and room < len(self._buf):
            self._encoder.forget()
            count, length = self._encode(self._buf)
        if not count:
            log.error("journal", "a record is larger than a frame")
            self.dropped += 1
            self._rows.pop(0)
            return
        utc = self._utc(self._rows[0][0])
        told = utc[0] + (self._rows[count - 1][0] - self._rows[0][0]) * 10 if utc else clock.EPOCH * 1000
        self._journal.append(RECORDS, self._buf[:length], count, told // 1000 - clock.EPOCH)
        if utc:
            self._told_at = self._rows[count - 1][0]
            self._told = told
        del self._rows[:count]

    def _utc(self, base):
        """Return (unix ms, bound ms) of a frame's base in 10 ms of uptime, never before the record before it; or None.

        After a step back the clock waits until it is caught up, and the bound says so.
        """
        utc = self._clock.at(base * 10)
        told = self._told + min(0, base - self._told_at) * 10  # the end of an interval may lie before a reading
        if utc and utc[0] < told:
            return told, utc[1] + told - utc[0]
        return utc

    def _encode(self, view):
        """Return (rows encoded, bytes used)."""
        rows = self._rows
        base = before = rows[0][0]
        count = at = 0
        try:
            at = self._encoder.begin(view, base, self._clock.source, self._utc(base))
            for row in rows:
                at = self._encoder.add(view, at, row[0] - before, row)
                before = row[0]
                count += 1
                if count == 63:
                    break
        except IndexError:
            pass
        return count, at

    async def run(self, life):
        """Commit what waited long enough, erase ahead while no meter is asked, and watch the clock."""
        while True:
            life.beat()
            now = clock.uptime_ms()
            if self._clock.trusted() != self.sure:
                self.sure = not self.sure
                once.call("gateway.setting", "tell", self._clock, self)
            if self._rows and now - self._since >= _COMMIT_MS - _TICK_MS:
                self.commit()
            for lock in self.lines:
                if lock.locked():
                    break
            else:  # an answer that comes while flash is erased would be stamped late
                self._journal.prepare()
            if not self._lasted and now >= _SHORT_MS:
                self._lasted = True
                once.call("gateway.epoch", "lasted", self._clock.nvs)
            await asyncio.sleep_ms(_TICK_MS)
