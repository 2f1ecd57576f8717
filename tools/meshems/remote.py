"""A board at the end of a cable, over mpremote's raw REPL.

    with Session("/dev/ttyACM0") as board:
        for told in board.said("print('{\\"a\\": 1}')"): ...
        board.write("new/gateway.json", data)

The gateway on it is interrupted and closes in good order; at the end of the session the board is reset and runs it
again. A watchdog ends a session that breaks off: the board is not left standing at a prompt on its pole.
"""

import contextlib
import hashlib
import io
import json
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mpremote.transport import TransportError, TransportExecError
from mpremote.transport_serial import SerialTransport

from meshems import device
from meshems.run import RunError

BAUD = 115200
LEASE_MS = 600_000  # of the watchdog, fed with each program; a running gateway has set it to 30 s
TAKEN_S = 3.0  # ModemManager looks at each new port
ENTER_S = 4.0, 8.0, 20.0  # a board that boots hears nothing; a gateway takes leave of its brokers first
GONE_S = 0.2
SILENCE_S = 20.0  # longest silence of a program
READ_S = 5.0  # of one answer of the REPL
CHUNK = 512  # bytes of a file in one program
ARM = "import machine\n_lease = machine.WDT(timeout={})\n"
FEED = "_lease.feed()\n"
# A boot that ends because somebody wants it is no crash.
LEAVE = """
import esp32
n = esp32.NVS("gw")
n.set_i32("short", 0)
n.commit()
"""

Told = dict[str, Any]
Progress = Callable[[int, int], None]


class _Transport(SerialTransport):  # type: ignore[misc]
    """mpremote's, told when we have read the prompt already that it waits for."""

    prompted = False

    def read_until(self, min_num_bytes: int, ending: bytes, *args: Any, **kwargs: Any) -> Any:
        if self.prompted and ending == b">":
            self.prompted = False
            return ending
        return super().read_until(min_num_bytes, ending, *args, **kwargs)


class RemoteError(RunError):
    """What went wrong between desk and board, what was expected, and what to do: one line."""


class BoardError(RemoteError):
    """A program that failed on the board; `trace` is what MicroPython says of it."""

    trace = ""


class Session:
    """One conversation with the board at `port`; use it with `with`. Every method raises RemoteError.

    `reset`: whether the board runs its gateway again at the end. `lease_ms`: after so long without a word from us it
    does so by itself.
    """

    def __init__(self, port: str, reset: bool = True, lease_ms: int = LEASE_MS) -> None:
        self.port = port
        self._reset = reset
        self._lease_ms = lease_ms
        self._transport: Any = None

    def __enter__(self) -> "Session":
        _check(self.port)
        until = time.monotonic() + TAKEN_S
        while self._transport is None:
            try:
                self._transport = _Transport(self.port, baudrate=BAUD, timeout=READ_S)
            except TransportError:
                if time.monotonic() > until:
                    raise RemoteError(
                        f"{self.port}: found it taken by another program, expected it free; "
                        f"end that one: `fuser {self.port}` names it"
                    ) from None
                time.sleep(0.2)
        try:
            self._enter()
            with self._line():
                self._run(ARM.format(self._lease_ms))
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            with contextlib.suppress(RemoteError), self._line(), contextlib.redirect_stdout(io.StringIO()):
                if kind:  # it may be anywhere
                    self._transport.prompted = False
                    self._transport.enter_raw_repl(soft_reset=False, timeout_overall=READ_S)
                if self._reset:
                    self._run(LEAVE)
                    self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
                    time.sleep(GONE_S)  # not before it is through the cable
                else:
                    self._transport.exit_raw_repl()
        finally:
            self._close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # the line may be gone
            self._transport.close()

    def _enter(self) -> None:
        """Interrupt what runs and start afresh with boot.py alone: the heap is empty then."""
        heard = io.StringIO()
        for patience in ENTER_S:
            with self._line(), contextlib.redirect_stdout(heard):  # mpremote prints what it did not expect
                try:
                    self._transport.enter_raw_repl(soft_reset=True, timeout_overall=patience)
                    return
                except TransportError:
                    pass
        text = heard.getvalue().strip().rpartition("\n")[2]
        found = "silence" if text in ("", "b''") else text[-60:]
        raise RemoteError(
            f"{self.port}: no answer: found {found}, expected the prompt of MicroPython; press the board's "
            f"reset and try again, or put the firmware on it: `meshems flash --port {self.port} --board NAME`"
        )

    @contextlib.contextmanager
    def _line(self) -> Iterator[None]:
        """Say in one line what happened when the line or the protocol fails inside."""
        try:
            yield
        except TransportExecError as error:
            last = error.error_output.strip().rpartition("\n")[2].strip()
            failed = BoardError(
                f"{self.port}: found {last} on the board, expected the firmware of this checkout there; "
                f"`meshems flash --port {self.port} --board NAME` puts it on it"
            )
            failed.trace = error.error_output.strip()
            raise failed from None
        except (TransportError, OSError, struct.error) as error:
            raise RemoteError(
                f"{self.port}: found the line broken off ({error}), expected an answer; plug the cable in and do it "
                "again: the board goes on by itself"
            ) from None

    def _run(self, program: str) -> bytes:
        return b"".join(self._lines(program, SILENCE_S))

    def _lines(self, program: str, silence_s: float) -> Iterator[bytes]:
        """Run a program; yield each line that it prints, with its end."""
        self._transport.exec_raw_no_follow(program)
        serial = self._transport.serial
        rest, parts = b"", []
        heard = time.monotonic()
        while len(parts) < 2:  # what it says, then how it failed, each closed by an end of transmission
            data = serial.read(max(1, serial.in_waiting))
            if not data:
                if time.monotonic() - heard > silence_s:
                    raise TransportError(f"silence for {silence_s:g} s")
                continue
            heard = time.monotonic()
            rest += data
            while b"\x04" in rest and len(parts) < 2:
                part, _, rest = rest.partition(b"\x04")
                parts.append(part)
                if len(parts) == 1:
                    yield from part.splitlines(keepends=True)
            if not parts:
                *lines, rest = rest.split(b"\n")
                for line in lines:
                    yield line + b"\n"
        while b">" not in rest:
            rest = serial.read(1)
            if not rest:
                raise TransportError("no prompt")
        self._transport.prompted = True
        if parts[1]:
            raise TransportExecError(1, parts[1].decode(errors="replace"))

    def said(self, program: str, silence_s: float = SILENCE_S) -> Iterator[Told]:
        """Run a program; yield each line that it prints as JSON, as soon as it is there."""
        with self._line():
            for line in self._lines(FEED + program, silence_s):
                if line.startswith((b"{", b"[")):
                    yield json.loads(line)

    def ask(self, program: str) -> Any:
        """Run a program; return what the last line that it prints as JSON says."""
        told = list(self.said(program))
        if not told:
            raise RemoteError(f"{self.port}: the board said nothing, expected an answer; try again")
        return told[-1]

    def show(self, program: str) -> Iterator[str]:
        """Run a program, for as long as it takes; yield each line that it prints."""
        with self._line():
            for line in self._lines(FEED + program, float("inf")):
                yield line.decode(errors="replace").rstrip()

    def write(self, path: str, data: bytes, tick: Progress = lambda done, size: None) -> None:
        """Write a file, and read it back: RemoteError when it is not what was sent."""
        with self._line():
            self._run(f"{FEED}f = open({path!r}, 'wb')")
            for at in range(0, len(data), CHUNK):
                self._run(f"{FEED}f.write({data[at : at + CHUNK]!r})")
                tick(min(at + CHUNK, len(data)), len(data))
            self._run("f.close()")
            found = self._transport.fs_hashfile(path, "sha256")
        if found != hashlib.sha256(data).digest():
            raise RemoteError(f"{self.port}: {path} did not arrive whole; do it again, with another cable if need be")

    def read(self, path: str) -> bytes:
        """Return what a file holds."""
        with self._line():
            self._run(FEED)
            return bytes(self._transport.fs_readfile(path, chunk_size=CHUNK))

    def interrupt(self) -> None:
        """Send Ctrl-C to the program that runs."""
        with contextlib.suppress(OSError):
            self._transport.serial.write(b"\x03")


def _check(port: str) -> None:
    """Raise RemoteError when `port` is no serial port that we may open."""
    wrong = device.trouble(port)
    if wrong:
        desk = "; a desktop board does as well: `meshems run --state ./board --repl LINK`"
        raise RemoteError(f"{port}: {wrong[0]}; {wrong[1]}{'' if Path(port).exists() else desk}")


def listened(port: str, seconds: float | None) -> Iterator[str]:
    """Yield the lines that come from `port`, which is sent nothing; RemoteError when it cannot be opened or goes."""
    import serial

    until = None if seconds is None else time.monotonic() + seconds
    try:
        _check(port)
        with serial.Serial(port, BAUD, timeout=0.2, exclusive=True) as opened:
            rest = b""
            while until is None or time.monotonic() < until:
                *lines, rest = (rest + opened.read(max(1, opened.in_waiting))).split(b"\n")
                for line in lines:
                    yield line.decode(errors="replace").rstrip()
    except OSError as error:
        raise RemoteError(f"{port}: found {error}, expected a board's log; plug it in, end what else has it") from None
