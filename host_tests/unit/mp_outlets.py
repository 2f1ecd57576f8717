"""Outlets at random: links that come and go, reboots with and without the time, rings that go round, damaged frames.

What is stored arrives, or an event names it; what comes twice says the same; nothing comes that was not stored.
"""
import asyncio
import gc
import json
import random
import struct

from fake_nor import Nor
from gateway import clock, uplink
from gateway.archive import Archive
from gateway.bracket import search  # noqa: F401  loaded once, not once a frame
from gateway.catchup import CatchUp
from gateway.events import CODES
from gateway.filtered import FilteredOutlet
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import EVENT, INFO, ONCE
from gateway.replay import Dating
from gateway.uplink import Outlet
from lib.journal import Journal
from mp_uplink import Client, Life

HEAP = {
    "test_what_is_stored_arrives_or_an_event_names_it": "160M",
    "test_with_an_archive_it_comes_thinned": "160M",
}
TIMEOUT = {"test_what_is_stored_arrives_or_an_event_names_it": 240, "test_with_an_archive_it_comes_thinned": 240}
T0 = 1782138600000
METERS = 6
EPOCH = 47001
uplink.IDLE_MS = 1
uplink.MQTTClient = Client


class Names:
    def columns(self, number):
        return "\n1.8.0 kWh -3\n32.7.0 V -3" if number == 1 else None

    def serial(self, slot):
        return "SN-%d" % slot if 0 < slot <= METERS else None


class World:
    """True time; `now` is its Clock of the present boot."""

    def __init__(self):
        self.true = T0
        self.uptime = 0
        self.source = clock.NTP

    def boot(self, known):
        self.began, self.uptime = self.true, 500
        self.true += 500
        self.source = clock.NTP if known else clock.NONE

    def pass_ms(self, ms):
        self.true += ms
        self.uptime += ms

    def at(self, uptime):
        return None if self.source == clock.NONE else (self.began + uptime, 10)

    def now(self):
        return self.at(self.uptime)

    def trusted(self):
        return self.source != clock.NONE


class Board:
    """A gateway with three outlets: all of it, a part of it, and binary catch-up; `got`: {outlet: {seq: content}}."""

    KINDS = ("all", "part", "dense")

    def __init__(self, archive):
        self.world = World()
        self.hot, self.cold = Nor(8 + 6), Nor(8 + 8) if archive else None
        self.boots = 0
        self.truth = {}  # ordinal: (slot or None of an event, values, true ms)
        self.got = {name: {} for name in self.KINDS}
        self.last = dict.fromkeys(self.KINDS, -1)
        self.binary = set()
        self.named = {name: set() for name in self.KINDS}
        self.wrong = []
        self.boot()

    def boot(self):
        world = self.world
        self.boots += 1
        world.boot(random.randrange(3) > 0)
        clock.uptime_ms = lambda: world.uptime
        self.journal = Journal(self.hot)
        self.journal.mount()
        self.recorder = Recorder(self.journal, self.boots, world)
        self._commit, self.recorder.commit = self.recorder.commit, self.commit
        self.archive = None
        if self.cold:
            ring = Journal(self.cold)
            ring.mount()
            self.archive = Archive(ring, self.journal, Names(), EPOCH, Dating(ring, world, self.boots, False))
        self.outlets = [self._outlet(number, name) for number, name in enumerate(self.KINDS)]
        self.pending = []

    def _outlet(self, number, name):
        config = {"name": name, "host": "192.0.2.1", "catchup": "binary" if name == "dense" else "json"}
        identity = "f", "g", Names(), dict.fromkeys(range(1, METERS + 1), 60), EPOCH, 2
        dating = Dating(self.journal, self.world, self.boots)
        rest = self.journal, number + 1, dating, self.world, 0, self.recorder, self.archive
        if name == "part":
            config["filter"] = {"meters": ["SN-2", "SN-5"]}
            outlet = FilteredOutlet(config, {}, identity, 9, rest)
        else:
            outlet = (CatchUp if name == "dense" else Outlet)(config, {}, Northbound(*identity), *rest)
        outlet.client.publish = self._publish(outlet.client, outlet.client.publish, name)
        return outlet

    def _publish(self, client, publish, name):
        async def heard(topic, message, **more):
            if "/catchup" in topic:
                if more.get("token") is not None:
                    client.flight.append(more["token"])
                    self._frames(bytes(message))
                return
            await publish(topic, message, **more)
            if not topic.endswith("/status"):
                self._hear(name, json.loads(bytes(message)))

        return heard

    def _frames(self, message):
        at = 3
        while at < len(message):
            flags, ordinal, count, length = struct.unpack_from("<BIBH", message, at)
            at += 8 + length + (11 if flags & 2 else 0)
            self.binary.update(range(ordinal, ordinal + count))

    def _hear(self, name, body):
        seq = body["seq"] - (EPOCH << 32)
        content = body["ts"], body["tsUncMs"], body["tsSrc"], [row["value"] for row in body["registers"]]
        before = self.got[name].get(seq)
        # what an undated boot was placed between may be gone before it is sent again (docs/records.md)
        placed = self.cold or before and before[2] == content[2] == "none"
        if before and before != content and not (placed and self._alike(before, content)):
            self.wrong.append((name, "twice", seq, before, content))
        # what was damaged in the journal, and told, may come from the archive when the journal has gone round
        if not before and name != "dense" and not self.cold and seq < self.last[name]:
            self.wrong.append((name, "out of order", seq, self.last[name]))
        self.last[name] = max(self.last[name], seq)
        self.got[name][seq] = content
        slot, values, true = self.truth.get(seq, (None, None, None))
        if true is None:
            self.wrong.append((name, "never stored", seq))
        elif slot and [round(1000 * value) for value in content[3][:2]] != values:
            self.wrong.append((name, "values", seq, content, values))
        if true is not None:
            text = civil_ms(body["ts"])
            if abs(text - true) > body["tsUncMs"] + 1000 * (body["tsUncMs"] >= 1000):
                self.wrong.append((name, "time", seq, body["ts"], body["tsUncMs"], text - true))

    def _alike(self, one, other):
        """Whether two messages differ in nothing but in the time of an undated boot, and both bounds hold one time."""
        return one[3] == other[3] and abs(civil_ms(one[0]) - civil_ms(other[0])) <= one[1] + other[1]

    def read(self):
        """One round of all meters."""
        world = self.world
        world.pass_ms(random.choice((5000, 60000, 60000, 300000)))
        for slot in range(1, METERS + 1):
            values = [len(self.truth) * 3 + slot, 230000 + random.randrange(999)]
            self.recorder.reading(world.uptime, slot, 1, values)
        if random.randrange(20) == 0:
            self.recorder.event(0, "restarted", INFO, ONCE, {"boot": self.boots})
        self.commit()
        while self.archive and self.archive.step():
            pass

    def commit(self):
        """Stands for the recorder's own: note what is stored."""
        held, first = self.recorder._rows[:], self.journal.next
        self._commit()
        for i, row in enumerate(held[: self.journal.next - first]):
            if row[2] == EVENT and CODES.split()[row[3][0]] == "buffer_overrun":
                detail = json.loads(row[3][3])
                span = range(detail["first"] & 0xFFFFFFFF, (detail["last"] & 0xFFFFFFFF) + 1)
                self.named[detail["outlet"]].update(span)
            true = self.world.true - self.world.uptime + row[0] * 10
            self.truth[first + i] = row[1] or None, row[4] and row[4][:], true

    async def some(self, calm=False):
        """Let the outlets go on for a while, with links that come and go and acknowledgements that come late."""
        tasks = [asyncio.create_task(outlet.run(Life())) for outlet in self.outlets]
        for _ in range(random.randrange(1, 6)):
            for outlet in self.outlets:
                client = outlet.client
                if not calm and random.randrange(3) == 0:
                    client.connected = False
                    client.flight.clear()
                if not client.connected and (calm or random.randrange(2)):
                    client.connect()
                    client.room = 1000000 if calm else random.choice((3, 30, 1000000))
            await asyncio.sleep_ms(8)
            for outlet in self.outlets:
                client = outlet.client
                while client.connected and client.flight and random.randrange(30):
                    token = client.flight.pop(0)
                    if token is not None:
                        client.on_ack(token)
                del client.sent[:]
                client.room = 1000000
        for task in tasks:
            task.cancel()

    def drain(self):
        """Let everything arrive."""
        self.world.source = clock.NTP
        for turn in range(4000):  # a busy machine gives each little time
            asyncio.run(self.some(True))
            self.commit()
            if turn % 8 == 0 and turn < 100:
                self.read()  # what dates the frames before it
            if all(outlet.acked >= self.journal.next - 1 for outlet in self.outlets):
                return
        raise AssertionError([(outlet.name, outlet.acked, self.journal.next) for outlet in self.outlets])


def civil_ms(text):
    days = clock.civil.unix_s(*[int(part) for part in text[:10].split("-")])
    hour, minute, second = text[11:19].split(":")
    milli = int(text[20:23]) if "." in text else 0
    return (days + int(hour) * 3600 + int(minute) * 60 + int(second)) * 1000 + milli


def live(seed, archive):
    gc.collect()
    random.seed(seed)
    board = Board(archive)
    for _ in range(45):
        for _ in range(random.choice((1, 5, 20, 20, 150))):
            board.read()
        if random.randrange(3):
            asyncio.run(board.some())
        kind = random.randrange(8)
        if kind:
            board.commit()  # else the power goes before
        if kind == 0:
            board.world.true += random.randrange(1000, 3600000)
            board.boot()
        elif kind == 1 and board.world.source == clock.NONE:
            board.world.source = clock.NTP
        elif kind == 2 and board.journal.head > board.journal.tail:
            block = board.journal.block(random.randrange(board.journal.tail, board.journal.head))
            board.hot.flip(block * 4096 + 32 + random.randrange(3000), 1 << random.randrange(8))
    board.boot()
    board.drain()
    assert not board.wrong, (seed, len(board.wrong), board.wrong[:4])
    stored = set(range(board.journal.next)) & set(board.truth)
    for name in board.KINDS:
        have = set(board.got[name]) | board.named[name] | (board.binary if name == "dense" else set())
        missing = sorted(stored - have)
        if name == "part":
            missing = [at for at in missing if board.truth[at][0] in (2, 5)]
        missing = [at for at in missing if at < board.outlets[0].acked - 1]
        assert not missing, (seed, name, len(missing), missing[:9], board.journal.first)


def test_what_is_stored_arrives_or_an_event_names_it():
    for seed in range(3):
        live(seed, False)


def test_with_an_archive_it_comes_thinned():
    for seed in range(3):
        live(seed, True)
