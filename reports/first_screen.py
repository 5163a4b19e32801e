"""The four answers of the first screen, drawn from an audit's statements and headline.

Did it converge, how far is it from equilibrium, what is the worst that could happen, how far is it from the best? Each
answer is a word or a figure with one sentence, and names the statements that it rests on. Nothing is computed here
but a difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..verify.numerals import show
from ..verify.verdict import Statement
from .render.text import READOUTS, span


def four_answers(
    statements: Sequence[Statement], headline: Mapping[str, Any], threshold: Fraction, updates: int, replays: int
) -> list[dict[str, Any]]:
    """The answers, in the order of the questions: ``answer`` in a word, the ``figure`` behind it and its ``value``.

    Args:
        statements: all of the audit.
        headline: its figures.
        threshold: largest gap allowed, payoff units.
        updates: rounds of the training horizon.
        replays: how often the followers learned again.
    """
    return [
        _converged(statements, headline, threshold),
        _gap(headline),
        _worst(headline),
        _best(statements, headline, updates, replays),
    ]


def _answer(
    question: str, answer: str, figure: tuple[str, str], text: str, evidence: str, rests: Sequence[str]
) -> dict[str, Any]:
    return {
        "question": question,
        "answer": answer,
        "figure": figure[0],
        "value": figure[1],
        "text": text,
        "evidence": evidence,
        "statements": list(rests),
    }


def _converged(statements: Sequence[Statement], headline: Mapping[str, Any], threshold: Fraction) -> dict[str, Any]:
    """Yes only if gap and value last, the readouts agree, and the followers learned as their rule promises."""
    asked = [s for s in statements if s.role == "required" and s.id.startswith(("gap.", "horizon.", "regret."))]
    least = Fraction(headline["value_exact"]) - threshold
    # A horizon that is refuted only for falling short of a claim has settled all the same.
    settled = [s for s in asked if s.verdict == "refuted" and _lasts(s, least, threshold)]
    refuted = [s.id for s in asked if s.verdict == "refuted" and s not in settled]
    undecided = [s.id for s in asked if s.verdict == "inconclusive"]
    factors = [int(s.id.removeprefix("horizon.x")) for s in asked if s.id.startswith("horizon.x")]
    if refuted:
        answer, text = "no", f"refuted: {', '.join(refuted)}"
    elif undecided:
        answer, text = "undecided", f"could not be decided: {', '.join(undecided)}"
    else:
        agree = ", and the readouts agree in the end" if any(s.id == "horizon.agreement" for s in asked) else ""
        claim = "; but the value is less than its trainer claims" if settled else ""
        answer, text = "yes", f"gap and value last as the followers go on learning{agree}{claim}"
    kinds = {s.evidence for s in asked}
    evidence = next((kind for kind in ("statistical", "float") if kind in kinds), "exact")
    figure = "Horizons", f"×{min(factors)} to ×{max(factors)}" if factors else "×1"
    return _answer("Did it converge?", answer, figure, text, evidence, [s.id for s in asked])


def _lasts(horizon: Statement, least: Fraction, threshold: Fraction) -> bool:
    found = horizon.details
    if not horizon.id.startswith("horizon.x") or "gap_exact" not in found:
        return False
    return Fraction(found["gap_exact"]) <= threshold and Fraction(found["value_exact"]) >= least


def _gap(headline: Mapping[str, Any]) -> dict[str, Any]:
    gap, allowed = show(Fraction(headline["gap_exact"]), 4, "up"), show(headline["threshold"], 4, "down")
    text = f"the most that any follower gains by a fixed deviation; {allowed} is allowed"
    rests = [f"gap.{headline['readout']}"]
    return _answer("How far from equilibrium?", gap, ("Gap", gap), text, "exact", rests)


def _worst(headline: Mapping[str, Any]) -> dict[str, Any]:
    found = headline["range"]
    text = f"the leader's value over all equilibria of its followers at the play's own ε = {show(found['epsilon'], 4)}"
    if not found["proved"]:
        text += "; proved from outside, not known to be reached"
    least = show(Fraction(found["min_exact"]), 5, "down")
    name = f"range.{found['set']}@{show(Fraction(found['epsilon_exact']), 12)}"
    return _answer("What is the worst that could happen?", least, ("Proved range", span(found)), text, "exact", [name])


def _best(statements: Sequence[Statement], headline: Mapping[str, Any], updates: int, replays: int) -> dict[str, Any]:
    value, aim, readout = Fraction(headline["value_exact"]), headline["reference"], headline["readout"]
    low, high = headline["values"]
    spread = f", {show(low, 4)} to {show(high, 4)} over {replays} replays" if low != high else ""
    text = f"under {READOUTS[readout]} after {updates} updates{spread}"
    rests, figure = [f"value.{readout}"], ("Value reached", show(value, 5))
    if aim is None:
        answer, text = "unknown", f"{text}; no best is known"
    else:
        own = next(s for s in statements if s.id == f"reference.{aim['name']}")
        rests.append(own.id)
        best = Fraction(own.details["value_exact"])
        name = aim["name"].replace("-", " ")
        text = f"{text}; {name}: {show(best, 5)}"
        short = best - value
        answer = f"{show(short, 4, 'up')} below" if short > 0 else f"{show(-short, 4)} above" if short < 0 else "at it"
    return _answer("How far from the best?", answer, figure, text, "exact", rests)
