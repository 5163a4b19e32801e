"""Matrix games (settings S1): one follower without types, a leader who sees nothing and commits.

The four registered games are the paper's. Payoffs are exact integers; the follower learns from payoffs
divided by the largest one, as in the paper, and values are reported in the table's own units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...verify.errors import SettingError
from ...verify.game import BayesianGame, Player
from .setting import Followers, Outcome, Reference, check_tables, exact_rows

Table = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class MatrixGame:
    """A leader with L rows, a follower with A columns.

    Args:
        name: the setting's name.
        leader_table: the leader's payoffs, L rows of A.
        follower_table: the follower's payoffs, same shape.
        mixed_optimum: the value of the best mixed commitment and a mixture that attains it.

    Example:
        >>> game = registered_matrix_games()["maintain"]
        >>> float(game.references()[0].value)
        20.0
    """

    name: str
    leader_table: Table
    follower_table: Table
    mixed_optimum: tuple[Fraction, tuple[Fraction, ...]]

    def __post_init__(self) -> None:
        widths = {len(row) for row in (*self.leader_table, *self.follower_table)}
        if len(widths) != 1 or len(self.leader_table) != len(self.follower_table):
            raise SettingError(f"{self.name}: the two payoff tables must have the same shape")

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    @property
    def followers(self) -> Followers:
        return Followers(updates=100)

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return ("pure", "mixture")

    @cached_property
    def players(self) -> tuple[Player, ...]:
        columns = tuple(f"column {a}" for a in range(len(self.leader_table[0])))
        return (Player("follower", ("only",), columns),)

    @cached_property
    def prior(self) -> NDArray[np.object_]:
        return np.array([Fraction(1)], dtype=object)

    @property
    def observations(self) -> tuple[str, ...]:
        return ("nothing seen",)

    @cached_property
    def actions(self) -> tuple[str, ...]:
        return tuple(f"row {r}" for r in range(len(self.leader_table)))

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        return np.ones((1, len(self.leader_table)), dtype=bool)

    @cached_property
    def payoff_scale(self) -> float:
        return float(max(max(row) for row in (*self.leader_table, *self.follower_table)))

    @cached_property
    def _floats(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return np.array(self.leader_table, dtype=float), np.array(self.follower_table, dtype=float)

    def play(self, tables: NDArray[Any], types: NDArray[np.int64], actions: NDArray[np.int64]) -> Outcome:
        """The leader is asked once, at its only observation; then the chosen cell pays."""
        tables, mixed = check_tables(self, tables)
        column = np.asarray(actions)[:, 0]
        leader, follower = self._floats
        if mixed:
            leader_payoff = np.einsum("br,rb->b", tables[:, 0], leader[:, column])
            follower_payoff = np.einsum("br,rb->b", tables[:, 0], follower[:, column])
        else:
            leader_payoff, follower_payoff = leader[tables[:, 0], column], follower[tables[:, 0], column]
        met = np.zeros((len(column), 1), dtype=np.int64)
        return Outcome(follower_payoff[:, None], leader_payoff, met)

    def tabulate(self, rows: Sequence[Sequence[Any]]) -> BayesianGame:
        """The follower's decision problem under the committed row or mixture, exact."""
        mixture = exact_rows(self, rows)[0]

        def expected(table: Table) -> list[list[str]]:
            return [[str(sum(p * row[a] for p, row in zip(mixture, table, strict=True))) for a in range(len(table[0]))]]

        return BayesianGame(
            prior=[1],
            payoffs=[expected(self.follower_table)],
            leader=expected(self.leader_table),
            players=self.players,
            name=self.name,
        )

    def references(self) -> list[Reference]:
        """Best pure and mixed commitment, the follower breaking ties in the leader's favour."""
        pure = max(
            max(lead for lead, foll in zip(row, other, strict=True) if foll == max(other))
            for row, other in zip(self.leader_table, self.follower_table, strict=True)
        )
        value, mixture = self.mixed_optimum
        shown = ", ".join(str(p) for p in mixture)
        return [
            Reference(
                "pure-optimum",
                pure,
                "the best commitment to one row, against a follower who replies best",
                leader_actions=("pure",),
            ),
            Reference(
                "mixed-optimum",
                value,
                f"the best commitment to a mixture, ({shown}), against a follower who replies best and "
                "breaks ties in the leader's favour",
                kind="bound",
                readouts=("argmax",),
            ),
        ]


def _exact(table: list[list[int]]) -> Table:
    return tuple(tuple(Fraction(entry) for entry in row) for row in table)


def registered_matrix_games() -> dict[str, MatrixGame]:
    """The paper's four games by name."""
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    one, none = Fraction(1), Fraction(0)
    cells = {
        "escape": (
            [[15, 10, 0], [10, 10, 0], [0, 0, 30]],
            [[15, 10, 0], [10, 10, 0], [0, 0, 30]],
            (Fraction(30), (none, none, one)),
        ),
        "maintain": (
            [[20, 0, 0], [30, 10, 0], [0, 0, 5]],
            [[15, 0, 0], [0, 5, 0], [0, 0, 10]],
            (Fraction(55, 2), (quarter, 3 * quarter, none)),
        ),
        "conitzer": ([[1, 3], [0, 2]], [[1, 0], [0, 1]], (Fraction(5, 2), (half, half))),
        "two-by-two": ([[3, 1], [2, 0]], [[2, 3], [0, 1]], (one, (one, none))),
    }
    return {
        name: MatrixGame(name, _exact(leader), _exact(follower), optimum)
        for name, (leader, follower, optimum) in cells.items()
    }
