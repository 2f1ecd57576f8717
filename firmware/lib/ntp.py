"""SNTP over a non-blocking UDP socket (RFC 4330): one question, one checked answer.

    unix_ms, bound_ms, at_ms = await query("192.0.2.1")
"""
import asyncio
import os
import socket
import struct
import time

from lib import dns

DELTA = 2208988800  # seconds from 1900 to 1970
POLL_MS = 10


class NtpError(Exception):
    """The server did not answer, or answered what cannot be believed; the text says which."""


def _unix_ms(packet, at):
    seconds, fraction = struct.unpack_from(">II", packet, at)
    if seconds < 0x80000000:  # era 1 begins in 2036 (RFC 4330, section 3)
        seconds += 1 << 32
    return (seconds - DELTA) * 1000 + (fraction * 1000 >> 32)


def parse(packet, cookie, round_trip_ms):
    """Return (unix_ms, bound_ms) at the instant of arrival; NtpError says why a packet is not believed.

    `cookie` is the 8-byte transmit timestamp that the request carried: the server must give it back.
    """
    if len(packet) < 48:
        raise NtpError("short packet")
    leap, mode = packet[0] >> 6, packet[0] & 7
    if mode != 4 or packet[24:32] != cookie:
        raise NtpError("not an answer to this request")
    if leap == 3 or not 0 < packet[1] < 16:
        raise NtpError("server is not synchronised")
    received, sent = _unix_ms(packet, 32), _unix_ms(packet, 40)
    wire_ms = max(0, round_trip_ms - max(0, sent - received))
    root = struct.unpack_from(">II", packet, 4)
    root_ms = (root[0] * 500 >> 16) + (root[1] * 1000 >> 16)  # half the root delay and the root dispersion
    return sent + wire_ms // 2, wire_ms // 2 + root_ms + 2


async def query(host, port=123, timeout_ms=2000):
    """Return (unix_ms, bound_ms, ticks_ms at which that was the time); NtpError or OSError when there is none."""
    address = socket.getaddrinfo(await dns.resolve(host), port, 0, socket.SOCK_DGRAM)[0][-1]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        cookie = os.urandom(8)
        request = bytearray(48)
        request[0] = 0x23  # version 4, client
        request[40:48] = cookie
        asked = time.ticks_ms()
        sock.sendto(request, address)
        while time.ticks_diff(time.ticks_ms(), asked) < timeout_ms:
            try:
                packet = sock.recv(128)
            except OSError:
                packet = None
            now = time.ticks_ms()
            if packet:
                try:
                    return parse(packet, cookie, time.ticks_diff(now, asked)) + (now,)
                except NtpError:
                    if packet[24:32] == cookie:
                        raise
            await asyncio.sleep_ms(POLL_MS)
        raise NtpError("no answer")
    finally:
        sock.close()
