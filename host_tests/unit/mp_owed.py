"""An outlet that is away does not stop the others, and gets all that it lacks when it is back."""
import asyncio

from fake_mesh import COLUMNS, Clock, Site
from fake_nor import Nor
from gateway import clock
from gateway.batches import AGAIN, Reader
from gateway.recorder import Recorder
from gateway.records import Names
from gateway.replay import Dating
from gateway.resend import Resend
from lib.journal import Journal

TIMEOUT = {
    "test_an_outlet_that_is_away_is_not_waited_for_and_gets_what_it_lacks": 240,
    "test_an_outlet_that_was_away_gets_everything_though_root_and_pole_lose_their_power": 240,
    "test_while_nobody_is_there_nothing_is_confirmed": 240,
}
HEAP = {
    "test_what_is_sent_again_is_marked_each_64_batches_and_at_the_end": "4M",
    "test_an_outlet_that_is_away_is_not_waited_for_and_gets_what_it_lacks": "4M",
    "test_an_outlet_that_was_away_gets_everything_though_root_and_pole_lose_their_power": "4M",
    "test_while_nobody_is_there_nothing_is_confirmed": "4M",
}


def there(site, number):
    client = site.client(number)
    return all(set(pole.seqs()) <= set(client.seqs(pole.name)) for pole in site.poles)


def away(site, number):
    site.client(number).lose()
    site.root.bridge.couriers[number]._seen = clock.uptime_ms() - 601000


def looks(site):
    """What happens each ten seconds."""
    site.root.bridge.look(clock.uptime_ms())


async def test_an_outlet_that_is_away_is_not_waited_for_and_gets_what_it_lacks():
    site = Site(outlets=("operator", "owner"))
    pole = site.poles[0]
    pole.read(3)
    await site.until(lambda: there(site, 0) and there(site, 1) and pole.bridge.place == 3)
    away(site, 1)
    pole.read(20)
    await site.until(lambda: there(site, 0) and pole.bridge.place == 23)
    owed = site.root.bridge.owed
    assert owed.places == {"owner": {"1": [4661, 3]}}
    before = len(site.client(0).got)
    site.client(1).back()
    await asyncio.sleep_ms(50)
    looks(site)
    await site.until(lambda: there(site, 1) and owed.places == {"owner": {}})
    assert len(site.client(0).got) == before, "who was there hears nothing of it"
    pole.read(2)
    await site.until(lambda: there(site, 0) and there(site, 1) and pole.bridge.place == 25)
    site.end()


async def test_an_outlet_that_was_away_gets_everything_though_root_and_pole_lose_their_power():
    site = Site(poles=2, outlets=("operator", "owner"))
    await site.until(lambda: len(site.client(0).kept) >= 5)
    away(site, 1)
    await asyncio.sleep_ms(50)
    for pole in site.poles:
        pole.read(40, [123456789] * 2)
    await site.until(lambda: there(site, 0) and all(pole.bridge.place == 40 for pole in site.poles))
    site.client(1).back()
    await asyncio.sleep_ms(50)
    looks(site)
    await site.until(lambda: len(site.client(1).got) > 10)
    site.root.kill()
    site.root.start()
    assert sorted(site.root.bridge.owed.places["owner"]) == ["1", "2"], "it is on flash"
    await site.until(lambda: all(member.gateway for member in site.root.bridge.members.all.values()))
    looks(site)
    await asyncio.sleep_ms(1500)
    site.poles[0].kill()
    site.poles[0].start()
    for member in site.root.bridge.members.all.values():
        member.again_at -= 600000
    for _ in range(60):
        await asyncio.sleep_ms(2000)
        for member in site.root.bridge.members.all.values():
            if member.again is not None and clock.uptime_ms() - member.again_at > 45000:
                member.again_at -= 600000
        looks(site)
        if there(site, 1) and site.root.bridge.owed.places == {"owner": {}}:
            break
    assert there(site, 1) and site.root.bridge.owed.places == {"owner": {}}
    site.end()


class Pole:
    def __init__(self, place):
        self.place, self.again, self.said = place, [], []

    def cut(self, kind, data):
        assert kind == AGAIN
        self.said.append(bytes(data))


async def test_what_is_sent_again_is_marked_each_64_batches_and_at_the_end():
    journal = Journal(Nor(64))
    journal.mount()
    now = Clock(True)
    recorder = Recorder(journal, 1, now)
    for turn in range(1500):
        recorder.reading(turn * 100, 1, 1, [turn << 30, -turn << 30])
    recorder.commit()
    names = Names(["SN-1"], {1: COLUMNS})
    pole = Pole(1490)
    resend = Resend(pole, journal, names, Dating(journal, now, 1), 4661, 205, 7, b"ab")
    pole.again.append(1)
    assert not await resend.step() and pole.said == [], "one at a time"
    pole.again.clear()
    while not await resend.step():
        pass
    marks = [(i, one) for i, one in enumerate(pole.said) if len(one) == 9]
    reader, found = Reader(None), []
    for one in pole.said:
        if len(one) > 9:
            reader.start(memoryview(one), names)
            while reader.next():
                found.append(reader.ordinal)
        elif one is not pole.said[-1]:
            assert one == (4661).to_bytes(2, "big") + (found[-1] + 1).to_bytes(4, "big") + b"\0ab"
    assert found == list(range(7, 1490))
    assert len(marks) > 1 and marks[0][0] == 64 and marks[1][0] in (129, len(pole.said) - 1)
    assert pole.said[-1] == (4661).to_bytes(2, "big") + (1490).to_bytes(4, "big") + b"\1ab"


async def test_while_nobody_is_there_nothing_is_confirmed():
    site = Site(outlets=("operator", "owner"))
    pole = site.poles[0]
    pole.read(1)
    await site.until(lambda: there(site, 0) and there(site, 1) and pole.bridge.place == 1)
    away(site, 0)
    await asyncio.sleep_ms(50)
    away(site, 1)
    await asyncio.sleep_ms(50)
    pole.read(3)
    await asyncio.sleep_ms(4000)
    assert pole.bridge.place == 1
    assert [courier.away for courier in site.root.bridge.couriers] == [True, False], "the last one is waited for"
    site.client(1).back()
    await site.until(lambda: there(site, 1) and pole.bridge.place == 4)
    site.end()
