"""Every command's `--json`: the documents of docs/formats.md, field by field, on answers of every kind and on errors.

A form is a dictionary of fields that have to be there, a list of one form, a set of the values allowed, a kind of
number or text, or a tuple of forms of which one fits.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .conftest import Outcome

Run = Callable[..., Outcome]
CASES = Path(__file__).parents[1] / "verify" / "certificates"


class Kind:
    """A kind of value, by name and test."""

    def __init__(self, name: str, test: Callable[[Any], bool]) -> None:
        self.name, self.test = name, test

    def __repr__(self) -> str:
        return self.name


TEXT = Kind("a text", lambda v: isinstance(v, str) and v != "")
EXACT = Kind("a rational in lowest terms", lambda v: isinstance(v, str) and str(Fraction(v)) == v)
COUNT = Kind("a count", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0)
FLAG = Kind("true or false", lambda v: isinstance(v, bool))
NUMBER = Kind("a number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v))
DIGEST = Kind("a sha256", lambda v: isinstance(v, str) and re.fullmatch("[0-9a-f]{64}", v) is not None)
ANY = Kind("anything", lambda v: True)
PATH = Kind("the path of a file", lambda v: isinstance(v, str) and Path(v).is_file())

VERDICT = {"holds", "refuted", "inconclusive"}
SETS = {"sf", "ns", "tc"}
STATEMENT = {
    "id": TEXT,
    "role": {"required", "information"},
    "text": TEXT,
    "verdict": VERDICT,
    "measured": (NUMBER, None),
    "threshold": (NUMBER, None),
    "evidence": {"exact", "float", "statistical"},
    "why": TEXT,
}
SPREAD = {"min": NUMBER, "median": NUMBER, "max": NUMBER}
EXACT_SPREAD = {"min": NUMBER, "mean": NUMBER, "max": NUMBER, "max_exact": EXACT}
CHECK: dict[str, Any] = {
    "command": {"check"},
    "set": SETS,
    "epsilon": NUMBER,
    "gap": NUMBER,
    "gap_exact": (EXACT, None),
    "witness": ({"player": COUNT, "type": COUNT, "deviation": COUNT, "gain": NUMBER}, None),
    "per_type_sum": [NUMBER],
    "ex_ante": [NUMBER],
    "nashconv": (NUMBER, None),
    "leader_value": (NUMBER, None),
    "confidence": ({"level": NUMBER, "gap_lower": NUMBER, "gap_upper": NUMBER}, None),
    "independence": (None, {"level": NUMBER, "drift": ANY, "verdict": VERDICT, "signalling": ANY, "correlation": ANY}),
    "drift": (None, {"level": NUMBER, "verdict": VERDICT, "change": ANY}),
    "verdict": VERDICT,
}
SIDE = {
    "outer": NUMBER,
    "inner": (NUMBER, None),
    "inner_gap": (NUMBER, None),
    "certificate": (PATH, None),
    "outer_exact": EXACT,
    "inner_exact": (EXACT, None),
    "inner_gap_exact": (EXACT, None),
    "inner_certificate": (PATH, None),
    "width": (NUMBER, None),
    "held_back_by": [{"player": COUNT, "type": COUNT, "deviation": COUNT, "price": NUMBER, "sentence": TEXT}],
}
BOUNDS: dict[str, Any] = {
    "command": {"bounds"},
    "objective": TEXT,
    "set": SETS,
    "epsilon": NUMBER,
    "min": SIDE,
    "max": SIDE,
    "proved": FLAG,
    "closed": FLAG,
    "method": TEXT,
    "seconds": NUMBER,
}
POINT = {"epsilon": NUMBER, "epsilon_exact": EXACT, "min": NUMBER, "max": NUMBER, "min_exact": EXACT, "proved": FLAG}
END = {"outer": NUMBER, "inner_exact": (EXACT, None), "inner_gap_exact": (EXACT, None), "price_exact": EXACT}
COALITION = {
    "players": [COUNT],
    "slack_exact": EXACT,
    "joint": {"outer": NUMBER, "inner_exact": (EXACT, None)},
    "threshold_exact": EXACT,
    "min": END,
    "max": END,
    "proved": FLAG,
}
RECHECK: dict[str, Any] = {
    "command": {"recheck"},
    "accepted": FLAG,
    "statement": TEXT,
    "value_exact": EXACT,
    "value": NUMBER,
    "reason": (TEXT, None),
}
PROOF = {name: form for name, form in RECHECK.items() if name != "command"}
FOLDER: dict[str, Any] = {"command": {"recheck"}, "accepted": FLAG, "certificates": [{"file": TEXT, **PROOF}]}
CLAIMS: dict[str, Any] = {
    "command": {"claims"},
    "format": {"spverify-claims-verdicts"},
    "version": {1},
    "title": TEXT,
    "source": ANY,
    "statements": [STATEMENT],
    "verdict": VERDICT,
}
READOUTS = {"empirical": NUMBER, "last": NUMBER, "argmax": NUMBER}
TRAIN: dict[str, Any] = {
    "command": {"train"},
    "setting": TEXT,
    "mode": TEXT,
    "seed": COUNT,
    "value": READOUTS,
    "gap": READOUTS,
    "updates": COUNT,
    "seconds": NUMBER,
    "leader": PATH,
}
REPLAY: dict[str, Any] = {
    "command": {"replay"},
    "game": TEXT,
    "learner": {"name": TEXT, "title": TEXT, "guarantee": {"always", "expectation", "none"}, "payoff_scale": NUMBER},
    "rounds": COUNT,
    "seeds": COUNT,
    "epsilon": NUMBER,
    "gap": {"final": SPREAD, "settled": [(COUNT, None)], "checkpoints": [{"round": COUNT, **SPREAD}]},
    "regret": [{"round": COUNT, "player": COUNT, "type": COUNT, "regret": SPREAD}],
    "rate": {"exponent": (NUMBER, None), "lower": (NUMBER, None), "upper": (NUMBER, None)},
    "motion": {"settles": COUNT, "cycles": COUNT, "wanders": COUNT},
    "readouts": {name: {"gap": (EXACT_SPREAD, None), "value": (EXACT_SPREAD, None)} for name in READOUTS},
    "statements": [STATEMENT],
    "verdict": (VERDICT, None),
    "files": [PATH],
}
PLAYER = {"name": TEXT, "types": [TEXT], "actions": [TEXT]}
SHOW: dict[str, Any] = {
    "command": {"show"},
    "leader": TEXT,
    "sha256": DIGEST,
    "bytes": COUNT,
    "setting": {"name": TEXT, "parameters": ANY},
    "policy": {
        "kind": {"table", "network"},
        "leader_action": {"pure", "mixture"},
        "network_agrees_with_table": (FLAG, None),
        "origin": ANY,
    },
    "players": [PLAYER],
    "mechanism": [{"observation": TEXT, "actions": [{"action": TEXT, "probability": NUMBER, "exact": EXACT}]}],
    "training": ANY,
    "claims": ANY,
}
REFERENCE = {
    "name": TEXT,
    "value": NUMBER,
    "value_exact": EXACT,
    "kind": {"optimum", "bound", "baseline"},
    "text": TEXT,
}
SETTING = {
    "name": TEXT,
    "dynamic": FLAG,
    "followers": COUNT,
    "types": [COUNT],
    "follower_actions": [COUNT],
    "observations": COUNT,
    "leader_actions": COUNT,
    "leader_action": [{"pure", "mixture"}],
    "payoff_scale": NUMBER,
    "parameters": ANY,
    "references": [REFERENCE],
    "updates": COUNT,
    "epsilon": (NUMBER, None),
}
SETTINGS: dict[str, Any] = {"command": {"settings"}, "settings": [SETTING]}
ERROR = {"error": {"kind": TEXT, "message": TEXT, "path": (TEXT, None)}}
FORMS = {
    "check": CHECK,
    "bounds": BOUNDS,
    "recheck": RECHECK,
    "claims": CLAIMS,
    "train": TRAIN,
    "replay": REPLAY,
    "show": SHOW,
    "settings": SETTINGS,
}


def misfits(value: Any, form: Any, place: str = "$") -> list[str]:
    """Where a document is not of a form."""
    if isinstance(form, tuple):
        return min((misfits(value, one, place) for one in form), key=len)
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return [f"{place}: expected an object, got {value!r}"]
        missing = [f"{place}: no {name!r}" for name in form if name not in value]
        return missing + [
            m for name in form if name in value for m in misfits(value[name], form[name], f"{place}.{name}")
        ]
    if isinstance(form, list):
        if not isinstance(value, list):
            return [f"{place}: expected a list, got {value!r}"]
        return [m for k, item in enumerate(value) for m in misfits(item, form[0], f"{place}[{k}]")]
    fits = form.test(value) if isinstance(form, Kind) else value is None if form is None else value in form
    return [] if fits else [f"{place}: expected {form!r}, got {value!r}"]


def documented(found: Outcome, code: int, form: Any) -> Any:
    """The one document on standard output; nothing else was said."""
    assert (found.code, found.err) == (code, "")
    assert misfits(found.document, form) == []
    return found.document


@pytest.mark.parametrize(
    ("game", "play", "options", "code", "kind"),
    [
        ("chicken.game.json", "chicken-traffic-light.play.json", [], 0, "sf"),
        ("interim-not-exante.game.json", "interim-not-exante.play.json", [], 1, "sf"),
        ("seltens-horse.nfg", "seltens-horse.play.json", ["--epsilon", "1/10"], 0, "sf"),
        ("diagonal-prior.game.json", "diagonal-prior.log.csv", ["--epsilon", "0.1"], 3, "tc"),
        ("diagonal-prior.game.json", "diagonal-prior.log.csv", ["--drift", "0.001"], 1, "tc"),
        ("diagonal-prior.game.json", "diagonal-prior.log.csv", ["--epsilon", "5"], 0, "tc"),
    ],
)
def test_check(
    spverify: Run, examples_dir: Path, game: str, play: str, options: list[str], code: int, kind: str
) -> None:
    document = documented(spverify("check", examples_dir / game, examples_dir / play, *options, "--json"), code, CHECK)
    assert document["set"] == kind
    assert (document["confidence"] is None) == (not play.endswith(".csv"))
    assert len(document["per_type_sum"]) == len(document["ex_ante"]) >= 2
    assert (document["gap"] == 0) == (document["witness"] is None)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--set", "tc", "--curve", "0,1/10", "--coalition", "all"], "tc"),
        (["--set", "ns", "--objective", "player:1", "--epsilon", "0.05"], "ns"),
        (["--quick"], "sf"),
    ],
)
def test_bounds_and_their_certificates(
    spverify: Run, examples_dir: Path, tmp_path: Path, options: list[str], kind: str
) -> None:
    game = examples_dir / "diagonal-prior.game.json"
    document = documented(spverify("bounds", game, *options, "--out", tmp_path, "--json"), 0, BOUNDS)
    assert document["set"] == kind and document["min"]["outer"] <= document["max"]["outer"]
    assert [misfits(point, POINT) for point in document.get("curve", [])] == [[]] * 2 * ("--curve" in options)
    assert ("coalition" in document) == ("--coalition" in options)
    assert "coalition" not in document or misfits(document["coalition"], COALITION) == []
    for how in ([], ["--fast"]):
        proof = documented(spverify("recheck", document["max"]["certificate"], *how, "--json"), 0, RECHECK)
        assert proof["accepted"] and proof["reason"] is None
        assert proof["value_exact"] == document["max"]["outer_exact"]
    proofs = documented(spverify("recheck", tmp_path, "--json"), 0, FOLDER)["certificates"]
    assert sorted(proof["file"] for proof in proofs) == sorted(path.name for path in tmp_path.glob("*.cert.json"))


def test_a_certificate_that_proves_nothing(spverify: Run) -> None:
    wrong = documented(spverify("recheck", CASES / "incorrect/gap-too-small.cert.json", "--json"), 1, RECHECK)
    assert not wrong["accepted"] and wrong["reason"]
    several = documented(spverify("recheck", CASES / "incorrect", "--json"), 1, FOLDER)
    assert not several["accepted"] and not any(proof["accepted"] for proof in several["certificates"])


@pytest.mark.parametrize(("value", "code", "verdict"), [("20", 0, "holds"), ("21", 1, "refuted")])
def test_claims(spverify: Run, tmp_path: Path, value: str, code: int, verdict: str) -> None:
    path, folder = tmp_path / "c.toml", tmp_path / "out"
    claim = (
        f'id = "it"\ntext = "It is so."\nkind = "commitment"\nsetting = "maintain"\nover = "pure"\nvalue = {value}\n'
    )
    path.write_text(f'format = "spverify-claims"\nversion = 1\ntitle = "A paper"\n[[claim]]\n{claim}', encoding="utf-8")
    document = documented(spverify("claims", path, "--out", folder, "--json"), code, CLAIMS)
    assert document["verdict"] == verdict and document["statements"][0]["id"] == "claim.it"
    assert json.loads((folder / "claims.json").read_text(encoding="utf-8")) == document


def test_train_and_show(spverify: Run, tmp_path: Path) -> None:
    options = ("--quick", "--steps", "5", "--json")
    both = documented(spverify("train", "escape", "--seeds", "2", "-o", tmp_path / "a.pt", *options), 0, [TRAIN])
    assert [one["seed"] for one in both] == [0, 1]
    path = tmp_path / "b.pt"
    replying = {name: NUMBER for name in ("last", "argmax", "best-reply")}
    form = {**TRAIN, "value": {**READOUTS, **replying}, "gap": replying}
    documented(spverify("train", "repeated-coordination", "-o", path, *options), 0, form)
    documented(spverify("show", path, "--json"), 0, SHOW)


def test_replay_with_and_without_a_claim(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    game, short = examples_dir / "interim-not-exante.game.json", ("--rounds", "30", "--seeds", "3", "--json")
    document = documented(spverify("replay", game, *short, "--out", tmp_path), 0, REPLAY)
    assert document["verdict"] is None and set(document["files"]) == set(map(str, tmp_path.iterdir()))
    rule = {"name", "title", "guarantee", "payoff_scale", "epsilon", "rate"}
    assert document["learner"].keys() == rule  # what was asked for, and nothing of how it is computed
    claim = documented(spverify("replay", game, *short, "--epsilon", "1e-9", "--probability", "1"), 1, REPLAY)
    assert claim["verdict"] == "refuted" and claim["statements"][-1]["role"] == "required"


def test_replay_where_play_goes_on(spverify: Run, tmp_path: Path) -> None:
    short = ("--rounds", "50", "--seeds", "2", "--json", "--out", tmp_path)
    readouts = {"empirical": {"gap": None, "value": ANY}, "argmax": {"gap": ANY, "value": ANY}}
    learner = {"name": TEXT, "title": TEXT}
    form = {**REPLAY, "dynamic": {True}, "learner": learner, "readouts": readouts, "periods": [COUNT], "regret": ANY}
    document = documented(spverify("replay", "zoo:repeated-coordination", *short), 0, form)
    assert document["regret"] == [] and set(document["files"]) == set(map(str, tmp_path.iterdir()))
    assert "value" in document["gap"]["checkpoints"][0]


def test_settings(spverify: Run) -> None:
    documented(spverify("settings", "--json"), 0, SETTINGS)


def test_reports_of_one_leader_and_of_several(spverify: Run, tmp_path: Path, repo_root: Path) -> None:
    schemas = [
        jsonschema.Draft202012Validator(
            json.loads((repo_root / "reports" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        )
        for name in ("audit", "dynamic-audit")
    ]
    form = {"format": {"spverify-audit"}, "version": {1}, "subject": ANY, "statements": [STATEMENT], "verdict": VERDICT}
    odd = tmp_path / os.fsdecode("böse 1.pt".encode("latin-1"))  # bytes that are no text in UTF-8
    odd.write_bytes((repo_root / "trained_leaders" / "zoo" / "maintain-boaster.pt").read_bytes())
    leaders = (odd, "zoo:repeated-coordination")
    both = documented(
        spverify("report", *leaders, "--quick", "--seeds", "2", "--out", tmp_path / "both", "--json"),
        1,
        {"command": {"report"}, "audits": [form], "comparison": {"format": {"spverify-comparison"}, "rows": ANY}},
    )
    assert [audit["verdict"] for audit in both["audits"]] == ["refuted", "holds"]
    assert len(both["comparison"]["rows"]) == 2
    for audit, schema, name in zip(both["audits"], schemas, (odd.stem, "repeated-coordination"), strict=True):
        schema.validate(audit)
        assert json.loads((tmp_path / "both" / name / "audit.json").read_text(encoding="utf-8")) == audit
    assert both["audits"][0]["subject"]["name"] == "b\ufffdse 1"
    assert "b%F6se%201/report.html" in (tmp_path / "both" / "report.html").read_text(encoding="utf-8")
    one = spverify("report", leaders[1], "--quick", "--seeds", "2", "--out", tmp_path / "one", "--json")
    assert documented(one, 0, form) == both["audits"][1]


@pytest.mark.parametrize(
    ("arguments", "kind", "path"),
    [
        (["check", "no.game.json", "x"], "unreadable", "no.game.json"),
        (["bounds", "README.md"], "unreadable", "README.md"),
        (["bounds", "chicken.game.json", "--set", "xx"], "usage", None),
        (["recheck", "chicken.game.json"], "format", "chicken.game.json"),
        (["replay", "chicken-traffic-light.play.json"], "format", "chicken-traffic-light.play.json"),
        (["check", "chicken.game.json", "seltens-horse.play.json"], "play", "seltens-horse.play.json"),
        (["claims", "train_with_sb3.py"], "format", "train_with_sb3.py"),
        (["report", "README.md", "--out", "/dev/null/x"], "usage", None),
        (["report", "README.md", "--out", "unwritten"], "leader", "README.md"),
        (["show", "README.md"], "leader", "README.md"),
        (["train", "nothing"], "setting", None),
        (["train", "escape", "--colour", "red"], "usage", None),
    ],
)
def test_errors(
    spverify: Run,
    examples_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    kind: str,
    path: str | None,
) -> None:
    monkeypatch.chdir(examples_dir)
    found = spverify(*arguments, "--json")
    assert found.code == 2 and misfits(found.document, ERROR) == []
    error = found.document["error"]
    assert (error["kind"], error["path"]) == (kind, path)
    assert found.err == f"error: {error['message']}\n" and "\n" not in error["message"]


def test_the_page_names_every_field(repo_root: Path) -> None:
    """What is asked for above stands in docs/formats.md, in the paragraph of the command."""
    page = (repo_root / "docs" / "formats.md").read_text(encoding="utf-8")
    _, _, page = page.partition("\n## Command output\n")
    for command, form in FORMS.items():
        paragraph = page.partition(f"\n- `{command}`: ")[2].partition("\n- `")[0]
        assert [name for name in form if name not in re.findall(r"[\w-]+", paragraph)] == [], command
