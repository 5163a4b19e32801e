"""What a table is worth: the training objective for many tables, and the reported figures for one, by the verify room.

No torch here.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.play import ConditionalPlay, independent
from ..verify.regret import assess, interim_regrets, objective_value
from .dynamic import Visits, dynamic_figures, score_dynamic
from .hyper import Hyper
from .pomdp import Episodes, StackelbergPOMDP
from .responses import Hedge, expected_payoffs, horizon_steps, one_hot, play_all_cells, robust_scores
from .settings import DynamicSetting, ExactRows, Followers, Setting, World, exact_rows, rows_as_text, table_rows
from .settings.codes import MessageCodes
from .settings.prices import SequentialPrices

CHECK = 256  # response phases of the check that a table must pass to be kept
DYNAMIC_CHECK = 48  # of them where followers are Q-learners, whose phases take thousands of periods


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


def rows_of(setting: World, table: NDArray[Any]) -> ExactRows:
    """The exact rows of a table in either form; mixtures must lie on a grid of at most 2^20 points."""
    if table.ndim == 1:
        return table_rows(setting, [int(action) for action in table])
    return exact_rows(setting, [[Fraction(float(p)).limit_denominator(2**20) for p in row] for row in table])


def stated_policy(setting: World, table: NDArray[Any]) -> dict[str, Any]:
    """The part of a leader file's policy that states the mechanism."""
    if table.ndim == 1:
        return {"leader_action": "pure", "table": [int(action) for action in table]}
    return {"leader_action": "mixture", "rows": rows_as_text(rows_of(setting, table))}


def score_tables(
    setting: Setting | DynamicSetting,
    hyper: Hyper,
    tables: NDArray[Any],
    *,
    rng_seed: int,
    record: bool = False,
    runs: int = 1,
) -> tuple[NDArray[np.float64], Episodes | Visits]:
    """The objective of each table, shape (B,), and the episodes behind it.

    With several runs, shape (B, runs): each table meets the same random numbers.
    """
    if isinstance(setting, DynamicSetting):
        periods = sorted(hyper.updates * factor for factor in hyper.horizons)
        return score_dynamic(setting, tables, readout=hyper.readout, periods=periods, rng_seed=rng_seed, runs=runs)
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
    scores = np.minimum(returns - hyper.gap_weight * gaps, lasting_scores(setting, hyper, tables)[:, None])
    return (scores if runs > 1 else scores[:, 0]), episodes


def lasting_scores(setting: Setting | DynamicSetting, hyper: Hyper, tables: NDArray[Any]) -> NDArray[np.float64]:
    """The robust objective to learners in exact expectation, shape (B,): no table's objective is above it.

    Infinite for the plain return and for Q-learners, which this says nothing about.
    """
    if hyper.objective != "robust" or isinstance(setting, DynamicSetting):
        return np.full(len(tables), np.inf)
    return robust_scores(
        play_all_cells(setting, tables),
        updates=hyper.updates,
        epsilon=hyper.epsilon,
        scale=setting.payoff_scale,
        readout=hyper.readout,
        factors=hyper.horizons,
        gap_weight=hyper.gap_weight,
        settled=hyper.settled,
    )


def checked_scores(
    setting: Setting | DynamicSetting, hyper: Hyper, tables: NDArray[Any], seed: int, runs: int = CHECK
) -> tuple[NDArray[np.float64], Episodes | Visits]:
    """The objective that tables are chosen by, over response phases that training does not draw from, shape (B,).

    Robust training asks for the least over these phases, so that no run of followers is left out, unless told to take
    their mean. The episodes behind it come along.
    """
    committed = np.repeat(tables[:, None], 2, axis=1) if hyper.mode == "basic" else tables
    if isinstance(setting, DynamicSetting):
        runs = min(runs, DYNAMIC_CHECK)
    scores, episodes = score_tables(setting, hyper, committed, rng_seed=selection_seed(seed), runs=runs)
    worst = hyper.objective == "robust" and hyper.phases == "worst"
    return scores.min(axis=1) if worst else scores.mean(axis=1), episodes


def selection_seed(seed: int) -> int:
    """The seed of the response phases that tables are chosen by."""
    return 2_000_000 + seed


def evaluation_seed(seed: int) -> int:
    """The seed of the response phases behind reported figures: neither training nor choosing draws from it."""
    return 1_000_000 + seed


def mixed_seed(*parts: int) -> int:
    """A seed for each tuple of whole numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(2))


def evaluate_rows(
    setting: Setting | DynamicSetting, table: NDArray[Any], followers: Followers, *, runs: int, rng_seed: int
) -> Evaluation:
    """Value and gap of one table for the three readouts, measured by `verify.regret` on its tabulated game."""
    if isinstance(setting, DynamicSetting):
        value, gap = dynamic_figures(setting, table, periods=followers.updates, runs=runs, rng_seed=rng_seed)
        return Evaluation(value, gap, followers.updates, runs, rng_seed)
    game = setting.tabulate(rows_of(setting, table))
    env = StackelbergPOMDP(setting, followers)
    episodes = env.run(np.repeat(table[None], runs, axis=0), rng_seed=rng_seed)
    pure = [one_hot(chosen, width) for chosen, width in zip(episodes.leading, game.action_shape, strict=True)]
    readings = {
        "empirical": episodes.average,
        "last": independent(episodes.last),
        "argmax": independent(pure),
    }
    value, gap = {}, {}
    for readout, sigmas in readings.items():
        # Runs often end in the same play, so each distinct one is measured once.
        distinct, counts = np.unique(sigmas.reshape(runs, -1), axis=0, return_counts=True)
        plays = [flat.reshape(game.shape) for flat in distinct]
        value[readout] = float(np.average([objective_value(game, sigma) for sigma in plays], weights=counts))
        gap[readout] = max(0.0, *(float(r.max()) for sigma in plays for r in interim_regrets(game, sigma)))
    return Evaluation(value, gap, followers.updates, runs, rng_seed)


def limit_figures(setting: World, table: NDArray[Any], followers: Followers) -> dict[str, dict[str, str]]:
    """How close a price mechanism's table is to optimal in the long run, exactly: a proof where value equals bound.

    Learners in exact expectation show which message each type settles on at 100 times the horizon. That code, with
    types that never learn saying message 0 ("argmax") or mixing uniformly ("mixed"), is then a play of the tabulated
    game like any other: its value and gap are exact, and the bound holds for every leader (settings S4).

    Returns:
        For "argmax" and "mixed": value, gap, bound as "p/q" and "optimal" as "yes" or "no". Empty for other settings
        and where there are too many codes to enumerate.
    """
    if not isinstance(setting, SequentialPrices):
        return {}
    games = play_all_cells(setting, table[None])
    learners = Hedge(1, games.type_shape, games.action_shape, epsilon=followers.epsilon, scale=setting.payoff_scale)
    for step, _ in horizon_steps(followers.updates, (1, 10, 100)):
        now = learners.strategies()
        for i in range(games.n):
            learners.learn(i, expected_payoffs(games, i, now), step)
    game = setting.tabulate(rows_of(setting, table))
    out = {}
    for name in ("argmax", "mixed"):
        codes = MessageCodes(setting, mixed=name == "mixed")
        if not codes.tractable:
            continue
        mixes = []
        for chosen, fixed in zip(learners.argmax(), codes.undecided, strict=True):
            said = np.where(fixed, -1 if name == "mixed" else 0, chosen[0])
            mixes.append([_message_mix(int(m), setting.messages) for m in said])
        sigma = np.empty(game.shape, dtype=object)
        for cell in np.ndindex(*game.shape):
            parts = [mixes[i][cell[i]][cell[games.n + i]] for i in range(games.n)]
            sigma[cell] = str(Fraction(prod(parts)))
        report = assess(game, ConditionalPlay(sigma.tolist()))
        assert report.leader_value_exact is not None
        value, gap, bound = report.leader_value_exact, report.gap_exact, codes.bound
        out[name] = {
            "value": str(value),
            "gap": str(gap),
            "bound": str(bound),
            "optimal": "yes" if value == bound and gap == 0 else "no",
        }
    return out


def _message_mix(said: int, messages: int) -> list[Fraction]:
    """Probabilities of a type's messages; -1 is uniform."""
    return [Fraction(1, messages) if said < 0 else Fraction(int(said == m)) for m in range(messages)]
