"""Frames by radio and by UDP: what is sent is told right, and a radio that fails is started anew."""
import json
import socket
import time

import espnow
import network

from fake_radio import ALL, OTHER, PORT, Radio, bound
from lib.media import espnow as radio
from lib.media import udp


def air(**more):
    with open("air.json", "w") as file:
        json.dump(dict({"port": PORT}, **more), file)
    return radio.Air(network.WLAN(network.STA_IF), 1, True)


def fate(air):
    began = time.ticks_ms()
    while True:
        ok = air.sent()
        if ok is not None:
            return ok
        assert time.ticks_diff(time.ticks_ms(), began) < 1000


def taken(air):
    got = []
    time.sleep_ms(50)
    air.receive(lambda frame, rssi, now, mac: got.append((bytes(frame), rssi, now, mac)))
    return got


def test_a_frame_is_told_as_sent_when_the_other_radio_has_acknowledged_it():
    one, other = air(), Radio(10)
    one.send(OTHER, b"nobody knows you")
    assert fate(one) is False
    other.says(b"here")
    (text, rssi, now, mac), = taken(one)
    assert (text, mac) == (b"here", OTHER) and rssi < 0
    assert abs((time.ticks_ms() - now) & 0x3FFFFFFF) < 1000, "the driver's stamp, on the scale of ticks_ms"
    one.send(OTHER, b"data")
    assert fate(one) is True and other.hears() == b"data"
    one.send(None, b"all")
    assert fate(one) is True


def test_more_than_twenty_addresses_are_served_by_twenty_places():
    one = air()
    for number in range(50):
        one.send(None, b"all")
        assert fate(one) is True
        one.send(bytes((2, 0, 0, 0, 0, number)), b"x")
        assert fate(one) is False and one.restarts == 0
    assert espnow.ESPNow().peer_count()[0] == 20
    espnow.ESPNow().get_peer(ALL)


def test_an_answer_that_never_comes_is_waited_for_300_ms_and_the_radio_starts_anew():
    one = air()
    esp = espnow.ESPNow()
    one.send(None, b"all")
    esp._due.clear()  # the driver's callback is lost
    began = time.ticks_ms()
    assert fate(one) is False and 290 < time.ticks_diff(time.ticks_ms(), began) < 600
    assert one.restarts == 1 and esp.peer_count() == (0, 0)
    one.send(None, b"all")
    assert fate(one) is True and one.restarts == 1


def test_a_ring_that_is_out_of_step_starts_anew():
    one, other = air(), Radio(10)
    esp = espnow.ESPNow()
    kept = espnow.ESPNow.recvinto

    def broken(self, data, timeout_ms=None):
        raise ValueError("ESPNow.recv(): buffer error")

    espnow.ESPNow.recvinto = broken
    other.says(b"too long")
    assert taken(one) == [] and one.restarts == 1 and esp.active()
    espnow.ESPNow.recvinto = kept
    other.says(b"good")
    assert [frame[0] for frame in taken(one)] == [b"good"]


def test_a_radio_that_is_switched_off_under_it_comes_back():
    one, other = air(), Radio(10)
    wlan = network.WLAN(network.STA_IF)
    wlan.active(False)
    for _ in range(3):
        one.send(None, b"x")
        assert fate(one) is False
    assert wlan.active() and wlan.config("pm") == wlan.PM_NONE and wlan.config("channel") == 1
    one.send(None, b"x")
    other.says(b"y")
    assert fate(one) is True and taken(one)


def test_a_radio_that_hears_nobody_for_five_minutes_starts_anew():
    one = air()
    one._heard = time.ticks_add(time.ticks_ms(), -290000)
    assert taken(one) == [] and one.restarts == 0
    one._heard = time.ticks_add(time.ticks_ms(), -301000)
    assert taken(one) == [] and one.restarts == 1
    assert taken(one) == [] and one.restarts == 1


def test_a_flood_of_frames_does_not_keep_the_loop():
    one = air()
    espnow.ESPNow.any = lambda self: True
    espnow.ESPNow.recvinto = lambda self, data, timeout_ms: 1
    got = []
    one.receive(lambda *frame: got.append(1))
    assert 8 <= len(got) <= 32


def test_a_frame_that_was_on_its_way_when_the_radio_started_anew_is_not_told_as_acknowledged():
    one = air()
    one.send(None, b"all")
    one._restart()
    assert fate(one) is False


def test_a_radio_that_comes_back_after_a_failed_start_is_on_its_channel():
    one = air()
    one.tune(6)
    wlan, failing = network.WLAN(network.STA_IF), [1, 1]
    kept = network.WLAN.active

    def active(self, on=None):
        if on and failing:
            failing.pop()
            raise OSError("Wifi Unknown Error 0x0101")
        return kept(self, on)

    network.WLAN.active = active
    wlan.active(False)
    wlan.config(channel=1)
    while failing:
        one.send(None, b"x")
        fate(one)
    for _ in range(3):
        one.send(None, b"x")
        fate(one)
    network.WLAN.active = kept
    assert wlan.active() and one.channel == 6 and wlan.config("pm") == wlan.PM_NONE


def test_a_radio_that_only_a_reset_helps_says_so():
    one = air()
    kept = espnow.ESPNow.send

    def send(self, *arguments):
        raise OSError(-12391, "ESP_ERR_ESPNOW_NO_MEM")

    espnow.ESPNow.send = send
    wlan = network.WLAN(network.STA_IF)
    wlan.config(pm=wlan.PM_POWERSAVE)
    for turn in range(40):
        assert (wlan.config("pm") == wlan.PM_NONE) == (turn > 8), "the radio itself is started anew"
        one.send(None, b"x")
        assert fate(one) is False and not one.crowded()
    for _ in range(40):
        one.send(None, b"x")
    assert one.crowded()
    espnow.ESPNow.send = kept
    one.send(None, b"x")
    assert fate(one) is True and not one.crowded()


def test_who_knows_too_many_strangers_listens_to_no_more():
    one, other = air(), Radio(10)
    table = espnow.ESPNow().peers_table
    for number in range(301):
        table[number] = [0, 0]
    other.says(b"x")
    assert taken(one) == [] and len(table) == 301
    table.clear()
    assert [frame[0] for frame in taken(one)] == [b"x"]


def test_the_channel_of_a_shared_radio_is_that_of_its_access_point():
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.config(channel=11)
    wlan.connect("village", "secret")
    while not wlan.isconnected():
        time.sleep_ms(10)
    shared = radio.Air(wlan, 6, False)
    shared.tune(3)
    assert shared.channel == 11
    with open("network.json", "w") as file:
        json.dump({"fail": "no_ap"}, file)
    wlan.isconnected()
    wlan.config(channel=4)  # it scans
    assert shared.channel == 0, "nobody is to follow it from channel to channel"
    with open("network.json", "w") as file:
        json.dump({}, file)


def test_a_shared_radio_that_nobody_has_switched_on_is_switched_on():
    """The cable works from the start: the station waits, and the mesh does not."""
    with open("air.json", "w") as file:
        json.dump({"port": PORT}, file)
    wlan, other = network.WLAN(network.STA_IF), Radio(10, channel=6)
    shared = radio.Air(wlan, 6, False)
    assert wlan.active() and wlan.config("channel") == 6 and wlan.config("reconnects") == 0
    shared.send(None, b"x")
    other.says(b"y")
    assert fate(shared) is True and taken(shared)


def test_the_channel_of_a_radio_of_its_own_is_its_own():
    wlan = network.WLAN(network.STA_IF)
    alone = radio.Air(wlan, 6, True)
    assert alone.channel == 6
    alone.tune(3)
    assert alone.channel == 3
    alone.tune(14)  # which the driver refuses
    assert alone.channel == 3


def test_strangers_are_counted():
    one = air()
    assert not one.crowded()
    for number in range(301):
        espnow.ESPNow().peers_table[number] = [0, 0]
    assert one.crowded()


def test_udp_knows_whom_it_heard_and_answers_there():
    free = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    port = bound(free)
    free.close()
    one = udp.Air("127.0.0.1", port)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other = bound(peer)
    peer.sendto(b"hello", socket.getaddrinfo("127.0.0.1", port)[0][-1])
    peer.sendto(bytes(400), socket.getaddrinfo("127.0.0.1", port)[0][-1])
    (text, rssi, _, mac), (long, _, _, _) = taken(one)
    assert text == b"hello" and rssi == 0 and mac == b"\x7f\0\0\1" + other.to_bytes(2, "big")
    assert len(long) == 251, "more than a frame may have"
    one.send(mac, b"back")
    assert one.sent() is True and peer.recv(100) == b"back"
    one.send(None, b"all")
    assert one.sent() is True and [frame[0] for frame in taken(one)] == [b"all"]
    assert udp._packed(("127.0.0.1", other)) == mac, "as the chip gives it"
