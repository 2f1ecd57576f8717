"""What a board reaches: the net, its lines, the meters on them, the brokers. The second half of gateway/selftest.

Each test returns (whether it is well, what was found).
"""
import asyncio

from micropython import const

from gateway import build, data
from lib import once

_WAY_MS = const(30000)  # an association, or a cable's address
_BROKER_MS = const(60000)  # name, TCP, TLS and CONNACK, as lib/mqtt gives them
_TICK_MS = const(200)


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


async def way(conf, secrets, board):
    """Test whether `conf`, the configuration's `network`, gets an address."""
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


async def bus(row, board, lines, number):
    """Test whether the line hears itself as its `row` of `buses` says; keep it in `lines`."""
    from gateway import trial

    pins = [pins for pins in board["uarts"] if pins["id"] == row["uart"]]
    if not pins:
        return False, "a board without UART %d" % row["uart"]
    echo = await trial.echoes(trial.line(row["uart"]))
    lines[number] = row, build.media(row, pins[0])
    return echo == row["echo"], "hears itself" if echo else "does not hear itself"


async def meter(lines, row, told):
    """Test whether the meter of a `row` of `meters` answers, by its own number where it gives one."""
    from gateway import scan, trial

    if row["bus"] not in lines:
        return False, "its bus is not there"
    line, media = lines[row["bus"]]
    async with media.lock:
        await media.set(row.get("baud", line["baud"]), row.get("format", line["format"]))
    profile = data.load("profiles/%s.json" % row["profile"])
    try:
        blocks = await trial.read(media, row["address"], profile, _answered)
    except _Silent as silent:
        return False, silent.args[0]
    values = [value for block in blocks for value in block["values"]]
    good = len([value for value in values if not isinstance(value, tuple)])
    if profile.get("proto", "modbus") == "modbus":
        told.serial = await scan.serial(media, row["address"], row["profile"])
    found = "%d of %d values" % (good, len(values))
    if "device" in row and told.serial and told.serial != row["device"]:
        return False, "%s of meter %s, not of %s" % (found, told.serial, row["device"])
    return True, found


async def uplink(conf, secrets, row):
    """Test whether the broker of a `row` of `uplinks` takes us, with the gateway's own id and login."""
    from lib.mqtt import MQTTClient

    context = None
    if "tls" in row:
        from gateway import secure

        context = secure.Pinned(row["tls"]["ca"], ())
    login = secrets.get("uplinks", {}).get(row["name"], {})
    client = MQTTClient(
        "openami-v1-%s-%s" % (conf["feederId"], conf["gatewayId"]), row["host"], row.get("port"),
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
    return ok, "%s: %s" % (row["host"], found)
