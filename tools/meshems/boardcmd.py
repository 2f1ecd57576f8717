"""`meshems board`: which boards there are, whether one keeps the rules of its chip, how it is wired."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from meshems import boards

BAD = 2  # exit status
PIPE_WIDTH = 140


@click.group()
def board() -> None:
    """Boards: which there are, how they are wired, whether their files are good.

    \b
    meshems board list
    meshems board show nesl-865b
    meshems board check
    """


@board.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a board instead of a table.")
def list_boards(as_json: bool) -> None:
    """The boards, as a table.

    \b
    meshems board list
    meshems board list --json | grep esp32s3
    """
    rows = []
    for name in boards.names():
        made = boards.read(name)
        journal = made["flash"].get("journal", 0)
        rows.append({
            "name": name, "title": made["title"], "chip": made["chip"], "flash_mb": made["flashMb"],
            "psram_mb": made.get("psramMb", 0), "journal_kb": journal // 1024, "rs485": len(made["uarts"]),
            "cannot": [row["what"] for row in made["cannot"]],
        })  # fmt: skip
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key in rows[0]:
        table.add_column(key, justify="right" if isinstance(rows[0][key], int) else "left", no_wrap=key == "name")
    for row in rows:
        table.add_row(*(" ".join(cell) if isinstance(cell, list) else str(cell) for cell in row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


@board.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem: file, path, found, allowed.")
def check(files: Sequence[Path], as_json: bool) -> None:
    """Every problem of board.json files: its path in the file, what was found, what is allowed.

    Strapping pins, pins of flash, PSRAM and USB, inputs only, ADC, UARTs, buses, pins used twice, the flash layout, and
    whether a board says what it cannot do. Without FILE: all boards. Exit status: 0 all are good, 2 there are problems.

    \b
    meshems board check
    meshems board check my-board/board.json --json
    """
    bad = 0
    names = list(files) or [boards.paths.BOARDS / name / "board.json" for name in boards.names()]
    for file in names:
        try:
            made = json.loads(file.read_bytes())
            found = boards.problems(made, file.resolve().parent.name)
        except OSError as error:
            found = [("(file)", error.strerror or str(error), "a file that can be read")]
        except ValueError as error:
            found = [("(file)", str(error), "JSON")]
        bad += bool(found)
        for path, value, allowed in found:
            if as_json:
                click.echo(json.dumps({"file": str(file), "path": path, "found": value, "allowed": allowed}))
            else:
                click.echo(f"{file}: {path}: found {value}, allowed {allowed}")
    if not as_json:
        click.echo(f"{len(names) - bad} of {len(names)} boards are good")
    sys.exit(BAD if bad else 0)


@board.command()
@click.argument("name")
@click.option("--markdown", is_flag=True, help="As it stands in the board's README.")
@click.option("--json", "as_json", is_flag=True, help="The board.json with the partitions.")
def show(name: str, markdown: bool, as_json: bool) -> None:
    """How a board is wired, what it cannot do and how its flash is divided.

    \b
    meshems board show nesl-865b
    meshems board show meshems-a0 --json
    """
    try:
        made = boards.load(name)
    except boards.BoardError as error:
        click.echo(f"meshems: {error}", err=True)
        sys.exit(BAD)
    if as_json:
        click.echo(json.dumps(made | {"partitions": [part._asdict() for part in boards.layout(made)]}))
    elif markdown:
        click.echo(boards.page(made), nl=False)
    else:
        click.echo(f"{made['title']}\n\n{boards.drawing(made)}\n")
        click.echo(boards.page(made).split("```\n\n", 1)[1].replace("`", "").replace("**", ""), nl=False)
