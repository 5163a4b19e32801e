"""What a table is worth: the training objective for many tables, and the reported figures for one, by the verify room.

No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.regret import interim_regrets, objective_value
from .hyper import Hyper
from .pomdp import Episodes, StackelbergPOMDP
from .responses import joint, one_hot, play_all_cells, robust_scores
from .settings import ExactRows, Followers, Setting, exact_rows, rows_as_text, table_rows


@dataclass(frozen=True)
class Evaluation:
    """Figures for one leader at one horizon, over independent response phases.

    Args:
        value: mean of the leader's expected payoff over runs, by readout, setting's units.
        gap: largest gap over runs, by readout, payoff units (theory T3).
        updates, runs, rng_seed: how to get the same numbers again.
    """

    value: dict[str, float]
    gap: dict[str, float]
    updates: int
    runs: int
    rng_seed: int

    def claims(self) -> dict[str, Any]:
        """The `claims` part of a leader file."""
        return {
            "value": self.value,
            "gap": self.gap,
            "updates": self.updates,
            "runs": self.runs,
            "rng_seed": self.rng_seed,
        }


def rows_of(setting: Setting, table: NDArray[Any]) -> ExactRows:
    """The exact rows of a table in either form; mixtures must lie on a grid of at most 2^20 points."""
    if table.ndim == 1:
        return table_rows(setting, [int(action) for action in table])
    return exact_rows(setting, [[Fraction(float(p)).limit_denominator(2**20) for p in row] for row in table])


def stated_policy(setting: Setting, table: NDArray[Any]) -> dict[str, Any]:
    """The part of a leader file's policy that states the mechanism."""
    if table.ndim == 1:
        return {"leader_action": "pure", "table": [int(action) for action in table]}
    return {"leader_action": "mixture", "rows": rows_as_text(rows_of(setting, table))}


def score_tables(
    setting: Setting, hyper: Hyper, tables: NDArray[Any], *, rng_seed: int, record: bool = False, runs: int = 1
) -> tuple[NDArray[np.float64], Episodes]:
    """The objective of each table, shape (B,), and the episodes behind it.

    With several runs, shape (B, runs): each table meets the same random numbers.
    """
    basic = hyper.mode == "basic"
    env = StackelbergPOMDP(
        setting,
        hyper.followers,
        reward_plays=hyper.reward_plays,
        readout=hyper.readout,
        phase_visible=basic,
    )
    streams = np.tile(np.arange(runs), len(tables)) if runs > 1 else None
    recorded = record and hyper.types == "sampled"
    episodes = env.run(np.repeat(tables, runs, axis=0), rng_seed=rng_seed, record=recorded, streams=streams)
    returns, gaps = (x.reshape(len(tables), runs) for x in (episodes.returns, episodes.gaps))
    if hyper.objective == "episode":
        return (returns if runs > 1 else returns[:, 0]), episodes
    lasting = robust_scores(
        play_all_cells(setting, tables),
        updates=hyper.updates,
        epsilon=hyper.epsilon,
        scale=setting.payoff_scale,
        readout=hyper.readout,
        factors=hyper.horizons,
        gap_weight=hyper.gap_weight,
        settled=hyper.settled,
    )
    scores = np.minimum(returns - hyper.gap_weight * gaps, lasting[:, None])
    return (scores if runs > 1 else scores[:, 0]), episodes


def evaluate_rows(
    setting: Setting, table: NDArray[Any], followers: Followers, *, runs: int, rng_seed: int
) -> Evaluation:
    """Value and gap of one table for the three readouts, measured by `verify.regret` on its tabulated game."""
    game = setting.tabulate(rows_of(setting, table))
    env = StackelbergPOMDP(setting, followers)
    episodes = env.run(np.repeat(table[None], runs, axis=0), rng_seed=rng_seed)
    games = play_all_cells(setting, np.repeat(table[None], runs, axis=0))
    pure = [one_hot(chosen, width) for chosen, width in zip(episodes.leading, game.action_shape, strict=True)]
    readings = {
        "empirical": episodes.average,
        "last": joint(games, episodes.last),
        "argmax": joint(games, pure),
    }
    value, gap = {}, {}
    for readout, sigmas in readings.items():
        # Runs often end in the same play, so each distinct one is measured once.
        distinct, counts = np.unique(sigmas.reshape(runs, -1), axis=0, return_counts=True)
        plays = [flat.reshape(game.shape) for flat in distinct]
        value[readout] = float(np.average([objective_value(game, sigma) for sigma in plays], weights=counts))
        gap[readout] = max(0.0, *(float(r.max()) for sigma in plays for r in interim_regrets(game, sigma)))
    return Evaluation(value, gap, followers.updates, runs, rng_seed)
