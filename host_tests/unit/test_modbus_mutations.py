"""200,000 mutated replies through the firmware's framing and decoding, judged by a decoder that shares nothing with it.

CPython makes the frames and knows what each has to become; MicroPython finds and decodes them, all in one process.
What the session makes of such replies in time, and that it never holds the line too long: mp_modbus_session.
"""

import random
import struct
import subprocess

from meshems.decode import decode
from meshems.sim.faults import sealed
from mp_plugin import environment, micropython

UNIT, FUNCTION = 7, 3
BLOCKS = {  # rows: type, scale, resolution
    "numbers": [
        ("f32", 0, -3), ("u16", -1, -3), ("s16", -2, -3), ("u32", -2, -3), ("s32", -1, 0), ("u32w", 0, -3),
        ("f32w", 3, -3), ("s32w", [1, 3], -3), ("u16", [25, 7], -6),
    ],
    "wide": [("u64", -3, -3), ("s64", -2, -3), ("f64", 0, -3), ("s64w", -6, -6)],
    "one": [("u16", -1, -3)],
}  # fmt: skip
READER = """
import struct, sys
from lib.proto import Fault, modbus
from lib.proto.modbus import rtu
plans = [modbus.plan(profile)[0] for profile in PROFILES]
heads = [bytes((UNIT, FUNCTION, 2 * batch.block()[2])) for batch in plans]
file = open("frames", "rb")
buf = memoryview(bytearray(288))
while True:
    what = file.read(3)
    if not what:
        break
    which, got = struct.unpack(">BH", what)
    buf[:got] = file.read(got)
    head = heads[which]
    at = rtu.find(buf, got, head, head[2] + 5)
    if at is None or at < 0:
        print("damaged" if at is None else "none")
    elif buf[at + 1] & 128:
        print("exception", buf[at + 2])
    else:
        values = plans[which].decode(buf[at + 3 : at + 3 + head[2]])
        print(*["range" if isinstance(value, Fault) else value for value in values])
print("end")
"""


def _size(kind):
    return int(kind[1:3]) // 16


def _profile(rows):
    made, at = [], 0
    for i, (kind, scale, exponent) in enumerate(rows):
        made.append([f"1.{i}.0", 0, at, kind, scale, "kWh", exponent])
        at += _size(kind)
    return {"blk": [[FUNCTION, 0, at, 1]], "q": made, "lim": [125, 1, 0, 500], "inv": 1}


PROFILES = {name: _profile(rows) for name, rows in BLOCKS.items()}


def told(folder, frames):
    """What the firmware says to each of `frames`, [(name of the block, bytes)]: a line of text."""
    names = list(PROFILES)
    (folder / "frames").write_bytes(
        b"".join(struct.pack(">BH", names.index(name), len(data)) + data for name, data in frames)
    )
    program = f"UNIT, FUNCTION, PROFILES = {UNIT}, {FUNCTION}, {list(PROFILES.values())!r}\n{READER}"
    done = subprocess.run(
        [micropython(), "-c", program], cwd=folder, env=environment(folder), capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip
    *lines, end = done.stdout.splitlines()
    assert (done.returncode, end, len(lines)) == (0, "end", len(frames)), done.stderr
    return lines


def payload(rng, name):
    """Registers of a block: random bits, and what is special in each type."""
    words = b""
    for kind, *_ in BLOCKS[name]:
        size = 2 * _size(kind)
        special = [b"\0" * size, b"\xff" * size, b"\x7f" + b"\xff" * (size - 1), b"\x80" + b"\0" * (size - 1)]
        if kind[0] == "f":
            value = rng.choice([rng.uniform(-1e6, 1e6), rng.uniform(-1, 1), 16777217.0, 0.0005, -0.0015])
            special.append(struct.pack(">f" if size == 4 else ">d", value))
        data = rng.choice(special) if rng.random() < 0.3 else rng.randbytes(size)
        if kind[-1] == "w":
            data = b"".join(data[i : i + 2] for i in range(size - 2, -1, -2))
        words += data
    return words


def frame(data, unit=UNIT, function=FUNCTION):
    return sealed(bytes([unit, function, len(data)]) + data)


def expected(name, data):
    """What an independent decoder reads in a payload, as the firmware's line of text."""
    words = list(struct.unpack(f">{len(data) // 2}H", data))
    values = decode(PROFILES[name], {(FUNCTION, 0): words})
    texts = []
    for (_, _, exponent), value in zip(BLOCKS[name], values.values(), strict=True):
        if value is None:
            texts.append("None")
            continue
        number = value[0].scaleb(-exponent)
        texts.append("range" if abs(number) >= 1 << 62 else str(int(number)))
        assert number == int(number)
    return " ".join(texts)


def test_60000_mutated_headers_and_lengths_with_a_good_crc_are_refused(tmp_path):
    rng = random.Random("headers")
    frames = []
    while len(frames) < 60000:
        name = rng.choice(list(BLOCKS))
        data = payload(rng, name)
        size = len(data)
        unit, function, count = UNIT, FUNCTION, size
        way = rng.randrange(6)
        if way in (0, 5):
            unit = rng.choice([value for value in range(256) if value != UNIT])
        if way in (1, 5):
            function = rng.choice([value for value in range(256) if value != FUNCTION])
        if way in (2, 5):
            count = rng.choice([value for value in range(256) if value != size])
        if way == 3:  # shorter or longer, and it says so
            data = (data + rng.randbytes(40))[: rng.choice([n for n in range(size + 40) if n != size])]
            count = len(data)
        if way == 4:  # shorter or longer than it says
            data = (data + rng.randbytes(20))[: rng.choice([n for n in range(size + 20) if n != size])]
        if function == FUNCTION | 0x80:
            continue  # an exception, if it were one
        frames.append((name, sealed(bytes([unit, function, count]) + data)))
    for (name, data), line in zip(frames, told(tmp_path, frames), strict=True):
        assert line in ("none", "damaged"), (name, data.hex(), line)


def test_60000_mutated_payloads_with_a_good_crc_are_what_an_independent_decoder_reads(tmp_path):
    rng = random.Random("payloads")
    frames, truth = [], []
    for _ in range(60000):
        name = rng.choice(["numbers", "numbers", "numbers", "wide", "one"])
        data = payload(rng, name)
        before = rng.choice([b"", b"", b"\0", rng.randbytes(rng.randrange(9)), frame(data, UNIT + 1)])
        frames.append((name, before + frame(data)))
        truth.append(expected(name, data))
    lines = told(tmp_path, frames)
    for (name, data), line, right in zip(frames, lines, truth, strict=True):
        assert line == right, (name, data.hex())
    assert sum("range" in line for line in lines) > 1000 < sum("None" in line for line in lines)


def test_exceptions_are_taken_from_the_unit_and_for_the_function_that_were_asked_only(tmp_path):
    rng = random.Random("exceptions")
    frames, truth = [], []
    for _ in range(5000):
        unit, function = rng.choice([UNIT, rng.randrange(256)]), rng.choice([0x83, 0x84, 0x03])
        code = rng.randrange(256)
        good = unit == UNIT and function == 0x83
        frames.append((rng.choice(list(BLOCKS)), sealed(bytes([unit, function, code]))))
        truth.append(f"exception {code}" if good else "none")
    assert told(tmp_path, frames) == truth


def test_of_all_crcs_one_is_right(tmp_path):
    """Beyond the reach of a CRC of 16 bits is one damage in 65,536: here all of them, of one payload."""
    start = bytes([UNIT, FUNCTION, 2, 0x08, 0xFD])
    lines = told(tmp_path, [("one", start + struct.pack(">H", tail)) for tail in range(1 << 16)])
    right = int.from_bytes(sealed(start)[-2:], "big")
    assert [(tail, line) for tail, line in enumerate(lines) if line not in ("none", "damaged")] == [(right, "230100")]


def test_80000_randomly_damaged_replies_are_taken_as_rarely_as_their_crc_allows(tmp_path):
    rng = random.Random("damage")
    frames = []
    for i in range(80000):
        name = ("one", "one", "numbers", "wide")[i % 4]
        good = frame(payload(rng, name))
        data = bytearray(good)
        if i % 2:  # all that the CRC protects, and the CRC
            data[3:] = rng.randbytes(len(data) - 3)
        else:
            for _ in range(rng.randrange(1, 9)):
                data[rng.randrange(len(data))] = rng.randrange(256)
        if data != good:
            frames.append((name, bytes(data)))
    assert len(frames) > 78000
    taken = [line for line in told(tmp_path, frames) if line not in ("none", "damaged")]
    # Poisson with 78,000 / 65,536 = 1.2 at most: more than 9 come once in a million runs
    assert len(taken) <= 9, taken


def test_the_independent_decoder_knows_absent_and_out_of_range():
    assert expected("one", b"\x08\xfd") == "230100" and expected("one", b"\xff\xff") == "None"
    assert expected("wide", b"\xff" * 7 + b"\xfe" + b"\0" * 24).split()[:2] == ["range", "0"]
