"""lib/dns: asks a name server of the test's own, over the loopback; what is hostile in an answer changes nothing."""
import asyncio
import random
import socket
import time

from lib import dns

HOST = "broker.example.org"
A = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4"  # of the question's name
dns.WAIT_MS = 120


class Server:
    """Answers each query with what `say(query)` returns: packets, sent in order; `asked` are the queries."""

    def __init__(self, say):
        self.say = say
        self.asked = []
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            self.port = random.randint(20000, 32000)
            try:
                self.sock.bind(socket.getaddrinfo("127.0.0.1", self.port)[0][-1])
                break
            except OSError:
                pass
        self.sock.setblocking(False)
        dns.PORT = self.port
        dns.servers = lambda: ["127.0.0.1"]
        dns._last.clear()
        self.task = asyncio.create_task(self.run())

    async def run(self):
        while True:
            await asyncio.sleep_ms(2)
            try:
                query, sender = self.sock.recvfrom(512)
            except OSError:
                continue
            self.asked.append(query)
            for packet in self.say(query):
                self.sock.sendto(packet, sender)


def reply(query, records=A + b"\xc0\0\2\7", count=1, flags=b"\x81\x80"):
    return query[:2] + flags + b"\0\1" + bytes((0, count)) + b"\0\0\0\0" + query[12:] + records


async def fails(host=HOST):
    try:
        await dns.resolve(host)
    except OSError:
        return
    raise AssertionError("an address")


async def test_a_name_becomes_an_address():
    server = Server(lambda query: [reply(query)])
    assert await dns.resolve(HOST) == "192.0.2.7"
    assert server.asked[0][2:] == b"\1\0\0\1\0\0\0\0\0\0\6broker\7example\3org\0\0\1\0\1"


async def test_an_address_is_not_asked_for():
    server = Server(lambda query: [reply(query)])
    for host in ("127.0.0.1", "10.0.0.200", "2001:db8::1"):
        assert await dns.resolve(host) == host
    assert server.asked == []


async def test_the_address_behind_an_alias_is_found():
    alias = b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\6\3www\xc0\x13" + b"\3www\xc0\x13\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x09"
    Server(lambda query: [reply(query, alias, 2)])
    assert await dns.resolve(HOST) == "192.0.2.9"


async def test_a_lost_query_is_asked_again_with_another_id():
    left = [2]

    def say(query):
        left[0] -= 1
        return [reply(query)] if left[0] < 0 else []

    server = Server(say)
    assert await dns.resolve(HOST) == "192.0.2.7"
    assert len(server.asked) == 3 and len({query[:2] for query in server.asked}) == 3


async def test_the_loop_runs_while_a_server_is_silent():
    Server(lambda query: [])
    longest = [0]

    async def tick():
        last = time.ticks_ms()
        while True:
            await asyncio.sleep_ms(5)
            longest[0] = max(longest[0], time.ticks_diff(time.ticks_ms(), last))
            last = time.ticks_ms()

    ticker = asyncio.create_task(tick())
    begin = time.ticks_ms()
    await fails()
    assert time.ticks_diff(time.ticks_ms(), begin) >= dns.TRIES * dns.WAIT_MS
    ticker.cancel()
    assert longest[0] < dns.WAIT_MS


async def test_hostile_answers_are_passed_over_and_the_right_one_after_them_counts():
    def say(query):
        bad = A + b"\x06\6\6\6"
        return [
            b"", b"\0", query[:11],  # short
            bytes((query[0] ^ 1,)) + reply(query, bad)[1:],  # another id
            reply(query[:12] + b"\5other" + query[19:], bad),  # another question
            reply(query, bad, 1, b"\1\0"),  # a query
            reply(query, A[:-1] + b"\xff" + b"\6\6\6\6"),  # longer than the packet
            reply(query, b"\xc0", 1), reply(query, A, 1), reply(query, b"\x3f" + b"x" * 20, 1),  # cut
            reply(query, b"\x80" + A[2:] + b"\6\6\6\6", 1),  # a label of an unknown kind
            reply(query),
        ]  # fmt: skip

    Server(say)
    assert await dns.resolve(HOST) == "192.0.2.7"


async def test_pointers_that_go_in_circles_are_not_followed():
    looped = b"\xc0\x2e" * 100
    Server(lambda query: [reply(query, looped, 255), reply(query, b"\1a\xc0\x0c" + A[2:] + b"\xc0\0\2\5")])
    assert await dns.resolve(HOST) == "192.0.2.5"


async def test_an_answer_from_somebody_else_does_not_count():
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    forged = []

    class Forged(Server):
        async def run(self):
            while True:
                await asyncio.sleep_ms(2)
                try:
                    query, sender = self.sock.recvfrom(512)
                except OSError:
                    continue
                other.sendto(reply(query), sender)
                forged.append(query)

    Forged(None)
    await fails()
    assert len(forged) == dns.TRIES


async def test_a_name_that_is_not_there_and_broken_names_have_none():
    Server(lambda query: [reply(query, b"", 0, b"\x81\x83")])
    await fails()
    for host in ("a..b", "x" * 64 + ".org"):
        try:
            await dns.resolve(host)
        except ValueError:
            continue
        raise AssertionError(host)


async def test_the_last_good_address_serves_while_no_server_answers():
    server = Server(lambda query: [reply(query)])
    await dns.resolve(HOST)
    server.say = lambda query: []
    assert await dns.resolve(HOST) == "192.0.2.7"
    server.say = lambda query: [reply(query, A + b"\xc0\0\2\x08")]
    assert await dns.resolve(HOST) == "192.0.2.8", "asked again each time"


async def test_without_an_interface_there_is_no_address_and_no_other_error():
    for servers in ([], ["0.0.0.0"], ["bad"]):
        dns.servers = lambda: servers  # noqa: B023
        await fails()


async def test_so_many_names_do_not_fill_the_memory():
    Server(lambda query: [reply(query)])
    for i in range(20):
        await dns.resolve("n%d.example.org" % i)
    assert len(dns._last) <= 8
