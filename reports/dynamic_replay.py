"""`spverify replay` of a leader whose play goes on: Q-learners meet its rule again, and every checkpoint is measured.

What frozen learners forgo and what they are worth to the leader is found exactly (`trained_leaders/dynamic.py`,
`verify/dynamic.py`). Q-learning comes without guarantee, so there is no bound to hold it against and no rate to fit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..trained_leaders.dynamic import Q_LEARNING, Frozen, Measured, measure_rule
from ..trained_leaders.settings import DynamicSetting
from ..trained_leaders.tabulate import Tabulation
from ..verify.convergence import check_reach, settled_round
from ..verify.errors import UsageError
from ..verify.formats import write_atomic
from ..verify.numerals import outward
from ..verify.verdict import Verdict
from .answer import Answer
from .audit import Options
from .command_replay import Question, checkpoints, exact_spread, spread
from .dynamic import MAX_PERIODS, TAIL, DynamicSubject


@dataclass(frozen=True)
class GoesOn:
    """A leader of a dynamic setting, to be replayed."""

    subject: DynamicSubject
    learner: str = Q_LEARNING

    @classmethod
    def of(cls, name: str, path: Path, leader: Tabulation, world: DynamicSetting) -> GoesOn:
        """The leader with the followers it was trained against, else the setting's.

        Raises:
            LeaderFileError: a training record that names followers which cannot be.
        """
        options = Options.of(epsilon="0.05", quick=True, seeds=None, rng_seed=0)
        return cls(DynamicSubject.of(name, path, leader, world, options, runs=None))

    @property
    def rounds(self) -> int:
        """The training horizon."""
        return self.subject.periods

    def replay(self, question: Question, *, out: Path | None, progress: Callable[[str], None]) -> Answer:
        """Plays, measures, and writes the policies and the convergence table.

        Raises:
            UsageError: options that mean nothing to Q-learners, or too many periods.
        """
        subject = self.subject
        _check(subject, question)
        learner = subject.learner
        if question.learning_rate is not None:
            learner = replace(learner, rate=question.learning_rate)
        marks = checkpoints(question.rounds)
        progress(f"{question.seeds} runs of {question.rounds} periods")
        found = measure_rule(
            subject.games, subject.weights, learner, marks, runs=question.seeds, rng_seed=question.rng_seed
        )
        scale = subject.setting.payoff_scale
        epsilon = subject.threshold if question.epsilon is None else question.epsilon
        gaps = np.array([[outward(_gap(run), "up") for run in at.runs] for at in found]).T
        statements, verdict = [], None
        if question.probability is not None:
            claim = check_reach(
                gaps[:, -1],
                epsilon=float(epsilon),
                rounds=question.rounds,
                probability=question.probability,
                learner="Q-learning",
                level=question.level,
                scale=scale,
            )
            statements, verdict = [claim.to_document()], claim.verdict
        document = self._document(question, asdict(learner), found, gaps, epsilon, statements, verdict)
        if out is None:
            return Answer(document)
        progress("writing")
        files = _write(subject, question, found, out)
        return Answer({**document, "files": [str(path) for path in files]}, tuple(files))

    def _document(
        self,
        question: Question,
        learner: dict[str, Any],
        found: list[Measured],
        gaps: Any,
        epsilon: Fraction,
        statements: list[dict[str, Any]],
        verdict: Verdict | None,
    ) -> dict[str, Any]:
        subject, final = self.subject, found[-1]
        marks = [at.periods for at in found]
        calm = [max(f.changed for f in run) <= (1 - TAIL) * final.periods for run in final.runs]
        values = [value.middle for value in final.values]
        earned = [
            sum((w * Fraction(f.earned) for w, f in zip(final.weights, run, strict=True)), Fraction(0))
            for run in final.runs
        ]
        total = subject.games[0].rounds or 1
        return {
            "command": "replay",
            "game": subject.name,
            "setting": subject.setting.name,
            "dynamic": True,
            "learner": {"name": Q_LEARNING, "title": "Q-learning", **learner},
            **question.stated(epsilon),
            "gap": {
                "final": spread(gaps[:, -1]),
                "settled": [settled_round(line, float(epsilon), marks) for line in gaps],
                "checkpoints": [
                    {"round": at.periods, **spread(gaps[:, c]), "value": float(at.mean.middle)}
                    for c, at in enumerate(found)
                ],
            },
            "regret": [],
            "rate": {"exponent": None, "lower": None, "upper": None, "level": question.level, "runs": 0},
            "motion": {"settles": sum(calm), "cycles": 0, "wanders": len(calm) - sum(calm)},
            "periods": sorted({len(f.cycle) for run in final.runs for f in run}) if subject.games[0].rounds is None
            else [],
            "readouts": {
                "empirical": {"gap": None, "value": exact_spread([total * value for value in earned])},
                "argmax": {"gap": exact_spread([_gap(run) for run in final.runs]), "value": exact_spread(values)},
            },
            "statements": statements,
            "verdict": verdict,
            "files": [],
        }  # fmt: skip


def _check(subject: DynamicSubject, question: Question) -> None:
    name = subject.setting.name
    if question.learner != Q_LEARNING:
        raise UsageError(
            f"--learner: play of {name} goes on from round to round, where followers are Q-learners: expected "
            f"{Q_LEARNING}, got {question.learner!r}"
        )
    for option, given in (
        ("--rate", question.rate is not None),
        ("--payoff-scale", question.payoff_scale is not None),
        ("--types", question.types != "sampled"),
        ("--opponents", question.opponents != "sampled"),
    ):
        if given:
            raise UsageError(f"{option}: Q-learners of {name} have no such choice: they learn from what they are paid")
    if question.rounds > MAX_PERIODS:
        raise UsageError(f"--rounds: expected at most {MAX_PERIODS} where play goes on, got {question.rounds}")


def _gap(run: tuple[Frozen, ...]) -> Fraction:
    """The most that a follower forgoes a round where play keeps coming back to, over scenarios; from above."""
    return max(gain.high for frozen in run for gain in frozen.gain)


def _write(subject: DynamicSubject, question: Question, found: list[Measured], out: Path) -> list[Path]:
    labels = [label for label, _ in subject.setting.scenarios]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        ["round", "scenario", "player", "gain_min", "gain_median", "gain_max", "gap_max", "value_mean", "changed_last"]
    )
    for at in found:
        worst = outward(max(_gap(run) for run in at.runs), "up")
        for k, label in enumerate(labels):
            for i, player in enumerate(subject.games[k].players):
                gains = spread(np.array([outward(run[k].gain[i].high, "up") for run in at.runs]))
                value, changed = float(at.mean.middle), max(run[k].changed for run in at.runs)
                writer.writerow([at.periods, label, player, *gains.values(), worst, value, changed])
    files = [out / "convergence.csv"]
    write_atomic(files[0], table.getvalue())
    for b in range(min(question.plays, question.seeds)):
        policies = io.StringIO()
        writer = csv.writer(policies, lineterminator="\n")
        writer.writerow(["scenario", "state", "played", *subject.games[0].players])
        for label, game, frozen in zip(labels, subject.games, found[-1].runs[b], strict=True):
            for s, name in enumerate(game.states):
                acts = [game.actions[i][policy[0][s]] for i, policy in enumerate(frozen.policies)]
                writer.writerow([label, name, int(s in frozen.cycle), *acts])
        files.append(out / f"policies-{b}.csv")
        write_atomic(files[-1], policies.getvalue())
    return files
