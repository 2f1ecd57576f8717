"""`meshems flash`: what `meshems build` made goes onto a board, and what the board has of its own stays there."""

import contextlib
import hashlib
import json
import os
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from meshems import device, paths
from meshems.chip import Chip, ChipError, Found

FAILED, REFUSED = 1, 2  # exit status: something may be written; nothing was
FORMAT = 1
TABLE, TABLE_SIZE = 0x8000, 0xC00
ENTRY = struct.Struct("<2sBBII16sI")  # magic, type, subtype, offset, size, label, flags
ERASABLE = {"nvs": ("nvs",), "journal": ("journal", "archive"), "vfs": ("vfs",)}
KINDS = {"esp32": "ESP32", "esp32s3": "ESP32-S3"}
OCTAL = 8 << 20  # PSRAM in the package of an ESP32-S3 from this size on is octal
SECTOR = 4096
BAUD = 460800


@dataclass(frozen=True)
class Part:
    """A region of the flash. Without a file it is the board's own: left alone, or erased when that is asked for."""

    name: str
    offset: int
    size: int
    file: Path | None


@dataclass(frozen=True)
class Image:
    """What `meshems build` made for a board."""

    folder: Path
    board: str
    chip: str
    flash: int
    psram: int
    octal: bool
    parts: list[Part]


@dataclass
class Report:
    """What was done, for whoever reads it and for scripts."""

    port: str
    board: str
    chip: str = ""
    mac: str = ""
    flash: int = 0
    psram: int = 0
    written: list[dict[str, Any]] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    erased: list[str] = field(default_factory=list)
    carried: list[str] = field(default_factory=list)
    seconds: float = 0.0


def load(folder: Path, board: str) -> Image:
    """Return the image in `folder`, every file of it checked; ChipError when it is not one for `board`."""
    manifest = folder / "manifest.json"
    again = f"`meshems build --board {board}` makes it"
    try:
        told = json.loads(manifest.read_bytes())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ChipError(str(manifest), reason, "what `meshems build` makes", again) from None
    except ValueError:
        raise ChipError(str(manifest), "broken JSON", "what `meshems build` makes", again) from None
    try:
        if told["format"] != FORMAT:
            raise ChipError(str(manifest), f"format {told['format']}", f"format {FORMAT}", again)
        if told["board"] != board:
            raise ChipError(str(folder), f"an image for {told['board']}", f"one for {board}",
                            f"name the other folder with --image, or use --board {told['board']}")  # fmt: skip
        if told["chip"] not in KINDS:
            raise ChipError(str(folder), f"an image for {told['chip']}", f"one for {' or '.join(KINDS.values())}",
                            "this board is not flashed: `meshems run` is its power switch")  # fmt: skip
        psram = told["psram"]
        parts = [_part(folder, row, again) for row in told["parts"]]
        image = Image(folder, board, told["chip"], told["flash_size"], 0 if psram == "none" else told["psram_size"],
                      psram == "octal", sorted(parts, key=lambda part: part.offset))  # fmt: skip
    except (KeyError, TypeError, AttributeError) as error:
        raise ChipError(str(manifest), f"no good {error}", "what `meshems build` makes", again) from None
    end = 0
    for part in image.parts:
        if part.offset < end or part.offset + part.size > image.flash or part.offset % SECTOR:
            where = f"{part.name} at {part.offset:#x}, {part.size} bytes"
            raise ChipError(str(manifest), where, f"a sector from {end:#x} on, within {image.flash:#x}", again)
        end = part.offset + part.size
    return image


def _part(folder: Path, row: dict[str, Any], again: str) -> Part:
    if row["file"] is None:
        return Part(row["name"], row["offset"], row["size"], None)
    file = folder / Path(row["file"]).name
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ChipError(str(file), (error.strerror or str(error)).lower(), "a part of the image", again) from None
    if len(data) != row["size"] or hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ChipError(str(file), f"{len(data)} bytes, not those that were built", f"{row['size']} bytes with the "
                        "SHA-256 that its manifest names", again)  # fmt: skip
    return Part(row["name"], row["offset"], len(data), file)


def table_of(data: bytes) -> dict[str, tuple[int, int]]:
    """Return (offset, size) of each partition in a partition table, {} where there is none."""
    found: dict[str, tuple[int, int]] = {}
    for at in range(0, len(data) - ENTRY.size + 1, ENTRY.size):
        magic, _, _, offset, size, label, _ = ENTRY.unpack_from(data, at)
        if magic != b"\xaa\x50":
            break
        found[label.split(b"\0")[0].decode("ascii", "replace")] = (offset, size)
    return found


def fits(found: Found, image: Image, port: str) -> None:
    """Raise ChipError when the chip is not one that the image is for."""
    board = image.board
    if found.kind != image.chip:
        raise ChipError(port, f"an {found.name}", f"an {KINDS[image.chip]} for board {board}",
                        "look at what is plugged in, and at --board")  # fmt: skip
    if found.flash < image.flash:
        raise ChipError(port, f"{found.flash >> 20} MB of flash", f"at least {image.flash >> 20} MB for board {board}",
                        "take the module that the board's README names, or a board with less flash")  # fmt: skip
    if not image.psram or image.chip == "esp32":  # an ESP32 has its PSRAM beside the chip, where nobody can see it
        return
    if found.psram < image.psram:
        raise ChipError(port, f"{found.psram >> 20} MB of PSRAM", f"{image.psram >> 20} MB for board {board}",
                        "take the module that the board's README names; without PSRAM this does not start")  # fmt: skip
    if (found.psram >= OCTAL) != image.octal:
        kinds = ("quad", "octal")
        raise ChipError(port, f"{kinds[found.psram >= OCTAL]} PSRAM", f"{kinds[image.octal]} for board {board}",
                        "build with the variant of MicroPython that the module needs")  # fmt: skip


def unmoved(old: dict[str, tuple[int, int]], image: Image, erase: Sequence[str], port: str) -> None:
    """Raise ChipError when what the board has of its own would be written over, or no longer be found."""
    new = {part.name: (part.offset, part.size) for part in image.parts if part.file is None}
    for what, names in ERASABLE.items():
        for name in names if what not in erase and what != "vfs" else ():
            if name in old and old[name] != new.get(name):
                place = f"{new[name][1]} bytes at {new[name][0]:#x}" if name in new else "none"
                todo = f"what it holds would be lost: fetch it with `meshems logs`, then --erase {what}"
                found = f"{name} of {old[name][1]} bytes at {old[name][0]:#x}"
                raise ChipError(port, found, f"{place} in this image", todo)


def put(
    chip: Chip, image: Image, erase: Sequence[str], say: Callable[[str], None], bar: Callable[[int, int], None]
) -> Report:
    """Put `image` onto the chip and return what was done; ChipError when something is not as it has to be.

    Of the regions without a file those that `erase` names are erased, the others left alone. The board's own files in
    the file system (its configuration, its meters' numbers) are read first, and written back with the new program.
    """
    began = time.monotonic()
    found = chip.look()
    fits(found, image, chip.port)
    say(f"{chip.port}: {found.name}, {found.flash >> 20} MB of flash, {found.psram >> 20} MB of PSRAM, {found.mac}")
    report = Report(chip.port, image.board, found.name, found.mac, found.flash, found.psram)
    old = table_of(chip.read(TABLE, TABLE_SIZE))
    unmoved(old, image, erase, chip.port)
    rescue = image.folder / f"kept-{found.mac.replace(':', '')}.bin"
    with tempfile.TemporaryDirectory(prefix="meshems-") as folder:
        files = {part.name: part.file for part in image.parts if part.file}
        own = None if "vfs" in erase else _own(chip, old, rescue, say)
        if own is not None and "vfs" in files:
            report.carried, merged = _carried(chip.port, own, files["vfs"].read_bytes())
            files["vfs"] = Path(folder) / "vfs.bin"
            files["vfs"].write_bytes(merged)
            _keep(rescue, own)
        for part in image.parts:
            if part.file is None and any(part.name in ERASABLE[what] for what in erase):
                say(f"{part.name}: erasing {part.size >> 10} KB")
                chip.erase(part.offset, part.size)
                report.erased.append(part.name)
            elif part.file is None:
                report.kept.append(part.name)
        parts = [(part.offset, files[part.name]) for part in image.parts if part.file]
        total = sum(file.stat().st_size for _, file in parts)
        chip.write(parts, lambda done: bar(done, total))
        bar(total, total)
        for offset, file in parts:
            name = next(part.name for part in image.parts if part.offset == offset)
            data = file.read_bytes()
            told = {"name": name, "offset": offset, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            report.written.append(told)
    rescue.unlink(missing_ok=True)
    report.seconds = round(time.monotonic() - began, 1)
    return report


def _own(chip: Chip, old: dict[str, tuple[int, int]], rescue: Path, say: Callable[[str], None]) -> bytes | None:
    """Return the file system that the board has, None when it has none.

    Where an earlier run was broken off, what is on the board is half of one and half of another: then it is the one
    that was put aside.
    """
    if rescue.exists():
        say(f"{rescue}: what the board had before a flash that was broken off; it is put back")
        return rescue.read_bytes()
    if "vfs" not in old:
        return None
    data = chip.read(*old["vfs"])
    return data if data.strip(b"\xff") else None


def _carried(port: str, own: bytes, new: bytes) -> tuple[list[str], bytes]:
    """Return the names of the board's own files, and the new file system with them."""
    from meshems.image import ImageError, carry_over, contents

    try:
        merged = carry_over(own, new)
    except ImageError as error:
        todo = "its configuration would be lost: run it again with --erase vfs if you can do without"
        found = f"a file system that cannot be read: {error}"
        raise ChipError(port, found, "that of a gateway, or an empty one", todo) from None
    return sorted(set(contents(merged)) - set(contents(new))), merged


def _keep(rescue: Path, data: bytes) -> None:
    """Put the board's file system aside, whole or not at all. It has the passwords: nobody else may read it."""
    draft = rescue.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(rescue)


@contextlib.contextmanager
def _bar(show: bool) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how far it is, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("writing"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not show, transient=True) as bar:
        task = bar.add_task("writing", total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total, visible=True)


@click.command("flash")
@click.option("--port", required=True, metavar="PORT", help="Where the board is plugged in.")
@click.option("--board", required=True, metavar="NAME", help="Which one it is: a folder of boards/.")
@click.option("--image", "folder", type=click.Path(path_type=Path), metavar="DIR",
              help="What `meshems build` made; else build/NAME.")  # fmt: skip
@click.option("--erase", multiple=True, type=click.Choice(list(ERASABLE)),
              help="Give up what the board has: nvs, its counters; journal, its records; vfs, its configuration. "
              "May be given again.")  # fmt: skip
@click.option("--baud", default=BAUD, show_default=True, type=click.IntRange(9600, 3000000),
              help="Less on a bad cable.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
def flash(port: str, board: str, folder: Path | None, erase: Sequence[str], baud: int, as_json: bool) -> None:
    """Write the firmware onto a board, and leave there what it has stored.

    \b
    meshems build --board nesl-865b
    meshems flash --port /dev/ttyUSB0 --board nesl-865b
    meshems flash --port /dev/ttyACM0 --board meshems-a0 --image ./image --erase journal

    Chip, flash and PSRAM are looked at before anything is written. Journal, NVS and the gateway's own files (its
    configuration, the numbers of its meters) stay. Each part is verified by the chip. Broken off, it is run again.

    Exit status: 0 done, 1 failed while something may have been written, 2 refused before that.
    """
    say: Callable[[str], None] = (lambda text: None) if as_json else click.echo
    try:
        image = load(folder or paths.ROOT / "build" / board, board)
        wrong = device.trouble(port)
        if wrong:
            raise ChipError(port, wrong[0], "the serial port of a board", wrong[1])
        with _bar(sys.stderr.isatty() and not as_json) as bar:
            report = put(Chip(port, baud), image, sorted(set(erase)), say, bar)
    except ChipError as error:
        _failed(error, as_json)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        todo = "look at the rights and the room of its folder"
        _failed(ChipError(str(error.filename or image.folder), reason, "a file that can be used", todo), as_json)
    if as_json:
        click.echo(json.dumps({"ok": True, **asdict(report)}))
        return
    for row in report.written:
        say(f"{row['name']}: {row['size'] >> 10} KB at {row['offset']:#x}, verified")
    say(f"kept: {', '.join([*report.kept, *report.carried]) or 'nothing'}")
    if "gateway.json" not in report.carried:
        say(f"it has no configuration yet: `meshems provision --port {port} --site site.toml --gateway NAME`")


def _failed(error: ChipError, as_json: bool) -> None:
    from meshems.cli import fail

    status = FAILED if error.began else REFUSED
    if as_json:
        told = {"ok": False, "what": error.what, "found": error.found, "expected": error.expected, "do": error.todo}
        click.echo(json.dumps({**told, "began": error.began}))
        sys.exit(status)
    fail(str(error), status)
