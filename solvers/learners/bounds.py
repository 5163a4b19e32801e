"""The inequalities of theory T7: what the interim regrets of learners' average play stay below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...verify.errors import UsageError
from ...verify.game import BayesianGame, FloatArray
from .rules import Exp3, Learner, OptimisticHedge, RegretMatching


def regret_bound(
    game: BayesianGame,
    learner: Learner,
    rounds: int,
    *,
    delta: float,
    updates: Sequence[Any],
    types: str,
    opponents: str | None = None,
    checkpoints: int = 1,
    horizon: int | None = None,
) -> list[FloatArray]:
    """Right-hand sides of theory T7: what the average play's interim regrets stay below, payoff units.

    With anything sampled they hold with probability at least ``1 - delta`` for all rows and checkpoints at once;
    with expected types and opponents always. For a learner whose ``guarantee`` is ``expectation`` they bound the mean
    of each regret over runs instead, and ``delta`` and ``updates`` play no part.

    Args:
        game: the game.
        learner: the rule.
        rounds: T, the rounds averaged over.
        delta: allowed probability of failure.
        updates: N of each copy after those rounds, shape (.., |T_i|) for each player (`LearnerRun.updates`).
        types, opponents: as in `run_learners`; ``opponents`` is taken to be as ``types`` when left out.
        checkpoints: how many checkpoints share the ``delta``.
        horizon: rounds of the whole run, to which a ``tuned`` rate was tuned; ``rounds`` when left out.

    Returns:
        For each player an array like ``updates``; infinite for types of probability 0.

    Raises:
        UsageError: a rule without bound, or a ``delta`` outside (0, 1).
    """
    if not 0 < delta < 1:
        raise UsageError(f"expected a probability strictly between 0 and 1, got {delta}", field="delta")
    if learner.guarantee == "none":
        raise UsageError(f"no bound on the regret of {learner.title} is known (theory T7)")
    mean_only = learner.guarantee == "expectation"
    opponents = opponents or types
    rows = sum(int(mask[game.marginal(i) > 0].sum()) for i, mask in enumerate(game.feasible))
    log = math.log(rows * checkpoints / delta)
    out = []
    for i, mask in enumerate(game.feasible):
        actions, own, span = mask.sum(axis=1), game.marginal(i), game.payoff_range(i)
        visits = np.asarray(updates[i], dtype=float)
        # rounds that matter to a copy: p_i T when types are drawn, T otherwise
        share = own if types == "sampled" else np.ones_like(own)
        if mean_only:
            visits = np.broadcast_to(share * rounds, visits.shape)
        regret = total_regret(learner, visits, actions, share * (horizon or rounds), span / learner.payoff_scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = regret / (share * rounds)
            if mean_only:
                pass
            elif types == "sampled":
                bound = bound + np.sqrt(2 * log / (own * rounds)) + (1 + own) * log / (3 * own * rounds)
            elif opponents == "sampled":
                bound = bound + math.sqrt(2 * log / rounds)
        bound = np.where(actions == 1, 0.0, span * bound)  # a copy with one action cannot regret it
        out.append(np.where(own > 0, bound, np.inf))
    return out


def total_regret(learner: Learner, visits: FloatArray, actions: Any, horizon: FloatArray, ratio: float) -> FloatArray:
    """Largest total regret after some updates, payoffs scaled to [0, 1]; ``ratio`` scales the rate with them."""
    if ratio == 0:
        return np.zeros(np.broadcast_shapes(visits.shape, np.shape(actions)))
    if isinstance(learner, RegretMatching):
        return np.sqrt(actions * visits)
    if learner.anytime:
        # ln K / eta_N + c sum over t of eta_t, with the sum of 1/sqrt(t) at most 2 sqrt(N); c is K/2 or 1/8
        if isinstance(learner, Exp3):
            return np.sqrt(visits * actions * np.log(actions)) * (1 / ratio + ratio)
        return np.sqrt(visits * np.log(actions)) * (0.5 / ratio + 0.5 * ratio)
    eta = ratio * learner.coefficient(actions, horizon)
    factor = actions / 2.0 if isinstance(learner, Exp3) else 1.0 if isinstance(learner, OptimisticHedge) else 0.125
    return np.asarray(np.log(actions) / eta + factor * eta * visits)
