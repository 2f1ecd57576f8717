"""The figures of the suite `bus` as one picture, and as the README's table: `make plot`.

    python -m meshems.benches.bus_plot build/bus.jsonl docs/bus.svg     # prints the table
"""

import json
import sys
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from meshems.benches.bus_run import OURS

Row = dict[str, Any]  # one line of the JSON
NAMES = {
    "bus.cycle_40regs_s": "one read of 40 registers from each of 20 meters: s a cycle",
    "bus.cycle_8x2regs_s": "eight reads of 2 registers from each of 20 meters: s a cycle",
    "bus.gap_violations": "requests that began before the line had been silent for 3.5 characters",
    "bus.wrong_values": "wrong values taken for good, from late and broken replies",
}
WIDTH, LABEL, BAR, ROW, HEAD = 720, 150, 480, 18, 34  # px
OUR, THEIR, LIMIT = "#2a7f3f", "#9aa5b1", "#b00020"


def _clients(rows: Sequence[Row], name: str) -> list[tuple[str, float]]:
    """Return (client, value) of a figure, ours first."""
    mine = [row for row in rows if row["name"] == name]
    return [(OURS, mine[0]["value"]), *((row["peer"], row["peer_value"]) for row in mine)]


def svg(rows: Sequence[Row]) -> str:
    """Return the picture: a bar for each client, and a line where the limit is."""
    parts = []
    y = 0
    for name, title in NAMES.items():
        bars = _clients(rows, name)
        first = next(row for row in rows if row["name"] == name)
        limit, unit = first["limit"], first["unit"]
        most = max([value for _, value in bars] + [limit or 1])
        y += HEAD
        what = f"{title} ({unit})" if unit.startswith("of ") else title
        parts.append(f'<text x="10" y="{y - 8}" font-weight="bold">{escape(what)}</text>')
        for client, value in bars:
            width = value / most * BAR
            fill = OUR if client == OURS else THEIR
            parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(client)}</text>')
            parts.append(f'<rect fill="{fill}" x="{LABEL}" y="{y + 2}" width="{width:.1f}" height="{ROW - 5}"/>')
            parts.append(f'<text x="{LABEL + max(width, _limit_x(limit, most)) + 6:.1f}" y="{y + 12}">{value:g}</text>')
            y += ROW
        if limit:
            x = LABEL + _limit_x(limit, most)
            top = y - ROW * len(bars)
            parts.append(f'<line stroke="{LIMIT}" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 2}" y2="{y}"/>')
            parts.append(f'<text x="{x:.1f}" y="{y + 12}" text-anchor="middle">the wire: {limit:g}</text>')
            y += ROW
    size = f'width="{WIDTH}" height="{y + 12}" viewBox="0 0 {WIDTH} {y + 12}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" role="img" {size}>'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>\n"])


def _limit_x(limit: float | None, most: float) -> float:
    """Return how far from the left edge of the bars the limit is, in px; 0 without one."""
    return (limit or 0) / most * BAR


def table(rows: Iterable[Row]) -> str:
    """Return the figures as a table in Markdown: one line a figure, the peers in columns."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        named.setdefault(row["name"], []).append(row)
    peers = list(dict.fromkeys(row["peer"] for mine in named.values() for row in mine if row["peer"]))
    lines = ["| figure | ours | limit | bound | " + " | ".join(peers) + " |", "| --- |" + " --: |" * (len(peers) + 3)]
    for name, mine in named.items():
        first = mine[0]
        found = {row["peer"]: f"{row['peer_value']:g}" for row in mine if row["peer"]}
        limit = "" if first["limit"] is None else f"{first['limit']:g}"
        bound = "" if first["bound"] is None else f"{first['bound']:g}"
        if bound and limit and name != "bus.two_buses_ratio":
            bound += " x limit"
        cells = [f"`{name}`", f"{first['value']:g}", limit, bound, *(found.get(peer, "") for peer in peers)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(source: str, target: str) -> None:
    """Write the picture and print the table."""
    rows = [json.loads(line) for line in Path(source).read_text().splitlines()]
    Path(target).write_text(svg(rows))
    print(table(rows), end="")


if __name__ == "__main__":
    main(*sys.argv[1:])
