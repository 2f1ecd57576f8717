"""`loop.step_cpu_ms`: the longest step of any task, in CPU time; and how late a ticker is beside an idle process's own.

Twelve meters on two lines, three of them silent, and a broker that is cut once. The steps are timed by
host_tests/bench/loop.py, inside the gateway.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from meshems.benches import rig
from meshems.benches.broker import Broker
from meshems.benches.figures import Figure
from meshems.benches.heap import PROFILES

BOUND_MS = 20
METERS = 12
SILENT = (3, 6, 11)
EVERY_S = 5
SECONDS = 45
CUT_AFTER, CUT_S = 30, 0.5  # messages
HEAP_KB = 384
MARGIN_S = 20.0


@dataclass(frozen=True)
class Steps:
    """What a task did: name, number of steps, the longest in us, CPU time of all in ms."""

    task: str
    count: int
    longest_us: int
    cpu_ms: int


@dataclass(frozen=True)
class Loop:
    """The result. Gaps: the most that a turn of the ticker was late, in ms."""

    steps: list[Steps]
    messages: int
    gap_ms: int
    idle_gap_ms: int

    def figures(self) -> list[Figure]:
        """Return the longest step, and the gaps."""
        longest = max(step.longest_us for step in self.steps if step.task != "ticker")
        return [
            Figure("loop.step_cpu_ms", round(longest / 1000, 1), "ms", bound=BOUND_MS),
            Figure("loop.gap_ms", self.gap_ms, "ms", peer="idle process", peer_value=self.idle_gap_ms),
        ]

    def table(self) -> Table:
        """Return what each task did."""
        title = f"Steps in {SECONDS} s, {METERS} meters, {len(SILENT)} of them silent"
        shown = Table("task", title=title, title_justify="left")
        for head in ("steps", "longest ms", "CPU ms in all"):
            shown.add_column(head, justify="right")
        for one in sorted(self.steps, key=lambda step: -step.longest_us):
            shown.add_row(one.task, str(one.count), f"{one.longest_us / 1000:.1f}", str(one.cpu_ms))
        return shown


class _Counter:
    """Counts what arrives, and says once when it is time for a cut."""

    def __init__(self) -> None:
        self.messages = 0
        self.broker: Broker | None = None

    def take(self, topic: str, payload: bytes) -> None:
        self.messages += 1
        if self.messages == CUT_AFTER and self.broker:
            self.broker.cut(CUT_S)


def measure(bench: rig.Rig, say: Callable[[str], None]) -> Loop:
    """Let the gateway run, and an idle process beside it."""
    placed = rig.meters([PROFILES[i % len(PROFILES)] for i in range(METERS)], buses=2, silent=SILENT)
    counter = _Counter()
    with Broker(counter.take) as broker:
        counter.broker = broker
        for bus in (0, 1):
            bench.line(bus, placed)
        conf = rig.config(placed, broker.port, EVERY_S, alone=False)
        say(f"loop: {METERS} meters for {SECONDS} s")
        gateway = bench.script(bench.state("loop", conf), "loop.py", str(SECONDS), heap_kb=HEAP_KB)
        idle = bench.script(bench.state("idle", conf), "idle.py", str(SECONDS))
        said = gateway.result(SECONDS + MARGIN_S)
        alone = idle.result(MARGIN_S)
    answering = METERS - len(SILENT)
    if counter.messages < answering * (SECONDS // EVERY_S - 2):
        raise rig.BenchError(f"only {counter.messages} messages came: {' | '.join(gateway.lines[-5:-1])}")
    return Loop([Steps(*row) for row in said["tasks"]], counter.messages, said["gap_ms"], alone["gap_ms"])
