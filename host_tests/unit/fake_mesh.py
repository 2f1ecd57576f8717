"""A site in one process: a root with outlets and poles with journals, real nodes between them, an air that is a list.

    import fake_mesh                    # before anything of the gateway: it lives in virtual time
    site = fake_mesh.Site(poles=2)
    await site.until(lambda: len(site.client().got) > 10)

What is real: gateway/join, bridge, pole, root, couriers, lib/mesh and the journal on a NOR flash. An outlet's client
takes messages and acknowledges at once, or when it is told; the radio reaches everybody and loses nothing.
"""
import virtual_time  # noqa: F401, I001  before anything of the gateway

import asyncio
import json

from fake_nor import Nor
from fake_nvs import Nvs
from gateway import clock, couriers, join, pole
from gateway.archive import Archive
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import Names
from gateway.replay import Dating
from lib.journal import Journal
from lib.mesh import keys
from lib.mqtt import Stale

T0 = 1782138600000
SECRET = bytes(range(32))
COLUMNS = "\n1.8.0 kWh -3\n16.7.0 W -3"
pole.IDLE_MS = 5
couriers._IDLE_MS = 5


class Clock(clock.Clock):
    """Knows the time from T0 on, or learns it from the mesh."""

    def __init__(self, knows):
        self.source = clock.NTP if knows else clock.NONE
        self._offset, self._bound, self._set_at = T0, 10, 0
        self._uptime = clock.uptime_ms
        self.ppb, self.ppm, self.lag = 0, 50, 0
        self.sets = []

    def set(self, unix_ms, source, bound_ms):
        self.sets.append(unix_ms)
        before = self.now()
        self._set_at = self._uptime()
        self._offset, self._bound, self.source = unix_ms - self._set_at, bound_ms, source
        return None if before is None else unix_ms - before[0]


class Life:
    def beat(self):
        pass


class Air:
    """One member's radio; `deaf`: it is out of reach."""

    acknowledged = True
    channel = 6
    deaf = False

    def __init__(self, world, number):
        self.world, self.mac = world, bytes((2, 0, 0, 0, 0, number))
        self.got, self.ok = [], True
        world.append(self)

    def send(self, address, frame):
        self.ok = address is None
        for other in self.world:
            if other is not self and not other.deaf and not self.deaf and address in (None, other.mac):
                other.got.append((bytes(frame), self.mac))
                self.ok = True

    def sent(self):
        return self.ok

    def receive(self, take):
        while self.got:
            frame, mac = self.got.pop(0)
            take(memoryview(frame), -60, join_ticks(), mac)

    def tune(self, channel):
        self.channel = channel

    def crowded(self):
        return False


def join_ticks():
    from gateway import bridge

    return bridge.ticks()


class Client:
    """Takes messages; acknowledges them while `answers`."""

    def __init__(self):
        self.connected, self.generation, self.answers = True, 1, True
        self.got, self.kept, self.flight = [], {}, []
        self.own = []
        self.on_ack = self.own.append

    async def publish(self, topic, payload, retain=False, token=None, generation=None):
        await asyncio.sleep_ms(0)
        if not self.connected or generation != self.generation:
            raise Stale
        body = json.loads(bytes(payload).decode() if not isinstance(payload, str) else payload)
        if retain:
            self.kept[topic] = body
        else:
            self.got.append((topic, body))
        if token is not None:
            self.flight.append(token)
        if self.answers:
            self.answer()

    def answer(self):
        flight, self.flight = self.flight, []
        for token in flight:
            self.on_ack(token)

    def lose(self):
        self.connected = False
        self.flight = []

    def back(self):
        self.connected = True
        self.generation += 1

    def seqs(self, name):
        return [body["seq"] for topic, body in self.got if "/%s/" % name in topic and "seq" in body]


class Outlet:
    def __init__(self, name, more=()):
        self.name, self.client, self.more = name, Client(), dict(more)


class Health:
    """Runs tasks, and lets none die unseen."""

    def __init__(self):
        self.tasks, self.died = [], []

    def keep(self, name, start, limit_ms):
        self.tasks.append(asyncio.create_task(self._run(name, start)))

    async def _run(self, name, start):
        try:
            await start(Life())
        except Exception as error:
            self.died.append((name, error))
            raise

    def kill(self):
        for task in self.tasks:
            task.cancel()
        self.tasks = []


class Member:
    """A gateway on the mesh: flash, NVS and name outlive `kill` and `start`."""

    def __init__(self, site, number, outlets=(), knows=True, flash=32, archive=0):
        self.site, self.number, self.root = site, number, bool(outlets)
        self.outlets, self.knows = outlets, knows
        self.name = "root-%d" % number if outlets else "pole-%d" % number
        self.flash, self.nvs, self.boots = Nor(flash), Nvs(), 0
        self.cold = Nor(archive) if archive else None
        self.epoch = 4660 + number  # of the journal
        self.serials, self.layouts = ["SN-%d" % number, "SM-%d" % number], {1: COLUMNS}
        self.start()

    def start(self):
        self.boots += 1
        self.health = Health()
        self.clock = Clock(self.knows)
        self.journal = Journal(self.flash)
        self.journal.mount()
        self.recorder = Recorder(self.journal, self.boots, self.clock)
        self.names = Names(self.serials, self.layouts)
        conf = {"mesh": {"id": self.number, "root": self.root, "transport": "espnow", "channel": 6}, "network": {}}
        if self.root:
            secrets = {"mesh": {"secret": SECRET.hex()}}
        else:
            node = keys.node(SECRET, self.number).hex()
            secrets = {"mesh": {"site": keys.site(SECRET), "net": keys.net(SECRET).hex(), "node": node}}
        conf["uplinks"] = [dict({"name": outlet.name}, **outlet.more) for outlet in self.outlets]
        self.air = Air(self.site.world, self.number)
        join._air = lambda mesh, network: self.air

        class Ids:
            def cursor(self, name):
                return 1

        identity = "f", self.name, self.names, {1: 1, 2: 1}, self.epoch, 4
        dating = Dating(self.journal, self.clock, self.boots)
        self.archive = None
        if self.cold:
            ring = Journal(self.cold)
            ring.mount()
            dates = Dating(ring, self.clock, self.boots, False)
            self.archive = Archive(ring, self.journal, self.names, self.epoch, dates)
        shared = self.clock, self.recorder, self.nvs, self.journal, Ids(), dating, 0, self.outlets, self.archive
        self.bridge = join.member(conf, secrets, identity, shared)
        self.bridge._table_at = 0
        self.bridge.start(self.health.keep)

    def kill(self):
        self.health.kill()
        self.site.world.remove(self.air)

    def read(self, count, values=None, slot=1):
        for turn in range(count):
            self.recorder.reading(clock.uptime_ms(), slot, 1, values or [self.journal.next, -turn])
            self.recorder.commit()
            while self.archive and self.archive.step():
                pass

    def seqs(self):
        """What has to arrive."""
        return [(self.epoch << 32) + ordinal for ordinal in range(self.journal.first, self.journal.next)]

    def straight(self):
        return Northbound("f", self.name, self.names, {1: 1, 2: 1}, self.epoch, 4)


class Site:
    """`more`: what the configuration of an outlet has besides, by its name. `flash`, `archive`: blocks of a pole's."""

    def __init__(self, poles=1, outlets=("operator",), knows=True, more=(), flash=32, archive=0):
        self.world = []
        more = dict(more)
        self.root = Member(self, 100, [Outlet(name, more.get(name, ())) for name in outlets])
        rest = (), knows, flash, archive
        self.poles = [Member(self, number + 1, *rest) for number in range(poles)]

    def client(self, number=0):
        return self.root.outlets[number].client

    async def until(self, done, limit_ms=120000):
        began = clock.uptime_ms()
        while not done():
            await asyncio.sleep_ms(5)
            died = [one for member in [self.root] + self.poles for one in member.health.died]
            assert not died, died
            assert clock.uptime_ms() - began < limit_ms, "waited in vain"

    def end(self):
        for member in [self.root] + self.poles:
            member.health.kill()
