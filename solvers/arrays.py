"""A game as arrays ready for linear programming, in doubles or in integers, with one numbering of its rows.

The float side is rescaled to payoffs and objective in [0, 1], which is what keeps solver tolerances meaningful; the
integer side is exact. Both go through the same column builders (`polytope.py`, `plans.py`), so a basis found in
doubles can be solved again in rationals.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..verify.game import BayesianGame, FloatArray
from ..verify.kernel import marginals
from ..verify.plain import Tensor

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Arrays:
    """Numbers of one game and one objective to be maximised; all entries doubles, or all Python integers.

    Attributes:
        prior: weights of the objective, axes (types..).
        conditional: for each player the weights of its regret rows, axes (types..).
        payoffs: for each player, broadcast to (types.., actions..).
        objective: broadcast to (types.., actions..); larger is better.
    """

    prior: Any
    conditional: tuple[Any, ...]
    payoffs: tuple[Any, ...]
    objective: Any

    @property
    def n(self) -> int:
        """Number of players."""
        return len(self.payoffs)

    @property
    def types(self) -> tuple[int, ...]:
        """Number of types of each player."""
        return tuple(self.prior.shape)

    @property
    def actions(self) -> tuple[int, ...]:
        """Number of actions of each player."""
        return tuple(self.objective.shape[self.n :])


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
    probability and feasible deviations of players whose payoff varies; what follows them is up to the program.

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
        scaled = [(payoff - low) / (span or 1.0) for payoff, (low, span) in zip(game.payoffs, spans[:-1], strict=True)]
        aim = (self.sign * values - self.objective_low) / self.objective_scale
        # one object carries the scaled numbers, so that the contractions of verify/ price all columns at once
        self.scaled = BayesianGame(game.prior, scaled, leader=aim, feasible=game.feasible, players=game.players)
        self.rows, self.n_regrets = _number_rows(game, [span > 0 for _, span in spans[:-1]])
        # no regret exceeds the payoff range, so a larger epsilon says no more (and could overflow)
        bounds = [float(min(epsilon / Fraction(scale), Fraction(2))) for scale in self.payoff_scale]
        self.bounds = np.concatenate(
            [np.full(int((rows >= 0).sum()), bound) for rows, bound in zip(self.rows, bounds, strict=True)]
        )

    @cached_property
    def arrays(self) -> Arrays:
        """The scaled game in doubles."""
        game = self.scaled
        return Arrays(
            game.prior,
            tuple(game.conditional(i) for i in range(game.n_players)),
            tuple(np.broadcast_to(payoff, game.shape) for payoff in game.payoffs),
            np.broadcast_to(game.leader, game.shape),
        )

    @cached_property
    def integers(self) -> Arrays:
        """The game in integers: everything times its denominator, regret rows times p_i(t_i) too (`row_units`).

        The objective starts at 0 as it does in doubles: with redundant rows in a basis, a shift would change its duals.
        """
        plain = self.game.plain
        prior = _objects(plain.prior)
        aim = np.broadcast_to(self.sign * _objects(self.exact_objective), self.game.shape)
        return Arrays(
            prior,
            (prior,) * plain.n,
            tuple(np.broadcast_to(_objects(payoff), self.game.shape) for payoff in plain.payoffs),
            aim - self.integer_low,
        )

    @cached_property
    def integer_low(self) -> int:
        """What was taken off the integer side's objective: its smallest value over feasible cells."""
        values = self.sign * _objects(self.exact_objective)
        return int(values.min() if self.cells.all() else np.broadcast_to(values, self.cells.shape)[self.cells].min())

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
        known = mask & (game.marginal(i) > 0)[:, None] & varies[i]
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
