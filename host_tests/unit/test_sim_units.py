"""The simulated units show the values of their household in the registers of their profile."""

import json
import random
import struct
from decimal import Decimal
from fractions import Fraction

import jsonschema
import pytest
from click.testing import CliRunner
from pymodbus.framer.rtu import FramerRTU

from meshems import paths
from meshems.cli import main
from meshems.sim import spec
from meshems.sim.faults import KINDS, Fault, sealed
from meshems.sim.meters import Household, day_curve
from meshems.sim.slave import Unit, Units, encode

PROFILES = sorted(path.stem for path in paths.PROFILES.glob("*.json") if '"blk"' in path.read_text())
NOW_MS = 1_790_000_000_123


def unit(profile="eastron-sdm120", address=1):
    rules = json.loads((paths.PROFILES / f"{profile}.json").read_text())
    return Unit("SN-1", address, rules, Household(7, rules["ph"], 400, 1_234_567), 20)


def ask(units, *body, at_s=0.0, quiet_s=1.0):
    frame = bytes(body)
    return units.hear(frame + FramerRTU.compute_CRC(frame).to_bytes(2, "big"), at_s, quiet_s)


def plain(words, kind):
    """The number in `words`, read by struct."""
    if kind.endswith("w"):
        words = words[::-1]
    code = {"u16": "H", "s16": "h", "u32": "I", "s32": "i", "u64": "Q", "s64": "q", "f32": "f"}[kind.rstrip("w")]
    return struct.unpack(">" + code, struct.pack(f">{len(words)}H", *words))[0]


def test_the_counter_is_the_exact_integral_of_the_power_however_often_it_is_read():
    rng = random.Random(3)
    often, seldom = Household(5, 3, 600, 1000), Household(5, 3, 600, 1000)
    often.advance(NOW_MS)
    seldom.advance(NOW_MS)
    at, sums = NOW_MS, [0, 0, 0]
    while at < NOW_MS + 20_000:
        step = rng.randrange(1, 700)
        for ms in range(at, at + step):
            for phase, power in enumerate(often.powers(ms // 1000)):
                sums[phase] += power
        at += step
        often.advance(at)
    seldom.advance(at)
    started = Household(5, 3, 600, 1000).energy_uj
    assert often.energy_uj == seldom.energy_uj == [a + b for a, b in zip(started, sums, strict=True)]


def test_a_counter_starts_where_the_spec_says():
    for phases in (1, 3):
        assert sum(Household(1, phases, 100, 1_234_567).energy_uj) == 1_234_567 * 3_600_000_000


def test_the_same_seed_is_the_same_house_and_another_one_is_not():
    values = []
    for seed in (1, 1, 2):
        house = Household(seed, 1, 300, 0)
        house.advance(NOW_MS)
        values.append(house.value("16.7.0"))
    assert values[0] == values[1] != values[2]


def test_a_day_has_a_base_a_morning_and_a_higher_evening():
    assert day_curve(3) < day_curve(7) < day_curve(19.5)
    assert sum(day_curve(hour / 10) for hour in range(240)) / 240 == pytest.approx(1, abs=0.05)


def test_quantities_of_a_house_fit_each_other():
    house = Household(9, 3, 900, 5_000_000)
    house.advance(NOW_MS)
    value = house.value
    assert value("36.7.0") + value("56.7.0") + value("76.7.0") == pytest.approx(value("16.7.0"))
    assert value("21.8.0") + value("41.8.0") + value("61.8.0") == value("1.8.0") == value("15.8.0")
    assert value("2.8.0") == 0 and value("2.7.0") == 0 and value("62.8.0") == 0
    assert value("9.7.0") * value("13.7.0") == pytest.approx(value("16.7.0"))
    assert value("32.7.0") * value("31.7.0") * value("33.7.0") == pytest.approx(value("36.7.0"))
    assert value("29.7.0") ** 2 == pytest.approx(value("36.7.0") ** 2 + value("151.7.0") ** 2)
    assert 210 < value("52.7.0") < 240 and 49.9 < value("14.7.0") < 50.1 and 0.8 < value("73.7.0") <= 1


def shows(one, row):
    """(value that the registers of a row show, the least step of it)"""
    _, block, *first = row
    function, address, *_ = one.profile["blk"][block]
    more = row[7] if len(row) > 7 else {}
    value, steps = Decimal(0), []
    for offset, kind, scale in [first[:3]] + ([more["plus"]] if "plus" in more else []):
        words = one.read(function, address + offset, int(kind.strip("usfw")) // 16)
        steps.append(Decimal(scale[0]) / scale[1] if isinstance(scale, list) else Decimal(10) ** scale)
        value += Decimal(plain(words, kind)) * steps[-1]
    if "sign" in more:
        value *= -1 if one.read(function, address + more["sign"][0], 1)[0] & more["sign"][1] else 1
    return value, min(steps)


@pytest.mark.parametrize("name", PROFILES)
def test_registers_of_each_profile_say_what_the_house_says(name):
    one = unit(name)
    one.refresh(NOW_MS)
    for row in one.profile["q"]:
        obis, kind = row[0], row[3]
        shown, factor = shows(one, row)
        real = one.house.value(obis)
        step = abs(Decimal(float(real))) / 2**23 if kind.startswith("f") else factor
        assert (
            abs(
                shown - Decimal(real.numerator) / real.denominator
                if isinstance(real, Fraction)
                else shown - Decimal(real)
            )
            <= step
        )
        if not kind.startswith("f") and obis.endswith(".8.0"):
            assert shown <= real, "a counter never shows more than it counted"


def test_a_counter_in_two_parts_and_a_sign_elsewhere_say_what_the_house_says():
    one = unit("deye-1p")
    one.house.energy_uj = [98_765_432_100 * 3_600_000]
    one.refresh(NOW_MS)
    row = next(row for row in one.profile["q"] if row[0] == "1.8.0")
    assert shows(one, row) == (Decimal("98765.4"), Decimal("0.1")) and one.read(3, 80, 1) == [15]
    one.profile["q"] = [["16.7.0", 0, 0, "u16", 0, "W", -3, {"sign": [9, 4]}], ["0.4.2", 0, 1, "u16", 0, ""]]
    one.profile["ratio"] = {"ct": "0.4.2"}
    for watts in (1234, -1234):
        one.house.value = lambda obis, watts=watts: watts
        one.refresh(NOW_MS)
        assert shows(one, one.profile["q"][0])[0] == watts and one.read(3, 72, 2) == [1234, 1]


@pytest.mark.parametrize("name", PROFILES)
def test_each_block_and_each_probe_of_each_profile_is_answered(name):
    one = unit(name)
    one.refresh(NOW_MS)
    for function, address, count, *_ in one.profile["blk"]:
        assert len(one.read(function, address, count)) == count
    for function, address, count, kind, accepted in one.profile.get("probe", ()):
        words = one.read(function, address, count)
        if "str" in accepted:
            assert struct.pack(f">{count}H", *words).startswith(accepted["str"].encode())
        elif isinstance(accepted, list):
            assert plain(words, kind) in accepted
        else:
            assert accepted["min"] <= plain(words, kind) <= accepted["max"]


@pytest.mark.parametrize(
    ("kind", "value", "scale", "words"),
    [
        ("u16", 230.14, -1, [2301]),
        ("s16", -5, 0, [0xFFFB]),
        ("u32w", 70000, 0, [0x1170, 1]),
        ("s64", 1, -3, [0, 0, 0, 1000]),
        ("u16", 99999, 0, [0xFFFF]),
        ("f32", 230.2, 0, [0x4366, 0x3333]),
        ("u16", 50, [1, 4], [200]),
        ("str", "iEM3", 0, [0x6945, 0x4D33]),
    ],
)
def test_a_value_becomes_registers_as_its_type_says(kind, value, scale, words):
    assert encode(kind, value, scale) == words


def test_what_a_unit_has_not_got_is_an_exception():
    units = Units([unit()])
    assert ask(units, 1, 4, 0x70, 0, 0, 2).wire[:3] == bytes([1, 0x84, 2])
    assert ask(units, 1, 4, 0, 31, 0, 2).wire[:3] == bytes([1, 0x84, 2])  # half of it outside a block
    assert ask(units, 1, 4, 0, 0, 0, 126).wire[:3] == bytes([1, 0x84, 3])
    assert ask(units, 1, 6, 0, 0, 0, 1).wire[:3] == bytes([1, 0x86, 1])
    assert ask(units, 1, 4, 0, 0, 0, 2).wire[:3] == bytes([1, 4, 4])


def good(wire):
    return len(wire) > 3 and FramerRTU.compute_CRC(wire[:-2]).to_bytes(2, "big") == wire[-2:]


APART = ("echo", "late", "unasked", "strict", "replaced")  # tests of their own


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in APART])
def test_each_fault_does_what_it_is_called(kind):
    units = Units([unit()], [Fault(kind)])
    answer = ask(units, 1, 4, 0, 0, 0, 2)
    wire = answer.wire
    check = {
        "silent": wire == b"",
        "crc": len(wire) == 9 and not good(wire),
        "truncated": len(wire) == 4,
        "exception": good(wire) and wire[:3] == bytes([1, 0x84, 4]),
        "noise": len(wire) == 15 and good(wire[6:]) and wire[6:9] == bytes([1, 4, 4]),
        "glitch": len(wire) == 10 and wire[0] == 0 and good(wire[1:]),
        "wrong_unit": good(wire) and wire[0] == 2,
        "wrong_function": good(wire) and wire[:2] == bytes([1, 3]),
        "short": good(wire) and len(wire) == 7 and wire[2] == 2,
        "busy": good(wire) and wire[:3] == bytes([1, 0x84, 6]),
        "noise_after": len(wire) == 15 and good(wire[:9]) and wire[:3] == bytes([1, 4, 4]),
        "gap": good(wire) and len(wire) == 9 and answer.pause == (4, 4),
        "babble": len(wire) == 500 and len(set(wire)) > 100,
    }
    assert check[kind]
    assert answer.request["fault"] == kind
    assert len(answer.request["words"]) == 2, "the log tells what the unit held, whatever it answered"
    assert (answer.reply or {}).get("intact", False) == (kind in ("noise", "noise_after", "glitch", "gap"))


def test_a_busy_unit_answers_after_so_many_refusals():
    units = Units([unit()], [Fault("busy", refusals=2, code=5)])
    told = [ask(units, 1, 4, 0, 0, 0, 2).wire[1:3] for _ in range(6)]
    assert told == [b"\x84\x05", b"\x84\x05", b"\x04\x04"] * 2


def test_a_late_reply_is_evenly_late_between_the_two_limits_and_the_same_for_the_same_seed():
    late = Fault("late", late_ms=480, late_to_ms=1880)
    delays = [[ask(units, 1, 4, 0, 0, 0, 2).delay_s for _ in range(400)] for units in (
        Units([unit()], [late], seed=seed) for seed in (1, 1, 2)
    )]  # fmt: skip
    assert delays[0] == delays[1] != delays[2]
    assert 0.5 <= min(delays[0]) < 0.52 and 1.88 < max(delays[0]) <= 1.9
    assert sum(delays[0]) / 400 == pytest.approx(1.2, abs=0.06)


def test_a_strict_unit_ignores_a_request_after_too_short_a_silence_and_no_other():
    units = Units([unit()], [Fault("strict"), Fault("glitch")], gap_s=0.003646)
    assert ask(units, 1, 4, 0, 0, 0, 2, quiet_s=0.0036).wire == b""
    answer = ask(units, 1, 4, 0, 0, 0, 2, quiet_s=0.003646)
    assert answer.wire[0] == 0 and good(answer.wire[1:]), "another fault of it still strikes"


def test_a_unit_that_talks_unasked_does_so_once_a_period_within_its_span():
    units = Units([unit(address=3)], [Fault("unasked", start_s=2, end_s=5, period_ms=1000, babble_bytes=9)])
    at, said = 0.0, []
    while (burst := units.unasked(at)) is not None:
        at, answer = burst
        said.append((round(at, 3), len(answer.wire), answer.reply["serial"]))
    assert said == [(3.003, 9, "SN-1"), (4.003, 9, "SN-1")]
    assert Units([unit()], [Fault("glitch")]).unasked(0.0) is None


def test_a_unit_gives_its_number_and_another_one_while_it_is_replaced():
    def number(units, at_s):
        return int.from_bytes(ask(units, 1, 3, 0xFC, 0, 0, 2, at_s=at_s).wire[3:7], "big")

    fault = Fault("replaced", start_s=2, end_s=5, device="31337")
    units = Units([unit()], [fault, Fault("glitch", start_s=9)])
    first = number(units, 0)
    assert 10_000_000 <= first < 100_000_000
    assert [number(units, at_s) for at_s in (1.9, 2, 4.9, 5)] == [first, 31337, 31337, first]
    units.units[1].device = "4711"
    assert number(units, 6) == 4711
    meter = Units([unit("gavazzi-em111")], [fault])
    assert ask(meter, 1, 3, 0x50, 0, 0, 7).wire[3:17] == b"SN-1".ljust(14, b"\0")
    assert ask(meter, 1, 3, 0x50, 0, 0, 7, at_s=2).wire[3:17] == b"31337".ljust(14, b"\0")


def test_a_fault_may_strike_each_third_request():
    units = Units([unit()], [Fault("silent", every=3)])
    assert [bool(ask(units, 1, 4, 0, 0, 0, 2).wire) for _ in range(6)] == [True, True, False] * 2


def test_values_live_between_two_reads():
    units = Units([unit("gavazzi-em111")])
    first = ask(units, 1, 3, 0, 0, 0, 18).reply["words"]
    assert ask(units, 1, 3, 0, 0, 0, 18, at_s=1.1).reply["words"] != first


def test_the_crc_of_the_simulator_is_that_of_another_implementation():
    body = bytes(random.Random(1).randrange(256) for _ in range(40))
    assert good(sealed(body))


GOOD = {"units": [{"serial": "SN-1", "address": 1, "profile": "eastron-sdm120"}]}


def test_the_schema_is_json_schema_and_takes_the_example():
    rules = json.loads((paths.SCHEMAS / "sim.json").read_text())
    jsonschema.Draft202012Validator.check_schema(rules)
    jsonschema.Draft202012Validator(rules).validate(GOOD)
    assert set(KINDS) == set(rules["properties"]["faults"]["items"]["properties"]["kind"]["enum"])


def test_the_simulators_page_names_every_fault_and_every_key_of_the_spec():
    page = (paths.ROOT / "docs" / "simulator.md").read_text()
    rules = json.loads((paths.SCHEMAS / "sim.json").read_text())
    fault = rules["properties"]["faults"]["items"]["properties"]
    assert [name for name in [*KINDS, *fault] if f"`{name}`" not in page] == []


def refused(tmp_path, text):
    file = tmp_path / "spec.json"
    file.write_text(text)
    result = CliRunner().invoke(main, ["sim-meters", "--pty", str(tmp_path / "line"), "--spec", str(file)])
    assert result.exit_code == 2
    assert not (tmp_path / "line").is_symlink()
    return result.output


def test_a_spec_is_refused_with_every_problem_at_once(tmp_path):
    output = refused(tmp_path, '{"units": [{"serial": "a b", "address": 0, "profile": "x"}], "sed": 1}')
    for path in ("units[0].serial", "units[0].address", "sed: found unknown key", "3 problems"):
        assert path in output


def test_a_spec_with_doubles_and_unknown_names_is_refused(tmp_path):
    units = [dict(GOOD["units"][0]), dict(GOOD["units"][0], profile="no-such")]
    units.append({"serial": "SN-3", "address": 3, "profile": "sunspec"})  # its registers are not the profile's
    output = refused(tmp_path, json.dumps({"units": units, "faults": [{"kind": "crc", "serial": "SN-9"}]}))
    for path in ("units[1].serial", "units[1].address", "units[1].profile", "units[2].profile", "faults[0].serial"):
        assert path in output


def test_a_number_that_a_unit_cannot_give_is_refused(tmp_path):
    for name, number, good in (
        ("eastron-sdm120", "4294967295", True), ("eastron-sdm120", "4294967296", False),
        ("eastron-sdm120", "A1", False), ("gavazzi-em111", "A" * 14, True), ("gavazzi-em111", "A" * 15, False),
        ("chint-ddsu666", "1", False),
    ):  # fmt: skip
        one = {"serial": "SN-1", "address": 1, "profile": name}
        fault = {"kind": "replaced", "device": number}
        found = spec.problems({"units": [dict(one, device=number)], "faults": []}, paths.PROFILES)
        assert [path for path, _, _ in found] == ([] if good else ["units[0].device"])
        found = spec.problems({"units": [one], "faults": [fault]}, paths.PROFILES)
        assert [path for path, _, _ in found] == ([] if good else ["faults[0].device"])


def test_a_broken_spec_and_a_missing_one_are_named(tmp_path):
    assert "spec.json" in refused(tmp_path, "{")
    result = CliRunner().invoke(main, ["sim-meters", "--pty", str(tmp_path / "x"), "--spec", str(tmp_path / "none")])
    assert result.exit_code == 1 and "none: No such file" in result.output


def test_faults_of_the_spec_reach_the_units():
    fault = {"kind": "exception", "from": 5, "to": 6, "code": 6}
    station = spec.station(spec.load({**GOOD, "faults": [fault]}, paths.PROFILES), paths.PROFILES)
    assert [ask(station, 1, 4, 0, 0, 0, 2, at_s=at).wire[1] for at in (4.9, 5.0, 5.9, 6.0)] == [4, 0x84, 0x84, 4]
