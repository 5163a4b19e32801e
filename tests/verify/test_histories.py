"""Exact regrets of a log from its counts agree with the kernel's round by round, at any size and in any chunks."""

from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spverify.verify import histories
from spverify.verify.errors import BudgetError, PlayError
from spverify.verify.game import BayesianGame
from spverify.verify.histories import History, gain_sums, history_regrets, history_value
from spverify.verify.kernel import exact_regrets, exact_value, objective_tensor
from spverify.verify.play import PlayLog, exact
from spverify.verify.regret import assess
from spverify.verify.testing import games


def random_log(game, rounds, seed):
    """Types from the prior, feasible actions at random."""
    rng = np.random.default_rng(seed)
    flat = rng.choice(game.prior.size, size=rounds, p=game.prior.ravel())
    types = np.stack(np.unravel_index(flat, game.type_shape), axis=1)
    actions = np.empty_like(types)
    for i, mask in enumerate(game.feasible):
        chance = mask / mask.sum(axis=1, keepdims=True)
        actions[:, i] = (chance.cumsum(axis=1)[types[:, i]] <= rng.random(rounds)[:, None]).sum(axis=1)
    return PlayLog(types, actions)


@given(game=games(max_cells=200), rounds=st.integers(1, 40), seed=st.integers(0, 99))
def test_regrets_and_value_are_the_kernels(game, rounds, seed):
    log = random_log(game, rounds, seed)
    history, plain = History.of(game, log), exact(log, game)
    assert history_regrets(game, history) == exact_regrets(game.plain, plain)
    welfare = objective_tensor(game.plain, "welfare")
    assert history_value(history, welfare) == exact_value(game.plain, plain, welfare)
    assert history.rounds == rounds


def test_large_rationals_stay_exact():
    """Numerators of hundreds of bits are summed in digits; the kernel's integers say the same."""
    rng = np.random.default_rng(0)
    wild = lambda: Fraction(int(rng.integers(-(10**15), 10**15)) ** 9, 3**150)  # noqa: E731
    payoffs = [[[[[wild() for _ in range(3)] for _ in range(2)]]] for _ in range(2)]
    game = BayesianGame([[1]], payoffs)
    log = random_log(game, 5000, 1)
    assert history_regrets(game, History.of(game, log)) == exact_regrets(game.plain, exact(log, game))


@given(cuts=st.lists(st.integers(0, 700), max_size=6), seed=st.integers(0, 20))
def test_chunks_do_not_matter(cuts, seed):
    game = BayesianGame(np.ones((2, 3)) / 6, [np.ones((1,) * 4), np.random.default_rng(1).random((2, 3, 2, 4))])
    log = random_log(game, 700, seed)
    whole = History.of(game, log)
    edges = sorted({0, 700, *cuts})
    parts = [(log.types[a:b], log.actions[a:b]) for a, b in pairwise(edges)]
    chunked = History.stream(game, parts)
    for one, two in zip(whole.blocks, chunked.blocks, strict=True):
        assert one.cells.tolist() == two.cells.tolist()
        assert one.times.tolist() == two.times.tolist()
    assert [block.rounds for block in whole.blocks] == [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 188]


def test_sparse_counting_is_dense_counting(monkeypatch):
    game = BayesianGame(np.ones((2, 2)) / 4, [np.random.default_rng(i).random((2, 2, 3, 3)) for i in range(2)])
    log = random_log(game, 3000, 0)
    dense = History.of(game, log)
    regrets = history_regrets(game, dense)
    for most, chunk in ((0, 1 << 16), (1 << 22, 4)):  # sorted throughout; sorted while rounds are few, then a table
        monkeypatch.setattr(histories, "MAX_DENSE_CELLS", most)
        monkeypatch.setattr(histories, "CHUNK_ROUNDS", chunk)
        sparse = History.of(game, log)
        for one, two in zip(dense.blocks, sparse.blocks, strict=True):
            assert one.cells.tolist() == two.cells.tolist() and one.times.tolist() == two.times.tolist()
        assert history_regrets(game, sparse) == regrets


def test_gain_sums_are_sums_over_rounds():
    """Also with small gains among large payoffs, where squares of payoffs would lose them."""
    rng = np.random.default_rng(3)
    game = BayesianGame(np.ones((2, 2)) / 4, [1e6 + 1e-3 * rng.random((2, 2, 3, 2)), rng.random((2, 2, 3, 2))])
    log = random_log(game, 500, 0)
    for i, payoff in enumerate(game.payoffs):
        sums, squares = gain_sums(game, History.of(game, log).total, i)
        for t in range(2):
            for a in range(game.action_shape[i]):
                x = []
                for types, actions in zip(log.types.tolist(), log.actions.tolist(), strict=True):
                    moved = [a if j == i else b for j, b in enumerate(actions)]
                    x.append((payoff[(*types, *moved)] - payoff[(*types, *actions)]) * (types[i] == t))
                assert sums[t, a] == pytest.approx(np.sum(x), rel=1e-6, abs=1e-9)
                assert squares[t, a] == pytest.approx(np.sum(np.square(x)), rel=1e-6, abs=1e-15)


def test_ten_players_need_no_table_of_cells():
    """4^20 joint cells, but a log visits few of them."""
    own = [np.arange(4.0).reshape([4 if k == 10 + i else 1 for k in range(20)]) for i in range(10)]
    game = BayesianGame(np.full((4,) * 10, 4.0**-10), own)
    log = PlayLog(np.zeros((3, 10), int), np.zeros((3, 10), int))
    history = History.of(game, log)
    assert history_regrets(game, history)[3][0] == [0, 1, 2, 3]
    assert history_regrets(game, history)[3][1] == [None] * 4
    assert assess(game, history).gap_exact == 3


def test_what_does_not_fit_is_refused_with_its_round():
    game = BayesianGame(
        [["1/2", "1/2"], [0, 0]], [[[[[0, 1]]]], [[[[0]]]]], feasible=[[[True], [True]], [[True, False], [True, True]]]
    )
    fine = [[0, 0]] * 20
    cases = {
        "rounds[20][0][1]: expected a type index from 0 to 1, got 2": ([0, 2], [0, 0]),
        "rounds[20][0][0]: expected a type index from 0 to 1, got -1": ([-1, 0], [0, 0]),
        "rounds[20][1][1]: expected an action index from 0 to 1, got 7": ([0, 0], [0, 7]),
        "rounds[20][1][1]: action 1 is not feasible for type 0 of player 1": ([0, 0], [0, 1]),
        "rounds[20]: these types have probability 0 under the prior": ([1, 0], [0, 0]),
    }
    for message, (types, actions) in cases.items():
        with pytest.raises(PlayError) as caught:
            History.of(game, PlayLog([*fine, types, types], [*fine, actions, actions]))
        assert str(caught.value) == message
    with pytest.raises(PlayError, match="non-empty"):
        History.stream(game, [])
    with pytest.raises(PlayError, match="2 types and 2 actions"):
        History.of(game, PlayLog([[0]], [[0]]))


def test_too_many_cells_are_said_to_be():
    wide = SimpleNamespace(shape=(2,) * 64, n_players=32)
    with pytest.raises(BudgetError, match="2\\^62"):
        History.stream(wide, [])


def test_a_log_and_its_counts_are_assessed_alike():
    game = BayesianGame([1], [[[0, 1]]], leader=[["1/3", 2]])
    log = PlayLog([[0]] * 3, [[0], [1], [0]])
    one, two = assess(game, log), assess(game, History.of(game, log))
    assert (one.gap_exact, one.leader_value_exact) == (Fraction(2, 3), Fraction(8, 9))
    assert (two.gap_exact, two.leader_value_exact) == (one.gap_exact, one.leader_value_exact)
    assert (one.equilibrium_set, one.nashconv, one.largest_change) == ("tc", None, 0)
