"""Session.act of lib/proto/modbus: what is written, and what is believed after it."""

import asyncio
import sys

import fake_uart
from fake_uart import frame
from lib import proto
from lib.media import rs485
from lib.media.rs485 import RS485
from lib.proto import modbus

HOLDING = {"rd": [3, 26, 1, "u16", [1], [0]], "on": [16, 26, [1]], "off": [16, 26, [0]], "wait": 2}
SINGLE = {"rd": [3, 26, 1, "u16", [1, 5], [0]], "on": [6, 26, [1]], "off": [6, 26, [0]]}
COIL = {"rd": [1, 9, 3, "u16", [1, 3, 5, 7], [0, 2, 4, 6]], "on": [5, 9, [0xFF00]], "off": [5, 9, [0]]}
INPUT = {"rd": [2, 100, 1, "u16", [1], [0]], "on": [5, 9, [0xFF00]], "off": [5, 9, [0]]}


class Switch:
    """A meter with a relay: takes functions 1 to 6 and 16 apart by itself. `does(request)` may change what it does."""

    def __init__(self, stuck=False):
        self.words = {26: 0, 27: 7}
        self.coils = {9: 0, 10: 1, 11: 0}
        self.heard = []
        self.stuck = stuck
        self.mute = ()  # functions that are done, and not answered
        self.refuse = ()

    def __call__(self, request):
        self.heard.append(request)
        reply = self._do(request)
        return [(20000, reply)] if reply and request[1] not in self.mute else []

    def _do(self, request):
        unit, function = request[0], request[1]
        address, number = request[2] << 8 | request[3], request[4] << 8 | request[5]
        assert unit == 7 and fake_uart.crc(request[:-2]) == request[-2:]
        if function in self.refuse:
            return frame(7, function | 128, 4)
        if function in (1, 2):
            bits = [self.coils.get(9 if at == 100 else at, 1) for at in range(address, address + number)]
            bits += [1] * (-number % 8)  # some fill up with ones
            data = bytes([sum([bit << i for i, bit in enumerate(bits[at : at + 8])]) for at in range(0, len(bits), 8)])
            return frame(7, function, len(data), data)
        if function == 3:
            data = b"".join([self.words[at].to_bytes(2, "big") for at in range(address, address + number)])
            return frame(7, 3, len(data), data)
        if function == 16:
            assert request[6] == 2 * number == len(request) - 9
            for i in range(number):
                self._write(self.words, address + i, request[7 + 2 * i] << 8 | request[8 + 2 * i])
        elif function == 6:
            self._write(self.words, address, number)
        else:
            assert function == 5 and number in (0, 0xFF00)
            self._write(self.coils, address, number >> 15)
        return frame(request[:6])

    def _write(self, where, at, value):
        assert at in where, "an address that nobody named"
        if not self.stuck:
            where[at] = value


async def wired(rules, meter, **link):
    clock = fake_uart.Clock(rs485, modbus)
    uart = fake_uart.UART(clock, reply=meter)
    link = dict({"address": 7, "rly": rules, "lim": [32, 1, 20, 500]}, **link)
    return clock, uart, await modbus.session(RS485(uart, 9600), link, {})


async def fails(session, on):
    """Return the Fault of an act."""
    try:
        state = await session.act("relay", on)
    except proto.Fault as fault:
        return fault
    raise AssertionError(state)


async def test_each_way_of_writing_switches_on_and_off_and_is_read_back():
    for rules in (HOLDING, SINGLE, COIL, INPUT):
        meter = Switch()
        clock, uart, session = await wired(rules, meter)
        for on in (True, False, False, True):
            assert await session.act("relay", on) is on
            assert (meter.coils[9] if rules in (COIL, INPUT) else meter.words[26]) == on
        assert meter.coils[10] == 1 and meter.words[27] == 7 and uart.early == 0
        assert {request[1] for request in meter.heard} == {rules["on"][0], rules["rd"][0]}
        assert len(meter.heard) == 8


async def test_what_goes_over_the_wire_is_what_the_profile_says():
    for rules, on, off, read in (
        (HOLDING, b"\x00\x1a\x00\x01\x02\x00\x01", b"\x00\x1a\x00\x01\x02\x00\x00", b"\x00\x1a\x00\x01"),
        (SINGLE, b"\x00\x1a\x00\x01", b"\x00\x1a\x00\x00", b"\x00\x1a\x00\x01"),
        (COIL, b"\x00\x09\xff\x00", b"\x00\x09\x00\x00", b"\x00\x09\x00\x03"),
    ):
        meter = Switch()
        clock, uart, session = await wired(rules, meter)
        await session.act("relay", True)
        await session.act("relay", False)
        writes, reads = rules["on"][0], rules["rd"][0]
        heard = (writes, on), (reads, read), (writes, off), (reads, read)
        assert meter.heard == [frame(7, function, data) for function, data in heard]


async def test_the_read_back_waits_as_the_profile_says_and_the_line_is_free_meanwhile():
    meter = Switch()
    clock, uart, session = await wired(HOLDING, meter)
    task = asyncio.create_task(session.act("relay", True))
    await asyncio.sleep_ms(500)
    assert len(meter.heard) == 1 and not session._media.lock.locked()
    assert await task is True
    assert 2000000 <= uart.sent[1][0] - uart.sent[0][1] <= 2100000


async def test_a_relay_that_does_not_move_is_a_fault_though_the_write_was_acknowledged():
    clock, uart, session = await wired(HOLDING, Switch(stuck=True))
    fault = await fails(session, True)
    assert (fault.kind, fault.text) == (proto.REFUSED, "the relay is still off")


async def test_a_state_that_is_neither_on_nor_off_is_a_fault():
    meter = Switch(stuck=True)
    meter.words[26] = 9
    clock, uart, session = await wired(SINGLE, meter)
    for on in (True, False):
        fault = await fails(session, on)
        assert (fault.kind, fault.code) == (proto.RANGE, 9)


async def test_a_write_that_was_not_acknowledged_is_judged_by_what_is_read_back():
    for stuck in (False, True):
        meter = Switch(stuck)
        meter.mute = (6,)
        clock, uart, session = await wired(SINGLE, meter)
        if stuck:
            assert (await fails(session, True)).kind == proto.REFUSED
        else:
            assert await session.act("relay", True) is True
        assert uart.sent[1][0] - uart.sent[0][1] >= 2000000  # its reply was waited for, and the quarantine kept


async def test_a_refused_write_is_a_fault_with_the_meters_own_number():
    meter = Switch()
    meter.refuse = (16,)
    clock, uart, session = await wired(HOLDING, meter)
    fault = await fails(session, True)
    assert (fault.kind, fault.code) == (proto.REFUSED, 4) and len(meter.heard) == 1


async def test_a_meter_that_does_not_answer_the_read_back_has_no_known_state():
    meter = Switch()
    meter.mute = (3,)
    clock, uart, session = await wired(SINGLE, meter)
    assert (await fails(session, True)).kind == proto.TIMEOUT


async def test_nothing_is_written_to_a_meter_that_is_silent():
    meter = Switch()
    clock, uart, session = await wired(HOLDING, meter)
    batch = modbus.plan({"blk": [[4, 0, 2, 1]], "q": [["1.8.0", 0, 0, "u32", 0, "kWh"]], "lim": [32, 1, 20, 500]})[0]
    uart.reply = None
    await session.read(batch)
    uart.reply = meter
    for wait_ms in (0, 5000):  # in quarantine, and while a reply may still come
        await asyncio.sleep_ms(wait_ms)
        assert (await fails(session, True)).kind == proto.BUSY
    assert meter.heard == []


async def test_a_poll_in_between_that_is_not_answered_spoils_the_read_back():
    """Its late reply might be as long as the relay's."""
    meter = Switch()
    clock, uart, session = await wired(dict(HOLDING, wait=10), meter)
    batch = modbus.plan({"blk": [[3, 26, 1, 1]], "q": [["1.8.0", 0, 0, "u16", 0, "kWh"]], "lim": [32, 1, 20, 500]})[0]
    task = asyncio.create_task(fails(session, True))
    await asyncio.sleep_ms(1000)
    uart.reply = None
    await session.read(batch)
    uart.reply = meter
    assert (await task).kind == proto.BUSY


async def test_the_line_may_be_polled_while_a_relay_is_switched():
    meter = Switch()
    clock, uart, session = await wired(HOLDING, meter)
    batch = modbus.plan({"blk": [[3, 26, 2, 1]], "q": [["x.y", 0, 1, "u16", 0, ""]], "lim": [32, 1, 20, 500]})[0]
    task = asyncio.create_task(session.act("relay", True))
    for _ in range(30):
        assert await session.read(batch) == [7000]
        await asyncio.sleep_ms(100)
    assert await task is True and uart.early == 0


async def test_a_state_may_be_any_number_of_words():
    for kind, words, value in (
        ("s16", (0xFFFE, 0), -2), ("u16", (0xFFFE, 0), 65534), ("u32", (1, 2), 65538), ("u32w", (2, 1), 65538),
        ("s32", (0xFFFF, 0xFFFD), -3), ("s32w", (0xFFFD, 0xFFFF), -3),
    ):  # fmt: skip
        meter = Switch(stuck=True)
        meter.words = {26: words[0], 27: words[1]}
        rules = dict(SINGLE, rd=[3, 26, int(kind[1:3]) // 16, kind, [value], [value + 1]])
        clock, uart, session = await wired(rules, meter)
        assert await session.act("relay", True) is True, kind


async def test_what_no_profile_may_write_is_not_written():
    for changes in (
        {"on": [5, 9, [1]]}, {"on": [15, 9, [1]]}, {"on": [3, 9, [1]]}, {"rd": [3, 26, 2, "f32", [1], [0]]},
    ):  # fmt: skip
        meter = Switch()
        clock, uart, session = await wired(dict(COIL, **changes), meter)
        assert (await fails(session, True)).kind == proto.UNSUPPORTED
        assert meter.heard == []


async def test_who_only_reads_does_not_load_what_writes():
    clock, uart, session = await wired(HOLDING, Switch())
    assert "lib.proto.modbus.relay" not in sys.modules
    await session.act("relay", True)
    assert "lib.proto.modbus.relay" in sys.modules
