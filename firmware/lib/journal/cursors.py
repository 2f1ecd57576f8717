"""Small numbers that move on and survive any power cut: the cursor journal in the first blocks of the partition.

Slots of 16 bytes are appended, the last one of an id counts. A full block is followed by the next one, which gets a
snapshot of all cursors first and its header last: until that instant the old block is the valid one.
"""
import struct
from binascii import crc32
from errno import EIO

from lib.journal.block import BLOCK

BLOCKS = 8
SLOT = 16
_TRIES = 3  # blocks; never as many as there are, the old one is among them
_HEAD = 0x4A43  # "CJ"
_VERSION = 1
_MARK = 0xC5


class Cursors:
    """The cursors of one journal; `at` maps an id (0..254) to its ordinal."""

    def __init__(self, dev, stats):
        self._dev = dev
        self._stats = stats
        self._slot = bytearray(SLOT)
        self._number = -1  # of the block in force
        self._off = BLOCK  # where its next slot goes
        self.at = {}

    def mount(self):
        """Find the block in force and read it. Writes nothing."""
        count = 0
        for block in range(BLOCKS):
            head = self._load(block, 0, 0)
            number = head[2]
            if head[0] == _HEAD and head[1] & 255 == _VERSION and number % BLOCKS == block and number > self._number:
                self._number, count = number, head[1] >> 8
        if self._number < 0:
            return
        off = end = SLOT
        while off < BLOCK:
            mark, _, ordinal = self._load(self._number % BLOCKS, off, self._number)
            if mark & 255 == _MARK:
                self.at[mark >> 8] = ordinal
            elif min(self._slot) == 255:
                off = (off | 255) + 1  # a session ended here, the next one began at a new page
                continue
            off += SLOT
            end = off
        # A block with nothing behind its snapshot: its header may be what a power cut tore, and read well once only.
        if end > SLOT + count * SLOT:
            self._off = (end | 255) + 1

    def put(self, cursor, ordinal):
        """Keep `ordinal` as the cursor's place; OSError when flash is beyond use."""
        if not 0 <= cursor < 255:
            raise ValueError("cursor id")
        self.at[cursor] = ordinal
        if self._off < BLOCK:
            if self._store(self._number, self._off, self._number, _MARK | cursor << 8, 0xFFFF, ordinal):
                self._off += SLOT
                return
            self._stats["failed"] += 1
            self._off = BLOCK
        self._turn()

    def _turn(self):
        """Go to the next block that holds what is written."""
        for number in range(self._number + 1, self._number + 1 + _TRIES):
            try:
                self._dev.ioctl(6, number % BLOCKS)
                self._stats["erases"] += 1
                if self._fill(number):
                    self._number, self._off = number, SLOT + len(self.at) * SLOT
                    return
            except OSError:
                pass
            self._stats["failed"] += 1
        raise OSError(EIO)

    def _fill(self, number):
        off = SLOT
        for cursor, ordinal in self.at.items():
            if not self._store(number, off, number, _MARK | cursor << 8, 0xFFFF, ordinal):
                return False
            off += SLOT
        return self._store(number, 0, 0, _HEAD, _VERSION | len(self.at) << 8, number)

    def _load(self, block, off, seed):
        """Return the slot's (u16, u16, u32), or zeros when its CRC is wrong."""
        slot = self._slot
        self._dev.readblocks(block, slot, off)
        if crc32(memoryview(slot)[:12], seed) != struct.unpack_from("<I", slot, 12)[0]:
            return 0, 0, 0
        return struct.unpack_from("<HHI", slot, 0)

    def _store(self, number, off, seed, a, b, c):
        """Program one slot; return whether it reads back."""
        slot, block = self._slot, number % BLOCKS
        struct.pack_into("<HHII", slot, 0, a, b, c, 0xFFFFFFFF)
        struct.pack_into("<I", slot, 12, crc32(memoryview(slot)[:12], seed))
        try:
            self._dev.writeblocks(block, slot, off)
            return self._load(block, off, seed) == (a, b, c)
        except OSError:
            return False
