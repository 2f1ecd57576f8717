"""lib/journal/memory: a board without a partition keeps the newest 16 KB, with the same calls."""
import gc
import json

from fake_journal import rest
from lib.journal import BLOCK, MAX, index
from lib.journal.memory import RING, Memory, Ram


class Strict(Ram):
    """Checks that nothing is programmed twice."""

    def writeblocks(self, block, buf, off):
        old = bytearray(len(buf))
        self.readblocks(block, old, off)
        assert min(old) == 255 and off % 16 == 0 and len(buf) % 16 == 0
        super().writeblocks(block, buf, off)


def made():
    journal = Memory()
    journal.dev = journal._frame.dev = Strict()
    journal.mount()
    return journal


def test_it_begins_empty_and_gives_back_what_was_stored():
    journal = made()
    assert journal.empty and journal.volatile and (journal.first, journal.next, journal.cursor(1)) == (0, 0, None)
    stored = []
    for payload in (b"", b"\xff" * MAX, bytes(MAX), b"end\xff\xff"):
        fresh = not journal.room()
        stored.append((1, journal.append(1, payload, 3, 7), 3, payload, fresh))
    assert rest(journal.reader(0)) == stored and index.find(journal, 7) == 0


def test_the_newest_of_it_stays_and_what_is_gone_is_counted():
    journal = made()
    early = journal.reader(0)
    for i in range(1000):
        assert journal.append(1, b"%d" % i * 20, 2) == 2 * i
        journal.prepare()
    found = rest(journal.reader(0))
    assert [frame[1] for frame in found] == list(range(journal.first, 2000, 2))
    assert len(found) * 80 > (RING - 2) * BLOCK and early.read()[1] == journal.first == early.lost


def test_cursors_are_kept():
    journal = made()
    for i in range(2000):
        journal.put(i % 3, i)
    assert [journal.cursor(i) for i in range(4)] == [1998, 1999, 1997, None]


def test_it_takes_16_kb_and_no_more_in_use():
    payload = memoryview(bytearray(300))
    gc.collect()
    before = gc.mem_alloc()
    journal = Memory()
    journal.mount()

    def some(n):
        for i in range(n):
            journal.append(1, payload[: i % 300], 1)
            journal.prepare()
        gc.collect()
        return gc.mem_alloc() - before

    first = some(300)
    assert RING * BLOCK < first < RING * BLOCK + 6000
    assert some(5000) <= first


def test_a_gateway_on_a_board_without_a_partition_stores_and_says_so():
    import sys

    sys.path.insert(0, "")
    with open("board.json", "w") as file:
        file.write('{"name": "bare", "uarts": [{"id": 1, "tx": 17, "rx": 18}], "flash": {"other": 65536}}')
    with open("gateway.json", "w") as file:
        json.dump({
            "feederId": "f", "gatewayId": "g", "board": "desktop", "buses": [{"uart": 1}],
            "meters": [{"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120"}], "uplinks": [],
        }, file)  # fmt: skip
    from gateway import build, log

    said = []
    log._say = lambda *words: said.append(words)
    conf, secrets, problems = build.configuration()
    assert problems == 0
    _, journal, recorder, _, _, _, _ = build.parts(conf, secrets, 0)
    assert journal.volatile and [words[0] for words in said].count("E") == 1
    recorder.lost(1)
    recorder.commit()
    assert journal.next == 1
