"""The suite `uplink`: rate and bytes over a long way, half-open connections, steps, chaos, the heap with TLS."""

import importlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from meshems import paths
from meshems.benches import heap, peer, rig
from meshems.benches.base import Report
from meshems.benches.broker import Broker
from meshems.benches.figures import Figure
from meshems.benches.uplink_certs import Authority
from meshems.benches.uplink_proxy import Proxy
from meshems.benches.uplink_tls import Terminator

UMQTT, UMQTT_VERSION = "micropython-umqtt.simple", "1.3.4"
UMQTT_SHA256 = "b6a2520239e3992c63a7de9370ee9b3d9d27819a90359c521f1c0f7ccab8d12f"
ONE_WAY_S = 0.3
WINDOW, SIZE = 16, 200
MESSAGES, PEER_MESSAGES = 400, 20
SEND_BUFFER = 5744  # bytes: what the IDF gives a socket
RECORDS = {"live": 240, "catchup": 2400}  # readings
ROUND = 30  # meters
PROFILE = "eastron-sdm120"
STEPS = 1200  # readings
CHAOS_S = 150
HEAP_TLS_KB = 144
DRAIN_S = 90.0


def run(say: Callable[[str], None]) -> Iterator[Report]:
    """Measure one thing after the other; the half-open connections wait meanwhile. BenchError when one cannot run."""
    with rig.Rig() as bench:
        waiting = _HalfOpen(bench)
        say(f"uplink: {MESSAGES} messages of {SIZE} bytes at {2 * ONE_WAY_S:g} s round trip, and umqtt.simple's")
        yield Report([_rate(bench)])
        say("uplink: readings live and in catch-up, over TLS")
        yield from _readings(bench, say)
        say("uplink: waiting for the half-open connections to be found")
        yield Report(waiting.figures())
    with rig.Rig() as bench:
        say("uplink: longest steps over TLS")
        yield _steps(bench)
    say(f"uplink: {CHAOS_S} s of faults")
    yield _chaos(say)
    with rig.Rig() as bench:
        say("uplink: heap with TLS")
        yield _heap(bench, say)


def _rate(bench: rig.Rig) -> Figure:
    """Return messages a second of ours and of umqtt.simple, side by side."""
    folder = peer.fetch(UMQTT, UMQTT_VERSION, UMQTT_SHA256, "umqtt", paths.ROOT / ".venv/peers" / UMQTT)
    state = bench.state("rate", rig.config(rig.meters([PROFILE]), 1, 60))
    with Broker(lambda topic, payload: None) as broker, Proxy(broker.port, ONE_WAY_S) as way:
        ours = bench.script(state, "uplink_publish.py", str(way.port), str(MESSAGES), str(SIZE), "rate")
        theirs = bench.script(state, "uplink_umqtt.py", str(way.port), str(PEER_MESSAGES), str(SIZE), str(folder))
        rates = [1000 * n / one.result(90)["ms"] for n, one in ((MESSAGES, ours), (PEER_MESSAGES, theirs))]
    limit = WINDOW / (2 * ONE_WAY_S)
    return Figure(
        "uplink.msgs_per_s_rtt600", round(rates[0], 2), "1/s", f"umqtt.simple {UMQTT_VERSION}", round(rates[1], 2),
        limit=round(limit, 2), bound=0.95, at_least=True, of_limit=True,
    )  # fmt: skip


class _Hearing:
    """Counts the readings that arrive, in JSON or binary."""

    def __init__(self) -> None:
        from meshems.catchup import Reader

        self.seqs: set[int] = set()
        self.binary: set[int] = set()
        self.times: list[float] = []
        self._reader = Reader()
        self._lock = threading.Lock()

    def take(self, topic: str, payload: bytes) -> None:
        with self._lock:
            told = {record.seq for record in self._reader.hear(topic, payload)}
            self.binary |= told
            self.seqs |= told
            if topic.endswith("/telemetry") and "/meter/" in topic:
                self.seqs.add(json.loads(payload)["seq"])
            self.times.append(time.monotonic())


def _secured(bench: rig.Rig, name: str) -> tuple[Authority, Path]:
    authority = Authority(bench.root / f"ca-{name}")
    authority.issue(bench.root / name, "IP:127.0.0.1")
    return authority, bench.root / name


def _backlog(
    bench: rig.Rig, name: str, conf: dict[str, Any], authority: Authority, records: int, back_s: int
) -> Path:
    """Return a state directory with so many readings, the last one `back_s` ago."""
    state = bench.state(name, conf)
    (state / "ca.der").write_bytes(authority.der.read_bytes())
    clock = state / "flash" / "rtc.json"
    kept = clock.read_text()
    clock.write_text(json.dumps({"offset_us": -(records // len(conf["meters"]) * 60 + back_s) * 1_000_000}))
    bench.script(state, "backlog.py", str(records), heap_kb=2048).result(60)
    clock.write_text(kept)
    return state


def _readings(bench: rig.Rig, say: Callable[[str], None]) -> Iterator[Report]:
    """Measure how fast, and in how many bytes upwards, readings of 30 meters go out over TLS."""
    authority, server = _secured(bench, "server")
    placed = rig.meters([PROFILE] * ROUND)
    found = {}
    for kind, back_s in (("live", 0), ("catchup", 400_000)):
        hearing, records = _Hearing(), RECORDS[kind]
        with Broker(hearing.take) as broker, Terminator(
            broker.port, server.with_suffix(".pem"), server.with_suffix(".key")
        ) as tls, Proxy(tls.port, ONE_WAY_S, SEND_BUFFER) as way:
            conf = rig.config(placed, way.port, 86400)
            conf["uplinks"][0].update(tls={"ca": "ca.der"}, catchup="binary" if kind == "catchup" else "json")
            state = _backlog(bench, kind, conf, authority, records, back_s)
            process = bench.gateway(state, 2048)
            began = time.monotonic()
            while len(hearing.seqs) < records:
                if time.monotonic() - began > DRAIN_S or not process.running:
                    raise rig.BenchError(f"{kind}: {len(hearing.seqs)} of {records} readings came: {process.tail()}")
                time.sleep(0.05)
            process.kill()
            seconds = hearing.times[-1] - hearing.times[0]
            found[kind] = records / seconds, way.up / records
            if kind == "catchup" and len(hearing.binary) < records:
                raise rig.BenchError("the catch-up was not in binary")
        say(f"uplink: {kind} {found[kind][0]:.1f} readings/s, {found[kind][1]:.1f} bytes each")
    yield Report(
        [
            Figure("uplink.readings_per_s_rtt600_live", round(found["live"][0], 1), "1/s"),
            Figure("uplink.readings_per_s_rtt600_catchup", round(found["catchup"][0], 1), "1/s"),
            Figure("uplink.bytes_per_reading_live", round(found["live"][1], 1), "B"),
            Figure("uplink.bytes_per_reading_catchup", round(found["catchup"][1], 1), "B", bound=40),
        ]
    )


class _HalfOpen:
    """Two clients whose way becomes a black hole, one that sends and one that is idle; waited for at the end."""

    BOUNDS = {"busy": 30.5, "idle": 60.5}

    def __init__(self, bench: rig.Rig):
        self._seconds: dict[str, float] = {}
        state = bench.state("halfopen", rig.config(rig.meters([PROFILE]), 1, 60))
        self._threads = [threading.Thread(target=self._one, args=(bench, state, mode)) for mode in self.BOUNDS]
        for thread in self._threads:
            thread.start()

    def _one(self, bench: rig.Rig, state: Path, mode: str) -> None:
        with Broker(lambda topic, payload: None) as broker, Proxy(broker.port) as way:
            process = bench.script(state, "uplink_publish.py", str(way.port), "0", str(SIZE), mode)
            while "up" not in process.lines and process.running:
                time.sleep(0.01)
            time.sleep(3.3 if mode == "busy" else 0.5)
            way.hole = True
            self._seconds[mode] = process.result(100)["ms"] / 1000

    def figures(self) -> list[Figure]:
        for thread in self._threads:
            thread.join()
        return [
            Figure(f"uplink.halfopen_{mode}_s", round(self._seconds[mode], 1), "s", bound=bound)
            for mode, bound in self.BOUNDS.items()
        ]


def _steps(bench: rig.Rig) -> Report:
    """Measure the longest step of each task of a gateway that delivers over TLS, those of the handshake apart."""
    authority, server = _secured(bench, "server")
    hearing = _Hearing()
    placed = rig.meters(heap.PROFILES)
    bench.line(0, placed)
    with Broker(hearing.take) as broker, Terminator(
        broker.port, server.with_suffix(".pem"), server.with_suffix(".key")
    ) as tls:
        conf = rig.config(placed, tls.port, 5)
        conf["uplinks"][0]["tls"] = {"ca": "ca.der"}
        state = _backlog(bench, "steps", conf, authority, STEPS, 0)
        said = bench.script(state, "loop.py", "25", heap_kb=512).result(60)
    if len(hearing.seqs) < STEPS:
        raise rig.BenchError(f"only {len(hearing.seqs)} readings came")
    shown = Table("task", "steps", "longest ms", title="Steps over TLS", title_justify="left")
    longest = {"tls": 0, "other": 0}
    for task, count, us, _cpu in said["tasks"]:
        shown.add_row(task, str(count), f"{us / 1000:.1f}")
        named = task.split(" ")[0] in ("uplink", "link", "bus", "recorder", "health", "clock", "ticker")
        kind = "other" if named else "tls"  # the tasks of one connection, which no supervisor named
        if task != "ticker":
            longest[kind] = max(longest[kind], us)
    return Report(
        [
            Figure("uplink.step_cpu_ms", round(longest["other"] / 1000, 1), "ms", bound=20),
            Figure("uplink.tls_step_cpu_ms", round(longest["tls"] / 1000, 1), "ms"),
        ],
        [shown],
    )


def _chaos(say: Callable[[str], None]) -> Report:
    """Run the faults of the system tests."""
    folder = str(paths.ROOT / "host_tests" / "system")
    sys.path.insert(0, folder)
    try:
        chaos = importlib.import_module("chaos")
        with tempfile.TemporaryDirectory(prefix="meshems-chaos-") as place, chaos.Chaos(Path(place), 3) as running:
            result = running.run(CHAOS_S, say)
    except (ImportError, RuntimeError) as error:
        raise rig.BenchError(f"the chaos run needs what the tests need: {error}") from None
    finally:
        sys.path.remove(folder)
    shown = Table("fault", "times", "in flight", title=f"{result.stored} records stored", title_justify="left")
    for kind in sorted(result.fired):
        shown.add_row(kind, str(result.fired[kind]), str(result.flight[kind]))
    for problem in result.problems:
        say(problem)
    connections = sum(result.connections.values())
    return Report(
        [
            Figure("uplink.lost", sum(result.lost.values()) + len(result.problems), "", bound=0),
            Figure("uplink.duplicates_per_reconnect", round(sum(result.duplicates.values()) / connections, 1), ""),
        ],
        [shown],
    )


class _TlsBench(heap.Bench):
    """The bench of the suite `base`, with TLS on the way, which takes longer."""

    try_s = 3 * heap.TRY_S

    def __init__(self, bench: rig.Rig, say: Callable[[str], None]):
        self._authority, self._server = _secured(bench, "server")
        super().__init__(bench, say)

    def _prepare(self, conf: dict[str, Any]) -> Path:
        self.tls = Terminator(self.broker.port, self._server.with_suffix(".pem"), self._server.with_suffix(".key"))
        conf["uplinks"][0].update(port=self.tls.port, tls={"ca": "ca.der"})
        state = super()._prepare(conf)
        (state / "ca.der").write_bytes(self._authority.der.read_bytes())
        return state


def _heap(bench: rig.Rig, say: Callable[[str], None]) -> Report:
    ready = _TlsBench(bench, say)
    with ready.broker, ready.tls:
        smallest = ready.smallest()
        live = ready.live()
    need = heap.Heap(smallest, heap.standins(bench, ready.names), live, ready.tries, 1.0)
    return Report([Figure("heap.8_meters_tls_kb", need.value_kb, "kB", bound=HEAP_TLS_KB)], [*need.tables()])
