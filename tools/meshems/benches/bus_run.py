"""Runs one client after the other on the simulated line: ours, and the libraries of others, each a process of its own.

    runner = Runner(rig)
    run = runner.run("ours", Job(blocks=[[3, 0, 40]], polls=60))
    bus_judge.cycle_s(run.log, 20)
"""

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshems import paths
from meshems.benches import peer, rig
from meshems.benches.bus_judge import Poll, Record
from meshems.run import die_with_parent
from meshems.sim.line import Settings

OURS = "ours"
UMODBUS = "micropython-modbus"
PEERS = (UMODBUS, "pymodbus-sync", "pymodbus-async", "minimalmodbus")
TURNAROUND_MS = 20
TIMEOUT_MS = 500
START_S = 10.0

# GPL in the headers of its files: fetched to be measured in a process of its own, and no part of this project.
UMODBUS_VERSION = "2.3.7"
UMODBUS_SHA256 = "b9351a66af0ff29dd585900e53827a989dedcb02ec63b1041358165089652271"
UMODBUS_FOLDER = paths.ROOT / ".venv" / "peers" / f"{UMODBUS}-{UMODBUS_VERSION}"


@dataclass(frozen=True)
class Job:
    """What a client is to read: `polls` on each line, all `blocks` of a unit before the next unit."""

    blocks: Sequence[Sequence[int]]
    polls: int
    units: Sequence[Sequence[int]] = (tuple(range(1, 21)),)
    settings: Settings = Settings()
    fault: dict[str, Any] | None = None
    silent: Sequence[int] = ()
    grain_ms: int = 1
    steps: bool = False


@dataclass(frozen=True)
class Run:
    """What happened: the log of each line, what the client says it read, what its tasks did."""

    logs: Sequence[Sequence[Record]]
    polls: Sequence[Poll]
    tasks: Sequence[Sequence[Any]]

    @property
    def log(self) -> Sequence[Record]:
        """Return the log of the only line."""
        return self.logs[0]


def fetch() -> Path:
    """Return the folder with micropython-modbus, fetched once; its hash is checked."""
    return peer.fetch(UMODBUS, UMODBUS_VERSION, UMODBUS_SHA256, "umodbus", UMODBUS_FOLDER)


class Runner:
    """Runs clients in the rig's folder."""

    def __init__(self, bench: rig.Rig):
        self._rig = bench
        self._numbers = itertools.count(1)  # clients may run in several threads

    def folder(self, name: str) -> Path:
        """Return the path of a folder, not there yet, that goes with the rig."""
        return self._rig.root / f"bus-{name}"

    def run(self, client: str, job: Job) -> Run:
        """Let `client` do the job on lines of its own, and return what happened; BenchError when it cannot."""
        folder = self.folder(f"run-{next(self._numbers)}")
        folder.mkdir()
        said: dict[str, Any] = {
            "baud": job.settings.baud, "format": job.settings.format, "timeout_ms": TIMEOUT_MS, "blocks": job.blocks,
            "polls": job.polls, "lines": [[i + 1, units] for i, units in enumerate(job.units)],
            "grain_ms": job.grain_ms, "units": job.units[0], "link": str(folder / "line-1"),
        }  # fmt: skip
        if client == UMODBUS:
            said["library"] = str(fetch())
        lines = [self._line(folder, i, job) for i in range(len(job.units))]
        try:
            file = folder / "job.json"
            file.write_text(json.dumps(said))
            result = self._client(client, job, file).result(self._within_s(job))
        finally:
            for line in lines:
                line.send_signal(signal.SIGTERM)
                line.wait()
                assert line.stdout
                line.stdout.close()
        logs = [[json.loads(row) for row in (folder / f"log-{i + 1}").open()] for i in range(len(lines))]
        return Run(logs, result["polls"], result.get("tasks", ()))

    def _within_s(self, job: Job) -> float:
        """Return after how long something must be wrong: every poll has run into its time-out, twice."""
        character_s = job.settings.char_s
        one_s = 2 * TIMEOUT_MS / 1000 + (20 + 2 * max(count for _, _, count in job.blocks)) * character_s
        return START_S + one_s * job.polls

    def _line(self, folder: Path, i: int, job: Job) -> "subprocess.Popen[str]":
        spec = {
            "link": str(folder / f"line-{i + 1}"), "log": str(folder / f"log-{i + 1}"), "baud": job.settings.baud,
            "format": job.settings.format, "turnaround_ms": TURNAROUND_MS, "timeout_ms": TIMEOUT_MS, "fault": job.fault,
            "units": [unit for unit in job.units[i] if unit not in job.silent],
        }  # fmt: skip
        file = folder / f"line-{i + 1}.json"
        file.write_text(json.dumps(spec))
        process = subprocess.Popen(
            [sys.executable, "-m", "meshems.benches.bus_line", str(file)],
            env=dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools")), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        assert process.stdout
        if not process.stdout.readline():
            raise rig.BenchError("the line did not start")
        return process

    def _client(self, client: str, job: Job, file: Path) -> rig.Process:
        if client in (OURS, UMODBUS):
            script = "bus_umodbus.py" if client == UMODBUS else "bus_steps.py" if job.steps else "bus.py"
            uarts = {i + 1: file.with_name(f"line-{i + 1}") for i in range(len(job.units))}
            return self._rig.script(file.parent, script, str(file), uarts=uarts)
        command = [sys.executable, str(rig.SCRIPTS / "bus_peer.py"), client, str(file)]
        return self._rig.process(command, file.parent, os.environ)
