"""Multiplicative weights against a plain loop, the bounds of theory T7, and the readouts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.learners import MultiplicativeWeights, regret_bound, run_learners
from spverify.verify.errors import BudgetError, UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.regret import interim_regrets


def plain_run(game: BayesianGame, learner: MultiplicativeWeights, rounds: int, rng_seed: int, seed: int) -> Any:
    """The sampled contract, one number and one copy at a time."""
    rng = np.random.default_rng([rng_seed, seed])
    n = game.n_players
    totals = [[[0.0] * a for _ in range(t)] for t, a in zip(game.type_shape, game.action_shape, strict=True)]
    visits = [[0] * t for t in game.type_shape]
    payoffs = [np.broadcast_to(u / learner.payoff_scale, game.shape) for u in game.payoffs]
    cumulative = np.cumsum(game.prior.ravel())

    def strategy(i: int, t: int) -> list[float]:
        allowed = [a for a in range(game.action_shape[i]) if game.feasible[i][t][a]]
        if learner.rate == "fixed":
            eta = math.log1p(learner.epsilon)
        elif learner.rate == "tuned":
            eta = math.sqrt(8 * math.log(max(len(allowed), 2)) / max(1.0, game.marginal(i)[t] * rounds))
        else:
            eta = 2 * math.sqrt(math.log(max(len(allowed), 2)) / (visits[i][t] + 1))
        top = max(totals[i][t][a] for a in allowed)
        weights = [
            math.exp(eta * (totals[i][t][a] - top)) if a in allowed else 0.0 for a in range(game.action_shape[i])
        ]
        return [w / sum(weights) for w in weights]

    history = []
    for _ in range(rounds):
        everywhere = [[strategy(i, t) for t in range(game.type_shape[i])] for i in range(n)]
        flat = int(np.searchsorted(cumulative, rng.random(), side="right"))
        types = np.unravel_index(min(flat, game.prior.size - 1), game.type_shape)
        numbers = rng.random(n)
        actions = [int(np.searchsorted(np.cumsum(everywhere[i][types[i]]), numbers[i], side="right")) for i in range(n)]
        history.append((everywhere, [int(t) for t in types], actions))
        for i in range(n):
            visits[i][types[i]] += 1
            for a in range(game.action_shape[i]):
                moved = [*actions[:i], a, *actions[i + 1 :]]
                totals[i][types[i]][a] += float(payoffs[i][(*types, *moved)])
    return history, visits


@settings(max_examples=25)
@given(data=st.data(), rate=st.sampled_from(["fixed", "tuned", "anytime"]))
def test_sampled_runs_match_a_plain_loop(data: Any, rate: str, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    learner = MultiplicativeWeights(0.1, rate, payoff_scale=9.0)
    run = run_learners(game, learner, 40, seeds=2, rng_seed=7, checkpoints=(25, 40))
    for seed in range(2):
        history, visits = plain_run(game, learner, 40, 7, seed)
        for i, x in enumerate(run.strategies):
            assert x[seed] == pytest.approx(np.array([h[0][i] for h in history]), abs=1e-12)
            assert run.updates[i][seed].tolist() == visits[i]
        log = run.log(seed)
        assert log.types.tolist() == [h[1] for h in history]
        assert log.actions.tolist() == [h[2] for h in history]
        sigma = run.readout("empirical", seed).conditional(game)
        assert run.averages[40][seed] == pytest.approx(sigma, abs=1e-12)
        for mine, direct in zip(run.regrets_at(game, 40, seed), interim_regrets(game, sigma), strict=True):
            assert mine == pytest.approx(direct, abs=1e-9)
    again = run_learners(game, learner, 40, seeds=1, rng_seed=7, keep=False, checkpoints=(40,))
    assert np.array_equal(again.averages[40][0], run.averages[40][0]) or np.allclose(
        again.averages[40], run.averages[40][:1]
    )
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(again.last, run.last, strict=True))


def correlated(seed: int, n: int = 2, types: int = 2, actions: int = 3) -> BayesianGame:
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(types**n, 0.5)).reshape((types,) * n)
    shape = (types,) * n + (actions,) * n
    return BayesianGame(prior / prior.sum(), [rng.random(shape) for _ in range(n)])


@pytest.mark.parametrize("rate", ["fixed", "tuned", "anytime"])
@pytest.mark.parametrize("mode", [("sampled", "sampled"), ("sampled", "expected"), ("expected", "expected")])
def test_regret_stays_below_its_bound(rate: str, mode: tuple[str, str]) -> None:
    """Theory T7 at two checkpoints, delta = 1e-3 over all rows: 12 games x 4 seeds leave no room for a violation."""
    marks, tightest = (100, 800), np.inf
    for seed in range(4):
        game = correlated(seed, *((2, 2, 3), (3, 2, 2))[seed % 2])
        learner = MultiplicativeWeights(0.1, rate)
        run = run_learners(game, learner, 800, seeds=3, types=mode[0], opponents=mode[1], checkpoints=marks)
        for mark in marks:
            bounds = regret_bound(
                game,
                learner,
                mark,
                delta=1e-3,
                updates=run.updates_at[mark],
                types=mode[0],
                opponents=mode[1],
                checkpoints=2,
                horizon=800,
            )
            for b in range(3):
                for regrets, bound in zip(run.regrets_at(game, mark, b), bounds, strict=True):
                    slack = bound[b] - regrets.max(axis=1)
                    assert (slack >= -1e-9).all()
                    tightest = min(tightest, float(slack.min()))
    assert tightest < 0.5  # the bound says something


def test_expected_runs_match_a_plain_loop() -> None:
    for n in (1, 2, 3):
        game = correlated(n, n, 2, 2)
        run = run_learners(game, MultiplicativeWeights(0.2), 30, types="expected", opponents="expected")
        eta = math.log1p(0.2)
        totals = [np.zeros(mask.shape) for mask in game.feasible]
        for t in range(30):
            x = [np.exp(eta * c) / np.exp(eta * c).sum(axis=1, keepdims=True) for c in totals]
            assert all(np.allclose(run.strategies[i][0, t], x[i]) for i in range(n))
            for i in range(n):
                gain = np.zeros_like(totals[i])
                for types in np.ndindex(*game.type_shape):
                    for actions in np.ndindex(*game.action_shape):
                        weight = game.conditional(i)[types]
                        for j in range(n):
                            weight *= 1.0 if j == i else x[j][types[j], actions[j]]
                        gain[types[i], actions[i]] += weight * game.payoffs[i][(*types, *actions)]
                totals[i] += gain
        assert all((u == 30).all() for u in run.updates)


def test_expected_types_against_sampled_actions_average_out() -> None:
    game = correlated(5)
    fixed = MultiplicativeWeights(1e-9)  # a learner that hardly moves, so that totals are sums of independent draws
    run = run_learners(game, fixed, 4000, types="expected", opponents="sampled", rng_seed=3)
    exact = run_learners(game, fixed, 4000, types="expected", opponents="expected")
    for a, b in zip(run.last, exact.last, strict=True):
        assert (np.log(a) - np.log(b)) / 4e-6 == pytest.approx(0.0, abs=0.05)


def test_masks_ties_and_readouts() -> None:
    payoff = np.array([[[0.25, 0.5, 0.5, 0.75]], [[0.5, 0.5, 0.25, 0.0]]]).reshape(2, 4)
    mask = np.array([[True, True, True, False], [True, True, True, True]])
    game = BayesianGame(np.array([1, 1]), [payoff], feasible=[mask])
    run = run_learners(game, MultiplicativeWeights(0.1), 500, seeds=2)
    assert (run.strategies[0][:, :, 0, 3] == 0).all()
    assert run.leading[0].tolist() == [[1, 0], [1, 0]]
    assert (run.last[0][:, 0, 1] == run.last[0][:, 0, 2]).all()
    assert run.readout("argmax", 1).strategies[0].tolist() == [[[0, 1, 0, 0], [1, 0, 0, 0]]]
    assert run.readout("last").conditional(game) == pytest.approx(run.last[0][0])
    average = run.strategies[0][0].mean(axis=0)
    assert run.readout("empirical").conditional(game) == pytest.approx(average)
    bound = regret_bound(
        game, MultiplicativeWeights(0.1), 500, delta=0.01, updates=[run.updates[0][0]], types="sampled"
    )
    assert bound[0].shape == (2,) and (bound[0] > 0).all()


def test_impossible_types_and_single_actions() -> None:
    payoffs = [np.arange(4.0).reshape(2, 1, 2, 1), np.zeros((2, 1, 2, 1))]
    game = BayesianGame(np.array([[1.0], [0.0]]), payoffs)
    for types in ("sampled", "expected"):
        for rate in ("fixed", "tuned", "anytime"):
            learner = MultiplicativeWeights(0.1, rate)
            run = run_learners(game, learner, 50, types=types, opponents=types)
            assert run.last[0][0, 1].tolist() == [0.5, 0.5] and run.updates[0].tolist() == [[50, 0]]
            bounds = regret_bound(game, learner, 50, delta=0.1, updates=run.updates, types=types)
            assert np.isinf(bounds[0][0, 1]) and bounds[1].tolist() == [[0.0]]


def test_bad_options() -> None:
    game = correlated(0)
    learner = MultiplicativeWeights()
    with pytest.raises(UsageError, match="rate"):
        MultiplicativeWeights(0.1, "slow")
    with pytest.raises(UsageError, match="positive"):
        MultiplicativeWeights(0.0)
    with pytest.raises(UsageError, match="sampled or expected"):
        run_learners(game, learner, 10, types="drawn")
    with pytest.raises(UsageError, match="at least one"):
        run_learners(game, learner, 0)
    with pytest.raises(UsageError, match="from 1 to 10"):
        run_learners(game, learner, 10, checkpoints=(11,))
    with pytest.raises(BudgetError, match="GiB"):
        run_learners(game, learner, 10**8)
    run = run_learners(game, learner, 10, keep=False)
    with pytest.raises(UsageError, match="keep=True"):
        run.readout("empirical")
    with pytest.raises(UsageError, match="readout"):
        run.readout("final")
    with pytest.raises(UsageError, match="checkpoints"):
        run.regrets_at(game, 10)
    with pytest.raises(UsageError, match="log"):
        run_learners(game, learner, 10, types="expected").log()
    with pytest.raises(UsageError, match="probability"):
        regret_bound(game, learner, 10, delta=0.0, updates=run.updates, types="sampled")


def test_draws_of_more_actions_than_are_kept_are_refused():
    game = BayesianGame(np.ones(1), [np.zeros((1, (1 << 15) + 1))])
    with pytest.raises(BudgetError, match="at most 32768 types or actions"):
        run_learners(game, MultiplicativeWeights(), 2)
    assert run_learners(game, MultiplicativeWeights(), 2, draws=False).types is None
