"""Where a largest number can be: what the kernel's fast twin looks at before it reckons exactly.

Tables are rounded to whole numbers of `TABLE_BITS` bits, and what they are multiplied with to whole numbers of
`FACTOR_BITS` bits all together. All sums of products are then whole numbers below 2^53, which doubles hold exactly
whatever the order of the sum, and how wrong they are follows from the two roundings alone. Where that leaves many, what
was rounded off is split the same way, which adds `TABLE_BITS` bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .game import BoolArray, FloatArray, array_of
from .plain import DoubleNumerators, PlainGame, Tensor

IntArray = npt.NDArray[np.int64]
Factor = tuple[float, int]
"""A mantissa and a binary exponent."""

TABLE_BITS, FACTOR_BITS = 23, 29
BLOCK_CELLS = 1 << 18
"""Joint actions worked on at once: what fits the processor's cache a few times over."""

FEW, MANY = 3, 64
"""With more joint actions a joint type than the first, on average, what was rounded off is looked at too; more than the
second are not listed."""

FAR = 1000
"""Powers of two this far apart are not compared."""


def add_gain(out: FloatArray, payoff: FloatArray, own: FloatArray, i: int, n: int, spare: FloatArray) -> None:
    """Adds sum_a' g(types, a') [u_i(types, a) - u_i(types, a', a_-i)] to ``out``.

    Args:
        out: axes (types.., actions..), for any number of axes of types.
        payoff: u_i with the same axes; those of length 1 broadcast.
        own: g, axes (types.., |A_i|), broadcasting too.
        i, n: which of how many players.
        spare: as large as ``out``; what stands there is lost.
    """
    lead, axis = out.ndim - n, out.ndim - n + i
    left, right = payoff.shape[lead:axis], payoff.shape[axis + 1 :]
    lines = payoff.reshape(*payoff.shape[:lead], math.prod(left), payoff.shape[axis], math.prod(right))
    # the last axis is summed with the gains on the right: many products of one line each are slow
    at_end = lines.shape[-1] == 1
    deviated = lines[..., 0] @ own[..., :, None] if at_end else own[..., None, None, :] @ lines
    types = map(max, payoff.shape[:lead], own.shape[:-1])
    out -= deviated.reshape(*types, *left, 1, *right)
    add_product(out, payoff, own.sum(axis=-1).reshape(own.shape[:-1] + (1,) * n), spare)


def add_product(out: FloatArray, values: FloatArray, times: FloatArray, spare: FloatArray) -> None:
    """``out += values * times`` without a new array."""
    shape = tuple(map(max, values.shape, times.shape))
    out += np.multiply(values, times, out=spare.ravel()[: math.prod(shape)].reshape(shape))


# Blocks: all joint types that begin with the types of some first players, a prefix.


def prefix_length(types: Sequence[int], width: int, most: int) -> int:
    """How many players' types to fix so that the joint types left, of ``width`` cells each, have at most ``most``."""
    fixed = 0
    while fixed < len(types) and math.prod(types[fixed:]) * width > most:
        fixed += 1
    return fixed


def at_prefix(values: npt.NDArray[Any], prefix: Sequence[int]) -> Any:
    """A block's part of an array with axes (types.., ...), those of length 1 broadcasting."""
    return values[tuple(t if length > 1 else 0 for t, length in zip(prefix, values.shape, strict=False))]


def rows_at_prefix(rows: npt.NDArray[Any], i: int, prefix: Sequence[int], n: int) -> Any:
    """Player i's rows (|T_i|, |A_i|) at a block's joint types, axes (types.., |A_i|), broadcasting."""
    here = rows[prefix[i]] if i < len(prefix) else rows
    return here.reshape(*(-1 if j == i else 1 for j in range(len(prefix), n)), rows.shape[1])


class BracketCandidates:
    """Which joint actions may have the largest bracket of theory T5 at their joint type.

    The bracket is ``p(types) [sum_k factor_k array_k + sum_i gains]`` plus the potentials, gains as in `add_gains`.
    The brackets of a joint type may be multiplied with any number first, as only the largest is asked for; without
    potentials they come without p(types).

    Args:
        game: the game.
        plain: arrays with the factors of their numerators.
        gains: for some players the factors of the payoffs' numerators, by own type and deviation.
        potentials: arrays as ``plain``.
    """

    def __init__(
        self,
        game: PlainGame,
        plain: Sequence[tuple[Tensor, Factor]],
        gains: Mapping[int, Mapping[int, Mapping[int, Factor]]],
        potentials: Sequence[tuple[Tensor, Factor]],
    ) -> None:
        self.game, self.plain, self.potentials = game, plain, potentials
        self.gains: dict[int, tuple[FloatArray, int]] = {}
        for i, rows in gains.items():
            mantissas = np.zeros((game.type_shape[i], game.action_shape[i]))
            exponents = np.full(mantissas.shape, -(1 << 40))
            for t, row in rows.items():
                for a, (mantissa, exponent) in row.items():
                    mantissas[t, a], exponents[t, a] = mantissa, exponent
            top = int(exponents.max())
            self.gains[i] = np.ldexp(mantissas, np.maximum(exponents - top, -FAR)), top
        self.chances = array_of(game.prior)
        self.room: FloatArray | None = None
        masks = [np.array(mask, dtype=bool) for mask in game.feasible]
        self.masks = None if all(mask.all() for mask in masks) else masks

    def found(self) -> Iterator[tuple[IntArray, IntArray]]:
        """The candidates of each joint type, block by block; those of probability 0 count where there are potentials.

        Yields:
            (cells, types): joint types and joint actions, (count, 2 n), and joint types that have more than `MANY`.
        """
        game, width = self.game, math.prod(self.game.action_shape)
        fixed = prefix_length(game.type_shape, width, BLOCK_CELLS)
        for prefix in np.ndindex(*game.type_shape[:fixed]):
            here = np.flatnonzero(self.chances[prefix] >= 0 if self.potentials else self.chances[prefix])
            if not len(here):
                continue
            for fine in (False, True):
                brackets, wrong = self._block(prefix, fine=fine)
                brackets, wrong = brackets.reshape(-1, width), wrong.ravel()
                if len(here) < len(brackets):
                    brackets, wrong = brackets[here], wrong[here]
                close = brackets >= (brackets.max(axis=1) - 2 * wrong)[:, None]
                if self.masks is not None:
                    close &= brackets > -np.inf
                if np.count_nonzero(close) <= FEW * len(here):
                    break
            many = np.count_nonzero(close, axis=1) > MANY
            close[many] = False
            joint, places = np.nonzero(close)
            cells = [*self._types(prefix, here[joint]), *np.unravel_index(places, game.action_shape)]
            yield np.stack(cells, axis=1), np.stack(self._types(prefix, here[many]), axis=1)

    def _types(self, prefix: tuple[int, ...], rest: IntArray) -> list[IntArray]:
        """Types of each player where the joint types after ``prefix`` are given by their places, (count,) each."""
        shape = self.game.type_shape[len(prefix) :]
        return [np.full(len(rest), t) for t in prefix] + list(np.unravel_index(rest, shape) if shape else ())

    def _block(self, prefix: tuple[int, ...], *, fine: bool) -> tuple[FloatArray, FloatArray]:
        """Rounded brackets at the joint types that begin with ``prefix``, and how wrong each joint type's may be."""
        game, n = self.game, self.game.n
        types = game.type_shape[len(prefix) :]
        plain, potentials = (
            [(_table(part, prefix), *times) for part, times in parts] for parts in (self.plain, self.potentials)
        )
        moved = {i: (_table(game.payoffs[i], prefix), *own) for i, own in self.gains.items()}
        # the largest term of all is about 2^top
        top = max(table.bits + exponent for table, _, exponent in [*plain, *potentials, *moved.values()])
        chances = self.chances[prefix] if potentials else np.ones(types)
        factors = [chances * _scaled(m, table.bits + exponent - top) for table, m, exponent in plain]
        factors += [np.full(types, _scaled(m, table.bits + exponent - top)) for table, m, exponent in potentials]
        gains = {}
        for i, (table, own, exponent) in moved.items():
            here = _scaled(own, table.bits + exponent - top)
            gains[i] = chances[..., None] * rows_at_prefix(here, i, prefix, n)
        size = sum(map(np.abs, factors)) + sum(2 * own.sum(axis=-1) for own in gains.values())
        # where all is far smaller than elsewhere in the block nothing is said: it was scaled to nothing
        said = size > 2.0 ** (100 - FAR)
        scale = np.where(said, 2.0**FACTOR_BITS / np.where(said, size, 1.0), 0.0)
        factors = [(own * scale).reshape(types + (1,) * n) for own in factors]
        gains = {i: own * scale[..., None] for i, own in gains.items()}
        if self.room is None or self.room.shape[1:] != types + game.action_shape:
            self.room = np.empty((3, *types, *game.action_shape))
        out, spare, room = self.room
        out[:] = 0.0
        # of tables and of what they are multiplied with, whole numbers (0) or what was rounded off (1)
        for left, right in ((1, 0), (0, 1), (0, 0)) if fine else ((0, 0),):
            for (table, *_), own in zip([*plain, *potentials], factors, strict=True):
                add_product(out, _rounded(table, left, room), _split(own, right), spare)
            for i, (table, *_) in moved.items():
                add_gain(out, _rounded(table, left, room), _split(gains[i], right), i, n, spare)
            if (left, right) == (0, 1):
                out *= 2.0**-TABLE_BITS
        if self.masks is not None:
            for i, mask in enumerate(self.masks):
                own = rows_at_prefix(mask, i, prefix, n)
                axes = (own.shape[-1] if j == i else 1 for j in range(n))
                np.copyto(out, -np.inf, where=~own.reshape(*own.shape[:-1], *axes))
        uses = len(factors) + 2 * sum(np.count_nonzero(own, axis=-1) for own in gains.values())
        if fine:
            # each use: 1/2 for rounding the factor, 1/4 for the product of both rests, which is left out, and 1/2 for
            # adding up; all of them: 2 of a table's last places, and what factors were off before they were rounded
            return out, np.where(said, 2.0 * uses + 2.5 * 2.0 ** (FACTOR_BITS - TABLE_BITS), np.inf)
        # each factor is wrong by less than 1, and so is each number of a table
        return out, np.where(said, (2.0**TABLE_BITS + 1) * uses + 2.0**FACTOR_BITS, np.inf)


def factor(numerator: int, denominator: int) -> Factor:
    """A rational as a mantissa, 1/2 to 2 in size, and a binary exponent."""
    exponent = abs(numerator).bit_length() - denominator.bit_length()
    if exponent >= 0:
        return numerator / (denominator << exponent), exponent
    return (numerator << -exponent) / denominator, exponent


def _scaled(mantissa: float | FloatArray, exponent: int) -> FloatArray:
    return np.ldexp(mantissa, max(exponent, -FAR))


class _Table(NamedTuple):
    """Numbers that are ``values * 2^by`` in units in which the largest has `TABLE_BITS` bits, and the bits of the
    largest of the numerators that they stand for."""

    values: FloatArray
    by: int
    bits: int


def _table(values: Tensor, prefix: tuple[int, ...]) -> _Table:
    """An array's numerators at the joint types that begin with ``prefix``, axes (types.., actions..)."""
    if isinstance(values.numerators, DoubleNumerators):
        return _of_doubles(at_prefix(array_of(values), prefix), values.numerators.shift)
    shape = values.shape[len(prefix) :]
    start = sum(t * stride for t, stride in zip(prefix, values.strides, strict=False))
    return _of_integers(values.numerators[start : start + math.prod(shape)], shape)


def _of_doubles(values: FloatArray, shift: int) -> _Table:
    largest = max(float(values.max()), -float(values.min()))
    bits = math.frexp(largest)[1] if largest else -4 * FAR
    return _Table(values, TABLE_BITS - bits, bits + shift)


def _of_integers(values: Sequence[int], shape: Sequence[int]) -> _Table:
    """Of long numbers the first bits are taken, twice as many as a table has."""
    bits = max(map(int.bit_length, values)) or -4 * FAR
    more = max(0, bits - 2 * TABLE_BITS)
    short = np.array([value >> more for value in values] if more else values, dtype=float).reshape(shape)
    return _Table(short, TABLE_BITS - bits + more, bits)


def _rounded(table: _Table, part: int, room: FloatArray) -> FloatArray:
    """A table in whole numbers (part 0), each within 1, or what is left of it (part 1), `_split`, within 2."""
    out = room.ravel()[: table.values.size].reshape(table.values.shape)
    # a power of two changes no digit
    if abs(table.by) < FAR:
        np.multiply(table.values, 2.0**table.by, out=out)
    else:
        np.ldexp(table.values, table.by, out=out)
    return _split(out, part, out)


def _split(values: FloatArray, part: int, out: FloatArray | None = None) -> FloatArray:
    """The nearest whole numbers (part 0), or what is left, times 2^TABLE_BITS and rounded too (part 1)."""
    if part:
        values = np.subtract(values, np.rint(values), out=out)
        values *= 2.0**TABLE_BITS
    return np.rint(values, out=out)


def regret_bounds(
    payoff: Tensor, places: IntArray, types: IntArray, own: IntArray, masses: FloatArray, feasible: BoolArray
) -> tuple[FloatArray, FloatArray, int]:
    """The least and the most that a player's interim regrets can be at a play given by its cells.

    Args:
        payoff: the player's.
        places: where in it each cell stands with each own action in the place of the one there, (cells, |A_i|).
        types, own: the player's type and action at each cell, (cells,).
        masses: the cells' probabilities, joint types' included, (cells,).
        feasible: the player's actions, (|T_i|, |A_i|).

    Returns:
        (least, most, exponent): regrets in units of 2^exponent of the payoff's numerators, (|T_i|, |A_i|); -inf where
        there is none.
    """
    if isinstance(payoff.numerators, DoubleNumerators):
        read = _of_doubles(array_of(payoff).ravel()[places], payoff.numerators.shift)
    else:
        read = _of_integers([payoff.numerators[k] for k in places.ravel().tolist()], places.shape)
    table = _rounded(read, 0, np.empty(places.shape))
    where = np.equal.outer(np.arange(len(feasible)), types)
    visits = where @ masses
    shares = where * masses / np.where(visits > 0, visits, 1.0)[:, None]
    weights = np.rint(shares * 2.0**FACTOR_BITS)
    regrets = weights @ table
    regrets -= weights @ np.take_along_axis(table, own[:, None], axis=1)
    regrets[~feasible | (visits == 0)[:, None]] = -np.inf
    # each mass is wrong by less than 1, and so is each number of the table
    wrong = (2.0 ** (TABLE_BITS + 1) + 2) * where.sum(axis=1, keepdims=True) + 2.0 ** (FACTOR_BITS + 1)
    return regrets - wrong, regrets + wrong, read.bits - TABLE_BITS - FACTOR_BITS
