"""Sequential price mechanisms with messages (settings S4, MSPM): cheap talk, then posted prices in turn.

Buyers see their own value and send simultaneous messages; then, while the item is unsold and someone is
unvisited, the leader picks an unvisited buyer and a price, and that buyer buys or walks away. The joint
prior may be correlated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations, pairwise, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...verify.errors import SettingError
from ...verify.game import BayesianGame, Player
from .codes import MessageCodes
from .setting import ExactRows, Followers, Outcome, Reference, check_tables, exact_rows

MAX_OBSERVATIONS = 4096


def default_prices(values: Sequence[Sequence[Fraction]]) -> tuple[Fraction, ...]:
    """Between adjacent values v < v' (of all buyers), step d: v + d/20, the midpoint, v' - d/20; and 1.

    A price exactly on a value would leave the outcome to the tie rule, so none is offered, except 1.

    Example:
        >>> [float(p) for p in default_prices([[Fraction(0), Fraction(1)]])]
        [0.05, 0.5, 0.95, 1.0]
    """
    levels = sorted({value for own in values for value in own})
    prices = set()
    for low, high in pairwise(levels):
        step = high - low
        prices |= {low + step / 20, (low + high) / 2, high - step / 20}
    return tuple(sorted(prices | {Fraction(1)}))


@dataclass(frozen=True)
class SequentialPrices:
    """One item, n buyers, M messages each, a finite price grid.

    Args:
        name: the setting's name.
        values: for each buyer the values of its types, ascending, in [0, 1].
        weights: the joint prior, nested lists of shape type_shape; may be correlated.
        messages: M, the same for every buyer.
        tie: what a buyer does when its value equals the price: "reject" (the paper's version 5) or "buy"
            (version 4).
        prices: the price grid; `default_prices(values)` when empty.
        updates: default length of the response phase.

    The leader's reward is welfare minus first-best welfare, at most 0; a buyer's utility is value minus
    price.
    """

    name: str
    values: tuple[tuple[Fraction, ...], ...]
    weights: tuple[Any, ...]
    messages: int = 2
    tie: str = "reject"
    prices: tuple[Fraction, ...] = ()
    updates: int = 200

    def __post_init__(self) -> None:
        if self.tie not in ("reject", "buy"):
            raise SettingError(f"{self.name}: tie must be 'reject' or 'buy', got {self.tie!r}")
        if not isinstance(self.messages, int) or isinstance(self.messages, bool) or self.messages < 1:
            raise SettingError(f"{self.name}: messages must be a whole number of at least 1, got {self.messages!r}")
        count = (2 ** len(self.values) - 1) * self.messages ** len(self.values)
        if count > MAX_OBSERVATIONS:
            raise SettingError(
                f"{self.name}: {self.messages} messages give {count} observations, over {MAX_OBSERVATIONS}"
            )
        for own in self.values:
            if list(own) != sorted(set(own)) or not own or own[0] < 0 or own[-1] > 1:
                raise SettingError(f"{self.name}: each buyer's values must be ascending in [0, 1], got {own}")
        prior = np.array(self.weights, dtype=object)
        shape = tuple(len(own) for own in self.values)
        if prior.shape != shape:
            raise SettingError(f"{self.name}: the prior must have shape {shape}, got {prior.shape}")
        if min(prior.ravel()) < 0 or sum(prior.ravel()) != 1:
            raise SettingError(f"{self.name}: the prior must be non-negative and sum to 1")
        if any(not 0 <= price <= 1 for price in self.price_grid):
            raise SettingError(f"{self.name}: prices must lie in [0, 1]")

    @cached_property
    def price_grid(self) -> tuple[Fraction, ...]:
        return self.prices or default_prices(self.values)

    @property
    def parameters(self) -> dict[str, Any]:
        chosen: dict[str, Any] = {"messages": self.messages, "tie": self.tie}
        if self.prices:
            chosen["prices"] = [str(price) for price in self.prices]
        return chosen

    @property
    def followers(self) -> Followers:
        return Followers(updates=self.updates)

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return ("pure",)

    @property
    def payoff_scale(self) -> float:
        return 1.0

    @cached_property
    def players(self) -> tuple[Player, ...]:
        said = tuple(f"message {m}" for m in range(self.messages))
        return tuple(Player(f"buyer {i}", tuple(f"value {v}" for v in own), said) for i, own in enumerate(self.values))

    @cached_property
    def prior(self) -> NDArray[np.object_]:
        return np.array(self.weights, dtype=object)

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Who may still be unvisited while the item is unsold: everybody first, then fewer."""
        n = len(self.values)
        return tuple(group for size in range(n, 0, -1) for group in combinations(range(n), size))

    @cached_property
    def observations(self) -> tuple[str, ...]:
        said = product(range(self.messages), repeat=len(self.values))
        return tuple(
            f"messages {''.join(map(str, pair))}, item unsold, {_left(group)} left"
            for pair in said
            for group in self.groups
        )

    @cached_property
    def actions(self) -> tuple[str, ...]:
        return tuple(f"buyer {i} at {p}" for i in range(len(self.values)) for p in self.price_grid)

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        width = len(self.price_grid)
        legal = np.zeros((len(self.observations), len(self.actions)), dtype=bool)
        for index in range(len(self.observations)):
            for buyer in self.groups[index % len(self.groups)]:
                legal[index, buyer * width : (buyer + 1) * width] = True
        legal.flags.writeable = False
        return legal

    def action_index(self, buyer: int, price: Fraction | str) -> int:
        """The leader's action that offers this buyer this price.

        Raises:
            SettingError: a price that is not on the grid.
        """
        try:
            return buyer * len(self.price_grid) + self.price_grid.index(Fraction(price))
        except ValueError:
            offered = ", ".join(str(p) for p in self.price_grid)
            raise SettingError(f"{self.name}: price {price} is not on the grid {offered}") from None

    def _buys(self, value: Fraction, price: Fraction) -> bool:
        return value > price or (self.tie == "buy" and value == price)

    def acceptance(self, buyer: int) -> list[tuple[bool, ...]]:
        """Which of the buyer's types buy, for each price on the grid."""
        return [tuple(self._buys(value, price) for value in self.values[buyer]) for price in self.price_grid]

    @cached_property
    def _sale(self) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
        """For (buyer, type, price): does it buy (exact), its utility then; and values (buyer, type)."""
        widest = max(len(own) for own in self.values)
        buys = np.zeros((len(self.values), widest, len(self.price_grid)), dtype=bool)
        utility = np.zeros(buys.shape)
        worth = np.zeros(buys.shape[:2])
        for i, own in enumerate(self.values):
            for t, value in enumerate(own):
                worth[i, t] = float(value)
                for k, price in enumerate(self.price_grid):
                    buys[i, t, k] = self._buys(value, price)
                    utility[i, t, k] = float(value - price)
        return buys, utility, worth

    def play(self, tables: NDArray[Any], types: NDArray[np.int64], actions: NDArray[np.int64]) -> Outcome:
        """Messages are sent; up to n times the leader is asked, a price is posted, a buyer buys or leaves."""
        tables, _ = check_tables(self, tables)
        types, said = np.asarray(types), np.asarray(actions)
        size, n = types.shape
        every = np.arange(size)
        buys, utility, worth = self._sale
        offset = np.zeros(size, dtype=np.int64)
        for i in range(n):
            offset = offset * self.messages + said[:, i]
        group_of = {group: g for g, group in enumerate(self.groups)}
        group_index = np.array([group_of.get(_members(mask, n), -1) for mask in range(2**n)])
        left = np.full(size, 2**n - 1)  # bit i: buyer i is unvisited; 0 also once the item is sold
        payoffs, welfare = np.zeros((size, n)), np.zeros(size)
        met = np.full((size, n), -1, dtype=np.int64)
        for step in range(n):
            open_ = left > 0
            met[open_, step] = offset[open_] * len(self.groups) + group_index[left[open_]]
            buyer, price = np.divmod(tables[every, met[:, step]], len(self.price_grid))
            own = types[every, buyer]
            sold = open_ & buys[buyer, own, price]
            payoffs[every[sold], buyer[sold]] = utility[buyer, own, price][sold]
            welfare[sold] = worth[buyer, own][sold]
            left = np.where(sold, 0, np.where(open_, left & ~(1 << buyer), left))
        first_best = worth[np.arange(n), types].max(axis=1)
        return Outcome(payoffs, welfare - first_best, met)

    def tabulate(self, rows: Sequence[Sequence[Any]]) -> BayesianGame:
        """Exact expected payoffs at every (types, messages), by recursion over who is left."""
        exact = exact_rows(self, rows)
        n = len(self.values)
        shape = tuple(len(own) for own in self.values) + (self.messages,) * n
        tables = [np.empty(shape, dtype=object) for _ in range(n + 1)]
        for types in product(*(range(len(own)) for own in self.values)):
            values = tuple(own[t] for own, t in zip(self.values, types, strict=True))
            for said in product(range(self.messages), repeat=n):
                cell = self._expected(exact, said, values, tuple(range(n)))
                for table, number in zip(tables, (*cell[:n], cell[n] - max(values)), strict=True):
                    table[types + said] = str(number)
        prior = np.vectorize(str, otypes=[object])(self.prior)
        return BayesianGame(
            prior=prior.tolist(),
            payoffs=[table.tolist() for table in tables[:n]],
            leader=tables[n].tolist(),
            players=self.players,
            name=self.name,
        )

    def _expected(
        self, rows: ExactRows, said: tuple[int, ...], values: tuple[Fraction, ...], left: tuple[int, ...]
    ) -> list[Fraction]:
        """Expected utilities of all buyers, then welfare, from here on."""
        n = len(values)
        total = [Fraction(0)] * (n + 1)
        if not left:
            return total
        offset = 0
        for message in said:
            offset = offset * self.messages + message
        row = rows[offset * len(self.groups) + self.groups.index(left)]
        for action, probability in enumerate(row):
            if not probability:
                continue
            buyer, k = divmod(action, len(self.price_grid))
            if self._buys(values[buyer], self.price_grid[k]):
                total[buyer] += probability * (values[buyer] - self.price_grid[k])
                total[n] += probability * values[buyer]
            else:
                rest = self._expected(rows, said, values, tuple(j for j in left if j != buyer))
                total = [a + probability * b for a, b in zip(total, rest, strict=True)]
        return total

    @cached_property
    def message_free(self) -> Fraction:
        """The best leader who ignores messages: the better of all visiting orders and prices, exact.

        Prices below matter only through who buys, and there each buyer's decision is its own, so for a
        given order a deterministic list of prices is best; with messages ignored no buyer has anything to
        manipulate.
        """
        n = len(self.values)
        shape = tuple(len(own) for own in self.values)
        grids = np.meshgrid(*(np.arange(s) for s in shape), indexing="ij")
        types = np.stack([g.ravel() for g in grids], axis=1)
        scale = np.lcm.reduce([p.denominator for p in self.prior.ravel()])
        weights = np.array([int(p * int(scale)) for p in self.prior.ravel()], dtype=object)
        unit = np.lcm.reduce([v.denominator for own in self.values for v in own])
        worth = np.array(
            [[int(v * int(unit)) for v in (*own, *[Fraction(0)] * (max(shape) - len(own)))] for own in self.values],
            dtype=object,
        )
        buys, _, _ = self._sale
        # Two prices with the same buyers are the same here, so only distinct acceptance patterns are tried.
        patterns = [np.unique(buys[i, : shape[i]].T, axis=0) for i in range(n)]
        best = None
        for order in permutations(range(n)):
            for chosen in product(*(range(len(patterns[i])) for i in order)):
                welfare = np.zeros(len(types), dtype=object)
                unsold = np.ones(len(types), dtype=bool)
                for i, k in zip(order, chosen, strict=True):
                    sold = unsold & patterns[i][k][types[:, i]]
                    welfare[sold] = worth[i, types[sold, i]]
                    unsold &= ~sold
                total = int((welfare * weights).sum())
                best = total if best is None or total > best else best
        assert best is not None
        return Fraction(best, int(scale) * int(unit)) - self.first_best

    @cached_property
    def first_best(self) -> Fraction:
        """Expected value of the highest buyer: what a planner who sees the values gets."""
        total = Fraction(0)
        for types in product(*(range(len(own)) for own in self.values)):
            total += self.prior[types] * max(own[t] for own, t in zip(self.values, types, strict=True))
        return total

    def references(self) -> list[Reference]:
        """First best (a loss of 0), what codes can be worth in each readout, the best message-free mechanism."""
        return [
            Reference(
                "first-best",
                Fraction(0),
                f"no welfare lost: a planner who sees the values and attains {self.first_best}",
                kind="bound",
            ),
            *self._code_bounds,
            Reference(
                "message-free",
                self.message_free,
                "the best order and prices of a leader who ignores the messages",
                kind="baseline",
            ),
        ]

    @cached_property
    def _code_bounds(self) -> list[Reference]:
        readouts = {
            "code-bound-argmax": ("argmax",),
            "code-bound-mixed": ("last", "empirical"),
        }
        texts = {
            "code-bound-argmax": "the best over all pure message codes, types that never learn saying message 0",
            "code-bound-mixed": "the best over all message codes when types that never learn mix uniformly",
        }
        bounds = []
        for name, whose in readouts.items():
            codes = MessageCodes(self, mixed=whose != ("argmax",))
            if codes.tractable:
                bounds.append(Reference(name, codes.bound, texts[name], kind="bound", readouts=whose))
        return bounds


def _members(mask: int, n: int) -> tuple[int, ...]:
    return tuple(i for i in range(n) if mask >> i & 1)


def _left(group: tuple[int, ...]) -> str:
    return "buyers " + " and ".join(map(str, group)) if len(group) > 1 else f"buyer {group[0]}"


def example_buyers() -> SequentialPrices:
    """`mspm-pi`: buyer 0 is worth 1/5 (probability 4/5) or 1; buyer 1 is worth 0 or 2/5, half each."""
    a, b = (Fraction(4, 5), Fraction(1, 5)), (Fraction(1, 2), Fraction(1, 2))
    return SequentialPrices(
        "mspm-pi",
        ((Fraction(1, 5), Fraction(1)), (Fraction(0), Fraction(2, 5))),
        tuple(tuple(p * q for q in b) for p in a),
    )


def correlated_buyers() -> SequentialPrices:
    """`mspm-correlated-pi`: the values and marginals of `mspm-pi`, but high values tend to come together."""
    weights = ((Fraction(9, 20), Fraction(7, 20)), (Fraction(1, 20), Fraction(3, 20)))
    return SequentialPrices("mspm-correlated-pi", example_buyers().values, weights)


def uniform_grid(size: int) -> SequentialPrices:
    """`mspm-grid-T`: both values uniform on T points from 0 to 1, independent.

    The more types, the smaller the advantage of the own message can be and the longer sampled followers need to see
    it, so response phases are longer for finer grids.

    Raises:
        SettingError: fewer than 2 points, or more than 32.
    """
    if not 2 <= size <= 32:
        raise SettingError(f"mspm-grid-{size}: a grid must have 2..32 values")
    own = tuple(Fraction(k, size - 1) for k in range(size))
    prior = ((Fraction(1, size * size),) * size,) * size
    updates = 500 if size < 5 else 2000 if size == 5 else 4000
    return SequentialPrices(f"mspm-grid-{size}", (own, own), prior, updates=updates)
