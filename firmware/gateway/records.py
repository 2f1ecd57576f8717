"""Readings and events as bytes: the payload of a journal frame of kind RECORDS.

One frame is one commit: the records that were made since the last one, in order.

    frame   = boot, uptime, source, [utc, bound], record...      varints
    record  = step, head, body                                   step: signed, 10 ms, from the record before
    head    = slot << 4 | tag                                    slot 0 is the gateway itself
    reading : [schema], [bitmap], [flags], signed delta...       tag: KEY | PARTIAL | FLAGGED
    lost    : nothing                                            tag: LOST
    event   : code, severity << 4 | state, length, detail        tag: EVENT

uptime and utc are the frame's base in 10 ms units, utc from 2024; bound is in ms; source as in gateway/clock,
and with source `none` utc and bound are absent. A value is the difference to the meter's last one in this block
of the journal, or absolute after KEY: the first reading of a meter in a block is a key, so that a lost block
never touches the next. docs/records.md has an example, byte by byte.
"""
from micropython import const

from gateway import clock
from lib import once, varint

RECORDS = 1  # the frame kind
KEY = 1
_PARTIAL = const(2)
FLAGGED = 4
LOST, EVENT = 8, 9
_SUSPECT = const(2)  # the flag: the checks do not believe a value; above it a bit for each column, none: all of them
_COLUMNS = const(60)  # that have a bit of their own: a varint ends at 70

INFO, WARN, ALARM = range(3)
SET, CLEAR, ONCE = range(3)


class Encoder:
    """Writes rows (uptime in 10 ms, slot, tag, what, values) into frames.

    `what` is the schema of a reading, or (code, severity, state, detail as bytes) of an event.
    `values` are integers, None where the meter gave none. The tag of a FLAGGED reading has the bit 4 + i set for each
    suspect column i; without any, all are.
    """

    def __init__(self, boot):
        self._boot = boot
        self._last = {}  # slot: (schema, values of its last reading, block of that)
        self._block = 0

    def forget(self):
        """Make the next reading of each meter a key: a block begins, or a frame was not committed."""
        self._block += 1  # the lists stay where they are: new ones would cut up the heap

    def begin(self, buf, uptime, source, utc):
        """Write the head of a frame based at `uptime` (10 ms), `utc` = (unix ms, bound) or None; return its length."""
        at = varint.put(buf, varint.put(buf, 0, self._boot), uptime)
        if utc is None:
            return varint.put(buf, at, clock.NONE)
        at = varint.put(buf, varint.put(buf, at, source), utc[0] // 10 - clock.EPOCH * 100)
        return varint.put(buf, at, utc[1])

    def add(self, buf, at, step, row):
        """Write `row`; return the offset after it. IndexError, and nothing remembered, when it does not fit."""
        _, slot, tag, what, values = row
        at = varint.put_signed(buf, at, step)
        if tag == LOST:
            return varint.put(buf, at, slot << 4 | LOST)
        if tag == EVENT:
            code, severity, state, detail = what
            at = varint.put(buf, varint.put(buf, at, slot << 4 | EVENT), code)
            at = varint.put(buf, varint.put(buf, at, severity << 4 | state), len(detail))
            if at + len(detail) > len(buf):
                raise IndexError
            buf[at : at + len(detail)] = detail
            return at + len(detail)
        suspect = tag >> 4
        tag &= 15
        schema, last, block = self._last.get(slot, (None, None, 0))
        if schema != what:
            last = [0] * len(values)
        if schema != what or block != self._block:
            tag |= KEY
        if None in values:
            tag |= _PARTIAL
        at = varint.put(buf, at, slot << 4 | tag)
        if tag & KEY:
            at = varint.put(buf, at, what)
        if tag & _PARTIAL:
            at = _put_bitmap(buf, at, values)
        if tag & FLAGGED:
            at = varint.put(buf, at, _SUSPECT if suspect >> _COLUMNS else suspect << 2 | _SUSPECT)
        for i, value in enumerate(values):
            if value is not None:
                at = varint.put_signed(buf, at, value if tag & KEY else value - last[i])
        for i, value in enumerate(values):
            if value is not None:
                last[i] = value
            elif tag & KEY:
                last[i] = 0
        if tag & KEY:
            self._last[slot] = (what, last, self._block)
        return at


def _put_bitmap(buf, at, values):
    """One bit a column, low bit first: set where the reading has a value."""
    for i, value in enumerate(values):
        if i & 7 == 0:
            buf[at] = 0
            at += 1
        if value is not None:
            buf[at - 1] |= 1 << (i & 7)
    return at


class Decoder:
    """Reads frames back: `begin` puts the frame's head into the attributes, then `record` is called count times."""

    def __init__(self, names):
        self._names = names
        self._last = {}
        self._block = 0
        self.boot = self.uptime = self.source = self.utc = self.bound = 0  # utc in 10 ms from 2024

    def forget(self):
        """Forget the values of each meter: the next frame follows a hole, or begins a block."""
        self._block += 1

    def begin(self, payload):
        """Take a frame's payload (a memoryview that stays valid until its last record is read)."""
        self._buf = payload
        self.boot, at = varint.get(payload, 0)
        self.uptime, at = varint.get(payload, at)
        self.source, at = varint.get(payload, at)
        self.utc = self.bound = 0
        if self.source != clock.NONE:
            self.utc, at = varint.get(payload, at)
            self.bound, at = varint.get(payload, at)
        self._at = at
        self._now = self.uptime

    def record(self):
        """Return the next row as `Encoder` took it, with a list `values` that the next call may change.

        ValueError when it cannot be known what it says (a delta whose key was lost, an unknown schema or kind): then
        nothing behind it in this frame can be known either.
        """
        buf = self._buf
        step, at = varint.get_signed(buf, self._at)
        head, at = varint.get(buf, at)
        slot, tag = head >> 4, head & 15
        self._now += step
        what = values = None
        if tag == EVENT:
            code, at = varint.get(buf, at)
            grade, at = varint.get(buf, at)
            length, at = varint.get(buf, at)
            what = (code, grade >> 4, grade & 15, bytes(buf[at : at + length]))
            at += length
        elif tag < LOST:
            what, values, at, flags = self._reading(slot, tag, at)
            tag |= flags >> 2 << 4
        elif tag > EVENT:
            raise ValueError("unknown kind")
        self._at = at
        return self._now, slot, tag, what, values

    def _reading(self, slot, tag, at):
        buf = self._buf
        schema, last, block = self._last.get(slot, (None, None, 0))
        if tag & KEY:
            before = schema
            schema, at = varint.get(buf, at)
            if schema != before:
                columns = self._names.columns(schema)
                if columns is None:
                    raise ValueError("unknown schema")
                last = [0] * columns.count("\n")
        elif last is None or block != self._block:
            raise ValueError("delta without its key")
        bitmap = at
        flags = 0
        if tag & _PARTIAL:
            at += (len(last) + 7) // 8
        if tag & FLAGGED:
            flags, at = varint.get(buf, at)
        values = [None] * len(last) if tag & _PARTIAL else last
        for i in range(len(last)):
            if tag & KEY:
                last[i] = 0
            if not tag & _PARTIAL or buf[bitmap + (i >> 3)] >> (i & 7) & 1:
                delta, at = varint.get_signed(buf, at)
                last[i] += delta
                values[i] = last[i]
        if tag & KEY:
            self._last[slot] = (schema, last, self._block)
        return schema, values, at, flags


class Names:
    """What the numbers in the journal stand for, while the gateway runs; gateway/ids gives them, at the start.

    `serials` in the order of their slots; `columns`: {number: layout}, of the schemas in use.
    """

    def __init__(self, serials, columns):
        self._serials = serials
        self._columns = columns

    def serial(self, slot):
        """Return the serial that owns `slot`; None for one that was never given."""
        return self._serials[slot - 1] if 0 < slot <= len(self._serials) else None

    def columns(self, number):
        """Return the layout of schema `number`, "\\nOBIS UNIT EXPONENT" for each value; None when it is not known."""
        if number not in self._columns:
            kept = once.call("lib.twin", "load", "schema%d" % number)  # of a meter that is no more, or was another
            if not kept:
                return None
            self._columns[number] = kept.decode()
        return self._columns[number]
