"""Golden frames: what goes over the wire for each profile, and what its replies say, by the firmware's own code."""
import json
import os

import fake_uart
from gateway import data
from lib import fixed
from lib.media import rs485
from lib.proto import modbus, sunspec
from lib.proto.modbus import rtu

FOLDER = __file__[: __file__.rfind("/")] + "/../data/golden/"
NAMES = sorted([name[:-5] for name in os.listdir(FOLDER) if name.endswith(".json") and name != "captures.json"])


def seen(profile, function, address, count):
    """The profile with one block, and of its rows those that lie in it; each of its own blocks is read like this."""
    rows = []
    for row in profile["q"]:
        block = profile["blk"][row[1]]
        shift = block[1] - address
        length = row[4] if row[3] == "str" else int(row[3][1:3]) // 16
        if block[0] != function or row[2] + shift < 0 or row[2] + shift + length > count:
            continue
        row = [row[0], 0, row[2] + shift] + row[3:]
        if len(row) > 7:
            more = dict(row[7])
            for key in ("plus", "sign"):
                if key in more:
                    more[key] = [more[key][0] + shift] + more[key][1:]
            row[7] = more
        rows.append(row)
    return dict(profile, q=rows, blk=[[function, address, count, 1]])


def told(profile, frame):
    """{OBIS: value as text, None for one that is not there} of a frame, after its request was made and compared."""
    request, reply = bytes.fromhex(frame["request"]), bytes.fromhex(frame["reply"])
    unit, function = request[0], request[1]
    address, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
    made = bytearray(8)
    rtu.request(made, unit, function, address, count)
    assert bytes(made) == request
    assert rtu.find(reply, len(reply), unit, function, 2 * count) == 0
    values = {}
    for batch in modbus.plan(seen(profile, function, address, count)):
        names = [line.split(" ") for line in batch.points.split("\n")[1:]]
        for (obis, _, exponent), value in zip(names, batch.decode(reply[3:-2])):
            values[obis] = None if value is None else fixed.text(value, int(exponent))
    return values


def profiles(protocol):
    """[(name, profile, its frames)] of a protocol."""
    for name in NAMES:
        profile = data.load("profiles/%s.json" % name)
        if profile.get("proto", "modbus") == protocol:
            with open(FOLDER + name + ".json") as file:
                yield name, profile, json.load(file)


def test_frames_say_what_is_written_beside_them():
    assert len(NAMES) >= 26
    for name, profile, frames in profiles("modbus"):
        for frame in frames:
            values = told(profile, frame)
            assert values and values == frame["values"], (name, frame["from"], values)


def test_every_point_of_a_profile_is_in_a_frame():
    for name, profile, frames in profiles("modbus"):
        read = set()
        for frame in frames:
            read.update(told(profile, frame))
        assert read == {row[0] for row in profile["q"]}, name


async def test_a_sunspec_unit_is_asked_these_frames_and_says_this():
    clock = fake_uart.Clock(rs485, modbus)
    for name, profile, (told,) in profiles("sunspec"):
        asked = []
        said = {bytes.fromhex(request): bytes.fromhex(reply) for request, reply in told["frames"]}

        def reply(frame, asked=asked, said=said):
            asked.append(frame)
            return [(20000, said[frame])]

        line = rs485.RS485(fake_uart.UART(clock, 9600, reply=reply), 9600)
        (batch,) = sunspec.plan(profile)
        session = await sunspec.session(line, {"address": 9}, {})
        values = {}
        for column, value in zip(batch.points.split("\n")[1:], await session.read(batch)):
            obis, _, exponent = column.split(" ")
            if value is not None:
                values[obis] = fixed.text(value, int(exponent))
        assert values == told["values"], (name, values)
        assert asked == [bytes.fromhex(request) for request, _ in told["frames"]]
