"""`spverify check`: is this play an epsilon-BCCE? The document follows docs/formats.md.

How it looks in a terminal is in `render/text.py`; nothing is decided there.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ..verify.certificate import gap_certificate
from ..verify.confidence import IndependenceTest, check_independence, estimate_gap
from ..verify.drift import DriftTest, check_drift
from ..verify.game import BayesianGame
from ..verify.histories import History
from ..verify.plain import number_text
from ..verify.play import Play, PlayLog
from ..verify.regret import assess
from ..verify.verdict import Verdict
from .answer import Answer


def check_play(
    game: BayesianGame,
    play: Play | History,
    *,
    epsilon: Fraction = Fraction(0),
    level: float = 0.95,
    drift: float | None = None,
    out: Path | None = None,
) -> Answer:
    """Is this play an epsilon-BCCE? Gap, witness and the other sums of theory T3.

    For a log the exact figures speak of the log under its own frequencies, the verdict of the population (theory T6).

    Args:
        game, play: the question; of a log too long for memory the counts will do.
        epsilon: largest gain allowed, payoff units; compared exactly.
        level: coverage of the confidence interval of a log, and of each other statement about its population.
        drift: the caller vouches that no strategy moved by more than this from a round to the next; then actions of a
            log that go together refute independence (A2).
        out: folder for the gap certificate; a log has none.
    """
    history = History.of(game, play) if isinstance(play, PlayLog) else play
    report = assess(game, history)
    confidence = independence = drifted = None
    verdict: Verdict = "holds" if report.gap_exact <= epsilon else "refuted"
    if isinstance(play, (PlayLog, History)):
        assert isinstance(history, History)
        interval = estimate_gap(game, history, level=level)
        independence = _independence(check_independence(game, play, level=level, drift=drift or 0.0), drift)
        drifted = _drift(check_drift(game, history, level=level))
        confidence = {"level": interval.level, "gap_lower": interval.lower, "gap_upper": interval.upper}
        verdict = "inconclusive"
        if Fraction(interval.upper) <= epsilon:
            verdict = "holds"
        elif Fraction(interval.lower) > epsilon:
            verdict = "refuted"
    witness = report.witness
    document = {
        "command": "check",
        "game": game.name,
        "game_sha256": game.sha256,
        "play": "log" if isinstance(play, History) else play.kind,
        "set": report.equilibrium_set,
        "epsilon": float(epsilon),
        "epsilon_exact": number_text(epsilon),
        "gap": report.gap,
        "gap_exact": number_text(report.gap_exact),
        "witness": None
        if witness is None
        else {"player": witness.player, "type": witness.type, "deviation": witness.deviation, "gain": witness.gain},
        "per_type_sum": list(report.per_type_sum),
        "ex_ante": list(report.ex_ante),
        "nashconv": report.nashconv,
        "leader_value": report.leader_value,
        "confidence": confidence,
        "independence": independence,
        "drift": drifted,
        "largest_change": float(report.largest_change),
        "verdict": verdict,
        "certificate": None,
    }
    if out is None or isinstance(play, (PlayLog, History)):
        return Answer(document)
    path = out / "gap.cert.json"
    gap_certificate(game, play).write(path)
    return Answer({**document, "certificate": str(path)}, (path,))


def _independence(found: IndependenceTest, drift: float | None) -> dict[str, object]:
    """What the log says about followers acting independently (A2, theory T6), as the document has it.

    Signalling refutes A2 for sure. Correlated actions may also come from strategies that move in step, so they do only
    where somebody vouches for how far strategies move.
    """
    refuted = found.signalling is not None or (drift is not None and found.correlation is not None)
    return {
        "level": found.level,
        "drift": drift,
        "verdict": "refuted" if refuted else "inconclusive",
        "signalling": None if found.signalling is None else found.signalling.what,
        "correlation": None if found.correlation is None else found.correlation.what,
    }


def _drift(found: DriftTest) -> dict[str, object]:
    """What the log says about steady play, as the document has it."""
    change = found.change
    return {
        "level": found.level,
        "verdict": found.verdict,
        "change": None
        if change is None
        else {
            "player": change.player,
            "type": change.type,
            "action": change.action,
            "before": list(change.before),
            "after": list(change.after),
            "frequency_before": change.frequency_before,
            "frequency_after": change.frequency_after,
            "chance": change.chance,
        },
    }
