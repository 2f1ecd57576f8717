"""A desktop board with the REPL on a pseudo-terminal, where a chip has it on its USB port: for mpremote and the like.

    board = Board(state, {1: "/tmp/line-1"}, Path("/tmp/pole-07"), say=print)
    board.start()
    while board.tick(): time.sleep(0.1)
    board.stop()

Ctrl-C interrupts the gateway and leaves the prompt, Ctrl-D is a soft reset: with boot.py and the gateway from the
prompt, with boot.py alone from the raw REPL. Like a UART the terminal has no end: what nobody reads is lost.
"""

import contextlib
import errno
import fcntl
import os
import re
import select
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from meshems.run import RESETS, START, Gateway, RunError, die_with_parent

BOOT = "import sys, boot\ndel sys.modules['boot'], boot"  # what a soft reset from the raw REPL runs
HARD_RESET, SOFT_RESET = 2, 5  # machine.reset_cause(); a chip's panic is the first
REBOOT = b"MPY: soft reboot\r\n"
RAW, FRIENDLY = b"raw REPL; CTRL-B to exit\r\n", b'Type "help()"'
PROMPT = b">>> "
INTERRUPT = b"\x03"
WAITS = (b">", b"\x01")  # last bytes of a raw REPL that waits for us: at its prompt, or in the middle of a program
LONE = re.compile(rb"(?<!\r)\n")
CHUNK = 4096
BOOT_S = 0.1  # from its first word on it hears: before, an interrupt would end the interpreter and not what runs in it
READ_S = 1.0
FALLS = 5  # in a row without a word


def _raw(terminal: int, flags: int) -> None:
    """Let a terminal pass every byte as it is; `flags` are its local modes."""
    mode = termios.tcgetattr(terminal)
    mode[0], mode[1], mode[3] = 0, 0, flags
    termios.tcsetattr(terminal, termios.TCSANOW, mode)


def _controlling() -> None:
    """What the interpreter does first: Ctrl-C on its terminal is then an interrupt, and no other terminal is taken."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if die_with_parent:
        die_with_parent()


class Board(Gateway):
    """A Gateway whose console is a terminal at `link`, made here; see Gateway for the rest."""

    def __init__(
        self, state: Path, uarts: Mapping[int, str], link: Path, say: Callable[[str], None] = lambda line: None
    ) -> None:
        super().__init__(state, uarts, say)
        self._link = link
        self._app = False  # what runs is the gateway, from main.py
        self._raw = False  # in the raw REPL
        self._read = True  # somebody takes what it says
        self._idle = threading.Event()  # it shows a prompt
        self._spoke = False  # it wrote a line
        self._master, self._slave = os.openpty()
        _raw(self._slave, 0)
        os.set_blocking(self._master, False)
        self._program = START
        self._falls = 0
        if link.is_symlink():
            link.unlink()
        try:
            link.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            raise RunError(f"{link}: {error.strerror}; name a path where a link can be made") from None

    def _switched_on(self, command: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        here, there = os.openpty()
        _raw(there, termios.ISIG)
        self._app = self._program == START
        quiet = self._program == BOOT  # the raw REPL is entered again: who speaks raw does not want a banner
        self._raw = False
        self._idle.clear()
        self._spoke = False
        process: subprocess.Popen[str] = subprocess.Popen(
            [*command, "-i", "-c", self._program], cwd=self.state, env=environment, text=True,
            stdin=there, stdout=there, stderr=there, preexec_fn=_controlling,
        )  # fmt: skip
        os.close(there)
        self._program = START
        self._reader = threading.Thread(target=self._pump, args=(here, quiet), daemon=True)
        self._reader.start()
        return process

    def tick(self) -> bool:
        """Be the hardware, as Gateway.tick; an interpreter that fell, or was left by Ctrl-D, starts again."""
        status = self._process.poll() if self._process else None
        if status == 0:
            self._reap()
            self._tell(REBOOT)
            if self._raw:
                self._program = BOOT
            self.start(SOFT_RESET)
        elif status is not None and status not in RESETS and self._falls < FALLS:
            self._falls = 0 if self._spoke else self._falls + 1
            self._note(f"meshems: the interpreter fell with status {status}: reset")
            self._reap()
            self.start(HARD_RESET)
        else:
            return super().tick()
        return True

    def stop(self, within_s: float = 10.0) -> int:
        """Ask it to stop in good order, then switch it off; return 0, or what the interpreter ended with before."""
        process = self._process
        if process is None or process.poll() is not None:
            status = super().stop(within_s)
        else:
            if not self._idle.is_set():
                self._interrupt()
            end = time.monotonic() + within_s
            while process.poll() is None and time.monotonic() < end and not self._idle.wait(0.05):
                pass
            self.kill()
            status = 0
        self.close()
        return status

    def close(self) -> None:
        """Switch it off and take its terminal away."""
        self.kill()
        if self._master >= 0:
            with contextlib.suppress(OSError):
                if os.readlink(self._link) == os.ttyname(self._slave):  # and not somebody else's by now
                    self._link.unlink()
            os.close(self._master)
            os.close(self._slave)
            self._master = -1

    def _note(self, line: str) -> None:
        self._spoke = True
        super()._note(line)

    def _tell(self, data: bytes) -> None:
        """Give bytes to whoever has the terminal open. When its buffer stays full nobody has, and they are lost."""
        with contextlib.suppress(OSError):
            while data:
                try:
                    data = data[os.write(self._master, data) :]
                    self._read = True
                except BlockingIOError:
                    self._read = self._read and bool(select.select([], [self._master], [], READ_S)[1])
                    if not self._read:
                        return

    def _interrupt(self) -> None:
        """End what runs: the gateway at a place where it can be, see boards/desktop/machine.py."""
        if self._app:
            self.ask()
        elif self._process:
            self._process.send_signal(signal.SIGINT)

    def _pump(self, here: int, quiet: bool) -> None:
        """Pass bytes between the interpreter's terminal and ours until the interpreter ends.

        `quiet` until the raw REPL is there: its prompt and banner are not passed.
        """
        master = self._master
        tail = line = held = last = b""
        word = 0.0  # when it spoke first
        try:
            while True:
                deaf = quiet or not word or time.monotonic() < word + BOOT_S
                ready, _, _ = select.select([here] if deaf else [here, master], [], [], BOOT_S)
                data = os.read(here, CHUNK) if here in ready else b""
                if master in ready:
                    with contextlib.suppress(BlockingIOError):
                        given = os.read(master, CHUNK)
                        if INTERRUPT in given and (self._app or self._raw and tail[-1:] not in WAITS):
                            given = given.replace(INTERRUPT, b"")  # its terminal hears none in what was pasted
                            self._interrupt()
                        os.write(here, given)
                if not data:
                    continue
                word = word or time.monotonic()
                before = last if last == b"\r" else b""
                last = data[-1:]
                data = LONE.sub(b"\r\n", before + data)[len(before) :]  # as the chip prints
                tail = (tail + data)[-64:]
                if tail.endswith(PROMPT) and quiet:
                    os.write(here, b"\x01")
                self._raw = tail.rfind(RAW) > tail.rfind(FRIENDLY) or self._raw and FRIENDLY not in tail
                waits = tail[-1:] in WAITS if self._raw else tail.endswith(PROMPT)
                self._idle.set() if waits else self._idle.clear()
                self._app = self._app and not waits
                if quiet:
                    held += data
                    banner, raw, rest = held.partition(RAW)
                    if not raw:
                        continue
                    quiet, data = False, _said(banner) + raw + rest
                self._tell(data)
                *lines, line = (b"" if self._raw else line + data).split(b"\r\n")
                for text in lines:
                    self._note(text.decode(errors="replace"))
        except OSError as error:
            if error.errno not in (errno.EIO, errno.EBADF):  # the interpreter has ended
                raise
        finally:
            os.close(here)


def _said(banner: bytes) -> bytes:
    """Return what boot.py said before the interpreter's banner."""
    return banner[: banner.find(b"MicroPython ")] if b"MicroPython " in banner else b""


def run(
    state: Path, uarts: Mapping[int, str], link: Path, seconds: float | None, say: Callable[[str], None]
) -> int:  # fmt: skip
    """Run a board as it is found in `state` until a signal or for `seconds`; return the exit status."""
    from meshems.run import TICK_S, stopped_by_signals

    (state / "flash").mkdir(parents=True, exist_ok=True)
    stop = threading.Event()
    board = Board(state, uarts, link, say)
    with stopped_by_signals(stop.set):
        board.start()
        say(f"meshems: a board with its REPL on {link}")
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while running := board.tick():
                if stop.is_set() or (until is not None and time.monotonic() >= until):
                    break
                time.sleep(TICK_S / 5)
        finally:
            status = board.stop()
    if running and not status:
        return 0
    say(f"meshems: the board ended with status {status}")
    return 1
