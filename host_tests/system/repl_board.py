"""Desktop boards with their REPL on a terminal, switched on in this process; and what is in force on one."""

import json
import subprocess
import threading

from meshems.run import interpreter
from meshems.terminal import Board
from mp_plugin import environment

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
