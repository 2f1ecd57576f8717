"""What takes hours on a real line, in virtual time: a thousand polls for each fault, and minutes with a dead meter.

The line is the simulator's own in virtual time (sim/virtual.py), the master on it the firmware's, in a MicroPython
process whose clock only moves when every task sleeps.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from meshems.benches import bus_judge as judge
from meshems.benches.bus_run import TIMEOUT_MS, TURNAROUND_MS
from meshems.sim import virtual
from meshems.sim.line import Settings

LATEST_MS = 1400  # a late reply comes at most so long after the time-out
BACKED_OFF_S = 240  # after so long a dead meter is asked as seldom as it ever is
STEADY_S = 300
SETTLED_MS = 2000  # how long nobody is asked when all are left alone
NAME = "bench"  # of the profile


def profile(folder: Path, blocks: Sequence[Sequence[int]]) -> Path:
    """Write a profile that reads every register of `blocks` as it is; return the folder."""
    folder.mkdir()
    rows = [[f"r.{i}.{at}", i, at, "u16", 0, "", 0] for i, block in enumerate(blocks) for at in range(block[2])]
    rules = {
        "v": 1, "id": NAME, "n": NAME, "ph": 0, "ser": ["9600N1"], "lim": [125, 1, 0, TIMEOUT_MS],
        "blk": [[*block, 1] for block in blocks], "q": rows, "conf": "L",
    }  # fmt: skip
    (folder / f"{NAME}.json").write_text(json.dumps(rules))
    return folder


def _spec(units: Sequence[int], faults: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    meters = [{"serial": f"SN-{unit}", "address": unit, "profile": NAME} for unit in units]
    return {
        "turnaround_ms": TURNAROUND_MS, "jitter_ms": 0, "restless": True, "units": meters, "faults": list(faults)
    }  # fmt: skip


def faults(profiles: Path, units: Sequence[int], kind: str, every: int, polls: int) -> judge.Verdict:
    """Return what became of so many polls of meters that have a fault at each `every`-th request."""
    fault: dict[str, Any] = {"kind": kind, "every": every}
    if kind == "late":
        first_ms = TIMEOUT_MS - TURNAROUND_MS
        fault.update(late_ms=first_ms, late_to_ms=first_ms + LATEST_MS)
    spec = _spec(units, [fault])
    done = virtual.poll(spec, Settings(), polls, settled_ms=SETTLED_MS, profiles=profiles).polls[:polls]
    wrong = sum(bool(one.wrong) for one in done)
    nothing = sum(not one.ok for one in done)
    return judge.Verdict(len(done) - wrong - nothing, wrong, nothing)


def gap_violations(profiles: Path, units: Sequence[int], polls: int) -> int:
    """Return how many requests in so many polls began too early, to the microsecond."""
    return judge.gap_violations(virtual.poll(_spec(units), Settings(), polls, profiles=profiles).log, Settings().gap_s)


def silent_meter_s(profiles: Path, units: Sequence[int], cycle_s: float) -> float:
    """Return by how much a dead meter makes a cycle longer, on average, once it is backed off; `cycle_s` is a guess."""
    alive = virtual.poll(_spec(units[:-1]), Settings(), 3 * len(units), profiles=profiles)
    dead = [{"kind": "silent", "serial": f"SN-{units[-1]}"}]
    polls = round((BACKED_OFF_S + STEADY_S) / cycle_s * len(units))
    done = virtual.poll(_spec(units, dead), Settings(), polls, profiles=profiles)
    steady = [record for record in done.log if record["mono_us"][0] > BACKED_OFF_S * 1e6]
    return judge.steady_cycle_s(steady, units[0]) - judge.steady_cycle_s(alive.log, units[0])
