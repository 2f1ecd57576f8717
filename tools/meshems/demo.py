"""The demo: simulated meters on paced lines, gateways of the real firmware, a broker, and a subscriber that counts.

    run_demo(Plan.of(gateways=2, meters=12, seconds=60, faults=["dead:SN-3@20-40"], kills=["pole-1@30"]))

The lines and the broker are processes of their own, and so is each gateway. At the end the meters fall silent first,
the gateways send what they have stored, and the judge compares what was on the wire, in flash and at the subscriber.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshems import decode, journal, paths
from meshems.broker import HOST, Broker
from meshems.judge import Message, Meter, Promise, Store, Verdict, judge
from meshems.run import Gateway, RunError, die_with_parent, install, stopped_by_signals
from meshems.sim.faults import KINDS
from meshems.sim.line import Settings
from meshems.view import Depth, Row, View

EVERY_S = 5
LINE = Settings(9600, "8N1")
UART = 1
FEEDER = "feeder-01"
OUTLET = "operator"
CURSOR = 1  # the first outlet's number in the journal
PROFILES = (  # every third one has three phases
    "eastron-sdm120", "chint-ddsu666", "eastron-sdm630", "hiking-dds238-2", "peacefair-pzem016", "chint-dtsu666",
    "orno-we514", "gavazzi-em111", "acrel-dtsd1352",
)  # fmt: skip
TURNAROUND_MS, JITTER_MS = 20, 5
LINE_SHARE = 0.8  # of the cadence that a line's polls may take
BACK_S = 15.0  # after which what was killed comes back
READY_S = 10.0
COMMIT_S = 3.0  # a reading is committed 2 s after it was made
DRAIN_S, MESH_DRAIN_S = 20.0, 90.0
SPAN_M = 220  # from a pole to the next: what is twice as far away is hardly heard
AIR_LOSS = 5  # percent of all frames
LOOK_S = 1.0  # between two looks into the flash images
TICK_S = 0.1
COMPLAINTS = 5  # of each gateway, told when the verdict is not good


class PlanError(ValueError):
    """What is wrong with the options, in one line."""


@dataclass(frozen=True)
class Place:
    """A simulated meter: its number in the table, and where it hangs; `settings` where they are not its line's."""

    number: int
    serial: str
    profile: str
    gateway: str
    address: int
    bus: int = 0
    settings: Settings | None = None


@dataclass(frozen=True)
class Wire:
    """A line of a gateway, and the name of its files."""

    name: str
    gateway: str
    bus: int
    uart: int
    settings: Settings


@dataclass(frozen=True)
class Trouble:
    """A fault of one meter, in seconds after the start."""

    kind: str
    serial: str
    start_s: int
    end_s: int


@dataclass
class Plan:
    """What the demo will do."""

    gateways: list[str]
    places: list[Place]
    seconds: float | None = None
    troubles: list[Trouble] = field(default_factory=list)
    kills: list[tuple[str, float]] = field(default_factory=list)
    every: int = EVERY_S
    wires: list[Wire] = field(default_factory=list)
    configs: dict[str, dict[str, Any]] = field(default_factory=dict)  # of a site's gateways, without their outlets
    mesh: dict[str, dict[str, Any]] = field(default_factory=dict)  # each member: its id, and whether it is a root

    @classmethod
    def of(
        cls, gateways: int, meters: int, seconds: float | None, faults: Sequence[str] = (), kills: Sequence[str] = (),
        mesh: bool = False,
    ) -> "Plan":  # fmt: skip
        """Return the plan for the options of the command line; PlanError names the option and what is allowed."""
        if mesh and gateways < 2:
            raise PlanError("a mesh has at least 2 gateways")
        if meters < gateways:
            raise PlanError(f"{meters} meters for {gateways} gateways: at least one each")
        names = [f"pole-{i + 1}" for i in range(gateways)]
        places = []
        for i in range(meters):
            gateway = i * gateways // meters
            first = -(-gateway * meters // gateways)
            places.append(Place(i + 1, f"SN-{i + 1}", PROFILES[i % len(PROFILES)], names[gateway], i - first + 1))
        plan = cls(names, places, seconds, wires=[Wire(name, name, 0, UART, LINE) for name in names])
        if mesh:
            plan.mesh = {name: {"id": i + 1, "root": not i} for i, name in enumerate(names)}
        busy = plan.busy_s()
        if busy > LINE_SHARE * EVERY_S:
            raise PlanError(
                f"the {meters // gateways} meters of a line need {busy:.1f} s at {LINE.baud} baud, "
                f"and are read every {EVERY_S} s: use more --gateways"
            )
        return plan.with_events(faults, kills)

    def with_events(self, faults: Sequence[str], kills: Sequence[str]) -> "Plan":
        """Return the plan with these options' faults and power cuts; PlanError as `of`."""
        self.troubles = [self._trouble(text) for text in faults]
        self.kills = sorted((self._kill(text) for text in kills), key=lambda kill: kill[1])
        return self

    def on(self, wire: Wire) -> list[Place]:
        """Return the meters of a line."""
        return [place for place in self.places if (place.gateway, place.bus) == (wire.gateway, wire.bus)]

    def busy_s(self) -> float:
        """Return how long one poll of all its meters takes the line that has most to do."""
        return max(
            sum(_poll_s(place.profile, place.settings or wire.settings) for place in self.on(wire))
            for wire in self.wires
        )  # fmt: skip

    def _trouble(self, text: str) -> Trouble:
        match = re.fullmatch(r"([a-z_]+):([A-Za-z0-9._-]+)@(\d+)-(\d+)", text)
        kinds = {"dead": "silent", **{kind: kind for kind in KINDS if kind != "echo"}}
        if not match or match[1] not in kinds or int(match[3]) >= int(match[4]):
            raise PlanError(
                f"--fault {text}: write KIND:SERIAL@FROM-TO, as in dead:SN-3@20-40; KIND is {', '.join(kinds)}"
            )
        for place in self.places:
            if match[2] in (place.serial, str(place.number)):
                return Trouble(kinds[match[1]], place.serial, int(match[3]), int(match[4]))
        raise PlanError(
            f"--fault {text}: no meter {match[2]}; there are {self.places[0].serial} to {self.places[-1].serial}"
        )

    def _kill(self, text: str) -> tuple[str, float]:
        match = re.fullmatch(r"([A-Za-z0-9._-]+)@(\d+)", text)
        if not match or match[1] not in self.gateways:
            raise PlanError(
                f"--kill {text}: write GATEWAY@SECOND, as in pole-1@30; there are {', '.join(self.gateways)}"
            )
        return match[1], float(match[2])

    def excused(self, seconds: float) -> list[tuple[str, float]]:
        """Return the spans (serial, seconds) in which a meter owes nothing: its faults and its gateway's power cuts.

        Each is longer by one period: what comes back is due at the next one.
        """
        spans = [(t.serial, float(t.start_s), float(t.end_s)) for t in self.troubles]
        for name, at in self.kills:
            spans += [(place.serial, at, at + BACK_S) for place in self.places if place.gateway == name]
        excused = []
        covered: dict[str, float] = {}
        for serial, start, end in sorted(spans, key=lambda span: span[1]):
            start = max(start, covered.get(serial, 0.0))
            end = min(end + self.every, seconds)
            if end > start:
                excused.append((serial, end - start))
                covered[serial] = end
        return excused


def _poll_s(profile: str, line: Settings) -> float:
    """Return how long one poll of a meter takes on the line: 13 + 2n characters for a block of n, turnaround, rest."""
    blocks = _profile(profile)["blk"]
    wait = (TURNAROUND_MS + JITTER_MS) / 1000 + 2 * line.gap_s
    return float(sum(((13 + 2 * count) * line.char_s + wait) / (every or [1])[0] for _, _, count, *every in blocks))


def _profile(name: str) -> dict[str, Any]:
    profile = json.loads((paths.PROFILES / f"{name}.json").read_text())
    assert isinstance(profile, dict)
    return profile


class Subscriber:
    """An independent MQTT client that keeps every message, in the order of its arrival."""

    def __init__(self, port: int):
        from paho.mqtt import client as mqtt
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[Message] = []
        ready = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="meshems-demo")
        self._client.on_connect = lambda client, *_: client.subscribe("openami/v1/#", qos=1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _, __, got: self.messages.append(Message(got.topic, bytes(got.payload)))
        self._client.connect(HOST, port)
        self._client.loop_start()
        if not ready.wait(READY_S):
            self.stop()
            raise RunError(f"the subscriber gets no answer from the broker on port {port}")

    def stop(self) -> None:
        """Close the connection."""
        self._client.disconnect()
        self._client.loop_stop()


class Fleet:
    """Everything that runs during a demo. Made by `started`, which also ends and removes it all."""

    def __init__(self, plan: Plan, root: Path, port: int):
        self.plan = plan
        self.root = root
        self.gateways: dict[str, Gateway] = {}
        self.lines: dict[str, subprocess.Popen[str]] = {}
        for name in plan.gateways:
            (root / name).mkdir()
            (root / name / "gateway.json").write_text(json.dumps(self._config(name, port)))
            if plan.mesh:
                self._join(name, port)
        for wire in plan.wires:
            (root / f"{wire.name}.spec").write_text(json.dumps(self._spec(wire)))

    def _config(self, name: str, port: int) -> dict[str, Any]:
        meters = [
            {"serial": p.serial, "bus": 0, "address": p.address, "profile": p.profile, "every": EVERY_S}
            for p in self.plan.places
            if p.gateway == name
        ]
        uplink = {"name": OUTLET, "kind": "mqtt", "host": HOST, "port": port, "format": "openami"}
        member = self.plan.mesh.get(name)
        return {
            "feederId": FEEDER,
            "gatewayId": name,
            "board": "desktop",
            "buses": [{"uart": UART, "baud": LINE.baud, "format": LINE.format}],
            "meters": meters,
            "uplinks": [] if member and not member["root"] else [uplink],
            "clock": {"ntp": []},
            **({"mesh": member} if member else {}),
            **self.plan.configs.get(name, {}),
        }

    def _join(self, name: str, port: int) -> None:
        """Give a gateway its keys and its place on the air: two rows of poles along the feeder."""
        paths.share_firmware()
        from lib.mesh import keys

        number, member = self.plan.gateways.index(name), self.plan.mesh[name]
        secret = bytes(range(32))
        if not member["root"]:
            node = keys.node(secret, member["id"])
            kept = {"site": keys.site(secret), "net": keys.net(secret).hex(), "node": node.hex()}
        else:
            kept = {"secret": secret.hex()}
        (self.root / name / "secrets.json").write_text(json.dumps({"mesh": kept}))
        air = {"port": port, "x": number // 2 * SPAN_M, "y": number % 2 * SPAN_M, "loss": AIR_LOSS}
        (self.root / name / "air.json").write_text(json.dumps(air))

    def _spec(self, wire: Wire) -> dict[str, Any]:
        places = self.plan.on(wire)
        serials = {place.serial for place in places}
        own = {p.serial: {"baud": p.settings.baud, "format": p.settings.format} for p in places if p.settings}
        return {
            "seed": 1 + self.plan.wires.index(wire),
            "turnaround_ms": TURNAROUND_MS,
            "jitter_ms": JITTER_MS,
            "units": [
                {
                    "serial": p.serial,
                    "address": p.address,
                    "profile": p.profile,
                    "load_w": 180 + 37 * p.number % 400,
                    "start_wh": 1_000_000 + 123_457 * p.number % 8_000_000,
                    **own.get(p.serial, {}),
                }
                for p in places
            ],
            "faults": [
                {"kind": t.kind, "serial": t.serial, "from": t.start_s, "to": t.end_s}
                for t in self.plan.troubles
                if t.serial in serials
            ],
        }

    def start(self) -> None:
        """Start the lines and, once they are there, the gateways."""
        for wire in self.plan.wires:
            command = [
                sys.executable, "-m", "meshems.cli", "sim-meters", "--pty", str(self.root / f"{wire.name}.tty"),
                "--baud", str(wire.settings.baud), "--format", wire.settings.format,
                "--spec", str(self.root / f"{wire.name}.spec"), "--log", str(self.root / f"{wire.name}.log"),
            ]  # fmt: skip
            self.lines[wire.name] = subprocess.Popen(
                command, env=dict(os.environ, PYTHONPATH=str(paths.ROOT / "tools")), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=die_with_parent,
            )  # fmt: skip
        for name, line in self.lines.items():
            assert line.stdout
            if not line.stdout.readline():
                raise RunError(f"the line of {name} did not start")
        for name in self.plan.gateways:
            state = self.root / name
            install(state / "gateway.json", state)
            wires = [wire for wire in self.plan.wires if wire.gateway == name]
            uarts = {wire.uart: str(self.root / f"{wire.name}.tty") for wire in wires}
            self.gateways[name] = Gateway(state, uarts)
            self.gateways[name].start()

    def unplug(self) -> None:
        """Take the meters out of every gateway's configuration: a silent one would go on making records."""
        for name in self.plan.gateways:
            file = self.root / name / "gateway.json"
            file.write_text(json.dumps({**json.loads(file.read_text()), "meters": []}))

    def hush(self) -> None:
        """Let every meter fall silent; the terminals stay."""
        for line in self.lines.values():
            line.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """End every process that is still there."""
        for gateway in self.gateways.values():
            gateway.kill()
        for line in self.lines.values():
            line.terminate()
        for line in self.lines.values():
            try:
                line.wait(5)
            except subprocess.TimeoutExpired:
                line.kill()
                line.wait()
            if line.stdout:
                line.stdout.close()

    def log(self) -> list[dict[str, Any]]:
        """Return what the lines wrote down."""
        return [json.loads(text) for wire in self.plan.wires for text in (self.root / f"{wire.name}.log").open()]

    def complaints(self) -> list[str]:
        """Return the last warnings and errors of each gateway's own log."""
        said = []
        for name, gateway in self.gateways.items():
            lines = [line for line in gateway.lines if re.match(r"\d+\.\d+ [WE] |[^\d]", line)]
            said += [f"{name}: {line}" for line in lines[-COMPLAINTS:]]
        return said

    def store(self, name: str) -> Store:
        """Return what is in a gateway's flash now."""
        flash = self.root / name / "flash"
        try:
            image = journal.Image((flash / "journal.bin").read_bytes())
            epoch = json.loads((flash / "nvs.json").read_text())["gw"]["epoch"]
        except (FileNotFoundError, KeyError):
            return Store(name, 0, 0, 0, 0)  # it has not begun
        return Store(name, epoch, image.first, image.next, image.cursors.get(CURSOR, image.first))


@contextlib.contextmanager
def started(plan: Plan) -> Iterator[tuple[Fleet, Subscriber]]:
    """Start broker, subscriber, lines and gateways; whatever happens, end them and remove their files."""
    with contextlib.ExitStack() as stack:
        root = Path(tempfile.mkdtemp(prefix="meshems-demo-"))
        stack.callback(shutil.rmtree, root, ignore_errors=True)
        broker = stack.enter_context(Broker())
        subscriber = Subscriber(broker.port)
        stack.callback(subscriber.stop)
        fleet = Fleet(plan, root, broker.port)
        stack.callback(fleet.stop)
        fleet.start()
        yield fleet, subscriber


class Signals:
    """How often Ctrl-C or SIGTERM came: the first ends the measuring, the second the waiting."""

    def __init__(self) -> None:
        self.count = 0

    def take(self) -> None:
        """Take one."""
        self.count += 1


class Show:
    """The run itself, from the first poll to the verdict."""

    def __init__(self, fleet: Fleet, subscriber: Subscriber, view: View, signals: "Signals"):
        self.fleet = fleet
        self.subscriber = subscriber
        self.view = view
        self._signals = signals
        self._seen = 0
        self._looked = 0.0
        self._down: dict[str, float] = {}  # gateway: when it comes back
        self._kills = list(fleet.plan.kills)

    def _look(self) -> None:
        """Show what arrived, and from time to time what is stored."""
        messages = self.subscriber.messages
        while self._seen < len(messages):
            self.view.take(messages[self._seen])
            self._seen += 1
        if time.monotonic() - self._looked >= LOOK_S:
            self._looked = time.monotonic()
            for name in self.fleet.gateways:
                store = self.fleet.store(name)
                depth = Depth(store.next - store.first, max(0, store.next - store.acked), name not in self._down)
                self.view.depths[name] = depth
            self.view.show()

    def measure(self) -> float:
        """Let it run for the planned time or until a signal; return for how many seconds."""
        began = time.monotonic()
        while not self._signals.count:
            now = time.monotonic() - began
            if self.fleet.plan.seconds is not None and now >= self.fleet.plan.seconds:
                break
            while self._kills and now >= self._kills[0][1]:
                name, at = self._kills.pop(0)
                self.fleet.gateways[name].kill()
                self._down[name] = at + BACK_S
            for name, gateway in self.fleet.gateways.items():
                if name not in self._down:
                    if not gateway.tick():
                        raise RunError(f"{name} ended by itself: {' | '.join(list(gateway.lines)[-3:])}")
                elif now >= self._down[name]:
                    del self._down[name]
                    gateway.start()
            self._look()
            time.sleep(TICK_S)
        return time.monotonic() - began

    def _received(self, name: str) -> set[int]:
        mark = f"/{name}/"
        found = set()
        for message in list(self.subscriber.messages):
            if mark in message.topic:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    found.add(json.loads(message.payload)["seq"] & 0xFFFFFFFF)
        return found

    def _behind(self, names: Sequence[str]) -> list[str]:
        """Return which of the gateways have records that were not received yet, or by mesh not acknowledged."""
        behind = []
        for name in names:
            store = self.fleet.store(name)
            waits = bool(self.fleet.plan.mesh) and store.acked < store.next
            if waits or not set(range(store.first, store.next)) <= self._received(name):
                behind.append(name)
        return behind

    def _wait_drained(self, names: Sequence[str], least_s: float) -> None:
        began = time.monotonic()
        limit_s = MESH_DRAIN_S if self.fleet.plan.mesh else DRAIN_S
        while self._signals.count < 2 and time.monotonic() - began < limit_s:
            for name in names:
                self.fleet.gateways[name].tick()
            self._look()
            if time.monotonic() - began >= least_s and not self._behind(names):
                return
            time.sleep(TICK_S)

    def drain(self) -> None:
        """Silence the meters, let the gateways send what they stored, and stop them in good order.

        What a gateway commits while it stops is sent when it starts again: so it is started once more for that.
        """
        self.fleet.hush()
        self._down.clear()
        names = list(self.fleet.gateways)
        for least_s in (COMMIT_S, 0.0):
            for name in names:
                if self.fleet.gateways[name].pid is None:
                    self.fleet.gateways[name].start()
            self._wait_drained(names, least_s)
            for name in names:
                self.fleet.gateways[name].ask()
            for name in names:
                self.fleet.gateways[name].stop()
            behind = self._behind(names)
            if not behind:
                break
            if self.fleet.plan.mesh:  # those on the way are needed too
                self.fleet.unplug()
            else:
                names = behind
        self._looked = 0.0
        self._look()

    def verdict(self, seconds: float) -> Verdict:
        """Judge the run; every process has stopped."""
        plan = self.fleet.plan
        profiles = {place.profile: _profile(place.profile) for place in plan.places}
        return judge(
            [Meter(place.serial, profiles[place.profile], place.gateway) for place in plan.places],
            self.fleet.log(),
            self.subscriber.messages,
            [self.fleet.store(name) for name in plan.gateways],
            decode.decode,
            Promise(seconds, plan.every, plan.excused(seconds)),
        )


def run_demo(plan: Plan, picture: Path | None = None, command: str = "") -> int:
    """Run the demo and print its verdict; return the exit status. `command` is what the picture shows above it."""
    old_s = 2 * plan.every + 2
    rows = [Row(p.number, p.serial, p.profile, p.gateway, {}, old_s=old_s) for p in plan.places]
    view, signals = View(rows), Signals()
    with stopped_by_signals(signals.take), started(plan) as (fleet, subscriber):
        show = Show(fleet, subscriber, view, signals)
        with view:
            seconds = show.measure()
            show.drain()
        verdict = show.verdict(seconds)
        complaints = fleet.complaints()
    if picture:
        command = command or f"meshems demo --gateways {len(plan.gateways)} --meters {len(plan.places)}"
        view.picture(picture, command, verdict.line())
    if not verdict.ok:
        for line in complaints:
            view.say(line)
        view.say(verdict.why())
    view.say(verdict.line())
    return 0 if verdict.ok else 1
