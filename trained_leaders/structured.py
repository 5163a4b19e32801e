"""Structured search for message mechanisms: codes first, then prices that make buyers want to keep to them.

Profiles of message codes are ranked by what each could be worth at most (settings S4). For one of the best, each
message profile gets an order and prices that attain the code's bound, improved until every type strictly prefers its
own message, against buyers who follow the code and against the undecided ones that learning starts from. Tables
are then scored against learners like any other, and the best are varied. A score at the bound proves optimality.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import islice, permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import UsageError
from .evaluate import lasting_scores, score_tables
from .hyper import Hyper
from .settings import Setting
from .settings.codes import MessageCodes
from .settings.prices import SequentialPrices

MAX_PLANS = 2**16
CODES = 64  # profiles of codes that are tried at most, best first
SWEEPS = 8
FINALISTS, RUNS = 12, 8
STRICT = 1e-9  # margins above it are strict preferences, not rounding
PATIENCE = 10  # iterations on the codes of the highest bound before others are tried as well
Floats = NDArray[np.float64]


class Plans:
    """Every order of visits with a price for each buyer, and what it comes to.

    Attributes:
        orders, prices: buyers in the order visited and the price index each is offered, shape (plans, n).
        utilities: buyers' utilities, shape (plans, n, types..).
        losses: prior-weighted loss of welfare, shape (plans, types..).
    """

    def __init__(self, setting: SequentialPrices) -> None:
        n, width = len(setting.values), len(setting.price_grid)
        orders = np.array(list(permutations(range(n))))
        prices = np.array(list(product(range(width), repeat=n)))
        if len(orders) * len(prices) > MAX_PLANS:
            raise UsageError(f"{setting.name}: {len(orders) * len(prices)} plans, over {MAX_PLANS}; try mode 'search'")
        self.orders = np.repeat(orders, len(prices), axis=0)
        self.prices = np.tile(prices, (len(orders), 1))
        shape = setting.prior.shape
        self.utilities = np.zeros((len(self.orders), n, *shape))
        self.losses = np.zeros((len(self.orders), *shape))
        buys = [np.array(setting.acceptance(i)) for i in range(n)]
        values = [np.array([float(v) for v in own]) for own in setting.values]
        grid = np.array([float(p) for p in setting.price_grid])
        every = np.arange(len(self.orders))
        for types in np.ndindex(*shape):
            unsold = np.ones(len(every), dtype=bool)
            got = np.zeros(len(every))
            for step in range(n):
                buyer = self.orders[:, step]
                price = self.prices[every, buyer]
                worth = np.array([values[i][types[i]] for i in range(n)])[buyer]
                accepts = np.array([buys[i][:, types[i]] for i in range(n)])[buyer, price]
                sold = unsold & accepts
                self.utilities[(every[sold], buyer[sold], *types)] = (worth - grid[price])[sold]
                got[sold] = worth[sold]
                unsold &= ~sold
            best = max(values[i][types[i]] for i in range(n))
            self.losses[(every, *types)] = float(setting.prior[types]) * (got - best)


class CodedProblem:
    """One profile of codes: which plans attain its bound, and how much each type wants to keep to it.

    Args:
        codes: the message of each type, -1 where it mixes uniformly, one array a buyer.
    """

    def __init__(self, setting: SequentialPrices, plans: Plans, ranks: MessageCodes, codes: Sequence[NDArray[Any]]):
        self.n, self.messages, self.codes = len(codes), setting.messages, codes
        mixes = [ranks.weights(i, c[None])[0] / ranks.weights(i, c[None])[0].sum(axis=0) for i, c in enumerate(codes)]
        self.said = list(product(range(self.messages), repeat=self.n))
        self.decided = [np.flatnonzero(~fixed) for fixed in ranks.undecided]
        uniform = [np.full(len(c), 1 / self.messages) for c in codes]
        lasting = [np.where(fixed, 1 / self.messages, mix) for fixed, mix in zip(ranks.undecided, mixes, strict=True)]
        # The code as it is read off and, where that differs, as undecided types play it; and buyers who all mix.
        opponents = (mixes, uniform) if ranks.mixed else (mixes, lasting, uniform)
        prior = setting.prior.astype(float)
        self.attaining, tables = [], []
        letters = "abcdefgh"[: self.n]
        for said in self.said:
            weights = [mix[m] for mix, m in zip(mixes, said, strict=True)]
            worth = np.einsum(f"z{letters},{','.join(letters)}->z", plans.losses, *weights)
            self.attaining.append(np.flatnonzero(worth >= worth.max() - 1e-12))
        for i in range(self.n):
            own = prior.sum(axis=tuple(k for k in range(self.n) if k != i))
            seen = prior / np.where(own > 0, own, 1).reshape([-1 if k == i else 1 for k in range(self.n)])
            weighted = plans.utilities[:, i] * seen
            rest = [k for k in range(self.n) if k != i]
            for said in self.said:
                for kind in opponents:
                    others = [kind[k] if kind is uniform else kind[k][said[k]] for k in rest]
                    terms = "".join(f",{letters[k]}" for k in rest)
                    tables.append(np.einsum(f"z{letters}{terms}->z{letters[i]}", weighted, *others))
        # Utility of a plan to each own type after each message profile: [buyer][said, against, plan, own type].
        self.opponents = len(opponents)
        step = self.opponents * len(self.said)
        self.worth = [
            np.array(tables[i * step : (i + 1) * step]).reshape(len(self.said), self.opponents, *tables[i * step].shape)
            for i in range(self.n)
        ]

    def margins(self, totals: Sequence[Floats]) -> Floats:
        """The least strict preference for the own message, over buyers, decided types and all kinds of opponents.

        Args:
            totals: a buyer's utility by own message, shapes (messages, opponents, plans tried, |T_i|).
        """
        worst = np.full(totals[0].shape[2], np.inf)
        for i, total in enumerate(totals):
            if self.messages == 1 or not len(self.decided[i]):
                continue
            own = self.codes[i][self.decided[i]]
            at = np.moveaxis(total[..., self.decided[i]], 3, 0)  # (types, messages, 2, plans)
            kept = at[np.arange(len(own)), own]
            others = np.where((np.arange(self.messages) == own[:, None])[..., None, None], -np.inf, at).max(axis=1)
            worst = np.minimum(worst, (kept - others).min(axis=(0, 1)))
        return worst

    def improve(self, rng: np.random.Generator, chosen: NDArray[np.int64], goal: float) -> tuple[NDArray[Any], float]:
        """Coordinate ascent on the least margin from one plan for each message profile, until it passes `goal`."""
        chosen = chosen.copy()
        totals = []
        for i in range(self.n):
            total = np.zeros((self.messages, self.opponents, self.worth[i].shape[-1]))
            for k, said in enumerate(self.said):
                total[said[i]] += self.worth[i][k][:, chosen[k]]
            totals.append(total)
        margin = float(self.margins([t[:, :, None] for t in totals])[0])
        for _ in range(SWEEPS):
            before = margin
            for k in rng.permutation(len(self.said)):
                said, options = self.said[k], self.attaining[k]
                tried = []
                for i in range(self.n):
                    changed = np.repeat(totals[i][:, :, None], len(options), axis=2)
                    worth = self.worth[i][k]
                    changed[said[i]] += worth[:, options] - worth[:, chosen[k]][:, None]
                    tried.append(changed)
                margins = self.margins(tried)
                best = int(rng.choice(np.flatnonzero(margins >= margins.max() - 1e-12)))
                if margins[best] >= margin:
                    margin, chosen[k] = float(margins[best]), options[best]
                    totals = [t[:, :, best] for t in tried]
            if margin >= goal or margin <= before:
                break
        return chosen, margin


class StructuredSearch:
    """One start of the search; has the shape of the other learners of `train.py`."""

    def __init__(self, setting: Setting, hyper: Hyper, seed: int, start: int) -> None:
        if not isinstance(setting, SequentialPrices):
            raise UsageError(f"mode 'structured' is for sequential prices with messages, and {setting.name} is none")
        self.setting, self.hyper = setting, hyper
        # Robust training looks at the last mixed strategies too, whose bound is the lower one.
        mixed = hyper.readout != "argmax" or (hyper.objective == "robust" and hyper.settled)
        self._ranks = MessageCodes(setting, mixed=mixed)
        if not self._ranks.tractable:
            raise UsageError(f"{setting.name}: too many message codes to rank; try mode 'search'")
        self._rng = np.random.default_rng([seed, start])
        self._best: NDArray[Any] | None = None
        self._score = -np.inf
        self._problems: dict[int, CodedProblem] = {}

    @cached_property
    def _plans(self) -> Plans:
        assert isinstance(self.setting, SequentialPrices)
        return Plans(self.setting)

    @cached_property
    def _codes(self) -> list[tuple[NDArray[np.int64], ...]]:
        return [codes for _, codes in islice(self._ranks.ranked(), CODES)]

    @cached_property
    def _equal(self) -> int:
        """How many profiles of codes share the highest bound."""
        return int((self._ranks.totals == self._ranks.totals.max()).sum())

    def _problem(self, k: int) -> CodedProblem:
        if k not in self._problems:
            assert isinstance(self.setting, SequentialPrices)
            self._problems[k] = CodedProblem(self.setting, self._plans, self._ranks, self._codes[k])
        return self._problems[k]

    def iterate(self, iteration: int) -> tuple[NDArray[Any], Floats, dict[str, float]]:
        """Fresh tables for codes of high bound and variations of the best one; the finalists and their scores.

        Exact expectation over types sorts out most; the finalists meet sampled followers, several phases each.
        """
        rng, hyper = self._rng, self.hyper
        reach = min(len(self._codes), self._equal * 2 ** (iteration // PATIENCE))
        tables: list[NDArray[Any]] = []
        margins: list[float] = []
        fresh = hyper.batch if self._best is None else hyper.batch - hyper.batch // 4
        while len(tables) < fresh:
            problem = self._problem(int(rng.integers(reach)))
            start = np.array([rng.choice(options) for options in problem.attaining])
            chosen, margin = problem.improve(rng, start, goal=float(rng.random() * 0.1))
            tables.append(self._table(chosen))
            margins.append(margin)
        tables += [self._varied(rng) for _ in range(hyper.batch - fresh)]
        batch = np.array(tables)
        if hyper.objective == "robust":
            scores = lasting_scores(self.setting, hyper, batch)
            # Among equals the larger margin is the sturdier table; variations have none on record.
            known = np.array([*margins, *[0.0] * (hyper.batch - fresh)])
            # Final mixes settle late, so the shortest horizon would choose; and a code that is judged by final actions
            # alone may be left much later. What lasts is what all strictly want.
            if (hyper.readout != "argmax" or not hyper.settled) and known.max() > STRICT:
                batch, scores, known = (x[known > STRICT] for x in (batch, scores, known))
            batch = batch[np.lexsort((-known, -np.round(scores, 4)))[:FINALISTS]]
        rng_seed = int(rng.integers(2**62))
        runs, _ = score_tables(self.setting, hyper, batch, rng_seed=rng_seed, runs=RUNS)
        final = runs.mean(axis=1)
        if final.max() > self._score or self._best is None:
            self._score, self._best = float(final.max()), batch[int(final.argmax())]
        return batch, final, {"mean": float(final.mean()), "margin": max(margins)}

    def _table(self, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """The leader's table for one plan at each message profile; any action where a plan never gets."""
        legal, width = self.setting.legal, len(self._plans.losses)
        assert isinstance(self.setting, SequentialPrices) and (chosen < width).all()
        groups = self.setting.groups
        table = legal.argmax(axis=1)
        for k, plan in enumerate(chosen):
            order, prices = self._plans.orders[plan], self._plans.prices[plan]
            for step, buyer in enumerate(order):
                left = tuple(sorted(order[step:].tolist()))
                table[k * len(groups) + groups.index(left)] = buyer * len(self.setting.price_grid) + prices[buyer]
        return table

    def _varied(self, rng: np.random.Generator) -> NDArray[Any]:
        """The best table with one or two observations redrawn."""
        assert self._best is not None
        table = self._best.copy()
        for index in rng.integers(len(table), size=int(rng.integers(1, 3))):
            table[index] = rng.choice(np.flatnonzero(self.setting.legal[index]))
        return table

    def mode(self) -> NDArray[Any]:
        assert self._best is not None
        return self._best

    def finished(self) -> bool:
        return False

    def state(self) -> dict[str, Any]:
        best = None if self._best is None else self._best.tolist()
        return {"best": best, "score": self._score, "rng": json.dumps(self._rng.bit_generator.state)}

    def load(self, state: dict[str, Any]) -> None:
        self._best = None if state["best"] is None else np.array(state["best"])
        self._score = state["score"]
        self._rng.bit_generator.state = json.loads(state["rng"])
