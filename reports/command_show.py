"""`spverify show` and `spverify settings`: what a leader file contains, and what can be trained.

A leader file is opened by the same child process as in an audit; nothing in it is believed here, only shown.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..trained_leaders.settings import (
    DynamicSetting,
    Setting,
    World,
    get_setting,
    get_world,
    list_dynamic_settings,
    list_settings,
)
from ..trained_leaders.tabulate import Tabulation, inspect_leader
from ..verify.errors import UnreadableError, UsageError
from ..verify.plain import number_text

ZOO = "zoo:"


def leader_path(text: str) -> Path:
    """The file that a name on the command line means; ``zoo:NAME`` is a shipped leader.

    Raises:
        UsageError: no shipped leader has that name.
        UnreadableError: standard input, which a leader cannot come from, or no file.
    """
    if text == "-":
        raise UnreadableError("a leader is read from a file, not from standard input", path=text)
    if not text.startswith(ZOO):
        path = Path(text)
        if not path.exists():
            raise UnreadableError("no such file", path=text)
        if path.is_dir():
            raise UnreadableError("expected a file, found a directory", path=text)
        return path
    from ..trained_leaders.zoo import zoo_path

    try:
        return Path(zoo_path(text.removeprefix(ZOO)))
    except KeyError as error:
        raise UsageError(str(error)) from None


def leader_name(text: str) -> str:
    """A short name for titles and folders."""
    return text.removeprefix(ZOO) if text.startswith(ZOO) else Path(text).stem


def mechanism_table(leader: Tabulation) -> list[dict[str, Any]]:
    """What the leader does at each observation: its actions with their exact probabilities, likeliest first."""
    table = []
    for label, row in zip(leader.observations, leader.rows, strict=True):
        cells = [(p, a) for a, p in enumerate(row) if p]
        cells.sort(key=lambda cell: (-cell[0], cell[1]))
        table.append(
            {
                "observation": label,
                "actions": [
                    {"action": leader.actions[a], "probability": float(p), "exact": number_text(p)} for p, a in cells
                ],
            }
        )
    return table


def show_document(leader: str, allow_import: str | None = None) -> dict[str, Any]:
    """What ``spverify show`` prints with ``--json``."""
    found = inspect_leader(leader_path(leader), allow_import=allow_import)
    return {
        "command": "show",
        "leader": leader,
        "sha256": found.sha256,
        "bytes": found.size,
        "setting": {"name": found.setting, "parameters": found.parameters},
        "policy": {
            "kind": found.policy_kind,
            "leader_action": found.leader_action,
            "network_agrees_with_table": found.network_agrees,
            "origin": found.commitment["origin"],
        },
        "players": _players(found),
        "mechanism": mechanism_table(found),
        "training": found.training,
        "claims": found.claims,
    }


def _players(found: Tabulation) -> list[dict[str, Any]]:
    world = found.dynamic_world
    if world is None:
        return [{"name": p.name, "types": list(p.types), "actions": list(p.actions)} for p in found.game.players]
    game, labels = world.unfold([row.index(1) for row in found.rows])[0], [label for label, _ in world.scenarios]
    return [
        {"name": name, "types": labels, "actions": list(own)}
        for name, own in zip(game.players, game.actions, strict=True)
    ]


def settings_document() -> dict[str, Any]:
    """What ``spverify settings`` prints with ``--json``."""
    rows = [_one_shot(get_setting(name)) for name in list_settings()]
    for name in list_dynamic_settings():
        world = get_world(name)
        assert isinstance(world, DynamicSetting)
        rows.append(_dynamic(world))
    return {"command": "settings", "settings": rows}


def _one_shot(setting: Setting) -> dict[str, Any]:
    followers = setting.followers
    return {
        "name": setting.name,
        "dynamic": False,
        "followers": len(setting.players),
        "types": [len(player.types) for player in setting.players],
        "follower_actions": [len(player.actions) for player in setting.players],
        **_shared(setting),
        "updates": followers.updates,
        "epsilon": followers.epsilon,
    }


def _dynamic(setting: DynamicSetting) -> dict[str, Any]:
    """A setting whose play goes on; its "types" are what followers know and the leader never sees."""
    game, learner = setting.unfold([0] * len(setting.observations))[0], setting.learner
    return {
        "name": setting.name,
        "dynamic": True,
        "followers": len(game.players),
        "types": [len(setting.scenarios)] * len(game.players),
        "follower_actions": [len(own) for own in game.actions],
        **_shared(setting),
        "states": len(game.states),
        "rounds": game.rounds,
        "updates": setting.periods,
        "epsilon": None,
        "learner": asdict(learner),
    }


def _shared(setting: World) -> dict[str, Any]:
    return {
        "observations": len(setting.observations),
        "leader_actions": len(setting.actions),
        "leader_action": list(setting.leader_actions),
        "payoff_scale": setting.payoff_scale,
        "parameters": setting.parameters,
        "references": [
            {
                "name": reference.name,
                "value": float(reference.value),
                "value_exact": number_text(reference.value),
                "kind": reference.kind,
                "text": reference.text,
            }
            for reference in setting.references()
        ],
    }
