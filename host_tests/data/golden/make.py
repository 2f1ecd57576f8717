"""Writes the constructed frames of this folder: `python host_tests/data/golden/make.py`.

Made from the register tables of ../modbus-tables.md alone, and for SunSpec from the model definitions of
../sunspec-models.json: nothing of the firmware and none of its profiles is read.
For each block that a profile reads there is one frame, with plausible contents; the values come from the raw words by
`struct` and `decimal`. Published captures stand in captures.json and are only copied.
"""

import json
import re
import struct
from decimal import ROUND_HALF_EVEN, Context, Decimal
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODES = {"u16": ">H", "s16": ">h", "u32": ">I", "s32": ">i", "u64": ">Q", "s64": ">q", "f32": ">f", "f64": ">d"}
PLAUSIBLE = {
    "V": "231.4", "A": "4.317", "W": "1234", "var": "-210", "VA": "1290", "": "0.957", "Hz": "49.98", "kWh": "12345.67",
    "kvarh": "234.5", "%": "54.3", "C": "-3.4",
}  # fmt: skip
STEPS = {
    "V": "1.3", "A": "0.23", "W": "7", "var": "3", "VA": "5", "": "-0.004", "Hz": "0.1", "kWh": "11.17", "kvarh": "1.3",
    "%": "2", "C": "1",
}  # fmt: skip
WIDE = {"1.8.0": "98765.4"}  # of a counter in two parts
OWN = 21345678, "BX1Z23"  # a meter's number, and one in letters
UNIT = 9
EXACT = Context(prec=400)


def crc(data):
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return value.to_bytes(2, "little")


def frame(*body):
    data = b"".join(bytes([part]) if isinstance(part, int) else part for part in body)
    return (data + crc(data)).hex()


def tables():
    """[(profile, text of its section)]"""
    parts = re.split(r"^## (\S+)\n", (HERE.parent / "modbus-tables.md").read_text(), flags=re.M)[1:]
    return zip(parts[::2], parts[1::2], strict=True)


def points(section):
    """[(OBIS, function, [(address, factor), ...], type, unit)]"""
    for line in section.splitlines():
        if not line.startswith("|") or line.startswith(("| quantity", "|---")):
            continue
        _, function, addresses, kind, factor, unit, codes = (cell.strip() for cell in line.strip("|").split("|"))
        factors = [Decimal(one.replace("10^", "1e")) for one in factor.split("+")]
        for address, obis in zip(addresses.split(), codes.split(), strict=True):
            at = [int(one, 16) for one in address.split("+")]
            yield obis, int(function), list(zip(at, factors, strict=True)), kind, "" if unit == "-" else unit


def raw(kind, wanted):
    """(words, the number in them) nearest to `wanted` that the type can hold."""
    code = CODES[kind.rstrip("w")]
    if code in (">f", ">d"):
        data = struct.pack(code, float(wanted))
    else:
        bits = 8 * struct.calcsize(code)
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if code[1].islower() else (0, (1 << bits) - 1)
        data = struct.pack(code, min(max(round(wanted), least), most))
    number = struct.unpack(code, data)[0]
    words = [data[i : i + 2] for i in range(0, len(data), 2)]
    return words[::-1] if kind.endswith("w") else words, EXACT.create_decimal(number)


def text(value):
    """The value at its resolution of 10^-3, without zeros at the end."""
    rounded = value.quantize(Decimal("0.001"), ROUND_HALF_EVEN, EXACT) + 0
    return format(rounded.normalize(EXACT) if rounded else Decimal(0), "f")


def constructed(section, note):
    """The frames of one profile."""
    registers, values = {}, {}
    signs = dict(re.findall(r"^Sign: (\S+) by (.*)\.$", section, flags=re.M))
    for n, (obis, function, parts, kind, unit) in enumerate(points(section)):
        wanted = Decimal(PLAUSIBLE[unit]) + n * Decimal(STEPS[unit])  # no two alike: a swapped row is seen
        wanted = Decimal(WIDE.get(obis, wanted)) if len(parts) > 1 else wanted
        wanted = -wanted if obis in signs else wanted
        value = Decimal(0)
        for at, factor in sorted(parts, key=lambda part: -part[1]):
            rest = (wanted - value) / factor
            words, number = raw(kind, rest // 1 if len(parts) > 1 and factor != min(f for _, f in parts) else rest)
            value = EXACT.add(value, EXACT.multiply(number, factor))
            registers.update({(function, at + i): word for i, word in enumerate(words)})
        own = {(function, at + i) for at, _ in parts for i in range(len(words))}
        values[obis] = own, text(-value if obis in signs else value)
    blocks = re.search(r"Blocks read: (.*?)\. Ports", section)[1]
    for function, address, count in re.findall(r"FC(\d\d) ([0-9A-F]{4})\+(\d+)", blocks):
        code, first, size = int(function), int(address, 16), int(count)
        read = [(code, first + i) for i in range(size)]
        data = b"".join(registers.get(at, b"\0\0") for at in read)
        yield {
            "from": note, "request": frame(UNIT, code, first.to_bytes(2, "big"), size.to_bytes(2, "big")),
            "reply": frame(UNIT, code, 2 * size, data),
            "values": {obis: value for obis, (own, value) in values.items() if own <= set(read)},
        }  # fmt: skip


def numbered(section, note):
    """The frame in which a meter gives its own number, where the profile knows it."""
    for code, address, count, kind in re.findall(r"^Own: (\d\d) ([0-9A-F]{4})\+(\d+) (\w+),", section, flags=re.M):
        code, size = int(code), int(count)
        value = OWN[kind == "str"]
        data = (value.encode() if kind == "str" else b"".join(raw(kind, value)[0])).ljust(2 * size, b"\0")
        yield {
            "from": note, "request": frame(UNIT, code, bytes.fromhex(address), size.to_bytes(2, "big")),
            "reply": frame(UNIT, code, 2 * size, data), "values": {"0.0.96.1.1.255": str(value)},
        }  # fmt: skip


# What a SunSpec unit of three phases says: (point, register, scale factor, code, value)
SUNSPEC = (
    ("AphA", 4317, -3, "31.7.0", "4.317"), ("AphB", 5021, -3, "51.7.0", "5.021"), ("AphC", 77, -3, "71.7.0", "0.077"),
    ("PhVphA", 2314, -1, "32.7.0", "231.4"), ("PhVphB", 2297, -1, "52.7.0", "229.7"),
    ("PhVphC", 2331, -1, "72.7.0", "233.1"), ("Hz", 4998, -2, "14.7.0", "49.98"),
    ("W", -123, 1, "16.7.0", "-1230"), ("WphA", -50, 1, "36.7.0", "-500"), ("WphB", -70, 1, "56.7.0", "-700"),
    ("WphC", -3, 1, "76.7.0", "-30"), ("VA", 131, 1, "9.7.0", "1310"), ("VAR", -45, 1, "131.7.0", "-450"),
    ("PF", -939, -1, "13.7.0", "-0.939"), ("TotWhExp", 1234567, 0, "2.8.0", "1234.567"),
    ("TotWhImp", 98765432, 0, "1.8.0", "98765.432"), ("TotWhImpPhA", 30000000, 0, "21.8.0", "30000"),
    ("TotWhImpPhB", 40000001, 0, "41.8.0", "40000.001"), ("TotWhImpPhC", 28765431, 0, "61.8.0", "28765.431"),
)  # fmt: skip
SUNSPEC_SIZES = {"uint16": 1, "int16": 1, "sunssf": 1, "acc32": 2, "bitfield32": 2, "enum16": 1}
SUNSPEC_NONE = {"uint16": 0xFFFF, "int16": 0x8000, "sunssf": 0x8000, "acc32": 0, "bitfield32": 0, "enum16": 0}
AT = 40070  # of the second model: "SunS", and a common model of 66 registers


def sunspec():
    """The frames of a meter of model 203 that is found and read: the search, then its values in one reply."""
    rows = [(*row, None)[:3] for row in json.loads((HERE.parent / "sunspec-models.json").read_text())["203"]]
    said = {name: (register, factor) for name, register, factor, _, _ in SUNSPEC}
    factors = {scale: said[name][1] for name, _, scale in rows if name in said and scale}
    words = [203, 105]
    for name, kind, _ in rows[2:]:
        number = said[name][0] if name in said else factors.get(name, SUNSPEC_NONE[kind])
        size = SUNSPEC_SIZES[kind]
        words += [number >> 16 * (size - 1 - i) & 0xFFFF for i in range(size)]
    texts = (b"Maker", 32), (b"M-3", 32), (b"", 16), (b"1.07", 16), (b"SN-42", 32)
    data = {
        (40000, 2): b"SunS", (40002, 2): bytes([0, 1, 0, 66]),
        (40004, 64): b"".join(text.ljust(size, b"\0") for text, size in texts),
        (AT, 2): bytes([0, 203, 0, 105]), (AT, 55): b"".join(word.to_bytes(2, "big") for word in words[:55]),
    }  # fmt: skip
    frames = [
        [frame(UNIT, 3, at.to_bytes(2, "big"), count.to_bytes(2, "big")), frame(UNIT, 3, 2 * count, part)]
        for (at, count), part in data.items()
    ]
    values = {code: value for *_, code, value in SUNSPEC}
    return [{"from": note(False), "frames": frames, "values": values}]


def note(captured):
    """Where a constructed frame comes from."""
    return "constructed from the register table" + ("" if captured else "; no capture found")


def files():
    """{profile: its frames}, published captures first."""
    captures = json.loads((HERE / "captures.json").read_text())
    made = {"sunspec": sunspec(), "sunspec-meter": sunspec()}
    return made | {
        name: [
            *captures.get(name, []), *constructed(section, note(name in captures)),
            *numbered(section, note(name in captures)),
        ]  # fmt: skip
        for name, section in tables()
    }


if __name__ == "__main__":
    for name, frames in files().items():
        (HERE / f"{name}.json").write_text("[\n" + ",\n".join(json.dumps(one) for one in frames) + "\n]\n")
