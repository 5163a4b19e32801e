"""What a play log adds up to: how often each joint type met each joint action, and what follows exactly from that.

Regrets, gap and leader value of a log depend on its counts alone (theory T6 (i)), and counts are whole numbers, so the
results are exact rationals at the price of a few array passes, however long the log. A `History` holds the counts in
blocks of rounds that double in length, which is also all that the intervals of `confidence.py` need; it is built from
a log in memory or from chunks of one that is not.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import BudgetError, PlayError
from .fast_kernel import BITS, Limbs, tensor_limbs
from .game import BayesianGame, FloatArray
from .plain import Tensor, check_round
from .play import IntArray, PlayLog

CHUNK_ROUNDS = 1 << 16
"""Few enough that a chunk's columns stay in a processor's cache."""
MAX_DENSE_CELLS = 1 << 22
"""Games with at most so many cells are counted in a whole table: 32 MiB."""
MAX_CELLS = 1 << 62

ExactRegrets = list[list[list[Fraction | None]]]


@dataclass(frozen=True, eq=False)
class Counts:
    """How often cells occur: ascending flat numbers of (types.., actions..) cells, C order, and their counts."""

    cells: IntArray
    times: IntArray

    @property
    def rounds(self) -> int:
        """Number of rounds counted."""
        return int(self.times.sum())

    @classmethod
    def together(cls, parts: Sequence[Counts], size: int) -> Counts:
        """The counts of all parts; cells are below ``size``."""
        if _in_a_table(size, sum(len(part.cells) for part in parts)):
            table = np.zeros(size, dtype=np.int64)
            for part in parts:
                table[part.cells] += part.times  # a part has a cell once
            return cls.of_table(table)
        cells, places = np.unique(np.concatenate([part.cells for part in parts]), return_inverse=True)
        times = np.zeros(len(cells), dtype=np.int64)
        np.add.at(times, places, np.concatenate([part.times for part in parts]))
        return cls(cells, times)

    @classmethod
    def of_table(cls, table: IntArray) -> Counts:
        """From how often each cell occurs."""
        cells = np.flatnonzero(table)
        return cls(cells, table[cells])


def _in_a_table(size: int, count: int) -> bool:
    """Whether so many entries below ``size`` are sooner counted in a table of them all than sorted."""
    return size <= min(MAX_DENSE_CELLS, max(CHUNK_ROUNDS, 8 * count))


def _ranked(keys: IntArray, size: int) -> tuple[IntArray, IntArray]:
    """The keys that occur, ascending, and for each key its place among them; keys are below ``size``.

    As `numpy.unique` with ``return_inverse``, by a table instead of sorting where that is quicker.
    """
    if not _in_a_table(size, len(keys)):
        found, places = np.unique(keys, return_inverse=True)
        return found, places
    there = np.zeros(size, dtype=bool)
    there[keys] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


@dataclass(frozen=True, eq=False)
class History:
    """The counts of a log of T rounds.

    Attributes:
        shape: axes (types.., actions..) of the game.
        blocks: counts of rounds [0, 1), [1, 2), [2, 4), [4, 8), ..; the last block may be short.

    Example:
        >>> from spverify.verify.game import BayesianGame
        >>> game = BayesianGame([1], [[["1/3", 1]]])
        >>> history = History.of(game, PlayLog([[0]] * 3, [[0], [1], [0]]))
        >>> history.rounds, history_regrets(game, history)
        (3, [[[Fraction(-2, 9), Fraction(4, 9)]]])
    """

    shape: tuple[int, ...]
    blocks: tuple[Counts, ...]

    @cached_property
    def total(self) -> Counts:
        """Counts of all rounds together."""
        return Counts.together(self.blocks, math.prod(self.shape))

    @property
    def rounds(self) -> int:
        """T."""
        return sum(block.rounds for block in self.blocks)

    @property
    def n_players(self) -> int:
        """Number of followers."""
        return len(self.shape) // 2

    def visits(self, i: int) -> IntArray:
        """How often each own type of player i occurs, shape (|T_i|,)."""
        own = np.unravel_index(self.total.cells, self.shape)[i]
        out = np.zeros(self.shape[i], dtype=np.int64)
        np.add.at(out, own, self.total.times)
        return out

    @classmethod
    def of(cls, game: BayesianGame, log: PlayLog) -> History:
        """The counts of a log, checked against its game.

        Raises:
            PlayError: indices out of range, actions that are not feasible, types of probability 0; naming the round.
        """
        return cls.stream(game, [(log.types, log.actions)])

    @classmethod
    def stream(cls, game: BayesianGame, chunks: Iterable[tuple[npt.ArrayLike, npt.ArrayLike]]) -> History:
        """The counts of a log that comes in chunks (types (t, n), actions (t, n)); memory does not grow with T.

        Raises:
            PlayError: as in `of`; also when there is no round at all.
            BudgetError: a game with more than 2^62 cells.
        """
        if math.prod(game.shape) > MAX_CELLS:
            raise BudgetError("the game has more than 2^62 cells, which is more than are numbered here")
        counter = _Counter(game)
        start = 0
        for types, actions in chunks:
            arrays = np.asarray(types), np.asarray(actions)
            if not arrays[0].ndim == arrays[1].ndim == 2 or {a.shape[1] for a in arrays} != {game.n_players}:
                raise PlayError(f"expected {game.n_players} types and {game.n_players} actions a round", field="rounds")
            if any(array.dtype.kind not in "iu" for array in arrays):
                raise PlayError("expected whole numbers", field="rounds")
            for low, high in _pieces(start, start + len(arrays[0]), counter.piece):
                part = [array[low - start : high - start] for array in arrays]
                flat = _flat_cells(game, part[0], part[1])
                if flat is None or not counter.add(low.bit_length(), flat):
                    _refuse(game, part[0], part[1], low)
            start += len(arrays[0])
        if not start:
            raise PlayError("expected a non-empty list of rounds", field="rounds")
        return cls(game.shape, tuple(counter.blocks()))


def _pieces(start: int, stop: int, length: int) -> Iterator[tuple[int, int]]:
    """Runs of at most so many rounds, none of which crosses a power of two."""
    while start < stop:
        edge = 1 << start.bit_length()
        end = min(stop, start + length, edge)
        yield start, end
        start = end


def _flat_cells(game: BayesianGame, types: npt.NDArray, actions: npt.NDArray) -> IntArray | None:
    """Flat numbers of the cells of some rounds; None if an index is out of range."""
    n = game.n_players
    columns = [types[:, i] for i in range(n)] + [actions[:, i] for i in range(n)]
    if not (_below(types, min(game.type_shape)) and _below(actions, min(game.action_shape))):
        for column, length in zip(columns, game.shape, strict=True):
            if column.min() < 0 or column.max() >= length:
                return None
    # the narrower the numbers, the quicker; a column that holds indices fits whatever its own kind
    flat: npt.NDArray[Any] = columns[0].astype(np.int64 if math.prod(game.shape) > 1 << 32 else np.uint32)
    for column, length in zip(columns[1:], game.shape[1:], strict=True):
        flat *= flat.dtype.type(length)
        np.add(flat, column, out=flat, casting="unsafe")
    return flat


def _allowed(game: BayesianGame, cells: IntArray) -> npt.NDArray[np.bool_]:
    """Whether cells have types of positive probability and feasible actions."""
    index = np.unravel_index(cells, game.shape)
    out = game.prior[index[: game.n_players]] > 0
    for mask, t, a in zip(game.feasible, index[: game.n_players], index[game.n_players :], strict=True):
        out &= mask[t, a]
    return np.asarray(out)


class _Counter:
    """Counts of one block after another: in a table of all cells, or sorted where rounds are few beside the cells.

    Attributes:
        piece: rounds that are best counted at once.
    """

    def __init__(self, game: BayesianGame) -> None:
        self.game, self.size = game, math.prod(game.shape)
        self.piece = max(CHUNK_ROUNDS, min(self.size, MAX_DENSE_CELLS))
        self.found: list[Counts] = []
        self.table: IntArray | None = None  # of the latest block
        self.all_allowed = bool((game.prior > 0).all()) and all(bool(mask.all()) for mask in game.feasible)

    @cached_property
    def forbidden(self) -> IntArray:
        """The cells that cannot occur."""
        return np.flatnonzero(~_allowed(self.game, np.arange(self.size)))

    def add(self, block: int, flat: IntArray) -> bool:
        """Counts some rounds of the latest block, or of a new one; False if one has a cell that cannot occur."""
        if block == len(self.found):
            self._close()
            self.found.append(Counts(*np.zeros((2, 0), dtype=np.int64)))
        if _in_a_table(self.size, len(flat)):
            times = np.bincount(flat, minlength=self.size)
            self.table = times if self.table is None else np.add(self.table, times, out=self.table)
            return self.all_allowed or not times[self.forbidden].any()
        cells, times = np.unique(flat, return_counts=True)
        counts = Counts(cells.astype(np.int64), times)
        self.found[block] = Counts.together((self.found[block], counts), self.size)
        return self.all_allowed or bool(_allowed(self.game, counts.cells).all())

    def _close(self) -> None:
        if self.table is not None:
            self.found[-1] = Counts.together((self.found[-1], Counts.of_table(self.table)), self.size)
            self.table = None

    def blocks(self) -> list[Counts]:
        """The counts of all blocks."""
        self._close()
        return self.found


def _below(values: npt.NDArray, limit: int) -> bool:
    """Whether all entries are from 0 to limit - 1; seen in one pass, since a negative number is a huge unsigned one."""
    if values.dtype.kind == "i" and values.flags.c_contiguous:
        values = values.view(values.dtype.str.replace("i", "u"))
    return bool(values.max() < limit) and values.dtype.kind == "u"


def _refuse(game: BayesianGame, types: npt.NDArray, actions: npt.NDArray, first: int) -> None:
    """Say of the first bad round what the exact reader would say."""
    for k, (t, a) in enumerate(zip(types.tolist(), actions.tolist(), strict=True)):
        check_round([t, a], game.plain, f"rounds[{first + k}]")


# ------------------------------------------------------------------------------------------ sums over deviations


@dataclass(frozen=True, eq=False)
class Grouped:
    """Counts from one player's side: rows are what it faced (own type, others' types and actions) and met.

    Attributes:
        times: how often it met the row with each own action, shape (rows, |A_i|).
        places: where its payoff for each own action stands in the flat payoff array, shape (rows, |A_i|).
        types: own types that occur, ascending.
        starts: first row of each of them.
    """

    times: IntArray
    places: IntArray
    types: IntArray
    starts: IntArray

    def by_type(self, values: npt.NDArray) -> npt.NDArray:
        """Sums over the rows of each own type that occurs, axis 0."""
        return np.add.reduceat(values, self.starts, axis=0)


def grouped(shape: tuple[int, ...], counts: Counts, i: int, payoff_shape: tuple[int, ...]) -> Grouped:
    """The counts from player i's side; ``payoff_shape`` broadcasts to ``shape``."""
    n = len(shape) // 2
    index = np.unravel_index(counts.cells, shape)
    order = [i, *(k for k in range(2 * n) if k not in (i, n + i))]
    keys = np.zeros(len(counts.cells), dtype=np.int64)
    base = np.zeros(len(counts.cells), dtype=np.int64)
    strides = _strides(payoff_shape)
    for k in order:
        keys = keys * shape[k] + index[k]
        base += index[k] * strides[k]
    rows, place = _ranked(keys, math.prod(shape) // shape[n + i])
    times = np.zeros((len(rows), shape[n + i]), dtype=np.int64)
    times[place, index[n + i]] = counts.times
    first = np.zeros((2, len(rows)), dtype=np.int64)  # the same for all cells of a row
    first[:, place] = base, index[i]
    places = first[0][:, None] + np.arange(shape[n + i]) * strides[n + i]
    types, starts = np.unique(first[1], return_index=True)
    return Grouped(times, places, types, starts)


def _strides(shape: tuple[int, ...]) -> list[int]:
    """Steps in elements, 0 on axes of length 1."""
    out, step = [], 1
    for length in reversed(shape):
        out.append(0 if length == 1 else step)
        step *= length
    return out[::-1]


def _limbs(values: Tensor, rounds: int) -> Limbs:
    """Numerators in digits of a base 2^BITS, lowest first, all with their sign, shape (digit, entries).

    So a sum of ``rounds`` digits never leaves 64 bits, and exact sums are array passes, one for each digit.
    """
    if rounds.bit_length() + BITS > 62:
        raise BudgetError(f"a log of {rounds} rounds is longer than is summed exactly")
    limbs = tensor_limbs(values)
    return limbs.reshape(len(limbs), -1)


def history_regrets(game: BayesianGame, history: History) -> ExactRegrets:
    """Interim regrets of the log under its own frequencies, exactly (theory T3, T6 (i)).

    Returns:
        For each player, own type and deviation the regret in payoff units; None where the type does not occur or the
        deviation is not feasible.
    """
    out: ExactRegrets = []
    for i, payoff in enumerate(game.plain.payoffs):
        width = game.action_shape[i]
        table: list[list[Fraction | None]] = [[None] * width for _ in range(game.type_shape[i])]
        side = grouped(history.shape, history.total, i, payoff.shape)
        met = side.times.sum(axis=1)
        visits = side.by_type(met)
        limbs = _limbs(payoff, history.rounds)
        gains = np.zeros((len(side.types), width), dtype=object)
        for k, limb in enumerate(limbs):
            here = limb[side.places]
            deviated = side.by_type(met[:, None] * here)
            played = side.by_type((side.times * here).sum(axis=1))
            gains += (deviated.astype(object) - played.astype(object)[:, None]) << (BITS * k)
        for row, t in enumerate(side.types.tolist()):
            for a in np.flatnonzero(game.feasible[i][t]).tolist():
                table[t][a] = Fraction(int(gains[row, a]), int(visits[row]) * payoff.denominator)
        out.append(table)
    return out


def history_value(history: History, objective: Tensor) -> Fraction:
    """Average over rounds of an objective with axes (types.., actions..) that may broadcast, exactly, payoff units."""
    index = np.unravel_index(history.total.cells, history.shape)
    places = sum(k * step for k, step in zip(index, _strides(objective.shape), strict=True))
    limbs = _limbs(objective, history.rounds)
    total = sum(int((history.total.times * limb[places]).sum()) << (BITS * k) for k, limb in enumerate(limbs))
    return Fraction(total, history.rounds * objective.denominator)


def gain_sums(game: BayesianGame, counts: Counts, i: int) -> tuple[FloatArray, FloatArray]:
    """Sums over rounds of X and of X^2 for each row of player i, shape (|T_i|, |A_i|), payoff units.

    X is 1{own type} [u_i(types, a', a_-i) - u_i(types, a)], as in theory T6.
    """
    shape = (game.type_shape[i], game.action_shape[i])
    sums, squares = np.zeros(shape), np.zeros(shape)
    if not len(counts.cells):
        return sums, squares
    payoff = game.payoffs[i]
    side = grouped(game.shape, counts, i, payoff.shape)
    worth = payoff.ravel()[side.places]
    # Gains do not change when a row's payoffs move together; centred rows keep small gains among large payoffs exact.
    worth = worth - worth[:, :1]
    met = side.times.sum(axis=1)[:, None]
    played = (side.times * worth).sum(axis=1, keepdims=True)
    played_squares = (side.times * worth**2).sum(axis=1, keepdims=True)
    sums[side.types] = side.by_type(met * worth - played)
    squares[side.types] = side.by_type(met * worth**2 - 2 * worth * played + played_squares)
    return sums, squares
