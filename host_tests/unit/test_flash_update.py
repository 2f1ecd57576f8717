"""`meshems flash` with what `meshems build` really makes: an update keeps the configuration and the meters' numbers."""

import hashlib
import json
import random
import shutil

import pytest
from click.testing import CliRunner
from esp_idf_defs import PartitionTable
from esptool.bin_image import LoadFirmwareImage

import esp_images
from meshems import boards, cli, flash, image
from meshems.chip import Chip
from meshems.flash import load, table_of
from test_flash import Board, put, region

OWN = {
    "gateway.json": b'{"feederId": "feeder-01"}',
    "secrets.json": b'{"uplinks": {"operator": {"username": "pole-07", "password": "hush hush"}}}',
    "operator.der": b"\x30\x82",
    "ids.0": b"numbers of the meters",
    "ids.1": b"numbers of the meters!",
    "config.0": b"the last good one",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """{board: the folder that `meshems build` made}"""
    made = {}
    for name in ("esp32-generic", "nesl-865b"):
        folder = tmp_path_factory.mktemp(name)
        data = esp_images.stand_in(boards.read(name)["chip"])
        (folder / "base.bin").write_bytes(data)
        words = ["--board", name, "--base", folder / "base.bin", "--sha256", hashlib.sha256(data).hexdigest()]
        done = CliRunner().invoke(cli.main, ["build", *map(str, words), "--out", str(folder / "image")])
        assert done.exit_code == 0, done.output
        made[name] = folder / "image"
    return made


def places(folder):
    return {
        part["name"]: (part["offset"], part.get("room", part["size"]))
        for part in json.loads((folder / "manifest.json").read_text())["parts"]
    }  # fmt: skip


def in_use(folder, flash_mb=4):
    """Return the flash of a board that runs an older firmware, with a configuration and a journal."""
    content, some = bytearray(b"\xff" * (flash_mb << 20)), random.Random(3)
    for part in json.loads((folder / "manifest.json").read_text())["parts"]:
        data = (folder / part["file"]).read_bytes() if part["file"] else some.randbytes(part["size"])
        content[part["offset"] : part["offset"] + len(data)] = data
    at = places(folder)["vfs"]
    older = {"gone.mpy": b"a module that is no more", "main.py": b"old"}
    old = {**image.contents(region(content, at)), **OWN, **older}
    content[at[0] : at[0] + at[1]] = image.filesystem(old, at[1])
    return bytes(content)


def holds(content, folder, own):
    """Assert that the flash has the new firmware, the board's own files and the table."""
    where = places(folder)
    new = image.contents((folder / "vfs.bin").read_bytes())
    assert image.contents(region(content, where["vfs"])) == {**new, **own}
    for part in json.loads((folder / "manifest.json").read_text())["parts"]:
        if part["file"] and part["name"] != "vfs":
            data = (folder / part["file"]).read_bytes()
            assert content[part["offset"] : part["offset"] + len(data)] == data, part["name"]
    table = PartitionTable.from_binary(region(content, (0x8000, 0xC00)))  # ESP-IDF's own reader, with its MD5
    table.verify()
    rows = {row.name: (row.offset, row.size) for row in table}
    assert rows == table_of(region(content, (0x8000, 0xC00))) and rows.items() <= where.items()


@pytest.mark.parametrize(
    ("name", "options"), [("esp32-generic", []), ("nesl-865b", ["--chip", "esp32s3", "--flash", 16, "--psram", 8])]
)
def test_a_blank_board_is_flashed_with_what_build_made(tmp_path, built, name, options):
    with Board(tmp_path, *(options or ["--chip", "esp32"])) as board:
        done = put(board, built[name], name=name)
        assert done.returncode == 0, done.stdout + done.stderr
    holds(board.flash, built[name], {})
    for part in ("bootloader", "factory"):
        (tmp_path / part).write_bytes(region(board.flash, places(built[name])[part]))
        found = LoadFirmwareImage(boards.read(name)["chip"], str(tmp_path / part))
        assert found.checksum == found.calculate_checksum() and found.stored_digest == found.calc_digest
    assert "it has no configuration yet: `meshems provision" in done.stdout


def test_an_update_keeps_configuration_numbers_and_journal(tmp_path, built):
    folder = built["esp32-generic"]
    before = in_use(folder)
    with Board(tmp_path, "--chip", "esp32", content=before) as board:
        done = put(board, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    holds(board.flash, folder, OWN)
    for name in ("nvs", "journal"):
        assert region(board.flash, places(folder)[name]) == region(before, places(folder)[name])
    assert "gateway.json" in done.stdout and "hush" not in done.stdout + done.stderr
    assert not list(folder.glob("kept-*")), "what was put aside is gone when all is well"


def test_what_a_broken_run_left_half_written_the_next_one_puts_right(tmp_path, built):
    folder = tmp_path / "image"
    shutil.copytree(built["esp32-generic"], folder)
    before = in_use(folder)
    where = places(folder)["vfs"]
    sofar = sum(part["size"] for part in json.loads((folder / "manifest.json").read_text())["parts"]
                if part["file"] and part["offset"] < where[0])  # fmt: skip
    with Board(tmp_path, "--chip", "esp32", "--cut", sofar + 20000, content=before) as board:
        done = put(board, folder)
        assert done.returncode == 1 and "a line that went dead" in done.stderr, done.stderr
    assert region(board.flash, where) != region(before, where)
    (aside,) = folder.glob("kept-*.bin")
    assert aside.stat().st_mode & 0o777 == 0o600 and aside.read_bytes() == region(before, where)
    with Board(tmp_path, "--chip", "esp32") as board:
        done = put(board, folder)
        assert done.returncode == 0 and "broken off; it is put back" in done.stdout, done.stdout + done.stderr
    holds(board.flash, folder, OWN)
    assert region(board.flash, places(folder)["journal"]) == region(before, places(folder)["journal"])
    assert not aside.exists()


def test_a_file_system_that_cannot_be_read_is_not_written_over_unasked(tmp_path, built):
    folder = built["esp32-generic"]
    before = bytearray(in_use(folder))
    at = places(folder)["vfs"]
    before[at[0] : at[0] + at[1]] = random.Random(4).randbytes(at[1])
    with Board(tmp_path, "--chip", "esp32", content=bytes(before)) as board:
        done = put(board, folder)
        assert done.returncode == 2 and board.flash == bytes(before)
        assert "found a file system that cannot be read" in done.stderr and "--erase vfs" in done.stderr
        assert put(board, folder, "--erase", "vfs").returncode == 0
    holds(board.flash, folder, {})


def test_a_board_is_begun_anew_when_that_is_asked_for(tmp_path, built):
    folder = built["esp32-generic"]
    with Board(tmp_path, "--chip", "esp32", content=in_use(folder)) as board:
        done = put(board, folder, "--erase", "vfs", "--erase", "nvs", "--erase", "journal", "--json")
        told = json.loads(done.stdout)
    assert done.returncode == 0 and told["carried"] == [] and set(told["erased"]) >= {"nvs", "journal"}
    holds(board.flash, folder, {})
    for name in told["erased"]:
        assert set(region(board.flash, places(folder)[name])) == {0xFF}


def test_nothing_is_written_where_the_boards_own_files_cannot_be_put_aside(tmp_path, built, monkeypatch):
    folder, before = built["esp32-generic"], in_use(built["esp32-generic"])

    def full(*_):
        raise OSError(28, "No space left on device", "kept")

    monkeypatch.setattr(flash, "_keep", full)
    with Board(tmp_path, "--chip", "esp32", content=before) as board:
        words = ["flash", "--port", str(board.port), "--board", "esp32-generic", "--image", str(folder)]
        done = CliRunner().invoke(cli.main, words)
    assert done.exit_code == 2 and "kept: found no space left on device, expected" in done.output, done.output
    assert board.flash == before


def test_the_bar_goes_up_to_the_last_byte(tmp_path, built):
    folder, told, said = built["esp32-generic"], [], []
    with Board(tmp_path, "--chip", "esp32") as board:
        report = flash.put(
            Chip(str(board.port), flash.BAUD), load(folder, "esp32-generic"), [], said.append,
            lambda *far: told.append(far),
        )  # fmt: skip
    total = sum(row["size"] for row in report.written)
    assert told == sorted(told) and len(told) > 5 and told[-1] == (total, total)
    assert {whole for _, whole in told} == {total} and len(said) == 1


def test_the_image_of_each_board_is_one_that_flash_takes(built):
    for name, folder in built.items():
        assert load(folder, name).chip == boards.read(name)["chip"]
