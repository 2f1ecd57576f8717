"""The simulator's spec (schema/sim.json) as units and faults, and the file that a line's log is written to."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from meshems import paths
from meshems.sim.faults import Fault
from meshems.sim.meters import Household, Restless
from meshems.sim.slave import Unit, Units
from meshems.sim.uart import Settings

Problem = tuple[str, str, str]  # path, found, allowed
LINE = Settings()
KEYS = {"from": "start_s", "to": "end_s"}  # of a fault, where Fault calls them otherwise


def load(spec: dict[str, Any], profiles: Path) -> dict[str, Any]:
    """Return `spec`, with its defaults filled in there; ValueError names every problem."""
    found = problems(spec, profiles)
    if found:
        raise ValueError("; ".join(f"{path}: found {what}, allowed {allowed}" for path, what, allowed in found))
    fill(spec)
    return spec


def fill(spec: dict[str, Any]) -> None:
    """Put the defaults into a valid spec."""
    schema, rules = _schema()
    schema.fill(rules, spec)


def _schema() -> tuple[Any, Any]:
    paths.share_firmware()
    from lib import schema  # the one validator

    return schema, schema.verify(json.loads((paths.SCHEMAS / "sim.json").read_text()))


def problems(spec: Any, profiles: Path) -> list[Problem]:
    """Return what is wrong with a spec, (path, found, allowed) each: by the schema, then what that cannot see."""
    schema, rules = _schema()
    found: list[Problem] = schema.problems(rules, spec)
    if found:
        return found
    seen: dict[tuple[Any, ...], int] = {}
    for i, unit in enumerate(spec["units"]):
        for key, scope in (("serial", ()), ("address", (unit.get("baud"), unit.get("format")))):
            first = seen.setdefault((key, unit[key], *scope), i)
            if first != i:
                found.append((f"units[{i}].{key}", json.dumps(unit[key]), f"another than that of units[{first}]"))
        if not (profiles / f"{unit['profile']}.json").is_file():
            found.append((f"units[{i}].profile", unit["profile"], f"a file in {profiles}"))
        elif json.loads((profiles / f"{unit['profile']}.json").read_text()).get("proto", "modbus") != "modbus":
            found.append((f"units[{i}].profile", unit["profile"], "a Modbus profile: registers are laid out by it"))
        elif "device" in unit:
            found += _number(f"units[{i}].device", unit["device"], unit["profile"], profiles)
    serials = {unit["serial"] for unit in spec["units"]}
    for i, fault in enumerate(spec.get("faults", ())):
        if fault.get("serial", next(iter(serials))) not in serials:
            found.append((f"faults[{i}].serial", fault["serial"], "the serial of a unit"))
    if not found:
        for i, fault in enumerate(spec.get("faults", ())):
            for unit in spec["units"] if fault["kind"] == "replaced" and "device" in fault else ():
                if fault.get("serial", unit["serial"]) == unit["serial"]:
                    found += _number(f"faults[{i}].device", fault["device"], unit["profile"], profiles)
    return found


def _number(path: str, device: str, name: str, profiles: Path) -> list[Problem]:
    """Return what is wrong with the number that a unit with the profile `name` shall give as its own."""
    own = json.loads((profiles / f"{name}.json").read_text()).get("own")
    if not own:
        return [(path, device, f"only with a profile that has `own`, which {name} has not")]
    if own[3] == "str":
        return [] if len(device) <= 2 * own[2] else [(path, device, f"at most {2 * own[2]} characters")]
    largest = (1 << 16 * own[2]) - 1
    return [] if device.isdecimal() and int(device) <= largest else [(path, device, f"a number up to {largest}")]


def station(spec: dict[str, Any], profiles: Path, settings: Settings = LINE, utc_ms: int = 0) -> Units:
    """Return all units of `spec` as one station whose UARTs are set like `settings`.

    The spec is valid and has its defaults filled in. `utc_ms` is the time when the line starts; now if 0.
    """
    seed = spec["seed"]
    units = []
    for unit in spec["units"]:
        profile = json.loads((profiles / f"{unit['profile']}.json").read_text())
        own = seed * 1000 + unit["address"]
        house = (
            Restless(own) if spec["restless"] else Household(own, profile["ph"], unit["load_w"], unit["start_wh"])
        )  # fmt: skip
        turnaround = unit.get("turnaround_ms", spec["turnaround_ms"])
        device = unit.get("device", "")
        units.append(Unit(unit["serial"], unit["address"], profile, house, turnaround, device=device))
    faults = [Fault(**{KEYS.get(key, key): value for key, value in one.items()}) for one in spec["faults"]]
    return Units(units, faults, seed, spec["jitter_ms"], gap_s=settings.gap_s, utc_ms=utc_ms)


def own_settings(unit: dict[str, Any], line: Settings) -> Settings:
    """Return how a unit's UART is set: as the line's, unless it says otherwise."""
    return Settings(unit.get("baud", line.baud), unit.get("format", line.format))


def stations(spec: dict[str, Any], profiles: Path, line: Settings, utc_ms: int = 0) -> dict[Settings, Units]:
    """Return the units of `spec` on `line`: a station for each way in which their UARTs are set."""
    ways: dict[Settings, list[dict[str, Any]]] = {}
    for unit in spec["units"]:
        ways.setdefault(own_settings(unit, line), []).append(unit)
    return {way: station(dict(spec, units=units), profiles, way, utc_ms) for way, units in ways.items()}


def summary(spec: dict[str, Any], link: Path, line: Settings) -> Iterator[str]:
    """Give the lines that tell who is on the line and what will go wrong there; the spec has its defaults."""
    yield f"{link}: {line}, {len(spec['units'])} units"
    for unit in spec["units"]:
        own = own_settings(unit, line)
        yield f"  {unit['address']:3} {unit['serial']} {unit['profile']}{'' if own == line else f' at {own}'}"
    for fault in spec["faults"]:
        who = fault.get("serial", "every unit")
        yield f"  fault {fault['kind']} of {who}, every {fault['every']}, from {fault['from']} s to {fault['to']} s"


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
