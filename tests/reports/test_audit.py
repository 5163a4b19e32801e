"""Audits end to end: shipped leaders, good and bad ones written by hand, bytes, schema, certificates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from spverify.reports.audit import Audit, audit_leader
from spverify.solvers.bounds import equilibrium_range
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.zoo import list_zoo, zoo_path
from spverify.verify.errors import LeaderFileError
from spverify.verify.kernel import check_certificate

from .conftest import PRICES, TRAINING, Outcome

Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def schema(repo_root: Path) -> jsonschema.Draft202012Validator:
    document = json.loads((repo_root / "reports/schemas/audit.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(document)
    return jsonschema.Draft202012Validator(document)


def by_id(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {statement["id"]: statement for statement in document["statements"]}


NEGATIVE_EXAMPLES = {
    # 10, where committing to the other row earns 20
    "maintain-myopic": {"reference.pure-optimum"},
    # the same leader, and its file claims 20
    "maintain-boaster": {
        *("reference.pure-optimum", "claim.value.argmax", "horizon.x1", "horizon.x10", "horizon.x100")
    },
    # no welfare lost by final actions, .04 by final mixes, however long the followers learn
    "mspm-pi-episode": {"horizon.agreement"},
}
"""Leaders shipped because something is wrong with them, and the required statements that say what."""

OPEN_WHEN_QUICK = {"mspm-grid-5": {"horizon.agreement"}}
"""What a quick audit, which ends at ten times the training horizon, leaves open: the mixes have not settled by then."""


@pytest.mark.parametrize("name", [name for name in list_zoo() if not name.startswith(("platform", "repeated"))])
def test_shipped_leaders(name: str, schema: jsonschema.Draft202012Validator) -> None:
    audit = audit_leader(zoo_path(name), name=name, quick=True)
    document = audit.to_document()
    schema.validate(document)
    found = by_id(document)
    assert found["regret.mw"]["verdict"] == found["tabulation"]["verdict"] == "holds"
    required = {s["id"]: s["verdict"] for s in document["statements"] if s["role"] == "required"}
    refuted = {key for key, verdict in required.items() if verdict == "refuted"}
    undecided = {key for key, verdict in required.items() if verdict == "inconclusive"}
    assert refuted == NEGATIVE_EXAMPLES.get(name, set()) and undecided <= OPEN_WHEN_QUICK.get(name, set())
    assert audit.verdict == ("refuted" if refuted else "inconclusive" if undecided else "holds")
    for certificate in audit.certificates.values():
        assert check_certificate(certificate).accepted


@pytest.fixture(scope="session")
def good(leader_file: Callable[..., Path]) -> Audit:
    """Row 0 of maintain: worth 20 whatever the followers do in equilibrium."""
    claims = {"value": {"argmax": 20.0}, "gap": {"argmax": 0.0}, "updates": 100, "runs": 2, "rng_seed": 5}
    return audit_leader(leader_file("good", "maintain", [0], claims=claims))


def test_a_good_leader_holds(good: Audit, schema: jsonschema.Draft202012Validator) -> None:
    document = good.to_document()
    schema.validate(document)
    assert document["verdict"] == "holds" and document["headline"]["value_exact"] == "20"
    assert document["headline"]["range"]["min_exact"] == document["headline"]["range"]["max_exact"] == "20"
    found = by_id(document)
    required = {"file.integrity", "commitment", "tabulation", "gap.argmax", "horizon.x1", "horizon.x10", "horizon.x100"}
    required |= {"horizon.agreement", "regret.mw", "reference.pure-optimum", "claim.value.argmax", "claim.gap.argmax"}
    assert required == {s["id"] for s in document["statements"] if s["role"] == "required"}
    assert {"range.sf@0", "reference.pure-optimum", "value.empirical", "gap.last"} <= found.keys()
    mixed = found["reference.mixed-optimum"]
    assert mixed["verdict"] == "refuted" and mixed["role"] == "information"  # 20 is not 27.5
    assert mixed["details"]["recomputed"] == "55/2" and mixed["details"]["proved"] and mixed["details"]["margin"] == "0"


def test_the_knife_edge_itself_is_refuted(leader_file: Callable[..., Path]) -> None:
    """At maintain's mixed optimum the follower is indifferent for ever: 27.5 is there by a tie rule only (T7)."""
    path = leader_file("on-the-edge", "maintain", [["1/4", "3/4", 0]])
    for quick in (False, True):
        found = by_id(audit_leader(path, quick=quick).to_document())
        assert found["reference.mixed-optimum"]["verdict"] == "holds"
        assert found["horizon.agreement"]["verdict"] == "refuted"
        assert found["horizon.agreement"]["measured"] == pytest.approx(17.5, abs=0.06)


def test_a_short_horizon_leaves_agreement_open(
    leader_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At ×10 a leader near the knife-edge still differs by readout, and at ×100 no more: ×10 alone refutes nothing."""
    path = leader_file("near-the-edge", "maintain", [["254/1000", "746/1000", 0]])
    long = by_id(audit_leader(path, quick=True).to_document())
    assert long["horizon.agreement"]["verdict"] == "holds"
    monkeypatch.setattr("spverify.reports.audit.QUICK_ROUNDS", 5000)
    short = audit_leader(path, quick=True)
    found = by_id(short.to_document())
    assert "horizon.x100" not in found and found["horizon.agreement"]["verdict"] == short.verdict == "inconclusive"


def test_distance_from_the_optimum_is_asked_as_the_user_says(leader_file: Callable[..., Path]) -> None:
    """Mixtures of conitzer: (1/2 - d, 1/2 + d) earns 5/2 - d; what is at stake is 5/2, from a least payoff of 0."""
    path = leader_file("slack", "conitzer", [["3/10", "7/10"]])
    for within, verdict in (("0.08", "holds"), ("0.0799", "refuted"), ("0", "refuted")):
        audit = audit_leader(path, quick=True, within=within)
        found = by_id(audit.to_document())["reference.mixed-optimum"]
        assert found["verdict"] == verdict and found["role"] == "required", found["text"]


def test_the_average_play_needs_no_second_opinion(leader_file: Callable[..., Path]) -> None:
    for readout, expected in (("empirical", False), ("last", True)):
        path = leader_file(f"by-{readout}", "maintain", [0], training={**TRAINING, "readout": readout})
        assert ("horizon.agreement" in by_id(audit_leader(path, quick=True).to_document())) == expected


def test_a_notebook_shows_the_page(good: Audit) -> None:
    from html import unescape

    from spverify.reports.render.html import audit_html

    shown = good._repr_html_()
    page = unescape(shown.removeprefix('<iframe srcdoc="').partition('" title=')[0])
    assert page == audit_html(good.to_document()) and shown.endswith("</iframe>")


def test_the_gap_is_that_of_the_certificate(good: Audit) -> None:
    for statement in good.statements:
        if statement.id.startswith(("gap.", "value.")):
            claim = good.certificates[statement.details["certificate"]]["claim"]
            exact = statement.details.get("gap_exact") or statement.details["value_exact"]
            assert Fraction(claim["value"]) == Fraction(exact)


def test_a_bad_leader_is_refuted_with_a_full_report(
    spverify: Run, leader_file: Callable[..., Path], tmp_path: Path, schema: jsonschema.Draft202012Validator
) -> None:
    """Row 1 earns 10; its file boasts 20."""
    claims = {"value": {"argmax": 20.0}, "gap": {"argmax": 0.0}, "updates": 100, "runs": 1, "rng_seed": 0}
    path = leader_file("boast", "maintain", [1], claims=claims)
    found = spverify("report", path, "--quick", "--out", tmp_path / "r", "--json")
    assert found.code == 1 and found.err == ""
    document = found.document
    schema.validate(document)
    assert document == json.loads((tmp_path / "r/audit.json").read_text(encoding="utf-8"))
    statements = by_id(document)
    assert (
        statements["claim.value.argmax"]["verdict"] == "refuted" and statements["claim.value.argmax"]["measured"] == 10
    )
    assert statements["horizon.x1"]["verdict"] == "refuted" and statements["claim.gap.argmax"]["verdict"] == "holds"
    for name in ("report.html", "report.md", "certificates"):
        assert (tmp_path / "r" / name).exists()
    for name in document["certificates"]:
        assert spverify("recheck", tmp_path / "r/certificates" / name).code == 0


def test_followers_who_have_not_settled_refute(leader_file: Callable[..., Path]) -> None:
    """After one round the average play is uniform: maintain's row 0 leaves a gap of 15 * 2/3."""
    training = {**TRAINING, "followers": {**TRAINING["followers"], "updates": 1}, "readout": "empirical"}
    audit = audit_leader(leader_file("early", "maintain", [0], training=training), quick=True)
    found = by_id(audit.to_document())
    assert audit.verdict == "refuted" and found["gap.empirical"]["verdict"] == "refuted"
    assert found["gap.empirical"]["measured"] == pytest.approx(10, abs=1e-9)
    assert found["gap.empirical"]["details"]["witness"]["deviation"] == "column 0"


def test_epsilon_decides_exactly(leader_file: Callable[..., Path]) -> None:
    """The gap of that uniform play is 10 - 10/GRID-ish of scale 30; a threshold a hair above it holds."""
    training = {**TRAINING, "followers": {**TRAINING["followers"], "updates": 1}, "readout": "empirical"}
    path = leader_file("hair", "maintain", [0], training=training)
    gap = Fraction(by_id(audit_leader(path, quick=True).to_document())["gap.empirical"]["details"]["gap_exact"])
    for change, verdict in ((Fraction(0), "holds"), (-Fraction(1, 10**15), "refuted")):
        audit = audit_leader(path, quick=True, epsilon=str(gap / 30 + change))
        assert by_id(audit.to_document())["gap.empirical"]["verdict"] == verdict


def test_claims_out_of_reach_are_inconclusive(leader_file: Callable[..., Path]) -> None:
    claims = {"value": {"argmax": 20.0}, "updates": 10**9, "runs": 1, "rng_seed": 0}
    audit = audit_leader(leader_file("vast", "maintain", [0], claims=claims), quick=True)
    assert by_id(audit.to_document())["claim.value.argmax"]["verdict"] == audit.verdict == "inconclusive"


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ({"followers": {**TRAINING["followers"], "updates": 0}}, "updates"),
        ({"followers": {**TRAINING["followers"], "updates": 10**9}}, "updates"),
        ({"followers": {**TRAINING["followers"], "epsilon": 1e-300}}, "epsilon"),
        ({"followers": {**TRAINING["followers"], "types": "guessed"}}, "types"),
        ({"readout": "tea leaves"}, "readout"),
    ],
)
def test_a_training_record_that_cannot_be(leader_file: Callable[..., Path], record: dict[str, Any], word: str) -> None:
    path = leader_file(f"record-{word}", "maintain", [0], training=record)
    with pytest.raises(LeaderFileError, match=rf"{path.name}: training\.[a-z.]*{word}: expected"):
        audit_leader(path, quick=True)


def test_horizons_out_of_reach_are_inconclusive(
    leader_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("subject", "questions"):
        monkeypatch.setattr(f"spverify.reports.{room}.MAX_ROUNDS", 500)
    audit = audit_leader(leader_file("slow", "maintain", [0]), quick=True)
    found = by_id(audit.to_document())
    assert found["horizon.x1"]["verdict"] == "holds"
    assert found["horizon.x10"]["verdict"] == audit.verdict == "inconclusive"
    assert "1000 updates, more than the 500" in found["horizon.x10"]["text"]


def test_the_proved_envelope_contains_the_range_at_every_epsilon(good: Audit, leader_file: Callable[..., Path]) -> None:
    """What the picture shades between the epsilons asked is proved too: multipliers carry over (theory T5)."""
    from spverify.reports.render.pictures import _envelope

    path = leader_file("mixed", "maintain", [["26/100", "74/100", 0]])
    document = audit_leader(path).to_document()
    curve = [point for point in document["series"]["range_curve"] if point["set"] == "sf"]
    game = inspect_leader(path).game
    for k in range(1, 20):
        end = curve[-1]["epsilon"] * k / 19
        _, low, high = _envelope(curve, end)
        true = equilibrium_range(game, epsilon=Fraction(end))
        assert low[-1] <= float(true.min.outer) + 1e-9 and float(true.max.outer) <= high[-1] + 1e-9


def test_same_inputs_same_bytes(spverify: Run, leader_file: Callable[..., Path], tmp_path: Path) -> None:
    path = leader_file("bytes", "mspm-pi", PRICES)
    digests = []
    for folder in ("one", "two"):
        assert spverify("report", path, "--quick", "--out", tmp_path / folder).code in (0, 1, 3)
        files = sorted(p for p in (tmp_path / folder).rglob("*") if p.is_file())
        digests.append(
            {str(p.relative_to(tmp_path / folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
        )
    assert digests[0] == digests[1] and len(digests[0]) > 10


def test_another_seed_is_another_replay(leader_file: Callable[..., Path]) -> None:
    path = leader_file("seeds", "mspm-pi", PRICES)
    one, two = (audit_leader(path, quick=True, rng_seed=seed).to_document() for seed in (0, 1))
    assert one["tables"] != two["tables"] and one["subject"]["sha256"] == two["subject"]["sha256"]


def test_several_leaders_are_compared(spverify: Run, leader_file: Callable[..., Path], tmp_path: Path) -> None:
    claims = {"value": {"argmax": 20.0}, "updates": 100, "runs": 1, "rng_seed": 0}
    good, bad = leader_file("left", "maintain", [0]), leader_file("right", "maintain", [1], claims=claims)
    found = spverify("report", good, bad, good, "--quick", "--out", tmp_path, "--json")
    assert found.code == 1
    document = found.document
    assert document["command"] == "report" and len(document["audits"]) == 3
    rows = document["comparison"]["rows"]
    assert [row["name"] for row in rows] == ["left", "right", "left-2"]
    assert [row["verdict"] for row in rows] == ["holds", "refuted", "holds"]
    for name in ("left", "right", "left-2"):
        assert (tmp_path / name / "report.html").exists()
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert 'href="left-2/report.html"' in page


def test_old_certificates_do_not_linger(spverify: Run, leader_file: Callable[..., Path], tmp_path: Path) -> None:
    path = leader_file("linger", "maintain", [0])
    spverify("report", path, "--out", tmp_path)
    spverify("report", path, "--quick", "--out", tmp_path)
    listed = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))["certificates"]
    assert sorted(p.name for p in (tmp_path / "certificates").iterdir()) == listed


@pytest.mark.parametrize("damage", ["text", "empty", "truncated", "flipped", "pickle"])
def test_damaged_leader_files(spverify: Run, leader_file: Callable[..., Path], tmp_path: Path, damage: str) -> None:
    data = leader_file("whole", "maintain", [0]).read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    bad = {
        "text": b"hello",
        "empty": b"",
        "truncated": data[: len(data) // 2],
        "flipped": bytes(flipped),
        "pickle": b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    }
    path = tmp_path / "bad.pt"
    path.write_bytes(bad[damage])
    for command in (["report", path, "--out", tmp_path / "r"], ["show", path]):
        found = spverify(*command)
        assert found.code == 2 and found.out == ""
        (line,) = found.err.strip().splitlines()
        assert line.startswith("error: ") and "bad.pt" in line
        error = spverify(*command, "--json").document["error"]
        assert error["path"] == str(path) and error["kind"] in ("leader", "unreadable")
    assert not (tmp_path / "r").exists()
