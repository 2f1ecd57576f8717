"""gateway/uplink: the cursor moves over the acknowledged prefix only, and each connection starts from it."""
import asyncio
import json
import struct

from fake_nor import Nor
from gateway import clock, overrun, standing, uplink  # noqa: F401  loaded once, not once a connection
from gateway.catchup import CatchUp
from gateway.events import CODES
from gateway.filtered import FilteredOutlet
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import EVENT
from gateway.replay import Dating, Replay
from gateway.uplink import Outlet
from lib.journal import Journal
from lib.journal.memory import Memory
from lib.mqtt import Stale

COLUMNS = "\n1.8.0 kWh -3"
uplink.IDLE_MS = 2


class Ids:
    def columns(self, number):
        return COLUMNS if number == 1 else None

    def serial(self, slot):
        return "SN-%d" % slot if slot < 3 else None


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

    error = ""

    def __init__(self, *args, ssl=None, limit):
        self.args = args
        self.generation, self.connected, self.state = 0, False, "off"
        self.sent, self.statuses, self.payloads, self.flight, self.room = [], [], [], [], 1000

    def set_last_will(self, topic, message, retain, qos):
        self.will = topic, message, retain, qos

    @property
    def pending(self):
        return len(self.flight)

    def ack(self, token):
        self.flight.remove(token)
        self.on_ack(token)

    def connect(self):
        self.flight.clear()
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
            self.flight.append(token)
            del self.payloads[:-20]
            self.payloads.append(bytes(message).decode())


uplink.MQTTClient = Client


class Life:
    beats = 0

    def beat(self):
        self.beats += 1


class Pole:
    binary = ()

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
        """Let the outlet run until it has nothing more to do."""
        life, client = Life(), self.outlet.client
        task = asyncio.create_task(self.outlet.run(life))
        before = None
        for _ in range(50):  # on a busy machine
            await asyncio.sleep_ms(ms)
            now = len(client.sent), len(client.statuses), len(self.binary)
            if now == before and life.beats > 9:
                break
            before = now
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


async def test_flash_that_takes_no_cursor_stops_no_delivery():
    for pole in (Pole(6), Part(8)):

        def fails(cursor, ordinal):
            raise OSError(5)

        pole.journal.put = fails
        pole.client.connect()
        await pole.serve()
        first = pole.client.sent[0]
        pole.client.ack(first)
        pole.outlet._kept_at -= 10000
        pole.read(20)
        pole.read(21)
        await pole.serve()
        assert pole.client.sent[-1] >= 6 and pole.outlet.acked > first, pole.client.sent


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


async def test_the_retained_status_names_the_way_to_the_net_where_one_is_configured():
    class Way:
        via = ""

    pole = Pole(0)
    pole.client.connect()
    await pole.serve()
    pole.outlet.network = way = Way()
    task = asyncio.create_task(pole.outlet.run(Life()))
    for way.via in ("", "wifi", "ethernet"):
        await asyncio.sleep_ms(20)
    task.cancel()
    told = [json.loads(text).get("network") for text in pole.client.statuses]
    assert told == [None, None, "wifi", "ethernet"]


async def test_it_shows_life_with_and_without_a_connection():
    pole = Pole(0)
    life = Life()
    task = asyncio.create_task(pole.outlet.run(life))
    counts = []
    for connect in (lambda: None, pole.client.connect):
        connect()
        before = life.beats
        for _ in range(100):  # on a busy machine
            await asyncio.sleep_ms(10)
            if life.beats > before + 3:
                break
        counts.append(life.beats - before)
    task.cancel()
    assert min(counts) > 3


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


def events(pole, code="buffer_overrun"):
    """The details of the events with this code that are stored."""
    found, replay = [], Replay(pole.journal, Ids(), Dating(pole.journal, pole.clock, 1), 0)

    async def run():
        while await replay.next():
            if replay.tag == EVENT:
                assert replay.slot == 0
                if replay.what[0] < len(CODES.split()) and CODES.split()[replay.what[0]] == code:
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


def test_what_is_lost_after_it_was_sent_is_told_although_a_later_gap_was():
    pole = Pole(60)
    place = 8 * 4096 + 32 + 9
    pole.flash.flip(place + 40 * 32, 1)
    pole.client.connect()
    asyncio.run(pole.serve())
    pole.recorder.commit()
    later = [(gap["first"], gap["last"]) for gap in events(pole)]
    assert len(later) == 1 and pole.client.sent[:40] == list(range(40))
    pole.client.on_ack(2)
    pole.flash.flip(place + 10 * 32, 1)  # the others were sent and not acknowledged
    for _ in range(2):
        pole.client.connect()
        asyncio.run(pole.serve())
        pole.recorder.commit()
        told = [(gap["first"], gap["last"]) for gap in events(pole)]
        assert told == later + [(10, later[0][0] - 1)], told


async def test_a_record_that_is_sent_again_is_as_late_as_when_it_was_sent_first():
    pole = Pole(3)
    ahead = [0]
    pole.clock.now = lambda: (pole.clock.at(clock.uptime_ms())[0] + ahead[0], 10)
    pole.client.connect()
    await pole.serve()
    ahead[0] = 1000 * 3600
    pole.read(3)
    pole.client.connect()
    await pole.serve()
    assert [json.loads(text)["late"] for text in pole.client.payloads] == [False] * 6 + [True]
    pole.client.connect()
    await pole.serve()
    assert [json.loads(text)["late"] for text in pole.client.payloads[7:]] == [False] * 3 + [True]


def test_a_journal_that_fills_up_is_told_once_and_so_is_that_it_is_no_more():
    pole = Pole(5)
    i = 5
    pole.journal.put(1, 0)
    pole.outlet = pole.make()
    pole.client = pole.outlet.client
    while pole.journal.first < 20:
        pole.read(i)
        i += 1
        pole.outlet.keep()
    for _ in range(20):
        pole.read(i)
        i += 1
        pole.outlet.keep()
    assert len(events(pole, "buffer_near_full")) == 1
    for token in range(pole.journal.first, pole.journal.next):
        pole.client.on_ack(token)
    pole.outlet.keep()
    pole.recorder.commit()
    assert len(events(pole, "buffer_near_full")) == 2


def test_a_record_of_a_later_version_stops_nothing_and_is_named():
    pole = Pole(3)
    pole.recorder._put((4000, 0, EVENT, (99, 0, 2, b"{}"), None))
    pole.recorder.commit()
    for i in range(4, 6):
        pole.read(i)
    pole.client.connect()
    asyncio.run(pole.serve())
    pole.recorder.commit()
    assert [token for token in pole.client.sent if token is not None][:5] == [0, 1, 2, 4, 5]
    assert events(pole) == [{"outlet": "operator", "first": 3, "last": 3, "thinned": False}]


def test_an_outlet_at_the_limit_does_not_tell_of_it_with_each_block():
    pole = Pole(5)
    pole.journal.put(1, 0)
    pole.outlet = pole.make()
    i = 5
    while pole.journal.first < 3000:
        pole.read(i)
        i += 1
        held = pole.journal.next - pole.journal.first
        if pole.journal.first and pole.outlet.acked * 8 < pole.journal.first * 8 + held:
            pole.outlet.acked = min(pole.journal.next, pole.outlet.acked + 7)  # it just keeps up
        pole.outlet.keep()
    assert len(events(pole, "buffer_near_full")) <= 1


async def refused(pole, states):
    task = asyncio.create_task(pole.outlet.run(Life()))
    for state in states:
        pole.client.state = state
        await asyncio.sleep_ms(15)
    task.cancel()
    pole.recorder.commit()


def test_each_reason_of_a_refusal_is_one_event_and_its_end_another():
    pole = Pole(0)
    expired = "refused: The certificate validity has expired"
    states = ["connecting", expired, "connecting", expired, "lost", "refused: not authorised", "connected"]
    asyncio.run(refused(pole, states))
    told = [event["reason"] for event in events(pole, "uplink_refused")]
    assert told == [expired[9:], "not authorised"]
    assert events(pole, "uplink_restored") == [{"outlet": "operator"}]


async def test_a_span_that_is_asked_for_is_sent_again_and_moves_nothing():
    pole = Pole(6)
    pole.client.connect()
    await pole.serve()
    for token in range(6):
        pole.client.on_ack(token)
    pole.client.payloads.clear()
    stamps = []
    replay = Replay(pole.journal, Ids(), Dating(pole.journal, pole.clock, 1), 0)
    while await replay.next():
        stamps.append(replay.unix_ms)
    pole.outlet.asked = stamps[1], stamps[3]
    pole.client.connect()
    await pole.serve()
    await asyncio.sleep_ms(5)
    assert pole.outlet.asked, "it has not arrived yet"
    pole.client.payloads.clear()
    pole.client.connect()
    task = asyncio.create_task(pole.outlet.run(Life()))
    for _ in range(20):
        await asyncio.sleep_ms(10)
        pole.client.flight.clear()
    task.cancel()
    sent = [json.loads(text) for text in pole.client.payloads]
    assert [body["seq"] for body in sent] == [1, 2, 3] and all(body["again"] for body in sent)
    assert pole.outlet.acked == 6 and pole.outlet.asked is None


class Part(Pole):
    rules = {"meters": ["SN-2"], "registers": ["1.8."], "kinds": ["telemetry"]}

    def read(self, i):
        self.recorder.reading(i * 1000, 1 + i % 2, 1, [i])
        if i == 4:
            self.recorder.event(0, "clock_set", 0, 2, {})
        self.recorder.commit()

    def make(self):
        config = {"name": "operator", "host": "192.0.2.1", "filter": self.rules}
        dating = Dating(self.journal, self.clock, 1)
        identity = "f", "g", Ids(), {1: 60, 2: 60}, 0, 1
        rest = self.journal, 1, dating, self.clock, 0, self.recorder
        return FilteredOutlet(config, {}, identity, 2, rest)


async def test_a_filtered_outlet_says_which_seq_went_before_also_after_a_restart():
    pole = Part(8)  # ordinals 1, 3, 6 and 8 are of SN-2: 5 is the event
    pole.client.connect()
    await pole.serve()
    bodies = [json.loads(text) for text in pole.client.payloads]
    assert [(body["seq"], body.get("seqPrev")) for body in bodies] == [(1, None), (3, 1), (6, 3), (8, 6)]
    for token in (1, 3):
        pole.client.ack(token)
    pole.outlet.keep(True)
    for again in (pole.outlet, pole.make()):
        pole.outlet, pole.client = again, again.client
        pole.client.payloads = []
        pole.client.connect()
        await pole.serve()
        bodies = [json.loads(text) for text in pole.client.payloads]
        assert [(body["seq"], body.get("seqPrev")) for body in bodies] == [(6, 3), (8, 6)], pole.client.payloads


async def test_what_is_not_for_an_outlet_counts_as_delivered_when_nothing_is_on_the_way():
    pole = Part(8)
    pole.client.connect()
    await pole.serve()
    for token in (1, 3, 6, 8):
        pole.client.ack(token)
    for i in (8, 10, 12):
        pole.read(i)
    await pole.serve(30)
    pole.client.connect()
    await pole.serve()
    assert pole.outlet.acked == pole.journal.next


class Dense(Pole):
    """Catches up in binary; what it sends is kept as (topic, payload)."""

    def make(self):
        northbound = Northbound("f", "g", Ids(), {1: 60}, 7, 1)
        config = {"name": "operator", "host": "192.0.2.1", "catchup": "binary"}
        dating = Dating(self.journal, self.clock, 1)
        made = CatchUp(config, {}, northbound, self.journal, 1, dating, self.clock, 0, self.recorder)
        publish = made.client.publish
        self.binary = []

        async def spied(topic, message, **more):
            if "/catchup" in topic:
                self.binary.append((topic[14:], bytes(memoryview(message)), more.get("token"), more.get("retain")))
            else:
                await publish(topic, message, **more)

        made.client.publish = spied
        return made


def frames(message):
    """[(flags, ordinal, count)] of a catch-up message, by its document."""
    assert message[:3] == b"\1\7\0"
    at, found = 3, []
    while at < len(message):
        flags, ordinal, count, length = struct.unpack_from("<BIBH", message, at)
        found.append((flags, ordinal, count))
        at += 8 + length + (11 if flags & 2 else 0)
    assert at == len(message)
    return found


async def test_what_waited_goes_in_binary_and_what_is_fresh_in_json():
    pole = Dense(40)
    ahead = 1000 * 3600
    now = pole.clock.at
    pole.clock.now = lambda: (now(clock.uptime_ms())[0] + ahead, 10)
    pole.client.connect()
    await pole.serve()
    names = [(topic, retain) for topic, _, token, retain in pole.binary if token is None]
    assert names[0] == ("/catchup/meters", True) and names[1] == ("/catchup/schema/1", True)
    messages = [(payload, token) for _, payload, token, _ in pole.binary if token is not None]
    told = [frame for payload, _ in messages for frame in frames(payload)]
    assert [ordinal for _, ordinal, _ in told] == list(range(40)) and told[0][0] == 1
    assert [token for _, token in messages][-1] == 39 and all(len(payload) <= 1024 for payload, _ in messages)
    pole.client.flight.clear()
    pole.client.on_ack(39)
    pole.clock.at = lambda uptime: (now(uptime)[0] + ahead, 10)
    pole.read(40)
    await pole.serve(200)
    assert pole.client.sent[-1] == 40


async def test_nothing_goes_in_binary_when_nothing_has_waited():
    pole = Dense(5)
    pole.client.connect()
    await pole.serve()
    assert pole.client.sent == [0, 1, 2, 3, 4] and not pole.binary


async def test_binary_begins_with_the_block_so_that_every_difference_has_its_key():
    pole = Dense(30)
    pole.clock.now = lambda: (pole.clock.at(clock.uptime_ms())[0] + 3600000, 10)
    pole.outlet.acked = 20
    pole.client.connect()
    await pole.serve()
    messages = [payload for _, payload, token, _ in pole.binary if token is not None]
    assert frames(messages[0])[0] == (1, 0, 1)


async def test_a_place_with_a_bound_that_the_message_has_no_room_for_is_not_sent_in_binary():
    pole = Dense(0)
    known = pole.clock.at
    pole.clock.source, pole.clock.at = clock.NONE, lambda uptime: None
    for i in range(3):
        pole.read(i)
    pole.clock.source, pole.clock.at = clock.NTP, known
    pole.recorder = Recorder(pole.journal, 2, pole.clock)
    for i in range(3, 6):
        pole.read(i)
    pole.outlet = pole.make()
    pole.client = pole.outlet.client
    pole.clock.now = lambda: (known(clock.uptime_ms())[0] + 3600000, 10)
    assert known(0)[0] - clock.BUILT > 2 << 32, "no time is known before it: half of that is its bound"
    pole.client.connect()
    await pole.serve()
    assert pole.client.sent[:3] == [0, 1, 2] and not [row for row in pole.binary if row[2] is not None]
    assert json.loads(pole.client.payloads[0])["tsUncMs"] > 1 << 32


async def test_what_is_on_the_way_in_binary_is_not_sent_in_json_too():
    pole = Dense(40)
    pole.clock.now = lambda: (pole.clock.at(clock.uptime_ms())[0] + 3600000, 10)
    publish = pole.outlet.client.publish

    async def kept(topic, message, **more):
        await publish(topic, message, **more)
        if "/catchup" in topic and more.get("token") is not None:
            pole.client.flight.append(more["token"])

    pole.outlet.client.publish = kept
    pole.client.connect()
    task = asyncio.create_task(pole.outlet.run(Life()))
    await asyncio.sleep_ms(60)
    assert pole.binary and pole.client.sent == []
    for token in list(pole.client.flight):
        pole.client.ack(token)
    pole.clock.now = lambda: pole.clock.at(clock.uptime_ms())
    pole.read(40)
    await asyncio.sleep_ms(300)
    task.cancel()
    assert pole.client.sent == [40]
