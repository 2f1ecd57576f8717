"""gateway/intervals: minimum, average and maximum on the clock's quarter hours, on a clock that the test moves."""
import random

from gateway import intervals
from gateway.intervals import Intervals
from gateway.stages import interval
from lib import fixed

T0 = 1782138600000  # 2026-06-22T14:30:00Z, a quarter hour
SPAN = 900
COLUMNS = "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -2\n14.7.0 Hz -3"
POINTS = ("16.7.0", "32.7.0", "52.7.0", "1.8.0")


class Recorder:
    def __init__(self):
        self.rows = []
        self.passed = []
        self.commits = 0

    def reading(self, uptime_ms, slot, schema, values, suspect=0):
        (self.passed if schema == 1 else self.rows).append((uptime_ms, slot, schema, list(values), suspect))

    def lost(self, slot):
        pass

    def event(self, slot, code, severity, state, detail, uptime_ms=None):
        pass

    def commit(self):
        self.commits += 1


class Clock:
    """UTC is uptime + `offset`, None before it is known."""

    def __init__(self, offset):
        self.offset = offset

    def at(self, uptime_ms):
        return None if self.offset is None else (uptime_ms + self.offset, 10)


class Bench:
    """One meter with slot 1 that is read each 5 s; `utc` of a record as the recorder and a reader see it."""

    def __init__(self, offset=T0):
        self.recorder, self.clock = Recorder(), Clock(offset)
        self.stage = Intervals(self.recorder, self.clock, SPAN)
        self.stage.add(1, 1, 5, 2, interval(COLUMNS, list(POINTS))[1])
        self.uptime = 0
        intervals.clock.uptime_ms = lambda: self.uptime

    def read(self, values, suspect=0, after_ms=5000):
        self.uptime += after_ms
        self.stage.reading(self.uptime, 1, 1, values, suspect)
        self.stage.commit()

    def wait(self, ms):
        self.uptime += ms
        self.stage.commit()

    def ends(self):
        """The instants of the records in unix ms."""
        return [row[0] + self.clock.offset for row in self.recorder.rows]

    def spans(self):
        return [row[3][0] for row in self.recorder.rows]


def test_the_layout_has_minimum_average_and_maximum_of_each_point_by_group_d():
    assert interval(COLUMNS, list(POINTS)) == (
        "\ninterval s 0\n16.3.0 W -3\n16.5.0 W -3\n16.6.0 W -3\n32.3.0 V -2\n32.5.0 V -2\n32.6.0 V -2", b"\1\2"
    )
    assert interval("\n1.8.0 kWh -3\n17.7.0 W -3", ["1.8.0", "17.7.0"])[0] == (
        "\ninterval s 0\n17.3.0 W -3\n17.5.0 W -3\n17.6.0 W -3"
    )
    assert interval("\n1.8.0 kWh -3\n14.7.0 Hz -3", list(POINTS))[1] == b""


def test_a_point_counts_in_one_view_only():
    points = list(POINTS)
    assert interval("\n32.7.0 V -3", points)[1] == b"\0" and points == ["16.7.0", "52.7.0", "1.8.0"]
    assert interval(COLUMNS, points)[1] == b"\1"


def test_a_meter_that_was_not_added_passes_and_has_no_intervals():
    made = Bench()
    for _ in range(200):
        made.uptime += 5000
        made.stage.reading(made.uptime, 2, 1, [1, 2, 3, 4])
    made.wait(2000000)
    assert made.recorder.rows == [] and len(made.recorder.passed) == 200


def test_a_whole_interval_is_what_decimal_arithmetic_says():
    random.seed(5)
    made = Bench(T0 - 10000)
    power, volts = [], []
    while not made.recorder.rows or len(made.recorder.rows) < 2:
        watts, v = random.randint(-9000000, 9000000), random.randint(18000, 26000)
        made.read([1000, watts, v, 50000])
        if T0 <= made.uptime + made.clock.offset < T0 + SPAN * 1000:
            power.append(watts)
            volts.append(v)
    _, slot, schema, values, suspect = made.recorder.rows[1]
    assert (slot, schema, suspect) == (1, 2, 0) and len(power) == 180
    wanted = [SPAN]
    for numbers in (power, volts):
        wanted.extend((min(numbers), fixed.ratio(sum(numbers), len(numbers)), max(numbers)))
    assert values == wanted
    assert made.ends() == [T0, T0 + SPAN * 1000]


def test_minimum_average_and_maximum_are_in_order_whatever_is_read():
    random.seed(7)
    made = Bench(T0 + 4321)
    for _ in range(2000):
        made.read([0, (random.getrandbits(30) - (1 << 29)) * 1000, random.choice((None, random.randint(0, 30000))), 0])
    assert len(made.recorder.rows) == 11
    for _, _, _, (span, *rest), _ in made.recorder.rows:
        assert 1 <= span <= SPAN
        for i in (0, 3):
            assert rest[i] <= rest[i + 1] <= rest[i + 2]


def test_an_average_is_rounded_once_half_to_the_even():
    made = Bench(T0)
    for watts in (2, 3, 3, 4, 5, 4):
        made.read([0, watts, watts - 1, 0])
    made.wait(SPAN * 1000)
    assert made.recorder.rows[0][3][1:4] == [2, 4, 5]  # 3.5
    assert made.recorder.rows[0][3][4:] == [1, 2, 4]  # 2.5


def test_readings_go_on_unaltered_and_behind_the_interval_that_they_end():
    made = Bench(T0 + SPAN * 1000 - 7000)
    rows = []
    made.recorder.reading = lambda *row: rows.append(row)
    for i in range(3):
        made.read([i, 2 * i, 3 * i, None], i)
    assert [row[2] for row in rows] == [1, 2, 1, 1]
    assert [row[3:] for row in rows if row[2] == 1] == [([i, 2 * i, 3 * i, None], i) for i in range(3)]


def test_nothing_is_counted_before_the_time_is_known():
    made = Bench(None)
    for _ in range(400):
        made.read([0, 9, 9, 0])
    assert made.recorder.rows == []
    made.clock.offset = T0 - made.uptime - 20000
    for _ in range(5):
        made.read([0, 5, 6, 0])
    assert made.spans() == [15] and made.recorder.rows[0][3][1:] == [5, 5, 5, 6, 6, 6]
    assert made.ends() == [T0]


def test_the_first_interval_of_a_boot_says_what_it_covers():
    made = Bench(T0 + 300000)
    for _ in range(130):
        made.read([0, 1, 1, 0])
    assert made.spans() == [595] and made.ends() == [T0 + SPAN * 1000]


def test_a_silent_meters_interval_ends_on_time_and_covers_what_was_read():
    made = Bench(T0)
    for _ in range(60):
        made.read([0, 7, 8, 0])  # to 300 s
    for _ in range(150):
        made.wait(5000)
    assert made.spans() == [295] and made.ends() == [T0 + SPAN * 1000]
    for _ in range(100):
        made.wait(60000)
    assert len(made.recorder.rows) == 1


def test_a_gap_is_not_covered_and_a_single_missed_poll_is():
    made = Bench(T0 - 5000)
    for i in range(190):
        if i % 10 == 3 or i in (100, 101, 102, 104):
            made.wait(5000)
        else:
            made.read([0, 7, 8, 0])
    assert made.spans()[-1] == SPAN - 30  # three polls and one more, with one between them


def test_a_step_of_the_clock_cuts_the_interval_which_says_so():
    for step in (-3600000, -5000, 5000, 86400000):
        made = Bench(T0)
        for _ in range(40):
            made.read([0, 1, 1, 0])
        made.clock.offset += step
        for _ in range(4):
            made.read([0, 2, 2, 0])
        assert made.spans() == [195], step
        assert made.ends()[0] == T0 + step + 200000
        assert made.recorder.rows[0][3][1:4] == [1, 1, 1]
        made.wait(SPAN * 1000)
        assert made.recorder.rows[1][3][1:4] == [2, 2, 2]


def test_a_correction_of_less_than_a_second_cuts_nothing():
    random.seed(19)
    made = Bench(T0 - 5000)
    for i in range(400):
        if i % 37 == 0:
            made.clock.offset += random.randint(-180, 180)
        made.read([0, 1, 1, 0])
    assert len(made.recorder.rows) == 2 and made.spans() == [SPAN, SPAN]


def test_an_interval_that_covers_less_than_a_second_is_dropped():
    made = Bench(T0 + SPAN * 1000 - 900)
    made.read([0, 1, 1, 0], after_ms=100)
    made.read([0, 1, 1, 0])
    assert made.recorder.rows == []


def test_one_suspect_value_makes_the_three_of_its_point_suspect():
    made = Bench(T0)
    for i in range(10):
        made.read([0, 1, 1, 0], 1 << 2 if i == 4 else 1 << 3)
    made.wait(SPAN * 1000)
    assert made.recorder.rows[0][4] == 0b111 << 4 and len(made.recorder.passed) == 10


def test_the_stamp_of_an_interval_is_its_end_whatever_the_offset():
    random.seed(11)
    for _ in range(200):
        made = Bench(T0 + SPAN * 1000 - random.randint(8000, 20000))
        made.uptime = random.getrandbits(30) * 8
        made.clock.offset -= made.uptime
        for _ in range(8):
            made.read([0, 1, 1, 0], after_ms=random.randint(3000, 6000))
        assert made.ends() == [T0 + SPAN * 1000]


def test_the_instant_is_the_end_while_the_clock_is_on_its_way_to_a_correction():
    made = Bench(T0 + SPAN * 1000 - 30000)
    made.stage.add(1, 1, 60, 2, interval(COLUMNS, list(POINTS))[1])
    made.clock.at = lambda uptime_ms: (uptime_ms - uptime_ms // 1000 + made.clock.offset, 10)
    for _ in range(4):
        made.read([0, 1, 1, 0], after_ms=20000)
    end = made.recorder.rows[0][0]
    assert abs(made.clock.at(end)[0] - T0 - SPAN * 1000) <= 1


def test_points_that_were_never_read_are_absent():
    made = Bench(T0)
    for _ in range(5):
        made.read([0, None, 3, 0])
    made.wait(SPAN * 1000)
    assert made.recorder.rows[0][3] == [made.spans()[0], None, None, None, 3, 3, 3]
