"""Enclosures of exp, ln and logit shares, against the decimal module at fifty digits."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spverify.verify.enclosures import Enclosure, exp_enclosure, ln_enclosure, logit_shares

rationals = st.fractions(min_value=-12, max_value=12, max_denominator=1000)


def decimal(x: Fraction) -> Decimal:
    return Decimal(x.numerator) / Decimal(x.denominator)


def between(found: Enclosure, exact: Decimal) -> bool:
    return decimal(found.low) - Decimal("1e-48") <= exact <= decimal(found.high) + Decimal("1e-48")


@given(rationals)
def test_exp(x: Fraction) -> None:
    found = exp_enclosure(x)
    with localcontext() as context:
        context.prec = 60
        assert between(found, decimal(x).exp())
    assert found.width <= Fraction(1, 2**70) * max(1, found.high)


@given(st.fractions(min_value=Fraction(1, 500), max_value=10**6, max_denominator=1000))
def test_ln(x: Fraction) -> None:
    found = ln_enclosure(Enclosure(x, x))
    with localcontext() as context:
        context.prec = 60
        assert between(found, decimal(x).ln())
    assert found.width < Fraction(1, 2**70)


def test_ln_of_an_interval_covers_both_ends_and_needs_positive_numbers() -> None:
    found = ln_enclosure(Enclosure(Fraction(1, 2), Fraction(2)))
    assert float(found.low) <= -math.log(2) and float(found.high) >= math.log(2)
    with pytest.raises(ValueError, match="positive"):
        ln_enclosure(Enclosure(Fraction(0), Fraction(1)))


def test_logit_shares() -> None:
    shares, surplus = logit_shares([Fraction(19, 20), Fraction(3, 10)], Fraction(1, 4))
    weights = [math.exp(3.8), math.exp(1.2)]
    total = sum(weights) + 1
    for share, weight in zip(shares, weights, strict=True):
        assert float(share.middle) == pytest.approx(weight / total, rel=1e-14) and share.width < 1e-20
    assert float(surplus.middle) == pytest.approx(0.25 * math.log(total), rel=1e-14)
    assert logit_shares([], Fraction(1)) == ([], Enclosure.exactly(0))


def test_arithmetic() -> None:
    one, two = Enclosure(Fraction(1), Fraction(2)), Enclosure(Fraction(-1), Fraction(3))
    assert one - two == Enclosure(Fraction(-2), Fraction(3)) and two.times(Fraction(-2)) == Enclosure(
        Fraction(-6), Fraction(2)
    )
    assert Enclosure(Fraction(1, 3), Fraction(2, 3)).rounded(1) == Enclosure(Fraction(0), Fraction(1))
    with pytest.raises(ValueError, match="low <= high"):
        Enclosure(Fraction(1), Fraction(0))
