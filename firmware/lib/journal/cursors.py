"""Small numbers that move on and survive any power cut: the cursor journal in the first blocks of the partition.

Slots of 16 bytes are appended, the last one of an id counts. A full block is followed by the next one, which gets a
snapshot of all cursors first and its header last: until that instant the old block is the valid one.
"""
import struct
from binascii import crc32
from errno import EIO

from micropython import const

from lib.journal.block import BLOCK

CURSORS = const(8)  # blocks of the partition, the first ones
_SLOT = const(16)
_TRIES = const(3)  # blocks; never as many as there are, the old one is among them
_HEAD = const(0x4A43)  # "CJ"
_VERSION = const(1)
_MARK = const(0xC5)


class Cursors:
    """The cursors of one journal; `at` maps an id (0..254) to its ordinal. mount.py finds what was kept."""

    def __init__(self, dev, stats):
        self.dev = dev
        self.stats = stats
        self.slot = bytearray(_SLOT)
        self.seq = -1  # number of the block in force
        self.end = BLOCK  # where its next slot goes
        self.at = {}

    def put(self, cursor, ordinal):
        """Keep `ordinal` as the cursor's place; OSError when flash is beyond use."""
        if not 0 <= cursor < 255:
            raise ValueError("cursor id")
        self.at[cursor] = ordinal
        if self.end < BLOCK:
            if self._store(self.seq, self.end, self.seq, (_MARK | cursor << 8, 0xFFFF, ordinal)):
                self.end += _SLOT
                return
            self.stats["failed"] += 1
            self.end = BLOCK
        for seq in range(self.seq + 1, self.seq + 1 + _TRIES):
            try:
                self.dev.ioctl(6, seq % CURSORS)
                self.stats["erases"] += 1
                if self._fill(seq):
                    self.seq, self.end = seq, _SLOT + len(self.at) * _SLOT
                    return
            except OSError:
                pass
            self.stats["failed"] += 1
        raise OSError(EIO)

    def _fill(self, seq):
        """Write a block's snapshot and its header; return whether it reads back."""
        off = _SLOT
        for cursor, ordinal in self.at.items():
            if not self._store(seq, off, seq, (_MARK | cursor << 8, 0xFFFF, ordinal)):
                return False
            off += _SLOT
        return self._store(seq, 0, 0, (_HEAD, _VERSION | len(self.at) << 8, seq))

    def load(self, seq, off, seed):
        """Return the (u16, u16, u32) of a slot in block `seq`, or zeros when its CRC is wrong."""
        slot = self.slot
        self.dev.readblocks(seq % CURSORS, slot, off)
        if crc32(memoryview(slot)[:12], seed) != struct.unpack_from("<I", slot, 12)[0]:
            return 0, 0, 0
        return struct.unpack_from("<HHI", slot, 0)

    def _store(self, seq, off, seed, fields):
        """Program one slot; return whether it reads back."""
        slot = self.slot
        struct.pack_into("<HHII", slot, 0, *fields, 0xFFFFFFFF)
        struct.pack_into("<I", slot, 12, crc32(memoryview(slot)[:12], seed))
        try:
            self.dev.writeblocks(seq % CURSORS, slot, off)
            return self.load(seq, off, seed) == fields
        except OSError:
            return False
