"""The searches behind a range: which multipliers might prove a bound, and which plays might attain it.

`search_cells` serves the type-conditional and non-signalling sets (theory T4), `search_plans` the strategic form. What
they return is only proposed; `bounds.py` has the kernel decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import monotonic
from typing import Any

import numpy as np

from ..verify.certificate import round_multipliers, round_potentials
from ..verify.game import BayesianGame, FloatArray
from ..verify.plain import tensor
from ..verify.play import ConditionalPlay, PlanPlay, Play, SparsePlay
from .arrays import Columns, IntArray, Problem
from .branching import best_profile
from .interior import bytes_needed, interior_point, unknowns
from .linear import GAP, MAX_BITS, MAX_EXACT, Program, Solution, Vertex, centred, exact_vertex, generate, polished
from .plans import alternate, plan_columns, random_profiles, unpack
from .polytope import NEGLIGIBLE, CellProgram, cells_of, on_grid, round_non_signalling, transported

DIRECT_COLUMNS, NS_COLUMNS = 500, 3_000
"""Up to here one linear program over all cells beats column generation over the type-conditional set, and the
interior-point method over the non-signalling one (measured)."""

ROUND_SECONDS, CELL_SECONDS, CUBE_SECONDS = 5e-4, 2.2e-8, 2.5e-11
"""What a round of the interior-point method over the type-conditional set takes, for each cell and player, and for the
cube of the regret rows; it needs about `INTERIOR_ROUNDS` of them (measured)."""

SIFT_SECONDS = 6.5e-6
"""What column generation over that set takes on a hard objective for the square of its rows (measured)."""

OBVIOUS_SHARE = 0.9
"""A search is hard at first sight where uniform play over each joint type's few best cells exceeds epsilon in more than
this share of the regrets (measured on nine sizes: all for least welfare, at most 0.76 where sifting is quicker)."""

DIRECT_CELLS = 100_000
"""Up to here the non-signalling program is written down where the interior-point method lacks time or memory."""

HURRIED = 4.0
"""It is also tried where it would need so many times the time that is left: what it has by then is proved."""

MOST_MASSES = 200_000
"""A play of more cells than this, which only an unfinished search leaves, is not made exact."""

SMALL_SUPPORT = 1e-6
"""Where bound and value are this close, few cells have mass that counts, whether or not the search ended."""

INTERIOR_PER_CELL, INTERIOR_PER_FLOP, INTERIOR_ROUNDS = 2.5e-7, 2.5e-11, 30
"""Seconds that a round of the interior-point method takes, and how many rounds it needs (measured)."""

NEAR_COLUMNS, NEAR_ROWS, NEAR_LOSS = 20_000, 10_000, 1e-8
"""Over so many cells and rows a vertex is looked for from the interior, and what it may lose by leaving out the others.

With 20,000 rows it took four times as long as all before it, and longer."""

MAX_CENTRED = 2_000
"""Up to so many rows the interior-point method's end over the type-conditional set is made sharp by a dense system."""

GRID = 1 << 50
"""Grid of multipliers, potentials and masses that were not solved in rationals."""

ENTRY_BYTES = 100
"""Memory a number in a linear program takes, solver's copies and factors included (measured)."""

METHODS = {
    "tc": ("auto", "direct", "sifting", "interior"),
    "ns": ("auto", "direct", "interior"),
    "sf": ("auto", "plans"),
}
"""The methods that a caller may ask for, by set."""

FEW, MANY = 4, 10
"""Cells of a joint type offered in one round, to the simplex and to the interior-point method (measured)."""

FEW_STARTS, MANY_STARTS = 24, 400
"""From how many profiles best replies start at first, and before branch and bound (measured)."""

ENOUGH = 500_000
"""Nodes of branch and bound after a first find: a better column would cost more than another round (measured)."""

Progress = Callable[[str], None]


Rows = list[tuple[int, int, int, Fraction]]


@dataclass(frozen=True)
class Proof:
    """Multipliers (exact rows, or arrays to be rounded) and potentials, and what they should prove if that is known."""

    multipliers: Any
    potentials: Any = None
    value: Fraction | None = None


@dataclass
class Pool:
    """What one search leaves to the next, whatever its epsilon, and what all of them may use.

    Attributes:
        plans: strategy profiles worth keeping; a profile is one whatever the objective.
        cells: cells of the type-conditional set worth keeping, by sense.
        entries: how many numbers a linear program may hold.
        interrupted: whether the user asked to stop; later searches then return at once.
    """

    plans: IntArray | None = None
    cells: dict[int, IntArray] = field(default_factory=dict)
    entries: float = np.inf
    interrupted: bool = False


@dataclass
class Proposal:
    """What a search hands to the kernel.

    Attributes:
        proofs: the most promising first. For the strategic form they await the search over strategies (theory T5).
        plays: plays that may attain the optimum, the best first.
        method: how, in words.
        converged: whether the search came to its end.
    """

    proofs: list[Proof] = field(default_factory=list)
    plays: list[Play] = field(default_factory=list)
    method: str = ""
    converged: bool = True


# ------------------------------------------------------------------------------- cells: TC and NS


def search_cells(
    problem: Problem,
    *,
    signalling: bool,
    deadline: float,
    progress: Progress | None,
    pool: Pool | None = None,
    method: str = "auto",
) -> Proposal:
    """Best sigma(a | types) over the type-conditional (``signalling``) or the non-signalling set, with its duals.

    Args:
        problem: game, objective, sense, epsilon.
        signalling: which set.
        deadline: `time.monotonic` value at which to stop with what is known.
        progress: told the state of the search in words.
        pool: what earlier searches left, and what this one may use.
        method: one of `METHODS`; ``auto`` chooses by the game's shape, and again by the search's progress.
    """
    pool, cells = pool or Pool(), cells_of(problem.game, everywhere=not signalling)
    if method == "auto":
        method = _choose(problem, len(cells), signalling, pool, deadline)
    if method == "interior":
        return _interior(problem, len(cells), signalling, deadline, progress, pool)
    if method == "direct":
        return _direct(problem, cells, signalling, deadline, progress, pool)
    if method == "none":
        return Proposal(method=f"{len(cells)} cells are too many for the time and memory allowed", converged=False)
    return _sift(problem, cells, deadline, progress, pool, yields=method == "sifting, then interior")


def _choose(problem: Problem, cells: int, signalling: bool, pool: Pool, deadline: float) -> str:
    """The method for a game's shape; the interior-point method needs a regret row and its memory."""
    fits = problem.n_regrets > 0 and bytes_needed(problem, signalling=signalling) <= ENTRY_BYTES * pool.entries
    if signalling:
        if cells <= DIRECT_COLUMNS:
            return "direct"
        return "sifting, then interior" if fits and _interior_wins(problem, cells) else "sifting"
    left = deadline - monotonic()
    if fits and cells > NS_COLUMNS and interior_seconds(problem) <= HURRIED * left:
        return "interior"
    small = cells <= NS_COLUMNS and unknowns(problem, signalling=False)[1] * problem.game.prior.size <= MAX_EXACT
    if fits and not small and interior_seconds(problem) <= left:
        return "interior"
    return "direct" if cells <= DIRECT_CELLS else "none"


def _interior_wins(problem: Problem, cells: int) -> bool:
    """Whether a hard search over the type-conditional set is quicker with all cells at once, by its shape alone."""
    rows, n = problem.n_regrets, problem.game.n_players
    each = ROUND_SECONDS + CELL_SECONDS * n * cells + CUBE_SECONDS * float(rows) ** 3
    return INTERIOR_ROUNDS * each <= SIFT_SECONDS * float(rows + int((problem.game.prior > 0).sum())) ** 2


def interior_seconds(problem: Problem) -> float:
    """What the interior-point method will need over the non-signalling set, roughly."""
    dense, local = unknowns(problem, signalling=False)
    work = float(dense) ** 3 + 3.0 * problem.game.prior.size * float(local) ** 3
    return INTERIOR_ROUNDS * (INTERIOR_PER_CELL * float(np.prod(problem.game.shape)) + INTERIOR_PER_FLOP * work)


def _interior(
    problem: Problem, cells: int, signalling: bool, deadline: float, progress: Progress | None, pool: Pool
) -> Proposal:
    """All cells at once by the interior-point method; multipliers and play are rounded, with a proved loss."""
    game, out = problem.game, Proposal(converged=False)
    if bytes_needed(problem, signalling=signalling) > ENTRY_BYTES * pool.entries:
        out.method = "the interior-point method would not fit the memory allowed"
        return out
    found = interior_point(problem, signalling=signalling, deadline=deadline, progress=progress)
    pool.interrupted |= found.interrupted
    out.method = f"interior-point method over {cells} cells, {found.rounds} rounds"
    out.converged = found.converged
    sigma = np.maximum(found.sigma, 0.0)
    tight = np.flatnonzero(found.duals > found.slacks)
    program = CellProgram(game, problem.rows, problem.n_regrets, signalling=signalling)
    price = _CellOracle(problem, program) if signalling else None
    duals, keys, masses = found.duals, found.near, None
    if found.converged and price is not None and program.n_rows <= MAX_CENTRED:
        rows = np.concatenate([tight, np.arange(problem.n_regrets, program.n_rows)])
        right = np.concatenate([problem.bounds, program.right])
        columns, here = program.columns(problem.arrays, keys), sigma.ravel()[keys]
        sharp = centred(columns, rows, problem.n_regrets, right, here)
        # where rows depend on each other, duals that fit these cells may not fit the others
        if sharp is not None and price(sharp[1], False)[1] <= found.bound + GAP:
            masses, duals = sharp
            out.method += ", end made sharp"
    if signalling and masses is None:
        keys = np.flatnonzero(sigma.ravel() > NEGLIGIBLE)
        masses = sigma.ravel()[keys]
    if masses is None and (found.bound - found.value <= SMALL_SUPPORT or sigma.size <= MOST_MASSES):
        sigma /= sigma.sum(axis=1, keepdims=True)
        out.plays.append(as_non_signalling(game, sigma.reshape(game.shape)))
    elif masses is not None and len(keys) <= MOST_MASSES:
        out.plays.append(rounded_cells(problem, keys, masses))
    potentials = found.potentials
    scaled = None if potentials is None else [f * problem.objective_scale for f in potentials]
    out.proofs.append(_rounded(problem, duals, scaled))
    early = "" if found.converged else ", stopped early"
    long = program.n_rows > MAX_EXACT or _vertex_bits(problem, tight) > MAX_BITS
    large = len(found.near) > NEAR_COLUMNS or program.n_rows > NEAR_ROWS
    if found.interrupted or large or (found.converged and long):
        out.method += early
        return out
    # over the cells that may count the simplex method finds a vertex, whose play meets the rows
    over, near = Program(problem.bounds, program.right), found.near
    over.add(program.columns(problem.arrays, near))
    solution = over.solve(deadline - monotonic())
    while price is not None and solution is not None:
        # its multipliers may leave some of the other cells worth more
        new = np.setdiff1d(price(solution.duals, False)[0], near)
        if not len(new):
            break
        near = np.concatenate([near, new])
        over.add(program.columns(problem.arrays, new))
        solution = over.solve(deadline - monotonic())
    if solution is not None and solution.value >= found.bound - NEAR_LOSS:
        exact = Proposal(method=out.method + f", then a linear program over {len(near)} cells")
        _finish(problem, program, solution, near, solution.duals, exact)
        out.plays = exact.plays + out.plays
        # where no other cell was priced, its multipliers prove what they are worth only at an exact vertex
        out.proofs = [proof for proof in exact.proofs if signalling or proof.value is not None] + out.proofs
        out.method, out.converged = exact.method, True
    else:
        out.method += early
    return out


def as_non_signalling(game: BayesianGame, sigma: FloatArray) -> Play:
    """An exact play of the non-signalling set next to one in doubles."""
    if game.n_players == 2:
        return SparsePlay(transported(game, sigma))
    return ConditionalPlay(round_non_signalling(game, sigma).tolist())


def _direct(
    problem: Problem, cells: IntArray, signalling: bool, deadline: float, progress: Progress | None, pool: Pool
) -> Proposal:
    """One linear program over all cells."""
    game, out = problem.game, Proposal(method=f"one linear program over {len(cells)} cells", converged=False)
    if len(cells) * game.n_players * (max(game.action_shape) + 2) > pool.entries:
        out.method = f"a linear program over {len(cells)} cells would not fit the memory allowed"
        return out
    program = CellProgram(game, problem.rows, problem.n_regrets, signalling=signalling)
    whole = Program(problem.bounds, program.right)
    whole.add(program.columns(problem.arrays, cells))
    if progress:
        progress(f"solving a linear program of {program.n_rows} rows and {len(cells)} columns")
    solution = whole.solve(deadline - monotonic())
    if solution is None:
        out.method += ", not solved in time"
        return out
    out.converged = True
    _finish(problem, program, solution, cells, solution.duals, out)
    return out


def _sift(
    problem: Problem, cells: IntArray, deadline: float, progress: Progress | None, pool: Pool, *, yields: bool
) -> Proposal:
    """Column generation over the type-conditional set; where it is hard and may, it gives way to all cells at once."""
    game, out = problem.game, Proposal(method=f"column generation over {len(cells)} cells")
    program = CellProgram(game, problem.rows, problem.n_regrets, signalling=True)
    oracle = _CellOracle(problem, program)
    before = pool.cells.get(problem.sign)
    first = oracle.first() if before is None else np.union1d(before, oracle.first())[:, None]

    def columns(keys: IntArray) -> Columns:
        return program.columns(problem.arrays, keys[:, 0])

    found = None
    if not (yields and _exceeded(problem, columns(first)) > OBVIOUS_SHARE):
        options: dict[str, Any] = {"entries": pool.entries, "yields": yields}
        found = generate(problem.bounds, program.n_masses, first, columns, oracle, deadline, progress, **options)
        out.method += f", {len(found.keys)} used"
    if found is None or found.hard:
        after = _interior(problem, len(cells), True, deadline, progress, pool)
        after.method = f"{out.method}, hard; then {after.method}"
        if found is not None and not after.converged:
            after.proofs.append(Proof(problem.multipliers(found.duals)))
        return after
    pool.interrupted |= found.interrupted
    out.converged = found.converged
    out.method += "" if found.converged else ", stopped early"
    if found.solution is None:
        out.proofs.append(Proof(problem.multipliers(found.duals)))
        return out
    kept = np.union1d(np.flatnonzero(found.solution.x > 0), found.solution.basic)
    pool.cells[problem.sign] = found.keys[kept]
    _finish(problem, program, found.solution, found.keys[:, 0], found.duals, out)
    return out


def _exceeded(problem: Problem, columns: Columns) -> float:
    """The share of the regrets that exceed epsilon where the cells of each joint type are played alike."""
    rows, n = columns.row, problem.n_regrets
    masses = rows >= n
    joint = np.zeros(columns.count, dtype=np.int64)
    joint[columns.column[masses]] = rows[masses]
    shares = 1.0 / np.bincount(joint)[joint]
    gains = np.bincount(rows, columns.value * shares[columns.column], n)[:n]
    return float((gains > problem.bounds).mean())


def _finish(
    problem: Problem, program: CellProgram, solution: Solution, cells: IntArray, duals: FloatArray, out: Proposal
) -> None:
    """From a solution over some cells to proofs and plays: exactly at its vertex where that can be had."""
    game, signalling = problem.game, not program.equalities
    vertex, chosen = None, cells[solution.basic]
    if _vertex_bits(problem, solution.tight) <= MAX_BITS:
        vertex = _vertex(problem, program.n_masses, program.columns(problem.integers, chosen), solution.tight)
    if vertex is not None:
        potentials = None if signalling else _exact_potentials(problem, program, vertex)
        value = _vertex_value(problem, program.n_masses, vertex)
        out.proofs.append(Proof(problem.exact_rows(vertex.duals), potentials, value))
        if min(vertex.x) >= 0:
            out.method += ", vertex exact"
            if signalling:
                out.plays.append(_sparse(problem, chosen, vertex.x))
            else:
                out.plays.append(ConditionalPlay(_dense(problem, chosen, vertex.x, object).tolist()))
    if not out.plays:
        right = np.concatenate([problem.bounds, program.right])
        x, duals = polished(program.columns(problem.arrays, chosen), replace(solution, duals=duals), right)
    if not out.plays and signalling:
        out.plays.append(rounded_cells(problem, chosen, x))
    elif not out.plays:
        sigma = _dense(problem, chosen, x, float)
        sigma /= sigma.reshape(*game.type_shape, -1).sum(axis=-1).reshape(game.type_shape + (1,) * game.n_players)
        out.plays.append(as_non_signalling(game, sigma))
    potentials = None if signalling else [-f * problem.objective_scale for f in program.potentials(duals)]
    out.proofs.append(_rounded(problem, duals, potentials))


def _rounded(problem: Problem, duals: FloatArray, potentials: list[FloatArray] | None) -> Proof:
    """Multipliers from row duals in doubles, and potentials, on a grid finer than what doubles leave open."""
    rows = round_multipliers(problem.game, problem.multipliers(duals), GRID)
    return Proof(rows, None if potentials is None else round_potentials(problem.game, potentials, GRID))


def _vertex_bits(problem: Problem, tight: IntArray) -> float:
    """How long a vertex's numbers get, by Hadamard's bound, told from the game's numbers and the tight regret rows."""
    plain = problem.game.plain
    weight = math.log2(max(plain.prior.numerators))
    units = [
        math.log2(payoff.denominator) + math.log2(s)
        for payoff, s in zip(plain.payoffs, problem.payoff_scale, strict=True)
    ]
    each = np.concatenate(
        [np.full(int((rows >= 0).sum()), unit) for rows, unit in zip(problem.rows, units, strict=True)]
    )
    return float((each[tight[tight < problem.n_regrets]] + weight).sum())


class _CellOracle:
    """Prices all cells, block by block, and offers the best few of each joint type."""

    def __init__(self, problem: Problem, program: CellProgram) -> None:
        self.problem = problem
        self.masses = program.mass.ravel()
        self.width = problem.pricer.width

    def first(self) -> IntArray:
        """The cells with the largest objective."""
        zero = [np.zeros(rows.shape) for rows in self.problem.rows]
        return self._best(zero, np.full(len(self.masses), -np.inf), FEW)[0]

    def _best(self, multipliers: list[FloatArray], floors: FloatArray, each: int) -> tuple[IntArray, float]:
        """Each joint type's best cells above its floor, and the sum of all joint types' largest values."""
        out, total = [], 0.0
        for first, block in self.problem.pricer.blocks(multipliers):
            for k in np.flatnonzero(self.masses[first : first + len(block)] >= 0).tolist():
                row = block[k]
                good = np.flatnonzero(row > floors[first + k])
                total += float(row.max())
                if len(good) > each:
                    good = good[np.argpartition(row[good], len(good) - each)[len(good) - each :]]
                out.append(good + (first + k) * self.width)
        return np.concatenate(out)[:, None], total

    def __call__(self, duals: FloatArray, generous: bool) -> tuple[IntArray, float]:
        regrets = np.maximum(duals[: self.problem.n_regrets], 0.0)
        floors = duals[np.maximum(self.masses, 0)] + 0.1 * GAP / int((self.masses >= 0).sum())
        y = [np.maximum(part, 0.0) for part in self.problem.split(duals)]
        cells, total = self._best(y, floors, MANY if generous else FEW)
        return cells, float(self.problem.bounds @ regrets) + total


def _vertex(problem: Problem, n_masses: int, columns: Any, tight: IntArray) -> Vertex | None:
    right = {}
    for r in tight.tolist():
        if r < problem.n_regrets:
            right[r] = problem.epsilon * problem.row_units[r]
        elif r < problem.n_regrets + n_masses:
            right[r] = Fraction(1)
    return exact_vertex(columns, tight, right)


def _exact_potentials(problem: Problem, program: CellProgram, vertex: Vertex) -> list[Any]:
    duals = np.zeros(program.n_rows, dtype=object)
    for r, value in vertex.duals.items():
        duals[r] = -value / problem.objective_unit
    return [tensor([Fraction(v) for v in f.ravel().tolist()], f.shape) for f in program.potentials(duals)]


def _sparse(problem: Problem, cells: IntArray, masses: list[Fraction]) -> SparsePlay:
    """The play with the given masses on cells; joint types without any take their first feasible action."""
    game = problem.game
    used = [k for k, mass in enumerate(masses) if mass > 0]
    index = [axis.tolist() for axis in np.unravel_index(cells[used], game.shape)]
    n = game.n_players
    out = [(here[:n], here[n:], masses[k]) for k, here in zip(used, zip(*index, strict=True), strict=True)]
    seen = {types for types, *_ in out}
    for types in np.ndindex(*game.type_shape):
        if types not in seen:
            first = tuple(int(game.feasible[i][t].argmax()) for i, t in enumerate(types))
            out.append((types, first, Fraction(1)))
    return SparsePlay(sorted(out))


def rounded_cells(problem: Problem, cells: IntArray, x: FloatArray) -> SparsePlay:
    """A float solution clipped and put on the grid, each joint type's masses summing to 1."""
    units = np.zeros(len(cells), dtype=np.int64)
    joint = cells // problem.pricer.width
    for types in np.unique(joint).tolist():
        own = np.flatnonzero((joint == types) & (x > 0))
        if len(own):
            units[own] = on_grid(x[own], GRID)
    return _sparse(problem, cells, [Fraction(unit, GRID) for unit in units.tolist()])


def _dense(problem: Problem, cells: IntArray, masses: Any, dtype: Any) -> Any:
    """sigma with the given masses on cells, axes (types.., actions..); other joint types: first feasible action."""
    game = problem.game
    feasible = np.broadcast_to(game.feasible_cells, game.shape).reshape(game.prior.size, -1)
    sigma = np.zeros(feasible.shape, dtype=dtype)
    sigma.ravel()[cells] = masses
    empty = np.flatnonzero(~(sigma > 0).any(axis=1))
    sigma[empty, feasible[empty].argmax(axis=1)] = 1
    return sigma.reshape(game.shape)


# ------------------------------------------------------------------------------- plans: SF


def search_plans(problem: Problem, *, deadline: float, pool: Pool, progress: Progress | None) -> Proposal:
    """Best distribution over pure strategy profiles, by column generation with exact pricing."""
    game = problem.game
    oracle = _PlanOracle(problem, deadline)

    def columns(keys: IntArray) -> Columns:
        return plan_columns(problem.arrays, problem.rows, problem.n_regrets, keys)

    first = oracle.first() if pool.plans is None else np.concatenate([pool.plans, oracle.first()])
    first = np.unique(first, axis=0)
    found = generate(problem.bounds, 1, first, columns, oracle, deadline, progress, entries=pool.entries)
    pool.plans = found.keys
    pool.interrupted |= found.interrupted
    words = f"column generation over strategy profiles, {len(found.keys)} used"
    out = Proposal(method=words, converged=found.converged)
    out.method += "" if found.converged else ", stopped early"
    solution = found.solution
    if solution is not None:
        pool.plans = found.keys[np.unique(np.concatenate([np.flatnonzero(solution.x > 0), solution.basic]))]
        keys = found.keys[solution.basic]
        exact = plan_columns(problem.integers, problem.rows, problem.n_regrets, keys)
        vertex = _vertex(problem, 1, exact, solution.tight)
        if vertex is not None:
            if found.converged and all(z >= 0 for r, z in vertex.duals.items() if r < problem.n_regrets):
                out.proofs.append(Proof(problem.exact_rows(vertex.duals), None, _vertex_value(problem, 1, vertex)))
            if min(vertex.x) >= 0:
                used = [k for k, x in enumerate(vertex.x) if x > 0]
                out.plays.append(PlanPlay([vertex.x[k] for k in used], unpack(keys[used], game.type_shape)))
                out.method += ", vertex exact"
        if not out.plays:
            kept = np.flatnonzero(solution.x > 1e-12)
            weights = solution.x[kept] / solution.x[kept].sum()
            out.plays.append(PlanPlay(weights, unpack(found.keys[kept], game.type_shape)))
    out.proofs.append(Proof(problem.multipliers(found.duals)))
    return out


def _vertex_value(problem: Problem, n_masses: int, vertex: Vertex) -> Fraction:
    """The vertex's value from its duals: epsilon times the multipliers, and the duals of the mass rows."""
    regrets = sum((z * problem.row_units[r] for r, z in vertex.duals.items() if r < problem.n_regrets), Fraction(0))
    masses = range(problem.n_regrets, problem.n_regrets + n_masses)
    mass = sum((vertex.duals.get(r, Fraction(0)) for r in masses), Fraction(0))
    low = Fraction(problem.integer_low, problem.exact_objective.denominator)
    return problem.sign * (low + (problem.epsilon * regrets + mass) / problem.objective_unit)


class _PlanOracle:
    """Prices profiles: best replies from many starts, and branch and bound once those find nothing more."""

    def __init__(self, problem: Problem, deadline: float, each: int = 12) -> None:
        self.problem, self.deadline, self.each = problem, deadline, each
        self.rng = np.random.default_rng(0)
        self.recent: IntArray | None = None

    def _local(self, c: FloatArray, starts: int) -> tuple[IntArray, FloatArray]:
        game = self.problem.game
        first = random_profiles(game, starts, self.rng)
        if self.recent is not None:
            first = np.concatenate([self.recent, first])
        keys, values = alternate(c, first, game)
        keys, first = np.unique(keys, axis=0, return_index=True)
        order = np.argsort(-values[first], kind="stable")[: self.each]
        self.recent = keys[order]
        return keys[order], values[first][order]

    def first(self) -> IntArray:
        """Locally best profiles for the objective alone."""
        return self._local(self.problem.pricer.whole([np.zeros(rows.shape) for rows in self.problem.rows]), FEW_STARTS)[
            0
        ]

    def __call__(self, duals: FloatArray, generous: bool) -> tuple[IntArray, float]:
        problem = self.problem
        regrets = np.maximum(duals[: problem.n_regrets], 0.0)
        c = problem.pricer.whole([np.maximum(y, 0.0) for y in problem.split(duals)])
        paid = float(problem.bounds @ regrets)
        mass = float(duals[problem.n_regrets])
        floor = mass + 0.5 * GAP
        for starts in (FEW_STARTS, MANY_STARTS):
            keys, values = self._local(c, starts)
            good = values > floor
            if good.any():
                return keys[good], np.inf
        found = best_profile(c, problem.game, limit=floor, deadline=self.deadline, enough=ENOUGH)
        if found.profile is None:
            return keys[:0], found.bound + paid
        self.recent = np.concatenate([found.profile, keys])
        return found.profile, found.bound + paid
