"""A program of the firmware on the desktop board, with a serial port as its UART 1.

    for said in device.said(program, "/dev/ttyUSB0", [Path("my-meter.json")]): ...

What it prints as JSON, one object a line, is what it says. It runs in an empty folder and leaves nothing behind.
"""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from meshems import paths
from meshems.run import RunError, die_with_parent, interpreter

BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
FORMATS = ("8N1", "8E1", "8O1", "8N2")  # of a bus in gateway.json
HEAP = "2M"


def trouble(port: str) -> tuple[str, str] | None:
    """Return what is wrong with `port` and what to do, None when it is a serial port that we may open."""
    if not Path(port).exists():
        return "no such serial port", "plug it in and look with `ls /dev/ttyUSB* /dev/ttyACM*`"
    try:
        file = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except PermissionError:
        return "not allowed", f"become a member of its group: `ls -l {port}`, usually dialout"
    except OSError as error:
        return str(error.strerror), "is it a serial port, and free?"
    try:
        return None if os.isatty(file) else ("is no serial port", "name that of the adapter")
    finally:
        os.close(file)


def check(port: str) -> None:
    """Raise RunError, with what to do, when `port` is no serial port that we may open."""
    wrong = trouble(port)
    if wrong:
        line = f", or simulate a line first: `meshems sim-meters --pty {port} --spec FILE`"
        raise RunError(f"{port}: {wrong[0]}; {wrong[1]}{'' if Path(port).exists() else line}")


def said(program: str, port: str, profiles: Sequence[Path] = ()) -> Iterator[dict[str, Any]]:
    """Run `program` and yield what it says; `profiles` come before those of the firmware. RunError when it fails."""
    check(port)
    with tempfile.TemporaryDirectory(prefix="meshems-") as folder:
        (Path(folder) / "profiles").mkdir()
        for file in profiles:
            shutil.copy(file, Path(folder) / "profiles" / f"{json.loads(file.read_bytes())['id']}.json")
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MESHEMS_UART")}
        firmware = os.environ.get("MESHEMS_FIRMWARE", paths.FIRMWARE)  # as for Gateway.start
        environment["MICROPYPATH"] = f"{folder}:{paths.BOARDS / 'desktop'}:{firmware}:.frozen"
        environment["MESHEMS_UART1"] = str(Path(port).absolute())
        process = subprocess.Popen(
            [interpreter(), "-X", f"heapsize={HEAP}", "-c", program], cwd=folder, env=environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
        )  # fmt: skip
        other = ""
        try:
            assert process.stdout
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
                else:
                    other = line.strip() or other
            if process.wait():
                raise RunError(f"{port}: the firmware failed: {other}")
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def profile_file(name: str) -> Path:
    """Return the file of a profile given by its id or as a file; RunError when there is none."""
    file = Path(name)
    if file.suffix == ".json" and file.is_file():
        return file
    known = paths.PROFILES / f"{name}.json"
    if not known.is_file():
        raise RunError(f"{name}: no such profile; `meshems profile list` shows those there are, or name a .json file")
    return known
