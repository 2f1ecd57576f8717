"""The desktop's `time` behaves as the chip's: ints, tuples of eight, the epoch of 2000 where asked for."""
import json
import os
import sys


def clock(epoch=None, offset_us=None):
    """Return a freshly started `time`."""
    if epoch:
        os.putenv("MESHEMS_EPOCH", epoch)
    if offset_us is not None:
        os.mkdir("flash")
        with open("flash/rtc.json", "w") as file:
            json.dump({"offset_us": offset_us}, file)
    sys.modules.pop("time", None)
    import time

    return time


def test_after_power_on_it_is_the_first_of_january_2000():
    for epoch in (None, "2000"):
        assert clock(epoch).gmtime()[:5] == (2000, 1, 1, 0, 0)


def test_the_epoch_is_2000_where_asked_for():
    time = clock("2000")
    assert time.gmtime(0) == (2000, 1, 1, 0, 0, 0, 5, 1)
    assert time.time() in (0, 1, 2)
    assert 0 <= time.time_ns() < 3000000000


def test_the_epoch_is_1970_where_not():
    time = clock()
    assert time.gmtime(0) == (1970, 1, 1, 0, 0, 0, 3, 1)
    assert time.time() - 946684800 in (0, 1, 2)


def test_seconds_are_ints_and_nanoseconds_have_steps_of_a_microsecond():
    for epoch in (None, "2000"):
        time = clock(epoch)
        assert isinstance(time.time(), int) and isinstance(time.time_ns(), int)
        assert time.time_ns() % 1000 == 0


def test_the_clock_is_the_hosts_plus_the_offset_kept():
    time = clock("2000", 0)
    seconds = 86400 * 365 * 26
    assert time.time() > seconds and time.gmtime()[0] >= 2026
    before = time.time()
    os.remove("flash/rtc.json")
    os.rmdir("flash")
    later = clock("2000", 3600 * 1000000)
    assert later.time() - before in (3600, 3601)


def test_mktime_reverses_gmtime():
    for epoch in (None, "2000"):
        time = clock(epoch)
        for seconds in range(0, 2000000000, 86400 * 29 + 12345):
            date = time.gmtime(seconds)
            assert len(date) == 8 and time.mktime(date) == time.mktime(date + (0,)) == seconds, seconds


def test_mktime_carries_fields_beyond_their_range():
    time = clock()
    assert time.gmtime(time.mktime((2024, 14, 31, 23, 59, 61, 0, 0)))[:6] == (2025, 3, 4, 0, 0, 1)
    assert time.gmtime(time.mktime((2024, 2, 29, 0, 0, 0, 0, 0)))[6:] == (3, 60)


def test_mktime_refuses_what_is_not_a_date():
    try:
        clock().mktime((2024, 1, 1))
    except TypeError as error:
        assert str(error) == "mktime needs a tuple of length 8 or 9"
    else:
        raise AssertionError


def test_what_the_chip_has_not_is_not_there():
    assert not hasattr(clock(), "clock")


def test_setting_the_rtc_moves_the_time_of_day_and_no_ticks():
    time = clock("2000")
    import machine

    before, ticks = time.time(), time.ticks_ms()
    machine.RTC().datetime((2026, 11, 3, 0, 12, 30, 15, 250000))
    assert time.gmtime()[:6] == (2026, 11, 3, 12, 30, 15)
    assert time.time() - before > 26 * 365 * 86400
    assert 0 <= time.ticks_diff(time.ticks_ms(), ticks) < 1000


async def test_the_frozen_asyncio_runs_on_it():
    import asyncio
    import time

    assert "desktop" in time.__file__
    done = []

    async def wait(ms):
        await asyncio.sleep_ms(ms)
        done.append(ms)

    began = time.ticks_ms()
    await asyncio.gather(wait(60), wait(20), wait(40))
    assert done == [20, 40, 60] and 55 <= time.ticks_diff(time.ticks_ms(), began) < 1000
    try:
        await asyncio.wait_for_ms(wait(5000), 20)
    except asyncio.TimeoutError:
        done.append("late")
    assert done[-1] == "late"
