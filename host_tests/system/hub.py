"""An air for UDP: gateways on this host, of which each hears its neighbours only, and not every frame.

    with Hub([4701, 4702, 4703], {frozenset((0, 1)), frozenset((1, 2))}, loss=0.2) as hub: ...

Gateway i sends to all at 127.0.0.2:PORT_i, where the hub listens, and is itself at 127.0.0.1:PORT_i. What the hub
passes on comes from the sender's place at 127.0.0.2, so that an answer goes through the hub too.
"""

import contextlib
import random
import selectors
import socket
import threading

HOST, GATEWAYS = "127.0.0.2", "127.0.0.1"


class Hub:
    """`passed` and `dropped` count frames, one for each receiver; `seed` decides which are lost."""

    def __init__(self, ports, links, loss, seed=1):
        self.passed = self.dropped = 0
        self._ports = list(ports)
        self._links = links
        self._loss = loss
        self._random = random.Random(seed)
        self._sockets = []
        for port in ports:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((HOST, port))
            self._sockets.append(sock)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        for sock in self._sockets:
            sock.close()

    def _run(self):
        with selectors.DefaultSelector() as selector:
            for number, sock in enumerate(self._sockets):
                selector.register(sock, selectors.EVENT_READ, number)
            while not self._over.is_set():
                for key, _ in selector.select(0.1):
                    try:
                        data, (_, port) = self._sockets[key.data].recvfrom(2048)
                    except OSError:
                        continue  # a gateway without power refuses what was passed on to it
                    if port in self._ports:
                        self._pass(data, self._ports.index(port), key.data)

    def _pass(self, data, source, asked):
        """`asked` is the sender's own place, to all, or that of the one gateway it is for."""
        for to in range(len(self._ports)) if asked == source else [asked]:
            if frozenset((source, to)) not in self._links:
                continue
            if self._random.random() < self._loss:
                self.dropped += 1
                continue
            self.passed += 1
            with contextlib.suppress(OSError):
                self._sockets[source].sendto(data, (GATEWAYS, self._ports[to]))
