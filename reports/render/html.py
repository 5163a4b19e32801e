"""The audit as one self-contained HTML page: no script, no network, readable on paper, in the dark and by ear."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...verify.numerals import show, show_exact
from .dynamic import WORDS, allowed, is_dynamic, scenarios
from .pictures import horizon_picture, learner_picture, range_picture, regret_picture
from .text import MEANING, READOUTS, SET_NAMES, asides, claims_summary, learner_rows, pacts, span, summary

Document = Mapping[str, Any]

GROUPS = (
    ("The file and the mechanism", ("file.", "commitment", "tabulation")),
    ("Do the followers settle?", ("learners", "gap.", "horizon.", "regret.", "seeds.gap")),
    ("What is the leader worth?", ("value.", "baseline", "reference.", "seeds.value")),
    ("What else could happen?", ("range.", "coalition.")),
    ("How fine is the balance?", ("tolerance.", "ties", "knife-edge", "sensitivity.", "payments")),
    ("What its trainer claims", ("claim.",)),
)


_CONTENTS = (
    ("good-to-know", "Not required, good to know"),
    ("required", "What was required"),
    ("mechanism", "What the leader does"),
    ("play", "What the followers do"),
    ("horizons", "When the followers go on learning"),
    ("regret", "Do the followers learn as the theorem asks?"),
    ("rules", "Other followers: every learning rule"),
    ("luck", "How much is luck: many fresh runs"),
    ("best", "How far from the best"),
    ("ranges", "Equilibrium selection"),
    ("balance", "How fine is the balance"),
    ("statements", "Every statement"),
    ("made", "How this was made"),
)

_PICTURES = {"range": range_picture, "horizon": horizon_picture, "regret": regret_picture, "learners": learner_picture}


def audit_html(document: Document) -> str:
    """The page of one audit."""
    statements, dynamic = document["statements"], is_dynamic(document)
    groups = [(title, [s for s in statements if s["id"].startswith(prefixes)]) for title, prefixes in GROUPS]
    return (
        _environment()
        .get_template("dynamic.html.j2" if dynamic else "report.html.j2")
        .render(
            audit=document,
            subject=document["subject"],
            headline=document["headline"],
            groups=[(title, found) for title, found in groups if found],
            summary=summary(document),
            asides=asides(document),
            required=[s for s in statements if s["role"] == "required"],
            references=[s for s in statements if s["id"].startswith("reference.")],
            rules=[] if dynamic else learner_rows(document),
            contents=[entry for entry in _CONTENTS if entry[0] != "good-to-know" or asides(document)],
            ranges=[s for s in statements if s["id"].startswith("range.")],
            pacts=pacts(document),
            meaning=MEANING,
            readouts=READOUTS,
            sets=SET_NAMES,
            words=WORDS,
            allowed=allowed(document["headline"]) if dynamic else "",
            scenarios=scenarios(document) if dynamic else [],
            pictures={
                name: "".join(
                    f'<div class="{width}">{draw(document, narrow=width == "narrow")}</div>'
                    for width in ("wide", "narrow")
                )
                for name, draw in ({} if dynamic else _PICTURES).items()
            },
        )
    )


def comparison_html(document: Document, links: Sequence[str]) -> str:
    """The page that sets several audits side by side; ``links`` are their pages."""
    rows = list(zip(document["comparison"]["rows"], links, strict=True))
    return _environment().get_template("comparison.html.j2").render(rows=rows, meaning=MEANING, readouts=READOUTS)


def claims_html(document: Document) -> str:
    """The page of a paper's claims."""
    return (
        _environment()
        .get_template("claims.html.j2")
        .render(claims=document, summary=claims_summary(document), meaning=MEANING)
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["show"] = lambda value, digits=6: _typeset(show(value, digits))
    environment.filters["exact"] = lambda text, digits=6: _typeset(show_exact(Fraction(text), digits))
    environment.filters["decimal"] = lambda text, digits=6, way="nearest": _typeset(show(Fraction(text), digits, way))
    environment.filters["span"] = lambda found: _typeset(span(found))
    environment.filters["minus"] = lambda text: re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", text)
    environment.filters["percent"] = lambda share: f"{100 * share:.0f}"
    return environment


def _typeset(number: str) -> str:
    """With a true minus sign, except in exponents."""
    return re.sub("(?<!e)-", "\N{MINUS SIGN}", number)
