"""gateway/again: a span of time is found by few reads, and sent whole, however the connection goes."""
import asyncio
import json

from fake_nor import Nor
from gateway import again, clock
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.replay import Dating, Replay
from lib.journal import Journal
from lib.mqtt import Stale

HEAP = {
    "test_a_span_deep_in_a_full_ring_takes_few_reads": "16M",
    "test_each_record_of_a_span_is_sent_wherever_it_lies": "32M",
}
T0 = 1782138600000
METERS = 10


class Names:
    def columns(self, number):
        return "\n1.8.0 kWh -3"

    def serial(self, slot):
        return "SN-%d" % slot


class Life:
    def beat(self):
        pass


class Client:
    """Its connection breaks after `breaks` messages; what was on the way is then lost."""

    connected, generation, breaks = True, 1, 1 << 29
    pending = 0

    def __init__(self):
        self.bodies = []

    async def publish(self, topic, payload, generation=None):
        if len(self.bodies) >= self.breaks:
            self.breaks = 1 << 29
            raise Stale
        body = json.loads(bytes(payload))
        assert body["again"]
        self.bodies.append((body["seq"], body["ts"]))


class Pole:
    """Ten meters a minute; `shift` {minute: ms that the clock is off from then on}, a reboot at each of `boots`."""

    def __init__(self, minutes, shift=None, boots=(), blocks=20):
        self.flash = Nor(blocks)
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.uptime, self.off, self.source = 0, 0, clock.NTP
        clock.uptime_ms = lambda: self.uptime
        self.recorder = Recorder(self.journal, 1, self)
        for minute in range(minutes):
            self.off = (shift or {}).get(minute, self.off)
            if minute in boots:
                self.journal = Journal(self.flash)
                self.journal.mount()
                self.recorder = Recorder(self.journal, self.recorder.boot + 1, self)
            self.uptime += 60000
            for slot in range(METERS):
                self.recorder.reading(self.uptime + slot * 100, slot + 1, 1, [minute])
            self.recorder.commit()
        self.northbound = Northbound("f", "g", Names(), {}, 0, 1)
        self.dating = Dating(self.journal, self, self.recorder.boot)
        self.acked = self.journal.next
        self.client = Client()

    def at(self, uptime):
        return T0 + uptime + self.off, 10

    def now(self):
        return self.at(self.uptime)

    async def walk(self, first, begin, end):
        replay, found = Replay(self.journal, Names(), self.dating, first), []
        while await replay.next():
            if begin <= replay.unix_ms <= end:
                found.append(replay.ordinal)
        return found

    def ask(self, begin, end):
        """Ask for the minutes from `begin` to `end`; return the `seq` of the messages, in their order."""
        self.asked = T0 + begin * 60000, T0 + end * 60000
        self.client.bodies.clear()
        before = self.flash.reads
        while self.asked:
            try:
                asyncio.run(again.send(self, 1, Life()))
            except Stale:
                pass
        self.reads = self.flash.reads - before
        return [seq for seq, _ in self.client.bodies]


def test_a_span_deep_in_a_full_ring_takes_few_reads():
    pole = Pole(5000, blocks=72)
    assert pole.journal.first > 0, "the ring has gone round"
    got = pole.ask(3000, 3002)
    assert len(got) == 2 * METERS + 1, len(got)  # both ends are included: the first meter answers on the minute
    blocks = pole.journal.head + 1 - pole.journal.tail
    assert pole.reads < 5 * 130 < blocks * 130 // 10, (pole.reads, blocks)


def test_each_record_of_a_span_is_sent_wherever_it_lies():
    hour = 3600000
    for boots in ((), (900, 950, 1200, 1250)):
        pole = Pole(1500, {900: -hour // 6, 950: 0, 1200: hour, 1250: 0}, boots, 24)
        first = pole.journal.first
        assert 0 < first < 900 * METERS
        for begin, end in ((-9, 400), (890, 900), (880, 1100), (940, 960), (1230, 1240), (1245, 1315), (1499, 1510)):
            got = pole.ask(begin, end)
            whole = asyncio.run(pole.walk(first, T0 + begin * 60000, T0 + end * 60000))
            assert got == whole, (begin, end, len(got), len(whole))


def test_a_span_whose_connection_breaks_is_sent_whole_over_the_next():
    pole = Pole(60)
    whole = pole.ask(10, 30)
    pole.client.breaks = 50
    assert pole.ask(10, 30)[50:] == whole and len(whole) > 100


def test_a_span_has_been_sent_only_when_it_has_arrived():
    pole = Pole(60)
    pole.client.pending = 3
    pole.asked = asked = T0, T0 + 600000

    async def run():
        task = asyncio.create_task(again.send(pole, 1, Life()))
        await asyncio.sleep_ms(20)
        pole.client.connected = False
        try:
            await task
        except Stale:
            return True

    assert asyncio.run(run()) and pole.asked == asked


def test_what_fails_is_not_tried_for_ever():
    pole = Pole(60)

    async def fails(topic, payload, generation=None):
        raise MemoryError

    pole.client.publish = fails
    pole.asked = T0, T0 + 600000
    try:
        asyncio.run(again.send(pole, 1, Life()))
        raise AssertionError("it should fail")
    except MemoryError:
        assert pole.asked is None


def test_who_asks_meanwhile_is_served_next():
    pole = Pole(60)
    publish = pole.client.publish

    async def asks(topic, payload, generation=None):
        await publish(topic, payload, generation=generation)
        if len(pole.client.bodies) == 5:
            pole.asked = T0 + 40 * 60000, T0 + 40 * 60000

    pole.client.publish = asks
    pole.ask(10, 12)
    assert pole.client.bodies[-1][1] == clock.civil.iso(T0 + 40 * 60000, True)
