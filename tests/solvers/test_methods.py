"""Every method of search, alike on random games, next to cvxpy's own formulation of the three sets, and at extremes."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from spverify.solvers import bounds, interior, search
from spverify.solvers.bounds import EquilibriumRange, equilibrium_range, range_curve
from spverify.solvers.distance import distance_to_equilibria
from spverify.solvers.polytope import round_non_signalling, transported
from spverify.solvers.search import METHODS
from spverify.verify.errors import UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import is_non_signalling
from spverify.verify.play import MixturePlay, SparsePlay, exact

from .conftest import profiles
from .test_large import random_game
from .test_ranges import auction

SETS = ("sf", "ns", "tc")
SLACK = Fraction(1, 10**7)


def ends(found: EquilibriumRange) -> tuple[float, float]:
    return float(found.min.outer), float(found.max.outer)


def assert_sound(found: EquilibriumRange, game: BayesianGame) -> None:
    """Both ends re-check, and outer and inner stand in order."""
    for side, sign in ((found.min, -1), (found.max, 1)):
        assert side.certificate.recheck(game).accepted
        if side.inner is not None:
            assert side.inner_certificate.recheck(game).accepted
            if side.inner_gap <= found.epsilon:
                assert sign * side.inner <= sign * side.outer


# ------------------------------------------------------------------------------- an independent formulation


def cvxpy_range(game: BayesianGame, objective: Any, which: str, epsilon: float) -> tuple[float, float]:
    """The range in cvxpy's words: arrays of variables, one expression a regret, nothing shared with the package.

    The strategic form mixes strategy profiles; the other two have one distribution for each joint type, and the
    non-signalling set compares whole marginal arrays between types (not neighbours only).
    """
    n, w = game.n_players, np.broadcast_to(np.asarray(objective, dtype=float), game.shape)
    types, actions = list(np.ndindex(*game.type_shape)), list(np.ndindex(*game.action_shape))
    feasible = np.broadcast_to(game.feasible_cells, game.shape)
    limits: list[Any] = []
    if which == "sf":
        every = profiles(game)
        mix = cp.Variable(len(every), nonneg=True)
        limits.append(cp.sum(mix) == 1)
        sigma = {}
        for t in types:
            rows = np.zeros((len(actions), len(every)))
            for k, profile in enumerate(every):
                rows[actions.index(tuple(s[own] for s, own in zip(profile, t, strict=True))), k] = 1.0
            sigma[t] = rows @ mix
    else:
        sigma = {t: cp.Variable(len(actions), nonneg=True) for t in types}
        limits += [cp.sum(sigma[t]) == 1 for t in types]
        limits += [cp.sum(sigma[t][np.flatnonzero(~feasible[t].ravel())]) == 0 for t in types]
    if which == "ns":
        for j in range(n):
            rest = list(np.ndindex(*[a for i, a in enumerate(game.action_shape) if i != j]))
            sums = np.zeros((len(rest), len(actions)))
            for k, a in enumerate(actions):
                sums[rest.index(a[:j] + a[j + 1 :]), k] = 1.0
            for t, other in product(types, types):
                if t < other and t[:j] + t[j + 1 :] == other[:j] + other[j + 1 :]:
                    limits.append(sums @ sigma[t] == sums @ sigma[other])
    for i in range(n):
        payoff = np.broadcast_to(game.payoffs[i], game.shape)
        for own in range(game.type_shape[i]):
            mine = [t for t in types if t[i] == own]
            weight = sum(game.prior[t] for t in mine)
            for deviation in np.flatnonzero(game.feasible[i][own]) if weight > 0 else ():
                gains = []
                for t in mine:
                    moved = np.broadcast_to(np.take(payoff[t], [deviation], axis=i), payoff[t].shape)
                    gains.append(game.prior[t] / weight * ((moved - payoff[t]).ravel() @ sigma[t]))
                limits.append(sum(gains) <= epsilon)
    value = sum(game.prior[t] * (w[t].ravel() @ sigma[t]) for t in types)
    out = []
    for aim in (cp.Minimize(value), cp.Maximize(value)):
        asked = cp.Problem(aim, limits)
        asked.solve(solver="CLARABEL")
        assert asked.status == "optimal"
        out.append(float(asked.value))
    return out[0], out[1]


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("shape", [((2, 2), (3, 2)), ((2, 1, 2), (2, 3, 2)), ((1, 2, 1, 2), (2, 2, 2, 2))])
def test_cvxpy_agrees(which: str, shape: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Two, three and four players, correlated priors with an impossible joint type, one masked action."""
    types, actions = shape
    rng = np.random.default_rng(len(types))
    prior = rng.integers(1, 6, types)
    prior.ravel()[-1] = 0
    feasible = [np.ones((t, a), dtype=bool) for t, a in zip(types, actions, strict=True)]
    feasible[0][0, -1] = False
    payoffs = [rng.integers(-4, 5, types + actions) for _ in types]
    game = BayesianGame(prior, payoffs, leader=rng.random(types + actions), feasible=feasible)
    for epsilon in (0.0, 0.25):
        wanted = cvxpy_range(game, game.leader, which, epsilon)
        for method in METHODS[which]:
            found = equilibrium_range(game, equilibrium_set=which, epsilon=epsilon, method=method)
            assert_sound(found, game)
            assert ends(found) == pytest.approx(wanted, abs=1e-6), method


# ------------------------------------------------------------------------------- methods


@settings(max_examples=15)
@given(data=st.data(), which=st.sampled_from(["ns", "tc"]), epsilon=st.sampled_from(["0", "1/10"]))
def test_all_methods_agree(data: Any, which: str, epsilon: str, drawn_games: Any) -> None:
    """On random games of up to four players every method's proved interval contains the others' plays."""
    game = data.draw(drawn_games(max_players=4))
    found = []
    for method in METHODS[which]:
        chooses = [((mask.sum(axis=1) > 1) & (game.marginal(i) > 0)).any() for i, mask in enumerate(game.feasible)]
        if method == "interior" and not any(game.payoff_range(i) and chooses[i] for i in range(game.n_players)):
            continue
        found.append(equilibrium_range(game, equilibrium_set=which, epsilon=epsilon, method=method))
        assert_sound(found[-1], game)
        assert found[-1].proved, found[-1].method
        assert ends(found[-1]) == pytest.approx(ends(found[0]), abs=1e-6)
    for one, two in product(found, found):
        assert one.min.outer <= two.min.inner + SLACK and one.max.outer >= two.max.inner - SLACK


@pytest.mark.parametrize("which", ["ns", "tc"])
@pytest.mark.parametrize("shape", [(2, 9, 3), (3, 4, 2), (4, 3, 2)])
def test_the_interior_finds_what_one_program_finds(which: str, shape: tuple[int, int, int]) -> None:
    """Beyond the sizes that Hypothesis draws: closed, and the method is named in the answer."""
    game = random_game(*shape, seed=4)
    wanted = equilibrium_range(game, equilibrium_set=which, method="direct")
    found = equilibrium_range(game, equilibrium_set=which, method="interior")
    assert_sound(found, game)
    assert found.closed and "interior-point" in found.method and "interior" not in wanted.method
    assert ends(found) == pytest.approx(ends(wanted), abs=1e-8)


def test_rows_that_depend_on_each_other() -> None:
    """Duals made sharp on the cells with mass were once wrong on the others; they are now used only if they fit."""
    rng = np.random.default_rng(19)
    n = int(rng.integers(2, 4))
    types, actions = tuple(rng.integers(1, 4, n)), tuple(rng.integers(1, 5, n))
    prior = rng.integers(0, 5, types)
    prior.ravel()[0] += 1
    payoffs = [rng.integers(-3, 4, types + actions).astype(float) for _ in range(n)]
    game = BayesianGame(prior, payoffs, leader=rng.integers(-3, 4, types + actions).astype(float))
    wanted = equilibrium_range(game, equilibrium_set="tc", method="direct")
    found = equilibrium_range(game, equilibrium_set="tc", method="interior")
    assert_sound(found, game)
    assert found.closed and ends(found) == pytest.approx(ends(wanted), abs=1e-8)


@pytest.mark.parametrize("seed", [11, 39, 77, 80, 82, 87, 127, 140, 214, 236, 237])
def test_degenerate_optima_close(seed: int) -> None:
    """Near vertices the dense system of the type-conditional set once lost its diagonal to rounding: all were wider."""
    rng = np.random.default_rng([82, seed])
    n = int(rng.integers(1, 4))
    types, actions = tuple(rng.integers(1, 4, n)), tuple(rng.integers(2, 5, n))
    masks = [rng.random((t, a)) < 0.8 for t, a in zip(types, actions, strict=True)]
    for mask in masks:
        mask[:, 0] = True
    payoffs = [rng.integers(0, 4, types + actions).astype(float) for _ in range(n)]
    prior = rng.integers(1, 5, types)
    game = BayesianGame(prior, payoffs, leader=rng.random(types + actions), feasible=masks)
    wanted = equilibrium_range(game, equilibrium_set="tc", method="direct")
    found = equilibrium_range(game, equilibrium_set="tc", method="interior")
    assert_sound(found, game)
    assert ends(found) == pytest.approx(ends(wanted), abs=1e-7)
    assert max(found.min.width, found.max.width) < 1e-8


def test_methods_that_do_not_apply() -> None:
    game = BayesianGame([[1]], [[[[[6, 2], [7, 0]]]], [[[[6, 7], [2, 0]]]]])
    for which, method in (("ns", "sifting"), ("sf", "interior"), ("tc", "plans"), ("tc", "simplex")):
        with pytest.raises(UsageError, match=f"expected the method auto.* for the set {which}, got '{method}'"):
            equilibrium_range(game, objective="welfare", equilibrium_set=which, method=method)
    flat = BayesianGame([[1]], [np.zeros((1, 1, 2, 2)).tolist()] * 2, leader=np.ones((1, 1, 2, 2)).tolist())
    with pytest.raises(UsageError, match="who can gain"):
        equilibrium_range(flat, equilibrium_set="ns", method="interior")
    assert equilibrium_range(flat, equilibrium_set="ns").closed


def test_a_hard_search_changes_its_method(monkeypatch: pytest.MonkeyPatch) -> None:
    """Least welfare: no equilibrium among the best cells, so all cells are taken at once; memory may forbid it."""
    monkeypatch.setattr(search, "DIRECT_COLUMNS", 0)
    game = random_game(2, 14, 3)
    wanted = equilibrium_range(game, objective="welfare", equilibrium_set="tc", method="direct")
    found = equilibrium_range(game, objective="welfare", equilibrium_set="tc")
    assert "hard; then interior-point" in found.min.method and "made sharp" in found.min.method
    assert "interior-point" not in found.max.method
    # an end that is not solved in rationals is as sharp as doubles can say
    assert found.closed and found.min.width < 1e-13 and found.min.inner_gap < 1e-13
    assert ends(found) == pytest.approx(ends(wanted), abs=1e-8)
    again = equilibrium_range(game, objective="welfare", equilibrium_set="tc", seconds=600.0)
    assert again.min.certificate.document == found.min.certificate.document  # nothing depends on the clock
    tight = equilibrium_range(game, objective="welfare", equilibrium_set="tc", memory=1e-4)
    assert "interior-point" not in tight.method
    assert tight.min.outer <= found.min.outer + SLACK and tight.max.outer >= found.max.outer - SLACK


# ------------------------------------------------------------------------------- NS at scale


@pytest.mark.parametrize("k", [8])
def test_larger_auctions(k: int) -> None:
    """Sizes at which the non-signalling set used to stay open: the strategic form lies within, and is near."""
    game = auction(k, "revenue")
    found = equilibrium_range(game, equilibrium_set="ns")
    assert found.closed and found.min.certificate.document["evidence"]["potentials"] is not None
    assert_sound(found, game)
    inside = equilibrium_range(game, equilibrium_set="sf", seconds=2.0)
    for side, sign in ((inside.min, -1), (inside.max, 1)):
        other = found.min if sign < 0 else found.max
        assert side.inner is None or sign * side.inner <= sign * other.outer


def test_budgets_stop_the_interior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of rounds, interrupted, or without memory: a wider proved interval, never an error."""
    game = random_game(2, 12, 4)
    wanted = equilibrium_range(game, equilibrium_set="ns")
    assert wanted.closed
    seen: list[str] = []

    def interrupting(text: str) -> None:
        seen.append(text)
        if "round 3" in text:
            raise KeyboardInterrupt

    for which in ("ns", "tc"):
        found = equilibrium_range(game, equilibrium_set=which, method="interior", progress=interrupting)
        assert "interrupted" in found.max.method and "interrupted" in found.min.method
        assert_sound(found, game)
        assert found.max.outer >= wanted.max.outer - SLACK and found.min.outer <= wanted.min.outer + SLACK
    short = equilibrium_range(game, equilibrium_set="ns", memory=1e-5)
    assert "memory" in short.method
    monkeypatch.setattr(interior, "MOST_ROUNDS", 4)
    early = equilibrium_range(game, equilibrium_set="ns", method="interior", seconds=20.0)
    assert "stopped early" in early.method and "strategic form" in early.method
    for found in (short, early):
        assert_sound(found, game)
        assert found.max.outer >= wanted.max.outer - SLACK and found.min.outer <= wanted.min.outer + SLACK
    # four rounds prove less than all, and more than the larger set does
    loose = equilibrium_range(game, equilibrium_set="tc")
    assert early.max.outer < loose.max.outer and early.min.outer > loose.min.outer


@settings(max_examples=25)
@given(data=st.data())
def test_plays_on_the_grid_keep_the_equalities(data: Any, drawn_games: Any) -> None:
    """A disturbed mixture becomes an exact non-signalling play next to it, for two players by its support."""
    game = data.draw(drawn_games(max_players=3))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    rows = [rng.random((3, *mask.shape)) * mask for mask in game.feasible]
    mixture = MixturePlay(None, [x / x.sum(axis=2, keepdims=True) for x in rows]).conditional(game)
    disturbed = np.maximum(mixture * (1.0 + 1e-9 * rng.normal(size=mixture.shape)), 0.0)
    disturbed /= disturbed.reshape(*game.type_shape, -1).sum(-1).reshape(game.type_shape + (1,) * game.n_players)
    if game.n_players == 2:
        play = SparsePlay(transported(game, disturbed))
        assert is_non_signalling(game.plain, exact(play, game))
        assert play.conditional(game) == pytest.approx(mixture, abs=1e-7)
    full = np.array(round_non_signalling(game, disturbed), dtype=float)
    assert full == pytest.approx(mixture, abs=1e-7)


def test_curves_and_distances_over_the_non_signalling_set() -> None:
    game = random_game(2, 9, 3, seed=2)
    points = range_curve(game, ["0", "1/50", "1/5"], equilibrium_set="ns", method="interior")
    for point in points:
        alone = equilibrium_range(game, equilibrium_set="ns", epsilon=point.epsilon)
        assert ends(point) == pytest.approx(ends(alone), abs=1e-8)
    play = MixturePlay(None, [np.full((1, 3, 9), 1 / 9) for _ in range(2)])
    far = [distance_to_equilibria(game, play, equilibrium_set=which) for which in ("ns", "tc")]
    for found in far:
        assert 0 < found.lower <= found.upper and found.upper - found.lower <= Fraction(1, 10**6)
    assert far[1].lower <= far[0].upper


# ------------------------------------------------------------------------------- extremes


def extremes() -> list[tuple[str, BayesianGame, BayesianGame, Fraction]]:
    """Pairs of games with the same ranges up to a factor."""
    rng = np.random.default_rng(11)
    shape = (2, 2, 3, 4)
    payoffs, leader = [rng.integers(0, 9, shape).astype(float) for _ in range(2)], rng.integers(0, 9, shape) / 8
    prior = np.array([[3, 1], [2, 2]])
    plain = BayesianGame(prior, payoffs, leader=leader)
    out = []
    for power in (-9, 9):
        scale = Fraction(10) ** power
        scaled = [[str(Fraction(v) * scale) for v in u.ravel()] for u in (*payoffs, leader)]
        one, two, w = (np.array(v, dtype=object).reshape(shape).tolist() for v in scaled)
        out.append((f"1e{power}", BayesianGame(prior.tolist(), [one, two], leader=w), plain, scale))
    double = [np.concatenate([u, u[..., -1:]], axis=-1) for u in (*payoffs, leader)]
    out.append(("duplicate action", BayesianGame(prior, double[:2], leader=double[2]), plain, Fraction(1)))
    alone = [u[..., :1] for u in (*payoffs, leader)]
    one = BayesianGame(prior, alone[:2], leader=alone[2])
    folded = [np.concatenate([u, u], axis=-1) for u in alone]
    out.append(("one action", one, BayesianGame(prior, folded[:2], leader=folded[2]), Fraction(1)))
    more = [np.concatenate([u, 5.0 + u[:1]], axis=0) for u in (*payoffs, leader)]
    never = np.concatenate([prior, [[0, 0]]])
    out.append(("impossible type", BayesianGame(never, more[:2], leader=more[2]), plain, Fraction(1)))
    return out


@pytest.mark.parametrize("name, game, plain, scale", extremes(), ids=[case[0] for case in extremes()])
def test_extremes_give_the_same_answers(name: str, game: BayesianGame, plain: BayesianGame, scale: Fraction) -> None:
    for which in ("ns", "tc"):
        wanted = equilibrium_range(plain, equilibrium_set=which, method="direct")
        assert wanted.closed
        for method in METHODS[which]:
            found = equilibrium_range(game, equilibrium_set=which, method=method)
            assert_sound(found, game)
            assert found.proved, (which, method, found.method)
            for one, two in zip(ends(found), ends(wanted), strict=True):
                assert one / float(scale) == pytest.approx(two, abs=1e-7), (which, method)


@pytest.mark.parametrize("power", [6, 9, 12])
def test_rare_types_by_every_method(power: int) -> None:
    """Probabilities down to 1e-12: the proved intervals of all methods contain one another's plays."""
    rare = Fraction(1, 10**power)
    base = random_game(2, 3, 2, seed=power)
    prior = [[str(1 - 3 * rare), str(rare)], [str(rare), str(rare)]]
    game = BayesianGame(prior, [u.tolist() for u in base.payoffs], leader=base.leader.tolist())
    for which in ("ns", "tc"):
        found = [equilibrium_range(game, equilibrium_set=which, method=method) for method in METHODS[which]]
        for one, two in product(found, found):
            assert_sound(one, game)
            if two.proved:
                assert one.min.outer <= two.min.inner + SLACK and one.max.outer >= two.max.inner - SLACK
            assert ends(one) == pytest.approx(ends(two), abs=1e-6)


def test_linear_algebra_uses_one_thread_during_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine more threads wait for each other; what the caller has set comes back."""

    def threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}

    seen: list[set[int]] = []
    find = bounds.search_cells
    monkeypatch.setattr(bounds, "search_cells", lambda *a, **k: (seen.append(threads()), find(*a, **k))[1])
    with threadpool_limits(limits=2, user_api="blas"):
        before = threads()  # some libraries know one thread only
        equilibrium_range(random_game(2, 3, 2), equilibrium_set="ns")
        assert 2 in before and seen == [{1}, {1}] and threads() == before
