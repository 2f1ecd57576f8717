"""`meshems profile try`: what a meter says to a profile, register by register."""

import json
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from meshems import device
from meshems.decode import decode
from meshems.profiles import BAD, PIPE_WIDTH, load, problems, profile  # the command of this file belongs to `profile`
from meshems.run import RunError
from meshems.scan import setting_of, shown

NO_VALUE = 1  # exit status
PROGRAM = """
import asyncio, json
from gateway import data, trial

def say(told):
    if told["data"] is not None:
        told["data"] = told["data"].hex()
    print(json.dumps(told))

async def main():
    line = trial.line(1, await trial.echoes(trial.line(1)))
    async with line.lock:
        await line.set(BAUD, FORMAT)
    await trial.read(line, ADDRESS, data.load("profiles/NAME.json"), say)

asyncio.run(main())
"""
MEANING = {
    "exception 1": "the meter does not know this function: 3 and 4 are easily mixed up",
    "exception 2": "the meter has no such register: is the address counted from 0, is the block too long?",
    "exception 3": "the meter does not give so many registers at once, or not an odd number",
    "exception 4": "the meter failed", "exception 6": "the meter is busy",
    "no reply": "address, speed, parity, wiring? `meshems scan` looks for it",
}  # fmt: skip
# What a meter in a village may say, by unit; far wider than any good reading.
LIMITS = {
    "V": (80, 500), "Hz": (45, 65), "A": (-1000, 1000), "W": (-1e6, 1e6), "VA": (0, 1e6), "var": (-1e6, 1e6),
    "kWh": (0, 1e7), "kvarh": (0, 1e7), "C": (-40, 90), "%": (0, 100),
}  # fmt: skip
FACTORS = {"13.7.0", "33.7.0", "53.7.0", "73.7.0"}  # power factors: no unit, -1 to 1
SWAPS = {"u32": ["f32", "f32w", "u32w"], "s32": ["s32w", "f32", "f32w"], "f32": ["f32w", "u32", "u32w"],
         "u32w": ["f32w", "f32", "u32"], "s32w": ["s32", "f32w", "f32"], "f32w": ["f32", "u32w", "u32"],
         "u64": ["u64w", "f64"], "s64": ["s64w", "f64"], "f64": ["f64w", "u64"],
         "u64w": ["u64", "f64w"], "s64w": ["s64", "f64w"], "f64w": ["f64", "u64w"]}  # fmt: skip


def likely(obis: str, unit: str, value: float) -> bool:
    """Return whether `value` can be one of a meter that is in use."""
    low, high = (-1, 1) if obis in FACTORS else LIMITS.get(unit, (-math.inf, math.inf))
    return low <= value <= high


def hint(row: Sequence[Any], words: Sequence[int], value: float) -> str:
    """Return what may be wrong with the row of a profile, or with the wiring, when its value is unlikely; else ""."""
    obis, unit = row[0], row[5]
    vanished = value == 0 and any(words)  # a number far too small to be one
    if likely(obis, unit, value) and not vanished:
        return ""
    others = list(_others(row, words))
    if others:
        return "unlikely; " + ", ".join(others)
    if value == 0 and not vanished:
        return "no voltage: is it connected?" if unit == "V" else "0: is there voltage on the meter?"
    return "unlikely: right register, type and scale?"


def _others(row: Sequence[Any], words: Sequence[int]) -> Iterator[str]:
    """Yield other ways to read the same registers that give a likely value other than 0."""
    obis, _, _, kind, scale, unit = row[:6]

    def read(kind: str, scale: Any, words: Sequence[int]) -> float | None:
        made = {"blk": [[3, 0, len(words), 1]], "q": [[obis, 0, 0, kind, scale, unit]]}
        value = decode(made, {(3, 0): words})[obis]
        return None if value is None or not value[0] or not likely(obis, unit, float(value[0])) else float(value[0])

    for other in SWAPS.get(kind, []):
        value = read(other, 0 if other[0] == "f" else scale, words)
        if value is not None and (unit not in ("kWh", "kvarh", "W") or abs(value) > 0.01):
            yield f"as {other} it would be {value:.10g} {unit}".rstrip()
    swapped = [word >> 8 | (word & 255) << 8 for word in words]
    value = read(kind, scale, swapped)
    if value is not None and unit in ("V", "Hz"):
        yield f"with the bytes of each register swapped it would be {value:.10g} {unit}"
    if isinstance(scale, int) and unit in ("V", "Hz"):
        for less in (1, 2, 3, -1):
            value = read(kind, scale - less, words)
            if value is not None:
                yield f"with the scale {scale - less} it would be {value:.10g} {unit}"


def with_number(made: dict[str, Any]) -> dict[str, Any]:
    """Return a profile that reads the meter's own number as any other point, where it is known where that stands."""
    if "own" not in made:
        return made
    *block, kind = made["own"]
    row = ["0.0.96.1.1.255", len(made["blk"]), 0, kind, block[2] if kind == "str" else 0, "text", 0]
    rest = {key: value for key, value in made.items() if key != "own"}
    return rest | {"blk": [*made["blk"], [*block, 1]], "q": [*made["q"], row]}


def rows_of(made: dict[str, Any], block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what is shown of each point of a block that was read; `raw` is empty where no registers came."""
    data = bytes.fromhex(block["data"] or "")
    words = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
    rows = {row[0]: row for row in made["q"]}
    for point, value in zip(block["points"].split("\n")[1:], block["values"], strict=True):
        obis, unit, exponent = point.split(" ")
        row = rows[obis]
        shown: dict[str, Any] = {
            "obis": obis, "function": None, "register": None, "raw": [], "value": None, "unit": unit, "fault": None,
            "hint": "",
        }  # fmt: skip
        raw: list[int] = []
        if block["block"]:
            function, address = block["block"][:2]
            size = row[4] if row[3] == "str" else int(row[3][1:3]) // 16
            raw = words[row[2] : row[2] + size]
            shown |= {"function": function, "register": address + row[2], "raw": [f"{word:04x}" for word in raw]}
        plain = bool(raw) and len(row) < 8  # its registers alone make its value
        if isinstance(value, list):
            shown["fault"] = value[0]
            shown["hint"] = ", ".join(_others(row, raw)) if plain else MEANING.get(value[0], "")
        elif isinstance(value, int):
            shown["value"] = fixed(value, int(exponent))
            shown["hint"] = hint(row, raw, value * 10 ** int(exponent)) if plain else ""
        else:
            shown["value"] = value
            shown["hint"] = "the meter says: not available" if value is None else ""
        yield shown


def fixed(value: int, exponent: int) -> str:
    """Return value x 10^exponent exactly, without trailing zeros: fixed(230100, -3) is "230.1"."""
    if exponent >= 0:
        return str(value * 10**exponent)
    digits = f"{abs(value):0{1 - exponent}d}"
    text = f"{digits[:exponent]}.{digits[exponent:]}".rstrip("0").rstrip(".")
    return "-" + text if value < 0 else text


@profile.command("try")
@click.argument("name", metavar="ID|FILE")
@click.option("--port", required=True, metavar="PORT", help="A serial port, or the terminal of a simulated line.")
@click.option("--address", required=True, type=click.IntRange(1, 247), help="Of the meter.")
@click.option("--baud", type=click.Choice([str(baud) for baud in device.BAUDS]),
              metavar="BAUD", help="Else as delivered: the first of the profile's `ser`.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(device.FORMATS), help="Likewise.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a point.")
def try_profile(name: str, port: str, address: int, baud: str | None, form: str | None, as_json: bool) -> None:
    """Read each block of a profile once and show every point: its registers, its value, what is odd about it.

    \b
    meshems profile try my-meter.json --port /dev/ttyUSB0 --address 7
    meshems profile try eastron-sdm120 --port /tmp/line-1 --address 1 --baud 9600 --format 8N1

    The firmware's own code reads, at the desk. Exit status: 0 the meter answered to every point, 1 to some it did
    not, 2 wrong usage or a profile with problems. An odd value changes nothing: look at it.
    """
    from meshems.cli import fail, refuse

    try:
        file = device.profile_file(name)
        found = problems(file.read_bytes())
        if found:
            refuse(file, found)
        made = with_number(load(file))
        first = setting_of(made["ser"][0])
        speed, shape = int(baud or first[0]), form or first[1]
        program = PROGRAM.replace("BAUD", str(speed)).replace("FORMAT", repr(shape))
        program = program.replace("ADDRESS", str(address)).replace("NAME", made["id"])
        with tempfile.TemporaryDirectory(prefix="meshems-") as folder:
            (Path(folder) / "profile.json").write_text(json.dumps(made))
            blocks = device.said(program, port, [Path(folder) / "profile.json"])
            rows = [row for block in blocks for row in rows_of(made, block)]
    except RunError as error:
        fail(str(error), BAD)
    except (OSError, ValueError) as error:
        fail(f"{name}: {error}", BAD)
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
    else:
        _show(rows)
        good = sum(row["fault"] is None for row in rows)
        click.echo(f"{port}: address {address} at {shown(f'{speed}{shape[1:]}')}: {good} of {len(rows)} points read")
    sys.exit(NO_VALUE if any(row["fault"] for row in rows) else 0)


def _show(rows: Sequence[dict[str, Any]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("point", "function", "register", "raw", "value", "unit", ""):
        table.add_column(name, justify="right" if name in ("function", "register", "value") else "left")
    refused: dict[tuple[int | None, str, str], list[str]] = {}
    for row in rows:
        place = [str(row[key]) if row["raw"] else "" for key in ("function", "register")]
        if row["fault"] and not row["raw"]:
            refused.setdefault((row["function"], row["fault"], row["hint"]), []).append(row["obis"])
        else:
            value = row["fault"] or ("-" if row["value"] is None else row["value"])
            table.add_row(row["obis"], *place, " ".join(row["raw"]), value, row["unit"], row["hint"])
    if table.row_count:
        Console(width=None if sys.stdout.isatty() else PIPE_WIDTH).print(table)
    for (function, fault, meaning), points in refused.items():
        place = f"function {function}, " if function else ""
        click.echo(f"{place}{' '.join(points)}: {fault}" + (f": {meaning}" if meaning else ""))
