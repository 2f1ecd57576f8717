"""lib/journal on a partition in which a file system was."""
import vfs

from fake_journal import boot
from fake_nor import BLOCK, Nor

HEAP = {"test_a_file_system_is_an_empty_journal_and_makes_way_for_one": "4M"}


class Plain:
    """A block device as littlefs wants it."""

    def __init__(self, blocks):
        self.data = bytearray(blocks * BLOCK)

    def readblocks(self, n, buf, off=0):
        buf[:] = memoryview(self.data)[n * BLOCK + off : n * BLOCK + off + len(buf)]

    def writeblocks(self, n, buf, off=0):
        self.data[n * BLOCK + off : n * BLOCK + off + len(buf)] = buf

    def ioctl(self, op, arg):
        if op == 6:
            self.data[arg * BLOCK : arg * BLOCK + BLOCK] = b"\xff" * BLOCK
        return {4: len(self.data) // BLOCK, 5: BLOCK}.get(op, 0)


def test_a_file_system_is_an_empty_journal_and_makes_way_for_one():
    for kind in (vfs.VfsLfs2, vfs.VfsFat):
        disk, nor = Plain(64), Nor(64)
        kind.mkfs(disk)
        files = kind(disk)
        files.mount(False, False)
        for i in range(12):
            with files.open("file%d" % i, "wb") as file:
                file.write(b"contents %d " % i * 800)
        files.umount()
        nor.fill(disk.data)
        journal = boot(nor)
        assert journal.empty and journal.next == 0 and journal.reader(0).read() is None and nor.ops == 0
        for i in range(1000):
            assert journal.append(1, b"%d" % i * 60, 1) == i
            journal.put(1, i)
        again = boot(nor)
        assert again.next == 1000 and again.cursor(1) == 999
        reader = again.reader(again.first)
        for ordinal in range(again.first, 1000):
            assert reader.read()[1] == ordinal
        assert reader.read() is None
