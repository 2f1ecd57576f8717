"""A boot loop wears out no flash, and a clock that loses the time says so: restarts of one board on virtual time."""
import asyncio
import json

from fake_nor import Nor
from fake_nvs import Nvs
from gateway import clock, epoch, recorder, setting
from gateway.clock import Clock
from gateway.events import CODES
from gateway.records import CLEAR, EVENT, RECORDS, SET, Decoder
from lib.journal import Journal
from mp_virtual_year import Rtc, Uptime

T0 = 1782864000000


class Life:
    def beat(self):
        pass


class Board:
    """One flash, one NVS; `live` lets the recorder's task run for `ms` of a boot, with a reading each 5 s."""

    def __init__(self):
        self.flash, self.nvs, self.true = Nor(32), Nvs(), T0
        self.rtc = Rtc(Uptime())

    def start(self, cold=False):
        self.uptime = Uptime()
        self.uptime.ms = 500
        if cold:
            self.rtc.lose()
        self.rtc.carry(self.uptime)
        clock.uptime_ms = self.uptime
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.clock = Clock([(self.rtc, clock.CRYSTAL_PPM, 20)], self.nvs, self.uptime)
        self.nvs.set_i32("short", (epoch._kept(self.nvs, "short") or 0) + 1)  # as boot.py does
        self.boot, begin = epoch.boot(self.nvs, self.journal)
        self.recorder = recorder.Recorder(self.journal, self.boot, self.clock, begin)
        self.recorder.sure = not setting.lost(self.nvs)
        self.ops = self.flash.ops

    def live(self, ms, readings=True):
        until = self.uptime.ms + ms

        async def ticks(_):
            self.uptime.ms += 500
            if readings and self.uptime.ms % 5000 == 0:
                self.recorder.reading(self.uptime.ms, 1, 1, [self.uptime.ms])
            if self.uptime.ms > until:
                raise EOFError

        asyncio.sleep_ms, kept = ticks, asyncio.sleep_ms
        try:
            asyncio.run(self.recorder.run(Life()))
        except EOFError:
            pass
        finally:
            asyncio.sleep_ms = kept

    def events(self, code):
        """[(boot, state, detail)] of the events stored with this code."""
        found, head, reader = [], Decoder(Columns()), self.journal.reader(0)
        frame = reader.read()
        while frame:
            assert frame[0] == RECORDS
            if frame[4]:
                head.forget()
            head.begin(frame[3])
            for _ in range(frame[2]):
                _, _, tag, what, _ = head.record()
                if tag == EVENT and CODES.split()[what[0]] == code:
                    found.append((head.boot, what[2], json.loads(what[3])))
            frame = reader.read()
        return found


class Columns:
    def columns(self, number):
        return "\n1.8.0 kWh -3"


def restarts(board, *lengths):
    for ms in lengths:
        board.start()
        board.live(ms)


def test_a_boot_loop_stores_nothing_in_its_first_minute():
    board = Board()
    restarts(board, 20000, 59000, 30000)
    stored = board.journal.next
    assert stored >= 3 + 11 + 5, "three short boots are none yet"
    for _ in range(5):
        restarts(board, 58000)
        assert board.flash.ops == board.ops and board.journal.next == stored
    restarts(board, 70000)
    assert board.journal.next >= stored + 13, "what was read in the first minute is stored after it"
    stored = board.journal.next
    restarts(board, 20000)
    assert board.journal.next >= stored + 3, "the boot before it lasted"


def test_a_boot_that_lasts_ends_the_row_of_short_ones():
    board = Board()
    restarts(board, 9000, 9000, 61000, 9000, 9000, 9000)
    assert board.recorder.begin == 0
    restarts(board, 9000)
    assert board.recorder.begin == 60000


def test_a_boot_writes_the_nvs_once_and_once_more_when_it_lasted():
    board = Board()
    commits = [0]

    class Counted(Nvs):
        def commit(self):
            commits[0] += 1

    board.nvs = Counted()
    restarts(board, 200000)
    assert commits[0] == 2
    restarts(board, 20000)
    assert commits[0] == 3


def test_an_nvs_that_is_erased_or_was_written_by_a_version_before_is_no_boot_loop():
    board = Board()
    restarts(board, 70000, 9000)
    for kept, boot in (({}, 3), ({"boot": 900}, 901)):
        board.nvs.kept = kept
        board.start()
        assert (board.recorder.begin, board.boot) == (0, boot)


def test_what_a_boot_loop_cannot_keep_is_dropped_from_the_oldest_and_counted():
    board = Board()
    restarts(board, 9000, 9000, 9000)
    stored = board.journal.next
    board.start()
    for i in range(60):
        board.recorder.reading(500 + i, 1, 1, [i])
    board.live(61000, False)
    kept = board.journal.next - stored
    assert 40 < kept < 60 and board.recorder.dropped == 60 - kept


def lost(board):
    board.recorder.commit()
    return board.events("clock_lost")


def test_a_boot_that_starts_without_the_time_that_was_known_tells_of_it_once():
    board = Board()
    board.start()
    board.live(70000)
    assert lost(board) == [], "it never knew the time"
    board.clock.set(T0, clock.NTP, 20)
    board.live(70000)
    board.start()
    board.live(70000)
    assert lost(board) == [], "the chip kept it over a warm reset"
    for _ in range(2):
        board.start(cold=True)
        board.live(70000)
        assert lost(board) == [(3, SET, {"source": "none"})]
    board.clock.set(T0 + 100000, clock.NTP, 20)
    board.live(70000)
    assert lost(board)[1:] == [(4, CLEAR, {"source": "ntp", "boundMs": 20})]
    board.live(70000)
    assert len(lost(board)) == 2


def test_a_clock_that_nobody_has_set_for_a_week_is_lost_within_the_boot():
    board = Board()
    board.start()
    board.clock.set(T0, clock.NTP, 20)
    board.live(1000)
    for _ in range(8):
        board.uptime.ms += 86400000
        board.live(1000)
    (boot, state, detail), = lost(board)
    assert (boot, state, detail["source"]) == (1, SET, "ntp") and 30000 <= detail["boundMs"] < 35000
    board.clock.set(T0 + 8 * 86400000, clock.NTP, 20)
    board.live(1000)
    assert [state for _, state, _ in lost(board)] == [SET, CLEAR]


def test_flash_is_erased_ahead_only_while_no_meter_is_asked():
    board = Board()
    board.start()
    board.live(60000 * 8)
    lock = asyncio.Lock()
    board.recorder.lines = [asyncio.Lock(), lock]
    prepared = []
    board.journal.prepare = lambda: prepared.append(lock.locked())
    lock.state = 1
    board.live(5000)
    assert prepared == []
    lock.release()
    board.live(5000)
    assert prepared and not any(prepared)
