"""Every command of docs/report.md and docs/claims.md ends with the exit code that stands beside it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from spverify.reports.claims import judge_claims, read_claims

from .conftest import Outcome, blocks

Run = Callable[..., Outcome]


def test_commands_of_the_report_page(
    spverify: Run, repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for example in (repo_root / "examples").glob("*.json"):
        (tmp_path / example.name).write_bytes(example.read_bytes())
    monkeypatch.chdir(tmp_path)
    lines = [line for block in blocks(repo_root / "docs/report.md", "sh") for line in block.splitlines()]
    assert len(lines) == 8
    for line in lines:
        command, _, code = line.partition("# exit ")
        program, *arguments = shlex.split(command)
        found = spverify(*arguments)
        assert program == "spverify" and found.code == int(code), line


def test_the_example_of_the_claims_page(repo_root: Path, tmp_path: Path) -> None:
    (text,) = blocks(repo_root / "docs/claims.md", "toml")
    path = tmp_path / "claims.toml"
    path.write_text(text, encoding="utf-8")
    (found,) = judge_claims(read_claims(path))
    assert found.verdict == "holds" and found.measured == 27.5
