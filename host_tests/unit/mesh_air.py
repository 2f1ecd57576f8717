"""A small radio for the tests of lib/mesh: who hears whom is said by a function, frames arrive 3 ms later.

    air = Air(lambda a, b: abs(a - b) == 1)      # a chain
    root = air.add(1, root=True)
    pole = air.add(2)
    air.run(5000)

The application of each node is an `App`: what it was told stands in its lists.
"""

import random
from struct import pack_into

import soft_aes  # noqa: F401
from lib.mesh import counts, keys
from lib.mesh.frames import ALL, BEACON, BEACON_BODY, BODY
from lib.mesh.guard import Guard
from lib.mesh.node import Node

SECRET = bytes(range(32))
WRAP = (1 << 30) - 1
MS_2020 = (4 * 65536 + 100) * 60000  # a root's seqno begins at 100
LATENCY = 3


class Conf:
    """What a node is told of itself."""

    def __init__(self, ident, root=False, epoch=1, mac_ack=True, window32=False, channel=6, time=0):
        self.site, self.id, self.root, self.epoch = keys.site(SECRET), ident, root, epoch
        self.channel, self.mac_ack, self.window32, self.time = channel, mac_ack, window32, time


class App:
    """Notes what it is told; confirms a batch at once when `prompt`."""

    def __init__(self, conf):
        self.stored = conf.epoch
        self.ackeds, self.batches, self.results, self.lost, self.events, self.times = [], [], [], [], [], []
        self.commands, self.channels = [], []
        self.prompt, self.room, self.above, self.writable = True, True, -1, True
        self.node = self.air = None

    def epoch(self):
        if not self.writable:
            return None
        self.stored += 1
        return self.stored

    def acked(self, number):
        self.ackeds.append(number)

    def heard(self, origin):
        pass

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
        random.seed(seed)
        self.rssi = lambda a, b: -60
        self.unheard = set()  # (from, to) whose broadcasts are lost
        self.acks = True  # the radio says whether a unicast was acknowledged
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
        end = self.passed + ms
        while self.passed < end:
            self.step(end - self.passed)

    def until(self, done, limit_ms=60000):
        """Let time pass until `done()`; return the ms it took."""
        began = self.passed
        while not done():
            assert self.passed - began < limit_ms, "not done in %d ms" % limit_ms
            self.step(limit_ms)
        return self.passed - began

    def step(self, most):
        """Go on to when something happens, at most so many ms."""
        if self._flying:
            most = min(most, self._flying[0][0] - self.passed)
        for ident in list(self.nodes):
            node = self.nodes[ident]
            most = min(most, max(1, node.tick(self.now)))
            out = node.next(self.now)
            if out:
                if self.log is not None:
                    self.log.append((ident, out[0], bytes(out[1])))
                self._flying.append((self.passed + LATENCY, ident, out[0], bytes(out[1])))
                most = min(most, LATENCY)
        self.now = (self.now + most) & WRAP
        self.passed += most
        while self._flying and self._flying[0][0] <= self.passed:
            _, source, mac, frame = self._flying.pop(0)
            acked = mac is None
            for ident in list(self.nodes):
                if mac is None and (source, ident) in self.unheard:
                    continue
                if ident != source and (mac is None or mac == mac_of(ident)) and self.reach(source, ident):
                    acked = True
                    self.nodes[ident].on_rx(frame, self.rssi(source, ident), self.now, mac_of(source))
            if source in self.nodes:
                self.nodes[source].on_sent(acked if self.acks else True, self.now)


def chain(n, **more):
    """Return (air, nodes) of a chain that has formed; node 1 is the root, `now` is about to wrap."""
    air = Air(lambda a, b: abs(a - b) == 1, now=WRAP - 4000)
    root = air.add(1, root=True, **more)
    root.set_time(MS_2020, 1, air.now)
    nodes = [root] + [air.add(ident, **more) for ident in range(2, n + 1)]
    air.until(lambda: all(node.routes.root for node in nodes), 20000)
    return air, nodes


class Insider:
    """A stolen pole: it has K_net, and says what it wants."""

    def __init__(self, ident):
        self.guard = Guard(Conf(ident, epoch=100), keys.net(SECRET), lambda: None, counts.Counts(None))

    def frame(self, to, kind, body):
        buf = bytearray(250)
        buf[BODY : BODY + len(body)] = body
        return bytes(buf[: self.guard.seal(memoryview(buf), BODY + len(body), kind, to)])

    def beacon(self, root, seqno, cost, hops, flags, ms=0, clock=1, parent=1):
        body = bytearray(25)
        pack_into(BEACON_BODY, body, 0, root, seqno, cost, hops, parent, flags, 1, 6, 0, ms >> 32, ms & 0xFFFFFFFF, 1,
                  clock, 0, 0)  # fmt: skip
        return self.frame(ALL, BEACON, body)
