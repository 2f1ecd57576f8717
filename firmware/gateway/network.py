"""Keeps the Wi-Fi station connected: own back-off, no power saving, each change in the log."""
import asyncio

import network
from micropython import const

from gateway import log

_TRY_MS = const(15000)  # an association and its address have to be there by then
_STALE_MS = const(3000)  # so long the status may still be that of the try before: only an address clears it
_POLL_MS = const(200)
PAUSE_S = 2, 120  # first pause after a failure, and the longest
REASONS = {
    network.STAT_NO_AP_FOUND: "no such network",
    network.STAT_WRONG_PASSWORD: "wrong password",
    network.STAT_CONNECTING: "no address",
}


class Station:
    """One task: `run(life)`. `connected` and `reason` say how it stands."""

    def __init__(self, ssid, password):
        self._ssid = ssid
        self._password = password
        self._wlan = network.WLAN(network.STA_IF)
        self.connected = False
        self.reason = ""

    async def run(self, life):
        """Connect, watch, connect again; for ever."""
        wlan = self._wlan
        wlan.active(False)  # a soft reset leaves the radio as it was
        wlan.active(True)
        wlan.config(reconnects=0)  # the chip's own retries scan without end, and deafen ESP-NOW
        pause = PAUSE_S[0]
        while True:
            if await self._connect(life):
                pause = PAUSE_S[0]
                while wlan.isconnected():
                    life.beat()
                    await asyncio.sleep_ms(1000)
                self.connected = False
                log.warn("network", "connection lost")
            wlan.disconnect()
            for _ in range(pause):
                life.beat()
                await asyncio.sleep_ms(1000)
            pause = min(2 * pause, PAUSE_S[1])

    async def _connect(self, life):
        wlan = self._wlan
        wlan.connect(self._ssid, self._password)
        for waited in range(0, _TRY_MS, _POLL_MS):
            life.beat()
            if wlan.isconnected():
                wlan.config(pm=wlan.PM_NONE)  # modem sleep loses frames; set again after each connect
                self.connected = True
                log.info("network", "connected to %s" % self._ssid)
                return True
            if waited > _STALE_MS and wlan.status() not in (network.STAT_CONNECTING, network.STAT_IDLE):
                break
            await asyncio.sleep_ms(_POLL_MS)
        self.reason = REASONS.get(wlan.status(), "status %d" % wlan.status())
        log.warn("network", "%s: %s" % (self._ssid, self.reason))
        return False
