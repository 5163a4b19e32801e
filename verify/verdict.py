"""Verdicts (theory T10): every audited statement ends *holds*, *refuted* or *inconclusive*, and says from what.

A float figure alone never yields *holds* when an exact check was possible; who builds a statement keeps to that.
Required statements decide the exit code, information does not.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["holds", "refuted", "inconclusive"]
Evidence = Literal["exact", "float", "statistical"]
Role = Literal["required", "information"]

VERDICTS: tuple[Verdict, ...] = ("holds", "refuted", "inconclusive")
EXIT_CODES: dict[Verdict, int] = {"holds": 0, "refuted": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Statement:
    """One audited statement.

    Attributes:
        id: stable name, such as ``gap.argmax`` (docs/formats.md).
        role: ``required`` decides the audit's verdict, ``information`` does not.
        text: the statement, one sentence.
        verdict: what became of it.
        measured: the measured figure, or None where there is none.
        threshold: what it was compared with, or None.
        evidence: ``exact`` (rational arithmetic), ``float``, or ``statistical`` (at a stated confidence).
        why: why it matters and what the figure rests on, one or two sentences.
        details: more figures, JSON values.
    """

    id: str
    role: Role
    text: str
    verdict: Verdict
    measured: float | None
    threshold: float | None
    evidence: Evidence
    why: str
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.verdict not in VERDICTS:
            raise ValueError(f"no such verdict: {self.verdict!r}")

    def to_document(self) -> dict[str, Any]:
        """The statement as the audit document holds it."""
        out: dict[str, Any] = {
            "id": self.id,
            "role": self.role,
            "text": self.text,
            "verdict": self.verdict,
            "measured": self.measured,
            "threshold": self.threshold,
            "evidence": self.evidence,
            "why": self.why,
        }
        return {**out, "details": self.details} if self.details else out


def combine(statements: Iterable[Statement]) -> Verdict:
    """The verdict over all required statements: refuted if one is, else inconclusive if one is, else holds.

    With nothing required the answer is *inconclusive*: nothing was shown.
    """
    found = {statement.verdict for statement in statements if statement.role == "required"}
    if "refuted" in found:
        return "refuted"
    return "holds" if found == {"holds"} else "inconclusive"
