"""gateway/metering: who is asked when, and what a silent or odd meter costs and stores."""
import asyncio

from gateway import calls, log
from gateway.metering import Bus, Meter
from lib import proto
from lib.proto import Fault

ENERGY = "\n1.8.0 kWh -3"
POWER = "\n16.7.0 W -3\n32.7.0 V -3"


class Batch:
    def __init__(self, every, points):
        self.every = every
        self.points = points
        self.size = points.count("\n")


class Session:
    """Answers from a script: for each read a list of values, or a fault kind."""

    def __init__(self, script):
        self.script = script
        self.reads = []
        self.answered_ms = 0

    async def read(self, batch):
        self.reads.append(batch)
        answer = self.script.pop(0) if self.script else proto.TIMEOUT
        if isinstance(answer, int):
            return [Fault(answer, 0, "scripted")] * batch.size
        self.answered_ms += 7
        return answer


class Recorder:
    def __init__(self):
        self.rows = []
        self.commits = 0

    def reading(self, uptime_ms, slot, schema, values):
        self.rows.append(("reading", slot, values))

    def lost(self, slot):
        self.rows.append(("lost", slot))

    def event(self, slot, code, severity, state, detail, uptime_ms=None):
        self.rows.append((code, slot))

    def commit(self):
        self.commits += 1


class Clock:
    ms = None

    def now(self):
        return self.ms and (self.ms, 10)


BATCHES = Batch(1, ENERGY), Batch(1, POWER)


def meter(script, every=5, batches=BATCHES):
    made = Meter("SN-1", every, 1, 1, batches, "modbus", {"address": 1})
    made.session = Session(script)
    return made


def poll(made, times):
    recorder = Recorder()
    bus = Bus("bus 0", None, [made], Clock(), recorder)

    async def run():
        for _ in range(times):
            await bus._poll(made)

    asyncio.run(run())
    return recorder.rows


def test_a_poll_is_one_reading_of_all_batches():
    assert poll(meter([[1000], [231500, 228700]]), 1) == [("reading", 1, [1000, 231500, 228700])]


def test_two_missed_polls_store_nothing_and_the_third_an_event_and_an_envelope():
    made = meter([])
    assert poll(made, 2) == []
    assert poll(made, 1) == [("comms_lost", 1), ("lost", 1)]
    assert poll(made, 2) == [("lost", 1), ("lost", 1)]


def test_the_first_good_poll_after_a_loss_says_so_before_its_reading():
    made = meter([proto.TIMEOUT] * 3 + [[5], [6, 7]])
    poll(made, 3)
    assert poll(made, 1) == [("comms_restored", 1), ("reading", 1, [5, 6, 7])]


def test_a_good_poll_in_between_starts_the_count_anew():
    made = meter([proto.TIMEOUT] * 2 + [[5], [6, 7]] + [proto.TIMEOUT] * 2)
    assert poll(made, 5) == [("reading", 1, [5, 6, 7])]


def test_after_a_time_out_the_other_batches_are_left_alone():
    made = meter([])
    poll(made, 1)
    assert len(made.session.reads) == 1


def test_a_refused_batch_leaves_the_others_standing():
    assert poll(meter([proto.REFUSED, [231500, 228700]]), 1) == [("reading", 1, [None, 231500, 228700])]


def test_a_reading_that_broke_off_keeps_what_was_answered():
    assert poll(meter([[1000], proto.TIMEOUT]), 1) == [("reading", 1, [1000, None, None])]


def test_garbage_counts_as_a_missed_poll():
    assert poll(meter([proto.FRAME] * 6), 3) == [("comms_lost", 1), ("lost", 1)]


def test_a_unit_in_quarantine_is_no_missed_poll():
    made = meter([proto.BUSY] * 5)
    assert poll(made, 5) == [] and made.misses == 0


def test_garbage_and_the_quarantine_after_it_is_a_missed_poll():
    assert poll(meter([proto.FRAME, proto.BUSY] * 3), 3) == [("comms_lost", 1), ("lost", 1)]


def test_a_lost_meter_that_is_left_alone_keeps_its_cadence():
    made = meter([proto.TIMEOUT] * 3 + [proto.BUSY] * 2 + [[5], [6, 7]])
    assert poll(made, 3) == [("comms_lost", 1), ("lost", 1)]
    assert poll(made, 3) == [("lost", 1), ("lost", 1), ("comms_restored", 1), ("reading", 1, [5, 6, 7])]


def test_a_block_that_was_dropped_is_absent_and_told_once():
    made = meter([proto.UNSUPPORTED, [231500, 228700], proto.ABSENT, [231600, 228800]])
    said = []
    kept, log.error = log.error, lambda *words: said.append(words)
    try:
        assert poll(made, 2) == [("reading", 1, [None, 231500, 228700]), ("reading", 1, [None, 231600, 228800])]
    finally:
        log.error = kept
    assert said == [("bus 0", "SN-1: scripted")]


def test_a_point_that_the_meter_does_not_have_is_absent():
    assert poll(meter([[None], [231500, None]]), 1) == [("reading", 1, [None, 231500, None])]


def test_a_batch_of_every_third_cycle_is_read_in_every_third():
    slow = Batch(3, ENERGY)
    made = meter([[1], [2], [3], [4], [5]], batches=(slow, Batch(1, "\n32.7.0 V -3")))
    assert poll(made, 4) == [
        ("reading", 1, [1, 2]), ("reading", 1, [None, 3]), ("reading", 1, [None, 4]), ("reading", 1, [5, None])
    ]  # fmt: skip
    assert made.session.reads.count(slow) == 2


def test_text_is_left_out_unless_the_bus_takes_it():
    assert poll(meter([[1], ["AB-1", 2]]), 1) == [("reading", 1, [1, None, 2])]
    kept, Bus.takes = Bus.takes, (int, str)
    try:
        assert poll(meter([["AB-1"], proto.TIMEOUT]), 1) == [("reading", 1, ["AB-1", None, None])]
    finally:
        Bus.takes = kept


def test_a_meter_is_due_once_a_period_of_utc():
    made = meter([], every=60)
    now = 1782138600
    assert made.due(now + 7)
    assert not made.due(now + 8) and not made.due(now + 59)
    assert made.due(now + 60) and not made.due(now + 61)


class Media:
    def __init__(self):
        self.lock = asyncio.Lock()
        self.ports = []

    async def set(self, *port):
        assert self.lock.locked()
        self.ports.append(port)


async def test_the_line_is_set_to_the_port_of_a_meter_only_when_it_changes():
    meters = [meter([[1], [2, 3]] * 9) for _ in range(3)]
    for made, port in zip(meters, ((2400, "8N1"), (2400, "8N1"), (9600, "8E1"))):
        made.port = port
    media = Media()
    bus = Bus("bus 0", media, meters, Clock(), Recorder())
    task = asyncio.create_task(bus.run(Life()))
    await asyncio.sleep_ms(20)
    task.cancel()
    assert media.ports == [(2400, "8N1"), (9600, "8E1")]


async def test_a_line_whose_meters_are_all_alike_is_never_set():
    media = Media()
    task = asyncio.create_task(Bus("bus 0", media, [meter([[1], [2, 3]])], Clock(), Recorder()).run(Life()))
    await asyncio.sleep_ms(20)
    task.cancel()
    assert media.ports == []


class Life:
    beats = 0

    def beat(self):
        self.beats += 1


async def test_the_round_is_committed_and_a_silent_meter_does_not_hold_the_others():
    recorder, life = Recorder(), Life()
    dead, alive = meter([]), meter([[1], [2, 3]] * 9)
    alive.slot = 2
    task = asyncio.create_task(Bus("bus 0", None, [dead, alive], Clock(), recorder).run(life))
    await asyncio.sleep_ms(20)
    task.cancel()
    assert recorder.rows == [("reading", 2, [1, 2, 3])] and recorder.commits == 1
    assert life.beats >= 2


async def test_who_missed_a_poll_is_asked_after_the_others():
    order = []
    meters = [meter([]) for _ in range(4)]
    for slot, made in enumerate(meters):
        made.slot = slot
        made.misses = 2 - slot if slot < 2 else 0  # 2, 1, 0, 0
    bus = Bus("bus 0", None, meters, Clock(), Recorder())

    async def poll(made):
        order.append(made.slot)
        made.misses += 1  # it does not make it come twice

    bus._poll = poll
    task = asyncio.create_task(bus.run(Life()))
    await asyncio.sleep_ms(20)
    task.cancel()
    assert order == [2, 3, 0, 1]


def test_a_meter_that_is_asked_for_now_is_due_at_once_and_keeps_its_cadence():
    made, other = meter([]), meter([])
    other.serial = "SN-2"
    assert made.due(10) and other.due(10) and not made.due(11)

    class Gateway:
        buses = [Bus("bus 0", None, [made, other], Clock(), Recorder())]

    assert calls.read_now(Gateway(), ["SN-1", "SN-9"]) == ["SN-1"]
    assert made.due(12) and not other.due(12)
    assert not made.due(13) and made.due(15)
