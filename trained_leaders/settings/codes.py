"""What messages can be worth in a sequential price mechanism: a bound over pure message codes, by enumeration.

A buyer whose value no price undercuts earns 0 whatever happens. Multiplicative weights leave it at equal weights for
ever: it plays uniformly when mixed, and message 0 in the argmax readout. The leader's value is multilinear in the
other types' mixes, so no leader is worth more than the best, over their pure codes, of the best order and prices for
each message profile (settings S4). Whole numbers throughout, so the bound is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import permutations, product
from math import factorial, lcm
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .prices import SequentialPrices

MAX_CODES, MAX_WORK = 2**22, 2**27  # beyond these the enumeration is not tried
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MessageCodes:
    """The codes that a price mechanism's buyers can settle on, and what each could be worth at most.

    Args:
        setting: the mechanism.
        mixed: True for the last mixed and average readouts (undecided types mix uniformly), False for the argmax
            readout (they say message 0).

    Example:
        >>> from spverify.trained_leaders.settings import get_setting
        >>> str(MessageCodes(get_setting("mspm-grid-5"), mixed=True).bound)
        '-1/200'
    """

    setting: SequentialPrices
    mixed: bool

    @cached_property
    def undecided(self) -> tuple[NDArray[np.bool_], ...]:
        """Types that earn 0 under every leader: no price on the grid is below their value, (|T_i|,) a buyer."""
        lowest = min(self.setting.price_grid)
        return tuple(np.array([value <= lowest for value in own]) for own in self.setting.values)

    @property
    def tractable(self) -> bool:
        """Whether the enumeration is small enough to be done."""
        messages, shape = self.setting.messages, self.setting.prior.shape
        free = [int((~fixed).sum()) for fixed in self.undecided]
        plans = factorial(len(shape)) * int(np.prod([size + 1 for size in shape]))
        sets = int(np.prod([2**k for k in free]))
        return messages ** sum(free) <= MAX_CODES and plans * sets * max(shape) <= MAX_WORK and self._scale < 2**40

    @cached_property
    def _scale(self) -> int:
        """Losses below are whole multiples of 1 / (this), after weights of messages^n."""
        weights = lcm(*(p.denominator for p in self.setting.prior.ravel()))
        return (
            weights
            * lcm(*(v.denominator for own in self.setting.values for v in own))
            * self._share ** len(self.setting.values)
        )

    @property
    def _share(self) -> int:
        """Weight of a message that is certain, in whole numbers that also hold an undecided type's 1/M."""
        return self.setting.messages if self.mixed else 1

    @cached_property
    def _losses(self) -> Ints:
        """Prior-weighted loss of welfare of every distinct plan of order and prices, shape (plans, types..)."""
        setting = self.setting
        shape, unit = setting.prior.shape, self._scale // self._share ** len(setting.values)
        patterns = [sorted(set(setting.acceptance(i))) for i in range(len(shape))]
        rows = set()
        for order in permutations(range(len(shape))):
            for chosen in product(*patterns):
                row = []
                for types in np.ndindex(*shape):
                    values = [own[t] for own, t in zip(setting.values, types, strict=True)]
                    got = next((values[i] for i in order if chosen[i][types[i]]), Fraction(0))
                    row.append(int(setting.prior[types] * (got - max(values)) * unit))
                rows.add(tuple(row))
        return np.array(sorted(rows), dtype=np.int64).reshape(-1, *shape)

    @cached_property
    def _codes(self) -> tuple[Ints, ...]:
        """For each buyer its codes, shape (codes, |T_i|): the message of each type, -1 where it mixes uniformly."""
        out = []
        for fixed in self.undecided:
            free = np.flatnonzero(~fixed)
            codes = np.full((self.setting.messages ** len(free), len(fixed)), -1 if self.mixed else 0)
            codes[:, free] = list(product(range(self.setting.messages), repeat=len(free)))
            out.append(codes.astype(np.int64))
        return tuple(out)

    def weights(self, i: int, codes: Ints) -> Ints:
        """How often each type sends each message, in parts of `_share`: shape (codes, messages, |T_i|)."""
        said = codes[:, None, :] == np.arange(self.setting.messages)[:, None]
        return np.where(codes[:, None, :] < 0, 1, said * self._share).astype(np.int64)

    @cached_property
    def totals(self) -> Ints:
        """The best loss under each profile of codes, in parts of `_scale`; one axis a buyer."""
        columns, inverse = [], []
        for i, codes in enumerate(self._codes):
            weights = self.weights(i, codes)
            distinct, where = np.unique(weights.reshape(-1, weights.shape[-1]), axis=0, return_inverse=True)
            columns.append(distinct)
            inverse.append(where.reshape(weights.shape[:2]))
        best = self._losses
        for column in columns:
            best = np.tensordot(best, column, axes=([1], [1]))
        top = best.max(axis=0)
        total = np.zeros(tuple(len(codes) for codes in self._codes), dtype=np.int64)
        for said in product(range(self.setting.messages), repeat=len(columns)):
            total += top[np.ix_(*(where[:, m] for where, m in zip(inverse, said, strict=True)))]
        return total

    @property
    def bound(self) -> Fraction:
        """No leader is worth more in this readout, at any horizon, to buyers who start undecided."""
        return Fraction(int(self.totals.max()), self._scale)

    def ranked(self) -> Iterator[tuple[Fraction, tuple[Ints, ...]]]:
        """Profiles of codes with what each could be worth, best first."""
        flat = self.totals.ravel()
        for place in np.argsort(-flat, kind="stable"):
            index = np.unravel_index(place, self.totals.shape)
            codes = tuple(codes[k] for codes, k in zip(self._codes, index, strict=True))
            yield Fraction(int(flat[place]), self._scale), codes
