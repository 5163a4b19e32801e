"""`spverify train`: learn leaders, telling what happens on standard error.

Training itself is in `trained_leaders/`; nothing it reports is believed by an audit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..trained_leaders.api import train_leader


def run_train(
    setting: str,
    *,
    parameters: dict[str, str],
    seeds: list[int],
    out: Path,
    quick: bool,
    resume: bool,
    say: Callable[[str], None],
    **options: Any,
) -> list[dict[str, Any]]:
    """Trains one leader a seed and returns the documents that `--json` prints."""
    return train_leader(
        setting,
        parameters=parameters,
        seeds=seeds,
        out=out,
        quick=quick,
        resume=resume,
        progress=_progress(say),
        **options,
    )


def _progress(say: Callable[[str], None]) -> Callable[[dict[str, Any]], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda event: say(", ".join(f"{key} {value}" for key, value in event.items()))
