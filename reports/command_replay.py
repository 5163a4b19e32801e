"""`spverify replay`: let learners play a game, or a leader's game, and measure what they did, round by round.

The learners come from `solvers/learners` and are trusted for nothing: regrets, gaps and verdicts are computed from the
strategies they used (`verify/convergence.py`). How it looks in a terminal is in `render/replay_text.py`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..solvers.learners import LEARNERS, READOUTS, Learner, LearnerRun, regret_bound, run_learners
from ..verify.convergence import FLOAT_MARGIN, check_reach, fit_rate, gap_path, motion, regret_path, settled_round
from ..verify.errors import UsageError
from ..verify.formats import read_game, write_atomic, write_play
from ..verify.game import BayesianGame, FloatArray
from ..verify.kernel import exact_gap, exact_value, objective_tensor
from ..verify.plain import number_text
from ..verify.verdict import EXIT_CODES, Verdict, combine
from .answer import Answer
from .replay import averaged, on_grid

if TYPE_CHECKING:
    from .dynamic_replay import GoesOn

CHECKPOINTS_PER_DECADE = 6
EXACT_CELLS = 20_000_000
"""Rounds times cells up to which an average over rounds is multiplied out exactly."""


@dataclass(frozen=True)
class Question:
    """What `replay` is asked.

    Attributes:
        learner, rate, learning_rate: the rule by its short name, and its rate; None for the rule's own.
        rounds, seeds, rng_seed: T, the number of independent runs, and the seed of their random numbers.
        types, opponents: ``sampled`` or ``expected``.
        payoff_scale: learners see payoffs divided by this; None for the setting's, or the game's largest range.
        epsilon: gap to be reached, payoff units; None for 0.05 of the payoff scale.
        probability: chance of reaching it that is claimed; None for no claim.
        level: confidence of every statistical statement.
        plays: runs whose plays are written.
    """

    learner: str = "mw"
    rate: str | None = None
    learning_rate: float | None = None
    rounds: int = 1000
    seeds: int = 20
    rng_seed: int = 0
    types: str = "sampled"
    opponents: str = "sampled"
    payoff_scale: float | None = None
    epsilon: Fraction | None = None
    probability: float | None = None
    level: float = 0.95
    plays: int = 1

    def stated(self, epsilon: Fraction) -> dict[str, Any]:
        """What of it every answer's document repeats, with the epsilon taken."""
        return {
            "rounds": self.rounds,
            "seeds": self.seeds,
            "rng_seed": self.rng_seed,
            "types": self.types,
            "opponents": self.opponents,
            "epsilon": float(epsilon),
            "epsilon_exact": number_text(epsilon),
        }


@dataclass(frozen=True)
class OneShot:
    """One Bayesian game to be replayed, and the payoff scale where the question names none."""

    game: BayesianGame
    scale: float
    learner: str = "mw"
    rounds: int = 1000

    def replay(self, question: Question, *, out: Path | None, progress: Callable[[str], None]) -> Answer:
        """See `replay_game`."""
        return replay_game(self.game, question, scale=self.scale, out=out, progress=progress)


def subject_of(subject: str, allow_import: str | None = None) -> OneShot | GoesOn:
    """What a name on the command line means: a game file, a leader's game, or a leader whose play goes on.

    Each has the ``learner`` and the ``rounds`` taken where a question names none.

    Raises:
        SpverifyError: a file that is refused.
    """
    if subject.endswith(".pt") or subject.startswith("zoo:"):
        from ..trained_leaders.tabulate import inspect_leader
        from .command_show import leader_name, leader_path

        path = leader_path(subject)
        leader = inspect_leader(path, allow_import=allow_import)
        if (world := leader.dynamic_world) is not None:
            from .dynamic_replay import GoesOn

            return GoesOn.of(leader_name(subject), path, leader, world)
        return OneShot(leader.game, float(leader.world.payoff_scale))
    game = read_game(subject)
    return OneShot(game, game_scale(game))


def game_scale(game: BayesianGame) -> float:
    """The payoff scale of a game that names none: the largest range of a player's payoff, 1 where all are constant."""
    return max(game.payoff_range(i) for i in range(game.n_players)) or 1.0


def make_learner(question: Question, scale: float) -> Learner:
    """The rule that is asked for.

    Raises:
        UsageError: an unknown rule, or options that it does not have.
    """
    if question.learner not in LEARNERS:
        note = "; Q-learning is for leaders whose play goes on" if question.learner == "q-learning" else ""
        raise UsageError(f"--learner: expected one of {', '.join(LEARNERS)}, got {question.learner!r}{note}")
    for option, value in (("--learning-rate", question.learning_rate), ("--payoff-scale", question.payoff_scale)):
        if value is not None and not 1e-100 <= value <= 1e100:
            raise UsageError(f"{option}: expected a positive number, from 1e-100 to 1e100, got {value}")
    kind = LEARNERS[question.learner]
    options: dict[str, Any] = {"payoff_scale": scale}
    for name, given in (("rate", question.rate), ("epsilon", question.learning_rate)):
        if given is not None:
            if name not in kind.__dataclass_fields__:
                raise UsageError(f"{kind.title} has no learning rate to set")
            options[name] = given
    return kind(**options)


def replay_game(
    game: BayesianGame,
    question: Question,
    *,
    scale: float = 1.0,
    out: Path | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Answer:
    """Plays, measures, and writes plays and the convergence table.

    Args:
        game: the followers' game.
        question: how they learn, and what is claimed.
        scale: payoff scale where the question names none.
        out: folder for ``convergence.csv`` and the plays.
        progress: told what is being done.

    Raises:
        SpverifyError: options that make no sense, or more memory than there is.
    """
    scale = scale if question.payoff_scale is None else question.payoff_scale
    learner = make_learner(question, scale)
    epsilon = question.epsilon if question.epsilon is not None else Fraction(scale) / 20
    marks = checkpoints(question.rounds)
    progress(f"{question.seeds} runs of {question.rounds} rounds")
    run = run_learners(
        game,
        learner,
        question.rounds,
        seeds=question.seeds,
        types=question.types,
        opponents=question.opponents,
        rng_seed=question.rng_seed,
        threads=0,
    )
    assert run.strategies is not None  # kept, because run_learners was not told otherwise
    progress("measuring")
    measured = _measure(game, run, marks, float(epsilon))
    rows = _rows(game, learner, question, run, measured, marks)
    final = measured.gaps[:, -1]
    noise = FLOAT_MARGIN * game_scale(game)  # a gap below this is rounding, and has no rate
    rate = fit_rate(marks, np.where(measured.gaps > noise, measured.gaps, 0.0), level=question.level)
    statements = [_bound_statement(rows, learner, question)] if rows[0]["bound"] is not None else []
    if question.probability is not None:
        reach = check_reach(
            final,
            epsilon=float(epsilon),
            rounds=question.rounds,
            probability=question.probability,
            learner=learner.title,
            level=question.level,
            scale=scale,
        )
        statements.append(reach.to_document())
    verdict: Verdict | None = None
    if question.probability is not None:
        verdict = combine([reach])
    moves = [motion([x[b] for x in run.strategies], tolerance=0.01) for b in range(question.seeds)]
    document: dict[str, Any] = {
        "command": "replay",
        "game": game.name,
        "game_sha256": game.sha256,
        "learner": {
            "name": learner.name,
            "title": learner.title,
            "guarantee": learner.guarantee,
            **_options(learner),
        },
        **question.stated(epsilon),
        "gap": {
            "final": spread(final),
            "settled": [measured.settled[b] for b in range(question.seeds)],
            "checkpoints": [{"round": mark, **spread(measured.gaps[:, c])} for c, mark in enumerate(marks)],
        },
        "regret": rows,
        "rate": {
            "exponent": _number(rate.exponent),
            "lower": _number(rate.lower),
            "upper": _number(rate.upper),
            "level": rate.level,
            "runs": rate.runs,
        },
        "motion": {kind: sum(move.kind == kind for move in moves) for kind in ("settles", "cycles", "wanders")},
        "periods": sorted({move.period for move in moves if move.period is not None}),
        "readouts": {kind: _readout(game, run, kind) for kind in READOUTS},
        "statements": statements,
        "verdict": verdict,
        "files": [],
    }
    if out is None:
        return Answer(document)
    progress("writing")
    files = _write(game, run, question, document, out)
    return Answer({**document, "files": [str(path) for path in files]}, tuple(files))


def exit_code(document: dict[str, Any]) -> int:
    """0 where nothing is claimed, else the verdict's."""
    return 0 if document["verdict"] is None else EXIT_CODES[document["verdict"]]


def checkpoints(rounds: int) -> tuple[int, ...]:
    """Rounds at which figures are told: six a decade, from round 1 to the last."""
    count = max(2, round(CHECKPOINTS_PER_DECADE * math.log10(max(rounds, 10))) + 1)
    return tuple(np.unique(np.rint(np.geomspace(1, rounds, count)).astype(int)).tolist())


@dataclass(frozen=True)
class _Measured:
    """Gaps (seeds, checkpoints), largest regret of each copy (seeds, checkpoints, |T_i|), and settled rounds."""

    gaps: FloatArray
    regrets: tuple[FloatArray, ...]
    settled: tuple[int | None, ...]


def _measure(game: BayesianGame, run: LearnerRun, marks: tuple[int, ...], epsilon: float) -> _Measured:
    assert run.strategies is not None
    seeds, at = len(run.strategies[0]), np.array(marks) - 1
    gaps = np.empty((seeds, len(marks)))
    regrets = tuple(np.empty((seeds, len(marks), k)) for k in game.type_shape)
    settled = []
    for b in range(seeds):
        path = regret_path(game, [x[b] for x in run.strategies])
        line = gap_path(path)
        settled.append(settled_round(line, epsilon))
        gaps[b] = line[at]
        for rows, table in zip(path, regrets, strict=True):
            table[b] = rows[at].max(axis=2)
    return _Measured(gaps, regrets, tuple(settled))


def _rows(
    game: BayesianGame,
    learner: Learner,
    question: Question,
    run: LearnerRun,
    measured: _Measured,
    marks: tuple[int, ...],
) -> list[dict[str, Any]]:
    """One row a checkpoint, player and type: regret over runs, updates, and the bound of theory T7."""
    out = []
    for c, mark in enumerate(marks):
        updates = _updates(game, run, question, mark)
        bounds = None
        if learner.guarantee != "none":
            bounds = regret_bound(
                game,
                learner,
                mark,
                delta=(1 - question.level) / question.seeds,
                updates=updates,
                types=question.types,
                opponents=question.opponents,
                checkpoints=len(marks),
                horizon=question.rounds,
            )
        for i, own in enumerate(game.type_shape):
            for t in range(own):
                if game.marginal(i)[t] == 0:
                    continue
                values = measured.regrets[i][:, c, t]
                bound = None if bounds is None else bounds[i][:, t]
                holds = None
                if bound is not None and learner.guarantee == "always":
                    holds = bool((values <= bound + 1e-9 * np.abs(bound)).all())
                out.append(
                    {
                        "round": mark,
                        "player": i,
                        "type": t,
                        "regret": spread(values),
                        "updates": float(np.median(updates[i][:, t])),
                        "bound": None if bound is None else float(bound.min()),
                        "bound_holds": holds,
                    }
                )
    return out


def _updates(game: BayesianGame, run: LearnerRun, question: Question, mark: int) -> list[FloatArray]:
    """Updates of each copy in the first rounds, shape (seeds, |T_i|) for each player."""
    seeds = len(run.last[0])
    if question.types == "expected":
        return [np.full((seeds, k), float(mark)) for k in game.type_shape]
    if run.types is None:  # drawn types are not recorded against opponents in expectation: their expected number is
        return [np.tile(game.marginal(i) * mark, (seeds, 1)) for i in range(game.n_players)]
    out = []
    for i, k in enumerate(game.type_shape):
        flat = run.types[:, :mark, i] + k * np.arange(seeds)[:, None]
        out.append(np.bincount(flat.ravel(), minlength=seeds * k).reshape(seeds, k).astype(float))
    return out


def _bound_statement(rows: list[dict[str, Any]], learner: Learner, question: Question) -> dict[str, Any]:
    """Whether measured regrets stayed within theory T7, as the audit says it."""
    broken = [row for row in rows if row["bound_holds"] is False]
    ratio = max((row["regret"]["max"] / row["bound"] for row in rows if row["bound"]), default=0.0)
    told = learner.guarantee == "always"
    verdict = ("refuted" if broken else "holds") if told else "inconclusive"
    why = (
        f"By theory T7 all rows of all runs stay below the bound with probability at least {question.level:g}."
        if told
        else "For this learner the bound holds in expectation only, which single runs can neither show nor refute."
    )
    return {
        "id": f"regret.{learner.name}",
        "role": "information",
        "text": f"the regrets of {learner.title} stay within the bound of theory T7 at every checkpoint",
        "verdict": verdict,
        "measured": float(ratio),
        "threshold": 1.0,
        "evidence": "float",
        "why": why,
    }


def _readout(game: BayesianGame, run: LearnerRun, kind: str) -> dict[str, Any]:
    """Gap and leader's value of a readout over all runs, exact where that is affordable (theory T1, T7)."""
    plain, gaps, values = game.plain, [], []
    rounds = 1 if kind != "empirical" else run.strategies[0].shape[1] if run.strategies else 0
    if game.n_players > 2 and rounds * math.prod(game.shape) > EXACT_CELLS:
        return {"gap": None, "value": None}
    objective = None if game.leader is None else objective_tensor(plain, "leader")
    for b in range(len(run.last[0])):
        play = averaged([on_grid(np.asarray(x)) for x in run.readout(kind, b).strategies])
        gaps.append(exact_gap(plain, play)[0])
        if objective is not None:
            values.append(exact_value(plain, play, objective))
    return {"gap": exact_spread(gaps), "value": exact_spread(values) if values else None}


def _write(game: BayesianGame, run: LearnerRun, question: Question, document: dict[str, Any], out: Path) -> list[Path]:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(
        ["round", "player", "type", "regret_min", "regret_median", "regret_max", "bound", "updates", "gap_max"]
    )
    gaps = {line["round"]: line["max"] for line in document["gap"]["checkpoints"]}
    for row in document["regret"]:
        spread = row["regret"]
        cells = [row["round"], row["player"], row["type"], spread["min"], spread["median"], spread["max"]]
        writer.writerow([*cells, "" if row["bound"] is None else row["bound"], row["updates"], gaps[row["round"]]])
    files = [out / "convergence.csv"]
    write_atomic(files[0], table.getvalue())
    for b in range(min(question.plays, question.seeds)):
        for kind in READOUTS:
            files.append(out / f"{kind}-{b}.play.npz")
            write_play(run.readout(kind, b), files[-1])
        if run.types is not None:
            files.append(out / f"log-{b}.csv")
            write_play(run.log(b), files[-1])
    return files


def _options(learner: Learner) -> dict[str, Any]:
    return {field.name: getattr(learner, field.name) for field in fields(learner)}


def spread(values: FloatArray) -> dict[str, float]:
    """Least, median and largest."""
    return {"min": float(values.min()), "median": float(np.median(values)), "max": float(values.max())}


def exact_spread(values: list[Fraction]) -> dict[str, Any]:
    """Least, mean and largest of exact figures; the largest exactly as well."""
    mean = sum(values, Fraction(0)) / len(values)
    return {
        "min": float(min(values)),
        "mean": float(mean),
        "max": float(max(values)),
        "max_exact": number_text(max(values)),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
