"""What every setting offers: the `Setting` protocol, the records it speaks in, and checks shared by all.

A setting says who the followers are, what the leader may observe and do, how one play unfolds, and how to
tabulate a committed leader into the followers' exact Bayesian game. Numbers only: no learning and no torch
live here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...verify.errors import FormatError, SettingError
from ...verify.game import BayesianGame, Player
from ...verify.plain import exact_row

ExactRows = tuple[tuple[Fraction, ...], ...]


@dataclass(frozen=True)
class Followers:
    """How the followers respond unless the user says otherwise: multiplicative weights (theory T7).

    Args:
        updates: rounds of play in one response phase (E of theory T8).
        epsilon: weights grow by (1 + epsilon) ** (payoff / payoff_scale).
        types: "sampled" (the paper) or "expected".
        opponents: "sampled" or "expected".
    """

    updates: int = 100
    epsilon: float = 0.1
    types: str = "sampled"
    opponents: str = "sampled"

    def __post_init__(self) -> None:
        if self.updates < 1:
            raise SettingError(f"a response phase needs at least 1 update, got {self.updates}")
        if not self.epsilon > 0:
            raise SettingError(f"the learning rate epsilon must be positive, got {self.epsilon}")
        for field in ("types", "opponents"):
            if getattr(self, field) not in ("sampled", "expected"):
                raise SettingError(f"{field} must be 'sampled' or 'expected', got {getattr(self, field)!r}")


@dataclass(frozen=True)
class Reference:
    """A value to compare the leader with (theory T9), in the setting's own payoff units.

    Args:
        name: short and stable, such as "pure-optimum": lower-case letters, digits and hyphens.
        value: exact.
        text: one sentence saying what the value is.
        kind: "optimum" (attained by the best leader), "bound" (no leader exceeds it) or "baseline".
        readouts: the readouts it speaks about; all of them when empty.
        leader_actions: the parametrisations it speaks about; all when empty.
    """

    name: str
    value: Fraction
    text: str
    kind: str = "optimum"
    readouts: tuple[str, ...] = ()
    leader_actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9-]+", self.name):
            raise SettingError(f"a reference's name is of lower-case letters, digits and hyphens, got {self.name!r}")
        if self.kind not in ("optimum", "bound", "baseline"):
            raise SettingError(f"reference {self.name}: kind must be optimum, bound or baseline, got {self.kind!r}")


@dataclass(frozen=True)
class Outcome:
    """What a batch of B plays of the base game came to.

    Args:
        followers: payoffs, shape (B, n), in the setting's units.
        leader: the leader's payoffs, shape (B,).
        observations: the leader's observations in the order met, shape (B, steps), -1 after the end.
    """

    followers: NDArray[np.float64]
    leader: NDArray[np.float64]
    observations: NDArray[np.int64]

    def visited(self, n_observations: int) -> NDArray[np.bool_]:
        """Which observations each play met, shape (B, n_observations)."""
        mask = np.zeros((len(self.leader), n_observations + 1), dtype=bool)
        mask[np.arange(len(mask))[:, None], self.observations] = True  # -1 falls into the spare last column
        return mask[:, :-1]


class World(Protocol):
    """What a leader and its file need to know of any setting, one-shot or dynamic."""

    @property
    def name(self) -> str: ...

    @property
    def parameters(self) -> dict[str, Any]: ...

    @property
    def observations(self) -> tuple[str, ...]:
        """What the leader can see when it has to act; one label each."""

    @property
    def actions(self) -> tuple[str, ...]: ...

    @property
    def legal(self) -> NDArray[np.bool_]:
        """Which actions are legal at which observation, shape (n_obs, n_actions)."""

    @property
    def leader_actions(self) -> tuple[str, ...]:
        """The parametrisations the setting allows: "pure", "mixture" (engines E6)."""

    @property
    def payoff_scale(self) -> float:
        """The unit of payoffs: followers learn from payoffs divided by this, and gaps are judged against it."""

    def references(self) -> list[Reference]: ...


@runtime_checkable
class Setting(World, Protocol):
    """A one-shot world for one leader and n followers.

    `tables` in `play` is either integer, shape (B, n_obs), the leader's action at each observation, or, where
    "mixture" is among `leader_actions`, float, shape (B, n_obs, n_actions): the committed mixture, whose
    expectation is then what the plays are worth.
    """

    @property
    def players(self) -> tuple[Player, ...]: ...

    @property
    def prior(self) -> NDArray[np.object_]:
        """Joint prior over types, shape type_shape, `Fraction`s that sum to 1; may be correlated."""

    @property
    def followers(self) -> Followers: ...

    def play(self, tables: NDArray[Any], types: NDArray[np.int64], actions: NDArray[np.int64]) -> Outcome:
        """Unfold B plays of the base game in lock step; `types` and `actions` have shape (B, n)."""

    def tabulate(self, rows: Sequence[Sequence[Any]]) -> BayesianGame:
        """The followers' exact Bayesian game under rows of shape (n_obs, n_actions) (theory T1)."""


def exact_rows(setting: World, rows: Sequence[Sequence[Any]]) -> ExactRows:
    """The leader's rows as exact probabilities, checked.

    Integers, `Fraction`s and "p/q" strings are taken exactly; a row holding floats is put on the grid of
    2^-40 by largest remainder, as a play's rows are (theory T1).

    Args:
        rows: shape (n_obs, n_actions).

    Raises:
        SettingError: wrong shape, a negative entry, a row that does not sum to 1, mass on an illegal action.
    """
    shape = (len(setting.observations), len(setting.actions))
    if len(rows) != shape[0]:
        raise SettingError(f"{setting.name}: expected {shape[0]} rows, one per observation, got {len(rows)}")
    exact = []
    for index, row in enumerate(rows):
        where = f"{setting.name}: row {index} ({setting.observations[index]})"
        if len(row) != shape[1]:
            raise SettingError(f"{where}: expected {shape[1]} probabilities, got {len(row)}")
        try:
            values, _ = exact_row([entry.item() if isinstance(entry, np.generic) else entry for entry in row], where)
        except FormatError as error:
            raise SettingError(str(error)) from None
        illegal = [setting.actions[a] for a, v in enumerate(values) if v and not setting.legal[index, a]]
        if illegal:
            raise SettingError(f"{where}: puts mass on {illegal[0]!r}, which is not legal there")
        exact.append(tuple(values))
    return tuple(exact)


def table_rows(setting: World, table: Sequence[int]) -> ExactRows:
    """One-hot rows of a deterministic table, shape (n_obs,) of action indices."""
    if len(table) != len(setting.observations):
        raise SettingError(f"{setting.name}: expected {len(setting.observations)} actions, one each, got {len(table)}")
    count = len(setting.actions)
    for index, action in enumerate(table):
        if not 0 <= int(action) < count:
            raise SettingError(f"{setting.name}: entry {index} of the table: expected 0..{count - 1}, got {action}")
    one_hot = [[Fraction(int(a) == k) for k in range(count)] for a in table]
    return exact_rows(setting, one_hot)


def check_tables(setting: Setting, tables: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """The tables as an array and whether they are mixtures; a shape that fits neither form is refused."""
    tables = np.asarray(tables)
    n_obs, n_actions = setting.legal.shape
    if tables.ndim == 2 and tables.shape[1] == n_obs and np.issubdtype(tables.dtype, np.integer):
        return tables, False
    if tables.ndim == 3 and tables.shape[1:] == (n_obs, n_actions) and "mixture" in setting.leader_actions:
        return tables, True
    raise SettingError(
        f"{setting.name}: leader tables must be integers of shape (B, {n_obs})"
        + (f" or mixtures of shape (B, {n_obs}, {n_actions})" if "mixture" in setting.leader_actions else "")
        + f", got {tables.dtype} {tables.shape}"
    )


def check_legal(setting: Setting, tables: NDArray[Any]) -> None:
    """Refuse tables of the wrong form, or with an action that is not legal where it is taken."""
    tables, mixed = check_tables(setting, tables)
    if mixed:
        if tables.min() < 0 or abs(tables.sum(axis=-1) - 1).max() > 1e-9 or (tables > 0)[:, ~setting.legal].any():
            raise SettingError(f"{setting.name}: mixtures must be probabilities over legal actions")
        return
    n_obs, n_actions = setting.legal.shape
    inside = (tables >= 0) & (tables < n_actions)
    fine = inside & setting.legal[np.arange(n_obs), np.where(inside, tables, 0)]
    if not fine.all():
        episode, observation = np.argwhere(~fine)[0]
        action, label = tables[episode, observation], setting.observations[observation]
        raise SettingError(f"{setting.name}: table {episode} takes action {action} at {label!r}, which is not legal")


def reject_unknown(name: str, parameters: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse parameters the setting does not have, by name."""
    for key in parameters:
        if key not in known:
            offer = f"it has {', '.join(known)}" if known else "it has none"
            raise SettingError(f"setting {name!r} has no parameter {key!r}; {offer}")


def rows_as_text(rows: ExactRows) -> list[list[str]]:
    """Exact rows as "p/q" texts, the form leader files and JSON documents hold."""
    return [[str(p) for p in row] for row in rows]
