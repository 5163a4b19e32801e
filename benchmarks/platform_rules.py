"""Every rule a platform with hidden costs can have, against learning sellers: how good can one be?

Thresholds that show the same sellers are one rule, and so are rules that exchange the two sellers. All of them meet
one run of Q-learners at each cost; the best go on to more and more fresh runs. What comes out first had some luck in
the last stage too, little in 128 runs. `python benchmarks/platform_rules.py` writes
benchmarks/results/platform_rules.json; `--symmetric` looks at rules that treat both sellers alike only, in seconds.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spverify.trained_leaders.dynamic import score_dynamic
from spverify.trained_leaders.settings import get_world
from spverify.trained_leaders.settings.platform import Platform

RESULTS = Path(__file__).parent / "results" / "platform_rules.json"
STAGES = ((None, 1), (30_000, 1), (6_000, 4), (800, 16), (60, 128))  # how many of the best, and runs of each
AT_ONCE, SHOWN = 1024, 5


def all_rules(world: Platform, symmetric: bool) -> NDArray[np.int64]:
    """Tables of thresholds, shape (rules, pairs), one of each kind that does the same."""
    pairs = range(len(world.observations))
    width = len(world.prices)
    mirror = [width * (p % width) + p // width for p in pairs]
    choices = [list({world.shown(p, a): a for a in reversed(range(len(world.actions)))}.values()) for p in pairs]
    sizes = [len(c) for c in choices]
    picks = np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), sizes), axis=1)
    numbers = [np.ravel_multi_index(tuple(x.T), sizes) for x in (picks, picks[:, mirror])]
    kept = picks[numbers[0] == numbers[1] if symmetric else numbers[0] <= numbers[1]]
    return np.stack([np.array(c)[kept[:, k]] for k, c in enumerate(choices)], axis=1)


def worth(world: Platform, tables: NDArray[np.int64], runs: int, rng_seed: int) -> NDArray[np.float64]:
    """Mean surplus over runs, shape (rules,)."""
    parts = np.array_split(tables, max(1, len(tables) * runs // AT_ONCE))
    found = [
        score_dynamic(world, part, readout="argmax", periods=[world.periods], rng_seed=rng_seed, runs=runs)[0]
        for part in parts
    ]
    return np.concatenate(
        [score.reshape(len(part), runs).mean(axis=1) for score, part in zip(found, parts, strict=True)]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symmetric", action="store_true", help="rules that treat both sellers alike only")
    options = parser.parse_args()
    world = get_world("platform-hidden-cost")
    assert isinstance(world, Platform)
    began = time.process_time()
    tables = all_rules(world, options.symmetric)
    record: dict[str, Any] = {"rules": len(tables), "periods": world.periods, "stages": []}
    scores = np.zeros(len(tables))
    for stage, (count, runs) in enumerate(STAGES):
        tables = tables[np.argsort(-scores, kind="stable")[:count]]
        scores = worth(world, tables, runs, rng_seed=stage + 1)
        best = np.argsort(-scores, kind="stable")[:SHOWN]
        line = {"rules": len(tables), "runs": runs, "best": [float(scores[k]) for k in best]}
        record["stages"].append(line)
        print(line, f"{time.process_time() - began:.0f} s", flush=True)
    record["best"] = [{"value": float(scores[k]), "table": tables[k].tolist()} for k in best]
    record["cpu_seconds"] = round(time.process_time() - began, 1)
    known = json.loads(RESULTS.read_text())["searches"] if RESULTS.exists() else {}
    known["symmetric" if options.symmetric else "all"] = record
    document = {"command": "python benchmarks/platform_rules.py [--symmetric]", "searches": known}
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
