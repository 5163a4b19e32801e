"""Documentation that can be checked is checked: links, docstring examples, words that must not appear."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import json
import pkgutil
import re
from pathlib import Path

import pytest

import spverify

TEXT = {".py", ".md", ".toml", ".txt", ".json", ".html", ".j2", ".css", ".cfg", ".csv", ""}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")

# Spelt in two pieces, so that this file does not find itself.
MACHINE_WORDS = re.compile(r"(?<![\w.])/wo" r"rk(?=[/\s`'\"]|$)|\.\./sha" r"red\b|/tmp/bri" r"ef|/ro" r"ot/")


def modules() -> list[str]:
    rooms = [Path(path) for path in spverify.__path__]
    names = ["spverify"]
    for room in ("verify", "solvers", "trained_leaders", "reports"):
        names.append(f"spverify.{room}")
        found = pkgutil.walk_packages([str(path / room) for path in rooms], f"spverify.{room}.")
        names.extend(module.name for module in found if not module.name.endswith("__main__"))
    return names


# pytest's own collection would import each file a second time under another name, hence by hand.
@pytest.mark.parametrize("name", modules())
def test_examples_in_docstrings_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("name", modules())
def test_modules_say_what_lives_in_them(name: str) -> None:
    assert (importlib.import_module(name).__doc__ or "").strip()


def slug(heading: str) -> str:
    """The anchor that a heading gets: lower case, punctuation dropped, spaces as hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower().replace("`", "")).replace(" ", "-")


def anchors(text: str) -> set[str]:
    fenced = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return {slug(heading) for heading in re.findall(r"^#+ (.*)$", fenced, re.MULTILINE)}


def test_links_between_documents_lead_somewhere(repo_root: Path, project_files: list[Path]) -> None:
    broken = []
    for file in project_files:
        if file.suffix != ".md":
            continue
        text = (repo_root / file).read_text(encoding="utf-8")
        for target in LINK.findall(text):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            goal = (repo_root / file.parent / path) if path else repo_root / file
            if not goal.exists():
                broken.append(f"{file}: {target}")
            elif anchor and slug(anchor) not in anchors(goal.read_text(encoding="utf-8")):
                broken.append(f"{file}: {target} (no such heading)")
    assert broken == []


def test_no_file_names_the_machine_it_was_made_on(repo_root: Path, project_files: list[Path]) -> None:
    found = []
    for file in project_files:
        if file.suffix not in TEXT:
            continue
        for number, line in enumerate((repo_root / file).read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE_WORDS.search(line):
                found.append(f"{file}:{number}: {line.strip()[:80]}")
    assert found == []


def test_theory_and_settings_carry_the_numbers_that_docstrings_cite(repo_root: Path, project_files: list[Path]) -> None:
    theory = (repo_root / "docs/theory.md").read_text(encoding="utf-8")
    settings = (repo_root / "docs/settings.md").read_text(encoding="utf-8")
    for file in project_files:
        if file.suffix != ".py":
            continue
        code = (repo_root / file).read_text(encoding="utf-8")
        for number in re.findall(r"\btheory T(\d+)", code):
            assert re.search(rf"^## T{number} ", theory, re.MULTILINE), f"{file} cites theory T{number}"
        for number in re.findall(r"\bsettings S(\d+)", code):
            assert re.search(rf"^## S{number} ", settings, re.MULTILINE), f"{file} cites settings S{number}"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_python_in_the_readme_says_what_it_does(
    repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (code,) = blocks((repo_root / "README.md").read_text(encoding="utf-8"), "python")
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    lines = printed.getvalue().splitlines()
    assert lines[:2] == ["1/4", "(0.0, 0.0)"]
    assert lines[2].endswith("True")


def test_json_in_the_formats_page_is_what_it_says(repo_root: Path) -> None:
    from spverify import BayesianGame

    found = blocks((repo_root / "docs/formats.md").read_text(encoding="utf-8"), "json")
    documents = {document["format"]: document for document in map(json.loads, found)}
    assert set(documents) == {"spverify-game", "spverify-certificate", "spverify-audit"}
    game = BayesianGame.from_document(documents["spverify-game"])
    assert game.type_shape == (2, 1)
    assert game.action_shape == (2, 3)


def test_the_settings_page_lists_what_ships(repo_root: Path) -> None:
    from spverify.trained_leaders.settings import list_dynamic_settings, list_settings

    page = (repo_root / "docs/settings.md").read_text(encoding="utf-8")
    ships = re.findall(r"^\| \[S\d\].*\| ([^|]*) \| ships[^|]*\|$", page, re.MULTILINE)
    assert {name for names in ships for name in re.findall(r"`([^`]+)`", names)} == {
        *list_settings(),
        *list_dynamic_settings(),
    }
