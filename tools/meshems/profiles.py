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

TURNAROUND_MS = 20  # of a meter that nobody has timed
OVERHEAD = 13  # characters of a read beside its registers: request 8, reply 5

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


def advice(profile: dict[str, Any]) -> list[Problem]:
    """Return what could be better in a good profile as (path, found, proposed): blocks to merge, no probe.

    One read instead of two saves its overhead and costs the hole between them, so it is faster when the hole has less
    than (13c + d + g) / 2c registers: c the time of a character at the first of `ser`, d the meter's turnaround, g the
    silence of 3.5 characters. Whether a meter lets itself be asked for the hole, only the meter says.
    """
    found: list[Problem] = []
    if "probe" not in profile:
        found.append(("probe", "nothing", "a register by which a scan knows the meter"))
    blocks = profile.get("blk", [])
    port = profile["ser"][0]
    baud = int(port[:-2])
    char_ms = 1000 * (9 + (port[-2] != "N") + int(port[-1])) / baud
    gap_ms = 1.75 if baud > 19200 else 3.5 * char_ms
    most = (OVERHEAD * char_ms + TURNAROUND_MS + gap_ms) / (2 * char_ms)
    order = sorted(range(len(blocks)), key=lambda i: blocks[i][:2])
    for i, j in zip(order, order[1:], strict=False):
        (function, first, count, every), (other, second, more, seldom) = blocks[i], blocks[j]
        hole, whole = second - first - count, second + more - first
        if function != other or every != seldom or not 0 <= hole < most or whole > profile["lim"][0]:
            continue
        if any(block[::2][:2] == [function, whole] for n, block in enumerate(blocks) if n not in (i, j)):
            whole += profile["lim"][1]  # lengths of one meter differ
        read = f"[{function}, {first}, {whole}, {every}]"
        found.append((
            f"blk[{i}], blk[{j}]", f"{count} and {more} registers with a hole of {hole}",
            f"{read}: faster at {port}, where a hole pays below {most:.0f}; try it on the meter",
        ))  # fmt: skip
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
@click.option(
    "--json", "as_json", is_flag=True,
    help="One JSON object a problem: file, path, found, allowed; of what is proposed: file, path, found, proposed.",
)
def check(files: Sequence[Path], as_json: bool) -> None:
    """Every problem of profiles: its path in the file, what was found, what is allowed.

    Of a good one also what could be better: blocks that one read would fetch faster, a missing probe. Without FILE: all
    that the firmware brings. Exit status: 0 all are good, 2 there are problems.

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
        for path, value, better in advice(load(file)) if not found else ():
            if as_json:
                click.echo(json.dumps({"file": str(file), "path": path, "found": value, "proposed": better}))
            else:
                click.echo(f"{file}: {path}: has {value}, proposed {better}")
        for path, value, allowed in found:
            if as_json:
                click.echo(json.dumps({"file": str(file), "path": path, "found": value, "allowed": allowed}))
            else:
                click.echo(f"{file}: {path}: found {value}, allowed {allowed}")
    if not as_json:
        click.echo(f"{len(names) - bad} of {len(names)} profiles are good")
    sys.exit(BAD if bad else 0)
