"""Virtual time: a heap of plain integers, and what is to be done at each.

    world = World()
    world.at(world.now + 5000, call, argument)
    world.run(60 * 1000 * 1000)

A key is `us << 20 | number`: an int of the unix port needs no object on the heap. Equal seeds give equal runs.
"""

from heapq import heappop, heappush

_NUMBERS = 0xFFFFF


class World:
    """The clock of a simulation (`now`, us) and what is still to happen."""

    def __init__(self):
        self.now = 0
        self.events = 0  # how many have happened
        self._keys = []
        self._calls = {}
        self._number = 0

    def at(self, us, call, argument=None):
        """Let `call(argument)` happen at `us`; what is due at the same instant happens in this order."""
        calls = self._calls
        number = (self._number + 1) & _NUMBERS
        while number in calls:
            number = (number + 1) & _NUMBERS
        self._number = number
        calls[number] = call, argument
        heappush(self._keys, us << 20 | number)

    def run(self, until):
        """Let happen what is due before `until`, us, and let it be `until`."""
        keys, calls = self._keys, self._calls
        end = until << 20
        while keys and keys[0] < end:
            key = heappop(keys)
            self.now = key >> 20
            call, argument = calls.pop(key & _NUMBERS)
            self.events += 1
            call(argument)
        self.now = until
