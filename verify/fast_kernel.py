"""The kernel for big games: the same exact answers, most of the work done by numpy.

Rounding only ever says where to look, with a bound on what it can cost: which joint actions may be the largest of their
joint type and which regrets the largest of all (`candidates.py`); rounded up to 62 bits, which branches the
strategic-form search may cut. What is left is reckoned without rounding, in Python's integers, or where many numbers
are wanted as sums of limb[k] * 2^(24 k) with the limbs in int64: a product of two limbs stays below 2^48, so thousands
of products add up without overflow. No rounding decides anything. The readable kernel is the reference; the tests hold
this one to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import mul
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernel
from .candidates import BracketCandidates, IntArray, at_prefix, factor, regret_bounds
from .digests import game_sha256
from .game import array_of
from .kernel import Conditional, Multipliers, Recheck, joint_types, prior_weight
from .plain import DoubleNumerators, PlainGame, SumNumerators, Tensor

BITS = 24
_MASK = (1 << BITS) - 1
_MOST_TERMS = 1 << (62 - 2 * BITS)
"""How many products of two limbs an accumulator takes between carries."""

_BESIDE = 1 << 7
"""So many digits of so many factors are added up between carries: together no more terms than that."""

MAX_NODES = 50_000_000
"""How long a strategic-form search may be here: a minute or so."""

_CHUNK = 1 << 18
"""Numbers worked on at once in that search: what fits the processor's cache a few times over."""

_NEVER = -(1 << 62)

Limbs = npt.NDArray[np.int64]


def outer_bound(
    game: PlainGame,
    *,
    objective: Tensor,
    sense: str,
    epsilon: Fraction,
    multipliers: Multipliers,
    potentials: Sequence[Tensor] | None = None,
) -> Fraction:
    """See `kernel.outer_bound`: same arguments, same exact result, joint actions of a joint type all at once."""
    sign = 1 if sense == "upper" else -1
    brackets = _Brackets(game, objective, sign, multipliers, potentials)
    bound = kernel.paid(epsilon, multipliers) + Fraction(brackets.total(), brackets.unit)
    return sign * bound


class _Brackets:
    """The bracket of theory T5: ``live`` are the joint types where it is not 0, ``unit`` is what all is over."""

    def __init__(
        self,
        game: PlainGame,
        objective: Tensor,
        sign: int,
        multipliers: Multipliers,
        potentials: Sequence[Tensor] | None = None,
    ) -> None:
        self.game, self.n = game, game.n
        gains, self.common = kernel.scaled_gains(game, objective, multipliers)
        # whose payoff does not depend on the own action gains nothing by any other
        self.gains = [
            rows if payoff.shape[self.n + i] > 1 else {}
            for i, (rows, payoff) in enumerate(zip(gains, game.payoffs, strict=True))
        ]
        self.centred = [_centred(f, j) for j, f in enumerate(potentials or ())]
        self.unit = math.lcm(game.prior.denominator * self.common, *(f.denominator for f in self.centred))
        self.scale = self.unit // (game.prior.denominator * self.common)
        parts = objective.numerators.terms if isinstance(objective.numerators, SumNumerators) else (objective,)
        self.objective = [(sign * (self.common // part.denominator), part) for part in parts]
        self.live = [types for types in joint_types(game) if self.centred or prior_weight(game, types)]

    def account(self, types: tuple[int, ...]) -> _Account:
        """The bracket at all joint actions of a joint type, without rounding."""
        account = _Account(self.game.action_shape)
        for f in self.centred:
            account.add(_slice(f, types, self.n), self.unit // f.denominator)
        weight = prior_weight(self.game, types) * self.scale
        if not weight:
            return account
        for times, part in self.objective:
            account.add(_slice(part, types, self.n), weight * times)
        for i, payoff in enumerate(self.game.payoffs):
            row = self.gains[i].get(types[i])
            if row:
                read = _slice(payoff, types, self.n)
                account.add(read, weight * sum(row.values()))
                account.deviations(read, i, {a: gain * weight for a, gain in row.items()})
        return account

    def total(self) -> int:
        """The largest bracket over the joint actions feasible at a joint type, summed over all joint types."""
        gains = {
            i: {t: {a: factor(gain, self.common) for a, gain in row.items()} for t, row in rows.items()}
            for i, rows in enumerate(self.gains)
            if rows
        }
        places = BracketCandidates(
            self.game,
            [(part, factor(times, self.common)) for times, part in self.objective],
            gains,
            [(f, factor(1, f.denominator)) for f in self.centred],
        )
        cells, unlisted = (np.concatenate(parts) for parts in zip(*places.found(), strict=True))
        best: dict[int, int] = {}
        joint = np.ravel_multi_index(tuple(cells[:, : self.n].T), self.game.type_shape)
        for types, bracket in zip(joint.tolist(), self._at(cells), strict=True):
            best[types] = max(bracket, best.get(types, bracket))
        rest = [self.account(types).largest(self.game, types) for types in map(tuple, unlisted.tolist())]
        return sum(best.values()) + sum(rest)

    def _at(self, index: IntArray) -> list[int]:
        """The brackets at some joint types and joint actions, (count, 2 n), without rounding."""
        n = self.n
        out = [0] * len(index)
        for times, part in self.objective:
            for k, entry in enumerate(_entries(part, index)):
                out[k] += times * entry
        for i, rows in enumerate(self.gains):
            if not rows:
                continue
            payoff = self.game.payoffs[i]
            step = payoff.strides[n + i]
            used = sorted({a for row in rows.values() for a in row})
            gains = {t: [row.get(a, 0) for a in used] for t, row in rows.items()}
            totals = {t: sum(row) for t, row in gains.items()}
            places, types = index @ payoff.strides, index[:, i].tolist()
            # what is lost depends on the own type and on what the others do: found once for all cells that share them
            others, which = np.unique(places - index[:, n + i] * step, return_inverse=True)
            deviated = _read(payoff, (others[:, None] + np.array(used) * step).ravel())
            lost: dict[tuple[int, int], int] = {}
            for k, (t, other, played) in enumerate(zip(types, which.tolist(), _read(payoff, places), strict=True)):
                if t in gains:
                    if (t, other) not in lost:
                        start = other * len(used)
                        lost[t, other] = sum(map(mul, gains[t], deviated[start : start + len(used)]))
                    out[k] += totals[t] * played - lost[t, other]
        weights = _entries(self.game.prior, index[:, :n])
        out = [value * weight * self.scale for value, weight in zip(out, weights, strict=True)]
        for f in self.centred:
            times = self.unit // f.denominator
            for k, entry in enumerate(_entries(f, index)):
                out[k] += times * entry
        return out


def measured(game: PlainGame, conditional: Conditional, objective: Tensor) -> tuple[Fraction, Fraction]:
    """See `kernel.measured`: only regrets that may be the largest are reckoned without rounding."""
    cells, scale, weights, total = conditional
    n, one = game.n, scale * total
    index = np.array([types + actions for types, row in cells.items() for actions, _ in row], dtype=np.int64)
    parts = [weights[types] * mass for types, row in cells.items() for _, mass in row]
    value = Fraction(sum(map(mul, parts, _entries(objective, index))), one * objective.denominator)
    masses = np.array([part / one for part in parts])
    visits = [[0] * count for count in game.type_shape]
    for types in cells:
        for i, t in enumerate(types):
            visits[i][t] += weights[types]
    bounds, floor, gap = [], Fraction(0), Fraction(0)
    for i, payoff in enumerate(game.payoffs):
        step, own_types, own = payoff.strides[n + i], index[:, i], index[:, n + i]
        places = (index @ payoff.strides - own * step)[:, None] + np.arange(game.action_shape[i]) * step
        feasible = np.array(game.feasible[i], dtype=bool)
        least, most, exponent = regret_bounds(payoff, places, own_types, own, masses, feasible)
        unit = Fraction(2) ** exponent / payoff.denominator
        bounds.append((places, most, unit))
        floor = max(floor, Fraction(float(least.max(initial=0.0))) * unit)
    for i, (payoff, (places, most, unit)) in enumerate(zip(game.payoffs, bounds, strict=True)):
        close = most >= min(math.floor(floor / unit), 1 << 60)
        played = list(map(mul, parts, _entries(payoff, index)))
        for t in np.flatnonzero(close.any(axis=1)).tolist():
            here, actions = np.flatnonzero(index[:, i] == t), np.flatnonzero(close[t])
            entries = _read(payoff, places[np.ix_(here, actions)].ravel())
            chances = [parts[k] for k in here.tolist()]
            most_gained = max(sum(map(mul, chances, entries[k :: len(actions)])) for k in range(len(actions)))
            gain = most_gained - sum(played[k] for k in here.tolist())
            if gain > 0:
                gap = max(gap, Fraction(gain, visits[i][t] * scale * payoff.denominator))
    return gap, value


def _centred(f: Tensor, j: int) -> Tensor:
    """A potential of player j less its mean over j's types; see `kernel.centred_potentials`."""
    values = np.array(f.numerators, dtype=object).reshape(f.shape)
    count = f.shape[j]
    out = count * values - values.sum(axis=j, keepdims=True)
    return Tensor(f.shape, out.ravel().tolist(), f.denominator * count)


def _entries(values: Tensor, index: IntArray) -> list[int]:
    """The numerators at some cells, (count, 2 n)."""
    if isinstance(values.numerators, SumNumerators):
        terms = [(values.denominator // term.denominator, _entries(term, index)) for term in values.numerators.terms]
        return [sum(times * entries[k] for times, entries in terms) for k in range(len(index))]
    return _read(values, index @ values.strides)


def _read(values: Tensor, places: IntArray) -> list[int]:
    """The numerators at some places, (count,)."""
    if isinstance(values.numerators, DoubleNumerators):
        with np.errstate(over="ignore"):
            read = np.ldexp(array_of(values).ravel()[places], values.numerators.shift)
        if np.isfinite(read).all():
            return list(map(int, read.tolist()))
    return [values.numerators[k] for k in places.tolist()]


def strategic_form_holds(
    game: PlainGame,
    *,
    objective: Tensor,
    sense: str,
    epsilon: Fraction,
    multipliers: Multipliers,
    value: Fraction,
    max_nodes: int = MAX_NODES,
) -> tuple[bool, int]:
    """See `kernel.strategic_form_holds`: the same search, many nodes at once, on tables rounded up to 64-bit integers.

    Rounding up can only make a branch look better than it is, so what is cut is cut rightly; a complete choice that
    is not cut is reckoned again without rounding.
    """
    sign = 1 if sense == "upper" else -1
    brackets = _Brackets(game, objective, sign, multipliers)
    slack = sign * value - kernel.paid(epsilon, multipliers)
    limit = math.floor(slack * brackets.unit)
    search = _Search(game, brackets)
    left, nodes = search.run(limit >> search.shift, max_nodes)
    if left is None:
        return False, nodes
    if len(left):
        return search.largest(left, brackets) <= limit, nodes
    return True, nodes


def check_certificate(document: object, game: PlainGame | None = None) -> Recheck:
    """`kernel.check_certificate` with the bounds computed here; for games that the readable kernel would be slow on."""
    if game is not None:
        game_sha256(game)
    return kernel.check_certificate(
        document,
        game,
        max_nodes=MAX_NODES,
        outer=outer_bound,
        strategic=strategic_form_holds,
        measure=measured,
    )


class _Account:
    """A running sum for every joint action of one joint type, in limbs of shape (limb, actions..)."""

    def __init__(self, actions: tuple[int, ...]) -> None:
        self.actions = actions
        self.limbs: Limbs = np.zeros((1, *actions), dtype=np.int64)

    def _grow(self, count: int) -> None:
        if count > len(self.limbs):
            more = np.zeros((count - len(self.limbs), *self.actions), dtype=np.int64)
            self.limbs = np.concatenate([self.limbs, more])

    def add(self, values: Limbs, factor: int) -> None:
        """Adds factor * values; ``values`` broadcasts over the joint actions."""
        digits = _digits(factor)
        self._grow(len(values) + len(digits) + 1)
        for k, digit in enumerate(digits):
            if digit:
                self.limbs[k : k + len(values)] += values * digit
            if (k + 1) % _MOST_TERMS == 0:
                self._carry()
        self._carry()

    def deviations(self, payoff: Limbs, i: int, gains: dict[int, int]) -> None:
        """Subtracts sum_a' gains[a'] * payoff(a', a_-i) at every joint action a."""
        chosen = list(gains)
        own = np.moveaxis(payoff, 1 + i, -1)[..., chosen]
        digits = [_digits(gains[a]) for a in chosen]
        width = max(map(len, digits))
        table = np.array([row + [0] * (width - len(row)) for row in digits], dtype=np.int64)
        self._grow(len(payoff) + width + 2)
        for start in range(0, len(chosen), _BESIDE):
            part = slice(start, start + _BESIDE)
            for k in range(width):
                deviated = own[..., part] @ table[part, k]
                self.limbs[k : k + len(payoff)] -= np.expand_dims(deviated, 1 + i)
                if (k + 1) % _BESIDE == 0:
                    self._carry()
            self._carry()

    def _carry(self) -> None:
        """Brings all limbs but the highest into 0 .. 2^24 - 1; the highest keeps the sign."""
        for k in range(len(self.limbs) - 1):
            carry = self.limbs[k] >> BITS
            self.limbs[k] &= _MASK
            self.limbs[k + 1] += carry

    def leading(self) -> tuple[Limbs, int]:
        """The upper limbs, 62 bits or more of the largest number, and how many lower ones were left out."""
        top = len(self.limbs) - 1
        highest = self.limbs[top]
        while top and np.abs(highest).max() < 1 << 14:
            top -= 1
            highest = (highest << BITS) + self.limbs[top]
        low = max(0, top - 2)
        return np.concatenate([self.limbs[low:top], highest[None]]), low

    def largest(self, game: PlainGame, types: tuple[int, ...]) -> int:
        """The largest sum over the joint actions feasible at these types."""
        rows = [[a for a, ok in enumerate(game.feasible[i][t]) if ok] for i, t in enumerate(types)]
        left = np.stack([limb[np.ix_(*rows)].ravel() for limb in self.limbs])
        for k in reversed(range(len(left))):
            left = left[:, left[k] == left[k].max()]
        return sum(int(limb) << (BITS * k) for k, limb in enumerate(left[:, 0].tolist()))


class _Search:
    """The tables and the run of `strategic_form_holds`, in units of 2^shift.

    ``tops[joint type of the others, code, own type, reply]`` is the most that the bracket can be for each reply of the
    last player; ``code`` says what the others chose there: each its action, or one past its actions while it is free.
    """

    def __init__(self, game: PlainGame, brackets: _Brackets) -> None:
        self.last, self.n = kernel.replying_player(game), game.n
        self.others = [i for i in range(game.n) if i != self.last]
        leading = {types: brackets.account(types).leading() for types in brackets.live}
        bits = [
            BITS * (low + len(limbs) - 1) + int(np.abs(limbs[-1]).max()).bit_length() for limbs, low in leading.values()
        ]
        # a sum over all joint types then stays within 61 bits
        self.shift = max(0, max(bits, default=0) - 60 + math.prod(game.type_shape).bit_length())
        values = np.zeros(game.type_shape + game.action_shape, dtype=np.int64)
        for types, (limbs, low) in leading.items():
            values[types] = _rounded_up(limbs, self.shift - BITS * low) if self.shift else _sum(limbs)
        self.slack = len(leading) if self.shift else 0
        masks = [np.array(mask, dtype=bool) for mask in game.feasible]
        for i, mask in enumerate(masks):
            axes = [1] * (2 * self.n)
            axes[i], axes[self.n + i] = mask.shape
            np.copyto(values, _NEVER, where=~mask.reshape(axes))
        tops = np.moveaxis(values, (self.last, self.n + self.last), (self.n - 1, 2 * self.n - 1))
        for k in range(self.n - 1):
            tops = np.concatenate([tops, tops.max(axis=self.n + k, keepdims=True)], axis=self.n + k)
        own, replies = game.type_shape[self.last], game.action_shape[self.last]
        tops = np.moveaxis(tops, self.n - 1, 2 * self.n - 2).reshape(
            -1, math.prod(tops.shape[self.n : -1]), own, replies
        )
        self.root = tops[:, -1].sum(axis=0) if len(tops) > 1 else tops[0, -1].copy()
        self.root[~masks[self.last]] = _NEVER
        # so that changes to the root stay small where the last player may not reply
        self.tops = np.where(masks[self.last], tops, 0)
        self.order = sorted(self._choices(game, masks), key=lambda choice: choice.average)

    def _choices(self, game: PlainGame, masks: list[Any]) -> Iterator[_Choice]:
        """All (player, own type) pairs of the others, and the average bound that is left when only it is chosen."""
        free, grid = self.tops.shape[1] - 1, np.indices([game.type_shape[i] for i in self.others])
        for k, i in enumerate(self.others):
            stride = math.prod(game.action_shape[j] + 1 for j in self.others[k + 1 :])
            for t, mask in enumerate(masks[i]):
                actions, here = np.flatnonzero(mask), np.flatnonzero(grid[k].ravel() == t)
                steps = (actions - game.action_shape[i]) * stride
                after = self.root + sum(self.tops[r, free + steps] - self.tops[r, free] for r in here)
                average = float(after.max(axis=2).sum(axis=1).mean())
                yield _Choice(average, i, t, actions, here, steps)

    def run(self, limit: int, max_nodes: int) -> tuple[Limbs | None, int]:
        """(complete choices that rounding leaves open, nodes); None if the limit is passed for sure or too far off."""
        limit = min(max(limit, -(1 << 61)), 1 << 61)
        nodes, depth = 1, len(self.order)
        open_: list[Limbs] = []
        if int(self.root.max(axis=1).sum()) <= limit:
            return np.zeros((0, depth), dtype=np.int64), nodes
        free = np.full((1, len(self.tops)), self.tops.shape[1] - 1)
        stack = [(np.zeros((1, 0), dtype=np.int64), free, self.root[None])]
        while stack:
            chosen, codes, totals = stack.pop()
            at = chosen.shape[1]
            if at == depth:
                if int(totals.max(axis=2).sum(axis=1).max()) - self.slack > limit:
                    return None, nodes
                open_.append(chosen)
                continue
            choice = self.order[at]
            room = max(1, _CHUNK // (len(choice.actions) * self.root.size))
            if len(chosen) > room:
                stack.append((chosen[:-room], codes[:-room], totals[:-room]))
                chosen, codes, totals = chosen[-room:], codes[-room:], totals[-room:]
            nodes += len(chosen) * len(choice.actions)
            if nodes > max_nodes:
                return None, nodes
            rest = totals.copy()
            for r in choice.here:
                rest -= self.tops[r, codes[:, r]]
            after = np.repeat(rest[:, None], len(choice.actions), axis=1)
            for r in choice.here:
                after += self.tops[r, codes[:, r, None] + choice.steps]
            parent, action = np.nonzero(after.max(axis=3).sum(axis=2) > limit)
            if len(parent):
                codes = codes[parent]
                codes[:, choice.here] += choice.steps[action, None]
                chosen = np.concatenate([chosen[parent], choice.actions[action, None]], axis=1)
                stack.append((chosen, codes, after[parent, action]))
        return np.concatenate([np.zeros((0, depth), dtype=np.int64), *open_]), nodes

    def largest(self, chosen: Limbs, brackets: _Brackets) -> int:
        """The largest sum of brackets over these choices of the others and all replies, exactly."""
        column = {(choice.player, choice.type): k for k, choice in enumerate(self.order)}
        totals = np.zeros((len(chosen), *self.root.shape), dtype=object)
        for types in brackets.live:
            limbs = brackets.account(types).limbs
            here: Any = tuple(chosen[:, column[i, types[i]]] for i in self.others)
            replies = np.moveaxis(limbs, 1 + self.last, -1)[(slice(None), *here)]
            totals[:, types[self.last]] += _sum(replies.reshape(len(limbs), len(chosen), -1).astype(object))
        best = sum(totals[:, t, row != _NEVER].max(axis=1) for t, row in enumerate(self.root))
        return int(np.max(best))


@dataclass(frozen=True)
class _Choice:
    """One (player, own type) of the search: its actions, the others' joint types it touches, its steps in the code."""

    average: float
    player: int
    type: int
    actions: Limbs
    here: Limbs
    steps: Limbs


def _sum(limbs: Any) -> Any:
    """The numbers that limbs stand for; int64 limbs must stand for numbers of that size."""
    return sum(limb << (BITS * k) for k, limb in enumerate(limbs))


def _rounded_up(limbs: Limbs, shift: int) -> Limbs:
    """The numbers of some limbs, perhaps without lower ones, over 2^shift and rounded up, for a shift of at least 1."""
    lowest = min(shift // BITS, len(limbs) - 1)
    out = limbs[lowest] >> min(shift - BITS * lowest, 62)
    for k in range(lowest + 1, len(limbs)):
        out += limbs[k] << (BITS * k - shift)
    return np.asarray(out + 1)


def _digits(value: int) -> list[int]:
    """Base-2^24 digits of an integer, lowest first, all with its sign."""
    sign, rest, out = (-1 if value < 0 else 1), abs(value), []
    while rest:
        out.append(sign * (rest & _MASK))
        rest >>= BITS
    return out or [0]


def tensor_limbs(values: Tensor) -> Limbs:
    """All numerators of an array as limbs, shape (limb, axes of the array)."""
    return _slice(values, (), 0)


def _slice(values: Tensor, types: tuple[int, ...], n: int) -> Limbs:
    """An array's numerators at one joint type as limbs, shape (limb, actions..), singleton axes kept."""
    if isinstance(values.numerators, DoubleNumerators):
        limbs = _double_limbs(at_prefix(array_of(values), types), values.numerators.shift)
        if limbs is not None:
            return limbs
    start = sum(t * stride for t, stride in zip(types, values.strides, strict=False))
    shape = values.shape[n:]
    return _integer_limbs(values.numerators[start : start + math.prod(shape)], shape)


def _integer_limbs(values: Sequence[int], shape: tuple[int, ...]) -> Limbs:
    bits = max(abs(value).bit_length() for value in values)
    width = max(1, -(-bits // BITS))
    if bits < 63:
        whole = np.array(values, dtype=np.int64).reshape(shape)
        places = BITS * np.arange(width).reshape(-1, *(1,) * len(shape))
        return ((np.abs(whole) >> places) & _MASK) * np.sign(whole)
    rows = [(row := _digits(value)) + [0] * (width - len(row)) for value in values]
    return np.moveaxis(np.array(rows, dtype=np.int64).reshape(*shape, width), -1, 0)


def _double_limbs(values: npt.NDArray[np.float64], shift: int) -> Limbs | None:
    """value * 2^shift, which is whole, as limbs; None where that is more than a double holds.

    Taking the lowest bits off a whole double leaves one, so every step is exact.
    """
    with np.errstate(over="ignore"):
        rest = np.ldexp(np.abs(values), shift)
    if not np.isfinite(rest).all():
        return None
    limbs: list[npt.NDArray[np.int64]] = []
    while not limbs or rest.any():
        above = np.floor(rest * 2.0**-BITS)
        limbs.append((rest - above * 2.0**BITS).astype(np.int64))
        rest = above
    return np.asarray(np.stack(limbs) * np.sign(values).astype(np.int64))


def big(game: PlainGame) -> bool:
    """Whether this module is quicker than the readable kernel on this game."""
    return math.prod(game.type_shape) * math.prod(game.action_shape) > 500
