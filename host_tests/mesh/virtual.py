"""Real gateways on virtual time that hear each other over the simulated radio: fake_mesh.Site, in real places.

    import virtual                         # before anything of the gateway
    site = virtual.Site("grid", 8, seed=1)
"""

import sys

sys.path.insert(1, __file__.rsplit("/", 2)[0] + "/unit")

import random

import fake_mesh
import places
import radio
import virtual_time
from gateway import bridge, couriers, pole
from heap import World

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
        random.seed(seed)
        world = World()
        virtual_time.passed = lambda ms: world.run(ms * 1000)
        self.world = Heard(world, places.choose(kind, poles + 1).levels)
        self.root = fake_mesh.Member(self, ROOT, [fake_mesh.Outlet(name) for name in outlets])
        self.poles = [fake_mesh.Member(self, number + 1) for number in range(poles)]
