"""gateway/archive: after the journal has gone round, each meter once in 15 minutes and every event are still there."""
import asyncio
import json
import random

from fake_nor import Nor, PowerCut
from gateway import clock, uplink
from gateway.archive import Archive
from gateway.batches import Reader, Writer
from gateway.events import CODES
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import EVENT, FLAGGED, LOST, ONCE, WARN, Decoder
from gateway.replay import Dating, History, Replay
from gateway.uplink import Outlet
from lib.journal import Journal
from mp_uplink import Client, Life

HEAP = {
    "test_each_meter_is_there_once_a_quarter_with_its_values_and_times": "24M",
    "test_it_begins_in_the_middle_and_goes_on_in_the_journal": "24M",
    "test_a_reboot_goes_on_where_it_was": "24M",
    "test_an_undated_boot_is_placed_in_its_bracket": "24M",
    "test_a_boot_that_learns_the_time_later_is_dated": "24M",
    "test_after_the_journal_was_formatted_nothing_old_is_sent_under_new_numbers": "24M",
    "test_a_cut_at_any_operation_leaves_neither_a_hole_nor_a_double": "24M",
    "test_an_ordinal_that_the_archive_has_is_never_given_again": "24M",
    "test_a_worn_archive_costs_records_of_its_own_and_nothing_else": "24M",
    "test_an_outlet_that_fell_off_the_journal_gets_the_archive_then_the_journal_and_one_event": "24M",
    "test_a_board_with_a_partition_for_it_has_an_archive_and_one_without_has_none": "24M",
    "test_a_meter_that_stays_silent_is_there_once_a_quarter_too": "24M",
    "test_an_outlet_that_falls_off_the_journal_while_it_sends_goes_on_from_the_archive": "24M",
    "test_an_archive_that_has_nothing_of_a_gap_is_asked_once": "24M",
    "test_a_hole_in_the_archive_passes_by_nothing_of_the_journal": "24M",
    "test_each_view_of_a_meter_and_its_interval_is_there_once_a_quarter": "24M",
    "test_by_mesh_it_says_the_same_as_at_an_outlet": "24M",
}
T0 = 1782138600000
COLUMNS = "\n1.8.0 kWh -3\n16.7.0 W -3\n32.7.0 V -3\n14.7.0 Hz -3"
METERS = 12
uplink.IDLE_MS = 2
uplink.MQTTClient = Client


class Names:
    def columns(self, number):
        return COLUMNS if number == 1 else None

    def serial(self, slot):
        return "SN-%d" % slot


class Clock:
    """A boot that began at `began` (unix ms); `source` NONE until it learns the time."""

    def __init__(self, began, source=clock.NTP):
        self.began, self.source, self.uptime = began, source, 0

    def at(self, uptime):
        return None if self.source == clock.NONE else (self.began + uptime, 10)

    def now(self):
        return self.at(self.uptime)

    def trusted(self):
        return True


class Pole:
    """A board with a small journal and an archive; `truth`: {ordinal: (slot, tag, values, unix ms)} of all stored."""

    def __init__(self, hot=6, archive=8):
        self.hot, self.cold = Nor(8 + hot), Nor(8 + archive)
        self.truth, self.boots, self.epoch = {}, 0, 7

    def boot(self, now):
        self.boots += 1
        self.clock = now
        self.journal, self.ring = Journal(self.hot), Journal(self.cold)
        self.journal.mount()
        self.ring.mount()
        self.recorder = Recorder(self.journal, self.boots, now)
        dating = Dating(self.ring, now, self.boots, False)
        self.archive = Archive(self.ring, self.journal, Names(), self.epoch, dating)

    def minutes(self, count, thin=True):
        now = self.clock
        for _ in range(count):
            now.uptime += 60000
            ordinal = self.journal.next
            for slot in range(1, METERS + 1):
                at = now.uptime + slot * 130
                values = [ordinal * 7 + slot, random.randrange(-90000, 90000), 230000 + random.randrange(9), None]
                suspect = random.randrange(5) == 0
                self.recorder.reading(at, slot, 1, list(values), suspect)
                self.truth[ordinal + slot - 1] = (slot, FLAGGED * suspect, values, now.began + at // 10 * 10)
            if random.randrange(20) == 0:
                self.recorder.event(3, "comms_lost", WARN, ONCE, {"misses": 3})
                self.truth[ordinal + METERS] = (3, EVENT, None, None)
            self.recorder.commit()
            while thin and self.archive.step():
                pass

    def read(self, replay):
        """Everything that a replay gives: (first, ordinal, slot, tag, values, unix_ms, source)."""

        async def run():
            rows = []
            while await replay.next():
                values = replay.values and list(replay.values)
                rows.append((
                    replay.first, replay.ordinal, replay.slot, replay.tag, values, replay.unix_ms, replay.source,
                ))  # fmt: skip
            return rows

        return asyncio.run(run())

    def check(self, rows):
        """Each is what was stored under its ordinal; what they cover is without holes."""
        for i, (first, ordinal, slot, tag, values, unix_ms, source) in enumerate(rows):
            known = self.truth[ordinal]
            assert (slot, values) == (known[0], known[2]) and (tag == EVENT) == (known[1] == EVENT), ordinal
            assert tag == EVENT or tag & FLAGGED == known[1], ordinal
            if known[3] and source != clock.NONE:
                assert abs(unix_ms - known[3]) <= 20, (ordinal, unix_ms - known[3])
            assert first <= ordinal and (i == 0 or first == rows[i - 1][1] + 1), (ordinal, first)


def test_each_meter_is_there_once_a_quarter_with_its_values_and_times():
    random.seed(1)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(300)
    assert pole.journal.first > 1500 and pole.ring.first == 0
    replay = pole.archive.replay(0)
    rows = pole.read(replay)
    pole.check(rows)
    assert rows[0][0] == 0 and replay.done == rows[-1][1] + 1 <= pole.journal.first
    assert rows[-1][1] + 16 * METERS > pole.journal.first
    span = {}
    for _, ordinal, slot, tag, _, unix_ms, _ in rows:
        if tag != EVENT:
            assert (slot, unix_ms // 900000) not in span, "twice in a quarter"
            span[slot, unix_ms // 900000] = ordinal
    quarters = {quarter for _, quarter in span}
    assert len(quarters) > 5 and len(span) == METERS * len(quarters)
    stored = [ordinal for ordinal, row in pole.truth.items() if row[1] == EVENT and ordinal < pole.journal.first]
    assert stored and [row[1] for row in rows if row[3] == EVENT] == sorted(stored)


def test_it_begins_in_the_middle_and_goes_on_in_the_journal():
    random.seed(2)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(300)
    whole = pole.read(pole.archive.replay(0))
    for ordinal in (1, 13, 500, 501, 1200, pole.journal.first - 1):
        replay = pole.archive.replay(ordinal)
        rows = pole.read(replay)
        assert rows == [row for row in whole if row[1] >= ordinal]
        rest = pole.read(Replay(pole.journal, Names(), Dating(pole.journal, pole.clock, 1), replay.done))
        assert rest[0][1] == pole.journal.first and rest[-1][1] == pole.journal.next - 1


def test_a_reboot_goes_on_where_it_was():
    random.seed(3)
    pole = Pole()
    began = T0
    for _ in range(6):
        pole.boot(Clock(began))
        pole.minutes(50)
        began += 50 * 60000 + 5000
        pole.minutes(3, thin=False)  # not thinned before the power went
        began += 3 * 60000
    pole.boot(Clock(began))
    pole.minutes(20)
    rows = pole.read(pole.archive.replay(0))
    pole.check(rows)
    assert rows[0][0] == 0 and rows[-1][1] + 16 * METERS > pole.journal.first > 2000


def test_an_undated_boot_is_placed_in_its_bracket():
    random.seed(4)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(40)
    lost = Clock(T0 + 50 * 60000, clock.NONE)
    pole.boot(lost)
    pole.minutes(30)
    pole.boot(Clock(T0 + 90 * 60000))
    pole.minutes(200)
    rows = pole.read(pole.archive.replay(0))
    pole.check(rows)
    undated = [row for row in rows if row[6] == clock.NONE]
    assert undated and all(abs(row[5] - pole.truth[row[1]][3]) < 20 * 60000 for row in undated if row[3] != EVENT)


def test_a_boot_that_learns_the_time_later_is_dated():
    random.seed(5)
    pole = Pole()
    late = Clock(T0, clock.NONE)
    pole.boot(late)
    pole.minutes(40)
    assert pole.read(pole.archive.replay(0)) == [] and pole.archive.replay(0).done is None
    late.source = clock.NTP
    pole.minutes(200)
    rows = pole.read(pole.archive.replay(0))
    pole.check(rows)
    assert len(rows) > 30 and rows[0][6] == clock.NTP


def test_after_the_journal_was_formatted_nothing_old_is_sent_under_new_numbers():
    random.seed(6)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(200)
    pole.hot, pole.epoch, pole.truth = Nor(14), 8, {}
    pole.boot(Clock(T0 + 300 * 60000))
    pole.minutes(20)
    assert pole.read(pole.archive.replay(0)) == []
    pole.minutes(200)
    pole.boot(Clock(T0 + 600 * 60000))
    rows = pole.read(pole.archive.replay(0))
    pole.check(rows)
    assert rows[0][0] == 0 and len(rows) >= 36


def test_a_cut_at_any_operation_leaves_neither_a_hole_nor_a_double():
    random.seed(7)
    for cut in range(0, 120, 3):
        pole = Pole(archive=5)
        pole.boot(Clock(T0))
        pole.minutes(60)
        pole.cold.cut_at, pole.cold.cut_mode = pole.cold.ops + cut, random.choice(("half", "random", "whole", "none"))
        try:
            pole.minutes(60)
        except PowerCut:
            pass
        pole.cold.cut_at = -1
        pole.boot(Clock(T0 + 200 * 60000))
        pole.minutes(150)
        rows = pole.read(pole.archive.replay(0))
        pole.check(rows)
        assert rows[0][0] == 0, cut


def test_an_ordinal_that_the_archive_has_is_never_given_again():
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(15)
    newest = pole.journal.block(pole.journal.head) * 4096 + pole.journal.end - 40
    pole.hot.flip(newest, 1)  # the newest frame rots
    taken = pole.archive.next
    assert taken == pole.journal.next
    pole.boot(Clock(T0 + 30 * 60000))
    assert pole.archive.next == taken <= pole.journal.next
    before = len(pole.truth)
    pole.minutes(1)
    assert len(pole.truth) >= before + METERS, "a number was given twice"


def test_a_worn_archive_costs_records_of_its_own_and_nothing_else():
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(20)
    pole.cold.dead = True
    pole.minutes(40)
    assert pole.archive.dropped and pole.recorder.dropped == 0
    pole.cold.dead = False
    pole.minutes(40)
    assert pole.ring.next > 40


def test_an_outlet_that_fell_off_the_journal_gets_the_archive_then_the_journal_and_one_event():
    random.seed(8)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(300)
    pole.journal.put(1, 40)
    northbound = Northbound("f", "g", Names(), {}, pole.epoch, 1)
    dating = Dating(pole.journal, pole.clock, 1)
    config = {"name": "operator", "host": "192.0.2.1", "port": 1883}
    outlet = Outlet(config, {}, northbound, pole.journal, 1, dating, pole.clock, 0, pole.recorder, pole.archive)
    client, first = outlet.client, pole.journal.first
    client.room = 10000

    async def serve():
        task = asyncio.create_task(outlet.run(Life()))
        await asyncio.sleep_ms(400)
        for _ in range(100):  # on a busy machine
            if client.sent and client.sent[-1] >= pole.journal.next - 1:
                break
            await asyncio.sleep_ms(100)
        task.cancel()

    client.connect()
    asyncio.run(serve())
    sent = client.sent
    assert sent == sorted(set(sent)) and sent[0] >= 40 and sent[-1] == pole.journal.next - 1
    assert [ordinal for ordinal in sent if ordinal >= first] == list(range(first, pole.journal.next))
    old = [row[1] for row in pole.read(pole.archive.replay(40))]
    assert [ordinal for ordinal in sent if ordinal < first] == old
    client.connect()
    asyncio.run(serve())
    pole.recorder.commit()
    told = [
        json.loads(row[4])
        for row in events(pole)
        if CODES.split()[row[0]] == "buffer_overrun"
    ]  # fmt: skip
    base = pole.epoch << 32
    assert told == [{"outlet": "operator", "first": base + 40, "last": base + first - 1, "thinned": True}]
    outlet._acknowledged(sent[-1])
    assert outlet.acked == sent[-1] + 1


def test_by_mesh_it_says_the_same_as_at_an_outlet():
    random.seed(12)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(300)
    missed, straight, carried = [], [], []
    northbound = Northbound("f", "g", Names(), {}, pole.epoch, 1)

    def history():
        dating = Dating(pole.journal, pole.clock, 1)
        return History(pole.journal, Names(), dating, 40, pole.archive, lambda *gone: missed.append(gone))

    def said(record):
        topic, payload = northbound.message(record, (T0 + pole.clock.uptime, 10))
        return topic, bytes(payload)

    def batch():
        reader.start(memoryview(bytes(writer.take())), Names())
        while reader.next():
            carried.append(said(reader))

    async def run(take):
        past = history()
        record = await past.next()
        while record:
            take(record)
            record = await past.next()

    def put(record):
        if not writer.put(record):
            batch()
            assert writer.put(record)

    asyncio.run(run(lambda record: straight.append(said(record))))
    reader, writer = Reader(None), Writer(pole.epoch, 206)
    asyncio.run(run(put))
    batch()
    assert missed[0] == (40, pole.journal.first, True)
    assert all(40 <= first < after <= pole.journal.first for first, after, _ in missed), "of what was told as thinned"
    assert carried == straight
    thinned = [json.loads(payload) for _, payload in carried if b"seqFirst" in payload]
    assert len(thinned) > 50 and thinned[0]["seqFirst"] <= (pole.epoch << 32) + 40 <= thinned[0]["seq"]
    assert len(carried) == len(thinned) + pole.journal.next - pole.journal.first


def test_a_board_with_a_partition_for_it_has_an_archive_and_one_without_has_none():
    import sys

    sys.path.insert(0, "")
    with open("gateway.json", "w") as file:
        json.dump({
            "feederId": "f", "gatewayId": "g", "board": "desktop", "buses": [{"uart": 1}],
            "meters": [{"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120"}],
            "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": 1883}],
        }, file)  # fmt: skip
    from gateway import build

    conf, secrets, _ = build.configuration()
    for flash in ({"journal": 65536, "archive": 81920}, {"journal": 65536}):
        with open("board.json", "w") as file:
            json.dump({"name": "x", "uarts": [{"id": 1, "tx": 17, "rx": 18}], "flash": flash}, file)
        _, journal, recorder, _, outlets, archive, _ = build.parts(conf, secrets, 0)
        assert (archive is not None) == ("archive" in flash) and outlets[0]._history._archive is archive
        recorder.lost(1)
        recorder.commit()
        if archive:
            assert archive.step() and archive.journal.next == 1 and archive.next == journal.next


def events(pole):
    async def run():
        found, replay = [], Replay(pole.journal, Names(), Dating(pole.journal, pole.clock, 1), 0)
        while await replay.next():
            if replay.tag == EVENT:
                found.append(replay.what[:1] + (0, 0, 0) + replay.what[3:])
        return found

    return asyncio.run(run())


def test_a_meter_that_stays_silent_is_there_once_a_quarter_too():
    pole = Pole()
    pole.boot(Clock(T0))
    for _ in range(100):
        pole.clock.uptime += 60000
        clock_ms = pole.clock.uptime
        pole.recorder._put((clock_ms // 10, 1, LOST, None, None))
        pole.recorder.commit()
        while pole.archive.step():
            pass
    assert 7 <= pole.ring.next <= 8


def test_each_view_of_a_meter_and_its_interval_is_there_once_a_quarter():
    pole = Pole()
    pole.boot(Clock(T0))
    interval = "\ninterval s 0\n32.3.0 V -3\n32.5.0 V -3\n32.6.0 V -3"
    for holder in (pole.archive.names, pole.archive._decoder._names):
        holder.columns = lambda number: {1: COLUMNS, 2: "\n14.7.0 Hz -3", 3: interval}[number]
    for minute in range(60):
        at = pole.clock.uptime = minute * 60000 + 500
        if minute % 15 == 0:
            pole.recorder.reading(at - 500, 1, 3, [900, 1, 2, 3])  # first in its quarter, as it ends the one before
        pole.recorder.reading(at, 1, 1, [minute, 5, 230000, None], 0b110)
        pole.recorder.reading(at, 1, 2, [50000])
        pole.recorder.commit()
        while pole.archive.step():
            pass
    reader = pole.ring.reader(0)
    decoder, found = Decoder(pole.archive.names), []
    frame = reader.read()
    while frame:
        if frame[4]:
            decoder.forget()
        decoder.begin(frame[3])
        for _ in range(frame[2]):
            _, _, tag, schema, values = decoder.record()
            found.append((schema, tag >> 4, list(values)))
        frame = reader.read()
    wanted = [(1, 0b110, [minute, 5, 230000, None]) for minute in (0, 15, 30, 45)]
    assert [row for row in found if row[0] == 1] == wanted
    assert [row for row in found if row[0] == 2] == [(2, 0, [50000])] * 4
    assert [row for row in found if row[0] == 3] == [(3, 0, [900, 1, 2, 3])] * 4


def test_a_record_that_fills_a_frame_is_left_out_and_stops_nothing():
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(20)
    room = 504 - 24
    before = pole.journal.next
    for length in range(room - 40, room + 20):
        pole.recorder.event(0, "restarted", WARN, ONCE, {"x": "y" * length})
        pole.recorder.commit()
    stored = pole.journal.next - before
    for _ in range(200):
        if not pole.archive.step():
            break
    else:
        raise AssertionError("it never comes to an end")
    assert 0 < pole.archive.dropped < stored < 60, (pole.archive.dropped, stored)
    pole.truth = {}
    pole.minutes(20)
    assert pole.archive.next > pole.journal.next - 16 * METERS


def outlet_of(pole):
    northbound = Northbound("f", "g", Names(), {}, pole.epoch, 1)
    dating = Dating(pole.journal, pole.clock, 1)
    config = {"name": "operator", "host": "192.0.2.1", "port": 1883}
    outlet = Outlet(config, {}, northbound, pole.journal, 1, dating, pole.clock, 0, pole.recorder, pole.archive)
    outlet.client.room = 100000
    return outlet


def test_an_outlet_that_falls_off_the_journal_while_it_sends_goes_on_from_the_archive():
    random.seed(9)
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(30)
    outlet = outlet_of(pole)
    client, publish = outlet.client, outlet.client.publish
    slow = [True]

    async def waits(topic, message, **more):
        await publish(topic, message, **more)
        if len(client.sent) == 50 and slow.pop():
            pole.minutes(300)  # while the window was full

    client.publish = waits

    async def serve():
        task = asyncio.create_task(outlet.run(Life()))
        for _ in range(100):
            await asyncio.sleep_ms(100)
            if client.sent and client.sent[-1] >= pole.journal.next - 1:
                break
        task.cancel()

    client.connect()
    asyncio.run(serve())
    first, sent = pole.journal.first, client.sent
    assert first > 400 and sent == sorted(set(sent)) and sent[-1] == pole.journal.next - 1
    thinned = [ordinal for ordinal in sent if 80 < ordinal < first]  # some of what it had was still in the buffer
    assert thinned == [row[1] for row in pole.read(pole.archive.replay(81))] and len(thinned) > 12
    pole.recorder.commit()
    told = [json.loads(row[4]) for row in events(pole) if CODES.split()[row[0]] == "buffer_overrun"]
    assert len(told) == 1 and told[0]["thinned"], told


def test_an_archive_that_has_nothing_of_a_gap_is_asked_once():
    pole = Pole()
    pole.boot(Clock(T0))
    pole.minutes(300, thin=False)
    outlet = outlet_of(pole)

    async def serve():
        task = asyncio.create_task(outlet.run(Life()))
        for _ in range(100):
            await asyncio.sleep_ms(50)
            if outlet.client.sent and outlet.client.sent[-1] >= pole.journal.next - 1:
                break
        task.cancel()

    outlet.acked = 5
    outlet.client.connect()
    asyncio.run(serve())
    assert outlet.client.sent == list(range(pole.journal.first, pole.journal.next))


def test_a_hole_in_the_archive_passes_by_nothing_of_the_journal():
    random.seed(10)
    pole = Pole()
    pole.epoch = 50000  # the archive keeps it as a cursor: after a reboot its own ordinals go on behind it
    pole.boot(Clock(T0))
    pole.minutes(100)
    pole.boot(Clock(T0 + 101 * 60000))
    pole.minutes(200)
    pole.cold.flip(8 * 4096 + 32 + 600, 1)  # and a frame of it rots
    outlet = outlet_of(pole)
    client = outlet.client
    first = pole.journal.first

    async def serve():
        task = asyncio.create_task(outlet.run(Life()))
        for _ in range(100):
            await asyncio.sleep_ms(50)
            if client.sent and client.sent[-1] >= pole.journal.next - 1:
                break
        task.cancel()

    outlet.acked = 5
    client.connect()
    asyncio.run(serve())
    assert outlet.acked == 5, "nothing was acknowledged"
    old = [row[1] for row in pole.read(pole.archive.replay(5))]
    assert client.sent == old + list(range(first, pole.journal.next)) and len(old) > 50
