"""`meshems bench`: measures what the project has set itself bounds for."""

import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from meshems.run import RunError

SUITES = {  # name: module with `run(say)`, which yields a Report after each measurement
    "base": "meshems.benches.base",
    "bus": "meshems.benches.bus",
    "journal": "meshems.benches.journal",
    "mesh": "meshems.benches.mesh",
    "uplink": "meshems.benches.uplink",
}


def _known(ctx: click.Context, parameter: click.Parameter, names: Sequence[str]) -> Sequence[str]:
    for name in names:
        if name not in SUITES:
            raise click.BadParameter(f"{name}: no such suite; there is {', '.join(SUITES)}")
    return names or tuple(SUITES)


@click.command()
@click.argument("names", nargs=-1, metavar="[base|bus|journal|mesh|uplink]...", callback=_known)
@click.option(
    "--json", "file", type=click.Path(path_type=Path, dir_okay=False), help="Write each figure as one line of JSON."
)
def bench(names: Sequence[str], file: Path | None) -> None:
    """Measure the firmware on this machine, and compare with the bounds.

    \b
    meshems bench base --json figures.jsonl

    How each figure is measured: docs/benchmarks.md. Exit status 1 when a bound is missed or something
    cannot be measured.
    """
    from meshems.benches.figures import Figure, table
    from meshems.benches.rig import BenchError

    console = Console()
    figures: list[Figure] = []
    why = ""  # something could not be measured
    began = time.monotonic()
    try:
        with console.status("starting") as status:

            def say(text: str) -> None:
                status.update(Text(text))
                if not console.is_terminal:
                    console.print(f"{time.monotonic() - began:6.1f} s  {text}", highlight=False, markup=False)

            for name in names:
                for report in importlib.import_module(SUITES[name]).run(say):
                    figures += report.figures
                    for shown in report.tables:
                        console.print(shown)
    except (BenchError, RunError) as error:
        why = str(error)
    console.print(table(figures))
    if file:
        file.write_text("".join(figure.line() + "\n" for figure in figures))
    if why:
        click.echo(f"meshems: {why}", err=True)
    sys.exit(1 if why or not all(figure.ok for figure in figures) else 0)
