"""An MQTT 3.1.1 broker for benchmarks: takes publications, acknowledges them, and can be cut off.

    with Broker(take) as broker:        # take(topic, payload) is called for each publication
        broker.cut(0.5)                 # every connection is reset, and none accepted for that long

It has no subscribers: `take` is the one, called before the acknowledgement is sent. It checks nothing.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable

HOST = "127.0.0.1"
CONNECT, PUBLISH, SUBSCRIBE, UNSUBSCRIBE, PINGREQ = 1, 3, 8, 10, 12


class Broker:
    """Runs in a thread of its own; `port` is where."""

    def __init__(self, take: Callable[[str, bytes], None]):
        self._take = take
        self._buffers: dict[socket.socket, bytearray] = {}
        self._selector = selectors.DefaultSelector()
        self._listener: socket.socket | None = None
        self._back_at: float | None = None  # when a cut is over
        self._cut_s = 0.0
        self._stopping = False
        self.port = 0
        self._listen()
        self._thread = threading.Thread(target=self._run, name="broker", daemon=True)

    def __enter__(self) -> "Broker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()

    def cut(self, seconds: float) -> None:
        """Reset every connection and refuse new ones for `seconds`. Also from within `take`."""
        self._cut_s = seconds

    def _listen(self) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((HOST, self.port))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self._selector.register(self._listener, selectors.EVENT_READ)

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.02):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj in self._buffers:
                    self._read(key.fileobj)
            if self._cut_s:
                self._break_off()
            if self._back_at is not None and time.monotonic() >= self._back_at:
                self._back_at = None
                self._listen()
        self._break_off()
        self._selector.close()

    def _accept(self) -> None:
        assert self._listener
        connection, _ = self._listener.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffers[connection] = bytearray()
        self._selector.register(connection, selectors.EVENT_READ)

    def _break_off(self) -> None:
        """Close everything, with a reset: what is on the way is lost."""
        if self._listener:  # first, or who is cut and quick to return is taken in
            self._selector.unregister(self._listener)
            self._listener.close()
            self._listener = None
        for connection in list(self._buffers):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._close(connection)
        self._back_at = time.monotonic() + self._cut_s
        self._cut_s = 0.0

    def _close(self, connection: socket.socket) -> None:
        del self._buffers[connection]
        self._selector.unregister(connection)
        connection.close()

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            return self._close(connection)
        buffer = self._buffers[connection]
        buffer += data
        answer = bytearray()
        while (packet := _packet(buffer)) is not None:
            answer += self._answer(*packet)
            if self._cut_s:
                return None  # neither this nor what came before it in this piece is acknowledged
        with contextlib.suppress(OSError):
            connection.sendall(answer)
        return None

    def _answer(self, head: int, body: bytes) -> bytes:
        kind = head >> 4
        if kind == CONNECT:
            return b"\x20\x02\x00\x00"
        if kind == PUBLISH:
            length = int.from_bytes(body[:2], "big")
            topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
            if not head & 6:
                self._take(topic, rest)
                return b""
            self._take(topic, rest[2:])
            return b"\x40\x02" + rest[:2]
        if kind == SUBSCRIBE:
            return b"\x90\x03" + body[:2] + b"\x01"
        if kind == UNSUBSCRIBE:
            return b"\xb0\x02" + body[:2]
        return b"\xd0\x00" if kind == PINGREQ else b""


def _packet(buffer: bytearray) -> tuple[int, bytes] | None:
    """Take one whole packet off the buffer: (first byte, body), or None when it is not all there."""
    length = shift = 0
    for at in range(1, min(len(buffer), 5)):
        length |= (buffer[at] & 127) << shift
        shift += 7
        if buffer[at] < 128:
            end = at + 1 + length
            if len(buffer) < end:
                return None
            packet = buffer[0], bytes(buffer[at + 1 : end])
            del buffer[:end]
            return packet
    return None
