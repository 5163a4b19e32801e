"""Steady play is accused of drift at most as often as stated, whatever it is; play that changed is found, and where."""

from math import comb

import numpy as np
import pytest

from spverify.verify.drift import _log_tails, check_drift
from spverify.verify.errors import SpverifyError
from spverify.verify.game import BayesianGame
from spverify.verify.histories import History
from spverify.verify.play import PlayLog

GAME = BayesianGame(np.array([[0.4, 0.1], [0.2, 0.3]]), [np.zeros((2, 2, 3, 2))] * 2)


def log_of(chances, seed):
    """Types from the prior; action 1 of player 0 with ``chances``, its actions 0 and 2 half of the rest each."""
    rng = np.random.default_rng(seed)
    rounds = len(chances)
    types = np.stack(np.unravel_index(rng.choice(4, rounds, p=GAME.prior.ravel()), (2, 2)), axis=1)
    first = np.where(rng.random(rounds) < chances, 1, 2 * rng.integers(0, 2, rounds))
    return PlayLog(types, np.stack([first, rng.integers(0, 2, rounds)], axis=1))


def test_tails_are_bounded_from_above_and_closely():
    """Against hypergeometric tails summed with whole numbers."""
    for visits in [(5, 4), (12, 30), (40, 7)]:
        for total in range(1, sum(visits)):
            lowest, highest = max(0, total - visits[1]), min(visits[0], total)
            ways = {x: comb(visits[0], x) * comb(visits[1], total - x) for x in range(lowest, highest + 1)}
            for x in ways:
                early = np.array([[x, visits[0] - x]])
                found = float(np.exp(_log_tails(early, np.array([[total - x, visits[1] - total + x]]))[0, 0]))
                sides = [sum(w for y, w in ways.items() if y >= x), sum(w for y, w in ways.items() if y <= x)]
                tail = min(sides) / comb(sum(visits), total)
                assert tail <= found * (1 + 1e-9)
                assert tail > 0.02 or found < 2 * tail


@pytest.mark.parametrize("chance", [0.02, 0.5])
def test_steady_play_is_rarely_accused(chance):
    """Level .8: at most 60 of 300 logs and 5 standard deviations."""
    found = [check_drift(GAME, log_of(np.full(400, chance), seed), level=0.8) for seed in range(300)]
    assert sum(test.verdict == "refuted" for test in found) <= 94


def test_a_change_is_found_with_its_place():
    log = log_of(np.where(np.arange(4096) < 1024, 0.2, 0.6), 0)
    for rounds in (log, History.of(GAME, log)):
        found = check_drift(GAME, rounds, level=0.99)
        assert found.verdict == "refuted"
        assert (found.change.player, found.change.action) == (0, 1)
        assert (found.change.before, found.change.after) in [((0, 1024), (1024, 2048)), ((0, 2048), (2048, 4096))]
        assert found.change.frequency_before < found.change.frequency_after
        assert found.change.chance < 1e-6


def test_where_there_is_nothing_to_compare_nobody_is_accused():
    assert check_drift(GAME, PlayLog([[0, 0]], [[0, 0]])).verdict == "inconclusive"
    one = BayesianGame([1], [[[0]]])
    assert check_drift(one, PlayLog([[0]] * 9, [[0]] * 9)).change is None
    with pytest.raises(SpverifyError, match="between 0 and 1"):
        check_drift(GAME, PlayLog([[0, 0]], [[0, 0]]), level=1.0)
