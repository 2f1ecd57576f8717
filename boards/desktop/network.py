"""Stands in for the chip's `network`: a radio and a W5500 that can be told to fail.

./network.json is read at each call: {"fail": "no_ap"|"password"|"no_address"|"no_dns"|"flap", "connect_ms": 50,
"flap_ms": 2000, "dns_ms": 1000}; "password_status": 15 is the other number that chips give for a wrong password, and
"lost_ms": 120000 how late the IDF tells of a lost address. The cable fails with the radio ("no_address", "flap"), or
on its own: {"lan": "ok"|"no_link"|"no_address"|"flap"|"no_chip"}. Nothing of it touches the host's network: sockets
work as they do without (but see socket.py for "no_dns").
"""
import json
import time

import machine

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_BEACON_TIMEOUT = 200
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202
PHY_W5500 = 102
ETH_INITIALIZED, ETH_STARTED, ETH_STOPPED, ETH_CONNECTED, ETH_DISCONNECTED, ETH_GOT_IP = range(6)

LEFT = 8  # WIFI_REASON_ASSOC_LEAVE: we went ourselves
NO_ADDRESS = ("0.0.0.0",) * 4
ADDRESS = ("192.0.2.10", "255.255.255.0", "192.0.2.1", "192.0.2.1")

_hostname = "mpy-esp32s3"
_country = "XX"


def _faults():
    try:
        with open("network.json") as file:
            return json.load(file)
    except OSError:
        return {}


def hostname(name=None):
    """Return the name that DHCP gives to the network, or set it."""
    global _hostname
    if name is None:
        return _hostname
    if len(name) > 32:
        raise ValueError
    _hostname = name


def country(code=None):
    """Return the two letters of the country, or set them. They are kept: the chip's driver asks for them nowhere."""
    global _country
    if code is None:
        return _country
    if len(code) != 2:
        raise ValueError
    _country = code


def ipconfig(name):
    """Return "dns", the name server: that of ./network.json ({"dns": "127.0.0.1"}), else the host's."""
    if name != "dns":
        raise ValueError("unknown config param")
    if "dns" in _faults():
        return _faults()["dns"]
    try:
        with open("/etc/resolv.conf") as file:
            for line in file:
                if line.startswith("nameserver"):
                    return line.split()[1]
    except OSError:
        pass
    return "0.0.0.0"


class _Interface:
    _address = ADDRESS
    _dhcp = True

    def ifconfig(self, value=None):
        """Return (address, mask, gateway, DNS server), or set them; "dhcp" asks for them."""
        if value is None:
            return self._address if self.isconnected() else NO_ADDRESS
        self._dhcp = value == "dhcp"
        self._address = ADDRESS if self._dhcp else tuple(value)

    def ipconfig(self, name):
        """Return one of addr4, gw4, dhcp4, has_dhcp4."""
        address, mask, gateway, _ = self.ifconfig()
        if name == "addr4":
            return address, mask
        if name == "gw4":
            return gateway
        if name == "dhcp4":
            return self._dhcp
        if name == "has_dhcp4":
            return self._dhcp and self.isconnected()
        raise ValueError("unknown config param")


class WLAN(_Interface):
    """The radio as a station, or as an access point that nobody joins."""

    IF_STA = STA_IF
    IF_AP = AP_IF
    PM_NONE = 0
    PM_PERFORMANCE = 1
    PM_POWERSAVE = 2
    _all = {}

    def __new__(cls, interface=STA_IF):
        if interface not in (STA_IF, AP_IF):
            raise ValueError("invalid WLAN interface identifier")
        if interface not in cls._all:
            nic = super().__new__(cls)
            nic._ap = interface == AP_IF
            nic._active = nic._wanted = nic._trying = nic._up = False
            nic._reason = 0
            nic._lost = None  # when the address went: the IDF tells of it two minutes later
            nic._since = nic._tries = 0
            mac = bytearray(machine.unique_id())
            mac[5] = mac[5] + interface & 0xFF
            nic._config = {"mac": bytes(mac), "ssid": "", "channel": 1, "pm": 1, "txpower": 20, "protocol": 7}
            nic._config.update({"hidden": False, "security": 0, "max_clients": 4} if nic._ap else {"reconnects": -1})
            cls._all[interface] = nic
        return cls._all[interface]

    def __init__(self, interface=STA_IF):
        pass

    def _update(self):
        """Let happen what has happened since the last call."""
        net = _faults()
        fail = net.get("fail")
        age = time.ticks_diff(time.ticks_ms(), self._since)
        if self._up:
            if fail in ("no_ap", "no_address") or fail == "flap" and age >= net.get("flap_ms", 2000):
                self._lose(STAT_BEACON_TIMEOUT)
        elif self._trying and age >= net.get("connect_ms", 50):
            if fail == "no_ap":
                self._lose(STAT_NO_AP_FOUND)
            elif fail == "password":
                self._lose(net.get("password_status", STAT_WRONG_PASSWORD))
            elif fail != "no_address":
                self._lost = None
                LAN.misled(ETH_STARTED)
                self._up = True
                self._trying = False
                self._reason = 0
                self._since = time.ticks_ms()
                self._config["pm"] = self.PM_PERFORMANCE  # modem sleep comes back with each connection

        elif self._lost is not None and time.ticks_diff(time.ticks_ms(), self._lost) >= net.get("lost_ms", 120000):
            self._lost = None
            LAN.misled(ETH_STOPPED)

    def _lose(self, reason):
        if self._up:
            self._lost = time.ticks_ms()
        self._up = False
        self._reason = reason
        limit = self._config["reconnects"]
        self._trying = limit < 0 or self._tries < limit
        self._tries += 1
        self._since = time.ticks_ms()

    def active(self, on=None):
        """Return whether the interface is on, or switch it."""
        if on is not None:
            self._active = bool(on)
            if not on:
                self._leave()
        return self._active

    def _leave(self):
        if self._up or self._trying:
            self._reason = LEFT
        if self._up:
            self._lost = time.ticks_ms()
        self._up = self._trying = False

    def connect(self, ssid=None, key=None, *, bssid=None):
        """Begin to join a network, and return at once; not while joining or joined."""
        if not self._active:
            raise OSError("Wifi Not Started")
        self._update()
        if self._trying or self._up:
            raise OSError("Wifi Internal State Error" if ssid and self._trying else "Wifi Internal Error")
        if bssid is not None and len(bssid) != 6:
            raise ValueError
        if ssid is not None:
            self._config["ssid"] = ssid
        if not self._config["ssid"]:
            raise OSError("Wifi SSID Invalid")
        self._wanted = self._trying = True
        self._tries = 0
        self._since = time.ticks_ms()  # the reason of an earlier failure stays, as on the chip, until an address is got

    def disconnect(self):
        """Leave the network, or stop joining it."""
        if not self._active:
            raise OSError("Wifi Not Started")
        self._wanted = False
        self._leave()

    def isconnected(self):
        """Return whether the station has an address."""
        self._update()
        return self._up

    def status(self, what=None):
        """Return one of STAT_*, or the IDF's reason of the last loss; "rssi" gives the signal in dBm."""
        if what is not None and what != "rssi":
            raise ValueError("unknown status param")
        if self._ap:
            if what:
                raise OSError("STA required")
            return None
        self._update()
        if what:
            if not self._up and not self._associated():
                raise OSError("Wifi Not Connected")
            return -60
        if self._up:
            return STAT_GOT_IP
        if self._reason in (STAT_NO_AP_FOUND, STAT_WRONG_PASSWORD):
            return self._reason
        if self._reason == LEFT:
            return STAT_IDLE
        if self._wanted and self._trying:
            return STAT_CONNECTING
        return self._reason or STAT_IDLE

    def _associated(self):
        """Return whether there is an access point, but no address yet."""
        net = _faults()
        age = time.ticks_diff(time.ticks_ms(), self._since)
        return self._trying and net.get("fail") == "no_address" and age >= net.get("connect_ms", 50)

    def config(self, *args, **kwargs):
        """Return the value of one parameter, or set some."""
        if args and kwargs:
            raise TypeError("either pos or kw args are allowed")
        if not kwargs:
            if len(args) != 1:
                raise TypeError("can query only one param")
            return hostname() if args[0] == "hostname" else self._config[self._known(args[0])]
        for name, value in kwargs.items():
            if name == "hostname":
                hostname(value)
            elif name not in ("key", "password") or not self._ap:
                if name in ("ssid", "essid") and not self._ap:
                    raise OSError("AP required")
                if name == "channel" and not 0 < value < 14:  # 14 in Japan alone
                    raise RuntimeError("Wifi Unknown Error 0x0102")
                self._config[self._known(name)] = value

    def _known(self, name):
        name = {"essid": "ssid", "authmode": "security"}.get(name, name)
        if name in self._config:
            return name
        if name in ("hidden", "security", "key", "password"):
            raise OSError("AP required")
        if name == "reconnects":
            raise OSError("STA required")
        raise ValueError("unknown config param")


class LAN(_Interface):
    """A W5500 on SPI, the Ethernet that every stock build has; the one object is set up by the first call.

    As on the chip, its status is the number of the last event, whosever: the driver takes events of Wi-Fi's address for
    its own. Its address is right.
    """

    _one = None
    _ALLOWED = ("mdc", "mdio", "reset", "power", "phy_addr", "phy_type", "spi", "cs", "int", "ref_clk_mode", "ref_clk")

    def __new__(cls, id=None, **kwargs):
        if not cls._one:
            if id not in (None, 0):
                raise ValueError("invalid LAN interface identifier")
            for name in kwargs:
                if name not in cls._ALLOWED:
                    raise TypeError("extra keyword arguments given")
            for name in ("phy_addr", "phy_type"):
                if name not in kwargs:
                    raise TypeError("'%s' argument required" % name)
            for name in ("reset", "power", "cs", "int"):
                if kwargs.get(name) is not None:
                    machine.Pin(kwargs[name])
            if not 0 <= kwargs["phy_addr"] <= 31:
                raise ValueError("invalid phy address")
            if kwargs["phy_type"] != PHY_W5500:  # an S3 has no MAC of its own
                raise ValueError("invalid phy type")
            if not isinstance(kwargs.get("spi"), machine.SPI):
                raise ValueError("expecting a SPI object")
            if kwargs.get("int") is None:
                raise OSError("esp_eth_driver_install failed with invalid argument")
            if _faults().get("lan") == "no_chip":
                raise OSError("esp_eth_driver_install failed")
            cls._one = super().__new__(cls)
            cls._one._status = ETH_INITIALIZED
            cls._one._active = cls._one._link = cls._one._up = False
            cls._one._since = 0
        return cls._one

    def __init__(self, id=None, **kwargs):
        pass

    @classmethod
    def misled(cls, status):
        """Take an event of the station's address: 0 and 1 are its numbers, and those of a start and a stop here."""
        if cls._one:
            cls._one._update()
            cls._one._status = status

    def active(self, on=None):
        """Return whether the interface is on, or switch it."""
        if on is not None and bool(on) != self._active:
            self._active = bool(on)
            self._status = ETH_STARTED if on else ETH_STOPPED
            self._link = self._up = False
            self._since = time.ticks_ms()
        return self._active

    def _update(self):
        """Let happen what has happened since the last call; each event sets the status."""
        if not self._active:
            return
        net = _faults()
        fail = net.get("lan", net.get("fail"))
        age = time.ticks_diff(time.ticks_ms(), self._since)
        out = fail == "no_link" or fail == "flap" and age // net.get("flap_ms", 2000) % 2
        link = age >= net.get("connect_ms", 50) and not out
        up = link and fail != "no_address"
        if link != self._link or up < self._up:
            self._status = ETH_CONNECTED if link else ETH_DISCONNECTED
        if up > self._up:
            self._status = ETH_GOT_IP
        self._link = link
        self._up = up

    def status(self):
        """Return one of ETH_*."""
        for nic in WLAN._all.values():
            nic._update()
        self._update()
        return self._status

    def ifconfig(self, value=None):
        """Return (address, mask, gateway, DNS server), or set them; "dhcp" asks for them."""
        if value is None:
            self._update()
            return self._address if self._up else NO_ADDRESS
        return super().ifconfig(value)

    def isconnected(self):
        """Return whether the status is that of an address."""
        return self.status() == ETH_GOT_IP and self._active

    def config(self, name):
        """Return "mac"."""
        if name != "mac":
            raise ValueError("unknown config param")
        mac = bytearray(machine.unique_id())
        mac[5] = mac[5] + 3 & 0xFF
        return bytes(mac)
