"""Gradient through the unrolled response, enumeration of tables: against exact games, differences, brute force."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spverify.trained_leaders.enumerate import Enumeration, count_tables
from spverify.trained_leaders.evaluate import checked_scores, lasting_scores
from spverify.trained_leaders.hyper import Hyper, default_hyper
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.pomdp import StackelbergPOMDP
from spverify.trained_leaders.settings import Followers, get_setting
from spverify.trained_leaders.train import train, train_leader
from spverify.trained_leaders.unrolled import ExpectedResponse, all_paths
from spverify.verify.errors import UsageError


def random_rows(name: str, size: int, seed: int = 0) -> np.ndarray:
    setting = get_setting(name)
    weights = np.random.default_rng(seed).integers(1, 9, size=(size, *setting.legal.shape)) * setting.legal
    return weights / weights.sum(axis=2, keepdims=True)


def unrolled(name: str, **changes: Any) -> Hyper:
    return replace(default_hyper(get_setting(name), mode="unrolled"), **changes)


@pytest.mark.parametrize("name", ["maintain", "simple-allocation-2", "matrix-design", "mspm-pi", "mspm-correlated-pi"])
def test_paths_sum_to_the_exact_game(name: str) -> None:
    setting = get_setting(name)
    rows = random_rows(name, 2)
    games = ExpectedResponse(setting, unrolled(name)).games(torch.from_numpy(rows)).numpy()
    for b in range(2):
        game = setting.tabulate([[Fraction(float(p)).limit_denominator(1000) for p in row] for row in rows[b]])
        for i in range(game.n_players):
            np.testing.assert_allclose(games[i, b], game.payoffs[i].astype(float), atol=1e-9)
        np.testing.assert_allclose(games[-1, b], game.objective().astype(float), atol=1e-9)


@pytest.mark.parametrize(("name", "updates"), [("maintain", 100), ("matrix-design", 40), ("mspm-pi", 40)])
@pytest.mark.parametrize("readout", ["last", "empirical"])
def test_the_response_is_that_of_the_environment(name: str, updates: int, readout: str) -> None:
    """Up to 40 updates are taken one by one with several followers; a lone one's average play needs them all."""
    if (name, readout) == ("maintain", "empirical"):
        updates = 1
    setting = get_setting(name)
    rng = np.random.default_rng(1)
    tables = np.array([[rng.choice(np.flatnonzero(legal)) for legal in setting.legal] for _ in range(5)])
    env = StackelbergPOMDP(setting, Followers(updates, 0.1, "expected", "expected"), readout=readout)
    episodes = env.run(tables)
    response = ExpectedResponse(setting, unrolled(name, updates=updates, horizons=(1,), readout=readout))
    rows = (tables[..., None] == np.arange(setting.legal.shape[1])).astype(float)
    value, gap = response.plays(torch.from_numpy(rows))
    np.testing.assert_allclose(value[0].numpy(), episodes.returns, atol=1e-9)
    np.testing.assert_allclose(gap[0].numpy(), episodes.gaps, atol=1e-9)


def test_gradients_are_differences() -> None:
    response = ExpectedResponse(get_setting("mspm-pi"), unrolled("mspm-pi", updates=30, horizons=(1, 5)))
    rows = torch.from_numpy(random_rows("mspm-pi", 1, seed=3)).requires_grad_()

    def worth(at: torch.Tensor) -> torch.Tensor:
        value, gap = response.plays(at, 5.0)
        return (value - gap).sum()

    worth(rows).backward()
    assert rows.grad is not None
    for o, a in ((0, 1), (3, 4), (7, 10)):
        step = torch.zeros_like(rows)
        step[0, o, a] = 1e-6
        with torch.no_grad():
            slope = float(worth(rows + step) - worth(rows - step)) / 2e-6
        assert slope == pytest.approx(float(rows.grad[0, o, a]), abs=1e-6)


def test_every_way_a_play_can_go_is_there_once() -> None:
    paths = all_paths(get_setting("simple-allocation-2"))
    assert len(paths.cells) == 3 * 2 * 3 and len(set(zip(paths.cells, paths.decisions[:, 0], strict=True))) == 18
    setting = get_setting("mspm-pi")
    paths = all_paths(setting)
    legal = setting.legal.sum(axis=1).max()
    assert len(np.unique(paths.cells)) == 16 and legal < len(paths.cells) < 16 * legal**2


@pytest.mark.parametrize(
    ("name", "best"), [("maintain", 20), ("matrix-design", 10 / 6), ("simple-allocation-3", 1), ("mspm-pi", 0)]
)
def test_populations_reach_the_optimum(name: str, best: float) -> None:
    setting = get_setting(name)
    for seed in range(2):
        result = train(setting, seed=seed, hyper=default_hyper(setting, mode="unrolled"))
        assert result.evaluation.gap["argmax"] == 0
        assert result.evaluation.value["argmax"] == pytest.approx(best)


def test_populations_of_mixtures_climb_the_knife_edge() -> None:
    setting = get_setting("conitzer")
    hyper = default_hyper(setting, mode="unrolled", leader_action="mixture")
    result = train(setting, seed=0, hyper=replace(hyper, restarts=1))
    assert result.evaluation.value["argmax"] >= 0.99 * 2.5 and result.evaluation.gap["argmax"] == 0


@pytest.mark.parametrize("name", ["simple-allocation-2", "conitzer"])
def test_enumeration_is_brute_force_over_the_training_objective(name: str) -> None:
    setting = get_setting(name)
    hyper = replace(default_hyper(setting, mode="enumerate"), batch=5, updates=20)
    result = train(setting, seed=3, hyper=hyper)
    tables = np.array(list(product(*(np.flatnonzero(row) for row in setting.legal))))
    scores, _ = checked_scores(setting, hyper, tables, 3)
    assert result.enumerated == len(tables) == count_tables(setting)
    assert result.mode_score == scores.max() and scores[(tables == result.table).all(axis=1)] == scores.max()
    assert (scores <= lasting_scores(setting, hyper, tables) + 1e-12).all()


def test_enumeration_of_plain_returns_looks_at_every_table() -> None:
    """Without a bound nothing can be skipped: on maintain row 1 is worth 10 after an episode, row 0 20."""
    setting = get_setting("maintain")
    result = train(setting, seed=0, hyper=replace(default_hyper(setting, mode="enumerate"), objective="episode"))
    assert (result.mode_score, result.enumerated, result.table.tolist()) == (20.0, 3, [0])


def test_what_was_enumerated_is_on_record(tmp_path: Path) -> None:
    document = train_leader("escape", mode="enumerate", out=tmp_path / "a.pt")[0]
    assert document["enumerated"] == 3 and document["value"]["argmax"] == 30
    assert read_leader(tmp_path / "a.pt").training["enumerated"] == 3
    with pytest.raises(UsageError, match="mspm-pi has .* over 2097152; try mode 'search'"):
        train_leader("mspm-pi", mode="enumerate", out=tmp_path / "b.pt")


def test_an_enumeration_cut_short_proves_nothing() -> None:
    setting = get_setting("simple-allocation-3")
    hyper = replace(default_hyper(setting, mode="enumerate"), batch=4, iterations=2)
    assert train(setting, seed=0, hyper=hyper).enumerated == 0


def test_tables_are_counted_once_each() -> None:
    setting = get_setting("simple-allocation-3")
    learner = Enumeration(setting, default_hyper(setting, mode="enumerate"), 0, 0)
    assert len(np.unique(learner._tables(np.arange(27)), axis=0)) == 27
