"""One outlet: sends the journal to an operator's broker, from the outlet's own cursor on.

The cursor moves only over the acknowledged prefix, so a record is sent until the broker has said PUBACK; what was on
the way when a connection broke is sent again, and (gatewayId, seq) tells a consumer so.
"""
import asyncio

from micropython import const

from gateway import clock
from gateway.replay import History
from lib import once
from lib.mqtt import MQTTClient, Stale

IDLE_MS = 200  # between two looks for new records
_INBOUND = const(128)  # bytes of a packet from the broker: acknowledgements, as nothing is subscribed to
FIRST_REPORT_MS = 60000  # not while everything starts
_CURSOR_MS = const(5000)  # least time between two writes of the cursor to flash
_STANDING = const("gateway.standing")
_OVERRUN = const("gateway.overrun")
_NEAR = const(8)  # less than this part of the ring is left until records are overwritten that were not delivered
_FAR = const(4)  # and then more than this part: who is at the limit would else tell of it with each block
_BITS = const(30)  # more than the window has places, and a small int


class Outlet:
    """Two tasks: `link(life)` keeps the connection, `run(life)` feeds it. `acked`: the next ordinal to acknowledge.

    `asked` is None or (begin, end) in unix ms: records of that span are to be sent again, then it is None.
    """

    gateway = None  # whose reports are sent too; the next one at this uptime in ms:
    report_at = FIRST_REPORT_MS

    def __init__(
        self, config, secrets, northbound, journal, cursor, dating, now, problems, recorder, archive=None, ssl=None
    ):
        self.name = config["name"]
        self.root = northbound.root
        self.journal = journal
        self._cursor = cursor
        self.northbound = northbound
        self.dating = dating
        self._clock = now
        self._recorder = recorder
        self._told = ()  # the gaps that events have told of and nothing behind was acknowledged: (first, after)
        self._problems = problems  # of the newest configuration, when it was refused
        self.client = MQTTClient(
            self.root.replace("/", "-"), config["host"], config.get("port"),
            secrets.get("username"), secrets.get("password"), ssl=ssl, limit=_INBOUND,
        )  # fmt: skip
        self.client.set_last_will(self.root + "/status", '{"state":"offline"}', True, 1)
        self.client.on_ack = self._acknowledged
        kept = journal.cursor(cursor)
        self.acked = kept if kept is not None and kept <= journal.next else journal.first
        self._kept = kept
        self._kept_at = clock.uptime_ms()
        self._sent = self._fresh = 0  # the ordinal after the newest sent; which of the last were not late, a bit each
        self._near = False
        self.asked = None
        self.network = None  # what says in `via` which way to the net is in use, where one is configured
        self._history = History(journal, northbound.names, dating, self.acked, archive, self._missed)

    @property
    def behind(self):
        """Return how many records are not acknowledged."""
        return self.journal.next - self.acked

    async def link(self, life):
        """Keep the connection, for ever."""
        await self.client.run(life.beat)

    async def run(self, life):
        """Feed each connection with the records from the acknowledged prefix on, for ever."""
        state = None
        refused = ""
        while True:
            life.beat()
            if self.client.state != state:
                state = self.client.state
                refused = once.call(_STANDING, "tell", self, self._recorder, state, refused)
            if self.client.connected:
                try:
                    await self._serve(life, self.client.generation)
                except Stale:
                    pass
            self.keep()
            await asyncio.sleep_ms(IDLE_MS)

    async def _serve(self, life, generation):
        trusted = via = None
        history = self._history
        history.start(self.acked)
        while self.client.connected and self.client.generation == generation:
            life.beat()
            if self._clock.trusted() != trusted or self.network and self.network.via != via:
                trusted = self._clock.trusted()
                via = self.network and self.network.via
                text = once.call(_STANDING, "status", self, trusted, via)
                await self.client.publish(self.root + "/status", text, retain=True, generation=generation)
            if self.gateway and clock.uptime_ms() >= self.report_at:
                await self.client.publish(*once.call("gateway.report", "message", self), generation=generation)
            if self.asked:
                await once.call("gateway.again", "send", self, generation, life)
            record = await history.next()
            self.keep()
            if record is None:
                await asyncio.sleep_ms(IDLE_MS)
                continue
            ordinal = record.ordinal
            bit = 1 << ordinal % _BITS
            again = ordinal < self._sent and self._fresh & bit  # it is as late as when it was sent first
            try:
                message = self.northbound.message(record, None if again else self._clock.now())
            except (IndexError, ValueError):  # what a later version has stored, before this one came back
                message = None
                self.gone(ordinal, ordinal + 1)
            if message:
                self._sent = max(self._sent, ordinal + 1)
                self._fresh = self._fresh & ~bit | (0 if self.northbound.late else bit)
                await self.client.publish(message[0], message[1], token=ordinal, generation=generation)
            elif not self.client.pending:  # not for this outlet
                self.acked = ordinal + 1
            await asyncio.sleep_ms(0)  # a window with room for many must not hold the loop

    def _missed(self, first, after, thinned):
        if not thinned and first <= self.acked:  # nothing before them is on the way
            self.acked = max(self.acked, after)
        self.gone(first, after, thinned)

    def gone(self, first, after, thinned=False):
        """Tell that ordinals `first` to `after` - 1 do not come, but for what the archive has of `thinned` ones."""
        where = self._recorder, self.name, self.northbound.epoch << 32
        self._told = once.call(_OVERRUN, "gone", self._told, self.acked, where, first, after, thinned)

    def _acknowledged(self, token):
        self.acked = max(self.acked, token + 1)  # a task that was started anew has sent some twice

    def keep(self, at_once=False):
        """Write the cursor to flash when it moved and the last write is long enough ago, or `at_once`."""
        now = clock.uptime_ms()
        if self.acked != self._kept and (at_once or now - self._kept_at >= _CURSOR_MS):
            self._kept_at = now
            try:
                self.journal.put(self._cursor, self.acked)
                self._kept = self.acked
            except OSError:  # counted as failed; after a restart more is sent twice, and nothing is lost
                pass
        first = self.journal.first
        part = _FAR if self._near else _NEAR
        near = 0 < first and (self.acked - first) * part < self.journal.next - first
        if near != self._near:
            self._near = near
            once.call(_OVERRUN, "near_full", self, self._recorder, near)
