"""Modbus units on one line, their registers laid out by the meter profiles.

A station hears the frames that the gateway sent and says what the log notes and what comes back. The line knows
nothing else of it, so another implementation can stand there. Seconds are those since the line's start.
"""

import random
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from meshems.sim.faults import APART, INTACT, Fault, crc, sealed, spoil
from meshems.sim.meters import Household, Restless

READS = (3, 4)
LONGEST = 125  # registers of one read
NO_FUNCTION, NO_ADDRESS, BAD_VALUE = 1, 2, 3  # exception codes
ROUNDING_S = 1e-7


@dataclass
class Answer:
    """What a station makes of a frame. `request` and `reply` go into the log; no `wire` means silence.

    `unit` says who speaks: it never interrupts itself, but others. `pause` is a hole in `wire`: (after so many bytes,
    so many characters of silence).
    """

    request: dict[str, Any]
    reply: dict[str, Any] | None = None
    wire: bytes = b""
    delay_s: float = 0.0
    unit: int = 0
    pause: tuple[int, float] | None = None


class Station:
    """Whoever answers on the line."""

    def hear(self, frame: bytes, at_s: float, quiet_s: float) -> Answer:
        """Take a frame of the gateway's that ended at `at_s`, before which the line was silent for `quiet_s`."""
        raise NotImplementedError

    def echoes(self, at_s: float) -> bool:
        """Return whether the gateway hears its own bytes now."""
        return False

    def unasked(self, after_s: float) -> tuple[float, Answer] | None:
        """Return who speaks next after `after_s` without having been asked, and when; None for nobody."""
        return None


def factor(scale: int | Sequence[int]) -> Fraction:
    """Return what a register is multiplied with."""
    return Fraction(10) ** scale if isinstance(scale, int) else Fraction(scale[0], scale[1])


def encode(kind: str, value: float | Fraction | str, scale: int | Sequence[int], cut: bool = False) -> list[int]:
    """Return the registers of `value` as a profile's type and scale say; `cut` drops digits as a counter does.

    An integer type is clamped to its range, as a meter's display would be.
    """
    if kind == "str":
        text = str(value).encode()
        text += b"\0" * (len(text) % 2)
        return [int.from_bytes(text[i : i + 2], "big") for i in range(0, len(text), 2)]
    base = kind.rstrip("w")
    raw = Fraction(value) / factor(scale)
    bits = int(base[1:])
    if base[0] == "f":
        packed = struct.pack(">f" if bits == 32 else ">d", float(raw))
    else:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if base[0] == "s" else (0, (1 << bits) - 1)
        whole = raw.numerator // raw.denominator if cut else round(raw)
        packed = min(max(whole, low), high).to_bytes(bits // 8, "big", signed=base[0] == "s")
    words = [int.from_bytes(packed[i : i + 2], "big") for i in range(0, len(packed), 2)]
    return words[::-1] if kind.endswith("w") else words


def parts(row: Sequence[Any], value: float | Fraction | str, cut: bool) -> list[tuple[int, list[int]]]:
    """Return [(offset in the block, registers)] of a row of a profile: two of them for a counter in two parts.

    A value whose sign stands elsewhere is written without it.
    """
    _, _, offset, kind, scale, _, *rest = row
    more = rest[1] if len(rest) > 1 else {}
    if "sign" in more:
        value = abs(Fraction(value))
    if "plus" not in more:
        return [(offset, encode(kind, value, scale, cut))]
    both = [(offset, kind, scale), tuple(more["plus"])]
    low, high = sorted(both, key=lambda part: factor(part[2]))
    whole = Fraction(value) // factor(high[2]) * factor(high[2])
    return [
        (offset, encode(kind, part, scale, cut))
        for (offset, kind, scale), part in ((high, whole), (low, Fraction(value) - whole))
    ]


@dataclass
class Unit:
    """One meter: its address, its profile (format v 1 or 2; transformer ratios are 1) and the household behind it.

    `device` is the number that it gives as its own, where the profile knows a register for it; else one from `serial`.
    """

    serial: str
    address: int
    profile: dict[str, Any]
    house: Household | Restless
    turnaround_ms: int
    registers: dict[tuple[int, int], int] = field(default_factory=dict)  # (function, address): word
    device: str = ""

    def __post_init__(self) -> None:
        self.number()
        for function, address, count, *_ in self.profile["blk"]:
            self._map(function, address, [0] * count)
        points = set()
        for row in self.profile["q"]:
            function, address, *_ = self.profile["blk"][row[1]]
            points.update((function, address + at + i) for at, words in parts(row, 0, False) for i in range(len(words)))
        for function, address, count, kind, accepted in self.profile.get("probe", ()):
            if not any((function, address + i) in points for i in range(count)):
                self._map(function, address, (_identity(kind, accepted) + [0] * count)[:count])

    def number(self, device: str = "") -> None:
        """Let the meter call itself `device`, or as it is called when there is none."""
        if "own" not in self.profile:
            return
        function, address, count, kind = self.profile["own"]
        device = device or self.device
        if kind == "str":
            words = encode(kind, device or self.serial, 0)
        else:
            words = encode(kind, Fraction(device or 10_000_000 + zlib.crc32(self.serial.encode()) % 90_000_000), 0)
        self._map(function, address, (words + [0] * count)[:count])

    def _map(self, function: int, address: int, words: list[int]) -> None:
        for offset, word in enumerate(words):
            self.registers[function, address + offset] = word

    def refresh(self, unix_ms: int) -> None:
        """Bring every register to `unix_ms`."""
        self.house.advance(unix_ms)
        ratios = self.profile.get("ratio", {}).values()
        for row in self.profile["q"]:
            function, address, *_ = self.profile["blk"][row[1]]
            value = 1 if row[0] in ratios else self.house.value(row[0])
            for offset, words in parts(row, value, cut=row[0].endswith(".8.0")):
                self._map(function, address + offset, words)
            if len(row) > 7 and "sign" in row[7]:
                offset, mask = row[7]["sign"]
                word = self.registers[function, address + offset] & ~mask
                self._map(function, address + offset, [word | (mask if value < 0 else 0)])

    def read(self, function: int, address: int, count: int) -> list[int] | int:
        """Return the words asked for, or the code of the exception."""
        if function not in READS:
            return NO_FUNCTION
        if not 1 <= count <= LONGEST:
            return BAD_VALUE
        try:
            return [self.registers[function, address + i] for i in range(count)]
        except KeyError:
            return NO_ADDRESS


def _identity(kind: str, accepted: Any) -> list[int]:
    """Return registers that the probe accepts: the first of a list, the middle of a range, a text that begins so."""
    if isinstance(accepted, list):
        return encode(kind, accepted[0], 0)
    if "str" in accepted:
        return encode("str", accepted["str"], 0)
    return encode(kind, (accepted["min"] + accepted["max"]) // 2, 0)


class Units(Station):
    """A station of simulated meters, with the faults of the spec. `utc_ms` is when the line starts; now if 0.

    `gap_s` is the silence that a strict unit insists on, 3.5 characters.
    """

    def __init__(
        self, units: Sequence[Unit], faults: Sequence[Fault] = (), seed: int = 1, jitter_ms: int = 0,
        *, gap_s: float = 0.0, utc_ms: int = 0,
    ):  # fmt: skip
        self.units = {unit.address: unit for unit in units}
        self._faults = faults
        self._rng = random.Random(seed)
        self._jitter_ms = jitter_ms
        self._gap_s = gap_s
        self._utc_ms = utc_ms or time.time_ns() // 1_000_000
        self._asked: dict[Fault, int] = {}

    def echoes(self, at_s: float) -> bool:
        """Return whether the gateway hears its own bytes now."""
        return any(fault.kind == "echo" and fault.during(at_s) for fault in self._faults)

    def unasked(self, after_s: float) -> tuple[float, Answer] | None:
        """Return the next burst of a unit that talks unasked."""
        bursts = []
        for fault in self._faults:
            for unit in self.units.values():
                shift_s = unit.address / 1000  # so that not all begin at once
                at_s = fault.burst_s(after_s - shift_s)
                if fault.kind == "unasked" and fault.serial in (None, unit.serial) and at_s is not None:
                    bursts.append((at_s + shift_s, unit, fault.babble_bytes))
        if not bursts:
            return None
        at_s, unit, size = min(bursts, key=lambda burst: burst[0])
        said = {"serial": unit.serial, "unit": unit.address, "fault": "unasked"}
        return at_s, Answer({}, said, self._rng.randbytes(size), unit=unit.address)

    def _fault(self, serial: str, at_s: float, quiet_s: float) -> Fault | None:
        """Return the fault that strikes this request: the first of the spec's list that does."""
        for fault in self._faults:
            if fault.kind in APART or fault.serial not in (None, serial) or not fault.during(at_s):
                continue
            if fault.kind == "strict":
                if quiet_s < self._gap_s - ROUNDING_S:
                    return fault
                continue
            self._asked[fault] = self._asked.get(fault, 0) + 1
            if fault.strikes(self._asked[fault]):
                return fault
        return None

    def _replaced(self, serial: str, at_s: float) -> str:
        """Return the number of the meter that stands in a unit's place, "" when it is still the first."""
        for fault in self._faults:
            if fault.kind == "replaced" and fault.serial in (None, serial) and fault.during(at_s):
                return fault.device
        return ""

    def hear(self, frame: bytes, at_s: float, quiet_s: float = 1e9) -> Answer:
        """Take a frame that ended at `at_s`."""
        if len(frame) < 4 or crc(frame[:-2]) != frame[-2:]:
            return Answer({"garbage": frame.hex()})
        unit = self.units.get(frame[0])
        request: dict[str, Any] = {"serial": unit.serial if unit else None, "unit": frame[0], "fc": frame[1]}
        if len(frame) == 8:
            request["address"] = int.from_bytes(frame[2:4], "big")
            request["count"] = int.from_bytes(frame[4:6], "big")
        if unit is None:
            return Answer(request)
        unit.refresh(self._utc_ms + round(at_s * 1000))
        unit.number(self._replaced(unit.serial, at_s))
        read = unit.read(frame[1], request["address"], request["count"]) if len(frame) == 8 else NO_FUNCTION
        fault = self._fault(unit.serial, at_s, quiet_s)
        reply = dict(request, fault=fault.kind if fault else None)
        if isinstance(read, int):
            body = bytes([frame[0], frame[1] | 0x80, read])
            reply["exception"] = read
        else:
            body = bytes([frame[0], frame[1], 2 * len(read)]) + b"".join(word.to_bytes(2, "big") for word in read)
            reply["words"] = request["words"] = read
        answer = Answer(request, reply, sealed(body), (unit.turnaround_ms + self._jitter()) / 1000, frame[0])
        if fault:
            request["fault"] = fault.kind
            if fault.refuses:
                reply["exception"] = fault.refuses
                reply.pop("words", None)
            spoil(fault, body, answer, self._rng)
        reply["intact"] = "words" in reply and (fault is None or fault.kind in INTACT)
        return answer

    def _jitter(self) -> float:
        return self._rng.random() * self._jitter_ms
