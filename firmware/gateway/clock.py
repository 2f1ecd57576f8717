"""The one clock: milliseconds of uptime, and UTC with its source and the bound of its error.

    clock = Clock([(machine.RTC(), CRYSTAL_PPM, 20)], nvs)
    clock.now()                 # (unix ms, bound ms), or None before the time is known
    clock.set(unix_ms, NTP, 40)

UTC is kept as an offset to the uptime: a reading is stamped with its uptime and gets its UTC from the
offset, so that learning the time late, or a step, never reorders what was measured. The chip counts
seconds from 2000 and a desktop from 1970; the RTC's calendar is the same on both, so only that is read.

A small correction is slewed: what is told nears what is known by 1 ms a second, and the bound holds all the while. From
two settings that lie far enough apart the crystal's error is learnt; from then on only its wander counts.
"""
import time

from micropython import const

from lib import civil, once

SOURCES = ("none", "rtc", "manual", "mesh", "ntp", "gps")
NONE, RTC, MESH, NTP, GPS = 0, 1, 3, 4, 5  # places there
BUILT = civil.unix_s(2026, 1, 1) * 1000  # no time before the firmware was written is believed
LATEST = civil.unix_s(2090, 1, 1) * 1000
EPOCH = civil.unix_s(2024, 1, 1)  # seconds; records and the NVS count from here to stay small
CRYSTAL_PPM = 50  # crystal, ageing and temperature; the chip's own is given as 10 ppm
_SLOW = const(1000)  # ms for each ms of a correction that is slewed
UNKNOWN_MS = 60000  # bound of an RTC of which nobody wrote down when it was set
TRUSTED_MS = 30000  # a clock with a larger bound is reported as untrusted

_last = time.ticks_ms()
_uptime_ms = 0


def uptime_ms():
    """Return the milliseconds since start: never wraps, while called at least every six days."""
    global _last, _uptime_ms
    now = time.ticks_ms()
    _uptime_ms += time.ticks_diff(now, _last)
    _last = now
    return _uptime_ms


def uptime_at(ticks):
    """Return the uptime in ms at which `time.ticks_ms()` was `ticks`, for instants of the last six days."""
    return uptime_ms() - time.ticks_diff(time.ticks_ms(), ticks)


class Clock:
    """UTC of this boot. `source` is a place in SOURCES; for gateway/setting the others.

    `rtcs` are (clock with machine.RTC's `datetime`, ppm that it may be off, ms of its resolution): the one with the
    smallest bound gives the first time, and all are set.
    """

    def __init__(self, rtcs, nvs, uptime=uptime_ms):
        self.rtcs = rtcs
        self.nvs = nvs
        self._uptime = uptime
        self.source = NONE
        self._offset = 0  # unix ms at uptime 0
        self._bound = 0  # ms, at `_set_at`
        self._set_at = 0  # uptime ms
        self.ppb = 0  # by how much the crystal is too slow, as far as is known
        self.ppm = CRYSTAL_PPM  # how far that may be off
        self.lag = 0  # ms by which what was told before the last setting was more than what is known
        once.call("gateway.setting", "first", self)

    def set(self, unix_ms, source, bound_ms):
        """Take `unix_ms` as the time of now; return by how many ms that moves it, None when it was not known.

        The RTCs and the record of their setting follow, so that the time outlives a reset.
        ValueError for a time before the firmware was built or after 2089.
        """
        return once.call("gateway.setting", "to", self, unix_ms, source, bound_ms)

    def now(self):
        """Return (unix ms, bound of its error in ms), or None while the time is not known."""
        return self.at(self._uptime())

    def at(self, uptime):
        """Return (unix ms, bound ms) of the instant at which the uptime was `uptime` ms, or None."""
        if self.source == NONE:
            return None
        away = uptime - self._set_at
        lag = max(0, abs(self.lag) - max(0, away) // _SLOW)  # what of the correction is still to come
        bound = self._bound + abs(away) * self.ppm // 1000000 + lag
        return self._offset + uptime + away * self.ppb // 1000000000 + (lag if self.lag > 0 else -lag), bound

    def trusted(self):
        """Return whether the time is known to TRUSTED_MS."""
        now = self.now()
        return now is not None and now[1] < TRUSTED_MS
