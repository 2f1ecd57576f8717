"""lib/fixed: exact in integers, with 31-bit small ints as with 63."""

import random

from lib import fixed

WASM = True


def test_ratio_rounds_half_to_even():
    for num, den, expected in (
        (5, 2, 2), (7, 2, 4), (-5, 2, -2), (-7, 2, -4), (1, 3, 0), (2, 3, 1), (-1, 3, 0), (-2, 3, -1), (0, 9, 0),
        (6, 3, 2), (2**70 + 1, 2, 2**69), (2**70 + 3, 2, 2**69 + 2),
        (1073741823, 1, 1073741823), (-1073741825, 1, -1073741825),
    ):  # fmt: skip
        assert fixed.ratio(num, den) == expected, (num, den)


def nearest(value, num, den):
    """Whether value is num/den rounded half-even, told by multiplication alone."""
    error = 2 * abs(value * den - num)
    return error < den or error == den and value % 2 == 0


def test_ratio_is_the_nearest_integer_of_any_fraction():
    random.seed(1)
    for _ in range(3000):
        den = random.getrandbits(random.randrange(1, 30)) + 1
        num = random.getrandbits(30) * random.getrandbits(30) - (1 << 59)
        assert nearest(fixed.ratio(num, den), num, den), (num, den)


def test_known_floats():
    for bits, mul, div, expected in (
        (0x43663333, 1000, 1, 230200),  # 230.2 V
        (0x4B800001, 1000, 1, 16777218000),  # beyond 24 bits of a single
        (0x3F800000, 1, 1, 1), (0xBF800000, 1, 1, -1), (0x3F000000, 1, 1, 0), (0x3FC00000, 1, 1, 2),  # ties
        (0x40200000, 1, 1, 2), (0xC0200000, 1, 1, -2),
        (0x00000000, 1000, 1, 0), (0x80000000, 1000, 1, 0), (0x00000001, 1000, 1, 0),
        (0x00000001, 10**48, 1, 1401), (0x80000001, 10**48, 1, -1401),  # the smallest subnormal: 1.401e-45
        (0x007FFFFF, 10**41, 1, 1175), (0x00800000, 10**41, 1, 1175),  # the step from subnormal to normal
        (0x7F7FFFFF, 1, 1, 0xFFFFFF << 104), (0xFF7FFFFF, 1, 1, -(0xFFFFFF << 104)),
        (0x7F800000, 1, 1, None), (0xFF800000, 1, 1, None), (0x7FC00000, 1, 1, None), (0xFFFFFFFF, 1, 1, None),
        (0x7F800001, 1, 1, None),
    ):  # fmt: skip
        assert fixed.ieee(bits, 32, mul, div) == expected, hex(bits)
    for bits, mul, div, expected in (
        (0x406CC66666666666, 1000, 1, 230200), (0xC06CC66666666666, 1000, 1, -230200),
        (0x4340000000000001, 10, 1, 90071992547409940), (0x8000000000000000, 1000, 1, 0),
        (0x0000000000000001, 10**327, 1, 4941), (0x7FEFFFFFFFFFFFFF, 1, 1, ((1 << 53) - 1) << 971),
        (0x7FF0000000000000, 1, 1, None), (0xFFF8000000000000, 1, 1, None), (0x3FE0000000000000, 3, 1, 2),
    ):  # fmt: skip
        assert fixed.ieee(bits, 64, mul, div) == expected, hex(bits)


def test_a_float_is_the_nearest_integer_of_its_exact_value():
    random.seed(2)
    for _ in range(1500):
        for size, width, digits in ((32, 8, 23), (64, 11, 52)):
            biased = random.randrange((1 << width) - 1)
            fraction = 0
            for _ in range(0, digits, 13):
                fraction = fraction << 13 | random.getrandbits(13)
            fraction &= (1 << digits) - 1
            sign = random.getrandbits(1)
            mul, div = random.choice(((1000, 1), (1, 1), (1, 1000), (10**6, 1), (3, 7), (-25, 2)))
            num = (fraction + ((1 << digits) if biased else 0)) * (-mul if sign else mul)
            den = div
            power = (biased or 1) - (1 << width - 1) + 1 - digits
            if power > 0:
                num <<= power
            else:
                den <<= -power
            bits = (sign << width | biased) << digits | fraction
            assert nearest(fixed.ieee(bits, size, mul, div), num, den), (hex(bits), mul, div)


def test_text_is_the_shortest_exact_json_number():
    for m, exp, expected in (
        (230100, -3, "230.1"), (230000, -3, "230"), (5, -3, "0.005"), (-5, -3, "-0.005"), (0, -3, "0"), (0, 0, "0"),
        (0, 4, "0"), (12, 3, "12000"), (-12, 0, "-12"), (-1200, -2, "-12"), (1000, -3, "1"), (10, -1, "1"),
        (1234567890123456789, -3, "1234567890123456.789"), (1, -12, "0.000000000001"),
        (-100, -2, "-1"), (100, 0, "100"),
    ):  # fmt: skip
        assert fixed.text(m, exp) == expected, (m, exp, fixed.text(m, exp))
