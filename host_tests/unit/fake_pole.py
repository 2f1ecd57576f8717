"""A whole gateway in virtual time: `app` as it starts on a board, its meters and its broker in the same process.

    pole = fake_pole.Pole([("SN-1", "small"), ("SN-2", "large")])
    pole.run(lambda: len(pole.broker.got) > 10)         # a boot, until that holds; then its power is cut
    pole.wipe("journal")                                # flash that was replaced: blank

Import it before anything of the firmware: `time` and `asyncio` live in the pole's clock (fake_uart.Clock) from then on.
Real are all modules of the firmware and the desktop's flash, NVS and RTC; faked are the terminal, with Modbus meters on
it, and the socket, with an MQTT broker behind it that parses by itself. The clock moves only when every task sleeps.
"""

import asyncio
import json
import os
import time

import fake_uart
from fake_broker import CONNACK, payload_of, pid_of, puback

_START_S = 1790000000
_DELAY_US = 20000  # a meter's
BOARD = {"name": "desktop", "uarts": [{"id": 1, "tx": 17, "rx": 18}], "flash": {"journal": 32 * 4096}}
PROFILES = {  # layouts that differ: what one says under the other's is wrong, or not there
    "small": [["1.8.0", 0, 0, "u32", -3, "kWh"]],
    "large": [["32.7.0", 0, 2, "u16", -1, "V"], ["1.8.0", 0, 0, "u32", -3, "kWh"]],
}


class World(fake_uart.Clock):
    """The clock, and asyncio's I/O queue for sockets that are objects."""

    def __init__(self):
        super().__init__()
        self.map = {}  # task that waits: (socket, method that says whether it need not)
        time.ticks_ms, time.ticks_us = self.ticks_ms, self.ticks_us
        time.ticks_diff, time.ticks_add = self.ticks_diff, self.ticks_add
        time._host_ns = lambda: self.us * 1000 + _START_S * 1000000000

    def reset(self):
        """Forget all tasks, as a power cut does."""
        asyncio.new_event_loop()
        asyncio.core._io_queue = self
        self.map.clear()

    def queue_read(self, sock):
        self._wait(sock.readable)

    def queue_write(self, sock):
        self._wait(sock.writable)

    def _wait(self, ready):
        task = asyncio.core.cur_task
        self.map[task] = ready
        task.data = self

    def remove(self, task):
        self.map.pop(task, None)

    def wait_io_event(self, ms):
        woken = [task for task, ready in self.map.items() if ready()]
        for task in woken:
            del self.map[task]
            asyncio.core._task_queue.push(task)
        if not woken:
            super().wait_io_event(ms)


world = World()

import socket  # noqa: E402

import esp32  # noqa: E402  these take `time` as it is now
import machine  # noqa: E402

from gateway import app, clock, events, standing  # noqa: E402, F401
from lib import once  # noqa: E402
from lib.journal import mount as mount  # noqa: E402


class Uart:
    """The line: one frame out, its reply in; `silent` units say nothing."""

    def __init__(self):
        self.meters = {}
        self.silent = ()
        self._reply = b""
        self._at = 0

    def write(self, frame):
        meter = self.meters.get(frame[0])
        self._reply = meter.answer(bytes(frame)) if meter and frame[0] not in self.silent else b""
        self._at = world.us + _DELAY_US
        return len(frame)

    def flush(self):
        pass

    def any(self):
        return len(self._reply) if world.us >= self._at else 0

    def readinto(self, buf):
        n = min(self.any(), len(buf))
        if not n:
            return None
        buf[:n] = self._reply[:n]
        self._reply = self._reply[n:]
        return n


class Socket:
    """A TCP connection to the broker, as far as lib/mqtt uses one."""

    def __init__(self, broker):
        self._broker = broker
        self._got = b""  # of the client, not parsed yet
        self.answers = b""
        self.broken = False
        self.sessions = 0

    def setblocking(self, flag):
        assert flag is False

    def setsockopt(self, level, option, value):
        assert (level, option, value) == (6, 1, 1)

    def connect(self, address):
        if self._broker.down:
            raise OSError(111)
        self._broker.connections.append(self)
        raise OSError(115)  # EINPROGRESS

    def close(self):
        self.broken = True
        if self in self._broker.connections:
            self._broker.connections.remove(self)

    def readable(self):
        return self.broken or self.answers

    def writable(self):
        return True

    def readinto(self, buf):
        if self.broken:
            return 0
        n = min(len(buf), len(self.answers))
        buf[:n] = self.answers[:n]
        self.answers = self.answers[n:]
        return n or None

    def write(self, data):
        if self.broken:
            raise OSError(104)
        self._got += bytes(data)
        while len(self._got) > 1:
            length = shift = 0
            at = 1
            while at < len(self._got):
                length |= (self._got[at] & 127) << shift
                shift += 7
                at += 1
                if self._got[at - 1] < 128:
                    break
            else:
                return len(data)
            if len(self._got) < at + length:
                return len(data)
            self._broker.packet(self, self._got[0], self._got[at : at + length])
            self._got = self._got[at + length :]
        return len(data)


class Broker:
    """`take(topic, payload)` is called with each message that is acknowledged; `down` refuses, `deaf` says nothing."""

    def __init__(self, take):
        self.take = take
        self.connections = []
        self.down = self.deaf = False
        self.sessions = 0

    def packet(self, sock, first, body):
        if first == 0x10:
            self.sessions += 1
            sock.answers += CONNACK
        elif first & 0xF0 == 0x30:
            topic = body[2 : 2 + int.from_bytes(body[:2], "big")].decode()
            if not self.deaf:
                self.take(topic, payload_of(body))
                sock.answers += puback(pid_of(body))
        elif first == 0xC0:
            sock.answers += b"\xd0\x00"
        else:
            assert first == 0xE0, hex(first)

    def cut(self):
        """End every connection."""
        for sock in self.connections:
            sock.broken = True
        self.connections.clear()


class Dog:
    """The watchdog: it bites."""

    def __init__(self, timeout):
        self._timeout = timeout
        self.feed()

    def feed(self):
        now = world.us
        assert now - getattr(self, "_fed", now) < self._timeout * 1000, "the board would have been reset"
        self._fed = now


class Meter(fake_uart.Meter):
    """Counts 1 Wh a poll from `base` on; `base` + 0 to 999999 are its own."""

    def __init__(self, unit, base):
        super().__init__(unit, {})
        self.base = base

    def answer(self, request):
        energy = self.base + self.asked
        for at, word in enumerate((energy >> 16, energy & 0xFFFF, 2300)):
            self.registers[3, at] = word
        return super().answer(request)


class Pole:
    """One gateway; `messages` is a list of (topic, payload) unless `take` gets them."""

    def __init__(self, meters, take=None, every=5, outlets=("operator",)):
        self.messages = []
        self.every = every
        self.broker = Broker(take or (lambda topic, payload: self.messages.append((topic, bytes(payload)))))
        self.uart = Uart()
        self.known = {}  # serial: Meter
        machine.UART = lambda number, **settings: self.uart
        machine.WDT = Dog
        socket.socket = lambda *kind: Socket(self.broker)
        self.outlets = outlets
        os.mkdir("profiles")
        self._write("board.json", BOARD)
        self._write("secrets.json", {})
        for name, rows in PROFILES.items():
            self._write("profiles/%s.json" % name, {
                "v": 1, "id": name, "n": name, "ph": 1, "ser": ["9600N1"], "lim": [16, 1, 20, 300],
                "blk": [[3, 0, 3, 1]], "q": rows, "probe": [[3, 0, 2, "u32", {"min": 0, "max": 4294967295}]],
                "conf": "H", "note": "of the tests",
            })  # fmt: skip
        self.configure(meters)

    @staticmethod
    def _write(name, content):
        with open(name, "w") as file:
            json.dump(content, file)

    def configure(self, meters):
        """Change `meters`, [(serial, profile), ...], for the next boot; the addresses follow their order."""
        self.uart.meters.clear()
        rows = []
        for unit, (serial, profile) in enumerate(meters, 1):
            if serial not in self.known:
                self.known[serial] = Meter(unit, (len(self.known) + 1) * 1000000)
            meter = self.uart.meters[unit] = self.known[serial]
            meter.unit = unit
            rows.append({"serial": serial, "bus": 0, "address": unit, "profile": profile, "every": self.every})
        self._write("gateway.json", {
            "feederId": "f", "gatewayId": "g", "board": "desktop", "buses": [{"uart": 1}], "meters": rows,
            "uplinks": [{"name": name, "kind": "mqtt", "host": "192.0.2.1"} for name in self.outlets],
            "clock": {"ntp": []},
        })  # fmt: skip

    def wipe(self, *parts):
        """Let flash be blank where there was `journal`, `files` (of the file system, configuration aside) or `nvs`."""
        for part in parts:
            if part != "files":
                os.remove("flash/" + {"journal": "journal.bin", "nvs": "nvs.json"}[part])
                continue
            for name in os.listdir():
                if name[-2:] in (".0", ".1"):
                    os.remove(name)

    def start(self):
        """Boot: return the Gateway, its time known."""
        world.reset()
        esp32._files.clear()
        esp32._live.clear()
        clock._last, clock._uptime_ms = world.ticks_ms(), 0
        made = once.call("gateway.build", "gateway", app.Gateway)
        assert made, "the configuration was refused"
        self.gateway = made
        made.clock.set(world.us // 1000 + _START_S * 1000, clock.NTP, 20)
        return made

    async def _until(self, done, limit_s):
        task = asyncio.create_task(self.gateway.run())
        until = world.us + limit_s * 1000000
        while not done():
            assert world.us < until, "it never came"
            assert not task.done()
            await asyncio.sleep_ms(100)

    def run(self, done, limit_s=600):
        """Boot and run until `done()`, then cut the power."""
        self.start()
        asyncio.run(self._until(done, limit_s))
        self.broker.cut()
