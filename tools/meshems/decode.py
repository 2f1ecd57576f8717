"""What the registers of a meter say, computed without the firmware's help: tests, demo and bench compare with it.

    decode(profile, {(4, 0): [0x4366, 0x3333, ...]})    # {"32.7.0": (Decimal("230.200"), "V"), ...}

Standard library only, and nothing of `firmware/`: `struct` takes IEEE 754 and two's complement apart, `fractions`
scales and rounds. The rule: the register's exact value, rounded half-even to the point's resolution, 10^-3 of its unit
unless the row of the profile says otherwise.
"""

import struct
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

EXACT = Context(prec=400)  # a float64 has at most some 310 digits before the point
CODES = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d"}


def decode(
    profile: Mapping[str, Any],
    words: Mapping[tuple[int, int], Sequence[int]],
    ratios: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, tuple[Decimal, str] | None]:
    """Return {OBIS: (value, unit)} of the blocks in `words`, {(function, first address): [register, ...]}.

    None stands for a value that the meter says is not available, or whose ratio is not known. Points that are text are
    left out. `ratios` are those of the meter's configuration, {"ct": [primary, secondary]}; what is neither there nor
    in a register of the profile is 1.
    """
    known = _ratios(profile, words, ratios or {})
    values: dict[str, tuple[Decimal, str] | None] = {}
    for obis, block, offset, kind, scale, unit, *rest in profile["q"]:
        function, address = profile["blk"][block][:2]
        registers = words.get((function, address))
        if registers is None or kind == "str":
            continue
        more = rest[1] if len(rest) > 1 else {}
        value = _scaled(obis, registers, offset, kind, scale, bool(profile.get("inv")) and "plus" not in more)
        if "plus" in more:
            parts = (offset, kind), more["plus"][:2]
            if profile.get("inv") and all(_absent(part, _raw(obis, registers, at, part), True) for at, part in parts):
                value = None
            else:
                second = _scaled(obis, registers, *more["plus"], False)
                value = None if value is None or second is None else value + second
        for key in _scaling(unit, more.get("by"), known):
            times = known[key]
            value = None if value is None or times is None else value * times
        if value is None:
            values[obis] = None
            continue
        if "sign" in more and registers[more["sign"][0]] & more["sign"][1]:
            value = -value
        exponent = rest[0] if rest else -3
        whole = round(value / Fraction(10) ** exponent)  # a tie goes to the even neighbour
        values[obis] = EXACT.scaleb(EXACT.create_decimal(whole), Decimal(exponent)), unit
    return values


def _ratios(
    profile: Mapping[str, Any], words: Mapping[tuple[int, int], Sequence[int]], given: Mapping[str, Sequence[int]]
) -> dict[str, Fraction | None]:
    """Return {ratio: its value, None when the meter's register does not say one}."""
    known: dict[str, Fraction | None] = {}
    for key, code in profile.get("ratio", {}).items():
        known[key] = Fraction(*given.get(key, (1, 1)))
        if code and key not in given:
            row = next(row for row in profile["q"] if row[0] == code)
            plain = decode({**profile, "q": [row], "ratio": {}}, words).get(code)
            known[key] = Fraction(plain[0]) if plain and plain[0] > 0 else None
    return known


def _scaling(unit: str, named: Sequence[str] | None, known: Mapping[str, Any]) -> list[str]:
    """Return the ratios that scale a row: those that it names, else A the ct, V the pt, power and energy both."""
    if named is None:
        power = unit in {k + u + h for k in ("", "k") for u in ("W", "var", "VA") for h in ("", "h")}
        named = ["ct", "pt"] if power else {"A": ["ct"], "V": ["pt"]}.get(unit, [])
    return [key for key in named if key in known]


def _raw(obis: str, registers: Sequence[int], offset: int, kind: str) -> bytes:
    size = struct.calcsize(CODES[kind.rstrip("w")])
    part = list(registers[offset : offset + size // 2])
    if len(part) * 2 != size:
        raise ValueError(f"{obis}: the block ends before the value does")
    if kind.endswith("w"):
        part.reverse()
    return struct.pack(f">{len(part)}H", *part)


def _scaled(
    obis: str, registers: Sequence[int], offset: int, kind: str, scale: int | Sequence[int], marked: bool
) -> Fraction | None:
    """Return the exact value of the registers, None when they say that there is none."""
    raw = _raw(obis, registers, offset, kind)
    if _absent(kind, raw, marked):
        return None
    value = Fraction(struct.unpack(CODES[kind.rstrip("w")], raw)[0])
    return value * (Fraction(10) ** scale if isinstance(scale, int) else Fraction(scale[0], scale[1]))


def _absent(kind: str, raw: bytes, marked: bool) -> bool:
    """Return whether `raw` says "not available": NaN or infinite; all ones or the largest signed one where marked."""
    if kind[0] == "f":
        value = struct.unpack(CODES[kind.rstrip("w")], raw)[0]
        return bool(value - value != 0)
    largest = (b"\xff" if kind[0] == "u" else b"\x7f") + b"\xff" * (len(raw) - 1)
    return marked and raw == largest
