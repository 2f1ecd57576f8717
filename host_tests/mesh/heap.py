"""Virtual time: a heap of plain integers, and what is to be done at each.

    world = World()
    world.at(world.now + 5000, call, argument)
    world.run(60 * 1000 * 1000)

A key is `us << 20 | place`, where `place` is that of the call in a list: an int of the unix port needs no object on the
heap, and a dict that is filled and emptied for ever gets slow in MicroPython. Equal seeds give equal runs.
"""

from heapq import heappop, heappush

_PLACES = 0xFFFFF


class World:
    """The clock of a simulation (`now`, us) and what is still to happen, at most a million things."""

    def __init__(self):
        self.now = 0
        self.events = 0  # how many have happened
        self._keys = []
        self._calls = []
        self._free = []

    def at(self, us, call, argument=None):
        """Let `call(argument)` happen at `us`; what is due at the same instant happens in some order."""
        free = self._free
        if free:
            place = free.pop()
            self._calls[place] = call, argument
        else:
            place = len(self._calls)
            self._calls.append((call, argument))
        heappush(self._keys, us << 20 | place)

    def run(self, until):
        """Let happen what is due before `until`, us, and let it be `until`."""
        keys, calls, free = self._keys, self._calls, self._free
        end = until << 20
        while keys and keys[0] < end:
            key = heappop(keys)
            self.now = key >> 20
            place = key & _PLACES
            call, argument = calls[place]
            free.append(place)
            self.events += 1
            call(argument)
        self.now = until
