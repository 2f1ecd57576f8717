"""lib/journal: a mount by bisection finds what a scan of every header finds, whatever happened to the flash."""
import random
import struct
from binascii import crc32

from fake_cuts import World
from fake_journal import RING, boot, filled
from fake_nor import BLOCK, ERASE_TEARS, PROGRAM_TEARS, Nor
from lib.journal import index

HEAP = {
    "test_a_full_ring_of_8_mb_takes_few_reads_wherever_its_head_is": "64M",
    "test_every_cut_leaves_the_same_newest_block_to_both": "8M",
    "test_a_partition_that_had_another_size_for_a_while_goes_on": "4M",
    "test_a_search_by_time_passes_by_nothing_that_is_as_new": "4M",
    "test_a_search_by_time_and_a_reader_take_few_reads": "8M",
}
WASM = True
HEADER = "<HBBIIIIIII"


def scanned(nor):
    """The highest number among all valid headers, -1 without any: docs/journal.md, taken literally."""
    ring, newest = len(nor.image) // BLOCK - RING, -1
    for place in range(ring):
        at = (RING + place) * BLOCK
        magic, version, length, seq, _, _, _, _, blocks, crc = struct.unpack_from(HEADER, nor.image, at)
        known = (magic, version, length, blocks) == (0x4A4D, 1, 32, ring) and seq % ring == place
        if known and crc == crc32(memoryview(nor.image)[at : at + 28]):
            newest = max(newest, seq)
    return newest


def put_header(nor, place, seq, ring):
    """A header, ten records a block."""
    at = (RING + place) * BLOCK
    struct.pack_into(HEADER, nor.image, at, 0x4A4D, 1, 32, seq, seq * 10, seq, 1, 1, ring, 0)
    struct.pack_into("<I", nor.image, at + 28, crc32(memoryview(nor.image)[at : at + 28]))


def clear(nor, place):
    at = (RING + place) * BLOCK
    nor.image[at : at + 32] = b"\xff" * 32


def rounds(nor, head):
    """Headers as they lie when the newest block is number `head`."""
    ring = len(nor.image) // BLOCK - RING
    for seq in range(max(0, head + 1 - ring), head + 1):
        put_header(nor, seq % ring, seq, ring)


def test_every_cut_leaves_the_same_newest_block_to_both():
    random.seed(1)
    nor, torn = Nor(RING + 16), Nor(RING + 16)
    world = World(nor)
    world.boot()
    while world.journal.head < 30:
        world.append()
    base, nor.trace = Nor(RING + 16), []
    base.copy(nor)
    while world.journal.head < 50:
        world.append()
        world.journal.prepare()
    heads = set()
    for at, data, _ in nor.trace:
        if data is None or at % BLOCK == 0 or random.randrange(8) == 0:
            for mode in PROGRAM_TEARS if data else ERASE_TEARS:
                torn.copy(base)
                torn.tear(at, data, mode)
                for where, bits in torn.shaky.items():  # how they read is settled, for the two to see the same
                    torn.image[where] ^= bits & random.getrandbits(8)
                torn.shaky.clear()
                heads.add(boot(torn).head)
                assert boot(torn).head == scanned(torn), (at // BLOCK, at % BLOCK, mode)
        base.do(at, data)
    assert len(heads) > 20


def test_a_full_ring_of_8_mb_takes_few_reads_wherever_its_head_is():
    nor = Nor(2048)
    ring = 2048 - RING
    head = 3 * ring - 1
    rounds(nor, head)
    worst = 0
    while head < 4 * ring:
        head += 1
        put_header(nor, head % ring, head, ring)
        if head % ring < 20 or head % ring > ring - 20 or head % 37 == 0:
            nor.reads = 0
            assert boot(nor).head == head
            worst = max(worst, nor.reads)
            ahead = (head + 1) % ring  # the next one is erased already
            clear(nor, ahead)
            nor.reads = 0
            assert boot(nor).head == head
            worst = max(worst, nor.reads)
            put_header(nor, ahead, head + 1 - ring, ring)
    assert worst <= 64, worst


def test_worn_and_rotten_blocks_anywhere_do_not_hide_the_newest():
    random.seed(2)
    nor = Nor(RING + 40)
    for _ in range(3000):
        head = random.randrange(40, 200)
        rounds(nor, head)
        for _ in range(random.randrange(4)):  # worn: passed over, with what an older round left, or with nothing
            seq = head - random.randrange(40)
            for worn in range(seq, min(seq + random.randrange(1, 3), head)):
                if random.randrange(2):
                    clear(nor, worn % 40)
                else:
                    put_header(nor, worn % 40, max(worn % 40, worn - 40 * random.randrange(1, 3)), 40)
        for _ in range(random.choice((0, 0, 1, 2, 9))):  # rotten
            nor.flip((RING + random.randrange(40)) * BLOCK + random.randrange(32), 1 << random.randrange(8))
        for ahead in range(random.randrange(4)):  # erased, and not written
            clear(nor, (head + 1 + ahead) % 40)
        if random.randrange(4) == 0:  # somebody has written over a part
            begin = random.randrange(40)
            for place in range(begin, min(40, begin + random.randrange(20))):
                clear(nor, place)
        assert boot(nor).head == scanned(nor)


def test_a_partition_that_had_another_size_for_a_while_goes_on():
    for blocks in (20, 32):
        for used in (1, 5, 9, 40):
            one, other = Nor(RING + 24), Nor(RING + blocks)
            rounds(one, 100)
            journal = filled(other, used * 8, 480)
            for place in range(min(24, blocks, journal.head + 1)):
                at = (RING + place) * BLOCK
                one.image[at : at + 32] = other.image[at : at + 32]
            for _ in range(80):
                journal = boot(one)
                assert journal.head == scanned(one)
                one.used = bytearray(len(one.used))
                for _ in range(5):
                    journal.append(1, bytes(480), 1)


def test_a_mount_writes_nothing_and_its_reads_are_few_however_short_the_frames():
    nor = Nor(RING + 8)
    journal = filled(nor, 8 * 260, 1, 1)
    for i in range(253):
        journal.put(1, i)
    nor.reads, ops = 0, nor.ops
    again = boot(nor)
    assert (again.next, again.cursor(1), nor.ops) == (journal.next, 252, ops)
    assert nor.reads <= 8 + 8 + 16 + 8, nor.reads


def test_a_search_by_time_passes_by_nothing_that_is_as_new():
    random.seed(3)
    for seed in range(30):
        nor = Nor(RING + 12)
        journal, now, hints = boot(nor), 1000, []
        for _ in range(random.randrange(1, 400)):
            now += random.choice((0, 1, 1, 5, 60))
            if random.randrange(20) == 0:
                journal = boot(nor)
            known = seed % 3 or random.randrange(2)
            hints.append((journal.append(1, bytes(random.randrange(400)), 2, now if known else 0), now if known else 0))
            if seed % 5 == 0 and random.randrange(40) == 0:
                now -= 50  # the clock is set back
        begins = [found[1] for found in map(journal.header, range(journal.tail, journal.head + 1)) if found]
        for when in range(990, now + 10, 3):
            found = index.find(journal, when)
            new = [ordinal for ordinal, hint in hints if hint >= when and ordinal >= journal.first]
            assert not new or found <= new[0], (seed, when)
            if new and seed % 3 and seed % 5:  # every hint is known: no more than two blocks early
                early = [begin for begin in begins if found <= begin <= new[0]]
                assert len(early) <= 3, (seed, when, early)


def test_a_search_by_time_and_a_reader_take_few_reads():
    nor = Nor(RING + 400)
    rounds(nor, 1000)
    journal = boot(nor)
    for seq in range(601, 1001, 13):
        nor.reads = 0
        assert index.find(journal, seq) <= (seq - 1) * 10 and index.find(journal, seq) >= (seq - 2) * 10 or seq < 604
        assert nor.reads <= 2 * 2 * 11
        nor.reads = 0
        reader = journal.reader(seq * 10 + 5)
        assert nor.reads <= 12 and reader._seq == seq, reader._seq


def test_a_search_in_an_empty_journal_begins_at_its_end():
    journal = boot(Nor(RING + 4))
    assert index.find(journal, 0) == index.find(journal, 1 << 31) == journal.next == 0
    journal.append(1, b"x", 1, 5)
    assert index.find(journal, 0) == index.find(journal, 9) == 0
