"""What the house tests share: the list of the project's own files, and a clean interpreter to look into."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def project_files(repo_root: Path) -> list[Path]:
    """The project's files, relative to the root: tracked ones and new ones that git does not ignore."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repo_root,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so the project's own files cannot be told from others")
    names = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    return sorted({name for name in names if (repo_root / name).is_file()})


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a fresh interpreter, outside the checkout's folder, as an installed package is used."""

    def run(
        code: str, *arguments: str, cwd: Path | str = "/", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=cwd,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return run
