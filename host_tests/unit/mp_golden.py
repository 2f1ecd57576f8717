"""Golden frames: what goes over the wire for each profile, and what its replies say, by the firmware's own code."""
import json
import os

import fake_uart
from gateway import data
from lib import fixed
from lib.media import rs485
from lib.proto import modbus, sunspec

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


def line(frames):
    """(line on which a meter answers just these frames, [(request, reply), ...] in hex; list of what it was asked)"""
    said = {bytes.fromhex(request): bytes.fromhex(reply) for request, reply in frames}
    asked = []

    def reply(frame):
        asked.append(frame)
        return [(20000, said[frame])]

    clock = fake_uart.Clock(rs485, modbus)
    return rs485.RS485(fake_uart.UART(clock, 9600, reply=reply), 9600), asked


async def read(session, batch):
    """{OBIS: value as text, None for one that is not there} of a batch."""
    values = {}
    for column, value in zip(batch.points.split("\n")[1:], await session.read(batch)):
        obis, _, exponent = column.split(" ")
        values[obis] = value if value is None or isinstance(value, str) else fixed.text(value, int(exponent))
    return values


async def told(profile, frame):
    """What the firmware makes of a reply; its request is compared on the way."""
    request = bytes.fromhex(frame["request"])
    address, count = int.from_bytes(request[2:4], "big"), int.from_bytes(request[4:6], "big")
    media, asked = line([(frame["request"], frame["reply"])])
    session = await modbus.session(media, {"address": request[0]}, {})
    if profile.get("own", ())[:3] == [request[1], address, count]:
        profile = dict(profile, own=profile["own"] + [1])
        batch = modbus.plan(profile)[-1]
    else:
        (batch,) = modbus.plan(seen(profile, request[1], address, count))
    values = await read(session, batch)
    assert asked == [request]
    return values


def profiles(protocol):
    """[(name, profile, its frames)] of a protocol."""
    for name in NAMES:
        profile = data.load("profiles/%s.json" % name)
        if profile.get("proto", "modbus") == protocol:
            with open(FOLDER + name + ".json") as file:
                yield name, profile, json.load(file)


async def test_frames_say_what_is_written_beside_them():
    assert len(NAMES) >= 26
    for name, profile, frames in profiles("modbus"):
        for frame in frames:
            values = await told(profile, frame)
            assert values and values == frame["values"], (name, frame["from"], values)


async def test_every_point_of_a_profile_is_in_a_frame():
    for name, profile, frames in profiles("modbus"):
        read = set()
        for frame in frames:
            read.update(await told(profile, frame))
        own = {"0.0.96.1.1.255"} if "own" in profile else set()
        assert read == {row[0] for row in profile["q"]} | own, name


async def test_a_sunspec_unit_is_asked_these_frames_and_says_this():
    for name, profile, (golden,) in profiles("sunspec"):
        media, asked = line(golden["frames"])
        (batch,) = sunspec.plan(profile)
        values = await read(await sunspec.session(media, {"address": 9}, {}), batch)
        assert {obis: values[obis] for obis in values if values[obis] is not None} == golden["values"], (name, values)
        assert asked == [bytes.fromhex(request) for request, _ in golden["frames"]]
