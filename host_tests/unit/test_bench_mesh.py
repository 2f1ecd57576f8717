"""`meshems bench mesh`: how a figure is made of runs, and that a run runs."""

import ast
import json
import os
import subprocess

import pytest

from meshems import paths
from meshems.benches import mesh
from mp_plugin import micropython

SAID = {
    "lost": 0, "delivered_60s_pct": 100, "first_try_pct": 99.9, "latency_p95_ms": 200, "latency_p99_ms": 500,
    "formation_s": 5, "beacons_per_min": 1.1, "beacons_any_minute": 6, "airtime_pct": 0.2, "time_error_p99_ms": 8,
    "command_p95_ms": 300, "command_p99_ms": 900, "command_60s_pct": 100, "latency_per_hop_p50_ms": 20,
    "over_hop_limit": 0, "virtual_s": 3600, "cpu_s": 2, "depth": 3,
    "delays": {"death": [100, 900], "roots": [4000], "zombie": [9000]},
}  # fmt: skip


@pytest.fixture
def runs():
    """Return the runs of sites of ten that all went well."""
    found = {
        (mesh.OURS, kind, 10, seed, name): dict(SAID)
        for kind in mesh.KINDS for seed in mesh.SEEDS.values() for name in mesh.RUNS
    }  # fmt: skip
    return found | {(mesh.PEER, "grid", 10, 1, name): dict(SAID, first_try_pct=80) for name in mesh.PEER_RUNS}


def named(runs):
    return {figure.name: figure for figure in mesh.figures(runs, 10)}


def test_every_bound_is_kept_where_all_runs_went_well(runs):
    found = named(runs)
    assert all(figure.ok for figure in found.values())
    assert found["mesh.first_try_pct_10"].peer == "flooding" and found["mesh.first_try_pct_10"].peer_value == 80
    assert found["mesh.node_death_p95_s_10"].value == 0.9 and found["mesh.speed_10"].value == 1800


def test_the_figure_is_the_median_of_all_runs_and_the_worst_has_its_own(runs):
    for seed in mesh.SEEDS.values():
        runs[mesh.OURS, "line", 10, seed, "base"]["latency_p95_ms"] = 500 + seed
    found = named(runs)
    assert found["mesh.latency_p95_ms_10"].value == 200 and found["mesh.latency_p95_ms_10"].ok
    assert found["mesh.worst_latency_p95_ms_10"].value == 505 and found["mesh.worst_latency_p95_ms_10"].ok
    for seed in mesh.SEEDS.values():
        runs[mesh.OURS, "grid", 10, seed, "base"]["latency_p95_ms"] = 601
    found = named(runs)
    assert found["mesh.latency_p95_ms_10"].value == 503 and not found["mesh.latency_p95_ms_10"].ok
    assert found["mesh.worst_latency_p95_ms_10"].value == 601 and not found["mesh.worst_latency_p95_ms_10"].ok


def test_one_bad_seed_may_miss_by_twice_and_no_more(runs):
    runs[mesh.OURS, "grid", 10, 2, "base"]["delivered_60s_pct"] = 99.9
    assert all(figure.ok for figure in named(runs).values())
    runs[mesh.OURS, "grid", 10, 2, "base"]["delivered_60s_pct"] = 99.89
    assert [name for name, figure in named(runs).items() if not figure.ok] == ["mesh.worst_delivered_60s_pct_10"]


def test_what_never_came_about_misses_its_bound(runs):
    runs[mesh.OURS, "grid", 10, 1, "base"]["formation_s"] = None
    runs[mesh.OURS, "grid", 10, 2, "zombie"]["delays"] = {}
    found = named(runs)
    assert not found["mesh.worst_formation_s_10"].ok and not found["mesh.worst_zombie_p99_s_10"].ok


def test_the_faults_are_those_of_the_tests_and_of_the_scripts():
    tree = ast.parse((mesh.SCRIPTS / "faults.py").read_text())
    assigned = {getattr(n.targets[0], "id", ""): n.value for n in tree.body if isinstance(n, ast.Assign)}
    table = assigned["SCRIPTS"]
    scripts = [name.id for name in table.generators[0].iter.elts]
    assert scripts == list(mesh.FAULTS)
    tests = (mesh.SCRIPTS / "mp_faults.py").read_text()
    assert all(f"faults.{name})" in tests for name in scripts)


def lines(*job):
    """Return what a run prints, parsed."""
    done = subprocess.run(
        [micropython(), "-X", mesh.HEAP, str(mesh.SCRIPTS / "runs.py"), *job],
        env=dict(os.environ, MICROPYPATH=f"{paths.FIRMWARE}:{mesh.SCRIPTS}:.frozen"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("peer", [mesh.PEER, mesh.OURS])
def test_a_run_ends_with_its_figures(peer):
    said = lines(peer, "grid", "10", "1", "base", "120")[-1]
    assert said["lost"] == 0 and said["made"] > 9 * 5 and said.keys() >= SAID.keys()


def test_a_map_has_each_gateway_with_its_place_and_its_way_to_the_root():
    nodes = {node["id"]: node for node in lines(mesh.OURS, "grid", "10", "1", "map", "120")}
    assert len(nodes) == 10 and [node["id"] for node in nodes.values() if node["isRoot"]] == [1]
    for node in nodes.values():
        assert node["root"] == 1 and {"gatewayId", "x", "y", "cost", "channel"} <= node.keys()
        if not node["isRoot"]:
            assert node["hops"] == nodes[node["parent"]]["hops"] + 1
            assert node["parent"] in [one["id"] for one in node["neighbours"]]
