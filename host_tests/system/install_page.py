"""Follows docs/install.md word for word, with the desktop board in the place of the chip.

    python host_tests/system/install_page.py docs       # its pictures, as `make picture` makes them
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from meshems import paths
from meshems.run import interpreter

PAGE = paths.ROOT / "docs" / "install.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = "set -eu\ntrap 'kill $(jobs -p); wait' EXIT\n"
WAIT = 'for i in $(seq 100); do test -e "{}" && break; sleep 0.1; done\n'
PICTURES = {"provision": "install-provision.svg", "monitor": "install-monitor.svg"}


def follow(folder, broker, pictures=None):
    """Type the commands of the page in `folder`; return (commands, exit status, all that they say).

    What is another on each machine is put in its place: the broker, and the folder of the terminals.
    """
    (folder / "bin").mkdir()
    command = folder / "bin" / "meshems"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={paths.ROOT}/tools exec {sys.executable} -m meshems.cli "$@"\n')
    command.chmod(0o755)
    begin, rest, commands = "", "", []
    for kind, name, text in BLOCK.findall(PAGE.read_text()):
        if kind == "json":
            (folder / name).write_text(text)
            continue
        assert kind == "sh" and name in ("", "chip", "desktop")
        script = ""
        for line in text.splitlines() if name != "chip" else ():
            words = line.split()
            if words[0] == "meshems":
                commands.append(words[1] + (" " + words[2] if words[1] == "site" else ""))
                if pictures and words[1] in PICTURES:
                    line += f" --picture {pictures / PICTURES[words[1]]}"
            waits = re.search(r"--(?:repl|pty) (\S+)", line)
            script += line + "\n" + (WAIT.format(waits[1]) if line.endswith("&") and waits else "")
        begin, rest = (begin + script, rest) if name == "desktop" else (begin, rest + script)  # it sets BOARD and PORT
    script = (HEAD + begin + rest).replace("broker.example.org:1883", broker)
    if not pictures:  # they show what the page says
        script = script.replace("/tmp/", f"{folder}/")
    environment = {"PATH": f"{folder}/bin:/usr/bin:/bin", "MICROPYTHON": interpreter(), "HOME": str(folder)}
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=150, check=False,
    )  # fmt: skip
    return commands, done.returncode, done.stdout


if __name__ == "__main__":
    from mosquitto import Broker

    with tempfile.TemporaryDirectory() as temporary, Broker(Path(temporary, "broker")) as server:
        print(follow(Path(temporary), f"127.0.0.1:{server.port}", Path(sys.argv[1]).resolve())[2])
