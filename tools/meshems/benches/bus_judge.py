"""Judges a run on the simulated line by the line's own log, and what a client says it read by what was on the wire.

Nothing of the firmware is imported here. A record of the log is a request or a reply with the instants of its first and
last byte, `mono_us`; a reply carries its `words` and whether it left `intact`, and the `k` of the request it answers. A
poll is what a client says: [unit, block, begin, end, words], in us of the same clock; `words` is None when it read
nothing.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

ROUNDING_US = 1  # the log's instants are whole us

Record = Mapping[str, Any]
Poll = Sequence[Any]


def requests(log: Sequence[Record]) -> list[Record]:
    """Return what the client sent, in order."""
    return [record for record in log if record["what"] == "request"]


def gap_violations(log: Sequence[Record], gap_s: float) -> int:
    """Return how many requests began before the line had been silent for `gap_s` after the last byte on it."""
    count = 0
    end = None
    for record in sorted(log, key=lambda record: record["mono_us"][0]):
        if record["what"] == "collision":
            continue
        first, last = record["mono_us"]
        if record["what"] == "request" and end is not None and first - end < gap_s * 1e6 - ROUNDING_US:
            count += 1
        end = last if end is None else max(end, last)
    return count


def cycle_s(log: Sequence[Record], reads: int) -> float:
    """Return how long a cycle of `reads` reads is, all of the same length: from the first request to the last."""
    asked = requests(log)
    return float(asked[-1]["mono_us"][0] - asked[0]["mono_us"][0]) / 1e6 * reads / (len(asked) - 1)


def steady_cycle_s(log: Sequence[Record], unit: int) -> float:
    """Return how long a cycle is, on average, when not all are alike: from one request to `unit` to its next."""
    asked = [record["mono_us"][0] for record in requests(log) if record.get("unit") == unit]
    return float(asked[-1] - asked[0]) / 1e6 / (len(asked) - 1)


def late_ms(log: Sequence[Record], gap_s: float) -> float:
    """Return how many ms after a reply and `gap_s` of silence the next request began, on average: the client's own."""
    frames = sorted(log, key=lambda record: record["mono_us"][0])
    pairs = [(a, b) for a, b in zip(frames, frames[1:], strict=False) if (a["what"], b["what"]) == ("reply", "request")]
    return statistics.mean(b["mono_us"][0] - a["mono_us"][1] - gap_s * 1e6 for a, b in pairs) / 1000


class Verdict(NamedTuple):
    """What became of the polls: how many gave right values, wrong ones, nothing."""

    right: int
    wrong: int
    nothing: int


def verdict(polls: Sequence[Poll], blocks: Sequence[Sequence[int]], log: Sequence[Record]) -> Verdict:
    """Return what the polls are worth.

    A value is right when it is what an intact reply carried that answered a request of this very poll: the registers
    change with each request, so neither another block's values nor those of an earlier poll are taken for right.
    """
    answers = {record["k"]: record for record in log if record["what"] == "reply" and record.get("intact")}
    asked = [record for record in requests(log) if record.get("k") is not None]
    right = wrong = nothing = 0
    at = 0
    for unit, block, begin, end, words in polls:
        while at < len(asked) and asked[at]["mono_us"][0] < begin:
            at += 1
        if words is None:
            nothing += 1
        elif list(words) in [
            answers[record["k"]]["words"]
            for record in _until(asked, at, end)
            if record["k"] in answers and _asks(record, unit, blocks[block])
        ]:
            right += 1
        else:
            wrong += 1
    return Verdict(right, wrong, nothing)


def _asks(record: Record, unit: int, block: Sequence[int]) -> bool:
    return (record["unit"], record["fc"], record["address"]) == (unit, *block[:2])


def _until(asked: Sequence[Record], at: int, end: int) -> Sequence[Record]:
    stop = at
    while stop < len(asked) and asked[stop]["mono_us"][0] <= end:
        stop += 1
    return asked[at:stop]
