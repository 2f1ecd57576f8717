"""gateway/uplink: the cursor moves over the acknowledged prefix only, and each connection starts from it."""
import asyncio
import json

from fake_nor import Nor
from gateway import clock, uplink
from gateway.dating import Dating
from gateway.events import CODES
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import EVENT
from gateway.replay import Replay
from gateway.uplink import Outlet
from lib.journal import Journal
from lib.journal.memory import Memory
from lib.mqtt import Stale

COLUMNS = "\n1.8.0 kWh -3"
uplink.IDLE_MS = 2


class Ids:
    def columns(self, number):
        return COLUMNS

    def serial(self, slot):
        return "SN-%d" % slot


class Clock:
    source = clock.NTP
    sure = True

    def at(self, uptime):
        return 1782138600000 + uptime, 10

    def now(self):
        return self.at(clock.uptime_ms())

    def trusted(self):
        return self.sure


class Client:
    """Takes `room` messages a connection and acknowledges when told."""

    pending = 0

    def __init__(self, *args, ssl=None, limit):
        self.args = args
        self.generation, self.connected, self.state = 0, False, "off"
        self.sent, self.statuses, self.room = [], [], 1000

    def set_last_will(self, topic, message, retain, qos):
        self.will = topic, message, retain, qos

    def connect(self):
        self.generation += 1
        self.connected = True

    async def publish(self, topic, message, retain=False, qos=1, token=None, generation=None):
        if not self.connected or generation != self.generation or len(self.sent) >= self.room:
            raise Stale
        if topic.endswith("/status"):
            self.statuses.append(message)
            assert retain
        else:
            self.sent.append(token)


uplink.MQTTClient = Client


class Life:
    beats = 0

    def beat(self):
        self.beats += 1


class Pole:
    def __init__(self, readings):
        self.flash = Nor(32)
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.clock = Clock()
        self.recorder = Recorder(self.journal, 1, self.clock)
        for i in range(readings):
            self.read(i)
        self.outlet = self.make()
        self.client = self.outlet.client

    def read(self, i):
        self.recorder.reading(i * 1000, 1, 1, [i])
        self.recorder.commit()

    def make(self):
        northbound = Northbound("f", "g", Ids(), {1: 60}, 0, 1)
        config = {"name": "operator", "host": "192.0.2.1", "port": 1883}
        dating = Dating(self.journal, self.clock, 1)
        return Outlet(config, {}, northbound, self.journal, 1, dating, self.clock, 0, self.recorder)

    async def serve(self, ms=40):
        task = asyncio.create_task(self.outlet.run(Life()))
        await asyncio.sleep_ms(ms)
        task.cancel()


async def test_a_new_outlet_begins_at_the_tail():
    pole = Pole(5)
    pole.client.connect()
    await pole.serve()
    assert pole.client.sent == [0, 1, 2, 3, 4]


async def test_a_broken_connection_is_resumed_after_the_acknowledged_prefix():
    pole = Pole(6)
    pole.client.connect()
    await pole.serve()
    for token in (0, 1, 2):
        pole.client.on_ack(token)
    pole.client.sent.clear()
    pole.client.connect()
    await pole.serve()
    assert pole.client.sent == [3, 4, 5]


async def test_a_connection_that_breaks_in_the_middle_loses_no_record():
    pole = Pole(6)
    pole.client.room = 4
    pole.client.connect()
    await pole.serve()
    assert pole.client.sent[:4] == [0, 1, 2, 3]
    pole.client.on_ack(0)
    pole.client.sent.clear()
    pole.client.room = 1000
    pole.client.connect()
    await pole.serve()
    assert pole.client.sent == [1, 2, 3, 4, 5]


async def test_the_cursor_outlives_a_restart_and_was_never_ahead_of_the_acknowledgements():
    pole = Pole(6)
    pole.client.connect()
    await pole.serve()
    assert pole.journal.cursor(1) is None
    pole.client.on_ack(0)
    pole.client.on_ack(1)
    pole.outlet.keep(True)
    pole.journal = Journal(pole.flash)
    pole.journal.mount()
    again = pole.make()
    assert again.acked == 2


async def test_the_cursor_is_written_at_most_every_few_seconds():
    pole = Pole(50)
    written = []
    put = pole.journal.put
    pole.journal.put = lambda cursor, ordinal: (written.append(ordinal), put(cursor, ordinal))
    pole.client.connect()
    for token in range(50):
        pole.client.on_ack(token)
        pole.outlet.keep()
    assert written == []
    pole.outlet.keep(True)
    assert written == [50]


async def test_a_cursor_beyond_the_journal_begins_at_the_tail():
    pole = Pole(3)
    pole.journal.put(1, 9999)
    assert pole.make().acked == pole.journal.first == 0


async def test_what_is_stored_while_connected_goes_out():
    pole = Pole(1)
    pole.client.connect()
    task = asyncio.create_task(pole.outlet.run(Life()))
    await asyncio.sleep_ms(20)
    pole.read(1)
    await asyncio.sleep_ms(20)
    task.cancel()
    assert pole.client.sent == [0, 1]


async def test_the_retained_status_follows_the_clock():
    pole = Pole(0)
    pole.client.connect()
    task = asyncio.create_task(pole.outlet.run(Life()))
    await asyncio.sleep_ms(20)
    pole.clock.sure = False
    await asyncio.sleep_ms(20)
    task.cancel()
    assert ['"clock":"ok"' in text for text in pole.client.statuses] == [True, False]
    assert pole.client.will == ("openami/v1/f/g/status", '{"state":"offline"}', True, 1)


async def test_it_shows_life_with_and_without_a_connection():
    pole = Pole(0)
    life = Life()
    task = asyncio.create_task(pole.outlet.run(life))
    await asyncio.sleep_ms(20)
    without = life.beats
    pole.client.connect()
    await asyncio.sleep_ms(20)
    task.cancel()
    assert without > 3 and life.beats > without + 3


def test_the_prefix_never_goes_back():
    pole = Pole(6)
    for token in (0, 1, 2, 0, 1):
        pole.client.on_ack(token)
    assert pole.outlet.acked == 3


async def test_a_journal_in_memory_is_a_lasting_alarm_in_the_status():
    pole = Pole(0)
    pole.client.connect()
    await pole.serve()
    pole.journal = Memory()
    pole.journal.mount()
    lone = pole.outlet = pole.make()
    lone.client.connect()
    await pole.serve()
    assert [json.loads(text).get("journal") for text in pole.client.statuses] == [None]
    assert [json.loads(text).get("journal") for text in lone.client.statuses] == ["memory"]


def events(pole):
    """The details of the buffer_overrun events that are stored."""
    found, replay = [], Replay(pole.journal, Ids(), Dating(pole.journal, pole.clock, 1), 0)

    async def run():
        while await replay.next():
            if replay.tag == EVENT:
                assert replay.slot == 0 and CODES.split()[replay.what[0]] == "buffer_overrun"
                found.append(json.loads(replay.what[3]))

    asyncio.run(run())
    return found


def test_what_the_ring_has_taken_is_told_in_one_event_and_counts_as_acknowledged():
    pole = Pole(5)
    pole.journal.put(1, 2)
    i = 5
    while pole.journal.first < 50:
        pole.read(i)
        i += 1
    first = pole.journal.first
    pole.outlet = pole.make()
    pole.client = pole.outlet.client
    pole.client.connect()
    asyncio.run(pole.serve())
    pole.client.connect()
    asyncio.run(pole.serve())
    pole.recorder.commit()
    assert pole.outlet.acked == first and pole.client.sent[0] == first
    assert events(pole) == [{"outlet": "operator", "first": 2, "last": first - 1, "thinned": False}]


def test_a_damaged_frame_on_the_way_is_told_once_and_passes_nothing_by():
    pole = Pole(40)
    pole.flash.flip(8 * 4096 + 32 + 9 + 20 * 32, 1)
    pole.client.connect()
    asyncio.run(pole.serve())
    pole.client.connect()
    asyncio.run(pole.serve())
    pole.recorder.commit()
    missing = [i for i in range(40) if i not in pole.client.sent]
    assert missing and pole.outlet.acked == 0
    told = events(pole)
    assert told == [{"outlet": "operator", "first": missing[0], "last": missing[-1], "thinned": False}]
    assert missing == list(range(missing[0], missing[-1] + 1))
