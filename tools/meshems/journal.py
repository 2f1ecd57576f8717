"""Reads the flash image of a journal: what docs/journal.md says, written down a second time, without the firmware.

image = Image(Path("flash/journal.bin").read_bytes())
image.first, image.next, image.cursors
for frame in image.frames(): ...

An image may be taken while its gateway runs: what a program has not completed reads as not there.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from zlib import crc32

BLOCK, PAGE, UNIT = 4096, 256, 16
CURSORS = 8  # blocks
BEGIN = 254  # the cursor before which nothing counts
HEAD = struct.Struct("<HBBIIIIIII")
FRAME = struct.Struct("<HHI")
SLOT = struct.Struct("<BBHIII")
MAX = 504


@dataclass(frozen=True)
class Block:
    """A block of the ring by its header; `index` is its place in the partition."""

    index: int
    seq: int
    ordinal: int
    t0: int
    erases: int
    boots: int


@dataclass(frozen=True)
class Frame:
    """A frame. `fresh`: the first of its block, or one before it is damaged: deltas do not reach across."""

    seq: int
    offset: int
    kind: int
    ordinal: int
    count: int
    payload: bytes
    fresh: bool


class Image:
    """What is stored in a partition; an image in which nothing is found is `empty`, never an error.

    `first` and `next`: ordinals of the oldest record and of the next one. `blocks`: oldest first. `lost`: records
    between `first` and `next` that cannot be read. `cursors`: {id: ordinal}.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._ring = len(data) // BLOCK - CURSORS
        found = [self._header(CURSORS + i) for i in range(self._ring)]
        newest = max((block.seq for block in found if block), default=-1)
        self.blocks = sorted(
            (block for block in found if block and block.seq > newest - self._ring), key=lambda block: block.seq
        )
        self.cursors = self._read_cursors()
        self.next = max([self._end(), *self.cursors.values()])
        begin = self.cursors.get(BEGIN, 0)
        self.blocks = [block for block in self.blocks if block.ordinal >= begin]
        self.cursors = {cursor: ordinal for cursor, ordinal in self.cursors.items() if ordinal >= begin}
        self.first = self.blocks[0].ordinal if self.blocks else self.next

    @property
    def empty(self) -> bool:
        return not self.blocks

    @cached_property
    def lost(self) -> int:
        return self.next - self.first - sum(frame.count for frame in self.frames())

    def frames(self) -> Iterator[Frame]:
        """Yield what a reader gets, from the oldest on. A block ends where the next one begins."""
        for i, block in enumerate(self.blocks):
            end = self.blocks[i + 1].ordinal if i + 1 < len(self.blocks) else self.next
            for frame in self._walk(block):
                if frame.ordinal + frame.count <= end:
                    yield frame

    def _bytes(self, at: int, size: int) -> bytes:
        return self._data[at : at + size]

    def _header(self, index: int) -> Block | None:
        raw = self._bytes(index * BLOCK, HEAD.size)
        magic, version, size, seq, ordinal, t0, erases, boots, ring, crc = HEAD.unpack(raw)
        if (magic.to_bytes(2, "little"), version, size, crc) != (b"MJ", 1, HEAD.size, crc32(raw[:-4])):
            return None
        if ring != self._ring or CURSORS + seq % ring != index:
            return None  # written when the partition had another size
        return Block(index, seq, ordinal, t0, erases, boots)

    def _walk(self, block: Block) -> Iterator[Frame]:
        offset, fresh, damaged = HEAD.size, True, False
        while offset < BLOCK:
            frame = self._frame(block, offset, fresh or damaged)
            if frame:
                yield frame
                offset += -(-(FRAME.size + len(frame.payload)) // UNIT) * UNIT
                fresh = damaged = False
            elif not damaged and self._bytes(block.index * BLOCK + offset, 2) == b"\xff\xff":
                offset += PAGE - offset % PAGE
            else:
                damaged = True
                offset += UNIT

    def _frame(self, block: Block, offset: int, fresh: bool) -> Frame | None:
        at = block.index * BLOCK + offset
        word, place, crc = FRAME.unpack_from(self._data, at)
        length = word & 0xFFF
        payload = self._bytes(at + FRAME.size, length)
        if length > MAX or offset + FRAME.size + length > BLOCK:
            return None
        if crc != crc32(payload, crc32(struct.pack("<IHHH", block.seq, offset, word, place))):
            return None
        return Frame(block.seq, offset, word >> 12, block.ordinal + (place >> 6), place & 63, payload, fresh)

    def _end(self) -> int:
        """Return the ordinal after the newest record."""
        if not self.blocks:
            return 0
        head = self.blocks[-1]
        end = max((f.ordinal + f.count for f in self._walk(head)), default=head.ordinal)
        # The block after it may have lost its header alone: its ordinals were given away all the same.
        index = CURSORS + (head.seq + 1) % self._ring
        raw = self._bytes(index * BLOCK, HEAD.size)
        if HEAD.unpack(raw)[-1] != crc32(raw[:-4]):
            after = Block(index, head.seq + 1, end, 0, 0, 0)
            end = max((f.ordinal + f.count for f in self._walk(after)), default=end)
        return end

    def _read_cursors(self) -> dict[int, int]:
        newest, start = -1, 0
        for index in range(min(CURSORS, len(self._data) // BLOCK)):
            slot = self._slot(index * BLOCK, 0)
            if slot and bytes(slot[:2]) == b"CJ" and slot[2] & 0xFF == 1:
                if slot[3] % CURSORS == index and slot[3] > newest:
                    newest, start = slot[3], index * BLOCK
        cursors = {}
        if newest >= 0:
            for at in range(start + SLOT.size, start + BLOCK, SLOT.size):
                slot = self._slot(at, newest)
                if slot and slot[0] == 0xC5:
                    cursors[slot[1]] = slot[3]
        return cursors

    def _slot(self, at: int, seed: int) -> tuple[int, ...] | None:
        raw = self._bytes(at, SLOT.size)
        slot = SLOT.unpack(raw)
        return slot if slot[-1] == crc32(raw[:-4], seed) else None
