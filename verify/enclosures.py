"""Numbers between two rationals: enclosures of exp, ln and logit shares, proved and rounded outwards.

Payoffs that involve exponentials have no exact rational value. What is proved about them is proved for every number
between two rationals that are known to lie on either side. Standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

BITS = 80
"""Enclosures end on multiples of 2^-BITS."""


@dataclass(frozen=True)
class Enclosure:
    """All numbers from ``low`` to ``high``; a rational number where both are the same.

    Example:
        >>> Enclosure.exactly("1/3") + Enclosure(Fraction(0), Fraction(1)) == Enclosure(Fraction(1, 3), Fraction(4, 3))
        True
    """

    low: Fraction
    high: Fraction

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"an enclosure needs low <= high, got {self.low} and {self.high}")

    @classmethod
    def exactly(cls, number: Fraction | int | str) -> Enclosure:
        """The enclosure of one rational number."""
        return cls(Fraction(number), Fraction(number))

    @property
    def middle(self) -> Fraction:
        return (self.low + self.high) / 2

    @property
    def width(self) -> Fraction:
        return self.high - self.low

    def __add__(self, other: Enclosure) -> Enclosure:
        return Enclosure(self.low + other.low, self.high + other.high)

    def __sub__(self, other: Enclosure) -> Enclosure:
        return Enclosure(self.low - other.high, self.high - other.low)

    def times(self, number: Fraction) -> Enclosure:
        """Every member multiplied by a rational number."""
        ends = (self.low * number, self.high * number)
        return Enclosure(min(ends), max(ends))

    def rounded(self, bits: int = BITS) -> Enclosure:
        """Outwards to multiples of 2^-bits."""
        unit = 1 << bits
        return Enclosure(Fraction(floor(self.low * unit), unit), Fraction(ceil(self.high * unit), unit))


def exp_enclosure(x: Fraction) -> Enclosure:
    """exp(x) for rational x, to about `BITS` bits.

    The Taylor series of exp(y), 0 <= y = |x| / 2^k <= 1/2, has its tail below twice the first term left out; squaring
    k times and, for negative x, the reciprocal keep both ends on their sides.

    Example:
        >>> found = exp_enclosure(Fraction(1))
        >>> found.low < Fraction(2718281828459045, 10**15) + Fraction(1, 10**15) and float(found.width) < 1e-20
        True
    """
    y, halvings = abs(x), 0
    while y > Fraction(1, 2):
        y, halvings = y / 2, halvings + 1
    working = BITS + 2 * halvings + 16
    total, term, k = Fraction(1), Fraction(1), 1
    small = Fraction(1, 1 << working)
    while True:
        term = term * y / k
        if term <= small:
            break
        total += term
        k += 1
    found = Enclosure(total, total + 2 * term).rounded(working)
    for _ in range(halvings):
        found = Enclosure(found.low**2, found.high**2).rounded(working)
    if x < 0:
        found = Enclosure(1 / found.high, 1 / found.low)
    return found.rounded()


def ln_enclosure(x: Enclosure) -> Enclosure:
    """ln of every number in ``x`` > 0, to about `BITS` bits: ln is increasing, so each end is enclosed by itself."""
    if x.low <= 0:
        raise ValueError(f"ln needs positive numbers, got {x.low}")
    return Enclosure(_ln(x.low).low, _ln(x.high).high).rounded()


def _ln(x: Fraction) -> Enclosure:
    """ln(x) = n ln 2 + 2 artanh((m - 1) / (m + 1)) with x = m 2^n and 1/2 <= m <= 2."""
    doublings = 0
    while x > 2:
        x, doublings = x / 2, doublings + 1
    while x < Fraction(1, 2):
        x, doublings = x * 2, doublings - 1
    return _ln_near_one(x) + _ln_near_one(Fraction(2)).times(Fraction(doublings))


def _ln_near_one(m: Fraction) -> Enclosure:
    """2 artanh(z), |z| <= 1/3: the terms z^(2k+1) / (2k+1) have one sign and fall at least ninefold."""
    z = (m - 1) / (m + 1)
    unit = 1 << BITS + 24
    total, power, k = Fraction(0), z, 1
    while abs(power) * unit > 1:
        total += power / k
        power, k = power * z * z, k + 2
    tail = abs(power) / k * Fraction(9, 8)
    ends = (total, total + tail) if z >= 0 else (total - tail, total)
    return Enclosure(2 * ends[0], 2 * ends[1]).rounded(BITS + 16)


def logit_shares(utilities: Sequence[Fraction], scale: Fraction) -> tuple[list[Enclosure], Enclosure]:
    """Logit demand among goods, with an outside good of utility 0.

    Args:
        utilities: of each good, rational.
        scale: mu > 0, the spread of tastes.

    Returns:
        The share exp(u/mu) / (sum exp(u/mu) + 1) of each good, and consumer surplus mu ln(sum exp(u/mu) + 1).
    """
    weights = [exp_enclosure(u / scale) for u in utilities]
    total = sum(weights, Enclosure.exactly(1))
    shares = []
    for k, own in enumerate(weights):
        # Increasing in the own weight, decreasing in the others'.
        low = own.low / (own.low + 1 + sum(w.high for j, w in enumerate(weights) if j != k))
        high = own.high / (own.high + 1 + sum(w.low for j, w in enumerate(weights) if j != k))
        shares.append(Enclosure(low, high).rounded())
    return shares, ln_enclosure(total).times(scale).rounded()
