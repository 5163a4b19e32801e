"""Numbers as shown: bounds never move to their unsound side."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spverify.verify.numerals import outward, show, show_exact

RATIONALS = st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**12)


@given(RATIONALS)
def test_outward_stays_on_its_side_and_is_tight(value: Fraction) -> None:
    up, down = outward(value, "up"), outward(value, "down")
    assert Fraction(down) <= value <= Fraction(up)
    assert Fraction(up) - Fraction(down) <= abs(value) * Fraction(1, 2**51) + Fraction(1, 2**1000)


@given(RATIONALS, st.integers(1, 12))
def test_show_rounds_to_the_side_that_is_asked(value: Fraction, digits: int) -> None:
    down, up = show(value, digits, "down"), show(value, digits, "up")
    assert Fraction(down) <= value <= Fraction(up)
    assert abs(Fraction(show(value, digits)) - value) <= abs(value) / 10 ** (digits - 1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0, "0"),
        (20, "20"),
        (-0.06, "-0.06"),
        (Fraction(1, 3), "0.333333"),
        (1.5e-9, "1.5e-09"),
        (1e20, "1e+20"),
    ],
)
def test_show(value: float, text: str) -> None:
    assert show(value) == text


def test_fractions_stand_beside_short_numbers_only() -> None:
    assert show_exact(Fraction(1, 4)) == "0.25 = 1/4"
    assert show_exact(Fraction(1, 3)) == "0.333333 ≈ 1/3"
    assert show_exact(Fraction(1, 123457)) == show(Fraction(1, 123457))
