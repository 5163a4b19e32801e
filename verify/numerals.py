"""Numbers as people and documents read them: bounds are rounded outwards, never towards the comfortable side.

Standard library only, so that `recheck` can use it. Nothing is computed here that a verdict rests on.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

Number = Fraction | float | int

_ROUNDING = {"nearest": ROUND_HALF_EVEN, "down": ROUND_FLOOR, "up": ROUND_CEILING}


def outward(value: Fraction, direction: str) -> float:
    """The double nearest to a bound that is not on its unsound side.

    Args:
        value: a proved bound.
        direction: ``up`` for an upper bound (the result is never below it), ``down`` for a lower one.

    Example:
        >>> outward(Fraction(1, 3), "up") >= Fraction(1, 3) >= outward(Fraction(1, 3), "down")
        True
    """
    nearest = float(value)
    if direction == "up" and Fraction(nearest) < value:
        return math.nextafter(nearest, math.inf)
    if direction == "down" and Fraction(nearest) > value:
        return math.nextafter(nearest, -math.inf)
    return nearest


def show(value: Number, digits: int = 6, direction: str = "nearest") -> str:
    """A number in at most ``digits`` significant digits, without trailing zeros.

    Args:
        value: any finite number.
        digits: significant digits.
        direction: ``nearest``, or ``up`` or ``down`` for a bound that must stay on its side.

    Example:
        >>> show(Fraction(2, 3)), show(Fraction(2, 3), direction="down"), show(20.0), show(1.5e-9)
        ('0.666667', '0.666666', '20', '1.5e-09')
    """
    exact = Fraction(value)
    context = Context(prec=digits, rounding=_ROUNDING[direction])
    rounded = context.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    if rounded == 0:
        return "0"
    if -4 <= rounded.adjusted() < 12:
        text = format(rounded, "f")
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, exponent = format(rounded.normalize(), "e").partition("e")
    return f"{mantissa}e{int(exponent):+03d}"


def show_exact(value: Fraction, digits: int = 6, direction: str = "nearest") -> str:
    """A number, and its fraction too where that is short enough to be read.

    Example:
        >>> show_exact(Fraction(1, 4)), show_exact(Fraction(1, 3)), show_exact(Fraction(3))
        ('0.25 = 1/4', '0.333333 ≈ 1/3', '3')
    """
    text = show(value, digits, direction)
    if value.denominator == 1 or value.denominator > 9999 or len(str(value)) > 12:
        return text
    return f"{text} {'=' if Fraction(text) == value else '≈'} {value}"
