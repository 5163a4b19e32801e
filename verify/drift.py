"""Did the play of a log change while it was recorded?

Intervals of `confidence.py` allow strategies to drift; this says whether they did. Under the hypothesis that a type
takes an action with the same probability at every visit, given the past, the visits at which it took it are a random
subset of all its visits, so that how many of them fall into an early stretch is hypergeometric, whatever that
probability is. Each stretch of rounds [2^k, 2^(k+1)) is compared with everything before it, which is all that the
counts of a `History` hold of the order of rounds, and enough to see at which age of the log the play changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .confidence import check_level
from .game import BayesianGame, FloatArray
from .histories import History
from .play import IntArray, PlayLog

_log_gamma = np.vectorize(math.lgamma, otypes=[float])


@dataclass(frozen=True)
class Change:
    """The clearest change of how often a type took an action.

    Attributes:
        player, type, action: indices.
        before, after: the rounds compared, each as [first, last + 1).
        frequency_before, frequency_after: how often the type took the action in them.
        chance: an upper bound on the probability of so large a difference in steady play, all rows and stretches
            counted.
    """

    player: int
    type: int
    action: int
    before: tuple[int, int]
    after: tuple[int, int]
    frequency_before: float
    frequency_after: float
    chance: float


@dataclass(frozen=True)
class DriftTest:
    """What a log says about steady play.

    Attributes:
        level: probability, at least, with which steady play is not refuted.
        verdict: ``refuted`` (the play drifted) or ``inconclusive``; a log never proves that play was steady.
        change: the clearest sign; None unless refuted.
    """

    level: float
    verdict: str
    change: Change | None


def check_drift(game: BayesianGame, log: PlayLog | History, *, level: float = 0.95) -> DriftTest:
    """Does the log refute that each type took its actions with the same probabilities all along?

    Exact for every length of log: hypergeometric tails, with a union bound over types, actions, stretches and sides.

    Args:
        game: the game.
        log: the rounds, or their counts.
        level: probability, at least, with which steady play is not refuted.

    Raises:
        UsageError: a level outside (0, 1).
        PlayError: a log that does not fit the game.

    Example:
        >>> game = BayesianGame([1], [[[0, 1]]])
        >>> found = check_drift(game, PlayLog([[0]] * 64, [[0]] * 32 + [[1]] * 32))
        >>> found.verdict, found.change.after, found.change.frequency_after
        ('refuted', (32, 64), 0.0)
    """
    check_level(level)
    history = log if isinstance(log, History) else History.of(game, log)
    tests = 2 * max(1, len(history.blocks) - 1) * sum(t * a for t, a in zip(*_shapes(game), strict=True))
    best: Change | None = None
    for i, axes in enumerate(zip(*_shapes(game), strict=True)):
        early, rounds = np.zeros(axes, dtype=np.int64), 0
        for block in history.blocks:
            late = np.zeros(axes, dtype=np.int64)
            index = np.unravel_index(block.cells, history.shape)
            np.add.at(late, (index[i], index[game.n_players + i]), block.times)
            if rounds:
                logs = _log_tails(early, late)
                t, a = np.unravel_index(int(logs.argmin()), axes)
                chance = min(1.0, tests * math.exp(float(logs[t, a])))
                if chance < (1 - level if best is None else best.chance):
                    before, after = (0, rounds), (rounds, rounds + block.rounds)
                    shares = [float(counts[t, a] / counts[t].sum()) for counts in (early, late)]
                    best = Change(i, int(t), int(a), before, after, shares[0], shares[1], chance)
            early += late
            rounds += block.rounds
    return DriftTest(level, "inconclusive" if best is None else "refuted", best)


def _shapes(game: BayesianGame) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return game.type_shape, game.action_shape


def _log_tails(early: IntArray, late: IntArray) -> FloatArray:
    """Logarithm of an upper bound on the chance of counts at least so uneven, on their own side, shape (|T|, |A|).

    The probabilities beyond a count fall by ratios that fall themselves, so a geometric series bounds the tail.
    """
    out = np.zeros(early.shape)
    visits = [np.broadcast_to(counts.sum(axis=1, keepdims=True), counts.shape) for counts in (early, late)]
    both = early + late
    rows = (visits[0] > 0) & (visits[1] > 0) & (both > 0)
    x, n, m, other = (values[rows].astype(float) for values in (early, visits[0], both, visits[1]))
    point = _log_binomial(n, x) + _log_binomial(other, m - x) - _log_binomial(n + other, m)
    more = (n - x) * (m - x) / ((x + 1) * (other - m + x + 1))
    less = x * (other - m + x) / ((n - x + 1) * (m - x + 1))
    ratio = np.minimum(more, less)
    with np.errstate(divide="ignore"):
        tail = point - np.log(np.maximum(1.0 - ratio, 0.0))
    out[rows] = np.minimum(tail, 0.0)
    return out


def _log_binomial(n: FloatArray, k: FloatArray) -> npt.NDArray[np.float64]:
    if not n.size:
        return n
    return np.asarray(_log_gamma(n + 1) - _log_gamma(k + 1) - _log_gamma(n - k + 1))
