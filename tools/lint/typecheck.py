#!/usr/bin/env python3
"""Checks firmware/ with mypy against the stubs of the ESP32 and of the ESP32-S3: does the chip have what is called?

    .venv/bin/python tools/lint/typecheck.py [FOLDER]

Prints what mypy finds outside the stubs themselves; exit status 1 when there is something. The firmware has no
annotations, so mypy infers each type; where it infers too little, NOISE lists what it then says, and nothing else
is hidden. One line can be excused in the source: `# type: ignore[code]  why`.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TYPINGS = ROOT / ".venv" / "typings"
BOARDS = ("esp32", "esp32-s3")
OPTIONS = (
    "--check-untyped-defs",
    "--no-strict-optional",  # an attribute that starts as None is not None for ever
    "--allow-redefinition",  # a name may be bound to a second type, as in any untyped program
    "--explicit-package-bases",
    "--namespace-packages",  # folders without __init__.py import on the chip too
    "--no-site-packages",
    "--disable-error-code=var-annotated",  # `x = []` asks for an annotation: it is none the worse without
    "--no-error-summary",
    "--no-color-output",
    "--hide-error-context",
    "--python-version=3.10",
)
NOISE = (
    (r'"object"|\bobject"', "a dict of mixed values, or a value narrowed by isinstance(): mypy knows no more"),
    (r'"Collection\[Any\]"', "either a list or a dict, told apart by a flag that mypy does not follow"),
    (r'target has type "None"', "[None] * n is a list to be filled"),
    (r'"StreamReader" has no attribute "(drain|out_buf|write)"', "reader and writer are one and the same Stream"),
    (r'"_TicksMs"|"_TicksUs"', "the stubs keep tick values apart from ints; on the chip they are small ints"),
)


def check(folder, board):
    """Returns mypy's lines for one board, those about the stubs and those that NOISE lists left out."""
    stubs = TYPINGS / board
    if not (stubs / "machine.pyi").exists():
        return [f"stubs of {board} not found in {stubs}: run `make lint`"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *OPTIONS, f"--custom-typeshed-dir={stubs}",
         f"--cache-dir={TYPINGS / ('cache-' + board)}", "."],
        cwd=folder, env={"MYPYPATH": str(stubs)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode not in (0, 1) or done.stderr:
        return (done.stdout + done.stderr).splitlines() or [f"mypy ended with status {done.returncode}"]
    return [f"{board}: {line}" for line in done.stdout.splitlines() if not _left_out(line)]


def _left_out(line):
    return line.startswith("/") or ": note: " in line or any(re.search(pattern, line) for pattern, _ in NOISE)


def main(folder=ROOT / "firmware"):
    """Prints the findings of both boards; returns the exit status."""
    with ThreadPoolExecutor() as pool:
        found = [line for lines in pool.map(check, [Path(folder).resolve()] * len(BOARDS), BOARDS) for line in lines]
    if found:
        print("\n".join(found))
        print(f"mypy: {len(found)} places to mend")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
