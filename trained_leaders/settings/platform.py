"""Platform design (settings S5): two learning sellers, logit demand, and a platform that decides who is shown.

Each period both sellers name a price, the platform sees the pair and picks a threshold; sellers at or below it are
shown, nobody if none is. Consumers choose among those shown and an outside good. Payoffs involve exponentials: their
exact form is an enclosure between two rationals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...solvers.qlearning import BatchDynamics, QLearning
from ...verify.dynamic import DynamicGame, Table
from ...verify.enclosures import Enclosure, logit_shares
from ...verify.errors import SettingError
from .setting import Reference

QUALITY, SPREAD, DISCOUNT = Fraction(2), Fraction(1, 4), Fraction(19, 20)
UNDERCUT = Fraction(3, 10)
COSTS = (Fraction(1),)
HIDDEN_COSTS = (Fraction(1), Fraction(27, 20))


def price_grid(count: int = 4) -> tuple[Fraction, ...]:
    """Prices equally spaced from 1.05 to 1.7."""
    low, high = Fraction(21, 20), Fraction(17, 10)
    return tuple(low + (high - low) * k / (count - 1) for k in range(count))


@lru_cache(maxsize=256)
def market(prices: tuple[Fraction, ...]) -> tuple[tuple[Enclosure, ...], Enclosure]:
    """Demand of each seller shown at these prices, and consumer surplus."""
    shares, surplus = logit_shares([QUALITY - price for price in prices], SPREAD)
    return tuple(shares), surplus


@dataclass(frozen=True)
class Platform:
    """Bertrand competition of two sellers on a platform.

    Args:
        name: as on the command line.
        costs: unit costs, one drawn with equal chance, the same for both sellers and known to them; the platform
            never sees it.
        prices: the grid, ascending.

    Example:
        >>> platform = Platform()
        >>> [float(round(game.leader[0][0][joint], 3)) for game in platform.rules()["show-all"] for joint in (0, 15)]
        [1.126, 0.508]
    """

    name: str = "platform"
    costs: tuple[Fraction, ...] = COSTS
    prices: tuple[Fraction, ...] = price_grid()

    @property
    def parameters(self) -> dict[str, Any]:
        return {}

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return ("pure",)

    @property
    def sellers(self) -> tuple[str, ...]:
        return ("seller 0", "seller 1")

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"{float(price):.4g}" for price in self.prices)

    @cached_property
    def observations(self) -> tuple[str, ...]:
        return tuple(f"prices {a} and {b}" for a, b in product(self.labels, repeat=2))

    @cached_property
    def actions(self) -> tuple[str, ...]:
        return (*(f"show up to {label}" for label in self.labels), "show all")

    @cached_property
    def legal(self) -> NDArray[np.bool_]:
        return np.ones((len(self.observations), len(self.actions)), dtype=bool)

    @cached_property
    def payoff_scale(self) -> float:
        cells = [
            float(self._profit(k, pair, who, i).middle)
            for k in range(len(self.costs))
            for pair, who in self._displays
            for i in range(2)
        ]
        return max(cells) - min(cells)

    @property
    def learner(self) -> QLearning:
        return QLearning(rate=0.25, discount=float(DISCOUNT), exploration=1.0, decay=1e-4, initial="rivals")

    @property
    def periods(self) -> int:
        return 50_000

    @property
    def scenarios(self) -> tuple[tuple[str, Fraction], ...]:
        return tuple((f"cost {float(cost):g}", Fraction(1, len(self.costs))) for cost in self.costs)

    # ------------------------------------------------------------------------------------ what each display is worth

    @cached_property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        grid = range(len(self.prices))
        return tuple((a, b) for a in grid for b in grid)

    def shown(self, pair: int, action: int) -> tuple[bool, bool]:
        """Who is shown at a pair of prices under a threshold."""
        a, b = self._pairs[pair]
        return a <= action, b <= action

    @cached_property
    def _displays(self) -> dict[tuple[int, tuple[bool, bool]], tuple[tuple[Enclosure, ...], Enclosure]]:
        """(pair, who is shown) -> demand of both sellers, 0 if hidden, and consumer surplus."""
        out: dict[tuple[int, tuple[bool, bool]], tuple[tuple[Enclosure, ...], Enclosure]] = {}
        for pair, own in enumerate(self._pairs):
            for who in ((False, False), (False, True), (True, False), (True, True)):
                shares, surplus = market(tuple(self.prices[k] for k, on in zip(own, who, strict=True) if on))
                left = list(shares)
                out[pair, who] = (tuple(left.pop(0) if on else Enclosure.exactly(0) for on in who), surplus)
        return out

    def _profit(self, scenario: int, pair: int, who: tuple[bool, bool], i: int) -> Enclosure:
        margin = self.prices[self._pairs[pair][i]] - self.costs[scenario]
        return self._displays[pair, who][0][i].times(margin)

    @cached_property
    def _floats(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Profits (scenario, seller, pair, action) and surplus (pair, action)."""
        cells = [[self.shown(p, a) for a in range(len(self.actions))] for p in range(len(self._pairs))]
        profits = [
            [
                [[float(self._profit(k, p, who, i).middle) for who in row] for p, row in enumerate(cells)]
                for i in range(2)
            ]
            for k in range(len(self.costs))
        ]
        surplus = [[float(self._displays[p, who][1].middle) for who in row] for p, row in enumerate(cells)]
        return np.array(profits), np.array(surplus)

    # ------------------------------------------------------------------------------------ games

    def unfold(self, table: Sequence[int]) -> tuple[DynamicGame, ...]:
        """What the platform's rule makes of the market; the state is the last pair of prices."""
        count = len(self._pairs)
        if len(table) != count or not all(0 <= int(a) < len(self.actions) for a in table):
            raise SettingError(
                f"{self.name}: expected {count} actions of 0..{len(self.actions) - 1}, got {list(table)}"
            )
        who = [self.shown(pair, int(action)) for pair, action in enumerate(table)]
        states = tuple(f"after {label}" for label in self.observations)
        follow = (tuple(range(count)),) * count
        return self._games(states, [who] * count, follow)

    def _games(
        self, states: tuple[str, ...], who: Sequence[Sequence[tuple[bool, bool]]], follow: tuple[tuple[int, ...], ...]
    ) -> tuple[DynamicGame, ...]:
        """Games in which state s shows ``who[s][pair]`` and leads to ``follow[s][pair]``."""
        pairs = range(len(self._pairs))
        surplus = _ends([[self._displays[p, row[p]][1] for p in pairs] for row in who])
        return tuple(
            DynamicGame(
                players=self.sellers,
                states=states,
                actions=(self.labels, self.labels),
                successor=follow,
                payoffs=tuple(_ends([[self._profit(k, p, row[p], i) for p in pairs] for row in who]) for i in range(2)),
                leader=surplus,
                start=(Fraction(1, len(states)),) * len(states),
                discount=DISCOUNT,
                rounds=None,
            )
            for k in range(len(self.costs))
        )

    def batch(self, tables: NDArray[Any]) -> BatchDynamics:
        tables = np.asarray(tables)
        size, pairs, scenarios = len(tables), len(self._pairs), len(self.costs)
        profits, surplus = self._floats
        at = np.arange(pairs)
        paid = profits[:, :, at, tables].transpose(2, 0, 1, 3)  # (table, scenario, seller, pair)
        paid = paid.reshape(size * scenarios, 2, 1, pairs)
        seen = np.repeat(surplus[at, tables], scenarios, axis=0)[:, None]
        shape = (size * scenarios, pairs, pairs)
        return BatchDynamics(
            successor=np.ascontiguousarray(np.broadcast_to(at, shape)),
            payoffs=np.ascontiguousarray(np.broadcast_to(paid, (shape[0], 2, pairs, pairs))),
            leader=np.ascontiguousarray(np.broadcast_to(seen, shape)),
            actions=(len(self.prices),) * 2,
            start=np.full(pairs, 1 / pairs),
        )

    def step(
        self, table: Sequence[int], scenario: int, state: int, joint: Sequence[int]
    ) -> tuple[int, list[float], float]:
        """One period, worked out in floating point from the rules alone."""
        prices = [float(self.prices[k]) for k in joint]
        pair = joint[0] * len(self.prices) + joint[1]
        chosen = int(table[pair])
        limit = math.inf if chosen == len(self.prices) else float(self.prices[chosen])
        weights = [math.exp((2 - p) / 0.25) if p <= limit else 0.0 for p in prices]
        total = sum(weights) + 1
        cost = float(self.costs[scenario])
        return pair, [(p - cost) * w / total for p, w in zip(prices, weights, strict=True)], 0.25 * math.log(total)

    # ------------------------------------------------------------------------------------ rules to compare with

    def rules(self) -> dict[str, tuple[DynamicGame, ...]]:
        """Show all, fixed caps, cheapest only, and cheapest only with an incumbent."""
        count, top = len(self._pairs), len(self.prices)
        out = {"show-all": self.unfold([top] * count)}
        for k, label in enumerate(self.labels):
            out[f"cap-{label}"] = self.unfold([k] * count)
        out["cheapest-only"] = self.unfold([min(pair) for pair in self._pairs])
        out["cheapest-incumbent"] = self._incumbent()
        return out

    def _incumbent(self) -> tuple[DynamicGame, ...]:
        """The incumbent keeps the display until undercut by 0.3; states are the last pair and who the incumbent is."""
        count = len(self._pairs)
        states = tuple(f"after {label}, seller {i} shown" for i in range(2) for label in self.observations)
        follow, who = [], []
        for incumbent in range(2):
            keeps = []
            for pair in self._pairs:
                own, rival = self.prices[pair[incumbent]], self.prices[pair[1 - incumbent]]
                keeps.append(incumbent if rival > own - UNDERCUT else 1 - incumbent)
            follow += [tuple(count * i + p for p, i in enumerate(keeps))] * count
            who += [[(i == 0, i == 1) for i in keeps]] * count
        return self._games(states, who, tuple(follow))

    def references(self) -> list[Reference]:
        """Consumer surplus with both sellers shown at a common price, rounded outwards to twelve places."""
        best = market((self.prices[0],) * 2)[1]
        top = Fraction(math.ceil(best.high * 10**12), 10**12)
        text = "both sellers shown at the lowest price of the grid: no rule and no sellers can exceed it"
        if self.costs != COSTS:  # a seller whose cost is above the lowest price will not stay there
            return [Reference("all-at-lowest-price", top, text, kind="bound")]
        return [
            Reference("optimum", top, f"{text}, and a cap there attains it"),
            Reference(
                "no-rule",
                Fraction(round(market((self.prices[2],) * 2)[1].middle * 10**12), 10**12),
                "both sellers shown at the equilibrium of the one-shot game on the grid, 1.483, to twelve places",
                kind="baseline",
            ),
        ]


def _ends(cells: Sequence[Sequence[Enclosure]]) -> tuple[Table, Table]:
    """Enclosures as the two tables of their lower and upper ends."""
    return tuple(tuple(c.low for c in row) for row in cells), tuple(tuple(c.high for c in row) for row in cells)


def platforms() -> dict[str, Platform]:
    """The platform settings by name."""
    found = (Platform(), Platform("platform-hidden-cost", HIDDEN_COSTS))
    return {platform.name: platform for platform in found}
