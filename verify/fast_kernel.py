"""The bounds of theory T5 for big games: the same exact answers as `kernel`, in numpy integers.

Rounding only ever says where to look: at 30 bits and with a bound on the error, which joint actions may be the largest
of their joint type; rounded up to 62 bits, which branches the strategic-form search may cut. What is left is reckoned
without rounding, where many numbers are wanted as sums of limb[k] * 2^(24 k) with the limbs in int64: a product of two
limbs stays below 2^48, so thousands of products add up without overflow. No floating point decides anything. The
readable kernel is the reference; the tests hold this one to it.
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
from .digests import game_sha256
from .kernel import Multipliers, Recheck, joint_types, place, prior_weight
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

_CLOSE = 64
"""How many joint actions of a joint type are looked at one by one, when they are all but equal."""

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
    total = sum(brackets.largest(types) for types in brackets.live)
    bound = epsilon * sum((y for *_, y in multipliers), Fraction(0)) + Fraction(total, brackets.unit)
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
        self.gains, common = kernel.scaled_gains(game, objective, multipliers)
        self.centred = []
        for f, sums, count in kernel.centred_potentials(potentials or ()):
            numerators = [count * a - b for a, b in zip(f.numerators, sums, strict=True)]
            self.centred.append(Tensor(f.shape, numerators, f.denominator * count))
        self.unit = math.lcm(game.prior.denominator * common, *(f.denominator for f in self.centred))
        self.scale = self.unit // (game.prior.denominator * common)
        parts = objective.numerators.terms if isinstance(objective.numerators, SumNumerators) else (objective,)
        self.objective = [(sign * (common // part.denominator), part) for part in parts]
        self.live = [types for types in joint_types(game) if self.centred or prior_weight(game, types)]

    def _terms(self, types: tuple[int, ...]) -> tuple[list[tuple[int, Tensor]], list[tuple[int, dict[int, int]]]]:
        """The bracket at a joint type: a sum of factor times array, less, for some players i, gains[a'] times their
        payoff were a' played instead; all factors over `unit`."""
        weight = prior_weight(self.game, types) * self.scale
        plain = [(self.unit // f.denominator, f) for f in self.centred]
        moved = []
        if weight:
            plain += [(weight * factor, part) for factor, part in self.objective]
            for i, payoff in enumerate(self.game.payoffs):
                row = self.gains[i].get(types[i])
                if row and payoff.shape[self.n + i] > 1:
                    moved.append((i, {a: gain * weight for a, gain in row.items()}))
                    plain.append((weight * sum(row.values()), payoff))
        return plain, moved

    def account(self, types: tuple[int, ...]) -> _Account:
        """The bracket at all joint actions of a joint type, without rounding."""
        account = _Account(self.game.action_shape)
        plain, moved = self._terms(types)
        for factor, values in plain:
            account.add(_slice(values, types, self.n), factor)
        for i, gains in moved:
            account.deviations(_slice(self.game.payoffs[i], types, self.n), i, gains)
        return account

    def largest(self, types: tuple[int, ...]) -> int:
        """The largest bracket over the joint actions feasible at a joint type.

        All are first reckoned to 30 bits, with a bound on how wrong that is; those that may be the largest are then
        reckoned without rounding.
        """
        game, n = self.game, self.n
        plain, moved = self._terms(types)
        tables = {id(values): _to_30_bits(values, types, n) for _, values in plain}
        sizes = [(factor, tables[id(values)][1]) for factor, values in plain]
        sizes += [(g, tables[id(game.payoffs[i])][1]) for i, gains in moved for g in gains.values()]
        # factors go to a common unit 2^-lift, in which all of them together stay below 2^30
        top = max(factor.bit_length() - shift for factor, shift in sizes) + len(sizes).bit_length()
        lift = 29 - top + self.unit.bit_length()
        total = np.zeros(game.action_shape, dtype=np.int64)
        sum_of_factors = 0
        for factor, values in plain:
            table, shift = tables[id(values)]
            short = _shifted(factor, lift - shift) // self.unit
            sum_of_factors += abs(short)
            total += table * short
        for i, gains in moved:
            table, shift = tables[id(game.payoffs[i])]
            short_gains = [_shifted(gain, lift - shift) // self.unit for gain in gains.values()]
            sum_of_factors += sum(map(abs, short_gains))
            own = np.moveaxis(table, i, -1)[..., list(gains)]
            total -= np.expand_dims(own @ np.array(short_gains, dtype=np.int64), i)
        # each term is a factor, wrong by less than 1, times a number of 30 bits, wrong by at most 1
        wrong = len(sizes) * ((1 << 30) + 1) + sum_of_factors
        rows = [[a for a, ok in enumerate(game.feasible[i][t]) if ok] for i, t in enumerate(types)]
        block = total[np.ix_(*rows)]
        close = np.argwhere(block >= block.max() - 2 * wrong)
        if len(close) > _CLOSE:
            return self.account(types).largest(game, types)
        chosen = [tuple(row[k] for row, k in zip(rows, at, strict=True)) for at in close.tolist()]
        best = [0] * len(chosen)
        for factor, values in plain:
            numerators, start, steps = values.entries, place(values, types + (0,) * n), values.strides[n:]
            for k, actions in enumerate(chosen):
                best[k] += factor * numerators[start + sum(map(mul, actions, steps))]
        for i, gains in moved:
            payoff = game.payoffs[i]
            numerators, start, steps = payoff.entries, place(payoff, types + (0,) * n), payoff.strides[n:]
            deviated: dict[int, int] = {}
            for k, actions in enumerate(chosen):
                others = start + sum(map(mul, actions, steps)) - actions[i] * steps[i]
                if others not in deviated:
                    deviated[others] = sum(gain * numerators[others + a * steps[i]] for a, gain in gains.items())
                best[k] -= deviated[others]
        return max(best)


def _to_30_bits(values: Tensor, types: tuple[int, ...], n: int) -> tuple[Limbs, int]:
    """An array's numerators at one joint type, times 2^shift so that they just stay within 30 bits; and shift.

    Each is within 1 of what it should be.
    """
    at = tuple(t if length > 1 else 0 for t, length in zip(types, values.shape[:n], strict=True))
    if isinstance(values.numerators, DoubleNumerators):
        doubles = np.frombuffer(values.numerators.values).reshape(values.shape)[at]
        shift = 30 - math.frexp(max(float(doubles.max()), -float(doubles.min())))[1]
        # both steps are without error, but for rounding to a whole number
        return np.rint(np.ldexp(doubles, shift)).astype(np.int64), shift - values.numerators.shift
    start = sum(t * stride for t, stride in zip(at, values.strides, strict=False))
    numerators = values.numerators[start : start + math.prod(values.shape[n:])]
    shift = 30 - max(abs(numerator) for numerator in numerators).bit_length()
    short = [_shifted(numerator, shift) for numerator in numerators]
    return np.array(short, dtype=np.int64).reshape(values.shape[n:]), shift


def _shifted(value: int, by: int) -> int:
    """value times 2^by; rounded down if by is negative."""
    return value << by if by >= 0 else value >> -by


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
    slack = sign * value - epsilon * sum((y for *_, y in multipliers), Fraction(0))
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
        document, game, max_nodes=MAX_NODES, outer=outer_bound, strategic=strategic_form_holds
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
    at = tuple(t if length > 1 else 0 for t, length in zip(types, values.shape[:n], strict=True))
    if isinstance(values.numerators, DoubleNumerators):
        doubles = np.frombuffer(values.numerators.values).reshape(values.shape)[at]
        limbs = _double_limbs(doubles, values.numerators.shift)
        if limbs is not None:
            return limbs
    start = sum(t * stride for t, stride in zip(at, values.strides, strict=False))
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
    return math.prod(game.type_shape) * math.prod(game.action_shape) > 1_000
