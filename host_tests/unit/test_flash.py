"""`meshems flash` with the real esptool against a boot loader that is as strict as the chip's, on a pseudo-terminal."""

import fcntl
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshems import flash, paths
from meshems.chip import ChipError

MB = 1 << 20
LOADER = Path(__file__).with_name("rom_loader.py")
NVS, JOURNAL = (0x9000, 0x6000), (0x300000, 0x80000)


def entry(kind, subtype, offset, size, name):
    return flash.ENTRY.pack(b"\xaa\x50", kind, subtype, offset, size, name.encode(), 0)


def table(vfs=0x200000, journal=JOURNAL):
    rows = [
        entry(1, 2, *NVS, "nvs"), entry(1, 1, 0xF000, 0x1000, "phy_init"), entry(0, 0, 0x10000, 0x1F0000, "factory"),
        entry(1, 0x81, vfs, 0x20000, "vfs"), entry(1, 0x06, *journal, "journal"),
    ]  # fmt: skip
    body = b"".join(rows)
    body += b"\xeb\xeb" + b"\xff" * 14 + hashlib.md5(body).digest()
    return body + b"\xff" * (0xC00 - len(body))


def image(folder, chip="esp32", flash_mb=4, psram="none", psram_size=0, board="esp32-generic"):
    """Make what `meshems build` makes, with random bytes for a program."""
    folder.mkdir(exist_ok=True)
    some = random.Random(1)
    contents = {
        "bootloader": (0x1000 if chip == "esp32" else 0, some.randbytes(20000)),
        "partition-table": (0x8000, table()),
        "factory": (0x10000, some.randbytes(150001) + bytes(50000)),
        "vfs": (0x200000, some.randbytes(0x1000) + b"\xff" * 0x1F000),
    }
    parts = [{"name": "nvs", "offset": NVS[0], "size": NVS[1], "keep": True, "file": None, "sha256": None},
             {"name": "journal", "offset": JOURNAL[0], "size": JOURNAL[1], "keep": True, "file": None, "sha256": None}]
    for name, (offset, data) in contents.items():
        (folder / f"{name}.bin").write_bytes(data)
        parts.append({"name": name, "offset": offset, "size": len(data), "keep": False, "file": f"{name}.bin",
                      "sha256": hashlib.sha256(data).hexdigest()})  # fmt: skip
    manifest = {
        "format": 1, "board": board, "chip": chip, "flash_size": flash_mb * MB, "psram": psram,
        "psram_size": psram_size, "firmware": "0.1.0", "micropython": {},
        "parts": sorted(parts, key=lambda part: part["offset"]),
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


class Board:
    """A boot loader with its flash file; `with` switches it on and off."""

    def __init__(self, folder, *options, content=None):
        self.port, self.file = folder / "board.tty", folder / "flash.bin"
        if content is not None:
            self.file.write_bytes(content)
        self._options = options

    def __enter__(self):
        self.port.unlink(missing_ok=True)
        self._process = subprocess.Popen([sys.executable, LOADER, self.port, self.file, *map(str, self._options)])
        until = time.monotonic() + 20
        while not self.port.exists():
            assert self._process.poll() is None and time.monotonic() < until
            time.sleep(0.02)
        return self

    def __exit__(self, *_):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    @property
    def flash(self):
        return self.file.read_bytes()


def run(*arguments, within_s=60):
    command = [sys.executable, "-m", "meshems.cli", "flash", *map(str, arguments)]
    environment = dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools"))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=within_s)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def put(board, folder, *more, name="esp32-generic"):
    return run("--port", board.port, "--board", name, "--image", folder, *more)


def used(mb=4):
    """Return a flash that was in use: random NVS and journal, old program, no file system."""
    some = random.Random(2)
    content = bytearray(b"\xff" * (mb * MB))
    for offset, size in (NVS, JOURNAL, (0x10000, 0x50000)):
        content[offset : offset + size] = some.randbytes(size)
    return bytes(content)


def holds(content, folder):
    """Assert that each part of the image stands where its manifest says."""
    for part in json.loads((folder / "manifest.json").read_text())["parts"]:
        if part["file"]:
            data = (folder / part["file"]).read_bytes()
            assert content[part["offset"] : part["offset"] + len(data)] == data, part["name"]


def region(content, place):
    return content[place[0] : place[0] + place[1]]


def test_a_board_is_flashed_and_its_nvs_and_journal_stay(tmp_path):
    folder, before = image(tmp_path / "image"), used()
    with Board(tmp_path, "--chip", "esp32", content=before) as board:
        done = put(board, folder)
        assert done.returncode == 0, done.stdout + done.stderr
    holds(board.flash, folder)
    for place in (NVS, JOURNAL):
        assert region(board.flash, place) == region(before, place)
    assert board.flash[0x10000 + 0x40000 : 0x60000] == before[0x10000 + 0x40000 : 0x60000], "nothing beyond the program"
    assert flash.table_of(region(board.flash, (0x8000, 0xC00)))["journal"] == JOURNAL
    assert "ESP32, 4 MB of flash" in done.stdout and "factory: 195 KB at 0x10000, verified" in done.stdout
    assert "kept: nvs, journal" in done.stdout


def test_what_was_written_is_told_to_scripts_as_one_object(tmp_path):
    folder = image(tmp_path / "image")
    with Board(tmp_path, "--chip", "esp32") as board:
        done = put(board, folder, "--json")
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"] and told["chip"] == "ESP32" and told["flash"] == 4 * MB
    parts = json.loads((folder / "manifest.json").read_text())["parts"]
    assert told["written"] == [
        {key: part[key] for key in ("name", "offset", "size", "sha256")} for part in parts if part["file"]
    ]  # fmt: skip
    assert told["kept"] == ["nvs", "journal"] and told["erased"] == told["carried"] == []
    assert re.fullmatch("(..:){5}..", told["mac"])


@pytest.mark.parametrize(("what", "gone", "stays"), [("nvs", NVS, JOURNAL), ("journal", JOURNAL, NVS)])
def test_what_is_asked_for_is_erased_and_nothing_else(tmp_path, what, gone, stays):
    folder, before = image(tmp_path / "image"), used()
    with Board(tmp_path, "--chip", "esp32", content=before) as board:
        done = put(board, folder, "--erase", what)
        assert done.returncode == 0, done.stdout + done.stderr
    assert set(region(board.flash, gone)) == {0xFF} and region(board.flash, stays) == region(before, stays)
    holds(board.flash, folder)


@pytest.mark.parametrize(
    ("chip", "options", "wanted", "words"),
    [
        ("esp32s3", ["--flash", 16, "--psram", 8], {"chip": "esp32", "flash_mb": 4},
         "found an ESP32-S3, expected an ESP32 for board x"),
        ("esp32", [], {"chip": "esp32s3", "flash_mb": 16}, "found an ESP32, expected an ESP32-S3 for board x"),
        ("esp32", ["--flash", 4], {"chip": "esp32", "flash_mb": 8},
         "found 4 MB of flash, expected at least 8 MB for board x"),
        ("esp32s3", ["--flash", 8], {"chip": "esp32s3", "flash_mb": 16},
         "found 8 MB of flash, expected at least 16 MB for board x"),
        ("esp32s3", ["--flash", 16], {"chip": "esp32s3", "flash_mb": 16, "psram": "octal", "psram_size": 8 * MB},
         "found 0 MB of PSRAM, expected 8 MB for board x"),
        ("esp32s3", ["--flash", 16, "--psram", 2], {"chip": "esp32s3", "flash_mb": 16, "psram": "octal",
         "psram_size": 2 * MB}, "found quad PSRAM, expected octal for board x"),
        ("esp32s3", ["--flash", 16, "--psram", 16], {"chip": "esp32s3", "flash_mb": 16, "psram": "quad",
         "psram_size": 2 * MB}, "found octal PSRAM, expected quad for board x"),
    ],
)  # fmt: skip
def test_another_chip_than_the_board_has_is_refused_before_anything_is_written(tmp_path, chip, options, wanted, words):
    folder = image(tmp_path / "image", board="x", **wanted)
    with Board(tmp_path, "--chip", chip, *options) as board:
        done = put(board, folder, "--json", name="x")
    told = json.loads(done.stdout)
    assert done.returncode == 2 and not told["ok"] and not told["began"] and told["do"]
    assert f"found {told['found']}, expected {told['expected']}" == words
    assert set(board.flash) == {0xFF}


def test_a_bigger_flash_and_more_psram_than_needed_will_do(tmp_path):
    folder = image(tmp_path / "image", chip="esp32s3", flash_mb=4, psram="octal", psram_size=8 * MB)
    with Board(tmp_path, "--chip", "esp32s3", "--flash", 16, "--psram", 16) as board:
        done = put(board, folder)
        assert done.returncode == 0, done.stderr
    holds(board.flash, folder)
    assert "ESP32-S3, 16 MB of flash, 16 MB of PSRAM" in done.stdout


@pytest.mark.parametrize("cut", [4096, 120000])
def test_a_cable_pulled_in_the_middle_is_told_and_the_second_run_ends_well(tmp_path, cut):
    folder, before = image(tmp_path / "image"), used()
    with Board(tmp_path, "--chip", "esp32", "--cut", cut, content=before) as board:
        done = put(board, folder)
        assert done.returncode == 1, done.stdout
        assert "found a line that went dead, expected the chip until the end; plug it in and run" in done.stderr
    assert board.flash != before, "something was written"
    for place in (NVS, JOURNAL):
        assert region(board.flash, place) == region(before, place)
    with Board(tmp_path, "--chip", "esp32") as board:
        assert put(board, folder).returncode == 0
    holds(board.flash, folder)
    assert region(board.flash, JOURNAL) == region(before, JOURNAL)


def test_a_flash_that_does_not_take_a_bit_is_found_by_the_verification(tmp_path):
    folder = image(tmp_path / "image")
    data = (folder / "factory.bin").read_bytes()
    odd = next(i for i, byte in enumerate(data) if byte & 1)
    with Board(tmp_path, "--chip", "esp32", "--stuck", 0x10000 + odd) as board:
        done = put(board, folder)
    assert done.returncode == 1 and "found other bytes in the flash than were sent" in done.stderr, done.stderr


def test_a_port_where_nobody_answers_is_told_with_what_to_press(tmp_path):
    folder = image(tmp_path / "image")
    with Board(tmp_path, "--deaf") as board:
        done = put(board, folder)
    assert done.returncode == 2 and "found no chip that answers" in done.stderr and "BOOT" in done.stderr, done.stderr


def test_a_port_that_is_missing_busy_or_not_allowed_is_told(tmp_path):
    folder = image(tmp_path / "image")
    done = run("--port", tmp_path / "none", "--board", "esp32-generic", "--image", folder)
    assert done.returncode == 2
    assert "found no such serial port, expected the serial port of a board; plug it in" in done.stderr
    (tmp_path / "file").write_text("")
    done = run("--port", tmp_path / "file", "--board", "esp32-generic", "--image", folder, "--json")
    assert done.returncode == 2 and json.loads(done.stdout)["found"] == "is no serial port"
    with Board(tmp_path, "--chip", "esp32") as board:
        other = os.open(board.port, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX)
        done = put(board, folder)
        os.close(other)
    assert done.returncode == 2 and "found a port that another program has open, expected a free one" in done.stderr


def test_a_port_that_one_may_not_open_is_told(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from meshems import device
    from meshems.cli import main

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(device.os, "open", denied)  # root may open all
    folder = image(tmp_path / "image")
    port = tmp_path / "port"
    port.write_text("")
    done = CliRunner().invoke(main, ["flash", "--port", str(port), "--board", "esp32-generic", "--image", str(folder)])
    assert done.exit_code == 2 and "found not allowed, expected" in done.output and "become a member" in done.output


def broken(folder, change):
    """Change the manifest in `folder`."""
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "found no such file or directory"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "found broken JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "found no good"),
        (lambda folder: (folder / "factory.bin").unlink(), "factory.bin: found no such file or directory"),
        (lambda folder: (folder / "factory.bin").write_bytes(b"x"), "found 1 bytes, not those that were built"),
        (lambda folder: (folder / "vfs.bin").write_bytes(bytes(0x20000)), "found 131072 bytes, not those"),
        (lambda folder: broken(folder, lambda m: m.update(board="nesl-865b")),
         "found an image for nesl-865b, expected one for esp32-generic"),
        (lambda folder: broken(folder, lambda m: m.update(chip="desktop")), "found an image for desktop"),
        (lambda folder: broken(folder, lambda m: m.update(format=2)), "found format 2, expected format 1"),
        (lambda folder: broken(folder, lambda m: m.pop("flash_size")), "found no good 'flash_size'"),
        (lambda folder: broken(folder, lambda m: m.update(flash_size=2 * MB)), "found vfs at 0x200000"),
        (lambda folder: broken(folder, lambda m: m["parts"][1].update(offset=0x1000)), "found "),
    ],
)  # fmt: skip
def test_an_image_that_is_not_whole_is_refused_before_the_port_is_opened(tmp_path, spoil, words):
    folder = image(tmp_path / "image")
    spoil(folder)
    with pytest.raises(ChipError) as caught:
        flash.load(folder, "esp32-generic")
    assert words in str(caught.value) and not caught.value.began and caught.value.todo
    done = run("--port", tmp_path / "none", "--board", "esp32-generic", "--image", folder)
    assert done.returncode == 2 and words in done.stderr


def test_a_journal_that_would_move_is_not_lost_unasked(tmp_path):
    before = bytearray(used())
    before[0x8000:0x8C00] = table(journal=(0x300000, 0x40000))
    folder = image(tmp_path / "image")
    with Board(tmp_path, "--chip", "esp32", content=bytes(before)) as board:
        done = put(board, folder)
        assert done.returncode == 2 and board.flash == bytes(before)
        assert "found journal of 262144 bytes at 0x300000, expected 524288 bytes at 0x300000" in done.stderr
        assert "`meshems logs`, then --erase journal" in done.stderr
        assert put(board, folder, "--erase", "journal").returncode == 0
    assert set(region(board.flash, JOURNAL)) == {0xFF} and region(board.flash, NVS) == region(bytes(before), NVS)


def test_the_help_has_an_example():
    assert "  meshems flash --port /dev/ttyUSB0 --board nesl-865b\n" in run("--help").stdout
