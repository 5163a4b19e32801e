"""What a setting offers whose play goes on: the `DynamicSetting` protocol (decision 0009).

Play moves through finitely many states; the leader's rule is fixed and says what it does at each observation, and with
it the followers face a `DynamicGame`. What a stranger's leader file holds is the same as for one-shot settings: one
action an observation.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...solvers.qlearning import BatchDynamics, QLearning
from ...verify.dynamic import DynamicGame
from .setting import World


@runtime_checkable
class DynamicSetting(World, Protocol):
    """A world whose followers are Q-learners in states.

    A scenario is something drawn once and kept, such as a cost that the leader never sees; followers know it. Each
    scenario is a dynamic game of its own, and the leader's value is the expectation over them.
    """

    @property
    def learner(self) -> QLearning: ...

    @property
    def periods(self) -> int:
        """Length of the response phase."""

    @property
    def scenarios(self) -> tuple[tuple[str, Fraction], ...]:
        """Labels and probabilities."""

    def unfold(self, table: Sequence[int]) -> tuple[DynamicGame, ...]:
        """The exact game of each scenario under the leader's table, one action an observation."""

    def batch(self, tables: NDArray[Any]) -> BatchDynamics:
        """The games of many tables (B, n_obs) in floating point: game b × scenarios + k is table b's in scenario k."""

    def step(
        self, table: Sequence[int], scenario: int, state: int, joint: Sequence[int]
    ) -> tuple[int, list[float], float]:
        """One round, worked out anew from the rules: next state, followers' payoffs, the leader's."""

    def rules(self) -> dict[str, tuple[DynamicGame, ...]]:
        """Baseline rules by name, as games: fixed rules that a leader has to beat, also such as no table can state."""


def as_batch(games: Sequence[DynamicGame]) -> BatchDynamics:
    """Exact games in floating point, by the middles of their enclosures; all of one shape."""
    first = games[0]

    def middles(tables: Any) -> NDArray[np.float64]:
        low, high = (np.array(part, dtype=object) for part in tables)
        return ((low + high) / 2).astype(float)

    return BatchDynamics(
        successor=np.array([game.successor for game in games], dtype=np.int64),
        payoffs=np.array([[middles(own) for own in game.payoffs] for game in games]),
        leader=np.array([middles(game.leader) for game in games]),
        actions=tuple(len(own) for own in first.actions),
        start=np.array([float(p) for p in first.start]),
        rounds=first.rounds,
    )
