"""The TLS in front of a benchmark's broker, which speaks none: takes connections and passes on what is inside.

with Terminator(broker.port, pem, key) as tls: ... connect to tls.port ...
"""

import contextlib
import socket
import ssl
import threading
from pathlib import Path

HOST = "127.0.0.1"


class Terminator:
    """Two threads for each connection."""

    def __init__(self, target: int, pem: Path, key: Path):
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.maximum_version = ssl.TLSVersion.TLSv1_2  # what the chip speaks
        self._context.load_cert_chain(pem, key)
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> "Terminator":
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _run(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            inside = self._context.wrap_socket(near, server_side=True)
            far = socket.create_connection((HOST, self._target))
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            near.close()
            return
        threading.Thread(target=_pump, args=(far, inside), daemon=True).start()
        _pump(inside, far)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(16384):
            target.sendall(data)
    except OSError:
        pass
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        end.close()
