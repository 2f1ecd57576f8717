"""Stands in for the chip's `espnow`: frames between the processes of this host, over loopback multicast, with loss.

./air.json in the working directory says where the antenna is: {"port": 46600, "x": 0, "y": 0, "loss": 5}. Boards with
the same port share the air; x and y are metres, from which signal and loss follow (log-distance, exponent 3; a
logistic reception rate at -94 dBm); `loss` is percent of all that is received beyond that. It is read again each
second; without the file nobody hears anything.

As on the chip: frames of at most 250 bytes, a ring that drops what it has no room for, twenty peers, errors with the
IDF's numbers, a unicast frame tried six times and acknowledged by the other radio even when its ring is full or its
program hangs, but not when it has no power or is on another channel. The sender's radio knows a receiver from the
first broadcast that it got from there, lost ones too.
"""
import errno
import io
import json
import math
import random
import socket
import struct
import time

import network

MAX_DATA_LEN = 250
KEY_LEN, ADDR_LEN = 16, 6
MAX_TOTAL_PEER_NUM = 20
MAX_ENCRYPT_PEER_NUM = 6

_GROUP = "239.77.83.1"
_BROADCAST = b"\xff" * 6
_HEAD = "<4s6s6sBHiiI"  # "mesh", from, to, channel, port of its own socket, x, y, ticks_ms
_MARK = b"mesh"
_IP, _MULTICAST_IF, _ADD_MEMBERSHIP = 0, 32, 35  # Linux: in.h
_RING_HEAD = 13  # bytes that a frame costs in the ring besides its own
_TRIES = 6
_OK_MS, _FAILED_MS = 3, 20  # until the answer to a unicast frame
_NUMBERS = {
    "NOT_INIT": -12389, "ARG": -12390, "NO_MEM": -12391, "FULL": -12392, "NOT_FOUND": -12393, "EXIST": -12395,
    "IF": -12396, "CHAN": -12397,
}  # fmt: skip


def _error(name):
    return OSError(_NUMBERS[name], "ESP_ERR_ESPNOW_" + name)


def _wlan():
    """Return the interface that is on, None when none is."""
    for kind in (network.STA_IF, network.AP_IF):
        nic = network.WLAN._all.get(kind)
        if nic and nic.active():
            return nic
    return None


def _chance(rssi, loss):
    """Return the probability that a frame of this signal (dBm) is received."""
    return (100 - loss) / 100 / (1 + math.exp(min(60, (-94 - rssi) / 1.6)))


class ESPNow(io.IOBase):
    """The one object. Every call serves the sockets, so what came while nobody called lies in the ring afterwards."""

    _one = None

    def __new__(cls):
        if not cls._one:
            one = super().__new__(cls)
            one._on = False
            one._rxbuf, one._timeout = 526, 300000
            one._ring, one._used = [], 0
            one._peers = {}
            one._stats = [0] * 5
            one._due = []  # (when, whether it was acknowledged) of the frames sent, in order
            one._air = None
            one._read_at = None
            one._all = one._own = None  # the sockets
            one._channel = 0
            one._known = {}  # address: (channel, port, x, y) of whoever was on the air
            one._bufs = None
            one._irq = None
            one.peers_table = {}
            cls._one = one
        return cls._one

    def __init__(self):
        pass

    # --- the air ------------------------------------------------------------------------------------------------------

    def _look(self):
        """Read air.json, at most once a second, and follow the radio's channel."""
        now = time.ticks_ms()
        nic = _wlan()
        channel = nic.config("channel") if nic else 0
        if self._read_at is None or time.ticks_diff(now, self._read_at) >= 1000:
            self._read_at = now
            try:
                with open("air.json") as file:
                    self._air = json.load(file)
            except OSError:
                self._air = None
        if self._air and not self._all:
            self._all = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._all.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            here = bytes((127, 0, 0, 1))
            self._all.bind(socket.getaddrinfo(_GROUP, self._air["port"])[0][-1])
            self._all.setsockopt(_IP, _ADD_MEMBERSHIP, bytes(map(int, _GROUP.split("."))) + here)
            self._all.setblocking(False)
        if self._all and (channel != self._channel or not self._own):
            if self._own:
                self._own.close()
            self._own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for _ in range(1024):  # the built-in module does not tell a port that the host has chosen
                self._port = 20000 + random.getrandbits(13)
                try:
                    self._own.bind(socket.getaddrinfo("127.0.0.1", self._port)[0][-1])
                    break
                except OSError:
                    pass
            self._own.setsockopt(_IP, _MULTICAST_IF, bytes((127, 0, 0, 1)))
            self._own.setblocking(False)
        self._channel = channel
        return nic

    def _signal(self, x, y):
        metres = math.sqrt((x - self._air.get("x", 0)) ** 2 + (y - self._air.get("y", 0)) ** 2)
        return int(24 - 40.2 - 30 * math.log10(max(1, metres)))

    def _serve(self):
        """Take what has come into the ring."""
        nic = self._look()
        if not self._all:
            return
        own = nic and nic.config("mac")
        for sock in (self._all, self._own):
            while True:
                try:
                    data = sock.recv(600)
                except OSError:
                    break
                if len(data) < struct.calcsize(_HEAD) or data[:4] != _MARK:
                    continue
                _, source, to, channel, port, x, y, ticks = struct.unpack(_HEAD, data)
                if source == own:
                    continue
                if sock is self._all:
                    self._known[source] = channel, port, x, y
                rssi = self._signal(x, y)
                if not self._on or channel != self._channel or to not in (own, _BROADCAST):
                    continue
                if sock is self._all and random.random() >= _chance(rssi, self._air.get("loss", 0)):
                    continue
                self._take(source, rssi, ticks + 1, data[struct.calcsize(_HEAD) :])

    def _take(self, source, rssi, ticks, data):
        if self._used + _RING_HEAD + len(data) >= self._rxbuf:
            self._stats[4] += 1
            return
        self._used += _RING_HEAD + len(data)
        self._ring.append((source, rssi, ticks & 0xFFFFFFFF, data))
        self._stats[3] += 1
        if self._irq:
            self._irq[0](self._irq[1])

    def _reach(self, mac, frame):
        """Put a unicast frame on the air; return whether it is acknowledged."""
        channel, port, x, y = self._known.get(mac, (0, 0, 0, 0))
        if not port or channel != self._channel:
            return False
        chance = _chance(self._signal(x, y), self._air.get("loss", 0))
        heard = acked = False
        for _ in range(_TRIES):
            if random.random() < chance:
                heard = True
                if random.random() < chance:
                    acked = True
                    break
        if not heard:
            return False
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
            sock.send(frame)
            sock.recv(1)  # a port that is closed, with the process that had it, says so at once
        except OSError as error:
            if error.errno != errno.EAGAIN:
                return False
        finally:
            sock.close()
        return acked

    # --- what the chip's module has -----------------------------------------------------------------------------------

    def active(self, on=None):
        """Return whether it is on, or switch it: off forgets the peers and what was received."""
        if on is not None and bool(on) != self._on:
            self._on = bool(on)
            self._ring, self._used = [], 0
            if not on:
                self._peers = {}
                self._due = []
                self._stats[0] = self._stats[1]
            self._look()
        return self._on

    def _ready(self):
        if not self._on:
            raise _error("NOT_INIT")
        self._serve()

    def config(self, *args, **kwargs):
        """Return one of rxbuf, timeout_ms, or set rxbuf (from the next active(True) on), timeout_ms, rate, pm."""
        for name, value in kwargs.items():
            if name == "rxbuf":
                self._rxbuf = value
            elif name == "timeout_ms":
                self._timeout = value
            elif name not in ("rate", "pm"):
                raise TypeError("extra keyword arguments given")
        if args:
            if args[0] not in ("rxbuf", "timeout_ms"):
                raise ValueError("unknown config param")
            return self._rxbuf if args[0] == "rxbuf" else self._timeout

    def irq(self, callback, arg=None):
        """Call `callback(arg)` for each frame that comes, None for nobody; here while some call serves the sockets."""
        if callback is not None and not callable(callback):
            raise ValueError("invalid handler")
        self._irq = None if callback is None else (callback, arg)

    def stats(self):
        """Return (sent, answers, of these failures, received, dropped)."""
        while self._due and time.ticks_diff(time.ticks_ms(), self._due[0][0]) >= 0:
            self._stats[1] += 1
            self._stats[2] += not self._due.pop(0)[1]
        return tuple(self._stats)

    def send(self, mac, msg=None, sync=True):
        """Send to one peer, or to all but broadcast; True, or with `sync` whether all have acknowledged it."""
        self._ready()
        if msg is None:
            mac, msg = None, mac
        if mac and len(mac) != 6:
            raise ValueError("invalid buffer length")
        if not 0 < len(msg) <= MAX_DATA_LEN:
            raise _error("ARG")
        if mac and bytes(mac) not in self._peers:
            raise _error("NOT_FOUND")
        nic = _wlan()
        if not nic:
            raise _error("IF")
        good = True
        for to in [bytes(mac)] if mac else [one for one in self._peers if one != _BROADCAST]:
            if self._peers[to][1] not in (0, self._channel):
                raise _error("CHAN")
            acked = to == _BROADCAST
            if self._air:
                place = self._air.get("x", 0), self._air.get("y", 0), time.ticks_ms() & 0xFFFFFFFF
                head = struct.pack(_HEAD, _MARK, nic.config("mac"), to, self._channel, self._port, *place)
                if acked:
                    self._own.sendto(head + msg, socket.getaddrinfo(_GROUP, self._air["port"])[0][-1])
                else:
                    acked = self._reach(to, head + msg)
            self._stats[0] += 1
            self._due.append((time.ticks_add(time.ticks_ms(), _OK_MS if acked else _FAILED_MS), acked))
            good = good and acked
        if sync:
            while self.stats()[1] < self._stats[0]:
                time.sleep_ms(1)
        return good or not sync

    def any(self):
        """Return whether a frame can be read."""
        self._ready()
        return bool(self._ring)

    def recvinto(self, data, timeout_ms=None):
        """Put the next frame into the list [address, buffer of 250 bytes, dBm, ms]; return its length, 0 for none."""
        self._ready()
        if not isinstance(data, list) or len(data) < 2:
            raise ValueError("ESPNow.recvinto(): Invalid argument")
        buf = data[1]
        if buf is self._bufs:  # the chip knows how much was allocated
            buf.extend(bytes(MAX_DATA_LEN - len(buf)))
        if len(buf) != MAX_DATA_LEN:
            raise ValueError("invalid buffer length")
        timeout_ms = self._timeout if timeout_ms is None else timeout_ms
        began = time.ticks_ms()
        while not self._ring:
            if 0 <= timeout_ms <= time.ticks_diff(time.ticks_ms(), began):
                return 0
            time.sleep_ms(1)
            self._serve()
        source, rssi, ticks, frame = self._ring.pop(0)
        self._used -= _RING_HEAD + len(frame)
        if source not in self.peers_table:
            self.peers_table[source] = [0, 0]
        self.peers_table[source][:] = rssi, ticks
        buf[: len(frame)] = frame
        if isinstance(buf, bytearray):
            self._bufs = buf
            buf[len(frame) :] = b""
        data[0] = source
        if len(data) >= 4:
            data[2:4] = rssi, ticks
        return len(frame)

    def recv(self, timeout_ms=None):
        """Return [address, bytes] of the next frame, (None, None) when none came in time."""
        data = [None, bytearray(MAX_DATA_LEN)]
        return [data[0], bytes(data[1])] if self.recvinto(data, timeout_ms) else (None, None)

    _data = None

    def irecv(self, timeout_ms=None):
        """Return [address, bytearray], the same list and buffer each time; (None, None) when none came in time."""
        self._data = self._data or [None, bytearray(MAX_DATA_LEN)]
        return self._data if self.recvinto(self._data, timeout_ms) else (None, None)

    def set_pmk(self, key):
        """Take 16 bytes; nothing is encrypted here."""
        if len(key) != 16:
            raise ValueError("invalid buffer length")

    def add_peer(self, mac, lmk=None, channel=0, ifidx=0, encrypt=None):
        """Let frames be sent to an address."""
        mac = bytes(mac)
        if len(mac) != 6 or lmk and len(lmk) != 16:
            raise ValueError("invalid buffer length")
        if not self._on:
            raise _error("NOT_INIT")
        if mac in self._peers:
            raise _error("EXIST")
        if lmk and mac == _BROADCAST:
            raise _error("ARG")
        secret = len([1 for peer in self._peers.values() if peer[0]])
        if len(self._peers) >= MAX_TOTAL_PEER_NUM or lmk and secret >= MAX_ENCRYPT_PEER_NUM:
            raise _error("FULL")
        self._peers[mac] = lmk or b"", channel, ifidx, bool(lmk)

    def del_peer(self, mac):
        """Forget an address."""
        if not self._on:
            raise _error("NOT_INIT")
        if bytes(mac) not in self._peers:
            raise _error("NOT_FOUND")
        del self._peers[bytes(mac)]

    def get_peer(self, mac):
        """Return (address, key, channel, interface, encrypted)."""
        if bytes(mac) not in self._peers:
            raise _error("NOT_FOUND")
        return (bytes(mac),) + self._peers[bytes(mac)]

    def get_peers(self):
        """Return such a tuple of each peer but broadcast."""
        return tuple([(mac,) + peer for mac, peer in self._peers.items() if mac != _BROADCAST])

    def peer_count(self):
        """Return (peers, encrypted ones)."""
        return len(self._peers), len([1 for peer in self._peers.values() if peer[0]])

    def ioctl(self, request, arg):
        """Poll: readable with a frame in the ring, writable when every frame sent was answered."""
        if request != 3:
            return -1
        self._ready()
        stats = self.stats()
        return arg & ((1 if self._ring else 0) | (4 if stats[0] == stats[1] else 0))
