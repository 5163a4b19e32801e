"""Pure equilibria against loops over the definition; bounds on commitments against random commitments (theory T9)."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.bounds import equilibrium_range
from spverify.solvers.commitment import optimal_mixed_commitment
from spverify.solvers.references import (
    best_deterministic_rule,
    commitment_bound,
    optimal_bayesian_commitment,
    pure_equilibria,
)
from spverify.verify.errors import UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import exact_gap
from spverify.verify.play import PlanPlay, exact


@settings(max_examples=25)
@given(data=st.data())
def test_pure_equilibria(data: Any, drawn_games: Any) -> None:
    game = data.draw(drawn_games(max_profiles=60))
    n = game.n_players
    own = [game.prior.sum(axis=tuple(j for j in range(n) if j != i)) for i in range(n)]
    each = []
    for i, mask in enumerate(game.feasible):
        rows = [np.flatnonzero(row).tolist() for row in mask]
        each.append(list(product(*[row if p > 0 else row[:1] for row, p in zip(rows, own[i], strict=True)])))
    wanted = {}
    for profile in product(*each):
        value, stable = 0.0, True
        for i, mask in enumerate(game.feasible):
            for t, a in np.argwhere(mask):
                gain = 0.0
                for types in np.ndindex(*game.type_shape):
                    if types[i] == t:
                        played = [s[k] for s, k in zip(profile, types, strict=True)]
                        moved = list(played)
                        moved[i] = a
                        u = np.broadcast_to(game.payoffs[i], game.shape)
                        gain += game.prior[types] * (u[(*types, *moved)] - u[(*types, *played)])
                stable &= gain <= 1e-9
        for types in np.ndindex(*game.type_shape):
            played = [s[k] for s, k in zip(profile, types, strict=True)]
            value += game.prior[types] * np.broadcast_to(game.leader, game.shape)[(*types, *played)]
        if stable:
            wanted[profile] = value
    found = pure_equilibria(game)
    keys = [tuple(tuple(s[k].tolist()) for s in found.strategies) for k in range(len(found.values))]
    assert dict(zip(keys, map(float, found.values), strict=True)) == pytest.approx(wanted)
    if wanted:
        assert float(found.best) == pytest.approx(max(wanted.values()))
        assert float(found.worst) == pytest.approx(min(wanted.values()))
    else:
        assert found.best is None and found.worst is None


def test_too_many_profiles() -> None:
    shape = (4, 4, 9, 9)
    game = BayesianGame(np.ones((4, 4)) / 16, [np.zeros(shape)] * 2, leader=np.zeros(shape))
    with pytest.raises(UsageError, match="pure strategy profiles"):
        pure_equilibria(game)


def leader_tables(seed: int) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    shape = (2, 2, 3, 2, 2)
    prior = rng.integers(1, 5, (2, 2)) / 1.0
    prior /= prior.sum()
    return prior, [rng.integers(0, 8, shape).astype(float) for _ in range(2)], rng.integers(0, 8, shape).astype(float)


def test_no_commitment_beats_the_bounds() -> None:
    """A leader who observes nothing draws an action; one who observes actions answers them by a rule."""
    for seed in range(25):
        prior, payoffs, leader = leader_tables(seed)
        rng = np.random.default_rng(seed)
        blind = commitment_bound(prior, payoffs, leader, observes="nothing")
        assert blind.certificate is not None and blind.certificate.recheck().accepted
        strategic = commitment_bound(prior, payoffs, leader, observes="nothing", equilibrium_set="sf")
        seeing = commitment_bound(prior, payoffs, leader, observes="actions")
        assert strategic.value <= blind.value + Fraction(1, 10**7)
        assert blind.value <= seeing.value + Fraction(1, 10**7)
        for _ in range(4):
            x = rng.dirichlet(np.full(3, 0.4))
            mixed = [np.einsum("stlab,l->stab", u, x) for u in (*payoffs, leader)]
            game = BayesianGame(prior, mixed[:2], leader=mixed[2])
            assert equilibrium_range(game, equilibrium_set="tc").max.inner <= blind.value + Fraction(1, 10**8)
            assert equilibrium_range(game, equilibrium_set="sf").max.inner <= strategic.value + Fraction(1, 10**8)
            rule = rng.integers(0, 3, (2, 2))
            index = np.broadcast_to(rule, (2, 2, 1, 2, 2))
            answered = [np.take_along_axis(u, index, axis=2)[:, :, 0] for u in (*payoffs, leader)]
            game = BayesianGame(prior, answered[:2], leader=answered[2])
            value = equilibrium_range(game, equilibrium_set="tc").max.inner
            assert value <= seeing.value + Fraction(1, 10**8)


def test_the_bound_for_a_blind_leader_is_false_for_a_seeing_one() -> None:
    """The rule "0 after 0, else 1" makes the follower play 0; unseen, the threat must be carried out half the time."""
    leader = np.array([[1.0, 0.0], [0.0, 0.0]])[None]  # leader's rows, follower's columns
    follower = np.array([[0.0, 1.0], [0.0, -1.0]])[None]
    assert commitment_bound(np.ones(1), [follower], leader, observes="nothing").value == Fraction(1, 2)
    assert commitment_bound(np.ones(1), [follower], leader, observes="actions").value == 1


def test_the_bound_is_above_the_optimal_commitment() -> None:
    rng = np.random.default_rng(4)
    for _ in range(10):
        leader, follower = rng.integers(0, 9, (2, 3, 4)).astype(float)
        bound = commitment_bound(np.ones(1), [follower[None]], leader[None], observes="nothing")
        assert bound.value >= optimal_mixed_commitment(leader, follower).value


def test_bayesian_commitment() -> None:
    """Against a grid of mixtures; with one type it is the optimal mixed commitment."""
    rng = np.random.default_rng(5)
    for _ in range(5):
        leader, follower = rng.integers(0, 9, (2, 2, 2, 3)).astype(float)
        best = optimal_bayesian_commitment([1, 2], leader, follower)
        assert best.proved
        values = []
        for x in np.linspace(0, 1, 2001):
            mix = np.array([x, 1 - x])
            value = 0.0
            for t, weight in enumerate((1 / 3, 2 / 3)):
                pays, gains = mix @ follower[t], mix @ leader[t]
                value += weight * gains[pays >= pays.max() - 1e-12].max()
            values.append(value)
        assert max(values) <= float(best.value) + 1e-9
        assert max(values) >= float(best.value) - 0.02
        alone = optimal_bayesian_commitment([1], leader[:1], follower[:1])
        assert alone.value == optimal_mixed_commitment(leader[0], follower[0]).value


def test_bad_questions() -> None:
    prior, payoffs, leader = leader_tables(0)
    for options in ({"observes": "all"}, {"observes": "actions", "equilibrium_set": "sf"}):
        with pytest.raises(UsageError):
            commitment_bound(prior, payoffs, leader, **options)
    with pytest.raises(UsageError):
        commitment_bound(prior, payoffs[:1], leader, observes="nothing")
    with pytest.raises(UsageError):
        optimal_bayesian_commitment([1], leader[0], payoffs[0][0])


# ------------------------------------------------------------------------------- the best deterministic rule


def best_rule_by_loops(prior: np.ndarray, payoffs: list[np.ndarray], leader: np.ndarray) -> tuple[float, float] | None:
    """Best (value, worst value under a rule that has it) over rules and pure equilibria, by loops over definitions."""
    n, answers, actions = prior.ndim, leader.shape[prior.ndim], leader.shape[prior.ndim + 1 :]
    messages = list(product(*map(range, actions)))
    profiles = list(product(*[list(product(range(a), repeat=t)) for a, t in zip(actions, prior.shape, strict=True)]))
    out = []
    for picks in product(range(answers), repeat=len(messages)):
        rule, values = dict(zip(messages, picks, strict=True)), []
        for s in profiles:
            stable = True
            for i in range(n):
                for t in range(prior.shape[i]):
                    gains = [0.0] * actions[i]
                    for theta in np.ndindex(*prior.shape):
                        if theta[i] != t:
                            continue
                        m = tuple(s[j][k] for j, k in enumerate(theta))
                        for a in range(actions[i]):
                            d = (*m[:i], a, *m[i + 1 :])
                            gains[a] += prior[theta] * (
                                payoffs[i][(*theta, rule[d], *d)] - payoffs[i][(*theta, rule[m], *m)]
                            )
                    stable = stable and max(gains) <= 1e-9
            if stable:
                played = [(theta, tuple(s[j][k] for j, k in enumerate(theta))) for theta in np.ndindex(*prior.shape)]
                values.append(sum(prior[theta] * leader[(*theta, rule[m], *m)] for theta, m in played))
        if values:
            out.append((max(values), min(values)))
    return max(out) if out else None


@pytest.mark.parametrize("method", ["enumeration", "milp"])
@pytest.mark.parametrize("seed", range(6))
def test_best_rule_against_loops(seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    types, actions, answers = [((2, 2), (2, 2), 2), ((3,), (3,), 3), ((2, 1), (2, 3), 2)][seed % 3]
    prior = rng.random(types)
    prior /= prior.sum()
    shape = (*types, answers, *actions)
    payoffs, leader = [rng.integers(-3, 4, shape).astype(float) for _ in types], rng.random(shape)
    wanted = best_rule_by_loops(prior, payoffs, leader)
    found = best_deterministic_rule(prior, payoffs, leader, method=method)
    if wanted is None:
        assert found is None
        return
    assert found is not None and found.method == method
    assert found.bound == pytest.approx(wanted[0], abs=1e-7)
    assert float(found.value) == pytest.approx(wanted[0], abs=1e-9)
    assert found.worst <= found.value and found.rules == answers ** int(np.prod(actions))
    # the rule and the equilibrium are what they are said to be
    under = [
        np.take_along_axis(u, found.rule.reshape((1,) * len(types) + (1, *actions)), axis=len(types)) for u in payoffs
    ]
    game = BayesianGame(prior, [u.squeeze(axis=len(types)) for u in under])
    play = PlanPlay([1], [s[None] for s in found.strategies])
    assert exact_gap(game.plain, exact(play, game))[0] == 0


def test_best_rule_refuses_what_is_too_much_or_does_not_fit() -> None:
    with pytest.raises(UsageError, match="rules times profiles"):
        best_deterministic_rule(
            np.ones((2, 2)) / 4, [np.zeros((2, 2, 5, 5, 5))] * 2, np.zeros((2, 2, 5, 5, 5)), method="enumeration"
        )
    with pytest.raises(UsageError, match="pure strategy profiles, got"):
        best_deterministic_rule(np.ones(10) / 10, [np.arange(90.0).reshape(10, 3, 3)], np.zeros((10, 3, 3)))
    with pytest.raises(UsageError, match="pure strategy profiles, got"):
        best_deterministic_rule(np.ones(40) / 40, [np.arange(360.0).reshape(40, 3, 3)], np.zeros((40, 3, 3)))
    with pytest.raises(UsageError, match="pairs of a joint action and an answer"):
        best_deterministic_rule([1.0], [np.zeros((1, 200, 200))], np.zeros((1, 200, 200)), method="milp")
    with pytest.raises(UsageError, match="auto, enumeration or milp"):
        best_deterministic_rule(np.ones(2) / 2, [np.zeros((2, 2, 2))], np.zeros((2, 2, 2)), method="simplex")
    for shapes in [((3, 2, 2), (3, 2, 2)), ((2, 2, 3), (2, 2, 2)), ((2, 2), (2, 2))]:
        with pytest.raises(UsageError, match="axes"):
            best_deterministic_rule(np.ones(2) / 2, [np.zeros(shapes[0])], np.zeros(shapes[1]))


@pytest.mark.parametrize("seed", range(12))
def test_integer_programs_find_what_enumeration_finds(seed: int) -> None:
    """Also where actions are mere messages, where ties abound, and with an epsilon; exact numbers come out exact."""
    rng = np.random.default_rng(seed)
    n = 1 + seed % 3
    types, answers, actions = (2,) * n, 2 + seed % 2, (2,) * n
    prior = rng.integers(0, 4, types)
    prior.ravel()[0] += 1
    shape, full = (*types, answers, *((1,) * n if seed % 2 else actions)), (*types, answers, *actions)
    tables = [np.broadcast_to(rng.integers(-2, 3, shape), full) for _ in range(n + 1)]
    exact_tables = [np.vectorize(lambda k: Fraction(int(k), 3), otypes=[object])(table) for table in tables]
    epsilon = "1/7" if seed % 4 == 0 else "0"
    one, two = (
        best_deterministic_rule(prior, exact_tables[:n], exact_tables[n], epsilon=epsilon, method=method)
        for method in ("enumeration", "milp")
    )
    assert (one is None) == (two is None)
    if one is not None and two is not None:
        assert one.value == two.value == Fraction(two.value).limit_denominator(10**6)
        assert (one.rules, one.profiles) == (two.rules, two.profiles)


def test_integer_programs_that_run_out_of_time() -> None:
    """What was not looked at stays within the bound."""
    rng = np.random.default_rng(0)
    shape = (3, 3, 30, 2, 2)
    found = best_deterministic_rule(
        np.ones((3, 3)) / 9, [rng.random(shape) for _ in range(2)], rng.random(shape), method="milp", seconds=0.2
    )
    assert found is None or found.bound >= float(found.value)


def test_pure_equilibria_that_doubles_would_miss() -> None:
    """Staying is worth 0.05 more than moving, exactly; in doubles, 2 apart there, moving gains 1."""
    stay, move, away = ["10000000000000000.9"] * 2, ["10000000000000001.1", "10000000000000000.6"], ["0", "0"]
    table = [[[[s], [m], [z]] for s, m, z in zip(stay, move, away, strict=True)]]
    game = BayesianGame([["1/2", "1/2"]], [table, [[[[0]]]]])
    assert pure_equilibria(game, objective="player:0").strategies[0].tolist() == [[0]]


@pytest.mark.parametrize("weights", [[-1, 2], [0, 0]])
def test_weights_that_are_no_prior(weights: list[int]) -> None:
    table = [[[1, 0], [0, 1]]] * 2
    with pytest.raises(UsageError, match="prior: expected weights"):
        optimal_bayesian_commitment(weights, table, table)
