"""Replays: the followers learn again on the leader's exact game, longer than in training, and every play is measured.

The learners come from `solvers/learners.py` and are trusted for nothing: their strategies are put on the exact grid of
theory T1, and value, gap and regrets of that play are the kernel's. One run serves all horizons, as its prefixes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..solvers.learners import Learner, LearnerRun, MultiplicativeWeights, regret_bound, run_learners
from ..verify.game import BayesianGame, FloatArray
from ..verify.kernel import exact_regrets, exact_value, objective_tensor
from ..verify.plain import GRID, PlainPlay, Tensor
from ..verify.play import MixturePlay

READOUTS = ("empirical", "last", "argmax")
CHECKPOINTS_PER_DECADE = 6


@dataclass(frozen=True)
class Followers:
    """How the followers learn: multiplicative weights (theory T7).

    Attributes:
        updates: rounds of one response phase, the training horizon.
        epsilon: weights grow by (1 + epsilon) ** (payoff / payoff_scale).
        types, opponents: ``sampled`` or ``expected``.
    """

    updates: int
    epsilon: float
    types: str
    opponents: str

    @property
    def draw(self) -> bool:
        """Whether anything is drawn at random while they learn."""
        return "sampled" in (self.types, self.opponents)


@dataclass(frozen=True)
class Reading:
    """One readout at one horizon, over all seeds; payoff units, exact.

    Attributes:
        factor: horizon as a multiple of the training horizon.
        rounds: rounds of play.
        readout: ``empirical``, ``last`` or ``argmax`` (theory T7).
        values: the leader's value, one a seed.
        gaps: the exact gap, one a seed.
        regrets: largest interim regret of each player and own type, one a seed; None where p_i(t_i) = 0.
    """

    factor: int
    rounds: int
    readout: str
    values: tuple[Fraction, ...]
    gaps: tuple[Fraction, ...]
    regrets: tuple[tuple[tuple[Fraction | None, ...], ...], ...] = field(repr=False)

    @property
    def value(self) -> Fraction:
        """Mean over seeds."""
        return sum(self.values, Fraction(0)) / len(self.values)

    @property
    def gap(self) -> Fraction:
        """Largest over seeds."""
        return max(self.gaps)

    @property
    def worst_seed(self) -> int:
        """The seed with the largest gap."""
        return self.gaps.index(self.gap)


@dataclass(frozen=True)
class RegretCurve:
    """How one player's one type fares: measured average regret against the bound of theory T7.

    Attributes:
        player, type: indices.
        rounds: checkpoints.
        regret: largest over seeds and deviations, payoff units (may be negative).
        bound: smallest over seeds.
        ratio: largest over seeds of regret / bound.
    """

    player: int
    type: int
    rounds: tuple[int, ...]
    regret: tuple[float, ...]
    bound: tuple[float, ...]
    ratio: float


def on_grid(rows: FloatArray) -> NDArray[np.int64]:
    """Probability rows as whole numbers of units 1/GRID, by largest remainder along the last axis; zeros stay zero."""
    scaled = rows / rows.sum(axis=-1, keepdims=True) * GRID
    units = np.floor(scaled).astype(np.int64)
    missing = GRID - units.sum(axis=-1, keepdims=True)
    rank = np.argsort(np.argsort(units - scaled, axis=-1, kind="stable"), axis=-1, kind="stable")
    return np.asarray(units + (rank < missing))


@dataclass(frozen=True)
class Snapshots:
    """Independent strategies on the exact grid, equal ones counted once: what one readout of one seed is.

    Attributes:
        units: for each player whole numbers (S, |T_i|, |A_i|), rows summing to GRID.
        counts: how often each snapshot occurs, (S,).
    """

    units: tuple[NDArray[np.int64], ...]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, strategies: Sequence[FloatArray]) -> Snapshots:
        """From probabilities (S, |T_i|, |A_i|) for each player."""
        grids = [on_grid(np.asarray(rows, dtype=float)) for rows in strategies]
        flat = np.concatenate([grid.reshape(len(grid), -1) for grid in grids], axis=1)
        distinct, counts = np.unique(flat, axis=0, return_counts=True)
        units, start = [], 0
        for grid in grids:
            width = grid[0].size
            units.append(distinct[:, start : start + width].reshape(-1, *grid.shape[1:]))
            start += width
        return cls(tuple(units), counts)

    @cached_property
    def plain(self) -> PlainPlay:
        """For the kernel."""
        total = int(self.counts.sum())
        weights = tuple(Fraction(int(count), total) for count in self.counts)
        tensors = tuple(Tensor(units.shape, units.ravel().tolist(), GRID) for units in self.units)
        return PlainPlay("mixture", weights=weights, strategies=tensors)

    @property
    def play(self) -> MixturePlay:
        """For documents; a multiple of 1/GRID is a double, so nothing is lost."""
        return MixturePlay(list(self.plain.weights), [units / GRID for units in self.units])


def averaged(units: Sequence[NDArray[np.int64]]) -> PlainPlay:
    """The equally weighted mixture of snapshots as the kernel takes it, exactly; ``units`` as in `Snapshots`.

    For one or two players the conditional sigma is summed here: in three 14-bit digits, whose products summed over
    less than 2^24 snapshots stay below 2^53, so that matrix products of doubles are exact. With more players the
    kernel multiplies the snapshots out itself, and a single snapshot stays the profile that it is.
    """
    rounds = len(units[0])
    if len(units) == 1 and rounds > 1:
        total = units[0].astype(object).sum(axis=0)
        return PlainPlay("conditional", sigma=Tensor(total.shape, total.ravel().tolist(), rounds * GRID))
    if len(units) == 2 and 1 < rounds < 1 << 24:
        digits = [[(x.reshape(rounds, -1) >> shift & 0x3FFF).astype(float) for shift in (0, 14, 28)] for x in units]
        total = np.zeros((units[0][0].size, units[1][0].size), dtype=object)
        for k, one in enumerate(digits[0]):
            for m, two in enumerate(digits[1]):
                total += (one.T @ two).astype(np.int64).astype(object) << 14 * (k + m)
        shape = (*units[0].shape[1:], *units[1].shape[1:])
        sigma = total.reshape(shape).transpose(0, 2, 1, 3)
        return PlainPlay("conditional", sigma=Tensor(sigma.shape, sigma.ravel().tolist(), rounds * GRID**2))
    tensors = tuple(Tensor(x.shape, x.ravel().tolist(), GRID) for x in units)
    return PlainPlay("mixture", weights=(Fraction(1, rounds),) * rounds, strategies=tensors)


@dataclass(frozen=True)
class Replays:
    """The followers' learning under one leader, over several seeds.

    Args:
        game: the leader's exact game.
        followers: how they learn.
        payoff_scale: they learn from payoffs divided by this.
        factors: horizons as multiples of the training horizon, ascending, the first is 1.
        seeds: number of runs.
        rng_seed: seed b draws from ``default_rng([rng_seed, b])``.
        rule: another learning rule than the followers' own; it takes the place of ``followers.epsilon``.
    """

    game: BayesianGame = field(repr=False)
    followers: Followers
    payoff_scale: float
    factors: tuple[int, ...]
    seeds: int
    rng_seed: int
    rule: Learner | None = None

    @cached_property
    def learner(self) -> Learner:
        """The learning rule."""
        return self.rule or MultiplicativeWeights(epsilon=self.followers.epsilon, payoff_scale=self.payoff_scale)

    @cached_property
    def run(self) -> LearnerRun:
        """All rounds of the longest horizon, all seeds."""
        return run_learners(
            self.game,
            self.learner,
            self.followers.updates * self.factors[-1],
            seeds=self.seeds,
            types=self.followers.types,
            opponents=self.followers.opponents,
            rng_seed=self.rng_seed,
            checkpoints=self.checkpoints,
            compiled=True,  # an audit lets so many learners play that loading the compiled loop always pays
        )

    @property
    def _strategies(self) -> tuple[FloatArray, ...]:
        assert self.run.strategies is not None  # kept, because run_learners was not told otherwise
        return self.run.strategies

    def snapshots(self, rounds: int, readout: str, seed: int) -> Snapshots:
        """What the followers play: the time average of the first rounds, or the strategies after them."""
        return Snapshots.of(self._strategies_read(rounds, readout, seed))

    def exactly(self, rounds: int, readout: str, seed: int) -> PlainPlay:
        """The same for the kernel."""
        return averaged([on_grid(rows) for rows in self._strategies_read(rounds, readout, seed)])

    def _strategies_read(self, rounds: int, readout: str, seed: int) -> list[FloatArray]:
        """Snapshots (S, |T_i|, |A_i|) for each player."""
        if readout == "empirical":
            return [x[seed, :rounds] for x in self._strategies]
        after = self._after(rounds, seed)
        if readout == "argmax" and self.learner.noisy and rounds == self._strategies[0].shape[1]:
            # The strategy of such a rule is one draw; what weighs most is the action that its noise is added to.
            return [np.eye(x.shape[-1])[best[seed]][None] for x, best in zip(after, self.run.leading, strict=True)]
        if readout == "argmax":
            after = [(x.argmax(axis=-1)[..., None] == np.arange(x.shape[-1])).astype(float) for x in after]
        return [x[None] for x in after]

    def _after(self, rounds: int, seed: int) -> list[FloatArray]:
        if rounds == self._strategies[0].shape[1]:
            return [x[seed] for x in self.run.last]
        return [x[seed, rounds] for x in self._strategies]

    @cached_property
    def readings(self) -> dict[tuple[int, str], Reading]:
        """Every readout at every horizon, by (factor, readout)."""
        known: dict[bytes, tuple[Any, ...]] = {}
        objective = objective_tensor(self.game.plain, "leader")
        out = {}
        for factor in self.factors:
            rounds = factor * self.followers.updates
            for readout in READOUTS:
                found = []
                for seed in range(self.seeds):
                    units = [on_grid(rows) for rows in self._strategies_read(rounds, readout, seed)]
                    key = b"".join(part.tobytes() for part in units)
                    if key not in known:
                        known[key] = self._measure(averaged(units), objective)
                    found.append(known[key])
                values, gaps, regrets = zip(*found, strict=True)
                out[factor, readout] = Reading(factor, rounds, readout, values, gaps, regrets)
        return out

    def _measure(self, plain: PlainPlay, objective: Tensor) -> tuple[Any, ...]:
        rows = exact_regrets(self.game.plain, plain)
        best = tuple(tuple(max((r for r in row if r is not None), default=None) for row in table) for table in rows)
        gap = max([Fraction(0), *(r for table in best for r in table if r is not None)])
        return exact_value(self.game.plain, plain, objective), gap, best

    # ------------------------------------------------------------------------------ regret over time

    @cached_property
    def checkpoints(self) -> tuple[int, ...]:
        """Rounds at which regret is compared with its bound: the horizons, and some in between for the picture."""
        longest = self.followers.updates * self.factors[-1]
        count = max(2, round(CHECKPOINTS_PER_DECADE * np.log10(max(longest, 10))))
        spread = np.unique(np.rint(np.geomspace(1, longest, count)).astype(int)).tolist()
        horizons = [factor * self.followers.updates for factor in self.factors]
        return tuple(sorted({*(r for r in spread if r >= min(10, longest)), *horizons}))

    def regret_curves(self, delta: float) -> list[RegretCurve]:
        """Measured average regret and its bound for each player and type with p_i(t_i) > 0 (theory T7).

        Args:
            delta: probability that the bound may fail for any row, checkpoint or seed at all.
        """
        points, n = self.checkpoints, self.game.n_players
        shape = (self.seeds, len(points))
        regret = [np.zeros((*shape, k)) for k in self.game.type_shape]
        bound = [np.zeros((*shape, k)) for k in self.game.type_shape]
        for c, rounds in enumerate(points):
            for seed in range(self.seeds):
                limits = regret_bound(
                    self.game,
                    self.learner,
                    rounds,
                    delta=delta / self.seeds,
                    updates=[counts[seed] for counts in self.run.updates_at[rounds]],
                    types=self.followers.types,
                    opponents=self.followers.opponents,
                    checkpoints=len(points),
                )
                for i, rows in enumerate(self.run.regrets_at(self.game, rounds, seed)):
                    regret[i][seed, c] = rows.max(axis=1)
                    bound[i][seed, c] = limits[i]
        return [
            RegretCurve(
                i,
                t,
                points,
                tuple(regret[i][:, :, t].max(axis=0).tolist()),
                tuple(bound[i][:, :, t].min(axis=0).tolist()),
                _largest_ratio(regret[i][:, :, t], bound[i][:, :, t]),
            )
            for i in range(n)
            for t in np.flatnonzero(self.game.marginal(i) > 0).tolist()
        ]


def _largest_ratio(regret: FloatArray, bound: FloatArray) -> float:
    """The largest regret / bound; a bound of 0 (a constant payoff) allows exactly no regret."""
    ratio = np.divide(regret, bound, out=np.where(regret > 0, np.inf, 0.0), where=bound > 0)
    return min(float(ratio.max()), 1e9)
