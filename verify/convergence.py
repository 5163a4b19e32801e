"""What learners' play does over time: regrets by round, rates, settling, cycling, and claims about reaching a gap.

Everything is measured from strategies that were really used; nothing is taken from a learner's own account, and no
bound is assumed. Interim regrets are linear in play, so those of the average up to a round are averages of those of
single rounds, and a whole path costs one contraction. Claims of the form "gap at most epsilon by round T with
probability at least q" get a verdict from independent runs, with exact binomial intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .confidence import check_level
from .errors import UsageError
from .game import BayesianGame, FloatArray, axis_letters
from .verdict import Role, Statement, Verdict

FLOAT_MARGIN = 1e-9
"""A gap this close to a threshold, relative to the payoff range, is left undecided in floats."""

_CHUNK_CELLS = 1 << 22
_MAX_SNAPSHOTS = 2048


# ------------------------------------------------------------------------------------------ paths


def round_regrets(game: BayesianGame, strategies: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    """Interim regrets of each round's independent strategies, payoff units (theory T3).

    Args:
        game: the game.
        strategies: for each player the strategies used, shape (T, |T_i|, |A_i|).

    Returns:
        For each player an array (T, |T_i|, |A_i|); -inf where p_i(t_i) = 0 or the deviation is not feasible.
    """
    arrays = [np.asarray(x, dtype=float) for x in strategies]
    rounds = len(arrays[0])
    out = []
    for i in range(game.n_players):
        worth = np.empty((rounds, game.type_shape[i], game.action_shape[i]))
        formula, weighted, mixers = _contraction(game, i)
        step = max(1, _CHUNK_CELLS // max(1, weighted.size))
        for start in range(0, rounds, step):
            part = [arrays[j][start : start + step] for j in mixers]
            worth[start : start + step] = np.einsum(formula, weighted, *part, optimize=True)
        gains = worth - (worth * arrays[i]).sum(axis=2, keepdims=True)
        known = game.feasible[i] & (game.marginal(i) > 0)[:, None]
        out.append(np.where(known, gains, -np.inf))
    return out


def _contraction(game: BayesianGame, i: int) -> tuple[str, FloatArray, list[int]]:
    """Formula and first operand of: expected payoff of each own type and action against the others' strategies."""
    n = game.n_players
    types, actions = axis_letters(n)
    payoff = game.near_payoffs[i]
    needed = [j for j in range(n) if payoff.shape[n + j] > 1]
    weighted = game.conditional(i).reshape(game.type_shape + (1,) * n) * payoff
    weighted = weighted.reshape(*game.type_shape, *(payoff.shape[n + j] for j in needed))
    mixers = [j for j in needed if j != i]
    if i not in needed:
        weighted = weighted[..., None]
    if not mixers:  # nobody else matters: one round stands for all
        weighted, mixers = weighted[..., None] * np.ones(1), []
    inputs = [types + "".join(actions[j] for j in needed), *(f"z{types[j]}{actions[j]}" for j in mixers)]
    if i not in needed:
        inputs[0] += "y"
    if not mixers:
        inputs[0] += "z"
    own = actions[i] if i in needed else "y"
    return f"{','.join(inputs)}->z{types[i]}{own}", weighted, mixers


def regret_path(game: BayesianGame, strategies: Sequence[npt.ArrayLike]) -> list[FloatArray]:
    """Interim regrets of the average play after each round: entry t - 1 is r_i(t_i, a'; sigma-bar_t) (theory T3, T7).

    Args and result are as in `round_regrets`.
    """
    out = []
    for gains in round_regrets(game, strategies):
        count = np.arange(1, len(gains) + 1)[:, None, None]
        known = gains > -np.inf
        out.append(np.where(known, np.cumsum(np.where(known, gains, 0.0), axis=0) / count, -np.inf))
    return out


def gap_path(regrets: Sequence[FloatArray]) -> FloatArray:
    """The gap for each entry of a path of regrets (`regret_path`, `round_regrets`), shape (T,)."""
    best = [rows.reshape(len(rows), -1).max(axis=1) for rows in regrets]
    return np.maximum(0.0, np.max(best, axis=0))


def settled_round(gaps: npt.ArrayLike, epsilon: float, rounds: Sequence[int] | None = None) -> int | None:
    """The first round from which on the gap stays at most epsilon to the end of the path; None if it does not.

    Args:
        gaps: shape (C,), payoff units.
        epsilon: the threshold.
        rounds: the rounds of the entries; 1, 2, .. when left out.

    Example:
        >>> settled_round([0.5, 0.1, 0.3, 0.1, 0.05], 0.1)
        4
    """
    values = np.asarray(gaps, dtype=float)
    above = np.flatnonzero(~(values <= epsilon))
    first = int(above[-1]) + 1 if len(above) else 0
    if first == len(values):
        return None
    return first + 1 if rounds is None else int(rounds[first])


# ------------------------------------------------------------------------------------------ rates


@dataclass(frozen=True)
class Rate:
    """Fitted rate: gap about constant x rounds^exponent.

    Attributes:
        exponent: median over runs of the least-squares slope of ln(gap) on ln(round); -1/2 is what theory T7 promises
            of a rate tuned to the horizon. nan where no run has two positive gaps.
        lower, upper: interval for the median slope over runs, exact whatever the distribution; infinite with too few
            runs to say anything at the level.
        level: its coverage.
        runs: runs that had two positive gaps at least.
    """

    exponent: float
    lower: float
    upper: float
    level: float
    runs: int


def fit_rate(rounds: Sequence[int], gaps: npt.ArrayLike, *, level: float = 0.95) -> Rate:
    """The rate at which gaps fell, fitted run by run.

    Args:
        rounds: checkpoints, shape (C,).
        gaps: shape (runs, C), payoff units; runs must be independent.
        level: coverage of the interval: order statistics of the runs' slopes, by the binomial distribution.
    """
    check_level(level)
    values, times = np.atleast_2d(np.asarray(gaps, dtype=float)), np.log(np.asarray(rounds, dtype=float))
    slopes = []
    for row in values:
        known = row > 0
        if known.sum() >= 2:
            x = times[known] - times[known].mean()
            slopes.append(float((x * np.log(row[known])).sum() / (x**2).sum()))
    if not slopes:
        return Rate(math.nan, -math.inf, math.inf, level, 0)
    slopes.sort()
    count, k = len(slopes), 0
    while k < count // 2 and 2 * binomial_tail(k, count, 0.5) <= 1 - level:
        k += 1
    lower, upper = (slopes[k - 1], slopes[count - k]) if k else (-math.inf, math.inf)
    return Rate(float(np.median(slopes)), lower, upper, level, count)


# ------------------------------------------------------------------------------------------ last iterates


@dataclass(frozen=True)
class Motion:
    """What strategies themselves do in the second half of a run.

    Attributes:
        kind: ``settles`` (no probability is further than ``tolerance`` from its final value), ``cycles`` (they come
            back again and again, after ``period`` rounds), or ``wanders`` (neither was seen).
        movement: largest distance of a probability from its final value in that half.
        period: rounds of a cycle; None unless it cycles.
    """

    kind: str
    movement: float
    period: int | None


def motion(strategies: Sequence[npt.ArrayLike], *, tolerance: float = 0.01) -> Motion:
    """Whether the last iterates settle, cycle, or wander.

    A cycle is a lag at which the strategies repeat themselves up to a tenth of their own spread, in at least two full
    turns; long runs are looked at in evenly spaced snapshots, which sees no cycles shorter than the spacing.

    Args:
        strategies: for each player the strategies used, shape (T, |T_i|, |A_i|).
        tolerance: movement of probabilities that counts as none.
    """
    arrays = [np.asarray(x, dtype=float) for x in strategies]
    flat = np.concatenate([x.reshape(len(x), -1) for x in arrays], axis=1)
    tail = flat[len(flat) // 2 :]
    step = -(-len(tail) // _MAX_SNAPSHOTS)
    tail = tail[::-1][::step][::-1]
    movement = float(np.abs(tail - tail[-1]).max())
    if movement <= tolerance:
        return Motion("settles", movement, None)
    centred = tail - tail.mean(axis=0)
    size, turns = len(tail), len(tail) // 2
    # mean squared distance at every lag at once: |x|^2 + |y|^2 - 2 x.y, the products by Fourier transform
    spectrum = np.fft.rfft(centred, 2 * size, axis=0)
    products = np.fft.irfft((np.abs(spectrum) ** 2).sum(axis=1), 2 * size)[:size]
    squares = np.concatenate(([0.0], np.cumsum((centred**2).sum(axis=1))))
    lags = np.arange(1, turns + 1)
    total = squares[size - lags] + (squares[size] - squares[lags]) - 2 * products[lags]
    distance = np.maximum(total, 0.0) / (size - lags) / (2 * squares[size] / size)
    away = np.flatnonzero(distance > 0.5)
    if len(away):
        back = np.flatnonzero(distance[away[0] :] <= 0.01)
        if len(back):
            near = distance[away[0] + back[0] :]
            turn = np.flatnonzero(near > 0.01)
            best = int(near[: turn[0] if len(turn) else len(near)].argmin())
            return Motion("cycles", movement, int(lags[away[0] + back[0] + best]) * step)
    return Motion("wanders", movement, None)


# ------------------------------------------------------------------------------------------ claims


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(at most k successes in n independent trials of chance p)."""
    if k >= n or p <= 0:
        return 1.0
    if k < 0 or p >= 1:
        return 0.0
    logs = [
        math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) + j * math.log(p) + (n - j) * math.log1p(-p)
        for j in range(k + 1)
    ]
    top = max(logs)
    return min(1.0, math.exp(top) * math.fsum(math.exp(value - top) for value in logs))


def clopper_pearson(successes: int, runs: int, *, level: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval for a chance of which ``successes`` in ``runs`` trials were seen.

    Example:
        >>> low, high = clopper_pearson(10, 10)
        >>> round(low, 4), high
        (0.6915, 1.0)
    """
    check_level(level)
    if not 0 <= successes <= runs or runs < 1:
        raise UsageError(f"expected from 0 to {runs} successes in at least one run, got {successes}")
    alpha = (1 - level) / 2

    def upper(count: int) -> float:
        if count == runs:
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if binomial_tail(count, runs, middle) > alpha else (low, middle)
        return high

    return 1.0 - upper(runs - successes), upper(successes)


def check_reach(
    gaps: npt.ArrayLike,
    *,
    epsilon: float,
    rounds: int,
    probability: float,
    learner: str = "the learner",
    level: float = 0.95,
    scale: float = 1.0,
    role: Role = "required",
) -> Statement:
    """The verdict on "learner L reaches gap at most epsilon by round T with probability at least q".

    Args:
        gaps: the gap of each of some independent runs at round T, payoff units.
        epsilon: the gap allowed, payoff units.
        rounds: T.
        probability: q.
        learner: what the sentence calls it.
        level: confidence of *holds* or *refuted*: the Clopper-Pearson interval lies on one side of q.
        scale: payoff range; gaps within `FLOAT_MARGIN` of it from epsilon count for neither side.
        role: of the statement.

    Raises:
        UsageError: no runs, or q outside (0, 1].
    """
    values = np.asarray(gaps, dtype=float).ravel()
    if not 0 < probability <= 1:
        raise UsageError(f"expected a probability above 0 and at most 1, got {probability}", field="probability")
    sure = int((values <= epsilon - FLOAT_MARGIN * scale).sum())
    possible = int((values <= epsilon + FLOAT_MARGIN * scale).sum())
    lower = clopper_pearson(sure, len(values), level=level)[0]
    upper = clopper_pearson(possible, len(values), level=level)[1]
    verdict: Verdict = "holds" if lower >= probability else "refuted" if upper < probability else "inconclusive"
    return Statement(
        "claim.reach",
        role,
        f"{learner} reaches a gap of at most {epsilon:g} by round {rounds} with probability at least {probability:g}",
        verdict,
        sure / len(values),
        probability,
        "statistical",
        f"{sure} of {len(values)} independent runs did; by the exact binomial interval the chance is between "
        f"{lower:.4g} and {upper:.4g} at confidence {level:g}.",
        {"runs": len(values), "successes": sure, "chance_lower": lower, "chance_upper": upper, "level": level},
    )
