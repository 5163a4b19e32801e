"""Every command and snippet of the README and of `docs/` runs, in the order of its page, in a folder of its own.

A fence `sh` holds commands, one a line; `console` holds `$ command` lines with what they print; `python` holds code,
and a fence `text` right after it what that prints; `yaml` the steps of a CI server. `# exit N` beside a command is the
exit code it must have (0 if left out). Figures that come out of learning differ between processors, so in a console
block below `<!-- figures vary -->` words are compared and figures are not; `...` stands for anything. What cannot run
here stands below `<!-- not run: reason -->`, and what takes a package that tests do not install below
`<!-- needs package -->`.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from spverify.reports import command_report
from spverify.reports.audit import audit_leader
from spverify.reports.claims import judge_claims, read_claims

from .conftest import Outcome, blocks

Run = Callable[..., Outcome]

# Pages whose snippets need more than a folder with the examples in it, and the tests that run them.
ELSEWHERE = {
    "docs/leaders-from-elsewhere.md": "tests/reports/test_elsewhere.py",
    "docs/own-settings.md": "tests/reports/test_own_setting.py",
    "examples/README.md": "tests/house/test_examples.py",
}
ROOT = Path(__file__).resolve().parent.parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "examples/README.md"] + sorted(
    f"docs/{p.name}" for p in ROOT.glob("docs/*.md")
)
FENCE = re.compile(r"(?:^<!-- ([^\n]*?) -->\n+)?^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FIGURE = re.compile(r"[-−]?\d+(?:\.\d+)?(?:e-?\d+)?|(?<![\w.])\.\d+")
REASONS = ("installs packages", "needs a cluster", "tests/house/test_make.py", "the README runs it", "run in")


@dataclass
class Page:
    """A page being read from top to bottom: where its commands run, and the names its snippets have made."""

    folder: Path
    spverify: Run
    monkeypatch: pytest.MonkeyPatch
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "docs"})
    printed: str = ""

    def command(self, line: str) -> str:
        """Runs one command line and returns what it printed."""
        text, _, comment = line.partition("#")
        wanted = re.match(r"\s*exit (\d+)", comment)
        words = shlex.split(text)
        if words[0] == "cd":
            self.monkeypatch.chdir(words[1])
            return ""
        assert words[0] == "spverify", f"only spverify and cd are run here: {line}"
        found = self.spverify(*words[1:])
        assert found.code == (int(wanted[1]) if wanted else 0), f"{line}\n{found.err[-2000:]}"
        return found.out

    def run(self, marker: str, language: str, text: str) -> None:
        """Runs one fenced block."""
        if language == "sh":
            for line in text.splitlines():
                if line.strip() and not line.startswith("#"):
                    self.command(line)
        elif language == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, shown = part.partition("\n")
                compare(shown, self.command(line), figures=marker != "figures vary")
        elif language == "python":
            caught = io.StringIO()
            with contextlib.redirect_stdout(caught):
                exec(compile(text, str(self.folder), "exec"), self.names)
            self.printed = caught.getvalue()
        elif language == "yaml":  # a CI server's steps: what they run of spverify, on a leader of the user's own
            shutil.copy(ROOT / "trained_leaders" / "zoo" / "maintain.pt", "leader.pt")
            for line in re.findall(r"^[ -]*(?:run: )?(spverify .*)$", text, flags=re.MULTILINE):
                self.command(line)
        elif language == "text" and self.printed:
            compare(text, self.printed)
            self.printed = ""


@pytest.fixture(scope="module")
def audits() -> dict[str, Any]:
    """Audits of shipped leaders made so far, by their arguments."""
    return {}


@pytest.fixture
def each_audit_once(audits: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages audit the same shipped leaders; the same inputs give the same audit, so one is made for all of them."""

    def audit(path: Any, **options: Any) -> Any:
        told = options.pop("progress", None)
        if not str(path).startswith("zoo:"):
            return audit_leader(path, progress=told, **options)
        key = repr((path, sorted(options.items())))
        if key not in audits:
            audits[key] = audit_leader(path, progress=told, **options)
        return audits[key]

    monkeypatch.setattr(command_report, "audit_leader", audit)


def compare(shown: str, printed: str, *, figures: bool = True) -> None:
    """What a page shows is what was printed, but for white space, `...`, and (on request) figures."""
    if not shown.strip():
        return
    if not figures:
        shown, printed = (FIGURE.sub("0", re.sub("[─ ]+", " ", text)) for text in (shown, printed))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    wrong = not doctest.OutputChecker().check_output(shown, printed, flags)
    assert not wrong, f"the page shows\n{shown}\nand this was printed\n{printed}"


def fences(name: str) -> list[tuple[str, str, str]]:
    """(marker above it, language, text) of each fenced block of a page."""
    return FENCE.findall((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("each_audit_once")
@pytest.mark.parametrize("name", [name for name in PAGES if name not in ELSEWHERE])
def test_commands_and_snippets_of_a_page(
    name: str, spverify: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path if name == "README.md" else tmp_path / "examples")
    page = Page(tmp_path, spverify, monkeypatch)
    for marker, language, text in fences(name):
        absent = marker.startswith("needs ") and find_spec(marker.removeprefix("needs ")) is None
        if not marker.startswith("not run:") and not absent:
            page.run(marker, language, text)


def test_what_is_not_run_has_one_of_few_reasons() -> None:
    for name in PAGES:
        for marker, _, _ in fences(name):
            if marker.startswith("not run:"):
                assert any(reason in marker for reason in REASONS), f"{name}: {marker}"


def test_no_command_hides_in_a_block_without_a_language() -> None:
    for name in PAGES:
        for _, language, text in fences(name):
            if name not in ELSEWHERE and not language:
                assert not re.search(r"^(\$ )?(spverify|make|pip|python) ", text, re.MULTILINE), f"{name}: {text}"


def test_pages_run_elsewhere_are_run_there() -> None:
    for page, test in ELSEWHERE.items():
        assert page.rpartition("/")[2] in (ROOT / test).read_text(encoding="utf-8")


def test_a_wrong_figure_word_or_exit_code_is_noticed(spverify: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(ROOT, spverify, monkeypatch)
    monkeypatch.chdir(ROOT / "examples")
    check = "spverify check diagonal-prior.game.json diagonal-prior.play.json"
    page.run("", "console", f"$ {check}\nHOLDS: ...gap  0 ...\n")
    for bad in (f"$ {check}  # exit 1\n", f"$ {check}\nREFUTED...\n", f"$ {check}\nHOLDS: ...gap  1 ...\n"):
        with pytest.raises(AssertionError):
            page.run("", "console", bad)
    with pytest.raises(AssertionError):
        page.run("figures vary", "console", f"$ {check}\nREFUTED...\n")


def test_the_example_of_the_claims_page(repo_root: Path, tmp_path: Path) -> None:
    (text,) = blocks(repo_root / "docs/claims.md", "toml")
    path = tmp_path / "claims.toml"
    path.write_text(text, encoding="utf-8")
    (found,) = judge_claims(read_claims(path))
    assert found.verdict == "holds" and found.measured == 27.5
