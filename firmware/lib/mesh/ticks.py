"""Times in ms that wrap at 2^30, as the chip's ticks do. Two that are compared lie less than 6.2 days apart."""

from micropython import const

_MASK = const(0x3FFFFFFF)
_HALF = const(0x20000000)


def diff(a, b):
    """Return a - b, ms, negative when `a` was before `b`."""
    return ((a - b) & _MASK ^ _HALF) - _HALF  # only small ints: 2^30 itself is none on the chip


def later(now, ms):
    """Return the time `ms` after `now`; `ms` may be negative."""
    return (now + ms) & _MASK
