"""Frames by UDP, where there is a network and no ESP-NOW; the same four calls as lib/media/espnow.

    air = Air("255.255.255.255", 4666)
    air.receive(take)           # take(frame, 0, ms, address); an address is its IPv4 number and port, 6 bytes

To all goes to `host`, the network's broadcast address. Nobody acknowledges: a frame that the socket took counts as
sent, and who sends has to ask for an answer.
"""
import select
import socket
from time import ticks_ms

from micropython import const

_TICKS = const(0x3FFFFFFF)
_LONGEST = const(251)  # one more than a frame has: what is longer is seen to be
_BURST = const(32)  # frames that are taken before anything else is done


class Air:
    """One socket, bound to `port`."""

    acknowledged = False
    channel = 0  # there are none
    restarts = 0

    def __init__(self, host, port):
        self._all = socket.getaddrinfo(host, port)[0][-1]
        self._sock = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
        sock.setblocking(False)
        self._poller = select.poll()
        self._poller.register(sock, select.POLLIN)
        self._ok = False

    def tune(self, channel):
        """There is no channel to go to."""

    def receive(self, take):
        """Call `take` for each frame that has come."""
        for _ in range(_BURST):
            try:
                if not self._poller.poll(0):
                    return
                frame, address = self._sock.recvfrom(_LONGEST)
            except OSError:  # somebody's refusal of a frame that was sent
                continue
            take(frame, 0, ticks_ms() & _TICKS, _packed(address))

    def send(self, address, frame):
        """Send one frame; `sent` tells whether the socket took it."""
        to = self._all
        if address:
            to = socket.getaddrinfo("%d.%d.%d.%d" % tuple(address[:4]), address[4] << 8 | address[5])[0][-1]
        try:
            self._sock.sendto(frame, to)
            self._ok = True
        except OSError:  # no network
            self._ok = False

    def sent(self):
        """Return whether the last frame was taken."""
        return self._ok

    def crowded(self):
        """Nobody is remembered here."""
        return False


def _packed(address):
    """Return the 6 bytes of an address as `recvfrom` gives it: (text, port), or a sockaddr_in in network order."""
    if isinstance(address, tuple):
        return bytes([int(part) for part in address[0].split(".")] + [address[1] >> 8, address[1] & 255])
    return bytes(address[4:8]) + bytes(address[2:4])
