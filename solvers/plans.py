"""Pure strategy profiles: columns of the strategic-form program, and a local search for good ones (theory T4, T5).

Pricing maximises ``sum over types of c(types, s(types))``. Alternating best replies, here, find good profiles; branch
and bound (`branching.py`) finds the best one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..verify.game import BayesianGame, FloatArray
from .arrays import Arrays, Columns, IntArray

MOST_ROUNDS = 50
"""Rounds of alternating best replies; a few suffice nearly always."""


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
        regrets = gains.reshape(count, *types, gains.shape[-1]).sum(axis=others)
        parts.append((np.broadcast_to(rows[i].ravel(), (count, rows[i].size)), regrets.reshape(count, rows[i].size)))
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


def alternate(c: FloatArray, keys: IntArray, game: BayesianGame) -> tuple[IntArray, FloatArray]:
    """Alternating best replies to c from each starting profile until none improves: profiles and their values."""
    n, types = game.n_players, game.type_shape
    grid = np.indices(types).reshape(n, 1, -1)
    strategies = unpack(keys, types)
    values = np.full(len(keys), -np.inf)
    for _ in range(MOST_ROUNDS):
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
