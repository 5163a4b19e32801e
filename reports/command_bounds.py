"""`spverify bounds`: the proved interval of an objective over an equilibrium set, and its certificates.

The search is in `solvers/`, the proof in the kernel; the document follows docs/formats.md. An objective may be a file,
the range may be asked for along a curve of epsilons, and each end says which deviations hold it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from ..solvers.bounds import EquilibriumRange, Side, equilibrium_range, range_curve
from ..solvers.coalition import CoalitionEnd, coalition_range
from ..solvers.explain import dual_prices
from ..verify.errors import FormatError, UnreadableError
from ..verify.formats import read_json
from ..verify.game import BayesianGame
from ..verify.numerals import outward
from ..verify.plain import Tensor, number_text, parse_tensor
from .answer import Answer, is_file


def bound_objective(
    game: BayesianGame,
    *,
    objective: str | None = None,
    equilibrium_set: str | None = None,
    epsilon: Fraction = Fraction(0),
    seconds: float = 60.0,
    memory: float | None = None,
    method: str = "auto",
    curve: Sequence[Fraction] = (),
    coalition: Sequence[int] = (),
    slack: Fraction = Fraction(0),
    out: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Answer:
    """The proved interval of an objective over an equilibrium set (theory T4, T5).

    Args:
        game: the game.
        objective: ``leader``, ``welfare``, ``player:I``, or a file (see `read_objective`); the leader's value if the
            game has one, else welfare.
        equilibrium_set: ``sf``, ``ns``, ``tc``, or None for sf where it closes in time, else ns.
        epsilon: largest interim regret allowed, payoff units.
        seconds: time budget; the curve gets as much again.
        memory: GiB that the linear programs may take; None for no limit.
        method: how to search, see `equilibrium_range`; other than ``auto`` only with a set.
        curve: further epsilons at which the range is wanted.
        coalition: players; the range among the equilibria that are best for them together as well, for as much time.
        slack: how much less than their joint optimum they put up with, payoff units.
        out: folder for the certificates.
        progress: told what is being done.
    """
    if objective is None:
        objective = "leader" if game.leader is not None else "welfare"
    start = monotonic()
    aim: str | Tensor = read_objective(objective, game) if is_file(objective) else objective
    if not isinstance(aim, str):
        objective = "custom"
    question: dict[str, Any] = {"objective": aim, "epsilon": epsilon, "memory": memory, "method": method}
    question["progress"] = progress
    found: EquilibriumRange
    if equilibrium_set is None:
        found = equilibrium_range(game, equilibrium_set="sf", seconds=seconds / 2, **question)
        if not (found.proved or found.interrupted):
            left = max(0.0, start + seconds - monotonic())
            found = equilibrium_range(game, equilibrium_set="ns", seconds=left, **question)
    else:
        found = equilibrium_range(game, equilibrium_set=equilibrium_set, seconds=seconds, **question)
    files: list[Path] = []
    sides = {
        name: _side(game, side, name, objective, found.equilibrium_set, out, files)
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
        "closed": found.closed,
        "method": found.method,
        "seconds": round(monotonic() - start, 3),
    }
    if found.interrupted:
        return Answer(document, tuple(files), interrupted=True)
    if curve:
        options: dict[str, Any] = {"seconds": seconds, "memory": memory, "method": method, "progress": progress}
        points = range_curve(game, curve, objective=aim, equilibrium_set=found.equilibrium_set, **options)
        document["curve"] = [_point(point) for point in points]
        if any(point.interrupted for point in points):
            return Answer(document, tuple(files), interrupted=True)
        document["seconds"] = round(monotonic() - start, 3)
    if coalition:
        document["coalition"] = _coalition(
            game, aim, found.equilibrium_set, epsilon, coalition, slack, seconds, out, files
        )
        document["seconds"] = round(monotonic() - start, 3)
    return Answer(document, tuple(files))


def _coalition(
    game: BayesianGame,
    aim: str | Tensor,
    which: str,
    epsilon: Fraction,
    players: Sequence[int],
    slack: Fraction,
    seconds: float,
    out: Path | None,
    files: list[Path],
) -> dict[str, Any]:
    """What the players together could take, or leave: the range among the equilibria that are best for them."""
    question: dict[str, Any] = {"objective": aim, "equilibrium_set": which, "epsilon": epsilon, "slack": slack}
    found = coalition_range(game, players, seconds=seconds, **question)
    joint = found.joint
    document: dict[str, Any] = {
        "players": list(found.coalition),
        "slack_exact": number_text(slack),
        "joint": {
            "outer": outward(joint.outer, "up"),
            "outer_exact": number_text(joint.outer),
            "inner_exact": None if joint.inner is None else number_text(joint.inner),
            "certificate": None,
            "inner_certificate": None,
        },
        "threshold_exact": number_text(found.threshold),
        "proved": found.proved,
    }
    proofs = {"joint": (joint.certificate, joint.inner_certificate)}
    for name, end in (("min", found.min), ("max", found.max)):
        shown = end_document(end, "down" if name == "min" else "up")
        document[name] = {**shown, "certificate": None, "inner_certificate": None}
        proofs[name] = (end.certificate, end.inner_certificate)
    if out is not None:
        for name, pair in proofs.items():
            for key, certificate, kind in zip(
                ("certificate", "inner_certificate"), pair, ("outer", "inner"), strict=True
            ):
                if certificate is not None:
                    path = out / f"coalition-{which}-{name}-{kind}.cert.json"
                    certificate.write(path)
                    files.append(path)
                    document[name][key] = str(path)
    return document


def end_document(end: CoalitionEnd, direction: str) -> dict[str, Any]:
    """One end of a coalition's range, rounded outwards and exact."""
    return {
        "outer": outward(end.outer, direction),
        "outer_exact": number_text(end.outer),
        "inner_exact": None if end.inner is None else number_text(end.inner),
        "inner_gap_exact": None if end.inner_gap is None else number_text(end.inner_gap),
        "price_exact": number_text(end.price),
    }


def read_objective(path: str, game: BayesianGame) -> Tensor:
    """A linear objective w(types, actions) from a ``.json`` file (nested lists, exact) or an ``.npy`` file (doubles).

    Axes are the game's (types.., actions..); an axis of length 1 broadcasts.

    Raises:
        UnreadableError, FormatError: no such file, or other axes or numbers.
    """
    values: Any
    if path.endswith(".npy"):
        try:
            values = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise UnreadableError(f"expected a numpy array of numbers: {error}", path=path) from None
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
            raise FormatError("expected one array of real numbers", path=path)
        values = values.tolist()
    else:
        values = read_json(path)
    try:
        return parse_tensor(values, game.shape, "objective")
    except FormatError as error:
        raise error.at(path) from None


def _point(found: EquilibriumRange) -> dict[str, Any]:
    """One point of the curve, its ends rounded outwards."""
    return {
        "epsilon": float(found.epsilon),
        "epsilon_exact": number_text(found.epsilon),
        "min": outward(found.min.outer, "down"),
        "max": outward(found.max.outer, "up"),
        "min_exact": number_text(found.min.outer),
        "max_exact": number_text(found.max.outer),
        "proved": found.proved,
        "closed": found.closed,
    }


def _side(
    game: BayesianGame, side: Side, name: str, objective: str, equilibrium_set: str, out: Path | None, files: list[Path]
) -> dict[str, Any]:
    prices = dual_prices(side, game)
    document: dict[str, Any] = {
        "outer": outward(side.outer, "down" if name == "min" else "up"),
        "inner": None if side.inner is None else float(side.inner),
        "inner_gap": None if side.inner_gap is None else float(side.inner_gap),
        "certificate": None,
        "outer_exact": number_text(side.outer),
        "inner_exact": None if side.inner is None else number_text(side.inner),
        "inner_gap_exact": None if side.inner_gap is None else number_text(side.inner_gap),
        "width": None if side.width is None else outward(side.width, "up"),
        "inner_certificate": None,
        "held_back_by": [
            {
                "player": price.player,
                "type": price.type,
                "deviation": price.deviation,
                "price": float(price.price),
                "sentence": price.sentence,
            }
            for price in prices
        ],
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
