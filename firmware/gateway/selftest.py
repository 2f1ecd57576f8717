"""What an installer wants to know before he comes down from the pole. `meshems provision` runs it; no gateway loads it.

    import asyncio
    from gateway import build, selftest
    asyncio.run(selftest.run(*build.configuration()[:2], print))
"""
import asyncio
import os
import time

import esp32
import network
from micropython import const

from gateway import build, clock, data
from lib import civil, once
from lib.journal import Journal

_SCRATCH = const("scratch")
_WAY_MS = const(30000)  # an association, or a cable's address
_BROKER_MS = const(60000)  # name, TCP, TLS and CONNACK, as lib/mqtt gives them
_TICK_MS = const(200)
_SECOND_MS = const(1100)
_GRAIN_MS = const(150)
_DRIFT_MS = const(2000)


async def run(conf, secrets, say):
    """Test this board with the configuration in force; `say` each result as soon as it is known.

    A result is {"test", "ok", "found", "expected"}: "flash", "journal", "clock", "radio", "network" (where configured),
    "meter SERIAL" and "uplink NAME"; "serial" is what a meter gives as its own. A test never raises.
    """
    board = data.load("board.json")
    told = _Told(say)
    await told.by("flash", "what was written is read back", _flash)
    await told.by("journal", "a partition that mounts", _journal)
    await told.by("clock", "a second takes a second", _clock, board)
    await told.by("radio", "an address of its own", _radio)
    if conf["network"]:
        await told.by("network", "connected", _way, conf["network"], secrets, board)
    lines = {}
    for meter in conf["meters"]:
        await told.by("meter " + meter["serial"], "it answers", _meter, conf, board, lines, meter, told)
    for uplink in conf["uplinks"]:
        await told.by("uplink " + uplink["name"], "connected", _uplink, conf, secrets, uplink)


class _Told:
    """Says results; `serial` is added to that of a meter."""

    def __init__(self, say):
        self._say = say
        self.serial = None

    async def by(self, name, expected, test, *args):
        """Say what `test` returns: (whether it is well, what was found); what it raises is what was found."""
        self.serial = None
        try:
            ok, found = await test(*args)
        except Exception as error:  # MemoryError among them
            ok, found = False, repr(error)
        row = {"test": name, "ok": ok, "found": found, "expected": expected}
        if self.serial:
            row["serial"] = self.serial
        self._say(row)


async def _flash():
    wrote = os.urandom(512)
    with open(_SCRATCH, "wb") as file:
        file.write(wrote)
    with open(_SCRATCH, "rb") as file:
        read = file.read()
    os.remove(_SCRATCH)
    free = os.statvfs(os.getcwd())
    return read == wrote, "%d kB free" % (free[0] * free[3] >> 10)


async def _journal():
    found = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="journal")
    if not found:
        return False, "no partition `journal`"
    journal = Journal(found[0])
    journal.mount()
    return True, "%d kB, %d records" % (found[0].info()[3] >> 10, journal.next - journal.first)


async def _clock(board):
    rtcs = build.rtcs(board)
    began = time.ticks_ms()
    first = [_ms(rtc) for rtc, _, _ in rtcs]
    await asyncio.sleep_ms(_SECOND_MS)
    last = [_ms(rtc) for rtc, _, _ in rtcs]
    away = time.ticks_diff(time.ticks_ms(), began)
    for i in range(len(rtcs)):
        if not first[i] or not last[i]:
            return False, "clock %d has no time" % i
        if abs(last[i] - first[i] - away) > _GRAIN_MS + rtcs[i][2]:
            return False, "clock %d took %d ms for %d" % (i, last[i] - first[i], away)
    if abs(last[-1] - last[0]) > _DRIFT_MS:
        return False, "the two clocks are %d ms apart" % (last[-1] - last[0])
    return last[0] > clock.BUILT, "%d clock%s, UTC %d" % (len(rtcs), "s" * (len(rtcs) > 1), last[0] // 1000)


def _ms(rtc):
    """Return the unix ms of a clock, 0 when it has no time."""
    fields = rtc.datetime()
    if not fields:
        return 0
    return civil.unix_s(fields[0], fields[1], fields[2], *fields[4:7]) * 1000 + fields[7] // 1000


async def _radio():
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    mac = wlan.config("mac")
    return mac != bytes(6), ":".join(["%02x" % byte for byte in mac])


class _Stub:
    """Stands for the gateway and its parts where gateway/ways wants them."""

    network = None

    def __init__(self):
        self.health = self.recorder = self
        self.outlets = (self,)

    def keep(self, name, start, limit_ms):
        asyncio.create_task(start(self))

    def event(self, *args):
        pass

    def beat(self):
        pass


async def _way(conf, secrets, board):
    if conf.get("ethernet") and once.call("gateway.ways", "wired", conf, board):
        return False, "a board without a W5500"
    stub = _Stub()
    once.call("gateway.ways", "start", stub, conf, secrets.get("network", {}).get("wifi", {}).get("password"))
    way: object = stub.network
    for _ in range(0, _WAY_MS, _TICK_MS):
        if way.via:
            return True, "connected by " + way.via
        if way.reason and not conf.get("ethernet"):  # else Wi-Fi takes over
            break
        await asyncio.sleep_ms(_TICK_MS)
    return False, way.reason or "no answer in %d s" % (_WAY_MS // 1000)


class _Silent(Exception):
    """A meter that does not give its first block is not asked for the others: each takes seconds."""


def _answered(block):
    values = block["values"]
    if not [value for value in values if not isinstance(value, tuple)]:
        raise _Silent(values[0][0] if values else "nothing to read")


async def _meter(conf, board, lines, meter, told):
    from gateway import scan, trial

    number = meter["bus"]
    bus = conf["buses"][number]
    if number not in lines:
        pins = [row for row in board["uarts"] if row["id"] == bus["uart"]]
        if not pins:
            return False, "a board without UART %d" % bus["uart"]
        lines[number] = build.media(bus, pins[0])
    media = lines[number]
    async with media.lock:
        await media.set(meter.get("baud", bus["baud"]), meter.get("format", bus["format"]))
    profile = data.load("profiles/%s.json" % meter["profile"])
    try:
        blocks = await trial.read(media, meter["address"], profile, _answered)
    except _Silent as silent:
        return False, silent.args[0]
    values = [value for block in blocks for value in block["values"]]
    good = len([value for value in values if not isinstance(value, tuple)])
    if profile.get("proto", "modbus") == "modbus":
        told.serial = await scan.serial(media, meter["address"], meter["profile"])
    found = "%d of %d values" % (good, len(values))
    if "device" in meter and told.serial and told.serial != meter["device"]:
        return False, "%s of meter %s, not of %s" % (found, told.serial, meter["device"])
    return True, found


async def _uplink(conf, secrets, uplink):
    from lib.mqtt import MQTTClient

    context = None
    if "tls" in uplink:
        from gateway import secure

        context = secure.Pinned(uplink["tls"]["ca"], ())
    login = secrets.get("uplinks", {}).get(uplink["name"], {})
    client = MQTTClient(
        "openami-v1-%s-%s" % (conf["feederId"], conf["gatewayId"]), uplink["host"], uplink.get("port"),
        login.get("username"), login.get("password"), ssl=context, limit=128,
    )  # fmt: skip
    task = asyncio.create_task(client.run())
    for _ in range(0, _BROKER_MS, _TICK_MS):
        await asyncio.sleep_ms(_TICK_MS)
        if client.connected or client.error:
            break
    ok = client.connected
    found = "connected" if ok else client.state if client.state.startswith("refused") else client.error or "no answer"
    await client.close()
    task.cancel()
    return ok, "%s: %s" % (uplink["host"], found)
