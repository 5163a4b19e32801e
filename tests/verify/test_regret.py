"""Regrets, gaps and values against brute force, and the laws they obey."""

from fractions import Fraction

import numpy as np
import pytest
from brute_force import Oracle
from hypothesis import assume, given
from hypothesis import strategies as st

from spverify.verify.errors import PlayError
from spverify.verify.formats import read_game, read_play
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import exact_regrets, exact_value, objective_tensor
from spverify.verify.play import ConditionalPlay, MixturePlay, PlanPlay, PlayLog, exact
from spverify.verify.regret import assess, dual_payoff, interim_regrets, objective_value
from spverify.verify.testing import assert_bcce, games, plays


def sigma_of(oracle, play):
    """sigma(types, actions) written out from the play's own definition."""
    if isinstance(play, ConditionalPlay):
        return lambda t, a: oracle._pick(play.sigma, t + a)
    if isinstance(play, PlanPlay):
        return lambda t, a: sum(
            w for k, w in enumerate(play.weights) if all(play.strategies[i][k][t[i]] == a[i] for i in range(oracle.n))
        )

    def mixture(t, a):
        total = Fraction(0)
        for k, w in enumerate(play.weights):
            for i in range(oracle.n):
                w = w * play.strategies[i][k][t[i]][a[i]]
            total += w
        return total

    return mixture


@given(st.data())
def test_regrets_and_values_equal_brute_force(data):
    game = data.draw(games(max_cells=100))
    play = data.draw(plays(game))
    oracle = Oracle(game.to_document())
    sigma = sigma_of(oracle, play)
    plain = exact(play, game)
    found = exact_regrets(game.plain, plain)
    rows = {row: oracle.regret(sigma, row) for row in oracle.rows()}
    for i, table in enumerate(found):
        for t, row in enumerate(table):
            for a, regret in enumerate(row):
                assert regret == rows.get((i, t, a))
    floats = interim_regrets(game, play.conditional(game))
    for (i, t, a), regret in rows.items():
        assert floats[i][t, a] == pytest.approx(float(regret), abs=1e-12)
    for objective in ("leader", "welfare", "player:0"):
        value = oracle.value(sigma, objective)
        assert exact_value(game.plain, plain, objective_tensor(game.plain, objective)) == value
        assert objective_value(game, play.conditional(game), objective) == pytest.approx(float(value), abs=1e-12)
    report = assess(game, play)
    assert report.gap_exact == max([Fraction(0), *rows.values()])


@given(st.data())
def test_per_type_sum_and_ex_ante_equal_their_definitions(data):
    game = data.draw(games(max_cells=100))
    play = data.draw(plays(game))
    oracle, report = Oracle(game.to_document()), assess(game, play)
    sigma = sigma_of(oracle, play)
    for i in range(game.n_players):
        best = {}
        for row in oracle.rows():
            if row[0] == i:
                best[row[1]] = max(best.get(row[1], Fraction(-(10**9))), oracle.regret(sigma, row))
        per_type = sum(oracle.own(i, t) * max(r, 0) for t, r in best.items())
        ex_ante = max(Fraction(0), sum((oracle.own(i, t) * r for t, r in best.items()), Fraction(0)))
        assert report.per_type_sum[i] == pytest.approx(float(per_type), abs=1e-12)
        assert report.ex_ante[i] == pytest.approx(float(ex_ante), abs=1e-12)


@given(st.data())
def test_dual_payoff_is_the_bracket_of_t5(data):
    game = data.draw(games(max_cells=100))
    multipliers = [
        np.array([[data.draw(st.integers(0, 3)) for _ in range(a)] for _ in range(t)], dtype=float)
        * game.feasible[i]
        * (game.marginal(i) > 0)[:, None]
        for i, (t, a) in enumerate(zip(game.type_shape, game.action_shape, strict=True))
    ]
    oracle = Oracle(game.to_document())
    found = dual_payoff(game, game.objective("leader"), multipliers)
    for t in oracle.joint_types:
        for a in oracle.joint_actions:
            expected = oracle.p[t] * oracle.w(t, a)
            for i in range(oracle.n):
                for dev in oracle.actions[i]:
                    if multipliers[i][t[i], dev] and oracle.p[t]:
                        moved = a[:i] + (dev,) + a[i + 1 :]
                        gain = oracle.u(i, t, moved) - oracle.u(i, t, a)
                        expected -= oracle.p[t] / oracle.own(i, t[i]) * Fraction(multipliers[i][t[i], dev]) * gain
            assert found[t + a] == pytest.approx(float(expected), abs=1e-9)


@given(st.data())
def test_scaling_payoffs_scales_the_gap_and_shifts_by_type_do_nothing(data):
    game = data.draw(games(max_cells=60))
    play = data.draw(plays(game))
    alpha = data.draw(st.sampled_from([Fraction(1, 10**9), Fraction(3, 7), Fraction(10**9)]))
    document = game.to_document()
    oracle = Oracle(document)
    shift = {t: data.draw(st.integers(-5, 5)) for t in oracle.joint_types}
    scaled = BayesianGame(
        document["prior"],
        [
            np.array(
                [[alpha * oracle.u(i, t, a) + shift[t] for a in oracle.joint_actions] for t in oracle.joint_types],
                dtype=object,
            )
            .reshape(game.shape)
            .tolist()
            for i in range(game.n_players)
        ],
        feasible=document.get("feasible"),
    )
    assert assess(scaled, play).gap_exact == alpha * assess(game, play).gap_exact


@given(st.data())
def test_relabelling_players_changes_nothing(data):
    game = data.draw(games(max_cells=60, masks=False))
    assume(game.n_players >= 2)
    n = game.n_players
    order = data.draw(st.permutations(range(n)))
    play = data.draw(plays(game, kinds=("plan",)))
    axes = [*order, *(n + i for i in order)]
    turned = BayesianGame(
        game.prior.transpose(order).copy(),
        [game.payoffs[i].transpose(axes).copy() for i in order],
        players=[game.players[i] for i in order],
    )
    floats = BayesianGame(game.prior.copy(), [u.copy() for u in game.payoffs], players=list(game.players))
    same = PlanPlay(play.weights, [play.strategies[i] for i in order])
    assert float(assess(turned, same).gap) == pytest.approx(assess(floats, play).gap, abs=1e-12)


def test_interim_deviations_that_ex_ante_checks_miss(examples_dir):
    game = read_game(examples_dir / "interim-not-exante.game.json")
    report = assess(game, read_play(examples_dir / "interim-not-exante.play.json", game))
    assert report.gap_exact == Fraction(1, 4)
    assert (report.witness.player, report.witness.type, report.witness.deviation) == (0, 1, 1)
    assert report.per_type_sum == (0.125, 0.0)
    assert report.ex_ante == (0.0, 0.0)
    assert report.nashconv is None


def test_conditionals_are_not_products_of_marginals():
    """p = diag(1/2, 1/2), player 1 plays its type: the right gap is 0, with marginals multiplied it would be large."""
    own = [[1.2, 0.0], [0.0, 1.0]]
    game = BayesianGame([["1/2", 0], [0, "1/2"]], [[[[["6/5", 0], [0, 1]]]], [[[[0, 0], [0, 0]]]]])
    play = PlanPlay([1], [[[0, 1]], [[0, 1]]])
    assert assess(game, play).gap_exact == 0
    product_gain = 0.5 * own[0][0] + 0.5 * own[0][1] - 0.5 * (own[1][0] + own[1][1])
    assert product_gain > 0.09  # type 1 would seem to gain by action 0 if the types were thought independent


def test_a_log_is_judged_under_its_own_frequencies():
    game = BayesianGame([["1/2"], ["1/2"]], [[[[[1], [0]]], [[[0], [3]]]], [[[[0], [0]]], [[[0], [0]]]]])
    log = PlayLog([[0, 0], [0, 0], [0, 0], [1, 0]], [[0, 0], [1, 0], [0, 0], [0, 0]])
    report = assess(game, log)
    assert report.gap_exact == 3
    assert report.regrets[0][0, 0] == pytest.approx(1 / 3)
    assert report.per_type_sum[0] == pytest.approx(3 / 4 * 1 / 3 + 1 / 4 * 3)
    assert report.equilibrium_set == "tc"


def test_nashconv_only_for_one_product_profile():
    game = BayesianGame([[1]], [[[[[3, 0], [5, 1]]]], [[[[3, 5], [0, 1]]]]])
    cooperate = MixturePlay([1], [[[[1, 0]]], [[[1, 0]]]])
    assert assess(game, cooperate).nashconv == 4
    assert assess(game, PlanPlay(["1/2", "1/2"], [[[0], [1]], [[0], [1]]])).nashconv is None


def test_assert_bcce_names_the_deviation():
    game = BayesianGame([[1]], [[[[[3, 0], [5, 1]]]], [[[[3, 5], [0, 1]]]]])
    cooperate = PlanPlay([1], [[[0]], [[0]]])
    assert_bcce(game, cooperate, epsilon=2)
    with pytest.raises(AssertionError, match="player 0 of type t0 gains 2 by always playing a1"):
        assert_bcce(game, cooperate, epsilon="1.999")


def test_floats_are_put_on_the_grid_and_the_change_is_told():
    game = BayesianGame([[1]], [[[[[1, 0, 0]]]], [[[[0, 0, 0]]]]])
    play = ConditionalPlay(np.full((1, 1, 1, 3), 1 / 3))
    report = assess(game, play)
    assert 0 < report.largest_change < Fraction(1, 2**39)
    with pytest.raises(PlayError, match="sum to 1"):
        assess(game, ConditionalPlay(np.full((1, 1, 1, 3), 0.3)))


def test_an_ex_ante_check_of_another_tool_passes_what_is_refuted_here(examples_dir, tmp_path):
    """OpenSpiel's distance to a coarse correlated equilibrium averages over types first: 0 where a type gains 1/4."""
    pyspiel = pytest.importorskip("pyspiel")
    game = read_game(examples_dir / "interim-not-exante.game.json")
    report = assess(game, read_play(examples_dir / "interim-not-exante.play.json", game))
    lines = ['EFG 2 R "interim" { "informed" "partner" }', 'c "" 1 "" { "t0" 0.5 "t1" 0.5 } 0']
    leaf = 0
    for t in range(2):
        lines.append(f'p "" 1 {t + 1} "" {{ "0" "1" }} 0')
        for a in range(2):
            lines.append('p "" 2 1 "" { "0" "1" } 0')
            for b in range(2):
                leaf += 1
                lines.append(f't "" {leaf} "" {{ {np.broadcast_to(game.payoffs[0], game.shape)[t, 0, a, b]} 0 }}')
    file = tmp_path / "interim.efg"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = pyspiel.load_game(f"efg_game(filename={file})")

    def profile(action):
        keys = ("0-0-1-", "0-0-2-", "1-1-1-")  # the informed player's two types, the partner
        return pyspiel.TabularPolicy({key: [(0, 1.0 - action), (1, float(action))] for key in keys})

    theirs = pyspiel.cce_dist(tree, [(0.5, profile(0)), (0.5, profile(1))])
    assert theirs.dist_value == 0.0
    assert report.gap_exact == Fraction(1, 4)
    one_sided = pyspiel.cce_dist(tree, [(1.0, profile(0))])  # where all types agree, so do the two tools
    assert one_sided.dist_value == pytest.approx(assess(game, PlanPlay([1], [[[0, 0]], [[0]]])).ex_ante[0])
