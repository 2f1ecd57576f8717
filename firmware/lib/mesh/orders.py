"""A root: commands on their way, each until its answer has come or its time is over.

First along the way that the node's frames came, then as a flood: a tree that has just moved cannot be trusted.
"""

from struct import pack, unpack_from

from micropython import const

from lib.mesh import down
from lib.mesh.frames import COMMAND
from lib.mesh.nettime import NEVER
from lib.mesh.ticks import diff, later

_ORDERS = const(16)
_FIRST_MS = const(2000)
_MOST_MS = const(30000)
_PENDING_MS = const(10000)
_EXPIRY_MOST_S = const(432000)  # 5 days: ticks wrap


class Order:
    """One command to one node."""

    def __init__(self, to, ident, end, text, now):
        self.to = to
        self.ident = ident
        self.end = end
        self.text = text
        self.due = now
        self.tries = 0


class Orders:
    """At most 16 commands."""

    def __init__(self, node):
        self._node = node
        self._orders = []

    def command(self, to, ident, expiry_s, payload, now):
        """Begin; return False when there are too many, or the node is none of ours."""
        node = self._node
        if len(self._orders) == _ORDERS or node.secrecy.key(to) is None or not 0 < expiry_s <= _EXPIRY_MOST_S:
            return False
        ms = node.nettime.read(now) if node.nettime.stratum != NEVER else None
        expiry = ms // 1000 + expiry_s if ms is not None else 0
        text = pack(">II", ident, expiry) + payload
        self._orders.append(Order(to, ident, later(now, expiry_s * 1000), text, now))
        return True

    def result(self, origin, text, now):
        """An answer has come up: ident 4 · state 1 · payload."""
        if len(text) < 5:
            return
        ident, state = unpack_from(">IB", text)
        for order in self._orders:
            if order.ident == ident and order.to == origin:
                if state == down.PENDING:
                    order.due = later(now, _PENDING_MS)
                    return
                self._orders.remove(order)
                if state == down.EXPIRED:
                    self._node.app.unreached(origin, ident)
                else:
                    self._node.app.result(origin, ident, text[5:] if state == down.DONE else None)
                return

    def tick(self, now, most):
        """Send what is due; return the ms until the next is, at most `most`."""
        for order in list(self._orders):
            if diff(order.end, now) <= 0:
                self._orders.remove(order)
                self._node.app.unreached(order.to, order.ident)
                continue
            if diff(order.due, now) <= 0:
                flood = order.tries > 0 or not self._node.guard.members.via(order.to)
                if down.send(self._node, order.to, COMMAND, order.text, flood, now):
                    order.tries += 1
                    wait = min(_MOST_MS, _FIRST_MS * 3 ** min(order.tries - 1, 8) // 2 ** min(order.tries - 1, 8))
                    order.due = later(now, wait)
                else:
                    order.due = later(now, 200)
            most = min(most, diff(order.due, now), diff(order.end, now))
        return most
