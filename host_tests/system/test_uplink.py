"""The gateway's outlets against others' brokers: TLS with a pinned authority, several outlets, filters, turns."""

import json
import subprocess

import pytest

from certs import Authority
from mosquitto import Broker
from subscriber import Subscriber
from test_gateway import Village, valid

RESTART_S = 30


class Tls:
    """A mosquitto that speaks TLS to gateways, and plainly to the subscriber on `plain`."""

    def __init__(self, folder, authority, user=None, password=None):
        self._folder = folder
        folder.mkdir(parents=True)
        self.renew(authority)
        with Broker(folder / "probe") as probe:
            self.plain = probe.port
        lines = [f"certfile {folder / 'server.pem'}", f"keyfile {folder / 'server.key'}"]
        plain = [f"listener {self.plain} 127.0.0.1"]
        if user:  # for both: settings of one listener alone are not settled between versions of mosquitto
            subprocess.run(["mosquitto_passwd", "-b", "-c", folder / "passwd", user, password], check=True)
            lines += ["allow_anonymous false", f"password_file {folder / 'passwd'}"]
        self.broker = Broker(folder / "broker", *lines, *plain)

    def renew(self, authority, name="IP:127.0.0.1", **dates):
        """Get another certificate; the broker has it after its next start."""
        authority.issue(self._folder / "server", name, **dates)

    def restart(self):
        self.broker.stop()
        self.broker.start()


def village(folder, outlets, authority=None, more=None, secrets=None, **options):
    """A Village with these outlets."""
    made = Village(folder, Port(outlets[0]["port"]), watch=False, **options)
    config = json.loads(made.source.read_text())
    config["uplinks"] = [{"kind": "mqtt", "host": "127.0.0.1", **outlet} for outlet in outlets]
    config.update(more or {})
    made.source.write_text(json.dumps(config))
    if secrets:
        made.source.with_name("secrets.json").write_text(json.dumps({"uplinks": secrets}))
    if authority:
        made.source.with_name("ca.der").write_bytes(authority.der.read_bytes())
    return made


class Port:
    """What stands for a broker where only its port matters."""

    def __init__(self, port):
        self.port = port


def refusals(subscriber):
    """Return the reasons of the events uplink_refused."""
    events = [body["event"] for body in subscriber.bodies("event")]
    return [event["detail"]["reason"] for event in events if event["code"] == "uplink_refused"]


def codes(subscriber):
    return [body["event"]["code"] for body in subscriber.bodies("event")]


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "authority")


def test_tls_checks_authority_name_and_dates_and_recovers_when_they_are_right(tmp_path, authority):
    other = Authority(tmp_path / "other")
    served = Tls(tmp_path / "tls", other)
    wrong = [
        ("not correctly signed by the trusted CA", other, "IP:127.0.0.1", {}),
        ("does not match with the expected CN", authority, "DNS:broker.example.org", {}),
        ("has expired", authority, "IP:127.0.0.1", {"begin_days": -9, "end_days": -1}),
        ("starts in the future", authority, "IP:127.0.0.1", {"begin_days": 3}),
    ]
    outlets = [
        {"name": "operator", "port": served.broker.port, "tls": {"ca": "ca.der"}},
    ]
    with Broker(tmp_path / "second") as second, served.broker:
        outlets.append({"name": "second", "port": second.port})
        place = village(tmp_path, outlets, authority)
        with Subscriber(second.port) as watcher, Subscriber(served.plain) as subscriber, place:
            for reason, signer, name, dates in wrong:
                served.renew(signer, name, **dates)
                served.restart()
                seen = len(refusals(watcher))
                assert watcher.wait(
                    lambda: any(reason in text for text in refusals(watcher)[seen:]), RESTART_S  # noqa: B023
                ), (reason, list(place.gateway.lines)[-20:])
                assert not [body for topic, body in subscriber.messages if "telemetry" in topic]
                place.gateway.kill()  # its back-off has grown
                place.gateway.start()
            served.renew(authority)
            served.restart()
            assert subscriber.wait(lambda: len(subscriber.bodies("telemetry")) > 8, RESTART_S)
            assert watcher.wait(lambda: "uplink_restored" in codes(watcher), 5)
            assert [line for line in place.gateway.lines if "refused: The certificate" in line]
            valid(watcher.messages)
            valid(subscriber.messages)


def test_user_and_password_go_over_tls_and_a_wrong_one_is_an_event(tmp_path, authority):
    served = Tls(tmp_path / "tls", authority, "pole-1", "right")
    outlets = [{"name": "operator", "port": served.broker.port, "tls": {"ca": "ca.der"}}]
    with Broker(tmp_path / "second") as second, served.broker:
        outlets.append({"name": "second", "port": second.port})
        secrets = {"operator": {"username": "pole-1", "password": "wrong"}}
        place = village(tmp_path, outlets, authority, secrets=secrets)
        with Subscriber(second.port) as watcher, place:
            assert watcher.wait(lambda: refusals(watcher) == ["not authorised"], RESTART_S), list(place.gateway.lines)
            place.gateway.stop()
            secrets["operator"]["password"] = "right"
            (place.state / "secrets.json").write_text(json.dumps({"uplinks": secrets}))
            place.gateway.start()
            assert watcher.wait(lambda: [line for line in place.gateway.lines if "operator: connected" in line], 10)
            valid(watcher.messages)


def test_a_file_that_is_no_certificate_keeps_the_outlet_off_and_the_others_on(tmp_path, authority):
    with Broker(tmp_path / "second") as second:
        outlets = [{"name": "operator", "port": 1, "tls": {"ca": "ca.der"}}, {"name": "second", "port": second.port}]
        place = village(tmp_path, outlets, authority)
        place.source.with_name("ca.der").write_bytes(b"-----BEGIN CERTIFICATE-----")
        with Subscriber(second.port) as watcher, place:
            assert watcher.wait(lambda: len(watcher.bodies("telemetry")) > 4, RESTART_S)
            assert [body["configProblems"] for body in watcher.bodies("status") if body["state"] == "online"] == [1]
            assert [line for line in place.gateway.lines if "uplinks[0].tls.ca" in line]
