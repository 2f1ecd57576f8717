"""A client that also listens: subscriptions, and what comes for them. Imported only where something is asked for.

    client = Subscriber("pole-07", "broker.example.org")
    client.set_callback(lambda topic, msg: ...)
    await client.subscribe("pole-07/command")
"""
from time import ticks_ms

from micropython import const

from lib import once
from lib.mqtt import MQTTClient, Stale, packet

_HELLO = const("lib.mqtt.hello")


class Subscriber(MQTTClient):
    """An MQTTClient with more `stats`: received; oversize (thrown away); refused (subscriptions); raised (the callback
    failed). `sent` and `acked` count subscriptions too.
    """

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.stats.update({"received": 0, "oversize": 0, "refused": 0, "raised": 0})
        self._callback = lambda topic, msg: None
        self._topics = {}
        self._owed = 0  # SUBSCRIBE that were not answered

    def set_callback(self, f):
        """Call f(topic, msg), both bytes, for each message received; those longer than `limit` are thrown away."""
        self._callback = f

    async def subscribe(self, topic, qos=1):
        """Ask for `topic`, now and on each connection whose broker may not know of it. Does not wait for an answer."""
        self._topics[topic] = qos
        self._owed += 1
        try:
            await self._admit(0, 1, self.generation)
            self._subscribe({topic: qos})
        except Stale:
            pass  # the next connection asks for all

    def _subscribe(self, topics):
        pid = self._window.add(0, ticks_ms(), subscription=True)
        self._link.put(once.call(_HELLO, "subscribe", pid, topics))

    def _received(self, kind):
        if self.state == "connected":
            decoder, stats = self._link.decoder, self.stats
            if kind == packet.SUBACK:
                self._owed = max(0, self._owed - 1)
                stats["refused"] += decoder.code == 128
            elif kind == packet.OVERSIZE:
                stats["oversize"] += 1
            elif kind == packet.PUBLISH:
                stats["received"] += 1
                try:
                    self._callback(decoder.topic, decoder.msg)
                except Exception as error:  # acknowledged all the same: it would come, and fail, again and again
                    stats["raised"] += 1
                    self.error = "callback: %r" % error
        MQTTClient._received(self, kind)

    def _connack(self, code, session):
        MQTTClient._connack(self, code, session)
        if self.connected and self._topics and (self._owed or not session):
            self._owed = 1
            self._subscribe(self._topics)
