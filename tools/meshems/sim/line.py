"""A half-duplex serial line behind a pseudo-terminal, on which every character takes its time.

    with Line("/tmp/line-1", Settings(9600, "8N1"), station, log) as line:      # a thread of its own
        ...                                     # a gateway opens /tmp/line-1
    Line(...).run()                             # or in this thread, until stop()

What the gateway writes arrives character by character at the line's rate, although the terminal hands it over at
once. 3.5 quiet characters end a frame (1.75 ms above 19200 baud); the station answers after its turnaround, and its
bytes reach the gateway in slices of at most 2 ms. A gateway whose UART announces other settings in `LINK.line`
hears garbage and is heard as such. `log` is called with one dict for each request and each reply.
"""

import contextlib
import os
import random
import select
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from errno import EEXIST, ENOENT
from pathlib import Path
from typing import Any, Protocol

from meshems.sim.slave import Answer

SLICE_S = 0.002
IDLE_S = 0.5  # longest sleep of the loop


@dataclass(frozen=True)
class Settings:
    """Baud rate and character format of a line."""

    baud: int = 9600
    format: str = "8N1"

    def __post_init__(self) -> None:
        if self.format not in ("8N1", "8E1", "8O1", "8N2", "8E2", "8O2"):
            raise ValueError(f"format {self.format}: allowed 8N1 8E1 8O1 8N2 8E2 8O2")
        if not 300 <= self.baud <= 1_000_000:
            raise ValueError(f"baud {self.baud}: allowed 300 to 1000000")

    @property
    def char_s(self) -> float:
        """Return how long one character takes: start bit, data, parity, stop bits."""
        return (1 + int(self.format[0]) + (self.format[1] != "N") + int(self.format[2])) / self.baud

    @property
    def gap_s(self) -> float:
        """Return the silence that ends a frame (Modbus over serial line V1.02, 2.5.1.1)."""
        return 3.5 * self.char_s if self.baud <= 19200 else 0.00175

    def __str__(self) -> str:
        return f"{self.baud} {self.format}"


class Station(Protocol):
    """Whoever answers on the line."""

    def hear(self, frame: bytes, at_s: float) -> Answer:
        """Take a frame that ended `at_s` after the line's start."""

    def echoes(self, at_s: float) -> bool:
        """Return whether the gateway hears its own bytes."""


@dataclass
class _Sending:
    """Bytes on their way to the gateway: the first character begins at `start`."""

    start: float
    data: bytes
    record: dict[str, Any] | None  # what the log says once the last byte is there; None for an echo
    sent: int = 0
    first_s: float = 0.0


class Line:
    """One line. Times are seconds of `time.monotonic`, which all processes of a machine share.

    FileExistsError when something that is no link stands at `link`, FileNotFoundError when its folder is missing.
    """

    def __init__(self, link: str | Path, settings: Settings, station: Station, log: Callable[[dict[str, Any]], None]):
        self.link = Path(link)
        self.settings = settings
        self.silent = False  # true: no unit answers any more, the terminal stays
        self._station = station
        self._log = log
        self._rng = random.Random(0)
        self._heard = bytearray()  # of the frame that the gateway is sending
        self._heard_first = self._heard_end = 0.0
        self._sending: list[_Sending] = []
        self._count = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._check_link()
        # Own the terminal from here on, so that a gateway may be started once the constructor returns.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._wake_read, self._wake_write = os.pipe()
        self._start = time.monotonic()
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

    def _step(self) -> None:
        due = self._due()
        wait = IDLE_S if due is None else min(IDLE_S, max(0.0, due - time.monotonic()))
        readable, _, _ = select.select([self._master, self._wake_read], [], [], wait)
        now = time.monotonic()
        if self._heard and now >= self._heard_end + self.settings.gap_s:
            self._frame()
        if self._master in readable:
            with contextlib.suppress(BlockingIOError):
                self._hear(os.read(self._master, 4096), now)
        self._send(now)

    def _due(self) -> float | None:
        """Return when something has to be done, or None."""
        times = []
        if self._heard:
            times.append(self._heard_end + self.settings.gap_s)
        if self._sending:
            one = self._sending[0]
            size = max(1, int(SLICE_S / self.settings.char_s))
            times.append(one.start + min(len(one.data), one.sent + size) * self.settings.char_s)
        return min(times, default=None)

    @property
    def _side_channel(self) -> Path:
        return self.link.with_name(self.link.name + ".line")

    def _heard_as_sent(self) -> bool:
        """Return whether the gateway's UART is set like the line; true when it does not say."""
        try:
            return self._side_channel.read_text().strip() == str(self.settings)
        except OSError:
            return True

    def _garbled(self, data: bytes) -> bytes:
        return bytes(self._rng.randrange(256) for _ in data)

    def _hear(self, data: bytes, now: float) -> None:
        """Take bytes that the gateway handed over at `now`; they are on the wire one after the other."""
        begin = max(now, self._heard_end)
        if not self._heard:
            self._heard_first = begin
        self._heard_end = begin + len(data) * self.settings.char_s
        if not self._heard_as_sent():
            data = self._garbled(data)
        self._heard += data
        if self._station.echoes(now - self._start):
            self._queue(_Sending(begin, bytes(data), None))

    def _frame(self) -> None:
        """The gateway has been quiet for 3.5 characters: what it sent is a frame."""
        frame, self._heard = bytes(self._heard), bytearray()
        self._count += 1
        if self.silent:
            return
        answer = self._station.hear(frame, self._heard_end - self._start)
        times = _times(self._heard_first, self._heard_end)
        self._log({"what": "request", "n": self._count, **times, **answer.request})
        if answer.wire:
            wire = answer.wire if self._heard_as_sent() else self._garbled(answer.wire)
            record = {"what": "reply", "n": self._count, **(answer.reply or {})}
            start = self._heard_end + max(answer.delay_s, self.settings.gap_s)
            self._queue(_Sending(self._free(start, len(wire)), wire, record))

    def _free(self, start: float, size: int) -> float:
        """Return when `size` characters that were to begin at `start` can, without speaking into another reply."""
        for other in self._sending:
            end = other.start + len(other.data) * self.settings.char_s
            if start < end and other.start < start + size * self.settings.char_s:
                start = end
        return start

    def _queue(self, sending: _Sending) -> None:
        self._sending.append(sending)
        self._sending.sort(key=lambda one: one.start)

    def _send(self, now: float) -> None:
        """Hand over the characters whose time has come."""
        while self._sending:
            one = self._sending[0]
            ready = min(len(one.data), int((now - one.start) / self.settings.char_s + 1e-6))
            if ready > one.sent:
                if not one.sent:
                    one.first_s = now
                # A full terminal is a gateway that does not listen: on a wire that is lost too.
                with contextlib.suppress(BlockingIOError):
                    os.write(self._master, one.data[one.sent : ready])
                one.sent = ready
            if one.sent < len(one.data):
                return
            self._sending.pop(0)
            if one.record is not None:
                self._log({**one.record, **_times(one.first_s, time.monotonic())})


def _times(first_s: float, last_s: float) -> dict[str, Any]:
    """Return the instants of a frame's first and last byte, [first, last] in us: monotonic and UTC."""
    offset = time.time() - time.monotonic()
    instants = (first_s, last_s)
    return {
        "mono_us": [round(at * 1e6) for at in instants],
        "utc_us": [round((at + offset) * 1e6) for at in instants],
    }
