"""Real gateways on virtual time: asyncio's clock only moves when every task sleeps, and then the radio's events happen.

    import virtual                    # before anything of the gateway
    site = virtual.site("grid", 8)    # a fake_mesh.Site whose members hear each other over the simulated radio
    virtual.run(story(site))

asyncio asks two things of its surroundings: the time, and to wait until a task is due. Both are its globals, in the
frozen module too. What the queue of tasks pushes without a time it stamps with the real clock, so virtual time begins
far above that: such a task is due at once.
"""

import sys
import time as real
from asyncio import core

_BEGIN_MS = 1 << 45


class Time:
    """The module `time` of all that is imported from now on."""

    def __getattr__(self, name):
        return getattr(real, name)

    def ticks_ms(self):
        return now_ms

    def ticks_us(self):
        return now_ms * 1000


class Waiting:
    """Takes the place of asyncio's poll."""

    def wait_io_event(self, ms):
        global now_ms
        now_ms += 1000 if ms < 0 else ms
        if world:
            world.run((now_ms - _BEGIN_MS) * 1000)


now_ms, world = _BEGIN_MS, None
core.ticks = lambda: now_ms
core._io_queue = Waiting()
sys.modules["time"] = Time()
sys.path.insert(1, __file__.rsplit("/", 2)[0] + "/unit")

import random  # noqa: E402

import fake_mesh  # noqa: E402
import places  # noqa: E402
import radio  # noqa: E402
from gateway import bridge, couriers, pole  # noqa: E402
from heap import World  # noqa: E402

pole.IDLE_MS, couriers._IDLE_MS = 200, 50


def _nothing(us=0):
    """A program that looks for itself needs no waking."""


class Handset:
    """What carries the frames of one member: as lib/media/espnow, over a station of the simulated radio."""

    acknowledged = True

    def __init__(self, air, number):
        self.station = station = air.stations[0 if number == ROOT else number]
        station.ms, station.soon, station.wake = bridge.ticks, _nothing, _nothing  # its task comes by itself
        station.start(True, radio_channel, 0)
        self.mac = station.mac

    @property
    def channel(self):
        return self.station.channel

    def send(self, address, frame):
        self.station.air.send(self.station, address, bytes(frame))

    def sent(self):
        ok, self.station.sent = self.station.sent, None
        return ok

    def receive(self, take):
        ring = self.station.ring
        while ring:
            frame, level, stamp, mac = ring.pop(0)
            self.station.ring_size -= len(frame) + 15
            take(memoryview(frame), level, stamp, mac)

    def tune(self, channel):
        self.station.channel = channel

    def crowded(self):
        return False


ROOT, radio_channel = 100, 6  # the number that fake_mesh gives to a root
fake_mesh.Air = Handset


class Heard(radio.Air):
    """The simulated radio; fake_mesh takes it for its list of radios."""

    def remove(self, handset):
        handset.station.stop()


class Site(fake_mesh.Site):
    """A root and poles in real places."""

    def __init__(self, kind, poles, seed, outlets=("operator",)):
        global world
        random.seed(seed)
        world = World()
        self.world = Heard(world, places.choose(kind, poles + 1).levels)
        self.root = fake_mesh.Member(self, ROOT, [fake_mesh.Outlet(name) for name in outlets])
        self.poles = [fake_mesh.Member(self, number + 1) for number in range(poles)]
