"""A year of a gateway on virtual time: clock, recorder, journal, dating, as they run, against the time that is true.

Thirty meters each quarter of an hour; the chip's crystal wanders; the board's own clock loses the time with the power;
reboots warm and cold; somebody sets the clock wrong; a link that is gone for seventy days, and with it NTP. Every
record is judged when it is read back.
"""
import asyncio
import random
from array import array

from fake_nor import Nor
from fake_nvs import Nvs
from gateway import clock, recorder
from gateway.bracket import search  # noqa: F401  loaded once, not once a record
from gateway.clock import Clock
from gateway.records import EVENT, INFO, ONCE
from gateway.replay import Dating, Replay
from lib.journal import Journal

HEAP = {
    "test_every_bound_holds_for_a_year": "64M",
    "test_with_twice_the_drift_a_bound_breaks": "64M",
}
METERS = 30
EVERY_MS = 900000
DAY_MS = 86400000
BEGIN = 1782864000000  # 2026-07-01
RESOLUTION_MS = 22  # as northbound adds it
NTP_MS = 20
POWER_RESTORE = 3  # its place in events.CODES
OUTAGE = 100, 170  # days
BY_HAND = {(50, 30): 90000, (210, 31): -90000}  # (day, round): how wrong somebody set the clock, within 100 s
MOST = 72 * 96 * (METERS + 1)  # records that wait to be read back


class Names:
    def columns(self, number):
        return "\n1.8.0 kWh -3"


class World:
    """What is true: unix ms, and how fast the crystal runs. `worse` multiplies what the clock's bounds allow."""

    def __init__(self, worse):
        self.true = BEGIN
        self._worse = worse
        self._micro = 0  # of uptime

    def drift_ppm(self):
        """36 ppm of the crystal's own and a day of 9 ppm around it: never 0.9 of 20 ppm away from any mean of them."""
        phase = self.true % DAY_MS * 4 // DAY_MS
        return (36 + (9, 3, -9, -3)[phase]) * self._worse

    def advance(self, ms, uptime):
        """Let `ms` of true time pass, and what the crystal makes of them."""
        self.true += ms
        self._micro += ms * self.drift_ppm()
        whole = self._micro // 1000000
        self._micro -= whole * 1000000
        uptime.ms += ms + whole


class Uptime:
    ms = 0

    def __call__(self):
        return self.ms


class Rtc:
    """The chip's clock: runs with the crystal, loses the time with the power."""

    def __init__(self, uptime):
        self._uptime = uptime
        self._at = None

    def lose(self):
        self._at = None

    def carry(self, uptime):
        """Go on under a new boot's uptime."""
        self._at = self._at and self._at - uptime.ms + self._uptime.ms
        self._uptime = uptime

    def datetime(self, fields=None):
        if fields:
            second = clock.civil.unix_s(*fields[:3], *fields[4:7])
            self._at = second * 1000 + fields[7] // 1000 - self._uptime.ms
            return None
        if self._at is None:
            return 2000, 1, 1, 5, 0, 0, 5, 0
        second, ms = divmod(self._at + self._uptime.ms, 1000)
        year, month, day, hour, minute, second = clock.civil.fields(second)
        return year, month, day, 0, hour, minute, second, ms * 1000


class Board:
    """The gateway's parts, boot after boot."""

    def __init__(self, world):
        self.world = world
        self.nvs = Nvs()
        self.flash = Nor(512)
        self.uptime = Uptime()
        self.rtc = Rtc(self.uptime)
        self.boot = 0
        self.truth = array("q", bytes(16 * MOST))  # a ring, of each record: true unix ms, boot
        self.made = self.sent = 0  # records made, read back
        self.start(0)

    def start(self, cold):
        self.boot += 1
        uptime = Uptime()
        uptime.ms = 500
        if cold:
            self.rtc.lose()
        self.rtc.carry(uptime)
        self.uptime = uptime
        clock.uptime_ms = uptime
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.clock = Clock([(self.rtc, clock.CRYSTAL_PPM, 20)], self.nvs, uptime)
        self.recorder = recorder.Recorder(self.journal, self.boot, self.clock)
        self.event("power_restore", {"boot": self.boot})
        self.recorder.commit()

    def event(self, code, detail):
        self.recorder.event(0, code, INFO, ONCE, detail)
        self.note()

    def note(self):
        at = self.made % MOST * 2
        self.truth[at], self.truth[at + 1] = self.world.true, self.boot
        self.made += 1

    def set(self, source, bound, error):
        """Set the clock as a source does that is `error` ms off; return the step."""
        moved = self.clock.set(self.world.true + error, source, bound)
        if moved is None or abs(moved) >= 1000:
            self.event("clock_set", {"stepMs": moved or 0})
        return moved or 0

    def read(self, turn):
        for meter in range(METERS):
            self.world.advance(120, self.uptime)
            self.recorder.reading(self.uptime.ms, meter + 1, 1, [turn * (meter + 7)])
            self.note()
        self.recorder.commit()


async def drain(board, check):
    """Read back what is new, as an outlet does, and judge it."""
    replay = Replay(board.journal, Names(), Dating(board.journal, board.clock, board.boot), board.sent)
    assert board.made - board.sent <= MOST
    while True:
        record = await replay.next()
        if record is None:
            break
        assert record.ordinal == board.sent
        at = board.sent % MOST * 2
        check(record, board.truth[at], board.truth[at + 1])
        board.sent += 1
    assert replay.gap is None


class Judge:
    """Counts what is wrong with the time stamps."""

    def __init__(self):
        self.broken = self.disordered = self.undated = 0
        self.events = []  # (true ms, code)
        self.turns = array("q", bytes(8 * 366 * 96))  # true ms of each round
        self.rounds = 0
        self._last = (0, 0)

    def __call__(self, record, true, boot):
        if abs(record.unix_ms - true) > record.bound_ms + RESOLUTION_MS:
            self.broken += 1
        if self._last[0] == boot and record.unix_ms < self._last[1]:
            self.disordered += 1
        self._last = boot, record.unix_ms
        self.undated += record.source == clock.NONE
        if record.tag == EVENT:
            self.events.append((true, record.what[0]))
        elif record.slot == 1:
            self.turns[self.rounds] = true
            self.rounds += 1


def live(days, worse):
    """Let the gateway live for `days`; return (judge, board, steps of the clock)."""
    random.seed(7)
    world = World(worse)
    board, judge, steps = Board(world), Judge(), []
    reboots = sorted([random.randrange(2, days - 2) for _ in range(days // 8)])
    for day in range(days):
        linked = not OUTAGE[0] <= day < OUTAGE[1]
        if day in reboots:
            cold = random.randrange(2)
            off = random.randrange(60000, 7200000) if cold else 3000
            world.advance(off, board.uptime)
            board.start(cold)
        for turn in range(DAY_MS // EVERY_MS):
            if linked and turn % 4 == 1:
                steps.append(board.set(clock.NTP, NTP_MS, random.randint(-NTP_MS, NTP_MS) * 9 // 10))
            if (day, turn) in BY_HAND:
                steps.append(board.set(2, 100000, BY_HAND[day, turn]))
            board.read(day * 96 + turn)
            world.advance(EVERY_MS - METERS * 120, board.uptime)
        if linked:
            asyncio.run(drain(board, judge))
    asyncio.run(drain(board, judge))
    return judge, board, steps


def test_every_bound_holds_for_a_year():
    judge, board, steps = live(365, 1)
    assert board.sent == board.journal.next == board.made > 1000000
    assert judge.broken == 0 and judge.disordered == 0
    assert judge.undated > 10000 and board.boot > 20  # boots that never learnt the time were among them
    large = [abs(step) for step in steps if abs(step) >= 1000]
    assert len(large) == 4 and 80000 < min(large) <= max(large) < 100000, large  # there and back again, twice
    for i in range(1, judge.rounds):  # a round is missing only where an event says why
        before, after = judge.turns[i - 1], judge.turns[i]
        if after - before > EVERY_MS * 3 // 2:
            why = [code for at, code in judge.events if before < at <= after]
            assert POWER_RESTORE in why, (before, after)


def test_with_twice_the_drift_a_bound_breaks():
    judge, _, _ = live(250, 2)
    assert judge.broken > 100
