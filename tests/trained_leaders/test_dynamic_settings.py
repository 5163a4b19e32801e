"""Platform design and repeated games: figures of settings S5 and S6, rules played by hand, training."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from spverify.trained_leaders.dynamic import BEST_REPLY, dynamic_figures, measure_rule, reply_value, score_dynamic
from spverify.trained_leaders.hyper import default_hyper
from spverify.trained_leaders.settings import DynamicSetting, get_setting, get_world, list_dynamic_settings
from spverify.trained_leaders.settings.dynamic import as_batch
from spverify.trained_leaders.settings.platform import Platform, market, platforms
from spverify.trained_leaders.settings.repeated import repeated_games
from spverify.verify.errors import SettingError, UsageError

REPEATED = ("repeated-prisoners-dilemma", "repeated-battle-of-the-sexes", "repeated-coordination")
MATRICES = {  # (leader, follower), rows are the leader's (settings S6)
    REPEATED[0]: (((3, 3), (1, 4)), ((4, 1), (2, 2))),
    REPEATED[1]: (((2, 1), (0, 0)), ((0, 0), (1, 2))),
    REPEATED[2]: (((2, 0.001), (0, 0)), ((0, 0), (1, 2))),
}


def dynamic(name: str, **parameters: str) -> DynamicSetting:
    world = get_world(name, parameters)
    assert isinstance(world, DynamicSetting)
    return world


def random_tables(world: DynamicSetting, count: int) -> np.ndarray:
    shape = (count, len(world.observations))
    return np.random.default_rng(3).integers(len(world.actions), size=shape)


# ------------------------------------------------------------------------------------ S5


def test_surplus_at_common_prices() -> None:
    prices = Platform().prices
    assert [float(p) for p in prices] == pytest.approx(np.linspace(1.05, 1.7, 4))
    found = [float(market((p, p))[1].middle) for p in prices]
    assert [round(s, 3) for s in found] == [1.126, 0.913, 0.705, 0.508]
    assert max(market((p, p))[1].width for p in prices) < Fraction(1, 10**20)


def test_one_shot_equilibrium_without_a_rule() -> None:
    prices = np.linspace(1.05, 1.7, 4)

    def profit(own: float, rival: float) -> float:
        weights = math.exp((2 - own) / 0.25), math.exp((2 - rival) / 0.25)
        return (own - 1) * weights[0] / (sum(weights) + 1)

    equilibria = [
        (a, b)
        for a, b in product(range(4), repeat=2)
        if all(profit(prices[a], prices[b]) >= profit(p, prices[b]) for p in prices)
        and all(profit(prices[b], prices[a]) >= profit(p, prices[a]) for p in prices)
    ]
    assert equilibria == [(2, 2)] and round(prices[2], 3) == 1.483


@pytest.mark.parametrize("name", sorted(list_dynamic_settings()))
def test_games_pay_what_the_rules_say(name: str) -> None:
    world = dynamic(name)
    for table in random_tables(world, 4).tolist():
        for scenario, game in enumerate(world.unfold(table)):
            widths = [len(own) for own in game.actions]
            for state in range(len(game.states)):
                for joint, acts in enumerate(product(*map(range, widths))):
                    after, pay, lead = world.step(table, scenario, state, acts)
                    assert game.successor[state][joint] == after
                    exact = [float(own[0][state][joint]) for own in game.payoffs]
                    assert exact == pytest.approx(pay, abs=1e-12)
                    assert float(game.leader[1][state][joint]) == pytest.approx(lead, abs=1e-12)


@pytest.mark.parametrize("name", sorted(list_dynamic_settings()))
def test_batches_are_the_exact_games_in_floating_point(name: str) -> None:
    world = dynamic(name)
    tables = random_tables(world, 3)
    fast, slow = world.batch(tables), as_batch([game for table in tables.tolist() for game in world.unfold(table)])
    for field in ("successor", "payoffs", "leader", "start"):
        assert np.array_equal(getattr(fast, field), getattr(slow, field)), field
    assert fast.actions == slow.actions and fast.rounds == slow.rounds


def test_the_platforms_baselines() -> None:
    platform = platforms()["platform"]
    rules = platform.rules()
    assert set(rules) >= {"show-all", "cap-1.05", "cap-1.7", "cheapest-only", "cheapest-incumbent"}
    (cap,), (cheapest,), (incumbent,) = rules["cap-1.267"], rules["cheapest-only"], rules["cheapest-incumbent"]
    low, high = 0 * 4 + 2, 2 * 4 + 2  # prices (1.05, 1.483) and (1.483, 1.483)
    assert cap.payoffs[0][0][0][low] > 0 == cap.payoffs[1][1][0][low] and cap.leader[1][0][high] == 0
    assert cheapest.payoffs[1][1][0][low] == 0 and cheapest.payoffs[1][0][0][high] > 0
    # The incumbent keeps the display at equal prices, and loses it to a price lower by 0.3 at least.
    start, taken = 0, 16  # seller 0 or 1 is the incumbent, after both asked 1.05
    assert incumbent.payoffs[0][0][start][high] > 0 == incumbent.payoffs[1][1][start][high]
    assert incumbent.payoffs[1][0][taken][high] > 0 == incumbent.payoffs[0][1][taken][high]
    near, far = 2 * 4 + 1, 2 * 4 + 0  # undercut by 0.217 and by 0.433
    assert incumbent.successor[start][near] == near and incumbent.successor[start][far] == 16 + far


def test_learning_sellers_settle_at_a_cap_and_exploit_show_all() -> None:
    platform = platforms()["platform"]
    weights = [w for _, w in platform.scenarios]
    (cap,) = measure_rule(
        platform.rules()["cap-1.05"], weights, platform.learner, [platform.periods], runs=6, rng_seed=1
    )
    assert float(cap.mean.low) > 1.0  # a seller that stays hidden now and then costs a little
    assert float(cap.gap(anywhere=True).high) >= float(cap.gap().high)
    (all_,) = measure_rule(
        platform.rules()["show-all"], weights, platform.learner, [platform.periods], runs=6, rng_seed=1
    )
    assert float(all_.mean.high) < 0.705  # above the one-shot equilibrium's price: they learned to collude


def test_hidden_costs() -> None:
    world = dynamic("platform-hidden-cost")
    assert [w for _, w in world.scenarios] == [Fraction(1, 2)] * 2
    cheap, dear = world.unfold([0] * 16)  # cap at 1.05
    assert cheap.payoffs[0][0][0][0] > 0 > dear.payoffs[0][1][0][0]  # 1.05 covers a cost of 1, not of 1.35
    assert cheap.leader == dear.leader
    assert world.payoff_scale > platforms()["platform"].payoff_scale


# ------------------------------------------------------------------------------------ S6


def by_hand(name: str, table: tuple[int, ...], x: float | None = None) -> float:
    """The leader's total against the follower's best sequence of five columns, ties broken against the leader."""
    matrix = MATRICES[name]
    best = (-math.inf, math.inf)
    for columns in product(range(2), repeat=5):
        state, leader, follower = 0, 0.0, 0.0
        for column in columns:
            row = table[state]
            one, two = matrix[row][column]
            leader += x if x is not None and row != column else one
            follower += two
            state = 1 + 2 * row + column
        best = max(best, (round(follower, 9), -leader))
    return -best[1]


@pytest.mark.parametrize("name", REPEATED)
def test_exact_replies_are_the_best_of_all_sequences(name: str) -> None:
    world = dynamic(name)
    for table in product(range(2), repeat=5):
        assert float(reply_value(world.unfold(table), [Fraction(1)])) == pytest.approx(by_hand(name, table))


@pytest.mark.parametrize(("name", "best"), [(REPEATED[0], 14), (REPEATED[1], 10), (REPEATED[2], 10)])
def test_the_best_memory_one_leader(name: str, best: int) -> None:
    found = {r.name: r for r in dynamic(name).references()}
    assert found["best-memory-one"].value == best
    assert max(by_hand(name, table) for table in product(range(2), repeat=5)) == best  # ties do not matter here


def test_coordination_has_a_parameter() -> None:
    harsh = dynamic("repeated-coordination", x="-5")
    assert harsh.parameters == {"x": "-5"} and dynamic("repeated-coordination").parameters == {}
    for table in product(range(2), repeat=5):
        expected = by_hand("repeated-coordination", table, x=-5)
        assert float(reply_value(harsh.unfold(table), [Fraction(1)])) == pytest.approx(expected)
    for given, words in (({"x": "one"}, "numbers such as"), ({"x": "1,2"}, "one number"), ({"y": "1"}, "no parameter")):
        with pytest.raises(SettingError, match=words):
            get_world("repeated-coordination", given)


def test_grim_looks_better_against_learners_than_it_is() -> None:
    # Learners who see the last round only cannot tell which round is the last, and forgo 1 there at least.
    value, gap = dynamic_figures(
        repeated_games()[REPEATED[0]], np.array([0, 0, 1, 1, 1]), periods=20_000, runs=8, rng_seed=0
    )
    assert value["argmax"] > 13 and gap["argmax"] >= 0.2
    assert value[BEST_REPLY] == 13 and gap[BEST_REPLY] == 0


# ------------------------------------------------------------------------------------ training and refusals


@pytest.mark.parametrize("name", REPEATED)
@pytest.mark.parametrize("mode", ["search", "ppo"])
def test_training_finds_the_best_memory_one_leader(name: str, mode: str) -> None:
    from spverify.trained_leaders.train import train

    world = dynamic(name)
    result = train(world, seed=4, hyper=default_hyper(world, mode=mode))
    best = {r.name: float(r.value) for r in world.references()}["best-memory-one"]
    assert result.evaluation.value[BEST_REPLY] == pytest.approx(best)
    assert result.training_record("")["followers"]["rule"] == "q-learning"


def test_scores() -> None:
    platform = dynamic("platform")
    tables = np.array([[0] * 16, [4] * 16, [0] * 16])
    scores, visits = score_dynamic(platform, tables, readout="argmax", periods=[2000], rng_seed=1, runs=2)
    assert scores.shape == (3, 2) and np.array_equal(scores[0], scores[2]) and visits.visited.all()
    both, _ = score_dynamic(platform, tables, readout="argmax", periods=[2000, 4000], rng_seed=1, runs=2)
    assert (both <= scores + 1e-12).all()  # the least over horizons
    exact, _ = score_dynamic(
        dynamic(REPEATED[0]), np.array([[1, 0, 1, 0, 1]]), readout=BEST_REPLY, periods=[1], rng_seed=0, runs=1
    )
    assert exact.tolist() == [14.0]


def test_refusals() -> None:
    with pytest.raises(SettingError, match="platform is a dynamic setting"):
        get_setting("platform")
    with pytest.raises(SettingError, match="the nearest is 'platform'"):
        get_world("platfrom")
    with pytest.raises(SettingError, match="no parameter 'cost'"):
        get_world("platform", {"cost": "1"})
    for name, table in (("platform", [0] * 15), ("platform", [5] * 16), (REPEATED[0], [0, 0, 0, 0, 2])):
        with pytest.raises(SettingError, match="expected"):
            dynamic(name).unfold(table)
    with pytest.raises(UsageError, match="Q-learners"):
        default_hyper(dynamic("platform"), mode="mappo")
