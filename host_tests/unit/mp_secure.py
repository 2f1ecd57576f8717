"""gateway/secure: no request is on a bus while a step of a TLS handshake holds the loop."""
import asyncio
import io
import time

import fake_broker
from gateway import secure
from lib import proto
from lib.media.rs485 import RS485
from lib.mqtt import MQTTClient
from lib.proto import modbus

STEP_MS = 150
STEPS = 3
WIRE_MS = 20  # from the end of a request to the end of its reply
REPLY = bytes((1, 3, 2, 0, 7))


class Slow(io.IOBase):
    """A TLS socket whose handshake computes for STEP_MS, STEPS times; `during` gets begin and end of each, in ticks."""

    def __init__(self, sock, during):
        self._sock, self._during, self._steps = sock, during, STEPS

    def setblocking(self, on):
        assert not on

    def write(self, data):
        if self._steps:
            self._steps -= 1
            begin = time.ticks_ms()
            time.sleep_ms(STEP_MS)
            self._during.append((begin, time.ticks_ms()))
            return None
        return self._sock.write(data)

    def readinto(self, view):
        assert not self._steps, "nobody reads before the hands are shaken"
        return self._sock.readinto(view)

    def ioctl(self, what, flags):
        return flags if what == 3 else 0

    def close(self):
        self._sock.close()


class Pinned(secure.Pinned):
    """As the gateway's, but for the sockets."""

    def __init__(self, lines, during):
        self._lines, self._held, self._during = lines, [], during

    def wrap_socket(self, sock, server_hostname, do_handshake_on_connect):
        return Slow(sock, self._during)


class Uart:
    """A line whose meter answers WIRE_MS after a request, at an instant that `answered` has."""

    def __init__(self):
        self.due, self.left, self.answered = None, b"", []

    def write(self, frame):
        self.due = time.ticks_add(time.ticks_ms(), WIRE_MS)

    def readinto(self, view):
        if self.due is not None and time.ticks_diff(time.ticks_ms(), self.due) >= 0:
            self.answered.append(self.due)
            self.due, self.left = None, REPLY + modbus.rtu.crc(REPLY, 0, len(REPLY)).to_bytes(2, "little")
        part = self.left[: len(view)]
        view[: len(part)] = part
        self.left = self.left[len(part) :]
        return len(part) or None


async def poll(session):
    while True:
        assert await session.ask(modbus.rtu.request(1, 3, 0, 1), 2, 500, 0, bytes) == b"\0\7"
        await asyncio.sleep_ms(0)


async def shaken(lines, medias):
    """Connect while the buses are asked; return how many answers ended while a step of the handshake held the loop."""
    during, tasks, answered = [], [], []
    for media in medias:
        media._uart.answered = answered
        tasks.append(asyncio.create_task(poll(await modbus.session(media, {"address": 1}, {}))))
    await asyncio.sleep_ms(100)
    broker = await fake_broker.listen()
    client = MQTTClient("gw", "127.0.0.1", broker.port, ssl=Pinned(lines, during))
    tasks.append(asyncio.create_task(client.run()))
    peer = await broker.connection()
    await client.up()
    before = len(answered)
    await asyncio.sleep_ms(300)
    assert len(answered) > before > 0 and len(during) == STEPS, "the buses go on"
    for task in tasks:
        task.cancel()
    peer.close()
    return len([at for at in answered for begin, end in during if begin < at < end])


def medias(count):
    made = [RS485(Uart(), 115200) for _ in range(count)]
    return made, tuple([media.lock for media in made])


async def test_no_answer_ends_while_a_step_of_a_handshake_holds_the_loop():
    for count in (1, 2):
        made, lines = medias(count)
        assert await shaken(lines, made) == 0


async def test_without_the_lines_answers_do():
    made, _ = medias(1)
    assert await shaken((), made) > 0


async def test_a_handshake_that_is_given_up_leaves_the_lines_free():
    made, lines = medias(2)
    during = []
    await lines[1].acquire()  # a request that takes long
    broker = await fake_broker.listen()
    client = MQTTClient("gw", "127.0.0.1", broker.port, ssl=Pinned(lines, during))
    task = asyncio.create_task(client.run())
    await broker.accept()
    await asyncio.sleep_ms(50)
    assert lines[0].locked() and not during
    task.cancel()
    await asyncio.sleep_ms(20)
    assert not lines[0].locked()
    lines[1].release()
    await asyncio.sleep_ms(20)
    assert not lines[1].locked() and proto.OK == 0
