"""One end of a range in several ways, on the same games in the same run: this package, plain HiGHS, cvxpy, OpenSpiel.

Run `python benchmarks/range_races.py` for benchmarks/results/range_races.json; `--only "ns 2 20 5"` for the cases that
start so (others stay on record). Each way runs in a process of its own with a limit of time and memory; what it does
not finish is recorded as such. All times are processor seconds of one thread. For the other ways, writing the matrix
down (by this package's vectorised builder) and solving are timed apart; `highs-hipo` needs the extra `highspy-extras`,
`openspiel` its CCE linear program (complete information only, largest welfare, through cvxpy on HiGHS). For this
package searching, proving and the digest of the game's content are timed apart. Games as in `ranges.py`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import highspy
import numpy as np
from ranges import machine, random_game

from spverify.solvers.arrays import Problem
from spverify.solvers.bounds import Court
from spverify.solvers.polytope import CellProgram, cells_of
from spverify.solvers.search import search_cells
from spverify.verify.kernel import objective_tensor

RESULTS = Path(__file__).parent / "results" / "range_races.json"
# set, players, actions, types, objective, end
CASES = (
    ("tc", 2, 20, 5, "leader", "upper"),
    ("tc", 3, 10, 3, "leader", "upper"),
    ("tc", 4, 8, 3, "leader", "upper"),
    ("tc", 2, 50, 10, "leader", "upper"),
    ("tc", 3, 50, 4, "leader", "upper"),
    ("tc", 2, 20, 5, "welfare", "lower"),
    ("tc", 3, 10, 3, "welfare", "lower"),
    ("tc", 2, 50, 10, "welfare", "lower"),
    ("tc", 3, 30, 5, "welfare", "lower"),
    ("ns", 2, 10, 6, "leader", "upper"),
    ("ns", 2, 20, 5, "leader", "upper"),
    ("ns", 3, 6, 3, "leader", "upper"),
    ("ns", 2, 50, 10, "leader", "upper"),
    ("ns", 2, 100, 10, "leader", "upper"),
    ("tc", 2, 50, 1, "welfare", "upper"),
    ("tc", 3, 10, 1, "welfare", "upper"),
)
WAYS = ("this", "highs-simplex", "highs-ipx", "highs-hipo", "cvxpy-highs", "openspiel")
LIMIT_SECONDS, LIMIT_GIB = 120, 8
THIS_SECONDS = 600.0
MOST_COLUMNS = 400_000
"""Above so many columns the whole program is not even written down."""
TOO_BIG = f"its matrix and the solver's copy of it would not fit {LIMIT_GIB} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help='cases that start so, such as "tc 2 50"')
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--one", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, which, *sizes, objective, sense = options.one
        if way != "this":
            resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS, LIMIT_SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (LIMIT_GIB * 2**30, LIMIT_GIB * 2**30))
        print(json.dumps(run(way, which, *map(int, sizes), objective, sense)))
        return
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["races"] if RESULTS.exists() else []
    rows: list[dict[str, Any]] = []
    for case in CASES:
        which, players, actions, types, objective, sense = case
        columns = (types * actions) ** players
        head = {
            "set": which,
            "players": players,
            "actions": actions,
            "types": types,
            "objective": objective,
            "end": sense,
            "columns": columns,
        }
        row: dict[str, Any] = next((old for old in known if head.items() <= old.items()), dict(head))
        rows.append(row)
        if not " ".join(map(str, case)).startswith(options.only):
            continue
        for way in options.ways:
            row.pop(way, None)
            if way == "openspiel" and types > 1:
                continue
            row[way] = race(way, case) if way == "this" or columns <= MOST_COLUMNS else {"not_tried": TOO_BIG}
            record(rows + [old for old in known if not any(row is old for row in rows)])
        print(json.dumps(row), flush=True)


def record(rows: list[dict[str, Any]]) -> None:
    """Writes what is known by now."""
    document = {
        "command": "python benchmarks/range_races.py",
        "seed": 0,
        "machine": machine(),
        "limits_of_other_ways": {"cpu_seconds": LIMIT_SECONDS, "gib": LIMIT_GIB},
        "races": [row for row in rows if "set" in row and any(way in row for way in WAYS)],
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def race(way: str, case: tuple[Any, ...]) -> dict[str, Any]:
    """`run` in a process of its own, or what became of it."""
    needed = {"highs-hipo": "highspy_extras", "openspiel": "open_spiel"}.get(way)
    if needed and importlib.util.find_spec(needed) is None:
        return {"not_tried": f"{needed} is not installed"}
    command = [sys.executable, __file__, "--one", way, *map(str, case)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        return {"not_finished": f"{LIMIT_SECONDS} processor seconds or {LIMIT_GIB} GiB"}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run(way: str, which: str, players: int, actions: int, types: int, objective: str, sense: str) -> dict[str, Any]:
    """One end of one game in one way: seconds of the processor, largest memory, and the value (objective's units)."""
    game = random_game(players, actions, types)
    exact = objective_tensor(game.plain, objective)
    for needed in {"openspiel": ("open_spiel.python.algorithms.jpsro",), "cvxpy-highs": ("cvxpy",)}.get(way, ()):
        importlib.import_module(needed)  # not what is timed
    clock = Clock()
    problem = Problem(game, exact, game.objective(objective), sense, Fraction(0))
    if way == "this":
        until = time.monotonic() + THIS_SECONDS
        found = search_cells(problem, signalling=which == "tc", deadline=until, progress=None)
        out: dict[str, Any] = {"cpu_seconds": clock.lap()}
        digest = game.sha256
        out["digest_seconds"] = clock.lap()
        court = Court(problem, objective, which)
        court.multipliers(found)
        certificate, (inner, gap) = court.outer(), court.inner(found.plays)
        out["proof_seconds"] = clock.lap()
        assert certificate.document["game_sha256"] == digest and inner is not None
        out["outer_minus_inner"] = abs(float(certificate.value - inner.value))
        out["inner_gap"], out["method"], out["value"] = float(gap), found.method, float(certificate.value)
    elif way == "openspiel":
        from open_spiel.python.algorithms import jpsro

        meta = np.stack([payoff.reshape(game.action_shape) for payoff in game.payoffs])
        rows, _ = jpsro._cce_constraints(meta, [0.0] * players, remove_null=True, zero_tolerance=1e-8)
        out = {"build_seconds": clock.lap()}
        cost = np.ravel(meta.sum(axis=0))
        play, _ = jpsro._linear(meta, rows, np.zeros(len(rows)), cost=cost, solver_kwargs={"solver": "HIGHS"})
        out["solve_seconds"] = clock.lap()
        out["value"] = float((play.ravel() * cost).sum())
    else:
        program, cost, matrix = whole_program(problem, signalling=which == "tc")
        out = {"build_seconds": clock.lap(), "rows": matrix.shape[0], "entries": matrix.nnz}
        solve = by_cvxpy if way == "cvxpy-highs" else by_highs
        best = solve(problem, program, cost, matrix, way)
        out["solve_seconds"] = clock.lap()
        out["value"] = problem.sign * (problem.objective_low - problem.objective_scale * best)
    if way != "this":
        out["cpu_seconds"] = round(out["build_seconds"] + out["solve_seconds"], 3)
    out["memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    return out


class Clock:
    """Processor seconds since the last lap."""

    def __init__(self) -> None:
        self.began = time.process_time()

    def lap(self) -> float:
        now = time.process_time()
        spent, self.began = now - self.began, now
        return round(spent, 3)


def whole_program(problem: Problem, *, signalling: bool) -> tuple[CellProgram, Any, Any]:
    """The program over all cells: its rows, costs to be minimised, and the sparse matrix."""
    from scipy.sparse import csc_matrix

    program = CellProgram(problem.game, problem.rows, problem.n_regrets, signalling=signalling)
    columns = program.columns(problem.arrays, cells_of(problem.game, everywhere=not signalling))
    values = np.asarray(columns.value, dtype=float)
    matrix = csc_matrix((values, (columns.row, columns.column)), shape=(program.n_rows, columns.count))
    return program, -np.asarray(columns.cost, dtype=float), matrix


def by_cvxpy(problem: Problem, program: CellProgram, cost: Any, matrix: Any, way: str) -> float:
    """The least cost, through cvxpy's compiler."""
    import cvxpy as cp

    x, rows, n = cp.Variable(matrix.shape[1], nonneg=True), matrix.tocsr(), problem.n_regrets
    asked = cp.Problem(cp.Minimize(cost @ x), [rows[:n] @ x <= problem.bounds, rows[n:] @ x == program.right])
    asked.solve(solver="HIGHS")
    return float(asked.value)


def by_highs(problem: Problem, program: CellProgram, cost: Any, matrix: Any, way: str) -> float:
    """The least cost, in one call of HiGHS."""
    highs = highspy.Highs()
    for option, setting in (("output_flag", False), ("threads", 1), ("solver", way.removeprefix("highs-"))):
        assert highs.setOptionValue(option, setting) == highspy.HighsStatus.kOk
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = matrix.shape[1], matrix.shape[0]
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(len(cost)), np.full(len(cost), np.inf)
    lp.row_lower_ = np.concatenate([np.full(problem.n_regrets, -np.inf), program.right])
    lp.row_upper_ = np.concatenate([problem.bounds, program.right])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    highs.passModel(lp)
    highs.run()
    assert highs.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(highs.getInfo().objective_function_value)


if __name__ == "__main__":
    main()
