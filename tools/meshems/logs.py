"""`meshems logs`: what a gateway's flash holds, as CSV or JSON lines. By docs/journal.md and docs/records.md alone.

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
from typing import IO
from zlib import crc32

import click

from meshems.journal import BLOCK, CURSORS, Frame, Image

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
    """What the numbers in records stand for: the files ids.0, ids.1, schemaN.0, schemaN.1 of the board."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        kept = self._load("ids")
        self.serials: list[str] = json.loads(kept)["slots"] if kept else []
        self._schemas: dict[int, list[tuple[str, str, int]] | None] = {}

    @classmethod
    def beside(cls, image: Path) -> "Names":
        """Return those that lie beside an image or in the folder above it, as in a state directory of `meshems run`."""
        folder = image.absolute().parent
        return cls([folder, folder.parent])

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
        best = None
        for folder in self._folders:
            for copy in (folder / f"{name}.0", folder / f"{name}.1"):
                data = copy.read_bytes() if copy.is_file() else b""
                if len(data) >= 8 and crc32(data[4:], 1) == struct.unpack_from("<I", data)[0]:
                    generation = struct.unpack_from("<I", data, 4)[0]
                    if best is None or generation > best[0]:
                        best = (generation, data[8:])
            if best:
                return best[1]
        return None


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
    hidden = not progress
    with click.progressbar(length=len(store.image.blocks), label="blocks", file=sys.stderr, hidden=hidden) as bar:
        for record in store.records(bar.update):
            count += 1
            if form == "csv":
                out.writerows(rows(record, store.names))
            else:
                file.write(line(record, store.names) + "\n")
    return count


def read(file: Path) -> Image:
    """Return the journal in the image `file`; LogsError when there is none."""
    data = file.read_bytes()
    if len(data) % BLOCK or len(data) <= CURSORS * BLOCK:
        raise LogsError(
            f"{file}: {len(data)} bytes are not a journal partition: a multiple of {BLOCK}, more than {CURSORS * BLOCK}"
        )
    image = Image(data)
    if image.empty:
        raise LogsError(f"{file}: no journal in it; dump the whole partition `journal`, and nothing else")
    return image


def _mapping(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} ({reason})" for reason, count in counts.items())


@click.command()
@click.option("--image", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The journal partition.")
@click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the board's ids.* and schema*.*; else beside the image, or in the folder above it.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Else the standard output.")
def logs(image: Path, state: Path | None, form: str, output: Path | None) -> None:
    """The records in a dump of a gateway's flash, as CSV or JSON lines.

    \b
    meshems logs --image board/flash/journal.bin --format jsonl --output records.jsonl
    meshems logs --image journal.bin --state copied-from-the-board > records.csv

    CSV has a line for each register, JSON lines one for each record. A record whose boot never learnt the time
    has no ts. Exit status: 0 read, 1 some records could not be told, 2 no journal.
    """
    from meshems.cli import FOUND_BAD_INPUT, fail

    try:
        store = Store(read(image), Names([state]) if state else Names.beside(image))
        progress = image.stat().st_size >= BIG and sys.stderr.isatty()
        if output:
            with output.open("w", newline="") as file:
                count = write(store, form, file, progress)
        else:
            count = write(store, form, sys.stdout, progress)
    except BrokenPipeError:
        raise
    except LogsError as error:
        fail(str(error), FOUND_BAD_INPUT)
    except OSError as error:
        fail(f"{error.filename or image}: {error.strerror or error}", FOUND_BAD_INPUT)
    known = f"{store.image.first} to {store.image.next - 1}"
    click.echo(f"meshems: {count} records, of the ordinals {known}; {store.image.lost} are damaged", err=True)
    if store.left_out:
        text = f"left out {_mapping(store.left_out)}"
        if any(reason.startswith("schema") for reason in store.left_out):
            text += ": copy ids.* and schema*.* from the board, and name their folder with --state"
        fail(text)
