"""gateway/clock: UTC with a source and a bound, whatever the epoch of the port."""
from gateway import clock
from gateway.clock import Clock

T0 = 1782138600000  # 2026-06-22T14:30:00Z


class Rtc:
    def __init__(self, *fields):
        self.fields = fields

    def datetime(self, fields=None):
        if fields:
            self.fields = fields
        return self.fields


class Nvs:
    def __init__(self):
        self.kept = {}
        self.committed = {}

    def get_i32(self, key):
        if key not in self.committed:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        return self.committed[key]

    def set_i32(self, key, value):
        assert -(1 << 31) <= value < 1 << 31 and len(key) <= 15
        self.kept[key] = value

    def commit(self):
        self.committed.update(self.kept)


class Uptime:
    ms = 5000

    def __call__(self):
        return self.ms


def power_on():
    return Rtc(2000, 1, 1, 5, 0, 0, 5, 0)


def test_after_power_on_the_time_is_unknown():
    made = Clock(power_on(), Nvs(), Uptime())
    assert made.now() is None and made.source == clock.NONE and not made.trusted()


def test_an_rtc_that_nobody_wrote_down_is_bounded_by_a_minute():
    made = Clock(Rtc(2026, 6, 22, 0, 14, 30, 0, 120000), Nvs(), Uptime())
    assert made.now() == (T0 + 120, clock.UNKNOWN_MS)
    assert made.source == clock.RTC and not made.trusted()


def test_set_moves_utc_and_tells_by_how_much():
    uptime = Uptime()
    made = Clock(power_on(), Nvs(), uptime)
    assert made.set(T0, clock.NTP, 12) is None
    assert made.now() == (T0, 12) and made.trusted()
    uptime.ms += 1000000
    assert made.now() == (T0 + 1000000, 12 + 50)  # 50 ppm of 1000 s
    assert made.set(T0 + 1000500, clock.NTP, 9) == 500
    assert made.at(uptime.ms - 1000)[0] == T0 + 999500


def test_a_warm_reset_keeps_the_time_and_grows_the_bound():
    rtc, nvs = power_on(), Nvs()
    Clock(rtc, nvs, Uptime()).set(T0, clock.NTP, 12)
    assert rtc.fields == (2026, 6, 22, 0, 14, 30, 0, 0)
    rtc.fields = (2026, 6, 23, 1, 14, 30, 0, 0)  # a day later
    warm = Clock(rtc, nvs, Uptime())
    assert warm.source == clock.RTC
    assert warm.now() == (T0 + 86400000, 12 + 86400 * 50 // 1000 + 20)


def test_a_time_before_the_firmware_was_built_is_refused():
    made = Clock(power_on(), Nvs(), Uptime())
    for bad in (0, 946684800000, clock.BUILT - 1, clock.LATEST):
        try:
            made.set(bad, clock.NTP, 1)
        except ValueError:
            continue
        raise AssertionError("believed %d" % bad)
    assert made.now() is None


def test_uptime_never_goes_back():
    last = clock.uptime_ms()
    for _ in range(1000):
        now = clock.uptime_ms()
        assert now >= last
        last = now
