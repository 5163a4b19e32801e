"""The strategic form on games that the kernel's fast twin judges: extremes change nothing, early stops stay true."""

from __future__ import annotations

from fractions import Fraction
from time import monotonic
from typing import Any

import numpy as np
import pytest

from spverify.solvers import branching, search
from spverify.solvers.bounds import Court, EquilibriumRange, equilibrium_range
from spverify.solvers.branching import best_profile
from spverify.solvers.plans import profile_values
from spverify.verify import fast_kernel
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import check_certificate


def arrays(seed: int = 3) -> tuple[Any, list[Any], Any]:
    """Prior, payoffs and leader of a random game of 2 players, 8 actions, 4 types: 1,024 cells."""
    rng = np.random.default_rng(seed)
    shape = (4, 4, 8, 8)
    return rng.integers(1, 10, (4, 4)), [rng.random(shape) for _ in range(2)], rng.random(shape)


def proved(game: BayesianGame) -> EquilibriumRange:
    found = equilibrium_range(game, equilibrium_set="sf")
    assert found.proved and fast_kernel.big(game.plain)
    for side in (found.min, found.max):
        assert side.certificate.recheck().accepted
        # the readable kernel and the twin agree
        assert check_certificate(side.certificate.document).accepted
    return found


@pytest.fixture(scope="module")
def base() -> EquilibriumRange:
    prior, payoffs, leader = arrays()
    return proved(BayesianGame(prior, payoffs, leader=leader))


def agree(found: EquilibriumRange, base: EquilibriumRange, unit: float = 1.0, within: float = 2e-9) -> None:
    assert float(found.min.outer) / unit == pytest.approx(float(base.min.outer), abs=within)
    assert float(found.max.outer) / unit == pytest.approx(float(base.max.outer), abs=within)


def test_the_plain_game_closes(base: EquilibriumRange) -> None:
    assert base.closed
    assert base.min.outer == base.min.inner and base.max.outer == base.max.inner


@pytest.mark.parametrize(("followers", "leaders"), [(1e-9, 1.0), (1e9, 1.0), (1.0, 1e-9), (1e9, 1e9)])
def test_payoffs_of_any_size(base: EquilibriumRange, followers: float, leaders: float) -> None:
    prior, payoffs, leader = arrays()
    agree(proved(BayesianGame(prior, [followers * u for u in payoffs], leader=leaders * leader)), base, leaders)


def test_duplicated_actions_and_a_player_who_has_no_choice(base: EquilibriumRange) -> None:
    prior, payoffs, leader = arrays()
    twice = [np.concatenate([u, u[:, :, 2:3]], axis=2) for u in (*payoffs, leader)]
    agree(proved(BayesianGame(prior, twice[:2], leader=twice[2])), base)
    wider = [u[:, None, :, :, None] for u in (*payoffs, leader)]
    third = np.zeros((1,) * 6)
    game = BayesianGame(prior[:, None], [wider[0], third, wider[1]], leader=wider[2])
    agree(proved(game), base)


def test_types_and_profiles_that_never_or_hardly_occur(base: EquilibriumRange) -> None:
    prior, payoffs, leader = arrays()
    more = [np.concatenate([u, u[:1]]) for u in (*payoffs, leader)]
    never = np.concatenate([prior, np.zeros((1, 4), dtype=int)])
    agree(proved(BayesianGame(never, more[:2], leader=more[2])), base)
    # a type of probability 1e-12, with regrets of its own to keep small, moves the range by hardly more
    rare = [[Fraction(int(w)) for w in row] for row in prior]
    rare.append([Fraction(int(w)) * Fraction(1, 10**12) for w in prior[0]])
    agree(proved(BayesianGame(rare, more[:2], leader=more[2])), base, within=1e-8)
    holes = np.array(prior)
    holes[0, 1] = holes[2, 3] = 0
    found = proved(BayesianGame(holes, payoffs, leader=leader))
    assert found.closed


def test_stopping_early_widens_and_never_fails(base: EquilibriumRange, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, payoffs, leader = arrays()
    game = BayesianGame(prior, payoffs, leader=leader)

    def check(found: EquilibriumRange) -> None:
        assert found.min.outer <= base.min.outer and found.max.outer >= base.max.outer
        for side, sign in ((found.min, -1), (found.max, 1)):
            assert side.certificate.recheck().accepted
            if side.inner_gap == 0:
                assert sign * side.inner <= sign * side.outer

    for seconds in (0.0, 0.01, 0.05):
        check(equilibrium_range(game, equilibrium_set="sf", seconds=seconds))
    real = search.best_profile

    def hasty(*args: Any, **options: Any) -> Any:
        return real(*args, **{**options, "max_nodes": 50})

    monkeypatch.setattr(search, "best_profile", hasty)
    check(equilibrium_range(game, equilibrium_set="sf"))


def test_branch_and_bound_stops_where_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branching, "SLICE", 30)
    rng = np.random.default_rng(0)
    game = BayesianGame(np.ones((5, 5)) / 25, [np.zeros((1, 1, 6, 6)), np.zeros((1, 1, 6, 6))])
    c = rng.random(game.shape)
    whole = best_profile(c, game, limit=-np.inf)
    assert whole.complete and whole.profile is not None
    assert profile_values(c, whole.profile, game.type_shape)[0] == pytest.approx(whole.bound)
    for options in ({"max_nodes": 100}, {"deadline": 0.0}, {"enough": 10}):
        part = best_profile(c, game, limit=-np.inf, **options)
        assert not part.complete and part.nodes < whole.nodes
        assert part.bound >= whole.bound - 1e-9
    quick = best_profile(c, game, limit=whole.bound - 1e-9, improve=False)
    assert not quick.complete and quick.profile is not None


def test_no_columns_are_columns() -> None:
    """An interior-point master stopped early has no basis: its plan has no columns (once an error)."""
    from spverify.solvers.arrays import Problem
    from spverify.solvers.plans import plan_columns
    from spverify.verify.kernel import objective_tensor

    prior, payoffs, leader = arrays()
    game = BayesianGame(prior, payoffs, leader=leader)
    problem = Problem(game, objective_tensor(game.plain, "leader"), leader, "upper", Fraction(0))
    none = np.zeros((0, 8), dtype=np.int64)
    assert plan_columns(problem.integers, problem.rows, problem.n_regrets, none).count == 0


def test_an_interrupt_leaves_a_moment_for_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the search found is proved, but not for as long as there would have been time."""
    rng = np.random.default_rng(0)
    shape = (5, 5, 8, 8)
    game = BayesianGame(np.full((5, 5), 1 / 25), [rng.random(shape) for _ in range(2)], leader=rng.random(shape))
    allowed: list[float] = []
    strategic = Court.strategic

    def watched(self: Court, found: Any, deadline: float) -> bool:
        allowed.append(deadline - monotonic())
        return strategic(self, found, deadline)

    def interrupting(text: str) -> None:
        if "bound" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(Court, "strategic", watched)
    found = equilibrium_range(game, equilibrium_set="sf", seconds=1e6, progress=interrupting)
    assert "interrupted" in found.max.method and "interrupted" in found.min.method
    assert allowed and max(allowed) <= 1.0
    assert found.min.outer <= found.max.outer
    assert all(check_certificate(side.certificate.document).accepted for side in (found.min, found.max))
