"""Each supervised task, frozen in turn: the watchdog stops being fed within the limit that the task was given."""

import json
import os
import subprocess

import pytest

from meshems import paths, run

TICK_MS = 100  # the supervisor's, a tenth of the firmware's
TASKS = ("recorder", "bus 0", "link operator", "uplink operator", "clock", "network", "ethernet", "led", "sd")


@pytest.mark.parametrize("task", TASKS)
def test_a_frozen_task_starves_the_watchdog(task, tmp_path):
    config = {
        "feederId": "f", "gatewayId": "g", "board": "desktop",
        "buses": [{"uart": 1}],
        "meters": [{"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120", "every": 1}],
        "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": 9}],
        "extras": {"led": True, "sd": True},
        "clock": {"ntp": ["127.0.0.1"]}, "network": {"wifi": {"ssid": "village"}, "ethernet": True},
    }  # fmt: skip
    source = tmp_path / "gateway.json"
    source.write_text(json.dumps(config))
    state = tmp_path / "state"
    run.install(source, state)
    master, slave = os.openpty()
    environment = {
        **os.environ, "FREEZE": task, "MESHEMS_UART1": os.ttyname(slave),
        "MICROPYPATH": f"{paths.BOARDS / 'desktop'}:{paths.FIRMWARE}:.frozen",
    }  # fmt: skip
    script = paths.ROOT / "host_tests/system/freeze_main.py"
    command = [run.interpreter(), "-X", "heapsize=2M", str(script)]
    try:
        done = subprocess.run(command, cwd=state, env=environment, capture_output=True, text=True, timeout=60)
    finally:
        os.close(master)
        os.close(slave)
    said = [line.split() for line in done.stdout.splitlines() if line.startswith(("fed ", "frozen ", "limit "))]
    fed = [int(value) for what, value in said if what == "fed"]
    frozen = [int(value) for what, value in said if what == "frozen"]
    limit = [int(value) for what, value in said if what == "limit"]
    assert len(frozen) == 1 and limit, done.stdout + done.stderr
    before = [at for at in fed if at <= frozen[0]]
    assert len(before) > frozen[0] // TICK_MS // 2, "it has to be fed while all is well"
    assert max(fed) <= frozen[0] + limit[0] + 2 * TICK_MS, "fed after the task's limit"
    assert f"health: {task} shows no life" in done.stdout
