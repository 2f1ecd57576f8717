"""SunSpec over Modbus RTU: meters and inverters that say themselves where their values stand.

    for batch in sunspec.plan(profile):         one; its columns are those of the profile, whatever the unit has
        values = await session.read(batch)

The first read looks for the models of the unit (chain.py, loaded for that only); those that follow are one request
each, with the scale factors in it. What the unit's model does not have, or says is not implemented, is None. A unit
that was silent is looked at anew: it may be another one. The offsets stand in models.py.
"""

import sys

from micropython import const

from lib import fixed, once, proto
from lib.proto import Fault, modbus

NAME = "sunspec"
POINT = "obis"  # the columns of a row in a profile's `q`
ACTIONS = ()

_CHAIN = const("lib.proto.sunspec.chain")
_FLOAT = const(3)  # the kinds of chain.py
_MINUS = const(8)
_SERIAL = const(16)
_WITHOUT = const(-32768)  # a scale factor that is not implemented
_SCALE = const(10)  # scale factors are -10 to 10
_LIMIT = const(62)  # bits of a value; records hold 64 bits of a difference


def check(profile):
    """Return what is wrong with a profile as [(path, found, allowed), ...]; [] when it is good."""
    return once.call("lib.proto.sunspec.rules", "problems", profile)


def plan(profile):
    """Return the one batch of a profile in which `check` finds nothing."""
    return [Batch(profile)]


async def session(media, link, secrets):
    """Return the Session with the unit at link["address"]; sends nothing."""
    return Session(await modbus.session(media, link, secrets))


class Batch:
    """The points of a profile; `every`, `size` and `points` as lib/proto says. The rest is for chain.py."""

    every = 1

    def __init__(self, profile):
        self.size = len(profile["q"])
        self.points = once.call("lib.proto.sunspec.models", "points", profile["q"])
        self.codes = " ".join([row[0] for row in profile["q"]])
        self.models = tuple(profile["models"])
        self.limits = tuple(profile["lim"])


class Session:
    """One unit. `identity` is [manufacturer, model, version, serial], each a str or None, once the unit was found."""

    def __init__(self, inner):
        self.identity = [None] * 4
        self._modbus = inner
        self._turn = 0  # where the search begins
        self._found = None  # as chain.find returns it

    @property
    def counts(self):
        """Return the numbers of the Modbus session; a read of the first time is several there."""
        return self._modbus.counts

    @property
    def answered_ms(self):
        """Return the ticks when the last reply ended."""
        return self._modbus.answered_ms

    async def read(self, batch):
        """Return a value for each of the batch's points, in order: int, str, None, or a Fault. Raises none."""
        try:
            if self._found is None:
                self._found = await self._find(batch)
            number, length, block, rows = self._found
            raw = await self._modbus.read(block)
            if isinstance(raw[0], Fault):
                if raw[0].kind == proto.TIMEOUT:
                    self._found = None
                return raw[:1] * batch.size
            if raw[:2] != [number, length]:
                self._found = None
                raise Fault(proto.FRAME, 0, "another model stands there now")
        except Fault as fault:
            return [fault] * batch.size
        return [self._value(raw, *rows[i : i + 4]) for i in range(0, len(rows), 4)]

    async def _find(self, batch):
        from lib.proto.sunspec import chain

        try:
            self.identity, found = await chain.find(self._modbus, batch, self._turn)
            return found
        except Fault as fault:
            if fault.kind == proto.TIMEOUT:  # some units say nothing where they have nothing
                self._turn += 1
            raise
        finally:
            if _CHAIN in sys.modules:  # unless a session on another bus was done with it first
                once.forget(_CHAIN)

    def _value(self, raw, at, kind, scale, shift):
        """Return a value from the numbers of a reply: number `at`, times ten to the number `scale` and to `shift`."""
        if kind == _SERIAL:
            return self.identity[3]
        value = raw[at] if at else None
        if kind == _FLOAT or value is None:
            return value
        power = raw[scale]
        if value == (_WITHOUT, 65535, 0)[kind & 3] or power == _WITHOUT:  # int16, uint16, acc32: not implemented
            return None
        if abs(power) > _SCALE:
            return Fault(proto.RANGE, 0, "a scale factor of %d" % power)
        power += shift
        value = value * 10**power if power >= 0 else fixed.ratio(value, 10**-power)
        if abs(value) >> _LIMIT:
            return Fault(proto.RANGE, 0, "no value has so many digits")
        return -value if kind & _MINUS else value

    async def act(self, name, args):
        """Raise Fault UNSUPPORTED: there are no actions."""
        raise Fault(proto.UNSUPPORTED)

    async def clock(self):
        """Raise Fault UNSUPPORTED: the models that are read have no clock."""
        raise Fault(proto.UNSUPPORTED)

    async def close(self):
        """Nothing to do: a unit knows of no session."""
