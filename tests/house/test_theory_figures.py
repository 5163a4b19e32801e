"""Figures that `docs/theory.md` and `docs/settings.md` print are computed here, so the pages cannot go stale."""

from __future__ import annotations

from fractions import Fraction
from math import log
from pathlib import Path

import pytest

from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.trained_leaders.settings import get_setting
from spverify.verify.regret import assess


@pytest.mark.parametrize(
    ("rows", "rounds", "values"),
    [
        (["1/4", "3/4", 0], 100, (13.6, 15.2, 27.5)),
        (["1/4", "3/4", 0], 10_000, (17.4, 17.5, 27.5)),
        (["13/50", "37/50", 0], 100, (13.7, 15.4, 27.4)),
        (["13/50", "37/50", 0], 10_000, (25.2, 27.4, 27.4)),
    ],
)
def test_readouts_on_maintain(
    rows: list[object], rounds: int, values: tuple[float, float, float], repo_root: Path
) -> None:
    setting = get_setting("maintain")
    game = setting.tabulate([[Fraction(x) for x in rows]])
    learner = MultiplicativeWeights(epsilon=0.1, payoff_scale=setting.payoff_scale)
    run = run_learners(game, learner, rounds, types="expected", opponents="expected")
    found = [assess(game, run.readout(kind)).leader_value for kind in ("empirical", "last", "argmax")]
    assert found == pytest.approx(values, abs=0.051)
    printed = " / ".join(f"{value:g}" for value in values)
    assert printed in (repo_root / "docs/theory.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("actions", "epsilon", "updates"), [(2, 0.1, 191), (3, 0.1, 303), (2, 0.01, 1429), (3, 0.01, 2265)]
)
def test_updates_that_a_guarantee_needs(actions: int, epsilon: float, updates: int, repo_root: Path) -> None:
    eta = log(1 + epsilon)

    def bound(n: int) -> float:
        return log(actions) / (eta * n) + eta / 8

    assert bound(updates) <= 0.05 < bound(updates - 1)
    assert str(updates) in (repo_root / "docs/settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "pure", "mixed"),
    [("escape", 30, 30), ("maintain", 20, Fraction(55, 2)), ("conitzer", 2, Fraction(5, 2)), ("two-by-two", 1, 1)],
)
def test_optima_of_the_matrix_games(name: str, pure: int, mixed: Fraction) -> None:
    values = {reference.value for reference in get_setting(name).references()}
    assert {Fraction(pure), Fraction(mixed)} <= values
