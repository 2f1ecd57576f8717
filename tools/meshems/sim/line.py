"""A line behind a pseudo-terminal, in real time.

    with Line("/tmp/line-1", Settings(9600, "8N1"), units, log) as line:      # a thread of its own
        ...                                     # a gateway opens /tmp/line-1
    Line(...).run()                             # or in this thread, until stop()

wire.py says what is on the line; here it meets the clock. What the gateway writes arrives character by character at the
rate that its UART announces in `LINK.line`, although the terminal hands it over at once; what the units say reaches the
gateway in slices of at most 2 ms. Instants in the log: docs/simulator.md.
"""

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Mapping
from errno import EEXIST, ENOENT
from pathlib import Path
from typing import Any

from meshems.sim.slave import Station
from meshems.sim.uart import Settings, Uart
from meshems.sim.wire import Wire

SLICE_US = 2000.0
IDLE_S = 0.5  # longest sleep of the loop


def now_us() -> float:
    """Return the time of `time.monotonic`, which all processes of a machine share."""
    return time.monotonic_ns() / 1000


class Line:
    """One line, and one station that is set like it or several with settings of their own.

    FileExistsError when something that is no link stands at `link`, FileNotFoundError when its folder is missing.
    """

    def __init__(
        self, link: str | Path, settings: Settings, station: Station | Mapping[Settings, Station],
        log: Callable[[dict[str, Any]], None],
    ):  # fmt: skip
        self.link = Path(link)
        self.settings = settings
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._check_link()
        # Own the terminal from here on, so that a gateway may be started once the constructor returns.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._wake_read, self._wake_write = os.pipe()
        stations = {settings: station} if isinstance(station, Station) else station
        self._wire = Wire(
            settings, stations, log, self._give, gateway=self._announced, start_us=now_us(),
            utc_us=lambda at_us: at_us - now_us() + time.time_ns() / 1000,
        )  # fmt: skip
        self._place_link()

    def _check_link(self) -> None:
        if not self.link.parent.is_dir():
            raise FileNotFoundError(ENOENT, "no such folder", str(self.link.parent))
        if self.link.exists() and not self.link.is_symlink():
            raise FileExistsError(EEXIST, "exists and is not a link to a terminal", str(self.link))

    def _place_link(self) -> None:
        """Let the link point at the terminal; a link that is there is replaced."""
        fresh = self.link.with_name(self.link.name + ".new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(os.ttyname(self._slave))
        fresh.replace(self.link)

    def _close_files(self) -> None:
        for file in (self._master, self._slave, self._wake_read, self._wake_write):
            os.close(file)

    def __enter__(self) -> "Line":
        self._thread = threading.Thread(target=self.run, name=f"line {self.link.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread:
            self._thread.join()

    def stop(self) -> None:
        """End `run`; may be called from a signal handler or another thread."""
        self._stopping = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def run(self) -> None:
        """Serve until `stop`, then remove the link."""
        try:
            while not self._stopping:
                self._step()
        finally:
            if self.link.is_symlink() and os.readlink(self.link) == os.ttyname(self._slave):
                self.link.unlink()
                self._side_channel.unlink(missing_ok=True)
            self._close_files()

    @property
    def silent(self) -> bool:
        """Return whether no unit answers any more; may be set. The terminal stays."""
        return self._wire.silent

    @silent.setter
    def silent(self, silent: bool) -> None:
        self._wire.silent = silent

    def _step(self) -> None:
        due = self._wire.due(SLICE_US)
        wait = IDLE_S if due is None else min(IDLE_S, max(0.0, due - now_us()) / 1e6)
        readable, _, _ = select.select([self._master, self._wake_read], [], [], wait)
        now = now_us()
        self._wire.step(now)
        if self._master in readable:
            with contextlib.suppress(BlockingIOError):
                self._wire.write(os.read(self._master, 4096), now)

    def _give(self, data: bytes) -> float:
        at_us = now_us()  # after the call the gateway may long have had them
        # A full terminal is a gateway that does not listen: on a wire that is lost too.
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)
        return at_us

    @property
    def _side_channel(self) -> Path:
        return self.link.with_name(self.link.name + ".line")

    def _announced(self) -> Uart:
        """Return how the gateway's UART is set: like the line when it does not say."""
        try:
            baud, form = self._side_channel.read_text().split()
            return Uart(int(baud), form)
        except (OSError, ValueError):
            return self.settings
