"""The races of `benchmarks/range_races.py` run over the same program: all ways find one value on small games."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def races(repo_root: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(repo_root / "benchmarks"))
    return importlib.import_module("range_races")


@pytest.mark.parametrize(("which", "end"), [("tc", "upper"), ("tc", "lower"), ("ns", "lower"), ("sf", "upper")])
def test_all_ways_find_what_is_proved(which: str, end: str, races: ModuleType) -> None:
    game = races.random_game(2, 3, 2)
    ways = ["this", "highs-simplex", "highs-ipx"] + ["cvxpy-highs"] * (importlib.util.find_spec("cvxpy") is not None)
    row: dict[str, Any] = {"end": end}
    for way in ways:
        laps, facts = races.measure(way, which, game, "leader", end)
        assert all(seconds >= 0 for seconds in laps.values())
        row[way] = facts
    races.compare(row)
    assert row["this"]["outer_minus_inner"] < 1e-9
    for way in ways[1:]:
        assert abs(row[way]["beyond_bound"]) < 1e-7
        assert row[way]["largest_regret"] < 1e-6


def test_a_worse_value_is_inside_and_a_better_one_outside(races: ModuleType) -> None:
    for end, sign in (("upper", 1), ("lower", -1)):
        row = {
            "end": end,
            "this": {"value": 0.5},
            "highs-ipx": {"value": 0.5 + sign * 0.25},
            "cvxpy-highs": {"failed": ""},
        }
        races.compare(row)
        assert row["highs-ipx"]["beyond_bound"] == 0.25
        assert "beyond_bound" not in row["cvxpy-highs"]


def test_only_cases_that_start_with_the_words_are_run(races: ModuleType) -> None:
    assert races.begins(("tc", 2, 50, 1), "tc 2 50 1")
    assert not races.begins(("tc", 2, 50, 10), "tc 2 50 1")
    assert races.begins(("tc", 2, 50, 10), "")


def test_a_case_on_record_is_renewed_and_the_others_stay(
    races: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(races, "RESULTS", tmp_path / "races.json")
    monkeypatch.setattr(races, "CASES", (("tc", 2, 3, 2, "leader", "upper"), ("sf", 2, 2, 5, "leader", "lower")))
    monkeypatch.setattr(races, "race", lambda way, case: {"value": 1.0})
    monkeypatch.setattr("sys.argv", ["range_races.py", "--ways", "this", "highs-ipx"])
    races.main()
    monkeypatch.setattr(races, "race", lambda way, case: {"value": 2.0})
    monkeypatch.setattr("sys.argv", ["range_races.py", "--only", "sf", "--ways", "highs-ipx"])
    races.main()
    first, second = json.loads((tmp_path / "races.json").read_text(encoding="utf-8"))["races"]
    assert (first["columns"], second["columns"]) == (36, 2**10)
    assert first["highs-ipx"] == {"value": 1.0, "beyond_bound": 0.0}
    assert second["highs-ipx"] == {"value": 2.0, "beyond_bound": -1.0}
    assert len(capsys.readouterr().out.splitlines()) == 5
