"""lib/proto/sunspec on a line: units that are silent, change, or say what cannot be; for values: system/."""

import asyncio
import sys

import fake_uart
from fake_uart import Meter
from lib import proto
from lib.media import rs485
from lib.media.rs485 import RS485
from lib.proto import modbus, sunspec

PROFILE = {
    "v": 1, "proto": "sunspec", "id": "x", "n": "x", "ph": 1, "ser": ["9600N1"], "lim": [125, 1, 20, 500],
    "models": [201, 211, 101], "q": [["1.8.0"], ["32.7.0"], ["0.0.96.1.1.255"], ["16.7.0"]], "conf": "L",
}  # fmt: skip
TEXTS = b"".join([text + bytes(size - len(text)) for text, size in (
    (b"Maker", 32), (b"M1", 32), (b"", 16), (b"1.0", 16), (b"SN7", 32),
)])  # fmt: skip


def meter(watts=-1234, volts=2301, wh=1234567, volt_scale=-1, watt_scale=0, number=201, length=105):
    """Model 201 with some values: [id, length, registers...]."""
    words = [number, length] + [0x8000] * length
    words[8], words[15] = volts, volt_scale
    words[18], words[22] = watts, watt_scale
    words[46], words[47], words[54] = wh >> 16, wh & 0xFFFF, 0
    return words


def unit(*parts, base=40000):
    """A meter with a map at `base`."""
    words = [0x5375, 0x6E53]
    for part in parts:
        words += part
    words += [0xFFFF, 0]
    return Meter(7, {(3, base + i): word & 0xFFFF for i, word in enumerate(words)})


def common():
    return [1, 66] + [TEXTS[i] << 8 | TEXTS[i + 1] for i in range(0, 128, 2)] + [7, 0x8000]


class Bus:
    """A line with one unit; `reply` can be changed."""

    def __init__(self, reply):
        self.clock = fake_uart.Clock(rs485, modbus)
        self.uart = fake_uart.UART(self.clock, 9600, reply=reply)
        (self.batch,) = sunspec.plan(PROFILE)
        self.session = None

    async def read(self):
        if self.session is None:
            media = RS485(self.uart, 9600)
            self.session = await sunspec.session(media, {"address": 7}, {})
        asked = len(self.uart.sent)
        values = await self.session.read(self.batch)
        self.asked = [
            (frame[2] << 8 | frame[3], frame[4] << 8 | frame[5]) for _, _, frame in self.uart.sent[asked:]
        ]
        return [value.kind if isinstance(value, proto.Fault) else value for value in values]


VALUES = [1234567, 230100, "SN7", -1234000]


async def test_a_unit_is_looked_for_once_and_then_read_in_one_request():
    bus = Bus(unit(common(), meter()))
    assert await bus.read() == VALUES
    assert bus.session.identity == ["Maker", "M1", "1.0", "SN7"]
    assert bus.asked == [(40000, 2), (40002, 2), (40004, 64), (40070, 2), (40070, 55)]
    answered = bus.session.answered_ms
    for _ in range(3):
        assert await bus.read() == VALUES and bus.asked == [(40070, 55)]
    assert bus.session.answered_ms != answered and bus.session.counts[proto.OK] == 8 and bus.uart.early == 0


async def test_the_search_gives_its_memory_back():
    bus = Bus(unit(common(), meter()))
    assert await bus.read() == VALUES
    for name in ("chain", "models", "rules"):
        assert "lib.proto.sunspec." + name not in sys.modules and not hasattr(sunspec, name)


async def test_two_units_on_two_lines_may_be_looked_for_at_once():
    one, other = Bus(unit(common(), meter())), None
    other = Bus(unit(common(), meter(watts=7)))
    one.clock = other.clock
    one.uart._clock = other.clock
    found = await asyncio.gather(one.read(), other.read())
    assert found == [VALUES, VALUES[:3] + [7000]]


async def test_a_scale_factor_is_that_of_the_same_reply():
    bus = Bus(unit(common(), meter()))
    assert await bus.read() == VALUES
    bus.uart.reply = unit(common(), meter(volts=23005, volt_scale=-2, watts=2, watt_scale=3))
    assert await bus.read() == [1234567, 230050, "SN7", 2000000]
    bus.uart.reply = unit(common(), meter(volts=23005, volt_scale=-5, watts=15, watt_scale=-4))
    assert await bus.read() == [1234567, 230, "SN7", 2]  # 0.23005 V; 1.5 mW is a tie


async def test_a_scale_factor_that_is_none_makes_no_value():
    bus = Bus(unit(common(), meter(volt_scale=-32768, watt_scale=11)))
    assert await bus.read() == [1234567, None, "SN7", proto.RANGE]


async def test_a_unit_that_has_become_another_is_looked_for_again():
    bus = Bus(unit(common(), meter()))
    assert await bus.read() == VALUES
    bus.uart.reply = unit(common(), [64000, 3, 1, 2, 3], meter(watts=5))
    assert await bus.read() == [proto.FRAME] * 4 and bus.asked == [(40070, 55)]
    assert await bus.read() == VALUES[:3] + [5000]
    bus.uart.reply = unit(common(), meter(length=104))
    assert await bus.read() == [proto.FRAME] * 4


async def test_a_unit_that_was_silent_is_looked_for_again():
    bus = Bus(unit(common(), meter()))
    assert await bus.read() == VALUES
    bus.uart.reply = lambda frame: []
    assert await bus.read() == [proto.TIMEOUT] * 4
    bus.uart.reply = unit(common(), [64000, 3, 1, 2, 3], meter(watts=6))
    for _ in range(8):
        bus.clock.us += 60000000
        values = await bus.read()
        if values[0] != proto.TIMEOUT and values[0] != proto.BUSY:
            break
    assert values == VALUES[:3] + [6000]


async def test_a_unit_that_is_silent_where_it_has_nothing_is_found_all_the_same():
    for base in (50000, 0):
        there = unit(common(), meter(), base=base)

        def reply(frame, there=there):
            answer = there.answer(frame)
            return [(20000, answer)] if answer and not answer[1] & 0x80 else []

        bus = Bus(reply)
        for _ in range(12):
            values = await bus.read()
            bus.clock.us += 60000000
            if values == VALUES:
                break
        assert values == VALUES, base


async def test_a_model_that_is_too_short_has_what_it_has():
    bus = Bus(unit(common(), [201, 30] + meter()[2:32]))
    assert await bus.read() == [None] + VALUES[1:]
    assert bus.asked[-1] == (40070, 23)


async def test_a_unit_without_a_common_model_is_read_and_has_no_number():
    bus = Bus(unit(meter()))
    assert await bus.read() == VALUES[:2] + [None] + VALUES[3:] and bus.session.identity == [None] * 4
    bus = Bus(unit([1, 4, 1, 2, 3, 4], meter()))
    assert await bus.read() == VALUES[:2] + [None] + VALUES[3:]


async def test_whatever_a_chain_says_the_search_ends():
    parts = (
        [[64000, 1, 0]] * 60, [[203, 0]], [[0, 0]], [[64000, 65535]], [[64000, 25530]], [[64000, 9, 1]], [[65535, 5]],
        [], [common()] * 20,
    )  # fmt: skip
    for i, chain in enumerate(parts):
        bus = Bus(unit(*chain))
        values = await bus.read()
        assert values == [values[0]] * 4 and values[0] in (proto.ABSENT, proto.RANGE, proto.REFUSED), (i, values)
        assert len(bus.asked) <= 100
    bus = Bus(Meter(7, {}))
    assert await bus.read() == [proto.ABSENT] * 4 and bus.asked == [(40000, 2), (50000, 2), (0, 2)]


async def test_registers_of_any_content_end_the_search():
    for word in (0, 1, 0x5375, 0xFFFF, 0x8000):

        def reply(frame, word=word):
            count = frame[4] << 8 | frame[5]
            data = bytes((word >> 8, word & 255)) * count
            if frame[2] << 8 | frame[3] == 40000:
                data = b"SunS"
            return [(20000, fake_uart.frame(7, 3, 2 * count, data))]

        bus = Bus(reply)
        values = await bus.read()
        assert values == [values[0]] * 4 and values[0] in (proto.ABSENT, proto.RANGE), (word, values)


async def test_a_session_has_no_actions():
    bus = Bus(unit(common(), meter()))
    assert await bus.read() == VALUES
    for call in (bus.session.act("relay", {}), bus.session.clock()):
        try:
            await call
        except proto.Fault as fault:
            assert fault.kind == proto.UNSUPPORTED
        else:
            raise AssertionError
    await bus.session.close()


def test_columns_have_a_unit_each():
    (batch,) = sunspec.plan(PROFILE)
    assert batch.points == "\n1.8.0 kWh -3\n32.7.0 V -3\n0.0.96.1.1.255  0\n16.7.0 W -3" and batch.size == 4


def broken(**changed):
    made = dict(PROFILE, **changed)
    return [path for path, _, _ in sunspec.check({key: made[key] for key in made if made[key] is not None})]


def test_a_profile_is_judged():
    assert broken() == [] and broken(note="x", probe=[[3, 40000, 2, "u32", [1400204883]]]) == []
    for changed, path in (
        ({"v": 2}, "v"), ({"models": []}, "models"), ({"models": [7]}, "models[0]"), ({"models": None}, "models"),
        ({"q": []}, "q"), ({"q": [["x"]]}, "q[0][0]"), ({"q": ["1.8.0"]}, "q[0]"), ({"q": [["1.8.0", 0]]}, "q[0]"),
        ({"q": [["1.8.0"], ["1.8.0"]]}, "q[1][0]"), ({"q": None}, "q"), ({"lim": [60, 1, 20, 500]}, "lim[0]"),
        ({"lim": [126, 1, 20, 500]}, "lim[0]"), ({"lim": None}, "lim"), ({"ser": ["x"]}, "ser[0]"),
        ({"id": "a b"}, "id"), ({"conf": "Z"}, "conf"), ({"probe": [[3, 0, 1]]}, "probe[0]"),
        ({"blk": [[3, 0, 1, 1]]}, "blk"), ({"ph": 4}, "ph"),
        ({"proto": "modbus"}, "proto"), ({"q": 5}, "q"), ({"models": "x"}, "models"),
    ):  # fmt: skip
        assert broken(**changed) == [path], (changed, broken(**changed))
    for value in (None, [], "x", 5, True):
        assert len(sunspec.check(value)) == 1
    assert len(sunspec.check({})) >= 10
