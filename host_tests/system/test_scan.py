"""meshems scan on simulated lines: finds all, says what is doubtful and nothing else, and what it proposes runs."""

import json
import os
import subprocess
import sys
import time

import pytest

from meshems import paths
from meshems.run import Gateway, check, install

MESHEMS = [sys.executable, "-m", "meshems.cli"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(paths.ROOT / "tools")}
SLOW, EVEN = {"baud": 2400, "format": "8N1"}, {"baud": 9600, "format": "8E1"}
PLAIN = {"baud": 9600, "format": "8N1"}
UNITS = [
    ("eastron-sdm120", SLOW), ("abb-b23", EVEN), ("eastron-sdm72dm2", PLAIN), ("peacefair-pzem016", PLAIN),
    ("chint-ddsu666", PLAIN), ("schneider-iem3155", EVEN), ("eastron-sdm120", SLOW), ("abb-b23", EVEN),
    ("eastron-sdm72dm2", PLAIN), ("peacefair-pzem016", PLAIN), ("chint-ddsu666", PLAIN), ("eastron-sdm120", SLOW),
]  # fmt: skip


@pytest.fixture
def simulate(tmp_path):
    """Return a function that puts a spec on a line and returns its terminal and its log."""
    running = []

    def start(spec):
        line, log = tmp_path / "line-1", tmp_path / "line-1.jsonl"
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        command = [*MESHEMS, "sim-meters", "--pty", line, "--spec", tmp_path / "spec.json", "--log", log]
        running.append(subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True))
        assert "units" in running[-1].stdout.readline()
        return line, log

    yield start
    for process in running:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def scan(line, *arguments):
    """Return (exit status, what --json says)."""
    done = subprocess.run(
        [*MESHEMS, "scan", "--port", line, "--json", *arguments], env=ENVIRONMENT, capture_output=True, text=True,
        timeout=150, check=False,
    )  # fmt: skip
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def records(log, after):
    return [record for record in map(json.loads, log.read_text().splitlines()[after:]) if record["what"] == "reply"]


@pytest.mark.timeout(240)
def test_twelve_meters_of_six_models_at_two_speeds_and_two_parities_are_found_and_read(tmp_path, simulate):
    """Two models cannot be told apart: a second profile says of itself what the DDSU666's says."""
    twin = json.loads((paths.PROFILES / "chint-ddsu666.json").read_text()) | {"id": "chint-twin", "n": "its twin"}
    (tmp_path / "chint-twin.json").write_text(json.dumps(twin))
    line, log = simulate({"units": [
        {"serial": f"SN-{i}", "address": i, "profile": profile} | port for i, (profile, port) in enumerate(UNITS, 1)
    ]})  # fmt: skip
    known = sorted(file.stem for file in paths.PROFILES.glob("*.json") if "probe" in json.loads(file.read_text()))
    chosen = [part for name in [*known, tmp_path / "chint-twin.json"] for part in ("--profile", str(name))]
    config = tmp_path / "gateway.json"
    status, found = scan(line, "--addresses", "1-12", "--settings", "2400N1,9600N1,9600E1", "--output", config, *chosen)

    assert [(meter["profile"], {"baud": meter["baud"], "format": meter["format"]})
            for meter in sorted(found["meters"], key=lambda meter: meter["address"])] == UNITS  # fmt: skip
    assert [(problem["kind"], problem["address"], set(problem["profiles"])) for problem in found["problems"]] == [
        ("clash", address, {"chint-ddsu666", "chint-twin"}) for address in (5, 11)
    ]  # fmt: skip
    assert status == 1

    written = json.loads(config.read_text())
    assert written == found["config"] and check(config) == []
    assert written["buses"] == [{"uart": 1, "baud": 9600, "format": "8N1"}]
    for row in written["meters"]:  # a meter that gives its number is called like that
        rules = json.loads((paths.PROFILES / f"{row['profile']}.json").read_text())
        assert row.get("device") == (row["serial"] if "own" in rules else None)
    assert any("device" in row for row in written["meters"])
    before = len(log.read_text().splitlines())
    install(config, tmp_path / "board")
    gateway = Gateway(tmp_path / "board", {1: str(line)})
    gateway.start()
    end = time.monotonic() + 60
    wanted = {f"SN-{i}": len(json.loads((paths.PROFILES / f"{name}.json").read_text())["blk"])
              for i, (name, _) in enumerate(UNITS, 1)}  # fmt: skip
    try:
        while time.monotonic() < end and gateway.tick():
            read = {serial: sum(reply["serial"] == serial for reply in records(log, before)) for serial in wanted}
            if all(read[serial] >= count for serial, count in wanted.items()):
                break
            time.sleep(0.2)
    finally:
        gateway.stop()
    assert all(read[serial] >= count for serial, count in wanted.items()), (read, wanted)
    assert all(reply["intact"] for reply in records(log, before))
    assert not [text for text in gateway.lines if " bus 0: " in text], gateway.lines


@pytest.mark.timeout(120)
def test_an_unknown_unit_a_garbled_one_and_an_echo_are_told(simulate):
    line, _ = simulate({
        "units": [
            {"serial": "SN-1", "address": 1, "profile": "eastron-sdm120"},
            {"serial": "SN-2", "address": 2, "profile": "peacefair-pzem016"},
            {"serial": "SN-3", "address": 3, "profile": "eastron-sdm120"},
        ],
        "faults": [{"kind": "crc", "serial": "SN-3"}, {"kind": "echo"}],
    })  # fmt: skip
    only = "--settings", "9600N1", "--profile", "eastron-sdm120"
    status, found = scan(line, "--addresses", "1-4", *only)
    assert [meter["address"] for meter in found["meters"]] == [1]
    assert [(problem["kind"], problem["address"]) for problem in found["problems"]] == [("unknown", 2), ("garbled", 3)]
    assert found["config"]["buses"] == [{"uart": 1, "baud": 9600, "format": "8N1", "echo": True}]
    assert status == 1

    status, found = scan(line, "--addresses", "1", *only)
    assert status == 0 and found["problems"] == [] and len(found["meters"]) == 1
    status, found = scan(line, "--addresses", "4", *only)
    assert status == 1 and found["problems"] == found["meters"] == []
