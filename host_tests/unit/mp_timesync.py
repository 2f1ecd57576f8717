"""gateway/timesync: what most servers agree on is taken, what cannot be is asked again, a step is an event."""
import asyncio
import time

from fake_nvs import Nvs
from gateway import clock, timesync
from gateway.clock import Clock
from gateway.timesync import TimeSync, agreed
from lib import ntp

T0 = 1782138600000
wait = asyncio.sleep_ms


async def quick(ms):
    await wait(0)


asyncio.sleep_ms = quick


class Rtc:
    def datetime(self, fields=None):
        return (2000, 1, 1, 5, 0, 0, 5, 0)


class Recorder:
    def __init__(self):
        self.events = []

    def event(self, slot, code, severity, state, detail):
        self.events.append((slot, code, detail))


class Life:
    beats = 0

    def beat(self):
        self.beats += 1


async def run(rounds, nvs=None):
    """Let a TimeSync ask until `rounds` are used up, each the servers' answers; return (clock, events, beats)."""
    servers = ["s%d" % i for i in range(len(rounds[0]))]
    answers = [answer for one in rounds for answer in one]

    async def query(host):
        if not answers:
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer + (time.ticks_ms(),)

    timesync.ntp.query = query
    now, recorder, life = Clock([(Rtc(), 50, 20)], nvs or Nvs()), Recorder(), Life()
    task = asyncio.create_task(TimeSync(servers, now, recorder).run(life))
    while answers:
        await wait(1)
    await wait(50)
    task.cancel()
    return now, recorder.events, life.beats


def told(now):
    return now.now()[0]


async def test_the_first_time_is_taken_and_is_an_event():
    now, events, _ = await run([[(T0, 12)]])
    assert now.source == clock.NTP and abs(told(now) - T0) < 1000 and now.now()[1] == 12
    assert events == [(0, "clock_set", {"source": "ntp", "stepMs": 0})]


async def test_a_server_that_does_not_answer_costs_nothing_but_time():
    now, _, beats = await run([[OSError(-2), ntp.NtpError("no answer")], [(T0, 12), OSError(-2)]])
    assert now.source == clock.NTP and beats > 30


async def test_a_time_that_cannot_be_is_refused():
    now, events, _ = await run([[(946684800000, 5)], [(946684800000, 5)], [(946684800000, 5)], [(T0, 12)]])
    assert abs(told(now) - T0) < 1000 and len(events) == 1


async def test_a_small_correction_is_no_event_and_a_step_is():
    now, events, _ = await run([[(T0, 200)], [(T0 + 300, 5)]])
    assert len(events) == 1 and now.source == clock.NTP
    now, events, _ = await run([[(T0, 70000)], [(T0 + 60000, 5)]])
    assert len(events) == 2 and 58000 < events[1][2]["stepMs"] < 60001
    assert abs(told(now) - T0 - 60000) < 1000


async def test_a_worse_time_does_not_replace_a_better_one():
    now, _, _ = await run([[(T0, 10)], [(T0 + 100, 400)]])
    assert now.now()[1] < 100


async def test_one_server_that_contradicts_the_clock_has_to_insist():
    lie = (T0 + 86400000, 5)
    now, events, _ = await run([[(T0, 10)], [lie], [lie], [(T0 + 2, 10)], [lie], [lie]])
    assert abs(told(now) - T0) < 1000 and len(events) == 1
    now, events, _ = await run([[(T0, 10)], [lie], [lie], [lie]])
    assert abs(told(now) - lie[0]) < 1000 and len(events) == 2


async def test_two_servers_that_agree_are_believed_at_once():
    right = (T0 + 86400000, 5)
    now, _, _ = await run([[(T0, 10), (T0 + 3, 10)], [right, right]])
    assert abs(told(now) - right[0]) < 1000


async def test_a_time_before_the_last_one_that_was_written_down_is_doubted():
    nvs = Nvs()
    nvs.set_i32("clk_set", T0 // 1000 - clock.EPOCH)
    nvs.commit()
    now, _, _ = await run([[(T0 - 86400000, 5)], [(T0 - 86400000, 5)]], nvs)
    assert now.now() is None
    now, _, _ = await run([[(T0 + 86400000, 5)]], nvs)
    assert now.source == clock.NTP


async def test_servers_that_disagree_set_nothing():
    now, events, _ = await run([[(T0, 10), (T0 + 60000, 10)]])
    assert now.now() is None and events == []


def test_what_most_agree_on_is_what_lies_within_their_intervals():
    assert agreed([(1000, 50)]) == (1000, 50, 1)
    assert agreed([(1000, 50), (1060, 30)]) == (1040, 10, 2)
    assert agreed([(1000, 50), (90000, 5), (1020, 10)]) == (1020, 10, 2)
    assert agreed([(90000, 5), (1000, 50), (1060, 30), (1050, 100)]) == (1040, 10, 3)
    for apart in ([(0, 5), (100, 5)], [(0, 5), (100, 5), (200, 5)]):
        try:
            agreed(apart)
        except ValueError:
            continue
        raise AssertionError(apart)
