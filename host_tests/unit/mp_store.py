"""gateway/store: what a board's partitions are good for, and what is said of those that are not."""
import esp32

import fake_chip
from gateway import log, store
from lib.journal import Journal

said = []


def setup(**flash):
    fake_chip.describe(flash=flash)
    said.clear()
    log.error = lambda area, text: said.append("%s: %s" % (area, text))


def test_a_board_with_a_partition_keeps_its_records_there_and_nothing_is_said():
    setup(journal=65536, archive=65536)
    journal = store.journal()
    journal.append(1, b"stored", 1)
    assert not journal.volatile and store.journal().next == 1 and store.ring("archive").next == 0 and said == []


def test_a_board_without_one_keeps_16_kb_in_memory_and_names_what_it_has():
    setup(vfs=65536, tlog=65536)
    journal = store.journal()
    assert journal.volatile and journal.append(1, b"stored", 1) == 0
    assert len(said) == 1 and "found the partitions ['tlog', 'vfs'], needed `journal`" in said[0]


def test_a_partition_that_is_too_small_is_told_with_its_size_and_what_is_needed():
    setup(journal=11 * 4096)
    assert store.journal().volatile
    assert len(said) == 2
    assert said[0] == "journal: partition of 45056 bytes: journal partition: at least 12 blocks of 4096"
    setup(journal=65536, archive=4096)
    assert store.ring("archive") is None
    assert said == ["archive: partition of 4096 bytes: journal partition: at least 12 blocks of 4096"]


def test_a_partition_that_got_another_size_begins_anew_and_says_so_until_something_is_stored():
    setup(journal=65536)
    journal = store.journal()
    for _ in range(200):
        journal.append(1, bytes(400), 1)
    image = bytearray(24 * 4096)
    for at in range(0, 65536, 4096):
        esp32.Partition("journal").readblocks(at // 4096, memoryview(image)[at : at + 4096])
    setup(tlog=len(image))
    part = esp32.Partition("tlog")
    part.writeblocks(0, image)
    journal = Journal(part)
    journal.mount()
    assert journal.head < 0
    store._resized(journal, "journal")
    assert said == ["journal: partition of 24 blocks, its records were written to one of 16: it begins anew"]
    said.clear()
    journal.append(1, b"new", 1)
    store._resized(journal, "journal")
    assert said == []
