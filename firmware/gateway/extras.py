"""Wires what a board may have beside meters and a way to the net: light, screen, button, SD card, power-fail line.

Needed at start only, and where `extras` of the configuration asks for something. What is not asked for is not imported.
"""
import machine

from gateway import log
from lib import once

_LIMIT_MS = 10000  # the longest that a task may show no life


def wired(conf, board, ids):
    """Return the number of things in the `extras` of a configuration that this board does not have.

    Afterwards they are the board's rows of those that it has, and what else they need.
    """
    folder = conf["gatewayId"]
    conf = conf["extras"]
    problems = 0
    for name in list(conf):
        asked = conf.pop(name)
        if not asked:
            continue
        if name in board and (board[name].get("bus") != "i2c" or "i2c" in board):
            conf[name] = board[name]
        else:
            problems += 1
            log.error("config", "extras.%s: found a board without, allowed one that has it" % name)
    if "oled" in conf:
        for name in ("i2c", "button", "ladder"):
            if name in board:
                conf[name] = board[name]
        conf["names"] = ids.names()
    if "sd" in conf:
        conf["names"] = ids.names()
        conf["cursor"] = ids.cursor("/sd")  # no uplink can have this name
        conf["folder"] = folder
    return problems


def start(gateway, conf):
    """Start the task of each thing in `conf`, as `wired` left it."""
    keep = gateway.health.keep
    if "powerFail" in conf:
        from gateway.power import Power

        keep("power", Power(conf["powerFail"], gateway).run, _LIMIT_MS)
    if "sd" in conf:
        from gateway.mirror import Mirror

        gateway.mirror = Mirror(conf["sd"], gateway, conf["names"], conf["cursor"], conf["folder"])
        keep("sd", gateway.mirror.run, _LIMIT_MS)
    if "led" in conf or "oled" in conf:
        from gateway.panel import Panel

        keep("panel", Panel(gateway, *_panel(gateway, conf)).run, _LIMIT_MS)


def _panel(gateway, conf):
    """Return (lamp, screen, button, pages), None for what is not there."""
    light = screen = button = pages = None
    if "led" in conf:
        from gateway.lamp import Lamp

        light = Lamp(conf["led"])
    if "oled" in conf:
        from gateway.pages import Seen, of

        screen = _screen(conf["oled"], conf)
        last: dict = {}
        for bus in gateway.buses:
            bus.recorder = Seen(bus.recorder, last)
        pages = of(gateway, conf["names"], last)
        if "ladder" in conf or "button" in conf:
            button = once.call("gateway.held", "button", conf)
    return light, screen, button, pages


def _screen(row, conf):
    from lib.oled import Oled, i2c_writer, spi_writer

    pin = machine.Pin
    if row["bus"] == "i2c":
        i2c = conf["i2c"]
        i2c = machine.I2C(i2c["id"], sda=pin(i2c["sda"]), scl=pin(i2c["scl"]))
        return Oled(i2c_writer(i2c, row["at"]), row["kind"])
    if "reset" in row:  # low for 10 us at least: what a call takes (SH1106, "Reset timing")
        reset = pin(row["reset"], pin.OUT, value=0)
        reset.value(1)
    spi = machine.SPI(row["spi"], baudrate=4000000, sck=pin(row["sck"]), mosi=pin(row["mosi"]))
    cs = pin(row["cs"], pin.OUT, value=1)
    return Oled(spi_writer(spi, pin(row["dc"], pin.OUT), cs), row["kind"])
