"""The best deterministic leader of a setting: found, held to the exact game, and named in the audit."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from spverify.reports import subject
from spverify.reports.audit import audit_leader
from spverify.reports.deterministic import BestLeader, best_deterministic_leader
from spverify.solvers.references import pure_equilibria
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.zoo import zoo_path


@pytest.mark.parametrize(("name", "method"), [("simple-allocation-2", "enumeration"), ("mspm-pi", "milp")])
def test_what_the_setting_knows_in_closed_form(name: str, method: str) -> None:
    setting = get_setting(name)
    best = best_deterministic_leader(setting)
    assert best is not None and best.closed and best.method == method
    known = {r.name: r.value for r in setting.references()}
    assert best.value == known.get("optimum", known.get("code-bound-argmax"))
    game = setting.tabulate(np.eye(len(setting.actions), dtype=int)[list(best.table)].tolist())
    found = pure_equilibria(game)
    assert (found.best, found.worst) == (best.value, best.worst)
    assert setting.legal[np.arange(len(best.table)), best.table].all()


def test_no_table_is_better_on_few_prices() -> None:
    """Brute force over all tables that matter: one price a buyer and a first buyer for each pair of messages."""
    setting = replace(get_setting("mspm-pi"), prices=(Fraction(3, 10), Fraction(7, 10)))
    best = best_deterministic_leader(setting)
    assert best is not None
    legal = np.asarray(setting.legal)
    groups = len(setting.groups)
    plans = [
        (first, *(np.flatnonzero(legal[g])[k] for g, k in zip((1, 2), rest, strict=True)))
        for first in np.flatnonzero(legal[0])
        for rest in product(range(2), repeat=2)
    ]
    rng, values = np.random.default_rng(0), []
    for _ in range(100):
        table = np.concatenate([plans[k] for k in rng.integers(len(plans), size=len(legal) // groups)])
        found = pure_equilibria(setting.tabulate(np.eye(legal.shape[1], dtype=int)[table].tolist()))
        values += [] if found.best is None else [found.best]
    assert max(values) <= best.value <= Fraction(best.bound) + Fraction(1, 10**7)
    assert best.value < 0  # these prices are too high for some, so first best is out of reach


@pytest.mark.parametrize("name", ["maintain", "mspm-grid-8"])
def test_leaders_who_see_nothing_or_have_too_much_to_choose(name: str) -> None:
    assert best_deterministic_leader(get_setting(name)) is None


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_only_a_search_that_ended_names_the_best_table(missing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(setting: Any) -> BestLeader:
        return BestLeader(Fraction(0), Fraction(0), missing, (0,), "milp")

    monkeypatch.setattr(subject, "best_deterministic_leader", searched)
    document = audit_leader(zoo_path("mspm-pi"), quick=True).to_document()
    shown = [s for s in document["statements"] if "table_method" in s.get("details", {})]
    assert bool(shown) == (not missing)
