"""lib/journal: power is cut at each operation on flash, in each way; journals wrong on purpose are caught by that."""
import random

from fake_cuts import BLOCKS, Workload, World, again, check
from fake_mutants import count
from fake_nor import Nor, PowerCut

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
        nor.cut_mode = again()
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


def caught(name):
    tried, wrong, example = count(name)
    print(name, wrong, "of", tried, example)
    return example


def test_caught_no_checksum():
    assert caught("no checksum")


def test_caught_going_on_right_behind_the_last_frame():
    assert caught("goes on right behind the last frame")


def test_caught_going_on_behind_the_last_byte_that_is_not_ff():
    assert caught("goes on behind the last byte that is not FF")


def test_caught_going_on_in_a_block_with_a_torn_frame():
    assert caught("goes on in a block with a torn frame")


def test_caught_going_on_in_a_block_that_holds_only_its_header():
    assert caught("goes on in a block that holds only its header")


def test_caught_reading_what_a_later_block_has_replaced():
    assert caught("reads what a later block has replaced")


def test_caught_trusting_a_block_because_it_reads_blank():
    assert caught("trusts a block that reads blank")


def test_caught_erasing_at_mount():
    assert caught("erases at mount")


def test_caught_a_cursor_block_whose_header_comes_first():
    assert caught("a cursor block's header before its snapshot")


def test_caught_going_on_in_a_cursor_block_that_nothing_was_added_to():
    assert caught("goes on in a cursor block that nothing was added to")


def test_caught_going_on_right_behind_the_last_cursor():
    assert caught("goes on right behind the last cursor")
