"""lib/journal on flash that holds something else, rots, or is worn out."""
import random
from errno import EAGAIN, EIO

from fake_journal import RING, boot, filled, rest
from fake_nor import BLOCK, Nor

WASM = True


def works(nor, ordinal):
    """Nothing is found, nothing is raised or written, and the journal can be used at once."""
    journal = boot(nor)
    assert journal.empty and journal.first == journal.next == ordinal and journal.reader(0).read() is None
    assert nor.ops == 0, "mount wrote"
    for i in range(60):
        assert journal.append(1, b"%d" % i * 40, 1) == ordinal + i
    journal.put(1, ordinal + 5)
    again = boot(nor)
    assert again.cursor(1) == ordinal + 5 and again.next == ordinal + 60
    assert [frame[1] for frame in rest(again.reader(0))] == list(range(ordinal, ordinal + 60))


def refusal(call, *args):
    """The errno with which the call fails, None when it does not."""
    try:
        call(*args)
    except OSError as error:
        return error.errno


def noise(n):
    return bytes(random.getrandbits(8) for _ in range(n))


def test_random_bytes_are_an_empty_journal():
    for seed in range(2):
        random.seed(seed)
        nor = Nor(14)
        nor.fill(noise(14 * BLOCK))
        works(nor, 0)


def test_zeroes_are_an_empty_journal():
    nor = Nor(14)
    nor.fill(bytes(14 * BLOCK))
    works(nor, 0)


def test_shuffled_blocks_are_an_empty_journal():
    nor, other = Nor(20), Nor(20)
    filled(nor, 400)
    ring = RING * BLOCK
    other.fill(nor.image[ring + BLOCK :], ring)
    other.fill(nor.image[ring : ring + BLOCK], 19 * BLOCK)
    works(other, 0)


def test_a_version_that_is_not_known_is_not_read():
    nor, other = Nor(14), Nor(14)
    filled(nor, 30)
    nor.image[RING * BLOCK + 2] = 2
    other.fill(nor.image)
    works(other, 0)


def test_a_partition_of_another_size_is_empty_but_numbers_and_wear_go_on():
    for blocks in (13, 15, 30):
        nor, other = Nor(14), Nor(blocks)
        journal = filled(nor, 900)
        journal.put(1, 1700)
        other.fill(nor.image[: min(blocks, 14) * BLOCK])
        works(other, 1700)
        assert boot(other).header(0)[3] == nor.erases[RING] + 1


class Rot:
    """A journal of one block, in which bits are flipped and set right again."""

    def __init__(self, lengths, fill):
        self.nor = Nor(12)
        journal = boot(self.nor)
        self.frames = []  # (offset of its first byte, offset after its last one that counts)
        for length in lengths:
            off = 32 if not self.frames else journal.end
            self.frames.append((off, off + 8 + length))
            journal.append(2, fill(length), 3)
        self.end = journal.end
        self.whole = rest(journal.reader(0))

    def read(self, off, bits):
        """Boot and read with bits flipped: (journal, reader, frames)."""
        self.nor.flip(RING * BLOCK + off, bits)
        journal = boot(self.nor)
        reader = journal.reader(0)
        found = rest(reader)
        self.nor.flip(RING * BLOCK + off, bits)
        return journal, reader, found


def test_a_flipped_bit_loses_only_its_frame():
    random.seed(1)
    for fill in (noise, lambda n: b"\xff" * n, bytes):
        rot = Rot((30, 200, 17, 0, 90, 255, 64), fill)
        whole = rot.whole
        for off in range(32 + random.randrange(3), rot.end, 3):
            hit = [i for i, (begin, end) in enumerate(rot.frames) if begin <= off < end]
            journal, reader, found = rot.read(off, 1 << random.randrange(8))
            if not hit:  # in the padding
                assert found == whole and reader.lost == 0
            elif hit == [6]:  # the newest: it is as if its program had been cut
                assert found == whole[:6] and journal.next == 18 and journal.room() == 0
            else:
                i = hit[0]
                assert found == whole[:i] + [whole[i + 1][:4] + (True,)] + whole[i + 2 :], off
                assert (reader.lost, journal.stats["lost"], journal.next) == (3, 1, 21)


def test_a_frame_inside_a_payload_is_never_read():
    """The payload holds the bytes of a real frame; only its place makes a frame one."""
    nor = Nor(12)
    journal = boot(nor)
    journal.append(1, b"inner" * 4, 1)
    inner = bytes(nor.image[RING * BLOCK + 32 : RING * BLOCK + 64])
    journal.append(1, bytes(8) + inner * 5, 1)
    nor.flip(RING * BLOCK + 65, 1)
    journal.append(1, b"last", 1)
    assert [frame[1] for frame in rest(boot(nor).reader(0))] == [0, 2]


def test_a_damaged_header_loses_its_block_and_no_more():
    nor = Nor(16)
    journal = filled(nor, 200)
    begins = [journal.header(seq)[1] for seq in range(journal.head + 1)] + [journal.next]
    whole = rest(journal.reader(0))
    assert journal.head == 5
    for seq in range(6):
        for byte in range(0, 32, 3):
            at = journal.block(seq) * BLOCK + byte
            nor.flip(at, 16)
            again = boot(nor)
            reader = again.reader(0)
            found = rest(reader)
            assert [f[:4] for f in found] == [f[:4] for f in whole if not begins[seq] <= f[1] < begins[seq + 1]]
            assert again.next == 400, "the ordinals of a lost head block stay given away"
            assert again.first == (begins[1] if seq == 0 else 0)
            if seq < 5:
                assert reader.lost == begins[seq + 1] - begins[seq]
            nor.flip(at, 16)


def test_what_a_consumer_has_seen_is_never_numbered_again():
    nor = Nor(16)
    journal = filled(nor, 20)
    end = journal.end
    journal.append(1, b"seen", 5)
    journal.put(1, 45)
    nor.flip(RING * BLOCK + end + 9, 1)
    journal = boot(nor)
    assert journal.next == 45 and journal.append(1, b"new", 1) == 45
    reader = journal.reader(38)
    assert [frame[1] for frame in rest(reader)][-1] == 45 and reader.lost == 5


def test_a_damaged_cursor_falls_back_to_its_last_value():
    nor = Nor(16)
    journal = filled(nor, 50)
    for i in range(30):
        journal.put(i % 3, i)
    for byte in range(16):
        nor.flip(30 * 16 + byte, 4)  # the last slot: (2, 29)
        again = boot(nor)
        assert [again.cursor(i) for i in range(3)] == [27, 28, 26]
        nor.flip(30 * 16 + byte, 4)
    nor.flip(29 * 16, 4)
    again = boot(nor)
    assert [again.cursor(i) for i in range(3)] == [27, 25, 29]
    again.put(1, 30)
    assert [boot(nor).cursor(i) for i in range(3)] == [27, 30, 29]


def test_a_worn_cell_in_mid_block_is_told_and_nothing_is_stored_twice():
    nor = Nor(16)
    journal = filled(nor, 5)
    nor.stuck = {RING * BLOCK + journal.end + 40: 8}
    assert refusal(journal.append, 1, bytes(100), 2) == EAGAIN
    assert journal.next == 10 and journal.room() == 0 and journal.stats["failed"] == 1
    reader = journal.reader(0)
    assert len(rest(reader)) == 5
    assert journal.append(1, b"anew", 2) == 10 and journal.head == 1
    expect = [(1, 10, 2, b"anew", True)]
    assert rest(reader) == expect and rest(boot(nor).reader(0))[5:] == expect
    nor.image[RING * BLOCK + 32 + 5 * 112 + 40] &= ~8  # today the cell reads well
    found = rest(boot(nor).reader(0))
    assert len(found) == 6 and found[5:] == expect


def test_a_worn_block_is_passed_over():
    for at in (4, 32 + 20):  # in the header, in the first frame
        nor = Nor(16)
        nor.stuck = {(RING + 1) * BLOCK + at: 128}
        journal = filled(nor, 100, 200, 1)
        assert journal.next == 100 and journal.stats["failed"] == 1
        assert [frame[1] for frame in rest(journal.reader(0))] == list(range(100)) and journal.stats["lost"] == 0
        again = boot(nor)
        assert again.next == 100 and [frame[1] for frame in rest(again.reader(0))] == list(range(100))


def test_a_worn_cursor_block_is_passed_over():
    for at in (0, 16 + 4, 640 + 4):  # its header, its snapshot, a later slot
        nor = Nor(16)
        nor.stuck = {BLOCK + at + i: 255 for i in range(4)}
        journal = filled(nor, 400)
        for i in range(600):
            journal.put(1, i)
            assert i % 7 or boot(nor).cursor(1) == i
        assert boot(nor).cursor(1) == 599 and journal.stats["failed"] == 1


def test_flash_that_takes_nothing_costs_few_blocks_and_is_used_again_when_it_does():
    nor = Nor(20)
    journal = filled(nor, 450)
    while journal.room() > 200:
        journal.append(1, bytes(200), 2)
    last, kept = journal.next, len(rest(journal.reader(0)))
    nor.dead = True
    for attempt in range(20):
        assert refusal(journal.append, 1, bytes(300), 2) == EIO
        assert journal.next == last
        assert refusal(journal.put, 1, attempt) == EIO
    assert len(rest(journal.reader(0))) >= kept - 3 * 37
    nor.dead = False
    assert journal.append(1, b"again", 2) == last
    journal.put(1, last)
    again = boot(nor)
    assert again.next == last + 2 and again.cursor(1) == last
    found = rest(again.reader(0))
    assert found[-1][1:4] == (last, 2, b"again") and len(found) >= kept - 3 * 37
