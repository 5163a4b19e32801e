"""How long proved ranges take, by set and size: both ends searched, proved and re-checked; and learners.

Run `python benchmarks/ranges.py` for the figures in benchmarks/results/ranges.json; `--only "sf 2 20 8"` for the cases
that start so (what else is on record stays); `--quick` leaves the long cases out and writes nothing. All times are
processor seconds of one thread, so that other work on the machine does not count. Games are random: payoffs and leader
uniform in [0, 1], prior weights uniform integers 1..9, correlated. Other ways: `range_races.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import highspy
import numpy as np

from spverify.solvers.arrays import Problem
from spverify.solvers.bounds import equilibrium_range
from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.solvers.search import METHODS, Pool, search_cells, search_plans
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import objective_tensor

RESULTS = Path(__file__).parent / "results" / "ranges.json"
SEED = 0
SECONDS = 120.0
"""Wall time for the search of one end, where it is not done before."""
# set, players, actions, types, objective, long
CASES = (
    ("tc", 2, 5, 4, "leader", False),
    ("tc", 2, 20, 5, "leader", False),
    ("tc", 2, 20, 5, "welfare", False),
    ("tc", 3, 10, 3, "leader", False),
    ("tc", 3, 10, 3, "welfare", False),
    ("tc", 4, 8, 3, "leader", True),
    ("tc", 2, 50, 10, "leader", True),
    ("tc", 3, 50, 4, "leader", True),
    ("ns", 2, 5, 4, "leader", False),
    ("ns", 3, 3, 3, "leader", False),
    ("ns", 2, 10, 4, "leader", False),
    ("ns", 2, 10, 6, "leader", False),
    ("ns", 2, 20, 5, "leader", False),
    ("ns", 3, 6, 3, "leader", False),
    ("ns", 2, 50, 10, "leader", True),
    ("sf", 2, 5, 4, "leader", False),
    ("sf", 3, 3, 3, "leader", False),
    ("sf", 2, 10, 4, "leader", False),
    ("sf", 2, 10, 6, "leader", False),
    ("sf", 2, 20, 5, "leader", True),
    ("sf", 3, 10, 3, "leader", True),
    ("sf", 2, 10, 8, "leader", True),
    ("sf", 2, 20, 8, "leader", True),
)


def begins(case: Sequence[Any], words: str) -> bool:
    """Whether a case starts with these words."""
    wanted = words.split()
    return [str(word) for word in case[: len(wanted)]] == wanted


def random_game(players: int, actions: int, types: int) -> BayesianGame:
    """The random game of a size."""
    rng = np.random.default_rng(SEED)
    prior = rng.integers(1, 10, (types,) * players)
    shape = (types,) * players + (actions,) * players
    return BayesianGame(prior, [rng.random(shape) for _ in range(players)], leader=rng.random(shape))


def measure(which: str, players: int, actions: int, types: int, objective: str) -> dict[str, Any]:
    """One case: both sides searched, then searched and proved, then each certificate re-checked from its document."""
    game = random_game(players, actions, types)
    exact, pool = objective_tensor(game.plain, objective), Pool()
    began = time.process_time()
    for sense in ("upper", "lower"):
        problem = Problem(game, exact, game.objective(objective), sense, Fraction(0))
        deadline = time.monotonic() + SECONDS
        if which == "sf":
            search_plans(problem, deadline=deadline, pool=pool, progress=None)
        else:
            search_cells(problem, signalling=which == "tc", deadline=deadline, progress=None)
    search = time.process_time() - began
    began = time.process_time()
    found = equilibrium_range(game, objective=objective, equilibrium_set=which, seconds=2 * SECONDS)
    total = time.process_time() - began
    rechecks = []
    for side in (found.min, found.max):
        for certificate in (side.certificate, side.inner_certificate):
            if certificate is not None:
                began = time.process_time()
                # documents of large games do not carry the game
                assert certificate.recheck(None if certificate.document["game"] else game).accepted
                rechecks.append(round(time.process_time() - began, 3))
    widths = [None if side.inner is None else abs(float(side.outer - side.inner)) for side in (found.min, found.max)]
    return {
        "set": which,
        "players": players,
        "actions": actions,
        "types": types,
        "objective": objective,
        "search_cpu_seconds": round(search, 3),
        "total_cpu_seconds": round(total, 3),
        "recheck_cpu_seconds": rechecks,
        "min": float(found.min.outer),
        "max": float(found.max.outer),
        "outer_minus_inner": widths,
        "proved": found.proved,
        "method": found.method,
    }


def machine() -> dict[str, Any]:
    """What this runs on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "highspy": highspy.Highs().version(),
    }


def warm_up() -> None:
    """First calls pay for imports and compilation, which is not what is measured."""
    for which, methods in METHODS.items():
        for method in methods:
            found = equilibrium_range(random_game(2, 3, 2), equilibrium_set=which, method=method)
            assert found.max.certificate.recheck().accepted


def learner_rates() -> list[dict[str, Any]]:
    """Multiplicative weights, 10,000 rounds of 16 seeds side by side, strategies of all rounds kept."""
    out = []
    for players, actions, types in ((1, 3, 1), (2, 3, 1), (2, 3, 3), (3, 2, 2)):
        for mode in ("sampled", "expected"):
            game = random_game(players, actions, types)
            began = time.process_time()
            run_learners(game, MultiplicativeWeights(0.1), 10_000, seeds=16, types=mode, opponents=mode)
            wall = round(time.process_time() - began, 3)
            out.append({"players": players, "actions": actions, "types": types, "mode": mode, "cpu_seconds": wall})
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave the long cases out, write nothing")
    parser.add_argument(
        "--only", default="", help='cases that start so, such as "sf", "sf 2 20 8" or "learners"; others stay'
    )
    options = parser.parse_args()
    known: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    keys = ("set", "players", "actions", "types", "objective")
    rows = {tuple(row[key] for key in keys): row for row in known.get("ranges", ())}
    warm_up()
    for *case, long in CASES:
        if not begins(case, options.only) or (long and options.quick):
            continue
        row = rows[tuple(case)] = measure(*case)
        print(json.dumps({k: v for k, v in row.items() if k != "method"}), flush=True)
        known["ranges"] = [rows[key] for *names, _ in CASES if (key := tuple(names)) in rows]
        record(known, options.quick)
    if options.only in ("", "learners"):
        known["learners_10000_rounds_16_seeds"] = learner_rates()
        print(json.dumps(known["learners_10000_rounds_16_seeds"]), flush=True)
        record(known, options.quick)


def record(known: dict[str, Any], quick: bool) -> None:
    """Writes what is known by now."""
    if not quick:
        document = {"command": "python benchmarks/ranges.py", "seed": SEED, **known, "machine": machine()}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
