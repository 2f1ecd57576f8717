"""A journal in RAM, for a board that has no partition for one: the newest 16 KB, gone with a reset.

    journal = Memory()
    journal.mount()

Everything else is as in `Journal`. Loaded only where it is needed.
"""
from lib.journal import Journal
from lib.journal.block import BLOCK
from lib.journal.cursors import CURSORS

RING = 4  # blocks, the fewest that a ring works with


class Ram:
    """The blocks of the ring as a device; those of the cursors are not there and read as erased."""

    def __init__(self):
        self._blocks = [bytearray(b"\xff" * BLOCK) for _ in range(RING)]

    def readblocks(self, block, buf, off):
        """Fill `buf` from `off` in `block` on."""
        if block < CURSORS:
            buf[:] = b"\xff" * len(buf)
        else:
            buf[:] = memoryview(self._blocks[block - CURSORS])[off : off + len(buf)]

    def writeblocks(self, block, buf, off):
        """Program `buf`: like a journal's flash, only where nothing was programmed since the erase."""
        self._blocks[block - CURSORS][off : off + len(buf)] = buf

    def ioctl(self, op, arg):
        """The block device protocol: 4 count, 5 size, 6 erase block `arg`."""
        if op == 4:
            return CURSORS + RING
        if op == 5:
            return BLOCK
        block = self._blocks[arg - CURSORS]
        for off in range(0, BLOCK, 256):
            block[off : off + 256] = b"\xff" * 256


class Memory(Journal):
    """A Journal without a partition. A cursor is as safe as what it points to."""

    volatile = True

    def __init__(self):
        super().__init__(Ram())

    def put(self, cursor, ordinal):
        """Keep an ordinal under an id (0..254)."""
        self._cursors.at[cursor] = ordinal
