"""The desktop's `espnow` behaves as the chip's: the other radio here is a socket that speaks as one."""
import json
import time

import espnow
import network

from fake_radio import ALL, OTHER, PORT, Radio


def radio(channel=1, **air):
    with open("air.json", "w") as file:
        json.dump(dict({"port": PORT, "x": 0, "y": 0}, **air), file)
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    wlan.config(channel=channel)
    esp = espnow.ESPNow()
    esp.config(rxbuf=2104)
    esp.active(True)
    return esp


def settled(esp, before):
    """Return by how much (answers, failures) grew for the one frame on the way."""
    began = time.ticks_ms()
    while esp.stats()[1] < esp.stats()[0]:
        assert time.ticks_diff(time.ticks_ms(), began) < 1000
        time.sleep_ms(1)
    return esp.stats()[1] - before[1], esp.stats()[2] - before[2]


def refused(call, number, name):
    try:
        call()
    except OSError as error:
        assert error.args == (number, "ESP_ERR_ESPNOW_" + name), error
    else:
        raise AssertionError("not refused")


def test_a_broadcast_comes_with_sender_signal_and_the_time_of_its_arrival():
    esp = radio()
    Radio(100).says(b"hello")
    data = [None, bytearray(250), 0, 0]
    assert esp.recvinto(data, 500) == 5 and bytes(data[1]) == b"hello" and data[0] == OTHER
    assert -80 < data[2] < -70 and abs(time.ticks_diff(time.ticks_ms() & 0x3FFFFFFF, data[3] & 0x3FFFFFFF)) < 500
    assert esp.peers_table == {OTHER: [data[2], data[3]]}
    assert esp.recvinto(data, 0) == 0, "the buffer that was shortened is taken again"


def test_who_is_far_away_or_on_another_channel_is_not_heard():
    esp = radio()
    far, elsewhere = Radio(2000, mac=b"\x02far.."), Radio(10, channel=6, mac=b"\x02chan.")
    for _ in range(20):
        far.says(b"hello")
        elsewhere.says(b"hello")
    assert esp.recv(200) == (None, None) and esp.stats()[3] == 0


def test_loss_is_that_of_the_air():
    esp = radio(loss=50)
    esp.config(rxbuf=60000)
    esp.active(False)
    esp.active(True)
    other = Radio(10)
    for _ in range(200):
        other.says(b"x")
    time.sleep_ms(100)
    esp.any()
    assert 60 < esp.stats()[3] < 140, esp.stats()


def test_a_unicast_frame_is_acknowledged_by_a_radio_whose_program_hangs_and_not_by_one_without_power():
    esp = radio()
    other = Radio(50)
    esp.add_peer(OTHER)
    before = esp.stats()
    assert esp.send(OTHER, b"too early", False) is True
    assert settled(esp, before) == (1, 1), "a radio that was never heard"
    other.says(b"here")
    assert esp.recv(500)[1] == b"here"
    before = esp.stats()
    esp.send(OTHER, b"data", False)
    assert settled(esp, before) == (1, 0) and other.hears() == b"data"
    other.gone()
    before = esp.stats()
    esp.send(OTHER, b"data", False)
    assert settled(esp, before) == (1, 1)
    assert esp.send(OTHER, b"data") is False


def test_a_full_ring_drops_and_counts():
    esp = radio()
    other = Radio(10)
    for _ in range(12):
        other.says(bytes(250))
    time.sleep_ms(100)
    assert esp.any()
    assert esp.stats()[3:] == (7, 5)  # 2104 bytes hold 7 frames of 263


def test_what_the_chip_refuses_is_refused_with_its_numbers():
    esp = espnow.ESPNow()
    assert espnow.ESPNow() is esp
    refused(lambda: esp.send(ALL, b"x"), -12389, "NOT_INIT")
    refused(lambda: esp.add_peer(ALL), -12389, "NOT_INIT")
    esp.active(True)
    refused(lambda: esp.send(ALL, b"x"), -12393, "NOT_FOUND")
    esp.add_peer(ALL)
    refused(lambda: esp.send(ALL, b"x"), -12396, "IF")
    esp = radio()
    refused(lambda: esp.add_peer(ALL), -12395, "EXIST")
    refused(lambda: esp.send(ALL, b""), -12390, "ARG")
    refused(lambda: esp.send(ALL, bytes(251)), -12390, "ARG")
    for number in range(19):
        esp.add_peer(bytes((2, 0, 0, 0, 0, number)))
    refused(lambda: esp.add_peer(OTHER[:5] + b"\xee"), -12392, "FULL")
    refused(lambda: esp.del_peer(OTHER[:5] + b"\xee"), -12393, "NOT_FOUND")
    assert esp.peer_count() == (20, 0) and len(esp.get_peers()) == 19
    esp.active(False)
    esp.active(True)
    assert esp.peer_count() == (0, 0)
    esp.add_peer(OTHER, channel=3)
    refused(lambda: esp.send(OTHER, b"x"), -12397, "CHAN")


def test_without_an_air_a_broadcast_succeeds_and_nobody_answers():
    network.WLAN(network.STA_IF).active(True)
    esp = espnow.ESPNow()
    esp.active(True)
    esp.add_peer(ALL)
    esp.add_peer(OTHER)
    assert esp.send(ALL, b"x") is True and esp.send(OTHER, b"x") is False and esp.recv(10) == (None, None)


def test_irecv_uses_its_buffer_again():
    esp = radio()
    other = Radio(10)
    other.says(b"one")
    first = esp.irecv(500)
    text = first[1]
    other.says(b"three")
    assert esp.irecv(500) is first and first[1] is text and bytes(text) == b"three"
