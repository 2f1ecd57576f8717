"""The desktop's `network` behaves as the chip's, failures included."""
import json
import socket
import time

import machine
import network
from network import LAN, WLAN


def told(**net):
    with open("network.json", "w") as file:
        json.dump(net, file)


def station(**config):
    wlan = WLAN(network.STA_IF)
    wlan.active(True)
    if config:
        wlan.config(**config)
    return wlan


def until(test, limit_ms=2000):
    began = time.ticks_ms()
    while not test():
        assert time.ticks_diff(time.ticks_ms(), began) < limit_ms, "waited in vain"
        time.sleep_ms(2)


def refused(kind, text, call, *given, **named):
    try:
        call(*given, **named)
    except kind as error:
        assert str(error) == text, error
    else:
        raise AssertionError("not refused")


def test_a_station_connects_after_a_while_and_gets_an_address():
    told(connect_ms=300)
    wlan = station()
    assert not wlan.isconnected() and wlan.status() == network.STAT_IDLE and wlan.ifconfig()[0] == "0.0.0.0"
    wlan.connect("pole", "secret")
    assert not wlan.isconnected() and wlan.status() == network.STAT_CONNECTING
    until(wlan.isconnected)
    assert wlan.status() == network.STAT_GOT_IP and wlan.config("ssid") == "pole"
    assert wlan.ifconfig()[0] == wlan.ipconfig("addr4")[0] != "0.0.0.0"
    wlan.disconnect()
    assert not wlan.isconnected() and wlan.status() == network.STAT_IDLE


def test_association_takes_the_time_that_is_asked_for():
    told(connect_ms=200)
    wlan = station()
    began = time.ticks_ms()
    wlan.connect("pole", "secret")
    until(wlan.isconnected)
    assert time.ticks_diff(time.ticks_ms(), began) >= 200


def test_each_interface_is_one_object():
    assert WLAN() is WLAN(network.STA_IF) is not WLAN(network.AP_IF)
    station()
    assert WLAN().active() and not WLAN(network.AP_IF).active()
    refused(ValueError, "invalid WLAN interface identifier", WLAN, 2)


def test_connecting_wants_an_active_interface_a_name_and_no_connection():
    told(connect_ms=300)
    wlan = WLAN(network.STA_IF)
    refused(OSError, "Wifi Not Started", wlan.connect, "pole", "secret")
    refused(OSError, "Wifi Not Started", wlan.disconnect)
    wlan.active(True)
    refused(OSError, "Wifi SSID Invalid", wlan.connect)
    wlan.connect("pole", "secret")
    refused(OSError, "Wifi Internal State Error", wlan.connect, "pole", "secret")
    until(wlan.isconnected)
    refused(OSError, "Wifi Internal Error", wlan.connect, "pole", "secret")
    wlan.disconnect()
    wlan.connect("pole", "secret")


def test_a_missing_network_and_a_wrong_password_have_their_status():
    def fails(fail, status):
        told(fail=fail)
        wlan = station(reconnects=0)
        wlan.connect("pole", "secret")
        until(lambda: wlan.status() == status)
        assert not wlan.isconnected()

    fails("no_ap", network.STAT_NO_AP_FOUND)
    fails("password", network.STAT_WRONG_PASSWORD)


def test_without_an_address_it_goes_on_connecting():
    told(fail="no_address", connect_ms=5)
    wlan = station(reconnects=0)
    wlan.connect("pole", "secret")
    time.sleep_ms(50)
    assert not wlan.isconnected() and wlan.status() == network.STAT_CONNECTING
    told()
    assert wlan.isconnected()


def test_a_failure_is_seen_while_it_lasts_and_the_station_tries_for_ever():
    told(fail="no_ap", connect_ms=5)
    wlan = station()
    wlan.connect("pole", "secret")
    until(lambda: wlan.status() == network.STAT_NO_AP_FOUND)
    told(connect_ms=5)
    until(wlan.isconnected)
    told(fail="no_ap", connect_ms=5)
    assert not wlan.isconnected()


def test_without_reconnects_it_stays_down_and_the_old_reason_outlives_connect():
    told(fail="no_ap", connect_ms=5)
    wlan = station(reconnects=0)
    wlan.connect("pole", "secret")
    until(lambda: wlan.status() == network.STAT_NO_AP_FOUND)
    told(connect_ms=300)
    time.sleep_ms(350)
    assert not wlan.isconnected()
    wlan.connect("pole", "secret")
    assert wlan.status() == network.STAT_NO_AP_FOUND
    until(wlan.isconnected)


def test_a_flapping_link_goes_and_comes():
    told(fail="flap", connect_ms=5, flap_ms=40)
    wlan = station()
    wlan.connect("pole", "secret")
    for _ in range(2):
        until(wlan.isconnected)
        until(lambda: not wlan.isconnected())
    assert wlan.status() in (network.STAT_CONNECTING, network.STAT_GOT_IP)
    wlan.disconnect()
    wlan.config(reconnects=0)
    wlan.connect("pole", "secret")
    until(wlan.isconnected)
    until(lambda: not wlan.isconnected())
    assert wlan.status() == network.STAT_BEACON_TIMEOUT


def test_power_save_comes_back_with_each_connection():
    wlan = station()
    for _ in range(2):
        wlan.config(pm=WLAN.PM_NONE)
        wlan.connect("pole", "secret")
        until(wlan.isconnected)
        assert wlan.config("pm") == WLAN.PM_PERFORMANCE
        wlan.disconnect()


def test_config_knows_the_chips_parameters():
    wlan = station()
    assert wlan.config("mac") == machine.unique_id() != WLAN(network.AP_IF).config("mac")
    wlan.config(reconnects=3, channel=6, hostname="pole-7")
    assert (wlan.config("reconnects"), wlan.config("channel"), network.hostname()) == (3, 6, "pole-7")
    refused(ValueError, "unknown config param", wlan.config, "colour")
    refused(ValueError, "unknown config param", wlan.config, colour=1)
    refused(OSError, "AP required", wlan.config, ssid="x")
    refused(OSError, "AP required", wlan.config, "hidden")
    refused(OSError, "STA required", WLAN(network.AP_IF).config, reconnects=1)
    refused(TypeError, "can query only one param", wlan.config, "mac", "ssid")
    refused(TypeError, "either pos or kw args are allowed", wlan.config, "mac", channel=1)


def test_signal_strength_is_of_a_connection():
    wlan = station()
    refused(OSError, "Wifi Not Connected", wlan.status, "rssi")
    refused(ValueError, "unknown status param", wlan.status, "mood")
    wlan.connect("pole", "secret")
    until(wlan.isconnected)
    assert -100 < wlan.status("rssi") < 0


def test_without_dns_names_fail_with_a_negative_number_and_addresses_do_not():
    told(fail="no_dns", dns_ms=20)
    began = time.ticks_ms()
    try:
        socket.getaddrinfo("broker.example", 1883)
    except OSError as error:
        assert error.errno < 0
    else:
        raise AssertionError
    assert time.ticks_diff(time.ticks_ms(), began) >= 20
    assert socket.getaddrinfo("127.0.0.1", 1883, 0, socket.SOCK_STREAM)


async def test_asyncio_resolves_with_the_failing_resolver():
    import asyncio

    told(fail="no_dns", dns_ms=1)
    try:
        await asyncio.open_connection("broker.example", 1883)
    except OSError as error:
        assert error.errno == -202
    else:
        raise AssertionError


def lan(**changes):
    given = {"spi": machine.SPI(1), "phy_type": network.PHY_W5500, "phy_addr": 0, "cs": 9, "int": 14}
    given.update(changes)
    return LAN(**{name: value for name, value in given.items() if value is not False})


def test_ethernet_wants_what_the_w5500_needs():
    refused(OSError, "esp_eth_driver_install failed with invalid argument", lan, int=False)
    refused(OSError, "esp_eth_driver_install failed with invalid argument", lan, int=None)
    refused(TypeError, "'phy_addr' argument required", lan, phy_addr=False)
    refused(TypeError, "'phy_type' argument required", lan, phy_type=False)
    refused(TypeError, "extra keyword arguments given", lan, speed=100)
    refused(ValueError, "invalid phy address", lan, phy_addr=32)
    refused(ValueError, "invalid phy type", lan, phy_type=1)
    refused(ValueError, "expecting a SPI object", lan, spi=False)
    refused(ValueError, "invalid pin", lan, int=99)
    assert lan() is LAN() is LAN(phy_addr=99)


def test_ethernet_gets_an_address_and_loses_it():
    told(connect_ms=300)
    nic = lan()
    assert not nic.active() and nic.status() == network.ETH_INITIALIZED and not nic.isconnected()
    nic.active(True)
    assert nic.status() == network.ETH_STARTED
    until(nic.isconnected)
    assert nic.status() == network.ETH_GOT_IP and nic.ifconfig()[0] != "0.0.0.0"
    told(fail="no_address")
    assert nic.status() == network.ETH_CONNECTED and nic.ifconfig()[0] == "0.0.0.0"
    told(fail="flap", flap_ms=30)
    until(lambda: nic.status() == network.ETH_DISCONNECTED)
    until(nic.isconnected)
    nic.active(False)
    assert nic.status() == network.ETH_STOPPED and not nic.active()


def test_a_cable_fails_on_its_own():
    told(fail="no_ap", lan="ok")
    nic = lan()
    nic.active(True)
    until(nic.isconnected)
    told(lan="no_link")
    assert nic.status() == network.ETH_DISCONNECTED and nic.ifconfig()[0] == "0.0.0.0" and not nic.isconnected()
    told(lan="no_address")
    assert nic.status() == network.ETH_CONNECTED and nic.ifconfig()[0] == "0.0.0.0"
    told(fail="no_address", lan="ok")
    assert nic.isconnected() and nic.ifconfig()[0] != "0.0.0.0"


def test_a_w5500_that_does_not_answer_is_an_error():
    told(lan="no_chip")
    refused(OSError, "esp_eth_driver_install failed", lan)


def test_an_event_of_wifis_address_is_taken_for_one_of_the_cable():
    """ports/esp32/network_lan.c: the handler looks at the number of an event and not at its base."""
    told(lost_ms=100)
    nic = lan()
    nic.active(True)
    until(nic.isconnected)
    wlan = WLAN()
    wlan.active(True)
    wlan.connect("pole", "password")
    until(wlan.isconnected)
    assert nic.status() == network.ETH_STARTED and not nic.isconnected() and nic.ifconfig()[0] != "0.0.0.0"
    told(lost_ms=100, lan="no_link")
    assert nic.status() == network.ETH_DISCONNECTED
    told(lost_ms=100)
    assert nic.isconnected()
    wlan.disconnect()
    assert nic.isconnected()
    until(lambda: nic.status() == network.ETH_STOPPED)
    assert not nic.isconnected() and nic.active() and nic.ifconfig()[0] != "0.0.0.0"


def test_a_station_without_an_address_knows_its_access_point():
    told(fail="no_address")
    wlan = WLAN()
    wlan.active(True)
    refused(OSError, "Wifi Not Connected", wlan.status, "rssi")
    wlan.connect("pole", "password")
    until(lambda: time.ticks_diff(time.ticks_ms(), wlan._since) > 60)
    assert wlan.status("rssi") < 0 and not wlan.isconnected() and wlan.status() == network.STAT_CONNECTING
    told(fail="no_ap")
    refused(OSError, "Wifi Not Connected", wlan.status, "rssi")


def test_a_country_has_two_letters():
    assert network.country() == "XX"
    network.country("TZ")
    assert network.country() == "TZ"
    refused(ValueError, "", network.country, "TZA")
