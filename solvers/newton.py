"""The Newton steps of `interior.py`: a game's cells in blocks of joint types, and how the unknowns are eliminated.

Rows of the type-conditional program: regrets, and a mass for each joint type. Of the non-signalling one: at each joint
type the masses that must be the same for all types of some players, and regrets. What is left to solve is dense.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, lapack, solve_triangular

from ..verify.game import BoolArray, FloatArray
from .arrays import IntArray, Problem

BLOCK_CELLS = 1 << 16
"""Cells worked on at once."""

CACHED = 1 << 25
"""Up to so many numbers, payoffs and objective are kept scaled; beyond, they are scaled anew whenever they are read."""

ENOUGH = 0.05
"""Share of its type's largest mass that the action at the end should have."""

LIFT, MOST_LIFT = 1e-11, 1e-9
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
        self.all_feasible = all(mask.all() for mask in masks)
        self.known: dict[tuple[Any, int], FloatArray] = {}
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
        return self._kept(("payoff", i), block, lambda block: self._whole(self._payoff(i, block)))

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

    def per_type(self, y: FloatArray) -> list[FloatArray]:
        """Numbers of regret rows as arrays (|T_i|, |A_i|), 0 where there is no row."""
        padded = np.append(y, 0.0)
        return [padded[rows] for rows in self.rows]

    def gather(self, parts: list[FloatArray]) -> FloatArray:
        """Inverse of `per_type`."""
        out = np.zeros(self.problem.n_regrets)
        for rows, part in zip(self.rows, parts, strict=True):
            out[rows[rows >= 0]] = part[rows >= 0]
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


def nested(values: FloatArray, axes: range) -> FloatArray:
    """Masses in those coordinates: the last place becomes the sum of all; in place."""
    for axis in axes:
        moved = np.moveaxis(values, axis, -1)
        moved[..., -1] += moved[..., :-1].sum(axis=-1)
    return values


def spread(values: FloatArray, axes: range) -> FloatArray:
    """The function with given coefficients (transpose of `nested`); in place."""
    for axis in axes:
        moved = np.moveaxis(values, axis, -1)
        moved[..., :-1] += moved[..., -1:]
    return values


def coefficients(values: FloatArray, axes: Any) -> FloatArray:
    """Inverse of `spread`; in place."""
    for axis in axes:
        moved = np.moveaxis(values, axis, -1)
        moved[..., :-1] -= moved[..., -1:]
    return values


def _along(values: FloatArray, i: int) -> FloatArray:
    """(k, actions..) as (k, |A_i|, others): the own action first."""
    moved = np.moveaxis(values, 1 + i, 1)
    return moved.reshape(moved.shape[0], moved.shape[1], -1)


class TypeConditional:
    """max over sigma with a mass row a joint type: duals v of those; the dense system is over the regret rows."""

    def __init__(self, cells: Cells) -> None:
        self.cells, self.m = cells, cells.problem.n_regrets
        self.v = np.zeros(cells.count)
        # regret rows in the order of players, types and actions, where some have none
        rows = np.concatenate([part.ravel() for part in cells.rows])
        self.live = np.flatnonzero(rows >= 0)
        self.place = rows[self.live]
        self.offset = np.cumsum([0, *(part.size for part in cells.rows)]).tolist()
        self.pairs = list(combinations([i for i in range(cells.n) if cells.rows[i].max() >= 0], 2))

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
        out = np.empty((block.stop - block.start, *cells.actions))
        out[:] = cells.wide(v[block])
        for i, part in enumerate(cells.per_type(y)):
            if cells.rows[i].max() < 0 or not part.any():
                continue
            payoff, own = cells.payoff(i, block), part[cells.index[i][block]]
            gained = (own[:, None] @ cells.lines(i, block)).reshape(len(own), *_without(cells.actions, i))
            out -= np.expand_dims(gained, 1 + i)
            out += payoff * cells.wide(own.sum(axis=1))
        return out

    def regrets(self, block: slice, masses: FloatArray, out: list[FloatArray]) -> None:
        """Adds what the masses of a block gain by each deviation."""
        cells = self.cells
        for i in range(cells.n):
            if cells.rows[i].max() < 0:
                continue
            payoff = cells.payoff(i, block)
            against = masses.sum(axis=1 + i).reshape(len(masses), -1)
            gains = (cells.lines(i, block) @ against[..., None])[..., 0]
            gains -= _dot(payoff, masses)[:, None]
            np.add.at(out[i], cells.index[i][block], gains)

    def push(self, parts: Callable[[slice], FloatArray]) -> Any:
        """Rows of given masses: regrets, and masses of joint types."""
        cells = self.cells
        gains = [np.zeros(rows.shape) for rows in cells.rows]
        mass = np.empty(cells.count)
        for block in cells.blocks:
            part = parts(block)
            self.regrets(block, part, gains)
            mass[block] = part.reshape(len(part), -1).sum(axis=1)
        return cells.gather(gains), mass

    def factor(self, weights: Callable[[slice], FloatArray], theta: FloatArray) -> None:
        """The dense system for weights d of the cells and 1/theta of the regret rows."""
        cells, n = self.cells, self.cells.n
        shapes = list(zip(cells.types, cells.actions, strict=True))
        self.weight, lines = np.empty(cells.count), [np.zeros((cells.count, t, a)) for t, a in shapes]
        # for each two players, by their types; a player and itself never meet at two types
        sums = {(i, i): np.zeros((t, a, a)) for i, (t, a) in enumerate(shapes)}
        for i, j in self.pairs:
            sums[i, j] = np.zeros((cells.types[i], cells.types[j], cells.actions[i], cells.actions[j]))
        for block in cells.blocks:
            self._add(block, weights(block), lines, sums)
        whole = np.zeros((self.offset[-1], self.offset[-1]))
        parts = [slice(*self.offset[i : i + 2]) for i in range(n)]
        for i, (t, a) in enumerate(shapes):
            own = whole[parts[i], parts[i]].reshape(t, a, t, a)
            own[np.arange(t), :, np.arange(t)] = sums[i, i]
        for i, j in self.pairs:
            cross = sums[i, j].swapaxes(1, 2).reshape(shapes[i][0] * shapes[i][1], -1)
            whole[parts[i], parts[j]], whole[parts[j], parts[i]] = cross, cross.T
        at = np.ix_(self.live, self.live)
        matrix = np.empty((self.m, self.m))
        matrix[np.ix_(self.place, self.place)] = whole[at]
        self.line = np.empty((cells.count, self.m))
        flat = np.concatenate([part.reshape(cells.count, -1) for part in lines], axis=1)
        self.line[:, self.place] = flat[:, self.live]
        matrix -= (self.line / self.weight[:, None]).T @ self.line
        matrix[np.diag_indices(self.m)] += 1.0 / theta
        self.matrix, self.factors = matrix, _cholesky(matrix)

    def _add(
        self, block: slice, d: FloatArray, lines: list[FloatArray], sums: dict[tuple[int, int], FloatArray]
    ) -> None:
        """What a block adds to the sums, and its joint types' lines (what each deviation gains there)."""
        cells, n, k = self.cells, self.cells.n, len(d)
        self.weight[block] = d.reshape(k, -1).sum(axis=1)
        payoffs = [cells.payoff(i, block) for i in range(n)]
        means = [d * u for u in payoffs]
        totals = [mean.reshape(k, -1).sum(axis=1) for mean in means]
        types = [cells.index[i][block] for i in range(n)]
        # masses and payoffs of all players against each deviation: got[i][..., 0] and got[i][..., 1 + j]
        got = []
        for i in range(n):
            against = np.stack([part.sum(axis=1 + i).reshape(k, -1) for part in (d, *means)], axis=-1)
            got.append(cells.lines(i, block) @ against)
            lines[i][np.arange(block.start, block.stop), types[i]] = got[i][..., 0] - totals[i][:, None]
            own, weighted = cells.lines(i, block), cells.lines(i, block) * against[:, None, :, 0]
            cross = weighted @ own.swapaxes(1, 2)
            cross -= got[i][:, :, None, 1 + i]
            cross -= got[i][:, None, :, 1 + i]
            np.add.at(sums[i, i], types[i], cross + _dot(means[i], payoffs[i])[:, None, None])
        for i, j in self.pairs:
            cross = self._cross(payoffs[i], payoffs[j], d, i, j)
            cross -= got[i][:, :, None, 1 + j]
            cross -= got[j][:, None, :, 1 + i]
            np.add.at(sums[i, j], (types[i], types[j]), cross + _dot(means[i], payoffs[j])[:, None, None])

    def _cross(self, u: FloatArray, w: FloatArray, d: FloatArray, i: int, j: int) -> FloatArray:
        """sum_a d(a) u(a', a_-i) w(a'', a_-j), shape (k, |A_i|, |A_j|)."""
        k = len(d)

        def arranged(values: FloatArray) -> FloatArray:
            moved = np.moveaxis(values, (1 + i, 1 + j), (-2, -1))
            return moved.reshape(k, -1, *moved.shape[-2:])

        first, masses, second = arranged(u), arranged(d), arranged(w)
        middle = first @ masses.swapaxes(-1, -2)  # (k, rest, a', a_i)
        left = np.moveaxis(middle, 1, 2).reshape(k, middle.shape[2], -1)
        right = second.reshape(k, -1, second.shape[-1])  # (k, rest a_i, a'')
        return left @ right

    def solve(self, pushed: Any, missed: Any, line: FloatArray) -> Step:
        """The step from pushed masses and missed rows; ``line`` is what the regret rows' own slacks add."""
        gains, mass = pushed
        rest = (missed[0] - mass) / self.weight
        right = gains + line - missed[1] + self.line.T @ rest
        dy = cho_solve(self.factors, right, check_finite=False)
        dy += cho_solve(self.factors, right - self.matrix @ dy, check_finite=False)
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
    return np.asarray(np.einsum("kx,kx->k", one.reshape(k, -1), two.reshape(k, -1)))


def _without(shape: tuple[int, ...], i: int) -> tuple[int, ...]:
    return shape[:i] + shape[i + 1 :]


def masked(cells: Cells, block: slice, values: FloatArray, at: float) -> FloatArray:
    feasible = cells.feasible(block)
    return values if feasible is None else np.where(feasible, values, at)


def _cholesky(matrix: FloatArray, lift: float = 0.0) -> Any:
    """The factors, with the diagonal lifted as far as doubles need to see a positive definite matrix; in place."""
    diagonal = np.diag_indices(len(matrix))
    while True:
        matrix[diagonal] = matrix[diagonal] * (1.0 + lift) + 1e-300
        try:
            return cho_factor(matrix, lower=True, check_finite=False)
        except LinAlgError:
            if lift > 1e-2:
                raise
            lift = max(10.0 * lift, LIFT)


def _inverse(matrix: FloatArray, lift: float) -> FloatArray:
    """The inverse of a positive definite matrix with its diagonal lifted, by Cholesky."""
    scale = 1.0 / np.sqrt(np.diag(matrix))
    scaled = matrix * scale[:, None] * scale
    while True:
        scaled[np.diag_indices(len(scaled))] += lift
        factor, failed = lapack.dpotrf(scaled, lower=1, overwrite_a=0)
        if not failed:
            break
        if lift > 1e-2:
            raise LinAlgError("no positive definite matrix")
        lift *= 10.0
    inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    return inverse * scale[:, None] * scale


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
        for i, part in enumerate(cells.per_type(y)):
            if part.any():
                out += cells.payoff(i, block) * cells.wide(part.sum(axis=1)[cells.index[i][block]])
        return out

    def push(self, parts: Callable[[slice], FloatArray]) -> Any:
        """Rows of given masses: nested masses, and what is played is worth to each own type."""
        cells = self.cells
        masses, worth = np.empty((cells.count, self.rows)), np.zeros(self.offset[-1])
        for block in cells.blocks:
            part = np.array(parts(block))
            for i in range(cells.n):
                each = (cells.payoff(i, block) * part).reshape(len(part), -1).sum(axis=1)
                np.add.at(worth, self.offset[i] + cells.index[i][block], each)
            masses[block] = nested(part, range(1, 1 + cells.n)).reshape(-1, cells.width)[:, self.local]
        masses[self.dead] = 0.0
        return masses, worth

    def factor(self, weights: Callable[[slice], FloatArray], theta: FloatArray) -> None:
        """The dense system for weights d of the cells and 1/theta of the regret rows."""
        cells, n, x = self.cells, self.cells.n, self.size_mu
        matrix = np.zeros((x + 1, x + 1))
        worths = int(self.offset[-1])
        line, second = np.zeros((worths, x + 1)), np.zeros((worths, worths))
        self.inverse = np.empty((cells.count, self.rows, self.rows))
        self.linked = np.empty((cells.count, self.rows, n))
        for block in cells.blocks:
            d = weights(block)
            payoffs = [cells.payoff(i, block) for i in range(n)]
            here = np.stack([self.offset[i] + cells.index[i][block] for i in range(n)], axis=1)
            for i in range(n):
                part = nested(d * payoffs[i], range(1, 1 + n)).reshape(len(d), -1)[:, self.local]
                self.linked[block, :, i] = np.where(self.dead[block], 0.0, part)
            masses = nested(np.array(d), range(1, 1 + n)).reshape(len(d), -1)
            masses = np.concatenate([masses, np.zeros((len(d), 1))], axis=1)
            fitted = np.zeros((len(d), n, cells.width))
            for k in range(len(d)):
                row = block.start + k
                local = masses[k][self.source]
                dead = self.dead[row]
                if dead.any():
                    local[dead], local[:, dead] = 0.0, 0.0
                    local[dead, dead] = 1.0
                inverse = self.inverse[row] = _inverse(local, self.lift)
                linked = inverse @ self.linked[row]
                at = self.where[row]
                matrix[np.ix_(at, at)] += inverse
                line[here[k][:, None], at] += linked.T
                fitted[k][:, self.local] = linked.T
            # what of the payoffs the local rows do not explain: a sum of squares, where a difference would cancel
            fitted = spread(fitted.reshape(len(d), n, *cells.actions), range(2, 2 + n))
            rest = np.stack(payoffs, axis=1) - fitted
            rest = _flat_feasible(cells, block, rest)
            squares = (rest * d.reshape(len(d), 1, -1)) @ rest.swapaxes(1, 2)
            np.add.at(second, (here[:, :, None], here[:, None, :]), squares)
        matrix, line = matrix[:x, :x], line[:, :x]
        self.shared = _cholesky(matrix, self.lift)
        # rows: regrets of types that have some; their dependence on mu, all ways taken together
        table = -line[self.owner]
        for i in range(n):
            rows = cells.rows[i]
            own = rows[rows >= 0]
            table[np.ix_(own, self.columns[i])] += self.gains[i][rows.ravel() >= 0]
        self.table = table
        dense = second[np.ix_(self.owner, self.owner)]
        dense[np.diag_indices(self.m)] += 1.0 / theta
        lower = solve_triangular(self.shared[0], table.T, lower=True, check_finite=False)
        dense += lower.T @ lower
        self.factors = _cholesky(dense, self.lift)

    def solve(self, pushed: Any, missed: Any, line: FloatArray) -> Step:
        """The step from pushed masses and missed rows; ``line`` is what the regret rows' own slacks add."""
        (masses, worth), (rows, regrets, shared) = pushed, missed
        cells, x, worths = self.cells, self.size_mu, int(self.offset[-1])
        here = np.stack([self.offset[i] + cells.index[i] for i in range(cells.n)], axis=1)
        local = (self.inverse @ (rows - masses)[..., None])[..., 0]
        right, worth = np.append(shared, 0.0), worth.copy()
        np.add.at(right, self.where, -local)
        right = right[:x]
        np.add.at(worth, here, (self.linked.swapaxes(1, 2) @ local[..., None])[..., 0])
        half = cho_solve(self.shared, right, check_finite=False)
        dy = cho_solve(self.factors, self.table @ half + line - regrets - worth[self.owner], check_finite=False)
        dmu = cho_solve(self.shared, right - self.table.T @ dy, check_finite=False)
        w = np.bincount(self.owner, dy, worths)
        steps = np.append(dmu, 0.0)[self.where] - (self.linked @ w[here][..., None])[..., 0]
        dg = local + (self.inverse @ steps[..., None])[..., 0]
        return Step(dy, np.where(self.dead, 0.0, dg), dmu)

    def missed(self, pushed: Any, r: FloatArray, y: FloatArray) -> Any:
        """By how much rows are missed: local ones, regrets, and (of the dual) those of mu."""
        masses, worth = pushed
        cells = self.cells
        wanted = np.append(self.mu, 1.0)[self.where]
        parts, shared = [], np.zeros(self.size_mu + 1)
        np.add.at(shared, self.where, -self.g)
        shared = shared[:-1]
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
        parts, shared = [], np.zeros(self.size_mu + 1)
        np.add.at(shared, self.where, step.z)
        shared = shared[:-1]
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
        total, counts = np.zeros(out.size_mu + 1), np.zeros(out.size_mu + 1)
        for block in old.blocks:
            for values in (sigma, s):
                values[block] = new.turned(old.turned(values[block], block, back=True), block)
            table = np.zeros((block.stop - block.start, old.width))
            table[:, self.local] = self.g[block]
            table = spread(table.reshape(-1, *old.actions), axes)
            table = coefficients(new.turned(old.turned(table, block, back=True), block).copy(), axes)
            out.g[block] = np.where(out.dead[block], 0.0, table.reshape(-1, old.width)[:, out.local])
            masses = nested(sigma[block].copy(), axes).reshape(-1, old.width)
            np.add.at(total, out.where[block], masses[:, out.local])
            np.add.at(counts, out.where[block], 1.0)
        out.mu = total[:-1] / counts[:-1]
        return out

    def worn(self, sigma: FloatArray) -> list[IntArray] | None:
        """Which actions had better be at the end: there the coordinates need mass; None if they have enough."""
        cells, short, out = self.cells, False, []
        for i in range(cells.n):
            mass = np.zeros((cells.types[i], cells.actions[i]))
            for block in cells.blocks:
                other = tuple(1 + j for j in range(cells.n) if j != i)
                np.add.at(mass, cells.index[i][block], sigma[block].sum(axis=other))
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
            f = spread(part - mean, [n + i for i in range(n) if i != j])  # type: ignore[arg-type]
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
