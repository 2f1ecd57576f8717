"""Numbers as an integer mantissa and a decimal exponent: exact where the chip's floats have 24 bits.

    fixed.f32(0x43663333, 1000, 1)   # 230200, thousandths: the register says 230.199996...
    fixed.text(230200, -3)           # "230.2"

Whatever is rounded is rounded once, half-even: a tie goes to the even neighbour.
"""


def ratio(num, den):
    """Return num/den rounded half-even; den > 0."""
    quotient, rest = divmod(num, den)
    rest = 2 * rest - den
    return quotient + 1 if rest > 0 or rest == 0 and quotient & 1 else quotient


def f32(bits, mul, div):
    """Return the float32 with these 32 `bits` times mul/div, rounded once; None for NaN and infinities."""
    return _ieee(bits, 8, 23, mul, div)


def f64(bits, mul, div):
    """Return the float64 with these 64 `bits` times mul/div, rounded once; None for NaN and infinities."""
    return _ieee(bits, 11, 52, mul, div)


def _ieee(bits, width, digits, mul, div):
    """IEEE 754-2008, 3.4: sign, `width` bits of biased exponent, `digits` bits of fraction."""
    top = (1 << width) - 1
    exponent = bits >> digits & top
    if exponent == top:
        return None
    mantissa = bits & (1 << digits) - 1
    if exponent:
        mantissa |= 1 << digits
    else:
        exponent = 1  # subnormal
    if bits >> width + digits:
        mantissa = -mantissa
    exponent -= (top >> 1) + digits
    if exponent < 0:
        return ratio(mantissa * mul, div << -exponent)
    return ratio((mantissa << exponent) * mul, div)


def rescale(m, exp, to):
    """Return the mantissa of m x 10^exp in units of 10^to, rounded half-even."""
    return m * 10 ** (exp - to) if exp >= to else ratio(m, 10 ** (to - exp))


def text(m, exp):
    """Return m x 10^exp as an exact JSON number: no exponent, no zeros at the end of a fraction."""
    if exp >= 0:
        return str(m * 10**exp)
    digits = str(abs(m))
    digits = "0" * (1 - exp - len(digits)) + digits
    fraction = digits[exp:].rstrip("0")
    return ("-" if m < 0 else "") + digits[:exp] + ("." + fraction if fraction else "")


def parse(number):
    """Return (mantissa, exponent) of a decimal like "-12", "0.500" or "007.25"; ValueError for anything else.

    The exponent is minus the number of digits after the point: parse("0.500") == (500, -3).
    """
    whole, point, fraction = number.partition(".")
    digits = (whole[1:] if whole[:1] == "-" else whole) or "x"
    for character in digits + (fraction or point):
        if character not in "0123456789":
            raise ValueError("not a decimal number")
    return int(whole + fraction), -len(fraction)


def compare(a, b):
    """Return -1, 0 or 1 as the (mantissa, exponent) `a` is less than, equal to or greater than `b`."""
    exp = min(a[1], b[1])
    left, right = rescale(a[0], a[1], exp), rescale(b[0], b[1], exp)
    return (left > right) - (left < right)
