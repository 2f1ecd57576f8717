"""`meshems logs`: the records of a flash dump as CSV and as JSON lines."""

import ast
import csv
import io
import json
import random
import sys
import zipfile
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from click.testing import CliRunner
from pyarrow import parquet

from meshems import image, logs, paths
from meshems.boards import Partition
from meshems.cli import main
from test_journal import run
from test_journal_fixtures import DATA

MS = timedelta(milliseconds=10)
FIXTURE = DATA / "journal-0.1.0.zip"


@pytest.fixture
def board(tmp_path):
    """A state directory as `meshems run` keeps it: the image in flash/, the names above it."""
    with zipfile.ZipFile(FIXTURE) as packed:
        packed.extractall(tmp_path)
    (tmp_path / "flash").mkdir()
    (tmp_path / "journal.bin").rename(tmp_path / "flash" / "journal.bin")
    return tmp_path


def call(*arguments):
    return CliRunner().invoke(main, ["logs", *map(str, arguments)])


def test_json_lines_have_every_record_once_and_csv_every_register(board):
    image = board / "flash" / "journal.bin"
    stored = json.loads((board / "stored.json").read_text())
    result = call("--image", image, "--format", "jsonl")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line, parse_float=str, parse_int=str) for line in result.stdout.splitlines()]
    assert [int(line["ordinal"]) for line in lines] == list(range(stored["first"], stored["next"]))
    table = list(csv.DictReader(io.StringIO(call("--image", image).stdout)))
    assert list(table[0]) == list(logs.HEADS)
    flat = [
        tuple(line[name] or "" for name in ("ordinal", "ts", "meter", "kind"))
        + (one["obis"], one["value"], one["quality"])
        for line in lines
        for one in line.get("registers", [{"obis": "", "value": "", "quality": ""}])
    ]
    names = ("ordinal", "ts", "meter", "kind", "obis", "value", "quality")
    assert [tuple(row[name] for name in names) for row in table] == flat
    assert {line["meter"] for line in lines} == {None, "SN-1", "SN-2", "SN-3", "SN-4", "SN-5"}
    assert {"reading", "comms_lost", "clock_set"} == {line["kind"] for line in lines}


def test_the_summary_says_what_was_read_and_goes_to_standard_error(board):
    result = call("--image", board / "flash" / "journal.bin", "--output", board / "out.csv")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "1222 records, of the ordinals 1075 to 2296; 0 are damaged" in result.stderr
    assert (board / "out.csv").read_text().startswith("ordinal,ts,")


def test_a_large_counter_keeps_all_its_digits(board):
    table = csv.DictReader(io.StringIO(call("--image", board / "flash" / "journal.bin").stdout))
    values = [row["value"] for row in table]
    assert max(map(len, values)) == 13 and not any("E" in value.upper() for value in values)


def test_without_the_schemas_it_says_what_to_copy_and_ends_with_1(board):
    (board / "lone").mkdir()
    (board / "flash" / "journal.bin").rename(board / "lone" / "journal.bin")
    for file in board.glob("schema1.*"):
        file.unlink()
    result = call("--image", board / "lone" / "journal.bin")
    assert result.exit_code == 1
    assert "schema 1 is not there" in result.stderr and "--state" in result.stderr
    kept = {row["meter"] for row in csv.DictReader(io.StringIO(result.stdout))}
    assert "SN-2" in kept
    named = call("--image", board / "lone" / "journal.bin", "--state", board)
    assert named.exit_code == 1 and named.stdout == result.stdout


def test_names_that_are_not_there_are_slots(board):
    for file in board.glob("ids.*"):
        file.unlink()
    result = call("--image", board / "flash" / "journal.bin")
    meters = {row["meter"] for row in csv.DictReader(io.StringIO(result.stdout))}
    assert meters == {"", "slot 1", "slot 2", "slot 3", "slot 4", "slot 5"}


def test_a_damaged_dump_tells_the_rest_and_never_a_wrong_value(board):
    image = board / "flash" / "journal.bin"
    whole = set(call("--image", image).stdout.splitlines())
    data = image.read_bytes()
    for seed in range(20):
        random.seed(seed)
        rotten = bytearray(data)
        for _ in range(10):
            rotten[random.randrange(8 * 4096, len(data))] ^= 1 << random.randrange(8)
        image.write_bytes(rotten)
        result = call("--image", image)
        said = result.stdout.splitlines()
        assert result.exit_code in (0, 1) and 1 < len(said) <= len(whole)
        for line in said:
            # of an undated frame whose boot has lost its only dated one, the time is not known
            assert line in whole or ",,none,," in line, (seed, line)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (None, "No such file"),
        (b"", "0 bytes are not a journal partition"),
        (bytes(5000), "5000 bytes are not a journal partition"),
        (bytes(4096 * 8), "not a journal partition"),
        (b"\xff" * 4096 * 20, "no journal in it"),
        (random.Random(4).randbytes(4096 * 20), "no journal in it"),
    ],
)  # fmt: skip
def test_what_is_no_journal_is_refused_in_one_line(tmp_path, data, says):
    file = tmp_path / "dump.bin"
    if data is not None:
        file.write_bytes(data)
    result = call("--image", file)
    assert result.exit_code == 2 and result.stdout == ""
    assert says in result.stderr and len(result.stderr.splitlines()) == 1 and "Traceback" not in result.stderr


ARCHIVE = """
from gateway.ids import Ids
from mp_archive import COLUMNS, T0, Clock, Pole

ids = Ids()
assert ids.schema(COLUMNS) == 1 and [ids.slot("SN-%d" % i) for i in range(1, 13)] == list(range(1, 13))
pole = Pole()
pole.boot(Clock(T0))
pole.minutes(100)
with open("archive.bin", "wb") as file:
    file.write(pole.cold.image)
print(pole.ring.next)
"""


def test_the_image_of_an_archive_is_read_as_well(tmp_path):
    count = int(run(ARCHIVE, tmp_path)[-1])
    result = call("--image", tmp_path / "archive.bin", "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0 and len(lines) == count > 80
    readings = [line for line in lines if line["kind"] == "reading" and line["meter"] == "SN-1"]
    assert {int(line["ts"][14:16]) // 15 for line in readings} == {0, 1, 2, 3}
    assert all(len(line["registers"]) == 3 for line in readings)


def test_help_shows_an_example():
    result = call("--help")
    assert result.exit_code == 0 and "meshems logs --image board/flash/journal.bin" in result.stdout
    assert "logs" in CliRunner().invoke(main, ["--help"]).output


def test_the_codes_are_those_of_the_firmware():
    tree = ast.parse((paths.FIRMWARE / "gateway" / "events.py").read_text())
    found = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "CODES"
    }
    assert tuple(found["CODES"].split()) == logs.CODES


def test_parquet_has_the_lines_of_the_csv_with_decimals_and_instants(board):
    image, file = board / "flash" / "journal.bin", board / "out.parquet"
    result = call("--image", image, "--format", "parquet", "--output", file, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["records"], said["first"], said["next"], said["damaged"]) == (1222, 1075, 2297, 0)
    table = list(csv.DictReader(io.StringIO(call("--image", image).stdout)))
    rows = parquet.read_table(file).to_pylist()
    assert len(rows) == len(table) > 1222
    for row, line in zip(rows, table, strict=True):
        assert list(row) == list(line)
        assert (row["value"] is None) == (line["value"] == "")
        assert row["value"] is None or row["value"] == Decimal(line["value"])
        assert row["uptime"] == Decimal(line["uptime"]) and str(row["ordinal"]) == line["ordinal"]
        assert (row["ts"] is None) == (line["ts"] == "")
        assert row["ts"] is None or abs(row["ts"] - datetime.fromisoformat(line["ts"][:-1] + "0+00:00")) < MS


def test_the_whole_flash_of_a_dead_board_has_journal_and_names_in_it(board):
    journal = (board / "flash" / "journal.bin").read_bytes()
    names = {file.name: file.read_bytes() for pattern in ("ids.*", "schema*.*") for file in board.glob(pattern)}
    expected = call("--image", board / "flash" / "journal.bin", "--format", "jsonl").stdout
    at, size = 0x200000, 0x40000
    for vfs_row in (True, False):  # a table without `vfs`: the file system takes the rest
        rows = [Partition("factory", 0, 0, 0x10000, at - 0x10000), Partition("journal", 1, 6, at, len(journal))]
        rows += [Partition("vfs", 1, 0x83, at + len(journal), size)] if vfs_row else []
        flash = bytearray(b"\xff" * (at + len(journal) + size))
        flash[0x8000 : 0x8000 + 0xC00] = image.partition_table(rows)[:0xC00].ljust(0xC00, b"\xff")
        flash[at : at + len(journal)] = journal
        flash[at + len(journal) :] = image.filesystem(names, size)
        (board / "alone").mkdir(exist_ok=True)
        (board / "alone" / "flash.bin").write_bytes(flash)
        result = call("--image", board / "alone" / "flash.bin", "--state", board / "alone", "--format", "jsonl")
        assert result.exit_code == 0 and result.stdout == expected, result.stderr
    (board / "alone" / "flash.bin").write_bytes(flash[: at + 4096])
    cut = call("--image", board / "alone" / "flash.bin")
    assert cut.exit_code == 2 and "found a flash that ends in its journal, expected" in cut.stderr


def test_without_pyarrow_it_says_how_to_install_it(board, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = call("--image", board / "flash" / "journal.bin", "--format", "parquet", "--output", board / "out")
    assert result.exit_code == 2 and "pip install pyarrow==" in result.stderr


def test_what_cannot_be_is_told_before_anything_is_read(board):
    assert "give --port PORT for a board, or --image FILE" in call().stderr
    assert "give --output FILE" in call("--image", "x", "--format", "parquet").stderr
