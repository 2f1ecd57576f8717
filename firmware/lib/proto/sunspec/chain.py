"""Finds a unit's SunSpec models: needed the first time, and after a silence.

SunSpec Information Model Specification: "SunS" at 40000, 50000 or 0, then models one behind the other, each with its id
and the number of registers that follow; 0xFFFF is the last id. Whatever a unit says, the search ends: it only goes
forward, and after _MOST models it is given up.
"""

from micropython import const

from lib import once, proto
from lib.proto import Fault, modbus

_BASES = (40000, 50000, 0)
_SUNS = const(0x53756E53)
_COMMON = const(1)
_TEXTS = (16, 16, 8, 8, 16)  # registers: manufacturer, model, options, version, serial number
_END = const(0xFFFF)
_MOST = const(48)
_KINDS = {"s": 0, "u": 1, "a": 2, "f": 3}
_TYPES = {"s": "s16", "u": "u16", "a": "u32", "f": "f32"}
_MINUS = const(8)
_SERIAL = const(16)
_NUMBER = const("0.0.96.1.1.255")  # SERIAL of models.py


async def find(session, batch, turn):
    """Return (identity, (id of the model, its length, Modbus batch, rows)) of the first model that the batch takes.

    `identity` as sunspec.Session has it. The Modbus batch reads the model from its id on; `rows` are four bytes for
    each point: number in the batch's values (0: not there), kind, number of its scale factor, power of ten. Raises
    Fault: what a read raised; ABSENT when there is no such model, RANGE for a chain that cannot be one. `turn` says
    which of the bases is tried first.
    """
    base = await _base(session, batch, turn)
    identity = [None] * 4
    at = base + 2
    for _ in range(_MOST):
        number, length = await _read(session, batch, at, ("u16", "u16"))
        if number == _END:
            raise Fault(proto.ABSENT, 0, "has no model %s" % ", ".join([str(one) for one in batch.models]))
        if not length or at + 2 + length + 2 > 65536:
            raise Fault(proto.RANGE, number, "model %d of %d registers at %d" % (number, length, at))
        if number == _COMMON and length >= sum(_TEXTS):
            texts = await _read(session, batch, at + 2, _TEXTS)
            identity = texts[:2] + texts[3:]
        elif number in batch.models:
            return identity, _layout(batch, number, length, at)
        at += 2 + length
    raise Fault(proto.RANGE, 0, "a chain of models without end")


async def _base(session, batch, turn):
    """Return the address of "SunS"; a unit that refuses one address is asked for the next."""
    for i in range(len(_BASES)):
        base = _BASES[(turn + i) % len(_BASES)]
        try:
            if await _read(session, batch, base, ("u32",)) == [_SUNS]:
                return base
        except Fault as fault:
            if fault.kind not in (proto.ABSENT, proto.REFUSED, proto.UNSUPPORTED):
                raise
    raise Fault(proto.ABSENT, 0, "is no SunSpec unit")


async def _read(session, batch, at, kinds):
    """Return the values that stand one behind the other from `at` on: types, or numbers of registers for texts."""
    rows = []
    count = 0
    for kind in kinds:
        text = isinstance(kind, int)
        rows.append(["", 0, count, "str" if text else kind, kind if text else 0, "", 0])
        count += kind if text else int(kind[1:]) // 16
    block = modbus.plan({"blk": [[3, at, count, 1]], "q": rows, "lim": batch.limits})[0]
    values = await session.read(block)
    if isinstance(values[0], Fault):
        raise values[0]
    return values


def _layout(batch, number, length, at):
    known = once.call("lib.proto.sunspec.models", "rows", number)
    rows = [["", 0, 0, "u16", 0, "", 0], ["", 0, 1, "u16", 0, "", 0]]
    places = {}  # (offset, type): number in the values
    last = 1

    def place(offset, row):
        nonlocal last
        key = offset, row[3]
        if key not in places:
            places[key] = len(rows)
            rows.append(row)
            last = max(last, offset + int(row[3][1:]) // 16 - 1)
        return places[key]

    made = bytearray()
    for code in batch.codes.split(" "):
        if code not in known:
            made.extend(bytes((0, _SERIAL if code == _NUMBER else 0, 0, 0)))
            continue
        unit, kind, offset, scale, shift, minus = known[code]
        if max(offset + 1, scale) > length + 1:  # the model is shorter than it should be
            made.extend(bytes(4))
            continue
        if kind == "f":
            factor = [-1, 1] if minus else shift
            made.extend(bytes((place(offset, ["", 0, offset, "f32", factor, "", -3]), _KINDS[kind], 0, 0)))
        else:
            value = place(offset, ["", 0, offset, _TYPES[kind], 0, "", 0])
            factor = place(scale, ["", 0, scale, "s16", 0, "", 0])
            made.extend(bytes((value, _KINDS[kind] | (_MINUS if minus else 0), factor, shift)))
    block = modbus.plan({"blk": [[3, at, last + 1, 1]], "q": rows, "lim": batch.limits})[0]
    block.points = None
    return number, length, block, bytes(made)
