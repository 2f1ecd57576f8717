"""`meshems run`: the hardware around one gateway of the real firmware."""

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from meshems import paths
from meshems.run import Gateway, RunError, install

CONFIG = {
    "feederId": "feeder-01",
    "gatewayId": "pole-1",
    "board": "desktop",
    "buses": [{"uart": 1}],
    "meters": [{"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120", "every": 1}],
    "uplinks": [],
    "clock": {"ntp": []},
}
# A processor that does what a test needs: it says why it was started, then acts as the file `act` says.
PROCESSOR = """#!{python}
import os, pathlib, sys, time
cause = os.environ["MESHEMS_RESET_CAUSE"]
print("cause", cause, flush=True)
act = pathlib.Path("act").read_text() if cause == "1" else ""
if act == "reset":
    sys.exit(75)
if act == "fail":
    sys.exit(3)
if act == "hang":
    pathlib.Path("flash/wdt").write_text("300 1\\n")
while act == "deaf" or not os.path.exists("flash/stop"):
    time.sleep(0.02)
print("closed", flush=True)
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "gateway.json"
    file.write_text(json.dumps(CONFIG))
    return file


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Return a function that makes a Gateway on a processor that acts as told."""
    program = tmp_path / "processor"
    program.write_text(PROCESSOR.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("MICROPYTHON", str(program))
    made = []

    def make(act):
        state = tmp_path / "board"
        (state / "flash").mkdir(parents=True)
        (state / "act").write_text(act)
        made.append(Gateway(state, {}))
        made[0].start()
        return made[0]

    yield make
    for gateway in made:
        gateway.kill()


def command(config, state, *more):
    environment = dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools"))
    arguments = [sys.executable, "-m", "meshems.cli", "run", "--config", str(config), "--state", str(state), *more]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(config, state, *more):
    process = command(config, state, *more)
    output, _ = process.communicate(timeout=30)
    return process.returncode, output


def until(condition, within_s=10.0):
    """Wait until `condition()` is true; fail when it does not become so."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def ticked(gateway, condition):
    until(lambda: gateway.tick() is not None and condition())


def children(pid):
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_runs_for_the_seconds_asked_for_and_stops_in_good_order(config, tmp_path):
    status, output = run(config, tmp_path / "board", "--seconds", "1")
    assert status == 0
    assert "app: boot 1, reset cause 1, clock rtc" in output
    assert "app: closed" in output


def test_every_problem_of_the_configuration_is_told_and_nothing_is_started(tmp_path):
    broken = json.loads(json.dumps(CONFIG))
    broken["buses"][0]["baud"] = 9601
    broken["meters"][0]["profile"] = "no-such-meter"
    broken["meters"][0]["every"] = 1.5
    broken["uplink"] = []
    file = tmp_path / "gateway.json"
    file.write_text(json.dumps(broken))
    status, output = run(file, tmp_path / "board")
    assert status == 2
    for path in ("buses[0].baud", "meters[0].every", "uplink", "meters[0].profile"):
        assert f"gateway.json: {path}: found" in output
    assert not (tmp_path / "board").exists()


def test_a_uart_that_the_board_has_not_got_is_told(tmp_path):
    file = tmp_path / "gateway.json"
    file.write_text(json.dumps({**CONFIG, "buses": [{"uart": 7}]}))
    status, output = run(file, tmp_path / "board")
    assert status == 2 and "buses[0].uart: found 7, allowed a UART of the desktop board: [1, 2]" in output


@pytest.mark.parametrize("text", ["{", "", "[]"])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    file = tmp_path / "gateway.json"
    file.write_text(text)
    status, output = run(file, tmp_path / "board")
    assert status == 2 and "gateway.json" in output and "Traceback" not in output


def test_a_missing_file_is_named(tmp_path):
    status, output = run(tmp_path / "none.json", tmp_path / "board")
    assert status == 2 and "none.json: No such file" in output


def test_a_missing_terminal_is_named_with_what_to_do(config, tmp_path):
    status, output = run(config, tmp_path / "board", "--uart", f"1={tmp_path}/line")
    assert status == 2 and "no such terminal" in output and "sim-meters" in output


def test_a_missing_interpreter_is_named_with_what_to_do(config, tmp_path, monkeypatch):
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "nothing"))
    status, output = run(config, tmp_path / "board")
    assert status == 1 and "nothing: no such program; set MICROPYTHON=" in output


def test_secrets_are_copied_for_the_gateway_alone(config, tmp_path):
    config.with_name("secrets.json").write_text("{}")
    assert run(config, tmp_path / "board", "--seconds", "0.5")[0] == 0
    kept = tmp_path / "board" / "secrets.json"
    assert kept.read_text() == "{}"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_secrets_that_are_gone_are_gone_from_the_board_too(config, tmp_path):
    config.with_name("secrets.json").write_text("{}")
    run(config, tmp_path / "board", "--seconds", "0.5")
    config.with_name("secrets.json").unlink()
    run(config, tmp_path / "board", "--seconds", "0.5")
    assert not (tmp_path / "board" / "secrets.json").exists()


def test_the_state_outlives_the_run(config, tmp_path):
    run(config, tmp_path / "board", "--seconds", "0.5")
    assert "app: boot 2," in run(config, tmp_path / "board", "--seconds", "0.5")[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_good_order(config, tmp_path, number):
    process = command(config, tmp_path / "board")
    until((tmp_path / "board/flash/wdt").exists)
    (gateway,) = children(process.pid)
    process.send_signal(number)
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 0 and "app: closed" in output
    assert not alive(gateway)


def test_no_gateway_outlives_a_killed_parent(config, tmp_path):
    process = command(config, tmp_path / "board")
    until((tmp_path / "board/flash/wdt").exists)
    (gateway,) = children(process.pid)
    process.kill()
    process.communicate(timeout=5)
    until(lambda: not alive(gateway), 2)


def test_a_reset_starts_it_again_with_its_cause(processor):
    gateway = processor("reset")
    ticked(gateway, lambda: "cause 2" in gateway.lines)
    assert gateway.starts == 2


def test_a_watchdog_that_is_not_fed_cuts_it_off_and_starts_it_again(processor):
    gateway = processor("hang")
    first = gateway.pid
    ticked(gateway, lambda: "cause 3" in gateway.lines)
    assert gateway.starts == 2 and not alive(first)
    assert "meshems: the watchdog was not fed: reset" in gateway.lines


def test_a_fed_watchdog_leaves_it_alone(processor):
    gateway = processor("")
    for number in range(12):
        (gateway.state / "flash" / "wdt").write_text(f"300 {number}\n")
        time.sleep(0.05)
        assert gateway.tick()
    assert gateway.starts == 1


def test_a_gateway_that_fails_is_not_started_again(processor):
    gateway = processor("fail")
    until(lambda: not gateway.tick())
    assert gateway.starts == 1
    assert gateway.stop() == 3


def test_a_gateway_that_will_not_stop_is_cut_off(processor):
    gateway = processor("deaf")
    until(lambda: "cause 1" in gateway.lines)
    assert gateway.stop(within_s=0.5) == -signal.SIGKILL
    assert "meshems: not stopped after 0.5 s: power cut" in gateway.lines and "closed" not in gateway.lines


def test_a_gateway_that_is_asked_while_it_starts_ends_in_good_order(config, tmp_path):
    install(config, tmp_path / "board")
    spoke = threading.Event()
    gateway = Gateway(tmp_path / "board", {}, lambda line: spoke.set())
    gateway.start()
    assert spoke.wait(10)
    assert gateway.stop() == 0 and "app: closed" in gateway.lines[-1]


def test_a_request_to_stop_is_gone_with_the_power(processor):
    gateway = processor("")
    until(lambda: "cause 1" in gateway.lines)
    (gateway.state / "flash" / "stop").touch()
    gateway.kill()
    gateway.start()
    time.sleep(0.2)
    assert gateway.tick()
    assert gateway.stop() == 0 and gateway.lines[-1] == "closed"


def test_a_power_cut_gives_no_time_to_close(processor):
    gateway = processor("")
    until(lambda: "cause 1" in gateway.lines)
    gateway.kill()
    assert gateway.pid is None and "closed" not in gateway.lines


def test_a_file_that_is_no_program_is_named(tmp_path, monkeypatch):
    program = tmp_path / "noise"
    program.write_bytes(b"\0\1\2")
    program.chmod(0o755)
    monkeypatch.setenv("MICROPYTHON", str(program))
    (tmp_path / "board" / "flash").mkdir(parents=True)
    with pytest.raises(RunError, match="set MICROPYTHON="):
        Gateway(tmp_path / "board", {}).start()
