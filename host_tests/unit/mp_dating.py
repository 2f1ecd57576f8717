"""gateway/recorder, replay and dating on the real journal: stored, numbered, dated and read back."""
import asyncio

from fake_nor import Nor
from gateway import clock
from gateway.recorder import Recorder
from gateway.replay import Dating, Replay
from lib.journal import Journal

HEAP = {"test_an_undated_boot_that_fills_the_ring_lies_behind_what_was_dated_before_it": "8M"}
T0 = 1782138600000
COLUMNS = "\n1.8.0 kWh -3\n16.7.0 W -3"


class Ids:
    def columns(self, number):
        return COLUMNS if number == 1 else None


class Clock:
    """A boot that began at `began` (unix ms); `source` NONE until it learns the time."""

    def __init__(self, began, source=clock.NTP, bound=10):
        self.began, self.source, self.bound = began, source, bound

    def at(self, uptime):
        return None if self.source == clock.NONE else (self.began + uptime, self.bound)

    def now(self):
        return self.at(clock.uptime_ms())

    def trusted(self):
        return True


class Board:
    """One flash chip and the boots that it lives through."""

    def __init__(self):
        self.flash = Nor(32)
        self.boots = 0

    def boot(self, now):
        self.boots += 1
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.clock = now
        self.recorder = Recorder(self.journal, self.boots, now)

    def read(self, uptime_ms, value):
        self.recorder.reading(uptime_ms, 1, 1, [value, -value])
        self.recorder.commit()

    def replay(self, ordinal=0):
        return Replay(self.journal, Ids(), Dating(self.journal, self.clock, self.boots), ordinal)


def drain(replay):
    async def run():
        rows = []
        while await replay.next():
            rows.append((replay.ordinal, replay.unix_ms, replay.source, replay.bound_ms, list(replay.values)))
        return rows

    return asyncio.run(run())


def test_what_was_committed_comes_back_with_its_time():
    board = Board()
    board.boot(Clock(T0))
    for i in range(300):
        board.read(i * 5000, 1000000 + i)
    rows = drain(board.replay())
    assert rows == [(i, T0 + i * 5000, clock.NTP, 10, [1000000 + i, -1000000 - i]) for i in range(300)]


def test_a_cursor_in_mid_block_gets_the_right_values():
    board = Board()
    board.boot(Clock(T0))
    for i in range(300):
        board.read(i * 5000, 1000000 + i)
    for begin in (1, 63, 64, 150, 299):
        rows = drain(board.replay(begin))
        assert [row[0] for row in rows] == list(range(begin, 300))
        assert rows[0][4] == [1000000 + begin, -1000000 - begin]
    assert drain(board.replay(300)) == []


def test_a_replay_sees_what_is_stored_later():
    board = Board()
    board.boot(Clock(T0))
    board.read(0, 1)
    replay = board.replay()
    assert len(drain(replay)) == 1 and drain(replay) == []
    board.read(5000, 2)
    assert [row[4] for row in drain(replay)] == [[2, -2]]


def test_nothing_is_stored_before_it_is_committed():
    board = Board()
    board.boot(Clock(T0))
    board.recorder.reading(0, 1, 1, [1, 2])
    assert board.journal.next == 0
    board.recorder.commit()
    assert board.journal.next == 1


def test_a_pending_record_is_committed_after_two_seconds():
    board = Board()
    board.boot(Clock(T0))

    class Life:
        def beat(self):
            pass

    class Nvs:
        def get_i32(self, key):
            raise OSError(-4354)

    board.clock.nvs = Nvs()

    async def run():
        task = asyncio.create_task(board.recorder.run(Life()))
        board.recorder.reading(0, 1, 1, [1, 2])
        for _ in range(240):
            await asyncio.sleep_ms(10)
            if board.journal.next:
                break
        task.cancel()

    asyncio.run(run())
    assert board.journal.next == 1


def test_records_before_the_time_is_known_wait_and_then_get_theirs():
    board = Board()
    board.boot(Clock(T0, clock.NONE))
    board.read(1000, 1)
    board.read(6000, 2)
    replay = board.replay()
    assert drain(replay) == []
    board.clock.source = clock.NTP
    assert drain(replay) == []  # what dates them has to be on flash first: it must be the same after the next boot
    board.read(101000, 3)
    rows = [row[1:4] for row in drain(replay)]
    assert rows == [(T0 + at, clock.NTP, bound) for at, bound in ((1000, 16), (6000, 15), (101000, 10))]  # 50 ppm
    board.boot(Clock(T0 + 7200000))
    assert [row[1:4] for row in drain(board.replay())] == rows


def test_a_boot_that_learnt_the_time_dates_its_early_records_after_the_next_boot_too():
    board = Board()
    board.boot(Clock(T0, clock.NONE))
    board.read(1000, 1)
    board.clock.source = clock.NTP
    board.read(6000, 2)
    board.boot(Clock(T0 + 3600000, clock.NONE))
    board.read(1000, 3)
    rows = drain(board.replay())
    assert [row[:3] for row in rows] == [(0, T0 + 1000, clock.NTP), (1, T0 + 6000, clock.NTP)]


def test_a_boot_that_never_learnt_the_time_lies_in_the_middle_of_its_bracket():
    board = Board()
    board.boot(Clock(T0))
    board.read(10000, 1)  # the last instant that is sure: T0 + 10 s
    board.boot(Clock(0, clock.NONE))
    board.read(1000, 2)
    board.read(21000, 3)  # this boot lasted 21 s at least
    board.boot(Clock(T0 + 131000))
    board.read(5000, 4)
    rows = drain(board.replay())
    begin = T0 + 10000 + (131000 - 10000 - 21000) // 2
    assert [row[1:4] for row in rows[1:3]] == [
        (begin + 1000, clock.NONE, 50012), (begin + 21000, clock.NONE, 50012)
    ]  # fmt: skip  # the bounds of both ends are in it, and 2 ms of drift
    assert rows[3][1:3] == (T0 + 131000 + 5000, clock.NTP)


def test_an_undated_boot_at_the_end_waits_for_the_next_dated_record_and_keeps_its_time():
    board = Board()
    board.boot(Clock(T0))
    board.read(0, 1)
    board.boot(Clock(0, clock.NONE))
    board.read(1000, 2)
    board.boot(Clock(T0 + 100000))
    replay = board.replay()
    assert len(drain(replay)) == 1
    board.read(0, 3)
    rows = drain(replay)
    assert [row[1:4] for row in rows[:1]] == [(T0 + 1000 + 49500, clock.NONE, 49511)]
    board.boot(Clock(T0 + 500000))
    board.read(0, 4)
    assert drain(board.replay())[1:3] == rows  # whenever it is sent


def test_after_a_step_back_no_record_is_dated_before_its_predecessor():
    board = Board()
    board.boot(Clock(T0))
    board.read(1000, 1)
    board.read(2000, 2)
    board.clock.began -= 5000
    for second in (3, 5, 8):
        board.read(second * 1000, second)
    rows = drain(board.replay())
    assert [row[1] - T0 for row in rows] == [1000, 2000, 2000, 2000, 3000]
    assert [row[3] for row in rows] == [10, 10, 10 + 4000, 10 + 2000, 10]  # the bound tells what is kept back


def test_a_step_forward_does_not_move_what_was_dated_before_it():
    board = Board()
    board.boot(Clock(T0, clock.NONE))
    board.read(1000, 1)
    board.clock.source = clock.NTP
    board.read(2000, 2)
    board.clock.began += 60000
    board.read(3000, 3)
    assert [row[1] - T0 for row in drain(board.replay())] == [1000, 2000, 63000]


def test_events_and_losses_have_their_numbers():
    board = Board()
    board.boot(Clock(T0))
    board.recorder.event(1, "comms_lost", 1, 0, {"misses": 3})
    board.recorder.lost(1)
    board.recorder.commit()
    replay = board.replay()

    async def run():
        await replay.next()
        assert (replay.ordinal, replay.what) == (0, (0, 1, 0, b'{"misses": 3}'))
        await replay.next()
        assert (replay.ordinal, replay.tag, replay.values) == (1, 8, None)
        assert await replay.next() is None

    asyncio.run(run())


def test_a_flash_that_refuses_keeps_records_and_drops_the_oldest_when_full():
    board = Board()
    board.boot(Clock(T0))
    append = board.journal.append

    def refuse(kind, payload, count, when):
        raise OSError(5)

    board.journal.append = refuse
    for i in range(60):
        board.read(i * 1000, i)
    board.journal.append = append
    board.recorder.commit()
    rows = drain(board.replay())
    assert [row[4][0] for row in rows] == list(range(60 - len(rows), 60)) and 40 < len(rows) < 60
    assert board.recorder.dropped == 60 - len(rows)


def test_a_worn_block_costs_no_record():
    board = Board()
    board.boot(Clock(T0))
    for i in range(20):
        board.read(i * 5000, 1000000 + i)
    place = board.journal.block(board.journal.head) * 4096 + board.journal.end
    for at in range(place, place + 64):
        board.flash.stuck[at] = 0xFF
    for i in range(20, 40):
        board.read(i * 5000, 1000000 + i)
    assert board.journal.stats["failed"] == 1 and board.recorder.dropped == 0
    rows = drain(board.replay())
    assert [(row[0], row[4][0]) for row in rows] == [(i, 1000000 + i) for i in range(40)]


def bounds_hold(board, truth):
    """Each record's true time lies within its bound; return the bounds."""
    rows = drain(board.replay(board.journal.first))
    for ordinal, unix_ms, _, bound, _ in rows:
        assert abs(unix_ms - truth[ordinal]) <= bound + 22, (ordinal, unix_ms - truth[ordinal], bound)
    return [row[3] for row in rows]


def test_a_long_undated_boot_between_two_others_keeps_its_bound_with_a_crystal_that_is_off():
    week = 7 * 86400000
    for ppm in (-45, 0, 45):
        board, truth = Board(), []
        board.boot(Clock(T0))
        board.read(10000, 1)
        truth.append(T0 + 10000)
        board.boot(Clock(0, clock.NONE))
        began = T0 + 15000
        for tenth in range(11):
            at = 1000 + week // 10 * tenth
            board.read(at, tenth)
            truth.append(began + at + at * ppm // 1000000)
        board.boot(Clock(truth[-1] + 3000))
        board.read(1000, 9)
        truth.append(board.clock.began + 1000)
        assert max(bounds_hold(board, truth)) < 80000


def test_the_end_of_a_bracket_is_as_unsure_as_the_crystal_of_the_boot_that_gives_it():
    for ppm in (-45, 45):
        board, truth = Board(), [T0]
        board.boot(Clock(T0))
        board.read(0, 1)
        board.boot(Clock(0, clock.NONE))
        for at in (0, 10000):
            board.read(at, 2)
            truth.append(T0 + 90000 + at)
        next_boot, day = T0 + 100000, 86400000
        board.boot(Clock(next_boot + day * ppm // 1000000))  # what it learns after a day: the crystal was off till then
        board.read(day, 3)
        truth.append(next_boot + day + day * ppm // 1000000)
        bounds_hold(board, truth)


def test_a_bracket_whose_ends_contradict_one_another_has_a_bound_that_holds_both():
    board = Board()
    board.boot(Clock(T0 + 86400000))  # somebody set it a day ahead
    board.read(0, 1)
    board.boot(Clock(0, clock.NONE))
    board.read(0, 2)
    board.boot(Clock(T0 + 60000))
    board.read(0, 3)
    undated = drain(board.replay())[1]
    for end in (T0 + 60000, T0 + 86400000):
        assert abs(undated[1] - end) <= undated[3] + 22


def test_an_undated_boot_that_fills_the_ring_lies_behind_what_was_dated_before_it():
    board, hour = Board(), 3600000
    board.boot(Clock(T0))
    for i in range(400):
        board.read(i * 60000, i)
    board.boot(Clock(0, clock.NONE))
    i = 0
    while board.journal.first < 500:
        board.read(i * 60000, i)
        i += 1
    began = T0 + 401 * 60000
    board.boot(Clock(began + i * 60000 + hour))
    board.read(0, 1)
    first = drain(board.replay(board.journal.first))[0]
    true = began + (first[0] - 400) * 60000
    assert abs(first[1] - true) <= first[3] < 6 * hour, (first[1] - true, first[3])


def test_a_frame_that_waits_for_its_time_costs_one_search_for_each_commit():
    board = Board()
    board.boot(Clock(T0, clock.NONE))
    for i in range(100):
        board.read(1000 * i, i)
    replay = board.replay()
    board.clock.source = clock.NTP
    drain(replay)
    reads = board.flash.reads
    for _ in range(10):
        assert drain(replay) == []
    assert board.flash.reads == reads
    board.read(200000, 3)
    assert len(drain(replay)) == 101
