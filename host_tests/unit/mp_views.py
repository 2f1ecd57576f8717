"""gateway/views: several views of one meter, each at its cadence, each a record of its own."""
import asyncio

from gateway.metering import Bus
from gateway.views import Viewed, Views, cut

ENERGY = "\n1.8.0 kWh -3\n2.8.0 kWh -3"
POWER = "\n16.7.0 W -3\n32.7.0 V -3\n14.7.0 Hz -3"
SLOW = "\n15.8.0 kWh -3"
BILLING = {"points": ["1.8.0", "16.7.0", "32.7.0", "52.7.0"]}


class Batch:
    every = 1

    def __init__(self, points, first):
        self.points = points
        self.size = points.count("\n")
        self.first = first


class Ids:
    def __init__(self):
        self.layouts = []

    def schema(self, columns):
        if columns not in self.layouts:
            self.layouts.append(columns)
        return self.layouts.index(columns) + 1


class Session:
    """Answers each point with its own number among all, 1, 2, ..."""

    answered_ms = 0

    def __init__(self):
        self.reads = []

    async def read(self, batch):
        self.reads.append(batch.points)
        return [batch.first + i for i in range(batch.size)]


class Recorder:
    def __init__(self):
        self.rows = []

    def reading(self, uptime_ms, slot, schema, values, suspect=0):
        self.rows.append((schema, values))

    def lost(self, slot):
        pass

    def event(self, slot, code, severity, state, detail, uptime_ms=None):
        pass

    def commit(self):
        pass


class Made:
    def __init__(self, rows, every=5, profile_every=1):
        self.ids, self.recorder = Ids(), Recorder()
        batches = Batch(ENERGY, 1), Batch(POWER, 3), Batch(SLOW, 6)
        batches[2].every = profile_every
        self.meter = Viewed("SN-1", every, 1, cut(rows, batches, self.ids), batches, "modbus", {"address": 1})
        self.meter.session = Session()
        stage = Views(self.recorder, [self.meter])
        self.bus = Bus("bus 0", None, [self.meter], None, stage)

    def poll(self, now):
        """Return (records, batches read) of a look at `now`, s."""
        self.recorder.rows, self.meter.session.reads = [], []
        if self.meter.due(now):
            asyncio.run(self.bus._poll(self.meter))
        return self.recorder.rows, self.meter.session.reads


def test_a_view_is_a_layout_of_its_own_and_the_rest_is_one_too():
    made = Made([BILLING, {"every": 900}])
    assert made.ids.layouts == [
        "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3", "\n2.8.0 kWh -3\n14.7.0 Hz -3\n15.8.0 kWh -3"
    ]  # fmt: skip
    assert [(every, schema) for every, schema, _ in made.meter.views] == [(5, 1), (900, 2)]
    assert made.meter.every == 5


def test_the_first_poll_reads_all_views_and_then_each_when_its_period_is_over():
    made = Made([BILLING, {"every": 900}])
    now = 1782138600
    both = [(1, [1, 3, 4]), (2, [2, 5, 6])]
    assert made.poll(now + 2) == (both, [ENERGY, POWER, SLOW])
    assert made.poll(now + 4) == ([], [])
    for second in range(5, 900, 5):
        assert made.poll(now + second) == (both[:1], [ENERGY, POWER])
    assert made.poll(now + 900) == (both, [ENERGY, POWER, SLOW])
    assert made.poll(now + 901) == ([], [])


def test_a_view_needs_the_batches_of_its_points_only():
    made = Made([{"points": ["15.8.0", "1.8.0"]}, {"every": 60, "points": ["14.7.0"]}])
    made.poll(0)
    assert made.poll(5) == ([(1, [1, 6])], [ENERGY, SLOW])
    assert made.poll(60) == ([(1, [1, 6]), (2, [5])], [ENERGY, POWER, SLOW])


def test_a_point_may_stand_in_two_views():
    made = Made([{"points": ["1.8.0"]}, {"every": 60, "points": ["1.8.0", "2.8.0"]}])
    assert made.poll(0)[0] == [(1, [1]), (2, [1, 2])]


def test_the_cadence_of_the_profile_does_not_count():
    made = Made([{"every": 60}], profile_every=1000)
    for i in range(5):
        assert made.poll(60 * i) == ([(1, [1, 2, 3, 4, 5, 6])], [ENERGY, POWER, SLOW])


def test_a_view_without_a_point_of_the_profile_is_left_out():
    made = Made([BILLING, {"points": ["52.7.0"]}, {"every": 900}])
    assert len(made.meter.views) == 2 and len(made.ids.layouts) == 2


def test_a_view_of_which_nothing_was_read_is_no_record():
    made = Made([BILLING, {"every": 5, "points": ["15.8.0"]}])

    async def read(batch):
        return [None] * batch.size if batch.points == SLOW else [7] * batch.size

    made.meter.session.read = read
    assert made.poll(0)[0] == [(1, [7, 7, 7])]


NUMBER = "\n0.0.96.1.1.255 text 0"


def numbered(rows):
    """A meter whose own number is a batch of its own, planned for each so-manyth poll."""
    made = Made(rows)
    batches = Batch(ENERGY, 1), Batch(POWER, 3), Batch(NUMBER, 6)
    batches[2].every = 1440
    made.ids.layouts = []
    made.meter = Viewed("SN-1", 5, 1, cut(rows, batches, made.ids), batches, "modbus", {"address": 1})
    made.meter.session = Session()
    made.bus = Bus("bus 0", None, [made.meter], None, Views(made.recorder, [made.meter]))
    return made


def test_a_meters_own_number_is_read_when_all_is_and_once_a_day():
    for rows in ([BILLING, {"every": 900}], [BILLING]):
        made = numbered(rows)
        assert made.ids.layouts[-1] == NUMBER
        day = 1782172800
        assert made.poll(day)[1][-1] == NUMBER
        assert [NUMBER in made.poll(now)[1] for now in range(day + 5, day + 86400, 300)] == [False] * 288
        assert made.poll(day + 86400)[1][-1] == NUMBER
        made.meter.polls = 0  # it was away
        assert made.poll(day + 86405)[1][-1] == NUMBER and NUMBER not in made.poll(day + 86410)[1]


def test_a_view_that_names_the_own_number_has_it_at_its_own_cadence():
    made = numbered([{"points": ["1.8.0", "0.0.96.1.1.255"]}])
    assert [made.poll(5 * i) for i in range(3)] == [([(1, [1, 6])], [ENERGY, NUMBER])] * 3


def test_after_polls_was_set_back_the_next_poll_reads_all_views():
    made = Made([BILLING, {"every": 900}])
    made.poll(0)
    made.meter.polls = 0
    assert made.poll(4) == ([], [])
    assert len(made.poll(5)[0]) == 2
    assert len(made.poll(10)[0]) == 1
