"""Carries the poles' batches to one outlet of a root, over the connection that the outlet keeps.

Of a batch every message has to be acknowledged; on each new connection all that are not go again. What poles tell of
themselves is retained at the broker, so each new connection gets it once, and each change.
"""
import asyncio

from micropython import const

from gateway import clock, telling
from gateway.batches import Reader
from lib.mesh import counts
from lib.mqtt import Stale

_IDLE_MS = const(200)
_AWAY_MS = const(600000)  # an outlet that is not connected for so long is not waited for


class Courier:
    """`run(life)` serves `outlet`; `away`: it is not waited for."""

    away = False

    def __init__(self, root, outlet, northbound):
        self._root = root
        self.outlet = outlet
        self._northbound = northbound
        self._reader = Reader(None)
        self._own = outlet.client.on_ack
        outlet.client.on_ack = self._acked
        self._token = 0  # of the last message; what is the mesh's is negative
        self._reached = 0  # the last that is acknowledged
        self._ends = []  # (token of its last message, batch)
        self._told = {}  # id: versions that this connection has
        self._seen = 0  # uptime ms when it was connected last

    async def run(self, life):
        """Serve each connection, for ever."""
        while True:
            life.beat()
            now = clock.uptime_ms()
            client = self.outlet.client
            if client.connected:
                self._seen = now
                self.away = False
                try:
                    await self._serve(life, client.generation)
                except Stale:
                    pass
            elif now - self._seen > _AWAY_MS and not self.away and self._root.serves(self):
                self.away = True
                self._root.owed.left_behind(self)
            await asyncio.sleep_ms(_IDLE_MS)

    async def _serve(self, life, generation):
        client = self.outlet.client
        self._ends.clear()
        self._reached = self._token
        self._told.clear()
        sent = 0
        while client.connected and client.generation == generation:
            life.beat()
            self._seen = clock.uptime_ms()
            for batch in self._root.queue:
                if batch.serial > sent and self in batch.left:
                    sent = batch.serial
                    await self._send(batch, generation)
                    break
            else:
                for member in list(self._root.members.all.values()):
                    if member.gateway and self._told.get(member.id) != member.versions:
                        await self._tell(member, generation)
                await asyncio.sleep_ms(_IDLE_MS)

    async def _send(self, batch, generation):
        """Publish the records of a batch."""
        reader, northbound = self._reader, self._northbound
        member = batch.member
        reader.start(batch.payload, batch.names)
        northbound._feeder, northbound._gateway, northbound.root = member.feeder, member.gateway, member.topic()
        northbound.names, northbound.every, northbound.epoch = batch.names, batch.names.every, reader.epoch
        while True:
            northbound.prev = -1  # of a filtered outlet: what was sent before it is the pole's to know
            try:
                if not reader.next():
                    break
                message = northbound.message(reader, batch.now)
            except (IndexError, ValueError):  # an event that only a newer firmware has a word for
                self._root.node.notes.note(counts.UNREAD, member.id)
                continue
            if message:
                self._token -= 1
                await self.outlet.client.publish(*message, token=self._token, generation=generation)
            await asyncio.sleep_ms(0)
        self._ends.append((self._token, batch))
        self._finish()

    def _acked(self, token):
        if token is None or token >= 0:
            self._own(token)
        else:
            self._reached = token
            self._finish()

    def _finish(self):
        while self._ends and self._ends[0][0] >= self._reached:
            self._root.done(self._ends.pop(0)[1], self)

    def _said(self, text, member):
        """Return a text of telling, None when what the member told makes no sense."""
        try:
            return text(member, self._root.node.id)
        except (IndexError, ValueError):
            self._root.node.notes.note(counts.UNREAD, member.id)
            return None

    async def _tell(self, member, generation):
        """Publish what this connection does not have yet of what a member has told."""
        versions = list(member.versions)
        before = self._told.get(member.id, (0, 0, -1))
        root = member.topic()
        own = member is self._root.own
        for i, (topic, text) in enumerate((("/status", telling.status), ("/gateway/mesh", telling.shown))):
            if versions[i] != before[i] and not (own and not i):
                said = self._said(text, member)
                if said:
                    await self.outlet.client.publish(root + topic, said, retain=True, generation=generation)
        if versions[2] != before[2] and before[2] >= 0 and member.report[0]:
            said = self._said(telling.report, member)
            if said:
                await self.outlet.client.publish(root + "/gateway/telemetry", said, generation=generation)
        self._told[member.id] = versions
