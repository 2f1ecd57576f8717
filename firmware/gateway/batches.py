"""Records as batches for the mesh: each can be read alone by whoever knows the origin's serials and layouts.

    batch   = epoch u16, ordinal u32 of the first record, group...        big endian
    group   = count u8, source, bound, base, record...           varints; base signed, ms, from the group before
    record  as in gateway/records; its step from the group's base on

The ordinals of a batch have no gap; with the journal's epoch they are each record's `seq`. In a group whose source has
bit 3 set an archive's record stands for some ordinals: how many, a varint, is before each. The first base counts from
2024. A record's instant is resolved before it goes: a batch needs no boot and no bracket. The first reading of a meter
in a batch is a key. docs/northbound/mesh.md says it byte by byte.
"""
import struct

from micropython import const

from gateway import clock
from gateway.records import LOST, Decoder, Encoder
from lib import varint

RECORDS, IDENTITY, LAYOUT, REPORT, TABLE, AGAIN = range(1, 7)  # kinds of batches; the words of a root's questions too
_HEAD = const(6)
_THINNED = const(8)  # above the sources
_MOST = const(127)  # records of a group
_LONGEST = const(640)  # a record may be as long as a frame of the journal, and then goes alone, in parts
_GRAIN_MS = const(10)


class Writer:
    """Fills one batch after the other with the records of a Replay. `count` are in it, `after` is the next ordinal."""

    def __init__(self, epoch, room):
        self.epoch = epoch
        self._room = room
        self._encoder = Encoder(0)
        self._buf = memoryview(bytearray(_LONGEST))
        self._same = 0, 0  # source and bound of the group
        self.after = self.count = self._before = self._group = 0

    def put(self, record):
        """Write a record (a Replay); False when it belongs into the next batch."""
        buf = self._buf
        first, source = record.ordinal, record.source
        thinned = record.first is not None
        if thinned:
            first = record.first
            source |= _THINNED
        if not self.count:
            struct.pack_into(">HI", buf, 0, self.epoch, first)
            self._at = _HEAD
            self._base = clock.EPOCH * 1000
            self._encoder.forget()
        elif first != self.after:
            return False
        else:
            buf = buf[: self._room]
        at, group, base, before = self._at, self._group, self._base, self._before
        step, rest = divmod(record.unix_ms - base, _GRAIN_MS)
        tag = record.tag
        if tag & 15 < LOST:
            tag &= -4  # the encoder chooses key and partial
        try:
            if rest or not self.count or (source, record.bound_ms) != self._same or buf[group] == _MOST:
                group = at
                buf[at] = 0
                at = varint.put(buf, varint.put(buf, at + 1, source), record.bound_ms)
                at = varint.put_signed(buf, at, record.unix_ms - base)
                base, step, before = record.unix_ms, 0, 0
            if thinned:
                at = varint.put(buf, at, record.ordinal + 1 - first)
            at = self._encoder.add(buf, at, step - before, (None, record.slot, tag, record.what, record.values))
        except IndexError:
            return False
        buf[group] += 1
        self._same = source, record.bound_ms
        self._at, self._group, self._base, self._before = at, group, base, step
        self.count += 1
        self.after = record.ordinal + 1
        return True

    def take(self):
        """Return the batch, valid until the next `put`, which begins another."""
        self.count = 0
        return self._buf[: self._at]


class Reader(Decoder):
    """The records of one batch after the other, with the attributes of a Replay."""

    def start(self, payload, names):
        """Take a batch, of an origin with these `names`; ValueError when it is none."""
        self._names = names
        self._last.clear()
        if len(payload) < _HEAD:
            raise ValueError("no batch")
        self.epoch, self.ordinal = struct.unpack_from(">HI", payload, 0)
        self.ordinal -= 1
        self._buf = payload
        self._at = _HEAD
        self._left = 0
        self._base = clock.EPOCH * 1000

    def next(self):
        """Return self with the next record, None at the end; IndexError or ValueError when it cannot be read."""
        if not self._left:
            if self._at == len(self._buf):
                return None
            self._left = self._buf[self._at]
            source, at = varint.get(self._buf, self._at + 1)
            self._thinned, self.source = divmod(source, _THINNED)
            self.bound_ms, at = varint.get(self._buf, at)
            base, self._at = varint.get_signed(self._buf, at)
            self._base += base
            self._now = 0
            if not self._left or self._thinned > 1 or self.source >= len(clock.SOURCES):
                raise ValueError("no group")
        self._left -= 1
        self.ordinal += 1
        self.first = None
        if self._thinned:
            self.first = self.ordinal
            many, self._at = varint.get(self._buf, self._at)
            self.ordinal += many - 1
            if not many or self.ordinal >> 32:
                raise ValueError("ordinals")
        step, self.slot, self.tag, self.what, self.values = self.record()
        self.unix_ms = self._base + step * _GRAIN_MS
        return self
