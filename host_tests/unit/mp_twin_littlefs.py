"""The twin on littlefs, as on the chip: the power goes at every single program and erase of the flash."""
import vfs

from lib import twin

BLOCK, BLOCKS = 4096, 16
OLD, MIDDLE, NEW = b"first", b"second" * 50, b"third" * 900  # the last one spans two blocks


class Flash:
    """NOR flash in RAM that goes dead in the middle of operation number `cut`."""

    def __init__(self, blocks=BLOCKS):
        self.data = bytearray(BLOCK * blocks)
        self.cut = None
        self.done = 0

    def readblocks(self, n, buf, off=0):
        at = n * BLOCK + off
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, n, buf, off):
        at = n * BLOCK + off
        for i in range(self._survives(len(buf))):
            self.data[at + i] &= buf[i]
        self._end()

    def ioctl(self, op, arg):
        if op == 4:
            return len(self.data) // BLOCK
        if op == 5:
            return BLOCK
        if op == 6:
            for i in range(self._survives(BLOCK)):
                self.data[arg * BLOCK + i] = 255
            self._end()
        return 0

    def _survives(self, length):
        """Return how many bytes of this operation still happen."""
        if self.cut is None or self.done < self.cut:
            return length
        return length // 2 if self.done == self.cut else 0

    def _end(self):
        self.done += 1
        if self.cut is not None and self.done > self.cut:
            raise OSError(5)


def mounted(flash):
    vfs.mount(vfs.VfsLfs2(flash), "/flash")


def test_power_cut_at_any_flash_operation_keeps_old_or_new():
    flash = Flash()
    vfs.VfsLfs2.mkfs(flash)
    mounted(flash)
    twin.save("/flash/t", OLD)
    twin.save("/flash/t", MIDDLE)
    vfs.umount("/flash")
    before = bytes(flash.data)
    outcomes = []
    while not outcomes or outcomes[-1] != "done":
        flash.data[:] = before
        flash.done, flash.cut = 0, len(outcomes)
        mounted(flash)
        try:
            twin.save("/flash/t", NEW)
            outcomes.append("done")
        except OSError:
            outcomes.append("cut")
        flash.cut = None
        vfs.umount("/flash")
        mounted(flash)  # the next boot
        kept = twin.load("/flash/t")
        assert kept == NEW if outcomes[-1] == "done" else kept in (MIDDLE, NEW), len(outcomes)
        twin.save("/flash/t", OLD)
        assert twin.load("/flash/t") == OLD
        vfs.umount("/flash")
    assert len(outcomes) > 20, "a save is many operations: %d" % len(outcomes)
