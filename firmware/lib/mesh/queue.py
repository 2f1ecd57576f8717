"""Frames on their way through this node: own ones and those of others, in one piece of memory made once.

A frame keeps its place until the next hop has acknowledged it, or all tries are used up. What goes down comes first:
acknowledgements make room everywhere.
"""

from array import array

from micropython import const

from lib.mesh.frames import FLOOD, LIMIT, UP
from lib.mesh.ticks import diff, later

SIZE = const(20)
LONG = const(14)  # from here on the node says that it is busy
_TRIES_UP = const(8)
_TRIES_DOWN = const(5)
_WAIT_MS = const(20)
_SPREAD_MS = const(40)  # doubled with each try
_SPREAD_MOST_MS = const(640)
_SEEN = const(64)  # frames that are known again
_KEY = const(7)


class Queue:
    """At most 20 frames. A slot has: kind (0: free), length without MIC, next hop (0: the parent), tries, owner."""

    def __init__(self, rand):
        self._rand = rand
        self._bytes = memoryview(bytearray(SIZE * LIMIT))
        self.kind = bytearray(SIZE)
        self.length = bytearray(SIZE)
        self.to = array("H", bytes(2 * SIZE))
        self.tries = bytearray(SIZE)  # of a FLOOD: how many copies were heard
        self.owner = bytearray(SIZE)  # which of the own batches, 0: none
        self._due = array("I", bytes(4 * SIZE))
        self._order = array("H", bytes(2 * SIZE))
        self._newest = 0
        self.count = 0
        self._seen = bytearray(_SEEN * _KEY)
        self._seen_at = 0

    def frame(self, slot):
        """Return the bytes of a slot, 250."""
        return self._bytes[slot * LIMIT : slot * LIMIT + LIMIT]

    def take(self, kind, length, to, due, owner=0):
        """Return a slot for a frame, -1 when there is none; its body is still to be written."""
        for slot in range(SIZE):
            if not self.kind[slot]:
                self.kind[slot] = kind
                self.length[slot] = length
                self.to[slot] = to
                self.tries[slot] = 0
                self.owner[slot] = owner
                self._due[slot] = due
                self._newest = self._newest + 1 & 0xFFFF
                self._order[slot] = self._newest
                self.count += 1
                return slot
        return -1

    def free(self, slot):
        """Give a slot back."""
        if self.kind[slot]:
            self.kind[slot] = 0
            self.count -= 1

    def pick(self, now, routed):
        """Return the slot that is to be sent next, -1 when none is due; without a route what goes up waits."""
        best = -1
        least = 0x1FFFF
        if self.count:
            for slot in range(SIZE):
                kind = self.kind[slot]
                if kind and diff(self._due[slot], now) <= 0 and (routed or kind != UP):
                    age = (self._order[slot] - self._newest - 1 & 0xFFFF) + (0x10000 if kind == UP else 0)
                    if age < least or best < 0:
                        best = slot
                        least = age
        return best

    def wait(self, now, routed, most):
        """Return the ms until the next frame is due, at most `most`."""
        if self.count:
            for slot in range(SIZE):
                if self.kind[slot] and (routed or self.kind[slot] != UP):
                    most = min(most, max(0, diff(self._due[slot], now)))
        return most

    def failed(self, slot, now):
        """Nobody acknowledged it: try again later. Return False when it was given up."""
        tries = self.tries[slot] = self.tries[slot] + 1
        if tries >= (_TRIES_UP if self.kind[slot] == UP else _TRIES_DOWN):
            self.free(slot)
            return False
        self._due[slot] = later(now, _WAIT_MS + self._rand(min(_SPREAD_MOST_MS, _SPREAD_MS << tries)))
        return True

    def drop_up(self):
        """Give up what goes up: there is no route, and the origins send it again."""
        for slot in range(SIZE):
            if self.kind[slot] == UP:
                self.free(slot)

    def owned(self, owner):
        """Return the slot of an own batch, -1 when it is not here."""
        for slot in range(SIZE):
            if self.kind[slot] and self.owner[slot] == owner:
                return slot
        return -1

    def flooding(self, key):
        """Return the slot of a FLOOD that waits to be sent on, -1 when it is not here; `key`: as for `known`."""
        for slot in range(SIZE):
            if self.kind[slot] == FLOOD:
                frame = self.frame(slot)
                if bytes(frame[13:15]) + bytes(frame[17:21]) == key[1:]:
                    return slot
        return -1

    def known(self, key):
        """Return whether a frame with these seven bytes was here lately, and know it from now on."""
        at = self._seen.find(key)
        while at >= 0:
            if not at % _KEY:
                return True
            at = self._seen.find(key, at + 1)
        self._seen[self._seen_at : self._seen_at + _KEY] = key
        self._seen_at = (self._seen_at + _KEY) % len(self._seen)
        return False
