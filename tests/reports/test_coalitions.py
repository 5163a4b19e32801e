"""Followers who act together: what an audit says of the equilibria that are best for some or all of them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest

from spverify.reports import coalitions
from spverify.reports.audit import audit_leader
from spverify.reports.render.html import audit_html
from spverify.reports.render.markdown import audit_markdown
from spverify.reports.render.terminal import audit_text
from spverify.trained_leaders.zoo import zoo_path
from spverify.verify.certificate import check_certificate
from spverify.verify.game import BayesianGame

from .test_audit import by_id


def three() -> BayesianGame:
    """Players 0 and 1 coordinate: 2 each at (0, 0), 1 each at (1, 1), where a bystander has 3 and the leader 5."""
    pair = np.zeros((1, 1, 1, 2, 2, 1))
    pair[0, 0, 0, 0, 0], pair[0, 0, 0, 1, 1] = 2, 1
    bystander, leader = np.zeros_like(pair), np.zeros_like(pair)
    bystander[0, 0, 0, 1, 1], leader[0, 0, 0, 1, 1] = 3, 5
    return BayesianGame(np.ones((1, 1, 1)), [pair, pair, bystander], leader)


def asked(monkeypatch: pytest.MonkeyPatch, *, curve: bool, value: int = 5, seconds: float = 40.0) -> dict[str, Any]:
    monkeypatch.setattr(coalitions, "slack", lambda subject: Fraction(1, 10))
    options = SimpleNamespace(curve=curve, seconds=seconds)
    subject: Any = SimpleNamespace(game=three(), readout="argmax", options=options)
    reading = SimpleNamespace(value=Fraction(value), gap=Fraction(0))
    readings: Any = {(1, readout): reading for readout in ("empirical", "last", "argmax")}
    pacts = coalitions.prove_pacts(subject, readings, lambda message: None)
    assert all(check_certificate(document).accepted for document in coalitions.pact_certificates(pacts).values())
    return {s.id: s for s in coalitions.ask_pacts(subject, pacts, readings)}


def test_who_agrees_decides_what_the_leader_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """All together have 5 at (1, 1) and 4 at (0, 0); players 0 and 1 alone have 2 and 4."""
    found = asked(monkeypatch, curve=True)
    assert set(found) == {"coalition.all@0", "coalition.0-1@0", "coalition.0-2@0", "coalition.1-2@0"}
    verdicts = {name: statement.verdict for name, statement in found.items()}
    assert verdicts == {
        "coalition.all@0": "holds",
        "coalition.0-1@0": "refuted",
        "coalition.0-2@0": "holds",
        "coalition.1-2@0": "holds",
    }
    pair = found["coalition.0-1@0"]
    assert pair.measured == 0 and pair.threshold == 4.9 and pair.role == "information"
    assert pair.details["joint"]["inner_exact"] == "4" and pair.details["min"]["inner_exact"] == "0"
    assert set(asked(monkeypatch, curve=False)) == {"coalition.all@0"}


def test_a_leader_worth_less_anyway_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, curve=True, value=0)["coalition.0-1@0"].verdict == "holds"


def test_the_audit_says_it_in_every_rendering(repo_root: Path) -> None:
    audit = audit_leader(zoo_path("matrix-design"), quick=True)
    document = audit.to_document()
    schema = json.loads((repo_root / "reports/schemas/audit.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema)
    (name,) = (key for key in by_id(document) if key.startswith("coalition."))
    statement = by_id(document)[name]
    assert statement["verdict"] == "holds" and statement["details"]["min"]["inner_exact"] == "5/3"
    assert set(statement["details"]["certificates"]) <= set(document["certificates"])
    assert "Followers who act together" in audit_html(document) and f'id="{name}"' in audit_html(document)
    assert statement["text"] in audit_markdown(document).replace("\\", "")
    assert "Followers who act together" in audit_text(document)


def test_one_follower_has_nobody_to_agree_with() -> None:
    subject: Any = SimpleNamespace(game=BayesianGame([1], [[[0, 1]]], [[3, 2]]))
    assert coalitions.prove_pacts(subject, {}, lambda message: None) == []
