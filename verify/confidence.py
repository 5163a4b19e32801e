"""From a log of sampled rounds to a statement about the population behind it (theory T6).

The interval covers the gap of the *averaged* play sigma-bar_T at the stated level, for all T at once, whatever the
learners do: only the joint types must be drawn from the prior given the past (A1). It is a statement about the
type-conditional form; nothing here speaks of later play or of the last iterate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import PlayError, UsageError
from .game import BayesianGame, FloatArray
from .play import PlayLog, exact

GRID_POINTS = 40
"""Number of fixed values lambda_k = 0.8 * 2^(-k/2) / c; each gets the weight 1/GRID_POINTS."""


@dataclass(frozen=True)
class GapInterval:
    """A confidence interval for the gap of the averaged play behind a log.

    Attributes:
        level: coverage, for all T at once.
        lower, upper: the interval, payoff units.
        regret_lower, regret_upper: the same for each regret row, shape (|T_i|, |A_i|) a player; nan where no row is.
        visits: how often each own type occurs in the log, shape (|T_i|,) a player.
    """

    level: float
    lower: float
    upper: float
    regret_lower: tuple[FloatArray, ...]
    regret_upper: tuple[FloatArray, ...]
    visits: tuple[FloatArray, ...]


def estimate_gap(game: BayesianGame, log: PlayLog, *, level: float = 0.95) -> GapInterval:
    """The interval of theory T6 for gap(sigma-bar_T), valid at any stopping time.

    Args:
        game: the game; its prior must be the distribution that the types were drawn from.
        log: T rounds.
        level: coverage over all rows together, between 0 and 1.

    Raises:
        UsageError: a level outside (0, 1).
        PlayError: a log that does not fit the game, or with types of probability 0.

    Source: theory T6; the exponential inequality is that of empirical-Bernstein confidence sequences (Howard, Ramdas,
    McAuliffe, Sekhon 2021, arXiv 1810.08240) with a fixed grid of lambdas, which allows means that drift.
    """
    if not 0 < level < 1:
        raise UsageError(f"expected a confidence level between 0 and 1, got {level}")
    exact(log, game)
    rounds = len(log.types)
    total = sum(int((game.feasible[i] & (game.marginal(i) > 0)[:, None]).sum()) for i in range(game.n_players))
    if total == 0:
        raise PlayError("the game has no deviation to speak about")
    lowers, uppers, visits = [], [], []
    for i in range(game.n_players):
        low = np.full((game.type_shape[i], game.action_shape[i]), np.nan)
        high = low.copy()
        counts = np.bincount(log.types[:, i], minlength=game.type_shape[i])
        payoff = np.broadcast_to(game.payoffs[i], game.shape)
        played = payoff[(*log.types.T, *log.actions.T)]
        spread = game.payoff_range(i)
        for t, p in enumerate(game.marginal(i)):
            mine = log.types[:, i] == t
            for a in np.flatnonzero(game.feasible[i][t]) if p > 0 else ():
                if not counts[t]:
                    low[t, a], high[t, a] = -spread, spread
                    continue
                others = [np.full(rounds, a) if j == i else log.actions[:, j] for j in range(game.n_players)]
                x = np.where(mine, payoff[(*log.types.T, *others)] - played, 0.0)
                radius = _radius(x, _range(game, i, t, int(a)), math.log(2 * total * GRID_POINTS / (1 - level)))
                low[t, a] = max((x.sum() - radius) / (rounds * p), -spread)
                high[t, a] = min((x.sum() + radius) / (rounds * p), spread)
        lowers.append(low)
        uppers.append(high)
        visits.append(counts.astype(float))
    lower = max(0.0, max(float(np.nanmax(values, initial=0.0)) for values in lowers))
    upper = max(0.0, max(float(np.nanmax(values, initial=0.0)) for values in uppers))
    return GapInterval(level, lower, upper, tuple(lowers), tuple(uppers), tuple(visits))


def _range(game: BayesianGame, i: int, t: int, a: int) -> float:
    """Length of the shortest interval that holds X_t of the row for sure: 0 and every gain over feasible cells."""
    n = game.n_players
    payoff, cells = np.broadcast_arrays(game.payoffs[i], game.feasible_cells)
    payoff, cells = np.take(payoff, t, axis=i), np.take(cells, t, axis=i)
    gains = (np.take(payoff, [a], axis=n + i - 1) - payoff)[cells]
    return max(0.0, float(gains.max())) - min(0.0, float(gains.min()))


def _radius(x: FloatArray, c: float, logarithm: float) -> float:
    """min_k [logarithm + psi(lambda_k) V_T] / lambda_k with the running mean as the predictable centre."""
    if c == 0:
        return 0.0
    before = np.concatenate(([0.0], np.cumsum(x)[:-1])) / np.maximum(1, np.arange(len(x)))
    variation = float(((x - before) ** 2).sum())
    steps = 0.8 * 2.0 ** (-np.arange(GRID_POINTS) / 2)
    psi = (-np.log1p(-steps) - steps) / c**2
    return float(((logarithm + psi * variation) / (steps / c)).min())
