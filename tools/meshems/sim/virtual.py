"""The line in virtual time, for a master that tells what time it is: a thousand time-outs take no longer than replies.

    line = VirtualLine(Settings(9600), stations, log.append)
    line.feed(request, at_us)           # the gateway writes; what arrived until then: [(us, bytes), ...]
    line.feed(b"", at_us)               # and what arrived until later

`poll` runs the firmware's own master on it, in a MicroPython process (host_tests/bench/virtual_bus.py):

    run = poll({"units": [...], "faults": [{"kind": "glitch", "every": 20}]}, Settings(9600), 1000)
    sum(bool(one.wrong) for one in run.polls)       # polls that gave a value which the meter did not hold
    sum(not one.ok for one in run.polls)            # polls without values: one.fault, one.text
    timing.judge(run.log)                           # silences and collisions, to the microsecond

`serve` does the same for another script that uses virtual_bus.connect().
"""

import contextlib
import copy
import json
import math
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from meshems import paths
from meshems.decode import decode
from meshems.run import interpreter
from meshems.sim import spec as specs
from meshems.sim.slave import Station
from meshems.sim.uart import Settings, Uart
from meshems.sim.wire import Wire

SCRIPTS = paths.ROOT / "host_tests" / "bench"
CLOCK = paths.ROOT / "host_tests" / "unit"  # fake_uart.py
HEAP = "4M"
LAST_US = 2_000_000  # after the last poll, for what is still on its way
START_MS = 1_790_000_000_000  # UTC when a virtual line starts


class VirtualError(Exception):
    """Why the master's process failed: its last words."""


class VirtualLine:
    """One line; its time, in us, begins at 0 and is what the gateway says. `gateway` is how its UART is set."""

    def __init__(
        self, settings: Settings, stations: Mapping[Settings, Station], log: Callable[[dict[str, Any]], None],
        utc_ms: int = START_MS,
    ):  # fmt: skip
        self.settings = settings
        self.gateway: Uart = settings
        self._at_us = 0.0
        self._arrived: list[tuple[float, bytes]] = []
        self._wire = Wire(
            settings, stations, log, self._give, gateway=lambda: self.gateway,
            utc_us=lambda at_us: utc_ms * 1000 + at_us,
        )  # fmt: skip

    def _give(self, data: bytes) -> float:
        self._arrived.append((self._at_us, data))
        return self._at_us

    def feed(self, data: bytes, at_us: float) -> list[tuple[float, bytes]]:
        """Let the time come to `at_us`, where the gateway writes `data`; return [(us, bytes)] that arrived since."""
        while (due := self.due()) is not None and due <= at_us:
            self._at_us = due
            self._wire.step(due)
        self._at_us = at_us
        if data:
            self._wire.write(data, at_us)
        arrived, self._arrived = self._arrived, []
        return arrived

    def due(self) -> float | None:
        """Return when something happens next if the gateway stays silent, None when nothing does."""
        return self._wire.due()


def serve(
    line: VirtualLine, script: Path, job: Mapping[str, Any], told: Callable[[Any], None], limit_s: float = 300,
) -> None:  # fmt: skip
    """Run a MicroPython script on `line` to its end; `told` gets what it tells.

    `job` reaches the script, with baud and format of the line added. VirtualError when it fails, or is still at it
    after `limit_s` of real time.
    """
    path = [paths.BOARDS / "desktop", paths.FIRMWARE, SCRIPTS, CLOCK, ".frozen"]
    environment = dict(os.environ, MICROPYPATH=":".join(map(str, path)))
    process = subprocess.Popen(
        [interpreter(), "-X", f"heapsize={HEAP}", str(script)], env=environment, text=True, bufsize=1,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    limit = threading.Timer(limit_s, process.kill)
    limit.start()
    try:
        said = _converse(process, line, job, told)
    finally:
        limit.cancel()
        process.kill()
    if process.returncode or said:
        raise VirtualError("".join(said).strip() or f"the master ended with status {process.returncode}")


def _converse(
    process: "subprocess.Popen[str]", line: VirtualLine, job: Mapping[str, Any], told: Callable[[Any], None]
) -> list[str]:
    """Answer the script until it ends; return what it said beside the protocol."""
    said = []
    with process:
        assert process.stdin and process.stdout and process.stderr
        with contextlib.suppress(BrokenPipeError), process.stdin:  # it has ended: what it said tells why
            setting = {"baud": line.settings.baud, "format": line.settings.format}
            process.stdin.write(json.dumps({**job, **setting}) + "\n")
            for text in process.stdout:
                verb, _, rest = text.rstrip("\n").partition(" ")
                at, _, data = rest.partition(" ")
                if verb in ("R", "W"):
                    arrived = b"".join(part for _, part in line.feed(bytes.fromhex(data), float(at)))
                    due = line.due()
                    process.stdin.write(f"{-1 if due is None else math.ceil(due)} {arrived.hex()}\n")
                elif verb == "S":
                    line.feed(b"", float(at))
                    baud, form = data.split()
                    line.gateway = Uart(int(baud), form)
                elif verb == "T":
                    told(json.loads(rest))
                else:
                    said.append(text)
        return said + process.stdout.readlines() + process.stderr.readlines()


@dataclass
class Poll:
    """One read of one batch that the master put on the line.

    `values` is {OBIS: (value, unit)}, None for a value that the meter says it has not; empty when there are none, and
    then `fault` is the number and `text` the words of the master's own error. `requests` are the log's records of what
    it put on the line meanwhile, `held` the registers of the unit when it was asked: {(function, address): words}.
    `wrong` names each OBIS whose value is not what these registers say: all of them when the unit was not reached.
    """

    serial: str
    began_us: int
    ended_us: int
    values: dict[str, "tuple[Decimal, str] | None"] = field(default_factory=dict)
    fault: int = 0
    text: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    held: dict[tuple[int, int], list[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Return whether it gave values."""
        return not self.fault

    @property
    def struck(self) -> str | None:
        """Return the fault that the simulator did to it, None for none."""
        return next((request["fault"] for request in self.requests if request.get("fault")), None)


@dataclass
class Run:
    """What came of `poll`: the polls in order, the line's log (docs/simulator.md), and how long it lasted in us."""

    polls: list[Poll] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    us: int = 0


def poll(
    spec: Mapping[str, Any], settings: Settings, count: int, *, grain: int = 1, pause_ms: int = 0,
    settled_ms: int = 100, profiles: Path = paths.PROFILES,
) -> Run:  # fmt: skip
    """Let the firmware's master read every batch of every unit of `spec` in turn, until `count` polls were on the line.

    `spec` is as in schema/sim.json, the defaults need not be there; ValueError when it is refused. Put
    `"restless": True` into it, and no two replies are alike: a value out of its turn shows. A poll that the master does
    not put on the line, because it leaves a meter alone, does not count. `pause_ms` passes after each round,
    `settled_ms` after one in which nothing was asked. `grain` is that of the loop's sleep, in ms: 10 on the chip.
    """
    filled = specs.load(copy.deepcopy(dict(spec)), profiles)
    units = filled["units"]
    rules = {unit["profile"]: json.loads((profiles / f"{unit['profile']}.json").read_text()) for unit in units}
    run = Run()
    points: list[list[str]] = []
    begun = 0

    def told(something: Any) -> None:
        nonlocal begun
        if len(points) < len(units):
            points.append([text.split("\n")[1:] for text in something])
            return
        meter, batch, values, began, ended = something
        requests = [record for record in run.log[begun:] if record["what"] == "request"]
        begun = len(run.log)
        one = _judged(units[meter], rules[units[meter]["profile"]], points[meter][batch], values, requests)
        one.began_us, one.ended_us = began, ended
        run.polls.append(one)
        run.us = ended

    line = VirtualLine(settings, specs.stations(filled, profiles, settings, START_MS), run.log.append)
    job = {
        "meters": [[unit["address"], rules[unit["profile"]]] for unit in units],
        "polls": count, "pause_ms": pause_ms, "settled_ms": settled_ms, "grain": grain,
    }  # fmt: skip
    serve(line, SCRIPTS / "virtual_bus.py", job, told)
    line.feed(b"", run.us + LAST_US)
    return run


def _judged(
    unit: Mapping[str, Any], profile: dict[str, Any], points: Sequence[str], values: Any,
    requests: list[dict[str, Any]],
) -> Poll:  # fmt: skip
    """Return the poll, its values beside what the unit held when it was asked."""
    one = Poll(unit["serial"], 0, 0, requests=requests)
    for request in requests:
        if request.get("serial") == one.serial and "words" in request:
            one.held[request["fc"], request["address"]] = request["words"]
    if isinstance(values, dict):
        one.fault, one.text = values["fault"], values["text"]
        return one
    truth = decode(profile, one.held)
    for point, value in zip(points, values, strict=True):
        obis, symbol, exponent = point.split(" ")
        if isinstance(value, (dict, str)):  # out of range; a text, which decode leaves out
            continue
        one.values[obis] = None if value is None else (Decimal(value).scaleb(int(exponent)), symbol)
        if obis not in truth or truth[obis] != one.values[obis]:
            one.wrong.append(obis)
    return one
