"""The kernel's fast twin gives the same exact numbers; big games and sparse plays go through it."""

import math
from array import array
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spverify.verify import candidates, fast_kernel, kernel
from spverify.verify.certificate import attained_certificate, gap_certificate, outer_certificate, round_multipliers
from spverify.verify.errors import FormatError, PlayError
from spverify.verify.fast_kernel import BITS, tensor_limbs
from spverify.verify.formats import read_game, read_play, write_game, write_play
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import exact_gap, objective_tensor, potential_axes
from spverify.verify.plain import DoubleNumerators, Tensor, digest, number_text
from spverify.verify.play import ConditionalPlay, SparsePlay, exact
from spverify.verify.regret import assess
from spverify.verify.testing import games, plays

from .test_kernel import as_potentials


def both(game, **arguments):
    return [module.outer_bound(game.plain, **arguments) for module in (kernel, fast_kernel)]


@pytest.fixture(params=["as it is", "blocks of one joint type", "always fine", "nothing listed"])
def way(request, monkeypatch):
    """How the candidates are found may differ, what comes out may not."""
    for name, value in {
        "blocks of one joint type": {"BLOCK_CELLS": 1},
        "always fine": {"FEW": 0},
        "nothing listed": {"MANY": 0},
    }.get(request.param, {}).items():
        monkeypatch.setattr(candidates, name, value)


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equal_on_rational_games(data, way):
    game = data.draw(games(max_cells=120))
    rows = []
    for i in range(game.n_players):
        for t, a in np.argwhere(game.feasible[i] & (game.marginal(i) > 0)[:, None]).tolist():
            if data.draw(st.booleans()):
                rows.append((i, t, a, Fraction(data.draw(st.integers(1, 10**12)), data.draw(st.integers(1, 10**6)))))
    f = None
    if data.draw(st.booleans()):
        axes = [potential_axes(game.plain, j) for j in range(game.n_players)]
        values = [[Fraction(data.draw(st.integers(-(10**9), 10**9)), 7) for _ in range(int(np.prod(a)))] for a in axes]
        f = as_potentials(game.plain, values)
    for sense in ("upper", "lower"):
        for objective in ("leader", "welfare"):
            one, two = both(
                game,
                objective=objective_tensor(game.plain, objective),
                sense=sense,
                epsilon=Fraction(1, 3),
                multipliers=rows,
                potentials=f,
            )
            assert one == two


@given(data=st.data())
@settings(max_examples=100)
def test_the_strategic_search_draws_the_same_line(data):
    """Where the readable kernel's answer changes, the twin's does, however long the numbers are (ties at the line)."""
    game = data.draw(games(max_cells=100, max_actions=3, max_types=3))
    power = data.draw(st.sampled_from([1, 1, 40]))
    rows = []
    for i in range(game.n_players):
        for t, a in np.argwhere(game.feasible[i] & (game.marginal(i) > 0)[:, None]).tolist():
            y = Fraction(data.draw(st.integers(0, 10**9)), data.draw(st.integers(1, 10**9)))
            rows += [(i, t, a, y**power)] if y else []
    sense = data.draw(st.sampled_from(["upper", "lower"]))
    sign = 1 if sense == "upper" else -1
    w = objective_tensor(game.plain, "leader")
    table, denominator = kernel.bracket_table(game.plain, w, sign, rows)
    chosen = {types: dict(row) for types, row in table.items()}
    strategies = [list(product(*[np.flatnonzero(row).tolist() for row in mask])) for mask in game.feasible]
    best = max(
        sum(row[tuple(s[i][t] for i, t in enumerate(types))] for types, row in chosen.items())
        for s in product(*strategies)
    )
    line = Fraction(best, denominator)
    for beyond in (Fraction(0), Fraction(1, 10**6), Fraction(-1, 10**60), Fraction(-1, 10)):
        proof = {"objective": w, "sense": sense, "epsilon": Fraction(0), "multipliers": rows}
        for module in (kernel, fast_kernel):
            holds, nodes = module.strategic_form_holds(game.plain, value=sign * (line + beyond), **proof)
            assert holds == (beyond >= 0)
            assert nodes >= 1


def test_the_strategic_search_stops_at_its_node_limit():
    rng = np.random.default_rng(0)
    shape = (3, 3, 6, 6)
    game = BayesianGame(np.full((3, 3), 1 / 9), [rng.random(shape) for _ in range(2)], leader=rng.random(shape))
    proof = {"objective": objective_tensor(game.plain, "leader"), "sense": "upper", "epsilon": Fraction(0)}
    for module in (kernel, fast_kernel):
        holds, nodes = module.strategic_form_holds(
            game.plain, value=Fraction(4, 5), multipliers=[(0, 0, 0, Fraction(1, 10))], max_nodes=4, **proof
        )
        assert not holds and nodes > 4


@given(data=st.data())
@settings(max_examples=150)
def test_plays_are_measured_alike(data):
    game = data.draw(games(max_cells=120))
    play = exact(data.draw(plays(game)), game)
    conditional = kernel.conditional_cells(game.plain, play)
    for objective in ("leader", "welfare"):
        w = objective_tensor(game.plain, objective)
        assert fast_kernel.measured(game.plain, conditional, w) == kernel.measured(game.plain, conditional, w)


def uneven(rng, shape):
    """An array with ties, with all but ties, or with numbers of very different sizes."""
    kind = rng.integers(6)
    if kind == 5:
        return rng.random(shape) * 10.0 ** rng.integers(-300, 90)
    if kind < 2:
        return rng.integers(-3, 4, shape) + rng.standard_normal(shape) * (1e-15, 0.0)[kind]
    if kind == 2:
        return rng.standard_normal(shape) * 10.0 ** rng.integers(-20, 20, shape)
    return rng.random(shape) + (0.0, 1e6)[kind - 3]


@pytest.mark.parametrize("seed", range(4))
def test_equal_where_much_is_all_but_equal(seed):
    """What may be the largest is not to be missed, however little the others are below it or joint types weigh."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        n = int(rng.integers(1, 4))
        shape = (*rng.integers(1, 4, n), *rng.integers(1, 5, n))
        prior = 10.0 ** -(rng.integers(0, 13, shape[:n]) * (1, 24)[rng.integers(2)])
        masks = [rng.random((shape[i], shape[n + i])) < 0.8 for i in range(n)]
        for mask in masks:
            mask[:, 0] |= ~mask.any(axis=1)
        game = BayesianGame(
            prior / prior.sum(), [uneven(rng, shape) for _ in range(n)], leader=uneven(rng, shape), feasible=masks
        )
        y = [mask * (rng.random(mask.shape) < 0.5) * 10.0 ** rng.uniform(-12, 3, mask.shape) for mask in masks]
        f = None
        if rng.random() < 0.4:
            f = [rng.standard_normal(potential_axes(game.plain, j)) * 10.0 ** rng.integers(-12, 3) for j in range(n)]
            f = as_potentials(game.plain, [[Fraction(x) for x in part.ravel().tolist()] for part in f])
        sigma = rng.random(shape) ** 8 * game.feasible_cells
        sigma /= sigma.sum(axis=tuple(range(n, 2 * n)), keepdims=True)
        conditional = kernel.conditional_cells(game.plain, exact(ConditionalPlay(sigma.tolist()), game))
        for objective in ("leader", "welfare"):
            w = objective_tensor(game.plain, objective)
            rows = round_multipliers(game, y, 1 << 80)
            one, two = both(game, objective=w, sense="upper", epsilon=Fraction(0), multipliers=rows, potentials=f)
            assert one == two
            assert fast_kernel.measured(game.plain, conditional, w) == kernel.measured(game.plain, conditional, w)


def test_types_of_the_least_probability_are_measured_too():
    game = BayesianGame([1.0, 1e-300], [[[0.0, 1.0], [0.0, 2.0]]], leader=[[0.0, 1.0], [0.0, 1.0]])
    play = exact(ConditionalPlay([[0.0, 1.0], [1.0, 0.0]]), game)
    measured = fast_kernel.measured(game.plain, kernel.conditional_cells(game.plain, play), game.plain.leader)
    assert measured == (2, Fraction(1) / (1 + Fraction(1e-300)))


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9, 1e-300, 1e99, "mixed", "whole"])
@pytest.mark.parametrize("shape", [(2, 3, 3, 4), (1, 1, 60, 60), (2, 1, 2, 2, 3, 2)])
def test_equal_on_doubles_of_all_sizes(shape, scale, monkeypatch):
    monkeypatch.setattr("spverify.verify.plain.IN_MEMORY", 1)
    rng = np.random.default_rng(1)
    n = len(shape) // 2

    def array():
        values = rng.standard_normal(shape)
        if scale == "mixed":
            return values * 10.0 ** rng.integers(-30, 30, shape) * (rng.random(shape) < 0.7)
        if scale == "whole":
            return np.rint(values * 2.0 ** rng.integers(0, 70, shape))
        return values * scale

    game = BayesianGame(rng.integers(1, 9, shape[:n]), [array() for _ in range(n)], leader=array())
    assert isinstance(game.plain.payoffs[0].numerators, DoubleNumerators)
    by_numpy = game.sha256
    del game.plain.__dict__["sha256"]
    assert by_numpy == game.plain.sha256 == digest(game.plain.document(number_text))
    rows = round_multipliers(game, [rng.random(mask.shape) for mask in game.feasible])
    for objective in ("leader", "welfare", "player:0"):
        w = objective_tensor(game.plain, objective)
        one, two = both(game, objective=w, sense="lower", epsilon=Fraction(1, 7), multipliers=rows)
        assert one == two
        for spread in (0.01, 10.0):
            sigma = rng.dirichlet(np.full(math.prod(shape[n:]), spread), shape[:n])
            play = exact(ConditionalPlay(sigma.reshape(shape).tolist()), game)
            conditional = kernel.conditional_cells(game.plain, play)
            one, two = (module.measured(game.plain, conditional, w) for module in (kernel, fast_kernel))
            assert one == two


@pytest.mark.parametrize(
    "values",
    [
        [0.0, -0.0, 3.0],
        [0.1, -1e-300, 5e-324, 7.0],
        [1.7e308, 1.7e308, -0.5],  # finite, though its sum is not
        [-(2.0**60), 2.0**52 + 0.5, 1e300],
    ],
)
def test_numerators_of_doubles_are_exact(values):
    read = DoubleNumerators.of(memoryview(array("d", values)), "payoffs[0]")
    assert [Fraction(numerator, read.denominator) for numerator in read] == list(map(Fraction, values))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_doubles_that_are_not_finite_are_refused(bad):
    for values in ([bad], [0.5, bad, 1.0], [1.7e308, bad, 1.7e308, -bad]):
        with pytest.raises(FormatError, match=r"payoffs\[0\].*expected a finite number"):
            DoubleNumerators.of(memoryview(array("d", values)), "payoffs[0]")


def big_game(rng):
    shape = (2, 2, 90, 90)
    payoffs = [rng.random(shape) for _ in range(2)]
    return BayesianGame(np.full((2, 2), 0.25), payoffs, leader=rng.random(shape), name="big")


def test_certificates_of_big_games_stand_apart_and_recheck(tmp_path):
    rng = np.random.default_rng(2)
    game = big_game(rng)
    assert fast_kernel.big(game.plain)
    multipliers = [rng.random((2, 90)) * 0.01 for _ in range(2)]
    arguments = {"sense": "upper", "equilibrium_set": "tc", "objective": "leader", "epsilon": Fraction(0)}
    certificate = outer_certificate(game, multipliers=multipliers, **arguments)
    assert kernel.check_certificate(certificate.document, game.plain).accepted
    assert certificate.recheck(game).accepted
    write_game(game, tmp_path / "big.npz")
    again = read_game(tmp_path / "big.npz")
    assert again.sha256 == game.sha256
    assert fast_kernel.check_certificate(certificate.document, again.plain).accepted
    document = certificate.document | {"claim": certificate.document["claim"] | {"value": "0"}}
    assert not fast_kernel.check_certificate(document, again.plain).accepted


# ----------------------------------------------------------------------------------------- sparse plays


def sparse_of(game, play):
    sigma = np.array(exact(play, game).sigma.nested(lambda x: x), dtype=object)
    return SparsePlay(
        [(c[: game.n_players], c[game.n_players :], sigma[c]) for c in np.ndindex(*game.shape) if sigma[c]]
    )


@given(data=st.data())
def test_a_play_by_its_support_is_the_same_play(data, tmp_path_factory):
    game = data.draw(games(max_cells=60))
    full = data.draw(plays(game, kinds=("conditional",)))
    sparse = sparse_of(game, full)
    one, two = assess(game, full), assess(game, sparse)
    assert (one.gap_exact, one.leader_value_exact, one.equilibrium_set) == (
        two.gap_exact,
        two.leader_value_exact,
        two.equilibrium_set,
    )
    np.testing.assert_allclose(sparse.conditional(game), full.conditional(game))
    path = tmp_path_factory.mktemp("sparse") / "p.play.json"
    write_play(sparse, path)
    again = read_play(path, game)
    assert isinstance(again, SparsePlay)
    assert exact_gap(game.plain, exact(again, game))[0] == one.gap_exact
    assert gap_certificate(game, again).recheck().accepted
    assert attained_certificate(game, again).recheck().accepted


def test_joint_types_of_probability_zero_may_be_left_out_but_then_nothing_is_non_signalling():
    game = BayesianGame([[1], [0]], [[[[[0, 1]]], [[[1, 0]]]], [[[[0, 0]]], [[[0, 0]]]]])
    sparse = SparsePlay([((0, 0), (0, 1), 1)])
    assert assess(game, sparse).equilibrium_set == "tc"
    assert assess(game, ConditionalPlay([[[[0, 1]]], [[[0, 1]]]])).equilibrium_set == "ns"
    other = BayesianGame([[1], [1]], [[[[[0, 1]]], [[[1, 0]]]], [[[[0, 0]]], [[[0, 0]]]]])
    with pytest.raises(PlayError, match="types \\[1, 0\\]"):
        assess(other, sparse)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([], "non-empty"),
        ([[[0, 0], [0, 1]]], "cells[0]"),
        ([[[0, 0], [0, 1], "1/2"]], "sum to 1"),
        ([[[0, 0], [0, 1], 1], [[0, 0], [0, 1], 0]], "repeats"),
        ([[[0, 0], [0, 2], 1]], "action index"),
        ([[[2, 0], [0, 0], 1]], "type index"),
        ([[[0, 0], [0, 0], -1], [[0, 0], [0, 1], 2]], "negative"),
    ],
)
def test_bad_cells_are_refused(cells, words):
    game = BayesianGame([[1], [0]], [[[[[0, 1]]], [[[1, 0]]]], [[[[0, 0]]], [[[0, 0]]]]])
    with pytest.raises(PlayError) as caught:
        assess(game, SparsePlay(cells) if all(len(c) == 3 for c in cells) else _Raw(cells))
    assert words in str(caught.value)


class _Raw:
    kind = "conditional"

    def __init__(self, cells):
        self.cells = cells

    def to_document(self):
        return {"format": "spverify-play", "version": 1, "kind": "conditional", "cells": self.cells}


@pytest.mark.parametrize("players", [16, 17, 18, 24])
def test_digests_of_games_of_many_players(players):
    """Their arrays have more levels of brackets than there are bytes below the quotation mark."""
    actions = [2 if i < 8 else 1 for i in range(players)]
    payoff = np.random.default_rng(0).random((*[1] * players, *actions))
    game = BayesianGame(np.ones([1] * players), [payoff] * players)
    assert game.sha256 == game.plain.digest(lambda array: (piece.encode() for piece in array.canonical()))
    assert game.sha256 == digest(game.plain.document(number_text))


def test_carries_in_between_change_nothing(monkeypatch):
    game = BayesianGame(
        np.full((2, 2), 0.25), [np.random.default_rng(i).normal(size=(2, 2, 6, 6)) * 1e30 for i in range(2)]
    )
    rows = [(i, t, a, Fraction(10**40 + a, 7**30)) for i in range(2) for t in range(2) for a in range(5)]
    arguments = {"objective": objective_tensor(game.plain, "welfare"), "sense": "upper", "epsilon": Fraction(0)}
    expected = kernel.outer_bound(game.plain, multipliers=rows, **arguments)
    monkeypatch.setattr(candidates, "MANY", 0)
    for name in ("_MOST_TERMS", "_BESIDE"):
        monkeypatch.setattr(fast_kernel, name, 2)
    assert fast_kernel.outer_bound(game.plain, multipliers=rows, **arguments) == expected


@pytest.mark.parametrize(
    "values",
    [
        [0.0, -0.0, 1.0, -3.0, 2.0**53],
        [0.1, -0.25, 1 / 3, 7.0],
        [1e100, -1e-300, 5e-324, 1.0],
        [1e80, -1e-60, 0.1],
        [-(2.0**24), 2.0**24 - 1, 2.0**48, -(2.0**47) - 1],
    ],
)
def test_doubles_come_apart_into_limbs_and_back(values):
    """Also where the numbers over one power of two are more than a double holds."""
    numerators = DoubleNumerators.of(np.array(values).data, "values")
    for limbs in (
        tensor_limbs(Tensor((len(values),), numerators, numerators.denominator)),
        tensor_limbs(Tensor((len(values),), list(numerators), numerators.denominator)),
    ):
        assert (np.abs(limbs) < 2**BITS).all()
        found = [sum(int(limb[k]) << (BITS * place) for place, limb in enumerate(limbs)) for k in range(len(values))]
        assert found == [Fraction(value) * numerators.denominator for value in values]
