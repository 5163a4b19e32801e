"""The worlds: tabulated games against simulated plays, references against published values and brute force."""

from __future__ import annotations

from fractions import Fraction
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest

from spverify.trained_leaders.settings import Setting, exact_rows, get_setting, list_settings, table_rows
from spverify.trained_leaders.settings.matrix import registered_matrix_games
from spverify.trained_leaders.settings.prices import SequentialPrices, default_prices
from spverify.verify.errors import SettingError
from spverify.verify.plain import exact_row

F = Fraction


def three_buyers() -> SequentialPrices:
    """Three buyers whose values are correlated: no product of marginals gives this prior."""
    weights = [[[F(3, 10), F(0)], [F(1, 10), F(1, 10)]], [[F(1, 10), F(1, 10)], [F(0), F(3, 10)]]]
    own = (F(1, 4), F(1))
    nested: Any = tuple(tuple(tuple(x) for x in rows) for rows in weights)
    return SequentialPrices("three", (own, own, own), nested, messages=2, prices=(F(1, 5), F(1, 2), F(1)))


def all_settings() -> list[Setting]:
    others = [get_setting("mspm-pi", {"tie": "buy"}), three_buyers(), get_setting("mspm-grid-7")]
    return [*(get_setting(name) for name in list_settings()), *others, get_setting("simple-allocation-4", {"types": 5})]


def random_tables(setting: Setting, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([[rng.choice(np.flatnonzero(legal)) for legal in setting.legal] for _ in range(count)])


@pytest.mark.parametrize("setting", all_settings(), ids=lambda s: s.name)
def test_tabulated_payoffs_are_those_of_simulated_plays(setting: Setting) -> None:
    for table in random_tables(setting, 4):
        game = setting.tabulate(table_rows(setting, table))
        n = game.n_players
        cells = np.array(list(np.ndindex(*game.shape)))
        played = setting.play(np.repeat(table[None], len(cells), axis=0), cells[:, :n], cells[:, n:])
        for i, payoff in enumerate(game.payoffs):
            np.testing.assert_allclose(np.broadcast_to(payoff, game.shape).ravel(), played.followers[:, i], atol=1e-15)
        np.testing.assert_allclose(np.broadcast_to(game.leader, game.shape).ravel(), played.leader, atol=1e-15)
        np.testing.assert_allclose(game.prior, setting.prior.astype(float))


def plain_mspm(
    setting: SequentialPrices, table: np.ndarray, types: tuple[int, ...], said: tuple[int, ...]
) -> list[Any]:
    """One play told by the labels alone, with no arithmetic on indices in common with the code under test."""
    values = [own[t] for own, t in zip(setting.values, types, strict=True)]
    utilities, welfare, left = [F(0)] * len(values), F(0), list(range(len(values)))
    while left:
        who = "buyers " + " and ".join(map(str, left)) if len(left) > 1 else f"buyer {left[0]}"
        label = f"messages {''.join(map(str, said))}, item unsold, {who} left"
        buyer_text, price_text = setting.actions[table[setting.observations.index(label)]].split(" at ")
        buyer, price = int(buyer_text.removeprefix("buyer ")), F(price_text)
        if values[buyer] > price or (setting.tie == "buy" and values[buyer] == price):
            utilities[buyer], welfare = values[buyer] - price, values[buyer]
            break
        left.remove(buyer)
    return [*utilities, welfare - max(values)]


@pytest.mark.parametrize(
    "setting", [three_buyers(), get_setting("mspm-grid-3"), get_setting("mspm-pi")], ids=lambda s: s.name
)
def test_price_mechanisms_against_a_play_told_by_labels(setting: SequentialPrices) -> None:
    table = random_tables(setting, 1, seed=5)[0]
    game = setting.tabulate(table_rows(setting, table))
    shape = game.shape
    for cell in np.ndindex(*shape):
        types, said = cell[: game.n_players], cell[game.n_players :]
        expected = plain_mspm(setting, table, types, said)
        found = [np.broadcast_to(p, shape)[cell] for p in (*game.payoffs, game.leader)]
        assert found == [float(x) for x in expected]


def test_tie_rule_matters_exactly_on_a_value() -> None:
    own = (F(0), F(1))
    for tie, sold in (("reject", 0.0), ("buy", 1.0)):
        setting = SequentialPrices("one", (own,), (F(1, 2), F(1, 2)), messages=1, tie=tie, prices=(F(1),))
        played = setting.play(np.array([[0]]), np.array([[1]]), np.array([[0]]))
        assert played.leader[0] + 1 == sold


def test_mixture_rows_are_expectations_over_rows() -> None:
    maintain = get_setting("maintain")
    game = maintain.tabulate([["1/4", "3/4", 0]])
    np.testing.assert_array_equal(game.leader, [[27.5, 7.5, 0]])
    np.testing.assert_array_equal(game.payoffs[0], [[3.75, 3.75, 0]])
    allocation = get_setting("simple-allocation-2")
    game = allocation.tabulate([["1/3", "1/3", "1/3"], [0, "1/2", "1/2"]])
    np.testing.assert_array_equal(game.payoffs[0], [[1 / 3, 0], [1 / 3, 0.5], [1 / 3, 0.5]])


def test_stochastic_leader_is_tabulated_exactly_in_price_mechanisms() -> None:
    setting = get_setting("mspm-pi")
    a, b = random_tables(setting, 2, seed=9)
    b[1:] = a[1:]  # they differ at one observation, so the mixture's game is the mean of their games
    one, two = (setting.tabulate(table_rows(setting, t)) for t in (a, b))
    rows = [list(row) for row in table_rows(setting, a)]
    rows[0] = [(p + q) / 2 for p, q in zip(rows[0], table_rows(setting, b)[0], strict=True)]
    both = setting.tabulate(rows)
    for x, y, z in zip(
        (*one.payoffs, one.leader), (*two.payoffs, two.leader), (*both.payoffs, both.leader), strict=True
    ):
        np.testing.assert_allclose((x + y) / 2, z, atol=1e-15)


def test_matrix_references_are_the_published_ones(known_values: dict[str, Any]) -> None:
    for entry in known_values["commitment"]:
        references = {r.name: r for r in get_setting(entry["name"]).references()}
        assert float(references["pure-optimum"].value) == entry["pure"]
        assert float(references["mixed-optimum"].value) == entry["mixed"]


@pytest.mark.parametrize("name", sorted(registered_matrix_games()))
def test_mixed_optimum_is_attained_and_not_exceeded_on_a_grid(name: str) -> None:
    game = registered_matrix_games()[name]
    leader, follower = (np.array(t, dtype=float) for t in (game.leader_table, game.follower_table))

    def worth(mixture: np.ndarray) -> float:
        reply = mixture @ follower
        return float((mixture @ leader)[reply >= reply.max() - 1e-9].max())

    value, mixture = game.mixed_optimum
    assert worth(np.array(mixture, dtype=float)) == pytest.approx(float(value), abs=1e-9)
    k = 60
    grid = [c for c in product(range(k + 1), repeat=len(leader)) if sum(c) == k]
    assert max(worth(np.array(c) / k) for c in grid) <= float(value) + 1e-9


def test_matrix_design_pays_bonuses_on_top_and_says_so() -> None:
    setting = get_setting("matrix-design")
    pay = [setting.actions.index(label) for label in ("pay 0 and 10", "pay 2 and 0", "pay 0 and 0", "pay 4 and 6")]
    game = setting.tabulate(table_rows(setting, pay))
    base = np.array([[(3, 3), (6, 4)], [(4, 6), (2, 2)]])
    bonus = np.array([[(0, 10), (2, 0)], [(0, 0), (4, 6)]])
    for i in range(2):
        np.testing.assert_allclose(np.broadcast_to(game.payoffs[i], game.shape)[0, 0], (base + bonus)[..., i] / 6)
        paid = np.array(setting.payments(table_rows(setting, pay))[i], dtype=float)
        np.testing.assert_allclose(paid[0, 0], bonus[..., i] / 6)
    np.testing.assert_allclose(np.broadcast_to(game.leader, game.shape)[0, 0], base.sum(axis=-1) / 6)
    half = [F(int(a == pay[0] or a == pay[1]), 2) for a in range(36)]
    assert setting.payments([half] * 4)[1][0][0][0][0] == F(5, 6)
    few = get_setting("matrix-design", {"bonuses": "0,2.5"})
    assert few.parameters == {"bonuses": ["0", "5/2"]} and len(few.actions) == 4
    assert get_setting("matrix-design", few.parameters) == few and setting.parameters == {}


def test_matrix_design_references() -> None:
    """The best cell; and the only symmetric equilibrium of the base game, where nobody gains by moving."""
    found = {r.name: r.value for r in get_setting("matrix-design").references()}
    mix = np.array([4, 1]) / 5
    row = np.array([[3, 6], [4, 2]])
    assert np.ptp(row @ mix) == pytest.approx(0)
    total = np.array([[6, 10], [10, 4]])
    assert float(found["no-bonus"]) == pytest.approx(mix @ total @ mix / 6) and found["optimum"] == F(10, 6)


def test_correlated_buyers_share_their_marginals_with_the_independent_ones() -> None:
    joint, product_ = (get_setting(name).prior.astype(float) for name in ("mspm-correlated-pi", "mspm-pi"))
    for axis in range(2):
        np.testing.assert_allclose(joint.sum(axis=axis), product_.sum(axis=axis))
    assert np.linalg.matrix_rank(product_) == 1 and np.linalg.matrix_rank(joint) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mspm-pi", "-3/50"),
        ("mspm-correlated-pi", "-7/100"),
        ("mspm-grid-3", "-1/18"),
        ("mspm-grid-4", "-1/24"),
        ("mspm-grid-5", "-1/20"),
        ("mspm-grid-6", "-2/45"),
    ],
)
def test_best_message_free_mechanism(name: str, value: str) -> None:
    assert {r.name: r.value for r in get_setting(name).references()}["message-free"] == F(value)


def test_best_message_free_mechanism_by_brute_force() -> None:
    setting = three_buyers()
    best = F(-9)
    for order in permutations(range(3)):
        for prices in product(setting.price_grid, repeat=3):
            total = F(0)
            for types in product(range(2), repeat=3):
                values = [own[t] for own, t in zip(setting.values, types, strict=True)]
                sold = next((values[i] for i in order if values[i] > prices[i]), F(0))
                total += setting.prior[types] * (sold - max(values))
            best = max(best, total)
    assert setting.message_free == best


WINNING = {
    "mspm-pi": [(1, ".01", ".01"), (1, ".39", ".01"), (0, ".21", ".01"), (0, ".21", ".43")],
    "mspm-grid-3": [(0, ".025", ".025"), (1, ".525", ".025"), (0, ".475", ".025"), (0, "1", ".525")],
}


def table_of(setting: SequentialPrices, codes: list[tuple[int, str, str]]) -> list[int]:
    """(first buyer, first price, second price) for message pairs 00, 01, 10, 11 as a table."""
    table = []
    for first, price, second in codes:
        table += [setting.action_index(first, price), *(setting.action_index(i, second) for i in range(2))]
    return table


@pytest.mark.parametrize("name", sorted(WINNING))
def test_winning_tables_lose_no_welfare_in_an_equilibrium(name: str) -> None:
    """The tables found for the design lose nothing under some pure profile that is an exact equilibrium."""
    setting = get_setting(name)
    assert isinstance(setting, SequentialPrices)
    game = setting.tabulate(table_rows(setting, table_of(setting, WINNING[name])))
    size = game.type_shape[0]
    leader = np.broadcast_to(game.leader, game.shape)
    found = False
    for first, second in product(product(range(2), repeat=size), repeat=2):
        codes = (first, second)
        loss = sum(
            game.prior[t] * leader[t + tuple(c[k] for c, k in zip(codes, t, strict=True))]
            for t in np.ndindex(*game.type_shape)
        )
        found = found or (loss == 0 and _is_equilibrium(game, codes))
    assert found


def _is_equilibrium(game: Any, codes: tuple[tuple[int, ...], ...]) -> bool:
    for i in range(2):
        for own in range(game.type_shape[i]):
            paid = np.zeros(2)
            for other in range(game.type_shape[1 - i]):
                types = (own, other) if i == 0 else (other, own)
                for mine in range(2):
                    said = (mine, codes[1][other]) if i == 0 else (codes[0][other], mine)
                    paid[mine] += game.prior[types] * np.broadcast_to(game.payoffs[i], game.shape)[types + said]
            if paid[codes[i][own]] < paid.max() - 1e-12:
                return False
    return True


def test_default_prices_avoid_values() -> None:
    prices = default_prices(((F(1, 5), F(1)), (F(0), F(2, 5))))
    assert [str(p) for p in prices] == [
        "1/100",
        "1/10",
        "19/100",
        "21/100",
        "3/10",
        "39/100",
        "43/100",
        "7/10",
        "97/100",
        "1",
    ]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("mspn-pi", {}, "unknown setting 'mspn-pi'; the nearest is 'mspm-pi'"),
        ("maintain", {"messages": 2}, "setting 'maintain' has no parameter 'messages'; it has none"),
        ("mspm-pi", {"message": 2}, "no parameter 'message'; it has messages, tie, prices"),
        ("mspm-pi", {"messages": 0}, "messages must be a whole number of at least 1, got 0"),
        ("mspm-pi", {"messages": "two"}, "messages must be a whole number, got 'two'"),
        ("mspm-pi", {"messages": 1000}, "messages give 3000000 observations"),
        ("mspm-pi", {"tie": "maybe"}, "tie must be 'reject' or 'buy', got 'maybe'"),
        ("mspm-pi", {"prices": "a,b"}, "prices must be numbers"),
        ("matrix-design", {"bonuses": "11"}, r"bonuses must lie in \[0, 10\]"),
        ("matrix-design", {"bonus": "1"}, "no parameter 'bonus'; it has bonuses"),
        ("matrix-design", {"bonuses": ""}, "bonuses must be numbers"),
        ("mspm-pi", {"prices": "2"}, r"prices must lie in \[0, 1\]"),
        ("mspm-grid-1", {}, "mspm-grid-1: a grid must have 2..32 values"),
        ("mspm-grid-33", {}, "a grid must have 2..32 values"),
        ("mspm-grid-03", {}, "unknown setting 'mspm-grid-03'; the nearest is 'mspm-grid-3'"),
        ("mspm-grid-²", {}, "unknown setting"),
        ("simple-allocation-17", {}, "messages must be 1..16, got 17"),
        ("simple-allocation-2", {"types": "0"}, "types must be 1..16, got 0"),
        ("simple-allocation-2", {"type": "2"}, "no parameter 'type'; it has types"),
    ],
)
def test_bad_settings_are_refused(name: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        get_setting(name, parameters)


@pytest.mark.parametrize(("messages", "types"), [(1, 1), (1, 3), (2, 3), (2, 4), (4, 2)])
def test_simple_allocation_references_by_brute_force(messages: int, types: int) -> None:
    """Every leader, every way its followers can answer; without messages, every constant leader."""
    setting = get_setting(f"simple-allocation-{messages}", {"types": str(types)})
    assert get_setting(setting.name, setting.parameters) == setting
    worth = {
        table: sum(any(item == own for item in table) for own in range(types)) / types
        for table in product(range(types), repeat=messages)
    }
    known = {r.name: r.value for r in setting.references()}
    assert float(known["optimum"]) == pytest.approx(max(worth.values()))
    assert float(known["message-free"]) == pytest.approx(max(w for t, w in worth.items() if len(set(t)) == 1))


def test_parameters_from_the_command_line_are_text_and_survive_a_round_trip() -> None:
    setting = get_setting("mspm-pi", {"messages": "3", "tie": "buy", "prices": "0.25,1/3"})
    assert setting.parameters == {"messages": 3, "tie": "buy", "prices": ["1/4", "1/3"]}
    assert get_setting("mspm-pi", setting.parameters) == setting
    assert len(setting.observations) == 27 and len(setting.actions) == 4


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 0]], "expected 3 probabilities, got 2"),
        ([[1, 0, 0], [1, 0, 0]], "expected 1 rows, one per observation, got 2"),
        ([["1/2", "1/3", 0]], "sum to 1, got the sum 0.833333333333 ≈ 5/6"),
        ([[2, -1, 0]], "expected a probability, got the negative -1"),
        ([[0.5, 0.4, 0.0]], "expected probabilities that sum to 1"),
        ([["a", 1, 0]], "expected a number or a string"),
        ([[float("nan"), 1, 0]], "maintain: row 0 .*expected a finite number, got nan"),
    ],
)
def test_bad_rows_are_refused(rows: list[list[Any]], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        exact_rows(get_setting("maintain"), rows)


def test_illegal_actions_are_refused_and_floats_go_on_the_grid() -> None:
    setting = get_setting("mspm-pi")
    table = random_tables(setting, 1)[0]
    table[1] = setting.action_index(1, "3/10")  # only buyer 0 is left there
    with pytest.raises(SettingError, match="puts mass on 'buyer 1 at 3/10', which is not legal there"):
        table_rows(setting, table)
    row = exact_rows(get_setting("maintain"), [np.array([0.1, 0.2, 0.7])])[0]
    assert row == tuple(exact_row([0.1, 0.2, 0.7], "a row of a play")[0])
    assert sum(row) == 1 and all(p.denominator <= 2**40 for p in row)
    assert max(abs(float(p) - q) for p, q in zip(row, [0.1, 0.2, 0.7], strict=True)) < 2**-39
