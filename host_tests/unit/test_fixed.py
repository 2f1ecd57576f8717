"""lib/fixed under CPython, against `decimal` and `fractions`."""

import random
import struct
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import pytest

from lib import fixed

EXACT = Context(prec=2000)
SCALES = [(1000, 1), (1, 1), (1, 1000), (10**6, 1), (1, 10**6), (3, 7), (-25, 2), (10**9, 999999937)]


@pytest.mark.parametrize(("code", "bits"), [(">f", 32), (">d", 64)])
def test_floats_equal_decimal(code, bits):
    rng = random.Random(bits)
    special = [0, 1, 2, (1 << bits - 1) - 1, 1 << bits - 1, (1 << bits) - 1]
    for i in range(20000):
        word = special[i] if i < len(special) else rng.getrandbits(bits)
        value = struct.unpack(code, word.to_bytes(bits // 8, "big"))[0]
        mul, div = rng.choice(SCALES)
        got = fixed.ieee(word, bits, mul, div)
        if value - value != 0:  # NaN or infinite
            assert got is None
        else:
            assert got == round(Fraction(value) * mul / div), (hex(word), mul, div)
            if div == 1:
                exact = EXACT.multiply(Decimal(value), Decimal(mul))
                assert got == exact.quantize(Decimal(1), ROUND_HALF_EVEN, EXACT)


def test_float_ties_go_to_the_even_neighbour():
    for n in range(-2001, 2002):
        half = n + Fraction(1, 2)
        word = int.from_bytes(struct.pack(">f", float(half)), "big")
        assert fixed.ieee(word, 32, 1, 1) == round(half)


def test_ratio_equals_fractions():
    rng = random.Random(1)
    for _ in range(20000):
        num, den = rng.randint(-(10**20), 10**20), rng.randint(1, 10 ** rng.randint(1, 12))
        assert fixed.ratio(num, den) == round(Fraction(num, den))


def test_text_equals_decimal():
    rng = random.Random(2)
    for _ in range(20000):
        m, exp = rng.randint(-(10 ** rng.randint(1, 20)), 10 ** rng.randint(1, 20)), rng.randint(-12, 6)
        text = fixed.text(m, exp)
        assert Decimal(text) == Decimal(m).scaleb(exp)
        assert "e" not in text.lower() and not ("." in text and text.endswith("0")) and text != "-0"
