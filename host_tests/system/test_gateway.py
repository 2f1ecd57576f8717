"""The whole gateway between others' meters and others' broker: pymodbus, mosquitto, paho; jsonschema is the judge."""

import json
import random
import struct
import time
from decimal import Decimal

import jsonschema
import pytest

from lib import schema
from meshems import decode, paths
from meshems.journal import Image
from meshems.judge import Message, Meter, Promise, Store, judge
from meshems.run import Gateway, install
from meshems.sim.line import Line, Settings
from meshems.sim.spec import station
from mosquitto import Broker
from pole import cut
from pymodbus_station import PymodbusStation
from subscriber import Subscriber

SCHEMAS = paths.ROOT / "docs/northbound"
DERIVED = {"1.7.0": 1, "2.7.0": -1}


def profile(name):
    return json.loads((paths.PROFILES / f"{name}.json").read_text())


def configure(folder, port, meters, every=1):
    """Write gateway.json for `meters`, [(serial, address, profile)], on one bus; return its path."""
    config = {
        "feederId": "feeder-01", "gatewayId": "pole-1", "board": "desktop",
        "buses": [{"uart": 1, "baud": 19200}],
        "meters": [{"serial": s, "bus": 0, "address": a, "profile": p, "every": every} for s, a, p in meters],
        "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": port}],
        "clock": {"ntp": []},
    }  # fmt: skip
    path = folder / "gateway.json"
    path.write_text(json.dumps(config))
    return path


def valid(messages):
    """Validate every message against the published schemas."""
    kinds = ("telemetry", "event", "status", "gateway")
    schemas = {kind: json.loads((SCHEMAS / f"{kind}.schema.json").read_text()) for kind in kinds}
    for topic, payload in messages:
        kind = "gateway" if topic.endswith("/gateway/telemetry") else topic.rsplit("/", 1)[1]
        jsonschema.Draft202012Validator(schemas[kind]).validate(json.loads(payload))


@pytest.fixture
def broker(tmp_path):
    with Broker(tmp_path / "broker") as running:
        yield running


def random_words(rng, rows, count):
    """Registers of one block in which every value is one that a meter may show; floats with digits to round."""
    words = [0] * count
    for _obis, _block, offset, kind, *_ in rows:
        low = kind.endswith("w")
        base = kind.rstrip("w")
        size = int(base[1:])
        if base[0] == "f":
            value = rng.choice([rng.uniform(-1e5, 1e5), rng.uniform(-2, 2), rng.randrange(1 << 20) / 2048])
            data = struct.pack(">f", value)
        else:
            digits = rng.randrange(1, 40 if size == 64 else size)
            value = rng.getrandbits(digits) * (rng.choice((1, -1)) if base[0] == "s" else 1)
            value = max(value, -(1 << size - 1)) if base[0] == "s" else value
            data = (value % (1 << size)).to_bytes(size // 8, "big")
        part = [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]
        words[offset : offset + len(part)] = part[::-1] if low else part
    return words


def test_every_register_equals_the_slaves_by_the_rule_of_decimal(tmp_path, broker):
    rng = random.Random(11)
    names = ("eastron-sdm630", "schneider-iem3155", "hiking-dds238-2", "gavazzi-em24")
    units, meters, wanted = {}, [], {}
    for address, name in enumerate(names, 1):
        rules = profile(name)
        registers = {}  # blocks may overlap
        for index, (function, at, count, _) in enumerate(rules["blk"]):
            words = random_words(rng, [row for row in rules["q"] if row[1] == index], count)
            registers.update({(function, at + offset): word for offset, word in enumerate(words)})
        blocks = {
            (function, at): [registers[function, at + offset] for offset in range(count)]
            for function, at, count, _ in rules["blk"]
        }
        units[address] = {key: [word] for key, word in registers.items()}
        meters.append((f"SN-{address}", address, name))
        wanted[f"SN-{address}"] = decode.decode(rules, blocks)
    source = configure(tmp_path, broker.port, meters, every=2)
    state = tmp_path / "state"
    install(source, state)
    with Subscriber(broker.port) as subscriber, PymodbusStation(units) as slaves:
        with Line(tmp_path / "line", Settings(19200, "8N1"), slaves, lambda _: None) as line:
            gateway = Gateway(state, {1: str(line.link)})
            gateway.start()
            assert subscriber.wait(lambda: len(subscriber.bodies("telemetry")) >= 8, 20), list(gateway.lines)
            assert gateway.stop() == 0
        assert subscriber.wait(lambda: subscriber.bodies("status")[-1:] == [{"state": "offline"}], 5)
    valid(subscriber.messages)
    texts = {}
    for topic, payload in subscriber.messages:
        if topic.endswith("telemetry"):
            body = json.loads(payload, parse_float=Decimal, parse_int=Decimal)
            registers = {row["obis"]: (row["value"], row["unit"]) for row in body["registers"]}
            assert len(registers) == len(body["registers"]), "a register twice"
            texts.setdefault(body["meterSerial"], registers)
    assert set(texts) == set(wanted)
    for serial, registers in texts.items():
        derived = {}
        if "16.7.0" in wanted[serial]:
            power, unit = wanted[serial]["16.7.0"]
            derived = {code: (max(sign * power, Decimal(0)), unit) for code, sign in DERIVED.items()}
        expected = {**derived, **{obis: value for obis, value in wanted[serial].items() if value}}
        status = registers.pop("96.5.0")
        assert status == (0, "bitfield")
        assert registers == expected, serial


SPEC = {
    "seed": 3,
    "units": [
        {"serial": "SN-1", "address": 1, "profile": "eastron-sdm120"},
        {"serial": "SN-2", "address": 2, "profile": "peacefair-pzem016"},
        {"serial": "SN-3", "address": 3, "profile": "chint-ddsu666"},
        {"serial": "SN-4", "address": 4, "profile": "hiking-dds238-2"},
    ],
}


class Village:
    """Four simulated meters on one line, one gateway, one broker, one subscriber."""

    def __init__(self, folder, broker, faults=(), every=1, clock_set=True, watch=True):
        self.log = []
        self._clock_set = clock_set
        self.meters = [(unit["serial"], unit["address"], unit["profile"]) for unit in SPEC["units"]]
        self.state = folder / "state"
        self.source = configure(folder, broker.port, self.meters, every)
        spec = json.loads(json.dumps({**SPEC, "turnaround_ms": 5, "jitter_ms": 2, "faults": list(faults)}))
        rules = json.loads((paths.SCHEMAS / "sim.json").read_text())
        assert schema.problems(rules, spec) == []
        schema.fill(rules, spec)
        units = station(spec, paths.PROFILES)
        self.line = Line(folder / "line", Settings(19200, "8N1"), units, self.log.append)
        self.subscriber = Subscriber(broker.port) if watch else None

    def __enter__(self):
        install(self.source, self.state)
        if not self._clock_set:
            (self.state / "flash/rtc.json").unlink()
        self.line.__enter__()
        self.gateway = Gateway(self.state, {1: str(self.line.link)})
        self.gateway.start()
        return self

    def __exit__(self, *_):
        self.gateway.kill()
        self.line.stop()
        self.line.__exit__(None, None, None)
        if self.subscriber:
            self.subscriber.__exit__()

    def image(self):
        return Image((self.state / "flash/journal.bin").read_bytes())

    def epoch(self):
        return json.loads((self.state / "flash/nvs.json").read_text())["gw"]["epoch"]

    def drain(self, seconds=30):
        """Let the meters fall silent, wait until all that is stored has arrived, and stop the gateway."""
        self.line.silent = True
        time.sleep(3)

        def drained():
            base = self.epoch() << 32
            return set(self.subscriber.seqs()) >= {base + i for i in range(self.image().next)}

        for _ in range(5):  # a silent meter makes records too: some may be stored while the gateway is stopped
            assert self.subscriber.wait(drained, seconds), (list(self.gateway.lines)[-20:], self.image().next)
            assert self.gateway.stop() == 0
            if drained():
                return
            self.gateway.start()
        raise AssertionError("each stop left something unsent")

    def verdict(self, seconds=0):
        image = self.image()
        store = Store("pole-1", self.epoch(), image.first, image.next, image.next)
        return judge(
            [Meter(serial, profile(name), "pole-1") for serial, _, name in self.meters],
            self.log,
            [Message(topic, payload) for topic, payload in self.subscriber.messages],
            [store],
            decode.decode,
            Promise(seconds=seconds, every=1),
        )


def test_power_cuts_lose_nothing_committed_and_invent_nothing(tmp_path, broker):
    rng = random.Random(4)
    with Village(tmp_path, broker) as village:
        for _ in range(6):
            time.sleep(rng.uniform(1.0, 3.5))
            cut(village.gateway)
        time.sleep(4)
        village.drain()
        verdict = village.verdict()
        base = village.epoch() << 32
        assert sorted({seq - base for seq in village.subscriber.seqs()}) == list(range(village.image().next))
        assert (verdict.lost, verdict.wrong) == (0, 0), verdict.problems
        valid(village.subscriber.messages)
        assert village.image().next > 40


def test_a_broker_that_refuses_and_vanishes_costs_no_record(tmp_path, broker):
    with Village(tmp_path, broker) as village:
        time.sleep(3)
        broker.kill()
        time.sleep(4)
        broker.start()
        time.sleep(3)
        broker.stop()
        time.sleep(4)
        broker.start()
        village.drain(60)
        verdict = village.verdict()
        assert (verdict.lost, verdict.wrong) == (0, 0), verdict.problems
        late = [body["late"] for body in village.subscriber.bodies("telemetry")]
        assert True in late and False in late


def test_bad_meters_are_counted_and_the_others_read_on_time(tmp_path, broker):
    faults = [
        {"kind": "crc", "serial": "SN-1"},
        {"kind": "wrong_unit", "serial": "SN-2"},
        {"kind": "silent", "serial": "SN-3"},
    ]
    with Village(tmp_path, broker, faults, every=4) as village:
        subscriber = village.subscriber

        def lost():
            return {body["meterSerial"] for body in subscriber.bodies("event") if body["event"]["code"] == "comms_lost"}

        assert subscriber.wait(lambda: len(lost()) == 3, 40), list(village.gateway.lines)
        village.drain()
        telemetry = subscriber.bodies("telemetry")
        assert lost() == {"SN-1", "SN-2", "SN-3"}
        for body in telemetry:
            if body["meterSerial"] != "SN-4":
                assert [row["obis"] for row in body["registers"]] == ["96.5.0"]
                assert body["registers"][0]["quality"] == "comms_lost"
        good = [body for body in telemetry if body["meterSerial"] == "SN-4" and len(body["registers"]) > 1]
        assert len(good) >= 2
        verdict = village.verdict()
        assert (verdict.lost, verdict.wrong) == (0, 0), verdict.problems
        valid(subscriber.messages)


def test_random_bytes_in_the_journal_partition_mount_as_empty(tmp_path, broker):
    flash = tmp_path / "state/flash"
    flash.mkdir(parents=True)
    (flash / "journal.bin").write_bytes(random.Random(9).randbytes(1 << 20))
    with Village(tmp_path, broker) as village:
        time.sleep(3)
        village.drain()
        verdict = village.verdict()
        assert (verdict.lost, verdict.wrong) == (0, 0), verdict.problems
        assert not [line for line in village.gateway.lines if "Traceback" in line or "died" in line]


def test_a_boot_loop_stores_nothing_until_it_is_over(tmp_path, broker):
    with Village(tmp_path, broker, watch=False) as village:
        for _ in range(3):
            time.sleep(2.5)
            village.gateway.kill()
            village.gateway.start()
        before = (village.state / "flash/journal.bin").read_bytes()
        stored = village.image().next
        time.sleep(4)
        assert stored > 3 and (village.state / "flash/journal.bin").read_bytes() == before
        assert [line for line in village.gateway.lines if "boot loop" in line]
        assert village.gateway.stop() == 0
        assert village.image().next > stored, "who ends in good order stores what it has"
        village.gateway.start()
        time.sleep(3)
        assert len([line for line in village.gateway.lines if "nothing is stored" in line]) == 1


def test_a_power_cut_shows_as_offline_by_the_last_will(tmp_path, broker):
    with Village(tmp_path, broker) as village:
        subscriber = village.subscriber
        assert subscriber.wait(lambda: subscriber.bodies("status"), 10)
        village.gateway.kill()
        assert subscriber.wait(lambda: subscriber.bodies("status")[-1] == {"state": "offline"}, 10)


def test_a_refused_configuration_leaves_the_last_good_one_in_force(tmp_path, broker):
    with Village(tmp_path, broker) as village:
        subscriber = village.subscriber
        assert subscriber.wait(lambda: subscriber.bodies("telemetry"), 10)
        village.gateway.stop()
        before = len(subscriber.bodies("telemetry"))
        broken = json.loads((village.state / "gateway.json").read_text())
        broken["meters"][0]["profile"] = "no-such-meter"
        broken["meters"][1]["every"] = 1.5
        (village.state / "gateway.json").write_text(json.dumps(broken))
        village.gateway.start()
        assert subscriber.wait(lambda: len(subscriber.bodies("telemetry")) > before + 4, 15)
        online = [body for body in subscriber.bodies("status") if body["state"] == "online"]
        assert online[-1]["configProblems"] == 2
        said = "\n".join(village.gateway.lines)
        assert "meters[0].profile" in said and "meters[1].every" in said


def test_a_gateway_without_time_sends_no_reading_and_says_so(tmp_path, broker):
    with Village(tmp_path, broker, clock_set=False) as village:
        subscriber = village.subscriber
        assert subscriber.wait(lambda: subscriber.bodies("status"), 10)
        assert subscriber.bodies("status")[-1]["clock"] == "lost"
        assert subscriber.wait(lambda: village.image().next > 5, 10)
        assert subscriber.bodies("telemetry") == []
