"""The best deterministic leader of a setting, where those are few enough to be searched (theory T9).

Every one-shot setting whose leader sees all that the followers did has a finite number of deterministic leaders. What
the search finds is held to the setting's own exact game before it is called proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ..solvers.references import best_deterministic_rule, pure_equilibria
from ..trained_leaders.settings.setting import Setting
from ..verify.errors import SettingError, UsageError

MOST_PLANS, MOST_PLAYS = 5_000, 500_000
SECONDS = 20.0
TIES = "1/1000000000"
"""What the search, in doubles, lets a follower lose, so that exact ties are kept; the answer is checked without."""


@dataclass(frozen=True)
class BestLeader:
    """The best deterministic leader at its best pure Bayes-Nash equilibrium.

    Attributes:
        value, worst: the leader's value at that table's best and worst pure equilibrium in the setting's exact game.
        bound: no table has an equilibrium worth more, as doubles tell.
        table: the leader's action at each observation.
        method: ``enumeration`` or ``milp``.
    """

    value: Fraction
    worst: Fraction
    bound: float
    table: tuple[int, ...]
    method: str

    @property
    def closed(self) -> bool:
        """Whether value and bound meet, to 1e-8."""
        return self.bound - float(self.value) <= 1e-8


def best_deterministic_leader(setting: Setting) -> BestLeader | None:
    """None where the leader does not see all that was done, where tables are too many, or none has an equilibrium."""
    actions = tuple(len(player.actions) for player in setting.players)
    width = int(np.prod(actions))
    stages, rest = divmod(len(setting.observations), width)
    if rest or "pure" not in setting.leader_actions:
        return None
    legal = np.asarray(setting.legal).reshape(width, stages, -1)
    if (legal != legal[:1]).any() or np.prod(legal[0].sum(axis=1), dtype=float) > MOST_PLANS:
        return None
    plans = np.stack(np.meshgrid(*(np.flatnonzero(row) for row in legal[0]), indexing="ij"), axis=-1).reshape(
        -1, stages
    )
    types = tuple(len(player.types) for player in setting.players)
    cells = np.array(list(np.ndindex(*types, *actions)))
    if len(plans) * len(cells) > MOST_PLAYS:
        return None
    worth = np.stack([_worth(setting, plan, cells, width) for plan in plans])  # (plans, cells, followers and leader)
    if np.isnan(worth).any():
        return None
    # plans that come to the same everywhere are one
    _, kept = np.unique(worth.reshape(len(plans), -1), axis=0, return_index=True)
    kept.sort()
    tables = np.moveaxis(worth[kept].reshape(len(kept), *types, *actions, -1), 0, len(types))
    *payoffs, leader = np.moveaxis(tables, -1, 0)
    try:
        found = best_deterministic_rule(setting.prior, payoffs, leader, epsilon=TIES, seconds=SECONDS)
        if found is None:
            return None
        table = plans[kept][found.rule.ravel()].ravel()
        exact = pure_equilibria(setting.tabulate(np.eye(len(setting.actions), dtype=int)[table].tolist()))
    except (UsageError, SettingError):
        return None
    if exact.best is None or exact.worst is None:
        return None
    return BestLeader(exact.best, exact.worst, found.bound, tuple(table.tolist()), found.method)


def _worth(setting: Setting, plan: NDArray[np.int64], cells: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    """What one plan is worth to all at every (types, actions); NaN where the leader cannot tell the actions apart."""
    n = len(setting.players)
    table = np.tile(plan, width)
    met = setting.play(np.broadcast_to(table, (len(cells), len(table))), cells[:, :n], cells[:, n:])
    sizes = [len(player.actions) for player in setting.players]
    told = np.ravel_multi_index(tuple(cells[:, n:].T), sizes)[:, None]
    out = np.column_stack([met.followers, met.leader])
    right = (met.observations < 0) | (met.observations // len(plan) == told)
    return np.where(right.all(axis=1)[:, None], out, np.nan)
