"""The audit of one leader: every question of `questions.py` put to it, and the answers as one immutable `Audit`.

The order of work is the way of the data in docs/architecture.md. Nothing here depends on the time of day or on how
long anything took: the same file, options and seed give the same document, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any

from .. import __version__
from ..trained_leaders.settings import DynamicSetting
from ..trained_leaders.tabulate import Tabulation, start_inspection
from ..verify.errors import FormatError, UsageError
from ..verify.plain import parse_number
from ..verify.verdict import Statement, Verdict, combine
from .command_show import leader_name, leader_path, mechanism_table

Progress = Callable[[str], None]

DELTA = 1e-6
"""The regret bound of theory T7 may fail with at most this probability, over all rows, checkpoints and seeds."""

FULL_SEEDS, QUICK_SEEDS = 8, 3
FACTORS = (1, 10, 100)
QUICK_ROUNDS = 20_000
"""A quick audit leaves out horizons longer than this, beyond ×10."""

WITHIN = "0.05"
"""How far from a known optimum a leader may stay, as a share of what is at stake."""


@dataclass(frozen=True)
class Options:
    """What the user chose.

    Attributes:
        epsilon: largest gap allowed, in units of the setting's payoff scale.
        seeds: number of replays.
        factors: horizons as multiples of the training horizon.
        longest: rounds beyond which a horizon above ×10 is not asked for; None where all are.
        within: largest distance from a known optimum, as a share of what is at stake.
        curve: whether the range is computed at further epsilons for the picture.
        rng_seed: seed of the replays.
        seconds: time for all ranges together.
    """

    epsilon: Fraction
    seeds: int
    factors: tuple[int, ...]
    longest: int | None
    within: Fraction
    curve: bool
    rng_seed: int
    seconds: float

    @classmethod
    def of(cls, *, epsilon: object, quick: bool, seeds: int | None, rng_seed: int, within: object = WITHIN) -> Options:
        """From the command line's words.

        Raises:
            UsageError: an epsilon or a share that is no number or negative, or a number of seeds below 1.
        """
        exact, share = _option(epsilon, "--epsilon"), _option(within, "--within")
        if seeds is not None and seeds < 1:
            raise UsageError(f"--seeds: expected at least 1, got {seeds}")
        if quick:
            return cls(exact, seeds or QUICK_SEEDS, FACTORS, QUICK_ROUNDS, share, False, rng_seed, 20.0)
        return cls(exact, seeds or FULL_SEEDS, FACTORS, None, share, True, rng_seed, 120.0)

    def horizons(self, updates: int) -> tuple[int, ...]:
        """The horizons asked for, given the training horizon."""
        return tuple(f for f in self.factors if f <= 10 or self.longest is None or f * updates <= self.longest)


def _option(given: object, name: str) -> Fraction:
    """A number that is not negative and that a double can hold, exactly as it was written."""
    try:
        exact = parse_number(given, name)
    except FormatError as error:
        raise UsageError(str(error)) from None
    if exact < 0:
        raise UsageError(f"{name}: expected a number that is not negative, got {given}")
    if exact > 10**300:
        raise UsageError(f"{name}: expected a number that a double can hold, got {given}")
    return exact


@dataclass(frozen=True)
class Audit:
    """One leader, audited.

    Attributes:
        subject: what was audited and how: file, setting, followers, options.
        headline: the first screen: four answers, and the three figures value, range, gap.
        statements: the answers (theory T10).
        mechanism: what the leader does at each observation.
        tree: the same as a decision tree, of a price mechanism; else None.
        tables: ``readouts``, one row for each horizon and readout; ``learners``, one for each learning rule, horizon
            and readout; ``seeds``, one a readout, over many runs; ``margins``, one for each player and type;
            ``sensitivity``, one for each perturbed game.
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
    tree: dict[str, Any] | None = None

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
            "tree": self.tree,
            "tables": self.tables,
            "series": self.series,
            "certificates": sorted(self.certificates),
        }

    def _repr_html_(self) -> str:
        """The page in a notebook, framed so that its style and the notebook's leave each other alone."""
        from .render.html import audit_html

        return _framed(audit_html(self.to_document()))


def _framed(page: str) -> str:
    return f'<iframe srcdoc="{escape(page)}" title="spverify audit" style="width:100%;height:44rem;border:0"></iframe>'


def audit_leader(
    path: str | Path,
    *,
    name: str | None = None,
    epsilon: object = "0.05",
    quick: bool = False,
    seeds: int | None = None,
    rng_seed: int = 0,
    within: object = WITHIN,
    allow_import: str | None = None,
    progress: Progress | None = None,
) -> Audit:
    """Audit one leader file (theory T10).

    Args:
        path: a ``leader.pt``, or ``zoo:NAME`` for a shipped leader.
        name: what to call it; the file's stem, or the shipped leader's name, if left out.
        epsilon: largest gap allowed, in units of the setting's payoff scale; text is taken exactly.
        quick: fewer seeds, horizons and epsilons.
        seeds: number of replays; 8, or 3 when quick.
        rng_seed: seed of the replays.
        within: largest distance from a known optimum, as a share of what is at stake; text is taken exactly.
        allow_import: a setting ``package.module:Attribute`` of your own that may be imported if the file names it.
        progress: told what is being done.

    Raises:
        SpverifyError: the file is refused, or an option makes no sense. A leader that fails its audit is no error.
    """
    options = Options.of(epsilon=epsilon, quick=quick, seeds=seeds, rng_seed=rng_seed, within=within)
    say = progress or (lambda message: None)
    say("reading the leader in a child process")
    if isinstance(path, str):
        name, path = name or leader_name(path), leader_path(path)
    with start_inspection(path, allow_import=allow_import) as inspection:
        # The child reads and tabulates while this process loads its libraries.
        from . import coalitions, learners, questions, robustness
        from . import seeds as many_runs
        from .first_screen import four_answers
        from .tree import price_tree

        leader = inspection.result()
    world = leader.dynamic_world
    if world is not None:
        return _audit_dynamic(name or Path(path).stem, Path(path), leader, world, options, seeds, say)
    file = questions.Subject.of(name or Path(path).stem, Path(path), leader, options)
    statements = [*questions.ask_file(file), *questions.ask_commitment(file), *questions.ask_tabulation(file)]
    rounds = file.followers.updates * file.factors[-1]
    say(f"replaying {file.seeds} × {rounds} rounds of learning")
    replays = file.replays()
    readings = replays.readings
    say("proving ranges")
    ranges = questions.prove_ranges(file, readings, say)
    pacts = coalitions.prove_pacts(file, readings, say)
    say("weighing the answers")
    curves = replays.regret_curves(DELTA)
    statements += questions.ask_gaps(file, replays)
    statements += questions.ask_values(file, readings)
    statements += questions.ask_horizons(file, readings)
    statements += questions.ask_agreement(file, readings)
    statements += questions.ask_regret(file, replays, curves, DELTA)
    statements += questions.ask_ranges(file, ranges, readings)
    statements += coalitions.ask_pacts(file, pacts, readings)
    statements += questions.ask_references(file, readings)
    say("many fresh runs, for intervals")
    fresh = many_runs.fresh_runs(file, replays.learner, file.followers)
    statements += many_runs.ask_seeds(file, readings, fresh)
    say("letting other learning rules meet the leader")
    rivals = learners.meet_rivals(file, replays)
    statements += learners.ask_rivals(file, rivals)
    say("weighing other tolerances, ties, priors and payoffs")
    found, moved = robustness.balances(file, replays), robustness.perturb(file, replays)
    statements += robustness.ask_tolerances(file, readings)
    statements += robustness.ask_balance(file, found)
    statements += robustness.ask_sensitivity(file, moved, readings)
    statements += robustness.ask_payments(file, readings, replays)
    statements += questions.ask_claims(file)
    certificates = questions.certify_plays(file, replays) | questions.range_certificates(ranges)
    certificates |= coalitions.pact_certificates(pacts)
    verdict = combine(statements)
    headline = questions.headline(file, readings, ranges)
    headline["answers"] = four_answers(statements, headline, file.threshold, file.followers.updates, file.seeds)
    return Audit(
        subject=file.to_document(),
        headline=headline,
        statements=tuple(statements),
        mechanism=tuple(mechanism_table(leader)),
        tree=price_tree(file, found[0].profile),
        tables={
            "readouts": questions.readout_table(readings),
            "learners": learners.learner_table(file, rivals),
            "seeds": many_runs.seed_table(file, fresh),
            "margins": robustness.margin_table(file, found),
            "sensitivity": robustness.sensitivity_table(moved),
        },
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


def _audit_dynamic(
    name: str,
    path: Path,
    leader: Tabulation,
    world: DynamicSetting,
    options: Options,
    seeds: int | None,
    say: Progress,
) -> Audit:
    """The audit of a leader whose play goes on: no equilibrium range and so no certificates."""
    from . import dynamic, questions

    subject = dynamic.DynamicSubject.of(name, path, leader, world, options, runs=seeds)
    say(f"replaying {subject.runs} × {subject.periods * subject.factors[-1]} periods of Q-learning")
    found = [*questions.ask_file(subject), *questions.ask_commitment(subject), *dynamic.statements(subject)]
    return Audit(
        subject=subject.to_document(),
        headline=dynamic.headline(subject),
        statements=tuple(found),
        mechanism=tuple(mechanism_table(leader)),
        tables=dynamic.tables(subject),
        series=dict(dynamic.series(subject)),
        certificates={},
        verdict=combine(found),
    )
