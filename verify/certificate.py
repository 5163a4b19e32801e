"""Certificates: what a search found, written down so that the kernel can prove it alone (theory T5).

Builders take floats from an untrusted solver, round them to short exact numbers, let the kernel say what those prove,
and claim just that. The layout is specified in ``docs/formats.md``; the checking is in `kernel.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import fast_kernel
from .errors import UsageError
from .formats.atomic import write_atomic
from .game import BayesianGame, FloatArray, tensor_of
from .kernel import (
    SETS,
    Recheck,
    check_certificate,
    conditional_cells,
    exact_gap,
    measured,
    objective_tensor,
    outer_bound,
    potential_axes,
    smallest_set,
)
from .plain import Tensor, number_text, parse_game
from .play import MixturePlay, Play, exact

MULTIPLIER_GRID = 1 << 30
INLINE_CELLS = 100_000


@dataclass(frozen=True)
class Certificate:
    """A claim with its evidence.

    Attributes:
        content: the document, without the game where that is given beside it.
        game: the game that `document` carries, which takes a while to write out.
    """

    content: dict[str, Any]
    game: BayesianGame | None = None

    @cached_property
    def document(self) -> dict[str, Any]:
        """What `write` writes and the kernel reads."""
        return self.content if self.game is None else {**self.content, "game": self.game.shared_document}

    @property
    def value(self) -> Fraction:
        """The claimed value, exactly."""
        return Fraction(self.content["claim"]["value"])

    @property
    def epsilon(self) -> Fraction:
        """The claim's epsilon, exactly."""
        return Fraction(self.content["claim"]["epsilon"])

    def recheck(self, game: BayesianGame | None = None) -> Recheck:
        """The kernel's answer; ``game`` is needed where the document does not carry it.

        On all but small games the kernel's fast twin answers.
        """
        document, plain = self.document, None if game is None else game.plain
        if plain is None and document["game"] is not None:
            document, plain = {**document, "game": None}, parse_game(document["game"])
        fast = plain is not None and fast_kernel.big(plain)
        return (fast_kernel.check_certificate if fast else check_certificate)(document, plain)

    def write(self, path: str | Path) -> None:
        """Writes the document, atomically."""
        write_atomic(path, self.text())

    def text(self) -> str:
        """The document as JSON: a line for each field of the claim and of the evidence, however long its value."""
        document = {
            name: _braces({key: json.dumps(part) for key, part in value.items()}, "\n  ")
            if name in ("claim", "evidence")
            else json.dumps(value)
            for name, value in self.document.items()
        }
        return _braces(document, "\n ") + "\n"


def _braces(fields: dict[str, str], line: str) -> str:
    """An object of fields that are JSON already, each on a line of its own."""
    return "{" + ",".join(f"{line}{json.dumps(name)}: {value}" for name, value in fields.items()) + line[:-1] + "}"


def round_multipliers(
    game: BayesianGame, multipliers: Sequence[FloatArray], grid: int = MULTIPLIER_GRID
) -> list[tuple[int, int, int, Fraction]]:
    """Multipliers as the kernel takes them: clipped at 0, rounded to a grid, rows that do not count left out.

    The grid is relative to the largest multiplier, so that a payoff scale of 1e-9 or 1e9 loses no digits.
    """
    largest = max((float(np.max(y, initial=0.0)) for y in multipliers), default=0.0)
    if not math.isfinite(largest):
        raise UsageError("expected finite multipliers")
    unit = _unit(largest, grid)
    out = []
    for i, y in enumerate(multipliers):
        counts = game.feasible[i] & (game.marginal(i) > 0)[:, None]
        units = np.where(counts, np.rint(np.ldexp(np.maximum(y, 0.0), -math.frexp(largest)[1]) * grid), 0.0)
        for t, a in np.argwhere(units > 0).tolist():
            out.append((i, t, a, int(units[t, a]) * unit))
    return out


def round_potentials(game: BayesianGame, potentials: Sequence[FloatArray], grid: int = MULTIPLIER_GRID) -> list[Tensor]:
    """Potentials on a grid relative to the largest of them; axes (types.., actions..), length 1 on the own action."""
    largest = max((float(np.abs(f).max(initial=0.0)) for f in potentials), default=0.0)
    if not math.isfinite(largest):
        raise UsageError("expected finite potentials")
    unit = _unit(largest, grid)
    scale, times = float(unit), unit.numerator
    out = []
    for j, f in enumerate(potentials):
        axes = potential_axes(game.plain, j)
        steps = np.broadcast_to(np.rint(f / scale), axes).ravel()
        out.append(Tensor(axes, [int(k) * times for k in steps.tolist()], unit.denominator))
    return out


def _unit(largest: float, grid: int) -> Fraction:
    """The step of a grid of ``grid`` points up to the power of two above ``largest``."""
    return Fraction(1, grid) * (Fraction(2) ** math.frexp(largest)[1] if largest > 0 else 1)


def _certificate(
    game: BayesianGame,
    kind: str,
    which: str,
    objective: str,
    epsilon: Fraction,
    value: Fraction,
    evidence: dict[str, Any],
) -> Certificate:
    content = {
        "format": "spverify-certificate",
        "version": 1,
        "claim": {
            "kind": kind,
            "set": which,
            "objective": objective,
            "epsilon": number_text(epsilon),
            "value": number_text(value),
        },
        "game": None,
        "game_sha256": game.sha256,
        "evidence": {"multipliers": None, "potentials": None, "play": None, "objective": None, **evidence},
    }
    return Certificate(content, game if math.prod(game.shape) <= INLINE_CELLS else None)


def _objective(game: BayesianGame, objective: str | Tensor) -> tuple[str, Tensor, dict[str, Any]]:
    if isinstance(objective, Tensor):
        return "custom", objective, {"objective": objective.nested(number_text)}
    return objective, objective_tensor(game.plain, objective), {}


def outer_certificate(
    game: BayesianGame,
    *,
    sense: str,
    equilibrium_set: str,
    objective: str | Tensor,
    epsilon: Fraction,
    multipliers: Sequence[FloatArray] | Sequence[tuple[int, int, int, Fraction]],
    potentials: Sequence[FloatArray] | Sequence[Tensor] | None = None,
    value: Fraction | None = None,
) -> Certificate:
    """A bound over an equilibrium set: ``sense="upper"`` says no member is worth more, ``"lower"`` none less.

    Args:
        game: the game.
        sense: ``upper`` or ``lower``.
        equilibrium_set: ``sf``, ``ns`` or ``tc``.
        objective: a name, or an exact array for a custom one.
        epsilon: largest allowed interim regret, payoff units.
        multipliers: duals y_i of the regret rows, shape (|T_i|, |A_i|) for each player, rounded here;
            or exact rows (player, type, deviation, y), taken as they are.
        potentials: duals of the non-signalling rows; not for tc.
        value: the claim; left out, it is what the multipliers prove. With ``sf`` it may be what only the
            strategic-form search proves.
    """
    name, w, extra = _objective(game, objective)
    rows: Any = multipliers
    if not all(isinstance(row, tuple) for row in multipliers):
        rows = round_multipliers(game, multipliers)  # type: ignore[arg-type]
    arrays: Any = potentials
    if potentials is not None and not all(isinstance(f, Tensor) for f in potentials):
        arrays = round_potentials(game, potentials)  # type: ignore[arg-type]
    if value is None:
        proof = {"sense": sense, "epsilon": epsilon, "multipliers": rows, "potentials": arrays}
        outer = fast_kernel.outer_bound if fast_kernel.big(game.plain) else outer_bound
        value = outer(game.plain, objective=w, **proof)
    evidence = {**extra, "multipliers": [[i, t, a, number_text(y)] for i, t, a, y in rows]}
    if arrays is not None:
        evidence["potentials"] = [f.nested(number_text) for f in arrays]
    return _certificate(game, sense, equilibrium_set, name, epsilon, value, evidence)


def attained_certificate(
    game: BayesianGame,
    play: Play,
    *,
    objective: str | Tensor = "leader",
    epsilon: Fraction = Fraction(0),
    equilibrium_set: str | None = None,
) -> Certificate:
    """An inner point: the play's exact value, as a member of the set at the larger of ``epsilon`` and its own gap.

    The claim's epsilon tells which: where it exceeds the one asked for, the play is worth that much but is no member
    of the epsilon-set itself.
    """
    return assessed(game, play, objective=objective, epsilon=epsilon, equilibrium_set=equilibrium_set)[0]


def assessed(
    game: BayesianGame,
    play: Play,
    *,
    objective: str | Tensor,
    epsilon: Fraction,
    equilibrium_set: str | None,
) -> tuple[Certificate, Fraction, bool]:
    """`attained_certificate`, the play's exact gap, and whether its form shows that it is of the set; by the kernel."""
    document = play.to_document()
    plain = game.plain
    exact_play = exact(play, game, document)
    name, w, extra = _objective(game, objective)
    conditional = conditional_cells(plain, exact_play)
    gap, value = (fast_kernel.measured if fast_kernel.big(plain) else measured)(plain, conditional, w)
    own = smallest_set(plain, exact_play, conditional) if equilibrium_set != "tc" else "tc"
    which = equilibrium_set or own
    certificate = _certificate(game, "attained", which, name, max(epsilon, gap), value, {**extra, "play": document})
    return certificate, gap, SETS.index(own) <= SETS.index(which)


def mixture_certificates(
    game: BayesianGame, play: MixturePlay, *, gap: Fraction, value: Fraction
) -> tuple[Certificate, Certificate]:
    """The gap of a mixture and what it is worth to the leader, as its caller measured them; nothing is computed here.

    For plays of thousands of snapshots that were measured exactly in another way. Figures that are not exactly the
    play's make certificates that the kernel refuses.
    """
    evidence = {"play": play.to_document()}
    return (
        _certificate(game, "gap", "sf", "leader", gap, gap, evidence),
        _certificate(game, "attained", "sf", "leader", gap, value, evidence),
    )


def gap_certificate(game: BayesianGame, play: Play) -> Certificate:
    """The play's exact gap (theory T3)."""
    plain = exact(play, game)
    gap, _ = exact_gap(game.plain, plain)
    name = "leader" if game.leader is not None else "welfare"
    evidence = {"play": play.to_document()}
    return _certificate(game, "gap", smallest_set(game.plain, plain), name, gap, gap, evidence)


def exact_objective(values: npt.ArrayLike, game: BayesianGame) -> Tensor:
    """A custom objective array made exact; a double is itself."""
    return tensor_of(game.objective(values))
