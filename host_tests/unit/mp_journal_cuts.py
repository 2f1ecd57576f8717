"""lib/journal: power is cut at each operation on flash, in each way; journals wrong on purpose are caught by that."""
import random

from fake_cuts import AGAIN, BLOCKS, Workload, World, broken, check
from fake_nor import BLOCK, ERASE_TEARS, Nor, PowerCut
from lib.journal import HEAD, Journal, block, cursors, mount, reader

TIMEOUT = {"test_what_was_acknowledged_survives_a_cut_at_each_operation": 120}


def named(cases, **kwargs):
    """Check each case; one that fails says its name."""
    count = 0
    for name, world, floor in cases:
        try:
            check(world, floor, **{key: value() for key, value in kwargs.items()})
        except Exception:
            print(name)
            raise
        count += 1
    return count


def test_what_was_acknowledged_survives_a_cut_at_each_operation():
    assert named(Workload().cases()) > 1000


def test_it_survives_a_second_cut_while_going_on():
    assert named(Workload(2).cases(step=3), nested=lambda: random.randrange(1, 60)) > 300


def cut_after_cut(seed):
    random.seed(seed)
    nor = Nor(BLOCKS)
    world = World(nor)
    world.boot()
    for _ in range(300):
        nor.cut_at = nor.ops + random.randrange(60)
        nor.cut_mode = random.choice(AGAIN + ERASE_TEARS)
        floor = world.journal.first
        try:
            while True:
                floor = world.journal.first
                world.append()
                if random.randrange(3) == 0:
                    world.put(random.randrange(3), world.next)
                if random.randrange(3) == 0:
                    world.journal.prepare()
        except PowerCut:
            floor = max(floor, world.journal.first)
        nor.cut_at = -1
        world.cut()
        world.verify(floor)
        for known in (world.frames, world.ghosts):
            for key in [key for key in known if key[0] < world.journal.first]:
                del known[key]
    assert world.next > 1000 and min(nor.erases[8:]) > 10


def test_it_survives_cut_after_cut():
    cut_after_cut(3)


# Tests of the test: each of these wrong journals must be seen.


def test_caught_no_checksum():
    block.Frame._crc = lambda self, off: 0
    assert "never stored" in broken(Workload(), only=("half",))


def test_caught_going_on_right_behind_the_last_frame():
    def wrong(journal, pages, end):
        journal.end = end

    mount.resume = wrong
    assert "programmed twice" in broken(Workload(), only=("faint",))


def last_byte(journal):
    """The offset after the last byte of the head block that is not FF."""
    at = journal.block(journal.head) * BLOCK
    return max(i + 1 for i in range(BLOCK) if journal.dev.image[at + i] != 255)


def test_caught_going_on_behind_the_last_byte_that_is_not_ff():
    def wrong(journal, pages, end):
        journal.end = (last_byte(journal) | 255) + 1

    mount.resume = wrong
    assert "programmed twice" in broken(Workload(), only=("none",))


def test_caught_going_on_in_a_block_with_a_torn_frame():
    def wrong(journal, pages, end):
        if end > HEAD:
            journal.end = (max(end, last_byte(journal)) | 255) + 1

    mount.resume = wrong
    assert "out of order" in broken(Workload(), times=5, only=("few",))


def test_caught_going_on_in_a_block_that_holds_only_its_header():
    right = mount.resume

    def wrong(journal, pages, end):
        right(journal, pages, end)
        if end == HEAD:
            journal.end = 256

    mount.resume = wrong
    assert "lost" in broken(Workload(), times=40, only=("few",), pick=lambda at, data: data and at % BLOCK == 0)


def test_caught_reading_what_a_later_block_has_replaced():
    reader.Reader._next_block = lambda self: 1 << 29
    assert "out of order" in broken(Workload(), times=5, only=("few",))


def test_caught_trusting_a_block_because_it_reads_blank():
    def wrong(self, seq):
        if mount.blank(self.dev, self.block(seq), 0):
            self._ahead = seq
        else:
            right(self, seq)

    right, Journal._erase = Journal._erase, wrong
    assert "programmed twice" in broken(Workload(), only=("soft",))


def test_caught_erasing_at_mount():
    def wrong(self):
        right(self)
        self._live = True
        self.prepare()

    life = Workload()
    right, Journal.mount = Journal.mount, wrong
    assert "mount wrote" in broken(life, only=("none",))


def cursor_head(at, data):
    return data and at % BLOCK == 0 and at < cursors.CURSORS * BLOCK


def test_caught_a_cursor_block_whose_header_comes_first():
    def wrong(self, seq):
        good = self._store(seq, 0, 0, (0x4A43, 1 | len(self.at) << 8, seq))
        for i, (cursor, ordinal) in enumerate(self.at.items()):
            good = good and self._store(seq, 16 + i * 16, seq, (0xC5 | cursor << 8, 0xFFFF, ordinal))
        return good

    cursors.Cursors._fill = wrong
    assert "cursor" in broken(Workload(), only=("none",), pick=lambda at, data: at < cursors.CURSORS * BLOCK)


def test_caught_going_on_in_a_cursor_block_that_nothing_was_added_to():
    def wrong(kept, pages):
        right(kept, pages)
        if kept.seq >= 0 and kept.end == BLOCK:
            kept.end = 256

    right, mount.slots = mount.slots, wrong
    assert "cursor" in broken(Workload(), times=40, only=("few",), pick=cursor_head)


def test_caught_going_on_right_behind_the_last_cursor():
    def wrong(kept, pages):
        right(kept, pages)
        while kept.end < BLOCK and kept.dev.image[kept.seq % 8 * BLOCK + kept.end - 16] == 255:
            kept.end -= 16

    right, mount.slots = mount.slots, wrong
    assert "programmed twice" in broken(Workload(), only=("faint",), pick=lambda at, data: at < cursors.CURSORS * BLOCK)
