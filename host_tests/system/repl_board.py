"""Desktop boards with their REPL on a terminal, switched on in this process, and commands that talk to them."""

import contextlib
import json
import os
import subprocess
import sys
import threading

import serial

from meshems import paths
from meshems.run import interpreter
from meshems.sim import spec as specs
from meshems.sim.line import Line, Settings
from meshems.terminal import Board
from mp_plugin import environment

METERS = [
    {"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120", "every": 1},
    {"serial": "SN-2", "bus": 0, "address": 2, "profile": "abb-b23", "every": 1},
]
ASKED = """
import json
from gateway import build
conf, secrets, problems = build.configuration()
print(json.dumps([conf, secrets, problems]))
"""


class ReplBoard:
    """A board in `state` with its REPL at `port`; `with` switches it on. A thread of its own is its power supply."""

    def __init__(self, state, port, uarts=()):
        (state / "flash").mkdir(parents=True, exist_ok=True)
        self.state = state
        self.port = str(port)
        self._made = Board(state, dict(uarts), port)
        self.lines = self._made.lines
        self._end = threading.Event()
        self._cut = threading.Event()
        self._on = threading.Event()
        self._thread = threading.Thread(target=self._supply, daemon=True)

    def _supply(self):
        self._made.start()
        self._on.set()
        while not self._end.wait(0.005):
            if self._cut.is_set():
                self._made.kill()
                self._made.start()
                self._cut.clear()
                self._on.set()
            self._made.tick()
        self._made.close()

    def power_cut(self):
        """Cut its power and give it back."""
        self._on.clear()
        self._cut.set()
        assert self._on.wait(10)

    def __enter__(self):
        self._thread.start()
        assert self._on.wait(10)
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()

    @property
    def starts(self):
        return self._made.starts


def in_force(state):
    """Return (config, secrets, number of problems) as the next start of the firmware finds them."""
    done = subprocess.run(
        [interpreter(), "-c", ASKED], cwd=state, env=environment(state), capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done
    return json.loads(done.stdout.splitlines()[-1])


def command(*arguments, within_s=60):
    """Return (exit status, standard output, standard error) of `meshems ...`."""
    environment = dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools"))
    done = subprocess.run(
        [sys.executable, "-m", "meshems.cli", *map(str, arguments)], env=environment, capture_output=True, text=True,
        timeout=within_s, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@contextlib.contextmanager
def metered(path):
    """A line with METERS at `path`; yields that path as text."""
    settings = Settings(9600, "8N1")
    spec = {"units": [{key: one[key] for key in ("serial", "address", "profile")} for one in METERS]}
    specs.fill(spec)
    with specs.log_file(None, settings, spec) as log:
        line = Line(path, settings, specs.stations(spec, paths.PROFILES, settings), log)
        thread = threading.Thread(target=line.run, daemon=True)
        thread.start()
        yield str(path)
        line.stop()
        thread.join()


class Cut(serial.SerialException):
    """The cable is out."""


def pulled(monkeypatch):
    """Return a list [n]: the n-th write to a serial port from then on finds the cable pulled, and all after it."""
    left = [None]
    write = serial.Serial.write

    def counted(port, data):
        if left[0] is not None:
            left[0] -= 1
            if left[0] < 0:
                raise Cut("the cable is out")
        return write(port, data)

    monkeypatch.setattr(serial.Serial, "write", counted)
    return left


def quiet(text):
    """Say nothing."""
