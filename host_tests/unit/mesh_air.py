"""A small radio for the tests of lib/mesh: who hears whom is said by a function, frames arrive 3 ms later.

    air = Air(lambda a, b: abs(a - b) == 1)      # a chain
    root = air.add(1, root=True)
    pole = air.add(2)
    air.run(5000)

The application of each node is an `App`: what it was told stands in its lists.
"""

import random

from lib.mesh import keys
from lib.mesh.node import Node

SECRET = bytes(range(32))
WRAP = (1 << 30) - 1
MS_2020 = 216 * 86400000
LATENCY = 3


class Conf:
    """What a node is told of itself."""

    def __init__(self, ident, root=False, epoch=1, mac_ack=True, window32=False, channel=6):
        self.site, self.id, self.root, self.epoch = keys.site(SECRET), ident, root, epoch
        self.channel, self.mac_ack, self.window32, self.time = channel, mac_ack, window32, 0


class App:
    """Notes what it is told; confirms a batch at once when `prompt`."""

    def __init__(self, conf):
        self.stored = conf.epoch
        self.ackeds, self.batches, self.results, self.lost, self.events, self.times = [], [], [], [], [], []
        self.commands, self.channels = [], []
        self.prompt, self.room, self.above = True, True, -1
        self.node = self.air = None

    def epoch(self):
        self.stored += 1
        return self.stored

    def acked(self, number):
        self.ackeds.append(number)

    def received(self, origin, number, kind, payload):
        if self.room:
            self.batches.append((origin, number, kind, bytes(payload)))
            if self.prompt:
                self.node.confirm(origin, number, self.air.now)
        return self.room

    def floor(self, ident):
        good = ident > self.above
        self.above = max(ident, self.above)
        return good

    def command(self, ident, payload):
        self.commands.append((ident, bytes(payload)))
        return b"did " + bytes(payload)

    def result(self, origin, ident, payload):
        self.results.append((origin, ident, payload))

    def unreached(self, dst, ident):
        self.lost.append((dst, ident))

    def time(self, ms2020, bound_ms, epoch):
        self.times.append((self.air.now, ms2020, bound_ms, epoch))

    def event(self, code, detail):
        self.events.append((code, detail))

    def channel(self, number):
        self.channels.append(number)


def node_keys(ident, root):
    """Return what a node is given: K_net, and a function of an id."""
    if root:
        return keys.net(SECRET), lambda who: keys.node(SECRET, who) if 0 < who < 1000 else None
    own = keys.node(SECRET, ident)
    return keys.net(SECRET), lambda who: own if who == ident else None


def mac_of(ident):
    return bytes((2, 0, 0, 0, ident >> 8, ident & 255))


class Air:
    """Nodes in reach of each other as `reach(a, b)` says; a lost unicast is not acknowledged."""

    def __init__(self, reach, seed=1, now=0):
        self.reach = reach
        self.now = now
        self.nodes = {}
        self.passed = 0  # ms since the beginning
        self.log = None  # (from, mac, frame) of all that is sent, when it is a list
        self._random = random
        random.seed(seed)
        self._flying = []  # (due, from, mac, frame)

    def add(self, ident, root=False, **more):
        """Start a node; an earlier one of that id is gone."""
        conf = Conf(ident, root, **more)
        app = App(conf)
        app.air = self
        app.node = Node(conf, node_keys(ident, root), app, lambda n: random.getrandbits(30) % n if n else 0)
        self.nodes[ident] = app.node
        app.node.tick(self.now)
        return app.node

    def remove(self, ident):
        self.nodes.pop(ident)
        self._flying = [one for one in self._flying if one[1] != ident]

    def run(self, ms):
        """Let time pass."""
        for _ in range(ms):
            self.step()

    def until(self, done, limit_ms=60000):
        """Let time pass until `done()`; return the ms it took."""
        for ms in range(limit_ms):
            if done():
                return ms
            self.step()
        raise AssertionError("not done in %d ms" % limit_ms)

    def step(self):
        self.now = (self.now + 1) & WRAP
        self.passed += 1
        while self._flying and self._flying[0][0] <= self.passed:
            _, source, mac, frame = self._flying.pop(0)
            acked = mac is None
            for ident in list(self.nodes):
                if ident != source and (mac is None or mac == mac_of(ident)) and self.reach(source, ident):
                    acked = True
                    self.nodes[ident].on_rx(frame, -60, self.now, mac_of(source))
            if source in self.nodes:
                self.nodes[source].on_sent(acked, self.now)
        for ident in list(self.nodes):
            node = self.nodes[ident]
            node.tick(self.now)
            out = node.next(self.now)
            if out:
                if self.log is not None:
                    self.log.append((ident, out[0], bytes(out[1])))
                self._flying.append((self.passed + LATENCY, ident, out[0], bytes(out[1])))
