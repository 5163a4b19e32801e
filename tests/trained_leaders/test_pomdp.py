"""Theory T8: the Stackelberg POMDP's return is tabulate + learner + readout, computed by a learner in plain Python.

The oracle below shares nothing with the code under test but the tabulated game and the documented stream of random
numbers: weights are plain floats, sums are plain loops.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.trained_leaders.pomdp import RESPONSE, REWARD, StackelbergPOMDP
from spverify.trained_leaders.responses import gaps, horizon_steps, play_all_cells, robust_scores, values
from spverify.trained_leaders.settings import Followers, Setting, get_setting, table_rows
from spverify.trained_leaders.settings.prices import SequentialPrices
from spverify.verify.errors import SettingError
from spverify.verify.game import BayesianGame
from spverify.verify.play import ConditionalPlay
from spverify.verify.regret import assess, interim_regrets, objective_value

F = Fraction
READOUTS = ("empirical", "last", "argmax")


def one_buyer() -> SequentialPrices:
    """A seller facing one buyer with two messages: 3 prices at 2 observations, 9 tables in all."""
    return SequentialPrices("one", ((F(1, 2), F(1)),), (F(2, 3), F(1, 3)), prices=(F(1, 4), F(3, 4), F(1)))


def two_correlated_buyers() -> SequentialPrices:
    """Two buyers with correlated values and one message each: 6 x 3 x 3 tables."""
    weights = ((F(2, 5), F(1, 10)), (F(1, 10), F(2, 5)))
    own = (F(1, 4), F(1))
    return SequentialPrices("two", (own, own), weights, messages=1, prices=(F(1, 5), F(1, 2), F(1)))


def talking_correlated_buyers() -> SequentialPrices:
    """The same two buyers with two messages each; too many tables to enumerate, so some are drawn."""
    two = two_correlated_buyers()
    return SequentialPrices("talking", two.values, two.weights, messages=2, prices=two.prices)


def every_table(setting: Setting) -> np.ndarray:
    return np.array(list(product(*(np.flatnonzero(legal) for legal in setting.legal))))


def some_tables(setting: Setting, count: int) -> np.ndarray:
    rng = np.random.default_rng(11)
    return np.array([[rng.choice(np.flatnonzero(legal)) for legal in setting.legal] for _ in range(count)])


CASES: list[tuple[Setting, np.ndarray]] = [
    *((get_setting(n), every_table(get_setting(n))) for n in ("escape", "maintain", "conitzer", "two-by-two")),
    *(
        (get_setting(n), every_table(get_setting(n)))
        for n in ("simple-allocation-1", "simple-allocation-2", "simple-allocation-3")
    ),
    (one_buyer(), every_table(one_buyer())),
    (two_correlated_buyers(), every_table(two_correlated_buyers())),
    (talking_correlated_buyers(), some_tables(talking_correlated_buyers(), 12)),
    (get_setting("mspm-pi"), some_tables(get_setting("mspm-pi"), 12)),
]
IDS = [setting.name for setting, _ in CASES]


class PlainRun:
    """Multiplicative weights on a tabulated game, one seed, in plain Python."""

    def __init__(self, game: BayesianGame, followers: Followers, scale: float, seed: list[int]) -> None:
        self.n = game.n_players
        self.types, self.actions = list(np.ndindex(*game.type_shape)), list(np.ndindex(*game.action_shape))
        self.prior = {t: float(game.prior[t]) for t in self.types}
        full = [np.broadcast_to(p, game.shape) for p in (*game.payoffs, game.leader)]
        self.pay = [{(t, a): float(p[t + a]) for t in self.types for a in self.actions} for p in full]
        self.weights = [[[1.0] * game.action_shape[i] for _ in range(game.type_shape[i])] for i in range(self.n)]
        self.rng = np.random.default_rng(seed)
        self.average = {(t, a): 0.0 for t in self.types for a in self.actions}
        self.followers, self.scale = followers, scale
        draws = self.rng.random((followers.updates, 1 + self.n)) if followers.types == "sampled" else None
        for t in range(followers.updates):
            now = self.sigma()
            for cell, p in now.items():
                self.average[cell] += p / followers.updates
            if draws is None:
                self.learn_expected()
            else:
                self.learn_sampled(draws[t])

    def mixed(self, i: int, own: int) -> list[float]:
        total = sum(self.weights[i][own])
        return [w / total for w in self.weights[i][own]]

    def sigma(self) -> dict[Any, float]:
        out = {}
        for t in self.types:
            rows = [self.mixed(i, t[i]) for i in range(self.n)]
            for a in self.actions:
                p = 1.0
                for i in range(self.n):
                    p *= rows[i][a[i]]
                out[t, a] = p
        return out

    def learn_sampled(self, draws: np.ndarray) -> None:
        types = pick([self.prior[t] for t in self.types], draws[0], self.types)
        said = tuple(
            pick(self.mixed(i, types[i]), draws[1 + i], list(range(len(self.weights[i][0])))) for i in range(self.n)
        )
        gains = []
        for i in range(self.n):
            if self.followers.opponents == "sampled":
                gains.append([self.pay[i][types, put(said, i, b)] for b in range(len(self.weights[i][0]))])
            else:
                gains.append([self.against(i, types, b) for b in range(len(self.weights[i][0]))])
        for i in range(self.n):
            self.grow(i, types[i], gains[i])

    def against(self, i: int, types: tuple[int, ...], action: int) -> float:
        total = 0.0
        for a in self.actions:
            if a[i] == action:
                p = 1.0
                for j in range(self.n):
                    p *= 1.0 if j == i else self.mixed(j, types[j])[a[j]]
                total += p * self.pay[i][types, a]
        return total

    def learn_expected(self) -> None:
        gains = {}
        for i in range(self.n):
            for own in range(len(self.weights[i])):
                mass = sum(p for t, p in self.prior.items() if t[i] == own)
                gains[i, own] = [
                    sum(p / mass * self.against(i, t, b) for t, p in self.prior.items() if t[i] == own)
                    for b in range(len(self.weights[i][0]))
                ]
        for (i, own), row in gains.items():
            self.grow(i, own, row)

    def grow(self, i: int, own: int, gains: list[float]) -> None:
        for b, gain in enumerate(gains):
            self.weights[i][own][b] *= (1 + self.followers.epsilon) ** (gain / self.scale)

    def frozen(self, readout: str) -> dict[Any, float]:
        if readout == "empirical":
            return self.average
        if readout == "last":
            return self.sigma()
        best = [
            [max(range(len(w)), key=lambda b, w=w: (w[b] > max(w) * (1 - 1e-12), -b)) for w in own]
            for own in self.weights
        ]
        return {
            (t, a): float(all(a[i] == best[i][t[i]] for i in range(self.n))) for t in self.types for a in self.actions
        }

    def value(self, readout: str) -> float:
        return sum(self.prior[t] * p * self.pay[-1][t, a] for (t, a), p in self.frozen(readout).items())

    def played(self, readout: str, plays: int) -> float:
        """Mean of `plays` drawn rewards, by the documented stream: one number for types, one for the joint action."""
        sigma = self.frozen(readout)
        draws = self.rng.random((plays, 2))
        total = 0.0
        for u, v in draws:
            types = pick([self.prior[t] for t in self.types], u, self.types)
            total += self.pay[-1][types, pick([sigma[types, a] for a in self.actions], v, self.actions)]
        return total / plays


def pick(weights: list[float], u: float, items: list[Any]) -> Any:
    seen = 0.0
    for weight, item in zip(weights, items, strict=True):
        seen += weight
        if u < seen:
            return item
    return items[-1]


def put(said: tuple[int, ...], i: int, action: int) -> tuple[int, ...]:
    return (*said[:i], action, *said[i + 1 :])


@pytest.mark.parametrize(("setting", "tables"), CASES, ids=IDS)
@pytest.mark.parametrize(
    "how", [("sampled", "sampled"), ("sampled", "expected"), ("expected", "expected")], ids="-".join
)
def test_return_of_every_table_is_tabulate_learner_readout(
    setting: Setting, tables: np.ndarray, how: tuple[str, str]
) -> None:
    """Theory T8 (i)."""
    followers = Followers(15, types=how[0], opponents=how[1])
    envs = {r: StackelbergPOMDP(setting, followers, readout=r, simulate="play") for r in READOUTS}
    returns = {r: env.run(tables, rng_seed=4).returns for r, env in envs.items()}
    for b, table in enumerate(tables):
        run = PlainRun(setting.tabulate(table_rows(setting, table)), followers, setting.payoff_scale, [4, b])
        for readout in READOUTS:
            assert returns[readout][b] == pytest.approx(run.value(readout), abs=1e-9), (table, readout)


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["maintain", "simple-allocation-2", "mspm-pi"])
def test_drawn_rewards_follow_the_documented_stream(name: str, readout: str) -> None:
    setting = get_setting(name)
    tables = some_tables(setting, 6)
    followers = Followers(20)
    env = StackelbergPOMDP(setting, followers, reward_plays=7, readout=readout)
    returns = env.run(tables, rng_seed=9).returns
    for b, table in enumerate(tables):
        run = PlainRun(setting.tabulate(table_rows(setting, table)), followers, setting.payoff_scale, [9, b])
        assert returns[b] == pytest.approx(run.played(readout, 7), abs=1e-9)


def test_mixtures_as_the_action() -> None:
    setting = get_setting("maintain")
    rows = [[0.25, 0.75, 0.0], [0.5, 0.25, 0.25]]
    returns = StackelbergPOMDP(setting, Followers(40), readout="last").run(np.array(rows)[:, None]).returns
    for b, row in enumerate(rows):
        run = PlainRun(setting.tabulate([row]), Followers(40), setting.payoff_scale, [0, b])
        assert returns[b] == pytest.approx(run.value("last"), abs=1e-9)


def test_a_leader_that_sees_the_phase_beats_every_commitment() -> None:
    """Theory T8 (ii): maintain, epsilon .1, N = 100, argmax: 20, 10, 5 restricted; 30 when the phase is visible."""
    setting = get_setting("maintain")
    restricted = StackelbergPOMDP(setting, Followers(100)).run(np.array([[0], [1], [2]])).returns
    np.testing.assert_array_equal(restricted, [20, 10, 5])
    seeing = StackelbergPOMDP(setting, Followers(100), phase_visible=True)
    assert seeing.run(np.array([[[0], [1]]])).returns[0] == 30
    best_mixed = next(r for r in setting.references() if r.name == "mixed-optimum").value
    assert best_mixed < 30
    same = np.array([[[0], [0]], [[1], [1]], [[2], [2]]])
    np.testing.assert_array_equal(seeing.run(same).returns, restricted)


@pytest.mark.parametrize("plays", [0, 4])
@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("name", ["conitzer", "simple-allocation-3", "mspm-pi", "mspm-grid-3"])
def test_lookup_gives_the_numbers_of_play(name: str, readout: str, plays: int) -> None:
    setting = get_setting(name)
    tables = some_tables(setting, 9)
    runs = [
        StackelbergPOMDP(setting, Followers(12), reward_plays=plays, readout=readout, simulate=how).run(
            tables, rng_seed=2, record=True
        )
        for how in ("play", "lookup")
    ]
    np.testing.assert_array_equal(runs[0].returns, runs[1].returns)
    np.testing.assert_array_equal(runs[0].visited, runs[1].visited)
    for field in ("episode", "table", "observation", "states"):
        np.testing.assert_array_equal(getattr(runs[0].first_visits, field), getattr(runs[1].first_visits, field))


@pytest.mark.parametrize(
    "how", [("sampled", "sampled"), ("sampled", "expected"), ("expected", "expected")], ids="-".join
)
@pytest.mark.parametrize("name", ["maintain", "simple-allocation-3", "mspm-pi", "mspm-grid-4"])
def test_followers_are_those_of_the_learners_room(name: str, how: tuple[str, str]) -> None:
    """What training saw and what an audit replays are the same numbers."""
    setting = get_setting(name)
    table = some_tables(setting, 1)
    seeds, updates = 3, 150
    followers = Followers(updates, types=how[0], opponents=how[1])
    episodes = StackelbergPOMDP(setting, followers, readout="argmax").run(np.repeat(table, seeds, axis=0), rng_seed=8)
    game = setting.tabulate(table_rows(setting, table[0]))
    learner = MultiplicativeWeights(0.1, payoff_scale=setting.payoff_scale)
    run = run_learners(game, learner, updates, seeds=seeds, types=how[0], opponents=how[1], rng_seed=8)
    for mine, theirs in zip(episodes.last, run.last, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-9)
    for mine, theirs in zip(episodes.updates, run.updates, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for b in range(seeds):
        sigma = run.readout("argmax", seed=b).conditional(game)
        np.testing.assert_array_equal(episodes.frozen[b], sigma)
        assert episodes.returns[b] == pytest.approx(objective_value(game, sigma), abs=1e-12)
        np.testing.assert_allclose(episodes.average[b], run.readout("empirical", seed=b).conditional(game), atol=1e-9)


@pytest.mark.parametrize(
    "setting",
    [get_setting("simple-allocation-3"), get_setting("mspm-pi"), talking_correlated_buyers()],
    ids=lambda s: s.name,
)
def test_batched_value_and_gap_are_those_of_the_verify_room(setting: Setting) -> None:
    tables = some_tables(setting, 6)
    games = play_all_cells(setting, tables)
    rng = np.random.default_rng(3)
    n = games.n
    sigma = rng.dirichlet(np.ones(int(np.prod(games.action_shape))), size=(len(tables), *games.type_shape))
    sigma = sigma.reshape(games.leader.shape)
    for b, (value, gap) in enumerate(zip(values(games, sigma), gaps(games, sigma), strict=True)):
        game = setting.tabulate(table_rows(setting, tables[b]))
        assert value == pytest.approx(objective_value(game, sigma[b]), abs=1e-12)
        assert gap == pytest.approx(max(0, *(r.max() for r in interim_regrets(game, sigma[b]))), abs=1e-12)
        assert assess(game, ConditionalPlay(sigma[b])).gap == pytest.approx(gap, abs=1e-9)
        assert n == game.n_players


def test_horizon_steps_reach_every_horizon() -> None:
    steps = horizon_steps(25, (1, 10, 100), pieces=7)
    done, reached = 0.0, {}
    for size, factor in steps:
        done += size
        if factor is not None:
            reached[factor] = done
    assert reached == {1: pytest.approx(25), 10: pytest.approx(250), 100: pytest.approx(2500)}
    assert all(size == 1 for size, _ in steps[:25])


@pytest.mark.parametrize("readout", ["argmax", "last", "empirical"])
def test_one_step_is_as_good_as_many_for_a_lone_follower(readout: str) -> None:
    """The closed form of theory T7: weights after E updates are (1 + epsilon) to E times the payoff."""
    setting = get_setting("maintain")
    rows = np.random.default_rng(0).dirichlet([1, 1, 1], size=(4, 1))
    options = {"updates": 20, "epsilon": 0.1, "scale": setting.payoff_scale}
    found = robust_scores(play_all_cells(setting, rows), readout=readout, factors=(1,), settled=False, **options)
    lead, follow = (np.array(t, dtype=float) for t in (setting.leader_table, setting.follower_table))
    for row, score in zip(rows[:, 0], found, strict=True):
        earned = row @ follow / setting.payoff_scale
        weights = [(1 + 0.1) ** (k * earned) for k in range(21)]
        mixes = [w / w.sum() for w in weights]
        mixed = {"argmax": np.eye(3)[earned.argmax()], "last": mixes[-1], "empirical": np.mean(mixes[:-1], axis=0)}
        gap = (row @ follow).max() - row @ follow @ mixed[readout]
        assert score == pytest.approx(row @ lead @ mixed[readout] - gap)


def test_robust_scores_find_what_holds_in_the_long_run() -> None:
    """Maintain at its knife-edge relies on a tie; just inside it does not."""
    setting = get_setting("maintain")
    rows = np.array([[[0.25, 0.75, 0.0]], [[0.27, 0.73, 0.0]]])
    games = play_all_cells(setting, rows)
    options = {"updates": 100, "epsilon": 0.1, "scale": setting.payoff_scale}
    loose = robust_scores(games, settled=False, **options)
    strict = robust_scores(games, settled=True, **options)
    assert loose[0] == pytest.approx(27.5) and strict[0] == pytest.approx(17.5)
    assert strict[1] == pytest.approx(27.3, abs=0.01)


def test_critic_sees_everything_and_first_visits_are_first() -> None:
    setting = get_setting("mspm-pi")
    tables = some_tables(setting, 5)
    env = StackelbergPOMDP(setting, Followers(30))
    episodes = env.run(tables, record=True)
    visits = episodes.first_visits
    assert visits is not None and visits.states.shape == (len(visits.episode), env.state_size)
    pairs = set(zip(visits.episode.tolist(), visits.observation.tolist(), strict=True))
    assert len(pairs) == len(visits.episode)  # each decision once
    asked = {(int(b), int(o)) for b, o in np.argwhere(episodes.visited.any(axis=1))}
    assert pairs == asked
    n_obs, n_actions = setting.legal.shape
    partial = visits.states[:, -n_obs - n_obs * n_actions : -n_obs].reshape(-1, n_obs, n_actions)
    for row, observation in zip(partial, visits.observation, strict=True):
        assert not row[observation].any()  # the action in question is not in the state it is judged from


def test_the_ablation_records_both_tables() -> None:
    setting = get_setting("maintain")
    episodes = StackelbergPOMDP(setting, Followers(5), phase_visible=True).run(np.array([[[0], [1]]]), record=True)
    visits = episodes.first_visits
    assert visits is not None and sorted(visits.table.tolist()) == [RESPONSE, REWARD]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"readout": "mode"}, "readout must be one of empirical, last, argmax"),
        ({"simulate": "guess"}, "simulate must be 'play' or 'lookup'"),
        ({"reward_plays": -1}, "reward_plays must be at least 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        StackelbergPOMDP(get_setting("maintain"), Followers(5), **options)


def test_bad_tables_are_refused() -> None:
    with pytest.raises(SettingError, match=r"integers of shape \(B, 12\), got float64 \(2, 12\)"):
        StackelbergPOMDP(get_setting("mspm-pi"), Followers(5)).run(np.zeros((2, 12)))
    with pytest.raises(SettingError, match="takes action -1 at 'nothing seen', which is not legal"):
        StackelbergPOMDP(get_setting("maintain"), Followers(5)).run(np.array([[0], [-1]]))
    with pytest.raises(SettingError, match="mixtures must be probabilities"):
        StackelbergPOMDP(get_setting("maintain"), Followers(5)).run(np.array([[[0.5, 0.6, 0.0]]]))
    with pytest.raises(SettingError, match="expected types need expected opponents"):
        StackelbergPOMDP(get_setting("maintain"), Followers(5, types="expected"))
