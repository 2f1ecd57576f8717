"""Wires the ways to the net: needed at start only, and where one is configured."""
from gateway import log

_PINS = ("spi", "sck", "mosi", "miso", "cs", "int")
_LIMIT_MS = 10000  # the longest that a way may show no life


def wired(conf, board):
    """Return the number of problems of an `ethernet` in `conf`, the configuration's `network`, on this board.

    Without one, the board's pins stand in its place afterwards, else nothing does.
    """
    pins = board.get("ethernet", {})
    missing = [name for name in _PINS if name not in pins]
    conf["ethernet"] = pins
    if not missing:
        return 0
    del conf["ethernet"]
    found = "a board without Ethernet" if not pins else "a board that does not say " + ", ".join(missing)
    allowed = "a W5500 with its interrupt at a pin, `int`: MicroPython does not run it without"
    log.error("config", "network.ethernet: found %s, allowed %s" % (found, allowed))
    return 1


def start(gateway, conf, password):
    """Start the task of each way in `conf`, the configuration's `network`; the outlets get the one that knows all."""
    way = None
    if "wifi" in conf:
        from gateway.network import Station

        way = Station(conf["wifi"], password, gateway.recorder)
        gateway.health.keep("network", way.run, _LIMIT_MS)
    if conf.get("ethernet"):
        from gateway.ethernet import Ethernet

        way = Ethernet(conf["ethernet"], way, gateway.recorder)
        gateway.health.keep("ethernet", way.run, _LIMIT_MS)
    for outlet in gateway.outlets:
        outlet.network = way
