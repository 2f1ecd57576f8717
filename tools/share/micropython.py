"""Stands in for MicroPython's module of that name, so that CPython imports what desk and device share.

On the chip a module-level `_NAME = const(1)` is folded into the code and costs no memory: see firmware/lib.
"""


def const(value):
    """Return `value`."""
    return value
