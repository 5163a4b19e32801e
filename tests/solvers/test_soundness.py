"""What must stay true whatever a solver does: any multipliers prove a valid bound; known wrong formulas do not (T5)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.arrays import Problem
from spverify.solvers.bounds import equilibrium_range
from spverify.solvers.branching import best_profile
from spverify.solvers.plans import alternate, masked, profile_values, random_profiles
from spverify.solvers.polytope import round_non_signalling
from spverify.verify.certificate import outer_certificate
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import is_non_signalling, objective_tensor
from spverify.verify.play import ConditionalPlay, exact

SETS = ("sf", "ns", "tc")


def potential_shapes(game: BayesianGame) -> list[tuple[int, ...]]:
    n = game.n_players
    return [tuple(1 if k == n + j else s for k, s in enumerate(game.shape)) for j in range(n)]


@settings(max_examples=30)
@given(data=st.data(), sense=st.sampled_from(["upper", "lower"]), epsilon=st.sampled_from([0, Fraction(1, 4)]))
def test_any_multipliers_and_potentials_prove_a_valid_bound(
    data: Any, sense: str, epsilon: Fraction, oracle: Any, drawn_games: Any
) -> None:
    game = data.draw(drawn_games(max_profiles=100))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    y = [rng.exponential(size=mask.shape) * (rng.random(mask.shape) < 0.5) for mask in game.feasible]
    f = [rng.normal(size=shape) for shape in potential_shapes(game)]
    for which in SETS:
        potentials = None if which == "tc" else f
        certificate = outer_certificate(
            game,
            sense=sense,
            equilibrium_set=which,
            objective="leader",
            epsilon=Fraction(epsilon),
            multipliers=y,
            potentials=potentials,
        )
        assert certificate.recheck().accepted
        low, high = oracle(game, game.leader, which, float(epsilon))
        if sense == "upper":
            assert float(certificate.value) >= high - 1e-7
        else:
            assert float(certificate.value) <= low + 1e-7


# ------------------------------------------------------------------------------- the traps of theory T5


def outer(game: BayesianGame, f: list[np.ndarray], *, weighted_mean: bool, drop_impossible: bool) -> float:
    """The bound of theory T5 with multipliers 0, right or with one of two mistakes."""
    n = game.n_players
    total = game.prior.reshape(game.type_shape + (1,) * n) * np.broadcast_to(game.leader, game.shape)
    for j, values in enumerate(f):
        own = game.marginal(j).reshape([-1 if k == j else 1 for k in range(2 * n)])
        mean = (values * own).sum(axis=j, keepdims=True) if weighted_mean else values.mean(axis=j, keepdims=True)
        total = total + values - mean
    best = total.reshape(*game.type_shape, -1).max(axis=-1)
    return float((best * (game.prior > 0)).sum() if drop_impossible else best.sum())


def kernel_bound(game: BayesianGame, f: list[np.ndarray]) -> float:
    zero = [np.zeros(mask.shape) for mask in game.feasible]
    certificate = outer_certificate(
        game,
        sense="upper",
        equilibrium_set="ns",
        objective="leader",
        epsilon=Fraction(0),
        multipliers=zero,
        potentials=f,
    )
    assert certificate.recheck().accepted
    return float(certificate.value)


def planted(prior: list[list[int]]) -> BayesianGame:
    """Nobody's payoff depends on anything, so every play is an equilibrium; the leader wants joint action (1, 1)."""
    leader = np.zeros((1, 1, 2, 2))
    leader[..., 1, 1] = 1.0
    flat = np.zeros((1, 1, 1, 1))
    return BayesianGame(np.array(prior), [flat, flat], leader=leader)


def test_a_prior_weighted_mean_gives_a_false_bound(oracle: Any) -> None:
    game = planted([[1, 1], [3, 3]])
    f = [np.zeros(shape) for shape in potential_shapes(game)]
    f[0][0] = -1.0  # on player 0's rarer type: the weighted mean takes off less than the type count needs
    truth = oracle(game, game.leader, "ns", 0.0)[1]
    assert truth == pytest.approx(1.0)
    assert outer(game, f, weighted_mean=True, drop_impossible=False) < truth - 0.5
    assert kernel_bound(game, f) == pytest.approx(outer(game, f, weighted_mean=False, drop_impossible=False))
    assert kernel_bound(game, f) >= truth - 1e-9


def test_dropping_impossible_types_gives_a_false_bound(oracle: Any) -> None:
    game = planted([[0, 1], [1, 1]])
    f = [np.zeros(shape) for shape in potential_shapes(game)]
    f[0][0, 0], f[0][1, 0] = 1.0, -1.0  # what (1, 0) loses, the impossible (0, 0) gains
    truth = oracle(game, game.leader, "ns", 0.0)[1]
    assert truth == pytest.approx(1.0)
    assert outer(game, f, weighted_mean=False, drop_impossible=True) < truth - 0.5
    assert kernel_bound(game, f) == pytest.approx(outer(game, f, weighted_mean=False, drop_impossible=False))
    assert kernel_bound(game, f) >= truth - 1e-9


def test_correlated_prior_is_not_its_marginals() -> None:
    """Prior diag(1/2, 1/2): player 1 plays its type for certain, and player 0, who knows that type, follows.

    Every equilibrium of every set gives player 0 exactly (1.2 + 1) / 2. Against the product of the marginals it
    would face a fair coin, always play 0 and get .6.
    """
    follow = np.zeros((1, 1, 2, 2))
    follow[..., 0, 0], follow[..., 1, 1] = 1.2, 1.0
    own = np.zeros((1, 2, 1, 2))
    own[0, 0, 0, 0] = own[0, 1, 0, 1] = 1.0
    game = BayesianGame(np.eye(2) / 2, [follow, own])
    for which in SETS:
        found = equilibrium_range(game, objective="player:0", equilibrium_set=which)
        assert found.proved
        assert float(found.min.outer) == pytest.approx(1.1, abs=1e-9)
        assert float(found.max.outer) == pytest.approx(1.1, abs=1e-9)
    product = BayesianGame(np.ones((2, 2)) / 4, [follow, own])
    found = equilibrium_range(product, objective="player:0", equilibrium_set="sf")
    assert float(found.max.outer) == pytest.approx(0.6, abs=1e-9)


# ------------------------------------------------------------------------------- the pieces


@settings(max_examples=60)
@given(data=st.data())
def test_branch_and_bound_finds_the_best_profile(data: Any, drawn_games: Any) -> None:
    from itertools import product

    game = data.draw(drawn_games())
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    c = masked(rng.normal(size=game.shape), game)
    each = [list(product(*[np.flatnonzero(row) for row in mask])) for mask in game.feasible]
    keys = np.array([np.concatenate(profile) for profile in product(*each)])
    values = profile_values(c, keys, game.type_shape)
    found = best_profile(c, game, limit=-np.inf)
    assert found.complete and found.bound == pytest.approx(values.max())
    assert profile_values(c, found.profile, game.type_shape)[0] == pytest.approx(values.max())
    none = best_profile(c, game, limit=values.max() + 1e-9, improve=False)
    assert none.complete and none.profile is None
    short = best_profile(c, game, limit=-np.inf, max_nodes=1)
    assert short.bound >= values.max() - 1e-9
    local, worth = alternate(c, random_profiles(game, 5, rng), game)
    assert worth == pytest.approx(profile_values(c, local, game.type_shape))
    assert worth.max() <= values.max() + 1e-9


@settings(max_examples=30)
@given(data=st.data())
def test_rounding_keeps_non_signalling_exactly(data: Any, drawn_games: Any) -> None:
    """A mixture of product plays, spoilt by noise, becomes exactly non-signalling and stays near."""
    game = data.draw(drawn_games())
    n = game.n_players
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    sigma = np.zeros(game.shape)
    for _ in range(3):
        part = np.ones((1,) * (2 * n))
        for i, mask in enumerate(game.feasible):
            x = rng.random(mask.shape) * mask
            x /= x.sum(axis=1, keepdims=True)
            part = part * x.reshape([x.shape[0] if k == i else x.shape[1] if k == n + i else 1 for k in range(2 * n)])
        sigma += part / 3
    noise = 1e-7 * rng.random(game.shape) * np.broadcast_to(game.feasible_cells, game.shape)
    play = ConditionalPlay(round_non_signalling(game, sigma + noise).tolist())
    assert is_non_signalling(game.plain, exact(play, game))
    assert play.conditional(game) == pytest.approx(sigma, abs=1e-5)


@settings(max_examples=20)
@given(data=st.data())
def test_pricing_agrees_with_the_columns(data: Any, drawn_games: Any) -> None:
    """Reduced costs by contraction are those of the columns: cost minus duals times entries."""
    from spverify.solvers.plans import plan_columns

    game = data.draw(drawn_games())
    problem = Problem(game, objective_tensor(game.plain, "leader"), game.leader, "lower", Fraction(0))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    duals = rng.random(problem.n_regrets)
    c = problem.pricer.whole(problem.split(duals))
    keys = random_profiles(game, 6, rng)
    columns = plan_columns(problem.arrays, problem.rows, problem.n_regrets, keys)
    reduced = np.array(columns.cost, dtype=float)
    np.subtract.at(reduced, columns.column, columns.value * np.append(duals, 0.0)[columns.row])
    assert reduced == pytest.approx(profile_values(c, keys, game.type_shape), abs=1e-9)
