"""The four forms of play (theory T2): what the followers did, as data.

Each form gives its conditional sigma(a | types) in floats for fast work and its document for the exact readers in
`plain.py`; `exact` joins the two. Forms know nothing of payoffs; regrets and gaps are in `regret.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from .errors import PlayError
from .game import BayesianGame, FloatArray, array_of, axis_letters
from .plain import PlainPlay, number_text, parse_play

IntArray = npt.NDArray[np.int64]
_CHUNK_CELLS = 1 << 22


@dataclass(frozen=True, eq=False)
class ConditionalPlay:
    """The marginal sigma itself, axes (types.., actions..); each joint type's block sums to 1.

    Entries are floats, or exact (Fractions and strings in nested lists).
    """

    sigma: Any
    kind: ClassVar[str] = "conditional"

    def conditional(self, game: BayesianGame) -> FloatArray:
        """sigma(a | types), axes (types.., actions..)."""
        if isinstance(self.sigma, np.ndarray):
            return as_doubles(self.sigma)
        sigma = exact(self, game).sigma
        assert sigma is not None
        return array_of(sigma)

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-play`` document."""
        return {"format": "spverify-play", "version": 1, "kind": self.kind, "sigma": _json(self.sigma)}


@dataclass(frozen=True, eq=False)
class SparsePlay:
    """A conditional play by its support, for games too big to write sigma out.

    Args:
        cells: (joint types, joint action, probability) with positive probability; those of one joint type sum to 1.
            Joint types of probability 0 may be left out.
    """

    cells: Sequence[tuple[Sequence[int], Sequence[int], Any]]
    kind: ClassVar[str] = "conditional"

    def conditional(self, game: BayesianGame) -> FloatArray:
        """sigma(a | types), axes (types.., actions..); 0 at joint types that were left out."""
        out = np.zeros(game.shape)
        for types, actions, mass in self.cells:
            out[(*types, *actions)] = float(Fraction(mass))
        return out

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-play`` document."""
        cells = [
            [[int(t) for t in types], [int(a) for a in actions], _json(mass)] for types, actions, mass in self.cells
        ]
        return {"format": "spverify-play", "version": 1, "kind": self.kind, "cells": cells}


@dataclass(frozen=True, eq=False)
class PlanPlay:
    """A sparse distribution over pure strategy profiles.

    Args:
        weights: K probabilities (floats, or exact numbers).
        strategies: for each player an integer array (K, |T_i|): the action at each own type.
    """

    weights: Any
    strategies: Sequence[Any]
    kind: ClassVar[str] = "plan"

    def __post_init__(self) -> None:
        given = [np.atleast_2d(np.asarray(rows)) for rows in self.strategies]
        if any(rows.dtype.kind not in "iu" for rows in given):
            raise PlayError("expected whole numbers, the action at each own type", field="strategies")
        arrays = tuple(rows.astype(np.int64) for rows in given)
        if any(len(rows) != len(self.weights) for rows in arrays):
            raise PlayError(f"expected {len(self.weights)} profiles for each player", field="strategies")
        object.__setattr__(self, "strategies", arrays)

    def conditional(self, game: BayesianGame) -> FloatArray:
        """sigma(a | types), axes (types.., actions..)."""
        weights = as_doubles(self.weights)
        out = np.zeros((np.prod(game.type_shape, dtype=int), np.prod(game.action_shape, dtype=int)))
        for cell, types in enumerate(np.ndindex(*game.type_shape)):
            chosen = tuple(rows[:, t] for rows, t in zip(self.strategies, types, strict=True))
            joint = np.ravel_multi_index(chosen, game.action_shape)
            out[cell] = np.bincount(joint, weights, minlength=out.shape[1])
        return out.reshape(game.shape)

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-play`` document."""
        weights = _json(self.weights)
        profiles = [
            {"weight": weights[k], "strategies": [rows[k].tolist() for rows in self.strategies]}
            for k in range(len(weights))
        ]
        return {"format": "spverify-play", "version": 1, "kind": self.kind, "profiles": profiles}


@dataclass(frozen=True, eq=False)
class MixturePlay:
    """Snapshots of independent behaviour strategies: what learners produce.

    Args:
        weights: T probabilities, or None for equal weights.
        strategies: for each player an array (T, |T_i|, |A_i|) of probabilities.
    """

    weights: Any
    strategies: Sequence[Any]
    kind: ClassVar[str] = "mixture"

    def __post_init__(self) -> None:
        rounds = len(self.strategies[0]) if len(self.strategies) else 0
        if rounds == 0 or any(len(array) != rounds for array in self.strategies):
            raise PlayError("expected the same positive number of snapshots for each player", field="strategies")
        if self.weights is None:
            object.__setattr__(self, "weights", [Fraction(1, rounds)] * rounds)
        if len(self.weights) != rounds:
            raise PlayError(f"expected {rounds} weights, got {len(self.weights)}", field="weights")

    def conditional(self, game: BayesianGame) -> FloatArray:
        """sigma(a | types), axes (types.., actions..)."""
        weights = as_doubles(self.weights)
        arrays = [as_doubles(array) for array in self.strategies]
        types, actions = axis_letters(game.n_players)
        terms = ",".join(f"z{t}{a}" for t, a in zip(types, actions, strict=True))
        cells = int(np.prod(game.shape))
        step = max(1, _CHUNK_CELLS // cells)
        out = np.zeros(game.shape)
        for start in range(0, len(weights), step):
            part = [array[start : start + step] for array in arrays]
            out += np.einsum(f"z,{terms}->{types}{actions}", weights[start : start + step], *part, optimize=True)
        return out

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-play`` document."""
        strategies = [_json(array) for array in self.strategies]
        doc = {"format": "spverify-play", "version": 1, "kind": self.kind}
        return {**doc, "weights": _json(self.weights), "strategies": strategies}


@dataclass(frozen=True, eq=False)
class PlayLog:
    """Sampled pairs of joint type and joint action, T rounds: integer arrays (T, n) and (T, n) of any width."""

    types: Any
    actions: Any
    kind: ClassVar[str] = "log"

    def __post_init__(self) -> None:
        for name in ("types", "actions"):
            values = np.asarray(getattr(self, name))
            if values.ndim != 2 or values.dtype.kind not in "iu" or len(values) == 0:
                raise PlayError("expected a non-empty integer array with axes (round, player)", field=name)
            # a long log keeps the small integers it came in; unsigned 64-bit ones do not mix with signed arithmetic
            object.__setattr__(self, name, values.astype(np.int64) if values.dtype == np.uint64 else values)
        if self.types.shape != self.actions.shape:
            raise PlayError("expected as many types as actions", field="actions")

    def counts(self, game: BayesianGame) -> IntArray:
        """How often each (types.., actions..) cell occurs, axes (types.., actions..)."""
        index = np.ravel_multi_index((*self.types.T, *self.actions.T), game.shape)
        return np.bincount(index, minlength=int(np.prod(game.shape))).reshape(game.shape)

    def conditional(self, game: BayesianGame) -> FloatArray:
        """Frequencies of actions at each joint type that occurs, axes (types.., actions..); 0 where none does."""
        counts = self.counts(game).astype(float)
        axes = tuple(range(game.n_players, 2 * game.n_players))
        visits = counts.sum(axis=axes, keepdims=True)
        return np.divide(counts, visits, out=np.zeros_like(counts), where=visits > 0)

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-play`` document."""
        rounds = [[t, a] for t, a in zip(self.types.tolist(), self.actions.tolist(), strict=True)]
        return {"format": "spverify-play", "version": 1, "kind": self.kind, "rounds": rounds}


def independent(strategies: Sequence[FloatArray]) -> FloatArray:
    """sigma(a | types) of many profiles of independent strategies at once.

    Args:
        strategies: for each player behaviour strategies, shape (B, |T_i|, |A_i|).

    Returns:
        Shape (B, types.., actions..).
    """
    types, actions = axis_letters(len(strategies))
    terms = ",".join(f"z{t}{a}" for t, a in zip(types, actions, strict=True))
    return np.asarray(np.einsum(f"{terms}->z{types}{actions}", *strategies))


Play = ConditionalPlay | SparsePlay | PlanPlay | MixturePlay | PlayLog


def exact(play: Play, game: BayesianGame, document: dict[str, Any] | None = None) -> PlainPlay:
    """The play made exact and checked against its game (theory T1, T2); its ``document`` if that is known already.

    Raises:
        PlayError: rows that are no distributions, mass on infeasible actions, indices out of range.
    """
    document = play.to_document() if document is None else document
    if isinstance(play, SparsePlay):
        # a Fraction is what its text says, and need not be read from it
        pairs = zip(document["cells"], play.cells, strict=True)
        cells = [[*where, mass if type(mass) is Fraction else text] for (*where, text), (_, _, mass) in pairs]
        document = {**document, "cells": cells}
    return parse_play(document, game.plain)


def play_of(plain: PlainPlay, game: BayesianGame) -> Play:
    """The play of exact data that was validated already."""
    if plain.kind == "conditional" and plain.sigma is None:
        return SparsePlay(plain.cells)
    if plain.kind == "conditional":
        assert plain.sigma is not None
        return ConditionalPlay(plain.sigma.nested(lambda value: value))
    if plain.kind == "plan":
        rows = [[profile[i] for profile in plain.profiles] for i in range(game.n_players)]
        return PlanPlay(list(plain.weights), rows)
    if plain.kind == "mixture":
        return MixturePlay(list(plain.weights), [array.nested(lambda value: value) for array in plain.strategies])
    return PlayLog([list(t) for t, _ in plain.rounds], [list(a) for _, a in plain.rounds])


def as_doubles(values: Any) -> FloatArray:
    """Probabilities in any form (floats, ints, Fractions, strings) as an array of doubles."""
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return values
    flat = np.array(values, dtype=object)
    return np.array([float(Fraction(value)) for value in flat.ravel()]).reshape(flat.shape)


def _json(values: Any) -> Any:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return values.tolist()
    if isinstance(values, (list, tuple, np.ndarray)):
        return [_json(value) for value in values]
    if isinstance(values, Fraction):
        return _exact_json(values)
    return values.item() if isinstance(values, np.generic) else values


def _exact_json(value: Fraction) -> int | str:
    """A rational row must stay rational: a float among its entries would mean 'round me to the grid'."""
    if value.denominator == 1 and abs(value.numerator) < 1 << 53:
        return value.numerator
    return number_text(value)
