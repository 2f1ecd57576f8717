"""`meshems console`: the REPL of a board, through mpremote."""

import json
import subprocess
import sys

import click

from meshems.run import RunError

FAILED, BAD = 1, 2  # exit status
LEASE_MS = 3_600_000  # a prompt that was forgotten ends after an hour


@click.command()
@click.option("--port", required=True, metavar="PORT", help="The board's serial port.")
@click.option("--run", "code", metavar="CODE", help="Run this and end, instead of a prompt.")
@click.option("--json", "as_json", is_flag=True, help='With --run: one JSON object, {"output", "error"}.')
def console(port: str, code: str | None, as_json: bool) -> None:
    """The prompt of MicroPython on a board; its gateway is stopped, and runs again when you leave with Ctrl-].

    \b
    meshems console --port /dev/ttyACM0
    meshems console --port /dev/ttyACM0 --run "import os; print(os.listdir())"

    Exit status: 0, 1 when the code failed, 2 when the board does not answer.
    """
    from meshems.cli import fail, needed

    if as_json and not code:
        raise click.UsageError("--json goes with --run CODE")
    remote = needed("meshems.remote")
    error = ""
    try:
        if code:
            lines = []
            with remote.Session(port) as board:
                try:
                    for line in board.show(code):
                        lines.append(line)
                        if not as_json:
                            click.echo(line)
                except remote.BoardError as failed:
                    error = failed.trace
        else:
            with remote.Session(port, reset=False, lease_ms=LEASE_MS):
                pass
            subprocess.call([sys.executable, "-m", "mpremote", "connect", port, "resume", "repl"])
            with remote.Session(port):
                pass
    except RunError as failed:
        fail(str(failed), BAD, as_json)
    if as_json:
        click.echo(json.dumps({"output": "\n".join(lines), "error": error or None}))
    elif error:
        click.echo(error, err=True)
    sys.exit(FAILED if error else 0)
