"""Every rule against a plain loop, compiled against plain, bounds of theory T7, and the paper's theorem."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.learners import (
    LEARNERS,
    Exp3,
    FictitiousPlay,
    FollowThePerturbedLeader,
    IteratedBestResponse,
    Learner,
    MultiplicativeWeights,
    OptimisticHedge,
    RegretMatching,
    RegretMatchingPlus,
    regret_bound,
    run_games,
    run_learners,
)
from spverify.verify.errors import BudgetError, UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.regret import assess, interim_regrets

RULES: list[Learner] = [
    MultiplicativeWeights(0.1, payoff_scale=9.0),
    MultiplicativeWeights(rate="tuned"),
    MultiplicativeWeights(rate="anytime"),
    OptimisticHedge(0.2, payoff_scale=5.0),
    OptimisticHedge(rate="tuned"),
    RegretMatching(payoff_scale=3.0),
    RegretMatchingPlus(),
    Exp3(0.05, payoff_scale=15.0),
    Exp3(rate="tuned", payoff_scale=15.0),
    Exp3(rate="anytime", payoff_scale=15.0),
    FollowThePerturbedLeader(0.3, payoff_scale=2.0),
    FollowThePerturbedLeader(rate="anytime"),
    FictitiousPlay(payoff_scale=7.0),
    IteratedBestResponse(),
]
IDS = [f"{rule.name}-{getattr(rule, 'rate', 'none')}" for rule in RULES]


def plain_loop(game: BayesianGame, rule: Learner, rounds: int, rng_seed: int, seed: int) -> tuple[Any, Any]:
    """The rules written out one copy at a time, lists of floats: what each says in the literature."""
    rng = np.random.default_rng([rng_seed, seed])
    extra = np.random.default_rng([rng_seed, seed, 0x6E6F697365])
    n, scale = game.n_players, rule.payoff_scale
    sizes = list(zip(game.type_shape, game.action_shape, strict=True))
    payoffs = [np.broadcast_to(u, game.shape) for u in game.payoffs]
    largest = []
    for u in payoffs:
        cells = np.broadcast_to(game.feasible_cells, game.shape)
        largest.append(u[cells].max() / scale)
    total = [[[0.0] * a for _ in range(t)] for t, a in sizes]
    latest = [[[0.0] * a for _ in range(t)] for t, a in sizes]
    visits = [[0] * t for t, _ in sizes]

    def eta(i: int, t: int, k: int) -> float:
        rate, horizon = getattr(rule, "rate", "none"), max(1.0, game.marginal(i)[t] * rounds)
        if rate == "fixed":
            return math.log1p(rule.epsilon)
        now = visits[i][t] + 1
        return {
            ("mw", "tuned"): math.sqrt(8 * math.log(k) / horizon),
            ("mw", "anytime"): 2 * math.sqrt(math.log(k) / now),
            ("ftpl", "anytime"): 2 * math.sqrt(math.log(k) / now),
            ("optimistic", "tuned"): math.sqrt(math.log(k) / horizon),
            ("exp3", "tuned"): math.sqrt(2 * math.log(k) / (k * horizon)),
            ("exp3", "anytime"): math.sqrt(math.log(k) / (k * now)),
        }[rule.name, rate]

    def strategy(i: int, t: int, noise: Any) -> list[float]:
        allowed = [a for a in range(sizes[i][1]) if game.feasible[i][t][a]]
        out = [0.0] * sizes[i][1]
        z = {a: total[i][t][a] for a in allowed}
        if rule.name in ("rm", "rm+"):
            positive = sum(max(z[a], 0.0) for a in allowed)
            for a in allowed:
                out[a] = max(z[a], 0.0) / positive if positive > 0 else 1 / len(allowed)
            return out
        if rule.name == "ibr":
            z = {a: latest[i][t][a] for a in allowed}
        if rule.name in ("fp", "ibr"):
            out[max(allowed, key=lambda a: (z[a], -a))] = 1.0
            return out
        rate = eta(i, t, max(2, len(allowed)))
        if rule.name == "optimistic":
            z = {a: z[a] + latest[i][t][a] for a in allowed}
        if rule.name == "ftpl":
            z = {a: rate * z[a] - math.log(-math.log(noise[a])) for a in allowed}
            out[max(allowed, key=lambda a: (z[a], -a))] = 1.0
            return out
        top = max(z.values())
        weights = {a: math.exp(rate * (z[a] - top)) for a in allowed}
        for a in allowed:
            out[a] = weights[a] / sum(weights.values())
        return out

    now = []
    for i, (t_count, a_count) in enumerate(sizes):
        noise = extra.random((t_count, a_count)) if rule.noisy else [None] * t_count
        now.append([strategy(i, t, noise[t]) for t in range(t_count)])
    cumulative = np.cumsum(game.prior.ravel())
    used, log = [], []
    for _ in range(rounds):
        used.append([[list(row) for row in x] for x in now])
        flat = int(np.searchsorted(cumulative, rng.random(), side="right"))
        types = [int(t) for t in np.unravel_index(min(flat, game.prior.size - 1), game.type_shape)]
        numbers = rng.random(n)
        actions = []
        for i, t in enumerate(types):
            a = int(np.searchsorted(np.cumsum(now[i][t]), numbers[i], side="right"))
            actions.append(min(a, int(np.flatnonzero(game.feasible[i][t])[-1])))
        log.append([types, actions])
        noises = extra.random(sum(a for _, a in sizes)) if rule.noisy else None
        for i, t in enumerate(types):
            row = []
            for a in range(sizes[i][1]):
                moved = [*actions[:i], a, *actions[i + 1 :]]
                row.append(float(payoffs[i][(*types, *moved)]) / scale)
            mine, visits[i][t] = actions[i], visits[i][t] + 1
            mean = sum(x * u for x, u in zip(now[i][t], row, strict=True))
            for a in range(sizes[i][1]):
                if rule.name == "exp3":
                    total[i][t][a] -= (largest[i] - row[a]) / now[i][t][a] if a == mine else 0.0
                elif rule.name in ("rm", "rm+"):
                    total[i][t][a] += row[a] - mean
                    if rule.name == "rm+":
                        total[i][t][a] = max(0.0, total[i][t][a])
                else:
                    total[i][t][a] += row[a]
                latest[i][t][a] = row[a]
        for i, t in enumerate(types):
            start = sum(a for _, a in sizes[:i])
            now[i][t] = strategy(i, t, None if noises is None else noises[start : start + sizes[i][1]])
    return used, log


@pytest.mark.parametrize("rule", RULES, ids=IDS)
@settings(max_examples=6)
@given(data=st.data())
def test_sampled_runs_match_a_plain_loop_in_both_paths(rule: Learner, data: Any, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    runs = [run_learners(game, rule, 30, seeds=2, rng_seed=5, compiled=compiled) for compiled in (True, False)]
    for seed in range(2):
        used, log = plain_loop(game, rule, 30, 5, seed)
        for run in runs:
            for i, x in enumerate(run.strategies):
                assert x[seed] == pytest.approx(np.array([snapshot[i] for snapshot in used]), abs=1e-9)
            assert run.log(seed).types.tolist() == [round_[0] for round_ in log]
            assert run.log(seed).actions.tolist() == [round_[1] for round_ in log]
    for one, two in zip(runs[0].leading, runs[1].leading, strict=True):
        assert one.tolist() == two.tolist()


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_compiled_and_plain_give_the_same_numbers(rule: Learner) -> None:
    """Long enough that a drift between the two would show, over chunk borders and checkpoints, on two threads."""
    game = correlated(3, 3, 2, 3)
    options = {"seeds": 3, "rng_seed": 11, "checkpoints": (37, 2000)}
    fast = run_learners(game, rule, 2000, compiled=True, threads=2, **options)
    slow = run_learners(game, rule, 2000, compiled=False, **options)
    np.testing.assert_array_equal(fast.types, slow.types)
    np.testing.assert_array_equal(fast.actions, slow.actions)
    for one, two in ((fast.strategies, slow.strategies), (fast.last, slow.last), (fast.updates, slow.updates)):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-10)
    for mark in (37, 2000):
        np.testing.assert_allclose(fast.averages[mark], slow.averages[mark], atol=1e-10)


def correlated(seed: int, n: int = 2, types: int = 2, actions: int = 3) -> BayesianGame:
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(types**n, 0.5)).reshape((types,) * n)
    shape = (types,) * n + (actions,) * n
    return BayesianGame(prior / prior.sum(), [rng.random(shape) for _ in range(n)])


@pytest.mark.parametrize("rule", [RULES[0], RULES[10]], ids=["mw", "ftpl"])
@pytest.mark.parametrize("compiled", [True, False])
def test_many_games_at_once_are_the_games_one_by_one(rule: Learner, compiled: bool) -> None:
    games = [correlated(k) for k in range(4)]
    together = run_games(
        games, rule, 60, seeds=3, rng_seed=2, checkpoints=(60,), keep=True, compiled=compiled, threads=0
    )
    for k, game in enumerate(games):
        alone = run_learners(game, rule, 60, seeds=3, rng_seed=[2, k], checkpoints=(60,))
        for a, b in zip(together.strategies, alone.strategies, strict=True):
            np.testing.assert_allclose(a[3 * k : 3 * k + 3], b, atol=1e-12)
        np.testing.assert_allclose(together.averages[60][3 * k : 3 * k + 3], alone.averages[60], atol=1e-12)
        assert together.updates[0][3 * k].tolist() == alone.updates[0][0].tolist()


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_what_a_game_gets_does_not_depend_on_the_games_beside_it(rule: Learner) -> None:
    """To the last digit, though the second game's payoffs are too large for factors; payoffs broadcast, types miss."""
    rng = np.random.default_rng(3)
    prior = np.array([[0.5, 0.0, 0.25], [0.25, 0.0, 0.0]])
    masks = [np.array([[1, 1, 0], [0, 1, 1]], dtype=bool), np.array([[1, 1], [0, 1], [1, 1]], dtype=bool)]
    games = [
        BayesianGame(prior, [k * rng.random((2, 3, 3, 2)), k * rng.random((1, 3, 1, 2))], feasible=masks)
        for k in (1.0, 200.0, 1.0)
    ]
    together = run_games(games, rule, 300, seeds=2, compiled=True, keep=True, threads=2)
    for k, game in enumerate(games):
        alone = run_learners(game, rule, 300, seeds=2, rng_seed=[0, k], compiled=True)
        for a, b in zip(together.strategies, alone.strategies, strict=True):
            np.testing.assert_array_equal(a[2 * k : 2 * k + 2], b)
        np.testing.assert_array_equal(together.actions[2 * k : 2 * k + 2], alone.actions)


# ---------------------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "rule", [OptimisticHedge(), OptimisticHedge(rate="tuned"), RegretMatching(), RegretMatchingPlus()]
)
@pytest.mark.parametrize("mode", [("sampled", "sampled"), ("sampled", "expected"), ("expected", "expected")])
def test_regret_stays_below_its_bound(rule: Learner, mode: tuple[str, str]) -> None:
    """Theory T7 at two checkpoints; delta = 1e-6 over all rows of a run leaves no room for a violation."""
    marks, tightest = (100, 800), np.inf
    for seed in range(4):
        game = correlated(seed, *((2, 2, 3), (3, 2, 2))[seed % 2])
        run = run_learners(game, rule, 800, seeds=3, types=mode[0], opponents=mode[1], checkpoints=marks)
        for mark in marks:
            options = {"types": mode[0], "opponents": mode[1], "checkpoints": 2, "horizon": 800}
            bounds = regret_bound(game, rule, mark, delta=1e-6, updates=run.updates_at[mark], **options)
            for b in range(3):
                for regrets, bound in zip(run.regrets_at(game, mark, b), bounds, strict=True):
                    slack = bound[b] - regrets.max(axis=1)
                    assert (slack >= -1e-9).all()
                    tightest = min(tightest, float(slack.min()))
    assert tightest < 0.7


@pytest.mark.parametrize("rule", [Exp3(), Exp3(rate="tuned"), Exp3(rate="anytime"), FollowThePerturbedLeader()])
def test_bounds_in_expectation_hold_for_the_mean_over_runs(rule: Learner) -> None:
    """A copy against an opponent of fixed habits: 400 runs, mean regret of each row, 5 standard errors of room."""
    habit = np.array([[0.0, 1.0], [0.0, 1.0]])  # player 1 gains nothing else from its actions
    u = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.4]])
    game = BayesianGame(np.array([[0.3, 0.2], [0.1, 0.4]]), [u.reshape(1, 1, 3, 2), habit.reshape(1, 2, 1, 2)])
    run = run_learners(game, rule, 600, seeds=400, checkpoints=(600,), keep=False)
    bounds = regret_bound(game, rule, 600, delta=0.5, updates=run.updates, types="sampled")
    found = [run.regrets_at(game, 600, b) for b in range(400)]
    for i in range(2):
        rows = np.array([regrets[i] for regrets in found])
        slack = bounds[i][0][:, None] - rows.mean(axis=0) + 5 * rows.std(axis=0) / 20
        assert (slack > 0).all()


def test_perturbed_leader_draws_as_hedge_mixes() -> None:
    """Gumbel noise gives the leader the odds of exponential weights: 4 standard deviations of 20,000 draws."""
    game = BayesianGame([1.0], [np.array([[0.0, 0.5, 1.0]])])
    noisy = run_learners(game, FollowThePerturbedLeader(0.5), 3, seeds=20_000)
    mixed = run_learners(game, MultiplicativeWeights(0.5), 3)
    np.testing.assert_allclose(noisy.strategies[0].mean(axis=0), mixed.strategies[0][0], atol=0.015)


def test_rules_that_the_theory_says_nothing_about() -> None:
    game = correlated(0)
    updates = [np.ones(2), np.ones(2)]
    for rule in (FictitiousPlay(), IteratedBestResponse()):
        with pytest.raises(UsageError, match="no bound"):
            regret_bound(game, rule, 10, delta=0.1, updates=updates, types="sampled")


def test_options_that_make_no_sense() -> None:
    game = correlated(0)
    for mode in ({"types": "expected"}, {"opponents": "expected"}):
        with pytest.raises(UsageError, match="must be sampled"):
            run_learners(game, Exp3(), 10, **mode)
    with pytest.raises(UsageError, match="one shape"):
        run_games([game, correlated(0, 2, 2, 2)], MultiplicativeWeights(), 10)
    with pytest.raises(UsageError, match="at least one game"):
        run_games([], MultiplicativeWeights(), 10)
    with pytest.raises(UsageError, match="fixed or tuned"):
        OptimisticHedge(rate="anytime")
    with pytest.raises(UsageError, match="positive"):
        RegretMatching(payoff_scale=0.0)
    assert set(LEARNERS) == {"mw", "optimistic", "rm", "rm+", "exp3", "ftpl", "fp", "ibr"}
    assert sorted(rule.code for rule in LEARNERS.values()) == list(range(8))


@pytest.mark.parametrize("rule", [OptimisticHedge(), RegretMatching(), RegretMatchingPlus(), FictitiousPlay()])
def test_expected_dynamics_solve_a_game_with_a_dominant_action(rule: Learner) -> None:
    game = BayesianGame(np.eye(2) / 2, [np.array([0.0, 1.0, 0.5]).reshape(1, 1, 3, 1), np.zeros((1, 1, 1, 1))])
    run = run_learners(game, rule, 300, types="expected", opponents="expected")
    assert run.leading[0].tolist() == [[1, 1]]
    assert (run.last[0][0, :, 1] > 0.99).all()


# ---------------------------------------------------------------------------------------- the paper's theorem


@pytest.mark.parametrize("shape", [(2, 2, 3), (3, 2, 2), (2, 3, 2)], ids=str)
def test_average_play_of_mw_with_correlated_types_is_an_equilibrium_within_the_bound(
    shape: tuple[int, int, int],
) -> None:
    """400 random correlated games a shape, 1,200 runs in all; all rows and checkpoints of all runs fail with
    probability below 1e-6."""
    games = [correlated(1000 * shape[0] + k, *shape) for k in range(400)]
    rule, marks = MultiplicativeWeights(0.1), (50, 200, 1000)
    run = run_games(games, rule, marks[-1], rng_seed=9, checkpoints=marks)
    for k, game in enumerate(games):
        for mark in marks:
            updates = [counts[k] for counts in run.updates_at[mark]]
            bounds = regret_bound(game, rule, mark, delta=1e-6 / 1200, updates=updates, types="sampled", checkpoints=3)
            for regrets, bound in zip(run.regrets_at(game, mark, k), bounds, strict=True):
                assert (regrets.max(axis=1) <= bound + 1e-9).all()


def test_learning_from_marginals_instead_of_the_conditional_prior_is_refuted() -> None:
    """p = diag(1/2, 1/2); player 1 plays its type; player 0 earns 1.2 at (0, 0) and 1 at (1, 1)."""
    payoffs = [np.diag([1.2, 1.0]).reshape(1, 1, 2, 2), np.eye(2).reshape(1, 2, 1, 2)]
    game = BayesianGame(np.eye(2) / 2, payoffs)
    wrong = BayesianGame(np.full((2, 2), 0.25), payoffs)  # the product of the marginals
    rule = MultiplicativeWeights(0.1)
    for opponents in ("expected", "sampled"):
        for types in ("expected", "sampled"):
            right_play = run_learners(game, rule, 6000, types=types, opponents=opponents).readout("empirical")
            regrets = interim_regrets(game, right_play.conditional(game))
            assert max(float(r.max()) for r in regrets) < 0.03
        wrong_play = run_learners(wrong, rule, 6000, types="expected", opponents=opponents).readout("empirical")
        regrets = interim_regrets(game, wrong_play.conditional(game))
        assert max(float(r.max()) for r in regrets) > 0.9
    short = run_learners(wrong, rule, 400, types="expected", opponents="expected")
    assert assess(game, short.readout("argmax")).gap_exact == 1


# ---------------------------------------------------------------------------------------- weights by factors


@pytest.mark.parametrize("rule", [MultiplicativeWeights(0.9), OptimisticHedge(0.9), Exp3(0.3)])
def test_long_compiled_runs_keep_to_the_numbers_of_the_plain_path(rule: Learner) -> None:
    """Weights far apart, out of a double's range and back again: player 1 plays a long cycle of its own."""
    u = np.array([[1.0, 0.0], [0.0, 1.0], [0.4, 0.4]])
    habit = np.array([[0.0, 1e-4], [1e-4, 0.0], [0.0, 0.0]])
    game = BayesianGame(np.eye(1), [u.reshape(1, 1, 3, 2), habit.reshape(1, 1, 3, 2)])
    fast, plain = (run_learners(game, rule, 3000, seeds=2, compiled=how) for how in (True, False))
    for a, b in zip(fast.strategies, plain.strategies, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    np.testing.assert_array_equal(fast.actions, plain.actions)


def test_weights_come_back_from_nothing() -> None:
    """One action is behind by far more than a double can say, then earns its way back to the front."""
    early = run_learners(BayesianGame([1.0], [np.array([[1.0, 0.0]])]), MultiplicativeWeights(0.9), 3000, compiled=True)
    assert early.last[0][0, 0, 1] == 0.0
    assert early.leading[0].tolist() == [[0]]


def test_rates_that_leave_no_room_for_factors_are_played_from_totals() -> None:
    """Payoffs far beyond their scale, and tuned rates that differ by type where payoffs do not."""
    big = BayesianGame([1.0], [np.array([[1e6, 1e6 + 1, 1e6 - 400.0]])])
    for compiled in (True, False):
        run = run_learners(big, MultiplicativeWeights(0.5), 50, compiled=compiled)
        np.testing.assert_allclose(
            run.last[0][0, 0], np.exp(np.log(1.5) * 50 * np.array([-1.0, 0.0, -401.0])), atol=1e-6
        )
    u = np.random.default_rng(0).random((1, 1, 2, 3))
    game = BayesianGame(np.array([[0.1], [0.9]]), [u, u])
    fast, plain = (run_learners(game, MultiplicativeWeights(rate="tuned"), 400, compiled=how) for how in (True, False))
    for a, b in zip(fast.strategies, plain.strategies, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_draws_are_kept_where_asked_for() -> None:
    game = correlated(0)
    for compiled in (True, False):
        bare = run_learners(game, RegretMatching(), 30, keep=False, compiled=compiled)
        drawn = run_learners(game, RegretMatching(), 30, keep=False, draws=True, compiled=compiled)
        whole = run_learners(game, RegretMatching(), 30, compiled=compiled)
        assert bare.types is None and bare.strategies is None and drawn.strategies is None
        np.testing.assert_array_equal(drawn.actions, whole.actions)
        np.testing.assert_allclose(bare.last[0], whole.last[0])
        with pytest.raises(UsageError, match="has a log"):
            bare.log()
    with pytest.raises(BudgetError, match="GiB"):
        run_learners(game, RegretMatching(), 10**9, keep=False, draws=True)
