"""Fail-over seen from outside: a cable is pulled and put back, a subscriber at others' broker is told of it."""

import json

from mosquitto import Broker
from pole import Pole
from subscriber import Subscriber
from test_gateway import valid

WITHIN_S = 20  # the cable's 3 s, the radio's 1, the journal's 2, on a busy machine


def told(subscriber):
    """Return (code, detail) of the events of the network."""
    events = [body["event"] for body in subscriber.bodies("event")]
    return [(event["code"], event["detail"]) for event in events if event["code"].startswith("network_")]


def ways(subscriber):
    return [body.get("network") for body in subscriber.bodies("status") if body["state"] == "online"]


def test_a_pulled_cable_is_told_and_wifi_carries(tmp_path):
    more = {"network": {"wifi": {"ssid": "village", "country": "TZ"}, "ethernet": True}}
    with Broker(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        pole = Pole(tmp_path, [{"name": "operator", "port": broker.port}], more=more)
        with pole:
            assert subscriber.wait(lambda: "ethernet" in ways(subscriber), WITHIN_S), list(pole.gateway.lines)
            (pole.state / "network.json").write_text(json.dumps({"lan": "no_link"}))
            wanted = [
                ("network_up", {"via": "ethernet"}),
                ("network_down", {"via": "ethernet", "reason": "no link"}),
                ("network_up", {"via": "wifi"}),
            ]
            assert subscriber.wait(lambda: told(subscriber) == wanted, WITHIN_S), list(pole.gateway.lines)
            assert ways(subscriber)[-1] == "wifi"
            assert pole.said("ethernet: no link") and not pole.said("died")
    valid(subscriber.messages)
