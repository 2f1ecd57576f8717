"""The SD card as a mirror of the journal: CSV, a file a day, with the columns of `meshems logs --format csv`.

    mirror = Mirror(board["sd"], gateway, names, cursor, "pole-07")
    await mirror.run(life)              # /sd/pole-07/2026-06-22.csv and so on

It reads the journal as an outlet does, with a cursor of its own that moves when a batch is on the card. The journal
never waits for it: a card that is not there, full or broken costs a try in five minutes, and what the journal has lost
meanwhile is missing on the card. FAT is not safe from power cuts, so a file is open for one batch only; a batch that is
written and whose cursor is not is known by its last line.
"""
import asyncio
import os
from errno import EEXIST, EINVAL, ENODEV, ENOENT

import machine
import vfs
from micropython import const

from gateway import clock, log, records
from gateway.replay import Dating, Replay
from lib import civil, fixed, once

_ENOSPC = const(28)  # the module has no name for it
_ROOT = const("/sd")
_EVERY_S = const(10)
_AGAIN_S = const(300)  # a card that does not answer holds the loop for up to a second
_BATCH = const(2048)  # bytes, and what a record has beyond
_MOST = const(16384)  # bytes that a batch has never more than
_TAIL = const(600)  # bytes that hold the last line: an event's detail is the longest thing in one
_HEAD = const(
    "ordinal,ts,tsSrc,tsUncMs,boot,uptime,meter,kind,obis,value,unit,quality,severity,state,detail\r\n"
)  # fmt: skip


class Mirror:
    """One task: `run(life)`. `state` is what the page of the journal says of the card."""

    def __init__(self, row, gateway, names, cursor, folder):
        self._row = row
        self._journal = journal = gateway.journal
        self._names = names
        self._cursor = cursor
        self._folder = "%s/%s" % (_ROOT, folder)
        self._card = None
        self._last = ("", 0, 0)  # path, boot and ordinal of the last line that was in it when it was looked at
        self._begun = None  # (path, its size before) of lines of which the card has perhaps a part
        kept = journal.cursor(cursor)
        self.next = kept if kept is not None and kept <= journal.next else journal.first
        self._replay = Replay(journal, names, Dating(journal, gateway.clock, gateway.recorder.boot), self.next)
        self.state = "?"

    async def run(self, life):
        """Copy what is new, for ever."""
        while True:
            wait = _EVERY_S
            try:
                while await self._batch(life):
                    life.beat()
            except OSError as error:
                self._fail(error)
                wait = _AGAIN_S
            for _ in range(wait):
                life.beat()
                await asyncio.sleep_ms(1000)

    async def _batch(self, life):
        """Copy some records; return whether there were any."""
        replay = self._replay
        replay.start(self.next)
        path = None
        lines = []
        size = 0
        after = self.next
        while size < _BATCH:
            life.beat()
            record = await replay.next()
            replay.gap = None  # what the journal has lost is missing here too
            if record is None:
                break
            where = "%s/%s.csv" % (self._folder, civil.iso(record.unix_ms, False)[:10])
            if path and where != path:
                break
            path = where
            if not self._is_there(path, record._decoder.boot, record.ordinal):
                lines.append(self._lines(record))
                size += len(lines[-1])
            after = record.ordinal + 1
            await asyncio.sleep_ms(0)
        if after == self.next:
            return False
        self._mount()
        if lines:
            self._append(path, lines)
        self.next = after
        self._journal.put(self._cursor, after)
        self._tell("ok")
        return True

    def _is_there(self, path, boot, ordinal):
        """Return whether a record is in its file already: the power went before the cursor was kept."""
        if self._begun:
            return False  # it is written over what could not be finished
        if self._last[0] != path:
            self._mount()
            self._last = (path,) + self._newest(path)
        return boot <= self._last[1] and ordinal <= self._last[2]

    def _newest(self, path):
        """Return (boot, ordinal) of the last line of a file, (-1, -1) when it has none."""
        size = _size(path)
        if not size:
            return -1, -1
        with open(path, "rb") as file:
            file.seek(max(0, size - _TAIL))
            fields = file.read().split(b"\n")[-2:][0].split(b",")
        try:
            return int(fields[4]), int(fields[0])
        except (IndexError, ValueError):
            return -1, -1

    def _append(self, path, lines):
        """Put lines behind a file, over those that could not be finished before, and all of it on the card."""
        try:
            os.mkdir(self._folder)
        except OSError as error:
            if error.errno != EEXIST:
                raise
        size = at = _size(path)
        if self._begun and self._begun[0] == path and 0 <= size - self._begun[1] <= _MOST:
            at = self._begun[1]
        self._begun = path, at
        with open(path, "r+b" if size else "wb") as file:  # closed, data, size and FAT are on the card: FatFs' f_close
            if at:
                file.seek(at)
            else:
                file.write(_HEAD.encode())
            for text in lines:
                file.write(text.encode())
        self._begun = None

    def _lines(self, record):
        """Return the lines of a record: one for each register, one for anything else."""
        front = "%d,%sZ,%s,%d,%d,%d.%02d,%s," % (
            record.ordinal, civil.iso(record.unix_ms, True)[:-2], clock.SOURCES[record.source], record.bound_ms,
            record._decoder.boot, record._decoder._now // 100, record._decoder._now % 100,
            self._names.serial(record.slot) or "",
        )  # fmt: skip
        if record.tag == records.LOST:
            return front + "comms_lost,,,,,,,\r\n"
        if record.tag == records.EVENT:
            return front + once.call("gateway.events", "row", *record.what)
        columns = self._names.columns(record.what)[1:].split("\n")
        marks = record.tag >> 4
        flagged = record.tag & records.FLAGGED
        text = ""
        for i, value in enumerate(record.values):
            if value is not None:
                obis, unit, exponent = columns[i].split(" ")
                suspect = record.source == clock.NONE or flagged and (not marks or marks >> i & 1)
                text += "%sreading,%s,%s,%s,%s,,,\r\n" % (
                    front, obis, fixed.text(value, int(exponent)), unit, "suspect" if suspect else "good",
                )  # fmt: skip
        return text

    def _mount(self):
        """Mount the card, if it is not: OSError when there is none, or no FAT on it."""
        if self._card:
            return
        row = self._row
        pins: dict = {name: machine.Pin(row[name]) for name in ("sck", "mosi", "miso", "cs", "cmd") if name in row}
        if "data" in row:
            pins["data"] = tuple([machine.Pin(pin) for pin in row["data"]])
            pins["width"] = len(row["data"])
        try:
            card = machine.SDCard(slot=row["slot"], **pins)
        except (TypeError, ValueError):  # pins that this chip, or this MicroPython, does not take
            raise OSError(EINVAL)
        fat: type = vfs.VfsFat
        try:
            vfs.mount(fat(card), _ROOT)
        except OSError:
            card.deinit()
            raise
        self._card = card
        self._last = ("", 0, 0)

    def _fail(self, error):
        """Give the card up until the next try."""
        if not self._card:  # it was not even mounted
            self._tell({ENODEV: "no FAT", EINVAL: "no slot"}.get(error.errno, "no card"))
            return
        try:
            vfs.umount(_ROOT)
        except OSError:
            pass
        self._card.deinit()
        self._card = None
        self._tell("full" if error.errno == _ENOSPC else "error %d" % error.errno)

    def _tell(self, state):
        if state != self.state:
            self.state = state
            (log.info if state == "ok" else log.warn)("sd", state)


def _size(path):
    """Return the bytes of a file, 0 when there is none."""
    try:
        return os.stat(path)[6]
    except OSError as error:
        if error.errno == ENOENT:
            return 0
        raise
