"""`meshems profile`: the meter profiles that the firmware brings, and whether one is good."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from meshems import paths

BAD = 2  # exit status
PIPE_WIDTH = 140
CONFIDENCE = "H independent sources agree, M one full source or a doubt, L a guess"

Problem = tuple[str, str, str]


def problems(raw: bytes, stem: str | None = None) -> list[Problem]:
    """Return what is wrong with the text of a profile, as (path, found, allowed); `stem` is its file's name."""
    paths.share_firmware()
    from lib import proto, strictjson

    try:
        profile = strictjson.loads(raw)
    except ValueError as error:
        line, allowed = error.args if len(error.args) == 2 else (1, "JSON in UTF-8")
        return [(f"line {line}", "broken JSON", str(allowed))]
    if not isinstance(profile, dict):
        return [("(file)", type(profile).__name__, "object")]
    kind = profile.get("proto", "modbus")
    try:
        protocol = proto.load(kind)
    except ImportError:
        return [("proto", json.dumps(kind), "the name of a protocol")]
    found: list[Problem] = protocol.check(profile)
    if stem is not None and isinstance(profile.get("id"), str) and profile["id"] != stem:
        found.append(("id", json.dumps(profile["id"]), f"the name of its file, {stem}"))
    return found


def load(file: Path) -> dict[str, Any]:
    """Return a profile that is known to be good."""
    profile = json.loads(file.read_bytes())
    assert isinstance(profile, dict)
    return profile


@click.group()
def profile() -> None:
    """Meter profiles: which there are, and whether one is good.

    \b
    meshems profile list
    meshems profile check my-meter.json
    """


@profile.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a profile instead of a table.")
def list_profiles(as_json: bool) -> None:
    """The profiles of the firmware, as a table.

    \b
    meshems profile list
    meshems profile list --json | grep eastron
    """
    rows = []
    for file in sorted(paths.PROFILES.glob("*.json"), key=lambda file: file.stem):
        made = load(file)
        rows.append({
            "id": made["id"], "name": made["n"], "phases": made["ph"], "ports": made["ser"], "points": len(made["q"]),
            "confidence": made["conf"], "bytes": file.stat().st_size,
        })  # fmt: skip
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, caption="confidence: " + CONFIDENCE)
    for name in rows[0]:
        number = name in ("phases", "points", "bytes")
        table.add_column(name, justify="right" if number else "left", no_wrap=name == "id")
    for row in rows:
        table.add_row(*(" ".join(cell) if isinstance(cell, list) else str(cell) for cell in row.values()))
    Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)


@profile.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a problem: file, path, found, allowed.")
def check(files: Sequence[Path], as_json: bool) -> None:
    """Every problem of profiles: its path in the file, what was found, what is allowed.

    Without FILE: all that the firmware brings. Exit status: 0 all are good, 2 there are problems.

    \b
    meshems profile check my-meter.json
    meshems profile check --json firmware/profiles/*.json
    """
    names = files or sorted(paths.PROFILES.glob("*.json"))
    bad = 0
    for file in names:
        try:
            found = problems(file.read_bytes(), file.stem)
        except OSError as error:
            found = [("(file)", error.strerror or str(error), "a file that can be read")]
        bad += bool(found)
        for path, value, allowed in found:
            if as_json:
                click.echo(json.dumps({"file": str(file), "path": path, "found": value, "allowed": allowed}))
            else:
                click.echo(f"{file}: {path}: found {value}, allowed {allowed}")
    if not as_json:
        click.echo(f"{len(names) - bad} of {len(names)} profiles are good")
    sys.exit(BAD if bad else 0)
