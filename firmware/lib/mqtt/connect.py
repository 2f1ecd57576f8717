"""The way to a socket over which a link can talk: name, TCP, and the TLS handshake; needed once for each connection.

A socket of MicroPython shakes hands when it is first written to, so the link's first packet is written here, before
anybody reads. No step waits for the network, but one may compute for a second.
"""
import socket
from asyncio import core  # type: ignore[attr-defined]
from errno import EINPROGRESS
from time import ticks_ms

from lib.mqtt.link import ready


async def resolve(host, port):
    """Return (family, type, proto, address) of a TCP server; OSError when its name has no address."""
    if ":" not in host and not host.replace(".", "").isdigit():  # a name: only then is the resolver imported
        from lib import dns

        host = await dns.resolve(host)
    family, kind, proto, _, address = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0]
    return family, kind, proto, address


async def connect(link, host, port, ssl):
    """Return the socket over which `link` goes on; what it has to close meanwhile is its `_sock`.

    OSError, or ValueError when the certificate is not believed.
    """
    family, kind, proto, address = await resolve(host, port)
    link._sock = sock = socket.socket(family, kind, proto)
    sock.setblocking(False)
    sock.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: not every port has the names
    try:
        sock.connect(address)
    except OSError as error:
        if error.errno != EINPROGRESS:
            raise
    return await shake(link, sock, host, ssl) if ssl else sock


async def shake(link, sock, host, ssl):
    """Return the socket of `ssl` around `sock` after the TLS handshake.

    Where `ssl` is an asynchronous context manager too, each step is made within it.
    """
    link._sock = sock = ssl.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    sock.setblocking(False)
    left = memoryview(link._out.pop(0))
    size = len(left)
    while left:
        await ready(core._io_queue.queue_write, sock)
        if hasattr(ssl, "__aenter__"):
            async with ssl:
                left = left[sock.write(left) or 0 :]
        else:
            left = left[sock.write(left) or 0 :]
    link.queued -= size
    link.sent = ticks_ms()
    return sock
