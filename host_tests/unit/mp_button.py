"""lib/button: what a finger does to a pin or a ladder of resistors, as presses; ticks wrap at 2^30 meanwhile."""
import time

from lib.button import Button, ladder, pin

WASM = True
LADDER = {"idle": 3300, "a": 1650, "b": 2760, "door": 0}


class ADC:
    """As an ESP32's: nothing above 3.1 V is told apart, and it wavers by some mV."""

    def __init__(self):
        self.mv = 3300
        self.reads = 0

    def read_uv(self):
        self.reads += 1
        return min(self.mv + (-9, 4, 7)[self.reads % 3], 3100) * 1000


class Line:
    level = 1

    def value(self):
        return self.level


def pressed(levels, ms=50):
    """Return the presses that a ladder at these levels, one each 50 ms, makes: (place, name, long)."""
    adc = ADC()
    button = Button(ladder(adc, LADDER))
    found = []
    for i, mv in enumerate(levels):
        adc.mv = mv
        press = button.step(time.ticks_add((1 << 30) - 500, i * ms))
        if press:
            found.append((i,) + press)
    return found


def test_a_press_counts_when_it_ends():
    assert pressed([3300] * 4 + [1650] * 5 + [3300] * 4) == [(10, "a", False)]
    assert pressed([3300, 2760, 2750, 2760, 3300, 3300]) == [(5, "b", False)]


def test_levels_near_by_are_the_same_button():
    for mv, name in ((1500, "a"), (1900, "a"), (2600, "b"), (2860, "b"), (100, "door")):
        assert [press[1] for press in pressed([3300, 3300] + [mv] * 4 + [3300] * 3)] == [name], mv


def test_one_odd_look_is_no_press():
    assert pressed([3300, 3300, 1650, 3300, 3300, 2760, 3300, 3300]) == []
    assert pressed([1650, 3300] * 20) == []


def test_a_finger_that_slides_from_one_to_the_other_is_two_presses():
    assert [press[1:] for press in pressed([1650] * 5 + [2760] * 5 + [3300] * 3)] == [("a", False), ("b", False)]


def test_a_long_press_counts_after_a_second_and_once():
    assert pressed([3300] * 2 + [1650] * 60 + [3300] * 4) == [(23, "a", True)]
    assert len(pressed([1650] * 100)) == 1


def test_a_button_at_a_pin_is_pressed_when_it_is_low():
    line = Line()
    button = Button(pin(line))
    found = []
    for i, level in enumerate((1, 1, 0, 0, 0, 1, 1)):
        line.level = level
        found.append(button.step(i * 50))
    assert found == [None] * 6 + [("a", False)]
