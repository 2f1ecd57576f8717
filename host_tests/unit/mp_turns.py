"""gateway/turns: outlets that take turns, with connections that a test lets end."""
import asyncio

from gateway import clock, turns
from gateway.turns import Turns

now = [0]
turns.clock.uptime_ms = lambda: now[0]
turns.TICK_MS = 1


class Life:
    def beat(self):
        pass


class Client:
    def __init__(self):
        self.state = "off"
        self.closed = False
        self.runs = 0

    async def run(self, beat):
        self.runs += 1
        self.state = "connected"
        while not self.closed:
            await asyncio.sleep_ms(1)
        self.state = "off"

    async def close(self):
        self.closed = True


class Outlet:
    def __init__(self, behind):
        self.client = Client()
        self.behind = behind


async def pair(size, *behind):
    held = Turns(size)
    outlets = [Outlet(n) for n in behind]
    tasks = [asyncio.create_task(held.link(outlet, Life())) for outlet in outlets]
    await asyncio.sleep_ms(20)
    return outlets, tasks


def states(outlets):
    return [outlet.client.state for outlet in outlets]


async def later(ms):
    now[0] += ms
    await asyncio.sleep_ms(30)


async def test_one_connection_at_a_time():
    outlets, _ = await pair(1, 5, 5, 5)
    assert states(outlets) == ["connected", "off", "off"]


async def test_who_has_more_to_send_keeps_its_turn_for_its_longest_time():
    outlets, _ = await pair(1, 5, 5)
    await later(turns.LEAST_MS)
    assert states(outlets) == ["connected", "off"]
    await later(turns.LONGEST_MS)
    assert states(outlets) == ["off", "connected"]
    await later(turns.LONGEST_MS)
    assert states(outlets) == ["connected", "off"]


async def test_who_has_nothing_more_gives_way_after_its_least_time_to_who_has():
    outlets, _ = await pair(1, 0, 0)
    await later(2 * turns.LONGEST_MS)
    assert states(outlets) == ["connected", "off"], "nobody wants it"
    outlets[1].behind = 1
    await later(1)
    assert states(outlets) == ["off", "connected"]


async def test_a_connection_that_fails_gives_way_at_once():
    outlets, _ = await pair(1, 5, 5)
    outlets[0].client.state = "lost"
    await later(1)
    assert states(outlets)[1] == "connected"


async def test_a_task_that_ends_gives_its_turn_back():
    outlets, tasks = await pair(1, 5, 5)
    tasks[0].cancel()
    await later(1)
    assert states(outlets)[1] == "connected"
    outlets, tasks = await pair(1, 5, 5, 5)
    tasks[1].cancel()
    await later(turns.LONGEST_MS)
    assert states(outlets) == ["off", "off", "connected"]


async def test_as_many_as_there_are_connections():
    outlets, _ = await pair(2, 5, 5, 5)
    assert states(outlets).count("connected") == 2 and clock
