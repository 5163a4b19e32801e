"""An interior-point method over all cells at once, for the type-conditional and the non-signalling sets (theory T4).

No matrix over cells is made (`newton.py`). Primal and dual, predictor and corrector (Mehrotra), from a start where all
rows but the regrets are met. Near the end of a degenerate non-signalling program the factors are poor; GMRES with them
as preconditioner meets a step's equations all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError

from ..verify.game import FloatArray
from .arrays import IntArray, Problem
from .newton import MOST_LIFT, Cells, NonSignalling, Step, TypeConditional, masked, subsets

TOLERANCE = 1e-10
"""Objectives are scaled to [0, 1]: the search has converged where bound and value are this close."""

AIM = {True: 1e-10, False: 1e-12}
"""And it ends where they are this close, over the type-conditional set (whose end is made sharp afterwards) or not."""

FEASIBLE = 2e-11
"""And rows are missed by no more than this."""

MOST_ROUNDS = 120

SETTLED, IDLE = 1e-8, 3
"""It also ends where bound and value are about this close and the bound has not moved for so many rounds."""

NEAR = 1e-7
"""Cells of a reduced cost up to this may have mass at an optimum."""

BACK = 0.995
"""Share of the way to the boundary that a step goes."""

ACCURATE, SHARE, MOST_STEPS = 3e-12, 1e-3, 40
"""A step's equations are met to this, or to a share of the gap, by GMRES in at most so many steps; the predictor's are
left to the factors, which takes fewer rounds too (measured)."""

POOR = 1e-8
"""Where GMRES leaves more than this (and more than was asked), the factors are lifted further from then on."""


@dataclass(frozen=True, eq=False)
class Interior:
    """Where the search ended.

    Attributes:
        sigma: cells, shape (joint types, joint actions).
        near: flat cells that may have mass at an optimum, as far as can be told.
        duals: of the regret rows, in the order of `Problem`'s rows.
        slacks: by how much the regrets fall short of epsilon, in the same order.
        potentials: the f_j of theory T5, scaled, for the non-signalling set.
        value, bound: of the scaled objective, in doubles.
        rounds: how many Newton steps.
        converged: whether bound and value met.
        interrupted: whether the user stopped it.
    """

    sigma: FloatArray
    near: IntArray
    duals: FloatArray
    slacks: FloatArray
    potentials: list[FloatArray] | None
    value: float
    bound: float
    rounds: int
    converged: bool
    interrupted: bool


def unknowns(problem: Problem, *, signalling: bool) -> tuple[int, int]:
    """Sizes of a step's dense system, and of the block of each joint type."""
    types, actions = problem.game.type_shape, problem.game.action_shape
    if signalling:
        return problem.n_regrets, 1
    shared = sum(int(np.prod([types[i] * (actions[i] - 1) for i in players])) for players in subsets(len(types)))
    return problem.n_regrets + shared, int(np.prod(actions)) - int(np.prod([a - 1 for a in actions]))


def bytes_needed(problem: Problem, *, signalling: bool) -> float:
    """What the search takes beside the game, about."""
    dense, local = unknowns(problem, signalling=signalling)
    cells, joint = float(np.prod(problem.game.shape)), problem.game.prior.size
    return 8.0 * ((10 if signalling else 15) * cells + 3.0 * joint * local**2 + 3.0 * dense**2)


def interior_point(
    problem: Problem, *, signalling: bool, deadline: float, progress: Callable[[str], None] | None = None
) -> Interior:
    """Best sigma over the type-conditional (``signalling``) or non-signalling set, with its duals (theory T4, T5).

    Args:
        problem: the game, with at least one regret row.
        signalling: which set.
        deadline: `time.monotonic` value at which to stop with what is known.
        progress: told the state of the search in words.
    """
    cells = Cells(problem, signalling=signalling)
    return _Search(TypeConditional(cells) if signalling else NonSignalling(cells)).run(deadline, progress)


class _Search:
    def __init__(self, system: Any) -> None:
        self.system, cells = system, system.cells
        self.aim = AIM[cells.signalling]
        shape, m = (cells.count, *cells.actions), cells.problem.n_regrets
        self.sigma, self.s, self.second = np.empty(shape), np.empty(shape), np.zeros(shape)
        self.ratio, self.masses = np.empty(shape), np.empty(shape)
        self.total = m
        for block in cells.blocks:
            part = masked(cells, block, np.ones((block.stop - block.start, *cells.actions)), 0.0)
            counts = part.reshape(len(part), -1).sum(axis=1)
            self.total += int(counts.sum())
            self.sigma[block] = part / cells.wide(counts)
        self.r, self.y = 0.5 + cells.problem.bounds, np.full(m, 1.0 / m)
        system.begin(self.y, self.sigma)
        for block in cells.blocks:
            self.s[block] = masked(cells, block, self._slack(block), 1.0)

    def _slack(self, block: slice) -> FloatArray:
        cells = self.system.cells
        return np.asarray(cells.cost(block) - self.system.pull(block, self.y, self.system.duals))

    def run(self, deadline: float, progress: Callable[[str], None] | None) -> Interior:
        value, highest, rounds = -np.inf, np.inf, 0
        best: tuple[FloatArray, FloatArray, Any] | None = None
        converged = interrupted = False
        lasted, idle = 0.0, 0
        try:
            while True:
                smallest, value = self._look()
                system = self.system
                pushed = system.push(lambda block: self.sigma[block])
                missed = system.missed(pushed, self.r, self.y)
                miss = max(float(np.abs(part).max(initial=0.0)) for part in missed[:2])
                bound = system.bound(self.y, smallest)
                idle = idle + 1 if bound > highest - self.aim else 0
                if best is None or bound < highest:
                    highest, best = bound, (self.y, system.duals, system)
                if progress:
                    progress(
                        f"round {rounds}, value {value:.6f} (rows missed by {miss:.0e}), bound {highest:.6f} (scaled)"
                    )
                converged = highest - value <= TOLERANCE and miss <= FEASIBLE
                if (
                    (converged and highest - value <= self.aim)
                    or rounds == MOST_ROUNDS
                    or monotonic() + lasted > deadline
                ):
                    break
                if idle >= IDLE and self.mean * self.total <= SETTLED:
                    break  # the bound is as good as it gets; the play is not for doubles to find this way
                began = monotonic()
                self._round(pushed, missed)
                lasted, rounds = monotonic() - began, rounds + 1
                last = system.worn(self.sigma)
                if last is not None:
                    self.system = system.resumed(last, self.sigma, self.s)
        except LinAlgError:
            pass  # doubles can tell no more
        except KeyboardInterrupt:
            interrupted = True
            if progress:
                progress("interrupted; going on with what is known")
        y, duals, system = best or (self.y, self.system.duals, self.system)
        cells = self.system.cells
        sigma = cells.restored(self.sigma)
        near = np.flatnonzero(cells.restored(np.where((self.s <= NEAR) & (self.sigma > 0), 1.0, 0.0)))
        potentials = system.potentials(y, duals)
        return Interior(sigma, near, y, self.r, potentials, value, highest, rounds, converged, interrupted)

    def _look(self) -> tuple[FloatArray, float]:
        """Each joint type's smallest reduced cost, and the value; s becomes those costs, where rounding lets it."""
        cells = self.system.cells
        smallest, cost, self.mean = np.empty(cells.count), 0.0, float(self.r @ self.y)
        for block in cells.blocks:
            slack = masked(cells, block, self._slack(block), np.inf)
            smallest[block] = slack.reshape(len(slack), -1).min(axis=1)
            cost += float(np.vdot(cells.cost(block), self.sigma[block]))
            self.s[block] = masked(cells, block, np.maximum(slack, 0.5 * self.s[block]), 1.0)
            self.mean += float(np.vdot(self.sigma[block], self.s[block]))
        self.mean /= self.total
        return smallest, -cost

    def _round(self, pushed: Any, missed: Any) -> None:
        """One predictor step to see how far the complementarity can fall, and one corrected step."""
        system, sigma, s, r, y = self.system, self.sigma, self.s, self.r, self.y
        cells, ratio, masses = system.cells, self.ratio, self.masses
        for block in cells.blocks:
            np.divide(sigma[block], s[block], out=ratio[block])
            np.negative(sigma[block], out=masses[block])
        system.factor(lambda block: ratio[block], y / r)
        step = system.solve(tuple(-part for part in pushed), missed, -r)
        dr = -r - step.y * r / y
        primal, dual = _longest(r, dr), _longest(y, step.y)
        crossed = np.array([dr @ y, r @ step.y, dr @ step.y])
        second = self.second
        for block in cells.blocks:
            dsigma, ds = self._change(block, step)
            primal, dual = min(primal, _longest(sigma[block], dsigma)), min(dual, _longest(s[block], ds))
            np.multiply(dsigma, ds, out=second[block])
            crossed += [np.vdot(dsigma, s[block]), np.vdot(sigma[block], ds), second[block].sum()]
        after = self.mean + float(crossed @ [primal, dual, primal * dual]) / self.total
        target = self.mean * float(np.clip(after / self.mean, 1e-6, 1.0)) ** 3
        target = max(target, 0.5 * self.aim / self.total)
        for block in cells.blocks:
            masses[block] += masked(cells, block, target - second[block], 0.0) / s[block]
        line = (target - dr * step.y) / y - r
        step = self._direction(missed, line)
        dr = line - step.y * r / y
        primal, dual = _longest(r, dr), _longest(y, step.y)
        for block in cells.blocks:
            # kept where the masses and the products were, which have done their part
            masses[block], second[block] = self._change(block, step)
            primal = min(primal, _longest(sigma[block], masses[block]))
            dual = min(dual, _longest(s[block], second[block]))
        primal, dual = min(1.0, BACK * primal), min(1.0, BACK * dual)
        for block in cells.blocks:
            sigma[block] += primal * masses[block]
            s[block] += dual * second[block]
        self.r, self.y = r + primal * dr, y + dual * step.y
        system.advance(step, primal, dual)

    def _change(self, block: slice, step: Step) -> tuple[FloatArray, FloatArray]:
        """Steps of sigma and s at a block."""
        pulled = self.system.pull(block, step.y, step.z)
        dsigma = self.ratio[block] * pulled
        dsigma += self.masses[block]
        return dsigma, masked(self.system.cells, block, np.negative(pulled, out=pulled), 0.0)

    def _direction(self, missed: Any, line: FloatArray) -> Step:
        """The step that solves the equations: from the factors, for the non-signalling set made accurate by GMRES."""
        system: Any = self.system
        step: Step = system.solve(system.push(lambda block: self.masses[block]), missed, line)
        if not isinstance(system, NonSignalling):
            return step
        accuracy = max(ACCURATE, SHARE * self.mean * self.total)

        def effect(step: Step, line: FloatArray, *, whole: bool) -> FloatArray:
            def pushed(block: slice) -> FloatArray:
                moved = self.ratio[block] * system.pull(block, step.y, step.z)
                return np.asarray(moved + self.masses[block] if whole else moved)

            parts = system.effect(system.push(pushed), step, line - step.y * self.r / self.y)
            return np.concatenate([part.ravel() for part in parts])

        left = np.concatenate([part.ravel() for part in missed]) - effect(step, line, whole=True)
        size = rest = float(np.linalg.norm(left))
        none = (np.zeros_like(step.z), np.zeros(sum(system.cells.types)))
        basis, steps, table = [left / size] if size > accuracy else [], [], np.zeros((MOST_STEPS + 1, MOST_STEPS))
        weights = np.zeros(0)
        for k in range(MOST_STEPS if basis else 0):
            rows, regrets, shared = np.split(basis[k], [step.z.size, step.z.size + len(step.y)])
            more = system.solve(none, (rows.reshape(step.z.shape), regrets, shared), np.zeros_like(step.y))
            steps.append(more)
            image = effect(more, np.zeros_like(line), whole=False)
            for j, vector in enumerate(basis):
                table[j, k] = vector @ image
                image -= table[j, k] * vector
            table[k + 1, k] = np.linalg.norm(image)
            goal = np.append(size, np.zeros(k + 1))
            weights = np.linalg.lstsq(table[: k + 2, : k + 1], goal, rcond=None)[0]
            rest = float(np.linalg.norm(goal - table[: k + 2, : k + 1] @ weights))
            if rest <= accuracy or table[k + 1, k] <= 1e-14 * size:
                break
            basis.append(image / table[k + 1, k])
        if rest > max(POOR, accuracy):
            system.lift = min(10.0 * system.lift, MOST_LIFT)
        for weight, more in zip(weights, steps, strict=True):
            step = Step(*(one + weight * two for one, two in zip(step, more, strict=True)))
        return step


def _longest(values: FloatArray, step: FloatArray) -> float:
    """How far a step may go before a value would be negative, at most a little beyond 1."""
    lowest = float((step / np.maximum(values, 1e-300)).min(initial=0.0))
    return min(1.0 / BACK, -1.0 / lowest if lowest < 0 else np.inf)
