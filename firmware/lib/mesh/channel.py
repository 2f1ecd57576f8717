"""Finding the channel of the site: listen, ask, scan; and taking the others along when it has moved.

The channel that counts is the one that a signed beacon names: on the neighbouring ones it is heard too.
"""

from micropython import const

from lib.mesh.frames import ALL, MOVE, SOLICIT
from lib.mesh.ticks import diff, later

_CHANNELS = const(14)
_ORDER = b"\x01\x06\x0b\x02\x03\x04\x05\x07\x08\x09\x0a\x0c\x0d"
_LISTEN_MS = const(30000)  # without a route, before the first scan
_BETWEEN_MS = const(10000)  # between scans, and as much again by chance: not all at once
_QUICK = const(4)  # scans; from then on that time is doubled after each
_LISTEN_MOST_MS = const(300000)
_DOUBLED = const(5)  # times, and it is more than that
_DWELL_MS = const(150)  # twice on each channel
_ASK_MS = const(1000)  # between two questions while listening; doubled
_MOVES = const(3)
_MOVE_MS = const(60)


class Channel:
    """`at`: the channel that the radio is on, 0 where there are none (UDP): then nothing is scanned."""

    def __init__(self, node, hint):
        self._node = node
        self._hint = hint
        self.at = hint
        self.nonce = b""  # of the last question
        self._good = hint  # where there was a route last
        self._lost = None  # since when there is none
        self._due = 0
        self._ask = _ASK_MS
        self._listen = _LISTEN_MS
        self._scans = 0  # since the route was lost
        self._scan = None  # channels still to be tried
        self._asked = False
        self._moving = 0  # times that MOVE is still to be said
        self._to = 0

    def tick(self, now, most, routed):
        """Do what is due; return the ms until the next is, at most `most`."""
        if self._moving:
            return self._say(now, most)
        if routed:
            if self._lost is not None:
                self._lost = self._scan = None
                self._listen = _LISTEN_MS
                self._scans = 0
                self._good = self.at
            return most
        if self._lost is None:
            self._lost = now
            self._due = later(now, self._node.rand(500))
            self._ask = _ASK_MS
        wait = diff(self._due, now)
        if wait > 0:
            return min(most, wait)
        if self._scan is None and self._hint and diff(now, self._lost) >= self._listen:
            self._scan = list(bytes((self._good, self._hint)) + _ORDER)
            self._asked = True
        if self._scan is None:
            self.question(ALL)
            self._due = later(now, self._ask + self._node.rand(self._ask // 2))
            self._ask = min(2 * self._ask, _LISTEN_MS // 2)
        elif self._asked and not self._scan:
            self._scan = None
            self._lost = now
            self._scans += 1
            wait = min(_LISTEN_MOST_MS, _BETWEEN_MS << min(max(0, self._scans - _QUICK), _DOUBLED))
            self._listen = wait + self._node.rand(wait)
            self._ask = _ASK_MS
            self._tune(self._hint)
        else:
            if self._asked:
                self._tune(self._scan.pop(0))
            self._asked = not self._asked
            self.question(ALL)
            self._due = later(now, _DWELL_MS)
        return 0

    def question(self, to):
        """Ask for a beacon that carries a number which nobody knew before."""
        node = self._node
        self.nonce = bytes([node.rand(256) for _ in range(4)])
        node.outbox.say(to, SOLICIT, self.nonce)

    def _tune(self, channel):
        if channel and channel != self.at:
            self.at = channel
            self._node.app.channel(channel)

    def beacon(self, channel, now):
        """Somebody with a route names the channel of the site, and this node has no route yet."""
        if self._moving or not self._hint or not 0 < channel <= _CHANNELS:
            return
        if channel != self._good and self._scan is not None:
            self._tune(self._good)  # back once, for those who still listen there
            self.move(channel)
        elif channel != self.at:
            self._tune(channel)
            self._begin(now)

    def _begin(self, now):
        self._scan = None
        self._lost = now
        self._due = now
        self._ask = _ASK_MS

    def heard_move(self, channel, now):
        """The parent, or anybody while there is no route, leaves for another channel: pass it on and follow."""
        if 0 < channel <= _CHANNELS and channel != self.at and not self._moving and self._hint:
            self._due = later(now, self._node.rand(_MOVE_MS))
            self.move(channel)

    def move(self, channel):
        """Say three times where one goes, and go."""
        self._moving = _MOVES + 1
        self._to = channel

    def _say(self, now, most):
        if diff(self._due, now) > 0 and self._moving <= _MOVES:
            return min(most, diff(self._due, now))
        self._moving -= 1
        self._due = later(now, _MOVE_MS)
        if self._moving:
            self._node.outbox.say(ALL, MOVE, bytes((self._to, 0)))
            return min(most, _MOVE_MS)
        self._good = self._hint = self._to
        self._tune(self._to)
        self._begin(now)
        self._node.moved(now)
        return 0
