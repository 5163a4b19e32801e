"""Audits of play that goes on: hand-written leaders, good and bad, schema, renderings, command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from spverify.reports.audit import audit_leader
from spverify.trained_leaders.zoo import zoo_path
from spverify.verify.errors import LeaderFileError

from .conftest import Outcome

Run = Callable[..., Outcome]
Write = Callable[..., Path]

DILEMMA = "repeated-prisoners-dilemma"
LEARNER = {"rate": 0.1, "discount": 1.0, "exploration": 0.1, "decay": 2e-4, "initial": "zero"}
TO_REPLY = {"readout": "best-reply", "followers": {"rule": "q-learning", "updates": 4000, **LEARNER}}
TO_LEARN = {**TO_REPLY, "readout": "argmax"}
SELLERS = {"rule": "q-learning", "updates": 20_000, "rate": 0.25, "discount": 0.95, "exploration": 1.0, "decay": 3e-4}
CAP = {"readout": "argmax", "followers": {**SELLERS, "initial": "rivals"}}


def by_id(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {statement["id"]: statement for statement in document["statements"]}


@pytest.fixture(scope="module")
def schema(repo_root: Path) -> jsonschema.Draft202012Validator:
    document = json.loads((repo_root / "reports/schemas/dynamic-audit.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def test_the_best_memory_one_leader_holds(leader_file: Write, schema: jsonschema.Draft202012Validator) -> None:
    claims = {"value": {"best-reply": 14.0}, "gap": {"best-reply": 0.0}, "updates": 4000, "runs": 4, "rng_seed": 3}
    path = leader_file("memory-one", DILEMMA, [1, 0, 1, 0, 1], training=TO_REPLY, claims=claims)
    audit = audit_leader(path, quick=True)
    document = audit.to_document()
    schema.validate(document)
    found = by_id(document)
    assert audit.verdict == "holds"
    assert found["reference.best-memory-one"]["measured"] == 14 and document["headline"]["value_exact"] == "14"
    assert found["gap.best-reply"]["role"] == "required" and found["gap.argmax"]["role"] == "information"
    assert (found["range.any-play"]["details"]["min"], found["range.any-play"]["details"]["max"]) == (10, 16)
    assert found["baselines"]["threshold"] == 10 and found["claim.value.best-reply"]["verdict"] == "holds"
    assert audit_leader(path, quick=True).to_document() == document  # the same file, options and seed


def test_grim_trained_on_learners_is_refuted(leader_file: Write) -> None:
    # A learner without a clock cannot cooperate until the last round and defect there: each run forgoes .2 a round.
    document = audit_leader(leader_file("grim", DILEMMA, [0, 0, 1, 1, 1], training=TO_LEARN), quick=True).to_document()
    found = by_id(document)
    assert document["verdict"] == "refuted"
    assert found["gap.argmax"]["role"] == "required" and found["gap.argmax"]["verdict"] == "refuted"
    assert found["gap.argmax"]["measured"] >= 0.2 - 1e-12 and found["gap.argmax"]["threshold"] == pytest.approx(0.15)
    assert found["value.best-reply"]["measured"] == 13
    assert found["gap.argmax.anywhere"]["measured"] >= found["gap.argmax"]["measured"]


def test_a_false_claim_is_refuted(leader_file: Write) -> None:
    claims = {"value": {"best-reply": 14.0, "argmax": 99.0}, "updates": 500, "runs": 2, "rng_seed": 0}
    path = leader_file("boaster", DILEMMA, [0, 0, 1, 1, 1], training=TO_REPLY, claims=claims)
    document = audit_leader(path, quick=True).to_document()
    found = by_id(document)
    assert found["claim.value.best-reply"]["verdict"] == found["claim.value.argmax"]["verdict"] == "refuted"
    assert found["reference.best-memory-one"]["verdict"] == "refuted" and document["verdict"] == "refuted"


def test_a_claim_out_of_reach_is_inconclusive(leader_file: Write) -> None:
    claims = {"value": {"argmax": 10.0}, "updates": 10**7, "runs": 10**6, "rng_seed": 0}
    path = leader_file("far", DILEMMA, [1, 0, 1, 0, 1], training=TO_REPLY, claims=claims)
    audit = audit_leader(path, quick=True)
    assert by_id(audit.to_document())["claim.value.argmax"]["verdict"] == "inconclusive" == audit.verdict


def test_a_cap_and_no_rule_at_all(leader_file: Write, schema: jsonschema.Draft202012Validator) -> None:
    cap = audit_leader(leader_file("cap", "platform", [0] * 16, training=CAP), quick=True, seeds=10).to_document()
    schema.validate(cap)
    found = by_id(cap)
    # The rule is one of the baselines: the same games, the same random numbers, the same values.
    assert found["baseline.cap-1.05"]["measured"] == 0 and found["baseline.cap-1.05"]["details"]["runs_worse"] == 0
    assert found["value.argmax"]["details"]["interval"][0] <= found["value.argmax"]["measured"]
    assert found["range.any-play"]["details"]["max"] == pytest.approx(1.126, abs=5e-4)
    assert [row["player"] for row in cap["tables"]["deviations"]] == ["seller 0", "seller 1"]
    everything = audit_leader(leader_file("all", "platform", [4] * 16, training=CAP), quick=True, seeds=10)
    found = by_id(everything.to_document())
    assert found["reference.optimum"]["verdict"] == "refuted" and found["baselines"]["verdict"] != "holds"


def test_hidden_costs_are_scenarios(leader_file: Write, schema: jsonschema.Draft202012Validator) -> None:
    path = leader_file("hidden", "platform-hidden-cost", [2] * 16, training=CAP)
    document = audit_leader(path, quick=True, seeds=4).to_document()
    schema.validate(document)
    assert document["subject"]["players"][0]["types"] == ["cost 1", "cost 1.35"]
    assert len(document["tables"]["rules"][0]["scenarios"]) == 2 and len(document["tables"]["deviations"]) == 4


@pytest.mark.parametrize(
    ("training", "words"),
    [
        ({"followers": {"rule": "mw", "updates": 5}}, "expected q-learning, got 'mw'"),
        ({"followers": {**CAP["followers"], "rate": 7.0}}, "rate cannot be 7.0"),  # type: ignore[dict-item]
        ({"followers": {**CAP["followers"], "updates": 10**9}}, "expected 1 to 5000000 periods"),  # type: ignore[dict-item]
        ({"readout": "best-reply"}, "expected a readout of this setting"),
    ],
)
def test_training_records_that_cannot_be(leader_file: Write, training: dict[str, Any], words: str) -> None:
    path = leader_file("odd", "platform", [0] * 16, training=training)
    with pytest.raises(LeaderFileError, match=words):
        audit_leader(path, quick=True)


def test_the_command_line(spverify: Run, leader_file: Write, tmp_path: Path) -> None:
    path = leader_file("cli", DILEMMA, [1, 0, 1, 0, 1], training=TO_REPLY)
    told = spverify("report", path, "--quick", "-o", tmp_path / "r")
    assert told.code == 0 and "best memory one 14" in told.out and "exact reply *" in told.out
    assert max(len(line) for line in told.out.splitlines() if not line.startswith("Report:")) <= 80
    page = (tmp_path / "r/report.html").read_text(encoding="utf-8")
    assert "Beside rules that need no learning" in page and "after defect against cooperate" in page
    assert "always-defect" in (tmp_path / "r/report.md").read_text(encoding="utf-8")
    assert (tmp_path / "r/report.junit.xml").exists() and (tmp_path / "r/audit.json").exists()
    both = spverify("report", path, "zoo:maintain", "--quick", "-o", tmp_path / "both", "--json")
    assert [row["name"] for row in both.document["comparison"]["rows"]] == ["cli", "maintain"]
    shown = spverify("show", path)
    assert shown.code == 0 and "after defect against defect" in shown.out
    assert spverify("show", path, "--json").document["players"][0]["actions"] == ["cooperate", "defect"]
    replayed = spverify("replay", path)
    assert replayed.code == 0 and replayed.out.startswith("Q-learning on cli")


def test_an_enumeration_tells_what_it_found(spverify: Run, tmp_path: Path) -> None:
    """Its exact best reply is a fourth readout beside the three of every leader."""
    asked = ("train", "repeated-prisoners-dilemma", "--mode", "enumerate", "--quick", "-o", tmp_path / "x.pt")
    told = spverify(*asked)
    assert told.code == 0 and told.err == "" and "empirical" in told.out and "best-reply" in told.out
    both = spverify(*asked, "--seeds", "2", "--json").document
    assert [made["seed"] for made in both] == [0, 1] and all(made["value"]["best-reply"] == 14 for made in both)


def test_settings_and_training_on_the_command_line(spverify: Run, tmp_path: Path) -> None:
    rows = {row["name"]: row for row in spverify("settings", "--json").document["settings"]}
    assert rows["platform"]["dynamic"] and rows["platform"]["states"] == 16 and not rows["maintain"]["dynamic"]
    assert rows["platform-hidden-cost"]["types"] == [2, 2] and rows[DILEMMA]["rounds"] == 5
    assert "platform-hidden-cost" in spverify("settings").out
    made = spverify("train", "repeated-coordination", "--set-param", "x=-5", "-o", tmp_path / "c.pt", "--json")
    assert made.code == 0 and made.document["value"]["best-reply"] == 10
    assert "--set-param x=-5" in spverify("show", tmp_path / "c.pt", "--json").document["training"]["command"]
    told = spverify("train", "repeated-coordination", "--mode", "search", "-o", tmp_path / "d.pt", "--updates", "100")
    assert told.code == 0 and "best-reply" in told.out
    for arguments, words in (
        (("train", "platform", "--mode", "structured", "-o", tmp_path / "x.pt"), "followers are Q-learners"),
        (("train", "platform", "--leader-action", "mixture", "-o", tmp_path / "x.pt"), "must be pure"),
        (("train", "platform", "--set-param", "cost=2", "-o", tmp_path / "x.pt"), "no parameter 'cost'"),
        (
            ("train", "platform", "--paper", "5", "-o", tmp_path / "x.pt"),
            "followers of platform are Q-learners, the same in both versions",
        ),
        (("train", "repeated-coordination", "--set-param", "x=1e400", "-o", tmp_path / "x.pt"), "at most a billion"),
        (("train", "repeated-coordination", "--set-param", "x=a", "-o", tmp_path / "x.pt"), "must be numbers"),
    ):
        refused = spverify(*arguments)
        assert refused.code == 2 and words in refused.err, refused.err


@pytest.mark.parametrize("name", ["platform", "platform-hidden-cost", "repeated-prisoners-dilemma"])
def test_shipped_leaders(name: str, schema: jsonschema.Draft202012Validator) -> None:
    audit = audit_leader(zoo_path(name), name=name, quick=True)
    document = audit.to_document()
    schema.validate(document)
    found = by_id(document)
    assert (
        found["tabulation"]["verdict"] == found["baselines"]["verdict"] == found["file.integrity"]["verdict"] == "holds"
    )
    assert not [s["id"] for s in document["statements"] if s["role"] == "required" and s["verdict"] == "refuted"]
