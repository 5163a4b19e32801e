"""The outer bound of theory T5 for big games: the same exact number as `kernel.outer_bound`, in numpy integers.

Numbers are held as sums of limb[k] * 2^(24 k) with the limbs in int64: a product of two limbs stays below 2^48, so
thousands of products add up without overflow, and carries are taken after each player's share. No number is ever
rounded. The readable kernel is the reference; the tests hold this one to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from . import kernel
from .kernel import Multipliers, Recheck, joint_types, prior_weight
from .plain import DoubleNumerators, PlainGame, SumNumerators, Tensor

BITS = 24
_MASK = (1 << BITS) - 1
_MOST_TERMS = 1 << (62 - 2 * BITS)
"""How many products of two limbs an accumulator takes between carries."""

Limbs = npt.NDArray[np.int64]


def outer_bound(
    game: PlainGame,
    *,
    objective: Tensor,
    sense: str,
    epsilon: Fraction,
    multipliers: Multipliers,
    potentials: Sequence[Tensor] | None = None,
) -> Fraction:
    """See `kernel.outer_bound`: same arguments, same exact result, joint actions of a joint type all at once."""
    sign, n = 1 if sense == "upper" else -1, game.n
    gains, common = kernel.scaled_gains(game, objective, multipliers)
    centred = kernel.centred_potentials(game, potentials) if potentials is not None else []
    unit = math.lcm(game.prior.denominator * common, *(f.denominator * count for f, _, count in centred))
    scale = unit // (game.prior.denominator * common)
    total = 0
    for types in joint_types(game):
        weight = prior_weight(game, types) * scale
        if not weight and not centred:
            continue
        account = _Account(game.action_shape)
        if weight:
            terms = objective.numerators.terms if isinstance(objective.numerators, SumNumerators) else (objective,)
            for w in terms:
                factor = sign * weight * (common // objective.denominator) * (objective.denominator // w.denominator)
                account.add(_slice(w, types, n), factor)
            for i in range(n):
                row = gains[i].get(types[i])
                if row and game.payoffs[i].shape[n + i] > 1:
                    weighted = {a: gain * weight for a, gain in row.items()}
                    account.deviations(_slice(game.payoffs[i], types, n), i, weighted)
        for f, sums, count in centred:
            account.add(_centred_slice(f, sums, count, types, n), unit // (f.denominator * count))
        total += account.largest(game, types)
    bound = epsilon * sum((y for *_, y in multipliers), Fraction(0)) + Fraction(total, unit)
    return sign * bound


def check_certificate(document: object, game: PlainGame | None = None) -> Recheck:
    """`kernel.check_certificate` with the bound computed here; for games that the readable kernel would be slow on."""
    return kernel.check_certificate(document, game, outer=outer_bound)


class _Account:
    """A running sum for every joint action of one joint type, in limbs of shape (limb, actions..)."""

    def __init__(self, actions: tuple[int, ...]) -> None:
        self.actions = actions
        self.limbs: Limbs = np.zeros((1, *actions), dtype=np.int64)

    def _grow(self, count: int) -> None:
        if count > len(self.limbs):
            more = np.zeros((count - len(self.limbs), *self.actions), dtype=np.int64)
            self.limbs = np.concatenate([self.limbs, more])

    def add(self, values: Limbs, factor: int) -> None:
        """Adds factor * values; ``values`` broadcasts over the joint actions."""
        digits = _digits(factor)
        self._grow(len(values) + len(digits) + 1)
        for k, digit in enumerate(digits):
            if digit:
                self.limbs[k : k + len(values)] += values * digit
        self._carry()

    def deviations(self, payoff: Limbs, i: int, gains: dict[int, int]) -> None:
        """Subtracts sum_a' gains[a'] * (payoff(a', a_-i) - payoff(a)) at every joint action a."""
        chosen = list(gains)
        own = np.moveaxis(payoff, 1 + i, -1)[..., chosen]
        digits = [_digits(gains[a]) for a in chosen]
        width = max(map(len, digits))
        table = np.array([row + [0] * (width - len(row)) for row in digits], dtype=np.int64)
        self._grow(len(payoff) + width + 2)
        for start in range(0, len(chosen), _MOST_TERMS // max(1, width)):
            part = slice(start, start + _MOST_TERMS // max(1, width))
            for k in range(width):
                deviated = own[..., part] @ table[part, k]
                self.limbs[k : k + len(payoff)] -= np.expand_dims(deviated, 1 + i)
            self._carry()
        self.add(payoff, sum(gains.values()))

    def _carry(self) -> None:
        """Brings all limbs but the highest into 0 .. 2^24 - 1; the highest keeps the sign."""
        for k in range(len(self.limbs) - 1):
            carry = self.limbs[k] >> BITS
            self.limbs[k] &= _MASK
            self.limbs[k + 1] += carry

    def largest(self, game: PlainGame, types: tuple[int, ...]) -> int:
        """The largest sum over the joint actions feasible at these types."""
        rows = [[a for a, ok in enumerate(game.feasible[i][t]) if ok] for i, t in enumerate(types)]
        left = np.stack([limb[np.ix_(*rows)].ravel() for limb in self.limbs])
        for k in reversed(range(len(left))):
            left = left[:, left[k] == left[k].max()]
        return sum(int(limb) << (BITS * k) for k, limb in enumerate(left[:, 0].tolist()))


def _digits(value: int) -> list[int]:
    """Base-2^24 digits of an integer, lowest first, all with its sign."""
    sign, rest, out = (-1 if value < 0 else 1), abs(value), []
    while rest:
        out.append(sign * (rest & _MASK))
        rest >>= BITS
    return out or [0]


def _slice(values: Tensor, types: tuple[int, ...], n: int) -> Limbs:
    """An array's numerators at one joint type as limbs, shape (limb, actions..), singleton axes kept."""
    at = tuple(t if length > 1 else 0 for t, length in zip(types, values.shape[:n], strict=True))
    if isinstance(values.numerators, DoubleNumerators):
        doubles = np.frombuffer(values.numerators.values).reshape(values.shape)[at]
        return _double_limbs(doubles, values.numerators.shift)
    start = sum(t * stride for t, stride in zip(at, values.strides, strict=False))
    shape = values.shape[n:]
    return _integer_limbs(values.numerators[start : start + math.prod(shape)], shape)


def _centred_slice(f: Tensor, sums: Sequence[int], count: int, types: tuple[int, ...], n: int) -> Limbs:
    start = sum(t * stride for t, stride in zip(types, f.strides, strict=False))
    shape = f.shape[n:]
    part = slice(start, start + math.prod(shape))
    return _integer_limbs([count * a - b for a, b in zip(f.numerators[part], sums[part], strict=True)], shape)


def _integer_limbs(values: Sequence[int], shape: tuple[int, ...]) -> Limbs:
    width = max(1, -(-max(abs(value).bit_length() for value in values) // BITS))
    rows = [(row := _digits(value)) + [0] * (width - len(row)) for value in values]
    return np.moveaxis(np.array(rows, dtype=np.int64).reshape(*shape, width), -1, 0)


def _double_limbs(values: npt.NDArray[np.float64], shift: int) -> Limbs:
    """value * 2^shift, which is whole, as limbs: the mantissa's three limbs moved to where its exponent says."""
    mantissa, exponent = np.frexp(values)
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lift = np.where(whole == 0, 0, exponent.astype(np.int64) - 53 + shift)
    whole >>= np.minimum(np.maximum(-lift, 0), 62)  # whole numbers end in zeros that a small shift must not keep
    lift = np.maximum(lift, 0)
    place, within = np.divmod(lift, BITS)
    out = np.zeros((int(place.max(initial=0)) + 4, *values.shape), dtype=np.int64)
    for base in np.unique(place).tolist():
        here = place == base
        for k in range(3):
            out[base + k] += np.where(here, ((whole >> (BITS * k)) & _MASK) << within, 0)
    for k in range(len(out) - 1):
        carry = out[k] >> BITS
        out[k] &= _MASK
        out[k + 1] += carry
    while len(out) > 1 and not out[-1].any():
        out = out[:-1]
    return out * np.sign(values).astype(np.int64)


def big(game: PlainGame) -> bool:
    """Whether the readable kernel would take more than a few seconds on this game."""
    return math.prod(game.type_shape) * math.prod(game.action_shape) > 20_000
