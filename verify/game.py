"""The followers' finite Bayesian game (theory T1): what a committed leader policy leaves them to play.

`BayesianGame` holds floats for fast work and knows its exact numbers (`BayesianGame.plain`) for the kernel. Payoff
arrays broadcast, so private values and complete information cost no memory. Reading and writing files is in `formats`.
"""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .digests import game_sha256
from .errors import FormatError, GameError, UsageError
from .notebook import html_table
from .plain import (
    LARGEST_PAYOFF,
    DoubleNumerators,
    PlainGame,
    Tensor,
    distinct_names,
    normalised_prior,
    parse_game,
    player_of,
)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


MOST_PLAYERS = 24
"""Two axes a player, and letters for `numpy.einsum`."""


@dataclass(frozen=True)
class Player:
    """Names of one follower, its types and its actions."""

    name: str
    types: tuple[str, ...]
    actions: tuple[str, ...]


def tensor_of(values: np.ndarray) -> Tensor:
    """The exact Tensor of a float or integer array; a double is itself. Big ones are not copied."""
    flat = np.ascontiguousarray(values, dtype=np.float64).ravel()
    _, exponents = np.frexp(flat[flat != np.rint(flat)])
    numerators = DoubleNumerators(flat.data, int(exponents.min(initial=53)))
    return Tensor(values.shape, numerators, numerators.denominator)


def array_of(exact: Tensor) -> FloatArray:
    """The nearest doubles of an exact array."""
    if isinstance(exact.numerators, DoubleNumerators):
        return np.frombuffer(exact.numerators.values).reshape(exact.shape)
    cache = {value: value / exact.denominator for value in set(exact.numerators)}
    return np.array([cache[value] for value in exact.numerators], dtype=np.float64).reshape(exact.shape)


@dataclass(frozen=True, eq=False)
class BayesianGame:
    """A finite Bayesian game of n followers, with the leader's payoff beside theirs (theory T1).

    Args:
        prior: axes (|T_0|, .., |T_{n-1}|). Floats must sum to 1 within 1e-9; integers and rationals may be any weights.
        payoffs: one array a player, axes (types.., actions..), an axis of length 1 broadcasts; payoff units.
        leader: the leader's payoff, same axes; optional.
        feasible: one boolean array a player, axes (own type, own action); optional.
        players: names; made up when left out.
        name: a name for messages and reports.

    Numbers may be ints, floats, Fractions or strings such as ``"1/3"``; each means exactly what it says.

    Raises:
        GameError, FormatError: axes that do not fit, a prior that is none, a type without feasible action.

    Example:
        >>> game = BayesianGame(prior=[[1]], payoffs=[[[[[3, 0], [0, 2]]]], [[[[2, 0], [0, 3]]]]])
        >>> game.n_players, game.action_shape, float(game.objective("welfare").max())
        (2, (2, 2), 5.0)
    """

    prior: Any
    payoffs: Any
    leader: Any = None
    feasible: Any = None
    players: Any = None
    name: str = "game"
    _exact: PlainGame | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self._exact is None and self._is_numeric():
            self._from_arrays()
        else:
            plain = self._exact or parse_game(self._document())
            _check_count(plain.n)
            put = object.__setattr__
            put(self, "_exact", plain)
            put(self, "name", plain.name)
            put(self, "prior", array_of(plain.prior))
            put(self, "payoffs", tuple(array_of(payoff) for payoff in plain.payoffs))
            put(self, "leader", None if plain.leader is None else array_of(plain.leader))
            put(self, "feasible", tuple(np.array(mask, dtype=bool) for mask in plain.feasible))
            put(self, "players", tuple(Player(*player) for player in plain.players))
        for values in (self.prior, *self.payoffs, self.leader, *self.feasible):
            if values is not None:
                values.setflags(write=False)

    # ------------------------------------------------------------------------------------ construction

    def _is_numeric(self) -> bool:
        """Whether all arrays are numpy arrays of numbers that are doubles, whose exact form can wait."""
        if not isinstance(self.payoffs, (list, tuple)):
            return False
        arrays = [self.prior, *self.payoffs] + ([] if self.leader is None else [self.leader])
        return all(isinstance(values, np.ndarray) and _are_doubles(values) for values in arrays)

    def _from_arrays(self) -> None:
        n = len(self.payoffs)
        prior = np.asarray(self.prior)
        _check_count(n)
        if not isinstance(self.name, str):
            raise GameError(f"expected a name, got {self.name!r}", field="name")
        if n == 0 or prior.ndim != n:
            raise GameError(f"expected one axis a player ({n}), got {prior.ndim}", field="prior")
        if self.players is not None and len(self.players) != n:
            raise GameError(
                f"expected {n} players, one for each payoff array, got {len(self.players)}", field="players"
            )
        checked = []
        actions = [1] * n
        for where, given in [
            *((f"payoffs[{i}]", u) for i, u in enumerate(self.payoffs)),
            ("leader", self.leader),
        ]:
            if given is None:
                continue
            values = np.array(given, dtype=np.float64)
            if values.ndim != 2 * n:
                raise GameError(f"expected {2 * n} axes (types, then actions), got {values.ndim}", field=where)
            if not np.isfinite(values).all():
                raise GameError("expected finite numbers, found NaN or infinity", field=where)
            if np.abs(values).max(initial=0.0) > LARGEST_PAYOFF:
                raise GameError("expected payoffs of at most 1e100 in size; use another unit", field=where)
            actions = [max(a, b) for a, b in zip(actions, values.shape[n:], strict=True)]
            checked.append((where, values))
        if self.players is not None:
            actions = [len(player.actions) for player in self.players]
        axes = (*prior.shape, *actions)
        for where, values in checked:
            for axis, (have, want) in enumerate(zip(values.shape, axes, strict=True)):
                if have not in (want, 1):
                    raise GameError(f"axis {axis} has length {have}, expected {want} or 1", field=where)
        if not np.isfinite(prior).all() or (prior < 0).any():
            raise GameError("expected probabilities, found a negative or non-finite number", field="prior")
        exact_prior = normalised_prior(tensor_of(prior), is_float=prior.dtype.kind == "f")
        masks = self._array_masks(n, prior.shape, actions)
        put = object.__setattr__
        put(self, "prior", array_of(exact_prior))
        put(self, "_exact_prior", exact_prior)
        put(self, "payoffs", tuple(values for _, values in checked[:n]))
        put(self, "leader", checked[n][1] if len(checked) > n else None)
        put(self, "feasible", masks)
        put(self, "players", self._named() if self.players else _names(prior.shape, actions))
        if any(len(p.types) != k for p, k in zip(self.players, prior.shape, strict=True)):
            raise GameError("expected players with as many types as the prior has", field="players")

    def _named(self) -> tuple[Player, ...]:
        """The given players, their names checked as those of a file are."""
        if not all(isinstance(player.name, str) for player in self.players):
            raise GameError("expected a name for each player", field="players")
        return tuple(
            Player(
                player.name,
                distinct_names(player.types, f"players[{i}].types"),
                distinct_names(player.actions, f"players[{i}].actions"),
            )
            for i, player in enumerate(self.players)
        )

    def _array_masks(self, n: int, types: Sequence[int], actions: Sequence[int]) -> tuple[BoolArray, ...]:
        if self.feasible is None:
            return tuple(np.ones((types[i], actions[i]), dtype=bool) for i in range(n))
        masks = tuple(np.array(mask, dtype=bool) for mask in self.feasible)
        if len(masks) != n:
            raise GameError(f"expected {n} boolean arrays, one a player", field="feasible")
        for i, mask in enumerate(masks):
            if mask.shape != (types[i], actions[i]):
                raise GameError(f"expected shape {(types[i], actions[i])}, got {mask.shape}", field=f"feasible[{i}]")
            if not mask.any(axis=1).all():
                raise GameError("expected at least one feasible action for each type", field=f"feasible[{i}]")
        return masks

    def _document(self) -> dict[str, Any]:
        """The arguments as a game document, so that one reader validates both."""
        prior, payoffs, leader = _listed(self.prior), [_listed(u) for u in self.payoffs], _listed(self.leader)
        n, actions = len(payoffs), [1] * len(payoffs)
        shapes = [_shape(array) for array in [*payoffs, *([] if leader is None else [leader])]]
        for shape in shapes:
            if len(shape) != 2 * n:
                raise GameError(f"expected {2 * n} axes (types, then actions), got {len(shape)}", field="payoffs")
            actions = [max(a, b) for a, b in zip(actions, shape[n:], strict=True)]
        players = self.players or _names(_shape(prior), actions)
        document = {
            "format": "spverify-game",
            "version": 1,
            "name": self.name,
            "prior": prior,
            "payoffs": payoffs,
        }
        document["players"] = [{"name": p.name, "types": list(p.types), "actions": list(p.actions)} for p in players]
        if leader is not None:
            document["leader"] = leader
        if self.feasible is not None:
            document["feasible"] = [np.asarray(mask, dtype=bool).tolist() for mask in self.feasible]
        return document

    @classmethod
    def from_plain(cls, plain: PlainGame) -> BayesianGame:
        """The game of exact data that was validated already."""
        return cls(None, None, _exact=plain)

    @classmethod
    def from_document(cls, document: object, source: object = None) -> BayesianGame:
        """The game of a ``spverify-game`` document; errors name ``source``."""
        try:
            return cls.from_plain(parse_game(document))
        except FormatError as error:
            raise error.at(source) if source is not None else error from None

    # ------------------------------------------------------------------------------------ facts

    def _repr_html_(self) -> str:
        """A short table for notebooks: one line a player, with at most ten names of types and of actions."""
        rows = [[player.name, _some_of(player.types), _some_of(player.actions)] for player in self.players]
        leader = "without leader" if self.leader is None else "with leader"
        return html_table(f"{self.name}, {leader}", ["player", "types", "actions"], rows)

    @property
    def n_players(self) -> int:
        """Number of followers."""
        return len(self.players)

    @property
    def type_shape(self) -> tuple[int, ...]:
        """Number of types of each player."""
        return tuple(self.prior.shape)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Number of actions of each player."""
        return tuple(len(player.actions) for player in self.players)

    @property
    def shape(self) -> tuple[int, ...]:
        """Axes (types.., actions..) of a full array."""
        return self.type_shape + self.action_shape

    def marginal(self, i: int) -> FloatArray:
        """p_i(t_i), shape (|T_i|,)."""
        return np.asarray(self.prior.sum(axis=tuple(j for j in range(self.n_players) if j != i)))

    def conditional(self, i: int) -> FloatArray:
        """p(t_-i | t_i) for every joint type, shape (types..); 0 where p_i(t_i) = 0."""
        own = self.marginal(i).reshape([-1 if j == i else 1 for j in range(self.n_players)])
        return np.divide(self.prior, own, out=np.zeros_like(self.prior), where=own > 0)

    @cached_property
    def feasible_cells(self) -> BoolArray:
        """Which (types.., actions..) cells are feasible for everyone; broadcasts to `shape`."""
        out = np.ones((1,) * (2 * self.n_players), dtype=bool)
        for i, mask in enumerate(self.feasible):
            axes = [1] * (2 * self.n_players)
            axes[i], axes[self.n_players + i] = mask.shape
            out = out & mask.reshape(axes)
        return out

    def payoff_range(self, i: int) -> float:
        """Delta_i: largest minus smallest payoff of player i over feasible cells, payoff units."""
        payoff, cells = np.broadcast_arrays(self.payoffs[i], self.feasible_cells)
        values = payoff[cells]
        return float(values.max() - values.min())

    @cached_property
    def near_payoffs(self) -> tuple[FloatArray, ...]:
        """`payoffs`, moved towards 0 where they are far from it: regrets are the same, and lose fewer digits there."""
        lows = [(values, float(values.min()), float(np.ptp(values))) for values in self.payoffs]
        return tuple(values - low if abs(low) > 16 * span else values for values, low, span in lows)

    def payoff_error(self, i: int) -> float:
        """How far the doubles of player i's payoffs may be from the exact ones, payoff units; 0 for doubles."""
        exact = None if self._exact is None else self._exact.payoffs[i]
        if exact is None or isinstance(exact.numerators, DoubleNumerators):
            return 0.0
        one = exact.denominator
        worst = max(abs(Fraction(value / one) - Fraction(value, one)) for value in set(exact.numerators))
        return math.nextafter(float(worst), math.inf) if worst else 0.0

    def objective(self, objective: str | npt.ArrayLike = "leader") -> FloatArray:
        """The array w of an objective: ``leader``, ``welfare`` (sum of followers' payoffs), ``player:I`` or an array.

        Raises:
            UsageError: an unknown name, ``leader`` where the game has none, or an array of other axes.
        """
        if not isinstance(objective, str):
            values = np.asarray(objective, dtype=np.float64)
            fits = values.ndim == len(self.shape) and all(
                a in (b, 1) for a, b in zip(values.shape, self.shape, strict=True)
            )
            if not fits or not np.isfinite(values).all():
                raise UsageError(f"expected finite numbers with axes {self.shape} (or 1), got axes {values.shape}")
            return values
        if objective == "leader":
            if self.leader is None:
                raise UsageError('the game has no "leader" payoffs; ask for welfare or player:I')
            return self.leader
        if objective == "welfare":
            return np.asarray(sum(self.payoffs[1:], start=self.payoffs[0]))
        return self.payoffs[player_of(objective, self.n_players)]

    # ------------------------------------------------------------------------------------ exact side

    @cached_property
    def plain(self) -> PlainGame:
        """The game exactly, as the kernel reads it."""
        if self._exact is not None:
            return self._exact
        return PlainGame(
            self.name,
            tuple((player.name, player.types, player.actions) for player in self.players),
            self._exact_prior,  # type: ignore[attr-defined]
            tuple(tensor_of(payoff) for payoff in self.payoffs),
            None if self.leader is None else tensor_of(self.leader),
            tuple(tuple(tuple(row) for row in mask.tolist()) for mask in self.feasible),
        )

    @property
    def sha256(self) -> str:
        """Digest of the canonical content, the same for the ``.json`` and the ``.npz`` of one game."""
        return game_sha256(self.plain)

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-game`` document of this game."""
        return self.plain.document()

    @cached_property
    def shared_document(self) -> dict[str, Any]:
        """`to_document`, made once for all certificates of this game; not to be changed."""
        return self.to_document()


def axis_letters(n: int) -> tuple[str, str]:
    """Letters for `numpy.einsum`: n for the type axes, n for the action axes."""
    return string.ascii_lowercase[:n], string.ascii_uppercase[:n]


def _names(types: Sequence[int], actions: Sequence[int]) -> tuple[Player, ...]:
    return tuple(
        Player(f"player {i}", tuple(f"t{k}" for k in range(t)), tuple(f"a{k}" for k in range(a)))
        for i, (t, a) in enumerate(zip(types, actions, strict=True))
    )


def _check_count(players: int) -> None:
    if players > MOST_PLAYERS:
        raise GameError(f"expected at most {MOST_PLAYERS} players, got {players}", field="players")


def _are_doubles(values: np.ndarray) -> bool:
    """Whether a double holds each number exactly."""
    if values.dtype.kind == "f":
        return values.dtype.itemsize <= 8
    if values.dtype.kind not in "iu":
        return False
    return values.dtype.itemsize <= 4 or not values.size or max(int(values.max()), -int(values.min())) <= 1 << 53


def _listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _shape(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, (list, tuple)) and value:
        shape.append(len(value))
        value = value[0]
    return tuple(shape)


def _some_of(names: Sequence[str], most: int = 10) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more
