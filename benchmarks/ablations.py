"""The paper's ablations (theory T8) with step-level PPO: response steps in or out, critic full or actor's view.

Run `python benchmarks/ablations.py` for benchmarks/results/ablations.json: ten seeds a cell, none left out. Measured is
what the stochastic policy earns in its own reward phases over the last five iterations, and what its mode is worth; the
orderings are intervals of the mean difference over seeds. On simple allocation and matrix design the paper's shorter
response phase of 33 updates is measured too. Each seed is recorded as it ends, and `--resume` goes on from there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spverify.trained_leaders.evaluate import score_tables
from spverify.trained_leaders.hyper import default_hyper
from spverify.trained_leaders.mappo import StepPPO
from spverify.trained_leaders.settings import get_setting

RESULTS = Path(__file__).parent / "results" / "ablations.json"
# Setting, iterations of 32 outer episodes, updates of a response phase.
CASES = {
    "maintain": ("maintain", 40, 100),
    "simple-allocation-3": ("simple-allocation-3", 25, 100),
    "simple-allocation-3-short": ("simple-allocation-3", 25, 33),
    "matrix-design": ("matrix-design", 40, 100),
    "matrix-design-short": ("matrix-design", 40, 33),
}
SEEDS, LAST, RUNS = 10, 5, 16


def run_seed(name: str, view: str, response_steps: bool, seed: int) -> tuple[float, float, float]:
    """One training: what its policy earned at the end, what its mode is worth, and processor seconds."""
    world, iterations, updates = CASES[name]
    setting = get_setting(world)
    hyper = replace(
        default_hyper(setting, mode="mappo"),
        critic_view=view,
        response_steps=response_steps,
        iterations=iterations,
        updates=updates,
        objective="episode",
    )
    began = time.process_time()
    learner = StepPPO(setting, hyper, seed, 0)
    means = [learner.iterate(k)[2]["mean"] for k in range(hyper.iterations)]
    scores, _ = score_tables(setting, hyper, learner.mode()[None], rng_seed=seed, runs=RUNS)
    return float(np.mean(means[-LAST:])), float(scores.mean()), time.process_time() - began


def run_cell(
    name: str, view: str, response_steps: bool, known: list[dict[str, Any]], save: Callable[[], None]
) -> dict[str, Any]:
    """Seeds 0, 1, .. of one cell that are not recorded yet, with a bootstrap interval (95%) of the mean over seeds."""
    _, iterations, updates = CASES[name]
    cell: dict[str, Any] = {"critic_view": view, "response_steps": response_steps}
    found = [old for old in known if cell.items() <= old.items()]
    if found:
        cell = found[0]
    else:
        cell |= {"iterations": iterations, "updates": updates, "earned": [], "mode_value": [], "cpu_seconds": 0.0}
        known.append(cell)
    for seed in range(len(cell["earned"]), SEEDS):
        earned, mode, spent = run_seed(name, view, response_steps, seed)
        cell["earned"].append(earned)
        cell["mode_value"].append(mode)
        cell["cpu_seconds"] = round(cell["cpu_seconds"] + spent, 1)
        cell["earned_mean"] = float(np.mean(cell["earned"]))
        cell["earned_interval"] = interval(cell["earned"])
        print(name, view, response_steps, seed, round(earned, 3), round(mode, 3), round(spent, 1), flush=True)
        save()
    return cell


def interval(numbers: list[float]) -> list[float]:
    """Bootstrap interval (95%) of the mean."""
    draws = np.random.default_rng(0).choice(numbers, size=(10_000, len(numbers))).mean(axis=1)
    return [float(q) for q in np.quantile(draws, [0.025, 0.975])]


def orderings(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The paper's orderings, seed by seed: full critic over actor's view, and all steps over reward steps only."""
    earned = {(cell["critic_view"], cell["response_steps"]): np.array(cell["earned"]) for cell in cells}
    full, basic, actor = earned["full", True], earned["full", False], earned["actor", True]
    out = []
    for name, less in (("full critic over actor's view", actor), ("response steps in over out", basic)):
        low, high = interval((full - less).tolist())
        verdict = "holds" if low > 0 else "refuted" if high < 0 else "inconclusive"
        out.append(
            {"ordering": name, "difference": float((full - less).mean()), "interval": [low, high], "verdict": verdict}
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(CASES), help="run one setting (repeatable)")
    parser.add_argument("--resume", action="store_true", help="keep recorded seeds and train the missing ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}

    def save() -> None:
        whole = {k: c for k, c in known.items() if len(c) == 4 and all(len(x["earned"]) == SEEDS for x in c)}
        order = {case: orderings(cells) for case, cells in whole.items()}
        document = {"command": "python benchmarks/ablations.py", "seeds": SEEDS, "cases": known, "orderings": order}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    for name in options.only or list(CASES):
        if not options.resume or name not in known:
            known[name] = []
        for response_steps in (True, False):
            for view in ("full", "actor"):
                cell = run_cell(name, view, response_steps, known[name], save)
                print(name, view, response_steps, round(cell["earned_mean"], 3), cell["earned_interval"], flush=True)
        for line in orderings(known[name]):
            print(name, line, flush=True)


if __name__ == "__main__":
    main()
