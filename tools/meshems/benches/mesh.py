"""The suite `mesh`: what the mesh delivers on a simulated radio, beside managed flooding with a hop limit.

host_tests/mesh/runs.py is one run: a site of 10, 50 or 100 gateways in one of three topologies, from one of five named
seeds, in one MicroPython process on virtual time; as many at once as there are processors. A figure is the median of
the fifteen runs; the worst of them has a figure of its own, with twice the bound. The tables have each topology.
"""

import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from meshems import paths
from meshems.benches import mesh_heap, rig
from meshems.benches.base import Report
from meshems.benches.figures import Figure
from meshems.run import interpreter

SCRIPTS = paths.ROOT / "host_tests" / "mesh"
SIZES = (10, 50, 100)
KINDS = ("grid", "line", "dense")
SEEDS = {"anna": 1, "boris": 2, "clara": 3, "dora": 4, "emil": 5}
RUNS = ("base", "burst", "death", "roots", "zombie")
OURS, PEER = "ours", "flooding"
PEER_RUNS = {"base": 300, "death": 1, "roots": 1, "zombie": 1}  # of the first seed, in the grid: s, or deaths
FAULT_SIZES = (10, 50)
FAULTS = (
    "kill_relay", "kill_only_root", "kill_one_of_two", "zombie", "asymmetric", "channel_move", "clock_step", "wiped",
    "root_seqno_0", "flash_full", "duplicate_id", "backlog_48h", "blackout", "udp_reorder",
)  # fmt: skip
LIMIT_S = 3600.0
NEVER = 1e9
HEAP = "heapsize=48m"


@dataclass(frozen=True)
class Target:
    """A figure `mesh.NAME_N`: the run it is from, its key there, its bounds at 10, 50 and 100 gateways."""

    name: str
    run: str
    unit: str
    bounds: tuple[float, float, float]
    key: str = ""
    at_least: bool = False

    def worst(self, bound: float) -> float:
        """Return what the worst run may reach: twice the bound, or twice what is missing to 100 %."""
        return 100 - 2 * (100 - bound) if self.at_least else 2 * bound

    def of(self, said: Mapping[str, Any]) -> float | None:
        """Return the value of a run, None where it has none."""
        if self.key.startswith("delay"):
            delays = sorted(said["delays"].get(self.run, []))
            percent = int(self.key.removeprefix("delay_p"))
            return delays[min(len(delays), -(-len(delays) * percent // 100)) - 1] / 1000 if delays else None
        value = said[self.key or self.name]
        return None if value is None else float(value)


TARGETS = (
    Target("lost", "base", "batches", (0, 0, 0)),
    Target("delivered_60s_pct", "base", "%", (99.95, 99.9, 99.9), at_least=True),
    Target("first_try_pct", "base", "%", (99.5, 99, 99), at_least=True),
    Target("first_try_burst_pct", "burst", "%", (98, 97, 96), "first_try_pct", at_least=True),
    Target("latency_p95_ms", "base", "ms", (300, 400, 500)),
    Target("latency_p99_ms", "base", "ms", (1000, 2000, 2000)),
    Target("latency_per_hop_p50_ms", "base", "ms", (30, 30, 30)),
    Target("formation_s", "base", "s", (15, 20, 30)),
    Target("node_death_p95_s", "death", "s", (5, 8, 10), "delay_p95"),
    Target("root_death_p95_s", "roots", "s", (15, 15, 20), "delay_p95"),
    Target("zombie_p99_s", "zombie", "s", (20, 20, 20), "delay_p99"),
    Target("beacons_per_min", "base", "beacons", (1.5, 1.5, 2)),
    Target("beacons_any_minute", "base", "beacons", (15, 15, 15)),
    Target("airtime_pct", "base", "%", (0.3, 2, 5)),
    Target("time_error_p99_ms", "base", "ms", (15, 15, 15)),
    Target("command_p95_ms", "base", "ms", (500, 500, 1000)),
    Target("command_p99_ms", "base", "ms", (8000, 8000, 8000)),
    Target("command_60s_pct", "base", "%", (99.9, 99.9, 99.9), at_least=True),
    Target("over_hop_limit", "base", "frames", (0, 0, 0)),
)

OURS_ONLY = ("beacons_per_min", "beacons_any_minute", "time_error_p99_ms", "latency_per_hop_p50_ms", "over_hop_limit")
Key = tuple[str, str, int, int, str]  # peer, topology, gateways, seed, run


def run(say: Callable[[str], None]) -> Iterator[Report]:
    """Measure; `say` is told how far it is. BenchError when something cannot run."""
    with rig.Rig() as bench:
        say("mesh: the heap of a pole and of a root")
        yield Report(mesh_heap.measure(bench))
    jobs: list[tuple[str, ...]] = []
    for n in reversed(SIZES):  # the long ones first
        jobs += [(OURS, kind, str(n), str(seed), name) for name in RUNS for kind in KINDS for seed in SEEDS.values()]
        jobs += [
            (PEER, "grid", str(n), str(SEEDS["anna"]), name, str(much)) for name, much in PEER_RUNS.items()
        ]
    jobs += [(OURS, kind, str(n), "1", f"fault-{name}") for n in FAULT_SIZES for kind in KINDS for name in FAULTS]
    found = all_of(jobs, say)
    runs = {(job[0], job[1], int(job[2]), int(job[3]), job[4]): said for job, said in found.items()}
    for n in SIZES:
        yield Report(figures(runs, n), [_table(runs, n)])
    yield _faults(runs)


def all_of(jobs: Sequence[tuple[str, ...]], say: Callable[[str], None]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Run every job, a few at a time; return what each said, by its arguments."""
    with tempfile.TemporaryDirectory(prefix="meshems-bench-") as scratch:
        folder = Path(scratch)
        path = f"{_compiled(folder / 'compiled')}:{paths.FIRMWARE}:{SCRIPTS}:.frozen"
        environment = dict(os.environ, MICROPYPATH=path, PYTHONUNBUFFERED="1")
        commands = {job: [interpreter(), "-X", HEAP, str(SCRIPTS / "runs.py"), *job] for job in jobs}
        return rig.side_by_side("mesh", commands, folder, environment, LIMIT_S, say)


def _compiled(target: Path) -> Path:
    """Return a folder with simulator and mesh as machine code, which is twice as fast; empty on other processors."""
    target.mkdir()
    if platform.machine() != "x86_64":
        return target
    mpy_cross = rig.program("MPY_CROSS", "mpy-cross")
    sources = {file: file.name for file in SCRIPTS.glob("*.py") if not file.name.startswith("mp_")}
    lib = [*paths.FIRMWARE.glob("lib/mesh/*.py"), paths.FIRMWARE / "lib/ccm.py", paths.FIRMWARE / "lib/hkdf.py"]
    sources |= {file: str(file.relative_to(paths.FIRMWARE)) for file in lib}
    for file, name in sources.items():
        out = (target / name).with_suffix(".mpy")
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [mpy_cross, "-O2", "-X", "emit=native", "-march=x64", "-s", name, "-o", str(out), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise rig.BenchError(f"mpy-cross: {name}: {done.stderr.strip()}")
    return target


def figures(runs: Mapping[Key, Mapping[str, Any]], n: int) -> list[Figure]:
    """Return the figures of sites of n gateways: for each target its median, and its worst run."""
    made = []
    for target in TARGETS:
        bound = target.bounds[SIZES.index(n)]
        values = {kind: [_of(target, runs, kind, n, seed) for seed in SEEDS.values()] for kind in KINDS}
        everything = [value for of_kind in values.values() for value in of_kind]
        middle, worst = median(everything), (min if target.at_least else max)(everything)
        said = runs.get((PEER, "grid", n, SEEDS["anna"], target.run))
        peer = target.of(said) if said and target.name not in OURS_ONLY else None
        made += [
            Figure(
                f"mesh.{target.name}_{n}",
                round(middle, 3), target.unit, None if peer is None else PEER,
                None if peer is None else round(peer, 3), bound=bound, at_least=target.at_least,
            ),
            Figure(
                f"mesh.worst_{target.name}_{n}", round(worst, 3), target.unit, bound=target.worst(bound),
                at_least=target.at_least,
            ),
        ]  # fmt: skip
    steady = [runs[OURS, kind, n, seed, "base"] for kind in KINDS for seed in SEEDS.values()]
    peer_said = runs[PEER, "grid", n, SEEDS["anna"], "base"]
    made.append(Figure(
        f"mesh.speed_{n}", round(median(said["virtual_s"] / said["cpu_s"] for said in steady)), "x", PEER,
        round(peer_said["virtual_s"] / peer_said["cpu_s"]),
    ))  # fmt: skip
    return made


def _of(target: Target, runs: Mapping[Key, Mapping[str, Any]], kind: str, n: int, seed: int) -> float:
    """Return the value of a run; what never came about is as bad as can be."""
    value = target.of(runs[OURS, kind, n, seed, target.run])
    if value is not None:
        return value
    if target.key.startswith("delay") and kind == "dense":
        return 0.0  # where all hear the root nobody forwards, and no death delays anybody
    return 0.0 if target.at_least else NEVER


def _table(runs: Mapping[Key, Mapping[str, Any]], n: int) -> Table:
    shown = Table(title=f"{n} gateways, median and worst of {len(SEEDS)} seeds", title_justify="left")
    shown.add_column("figure", no_wrap=True)
    for kind in KINDS:
        shown.add_column(kind, justify="right")
    shown.add_column("bound", justify="right")
    for target in TARGETS:
        row = []
        for kind in KINDS:
            values = [_of(target, runs, kind, n, seed) for seed in SEEDS.values()]
            row.append(f"{median(values):.5g} ({(min if target.at_least else max)(values):.5g})")
        shown.add_row(target.name, *row, f"{target.bounds[SIZES.index(n)]:g}")
    depths = [max(runs[OURS, kind, n, seed, "base"]["depth"] for seed in SEEDS.values()) for kind in KINDS]
    shown.add_row("hops to the farthest", *map(str, depths))
    return shown


def _faults(runs: Mapping[Key, Mapping[str, Any]]) -> Report:
    sites = [f"{kind} {n}" for n in FAULT_SIZES for kind in KINDS]
    shown = Table("fault", *sites, title="Faults", title_justify="left")
    failed = 0
    for name in FAULTS:
        row = [runs[OURS, kind, n, 1, f"fault-{name}"]["wrong"] for n in FAULT_SIZES for kind in KINDS]
        failed += sum(map(bool, row))
        shown.add_row(name, *("; ".join(wrong) or "held" for wrong in row))
    return Report([Figure("mesh.faults_failed", failed, "runs", bound=0)], [shown])
