"""One meter of a line, read once through and through. For commissioning: no running gateway loads it.

    import asyncio
    from gateway import data, trial
    profile = data.load("profiles/eastron-sdm120.json")
    asyncio.run(trial.read(trial.line(1), 7, profile, print))
"""
import asyncio

from micropython import const

from gateway import build, data
from lib import proto

_LATE_MS = const(1500)  # a reply that missed its time may come until then
_ECHO_MS = const(100)
_TRIES = const(3)


def line(uart, echo=False):
    """Return the RS485 on a UART of the board, at 9600 8N1 to begin with."""
    pins = [row for row in data.load("board.json")["uarts"] if row["id"] == uart][0]
    return build.media({"uart": uart, "baud": 9600, "format": "8N1", "echo": echo}, pins)


async def read(media, address, profile, say=None):
    """Read each block of a parsed profile once; return a dict for each, `say` it too as soon as it is there.

    "block" is that of the profile, None where it has none; "points" as lib/proto says; "values" one for each of them:
    an int, a str, None, or the fault in words as a tuple of one; "data" the bytes of the registers, None when no reply
    brought some.
    """
    found = []
    protocol = proto.load(profile.get("proto", "modbus"))
    batches = protocol.plan(profile)
    session = None
    for block, batch in zip(profile.get("blk") or [None] * len(batches), batches):
        raw = _kept(batch)
        for _ in range(_TRIES):
            if session is None:
                session = await protocol.session(media, {"address": address}, {})
            values = await session.read(batch)
            fault = values[0].kind if isinstance(values[0], proto.Fault) else proto.OK
            if raw or fault not in (proto.TIMEOUT, proto.FRAME, proto.BUSY):
                break
            session = None
            await asyncio.sleep_ms(_LATE_MS)
        found.append({
            "block": block, "points": batch.points, "data": raw[-1] if raw else None,
            "values": [(value.text,) if isinstance(value, proto.Fault) else value for value in values],
        })  # fmt: skip
        if say:
            say(found[-1])
    return found


def _kept(batch):
    """Return the list to which the batch adds the bytes of each reply that it decodes."""
    raw = []
    decode = batch.decode

    def keep(registers):
        raw.append(bytes(registers))
        return decode(registers)

    batch.decode = keep
    return raw


async def echoes(media):
    """Return whether the line hears what it sends itself: then its bus needs "echo": true."""
    frame = b"\xf8\3\0\0\0\1\0\0"  # its CRC is wrong, so no unit answers
    async with media.lock:
        await media.drop()
        await media.write(frame)
        got = await media.read(media.buf, len(frame), _ECHO_MS)
    return media.buf[:got] == frame
