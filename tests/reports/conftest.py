"""Leaders written by hand, and the command line as a function."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from spverify.reports.cli import run

FOLLOWERS = {"updates": 100, "epsilon": 0.1, "types": "sampled", "opponents": "sampled"}
PRICES = [14, 0, 10, 15, 0, 10, 3, 0, 10, 3, 6, 16]
"""A table for mspm-pi: action 10 k + j offers buyer k the j-th price; asked with both, with 0, with 1 left."""

TRAINING = {"followers": FOLLOWERS, "horizon": 100, "readout": "argmax"}


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)


@dataclass(frozen=True)
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as exactly one JSON document."""
        return json.loads(self.out)


@pytest.fixture
def spverify(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command line in this process."""

    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture(scope="session")
def leader_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a leader that nobody trained."""
    from spverify.trained_leaders.checkpoint import save_leader_table

    folder = tmp_path_factory.mktemp("leaders")

    def write(name: str, setting: str, mechanism: list[Any], **parts: Any) -> Path:
        path = folder / f"{name}.pt"
        save_leader_table(path, setting, mechanism, training=parts.pop("training", TRAINING), **parts)
        return path

    return write
