"""First-price auctions with types: the range of revenue over each equilibrium set, up to the sizes that close.

Run `python benchmarks/auctions.py` for benchmarks/results/auctions.json; `--sets tc ns --sizes 16 20` measures some
sets and sizes only, and keeps what else is on record. Two bidders, values 1/K..1 independent and uniform, bids 0..1 in
steps of 1/K and none above the own value, ties split.
"""

from __future__ import annotations

import argparse
import json
import time
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ranges import machine, warm_up

from spverify.solvers.bounds import equilibrium_range
from spverify.verify.game import BayesianGame

SETS = ("tc", "ns", "sf")
RESULTS = Path(__file__).parent / "results" / "auctions.json"


def auction(k: int) -> BayesianGame:
    """The auction with K values, exactly; the leader's payoff is revenue."""
    values, bids = [Fraction(v, k) for v in range(1, k + 1)], [Fraction(b, k) for b in range(k + 1)]
    shape = (k, k, k + 1, k + 1)
    first, second, revenue = (np.empty(shape, dtype=object) for _ in range(3))
    for s, t, a, b in product(*map(range, shape)):
        wins = Fraction(1, 2) if a == b else Fraction(int(a > b))
        first[s, t, a, b] = wins * (values[s] - bids[a])
        second[s, t, a, b] = (1 - wins) * (values[t] - bids[b])
        revenue[s, t, a, b] = max(bids[a], bids[b])
    mask = [[bid <= value for bid in bids] for value in values]
    payoffs = [first.tolist(), second.tolist()]
    return BayesianGame([[1] * k] * k, payoffs, leader=revenue.tolist(), feasible=[mask, mask])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of one range")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=range(2, 13), help="the K tried")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8"))["ranges"] if RESULTS.exists() else []
    warm_up()
    for which in options.sets:
        for k in options.sizes:
            began = time.process_time()
            found = equilibrium_range(auction(k), equilibrium_set=which, seconds=options.seconds)
            spent = round(time.process_time() - began, 3)
            widths = [None if side.width is None else float(side.width) for side in (found.min, found.max)]
            rows = [row for row in rows if (row["set"], row["k"]) != (which, k)]
            rows.append(
                {
                    "set": which,
                    "k": k,
                    "min": float(found.min.outer),
                    "max": float(found.max.outer),
                    "outer_minus_inner": widths,
                    "closed": found.closed,
                    "cpu_seconds": spent,
                    "budget_seconds": options.seconds,
                    "method": found.method,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
            rows.sort(key=lambda row: (SETS.index(row["set"]), row["k"]))
            document = {"command": "python benchmarks/auctions.py", "machine": machine(), "ranges": rows}
            RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
