"""The suite `journal`: density, wear, mount and power cuts of lib/journal on the flash model of the tests.

host_tests/bench/journal_life.py lives through years of readings, journal_cuts.py cuts the power; both run inside
MicroPython, a process for each part, as many at once as there are processors.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from meshems import paths
from meshems.benches import rig
from meshems.benches.base import Report
from meshems.benches.figures import Figure
from meshems.run import interpreter

LIMIT_S = 1200.0  # of all processes together: a machine that is busy with other things may take long
METERS = 30
CYCLES = 100_000  # erases that a block endures: typical of NOR flash, as its data sheets have it
MINUTES_A_YEAR = 365.25 * 24 * 60
BLOCK, CURSOR_BLOCKS = 4096, 8
SIZES_MB = (1, 4, 8)
PARTS = 8  # of the cuts
NESTED = 5  # second cuts for each first one
TRIED = 50_000
MUTANTS = (
    "goes on right behind the last frame",
    "no checksum",
    "goes on behind the last byte that is not FF",
    "goes on in a block that holds only its header",
    "a cursor block's header before its snapshot",
    "trusts a block that reads blank",
)
LIFE = (
    ("mount",), ("ring", "register"), ("ring", "milli"), ("heap",),
    ("lfs", "frames"), ("lfs", "json"), ("lfs", "struct"),
)  # fmt: skip
HEAP_MB = {"mount": 96}


def run(say: Callable[[str], None]) -> Iterator[Report]:
    """Measure; `say` is told how far it is. BenchError when something cannot run."""
    found = _all([("journal_life.py", *part) for part in LIFE], say)
    yield Report(_life(found), [])
    wrong = _all([("journal_cuts.py", "mutant", name) for name in MUTANTS], say)
    yield Report(*_mutants(wrong))
    jobs = [("journal_cuts.py", str(part), str(PARTS), str(NESTED)) for part in range(PARTS)]
    yield Report(*_cuts(list(_all(jobs, say).values())))


def _all(jobs: Sequence[tuple[str, ...]], say: Callable[[str], None]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Run every job, (script, argument...), a few at a time; return what each said, by its arguments."""
    commands = {}
    for script, *arguments in jobs:
        heap = f"heapsize={HEAP_MB.get(arguments[0], 32)}m"
        commands[tuple(arguments)] = [interpreter(), "-X", heap, str(rig.SCRIPTS / script), *arguments]
    # From source: what ships has other names, and a journal that is wrong on purpose is one by a patch to a name.
    path = f"{paths.BOARDS / 'desktop'}:{paths.FIRMWARE}:{rig.SCRIPTS}:.frozen"
    environment = dict(os.environ, MICROPYPATH=path, PYTHONUNBUFFERED="1")
    with tempfile.TemporaryDirectory(prefix="meshems-bench-") as folder:
        return rig.side_by_side("journal", commands, Path(folder), environment, LIMIT_S, say)


def _life(found: Mapping[tuple[str, ...], Mapping[str, Any]]) -> list[Figure]:
    ours, milli = found["ring", "register"], found["ring", "milli"]
    files = found["lfs", "frames"]
    density = round(ours["blocks"] * BLOCK / ours["readings"], 2)
    figures = [
        Figure(
            "journal.bytes_per_reading", density, "B", f"{name} on littlefs",
            round(found["lfs", kind]["bytes"] / found["lfs", kind]["readings"], 1), bound=22,
        )
        for kind, name in (("json", "JSON lines"), ("struct", "struct"))
    ]  # fmt: skip
    fine = round(milli["blocks"] * BLOCK / milli["readings"], 2)
    figures.append(Figure("journal.bytes_per_reading_milli", fine, "B"))
    erases = ours["erases"] + ours["cursors"]
    figures += [
        Figure(
            "journal.erases_per_1000", round(erases * 1000 / ours["readings"], 2), "erases", "littlefs segments",
            round(files["erases"] * 1000 / files["later"], 1), bound=8,
        ),
        Figure(
            "journal.wear_hottest_over_mean", round(ours["hottest"] * ours["ring"] / ours["erases"], 3), "ratio",
            "littlefs segments", round(files["hottest"] * 1000 / files["mean_1000"], 2), bound=1.15,
        ),
        Figure("journal.append_erases_worst", ours["inline"], "erases", bound=1),
        Figure("journal.append_erases_worst_ahead", ours["ahead"], "erases", bound=0),
        Figure(
            "journal.mount_reads_8mb", found["mount",]["worst"], "reads", "all headers read", found["mount",]["scan"],
            bound=64,
        ),
        Figure("journal.heap_growth", found["heap",]["growth"], "B", bound=0),
    ]  # fmt: skip
    return figures + [Figure(f"journal.years_{size}MB", years(ours, size), "years") for size in SIZES_MB]


def years(ours: Mapping[str, int], size_mb: int) -> float:
    """Return for how long the hottest block of a partition lasts: one of the ring, or of the cursors with one outlet.

    Erases for each reading and for each `put` are as measured; a larger ring spreads the first over more blocks.
    """
    ring = size_mb * (1 << 20) // BLOCK - CURSOR_BLOCKS
    uneven = ours["hottest"] * ours["ring"] / ours["erases"]
    of_ring = ours["erases"] / ours["readings"] * METERS * MINUTES_A_YEAR / ring * uneven
    of_cursors = ours["cursors"] / ours["puts"] * MINUTES_A_YEAR / CURSOR_BLOCKS
    return round(CYCLES / max(of_ring, of_cursors), 0)


def _mutants(found: Mapping[tuple[str, ...], Mapping[str, Any]]) -> tuple[list[Figure], list[Table]]:
    shown = Table("a journal that ...", title="Wrong on purpose", title_justify="left")
    for head in ("cases", "errors"):
        shown.add_column(head, justify="right")
    shown.add_column("one of them")
    caught = 0
    for name in MUTANTS:
        said = found["mutant", name]
        caught += bool(said["example"])
        shown.add_row(name, str(said["tried"]), str(said["wrong"]), said["example"])
    figure = Figure("journal.mutants_caught", caught, "journals", bound=len(MUTANTS), at_least=True)
    return [figure], [shown]


def _cuts(parts: Sequence[Mapping[str, Any]]) -> tuple[list[Figure], list[Table]]:
    single, nested, lost = (sum(part[kind] for part in parts) for kind in ("single", "nested", "lost"))
    shown = Table("power cuts", title="Each operation, in each way", title_justify="left")
    shown.add_column("tried", justify="right")
    shown.add_row("once", str(single))
    shown.add_row("and once more while going on", str(nested))
    for text in [text for part in parts for text in part["said"]][:10]:
        shown.add_row(text, "broke the contract")
    figures = [
        Figure("journal.cuts_tried", single + nested, "cuts", bound=TRIED, at_least=True),
        Figure("journal.cuts_lost", lost, "cuts", bound=0),
    ]
    return figures, [shown]
