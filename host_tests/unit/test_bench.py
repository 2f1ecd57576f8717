"""`meshems bench`: what a figure says, when a bound counts as missed, and what the rig's broker does."""

import json
import socket
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshems import bench
from meshems.benches import base, boot, heap, imports, loop, rig
from meshems.benches.broker import HOST, Broker
from meshems.benches.figures import Figure

FIELDS = ["name", "value", "unit", "peer", "peer_value", "limit", "bound", "ok"]


def test_a_json_line_has_exactly_the_settled_fields():
    line = json.loads(Figure("import.total_kb", 58.5, "kB", bound=60).line())
    assert list(line) == FIELDS
    assert line["value"] == 58.5 and line["bound"] == 60 and line["ok"] is True and line["peer"] is None


@pytest.mark.parametrize(("value", "bound", "ok"), [(60, 60, True), (60.1, 60, False), (1e9, None, True)])
def test_a_bound_is_kept_up_to_its_value(value, bound, ok):
    assert Figure("x", value, "kB", bound=bound).ok is ok


class Suite:
    """Takes the place of a suite that measures."""

    def __init__(self, *figures):
        self.figures = figures

    def run(self, say):
        say("measuring")
        for figure in self.figures:
            yield base.Report([figure])


@pytest.fixture
def called(monkeypatch, tmp_path):
    """Return a function that calls `meshems bench` with a suite of these figures."""

    def call(*figures, arguments=("base",)):
        monkeypatch.setattr(bench.importlib, "import_module", lambda name: Suite(*figures))
        return CliRunner().invoke(bench.bench, [*arguments, "--json", str(tmp_path / "out")]), tmp_path / "out"

    return call


def test_the_exit_status_is_1_when_a_bound_is_missed(called):
    kept, missed = Figure("a.kb", 1, "kB", bound=2), Figure("b.kb", 3, "kB", bound=2)
    assert called(kept)[0].exit_code == 0
    result, file = called(kept, missed)
    assert result.exit_code == 1
    assert [json.loads(line)["ok"] for line in file.read_text().splitlines()] == [True, False]
    assert "a.kb" in result.output and "missed" in result.output


def test_without_a_name_every_suite_runs(called):
    result, file = called(Figure("a.kb", 1, "kB"), arguments=())
    assert result.exit_code == 0
    assert len(file.read_text().splitlines()) == len(bench.SUITES)


def test_a_suite_that_does_not_exist_is_refused_by_name(called):
    result, file = called(arguments=("base", "buss"))
    assert result.exit_code == 2
    assert "buss: no such suite" in result.output and "base" in result.output
    assert not file.exists()


def test_what_cannot_be_measured_is_one_line_and_status_1_and_the_rest_is_told(monkeypatch, tmp_path):
    class Broken:
        @staticmethod
        def run(say):
            yield base.Report([Figure("a.kb", 1, "kB")])
            raise rig.BenchError("no such program")

    monkeypatch.setattr(bench.importlib, "import_module", lambda name: Broken)
    result = CliRunner().invoke(bench.bench, ["base", "--json", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "meshems: no such program" in result.output and "Traceback" not in result.output
    assert json.loads((tmp_path / "out").read_text())["name"] == "a.kb"


def test_the_eight_meters_are_four_models_two_of_the_meters_with_three_phases():
    profiles = [json.loads((rig.paths.PROFILES / f"{name}.json").read_text()) for name in heap.PROFILES]
    assert len(profiles) == 8
    assert len({profile["id"] for profile in profiles}) == 4
    assert sum(profile["ph"] == 3 for profile in profiles) == 2


def test_every_configuration_of_the_benchmarks_is_one_that_the_firmware_accepts(tmp_path):
    from meshems.run import check

    twelve = [heap.PROFILES[i % len(heap.PROFILES)] for i in range(loop.METERS)]
    for i, conf in enumerate([
        rig.config(rig.meters([boot.PROFILE]), 1883, 1),
        rig.config(rig.meters(heap.PROFILES), 1883, heap.EVERY_S, alone=False),
        rig.config(rig.meters(twelve, buses=2, silent=loop.SILENT), 1883, loop.EVERY_S, alone=False),
    ]):  # fmt: skip
        file = tmp_path / f"{i}.json"
        file.write_text(json.dumps(conf))
        assert check(file) == []


def test_a_package_counts_with_the_parts_that_it_imports_itself():
    order = ["lib", "lib.mqtt.packet", "lib.mqtt", "lib.proto", "lib.proto.modbus.rtu", "lib.proto.modbus", "lib.x"]
    whole = [imports._whole(name, order) for name in order]
    assert whole == ["lib", "lib.mqtt", "lib.mqtt", "lib.proto", "lib.proto.modbus", "lib.proto.modbus", "lib.x"]


def telemetry(ordinal, serial="SN-1", epoch=7):
    return "x/telemetry", json.dumps({"seq": epoch * 2**32 + ordinal, "meterSerial": serial}).encode()


def test_a_backlog_is_complete_when_each_record_and_a_fresh_reading_of_each_meter_came():
    arrivals = heap.Arrivals(epoch=7)
    for ordinal in range(heap.RECORDS):
        arrivals.take(*telemetry(ordinal))
    for i in range(len(heap.PROFILES)):
        assert not arrivals.complete
        arrivals.take(*telemetry(heap.RECORDS + i, f"SN-{i}"))
    assert arrivals.complete


def test_a_record_of_another_epoch_or_one_that_came_twice_does_not_count():
    arrivals = heap.Arrivals(epoch=7)
    arrivals.take(*telemetry(0))
    arrivals.take(*telemetry(0))
    arrivals.take(*telemetry(1, epoch=8))
    assert arrivals.backlog == {0}


def test_the_broker_is_cut_twice_while_the_backlog_drains():
    arrivals = heap.Arrivals(epoch=7)
    cuts = [ordinal + 1 for ordinal in range(heap.RECORDS) if arrivals.take(*telemetry(ordinal))]
    assert cuts == list(heap.CUTS)


class Search(heap.Bench):
    """The search, over a gateway that needs a known heap; `moods` tells which tries with just enough fail anyway."""

    def __init__(self, need, moods=()):
        self.need, self.moods, self.asked = need, list(moods), []
        self.tries = [heap.Try(0, 0, "why")]

    def attempt(self, heap_kb):
        self.asked.append(heap_kb)
        if heap_kb == self.need and self.moods:
            return self.moods.pop(0)
        return heap_kb >= self.need


@pytest.mark.parametrize("need", [64, 66, 100, 158, 254, 256])
def test_the_search_finds_the_smallest_heap_to_its_grain(need):
    assert Search(need).smallest() == need


def test_a_heap_that_passes_once_and_then_fails_is_not_enough():
    assert Search(100, moods=[True, False]).smallest() == 102


def test_a_gateway_that_fails_with_every_heap_has_no_figure():
    with pytest.raises(rig.BenchError, match="256 kB"):
        Search(10_000).smallest()


@pytest.mark.parametrize("line", [
    "3.190 E uplink operator: died: MemoryError('memory allocation failed, allocating 2513 bytes',)",
    "0.100 W uplink: memory allocation failed",
    "0.100 E config: gateway.json: found too much for the memory, allowed a smaller one",
    "Traceback (most recent call last):",
])  # fmt: skip
def test_a_log_that_tells_of_an_error_fails_a_try(line):
    assert heap.BAD.search(line)
    assert not heap.BAD.search("0.259 I uplink: operator: connected")
    assert not heap.BAD.search("2.062 W clock: 127.0.0.1: no answer")


def connect(port):
    client = socket.create_connection((HOST, port), timeout=5)
    client.sendall(b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x3c\x00\x00")
    assert client.recv(4) == b"\x20\x02\x00\x00"
    return client


def publication(pid, topic=b"a/b", payload=b"x" * 200):
    body = len(topic).to_bytes(2, "big") + topic + pid.to_bytes(2, "big") + payload
    return bytes([0x32, len(body) & 127 | 128, len(body) >> 7]) + body


def test_the_broker_takes_a_publication_before_it_acknowledges_it():
    came = []
    with Broker(lambda topic, payload: came.append((topic, payload))) as broker, connect(broker.port) as client:
        packet = publication(7) + publication(8)
        client.sendall(packet[:100])  # packets come in pieces
        client.sendall(packet[100:])
        answer = b""
        while len(answer) < 8:
            answer += client.recv(8)
        assert answer == b"\x40\x02\x00\x07\x40\x02\x00\x08"
        assert came == [("a/b", b"x" * 200)] * 2
        client.sendall(b"\xc0\x00")
        assert client.recv(2) == b"\xd0\x00"


def test_a_cut_resets_the_connection_without_an_acknowledgement_and_then_takes_a_new_one():
    came, cut = [], threading.Event()

    def take(topic, payload):
        came.append(topic)
        if not cut.is_set():
            cut.set()
            broker.cut(0.05)

    with Broker(take) as broker:
        with connect(broker.port) as client:
            client.sendall(publication(1))
            with pytest.raises(ConnectionResetError):
                client.recv(4)
        while True:
            try:
                again = connect(broker.port)
                break
            except ConnectionRefusedError:
                continue
        with again:
            again.sendall(publication(1))
            assert again.recv(4) == b"\x40\x02\x00\x01"
    assert came == ["a/b", "a/b"]


def test_the_rig_compiles_every_module_and_removes_all_of_it():
    with rig.Rig() as bench_rig:
        sources = {file.relative_to(rig.paths.FIRMWARE).with_suffix("") for file in rig.paths.FIRMWARE.rglob("*.py")}
        compiled = {file.relative_to(bench_rig.firmware).with_suffix("") for file in bench_rig.firmware.rglob("*.mpy")}
        assert compiled == sources
        assert (bench_rig.firmware / "profiles" / "eastron-sdm120.json").exists()
        assert not list(bench_rig.root.rglob("*.py"))
        root: Path = bench_rig.root
    assert not root.exists()
