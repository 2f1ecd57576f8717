"""The mesh of the firmware, as the simulator drives it, and what its frames tell the judge (docs/mesh.md)."""

import random

from gateways import T0_MS
from lib.ccm import Cmac
from lib.mesh import counts, keys
from lib.mesh.node import Node

HOPS = 15
DUPLICATE = counts.DUPLICATE
SECRET = bytes(range(32))
BEACON, UP = 1, 2
DAY_MS = 86400000


class Signed:
    """Keeps the last tags, by message: what is said to all is judged by fifty, with one key."""

    def __init__(self):
        self._tag = Cmac.tag
        self._known = {}

    def tag(self, cmac, message):
        message = bytes(message)
        if message not in self._known:
            if len(self._known) > 64:
                self._known.clear()
            self._known[message] = self._tag(cmac, message)
        return self._known[message]


_signed = Signed()
Cmac.tag = lambda self, message: _signed.tag(self, message)
_nets = keys.site(SECRET), keys.net(SECRET)
_nodes = {}


def _key(ident):
    if ident not in _nodes:
        _nodes[ident] = keys.node(SECRET, ident)
    return _nodes[ident]


def make(conf, pole):
    """Return the node of a gateway: a pole has its own key, a root those of all."""
    conf.site, conf.time = _nets[0], T0_MS - DAY_MS
    own = _key(conf.id)
    return Node(conf, (_nets[1], _key if conf.root else lambda ident: own if ident == conf.id else None), pole, _rand)


def _rand(n):
    return random.randrange(n)


def look(frame):
    """Return what a frame is to the judge: is it a beacon, its origin, hops taken, its key, which repetition it is."""
    kind = frame[0] & 15
    if kind == UP:
        return False, frame[11] << 8 | frame[12], frame[15], frame[11:13] + frame[19:23], frame[16] & 0x7F
    return kind == BEACON, 0, 0, None, 0


def parent(node):
    """Return the id of a node's parent, 0 without one."""
    return node.parent_id()


def hops(node):
    """Return how many hops away a node's root is now; 0 when it has none, or is off."""
    return node.routes.hops() if node and node.routes.root else 0


def moved(node, channel, now):
    """A root's radio was taken to another channel."""
    node.move(channel, now)


def set_seqno(node, seqno):
    """Let a root count its waves on from a number."""
    node.routes.own = seqno


def table(pole, spot):
    """Return what a gateway tells of its neighbours (docs/northbound/mesh.schema.json), with its place in metres."""
    node = pole.station.node
    neighbours = [
        {"id": ident, "rssi": dbm, "etx": etx / 100, "cost": cost} for ident, dbm, etx, cost, *_ in node.neighbours()
    ]
    return {
        "gatewayId": "pole-%d" % pole.id, "id": pole.id, "isRoot": pole.root, "root": node.routes.root,
        "parent": node.parent_id(), "hops": node.routes.hops(), "cost": node.routes.cost(),
        "channel": pole.station.channel, "neighbours": neighbours, "x": spot[0], "y": spot[1],
    }  # fmt: skip
