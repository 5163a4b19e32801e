"""Ranges and bounds on random games against brute force: does any `outer` ever lie inside the true interval?

`python benchmarks/fuzz_ranges.py` (slow; no part of the tests) adds its run to benchmarks/results/fuzz_ranges.json.
Brute force is the oracle of tests/solvers/conftest.py: loops over the definitions and one scipy program over all cells
or profiles. Games have 1 to 4 players, correlated integer priors with zeros, integer payoffs, masks. For each game and
set: the range at a drawn epsilon; kernel bounds from random multipliers (and potentials), which must hold as well, an
eighth of them compared with the kernel's twin; and the range's certificates with a number changed, which must be
refused or still be true, by both kernels alike.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import highspy
import numpy as np

from spverify.solvers.bounds import equilibrium_range
from spverify.verify import fast_kernel
from spverify.verify.certificate import Certificate, round_multipliers, round_potentials
from spverify.verify.game import BayesianGame
from spverify.verify.kernel import check_certificate, outer_bound

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "fuzz_ranges.json"
TOLERANCE = 2e-7
"""What brute force in doubles is trusted to."""


def oracle() -> Any:
    """`brute_range` of the tests."""
    spec = importlib.util.spec_from_file_location("oracle", ROOT / "tests" / "solvers" / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.brute_range


def random_game(rng: np.random.Generator, most: int) -> BayesianGame:
    """A game of at most ``most`` pure strategy profiles."""
    n = int(rng.integers(1, 5))
    types, actions, room = tuple(rng.integers(1, 4, n).tolist()), [], most
    for t in types:
        actions.append(int(rng.integers(1, 1 + max(k for k in (1, 2, 3) if k**t <= room))))
        room = max(1, room // actions[-1] ** t)
    prior = rng.integers(0, 5, types)
    if not prior.any():
        prior[(0,) * n] = 1
    shape, masks = types + tuple(actions), None
    if rng.random() < 0.5:
        masks = []
        for t, a in zip(types, actions, strict=True):
            mask = rng.random((t, a)) < 0.7
            mask[np.arange(t), rng.integers(0, a, t)] = True
            masks.append(mask)
    payoffs = [rng.integers(-5, 10, shape) for _ in range(n)]
    return BayesianGame(prior, payoffs, leader=rng.integers(-5, 10, shape), feasible=masks)


def random_bounds(game: BayesianGame, which: str, epsilon: Fraction, count: int, rng: np.random.Generator) -> list[Any]:
    """(sense, value) of bounds from random multipliers, and off the type-conditional set random potentials."""
    out, n = [], game.n_players
    for k in range(count):
        y = [
            rng.exponential(size=m.shape) * (rng.random(m.shape) < 0.4) * rng.choice([0.1, 1, 10])
            for m in game.feasible
        ]
        potentials = None
        if which != "tc":
            shapes = [tuple(1 if k == n + j else s for k, s in enumerate(game.shape)) for j in range(n)]
            potentials = round_potentials(
                game, [rng.normal(size=shape) * rng.choice([0.0, 0.3, 3]) for shape in shapes]
            )
        sense = str(rng.choice(["upper", "lower"]))
        proof: dict[str, Any] = {"sense": sense, "epsilon": epsilon, "potentials": potentials}
        proof |= {"objective": game.plain.leader, "multipliers": round_multipliers(game, y)}
        value = outer_bound(game.plain, **proof)
        assert k % 8 or fast_kernel.outer_bound(game.plain, **proof) == value
        out.append((sense, value))
    return out


def mutants(certificate: Certificate, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The certificate's document with one number of claim or evidence changed, a few times over."""
    out = []
    for _ in range(3):
        document = json.loads(json.dumps(certificate.document))
        claim, rows = document["claim"], document["evidence"]["multipliers"]
        factor = Fraction(int(rng.integers(0, 5)), int(rng.integers(1, 5)))
        what = rng.integers(0, 4) if rows else 3
        if what == 0:
            row = rows[int(rng.integers(len(rows)))]
            row[3] = str(Fraction(row[3]) * factor)
        elif what == 1:
            row = rows[int(rng.integers(len(rows)))]
            row[int(rng.integers(0, 3))] = int(rng.integers(0, 3))
        elif what == 2:
            rows.pop(int(rng.integers(len(rows))))
        inwards = -1 if claim["kind"] == "upper" else 1
        if what == 3 or rng.random() < 0.5:
            claim["value"] = str(Fraction(claim["value"]) + inwards * Fraction(int(rng.integers(0, 4)), 1000))
        out.append(document)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first game")
    parser.add_argument("--bounds", type=int, default=34, help="random bounds for each game and set")
    parser.add_argument("--profiles", type=int, default=120, help="most pure strategy profiles of a game")
    parser.add_argument("--seconds", type=float, default=1e9, help="stop after so long; what was done is recorded")
    options = parser.parse_args()
    brute, start, counts = oracle(), time.monotonic(), {"games": 0, "ranges": 0, "proved": 0, "random_bounds": 0}
    counts |= {"mutants": 0, "mutants_accepted": 0}
    false, worst = [], 0.0
    for seed in range(options.first, options.first + options.games):
        if time.monotonic() - start > options.seconds:
            break
        rng = np.random.default_rng(seed)
        game = random_game(rng, options.profiles)
        epsilon = Fraction(int(rng.integers(0, 3)), 4)
        for which in ("sf", "ns", "tc"):
            low, high = brute(game, game.leader, which, float(epsilon))
            found = equilibrium_range(game, equilibrium_set=which, epsilon=epsilon)
            counts["ranges"] += 1
            counts["proved"] += found.proved
            worst = max(worst, abs(float(found.min.outer) - low), abs(float(found.max.outer) - high))
            claims = [("lower", found.min.outer), ("upper", found.max.outer)]
            for side in (found.min, found.max):
                for document in mutants(side.certificate, rng):
                    counts["mutants"] += 1
                    answers = [
                        check(document, game.plain) for check in (check_certificate, fast_kernel.check_certificate)
                    ]
                    assert answers[0].accepted == answers[1].accepted
                    counts["mutants_accepted"] += answers[0].accepted
                    if answers[0].accepted:
                        claims.append((document["claim"]["kind"], answers[0].value))
            made = random_bounds(game, which, epsilon, options.bounds, rng)
            counts["random_bounds"] += len(made)
            for sense, value in claims + made:
                if (float(value) > low + TOLERANCE) if sense == "lower" else (float(value) < high - TOLERANCE):
                    false.append([seed, which, sense, str(value)])
        counts["games"] += 1
    document = {
        "command": "python benchmarks/fuzz_ranges.py " + " ".join(sys.argv[1:]),
        "seeds": [options.first, options.first + counts["games"] - 1],
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "highspy": highspy.Highs().version(),
        },
        **counts,
        "false_outer": false,
        "largest_difference_to_brute_force": worst,
        "seconds": round(time.monotonic() - start, 1),
    }
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["runs"] if RESULTS.exists() else []
    runs = [run for run in known if run["command"] != document["command"]] + [document]
    RESULTS.write_text(json.dumps({"runs": runs}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document))


if __name__ == "__main__":
    main()
