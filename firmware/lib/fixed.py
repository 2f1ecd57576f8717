"""Numbers as an integer mantissa and a decimal exponent: exact where the chip's floats have 24 bits.

    fixed.ieee(0x43663333, 32, 1000, 1)   # 230200, thousandths: the register says 230.199996...
    fixed.text(230200, -3)                # "230.2"

Whatever is rounded is rounded once, half-even: a tie goes to the even neighbour.
"""


def ratio(num, den):
    """Return num/den rounded half-even; den > 0."""
    quotient, rest = divmod(num, den)
    rest = 2 * rest - den
    return quotient + 1 if rest > 0 or rest == 0 and quotient & 1 else quotient


def ieee(bits, width, mul, div):
    """Return the float with these `bits`, `width` of them (32 or 64), times mul/div; None for NaN and infinities.

    IEEE 754-2008, 3.4: sign, biased exponent, fraction.
    """
    digits = 23 if width == 32 else 52
    sign = bits >> width - 1
    width -= digits + 1
    top = (1 << width) - 1
    exponent = bits >> digits & top
    if exponent == top:
        return None
    mantissa = bits & (1 << digits) - 1
    if exponent:
        mantissa |= 1 << digits
    else:
        exponent = 1  # subnormal
    if sign:
        mantissa = -mantissa
    exponent -= (top >> 1) + digits
    if exponent < 0:
        return ratio(mantissa * mul, div << -exponent)
    return ratio((mantissa << exponent) * mul, div)


def text(m, exp):
    """Return m x 10^exp as an exact JSON number: no exponent, no zeros at the end of a fraction."""
    if exp >= 0:
        return str(m * 10**exp)
    digits = str(abs(m))
    digits = "0" * (1 - exp - len(digits)) + digits
    fraction = digits[exp:].rstrip("0")
    return ("-" if m < 0 else "") + digits[:exp] + ("." + fraction if fraction else "")
