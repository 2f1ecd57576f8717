"""lib/ntp: only a synchronised server's answer to this very request is believed."""
import asyncio
import socket
import struct

from lib import ntp

COOKIE = b"\x01\x02\x03\x04\x05\x06\x07\x08"
T0 = 1782138600  # 2026-06-22T14:30:00Z


def answer(cookie=COOKIE, first=0x24, stratum=2, seconds=T0 + 2208988800, fraction=0x80000000, root=(0, 0)):
    packet = bytearray(48)
    packet[0], packet[1] = first, stratum
    struct.pack_into(">II", packet, 4, *root)
    packet[24:32] = cookie
    struct.pack_into(">II", packet, 32, seconds & 0xFFFFFFFF, fraction)
    struct.pack_into(">II", packet, 40, seconds & 0xFFFFFFFF, fraction)
    return bytes(packet)


def test_half_the_round_trip_is_added_and_is_the_bound():
    assert ntp.parse(answer(), COOKIE, 60) == (T0 * 1000 + 500 + 30, 32)


def test_the_servers_own_error_widens_the_bound():
    root = (0x8000, 0x4000)  # root delay 0.5 s, root dispersion 0.25 s
    assert ntp.parse(answer(root=root), COOKIE, 0) == (T0 * 1000 + 500, 250 + 250 + 2)


def test_era_1_begins_in_2036():
    late = 2085978496 + 100  # seconds of 1900 overflow 32 bits at 2036-02-07T06:28:16Z
    assert ntp.parse(answer(seconds=late + 2208988800), COOKIE, 0)[0] == late * 1000 + 500


def test_what_is_not_a_synchronised_answer_is_refused():
    bad = (
        b"", answer()[:47], answer(cookie=b"12345678"), answer(first=0x23), answer(first=0xE4), answer(stratum=0),
        answer(stratum=16),
    )  # fmt: skip
    for packet in bad:
        try:
            ntp.parse(packet, COOKIE, 10)
        except ntp.NtpError:
            continue
        raise AssertionError("believed %r" % packet)


async def test_query_asks_and_is_answered_over_udp():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for port in range(20123, 20223):
        try:
            server.bind(socket.getaddrinfo("127.0.0.1", port)[0][-1])
            break
        except OSError:
            pass
    server.setblocking(False)

    async def serve():
        while True:
            try:
                request, client = server.recvfrom(64)
            except OSError:
                await asyncio.sleep_ms(1)
                continue
            server.sendto(b"junk", client)
            server.sendto(answer(request[40:48]), client)

    task = asyncio.create_task(serve())
    unix_ms, bound, _ = await ntp.query("127.0.0.1", port)
    assert abs(unix_ms - T0 * 1000 - 500) <= bound
    task.cancel()
    server.close()


async def test_no_answer_is_an_error_and_not_a_wait():
    try:
        await ntp.query("127.0.0.1", 9, timeout_ms=30)
    except (ntp.NtpError, OSError):
        return
    raise AssertionError("an answer from nobody")
