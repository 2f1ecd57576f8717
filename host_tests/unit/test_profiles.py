"""The meter profiles: against their transcription, their values against an independent decoder; `meshems profile`."""

import copy
import json
import random
import re
import runpy
import struct
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from pymodbus.framer import FramerRTU

from lib import proto
from lib.proto import modbus
from lib.proto.modbus import rules  # what is loaded stays: modbus.check would import it anew each time
from meshems import profiles
from meshems.decode import CODES, decode
from meshems.sim.meters import Household
from meshems.sim.slave import Unit

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "firmware" / "profiles").glob("*.json"))
GOLDEN = ROOT / "host_tests" / "data" / "golden"
PROFILES = {file.stem: json.loads(file.read_text()) for file in FILES}
MODBUS = {name: made for name, made in PROFILES.items() if made.get("proto", "modbus") == "modbus"}
each = pytest.mark.parametrize("name", MODBUS)


def tables():
    """{profile id: its section of the transcription}."""
    text = (ROOT / "host_tests" / "data" / "modbus-tables.md").read_text()
    parts = re.split(r"^## (\S+)\n", text, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


TABLES = tables()


def transcribed_points(section):
    """{OBIS: (function, address, type, factor, unit)} of the table."""
    points = {}
    for line in section.splitlines():
        if not line.startswith("|") or line.startswith(("| quantity", "|---")):
            continue
        _, function, addresses, kind, factor, unit, codes = (cell.strip() for cell in line.strip("|").split("|"))
        if factor.startswith("10^"):
            factor = f"1e{factor[3:]}"
        for address, obis in zip(addresses.split(), codes.split(), strict=True):
            assert obis not in points
            parts = [
                (int(at, 16), Decimal(times)) for at, times in zip(address.split("+"), factor.split("+"), strict=True)
            ]
            points[obis] = int(function), kind, parts, "" if unit == "-" else unit
    return points


def transcribed(section, pattern):
    """The groups of the one place where the section says `pattern`."""
    return re.search(pattern, section, flags=re.M).groups()


def test_each_profile_has_a_transcription_and_the_other_way_round():
    assert len(MODBUS) == 24 and set(TABLES) == set(MODBUS)
    assert all(PROFILES[name]["id"] == name for name in PROFILES)


@each
def test_points_are_those_of_the_transcription(name):
    profile = PROFILES[name]
    points = {}
    signs = []
    for obis, block, offset, kind, power, unit, *rest in profile["q"]:
        function, address = profile["blk"][block][:2]
        parts = [(address + offset, Decimal(1).scaleb(power))]
        more = rest[1] if rest else {}
        if "plus" in more:
            at, second, (mul, div) = more["plus"]
            assert second == kind
            parts.append((address + at, Decimal(mul) / div))
        if "sign" in more:
            at, mask = more["sign"]
            signs.append(f"{obis} by {function:02} {address + at:04X} & {mask:04X}")
        points[obis] = function, kind, parts, unit
    assert points == transcribed_points(TABLES[name])
    assert signs == re.findall(r"^Sign: (.*)\.$", TABLES[name], flags=re.M)
    ratios = re.findall(r"^Ratios: (.*)\.$", TABLES[name], flags=re.M)
    assert " ".join(profile.get("ratio", {})) == (ratios[0] if ratios else "")


def accepted(kind, allowed):
    """What a probe takes, as the transcription says it."""
    if isinstance(allowed, list):
        return " or ".join(map(str, allowed))
    return f'"{allowed["str"]}"' if "str" in allowed else f"{allowed['min']} to {allowed['max']}"


@each
def test_probes_are_those_of_the_transcription(name):
    made = [f"{f:02} {at:04X}+{n} {kind} = {accepted(kind, ok)}" for f, at, n, kind, ok in PROFILES[name]["probe"]]
    assert "; ".join(made) == transcribed(TABLES[name], r"^Probes: (.*)\.$")[0]
    assert transcribed(TABLES[name], r"^From: (.*)\.$")


@each
def test_where_the_own_number_stands_is_that_of_the_transcription(name):
    own = re.findall(r"^Own: (\d\d) ([0-9A-F]{4})\+(\d+) (\w+), [HML]: .*\.$", TABLES[name], flags=re.M)
    made = [[int(function), int(address, 16), int(count), kind] for function, address, count, kind in own]
    assert made == ([PROFILES[name]["own"]] if "own" in PROFILES[name] else [])


@each
def test_blocks_ports_and_confidence_are_those_of_the_transcription(name):
    profile, section = PROFILES[name], TABLES[name]
    blocks, ports, confidence = transcribed(
        section, r"Blocks read: (.*?)\. Ports to try: (.*?)\. Confidence of profile: (.)\."
    )
    read = []
    for block in blocks.split("; "):
        told = re.fullmatch(r"FC(\d\d) ([0-9A-F]{4})\+(\d+)(?: every (\d+)th)?", block)
        function, address, count, every = told.groups()
        read.append([int(function), int(address, 16), int(count), int(every or 1)])
    assert profile["blk"] == read
    assert profile["ser"] == ports.split(", ")
    assert profile["conf"] == confidence


def takes(unit, probe):
    """Whether a simulated meter answers a probe with what the probe accepts."""
    function, address, count, kind, allowed = probe
    words = unit.read(function, address, count)
    if isinstance(words, int):
        return False
    raw = b"".join(word.to_bytes(2, "big") for word in (words[::-1] if kind.endswith("w") else words))
    if kind == "str":
        return raw.startswith(allowed["str"].encode())
    value = struct.unpack(CODES[kind.rstrip("w")], raw)[0]
    return value in allowed if isinstance(allowed, list) else allowed["min"] <= value <= allowed["max"]


@each
@pytest.mark.parametrize("watts", [0, 400, 4000])
def test_a_meter_is_identified_by_the_probes_of_its_own_profile(name, watts):
    """All probes of a profile match, and the profile with the most of them that do is the meter's own: no tie."""
    unit = Unit("S", 1, PROFILES[name], Household(7, PROFILES[name]["ph"], watts, 1_234_567), 20)
    unit.refresh(1_790_000_000_000)
    matching = {
        one: len(profile["probe"])
        for one, profile in PROFILES.items()
        if "probe" in profile and all(takes(unit, probe) for probe in profile["probe"])
    }
    assert name in matching
    assert [one for one, count in matching.items() if count == max(matching.values())] == [name], matching


@each
def test_limits_and_relay_are_those_of_the_transcription(name):
    profile, section = PROFILES[name], TABLES[name]
    most, align, rest, wait = profile["lim"]
    for pattern, ours, holds in (
        (r"\bregisters (\d+)", most, lambda told: most <= told),
        (r"\balignment (\d+)", align, lambda told: align == told),
        (r"\brest (\d+) ms", rest, lambda told: rest >= told),
        (r"\bwithin (\d+) ms", wait, lambda told: wait > told),
    ):  # fmt: skip
        for told in re.findall(pattern, section):
            assert holds(int(told)), (pattern, ours, told)
    relay = re.search(r"Relay: read (\d\d) (\w{4}); on (\d+) (\w{4}) (\d); off (\d+) (\w{4}) (\d)\.", section)
    assert (relay is None) == ("rly" not in profile)
    if relay:
        read, at, *switch = relay.groups()
        assert profile["rly"]["rd"][:2] == [int(read), int(at, 16)]
        on, off = switch[:3], switch[3:]
        for key, (function, address, value) in (("on", on), ("off", off)):
            assert profile["rly"][key] == [int(function), int(address, 16), [int(value)]]


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_has_golden_frames_that_say_where_they_come_from(name):
    frames = golden(name)
    assert frames and all(frame["from"] and frame["values"] for frame in frames)
    pairs = [pair for frame in frames for pair in frame.get("frames") or [[frame["request"], frame["reply"]]]]
    for pair in pairs:
        for wire in map(bytes.fromhex, pair):
            assert FramerRTU.compute_CRC(wire[:-2]).to_bytes(2, "big") == wire[-2:]


def test_constructed_frames_are_those_that_the_tables_give():
    made = runpy.run_path(str(GOLDEN / "make.py"))["files"]()
    assert {name: golden(name) for name in made} == made
    assert set(made) == set(PROFILES)


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_is_good(name):
    assert proto.load(PROFILES[name].get("proto", "modbus")).check(PROFILES[name]) == []


@each
def test_values_equal_those_of_the_independent_decoder(name):
    """The firmware's integers against decimal, over words of every kind."""
    profile = PROFILES[name]
    rng = random.Random(name)
    special = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FC0, 0x7F80, 0xFF80, 0x4366, 0x0080)
    seen = set()
    plan = modbus.plan(profile)
    for _ in range(100):
        for batch in plan:
            function, address, count, *_ = batch.block()
            words = [rng.choice(special) if rng.random() < 0.3 else rng.getrandbits(16) for _ in range(count)]
            values = batch.decode(b"".join(word.to_bytes(2, "big") for word in words))
            truth = decode(profile, {(function, address): words})
            assert list(truth) == [obis for obis, _, _ in points(batch)]
            for (obis, unit, exponent), value in zip(points(batch), values, strict=True):
                seen.add(obis)
                if isinstance(value, proto.Fault):
                    assert value.kind == proto.RANGE and abs(truth[obis][0].scaleb(-exponent)) >= 1 << 62
                elif value is None:
                    assert truth[obis] is None
                else:
                    assert (Decimal(value).scaleb(exponent), unit) == truth[obis]
    assert seen == {row[0] for row in profile["q"]}


def test_every_type_and_scale_equals_the_independent_decoder():
    rng = random.Random(7)
    kinds = [kind for kind in rules.TYPES if kind != "str"]
    for _ in range(4000):
        kind = rng.choice(kinds)
        scale = rng.choice([0, -1, -2, -3, -4, -7, 1, 3, [1, 3], [3, 1000], [-5, 7], [25, 2]])
        resolution = rng.choice([[], [-3], [0], [2], [-6]])
        profile = {
            "v": 1, "id": "x", "n": "x", "ph": 1, "ser": ["9600N1"], "lim": [125, 1, 20, 500], "blk": [[3, 0, 8, 1]],
            "q": [["1.8.0", 0, 2, kind, scale, "kWh", *resolution]], "inv": rng.getrandbits(1), "conf": "L",
        }  # fmt: skip
        assert rules.problems(profile) == []
        words = [rng.choice((0, 0xFFFF, 0x7FFF, 0x8000, rng.getrandbits(16))) for _ in range(8)]
        (value,) = modbus.plan(profile)[0].decode(b"".join(word.to_bytes(2, "big") for word in words))
        truth = decode(profile, {(3, 0): words})["1.8.0"]
        if isinstance(value, proto.Fault):
            continue
        assert (value is None) == (truth is None)
        if value is not None:
            assert Decimal(value).scaleb((resolution or [-3])[0]) == truth[0]


def test_format_2_equals_the_independent_decoder():
    """Two parts, signs and ratios of every kind, configured or read, against decimal."""
    rng = random.Random(8)
    parts = [kind for kind in rules.TYPES if kind[1:3] in ("16", "32") and kind[0] != "f"]
    kinds = [kind for kind in rules.TYPES if kind != "str"]
    told = {"value": 0, "none": 0, "fault": 0}
    for _ in range(4000):
        scales = [rng.choice([0, -1, -2, -4, 3, [1, 3], [65536, 10], [-5, 7], [25, 2]]) for _ in range(2)]
        more = {}
        if rng.random() < 0.5:
            more["plus"] = [rng.randrange(8, 11), rng.choice(parts), scales[1]]
        if rng.random() < 0.5:
            more["sign"] = [12, rng.choice([1, 0x8000, 0xFFFF])]
        if rng.random() < 0.3:
            more["by"] = rng.choice([[], ["ct"], ["pt"], ["ct", "pt"], ["pt", "ct"]])
        kind = rng.choice(parts if "plus" in more else kinds)
        row = ["1.8.0", 0, 4, kind, scales[0], rng.choice(["kWh", "A", "V", "Hz"]), rng.choice([-3, 0, 2, -6]), more]
        ratio = {"ct": rng.choice(["", "0.4.2"]), "pt": rng.choice(["", "0.4.3"])}
        used = [["0.4.2", 0, 0, "u16", 0, ""], ["0.4.3", 0, 1, "u16", [1, 10], ""], row]
        profile = {
            "v": 2, "id": "x", "n": "x", "ph": 1, "ser": ["9600N1"], "lim": [125, 1, 20, 500], "blk": [[3, 0, 14, 1]],
            "q": [*used, ["a", 0, 0, "u16", 0, "W"]], "ratio": ratio, "inv": rng.getrandbits(1), "conf": "L",
        }  # fmt: skip
        assert rules.problems(profile) == []
        given = {key: [rng.choice([1, 200, 11000]), rng.choice([1, 5, 7])] for key in ratio if rng.random() < 0.4}
        words = [rng.choice((0, 0xFFFF, 0x7FFF, 0x8000, rng.getrandbits(16))) for _ in range(14)]
        words[:2] = [rng.choice((0, 1, 40, 0xFFFF)), rng.choice((0, 10, 15))]
        (batch,) = modbus.plan({**profile, "ratio": {**ratio, **given}})
        value = batch.decode(b"".join(word.to_bytes(2, "big") for word in words))[2]
        truth = decode(profile, {(3, 0): words}, given)["1.8.0"]
        if isinstance(value, proto.Fault):
            told["fault"] += 1
            assert value.kind in (proto.ABSENT, proto.RANGE)
            assert truth is None or abs(truth[0].scaleb(-row[6])) >= 1 << 62
        elif value is None:
            told["none"] += 1
            assert truth is None
        else:
            told["value"] += 1
            assert Decimal(value).scaleb(row[6]) == truth[0], (row, ratio, given, words)
    assert told["value"] > 1000 and told["fault"] > 100 and told["none"] > 100, told


def test_the_decoder_rounds_half_even_and_names_what_is_not_there():
    rows = [["a", 0, 0, "u16", -4, "W"], ["b", 1, 0, "u16", 0, ""]]
    profile = {"blk": [[3, 0, 8, 1], [3, 9, 1, 1]], "q": rows, "inv": 1}
    for word, value in ((5, "0.000"), (15, "0.002"), (25, "0.002"), (26, "0.003")):
        assert decode(profile, {(3, 0): [word]}) == {"a": (Decimal(value), "W")}
    assert decode(profile, {(3, 9): [0xFFFF]}) == {"b": None}
    with pytest.raises(ValueError, match="ends before"):
        decode(profile, {(3, 0): []})


@each
def test_a_damaged_profile_is_refused_or_harmless(name):
    """Whatever JSON stands in a profile, check only returns; what it accepts can be planned and decoded."""
    rng = random.Random(name)
    junk = [None, True, 0, 1, -1, 7, 125, 126, 65535, 65536, 10**12, 0.5, "", "x", "u32", "f64w", "str", [], {}, [1, 0]]
    accepted = 0
    for _ in range(200):
        profile = copy.deepcopy(PROFILES[name])
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            part = profile
            while True:
                keys = list(part) if isinstance(part, dict) else list(range(len(part)))
                key = rng.choice(keys) if keys else None
                if key is None or not isinstance(part[key], (dict, list)) or rng.random() < 0.2:
                    break
                part = part[key]
            if key is None:
                continue
            if rng.random() < 0.2:
                del part[key]
            else:
                part[key] = copy.deepcopy(rng.choice(junk))
        found = rules.problems(profile)
        for problem in found:
            assert len(problem) == 3 and all(isinstance(text, str) for text in problem)
        if not found:
            accepted += 1
            for batch in modbus.plan(profile):
                assert len(batch.decode(rng.randbytes(2 * batch.block()[2]))) == batch.size == len(points(batch))
    assert accepted < 150


def points(batch):
    """Return [(obis, unit, exponent)] of a batch."""
    rows = [line.split(" ") for line in batch.points.split("\n")[1:]]
    return [(obis, unit, int(exponent)) for obis, unit, exponent in rows]


def test_the_rows_that_the_document_shows_are_good():
    text = (ROOT / "docs" / "profiles.md").read_text()
    rows = [json.loads(row) for row in re.findall(r"^    (\[\".*?\}\])", text, flags=re.M)]
    assert len(rows) == 2
    for row in rows:
        profile = {
            "v": 2, "id": "x", "n": "x", "ph": 1, "ser": ["9600N1"], "lim": [125, 1, 20, 500], "blk": [[3, 72, 26, 1]],
            "q": [row], "conf": "L",
        }  # fmt: skip
        assert modbus.check(profile) == []


def run(*arguments):
    return CliRunner().invoke(profiles.profile, [str(argument) for argument in arguments])


def test_list_shows_every_profile():
    result = run("list")
    assert result.exit_code == 0 and all(name in result.output for name in PROFILES)
    rows = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    assert [row["id"] for row in rows] == sorted(PROFILES)
    one = next(row for row in rows if row["id"] == "eastron-sdm120")
    assert one == {
        "id": "eastron-sdm120", "name": "Eastron SDM120-Modbus", "phases": 1, "ports": ["2400N1", "9600N1"],
        "points": 12, "confidence": "H", "bytes": (ROOT / "firmware/profiles/eastron-sdm120.json").stat().st_size,
    }  # fmt: skip


def test_check_of_good_profiles_ends_with_0():
    result = run("check")
    assert result.exit_code == 0 and "26 of 26" in result.output
    assert run("check", FILES[0]).exit_code == 0


def merged(ports, blocks, limits=(125, 1, 20, 500), **more):
    """What is proposed for a profile with these blocks."""
    rows = [[f"x.{i}", i, 0, "u16", 0, ""] for i in range(len(blocks))]
    made = {
        "v": 1, "id": "x", "n": "x", "ph": 1, "ser": ports, "lim": list(limits), "blk": blocks, "q": rows, "conf": "L",
        "probe": [[3, 0, 1, "u16", [1]]], **more,
    }  # fmt: skip
    assert modbus.check(made) == []
    return [(path, better.split(": ")[0]) for path, _, better in profiles.advice(made)]


def test_blocks_are_merged_where_the_hole_costs_less_than_a_read():
    """(13c + d + g) / 2c, with d = 20 ms: 17.85 registers at 9600 8N1, 12.6 at 2400, 81 at 115200 baud."""
    blocks = [[3, 100, 10, 1], [3, 127, 4, 1]]
    assert merged(["9600N1"], blocks) == [("blk[0], blk[1]", "[3, 100, 31, 1]")]
    assert merged(["9600N1"], [[3, 100, 10, 1], [3, 128, 4, 1]]) == []
    assert merged(["2400N1", "9600N1"], blocks) == []
    assert merged(["115200N1"], [[3, 100, 10, 1], [3, 190, 4, 1]]) == [("blk[0], blk[1]", "[3, 100, 94, 1]")]
    assert merged(["9600N1"], [[3, 127, 4, 1], [3, 100, 10, 1]]) == [("blk[1], blk[0]", "[3, 100, 31, 1]")]


def test_blocks_that_cannot_be_one_read_are_left_alone():
    assert merged(["9600N1"], [[3, 100, 10, 1], [4, 112, 4, 1]]) == []  # another function
    assert merged(["9600N1"], [[3, 100, 10, 1], [3, 112, 4, 6]]) == []  # another cadence
    assert merged(["9600N1"], [[3, 100, 10, 1], [3, 112, 4, 1]], (15, 1, 20, 500)) == []  # too long
    assert merged(["9600N1"], [[3, 100, 10, 1], [3, 105, 4, 1]]) == []  # no hole at all
    blocks = [[3, 100, 10, 1], [3, 112, 4, 1], [3, 900, 16, 1]]
    assert merged(["9600N1"], blocks) == [("blk[0], blk[1]", "[3, 100, 17, 1]")]  # 16 is taken


def test_advice_does_not_make_a_profile_bad(tmp_path):
    made = copy.deepcopy(PROFILES["eastron-sdm120"])
    del made["probe"]
    (tmp_path / "eastron-sdm120.json").write_text(json.dumps(made))
    result = run("check", "--json", tmp_path / "eastron-sdm120.json")
    assert result.exit_code == 0 and [json.loads(line)["path"] for line in result.output.splitlines()] == ["probe"]
    assert "proposed" in run("check", tmp_path / "eastron-sdm120.json").output


def test_check_names_every_problem_of_every_file_and_ends_with_2(tmp_path):
    bad = copy.deepcopy(PROFILES["eastron-sdm120"])
    bad["q"][3][3] = "f3"
    bad["blk"][1][2] = 11
    (tmp_path / "eastron-sdm120.json").write_text(json.dumps(bad))
    (tmp_path / "broken.json").write_text('{"v": 1,\n "id" }')
    (tmp_path / "other.json").write_text(json.dumps(PROFILES["eastron-sdm120"]))
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "twice.json").write_text('{"v": 1, "v": 1}')
    (tmp_path / "dlms.json").write_text('{"proto": "nothing"}')
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    files = sorted(tmp_path.glob("*.json"))
    result = run("check", "--json", *files, tmp_path / "missing.json")
    assert result.exit_code == 2
    told = {(Path(row["file"]).stem, row["path"]) for row in map(json.loads, result.output.splitlines())}
    assert told >= {
        ("eastron-sdm120", "q[3][3]"), ("eastron-sdm120", "blk[1]"), ("broken", "line 2"), ("other", "id"),
        ("list", "(file)"), ("twice", "line 1"), ("dlms", "proto"), ("binary", "line 1"), ("missing", "(file)"),
    }  # fmt: skip
    text = run("check", tmp_path / "eastron-sdm120.json").output
    assert 'q[3][3]: found "f3", allowed u16, s16' in text and "0 of 1 profiles are good" in text


def test_help_shows_an_example():
    for command in ([], ["list"], ["check"]):
        result = run(*command, "--help")
        assert result.exit_code == 0 and "meshems profile" in result.output
