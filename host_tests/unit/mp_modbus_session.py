"""lib/proto/modbus on a line: what a meter answers, and everything it should not."""

import asyncio
import random

import fake_uart
from fake_uart import Meter, frame
from lib import proto
from lib.media import rs485
from lib.media.rs485 import RS485
from lib.proto import modbus

ROWS = [["32.7.0", 0, 0, "u16", -1, "V"], ["16.7.0", 0, 1, "s16", 0, "W"], ["1.8.0", 1, 0, "u32", -2, "kWh"]]
WORDS = (2301, 0xFF9C, 17, 1, 0xE240)  # 230.1 V, -100 W, and 1234.56 kWh from 100 on
FIRST, SECOND = [230100, -100000], [1234560]
FIRST_REQUEST = frame(7, 3, b"\x00\x00\x00\x03")

HEAP = {"test_a_dead_meter_is_asked_ever_less_and_at_least_once_a_minute": "4M"}
TIMEOUT = {"test_no_damaged_reply_is_ever_a_value": 240}


def plan(blk=([3, 0, 3, 1], [3, 100, 2, 1]), lim=(80, 1, 0, 500), rows=ROWS):
    return modbus.plan({"blk": list(blk), "q": rows, "lim": list(lim)})


def registers(function=3):
    made = {(function, at): word for at, word in enumerate(WORDS[:3])}
    made.update({(function, 100 + at): word for at, word in enumerate(WORDS[3:])})
    return made


async def bus(reply=None, address=7, grain=1, baud=9600, **line):
    """A bus with one meter on it; `reply` is a fake meter or a function from request to replies."""
    clock = fake_uart.Clock(rs485, modbus, grain=grain)
    uart = fake_uart.UART(clock, baud, reply=reply)
    media = RS485(uart, baud, **line)
    return clock, uart, media, await modbus.session(media, {"address": address, "serial": "x"}, {})


def says(*parts):
    """A line on which each request is followed by the same: us, bytes, us, bytes, ..."""
    replies = [(parts[i], parts[i + 1]) for i in range(0, len(parts), 2)]
    return lambda request: replies


def kinds(values):
    return [value.kind if isinstance(value, proto.Fault) else value for value in values]


async def test_a_meter_is_read():
    clock, uart, media, session = await bus(Meter(7, registers()))
    first, second = plan()
    assert await session.read(first) == FIRST
    assert await session.read(second) == SECOND
    assert list(session.counts) == [2, 0, 0, 0, 0, 0, 0, 0, 0]
    assert uart.sent[0][2] == FIRST_REQUEST and uart.early == 0


async def test_function_4_is_read_with_function_4():
    clock, uart, media, session = await bus(Meter(7, registers(4)))
    first, second = plan(([4, 0, 3, 1], [4, 100, 2, 1]))
    assert await session.read(first) == FIRST and uart.sent[0][2][1] == 4


async def test_the_instant_is_that_of_the_last_byte():
    for grain in (1, 10):
        clock, uart, media, session = await bus(Meter(7, registers(), 35000), grain=grain)
        assert await session.read(plan()[0]) == FIRST
        complete = uart.sent[0][1] + 35000 + 11 * uart.char_us
        assert complete <= session.answered_ms * 1000 + 1000 <= complete + 3000 + 1000 * grain


async def test_three_and_a_half_characters_are_kept_before_every_request():
    for grain in (1, 10):
        for baud in (1200, 9600, 19200, 115200):
            clock, uart, media, session = await bus(Meter(7, registers()), baud=baud, grain=grain)
            for _ in range(20):
                for batch, expected in zip(plan(), (FIRST, SECOND)):
                    assert await session.read(batch) == expected
            assert uart.early == 0 and len(uart.sent) == 40, (baud, uart.early)


async def test_a_read_takes_the_time_of_the_wire_and_a_few_ms():
    clock, uart, media, session = await bus(Meter(7, {(3, at): at for at in range(120)}))
    batch = plan(([3, 0, 120, 1],), rows=[["1.8.0", 0, 100, "u16", 0, "Wh"]])[0]
    await session.read(batch)
    before, slept = clock.us, clock.slept
    assert await session.read(batch) == [100000]
    limit = 3.5 * uart.char_us + 8 * uart.char_us + 20000 + 245 * uart.char_us
    assert clock.us - before <= limit + 6000, (clock.us - before, limit)
    assert clock.slept - slept <= 8


async def test_a_silent_meter_costs_its_time_out_and_is_then_left_alone():
    clock, uart, media, session = await bus()
    first, second = plan()
    before = clock.us
    assert kinds(await session.read(first)) == [proto.TIMEOUT] * 2
    assert clock.us - before <= (8 + 5) * uart.char_us + 500000 + 10000
    before = clock.us
    assert kinds(await session.read(second)) == [proto.BUSY]
    assert clock.us == before and len(uart.sent) == 1  # the bus was not touched
    await asyncio.sleep_ms(1500)
    assert kinds(await session.read(second)) == [proto.TIMEOUT] and len(uart.sent) == 2
    assert session.counts[proto.TIMEOUT] == 2 and session.counts[proto.BUSY] == 1 and session.counts[proto.OK] == 0


async def test_all_points_of_a_batch_carry_the_same_fault():
    clock, uart, media, session = await bus()
    one, other = await session.read(plan()[0])
    assert one is other and one.text == "no reply"


async def test_a_meter_that_answers_again_is_read_again():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus()
    await session.read(plan()[0])
    uart.reply = meter
    await asyncio.sleep_ms(1501)
    assert await session.read(plan()[0]) == FIRST and await session.read(plan()[1]) == SECOND


async def test_a_late_reply_is_never_taken_for_another():
    # blocks of one length: only time protects
    batches = plan(([3, 0, 3, 1], [3, 100, 3, 1]))
    for late_us in (550000, 900000, 1900000):
        for wait_ms in (0, 100, 500, 1450, 1490, 1500, 1600, 3000):
            for grain in (1, 10):
                meter = Meter(7, registers(), late_us)
                meter.registers[(3, 102)] = 0
                clock, uart, media, session = await bus(meter, grain=grain)
                assert kinds(await session.read(batches[0])) == [proto.TIMEOUT] * 2
                await asyncio.sleep_ms(wait_ms)
                assert kinds(await session.read(batches[1])) in ([proto.BUSY], [proto.TIMEOUT]), (late_us, wait_ms)


class Slow:
    """A meter that numbers what it is asked: each reply to a read says in its first word which request it answers.

    It answers in order unless told otherwise. `late()` returns by how many us a reply is late, and `ends` holds the us
    at which each ended.
    """

    ordered = True

    def __init__(self, clock, uart, late, refused=()):
        self.clock = clock
        self.uart = uart
        self.late = late
        self.refused = refused  # addresses
        self.asked = 0
        self.ends = {}
        self._free = 0

    def __call__(self, request):
        self.asked += 1
        words = self.asked.to_bytes(2, "big") + bytes(2 * request[5] - 2)
        reply = frame(7, 0x83, 2) if request[3] in self.refused else frame(7, 3, len(words), words)
        begin = max(self._free if self.ordered else 0, self.uart._end + 20000 + self.late())
        self._free = self.ends[self.asked] = begin + len(reply) * self.uart.char_us
        return [(begin - self.uart._end, reply)]


NUMBER = [["32.7.0", 0, 0, "u16", -3, "V"]]


async def slow(late, blk=([3, 0, 3, 1],), rows=NUMBER, refused=(), grain=1):
    clock, uart, media, session = await bus(grain=grain)
    uart.reply = meter = Slow(clock, uart, late, refused)
    return clock, meter, session, plan(blk, rows=rows)


async def test_value_and_instant_belong_to_one_request():
    """A block is asked again and again while replies come late, by up to 1.4 s beyond the time-out and by far more."""
    random.seed(3)
    for ordered, most_us, share, pause_ms in (
        (False, 1900000, 4, 2000), (False, 1900000, 2, 5000), (True, 1900000, 4, 2000), (True, 1900000, 2, 5000),
        (True, 9000000, 3, 3000), (True, 9000000, 3, 8000),
    ):  # fmt: skip
        for grain in (1, 10):

            def late(most_us=most_us, share=share):
                return 480000 + random.randrange(most_us - 480000) if not random.randrange(share) else 0

            clock, meter, session, (batch,) = await slow(late, grain=grain)
            meter.ordered = ordered
            good = 0
            for _ in range(150):
                before = clock.us
                value = (await session.read(batch))[0]
                if isinstance(value, proto.Fault):
                    assert value.kind in (proto.TIMEOUT, proto.FRAME, proto.BUSY), value.text
                else:
                    good += 1
                    assert value == meter.asked, (value, meter.asked)
                    assert before < meter.ends[value] <= clock.us
                    assert 0 <= session.answered_ms - meter.ends[value] // 1000 <= 3 + grain
                await asyncio.sleep_ms(random.randrange(pause_ms))
            assert good > 10, (good, most_us, pause_ms)


async def test_a_late_exception_is_never_taken_for_another_blocks():
    rows = NUMBER + [["1.8.0", 1, 0, "u16", 0, "kWh"]]
    for late_us in (600000, 1900000, 2100000, 4000000, 9000000):
        for pause_ms in (0, 400, 1000, 1500, 2000, 5000):
            lateness = [0, late_us]  # of the second request, which is refused; the others are answered at once
            clock, meter, session, (good, bad) = await slow(
                lambda late=lateness: late.pop(0) if late else 0, ([3, 0, 3, 1], [3, 9, 2, 1]), rows, (9,)
            )
            assert await session.read(good) == [1]
            assert kinds(await session.read(bad)) == [proto.TIMEOUT]
            answered = 0
            for _ in range(12):
                await asyncio.sleep_ms(pause_ms)
                value = (await session.read(good))[0]
                if isinstance(value, proto.Fault):
                    assert value.kind in (proto.TIMEOUT, proto.FRAME, proto.BUSY), (value.text, late_us, pause_ms)
                else:
                    answered += 1
                    assert value == meter.asked
            assert answered or pause_ms < 1000, (late_us, pause_ms)


async def test_a_meter_that_was_silent_is_asked_for_a_probe_and_then_read_at_once():
    clock, uart, media, session = await bus()
    first, second = plan()
    await session.read(first)
    await asyncio.sleep_ms(2000)
    uart.reply = Meter(7, registers())
    before = clock.us
    assert await session.read(first) == FIRST
    assert [sent[2] for sent in uart.sent[1:]] == [frame(7, 3, b"\x00\x00\x00\x01"), FIRST_REQUEST]
    assert clock.us - before <= 100000
    assert list(session.counts) == [1, 1, 0, 0, 0, 0, 0, 0, 0]


async def test_a_probe_keeps_the_rest_of_the_meter():
    clock, uart, media, session = await bus()
    batch = plan(lim=(80, 1, 60, 500))[0]
    await session.read(batch)
    await asyncio.sleep_ms(2000)
    uart.reply = Meter(7, registers())
    assert await session.read(batch) == FIRST
    assert uart.sent[2][0] - uart.sent[1][1] >= 20000 + 7 * uart.char_us + 60000


async def silence(every_ms, minutes):
    """Read a dead meter every so often; return (session, reads as (us, us it took), the us of those that asked it)."""
    clock, uart, media, session = await bus()
    batch = plan()[0]
    reads = []
    while clock.us < minutes * 60000000:
        before = clock.us
        await session.read(batch)
        reads.append((before, clock.us - before))
        await asyncio.sleep_ms(every_ms - clock.us // 1000 % every_ms)
    return session, reads, [start for start, took in reads if took]


async def test_a_dead_meter_is_asked_ever_less_and_at_least_once_a_minute():
    for every_s in (1, 2, 5, 10, 15, 20, 30, 60):
        session, reads, asked = await silence(every_s * 1000, 30)
        gaps = [(b - a + 500000) // 1000000 for a, b in zip(asked, asked[1:])]
        assert sorted(gaps) == gaps, gaps
        assert gaps[:2] == [{1: 3, 2: 4}.get(every_s, every_s)] * 2, gaps  # known as lost after three polls
        assert gaps[-5:] == [{1: 56, 2: 56}.get(every_s, 60)] * 5, gaps
        assert session.counts[proto.TIMEOUT] == len(asked)
        assert session.counts[proto.BUSY] == len(reads) - len(asked)


async def test_a_dead_meter_costs_a_five_second_cycle_50_ms_at_most():
    session, reads, asked = await silence(5000, 60)
    steady = reads[len(reads) // 2 :]
    assert sum([took for _, took in steady]) <= 50000 * len(steady)


async def test_a_meter_that_comes_back_is_found_by_one_probe_whatever_the_silence_was():
    for dead_s in (3, 20, 300):
        clock, uart, media, session = await bus()
        batch = plan()[0]
        values = [None]
        while isinstance(values[0], (proto.Fault, type(None))):
            if clock.us > dead_s * 1000000:
                uart.reply = Meter(7, registers())
            values = await session.read(batch)
            await asyncio.sleep_ms(1000)
        assert values == FIRST and session.silent == 0
        assert clock.us <= (dead_s + max(3, min(dead_s, 60)) + 2) * 1000000, clock.us


async def test_a_meter_that_hears_nothing_but_whole_blocks_is_found_again():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus()
    first, second = plan()
    await session.read(first)
    for refuses in (False, True):  # what it makes of a part: nothing, or an exception
        part = [(20000, frame(7, 0x83, 3))] if refuses else []
        uart.reply = lambda request, part=part: meter(request) if request[5] in (2, 3) else part
        before = clock.us
        while await session.read(first) != FIRST:
            await asyncio.sleep_ms(5000)
            assert clock.us - before < 60000000
        assert await session.read(second) == SECOND
        uart.reply = None
        await session.read(first)
        await asyncio.sleep_ms(1600)


async def test_a_block_that_the_meter_has_not_is_dropped_after_three_refusals_and_the_others_go_on():
    clock, uart, media, session = await bus(Meter(7, {(3, at): word for at, word in enumerate(WORDS[:3])}))
    first, second = plan()
    for kind in (proto.ABSENT, proto.ABSENT, proto.UNSUPPORTED):
        assert await session.read(first) == FIRST
        fault = (await session.read(second))[0]
        assert (fault.kind, fault.code) == (kind, 2)
    assert fault.text == "has no registers 100+2: dropped"
    sent = len(uart.sent)
    assert kinds(await session.read(second)) == [proto.ABSENT] and await session.read(first) == FIRST
    assert list(session.counts) == [4, 0, 0, 0, 0, 2, 0, 1, 0]
    assert uart.sent[-1][2] == FIRST_REQUEST and len(uart.sent) == sent + 1


async def test_refusals_count_in_a_row_and_for_one_meter_only():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus(lambda request: meter(request) + other(request))
    other = Meter(8, {})
    neighbour = await modbus.session(media, {"address": 8}, {})
    second = plan()[1]
    word = meter.registers.pop((3, 100))
    for present in (False, False, True, False, False, True):
        if present:
            meter.registers[(3, 100)] = word
        else:
            meter.registers.pop((3, 100), None)
        await session.read(second)
        await neighbour.read(second)
    assert session.counts[proto.UNSUPPORTED] == 0 and session.counts[proto.ABSENT] == 4
    assert neighbour.counts[proto.UNSUPPORTED] == 1 and other.asked == 3


async def test_a_dropped_block_is_asked_again_when_the_meter_was_silent():
    meter = Meter(7, {(3, at): word for at, word in enumerate(WORDS[:3])})
    clock, uart, media, session = await bus(meter)
    first, second = plan()
    for _ in range(3):
        await session.read(second)
    uart.reply = None
    await session.read(first)
    await asyncio.sleep_ms(2000)
    uart.reply = Meter(7, registers())  # another one stands there now
    assert await session.read(first) == FIRST and await session.read(second) == SECOND


async def test_other_exceptions_drop_nothing():
    clock, uart, media, session = await bus(says(20000, frame(7, 0x83, 6)))
    for _ in range(9):
        await session.read(plan()[0])
    assert session.counts[proto.REFUSED] == 9 == len(uart.sent)


async def test_a_value_out_of_range_is_counted_beside_the_read():
    clock, uart, media, session = await bus(Meter(7, {(3, 0): 0xFFFF, (3, 1): 0xFFFF, (3, 2): 0xFFFF, (3, 3): 0xFFFF}))
    batch = plan(([3, 0, 4, 1],), rows=[["1.8.0", 0, 0, "u64", 0, "kWh"], ["32.7.0", 0, 0, "u16", -3, "V"]])[0]
    assert kinds(await session.read(batch)) == [proto.RANGE, 65535]
    assert list(session.counts) == [1, 0, 0, 0, 0, 0, 1, 0, 0]


async def test_a_foreign_frame_before_the_reply_costs_no_poll():
    late = frame(9, 3, 200, bytes(200))
    meter = Meter(7, registers())
    clock, uart, media, session = await bus(says(3000, late, 300000, meter.answer(FIRST_REQUEST)))
    assert await session.read(plan()[0]) == FIRST


async def test_more_noise_than_the_buffer_holds_before_the_reply_costs_no_poll():
    meter = Meter(7, registers())
    for noise in (270, 288, 300, 400):
        clock, uart, media, session = await bus(says(3000, bytes(noise), 480000, meter.answer(FIRST_REQUEST)))
        assert await session.read(plan()[0]) == FIRST, noise


async def test_a_line_that_is_never_quiet_is_not_spoken_into():
    clock, uart, media, session = await bus(Meter(7, registers()))
    uart.arrive(0, bytes(1000))
    await asyncio.sleep_ms(20)
    before = clock.us
    assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2
    assert not uart.sent and clock.us - before <= 310 * uart.char_us
    await asyncio.sleep_ms(1000)
    assert await session.read(plan()[0]) == FIRST and uart.early == 0


async def test_a_silent_bus_does_not_delay_the_other():
    """Two lines in one program: a round on one takes as long beside a dead line as alone."""
    first, second = plan()

    async def polls(session, times):
        for _ in range(times):
            await session.read(first)
            await session.read(second)

    took = []
    for alone in (True, False):
        clock, uart, media, session = await bus(Meter(7, registers()))
        dead = RS485(fake_uart.UART(clock), 9600)
        tasks = [asyncio.create_task(polls(session, 20))]
        if not alone:
            for unit in range(1, 6):
                tasks.append(asyncio.create_task(polls(await modbus.session(dead, {"address": unit}, {}), 3)))
        before = clock.us
        await tasks[0]
        took.append(clock.us - before)
        for task in tasks[1:]:
            await task
        assert session.counts[proto.OK] == 40
    assert took[1] - took[0] <= 40 * 1000, took  # the grain of the loop


async def test_a_late_reply_of_another_length_is_passed_over():
    meter = Meter(7, registers())
    late = meter.answer(FIRST_REQUEST)
    clock, uart, media, session = await bus(lambda request: [(3000, late), (30000, meter.answer(request))])
    assert await session.read(plan()[1]) == SECOND


async def test_two_meters_share_the_bus_and_a_silent_one_does_not_stop_the_other():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus(meter)
    silent = await modbus.session(media, {"address": 9}, {})
    first, second = plan()
    results = []

    async def poll(who, batch):
        results.append(kinds(await who.read(batch)))

    jobs = (silent, first), (session, first), (silent, second), (session, second)
    for task in [asyncio.create_task(poll(*job)) for job in jobs]:
        await task
    assert sorted(results, key=str) == sorted([[proto.TIMEOUT] * 2, FIRST, [proto.BUSY], SECOND], key=str)
    assert uart.early == 0


async def test_a_meter_rests_and_the_others_need_not_wait_for_it():
    meters = Meter(7, registers()), Meter(8, registers())
    clock, uart, media, session = await bus(lambda request: meters[0](request) + meters[1](request))
    other = await modbus.session(media, {"address": 8}, {})
    batch = plan(lim=(80, 2, 60, 500))[0]
    await session.read(batch)
    assert await other.read(batch) == FIRST
    assert await session.read(batch) == FIRST
    ends = [end + 20000 + 11 * uart.char_us for _, end, _ in uart.sent]
    starts = [start for start, _, _ in uart.sent]
    assert starts[1] - ends[0] <= 10000  # another meter: only the silence of the line
    assert starts[2] - ends[0] >= 60000
    before = clock.us
    await session.read(batch)
    assert uart.sent[3][0] - before >= 55000


async def test_a_meter_that_needs_600_ms_is_read_when_its_profile_says_so():
    clock, uart, media, session = await bus(Meter(7, registers(), 600000))
    assert await session.read(plan(lim=(64, 1, 20, 700))[0]) == FIRST


async def test_a_reply_that_begins_at_the_last_moment_is_read_to_its_end():
    for delay_us in (490000, 499000):
        clock, uart, media, session = await bus(Meter(7, {(3, at): at for at in range(120)}, delay_us))
        batch = plan(([3, 0, 120, 1],), rows=[["1.8.0", 0, 100, "u16", 0, "Wh"]])[0]
        assert await session.read(batch) == [100000], delay_us


async def test_exceptions_keep_the_number_of_the_wire():
    for code in (1, 2, 3, 4, 6):
        kind = proto.ABSENT if code == 2 else proto.REFUSED
        clock, uart, media, session = await bus(says(20000, frame(7, 0x83, code)))
        before = clock.us
        fault = (await session.read(plan()[0]))[0]
        assert (fault.kind, fault.code, fault.text) == (kind, code, "exception %d" % code)
        assert clock.us - before <= (3.5 + 8 + 5) * uart.char_us + 20000 + 10000
        assert session.counts[kind] == 1
        assert kinds(await session.read(plan()[0])) == [kind] * 2  # it answered: no quarantine


async def test_stray_bytes_before_a_reply_are_passed_over():
    meter = Meter(7, registers())
    for stray in (b"\x00", b"\xff\x00", b"\x07", b"\x07\x03", b"\x07\x03\x06", b"\x00" * 20):
        clock, uart, media, session = await bus(says(500, stray, 30000, meter.answer(FIRST_REQUEST)))
        assert await session.read(plan()[0]) == FIRST, stray
        assert clock.us <= uart.sent[0][1] + 30000 + 11 * uart.char_us + 25000


async def test_bytes_from_before_the_request_are_thrown_away():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus(meter)
    uart.arrive(0, frame(7, 3, 6, b"\x00" * 6))  # a reply to nobody, well formed
    await asyncio.sleep_ms(30)
    assert await session.read(plan()[0]) == FIRST and media.stats[2] == 11


async def test_the_own_request_read_back_is_no_reply():
    for told in (True, False):
        clock, uart, media, session = await bus(Meter(7, registers()), echo=told)
        uart._echo = True
        assert await session.read(plan()[0]) == FIRST
        uart.reply = None
        assert kinds(await session.read(plan()[0])) == [proto.TIMEOUT if told else proto.FRAME] * 2


async def test_the_reply_of_another_unit_is_not_taken():
    other = Meter(8, registers())
    clock, uart, media, session = await bus(lambda request: [(20000, other.answer(frame(8, request[1:6])))])
    assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2


async def test_a_reply_with_another_function_is_not_taken():
    clock, uart, media, session = await bus(says(20000, frame(7, 4, 6, bytes(6))))
    assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2


async def test_a_reply_of_another_length_is_not_taken():
    for data in (b"", bytes(4), bytes(8), bytes(40)):
        clock, uart, media, session = await bus(says(20000, frame(7, 3, len(data), data)))
        assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2, data


async def test_a_damaged_reply_does_not_cost_the_time_out():
    meter = Meter(7, registers())
    broken = bytearray(meter.answer(FIRST_REQUEST))
    broken[5] ^= 4
    clock, uart, media, session = await bus(says(20000, bytes(broken)))
    before = clock.us
    assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2
    assert clock.us - before <= 20000 + (3.5 + 8 + 11) * uart.char_us + 35000
    uart.reply = meter
    assert await session.read(plan()[1]) == SECOND  # it answered, if badly: no quarantine


async def test_a_cut_reply_puts_the_meter_in_quarantine():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus(says(20000, meter.answer(FIRST_REQUEST)[:6]))
    assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2
    assert kinds(await session.read(plan()[1])) == [proto.BUSY]


async def test_a_babbling_line_ends_in_a_fault_and_in_time():
    clock, uart, media, session = await bus(says(1000, bytes(2000)))
    before = clock.us
    assert kinds(await session.read(plan()[0])) == [proto.FRAME] * 2
    assert clock.us - before <= 1000000
    await asyncio.sleep_ms(1500)
    before = clock.us
    uart.reply = None
    assert kinds(await session.read(plan()[0]))[0] in (proto.FRAME, proto.TIMEOUT)
    assert clock.us - before <= 1500000


async def test_a_line_that_fails_is_a_time_out_and_the_bus_stays_usable():
    meter = Meter(7, registers())
    clock, uart, media, session = await bus(meter)
    uart.fail = OSError(5)
    fault = (await session.read(plan()[0]))[0]
    assert fault.kind == proto.TIMEOUT and fault.code == 5 and "line" in fault.text
    assert not media.lock.locked()
    await asyncio.sleep_ms(1600)
    assert await session.read(plan()[0]) == FIRST


async def test_a_cancelled_read_frees_the_bus_and_its_reply_is_not_taken():
    meter = Meter(7, registers(), 100000)
    clock, uart, media, session = await bus(meter)
    task = asyncio.create_task(session.read(plan()[0]))
    await asyncio.sleep_ms(50)
    assert media.lock.locked()
    task.cancel()
    await asyncio.sleep_ms(1)
    assert not media.lock.locked()
    assert kinds(await session.read(plan()[1])) == [proto.BUSY]


async def test_what_is_not_there_is_unsupported():
    clock, uart, media, session = await bus()
    for call in (session.act("relay", True), session.act("valve", True), session.clock()):
        try:
            await call
        except proto.Fault as fault:
            assert fault.kind == proto.UNSUPPORTED
            continue
        raise AssertionError("no Fault")
    await session.close()
    assert not uart.sent


async def test_with_a_driver_pin_the_same_is_read():
    for grain in (1, 10):
        clock = fake_uart.Clock(rs485, modbus, grain=grain)
        uart = fake_uart.UART(clock, reply=Meter(7, registers(), 5000))
        pin = fake_uart.Pin(clock)
        session = await modbus.session(RS485(uart, 9600, de=pin), {"address": 7}, {})
        assert await session.read(plan()[0]) == FIRST and uart.early == 0
        assert [level for _, level in pin.edges] == [1, 0]


async def test_ticks_that_wrap_in_mid_read_do_no_harm():
    wrap = fake_uart.PERIOD
    for start in (wrap - 20000, wrap * 1000 - 20000, wrap * 1000 + wrap - 300000):
        clock = fake_uart.Clock(rs485, modbus, start_us=start)
        uart = fake_uart.UART(clock, reply=Meter(7, registers()))
        session = await modbus.session(RS485(uart, 9600), {"address": 7}, {})
        for _ in range(20):
            assert await session.read(plan()[0]) == FIRST
        assert uart.early == 0


async def test_no_damaged_reply_is_ever_a_value():
    """Thousands of replies, each damaged in one of many ways: the values, or a Fault, and nothing else."""
    random.seed(5)
    meter = Meter(7, registers())
    others = Meter(8, {(3, at): 0x700 + at for at in range(200)})
    clock, uart, media, session = await bus()
    batches = plan()
    seen = [0, 0]

    def rand(n):
        return bytes([random.getrandbits(8) for _ in range(random.randrange(1, n))])

    def damage(request):
        good = meter.answer(request)
        wrong = frame(7, 3, 6, b"\x01" * 6) if request[5] == 2 else frame(7, 3, 4, b"\x01" * 4)
        way = random.randrange(12)
        data = bytearray(good)
        if way == 0:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        elif way == 1:
            data[random.randrange(len(data))] = random.getrandbits(8)
        elif way == 2:
            data = data[: random.randrange(len(data))]
        elif way == 3:
            data = bytearray(rand(12)) + data
        elif way == 4:
            at = random.randrange(len(data))
            data = data[:at] + rand(4) + data[at:]
        elif way == 5:
            at = random.randrange(len(data))
            data = data[:at] + data[at + 1 :]
        elif way == 6:
            data = bytearray(rand(60))
        elif way == 7:
            data = bytearray(others.answer(frame(8, request[1:6]))) + data
        elif way == 8:
            data = bytearray(wrong) + data
        elif way == 9:
            data = bytearray(wrong)
        elif way == 10:
            return [(random.randrange(700000), bytes(data))]
        else:
            return [(2000, rand(20)), (30000, bytes(data))]
        return [(20000, bytes(data))]

    uart.reply = damage
    # silence for a buffer's time at most, the request, the time-out, the longest reply, what a loop may be late
    most_us = (288 + 8 + 11) * uart.char_us + 500000 + 60000
    for i in range(3000):
        before = clock.us
        values = await session.read(batches[i & 1])
        assert clock.us - before <= 2 * most_us, clock.us - before  # a probe, and the block
        if isinstance(values[0], proto.Fault):
            seen[1] += 1
            assert len(values) == batches[i & 1].size and 0 < values[0].kind < len(proto.NAMES)
        else:
            seen[0] += 1
            assert values == (SECOND if i & 1 else FIRST), values
        assert not media.lock.locked()
        await asyncio.sleep_ms(random.choice((0, 1600, 60000, 60000)))
    assert min(seen) > 500 and sum(session.counts) == 3000 and uart.early == 0, (seen, session.counts, uart.early)
