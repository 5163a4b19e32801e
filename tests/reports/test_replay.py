"""Replays measured exactly: against closed forms, the published readout table, and the kernel's own arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from spverify.reports.audit import Options
from spverify.reports.replay import Replays, Snapshots, averaged, on_grid
from spverify.reports.subject import MAX_CELLS, Subject
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import exact_regrets, exact_value, objective_tensor
from spverify.verify.plain import GRID

from .conftest import PRICES

OPTIONS = Options.of(epsilon="0.05", quick=False, seeds=2, rng_seed=0)


def replays_of(path: Path) -> Replays:
    return Subject.of("x", path, inspect_leader(path), OPTIONS).replays()


def test_closed_form_of_one_follower_without_types(leader_file: Callable[..., Path]) -> None:
    """Row 0 of maintain pays the follower 15/30 for column 0: its weight is 1.1^(t/2) against 1 and 1."""
    readings = replays_of(leader_file("row0", "maintain", [0])).readings
    for factor in (1, 10, 100):
        t = np.arange(100 * factor + 1)
        share = 1 / (1 + 2 * np.exp(-t / 2 * np.log(1.1)))
        expected = {"empirical": share[:-1].mean(), "last": share[-1], "argmax": 1.0}
        for readout, x in expected.items():
            assert float(readings[factor, readout].value) == pytest.approx(20 * x, abs=1e-9)
            assert float(readings[factor, readout].gap) == pytest.approx(15 * (1 - x), abs=1e-9)


def test_readouts_differ_for_ever_at_the_knife_edge(leader_file: Callable[..., Path]) -> None:
    """At maintain's mixed optimum the follower never learns to tell columns 0 and 1 apart (theory T7's table)."""
    readings = replays_of(leader_file("edge", "maintain", [["1/4", "3/4", 0]])).readings
    table = {1: (13.6, 15.2, 27.5), 100: (17.4, 17.5, 27.5)}
    for factor, values in table.items():
        for readout, value in zip(("empirical", "last", "argmax"), values, strict=True):
            assert float(readings[factor, readout].value) == pytest.approx(value, abs=0.06)


@pytest.mark.parametrize(("types", "actions"), [((2,), (3,)), ((2, 3), (3, 2)), ((1, 2, 2), (2, 2, 3))])
def test_exact_average_agrees_with_the_kernel(types: tuple[int, ...], actions: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    n = len(types)
    shape = types + actions
    game = BayesianGame(
        rng.integers(0, 4, types) + 1,
        [rng.integers(-5, 6, shape) for _ in range(n)],
        rng.integers(-5, 6, shape),
    )
    strategies = [rng.dirichlet(np.full(a, 0.3), size=(200, t)) for t, a in zip(types, actions, strict=True)]
    fast = averaged([on_grid(x) for x in strategies])
    slow = Snapshots.of(strategies).plain
    assert exact_regrets(game.plain, fast) == exact_regrets(game.plain, slow)
    leader = objective_tensor(game.plain, "leader")
    assert exact_value(game.plain, fast, leader) == exact_value(game.plain, slow, leader)


def test_rows_on_the_grid_sum_to_one_and_keep_zeros() -> None:
    rng = np.random.default_rng(1)
    rows = rng.dirichlet(np.full(5, 0.05), size=200)
    rows[::3, 0] = 0
    rows /= rows.sum(axis=1, keepdims=True)
    units = on_grid(rows)
    assert (units.sum(axis=1) == GRID).all() and (units >= 0).all()
    assert (units[rows == 0] == 0).all() and np.abs(units / GRID - rows).max() <= 2 / GRID


def test_equal_snapshots_are_counted_once_without_changing_the_play() -> None:
    rows = np.array([[[0.5, 0.5]], [[1.0, 0.0]], [[0.5, 0.5]]])
    snapshots = Snapshots.of([rows])
    assert snapshots.counts.tolist() == [2, 1]
    assert snapshots.plain.weights == (Fraction(2, 3), Fraction(1, 3))


def test_horizons_are_prefixes_of_one_run(leader_file: Callable[..., Path]) -> None:
    """The same seed and a shorter run give the same figures."""
    path = leader_file("prefix", "mspm-pi", PRICES)
    subject = Subject.of("x", path, inspect_leader(path), OPTIONS)
    long, short = subject.replays().readings, subject.replays(updates=100).readings
    for readout in ("empirical", "last", "argmax"):
        assert long[1, readout] == short[1, readout]


def test_regret_stays_below_the_bound_and_is_measured_at_every_horizon(leader_file: Callable[..., Path]) -> None:
    replays = replays_of(leader_file("regret", "simple-allocation-3", [0, 1, 2]))
    curves = replays.regret_curves(1e-6)
    assert [(c.player, c.type) for c in curves] == [(0, 0), (0, 1), (0, 2)]
    assert all(0 < c.ratio < 1 and {100, 1000, 10000} <= set(c.rounds) for c in curves)
    for factor in (1, 10, 100):
        reading = replays.readings[factor, "empirical"]
        k = curves[0].rounds.index(reading.rounds)
        exact = max(regrets[0][0] for regrets in reading.regrets)
        assert curves[0].regret[k] == pytest.approx(float(exact), abs=1e-9)


def test_long_horizons_get_fewer_seeds_rather_than_all_the_memory(leader_file: Callable[..., Path]) -> None:
    path = leader_file("long", "maintain", [0])
    options = replace(OPTIONS, seeds=1000, factors=(1, 1000))
    subject = Subject.of("x", path, inspect_leader(path), options)
    assert subject.seeds == MAX_CELLS // (3 * 100 * 1000) == 133


def test_drawn_opponents_widen_the_bound_of_expected_types(leader_file: Callable[..., Path]) -> None:
    """Theory T7: with anything sampled the bound has a term for luck; a required statement rests on it."""
    path = leader_file("luck", "mspm-pi", PRICES)
    replays = replays_of(path)
    bounds = []
    for opponents in ("expected", "sampled"):
        followers = replace(replays.followers, types="expected", opponents=opponents)
        run = replace(replays, followers=followers, factors=(1,), seeds=1)
        bounds.append([curve.bound for curve in run.regret_curves(0.01)])
    assert all(narrow < wide for one, two in zip(*bounds, strict=True) for narrow, wide in zip(one, two, strict=True))
