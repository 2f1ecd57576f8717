"""Gateways as processes of their own, of which only the first reaches the broker: by radio, and by UDP with loss."""

import json
import re
import socket

import pytest

from hub import HOST, Hub
from meshems import demo
from meshems.benches import heap, rig
from meshems.broker import Broker
from meshems.judge import Message
from meshems.site import Site
from meshems.sitedemo import plan_of

LAST = re.compile(r"stored (\d+), acknowledged (\d+), lost (\d+), duplicates (\d+), wrong (\d+), uncommitted (\d+)\Z")


@pytest.fixture
def kept(monkeypatch):
    """What the subscriber has received when the demo is over."""
    messages: list[Message] = []
    stop = demo.Subscriber.stop

    def keep(self):
        messages.extend(self.messages)
        stop(self)

    monkeypatch.setattr(demo.Subscriber, "stop", keep)
    return messages


def verdict(capsys):
    lines = capsys.readouterr().out.strip().split("\n")
    figures = LAST.search(lines[-1])
    assert figures, lines
    names = ("stored", "acknowledged", "lost", "duplicates", "wrong", "uncommitted")
    return dict(zip(names, map(int, figures.groups()), strict=True)), lines


def told(messages, topic):
    """The newest message of each gateway on this topic."""
    return {one.topic.split("/")[3]: json.loads(one.payload) for one in messages if one.topic.endswith(topic)}


@pytest.mark.timeout(240)
def test_a_mesh_by_radio_loses_nothing_when_a_forwarder_loses_its_power(kept, capsys):
    plan = demo.Plan.of(4, 8, 60, kills=["pole-2@12"], mesh=True)  # back at 27, tells of its neighbours at 47
    status = demo.run_demo(plan)
    figures, lines = verdict(capsys)
    assert status == 0, lines
    assert figures["stored"] == figures["acknowledged"] >= 40
    assert (figures["lost"], figures["wrong"]) == (0, 0), lines
    tables = told(kept, "/gateway/mesh")
    assert [table["isRoot"] for _, table in sorted(tables.items())] == [True, False, False, False]
    assert all(table["root"] == 1 and table["parent"] for name, table in tables.items() if name != "pole-1")
    states = told(kept, "/status")
    assert states["pole-3"]["state"] == "online" and states["pole-3"]["network"] == "mesh"


SITE = """\
feederId = "feeder-09"
board = "desktop"
buses = [{uart = 1, baud = 9600}]

[[uplinks]]
name = "operator"
kind = "mqtt"
host = "broker.example.org"

[mesh]
transport = "udp"
host = "10.0.0.255"

[[gateways]]
gatewayId = "mill"
mesh = {id = 31}
meters = [{serial = "M-1", address = 1, profile = "eastron-sdm120"}]

[[gateways]]
gatewayId = "bend"
mesh = {id = 32}
meters = []

[[gateways]]
gatewayId = "shop"
mesh = {id = 33, root = true}
meters = [{serial = "S-1", address = 1, profile = "eastron-sdm120"}, {serial = "S-2", address = 2, profile = "abb-b23"}]

[[gateways]]
gatewayId = "school"
mesh = {id = 34}
meters = [{serial = "L-1", address = 1, profile = "eastron-sdm120"}]
"""


@pytest.mark.timeout(240)
def test_a_site_whose_gateways_mesh_runs_at_the_desk_with_its_own_root(tmp_path, kept, capsys):
    """The root is not the first, one pole has no meters, and what the site calls UDP is the desk's air."""
    file = tmp_path / "site.toml"
    file.write_text(SITE)
    site = Site.load(file)
    assert site.problems(keys_made=False) == []
    status = demo.run_demo(plan_of(site, 60, kills=["mill@12"]))  # as above
    figures, lines = verdict(capsys)
    assert status == 0, lines
    assert figures["stored"] == figures["acknowledged"] >= 25 and (figures["lost"], figures["wrong"]) == (0, 0), lines
    tables = told(kept, "/gateway/mesh")
    assert {name: (table["id"], table["isRoot"], table["root"]) for name, table in tables.items()} == {
        "mill": (31, False, 33), "bend": (32, False, 33), "shop": (33, True, 33), "school": (34, False, 33),
    }  # fmt: skip
    assert told(kept, "/status")["bend"]["network"] == "mesh"


@pytest.mark.timeout(300)
def test_a_chain_by_udp_with_a_fifth_of_the_frames_lost_loses_no_record(kept, capsys, monkeypatch):
    gateways = 6
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind((HOST, 0))
        first = free.getsockname()[1] % 40000 + 10000
    ports = range(first, first + gateways)
    join = demo.Fleet._join

    def by_udp(self, name, port):
        join(self, name, port)
        (self.root / name / "air.json").unlink()
        file = self.root / name / "gateway.json"
        config = json.loads(file.read_text())
        config["mesh"] |= {"transport": "udp", "host": HOST, "port": ports[config["mesh"]["id"] - 1]}
        file.write_text(json.dumps(config))

    monkeypatch.setattr(demo.Fleet, "_join", by_udp)
    links = {frozenset((a, b)) for a in range(gateways) for b in range(gateways) if 1 <= abs(a - b) <= 2}
    plan = demo.Plan.of(gateways, gateways, 60, kills=["pole-3@25"], mesh=True)
    with Hub(ports, links, loss=0.2) as hub:
        status = demo.run_demo(plan)
    figures, lines = verdict(capsys)
    assert status == 0, lines
    assert figures["stored"] == figures["acknowledged"] >= 50
    assert (figures["lost"], figures["wrong"]) == (0, 0), lines
    assert hub.dropped > 50 and hub.passed > 200
    hops = {name: table["hops"] for name, table in told(kept, "/gateway/mesh").items()}
    assert max(hops.values()) >= 2, hops


@pytest.mark.timeout(200)
def test_a_root_with_sixty_meters_and_a_hundred_poles_runs_in_two_megabytes():
    with rig.Rig() as bench, Broker() as broker:
        placed = rig.meters((heap.PROFILES * 8)[:60], buses=2)
        for bus in range(2):
            bench.line(bus, placed)
        config = rig.config(placed, broker.port, 60)
        config["mesh"] = {"id": 1, "root": True, "transport": "udp", "host": "127.0.0.1", "port": broker.port}
        state = bench.state("root", config)
        (state / "secrets.json").write_text(json.dumps({"mesh": {"secret": bytes(32).hex()}}))
        process = bench.script(state, "root_load.py", "20", heap_kb=2048)
        told = process.result(120)
    assert not [line for line in process.lines if heap.BAD.search(line)]
    assert told["acked"] >= 1600 and told["refused"] == 0
    assert told["live"] < 1 << 20, "the rest is for what comes and goes"
