"""Every snippet and command of docs/leaders-from-elsewhere.md runs, in the order of the page."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .conftest import Outcome, blocks

Run = Callable[..., Outcome]


@pytest.fixture
def page(repo_root: Path) -> Path:
    return repo_root / "docs/leaders-from-elsewhere.md"


def printed(block: str) -> list[str]:
    """What the comments behind `print(..)` say."""
    return [line.partition("  # ")[2] for line in block.splitlines() if line.startswith("print(")]


def test_snippets_that_need_nothing_else(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    needs = ("stable_baselines3", "gym_env", "pettingzoo_env")
    snippets = [block for block in blocks(page, "python") if not any(word in block for word in needs)]
    assert len(snippets) == 3
    for block in snippets:
        exec(compile(block, str(page), "exec"), {"__name__": "page"})
        assert capsys.readouterr().out.splitlines() == printed(block)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.pt", "mixture.pt", "rule.pt"]


def test_the_gymnasium_snippet(page: Path) -> None:
    pytest.importorskip("gymnasium")
    (block,) = [block for block in blocks(page, "python") if ".gym_env" in block]
    found: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), found)
    assert found["reward"] == 0.0 and not found["info"]["replaced"]


def test_the_pettingzoo_snippet(page: Path) -> None:
    pytest.importorskip("pettingzoo")
    (block,) = [block for block in blocks(page, "python") if "pettingzoo_env" in block]
    found: dict[str, Any] = {}
    exec(compile(block, str(page), "exec"), found)
    assert 0 <= found["earned"] <= 1 and all(found["terminations"].values())


def test_the_three_lines_and_the_commands(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spverify: Run
) -> None:
    sb3 = pytest.importorskip("stable_baselines3")
    from spverify.trained_leaders.gym_env import stackelberg_env

    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sb3.PPO("MlpPolicy", stackelberg_env("maintain"), seed=0, device="cpu")
        model.policy.action_net.bias.data[0] = 5.0  # the page speaks of a model that was trained: row 0, worth 20
        model.save("model.zip")
        (block,) = [block for block in blocks(page, "python") if "PPO.load" in block]
        assert len([line for line in block.splitlines() if line]) == 3
        exec(compile(block, str(page), "exec"), {})
    (commands,) = blocks(page, "sh")
    for line in commands.splitlines():
        command, _, code = line.partition("# exit ")
        assert spverify(*shlex.split(command)[1:]).code == int(code), line
    refused = spverify("report", "model.zip")
    assert refused.code == 2 and "Stable-Baselines3 archive" in refused.err and len(refused.err.splitlines()) == 1
