"""The shipped leaders: readable, small, carded, and every claim reproduced by the learners' room."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.trained_leaders.dynamic import dynamic_figures
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.zoo import list_zoo, zoo_path
from spverify.verify.errors import UsageError
from spverify.verify.regret import interim_regrets, objective_value

EXPECTED = {
    "escape", "maintain", "maintain-mixture", "maintain-myopic", "conitzer-mixture", "simple-allocation-3", "mspm-pi",
    "mspm-pi-episode", "matrix-design", "mspm-correlated-pi", "mspm-grid-3", "mspm-grid-4", "conitzer", "two-by-two",
    "simple-allocation-1", "simple-allocation-2", "mspm-grid-5", "mspm-grid-6",
    "simple-allocation-3-sb3",
}  # fmt: skip

DYNAMIC = {
    "platform", "platform-hidden-cost", "repeated-prisoners-dilemma", "repeated-battle-of-the-sexes",
    "repeated-coordination", "repeated-coordination-5",
}  # fmt: skip


def test_the_zoo_is_complete() -> None:
    assert set(list_zoo()) == EXPECTED | DYNAMIC | {"maintain-boaster"}
    with pytest.raises(UsageError, match="no shipped leader is called 'maintian'; the nearest is 'maintain'"):
        zoo_path("maintian")


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_shipped_leader(name: str) -> None:
    path = zoo_path(name)
    found = inspect_leader(path)
    assert found.size < 100_000 and found.network_agrees
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert found.sha256 in card and found.training["command"] in card
    claims, followers = found.claims, found.training["followers"]
    setting = get_setting(found.setting, found.parameters)
    run = run_learners(
        found.game,
        MultiplicativeWeights(followers["epsilon"], payoff_scale=setting.payoff_scale),
        claims["updates"],
        seeds=claims["runs"],
        types=followers["types"],
        opponents=followers["opponents"],
        rng_seed=claims["rng_seed"],
    )
    for readout, claimed in claims["value"].items():
        plays = [run.readout(readout, seed=b).conditional(found.game) for b in range(claims["runs"])]
        assert np.mean([objective_value(found.game, s) for s in plays]) == pytest.approx(claimed, abs=1e-6)
        worst = max(float(r.max()) for s in plays for r in interim_regrets(found.game, s))
        assert max(0.0, worst) == pytest.approx(claims["gap"][readout], abs=1e-6)


@pytest.mark.parametrize("name", sorted(DYNAMIC))
def test_shipped_dynamic_leader(name: str) -> None:
    path = zoo_path(name)
    found = inspect_leader(path)
    assert found.size < 100_000 and found.network_agrees
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert found.sha256 in card and found.training["command"] in card
    assert len([line for line in card.splitlines() if line[:3].strip("| ").isdigit()]) == 10  # one line a seed
    world, claims = found.dynamic_world, found.claims
    assert world is not None
    table = np.array([row.index(1) for row in found.rows])
    periods, runs = claims["updates"], claims["runs"]
    value, gap = dynamic_figures(world, table, periods=periods, runs=runs, rng_seed=claims["rng_seed"])
    assert value == pytest.approx(claims["value"], abs=1e-6) and gap == pytest.approx(claims["gap"], abs=1e-6)


def test_each_card_ships_the_seed_that_its_rule_picks_from_the_record() -> None:
    benchmarks = Path(__file__).parents[2] / "benchmarks"
    spec = importlib.util.spec_from_file_location("benchmark_of_training", benchmarks / "training.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recorded = json.loads((benchmarks / "results" / "training.json").read_text())["cases"]
    shipped = {case.name: module.best_seed(case, recorded[case.name]) for case in module.CASES if case.zoo}
    assert set(shipped) == EXPECTED - {"simple-allocation-3-sb3"}
    for name, best in shipped.items():
        leader = inspect_leader(zoo_path(name))
        assert (name, leader.training["seed"]) == (name, best["seed"])
        assert leader.claims["value"] == pytest.approx(best["value"], abs=1e-9)


def test_the_boaster_claims_what_no_commitment_earns() -> None:
    found = inspect_leader(zoo_path("maintain-boaster"))
    assert found.sha256 in zoo_path("maintain-boaster").with_suffix(".md").read_text(encoding="utf-8")
    assert found.claims["value"]["argmax"] == 30 and found.rows[0][1] == 1
    learner = MultiplicativeWeights(0.1, payoff_scale=30)
    run = run_learners(found.game, learner, found.claims["updates"], rng_seed=found.claims["rng_seed"])
    assert objective_value(found.game, run.readout("argmax").conditional(found.game)) == 10
