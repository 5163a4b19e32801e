"""Oracles for ranges: the three sets of theory T4 written down naively, row by row, and solved whole.

Nothing here is shared with the code under test: regrets are loops over the definition in theory T3, and the linear
programs list every cell or every strategy profile.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.optimize import linprog

from spverify.verify.game import BayesianGame


def cells(game: BayesianGame) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """All feasible (types, actions), also at joint types of probability 0."""
    out = []
    for types in np.ndindex(*game.type_shape):
        rows = [[a for a in range(game.action_shape[i]) if game.feasible[i][t][a]] for i, t in enumerate(types)]
        out.extend((types, actions) for actions in product(*rows))
    return out


def profiles(game: BayesianGame) -> list[list[tuple[int, ...]]]:
    """All pure strategy profiles."""
    each = []
    for mask in game.feasible:
        each.append(list(product(*[np.flatnonzero(row).tolist() for row in mask])))
    return list(product(*each))


def full(values: Any, game: BayesianGame) -> np.ndarray:
    return np.broadcast_to(values, game.shape)


def regret_row(game: BayesianGame, i: int, t: int, deviation: int, types: Any, actions: Any) -> float:
    """What one cell contributes to r_i(t, deviation)."""
    if types[i] != t:
        return 0.0
    payoff = full(game.payoffs[i], game)
    moved = list(actions)
    moved[i] = deviation
    own = sum(game.prior[other] for other in np.ndindex(*game.type_shape) if other[i] == t)
    return float(game.prior[types] / own * (payoff[(*types, *moved)] - payoff[(*types, *actions)]))


def regret_rows(game: BayesianGame) -> list[tuple[int, int, int]]:
    out = []
    for i, mask in enumerate(game.feasible):
        own = game.prior.sum(axis=tuple(j for j in range(game.n_players) if j != i))
        out.extend((i, int(t), int(a)) for t, a in np.argwhere(mask) if own[t] > 0)
    return out


def brute_range(
    game: BayesianGame, objective: Any, which: str, epsilon: float, floor: tuple[Any, float] | None = None
) -> tuple[float, float]:
    """Smallest and largest value over the set, from a program that lists everything.

    ``floor`` is another objective and the least value of it that counts.
    """
    aim, n = full(objective, game), game.n_players
    rows = regret_rows(game)
    if which == "sf":
        columns = [
            [(t, tuple(s[i][k] for i, k in enumerate(t))) for t in np.ndindex(*game.type_shape)] for s in profiles(game)
        ]
    else:
        columns = [[cell] for cell in cells(game)]
    cost = [sum(game.prior[t] * aim[(*t, *a)] for t, a in column) for column in columns]
    upper = [[sum(regret_row(game, *row, t, a) for t, a in column) for column in columns] for row in rows]
    limits = [epsilon] * len(rows)
    if floor is not None:
        other = full(floor[0], game)
        upper.append([-sum(game.prior[t] * other[(*t, *a)] for t, a in column) for column in columns])
        limits.append(-floor[1])
    equal, right = [], []
    if which == "sf":
        equal.append([1.0] * len(columns))
        right.append(1.0)
    else:
        for types in np.ndindex(*game.type_shape):
            equal.append([float(column[0][0] == types) for column in columns])
            right.append(1.0)
    if which == "ns":
        for j in range(n):
            for types in np.ndindex(*game.type_shape):
                if types[j] == 0:
                    continue
                base = (*types[:j], 0, *types[j + 1 :])
                for rest in product(*[range(a) for i, a in enumerate(game.action_shape) if i != j]):
                    line = []
                    for ((t, a),) in columns:
                        same = a[:j] + a[j + 1 :] == rest
                        line.append(float(same) * (float(t == types) - float(t == base)))
                    equal.append(line)
                    right.append(0.0)
    ends = []
    for sign in (1.0, -1.0):
        found = linprog(sign * np.array(cost), upper, limits, equal, right, method="highs")
        assert found.status == 0, found.message
        ends.append(sign * found.fun)
    return ends[0], ends[1]


@pytest.fixture(scope="session")
def oracle() -> Any:
    """`brute_range`."""
    return brute_range


@st.composite
def games(draw: Any, max_profiles: int = 300, max_players: int = 3, masks: bool = True) -> BayesianGame:
    """Small games of drawn shape: integer payoffs, correlated priors with zeros, masks."""
    n = draw(st.integers(1, max_players))
    types = tuple(draw(st.integers(1, 3)) for _ in range(n))
    actions = []
    room = max_profiles
    for t in types:
        most = max(k for k in (1, 2, 3) if k**t <= room)
        actions.append(draw(st.integers(1, most)))
        room = max(1, room // actions[-1] ** t)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    prior = rng.integers(0, 5, types)
    if prior.sum() == 0:
        prior[(0,) * n] = 1
    shape = types + tuple(actions)
    payoffs = [rng.integers(-5, 10, shape) for _ in range(n)]
    feasible = None
    if masks and draw(st.booleans()):
        feasible = []
        for t, a in zip(types, actions, strict=True):
            mask = rng.random((t, a)) < 0.7
            mask[np.arange(t), rng.integers(0, a, t)] = True
            feasible.append(mask)
    return BayesianGame(prior, payoffs, leader=rng.integers(-5, 10, shape), feasible=feasible)


@pytest.fixture(scope="session")
def drawn_games() -> Any:
    """The Hypothesis strategy `games`."""
    return games
