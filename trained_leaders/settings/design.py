"""Matrix design (settings S2, after Monderer and Tennenholtz): the leader adds bonuses to a game of two followers.

The leader sees the joint action and pays each follower a bonus on top of its base payoff. Its reward is the sum of
base payoffs: bonuses cost it nothing, so `payments` says what they come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...verify.errors import SettingError
from ...verify.game import BayesianGame, Player
from .setting import Followers, Outcome, Reference, check_tables, exact_rows

BASE = (((3, 3), (6, 4)), ((4, 6), (2, 2)))  # (row player, column player) at each joint action
UNIT = 6  # payoffs are divided by the largest base payoff
DEFAULT_BONUSES = tuple(Fraction(k) for k in range(0, 11, 2))


@dataclass(frozen=True)
class MatrixDesign:
    """Two followers without types, two actions each; the leader's action is a pair of bonuses.

    Args:
        bonuses: the bonuses that can be paid, in [0, 10], before the division by 6 that all payoffs undergo.

    Example:
        >>> MatrixDesign().references()[0].value
        Fraction(5, 3)
    """

    bonuses: tuple[Fraction, ...] = DEFAULT_BONUSES

    def __post_init__(self) -> None:
        if not self.bonuses or list(self.bonuses) != sorted(set(self.bonuses)):
            raise SettingError(f"{self.name}: bonuses must be distinct and ascending")
        if not 0 <= self.bonuses[0] <= self.bonuses[-1] <= 10:
            raise SettingError(f"{self.name}: bonuses must lie in [0, 10]")

    @property
    def name(self) -> str:
        return "matrix-design"

    @property
    def parameters(self) -> dict[str, Any]:
        if self.bonuses == DEFAULT_BONUSES:
            return {}
        return {"bonuses": [str(bonus) for bonus in self.bonuses]}

    @property
    def followers(self) -> Followers:
        return Followers(updates=100)

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return ("pure", "mixture")

    @cached_property
    def players(self) -> tuple[Player, ...]:
        return (
            Player("row player", ("only",), ("row 0", "row 1")),
            Player("column player", ("only",), ("column 0", "column 1")),
        )

    @cached_property
    def prior(self) -> NDArray[np.object_]:
        return np.array([[Fraction(1)]], dtype=object)

    @property
    def observations(self) -> tuple[str, ...]:
        return tuple(f"row {r}, column {c} played" for r, c in product(range(2), repeat=2))

    @cached_property
    def _pairs(self) -> tuple[tuple[Fraction, Fraction], ...]:
        return tuple((a, b) for a in self.bonuses for b in self.bonuses)

    @cached_property
    def actions(self) -> tuple[str, ...]:
        return tuple(f"pay {a} and {b}" for a, b in self._pairs)

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        return np.ones((4, len(self._pairs)), dtype=bool)

    @property
    def payoff_scale(self) -> float:
        return (UNIT + 10) / UNIT

    @cached_property
    def _floats(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(BASE, dtype=float).reshape(4, 2), np.array(self._pairs, dtype=float)

    def play(self, tables: NDArray[Any], types: NDArray[np.int64], actions: NDArray[np.int64]) -> Outcome:
        """The followers move at once; the leader sees what they did and pays."""
        tables, mixed = check_tables(self, tables)
        actions = np.asarray(actions)
        seen = actions[:, 0] * 2 + actions[:, 1]
        base, pairs = self._floats
        answer = tables[np.arange(len(seen)), seen]
        bonus = answer @ pairs if mixed else pairs[answer]
        return Outcome((base[seen] + bonus) / UNIT, base[seen].sum(axis=1) / UNIT, seen[:, None].astype(np.int64))

    def tabulate(self, rows: Sequence[Sequence[Any]]) -> BayesianGame:
        """The followers' game of base payoffs and expected bonuses, exact."""
        paid = self.payments(rows)
        cells = list(product(range(2), repeat=2))
        payoffs = [
            _nested([str((BASE[r][c][i] + paid[i][0][0][r][c] * UNIT) / UNIT) for r, c in cells]) for i in range(2)
        ]
        leader = _nested([str(Fraction(sum(BASE[r][c]), UNIT)) for r, c in cells])
        return BayesianGame(prior=[[1]], payoffs=payoffs, leader=leader, players=self.players, name=self.name)

    def payments(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """What the leader pays each follower in expectation, exact: nested lists of shape types + actions."""
        exact = exact_rows(self, rows)
        return [
            _nested([sum(p * pair[i] for p, pair in zip(row, self._pairs, strict=True)) / UNIT for row in exact])
            for i in range(2)
        ]

    def references(self) -> list[Reference]:
        """The best cell, and the symmetric equilibrium of the base game."""
        best = max(Fraction(sum(cell), UNIT) for row in BASE for cell in row)
        (both, ahead), (_, neither) = ((Fraction(cell[0]) for cell in row) for row in BASE)
        behind = Fraction(BASE[1][0][0])
        first = (ahead - neither) / (ahead - neither + behind - both)  # the other is indifferent at this mix
        once = first * (1 - first)
        mixed = 2 * (first * first * both + once * (ahead + behind) + (1 - first) ** 2 * neither) / UNIT
        return [
            Reference(
                "optimum",
                best,
                "the joint action with the largest sum of base payoffs, which bonuses make dominant",
            ),
            Reference(
                "no-bonus",
                mixed,
                "the symmetric equilibrium of the base game, where followers who learn alike go when nothing is paid",
                kind="baseline",
            ),
        ]


def _nested(cells: Sequence[Any]) -> Any:
    """Four cells as types (1, 1) + actions (2, 2)."""
    return [[[[cells[0], cells[1]], [cells[2], cells[3]]]]]
