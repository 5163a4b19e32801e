"""The statement `commitment` of leaders trained elsewhere: by structure, by perturbation, refuted, or left open."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from spverify.reports.audit import Options
from spverify.reports.questions import ask_commitment
from spverify.reports.subject import Subject
from spverify.trained_leaders.checkpoint import write_leader
from spverify.trained_leaders.foreign import save_leader
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.verify.verdict import Statement

from .conftest import Outcome

Run = Callable[..., Outcome]


def commitment(path: Path) -> Statement:
    options = Options.of(epsilon="0.05", quick=True, seeds=None, rng_seed=0)
    (found,) = ask_commitment(Subject.of("mine", path, inspect_leader(path), options))
    return found


class Lottery(nn.Module):
    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return torch.rand(len(seen), 3)


def identity() -> nn.Linear:
    layer = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3))
    return layer


@pytest.mark.parametrize(
    ("policy", "verdict", "established", "evidence", "words"),
    [
        (nn.Sequential(identity()), "holds", "by structure", "float", "its network answers as the stated table does"),
        (lambda seen: seen, "holds", "by perturbation", "statistical", "answers changed when it was asked again"),
        (Lottery(), "refuted", "by perturbation", "statistical", "asked one by one"),
        (
            nn.Sequential(identity(), nn.Dropout(0.9)),
            "inconclusive",
            "by perturbation",
            "statistical",
            "in training mode",
        ),
    ],
    ids=["network", "function", "chance", "dropout"],
)
def test_how_a_commitment_is_established(
    tmp_path: Path, policy: Any, verdict: str, established: str, evidence: str, words: str
) -> None:
    torch.manual_seed(0)
    save_leader(policy, setting="simple-allocation-3", path=tmp_path / "mine.pt")
    found = commitment(tmp_path / "mine.pt")
    assert (found.verdict, found.details["established"], found.evidence) == (verdict, established, evidence)
    assert words in found.text
    assert [probe["name"] for probe in found.details["probes"]][:3] == ["repeat", "order", "single"]


def test_a_policy_that_nobody_perturbed_is_inconclusive(tmp_path: Path) -> None:
    policy = {"kind": "table", "leader_action": "pure", "table": [0], "origin": {"source": "x", "probes": []}}
    write_leader(tmp_path / "x.pt", setting=get_setting("maintain"), policy=policy)
    found = commitment(tmp_path / "x.pt")
    assert found.verdict == "inconclusive" and "asked again" in found.text
    policy["origin"]["probes"] = [["repeat", 9, 0, 0.0], ["order", 9, 0, 0.0]]  # type: ignore[index]
    write_leader(tmp_path / "x.pt", setting=get_setting("maintain"), policy=policy)
    assert commitment(tmp_path / "x.pt").verdict == "inconclusive"


def test_the_share_that_would_have_been_noticed(tmp_path: Path) -> None:
    save_leader(lambda seen: seen, setting="simple-allocation-3", path=tmp_path / "mine.pt")
    found = commitment(tmp_path / "mine.pt")
    count = found.details["evaluations"]
    assert count == 8 * 3 + 8 * (3 + 6) + 2 * 3
    share = Fraction(found.why.partition("more than ")[2].partition("%")[0]) / 100
    assert (1 - float(share)) ** count == pytest.approx(0.05, rel=0.02)


def test_the_report_of_a_leader_trained_elsewhere(spverify: Run, tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    save_leader(lambda seen: seen, setting="simple-allocation-3", path=path)
    found = spverify("report", path, "--quick", "--json", "--out", tmp_path / "audit")
    assert found.code == 0 and found.document["verdict"] == "holds"
    statement = next(s for s in found.document["statements"] if s["id"] == "commitment")
    assert statement["details"]["established"] == "by perturbation"
    assert "the file holds the answers of" in (tmp_path / "audit/report.md").read_text(encoding="utf-8")
    torch.manual_seed(0)
    save_leader(Lottery(), setting="simple-allocation-3", path=path)
    found = spverify("report", path, "--quick", "--out", tmp_path / "audit")
    assert found.code == 1 and "commitment" in found.out
    shown = spverify("show", path, "--json").document
    assert shown["policy"]["origin"]["source"].endswith("Lottery")
