"""The searches behind a range: which multipliers might prove a bound, and which plays might attain it.

`search_cells` serves the type-conditional and non-signalling sets (theory T4), `search_plans` the strategic form. What
they return is only proposed; `bounds.py` has the kernel decide.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from time import monotonic
from typing import Any

import numpy as np

from ..verify.game import FloatArray
from ..verify.plain import grid_row, tensor
from ..verify.play import ConditionalPlay, PlanPlay, Play, SparsePlay
from .arrays import Columns, IntArray, Problem
from .branching import best_profile
from .linear import GAP, Program, Vertex, exact_vertex, generate
from .plans import alternate, plan_columns, random_profiles, unpack
from .polytope import CellProgram, cells_of, round_non_signalling

DIRECT_COLUMNS = 3_000
"""Up to here one linear program over all cells beats column generation (measured)."""

FEW, MANY = 6, 10
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
        cells: cells worth keeping, by set and sense.
        entries: how many numbers a linear program may hold.
        interrupted: whether the user asked to stop; later searches then return at once.
    """

    plans: IntArray | None = None
    cells: dict[tuple[bool, int], IntArray] = field(default_factory=dict)
    entries: float = np.inf
    interrupted: bool = False


@dataclass
class Proposal:
    """What a search hands to the kernel.

    Attributes:
        proofs: the most promising first. For the strategic form they await the search over strategies (theory T5).
        plays: plays that may attain the optimum, the best first.
        method: how, in words.
    """

    proofs: list[Proof] = field(default_factory=list)
    plays: list[Play] = field(default_factory=list)
    method: str = ""


# ------------------------------------------------------------------------------- cells: TC and NS


def search_cells(
    problem: Problem, *, signalling: bool, deadline: float, progress: Progress | None, pool: Pool | None = None
) -> Proposal:
    """Best sigma(a | types) over the type-conditional (``signalling``) or the non-signalling set, with its duals."""
    game = problem.game
    program = CellProgram(game, problem.rows, problem.n_regrets, signalling=signalling)
    cells = cells_of(game, everywhere=not signalling)

    def columns(keys: IntArray) -> Columns:
        return program.columns(problem.arrays, keys[:, 0])

    pool = pool or Pool()
    out, wide = Proposal(), game.n_players * (max(game.action_shape) + 2)
    if not signalling and len(cells) * wide > pool.entries:
        out.method = f"a linear program over {len(cells)} cells would not fit the memory allowed"
        return out
    if len(cells) <= DIRECT_COLUMNS or not signalling:
        out.method = f"one linear program over {len(cells)} cells"
        keys = cells[:, None]
        masses = np.zeros(program.n_rows - problem.n_regrets)
        masses[: program.n_masses] = 1.0
        whole = Program(problem.bounds, masses)
        whole.add(columns(keys))
        if progress:
            progress(f"solving a linear program of {program.n_rows} rows and {len(cells)} columns")
        solution = whole.solve(deadline - monotonic())
        duals = solution.duals if solution else None
    else:
        oracle = _CellOracle(problem, program)
        before = pool.cells.get((signalling, problem.sign))
        first = oracle.first() if before is None else np.union1d(before, oracle.first())[:, None]
        found = generate(
            problem.bounds, program.n_masses, first, columns, oracle, deadline, progress, entries=pool.entries
        )
        pool.interrupted |= found.interrupted
        if found.solution is not None:
            kept = np.union1d(np.flatnonzero(found.solution.x > 0), found.solution.basic)
            pool.cells[signalling, problem.sign] = found.keys[kept]
        solution, keys, duals = found.solution, found.keys, found.duals
        out.method = f"column generation over {len(cells)} cells, {len(keys)} used"
        out.method += "" if found.converged else ", stopped early"
    if duals is None:
        out.method += ", not solved in time"
        return out
    if solution is not None:
        basis = program.columns(problem.integers, keys[solution.basic, 0])
        vertex = _vertex(problem, program.n_masses, basis, solution.tight)
        if vertex is not None:
            potentials = None if signalling else _exact_potentials(problem, program, vertex)
            value = _vertex_value(problem, program.n_masses, vertex)
            out.proofs.append(Proof(problem.exact_rows(vertex.duals), potentials, value))
            if min(vertex.x) >= 0:
                out.method += ", vertex exact"
                chosen = keys[solution.basic, 0]
                if signalling:
                    out.plays.append(_sparse(problem, chosen, vertex.x))
                else:
                    out.plays.append(ConditionalPlay(_dense(problem, chosen, vertex.x, object).tolist()))
        if not out.plays and signalling:
            out.plays.append(rounded_cells(problem, keys[:, 0], solution.x))
        elif not out.plays:
            sigma = _dense(problem, keys[:, 0], np.maximum(solution.x, 0.0), float)
            sigma /= sigma.reshape(*game.type_shape, -1).sum(axis=-1).reshape(game.type_shape + (1,) * game.n_players)
            out.plays.append(ConditionalPlay(round_non_signalling(game, sigma).tolist()))
    potentials = None if signalling else [-f * problem.objective_scale for f in program.potentials(duals)]
    out.proofs.append(Proof(problem.multipliers(duals), potentials))
    return out


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
    masses = [Fraction(0)] * len(cells)
    joint = cells // problem.pricer.width
    for types in np.unique(joint).tolist():
        own = np.flatnonzero((joint == types) & (x > 0))
        if len(own):
            for k, mass in zip(own.tolist(), grid_row([Fraction(v) for v in x[own].tolist()]), strict=True):
                masses[k] = mass
    return _sparse(problem, cells, masses)


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
    out = Proposal(method=f"column generation over strategy profiles, {len(found.keys)} used")
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
