"""A root of the mesh: what the poles have stored goes to every outlet here, under the pole's own gatewayId and `seq`.

Nothing of theirs is stored here. A batch is taken while there is room, handed to one courier for each outlet, and
confirmed when all of them have its PUBACK; until then it is the pole's, whose flash has it. What was not confirmed when
a root dies comes again. docs/decisions/0014 says what happens when an outlet is away for long.
"""
import json

from micropython import const

from gateway import bridge, clock, log
from gateway.asking import Asking
from gateway.batches import AGAIN, IDENTITY, LAYOUT, RECORDS, TABLE, Reader
from gateway.couriers import Courier
from gateway.owed import Owed
from gateway.records import EVENT
from lib.mesh import counts

_QUEUE = const(32)  # batches that are not yet confirmed
_BUSY = const(24)  # and from so many on another root may serve the poles better
_LIMIT_MS = const(60000)
_GONE_MS = const(30000)  # no outlet is connected for so long, and the poles look for another root
_TABLE_MS = const(300000)
_BOUND_MS = const(20)  # of the clock, for each stratum
_STRATA = const(200)


class Batch:
    """One batch on its way to the outlets: `left` are the couriers that have no PUBACK for all of it."""

    def __init__(self, serial, member, number, parts, payload, now, left, fresh):
        self.serial = serial
        self.fresh = fresh  # it comes for the first time: an outlet that is away will lack it
        self.member = member
        self.names = member.names
        self.number = number
        self.parts = parts
        self.payload = payload
        self.now = now  # when it came: what is late is late to every outlet
        self.left = left


class Root(Asking):
    """`queue`: batches, oldest first."""

    def __init__(self, now, recorder, nvs, identity, outlets, voices):
        super().__init__(now, recorder, nvs)
        self._identity = identity
        self.queue = []
        self.couriers = [Courier(self, outlet, voice) for outlet, voice in zip(outlets, voices)]
        self._reader = Reader(None)
        self.owed = Owed(self)
        self._serial = 0
        self._up_at = 0
        self._table_at = 0

    def start(self, keep):
        """Start the tasks."""
        self.own = self.members.add(self.node.id)
        self.own.feeder, self.own.gateway = self._identity
        super().start(keep)
        for courier in self.couriers:
            keep("mesh " + courier.outlet.name, courier.run, _LIMIT_MS)

    def look(self, now):
        """Tell the node the time and how the outlets stand; tell the outlets who has fallen silent."""
        super().look(now)
        node = self.node
        if [courier for courier in self.couriers if courier.outlet.client.connected]:
            self._up_at = now
        channel = self.air.channel
        if channel and channel != node.channel.at:  # the access point's: nobody asked
            node.move(channel, bridge.ticks())
        node.uplink(now - self._up_at < _GONE_MS, 200 if len(self.queue) > _BUSY else 0, bridge.ticks())
        utc = self.clock.now()
        stratum = utc[1] // _BOUND_MS if utc else _STRATA
        if stratum < _STRATA and self.clock.source != clock.MESH:
            node.set_time(utc[0] - bridge.SINCE_MS, stratum, bridge.ticks())
        else:
            node.set_time(None, 0, bridge.ticks())
        if now >= self._table_at:
            self._table_at = now + _TABLE_MS
            self.own.take(TABLE, self.table(), now, utc, 0)
        self.owed.call_in(now)
        self.own.heard = now
        self.members.look(now)

    def received(self, origin, number, kind, payload):
        """Take a part of a batch; False when it has to come again."""
        member = self.members.add(origin)
        if not payload or not member:
            return False
        part, last = payload[0] >> 4, payload[0] & 15
        number -= part
        if kind in (RECORDS, AGAIN):
            for batch in self.queue:
                if batch.member is member and batch.number == number:
                    return True
        else:
            self.node.confirm(origin, number + part, bridge.ticks())
        whole = member.join(number, part, last, payload[1:])
        if whole is None:
            return True
        if kind == AGAIN and len(whole) == 9:
            self.owed.went(member, number, whole)
            return True
        if kind not in (RECORDS, AGAIN):
            member.done(number)
            self.learn(origin, member, kind, whole)
            return True
        fresh = kind == RECORDS or member.again is None  # it was not asked here: who knows what for
        taken = self._records(origin, member, number, last + 1, whole, fresh)
        if taken:
            member.done(number)
        return taken

    def _records(self, origin, member, number, parts, payload, fresh):
        """Queue a batch for the outlets; False when there is no room, or not all is known of the pole."""
        left = [courier for courier in self.couriers if not courier.away]
        if not fresh:
            member.again_at = clock.uptime_ms()
            left = [courier for courier in left if courier in (member.again or ())]
            if not left:
                self.confirm(origin, number, parts)
                return True
        if len(self.queue) >= _QUEUE or not left:
            return False
        if not member.firmware:
            self.ask(member, IDENTITY, 0)
            return False
        payload = bytes(payload)
        reader = self._reader
        if len(payload) > 1:
            member.lives(payload[0] << 8 | payload[1])
        names = member.names
        names.missing = None
        try:
            reader.start(payload, names)
            while reader.next():
                if reader.slot and not names.serial(reader.slot):
                    self.ask(member, IDENTITY, 0)
                    return False
                if reader.tag == EVENT and not isinstance(json.loads(reader.what[3]), dict):
                    raise ValueError("event")
        except (IndexError, ValueError):
            if names.missing is not None and names.missing <= 0xFFFF:
                self.ask(member, LAYOUT, names.missing)
                return False
            self.node.notes.note(counts.UNREAD, origin)
            log.error(self.name, "a batch of %s cannot be read" % member.gateway)
            self.confirm(origin, number, parts)
            return True
        self._serial += 1
        batch = Batch(self._serial, member, number, parts, payload, self.clock.now(), left, fresh)
        if fresh:
            for courier in self.couriers:
                if courier.away and not self.owed.lacks(courier, batch):
                    return False
        self.queue.append(batch)
        return True

    def confirm(self, origin, number, parts):
        """Let a batch be acknowledged."""
        for part in range(parts):
            self.node.confirm(origin, number + part, bridge.ticks())

    def serves(self, but):
        """Return whether an outlet other than that of the courier `but` is served."""
        return bool([courier for courier in self.couriers if courier is not but and not courier.away])

    def done(self, batch, courier):
        """Take that an outlet has all of a batch, or does without."""
        if courier in batch.left:
            batch.left.remove(courier)
            if not batch.left:
                self.queue.remove(batch)
                self.confirm(batch.member.id, batch.number, batch.parts)
