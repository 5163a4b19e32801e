"""`spverify train`: learn leaders, telling what happens on standard error.

Training itself is in `trained_leaders/`; nothing it reports is believed by an audit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

from ..trained_leaders.settings import asked_world
from ..verify.errors import UsageError
from .numerals import show

Say = Callable[[str], None]


def run_train(
    setting: str,
    *,
    parameters: dict[str, str],
    seeds: list[int],
    out: Path,
    quick: bool,
    resume: bool,
    say: Say,
    **options: Any,
) -> list[dict[str, Any]]:
    """Trains one leader a seed and returns the documents that `--json` prints."""
    asked_world(setting, parameters)  # a wrong name is refused before torch is loaded
    from ..trained_leaders.train import train_leader

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


def parse_seeds(text: str | None, first: int) -> list[int]:
    """Seeds from the command line: a count from ``first`` on, a list ``3,5``, or a range ``0-9``.

    Raises:
        UsageError: anything else, or a seed twice.

    Example:
        >>> parse_seeds(None, 7), parse_seeds("3", 0), parse_seeds("4,2", 0), parse_seeds("5-7", 0)
        ([7], [0, 1, 2], [4, 2], [5, 6, 7])
    """
    if text is None:
        return [first]
    low, dash, high = text.partition("-")
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in ([low, high] if dash else parts)):
        raise UsageError(f'--seeds: expected a count such as 10, a list "0,3" or a range "0-9", got {text!r}')
    if dash:
        seeds = list(range(int(low), int(high) + 1))
    elif len(parts) > 1:
        seeds = [int(part) for part in parts]
    else:
        seeds = list(range(first, first + int(text)))
    if not 0 < len(seeds) <= 1000 or len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds: expected 1 to 1000 seeds, each once, got {text!r}")
    return seeds


def _progress(say: Say) -> Callable[[dict[str, Any]], None]:
    """A line a second where somebody watches; nothing where standard error is a file."""
    if not sys.stderr.isatty():
        return lambda record: None
    last = monotonic()

    def tell(record: dict[str, Any]) -> None:
        nonlocal last
        if monotonic() - last < 1:
            return
        last = monotonic()
        best = record.get("best")
        shown = "" if best is None else f", best {show(best, 5)}"
        say(f"seed {record['seed']}, start {record['start'] + 1}, iteration {record['iteration']}{shown} …")

    return tell
