"""The simulator's spec (schema/sim.json) as units and faults, and the file that a line's log is written to."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshems.sim.faults import Fault
from meshems.sim.line import Settings
from meshems.sim.meters import Household
from meshems.sim.slave import Unit, Units

Problem = tuple[str, str, str]  # path, found, allowed


def problems(spec: dict[str, Any], profiles: Path) -> list[Problem]:
    """Return what the schema cannot see in a spec that fulfils it: (path, found, allowed) each."""
    found: list[Problem] = []
    seen: dict[tuple[str, Any], int] = {}
    for i, unit in enumerate(spec["units"]):
        for key in ("serial", "address"):
            first = seen.setdefault((key, unit[key]), i)
            if first != i:
                found.append((f"units[{i}].{key}", json.dumps(unit[key]), f"another than that of units[{first}]"))
        if not (profiles / f"{unit['profile']}.json").is_file():
            found.append((f"units[{i}].profile", unit["profile"], f"a file in {profiles}"))
    serials = {unit["serial"] for unit in spec["units"]}
    for i, fault in enumerate(spec.get("faults", ())):
        if fault.get("serial", next(iter(serials))) not in serials:
            found.append((f"faults[{i}].serial", fault["serial"], "the serial of a unit"))
    return found


def station(spec: dict[str, Any], profiles: Path) -> Units:
    """Return the station that `spec` describes; it is valid and has its defaults filled in."""
    seed = spec["seed"]
    units = []
    for unit in spec["units"]:
        profile = json.loads((profiles / f"{unit['profile']}.json").read_text())
        house = Household(seed * 1000 + unit["address"], profile["ph"], unit["load_w"], unit["start_wh"])
        turnaround = unit.get("turnaround_ms", spec["turnaround_ms"])
        units.append(Unit(unit["serial"], unit["address"], profile, house, turnaround))
    faults = [
        Fault(one["kind"], one.get("serial"), one["from"], one["to"], one["every"], one["late_ms"], one["code"])
        for one in spec["faults"]
    ]
    return Units(units, faults, seed, spec["jitter_ms"])


@contextmanager
def log_file(path: Path | None, settings: Settings, spec: dict[str, Any]) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Give the function that writes one JSON line a record to `path`; the first tells which line it is.

    Each line is complete on its own, so the file of a line that is still running can be read.
    """
    if path is None:
        yield lambda record: None
        return
    with path.open("w", buffering=1) as file:

        def write(record: dict[str, Any]) -> None:
            file.write(json.dumps(record, separators=(",", ":")) + "\n")

        units = [{key: unit[key] for key in ("serial", "address", "profile")} for unit in spec["units"]]
        now_us = time.time_ns() // 1000
        write({"what": "line", "baud": settings.baud, "format": settings.format, "utc_us": now_us, "units": units})
        yield write
