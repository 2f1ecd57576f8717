"""What the demo shows while it runs: a live table on a terminal, plain lines elsewhere, a picture of the end."""

import io
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from meshems.judge import STATUS, Message, instant_us

PLAIN_EVERY_S = 5.0
PICTURE_WIDTH = 112
COLOURS = {"good": "green", "suspect": "yellow", "old": "yellow", "comms_lost": "red"}
ENERGY, POWER, VOLTAGE = ("1.8.0", "15.8.0"), ("16.7.0", "1.7.0"), ("32.7.0",)


@dataclass
class Row:
    """A meter as the subscriber sees it; what it said more than `old_s` ago is no longer its state."""

    number: int
    serial: str
    profile: str
    gateway: str
    registers: Mapping[str, Decimal]
    quality: str = ""
    at_us: int = 0
    old_s: float = 12.0

    def age_s(self) -> float:
        """Return how long ago the meter answered."""
        return max(0.0, time.time() - self.at_us / 1e6)

    def state(self) -> str:
        """Return the quality of the last reading, or "old"."""
        return "old" if self.quality == "good" and self.age_s() > self.old_s else self.quality

    def value(self, codes: Sequence[str], places: int) -> str:
        """Return the first of the registers `codes` that it has, "" for none."""
        for code in codes:
            if code in self.registers:
                return f"{self.registers[code]:,.{places}f}"
        return ""


@dataclass
class Depth:
    """A gateway's journal: records stored in all, and how many of them the broker has not acknowledged."""

    stored: int = 0
    waiting: int = 0
    up: bool = True


class View:
    """The rows of all meters; `with` shows them. Give it the messages and the journals' depths, then `show`."""

    def __init__(self, rows: Sequence[Row], console: Console | None = None):
        self.rows = {row.serial: row for row in rows}
        self.depths: dict[str, Depth] = {row.gateway: Depth() for row in rows}
        self.readings = 0
        self._console = console or Console()
        self._live: Live | None = None
        self._plain_at = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> "View":
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def take(self, message: Message) -> None:
        """Take a message; one that is no telemetry of a known meter changes nothing, the judge speaks of it."""
        try:
            body = json.loads(message.payload, parse_float=Decimal, parse_int=Decimal)
            row = self.rows[body["meterSerial"]]
            if not message.topic.endswith("/telemetry"):
                return
            at_us, _ = instant_us(body["ts"])
            registers = {r["obis"]: r["value"] for r in body["registers"] if r["obis"] != STATUS}
            quality = str(body["registers"][0]["quality"])
        except (ValueError, KeyError, TypeError, IndexError):
            return
        row.quality = quality
        if registers:
            row.registers, row.at_us = registers, at_us
            self.readings += 1

    def table(self) -> Table:
        """Return the table of now."""
        table = Table(title=self.summary(), title_justify="left", title_style="bold")
        for name, justify in (
            ("#", "right"), ("meter", "left"), ("model", "left"), ("kWh", "right"), ("W", "right"), ("V", "right"),
            ("quality", "left"), ("age s", "right"), ("gateway", "left"), ("journal", "right"), ("waiting", "right"),
        ):  # fmt: skip
            table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
        last = ""
        for row in self.rows.values():
            if last and row.gateway != last:
                table.add_section()
            depth = self.depths[row.gateway]
            first, last = row.gateway != last, row.gateway
            table.add_row(
                str(row.number), row.serial, row.profile, row.value(ENERGY, 3), row.value(POWER, 1),
                row.value(VOLTAGE, 1), Text(row.state(), COLOURS.get(row.state(), "")),
                f"{row.age_s():.0f}" if row.at_us else "",
                Text(row.gateway, "" if depth.up else "red"),
                str(depth.stored) if first else "", str(depth.waiting) if first else "",
            )  # fmt: skip
        return table

    def summary(self) -> str:
        """Return the state of now in one line."""
        good = sum(row.state() == "good" for row in self.rows.values())
        stored = sum(depth.stored for depth in self.depths.values())
        waiting = sum(depth.waiting for depth in self.depths.values())
        down = [name for name, depth in self.depths.items() if not depth.up]
        text = (
            f"{time.monotonic() - self._began:.0f} s: {self.readings} readings received, {good} of {len(self.rows)} "
            f"meters good, {stored} records stored, {waiting} not acknowledged"
        )
        return text + (f", {' '.join(down)} without power" if down else "")

    def show(self, now: bool = False) -> None:
        """Bring the terminal up to date; without one, say a line every few seconds, or `now`."""
        if self._live:
            self._live.update(self.table(), refresh=True)
        elif now or time.monotonic() - self._plain_at >= PLAIN_EVERY_S:
            self._plain_at = time.monotonic()
            self.say(self.summary())

    def say(self, text: str) -> None:
        """Say a line as it is."""
        self._console.print(Text(text), soft_wrap=True)

    def picture(self, file: Path, command: str, last: str) -> None:
        """Save the table between the command and its last line as an SVG picture."""
        console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), force_terminal=True)
        console.print(Group(Text("$ " + command, "bold"), self.table(), Text(last, "bold")))
        console.save_svg(str(file), title="meshems demo")
