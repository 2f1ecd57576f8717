"""docs/adding-a-meter.md: its files and its commands, as they stand there, in a copy of the checkout."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from meshems import paths
from mp_plugin import micropython

PAGE = paths.ROOT / "docs" / "adding-a-meter.md"
BLOCK = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEAD = """set -eu
trap 'kill $(jobs -p); wait' EXIT
"""
WAIT = 'for i in $(seq 100); do test -e "$LINE" && break; sleep 0.1; done\n'


@pytest.mark.timeout(120)
def test_every_command_of_the_page_does_what_it_says(tmp_path):
    made = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for folder in ("firmware", "boards", "tools"):
        shutil.copytree(paths.ROOT / folder, tmp_path / folder, ignore=made)
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "meshems"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}/tools exec {sys.executable} -m meshems.cli "$@"\n')
    command.chmod(0o755)
    script, commands = HEAD, []
    for kind, name, text in BLOCK.findall(PAGE.read_text()):
        if kind == "json":
            (tmp_path / name).write_text(text)
            continue
        assert kind == "sh", kind
        for line in text.splitlines():
            commands.append(line.split()[1])
            script += f"{line}\n" + (WAIT if line.endswith("&") else "")
    assert commands == ["profile", "lumen-lm100.json", "sim-meters", "profile", "scan", "run"]

    line = tmp_path / "line-1"
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "MICROPYTHON": micropython(), "LINE": str(line)}
    done = subprocess.run(
        ["bash", "-c", script.replace("/tmp/line-1", str(line))], cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "1 of 1 profiles are good" in done.stdout
    assert "5 of 5 points read" in done.stdout and "unlikely" not in done.stdout
    config = json.loads((tmp_path / "gateway.json").read_text())
    assert config["buses"] == [{"uart": 1, "baud": 9600, "format": "8E1"}]
    assert config["meters"] == [{"serial": "lumen-lm100-7", "bus": 0, "address": 7, "profile": "lumen-lm100"}]
    assert "refused" not in done.stdout and "lost" not in done.stdout and "no reply" not in done.stdout
