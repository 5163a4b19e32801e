"""Linear programs in doubles (HiGHS) with growing columns, and their bases solved again in rationals (FLINT).

Nothing here is trusted: duals become multipliers that the kernel evaluates, vertices become plays that it assesses.
Programs are always minimised (``- cost``), at tolerance 1e-9, because HiGHS can flip dual signs when maximising.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import Any

import flint
import highspy
import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from ..verify.game import FloatArray
from .arrays import Columns, IntArray

GAP = 1e-9
"""Objectives are scaled to [0, 1]: an LP is solved when its bound is within this of its value."""

INTERIOR_ROWS = 300
"""Above so many rows a master that is not feasible at first, or slow, goes to the interior-point method (measured)."""

HARD_SHARE = 0.25
"""A search is hard where more than this share of the regrets exceed epsilon at the play that is best among each joint
type's few best cells (measured: 0.28 and more for least welfare or payoff, 0.18 and less for the leader's)."""

INTERIOR_GAP = 1e-4
"""Where bound and value are this close, the simplex method takes over from the interior-point method."""

CENTRED = 1e-12
"""By how much columns and rows may miss their equations when they are solved again in doubles."""

KEPT = 3
"""Columns a row that survive a round of the interior-point method (measured)."""

SLOW_SIMPLEX = 5
"""Iterations a row after which one simplex solve of a large master counts as slow; no clock, so that runs repeat."""

MAX_EXACT = 400
MAX_BITS = 4_000
"""A vertex of more rows, or of longer numbers than this, is not solved in rationals: it would take longer than the rest
of the search, and its certificate longer to check (measured)."""


@dataclass(frozen=True, eq=False)
class Solution:
    """A solution: value to be maximised, primal x, row duals (>= 0 for rows <= ), the basis, the rows' excess, and how
    many have some.

    The interior-point method leaves the basis empty.
    """

    value: float
    x: FloatArray
    duals: FloatArray
    basic: IntArray
    tight: IntArray
    exceeded: float = 0.0
    rows_exceeded: int = 0


class Program:
    """max cost x subject to A x <= bounds (first rows), A x = equal (the rest), x >= 0; columns come in batches.

    With a ``price``, each of the first rows may be exceeded at that price until `close` is called.
    """

    def __init__(self, bounds: FloatArray, equal: FloatArray, price: float | None = None) -> None:
        self.highs = highspy.Highs()
        for name, value in (
            ("output_flag", False),
            ("threads", 1),
            ("primal_feasibility_tolerance", 1e-9),
            ("dual_feasibility_tolerance", 1e-9),
            ("presolve", "off"),
        ):
            self.highs.setOptionValue(name, value)
        lower = np.concatenate([np.full(len(bounds), -np.inf), equal])
        none = np.zeros(0, dtype=np.int32)
        count = len(lower)
        upper = np.concatenate([bounds, equal])
        self.highs.addRows(count, lower, upper, 0, np.zeros(count, dtype=np.int32), none, np.zeros(0))
        self.rows, self.slacks, self.entries, self.interior = count, 0, 0, False
        if price is not None:
            each = np.arange(len(bounds))
            self.add(Columns(np.full(len(bounds), -price), each, each, np.full(len(bounds), -1.0)))
            self.slacks = len(bounds)

    def reprice(self, price: float) -> None:
        """Changes what exceeding a row costs."""
        each = np.arange(self.slacks, dtype=np.int32)
        self.highs.changeColsCost(self.slacks, each, np.full(self.slacks, price))

    def use_interior(self) -> None:
        """From here on the interior-point method, whose solutions have no basis but whose duals are central."""
        self.interior = True
        self.highs.setOptionValue("solver", "ipx")
        self.highs.setOptionValue("run_crossover", "off")

    def use_simplex(self, seconds: float) -> None:
        """Back to the simplex method, from a basis that crossover finds."""
        self.highs.setOptionValue("run_crossover", "on")
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + max(seconds, 0.05))
        self.highs.run()
        self.highs.setOptionValue("solver", "simplex")
        self.interior = False

    def drop(self, most: int) -> npt.NDArray[np.bool_]:
        """Keeps the columns (slacks apart) with the best reduced costs, so many; says which."""
        costs = np.array(self.highs.getSolution().col_dual)[self.slacks :]
        kept = np.zeros(len(costs), dtype=bool)
        kept[np.argpartition(costs, most)[:most]] = True
        gone = (self.slacks + np.flatnonzero(~kept)).astype(np.int32)
        self.highs.deleteCols(len(gone), gone)
        return kept

    def close(self) -> None:
        """No row may be exceeded any more; the basis is kept."""
        each, zero = np.arange(self.slacks, dtype=np.int32), np.zeros(self.slacks)
        self.highs.changeColsBounds(self.slacks, each, zero, zero)
        self.highs.changeColsCost(self.slacks, each, zero)

    def add(self, columns: Columns) -> None:
        """Adds columns; entries below 1e-9 would be dropped by HiGHS and are dropped here."""
        kept = np.abs(columns.value) >= 1e-9
        self.entries += int(kept.sum())
        column, row, value = columns.column[kept], columns.row[kept], columns.value[kept]
        starts = np.searchsorted(column, np.arange(columns.count)).astype(np.int32)
        zero, top = np.zeros(columns.count), np.full(columns.count, np.inf)
        self.highs.addCols(
            columns.count, -np.asarray(columns.cost, float), zero, top, len(row), starts, row.astype(np.int32), value
        )

    def solve(self, seconds: float, iterations: float = np.inf) -> Solution | None:
        """The optimum, or None: infeasible, unbounded, out of time or of simplex iterations."""
        self.highs.setOptionValue("simplex_iteration_limit", int(min(iterations, 2**31 - 1)))
        # HiGHS counts its own run time over all calls, so the limit moves on
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + max(seconds, 0.05))
        self.highs.run()
        info = self.highs.getInfo()
        if not self.interior and max(info.max_primal_infeasibility, info.max_dual_infeasibility) > 1e-9:
            # the tolerance was met by HiGHS's scaled model only (seen: 4e-8): go on from this basis without scaling
            self.highs.setOptionValue("simplex_scale_strategy", 0)
            self.highs.run()
        if self.highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found, basis = self.highs.getSolution(), self.highs.getBasis()
        value, duals = -info.objective_function_value, -np.array(found.row_dual)
        x = np.array(found.col_value)
        excess = x[: self.slacks]
        exceeded, many = float(excess.sum()), int((excess > 1e-9).sum())
        if self.interior:
            none = np.zeros(0, dtype=np.int64)
            return Solution(value, x[self.slacks :], duals, none, none, exceeded, many)
        is_basic = highspy.HighsBasisStatus.kBasic
        columns = np.array([status == is_basic for status in basis.col_status])
        rows = np.array([status == is_basic for status in basis.row_status])
        # a slack in the basis takes the place of its row's own
        rows[: self.slacks] |= columns[: self.slacks]
        # after the first solve the basis stays primal feasible when columns come: go on with the primal simplex
        self.highs.setOptionValue("simplex_strategy", 4)
        basic, tight = np.flatnonzero(columns[self.slacks :]), np.flatnonzero(~rows)
        return Solution(value, x[self.slacks :], duals, basic, tight, exceeded, many)


@dataclass(frozen=True, eq=False)
class Generated:
    """What column generation ended with.

    Attributes:
        solution: the last master's solution over `keys`; None if no feasible play was found in time.
        keys: the columns that the solution speaks of, one row each; without a solution, the pool.
        duals: row duals of the best bound seen, whether or not the search came to an end.
        bound: what they prove, as the oracle reckons in doubles.
        converged: whether bound and value met.
        interrupted: whether the user stopped it.
        hard: whether it stopped because another method had better go on.
    """

    solution: Solution | None
    keys: IntArray
    duals: FloatArray
    bound: float
    converged: bool
    interrupted: bool = False
    hard: bool = False


Oracle = Callable[[FloatArray, bool], tuple[IntArray, float]]


def generate(
    bounds: FloatArray,
    n_masses: int,
    pool: IntArray,
    columns_of: Callable[[IntArray], Columns],
    oracle: Oracle,
    deadline: float,
    progress: Callable[[str], None] | None = None,
    *,
    entries: float = np.inf,
    yields: bool = False,
) -> Generated:
    """Column generation: a master over a pool of columns, grown by an oracle until the bound meets the value.

    Args:
        bounds: right-hand sides of the regret rows.
        n_masses: number of rows "= 1" after them.
        pool: keys of the first columns, one row each.
        columns_of: the columns of some keys.
        oracle: takes row duals and whether to be generous; returns keys of improving columns (perhaps none) and the
            bound the duals prove.
        deadline: `time.monotonic` value at which to stop with what is known.
        progress: told the state of the search in words.
        entries: how many numbers the master may hold; it stops growing there.
        yields: whether to stop where the search turns out to be hard (`Generated.hard`).

    Until the master is feasible, every regret row may be exceeded at a price; the price grows if it is still paid
    when the oracle has nothing left to offer.
    """
    price: float | None = 4.0
    best_bound, best_duals = np.inf, np.zeros(len(bounds) + n_masses)
    program = Program(bounds, np.ones(n_masses), price)
    program.add(columns_of(pool))
    solution: Solution | None = None
    solved, highest = pool, -np.inf
    large, first_done = program.rows > INTERIOR_ROWS, False
    patience = float(SLOW_SIMPLEX * program.rows) if large else np.inf
    try:
        while monotonic() < deadline:
            current = program.solve(deadline - monotonic(), patience)
            if current is None and patience < np.inf and monotonic() < deadline:
                if yields:
                    return Generated(
                        solution, pool if solution is None else solved, best_duals, best_bound, False, hard=True
                    )
                patience = np.inf
                program.use_interior()
                continue
            if current is None:
                break
            if price and current.exceeded <= (1e-7 if program.interior else 1e-9):
                program.close()
                price = None
                current = current if program.interior else program.solve(deadline - monotonic())
                if current is None:
                    break
            elif price and not first_done and (large or current.rows_exceeded > HARD_SHARE * len(bounds)):
                # far from an equilibrium among the best cells: many regrets will bind
                if yields:
                    return Generated(None, pool, best_duals, best_bound, False, hard=True)
                if large:
                    patience = np.inf
                    program.use_interior()
            first_done = True
            if price is None:
                solution, solved = current, pool
            new, bound = oracle(current.duals, program.interior)
            if bound < best_bound or not np.isfinite(best_bound):
                best_bound, best_duals = bound, current.duals
            if progress:
                value = f"{current.value:.6f}" if price is None else "not yet feasible"
                progress(f"{len(pool)} columns, value {value}, bound {best_bound:.6f} (scaled)")
            if program.interior and price is None and best_bound - current.value <= INTERIOR_GAP:
                program.use_simplex(deadline - monotonic())
                continue
            if price is None and best_bound - current.value <= GAP and not program.interior:
                return Generated(solution, solved, best_duals, best_bound, True)
            if len(new):
                new = _unseen(new, pool)
            if not len(new):
                if price is None and program.interior:
                    program.use_simplex(deadline - monotonic())
                    continue
                if price is None or price > 1e9:
                    break
                price *= 16.0
                program.reprice(price)
                continue
            if program.interior and price is None:
                # never dropped while the value stands still: what comes and goes would come and go for ever
                if current.value > highest + INTERIOR_GAP and len(pool) > KEPT * program.rows:
                    pool = pool[program.drop(KEPT * program.rows)]
                highest = max(highest, current.value)
            pool = np.concatenate([pool, new])
            if program.entries > entries:
                break
            program.add(columns_of(new))
    except KeyboardInterrupt:
        if progress:
            progress("interrupted; going on with what is known")
        return Generated(
            solution, pool if solution is None else solved, best_duals, best_bound, False, interrupted=True
        )
    return Generated(solution, pool if solution is None else solved, best_duals, best_bound, False)


def _unseen(new: IntArray, pool: IntArray) -> IntArray:
    """Rows of ``new`` that are not in ``pool``, each once."""
    if pool.shape[1] == 1:
        return np.setdiff1d(new, pool)[:, None]
    known = {row.tobytes() for row in np.ascontiguousarray(pool)}
    out = []
    for row in np.ascontiguousarray(new):
        if row.tobytes() not in known:
            known.add(row.tobytes())
            out.append(row)
    return np.array(out, dtype=np.int64).reshape(-1, pool.shape[1])


@dataclass(frozen=True, eq=False)
class Vertex:
    """A basic solution in rationals: x of the basic columns, and duals of the tight rows by row number."""

    x: list[Fraction]
    duals: dict[int, Fraction]


def exact_vertex(columns: Columns, tight: IntArray, right: dict[int, Fraction]) -> Vertex | None:
    """Solves a basis exactly: tight rows times basic columns, both ways (engines: exact proofs are cheap).

    Args:
        columns: the basic columns in integers.
        tight: numbers of the tight rows, as many as columns.
        right: right-hand sides of the tight rows that are not 0.

    Returns:
        None if the basis is singular or the numbers grow past what a certificate should hold.
    """
    size = columns.count
    if size == 0 or size > MAX_EXACT or len(tight) != size:
        return None
    where = {int(r): k for k, r in enumerate(tight)}
    matrix = [[0] * size for _ in range(size)]
    for c, r, value in zip(columns.column.tolist(), columns.row.tolist(), columns.value.tolist(), strict=True):
        if r in where:
            matrix[where[r]][c] = int(value)
    if _bits(matrix) > MAX_BITS:
        return None
    scale = math.lcm(*(value.denominator for value in right.values()))
    vector = [[int(right.get(int(r), Fraction(0)) * scale)] for r in tight]
    try:
        square = flint.fmpz_mat(matrix)
        x = square.solve(flint.fmpz_mat(vector))
        z = square.transpose().solve(flint.fmpz_mat([[int(cost)] for cost in columns.cost]))
    except ZeroDivisionError:
        return None
    primal = [_fraction(x[k, 0]) / scale for k in range(size)]
    return Vertex(primal, {int(r): _fraction(z[k, 0]) for k, r in enumerate(tight)})


def polished(columns: Columns, solution: Solution, right: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x of the basic columns and all row duals of a basis, to the last digits of doubles (solvers stop at 1e-9).

    Args:
        columns: the basic columns.
        solution: whose basis it is.
        right: right-hand sides of all rows.

    The solver's own numbers come back where the basis is singular in doubles, or leads elsewhere.
    """
    x, duals = solution.x[solution.basic], solution.duals
    size, tight = columns.count, solution.tight
    if not size or len(tight) != size:
        return x, duals
    where = np.full(len(duals), -1)
    where[tight] = np.arange(size)
    matrix, kept = np.zeros((size, size)), where[columns.row] >= 0
    matrix[where[columns.row[kept]], columns.column[kept]] = columns.value[kept]
    try:
        inverse = np.linalg.inv(matrix)
    except np.linalg.LinAlgError:
        return x, duals
    cost = np.asarray(columns.cost, dtype=float)
    own, z = inverse @ right[tight], inverse.T @ cost
    own += inverse @ (right[tight] - matrix @ own)
    z += inverse.T @ (cost - matrix.T @ z)
    if not (np.abs(own - x).max() <= 1e-6 and np.abs(z - duals[tight]).max() <= 1e-6):
        return x, duals
    out = np.zeros(len(duals))
    out[tight] = z
    return np.maximum(own, 0.0), out


def centred(
    columns: Columns, tight: IntArray, n_regrets: int, right: FloatArray, x: FloatArray
) -> tuple[FloatArray, FloatArray] | None:
    """x and row duals next to those of an interior-point method, to the last digits of doubles; None if there are none.

    Args:
        columns: those that have mass at the optimum.
        tight: numbers of the rows that are met with equality there.
        n_regrets: how many of all rows are regrets, whose duals must not be negative.
        right: right-hand sides of all rows.
        x: the columns' masses, positive; also what a change of them is weighed by.
    """
    where = np.full(len(right), -1)
    where[tight] = np.arange(len(tight))
    matrix, kept = np.zeros((len(tight), columns.count)), where[columns.row] >= 0
    matrix[where[columns.row[kept]], columns.column[kept]] = columns.value[kept]
    cost, weighed = np.asarray(columns.cost, dtype=float), matrix * np.sqrt(x)
    normal = weighed @ weighed.T
    try:
        factors = cho_factor(normal, lower=True, check_finite=False)
    except LinAlgError:
        return None
    z, own = np.zeros(len(tight)), x
    for _ in range(3):
        own = own + x * (cho_solve(factors, right[tight] - matrix @ own, check_finite=False) @ matrix)
        z = z + cho_solve(factors, matrix @ (x * (cost - z @ matrix)), check_finite=False)
    off = max(np.abs(right[tight] - matrix @ own).max(), np.abs(cost - z @ matrix).max())
    if not off <= CENTRED or min(own.min(), z[tight < n_regrets].min(initial=0.0)) < 0:
        return None
    duals = np.zeros(len(right))
    duals[tight] = z
    return own, duals


def _bits(matrix: list[list[int]]) -> float:
    """Hadamard's bound on the bits of the determinant: how long the numbers of a vertex can get."""
    return float(sum(0.5 * np.log2(max(1.0, float(sum(v * v for v in row)))) for row in matrix))


def _fraction(value: Any) -> Fraction:
    return Fraction(int(value.p), int(value.q))
