"""Switches the relay of a meter and reads it back; loaded by Session.act only.

    "rly": {"rd": [3, 26, 1, "u16", [1], [0]], "on": [16, 26, [1]], "off": [16, 26, [0]], "wait": 2}

Nothing but the addresses of `rly` is ever written: on the DDS238 a 0 next to them erases the energy. The reply to a
write proves nothing (a meter may repeat it and do nothing, a line may echo it): only what is read back counts.
"""

import asyncio
import struct

from micropython import const

from lib import proto
from lib.proto import Fault
from lib.proto.modbus import rtu

_COIL, _REGISTER, _REGISTERS = const(5), const(6), const(16)  # the functions that write
_COIL_ON = const(0xFF00)
_REST_MS, _WAIT_MS = const(0), const(1000)  # of a link without `lim`
_LATE_MS = const(1600)  # after a write that was not answered: beyond the session's quarantine


async def switch(session, on):
    """Do what Session.act says."""
    link = session.link
    rules = link["rly"]
    unit = session.unit
    rest_ms, wait_ms = link.get("lim", (0, 0, _REST_MS, _WAIT_MS))[2:]
    frame = _frame(unit, *rules["on" if on else "off"])
    function, address, count, kind, ons, offs = rules["rd"]
    if kind[0] not in "us":
        raise Fault(proto.UNSUPPORTED, 0, "a relay is no " + kind)
    pause = 1000 * rules.get("wait", 0)
    try:
        await session.ask(frame, 0, wait_ms, rest_ms, len)
    except Fault as fault:
        if fault.kind not in (proto.TIMEOUT, proto.FRAME):
            raise
        pause = max(pause, _LATE_MS)  # it may be done all the same
    sent = session.silent  # more, and a read in between was not answered: its reply might be taken for ours
    await asyncio.sleep_ms(pause)

    size = 2 * count if function > 2 else (count + 7) // 8
    data = await session.ask(rtu.request(unit, function, address, count), size, wait_ms, rest_ms, bytes, sent)
    value = _value(function, count, kind, data)
    if value in (offs if on else ons):
        raise Fault(proto.REFUSED, value, "the relay is still " + ("off" if on else "on"))
    if value not in (ons if on else offs):
        raise Fault(proto.RANGE, value, "the relay reads %d" % value)
    return on


def _frame(unit, function, address, values):
    if function == _REGISTERS:
        frame = struct.pack(">BBHHB", unit, function, address, len(values), 2 * len(values))
        for value in values:
            frame += struct.pack(">H", value)
        return frame + struct.pack("<H", rtu.crc(frame, 0, len(frame)))
    if function == _COIL and values[0] not in (0, _COIL_ON) or function not in (_COIL, _REGISTER):
        raise Fault(proto.UNSUPPORTED, function, "cannot write that")
    return rtu.request(unit, function, address, values[0])


def _value(function, count, kind, data):
    """Return the number in `data`; of coils and inputs the first is bit 0."""
    if function <= 2:
        return int.from_bytes(data, "little") & (1 << count) - 1
    value = 0
    for i in range(0, len(data), 2):
        word = data[i] << 8 | data[i + 1]
        value = value | word << 8 * i if kind[-1] == "w" else value << 16 | word
    return value - (1 << 16 * count) if kind[0] == "s" and value >> 16 * count - 1 else value
