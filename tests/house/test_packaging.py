"""What is listed, what is built and what stands in the tree must be the same thing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOMS = ("verify", "solvers", "trained_leaders", "reports")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def metadata(repo_root: Path) -> dict[str, Any]:
    return tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))


def package_of(folder: Path) -> str:
    return ".".join(("spverify", *folder.parts))


def code_files(project_files: list[Path]) -> list[Path]:
    """Python files that belong to the package: the root's own and those in the four rooms."""
    return [f for f in project_files if f.suffix == ".py" and (len(f.parts) == 1 or f.parts[0] in ROOMS)]


def test_the_packages_listed_are_the_folders(metadata: dict[str, Any], project_files: list[Path]) -> None:
    folders = {package_of(f.parent) for f in project_files if f.name == "__init__.py" and f.parts[0] in ROOMS}
    assert set(metadata["tool"]["setuptools"]["packages"]) == folders | {"spverify"}


def test_every_folder_with_code_is_a_package(project_files: list[Path]) -> None:
    missing = [str(f) for f in code_files(project_files) if f.parent / "__init__.py" not in project_files]
    assert missing == []


def test_the_root_holds_no_stray_module(project_files: list[Path]) -> None:
    stray = {f.name for f in project_files if len(f.parts) == 1 and f.suffix == ".py"}
    assert stray == {"__init__.py", "__main__.py"}


def test_one_version_everywhere(metadata: dict[str, Any], repo_root: Path) -> None:
    import spverify

    newest = re.search(r"^## \[?(\d[^\]\s]*)", (repo_root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None
    declared = metadata["project"]["version"]
    assert {spverify.__version__, newest.group(1), importlib.metadata.version("spverify")} == {declared}


def test_constraints_pin_every_requirement_by_name_and_version_only(metadata: dict[str, Any], repo_root: Path) -> None:
    lines = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins: dict[str, str] = {}
    for line in lines:
        if line and not line.startswith("#"):
            assert re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line
            name, _, version = line.partition("==")
            pins[re.sub(r"[-_.]+", "-", name).lower()] = version
    wanted = metadata["project"]["dependencies"] + metadata["project"]["optional-dependencies"]["test"]
    for requirement in map(Requirement, wanted):
        assert requirement.name in pins, f"constraints.txt does not pin {requirement.name}"
        assert pins[requirement.name] in requirement.specifier, requirement.name


def test_public_names_all_resolve() -> None:
    import spverify

    for name in spverify.__all__:
        assert getattr(spverify, name) is not None
    assert set(spverify.__all__) <= set(dir(spverify))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        spverify.nothing  # noqa: B018


@pytest.fixture(scope="module")
def wheel(repo_root: Path, project_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a clean copy of the tree, so that nothing left over from another build can slip in."""
    tree = tmp_path_factory.mktemp("tree") / "clone-1.x"
    for file in project_files:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(repo_root / file, tree / file)
    out = tmp_path_factory.mktemp("wheel")
    code = f"from setuptools import build_meta; print(build_meta.build_wheel({str(out)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False, timeout=300
    )
    assert built.returncode == 0, built.stderr[-3000:]
    return next(out.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_code_and_the_data_and_nothing_else(
    wheel: Path, metadata: dict[str, Any], project_files: list[Path]
) -> None:
    patterns = metadata["tool"]["setuptools"]["package-data"]
    packages = metadata["tool"]["setuptools"]["packages"]
    expected = {str(Path("spverify", f)) for f in code_files(project_files)}
    for package, globs in patterns.items():
        folder = Path(*package.split(".")[1:])
        for file in project_files:
            inside = file.relative_to(folder) if file.is_relative_to(folder) else None
            if inside is not None and any(
                len(inside.parts) == len(Path(glob).parts) and fnmatch(str(inside), glob) for glob in globs
            ):
                expected.add(str(Path("spverify", file)))
    shipped = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert shipped == expected
    assert "spverify/py.typed" in shipped
    assert all(name.startswith("spverify/") for name in shipped), "a generic top-level name would clash"
    assert len(packages) == len(set(packages))


def test_every_file_in_a_room_is_code_or_listed_data(metadata: dict[str, Any], project_files: list[Path]) -> None:
    patterns = metadata["tool"]["setuptools"]["package-data"]
    globs = [str(Path(*package.split(".")[1:], glob)) for package, many in patterns.items() for glob in many]
    left = [
        str(f)
        for f in project_files
        if f.parts[0] in ROOMS and f.suffix != ".py" and not any(fnmatch(str(f), glob) for glob in globs)
    ]
    assert left == [], "these files would be missing from the wheel"


@pytest.mark.slow
def test_the_wheel_works_without_the_tree(wheel: Path, python: Run, examples_dir: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    game, play = (examples_dir / f"interim-not-exante.{kind}.json" for kind in ("game", "play"))
    code = (
        "import sys, spverify; print(spverify.__file__, file=sys.stderr); "
        f"sys.argv = ['spverify', 'check', {str(game)!r}, {str(play)!r}, '--json']; "
        "from spverify.reports.cli import main; main()"
    )
    ran = python(code, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(site)})
    assert str(site) in ran.stderr, "the wheel, not the checkout, must be what was imported"
    assert ran.returncode == 1, ran.stderr[-3000:]
    assert json.loads(ran.stdout)["gap_exact"] == "1/4"
