"""The schemas of docs/northbound: every example is valid, and each rule refuses its counter-example."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import pytest

from lib import proto

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "northbound"
KINDS = ("telemetry", "event", "status", "gateway", "mesh")
EXAMPLES = sorted(path.name for path in FOLDER.glob("*.example.json"))


class Missing:
    """Stands for a member that is left out."""

    def __repr__(self):
        return "missing"


MISSING = Missing()


def rules(kind):
    return json.loads((FOLDER / f"{kind}.schema.json").read_text())


def example(name):
    return json.loads((FOLDER / name).read_text())


def valid(kind, message):
    return jsonschema.Draft202012Validator(rules(kind)).is_valid(message)


def changed(name, **changes):
    """The example with members set, or left out for MISSING."""
    message = example(name)
    for key, value in changes.items():
        if value is MISSING:
            del message[key]
        else:
            message[key] = value
    return message


def with_register(obis, value, unit="", quality="good"):
    """A reading of this one register."""
    register = {"obis": obis, "value": value, "unit": unit, "quality": quality}
    return changed("telemetry.example.json", registers=[register])


def with_event(**changes):
    return changed("event.example.json", event=example("event.example.json")["event"] | changes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_bears_its_name(kind):
    jsonschema.Draft202012Validator.check_schema(rules(kind))
    assert rules(kind)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert rules(kind)["$id"] == f"{kind}.schema.json"
    assert any(name.startswith(kind + ".") for name in EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_valid_for_its_own_schema_only(name):
    own = name.split(".")[0]
    jsonschema.Draft202012Validator(rules(own)).validate(example(name))
    for other in set(KINDS) - {own}:
        assert not valid(other, example(name))


def test_telemetry_and_events_share_their_envelope():
    telemetry, event = rules("telemetry"), rules("event")
    for part in (telemetry, event):
        part["properties"].pop("registers")
    telemetry["properties"].pop("interval")
    event["properties"].pop("event")
    assert telemetry["properties"] == event["properties"]
    assert telemetry["required"] + ["event"] == event["required"]
    assert telemetry["$defs"]["id"] == event["$defs"]["id"]
    assert telemetry["allOf"][0] == event["allOf"][0]


@pytest.mark.parametrize("kind", ["telemetry", "event"])
@pytest.mark.parametrize("member", rules("telemetry")["required"])
def test_no_member_of_the_envelope_may_be_missing(kind, member):
    assert not valid(kind, changed(f"{kind}.example.json", **{member: MISSING}))


@pytest.mark.parametrize("kind", ["telemetry", "event"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": "1970-01-01T00:00:10.120Z"},
        {"ts": "2000-01-01T00:00:10.120Z"},
        {"ts": "2023-12-31T23:59:59.000Z"},
        {"ts": "2026-06-22T14:30:00.120"},
        {"ts": "2026-06-22T14:30:00.120+00:00"},
        {"ts": "2026-06-22 14:30:00.120Z"},
        {"ts": "2026-06-22T24:30:00.120Z"},
        {"ts": "2026-13-22T14:30:00.120Z"},
        {"ts": "2026-06-22T14:30:00.12Z"},
        {"ts": 1782138600},
        {"ts": "2026-06-22T14:30:00Z", "tsUncMs": 999},
        {"ts": "2026-06-22T14:30:00.120Z", "tsUncMs": 1000},
        {"schemaVersion": "0.2"},
        {"feederId": ""},
        {"gatewayId": "pole/07"},
        {"gatewayId": "pole+"},
        {"meterSerial": "x" * 33},
        {"seq": -1},
        {"seq": 1 << 48},
        {"seq": 1.5},
        {"seq": "1"},
        {"seqFirst": -1},
        {"tsSrc": "sun"},
        {"tsUncMs": -1},
        {"tsUncMs": 0.5},
        {"tsUncMs": True},
        {"late": "no"},
        {"unknown": 1},
        {"sipCallId": "a"},
    ],
    ids=str,
)
def test_a_wrong_envelope_is_refused(kind, wrong):
    assert not valid(kind, changed(f"{kind}.example.json", **wrong))


def test_the_edges_of_the_envelope_are_valid():
    for right in (
        {"ts": "2026-06-22T14:30:00.999Z", "tsUncMs": 0},
        {"ts": "2026-06-22T14:30:00.000Z", "tsUncMs": 999},
        {"ts": "2026-06-22T14:30:00Z", "tsUncMs": 1000},
        {"ts": "2024-02-29T23:59:59Z", "tsUncMs": 1 << 40},
        {"seq": 0},
        {"seq": (1 << 48) - 1},
        {"seqFirst": 0},
        {"late": MISSING},
        {"interval": 900},
        *({"tsSrc": source} for source in ("gps", "ntp", "mesh", "rtc", "manual")),
    ):
        assert valid("telemetry", changed("telemetry.example.json", **right)), right


@pytest.mark.parametrize(
    "register",
    [
        ("96.1.0", "SN-1", "text"),
        ("96.11.1", "connected", "enum"),
        ("", 1, "V"),
        ("1-0:", 1, "V"),
        ("voltage", 1, "V"),
        ("32.7", 1, "V"),
        ("32.7.0.1", 1, "V"),
        ("1.7.0", -0.1, "W"),
        ("2.7.0", -5, "W"),
        ("1.7.0", 0.1, "kW"),
        ("1.7.0", "5", "W"),
        ("1.8.0", 5, "Wh"),
        ("1.8.0", "5", "kWh"),
        ("32.7.0", 230, "mV"),
        ("14.7.0", 50, ""),
        ("0.0.0", 1782138600, "datetime"),
        ("0.0.0", "22.6.2026", "datetime"),
        ("0.0.96.1.1.255", 17, "text"),
        ("0.0.96.3.10.255", "on", "enum"),
        ("0.0.96.3.10.255", True, "enum"),
        ("96.8.0", 12, "h"),
        ("96.8.0", 12, ""),
        ("96.5.0", 16, "bitfield"),
        ("96.5.0", -2, "bitfield"),
        ("96.5.0", "0", "bitfield"),
        ("96.5.0", 1, "bitfield"),
        ("96.5.0", 0, "bitfield", "comms_lost"),
        ("96.5.0", 0, ""),
        ("31.7.0", None, "A"),
        ("31.7.0", [1], "A"),
        ("31.7.0", 1, None),
        ("31.7.0", 1, "A", "bad"),
        ("31.7.0", 1, "A", "comms_lost"),
        ("1.8.0", 1, "kWh", "comms_lost"),
    ],
    ids=str,
)
def test_a_wrong_register_is_refused(register):
    assert not valid("telemetry", with_register(*register))


@pytest.mark.parametrize(
    "register",
    [
        ("1.7.0", 0, "W"),
        ("16.7.0", -231.4, "W"),
        ("1.8.0", 12345678901.234, "kWh"),
        ("96.8.0", 12, "KES"),
        ("96.5.0", 14, "bitfield"),
        ("96.5.0", 5, "bitfield", "comms_lost"),
        ("131.7.0", -3, "var"),
        ("1.8.1", 3, "kWh"),
        ("x.pv1", 3, "W", "suspect"),
    ],
    ids=str,
)
def test_a_right_register_is_valid(register):
    assert valid("telemetry", with_register(*register))


@pytest.mark.parametrize("member", ["obis", "value", "unit", "quality"])
def test_no_member_of_a_register_may_be_missing_and_none_added(member):
    message = with_register("31.7.0", 1, "A")
    assert valid("telemetry", message)
    assert not valid("telemetry", changed("telemetry.example.json", registers=[message["registers"][0] | {"more": 1}]))
    del message["registers"][0][member]
    assert not valid("telemetry", message)


def test_telemetry_has_registers():
    for registers in ([], {}, None):
        assert not valid("telemetry", changed("telemetry.example.json", registers=registers))


def test_a_silent_meter_has_its_status_word_and_nothing_else():
    message = example("telemetry.silent-meter.example.json")
    for more in example("telemetry.example.json")["registers"]:
        both = copy.deepcopy(message)
        both["registers"].append(more)
        assert not valid("telemetry", both)


def test_a_time_that_was_only_bracketed_makes_every_value_suspect():
    message = example("telemetry.undated-boot.example.json")
    for register in range(len(message["registers"])):
        wrong = copy.deepcopy(message)
        wrong["registers"][register]["quality"] = "good"
        assert not valid("telemetry", wrong)
    dated = message | {"tsSrc": "rtc"}
    dated["registers"][0]["quality"] = "good"
    assert valid("telemetry", dated)


@pytest.mark.parametrize(
    "wrong",
    [
        {"code": "meter_gone"},
        {"code": MISSING},
        {"severity": "error"},
        {"severity": MISSING},
        {"state": "on"},
        {"state": MISSING},
        {"detail": []},
        {"detail": {"a": {}}},
        {"detail": {"a": None}},
        {"detail": {"a": 1.5}},
        {"detail": MISSING},
        {"more": 1},
    ],
    ids=str,
)
def test_a_wrong_event_is_refused(wrong):
    message = with_event(**wrong)
    message["event"] = {key: value for key, value in message["event"].items() if value is not MISSING}
    assert not valid("event", message)


def test_an_event_has_a_body_and_no_registers():
    assert not valid("event", changed("event.example.json", event=MISSING))
    registers = example("telemetry.example.json")["registers"]
    assert not valid("event", changed("event.example.json", registers=registers))


def test_the_codes_are_those_that_the_firmware_stores():
    source = (FOLDER.parents[1] / "firmware" / "gateway" / "events.py").read_text()
    stored = " ".join(re.findall(r'"([^"]*)"', re.search(r"^CODES = \((.*?)^\)", source, re.S | re.M)[1])).split()
    assert rules("event")["properties"]["event"]["properties"]["code"]["enum"] == stored


def test_the_sources_are_those_that_the_clock_knows():
    source = (FOLDER.parents[1] / "firmware" / "gateway" / "clock.py").read_text()
    known = re.findall(r'"(\w+)"', re.search(r"^SOURCES = (.*)$", source, re.M)[1])
    assert sorted(rules("telemetry")["properties"]["tsSrc"]["enum"]) == sorted(known)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"state": "on"},
        {"state": "offline", "firmware": "0.1.0"},
        {"state": "offline", "clock": "ok"},
        {"state": "online"},
        {"state": "online", "clock": "ok", "configProblems": 0},
        {"state": "online", "firmware": "0.1.0", "configProblems": 0},
        {"state": "online", "firmware": "0.1.0", "clock": "ok"},
        {"state": "online", "firmware": "new", "clock": "ok", "configProblems": 0},
        {"state": "online", "firmware": "0.1.0", "clock": "good", "configProblems": 0},
        {"state": "online", "firmware": "0.1.0", "clock": "ok", "configProblems": -1},
        {"state": "online", "firmware": "0.1.0", "clock": "ok", "configProblems": True},
        {"state": "online", "firmware": "0.1.0", "clock": "ok", "configProblems": 0, "password": "x"},
    ],
    ids=str,
)
def test_a_wrong_status_is_refused(wrong):
    assert not valid("status", wrong)


def test_a_status_may_report_problems():
    assert valid("status", {"state": "online", "firmware": "0.2.0-rc.1", "clock": "lost", "configProblems": 3})
    bare = {"state": "online", "firmware": "0.2.0", "clock": "ok", "configProblems": 0, "journal": "memory"}
    assert valid("status", bare) and not valid("status", bare | {"journal": "flash"})



@pytest.mark.parametrize(
    "wrong",
    [
        {"ts": MISSING},
        {"tsUncMs": MISSING},
        {"seq": 5},
        {"config": 5},
        {"clock": "good"},
        {"resetCause": 9},
        {"log": "one line"},
        {"meters": [{"serial": "SN-1", "polls": 1, "misses": 0, "answers": {"fine": 1}}]},
        {"meters": MISSING},
        {"password": "x"},
    ],
    ids=str,
)
def test_a_wrong_gateway_message_is_refused(wrong):
    assert not valid("gateway", changed("gateway.example.json", **wrong))


def test_a_gateway_without_the_time_says_how_it_is():
    assert valid("gateway", changed("gateway.example.json", ts=MISSING, tsUncMs=MISSING, clock="none", log=MISSING))


def test_the_document_names_every_schema_and_example():
    links = set(re.findall(r"\]\(([^)]+\.json)\)", (FOLDER / "README.md").read_text()))
    assert links == {path.name for path in FOLDER.glob("*.json")}


def test_every_code_of_a_profile_is_one_that_may_be_published():
    paths = sorted((FOLDER.parents[1] / "firmware" / "profiles").glob("*.json"))
    assert paths
    for path in paths:
        profile = json.loads(path.read_text())
        for batch in proto.load(profile.get("proto", "modbus")).plan(profile):
            for point in batch.points.split("\n")[1:]:
                obis, unit, _ = point.split(" ")
                assert valid("telemetry", with_register(obis, "1" if unit == "text" else 1, unit)), (path.name, point)
