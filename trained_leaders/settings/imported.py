"""A user's own setting, named `package.module:Attribute` (settings S7): imported only where the user named it.

Importing runs code, so a name that comes out of a file is never enough: `registry.get_world` asks for the same name
from the user. The attribute is a setting, or a class or function that makes one from the parameters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import getattr_static
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...verify.errors import SettingError, SpverifyError
from ...verify.game import BayesianGame, Player
from .setting import Followers, Outcome, Reference

MEMBERS = (
    "players", "prior", "observations", "actions", "legal", "leader_actions", "payoff_scale", "followers", "play",
    "tabulate", "references",
)  # fmt: skip


def is_import_name(name: str) -> bool:
    """Whether a setting's name has the form ``package.module:Attribute``."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


@dataclass(frozen=True)
class ImportedSetting:
    """A user's object with the setting protocol, under the name by which it is imported.

    Args:
        name: ``package.module:Attribute``.
        parameters: what it was made with.
        own: the object.
    """

    name: str
    parameters: dict[str, Any]
    own: Any

    @property
    def players(self) -> tuple[Player, ...]:
        return tuple(self.own.players)

    @property
    def prior(self) -> NDArray[np.object_]:
        return np.asarray(self.own.prior)

    @property
    def observations(self) -> tuple[str, ...]:
        return tuple(self.own.observations)

    @property
    def actions(self) -> tuple[str, ...]:
        return tuple(self.own.actions)

    @property
    def legal(self) -> NDArray[np.bool_]:
        return np.asarray(self.own.legal)

    @property
    def leader_actions(self) -> tuple[str, ...]:
        return tuple(self.own.leader_actions)

    @property
    def payoff_scale(self) -> float:
        return float(self.own.payoff_scale)

    @property
    def followers(self) -> Followers:
        followers: Followers = self.own.followers
        return followers

    def play(self, tables: NDArray[Any], types: NDArray[np.int64], actions: NDArray[np.int64]) -> Outcome:
        found = self._called("play", tables, types, actions)
        shapes = [np.shape(getattr(found, part, 0)) for part in ("followers", "leader", "observations")]
        count, n = types.shape
        if not isinstance(found, Outcome) or shapes[:2] != [(count, n), (count,)] or shapes[2][:1] != (count,):
            raise SettingError(
                f"{self.name}: play: expected an Outcome of followers {(count, n)}, leader {(count,)} and observations "
                f"({count}, steps), got {type(found).__name__} of {', '.join(map(str, shapes))}"
            )
        return found

    def tabulate(self, rows: Sequence[Sequence[Any]]) -> BayesianGame:
        found = self._called("tabulate", rows)
        if not isinstance(found, BayesianGame) or found.leader is None:
            raise SettingError(f"{self.name}: tabulate: expected a BayesianGame with the leader's payoff")
        return found

    def references(self) -> list[Reference]:
        found = self._called("references")
        if not isinstance(found, (list, tuple)) or not all(isinstance(item, Reference) for item in found):
            raise SettingError(f"{self.name}: references: expected a list of Reference")
        return list(found)

    def _called(self, method: str, *arguments: Any) -> Any:
        """What the user's method returns; whatever it raises is the user's affair, told in one sentence."""
        try:
            return getattr(self.own, method)(*arguments)
        except SpverifyError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {_first_line(error)}"
            raise SettingError(f"{self.name}: {method} failed: {what}") from error


def import_setting(name: str, parameters: Mapping[str, Any]) -> ImportedSetting:
    """Import a setting and check its parts; the current folder is searched last.

    Raises:
        SettingError: it cannot be imported or made, or a part of it is missing or of the wrong form.
    """
    module_name, _, attribute = name.partition(":")
    folder = os.getcwd()
    sys.path.append(folder)
    try:
        found: Any = import_module(module_name)
    except Exception as error:  # whatever the user's module raises
        raise SettingError(f"cannot import {module_name!r}: {type(error).__name__}: {_first_line(error)}") from error
    finally:
        sys.path.remove(folder)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SettingError(f"module {module_name!r} has no {attribute!r}")
        found = getattr(found, part)
    if isinstance(found, type) or (callable(found) and _missing(found)):
        try:
            found = found(**parameters)
        except Exception as error:
            raise SettingError(f"{name} cannot be made: {type(error).__name__}: {_first_line(error)}") from error
    elif parameters and not _missing(found):
        raise SettingError(f"{name} is a setting already and has no parameter {next(iter(parameters))!r}")
    return _checked(name, dict(parameters), found)


def _checked(name: str, parameters: dict[str, Any], found: Any) -> ImportedSetting:
    missing = _missing(found)
    if missing:
        raise SettingError(f"{name} is no setting: it has no {missing[0]!r}")
    setting = ImportedSetting(name, parameters, found)
    try:
        players, prior, legal = setting.players, setting.prior, setting.legal
        types = tuple(len(player.types) for player in players)
        form = (len(setting.observations), len(setting.actions))
        demands = (
            (len(players) > 0, "players: expected at least one Player"),
            (prior.shape == types, f"prior: expected shape {types}, one axis a player, got {prior.shape}"),
            (prior.shape == types and prior.sum() == 1, "prior: expected exact probabilities (Fractions) of sum 1"),
            (len(set(setting.observations)) == form[0] > 0, "observations: expected distinct labels"),
            (len(set(setting.actions)) == form[1] > 0, "actions: expected distinct labels"),
            (legal.shape == form and legal.dtype == bool, f"legal: expected booleans of shape {form}"),
            (legal.shape == form and legal.any(axis=1).all(), "legal: expected a legal action at each observation"),
            (
                {*setting.leader_actions} <= {"pure", "mixture"} and "pure" in setting.leader_actions,
                "leader_actions: expected ('pure',) or ('pure', 'mixture')",
            ),
            (0 < setting.payoff_scale < float("inf"), "payoff_scale: expected a positive number"),
            (isinstance(setting.followers, Followers), "followers: expected a Followers"),
        )
    except Exception as error:
        raise SettingError(f"{name} is no setting: {type(error).__name__}: {_first_line(error)}") from error
    for fine, sentence in demands:
        if not fine:
            raise SettingError(f"{name} is no setting: {sentence}")
    return setting


def _missing(found: Any) -> list[str]:
    """Members that the object lacks; none of them is evaluated."""
    return [member for member in MEMBERS if getattr_static(found, member, None) is None]


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no message"])[0][:200]
