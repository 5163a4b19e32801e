"""Followers who learn, for many leader tables at once: batched games, multiplicative weights, readouts, scores.

Every array carries a leading batch axis B, one entry a committed table. The exact measures of a single leader live in
the verify room; what is here is the fast twin that training needs, tested against it. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.game import axis_letters
from ..verify.play import independent
from .settings import Setting

Floats = NDArray[np.float64]
READOUTS = ("empirical", "last", "argmax")
PIECES = 60  # steps that stand for the updates between two horizons


@dataclass(frozen=True)
class BatchGames:
    """The games that B tables make the followers play, found by playing every (types, actions) once a table.

    Args:
        prior: shape type_shape.
        payoffs: one array a follower, shape (B, types.., actions..), in the setting's units.
        leader: shape (B, types.., actions..).
        visits: which observations a play meets, shape (B, types.., actions.., n_obs).
    """

    prior: Floats
    payoffs: tuple[Floats, ...]
    leader: Floats
    visits: NDArray[np.bool_]

    @property
    def n(self) -> int:
        return len(self.payoffs)

    @property
    def size(self) -> int:
        return len(self.leader)

    @property
    def type_shape(self) -> tuple[int, ...]:
        return self.prior.shape

    @property
    def action_shape(self) -> tuple[int, ...]:
        return self.leader.shape[1 + self.n :]

    @cached_property
    def letters(self) -> tuple[str, str]:
        return axis_letters(self.n)

    @cached_property
    def marginals(self) -> tuple[Floats, ...]:
        axes = range(self.n)
        return tuple(self.prior.sum(axis=tuple(k for k in axes if k != i)) for i in axes)

    @cached_property
    def conditionals(self) -> tuple[Floats, ...]:
        """p(types_-i | type_i), one array of type_shape a follower; 0 where the own type has no mass."""
        out = []
        for i, own in enumerate(self.marginals):
            shaped = own.reshape([-1 if k == i else 1 for k in range(self.n)])
            out.append(np.divide(self.prior, shaped, out=np.zeros_like(self.prior), where=shaped > 0))
        return tuple(out)

    @cached_property
    def own_view(self) -> tuple[Floats, ...]:
        """Payoffs times p(types_-i | type_i), shape (B, |T_i|, |A_i|, the others' types and actions flattened)."""
        out = []
        for i, payoff in enumerate(self.payoffs):
            weighted = payoff * self.conditionals[i].reshape(self.type_shape + (1,) * self.n)
            moved = np.moveaxis(weighted, (1 + i, 1 + self.n + i), (1, 2))
            out.append(np.ascontiguousarray(moved.reshape(*moved.shape[:3], -1)))
        return tuple(out)


def play_all_cells(setting: Setting, tables: NDArray[Any]) -> BatchGames:
    """Play the base game at every joint type and action under every table (B x cells plays in lock step)."""
    type_shape = tuple(len(p.types) for p in setting.players)
    action_shape = tuple(len(p.actions) for p in setting.players)
    n, size = len(type_shape), len(tables)
    cells = np.array(list(product(*(range(s) for s in type_shape + action_shape))))
    repeated = np.repeat(np.asarray(tables), len(cells), axis=0)
    spread = np.tile(cells, (size, 1))
    outcome = setting.play(repeated, spread[:, :n], spread[:, n:])
    shape = (size, *type_shape, *action_shape)
    return BatchGames(
        prior=setting.prior.astype(float),
        payoffs=tuple(outcome.followers[:, i].reshape(shape) for i in range(n)),
        leader=outcome.leader.reshape(shape),
        visits=outcome.visited(len(setting.observations)).reshape(*shape, -1),
    )


class Hedge:
    """Multiplicative weights for B independent runs, one learner for each (follower, own type) (theory T7).

    Weights are (1 + epsilon) ** (cumulative payoff / payoff_scale), kept as cumulative payoffs.
    """

    def __init__(
        self, size: int, type_shape: Sequence[int], action_shape: Sequence[int], *, epsilon: float, scale: float
    ) -> None:
        self.rate = log1p(epsilon)
        self.scale = scale
        shapes = list(zip(type_shape, action_shape, strict=True))
        self.scores = [np.zeros((size, t, a)) for t, a in shapes]
        self.updates = [np.zeros((size, t), dtype=np.int64) for t, _ in shapes]
        self._every = np.arange(size)

    def strategies(self) -> list[Floats]:
        """Current mixed strategies, shape (B, |T_i|, |A_i|) for each follower."""
        return [self._mixed(score) for score in self.scores]

    def strategy_at(self, i: int, own: NDArray[np.int64]) -> Floats:
        """The mixed strategy of follower i at its own type in each run, shape (B, |A_i|)."""
        return self._mixed(self.scores[i][self._every, own])

    def _mixed(self, score: Floats) -> Floats:
        logs = score * self.rate
        weights = np.exp(logs - logs.max(axis=-1, keepdims=True))
        return weights / weights.sum(axis=-1, keepdims=True)

    def learn_at(self, i: int, own: NDArray[np.int64], payoffs: Floats) -> None:
        """Follower i at the drawn own type learns what each of its actions would have paid, shape (B, |A_i|)."""
        self.scores[i][self._every, own] += payoffs / self.scale
        self.updates[i][self._every, own] += 1

    def learn(self, i: int, payoffs: Floats, step: float = 1.0) -> None:
        """Every type of follower i learns expected payoffs (B, |T_i|, |A_i|); `step` updates at once."""
        self.scores[i] += payoffs * (step / self.scale)
        self.updates[i] += 1

    def argmax(self) -> list[NDArray[np.int64]]:
        """The most weighted action of each type, ties to the lowest index, shape (B, |T_i|)."""
        return [score.argmax(axis=-1) for score in self.scores]


def one_hot(choices: NDArray[np.int64], width: int) -> Floats:
    """Pure strategies as mixed ones."""
    return (choices[..., None] == np.arange(width)).astype(float)


def expected_payoffs(games: BatchGames, i: int, strategies: Sequence[Floats]) -> Floats:
    """What each action pays follower i at each own type against the others, shape (B, |T_i|, |A_i|)."""
    types, actions = games.letters
    others = [k for k in range(games.n) if k != i]
    terms = ",".join(f"z{types[k]}{actions[k]}" for k in others)
    order = "".join(types[k] for k in others) + "".join(actions[k] for k in others)
    if not others:
        return games.own_view[i][..., 0]
    against = np.einsum(f"{terms}->z{order}", *(strategies[k] for k in others))
    seen = games.own_view[i]
    return (seen.reshape(games.size, -1, seen.shape[-1]) @ against.reshape(games.size, -1, 1)).reshape(seen.shape[:-1])


def values(games: BatchGames, sigma: Floats) -> Floats:
    """The leader's expected payoff under sigma, shape (B,)."""
    types, actions = games.letters
    return np.einsum(f"{types},z{types}{actions},z{types}{actions}->z", games.prior, sigma, games.leader)


def gaps(games: BatchGames, sigma: Floats) -> Floats:
    """The largest interim regret, at least 0, under sigma (theory T3), shape (B,), payoff units."""
    worst = np.zeros(games.size)
    types, actions = games.letters
    full = f"z{types}{actions}"
    for i in range(games.n):
        own, act = types[i], actions[i]
        against = sigma.sum(axis=1 + games.n + i)
        reduced = f"z{types}{actions.replace(act, '')}"
        deviated = np.einsum(f"{types},{reduced},{full}->z{own}{act}", games.conditionals[i], against, games.payoffs[i])
        played = np.einsum(f"{types},{full},{full}->z{own}", games.conditionals[i], sigma, games.payoffs[i])
        regret = (deviated - played[..., None]).max(axis=-1)
        worst = np.maximum(worst, np.where(games.marginals[i] > 0, regret, 0.0).max(axis=-1))
    return worst


def horizon_steps(updates: int, factors: Sequence[int], pieces: int = PIECES) -> list[tuple[float, int | None]]:
    """Step sizes of expected dynamics through the horizons updates x factors.

    The first horizon is run update by update; between later ones `pieces` larger steps stand for many updates, an
    approximation that final figures never use. With one piece, so is the first. Returns (step, factor reached after it
    or None).
    """
    steps: list[tuple[float, int | None]] = []
    done = 0.0
    for factor in sorted(factors):
        count = pieces if steps or pieces == 1 else max(1, updates * factor)
        size = (updates * factor - done) / count
        steps += [(size, None)] * (count - 1) + [(size, factor)]
        done = updates * factor
    return steps


def robust_scores(
    games: BatchGames,
    *,
    updates: int,
    epsilon: float,
    scale: float,
    readout: str = "argmax",
    factors: Sequence[int] = (1, 10, 100),
    gap_weight: float = 1.0,
    settled: bool = True,
) -> Floats:
    """The least, over horizons updates x factors, of the leader's value minus its followers' gap; shape (B,).

    With `settled`, at the longest horizon the last mixed strategies are looked at too: a leader that relies on ties
    being broken by index scores well under "argmax" for ever and is worth less to followers who stay undecided.

    Dynamics in exact expectation over types and actions; long horizons are compressed (`horizon_steps`), so a score
    ranks tables and is no measurement.
    """
    learners = Hedge(games.size, games.type_shape, games.action_shape, epsilon=epsilon, scale=scale)
    worst = np.full(games.size, np.inf)
    average, total = np.zeros(games.leader.shape), 0.0
    # What a lone follower earns does not depend on others' play: one step is as good as many, unless play is averaged.
    alone = games.n == 1 and readout != "empirical"
    for step, factor in horizon_steps(updates, factors, 1 if alone else PIECES):
        now = learners.strategies()
        if readout == "empirical":
            average += step * independent(now)
            total += step
        for i in range(games.n):
            learners.learn(i, expected_payoffs(games, i, now), step)
        if factor is not None:
            plays = [average / total if readout == "empirical" else read(games, learners, readout)]
            if settled and factor == max(factors):
                plays.append(read(games, learners, "last"))
            for sigma in plays:
                worst = np.minimum(worst, values(games, sigma) - gap_weight * gaps(games, sigma))
    return worst


def read(games: BatchGames, learners: Hedge, readout: str) -> Floats:
    """sigma under the last mixed strategies or the most weighted actions."""
    if readout == "last":
        return independent(learners.strategies())
    pure = [one_hot(c, s) for c, s in zip(learners.argmax(), games.action_shape, strict=True)]
    return independent(pure)
