"""Paths of regret are the regrets of averages; rates, settling, cycles and claims on cases with known answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from spverify.verify.convergence import (
    binomial_tail,
    check_reach,
    clopper_pearson,
    fit_rate,
    gap_path,
    motion,
    regret_path,
    round_regrets,
    settled_round,
)
from spverify.verify.errors import UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.play import MixturePlay
from spverify.verify.regret import interim_regrets
from spverify.verify.testing import games


@given(game=games(max_cells=120), seed=st.integers(0, 99))
def test_paths_are_the_regrets_of_the_average_up_to_each_round(game: BayesianGame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    strategies = []
    for mask in game.feasible:
        x = rng.random((6, *mask.shape)) * mask
        strategies.append(x / x.sum(axis=2, keepdims=True))
    path, single = regret_path(game, strategies), round_regrets(game, strategies)
    for t in range(1, 7):
        average = MixturePlay(np.full(t, 1 / t), [x[:t] for x in strategies]).conditional(game)
        last = MixturePlay([1.0], [x[t - 1 : t] for x in strategies]).conditional(game)
        for i, (rows, one) in enumerate(zip(interim_regrets(game, average), interim_regrets(game, last), strict=True)):
            np.testing.assert_allclose(path[i][t - 1], rows, atol=1e-9)
            np.testing.assert_allclose(single[i][t - 1], one, atol=1e-9)
    direct = [max([0.0, *(float(rows[t].max()) for rows in path)]) for t in range(6)]
    np.testing.assert_allclose(gap_path(path), direct)


def test_settled_rounds() -> None:
    assert settled_round([0.05, 0.01], 0.1) == 1
    assert settled_round([0.5, 0.2], 0.1) is None
    assert settled_round([0.5, 0.1, 0.5, 0.1], 0.1, rounds=[10, 20, 40, 80]) == 80
    assert settled_round([0.5, math.nan], 0.1) is None


def test_rates_of_known_powers() -> None:
    rounds = [10, 30, 100, 300, 1000]
    exact = fit_rate(rounds, [[2.0 * t**-0.5 for t in rounds]] * 20)
    assert (exact.exponent, exact.lower, exact.upper) == pytest.approx((-0.5, -0.5, -0.5))
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(300):
        slopes = rng.normal(-0.7, 0.2, 15)
        found = fit_rate(rounds, [[t**s for t in rounds] for s in slopes], level=0.9)
        covered += found.lower <= -0.7 <= found.upper
    assert covered >= 244  # 270 expected at least; 5 standard deviations below
    few = fit_rate(rounds, [[0.0, 0.0, 0.3, 0.2, 0.1], [0.0] * 5])
    assert (few.runs, few.lower, few.upper) == (1, -math.inf, math.inf)
    assert math.isnan(fit_rate(rounds, [[0.0] * 5]).exponent)


def turning(rounds: int, period: float, noise: float = 0.0) -> list[Any]:
    rng = np.random.default_rng(0)
    angle = 2 * np.pi * np.arange(rounds) / period
    x = 0.5 + 0.3 * np.sin(angle) + noise * rng.standard_normal(rounds)
    y = 0.5 + 0.3 * np.cos(angle) + noise * rng.standard_normal(rounds)
    return [np.stack([z, 1 - z], axis=-1)[:, None] for z in (x, y)]


@pytest.mark.parametrize("period", [2, 7, 50, 333.3])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_cycles_are_seen_with_their_period(period: float, noise: float) -> None:
    found = motion(turning(2000, period, noise))
    assert found.kind == "cycles"
    assert found.period is not None
    turns = found.period / period
    assert turns == pytest.approx(round(turns), abs=0.6 / period + 0.02)
    assert turns < 1.1 or period < 8


def test_long_cycles_are_seen_in_snapshots() -> None:
    found = motion(turning(100_000, 9000.0))
    assert found.kind == "cycles"
    assert found.period == pytest.approx(9000, rel=0.02)


def test_what_settles_and_what_wanders() -> None:
    decay = 0.5 + 0.5 * np.exp(-np.arange(1000) / 50)
    assert motion([np.stack([decay, 1 - decay], axis=-1)[:, None]]).kind == "settles"
    walk = np.random.default_rng(1).standard_normal(4000).cumsum() / 500
    x = 1 / (1 + np.exp(-walk))
    assert motion([np.stack([x, 1 - x], axis=-1)[:, None]]).kind == "wanders"
    drift = np.linspace(0, 1, 1000)
    found = motion([np.stack([drift, 1 - drift], axis=-1)[:, None]])
    assert (found.kind, found.period) == ("wanders", None)


@pytest.mark.parametrize("runs", [1, 7, 50, 400])
def test_binomial_intervals_are_scipys(runs: int) -> None:
    for successes in {0, 1, runs // 3, runs - 1, runs}:
        low, high = clopper_pearson(successes, runs, level=0.9)
        assert low == pytest.approx(
            0.0 if successes == 0 else beta.ppf(0.05, successes, runs - successes + 1), abs=1e-9
        )
        upper = 1.0 if successes == runs else beta.ppf(0.95, successes + 1, runs - successes)
        assert high == pytest.approx(upper, abs=1e-9)
        assert binomial_tail(successes, runs, 0.3) == pytest.approx(binom.cdf(successes, runs, 0.3), abs=1e-12)


def test_claims_get_the_verdict_their_runs_allow() -> None:
    options = {"epsilon": 0.1, "rounds": 500, "probability": 0.9}
    assert check_reach([0.05] * 100, **options).verdict == "holds"
    assert check_reach([0.05] * 20, **options).verdict == "inconclusive"
    assert check_reach([0.05] * 50 + [0.2] * 50, **options).verdict == "refuted"
    edge = check_reach([0.1] * 100, **options)
    assert (edge.verdict, edge.measured) == ("inconclusive", 0.0)  # floats do not decide a tie
    assert check_reach([0.05] * 99 + [0.2], **{**options, "probability": 1.0}).verdict == "refuted"
    assert "500" in edge.text and edge.evidence == "statistical"


def test_false_holds_are_as_rare_as_stated() -> None:
    """True chance .88, claim .9, level .9: at most 5% of 2,000 claims hold, with 5 standard deviations of room."""
    rng = np.random.default_rng(0)
    counts = rng.binomial(60, 0.88, 2000)
    lowers = {k: clopper_pearson(k, 60, level=0.9)[0] for k in set(counts.tolist())}
    assert sum(lowers[k] >= 0.9 for k in counts.tolist()) <= 149


def test_wrong_arguments() -> None:
    with pytest.raises(UsageError, match="probability"):
        check_reach([0.1], epsilon=0.1, rounds=1, probability=0.0)
    with pytest.raises(UsageError, match="at least one run"):
        check_reach([], epsilon=0.1, rounds=1, probability=0.5)
    with pytest.raises(UsageError, match="level"):
        fit_rate([1, 2], [[1, 1]], level=1.0)


def test_regrets_of_payoffs_far_from_zero_keep_their_digits() -> None:
    far, near = (BayesianGame(np.array([1]), [np.array([[low, low + 1.0, low + 0.375]])]) for low in (1e12, 0.0))
    mixed = np.array([[[0.2, 0.3, 0.5]]])
    assert round_regrets(far, [mixed])[0].tolist() == round_regrets(near, [mixed])[0].tolist()
    assert interim_regrets(far, mixed[0])[0].tolist() == interim_regrets(near, mixed[0])[0].tolist()
    assert near.near_payoffs[0] is near.payoffs[0]
