"""The firmware's Modbus master and RS-485 line against pymodbus as the slave: every register, to the last digit."""

import json
import os
import random
import select
import struct
import subprocess
import threading
import tty
from decimal import Decimal

import pytest

from meshems import paths
from meshems.decode import decode
from mp_plugin import environment, micropython
from pymodbus_station import PymodbusStation

MASTER = """
import asyncio, json, machine
from lib import proto
from lib.media.rs485 import RS485
from lib.proto import modbus

async def main():
    uart = machine.UART(1, 9600, tx=17, rx=18, txbuf=512, rxbuf=512, timeout=0, timeout_char=0)
    line = RS485(uart, 9600, "8N1", machine.Pin(21, machine.Pin.OUT) if DE else None)
    for address, name in METERS:
        session = await modbus.session(line, {"address": address}, {})
        for batch in modbus.plan(json.load(open(PROFILES + "/" + name + ".json"))):
            points = [line.split(" ") for line in batch.points.split("\\n")[1:]]
            for point, value in zip(points, await session.read(batch)):
                if isinstance(value, proto.Fault):
                    value = [value.kind, value.code]
                print(json.dumps([address, point, value]))
        print(json.dumps([address, list(session.counts)]))

asyncio.run(main())
"""
NAMES = {1: "eastron-sdm630", 2: "abb-b23", 3: "gavazzi-em24", 4: "taiye-tac4300"}
PROFILES = {name: json.loads((paths.PROFILES / f"{name}.json").read_text()) for name in NAMES.values()}


def registers(profile, rng):
    """A register for each that a profile reads, {(function, address): word}: values of every size and sign."""
    made = {}
    for function, address, count, _ in profile["blk"]:
        made.update({(function, address + i): rng.getrandbits(16) for i in range(count)})
    for i, (_, block, offset, kind, *_) in enumerate(profile["q"]):
        function, address = profile["blk"][block][:2]
        words = ()
        if kind == "f32":
            value = rng.choice([rng.uniform(-1e6, 1e6), rng.uniform(-1, 1), 16777217.0, -0.0, 230.2, float("nan")])
            words = struct.unpack(">HH", struct.pack(">f", value))
        elif i == 0 and profile.get("inv"):  # not available
            words = {"u32": (0xFFFF, 0xFFFF), "s32w": (0xFFFF, 0x7FFF)}[kind]
        made.update({(function, address + offset + j): word for j, word in enumerate(words)})
    return made


def runs(made):
    """The registers as the station wants them: {(function, first address): words}, no two that touch."""
    blocks = {}
    for function, address in sorted(made):
        if (function, address - 1) not in made:
            first = function, address
            blocks[first] = []
        blocks[first].append(made[function, address])
    return blocks


def truth(profile, made):
    """What an independent decoder says of those blocks that are there."""
    return decode(profile, {
        (function, address): [made[function, address + i] for i in range(count)]
        for function, address, count, _ in profile["blk"] if (function, address) in made
    })  # fmt: skip


class Wire:
    """A pseudo-terminal between the firmware and a station; each frame is handed over as it comes, with no pace."""

    def __init__(self, station, folder):
        self.path = str(folder / "line-1")
        self._station = station
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.symlink(os.ttyname(self._slave), self.path)
        self._on = True
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._on = False
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)

    def _serve(self):
        frame = b""
        while self._on:
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            frame += os.read(self._master, 512)
            if len(frame) == (9 + frame[6] if len(frame) > 6 and frame[1] == 16 else 8):
                os.write(self._master, self._station.hear(frame, 0).wire)
                frame = b""


def read(units, meters, folder, de=False):
    """Let the firmware read `meters`, {address: profile}; return {address: {obis: (unit, exponent, value)}}, counts."""
    program = f"METERS = {list(meters.items())!r}\nPROFILES = {str(paths.PROFILES)!r}\nDE = {de!r}\n{MASTER}"
    with PymodbusStation({unit: runs(made) for unit, made in units.items()}) as station, Wire(station, folder) as wire:
        done = subprocess.run(
            [micropython(), "-c", program], cwd=folder, env=environment(folder) | {"MESHEMS_UART1": wire.path},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    values, counts = {address: {} for address in meters}, {}
    for address, *rest in map(json.loads, done.stdout.splitlines()):
        if len(rest) == 1:
            counts[address] = rest[0]
        else:
            (obis, unit, exponent), value = rest
            values[address][obis] = unit, int(exponent), value
    return values, counts


@pytest.mark.parametrize("de", [False, True], ids=["auto-direction", "driver-pin"])
def test_every_register_equals_the_slaves_value(tmp_path, de):
    rng = random.Random(f"registers {de}")
    units = {address: registers(PROFILES[name], rng) for address, name in NAMES.items()}
    values, counts = read(units, NAMES, tmp_path, de)
    absent = 0
    for address, name in NAMES.items():
        told = truth(PROFILES[name], units[address])
        assert set(values[address]) == set(told) == {row[0] for row in PROFILES[name]["q"]}
        for obis, expected in told.items():
            unit, exponent, value = values[address][obis]
            if expected is None:
                absent += 1
                assert value is None, (name, obis)
            elif isinstance(value, list):  # a fault: random 64 bits may have too many digits
                assert abs(expected[0].scaleb(-exponent)) >= 1 << 62, (name, obis, value)
            else:
                assert (Decimal(value).scaleb(exponent), unit) == expected, (name, obis)
        out_of_range = [value for _, _, value in values[address].values() if isinstance(value, list)]
        assert counts[address][0] == len(PROFILES[name]["blk"]) and counts[address][6] == len(out_of_range)
        assert sum(counts[address]) == counts[address][0] + counts[address][6]
    assert absent


def test_a_block_that_the_slave_has_not_is_absent_and_the_others_are_read(tmp_path):
    profile = PROFILES["taiye-tac4300"]
    kept = {key: word for key, word in registers(profile, random.Random(1)).items() if key[0] == 4}
    values, counts = read({4: kept}, {4: "taiye-tac4300"}, tmp_path)
    assert values[4]["1.8.0"][2] == [5, 2] and values[4]["2.8.0"][2] == [5, 2]  # ABSENT, exception 2
    for obis, expected in truth(profile, kept).items():
        unit, exponent, value = values[4][obis]
        assert expected == (None if value is None else (Decimal(value).scaleb(exponent), unit))
    assert counts[4][0] == 1 and counts[4][5] == 1


RELAYS = {  # how each kind of relay is written and read
    "coil by coils": {"rd": [1, 10, 1, "u16", [1], [0]], "on": [5, 10, [0xFF00]], "off": [5, 10, [0]]},
    "the last of eleven coils": {
        "rd": [1, 0, 11, "u16", [0b10000000101], [0b00000000101]], "on": [5, 10, [0xFF00]], "off": [5, 10, [0]],
    },
    "coil, by a contact that never closes": {
        "rd": [2, 3, 1, "u16", [1], [0]], "on": [5, 10, [0xFF00]], "off": [5, 10, [0]],
    },
    "contacts": {"rd": [2, 0, 3, "u16", [0b110], [9]], "on": [5, 10, [0xFF00]], "off": [5, 10, [0]]},
    "register by 6": {"rd": [3, 26, 1, "u16", [1], [0]], "on": [6, 26, [1]], "off": [6, 26, [0]]},
    "register by 16": {"rd": [3, 26, 1, "u16", [1], [0]], "on": [16, 26, [1]], "off": [16, 26, [0]]},
    "two registers": {
        "rd": [3, 26, 2, "u32", [0x55AA0001], [0x55AA0000]], "on": [16, 26, [0x55AA, 1]], "off": [16, 26, [0x55AA, 0]],
    },
    "an input register": {"rd": [4, 5, 1, "s16", [-2], [9]], "on": [6, 26, [1]], "off": [6, 26, [0]]},
    "an address that is not there": {"rd": [3, 26, 1, "u16", [1], [0]], "on": [6, 99, [1]], "off": [6, 99, [0]]},
}  # fmt: skip
SWITCH = """
import asyncio, json, machine
from lib import proto
from lib.media.rs485 import RS485
from lib.proto import modbus

async def main():
    line = RS485(machine.UART(1, 9600, tx=17, rx=18, txbuf=512, rxbuf=512, timeout=0, timeout_char=0), 9600)
    for rules in RELAYS:
        session = await modbus.session(line, {"address": 1, "rly": rules, "lim": [32, 1, 20, 500]}, {})
        said = []
        for on in (True, False, True):
            try:
                said.append(await session.act("relay", on))
            except proto.Fault as fault:
                said.append([fault.kind, fault.code])
        print(json.dumps(said))

asyncio.run(main())
"""


def test_relays_of_every_kind_are_switched_and_read_back(tmp_path):
    units = {
        1: {
            (1, 0): [True, False, True, *[False] * 9], (2, 0): [False, True, True, False],
            (3, 26): [0, 0], (4, 5): [0xFFFE],
        },
    }  # fmt: skip
    program = f"RELAYS = {list(RELAYS.values())!r}\n{SWITCH}"
    with PymodbusStation(units) as station, Wire(station, tmp_path) as wire:
        done = subprocess.run(
            [micropython(), "-c", program], cwd=tmp_path, env=environment(tmp_path) | {"MESHEMS_UART1": wire.path},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(zip(RELAYS, map(json.loads, done.stdout.splitlines()), strict=True))
    refused = 3
    assert said.pop("coil, by a contact that never closes") == [[refused, 0], False, [refused, 0]]
    assert said.pop("contacts") == [True, [refused, 6], True]
    assert said.pop("an input register") == [True, [refused, -2], True]
    assert said.pop("an address that is not there") == [[5, 2]] * 3  # ABSENT, exception 2
    assert said == {name: [True, False, True] for name in said} and len(said) == 5


def test_a_unit_that_is_not_there_times_out_once_and_the_next_is_read(tmp_path):
    units = {2: registers(PROFILES["abb-b23"], random.Random(2))}
    values, counts = read(units, {9: "eastron-sdm630", 2: "abb-b23"}, tmp_path)
    assert {value[2][0] for value in values[9].values()} == {1, 8}  # TIMEOUT, then BUSY without asking
    assert counts[9] == [0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert counts[2][0] == len(PROFILES["abb-b23"]["blk"])
