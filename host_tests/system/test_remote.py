"""Commands that talk to a board, and the real mpremote itself, with a desktop board's REPL at the other end."""

import csv
import json
import os
import subprocess
import sys
import time

import pytest
import serial

from meshems import fetch, provisioning
from meshems.remote import RemoteError, Session
from repl_board import METERS, ReplBoard, command, metered, pulled, quiet

CONFIG = {
    "feederId": "feeder-01", "gatewayId": "pole-07", "board": "desktop", "buses": [{"uart": 1}], "meters": METERS,
    "clock": {"ntp": []}, "uplinks": [],
}  # fmt: skip


def mpremote(port, *arguments):
    """Return (exit status, what it says) of mpremote."""
    done = subprocess.run(
        [sys.executable, "-m", "mpremote", "connect", port, *arguments], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.replace("\r\n", "\n")


@pytest.fixture
def gateway(tmp_path):
    """A board that is a gateway with two meters, and runs."""
    with metered(tmp_path / "line-1") as line, ReplBoard(tmp_path / "board", tmp_path / "port", {1: line}) as board:
        (tmp_path / "gateway.json").write_text(json.dumps(CONFIG))
        plan = provisioning.Plan.of_files(tmp_path / "gateway.json")
        provisioning.carry_out(plan, board.port, quiet, test=False)
        yield board


def stored(board):
    """Wait until some records are stored."""
    journal = board.state / "flash" / "journal.bin"
    end = time.monotonic() + 20
    while not (journal.exists() and b"MJ" in journal.read_bytes()):
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(4)


def test_mpremote_runs_programs_copies_files_and_resets_the_board(tmp_path):
    with ReplBoard(tmp_path / "board", tmp_path / "port") as board:
        assert mpremote(board.port, "exec", "print(6 * 7)") == (0, "42\n")
        (tmp_path / "some.bin").write_bytes(bytes(range(256)) * 9)
        assert mpremote(board.port, "resume", "fs", "cp", str(tmp_path / "some.bin"), ":some.bin")[0] == 0
        assert (board.state / "some.bin").read_bytes() == bytes(range(256)) * 9
        assert "some.bin" in mpremote(board.port, "resume", "fs", "ls")[1]
        failed, said = mpremote(board.port, "resume", "exec", "1 // 0")
        assert failed and "ZeroDivisionError" in said
        assert mpremote(board.port, "soft-reset")[0] == 0
        assert mpremote(board.port, "resume", "exec", "import machine; print(machine.reset_cause())") == (0, "5\n")
        assert mpremote(board.port, "resume", "reset")[0] == 0
        time.sleep(1)
        assert mpremote(board.port, "resume", "exec", "import machine; print(machine.reset_cause())") == (0, "2\n")


def test_a_program_that_runs_is_interrupted_and_the_gateway_comes_back_after_ctrl_d(gateway):
    with serial.Serial(gateway.port, timeout=0.2) as port:
        port.write(b"\r\x03")
        assert b"closed: " in read_to(port, b">>> ")
        port.write(b"1 + 1\r")
        assert b"\r\n2\r\n" in read_to(port, b">>> ")
        port.write(b"\x05print('pasted')\n\x04")
        assert b"pasted\r\n" in read_to(port, b">>> ")
        port.write(b"\x04")
        assert b"MPY: soft reboot\r\n" in read_to(port, b"reset cause 5")


def read_to(port, end):
    data, until = b"", time.monotonic() + 15
    while end not in data:
        assert time.monotonic() < until, data
        data += port.read(256)
    return data


def test_run_with_a_repl_needs_no_configuration_and_takes_its_link_away(tmp_path):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    link = tmp_path / "port"
    arguments = ["run", "--state", str(tmp_path / "board"), "--repl", str(link), "--seconds", "8"]
    process = subprocess.Popen(
        [sys.executable, "-m", "meshems.cli", *arguments], env=environment, stdout=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 5
    while not link.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert mpremote(str(link), "exec", "print(1)") == (0, "1\n")
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0 and f"a board with its REPL on {link}" in said
    assert "no valid configuration: nothing to run" in said and not link.is_symlink()
    assert command("run", "--state", tmp_path / "board")[0] == 2


def test_a_scan_by_the_board_finds_the_meters_of_its_line(gateway, tmp_path):
    status, out, err = command(
        "scan", "--device", "--port", gateway.port, "--addresses", "1-3", "--settings", "9600N1", "--json"
    )  # fmt: skip
    assert status == 0, out + err
    found = json.loads(out)
    assert [(meter["address"], meter["profile"]) for meter in found["meters"]] == [
        (1, "eastron-sdm120"), (2, "abb-b23")
    ]  # fmt: skip
    assert found["problems"] == [] and not (gateway.state / "apart").exists()
    status, _, err = command("scan", "--device", "--port", gateway.port, "--uart", "7", "--addresses", "1")
    assert status == 2 and "found the UARTs [1, 2] on this board, expected 7" in err


def test_a_profile_that_the_board_has_not_got_is_brought_for_the_scan(gateway, tmp_path):
    mine = json.loads(provisioning.paths.PROFILES.joinpath("abb-b23.json").read_text())
    (tmp_path / "mine.json").write_text(json.dumps({**mine, "id": "mine"}))
    status, out, err = command(
        "scan", "--device", "--port", gateway.port, "--addresses", "2", "--settings", "9600N1", "--profile",
        tmp_path / "mine.json", "--json",
    )  # fmt: skip
    assert status == 0, out + err
    assert [meter["profile"] for meter in json.loads(out)["meters"]] == ["mine"]
    assert not (gateway.state / "profiles").exists()


def test_the_journal_is_fetched_and_a_second_call_brings_what_is_new(gateway, tmp_path):
    stored(gateway)
    arguments = "logs", "--port", gateway.port, "--state", tmp_path / "kept", "--output", tmp_path / "out.csv", "--json"
    status, out, err = command(*arguments)
    assert status == 0, out + err
    first = json.loads(out)
    assert first["records"] > 4 and first["damaged"] == 0 and 0 < first["blocksSent"] < 20
    table = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert {row["meter"] for row in table} >= {"SN-1", "SN-2"}
    assert len({row["ordinal"] for row in table}) == first["next"]
    time.sleep(3)
    second = json.loads(command(*arguments)[1])
    assert second["next"] > first["next"] and 0 < second["blocksSent"] <= 3


def test_a_fetch_that_breaks_off_goes_on_where_it_was(gateway, tmp_path, monkeypatch):
    stored(gateway)
    monkeypatch.setattr(fetch, "SENT", 1)
    with Session(gateway.port) as board:  # foreign blocks, so that there is something to send; the gateway's stay
        board.ask(
            "import esp32, json\np = esp32.Partition('journal')\n"
            "for n in range(200, 220): p.writeblocks(n, bytes([n]) * 4096)\nprint(json.dumps([]))"
        )
    left = pulled(monkeypatch)

    def bar(what, done, of):
        if what == "blocks" and done == 10:
            left[0] = 0

    with pytest.raises(RemoteError, match="found the line broken off"), Session(gateway.port) as board:
        fetch.fetch(board, tmp_path / "kept", bar)
    left[0] = None
    with Session(gateway.port) as board:
        fetched = fetch.fetch(board, tmp_path / "kept", lambda what, done, of: None)
    assert fetched.blocks == 256 and 10 <= fetched.sent < 20
    assert fetched.image.read_bytes()[200 * 4096 : 220 * 4096] == b"".join(bytes([n]) * 4096 for n in range(200, 220))


def test_a_block_that_comes_damaged_is_asked_for_again(gateway, tmp_path, monkeypatch):
    stored(gateway)
    decode, damaged = fetch._decoded, []

    def first_bad(text):
        data = decode(text)
        if len(damaged) < 2:
            damaged.append(data)
            return data[:-1] + b"\x55"
        return data

    monkeypatch.setattr(fetch, "_decoded", first_bad)
    with Session(gateway.port) as board:
        fetched = fetch.fetch(board, tmp_path / "kept", lambda what, done, of: None)
        again = fetch.fetch(board, tmp_path / "kept", lambda what, done, of: None)
    assert len(damaged) == 2 and fetched.sent >= 1 and again.sent == 0
    monkeypatch.setattr(fetch, "_decoded", lambda text: b"")
    with Session(gateway.port) as board, pytest.raises(RemoteError, match="damaged each time, expected it whole"):
        fetch.fetch(board, tmp_path / "other", lambda what, done, of: None)


def test_the_monitor_shows_readings_and_log_and_the_gateway_runs_on(gateway, tmp_path):
    status, out, err = command(
        "monitor", "--port", gateway.port, "--seconds", "6", "--json", "--picture", tmp_path / "seen.svg"
    )  # fmt: skip
    assert status == 0, out + err
    told = [json.loads(line) for line in out.splitlines()]
    readings = [one for one in told if "meter" in one]
    assert {one["meter"] for one in readings} == {"SN-1", "SN-2"} and len(readings) >= 4
    volts = [row for one in readings for row in one["registers"] if row["obis"] == "32.7.0"]
    assert volts and all(200 < float(row["value"]) < 260 and row["unit"] == "V" for row in volts)
    assert any("app: closed" in one.get("log", "") for one in told)
    assert "readings" in (tmp_path / "seen.svg").read_text()
    boots = gateway.starts
    status, out, _ = command("monitor", "--port", gateway.port, "--seconds", "3", "--passive")
    assert status == 0 and gateway.starts <= boots + 1
    assert any("reset cause 2" in line for line in gateway.lines)


def test_the_console_runs_a_line_and_leaves_the_gateway_running(gateway):
    assert command("console", "--port", gateway.port, "--run", "print(2 + 3)")[:2] == (0, "5\n")
    status, out, _ = command("console", "--port", gateway.port, "--run", "print(1)\n1 // 0", "--json")
    said = json.loads(out)
    assert status == 1 and said["output"] == "1" and "ZeroDivisionError" in said["error"]
    assert command("console", "--port", gateway.port, "--json")[0] == 2


def test_every_command_for_boards_has_an_example_and_a_json_output():
    for name in ("provision", "scan", "logs", "monitor", "console"):
        status, out, _ = command(name, "--help")
        assert status == 0 and f"meshems {name} " in out and "--json" in out


def test_a_command_that_fails_says_so_in_json_too(tmp_path):
    gone = tmp_path / "gone"
    for arguments in (
        ("console", "--run", "print(1)"), ("monitor",), ("logs", "--output", tmp_path / "x"), ("scan", "--device"),
    ):  # fmt: skip
        status, out, err = command(*arguments, "--port", gone, "--json")
        assert status == 2 and json.loads(out)["error"].startswith(f"{gone}: no such serial port"), arguments
        assert json.loads(out)["ok"] is False and "Traceback" not in err
