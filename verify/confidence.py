"""From a log of sampled rounds to a statement about the population behind it (theory T6).

The interval covers the gap of the *averaged* play sigma-bar_T at the stated level, for all T at once, whatever the
learners do: only the joint types must be drawn from the prior given the past (A1). It is a statement about the
type-conditional form; nothing here speaks of later play or of the last iterate. `check_independence` says whether a
log refutes that the followers acted independently (A2), which a strategic-form statement would need. `estimate_mean`
is for independent runs, of which a log is one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import PlayError, UsageError
from .game import BayesianGame, FloatArray
from .histories import History, gain_sums
from .play import IntArray, PlayLog

GRID_POINTS = 40
"""Number of fixed values lambda_k = 0.8 * 2^(-k/2) / c; each gets the weight 1/GRID_POINTS."""

TINY = 1e-140
"""Gains of a smaller range are not squared: that would vanish in doubles."""


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


def estimate_gap(game: BayesianGame, log: PlayLog | History, *, level: float = 0.95) -> GapInterval:
    """The interval of theory T6 for gap(sigma-bar_T), valid at any stopping time.

    The predictable centre of a row is its mean over the rounds before the last power of two, so that everything
    follows from the counts of a `History` and a log need not fit in memory.

    Args:
        game: the game; its prior must be the distribution that the types were drawn from.
        log: T rounds, or their counts.
        level: coverage over all rows together, between 0 and 1.

    Raises:
        UsageError: a level outside (0, 1).
        PlayError: a log that does not fit the game, or with types of probability 0.

    Source: theory T6; the exponential inequality is that of empirical-Bernstein confidence sequences (Howard, Ramdas,
    McAuliffe, Sekhon 2021, arXiv 1810.08240) with a fixed grid of lambdas, which allows means that drift.
    """
    check_level(level)
    history = log if isinstance(log, History) else History.of(game, log)
    known = [game.feasible[i] & (game.marginal(i) > 0)[:, None] for i in range(game.n_players)]
    total = sum(int(rows.sum()) for rows in known)
    if total == 0:
        raise PlayError("the game has no deviation to speak about")
    logarithm = math.log(2 * total * GRID_POINTS / (1 - level))
    lowers, uppers, visits = [], [], []
    for i in range(game.n_players):
        sums = np.zeros(known[i].shape)
        variation = np.zeros(known[i].shape)
        before = 0
        for block in history.blocks:
            centre = sums / max(1, before)
            gains, squares = gain_sums(game, block, i)
            variation += np.maximum(0.0, squares - 2 * centre * gains + block.rounds * centre**2)
            sums += gains
            before += block.rounds
        spread, ranges = game.payoff_range(i), _ranges(game, i)
        # in units of the squared range, which no term exceeds
        share = np.where(ranges >= TINY, variation / np.maximum(ranges, TINY) ** 2, before)
        radius = _radius(share, ranges, logarithm)
        counts = history.visits(i)
        weight = np.where(game.marginal(i) > 0, game.marginal(i), np.nan)[:, None] * history.rounds
        seen = (counts > 0)[:, None]
        # all this is about the game in doubles, whose regrets are as near as two payoffs to the exact ones
        off = 2 * game.payoff_error(i)
        low = np.where(seen, np.maximum((sums - radius) / weight, -spread), -spread) - off
        high = np.where(seen, np.minimum((sums + radius) / weight, spread), spread) + off
        lowers.append(np.where(known[i], low, np.nan))
        uppers.append(np.where(known[i], high, np.nan))
        visits.append(counts.astype(float))
    lower = max(0.0, max(float(np.nanmax(values, initial=0.0)) for values in lowers))
    upper = max(0.0, max(float(np.nanmax(values, initial=0.0)) for values in uppers))
    return GapInterval(level, lower, upper, tuple(lowers), tuple(uppers), tuple(visits))


def estimate_mean(
    samples: npt.ArrayLike, *, lowest: npt.ArrayLike, highest: npt.ArrayLike, level: float = 0.95
) -> tuple[FloatArray, FloatArray]:
    """The empirical-Bernstein interval for the mean behind independent, identically distributed bounded samples.

    It holds whatever the distribution within the bounds, at this number of samples; with one sample it is the bounds.

    Args:
        samples: shape (N, ..), N at least 1.
        lowest, highest: bounds that every sample obeys for sure; broadcast to (..).
        level: coverage of each interval, between 0 and 1.

    Returns:
        Lower and upper ends, shape (..), within the bounds.

    Raises:
        UsageError: a level outside (0, 1), no samples, or samples outside their bounds.

    Source: Maurer, Pontil 2009 (arXiv 0907.3740), theorem 4, on both sides.

    Example:
        >>> low, high = estimate_mean([1.0] * 1000, lowest=0, highest=2, level=0.99)
        >>> round(float(low), 3), round(float(high), 3)
        (0.972, 1.028)
    """
    check_level(level)
    values = np.asarray(samples, dtype=float)
    low, high = np.asarray(lowest, dtype=float), np.asarray(highest, dtype=float)
    span, count = high - low, len(values)
    if not count:
        raise UsageError("expected at least one sample")
    if not ((values >= low - 1e-9 * span) & (values <= high + 1e-9 * span)).all():
        raise UsageError("expected samples between lowest and highest")
    if count == 1:
        return np.broadcast_to(low, values.shape[1:]) + 0.0, np.broadcast_to(high, values.shape[1:]) + 0.0
    logarithm = math.log(4 / (1 - level))
    # in units of the span, so that the squares of tiny numbers do not vanish
    spread = ((values - low) / np.where(span > 0, span, 1.0)).var(axis=0, ddof=1)
    radius = span * (np.sqrt(2 * spread * logarithm / count) + 7 * logarithm / (3 * (count - 1)))
    mean = values.mean(axis=0)
    return np.maximum(mean - radius, low), np.minimum(mean + radius, high)


def check_level(level: float) -> None:
    """Raises a UsageError unless the level is between 0 and 1."""
    if not 0 < level < 1:
        raise UsageError(f"expected a confidence level between 0 and 1, got {level}")


def _ranges(game: BayesianGame, i: int) -> FloatArray:
    """For each row the length of the shortest interval that holds X_t for sure, shape (|T_i|, |A_i|): 0 and every
    gain over cells that can occur."""
    n = game.n_players
    cells = game.feasible_cells & (game.prior > 0).reshape(game.type_shape + (1,) * n)
    payoff, cells = np.broadcast_arrays(game.payoffs[i], cells)
    others = cells.any(axis=n + i, keepdims=True)
    worst = np.where(cells, payoff, np.inf).min(axis=n + i, keepdims=True)
    best = np.where(cells, payoff, -np.inf).max(axis=n + i, keepdims=True)
    axes = tuple(k for k in range(2 * n) if k not in (i, n + i))
    high = np.where(others, payoff - np.where(others, worst, 0.0), 0.0).max(axis=axes)
    low = np.where(others, payoff - np.where(others, best, 0.0), 0.0).min(axis=axes)
    return np.asarray(np.maximum(high, 0.0) - np.minimum(low, 0.0))


def _radius(share: FloatArray, c: Any, logarithm: float) -> FloatArray:
    """min_k [logarithm + psi(lambda_k) V] / lambda_k for each entry, given V / c^2; 0 where the range c is 0."""
    steps = (0.8 * 2.0 ** (-np.arange(GRID_POINTS) / 2)).reshape(-1, *(1,) * share.ndim)
    psi = -np.log1p(-steps) - steps
    return np.asarray(c * ((logarithm + psi * share) / steps).min(axis=0))


# ------------------------------------------------------------------------------------------ assumption A2


@dataclass(frozen=True)
class Dependence:
    """The strongest sign of dependence that a test found.

    Attributes:
        players: whose action, and whose type or action it goes with.
        what: one sentence in indices.
        measured: the average of the test's terms over all rounds (probability units); 0 under A2.
        radius: how far from its allowed range that average can be by chance, at the stated level.
    """

    players: tuple[int, int]
    what: str
    measured: float
    radius: float


@dataclass(frozen=True)
class IndependenceTest:
    """What a log says about A2: in each round, given the past, followers act on their own types, independently.

    Attributes:
        level: probability with which none of the two tests refutes a true A2.
        verdict: ``refuted`` or ``inconclusive``; a log never proves A2.
        signalling: an action that goes with another player's type beyond what the prior explains; needs A1 only.
            None if there is none beyond chance.
        correlation: actions of two players that go together at a joint type; needs, besides A1, that strategies move
            by at most ``drift`` from a round to the next. None if there is none, or if only counts were given.
        drift: see ``correlation``; probability units.
    """

    level: float
    verdict: str
    signalling: Dependence | None
    correlation: Dependence | None
    drift: float


def check_independence(
    game: BayesianGame, log: PlayLog | History, *, level: float = 0.95, drift: float = 0.0
) -> IndependenceTest:
    """Does the log refute that actions are independent given own types and the past (A2)?

    Two tests share the level. The first counts how often player i's action goes with player j's type and compares
    with p(t_j | t_i): under A1 and A2 the differences are martingale differences however the strategies drift. No
    test can tell a common random device from strategies that jump in step, so the second, of correlation between
    actions at the same joint type, compares rounds 2k and 2k+1 and asks that strategies move little in between.

    Args:
        game: the game, whose prior the types were drawn from.
        log: the rounds; a `History` holds no order, so the second test is left out.
        level: probability, at least, with which a true A2 is not refuted.
        drift: largest change of any action's probability at any own type from one round to the next; for
            multiplicative weights at most epsilon / 4 when payoffs are scaled to [0, 1].

    Raises:
        UsageError: a level outside (0, 1), or a negative drift.
        PlayError: a log that does not fit the game.
    """
    check_level(level)
    if not drift >= 0:
        raise UsageError(f"expected a drift that is not negative, got {drift}")
    history = log if isinstance(log, History) else History.of(game, log)
    alpha = 1 - level if isinstance(log, History) else (1 - level) / 2
    signalling = _signalling(game, history, alpha)
    correlation = None if isinstance(log, History) else _correlation(game, log, alpha, drift)
    verdict = "inconclusive" if signalling is None and correlation is None else "refuted"
    return IndependenceTest(level, verdict, signalling, correlation, drift)


def _signalling(game: BayesianGame, history: History, alpha: float) -> Dependence | None:
    """Terms 1{t_i, a_i} (1{t_j} - p(t_j | t_i)): range 1, centre 0."""
    n = game.n_players
    pairs = [(i, j) for i in range(n) for j in range(n) if i != j and game.type_shape[j] > 1]
    rows = sum(game.type_shape[i] * game.action_shape[i] * game.type_shape[j] for i, j in pairs)
    if not rows:
        return None
    logarithm = math.log(2 * rows * GRID_POINTS / alpha)
    index = np.unravel_index(history.total.cells, history.shape)
    best: tuple[float, Dependence] | None = None
    for i, j in pairs:
        axes = (game.type_shape[i], game.action_shape[i], game.type_shape[j])
        met = np.zeros(axes)
        np.add.at(met, (index[i], index[n + i], index[j]), history.total.times)
        joint = game.prior.sum(axis=tuple(k for k in range(n) if k not in (i, j)))
        joint = joint if i < j else joint.T
        own = joint.sum(axis=1, keepdims=True)
        p = np.divide(joint, own, out=np.zeros_like(joint), where=own > 0)[:, None, :]
        all_met = met.sum(axis=2, keepdims=True)
        sums = met - p * all_met
        variation = met * (1 - p) ** 2 + (all_met - met) * p**2
        radius = _radius(variation, 1.0, logarithm)
        t, a, s = np.unravel_index(int((np.abs(sums) - radius).argmax()), axes)
        excess = float(abs(sums[t, a, s]) - radius[t, a, s])
        if excess > 0 and (best is None or excess > best[0]):
            goes = "more" if sums[t, a, s] > 0 else "less"
            what = f"player {i} of type {t} plays action {a} {goes} often when player {j} has type {s}"
            scale = history.rounds
            found = Dependence((i, j), what, float(sums[t, a, s]) / scale, float(radius[t, a, s]) / scale)
            best = (excess, found)
    return None if best is None else best[1]


def _correlation(game: BayesianGame, log: PlayLog, alpha: float, drift: float) -> Dependence | None:
    """Terms (1{a_i = x} - 1{a_i' = x})(1{a_j = y} - 1{a_j' = y}) over adjacent rounds of one joint type.

    If strategies move by at most d in between, whatever the first round showed, a term's conditional mean is within
    d + d^2 of 0 (E|1{a = x} - P| <= 1/2 for each factor). Range 2, centre 0.
    """
    n, pairs = game.n_players, len(log.types) // 2
    rows = math.prod(game.type_shape) * sum(
        game.action_shape[i] * game.action_shape[j] for i in range(n) for j in range(i)
    )
    if not rows or not pairs:
        return None
    logarithm = math.log(2 * rows * GRID_POINTS / alpha)
    types, actions = (values[: 2 * pairs].reshape(pairs, 2, n) for values in (log.types, log.actions))
    same = (types[:, 0] == types[:, 1]).all(axis=1)
    here = np.ravel_multi_index(tuple(types[same, 0].T), game.type_shape)
    allowed = pairs * game.prior.ravel() ** 2 * (drift + drift**2)
    best: tuple[float, Dependence] | None = None
    for i in range(n):
        for j in range(i):
            found = _pair(here, actions[same][:, :, i], actions[same][:, :, j], game, (i, j))
            sums, variation = found
            radius = _radius(variation / 4.0, 2.0, logarithm) + allowed[:, None, None]
            cell, x, y = np.unravel_index(int((np.abs(sums) - radius).argmax()), sums.shape)
            excess = float(abs(sums[cell, x, y]) - radius[cell, x, y])
            if excess > 0 and (best is None or excess > best[0]):
                at = tuple(int(k) for k in np.unravel_index(cell, game.type_shape))
                goes = "more" if sums[cell, x, y] > 0 else "less"
                what = f"at types {at}, action {x} of player {i} and {y} of player {j} meet {goes} often than by chance"
                figures = float(sums[cell, x, y]) / (2 * pairs), float(radius[cell, x, y]) / (2 * pairs)
                best = (excess, Dependence((i, j), what, *figures))
    return None if best is None else best[1]


def _pair(
    here: IntArray, mine: IntArray, yours: IntArray, game: BayesianGame, players: tuple[int, int]
) -> tuple[FloatArray, FloatArray]:
    """Sums and sums of squares of the terms, shape (joint types, |A_i|, |A_j|); only pairs in which both move count."""
    axes = (math.prod(game.type_shape), *(game.action_shape[k] for k in players))
    sums, squares = np.zeros(axes), np.zeros(axes)
    moved = (mine[:, 0] != mine[:, 1]) & (yours[:, 0] != yours[:, 1])
    for s in (0, 1):
        for r in (0, 1):
            flat = np.ravel_multi_index((here[moved], mine[moved, s], yours[moved, r]), axes)
            counts = np.bincount(flat, minlength=math.prod(axes)).reshape(axes)
            sums += counts if s == r else -counts
            squares += counts
    return sums, squares
