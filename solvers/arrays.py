"""A game as arrays ready for linear programming, in doubles or in integers, with one numbering of its rows.

The float side is rescaled to payoffs and objective in [0, 1], which is what keeps solver tolerances meaningful; the
integer side is exact and read only where it is needed. Both go through the same column builders (`polytope.py`,
`plans.py`), so a basis found in doubles can be solved again in rationals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..verify.candidates import add_gain, at_prefix, prefix_length, rows_at_prefix
from ..verify.game import BayesianGame, FloatArray
from ..verify.kernel import marginals
from ..verify.plain import Tensor

IntArray = npt.NDArray[np.int64]


class Table:
    """One array over (types.., actions..), read at some places only: doubles, or exact numerators as Python integers.

    Args:
        values: an array (axes of length 1 broadcast), or a `Tensor`, of which only what is asked for is made exact.
        shape: axes (types.., actions..).
        sign, low: what is read is ``sign * value - low``.
        scale: and that divided by this, in doubles.
    """

    def __init__(
        self, values: FloatArray | Tensor, shape: tuple[int, ...], *, sign: int = 1, low: Any = 0, scale: float = 1.0
    ) -> None:
        self.values, self.shape, self.sign, self.low, self.scale = values, shape, sign, low, scale

    def __getitem__(self, index: tuple[IntArray, ...]) -> Any:
        values = self.values
        if not isinstance(values, Tensor):
            at = tuple(k if length > 1 else np.zeros_like(k) for k, length in zip(index, values.shape, strict=True))
            return (self.sign * values[at] - self.low) / self.scale
        shape = np.broadcast_shapes(*(k.shape for k in index))
        place = sum(k * stride for k, stride in zip(index, values.strides, strict=True))
        known, inverse = np.unique(np.broadcast_to(place, shape), return_inverse=True)
        read = np.empty(len(known), dtype=object)
        read[:] = [self.sign * values.numerators[k] - self.low for k in known.tolist()]
        return read[inverse.reshape(shape)]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Numbers of one game and one objective to be maximised; all entries doubles, or all Python integers.

    Attributes:
        prior: weights of the objective, axes (types..).
        conditional: for each player the weights of its regret rows, axes (types..).
        payoffs: for each player.
        objective: larger is better.
    """

    prior: Any
    conditional: tuple[Any, ...]
    payoffs: tuple[Table, ...]
    objective: Table

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.payoffs)

    @property
    def types(self) -> tuple[int, ...]:
        """Number of types of each player."""
        return tuple(self.prior.shape)

    def gains(self, i: int, types: Any, actions: Any) -> Any:
        """u_i(types, a', a_-i) - u_i(types, a) for every own action a', a last axis, at each place of the indices."""
        n = self.n
        own = np.arange(self.payoffs[i].shape[n + i])
        index = [t[..., None] for t in types] + [own if j == i else a[..., None] for j, a in enumerate(actions)]
        table = self.payoffs[i][tuple(index)]
        table = np.broadcast_to(table, (*np.broadcast_shapes(*(k.shape for k in actions)), len(own)))
        return table - np.take_along_axis(table, actions[i][..., None], axis=-1)


@dataclass(frozen=True, eq=False)
class Columns:
    """Sparse columns of a linear program: costs (to be maximised) and entries (column, row, value)."""

    cost: Any
    column: IntArray
    row: IntArray
    value: Any

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.cost)

    @staticmethod
    def of(cost: Any, parts: list[tuple[Any, Any]]) -> Columns:
        """From blocks of (rows, values), each (count, width); rows of -1 are left out, and so are zeros."""
        row = np.concatenate([r for r, _ in parts], axis=1)
        value = np.concatenate([v for _, v in parts], axis=1)
        column, place = np.nonzero((row >= 0) & (value != 0))
        return Columns(cost, column, row[column, place], value[column, place])


class Problem:
    """One game, one objective, one sense and one epsilon, with rows numbered for every program built on it.

    Rows 0 .. ``n_regrets`` - 1 are the interim regrets ``r_i(t_i, a') <= epsilon`` (theory T3) of types with positive
    probability and a choice, and feasible deviations of players whose payoff varies; what follows is up to the program.

    Args:
        game: the game.
        objective: the exact objective.
        sense: ``upper`` to maximise, ``lower`` to minimise.
        epsilon: largest allowed regret, payoff units.
    """

    def __init__(
        self, game: BayesianGame, objective: Tensor, values: FloatArray, sense: str, epsilon: Fraction
    ) -> None:
        self.game, self.exact_objective, self.epsilon = game, objective, epsilon
        self.sign = 1 if sense == "upper" else -1
        self.cells = np.broadcast_to(game.feasible_cells, game.shape)
        spans = [_span(payoff, self.cells) for payoff in (*game.payoffs, self.sign * values)]
        self.payoff_scale = [span or 1.0 for _, span in spans[:-1]]
        self.objective_low, self.objective_scale = spans[-1][0], spans[-1][1] or 1.0
        self.values = values
        self.payoff_low = [low for low, _ in spans[:-1]]
        self.rows, self.n_regrets = _number_rows(game, [span > 0 for _, span in spans[:-1]])
        # no regret exceeds the payoff range, so a larger epsilon says no more (and could overflow)
        bounds = [float(min(epsilon / Fraction(scale), Fraction(2))) for scale in self.payoff_scale]
        self.bounds = np.concatenate(
            [np.full(int((rows >= 0).sum()), bound) for rows, bound in zip(self.rows, bounds, strict=True)]
        )

    @cached_property
    def pricer(self) -> Pricer:
        """Reduced costs of all cells in the scaled units."""
        return Pricer(self)

    @cached_property
    def arrays(self) -> Arrays:
        """The scaled game in doubles."""
        game = self.game
        payoffs = zip(game.payoffs, self.payoff_low, self.payoff_scale, strict=True)
        return Arrays(
            game.prior,
            tuple(game.conditional(i) for i in range(game.n_players)),
            tuple(Table(payoff, game.shape, low=low, scale=scale) for payoff, low, scale in payoffs),
            Table(self.values, game.shape, sign=self.sign, low=self.objective_low, scale=self.objective_scale),
        )

    @cached_property
    def integers(self) -> Arrays:
        """The game in integers: everything times its denominator, regret rows times p_i(t_i) too (`row_units`).

        The objective starts at 0 as it does in doubles: with redundant rows in a basis, a shift would change its duals.
        """
        plain, shape = self.game.plain, self.game.shape
        prior = _objects(plain.prior)
        aim = Table(self.exact_objective, shape, sign=self.sign, low=self.integer_low)
        return Arrays(prior, (prior,) * plain.n, tuple(Table(payoff, shape) for payoff in plain.payoffs), aim)

    @cached_property
    def integer_low(self) -> int:
        """What is taken off the integer side's objective: its value where it is smallest in doubles."""
        values = np.where(self.game.feasible_cells, self.sign * self.values, np.inf)
        place = np.unravel_index(int(values.argmin()), values.shape)
        own = sum(int(k) * stride for k, stride in zip(place, self.exact_objective.strides, strict=True))
        return int(self.sign * self.exact_objective.numerators[own])

    @cached_property
    def row_units(self) -> list[Fraction]:
        """What each regret row of the integer side was multiplied by: p_i(t_i) and the denominators."""
        plain = self.game.plain
        out = []
        for i, own in enumerate(marginals(plain)):
            for t, a in np.argwhere(self.rows[i] >= 0).tolist():
                out.append((self.rows[i][t, a], own[t] * plain.prior.denominator * plain.payoffs[i].denominator))
        return [unit for _, unit in sorted(out)]

    @property
    def objective_unit(self) -> int:
        """What the integer side's objective was multiplied by."""
        return self.game.plain.prior.denominator * self.exact_objective.denominator

    def split(self, duals: FloatArray) -> list[FloatArray]:
        """Row duals as one array (|T_i|, |A_i|) a player, 0 where there is no row."""
        padded = np.append(duals[: self.n_regrets], 0.0)
        return [padded[rows] for rows in self.rows]

    def multipliers(self, duals: FloatArray) -> list[FloatArray]:
        """Row duals of the scaled program in the game's own units: the y of theory T5."""
        units = [self.objective_scale / scale for scale in self.payoff_scale]
        return [np.maximum(y, 0.0) * unit for y, unit in zip(self.split(duals), units, strict=True)]

    def exact_rows(self, duals: dict[int, Fraction]) -> list[tuple[int, int, int, Fraction]]:
        """Exact row duals of the integer side as the kernel's multipliers."""
        out = []
        for i, rows in enumerate(self.rows):
            for t, a in np.argwhere(rows >= 0).tolist():
                r = int(rows[t, a])
                y = duals.get(r, Fraction(0)) * self.row_units[r] / self.objective_unit
                if y > 0:
                    out.append((i, t, a, y))
        return out


def _span(values: FloatArray, cells: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Smallest value and range over feasible cells."""
    feasible = values if cells.all() else np.broadcast_to(values, cells.shape)[cells]
    low = float(feasible.min())
    return low, float(feasible.max()) - low


def _number_rows(game: BayesianGame, varies: list[bool]) -> tuple[list[IntArray], int]:
    rows, count = [], 0
    for i, mask in enumerate(game.feasible):
        # who has no other action has nothing to gain
        known = mask & (game.marginal(i) > 0)[:, None] & (mask.sum(axis=1) > 1)[:, None] & varies[i]
        numbers = np.full(mask.shape, -1, dtype=np.int64)
        numbers[known] = np.arange(count, count + int(known.sum()))
        count += int(known.sum())
        rows.append(numbers)
    return rows, count


def _objects(array: Tensor) -> Any:
    """Numerators as a numpy array of Python integers."""
    out = np.empty(len(array.numerators), dtype=object)
    out[:] = list(array.numerators)
    return out.reshape(array.shape)


BLOCK_CELLS = 1 << 18
"""Cells priced at once: what fits the processor's cache a few times over."""

FAR = 16.0
"""Payoffs this many times further from 0 than their range are moved to 0 before they are multiplied."""


class Pricer:
    """The bracket of theory T5 without potentials, scaled, in blocks of joint types: no array over all cells is made.

    In block order the joint types run in C order; values of infeasible cells are -inf.
    """

    def __init__(self, problem: Problem) -> None:
        game, self.problem = problem.game, problem
        self.n, self.types, self.actions = game.n_players, game.type_shape, game.action_shape
        self.width = int(np.prod(self.actions))
        self.fixed = prefix_length(self.types, self.width, BLOCK_CELLS)
        self.payoffs = []
        for payoff, low, scale in zip(game.payoffs, problem.payoff_low, problem.payoff_scale, strict=True):
            far = abs(low) > FAR * scale
            self.payoffs.append(np.ascontiguousarray(payoff - low if far else payoff))
        owns = [game.marginal(i) for i in range(self.n)]
        self.shares = [np.divide(1.0, own, out=np.zeros_like(own), where=own > 0)[:, None] for own in owns]
        self.all_feasible = bool(problem.cells.all())
        self.spare = np.empty(int(np.prod(self.types[self.fixed :])) * self.width)

    def blocks(self, multipliers: list[FloatArray]) -> Iterator[tuple[int, FloatArray]]:
        """(first joint type, values (joint types, joint actions)) block by block, for multipliers in scaled units."""
        given = zip(multipliers, self.shares, self.problem.payoff_scale, strict=True)
        scaled = [y * share / scale for y, share, scale in given]
        size = int(np.prod(self.types[self.fixed :]))
        for k, prefix in enumerate(np.ndindex(*self.types[: self.fixed])):
            yield k * size, self._block(prefix, scaled).reshape(size, self.width)

    def whole(self, multipliers: list[FloatArray]) -> FloatArray:
        """All values, axes (types.., actions..)."""
        return np.concatenate([block for _, block in self.blocks(multipliers)]).reshape(self.problem.game.shape)

    def _block(self, prefix: tuple[int, ...], gains: list[FloatArray]) -> FloatArray:
        problem, n, k = self.problem, self.n, len(prefix)
        rest, tail = self.types[k:], (1,) * self.n
        out: FloatArray = np.empty((*rest, *self.actions))
        np.multiply(at_prefix(problem.values, prefix), problem.sign / problem.objective_scale, out=out)
        out -= problem.objective_low / problem.objective_scale
        for i, z in enumerate(gains):
            payoff = at_prefix(self.payoffs[i], prefix)
            if payoff.shape[n - k + i] > 1 and z.any():
                add_gain(out, payoff, rows_at_prefix(z, i, prefix, n), i, n, self.spare)
        out *= problem.game.prior[prefix].reshape((*rest, *tail))
        if not self.all_feasible:
            cells = at_prefix(problem.game.feasible_cells, prefix)
            out[~np.broadcast_to(cells, out.shape)] = -np.inf
        return out
