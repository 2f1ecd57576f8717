"""An MQTT 3.1.1 client for asyncio with umqtt.simple's names: QoS 1 with many messages on the way, nothing that blocks.

    client = MQTTClient("pole-07", "broker.example.org", user="pole-07", password=secret)
    client.on_ack = journal_cursor.advance
    asyncio.create_task(client.run())
    generation = await client.up()
    await client.publish("pole-07/telemetry", payload, token=ordinal, generation=generation)

It keeps the connection by itself and never sends a message twice: who publishes goes back, on each new connection, to
the message after the last token that came through `on_ack`. `packet` and `hello` are the codec, `window` what is on the
way, `connect` and `link` the socket. What the broker sends is only acknowledged here; `inbound` has a client that
subscribes.
"""
import asyncio
import random
from time import ticks_diff, ticks_ms

from micropython import const

from lib import once
from lib.mqtt import packet
from lib.mqtt.link import LIMIT, Link
from lib.mqtt.window import Window

TICK_MS = 500  # between two looks at the time-outs
_BEAT_MS = const(2000)  # longest sleep without a sign of life
_CONNECT_MS = const(60000)  # name, TCP, TLS and CONNACK: 4 round trips, crypto, losses
_STABLE_MS = const(60000)  # a connection that lasted so long ends the back-off
_BACKOFF_MS = const(1000)  # the first pause, times 0.5 to 1.5
_LONGEST_MS = const(120000)
_HELLO = const("lib.mqtt.hello")
_COPIED = const(300)  # bytes of a message that is worth an allocation


class Stale(Exception):
    """The connection for which a message was meant is gone; the message was not sent."""


class MQTTClient:
    """A client of one broker. `keepalive` in s; `room` counts bytes of topics and payloads; `ssl` is an SSLContext, or
    what has its `wrap_socket` and is an asynchronous context manager, within which each step of a handshake is made.

    `limit` is the longest packet that is taken from the broker; what is longer is thrown away, and acknowledged.
    A `port` None or 0 is 8883 with `ssl`, else 1883.

    connected   True from CONNACK until the connection is lost
    generation  number of the connection, 0 = none so far
    state       "off", "connecting", "connected", "lost" or "refused: " and why, by the broker's CONNACK or by us, who
                do not believe its certificate; in the last two it waits to try again
    closed      True after `close`; set to False, `run` may be called again
    error       text of the last error, "" = none so far
    on_ack      f(token), called for each QoS 1 message with a token, in the order of sending, once the broker has
                acknowledged it and all before it
    stats       counts: connects; sent; acked (QoS 1); malformed (connections ended by what the broker sent); stray
                (acknowledged, not on the way); and of brokers whose certificate was refused authority, name, dates and
                other, what was wrong with it, each from its first on
    """

    def __init__(
        self, client_id, server, port=0, user=None, password=None, keepalive=60, ssl=None, *,
        window=16, room=4096, limit=1024, ack_ms=30000,
    ):  # fmt: skip
        self._server = server, port or (8883 if ssl else 1883), ssl
        self._id = client_id
        self._login = user, password
        self._keepalive = keepalive
        self._window = Window(window, room)
        self._link = Link(self._received, self._lose, room, limit)
        self.on_ack = lambda token: None
        self.connected = False
        self.generation = 0
        self.state = "off"
        self.error = ""
        self.stats = {"connects": 0, "sent": 0, "acked": 0, "malformed": 0, "stray": 0}
        self._will = None
        self._up = asyncio.Event()
        self.closed = False
        self._delay = 0  # ms of the last back-off
        self._began = 0  # ticks: begin of the attempt, then of the connection
        self._pinged = None  # ticks: PINGREQ that was not answered
        # for tests:
        self.ack_ms = ack_ms
        self.tick_ms = TICK_MS
        self.sleep_ms = asyncio.sleep_ms
        self.random = random.getrandbits

    def set_last_will(self, topic, msg, retain=False, qos=0):
        """Set what the broker publishes when it loses the client; from the next connection on."""
        self._will = topic, msg, retain, qos

    @property
    def pending(self):
        """Return how many messages are on the way: sent, and not in the acknowledged prefix."""
        return self._window.count

    async def up(self):
        """Wait until there is a connection; return its generation."""
        while not self.connected:
            await self._up.wait()
        return self.generation

    async def publish(self, topic, msg, retain=False, qos=1, token=None, generation=None):
        """Send one message, str or bytes, when there is room. `generation` None is the connection of now.

        A message of more than 300 bytes is not copied: this returns when it is written. Raises Stale when the
        connection is gone, ValueError when no broker would take the message.
        """
        topic, msg = memoryview(topic), memoryview(msg)
        if qos not in (0, 1) or not 0 < len(topic) < 65536:
            raise ValueError("mqtt: qos or topic")
        size = len(topic) + len(msg)
        await self._admit(size, qos, self.generation if generation is None else generation)
        pid = self._window.add(size, ticks_ms(), token) if qos else 0
        self.stats["sent"] += 1
        if size <= _COPIED:
            self._link.put(packet.publish(topic, msg, retain, qos, pid))
        else:
            await self._link.send(packet.publish(topic, b"", retain, qos, pid, len(msg)), msg)

    async def flush(self, ms):
        """Wait until all is written and acknowledged, at most `ms`; return whether it is."""
        return await once.call("lib.mqtt.leave", "flush", self, ms)

    async def close(self, ms=1000):
        """Take leave of the broker, within `ms`, so that it does not publish the last will. `run` ends, for good."""
        await once.call("lib.mqtt.leave", "close", self, ms)

    async def run(self, beat=lambda: None):
        """Keep the connection until `close`; call `beat()` at least every 2 s. Raises nothing but CancelledError."""
        try:
            while not self.closed:
                self._began = ticks_ms()
                self.state = "connecting"
                try:
                    hello = once.call(_HELLO, "connect", self._id, *self._login, self._keepalive, self._will)
                    self._link.start(*self._server, hello)
                    while self.state in ("connecting", "connected"):
                        await asyncio.sleep_ms(self.tick_ms)
                        beat()
                        self._check(ticks_ms())
                except Exception as error:  # MemoryError among them
                    self._lose(error)
                self._link.stop()
                self._delay = min(2 * self._delay or _BACKOFF_MS, _LONGEST_MS)
                left = self._delay * (512 + self.random(10)) >> 10
                while left > 0 and not self.closed:
                    await self.sleep_ms(min(left, _BEAT_MS))
                    left -= _BEAT_MS
                    beat()
        finally:
            self._lose("")
            self._link.stop()
            self.state = "off"

    def _check(self, now):
        """End the connection when an answer is overdue, and ask for one when it was silent for half the keepalive."""
        up_ms = ticks_diff(now, self._began)
        if not self.connected:
            if up_ms >= _CONNECT_MS:
                self._lose("no connection in time")
            return
        if up_ms >= _STABLE_MS:
            self._delay = 0
        if self._window.count and ticks_diff(now, self._window.since()) >= self.ack_ms:
            self._lose("no acknowledgement in time")
        elif self._pinged is not None:
            if ticks_diff(now, self._pinged) >= self.ack_ms:
                self._lose("no answer to a ping")
        elif max(ticks_diff(now, self._link.sent), ticks_diff(now, self._link.heard)) >= self._keepalive * 500:
            self._link.put(packet.PINGREQ)
            self._pinged = now

    def _lose(self, error):
        """End the connection or the attempt; whoever waits for it learns that."""
        if self.state not in ("connecting", "connected"):
            return
        if isinstance(error, packet.Malformed):
            self.stats["malformed"] += 1
        if isinstance(error, ValueError):
            error = once.call(_HELLO, "refusal", error, self.stats)
        text = str(error)
        if text and not self.closed:
            self.error = text
        self.state = text if text.startswith("refused") else "lost"
        self.connected = False
        self._up.clear()
        self._window.clear()
        self._link.moved.set()

    def _received(self, kind):
        decoder = self._link.decoder
        if self.state != ("connecting" if kind == packet.CONNACK else "connected"):
            raise packet.Malformed("packet %d out of turn" % kind)
        if kind == packet.CONNACK:
            self._connack(decoder.code, decoder.session)
        elif kind in (packet.PUBACK, packet.SUBACK):
            mark = -decoder.pid if kind == packet.SUBACK else decoder.pid
            self.stats["acked" if self._window.ack(mark, self.on_ack) else "stray"] += 1
            self._link.moved.set()
        elif kind == packet.PINGRESP:
            self._pinged = None
        elif decoder.pid:  # of a message: not acknowledged, it would come again and again
            self._link.put(packet.puback(decoder.pid))

    def _connack(self, code, session):
        if code:
            if code in (4, 5):  # nothing that time heals
                self._delay = _LONGEST_MS
            self._lose(once.call(_HELLO, "refusal", code, self.stats))
            return
        self.stats["connects"] += 1
        self._began = ticks_ms()
        self._pinged = None
        self.connected = True
        self.generation += 1
        self.state = "connected"
        self._up.set()

    async def _admit(self, size, qos, generation):
        """Wait until the message may go over the connection `generation`."""
        while self.connected and generation == self.generation:
            queued = self._link.queued  # one long message at a time, or several short ones
            if (not queued or queued + size <= LIMIT) and (not qos or self._window.fits(size)):
                return
            self._link.moved.clear()
            await self._link.moved.wait()
        raise Stale
