"""Ranges over SF, NS and TC against reference values, brute force and the laws they must obey (theory T4, T5)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.bounds import EquilibriumRange, equilibrium_range, range_curve
from spverify.verify.errors import UsageError
from spverify.verify.game import BayesianGame

SETS = ("sf", "ns", "tc")
SOUND = 5e-9


def assert_checked(found: EquilibriumRange, game: BayesianGame) -> None:
    """Every certificate rechecks from its document alone, and inner and outer stand in order."""
    for side, sign in ((found.min, -1), (found.max, 1)):
        answer = side.certificate.recheck()
        assert answer.accepted and answer.value == side.outer, answer.reason
        if side.inner_certificate is not None:
            answer = side.inner_certificate.recheck()
            assert answer.accepted and answer.value == side.inner, answer.reason
            assert side.inner_certificate.epsilon == max(found.epsilon, side.inner_gap)
            if side.inner_gap <= found.epsilon:
                assert sign * side.inner <= sign * side.outer
    assert found.min.outer <= found.max.outer


def ends(found: EquilibriumRange) -> tuple[float, float]:
    return float(found.min.outer), float(found.max.outer)


# ------------------------------------------------------------------------------- reference values


def test_reference_ranges(equilibrium_ranges: list[dict[str, Any]]) -> None:
    for entry in equilibrium_ranges:
        game = BayesianGame.from_document(entry["game"])
        for epsilon, sets in entry["range"].items():
            for which, wanted in sets.items():
                found = equilibrium_range(game, equilibrium_set=which, epsilon=epsilon)
                low, high = ends(found)
                assert (low, high) == pytest.approx((wanted["min"], wanted["max"]), abs=1e-6), (game.name, which)
                assert low <= wanted["min"] + SOUND and high >= wanted["max"] - SOUND
                assert found.proved and found.min.inner == found.min.outer and found.max.inner == found.max.outer
                assert_checked(found, game)


def test_complete_information(known_values: dict[str, Any]) -> None:
    for entry in known_values["complete_information"]:
        payoffs = [np.array(u)[None, None] for u in entry["payoffs"]]
        game = BayesianGame(np.array([[1]]), payoffs)
        wanted = {"welfare": entry["cce_welfare"], "player:0": entry.get("cce_player_0")}
        if "cce_player_0_max" in entry:
            wanted["player:0"] = [None, entry["cce_player_0_max"]]
        for objective, pair in wanted.items():
            for which in SETS if pair else ():
                found = equilibrium_range(game, objective=objective, equilibrium_set=which)
                assert found.proved
                for value, side in zip(pair, (found.min, found.max), strict=True):
                    if value is not None:
                        assert side.outer == side.inner == Fraction(str(value)), (entry["name"], objective)


def auction(k: int, objective: str) -> BayesianGame:
    """First-price auction: values 1/K..1, bids 0..1 in steps of 1/K, none above the own value, ties split."""
    values, bids = [Fraction(v, k) for v in range(1, k + 1)], [Fraction(b, k) for b in range(k + 1)]
    shape = (k, k, k + 1, k + 1)
    arrays = {name: np.empty(shape, dtype=object) for name in ("u0", "u1", "revenue", "winner")}
    for s, t, a, b in product(*map(range, shape)):
        wins = Fraction(1, 2) if a == b else Fraction(int(a > b))
        arrays["u0"][s, t, a, b] = wins * (values[s] - bids[a])
        arrays["u1"][s, t, a, b] = (1 - wins) * (values[t] - bids[b])
        arrays["revenue"][s, t, a, b] = max(bids[a], bids[b])
        arrays["winner"][s, t, a, b] = wins * values[s] + (1 - wins) * values[t]
    mask = [[bid <= value for bid in bids] for value in values]
    payoffs = [arrays["u0"].tolist(), arrays["u1"].tolist()]
    return BayesianGame([[1] * k] * k, payoffs, leader=arrays[objective].tolist(), feasible=[mask, mask])


def test_first_price_auctions(known_values: dict[str, Any]) -> None:
    entry = known_values["first_price_auction_types"]
    for name, sets in (("tc", ("tc",)), ("ns", ("ns",)), ("sf_equals_ns", ("sf", "ns"))):
        for k, wanted in entry[name].items():
            for which in sets:
                found = equilibrium_range(auction(int(k), "revenue"), equilibrium_set=which)
                assert found.proved
                assert ends(found) == pytest.approx(wanted["revenue"], abs=entry["tolerance"]), (name, k)
                if "value_min" in wanted:
                    found = equilibrium_range(auction(int(k), "winner"), equilibrium_set=which)
                    assert ends(found)[0] == pytest.approx(wanted["value_min"], abs=entry["tolerance"]), (name, k)


def test_the_end_of_a_hard_search_is_priced_over_all_cells() -> None:
    """A vertex over the cells that may count is not an optimum where its multipliers leave others worth more."""
    found = equilibrium_range(auction(12, "revenue"), equilibrium_set="tc")
    assert "then a linear program" in found.min.method and found.min.width == found.max.width == 0


def test_known_value_auctions(known_values: dict[str, Any]) -> None:
    entry = known_values["first_price_auction_known_values"]
    for n, wanted in entry["n"].items():
        bids = [Fraction(b, int(n)) for b in range(int(n) + 1)]
        wins = [[Fraction(1, 2) if a == b else Fraction(int(a > b)) for b in bids] for a in bids]
        first = [[wins[i][j] * (1 - a) for j in range(len(bids))] for i, a in enumerate(bids)]
        second = [[(1 - wins[i][j]) * (1 - b) for j, b in enumerate(bids)] for i in range(len(bids))]
        revenue = [[max(a, b) for b in bids] for a in bids]
        game = BayesianGame([[1]], [[[first]], [[second]]], leader=[[revenue]])
        found = equilibrium_range(game, equilibrium_set="sf")
        assert found.proved and ends(found)[0] == pytest.approx(wanted, abs=entry["tolerance"])


# ------------------------------------------------------------------------------- brute force


@settings(max_examples=60)
@given(data=st.data(), epsilon=st.sampled_from(["0", "1/10", "2"]))
def test_brute_force(data: Any, epsilon: str, oracle: Any, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    before = None
    for which in SETS:
        found = equilibrium_range(game, equilibrium_set=which, epsilon=epsilon)
        assert_checked(found, game)
        assert found.proved, found.method
        wanted = oracle(game, game.leader, which, float(Fraction(epsilon)))
        assert ends(found) == pytest.approx(wanted, abs=2e-7)
        if before is not None:
            assert found.min.outer <= before.min.outer + Fraction(1, 10**7)
            assert found.max.outer >= before.max.outer - Fraction(1, 10**7)
        before = found


# ------------------------------------------------------------------------------- laws


def close(found: EquilibriumRange, wanted: tuple[float, float]) -> bool:
    return ends(found) == pytest.approx(wanted, abs=1e-6, rel=1e-6)


@settings(max_examples=25)
@given(data=st.data(), which=st.sampled_from(SETS))
def test_relabelling_changes_nothing(data: Any, which: str, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    n = game.n_players
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    players = rng.permutation(n)
    axes = [*players, *(n + players)]
    orders = [rng.permutation(k) for k in game.shape]

    def moved(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, game.shape)[np.ix_(*orders)].transpose(axes)

    prior = game.prior[np.ix_(*orders[:n])].transpose(players)
    feasible = [game.feasible[i][np.ix_(orders[i], orders[n + i])] for i in players]
    other = BayesianGame(prior, [moved(game.payoffs[i]) for i in players], leader=moved(game.leader), feasible=feasible)
    wanted = ends(equilibrium_range(game, equilibrium_set=which, epsilon="1/5"))
    assert close(equilibrium_range(other, equilibrium_set=which, epsilon="1/5"), wanted)


@settings(max_examples=25)
@given(data=st.data(), which=st.sampled_from(SETS), power=st.sampled_from([-9, -3, 0, 4, 9]))
def test_scaling_and_side_payments(data: Any, which: str, power: int, drawn_games: Any) -> None:
    """u_i -> alpha u_i + beta_i(types), epsilon -> alpha epsilon leave the set alone; w -> alpha w scales its range."""
    game = data.draw(drawn_games())
    n, scale = game.n_players, 10.0**power
    rng = np.random.default_rng(power + 9)
    tail = (1,) * n
    extra = [rng.integers(-3, 4, game.type_shape + tail) for _ in range(n)]
    payoffs = [scale * (u + b) for u, b in zip(game.payoffs, extra, strict=True)]
    other = BayesianGame(game.prior, payoffs, leader=scale * game.leader, feasible=game.feasible)
    found = equilibrium_range(game, equilibrium_set=which, epsilon=0.125)
    again = equilibrium_range(other, equilibrium_set=which, epsilon=0.125 * scale)
    assert_checked(again, other)
    assert np.array(ends(again)) / scale == pytest.approx(np.array(ends(found)), abs=1e-6)


@settings(max_examples=25)
@given(data=st.data(), which=st.sampled_from(SETS))
def test_a_duplicate_action_changes_no_bound(data: Any, which: str, drawn_games: Any) -> None:
    game = data.draw(drawn_games(max_profiles=60))
    n = game.n_players
    i = data.draw(st.integers(0, n - 1))

    def doubled(values: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate([values, np.take(values, [-1], axis=axis)], axis=axis)

    payoffs = [doubled(np.broadcast_to(u, game.shape), n + i) for u in game.payoffs]
    feasible = [doubled(mask, 1) if j == i else mask for j, mask in enumerate(game.feasible)]
    leader = doubled(np.broadcast_to(game.leader, game.shape), n + i)
    other = BayesianGame(game.prior, payoffs, leader=leader, feasible=feasible)
    wanted = ends(equilibrium_range(game, equilibrium_set=which))
    assert close(equilibrium_range(other, equilibrium_set=which), wanted)


@settings(max_examples=15)
@given(data=st.data(), which=st.sampled_from(SETS))
def test_ranges_grow_with_epsilon(data: Any, which: str, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    curve = range_curve(game, ["0", "1/100", "1/2", "20"], equilibrium_set=which)
    for one, two in pairwise(curve):
        assert two.min.outer <= one.min.outer + Fraction(1, 10**8)
        assert two.max.outer >= one.max.outer - Fraction(1, 10**8)
    if which != "tc":
        return
    # no regret binds any more: a mediator who sees all types takes the best cell of each
    cells = np.broadcast_to(game.feasible_cells, game.shape)
    free = np.where(cells, game.leader, -np.inf).max(axis=tuple(range(game.n_players, 2 * game.n_players)))
    assert float(curve[-1].max.outer) == pytest.approx(float((game.prior * free).sum()), abs=1e-6)


@settings(max_examples=15)
@given(data=st.data())
def test_objectives(data: Any, oracle: Any, drawn_games: Any) -> None:
    game = data.draw(drawn_games())
    custom = np.random.default_rng(0).integers(0, 9, game.shape) / 4
    for objective in ("welfare", "player:0", custom):
        found = equilibrium_range(game, objective=objective, equilibrium_set="sf")
        assert_checked(found, game)
        assert ends(found) == pytest.approx(oracle(game, game.objective(objective), "sf", 0.0), abs=2e-7)
    assert found.objective == "custom"


# ------------------------------------------------------------------------------- hard corners


def test_small_probabilities_and_degenerate_games() -> None:
    rng = np.random.default_rng(3)
    shape = (2, 2, 3, 3)
    payoffs = [rng.integers(0, 5, shape) for _ in range(2)]
    rare = np.array([[1 - 3e-8, 1e-8], [1e-8, 1e-8]])
    flat = [np.zeros(shape), np.zeros(shape)]
    for game in (
        BayesianGame(rare, payoffs, leader=payoffs[0]),
        BayesianGame(np.ones((2, 2)) / 4, flat, leader=payoffs[0]),
        BayesianGame(np.ones((2, 2)) / 4, payoffs, leader=np.zeros((1, 1, 1, 1))),
        BayesianGame(np.ones((2, 2)) / 4, [u[..., :1, :1] for u in payoffs], leader=payoffs[0][..., :1, :1]),
        BayesianGame(np.array([[0.0, 0.0], [0.5, 0.5]]), payoffs, leader=payoffs[1]),
    ):
        for which in SETS:
            for epsilon in ("0", "1e-30", 1e-12):
                found = equilibrium_range(game, equilibrium_set=which, epsilon=epsilon)
                assert_checked(found, game)
                assert found.proved, (which, epsilon, found.method)


def test_time_and_interrupts_give_wider_ranges() -> None:
    rng = np.random.default_rng(5)
    shape = (3, 3, 4, 4)
    game = BayesianGame(np.ones((3, 3)) / 9, [rng.random(shape) for _ in range(2)], leader=rng.random(shape))
    tight = {which: equilibrium_range(game, equilibrium_set=which) for which in SETS}
    calls = []

    def interrupting(text: str) -> None:
        calls.append(text)
        raise KeyboardInterrupt

    for which in SETS:
        for found in (
            equilibrium_range(game, equilibrium_set=which, seconds=0.0),
            equilibrium_range(game, equilibrium_set=which, progress=interrupting),
        ):
            assert_checked(found, game)
            assert found.min.outer <= tight[which].min.outer and found.max.outer >= tight[which].max.outer
    assert calls


def test_bad_questions() -> None:
    game = BayesianGame([[1]], [[[[[1, 0], [0, 1]]]], [[[[1, 0], [0, 1]]]]])
    for options in (
        {"objective": "leader"},
        {"objective": "player:2"},
        {"objective": "welfare", "equilibrium_set": "ce"},
        {"objective": "welfare", "epsilon": -1},
        {"objective": "welfare", "epsilon": "x"},
        {"objective": "welfare", "epsilon": float("nan")},
    ):
        with pytest.raises(UsageError):
            equilibrium_range(game, **options)
