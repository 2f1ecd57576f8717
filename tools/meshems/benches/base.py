"""The suite `base`: boot, imports, heap and the longest step of the gateway as it ships."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from rich.console import RenderableType

from meshems.benches import boot, heap, imports, loop, rig
from meshems.benches.figures import Figure


@dataclass
class Report:
    """What a measurement found: figures, and tables for people."""

    figures: list[Figure]
    tables: list[RenderableType] = field(default_factory=list)


def run(say: Callable[[str], None]) -> Iterator[Report]:
    """Measure one thing after the other; `say` is told how far it is. BenchError when something cannot run."""
    with rig.Rig() as bench:
        say("boot")
        yield Report([boot.measure(bench, say)])
    with rig.Rig() as bench:
        say("imports")
        found = imports.measure(bench, rig.meters(heap.PROFILES))
        yield Report(found.figures(), [found.table()])
        say("heap")
        need = heap.measure(bench, found.factor, say)
        yield Report(need.figures(), [*need.tables()])
    with rig.Rig() as bench:
        say("loop")
        steps = loop.measure(bench, say)
        yield Report(steps.figures(), [steps.table()])
