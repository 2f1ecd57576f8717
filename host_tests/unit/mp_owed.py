"""An outlet that is away does not stop the others, and gets all that it lacks when it is back."""
import asyncio

from fake_mesh import COLUMNS, Clock, Site
from fake_nor import Nor
from gateway import clock
from gateway.batches import AGAIN, RECORDS, Reader, Writer
from gateway.recorder import Recorder
from gateway.records import Names
from gateway.replay import Dating
from gateway.resend import Resend
from lib.journal import Journal

HEAP = {
    "test_what_is_sent_again_is_marked_each_64_batches_and_at_the_end": "4M",
    "test_an_outlet_that_is_away_is_not_waited_for_and_gets_what_it_lacks": "4M",
    "test_an_outlet_that_was_away_gets_everything_though_root_and_pole_lose_their_power": "4M",
    "test_what_came_later_first_does_not_hide_what_an_outlet_lacks_before_it": "4M",
    "test_what_waits_for_another_outlet_when_one_is_back_is_not_forgotten": "4M",
    "test_who_is_not_heard_is_not_asked": "4M",
    "test_a_root_that_has_not_asked_publishes_what_comes_again": "4M",
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


async def test_what_came_later_first_does_not_hide_what_an_outlet_lacks_before_it():
    site = Site(outlets=("operator", "owner"))
    pole, bridge = site.poles[0], site.root.bridge
    pole.read(3)
    await site.until(lambda: there(site, 0) and there(site, 1) and pole.bridge.place == 3)
    away(site, 1)
    await site.until(lambda: site.root.bridge.couriers[1].away)
    received, ahead = bridge.received, []

    def lossy(origin, number, kind, payload):
        """Return False for the third record until a later one is there, as if its frame were lost."""
        if kind == RECORDS:
            first = int.from_bytes(bytes(payload[3:7]), "big")
            if first > 3:
                ahead.append(first)
            elif not ahead:
                return False
        return received(origin, number, kind, payload)

    bridge.received = lossy
    pole.read(1)
    await site.until(lambda: pole.bridge._way)
    pole.read(1)
    await site.until(lambda: pole.bridge.place == 5)
    assert ahead and bridge.owed.places == {"owner": {"1": [4661, 3]}}
    site.client(1).back()
    await asyncio.sleep_ms(50)
    looks(site)
    await site.until(lambda: there(site, 1) and bridge.owed.places == {"owner": {}})
    site.end()


async def test_what_waits_for_another_outlet_when_one_is_back_is_not_forgotten():
    site = Site(outlets=("operator", "owner"))
    pole, owed = site.poles[0], site.root.bridge.owed
    pole.read(3)
    await site.until(lambda: there(site, 0) and there(site, 1) and pole.bridge.place == 3)
    away(site, 1)
    await site.until(lambda: site.root.bridge.couriers[1].away)
    site.client(0).answers = False
    pole.read(2)
    await site.until(lambda: there(site, 0))
    site.client(1).back()
    await asyncio.sleep_ms(50)
    looks(site)
    await site.until(lambda: owed.places == {"owner": {}})
    site.client(0).answers = True
    site.client(0).answer()
    await site.until(lambda: pole.bridge.place == 5)
    assert there(site, 1)
    site.end()


async def test_who_is_not_heard_is_not_asked():
    """A question to a dead pole is a flood through the site every few seconds, and a number written to flash."""
    site = Site(outlets=("operator", "owner"))
    bridge = site.root.bridge
    await site.until(lambda: bridge.members.all.get(1) and bridge.members.all[1].gateway)
    bridge.owed.places["owner"] = {"7": [1, 0], "1": [4661, 0]}
    bridge.members.all[1].heard -= 970000
    looks(site)
    assert bridge.node.orders._orders == []
    bridge.members.all[1].heard = clock.uptime_ms()
    looks(site)
    assert [order.to for order in bridge.node.orders._orders] == [1]
    site.end()


async def test_a_root_that_has_not_asked_publishes_what_comes_again():
    """Another root has asked, and believes that what is acknowledged is at its outlets: the way led there then."""
    site = Site()
    pole, client = site.poles[0], site.client()
    pole.read(3)
    await site.until(lambda: there(site, 0) and pole.bridge.place == 3)
    client.got.clear()
    pole.bridge.command(1, b"\6" + (4661).to_bytes(2, "big") + bytes(6))
    await site.until(lambda: there(site, 0) and not site.root.bridge.queue)
    site.end()


class Routes:
    root = 100


class Node:
    routes = Routes()


class Pole:
    node = Node()

    def __init__(self):
        self.again, self.said = [], []

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
    pole = Pole()
    shared = journal, names, Dating(journal, now, 1), None
    resend = Resend(pole, *shared, Writer(4661, 205), 7, 1490, b"ab")
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
    said = len(pole.said)
    resend = Resend(pole, *shared, Writer(4661, 205), 7, 1490, b"ac")
    assert not await resend.step()
    pole.node.routes.root = 101
    assert await resend.step() and len(pole.said) == said + 1, "another root knows nothing of it: no mark goes there"


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
