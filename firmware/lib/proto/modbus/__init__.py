"""Modbus RTU master: reads the points of a profile with functions 03 and 04.

    for batch in modbus.plan(profile):
        values = await session.read(batch)

Framing is in rtu.py, values in points.py, the rules of a profile in rules.py. What keeps a late reply from being taken
for another: the bus is silent before each request, unit, function, length and CRC have to be those asked for, blocks of
one meter differ in length, and a meter that missed its time is left alone for QUARANTINE_MS.
"""

import asyncio
import sys
import time

from lib import proto
from lib.proto import Fault
from lib.proto.modbus import rtu
from lib.proto.modbus.points import plan as plan

NAME = "modbus"
POINT = ("obis", "block", "offset", "type", "scale", "unit", "exponent")  # the columns of a row in a profile's `q`
ACTIONS = ()

QUARANTINE_MS = 1500
SLACK_MS = 20  # what a loop may be late; and the silence that ends what is no frame
ILLEGAL_ADDRESS = 2  # exception code: the meter has no such register


def check(profile):
    """Return what is wrong with a profile as [(path, found, allowed), ...]; [] when it is good."""
    from lib.proto.modbus import rules

    try:
        return rules.problems(profile)
    finally:  # needed once, and it is the largest part: give its memory back
        sys.modules.pop(rules.__name__, None)
        globals().pop("rules", None)


async def session(media, link, secrets):
    """Return the Session with the meter at link["address"]; sends nothing."""
    return Session(media, link["address"])


class Session:
    """One meter. `counts` has a number for each of proto.NAMES, `answered_ms` the ticks when its last reply ended."""

    def __init__(self, media, unit):
        self.counts = [0] * len(proto.NAMES)
        self.answered_ms = 0
        self._media = media
        self._unit = unit
        self._request = bytearray(8)
        self._ready = time.ticks_ms()  # not to be asked before
        self._late = False  # a reply may still come

    async def read(self, batch):
        """Return a value for each of the batch's points, in order: int, str, None, or a Fault. Raises none."""
        try:
            values = await self._read(batch)
            self.counts[proto.OK] += 1
            return values
        except Fault as fault:
            self.counts[fault.kind] += 1
            return [fault] * batch.size

    async def act(self, name, args):
        """Raise Fault UNSUPPORTED: there are no actions."""
        raise Fault(proto.UNSUPPORTED)

    async def clock(self):
        """Raise Fault UNSUPPORTED: profiles know no clock."""
        raise Fault(proto.UNSUPPORTED)

    async def close(self):
        """Nothing to do: a meter knows of no session."""

    async def _read(self, batch):
        wait = time.ticks_diff(self._ready, time.ticks_ms())
        if 0 < wait <= QUARANTINE_MS:  # else ticks wrapped since
            if self._late:
                raise Fault(proto.BUSY, 0, "left alone after a time-out")
            await asyncio.sleep_ms(wait)
        async with self._media.lock:
            try:
                return await self._exchange(batch)
            except OSError as error:
                raise Fault(proto.TIMEOUT, error.errno, "the line: %s" % error)
            finally:
                pause = QUARANTINE_MS if self._late else batch.rest_ms
                self._ready = time.ticks_add(time.ticks_ms(), pause)

    async def _exchange(self, batch):
        media = self._media
        buf = media.buf
        size = 2 * batch.count
        length = size + rtu.OVERHEAD
        await media.drop()
        rtu.request(self._request, self._unit, batch.function, batch.address, batch.count)
        self._late = True
        await media.write(self._request)

        start = time.ticks_ms()
        # an exception is that long, and of a longer reply it tells when the rest is due
        got = await media.read(buf, rtu.OVERHEAD, batch.wait_ms + media.ms(rtu.OVERHEAD))
        if not got:
            raise Fault(proto.TIMEOUT, 0, "no reply")
        limit = batch.wait_ms + media.ms(length) + SLACK_MS
        while True:
            at = rtu.find(buf, got, self._unit, batch.function, size)
            if at >= 0:
                break
            left = limit - time.ticks_diff(time.ticks_ms(), start)
            if got >= length:  # enough came for a reply: it was damaged, unless more follows at once
                left = min(left, SLACK_MS)
            more = await media.read(buf[got:], min(-at, len(buf) - got), left)
            if not more:
                self._late = got < length
                raise Fault(proto.FRAME, got, "no valid reply in %d bytes" % got)
            got += more

        self._late = False
        code = buf[at + 2]
        if buf[at + 1] & rtu.EXCEPTION:
            kind = proto.ABSENT if code == ILLEGAL_ADDRESS else proto.REFUSED
            raise Fault(kind, code, "exception %d" % code)
        self.answered_ms = time.ticks_ms()
        return batch.decode(buf[at + rtu.HEAD : at + rtu.HEAD + size])
