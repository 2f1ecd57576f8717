"""Wires the gateway together: the only module that knows all the others.

What is not configured is not imported. The order of start: number of the boot, clock, configuration, journal, then one
supervised task for each bus, each outlet, the recorder and the time.
"""
import asyncio
import gc
import os
import sys

import esp32
import machine

from gateway import clock, data, log, metering
from gateway.dating import Dating
from gateway.health import WATCHDOG_MS, Health
from gateway.ids import Ids
from gateway.northbound import Northbound
from gateway.recorder import Recorder
from lib import proto
from lib.journal import Journal
from lib.media.rs485 import RS485

BUS_LIMIT_MS = 20000  # the longest sign of life apart of a task; the watchdog bites WATCHDOG_MS later
UPLINK_LIMIT_MS = 60000
TASK_LIMIT_MS = 10000
CLOSE_MS = 2000
PARITY = {"N": None, "E": 0, "O": 1}


def _count(nvs, key):
    """Return the number under `key` in the NVS, grown by one and committed before it is used."""
    try:
        number = nvs.get_i32(key) + 1
    except OSError:
        number = 1
    nvs.set_i32(key, number)
    nvs.commit()
    return number


def _epoch(nvs, fresh):
    """Return the journal's epoch, 16 random bits: a new one for an empty journal, so that no `seq` comes twice."""
    try:
        if not fresh:
            return nvs.get_i32("epoch")
    except OSError:
        pass
    epoch = int.from_bytes(os.urandom(2), "big")
    nvs.set_i32("epoch", epoch)
    nvs.commit()
    return epoch


class Gateway:
    """Everything that one configuration describes; `run` starts it."""

    def __init__(self, conf, secrets, problems):
        self._conf = conf
        self._secrets = secrets
        self._problems = problems
        nvs = esp32.NVS("gw")
        boot = _count(nvs, "boot")
        self.clock = clock.Clock(machine.RTC(), nvs)
        source = clock.SOURCES[self.clock.source]
        log.info("app", "boot %d, reset cause %d, clock %s" % (boot, machine.reset_cause(), source))
        self.journal = Journal(esp32.Partition.find(esp32.Partition.TYPE_DATA, label="journal")[0])
        self.journal.mount()
        self.ids = Ids()
        self.recorder = Recorder(self.journal, boot, self.clock)
        self.buses = self._buses()
        gc.collect()
        self.outlets = self._outlets(_epoch(nvs, self.journal.empty), Dating(self.journal, self.clock, boot))

    def _buses(self):
        pins = {uart["id"]: uart for uart in data.load("board.json")["uarts"]}
        buses = []
        for number, bus in enumerate(self._conf["buses"]):
            media = None
            if bus["uart"] in pins:
                media = _media(bus, pins[bus["uart"]])
            else:
                self._problems += 1
                log.error("config", "buses[%d].uart: found %d, allowed %s" % (number, bus["uart"], sorted(pins)))
            buses.append(metering.Bus("bus %d" % number, media, [], self.clock, self.recorder))
        plans = {}
        for meter in self._conf["meters"]:
            name = meter["profile"]
            if name not in plans:
                profile = data.load("profiles/%s.json" % name)
                protocol = profile.get("proto", "modbus")
                batches = proto.load(protocol).plan(profile)
                plans[name] = protocol, batches, metering.columns(batches)
                profile = None
                gc.collect()
            meter["proto"], batches, columns = plans[name]
            made = metering.Meter(meter, self.ids.slot(meter["serial"]), self.ids.schema(columns), batches)
            buses[meter["bus"]].meters.append(made)
        return [bus for bus in buses if bus.meters and bus.media]

    def _outlets(self, epoch, dating):
        if not self._conf["uplinks"]:
            return []
        from gateway.uplink import Outlet

        every = {meter.slot: meter.every for bus in self.buses for meter in bus.meters}
        northbound = Northbound(self._conf["feederId"], self._conf["gatewayId"], self.ids, every, epoch)
        secrets = self._secrets.get("uplinks", {})
        return [
            Outlet(
                uplink, secrets.get(uplink["name"], {}), self.journal, self.ids.cursor(uplink["name"]),
                self.ids, northbound, dating, self.clock, self._problems,
            )
            for uplink in self._conf["uplinks"]
        ]  # fmt: skip

    async def run(self):
        """Start every task and supervise them; never returns."""
        health = self.health = Health(machine.WDT(timeout=WATCHDOG_MS))
        health.keep("recorder", self.recorder.run, TASK_LIMIT_MS)
        for bus in self.buses:
            health.keep(bus.name, bus.run, BUS_LIMIT_MS)
        for outlet in self.outlets:
            health.keep("link " + outlet.name, outlet.link, UPLINK_LIMIT_MS)
            health.keep("uplink " + outlet.name, outlet.run, UPLINK_LIMIT_MS)
        if "wifi" in self._conf["network"]:
            from gateway.network import Station

            wifi = self._conf["network"]["wifi"]
            password = self._secrets.get("network", {}).get("wifi", {}).get("password")
            health.keep("network", Station(wifi["ssid"], password).run, TASK_LIMIT_MS)
        if self._conf["clock"]["ntp"]:
            from gateway.timesync import TimeSync

            health.keep("clock", TimeSync(self._conf["clock"]["ntp"], self.clock, self.recorder).run, BUS_LIMIT_MS)
        await health.run()

    async def close(self):
        """Commit what is pending and leave in good order."""
        self.recorder.commit()
        for outlet in self.outlets:
            await outlet.close(CLOSE_MS)
        log.info("app", "closed: %d records stored" % (self.journal.next - self.journal.first))


def _media(bus, pins):
    uart = machine.UART(
        bus["uart"], baudrate=bus["baud"], bits=8, parity=PARITY[bus["format"][1]], stop=int(bus["format"][2]),
        tx=pins["tx"], rx=pins["rx"], txbuf=512, rxbuf=512, timeout=0, timeout_char=0,
    )  # fmt: skip
    de = machine.Pin(pins["de"], machine.Pin.OUT) if "de" in pins else None
    return RS485(uart, bus["baud"], bus["format"], de, bus["echo"])


def _configuration():
    """Return (config, secrets, number of problems); the modules that judged it give their memory back."""
    from gateway import config

    conf, secrets, problems = config.load()
    for path, found, allowed in problems:
        log.error("config", "%s: found %s, allowed %s" % (path, found, allowed))
    for name in ("gateway.config", "lib.schema", "lib.strictjson"):
        package, _, part = name.partition(".")
        del sys.modules[name]
        delattr(sys.modules[package], part)
    return conf, secrets, len(problems)


def main():
    """Run the gateway until the board is reset, or until the console says Ctrl-C."""
    conf, secrets, problems = _configuration()
    gc.collect()
    if conf is None:
        log.error("config", "no valid configuration: nothing to run")
        return
    gateway = Gateway(conf, secrets, problems)
    try:
        asyncio.run(gateway.run())
    except KeyboardInterrupt:
        asyncio.run(gateway.close())
