"""The TLS handshake of one connection: needed once for each.

A socket of MicroPython shakes hands when it is first written to, so the link's first packet is written here, before
anybody reads. No step waits for the network, but one may compute for a second.
"""
from asyncio import core  # type: ignore[attr-defined]
from time import ticks_ms

from lib.mqtt.link import ready


async def shake(link, sock, host, ssl):
    """Return the socket over which `link` goes on. ValueError when the certificate is not believed, or an OSError.

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
