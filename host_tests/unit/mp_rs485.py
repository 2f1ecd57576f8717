"""lib/media/rs485: bytes in time, silences kept, the driver on only while there is something to say."""

import asyncio

import fake_uart
from lib.media import rs485
from lib.media.rs485 import RS485


def line(baud=9600, fmt="8N1", de=False, echo=False, grain=1, start_us=0, **uart):
    clock = fake_uart.Clock(rs485, start_us=start_us, grain=grain)
    wire = fake_uart.UART(clock, baud, 10 if fmt == "8N1" else 11, **uart)
    pin = fake_uart.Pin(clock) if de else None
    return clock, wire, pin, RS485(wire, baud, fmt, pin, echo)


def test_a_character_has_its_start_data_parity_and_stop_bits():
    for baud, fmt, char_us, gap_us in (
        (9600, "8N1", 1042, 3647), (9600, "8E1", 1146, 4011), (2400, "8N2", 4584, 16044),
        (19200, "8O1", 573, 2006), (38400, "8N1", 261, 1750), (115200, "8E1", 96, 1750),
    ):  # fmt: skip
        made = line(baud, fmt)[3]
        assert (made.char_us, made.gap_us) == (char_us, gap_us), (baud, fmt)


async def test_write_returns_when_the_last_bit_has_left():
    for grain in (1, 10):
        clock, wire, _, made = line(grain=grain)
        await made.write(b"12345678")
        assert wire.sent[-1][1] <= clock.us <= wire.sent[-1][1] + 2000 + 1000 * grain
        assert made.stats[0] == 8


async def test_the_driver_is_on_for_the_frame_and_off_before_a_meter_may_answer():
    for grain in (1, 10):
        for size in (8, 13, 40, 256):
            for phase_us in range(0, 10000, 700):
                clock, wire, pin, made = line(de=True, grain=grain, start_us=phase_us)
                await made.write(bytes(size))
                begin, end, _ = wire.sent[0]
                (on, high), (off, low) = pin.edges
                assert (high, low) == (1, 0) and on <= begin and end <= off <= end + 3.5 * wire.char_us
                assert wire.blocked[0] <= 16000, wire.blocked  # the most that the loop may be held


async def test_the_driver_is_off_after_a_failed_flush():
    clock, wire, pin, made = line(de=True)
    flush = wire.flush
    wire.flush = lambda: (setattr(wire, "fail", OSError(116)), flush())
    try:
        await made.write(bytes(8))
    except OSError as error:
        assert error.errno == 116 and pin.edges[-1][1] == 0
        return
    raise AssertionError("no OSError")


async def test_the_driver_is_off_after_a_cancelled_write():
    clock, wire, pin, made = line(de=True)
    task = asyncio.create_task(made.write(bytes(200)))
    await asyncio.sleep_ms(50)
    assert pin.edges[-1][1] == 1
    task.cancel()
    await asyncio.sleep_ms(0)
    assert pin.edges[-1][1] == 0


async def test_read_returns_within_a_character_or_a_millisecond_after_the_last():
    for baud in (1200, 9600, 115200):
        for delay_us in range(5000, 60000, 1700):
            clock, wire, _, made = line(baud)
            wire.arrive(delay_us, bytes(range(85)))
            view = bytearray(85)
            assert await made.read(memoryview(view), 85, 1000) == 85
            assert view == bytes(range(85))
            complete = delay_us + 85 * wire.char_us
            assert complete <= clock.us <= complete + max(1000, wire.char_us), (baud, delay_us, clock.us - complete)


async def test_read_sleeps_while_the_bytes_cannot_be_there():
    clock, wire, _, made = line()
    wire.arrive(20000, bytes(85))
    assert await made.read(made.buf, 85, 500) == 85
    assert clock.slept <= 4 and wire.reads <= 5


async def test_read_gives_up_in_time_and_says_how_much_came():
    for came in (0, 3):
        clock, wire, _, made = line()
        wire.arrive(1000, bytes(came))
        assert await made.read(made.buf, 85, 500) == came
        assert 499000 <= clock.us <= 502000
        assert made.stats[1] == came


async def test_read_takes_what_it_was_asked_for_and_leaves_the_rest():
    clock, wire, _, made = line()
    wire.arrive(-50000, b"123456789")
    assert await made.read(made.buf, 4, 100) == 4 and bytes(made.buf[:4]) == b"1234"
    assert await made.read(made.buf, 5, 100) == 5 and bytes(made.buf[:5]) == b"56789"
    assert clock.us == 0  # all of it was there


async def test_read_of_what_is_there_needs_no_time():
    clock, wire, _, made = line()
    wire.arrive(-10000, b"12")
    assert await made.read(made.buf, 8, 0) == 2 and clock.us == 0


async def test_drop_waits_for_three_and_a_half_characters_of_silence():
    for baud in (1200, 9600, 115200):
        clock, wire, _, made = line(baud)
        wire.arrive(0, bytes(30))
        await asyncio.sleep_ms(1)
        await made.drop()
        last = 30 * wire.char_us
        assert made.stats[2] == 30
        assert clock.us >= last + made.gap_us and clock.us <= last + 2 * made.gap_us + 4000


async def test_what_was_sent_counts_as_activity():
    for de in (True, False):
        clock, wire, pin, made = line(de=de)
        for _ in range(3):
            await made.drop()
            await made.write(b"12345678")
        assert wire.early == 0


async def test_drop_costs_nothing_on_a_line_that_was_silent():
    clock, wire, _, made = line()
    await asyncio.sleep_ms(100)
    before = clock.us
    await made.drop()
    assert clock.us == before


async def test_drop_gives_up_on_a_line_that_is_never_silent():
    clock, wire, _, made = line()
    wire.arrive(0, bytes(2000))
    await made.drop()
    assert clock.us <= 310 * wire.char_us


async def test_a_line_that_was_silent_for_a_wrap_of_the_ticks_is_silent():
    for idle_ms in (900000, 1073741, 1073742, 1073745):  # around 2^30 us
        clock, wire, _, made = line(start_us=fake_uart.PERIOD - 5000)
        await asyncio.sleep_ms(idle_ms)
        before = clock.us
        await made.drop()
        assert clock.us - before <= made.gap_us + 2000
        await made.write(b"12345678")
        assert wire.early == 0


async def test_times_hold_across_a_wrap_of_the_ticks():
    clock, wire, _, made = line(start_us=fake_uart.PERIOD * 1000 - 30000)  # ticks_ms wraps too
    start = clock.us
    wire.arrive(start + 20000, bytes(40))
    assert await made.read(made.buf, 40, 500) == 40
    assert clock.us - start <= 20000 + 40 * wire.char_us + 2500


async def test_an_echo_is_dropped_and_the_reply_is_not():
    clock, wire, _, made = line(echo=True, reply=lambda frame: [(5000, b"reply")])
    wire._echo = True
    await made.write(b"12345678")
    assert await made.read(made.buf, 5, 100) == 5 and bytes(made.buf[:5]) == b"reply"
    assert made.stats[3] == 0


async def test_an_echo_that_is_not_what_was_sent_is_counted():
    clock, wire, _, made = line(echo=True)
    await made.write(b"12345678")
    assert made.stats[3] == 1 and clock.us <= 35000


async def test_set_gives_the_uart_what_it_needs():
    clock, wire, _, made = line()
    await made.set(2400, "8E1")
    assert wire.settings == {"baudrate": 2400, "bits": 8, "parity": 0, "stop": 1}
    assert made.char_us == 4584 and clock.us >= made.gap_us
    await made.set(9600, "8N2")
    assert wire.settings == {"baudrate": 9600, "bits": 8, "parity": None, "stop": 2}
    await made.set(9600, "8O1")
    assert wire.settings["parity"] == 1
