"""`spverify train`: learn leaders, telling what happens on standard error.

Training itself is in `trained_leaders/`; nothing it reports is believed by an audit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from ..trained_leaders.hyper import parse_hyper
from ..trained_leaders.settings import DynamicSetting, asked_world
from ..verify.errors import UsageError
from ..verify.numerals import show
from .answer import check_folder

Say = Callable[[str], None]
# Followers of the paper's versions (settings S4 and follower parameters): learning rate, and who gets a tie of prices.
PAPER_RATES = {4: 0.01, 5: 0.1}
PAPER_TIES = {4: "buy", 5: "reject"}
LARGEST_SEED = 2**62
"""A leader file keeps seeds, and seeds derived from them, in 64 bits."""


def run_train(
    setting: str,
    *,
    parameters: dict[str, str],
    hyper: dict[str, str],
    paper: int | None,
    device: str | None,
    seeds: list[int],
    out: Path,
    tensorboard: Path | None,
    say: Say,
    **options: Any,
) -> list[dict[str, Any]]:
    """Trains one leader a seed and returns the documents that `--json` prints.

    Args:
        hyper: hyper-parameters by name, as text.
        paper: 4 or 5, the version of the paper whose followers are meant.
        device: "cpu" or "cuda".
        out, tensorboard: the leader file, and a folder for event files; looked at before anything is trained.
    """
    if not out.name or out.is_dir():
        raise UsageError(f"--out: expected a file to write, but {out} is a folder")
    check_folder(out.parent)
    check_folder(tensorboard, "--tensorboard")
    overrides = parse_hyper(hyper) | ({} if device is None else {"device": device})
    world = asked_world(setting, parameters)  # a wrong name is refused before torch is loaded
    if paper is not None:
        if isinstance(world, DynamicSetting):
            raise UsageError(f"--paper {paper}: followers of {setting} are Q-learners, the same in both versions")
        overrides = {"epsilon": PAPER_RATES[paper]} | overrides
        if "tie" in world.parameters:
            parameters = {"tie": PAPER_TIES[paper]} | parameters
    from ..trained_leaders.train import train_leader

    return train_leader(
        setting,
        parameters=parameters,
        overrides=overrides,
        seeds=seeds,
        out=out,
        tensorboard=tensorboard,
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
    text = "1" if text is None else text
    low, dash, high = text.partition("-")
    parts = text.split(",")
    if not all(part.strip().isdecimal() and len(part) < 20 for part in ([low, high] if dash else parts)):
        raise UsageError(f'--seeds: expected a count such as 10, a list "0,3" or a range "0-9", got {text!r}')
    seeds: Sequence[int]
    if dash:
        seeds = range(int(low), int(high) + 1)
    elif len(parts) > 1:
        seeds = [int(part) for part in parts]
    else:
        seeds = range(first, first + int(text))
    if not seeds or len(seeds[:1001]) > 1000 or len(set(seeds)) != len(seeds):
        raise UsageError(f"--seeds: expected 1 to 1000 seeds, each once, got {text!r}")
    if max(seeds) > LARGEST_SEED:
        raise UsageError(f"expected seeds up to {LARGEST_SEED}, got {max(seeds)}")
    return list(seeds)


class _Watch:
    """Tells a line a second, with the time left by what was done since it began to look."""

    def __init__(self, say: Say) -> None:
        self._say, self._told = say, float("-inf")
        self._began, self._first, self._share = monotonic(), 0.0, 2.0

    def __call__(self, record: dict[str, Any]) -> None:
        now, share = monotonic(), record["share"]
        if share < self._share:  # a seed's first record; it may have been taken up where it stopped
            self._began, self._first = now, share
        self._share = share
        if now - self._told < 1:
            return
        self._told = now
        left = (now - self._began) * (1 - share) / (share - self._first) if share > self._first else None
        self._say(progress_line(record, left))


def progress_line(record: dict[str, Any], left: float | None) -> str:
    """Where a training stands, in a line.

    Example:
        >>> progress_line({"seed": 0, "start": 1, "iteration": 7, "best": 0.5, "value": 0.5, "gap": 0.0}, 90.0)
        'seed 0, start 2, iteration 7: value 0.5, gap 0, at most 2 min left'
    """
    text = f"seed {record['seed']}, start {record['start'] + 1}, iteration {record['iteration']}"
    if "value" in record:
        text += f": value {show(record['value'], 5)}, gap {show(record['gap'], 2, 'up')}"
    elif record.get("best") is not None:
        text += f": objective {show(record['best'], 5)}"
    if left is not None:
        text += f", at most {left:.0f} s left" if left < 60 else f", at most {left / 60:.0f} min left"
    return text


def _progress(say: Say) -> Callable[[dict[str, Any]], None]:
    """Where somebody watches; nothing where standard error is a file."""
    return _Watch(say) if sys.stderr.isatty() else lambda record: None
