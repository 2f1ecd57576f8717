"""`meshems demo`: real firmware, paced lines, a broker, and a verdict that can be trusted."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from meshems import decode, demo, paths
from meshems.judge import instant_us

LAST = re.compile(r"stored (\d+), acknowledged (\d+), lost (\d+), duplicates (\d+), wrong (\d+), uncommitted (\d+)\Z")


def start(tmp_path, *options):
    environment = dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools"), TMPDIR=str(tmp_path))
    command = [sys.executable, "-m", "meshems.cli", "demo", *options]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def processes(word):
    """Return the ids of the living processes that have `word` in their command or folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            said = (folder / "cmdline").read_bytes() + os.readlink(folder / "cwd").encode()
        except OSError:
            continue
        if word.encode() in said and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def ended(process, tmp_path, within_s=90):
    """Return (exit status, lines, figures of the last one); nothing may be left behind."""
    output, _ = process.communicate(timeout=within_s)
    lines = output.strip().split("\n")
    figures = LAST.search(lines[-1])
    assert figures, output
    assert lines[-1] == figures[0], "the last line stands alone"
    assert list(tmp_path.iterdir()) == []
    assert processes(str(tmp_path)) == []
    names = ("stored", "acknowledged", "lost", "duplicates", "wrong", "uncommitted")
    return process.returncode, lines, dict(zip(names, map(int, figures.groups()), strict=True))


def seen(lines, seconds):
    """Return the last line of the table of a demo that is not of its end, when the meters are silent."""
    return [line for line in lines if " meters good" in line and int(line.split()[0]) <= seconds][-1]


def test_two_gateways_and_twelve_meters_lose_nothing_and_say_nothing_wrong(tmp_path):
    status, lines, figures = ended(start(tmp_path, "--gateways", "2", "--meters", "12", "--seconds", "15"), tmp_path)
    assert status == 0, lines
    assert figures["stored"] == figures["acknowledged"] >= 36
    assert (figures["lost"], figures["duplicates"], figures["wrong"], figures["uncommitted"]) == (0, 0, 0, 0)
    assert "12 of 12 meters good" in seen(lines, 15)


def test_a_dead_meter_and_a_power_cut_lose_nothing_that_was_committed(tmp_path):
    process = start(tmp_path, "--meters", "6", "--seconds", "40", "--fault", "dead:SN-5@8-26", "--kill", "pole-1@11")
    status, lines, figures = ended(process, tmp_path)
    assert status == 0, lines
    assert figures["stored"] == figures["acknowledged"]
    assert (figures["lost"], figures["wrong"]) == (0, 0)
    assert any("pole-1 without power" in line for line in lines)


def test_a_dead_meter_is_known_in_three_cycles_found_by_one_probe_and_moves_nobody(monkeypatch, capsys):
    kept, honest = {}, demo.judge

    def judge(meters, log, messages, *more):
        log = list(log)
        kept.update(log=log, bodies=[json.loads(one.payload) for one in messages if "/meter/" in one.topic])
        return honest(meters, log, messages, *more)

    monkeypatch.setattr(demo, "judge", judge)
    assert demo.run_demo(demo.Plan.of(1, 6, 60, ["dead:SN-2@20-40"])) == 0, capsys.readouterr().out
    every_us = demo.EVERY_S * 1_000_000

    def instants(serial, event=None):
        """The subscriber's time stamps: of the readings of a meter, or of its events of one code."""
        return [
            instant_us(body["ts"])[0] for body in kept["bodies"] if body["meterSerial"] == serial and (
                body.get("event", {}).get("code") == event if event else len(body["registers"]) > 1
            )
        ]  # fmt: skip

    asked = [row for row in kept["log"] if row["what"] == "request" and row["serial"] == "SN-2"]
    dead = [row["utc_us"][0] for row in asked if row.get("fault") == "silent"]
    (lost,), (restored,) = instants("SN-2", "comms_lost"), instants("SN-2", "comms_restored")
    assert lost - dead[0] <= 3 * every_us
    # once it can answer, one probe is all it takes: a part of a block, and all its blocks at once
    probe, *blocks = [row for row in asked if row["utc_us"][0] > dead[-1]]
    assert probe["address"] == blocks[0]["address"] and probe["count"] < blocks[0]["count"]
    back = next(at for at in instants("SN-2") if at > dead[-1])
    assert back - probe["utc_us"][1] <= 500_000 and abs(restored - back) <= 1_000_000
    assert probe["utc_us"][0] - dead[-1] <= 2 * every_us
    silent = [body for body in kept["bodies"] if [row["quality"] for row in body["registers"]] == ["comms_lost"]]
    assert len(silent) >= (dead[-1] - lost) // every_us  # it keeps its cadence, asked or not
    for serial in ("SN-1", "SN-3", "SN-4", "SN-5", "SN-6"):
        at = [one for one in instants(serial) if dead[0] - every_us < one < back + every_us]
        cadence = (at[-1] - at[0]) / (len(at) - 1)
        assert len(at) > 4 and abs(cadence - every_us) <= 0.02 * every_us, (serial, cadence)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_verdict_and_leaves_nothing_behind(tmp_path, number):
    process = start(tmp_path, "--meters", "4")
    assert process.stdout
    for line in process.stdout:
        if re.search(r" 4 of 4 meters good", line):
            break
    os.killpg(process.pid, number)  # as a terminal does: everything in its session gets it
    status, lines, figures = ended(process, tmp_path)
    assert figures["stored"] > 0 and (figures["lost"], figures["wrong"]) == (0, 0)
    assert status == 0, lines


def test_a_killed_demo_leaves_no_process_behind(tmp_path):
    process = start(tmp_path, "--meters", "4")
    assert process.stdout
    process.stdout.readline()
    assert processes(str(tmp_path))
    process.kill()
    process.communicate(timeout=10)
    end = time.monotonic() + 5
    while processes(str(tmp_path)):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_decoder_that_disagrees_makes_the_verdict_wrong(monkeypatch, capsys, tmp_path):
    honest = decode.decode

    def other(profile, words):
        values = honest(profile, words)
        volts = values.get("32.7.0")
        return {**values, "32.7.0": volts and (volts[0] + Decimal("0.001"), volts[1])}

    monkeypatch.setattr(decode, "decode", other)
    picture = tmp_path / "demo.svg"
    assert demo.run_demo(demo.Plan.of(1, 2, 5), picture) == 1
    why, last = capsys.readouterr().out.strip().split("\n")[-2:]
    assert "32.7.0 is" in why and re.search(r"wrong [1-9]", last)
    assert picture.read_text().startswith("<svg")


def test_fewer_readings_than_the_cadence_promises_fail(monkeypatch, capsys):
    plan = demo.Plan.of(1, 2, 6)
    monkeypatch.setattr(plan, "troubles", [demo.Trouble("silent", "SN-2", 0, 60)])
    monkeypatch.setattr(plan, "excused", lambda seconds: [])
    assert demo.run_demo(plan) == 1
    *lines, why, last = capsys.readouterr().out.strip().split("\n")
    # SN-1 may complain too: at the end every meter falls silent, and one poll can be under way
    assert any(line.startswith("pole-1: ") and "SN-2" in line for line in lines), "the gateway's own words"
    assert "cadence: 0 readings of SN-2" in why
    assert "lost 0" in last and "wrong 0" in last


def test_the_example_configuration_of_the_demo_is_a_valid_one(tmp_path):
    from meshems.run import check

    fleet = demo.Fleet(demo.Plan.of(2, 12, 5), tmp_path, 1883)
    assert check(tmp_path / "pole-1" / "gateway.json") == []
    spec = json.loads((tmp_path / "pole-2.spec").read_text())
    assert [unit["serial"] for unit in spec["units"]] == [f"SN-{n}" for n in range(7, 13)]
    assert list(fleet.gateways) == []
