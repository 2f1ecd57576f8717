"""The address of a name, asked of the network's name servers over UDP without blocking (RFC 1035).

    address = await dns.resolve("broker.example.org")       # "192.0.2.7"

`socket.getaddrinfo` stops the loop until a server answers. Here a query has a random id, goes to each server in turn,
and only an answer from that server with that id and that question counts; what else comes is passed over. Names in an
answer are skipped and never followed, so none can lead in circles.
"""
import asyncio
import os
import socket
from errno import ETIMEDOUT
from time import ticks_diff, ticks_ms

import network
from micropython import const

TRIES = 4
WAIT_MS = 1500
PORT = 53
_POLL_MS = const(20)
_LONGEST = const(512)  # bytes of an answer over UDP (2.3.4)
_AT_ONCE = const(16)  # packets that are looked at in one turn of the loop
_KEPT = const(8)
_last: dict = {}  # name: the address that it had last


def servers():
    """Return the addresses of the name servers of the interface in use."""
    found = network.ipconfig("dns")
    return [found] if isinstance(found, str) else list(found)


def numeric(host):
    """Return whether `host` is an address and no name."""
    return ":" in host or host.replace(".", "").isdigit()


def query(host, ident):
    """Return the query for the IPv4 addresses of `host` with the 2-byte id `ident`; ValueError for no name."""
    packet = ident + b"\x01\0\0\1\0\0\0\0\0\0"  # recursion desired, one question
    for label in host.split("."):
        if not 0 < len(label) < 64:
            raise ValueError("dns: " + host)
        packet += bytes((len(label),)) + label.encode()
    return packet + b"\0\0\1\0\1"  # type A, class IN


def _skip(packet, at):
    """Return the offset after a name: labels, and perhaps a pointer, which ends it (4.1.4)."""
    while True:
        length = packet[at]
        if length > 191:
            return at + 2
        if length > 63:
            raise ValueError("dns: label")
        at += 1 + length
        if not length:
            return at


def answer(packet, asked):
    """Return the address in the answer to the query `asked`: "" when there is none, None when it answers another.

    ValueError and IndexError when it is cut or broken.
    """
    end = len(asked)
    if len(packet) < end or packet[:2] != asked[:2] or packet[2] & 0xF8 != 0x80:  # an answer to a standard query
        return None
    if packet[4:6] != b"\0\1" or packet[12:end].lower() != asked[12:].lower():
        return None
    if packet[3] & 15:
        return ""
    at = end
    for _ in range(packet[6] << 8 | packet[7]):
        at = _skip(packet, at)
        size = packet[at + 8] << 8 | packet[at + 9]
        data = at + 10
        at = data + size
        if at > len(packet):
            raise ValueError("dns: cut")
        if packet[data - 10 : data - 6] == b"\0\1\0\1" and size == 4:
            return "%d.%d.%d.%d" % tuple(packet[data:at])
    return ""


async def _ask(server, asked):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(socket.getaddrinfo(server, PORT)[0][-1])  # whoever else sends is not heard
        sock.send(asked)
        began = ticks_ms()
        while ticks_diff(ticks_ms(), began) < WAIT_MS:
            await asyncio.sleep_ms(_POLL_MS)
            for _ in range(_AT_ONCE):
                try:
                    found = answer(sock.recv(_LONGEST), asked)
                    if found is not None:
                        return found
                except (IndexError, ValueError):
                    pass  # nothing that can be read
                except OSError:  # nothing yet
                    break
        return None
    finally:
        sock.close()


async def resolve(host):
    """Return an address of `host` as text; an address is returned as it is.

    When no server knows better, the address that it had last. OSError when there is none, ValueError for no name.
    """
    if numeric(host):
        return host
    found = None
    asked = query(host.rstrip("."), os.urandom(2))
    try:
        known = servers()
        for i in range(TRIES if known else 0):
            found = await _ask(known[i % len(known)], asked)
            if found:
                break
            asked = os.urandom(2) + asked[2:]
    except OSError:  # no interface, or no way to the server
        pass
    if found:
        if len(_last) >= _KEPT and host not in _last:
            _last.clear()
        _last[host] = found
        return found
    if host in _last:
        return _last[host]
    raise OSError(ETIMEDOUT, "no address of " + host)
