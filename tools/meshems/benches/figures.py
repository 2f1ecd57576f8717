"""A figure of a benchmark: what the JSON line says, and whether the bound is kept."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value. `limit` is what physics or the chip allows, `bound` the most that the project allows itself."""

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    limit: float | None = None
    bound: float | None = None

    @property
    def ok(self) -> bool:
        """Return whether the bound is kept; true where there is none."""
        return self.bound is None or self.value <= self.bound

    def line(self) -> str:
        """Return the figure as one line of JSON."""
        fields = {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": self.peer_value,
            "limit": self.limit,
            "bound": self.bound,
            "ok": self.ok,
        }
        return json.dumps(fields)


def table(figures: Iterable[Figure]) -> Table:
    """Return the figures for people."""
    shown = Table("figure", title="Figures", title_justify="left")
    for head in ("value", "unit", "bound", "limit"):
        shown.add_column(head, justify="left" if head == "unit" else "right")
    shown.add_column("")
    for one in figures:
        told = ("", "") if one.bound is None else (f"{one.bound:g}", "[green]kept[/]" if one.ok else "[red]missed[/]")
        limit = "" if one.limit is None else f"{one.limit:g}"
        shown.add_row(one.name, f"{one.value:g}", one.unit, told[0], limit, told[1])
    return shown
