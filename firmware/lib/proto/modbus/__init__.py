"""Modbus RTU master: reads the points of a profile with functions 03 and 04.

    for batch in modbus.plan(profile):
        values = await session.read(batch)

Framing is in rtu.py, values in points.py; needed at start only are planner.py and the rules of a profile, rules.py.
What keeps a late reply from being taken for another: the bus is silent before each request, unit, function, length and
CRC have to be those asked for, blocks of one meter differ in length, and a meter that missed its time is left alone for
_QUARANTINE_MS.
"""

import asyncio
import time
from array import array

from micropython import const

from lib import once, proto
from lib.proto import Fault
from lib.proto.modbus import rtu

NAME = "modbus"
POINT = "obis block offset type scale unit exponent"  # the columns of a row in a profile's `q`
ACTIONS = ()

_QUARANTINE_MS = const(1500)
_SLACK_MS = const(20)  # what a loop may be late; and the silence that ends what is no frame
_REQUEST = const(8)  # bytes
_HEAD = const(3)  # unit, function, byte count of a reply
_OVERHEAD = const(5)  # and the two bytes of CRC at its end
_EXCEPTION = const(0x80)
_ILLEGAL_ADDRESS = const(2)  # exception code: the meter has no such register


def check(profile):
    """Return what is wrong with a profile as [(path, found, allowed), ...]; [] when it is good."""
    return once.call("lib.proto.modbus.rules", "problems", profile)


def plan(profile):
    """Return the batches of a profile in which `check` finds nothing: one for each block that a row reads."""
    return once.call("lib.proto.modbus.planner", "plan", profile)


async def session(media, link, secrets):
    """Return the Session with the meter at link["address"]; sends nothing."""
    return Session(media, link["address"])


class Session:
    """One meter. `counts` has a number for each of proto.NAMES, `answered_ms` the ticks when its last reply ended."""

    def __init__(self, media, unit):
        self.counts = array("I", [0] * (proto.BUSY + 1))
        self.answered_ms = 0
        self._media = media
        self._unit = unit
        self._ready = time.ticks_ms()  # not to be asked before
        self._late = False  # a reply may still come

    async def read(self, batch):
        """Return a value for each of the batch's points, in order: int, str, None, or a Fault. Raises none."""
        try:
            wait = time.ticks_diff(self._ready, time.ticks_ms())
            if 0 < wait <= _QUARANTINE_MS:  # else ticks wrapped since
                if self._late:
                    raise Fault(proto.BUSY, 0, "left alone after a time-out")
                await asyncio.sleep_ms(wait)
            async with self._media.lock:
                try:
                    values = await self._exchange(batch)
                except OSError as error:
                    raise Fault(proto.TIMEOUT, error.errno, "the line: %s" % error)
                finally:
                    pause = _QUARANTINE_MS if self._late else batch.rest_ms
                    self._ready = time.ticks_add(time.ticks_ms(), pause)
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

    async def _exchange(self, batch):
        media = self._media
        buf = media.buf
        size = 2 * batch.count
        length = size + _OVERHEAD
        await media.drop()
        request = buf[-_REQUEST:]
        rtu.request(request, self._unit, batch.function, batch.address, batch.count)
        self._late = True
        await media.write(request)

        start = time.ticks_ms()
        # an exception is that long, and of a longer reply it tells when the rest is due
        got = await media.read(buf, _OVERHEAD, batch.wait_ms + media.ms(_OVERHEAD))
        if not got:
            raise Fault(proto.TIMEOUT, 0, "no reply")
        limit = batch.wait_ms + media.ms(length) + _SLACK_MS
        while True:
            at = rtu.find(buf, got, self._unit, batch.function, size)
            if at >= 0:
                break
            left = limit - time.ticks_diff(time.ticks_ms(), start)
            if got >= length:  # enough came for a reply: it was damaged, unless more follows at once
                left = min(left, _SLACK_MS)
            more = await media.read(buf[got:], min(-at, len(buf) - got), left)
            if not more:
                self._late = got < length
                raise Fault(proto.FRAME, got, "no valid reply in %d bytes" % got)
            got += more

        self._late = False
        code = buf[at + 2]
        if buf[at + 1] & _EXCEPTION:
            kind = proto.ABSENT if code == _ILLEGAL_ADDRESS else proto.REFUSED
            raise Fault(kind, code, "exception %d" % code)
        self.answered_ms = time.ticks_ms()
        return batch.decode(buf[at + _HEAD : at + _HEAD + size])
