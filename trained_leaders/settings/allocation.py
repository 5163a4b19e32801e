"""Simple allocation (settings S3): a follower sends one of M messages, the leader gives an item.

Leader and follower want the same thing, so all that is at stake is whether they settle on a common code.
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

ITEMS = 3
LARGEST = 16


@dataclass(frozen=True)
class SimpleAllocation:
    """Equally likely types, an item for each, M messages; both get 1 if item = type, else 0.

    Args:
        messages: M, from 1 to 16.
        types: how many types there are, 3 in the paper, from 1 to 16.
    """

    messages: int
    types: int = ITEMS

    def __post_init__(self) -> None:
        for field, number in (("messages", self.messages), ("types", self.types)):
            if not 1 <= number <= LARGEST:
                raise SettingError(f"{self.name}: {field} must be 1..{LARGEST}, got {number}")

    @property
    def name(self) -> str:
        return f"simple-allocation-{self.messages}"

    @property
    def parameters(self) -> dict[str, Any]:
        return {} if self.types == ITEMS else {"types": self.types}

    @property
    def followers(self) -> Followers:
        return Followers(updates=100)

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return ("pure", "mixture")

    @cached_property
    def players(self) -> tuple[Player, ...]:
        types = tuple(f"wants item {k}" for k in range(self.types))
        return (Player("follower", types, tuple(f"message {m}" for m in range(self.messages))),)

    @cached_property
    def prior(self) -> NDArray[np.object_]:
        return np.array([Fraction(1, self.types)] * self.types, dtype=object)

    @cached_property
    def observations(self) -> tuple[str, ...]:
        return tuple(f"message {m}" for m in range(self.messages))

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(f"item {k}" for k in range(self.types))

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        return np.ones((self.messages, self.types), dtype=bool)

    @property
    def payoff_scale(self) -> float:
        return 1.0

    def play(self, tables: NDArray[Any], types: NDArray[np.int64], actions: NDArray[np.int64]) -> Outcome:
        """The follower sends a message; the leader, asked at that message, gives an item."""
        tables, mixed = check_tables(self, tables)
        own, message = np.asarray(types)[:, 0], np.asarray(actions)[:, 0]
        answer = tables[np.arange(len(own)), message]
        payoff = answer[np.arange(len(own)), own] if mixed else (answer == own).astype(float)
        return Outcome(payoff[:, None], payoff, message[:, None].astype(np.int64))

    def tabulate(self, rows: Sequence[Sequence[Any]]) -> BayesianGame:
        """u(type, message) = probability that this message earns this type's item, exact."""
        exact = exact_rows(self, rows)
        cells = [[str(row[own]) for row in exact] for own in range(self.types)]
        return BayesianGame(
            prior=[str(p) for p in self.prior],
            payoffs=[cells],
            leader=cells,
            players=self.players,
            name=self.name,
        )

    def references(self) -> list[Reference]:
        """Theory T9 in closed form."""
        told = min(self.messages, self.types)
        free = Fraction(1, self.types)
        return [
            Reference("optimum", told * free, f"a different item for each of {told} message(s)"),
            Reference("message-free", free, "the best leader who ignores the message", kind="baseline"),
            Reference("first-best", Fraction(1), "a planner who sees the type", kind="bound"),
        ]
