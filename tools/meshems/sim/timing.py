"""Judges the log of a simulated line: did the master keep silent long enough, who spoke at once, who was answered.

    python -m meshems.sim.timing line-1.jsonl
    timing.judge(records, 9600, "8N1")      # records of a line in virtual time do not say how it is set

Standard library only: nothing of the firmware, and nothing of the simulator that wrote the log. docs/simulator.md says
at which instant a byte is taken to be on the line.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROUNDING_US = 1  # the log's instants are whole us


@dataclass
class Timing:
    """The figures of a line.

    `gap_violations` counts requests that began when the line had been silent for less than `gap_us`; `shortest_us` is
    the shortest silence before any, negative where the request began while somebody was speaking, None with no request
    after something else. A request is answered when any reply to it was sent, however late or broken.
    """

    gap_us: float
    requests: int = 0
    garbage: int = 0  # of the requests: those that no unit could understand
    answered: int = 0
    unanswered: int = 0
    gap_violations: int = 0
    shortest_us: int | None = None
    collisions: int = 0


def gap_us(baud: int, form: str) -> float:
    """Return the silence that has to be before a request (Modbus over serial line V1.02, 2.5.1.1)."""
    if baud > 19200:
        return 1750
    bits = 1 + int(form[0]) + (form[1] != "N") + int(form[2])
    return 3.5 * bits * 1e6 / baud


def judge(records: Iterable[Mapping[str, Any]], baud: int = 0, form: str = "") -> Timing:
    """Return the figures of a line's log; ValueError when neither it nor the caller says how the line is set."""
    log = list(records)
    line = next((record for record in log if record["what"] == "line"), {"baud": baud, "format": form})
    if not line["baud"]:
        raise ValueError("the log does not say how the line is set")
    found = Timing(gap_us(line["baud"], line["format"]))
    found.collisions = sum(record["what"] == "collision" for record in log)
    replies = {record["n"] for record in log if record["what"] == "reply"}
    last_us: int | None = None  # when the last byte before was complete, whoever sent it
    spoken = [record for record in log if record["what"] in ("request", "reply", "unasked")]
    for record in sorted(spoken, key=lambda record: record["mono_us"][0]):
        first, end = record["mono_us"]
        if record["what"] == "request":
            found.requests += 1
            found.garbage += "garbage" in record
            found.answered += record["n"] in replies
            if last_us is not None:
                silence = first - last_us
                found.gap_violations += silence < found.gap_us - ROUNDING_US
                found.shortest_us = silence if found.shortest_us is None else min(found.shortest_us, silence)
        last_us = end if last_us is None else max(last_us, end)
    found.unanswered = found.requests - found.answered
    return found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        lines = Path(name).read_text().splitlines()
        print(json.dumps({"file": name, **asdict(judge(map(json.loads, lines)))}))
