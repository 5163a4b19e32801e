"""Settings by name. Unknown names and parameters are refused; nothing is imported by name unless the user named it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from fractions import Fraction
from functools import partial
from typing import Any, TypeVar

from ...verify.errors import FormatError, SettingError
from ...verify.plain import parse_number
from .allocation import SimpleAllocation
from .design import MatrixDesign
from .dynamic import DynamicSetting
from .imported import import_setting, is_import_name
from .matrix import registered_matrix_games
from .platform import platforms
from .prices import SequentialPrices, correlated_buyers, example_buyers, uniform_grid
from .repeated import coordination, repeated_games
from .setting import Setting, reject_unknown

AnySetting = TypeVar("AnySetting", Setting, DynamicSetting)


def _plain(name: str, make: Callable[[], AnySetting], parameters: Mapping[str, Any]) -> AnySetting:
    reject_unknown(name, parameters, ())
    return make()


def _same(game: AnySetting) -> AnySetting:
    return game


def _prices(name: str, make: Callable[[], SequentialPrices], parameters: Mapping[str, Any]) -> Setting:
    reject_unknown(name, parameters, ("messages", "tie", "prices"))
    changes: dict[str, Any] = {}
    if "messages" in parameters:
        changes["messages"] = _whole(name, "messages", parameters["messages"])
    if "tie" in parameters:
        changes["tie"] = parameters["tie"]
    if "prices" in parameters:
        changes["prices"] = _numbers(name, "prices", parameters["prices"])
    return replace(make(), **changes)


def _grid(size: int, parameters: Mapping[str, Any]) -> Setting:
    return _prices(f"mspm-grid-{size}", partial(uniform_grid, size), parameters)


def _allocation(messages: int, parameters: Mapping[str, Any]) -> Setting:
    name = f"simple-allocation-{messages}"
    reject_unknown(name, parameters, ("types",))
    return SimpleAllocation(messages, **{key: _whole(name, key, given) for key, given in parameters.items()})


def _design(name: str, parameters: Mapping[str, Any]) -> Setting:
    reject_unknown(name, parameters, ("bonuses",))
    return MatrixDesign(_numbers(name, "bonuses", parameters["bonuses"])) if parameters else MatrixDesign()


def _coordination(name: str, parameters: Mapping[str, Any]) -> DynamicSetting:
    reject_unknown(name, parameters, ("x",))
    if "x" not in parameters:
        return coordination()
    numbers = _numbers(name, "x", parameters["x"] if isinstance(parameters["x"], str) else [parameters["x"]])
    if len(numbers) != 1:
        raise SettingError(f"setting {name!r}: x must be one number, got {parameters['x']!r}")
    if abs(numbers[0]) > 10**9:
        raise SettingError(f"setting {name!r}: x must be at most a billion in size, got {parameters['x']}")
    return coordination(numbers[0])


def _numbers(name: str, key: str, given: Any) -> tuple[Fraction, ...]:
    listed = given.split(",") if isinstance(given, str) else given
    try:
        numbers = tuple(sorted({parse_number(number) for number in listed}))
    except (TypeError, FormatError) as error:
        raise SettingError(f"setting {name!r}: {key} must be numbers such as 0.01 or 1/3, got {given!r}") from error
    if not numbers:
        raise SettingError(f"setting {name!r}: {key} must not be empty")
    return numbers


def _whole(name: str, key: str, given: Any) -> int:
    try:
        if isinstance(given, bool | float):
            raise ValueError
        return int(given)
    except (TypeError, ValueError) as error:
        raise SettingError(f"setting {name!r}: {key} must be a whole number, got {given!r}") from error


def _registry() -> dict[str, Callable[[Mapping[str, Any]], Setting]]:
    makers: dict[str, Callable[[Mapping[str, Any]], Setting]] = {}
    for name, game in registered_matrix_games().items():
        makers[name] = partial(_plain, name, partial(_same, game))
    makers["matrix-design"] = partial(_design, "matrix-design")
    for messages in (1, 2, 3):
        makers[f"simple-allocation-{messages}"] = partial(_allocation, messages)
    makers["mspm-pi"] = partial(_prices, "mspm-pi", example_buyers)
    makers["mspm-correlated-pi"] = partial(_prices, "mspm-correlated-pi", correlated_buyers)
    for size in (3, 4, 5, 6):
        makers[f"mspm-grid-{size}"] = partial(_grid, size)
    return makers


# Names that end in a number: any other number is a setting too.
FAMILIES: dict[str, Callable[[int, Mapping[str, Any]], Setting]] = {
    "simple-allocation-": _allocation,
    "mspm-grid-": _grid,
}


def _of_family(name: str) -> Callable[[Mapping[str, Any]], Setting] | None:
    for stem, make in FAMILIES.items():
        number = str(name).removeprefix(stem)
        if number != name and number.isascii() and number.isdigit() and len(number) < 4 and number[0] != "0":
            return partial(make, int(number))
    return None


def _dynamic() -> dict[str, Callable[[Mapping[str, Any]], DynamicSetting]]:
    makers: dict[str, Callable[[Mapping[str, Any]], DynamicSetting]] = {}
    for name, game in (platforms() | repeated_games()).items():
        makers[name] = partial(_plain, name, partial(_same, game))
    makers["repeated-coordination"] = partial(_coordination, "repeated-coordination")
    return makers


def list_settings() -> list[str]:
    """Names of the one-shot settings, whose leaders are tabulated into a Bayesian game."""
    return list(_registry())


def list_dynamic_settings() -> list[str]:
    """Names of the settings whose play goes on."""
    return list(_dynamic())


def has_setting(name: str) -> bool:
    """Whether `get_world` knows this name, without importing anything.

    Example:
        >>> has_setting("mspm-grid-8"), has_setting("mspm-grid-x")
        (True, False)
    """
    return name in _registry() or name in _dynamic() or _of_family(name) is not None


def get_setting(name: str, parameters: Mapping[str, Any] | None = None, *, allow_import: str | None = None) -> Setting:
    """The one-shot setting of that name.

    Args:
        name: one of `list_settings()`, ``simple-allocation-M`` or ``mspm-grid-T`` for other numbers of messages and
            values, or ``package.module:Attribute``.
        parameters: values by name, as in the leader file or from `--set-param name=value` (text is
            understood).
        allow_import: the one setting that may be imported, if `name` is it: what the user typed, not what a file says.

    Raises:
        SettingError: an unknown name (the nearest one is offered), a dynamic setting, a setting that would have to be
            imported and may not, or a parameter the setting cannot have.

    Example:
        >>> get_setting("mspm-pi").first_best
        Fraction(11, 25)
    """
    world = get_world(name, parameters, allow_import=allow_import)
    if isinstance(world, DynamicSetting):
        raise SettingError(f"{name} is a dynamic setting: its followers' game is not one Bayesian game")
    return world


def get_world(
    name: str, parameters: Mapping[str, Any] | None = None, *, allow_import: str | None = None
) -> Setting | DynamicSetting:
    """The setting of that name, one-shot or dynamic; otherwise as `get_setting`.

    Example:
        >>> get_world("repeated-coordination", {"x": "-5"}).parameters
        {'x': '-5'}
    """
    registry, dynamic = _registry(), _dynamic()
    given = dict(parameters or {})
    if name in dynamic:
        return dynamic[name](given)
    make = registry.get(name) or _of_family(name)
    if make is not None:
        return make(given)
    if is_import_name(name):
        if allow_import == name:
            return import_setting(name, given)
        raise SettingError(
            f"{name!r} is a setting that has to be imported, which runs its code: if you trust it, say so with "
            f"--allow-import {name}"
        )
    near = get_close_matches(str(name), [*registry, *dynamic], n=1, cutoff=0.0)
    raise SettingError(f"unknown setting {name!r}; the nearest is {near[0]!r}, `spverify settings` lists all")


def asked_world(name: str, parameters: Mapping[str, Any] | None = None) -> Setting | DynamicSetting:
    """The setting that a user typed the name of, which may be one to import."""
    return get_world(name, parameters, allow_import=name)


def asked_setting(setting: Setting | str) -> Setting:
    """The one-shot setting that a user means: an object as it is, or a name, which may be one to import."""
    return get_setting(setting, allow_import=setting) if isinstance(setting, str) else setting
