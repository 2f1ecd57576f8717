"""What a node of a 100-node site keeps on the heap: fills all of its tables with what comes over the air.

Runs on the 32-bit build, step by step (wasm.mjs): garbage is collected between the steps. AES is a stand-in there; its
objects are counted neither before nor after.
"""

import struct

from lib.mesh import keys
from lib.mesh.counts import Counts
from lib.mesh.guard import Counter, Guard
from lib.mesh.node import Node
from lib.mesh.secrecy import Secrecy

MEMBERS = 100
ALL = 0xFFFF  # as in lib/mesh/frames, whose constants are not there in what ships
BEACON, UP, DOWN, BODY, UPWARD, COMMAND, UPLINK, ROOT = 1, 2, 3, 11, 0x20, 0x32, 2, 16
BEACON_BODY, UP_BODY, DOWN_BODY = ">HHHBHBBBBHIBBHH", ">HHBBHHH", ">HHBBHH"
SECRET = bytes(32)


class Conf:
    """A node's configuration."""

    def __init__(self, ident, root):
        self.site, self.id, self.root, self.epoch = keys.site(SECRET), ident, root, 20000
        self.channel, self.mac_ack, self.window32, self.time = 6, True, False, 0


class App:
    """Takes everything, confirms nothing: the worst case for a root."""

    def epoch(self):
        return None

    def heard(self, origin):
        pass

    def received(self, origin, number, kind, payload):
        return True

    def floor(self, ident):
        return True

    def command(self, ident, payload):
        return bytes(32)

    def time(self, ms2020, bound_ms, epoch):
        pass

    def event(self, code, detail):
        pass


def member(ident):
    """Return what another member signs with."""
    return Guard(Conf(ident, False), keys.net(SECRET), None, Counts(None))


def _sent(guard, to, kind, body):
    buf = bytearray(250)
    buf[BODY : BODY + len(body)] = body
    return bytes(buf[: guard.seal(memoryview(buf), BODY + len(body), kind, to)])


def fill(root):
    """Return a node that has heard a hundred members and whose queue, window and caches are full."""
    ident = 1 if root else 2
    own = keys.node(SECRET, ident)
    key = (lambda who: keys.node(SECRET, who)) if root else (lambda who: own if who == ident else None)
    node = Node(Conf(ident, root), (keys.net(SECRET), key), App(), lambda n: 0)
    now = 1000
    node.tick(now)
    for other in range(1, MEMBERS + 1):
        if other == ident:
            continue
        guard = member(other)
        mac = bytes((2, 0, 0, 0, 0, other))
        leads = other == 1
        body = struct.pack(BEACON_BODY, 1, 7, 0 if leads else 400, 0 if leads else 2, 0 if leads else 3,
                           UPLINK | (ROOT if leads else 0), 1, 6, 0, 50, 0, 1, 1, 0, 0)  # fmt: skip
        node.on_rx(_sent(guard, ALL, BEACON, body), -60, now, mac)
        sealer = Secrecy(lambda who: keys.node(SECRET, who), Counter(20000, None), 1)
        for batch in range(4 if root else 1):
            text = struct.pack(">BHHI", 0, 3, batch, 1000 + batch) + bytes(180)
            sealed = sealer.seal(UPWARD, other, 1, text)
            up = struct.pack(UP_BODY, other, 1, 1, 0, 600, sealer.counter.epoch, sealer.counter.ctr) + sealed
            node.on_rx(_sent(guard, ident, UP, up), -60, now, mac)
    if root:
        for number in range(16):
            node.command(3 + number, 1 + number, 3600, bytes(60), now)
        node.tick(now)
    else:
        _full_pole(node, now)
    return node


def _full_pole(node, now):
    """Let a pole have four batches under way and sixteen results at hand, behind a queue of others' frames."""
    while node.queue.count > 8:
        node.queue.free(next(slot for slot in range(20) if node.queue.kind[slot]))
    number = 0
    while number < 4:  # their pace is one in 8 s at first
        now += 1000
        node.tick(now)
        if node.offer(number, bytes(206), now):
            number += 1
        elif now > 60000:
            raise ValueError("batch %d was not taken" % number)
    at = member(1)
    at.counter.ctr += 1000
    sealer = Secrecy(lambda who: keys.node(SECRET, who), Counter(20000, None), 1)
    for number in range(16):
        sealed = sealer.seal(COMMAND, node.id, 1, struct.pack(">II", 1 + number, 0) + bytes(60))
        down = struct.pack(DOWN_BODY, node.id, 1, 9, 2, sealer.counter.epoch, sealer.counter.ctr) + sealed
        node.on_rx(_sent(at, node.id, DOWN, down), -60, now, bytes(6))
    node.tick(now)


def filled(node):
    """Return whether its tables are as full as they can be in such a site."""
    return len(node.guard.members.rows) == MEMBERS - 1 and len(node.routes.links.all) == 24 and node.queue.count > 12
