"""Programs over sigma(a | types): the type-conditional and the non-signalling sets (theory T4) as sparse columns.

A column is one cell (types, actions); its entries are the regrets it causes, the mass of its joint type and, for the
non-signalling set, the marginal equalities it takes part in.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from ..verify.game import BayesianGame, FloatArray
from .arrays import Arrays, Columns, IntArray

NEGLIGIBLE = 1e-11
"""Cells of less mass are left out of an exact play."""


def cells_of(game: BayesianGame, *, everywhere: bool) -> IntArray:
    """Flat indices of the feasible cells: of all joint types, or only of those with positive probability."""
    cells = np.broadcast_to(game.feasible_cells, game.shape)
    if not everywhere:
        cells = cells & (game.prior > 0).reshape(game.type_shape + (1,) * game.n_players)
    return np.flatnonzero(cells)


class CellProgram:
    """Numbering of the rows after the regrets: one mass row a joint type, then the non-signalling equalities.

    Args:
        game: the game.
        rows: the regret rows' numbers, shape (|T_i|, |A_i|) for each player.
        n_regrets: how many those are.
        signalling: True for the type-conditional set, False for the non-signalling one.
    """

    def __init__(self, game: BayesianGame, rows: list[IntArray], n_regrets: int, *, signalling: bool) -> None:
        self.shape, self.n, self.rows, self.first = game.shape, game.n_players, rows, n_regrets
        joint = np.full(game.type_shape, -1, dtype=np.int64)
        used = np.ones(game.type_shape, dtype=bool) if not signalling else game.prior > 0
        joint[used] = np.arange(n_regrets, n_regrets + int(used.sum()))
        self.mass = joint
        self.n_masses = int(used.sum())
        self.equalities: list[IntArray] = []
        self.n_rows = n_regrets + self.n_masses
        if not signalling:
            for j in range(self.n):
                self.equalities.append(self._link(game, j))

    @property
    def right(self) -> FloatArray:
        """The right-hand sides of the rows after the regrets: 1 for masses, 0 for equalities."""
        out = np.zeros(self.n_rows - self.first)
        out[: self.n_masses] = 1.0
        return out

    def _link(self, game: BayesianGame, j: int) -> IntArray:
        """Numbers of the rows "the marginal on a_-j is the same for types k and k-1 of j", at index k; -1 if none.

        Linking neighbours keeps every column at two entries a player, where linking all to type 0 would not.
        """
        numbers = np.full((*game.type_shape, *(1 if i == j else a for i, a in enumerate(game.action_shape))), -1)
        known = np.ones(numbers.shape, dtype=bool)
        for i, mask in enumerate(game.feasible):
            if i != j:
                axes = [1] * (2 * self.n)
                axes[i], axes[self.n + i] = mask.shape
                known &= mask.reshape(axes)
        np.moveaxis(known, j, 0)[0] = False
        count = int(known.sum())
        numbers[known] = np.arange(self.n_rows, self.n_rows + count)
        self.n_rows += count
        return numbers

    def columns(self, arrays: Arrays, cells: IntArray) -> Columns:
        """The columns of the given flat cells."""
        n = self.n
        index = np.unravel_index(cells, self.shape)
        types, actions = index[:n], index[n:]
        parts: list[tuple[Any, Any]] = []
        for i in range(n):
            gains = arrays.conditional[i][types][:, None] * arrays.gains(i, types, actions)
            parts.append((self.rows[i][types[i]], gains))
        ones = np.ones((len(cells), 1), dtype=arrays.prior.dtype)
        parts.append((self.mass[types][:, None], ones))
        for j, numbers in enumerate(self.equalities):
            own = tuple(np.zeros_like(a) if i == j else a for i, a in enumerate(actions))
            parts.append((numbers[(*types, *own)][:, None], ones))
            top = types[j] == self.shape[j] - 1
            above = tuple(np.where(top, 0, t + 1) if i == j else t for i, t in enumerate(types))
            parts.append((numbers[(*above, *own)][:, None], -ones))
        return Columns.of(arrays.prior[types] * arrays.objective[index], parts)

    def potentials(self, duals: Any) -> list[Any]:
        """The f_j of theory T5 from the duals of the equalities (numbers for f_j such that sum_j f_j is added)."""
        out = []
        for j, numbers in enumerate(self.equalities):
            here = np.where(numbers >= 0, duals[np.maximum(numbers, 0)], 0)
            above = np.roll(here, -1, axis=j)
            out.append(here - above)
        return out


def round_non_signalling(game: BayesianGame, sigma: Any) -> Any:
    """An exact non-signalling sigma next to a float one (theory T5, inner bounds): nested rationals as an object array.

    In coordinates "own action, or any" the marginal equalities say that an entry does not depend on the types of the
    players at "any". There sigma is averaged, rounded to a grid and turned back exactly; the little negative mass this
    can leave is covered by mixing in uniform play.
    """
    n, grid = game.n_players, 1 << 50
    out = np.array(np.broadcast_to(sigma, game.shape))
    # each player's last feasible action at a type gives its place to "any"; a permutation brings it to the end
    order = [np.argsort(mask, axis=1, kind="stable") for mask in game.feasible]
    for i in range(n):
        out = _reorder(out, order[i], i, n)
        total = out.sum(axis=n + i, keepdims=True)
        out = np.concatenate([np.take(out, range(game.action_shape[i] - 1), axis=n + i), total], axis=n + i)
    for i in range(n):
        last = [slice(None)] * (2 * n)
        last[n + i] = slice(-1, None)
        part = out[tuple(last)]
        out[tuple(last)] = part.mean(axis=i, keepdims=True)
    exact = np.rint(out * grid).astype(np.int64).astype(object)
    exact[(slice(None),) * n + (-1,) * n] = grid
    for i in range(n):
        parts = np.split(exact, [game.action_shape[i] - 1], axis=n + i)
        rest = parts[1] - parts[0].sum(axis=n + i, keepdims=True)
        exact = np.concatenate([parts[0], rest], axis=n + i)
        exact = _reorder(exact, np.argsort(order[i], axis=1), i, n)
    return _cover(game, exact, grid)


def transported(game: BayesianGame, sigma: FloatArray) -> list[tuple[tuple[int, int], tuple[int, int], Fraction]]:
    """An exact non-signalling play of two players next to a float one, by its support (theory T5, inner bounds).

    The marginals are rounded to a grid once for all; at each joint type what is left of them after rounding the cells
    down is small and is handed out from one corner, which a transport problem always allows.
    """
    grid = 1 << 40
    kept = np.where(sigma >= NEGLIGIBLE, sigma, 0.0)
    first, second = on_grid(kept.sum(axis=3).mean(axis=1), grid), on_grid(kept.sum(axis=2).mean(axis=0), grid)
    rows, columns = kept.sum(axis=3) * grid, kept.sum(axis=2) * grid
    # scaled so that no row and no column of a joint type exceeds its marginal
    kept *= np.minimum(1.0, np.divide(first[:, None], rows, out=np.ones_like(rows), where=rows > 0))[..., None]
    kept *= np.minimum(1.0, np.divide(second[None], columns, out=np.ones_like(columns), where=columns > 0))[
        ..., None, :
    ]
    masses = np.maximum(np.floor(kept * grid * (1.0 - 1e-14)).astype(np.int64), 0)
    out: list[tuple[tuple[int, int], tuple[int, int], Fraction]] = []
    for types in np.ndindex(*game.type_shape):
        here = masses[types]
        left, right = first[types[0]] - here.sum(axis=1), second[types[1]] - here.sum(axis=0)
        a, b = np.flatnonzero(left).tolist(), np.flatnonzero(right).tolist()
        while a and b:
            moved = min(left[a[-1]], right[b[-1]])
            here[a[-1], b[-1]] += moved
            left[a[-1]] -= moved
            right[b[-1]] -= moved
            a, b = a[: len(a) - (not left[a[-1]])], b[: len(b) - (not right[b[-1]])]
        used = np.argwhere(here).tolist()
        out.extend(((types[0], types[1]), (i, j), Fraction(int(here[i, j]), grid)) for i, j in used)
    return out


def on_grid(values: FloatArray, grid: int) -> IntArray:
    """Rows of probabilities as whole numbers that sum to ``grid``, by largest remainder."""
    scaled = values * (grid / values.sum(axis=-1, keepdims=True))
    whole = np.floor(scaled).astype(np.int64)
    order = np.argsort(whole - scaled, axis=-1, kind="stable")
    short = grid - whole.sum(axis=-1, keepdims=True)
    np.put_along_axis(whole, order, np.take_along_axis(whole, order, -1) + (np.arange(order.shape[-1]) < short), -1)
    return whole


def _reorder(values: Any, order: IntArray, i: int, n: int) -> Any:
    axes = [1] * (2 * n)
    axes[i], axes[n + i] = order.shape
    return np.take_along_axis(values, np.broadcast_to(order.reshape(axes), values.shape), axis=n + i)


def _cover(game: BayesianGame, exact: Any, grid: int) -> Any:
    """Mixes uniform play over feasible cells into ``exact / grid`` until nothing is negative; entries are Fractions."""
    n = game.n_players
    counts = np.ones(game.type_shape, dtype=object)
    for i, mask in enumerate(game.feasible):
        counts = counts * mask.sum(axis=1).astype(object).reshape([-1 if k == i else 1 for k in range(n)])
    uniform = np.broadcast_to(game.feasible_cells, game.shape).astype(int).astype(object)
    spread = counts.reshape(game.type_shape + (1,) * n)
    worst = max(0, -int((exact * spread).min()))
    # (1 - share) * exact/grid + share/count >= 0 everywhere for share = worst / (worst + grid)
    return exact * Fraction(1, worst + grid) + uniform * Fraction(worst, worst + grid) / spread
