"""The Newton steps of `interior.py`: a game's cells in blocks of joint types, and how the unknowns are eliminated.

Rows of the type-conditional program: regrets, and a mass for each joint type. Of the non-signalling one: at each joint
type the masses that must be the same for all types of some players, and regrets. What is left to solve is dense.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import combinations, combinations_with_replacement, pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, lapack
from scipy.sparse import csr_array

from ..verify.game import BoolArray, FloatArray
from .arrays import IntArray, Problem

BLOCK_CELLS = 1 << 16
"""Cells worked on at once."""

CACHED = 1 << 25
"""Up to so many numbers, payoffs and objective are kept scaled; beyond, they are scaled anew whenever they are read."""

ENOUGH = 0.05
"""Share of its type's largest mass that the action at the end should have."""

LIFT, MOST_LIFT = 1e-10, 1e-9
"""What is added to a unit diagonal before it is factored, and the most where steps come out inaccurate (measured)."""


class Step(NamedTuple):
    """A step of the duals of the regret rows (y), of the other rows (z), and of the marginals that are shared (mu)."""

    y: FloatArray
    z: FloatArray
    mu: FloatArray


def subsets(n: int) -> list[tuple[int, ...]]:
    """The sets of some players, but not of all."""
    return [players for size in range(1, n) for players in combinations(range(n), size)]


class Cells:
    """The scaled game in blocks of joint types, a feasible action of each player's type brought to the end.

    Args:
        problem: the game.
        signalling: whether joint types of probability 0 are left out.
        last: which action goes to the end, shape (|T_i|,) for each player; the last feasible one if left out.
    """

    def __init__(self, problem: Problem, *, signalling: bool, last: list[IntArray] | None = None) -> None:
        game, self.problem, self.signalling = problem.game, problem, signalling
        self.n, self.types, self.actions = game.n_players, game.type_shape, game.action_shape
        self.width = int(np.prod(self.actions))
        prior = game.prior.ravel()
        self.joint = np.flatnonzero(prior > 0) if signalling else np.arange(prior.size)
        self.count = len(self.joint)
        self.index = np.unravel_index(self.joint, self.types)
        self.prior = prior[self.joint] / problem.objective_scale
        self.conditional = [game.conditional(i).ravel()[self.joint] for i in range(self.n)]
        ranks = [mask.astype(np.int64) for mask in game.feasible]
        for rank, ends in zip(ranks, last or [], strict=False):
            rank[np.arange(len(ends)), ends] = 2
        order = [np.argsort(rank, axis=1, kind="stable") for rank in ranks]
        plain = [(rows == np.arange(rows.shape[1])).all() for rows in order]
        self.order = [None if same else rows for same, rows in zip(plain, order, strict=True)]
        masks = [np.take_along_axis(mask, rows, axis=1) for mask, rows in zip(game.feasible, order, strict=True)]
        self.rows = [np.take_along_axis(row, o, axis=1) for row, o in zip(problem.rows, order, strict=True)]
        self.masks = masks
        # regret rows in the order of players, types and actions, where some have none
        rows = np.concatenate([part.ravel() for part in self.rows])
        self.live = np.flatnonzero(rows >= 0)
        self.place = rows[self.live]
        ends = np.cumsum([0, *(part.size for part in self.rows)]).tolist()
        self.spans = [slice(first, last) for first, last in pairwise(ends)]
        self.acting = [i for i in range(self.n) if self.rows[i].max() >= 0]
        self.all_feasible = all(mask.all() for mask in masks)
        self.ones = [np.ones(a) for a in self.actions]
        self.after = [math.prod(self.actions[i + 1 :]) for i in range(self.n)]
        self.known: dict[tuple[Any, int], FloatArray] = {}
        self.selectors: dict[tuple[tuple[int, ...], int], Any] = {}
        self.keeps = (2 * self.n + 1) * self.count * self.width <= CACHED
        step = max(1, BLOCK_CELLS // self.width)
        self.blocks = [slice(k, min(k + step, self.count)) for k in range(0, self.count, step)]

    def _at(self, values: Any, block: slice) -> Any:
        """An array's part at a block of joint types, shape (k or 1, actions or 1), actions in the order here."""
        at = tuple(t[block] if length > 1 else 0 for t, length in zip(self.index, values.shape, strict=False))
        part = values[at] if any(length > 1 for length in values.shape[: self.n]) else values[at][None]
        if any(order is not None for order in self.order):
            part = np.broadcast_to(part, (block.stop - block.start, *part.shape[1:]))
        return self.turned(part, block)

    def turned(self, values: FloatArray, block: slice, *, back: bool = False) -> FloatArray:
        """A block's values, shape (k, actions..), from the game's order of actions to the one here, or back."""
        for i, order in enumerate(self.order):
            if order is not None and values.shape[1 + i] > 1:
                rows = (np.argsort(order, axis=1) if back else order)[self.index[i][block]]
                axes = [len(rows)] + [1] * self.n
                axes[1 + i] = rows.shape[1]
                values = np.take_along_axis(values, rows.reshape(axes), axis=1 + i)
        return values

    def feasible(self, block: slice) -> BoolArray | None:
        """Which cells of a block are feasible, shape (k, actions..); None for all."""
        if self.all_feasible:
            return None
        count = block.stop - block.start
        out = np.ones((count, *self.actions), dtype=bool)
        for i, mask in enumerate(self.masks):
            axes = [count] + [1] * self.n
            axes[1 + i] = self.actions[i]
            out &= mask[self.index[i][block]].reshape(axes)
        return out

    def cost(self, block: slice) -> FloatArray:
        """What is minimised, shape (k, actions..)."""
        return self._kept("cost", block, lambda block: self._whole(self._cost(block)))

    def payoff(self, i: int, block: slice) -> FloatArray:
        """Player i's scaled payoff times p(t_-i | t_i), shape (k, actions..)."""
        return self.payoffs(block)[:, i] if self.keeps else self._whole(self._payoff(i, block))

    def payoffs(self, block: slice) -> FloatArray:
        """The same of all players, shape (k, n, actions..)."""

        def read(block: slice) -> FloatArray:
            return np.stack([self._whole(self._payoff(i, block)) for i in range(self.n)], axis=1)

        return self._kept("payoffs", block, read)

    def played(self, block: slice, weights: list[FloatArray]) -> FloatArray:
        """Payoffs times a number for each player's type, summed over players, shape (k, actions..)."""
        each = np.stack([part[self.index[i][block]] for i, part in enumerate(weights)], axis=1)
        payoffs = self.payoffs(block).reshape(*each.shape, -1)
        return (each[:, None] @ payoffs).reshape(-1, *self.actions)

    def worth(self, block: slice, masses: FloatArray) -> FloatArray:
        """What masses of a block are worth to each player, shape (k, n)."""
        k = len(masses)
        return (self.payoffs(block).reshape(k, self.n, -1) @ masses.reshape(k, -1, 1))[..., 0]

    def lines(self, i: int, block: slice) -> FloatArray:
        """The same with the own action first, shape (k, |A_i|, others' joint actions)."""
        return self._kept(("lines", i), block, lambda block: _along(self.payoff(i, block), i))

    def _whole(self, values: FloatArray) -> FloatArray:
        return np.broadcast_to(values, (len(values), *self.actions))

    def _kept(self, which: Any, block: slice, read: Callable[[slice], FloatArray]) -> FloatArray:
        part = self.known.get((which, block.start))
        if part is None:
            part = read(block)
            if self.keeps:
                self.known[which, block.start] = part
        return part

    def _cost(self, block: slice) -> FloatArray:
        problem = self.problem
        aim = problem.objective_low - problem.sign * self._at(problem.values, block)
        return aim * self.wide(self.prior[block])

    def _payoff(self, i: int, block: slice) -> FloatArray:
        problem = self.problem
        part = (self._at(problem.game.payoffs[i], block) - problem.payoff_low[i]) / problem.payoff_scale[i]
        return part * self.wide(self.conditional[i][block])

    def wide(self, values: FloatArray) -> FloatArray:
        return values.reshape(-1, *(1,) * self.n)

    def total(self, values: FloatArray, i: int) -> FloatArray:
        """Summed over player i's actions: (k, actions..) to (k, others' joint actions)."""
        own, ones = self.actions[i], self.ones[i]
        # products with ones are many times quicker than sums along short axes
        if i == self.n - 1:
            return (values.reshape(-1, own) @ ones).reshape(len(values), -1)
        return (ones @ values.reshape(-1, own, self.after[i])).reshape(len(values), -1)

    def sums(self, players: tuple[int, ...], block: slice, values: FloatArray) -> FloatArray:
        """A block's values, shape (k, ...), summed by the types of some players, shape (their types.., ...)."""
        types = tuple(self.types[i] for i in players)
        into = self.selectors.get((players, block.start))
        if into is None:
            count, length = math.prod(types), block.stop - block.start
            at = np.ravel_multi_index(tuple(self.index[i][block] for i in players), types)
            into = csr_array((np.ones(length), (at, np.arange(length))), shape=(count, length))
            into = into.toarray() if count * length <= BLOCK_CELLS else into
            self.selectors[players, block.start] = into
        return np.asarray(into @ values.reshape(len(values), -1)).reshape(*types, *values.shape[1:])

    def per_type(self, y: FloatArray) -> list[FloatArray]:
        """Numbers of regret rows as arrays (|T_i|, |A_i|), 0 where there is no row."""
        flat = np.zeros(self.spans[-1].stop)
        flat[self.live] = y[self.place]
        return [flat[span].reshape(rows.shape) for span, rows in zip(self.spans, self.rows, strict=True)]

    def gather(self, parts: list[FloatArray]) -> FloatArray:
        """Inverse of `per_type`."""
        out = np.empty(self.problem.n_regrets)
        out[self.place] = np.concatenate([part.ravel() for part in parts])[self.live]
        return out

    def restored(self, sigma: FloatArray) -> FloatArray:
        """Cells in the game's own order of actions, of all joint types; those left out play at random."""
        out = np.ones((int(np.prod(self.types)), self.width))
        out *= np.broadcast_to(self.problem.game.feasible_cells, self.problem.game.shape).reshape(out.shape)
        out /= out.sum(axis=1, keepdims=True)
        for block in self.blocks:
            part = self.turned(sigma[block], block, back=True)
            out[self.joint[block]] = part.reshape(len(part), -1)
        return out


# Sums, and their transposes, in the coordinates "own action, or any": along each axis the last place means any.


def nested(values: FloatArray, axes: Iterable[int]) -> FloatArray:
    """Masses in those coordinates: the last place becomes the sum of all; in place if contiguous."""
    values = np.ascontiguousarray(values)
    for axis in axes:
        rows = _rows(values, axis)
        ones = np.ones(rows.shape[1] - 1)  # products with ones are quicker than sums
        rows[:, -1] += ones @ rows[:, :-1] if rows.shape[2] > 1 else (rows[:, :-1, 0] @ ones)[:, None]
    return values


def spread(values: FloatArray, axes: Iterable[int]) -> FloatArray:
    """The function with given coefficients (transpose of `nested`); in place if contiguous."""
    values = np.ascontiguousarray(values)
    for axis in axes:
        rows = _rows(values, axis)
        rows[:, :-1] += rows[:, -1:]
    return values


def coefficients(values: FloatArray, axes: Iterable[int]) -> FloatArray:
    """Inverse of `spread`; in place if contiguous."""
    values = np.ascontiguousarray(values)
    for axis in axes:
        rows = _rows(values, axis)
        rows[:, :-1] -= rows[:, -1:]
    return values


def _rows(values: FloatArray, axis: int) -> FloatArray:
    """A view of contiguous values with the axes before and after one taken together."""
    return values.reshape(-1, values.shape[axis], math.prod(values.shape[axis + 1 :]))


def _along(values: FloatArray, i: int) -> FloatArray:
    """(k, actions..) as (k, |A_i|, others): the own action first."""
    moved = np.moveaxis(values, 1 + i, 1)
    return moved.reshape(moved.shape[0], moved.shape[1], -1)


class TypeConditional:
    """max over sigma with a mass row a joint type: duals v of those; the dense system is over the regret rows."""

    def __init__(self, cells: Cells) -> None:
        self.cells, self.m = cells, cells.problem.n_regrets
        self.v = np.zeros(cells.count)

    @property
    def duals(self) -> FloatArray:
        """Of the rows after the regrets."""
        return self.v

    def begin(self, y: FloatArray, sigma: FloatArray) -> None:
        """Duals that leave a margin everywhere."""
        cells = self.cells
        for block in cells.blocks:
            slack = masked(cells, block, cells.cost(block) - self.pull(block, y, np.zeros(cells.count)), np.inf)
            self.v[block] = slack.reshape(len(slack), -1).min(axis=1) - 1.0 / cells.count

    def pull(self, block: slice, y: FloatArray, v: FloatArray) -> FloatArray:
        """The rows' duals summed at each cell of a block, shape (k, actions..)."""
        cells = self.cells
        parts, duals = cells.per_type(y), v[block]
        out = cells.played(block, [part.sum(axis=1) for part in parts])
        for i in cells.acting:
            own = parts[i][cells.index[i][block]]
            gained = (own[:, None] @ cells.lines(i, block))[:, 0]
            if i == cells.acting[0]:
                gained -= duals[:, None]
            out -= np.expand_dims(gained.reshape(-1, *_without(cells.actions, i)), 1 + i)
        return out

    def push(self, parts: Callable[[slice], FloatArray]) -> Any:
        """Rows of given masses: regrets, and masses of joint types."""
        cells = self.cells
        gains = [np.zeros(rows.shape) for rows in cells.rows]
        mass = np.empty(cells.count)
        for block in cells.blocks:
            part = parts(block)
            worth = cells.worth(block, part)
            for i in cells.acting:
                gained = (cells.lines(i, block) @ cells.total(part, i)[..., None])[..., 0]
                gained -= worth[:, i, None]
                gains[i] += cells.sums((i,), block, gained)
            mass[block] = part.reshape(len(part), -1).sum(axis=1)
        return cells.gather(gains), mass

    def factor(self, weights: Callable[[slice], FloatArray], theta: FloatArray) -> None:
        """The dense system for weights d of the cells and 1/theta of the regret rows."""
        cells, shapes = self.cells, [rows.shape for rows in self.cells.rows]
        parts, size = cells.spans, cells.spans[-1].stop
        self.weight, whole, lines = np.empty(cells.count), np.zeros((size, size)), np.zeros((cells.count, size))
        # views for each two players, by their types; a player and itself never meet at two types
        sums = {
            (i, j): whole[parts[i], parts[j]].reshape(*shapes[i], *shapes[j]).swapaxes(1, 2)
            for i, j in combinations_with_replacement(cells.acting, 2)
        }
        each = [lines[:, part].reshape(cells.count, *shape) for part, shape in zip(parts, shapes, strict=True)]
        for block in cells.blocks:
            self._add(block, weights(block), each, sums)
        for i, j in combinations(cells.acting, 2):
            whole[parts[j], parts[i]] = whole[parts[i], parts[j]].T
        if len(cells.live) < len(whole):
            whole, lines = whole[np.ix_(cells.live, cells.live)], lines[:, cells.live]
        whole[np.diag_indices(self.m)] += 1.0 / theta
        self.line, self.factors = lines, _cholesky(whole)

    def _add(
        self, block: slice, d: FloatArray, lines: list[FloatArray], sums: dict[tuple[int, int], FloatArray]
    ) -> None:
        """What a block adds to the sums, and its joint types' lines (what each deviation gains there).

        A joint type's mass row takes the means off its gains; taken off before products are summed, nothing cancels.
        """
        cells, k = self.cells, len(d)
        weight = d.reshape(k, -1).sum(axis=1)
        self.weight[block] = weight
        played, means, deviated, own, against = {}, {}, {}, {}, {}
        for i in cells.acting:
            payoff, against[i] = cells.payoff(i, block), cells.total(d, i)
            mean = _dot(payoff, d) / weight
            gained = (cells.lines(i, block) @ against[i][..., None])[..., 0] / weight[:, None]
            line = (gained - mean[:, None]) * weight[:, None]
            lines[i][np.arange(block.start, block.stop), cells.index[i][block]] = line
            played[i] = payoff - cells.wide(mean)
            means[i] = d * played[i]
            deviated[i] = payoff - gained.reshape(k, *(a if j == i else 1 for j, a in enumerate(cells.actions)))
            own[i] = _along(deviated[i], i)
        for i in cells.acting:
            cross = (own[i] * against[i][:, None]) @ own[i].swapaxes(1, 2)
            met = (own[i] @ cells.total(means[i], i)[..., None])[..., 0] - 0.5 * _dot(means[i], played[i])[:, None]
            met = cells.sums((i,), block, met)
            found = cells.sums((i,), block, cross) - met[:, :, None] - met[:, None, :]
            sums[i, i][np.arange(len(found)), np.arange(len(found))] += found
        for i, j in combinations(cells.acting, 2):
            cross = self._cross(deviated[i], deviated[j], d, i, j)
            met = (own[i] @ cells.total(means[j], i)[..., None])[..., 0] - _dot(means[i], played[j])[:, None]
            cross -= met[:, :, None]
            cross -= (own[j] @ cells.total(means[i], j)[..., None]).swapaxes(1, 2)
            sums[i, j] += cells.sums((i, j), block, cross)

    def _cross(self, u: FloatArray, w: FloatArray, d: FloatArray, i: int, j: int) -> FloatArray:
        """sum_a d(a) u(a', a_-i) w(a'', a_-j), shape (k, |A_i|, |A_j|)."""
        k = len(d)

        axes = [0, *(1 + p for p in range(self.cells.n) if p not in (i, j)), 1 + i, 1 + j]

        def arranged(values: FloatArray) -> FloatArray:
            moved = values.transpose(axes)
            return moved.reshape(k, -1, *moved.shape[-2:])

        first, masses, second = arranged(u), arranged(d), arranged(w)
        middle = first @ masses.swapaxes(-1, -2)  # (k, rest, a', a_i)
        left = middle.swapaxes(1, 2).reshape(k, middle.shape[2], -1)
        right = second.reshape(k, -1, second.shape[-1])  # (k, rest a_i, a'')
        return left @ right

    def solve(self, pushed: Any, missed: Any, line: FloatArray) -> Step:
        """The step from pushed masses and missed rows; ``line`` is what the regret rows' own slacks add."""
        gains, mass = pushed
        rest = (missed[0] - mass) / self.weight
        right = gains + line - missed[1] + self.line.T @ rest
        dy = _solved(self.factors, right)
        return Step(dy, rest + (self.line @ dy) / self.weight, np.zeros(0))

    def missed(self, pushed: Any, r: FloatArray, y: FloatArray) -> Any:
        """By how much rows are missed."""
        gains, mass = pushed
        return 1.0 - mass, self.cells.problem.bounds - gains - r

    def advance(self, step: Step, primal: float, dual: float) -> None:
        """Goes so much of a step."""
        self.v = self.v + dual * step.z

    def worn(self, sigma: FloatArray) -> None:
        """See `NonSignalling.worn`."""

    def bound(self, y: FloatArray, smallest: FloatArray) -> float:
        """What the duals prove, given each joint type's smallest reduced cost."""
        return float(self.cells.problem.bounds @ y - (self.v + smallest).sum())

    def potentials(self, y: FloatArray, duals: FloatArray) -> None:
        """None: the type-conditional set has none."""


def _dot(one: FloatArray, two: FloatArray) -> FloatArray:
    """The sum of products at each joint type, shape (k,)."""
    k = len(one)
    return np.asarray(one.reshape(k, 1, -1) @ two.reshape(k, -1, 1))[:, 0, 0]


def _without(shape: tuple[int, ...], i: int) -> tuple[int, ...]:
    return shape[:i] + shape[i + 1 :]


def masked(cells: Cells, block: slice, values: FloatArray, at: float) -> FloatArray:
    feasible = cells.feasible(block)
    return values if feasible is None else np.where(feasible, values, at)


def _cholesky(matrix: FloatArray, lift: float = 0.0) -> FloatArray:
    """The factor, with the diagonal lifted as far as doubles need to see a positive definite matrix; in place."""
    diagonal = np.diag_indices(len(matrix))
    while True:
        matrix[diagonal] = matrix[diagonal] * (1.0 + lift) + 1e-300
        factor, failed = lapack.dpotrf(matrix.T, lower=1, clean=0)
        if not failed:
            return np.asarray(factor)
        if lift > 1e-2:
            raise LinAlgError("no positive definite matrix")
        lift = max(10.0 * lift, LIFT)


def _solved(factor: FloatArray, right: FloatArray) -> FloatArray:
    """The solution of a system whose Cholesky factor is known."""
    return np.asarray(lapack.dpotrs(factor, right, lower=1)[0])


def _summed(index: IntArray, values: FloatArray, length: int) -> FloatArray:
    """Values summed by their index."""
    return np.asarray(np.bincount(index.ravel(), values.ravel(), length), dtype=float)


def _inverses(matrices: FloatArray, lift: float) -> FloatArray:
    """The inverses of positive definite matrices, shape (k, r, r), with their diagonals lifted, by Cholesky."""
    diagonal = np.arange(matrices.shape[1])
    scale = 1.0 / np.sqrt(matrices[:, diagonal, diagonal])
    scale = scale[:, :, None] * scale[:, None]
    out = matrices * scale
    out[:, diagonal, diagonal] += lift
    for matrix in out:
        more = lift
        while True:
            factor, failed = lapack.dpotrf(matrix.T, lower=1, clean=0)
            if not failed:
                break
            if more > 1e-2:
                raise LinAlgError("no positive definite matrix")
            more *= 10.0
            matrix[diagonal, diagonal] += more
        matrix[:] = lapack.dpotri(factor, lower=1, overwrite_c=1)[0].T
    above, below = np.triu_indices(len(diagonal), 1)
    out[:, below, above] = out[:, above, below]
    out *= scale
    return out


class NonSignalling:
    """max over sigma whose marginals over some but not all players are shared by all types of the others.

    Rows at each joint type, in the coordinates above: masses of its cells are the shared marginals mu (duals g). A
    deviation's worth is linear in mu alone, and what is played is worth one number e for each own type, so a cell has
    few entries. The dense system is over mu.
    """

    def __init__(self, cells: Cells) -> None:
        self.cells, n = cells, cells.n
        self.m = cells.problem.n_regrets
        index = np.indices(cells.actions).reshape(n, -1)
        last = index == np.array(cells.actions)[:, None] - 1
        self.local = np.flatnonzero(last.any(axis=0))
        index, last = index[:, self.local], last[:, self.local]
        self.rows = len(self.local)
        # mu: one number for each set of players, their types and their actions but the last
        self.subsets, self.first, total = subsets(n), {}, 0
        for players in self.subsets:
            self.first[players] = total
            total += int(np.prod([cells.types[i] * (cells.actions[i] - 1) for i in players]))
        self.size_mu = total
        self.where = np.full((cells.count, self.rows), total)
        for players in self.subsets:
            here = np.flatnonzero(np.all([last[i] == (i not in players) for i in range(n)], axis=0))
            shape = [cells.types[i] for i in players] + [cells.actions[i] - 1 for i in players]
            at = [cells.index[i][:, None] for i in players] + [index[i, here][None] for i in players]
            self.where[:, here] = self.first[players] + np.ravel_multi_index(np.broadcast_arrays(*at), shape)
        one, two = index[:, :, None], index[:, None, :]
        apart = (one != two) & ~last[:, :, None] & ~last[:, None, :]
        merged = np.where(last[:, :, None], two, one)
        self.source = np.ravel_multi_index(tuple(merged), cells.actions)
        self.source[apart.any(axis=0)] = cells.width
        self.dead = np.zeros((cells.count, self.rows), dtype=bool)
        for i in range(n):
            feasible = cells.masks[i][cells.index[i]]
            self.dead |= ~feasible[:, index[i]] & ~last[i]
        self.g = np.zeros((cells.count, self.rows))
        self.mu, self.lift = np.zeros(total), LIFT
        self.offset = np.cumsum([0, *cells.types])
        self.here = np.stack([self.offset[i] + cells.index[i] for i in range(n)], axis=1)
        # where the joint types' blocks, and what is played is worth, go in the dense systems
        self.into = self.where[:, :, None] * (total + 1) + self.where[:, None]
        self.worths = int(self.offset[-1])
        own = [
            np.broadcast_to(self.offset[i] + np.arange(t)[:, None], cells.rows[i].shape)
            for i, t in enumerate(cells.types)
        ]
        self.owner = cells.gather(own).astype(np.int64)
        self._deviations()

    @property
    def duals(self) -> FloatArray:
        """Of the rows after the regrets."""
        return self.g

    def _deviations(self) -> None:
        """For each player what mu makes of each deviation: a matrix, the columns it speaks of, and a constant."""
        cells, n = self.cells, self.cells.n
        axes = (*cells.types, *cells.actions)
        feasible = np.ones(self.size_mu + 1, dtype=bool)
        feasible[self.where[self.dead]] = False
        self.gains, self.columns, self.constant = [], [], []
        for i in range(n):
            table = np.concatenate([cells.payoff(i, block) for block in cells.blocks]).reshape(axes)
            table = coefficients(table, [n + j for j in range(n) if j != i])
            parts, columns = [], []
            for players in [(), *self.subsets]:
                if i in players:
                    continue
                rest = [j for j in range(n) if j != i and j not in players]
                at = [slice(None)] * (2 * n)
                for j in rest:
                    at[n + j] = slice(-1, None)
                for j in players:
                    at[n + j] = slice(0, -1)
                part = table[tuple(at)].sum(axis=tuple(rest), keepdims=True)
                order = [i, n + i, *players, *(n + j for j in players)]
                order += [axis for axis in range(2 * n) if axis not in order]
                part = part.transpose(order).reshape(cells.types[i] * cells.actions[i], -1)
                if players:
                    parts.append(part)
                    columns.append(self.first[players] + np.arange(part.shape[1]))
                else:
                    self.constant.append(part[:, 0].reshape(cells.types[i], cells.actions[i]))
            live = cells.rows[i].ravel() >= 0
            own = np.concatenate([np.zeros(0, dtype=np.int64), *columns])
            gains = np.concatenate([np.zeros((len(live), 0)), *parts], axis=1)
            self.columns.append(own)
            self.gains.append(gains * live[:, None] * feasible[own])

    def _deviated(self, block: slice, parts: list[FloatArray]) -> FloatArray:
        """What the multipliers make of deviations, summed over players, shape (k, actions..)."""
        cells = self.cells
        out = np.zeros((block.stop - block.start, *cells.actions))
        for i, part in enumerate(parts):
            if part.any():
                payoff, own = cells.payoff(i, block), part[cells.index[i][block]]
                gained = (own[:, None] @ _along(payoff, i)).reshape(len(own), *_without(payoff.shape[1:], i))
                out += np.expand_dims(gained, 1 + i)
        return out

    def begin(self, y: FloatArray, sigma: FloatArray) -> None:
        """Potentials of zero, and duals that leave a margin everywhere; mu as sigma has it."""
        cells = self.cells
        axes = range(1, 1 + cells.n)
        for block in cells.blocks:
            g = coefficients(-self._deviated(block, cells.per_type(y)), axes).reshape(-1, cells.width)
            self.g[block] = np.where(self.dead[block], 0.0, g[:, self.local])
            slack = masked(cells, block, cells.cost(block) - self.pull(block, y, self.g), np.inf)
            self.g[block, -1] += slack.reshape(len(slack), -1).min(axis=1) - 1.0 / cells.count
            masses = nested(sigma[block].reshape(-1, *cells.actions).copy(), axes).reshape(-1, cells.width)
            mu = np.append(self.mu, 0.0)
            mu[self.where[block]] = masses[:, self.local]
            self.mu = mu[:-1]

    def pull(self, block: slice, y: FloatArray, g: FloatArray) -> FloatArray:
        """The rows' duals summed at each cell of a block, shape (k, actions..)."""
        cells = self.cells
        out = np.zeros((block.stop - block.start, cells.width))
        out[:, self.local] = g[block]
        out = spread(out.reshape(-1, *cells.actions), range(1, 1 + cells.n))
        out += cells.played(block, [part.sum(axis=1) for part in cells.per_type(y)])
        return out

    def push(self, parts: Callable[[slice], FloatArray]) -> Any:
        """Rows of given masses: nested masses, and what is played is worth to each own type."""
        cells = self.cells
        masses, each = np.empty((cells.count, self.rows)), np.empty((cells.count, cells.n))
        for block in cells.blocks:
            part = np.array(parts(block))
            each[block] = cells.worth(block, part)
            masses[block] = nested(part, range(1, 1 + cells.n)).reshape(-1, cells.width)[:, self.local]
        masses[self.dead] = 0.0
        return masses, _summed(self.here, each, self.worths)

    def factor(self, weights: Callable[[slice], FloatArray], theta: FloatArray) -> None:
        """The dense system for weights d of the cells and 1/theta of the regret rows."""
        cells, n, x = self.cells, self.cells.n, self.size_mu
        squares = np.empty((cells.count, n, n))
        self.inverse = np.empty((cells.count, self.rows, self.rows))
        self.linked, linked = np.empty((cells.count, self.rows, n)), np.empty((cells.count, n, self.rows))
        for block in cells.blocks:
            d, dead = weights(block), self.dead[block]
            k = len(d)
            payoffs = cells.payoffs(block)
            means = nested(d[:, None] * payoffs, range(2, 2 + n)).reshape(k, n, -1)[:, :, self.local]
            masses = np.zeros((k, cells.width + 1))
            masses[:, :-1] = nested(np.array(d), range(1, 1 + n)).reshape(k, -1)
            local = masses.take(self.source, axis=1)
            if dead.any():
                means = np.where(dead[:, None], 0.0, means)
                local = np.where(dead[:, :, None] | dead[:, None], 0.0, local)
                local[:, np.arange(self.rows), np.arange(self.rows)] += dead
            self.inverse[block] = _inverses(local, self.lift)
            self.linked[block] = means.swapaxes(1, 2)
            linked[block] = means @ self.inverse[block]
            # what of the payoffs the local rows do not explain: a sum of squares, where a difference would cancel
            fitted = np.zeros((k, n, cells.width))
            fitted[:, :, self.local] = linked[block]
            rest = payoffs - spread(fitted.reshape(payoffs.shape), range(2, 2 + n))
            rest = _flat_feasible(cells, block, rest)
            squares[block] = (rest * d.reshape(k, 1, -1)) @ rest.swapaxes(1, 2)
        matrix = _summed(self.into, self.inverse, (x + 1) ** 2).reshape(x + 1, x + 1)[:x, :x]
        at = self.here[:, :, None] * (x + 1) + self.where[:, None]
        between = self.here[:, :, None] * self.worths + self.here[:, None]
        second = _summed(between, squares, self.worths**2).reshape(self.worths, -1)
        line = _summed(at, linked, self.worths * (x + 1)).reshape(self.worths, x + 1)[:, :x]
        self.shared = _cholesky(np.ascontiguousarray(matrix), self.lift)
        # rows: regrets of types that have some; their dependence on mu, all ways taken together
        table = -line[self.owner]
        for i in range(n):
            rows = cells.rows[i]
            own = rows[rows >= 0]
            table[np.ix_(own, self.columns[i])] += self.gains[i][rows.ravel() >= 0]
        self.table = table
        dense = second[np.ix_(self.owner, self.owner)]
        dense[np.diag_indices(self.m)] += 1.0 / theta
        lower = lapack.dtrtrs(self.shared, table.T, lower=1)[0]
        dense += lower.T @ lower
        self.factors = _cholesky(dense, self.lift)

    def solve(self, pushed: Any, missed: Any, line: FloatArray) -> Step:
        """The step from pushed masses and missed rows; ``line`` is what the regret rows' own slacks add."""
        (masses, worth), (rows, regrets, shared) = pushed, missed
        local = (self.inverse @ (rows - masses)[..., None])[..., 0]
        right = shared - self._collected(local)
        worth = worth + _summed(self.here, local[:, None] @ self.linked, self.worths)
        half = _solved(self.shared, right)
        dy = _solved(self.factors, self.table @ half + line - regrets - worth[self.owner])
        dmu = _solved(self.shared, right - self.table.T @ dy)
        w = _summed(self.owner, dy, self.worths)
        steps = np.append(dmu, 0.0)[self.where] - (self.linked @ w[self.here][..., None])[..., 0]
        dg = local + (self.inverse @ steps[..., None])[..., 0]
        return Step(dy, np.where(self.dead, 0.0, dg), dmu)

    def _collected(self, local: FloatArray) -> FloatArray:
        """Numbers of the joint types' rows, summed by the marginal they speak of."""
        return _summed(self.where, local, self.size_mu + 1)[:-1]

    def missed(self, pushed: Any, r: FloatArray, y: FloatArray) -> Any:
        """By how much rows are missed: local ones, regrets, and (of the dual) those of mu."""
        masses, worth = pushed
        cells = self.cells
        wanted = np.append(self.mu, 1.0)[self.where]
        parts, shared = [], -self._collected(self.g)
        for i, part in enumerate(cells.per_type(y)):
            gained = (self.gains[i] @ self.mu[self.columns[i]]).reshape(part.shape) + self.constant[i]
            parts.append(gained - worth[self.offset[i] : self.offset[i + 1], None])
            shared[self.columns[i]] -= self.gains[i].T @ part.ravel()
        regrets = cells.problem.bounds - cells.gather(parts) - r
        return np.where(self.dead, 0.0, wanted - masses), regrets, shared

    def effect(self, pushed: Any, step: Step, dr: FloatArray) -> Any:
        """What a step does to the rows that `missed` speaks of, given the masses it pushes."""
        masses, worth = pushed
        cells = self.cells
        wanted = np.append(step.mu, 0.0)[self.where]
        parts, shared = [], self._collected(step.z)
        for i, part in enumerate(cells.per_type(step.y)):
            gained = (self.gains[i] @ step.mu[self.columns[i]]).reshape(part.shape)
            parts.append(gained - worth[self.offset[i] : self.offset[i + 1], None])
            shared[self.columns[i]] += self.gains[i].T @ part.ravel()
        rows = np.where(self.dead, 0.0, masses - wanted)
        return rows, cells.gather(parts) + dr, shared

    def resumed(self, last: list[IntArray], sigma: FloatArray, s: FloatArray) -> NonSignalling:
        """The same state with other actions at the end; sigma and s change along."""
        old, new = self.cells, Cells(self.cells.problem, signalling=False, last=last)
        out = NonSignalling(new)
        out.lift = self.lift
        axes = range(1, 1 + old.n)
        local = np.empty_like(out.g)
        for block in old.blocks:
            for values in (sigma, s):
                values[block] = new.turned(old.turned(values[block], block, back=True), block)
            table = np.zeros((block.stop - block.start, old.width))
            table[:, self.local] = self.g[block]
            table = spread(table.reshape(-1, *old.actions), axes)
            table = coefficients(new.turned(old.turned(table, block, back=True), block).copy(), axes)
            out.g[block] = np.where(out.dead[block], 0.0, table.reshape(-1, old.width)[:, out.local])
            masses = nested(sigma[block].copy(), axes).reshape(-1, old.width)
            local[block] = masses[:, out.local]
        out.mu = out._collected(local) / out._collected(np.ones_like(local))
        return out

    def worn(self, sigma: FloatArray) -> list[IntArray] | None:
        """Which actions had better be at the end: there the coordinates need mass; None if they have enough."""
        cells, short, out = self.cells, False, []
        for i in range(cells.n):
            mass = np.zeros((cells.types[i], cells.actions[i]))
            for block in cells.blocks:
                other = tuple(1 + j for j in range(cells.n) if j != i)
                mass += cells.sums((i,), block, sigma[block].sum(axis=other))
            best = mass.argmax(axis=1)
            short |= bool((mass[:, -1] < ENOUGH * mass.max(axis=1)).any())
            order = cells.order[i]
            out.append(best if order is None else order[np.arange(len(best)), best])
        return out if short else None

    def advance(self, step: Step, primal: float, dual: float) -> None:
        """Goes so much of a step."""
        self.g = self.g + dual * step.z
        self.mu = self.mu + primal * step.mu

    def bound(self, y: FloatArray, smallest: FloatArray) -> float:
        """What the duals prove, given each joint type's smallest reduced cost."""
        constant = self.cells.gather(self.constant)
        return float((self.cells.problem.bounds - constant) @ y - self.g[:, -1].sum() - smallest.sum())

    def potentials(self, y: FloatArray, duals: FloatArray) -> list[FloatArray]:
        """The f_j of theory T5: a coefficient goes to the players it does not speak of, less its mean over theirs."""
        cells, n = self.cells, self.cells.n
        axes = range(1, 1 + n)
        table = np.zeros((cells.count, cells.width))
        for block in cells.blocks:
            dev = coefficients(self._deviated(block, cells.per_type(y)), axes)
            table[block] = dev.reshape(-1, cells.width)
        table[:, self.local] += duals
        table = table.reshape(*cells.types, *cells.actions)
        out = []
        for j in range(n):
            at = [slice(None)] * (2 * n)
            at[n + j] = slice(-1, None)
            part = table[tuple(at)]
            mean = part.mean(axis=j, keepdims=True)
            f = spread(part - mean, [n + i for i in range(n) if i != j])
            table[tuple(at)] = np.broadcast_to(mean, part.shape)
            for i, order in enumerate(cells.order):
                if order is not None and i != j:
                    back = np.argsort(order, axis=1)
                    shape = [1] * (2 * n)
                    shape[i], shape[n + i] = back.shape
                    f = np.take_along_axis(f, np.broadcast_to(back.reshape(shape), f.shape), axis=n + i)
            out.append(f)
        return out


def _flat_feasible(cells: Cells, block: slice, values: FloatArray) -> FloatArray:
    feasible = cells.feasible(block)
    if feasible is not None:
        values = np.where(feasible[:, None], values, 0.0)
    return values.reshape(*values.shape[:2], -1)
