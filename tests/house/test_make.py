"""The two commands of the house, as far as they can be tried without building a second environment."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def clone(repo_root: Path, tmp_path: Path) -> Path:
    """A folder with an odd name, the Makefile, and an environment whose `spverify` is played by a script."""
    folder = tmp_path / "clone-1.x"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(repo_root / name, folder / name)
    return folder


def play_spverify(clone: Path, exit_code: int) -> None:
    python = clone / ".venv" / "bin" / "python"
    python.write_text(f'#!/bin/sh\ncase "$2" in pip) exit 0;; esac\necho "$@"\nexit {exit_code}\n', encoding="utf-8")
    python.chmod(0o755)


@needs_make
@pytest.mark.parametrize(("exit_code", "said"), [(0, "holds"), (1, "refuted"), (3, "inconclusive")])
def test_make_report_succeeds_on_every_verdict(clone: Path, exit_code: int, said: str) -> None:
    play_spverify(clone, exit_code)
    ran = make("report", cwd=clone)
    assert ran.returncode == 0, ran.stderr
    assert f"Verdict: {said}" in ran.stdout
    assert f"{clone}/reports-out/report.html" in ran.stdout


@needs_make
def test_make_report_fails_when_no_audit_could_be_made(clone: Path) -> None:
    play_spverify(clone, 2)
    ran = make("report", cwd=clone)
    assert ran.returncode != 0
    assert "could not be made" in ran.stderr


@needs_make
def test_set_up_is_done_once(clone: Path) -> None:
    play_spverify(clone, 0)
    assert "pip install" in make("setup", cwd=clone).stdout
    assert "pip install" not in make("setup", cwd=clone).stdout


@needs_make
def test_an_old_python_is_refused_in_a_sentence(clone: Path) -> None:
    old = clone / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    old.chmod(0o755)
    ran = make("setup", f"PYTHON={old}", cwd=clone)
    assert ran.returncode != 0
    assert "needs Python 3.11 or newer" in ran.stderr


def test_ci_closes_with_the_summary_line_of_pytest(repo_root: Path, tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    summary = "=========== 1 failed, 3 passed in 0.10s ==========="
    (tmp_path / ".ci").mkdir()
    shutil.copyfile(repo_root / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "Makefile").write_text(f'test:\n\t@echo "{summary}"; exit 1\n', encoding="utf-8")
    ran = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode != 0
    assert ran.stdout.splitlines()[-1] == summary
