"""One member of the mesh: `Node` wires the parts, and is driven by four calls.

    node = Node(conf, keys, app, rand)
    node.on_rx(frame, rssi, now, mac)    # what the radio received
    wait = node.tick(now)                # after each of these calls, and when the last `wait` ms are over
    out = node.next(now)                 # (mac, frame) to be sent, mac None: to all; None: nothing now
    node.on_sent(ok, now)                # before the next `next`: its fate

`now` is in ms and wraps at 2^30. docs/mesh.md says what conf, keys and app are.
"""

from micropython import const

from lib.mesh import counts, down
from lib.mesh.beacons import Beacons
from lib.mesh.channel import Channel
from lib.mesh.custody import Custody
from lib.mesh.frames import ALL, BEACON, BODY, DOWN, FLOOD, LACK, MOVE, OFF, SEQREQ, SOLICIT, UP, UPLINK
from lib.mesh.guard import Counter, Guard
from lib.mesh.nettime import NetTime
from lib.mesh.outbox import Outbox
from lib.mesh.queue import Queue
from lib.mesh.routes import Routes
from lib.mesh.secrecy import Secrecy
from lib.mesh.seqnos import Seqnos
from lib.mesh.ticks import diff, later
from lib.mesh.upward import Upward

ROOM = const(206)
_MINUTE_MS = const(60000)


class Node:
    """See the module; `parent_id()`, `neighbours()` and `counts` say how it fares."""

    room = ROOM

    def __init__(self, conf, keys, app, rand):
        net, key = keys
        self.id = conf.id
        self.is_root = conf.root
        self.acked_by_radio = conf.mac_ack
        self.app = app
        self.rand = rand
        self.config = 0  # version of the site's configuration, for all to see
        self.notes = counts.Counts(app.event)
        self.counts = self.notes.all
        self.guard = Guard(conf, net, app.epoch, self.notes)
        self.secrecy = Secrecy(key, Counter(conf.epoch, app.epoch), 256 if conf.root else 8)
        self.routes = Routes(conf.id, conf.root)
        self.queue = Queue(rand)
        self.nettime = NetTime(conf.time)
        self.channel = Channel(self, conf.channel)
        self.beacons = Beacons(self)
        self.down = down.Down(self)
        self.custody = Custody(self)
        self.collect = self.orders = None
        if conf.root:
            from lib.mesh.collect import Collect
            from lib.mesh.orders import Orders

            self.collect = Collect(self)
            self.orders = Orders(self)
        self.outbox = Outbox(self, not conf.mac_ack)
        self.upward = Upward(self)
        self.seqnos = Seqnos(self)
        self._minute = None  # when the next begins; None: not started yet
        self._wake = None  # when `tick` has something to do; None: at once
        self._uplink = conf.root

    # the radio

    def on_rx(self, frame, rssi, now, mac):
        """Take what was received, of whatever length and content, from an address of six bytes; `rssi` in dBm."""
        kind = self.guard.admit(frame, mac)
        if not kind or self._minute is None:
            return
        self._wake = None
        source = self.guard.source
        alone = self.guard.to != ALL
        taken = True
        neighbour = self.routes.links.hear(source, rssi, now, self.routes.parent)
        if kind == BEACON:
            self.beacons.heard(frame, neighbour, alone, now)
        elif kind == FLOOD or kind == DOWN and alone:
            taken = self.down.frame(kind, frame, neighbour, now)
        elif kind == UP and alone:
            taken = self.upward.take(frame, now)
        elif kind == SEQREQ and alone:
            self.seqnos.sought(frame, source, now)
        elif kind == SOLICIT:
            if self.routes.root and any(frame[BODY : BODY + 4]):  # zeros only ask for the acknowledgement
                self.outbox.asked(source, frame[BODY : BODY + 4], now)
        elif kind == MOVE:
            if not self.routes.root or source == self.parent_id():
                self.channel.heard_move(frame[BODY], now)
        elif kind == LACK:
            self.outbox.lacked(source, frame[BODY : BODY + 4], frame[BODY + 4] != 0, now)
            return
        if alone and not self.acked_by_radio:
            self.outbox.say(source, LACK, bytes(frame[7:BODY]) + bytes((taken,)))

    def on_sent(self, ok, now):
        """Take the fate of the frame that `next` gave last: whether it was acknowledged; for one to all: sent."""
        self._wake = None
        self.outbox.sent(ok, now)

    def next(self, now):
        """Return (mac, frame) to be sent now, mac None: to all; or None. The frame is valid until `on_sent`."""
        return None if self._minute is None else self.outbox.next(now)

    def tick(self, now):
        """Do what is due; return the ms until there is more to do, at most 1000."""
        if self._wake is not None:
            wait = diff(self._wake, now)
            if 0 < wait <= 1000:
                return wait
        if self._minute is None or diff(self._minute, now) <= 0:
            self._each_minute(now)
        most = self.outbox.tick(now, 1000)
        routed = bool(self.routes.root)
        if not routed:
            self.seqnos.seek(now)
        most = self.channel.tick(now, most, routed)
        most = self.beacons.tick(now, most)
        most = self.custody.tick(now, most)
        if self.collect:
            most = self.collect.tick(now, most)
            most = self.orders.tick(now, most)
        elif self.routes.parent:
            most = self.upward.tick(now, most)
        if not self.nettime.told:
            self.nettime.told = True
            self.app.time(self.nettime.read(now), self.nettime.bound(), self.nettime.epoch)
        most = self.outbox.wait(now, most)
        self._wake = later(now, most)
        return most

    def _each_minute(self, now):
        self._minute = later(now, _MINUTE_MS)
        self.guard.members.minute()
        self.routes.links.age(now, self.routes.parent)
        self.nettime.settle(now)
        if self.collect:
            self.collect.minute()
        self.notes.minute()
        self.upward.minute(now)
        self.seqnos.minute(now)
        self.beacons.minute(now)
        self.custody.minute(now)
        if not self.routes.root and self.outbox.flight < 0:
            self.queue.drop_up()
            self.custody.unqueued(now)
        self.upward.choose(now)

    # what the parts ask of each other

    def parent_id(self):
        """Return the id of the parent, 0 without one."""
        return self.routes.parent.id if self.routes.parent else 0

    def uplinked(self):
        """Return whether the root at the end of the route reaches its brokers."""
        return self._uplink if self.is_root else bool(self.routes.parent and self.routes.parent.flags & UPLINK)

    def moved(self, now):
        """The channel is another one: whoever came along has to find a route there."""
        if self.is_root:
            self.beacons.wave(now)

    # the application

    def offer(self, number, payload, now, kind=0):
        """Take a batch of at most `room` bytes into custody; False: not now. `kind`, 0..127, is the application's.

        `number` (u32) names this content for ever, and comes back in `app.acked` when a root has it safe.
        """
        if len(payload) > ROOM or not self.custody.offer(number, kind, payload, now):
            return False
        self._wake = None
        return True

    def confirm(self, origin, number, now):
        """At a root: the brokers have a batch."""
        self._wake = None
        self.collect.confirm(origin, number, now)

    def command(self, dst, ident, expiry_s, payload, now):
        """At a root: have a command carried out within `expiry_s`; False: too many, too long or nobody of ours."""
        self._wake = None
        return len(payload) <= ROOM and self.orders.command(dst, ident, expiry_s, payload, now)

    def answer(self, ident, payload, now):
        """At a node: the result, at most 207 bytes, of a command for which `app.command` returned None."""
        self._wake = None
        self.down.answer(ident, payload, now)

    def set_time(self, ms2020, stratum, now):
        """At a root: the time of day, None when it is not to be trusted any more."""
        self._wake = None
        if self.nettime.set(ms2020, stratum, now):
            self.beacons.wave(now)

    def uplink(self, ok, load, now):
        """At a root: whether the brokers are reached, and how busy it is (0..200, what is added to its cost)."""
        self._uplink = ok
        load = min(load, 200) if ok else OFF
        if load != self.routes.load:
            self.routes.load = load
            self.beacons.wave(now)  # a new seqno: only so a dearer route may be followed
            self._wake = None

    def move(self, channel, now):
        """At a root: take the site to another channel."""
        self._wake = None
        self.channel.heard_move(channel, now)

    def neighbours(self):
        """Return [(id, dBm, ETX x 100, cost to its root, its root, whether it is the parent)]."""
        parent = self.routes.parent
        return [(one.id, one.level // 16, one.etx, one.cost, one.root, one is parent) for one in self.routes.links.all]
