"""lib/journal lives in the buffers that it was made with."""
import gc

from fake_journal import boot
from fake_nor import Nor

HEAP = {"test_appending_takes_no_memory": "256k"}


def test_appending_takes_no_memory():
    nor = Nor(16)
    journal, payload = boot(nor), memoryview(bytearray(300))
    reader = journal.reader(0)

    def some(n):
        for i in range(n):
            journal.append(1, payload[: i % 300], 3)
            journal.prepare()
            if i % 50 == 0:
                journal.put(1, journal.next)
            reader.read()
        gc.collect()
        return gc.mem_alloc()

    before = some(100)
    assert some(20000) <= before
