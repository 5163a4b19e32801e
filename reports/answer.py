"""What a command answers: one JSON document, and the files it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer: ``document`` is what `--json` prints, ``files`` the paths written."""

    document: dict[str, Any]
    files: tuple[Path, ...] = ()


def is_file(objective: str) -> bool:
    """Whether an objective is the name of an array file rather than one of the words."""
    return objective.endswith((".npy", ".json"))
