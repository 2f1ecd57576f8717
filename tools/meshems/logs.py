"""`meshems logs`: what a gateway's flash holds, as a table. By docs/journal.md and docs/records.md alone.

store = Store(Image(Path("journal.bin").read_bytes()), Names.beside(Path("journal.bin")))
for record in store.records(): ...
"""

import contextlib
import csv
import json
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import IO, TYPE_CHECKING
from zlib import crc32

import click

from meshems.journal import BLOCK, CURSORS, Frame, Image
from meshems.run import RunError

if TYPE_CHECKING:
    from meshems.fetch import Fetched

RECORDS = 1  # kind of frame
EPOCH = datetime(2024, 1, 1, tzinfo=timezone.utc)
SOURCES = ("none", "rtc", "manual", "mesh", "ntp", "gps")
KEY, PARTIAL, FLAGGED, LOST, EVENT = 1, 2, 4, 8, 9
SUSPECT = 2
SEVERITIES = ("info", "warn", "alarm")
STATES = ("set", "clear", "once")
CODES = (
    "comms_lost", "comms_restored", "power_fail", "power_restore", "relay_changed", "relay_failed", "limit_exceeded",
    "credit_low", "credit_zero", "token_accepted", "token_rejected", "tamper_door", "tamper_cover", "reverse_energy",
    "counter_rollback", "value_implausible", "clock_set", "clock_lost", "buffer_near_full", "buffer_overrun",
    "meter_found", "meter_replaced", "config_changed", "firmware_changed", "command_result",
    "uplink_refused", "uplink_restored", "network_up", "network_down", "restarted", "mesh_trouble",
)  # fmt: skip
HEADS = (
    "ordinal", "ts", "tsSrc", "tsUncMs", "boot", "uptime", "meter", "kind", "obis", "value", "unit", "quality",
    "severity", "state", "detail",
)  # fmt: skip
TABLE, TABLE_SIZE = 0x8000, 0xC00  # of partitions, in an image of the whole flash
ROW = struct.Struct("<HBBII16sI")
GROUP = 50_000  # lines that are written to Parquet at once
BIG = 1 << 20  # bytes of an image from which on a bar shows how far it is


class LogsError(Exception):
    """Why a dump cannot be read, and what to do: one line."""


class Unknown(Exception):
    """What a record says cannot be known, nor what is behind it in its frame; the text is the reason."""


@dataclass(frozen=True)
class Register:
    """A value of a reading."""

    obis: str
    value: Decimal
    unit: str
    quality: str


@dataclass(frozen=True)
class Record:
    """A stored record. `time` is None where its boot never learnt it; `uptime` is in 10 ms, `bound` in ms."""

    ordinal: int
    boot: int
    uptime: int
    slot: int
    kind: str  # reading, comms_lost, or the code of an event
    time: datetime | None
    source: str
    bound: int | None
    registers: list[Register] = field(default_factory=list)
    severity: str = ""
    state: str = ""
    detail: str = ""


class Names:
    """What the numbers in records stand for: the files ids.0, ids.1, schemaN.0, schemaN.1 of the board.

    They are looked for in `files`, {name: content}, and then in `folders`.
    """

    def __init__(self, folders: Iterable[Path], files: Mapping[str, bytes] | None = None) -> None:
        self._folders = list(folders)
        self._files = files or {}
        kept = self._load("ids")
        self.serials: list[str] = json.loads(kept)["slots"] if kept else []
        self._schemas: dict[int, list[tuple[str, str, int]] | None] = {}

    @classmethod
    def beside(cls, image: Path, files: Mapping[str, bytes] | None = None) -> "Names":
        """Return those that lie beside an image or in the folder above it, as in a state directory of `meshems run`."""
        folder = image.absolute().parent
        return cls([folder, folder.parent], files)

    def serial(self, slot: int) -> str:
        """Return whose slot it is; "slot 3" when that is not known, "" of the gateway itself."""
        if slot == 0:
            return ""
        return self.serials[slot - 1] if slot <= len(self.serials) else f"slot {slot}"

    def columns(self, schema: int) -> list[tuple[str, str, int]] | None:
        """Return (OBIS, unit, exponent) of each value, None when the schema is not there."""
        if schema not in self._schemas:
            kept = self._load(f"schema{schema}")
            rows = [row.split(" ") for row in kept.decode().split("\n") if row] if kept else None
            self._schemas[schema] = rows and [(obis, unit, int(exponent)) for obis, unit, exponent in rows]
        return self._schemas[schema]

    def _load(self, name: str) -> bytes | None:
        """Return the newer valid copy: u32 CRC seeded with 1, u32 generation, data."""
        copies = f"{name}.0", f"{name}.1"
        best = _newer(self._files.get(copy, b"") for copy in copies)
        for folder in self._folders:
            there = (folder / copy for copy in copies)
            best = best or _newer(file.read_bytes() if file.is_file() else b"" for file in there)
        return best


def _newer(copies: Iterable[bytes]) -> bytes | None:
    """Return what the newer valid copy holds, None when none is."""
    best = None
    for data in copies:
        if len(data) >= 8 and crc32(data[4:], 1) == struct.unpack_from("<I", data)[0]:
            generation = struct.unpack_from("<I", data, 4)[0]
            if best is None or generation > best[0]:
                best = (generation, data[8:])
    return best[1] if best else None


class _Bytes:
    """A payload that is read from the front. Unknown when it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        value = self.number()
        return -(value + 1) // 2 if value & 1 else value // 2

    def take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) < count:
            raise Unknown("a frame ends too early")
        self._at += count
        return part


class Store:
    """An image with its names. `left_out` counts, by reason, the records that `records` could not tell."""

    def __init__(self, image: Image, names: Names) -> None:
        self.image = image
        self.names = names
        self.left_out: dict[str, int] = {}
        self._last: dict[int, tuple[int, list[int]]] = {}
        self._offsets = self._learnt()

    def _learnt(self) -> dict[int, tuple[int, int, int]]:
        """Return (utc - uptime in 10 ms, source, bound) of the first dated frame of each boot that learnt the time."""
        offsets: dict[int, tuple[int, int, int]] = {}
        for frame in self.image.frames():
            if frame.kind == RECORDS:
                try:
                    boot, uptime, source, utc, bound = _head(_Bytes(frame.payload))
                except Unknown:
                    continue
                if source:
                    offsets.setdefault(boot, (utc - uptime, source, bound))
        return offsets

    def records(self, tick: Callable[[int], None] = lambda blocks: None) -> Iterator[Record]:
        """Yield every record that can be known, oldest first; `tick` is told of each block."""
        self.left_out.clear()
        block = -1
        for frame in self.image.frames():
            if frame.seq != block:
                tick(1)
            block = frame.seq
            if frame.fresh:
                self._last.clear()
            if frame.kind == RECORDS:
                yield from self._frame(frame)

    def _frame(self, frame: Frame) -> Iterator[Record]:
        data = _Bytes(frame.payload)
        done = 0
        try:
            boot, uptime, source, utc, bound = _head(data)
            offset, source, bound = (utc - uptime, source, bound) if source else self._offsets.get(boot, (0, 0, 0))
            for done in range(frame.count):
                uptime += data.signed()
                time = EPOCH + timedelta(milliseconds=10 * (offset + uptime)) if source else None
                known = (frame.ordinal + done, boot, uptime)
                yield self._record(data, known, (time, SOURCES[source], bound if source else None))
        except (Unknown, IndexError, OverflowError) as error:
            reason = str(error) if isinstance(error, Unknown) else "a frame says what no gateway writes"
            self.left_out[reason] = self.left_out.get(reason, 0) + frame.count - done
            self._last.clear()

    def _record(
        self, data: _Bytes, known: tuple[int, int, int], when: tuple[datetime | None, str, int | None]
    ) -> Record:
        head = data.number()
        slot, tag = head >> 4, head & 15
        if tag == LOST:
            return Record(*known, slot, "comms_lost", *when)
        if tag == EVENT:
            code, grade = CODES[data.number()], data.number()
            detail = data.take(data.number()).decode(errors="replace")
            return Record(*known, slot, code, *when, [], SEVERITIES[grade >> 4], STATES[grade & 15], detail)
        if tag > EVENT:
            raise Unknown("a kind of record that this version does not know")
        return Record(*known, slot, "reading", *when, self._reading(data, slot, tag, not when[0]))

    def _reading(self, data: _Bytes, slot: int, tag: int, undated: bool) -> list[Register]:
        if tag & KEY:
            schema = data.number()
            columns = self.names.columns(schema)
            if columns is None:
                raise Unknown(f"schema {schema} is not there")
            last = [0] * len(columns)
        elif slot in self._last:
            schema, last = self._last[slot]
            columns = self.names.columns(schema) or []
        else:
            raise Unknown("a difference whose reference is gone")
        size = len(columns)
        there = int.from_bytes(data.take((size + 7) // 8), "little") if tag & PARTIAL else (1 << size) - 1
        flags = data.number() if tag & FLAGGED else 0
        which = flags >> 2 or -1  # of the columns; none named: all
        registers = []
        for i, (obis, unit, exponent) in enumerate(columns):
            if there >> i & 1:
                last[i] += data.signed()
                suspect = undated or flags & SUSPECT and which >> i & 1
                quality = "suspect" if suspect else "good"
                registers.append(Register(obis, Decimal(last[i]).scaleb(exponent), unit, quality))
        self._last[slot] = (schema, last)
        return registers


def _head(data: _Bytes) -> tuple[int, int, int, int, int]:
    """Return boot, uptime, source, utc, bound of a frame; the last two are 0 without a source."""
    boot, uptime, source = data.number(), data.number(), data.number()
    return (boot, uptime, source, data.number(), data.number()) if source else (boot, uptime, 0, 0, 0)


def _text(value: Decimal) -> str:
    return format(value.normalize() + 0, "f")


def _ts(record: Record) -> str:
    return record.time.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-4] + "Z" if record.time else ""


def rows(record: Record, names: Names) -> Iterator[list[object]]:
    """Yield the lines of a record in CSV, in the order of HEADS: one for each register, one for anything else."""
    front = [record.ordinal, _ts(record), record.source, "" if record.bound is None else record.bound, record.boot]
    front += [f"{record.uptime / 100:.2f}", names.serial(record.slot), record.kind]
    for register in record.registers:
        yield [*front, register.obis, _text(register.value), register.unit, register.quality, "", "", ""]
    if not record.registers:
        yield [*front, "", "", "", "", record.severity, record.state, record.detail]


def line(record: Record, names: Names) -> str:
    """Return a record as one line of JSON; a value keeps all its digits."""
    fields: dict[str, object] = {
        "ordinal": record.ordinal, "ts": _ts(record) or None, "tsSrc": record.source, "tsUncMs": record.bound,
        "boot": record.boot, "uptimeMs": record.uptime * 10, "meter": names.serial(record.slot) or None,
        "kind": record.kind,
    }  # fmt: skip
    if record.severity:
        detail: object = record.detail
        with contextlib.suppress(ValueError):
            detail = json.loads(record.detail)
        fields |= {"severity": record.severity, "state": record.state, "detail": detail}
    text = json.dumps(fields)
    if not record.registers:
        return text
    registers = ", ".join(
        f'{{"obis": {json.dumps(one.obis)}, "value": {_text(one.value)}, "unit": {json.dumps(one.unit)}, '
        f'"quality": "{one.quality}"}}'
        for one in record.registers
    )
    return f'{text[:-1]}, "registers": [{registers}]}}'


def write(store: Store, form: str, file: IO[str], progress: bool) -> int:
    """Write every record as `csv` or `jsonl`; return how many."""
    count = 0
    out = csv.writer(file)
    if form == "csv":
        out.writerow(HEADS)
    for record in _shown(store, progress):
        count += 1
        if form == "csv":
            out.writerows(rows(record, store.names))
        else:
            file.write(line(record, store.names) + "\n")
    return count


def write_parquet(store: Store, file: Path, progress: bool) -> int:
    """Write every record as Parquet, the lines and columns of the CSV; return how many. LogsError without pyarrow.

    Values are decimals and times are instants in UTC, so that nothing has to be parsed again.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise LogsError("found no pyarrow, which writes Parquet; `.venv/bin/pip install pyarrow==22.0.0`") from None
    text, big = pyarrow.string(), pyarrow.int64()
    kinds = {
        "ordinal": big, "ts": pyarrow.timestamp("ms", "UTC"), "tsUncMs": big, "boot": big,
        "uptime": pyarrow.decimal128(18, 2), "value": pyarrow.decimal128(38, 9),
    }  # fmt: skip
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in HEADS])
    count, batch = 0, []

    def flush() -> None:
        columns = [[row[i] for row in batch] for i in range(len(HEADS))]
        arrays = [pyarrow.array(*pair) for pair in zip(columns, schema.types, strict=True)]
        out.write_table(pyarrow.table(arrays, schema=schema))
        batch.clear()

    with parquet.ParquetWriter(file, schema) as out:
        for record in _shown(store, progress):
            count += 1
            for row in rows(record, store.names):
                fields = dict(zip(HEADS, row, strict=True))
                fields |= {"ts": record.time, "uptime": Decimal(record.uptime).scaleb(-2)}
                fields["value"] = Decimal(str(fields["value"])) if fields["value"] else None
                batch.append([None if fields[name] == "" else fields[name] for name in HEADS])
            if len(batch) >= GROUP:
                flush()
        if batch:
            flush()
    return count


def _shown(store: Store, progress: bool) -> Iterator[Record]:
    """Yield every record, with a bar."""
    blocks = len(store.image.blocks)
    with click.progressbar(length=blocks, label="blocks", file=sys.stderr, hidden=not progress) as bar:
        yield from store.records(bar.update)


def read(file: Path) -> tuple[Image, Mapping[str, bytes]]:
    """Return the journal in `file`, and the files of the board where it is an image of the whole flash.

    LogsError when there is none.
    """
    data, files = file.read_bytes(), {}
    parts = partitions(data)
    if parts:
        if "journal" not in parts:
            raise LogsError(f"{file}: found the partitions {', '.join(parts)}, expected `journal` among them")
        files = _files(data, parts)
        at, size = parts["journal"]
        data = data[at : at + size]
        if len(data) < size:
            raise LogsError(f"{file}: found a flash that ends in its journal, expected {at + size} bytes: read all")
    if len(data) % BLOCK or len(data) <= CURSORS * BLOCK:
        raise LogsError(
            f"{file}: {len(data)} bytes are not a journal partition: a multiple of {BLOCK}, more than {CURSORS * BLOCK}"
        )
    image = Image(data)
    if image.empty:
        raise LogsError(f"{file}: no journal in it; dump the whole partition `journal`, or the whole flash")
    return image, files


def partitions(data: bytes) -> dict[str, tuple[int, int]]:
    """Return {label: (address, size)} of the partition table in an image of a whole flash, {} when it has none."""
    found = {}
    for at in range(TABLE, min(TABLE + TABLE_SIZE, len(data) - ROW.size), ROW.size):
        magic, kind, _, address, size, label, _ = ROW.unpack_from(data, at)
        if magic != 0x50AA:
            break
        if kind < 2:
            found[label.rstrip(b"\0").decode(errors="replace")] = (address, size)
    return found


def _files(data: bytes, parts: Mapping[str, tuple[int, int]]) -> Mapping[str, bytes]:
    """Return the files of the board's file system, {} when it cannot be read."""
    from meshems import image

    end = max(at + size for at, size in parts.values())
    at, size = parts.get("vfs", (end, len(data) - end))  # a table without it: MicroPython takes the rest of the flash
    try:
        return image.contents(data[at : at + size])
    except image.ImageError:
        return {}


def _mapping(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items())


def _fetched(port: str, folder: Path | None) -> "Fetched":
    """Bring the journal of the board at `port` into `folder`, with a bar."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from meshems.cli import needed

    fetch, remote = needed("meshems.fetch"), needed("meshems.remote")
    columns = TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task(port, total=None)
        with remote.Session(port) as board:
            found: Fetched = fetch.fetch(
                board, folder, lambda what, done, of: bar.update(task, description=what, completed=done, total=of)
            )
            return found


@click.command()
@click.option("--image", type=click.Path(path_type=Path, dir_okay=False),
              help="The journal partition, or the whole flash of a board that is dead.")  # fmt: skip
@click.option("--port", metavar="PORT",
              help="A board: fetch its journal first. Broken off, it goes on when done again.")  # fmt: skip
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the board's ids.* and schema*.*; else beside the image, or in the folder above it. With --port "
    "what is fetched goes there; else into board-ID.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["csv", "jsonl", "parquet"]), default="csv", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Else the standard output.")
@click.option("--json", "as_json", is_flag=True, help="With --output: one JSON object that says what was read.")
def logs(
    image: Path | None, port: str | None, state: Path | None, form: str, output: Path | None, as_json: bool
) -> None:  # fmt: skip
    """The records in a gateway's flash: over the cable, or from a dump; as CSV, JSON lines or Parquet.

    \b
    meshems logs --port /dev/ttyACM0 --output records.csv
    meshems logs --image board/flash/journal.bin --format jsonl --output records.jsonl
    meshems logs --image journal.bin --state copied-from-the-board > records.csv
    meshems logs --image flash.bin > records.csv       # of `esptool --port /dev/ttyACM0 read-flash 0 ALL flash.bin`

    CSV and Parquet have a line for each register, JSON lines one for each record. A record whose boot never learnt the
    time has no ts. Exit status: 0 read, 1 some records could not be told, 2 no journal.
    """
    from meshems.cli import FOUND_BAD_INPUT, fail

    if bool(image) == bool(port):
        raise click.UsageError("give --port PORT for a board, or --image FILE for a dump")
    if (form == "parquet" or as_json) and not output:
        raise click.UsageError(f"give --output FILE with {'--json' if as_json else '--format parquet'}")
    sent = None
    try:
        if port:
            fetched = _fetched(port, state)
            image, state, sent = fetched.image, fetched.image.parent, fetched.sent
            click.echo(f"meshems: {sent} of {fetched.blocks} blocks came over the cable into {image}", err=True)
        assert image
        found, files = read(image)
        store = Store(found, Names([state], files) if state else Names.beside(image, files))
        progress = image.stat().st_size >= BIG and sys.stderr.isatty()
        if output and form == "parquet":
            count = write_parquet(store, output, progress)
        elif output:
            with output.open("w", newline="") as file:
                count = write(store, form, file, progress)
        else:
            count = write(store, form, sys.stdout, progress)
    except BrokenPipeError:
        raise
    except (LogsError, RunError) as error:
        fail(str(error), FOUND_BAD_INPUT, as_json)
    except OSError as error:
        fail(f"{error.filename or image}: {error.strerror or error}", FOUND_BAD_INPUT, as_json)
    known = f"{store.image.first} to {store.image.next - 1}"
    if as_json:
        click.echo(json.dumps({
            "records": count, "first": store.image.first, "next": store.image.next, "damaged": store.image.lost,
            "leftOut": store.left_out, "image": str(image), "output": str(output), "blocksSent": sent,
        }))  # fmt: skip
    else:
        click.echo(f"meshems: {count} records, of the ordinals {known}; {store.image.lost} are damaged", err=True)
    if store.left_out:
        text = f"left out {_mapping(store.left_out)}"
        if any(reason.startswith("schema") for reason in store.left_out):
            text += ": copy ids.* and schema*.* from the board, and name their folder with --state"
        fail(text)
