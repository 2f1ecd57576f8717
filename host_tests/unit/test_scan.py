"""meshems scan and profile try: what they make of what the firmware tells, and how they refuse."""

import json
import re
import struct

import pytest
from click.testing import CliRunner

from meshems import paths
from meshems.cli import main
from meshems.decode import decode
from meshems.scan import Findings, addresses_of, ports_of, setting_of, text_of
from meshems.tryout import fixed, hint, rows_of


def there(address, fits, port="9600N1", serial=None, kind="there", reads=()):
    return {"port": port, "address": address, "kind": kind, "fits": fits, "serial": serial, "reads": list(reads)}


def found(*told, addresses=32):
    findings = Findings(told, addresses)
    findings.name()
    return findings


def kinds(findings):
    return [problem["kind"] for problem in findings.problems]


def test_addresses_are_ranges_and_single_ones_each_once():
    assert addresses_of("1-3") == [1, 2, 3]
    assert addresses_of("7,1-2,2-3,247") == [7, 1, 2, 3, 247]


@pytest.mark.parametrize("text", ["", "0", "248", "3-1", "1-", "-3", "a", "1-248", "1,,2"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError):
        addresses_of(text)


def test_a_setting_is_one_that_a_bus_can_have():
    assert setting_of("2400E1") == (2400, "8E1")
    for port in ("9600", "9600E2", "300N1", "N1", "9600X1", ""):
        with pytest.raises(ValueError):
            setting_of(port)


def test_the_settings_tried_are_those_of_the_profiles_the_most_frequent_first():
    made = [{"ser": ["2400N1", "9600N1"]}, {"ser": ["9600N1"]}, {"ser": ["9600E1", "9600E2"]}]
    assert ports_of(made) == ["9600N1", "2400N1", "9600E1"]


def test_a_meter_known_without_doubt_is_no_problem():
    findings = found(there(1, ["abb-b23"], serial="SN 12/3"), there(2, ["abb-b23"]))
    assert [(meter["profile"], meter["serial"]) for meter in findings.meters] == [
        ("abb-b23", "SN-12-3"), ("abb-b23", "abb-b23-2")
    ]  # fmt: skip
    assert findings.problems == []
    rows = findings.config(False)["meters"]
    assert rows[0]["device"] == "SN 12/3" and "device" not in rows[1]


def test_a_tie_is_a_clash_that_names_both_and_proposes_the_first():
    findings = found(there(7, ["b", "a"]))
    assert kinds(findings) == ["clash"] and findings.problems[0]["profiles"] == ["b", "a"]
    assert "address 7 at 9600 8N1: may be b or a" in findings.problems[0]["text"]
    assert findings.meters[0]["profile"] == "b" and findings.meters[0]["candidates"] == ["b", "a"]


def test_who_fits_no_profile_is_unknown_and_says_what_he_answered():
    reads = [[3, 0, 1, "u16", 0, 2301], [4, 0, 2, "f32", 5, "exception 2"]]
    findings = found(there(7, [], reads=reads))
    assert kinds(findings) == ["unknown"] and findings.meters == []
    assert "function 3 register 0: 2301;" in findings.problems[0]["text"]


def test_two_meters_on_one_address_are_not_proposed():
    findings = found(there(7, ["a"], kind="two"), {"port": "9600N1", "address": 8, "kind": "garbled"})
    assert kinds(findings) == ["two", "garbled"] and findings.meters == []
    assert [problem["address"] for problem in findings.problems] == [7, 8]


def test_garbage_from_everywhere_is_the_line_and_said_once():
    told = [{"port": "9600N1", "address": address, "kind": "garbled"} for address in range(1, 9)]
    assert kinds(found(*told, addresses=12)) == ["noise"]
    assert kinds(found(*told, addresses=32)) == ["garbled"] * 8


def test_who_answers_with_and_without_parity_is_looked_at():
    findings = found(there(7, ["a"]), there(7, ["a"], "9600E1"))
    assert len(findings.meters) == 1 and kinds(findings) == ["twice"]


def test_one_address_at_two_speeds_is_two_meters():
    findings = found(there(2, ["a"]), there(1, ["a"]), there(1, ["a"], "2400N1"))
    names = [(meter["serial"], meter["baud"]) for meter in findings.meters]
    assert names == [("a-1", 2400), ("a-1-2", 9600), ("a-2", 9600)] and findings.problems == []


def test_serials_are_unique_and_short_enough():
    findings = found(*(there(address, ["m" * 32], serial="x" * 40) for address in (1, 2, 3)), there(4, ["m" * 32]))
    serials = [meter["serial"] for meter in findings.meters]
    assert len(set(serials)) == 4 and max(map(len, serials)) <= 32


def test_the_bus_has_the_setting_of_most_and_the_others_have_their_own():
    findings = found(there(1, ["a"]), there(2, ["a"]), there(3, ["b"], "2400N1"), there(4, ["b"], "9600E1"))
    config = findings.config(echo=True)
    assert config["buses"] == [{"uart": 1, "baud": 9600, "format": "8N1", "echo": True}]
    assert [{key: row[key] for key in ("baud", "format") if key in row} for row in config["meters"]] == [
        {}, {}, {"baud": 2400}, {"format": "8E1"}
    ]  # fmt: skip
    assert json.loads(text_of(config)) == config


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_port_that_is_not_there_is_named_with_what_to_do(tmp_path):
    for command in (["scan"], ["profile", "try", "abb-b23", "--address", "1"]):
        done = run(*command, "--port", tmp_path / "line")
        assert done.exit_code == 2 and f"{tmp_path}/line: no such serial port" in done.output
        assert "sim-meters" in done.output
    (tmp_path / "file").write_text("")
    done = run("scan", "--port", tmp_path / "file")
    assert done.exit_code == 2 and "is no serial port" in done.output


def test_scan_refuses_what_it_cannot_do(tmp_path):
    def refused(*arguments):
        done = run("scan", "--port", "/dev/null", *arguments)
        assert done.exit_code == 2
        return done.output

    assert "0-3: addresses go from 1 to 247" in refused("--addresses", "0-3")
    assert "9600X1: write a setting as in 9600N1" in refused("--settings", "9600X1")
    assert "nix: no such profile" in refused("--profile", "nix")
    (tmp_path / "gateway.json").write_text("{}")
    assert "is there already" in refused("--output", tmp_path / "gateway.json")
    made = json.loads((paths.PROFILES / "abb-b23.json").read_text())
    del made["probe"]
    (tmp_path / "abb-b23.json").write_text(json.dumps(made))
    assert "abb-b23.json: has no probe" in refused("--profile", tmp_path / "abb-b23.json")
    (tmp_path / "bad.json").write_text("{}")
    assert "is no good profile" in refused("--profile", tmp_path / "bad.json")


def test_a_profile_with_problems_is_not_tried(tmp_path):
    (tmp_path / "bad.json").write_text('{"v": 1}')
    done = run("profile", "try", tmp_path / "bad.json", "--port", "/dev/null", "--address", "1")
    assert done.exit_code == 2 and "bad.json: blk: found nothing" in done.output


def test_no_module_of_a_running_gateway_loads_what_commissioning_needs():
    for file in paths.FIRMWARE.rglob("*.py"):
        if file.name not in ("scan.py", "trial.py", "selftest.py", "reach.py"):
            imports = [line for line in file.read_text().splitlines() if "import" in line]
            assert not [line for line in imports if re.search(r"\b(scan|trial|selftest|reach)\b", line)], file


def test_profile_has_all_its_commands():
    assert {"list", "check", "try"} <= set(run("profile", "--help").output.split())


@pytest.mark.parametrize(
    ("value", "exponent", "text"),
    [(230100, -3, "230.1"), (-5, -3, "-0.005"), (0, -3, "0"), (12, 0, "12"), (12, 2, "1200"), (1000, -3, "1")],
)  # fmt: skip
def test_a_value_is_shown_exactly(value, exponent, text):
    assert fixed(value, exponent) == text


def words(code, value):
    raw = struct.pack(code, value)
    return [int.from_bytes(raw[i : i + 2], "big") for i in range(0, len(raw), 2)]


def say(kind, scale, unit, registers, obis="32.7.0"):
    value = decode({"blk": [[3, 0, len(registers), 1]], "q": [[obis, 0, 0, kind, scale, unit]]}, {(3, 0): registers})
    return hint([obis, 0, 0, kind, scale, unit], registers, float(value[obis][0]))


def test_a_likely_value_needs_no_hint():
    assert say("f32", 0, "V", words(">f", 230.25)) == ""
    assert say("u16", -1, "V", [2302]) == ""
    assert say("u32", -2, "kWh", [0, 0], "1.8.0") == ""


def test_an_unlikely_value_comes_with_the_reading_that_would_be_likely():
    assert "as f32w it would be 230.25 V" in say("f32", 0, "V", words(">f", 230.25)[::-1])
    assert "as f32 it would be 230.25 V" in say("u32", -1, "V", words(">f", 230.25))
    assert "as u32w it would be 1234.5 kWh" in say("u32", -1, "kWh", words(">I", 12345)[::-1], "1.8.0")
    assert "with the scale -1 it would be 230.2 V" in say("u16", 0, "V", [2302])
    assert "bytes of each register swapped it would be 230.1 V" in say("u16", -1, "V", [0xFD08])
    assert "as f32w it would be 50 Hz" in say("f32", 0, "Hz", words(">f", 50)[::-1], "14.7.0")


def test_no_voltage_is_said_so():
    assert say("f32", 0, "V", [0, 0]) == "no voltage: is it connected?"


def test_a_point_is_shown_with_its_own_registers():
    volts, energy = ["32.7.0", 0, 1, "u16", -1, "V"], ["1.8.0", 0, 2, "u32", 0, "kWh"]
    made = {"q": [volts, energy, ["0.0.96.1.1", 0, 4, "str", 2, ""]]}
    block = {
        "block": [3, 100, 6, 1], "points": "\n32.7.0 V -3\n1.8.0 kWh -3\n0.0.96.1.1  0",
        "data": "000008fd0000000700410042", "values": [230100, 7000, "A B"],
    }  # fmt: skip
    rows = list(rows_of(made, block))
    assert [(row["register"], row["raw"], row["value"]) for row in rows] == [
        (101, ["08fd"], "230.1"), (102, ["0000", "0007"], "7"), (104, ["0041", "0042"], "A B")
    ]  # fmt: skip
    refused = dict(block, data=None, values=[["exception 2"]] * 3)
    for row in rows_of(made, refused):
        assert row["fault"] == "exception 2" and row["raw"] == [] and "no such register" in row["hint"]


def test_a_value_that_is_not_there_says_why():
    made = {"q": [["32.7.0", 0, 0, "u16", -1, "V"]]}
    block = {"block": [3, 0, 1, 1], "points": "\n32.7.0 V -3", "data": "ffff", "values": [None]}
    (row,) = rows_of(made, block)
    assert row["value"] is None and row["fault"] is None and row["hint"] == "the meter says: not available"
