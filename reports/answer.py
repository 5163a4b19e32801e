"""What a command answers: one JSON document, and the files it wrote."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..verify.errors import UsageError


@dataclass(frozen=True)
class Answer:
    """One answer: ``document`` is what `--json` prints, ``files`` the paths written.

    ``interrupted``: the user stopped the work, and this is what was known by then.
    """

    document: dict[str, Any]
    files: tuple[Path, ...] = ()
    interrupted: bool = False


def check_folder(out: Path | None, option: str = "--out") -> None:
    """Refuses, before any work is done, a place that cannot become a folder to write to.

    Args:
        out: the folder; None for none.
        option: what the message calls it.

    Raises:
        UsageError: a file stands there or above it, or the folder cannot be written.
    """
    if out is None:
        return
    place = next(place for place in (out, *out.absolute().parents) if os.path.lexists(place))
    if not place.is_dir():
        raise UsageError(f"{option}: expected a folder, but {place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UsageError(f"{option}: the folder {place} cannot be written")


def is_file(objective: str) -> bool:
    """Whether an objective is the name of an array file rather than one of the words."""
    return objective.endswith((".npy", ".json"))
