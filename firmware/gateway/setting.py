"""Sets the clock, from its RTCs at the start and from whoever knows better later, and tells when the time is lost.

Needed seldom.
"""
from micropython import const

from gateway import log
from gateway.clock import BUILT, CRYSTAL_PPM, EPOCH, LATEST, NONE, NTP, RTC, SOURCES, UNKNOWN_MS
from gateway.records import CLEAR, INFO, SET, WARN
from lib import civil

_WANDER_PPM = const(20)  # by how much a crystal's error leaves what was learnt of it: temperature
_SLEW_MS = const(1000)  # the largest correction that is no step
_LEARN_MS = const(3600000)  # least time between two settings that tell of the crystal


def first(clock):
    """Give a new Clock the time of the RTC whose bound is the smallest; leave it alone when none can be believed."""
    for rtc, ppm, grain in clock.rtcs:
        fields = rtc.datetime()
        if fields:
            read = civil.unix_s(fields[0], fields[1], fields[2], *fields[4:7]) * 1000 + fields[7] // 1000
            bound = _kept_bound(clock.nvs, read, ppm) + grain
            if BUILT <= read < LATEST and (clock.source == NONE or bound < clock.now()[1]):
                _adopt(clock, read, RTC, bound)


def _adopt(clock, unix_ms, source, bound_ms):
    clock._set_at = clock._uptime()
    clock._offset = unix_ms - clock._set_at
    clock._bound = bound_ms
    clock.source = source


def _kept_bound(nvs, read, ppm):
    try:
        since = read - (nvs.get_i32("clk_set") + EPOCH) * 1000
        bound = nvs.get_i32("clk_bound")
    except OSError:
        return UNKNOWN_MS
    return bound + since * ppm // 1000000 if since >= 0 else UNKNOWN_MS


def written_ms(clock):
    """Return the unix ms of the last setting, in this boot or before; BUILT when there was none."""
    try:
        return (clock.nvs.get_i32("clk_set") + EPOCH) * 1000
    except OSError:
        return BUILT


def lost(nvs):
    """Return whether the time was told to be lost and not yet to be known again."""
    try:
        return nvs.get_i32("clk_lost") > 0
    except OSError:
        return False


def tell(clock, recorder):
    """Tell that the time is lost, or known again: once for each loss, though it last for several boots.

    A clock that never knew the time has none to lose. `recorder.sure` says whether it is trusted now.
    """
    sure = recorder.sure
    if lost(clock.nvs) != sure or not sure and written_ms(clock) == BUILT:
        return
    known = clock.now()
    detail = {"source": SOURCES[clock.source]}
    if known:
        detail["boundMs"] = known[1]
    recorder.event(0, "clock_lost", *((INFO, CLEAR) if sure else (WARN, SET)), detail)
    try:
        clock.nvs.set_i32("clk_lost", 0 if sure else 1)
        clock.nvs.commit()
    except OSError as error:
        log.error("clock", "NVS: %r" % error)


def to(clock, unix_ms, source, bound_ms):
    """Do what Clock.set says."""
    if not BUILT <= unix_ms < LATEST:
        raise ValueError("time out of bounds")
    before = clock.now()
    _learn(clock, unix_ms, source, bound_ms)
    clock.lag = 0
    if before and abs(before[0] - unix_ms) <= _SLEW_MS:
        clock.lag = before[0] - unix_ms
    _adopt(clock, unix_ms, source, bound_ms)
    second, rest = divmod(unix_ms, 1000)
    year, month, day, hour, minute, sec = civil.fields(second)
    for rtc, _, _ in clock.rtcs:
        rtc.datetime((year, month, day, 0, hour, minute, sec, rest * 1000))
    clock.nvs.set_i32("clk_set", second - EPOCH)
    clock.nvs.set_i32("clk_bound", bound_ms)
    clock.nvs.commit()
    return None if before is None else unix_ms - before[0]


def _learn(clock, unix_ms, source, bound_ms):
    """Learn the crystal's error from this setting and the one before."""
    uptime = clock._uptime()
    away = uptime - clock._set_at
    error = unix_ms - clock._offset - uptime  # by how much the crystal was behind
    if away < _LEARN_MS or min(clock.source, source) < NTP:
        return
    spread = (clock._bound + bound_ms) * 1000 // (away // 1000) + 1  # ppm
    if spread < clock.ppm:
        clock.ppb = max(-CRYSTAL_PPM * 1000, min(error * 1000000 // (away // 1000), CRYSTAL_PPM * 1000))
        clock.ppm = min(_WANDER_PPM + spread, CRYSTAL_PPM)
