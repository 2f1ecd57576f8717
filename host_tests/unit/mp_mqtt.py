"""lib/mqtt: what the client does when the broker, or the way to it, does not do what it should."""
import asyncio
import gc
import io
import select
from time import ticks_add, ticks_diff, ticks_ms

import fake_broker
import lib.mqtt as mqtt
from fake_broker import CONNACK, KEPT, payload_of, pid_of, puback, publish
from lib import dns
from lib.mqtt import Stale, connect, inbound, link
from lib.mqtt.inbound import Subscriber

LIMIT_MS = 5000
skipped = 0  # ms by which the client's clock is ahead


def _now():
    return ticks_add(ticks_ms(), skipped)


def skip(ms):
    """Let `ms` pass at once for the time-outs."""
    global skipped
    skipped += ms


mqtt.ticks_ms = link.ticks_ms = inbound.ticks_ms = _now


class Client(Subscriber):
    """Looks at its time-outs every 2 ms and does not sleep when it backs off; notes naps, tokens and beats."""

    def __init__(self, broker, **more):
        super().__init__("gw", "127.0.0.1", broker.port, **more)
        self.tick_ms = 2
        self.naps = []
        self.tokens = []
        self.beats = 0
        self.sleep_ms = self.nap
        self.random = lambda bits: 1 << bits - 1
        self.on_ack = self.tokens.append

    async def nap(self, ms):
        self.naps.append(ms)
        await asyncio.sleep_ms(0)

    def beat(self):
        self.beats += 1

    def start(self):
        self.task = asyncio.create_task(self.run(self.beat))
        return self


class Named(Client):
    """Knows its broker by name."""

    def __init__(self, broker):
        super().__init__(broker)
        self._server = ("broker.example.org",) + self._server[1:]


async def until(condition):
    begun = ticks_ms()
    while not condition():
        assert ticks_diff(ticks_ms(), begun) < LIMIT_MS, "in vain"
        await asyncio.sleep_ms(1)


async def connected(connack=CONNACK, **more):
    """Return (broker, client, peer) with a connection between the last two."""
    broker = await fake_broker.listen()
    client = Client(broker, **more).start()
    peer = await broker.connection(connack)
    await client.up()
    return broker, client, peer


async def fails(error, coroutine):
    try:
        await asyncio.wait_for_ms(coroutine, LIMIT_MS)
    except error:
        return
    raise AssertionError("no %s" % error.__name__)


# The connection


async def test_connects_with_all_that_it_was_given():
    broker = await fake_broker.listen()
    client = Client(broker, user="me", password="pw", keepalive=60)
    client.set_last_will("t", b"off", True, 1)
    assert client.state == "off" and not client.connected
    client.start()
    peer = await broker.accept()
    hello = b"\x00\x04MQTT\x04\xec\x00\x3c\x00\x02gw\x00\x01t\x00\x03off\x00\x02me\x00\x02pw"
    assert await peer.packet() == (0x10, hello)
    assert client.state == "connecting" and client.generation == 0
    await peer.send(CONNACK)
    assert await client.up() == 1
    assert client.connected and client.state == "connected" and client.error == ""


async def test_each_connection_has_a_new_generation():
    broker, client, peer = await connected()
    for generation in (2, 3, 4):
        peer.close()
        await until(lambda: not client.connected)
        peer = await broker.connection()
        assert await client.up() == generation == client.stats["connects"]
    assert client.error == "closed by the broker"


async def test_a_refusal_is_told_apart_and_tried_again():
    reasons = (
        (1, "protocol version"), (2, "client id"), (3, "server unavailable"), (4, "user name or password"),
        (5, "not authorised"), (6, "6"), (255, "255"),
    )  # fmt: skip
    for code, reason in reasons:
        broker = await fake_broker.listen()
        client = Client(broker).start()
        await broker.connection(bytes((0x20, 2, 0, code)) + CONNACK)  # a second CONNACK does not undo the first
        await broker.accept()
        assert client.generation == 0 and client.error == "refused: " + reason
        assert sum(client.naps) == (120000 if code in (4, 5) else 1000), code


async def test_the_state_of_a_refusal_stays_through_the_back_off():
    broker = await fake_broker.listen()
    client = Client(broker)
    client.sleep_ms = asyncio.sleep_ms
    client.start()
    peer = await broker.connection(b"\x20\x02\x00\x05")
    await peer.closed()
    assert client.state == "refused: not authorised"


async def test_back_off_doubles_to_two_minutes_with_jitter():
    broker = await fake_broker.listen()
    broker.port = 1  # nobody listens there
    for bits, per_mille in ((0, 500), (512, 1000), (1023, 1499)):
        client = Client(broker)
        client.random = lambda n: bits  # noqa: B023
        pauses = []

        async def nap(ms):
            pauses[-1] += ms  # noqa: B023
            assert ms <= 2000, "no sign of life for so long"
            await asyncio.sleep_ms(0)

        def attempt(*args):
            pauses.append(0)  # noqa: B023
            raise OSError(-202)

        client.sleep_ms = nap
        client._link.start = attempt
        client.start()
        await until(lambda: len(pauses) > 9)  # noqa: B023
        client.task.cancel()
        assert pauses[:9] == [s * per_mille // 1 if per_mille != 1499 else s * 1000 * 1535 // 1024
                              for s in (1, 2, 4, 8, 16, 32, 64, 120, 120)]  # fmt: skip


async def test_a_minute_of_connection_ends_the_back_off_and_less_does_not():
    broker, client, peer = await connected()
    for up_ms, pause in ((0, 1000), (59000, 2000), (61000, 1000), (0, 2000)):
        skip(up_ms)
        await asyncio.sleep_ms(10)
        del client.naps[:]
        peer.close()
        peer = await broker.connection()
        await client.up()
        assert sum(client.naps) == pause, (up_ms, client.naps)


async def test_every_error_on_the_way_to_a_connection_is_survived():
    errors = [OSError(-202), OSError(111), ValueError("certificate has expired"), MemoryError(), EOFError()]
    expected = len(errors)
    resolve = connect.resolve

    async def failing(host, port):
        if errors:
            raise errors.pop()
        return await resolve(host, port)

    connect.resolve = failing
    broker, client, _ = await connected()
    assert not errors and client.generation == 1 and len(client.naps) >= expected
    assert client.error == "-202"


async def test_memory_error_in_the_supervisor_is_survived():
    broker = await fake_broker.listen()
    client = Client(broker)
    start, failures = client._link.start, [1, 2]

    def failing(*args):
        if failures:
            failures.pop()
            raise MemoryError
        start(*args)

    client._link.start = failing
    client.start()
    await broker.connection()
    assert await client.up() == 1 and not failures


async def test_a_server_that_never_says_connack_is_left_in_time():
    broker = await fake_broker.listen()
    client = Client(broker).start()
    peer = await broker.accept()
    await peer.packet()
    skip(59000)
    await peer.silent()
    assert client.state == "connecting"
    skip(1000)
    await peer.closed()
    assert client.error == "no connection in time"
    await broker.connection()
    assert await client.up() == 1


async def test_shows_life_in_every_state():
    broker = await fake_broker.listen()
    client = Client(broker).start()
    for state in ("connecting", "connected"):
        assert client.state in (state, "off")
        before = client.beats
        await until(lambda: client.beats > before + 3)  # noqa: B023
        if state == "connecting":
            peer = await broker.connection()
            await client.up()
    naps = len(client.naps)
    before = client.beats
    client._delay = 64000
    peer.close()
    await until(lambda: len(client.naps) >= naps + 60)
    assert client.beats - before >= 60


async def test_cancelled_it_closes_the_socket_and_raises_cancelled_error():
    broker, client, peer = await connected()
    client.task.cancel()
    await fails(asyncio.CancelledError, client.task)
    await peer.closed()
    assert client.state == "off" and not client.connected


async def test_close_says_disconnect_and_ends_run():
    broker, client, peer = await connected()
    closing = asyncio.create_task(client.close())
    assert await peer.packet() == (0xE0, b"")
    peer.close()
    await closing
    await asyncio.wait_for_ms(client.task, LIMIT_MS)
    assert client.state == "off" and client.error == "" and not client.naps
    await asyncio.wait_for_ms(client.run(), 100)  # closed is closed
    await fails(Stale, client.publish("t", "m"))


async def test_close_does_not_wait_for_a_broker_that_is_not_there():
    broker = await fake_broker.listen()
    client = Client(broker).start()
    await broker.accept()
    await asyncio.wait_for_ms(client.close(), 500)
    await asyncio.wait_for_ms(client.task, 500)
    broker, client, peer = await connected()
    await asyncio.wait_for_ms(client.close(20), 500)
    await asyncio.wait_for_ms(client.task, 500)


# Messages out


async def test_a_message_is_one_packet_and_its_ack_gives_the_token_back():
    broker, client, peer = await connected()
    await client.publish("a/b", "22 °C", retain=True, token=7)
    assert await peer.packet() == (0x33, b"\x00\x03a/b\x00\x0122 \xc2\xb0C")
    assert client.pending == 1 and client.tokens == []
    await peer.send(puback(1))
    await until(lambda: client.tokens)
    assert client.tokens == [7] and client.pending == 0


async def test_sixteen_messages_are_on_the_way_and_no_more():
    broker, client, peer = await connected()

    async def produce():
        for token in range(20):
            await client.publish("t", b"m", token=token)

    producer = asyncio.create_task(produce())
    ids = await peer.publishes(16)
    await peer.silent()
    assert client.pending == 16
    await peer.send(puback(ids[0]) + puback(ids[1]))
    ids += await peer.publishes(2)
    await peer.silent()
    for pid in ids[2:]:
        await peer.send(puback(pid))
    for pid in await peer.publishes(2):
        await peer.send(puback(pid))
    await producer
    await until(lambda: client.tokens == list(range(20)))


async def test_four_kb_are_on_the_way_and_no_more_but_a_long_message_goes_alone():
    broker, client, peer = await connected()

    async def produce():
        for size in (1499, 1499, 1499, 9000):
            await client.publish("t", bytes(size))

    asyncio.create_task(produce())
    ids = await peer.publishes(2)
    await peer.silent()
    await peer.send(puback(ids[1]))
    ids = ids[:1] + await peer.publishes(1)
    await peer.silent()
    await peer.send(puback(ids[0]) + puback(ids[1]))
    first, body = await peer.packet()
    assert len(body) == 9005


async def test_acks_out_of_order_give_tokens_in_order_and_never_over_a_gap():
    broker, client, peer = await connected()
    for token in "abcd":
        await client.publish("t", token, token=token)
    ids = await peer.publishes(4)
    await peer.send(puback(ids[3]) + puback(ids[1]) + puback(ids[1]) + puback(999))
    await until(lambda: client.stats["stray"] == 2)
    assert client.tokens == []
    await peer.send(puback(ids[0]))
    await until(lambda: client.tokens == ["a", "b"])
    await peer.send(puback(ids[2]))
    await until(lambda: client.tokens == ["a", "b", "c", "d"])


async def test_packet_ids_go_on_after_65535():
    broker, client, peer = await connected()
    client._window.newest = 65533
    for token in range(4):
        await client.publish("t", b"m", token=token)
    ids = await peer.publishes(4)
    assert ids == [65534, 65535, 1, 2]
    for pid in ids:
        await peer.send(puback(pid))
    await until(lambda: client.tokens == [0, 1, 2, 3])


async def test_a_message_that_waits_for_room_never_goes_out_on_the_next_connection():
    broker, client, peer = await connected(window=2)
    generation = client.generation
    for token in (1, 2):
        await client.publish("t", b"old", token=token, generation=generation)
    explicit = asyncio.create_task(client.publish("t", b"old", token=3, generation=generation))
    of_now = asyncio.create_task(client.publish("t", b"old", token=4))
    await peer.publishes(2)
    peer.close()
    peer = await broker.connection()
    await fails(Stale, explicit)
    await fails(Stale, of_now)
    await peer.silent()
    await client.publish("t", b"new", token=1, generation=client.generation)
    _, body = await peer.packet()
    assert payload_of(body) == b"new"
    await peer.send(puback(pid_of(body)))
    await until(lambda: client.tokens == [1])


async def test_a_message_for_a_connection_that_is_gone_is_stale():
    broker, client, peer = await connected()
    peer.close()
    peer = await broker.connection()
    assert await client.up() == 2
    await fails(Stale, client.publish("t", b"m", generation=1))
    peer.close()
    await until(lambda: not client.connected)
    await fails(Stale, client.publish("t", b"m"))
    await fails(Stale, client.publish("t", b"m", qos=0))


async def test_an_ack_for_a_message_of_the_last_connection_acknowledges_nothing():
    broker, client, peer = await connected()
    await client.publish("t", b"m", token=1)
    (pid,) = await peer.publishes(1)
    peer.close()
    peer = await broker.connection()
    assert await client.up() == 2 and client.pending == 0
    await peer.send(puback(pid))
    await until(lambda: client.stats["stray"])
    assert client.tokens == []


async def test_nothing_is_sent_twice_on_a_live_connection_and_a_missing_ack_ends_it():
    broker, client, peer = await connected()
    await client.publish("t", b"m", token=1)
    skip(10000)
    await client.publish("t", b"m", token=2)
    ids = await peer.publishes(2)
    await peer.send(puback(ids[1]))
    skip(19000)
    await peer.silent()
    skip(1000)
    await peer.closed()
    assert client.error == "no acknowledgement in time" and client.tokens == []
    await broker.connection()
    assert await client.up() == 2


async def test_small_messages_share_a_write_and_long_ones_have_their_own():
    writes = []

    class Recorder(Tls):
        def write(self, data):
            writes.append(len(data))
            return self._sock.write(data)

    class Recording(Context):
        def wrap_socket(self, sock, server_hostname, do_handshake_on_connect):
            return Recorder(sock)

    broker, client, peer = await connected(ssl=Recording())
    del writes[:]
    for size in (292, 292, 292, 500, 1500, 93):
        await client.publish("t", bytes(size))
    await peer.publishes(6)
    assert writes == [900, 8, 500, 8, 1500, 100], writes  # long ones are written from where they are


async def test_qos_0_needs_no_ack_and_waits_only_for_the_socket():
    broker, client, peer = await connected()
    for _ in range(40):
        await client.publish("t", b"m", qos=0)
    for _ in range(40):
        assert await peer.packet() == (0x30, b"\x00\x01tm")
    assert client.pending == 0 and await client.flush(1000)


async def test_a_broker_that_stops_reading_stops_the_publisher_and_is_found_out():
    broker, client, peer = await connected()
    sent = 0

    async def produce():
        nonlocal sent
        while True:
            await client.publish("t", bytes(3000), qos=0)
            sent += 1

    producer = asyncio.create_task(produce())
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep_ms(50)
    assert client._link.queued <= 4096 + 1024
    skip(30000)
    await asyncio.sleep_ms(20)
    skip(30000)
    await fails(Stale, producer)
    assert client.error == "no answer to a ping"


async def test_a_payload_may_be_overwritten_once_publish_is_over():
    broker, client, peer = await connected()
    client.tick_ms = 100
    payload = bytearray(3000)

    async def produce():
        while True:
            for i in range(len(payload)):
                payload[i] = 1
            try:
                await client.publish("t", payload, qos=0)
            except Stale:
                return
            finally:
                for i in range(len(payload)):
                    payload[i] = 0xEE

    producer = asyncio.create_task(produce())
    while not client._link.queued:
        await asyncio.sleep_ms(20)  # until the socket takes no more, in the middle of a message
    await peer.send(b"\x00\x00")
    await until(lambda: not client.connected)
    try:
        while True:
            data = await asyncio.wait_for_ms(peer.stream.read(4096), LIMIT_MS)
            assert b"\xee" not in data
            if not data:
                break
    except OSError:
        pass
    await asyncio.wait_for_ms(producer, LIMIT_MS)


async def test_what_no_broker_would_take_is_refused_at_once():
    broker, client, peer = await connected()
    await fails(ValueError, client.publish("t", b"m", qos=2))
    await fails(ValueError, client.publish("", b"m"))
    await fails(ValueError, client.publish("t" * 65536, b"m"))
    assert client.connected and client.pending == 0


async def test_flush_tells_whether_all_was_acknowledged():
    broker, client, peer = await connected()
    await client.publish("t", b"m")
    assert not await client.flush(20)
    flushing = asyncio.create_task(client.flush(LIMIT_MS))
    await peer.send(puback((await peer.publishes(1))[0]))
    assert await flushing
    await client.publish("t", b"m")
    flushing = asyncio.create_task(client.flush(LIMIT_MS))
    peer.close()
    assert not await flushing


async def test_a_consumer_that_fails_on_a_token_gets_a_new_connection():
    broker, client, peer = await connected()

    def fail(token):
        raise MemoryError

    client.on_ack = fail
    await client.publish("t", b"m", token=1)
    await peer.send(puback((await peer.publishes(1))[0]))
    await peer.closed()
    await broker.connection()
    assert await client.up() == 2


# Silence


async def test_pings_when_nothing_was_heard_for_half_the_keepalive():
    broker, client, peer = await connected()
    skip(29000)
    await peer.silent()
    for _ in range(3):
        skip(1000)
        assert await peer.packet() == (0xC0, b"")
        await peer.silent()
        await peer.send(b"\xd0\x00")
        await until(lambda: client._pinged is None)
        skip(29000)
        await peer.silent()
    skip(1000)
    assert await peer.packet() == (0xC0, b"")
    skip(29000)
    await peer.silent()
    assert client.connected
    skip(1000)
    await peer.closed()
    assert client.error == "no answer to a ping"


async def test_pings_although_it_sends_when_nothing_comes_back_and_the_reverse():
    broker, client, peer = await connected()
    skip(20000)
    await client.publish("t", b"m", qos=0)
    assert (await peer.packet())[0] == 0x30
    skip(11000)
    assert await peer.packet() == (0xC0, b""), "nothing was heard for 31 s"
    await peer.send(b"\xd0\x00")
    await until(lambda: client._pinged is None)
    skip(20000)
    await peer.send(publish(b"t", b"m"))
    await until(lambda: client.stats["received"])
    skip(11000)
    assert await peer.packet() == (0xC0, b""), "nothing was sent for 31 s"


# Messages in, and what is none


async def test_messages_come_to_the_callback_and_are_acknowledged():
    broker, client, peer = await connected()
    got = []
    client.set_callback(lambda topic, msg: got.append((topic, msg)))
    await peer.send(publish(b"a", b"0") + publish(b"b", b"1", 0xFFFE))
    assert await peer.packet() == (0x40, b"\xff\xfe")
    await peer.silent()
    assert got == [(b"a", b"0"), (b"b", b"1")] and client.stats["received"] == 2


async def test_a_callback_that_fails_costs_neither_the_connection_nor_the_ack():
    broker, client, peer = await connected()

    def fail(topic, msg):
        raise KeyError("no such relay")

    client.set_callback(fail)
    await peer.send(publish(b"a", b"0", 5))
    assert await peer.packet() == (0x40, b"\x00\x05")
    assert client.connected and client.stats["raised"] == 1 and "no such relay" in client.error


async def test_a_message_of_more_than_1_kb_is_skipped_counted_and_acknowledged():
    broker, client, peer = await connected()
    got = []
    client.set_callback(lambda topic, msg: got.append(msg))
    await peer.send(publish(b"a", bytes(1017), 1) + publish(b"a", bytes(1016), 2) + publish(b"a", bytes(50000), 3))
    await peer.send(publish(b"t" * 5000, b"m", 4) + publish(b"a", bytes(20000)) + publish(b"a", b"z", 5))
    for pid in range(1, 6):
        assert await peer.packet() == (0x40, bytes((0, pid)))
    assert got == [bytes(1016), b"z"] and client.stats["oversize"] == 4 and client.connected


async def test_the_longest_message_taken_can_be_set():
    broker, client, peer = await connected(limit=64)
    got = []
    client.set_callback(lambda topic, msg: got.append(msg))
    await peer.send(publish(b"a", bytes(57), 1) + publish(b"a", bytes(58), 2) + publish(b"a", b"z", 3))
    for pid in range(1, 4):
        assert await peer.packet() == (0x40, bytes((0, pid)))
    assert got == [bytes(57), b"z"] and client.stats["oversize"] == 1


async def test_garbage_ends_the_connection_and_is_counted():
    broker, client, peer = await connected()
    bad = (
        b"\x00", b"GET / HTTP/1.1\r\n\r\n", CONNACK, b"\x34\x05\x00\x01t\x00\x01", b"\x40\x02\x00\x00",
        b"\x30\xff\xff\xff\xff", b"\x62\x02\x00\x01",
    )  # fmt: skip
    for count, data in enumerate(bad):
        await peer.send(data + b"\x00" * 3)
        await peer.closed()
        assert client.stats["malformed"] == count + 1, data
        peer = await broker.connection()
        await client.up()


async def test_garbage_in_place_of_connack_ends_the_attempt():
    broker = await fake_broker.listen()
    client = Client(broker).start()
    for data in (b"\xd0\x00", b"\x40\x02\x00\x01", b"HTTP/1.1 400 Bad Request\r\n", b"\x20\x02\x00", b""):
        peer = await broker.connection(data)
        peer.close()
        await until(lambda: client.state != "connecting")
    assert client.generation == 0 and client.stats["malformed"] == 3
    await broker.connection()
    assert await client.up() == 1


async def test_random_bytes_from_the_broker_never_end_run():
    broker = await fake_broker.listen()
    client = Client(broker).start()
    x = 5
    for turn in range(60):
        peer = await broker.connection(CONNACK if turn & 3 else b"")
        noise = bytearray(300)
        for i in range(len(noise)):
            x = (x * 1103 + 12345) & 0xFFFFF
            noise[i] = x >> 6 & 255
        if turn & 1:
            noise[0] = (0x32, 0x30, 0x40, 0x90)[turn >> 1 & 3]
        try:
            await peer.send(noise)
        except OSError:
            pass
        peer.close()
        await until(lambda: not client.connected)
    await broker.connection()
    await client.up()
    assert not client.task.done() and client.stats["malformed"] > 10


# Subscriptions


async def test_subscribes_on_each_connection_whose_broker_may_not_know():
    broker = await fake_broker.listen()
    client = Client(broker)
    await client.subscribe("cmd/#")
    client.start()
    turns = (
        (KEPT, True, True),  # kept from an earlier life, who knows with what
        (KEPT, False, False),
        (CONNACK, True, False),
        (KEPT, True, True),  # the last one was not answered
        (KEPT, False, False),
    )
    for connack, asks, answered in turns:
        peer = await broker.connection(connack)
        await client.up()
        if asks:
            first, body = await peer.packet()
            assert first == 0x82 and body[2:] == b"\x00\x05cmd/#\x01"
        if answered:
            await peer.send(b"\x90\x03" + body[:2] + b"\x01")
            await until(lambda: client.pending == 0)
        await peer.silent()
        peer.close()


async def test_a_subscription_made_while_connected_goes_out_at_once():
    broker, client, peer = await connected()
    await client.subscribe("a", 0)
    assert await peer.packet() == (0x82, b"\x00\x01\x00\x01a\x00")
    await peer.send(b"\x90\x03\x00\x01\x00")
    await until(lambda: client.pending == 0)
    assert client.stats["refused"] == 0
    await client.subscribe("b")
    assert await peer.packet() == (0x82, b"\x00\x02\x00\x01b\x01")
    await peer.send(b"\x90\x03\x00\x02\x80")
    await until(lambda: client.stats["refused"] == 1)
    assert client.connected


async def test_a_subscription_that_is_never_answered_ends_the_connection():
    broker, client, peer = await connected()
    await client.subscribe("a")
    await peer.packet()
    skip(30000)
    await peer.closed()
    assert client.error == "no acknowledgement in time"


# TLS: the context is a stand-in, the tests with a real one are elsewhere


class Tls(io.IOBase):
    """As bad as a TLS socket can be: takes a few bytes, or none and then insists on the same ones."""

    def __init__(self, sock):
        self._sock = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._turn = 0
        self._owed = None

    def setblocking(self, on):
        assert not on

    def write(self, data):
        data = bytes(data)
        self._turn += 1
        if self._owed is None and self._turn % 3:
            self._owed = data
            return None
        assert self._owed is None or data == self._owed, "not the same buffer"
        self._owed = None
        return self._sock.write(data[:11])

    def readinto(self, view):
        self._turn += 1
        return None if self._turn % 2 else self._sock.readinto(view[:5])

    def ioctl(self, what, flags):
        if what == 3:
            return flags & 4 | (flags & 1 if self._poll.poll(0) else 0)
        return 0

    def close(self):
        self._sock.close()


class Context:
    def __init__(self, error=None):
        self.error = error

    def wrap_socket(self, sock, server_hostname, do_handshake_on_connect):
        assert server_hostname == "127.0.0.1" and do_handshake_on_connect is False
        if self.error:
            raise self.error
        return Tls(sock)


async def test_a_socket_that_takes_a_few_bytes_or_none_loses_nothing():
    broker, client, peer = await connected(ssl=Context())
    got = []

    async def serve():
        while True:
            first, body = await peer.packet()
            got.append(payload_of(body))
            await peer.send(puback(pid_of(body)))

    asyncio.create_task(serve())
    for token in range(60):
        await client.publish("t", "message %d" % token, token=token)
    await until(lambda: client.tokens == list(range(60)))
    assert got == [b"message %d" % token for token in range(60)]


async def test_a_certificate_that_is_refused_is_tried_again():
    context = Context(ValueError("The certificate validity starts in the future"))
    broker = await fake_broker.listen()
    client = Client(broker, ssl=context).start()
    await until(lambda: len(client.naps) > 20)
    assert client.error == "refused: The certificate validity starts in the future"
    assert client.stats["dates"] > 1 and "authority" not in client.stats
    signed = "The certificate is not correctly signed by the trusted CA\n"
    context.error = ValueError(signed + "The certificate Common Name (CN) does not match with the expected CN\n")
    await until(lambda: "name" in client.stats)
    assert client.stats["authority"] == client.stats["name"] > 0 and "other" not in client.stats
    context.error = ValueError("The certificate is signed with an unacceptable hash.")
    await until(lambda: "other" in client.stats)
    context.error = None
    while True:
        peer = await broker.accept()
        try:
            await peer.packet()
            break
        except EOFError:
            pass
    await peer.send(CONNACK)
    assert await client.up() == 1


async def test_a_broker_by_name_is_asked_for_at_each_attempt():
    asked = []

    async def resolve(host):
        asked.append(host)
        if len(asked) == 1:
            raise OSError(110)
        return "127.0.0.1"

    dns.resolve = resolve
    broker = await fake_broker.listen()
    client = Named(broker).start()
    for times in (2, 3):
        peer = await broker.connection()
        await client.up()
        assert asked == ["broker.example.org"] * times
        peer.close()
        await until(lambda: not client.connected)


# Memory


async def test_a_thousand_messages_leave_nothing_behind():
    broker, client, peer = await connected()
    client.on_ack = lambda token: None

    async def serve():
        while True:
            first, body = await peer.packet()
            await peer.send(puback(pid_of(body)))

    asyncio.create_task(serve())
    levels = []
    for _ in range(3):
        for token in range(500):
            await client.publish("t", b"m", token=token)
        assert await client.flush(LIMIT_MS)
        await asyncio.sleep_ms(10)
        gc.collect()
        levels.append(gc.mem_alloc())
    assert levels[2] <= levels[1], levels


async def test_a_hundred_connections_leave_nothing_behind():
    broker, client, peer = await connected()
    levels = []
    for count in range(90):
        del client.naps[:]
        peer.close()
        peer = await broker.connection()
        await client.up()
        if count % 30 == 29:
            gc.collect()
            levels.append(gc.mem_alloc())
    assert levels[2] <= levels[1], levels
