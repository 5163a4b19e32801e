"""Many fresh runs of the response phase: how much of a leader's figures is luck of the draw.

The audit's own replays are few and exact. These are many and measured in floats, for the training horizon alone, so
that means and chances come with intervals; the first of them are the audit's own replays again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..solvers.learners import Learner, run_learners
from ..verify.confidence import estimate_mean
from ..verify.convergence import check_reach
from ..verify.game import BayesianGame, FloatArray
from ..verify.numerals import show
from ..verify.play import independent
from ..verify.verdict import Statement
from .questions import READOUT_WORDS, Readings
from .replay import READOUTS, Followers
from .statements import state
from .subject import Subject

LEVEL = 0.99
"""Confidence of every interval here."""

CHANCE = 0.95
"""How likely a run should be to end with a gap that is allowed."""

FULL_RUNS, QUICK_RUNS, LEAST_RUNS = 1024, 256, 8
MAX_WORK = 1_000_000
"""Rounds of all runs together: longer response phases get fewer runs."""
MAX_CELLS = 20_000_000
"""Probabilities of average play kept at once."""


@dataclass(frozen=True)
class FreshRuns:
    """B independent response phases, measured in floats; payoff units.

    Attributes:
        rounds: of each run.
        values: the leader's value by readout, (B,).
        gaps: the gap by readout, (B,).
        regrets: of the average play, (B, |T_i|, |A_i|) for each player; -inf where there is no row.
    """

    rounds: int
    values: dict[str, FloatArray]
    gaps: dict[str, FloatArray]
    regrets: tuple[FloatArray, ...]

    @property
    def count(self) -> int:
        """B."""
        return len(self.values["last"])


def fresh_runs(subject: Subject, learner: Learner, followers: Followers) -> FreshRuns:
    """So many runs as time and memory allow, from the audit's seed on.

    Args:
        subject: the leader.
        learner: the rule.
        followers: whether types and opponents are sampled; the leader's own, but for rules that cannot do without.
    """
    game, rounds = subject.game, subject.followers.updates
    wanted = FULL_RUNS if subject.options.curve else QUICK_RUNS
    cells = int(np.prod(game.shape))
    count = max(LEAST_RUNS, min(wanted, MAX_WORK // rounds, MAX_CELLS // cells))
    if not (followers.draw or learner.noisy or learner.bandit):
        count = 1  # nothing is drawn, every run is the same
    run = run_learners(
        game,
        learner,
        rounds,
        seeds=count,
        types=followers.types,
        opponents=followers.opponents,
        rng_seed=subject.options.rng_seed,
        checkpoints=[rounds],
        keep=False,
        compiled=True,
    )
    plays = {"empirical": run.averages[rounds]}
    plays["last"] = independent(run.last)
    plays["argmax"] = independent([np.eye(x.shape[2])[best] for x, best in zip(run.last, run.leading, strict=True)])
    assert game.leader is not None
    prior = game.prior.reshape((1, *game.type_shape, *(1,) * game.n_players))
    values, gaps = {}, {}
    kept: list[FloatArray] = []
    for readout in READOUTS:
        joint = prior * plays[readout]
        tables = [_regrets(game, joint, i) for i in range(game.n_players)]
        values[readout] = (joint * game.leader).reshape(count, -1).sum(axis=1)
        worst = [rows.reshape(count, -1).max(axis=1) for rows in tables]
        gaps[readout] = np.maximum(0.0, np.max(worst, axis=0))
        kept = kept or tables  # the average play comes first
    return FreshRuns(rounds, values, gaps, tuple(kept))


def _regrets(game: BayesianGame, joint: FloatArray, i: int) -> FloatArray:
    """`spverify.verify.regret.interim_regrets` of many plays at once: (B, types.., actions..) to (B, |T_i|, |A_i|)."""
    n, batch = game.n_players, len(joint)
    payoff = np.broadcast_to(game.payoffs[i], game.shape)
    played = (joint * payoff).sum(axis=tuple(1 + k for k in range(2 * n) if k != i))
    against = np.moveaxis(joint.sum(axis=1 + n + i), 1 + i, 1).reshape(batch, game.type_shape[i], -1)
    options = np.moveaxis(payoff, (i, n + i), (0, 1)).reshape(game.type_shape[i], game.action_shape[i], -1)
    deviated = np.einsum("btr,tar->bta", against, options, optimize=True)
    own = game.marginal(i)
    known = game.feasible[i] & (own > 0)[:, None]
    return np.where(known, (deviated - played[:, :, None]) / np.where(own > 0, own, 1.0)[:, None], -np.inf)


def leader_bounds(game: BayesianGame) -> tuple[float, float]:
    """The least and the largest payoff of the leader where types and actions can occur."""
    assert game.leader is not None
    can = game.feasible_cells & (game.prior > 0).reshape(game.type_shape + (1,) * game.n_players)
    payoff, can = np.broadcast_arrays(game.leader, can)
    return float(payoff[can].min()), float(payoff[can].max())


def ask_seeds(subject: Subject, readings: Readings, runs: FreshRuns) -> list[Statement]:
    """Are the figures of this audit those of a typical run, and how likely is a run that does not settle?"""
    readout, told = subject.readout, READOUT_WORDS[subject.readout]
    reading = readings[1, readout]
    values, gaps = runs.values[readout], runs.gaps[readout]
    low, high = _interval(subject.game, values)
    promised = float(reading.value - subject.threshold)
    mean = float(values.mean())
    spread = [float(q) for q in np.quantile(values, [0.05, 0.5, 0.95])]
    alone = runs.count == 1
    reach = check_reach(
        gaps,
        epsilon=float(subject.threshold),
        rounds=runs.rounds,
        probability=CHANCE,
        level=LEVEL,
        scale=float(subject.setting.payoff_scale),
    )
    within = reach.details
    if alone:
        settles = bool(gaps[0] <= subject.threshold)
        found = "Learning is in expectation, so every run is the same: "
        value_text = f"{found}the leader is worth {show(mean)} under the {told}."
        gap_text = f"{found}the gap is {show(float(gaps[0]), direction='up')} under the {told}."
        value_verdict: Any = mean >= promised
        gap_verdict: Any = settles
        low = high = mean
    else:
        value_text = (
            f"Over {runs.count} fresh runs of {runs.rounds} updates, under the {told}, the leader is worth "
            f"{show(mean)} on average; the mean of all runs lies between {show(low, direction='down')} and "
            f"{show(high, direction='up')} at confidence {LEVEL:g}, and nine runs in ten between {show(spread[0])} and "
            f"{show(spread[2])}."
        )
        gap_text = (
            f"Of {runs.count} fresh runs of {runs.rounds} updates, under the {told}, {within['successes']} ended with "
            f"a gap of at most {show(subject.threshold, direction='down')}: the chance of that is between "
            f"{show(within['chance_lower'], 4, 'down')} and {show(within['chance_upper'], 4, 'up')} at confidence "
            f"{LEVEL:g}; {CHANCE:g} is asked."
        )
        value_verdict = "holds" if low >= promised else "refuted" if high < promised else "inconclusive"
        gap_verdict = reach.verdict
    return [
        state(
            "seeds.value",
            "information",
            value_text,
            value_verdict,
            measured=mean,
            threshold=promised,
            evidence="float" if alone else "statistical",
            why="A value from a few replays may be luck. The interval (empirical Bernstein, right for any distribution "
            "of payoffs) would have to lie below the exact replays' mean, less the tolerance, to refute "
            "this; more runs make it narrower.",
            runs=runs.count,
            level=LEVEL,
            lower=low,
            upper=high,
            quantiles={"0.05": spread[0], "0.5": spread[1], "0.95": spread[2]},
        ),
        state(
            "seeds.gap",
            "information",
            gap_text,
            gap_verdict,
            measured=within["successes"] / runs.count,
            threshold=CHANCE,
            evidence="float" if alone else "statistical",
            why="A leader is met by followers who learn once, not on average. The interval is the exact binomial one "
            "(Clopper, Pearson); runs that end far from equilibrium more often than once in twenty would refute this.",
            runs=runs.count,
            level=LEVEL,
            lower=within["chance_lower"],
            upper=within["chance_upper"],
            largest_gap=float(gaps.max()),
        ),
    ]


def _interval(game: BayesianGame, values: FloatArray) -> tuple[float, float]:
    lowest, highest = leader_bounds(game)
    low, high = estimate_mean(values, lowest=lowest, highest=highest, level=LEVEL)
    return float(low), float(high)


def seed_table(subject: Subject, runs: FreshRuns) -> list[dict[str, Any]]:
    """One row a readout: mean with its interval, quantiles, and the share of runs that end within the gap allowed."""
    rows = []
    for readout in READOUTS:
        values, gaps = runs.values[readout], runs.gaps[readout]
        low, high = _interval(subject.game, values) if runs.count > 1 else (float(values[0]),) * 2
        quantiles = np.quantile(values, [0.0, 0.05, 0.5, 0.95, 1.0]).tolist()
        rows.append(
            {
                "readout": readout,
                "runs": runs.count,
                "level": LEVEL,
                "mean": float(values.mean()),
                "lower": low,
                "upper": high,
                **dict(zip(("least", "q05", "median", "q95", "most"), quantiles, strict=True)),
                "within": float((gaps <= float(subject.threshold)).mean()),
                "largest_gap": float(gaps.max()),
            }
        )
    return rows
