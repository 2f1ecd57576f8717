"""Modbus RTU master: reads the points of a profile with functions 03 and 04, and switches its relay.

    for batch in modbus.plan(profile):
        values = await session.read(batch)

Framing is in rtu.py, values in points.py; relay.py is loaded when something is switched; needed at start only are
planner.py and the rules of a profile, rules.py.

What keeps a late reply from being taken for another: the bus is silent before each request; unit, function, length and
CRC have to be those asked for; blocks of one meter differ in length. A meter that missed its time is left alone for
_QUARANTINE_MS, and then first asked for a probe, as long as none of its blocks, what it answers being no value. Whoever
answers it has answered, or forgotten, all that was asked before, for meters answer in order. The longer a meter is
silent, the longer it is left alone, up to _LONGEST_MS.
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
ACTIONS = ("relay",)

_QUARANTINE_MS = const(1500)  # after a time-out; replies are known to be late by up to 1.4 s
_SAME = const(3)  # so many times; then each is twice the last
_LONGEST_MS = const(55000)  # with the time-out and the wait for the meter's next turn it is a probe a minute
_REFUSALS = const(3)  # in a row, until a block that the meter does not have is left out
_DEAF = const(5)  # silent so often: the last block was asked for over 20 s ago, and no reply is so late
_ANY = const(1 << 29)
_SLACK_MS = const(20)  # what a loop may be late; and the silence that ends a damaged reply
_OVERHEAD = const(5)  # unit, function, byte count, CRC; or an exception
_EXCEPTION = const(0x80)
_ILLEGAL_ADDRESS = const(2)  # exception code: the meter has no such register


def check(profile):
    """Return what is wrong with a profile as [(path, found, allowed), ...]; [] when it is good."""
    return once.call("lib.proto.modbus.rules", "problems", profile)


def plan(profile):
    """Return the batches of a profile in which `check` finds nothing: one for each block that a row reads."""
    return once.call("lib.proto.modbus.planner", "plan", profile)


async def session(media, link, secrets):
    """Return the Session with the meter at link["address"]; sends nothing.

    With the profile's `rly` and `lim` in `link` it can act on the meter's relay.
    """
    return Session(media, link)


class Session:
    """One meter. `counts` has a number for each of proto.NAMES, `answered_ms` the ticks when its last reply ended.

    counts[UNSUPPORTED] is the number of blocks that were dropped. `silent` is how many requests in a row were not
    answered: a reply to them may still come.
    """

    # of the class, because most meters need none of their own
    link = None  # with a relay: what its profile says of it
    _refused = {}  # batches that the meter refused as not there: how often in a row

    def __init__(self, media, link):
        self.counts = array("I", [0] * (proto.BUSY + 1))
        self.answered_ms = 0
        self.silent = 0
        self.unit = link["address"]
        if "rly" in link:
            self.link = link
        self._media = media
        self._ready = time.ticks_ms()  # not to be asked before

    async def read(self, batch):
        """Return a value for each of the batch's points, in order: int, str, None, or a Fault. Raises none."""
        refused = self._refused.get(batch, 0)
        if refused == _REFUSALS:
            return [Fault(proto.ABSENT, _ILLEGAL_ADDRESS, "dropped")] * batch.size
        function, address, count, probe, rest_ms, wait_ms = batch.block()
        late = 0
        try:
            if self.silent:
                self._refused.clear()  # when it answers again it may be another meter
            if self.silent > _DEAF and not self.silent & 1:  # it may be deaf to less than a block
                late = _ANY
            elif self.silent:
                request = rtu.request(self.unit, function, address, probe)
                await self.ask(request, 2 * probe, wait_ms, rest_ms, len, _ANY)
            request = rtu.request(self.unit, function, address, count)
            values = await self.ask(request, 2 * count, wait_ms, rest_ms, batch.decode, late)
            self._refused.pop(batch, None)
            self.counts[proto.OK] += 1
            for value in values:
                if isinstance(value, Fault):
                    self.counts[value.kind] += 1
            return values
        except Fault as fault:
            if fault.kind == proto.ABSENT:
                self._refused = dict(self._refused)
                self._refused[batch] = refused + 1
                if refused + 1 == _REFUSALS:
                    fault = Fault(proto.UNSUPPORTED, fault.code, "has no registers %d+%d: dropped" % (address, count))
            self.counts[fault.kind] += 1
            return [fault] * batch.size

    async def act(self, name, args):
        """Switch the "relay" on (args True) or off; return the state that it then has, read back from the meter.

        Fault UNSUPPORTED without `rly` in the link, BUSY for a meter that does not answer now, REFUSED when it reads
        back as the other state, RANGE as neither, and what reading raises.
        """
        if name not in ACTIONS or not self.link:
            raise Fault(proto.UNSUPPORTED)
        from lib.proto.modbus import relay

        return await relay.switch(self, args)

    async def clock(self):
        """Raise Fault UNSUPPORTED: profiles know no clock."""
        raise Fault(proto.UNSUPPORTED)

    async def close(self):
        """Nothing to do: a meter knows of no session."""

    async def ask(self, request, size, wait_ms, rest_ms, take, silent=0):
        """Send the frame `request` and return take(data) of the reply's `size` bytes of data, or raise Fault.

        The reply to a write has no data: it repeats the first six bytes of its request. BUSY while replies to more
        than `silent` earlier requests may still come.
        """
        while True:
            async with self._media.lock:
                wait = time.ticks_diff(self._ready, time.ticks_ms())
                resting = 0 < wait <= _LONGEST_MS  # longer: ticks wrapped since
                if self.silent > silent or self.silent and resting:
                    raise Fault(proto.BUSY, 0, "left alone after a time-out")
                if not resting:
                    pause = rest_ms
                    try:
                        return take(await self._exchange(request, size, wait_ms))
                    except OSError as error:
                        raise Fault(proto.TIMEOUT, error.errno, "the line: %s" % error)
                    except Fault as fault:
                        if fault.kind == proto.BUSY:
                            pause = _QUARANTINE_MS
                        raise
                    finally:
                        if self.silent:
                            pause = min(_QUARANTINE_MS << min(max(self.silent - _SAME, 0), 6), _LONGEST_MS)
                        self._ready = time.ticks_add(time.ticks_ms(), pause)
            await asyncio.sleep_ms(wait)

    async def _exchange(self, request, size, wait_ms):
        """Return the reply's data, a view that is good until the line is used again."""
        media = self._media
        buf = media.buf
        head = request[:2] + bytes((size,)) if size else request[:6]
        length = max(size + _OVERHEAD, len(head) + 2)
        if not await media.drop():
            raise Fault(proto.FRAME, 0, "the line is never quiet")
        before = self.silent
        self.silent += 1
        await media.write(request)

        start = time.ticks_ms()
        # an exception is that long, and of a longer reply it tells when the rest is due
        got = await media.read(buf, _OVERHEAD, wait_ms + media.ms(_OVERHEAD))
        if not got:
            raise Fault(proto.TIMEOUT, 0, "no reply")
        limit = wait_ms + media.ms(length) + _SLACK_MS
        damaged = False
        while True:
            at = rtu.find(buf, got, head, length)
            left = limit - time.ticks_diff(time.ticks_ms(), start)
            if at is None:
                damaged = True
                at = -1
                left = min(left, _SLACK_MS)
            if at >= 0:
                break
            if got == len(buf):  # noise: no reply begins before its last bytes
                got = length - 1
                buf[:got] = bytes(buf[-got:])
            more = left > -_SLACK_MS and await media.read(buf[got:], min(-at, len(buf) - got), left)
            if not more:
                if damaged:
                    self.silent = 0
                raise Fault(proto.FRAME, got, "no valid reply in %d bytes" % got)
            got += more

        self.silent = 0
        code = buf[at + 2]
        if buf[at + 1] & _EXCEPTION:
            kind = proto.ABSENT if code == _ILLEGAL_ADDRESS else proto.REFUSED
            if before:  # it does not tell to which request: all that were sent have to be over first
                kind = proto.BUSY
            raise Fault(kind, code, "exception %d" % code)
        self.answered_ms = time.ticks_ms()
        return buf[at + len(head) : at + length - 2]
