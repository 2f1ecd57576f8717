"""gateway/report: one message that says how the gateway is, and gives no secret away."""
import json

from fake_nor import Nor
from gateway import clock, log, parsed, report
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from gateway.records import Names
from gateway.uplink import FIRST_REPORT_MS
from lib import proto
from lib.journal import Journal

T0 = 1782138600000


class Any:
    def __init__(self, **members):
        for name in members:
            setattr(self, name, members[name])


class Clock:
    source = clock.NTP

    def now(self):
        return None if self.source == clock.NONE else (T0, 12)

    def at(self, uptime):
        return self.now()


def gateway():
    journal = Journal(Nor(32))
    journal.mount()
    now = Clock()
    counts = [0] * 9
    counts[proto.OK], counts[proto.FRAME] = 7, 2
    asked = Any(serial="SN-1", polls=9, misses=0, session=Any(counts=counts))
    never = Any(serial="SN-2", polls=0, misses=0, session=None)
    outlets = [
        Any(name=name, acked=3, network=None, client=Any(state=state, stats=stats))
        for name, state, stats in (
            ("operator", "connected", {"connects": 2}),
            ("owner", "refused: not authorised", {"connects": 2, "dates": 3, "authority": 1}),
        )
    ]
    recorder = Recorder(journal, 12, now)
    recorder.reading(1000, 1, 1, [5])
    recorder.commit()
    health = Any(lives=[Any(name="recorder", deaths=0), Any(name="bus 0", deaths=1)])
    buses = [Any(meters=[asked, never])]
    made = Any(clock=now, journal=journal, recorder=recorder, buses=buses, outlets=outlets, health=health)
    made.report_ms = 900000
    outlets[0].gateway, outlets[0].report_at = made, FIRST_REPORT_MS
    outlets[0].northbound = Northbound("feeder-01", "pole-07", Names(["SN-1"], {1: "\n1.8.0 kWh -3"}), {}, 0, 1)
    return made


def said(made, secrets=None):
    parsed.kept = lambda: (0x5F0C31AA, {} if secrets is None else secrets)
    topic, payload = report.message(made.outlets[0])
    assert topic == "openami/v1/feeder-01/pole-07/gateway/telemetry"
    return json.loads(bytes(payload).decode())


def test_it_counts_what_happened():
    body = said(gateway())
    assert (body["boot"], body["config"], body["clock"]) == (12, "5f0c31aa", "ntp")
    assert body["gatewayId"] == body["meterSerial"] == "pole-07"
    assert (body["ts"], body["tsUncMs"]) == ("2026-06-22T14:30:00.000Z", 12)
    assert body["journal"]["records"] == 1 and body["journal"]["ring"] == 24 and body["journal"]["blocks"] == 1
    assert body["tasks"] == [{"name": "recorder", "deaths": 0}, {"name": "bus 0", "deaths": 1}]
    assert body["meters"][0]["answers"] == {"ok": 7, "frame": 2} and body["meters"][1]["answers"] == {}
    assert body["outlets"][0]["refused"] == {}
    assert body["outlets"][1] == {
        "name": "owner", "state": "refused: not authorised", "connects": 2, "acked": 3,
        "refused": {"authority": 1, "dates": 3},
    }  # fmt: skip
    assert body["heap"]["used"] > 0 and body["heap"]["systemLargest"] > 0


def test_the_way_to_the_net_and_its_signal_are_told_where_one_is_configured():
    import network

    made = gateway()
    assert "network" not in said(made)
    made.outlets[0].network = way = Any(via="ethernet")
    assert said(made)["network"] == {"via": "ethernet"}
    way.via = "wifi"
    assert said(made)["network"] == {"via": "wifi"}, "not connected at this moment"
    network.WLAN.status = lambda self, what: -61
    assert said(made)["network"] == {"via": "wifi", "rssi": -61}


def test_without_the_time_it_has_none():
    made = gateway()
    made.clock.source = clock.NONE
    assert "ts" not in said(made) and "tsUncMs" not in said(made)


def test_the_log_of_the_last_reset_comes_once_and_without_secrets():
    log.memory(b"")
    log.error("uplink", "tried hunter2 and a long one")
    log.info("uplink", "nobody keeps this")
    secrets = {"uplinks": {"operator": {"username": "me", "password": "hunter2"}}, "wifi": {"password": "a long one"}}
    made = gateway()
    body = said(made, secrets)
    assert len(body["log"]) == 1 and body["log"][0].endswith("E uplink: tried *** and ***")
    assert 899000 < made.outlets[0].report_at - clock.uptime_ms() <= 900000
    assert "log" not in said(made, secrets)


def test_without_knowing_the_secrets_no_log_leaves():
    parsed.kept = lambda: (0, None)
    assert b'"log"' not in bytes(report.message(gateway().outlets[0])[1])


def test_of_a_secret_within_another_nothing_stays():
    assert report.scrubbed(b"x password1 y\n", {"a": "pass", "b": "password1"}) == ["x *** y"]
    assert report.scrubbed(b"x 51234 0a0a\n", {"mesh": {"site": 51234, "net": "0a0a"}}) == ["x 51234 ***"]
    assert report.scrubbed(b"half a line", {}) == [] and report.scrubbed(b"\xff\nok\n", {}) == ["ok"]


def test_the_kept_log_is_bounded_and_holds_whole_lines():
    log.memory(b"")
    for i in range(100):
        log.warn("area", "line %d" % i)
    kept = log.memory()
    assert len(kept) <= 512 and kept.endswith(b"line 99\n")
    assert all(b" W area: line " in line for line in kept.split(b"\n")[:-1])
