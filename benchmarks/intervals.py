"""How often the intervals of theory T6 cover, hold falsely, and accuse wrongly; beside a plain check and a betting one.

Run `python benchmarks/intervals.py` for benchmarks/results/intervals.json. Every log is simulated from strategies that
are known, so that the gap of the averaged play behind it is known too. Strategies hold still, jump, swing, or are those
of learners, which answer to the log itself; a log counts as missed if the gap, or any row, ever lies outside its
interval at one of the looks taken while it grows.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from spverify.solvers.learners import LEARNERS, Exp3, Learner, run_learners
from spverify.verify.confidence import check_independence, estimate_gap
from spverify.verify.convergence import clopper_pearson, regret_path
from spverify.verify.drift import check_drift
from spverify.verify.game import BayesianGame
from spverify.verify.play import MixturePlay, PlayLog
from spverify.verify.regret import interim_regrets

RESULTS = Path(__file__).parent / "results" / "intervals.json"
ROUNDS, LOOKS, LEVEL = 1024, (16, 64, 256, 512, 1024), 0.9

Log = tuple[PlayLog, list[np.ndarray]]
"""A log, and for each player the strategies behind it, shape (T, |T_i|, |A_i|)."""


def make_game(seed: int) -> BayesianGame:
    rng = np.random.default_rng([9, seed])
    prior = rng.dirichlet(np.ones(4)).reshape(2, 2)
    return BayesianGame(prior / prior.sum(), [rng.random((2, 2, 2, 2)) for _ in range(2)])


def chances(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Probability of action 0, shape (T, 2 types)."""
    time_ = np.arange(ROUNDS)[:, None] / ROUNDS
    if kind == "steady":
        return np.broadcast_to(rng.random(2), (ROUNDS, 2))
    if kind == "jumps":
        cuts = np.searchsorted(np.sort(rng.random(3)), time_[:, 0])
        return rng.random((4, 2))[cuts]
    return 0.5 + 0.5 * np.sin(2 * np.pi * (rng.integers(1, 9) * time_ + rng.random(2)))


def fixed(kind: str) -> Callable[[BayesianGame, int], Log]:
    """Logs of strategies that do not answer to play."""

    def draw(game: BayesianGame, seed: int) -> Log:
        rng = np.random.default_rng([10, seed])
        strategies = [np.stack([x, 1 - x], axis=-1) for x in (chances(kind, rng), chances(kind, rng))]
        flat = rng.choice(4, size=ROUNDS, p=game.prior.ravel())
        types = np.stack(np.unravel_index(flat, (2, 2)), axis=1)
        rows = np.arange(ROUNDS)
        actions = [(rng.random(ROUNDS) >= x[rows, types[:, i], 0]).astype(int) for i, x in enumerate(strategies)]
        return PlayLog(types, np.stack(actions, axis=1)), strategies

    return draw


def learned(rule: Learner) -> Callable[[BayesianGame, int], Log]:
    """Logs of learners: what they play next depends on what the log holds so far."""

    def draw(game: BayesianGame, seed: int) -> Log:
        run = run_learners(game, rule, ROUNDS, rng_seed=[11, seed], compiled=True)
        assert run.strategies is not None
        return run.log(), [x[0] for x in run.strategies]

    return draw


def coverage(draw: Callable[[BayesianGame, int], Log], logs: int) -> dict[str, Any]:
    """Misses over logs, each at all looks; false accusations of dependence and, of steady play, of drift."""
    missed = accused = drifted = 0
    widths = []
    for seed in range(logs):
        game = make_game(seed)
        log, strategies = draw(game, seed)
        path = regret_path(game, strategies)
        bad = False
        for look in LOOKS:
            found = estimate_gap(game, PlayLog(log.types[:look], log.actions[:look]), level=LEVEL)
            truth = [rows[look - 1] for rows in path]
            gap = max(0.0, *(float(rows.max()) for rows in truth))
            bad |= not found.lower <= gap <= found.upper
            for rows, low, high in zip(truth, found.regret_lower, found.regret_upper, strict=True):
                bad |= not bool(((low <= rows + 1e-12) & (rows <= high + 1e-12)).all())
        missed += bad
        widths.append(found.upper - found.lower)
        drift = max(float(np.abs(np.diff(x, axis=0)).max()) for x in strategies)
        accused += check_independence(game, log, level=LEVEL, drift=drift).verdict == "refuted"
        drifted += check_drift(game, log, level=LEVEL).verdict == "refuted"
    return {
        "logs": logs,
        "covered": 1 - missed / logs,
        "covered_at_least_99_percent_sure": clopper_pearson(logs - missed, logs, level=0.98)[0],
        "median_width_at_the_end": float(np.median(widths)),
        "independence_wrongly_refuted": accused / logs,
        "told_to_have_drifted": drifted / logs,
    }


STEP = BayesianGame([1], [[[0, 1]]])
"""Action 1 is worth 1 more: the gap of a play is how often it takes action 0."""


def false_holds(kind: str, logs: int) -> dict[str, Any]:
    """Gap .22 planted; how often the interval at .95 says that it is at most .2."""
    rounds = 4096
    share = np.arange(rounds) / rounds
    chance = {
        "steady": np.full(rounds, 0.22),
        "late": np.where(share < 0.78, 0.0, 1.0),
        "early": np.where(share < 0.22, 1.0, 0.0),
        "waves": 0.22 + 0.2 * np.sin(40 * share * np.pi),
    }[kind]
    rng = np.random.default_rng(12)
    ours = theirs = missed = wrong = 0
    for _ in range(logs):
        took = rng.random(rounds) < chance
        found = estimate_gap(STEP, PlayLog(np.zeros((rounds, 1), int), (~took).astype(int)[:, None]))
        low, high = betting(took.astype(float), 0.05)
        ours, theirs = ours + (found.upper <= 0.2), theirs + (high <= 0.2)
        missed += not found.lower <= chance.mean() <= found.upper
        wrong += not low <= chance.mean() <= high
    return {
        "logs": logs,
        "gap": float(chance.mean()),
        "held_falsely": ours / logs,
        "missed": missed / logs,
        "predictable_plug_in_held_falsely": theirs / logs,
        "predictable_plug_in_missed": wrong / logs,
    }


def betting(x: np.ndarray, alpha: float) -> tuple[float, float]:
    """The predictable plug-in empirical-Bernstein interval of Waudby-Smith and Ramdas (2023), for x in [0, 1]."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    mean, variance = np.r_[0.5, mean[:-1]], np.r_[0.25, variance[:-1]]
    rate = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(t + 1))), 0.75)
    v = (x - mean) ** 2 * (-np.log1p(-rate) - rate)
    centre, radius = (rate * x).sum() / rate.sum(), (np.log(2 / alpha) + v.sum()) / rate.sum()
    return centre - radius, centre + radius


def plug_in(logs: int) -> dict[str, Any]:
    """Play with gap 0 among 20 worthless deviations: the worst row's mean less 1.96 standard errors, and ours."""
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (21, 64))
    signs[0] = 0.0
    centred = signs - signs.mean(axis=1, keepdims=True)
    game = BayesianGame([[1]], [centred.reshape(1, 1, 21, 64), np.zeros((1, 1, 1, 64))])
    even = MixturePlay([1.0], [np.eye(21)[None, None, 0], np.full((1, 1, 64), 1 / 64)])
    assert max(float(rows.max()) for rows in interim_regrets(game, even.conditional(game))) < 1e-12
    rng = np.random.default_rng(13)
    naive = ours = 0
    for _ in range(logs):
        other = rng.integers(0, 64, 400)
        gains = centred[1:, other].T
        worst = gains.mean(axis=0).argmax()
        naive += gains[:, worst].mean() > 1.96 * gains[:, worst].std() / 20
        log = PlayLog(np.zeros((400, 2), int), np.stack([np.zeros(400, int), other], axis=1))
        ours += estimate_gap(game, log).lower > 0
    return {"logs": logs, "gap": 0.0, "naive_refuted": naive / logs, "interval_refuted": ours / logs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--logs", type=int, default=1000)
    options = parser.parse_args()
    start = time.process_time()
    rules = {name: Exp3(rate="tuned") if name == "exp3" else kind() for name, kind in LEARNERS.items()}
    kinds = {kind: fixed(kind) for kind in ("steady", "jumps", "waves")} | {
        f"learners: {rule.title}": learned(rule) for rule in rules.values()
    }
    document = {
        "command": "python benchmarks/intervals.py",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "numpy": np.__version__},
        "seeds": f"0 to {options.logs - 1}, one a log and its game",
        "level": LEVEL,
        "rounds": ROUNDS,
        "looks": LOOKS,
        "coverage": {name: coverage(draw, options.logs) for name, draw in kinds.items()},
        "planted_at_0.22_epsilon_0.2_level_0.95": {
            kind: false_holds(kind, options.logs) for kind in ("steady", "late", "early", "waves")
        },
        "gap_0_with_20_worthless_deviations_level_0.95": plug_in(options.logs),
        "processor_seconds": round(time.process_time() - start),
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
