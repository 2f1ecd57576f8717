"""What billing stands on, from a meter's registers to the broker: events of the checks, views, and intervals."""

import json
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest

from meshems import paths
from meshems.run import Gateway, install
from meshems.sim.line import Line, Settings
from meshems.sim.slave import Unit, Units
from mosquitto import Broker
from subscriber import Subscriber
from test_gateway import valid

PROFILE = json.loads((paths.PROFILES / "eastron-sdm120.json").read_text())


class Meter:
    """The load behind the meter: what a test puts into `shows`."""

    def __init__(self, **shows):
        self.shows = shows
        self.step = None  # or a function of unix ms, W

    def advance(self, unix_ms):
        if self.step:
            self.shows["16.7.0"] = self.step(unix_ms)

    def value(self, obis):
        return self.shows[obis]


def meter():
    shows = {row[0]: Fraction(0) for row in PROFILE["q"]}
    return Meter(**shows | {"1.8.0": Fraction("500.25"), "16.7.0": Fraction(700), "32.7.0": Fraction(230)})


class Pole:
    """One gateway of what ships, one such meter, one broker."""

    def __init__(self, folder, shipped, monkeypatch, house, more):
        monkeypatch.setenv("MESHEMS_FIRMWARE", str(shipped))
        self.broker = Broker(folder / "broker")
        self.broker.__enter__()
        config = {
            "feederId": "feeder-01", "gatewayId": "pole-1", "board": "desktop",
            "buses": [{"uart": 1, "baud": 19200}],
            "meters": [{"serial": "SN-1", "bus": 0, "address": 1, "profile": "eastron-sdm120", "every": 1}],
            "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": self.broker.port}],
            "clock": {"ntp": []}, **more,
        }  # fmt: skip
        (folder / "gateway.json").write_text(json.dumps(config))
        install(folder / "gateway.json", folder / "state")
        self.subscriber = Subscriber(self.broker.port)
        self.unit = Unit("SN-1", 1, PROFILE, house, 5, device="11223344")
        station = Units([self.unit])
        self.line = Line(folder / "line", Settings(19200, "8N1"), station, lambda _: None)
        self.line.__enter__()
        self.gateway = Gateway(folder / "state", {1: str(self.line.link)})
        self.gateway.start()

    def close(self):
        self.gateway.kill()
        self.line.stop()
        self.line.__exit__(None, None, None)
        self.subscriber.__exit__()
        self.broker.__exit__(None, None, None)

    def readings(self):
        return [body for body in self.subscriber.bodies("telemetry") if len(body["registers"]) > 1]

    def until(self, condition, seconds=20):
        assert self.subscriber.wait(condition, seconds), list(self.gateway.lines)[-20:]


@pytest.fixture
def pole(tmp_path, shipped, monkeypatch):
    """Return a function that makes a Pole."""
    made = []

    def make(house, **more):
        made.append(Pole(tmp_path, shipped, monkeypatch, house, more))
        return made[0]

    yield make
    for one in made:
        one.close()


def quality(body):
    return {row["obis"]: row["quality"] for row in body["registers"]}


def values(body):
    return {row["obis"]: row["value"] for row in body["registers"]}


def test_a_rollback_and_a_replaced_meter_arrive_as_events_and_alter_no_value(pole):
    house = meter()
    made = pole(house, checks={})
    subscriber = made.subscriber
    made.until(lambda: len(made.readings()) >= 2)
    assert values(made.readings()[0])["0.0.96.1.1.255"] == "11223344"
    house.shows["1.8.0"] = Fraction(3)

    def events(code):
        return [body["event"] for body in subscriber.bodies("event") if body["event"]["code"] == code]

    made.until(lambda: events("counter_rollback") and len(made.readings()) >= 6)
    detail = {"obis": "1.8.0", "value": "3", "before": "500.25"}
    assert events("counter_rollback") == [
        {"code": "counter_rollback", "severity": "alarm", "state": "once", "detail": detail}
    ]
    fell = [body for body in made.readings() if values(body)["1.8.0"] == 3]
    assert {obis for obis, how in quality(fell[0]).items() if how != "good"} == {"1.8.0"}
    assert values(fell[0])["96.5.0"] == 2
    assert all(set(quality(body).values()) == {"good"} for body in fell[1:])
    assert events("meter_replaced") == []

    made.line.silent = True
    made.until(lambda: events("comms_lost"), 40)
    made.unit.device = "99887766"
    house.shows["1.8.0"] = Fraction(1)
    made.line.silent = False
    made.until(lambda: events("meter_replaced"), 80)
    detail = {"device": "99887766", "before": "11223344"}
    assert events("meter_replaced") == [
        {"code": "meter_replaced", "severity": "alarm", "state": "once", "detail": detail}
    ]
    valid(subscriber.messages)
    assert not [line for line in made.gateway.lines if "Traceback" in line or "died" in line]


def test_views_and_intervals_are_messages_of_their_own(pole):
    house = meter()
    house.step = lambda unix_ms: unix_ms // 1000 % 977 - 400
    views = [{"points": ["1.8.0", "16.7.0"]}, {"every": 5}]
    made = pole(house, views=views, intervals={"every": 10})

    def spans():
        return [body for body in made.subscriber.bodies("telemetry") if "interval" in body]

    made.until(lambda: len([body for body in spans() if body["interval"] == 10 and "16.5.0" in values(body)]) >= 2, 45)
    valid(made.subscriber.messages)
    plain = [body for body in made.readings() if "interval" not in body]
    fast = [body for body in plain if "1.8.0" in values(body)]
    slow = [body for body in plain if "32.7.0" in values(body)]
    assert len(fast) + len(slow) == len(plain)
    assert {frozenset(values(body)) for body in fast} == {frozenset(["1.8.0", "16.7.0", "1.7.0", "2.7.0", "96.5.0"])}
    rest = {row[0] for row in PROFILE["q"]} - {"1.8.0", "16.7.0"}
    assert {frozenset(values(body)) for body in slow} == {frozenset(rest | {"96.5.0"})}
    assert 3 * len(slow) < len(fast)
    whole = [body for body in spans() if body["interval"] == 10 and "16.5.0" in values(body)]
    for body in whole:
        assert body["ts"].endswith("0.000Z"), body["ts"]
        end = instant(body["ts"])
        powers = [Decimal(str(values(one)["16.7.0"])) for one in fast if end - 10 <= instant(one["ts"]) < end]
        assert 8 <= len(powers) <= 11
        mean = (sum(powers) / len(powers)).quantize(Decimal("0.001"), ROUND_HALF_EVEN)
        told = {obis: Decimal(str(value)) for obis, value in values(body).items() if obis != "96.5.0"}
        assert told == {"16.3.0": min(powers), "16.5.0": mean, "16.6.0": max(powers)}


def instant(ts):
    """Return seconds of the day of a ts with milliseconds."""
    hour, minute, second = ts[11:-1].split(":")
    return (int(hour) * 60 + int(minute)) * 60 + Decimal(second)
