"""What can go wrong between a unit and the gateway, each with its span in seconds after the line's start."""

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshems.sim.slave import Answer

KINDS = (
    "silent", "crc", "truncated", "exception", "busy", "late", "noise", "noise_after", "glitch", "wrong_unit",
    "wrong_function", "short", "gap", "babble", "unasked", "strict", "echo",
    "replaced",
)  # fmt: skip
INTACT = ("late", "noise", "noise_after", "glitch", "gap")  # with these the unit's own frame still arrives whole
APART = ("echo", "unasked", "replaced")  # these strike no single request
FAILURE, BUSY = 4, 6  # exception codes (Modbus application protocol V1.1b3, 7)
NOISE_BYTES = 6
ROUNDING = 1e-6


@dataclass(frozen=True)
class Fault:
    """One entry of the spec's `faults`, as schema/sim.json describes it.

    `serial` None is each unit; `echo` is the line's. `code` 0 is the kind's own; `late_to_ms` 0 is always `late_ms`.
    """

    kind: str
    serial: str | None = None
    start_s: float = 0
    end_s: float = 1e9
    every: int = 1
    late_ms: int = 1200
    code: int = 0
    late_to_ms: int = 0
    refusals: int = 3
    gap_chars: int = 4
    babble_bytes: int = 500
    period_ms: int = 1000
    device: str = "99999999"

    def during(self, at_s: float) -> bool:
        """Return whether `at_s` lies in its span."""
        return self.start_s <= at_s < self.end_s

    def strikes(self, number: int) -> bool:
        """Return whether it strikes the request `number`, counted from 1 in its span."""
        if self.kind == "busy":
            return number % (self.refusals + 1) != 0
        return number % self.every == 0

    @property
    def refuses(self) -> int:
        """Return the code of the exception that it answers, 0 when it does not."""
        return {"exception": self.code or FAILURE, "busy": self.code or BUSY}.get(self.kind, 0)

    def burst_s(self, after_s: float) -> float | None:
        """Return when a unit that talks unasked does so next after `after_s`, None when never."""
        periods = max(0, int((after_s - self.start_s) * 1000 / self.period_ms + ROUNDING)) + 1
        at_s = self.start_s + periods * self.period_ms / 1000
        return at_s if at_s < self.end_s else None


def crc(data: bytes) -> bytes:
    """Return the two CRC bytes of a Modbus RTU frame, low byte first (Modbus over serial line V1.02, 6.2.2)."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def sealed(body: bytes) -> bytes:
    """Return `body` with its CRC."""
    return body + crc(body)


def spoil(fault: Fault, body: bytes, answer: "Answer", rng: random.Random) -> None:
    """Change what `answer` puts on the line for the reply `body` (without CRC) as the fault says."""
    kind, frame = fault.kind, answer.wire
    unit, function, rest = body[:1], body[1], body[2:]
    if kind in ("silent", "strict"):
        answer.wire = b""
    elif kind == "crc":
        answer.wire = frame[:-1] + bytes([frame[-1] ^ 0x55])
    elif kind == "truncated":
        answer.wire = frame[: len(frame) // 2]
    elif fault.refuses:
        answer.wire = sealed(unit + bytes([function | 0x80, fault.refuses]))
    elif kind == "late":
        answer.delay_s += rng.uniform(fault.late_ms, max(fault.late_ms, fault.late_to_ms)) / 1000
    elif kind == "noise":
        answer.wire = rng.randbytes(NOISE_BYTES) + frame
    elif kind == "noise_after":
        answer.wire = frame + rng.randbytes(NOISE_BYTES)
    elif kind == "glitch":
        answer.wire = b"\0" + frame
    elif kind == "wrong_unit":
        answer.wire = sealed(bytes([unit[0] % 247 + 1]) + body[1:])
    elif kind == "wrong_function":
        answer.wire = sealed(unit + bytes([function ^ 7]) + rest)
    elif kind == "short" and len(rest) > 2:  # an exception is as short as a reply gets
        answer.wire = sealed(unit + bytes([function, rest[0] - 2]) + rest[1:-2])
    elif kind == "gap":
        answer.pause = (len(frame) // 2, fault.gap_chars)
    elif kind == "babble":
        answer.wire = rng.randbytes(fault.babble_bytes)
