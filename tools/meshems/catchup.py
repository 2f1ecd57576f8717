"""Reads the binary catch-up: what docs/northbound/catchup.md says, written down without the firmware.

    reader = Reader()
    reader.meters = ["SN-1"]; reader.schemas[1] = [["1.8.0", "kWh", -3]]       # from the retained messages
    for record in reader.take(payload): ...

One Reader a gateway, messages in the order of arrival: a reading is a difference to the one before.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

HEAD = struct.Struct("<BH")
FRAME = struct.Struct("<BIBH")
PLACE = struct.Struct("<HIBI")
FRESH, PLACED = 1, 2
KEY, PARTIAL, FLAGGED, LOST, EVENT = 1, 2, 4, 8, 9
SOURCES = ("none", "rtc", "manual", "mesh", "ntp", "gps")
EPOCH_MS = 1704067200000  # 2024-01-01
CUT_MS = 22  # an instant is cut to 10 ms twice, and the clock's offset and uptime to 1 ms


@dataclass(frozen=True)
class Record:
    """One stored record. `serial` is None of the gateway itself; `registers` is {OBIS: (value, unit)} of a reading.

    `event` is (code, severity, state, detail as JSON) by their numbers in records.md. A silent meter has neither.
    """

    seq: int
    unix_ms: int
    source: str
    bound_ms: int
    serial: str | None
    suspect: bool = False
    registers: dict[str, tuple[Decimal, str]] = field(default_factory=dict)
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

    def take(self, message: bytes) -> Iterator[Record]:
        """Yield the records of one message; Broken when it is not what the document says."""
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
                values = self._reading(slot, tag, data)
                if values is None:
                    self.dropped += count - i
                    return
                yield Record(*common, suspect=bool(tag & FLAGGED) or source == 0, registers=values)

    def _reading(self, slot: int, tag: int, data: _Bytes) -> dict[str, tuple[Decimal, str]] | None:
        """Return the registers of a reading, None when what it leans on is not known."""
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
        if tag & FLAGGED:
            data.number()
        values = {}
        now = list(before)
        for i, (obis, unit, exponent) in enumerate(columns):
            if there[i]:
                now[i] = before[i] + data.signed()
                values[obis] = (Decimal(now[i]).scaleb(exponent), unit)
        self._last[slot] = (number, now)
        return values
