"""gateway/counters: what follows from the last value, what does not, and a register that stands still."""
import random

from gateway.counters import JUMP, OK, ROLLBACK, Counter

WASM = True
MINUTE = 60000
WATTS = 9000  # carries 0.15 kWh a minute, and 1 kWh is allowed on top


def test_the_first_value_is_taken_as_it_comes():
    for value in (0, 10**12, -5):
        assert Counter(-3, WATTS).take(value, 0) == OK


def test_a_register_that_grows_as_the_load_allows_is_never_reported():
    random.seed(3)
    counter = Counter(-3, WATTS)
    value = at = 0
    for _ in range(5000):
        ms = random.randint(1, 10 * MINUTE)
        value += random.randint(0, WATTS * ms // 3600000)
        at += ms
        assert counter.take(value, at) == OK


def test_a_coarse_register_is_never_reported():
    counter = Counter(0, WATTS)
    for i in range(1000):
        assert counter.take(i * 9 // 3600, i * 1000) == OK


def test_a_smaller_value_is_a_rollback_once_and_counts_from_then_on():
    counter = Counter(-3, WATTS)
    found = [counter.take(value, i * MINUTE) for i, value in enumerate((5000, 5010, 10, 20, 30))]
    assert found == [OK, OK, ROLLBACK, OK, OK] and counter.value == 30
    assert counter.take(29, 6 * MINUTE) == ROLLBACK


def test_a_larger_value_than_the_load_allows_is_a_jump_once():
    counter = Counter(-3, WATTS)
    assert counter.take(5000, 0) == OK
    assert counter.take(6151, MINUTE) == JUMP
    assert counter.take(6160, 2 * MINUTE) == OK
    counter = Counter(-3, WATTS)
    assert counter.take(5000, 0) == OK
    assert counter.take(6150, MINUTE) == OK


def test_one_wrong_reading_leaves_the_right_ones_right():
    for wrong, kind in ((0, ROLLBACK), (4294967295, JUMP), (-7, ROLLBACK)):
        counter = Counter(-3, WATTS)
        found = [counter.take(value, i * MINUTE) for i, value in enumerate((5000, 5010, wrong, 5030, 5040))]
        assert found == [OK, OK, kind, OK, OK] and counter.value == 5040


def test_values_that_follow_from_nothing_are_reported_each():
    counter = Counter(-3, WATTS)
    counter.take(5000, 0)
    assert [counter.take(value, 1000 + i) for i, value in enumerate((90000, 300, 70000, 20))] == [
        JUMP, ROLLBACK, JUMP, ROLLBACK
    ]  # fmt: skip


def test_two_views_of_one_instant_are_judged_alike():
    counter = Counter(-3, WATTS)
    counter.take(5000, 0)
    assert [counter.take(10, MINUTE), counter.take(10, MINUTE), counter.take(11, 2 * MINUTE)] == [
        ROLLBACK, ROLLBACK, OK
    ]  # fmt: skip


def test_a_long_silence_allows_what_the_load_may_have_taken():
    counter = Counter(-3, WATTS)
    counter.take(0, 0)
    assert counter.take(24 * WATTS, 24 * 60 * MINUTE) == OK


def test_of_a_value_from_before_the_boot_only_a_fall_is_known():
    for value, kind in ((4999, ROLLBACK), (5000, OK), (10**9, OK)):
        counter = Counter(-3, WATTS)
        counter.value = 5000
        assert counter.take(value, 1000) == kind


def test_after_forget_another_meter_may_show_what_it_likes():
    counter = Counter(-3, WATTS)
    counter.take(5000, 0)
    counter.forget()
    assert counter.take(3, 1000) == OK


def run(values, watts, every=MINUTE, exponent=-3):
    """The minute in which the register is first said to be frozen, None for never."""
    counter = Counter(exponent, WATTS)
    for i, value in enumerate(values):
        load = watts[i] if isinstance(watts, list) else watts
        if counter.frozen(value, i * every, load):
            return i
    return None


def test_a_register_that_stands_still_under_load_is_frozen_after_a_quarter_hour():
    moving = list(range(1000, 1200, 10))  # 10 Wh a minute: 600 W
    assert run(moving + [moving[-1]] * 60, 600) == len(moving) - 1 + 15


def test_a_small_load_takes_four_steps_of_the_register():
    moving = list(range(1000, 1200, 10))
    assert run(moving + [moving[-1]] * 300, 60) == len(moving) - 1 + 40  # 1 Wh a minute: 4 x 10 Wh


def test_a_register_that_never_moved_needs_four_kwh():
    assert run([1000] * 500, 600) == 400
    assert run([7] * 500, 600, exponent=0) == 400


def test_no_load_and_an_unknown_load_never_freeze():
    for watts in (0, None, -4000):
        assert run([1000, 1001] + [1001] * 3000, watts) is None


def test_a_peak_that_was_read_once_counts_as_the_smaller_of_both_ends():
    assert run([1000, 1001] + [1001] * 300, [0, 0, 0, 9000] + [0] * 400) is None


def test_readings_more_than_an_hour_apart_say_nothing():
    assert run([1000, 1001] + [1001] * 300, 600, every=61 * MINUTE) is None


def test_a_healthy_register_is_never_frozen():
    random.seed(9)
    for step in (1, 10, 100, 1000):
        counter = Counter(-3, WATTS)
        energy = at = 0
        watts = 0
        for _ in range(3000):
            ms = random.randint(1000, 5 * MINUTE)
            last, watts = watts, random.choice((0, 20, 300, 2000, 9000))
            energy += (last + watts) * ms // 2
            at += ms
            assert not counter.frozen(energy // 3600000 // step * step, at, watts), step
