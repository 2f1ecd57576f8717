"""From a profile to the reads of its blocks: needed at start only, see `modbus.plan`."""

from micropython import const

from lib import once
from lib.proto.modbus.points import Batch

_EXPONENT = const(-3)  # of a point whose row names none
_SIGNED = const(8)  # the flags of points.py
_FLOAT = const(16)
_LOW = const(32)
_INVALID = const(64)
_NUMBER = const("0.0.96.1.1.255")  # OBIS: the meter's own


def _scale(factor, exponent):
    """Return (mul, div) that turn a register into units of 10^exponent; `factor` is a power of ten or [mul, div]."""
    mul = div = 1
    if isinstance(factor, list):
        mul, div = factor
        factor = 0
    factor -= exponent
    return (mul * 10**factor, div) if factor >= 0 else (mul, div * 10**-factor)


def _probe(block, profile):
    """Return how many registers of `block` tell whether the meter is there: as few as differ from every block's.

    A late reply to a probe then fits no block, nor one to a block the probe; the count of `block` when there is none.
    """
    function, _, count, _ = block
    taken = [other[2] for other in profile["blk"] if other[0] == function]
    step = profile["lim"][1]
    return min([n for n in range(step, count, step) if n not in taken] or [count])


def _kind(name, marked):
    """Return the kind of the type `name`; `marked` as the profile's `inv`."""
    kind = int(name[1:3]) // 16 | {"u": 0, "s": _SIGNED, "f": _FLOAT}[name[0]]
    if name[-1] == "w":
        kind |= _LOW
    return kind | _INVALID if marked else kind


def plan(profile):
    """Return the batches of a profile in which `check` finds nothing: one for each block that a row reads.

    A value of its `ratio` may also be [primary, secondary], as the configuration of one meter says; the batches of a
    profile with `ratio` remember what that meter says, so they are for one meter. Its `own` may have a fifth item: then
    the meter's own number is read too, last, each so-manyth time; without it never.
    """
    own = profile.get("own", ())
    if len(own) > 4:
        row = [_NUMBER, len(profile["blk"]), 0, own[3], own[2] if own[3] == "str" else 0, "text", 0]
        profile = dict(profile, blk=profile["blk"] + [own[:3] + own[4:]], q=profile["q"] + [row])
    batches = []
    scales = []
    ratio = profile.get("ratio", {})
    known = {key: ratio[key] or (1, 1) for key in ratio}
    known.update([(key, None) for key in ratio if ratio[key] and isinstance(ratio[key], str)])
    scaled = once.call("lib.proto.modbus.widerules", "scaled", profile["q"], ratio) if ratio else ()
    for index, block in enumerate(profile["blk"]):
        block = block + [_probe(block, profile)]
        points = ""
        rows = bytearray()
        wide = []
        sources = []
        for i, row in enumerate(profile["q"]):
            if row[1] != index:
                continue
            name, scale, unit, exponent = (row + [_EXPONENT])[3:7]
            kind = 0
            if name != "str":
                kind = _kind(name, profile.get("inv"))
                pair = _scale(scale, exponent)
                if pair not in scales:
                    scales.append(pair)
                scale = scales.index(pair)
            number = len(rows) // 3
            for key in ratio:
                if ratio[key] == row[0]:
                    sources.append((number, key, exponent))
            more = row[7] if len(row) > 7 else {}
            plus = more.get("plus")
            if plus:
                plus = (plus[0], _kind(plus[1], profile.get("inv"))) + _scale(plus[2], exponent)
            by = [key for key in scaled[i] if known[key] != (1, 1)] if ratio else ()
            if plus or by or "sign" in more:
                wide.append((number, row[2], kind) + scales[scale] + (plus, more.get("sign"), by))
            rows.extend(bytes((row[2], kind, scale)))
            points += "\n%s %s %d" % (row[0], unit, exponent)
        if not points:
            continue
        made = (block, profile["lim"], points, bytes(rows), scales)
        if not wide and not sources:
            batches.append(Batch(*made))
            continue
        from lib.proto.modbus.wide import Wide

        batches.append(Wide(made, wide, sources, known))
    return batches
