"""Optimal commitment against one follower without types (theory T9), exactly.

Pure by enumeration; mixed by one linear program a follower reply (Conitzer and Sandholm, EC 2006), solved in doubles,
its vertex redone in rationals, and its optimality shown by weak duality in rationals: no solver is trusted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ..verify.errors import UsageError
from ..verify.plain import flatten, grid_row, parse_number
from .arrays import Columns
from .linear import Program, Solution, exact_vertex

Table = list[list[Fraction]]


@dataclass(frozen=True)
class Commitment:
    """A commitment of the leader and the follower's reply to it.

    Attributes:
        value: the leader's value when the follower breaks ties for the leader, payoff units.
        mixture: the leader's probabilities.
        response: the follower's action.
        upper: no commitment of this kind is worth more; equal to ``value`` when ``proved``.
        margin: what the follower would lose by its second-best action; 0 is a knife-edge, None if it has one action.
        pessimistic: the leader's value at the same mixture when ties are broken against the leader.
    """

    value: Fraction
    mixture: tuple[Fraction, ...]
    response: int
    upper: Fraction
    margin: Fraction | None
    pessimistic: Fraction

    @property
    def proved(self) -> bool:
        """Whether the commitment is shown to be optimal."""
        return self.value == self.upper


def optimal_pure_commitment(leader_payoffs: Any, follower_payoffs: Any) -> Commitment:
    """The best row to commit to, the follower breaking ties for the leader; by enumeration.

    Args:
        leader_payoffs, follower_payoffs: axes (leader's action, follower's action); any exact or float numbers.

    Raises:
        UsageError: tables of different shapes.

    Example:
        >>> best = optimal_pure_commitment([[1, 3], [0, 2]], [[1, 0], [0, 1]])
        >>> best.value, best.mixture, best.response, best.margin
        (Fraction(2, 1), (Fraction(0, 1), Fraction(1, 1)), 1, Fraction(1, 1))
    """
    leader, follower = _tables(leader_payoffs, follower_payoffs)
    rows = [tuple(Fraction(int(k == row)) for k in range(len(leader))) for row in range(len(leader))]
    options = [_assessed(leader, follower, mixture) for mixture in rows]
    best = max(options, key=lambda option: (option.value, option.margin or 0))
    return best


def optimal_mixed_commitment(leader_payoffs: Any, follower_payoffs: Any) -> Commitment:
    """The best mixture to commit to (a strong Stackelberg equilibrium), with a proof of optimality.

    Args:
        leader_payoffs, follower_payoffs: axes (leader's action, follower's action); any exact or float numbers.

    Raises:
        UsageError: tables of different shapes.

    Example:
        >>> best = optimal_mixed_commitment([[1, 3], [0, 2]], [[1, 0], [0, 1]])
        >>> best.value, best.mixture, best.proved, best.margin, best.pessimistic
        (Fraction(5, 2), (Fraction(1, 2), Fraction(1, 2)), True, Fraction(0, 1), Fraction(1, 2))
    """
    leader, follower = _tables(leader_payoffs, follower_payoffs)
    replies = range(len(leader[0]))
    solved = [_ReplyProgram(leader, follower, reply) for reply in replies]
    options = [_assessed(leader, follower, mixture) for program in solved for mixture in program.mixtures()]
    options.append(optimal_pure_commitment(leader, follower))
    best = max(options, key=lambda option: (option.value, option.margin or 0))
    upper = max(program.upper(best.value) for program in solved)
    return Commitment(best.value, best.mixture, best.response, upper, best.margin, best.pessimistic)


def _tables(leader_payoffs: Any, follower_payoffs: Any) -> tuple[Table, Table]:
    out = []
    for name, given in (("leader_payoffs", leader_payoffs), ("follower_payoffs", follower_payoffs)):
        shape, flat = flatten(given.tolist() if isinstance(given, np.ndarray) else given, 2, name)
        numbers = [parse_number(value, name) for value in flat]
        out.append([numbers[k : k + shape[1]] for k in range(0, len(numbers), shape[1])])
    if len(out[0]) != len(out[1]) or len(out[0][0]) != len(out[1][0]):
        raise UsageError("expected two tables of the same shape (leader's actions, follower's actions)")
    return out[0], out[1]


def _mix(table: Table, mixture: Sequence[Fraction]) -> list[Fraction]:
    return [sum((x * row[b] for x, row in zip(mixture, table, strict=True)), Fraction(0)) for b in range(len(table[0]))]


def _assessed(leader: Table, follower: Table, mixture: tuple[Fraction, ...]) -> Commitment:
    """What a mixture is worth, exactly: the follower replies best, ties for the leader."""
    gains, pays = _mix(leader, mixture), _mix(follower, mixture)
    top = max(pays)
    tied = [b for b, pay in enumerate(pays) if pay == top]
    response = max(tied, key=lambda b: (gains[b], -b))
    others = [pay for b, pay in enumerate(pays) if b != response]
    margin = top - max(others) if others else None
    value, worst = gains[response], min(gains[b] for b in tied)
    return Commitment(value, mixture, response, value, margin, worst)


class _ReplyProgram:
    """max x . L_b  subject to  x . (F_b' - F_b) <= 0 for every other reply b', x a mixture."""

    def __init__(self, leader: Table, follower: Table, reply: int) -> None:
        self.aim = [row[reply] for row in leader]
        self.others = [b for b in range(len(follower[0])) if b != reply]
        self.gains = [[row[b] - row[reply] for b in self.others] for row in follower]
        scale = max((abs(gain) for row in self.gains for gain in row), default=Fraction(0)) or Fraction(1)
        unit = max(map(abs, self.aim)) or Fraction(1)
        self.ratio = unit / scale
        self.matrix = np.array([[float(g / scale) for g in row] for row in self.gains]).reshape(len(self.aim), -1)
        self.cost = np.array([float(a / unit) for a in self.aim])
        self.solution = self._solve(None)
        self.duals = [Fraction(0)] * len(self.others)
        self.mixture: tuple[Fraction, ...] | None = None
        if self.solution is not None:
            self.duals = self._rounded(self.solution)
            self._exact(self.solution)

    def _solve(self, price: float | None) -> Solution | None:
        count, width = self.matrix.shape
        program = Program(np.zeros(width), np.ones(1), price)
        ones = np.ones((count, 1))
        numbers = np.tile(np.arange(width), (count, 1))
        program.add(Columns.of(self.cost, [(numbers, self.matrix), (np.full((count, 1), width), ones)]))
        return program.solve(10.0)

    def _rounded(self, solution: Solution) -> list[Fraction]:
        return [
            max(Fraction(0), Fraction(float(y)).limit_denominator(1 << 30)) * self.ratio for y in solution.duals[:-1]
        ]

    def _exact(self, solution: Solution) -> None:
        """The basis in rationals: rows and costs are brought to integers first."""
        width = len(self.others)
        entries = [g for row in self.gains for g in row] + self.aim
        common = int(np.lcm.reduce(np.array([e.denominator for e in entries], dtype=object)))
        basic = solution.basic.tolist()
        value: npt.NDArray[Any] = np.empty((len(basic), width + 1), dtype=object)
        for k, row in enumerate(basic):
            value[k] = [int(g * common) for g in self.gains[row]] + [1]
        cost = np.array([int(self.aim[row] * common) for row in basic], dtype=object)
        numbers = np.tile(np.arange(width + 1), (len(basic), 1))
        vertex = exact_vertex(Columns.of(cost, [(numbers, value)]), solution.tight, {width: Fraction(1)})
        if vertex is None or min(vertex.x) < 0:
            return
        mixture = [Fraction(0)] * len(self.aim)
        for row, x in zip(basic, vertex.x, strict=True):
            mixture[row] = x
        self.mixture = tuple(mixture)
        duals = [max(Fraction(0), vertex.duals.get(k, Fraction(0))) for k in range(width)]
        if self._bound(duals) <= self._bound(self.duals):
            self.duals = duals

    def mixtures(self) -> list[tuple[Fraction, ...]]:
        """Mixtures worth looking at: the vertex exactly, or the float one on the grid."""
        if self.mixture is not None:
            return [self.mixture]
        if self.solution is None:
            return []
        return [tuple(grid_row([max(Fraction(0), Fraction(float(x))) for x in self.solution.x]))]

    def _bound(self, duals: Sequence[Fraction]) -> Fraction:
        """Weak duality: no mixture to which the reply is best is worth more, for any duals >= 0."""
        return max(
            aim - sum((y * gain for y, gain in zip(duals, row, strict=True)), Fraction(0))
            for aim, row in zip(self.aim, self.gains, strict=True)
        )

    def upper(self, value: Fraction) -> Fraction:
        """A bound for this reply; where it is never a best reply, one not above ``value`` if that can be found."""
        best, price = self._bound(self.duals), 4.0
        while best > value and self.solution is None and price < 1e9:
            priced = self._solve(price)
            if priced is not None:
                best = min(best, self._bound(self._rounded(priced)))
            price *= 16.0
        return best
