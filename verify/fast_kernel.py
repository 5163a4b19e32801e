"""The bounds of theory T5 for big games: the same exact answers as `kernel`, in numpy integers.

Numbers are held as sums of limb[k] * 2^(24 k) with the limbs in int64: a product of two limbs stays below 2^48, so
thousands of products add up without overflow, and carries are taken after each player's share. No number is ever
rounded, but for the tables of the strategic-form search, upwards. The readable kernel is the reference; the tests hold
this one to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernel
from .kernel import Multipliers, Recheck, joint_types, prior_weight
from .plain import DoubleNumerators, PlainGame, SumNumerators, Tensor

BITS = 24
_MASK = (1 << BITS) - 1
_MOST_TERMS = 1 << (62 - 2 * BITS)
"""How many products of two limbs an accumulator takes between carries."""

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
    total = 0
    brackets, unit = _brackets(game, objective, sign, multipliers, potentials)
    for types, account in brackets:
        total += account.largest(game, types)
    bound = epsilon * sum((y for *_, y in multipliers), Fraction(0)) + Fraction(total, unit)
    return sign * bound


def _brackets(
    game: PlainGame,
    objective: Tensor,
    sign: int,
    multipliers: Multipliers,
    potentials: Sequence[Tensor] | None = None,
) -> tuple[Iterator[tuple[tuple[int, ...], _Account]], int]:
    """The bracket of theory T5 at each joint type where it is not 0, one after the other, and what all is over."""
    n = game.n
    gains, common = kernel.scaled_gains(game, objective, multipliers)
    centred = kernel.centred_potentials(game, potentials) if potentials is not None else []
    unit = math.lcm(game.prior.denominator * common, *(f.denominator * count for f, _, count in centred))
    scale = unit // (game.prior.denominator * common)

    def accounts() -> Iterator[tuple[tuple[int, ...], _Account]]:
        for types in joint_types(game):
            weight = prior_weight(game, types) * scale
            if not weight and not centred:
                continue
            account = _Account(game.action_shape)
            if weight:
                terms = objective.numerators.terms if isinstance(objective.numerators, SumNumerators) else (objective,)
                for w in terms:
                    factor = (
                        sign * weight * (common // objective.denominator) * (objective.denominator // w.denominator)
                    )
                    account.add(_slice(w, types, n), factor)
                for i in range(n):
                    row = gains[i].get(types[i])
                    if row and game.payoffs[i].shape[n + i] > 1:
                        weighted = {a: gain * weight for a, gain in row.items()}
                        account.deviations(_slice(game.payoffs[i], types, n), i, weighted)
            for f, sums, count in centred:
                account.add(_centred_slice(f, sums, count, types, n), unit // (f.denominator * count))
            yield types, account

    return accounts(), unit


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
    brackets, unit = _brackets(game, objective, sign, multipliers)
    slack = sign * value - epsilon * sum((y for *_, y in multipliers), Fraction(0))
    limit = math.floor(slack * unit)
    search = _Search(game, brackets)
    left, nodes = search.run(limit >> search.shift, max_nodes)
    if left is None:
        return False, nodes
    if len(left):
        again, _ = _brackets(game, objective, sign, multipliers)
        return search.largest(left, again) <= limit, nodes
    return True, nodes


def check_certificate(document: object, game: PlainGame | None = None) -> Recheck:
    """`kernel.check_certificate` with the bounds computed here; for games that the readable kernel would be slow on."""
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
        self._carry()

    def deviations(self, payoff: Limbs, i: int, gains: dict[int, int]) -> None:
        """Subtracts sum_a' gains[a'] * (payoff(a', a_-i) - payoff(a)) at every joint action a."""
        chosen = list(gains)
        own = np.moveaxis(payoff, 1 + i, -1)[..., chosen]
        digits = [_digits(gains[a]) for a in chosen]
        width = max(map(len, digits))
        table = np.array([row + [0] * (width - len(row)) for row in digits], dtype=np.int64)
        self._grow(len(payoff) + width + 2)
        for start in range(0, len(chosen), _MOST_TERMS // max(1, width)):
            part = slice(start, start + _MOST_TERMS // max(1, width))
            for k in range(width):
                deviated = own[..., part] @ table[part, k]
                self.limbs[k : k + len(payoff)] -= np.expand_dims(deviated, 1 + i)
            self._carry()
        self.add(payoff, sum(gains.values()))

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

    def __init__(self, game: PlainGame, brackets: Iterable[tuple[tuple[int, ...], _Account]]) -> None:
        self.last, self.n = kernel.replying_player(game), game.n
        self.others = [i for i in range(game.n) if i != self.last]
        leading = {types: account.leading() for types, account in brackets}
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

    def largest(self, chosen: Limbs, brackets: Iterable[tuple[tuple[int, ...], _Account]]) -> int:
        """The largest sum of brackets over these choices of the others and all replies, exactly."""
        column = {(choice.player, choice.type): k for k, choice in enumerate(self.order)}
        totals = np.zeros((len(chosen), *self.root.shape), dtype=object)
        for types, account in brackets:
            here: Any = tuple(chosen[:, column[i, types[i]]] for i in self.others)
            replies = np.moveaxis(account.limbs, 1 + self.last, -1)[(slice(None), *here)]
            totals[:, types[self.last]] += _sum(replies.reshape(len(account.limbs), len(chosen), -1).astype(object))
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


def _slice(values: Tensor, types: tuple[int, ...], n: int) -> Limbs:
    """An array's numerators at one joint type as limbs, shape (limb, actions..), singleton axes kept."""
    at = tuple(t if length > 1 else 0 for t, length in zip(types, values.shape[:n], strict=True))
    if isinstance(values.numerators, DoubleNumerators):
        doubles = np.frombuffer(values.numerators.values).reshape(values.shape)[at]
        return _double_limbs(doubles, values.numerators.shift)
    start = sum(t * stride for t, stride in zip(at, values.strides, strict=False))
    shape = values.shape[n:]
    return _integer_limbs(values.numerators[start : start + math.prod(shape)], shape)


def _centred_slice(f: Tensor, sums: Sequence[int], count: int, types: tuple[int, ...], n: int) -> Limbs:
    start = sum(t * stride for t, stride in zip(types, f.strides, strict=False))
    shape = f.shape[n:]
    part = slice(start, start + math.prod(shape))
    return _integer_limbs([count * a - b for a, b in zip(f.numerators[part], sums[part], strict=True)], shape)


def _integer_limbs(values: Sequence[int], shape: tuple[int, ...]) -> Limbs:
    width = max(1, -(-max(abs(value).bit_length() for value in values) // BITS))
    rows = [(row := _digits(value)) + [0] * (width - len(row)) for value in values]
    return np.moveaxis(np.array(rows, dtype=np.int64).reshape(*shape, width), -1, 0)


def _double_limbs(values: npt.NDArray[np.float64], shift: int) -> Limbs:
    """value * 2^shift, which is whole, as limbs: the mantissa's three limbs moved to where its exponent says."""
    mantissa, exponent = np.frexp(values)
    whole = np.abs(mantissa * 2.0**53).astype(np.int64)
    lift = np.where(whole == 0, 0, exponent.astype(np.int64) - 53 + shift)
    whole >>= np.minimum(np.maximum(-lift, 0), 62)  # whole numbers end in zeros that a small shift must not keep
    lift = np.maximum(lift, 0)
    place, within = np.divmod(lift, BITS)
    out = np.zeros((int(place.max(initial=0)) + 4, *values.shape), dtype=np.int64)
    for base in np.unique(place).tolist():
        here = place == base
        for k in range(3):
            out[base + k] += np.where(here, ((whole >> (BITS * k)) & _MASK) << within, 0)
    for k in range(len(out) - 1):
        carry = out[k] >> BITS
        out[k] &= _MASK
        out[k + 1] += carry
    while len(out) > 1 and not out[-1].any():
        out = out[:-1]
    return out * np.sign(values).astype(np.int64)


def big(game: PlainGame, *, strategies: bool = False) -> bool:
    """Whether the readable kernel would take more than a few seconds on this game (searching its strategies)."""
    cells = math.prod(game.type_shape) * math.prod(game.action_shape)
    return cells > (1_000 if strategies else 20_000)
