"""The one clock: milliseconds of uptime, and UTC with its source and the bound of its error.

    clock = Clock(machine.RTC(), nvs)
    clock.now()                 # (unix ms, bound ms), or None before the time is known
    clock.set(unix_ms, NTP, 40)

UTC is kept as an offset to the uptime: a reading is stamped with its uptime and gets its UTC from the
offset, so that learning the time late, or a step, never reorders what was measured. The chip counts
seconds from 2000 and a desktop from 1970; the RTC's calendar is the same on both, so only that is read.
"""
import time

from micropython import const

from lib import civil

SOURCES = ("none", "rtc", "manual", "mesh", "ntp", "gps")
NONE, RTC, NTP, GPS = 0, 1, 4, 5  # places there
BUILT = civil.unix_s(2026, 1, 1) * 1000  # no time before the firmware was written is believed
LATEST = civil.unix_s(2090, 1, 1) * 1000
EPOCH = civil.unix_s(2024, 1, 1)  # seconds; records and the NVS count from here to stay small
_DRIFT_PPM = const(50)  # crystal, ageing and temperature; the chip's own is given as 10 ppm
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
    """UTC of this boot. `source` is a place in SOURCES."""

    def __init__(self, rtc, nvs, uptime=uptime_ms):
        self._rtc = rtc
        self._nvs = nvs
        self._uptime = uptime
        self.source = NONE
        self._offset = 0  # unix ms at uptime 0
        self._bound = 0  # ms, at `_set_at`
        self._set_at = 0  # uptime ms
        year, month, day, _, hour, minute, second, micro = rtc.datetime()
        read = civil.unix_s(year, month, day, hour, minute, second) * 1000 + micro // 1000
        if BUILT <= read < LATEST:
            self._adopt(read, RTC, self._rtc_bound(read))

    def _rtc_bound(self, read):
        try:
            since = read - (self._nvs.get_i32("clk_set") + EPOCH) * 1000
            bound = self._nvs.get_i32("clk_bound")
        except OSError:
            return UNKNOWN_MS
        return bound + since * _DRIFT_PPM // 1000000 + 20 if since >= 0 else UNKNOWN_MS

    def _adopt(self, unix_ms, source, bound_ms):
        self._set_at = self._uptime()
        self._offset = unix_ms - self._set_at
        self._bound = bound_ms
        self.source = source

    def set(self, unix_ms, source, bound_ms):
        """Take `unix_ms` as the time of now; return by how many ms that moves it, None when it was not known.

        The RTC and the record of its setting follow, so that the time outlives a warm reset.
        ValueError for a time before the firmware was built or after 2089.
        """
        if not BUILT <= unix_ms < LATEST:
            raise ValueError("time out of bounds")
        before = self.now()
        self._adopt(unix_ms, source, bound_ms)
        second, rest = divmod(unix_ms, 1000)
        year, month, day, hour, minute, sec = civil.fields(second)
        self._rtc.datetime((year, month, day, 0, hour, minute, sec, rest * 1000))
        self._nvs.set_i32("clk_set", second - EPOCH)
        self._nvs.set_i32("clk_bound", bound_ms)
        self._nvs.commit()
        return None if before is None else unix_ms - before[0]

    def now(self):
        """Return (unix ms, bound of its error in ms), or None while the time is not known."""
        return self.at(self._uptime())

    def at(self, uptime):
        """Return (unix ms, bound ms) of the instant at which the uptime was `uptime` ms, or None."""
        if self.source == NONE:
            return None
        away = abs(uptime - self._set_at)
        return self._offset + uptime, self._bound + away * _DRIFT_PPM // 1000000

    def trusted(self):
        """Return whether the time is known to TRUSTED_MS."""
        now = self.now()
        return now is not None and now[1] < TRUSTED_MS
