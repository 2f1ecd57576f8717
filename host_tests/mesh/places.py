"""Where the stations of a site stand. Places are (x, y) in metres; the first `roots` of them are the roots.

    chosen = choose("grid", 50, roots=2)
    chosen.levels       as radio.levels(); every station can reach a root over usable links
"""

import random

import radio

USABLE = 0.5  # of the frames that are heard each way, for a link that counts as one
DEEPEST = 12  # hops, at most, from any station to a root
SPACING_M = 150
LINE_M, BETWEEN_M = 2000, 100
DENSE_M = 300


def _grid(n):
    """Stations of a village: a square with 150 m between them, each 30 m off at most; the first in a corner."""
    side = 1
    while side * side < n:
        side += 1
    spots = [(SPACING_M * (i % side), SPACING_M * (i // side)) for i in range(n)]
    return [(x + random.randrange(-30, 31), y + random.randrange(-30, 31)) for x, y in spots]


def _line(n):
    """Stations along a road of 2 km, less where they are few: a dead one leaves a way; the first at its beginning."""
    apart = min(BETWEEN_M, LINE_M / n)
    return [(apart * i + random.randrange(-10, 11), random.randrange(-40, 41)) for i in range(n)]


def _dense(n):
    """Stations of a market: all of them in 300 m by 300 m."""
    return [(random.randrange(DENSE_M), random.randrange(DENSE_M)) for _ in range(n)]


KINDS = {"grid": (_grid, 3.0), "line": (_line, 3.3), "dense": (_dense, 3.0)}  # name: places, path loss exponent


class Places:
    """The places of a site, what is heard where, and who is how many hops from a root."""

    def __init__(self, kind, n, roots):
        make, exponent = KINDS[kind]
        self.spots = make(n)
        if roots == 2:  # the second one is at the other end
            self.spots.insert(1, self.spots.pop())
        self.levels = radio.levels(self.spots, exponent)
        self.roots = roots

    def usable(self):
        """Return for each station the list of those to which it has a usable link."""
        least = radio.HALF_DBM * 10
        while radio.heard_share(least) < USABLE:
            least += 1
        rows = self.levels
        return [
            [j for j in range(len(rows)) if j != i and rows[i][j] >= least and rows[j][i] >= least]
            for i in range(len(rows))
        ]


def hops(links, sources, alive):
    """Return a dict: the hops from each station that is in reach, over stations in `alive`, to the nearest source."""
    found = dict.fromkeys(sources, 0)
    row = list(sources)
    while row:
        row, before = [], row
        for i in before:
            for j in links[i]:
                if j in alive and j not in found:
                    found[j] = found[i] + 1
                    row.append(j)
    return found


def choose(kind, n, roots=1):
    """Return places in which each station has a way to each root; drawn again until it is so."""
    while True:
        places = Places(kind, n, roots)
        links, everybody = places.usable(), set(range(n))
        depths = [hops(links, [root], everybody) for root in range(roots)]
        if all(len(depth) == n and max(depth.values()) <= DEEPEST for depth in depths):
            return places
