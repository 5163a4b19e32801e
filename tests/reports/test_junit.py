"""JUnit XML and the statements as a table: what other people's tools see of an audit."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spverify.reports.render.junit import junit_xml

from .conftest import Outcome

Run = Callable[..., Outcome]


def test_one_case_a_statement(spverify: Run, leader_file: Callable[..., Path], tmp_path: Path) -> None:
    good, bad = leader_file("ci-good", "maintain", [0]), leader_file("ci-bad", "maintain", [1])
    found = spverify("report", good, bad, "--quick", "--out", tmp_path / "r", "--junit", tmp_path / "all.xml", "--json")
    assert found.code == 1
    root = ElementTree.fromstring((tmp_path / "all.xml").read_text(encoding="utf-8"))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["ci-good", "ci-bad"]
    for document in found.document["audits"]:
        name = document["subject"]["name"]
        suite = suites[name]
        cases = {case.get("name"): [child.tag for child in case] for case in suite}
        assert list(cases) == [s["id"] for s in document["statements"]]
        for s in document["statements"]:
            expected = {"holds": []}.get(s["verdict"], ["failure"] if s["role"] == "required" else ["skipped"])
            assert cases[s["id"]] == expected
        for tag, count in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.get(count, "-1")) == len(suite.findall(f"testcase/{tag}"))
        own = (tmp_path / "r" / name / "report.junit.xml").read_text(encoding="utf-8")
        assert own == junit_xml([document])
    assert suites["ci-good"].get("failures") == "0" and suites["ci-bad"].get("failures") == "1"


def test_open_questions_are_errors_and_names_are_text() -> None:
    statement = {"id": "horizon.x100", "role": "required", "text": "<&\0>", "verdict": "inconclusive", "why": "]]>"}
    document: dict[str, Any] = {"subject": {"name": "a<b\x1b"}, "statements": [statement]}
    suite = ElementTree.fromstring(junit_xml([document]))[0]
    assert suite.get("errors") == "1" and suite.get("name") == "a<b\N{REPLACEMENT CHARACTER}"
    error = suite[0][0]
    assert error.tag == "error" and error.get("message") == "<&\N{REPLACEMENT CHARACTER}>" and error.text == "]]>"


def test_the_documented_line_of_pandas(
    spverify: Run, leader_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repo_root: Path
) -> None:
    pytest.importorskip("pandas")
    text = (repo_root / "docs/formats.md").read_text(encoding="utf-8")
    (block,) = (part.split("```")[0] for part in text.split("```python\n")[1:] if "pandas" in part.split("```")[0])
    spverify("report", leader_file("table", "maintain", [0]), "--quick", "--out", tmp_path / "audit")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block.replace('open("audit/audit.json")', 'open_("audit/audit.json")'), {"open_": _opened}, names)
    table = names["statements"]
    document = json.loads((tmp_path / "audit/audit.json").read_text(encoding="utf-8"))
    assert len(table) == len(document["statements"]) and table.loc["gap.argmax", "verdict"] == "holds"
    assert "pandas" in sys.modules


def _opened(path: str) -> Any:
    """`open` for a line that leaves closing to the interpreter, which tests treat as an error."""
    from io import StringIO

    return StringIO(Path(path).read_text(encoding="utf-8"))
