"""The rules of a Modbus profile.

    {"v": 1, "id": "hiking-dds238-2-sr", "n": "Hiking DDS238-2 ZN/SR", "ph": 1,   phases; 0: no energy meter
     "ser": ["9600N1"],                     ports to try, the first as delivered
     "lim": [32, 1, 20, 500],               most registers in a read, alignment, rest ms, ms to the first byte
     "blk": [[3, 0, 27, 1]],                reads: function, address as on the wire, count, every n-th time
     "q": [["15.8.0", 0, 0, "u32", -2, "kWh"],     OBIS, block, offset in it, type, scale, unit [, exponent]
           ["32.7.0", 0, 12, "u16", -1, "V"]],
     "probe": [[3, 17, 1, "u16", {"min": 4500, "max": 6500}]],     function, address, count, type, what proves it
     "rly": {"rd": [3, 26, 1, "u16", [1], [0]], "on": [16, 26, [1]], "off": [16, 26, [0]], "wait": 2},
     "inv": 1,                              all ones, or the largest of a signed type, say "not available"
     "conf": "M", "note": "..."}            H: independent sources agree, M: one full source, L: a guess

A scale is a power of ten or [mul, div]; of a `str` the number of registers. A value has the resolution 10^exponent of
its unit, 10^-3 when the row names none. Blocks differ in (function, count), so that a late reply never fits another.
What v 2 adds stands in widerules.py; docs/profiles.md is the whole specification.
"""

from lib import once, schema

TYPES = tuple("u16 s16 u32 s32 f32 u64 s64 f64 u32w s32w f32w u64w s64w f64w str".split())  # w: the low word first
MOST = 125  # registers in one reply
BAUDS = "1200 2400 4800 9600 19200 38400 57600 115200".split()

_ANY = {"type": "integer"}
_LIST = {"type": "array"}
_TEXT = {"type": "string", "minLength": 1}


def _int(least, most):
    return {"type": "integer", "minimum": least, "maximum": most}


def _one(*values):
    return {"type": "integer" if isinstance(values[0], int) else "string", "enum": values}


def _name(most, characters):
    return {"type": "string", "minLength": 1, "maxLength": most, "pattern": "^[" + characters + "]+$"}


def _list(least, most, items):
    return {"type": "array", "minItems": least, "maxItems": most, "items": items}


def _object(required, properties):
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


_ADDRESS = _int(0, 65535)
_COUNT = _int(1, MOST)
_READ = _one(3, 4)
_TYPE = _one(*TYPES)
_VALUES = _list(1, 16, _ANY)
_MORE = _object("", {"plus": _LIST, "sign": _LIST, "by": _list(0, 2, _one("ct", "pt"))})


def problems(profile):
    """Return every problem of any parsed JSON as (path, found, allowed); [] when it is a good profile."""
    relay = {"rd": _LIST, "on": _LIST, "off": _LIST, "wait": _int(0, 60), "k": _one("output")}
    rules = _object("v id n ph ser lim blk q conf", {
        "v": _one(1, 2), "proto": _one("modbus"), "id": _name(32, "A-Za-z0-9._-"), "n": _TEXT, "ph": _int(0, 3),
        "ser": _list(1, 8, _TEXT), "lim": _LIST, "blk": _list(1, 32, _LIST), "q": _list(1, 250, _LIST),
        "probe": _list(1, 8, _LIST), "rly": _object("rd on off", relay), "inv": _int(0, 1),
        "conf": _one("H", "M", "L"), "note": _TEXT,
    })  # fmt: skip
    wide = isinstance(profile, dict) and profile.get("v") == 2
    if wide:
        rules["properties"].update({"ratio": {"type": "object"}, "own": _LIST})
    judge = _Judge(schema.problems(rules, profile), wide)
    if isinstance(profile, dict):
        for key in ("ser", "lim", "blk", "q", "probe", "rly"):
            part = profile.get(key)
            if isinstance(part, dict if key == "rly" else list):
                getattr(judge, key)(part)
    if wide:
        once.call("lib.proto.modbus.widerules", "problems", judge, profile)
    return judge.found


def _words(name):
    """Return the number of registers of the type `name`; 0 for a string, whose row says it."""
    return 0 if name == "str" else int(name[1:3]) // 16


class _Judge:
    """One method for each key, called in the order that they need each other."""

    def __init__(self, found, wide):
        self.found = found
        self._wide = wide
        self.count = _COUNT  # what a read may have
        self._align = 1
        self._seen = {}
        self.counts = []  # registers of each block; None where the block is broken

    def say(self, path, found, allowed):
        self.found.append((path, found, allowed))

    def good(self, path, value, rule):
        found = schema.problems(rule, value, path)
        self.found.extend(found)
        return not found

    def row(self, path, row, *rules):
        """Tell whether `row` is a list of items that keep the rules, one each; what is no list was found before."""
        if not isinstance(row, list):
            return False
        if len(row) != len(rules):
            self.say(path, "%d items" % len(row), "%d items" % len(rules))
            return False
        good = [self.good("%s[%d]" % (path, i), row[i], rule) for i, rule in enumerate(rules) if rule]
        return all(good)

    def ser(self, ports):
        for i, port in enumerate(ports):
            if isinstance(port, str) and (port[:-2] not in BAUDS or port[-2] not in "NEO" or port[-1] not in "12"):
                self.say("ser[%d]" % i, schema.show(port), "speed, parity N E O, stop bits 1 2, as in 9600N1")

    def lim(self, limits):
        if self.row("lim", limits, _COUNT, _int(1, 4), _int(0, 5000), _int(10, 10000)):
            self.count, self._align = _int(1, limits[0]), limits[1]

    def blk(self, blocks):
        for i, block in enumerate(blocks):
            path = "blk[%d]" % i
            good = self.row(path, block, _READ, _ADDRESS, self.count, _int(1, 1000))
            self.counts.append(block[2] if good else None)
            if good:
                self.apart(path, *block[:3])

    def apart(self, path, function, address, count):
        """Judge a read of good numbers: it keeps the alignment, and no other has its length."""
        if address % self._align or count % self._align:
            self.say(path, "%d+%d" % (address, count), "multiples of %d" % self._align)
        self.good(path + "[2]", count, _int(1, 65536 - address))
        if (function, count) in self._seen:
            self.say(path + "[2]", str(count), "another length than " + self._seen[function, count])
        self._seen[function, count] = path

    def q(self, rows):
        seen = {}
        read = []
        for i, row in enumerate(rows):
            path = "q[%d]" % i
            rules = [_name(24, "A-Za-z0-9.:*_-"), _int(0, len(self.counts) - 1), _int(0, MOST), _TYPE, None, None]
            if isinstance(row, list):
                if len(row) > 6:
                    rules.append(_int(-9, 9))
                if len(row) > 7 and self._wide:
                    rules.append(_MORE)
            if self.row(path, row, *rules):
                if row[0] in seen:
                    self.say(path + "[0]", schema.show(row[0]), "another code than q[%d]" % seen[row[0]])
                seen[row[0]] = i
                read.append(row[1])
                self._point(path, *row[1:6])
        for i in range(len(self.counts)):
            if i not in read and len(read) == len(rows):
                self.say("blk[%d]" % i, "no row", "a row of q that reads it")

    def _point(self, path, block, offset, name, scale, unit):
        length = _words(name)
        at = path + "[4]"
        if not length:
            length = scale if self.good(at, scale, _COUNT) else 1
        elif not isinstance(scale, list):
            self.good(at, scale, _int(-9, 9))
        else:
            self.row(at, scale, _int(-1000000000, 1000000000), _int(1, 1000000000))
        if unit != "":
            self.good(path + "[5]", unit, _name(8, "A-Za-z0-9%"))
        count = self.counts[block]
        if count and offset + length > count:
            self.say(path, "%d+%d" % (offset, length), "an end within the %d of blk[%d]" % (count, block))
        if offset % self._align:
            self.say(path + "[2]", str(offset), "a multiple of %d" % self._align)

    def probe(self, rows):
        for i, row in enumerate(rows):
            path = "probe[%d]" % i
            if not self.row(path, row, _READ, _ADDRESS, _COUNT, _TYPE, None):
                continue
            length = _words(row[3])
            if length not in (0, row[2]):
                self.say(path + "[2]", str(row[2]), str(length))
            if not length:
                rule = _object("str", {"str": _TEXT})
            elif isinstance(row[4], list):
                rule = _VALUES
            else:
                rule = _object("min max", {"min": _ANY, "max": _ANY})
            self.good(path + "[4]", row[4], rule)

    def rly(self, relay):
        self.row("rly.rd", relay.get("rd"), _int(1, 4), _ADDRESS, _COUNT, _TYPE, _VALUES, _VALUES)
        for key in ("on", "off"):
            path = "rly." + key
            written = relay.get(key)
            if self.row(path, written, _one(5, 6, 16), _ADDRESS, _list(1, 123, _ADDRESS)):
                if written[0] != 16 and len(written[2]) > 1:
                    self.say(path + "[2]", "%d values" % len(written[2]), "one value")
