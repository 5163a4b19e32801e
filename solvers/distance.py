"""How far a play is from an equilibrium set, and which equilibrium is nearest.

Total variation (weighted by the prior) has a proof from both sides: a nearby equilibrium, and a test function w with
values in [0, 1] whose expectation at the play exceeds its largest value over the set, which is a claim of theory T5.
Other measures of nearness (Kullback-Leibler, Euclid, largest entropy) are solved by cvxpy and not proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from time import monotonic
from typing import Any

import numpy as np

from ..verify.certificate import Certificate, attained_certificate
from ..verify.errors import UsageError
from ..verify.game import BayesianGame, FloatArray
from ..verify.kernel import SETS, conditional_cells, exact_gap, exact_value
from ..verify.plain import Tensor, tensor
from ..verify.play import ConditionalPlay, PlanPlay, Play, PlayLog, exact
from .arrays import Columns, IntArray, Problem
from .bounds import equilibrium_range, parse_epsilon
from .branching import best_profile
from .linear import GAP, Program
from .plans import alternate, pack, plan_columns, random_profiles, unpack
from .polytope import CellProgram, cells_of, round_non_signalling
from .search import rounded_cells

MOST_CELLS = 30_000
"""Above so many cells the distance is not asked: all of them go into one program."""

MOST_PROFILES = 20_000
"""Above so many pure profiles nearness to the strategic form is not asked in measures other than total variation."""

WITNESS_GRID = 1 << 30


@dataclass(frozen=True)
class Distance:
    """The total-variation distance of a play to an equilibrium set: sum over types of p times half the L1 distance.

    Attributes:
        equilibrium_set, epsilon: the set.
        lower: no member is nearer, exactly.
        upper: how far ``nearest`` is, exactly; None if no member was found.
        nearest: a play of the set's form; ``nearest_gap`` is its exact gap. Where that exceeds epsilon, which rounding
            can make it do by about 1e-9, ``upper`` is the distance to a play next to the set.
        play_certificate: proves what the test function w is worth at the play.
        set_certificate: proves that w is worth no more than so much over the set; the difference is ``lower``.
        nearest_certificate: proves ``nearest_gap``.
    """

    equilibrium_set: str
    epsilon: Fraction
    lower: Fraction
    upper: Fraction | None
    nearest: Play | None
    nearest_gap: Fraction | None
    play_certificate: Certificate
    set_certificate: Certificate
    nearest_certificate: Certificate | None


def total_variation(game: BayesianGame, one: Play, two: Play) -> Fraction:
    """sum_types p(types) 1/2 sum_a |one(a|types) - two(a|types)|, exactly."""
    left, right = (conditional_cells(game.plain, exact(play, game)) for play in (one, two))
    total = Fraction(0)
    weights, denominator = left[2], left[3]
    for types, weight in weights.items():
        if weight:
            here = {a: Fraction(mass, left[1]) for a, mass in left[0].get(types, [])}
            for a, mass in right[0].get(types, []):
                here[a] = here.get(a, Fraction(0)) - Fraction(mass, right[1])
            total += weight * sum(map(abs, here.values()), Fraction(0))
    return total / (2 * denominator)


def distance_to_equilibria(
    game: BayesianGame,
    play: Play,
    *,
    equilibrium_set: str = "sf",
    epsilon: Fraction | float | str = 0,
    seconds: float = 60.0,
) -> Distance:
    """Total-variation distance of a play to the epsilon-BCCE of a set, proved from below and attained from above.

    A small gap does not mean a small distance: see docs/ranges.md.

    Args:
        game: the game, of at most 30,000 cells.
        play: what is to be measured; not a log.
        equilibrium_set: ``sf``, ``ns`` or ``tc``.
        epsilon: largest interim regret of a member, payoff units.
        seconds: time budget.

    Raises:
        UsageError: an unknown set, a log, or a game that is too big.

    Example:
        >>> game = BayesianGame([[1]], [[[[[3, 0], [5, 1]]]], [[[[3, 5], [0, 1]]]]])
        >>> from spverify.verify.play import PlanPlay
        >>> found = distance_to_equilibria(game, PlanPlay(["1/2", "1/2"], [[[0], [1]], [[0], [1]]]))
        >>> found.lower, found.upper
        (Fraction(1, 2), Fraction(1, 2))
    """
    start = monotonic()
    _check(game, play, equilibrium_set)
    eps = parse_epsilon(epsilon)
    zero = tensor([Fraction(0)], (1,) * len(game.shape))
    problem = Problem(game, zero, np.zeros((1,) * len(game.shape)), "upper", eps)
    sigma = play.conditional(game)
    deadline = start + 0.6 * seconds
    if equilibrium_set == "sf" and game.prior.size > 1 and game.n_players > 1:
        test, nearest = _plans(problem, sigma, deadline)
    else:
        test, nearest = _cells(problem, sigma, deadline, signalling=equilibrium_set != "ns")
    witness = _witness(test, game)
    left = max(1.0, start + seconds - monotonic())
    side = equilibrium_range(game, objective=witness, equilibrium_set=equilibrium_set, epsilon=eps, seconds=left).max
    plain = exact(play, game)
    worth = exact_value(game.plain, plain, witness)
    mine = attained_certificate(game, play, objective=witness, epsilon=eps)
    lower = max(Fraction(0), worth - side.outer)
    upper = gap = certificate = None
    if nearest is not None:
        upper, gap = total_variation(game, play, nearest), exact_gap(game.plain, exact(nearest, game))[0]
        certificate = attained_certificate(game, nearest, objective=witness, epsilon=eps)
    return Distance(equilibrium_set, eps, lower, upper, nearest, gap, mine, side.certificate, certificate)


def _check(game: BayesianGame, play: Play | None, equilibrium_set: str) -> None:
    if equilibrium_set not in SETS:
        raise UsageError(f"expected the equilibrium set sf, ns or tc, got {equilibrium_set!r}")
    if isinstance(play, PlayLog):
        raise UsageError("a log has no distance: it says nothing at types that did not occur; give a play")
    if np.prod(game.shape) > MOST_CELLS:
        raise UsageError(f"expected a game of at most {MOST_CELLS:,} cells, got {np.prod(game.shape):,}")


def _witness(test: FloatArray, game: BayesianGame) -> Tensor:
    grid = np.rint(np.clip(test, 0.0, 1.0) * WITNESS_GRID).astype(np.int64)
    return tensor([Fraction(int(k), WITNESS_GRID) for k in grid.ravel()], game.shape)


# The nearest member shares the most mass with the play: maximise sum p m with m <= sigma and m <= sigma', which is
# linear. The dual prices of m <= sigma' give the test function (minimax over w in [0, 1]).


def _cells(problem: Problem, sigma: FloatArray, deadline: float, *, signalling: bool) -> tuple[FloatArray, Play | None]:
    """The test function over the type-conditional or non-signalling set, and the nearest play."""
    game = problem.game
    program = CellProgram(game, problem.rows, problem.n_regrets, signalling=signalling)
    cells = cells_of(game, everywhere=not signalling)
    flat, width = sigma.ravel(), problem.pricer.width
    shared = cells[flat[cells] > 0]
    links = len(shared)
    # rows: regrets, shared cells' m <= sigma' , m <= sigma; then masses and equalities
    bounds = np.concatenate([problem.bounds, np.zeros(links), flat[shared]])
    whole = Program(bounds, program.right)
    columns = program.columns(problem.arrays, cells)
    row = np.where(columns.row >= problem.n_regrets, columns.row + 2 * links, columns.row)
    place = np.searchsorted(cells, shared)
    column = np.concatenate([columns.column, place])
    order = np.argsort(column, kind="stable")
    row = np.concatenate([row, problem.n_regrets + np.arange(links)])[order]
    value = np.concatenate([np.asarray(columns.value, float), -np.ones(links)])[order]
    whole.add(Columns(np.zeros(len(cells)), column[order], row, value))
    whole.add(_common(game.prior.ravel()[shared // width], problem.n_regrets))
    solution = whole.solve(deadline - monotonic())
    test = np.zeros(flat.shape)
    if solution is None:
        return test.reshape(game.shape), None
    price = np.maximum(solution.duals[problem.n_regrets : problem.n_regrets + links], 0.0)
    prior = game.prior.ravel()[shared // width]
    np.divide(price, prior, out=price, where=prior > 0)
    test[shared] = np.where(prior > 0, price, 0.0)
    x = solution.x[: len(cells)]
    if signalling:
        return test.reshape(game.shape), rounded_cells(problem, cells, x)
    play = np.zeros(flat.shape)
    play[cells] = np.maximum(x, 0.0)
    return test.reshape(game.shape), ConditionalPlay(round_non_signalling(game, play.reshape(game.shape)).tolist())


def _common(prior: FloatArray, first: int) -> Columns:
    """The columns m: worth p each, limited by sigma' (row ``first`` on) and by sigma (the rows after those)."""
    links = len(prior)
    each = np.repeat(np.arange(links), 2)
    rows = np.stack([first + np.arange(links), first + links + np.arange(links)], axis=1).ravel()
    return Columns(prior, each, rows, np.ones(2 * links))


def _plans(problem: Problem, sigma: FloatArray, deadline: float) -> tuple[FloatArray, Play | None]:
    """The same over the strategic form, by column generation over pure profiles."""
    game, width = problem.game, problem.pricer.width
    flat = sigma.ravel()
    shared = np.flatnonzero((flat > 0) & np.repeat(game.prior.ravel() > 0, width))
    links, first = len(shared), problem.n_regrets
    prior = game.prior.ravel()[shared // width]
    bounds = np.concatenate([problem.bounds, np.zeros(links), flat[shared]])
    where = np.full(flat.shape, -1)
    where[shared] = np.arange(first, first + links)
    grid = np.indices(game.type_shape).reshape(game.n_players, 1, -1)
    base = np.arange(game.prior.size) * width

    def columns(keys: IntArray) -> Columns:
        known = plan_columns(problem.arrays, problem.rows, first, keys)
        chosen = [s[:, grid[j, 0]] for j, s in enumerate(unpack(keys, game.type_shape))]
        cell = base + np.ravel_multi_index(tuple(chosen), game.action_shape)
        link = where[cell]
        at, k = np.nonzero(link >= 0)
        column = np.concatenate([known.column, at])
        order = np.argsort(column, kind="stable")
        row = np.concatenate([np.where(known.row >= first, known.row + 2 * links, known.row), link[at, k]])[order]
        value = np.concatenate([np.asarray(known.value, float), -np.ones(len(at))])[order]
        return Columns(np.zeros(len(keys)), column[order], row, value)

    rng = np.random.default_rng(0)
    price = 4.0
    program = Program(bounds, np.ones(1), price)
    program.add(_common(prior, first))
    start = np.where(np.isin(np.arange(flat.size), shared), flat, 0.0).reshape(game.shape)
    keys = np.unique(alternate(_allowed(start, game), random_profiles(game, 24, rng), game)[0], axis=0)
    program.add(columns(keys))
    test = np.zeros(flat.shape)
    nearest, closed = None, False
    while monotonic() < deadline:
        solution = program.solve(deadline - monotonic())
        if solution is None:
            break
        if not closed and solution.exceeded <= 1e-9:
            program.close()
            closed = True
            continue
        y = [np.maximum(part, 0.0) for part in problem.split(solution.duals)]
        q = np.zeros(flat.shape)
        q[shared] = np.maximum(solution.duals[first : first + links], 0.0)
        c = problem.pricer.whole(y) + q.reshape(game.shape)
        mass = float(solution.duals[-1])
        found, values = alternate(c, np.concatenate([keys[-12:], random_profiles(game, 24, rng)]), game)
        new = np.unique(found[values > mass + 0.5 * GAP], axis=0)
        if not len(new):
            searched = best_profile(c, game, limit=mass + 0.5 * GAP, deadline=deadline)
            new = keys[:0] if searched.profile is None else searched.profile
        if closed:
            weights = np.maximum(solution.x[links:], 0.0)
            used = np.flatnonzero(weights > 1e-12)
            nearest = PlanPlay(weights[used] / weights[used].sum(), unpack(keys[used], game.type_shape))
        test = np.zeros(flat.shape)
        test[shared] = q[shared] / prior
        if not len(new):
            if closed or price > 1e9:
                break
            price *= 16.0
            program.reprice(price)
            continue
        keys = np.concatenate([keys, new])
        program.add(columns(new))
    return test.reshape(game.shape), nearest


def _allowed(values: FloatArray, game: BayesianGame) -> FloatArray:
    return np.where(np.broadcast_to(game.feasible_cells, game.shape), values, -np.inf)


# ------------------------------------------------------------------------------- other measures, by cvxpy


@dataclass(frozen=True)
class Nearest:
    """A member of an equilibrium set that is best in some measure, as far as a solver in doubles can say.

    Attributes:
        play: the play, exact; ``gap`` is its exact gap, ``certificate`` proves that.
        value: of the measure, in doubles: nats for ``kl`` and ``entropy``, a weighted Euclidean distance for ``l2``.
        status: what the solver said.
    """

    play: Play
    gap: Fraction
    value: float
    certificate: Certificate
    status: str


def nearest_equilibrium(
    game: BayesianGame,
    play: Play | None = None,
    *,
    measure: str = "l2",
    equilibrium_set: str = "sf",
    epsilon: Fraction | float | str = 0,
) -> Nearest:
    """The member of an epsilon-BCCE set nearest to a play, or of the largest entropy; found by cvxpy, not proved.

    Args:
        game: the game, of at most 30,000 cells (strategic form: 20,000 pure profiles).
        play: what to be near to; None for ``entropy``.
        measure: ``l2`` (sum of p times squared differences, its root), ``kl`` (sum of p times KL(member, play); the
            member has no mass where the play has none), or ``entropy`` (sum of p times entropy, the largest).
        equilibrium_set: ``sf``, ``ns`` or ``tc``.
        epsilon: largest interim regret, payoff units.

    Raises:
        UsageError: an unknown measure or set, a play missing or of the wrong kind, a game too big, or no such member.
    """
    import cvxpy as cp

    _check(game, play, equilibrium_set)
    if measure not in ("l2", "kl", "entropy") or (play is None) != (measure == "entropy"):
        raise UsageError(f"expected the measure l2 or kl with a play, or entropy without one, got {measure!r}")
    eps = parse_epsilon(epsilon)
    zero = tensor([Fraction(0)], (1,) * len(game.shape))
    problem = Problem(game, zero, np.zeros((1,) * len(game.shape)), "upper", eps)
    everywhere = equilibrium_set == "ns"
    cells = cells_of(game, everywhere=everywhere)
    joint = game.prior.ravel()[cells // problem.pricer.width]
    if equilibrium_set == "sf":
        keys = _profiles(game)
        columns = plan_columns(problem.arrays, problem.rows, problem.n_regrets, keys)
        rows, right = problem.n_regrets + 1, np.ones(1)
    else:
        program = CellProgram(game, problem.rows, problem.n_regrets, signalling=not everywhere)
        columns = program.columns(problem.arrays, cells)
        rows, right = program.n_rows, program.right
    matrix = _sparse(columns, rows)
    x = cp.Variable(columns.count, nonneg=True)
    sigma = x
    if equilibrium_set == "sf":
        sigma = _induced(game, keys, cells) @ x
    n = problem.n_regrets
    limits = [matrix[:n] @ x <= problem.bounds, matrix[n:] @ x == right]
    if measure == "entropy":
        aim = cp.sum(cp.multiply(joint, -cp.entr(sigma)))
    else:
        assert play is not None
        target = play.conditional(game).ravel()[cells]
        if measure == "l2":
            aim = cp.sum_squares(cp.multiply(np.sqrt(joint), sigma - target))
        else:
            mass = target > 0
            if not mass.all():
                limits.append(cp.multiply(joint * ~mass, sigma) == 0)
            aim = cp.sum(cp.multiply(joint[mass], cp.rel_entr(sigma[np.flatnonzero(mass)], target[mass])))
    asked = cp.Problem(cp.Minimize(aim), limits)
    asked.solve(solver="CLARABEL")
    if x.value is None:
        raise UsageError(f"found no member of the set with finite {measure}: {asked.status}")
    value = float(asked.value)
    value = -value if measure == "entropy" else float(np.sqrt(max(value, 0.0))) if measure == "l2" else max(value, 0.0)
    found = np.maximum(x.value, 0.0)
    result: Play
    if equilibrium_set == "sf":
        used = np.flatnonzero(found > 1e-10)
        result = PlanPlay(found[used] / found[used].sum(), unpack(keys[used], game.type_shape))
    elif equilibrium_set == "tc":
        result = rounded_cells(problem, cells, found)
    else:
        whole = np.zeros(int(np.prod(game.shape)))
        whole[cells] = found
        result = ConditionalPlay(round_non_signalling(game, whole.reshape(game.shape)).tolist())
    gap = exact_gap(game.plain, exact(result, game))[0]
    objective = "leader" if game.leader is not None else "welfare"
    certificate = attained_certificate(game, result, objective=objective, epsilon=eps)
    return Nearest(result, gap, value, certificate, str(asked.status))


def _profiles(game: BayesianGame) -> IntArray:
    count = np.prod([float(k) for mask in game.feasible for k in mask.sum(axis=1)])
    if count > MOST_PROFILES:
        raise UsageError(f"expected a game of at most {MOST_PROFILES:,} pure strategy profiles, got {count:.3g}")
    each = [np.array(list(product(*[np.flatnonzero(row) for row in mask]))) for mask in game.feasible]
    index = np.indices([len(rows) for rows in each]).reshape(len(each), -1)
    return pack([rows[k] for rows, k in zip(each, index, strict=True)])


def _sparse(columns: Columns, rows: int) -> Any:
    from scipy.sparse import csr_matrix

    values = np.asarray(columns.value, dtype=float)
    return csr_matrix((values, (columns.row, columns.column)), shape=(rows, columns.count))


def _induced(game: BayesianGame, keys: IntArray, cells: IntArray) -> Any:
    """The matrix that takes weights of profiles to sigma at the cells."""
    from scipy.sparse import csr_matrix

    grid = np.indices(game.type_shape).reshape(game.n_players, 1, -1)
    chosen = [s[:, grid[j, 0]] for j, s in enumerate(unpack(keys, game.type_shape))]
    width = int(np.prod(game.action_shape))
    cell = np.arange(game.prior.size) * width + np.ravel_multi_index(tuple(chosen), game.action_shape)
    column = np.repeat(np.arange(len(keys)), game.prior.size)
    size = int(np.prod(game.shape))
    whole = csr_matrix((np.ones(cell.size), (cell.ravel(), column)), shape=(size, len(keys)))
    return whole[cells]
