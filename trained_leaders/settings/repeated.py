"""Repeated games (settings S6): five rounds of a two-by-two game, in which the leader adapts within play.

Leader and follower see the joint action of the last round; the leader's rule answers each of the five observations
with a row. Payoffs are whole or rational, so that everything about these settings is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...solvers.qlearning import BatchDynamics, QLearning
from ...verify.dynamic import DynamicGame, Table
from ...verify.errors import SettingError
from .dynamic import as_batch
from .setting import Reference

ROUNDS = 5
Matrix = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class RepeatedGame:
    """Five rounds of a matrix game against one follower, payoffs summed.

    Args:
        name: as on the command line.
        rows, columns: labels of the leader's and the follower's actions.
        leader_table, follower_table: payoffs, rows are the leader's.
        parameters: those that differ from the defaults.

    Example:
        >>> dilemma = repeated_games()["repeated-prisoners-dilemma"]
        >>> grim = dilemma.unfold([0, 0, 1, 1, 1])[0]  # cooperate until the follower defects
        >>> grim.reply_values()[0].low, grim.reply_values()[1][0][0]  # the follower defects in the last round only
        (Fraction(13, 1), 0)
    """

    name: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    leader_table: Matrix
    follower_table: Matrix
    parameters: dict[str, Any]

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return ("pure",)

    @property
    def followers(self) -> tuple[str, ...]:
        return ("follower",)

    @cached_property
    def observations(self) -> tuple[str, ...]:
        pairs = product(self.rows, self.columns)
        return ("the first round", *(f"after {r} against {c}" for r, c in pairs))

    @property
    def actions(self) -> tuple[str, ...]:
        return self.rows

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        return np.ones((len(self.observations), len(self.rows)), dtype=bool)

    @cached_property
    def payoff_scale(self) -> float:
        cells = [cell for row in self.follower_table for cell in row]
        return float(max(cells) - min(cells))

    @property
    def learner(self) -> QLearning:
        """Ours, as the paper's parameters are not published; play has an end, so the future is not discounted."""
        return QLearning(rate=0.1, discount=1.0, exploration=0.1, decay=2e-4, initial="zero")

    @property
    def periods(self) -> int:
        return 20_000

    @property
    def scenarios(self) -> tuple[tuple[str, Fraction], ...]:
        return (("the game", Fraction(1)),)

    def unfold(self, table: Sequence[int]) -> tuple[DynamicGame, ...]:
        """What the leader's table makes of the game: its row in each state, against the follower's columns."""
        count, width = len(self.observations), len(self.columns)
        if len(table) != count or not all(0 <= int(a) < len(self.rows) for a in table):
            raise SettingError(f"{self.name}: expected {count} rows of 0..{len(self.rows) - 1}, got {list(table)}")
        follower: Table = tuple(tuple(self.follower_table[int(a)]) for a in table)
        leader: Table = tuple(tuple(self.leader_table[int(a)]) for a in table)
        game = DynamicGame(
            players=self.followers,
            states=self.observations,
            actions=(self.columns,),
            successor=tuple(tuple(1 + int(a) * width + c for c in range(width)) for a in table),
            payoffs=((follower, follower),),
            leader=(leader, leader),
            start=(Fraction(1),) + (Fraction(0),) * (count - 1),
            discount=Fraction(1),
            rounds=ROUNDS,
        )
        return (game,)

    def batch(self, tables: NDArray[Any]) -> BatchDynamics:
        distinct, index = np.unique(np.asarray(tables), axis=0, return_inverse=True)
        found = as_batch([self.unfold(table.tolist())[0] for table in distinct])
        at = index.reshape(-1)
        return replace(found, successor=found.successor[at], payoffs=found.payoffs[at], leader=found.leader[at])

    def step(
        self, table: Sequence[int], scenario: int, state: int, joint: Sequence[int]
    ) -> tuple[int, list[float], float]:
        row, column = int(table[state]), joint[0]
        here = f"after {self.rows[row]} against {self.columns[column]}"
        own, lead = self.follower_table[row][column], self.leader_table[row][column]
        return self.observations.index(here), [float(own)], float(lead)

    @cached_property
    def best_tables(self) -> dict[int, tuple[Fraction, tuple[int, ...]]]:
        """The best table by how an exact follower breaks ties (0 lowest, 1 for the leader, -1 against it).

        All 2^5 tables are tried; the first of the best ones is given.
        """
        out: dict[int, tuple[Fraction, tuple[int, ...]]] = {}
        for table in product(range(len(self.rows)), repeat=len(self.observations)):
            game = self.unfold(table)[0]
            for favour in (0, 1, -1):
                value = game.reply_values(favour)[0].low
                if favour not in out or value > out[favour][0]:
                    out[favour] = (value, table)
        return out

    def rules(self) -> dict[str, tuple[DynamicGame, ...]]:
        return {f"always-{row}": self.unfold([k] * len(self.observations)) for k, row in enumerate(self.rows)}

    def references(self) -> list[Reference]:
        best = self.best_tables[1][0]
        fixed = max(game.reply_values(1)[0].low for (game,) in self.rules().values())
        return [
            Reference(
                "best-memory-one",
                best,
                "the best of all 2^5 rules that look at the last round, against a follower who replies exactly and "
                "breaks ties for the leader",
                readouts=("best-reply",),
            ),
            Reference(
                "best-fixed-row",
                fixed,
                "the best row, played in every round",
                kind="baseline",
                readouts=("best-reply",),
            ),
        ]


def _matrix(*rows: Sequence[Any]) -> Matrix:
    return tuple(tuple(Fraction(cell) for cell in row) for row in rows)


def coordination(x: Fraction = Fraction(0)) -> RepeatedGame:
    """The coordination game whose miscoordination costs the leader -x (settings S6: x is 0 or -5)."""
    return RepeatedGame(
        "repeated-coordination",
        ("row 0", "row 1"),
        ("column 0", "column 1"),
        _matrix([2, x], [x, 1]),
        _matrix(["0.001", 0], [0, 2]),
        {"x": str(x)} if x else {},
    )


def repeated_games() -> dict[str, RepeatedGame]:
    """The repeated games of settings S6, by name."""
    dilemma = RepeatedGame(
        "repeated-prisoners-dilemma",
        ("cooperate", "defect"),
        ("cooperate", "defect"),
        _matrix([3, 1], [4, 2]),
        _matrix([3, 4], [1, 2]),
        {},
    )
    sexes = RepeatedGame(
        "repeated-battle-of-the-sexes",
        ("ballet", "football"),
        ("ballet", "football"),
        _matrix([2, 0], [0, 1]),
        _matrix([1, 0], [0, 2]),
        {},
    )
    return {game.name: game for game in (dilemma, sexes, coordination())}
