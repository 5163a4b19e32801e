"""One end of a range in several ways, on the same games in the same run: this package, plain HiGHS, cvxpy, OpenSpiel.

Run `python benchmarks/range_races.py` for benchmarks/results/range_races.json; `--only "ns 2 20 5"` for the cases that
start so and `--ways this` for some ways (what else is on record stays). Each way runs in a process of its own, is
warmed up on a tiny game of the same kind, and is repeated five times where it takes less than a second (medians are
recorded); what does not end within the limits of time and memory is recorded as such. All times are processor seconds
of one thread. For the other ways, writing the matrix down (by this package's vectorised builder) and solving are timed
apart; `highs-hipo` needs the extra `highspy-extras`, `openspiel` its CCE linear program (complete information only,
largest welfare, through cvxpy on HiGHS). For this package searching, proving and the digest of the game's content are
timed apart. Solvers run at their default tolerances: `largest_regret` is what a player could still gain in the play
that they return, `beyond_bound` how far their value is outside the bound proved here. Games as in `ranges.py`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
import time
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import highspy
import numpy as np
from ranges import begins, machine, random_game

from spverify.solvers.arrays import Problem
from spverify.solvers.bounds import Court
from spverify.solvers.plans import plan_columns
from spverify.solvers.polytope import CellProgram, cells_of
from spverify.solvers.search import METHODS, Pool, search_cells, search_plans
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import objective_tensor

RESULTS = Path(__file__).parent / "results" / "range_races.json"
HEAD = ("set", "players", "actions", "types", "objective", "end")
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
    ("sf", 2, 5, 4, "leader", "upper"),
    ("sf", 2, 20, 5, "leader", "upper"),
    ("sf", 2, 10, 8, "leader", "upper"),
    ("sf", 3, 10, 3, "leader", "upper"),
    ("tc", 2, 50, 1, "welfare", "upper"),
    ("tc", 3, 10, 1, "welfare", "upper"),
)
WAYS = ("this", "highs-simplex", "highs-ipx", "highs-hipo", "cvxpy-highs", "openspiel")
EXTRAS = {"highs-hipo": "highspy_extras", "cvxpy-highs": "cvxpy", "openspiel": "open_spiel"}
LIMIT_SECONDS, LIMIT_GIB = 120, 8
THIS_SECONDS = 600.0
MOST_COLUMNS = 400_000
"""Above so many columns the whole program is not even written down."""
REPEATS = 5
"""How often a way that takes less than a second is timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help='cases that start so, such as "tc 2 50"')
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--one", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, which, *sizes, objective, sense = options.one
        print(json.dumps(run(way, which, *map(int, sizes), objective, sense)))
        return
    for case in CASES:
        if not begins(case, options.only):
            continue
        columns = n_columns(*case[:4])
        for way in options.ways:
            if way == "openspiel" and case[3] > 1:
                continue
            if way == "this" or columns <= MOST_COLUMNS:
                answer = race(way, case)
            else:
                answer = {"does_not_fit": f"the matrix and the solver's copy of it, in {LIMIT_GIB} GiB"}
            rows = recorded()  # another process may have added to it meanwhile
            row = rows.setdefault(case, {**dict(zip(HEAD, case, strict=True)), "columns": columns})
            row[way] = answer
            compare(row)
            record([rows[each] for each in CASES if each in rows])
            print(json.dumps({**dict(zip(HEAD, case, strict=True)), way: row[way]}), flush=True)


def recorded() -> dict[tuple[Any, ...], dict[str, Any]]:
    """What is on record of each case."""
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["races"] if RESULTS.exists() else []
    return {tuple(row[name] for name in HEAD): row for row in known}


def n_columns(which: str, players: int, actions: int, types: int) -> int:
    """How many columns the whole program has: profiles of strategies, or cells."""
    return actions ** (types * players) if which == "sf" else (types * actions) ** players


def compare(row: dict[str, Any]) -> None:
    """How far the other ways' values are outside the bound proved here: above for a largest value, else below."""
    for way in WAYS[1:]:
        if "value" in row.get("this", {}) and "value" in row.get(way, {}):
            beyond = row[way]["value"] - row["this"]["value"]
            row[way]["beyond_bound"] = beyond if row["end"] == "upper" else -beyond


def record(rows: list[dict[str, Any]]) -> None:
    """Writes what is known by now."""
    document = {
        "command": "python benchmarks/range_races.py",
        "seed": 0,
        "machine": machine() | {name: version(name) for name in EXTRAS.values() if importlib.util.find_spec(name)},
        "limits_of_other_ways": {"cpu_seconds": LIMIT_SECONDS, "gib": LIMIT_GIB},
        "repeats_below_one_second": REPEATS,
        "races": rows,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def race(way: str, case: tuple[Any, ...]) -> dict[str, Any]:
    """`run` in a process of its own, or what became of it."""
    needed = EXTRAS.get(way)
    if needed and importlib.util.find_spec(needed) is None:
        return {"not_tried": f"{needed} is not installed"}
    command = [sys.executable, __file__, "--one", way, *map(str, case)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode == -signal.SIGXCPU:
        return {"not_finished": f"{LIMIT_SECONDS} s"}
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        if "MemoryError" in done.stderr or "bad_alloc" in done.stderr:
            return {"not_finished": f"{LIMIT_GIB} GiB"}
        return {"failed": lines[-1]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run(way: str, which: str, players: int, actions: int, types: int, objective: str, sense: str) -> dict[str, Any]:
    """One end of one game in one way: seconds of the processor, largest memory, and the value (objective's units)."""
    methods = METHODS[which] if way == "this" else ("auto",)
    for method in methods:  # first calls pay for imports and compilation
        measure(way, which, random_game(players, 3, min(types, 2)), objective, sense, method)
    game = random_game(players, actions, types)
    if way != "this":
        limit = int(processor_seconds()) + LIMIT_SECONDS
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 10))
        resource.setrlimit(resource.RLIMIT_DATA, (LIMIT_GIB * 2**30, LIMIT_GIB * 2**30))
    laps, facts = measure(way, which, game, objective, sense)
    all_laps = [laps]
    while sum(laps.values()) < 1.0 and len(all_laps) < REPEATS:
        # a game remembers its digest
        all_laps.append(measure(way, which, random_game(players, actions, types), objective, sense)[0])
    out: dict[str, Any] = {name: round(median(each[name] for each in all_laps), 6) for name in laps}
    out |= facts
    out["times"] = len(all_laps)
    out["memory_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    out["load"] = round(os.getloadavg()[0], 1)
    return out


Measured = tuple[dict[str, float], dict[str, Any]]


def measure(way: str, which: str, game: BayesianGame, objective: str, sense: str, method: str = "auto") -> Measured:
    """Processor seconds of the parts of one attempt, and what it found."""
    if way == "this":
        return by_this(which, game, objective, sense, method)
    problem = Problem(game, objective_tensor(game.plain, objective), game.objective(objective), sense, Fraction(0))
    if way == "openspiel":
        return by_openspiel(problem)
    clock = Clock()
    matrix, cost, right = whole_program(problem, which)
    built = clock.lap()
    best, play = (by_cvxpy if way == "cvxpy-highs" else by_highs)(problem, matrix, cost, right, way)
    laps = {"build_seconds": built, "solve_seconds": clock.lap()}
    value = problem.sign * (problem.objective_low - problem.objective_scale * best)
    rows, entries = matrix.shape[0], matrix.nnz
    return laps, {"value": value, "largest_regret": regret(problem, matrix, play), "rows": rows, "entries": entries}


def processor_seconds() -> float:
    """What this process has used; under a limit of processor time `time.process_time` only moves every 4 ms."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Clock:
    """Processor seconds since the last lap."""

    def __init__(self) -> None:
        self.began = processor_seconds()

    def lap(self) -> float:
        now = processor_seconds()
        spent, self.began = now - self.began, now
        return spent


def by_this(which: str, game: BayesianGame, objective: str, sense: str, method: str) -> Measured:
    """The search for one end, and apart from it what the kernel makes of it."""
    clock, deadline = Clock(), time.monotonic() + THIS_SECONDS
    exact = objective_tensor(game.plain, objective)
    problem = Problem(game, exact, game.objective(objective), sense, Fraction(0))
    if which == "sf":
        found = search_plans(problem, deadline=deadline, pool=Pool(), progress=None)
    else:
        found = search_cells(problem, signalling=which == "tc", deadline=deadline, progress=None, method=method)
    laps = {"search_seconds": clock.lap()}
    digest = game.sha256
    laps["digest_seconds"] = clock.lap()
    court = Court(problem, objective, which)
    if which == "sf":
        court.strategic(found, deadline)
    else:
        court.multipliers(found)
    certificate, (inner, gap) = court.outer(), court.inner(found.plays)
    laps["proof_seconds"] = clock.lap()
    assert certificate.document["game_sha256"] == digest
    assert inner is not None and gap is not None
    apart = abs(float(certificate.value - inner.value))
    value, gap = float(certificate.value), float(gap)
    return laps, {"value": value, "outer_minus_inner": apart, "inner_gap": gap, "method": found.method}


def by_openspiel(problem: Problem) -> Measured:
    """OpenSpiel's linear program for the coarse correlated equilibrium of largest welfare."""
    from open_spiel.python.algorithms import jpsro

    game, clock = problem.game, Clock()
    meta = np.stack([payoff.reshape(game.action_shape) for payoff in game.payoffs])
    rows, _ = jpsro._cce_constraints(meta, [0.0] * game.n_players, remove_null=True, zero_tolerance=1e-8)
    built = clock.lap()
    cost = np.ravel(meta.sum(axis=0))
    play, _ = jpsro._linear(meta, rows, np.zeros(len(rows)), cost=cost, solver_kwargs={"solver": "HIGHS"})
    laps = {"build_seconds": built, "solve_seconds": clock.lap()}
    matrix, _, _ = whole_program(problem, "tc")
    return laps, {"value": float(play.ravel() @ cost), "largest_regret": regret(problem, matrix, play.ravel())}


def whole_program(problem: Problem, which: str) -> tuple[Any, Any, Any]:
    """The program over all cells or profiles: its sparse matrix, costs to be minimised, and right of the last rows."""
    from scipy.sparse import csc_matrix

    game, rows, n = problem.game, problem.rows, problem.n_regrets
    if which == "sf":
        choices = [a for a, t in zip(game.action_shape, game.type_shape, strict=True) for _ in range(t)]
        profiles = np.indices(choices).reshape(len(choices), -1).T
        columns, right = plan_columns(problem.arrays, rows, n, profiles), np.ones(1)
    else:
        program = CellProgram(game, rows, n, signalling=which == "tc")
        columns, right = program.columns(problem.arrays, cells_of(game, everywhere=which == "ns")), program.right
    values = np.asarray(columns.value, dtype=float)
    matrix = csc_matrix((values, (columns.row, columns.column)), shape=(n + len(right), columns.count))
    return matrix, -np.asarray(columns.cost, dtype=float), right


def regret(problem: Problem, matrix: Any, play: Any) -> float:
    """The most that a type could gain by a deviation from a play over the columns, payoff units."""
    units = [np.full(int((rows >= 0).sum()), s) for rows, s in zip(problem.rows, problem.payoff_scale, strict=True)]
    gains = (matrix @ np.maximum(play, 0.0))[: problem.n_regrets] * np.concatenate(units)
    return max(0.0, float(gains.max()))


def by_cvxpy(problem: Problem, matrix: Any, cost: Any, right: Any, way: str) -> tuple[float, Any]:
    """The least cost and its play, through cvxpy's compiler."""
    import cvxpy as cp

    x, rows, n = cp.Variable(matrix.shape[1], nonneg=True), matrix.tocsr(), problem.n_regrets
    asked = cp.Problem(cp.Minimize(cost @ x), [rows[:n] @ x <= problem.bounds, rows[n:] @ x == right])
    asked.solve(solver="HIGHS")
    return float(asked.value), x.value


def by_highs(problem: Problem, matrix: Any, cost: Any, right: Any, way: str) -> tuple[float, Any]:
    """The least cost and its play, in one call of HiGHS."""
    highs = highspy.Highs()
    for option, setting in (("output_flag", False), ("threads", 1), ("solver", way.removeprefix("highs-"))):
        assert highs.setOptionValue(option, setting) == highspy.HighsStatus.kOk
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = matrix.shape[1], matrix.shape[0]
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, np.zeros(len(cost)), np.full(len(cost), np.inf)
    lp.row_lower_ = np.concatenate([np.full(problem.n_regrets, -np.inf), right])
    lp.row_upper_ = np.concatenate([problem.bounds, right])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    highs.passModel(lp)
    highs.run()
    status = highs.getModelStatus()
    if status == highspy.HighsModelStatus.kMemoryLimit:
        raise MemoryError
    assert status == highspy.HighsModelStatus.kOptimal, highs.modelStatusToString(status)
    return float(highs.getInfo().objective_function_value), np.asarray(highs.getSolution().col_value)


if __name__ == "__main__":
    main()
