"""What format v 2 of a profile adds at run time; imported only where a profile uses it.

A counter in two parts, a sign that stands in another register, and the ratios of current and voltage transformers.
"""

from micropython import const

from lib import fixed
from lib.proto import ABSENT, RANGE, Fault
from lib.proto.modbus.points import Batch, number

_INVALID = const(64)  # a flag of points.py
_LIMIT = const(62)  # bits of a value, as in points.py


class Wide(Batch):
    """A Batch of one meter.

    `wide` has (number of the point, offset, kind, mul, div, second part, sign, ratios) for each point that is more than
    a number: the second part is (offset, kind, mul, div), the sign [offset, mask]. `sources` has (number of the point,
    ratio, exponent) for each point that says a ratio. `known` is {ratio: (mul, div), or None before it was read}, one
    for all the batches of a meter.
    """

    def __init__(self, made, wide, sources, known):
        super().__init__(*made)
        # no private names: in what ships they may be spelled like those of Batch, which another module has
        self.wide = wide
        self.sources = sources
        self.known = known

    def decode(self, data):
        """Return a value for each point, as Batch does."""
        values = super().decode(data)
        for i, key, exponent in self.sources:
            value = values[i]
            good = isinstance(value, int) and value > 0
            self.known[key] = (value * 10 ** max(exponent, 0), 10 ** max(-exponent, 0)) if good else None
        for row in self.wide:
            values[row[0]] = _value(data, self.known, *row[1:])
        return values


def _value(data, known, at, kind, mul, div, plus, sign, by):
    at *= 2
    top = bottom = 1
    for key in by:
        pair = known[key]
        if pair is None:
            return Fault(ABSENT, 0, "the meter has not said its ratio")
        top *= pair[0]
        bottom *= pair[1]
    if sign and int.from_bytes(data[2 * sign[0] : 2 * sign[0] + 2], "big") & sign[1]:
        top = -top
    if not plus:
        return number(data, at, kind, mul * top, div * bottom)
    start, other, mul2, div2 = plus
    start *= 2
    if kind & _INVALID and number(data, at, kind, 1, 1) is None and number(data, start, other, 1, 1) is None:
        return None
    first = number(data, at, kind & ~_INVALID, 1, 1) * mul * div2
    second = number(data, start, other & ~_INVALID, 1, 1) * mul2 * div
    value = fixed.ratio((first + second) * top, div * div2 * bottom)
    return Fault(RANGE, 0, "no value has so many digits") if abs(value) >> _LIMIT else value
