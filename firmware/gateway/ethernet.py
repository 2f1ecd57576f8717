"""The W5500 on the board's SPI, and the fail-over between its cable and Wi-Fi.

The cable is preferred. While it works, Wi-Fi is off: where both have an address the chip sends by Wi-Fi, and nothing
in MicroPython tells it otherwise. So Wi-Fi is joined when the cable has failed, and left when it has been good for a
while.
"""
import asyncio

import machine
import network
from micropython import const

from gateway import log
from gateway.network import Way

_FIRST_S = const(15)  # a cable has an address so long after the start ...
_LOST_S = const(3)  # ... and is without one no longer than this
_BACK_S = const(30)  # so long it has to be good before Wi-Fi is left
_NONE = const("0.0.0.0")


class Ethernet(Way):
    """One task: `run(life)`. `wifi` is the Station that takes over, or None."""

    def __init__(self, pins, wifi, recorder):
        super().__init__("ethernet", recorder)
        self._pins = pins
        self._wifi = wifi
        if wifi:
            wifi.on = False

    @property
    def via(self):
        """Return the name of the way in use, "" when there is none."""
        if self._wifi and self._wifi.connected:
            return self._wifi.name
        return self.name if self.connected else ""

    def _start(self):
        """Return the interface, switched on; OSError when there is no W5500."""
        pins = self._pins
        pin = machine.Pin
        made: dict = {name: pin(pins[name]) for name in ("cs", "int", "reset") if name in pins}
        made["spi"] = machine.SPI(pins["spi"], sck=pin(pins["sck"]), mosi=pin(pins["mosi"]), miso=pin(pins["miso"]))
        lan = network.LAN(0, phy_type=network.PHY_W5500, phy_addr=0, **made)
        lan.active(True)
        return lan

    async def run(self, life):
        """Watch the cable and say who carries; for ever."""
        wifi = self._wifi
        good = bad = 0  # seconds
        lan = None
        try:
            lan = self._start()
        except OSError as error:  # each try leaves its parts in the chip's memory: the next one is after a reset
            log.error("network", "ethernet: %r" % error)
            bad = _FIRST_S
        while True:
            life.beat()
            # The address alone is asked: an event of Wi-Fi's address sets status() and isconnected() of the LAN too.
            if lan and lan.ifconfig()[0] != _NONE:
                bad = 0
                good += 1
                if good >= _BACK_S and wifi:
                    wifi.on = False
                if not (wifi and wifi.on and wifi.connected):
                    self.stands("")
            else:
                good = 0
                bad += 1
                if bad > (_FIRST_S if self.reason is None else _LOST_S):
                    self.stands(self.reason if self.reason and wifi else self._why(lan))
                    if wifi:
                        wifi.on = True
            await asyncio.sleep_ms(1000)

    def _why(self, lan):
        """Return why there is no address. Right while Wi-Fi is off, see run()."""
        if not lan:
            return "no W5500"
        return "no link" if lan.status() in (network.ETH_STARTED, network.ETH_DISCONNECTED) else "no address"
