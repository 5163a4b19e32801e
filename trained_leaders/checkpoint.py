"""Writing `leader.pt`: a torch file for `weights_only=True`, checked by our own reader before it is kept.

The document: format and version; the setting with its parameters; the policy (kind "table" or "network",
    its parametrisation, and the table it comes to); the tensors; the training record; the trainer's claims.
    Reading is in `leader_file.py`, which needs no torch.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import SettingError
from ..verify.formats import write_atomic
from .leader_file import FORMAT, VERSION, LeaderFile, check_document, parse_leader_bytes, read_leader
from .settings import World, asked_world, exact_rows, rows_as_text, table_rows

__all__ = ["LeaderFile", "read_leader", "save_leader_table", "table_policy", "write_leader"]


def write_leader(
    path: str | Path,
    *,
    setting: World,
    policy: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]] | None = None,
    training: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
) -> None:
    """Write a leader file atomically.

    Args:
        setting: the world the leader was made for.
        policy: see `leader_file.LeaderFile`; `table` (action indices) or `rows` ("p/q" texts) is the
            mechanism.
        tensors: network weights by name, float32 or float64.
        training, claims: the trainer's record and claims; an audit treats them as data to be checked.

    Raises:
        LeaderFileError: the parts do not make a valid leader file.
    """
    import torch

    document = {
        "format": FORMAT,
        "version": VERSION,
        "setting": {"name": setting.name, "parameters": dict(setting.parameters)},
        "policy": dict(policy),
        "tensors": {name: torch.from_numpy(np.array(array, order="C")) for name, array in (tensors or {}).items()},
        "training": dict(training or {}),
        "claims": dict(claims or {}),
    }
    buffer = io.BytesIO()
    torch.save(document, buffer)
    data = buffer.getvalue()
    check_document(parse_leader_bytes(data), sha256="", size=len(data))  # never write what we would refuse to read
    write_atomic(path, data)


def save_leader_table(
    path: str | Path,
    setting: World | str,
    mechanism: Sequence[Any],
    *,
    parameters: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
) -> None:
    """Save a leader that nobody trained, so that it can be audited like any other.

    Args:
        setting: a setting, or its name with `parameters`.
        mechanism: one action index per observation, or one row of probabilities per observation (numbers or
            "p/q").

    Raises:
        SettingError: the mechanism does not fit the setting.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_leader_table(pathlib.Path(folder) / "row0.pt", "maintain", [["1/4", "3/4", 0]])
        ...     read_leader(pathlib.Path(folder) / "row0.pt").policy["rows"]
        [['1/4', '3/4', '0']]
    """
    world = asked_world(setting, parameters) if isinstance(setting, str) else setting
    write_leader(path, setting=world, policy=table_policy(world, mechanism), training=training, claims=claims)


def table_policy(setting: World, mechanism: Sequence[Any]) -> dict[str, Any]:
    """The policy of a leader file that is a table: action indices, or rows of probabilities, one an observation.

    Raises:
        SettingError: a mechanism that does not fit the setting.
    """
    if all(isinstance(entry, int | np.integer) for entry in mechanism):
        table_rows(setting, [int(entry) for entry in mechanism])
        return {"kind": "table", "leader_action": "pure", "table": [int(entry) for entry in mechanism]}
    if "mixture" not in setting.leader_actions:
        raise SettingError(f"{setting.name}: this leader commits to pure actions, not to mixtures")
    rows = exact_rows(setting, mechanism)
    return {"kind": "table", "leader_action": "mixture", "rows": rows_as_text(rows)}
