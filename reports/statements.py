"""One audited statement from exact figures: every question of the audit words its answers through `state`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from ..verify.verdict import Evidence, Role, Statement, Verdict


def state(
    identity: str,
    role: Role,
    text: str,
    verdict: Verdict | bool,
    *,
    measured: Fraction | float | None = None,
    threshold: Fraction | float | None = None,
    evidence: Evidence = "exact",
    why: str,
    **details: Any,
) -> Statement:
    """A `Statement`; a verdict given as a truth value is *holds* or *refuted*, figures become doubles.

    Args:
        details: more figures, JSON values.
    """
    if isinstance(verdict, bool):
        verdict = "holds" if verdict else "refuted"
    figures = [None if value is None else float(value) for value in (measured, threshold)]
    return Statement(identity, role, text, verdict, figures[0], figures[1], evidence, why, details)
