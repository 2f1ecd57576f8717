"""What the registers of a meter say, computed without the firmware's help: tests, demo and bench compare with it.

    decode(profile, {(4, 0): [0x4366, 0x3333, ...]})    # {"32.7.0": (Decimal("230.200"), "V"), ...}

Standard library only, and nothing of `firmware/`: `struct` takes IEEE 754 and two's complement apart, `decimal` scales
and rounds. The rule: the register's exact value, rounded half-even to the point's resolution, 10^-3 of its unit unless
the row of the profile says otherwise.
"""

import struct
from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

EXACT = Context(prec=2500)  # a float64 times a power of ten has at most some 1100 digits
CODES = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d"}


def decode(
    profile: Mapping[str, Any], words: Mapping[tuple[int, int], Sequence[int]]
) -> dict[str, tuple[Decimal, str] | None]:
    """Return {OBIS: (value, unit)} of the blocks in `words`, {(function, first address): [register, ...]}.

    None stands for a value that the meter says is not available. Points that are text are left out.
    """
    values: dict[str, tuple[Decimal, str] | None] = {}
    for obis, block, offset, kind, scale, unit, *resolution in profile["q"]:
        function, address = profile["blk"][block][:2]
        registers = words.get((function, address))
        if registers is None or kind == "str":
            continue
        code = CODES[kind.rstrip("w")]
        size = struct.calcsize(code)
        part = list(registers[offset : offset + size // 2])
        if len(part) * 2 != size:
            raise ValueError(f"{obis}: the block ends before the value does")
        if kind.endswith("w"):
            part.reverse()
        raw = struct.pack(f">{len(part)}H", *part)
        if _absent(kind, raw, bool(profile.get("inv"))):
            values[obis] = None
            continue
        value = EXACT.create_decimal(struct.unpack(code, raw)[0])
        if isinstance(scale, list):
            value = EXACT.divide(EXACT.multiply(value, Decimal(scale[0])), Decimal(scale[1]))
        else:
            value = EXACT.scaleb(value, Decimal(scale))
        step = Decimal(1).scaleb(resolution[0] if resolution else -3)
        values[obis] = value.quantize(step, ROUND_HALF_EVEN, EXACT) + 0, unit  # + 0: no minus before a zero
    return values


def _absent(kind: str, raw: bytes, marked: bool) -> bool:
    """Return whether `raw` says "not available": NaN or infinite; all ones or the largest signed one where marked."""
    if kind[0] == "f":
        value = struct.unpack(CODES[kind.rstrip("w")], raw)[0]
        return bool(value - value != 0)
    largest = (b"\xff" if kind[0] == "u" else b"\x7f") + b"\xff" * (len(raw) - 1)
    return marked and raw == largest
