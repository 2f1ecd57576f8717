"""`meshems catchup`: the binary catch-up as CSV and as JSON lines, from what was captured."""

import csv
import io
import json
import struct

import pytest
from click.testing import CliRunner

from meshems import catchup
from meshems.cli import main

ROOT = "openami/v1/feeder-01/pole-07"
EPOCH = 47
METERS = ["SN-1", "SN-2"]
COLUMNS = [["1.8.0", "kWh", -3], ["16.7.0", "W", -3], ["32.7.0", "V", -3]]
HEAD = "07 c0 c4 07 04 a0 81 de 8a 1d 28"  # the example of docs/records.md
RECORDS = (
    "00 11 01 9c f5 e0 01 98 a1 1c b8 f5 1b",
    "1e 23 01 05 c6 01 90 fa 1b",
    "ca 07 10 02 af 09 64",
    "00 29 00 10 0d 7b 22 6d 69 73 73 65 73 22 3a 20 33 7d",
    "02 28",
)


def frame(ordinal, records=RECORDS, flags=catchup.FRESH, head=HEAD, place=b""):
    payload = bytes.fromhex("".join((head, *records)))
    return struct.pack("<BIBH", flags, ordinal, len(records), len(payload)) + place + payload


def message(*frames):
    return struct.pack("<BH", 1, EPOCH) + b"".join(frames)


def names(root=ROOT):
    return [
        (f"{root}/catchup/meters", json.dumps(METERS).encode()),
        (f"{root}/catchup/schema/1", json.dumps(COLUMNS).encode()),
    ]


@pytest.fixture
def capture(tmp_path):
    """Return a function that writes a capture and returns its path."""

    def write(*messages, name="capture.txt"):
        file = tmp_path / name
        file.write_text("".join(f"{topic} {payload.hex()}\n" for topic, payload in messages))
        return file

    return write


def call(*arguments, **more):
    return CliRunner().invoke(main, ["catchup", *map(str, arguments)], **more)


def test_csv_has_a_line_for_each_register_and_one_for_anything_else(capture):
    result = call(capture(*names(), (f"{ROOT}/catchup", message(frame(100)))))
    assert result.exit_code == 0, result.output
    table = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(table[0]) == list(catchup.HEADS)
    seq = (EPOCH << 32) + 100
    told = [(int(row["seq"]) - seq, row["ts"], row["meter"], row["kind"], row["obis"], row["value"]) for row in table]
    assert told == [
        (0, "2026-06-22T14:30:00.00Z", "SN-1", "reading", "1.8.0", "1842.51"),
        (0, "2026-06-22T14:30:00.00Z", "SN-1", "reading", "16.7.0", "231.5"),
        (0, "2026-06-22T14:30:00.00Z", "SN-1", "reading", "32.7.0", "228.7"),
        (1, "2026-06-22T14:30:00.15Z", "SN-2", "reading", "1.8.0", "0.099"),
        (1, "2026-06-22T14:30:00.15Z", "SN-2", "reading", "32.7.0", "229"),
        (2, "2026-06-22T14:30:05.00Z", "SN-1", "reading", "1.8.0", "1842.511"),
        (2, "2026-06-22T14:30:05.00Z", "SN-1", "reading", "16.7.0", "230.9"),
        (2, "2026-06-22T14:30:05.00Z", "SN-1", "reading", "32.7.0", "228.75"),
        (3, "2026-06-22T14:30:05.00Z", "SN-2", "comms_lost", "", ""),
        (4, "2026-06-22T14:30:05.01Z", "SN-2", "comms_lost", "", ""),
    ]
    assert {(row["gateway"], row["tsSrc"], row["tsUncMs"]) for row in table} == {("pole-07", "ntp", "62")}
    assert (table[8]["severity"], table[8]["state"], table[8]["detail"]) == ("warn", "set", '{"misses": 3}')
    assert "5 records of pole-07; 0 came more than once" in result.stderr


def test_json_lines_have_one_for_each_record(capture, tmp_path):
    file = capture(*names(), (f"{ROOT}/catchup", message(frame(100))))
    lines = [json.loads(line, parse_float=str) for line in call("--json", file).stdout.splitlines()]
    assert [line["kind"] for line in lines] == ["reading", "reading", "reading", "comms_lost", "comms_lost"]
    assert lines[2]["registers"][2] == {"obis": "32.7.0", "value": "228.75", "unit": "V", "quality": "good"}
    assert lines[3]["detail"] == {"misses": 3} and "registers" not in lines[4]
    assert call("--format", "jsonl", "--output", tmp_path / "out", file).stdout == ""
    assert (tmp_path / "out").read_text() == call("--json", file).stdout


def test_the_names_may_come_last_and_each_gateway_has_its_own(capture):
    other = "openami/v1/feeder-01/pole-08"
    first = capture((f"{ROOT}/catchup", message(frame(1))), (f"{other}/catchup", message(frame(1, RECORDS[4:]))))
    last = capture(*names(), *names(other), name="names.txt")
    result = call("--json", first, last)
    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["gateway"] for line in told] == ["pole-07"] * 5 + ["pole-08"]


def test_what_came_twice_is_told_once(capture):
    twice = (f"{ROOT}/catchup", message(frame(100)))
    result = call("--json", capture(*names(), twice, twice))
    assert result.exit_code == 0 and len(result.stdout.splitlines()) == 5 and "5 came more than once" in result.stderr


def test_marks_make_their_columns_suspect_and_an_undated_boot_all(capture):
    marked = "00 15 01 0a 9c f5 e0 01 98 a1 1c b8 f5 1b"  # FLAGGED, of column 1
    place = struct.pack("<HIBI", 1782138600000 >> 32, 1782138600000 & 0xFFFFFFFF, 0, 5000)
    undated = frame(101, RECORDS[:1], catchup.FRESH | catchup.PLACED, "07 c0 c4 07 00", place)
    result = call("--json", capture(*names(), (f"{ROOT}/catchup", message(frame(100, [marked]), undated))))
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert [row["quality"] for row in first["registers"]] == ["good", "suspect", "good"]
    assert {row["quality"] for row in second["registers"]} == {"suspect"}
    assert (second["tsSrc"], second["tsUncMs"], second["ts"]) == ("none", 5022, "2026-06-22T14:50:34.56Z")


def test_what_leans_on_something_that_did_not_come_is_left_out_and_all_behind_it(capture):
    lone = frame(100, RECORDS[2:], 0)
    unknown = frame(200, ["00 11 09 02", RECORDS[1]])  # schema 9
    after = frame(300, [RECORDS[1].replace("23 01", "22")], 0)  # a difference to what was in the part left out
    whole = (f"{ROOT}/catchup", message(frame(1), lone, unknown, after))
    result = call("--json", capture(*names(), whole))
    assert result.exit_code == 1
    assert [json.loads(line)["seq"] & 0xFFFF for line in result.stdout.splitlines()] == [1, 2, 3, 4, 5, 100, 101, 102]
    assert "left out 3 records" in result.stderr and "retained messages" in result.stderr
    begins = call("--json", capture(*names(), (f"{ROOT}/catchup", message(lone))))
    assert (begins.exit_code, begins.stdout) == (1, "") and "left out 3 records" in begins.stderr


def test_a_damaged_message_is_named_and_the_others_are_told(capture):
    good = message(frame(100))
    six = good[:8] + b"\6" + good[9:]  # records, of which there are five
    for damaged in (good[:2], b"\2" + good[1:], good[:-3], good[:10], message(frame(100, flags=9)), six):
        topic = f"{ROOT}/catchup"
        result = call("--json", capture(*names(), (topic, damaged), (topic, message(frame(200)))))
        assert result.exit_code == 1 and "1 messages are not what" in result.stderr, damaged
        assert [json.loads(line)["seq"] & 255 for line in result.stdout.splitlines()][-5:] == list(range(200, 205))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("topic only\n", "capture.txt:1: no TOPIC HEX"),
        ("x/catchup zz\n", "capture.txt:1: no TOPIC HEX"),
        ("\n x/catchup 01\nabc\n", "capture.txt:3: no TOPIC HEX"),
        (b"\xff\xfe\x00", "no text: a capture has lines TOPIC HEX"),
    ],
)
def test_a_file_that_is_no_capture_is_refused_with_its_line(tmp_path, text, says):
    file = tmp_path / "capture.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = call(file)
    assert result.exit_code == 2 and says in result.stderr and "mosquitto_sub -F" in result.stderr


def test_wrong_usage_says_what_is_right(tmp_path):
    assert "--broker HOST" in call().stderr and call().exit_code == 2
    assert "No such file" in call(tmp_path / "none").stderr and call(tmp_path / "none").exit_code == 2
    assert "write HOST or HOST:PORT" in call("--broker", ":1").stderr
    nobody = call("--broker", "127.0.0.1:9", "--seconds", "1")
    assert nobody.exit_code == 2 and "127.0.0.1:9: Connection refused" in nobody.stderr


def test_the_standard_input_is_a_capture_too(capture):
    file = capture(*names(), (f"{ROOT}/catchup", message(frame(100))))
    assert call("-", "--json", input=file.read_text()).stdout == call("--json", file).stdout
