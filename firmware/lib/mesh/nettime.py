"""The time of the network: ms since 2020, from the parent's beacons, set at a root.

A beacon's time is that of its being handed to the radio. Of a small difference half is corrected when this node is
behind, and at most what crystals drift when it seems to be ahead: on the way a beacon only gets older. A large one is
stepped; a root that steps its own time begins a new clock epoch, so that everybody steps in that wave. A step of more
than a day is refused until a second wave says the same.
"""

from micropython import const

from lib.mesh.ticks import diff

_AIR_MS = const(2)  # from handing over to interrupt
_DRIFT_MS = const(3)  # of two crystals between two beacons
_STEP_MS = const(500)
_CALM_MS = const(60000)  # between two steps: each is an event, and a new hour a write to flash
_DAY_MS = const(86400000)
_AGREE_MS = const(2000)
NEVER = const(255)  # the stratum of no time


class NetTime:
    """`stratum` 255: not known. `told`: whether the application has heard of what is known."""

    def __init__(self, since_ms):
        self._since = since_ms  # times before that are old, or the one that was kept was wrong
        self._base = None
        self._at = 0
        self._stepped = None  # when the last step was, while no other may follow
        self._claim = None  # (ms at which ticks were 0, wave) of a refused step
        self.stratum = NEVER
        self.epoch = 0
        self.told = True

    def read(self, now):
        """Return ms since 2020, None when not known."""
        return None if self._base is None else self._base + diff(now, self._at)

    def bound(self):
        """Return how far off it may be, ms: what a hop adds by its crystal and its program, ten times over."""
        return 100 + 20 * self.stratum

    def settle(self, now):
        """Count on from `now`; to be called once a minute, since ticks wrap."""
        if self._base is not None:
            self._base += diff(now, self._at)
        self._at = now
        if self._stepped is not None and diff(now, self._stepped) >= _CALM_MS:
            self._stepped = None

    def set(self, ms, stratum, now):
        """Set it, at a root; None: not trusted any more. Return whether everybody has to step."""
        if ms is None:
            self.stratum = NEVER
            return False
        before = self.read(now)
        self._base = ms
        self._at = now
        self.stratum = stratum
        if before is not None and -_STEP_MS <= ms - before <= _STEP_MS:
            return False
        self.epoch = self.epoch + 1 & 255
        return True

    def heard(self, ms, stratum, epoch, wave, now, proved=False):
        """Take the time of the parent's beacon, `proved`: one said just now; return False when it is refused."""
        ms += _AIR_MS
        self.settle(now)
        if self._base is None:
            if ms < self._since and not proved:
                return False
            self._base = ms
        else:
            error = ms - self._base
            if not -_DAY_MS < error < _DAY_MS and not self._agreed(ms, wave, now):
                return False
            if not -_STEP_MS <= error <= _STEP_MS:
                if self._stepped is not None:
                    return False
                self._stepped = now
                self._base = ms
            elif epoch != self.epoch:
                self._base = ms
            else:
                # on the air a beacon can only get older: what is behind counts less
                self._base += (error + 1) // 2 if error > 0 else max(error // 2, -_DRIFT_MS)
        self._claim = None
        self.stratum = min(stratum + 1, NEVER - 1)
        self.epoch = epoch
        self.told = False
        return True

    def _agreed(self, ms, wave, now):
        before = self._claim
        self._claim = (ms, wave, now)
        if not before or before[1] == wave:
            return False
        return -_AGREE_MS < ms - before[0] - diff(now, before[2]) < _AGREE_MS
