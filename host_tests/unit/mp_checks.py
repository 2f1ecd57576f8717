"""gateway/checks: what is flagged, what is told, and that nothing is altered."""
import random

from gateway.checks import Checks
from gateway.records import ALARM, CLEAR, INFO, ONCE, SET, WARN
from lib import twin

MINUTE = 60000
COLUMNS = "\n1.8.0 kWh -3\n2.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3\n31.7.0 A -3"
THREE = (
    "\n16.7.0 W -3\n36.7.0 W -3\n56.7.0 W -3\n76.7.0 W -3\n2.7.0 W -3\n52.7.0 V -1\n72.7.0 V -1"
    "\n3.8.0 kvarh -3\n16.8.0 kWh 0"
)
NUMBER = "\n0.0.96.1.1.255 text 0\n1.8.0 kWh -3"
ALONE = "\n0.0.96.1.1.255 text 0"
WATTS = 9000


class Names:
    def columns(self, number):
        return (COLUMNS, THREE, NUMBER, ALONE)[number - 1]


class Recorder:
    def __init__(self):
        self.count = 0
        self.events = []
        self.order = []

    def reading(self, uptime_ms, slot, schema, values, suspect=0):
        self.row = uptime_ms, slot, schema, list(values), suspect
        self.count += 1
        self.order = self.order[-9:] + ["reading"]

    def lost(self, slot):
        self.order.append("lost")

    def event(self, slot, code, severity, state, detail, uptime_ms=None):
        self.events.append((code, severity, state, detail))
        self.at = uptime_ms
        self.order.append(code)

    def commit(self):
        self.order.append("commit")


class Meter:
    slot = 1
    polls = 7


class Bench:
    """One meter that is read each minute, 9 kW at most."""

    def __init__(self, schema=1, export=False, device=None):
        self.recorder, self.meter, self.schema = Recorder(), Meter(), schema
        self.stage = Checks(self.recorder, Names(), {"vMin": 184, "vMax": 264})
        self.stage.add(self.meter, (schema,), WATTS, export, device)
        self.at = 0

    def read(self, *values):
        """Return the flags of this reading; what was handed on is what was read."""
        self.at += MINUTE
        given = list(values)
        self.stage.reading(self.at, 1, self.schema, given)
        uptime_ms, slot, schema, taken, suspect = self.recorder.row
        assert (uptime_ms, slot, schema) == (self.at, 1, self.schema)
        assert taken == [None if isinstance(value, str) else value for value in values]
        return suspect

    def told(self):
        events, self.recorder.events = self.recorder.events, []
        return events


def good(energy=1000000, watts=500, volts=230, export=0):
    return energy, export, watts * 1000, volts * 1000, 2000


def test_a_good_meter_is_never_flagged():
    random.seed(2)
    made = Bench()
    energy = 1000000
    for _ in range(2000):
        watts = random.randint(0, WATTS)
        energy += watts // 60
        assert made.read(*good(energy, watts, random.randint(190, 258))) == 0
    assert made.told() == []


def test_a_counter_that_fell_is_one_event_and_one_flag_on_its_value():
    made = Bench()
    made.read(*good(1000000))
    assert made.read(*good(999999)) == 1
    detail = {"obis": "1.8.0", "value": "999.999", "before": "1000"}
    assert made.told() == [("counter_rollback", ALARM, ONCE, detail)]
    assert made.recorder.order == ["reading", "counter_rollback", "reading"] and made.recorder.at == made.at
    for i in range(60):
        assert made.read(*good(999999 + i)) == 0
    assert made.told() == []
    made.read(*good(5))
    assert [event[0] for event in made.told()] == ["counter_rollback"]


def test_a_counter_that_leapt_is_one_event_and_one_flag_on_its_value():
    made = Bench()
    made.read(*good(1000000))
    assert made.read(*good(1001151)) == 1
    detail = {"obis": "1.8.0", "value": "1001.151", "reason": "jump", "before": "1000"}
    assert made.told() == [("value_implausible", WARN, ONCE, detail)]
    assert made.read(*good(1001152)) == 0 and made.told() == []


def test_a_counter_that_flaps_at_every_poll_is_told_once_in_a_quarter_hour():
    made = Bench()
    made.read(*good(1000000))
    flags = [made.read(*good((1000000, 5)[i & 1], watts=0)) for i in range(121)]
    assert flags.count(1) == 60
    assert 4 <= len(made.told()) <= 9  # in two hours


def test_more_power_than_the_meter_can_carry_is_told_when_it_begins_and_when_it_is_over():
    made = Bench()
    for sign in (1, -1):
        made = Bench(export=True)
        assert made.read(*good(watts=sign * WATTS)) == 0
        assert made.read(*good(watts=sign * (WATTS + 1))) == 4
        assert made.told() == [
            ("value_implausible", WARN, SET, {"obis": "16.7.0", "value": str(sign * (WATTS + 1)), "reason": "power"})
        ]
        flags = [made.read(*good(watts=sign * 40)) for _ in range(20)]
        assert flags == [0] * 20
        assert [event[2] for event in made.told()] == [CLEAR]


def test_a_negative_power_where_nobody_exports_is_reversed():
    made = Bench()
    for watts in (0, -20):
        assert made.read(*good(watts=watts)) == 0
    assert made.told() == []
    flags = [made.read(*good(watts=-21)) for _ in range(30)]
    assert flags == [4] * 30
    assert made.told() == [("reverse_energy", WARN, SET, {"obis": "16.7.0", "value": "-21"})]
    for _ in range(30):
        made.read(*good(watts=-5))  # noise ends nothing
    assert made.told() == []
    for _ in range(3):
        made.read(*good(watts=5))
    assert made.told() == [("reverse_energy", WARN, CLEAR, {"obis": "16.7.0", "value": "5"})]


def test_a_producer_may_export():
    made = Bench(export=True)
    for i in range(30):
        assert made.read(*good(watts=-3000, export=50 * i)) == 0
    assert made.told() == []


def test_export_that_grows_where_nobody_exports_is_reversed():
    made = Bench()
    assert made.read(*good(export=77)) == 0
    assert made.read(*good(export=77)) == 0
    assert made.read(*good(export=78)) == 2
    assert made.told() == [("reverse_energy", WARN, SET, {"obis": "2.8.0", "value": "0.078"})]


def test_each_phase_is_judged_and_net_energy_may_fall():
    made = Bench(2)
    fine = [600000, 200000, 200000, 200000, 0, 2300, 2300, 5000, 90]
    assert made.read(*fine) == 0
    for i, value in ((1, -200000), (2, -200000), (3, -200000), (4, 200000), (5, 1839), (6, 2641), (7, 4999)):
        made = Bench(2)
        made.read(*fine)
        wrong = list(fine)
        wrong[i] = value
        assert made.read(*wrong) == 1 << i, i
        assert len(made.told()) == 1
    wrong = list(fine)
    wrong[8] = 3
    assert made.read(*wrong) == 0


def test_voltage_out_of_range_is_told_once_and_does_not_flap_at_its_edge():
    made = Bench()
    for edge, out, near in ((184, 183, 186), (264, 265, 260)):
        made = Bench()
        assert made.read(*good(volts=edge)) == 0
        for _ in range(40):
            assert made.read(*good(volts=out)) == 8
            assert made.read(*good(volts=near)) == 0  # inside, but not far enough to be over
        assert made.told() == [
            ("value_implausible", WARN, SET, {"obis": "32.7.0", "value": str(out), "reason": "voltage"})
        ]
        for _ in range(3):
            assert made.told() == []
            made.read(*good(volts=230))
        assert made.told() == [
            ("value_implausible", WARN, CLEAR, {"obis": "32.7.0", "value": "230", "reason": "voltage"})
        ]


def test_a_phase_that_never_had_a_voltage_is_not_used():
    made = Bench(2)
    wired = [600000, 600000, 0, 0, 0, 0, 180, 5000, 90]  # 18 V are induced
    for _ in range(100):
        assert made.read(*wired) == 0
    assert made.told() == []
    wired[5] = 2300
    assert made.read(*wired) == 0
    wired[5] = 0
    assert made.read(*wired) == 1 << 5  # it has had one
    detail = {"obis": "52.7.0", "value": "0", "reason": "voltage"}
    assert made.told() == [("value_implausible", WARN, SET, detail)]


def test_the_only_phase_of_a_meter_is_always_used():
    assert Bench().read(*good(volts=0)) == 8


def test_a_number_alone_in_its_record_is_handed_on_as_far_as_it_is_a_number():
    made = Bench(4)
    made.read(11111)
    assert made.recorder.count == 1
    made.stage.reading(made.at, 1, 4, ["AB-1"])
    assert made.recorder.count == 1
    assert [event[0] for event in made.told()] == ["meter_replaced"]


def test_what_lasts_shorter_than_a_quarter_hour_is_over_after_it():
    made = Bench()
    made.read(*good(volts=100))
    made.told()
    for _ in range(14):
        made.read(*good())
    assert made.told() == []
    made.read(*good())
    assert [event[2] for event in made.told()] == [CLEAR]


def test_a_counter_that_stands_still_under_load_is_frozen_until_it_moves():
    made = Bench()
    for i in range(10):
        made.read(*good(1000000 + 10 * i, watts=600))
    flags = [made.read(*good(1000090, watts=600)) for _ in range(20)]
    assert flags == [0] * 14 + [1] * 6
    assert made.told() == [
        ("value_implausible", ALARM, SET, {"obis": "1.8.0", "value": "1000.09", "reason": "frozen"})
    ]
    for i in range(12):
        assert made.read(*good(1000100 + 10 * i, watts=600)) == 0
    assert [event[1:3] for event in made.told()] == [(ALARM, CLEAR)]


def test_a_silence_is_no_load():
    made = Bench()
    for i in range(10):
        made.read(*good(1000000 + 10 * i, watts=600))
    for _ in range(100):
        made.read(*good(1000090, watts=600))
        made.stage.lost(1)
        made.read(1000090, None, None, None, None)
    assert made.told() == []


def test_absent_values_are_not_judged():
    made = Bench()
    made.read(*good())
    assert made.read(None, None, None, None, None) == 0
    assert made.read(*good()) == 0 and made.told() == []


def test_flags_never_alter_a_value_whatever_comes():
    random.seed(13)
    made = Bench()
    flagged = 0
    for _ in range(3000):
        flagged += made.read(*[random.choice((None, 0, random.randint(-(10**9), 10**9))) for _ in range(5)]) > 0
        made.told()
    assert flagged > 1000
    assert made.recorder.count == 3000


def test_events_are_bounded_whatever_comes():
    random.seed(17)
    made = Bench()
    for _ in range(24 * 60):
        made.read(*[random.randint(-(10**9), 10**9) for _ in range(5)])
    assert len(made.told()) < 24 * 4 * 2 * 9  # nine kinds, each at most set and clear in a quarter hour


def test_a_number_that_changed_is_another_meter_and_its_counters_begin_anew():
    made = Bench(3)
    assert made.read(11111, 900000) == 0
    assert made.read(None, 900001) == 0
    assert made.read(22222, 5) == 0
    assert made.told() == [("meter_replaced", ALARM, ONCE, {"device": "22222", "before": "11111"})]
    assert made.read(22222, 6) == 0 and made.told() == []


def test_a_number_is_known_after_a_reboot():
    Bench(3).read("AB-1", 5)
    assert twin.load("device1") == b"AB-1"
    made = Bench(3)
    made.read("AB-1", 6)
    assert made.told() == []
    made.read("AB-2", 6)
    assert made.told() == [("meter_replaced", ALARM, ONCE, {"device": "AB-2", "before": "AB-1"})]


def test_a_number_that_is_not_the_configured_one_is_told_until_it_is():
    made = Bench(3, device="11111")
    made.read(11111, 5)
    assert made.told() == []
    for _ in range(3):
        made.read(22222, 6)
    assert made.told() == [("meter_replaced", ALARM, SET, {"device": "22222", "before": "11111"})]
    made.read(11111, 7)
    assert made.told() == [("meter_replaced", ALARM, CLEAR, {"device": "11111", "before": "11111"})]


def test_no_number_is_no_other_meter():
    made = Bench(3)
    made.read(11111, 5)
    for nothing in (0, None, "", "000", "B", 7):  # one character: not ready yet
        made.read(nothing, 5)
    assert made.told() == [] and twin.load("device1") == b"11111"


def test_a_long_number_is_cut_and_fits_a_frame():
    made = Bench(3)
    made.read("A" * 250, 5)
    made.read("B" * 250, 5)
    assert made.told()[0][3] == {"device": "B" * 32, "before": "A" * 32}


def test_a_number_that_cannot_be_kept_stops_nothing():
    made = Bench(3)

    def refused(name, data):
        raise OSError(28)

    kept, twin.save = twin.save, refused
    try:
        assert made.read(11111, 5) == 0
    finally:
        twin.save = kept
    made.read(22222, 5)
    assert len(made.told()) == 1


def test_a_meter_that_was_away_or_fell_back_is_asked_for_its_number():
    made = Bench(3)
    made.stage.event(1, "comms_restored", INFO, CLEAR, {"misses": 3})
    assert made.meter.polls == 0 and made.recorder.events == [("comms_restored", INFO, CLEAR, {"misses": 3})]
    made.meter.polls = 9
    made.read(None, 9000)
    assert made.meter.polls == 9
    made.read(None, 8000)
    assert made.meter.polls == 0
