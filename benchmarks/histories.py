"""Regrets of long play logs from counts, beside a per-round Python loop, and the time to read each file form.

Run `python benchmarks/histories.py` for benchmarks/results/histories.json. The loop is measured on fewer rounds (it is
linear in them) and scaled; its regrets, in Fractions over the same rounds, must equal ours exactly.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from spverify.verify.confidence import check_independence, estimate_gap
from spverify.verify.formats import write_play
from spverify.verify.formats.logs import read_history, read_log
from spverify.verify.game import BayesianGame
from spverify.verify.histories import History, history_regrets
from spverify.verify.play import PlayLog
from spverify.verify.regret import assess

RESULTS = Path(__file__).parent / "results" / "histories.json"
SIZES = {"2 players, 4 types, 5 actions": (2, 4, 5), "3 players, 4 types, 10 actions": (3, 4, 10)}


def game_and_log(players: int, types: int, actions: int, rounds: int, seed: int) -> tuple[BayesianGame, PlayLog]:
    rng = np.random.default_rng(seed)
    shape = (types,) * players + (actions,) * players
    prior = rng.dirichlet(np.ones(types**players)).reshape((types,) * players)
    payoffs = [rng.integers(0, 1 << 20, shape) / (1 << 20) for _ in range(players)]
    game = BayesianGame(prior / prior.sum(), payoffs, leader=payoffs[0] + payoffs[1])
    flat = rng.choice(prior.size, size=rounds, p=game.prior.ravel())
    drawn = np.stack(np.unravel_index(flat, game.type_shape), axis=1)
    # one byte a number, as a log comes out of a CSV file
    return game, PlayLog(drawn.astype(np.uint8), rng.integers(0, actions, (rounds, players), dtype=np.uint8))


def python_loop(game: BayesianGame, log: PlayLog) -> list[dict[Any, float]]:
    """Every round, every deviation: what a straightforward script does, in floats."""
    payoffs = [np.broadcast_to(u, game.shape) for u in game.payoffs]
    sums: list[dict[Any, float]] = [{} for _ in payoffs]
    for types, actions in zip(log.types.tolist(), log.actions.tolist(), strict=True):
        for i, payoff in enumerate(payoffs):
            got = payoff[(*types, *actions)]
            for a in range(game.action_shape[i]):
                moved = (*types, *actions[:i], a, *actions[i + 1 :])
                key = (types[i], a)
                sums[i][key] = sums[i].get(key, 0.0) + float(payoff[moved] - got)
    return sums


def exact_loop(game: BayesianGame, log: PlayLog) -> list[dict[Any, Fraction]]:
    """The same in Fractions, for agreement."""
    payoffs = [np.broadcast_to(u, game.shape) for u in game.payoffs]
    sums: list[dict[Any, Fraction]] = [{} for _ in payoffs]
    visits: list[dict[int, int]] = [{} for _ in payoffs]
    for types, actions in zip(log.types.tolist(), log.actions.tolist(), strict=True):
        for i, payoff in enumerate(payoffs):
            visits[i][types[i]] = visits[i].get(types[i], 0) + 1
            got = Fraction(float(payoff[(*types, *actions)]))
            for a in range(game.action_shape[i]):
                moved = (*types, *actions[:i], a, *actions[i + 1 :])
                key = (types[i], a)
                sums[i][key] = sums[i].get(key, Fraction(0)) + Fraction(float(payoff[moved])) - got
    return [{k: v / visits[i][k[0]] for k, v in rows.items()} for i, rows in enumerate(sums)]


def timed(call: Any, repeats: int = 5, clock: Any = time.process_time) -> tuple[float, Any]:
    """Best time of a few calls, seconds, and the last result; wall time where the disk has a share in it."""
    best, result = float("inf"), None
    for _ in range(repeats):
        start = clock()
        result = call()
        best = min(best, clock() - start)
    return best, result


def measure(sizes: tuple[int, int, int], rounds: int, seed: int, files: bool) -> dict[str, Any]:
    game, log = game_and_log(*sizes, rounds, seed)
    _ = game.plain  # made once a game, not once a log
    short = PlayLog(log.types[:2000], log.actions[:2000])
    exact = exact_loop(game, short)
    ours = history_regrets(game, History.of(game, short))
    agree = all(ours[i][t][a] == r for i, rows in enumerate(exact) for (t, a), r in rows.items())
    loop_rounds = 20_000
    part = PlayLog(log.types[:loop_rounds], log.actions[:loop_rounds])
    loop, _ = timed(lambda: python_loop(game, part), 2)
    counting, history = timed(lambda: History.of(game, log))
    regrets, _ = timed(lambda: history_regrets(game, history))
    everything, _ = timed(lambda: assess(game, history))
    interval, _ = timed(lambda: estimate_gap(game, history))
    independence, _ = timed(lambda: check_independence(game, log), 2)
    whole = counting + regrets
    out = {
        "rounds": rounds,
        "agrees_exactly_with_a_loop_in_fractions": agree,
        "seconds": {
            "counting and checking the log": counting,
            "exact regrets from counts": regrets,
            "assess: gap, sums, leader value": everything,
            "confidence interval": interval,
            "independence tests": independence,
            "regrets, whole": whole,
        },
        "python_loop_seconds_scaled": loop * rounds / loop_rounds,
        "times_faster_than_python_loop": loop * rounds / loop_rounds / whole,
    }
    if files:
        out["reading_seconds"] = {}
        with tempfile.TemporaryDirectory() as folder:
            for suffix in (".csv", ".npz", ".parquet"):
                path = Path(folder) / f"log{suffix}"
                write_play(log, path)
                read, _ = timed(lambda path=path: read_log(path, game), 2, time.perf_counter)
                stream, _ = timed(lambda path=path: read_history(path, game), 2, time.perf_counter)
                out["reading_seconds"][suffix] = {
                    "whole": read, "counts, streamed": stream, "megabytes": path.stat().st_size / 1e6
                }  # fmt: skip
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000_000)
    options = parser.parse_args()
    cases = {
        name: measure(sizes, options.rounds, seed=k, files=k == 0) for k, (name, sizes) in enumerate(SIZES.items())
    }
    document = {
        "command": "python benchmarks/histories.py",
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "load_average_before_and_during": os.getloadavg(),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "time": "processor time; wall time for reading",
        "seeds": list(range(len(SIZES))),
        "cases": cases,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
