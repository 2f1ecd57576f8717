"""`heap.8_meters_kb`: the smallest heap with which a gateway does its whole work.

Eight meters on a line, a backlog of 3,000 records, a broker that is cut twice while the backlog drains. A try with one
heap size has passed when every record of the backlog and then a fresh reading of each meter has arrived, and nothing
in the log is an error. The size is found by bisection, and holds only when the same size passes again.
"""

import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table
from rich.text import Text

from meshems.benches import rig
from meshems.benches.broker import Broker
from meshems.benches.figures import Figure

BOUND_KB = 112
PROFILES = (  # four models, two of them with three phases
    "eastron-sdm120", "eastron-sdm630", "chint-ddsu666", "peacefair-pzem016",
    "eastron-sdm120", "eastron-sdm630", "chint-ddsu666", "eastron-sdm120",
)  # fmt: skip
RECORDS = 3000
CUTS = (1000, 2000)  # cut after so many records
CUT_S = 0.3
EVERY_S = 5
LEAST_KB, MOST_KB, GRAIN_KB = 64, 256, 2
PASSES = 3  # tries in a row that the size has to pass
TRY_S = 25.0
LIVE_S = 15
NAMES = re.compile(r"n_qstr=(\d+)")
BAD = re.compile(r"^[0-9.]+ E |MemoryError|memory allocation failed|Traceback")


@dataclass
class Arrivals:
    """What the broker received: ordinals of the backlog, serials of fresh readings."""

    epoch: int
    backlog: set[int] = field(default_factory=set)
    fresh: set[str] = field(default_factory=set)
    cuts: int = 0

    def take(self, topic: str, payload: bytes) -> bool:
        """Note a message; return whether the broker is to be cut now."""
        if not topic.endswith("/telemetry") or topic.endswith("/gateway/telemetry"):
            return False
        body = json.loads(payload)
        epoch, ordinal = divmod(body["seq"], 1 << 32)
        if epoch != self.epoch:
            return False
        if ordinal < RECORDS:
            self.backlog.add(ordinal)
        else:
            self.fresh.add(body["meterSerial"])
        if self.cuts < len(CUTS) and len(self.backlog) >= CUTS[self.cuts]:
            self.cuts += 1
            return True
        return False

    @property
    def complete(self) -> bool:
        """Return whether everything has arrived."""
        return len(self.backlog) == RECORDS and len(self.fresh) == len(PROFILES)

    def __str__(self) -> str:
        fresh = f"fresh readings of {len(self.fresh)} of {len(PROFILES)} meters"
        return f"{len(self.backlog)} of {RECORDS} records, {fresh}, {self.cuts} cuts"


@dataclass
class Try:
    """One try: why it failed, "" when it passed."""

    heap_kb: int
    seconds: float
    why: str


@dataclass
class Heap:
    """The result, in bytes but for `smallest_kb`."""

    smallest_kb: int
    standins: list[tuple[str, int]]
    live: dict[str, int]
    tries: list[Try]
    factor: float

    @property
    def value_kb(self) -> float:
        """Return the smallest heap without what only the desktop board keeps there."""
        return round(self.smallest_kb - sum(size for _, size in self.standins) / 1024, 1)

    def figures(self) -> list[Figure]:
        """Return the 64-bit figure, and the estimate for the chip."""
        chip = round(self.value_kb * self.factor, 1)
        return [
            Figure("heap.8_meters_kb", self.value_kb, "kB", bound=BOUND_KB),
            Figure("heap.8_meters_chip_kb", chip, "kB", limit=BOUND_KB),
        ]

    def tables(self) -> list[Table]:
        """Return the tries, what lives on the heap, and the stand-ins."""
        tries = Table("heap kB", "s", "result", title="Tries, 64 bit, stand-ins included", title_justify="left")
        for one in self.tries:
            result = Text(one.why, "red") if one.why else Text("passed", "green")
            tries.add_row(str(one.heap_kb), f"{one.seconds:.1f}", result)
        standins = Table("stand-in", "bytes", title="Stand-ins' own heap, 64 bit", title_justify="left")
        for name, size in self.standins:
            standins.add_row(name, str(size))
        standins.add_section()
        standins.add_row("all", str(sum(size for _, size in self.standins)))
        live = Table("live on the heap", "bytes", title="A gateway, 64 bit, stand-ins included", title_justify="left")
        for name, size in self.live.items():
            live.add_row(name, str(size))
        live.add_row("smallest heap that passes", str(self.smallest_kb * 1024))
        return [tries, live, standins]


class Bench:
    """The line, the broker and the prepared flash, ready for tries of at most `try_s`."""

    try_s = TRY_S

    def __init__(self, bench: rig.Rig, say: Callable[[str], None]):
        self._rig = bench
        self._say = say
        self._lock = threading.Lock()
        self._arrivals: Arrivals | None = None
        self.broker = Broker(self._take)
        placed = rig.meters(PROFILES)
        bench.line(0, placed)
        self._prepared = self._prepare(rig.config(placed, self.broker.port, EVERY_S))
        self.tries: list[Try] = []

    def _prepare(self, conf: dict[str, object]) -> Path:
        """Return a state directory whose journal holds the backlog, written by the firmware itself."""
        state = self._rig.state("backlog", conf)
        clock = state / "flash" / "rtc.json"
        kept = clock.read_text()
        # The backlog is read in the past: its last reading is just over.
        clock.write_text(json.dumps({"offset_us": -(RECORDS // len(PROFILES) + 10) * 60_000_000}))
        said = self._rig.script(state, "backlog.py", str(RECORDS)).result(60)
        clock.write_text(kept)
        if said != {"first": 0, "next": RECORDS}:
            raise rig.BenchError(f"the backlog was not stored as planned: {said}")
        nvs = json.loads((state / "flash" / "nvs.json").read_text())
        self._epoch = nvs["gw"]["epoch"]
        return state

    def _take(self, topic: str, payload: bytes) -> None:
        with self._lock:
            if self._arrivals and self._arrivals.take(topic, payload):
                self.broker.cut(CUT_S)

    def attempt(self, heap_kb: int) -> bool:
        """Let a gateway with this heap do the work once; return whether it did."""
        state = self._rig.root / f"try-{len(self.tries)}"
        shutil.copytree(self._prepared, state)
        arrivals = Arrivals(self._epoch)
        with self._lock:
            self._arrivals = arrivals
        process = self._rig.gateway(state, heap_kb)
        try:
            why = self._watch(process, arrivals)
        finally:
            process.kill()
            with self._lock:
                self._arrivals = None
            shutil.rmtree(state)
        self.tries.append(Try(heap_kb, time.monotonic() - process.began, why))
        self._say(f"heap: {heap_kb} kB {why or 'passed'}")
        return not why

    def _watch(self, process: rig.Process, arrivals: Arrivals) -> str:
        """Return why the gateway failed, "" when everything arrived."""
        seen = 0
        while True:
            for line in process.lines[seen:]:
                seen += 1
                if BAD.search(line):
                    return line
            if arrivals.complete:
                return ""
            if not process.running:
                return f"it ended: {process.tail()}"
            if time.monotonic() - process.began > self.try_s:
                return f"not done after {self.try_s:g} s: {arrivals}"
            time.sleep(0.02)

    def live(self) -> dict[str, int]:
        """Return the bytes that live on the heap of a gateway that has all the room it wants, at three moments."""
        state = self._rig.root / "live"
        shutil.copytree(self._prepared, state)
        process = self._rig.script(state, "live.py", str(LIVE_S))
        said = process.result(LIVE_S + 20)
        assert isinstance(said, dict)
        self.names = _names(process)
        return said

    def smallest(self) -> int:
        """Return the smallest heap in kB that passes, and passes again."""
        low, high = LEAST_KB - GRAIN_KB, MOST_KB
        if not self.attempt(high):
            raise rig.BenchError(f"the gateway fails even with {high} kB: {self.tries[-1].why}")
        while high - low > GRAIN_KB:
            middle = low + (high - low) // (2 * GRAIN_KB) * GRAIN_KB
            low, high = (low, middle) if self.attempt(middle) else (middle, high)
        passed = 1
        while passed < PASSES:
            if self.attempt(high):
                passed += 1
            else:
                high, passed = high + GRAIN_KB, 0
        return high


def measure(bench: rig.Rig, factor: float, say: Callable[[str], None]) -> Heap:
    """Find the smallest heap; `factor` is that of the imports, `say` is told each try."""
    ready = Bench(bench, say)
    with ready.broker:
        smallest = ready.smallest()
        say("heap: what lives on it")
        live = ready.live()
    return Heap(smallest, standins(bench, ready.names), live, ready.tries, factor)


def standins(bench: rig.Rig, names: int) -> list[tuple[str, int]]:
    """Return (stand-in, bytes that it keeps on the heap) beside a gateway with so many names in its table."""
    conf = rig.config(rig.meters(PROFILES), 1, EVERY_S)
    bare = bench.script(bench.state("standins", conf), "standins.py", "0", "1")
    bare.result(10)
    firmware = names - _names(bare)
    sizes = bench.script(bench.state("standins-in-place", conf), "standins.py", str(firmware), "1").result(10)
    return [(name, size) for name, size in sizes]


def _names(process: rig.Process) -> int:
    """Return the number of names in the table of an interpreter that has ended, from its last words."""
    found = [NAMES.search(line) for line in process.lines]
    return max(int(one[1]) for one in found if one)
