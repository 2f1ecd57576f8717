"""One gateway of the real firmware on the desktop board: its processor, its power supply and its watchdog.

    gateway = Gateway(config, state, {1: "/tmp/line-1"}, say=print)
    gateway.start()
    while gateway.tick(): time.sleep(0.1)       # restarts it as the hardware would
    gateway.stop()                              # in good order; kill() is a power cut

The state directory is the board: its working directory holds gateway.json and secrets.json, ./flash its memory.
"""

import contextlib
import ctypes
import ctypes.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from meshems import paths

# A chip runs boot.py and main.py as scripts, which leave no module behind.
START = """import sys, boot
safe = boot.safe
del sys.modules['boot'], boot
if not safe:
    from gateway import app
    app.main()
"""
HEAP = "2M"  # of the gateway's interpreter
STOP_S = 10.0  # after the request to stop comes the power cut
POWER_ON, WATCHDOG_RESET = 1, 3  # machine.reset_cause()
RESETS = {75: 2, 76: 5}  # exit status of machine.reset() and machine.soft_reset(): the cause they leave
CLOCK_BOUND_MS = 10  # how well the installer sets the clock
EPOCH_2024 = 1704067200  # unix seconds; the firmware's own time counts from here
KEPT_LINES = 200
TICK_S = 0.1

Problem = tuple[str, str, str]  # path of the key, found, allowed


class RunError(Exception):
    """Why a gateway cannot run, and what to do: one line."""


def interpreter() -> str:
    """Return the MicroPython to run: $MICROPYTHON, or the one beside this Python, or the one on PATH."""
    named = os.environ.get("MICROPYTHON")
    beside = Path(sys.executable).with_name("micropython")
    found = shutil.which(named or (str(beside) if beside.exists() else "micropython"))
    if not found:
        raise RunError(f"{named or 'micropython'}: no such program; set MICROPYTHON=/path/to/micropython")
    return found


def check(config: Path) -> list[Problem]:
    """Return every problem of a configuration file and of the secrets.json beside it, by the firmware's own rules."""
    paths.share_firmware()
    from gateway import config as rules

    secrets = config.with_name("secrets.json")
    raw = secrets.read_bytes() if secrets.exists() else b""
    good, _, problems = rules.read(config.read_bytes(), raw, rules.profile)
    board = json.loads((paths.BOARDS / "desktop" / "board.json").read_text())
    there = [uart["id"] for uart in board["uarts"]]
    for number, uplink in enumerate(good["uplinks"] if good else ()):
        name = uplink.get("tls", {}).get("ca")
        if name and not is_der(config.with_name(name)):
            problems.append((f"uplinks[{number}].tls.ca", f'"{name}"', "a certificate in DER beside gateway.json"))
    for number, bus in enumerate(good["buses"] if good else ()):
        if bus["uart"] not in there:
            problems.append((f"buses[{number}].uart", str(bus["uart"]), f"a UART of the desktop board: {there}"))
    return list(problems)


def is_der(path: Path) -> bool:
    return path.exists() and path.read_bytes()[:1] == b"\x30"  # a SEQUENCE


def _authorities(config: Path) -> list[str]:
    """Return the names of the files that a configuration pins, [] when it cannot be read."""
    try:
        uplinks = json.loads(config.read_text())["uplinks"]
        return [uplink["tls"]["ca"] for uplink in uplinks if "tls" in uplink]
    except (ValueError, KeyError, TypeError):
        return []


def install(config: Path, state: Path) -> None:
    """Put a configuration with its secrets into a state directory, and set the clock of a board that never had one."""
    flash = state / "flash"
    flash.mkdir(parents=True, exist_ok=True)
    secrets = config.with_name("secrets.json")
    files = [(config, "gateway.json", 0o644), (secrets, "secrets.json", 0o600)]
    files += [(config.with_name(name), name, 0o644) for name in _authorities(config)]
    for source, name, mode in files:
        target = state / name
        if source.exists() and not (target.exists() and source.samefile(target)):
            with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(source.read_bytes())
        elif not source.exists():
            target.unlink(missing_ok=True)
    if not (flash / "rtc.json").exists():
        (flash / "rtc.json").write_text(json.dumps({"offset_us": 0}))
        kept = flash / "nvs.json"
        nvs = json.loads(kept.read_text()) if kept.exists() else {}
        nvs.setdefault("gw", {}).update(clk_set=int(time.time()) - EPOCH_2024, clk_bound=CLOCK_BOUND_MS)
        kept.write_text(json.dumps(nvs))


def _die_with_parent() -> Callable[[], None] | None:
    """Return what a child does first, so that the kernel kills it when its parent dies; None where it cannot."""
    name = ctypes.util.find_library("c") if sys.platform == "linux" else None
    if name is None:
        return None
    prctl = ctypes.CDLL(name).prctl
    parent = os.getpid()

    def arm() -> None:
        prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)

    return arm


die_with_parent = _die_with_parent()


def in_own_group() -> None:
    """What a gateway does first: a Ctrl-C at the desk must reach only us, who stop it in good order.

    Not a session of its own: its leader would take the line's terminal for its controlling one, and die with it.
    """
    os.setpgid(0, 0)
    if die_with_parent:
        die_with_parent()


class Gateway:
    """One gateway process. Call every method from one thread that lives as long as it: its death ends the gateway.

    `say(line)` gets each line of its log, from a reader thread. `starts` counts how often it was started.
    """

    def __init__(self, state: Path, uarts: Mapping[int, str], say: Callable[[str], None] = lambda line: None):
        self.state = state.resolve()
        self.starts = 0
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._uarts = dict(uarts)
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._fed = ("", 0.0)  # what the watchdog's file says, and since when

    @property
    def pid(self) -> int | None:
        """Return the process id, None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, cause: int = POWER_ON) -> None:
        """Switch it on; `cause` is what machine.reset_cause() will say."""
        self._watchdog.unlink(missing_ok=True)
        self._asked.unlink(missing_ok=True)
        self._fed = ("", time.monotonic())
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MESHEMS_UART")}
        firmware = os.environ.get("MESHEMS_FIRMWARE", paths.FIRMWARE)  # or what ships, see ship.py
        environment["MICROPYPATH"] = f"{paths.BOARDS / 'desktop'}:{firmware}:.frozen"
        environment["MESHEMS_RESET_CAUSE"] = str(cause)
        environment["PYTHONUNBUFFERED"] = "1"
        environment.update({f"MESHEMS_UART{number}": path for number, path in self._uarts.items()})
        command = [interpreter(), "-X", f"heapsize={HEAP}"]
        try:
            self._process = self._switched_on(command, environment)
        except OSError as error:
            raise RunError(f"{command[0]}: {error.strerror}; set MICROPYTHON=/path/to/micropython") from None
        self.starts += 1

    def _switched_on(self, command: list[str], environment: Mapping[str, str]) -> "subprocess.Popen[str]":
        """Return the process of the interpreter `command` with the firmware in it, whose log is being read."""
        process = subprocess.Popen(
            [*command, "-c", START], cwd=self.state, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", preexec_fn=in_own_group,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._reader.start()
        return process

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout
        for line in process.stdout:
            self._note(line.rstrip("\n"))

    def _note(self, line: str) -> None:
        self.lines.append(line)
        self._say(line)

    @property
    def _watchdog(self) -> Path:
        return self.state / "flash" / "wdt"

    @property
    def _asked(self) -> Path:
        return self.state / "flash" / "stop"

    def ask(self) -> None:
        """Ask it to stop in good order: the board finds that when the watchdog is fed, which is each second."""
        self._asked.parent.mkdir(exist_ok=True)
        self._asked.touch()

    def tick(self) -> bool:
        """Be the hardware around the processor; return whether it runs. Call it several times a second.

        A watchdog that was not fed in time cuts it off and starts it again; so does a reset that it asks for.
        """
        if self._process is None:
            return False
        status = self._process.poll()
        if status in RESETS:
            self._note("meshems: reset")
            self._reap()
            self.start(RESETS[status])
        elif status is not None:
            return False
        elif self._starved():
            self._note("meshems: the watchdog was not fed: reset")
            self.kill()
            self.start(WATCHDOG_RESET)
        return True

    def _starved(self) -> bool:
        now = time.monotonic()
        try:
            text = self._watchdog.read_text()
            timeout_ms = int(text.split()[0])
        except (OSError, ValueError, IndexError):
            return False  # not started yet, or caught while being written
        if text != self._fed[0]:
            self._fed = (text, now)
        return now - self._fed[1] > timeout_ms / 1000

    def kill(self) -> None:
        """Cut the power."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._reap()

    def stop(self, within_s: float = STOP_S) -> int:
        """Ask it to stop, cut the power if it does not; return the exit status, negative after a cut."""
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            self.ask()
            try:
                process.wait(within_s)
            except subprocess.TimeoutExpired:
                self._note(f"meshems: not stopped after {within_s:g} s: power cut")
                process.kill()
        return self._reap()

    def _reap(self) -> int:
        """Wait for the end of the process and of its log; return its exit status."""
        assert self._process and self._reader
        status = self._process.wait()
        self._reader.join(2)
        if self._process.stdout and not self._reader.is_alive():
            self._process.stdout.close()
        self._process = None
        return status


@contextlib.contextmanager
def stopped_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` on SIGINT and SIGTERM while inside; a second signal is not needed and changes nothing."""
    before = {number: signal.signal(number, lambda *_: stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(config: Path, state: Path, uarts: Mapping[int, str], seconds: float | None, say: Callable[[str], None]) -> int:
    """Run one gateway until a signal or for `seconds`; return the exit status: 0, or 1 when the gateway failed."""
    install(config, state)
    stop = threading.Event()
    gateway = Gateway(state, uarts, say)
    with stopped_by_signals(stop.set):
        gateway.start()
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while running := gateway.tick():
                if stop.is_set() or (until is not None and time.monotonic() >= until):
                    break
                time.sleep(TICK_S)
        finally:
            status = gateway.stop()
    if running and not status:
        return 0
    say(f"meshems: the gateway ended {'by itself ' if not running else ''}with status {status}")
    return 1
