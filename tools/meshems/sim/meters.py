"""A household behind a meter: power that lives through the day, and a counter that is its exact integral.

    house = Household(seed=7, phases=3, load_w=400, start_wh=1234500)
    house.advance(unix_ms)
    house.value("16.7.0")       # W
    house.value("1.8.0")        # kWh, a Fraction

Power is constant within each second, in whole milliwatts, and energy is kept in microjoules (mW x ms), so the
counter fits the power without a rounding error. Everything follows from the seed and the time.
"""

import math
import random
from fractions import Fraction

MICROJOULES_PER_WH = 3_600_000_000
MICROJOULES_PER_KWH = 1000 * MICROJOULES_PER_WH
DAY_S = 86400
SPLIT = {1: (1.0,), 3: (0.5, 0.3, 0.2)}  # what share of the load hangs on each phase
REACTIVE = Fraction(3, 10)  # kvarh counted for each kWh
KETTLE_S, KETTLE_W, KETTLE_SHARE = 180, 1800, 0.04
VOLTS_PER_KW = 1.5  # what the supply cable costs


def unit(seed: int, k: int) -> float:
    """Return a number in [0, 1) that follows from (seed, k): splitmix64's mixing, so no state is kept."""
    x = (seed * 0x9E3779B97F4A7C15 + k * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (x ^ x >> 31) / 2**64


def wander(seed: int, second: int, period: int) -> float:
    """Return a value in [-1, 1] that goes in straight lines from one random node to the next, `period` s apart."""
    k, rest = divmod(second, period)
    a, b = unit(seed, k), unit(seed, k + 1)
    return 2 * (a + (b - a) * rest / period) - 1


def day_curve(hour: float) -> float:
    """Return the load at `hour` (0-24) as a multiple of the day's mean: base, morning peak, higher evening peak."""

    def peak(at: float, width: float) -> float:
        away = (hour - at + 12) % 24 - 12
        return math.exp(-((away / width) ** 2) / 2)

    return 0.6 + 0.9 * peak(7.0, 0.9) + 1.7 * peak(19.5, 1.7)


class Household:
    """The load behind one meter with 1 or 3 phases. `power_mw` and `energy_uj` are lists, one item a phase."""

    def __init__(self, seed: int, phases: int, load_w: int, start_wh: int):
        self.seed = seed
        self.load_w = load_w
        self.shares = SPLIT[3 if phases == 3 else 1]
        # Each phase's counter starts with a whole number of microjoules, and together they are the start exactly.
        start = start_wh * MICROJOULES_PER_WH
        self.energy_uj = [start * round(1000 * share) // 1000 for share in self.shares]
        self.energy_uj[0] += start - sum(self.energy_uj)
        self.power_mw = [0] * len(self.shares)
        self._at_ms: int | None = None
        self._second = 0

    def powers(self, second: int) -> list[int]:
        """Return the power of each phase in mW during the unix second `second`."""
        if self.load_w == 0:
            return [0] * len(self.shares)
        # Households do not all cook at the same time.
        hour = (second + 3600 * unit(self.seed, 1)) % DAY_S / 3600
        load = self.load_w * day_curve(hour) * (1 + 0.15 * wander(self.seed, second, 40))
        kettle = KETTLE_W if unit(self.seed + 2, second // KETTLE_S) < KETTLE_SHARE else 0
        powers = []
        for phase, share in enumerate(self.shares):
            flicker = 1 + 0.02 * (2 * unit(self.seed + 10 + phase, second) - 1)
            powers.append(round(1000 * (load * share * flicker + (kettle if phase == 0 else 0))))
        return powers

    def advance(self, unix_ms: int) -> None:
        """Let the time come to `unix_ms`: the counters take what the power did since the last call."""
        at = unix_ms if self._at_ms is None else self._at_ms
        while True:
            second = at // 1000
            self.power_mw = self.powers(second)
            until = min((second + 1) * 1000, unix_ms)
            for phase, power in enumerate(self.power_mw):
                self.energy_uj[phase] += power * max(0, until - at)
            if until >= unix_ms:
                break
            at = until
        self._at_ms = max(unix_ms, at)
        self._second = unix_ms // 1000

    def volts(self, phase: int) -> float:
        """Return the voltage of a phase: the grid's, less what the load costs."""
        return 231 + 2.5 * wander(phase + 100, self._second, 60) - VOLTS_PER_KW * self.power_mw[phase] / 1e6

    def factor(self, phase: int) -> float:
        """Return the power factor of a phase."""
        return 0.93 + 0.05 * wander(self.seed + 20 + phase, self._second, 90)

    def apparent(self, phase: int) -> float:
        """Return the apparent power of a phase in VA."""
        return self.power_mw[phase] / 1000 / self.factor(phase)

    def reactive(self, phase: int) -> float:
        """Return the reactive power of a phase in var."""
        return math.sqrt(max(0.0, self.apparent(phase) ** 2 - (self.power_mw[phase] / 1000) ** 2))

    def value(self, obis: str) -> float | Fraction:
        """Return the quantity `obis` ("C.D.E") in W, V, A, Hz, kWh and so on; 0 for what a household does not have."""
        group, _, rest = obis.partition(".")
        if not group.isdigit():
            return 0
        code = int(group)
        # IEC 62056-61: a quantity of L1, L2, L3 is its total's code + 20, 40, 60.
        kind, phase = (131, (code - 131) // 20) if code >= 131 else (code % 20, code // 20)
        if phase > len(self.shares):
            return 0
        phases = range(phase - 1, phase) if phase else range(len(self.shares))
        if rest == "8.0":
            energy = Fraction(sum(self.energy_uj[p] for p in phases), MICROJOULES_PER_KWH)
            return {1: energy, 15: energy, 3: energy * REACTIVE}.get(kind, 0)
        return self._instant(kind, phases)

    def _instant(self, kind: int, phases: range) -> float:
        watts = sum(self.power_mw[p] for p in phases) / 1000
        apparent = sum(self.apparent(p) for p in phases)
        return {
            1: watts,
            9: apparent,
            11: apparent / self.volts(phases[0]),
            12: self.volts(phases[0]),
            13: watts / apparent if apparent else 1.0,
            14: 50 + 0.04 * wander(99, self._second, 20),
            16: watts,
            131: sum(self.reactive(p) for p in phases),
        }.get(kind, 0.0)


class Restless:
    """Stands where a household does, and has other values at every look: a reply out of its turn shows."""

    def __init__(self, seed: int):
        self._rng = random.Random(seed)

    def advance(self, unix_ms: int) -> None:
        """Nothing to do: time makes no difference."""

    def value(self, obis: str) -> Fraction:
        """Return a number from 0 to 30."""
        return Fraction(self._rng.randrange(30001), 1000)
