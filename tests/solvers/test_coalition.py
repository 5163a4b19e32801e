"""What a coalition could take from the leader: against programs that list everything, and as exact arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.coalition import coalition_range, weighted_sum
from spverify.verify.errors import UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import exact_value
from spverify.verify.plain import parse_play

from .conftest import games

SEXES = BayesianGame([[1]], [[[[[3, 0], [0, 2]]]], [[[[2, 0], [0, 4]]]]], leader=[[[[9, 1], [1, 5]]]])


@settings(max_examples=12, deadline=None)
@given(game=games(max_profiles=60), which=st.sampled_from(["sf", "ns", "tc"]), data=st.data())
def test_both_ends_are_those_of_a_program_that_lists_everything(
    game: BayesianGame, which: str, data: Any, oracle: Any
) -> None:
    players = data.draw(st.sets(st.integers(0, game.n_players - 1), min_size=1))
    epsilon, slack = data.draw(st.sampled_from([0, "1/2"])), data.draw(st.sampled_from([0, "1/4"]))
    found = coalition_range(game, players, equilibrium_set=which, epsilon=epsilon, slack=slack, seconds=20)
    assert found.proved
    together = sum(np.broadcast_to(game.payoffs[i], game.shape) for i in players)
    eps = float(Fraction(epsilon))
    best = oracle(game, together, which, eps)[1]
    assert float(found.joint.outer) == pytest.approx(best, abs=1e-6)
    # a hair below the threshold, since the oracle's own optimum is rounded
    low, high = oracle(game, game.leader, which, eps, floor=(together, best - float(Fraction(slack)) - 1e-9))
    assert float(found.min.outer) == pytest.approx(low, abs=2e-5)
    assert float(found.max.outer) == pytest.approx(high, abs=2e-5)
    for end, sign in ((found.min, 1), (found.max, -1)):
        assert end.inner is not None
        assert sign * end.outer <= sign * end.inner


def test_the_bound_follows_from_two_certificates() -> None:
    found = coalition_range(SEXES, slack="1/2")
    assert found.joint.inner_certificate is not None
    assert found.joint.inner_certificate.recheck().accepted
    assert found.threshold == found.joint.inner_certificate.value - Fraction(1, 2) == Fraction(11, 2)
    together = weighted_sum([(Fraction(1), payoff) for payoff in SEXES.plain.payoffs])
    for end, sign in ((found.min, -1), (found.max, 1)):
        assert end.certificate.recheck().accepted
        assert end.price >= 0
        assert end.outer == end.certificate.value - sign * end.price * found.threshold
        assert end.inner_certificate is not None and end.inner_certificate.recheck().accepted
        play = parse_play(end.inner_certificate.document["evidence"]["play"], SEXES.plain)
        assert exact_value(SEXES.plain, play, together) >= found.threshold
        assert end.inner == end.inner_certificate.value


def test_known_ranges() -> None:
    """Together the followers earn 5 in one corner and 6 in the other; player 0 alone prefers the first."""
    both = coalition_range(SEXES)
    assert (both.min.outer, both.min.inner, both.max.outer, both.max.inner) == (5, 5, 5, 5)
    one = coalition_range(SEXES, [0])
    assert (one.joint.outer, one.min.outer, one.max.outer) == (3, 9, 9)
    loose = coalition_range(SEXES, slack=1)
    assert (loose.max.outer, loose.max.inner) == (9, 9)
    assert coalition_range(SEXES, [1, 0, 1], objective="welfare").min.outer == 6


def test_indifferent_followers_can_take_everything() -> None:
    """Every play is best for followers who do not care: the range is that of all plays."""
    game = BayesianGame([[1]], [[[[[1, 1], [1, 1]]]]] * 2, leader=[[[[0, 7], [-3, 2]]]])
    found = coalition_range(game)
    assert (found.min.outer, found.min.inner, found.max.outer, found.max.inner) == (-3, -3, 7, 7)


def test_wrong_arguments() -> None:
    for options, words in (
        ({"coalition": []}, "players from 0 to 1"),
        ({"coalition": [2]}, "players from 0 to 1"),
        ({"equilibrium_set": "ne"}, "sf, ns or tc"),
        ({"slack": -1}, "not negative"),
        ({"objective": "profit"}, "expected the objective"),
    ):
        with pytest.raises(UsageError, match=words):
            coalition_range(SEXES, **options)
