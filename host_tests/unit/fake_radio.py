"""Another radio on the air of the desktop's `espnow`: a socket that speaks as one."""
import random
import select
import socket
import struct
import time
from errno import EADDRINUSE

PORT = 20000 + random.getrandbits(13)
HEAD = "<4s6s6sBHiiI"
ALL = b"\xff" * 6
OTHER = b"\x02\x00\x00\x00\x00\x09"


def bound(sock):
    """Return the free port to which a socket was bound: the built-in module does not tell one that the host chose."""
    while True:
        port = 30000 + random.getrandbits(13)
        try:
            sock.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
            return port
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise


class Radio:
    """Another board on this air, `x` metres away."""

    def __init__(self, x=0, channel=1, mac=OTHER):
        self.at = x, channel, mac
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port = bound(self.sock)
        self.sock.setsockopt(0, 32, b"\x7f\x00\x00\x01")
        self.poller = select.poll()
        self.poller.register(self.sock, select.POLLIN)

    def says(self, text, to=ALL):
        x, channel, mac = self.at
        data = struct.pack(HEAD, b"mesh", mac, to, channel, self.port, x, 0, time.ticks_ms() & 0xFFFFFFFF) + text
        self.sock.sendto(data, socket.getaddrinfo("239.77.83.1", PORT)[0][-1])

    def hears(self, ms=500):
        if not self.poller.poll(ms):
            return None
        return self.sock.recv(600)[struct.calcsize(HEAD) :]

    def gone(self):
        self.sock.close()
