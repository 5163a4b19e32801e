"""First-price auctions with types: the range of revenue over each equilibrium set, up to the sizes that close.

Run `python benchmarks/auctions.py` for benchmarks/results/auctions.json; `--sets ns --largest 16` measures some sets
only, up to some K, and keeps what is on record of the others. Two bidders, values 1/K..1 independent and
uniform, bids 0..1 in steps of 1/K and none above the own value, ties split.
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

from spverify.solvers.bounds import equilibrium_range
from spverify.verify.game import BayesianGame

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
    parser.add_argument("--sets", nargs="+", choices=("tc", "ns", "sf"), default=("tc", "ns", "sf"))
    parser.add_argument("--largest", type=int, default=12, help="the largest K tried")
    options = parser.parse_args()
    seconds = options.seconds
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["ranges"] if RESULTS.exists() else []
    rows: list[dict[str, Any]] = [row for row in known if row["set"] not in options.sets]
    for which in options.sets:
        for k in range(2, options.largest + 1):
            began = time.process_time()
            found = equilibrium_range(auction(k), equilibrium_set=which, seconds=seconds)
            spent = round(time.process_time() - began, 2)
            rows.append(
                {
                    "set": which,
                    "k": k,
                    "min": float(found.min.outer),
                    "max": float(found.max.outer),
                    "closed": found.closed,
                    "cpu_seconds": spent,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
            document = {"command": "python benchmarks/auctions.py", "seconds_each": seconds, "ranges": rows}
            RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            if not found.closed:
                break


if __name__ == "__main__":
    main()
