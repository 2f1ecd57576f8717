"""`meshems build`: everything that goes into the flash of a board, as files, with a plan of where each of them goes.

    built = make(boards.load("nesl-865b"), base=base_image(...), profiles=None)
    built.write(Path("build/nesl-865b"))        # bootloader.bin, partition-table.bin, ..., manifest.json

The same sources give the same bytes. MicroPython itself is not compiled here: micropython.json names the official
images by their SHA-256, and what `meshems build` takes from them is the bootloader and the program.
"""

import ast
import functools
import hashlib
import json
import os
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from meshems import boards, paths, ship

FORMAT = 1  # of manifest.json
SITE = "https://micropython.org/resources/firmware/"
KNOWN = Path(__file__).with_name("micropython.json")
DEFAULT = "1.29.0"
SCRIPTS = ("boot.py", "main.py")  # MicroPython runs these two as text only
PACKED = "profiles.jsonl"  # as gateway/data looks for it
TIMEOUT_S = 30
ROOM = 96 << 10  # bytes of vfs that a gateway needs for what it keeps there
BAD = 2  # exit status

Problem = tuple[str, str, str]  # path, found, allowed


class BuildError(Exception):
    """Why there is no image: what was found, what is expected, what to do."""


@dataclass(frozen=True)
class Base:
    """An image of MicroPython, and where it is from."""

    data: bytes
    version: str
    variant: str
    file: str

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the image, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Built:
    """What was built: the files by name, the plan that says where they go, and what is to be said of it."""

    files: dict[str, bytes]
    manifest: dict[str, Any]
    used: int = 0  # bytes of the file system
    count: int = 0  # files in it

    def write(self, folder: Path) -> None:
        """Write everything, the manifest last; OSError when that fails."""
        for name, data in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(self.manifest, indent=1) + "\n")


def variant(board: boards.Board) -> str:
    """Return which build of MicroPython a board needs."""
    name = {"esp32": "ESP32_GENERIC", "esp32s3": "ESP32_GENERIC_S3"}[board["chip"]]
    psram = {("esp32", "quad"): "-SPIRAM", ("esp32s3", "octal"): "-SPIRAM_OCT"}  # that of an S3 finds quad PSRAM itself
    return name + psram.get((board["chip"], board["psram"]), "")


def known(board: boards.Board, version: str) -> dict[str, Any]:
    """Return the row of micropython.json for a board; BuildError when there is none."""
    rows: list[dict[str, Any]] = json.loads(KNOWN.read_text())
    for row in rows:
        if (row["version"], row["variant"]) == (version, variant(board)):
            return row
    there = sorted(row["version"] for row in rows if row["variant"] == variant(board))
    raise BuildError(
        f"MicroPython {version}: found no SHA-256 of {variant(board)}, expected one of {', '.join(there) or 'none'}; "
        "name one of those with --micropython, or an image that you trust with --base FILE --sha256 HASH"
    )


def cache() -> Path:
    """Return the folder in which fetched images are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "meshems"


def from_file(file: Path, row: dict[str, Any], sha256: str | None) -> Base:
    """Return the image in `file`, which has to have the SHA-256 of `row`, or `sha256` where that is given."""
    data = file.read_bytes()
    found, expected = hashlib.sha256(data).hexdigest(), (sha256 or row["sha256"]).lower()
    if found != expected:
        raise BuildError(
            f"{file}: found SHA-256 {found}, expected {expected} of {row['file']}; fetch it again, "
            f"or say --sha256 {found} if it is a MicroPython of your own that you trust"
        )
    version = row["version"] if not sha256 else "own"
    return Base(data, version, row["variant"], row["file"] if not sha256 else file.name)


def fetched(
    row: dict[str, Any], folder: Path, site: str = SITE, progress: Callable[[int], None] = lambda done: None
) -> Base:
    """Return the image of `row`, fetched from the project's site unless `folder` has it; `progress(bytes so far)`."""
    kept = folder / row["file"]
    if kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() == row["sha256"]:
        return from_file(kept, row, None)
    url = site + row["file"]
    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            while len(data) <= row["size"] and (part := answer.read(65536)):
                data += part
                progress(len(data))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise BuildError(
            f"{url}: found {reason}, expected {row['size']} bytes; where the site cannot be reached, bring the file by "
            f"other means and name it: --base {row['file']}"
        ) from None
    found = hashlib.sha256(data).hexdigest()
    if found != row["sha256"]:
        raise BuildError(
            f"{url}: found {len(data)} bytes with SHA-256 {found}, expected {row['size']} with {row['sha256']}; "
            "try again, and if it stays so do not use it: it is not the image that was published"
        )
    folder.mkdir(parents=True, exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_bytes(data)
    part.replace(kept)
    return from_file(kept, row, None)


def profiles_of(config: Path, board: boards.Board) -> tuple[list[str], list[Problem]]:
    """Return (profiles of the meters in a gateway.json, its problems on this board)."""
    paths.share_firmware()
    from gateway import config as rules

    good, _, problems = rules.read(config.read_bytes(), b"", rules.profile)
    if not good:
        return [], problems
    if good["board"] != board["name"]:
        problems.append(("board", json.dumps(good["board"]), json.dumps(board["name"])))
    there = [uart["id"] for uart in board["uarts"]]
    for n, bus in enumerate(good["buses"]):
        if bus["uart"] not in there:
            problems.append((f"buses[{n}].uart", str(bus["uart"]), f"a UART of {board['name']}: {there}"))
    if good["network"].get("ethernet") and "int" not in board.get("ethernet", ()):
        problems.append(("network.ethernet", "true", f"not on {board['name']}: it has no W5500 with its INT wired"))
    return sorted({meter["profile"] for meter in good["meters"]}), problems


def _without_docstrings(source: bytes) -> bytes:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if ast.get_docstring(node, clean=False) is not None:
                node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree).encode() + b"\n"


def _small(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@functools.cache
def _compiled() -> Mapping[str, bytes]:
    """Return what ships of the firmware, {path: bytes}: once, however many boards are built."""
    with tempfile.TemporaryDirectory(prefix="meshems-build-") as name:
        folder = Path(name)
        ship.build(paths.FIRMWARE, folder, ship.compiler())
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def stage(board: boards.Board, profiles: Collection[str] | None = None) -> dict[str, bytes]:
    """Return the files of a board's file system, {path: bytes}; ShipError. `profiles` None stands for all."""
    files = dict(_compiled())
    for script in SCRIPTS:
        del files[script.replace(".py", ".mpy")]
        files[script] = _without_docstrings((paths.FIRMWARE / script).read_bytes())
    packed = []
    for path in sorted(files):
        if path.startswith("profiles/"):
            profile = json.loads(files.pop(path))
            if profiles is None or profile["id"] in profiles:
                packed.append(_small({"id": profile["id"]} | profile) + b"\n")
        elif path.endswith(".json"):
            files[path] = _small(json.loads(files[path]))
    files[PACKED] = b"".join(packed)
    files["board.json"] = _small(boards.for_device(board))
    return dict(sorted(files.items()))


def make(board: boards.Board, base: Base | None, profiles: Collection[str] | None = None) -> Built:
    """Return what goes into the flash of `board`; `base` is None for the desktop alone. BuildError says why not."""
    paths.share_firmware()
    from gateway import VERSION
    from meshems import image

    files = stage(board, profiles)
    said: dict[str, Any] = {
        "format": FORMAT, "board": board["name"], "chip": board["chip"], "flash_size": board["flashMb"] << 20,
        "psram": board["psram"], "psram_size": board.get("psramMb", 0) << 20, "firmware": VERSION,
    }  # fmt: skip
    if base is None:
        named = {f"firmware/{path}": data for path, data in files.items() if path != "board.json"}
        return Built(named, said | {"micropython": None, "parts": []}, sum(map(len, named.values())), len(named))
    chip = boards.CHIPS[board["chip"]]
    table = boards.layout(board)
    try:
        bootloader, program = image.split(base.data, chip)
        vfs = image.filesystem(files, board["flash"]["vfs"])
    except image.ImageError as error:
        raise BuildError(f"{error}; is {base.file} the right image, and flash.vfs of the board large enough?") from None
    used = image.used(vfs)
    if len(vfs) - used < ROOM:
        raise BuildError(
            f"vfs: found {len(vfs) - used} bytes left, expected at least {ROOM} for what the gateway keeps there; take "
            f"only the profiles in use with --config FILE, or make flash.vfs of {board['name']} larger"
        )
    written = {
        "bootloader": image.with_flash_size(bootloader, board["flashMb"]),
        "partition-table": image.partition_table(table), "factory": program, "vfs": vfs,
    }  # fmt: skip
    places = [("bootloader", chip.bootloader, image.TABLE - chip.bootloader), ("partition-table", image.TABLE, 0x1000)]
    parts = []
    for name, offset, room in places + [(row.name, row.offset, row.size) for row in table]:
        data = written.get(name)
        if data and len(data) > room:
            raise BuildError(
                f"{name}: found {len(data)} bytes, expected at most {room}; take another MicroPython, or give it "
                f"more room in boards/{board['name']}/board.json"
            )
        parts.append({
            "name": name, "offset": offset, "room": room, "size": len(data) if data else room,
            "file": f"{name}.bin" if data else None,
            "sha256": hashlib.sha256(data).hexdigest() if data else None, "keep": name in boards.KEPT,
        })  # fmt: skip
    said["micropython"] = {
        "version": base.version, "variant": base.variant, "file": base.file, "sha256": base.sha256,
    }  # fmt: skip
    made = {f"{name}.bin": data for name, data in written.items()}
    return Built(made, said | {"parts": parts}, used, len(files))


def summary(built: Built, board: boards.Board) -> list[str]:
    """Return the lines that say what was built, how large it is and what is left."""
    if not built.manifest["parts"]:
        return [f"{built.count} files, {built.used} bytes"]
    lines = [f"{'part':<16}{'offset':>10}{'bytes':>10}{'region':>10}{'left':>10}"]
    for part in built.manifest["parts"]:
        size = built.used if part["name"] == "vfs" else part["size"]
        left = part["room"] - size if part["file"] else ""
        told = size if part["file"] else "(kept)"
        lines.append(f"{part['name']:<16}{part['offset']:>#10x}{told:>10}{part['room']:>10}{left:>10}")
    end = built.manifest["parts"][-1]
    free = (board["flashMb"] << 20) - end["offset"] - end["room"]
    lines.append(f"{built.count} files in vfs; {free} bytes of the flash belong to nobody")
    return lines


def _base(board: boards.Board, file: Path | None, sha256: str | None, version: str, quiet: bool) -> Base:
    if file and sha256:  # whatever it is, the hash says that it is meant
        return from_file(file, {"file": file.name, "variant": variant(board)}, sha256)
    row = known(board, version)
    if file:
        return from_file(file, row, None)
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(row["file"], total=row["size"])
        return fetched(row, cache(), progress=lambda done: bar.update(task, completed=done))


@click.command()
@click.option("--board", "name", required=True, help="Its name; `meshems board list` shows them.")
@click.option("--config", type=click.Path(path_type=Path), help="A gateway.json: only its meters' profiles; checked.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the result; build/NAME if left out.")
@click.option("--base", type=click.Path(path_type=Path), help="The image of MicroPython; else it is fetched, and kept.")
@click.option("--sha256", metavar="HASH", help="What --base has to have, where it is a MicroPython of your own.")
@click.option("--micropython", "version", default=DEFAULT, show_default=True, help="Which release.")
@click.option("--json", "as_json", is_flag=True, help="Print the manifest, or the error as an object.")
def build(
    name: str, config: Path | None, out: Path | None, base: Path | None, sha256: str | None, version: str, as_json: bool
) -> None:
    """The image of a board: bootloader, partition table, MicroPython, and the file system with the firmware.

    \b
    meshems build --board nesl-865b
    meshems build --board esp32-generic --config gateway.json --base ESP32_GENERIC-20260824-v1.29.0.bin
    meshems build --board nesl-865b --json | jq '.parts[] | [.name, .offset, .size]'

    Puts no configuration and no secret into it: that is `meshems provision`. What it writes is the same to the byte
    each time; manifest.json says where each file goes, for `meshems flash`. Exit status: 0 made, 1 it cannot be made,
    2 the board or the configuration is refused.
    """
    status, problems = 1, []
    try:
        board = boards.load(name)
        profiles = None
        if config:
            profiles, found = profiles_of(config, board)
            problems = [f"{config}: {path}: found {value}, allowed {allowed}" for path, value, allowed in found]
            if problems:
                raise boards.BoardError(f"{config} is refused: correct it, or name another with --config")
        if sha256 and not base:
            raise boards.BoardError("--sha256: found no --base, expected the file that has it; say --base FILE too")
        desktop = board["chip"] == "desktop"
        built = make(board, None if desktop else _base(board, base, sha256, version, as_json), profiles)
        folder = out or Path("build") / name
        built.write(folder)
    except boards.BoardError as error:
        status, text = BAD, str(error)
    except (BuildError, ship.ShipError) as error:
        text = str(error)
    except OSError as error:
        text = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        if as_json:
            click.echo(json.dumps(built.manifest))
            return
        for line in summary(built, board):
            click.echo(line)
        if desktop:
            click.echo(f"run it: MESHEMS_FIRMWARE={folder}/firmware meshems run --config FILE --state DIR")
        else:
            click.echo(f"{folder / 'manifest.json'}: next, meshems flash --port PORT --board {name}")
        return
    if as_json:
        click.echo(json.dumps({"error": text, "problems": problems}))
    for line in problems if not as_json else ():
        click.echo(line, err=True)
    click.echo(f"meshems: {text}", err=True)
    sys.exit(status)
