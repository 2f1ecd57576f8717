"""A broker that does what a test tells it, on a free port of the loopback; it parses by itself, not with lib/mqtt.

    broker = await fake_broker.listen()
    client = MQTTClient("id", "127.0.0.1", broker.port)
    peer = await broker.accept()                # the next connection; it has sent nothing yet
    first, body = await peer.packet()           # its next packet: type and flags, and what follows the fixed header
    await peer.send(fake_broker.CONNACK)
"""
import asyncio
import random

CONNACK = b"\x20\x02\x00\x00"
KEPT = b"\x20\x02\x01\x00"  # CONNACK of a session that the broker had kept
LIMIT_MS = 5000  # a packet that does not come within this never comes


def puback(pid):
    return bytes((0x40, 2, pid >> 8, pid & 255))


def publish(topic, msg, pid=0):
    """A PUBLISH of bytes with QoS 1, or 0 without a `pid`."""
    body = len(topic).to_bytes(2, "big") + topic + (pid.to_bytes(2, "big") if pid else b"") + msg
    packet = bytearray((0x32 if pid else 0x30,))
    n = len(body)
    while n > 127:
        packet.append(n % 128 + 128)
        n //= 128
    packet.append(n)
    return packet + body


def pid_of(body):
    """The packet id in the body of a PUBLISH with QoS 1."""
    at = 2 + int.from_bytes(body[:2], "big")
    return int.from_bytes(body[at : at + 2], "big")


def payload_of(body):
    """The payload in the body of a PUBLISH with QoS 1."""
    return body[4 + int.from_bytes(body[:2], "big") :]


class Peer:
    """One connection, from the broker's side."""

    def __init__(self, stream):
        self.stream = stream

    async def packet(self, ms=LIMIT_MS):
        """Return (first byte, body); EOFError when the client has closed, TimeoutError when it says nothing."""
        return await asyncio.wait_for_ms(self._packet(), ms)

    async def _packet(self):
        first = (await self.stream.readexactly(1))[0]
        length, unit = 0, 1
        while True:
            byte = (await self.stream.readexactly(1))[0]
            length += (byte & 127) * unit
            unit *= 128
            if byte < 128:
                return first, await self.stream.readexactly(length)

    async def publishes(self, n):
        """Return the packet ids of the next `n` packets, which are PUBLISH with QoS 1."""
        ids = []
        for _ in range(n):
            first, body = await self.packet()
            assert first & 0xF6 == 0x32, hex(first)
            ids.append(pid_of(body))
        return ids

    async def silent(self, ms=30):
        """Make sure that the client sends nothing for `ms`."""
        try:
            got = await self.packet(ms)
        except asyncio.TimeoutError:
            return
        raise AssertionError("not silent: %r" % (got,))

    async def closed(self):
        """Wait until the client has closed, whatever it sends before."""
        try:
            while True:
                await self.packet()
        except (EOFError, OSError):
            pass

    async def send(self, data):
        self.stream.write(data)
        await self.stream.drain()

    def close(self):
        self.stream.s.close()  # Stream.close() does nothing


class Broker:
    def __init__(self):
        self.port = 0
        self._peers = []
        self._came = asyncio.Event()

    async def accept(self):
        """Return the next connection."""

        async def wait():
            while not self._peers:
                self._came.clear()
                await self._came.wait()

        await asyncio.wait_for_ms(wait(), LIMIT_MS)
        return self._peers.pop(0)

    async def connection(self, connack=CONNACK):
        """Return the next connection, its CONNECT answered with `connack`."""
        peer = await self.accept()
        first, _ = await peer.packet()
        assert first == 0x10
        await peer.send(connack)
        return peer

    async def client(self, stream, _):
        self._peers.append(Peer(stream))
        self._came.set()


async def listen():
    """Return a Broker that listens."""
    broker = Broker()
    while True:
        broker.port = random.randint(20000, 32000)
        try:
            await asyncio.start_server(broker.client, "127.0.0.1", broker.port)
            return broker
        except OSError:  # in use
            pass
