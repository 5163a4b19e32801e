"""Shipped leaders, each beside a card with the command that made it, all seeds and their results.

`NAME.pt` is the leader, `NAME.md` its card. Bad leaders are shipped too, and say so: an audit must refute something.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from ...verify.errors import UsageError


def list_zoo() -> list[str]:
    """Names of the shipped leaders."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.pt"))


def zoo_path(name: str) -> Path:
    """The file of a shipped leader.

    Raises:
        UsageError: no shipped leader has that name; the nearest one is offered.

    Example:
        >>> zoo_path("maintain").name
        'maintain.pt'
    """
    names = list_zoo()
    if name not in names:
        near = get_close_matches(name, names, n=1, cutoff=0.0)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise UsageError(f"no shipped leader is called {name!r}{hint}")
    return Path(__file__).parent / f"{name}.pt"
