"""A member of the mesh: its radio drives the node (lib/mesh), and what the node tells reaches clock and journal.

    bridge = Pole(...) or Root(...)     # gateway/pole, gateway/root; gateway/join makes node and air
    bridge.start(keep)                  # its tasks

The node is called from one place, in the order that it wants: what was received, what became of the frame that was
sent, `tick`, and then the next frame. Ten milliseconds are the grain of the chip's asyncio; a frame is on its way for
three.
"""
import asyncio
from time import ticks_ms

import machine
from micropython import const

from gateway import clock, log
from gateway.clock import uptime_ms
from gateway.records import INFO, ONCE, WARN
from lib import civil, once

TICKS = const(0x3FFFFFFF)
_GRAIN_MS = const(10)
_LIMIT_MS = const(10000)
_LOOK_MS = const(10000)
_STEP_MS = const(1000)  # a correction that is an event
_CALM_MS = const(600000)  # so long without a route, and an event says so; strangers make no reset sooner
_HOUR_MS = const(3600000)
SINCE_MS = civil.unix_s(2020, 1, 1) * 1000
_TROUBLE = (  # in the order of lib/mesh/counts
    "malformed", "other_site", "replay", "forged", "unsealed", "unknown", "duplicate", "liar", "silent", "loop",
    "crowded", "time", "lost_way", "unread",
)  # fmt: skip


def ticks():
    """Return the ms that the node counts in: they wrap at 2^30."""
    return ticks_ms() & TICKS


class Bridge:
    """What a pole and a root have in common."""

    name = "mesh"

    def __init__(self, now, recorder, nvs):
        self.clock = now
        self.recorder = recorder
        self.nvs = nvs
        self._hour = -1  # of the network's time that was kept last
        self._routed = 0  # uptime ms when there was a route last
        self._told = False  # an event has said that there is none
        self._look_at = 0

    def joined(self, node, air):
        """Take the node, and what carries its frames."""
        self.node = node
        self.air = air

    def start(self, keep):
        """Start the task of the radio; `keep` is that of gateway/health."""
        keep(self.name, self.run, _LIMIT_MS)

    def keep(self, at_once=False):
        """Write to flash what has to outlive a reset."""

    async def run(self, life):
        """Drive the node, for ever."""
        node, air = self.node, self.air
        node.on_sent(False, ticks())  # started anew after a death, nobody knows what became of the frame on its way
        flying = False
        while True:
            life.beat()
            if flying:
                flying = self._fate()
            air.receive(self._take)
            node.tick(ticks())
            if not flying:
                out = node.next(ticks())
                if out:
                    air.send(*out)
                    flying = self._fate()  # by UDP it is known at once, and has to be before an answer comes
            if uptime_ms() >= self._look_at:
                self._look_at = uptime_ms() + _LOOK_MS
                self.look(uptime_ms())
            await asyncio.sleep_ms(_GRAIN_MS)

    def _fate(self):
        """Tell the node what became of the frame that was sent; return whether that is still open."""
        ok = self.air.sent()
        if ok is None:
            return True
        self.node.on_sent(ok, ticks())
        return False

    def _take(self, frame, rssi, now, mac):
        self.node.on_rx(frame, rssi, now, mac)
        self.node.tick(ticks())

    def look(self, now):
        """Look, each ten seconds, whether all is well."""
        node = self.node
        if node.routes.root:
            self._routed = now
        lost = now - self._routed > _CALM_MS
        if lost != self._told:
            self._told = lost
            once.call("gateway.standing", "network", self.name, "no route" if lost else "", self.recorder)
        if self.air.crowded() and now > _CALM_MS:
            log.error(self.name, "only a reset helps the radio")
            self.recorder.commit()
            self.keep(True)
            machine.reset()

    # what the node calls

    def epoch(self):
        """Store the next epoch of the counters and return it; None when flash will not have it."""
        return once.call("gateway.join", "epoch", self.nvs, self.clock)

    def floor(self, ident):
        """Return whether a command is newer than all before it; it is stored then, before it is carried out."""
        return once.call("gateway.join", "floor", self.nvs, ident)

    def channel(self, channel):
        """Tune the radio."""
        log.info(self.name, "channel %d" % channel)
        self.air.tune(channel)

    def event(self, code, detail):
        """Record what is not as it should be; the node bounds how often."""
        self.recorder.event(0, "mesh_trouble", WARN, ONCE, {"what": _TROUBLE[code], "member": detail})

    def time(self, ms, bound_ms, epoch):
        """Take the network's time, unless the clock knows better by itself, or as well."""
        now = self.clock.now()
        unix_ms = ms + SINCE_MS
        if now:
            if self.clock.source > clock.MESH and now[1] <= bound_ms:
                return
            if abs(unix_ms - now[0]) <= now[1] < 2 * bound_ms:
                return
        try:
            moved = self.clock.set(unix_ms, clock.MESH, bound_ms)
        except ValueError:
            return
        if moved is None or abs(moved) >= _STEP_MS:
            self.recorder.event(0, "clock_set", INFO, ONCE, {"source": "mesh", "stepMs": moved or 0})
        if ms // _HOUR_MS != self._hour:
            self._hour = ms // _HOUR_MS
            try:
                self.nvs.set_i32("mesh_hour", self._hour)
                self.nvs.commit()
            except OSError:
                pass  # after a reset an older beacon is believed: less than a mesh that stands still

    # what a pole or a root does with it

    def acked(self, number):
        """A root has a batch."""

    def heard(self, origin):
        """A frame of a member has come to a root."""

    def received(self, origin, number, kind, payload):
        """A batch has come to a root."""
        return False

    def command(self, ident, payload):
        """Carry out what a root asks for; return the result, or None when it comes later."""
        return b""

    def result(self, origin, ident, payload):
        """A command was carried out."""

    def unreached(self, origin, ident):
        """A command was not carried out in time."""

    def table(self, volatile=False):
        """Return who is heard and how well, and the way that is used, as bytes: docs/northbound/mesh.md."""
        return once.call("gateway.brief", "table", self.node, self.clock.trusted(), volatile, self.air.channel)
