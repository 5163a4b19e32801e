"""`spverify bounds`: the proved interval of an objective over an equilibrium set, and its certificates.

The search is in `solvers/`, the proof in the kernel; the document follows docs/formats.md.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

from ..solvers.bounds import EquilibriumRange, Side, equilibrium_range
from ..verify.game import BayesianGame
from ..verify.plain import number_text
from .answer import Answer
from .numerals import outward


def bound_objective(
    game: BayesianGame,
    *,
    objective: str | None = None,
    equilibrium_set: str | None = None,
    epsilon: Fraction = Fraction(0),
    seconds: float = 60.0,
    out: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answer:
    """The proved interval of an objective over an equilibrium set (theory T4, T5).

    Args:
        game: the game.
        objective: ``leader``, ``welfare`` or ``player:I``; the leader's value if the game has one, else welfare.
        equilibrium_set: ``sf``, ``ns``, ``tc``, or None for sf where it closes in time, else ns.
        epsilon: largest interim regret allowed, payoff units.
        seconds: time budget.
        out: folder for the certificates.
        progress: told what is being done.
    """
    if objective is None:
        objective = "leader" if game.leader is not None else "welfare"
    start = monotonic()
    question: dict[str, Any] = {"objective": objective, "epsilon": epsilon, "progress": progress}
    found: EquilibriumRange
    if equilibrium_set is None:
        found = equilibrium_range(game, equilibrium_set="sf", seconds=seconds / 2, **question)
        if not found.proved:
            left = max(0.0, start + seconds - monotonic())
            found = equilibrium_range(game, equilibrium_set="ns", seconds=left, **question)
    else:
        found = equilibrium_range(game, equilibrium_set=equilibrium_set, seconds=seconds, **question)
    files: list[Path] = []
    sides = {
        name: _side(side, name, objective, found.equilibrium_set, out, files)
        for name, side in (("min", found.min), ("max", found.max))
    }
    document = {
        "command": "bounds",
        "game": game.name,
        "game_sha256": game.sha256,
        "objective": objective,
        "set": found.equilibrium_set,
        "epsilon": float(epsilon),
        "epsilon_exact": number_text(epsilon),
        **sides,
        "proved": found.proved,
        "method": found.method,
        "seconds": round(monotonic() - start, 3),
    }
    return Answer(document, tuple(files))


def _side(
    side: Side, name: str, objective: str, equilibrium_set: str, out: Path | None, files: list[Path]
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "outer": outward(side.outer, "down" if name == "min" else "up"),
        "inner": None if side.inner is None else float(side.inner),
        "inner_gap": None if side.inner_gap is None else float(side.inner_gap),
        "certificate": None,
        "outer_exact": number_text(side.outer),
        "inner_exact": None if side.inner is None else number_text(side.inner),
        "inner_gap_exact": None if side.inner_gap is None else number_text(side.inner_gap),
        "inner_certificate": None,
    }
    if out is None:
        return document
    stem = f"{objective.replace(':', '-')}-{equilibrium_set}-{name}"
    for key, certificate, kind in (
        ("certificate", side.certificate, "outer"),
        ("inner_certificate", side.inner_certificate, "inner"),
    ):
        if certificate is not None:
            path = out / f"{stem}-{kind}.cert.json"
            certificate.write(path)
            files.append(path)
            document[key] = str(path)
    return document
