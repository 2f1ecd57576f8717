"""SunSpec by discovery: the firmware's session against maps that pymodbus serves, each value to the last digit.

The maps are laid out from the names, types and scale factors of the public model definitions, in their order; offsets
are counted here, nothing of the firmware's tables is read.
"""

import json
import random
import struct
import subprocess
from decimal import ROUND_HALF_EVEN, Context, Decimal

import pytest

from meshems import paths
from mp_plugin import ROOT, environment, micropython
from pymodbus_station import PymodbusStation
from test_modbus_pymodbus import Wire

MASTER = """
import asyncio, json, machine
from lib import proto
from lib.media.rs485 import RS485
from lib.proto import sunspec

async def main():
    line = RS485(machine.UART(1, 9600, tx=17, rx=18, txbuf=512, rxbuf=512, timeout=0, timeout_char=0), 9600)
    for address, name in UNITS:
        profile = json.load(open(PROFILES + "/" + name + ".json"))
        assert sunspec.check(profile) == []
        batch, = sunspec.plan(profile)
        session = await sunspec.session(line, {"address": address}, {})
        points = [line.split(" ") for line in batch.points.split("\\n")[1:]]
        for _ in range(2):
            values = await session.read(batch)
            values = [value.text if isinstance(value, proto.Fault) else value for value in values]
            print(json.dumps([address, [list(pair) for pair in zip(points, values)], session.identity]))

asyncio.run(main())
"""
MODELS = json.loads((ROOT / "host_tests" / "data" / "sunspec-models.json").read_text())
SIZES = {"uint16": 1, "int16": 1, "sunssf": 1, "enum16": 1, "acc32": 2, "bitfield32": 2, "float32": 2}
CODES = {"uint16": ">H", "int16": ">h", "acc32": ">I", "float32": ">f"}
NOTHING = {"uint16": 0xFFFF, "int16": -32768, "acc32": 0, "float32": float("nan")}
EXACT = Context(prec=200)
IDENTITY = ["Maker", "Meter 9", "1.07", "SN-42/a"]

UNITS = dict.fromkeys(("31", "51", "71"), "A") | dict.fromkeys(("32", "52", "72"), "V")
UNITS |= dict.fromkeys(("16", "36", "56", "76"), "W") | {"14": "Hz", "9": "VA", "131": "var", "13": ""}

L1, L2, L3 = "phA", "phB", "phC"
METER = {"14.7.0": "Hz", "16.7.0": "W", "9.7.0": "VA", "131.7.0": "VAR", "13.7.0": "PF"}
METER.update({"1.8.0": "TotWhImp", "2.8.0": "TotWhExp"})
for _n, _phase in enumerate((L1, L2, L3)):
    METER.update({f"{c + 20 * _n + 20}.7.0": q + _phase for c, q in ((16, "W"), (9, "VA"), (131, "VAR"), (13, "PF"))})
    METER.update({f"{31 + 20 * _n}.7.0": "A" + _phase, f"{32 + 20 * _n}.7.0": "PhV" + _phase})
    METER.update({f"{21 + 20 * _n}.8.0": "TotWhImpP" + _phase[1:], f"{22 + 20 * _n}.8.0": "TotWhExpP" + _phase[1:]})
INVERTER = {"14.7.0": "Hz", "16.7.0": "-W", "9.7.0": "VA", "131.7.0": "-VAr", "13.7.0": "PF", "2.8.0": "WH"}
for _n, _phase in enumerate((L1, L2, L3)):
    INVERTER.update({f"{31 + 20 * _n}.7.0": "A" + _phase, f"{32 + 20 * _n}.7.0": "PhV" + _phase})


def layout(number):
    """[(name, type, name of its scale factor or None), ...] of a model."""
    same = {1: "103", 11: "113", 20: "203", 21: "213"}[number // 10 if number > 109 else number // 100]
    return [(*row, None)[:3] for row in MODELS[same]]


def model(number, rng, nothing=0.1):
    """(words from the id on, {name: exact value in the model's unit, None where it is not implemented})"""
    rows = layout(number)
    length = sum(SIZES[kind] for _, kind, _ in rows) - 2
    factors = {name: rng.choice((-3, -2, -1, 0, 1)) for name, kind, _ in rows if kind == "sunssf"}
    words, values = [], {}
    for name, kind, factor in rows:
        if name in ("ID", "L"):
            words.append(number if name == "ID" else length)
        elif kind == "sunssf":
            words.append(factors[name] & 0xFFFF)
        elif kind in CODES:
            least, most = {"u": (1, 65534), "i": (-32767, 32767), "a": (1, 2**32 - 1), "f": (-9999, 9999)}[kind[0]]
            raw = rng.uniform(least, most) if kind == "float32" else rng.randint(least, most)
            absent = rng.random() < nothing
            data = struct.pack(CODES[kind], NOTHING[kind] if absent else raw)
            words += [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
            value = EXACT.create_decimal(struct.unpack(CODES[kind], data)[0])
            values[name] = None if absent else value.scaleb(factors.get(factor, 0), EXACT)
        else:
            words += [0] * SIZES[kind]
    return words, values


def common(length=66):
    """The words of the common model."""
    texts = zip((IDENTITY[0], IDENTITY[1], "option", IDENTITY[2], IDENTITY[3]), (16, 16, 8, 8, 16), strict=True)
    data = b"".join(text.encode().ljust(2 * size, b"\0") for text, size in texts)
    words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    return [1, length, *words, *[7] * (length - 64)]


def truth(number, values, obis):
    """What a point says: (Decimal, unit), None where the unit or the model has it not."""
    name = (METER if number > 200 else INVERTER).get(obis)
    value = values.get(name.strip("-")) if name else None
    if value is None:
        return None
    if obis.endswith(".8.0"):
        value = value.scaleb(-3, EXACT)  # Wh
    elif obis in ("13.7.0", "33.7.0", "53.7.0", "73.7.0") and number < 211:
        value = value.scaleb(-2, EXACT)  # percent
    value = -value if name.startswith("-") else value
    return value.quantize(Decimal("0.001"), ROUND_HALF_EVEN, EXACT) + 0


def read(units, tmp_path, profile="sunspec"):
    """{address: [(values by OBIS, identity), ...]} of two reads of each; `units` is {address: {base: words}}."""
    station = PymodbusStation({
        address: {(3, base): words for base, words in maps.items()} for address, maps in units.items()
    })  # fmt: skip
    listed = [[address, profile] for address in units]
    program = f"UNITS = {listed!r}\nPROFILES = {str(paths.PROFILES)!r}\n{MASTER}"
    with station, Wire(station, tmp_path) as wire:
        done = subprocess.run(
            [micropython(), "-c", program], cwd=tmp_path, env=environment(tmp_path) | {"MESHEMS_UART1": wire.path},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = {}
    for address, values, identity in map(json.loads, done.stdout.splitlines()):
        told.setdefault(address, []).append(({point[0]: (point, value) for point, value in values}, identity))
    return told


def compare(told, number, values):
    """Both reads of a unit say what its registers do; return how many points had a value."""
    assert len(told) == 2 and told[0] == told[1]
    read, identity = told[0]
    assert identity == IDENTITY
    for obis, ((_, unit, exponent), value) in read.items():
        expected = truth(number, values, obis)
        shown = None if value is None else Decimal(value).scaleb(int(exponent))
        assert shown == expected, (number, obis, value, expected)
        assert unit == ("kWh" if obis.endswith(".8.0") else UNITS[obis.split(".")[0]]), obis
    return sum(value is not None for _, value in read.values())


def chained(base, *parts):
    """A map at `base`: "SunS", the parts, the end."""
    return {base: [0x5375, 0x6E53, *(word for part in parts for word in part), 0xFFFF, 0]}


@pytest.mark.parametrize("base", [40000, 50000, 0])
def test_every_model_is_found_and_read_to_the_last_digit(tmp_path, base):
    rng = random.Random(base)
    units, truths = {}, {}
    for address, number in enumerate((101, 102, 103, 111, 112, 113, 201, 202, 203, 204, 211, 212, 213, 214), 1):
        words, values = model(number, rng)
        other = [64000 + address, 5, 1, 2, 3, 4, 5]
        units[address] = chained(base, common(65 + address % 2), *[other] * (address % 3), words)
        truths[address] = number, values
    told = read(units, tmp_path)
    for address, (number, values) in truths.items():
        assert compare(told[address], number, values) >= (6 if number < 200 else 15)


def test_what_is_not_implemented_is_not_there(tmp_path):
    rng = random.Random(3)
    numbers = enumerate((103, 113, 203, 213), 1)
    units = {n: chained(40000, common(), model(number, rng, nothing=1)[0]) for n, number in numbers}
    for reads in read(units, tmp_path).values():
        assert all(value is None for values, _ in reads for _, value in values.values())


def test_a_unit_that_is_an_inverter_and_a_meter_is_read_as_what_the_profile_takes(tmp_path):
    rng = random.Random(4)
    inverter, generated = model(103, rng)
    meter, counted = model(203, rng)
    units = {1: chained(40000, common(), inverter, meter)}
    for profile, number, values in (("sunspec", 103, generated), ("sunspec-meter", 203, counted)):
        folder = tmp_path / profile
        folder.mkdir()
        compare(read(units, folder, profile)[1], number, values)


@pytest.mark.parametrize(("parts", "words"), [
    ((), "has no model"),
    ((common(), [120, 26, *[0] * 26]), "has no model"),
    ((common(), [203, 0]), "model 203 of 0 registers"),
    ((common(), [0, 0]), "model 0 of 0 registers"),
    ((common(), [64000, 65000]), "model 64000 of 65000 registers"),
    ((common(), *[[64000, 1, 0]] * 60), "a chain of models without end"),
    ((common(), [64000, 20, 1]), "exception 2"),  # the chain leaves what is there
], ids=["empty", "no such model", "no length", "nothing", "beyond the map", "endless", "torn"])  # fmt: skip
def test_a_chain_that_cannot_be_followed_ends_with_its_reason(tmp_path, parts, words):
    base = 40000 if "exception" not in words else 50000
    ((values, _), (again, _)) = read({1: chained(base, *parts)}, tmp_path)[1]
    assert values == again and all(words in value for _, value in values.values()), values


def test_a_unit_without_sunspec_says_so(tmp_path):
    for values, _ in read({1: {100: [1, 2, 3]}}, tmp_path)[1]:
        assert all("no SunSpec unit" in value for _, value in values.values())
