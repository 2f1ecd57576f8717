"""gateway/stages: what is configured stands before the recorder; on the real journal, over reboots."""
import asyncio
import json
import sys

from fake_nor import Nor
from gateway import clock
from gateway.ids import Ids
from gateway.metering import Meter
from gateway.recorder import Recorder
from gateway.records import FLAGGED
from gateway.replay import Dating, Replay
from gateway.stages import before
from gateway.views import Viewed, cut
from lib.journal import Journal

HEAP = {"test_a_counter_that_fell_between_two_boots_is_seen": "2M"}
T0 = 1782138600000
COLUMNS = "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3"
INTERVALS = {"every": 900, "points": ["16.7.0", "32.7.0"]}
CHECKS = {"amps": 10, "vMin": 184, "vMax": 264}


class Clock:
    source = clock.NTP

    def __init__(self, began):
        self.began = began

    def at(self, uptime):
        return self.began + uptime, 10

    def now(self):
        return self.at(clock.uptime_ms())


class Batch:
    every = 1
    points = COLUMNS
    size = 3


class Board:
    """One flash chip; meters of one profile, one a serial."""

    columns = COLUMNS

    def __init__(self, serials=("SN-1",)):
        self.flash = Nor(16)
        self.serials = serials
        self.boots = 0

    def boot(self, conf, began=T0):
        self.boots += 1
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.clock = Clock(began)
        ids = Ids()
        self.ids = ids.names()
        schema = ids.schema(self.columns)
        self.meters = [Meter(serial, 60, ids.slot(serial), schema, (), "modbus", {}) for serial in self.serials]
        recorder = Recorder(self.journal, self.boots, self.clock)
        rows = [dict(conf.get(serial, {}), serial=serial) for serial in self.serials]
        whole = {key: part for key, part in conf.items() if key in ("views", "intervals", "checks")}
        self.stage = before(recorder, dict(whole, meters=rows), self.meters, self.clock, ids, self.journal)
        return self

    def read(self, at, *values, slot=1):
        self.stage.reading(at, slot, self.meters[0].schema, list(values))

    def stored(self):
        """All records as (slot, mark, utc from T0 in ms, layout or event code and detail, values)."""

        async def collect():
            replay = Replay(self.journal, self.ids, Dating(self.journal, self.clock, self.boots), self.journal.first)
            found = []
            while True:
                record = await replay.next()
                if record is None:
                    return found
                if record.values is None:
                    found.append((record.slot, 0, record.unix_ms - T0, record.what and record.what[3], None))
                else:
                    layout = self.ids.columns(record.what)
                    mark = record.tag >> 4 if record.tag & FLAGGED else 0
                    found.append((record.slot, mark, record.unix_ms - T0, layout, list(record.values)))

        return asyncio.run(collect())


def test_an_interval_is_a_record_of_its_own_with_the_instant_of_its_end():
    board = Board().boot({"intervals": INTERVALS})
    for minute in range(16):
        board.read(minute * 60000, 1000 + minute, 500000 + minute, 230000 - minute)
    board.stage.commit()
    rows = board.stored()
    assert len(rows) == 17
    assert rows[15] == (
        1, 0, 900000,
        "\ninterval s 0\n16.3.0 W -3\n16.5.0 W -3\n16.6.0 W -3\n32.3.0 V -3\n32.5.0 V -3\n32.6.0 V -3",
        [900, 500000, 500007, 500014, 229986, 229993, 230000],
    )  # fmt: skip
    assert rows[16] == (1, 0, 900000, COLUMNS, [1015, 500015, 229985])


def test_the_end_of_an_interval_before_the_newest_record_dates_nothing_later():
    board = Board(("SN-1", "SN-2")).boot({"intervals": INTERVALS})
    for minute in range(15):
        board.read(minute * 60000, 1, 9, 9)
    board.read(900300, 1, 9, 9, slot=2)
    board.stage.commit()
    board.read(900500, 1, 9, 9)
    board.stage.commit()
    assert [row[2] for row in board.stored()[-3:]] == [900300, 900000, 900500]


def test_a_cut_interval_of_the_next_boot_has_nothing_of_this_one():
    board = Board().boot({"intervals": INTERVALS})
    for minute in range(5):
        board.read(minute * 60000, 1, 9, 9)
    board.stage.commit()
    board.boot({"intervals": INTERVALS}, began=T0 + 360000)
    for minute in range(10):
        board.read(minute * 60000, 1, 5, 5)
    board.stage.commit()
    intervals = [row for row in board.stored() if row[3] != COLUMNS]
    assert [row[4][:4] for row in intervals] == [[540, 5, 5, 5]]


def test_a_mark_is_stored_with_its_column_and_the_value_as_it_was_read():
    board = Board().boot({"checks": CHECKS})
    board.read(0, 5000, 100000, 230000)
    board.read(60000, 4000, 3000001, 300000)
    board.stage.commit()
    first, *events, last = board.stored()
    assert first[:2] == (1, 0) and last == (1, 7, 60000, COLUMNS, [4000, 3000001, 300000])
    assert len(events) == 3


def test_a_counter_that_fell_between_two_boots_is_seen():
    for after, seen in ((3999, True), (4000, False), (10**9, False)):
        board = Board(("SN-1", "SN-2")).boot({})
        for minute in range(100):
            board.read(minute * 60000, 3000 + minute * 10, 100000, 230000)
            board.read(minute * 60000, 7, 100000, 230000, slot=2)
        board.read(6000000, 4000, 100000, 230000)
        board.stage.commit()
        board.boot({"checks": CHECKS}, began=T0 + 7000000)
        board.read(1000, after, 100000, 230000)
        board.read(1000, 7, 100000, 230000, slot=2)
        board.stage.commit()
        told = [json.loads(row[3]) for row in board.stored() if row[4] is None]
        assert told == ([{"obis": "1.8.0", "value": "3.999", "before": "4"}] if seen else [])


def test_a_phase_that_went_away_between_two_boots_is_seen():
    columns = "\n32.7.0 V -3\n52.7.0 V -3\n72.7.0 V -1"
    board = Board()
    board.columns = columns
    board.boot({})
    board.read(0, 230000, 230000, 0)
    board.stage.commit()
    board.boot({"checks": CHECKS}, began=T0 + 120000)
    board.read(1000, 230000, 0, 0)
    board.stage.commit()
    told = [json.loads(row[3]) for row in board.stored() if row[4] is None]
    assert told == [{"obis": "52.7.0", "value": "0", "reason": "voltage"}]


def test_a_suspect_value_of_the_boot_before_is_not_what_the_next_one_starts_from():
    board = Board().boot({"checks": CHECKS})
    board.read(0, 5000, 100000, 230000)
    board.read(60000, 99000000, 100000, 230000)
    board.stage.commit()
    board.boot({"checks": CHECKS}, began=T0 + 120000)
    board.read(1000, 5010, 100000, 230000)
    board.stage.commit()
    assert [row[1] for row in board.stored() if row[4]] == [0, 1, 0]


def test_a_damaged_journal_stops_no_start():
    board = Board().boot({})
    for minute in range(300):
        board.read(minute * 60000, 3000 + minute, 100000, 230000)
        board.stage.commit()
    for at in range(8 * 4096, len(board.flash.image), 97):
        board.flash.image[at] &= 0x5A
    board.boot({"checks": CHECKS})
    board.read(0, 1, 100000, 230000)
    board.stage.commit()
    assert board.stored()[-1][4] == [1, 100000, 230000]


def test_a_meters_own_limits_go_before_the_common_ones():
    for own, marks in (({}, 2), ({"amps": 40}, 0)):
        board = Board().boot({"checks": CHECKS, "SN-1": own})
        board.read(0, 1, 3000001, 230000)  # 10 A x 300 V
        board.stage.commit()
        assert board.stored()[-1][1] == marks
    board = Board().boot({"checks": CHECKS, "SN-1": {"export": True}})
    board.read(0, 1, -500000, 230000)
    board.stage.commit()
    assert len(board.stored()) == 1


def test_checks_stand_before_intervals():
    board = Board().boot({"checks": CHECKS, "intervals": INTERVALS})
    for minute in range(16):
        board.read(minute * 60000, 1000, 500000, 90000 if minute == 4 else 230000)
    board.stage.commit()
    interval = [row for row in board.stored() if row[4] and len(row[4]) == 7]
    assert [(row[1], row[4][4]) for row in interval] == [(0b111 << 4, 90000)]


def test_views_come_first_and_each_is_checked_and_counted():
    ids = Ids()
    rows = [{"points": ["1.8.0", "16.7.0"]}, {"every": 300, "points": ["16.7.0", "32.7.0"]}]
    batch = Batch()
    meter = Viewed("SN-1", 60, ids.slot("SN-1"), cut(rows, [batch], ids), [batch], "modbus", {})
    journal = Journal(Nor(16))
    journal.mount()
    now = Clock(T0)
    conf = {"views": rows, "checks": CHECKS, "intervals": INTERVALS, "meters": [{"serial": "SN-1"}]}
    stage = before(Recorder(journal, 1, now), conf, [meter], now, ids, journal)
    board = Board()
    board.journal, board.clock, board.boots, board.ids = journal, now, 1, ids.names()
    for minute in range(16):
        assert meter.due(T0 // 1000 + 60 * minute)
        stage.reading(60000 * minute, meter.slot, meter.schema, [1000, 3000001 if minute == 5 else 500, 230000])
        meter.polls += 1
    stage.commit()
    found = {}
    for _, mark, _, layout, values in board.stored():
        found.setdefault(layout, []).append((mark, values))
    fast, slow = "\n1.8.0 kWh -3\n16.7.0 W -3", "\n16.7.0 W -3\n32.7.0 V -3"
    assert [mark for mark, _ in found.pop(fast)] == [2 if minute == 5 else 0 for minute in range(16)]
    assert [mark for mark, _ in found.pop(slow)] == [0, 1, 0, 0]
    assert found.pop("\ninterval s 0\n16.3.0 W -3\n16.5.0 W -3\n16.6.0 W -3") == [(14, [900, 500, 200467, 3000001])]
    assert found.pop("\ninterval s 0\n32.3.0 V -3\n32.5.0 V -3\n32.6.0 V -3") == [(0, [900, 230000, 230000, 230000])]
    assert len(found) == 1  # the event


def test_what_is_not_configured_is_not_imported():
    Board().boot({})
    for name in ("checks", "counters", "intervals"):
        assert "gateway." + name not in sys.modules
