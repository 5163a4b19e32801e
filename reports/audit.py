"""The audit of one leader: every question of `questions.py` put to it, and the answers as one immutable `Audit`.

The order of work is the way of the data in docs/architecture.md. Nothing here depends on the time of day or on how
long anything took: the same file, options and seed give the same document, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from .. import __version__
from ..trained_leaders.tabulate import start_inspection
from ..verify.errors import FormatError, UsageError
from ..verify.plain import parse_number
from ..verify.verdict import Statement, Verdict, combine
from .command_show import mechanism_table

Progress = Callable[[str], None]

DELTA = 1e-6
"""The regret bound of theory T7 may fail with at most this probability, over all rows, checkpoints and seeds."""

FULL_SEEDS, QUICK_SEEDS = 8, 3
FULL_FACTORS, QUICK_FACTORS = (1, 10, 100), (1, 10)


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        epsilon: largest gap allowed, in units of the setting's payoff scale.
        seeds: number of replays.
        factors: horizons as multiples of the training horizon.
        curve: whether the range is computed at further epsilons for the picture.
        rng_seed: seed of the replays.
        seconds: time for all ranges together.
    """

    epsilon: Fraction
    seeds: int
    factors: tuple[int, ...]
    curve: bool
    rng_seed: int
    seconds: float

    @classmethod
    def of(cls, *, epsilon: object, quick: bool, seeds: int | None, rng_seed: int) -> Options:
        """From the command line's words.

        Raises:
            UsageError: an epsilon that is no number or negative, or a number of seeds below 1.
        """
        try:
            exact = parse_number(epsilon, "--epsilon")
        except FormatError as error:
            raise UsageError(str(error)) from None
        if exact < 0:
            raise UsageError(f"--epsilon: expected a number that is not negative, got {epsilon}")
        if exact > 10**300:
            raise UsageError(f"--epsilon: expected a number that a double can hold, got {epsilon}")
        if seeds is not None and seeds < 1:
            raise UsageError(f"--seeds: expected at least 1, got {seeds}")
        if quick:
            return cls(exact, seeds or QUICK_SEEDS, QUICK_FACTORS, False, rng_seed, 20.0)
        return cls(exact, seeds or FULL_SEEDS, FULL_FACTORS, True, rng_seed, 120.0)


@dataclass(frozen=True)
class Audit:
    """One leader, audited.

    Attributes:
        subject: what was audited and how: file, setting, followers, options.
        headline: the three figures of the first screen: value, range, gap.
        statements: the answers (theory T10).
        mechanism: what the leader does at each observation.
        tables: ``readouts``, one row for each horizon and readout.
        series: data behind the pictures: ``range_curve``, ``points``, ``references``, ``regret``, ``play``.
        certificates: documents by file name; each was accepted by the kernel.
        verdict: over the required statements.
    """

    subject: dict[str, Any]
    headline: dict[str, Any]
    statements: tuple[Statement, ...]
    mechanism: tuple[dict[str, Any], ...]
    tables: dict[str, Any]
    series: dict[str, Any]
    certificates: Mapping[str, dict[str, Any]] = field(repr=False)
    verdict: Verdict

    def to_document(self) -> dict[str, Any]:
        """The ``spverify-audit`` document (docs/formats.md)."""
        return {
            "format": "spverify-audit",
            "version": 1,
            "spverify": __version__,
            "verdict": self.verdict,
            "subject": self.subject,
            "headline": self.headline,
            "statements": [statement.to_document() for statement in self.statements],
            "mechanism": list(self.mechanism),
            "tables": self.tables,
            "series": self.series,
            "certificates": sorted(self.certificates),
        }


def audit_leader(
    path: str | Path,
    *,
    name: str | None = None,
    epsilon: object = "0.05",
    quick: bool = False,
    seeds: int | None = None,
    rng_seed: int = 0,
    progress: Progress | None = None,
) -> Audit:
    """Audit one leader file (theory T10).

    Args:
        path: a ``leader.pt``.
        name: what to call it; the file's stem if left out.
        epsilon: largest gap allowed, in units of the setting's payoff scale; text is taken exactly.
        quick: fewer seeds, horizons and epsilons.
        seeds: number of replays; 8, or 3 when quick.
        rng_seed: seed of the replays.
        progress: told what is being done.

    Raises:
        SpverifyError: the file is refused, or an option makes no sense. A leader that fails its audit is no error.
    """
    options = Options.of(epsilon=epsilon, quick=quick, seeds=seeds, rng_seed=rng_seed)
    say = progress or (lambda message: None)
    say("reading the leader in a child process")
    with start_inspection(path) as inspection:
        # The child reads and tabulates while this process loads its libraries.
        from . import questions

        leader = inspection.result()
    file = questions.Subject.of(name or Path(path).stem, Path(path), leader, options)
    statements = [*questions.ask_file(file), *questions.ask_commitment(file), *questions.ask_tabulation(file)]
    rounds = file.followers.updates * file.factors[-1]
    say(f"replaying {file.seeds} × {rounds} rounds of learning")
    replays = file.replays()
    readings = replays.readings
    say("proving ranges")
    ranges = questions.prove_ranges(file, readings, say)
    say("weighing the answers")
    curves = replays.regret_curves(DELTA)
    statements += questions.ask_gaps(file, replays)
    statements += questions.ask_values(file, readings)
    statements += questions.ask_horizons(file, readings)
    statements += questions.ask_regret(file, replays, curves, DELTA)
    statements += questions.ask_ranges(file, ranges, readings)
    statements += questions.ask_references(file, readings)
    statements += questions.ask_claims(file)
    certificates = questions.certify_plays(file, replays) | questions.range_certificates(ranges)
    verdict = combine(statements)
    return Audit(
        subject=file.to_document(),
        headline=questions.headline(file, readings, ranges),
        statements=tuple(statements),
        mechanism=tuple(mechanism_table(leader)),
        tables={"readouts": questions.readout_table(readings)},
        series={
            "range_curve": questions.range_series(ranges),
            "points": questions.play_points(file, readings),
            "references": questions.reference_series(file),
            "regret": questions.regret_series(file, curves),
            "play": questions.play_series(file, replays),
        },
        certificates=certificates,
        verdict=verdict,
    )
