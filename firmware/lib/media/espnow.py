"""Frames by ESP-NOW, one on its way at a time; nothing of what they mean, and nothing that blocks.

    air = Air(network.WLAN(network.STA_IF), 6, True)
    air.receive(take)           # take(frame, dBm, ms, address) for each that came; the frame is valid during the call
    air.send(None, frame)       # to all; or to the 6 bytes of an address
    air.sent()                  # None: on its way; else whether the other radio has acknowledged it

A frame to one address is acknowledged by its radio alone: neither its program nor its ring need have it. `send` never
waits: the driver counts sent frames, answers and failures, and with one on its way the three numbers tell its fate.
A radio that ceases to answer, to take frames or to receive is switched off and on. Not yet run on hardware.
"""
from time import ticks_diff, ticks_ms

import espnow
from micropython import const

TICKS = const(0x3FFFFFFF)  # the driver's ms are 32 bits, ticks_ms() has 30 on the chip
_ALL = b"\xff" * 6
_PEERS = const(20)  # the driver's table, broadcast among them
_RING = const(2104)  # eight frames of 250 + 13: a sweep of the heap has to fit in
_ANSWER_MS = const(300)  # the driver's last try is over long before
_SILENT_MS = const(300000)  # every neighbour speaks each two minutes
_FAULTS = const(3)  # sends in a row that fail in the driver, and ESP-NOW is started anew
_WEDGED = const(9)  # and then the radio itself
_HOPELESS = const(60)  # and then only a reset is left
_BURST = const(8)  # frames that are taken before anything else is done
_IDLE = const(1000)  # network.STAT_IDLE: the station neither has an access point nor looks for one
_STRANGERS = const(300)  # addresses that the driver remembers, and never forgets: 100 B each


class Air:
    """`own`: nobody else uses the radio, so its channel is ours to choose; else only while the station is idle."""

    acknowledged = True  # by the other radio

    def __init__(self, wlan, channel, own):
        self._wlan = wlan
        self._own = own
        self._esp = espnow.ESPNow()
        self._got = [None, bytearray(espnow.MAX_DATA_LEN), 0, 0]
        self._at = channel  # where the radio is to be, when that is ours to say
        self._faults = 0
        self.restarts = 0
        self._start(own)

    def _start(self, radio):
        """Switch ESP-NOW off and on, and the `radio` below it."""
        esp, wlan = self._esp, self._wlan
        self._peers = []  # least recently used first
        self._heard = ticks_ms()
        self._flying = False
        try:
            esp.active(False)
            if radio or not wlan.active():
                wlan.active(False)  # a soft reset leaves the radio as it was
                wlan.active(True)
                wlan.config(pm=wlan.PM_NONE, reconnects=0)
                self.tune(self._at)
            esp.config(rxbuf=_RING)
            esp.active(True)
        except OSError:
            self._faults += 1

    def _restart(self):
        self.restarts += 1
        self._start(self._own and self._faults >= _WEDGED)

    def tune(self, channel):
        """Go to a channel, when that is ours to choose and the country allows it."""
        before, self._at = self._at, channel
        if self._own or self._wlan.status() == _IDLE:
            try:
                self._wlan.config(channel=channel)
            except RuntimeError:  # 0x0102, ESP_ERR_INVALID_ARG: not in this country
                self._at = before

    @property
    def channel(self):
        """Return the channel, 1 to 14; 0 when the radio is not ours and has no access point: it may be scanning."""
        return self._wlan.config("channel") if self._own or self._wlan.isconnected() else 0

    def receive(self, take):
        """Call `take` for each of the frames that have come; for none once too many strangers are remembered."""
        esp, got = self._esp, self._got
        for _ in range(_BURST):
            try:
                if self.crowded() or not (esp.any() and esp.recvinto(got, 0)):
                    break
            except (OSError, ValueError):  # out of step after a frame that was too long, or the radio was taken away
                self._restart()
                return
            self._heard = ticks_ms()
            take(got[1], got[2], got[3] & TICKS, got[0])
        if ticks_diff(ticks_ms(), self._heard) > _SILENT_MS:
            self._restart()

    def send(self, address, frame):
        """Send one frame; `sent` tells what became of it."""
        address = address or _ALL
        esp, peers = self._esp, self._peers
        self._flying = False
        try:
            if address in peers:
                peers.remove(address)
            else:
                if len(peers) == _PEERS:
                    esp.del_peer(peers.pop(1 if peers[0] == _ALL else 0))
                esp.add_peer(address)
            peers.append(address)
            self._failures = esp.stats()[2]
            esp.send(address, frame, False)
            self._flying = True
            self._since = ticks_ms()
        except OSError:
            self._fault()

    def _fault(self):
        self._faults += 1
        if self._faults % _FAULTS == 0:
            self._restart()

    def sent(self):
        """Return None while the frame is on its way, else whether it was acknowledged; to all it always is."""
        if not self._flying:
            return False
        stats = self._esp.stats()
        if stats[0] == stats[1]:
            self._flying = False
            self._faults = 0
            return stats[2] == self._failures
        if ticks_diff(ticks_ms(), self._since) <= _ANSWER_MS:
            return None
        self._flying = False
        self._faults += 1
        self._restart()  # an answer that is lost stays lost: the driver's counts never meet again
        return False

    def crowded(self):
        """Return whether only a reset helps: the driver remembers too many strangers, or fails whatever is done."""
        return len(self._esp.peers_table) > _STRANGERS or self._faults > _HOPELESS
