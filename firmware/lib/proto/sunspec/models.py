"""Where the values of a SunSpec model stand: needed when a unit is looked for.

From the public model definitions, github.com/sunspec/models, json/model_101.json to model_214.json. A line is unit,
type (s int16, u uint16, a acc32, f float32), offset of the scale factor from the model's id, power of ten that brings
the unit of the model to 10^-3 of ours, and code:offset of each value; `~` turns the sign. Positive power of an inverter
is what it delivers, which is export here; the models give power factors in percent, 211 to 214 excepted.
"""

SERIAL = "0.0.96.1.1.255"  # the unit's own number, from the common model

_METER = """
A s 6 3 31.7.0:3 51.7.0:4 71.7.0:5
V s 15 3 32.7.0:8 52.7.0:9 72.7.0:10
Hz s 17 3 14.7.0:16
W s 22 3 16.7.0:18 36.7.0:19 56.7.0:20 76.7.0:21
VA s 27 3 9.7.0:23 29.7.0:24 49.7.0:25 69.7.0:26
var s 32 3 131.7.0:28 151.7.0:29 171.7.0:30 191.7.0:31
- s 37 1 13.7.0:33 33.7.0:34 53.7.0:35 73.7.0:36
kWh a 54 0 2.8.0:38 22.8.0:40 42.8.0:42 62.8.0:44 1.8.0:46 21.8.0:48 41.8.0:50 61.8.0:52"""

_METER_FLOAT = """
A f 0 0 31.7.0:4 51.7.0:6 71.7.0:8
V f 0 0 32.7.0:12 52.7.0:14 72.7.0:16
Hz f 0 0 14.7.0:26
W f 0 0 16.7.0:28 36.7.0:30 56.7.0:32 76.7.0:34
VA f 0 0 9.7.0:36 29.7.0:38 49.7.0:40 69.7.0:42
var f 0 0 131.7.0:44 151.7.0:46 171.7.0:48 191.7.0:50
- f 0 0 13.7.0:52 33.7.0:54 53.7.0:56 73.7.0:58
kWh f 0 -3 2.8.0:60 22.8.0:62 42.8.0:64 62.8.0:66 1.8.0:68 21.8.0:70 41.8.0:72 61.8.0:74"""

_INVERTER = """
A u 6 3 31.7.0:3 51.7.0:4 71.7.0:5
V u 13 3 32.7.0:10 52.7.0:11 72.7.0:12
W s 15 3 ~16.7.0:14
Hz u 17 3 14.7.0:16
VA s 19 3 9.7.0:18
var s 21 3 ~131.7.0:20
- s 23 1 13.7.0:22
kWh a 26 0 2.8.0:24"""

_INVERTER_FLOAT = """
A f 0 0 31.7.0:4 51.7.0:6 71.7.0:8
V f 0 0 32.7.0:16 52.7.0:18 72.7.0:20
W f 0 0 ~16.7.0:22
Hz f 0 0 14.7.0:24
VA f 0 0 9.7.0:26
var f 0 0 ~131.7.0:28
- f 0 -2 13.7.0:30
kWh f 0 -3 2.8.0:32"""


def ids():
    """Return the ids of the models."""
    return [101, 102, 103, 111, 112, 113, 201, 202, 203, 204, 211, 212, 213, 214]


def codes():
    """Return the codes of what there is in one model or another: the meters have all."""
    return [SERIAL] + list(rows(201))


def rows(number):
    """Return {code: (unit, type, offset, offset of the scale factor, power of ten, whether the sign turns)}."""
    text = (_METER, _METER_FLOAT) if number > 200 else (_INVERTER, _INVERTER_FLOAT)
    found = {}
    for line in text[number // 10 % 10].split("\n")[1:]:
        unit, kind, scale, shift, *values = line.split(" ")
        for value in values:
            code, offset = value.split(":")
            found[code.lstrip("~")] = unit.strip("-"), kind, int(offset), int(scale), int(shift), code[0] == "~"
    return found


def points(q):
    """Return the columns of a profile's `q` as lib/proto says; each has the same unit in every model."""
    known = rows(201)
    text = ""
    for row in q:
        text += "\n%s %s %d" % ((row[0], "", 0) if row[0] == SERIAL else (row[0], known[row[0]][0], -3))
    return text
