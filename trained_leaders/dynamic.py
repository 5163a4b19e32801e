"""What tables are worth in dynamic settings: the training objective for many tables, and reported figures for one.

The counterpart of `responses.py` and `evaluate.py` for followers who are Q-learners in states (decision 0009). Scores
are floating point and rank tables; the figures of one leader are measured by `verify.dynamic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..solvers.qlearning import BatchDynamics, QLearning, Snapshot, frozen_values, run_qlearning, run_seeds
from ..verify.dynamic import DynamicGame, Policy
from ..verify.enclosures import Enclosure
from .settings import DynamicSetting
from .settings.dynamic import as_batch

Q_LEARNING = "q-learning"
"""The rule of the followers, in the training record of a leader file."""

BEST_REPLY = "best-reply"
"""The readout of a follower who replies exactly, by backward induction, and breaks ties against the leader."""


@dataclass(frozen=True)
class Visits:
    """Which observations mattered to an episode: in a dynamic setting all do, as what would be done is a threat.

    Args:
        visited: shape (B, 2, n_obs).
        first_visits: there is no record of decisions.
    """

    visited: NDArray[np.bool_]
    first_visits: None = None


def exact_replies(games: Sequence[DynamicGame]) -> bool:
    """Whether the followers' exact reply can be had by backward induction: one follower, and play with an end."""
    return all(len(game.players) == 1 and game.rounds is not None for game in games)


def reply_value(games: Sequence[DynamicGame], weights: Sequence[Fraction], favour: int = -1) -> Fraction:
    """The leader's value against an exact reply, ties broken against it unless told otherwise."""
    return sum((w * game.reply_values(favour)[0].low for w, game in zip(weights, games, strict=True)), Fraction(0))


def learn(
    batch: BatchDynamics, learner: QLearning, periods: Sequence[int], *, scenarios: int, runs: int, rng_seed: int
) -> tuple[list[Snapshot], NDArray[np.int64]]:
    """Q-learners in every game of a batch, ``runs`` times, and the game of each run.

    Runs are ordered by (table, run, scenario); run r meets the same random numbers in every game.
    """
    tables = len(batch.leader) // scenarios
    game_of = np.arange(tables)[:, None, None] * scenarios + np.arange(scenarios)[None, None, :]
    game_of = np.broadcast_to(game_of, (tables, runs, scenarios)).reshape(-1)
    seeds = np.tile(np.repeat(run_seeds(rng_seed, runs), scenarios), tables)
    return run_qlearning(batch, learner, periods, game_of=game_of, seeds=seeds), game_of


def score_dynamic(
    setting: DynamicSetting, tables: NDArray[Any], *, readout: str, periods: Sequence[int], rng_seed: int, runs: int
) -> tuple[NDArray[np.float64], Visits]:
    """The objective of each table, shape (B,) or with several runs (B, runs).

    Under "best-reply" it is exact. Otherwise it is what the frozen learners' play is worth, the least over `periods`.
    """
    tables = np.asarray(tables)
    distinct, index = np.unique(tables, axis=0, return_inverse=True)
    weights = [w for _, w in setting.scenarios]
    visits = Visits(np.ones((len(tables), 2, tables.shape[1]), dtype=bool))
    if readout == BEST_REPLY:
        exact = [float(reply_value(setting.unfold(table.tolist()), weights)) for table in distinct]
        scores = np.repeat(np.array(exact)[:, None], runs, axis=1)
    else:
        batch = setting.batch(distinct)
        found, game_of = learn(batch, setting.learner, periods, scenarios=len(weights), runs=runs, rng_seed=rng_seed)
        each = [frozen_values(batch, game_of, at).reshape(len(distinct), runs, len(weights)) for at in found]
        scores = np.min([values @ np.array([float(w) for w in weights]) for values in each], axis=0)
    scores = scores[index.reshape(-1)]
    return (scores if runs > 1 else scores[:, 0]), visits


# ------------------------------------------------------------------------------------ figures of one rule, exact


@dataclass(frozen=True)
class Frozen:
    """Frozen learners of one run in one scenario, measured exactly.

    Attributes:
        value: the leader's.
        gain: for each follower the most it forgoes a round, over the states that the play keeps coming back to (where
            play has an end: over a whole episode from the start).
        anywhere: the same over all states.
        cycle: the states play repeats, in order.
        policies: what the followers do.
        changed: the last period in which a follower's greedy action changed.
        earned: the leader's mean payoff a period while they learned.
    """

    value: Enclosure
    gain: tuple[Enclosure, ...]
    anywhere: tuple[Enclosure, ...]
    cycle: tuple[int, ...]
    policies: tuple[Policy, ...]
    changed: int
    earned: float


@dataclass(frozen=True)
class Measured:
    """All runs of one rule at one horizon.

    Attributes:
        periods: length of the response phase.
        runs: one tuple a run, one entry a scenario.
        weights: of the scenarios.
    """

    periods: int
    runs: tuple[tuple[Frozen, ...], ...]
    weights: tuple[Fraction, ...]

    def value(self, run: int) -> Enclosure:
        """The leader's value in one run, expected over scenarios."""
        parts = [f.value.times(w) for f, w in zip(self.runs[run], self.weights, strict=True)]
        return sum(parts, Enclosure.exactly(0))

    @property
    def values(self) -> tuple[Enclosure, ...]:
        return tuple(self.value(run) for run in range(len(self.runs)))

    @property
    def mean(self) -> Enclosure:
        """Over runs."""
        return sum(self.values, Enclosure.exactly(0)).times(Fraction(1, len(self.runs)))

    def gap(self, *, anywhere: bool = False) -> Enclosure:
        """The most any follower forgoes a round, over runs, scenarios and followers."""
        found = [g for run in self.runs for f in run for g in (f.anywhere if anywhere else f.gain)]
        return Enclosure(max(g.low for g in found), max(g.high for g in found))

    @property
    def earned(self) -> float:
        """The leader's mean payoff a period during the response phase, over runs."""
        each = [sum(float(w) * f.earned for f, w in zip(run, self.weights, strict=True)) for run in self.runs]
        return float(np.mean(each))


def measure_rule(
    games: Sequence[DynamicGame],
    weights: Sequence[Fraction],
    learner: QLearning,
    periods: Sequence[int],
    *,
    runs: int,
    rng_seed: int,
    gains: bool = True,
) -> list[Measured]:
    """Let Q-learners learn against one rule and measure exactly what they came to, at each horizon.

    Args:
        games: the rule's game in each scenario.
        weights: of the scenarios.
        periods: ascending horizons.
        gains: whether to find what the followers forgo; without, every gain is left out and values are quick.
    """
    batch = as_batch(games)
    count = len(games)
    found, _ = learn(batch, learner, periods, scenarios=count, runs=runs, rng_seed=rng_seed)
    known: dict[tuple[int, bytes], _Exact] = {}
    out = []
    for at in found:
        rows = []
        for b in range(runs * count):
            game, key = games[b % count], (b % count, at.greedy[b].tobytes())
            if key not in known:
                known[key] = _Exact.of(game, at.greedy[b], gains)
            rows.append(known[key].frozen(game, int(at.state[b]), int(at.changed[b].max()), float(at.earned[b])))
        grouped = tuple(tuple(rows[r * count : (r + 1) * count]) for r in range(runs))
        out.append(Measured(at.periods, grouped, tuple(weights)))
    return out


@dataclass(frozen=True)
class _Exact:
    """What depends on the policies alone."""

    policies: tuple[Policy, ...]
    gains: tuple[tuple[Enclosure, ...], ...]

    @classmethod
    def of(cls, game: DynamicGame, greedy: NDArray[np.int64], gains: bool) -> _Exact:
        policies = tuple((tuple(row.tolist()),) for row in greedy)
        found = [game.best_response(i, policies).gain for i in range(len(game.players))] if gains else []
        return cls(policies, tuple(tuple(g.times(game.per_round) for g in own) for own in found))

    def frozen(self, game: DynamicGame, state: int, changed: int, earned: float) -> Frozen:
        if game.rounds is None:
            value = game.leader_value(self.policies, state)
            here = judged = tuple(s for s, _ in game.cycle(self.policies, state))
        else:
            parts = [game.leader_value(self.policies, s).times(game.start[s]) for s in game.starting_states]
            value = sum(parts, Enclosure.exactly(0))
            here = tuple(s for s, _ in game.path(self.policies, game.starting_states[0])[0])
            judged = game.starting_states
        return Frozen(
            value,
            tuple(_largest(own, judged) for own in self.gains),
            tuple(_largest(own, range(len(game.states))) for own in self.gains),
            here,
            self.policies,
            changed,
            earned,
        )


def _largest(gains: Sequence[Enclosure], states: Sequence[int]) -> Enclosure:
    return Enclosure(max(gains[s].low for s in states), max(gains[s].high for s in states))


def dynamic_figures(
    setting: DynamicSetting, table: NDArray[Any], *, periods: int, runs: int, rng_seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Value and gap of a table by readout, after that many periods.

    "empirical" is what the leader earned while the followers learned (a total over an episode where those end); frozen
    Q-learners no longer explore, so "last" and "argmax" are the same.
    """
    games, weights = setting.unfold(table.tolist()), [w for _, w in setting.scenarios]
    (found,) = measure_rule(games, weights, setting.learner, [periods], runs=runs, rng_seed=rng_seed)
    frozen, gap = float(found.mean.middle), float(found.gap().high)
    value = {"empirical": found.earned * (games[0].rounds or 1), "last": frozen, "argmax": frozen}
    gaps = {"last": gap, "argmax": gap}
    if exact_replies(games):
        value[BEST_REPLY], gaps[BEST_REPLY] = float(reply_value(games, weights)), 0.0
    return value, gaps
