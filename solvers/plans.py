"""Pure strategy profiles: columns of the strategic-form program, and the search for the best one (theory T4, T5).

Pricing maximises ``sum over types of c(types, s(types))``. Alternating best replies find good profiles; branch and
bound over the strategies of all players but one (whose reply decomposes) finds the best one, in the very order in
which the kernel replays it, so its node count predicts the length of the proof.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np

from ..verify.game import BayesianGame, FloatArray
from .arrays import Arrays, Columns, IntArray

_CHUNK = 1 << 20


def pack(strategies: list[IntArray]) -> IntArray:
    """Strategies (K, |T_i|) of all players side by side: the key of a column."""
    return np.concatenate(strategies, axis=1)


def unpack(keys: IntArray, types: tuple[int, ...]) -> list[IntArray]:
    """Inverse of `pack`."""
    return np.split(keys, np.cumsum(types)[:-1], axis=1)


def plan_columns(arrays: Arrays, rows: list[IntArray], n_regrets: int, keys: IntArray) -> Columns:
    """The columns of some profiles: interim regrets of each, and mass in row ``n_regrets``."""
    n, types = arrays.n, arrays.types
    grid = np.indices(types).reshape(n, 1, -1)
    strategies = unpack(keys, types)
    chosen = [s[:, grid[j, 0]] for j, s in enumerate(strategies)]
    count = len(keys)
    parts: list[tuple[Any, Any]] = []
    for i in range(n):
        gains = arrays.conditional[i].reshape(1, -1, 1) * arrays.gains(i, list(grid), chosen)
        others = tuple(1 + j for j in range(n) if j != i)
        regrets = gains.reshape(count, *types, -1).sum(axis=others)
        parts.append((np.broadcast_to(rows[i].ravel(), (count, rows[i].size)), regrets.reshape(count, -1)))
    cost = (arrays.prior.reshape(1, -1) * arrays.objective[(*grid, *chosen)]).sum(axis=1)
    parts.append((np.full((count, 1), n_regrets), np.ones((count, 1), dtype=arrays.prior.dtype)))
    return Columns.of(cost, parts)


def masked(values: FloatArray, game: BayesianGame) -> FloatArray:
    """``values`` with -inf at infeasible cells."""
    return np.where(game.feasible_cells, values, -np.inf)


def profile_values(c: FloatArray, keys: IntArray, types: tuple[int, ...]) -> FloatArray:
    """sum over types of c(types, s(types)) for each profile, shape (K,)."""
    n = len(types)
    grid = np.indices(types).reshape(n, 1, -1)
    chosen = [s[:, grid[j, 0]] for j, s in enumerate(unpack(keys, types))]
    return c[(*grid, *chosen)].sum(axis=1)


def random_profiles(game: BayesianGame, count: int, rng: np.random.Generator) -> IntArray:
    """Profiles drawn uniformly from the feasible ones, packed."""
    out = []
    for mask in game.feasible:
        weights = rng.random((count, *mask.shape)) * mask
        out.append(weights.argmax(axis=2))
    return pack(out)


def alternate(c: FloatArray, keys: IntArray, game: BayesianGame, rounds: int = 50) -> tuple[IntArray, FloatArray]:
    """Alternating best replies to c from each starting profile until none improves: profiles and their values."""
    n, types = game.n_players, game.type_shape
    grid = np.indices(types).reshape(n, 1, -1)
    strategies = unpack(keys, types)
    values = np.full(len(keys), -np.inf)
    for _ in range(rounds):
        before = values
        for i in range(n):
            chosen = [s[:, grid[j, 0]] for j, s in enumerate(strategies) if j != i]
            table = np.moveaxis(c, n + i, -1)[(*grid, *chosen)]
            table = np.broadcast_to(table, (len(keys), *table.shape[1:]))
            totals = table.reshape(len(keys), *types, -1).sum(axis=tuple(1 + j for j in range(n) if j != i))
            strategies[i] = totals.argmax(axis=2)
            values = totals.max(axis=2).sum(axis=1)
        if not (values > before + 1e-12).any():
            break
    return pack(strategies), values


@dataclass(frozen=True, eq=False)
class Search:
    """What branch and bound found.

    Attributes:
        bound: no profile is worth more.
        profile: the best profile found above the limit, packed; None if there is none.
        nodes: nodes visited.
        complete: False if it ran out of nodes or time; ``bound`` holds all the same.
    """

    bound: float
    profile: IntArray | None
    nodes: int
    complete: bool


def best_profile(
    c: FloatArray,
    game: BayesianGame,
    *,
    limit: float,
    deadline: float = np.inf,
    max_nodes: float = np.inf,
    improve: bool = True,
) -> Search:
    """Branch and bound for the profile that maximises the sum of c, in the kernel's order of players and types.

    Args:
        c: axes (types.., actions..), -inf where infeasible.
        game: for the masks.
        limit: profiles worth at most this do not matter.
        deadline: `time.monotonic` value at which to stop.
        max_nodes: how many nodes to visit.
        improve: raise the limit to the best value found; False replays the kernel's proof that nothing exceeds it.
    """
    return _BranchAndBound(c, game, limit, deadline, max_nodes, improve).run()


class _BranchAndBound:
    def __init__(
        self, c: FloatArray, game: BayesianGame, limit: float, deadline: float, max_nodes: float, improve: bool
    ) -> None:
        n = game.n_players
        sizes = [sum(math.log(count) for count in mask.sum(axis=1)) for mask in game.feasible]
        last = max(range(n), key=lambda i: (sizes[i], i))
        self.order = [i for i in range(n) if i != last] + [last]
        # the deciding players first, the one whose reply decomposes last
        self.c = np.transpose(c, self.order + [n + i for i in self.order])
        self.masks = [game.feasible[i] for i in self.order]
        self.n, self.limit, self.deadline, self.max_nodes, self.improve = n, limit, deadline, max_nodes, improve
        # relaxed[i]: players after i (but the last) choose freely at every joint type
        self.relaxed = [self.c]
        for i in range(n - 2, -1, -1):
            self.relaxed.insert(0, self.relaxed[0].max(axis=n + i, keepdims=True))
        self.nodes, self.open_bound, self.stopped = 0, -np.inf, False
        self.best: IntArray | None = None

    def run(self) -> Search:
        if self.n == 1:
            best = self.c.max(axis=1).sum()
            profile = self.c.argmax(axis=1)[None]
            return Search(float(best), profile if best > self.limit else None, 1, True)
        start = self.limit
        self._stage(0, [])
        bound = max(self.limit, self.open_bound)
        if self.best is None and not self.stopped:
            bound = start
        profile = None
        if self.best is not None:
            profile = np.empty_like(self.best)
            parts = unpack(self.best[None], tuple(mask.shape[0] for mask in self.masks))
            restored: list[IntArray] = [parts[self.order.index(i)] for i in range(self.n)]
            profile = pack(restored)
        return Search(bound, profile, self.nodes, not self.stopped)

    def _tables(self, i: int, prefix: list[IntArray]) -> tuple[FloatArray, FloatArray]:
        """Sums over the other players' types with the prefix's strategies fixed and later players relaxed.

        Returns:
            with player i's action fixed, axes (t_i, a_i, t_last, a_last); and with it free, (t_i, t_last, a_last).
        """
        m = self.n - i
        out = []
        for array in (self.relaxed[i + 1], self.relaxed[i]):
            table = self._fix(array, prefix).sum(axis=tuple(range(1, m - 1)), keepdims=True)
            own, others, width, replies = table.shape[0], table.shape[m - 1], table.shape[m], table.shape[-1]
            out.append(table.reshape(own, others, width, replies))
        return out[0].transpose(0, 2, 1, 3), out[1][:, :, 0]

    def _fix(self, array: FloatArray, prefix: list[IntArray]) -> FloatArray:
        """Puts the strategies of the first players of the order in, and sums their types out."""
        for s in prefix:
            own_action_second = np.moveaxis(array, array.ndim // 2, 1)
            array = own_action_second[np.arange(len(s)), s].sum(axis=0)
        return array

    def _stage(self, i: int, prefix: list[IntArray]) -> None:
        """Searches the strategies of player i of the order, given those before it."""
        fixed, free = self._tables(i, prefix)
        own, width = fixed.shape[:2]
        root = free.sum(axis=0)
        self.nodes += i == 0
        top = float(root.max(axis=1).sum())
        if top <= self.limit:
            return
        # the root keeps -inf at the last player's infeasible actions, so that the changes below may be finite
        actions = [np.flatnonzero(mask_row) for mask_row in self.masks[i]]
        fixed, free = np.where(np.isfinite(fixed), fixed, 0.0), np.where(np.isfinite(free), free, 0.0)
        step = max(1, _CHUNK // (width * root.size))
        stack = [(np.zeros((1, 0), dtype=np.int64), root[None], np.array([top]))]
        while stack:
            partial, totals, bounds = stack.pop()
            keep = bounds > self.limit
            if not keep.all():
                partial, totals, bounds = partial[keep], totals[keep], bounds[keep]
            if not len(partial):
                continue
            if len(partial) > step:
                stack.append((partial[:-step], totals[:-step], bounds[:-step]))
                partial, totals, bounds = partial[-step:], totals[-step:], bounds[-step:]
            if self.nodes > self.max_nodes or monotonic() > self.deadline or self.stopped:
                self.stopped = True
                left = [bounds, *(b for *_, b in stack)]
                self.open_bound = max(self.open_bound, *(float(b.max()) for b in left if len(b)))
                return
            t = partial.shape[1]
            if t == own:
                self._complete(i, prefix, partial, totals, bounds)
                continue
            stack.append(self._expand(partial, totals, actions[t], fixed[t], free[t]))

    def _expand(
        self, partial: IntArray, totals: FloatArray, actions: IntArray, fixed: FloatArray, free: FloatArray
    ) -> tuple[IntArray, FloatArray, FloatArray]:
        """All children of some nodes: the next type of the player takes each of its feasible actions."""
        children = (totals - free)[:, None] + fixed[actions]
        bounds = children.max(axis=3).sum(axis=2)
        self.nodes += bounds.size
        keep = np.flatnonzero(bounds.ravel() > self.limit)
        if self.improve:
            keep = keep[np.argsort(bounds.ravel()[keep], kind="stable")]  # the most promising end on top of the stack
        parent, which = np.divmod(keep, len(actions))
        partial = np.concatenate([partial[parent], actions[which][:, None]], axis=1)
        return partial, children.reshape(-1, *totals.shape[1:])[keep], bounds.ravel()[keep]

    def _complete(
        self, i: int, prefix: list[IntArray], partial: IntArray, totals: FloatArray, bounds: FloatArray
    ) -> None:
        if i < self.n - 2:
            for row, bound in zip(partial[::-1], bounds[::-1], strict=True):
                if self.stopped:
                    self.open_bound = max(self.open_bound, float(bound))
                else:
                    self._stage(i + 1, [*prefix, row])
            return
        k = int(bounds.argmax())
        if self.improve:
            self.limit = float(bounds[k])
        else:
            self.stopped = True
            self.open_bound = max(self.open_bound, float(bounds[k]))
        self.best = np.concatenate([*prefix, partial[k], totals[k].argmax(axis=1)])
