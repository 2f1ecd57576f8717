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

from lib import civil

SOURCES = ("none", "rtc", "manual", "mesh", "ntp", "gps")
NONE, RTC, MESH, NTP, GPS = 0, 1, 3, 4, 5  # places there
BUILT = civil.unix_s(2026, 1, 1) * 1000  # no time before the firmware was written is believed
LATEST = civil.unix_s(2090, 1, 1) * 1000
EPOCH = civil.unix_s(2024, 1, 1)  # seconds; records and the NVS count from here to stay small
CRYSTAL_PPM = 50  # crystal, ageing and temperature; the chip's own is given as 10 ppm
_WANDER_PPM = const(20)  # by how much a crystal's error leaves what was learnt of it: temperature
_SLEW_MS = const(1000)  # the largest correction that is no step
_SLOW = const(1000)  # ms for each ms of it
_LEARN_MS = const(3600000)  # least time between two settings that tell of the crystal
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
    """UTC of this boot. `source` is a place in SOURCES.

    `rtcs` are (clock with machine.RTC's `datetime`, ppm that it may be off, ms of its resolution): the one with the
    smallest bound gives the first time, and all are set.
    """

    def __init__(self, rtcs, nvs, uptime=uptime_ms):
        self._rtcs = rtcs
        self._nvs = nvs
        self._uptime = uptime
        self.source = NONE
        self._offset = 0  # unix ms at uptime 0
        self._bound = 0  # ms, at `_set_at`
        self._set_at = 0  # uptime ms
        self._ppb = 0  # by how much the crystal is too slow, as far as is known
        self._ppm = CRYSTAL_PPM  # how far that may be off
        self._lag = 0  # ms by which what was told before the last setting was more than what is known
        for rtc, ppm, grain in rtcs:
            fields = rtc.datetime()
            if fields:
                read = civil.unix_s(fields[0], fields[1], fields[2], *fields[4:7]) * 1000 + fields[7] // 1000
                bound = self._kept_bound(read, ppm) + grain
                if BUILT <= read < LATEST and (self.source == NONE or bound < self._bound):
                    self._adopt(read, RTC, bound)

    def written_ms(self):
        """Return the unix ms of the last setting, in this boot or before; BUILT when there was none."""
        try:
            return (self._nvs.get_i32("clk_set") + EPOCH) * 1000
        except OSError:
            return BUILT

    def _kept_bound(self, read, ppm):
        try:
            since = read - (self._nvs.get_i32("clk_set") + EPOCH) * 1000
            bound = self._nvs.get_i32("clk_bound")
        except OSError:
            return UNKNOWN_MS
        return bound + since * ppm // 1000000 if since >= 0 else UNKNOWN_MS

    def _adopt(self, unix_ms, source, bound_ms):
        self._set_at = self._uptime()
        self._offset = unix_ms - self._set_at
        self._bound = bound_ms
        self.source = source

    def set(self, unix_ms, source, bound_ms):
        """Take `unix_ms` as the time of now; return by how many ms that moves it, None when it was not known.

        The RTCs and the record of their setting follow, so that the time outlives a reset.
        ValueError for a time before the firmware was built or after 2089.
        """
        if not BUILT <= unix_ms < LATEST:
            raise ValueError("time out of bounds")
        before = self.now()
        self._learn(unix_ms, source, bound_ms)
        self._lag = 0
        if before and abs(before[0] - unix_ms) <= _SLEW_MS:
            self._lag = before[0] - unix_ms
        self._adopt(unix_ms, source, bound_ms)
        second, rest = divmod(unix_ms, 1000)
        year, month, day, hour, minute, sec = civil.fields(second)
        for rtc, _, _ in self._rtcs:
            rtc.datetime((year, month, day, 0, hour, minute, sec, rest * 1000))
        self._nvs.set_i32("clk_set", second - EPOCH)
        self._nvs.set_i32("clk_bound", bound_ms)
        self._nvs.commit()
        return None if before is None else unix_ms - before[0]

    def _learn(self, unix_ms, source, bound_ms):
        away = self._uptime() - self._set_at
        if away < _LEARN_MS or min(self.source, source) < NTP:
            return
        spread = (self._bound + bound_ms) * 1000 // (away // 1000) + 1  # ppm
        if spread < self._ppm:
            error = unix_ms - self._offset - self._set_at - away  # ms, of the crystal alone
            self._ppb = max(-CRYSTAL_PPM * 1000, min(error * 1000000 // (away // 1000), CRYSTAL_PPM * 1000))
            self._ppm = min(_WANDER_PPM + spread, CRYSTAL_PPM)

    def now(self):
        """Return (unix ms, bound of its error in ms), or None while the time is not known."""
        return self.at(self._uptime())

    def at(self, uptime):
        """Return (unix ms, bound ms) of the instant at which the uptime was `uptime` ms, or None."""
        if self.source == NONE:
            return None
        away = uptime - self._set_at
        lag = max(0, abs(self._lag) - max(0, away) // _SLOW)  # what of the correction is still to come
        bound = self._bound + abs(away) * self._ppm // 1000000 + lag
        return self._offset + uptime + away * self._ppb // 1000000000 + (lag if self._lag > 0 else -lag), bound

    def trusted(self):
        """Return whether the time is known to TRUSTED_MS."""
        now = self.now()
        return now is not None and now[1] < TRUSTED_MS
