"""The suite `base`: boot, heap, imports and the longest step of the gateway as it ships."""

from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import RenderableType

from meshems.benches import boot, heap, imports, loop, rig
from meshems.benches.figures import Figure


@dataclass
class Report:
    """What a suite found: figures, and tables for people."""

    figures: list[Figure] = field(default_factory=list)
    tables: list[RenderableType] = field(default_factory=list)


def run(say: Callable[[str], None]) -> Report:
    """Measure everything, one after the other; `say` is told how far it is. BenchError when something cannot run."""
    report = Report()
    with rig.Rig() as bench:
        say("boot")
        report.figures.append(boot.measure(bench, say))
    with rig.Rig() as bench:
        say("imports")
        found = imports.measure(bench, rig.meters(heap.PROFILES))
        report.figures += found.figures()
        report.tables.append(found.table())
        say("heap")
        need = heap.measure(bench, found.factor, say)
        report.figures += need.figures()
        report.tables += need.tables()
    with rig.Rig() as bench:
        steps = loop.measure(bench, say)
        report.figures += steps.figures()
        report.tables.append(steps.table())
    return report
