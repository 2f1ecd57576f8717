"""From the registers of a reply to values in integers.

A point is three bytes of its batch: the offset in the block, its kind, and the index of its scale. A kind is the number
of registers and the flags below; 0 is a string, and then the third byte is their number. planner.py makes them.
"""

import struct

from micropython import const

from lib import fixed
from lib.proto import RANGE, Fault

_SIGNED = const(8)
_FLOAT = const(16)
_LOW = const(32)  # the low word comes first
_INVALID = const(64)  # all ones, or the largest of a signed type, say "not available"
_LIMIT = const(62)  # bits of a value; records hold 64 bits of a difference
_HEAD = const(">BHBBHH")  # of the packed rows: what Batch.block returns
_ROWS = const(9)  # its bytes


class Batch:
    """The points of one read request, `size` of them, due every `every`-th time; `points` as lib/proto says.

    `block` is that of the profile and the count of its probe, `limits` the profile's `lim`.
    """

    def __init__(self, block, limits, points, rows, scales):
        function, address, count, self.every, probe = block
        self.points = points
        self.size = len(rows) // 3
        # packed, because an attribute for each would cost a multiple
        self._rows = struct.pack(_HEAD, function, address, count, probe, *limits[2:]) + rows
        self._scales = scales

    def block(self):
        """Return (function, address, count, count of a probe, rest ms, ms to the first byte)."""
        return struct.unpack_from(_HEAD, self._rows, 0)

    def decode(self, data):
        """Return a value for each point from the bytes of the block's registers.

        An int in units of 10^exponent, a str, None for "not available", a Fault for what cannot be a value.
        """
        rows = self._rows
        values: list = [None] * self.size
        for n in range(self.size):
            i = _ROWS + 3 * n
            at, kind, scale = rows[i] * 2, rows[i + 1], rows[i + 2]
            if kind:
                value = number(data, at, kind, *self._scales[scale])
            else:
                value = "".join([chr(byte) for byte in data[at : at + 2 * scale] if 32 <= byte < 127]).strip() or None
            values[n] = value
        return values


def number(data, at, kind, mul, div):
    """Return the number that starts at byte `at`, times mul/div: an int, None or a Fault as Batch.decode has them."""
    step = 2
    if kind & _LOW:
        at += 2 * (kind & 7) - 2
        step = -2
    bits = width = 0
    while width < 16 * (kind & 7):
        bits = bits << 16 | data[at] << 8 | data[at + 1]
        at += step
        width += 16
    if kind & _FLOAT:
        value = fixed.ieee(bits, width, mul, div)
        if value is None:
            return None
    else:
        most = (1 << width - 1 if kind & _SIGNED else 1 << width) - 1
        if kind & _INVALID and bits == most:
            return None
        if bits > most:
            bits -= 1 << width
        value = fixed.ratio(bits * mul, div)
    return Fault(RANGE, 0, "no value has so many digits") if abs(value) >> _LIMIT else value
