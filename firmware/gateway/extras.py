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
    wires = {}  # SPI's clock pins, and whose: drivers that share one disturb each other (micropython/micropython#15892)
    if conf["network"].get("ethernet"):
        wires[board["ethernet"]["sck"]] = "network.ethernet"
    conf = conf["extras"]
    problems = 0
    for name in ("led", "powerFail", "sd", "oled"):
        if not conf.pop(name, False):
            continue
        row = board.get(name)
        found = "a board without"
        if row and row.get("bus") == "i2c" and "i2c" not in board:
            found = "a board without the I2C that it is at"
        elif row and row.get("sck") in wires:
            found = "wires that are those of %s" % wires[row["sck"]]
        elif row:
            conf[name] = row
            if "sck" in row:
                wires[row["sck"]] = "extras." + name
            continue
        problems += 1
        log.error("config", "extras.%s: found %s, allowed a board that has it" % (name, found))
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
    """Start the task of each thing in `conf`, as `wired` left it. One that fails is told, and is not there."""
    keep = gateway.health.keep
    for name, kind in (("powerFail", _power), ("sd", _mirror), ("led", _light), ("oled", _panel)):
        if name not in conf:
            continue
        try:
            keep(name, kind(gateway, conf).run, _LIMIT_MS)
        except Exception as error:  # a pin that the chip does not take must not keep meters from being read
            log.error("extras", "%s: %r" % (name, error))


def _power(gateway, conf):
    from gateway.power import Power

    return Power(conf["powerFail"], gateway)


def _mirror(gateway, conf):
    from gateway.mirror import Mirror

    gateway.mirror = Mirror(conf["sd"], gateway, conf["names"], conf["cursor"], conf["folder"])
    return gateway.mirror


def _light(gateway, conf):
    from gateway.lamp import Lamp
    from gateway.panel import Panel

    return Panel(gateway, Lamp(conf["led"]), None, None, None)


def _panel(gateway, conf):
    from gateway.pages import Seen, of
    from gateway.panel import Panel

    shown = screen(conf["oled"], conf)
    button = once.call("gateway.held", "button", conf) if "ladder" in conf or "button" in conf else None
    last: dict = {}
    for bus in gateway.buses:
        bus.recorder = Seen(bus.recorder, last)
    return Panel(gateway, None, shown, button, of(gateway, conf["names"], last))


def screen(row, conf):
    """Return the screen of a row `oled` of the board; `conf` has the row `i2c` where it is at one."""
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
