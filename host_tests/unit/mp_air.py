"""Frames by radio and by UDP: what is sent is told right, and a radio that fails is started anew."""
import json
import random
import socket
import time

import espnow
import network

from fake_radio import ALL, OTHER, PORT, Radio
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
    for _ in range(9):
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


def test_the_channel_of_a_shared_radio_is_left_alone():
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.config(channel=11)
    shared = radio.Air(wlan, 6, False)
    shared.tune(3)
    assert shared.channel == 11
    alone = radio.Air(wlan, 6, True)
    assert alone.channel == 6
    alone.tune(3)
    assert alone.channel == 3


def test_strangers_are_counted():
    one = air()
    assert not one.crowded()
    for number in range(301):
        espnow.ESPNow().peers_table[number] = [0, 0]
    assert one.crowded()


def test_udp_knows_whom_it_heard_and_answers_there():
    port = 20000 + random.getrandbits(13)
    one = udp.Air("127.0.0.1", port)
    peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    peer.bind(socket.getaddrinfo("127.0.0.1", port + 1)[0][-1])
    peer.sendto(b"hello", socket.getaddrinfo("127.0.0.1", port)[0][-1])
    peer.sendto(bytes(400), socket.getaddrinfo("127.0.0.1", port)[0][-1])
    (text, rssi, _, mac), (long, _, _, _) = taken(one)
    assert text == b"hello" and rssi == 0 and mac == b"\x7f\0\0\1" + (port + 1).to_bytes(2, "big")
    assert len(long) == 251, "more than a frame may have"
    one.send(mac, b"back")
    assert one.sent() is True and peer.recv(100) == b"back"
    one.send(None, b"all")
    assert one.sent() is True and [frame[0] for frame in taken(one)] == [b"all"]
    assert udp._packed(("127.0.0.1", port + 1)) == mac, "as the chip gives it"
