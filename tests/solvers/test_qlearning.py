"""Q-learners: the compiled path against numpy and against a loop written here, and what they settle on."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from spverify.solvers.qlearning import BatchDynamics, QLearning, frozen_values, run_qlearning, run_seeds, uniforms
from spverify.solvers.qlearning import _keys as keys_of
from spverify.trained_leaders.settings.dynamic import as_batch
from spverify.verify.dynamic import DynamicGame
from spverify.verify.errors import UsageError


def random_games(rng: np.random.Generator, rounds: int | None, actions: tuple[int, ...] = (3, 2)) -> BatchDynamics:
    size, states, joint = 4, 5, int(np.prod(actions))
    return BatchDynamics(
        successor=rng.integers(states, size=(size, states, joint)),
        payoffs=rng.normal(size=(size, len(actions), states, joint)),
        leader=rng.normal(size=(size, states, joint)),
        actions=actions,
        start=np.array([0.5, 0.5, 0, 0, 0]),
        rounds=rounds,
    )


LEARNER = QLearning(rate=0.25, discount=0.9, exploration=0.8, decay=1e-2)
EPISODES = QLearning(rate=0.1, discount=1.0, exploration=0.3, decay=1e-3, initial="zero")


@pytest.mark.parametrize(("learner", "rounds"), [(LEARNER, None), (EPISODES, 4)])
def test_compiled_and_numpy_find_the_same(learner: QLearning, rounds: int | None) -> None:
    games = random_games(np.random.default_rng(0), rounds)
    game_of, seeds = np.repeat(np.arange(4), 3), np.tile(run_seeds(7, 3), 4)
    fast, slow = (
        run_qlearning(games, learner, [50, 400], game_of=game_of, seeds=seeds, compiled=compiled)
        for compiled in (True, False)
    )
    for one, two in zip(fast, slow, strict=True):
        assert one.periods == two.periods
        for field in ("greedy", "state", "changed"):
            assert np.array_equal(getattr(one, field), getattr(two, field)), field
        np.testing.assert_allclose(one.earned, two.earned, rtol=1e-9)


@pytest.mark.parametrize(("learner", "rounds"), [(LEARNER, None), (EPISODES, 4)])
def test_a_plain_loop_with_the_same_random_numbers(learner: QLearning, rounds: int | None) -> None:
    games = random_games(np.random.default_rng(1), rounds)
    seeds = run_seeds(3, 1)
    (found,) = run_qlearning(games, learner, [300], game_of=np.array([2]), seeds=seeds)

    def draw(number: int) -> float:
        return float(uniforms(keys_of(seeds), number)[0])

    q = [[[float(x) for x in row] for row in own] for own in games.first_values(learner)[2]]
    start = state = int(draw(0) >= 0.5)
    changed, earned = [0, 0], 0.0
    for t in range(300):
        chance = learner.exploration * float(np.exp(-learner.decay * t))
        before = [max(range(w), key=lambda a, i=i: q[i][state][a]) for i, w in enumerate(games.actions)]
        acts = []
        for i, width in enumerate(games.actions):
            u = draw(1 + 2 * t + i)
            acts.append(int(u / chance * width) if u < chance else before[i])
        joint = acts[0] * 2 + acts[1]
        after, last = int(games.successor[2, state, joint]), rounds is not None and (t + 1) % rounds == 0
        earned += games.leader[2, state, joint]
        for i, width in enumerate(games.actions):
            later = 0.0 if last else learner.discount * max(q[i][after][:width])
            q[i][state][acts[i]] += learner.rate * (games.payoffs[2, i, state, joint] + later - q[i][state][acts[i]])
            if max(range(width), key=lambda a, i=i: q[i][state][a]) != before[i]:
                changed[i] = t + 1
        state = start if last else after
    greedy = [[max(range(w), key=lambda a, i=i, s=s: q[i][s][a]) for s in range(5)] for i, w in enumerate((3, 2))]
    assert found.greedy[0].tolist() == greedy and found.changed[0].tolist() == changed and found.state[0] == state
    assert found.earned[0] == pytest.approx(earned / 300)


def test_one_run_serves_all_horizons_and_equal_seeds_meet_equal_numbers() -> None:
    games = random_games(np.random.default_rng(2), None)
    seeds = np.array([5, 5, 6], dtype=np.uint64)
    both = run_qlearning(games, LEARNER, [100, 300], game_of=np.array([1, 1, 1]), seeds=seeds)
    (long,) = run_qlearning(games, LEARNER, [300], game_of=np.array([1, 1, 1]), seeds=seeds)
    assert np.array_equal(both[1].greedy, long.greedy) and np.array_equal(both[1].changed, long.changed)
    assert np.array_equal(long.greedy[0], long.greedy[1]) and long.earned[0] == long.earned[1] != long.earned[2]


def test_a_lone_learner_finds_the_better_action_and_its_value() -> None:
    # One state, payoffs 0, 1 and 0.5 for ever: Q of the best action is 1 / (1 - 0.5) = 2.
    games = BatchDynamics(
        np.zeros((1, 1, 3), dtype=np.int64), np.array([[[[0.0, 1.0, 0.5]]]]), np.array([[[3.0, 5.0, 4.0]]]), (3,),
        np.ones(1),
    )  # fmt: skip
    learner = QLearning(rate=0.2, discount=0.5, exploration=1.0, decay=0.01)
    (found,) = run_qlearning(games, learner, [3000], game_of=np.zeros(20, dtype=int), seeds=np.arange(20))
    assert (found.greedy == 1).all() and (frozen_values(games, np.zeros(20, dtype=int), found) == 5).all()
    assert games.first_values(learner)[0, 0, 0].tolist() == [0.0, 2.0, 1.0]


@pytest.mark.parametrize("rounds", [None, 4])
def test_frozen_play_is_worth_what_the_exact_game_says(rounds: int | None) -> None:
    rng = np.random.default_rng(5)
    whole = rng.integers(-9, 10, size=(3, 5, 6))
    tables = [tuple(tuple(Fraction(int(v)) for v in row) for row in part) for part in whole]
    game = DynamicGame(
        players=("a", "b"),
        states=tuple("vwxyz"),
        actions=(tuple("abc"), tuple("de")),
        successor=tuple(tuple(row) for row in rng.integers(5, size=(5, 6)).tolist()),
        payoffs=((tables[0], tables[0]), (tables[1], tables[1])),
        leader=(tables[2], tables[2]),
        start=(Fraction(1), *[Fraction(0)] * 4),
        discount=Fraction(9, 10),
        rounds=rounds,
    )
    games = as_batch([game])
    learner = LEARNER if rounds is None else EPISODES
    (found,) = run_qlearning(games, learner, [200], game_of=np.zeros(30, dtype=int), seeds=np.arange(30))
    exact = []
    for b in range(30):
        policies = [(tuple(row),) for row in found.greedy[b].tolist()]
        exact.append(float(game.leader_value(policies, int(found.state[b]) if rounds is None else 0).low))
    np.testing.assert_allclose(frozen_values(games, np.zeros(30, dtype=int), found), exact)


def test_random_numbers_are_spread_evenly() -> None:
    keys = keys_of(run_seeds(0, 2000))
    draws = np.stack([uniforms(keys, k) for k in range(50)])
    assert draws.min() >= 0 and draws.max() < 1
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 0.25 and abs(draws.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 0.1
    assert np.abs(np.histogram(draws, 10, (0, 1))[0] / draws.size - 0.1).max() < 0.005


def test_refusals() -> None:
    games = random_games(np.random.default_rng(0), None)
    for kwargs, words in (
        ({"rate": 0.0}, "rate"),
        ({"discount": 1.5}, "discount"),
        ({"exploration": 2.0}, "exploration"),
        ({"decay": -1.0}, "decay"),
        ({"initial": "one"}, "initial"),
        ({"discount": 1.0}, "initial"),
    ):
        with pytest.raises(UsageError, match=words):
            QLearning(**{"rate": 0.1, "discount": 0.9} | kwargs)  # type: ignore[arg-type]
    for periods in ([], [0], [5, 5], [7, 3]):
        with pytest.raises(UsageError, match="ascending"):
            run_qlearning(games, LEARNER, periods, game_of=np.zeros(1, dtype=int), seeds=np.zeros(1))
    with pytest.raises(UsageError, match=r"0\.\.3"):
        run_qlearning(games, LEARNER, [5], game_of=np.array([4]), seeds=np.zeros(1))
    with pytest.raises(UsageError, match="next states"):
        BatchDynamics(games.successor[:, :, :2], games.payoffs, games.leader, games.actions, games.start)
    with pytest.raises(UsageError, match="payoffs"):
        BatchDynamics(games.successor, games.payoffs[:, :1], games.leader, games.actions, games.start)


def test_next_states_that_do_not_exist_are_refused():
    with pytest.raises(UsageError, match="next states from 0 to 1"):
        BatchDynamics(np.full((1, 2, 1), 2), np.zeros((1, 1, 2, 1)), np.zeros((1, 2, 1)), (1,), np.array([1.0, 0.0]))
