"""Keeps the Wi-Fi station connected: own back-off, no power saving, each change told.

A cable beside it, or instead of it, is gateway/ethernet's.
"""
import asyncio

import network
from micropython import const

from gateway import clock, log
from lib import once

_TRY_MS = const(15000)  # an association and its address have to be there by then
_STALE_MS = const(6000)  # so long the status may still be that of the try before: only an address clears it
_POLL_MS = const(200)
_CALM_MS = const(900000)  # one event of a way in this time ...
_BURST = const(3)  # ... and so many ahead of it
PAUSE_S = 2, 120  # first pause after a failure, and the longest
REASONS = {
    network.STAT_NO_AP_FOUND: "no such network",
    network.STAT_WRONG_PASSWORD: "wrong password",
    204: "wrong password",  # WIFI_REASON_HANDSHAKE_TIMEOUT
    15: "wrong password",  # WIFI_REASON_4WAY_HANDSHAKE_TIMEOUT: what the IDF says of it from 5.0 on
}


class Way:
    """One way to the net, and what is told of it: `reason` is why it does not work, "" when it does, None at first."""

    connected = False
    reason = None
    _told = None  # the reason that an event has told last
    _due = 0  # uptime ms: when the next event would be due if they came evenly

    def __init__(self, name, recorder):
        self.name = name
        self._recorder = recorder

    @property
    def via(self):
        """Return the name of the way in use, "" when there is none."""
        return self.name if self.connected else ""

    def stands(self, reason):
        """Note how it stands, as often as it is known: the log tells each change, events what lasts of it."""
        if reason != self.reason:
            self.reason = reason
            self.connected = not reason
            (log.warn if reason else log.info)("network", "%s: %s" % (self.name, reason or "connected"))
        now = clock.uptime_ms()
        if reason != self._told and self._due - now <= _BURST * _CALM_MS:
            self._told = reason
            self._due = max(now, self._due) + _CALM_MS
            once.call("gateway.standing", "network", self.name, reason, self._recorder)


class Station(Way):
    """One task: `run(life)`. While `on` is False it leaves the network and waits."""

    on = True

    def __init__(self, wifi, password, recorder):
        super().__init__("wifi", recorder)
        self._wifi = wifi
        self._password = password

    def _start(self):
        """Return the radio, switched on; it takes 30 KB from the chip, so not before it is needed."""
        if "country" in self._wifi:
            network.country(self._wifi["country"])
        wlan = network.WLAN(network.STA_IF)
        wlan.active(False)  # a soft reset leaves the radio as it was
        wlan.active(True)
        wlan.config(reconnects=0)  # the chip's own retries scan without end, and deafen ESP-NOW
        return wlan

    async def run(self, life):
        """Connect, watch, connect again; for ever."""
        wlan = None
        pause = PAUSE_S[0]
        while True:
            if self.on:
                wlan = wlan or self._start()
                reason = await self._connect(wlan, life)
                while self.on and not reason:
                    life.beat()
                    self.stands("")
                    pause = PAUSE_S[0]
                    await asyncio.sleep_ms(1000)
                    if not wlan.isconnected():
                        reason = "connection lost"
                wlan.disconnect()
                until = pause
                while self.on and until:
                    life.beat()
                    self.stands(reason)
                    await asyncio.sleep_ms(1000)
                    until -= 1
                pause = min(2 * pause, PAUSE_S[1])
            else:
                life.beat()
                self.connected = False
                self.reason = self._told = None  # what comes after is news again
                pause = PAUSE_S[0]
                await asyncio.sleep_ms(1000)

    async def _connect(self, wlan, life):
        """Return why there is no connection, "" when there is one."""
        wlan.connect(self._wifi["ssid"], self._password)
        reason = None
        for waited in range(0, _TRY_MS, _POLL_MS):
            life.beat()
            if wlan.isconnected():
                wlan.config(pm=wlan.PM_NONE)  # modem sleep loses frames; set again after each connect
                return ""
            if not self.on:
                break
            try:
                wlan.status("rssi")
                reason = "no address"  # there is an access point
            except OSError:
                reason = None
                if waited > _STALE_MS and wlan.status() not in (network.STAT_CONNECTING, network.STAT_IDLE):
                    break
            await asyncio.sleep_ms(_POLL_MS)
        return reason or REASONS.get(wlan.status(), "status %d" % wlan.status())
