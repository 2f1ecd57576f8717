"""gateway/clock: UTC with a source and a bound, whatever the epoch of the port."""
from fake_nvs import Nvs
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


class Uptime:
    ms = 5000

    def __call__(self):
        return self.ms


def made_of(rtc, nvs, uptime):
    return Clock([(rtc, clock.CRYSTAL_PPM, 20)], nvs, uptime)


def power_on():
    return Rtc(2000, 1, 1, 5, 0, 0, 5, 0)


def test_after_power_on_the_time_is_unknown():
    made = made_of(power_on(), Nvs(), Uptime())
    assert made.now() is None and made.source == clock.NONE and not made.trusted()


def test_an_rtc_that_nobody_wrote_down_is_bounded_by_a_minute():
    made = made_of(Rtc(2026, 6, 22, 0, 14, 30, 0, 120000), Nvs(), Uptime())
    assert made.now() == (T0 + 120, clock.UNKNOWN_MS + 20)
    assert made.source == clock.RTC and not made.trusted()


def test_set_moves_utc_and_tells_by_how_much():
    uptime = Uptime()
    made = made_of(power_on(), Nvs(), uptime)
    assert made.set(T0, clock.NTP, 12) is None
    assert made.now() == (T0, 12) and made.trusted()
    uptime.ms += 1000000
    assert made.now() == (T0 + 1000000, 12 + 50)  # 50 ppm of 1000 s
    assert made.set(T0 + 1060000, clock.NTP, 9) == 60000
    assert made.now() == (T0 + 1060000, 9) and made.at(uptime.ms - 1000)[0] == T0 + 1059000


def test_a_small_correction_is_slewed_and_the_bound_holds_all_the_while():
    for wrong in (500, -500):
        uptime = Uptime()
        made = made_of(power_on(), Nvs(), uptime)
        made.set(T0, clock.NTP, 12)
        uptime.ms += 1000
        assert made.set(T0 + 1000 - wrong, clock.NTP, 9) == -wrong
        told = T0 + 1000
        assert made.now() == (told, 9 + 500)
        for second in range(1, 700):
            uptime.ms += 1000
            true = T0 + 1000 - wrong + second * 1000
            now, bound = made.now()
            assert now > told and abs(now - true) <= bound and abs(now - true) == max(0, 500 - second)
            told = now


def test_the_crystals_error_is_learnt_and_its_wander_is_what_stays():
    uptime = Uptime()
    made = made_of(power_on(), Nvs(), uptime)
    made.set(T0, clock.NTP, 10)
    uptime.ms += 36000000  # ten hours, in which the true time went on by 30 ppm more
    made.set(T0 + 36000000 + 1080, clock.NTP, 10)
    uptime.ms += 86400000
    now, bound = made.now()
    assert abs(now - (T0 + 36000000 + 1080 + 86400000 + 2592)) <= 2
    assert bound == 10 + 86400 * 21 // 1000  # 20 ppm of wander and the error of what was learnt


def test_nothing_is_learnt_from_settings_that_are_close_or_vague():
    for away, bound in ((60000, 1), (36000000, 2000)):
        uptime = Uptime()
        made = made_of(power_on(), Nvs(), uptime)
        made.set(T0, clock.NTP, bound)
        uptime.ms += away
        made.set(T0 + away + away // 40000, clock.NTP, bound)
        uptime.ms += 86400000
        assert made.now() == (T0 + away + away // 40000 + 86400000, bound + 86400 * 50 // 1000)


def test_the_clock_with_the_smallest_bound_gives_the_first_time_and_all_are_set():
    chip, battery, nvs = power_on(), Rtc(2026, 6, 22, 0, 14, 30, 0, 0), Nvs()
    made = Clock([(chip, clock.CRYSTAL_PPM, 20), (battery, 5, 2000)], nvs, Uptime())
    assert made.now() == (T0, clock.UNKNOWN_MS + 2000)
    made.set(T0 + 86400000, clock.NTP, 7)
    assert chip.fields == battery.fields == (2026, 6, 23, 0, 14, 30, 0, 0)
    chip.fields = (2000, 1, 1, 5, 0, 0, 5, 0)
    battery.fields = (2026, 7, 3, 0, 14, 30, 0, 0)  # ten days later, after a power cut
    again = Clock([(chip, clock.CRYSTAL_PPM, 20), (battery, 5, 2000)], nvs, Uptime())
    assert again.now() == (T0 + 11 * 86400000, 7 + 10 * 86400 * 5 // 1000 + 2000)


def test_a_clock_that_cannot_be_trusted_is_passed_over():
    class Stopped:
        def datetime(self, fields=None):
            return None

    made = Clock([(power_on(), clock.CRYSTAL_PPM, 20), (Stopped(), 5, 2000)], Nvs(), Uptime())
    assert made.now() is None
    made.set(T0, clock.NTP, 7)
    assert made.now() == (T0, 7)


def test_a_warm_reset_keeps_the_time_and_grows_the_bound():
    rtc, nvs = power_on(), Nvs()
    made_of(rtc, nvs, Uptime()).set(T0, clock.NTP, 12)
    assert rtc.fields == (2026, 6, 22, 0, 14, 30, 0, 0)
    rtc.fields = (2026, 6, 23, 1, 14, 30, 0, 0)  # a day later
    warm = made_of(rtc, nvs, Uptime())
    assert warm.source == clock.RTC
    assert warm.now() == (T0 + 86400000, 12 + 86400 * 50 // 1000 + 20)


def test_a_time_before_the_firmware_was_built_is_refused():
    made = made_of(power_on(), Nvs(), Uptime())
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
