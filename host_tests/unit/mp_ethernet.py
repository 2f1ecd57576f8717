"""gateway/ethernet: the cable is preferred, Wi-Fi takes over, and neither flaps."""
import asyncio

import network

import fake_seconds as seconds
from gateway import log
from gateway.ethernet import Ethernet
from gateway.network import Station
from gateway.ways import wired
from mp_network import HOUR, Life, Recorder, made, tell

PINS = {"spi": 1, "sck": 12, "mosi": 11, "miso": 13, "cs": 9, "int": 47, "reset": 3}


def up(via):
    return "network_up", via, None


def down(via, reason):
    return "network_down", via, reason


class Pole:
    """A gateway's ways to the net; `ways` is [(second, the way in use from then on)]."""

    def __init__(self, wifi=True):
        seconds.start(network)
        self.recorder = Recorder()
        self.lives = Life(), Life()
        self.station = Station({"ssid": "village"}, "a password", self.recorder) if wifi else None
        self.ethernet = Ethernet(PINS, self.station, self.recorder)
        if wifi:
            asyncio.create_task(self.station.run(self.lives[1]))
        asyncio.create_task(self.ethernet.run(self.lives[0]))
        self.ways = []

    async def go(self, s):
        for _ in range(s):
            await seconds.go(1)
            if [self.ethernet.via] != [way for _, way in self.ways[-1:]]:
                self.ways.append((seconds.now_ms() // 1000, self.ethernet.via))
            assert not (self.station and self.ethernet.via == "ethernet" and network.WLAN._all
                        and network.WLAN().isconnected()), "the chip sends by Wi-Fi"  # fmt: skip


def used(pole):
    return [way for _, way in pole.ways]


async def test_the_cable_alone_needs_no_radio():
    tell()
    pole = Pole()
    await pole.go(600)
    assert used(pole) in (["ethernet"], ["", "ethernet"]) and network.WLAN._all == {}
    assert pole.recorder.told() == [up("ethernet")]
    assert [life.at >= 599000 for life in pole.lives] == [True, True]


async def test_wifi_takes_over_from_a_cable_that_is_pulled_and_gives_back():
    tell()
    pole = Pole()
    await pole.go(60)
    tell(lan="no_link")
    await pole.go(10)
    assert used(pole)[-3:] == ["ethernet", "", "wifi"]
    await pole.go(600)
    tell(lan="ok")
    await pole.go(29)
    assert pole.ethernet.via == "wifi"
    await pole.go(5)
    assert pole.ethernet.via == "ethernet" and not network.WLAN().isconnected()
    assert pole.recorder.told() == [
        up("ethernet"), down("ethernet", "no link"), up("wifi"), up("ethernet"),
    ]  # fmt: skip


async def test_late_word_of_a_lost_wifi_address_is_not_taken_for_a_lost_cable():
    tell(lan="no_link")
    pole = Pole()
    await pole.go(60)
    assert pole.ethernet.via == "wifi"
    tell(lan="ok")
    await pole.go(40)
    assert pole.ethernet.via == "ethernet" and network.LAN().isconnected()
    pole.ways.clear()
    await pole.go(HOUR)
    assert network.LAN().status() == network.ETH_STOPPED and not network.LAN().isconnected()
    assert used(pole) == ["ethernet"]
    assert pole.recorder.told()[-1] == up("ethernet")


async def test_a_cable_that_is_out_at_the_start_is_waited_for_and_then_wifi_is_joined():
    tell(lan="no_link")
    pole = Pole()
    await pole.go(14)
    assert network.WLAN._all == {} and pole.recorder.told() == []
    await pole.go(10)
    assert pole.ethernet.via == "wifi"
    assert pole.recorder.told() == [down("ethernet", "no link"), up("wifi")]


async def test_a_cable_without_an_address_has_that_reason():
    tell(lan="no_address")
    pole = Pole()
    await pole.go(30)
    assert pole.recorder.told() == [down("ethernet", "no address"), up("wifi")] and pole.ethernet.via == "wifi"
    await pole.go(HOUR)  # what Wi-Fi does to the status is no other reason
    assert len(pole.recorder.events) == 2


async def test_a_short_break_of_the_cable_is_nothing():
    tell()
    pole = Pole()
    await pole.go(60)
    pole.ways.clear()
    tell(lan="no_link")
    await pole.go(2)
    tell(lan="ok")
    await pole.go(60)
    assert used(pole) == ["ethernet"] and pole.recorder.told() == [up("ethernet")] and network.WLAN._all == {}


async def test_a_cable_that_flaps_leaves_wifi_in_use():
    tell()
    pole = Pole()
    await pole.go(60)
    pole.ways.clear()
    tell(lan="flap", flap_ms=20000)
    await pole.go(2 * HOUR)
    assert used(pole)[-1] == "wifi" and len(pole.ways) <= 3, pole.ways
    assert len(pole.recorder.events) <= 4
    tell(lan="ok")
    await pole.go(40)
    assert pole.ethernet.via == "ethernet"


async def test_both_failing_is_told_of_both_and_the_cable_is_taken_at_once_when_it_is_back():
    tell()
    pole = Pole()
    await pole.go(60)
    tell(lan="no_link", fail="no_ap")
    await pole.go(HOUR)
    assert pole.ethernet.via == "" and pole.recorder.told()[1:] == [
        down("ethernet", "no link"), down("wifi", "no such network"),
    ]  # fmt: skip
    tell(lan="ok", fail="no_ap")
    await pole.go(3)
    assert pole.ethernet.via == "ethernet"
    await pole.go(HOUR)
    assert pole.recorder.told()[3:] == [up("ethernet")]


async def test_wifi_that_fails_while_it_stands_in_gives_way_to_a_young_cable():
    tell(lan="no_link")
    pole = Pole()
    await pole.go(60)
    tell(lan="ok")
    await pole.go(5)
    assert pole.ethernet.via == "wifi"
    tell(lan="ok", fail="no_ap")
    await pole.go(4)
    assert pole.ethernet.via == "ethernet"


async def test_a_cable_without_wifi_beside_it_says_each_reason():
    tell()
    pole = Pole(wifi=False)
    await pole.go(20)
    tell(lan="no_link")
    await pole.go(20)
    tell(lan="no_address")
    await pole.go(20)
    tell(lan="ok")
    await pole.go(5)
    assert pole.recorder.told() == [
        up("ethernet"), down("ethernet", "no link"), down("ethernet", "no address"), up("ethernet"),
    ]  # fmt: skip
    assert pole.ethernet.via == "ethernet" and network.WLAN._all == {}


async def test_a_w5500_that_does_not_answer_leaves_it_to_wifi():
    tell(lan="no_chip")
    pole = Pole()
    await pole.go(HOUR)
    assert pole.ethernet.via == "wifi" and used(pole)[-1] == "wifi" and pole.ways[-1][0] < 10
    assert pole.recorder.told() == [down("ethernet", "no W5500"), up("wifi")]


def test_a_board_without_what_it_takes_is_a_problem_and_ethernet_is_left_out():
    said = []
    log.error = lambda area, text: said.append(area + ": " + text)
    for board, words in (
        ({}, "a board without Ethernet"),
        ({"ethernet": {name: PINS[name] for name in PINS if name != "int"}}, "does not say int"),
        ({"ethernet": {"spi": 1, "int": 47}}, "does not say sck, mosi, miso, cs"),
    ):
        conf = {"ethernet": True, "wifi": {"ssid": "village"}}
        assert wired(conf, board) == 1 and conf == {"wifi": {"ssid": "village"}}
        assert said[-1].startswith("config: network.ethernet: found") and words in said[-1] and "`int`" in said[-1]
    conf = {"ethernet": True}
    assert wired(conf, {"ethernet": PINS}) == 0 and conf == {"ethernet": PINS} and len(said) == 3
    pins = {name: PINS[name] for name in PINS if name != "reset"}
    assert wired({"ethernet": True}, {"ethernet": pins}) == 0


def test_a_gateway_with_both_has_both_and_the_outlets_know():
    gateway = made({"wifi": {"ssid": "village", "country": "TZ"}, "ethernet": True}, {"ethernet": PINS})
    assert gateway.kept == ["network", "ethernet"]
    assert isinstance(gateway.outlets[0].network, Ethernet) and gateway.outlets[0]._problems == 0


def test_without_ethernet_on_the_board_the_rest_runs_and_a_problem_is_counted():
    gateway = made({"wifi": {"ssid": "village"}, "ethernet": True}, {})
    assert gateway.kept == ["network"]
    assert isinstance(gateway.outlets[0].network, Station) and gateway.outlets[0]._problems == 1


def test_ethernet_that_is_switched_off_is_none():
    gateway = made({"ethernet": False}, {"ethernet": PINS})
    assert gateway.kept == [] and gateway.outlets[0].network is None and gateway.outlets[0]._problems == 0
