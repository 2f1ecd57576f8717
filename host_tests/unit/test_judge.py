"""The judge finds each kind of wrong, and nothing wrong in a run where all went well."""

import json
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from meshems.judge import Message, Meter, Promise, Store, instant_us, judge

PROFILE = {
    "blk": [[4, 0, 2, 1], [4, 72, 1, 1], [4, 342, 1, 6]],
    "q": [["32.7.0", 0, 0, "u16", -1, "V"], ["16.7.0", 0, 1, "s16", 0, "W"], ["1.8.0", 1, 0, "u16", -1, "kWh"],
          ["15.8.0", 2, 0, "u16", -1, "kWh"]],
}  # fmt: skip
METERS = [Meter("SN-1", PROFILE, "pole-1"), Meter("SN-2", PROFILE, "pole-1")]
START_US = 1_790_000_000_000_000
PROMISE = Promise(seconds=30, every=5)
EPOCH = 7


def decode(profile, words):
    """The profile above, read by hand."""
    values = {}
    if (4, 0) in words:
        volts, watts = words[4, 0]
        values["32.7.0"] = (Decimal(volts) / 10, "V")
        values["16.7.0"] = (Decimal(watts - 65536 if watts > 32767 else watts), "W")
    if (4, 72) in words:
        values["1.8.0"] = (Decimal(words[4, 72][0]) / 10, "kWh")
    if (4, 342) in words:
        values["15.8.0"] = None
    return values


def reply(serial, end_us, address, words, fault=None, intact=True):
    return {
        "what": "reply", "serial": serial, "fc": 4, "address": address, "count": len(words), "words": words,
        "fault": fault, "intact": intact, "utc_us": [end_us - 9000, end_us],
    }  # fmt: skip


def words_of(serial, round_):
    number = 10 * int(serial[-1]) + round_
    return [2300 + number, 100 * number], [500 + number]


def text(us):
    seconds, rest = divmod(us, 10**6)
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest // 1000:03d}Z"


class Run:
    """Thirty seconds of two meters in which all goes well; the tests spoil it."""

    def __init__(self):
        self.log = [{"what": "line", "baud": 9600}]
        self.bodies = []
        for round_ in range(6):
            for serial in ("SN-1", "SN-2"):
                at = START_US + round_ * 5_000_000 + (200_000 if serial == "SN-2" else 0)
                instant, counter = words_of(serial, round_)
                self.log.append({"what": "request", "serial": serial})
                self.log.append(reply(serial, at, 0, instant))
                self.log.append(reply(serial, at + 80_000, 72, counter))
                if round_ == 0:
                    self.log.append(reply(serial, at + 120_000, 342, [1]))
                self.bodies.append(self.body(serial, len(self.bodies), at, instant, counter))
        self.store = Store("pole-1", EPOCH, 0, len(self.bodies), len(self.bodies))
        self.promise = PROMISE

    @staticmethod
    def body(serial, ordinal, at, instant, counter):
        values = [
            ("32.7.0", instant[0] / 10, "V"), ("16.7.0", instant[1], "W"), ("1.7.0", instant[1], "W"),
            ("2.7.0", 0, "W"), ("1.8.0", counter[0] / 10, "kWh"), ("96.5.0", 0, ""),
        ]  # fmt: skip
        return {
            "ts": text(at), "feederId": "feeder-01", "gatewayId": "pole-1", "meterSerial": serial,
            "seq": EPOCH * 2**32 + ordinal, "tsUncMs": 40, "late": False,
            "registers": [{"obis": o, "value": v, "unit": u, "quality": "good"} for o, v, u in values],
        }  # fmt: skip

    @staticmethod
    def message(body):
        scope = "event" if "event" in body else "telemetry"
        root = f"openami/v1/feeder-01/{body['gatewayId']}"
        return Message(f"{root}/meter/{body['meterSerial']}/{scope}", json.dumps(body).encode())

    def verdict(self, *more):
        messages = [Message("openami/v1/feeder-01/pole-1/status", b'{"state":"online"}')]
        messages += [self.message(body) for body in self.bodies]
        return judge(METERS, self.log, [*messages, *more], [self.store], decode, self.promise)

    def register(self, n, obis):
        return next(row for row in self.bodies[n]["registers"] if row["obis"] == obis)


@pytest.fixture
def run():
    return Run()


def test_a_good_run_is_good(run):
    verdict = run.verdict()
    assert verdict.line() == "stored 12, acknowledged 12, lost 0, duplicates 0, wrong 0, uncommitted 0"
    assert verdict.ok and not verdict.problems
    assert verdict.readings == {"SN-1": 6, "SN-2": 6}


def test_what_a_meter_says_to_a_probe_is_no_reading_and_spoils_none(run):
    at = START_US + 5_000_000
    run.log += [reply("SN-1", at - 50_000, 0, [9]), reply("SN-1", at + 1_000_000, 72, [1, 2])]
    assert run.verdict().ok


def wrong(run, *more):
    verdict = run.verdict(*more)
    assert verdict.wrong == 1 and not verdict.ok
    return verdict.why()


@pytest.mark.parametrize("obis", ["32.7.0", "16.7.0", "1.7.0", "2.7.0", "1.8.0"])
def test_a_wrong_value_is_wrong(run, obis):
    run.register(3, obis)["value"] += 0.1
    assert f"SN-2 seq 3: {obis} is" in wrong(run)


def test_a_wrong_unit_is_wrong(run):
    run.register(3, "1.8.0")["unit"] = "Wh"
    assert "1.8.0 is" in wrong(run)


@pytest.mark.parametrize("value", ["232.1", True, None])
def test_a_value_that_is_no_number_is_wrong(run, value):
    run.register(3, "32.7.0")["value"] = value
    assert "32.7.0 is" in wrong(run)


def test_a_register_that_the_meter_did_not_answer_is_wrong(run):
    run.bodies[3]["registers"].append({"obis": "14.7.0", "value": 50, "unit": "Hz", "quality": "good"})
    assert "the meter did not say so" in wrong(run)


def test_a_register_that_the_meter_calls_not_available_is_wrong(run):
    run.bodies[0]["registers"].append({"obis": "15.8.0", "value": 0.1, "unit": "kWh", "quality": "good"})
    assert "the meter did not say so" in wrong(run)


@pytest.mark.parametrize("obis", ["32.7.0", "2.7.0"])
def test_a_register_missing_from_a_block_is_wrong(run, obis):
    run.bodies[3]["registers"].remove(run.register(3, obis))
    assert f"{obis} is missing" in wrong(run)


def test_a_block_that_was_not_heard_is_only_missing(run):
    run.bodies[3]["registers"].remove(run.register(3, "1.8.0"))
    assert run.verdict().ok


def test_the_time_is_that_of_the_first_reply_told(run):
    for obis in ("32.7.0", "16.7.0", "1.7.0", "2.7.0"):
        run.bodies[3]["registers"].remove(run.register(3, obis))
    at, _ = instant_us(run.bodies[3]["ts"])
    run.bodies[3]["ts"] = text(at + 160_000)
    assert run.verdict().ok


def test_readings_under_the_wrong_serial_are_wrong(run):
    run.bodies[2]["meterSerial"], run.bodies[3]["meterSerial"] = "SN-2", "SN-1"
    assert run.verdict().wrong == 2


def test_an_unknown_serial_is_wrong(run):
    run.bodies[3]["meterSerial"] = "SN-3"
    assert "no such meter" in run.verdict().why()


def test_another_meters_values_are_wrong(run):
    run.bodies[3]["registers"] = run.bodies[2]["registers"]
    assert "SN-2 seq 3" in wrong(run)


def test_values_of_another_round_are_wrong(run):
    run.bodies[5]["registers"] = run.bodies[3]["registers"]
    assert "SN-2 seq 5" in wrong(run)


@pytest.mark.parametrize("ms", [-1000, -100, 100, 1000])
def test_a_shifted_time_is_wrong(run, ms):
    at, _ = instant_us(run.bodies[3]["ts"])
    run.bodies[3]["ts"] = text(at + 1000 * ms)
    assert "ms from the reply's" in wrong(run)


@pytest.mark.parametrize("ms", [-80, 0, 80])
def test_a_time_within_the_bound_is_right(run, ms):
    at, _ = instant_us(run.bodies[3]["ts"])
    run.bodies[3]["ts"] = text(at + 1000 * ms)
    assert run.verdict().ok


def test_an_old_value_under_a_new_time_is_wrong(run):
    body = run.body("SN-1", 12, START_US + 30_000_000, *words_of("SN-1", 5))
    run.bodies.append(body)
    run.store = replace(run.store, next=13)
    assert "no such reply" in wrong(run)


def test_one_reply_told_twice_is_wrong(run):
    run.bodies.append(dict(run.bodies[4], seq=EPOCH * 2**32 + 12))
    run.store = replace(run.store, next=13)
    assert "seq 12: the meter gave no such reply" in wrong(run)


@pytest.mark.parametrize("kind", ["crc", "truncated", "wrong_unit", "short"])
def test_a_reading_from_a_broken_reply_is_wrong(run, kind):
    for record in run.log:
        if record.get("utc_us", [0, 0])[1] // 1_000_000 == START_US // 1_000_000 + 5 and record["serial"] == "SN-1":
            record.update(fault=kind, intact=False)
    assert "SN-1 seq 2: the meter gave no such reply" in wrong(run)


def test_values_of_a_lost_meter_are_wrong(run):
    run.register(3, "1.8.0")["quality"] = "comms_lost"
    assert "lost meter" in wrong(run)


def test_a_missing_record_is_lost(run):
    del run.bodies[3]
    verdict = run.verdict()
    assert (verdict.lost, verdict.wrong, verdict.uncommitted, verdict.ok) == (1, 0, 0, False)
    assert "the first 3" in verdict.why()


def test_a_record_that_came_again_is_a_duplicate_and_no_fault(run):
    again = dict(run.bodies[3], late=True, tsUncMs=41)
    verdict = run.verdict(run.message(again), run.message(again))
    assert (verdict.duplicates, verdict.wrong, verdict.ok) == (2, 0, True)


def test_one_seq_with_two_contents_is_wrong(run):
    assert "two contents" in wrong(run, run.message(dict(run.bodies[3], ts=run.bodies[4]["ts"])))


def test_a_message_that_was_never_stored_is_wrong(run):
    run.store = replace(run.store, next=11, acked=11)
    assert "never stored" in wrong(run)


def test_a_message_of_another_epoch_was_never_stored(run):
    run.bodies[3]["seq"] += 2**32
    verdict = run.verdict()
    assert (verdict.wrong, verdict.lost) == (1, 1)


def test_a_broken_message_is_wrong(run):
    verdict = run.verdict(Message("openami/v1/feeder-01/pole-1/meter/SN-1/telemetry", b"{"))
    assert verdict.wrong == 1
    del run.bodies[3]["ts"]
    assert "no ts" in run.verdict().why()


def test_a_message_on_the_wrong_topic_is_wrong(run):
    body = run.bodies.pop()
    topic = "openami/v1/feeder-01/pole-1/meter/SN-1/telemetry"
    assert "came as" in wrong(run, Message(topic, json.dumps(body).encode()))


def test_answers_that_were_not_stored_are_uncommitted_and_nothing_worse(run):
    del run.bodies[-2:]
    run.store = replace(run.store, next=10, acked=10)
    run.promise = replace(PROMISE, seconds=25)
    verdict = run.verdict()
    assert (verdict.uncommitted, verdict.lost, verdict.wrong, verdict.ok) == (2, 0, 0, True)


def test_an_answer_with_a_fault_or_in_part_is_owed_by_nobody(run):
    del run.bodies[-2:]
    run.store = replace(run.store, next=10, acked=10)
    run.log.remove(run.log[-1])
    run.log[-4]["fault"] = "late"
    assert run.verdict().uncommitted == 0


def test_events_and_the_word_of_a_lost_meter_count_as_records(run):
    event = {"event": {"code": "comms_lost"}, "registers": [], "seq": EPOCH * 2**32 + 12}
    silent = {
        "registers": [{"obis": "96.5.0", "value": 1, "unit": "", "quality": "comms_lost"}],
        "seq": EPOCH * 2**32 + 13,
    }
    run.bodies += [{**run.bodies[0], **event}, {**run.bodies[0], **silent}]
    run.store = replace(run.store, next=14)
    verdict = run.verdict()
    assert verdict.stored == 14 and verdict.ok and verdict.readings["SN-1"] == 6


def test_acknowledged_is_the_cursor_of_each_gateway(run):
    run.store = replace(run.store, acked=9)
    assert run.verdict().acknowledged == 9


def test_too_few_readings_of_one_meter_break_the_promise(run):
    run.bodies = [body for body in run.bodies if body["meterSerial"] == "SN-1" or body["seq"] % 4 != 3]
    verdict = run.verdict()
    assert not verdict.kept_cadence
    assert "3 readings of SN-2, 6 promised" in verdict.why()


def test_too_few_readings_in_all_break_the_promise(run):
    run.promise = replace(PROMISE, seconds=35)
    verdict = run.verdict()
    assert not verdict.ok and "12 readings in all, 14 promised" in verdict.why()


def test_a_scheduled_fault_is_excused_for_its_span(run):
    run.promise = Promise(45, 5, [("SN-1", 15), ("SN-2", 15)])
    assert run.verdict().ok


def test_problems_are_one_line_however_many_there_are(run):
    for body in run.bodies:
        body["registers"][0]["value"] = 1
    why = run.verdict().why()
    assert "\n" not in why and "and 7 more" in why


@pytest.mark.parametrize(
    ("ts", "us", "cut"),
    [("2026-06-22T14:30:00Z", 1782138600000000, 1000000), ("2026-06-22T14:30:00.120Z", 1782138600120000, 1000)],
)
def test_instants(ts, us, cut):
    assert instant_us(ts) == (us, cut)


@pytest.mark.parametrize("ts", ["2026-06-22 14:30:00", "2026-06-22T14:30:00+00:00", "1970"])
def test_a_time_that_is_not_utc_is_refused(ts):
    with pytest.raises(ValueError, match="match"):
        instant_us(ts)
