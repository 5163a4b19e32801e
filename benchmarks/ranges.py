"""How long proved ranges take, by set and size: searching, proving, re-checking; beside other ways; and learners.

Run `python benchmarks/ranges.py` for the figures in benchmarks/results/ranges.json; `--quick` leaves the long cases
out. `--races` puts one end of some of the games beside other ways (one call of HiGHS on the whole program, cvxpy with
HiGHS), each in a process of its own with a limit of time and memory, and records them in range_races.json; what they
do not finish is recorded as such. All times are processor seconds of one thread, so that other work on the machine
does not count. Games are random: payoffs and leader uniform in [0, 1], prior weights uniform integers 1..9, correlated.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import highspy
import numpy as np

from spverify.solvers.arrays import Problem
from spverify.solvers.bounds import Court, equilibrium_range
from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.solvers.polytope import CellProgram, cells_of
from spverify.solvers.search import Pool, search_cells, search_plans
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import objective_tensor

RESULTS = Path(__file__).parent / "results" / "ranges.json"
RACES = Path(__file__).parent / "results" / "range_races.json"
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
    ("sf", 2, 5, 4, "leader", False),
    ("sf", 3, 3, 3, "leader", False),
    ("sf", 2, 10, 4, "leader", False),
    ("sf", 2, 10, 6, "leader", False),
    ("sf", 2, 20, 5, "leader", True),
    ("sf", 3, 10, 3, "leader", True),
    ("sf", 2, 10, 8, "leader", True),
    ("sf", 2, 20, 8, "leader", True),
)
# players, actions, types, objective, sense: one end over the type-conditional set, against the other ways
DUELS = (
    (2, 20, 5, "leader", "upper"),
    (3, 10, 3, "leader", "upper"),
    (4, 8, 3, "leader", "upper"),
    (2, 50, 10, "leader", "upper"),
    (3, 50, 4, "leader", "upper"),
    (2, 20, 5, "welfare", "lower"),
    (3, 10, 3, "welfare", "lower"),
    (3, 30, 5, "welfare", "lower"),
    (2, 50, 10, "welfare", "lower"),
)
WAYS = ("this", "highs-simplex", "highs-ipx", "cvxpy-highs")
LIMIT_SECONDS, LIMIT_GIB = 120, 8
MOST_COLUMNS = 400_000
"""Above so many columns the whole program is not even written down."""
TOO_BIG = f"its matrix and the solver's copy of it would not fit {LIMIT_GIB} GiB"


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


def whole_program(problem: Problem) -> tuple[Any, Any, Any, Any, Any]:
    """Costs to be minimised, the sparse matrix, and its rows' lower and upper ends, of the type-conditional program."""
    from scipy.sparse import csc_matrix

    program = CellProgram(problem.game, problem.rows, problem.n_regrets, signalling=True)
    columns = program.columns(problem.arrays, cells_of(problem.game, everywhere=False))
    values = np.asarray(columns.value, dtype=float)
    matrix = csc_matrix((values, (columns.row, columns.column)), shape=(program.n_rows, columns.count))
    low = np.concatenate([np.full(problem.n_regrets, -np.inf), np.ones(program.n_masses)])
    high = np.concatenate([problem.bounds, np.ones(program.n_masses)])
    return -np.asarray(columns.cost, dtype=float), matrix, low, high, problem.n_regrets


def duel(way: str, players: int, actions: int, types: int, objective: str, sense: str) -> dict[str, Any]:
    """One end of one game in one way: seconds of the processor, largest memory, and the value (objective's units)."""
    game = random_game(players, actions, types)
    began = time.process_time()
    exact = objective_tensor(game.plain, objective)
    problem = Problem(game, exact, game.objective(objective), sense, Fraction(0))
    if way == "this":
        found = search_cells(problem, signalling=True, deadline=time.monotonic() + LIMIT_SECONDS, progress=None)
        seconds, began = time.process_time() - began, time.process_time()
        digest = game.sha256
        digested = time.process_time() - began
        began = time.process_time()
        court = Court(problem, objective, "tc")
        court.multipliers(found)
        certificate, (inner, gap) = court.outer(), court.inner(found.plays)
        proving = time.process_time() - began
        assert certificate.document["game_sha256"] == digest and inner is not None
        extra = {
            "proof_seconds": round(proving, 3),
            "digest_seconds": round(digested, 3),
            "outer_minus_inner": abs(float(certificate.value - inner.value)),
            "inner_gap": float(gap),
            "method": found.method,
        }
        value = float(certificate.value)
    else:
        cost, matrix, low, high, n = whole_program(problem)
        extra = {"rows": matrix.shape[0], "columns": matrix.shape[1], "entries": matrix.nnz}
        if way == "cvxpy-highs":
            import cvxpy as cp

            x = cp.Variable(matrix.shape[1], nonneg=True)
            rows = matrix.tocsr()
            asked = cp.Problem(cp.Minimize(cost @ x), [rows[:n] @ x <= high[:n], rows[n:] @ x == high[n:]])
            asked.solve(solver="HIGHS")
            best = float(asked.value)
        else:
            highs = highspy.Highs()
            for option, setting in (("output_flag", False), ("threads", 1), ("solver", way[6:])):
                highs.setOptionValue(option, setting)
            lp = highspy.HighsLp()
            lp.num_col_, lp.num_row_ = matrix.shape[1], matrix.shape[0]
            lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(len(cost)), np.full(len(cost), np.inf)
            lp.row_lower_, lp.row_upper_ = low, high
            lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
            lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
            lp.a_matrix_.value_ = matrix.data
            highs.passModel(lp)
            highs.run()
            assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
            best = highs.getInfo().objective_function_value
        seconds = time.process_time() - began
        value = problem.sign * (problem.objective_low - problem.objective_scale * best)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"cpu_seconds": round(seconds, 3), "memory_gib": round(memory, 2), "value": value, **extra}


def duels() -> list[dict[str, Any]]:
    """All of `DUELS`, each in a process of its own; what is on record is not run again, each answer is recorded."""
    known = json.loads(RACES.read_text(encoding="utf-8"))["races"] if RACES.exists() else []
    out = []
    for case in DUELS:
        players, actions, types, objective, sense = case
        columns = types**players * actions**players
        head = {"players": players, "actions": actions, "types": types, "objective": objective, "end": sense}
        row: dict[str, Any] = next((old for old in known if head.items() <= old.items()), {**head, "columns": columns})
        out.append(row)
        for way in WAYS:
            if way in row:
                continue
            row[way] = race(way, case) if way == "this" or columns <= MOST_COLUMNS else {"not_tried": TOO_BIG}
            document = {
                "command": "python benchmarks/ranges.py --races",
                "seed": SEED,
                "machine": machine(),
                "limits_of_other_ways": {"cpu_seconds": LIMIT_SECONDS, "gib": LIMIT_GIB},
                "races": out,
            }
            RACES.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(json.dumps(row), flush=True)
    return out


def race(way: str, case: tuple[Any, ...]) -> dict[str, Any]:
    """`duel` in a process of its own, or what became of it."""
    command = [sys.executable, __file__, "--duel", way, *map(str, case)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"not_finished": f"{LIMIT_SECONDS} processor seconds or {LIMIT_GIB} GiB"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def machine() -> dict[str, Any]:
    """What this runs on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "note": "two cores shared with other work",
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "highspy": highspy.Highs().version(),
    }


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
    parser.add_argument("--duel", nargs=6, help=argparse.SUPPRESS)
    parser.add_argument("--races", action="store_true", help="only the comparison with other ways")
    options = parser.parse_args()
    if options.duel:
        way, *sizes, objective, sense = options.duel
        if way != "this":
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS, LIMIT_SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (LIMIT_GIB * 2**30, LIMIT_GIB * 2**30))
        print(json.dumps(duel(way, *map(int, sizes), objective, sense)))
        return
    quick = options.quick
    if options.races:
        duels()
        return
    cases = []
    for *case, long in CASES:
        if long and quick:
            continue
        cases.append(measure(*case))
        shown = {k: v for k, v in cases[-1].items() if k != "method"}
        print(json.dumps(shown), flush=True)
    learners = learner_rates()
    print(json.dumps(learners), flush=True)
    if quick:
        return
    document = {
        "command": "python benchmarks/ranges.py",
        "seed": SEED,
        "machine": machine(),
        "ranges": cases,
        "learners_10000_rounds_16_seeds": learners,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
