"""The gateway's outlets against others' brokers: TLS with a pinned authority, several outlets, filters, turns."""

import json
import subprocess
from decimal import Decimal

import pytest
from click.testing import CliRunner

from meshems.benches.uplink_certs import Authority
from meshems.catchup import Reader
from meshems.cli import main
from meshems.judge import instant_us
from mosquitto import Broker
from pole import Pole, cut
from subscriber import Subscriber
from test_gateway import valid

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
        with Subscriber(second.port) as watcher, Subscriber(served.plain) as subscriber, Pole(
            tmp_path, outlets, 40, authority=authority
        ) as pole:
            for reason, signer, name, dates in wrong:
                seen = len(refusals(watcher))
                served.renew(signer, name, **dates)
                served.restart()
                cut(pole.gateway)  # its back-off has grown
                assert watcher.wait(
                    lambda: any(reason in text for text in refusals(watcher)[seen:]), RESTART_S  # noqa: B023
                ), (reason, list(pole.gateway.lines)[-20:])
                assert not [body for topic, body in subscriber.messages if "telemetry" in topic]
            served.renew(authority)
            served.restart()
            assert subscriber.wait(lambda: len(subscriber.bodies("telemetry")) >= 40, RESTART_S)
            assert watcher.wait(lambda: "uplink_restored" in codes(watcher), 5)
            assert pole.said("refused: The certificate")
            valid(watcher.messages)
            valid(subscriber.messages)


def test_user_and_password_go_over_tls_and_a_wrong_one_is_an_event(tmp_path, authority):
    served = Tls(tmp_path / "tls", authority, "pole-1", "right")
    outlets = [{"name": "operator", "port": served.broker.port, "tls": {"ca": "ca.der"}}]
    with Broker(tmp_path / "second") as second, served.broker:
        outlets.append({"name": "second", "port": second.port})
        secrets = {"operator": {"username": "pole-1", "password": "wrong"}}
        pole = Pole(tmp_path, outlets, authority=authority, secrets=secrets)
        with Subscriber(second.port) as watcher, pole:
            assert watcher.wait(lambda: refusals(watcher) == ["not authorised"], RESTART_S), list(pole.gateway.lines)
            pole.gateway.stop()
            secrets["operator"]["password"] = "right"
            (pole.state / "secrets.json").write_text(json.dumps({"uplinks": secrets}))
            pole.gateway.start()
            assert watcher.wait(lambda: pole.said("operator: connected"), 10)
            valid(watcher.messages)


def test_a_file_that_is_no_certificate_keeps_the_outlet_off_and_the_others_on(tmp_path, authority):
    with Broker(tmp_path / "second") as second:
        outlets = [{"name": "operator", "port": 1, "tls": {"ca": "ca.der"}}, {"name": "second", "port": second.port}]
        pole = Pole(tmp_path, outlets, 8, authority=authority)
        (pole.state / "ca.der").write_bytes(b"-----BEGIN CERTIFICATE-----")
        with Subscriber(second.port) as watcher, pole:
            assert watcher.wait(lambda: len(watcher.bodies("telemetry")) >= 8, RESTART_S)
            assert [body["configProblems"] for body in watcher.bodies("status") if body["state"] == "online"] == [1]
            assert pole.said("uplinks[0].tls.ca")


def registers(body):
    return {row["obis"]: (Decimal(str(row["value"])), row["unit"]) for row in body["registers"]}


def test_an_outlet_with_a_filter_gets_its_part_and_the_seq_before_each(tmp_path):
    with Broker(tmp_path / "all") as everything, Broker(tmp_path / "part") as part:
        rules = {"meters": ["SN-1", "SN-3"], "registers": ["1.8.", "32.7.0"], "kinds": ["telemetry"]}
        outlets = [
            {"name": "all", "port": everything.port},
            {"name": "part", "port": part.port, "filter": rules},
        ]
        with Subscriber(everything.port) as first, Subscriber(part.port) as second:
            with Pole(tmp_path, outlets, 200) as pole:
                assert second.wait(lambda: len(second.bodies("telemetry")) >= 40, 20)
                part.kill()  # what was on the way comes again
                part.start()
                pole.gateway.kill()
                pole.gateway.start()
                assert second.wait(lambda: len(set(second.seqs())) >= 100, 30)
                assert first.wait(lambda: len(set(first.seqs())) >= 200, 30)
                assert pole.gateway.stop() == 0
            valid(second.messages)
        full = {body["seq"]: body for body in first.bodies("telemetry")}
        wanted = [seq for seq in sorted(full) if full[seq]["meterSerial"] in rules["meters"]]
        got = {}
        for body in second.bodies("telemetry"):
            got.setdefault(body["seq"], body)
            before = wanted.index(body["seq"]) - 1
            assert body.get("seqPrev") == (wanted[before] if before >= 0 else None)
        assert sorted(got) == wanted and not second.bodies("event")
        for seq, body in got.items():
            codes = {"1.8.0", "32.7.0", "96.5.0"}
            assert registers(body) == {obis: row for obis, row in registers(full[seq]).items() if obis in codes}


def test_the_binary_catch_up_says_what_json_says_in_a_fraction_of_the_bytes(tmp_path):
    with Broker(tmp_path / "json") as plain, Broker(tmp_path / "binary") as dense:
        outlets = [
            {"name": "plain", "port": plain.port},
            {"name": "dense", "port": dense.port, "catchup": "binary"},
        ]
        pole = Pole(tmp_path, outlets, 800, back_s=100_000)
        with Subscriber(plain.port) as first, Subscriber(dense.port) as second, pole:
            assert first.wait(lambda: len(set(first.seqs())) >= 800, 40)
            assert second.wait(lambda: len(caught_up(second)[0]) >= 800, 20)
            dense.kill()
            dense.start()
            assert second.wait(lambda: {*caught_up(second)[0], *json_seqs(second)} >= set(first.seqs()), 20)
            assert pole.gateway.stop() == 0
            listening = ["catchup", "--broker", f"127.0.0.1:{dense.port}", "--seconds", "1", "--json"]
            names = CliRunner().invoke(main, listening)  # what is retained
            assert (names.exit_code, names.stdout) == (0, "") and " 0 records of pole-1" in names.stderr, names.output
        full = {body["seq"]: body for body in first.bodies("telemetry")}
        records, size = caught_up(second)
        capture = tmp_path / "capture.txt"
        capture.write_text("".join(f"{topic} {payload.hex()}\n" for topic, payload in second.messages))
        told = CliRunner().invoke(main, ["catchup", "--json", str(capture)])
        assert told.exit_code == 0, told.output
        assert {json.loads(line)["seq"] for line in told.stdout.splitlines()} == set(records)
        assert size < 40 * len(records)
        for seq, record in records.items():
            body = full[seq]
            assert record.serial == body["meterSerial"] and record.bound_ms == body["tsUncMs"]
            at, cut = instant_us(body["ts"])
            assert abs(at - record.unix_ms * 1000) <= cut
            there = registers(body)
            assert record.registers and all(there[obis] == row for obis, row in record.registers.items())


def json_seqs(subscriber):
    return {body["seq"] for body in subscriber.bodies("telemetry") + subscriber.bodies("event")}


def caught_up(subscriber):
    """Return ({seq: record}, bytes of the messages) of what came in binary."""
    reader, records, size = Reader(), {}, 0
    for topic, payload in list(subscriber.messages):
        records.update({record.seq: record for record in reader.hear(topic, payload)})
        size += len(payload) if topic.endswith("/catchup") else 0
    return records, size


def test_two_outlets_take_turns_where_one_tls_connection_is_all_there_is(tmp_path, authority):
    ones, twos = Tls(tmp_path / "one", authority), Tls(tmp_path / "two", authority)
    outlets = [
        {"name": name, "port": served.broker.port, "tls": {"ca": "ca.der"}}
        for name, served in (("one", ones), ("two", twos))
    ]
    pole = Pole(tmp_path, outlets, 120, authority=authority, more={"tlsConnections": 1})
    with ones.broker, twos.broker, Subscriber(ones.plain) as first, Subscriber(twos.plain) as second, pole:
        assert first.wait(lambda: len(set(first.seqs())) >= 120, 20)
        assert not pole.said("two: connect"), "it has not had its turn"
        assert second.wait(lambda: len(set(second.seqs())) >= 120, 40)
        assert pole.said("one: off")
        assert first.bodies("status")[-1]["state"] == "online", "who gives way takes leave"
