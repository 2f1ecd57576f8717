"""One connection at a time: a task that reads packets and one that writes them; it knows nothing of their sense.

The writer offers one buffer to the socket and never adds to it: a TLS socket that could not take a buffer must be
offered the same one again, or bytes are lost. `asyncio.Stream.write` would add, and its module costs 1.8 kB of heap.
"""
import asyncio
from asyncio import core  # type: ignore[attr-defined]
from time import ticks_ms

from lib import once
from lib.mqtt.packet import Decoder

LIMIT = 1024  # bytes of small packets that are written at once


def ready(queue, sock):
    """Wait as asyncio.Stream does: `queue` is a method of the loop's I/O queue."""
    yield queue(sock)


class Link:
    """`received(kind)` is called for each packet, after which `decoder` has its content; `lost(error)` at the end.

    heard, sent     ticks_ms of the last byte in and out
    queued          bytes that are not yet written
    moved           an Event for those who wait for room: set when something was written or is forgotten; the owner
                    may set it too
    `limit` is the longest packet that is taken, `room` the most bytes of answers that may wait to be written.
    """

    def __init__(self, received, lost, room, limit):
        self._received = received
        self._lost = lost
        self._room = room
        self.decoder = Decoder(limit)
        self._out = []
        self._work = asyncio.Event()
        self.moved = asyncio.Event()
        self._sock = None
        self._tasks = []
        self.queued = self.heard = self.sent = 0

    def start(self, host, port, ssl, hello):
        """Begin to connect; `hello` is the first packet."""
        self.decoder.reset()
        self.put(hello)
        self._tasks.append(asyncio.create_task(self._run(host, port, ssl)))

    def stop(self):
        """Close the socket and forget what is not yet written. Not from within `received`."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._out.clear()
        self.queued = 0
        self.moved.set()
        if self._sock:
            self._sock.close()
            self._sock = None

    def put(self, data):
        """Queue one packet."""
        self._out.append(data)
        self.queued += len(data)
        self._work.set()

    async def send(self, head, data):
        """Queue one packet of two parts; return when nothing of them is needed any more: written, or stopped."""
        self.put(head)
        self.put(data)
        while self.queued:
            self.moved.clear()
            await self.moved.wait()

    async def _run(self, host, port, ssl):
        try:
            sock = await once.call("lib.mqtt.connect", "connect", self, host, port, ssl)
            self._tasks.append(asyncio.create_task(self._write(sock)))
            await self._read(sock)
        except Exception as error:
            self._lost(error)

    async def _read(self, sock):
        while True:
            await ready(core._io_queue.queue_read, sock)
            n = sock.readinto(self.decoder.room())
            if n == 0:
                raise EOFError("closed by the broker")
            self.decoder.filled(n or 0)  # None: a TLS record is not complete
            self.heard = ticks_ms()
            while True:
                kind = self.decoder.next()
                if not kind:
                    break
                self._received(kind)
            while self.queued > self._room:  # who does not read our answers is not read from
                self.moved.clear()
                await self.moved.wait()

    async def _write(self, sock):
        out = self._out
        try:
            while True:
                while not out:
                    self._work.clear()
                    await self._work.wait()
                n = count = 0  # small packets go together: each write is a segment, and a TLS record
                while count < len(out) and n + len(out[count]) <= LIMIT and not isinstance(out[count], memoryview):
                    n += len(out[count])
                    count += 1
                if count > 1:
                    left = memoryview(b"".join(out[:count]))
                    del out[:count]
                else:
                    left = memoryview(out.pop(0))
                    n = len(left)
                while left:
                    await ready(core._io_queue.queue_write, sock)
                    left = left[sock.write(left) or 0 :]
                self.queued -= n
                self.sent = ticks_ms()
                self.moved.set()
        except Exception as error:
            self._lost(error)
