"""The line of the bus benchmark, a process of its own: `bus_line.py JOB`, a JSON file.

{"link", "log": paths, "baud", "format", "turnaround_ms", "units": [address],
 "fault": null or {"kind": late glitch echo wrong_unit short, "units": [address], "every": n}, "timeout_ms"}

Its meters have every register, and every request finds other values in them: a value tells which request it answers.
Says one line when the terminal is there; SIGTERM ends it.
"""

import json
import random
import signal
import sys
import zlib
from pathlib import Path
from types import FrameType
from typing import Any

from meshems.sim.faults import crc, sealed
from meshems.sim.line import Line, Settings
from meshems.sim.slave import Answer, Station

LATEST_S = 1.4  # a late reply comes at most so long after the time-out


def words(unit: int, function: int, address: int, count: int, k: int) -> list[int]:
    """Return what the registers hold when the k-th request asks for them."""
    seen = [f"{unit} {function} {address + i} {k}".encode() for i in range(count)]
    return [zlib.crc32(one) & 0xFFFF for one in seen]


class Row(Station):
    """A station of meters that answer after a fixed turnaround, with one fault."""

    def __init__(self, job: dict[str, Any]):
        self._units = job["units"]
        self._delay_s = job["turnaround_ms"] / 1000
        self._fault: dict[str, Any] = job.get("fault") or {"kind": None, "units": [], "every": 1}
        self._timeout_s = job["timeout_ms"] / 1000
        self._rng = random.Random(1)
        self._k = 0
        self._struck = 0

    def echoes(self, at_s: float) -> bool:
        """Return whether the client hears its own bytes."""
        return bool(self._fault["kind"] == "echo")

    def hear(self, frame: bytes, at_s: float, quiet_s: float) -> Answer:
        """Take a frame that ended `at_s` after the line's start; how long the line was quiet before is the judge's."""
        if len(frame) != 8 or crc(frame[:-2]) != frame[-2:]:
            return Answer({"garbage": frame.hex()})
        self._k += 1
        unit, function = frame[:2]
        address, count = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
        request = {"k": self._k, "unit": unit, "fc": function, "address": address, "count": count}
        if unit not in self._units:
            return Answer(request)
        held = words(unit, function, address, count, self._k)
        data = b"".join(word.to_bytes(2, "big") for word in held)
        wire = sealed(bytes([unit, function, len(data)]) + data)
        delay_s = self._delay_s
        kind = self._kind(unit)
        if kind == "late":
            delay_s = self._timeout_s + self._rng.random() * LATEST_S
        elif kind == "glitch":
            wire = b"\0" + wire
        elif kind == "wrong_unit":
            wire = sealed(bytes([unit + 1, function, len(data)]) + data)
        elif kind == "short":
            wire = sealed(bytes([unit, function, len(data) - 2]) + data[:-2])
        intact = kind not in ("wrong_unit", "short")
        return Answer(request, dict(request, words=held, intact=intact, fault=kind), wire, delay_s, unit)

    def _kind(self, unit: int) -> str | None:
        """Return the fault that strikes this request of `unit`."""
        if unit not in self._fault["units"]:
            return None
        self._struck += 1
        return None if self._struck % self._fault["every"] else str(self._fault["kind"])


def main(file: str) -> None:
    """Serve until SIGTERM."""
    job = json.loads(Path(file).read_text())
    with open(job["log"], "w", buffering=1) as log:
        settings = Settings(job["baud"], job["format"])
        line = Line(job["link"], settings, Row(job), lambda record: print(json.dumps(record), file=log))

        def end(number: int, frame: FrameType | None) -> None:
            line.stop()

        signal.signal(signal.SIGTERM, end)
        print("ready", flush=True)
        line.run()


if __name__ == "__main__":
    main(sys.argv[1])
