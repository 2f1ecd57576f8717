"""`meshems monitor`: what the gateway on a board reads and says, live. `console.py` has its REPL."""

import contextlib
import io
import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from meshems.run import RunError

BAD = 2  # exit status
SHOWN = 6  # registers of a meter in a line, and those that come first: energy, power, voltage
FIRST = ("1.8.0", "15.8.0", "2.8.0", "16.7.0", "1.7.0", "32.7.0", "52.7.0", "72.7.0", "31.7.0")
LINES = 12  # of the log below the table
PICTURE_WIDTH = 112
# Runs the gateway as main.py does, and says each reading that it stores. What is stored and sent stays the same.
PROGRAM = """
import json
from gateway import recorder
class Watched(recorder.Recorder):
    known = set()
    def reading(self, uptime_ms, slot, schema, values, suspect=0, *more):
        if (slot, schema) not in self.known:
            from lib import twin
            self.known.add((slot, schema))
            serial = json.loads(twin.load("ids"))["slots"][slot - 1]
            columns = twin.load("schema%d" % schema).decode()
            print(json.dumps({"slot": slot, "schema": schema, "serial": serial, "columns": columns}))
        print(json.dumps({"slot": slot, "schema": schema, "values": values, "suspect": suspect}))
        super().reading(uptime_ms, slot, schema, values, suspect, *more)
recorder.Recorder = Watched
from gateway import app
app.main()
"""
Told = dict[str, Any]


class Reader:
    """Makes of the lines that PROGRAM prints what they mean: {"log": line} or {"meter", "registers"}."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[str, list[list[str]]]] = {}

    def told(self, line: str) -> Told | None:
        """Return what a line says, None when that is for us alone."""
        if not line.startswith('{"'):
            return {"log": line} if line else None
        said = json.loads(line)
        key = said["slot"], said["schema"]
        if "columns" in said:
            self._known[key] = said["serial"], [row.split(" ") for row in said["columns"].split("\n") if row]
            return None
        serial, columns = self._known[key]
        registers = []
        for i, ((obis, unit, exponent), value) in enumerate(zip(columns, said["values"], strict=True)):
            if value is not None:
                exact = format(Decimal(value).scaleb(int(exponent)), "f") if isinstance(value, int) else value
                quality = "suspect" if said["suspect"] >> i & 1 else "good"
                registers.append({"obis": obis, "value": exact, "unit": unit, "quality": quality})
        return {"meter": serial, "registers": registers}


def watched(port: str, seconds: float | None) -> Iterator[Told]:
    """Yield what the gateway on the board at `port` reads and says, for `seconds` or until we are interrupted.

    It is started anew for that, and again at the end, when it runs unwatched.
    """
    from meshems.cli import needed

    reader = Reader()
    with needed("meshems.remote").Session(port) as board:
        timer = threading.Timer(seconds or 0, board.interrupt)
        timer.daemon = True
        if seconds is not None:
            timer.start()
        try:
            for line in board.show(PROGRAM):
                told = reader.told(line)
                if told:
                    yield told
        finally:
            timer.cancel()


def heard(port: str, seconds: float | None) -> Iterator[Told]:
    """Yield the lines of the gateway's log as they come, without touching it."""
    from meshems.cli import needed

    for line in needed("meshems.remote").listened(port, seconds):
        yield {"log": line}


def text_of(told: Told) -> str:
    """Return what was told as one line."""
    if "log" in told:
        return str(told["log"])
    first = sorted(told["registers"], key=lambda row: FIRST.index(row["obis"]) if row["obis"] in FIRST else len(FIRST))
    rows = [f"{row['obis']} {row['value']} {row['unit']}".strip() + " ?" * (row["quality"] != "good")
            for row in first[:SHOWN]]  # fmt: skip
    more = len(told["registers"]) - SHOWN
    return f"{told['meter']}: {', '.join(rows)}" + (f", and {more} more" if more > 0 else "")


class Screen:
    """The newest reading of each meter as a table, and the last lines of the log."""

    def __init__(self) -> None:
        self._meters: dict[str, tuple[float, Told]] = {}
        self._log: deque[str] = deque(maxlen=LINES)
        self._count = 0

    def take(self, told: Told) -> None:
        if "log" in told:
            self._log.append(told["log"])
        else:
            self._count += 1
            self._meters[told["meter"]] = time.monotonic(), told

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self._count} readings", title_justify="left", title_style="bold")
        for name in ("meter", "age s", "registers"):
            table.add_column(name, justify="right" if name == "age s" else "left", no_wrap=name != "registers")
        for serial, (at, told) in sorted(self._meters.items()):
            table.add_row(serial, f"{time.monotonic() - at:.0f}", text_of(told).partition(": ")[2])
        colours = {"W": "yellow", "E": "red"}
        rows = [Text(line, colours.get((line.split(" ") + [""])[1], "")) for line in self._log]
        return Group(table, *rows)


@click.command()
@click.option("--port", required=True, metavar="PORT", help="The board's serial port.")
@click.option("--passive", is_flag=True, help="Only listen to its log: the gateway is not touched.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after so long; else at Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: a reading, or a line of the log.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="FILE.svg", help="Save the end as a picture.")
def monitor(port: str, passive: bool, seconds: float | None, as_json: bool, picture: Path | None) -> None:
    """What the gateway on a board reads and says, live.

    \b
    meshems monitor --port /dev/ttyACM0
    meshems monitor --port /dev/ttyACM0 --seconds 60 --json > seen.jsonl

    The gateway is started anew and says each reading that it stores; it stores and delivers as always, and runs on
    unwatched at the end. With --passive it is only listened to, and it says no readings by itself.

    Exit status: 0, or 2 when the board does not answer.
    """
    from rich.console import Console
    from rich.live import Live

    from meshems.cli import fail

    screen = Screen()
    source = heard(port, seconds) if passive else watched(port, seconds)
    console = Console()
    live = not as_json and console.is_terminal
    try:
        shown = Live(screen, console=console, refresh_per_second=4) if live else contextlib.nullcontext()
        with shown, contextlib.closing(source), contextlib.suppress(KeyboardInterrupt):
            for told in source:
                screen.take(told)
                if as_json:
                    click.echo(json.dumps(told))
                elif not live:
                    click.echo(text_of(told))
    except RunError as error:
        fail(str(error), BAD, as_json)
    if picture:
        drawn = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True)
        drawn.print(f"$ meshems monitor --port {port}", style="bold")
        drawn.print(screen)
        drawn.save_svg(str(picture), title="meshems monitor")
    sys.exit(0)
