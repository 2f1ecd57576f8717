"""What is asked of a chip's boot loader, by esptool: a process of its own, because it is GPL and nothing here is.

    chip = Chip("/dev/ttyUSB0", 460800)
    found = chip.look()                          # Found(kind="esp32s3", flash=16777216, psram=8388608, ...)
    table = chip.read(0x8000, 0xC00)
    chip.write([(0x10000, Path("app.bin"))], lambda done: ...)   # verified by the chip's own MD5

Each raises ChipError, which names what was found, what was expected and what to do.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshems.run import die_with_parent

SILENT_S = 300.0  # the longest that esptool may say nothing: an erase of 8 MB takes up to two minutes
KEPT_LINES = 60
SIZES = {"KB": 1 << 10, "MB": 1 << 20}
HELP = "hold the button BOOT while you press RESET, try a lower --baud, another cable, another port"
WORN = "run it again; when it stays so, the flash is worn or the supply too weak"


class ChipError(Exception):
    """Why it did not work: what it is about, what was found and expected, what to do.

    `began` is true when something may have been written already.
    """

    def __init__(self, what: str, found: str, expected: str, todo: str, began: bool = False) -> None:
        super().__init__(f"{what}: found {found}, expected {expected}; {todo}")
        self.what, self.found, self.expected, self.todo, self.began = what, found, expected, todo, began


@dataclass(frozen=True)
class Found:
    """A chip as it presents itself. `flash` and `psram` are bytes; `psram` counts what is in the chip's own package."""

    kind: str  # as in board.json: esp32, esp32s3
    name: str
    mac: str
    flash: int
    psram: int


class Chip:
    """The chip at a port. Every call starts its boot loader anew and leaves it waiting, `write` starts the program."""

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self._baud = baud

    def look(self) -> Found:
        """Return what is there."""
        said = "\n".join(self._run(["flash-id"]))
        name = re.search(r"^Connected to (\S+) on ", said, re.MULTILINE)
        mac = re.search(r"^(?:Base )?MAC:\s+([0-9a-f:]+)", said, re.MULTILINE)
        flash = re.search(r"^Detected flash size: (\d+)([KM]B)", said, re.MULTILINE)
        psram = re.search(r"PSRAM (\d+)([KM]B)", said)
        if not name or not mac:
            raise ChipError(self.port, "an answer that is not understood", "esptool 5", "`make device` installs it")
        if not flash:
            raise ChipError(self.port, "no flash that says its size", "one", "look at the module; " + HELP)
        return Found(
            name[1].lower().replace("-", ""), name[1], mac[1], _bytes(flash[1], flash[2]),
            _bytes(psram[1], psram[2]) if psram else 0,
        )  # fmt: skip

    def read(self, offset: int, size: int) -> bytes:
        """Return what the flash holds."""
        with tempfile.TemporaryDirectory(prefix="meshems-") as folder:
            file = Path(folder) / "read.bin"
            self._run(["read-flash", "--no-progress", hex(offset), hex(size), str(file)])
            return file.read_bytes()

    def erase(self, offset: int, size: int) -> None:
        """Erase whole sectors."""
        self._run(["erase-region", hex(offset), hex(size)], began=True)

    def write(self, parts: Sequence[tuple[int, Path]], done: Callable[[int], None]) -> None:
        """Write the files at their offsets, let the chip verify each, and start what it holds now.

        `done(bytes)` is told from time to time how much is written.
        """
        pairs = [text for offset, file in parts for text in (hex(offset), str(file))]
        before = [(offset, sum(file.stat().st_size for _, file in parts[:i])) for i, (offset, _) in enumerate(parts)]
        verified = 0

        def hear(line: str) -> None:
            nonlocal verified
            verified += line.startswith("Hash of data verified")
            at = re.match(r"Writing at (0x[0-9a-f]+)", line)
            if at:
                address = int(at[1], 16)
                begin, sofar = max(one for one in before if one[0] <= address)
                done(sofar + address - begin)

        keep = ["--flash-mode", "keep", "--flash-freq", "keep", "--flash-size", "keep"]
        self._run(["write-flash", *keep, *pairs], hear, began=True, after="hard-reset")
        if verified != len(parts):
            raise ChipError(self.port, f"{verified} of {len(parts)} parts verified", "all of them", WORN, True)

    def _run(
        self, command: list[str], hear: Callable[[str], None] = lambda line: None, began: bool = False,
        after: str = "no-reset",
    ) -> list[str]:  # fmt: skip
        """Run esptool; return its last lines. `hear` gets each one."""
        if importlib.util.find_spec("esptool") is None:
            raise ChipError("esptool", "none", "esptool 5 beside meshems", "`make device` installs it")
        arguments = [
            sys.executable, "-m", "esptool", "--chip", "auto", "--port", self.port, "--baud", str(self._baud),
            "--connect-attempts", "3", "--after", after, *command,
        ]  # fmt: skip
        environment = dict(os.environ, PYTHONUNBUFFERED="1", NO_COLOR="1", COLUMNS="160")
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env=environment, preexec_fn=die_with_parent,
        )  # fmt: skip
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        silent = False

        def give_up() -> None:
            nonlocal silent
            silent = True
            process.kill()

        assert process.stdout
        timer = threading.Timer(SILENT_S, give_up)
        timer.start()
        try:
            for line in process.stdout:
                timer.cancel()
                timer = threading.Timer(SILENT_S, give_up)
                timer.start()
                lines.append(line.rstrip())
                hear(lines[-1])
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stdout.close()
        if silent or status:
            raise self._why("\n".join(lines), silent, began)
        return list(lines)

    def _why(self, said: str, silent: bool, began: bool) -> ChipError:
        """Return the error for what esptool said when it failed."""
        dead = "a line that went dead", "the chip until the end", "plug it in and run it again"
        mute = "no chip that answers", "one in its boot loader", HELP
        connected = re.search("^Connected to ", said, re.MULTILINE)  # esptool tries again when it loses the chip
        reasons = [
            ("exclusively lock|Resource busy|Access is denied", "a port that another program has open", "a free one",
             f"close what uses it: `fuser {self.port}` names it"),
            ("the port is busy or doesn't exist", *dead),
            ("Failed to connect to", *(dead if connected else mute)),
            ("MD5 of file does not match|Verification failed",
             "other bytes in the flash than were sent", "the same", WORN),
            ("Invalid head of packet|Possible serial noise", "noise on the line", "a boot loader", HELP),
            ("serial exception|SerialException|stopped responding|Errno 5|No serial data|timed out", *dead),
        ]  # fmt: skip
        if silent:
            return ChipError(self.port, f"no word for {SILENT_S:.0f} s", "an answer", HELP, began)
        for words, found, expected, todo in reasons:
            if re.search(words, said):
                return ChipError(self.port, found, expected, todo, began)
        last = re.findall("error occurred: (.+)", said) or said.strip().split("\n")
        return ChipError(self.port, f"an error of esptool, {last[-1]!r}", "none", HELP, began)


def _bytes(number: str, unit: str) -> int:
    return int(number) * SIZES[unit]
