"""What only big or hard games reach: blocks, interior-point masters, short proofs; and curves, limits, words."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.reports.command_bounds import bound_objective
from spverify.solvers import arrays, bounds, linear, search
from spverify.solvers.arrays import Problem
from spverify.solvers.bounds import equilibrium_range, range_curve
from spverify.solvers.explain import dual_prices
from spverify.verify.errors import FormatError, UnreadableError, UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import objective_tensor
from spverify.verify.plain import tensor
from spverify.verify.regret import dual_payoff

SETS = ("sf", "ns", "tc")


def random_game(players: int, actions: int, types: int, seed: int = 0) -> BayesianGame:
    rng = np.random.default_rng(seed)
    shape = (types,) * players + (actions,) * players
    prior = rng.integers(1, 10, (types,) * players)
    return BayesianGame(prior, [rng.random(shape) for _ in range(players)], leader=rng.random(shape))


@settings(max_examples=30)
@given(data=st.data(), block=st.sampled_from([1, 10, 1 << 18]), far=st.sampled_from([0.0, 16.0]))
def test_blocks_price_as_the_whole_does(data: Any, block: int, far: float, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "BLOCK_CELLS", block)
        patch.setattr(arrays, "FAR", far)
        problem = Problem(game, objective_tensor(game.plain, "leader"), game.leader, "lower", Fraction(0))
        rng = np.random.default_rng(data.draw(st.integers(0, 999)))
        y = [rng.random(rows.shape) * (rows >= 0) for rows in problem.rows]
        scaled = [z / scale for z, scale in zip(y, problem.payoff_scale, strict=True)]
        wanted = dual_payoff(game, (-game.leader - problem.objective_low) / problem.objective_scale, scaled)
        wanted = np.where(game.feasible_cells, wanted, -np.inf)
        assert problem.pricer.whole(y) == pytest.approx(wanted, abs=1e-9)


def test_private_values_keep_their_short_axes() -> None:
    """Payoffs that broadcast, own types among them, are priced as if written out."""
    rng = np.random.default_rng(1)
    short = [rng.random((2, 1, 3, 4)), rng.random((1, 3, 3, 4))]
    prior = rng.random((2, 3))
    prior /= prior.sum()
    for block in (1, 1 << 18):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays, "BLOCK_CELLS", block)
            ends = []
            for payoffs in (short, [np.broadcast_to(u, (2, 3, 3, 4)).copy() for u in short]):
                game = BayesianGame(prior, payoffs, leader=payoffs[1])
                found = equilibrium_range(game, equilibrium_set="tc")
                ends.append((found.min.outer, found.max.outer))
        assert ends[0] == ends[1]


@pytest.mark.parametrize("objective", ["leader", "welfare"])
def test_all_ways_to_one_answer(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One program, column generation, interior-point masters, short multipliers: the same interval, each proved."""
    game = random_game(2, 8, 3)
    wanted = equilibrium_range(game, objective=objective, equilibrium_set="tc", method="direct")
    assert wanted.closed and wanted.min.width == wanted.max.width == 0
    monkeypatch.setattr(search, "DIRECT_COLUMNS", 0)
    sifted = equilibrium_range(game, objective=objective, equilibrium_set="tc")
    assert (sifted.min.outer, sifted.max.outer) == (wanted.min.outer, wanted.max.outer)
    monkeypatch.setattr(linear, "INTERIOR_ROWS", 0)
    monkeypatch.setattr(linear, "KEPT", 2)
    inside = equilibrium_range(game, objective=objective, equilibrium_set="tc")
    assert inside.closed
    monkeypatch.setattr(linear, "SLOW_SIMPLEX", 0)
    monkeypatch.setattr(bounds, "EXACT_CELLS", 0)
    short = equilibrium_range(game, objective=objective, equilibrium_set="tc")
    for found in (inside, short):
        for side, end in ((found.min, wanted.min), (found.max, wanted.max)):
            assert float(side.outer) == pytest.approx(float(end.outer), abs=1e-8)
            assert side.certificate.recheck(game).accepted and side.inner_certificate.recheck(game).accepted


def test_games_for_the_fast_kernel() -> None:
    game = random_game(2, 40, 4)  # 25,600 cells
    found = equilibrium_range(game, equilibrium_set="tc")
    assert found.closed and "column generation" in found.method
    assert found.max.certificate.recheck(game).accepted and found.max.inner_certificate.recheck(game).accepted
    assert found.max.inner_gap == 0


def test_rare_types() -> None:
    """Probabilities down to 1e-12: an interim regret counts however rare its type."""
    for power in (6, 9, 12):
        rare = Fraction(1, 10**power)
        game = random_game(2, 3, 2, seed=power)
        prior = [[str(1 - 3 * rare), str(rare)], [str(rare), str(rare)]]
        payoffs = [u.tolist() for u in game.payoffs]
        game = BayesianGame(prior, payoffs, leader=game.leader.tolist())
        for which in SETS:
            found = equilibrium_range(game, equilibrium_set=which)
            for side in (found.min, found.max):
                assert side.certificate.recheck().accepted
                assert side.inner_gap is None or side.inner_gap <= Fraction(1, 10**6)
            assert found.min.outer <= found.max.outer


def test_memory_and_budgets() -> None:
    game = random_game(2, 12, 4)
    tight = {which: equilibrium_range(game, equilibrium_set=which) for which in ("tc", "ns")}
    for which in tight:
        found = equilibrium_range(game, equilibrium_set=which, memory=1e-4)
        assert found.min.outer <= tight[which].min.outer and found.max.outer >= tight[which].max.outer
        assert found.max.certificate.recheck(game).accepted
    with pytest.raises(UsageError, match="GiB"):
        equilibrium_range(game, memory=0)


def test_an_interrupt_ends_both_sides() -> None:
    game = random_game(2, 20, 5)
    calls = []

    def interrupting(text: str) -> None:
        calls.append(text)
        raise KeyboardInterrupt

    found = equilibrium_range(game, equilibrium_set="tc", progress=interrupting)
    assert all(text.startswith("largest") for text in calls[:1]) and "interrupted" in found.max.method
    assert found.min.certificate.recheck(game).accepted and not found.closed


def test_warm_curves_are_cold_ranges() -> None:
    game = random_game(2, 12, 3)
    epsilons = ["0", "1/100", "1/10"]
    for point in range_curve(game, epsilons, equilibrium_set="tc"):
        alone = equilibrium_range(game, equilibrium_set="tc", epsilon=point.epsilon)
        assert (point.min.outer, point.max.outer) == (alone.min.outer, alone.max.outer)


def test_dual_prices_are_slopes() -> None:
    """All rows together: the prices of an end add up to its slope in epsilon."""
    game = random_game(2, 4, 2, seed=3)
    step = Fraction(1, 10**7)
    for which in SETS:
        here = equilibrium_range(game, equilibrium_set=which, epsilon=Fraction(1, 50))
        there = equilibrium_range(game, equilibrium_set=which, epsilon=Fraction(1, 50) + step)
        for one, two in ((here.min, there.min), (here.max, there.max)):
            prices = dual_prices(one, game, most=1000)
            slope = abs(two.outer - one.outer) / step
            assert float(sum(price.price for price in prices)) == pytest.approx(float(slope), rel=1e-3, abs=1e-6)
            assert [price.price for price in prices] == sorted((price.price for price in prices), reverse=True)
    assert "gains less from playing a" in prices[0].sentence


# ------------------------------------------------------------------------------- the command's document


def test_objective_files_and_curves(tmp_path: Path) -> None:
    game = BayesianGame([[1]], [[[[[6, 2], [7, 0]]]], [[[[6, 7], [2, 0]]]]])
    exact, doubles = tmp_path / "w.json", tmp_path / "w.npy"
    exact.write_text(json.dumps([[[["1/3", 0], [0, 0]]]]), encoding="utf-8")
    np.save(doubles, np.array([[[[0.5, 0.0], [0.0, 0.0]]]]))
    third = bound_objective(game, objective=str(exact), curve=[Fraction(0), Fraction(1)], out=tmp_path).document
    half = bound_objective(game, objective=str(doubles)).document
    assert Fraction(third["max"]["outer_exact"]) / Fraction(half["max"]["outer_exact"]) == Fraction(2, 3)
    assert third["closed"] and third["max"]["width"] == 0 and third["objective"] == "custom"
    assert [point["epsilon"] for point in third["curve"]] == [0.0, 1.0]
    assert third["curve"][0]["max_exact"] == third["max"]["outer_exact"]
    assert third["max"]["held_back_by"][0]["price"] > 0
    tensorial = equilibrium_range(game, objective=tensor([Fraction(1, 3)] * 4, (1, 1, 2, 2)))
    assert tensorial.min.outer == tensorial.max.outer == Fraction(1, 3)
    exact.write_text("[[1]]", encoding="utf-8")
    with pytest.raises(FormatError, match=r"w\.json"):
        bound_objective(game, objective=str(exact))
    with pytest.raises(UnreadableError, match=r"missing\.npy"):
        bound_objective(game, objective=str(tmp_path / "missing.npy"))
