"""Hypothesis strategies for games and plays, which `testing.py` offers.

Shapes are drawn too: one to three players, one action, one type, types of probability zero, ties, masks, correlated
priors and broadcast payoffs all occur. Needs the package `hypothesis`.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

from hypothesis import strategies as st

from .game import BayesianGame
from .play import ConditionalPlay, MixturePlay, PlanPlay, Play


@st.composite
def games(
    draw: st.DrawFn,
    *,
    max_players: int = 3,
    max_types: int = 3,
    max_actions: int = 3,
    max_cells: int = 250,
    masks: bool = True,
    leader: bool = True,
) -> BayesianGame:
    """Small Bayesian games with exact numbers, degenerate ones included."""
    n = draw(st.integers(1, max_players))
    axes: tuple[int, ...] = ()
    for _ in range(n):
        axes += (draw(st.integers(1, max_types)),)
    for _ in range(n):
        axes += (draw(st.integers(1, max_actions)),)
    while _size(axes) > max_cells:
        largest = max(range(2 * n), key=lambda k: axes[k])
        axes = (*axes[:largest], axes[largest] - 1, *axes[largest + 1 :])
    weights = draw(st.lists(st.integers(0, 4), min_size=_size(axes[:n]), max_size=_size(axes[:n])))
    if not any(weights):
        weights[draw(st.integers(0, len(weights) - 1))] = 1
    payoffs = [draw(_payoffs(axes)) for _ in range(n)]
    players = [
        {
            "name": f"player {i}",
            "types": [f"t{k}" for k in range(axes[i])],
            "actions": [f"a{k}" for k in range(axes[n + i])],
        }
        for i in range(n)
    ]
    document: dict[str, Any] = {"format": "spverify-game", "version": 1, "name": "drawn", "players": players}
    document |= {"prior": _nested(weights, axes[:n]), "payoffs": payoffs}
    if leader:
        document["leader"] = draw(_payoffs(axes))
    if masks and draw(st.booleans()):
        document["feasible"] = [[draw(_mask(axes[n + i])) for _ in range(axes[i])] for i in range(n)]
    return BayesianGame.from_document(document)


@st.composite
def plays(draw: st.DrawFn, game: BayesianGame, *, kinds: tuple[str, ...] = ("conditional", "plan", "mixture")) -> Play:
    """Exact plays of a game, of the given kinds (the seed of the randomness is drawn, so failures shrink)."""
    kind = draw(st.sampled_from(kinds))
    n = game.n_players
    if kind == "conditional":
        blocks: list[Fraction] = []
        for types in product(*map(range, game.type_shape)):
            cells = list(product(*map(range, game.action_shape)))
            allowed = [all(game.feasible[i][types[i], a[i]] for i in range(n)) for a in cells]
            blocks += _row(draw, allowed)
        return ConditionalPlay(_nested(blocks, game.shape))
    count = draw(st.integers(1, 3))
    weights = _row(draw, [True] * count)
    if kind == "plan":
        rows = [
            [
                [draw(st.sampled_from([int(a) for a in mask.nonzero()[0]])) for mask in game.feasible[i]]
                for _ in range(count)
            ]
            for i in range(n)
        ]
        return PlanPlay(weights, rows)
    tables = [[[_row(draw, mask.tolist()) for mask in game.feasible[i]] for _ in range(count)] for i in range(n)]
    return MixturePlay(weights, tables)


def _size(axes: tuple[int, ...]) -> int:
    out = 1
    for length in axes:
        out *= length
    return out


def _nested(flat: list[Any], axes: tuple[int, ...]) -> Any:
    for length in reversed(axes[1:]):
        flat = [flat[k : k + length] for k in range(0, len(flat), length)]
    return flat


@st.composite
def _payoffs(draw: st.DrawFn, axes: tuple[int, ...]) -> Any:
    """Small integers, ties included; now and then an axis broadcasts, or the numbers are halves and thirds."""
    kept = tuple(1 if draw(st.integers(0, 5)) == 0 else length for length in axes)
    size = _size(kept)
    values = draw(st.lists(st.integers(-3, 6), min_size=size, max_size=size))
    unit = draw(st.sampled_from([1, 1, 2, 3]))
    return _nested([v if unit == 1 else f"{v}/{unit}" for v in values], kept)


@st.composite
def _mask(draw: st.DrawFn, count: int) -> list[bool]:
    mask = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    mask[draw(st.integers(0, count - 1))] = True
    return mask


def _row(draw: st.DrawFn, allowed: list[bool]) -> list[Fraction]:
    weights = [draw(st.integers(0, 3)) if ok else 0 for ok in allowed]
    if not any(weights):
        weights[allowed.index(True)] = 1
    total = sum(weights)
    return [Fraction(weight, total) for weight in weights]
