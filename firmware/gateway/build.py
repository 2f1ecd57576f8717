"""Makes the parts of a gateway from its configuration: needed at start only, then its memory is given back."""
import gc
import os

import esp32
import machine

from gateway import clock, data, log
from gateway.ids import Ids
from gateway.metering import Bus
from gateway.recorder import Recorder
from gateway.records import INFO, ONCE
from gateway.replay import Dating
from lib import once
from lib.media.rs485 import RS485

_RTC_MS = 20  # how well the chip's clock is set
_PARITY = {"N": None, "E": 0, "O": 1}
_changes: list = []  # events of this start


def gateway(kind):
    """Return a `kind` (gateway/app) of what is in force, None when there is nothing.

    Nothing of the start stays behind.
    """
    conf, secrets, problems = configuration()
    gc.collect()
    made = None
    if conf:
        made = kind()
        found = parts(conf, secrets, problems)
        made.clock, made.journal, made.recorder, made.buses, made.outlets, made.archive, made.mesh = found
        made.report_ms = conf["health"]["every"] * 1000
        password = secrets.get("network", {}).get("wifi", {}).get("password")
        made._start = conf["clock"]["ntp"], conf["network"], password, conf.get("extras")
        for code, detail in _changes:
            made.recorder.event(0, code, INFO, ONCE, detail)
    for name in ("gateway.ids", "gateway.data", "lib.twin"):
        once.forget(name)
    return made


def configuration():
    """Return (config, secrets, number of problems) of what is in force; (None, None, number) when there is nothing."""
    if "incoming" in os.listdir():  # the power went while a new one was put in its place
        once.call("gateway.incoming", "land")
    kept = once.call("gateway.parsed", "load")
    if kept:
        return kept + (0,)
    from gateway import config

    conf, secrets, problems = config.load()
    for path, found, allowed in problems:
        log.error("config", "%s: found %s, allowed %s" % (path, found, allowed))
    if not problems:
        try:
            _changes.extend(once.call("gateway.parsed", "save", conf, secrets))
        except OSError as error:  # it is judged again at the next start, and runs all the same
            log.warn("config", "cannot be kept: %r" % error)
    for name in ("gateway.config", "lib.schema", "lib.strictjson"):
        once.forget(name)
    return conf, secrets, len(problems)


def rtcs(board):
    """Return the clocks of a board as gateway/clock takes them: the chip's, and the DS3231 that it may have."""
    rtcs: list = [(machine.RTC(), clock.CRYSTAL_PPM, _RTC_MS)]
    if "rtc" in board:
        from lib.ds3231 import DS3231, GRAIN_MS, PPM

        bus = board["i2c"]
        i2c = machine.I2C(bus["id"], sda=machine.Pin(bus["sda"]), scl=machine.Pin(bus["scl"]))
        rtcs.append((DS3231(i2c), PPM, GRAIN_MS))
    return rtcs


def parts(conf, secrets, problems):
    """Return (clock, journal, recorder, buses, outlets, archive or None, mesh or None) of a gateway."""
    nvs = esp32.NVS("gw")
    board = data.load("board.json")
    now = clock.Clock(rtcs(board), nvs)
    journal = once.call("gateway.store", "journal")
    boot, begin = once.call("gateway.epoch", "boot", nvs, journal)
    log.info("app", "boot %d, reset cause %d, clock %s" % (boot, machine.reset_cause(), clock.SOURCES[now.source]))
    ids = Ids()
    recorder = Recorder(journal, boot, now, begin)
    recorder.sure = not once.call("gateway.setting", "lost", nvs)
    consumers = conf["uplinks"] + ([{"name": "mesh"}] if "mesh" in conf else [])
    epoch = once.call("gateway.epoch", "epoch", nvs, ids, journal, recorder, consumers)
    pins = {uart["id"]: uart for uart in board["uarts"]}
    for number, bus in enumerate(conf["buses"]):
        if bus["uart"] not in pins:
            problems += 1
            log.error("config", "buses[%d].uart: found %d, allowed %s" % (number, bus["uart"], sorted(pins)))
    if conf["network"].get("ethernet"):
        problems += once.call("gateway.ways", "wired", conf["network"], board)
    buses = []
    every = {}
    for number, meters in once.call("gateway.meters", "made", conf, ids):
        bus = conf["buses"][number]
        if meters and bus["uart"] in pins:
            every.update((meter.slot, meter.every) for meter in meters)
            first = recorder
            if "views" in conf or "intervals" in conf or "checks" in conf:
                first = once.call("gateway.stages", "before", recorder, conf, meters, now, ids, journal)
            buses.append(Bus("bus %d" % number, media(bus, pins[bus["uart"]]), meters, now, first))
            if "checks" in conf:
                buses[-1].takes = (int, str)  # a meter's own number may be text
    recorder.lines = tuple([bus._media.lock for bus in buses])
    if "extras" in conf:
        problems += once.call("gateway.extras", "wired", conf, board, ids)
    board = pins = None  # room for the outlets
    gc.collect()
    outlets = []
    archive = mesh = None
    if consumers:
        names = ids.names()
        ring = once.call("gateway.store", "ring", "archive")
        if ring:
            from gateway.archive import Archive

            archive = Archive(ring, journal, names, epoch, Dating(ring, now, boot, False))
        points = max([meter.size for bus in buses for meter in bus.meters] or (0,))
        identity = conf["feederId"], conf["gatewayId"], names, every, epoch, points
        if conf["uplinks"]:
            shared = journal, now, boot, problems, recorder, archive
            outlets = once.call("gateway.outlets", "made", conf, secrets, ids, identity, shared)
        if "mesh" in conf:
            shared = now, recorder, nvs, journal, ids, Dating(journal, now, boot), problems, outlets, archive
            mesh = once.call("gateway.join", "member", conf, secrets, identity, shared)
    return now, journal, recorder, buses, outlets, archive, mesh


def media(bus, pins):
    """Return the line of a row of `buses` on a row of the board's `uarts`."""
    uart = machine.UART(
        bus["uart"], baudrate=bus["baud"], bits=8, parity=_PARITY[bus["format"][1]], stop=int(bus["format"][2]),
        tx=pins["tx"], rx=pins["rx"], txbuf=512, rxbuf=512, timeout=0, timeout_char=0,
    )  # fmt: skip
    de = machine.Pin(pins["de"], machine.Pin.OUT) if "de" in pins else None
    return RS485(uart, bus["baud"], bus["format"], de, bus["echo"])
