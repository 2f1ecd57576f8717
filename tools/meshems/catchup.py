"""Reads the binary catch-up: what docs/northbound/catchup.md says, written down without the firmware.

    reader = Reader()
    for topic, payload in messages:             # of one gateway, in the order of arrival
        for record in reader.hear(topic, payload): ...

A reading is a difference to the one before. `meshems catchup` prints what was captured, or what a broker has.
"""

import contextlib
import csv
import json
import queue
import struct
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import click

from meshems.logs import CODES, SEVERITIES, STATES

HEAD = struct.Struct("<BH")
FRAME = struct.Struct("<BIBH")
PLACE = struct.Struct("<HIBI")
FRESH, PLACED = 1, 2
KEY, PARTIAL, FLAGGED, LOST, EVENT = 1, 2, 4, 8, 9
SOURCES = ("none", "rtc", "manual", "mesh", "ntp", "gps")
EPOCH_MS = 1704067200000  # 2024-01-01
CUT_MS = 22  # an instant is cut to 10 ms twice, and the clock's offset and uptime to 1 ms
SUSPECT = 2  # in the flags of a reading; above it a bit for each column that it concerns, none: all
HEADS = (
    "seq", "ts", "tsSrc", "tsUncMs", "gateway", "meter", "kind", "obis", "value", "unit", "quality",
    "severity", "state", "detail",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One stored record. `serial` is None of the gateway itself; `registers` is {OBIS: (value, unit)} of a reading, and
    `suspects` are those of which the quality is suspect.

    `event` is (code, severity, state, detail as JSON) by their numbers in records.md. A silent meter has neither.
    """

    seq: int
    unix_ms: int
    source: str
    bound_ms: int
    serial: str | None
    registers: dict[str, tuple[Decimal, str]] = field(default_factory=dict)
    suspects: frozenset[str] = frozenset()
    event: tuple[int, int, int, bytes] | None = None


class Broken(ValueError):
    """A message that is not what the document says."""


class _Bytes:
    def __init__(self, data: bytes):
        self.data, self.at = data, 0

    def number(self) -> int:
        value = shift = 0
        while True:
            if self.at >= len(self.data) or shift > 63:
                raise Broken("a number is cut")
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def signed(self) -> int:
        value = self.number()
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Broken("cut")
        self.at += size
        return self.data[self.at - size : self.at]


class Reader:
    """The state of one gateway. `dropped` counts records that lean on something that did not come."""

    def __init__(self) -> None:
        self.meters: list[str] = []
        self.schemas: dict[int, list[Sequence[Any]]] = {}
        self.dropped = 0
        self._last: dict[int, tuple[int, list[int]]] = {}

    def hear(self, topic: str, payload: bytes) -> Iterator[Record]:
        """Take one of the three kinds of message by its topic; yield the records of frames, pass over what is none."""
        try:
            if topic.endswith("/catchup/meters"):
                self.meters = [str(serial) for serial in json.loads(payload)]
            elif "/catchup/schema/" in topic:
                columns = [(str(obis), str(unit), int(exponent)) for obis, unit, exponent in json.loads(payload)]
                self.schemas[int(topic.rsplit("/", 1)[1])] = columns
        except (ValueError, TypeError) as error:
            raise Broken(f"{topic}: {error}") from None
        if topic.endswith("/catchup"):
            yield from self.take(payload)

    def take(self, message: bytes) -> Iterator[Record]:
        """Yield the records of one message; Broken when it is not what the document says."""
        try:
            yield from self._take(message)
        except Broken:
            self._last.clear()  # what was read of it may lie before what was not
            raise

    def _take(self, message: bytes) -> Iterator[Record]:
        if len(message) < HEAD.size:
            raise Broken("short")
        version, epoch = HEAD.unpack_from(message)
        if version != 1:
            raise Broken(f"version {version}")
        at = HEAD.size
        while at < len(message):
            if at + FRAME.size > len(message):
                raise Broken("a frame is cut")
            flags, ordinal, count, length = FRAME.unpack_from(message, at)
            at += FRAME.size
            place = None
            if flags & PLACED:
                if at + PLACE.size > len(message):
                    raise Broken("a place is cut")
                high, low, source, bound = PLACE.unpack_from(message, at)
                place = (high << 32 | low, source, bound)
                at += PLACE.size
            if flags & ~(FRESH | PLACED) or at + length > len(message):
                raise Broken("a frame is cut")
            if flags & FRESH:
                self._last.clear()
            yield from self._frame((epoch << 32) + ordinal, count, _Bytes(message[at : at + length]), place)
            at += length

    def _frame(self, seq: int, count: int, data: _Bytes, place: tuple[int, int, int] | None) -> Iterator[Record]:
        _boot, uptime, source = data.number(), data.number(), data.number()
        if source:
            zero, bound = EPOCH_MS + (data.number() - uptime) * 10, data.number()
        elif place:
            zero, source, bound = place
        else:
            raise Broken("a frame without a time")
        for i in range(count):
            uptime += data.signed()
            head = data.number()
            slot, tag = head >> 4, head & 15
            serial = self.meters[slot - 1] if 0 < slot <= len(self.meters) else None
            common = (seq + i, zero + uptime * 10, SOURCES[source], bound + CUT_MS, serial)
            if tag == EVENT:
                code, grade = data.number(), data.number()
                detail = data.take(data.number())
                yield Record(*common, event=(code, grade >> 4, grade & 15, detail))
            elif tag == LOST:
                yield Record(*common)
            else:
                reading = self._reading(slot, tag, data)
                if reading is None:
                    self.dropped += count - i
                    self._last.clear()  # of every meter there may be a reading in what is left out
                    return
                values, suspects = reading
                yield Record(*common, registers=values, suspects=suspects if source else frozenset(values))

    def _reading(
        self, slot: int, tag: int, data: _Bytes
    ) -> tuple[dict[str, tuple[Decimal, str]], frozenset[str]] | None:
        """Return the registers of a reading and which of them are suspect; None when what it leans on is not known."""
        if tag & KEY:
            number = data.number()
            before: list[int] = [0] * len(self.schemas.get(number, ()))
        elif slot in self._last:
            number, before = self._last[slot]
        else:
            return None
        columns = self.schemas.get(number)
        if columns is None:
            return None
        there = [True] * len(columns)
        if tag & PARTIAL:
            bits = int.from_bytes(data.take((len(columns) + 7) // 8), "little")
            there = [bool(bits >> i & 1) for i in range(len(columns))]
        flags = data.number() if tag & FLAGGED else 0
        marks = flags >> 2 or -1
        values, suspects = {}, set()
        now = list(before)
        for i, (obis, unit, exponent) in enumerate(columns):
            if there[i]:
                now[i] = before[i] + data.signed()
                values[obis] = (Decimal(now[i]).scaleb(exponent), unit)
                if flags & SUSPECT and marks >> i & 1:
                    suspects.add(obis)
        self._last[slot] = (number, now)
        return values, frozenset(suspects)


class Gateways:
    """The Readers of all gateways in a capture. `repeated` counts records that came again, `broken` names messages."""

    def __init__(self) -> None:
        self.readers: dict[str, Reader] = {}
        self.repeated = 0
        self.broken: list[str] = []
        self._seen: set[tuple[str, int]] = set()

    def hear(self, topic: str, payload: bytes) -> Iterator[tuple[str, Record]]:
        """Yield (gateway, record) of a message, each record once."""
        root, _, rest = topic.partition("/catchup")
        if topic != root + "/catchup" + rest or rest and not rest.startswith("/"):
            return
        gateway = root.rsplit("/", 1)[-1]
        try:
            for record in self.readers.setdefault(root, Reader()).hear(topic, payload):
                if (root, record.seq) in self._seen:
                    self.repeated += 1
                else:
                    self._seen.add((root, record.seq))
                    yield gateway, record
        except Broken as error:
            self.broken.append(str(error))

    @property
    def dropped(self) -> int:
        """Return how many records lean on something that did not come."""
        return sum(reader.dropped for reader in self.readers.values())


class CaptureError(Exception):
    """Why a capture cannot be read, and what to do: one line."""


def captured(name: str, lines: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield (topic, payload) of the lines `TOPIC HEX` of the file `name`."""
    for number, line in enumerate(lines, 1):
        topic, _, text = line.strip().rpartition(" ")
        if not line.strip():
            continue
        try:
            payload = bytes.fromhex(text)
        except ValueError:
            payload = b""
        if not topic or not payload:
            raise CaptureError(f"{name}:{number}: no TOPIC HEX: capture with mosquitto_sub -F '%t %x'")
        yield topic, payload


def _files(files: Sequence[Path], gateways: Gateways) -> Iterator[tuple[str, Record]]:
    """Yield what the files have. What the numbers stand for may have been captured last: it is looked for first."""
    messages = []
    for file in files:
        with contextlib.nullcontext(sys.stdin) if str(file) == "-" else file.open() as opened:
            messages += captured(str(file), opened)
    for names in (True, False):
        for topic, payload in messages:
            if topic.endswith("/catchup") != names:
                yield from gateways.hear(topic, payload)


def _listen(
    host: str, port: int, topic: str, seconds: float | None, login: tuple[str | None, str | None], ca: Path | None
) -> Iterator[tuple[str, bytes]]:
    """Yield (topic, payload) as they come from a broker, for `seconds`, or until Ctrl-C."""
    import paho.mqtt.client as paho

    came: queue.Queue[tuple[str, bytes] | CaptureError] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)

    def connected(client: paho.Client, _data: object, _flags: object, reason: Any, _more: object) -> None:
        if reason.is_failure:
            came.put(CaptureError(f"{host}:{port}: {reason}"))
        client.subscribe(topic + "/catchup/#", 1)

    client.on_connect = connected
    client.on_message = lambda _c, _d, message: came.put((message.topic, message.payload))
    if login[0]:
        client.username_pw_set(*login)
    if ca:
        client.tls_set(str(ca))
    try:
        client.connect(host, port)
    except OSError as error:  # those of TLS among them
        raise CaptureError(f"{host}:{port}: {error.strerror or error}") from None
    client.loop_start()
    until = time.monotonic() + seconds if seconds is not None else float("inf")
    try:
        while time.monotonic() < until:
            with contextlib.suppress(queue.Empty):
                message = came.get(timeout=0.1)
                if isinstance(message, CaptureError):
                    raise message
                yield message
    except KeyboardInterrupt:
        pass
    finally:
        client.disconnect()
        client.loop_stop()


def _heard(messages: Iterable[tuple[str, bytes]], gateways: Gateways) -> Iterator[tuple[str, Record]]:
    for topic, payload in messages:
        yield from gateways.hear(topic, payload)


def _front(gateway: str, record: Record) -> dict[str, Any]:
    second, ms = divmod(record.unix_ms, 1000)
    ts = f"{datetime.fromtimestamp(second, timezone.utc):%Y-%m-%dT%H:%M:%S}.{ms // 10:02}Z"
    kind = "reading" if record.registers else "comms_lost"
    if record.event:
        code = record.event[0]
        kind = CODES[code] if code < len(CODES) else f"event {code}"
    return {
        "seq": record.seq, "ts": ts, "tsSrc": record.source, "tsUncMs": record.bound_ms, "gateway": gateway,
        "meter": record.serial, "kind": kind,
    }  # fmt: skip


def _registers(record: Record) -> Iterator[tuple[str, str, str, str]]:
    for obis, (value, unit) in record.registers.items():
        text = format(value.normalize() + 0, "f")
        yield obis, text, unit, "suspect" if obis in record.suspects else "good"


def _grade(record: Record) -> dict[str, Any]:
    """Return severity, state and detail of an event."""
    if not record.event:
        return {}
    _, severity, state, raw = record.event
    detail: Any = raw.decode(errors="replace")
    with contextlib.suppress(ValueError):
        detail = json.loads(detail)
    return {
        "severity": SEVERITIES[severity] if severity < len(SEVERITIES) else severity,
        "state": STATES[state] if state < len(STATES) else state, "detail": detail,
    }  # fmt: skip


def rows(gateway: str, record: Record) -> Iterator[list[object]]:
    """Yield the lines of a record in CSV, in the order of HEADS: one for each register, one for anything else."""
    front = ["" if value is None else value for value in _front(gateway, record).values()]
    for register in _registers(record):
        yield [*front, *register, "", "", ""]
    if not record.registers:
        grade = _grade(record) or {"severity": "", "state": "", "detail": None}
        detail = "" if grade["detail"] is None else json.dumps(grade["detail"])
        yield [*front, "", "", "", "", grade["severity"], grade["state"], detail]


def line(gateway: str, record: Record) -> str:
    """Return a record as one line of JSON; a value keeps all its digits."""
    text = json.dumps(_front(gateway, record) | _grade(record))
    if not record.registers:
        return text
    registers = ", ".join(
        f'{{"obis": {json.dumps(obis)}, "value": {value}, "unit": {json.dumps(unit)}, "quality": "{quality}"}}'
        for obis, value, unit, quality in _registers(record)
    )
    return f'{text[:-1]}, "registers": [{registers}]}}'


def write(records: Iterable[tuple[str, Record]], form: str, file: IO[str]) -> int:
    """Write every record as `csv` or `jsonl`, each at once; return how many."""
    count = 0
    out = csv.writer(file)
    if form == "csv":
        out.writerow(HEADS)
    for gateway, record in records:
        count += 1
        if form == "csv":
            out.writerows(rows(gateway, record))
        else:
            file.write(line(gateway, record) + "\n")
        file.flush()
    return count


@click.command()
@click.argument("files", nargs=-1, metavar="[CAPTURE]...", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--broker", metavar="HOST[:PORT]", help="Listen there instead of reading files.")
@click.option("--topic", default="openami/v1/+/+", show_default=True, help="Of the gateway: openami/v1/FEEDER/GATEWAY.")
@click.option("--seconds", type=click.FloatRange(min=0), help="How long to listen; else until Ctrl-C.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PEM: TLS, port 8883.")
@click.option("--user", help="Name at the broker.")
@click.option("--password-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its first line.")
@click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True)
@click.option("--json", "form", flag_value="jsonl", help="The same as --format jsonl.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Else the standard output.")
def catchup(
    files: tuple[Path, ...], broker: str | None, topic: str, seconds: float | None, ca: Path | None,
    user: str | None, password_file: Path | None, form: str, output: Path | None,
) -> None:  # fmt: skip
    """What gateways sent as binary catch-up, as CSV or JSON lines.

    \b
    mosquitto_sub -h broker -t 'openami/v1/feeder-01/pole-07/catchup/#' -F '%t %x' > capture.txt
    meshems catchup capture.txt --output records.csv
    meshems catchup --broker broker:1883 --topic openami/v1/feeder-01/pole-07 --seconds 600 --json

    A capture is a file of lines TOPIC HEX, or - for the standard input. CSV has a line for each register, JSON lines
    one for each record; each record comes once. The messages: docs/northbound/catchup.md. Exit status: 0 read, 1 some
    records could not be told, 2 nothing to read.
    """
    from meshems.cli import FOUND_BAD_INPUT, fail

    if bool(files) == bool(broker):
        raise click.UsageError("name the files of a capture, or --broker HOST[:PORT]")
    gateways = Gateways()
    try:
        if broker:
            host, _, port = broker.rpartition(":") if broker[-1:].isdigit() and ":" in broker else (broker, "", "")
            if not host or port and not port.isdigit():
                raise click.BadParameter(f"{broker}: write HOST or HOST:PORT", param_hint="--broker")
            password = password_file.read_text().split("\n")[0] if password_file else None
            number = int(port) if port else 8883 if ca else 1883
            records = _heard(_listen(host, number, topic, seconds, (user, password), ca), gateways)
        else:
            records = _files(files, gateways)
        with output.open("w", newline="") if output else contextlib.nullcontext(sys.stdout) as file:
            count = write(records, form, file)
    except BrokenPipeError:
        raise
    except CaptureError as error:
        fail(str(error), FOUND_BAD_INPUT)
    except UnicodeDecodeError:
        fail("no text: a capture has lines TOPIC HEX, from mosquitto_sub -F '%t %x'", FOUND_BAD_INPUT)
    except OSError as error:
        fail(f"{error.filename or 'catchup'}: {error.strerror or error}", FOUND_BAD_INPUT)
    names = ", ".join(sorted(root.rsplit("/", 1)[-1] for root in gateways.readers)) or "nobody"
    click.echo(f"meshems: {count} records of {names}; {gateways.repeated} came more than once", err=True)
    if gateways.broken:
        fail(f"{len(gateways.broken)} messages are not what docs/northbound/catchup.md says: {gateways.broken[0]}")
    if gateways.dropped:
        fail(
            f"left out {gateways.dropped} records that lean on something that did not come: capture from the begin of a"
            " connection on, the retained messages too"
        )
