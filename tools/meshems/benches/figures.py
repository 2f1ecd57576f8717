"""A figure of a benchmark: what the JSON line says, and whether the bound is kept."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One measured value. `limit` is what the chip or physics allow, `bound` what the project allows itself.

    The bound is the most that is allowed, or the least with `at_least`. With `of_limit` it is a ratio: value / limit
    has to keep it.
    """

    name: str
    value: float
    unit: str
    peer: str | None = None
    peer_value: float | None = None
    limit: float | None = None
    bound: float | None = None
    at_least: bool = False
    of_limit: bool = False

    @property
    def ok(self) -> bool:
        """Return whether the bound is kept; true where there is none."""
        if self.bound is None:
            return True
        value = self.value / self.limit if self.of_limit and self.limit else self.value
        return value >= self.bound if self.at_least else value <= self.bound

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
    shown = Table(title="Figures", title_justify="left")
    shown.add_column("figure", no_wrap=True)
    for head in ("value", "unit", "bound", "limit", "peer"):
        shown.add_column(head, justify="left" if head == "unit" else "right")
    shown.add_column("")
    for one in figures:
        kept = "" if one.bound is None else "[green]kept[/]" if one.ok else "[red]missed[/]"
        peer = "" if one.peer is None else f"{one.peer}: {one.peer_value:g}"
        bound = "" if one.bound is None else f"{one.bound:g} x limit" if one.of_limit else f"{one.bound:g}"
        numbers = [bound, "" if one.limit is None else f"{one.limit:g}"]
        shown.add_row(one.name, f"{one.value:g}", one.unit, *numbers, peer, kept)
    return shown
