"""Distances to equilibrium sets against one naive linear program each, and nearest members in other measures."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from spverify.solvers.bounds import equilibrium_range
from spverify.solvers.distance import distance_to_equilibria, nearest_equilibrium, total_variation
from spverify.verify.errors import UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.plain import parse_play
from spverify.verify.play import ConditionalPlay, MixturePlay, PlanPlay, PlayLog, play_of

from .conftest import cells, profiles, regret_row, regret_rows

SETS = ("sf", "ns", "tc")


def uniform(game: BayesianGame) -> MixturePlay:
    return MixturePlay(None, [(mask / mask.sum(axis=1, keepdims=True))[None] for mask in game.feasible])


def naive_distance(game: BayesianGame, sigma: np.ndarray, which: str) -> float:
    """min sum p |sigma - member| / 2 over the type-conditional or strategic-form set, everything written out."""
    places = cells(game)
    if which == "sf":
        columns = [
            [(t, tuple(s[i][k] for i, k in enumerate(t))) for t in np.ndindex(*game.type_shape)] for s in profiles(game)
        ]
    else:
        columns = [[cell] for cell in places]
    number = {cell: k for k, cell in enumerate(places)}
    share = np.zeros((len(places), len(columns)))
    for k, column in enumerate(columns):
        for cell in column:
            share[number[cell], k] = 1.0
    target = np.array([sigma[(*t, *a)] for t, a in places])
    eye = np.eye(len(places))
    upper = [np.hstack([share, -eye]), np.hstack([-share, -eye])]
    gains = [[sum(regret_row(game, *row, t, a) for t, a in column) for column in columns] for row in regret_rows(game)]
    upper.append(np.hstack([np.array(gains), np.zeros((len(gains), len(places)))]))
    right = np.concatenate([target, -target, np.zeros(len(gains))])
    equal = []
    for types in np.ndindex(*game.type_shape):
        equal.append([float(sum(t == types for t, _ in column)) for column in columns] + [0.0] * len(places))
    cost = np.concatenate([np.zeros(len(columns)), [game.prior[t] / 2 for t, _ in places]])
    found = linprog(cost, np.vstack(upper), right, equal, np.ones(len(equal)), method="highs")
    assert found.status == 0
    return float(found.fun)


@settings(max_examples=15)
@given(data=st.data())
def test_distance(data: Any, drawn_games: Any) -> None:
    game = data.draw(drawn_games(max_profiles=40))
    play, before = uniform(game), None
    for which in SETS:
        found = distance_to_equilibria(game, play, equilibrium_set=which)
        assert found.lower <= found.upper and found.nearest_gap <= Fraction(1, 10**7)
        assert found.upper - found.lower <= Fraction(1, 10**6)
        assert total_variation(game, play, found.nearest) == found.upper
        for certificate in (found.play_certificate, found.set_certificate, found.nearest_certificate):
            assert certificate.recheck().accepted
        assert found.lower == max(0, found.play_certificate.value - found.set_certificate.value)
        if which != "ns":
            wanted = naive_distance(game, play.conditional(game), which)
            assert float(found.lower) == pytest.approx(wanted, abs=1e-6)
        if before is not None:
            assert found.lower <= before + Fraction(1, 10**6)  # a larger set is nearer
        before = found.lower


def test_members_have_no_distance_and_gaps_are_no_distances() -> None:
    rng = np.random.default_rng(2)
    shape = (2, 2, 3, 3)
    game = BayesianGame(np.ones((2, 2)) / 4, [rng.random(shape) for _ in range(2)], leader=rng.random(shape))
    for which in SETS:
        member = equilibrium_range(game, equilibrium_set=which).max.inner_certificate.document["evidence"]["play"]
        play = play_of(parse_play(member, game.plain), game)
        assert distance_to_equilibria(game, play, equilibrium_set=which).lower == 0
    # a duel that is nearly pointless: tiny gap, large distance
    own = np.zeros((1, 1, 2, 1))
    own[0, 0, 1, 0] = 1e-3
    lazy = BayesianGame(np.ones((1, 1)), [own, np.zeros((1, 1, 1, 2))])
    found = distance_to_equilibria(lazy, PlanPlay([1], [[[0]], [[0]]]))
    assert found.lower == found.upper == 1


def test_other_measures() -> None:
    rng = np.random.default_rng(8)
    shape = (2, 2, 2, 2)
    game = BayesianGame(np.ones((2, 2)) / 4, [rng.random(shape) for _ in range(2)], leader=rng.random(shape))
    play = uniform(game)
    for which in SETS:
        for measure in ("l2", "kl", "entropy"):
            found = nearest_equilibrium(
                game, None if measure == "entropy" else play, measure=measure, equilibrium_set=which
            )
            assert found.gap <= Fraction(1, 10**6) and found.certificate.recheck().accepted
            sigma, p = found.play.conditional(game), game.prior[:, :, None, None]
            if measure == "l2":
                own = float(np.sqrt((p * (sigma - play.conditional(game)) ** 2).sum()))
            else:
                logs = np.log(np.maximum(sigma, 1e-300))
                own = (
                    float((p * sigma * (logs - np.log(0.25))).sum())
                    if measure == "kl"
                    else -float((p * sigma * logs).sum())
                )
            assert found.value == pytest.approx(own, abs=1e-5)
    # the play is uniform, so KL to it and entropy order plays alike
    near = nearest_equilibrium(game, play, measure="kl", equilibrium_set="tc")
    high = nearest_equilibrium(game, measure="entropy", equilibrium_set="tc")
    assert float(total_variation(game, near.play, high.play)) == pytest.approx(0.0, abs=1e-3)


def test_bad_questions() -> None:
    game = BayesianGame([[1]], [[[[[1, 0], [0, 1]]]], [[[[1, 0], [0, 1]]]]])
    play = ConditionalPlay([[[[1, 0], [0, 0]]]])
    with pytest.raises(UsageError, match="log"):
        distance_to_equilibria(game, PlayLog(np.array([[0, 0]]), np.array([[0, 0]])))
    with pytest.raises(UsageError, match="sf, ns or tc"):
        distance_to_equilibria(game, play, equilibrium_set="ce")
    with pytest.raises(UsageError, match="measure"):
        nearest_equilibrium(game, play, measure="tv")
    with pytest.raises(UsageError, match="measure"):
        nearest_equilibrium(game, measure="kl")
