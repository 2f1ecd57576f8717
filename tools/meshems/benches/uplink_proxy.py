"""A way to a broker that is long, and can fail: between a gateway and a server, on loopback.

    with Proxy(broker.port, one_way_s=0.3, buffer=5744) as way:
        ... connect to way.port ...
        way.hole = True         # everything is swallowed, both ways, and nobody is told
        way.frozen = True       # everything waits until this is False again
        way.reset()             # each connection ends with a reset

`buffer` is how many bytes upwards may be on the way: the sender's TCP buffer, emptied by acknowledgements a round trip
later. `up` and `down` count the bytes that went through, `connections` those that were made.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
from collections import deque

HOST = "127.0.0.1"
CHUNK = 1400
TICK_S = 0.001


class _Pipe:
    """One direction of a connection: pieces with the time at which they arrive."""

    def __init__(self) -> None:
        self.pieces: deque[tuple[float, bytes]] = deque()
        self.flight: deque[tuple[float, int]] = deque()  # when so many bytes are acknowledged
        self.closed = False


class Proxy:
    """Runs in a thread of its own; `port` is where."""

    def __init__(self, target: int, one_way_s: float = 0.0, buffer: int = 0):
        self.target, self.one_way_s, self.buffer = target, one_way_s, buffer
        self.hole = self.frozen = False
        self.up = self.down = self.connections = 0
        self._reset = self._stopping = False
        self._pairs: list[tuple[socket.socket, socket.socket, _Pipe, _Pipe]] = []
        self._listener = socket.create_server((HOST, 0))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join()

    def reset(self) -> None:
        """End every connection with a reset: what is on the way is lost."""
        self._reset = True

    def _run(self) -> None:
        while not self._stopping:
            with selectors.DefaultSelector() as selector:
                selector.register(self._listener, selectors.EVENT_READ)
                busy = False
                for near, far, up, down in self._pairs:
                    busy = busy or bool(up.pieces or down.pieces or up.flight)
                    for end, pipe in ((near, up), (far, down)):
                        if not pipe.closed and not self.frozen and self._room(pipe, pipe is up):
                            selector.register(end, selectors.EVENT_READ)
                ready = {key.fileobj for key, _ in selector.select(TICK_S if busy or self.frozen else 0.01)}
            if self._listener in ready:
                self._accept()
            for pair in list(self._pairs):
                self._serve(pair, ready)
            if self._reset:
                self._reset = False
                for pair in list(self._pairs):
                    self._end(pair)
        for pair in list(self._pairs):
            self._end(pair)
        self._listener.close()

    def _room(self, pipe: _Pipe, upwards: bool) -> bool:
        now = time.monotonic()
        while pipe.flight and pipe.flight[0][0] <= now:
            pipe.flight.popleft()
        return not (upwards and self.buffer) or sum(size for _, size in pipe.flight) < self.buffer

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        self.connections += 1
        if self.hole:
            far = socket.socket()  # nobody is there
        else:
            try:
                far = socket.create_connection((HOST, self.target), 1)
            except OSError:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                near.close()
                return
        for end in (near, far):
            end.setblocking(False)
            with contextlib.suppress(OSError):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        down = _Pipe()
        down.closed = self.hole
        self._pairs.append((near, far, _Pipe(), down))

    def _serve(self, pair: tuple[socket.socket, socket.socket, _Pipe, _Pipe], ready: set[object]) -> None:
        near, far, up, down = pair
        now = time.monotonic()
        try:
            for end, pipe in ((near, up), (far, down)):
                if end in ready:
                    data = end.recv(CHUNK)
                    if not data:
                        pipe.closed = True
                        pipe.pieces.append((now + self.one_way_s, b""))
                    elif not self.hole:
                        pipe.pieces.append((now + self.one_way_s, data))
                        if pipe is up:
                            self.up += len(data)
                            if self.buffer:
                                pipe.flight.append((now + 2 * self.one_way_s, len(data)))
                        else:
                            self.down += len(data)
            for pipe, end in ((up, far), (down, near)):
                while pipe.pieces and pipe.pieces[0][0] <= now and not self.frozen:
                    data = pipe.pieces[0][1]
                    if self.hole:
                        pipe.pieces.popleft()
                        continue
                    if not data:
                        return self._end(pair, reset=False)
                    sent = end.send(data)
                    if sent < len(data):
                        pipe.pieces[0] = (pipe.pieces[0][0], data[sent:])
                        break
                    pipe.pieces.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._end(pair)
        return None

    def _end(self, pair: tuple[socket.socket, socket.socket, _Pipe, _Pipe], reset: bool = True) -> None:
        if pair in self._pairs:
            self._pairs.remove(pair)
        for end in pair[:2]:
            if reset:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
