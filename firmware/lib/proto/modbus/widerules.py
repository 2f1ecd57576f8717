"""The rules of what format v 2 of a Modbus profile adds.

    "ratio": {"ct": "0.4.2", "pt": ""},      which transformer ratios there are: the row that reads one, "" for none
    ["1.8.0", 0, 6, "u16", -1, "kWh", -3, {"plus": [8, "u16", [65536, 10]]}],     value + second part, exactly
    ["16.7.0", 0, 0, "u32", -1, "W", -3, {"sign": [4, 32768]}],     minus when register 4 has a bit of the mask
    ["x.bv", 0, 9, "u16", -1, "V", -3, {"by": []}],     scaled by these ratios, not by those that its unit names
    "own": [3, 64512, 2, "u32"],     where the meter's own number stands: function, address, count, type

The unit says which of the ratios scale a row: A the ct, V the pt, power and energy both. All offsets are in the row's
own block. Both parts are integers of at most 32 bits; they are "not available" when both say so. A ratio whose row is
read later than the values that it scales would be unknown: its block comes first.
"""

from micropython import const

from lib import schema

_NUMBER = const("0.0.96.1.1.255")
_NUMBERS = ("u16", "u32", "u32w", "u64", "u64w", "str")
_PARTS = ("u16", "s16", "u32", "s32", "u32w", "s32w")
_POWER = {"type": "integer", "minimum": -9, "maximum": 9}
_FACTOR = {"type": "integer", "minimum": -1000000000, "maximum": 1000000000}
_DIVISOR = {"type": "integer", "minimum": 1, "maximum": 1000000000}
_ADDRESS = {"type": "integer", "minimum": 0, "maximum": 65535}
_OFFSET = {"type": "integer", "minimum": 0, "maximum": 124}
_MASK = {"type": "integer", "minimum": 1, "maximum": 65535}
_PART = {"type": "string", "enum": _PARTS}


def scaled(rows, ratio):
    """Return for each row of a good profile's `q` the list of its ratios."""
    found = []
    for row in rows:
        unit = row[5]
        if len(row) > 7 and "by" in row[7]:
            keys = row[7]["by"]
        elif unit in ("A", "V"):
            keys = ["ct" if unit == "A" else "pt"]
        else:
            keys = ["ct", "pt"] if unit.lstrip("k").rstrip("h") in ("W", "var", "VA") else []
        found.append([key for key in keys if key in ratio])
    return found


def problems(judge, profile):
    """Add to what the judge of rules.py found what is wrong with `own`, `ratio` and the rows that have more."""
    if isinstance(profile.get("own"), list):
        _own(judge, profile["own"], profile)
    if not isinstance(profile.get("q"), list):
        return
    whole = []  # the rows that have what the checks below look at
    for i, row in enumerate(profile["q"]):
        if isinstance(row, list) and len(row) in (6, 7, 8) and isinstance(row[5], str):
            if len(row) < 8 or isinstance(row[7], dict) and isinstance(row[7].get("by", []), list):
                whole.append((i, row))
    rows = [row for _, row in whole]
    ratio = profile.get("ratio")
    codes = _ratios(judge, ratio, rows) if isinstance(ratio, dict) else {}
    keys = scaled(rows, codes)
    for n, (i, row) in enumerate(whole):
        path = "q[%d]" % i
        for key in keys[n]:
            if codes[key] is not None and not _before(codes[key], row[1]):
                judge.say(path, schema.show(key), "a ratio that is read in the same block or an earlier one")
        if len(row) == 8:
            _more(judge, path + "[7]", row, codes)
    for key in codes:
        if key not in [key for found in keys for key in found]:
            judge.say("ratio." + key, "no row", "a row of q that it scales")


def _own(judge, row, profile):
    name = {"type": "string", "enum": _NUMBERS}
    if not judge.row("own", row, {"type": "integer", "enum": (3, 4)}, _ADDRESS, judge.count, name):
        return
    function, address, count, name = row
    if name != "str" and count < int(name[1:3]) // 16:
        judge.say("own[2]", str(count), "at least %d" % (int(name[1:3]) // 16))
    judge.apart("own", function, address, count)
    for i, row in enumerate(profile["q"] if isinstance(profile.get("q"), list) else ()):
        if isinstance(row, list) and row[:1] == [_NUMBER]:
            judge.say("q[%d][0]" % i, schema.show(_NUMBER), "another code beside `own`")


def _ratios(judge, ratio, rows):
    """Return {ratio: block of the row that reads it, None when none does} of the good ones."""
    codes = {}
    for key in ratio:
        path = "ratio." + schema.show(key).strip('"')
        code = ratio[key]
        found = [row for row in rows if row[0] == code]
        if key not in ("ct", "pt"):
            judge.say(path, "unknown key", "ct, pt")
        elif code == "":
            codes[key] = None
        elif not isinstance(code, str) or not found or found[0][3] == "str":
            judge.say(path, schema.show(code), '"" or the code of a row of q that is a number')
        elif len(found[0]) == 8 or scaled(found[:1], ("ct", "pt"))[0]:
            judge.say(path, schema.show(code), "a row that nothing scales, without more")
        else:
            codes[key] = found[0][1]
    return codes


def _more(judge, path, row, codes):
    name, more = row[3], row[7]
    if name == "str":
        judge.say(path, "object", "a row that is a number")
        return
    plus, sign, by = more.get("plus"), more.get("sign"), more.get("by", [])
    if isinstance(plus, list):
        if name not in _PARTS:
            judge.say(path + ".plus", "a part of type " + schema.show(name), ", ".join(_PARTS))
        if judge.row(path + ".plus", plus, _OFFSET, _PART, None):
            if not isinstance(plus[2], list):
                judge.good(path + ".plus[2]", plus[2], _POWER)
            else:
                judge.row(path + ".plus[2]", plus[2], _FACTOR, _DIVISOR)
            _inside(judge, path + ".plus", row[1], plus[0], int(plus[1][1:3]) // 16)
    if isinstance(sign, list) and judge.row(path + ".sign", sign, _OFFSET, _MASK):
        _inside(judge, path + ".sign", row[1], sign[0], 1)
    for key in by:
        if key in ("ct", "pt") and key not in codes:
            judge.say(path + ".by", schema.show(key), "a ratio that `ratio` names")
    if len(by) == 2 and by[0] == by[1]:
        judge.say(path + ".by", schema.show(by[1]), "each ratio once")


def _before(one, other):
    return isinstance(one, int) and isinstance(other, int) and one <= other


def _inside(judge, path, block, offset, length):
    if isinstance(block, int) and 0 <= block < len(judge.counts):
        count = judge.counts[block]
        if count and offset + length > count:
            judge.say(path, "%d+%d" % (offset, length), "an end within the %d of blk[%d]" % (count, block))
