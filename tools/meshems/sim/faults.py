"""What can go wrong between a unit and the gateway, each with its span in seconds after the line's start."""

import random
from dataclasses import dataclass

KINDS = (
    "silent", "crc", "truncated", "exception", "late", "noise", "glitch", "wrong_unit", "wrong_function", "short",
    "echo",
)  # fmt: skip
INTACT = ("late", "noise", "glitch")  # with these the unit's own frame still arrives whole


@dataclass(frozen=True)
class Fault:
    """One entry of the spec's `faults`. `serial` None: each unit; `echo` is the line's."""

    kind: str
    serial: str | None = None
    start_s: float = 0
    end_s: float = 1e9
    every: int = 1
    late_ms: int = 1200
    code: int = 4

    def during(self, at_s: float) -> bool:
        """Return whether `at_s` lies in its span."""
        return self.start_s <= at_s < self.end_s


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


def spoil(kind: str, body: bytes, code: int, rng: random.Random) -> bytes:
    """Return what is on the wire instead of the reply `body` (without CRC); empty for silence."""
    unit, function, rest = body[:1], body[1], body[2:]
    if kind == "silent":
        return b""
    if kind == "crc":
        frame = sealed(body)
        return frame[:-1] + bytes([frame[-1] ^ 0x55])
    if kind == "truncated":
        frame = sealed(body)
        return frame[: len(frame) // 2]
    if kind == "exception":
        return sealed(unit + bytes([function | 0x80, code]))
    if kind == "noise":
        return bytes(rng.randrange(256) for _ in range(6)) + sealed(body)
    if kind == "glitch":
        return b"\0" + sealed(body)
    if kind == "wrong_unit":
        return sealed(bytes([unit[0] % 247 + 1]) + body[1:])
    if kind == "wrong_function":
        return sealed(unit + bytes([function ^ 7]) + rest)
    if kind == "short" and len(rest) > 2:
        return sealed(unit + bytes([function, rest[0] - 2]) + rest[1:-2])
    return sealed(body)  # late is whole, and an exception is as short as a reply gets
