"""The tables of the ranges page are what `benchmarks/tables.py` makes of the recorded results."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tables(repo_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tables", repo_root / "benchmarks" / "tables.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_is_on_record(tables: ModuleType, repo_root: Path) -> None:
    page = (repo_root / "docs" / "ranges.md").read_text(encoding="utf-8")
    assert {found[2] for found in tables.MARKED.finditer(page)} == {"races", "ratios", "answers", "ranges", "auctions"}
    assert tables.filled(page) == page, "run python benchmarks/tables.py"
    assert tables.filled(page.replace("| TC | 2,", "| NS | 2,")) == page


def race(**ways: dict[str, Any]) -> dict[str, Any]:
    this = {"search_seconds": 0.5, "proof_seconds": 0.1, "digest_seconds": 0.01, "memory_gib": 0.2}
    head = {"set": "sf", "players": 2, "actions": 20, "types": 5, "objective": "leader", "end": "upper"}
    return head | {"columns": 20**10, "this": this | {"value": 0.9, "outer_minus_inner": 0.0}} | ways


def cells(table: str) -> list[str]:
    return [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]


def test_ratios_compare_with_the_quickest_call_that_ended(tables: ModuleType) -> None:
    ended = {"build_seconds": 1.0, "solve_seconds": 4.0}
    late, large = {"not_finished": "120 s"}, {"not_finished": "8 GiB"}
    ways = {
        "highs-simplex": late,
        "highs-ipx": ended,
        "highs-hipo": ended | {"solve_seconds": 9.0},
        "cvxpy-highs": late,
    }
    row = cells(tables.ratios_table([race(**ways)]))
    assert row == ["SF", "2, 20, 5", "10^13", "most leader", "> 240", "10", "> 200", "8.3", "0.2"]
    row = cells(tables.ratios_table([race(**{"highs-simplex": large, "cvxpy-highs": {"does_not_fit": "why"}})]))
    assert row[4:8] == ["–"] * 4
    row = cells(tables.ratios_table([race(**{"highs-simplex": late, "highs-ipx": late})]))
    assert row[5] == "–", "a way that was not run might have been quicker"
    row = cells(tables.ratios_table([race(**dict.fromkeys(("highs-simplex", "highs-ipx", "highs-hipo"), late))]))
    assert row[5] == "> 240"


def test_a_way_without_a_time_has_a_reason(tables: ModuleType) -> None:
    ways = {
        "highs-simplex": {"not_finished": "120 s"},
        "highs-ipx": {"does_not_fit": "why"},
        "highs-hipo": {"failed": "x"},
    }
    assert cells(tables.races_table([race(**ways)]))[-5:] == ["> 120 s", "does not fit", "failed", "not run", "–"]


def test_recorded_ranges_of_auctions_lie_in_each_other(repo_root: Path) -> None:
    record = json.loads((repo_root / "benchmarks/results/auctions.json").read_text(encoding="utf-8"))
    found = {(row["set"], row["k"]): row for row in record["ranges"]}
    pairs = [(found["tc", k], found["ns", k]) for name, k in found if name == "ns"]
    pairs += [(found["ns", k], found["sf", k]) for name, k in found if name == "sf"]
    assert len(pairs) > 10
    for wide, narrow in pairs:
        assert wide["min"] - 1e-8 <= narrow["min"] <= narrow["max"] <= wide["max"] + 1e-8
