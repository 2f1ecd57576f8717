"""meshems.boards: every board is good, each rule of the chips fires, and the READMEs say what board.json says."""

import copy
import json
import re

import jsonschema
import pytest
from click.testing import CliRunner

from lib import schema
from meshems import boards, cli, paths

RULES = json.loads((paths.SCHEMAS / "board.json").read_text())
DOCUMENT = (paths.ROOT / "docs" / "boards.md").read_text()
S3, ESP32 = boards.read("nesl-865b"), boards.read("esp32-generic")


def test_the_boards_that_the_project_promises_are_there():
    promised = "desktop esp32-generic esp32-s3-devkit meshems-a0 nesl-865b nesl-865b-v1 nesl-865b-v2"
    assert boards.names() == promised.split()


@pytest.mark.parametrize("name", boards.names())
def test_every_board_keeps_the_rules_of_its_chip(name):
    assert boards.problems(boards.read(name), name) == []
    jsonschema.validate(boards.read(name), RULES)


def test_the_schema_is_one_and_is_wholly_checked():
    jsonschema.Draft202012Validator.check_schema(RULES)
    schema.verify(RULES)


@pytest.mark.parametrize("name", [name for name in boards.names() if name != "desktop"])
def test_the_readme_says_what_board_json_says(name):
    text = boards.readme(name).read_text()
    assert boards.marked(text, boards.read(name)) == text, f"meshems board show {name} --markdown says otherwise"


@pytest.mark.parametrize("name", [name for name in boards.names() if name != "desktop"])
def test_the_wiring_table_has_each_pin_once_and_the_drawing_too(name):
    board = boards.read(name)
    pins = sorted({use.pin for use in boards.uses(board)})
    rows = [int(row) for row in re.findall(r"^\| (\d+) \|", boards.wiring(board), re.M)]
    assert rows == pins
    drawn = re.findall(r"(?<=\| )\d+|\d+(?= \| )", boards.drawing(board))
    assert sorted(map(int, drawn)) == pins


def test_the_document_names_every_key_and_no_other():
    named = set()
    for line in DOCUMENT.split("## What stands in board.json")[1].splitlines():
        if line.startswith("| `"):
            named |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    assert named == set(RULES["properties"])


def changed(board, *path_and_value):
    """A copy of a board with the value at a path replaced; None takes the key out."""
    made = copy.deepcopy(board)
    *path, last, value = path_and_value
    part = made
    for key in path:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return made


def told(board, *names):
    """A copy of a board with other lacks in `cannot`."""
    return dict(board, cannot=[{"what": name, "why": "so it is"} for name in names])


def gpio(pin, board=S3):
    return changed(board, "led", "pin", pin)


BROKEN = [  # board, path of the problem, a word of what is allowed
    (gpio(22), "led.pin", "a pin that an esp32s3 has"),
    (gpio(28), "led.pin", "the flash is at this pin"),
    (gpio(35), "led.pin", "octal PSRAM"),
    (gpio(26), "led.pin", "octal PSRAM"),
    (gpio(43), "led.pin", "console"),
    (gpio(45), "led.pin", "strapping"),
    (told(gpio(19), "rtc", "ethernet", "gps"), "led.pin", "USB D-"),
    (gpio(4), "led.pin", "uarts[1].tx has this pin"),
    (gpio(34, ESP32), "led.pin", "an output"),
    (gpio(6, ESP32), "led.pin", "the flash is at this pin"),
    (gpio(3, ESP32), "led.pin", "console"),
    (gpio(12, ESP32), "led.pin", "strapping"),
    (gpio(24, ESP32), "led.pin", "a pin that an esp32 has"),
    (changed(ESP32, "psram", "octal") | {"psramMb": 8}, "psram", "none, quad"),
    (changed(ESP32, "psram", "quad") | {"psramMb": 4}, "uarts[1].tx", "quad PSRAM"),
    (changed(ESP32, "ladder", {"pin": 13, "idle": 3300}), "ladder.pin", "ADC1"),
    (changed(S3, "ladder", "pin", 2) | {"other": [{"net": "A", "pin": 12, "way": "adc"}]}, "other[0].pin", "ADC1"),
    (changed(ESP32, "tlsConnections", None), "tlsConnections", "1 without PSRAM"),
    (changed(ESP32, "tlsConnections", 2), "tlsConnections", "1 without PSRAM"),
    (changed(S3, "uarts", 0, "id", 0), "uarts[0].id", "console"),
    (changed(S3, "uarts", 1, "id", 1), "uarts[1].id", "another than that of uarts[0]"),
    (changed(S3, "uarts", 0, "direction", "de"), "uarts[0].de", "needed where direction is de"),
    (changed(S3, "uarts", 0, "de", 21), "uarts[0].de", "not where direction is auto"),
    (changed(S3, "gps", "uart", 1), "gps.uart", "no row of uarts has"),
    (changed(S3, "relays", 0, "pin", 46), "relays[0].pin", "must not switch a load"),
    (changed(S3, "relays", 0, "pin", None), "relays[0].pin", "needed where kind is gpio"),
    (changed(S3, "relays", 1, "at", [40]), "relays[1].at[0]", "PCF8574"),
    (changed(S3, "relays", 1, "bits", [7, 7]), "relays[1].bits", "each bit once"),
    (changed(S3, "i2c", None), "relays[1]", "a board with i2c"),
    (changed(ESP32, "i2c", None), "oled", "a board with i2c"),
    (changed(changed(boards.read("meshems-a0"), "relays", 1, None), "i2c", None), "rtc", "a board with i2c"),
    (changed(S3, "sd", "slot", 0), "sd.slot", "2 or 3 with spi"),
    (changed(S3, "sd", "cs", None), "sd.cs", "needed where kind is spi"),
    (ESP32 | {"sd": {"kind": "mmc", "slot": 1, "sck": 14, "cmd": 15, "data": [5]}}, "sd.data[0]", "one of 2, 4, 12"),
    (changed(S3, "sd", "miso", 21), "sd.miso", "both are SPI MISO"),
    (told(changed(S3, "ethernet", "int", 21), "rtc", "usb", "gps"), "sd.sck", '"sd" in cannot'),
    (changed(S3, "oled", "dc", None), "oled.dc", "needed where bus is spi"),
    (changed(S3, "psramMb", None), "psramMb", "psram is not none"),
    (changed(S3, "straps", 0, "pin", 4), "straps[0].pin", "a strapping pin that is in use"),
    (changed(S3, "inferred", 0, "what", "door"), "inferred[0].what", "a key of this file"),
    (told(S3, "ethernet", "usb", "gps"), "cannot", "clock"),
    (told(S3, "rtc", "usb", "gps"), "cannot", "W5500"),
    (told(S3, "rtc", "ethernet", "usb"), "cannot", "UART"),
    (told(boards.read("meshems-a0"), "rtc"), "cannot", "only what is so"),
    (changed(S3, "flash", "journal", None), "cannot", "partition for the journal"),
    (changed(S3, "flash", "vfs", None), "flash.vfs", "a size"),
    (changed(S3, "flash", "journal", 4194305), "flash.journal", "multiple of 4096"),
    (changed(S3, "flash", "factory", 2031616 + 4096), "flash.factory", "multiple of 65536"),
    (changed(S3, "flash", "archive", 9437184 + 4096), "flash", "at most 16777216"),
    (changed(S3, "name", "another"), "name", "the name of its folder"),
    (changed(S3, "antenna", None), "antenna", "string"),
    (S3 | {"wifi": {}}, "wifi", "uarts"),
]


@pytest.mark.parametrize("board, path, allowed", BROKEN, ids=lambda part: part if isinstance(part, str) else "")
def test_each_rule_names_the_key_what_was_found_and_what_is_allowed(board, path, allowed):
    found = boards.problems(board, board["name"].replace("another", "nesl-865b"))
    assert [(at, text) for at, _, text in found if at == path and allowed in text], found


def test_the_partitions_follow_each_other_and_fit():
    for name in boards.names():
        board = boards.read(name)
        table = boards.layout(board)
        for before, after in zip(table, table[1:], strict=False):
            assert before.offset + before.size == after.offset
        if table:
            assert table[-1].offset + table[-1].size <= board["flashMb"] << 20
            assert {part.name for part in table} >= {"nvs", "factory", "vfs", "journal"}


def test_esp32_generic_leaves_a_megabyte_and_a_half_for_the_journal():
    [journal] = [part for part in boards.layout(ESP32) if part.name == "journal"]
    assert journal.size >= 3 << 19


def test_the_device_gets_no_words_but_those_it_says():
    kept = boards.for_device(S3)
    assert not set(kept) & {"title", "antenna", "inferred", "straps", "other", "flash"}
    assert kept["uarts"] == [{"id": 1, "tx": 7, "rx": 42}, {"id": 2, "tx": 4, "rx": 6}]
    assert kept["cannot"] == S3["cannot"] and "cannot" not in boards.for_device(boards.read("meshems-a0"))


def run(*words):
    return CliRunner().invoke(cli.main, ["board", *words])


def test_the_command_shows_lists_and_checks(tmp_path):
    shown = run("show", "nesl-865b")
    assert shown.exit_code == 0 and "RS485_1 TX <-- | 7 " in shown.output and "0x300000" in shown.output
    assert json.loads(run("show", "nesl-865b", "--json").output)["partitions"][3]["name"] == "vfs"
    rows = [json.loads(line) for line in run("list", "--json").output.splitlines()]
    assert [row["name"] for row in rows] == boards.names()
    assert run("check").output == "7 of 7 boards are good\n"
    folder = tmp_path / "nesl-865b"
    folder.mkdir()
    (folder / "board.json").write_text(json.dumps(gpio(35)))
    bad = run("check", str(folder / "board.json"), "--json")
    assert bad.exit_code == 2
    assert json.loads(bad.output)["found"] == "GPIO35"
    (folder / "board.json").write_text("{")
    assert run("check", str(folder / "board.json")).exit_code == 2


def test_a_board_that_is_not_there_is_refused_with_those_that_are():
    done = run("show", "raspberry")
    assert done.exit_code == 2
    assert "raspberry: no such board; there are desktop, esp32-generic" in done.output


@pytest.mark.parametrize("command", ["list", "check", "show"])
def test_help_has_an_example(command):
    assert f"meshems board {command}" in run(command, "--help").output
