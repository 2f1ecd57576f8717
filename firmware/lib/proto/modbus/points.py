"""From a profile to requests, and from the registers of a reply to values in integers.

A row of a profile becomes three bytes: offset in the block, kind, and the index of its scale. A kind is the number of
registers (0: a string, and the third byte is their number) and the flags below.
"""

from lib import fixed
from lib.proto import RANGE, Fault

# w: the low word comes first
TYPES = tuple("u16 s16 u32 s32 f32 u64 s64 f64 u32w s32w f32w u64w s64w f64w str".split())
EXPONENT = -3  # of a point whose row names none
LIMIT = 62  # bits of a value; records hold 64 bits of a difference

_SIGNED, _FLOAT, _LOW, _INVALID = 8, 16, 32, 64


class Batch:
    """The points of one read request, `size` of them, due every `every`-th time; `points` as lib/proto says."""

    def __init__(self, block, limits, points, rows, scales):
        self.function, self.address, self.count, self.every = block
        self.rest_ms, self.wait_ms = limits[2:]
        self.points = points
        self.size = len(rows) // 3
        self._rows = rows
        self._scales = scales

    def decode(self, data):
        """Return a value for each point from the bytes of the block's registers.

        An int in units of 10^exponent, a str, None for "not available", a Fault for what cannot be a value.
        """
        rows = self._rows
        values = []
        for i in range(0, len(rows), 3):
            at, kind, scale = rows[i] * 2, rows[i + 1], rows[i + 2]
            if kind:
                value = _number(_bits(data, at, kind), kind, *self._scales[scale])
            else:
                value = "".join([chr(byte) for byte in data[at : at + 2 * scale] if 32 <= byte < 127]).strip() or None
            values.append(value)
        return values


def _bits(data, at, kind):
    step = 2
    if kind & _LOW:
        at += 2 * (kind & 7) - 2
        step = -2
    bits = 0
    for _ in range(kind & 7):
        bits = bits << 16 | data[at] << 8 | data[at + 1]
        at += step
    return bits


def _number(bits, kind, mul, div):
    width = 16 * (kind & 7)
    if kind & _FLOAT:
        value = (fixed.f32 if width == 32 else fixed.f64)(bits, mul, div)
        if value is None:
            return None
    else:
        most = (1 << width - 1 if kind & _SIGNED else 1 << width) - 1
        if kind & _INVALID and bits == most:
            return None
        if bits > most:
            bits -= 1 << width
        value = fixed.ratio(bits * mul, div)
    return Fault(RANGE, 0, "no value has so many digits") if abs(value) >> LIMIT else value


def words(name):
    """Return the number of registers of the type `name`; 0 for a string, whose row says it."""
    return 0 if name == "str" else int(name[1:3]) // 16


def _scale(factor, exponent):
    """Return (mul, div) that turn a register into units of 10^exponent; `factor` is a power of ten or [mul, div]."""
    mul = div = 1
    if isinstance(factor, list):
        mul, div = factor
        factor = 0
    factor -= exponent
    return (mul * 10**factor, div) if factor >= 0 else (mul, div * 10**-factor)


def plan(profile):
    """Return the batches of a profile in which `check` finds nothing: one for each block that a row reads."""
    batches = []
    scales = []
    for index, block in enumerate(profile["blk"]):
        points = ""
        rows = bytearray()
        for row in profile["q"]:
            if row[1] != index:
                continue
            name, scale, unit, exponent = (row + [EXPONENT])[3:7]
            kind = words(name)
            if kind:
                kind |= {"u": 0, "s": _SIGNED, "f": _FLOAT}[name[0]]
                if name[-1] == "w":
                    kind |= _LOW
                if profile.get("inv"):
                    kind |= _INVALID
                pair = _scale(scale, exponent)
                if pair not in scales:
                    scales.append(pair)
                scale = scales.index(pair)
            rows.extend(bytes((row[2], kind, scale)))
            points += "\n%s %s %d" % (row[0], unit, exponent)
        if points:
            batches.append(Batch(block, profile["lim"], points, bytes(rows), scales))
    return batches
