"""gateway/timesync: servers in turn, a better time is taken, a step is an event."""
import asyncio
import time

from gateway import clock, timesync
from gateway.clock import Clock
from gateway.timesync import TimeSync
from lib import ntp

T0 = 1782138600000
wait = asyncio.sleep_ms


async def quick(ms):
    await wait(0)


asyncio.sleep_ms = quick


class Rtc:
    def datetime(self, fields=None):
        return (2000, 1, 1, 5, 0, 0, 5, 0)


class Nvs:
    def get_i32(self, key):
        raise OSError(-4354)

    def set_i32(self, key, value):
        pass

    def commit(self):
        pass


class Recorder:
    def __init__(self):
        self.events = []

    def event(self, slot, code, severity, state, detail):
        self.events.append((slot, code, detail))


class Life:
    beats = 0

    def beat(self):
        self.beats += 1


async def run(answers, servers=("a", "b")):
    """Let a TimeSync ask until `answers` are used up; return (clock, events, asked, beats)."""
    asked = []

    async def query(host):
        asked.append(host)
        if not answers:
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer + (time.ticks_ms(),)

    timesync.ntp.query = query
    now, recorder, life = Clock(Rtc(), Nvs()), Recorder(), Life()
    task = asyncio.create_task(TimeSync(servers, now, recorder).run(life))
    while answers or len(asked) < 2:
        await wait(1)
    await wait(50)
    task.cancel()
    return now, recorder.events, asked, life.beats


async def test_the_first_time_is_taken_and_is_an_event():
    now, events, _, _ = await run([(T0, 12)])
    assert now.source == clock.NTP and abs(now.now()[0] - T0) < 1000 and now.now()[1] == 12
    assert events == [(0, "clock_set", {"source": "ntp", "stepMs": 0})]


async def test_servers_are_asked_in_turn_until_one_answers():
    now, _, asked, beats = await run([OSError(-2), ntp.NtpError("no answer"), (T0, 12)])
    assert asked[:3] == ["a", "b", "a"] and now.source == clock.NTP and beats > 30


async def test_a_time_that_cannot_be_is_refused():
    now, events, _, _ = await run([(946684800000, 5), (T0, 12)])
    assert abs(now.now()[0] - T0) < 1000 and len(events) == 1


async def test_a_small_correction_is_no_event_and_a_step_is():
    now, events, _, _ = await run([(T0, 12), (T0 + 300, 5), (T0 + 60000, 5)])
    assert len(events) == 2 and 58000 < events[1][2]["stepMs"] < 60000
    assert abs(now.now()[0] - T0 - 60000) < 1000


async def test_a_worse_time_does_not_replace_a_better_one():
    now, _, _, _ = await run([(T0, 10), (T0 + 5000, 400)])
    assert abs(now.now()[0] - T0) < 2000 and now.now()[1] < 100
