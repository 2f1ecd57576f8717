"""gateway/network: the station connects, tells its failures apart, and comes back by itself."""
import asyncio
import json
import sys

import network

import fake_seconds as seconds
from gateway.network import Station
from lib import once

HOUR = 3600


class Life:
    """Of a task; it has to beat each ten seconds, as the gateway asks of it."""

    def __init__(self):
        self.at = seconds.now_ms()

    def beat(self):
        assert seconds.now_ms() - self.at < 10000
        self.at = seconds.now_ms()


class Recorder:
    """Keeps (second, code, via, reason) of the events."""

    def __init__(self):
        self.events = []

    def event(self, slot, code, severity, state, detail):
        assert slot == 0 and (severity, state) == {"network_up": (0, 1), "network_down": (1, 0)}[code]
        self.events.append((seconds.now_ms() // 1000, code, detail["via"], detail.get("reason")))

    def told(self):
        return [event[1:] for event in self.events]


UP = "network_up", "wifi", None


def down(reason):
    return "network_down", "wifi", reason


def tell(**faults):
    with open("network.json", "w") as file:
        json.dump(dict({"connect_ms": 800}, **faults), file)


class Pole:
    def __init__(self, **wifi):
        seconds.start(network)
        self.recorder = Recorder()
        self.life = Life()
        self.station = Station(dict({"ssid": "village"}, **wifi), "a password", self.recorder)
        asyncio.create_task(self.station.run(self.life))


async def test_it_connects_without_power_save():
    tell()
    pole = Pole()
    await seconds.go(5)
    wlan = network.WLAN()
    assert pole.station.connected and pole.station.via == "wifi" and wlan.isconnected()
    assert wlan.config("pm") == wlan.PM_NONE and wlan.config("reconnects") == 0
    assert pole.recorder.told() == [UP] and pole.life.at >= 4000


async def test_power_save_is_off_after_each_connection():
    tell(fail="flap", flap_ms=30000)
    pole = Pole()
    await seconds.go(25)
    wlan = network.WLAN()
    wlan.config(pm=wlan.PM_POWERSAVE)
    await seconds.go(20)
    assert wlan.isconnected() and wlan.config("pm") == wlan.PM_NONE and pole.station.connected


async def test_the_radio_is_not_touched_before_it_is_needed():
    pole = Pole()
    pole.station.on = False
    await seconds.go(60)
    assert network.WLAN._all == {} and pole.recorder.told() == [] and pole.life.at >= 59000


async def test_the_country_is_set_before_the_radio_is_on():
    tell()
    Pole(country="TZ")
    await seconds.go(1)
    assert network.country() == "TZ"


async def test_reasons_are_told_apart():
    for fault, reason in (
        ({"fail": "no_ap"}, "no such network"), ({"fail": "password"}, "wrong password"),
        ({"fail": "password", "password_status": 15}, "wrong password"),
        ({"fail": "password", "password_status": 204}, "wrong password"),
        ({"fail": "no_address"}, "no address"), ({"fail": "password", "password_status": 203}, "status 203"),
    ):  # fmt: skip
        tell(**fault)
        pole = Pole()
        await seconds.go(20)
        assert pole.station.reason == reason and not pole.station.connected and pole.station.via == ""
        assert pole.recorder.told() == [down(reason)]
        pole.station.on = False
        await seconds.go(2)


async def test_a_failure_is_one_event_however_often_it_is_tried():
    tell(fail="no_ap")
    pole = Pole()
    await seconds.go(6 * HOUR)
    assert pole.recorder.told() == [down("no such network")]
    tell()
    await seconds.go(130)  # the longest pause
    assert pole.recorder.told() == [down("no such network"), UP]


async def test_the_pauses_double_up_to_two_minutes():
    tell(fail="no_ap", connect_ms=0)
    pole = Pole()
    tries = []
    wlan = network.WLAN()
    wlan.active(True)
    connect = type(wlan).connect

    def counted(self, *args):
        tries.append(seconds.now_ms() // 1000)
        connect(self, *args)

    type(wlan).connect = counted
    await seconds.go(900)
    pauses = [after - before - 6 for before, after in zip(tries, tries[1:])]  # a try lasts six seconds
    assert [pause in (due, due + 1) for pause, due in zip(pauses, (2, 4, 8, 16, 32, 64, 120, 120))] == [True] * 8
    assert not pole.station.connected


async def test_another_reason_is_another_event():
    tell(fail="no_ap")
    pole = Pole()
    await seconds.go(20)
    tell(fail="password")
    await seconds.go(60)
    tell()
    await seconds.go(130)
    assert pole.recorder.told() == [down("no such network"), down("wrong password"), UP]


async def test_an_address_that_is_slow_after_a_failure_is_waited_for():
    """The status is still that of the failure, until there is an address."""
    tell(fail="no_ap")
    pole = Pole()
    await seconds.go(7)
    tell(fail="no_address")
    await seconds.go(10)  # associated, longer than a stale status is believed
    tell()
    await seconds.go(2)
    assert pole.recorder.told() == [down("no such network"), UP]


async def test_a_lost_connection_is_told_and_made_again():
    tell()
    pole = Pole()
    await seconds.go(60)
    tell(fail="no_ap")
    await seconds.go(3)
    assert pole.recorder.told() == [UP, down("connection lost")] and pole.station.via == ""
    await seconds.go(10)
    tell()
    await seconds.go(20)
    assert pole.recorder.told() == [UP, down("connection lost"), down("no such network"), UP]


async def test_a_link_that_flaps_for_hours_has_few_events_and_the_last_one_is_true():
    tell(fail="flap", flap_ms=20000)
    pole = Pole()
    await seconds.go(8 * HOUR)
    events = pole.recorder.events
    assert 4 < len(events) <= 4 + 8 * 4
    assert all(events[i + 4][0] - events[i][0] >= 900 for i in range(len(events) - 4))
    tell()
    await seconds.go(HOUR)
    assert pole.recorder.told()[-1] == UP and pole.station.connected


async def test_left_it_says_nothing_and_back_it_is_news_again():
    tell()
    pole = Pole()
    await seconds.go(10)
    pole.station.on = False
    await seconds.go(3)
    assert not network.WLAN().isconnected() and not pole.station.connected and pole.recorder.told() == [UP]
    pole.station.on = True
    await seconds.go(5)
    assert pole.recorder.told() == [UP, UP] and pole.station.connected


async def test_left_while_it_waits_or_tries_it_goes_at_once():
    for fail in ("no_ap", "no_address"):
        tell(fail=fail)
        pole = Pole()
        for wait in (3, 70):
            await seconds.go(wait)
            pole.station.on = False
            await seconds.go(2)
            assert network.WLAN().status() == network.STAT_IDLE or fail == "no_ap"
            assert pole.station.reason is None
            pole.station.on = True
        pole.station.on = False
        await seconds.go(2)


def made(ways, board):
    """Return the Gateway of this configuration on this board, as gateway/app makes it."""
    sys.path.insert(0, "")
    with open("gateway.json", "w") as file:
        json.dump({
            "feederId": "f", "gatewayId": "g", "board": "desktop", "buses": [{"uart": 1}], "meters": [],
            "uplinks": [{"name": "operator", "kind": "mqtt", "host": "127.0.0.1", "port": 9}], "network": ways,
        }, file)  # fmt: skip
    with open("board.json", "w") as file:
        json.dump(dict({"uarts": [{"id": 1, "tx": 17, "rx": 18}], "flash": {"journal": 65536}}, **board), file)
    from gateway import app

    gateway = once.call("gateway.build", "gateway", app.Gateway)
    gateway.kept = []
    gateway.health = gateway
    gateway.keep = lambda name, start, limit_ms: gateway.kept.append(name)
    once.call("gateway.tasks", "start", gateway, *gateway._start)
    gateway.kept = [name for name in gateway.kept if name in ("network", "ethernet")]
    return gateway


def test_a_gateway_loads_no_way_to_the_net_that_it_has_not():
    loaded = []
    for ways in ({}, {"wifi": {"ssid": "village"}}):
        sys.modules.pop("gateway.network", None)
        gateway = made(ways, {})
        loaded.append([name in sys.modules for name in ("gateway.network", "gateway.ethernet")])
        assert gateway.kept == ["network"] * len(ways)
    assert loaded == [[False, False], [True, False]]
