"""The interval for the population gap behind a log covers it, also under drift, and admits knowing nothing."""

import numpy as np
import pytest

from spverify.verify.confidence import estimate_gap
from spverify.verify.errors import SpverifyError
from spverify.verify.game import BayesianGame
from spverify.verify.play import MixturePlay, PlayLog
from spverify.verify.regret import interim_regrets

GAME = BayesianGame(
    np.array([[0.4, 0.1], [0.2, 0.3]]),
    [np.random.default_rng(i).random((2, 2, 2, 2)) for i in range(2)],
)


def drifting_log(rounds, seed):
    """Types from the prior, actions from strategies that move all the time; and the strategies themselves."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 6, rounds)
    first = 0.5 + 0.45 * np.sin(phase[:, None] + np.array([0.0, 1.5])[None])
    second = 0.5 + 0.45 * np.cos(2 * phase[:, None] + np.array([0.0, 2.5])[None])
    strategies = [np.stack([x, 1 - x], axis=-1) for x in (first, second)]
    joint = rng.choice(4, size=rounds, p=GAME.prior.ravel())
    types = np.stack(np.unravel_index(joint, (2, 2)), axis=1)
    chance = [strategies[i][np.arange(rounds), types[:, i], 0] for i in range(2)]
    actions = np.stack([(rng.random(rounds) >= p).astype(int) for p in chance], axis=1)
    return PlayLog(types, actions), MixturePlay(None, strategies)


def test_the_interval_covers_the_gap_of_the_averaged_play():
    """300 logs at level .9: misses stay below what a correct interval exceeds with probability 1e-6."""
    missed = 0
    for seed in range(300):
        log, strategies = drifting_log(400, seed)
        regrets = interim_regrets(GAME, strategies.conditional(GAME))
        gap = max(0.0, max(float(rows.max()) for rows in regrets))
        found = estimate_gap(GAME, log, level=0.9)
        covered = found.lower <= gap <= found.upper
        for rows, low, high in zip(regrets, found.regret_lower, found.regret_upper, strict=True):
            covered &= bool((low <= rows).all() and (rows <= high).all())
        missed += not covered
    assert missed <= 56  # 300 * .1 = 30 expected at most; 5 standard deviations above


def test_more_rounds_say_more():
    widths = [np.ptp([(g := estimate_gap(GAME, drifting_log(n, 1)[0])).lower, g.upper]) for n in (100, 1000, 20_000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.15


def test_unvisited_types_leave_the_gap_open():
    log = PlayLog(np.zeros((1000, 2), dtype=int), np.zeros((1000, 2), dtype=int))
    found = estimate_gap(GAME, log)
    assert found.upper >= max(GAME.payoff_range(i) for i in range(2)) - 1e-12
    assert found.visits[0].tolist() == [1000, 0]


def test_one_action_has_no_gap():
    game = BayesianGame([[1]], [[[[[5]]]], [[[[7]]]]])
    found = estimate_gap(game, PlayLog([[0, 0]], [[0, 0]]))
    assert (found.lower, found.upper) == (0, 0)


def test_wrong_arguments():
    log, _ = drifting_log(10, 0)
    with pytest.raises(SpverifyError, match="level"):
        estimate_gap(GAME, log, level=1.0)
    with pytest.raises(SpverifyError, match="from 0 to 1"):
        estimate_gap(GAME, PlayLog([[0, 2]], [[0, 0]]))
