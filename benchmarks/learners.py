"""Rounds a second of sampled multiplicative weights: this project, numpy, torch, Python loops, gymnasium, OpenSpiel.

Run `python benchmarks/learners.py` for benchmarks/results/learners.json; `--openspiel PYTHON` names an interpreter that
has OpenSpiel, whose regret matching and external-sampling CFR then play the same game as a one-shot extensive game.
All but OpenSpiel are multiplicative weights, epsilon .1, types and opponents sampled, full feedback, on one game of 2
players, 4 correlated types and 5 actions; the lean loop, numpy and ours must end in the same strategies. There are two
Python loops: a lean one, and one over a gymnasium.Env as users write it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import gymnasium
import numba
import numpy as np
import torch

from spverify.solvers.learners import LEARNERS, MultiplicativeWeights, run_games, run_learners
from spverify.verify.game import BayesianGame

RESULTS = Path(__file__).parent / "results" / "learners.json"
TYPES, ACTIONS, EPSILON = 4, 5, 0.1


def make_game(seed: int) -> BayesianGame:
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.ones(TYPES**2)).reshape(TYPES, TYPES)
    return BayesianGame(prior / prior.sum(), [rng.random((TYPES, TYPES, ACTIONS, ACTIONS)) for _ in range(2)])


class LoopEnvironment:
    """The game with gymnasium's two calls and nothing else: reset draws types, step takes a dictionary of actions."""

    def __init__(self, game: BayesianGame, rng: np.random.Generator) -> None:
        self.payoffs, self.rng = game.payoffs, rng
        self.cumulative = np.cumsum(game.prior.ravel())

    def reset(self) -> tuple[dict[int, int], dict[str, Any]]:
        cell = int(np.searchsorted(self.cumulative, self.rng.random(), side="right"))
        self.types = divmod(cell, TYPES)
        return dict(enumerate(self.types)), {}

    def step(self, actions: dict[int, int]) -> tuple[dict[int, int], dict[int, float], bool, bool, dict[str, Any]]:
        cell = (*self.types, actions[0], actions[1])
        rewards = {i: float(u[cell]) for i, u in enumerate(self.payoffs)}
        every = {
            0: self.payoffs[0][(*self.types, slice(None), actions[1])],
            1: self.payoffs[1][(*cell[:3], slice(None))],
        }
        return dict(enumerate(self.types)), rewards, True, False, {"counterfactual": every}


class LoopLearner:
    """One follower, as one would write it."""

    def __init__(self) -> None:
        self.totals = np.zeros((TYPES, ACTIONS))

    def strategy(self, own: int) -> np.ndarray:
        weights = np.exp(np.log1p(EPSILON) * (self.totals[own] - self.totals[own].max()))
        return weights / weights.sum()

    def act(self, own: int, number: float) -> int:
        return min(int(np.searchsorted(np.cumsum(self.strategy(own)), number, side="right")), ACTIONS - 1)

    def learn(self, own: int, payoffs: np.ndarray) -> None:
        self.totals[own] += payoffs


def python_loop(game: BayesianGame, rounds: int) -> list[np.ndarray]:
    rng = np.random.default_rng([0, 0])
    environment, learners = LoopEnvironment(game, rng), [LoopLearner(), LoopLearner()]
    for _ in range(rounds):
        seen, _ = environment.reset()
        actions = {i: learners[i].act(seen[i], rng.random()) for i in range(2)}
        _, _, _, _, info = environment.step(actions)
        for i in range(2):
            learners[i].learn(seen[i], info["counterfactual"][i])
    return [np.stack([learner.strategy(t) for t in range(TYPES)]) for learner in learners]


class GymnasiumGame(gymnasium.Env):
    """The game as users write it for gymnasium: observations are the followers' types, an action is one of each."""

    def __init__(self, game: BayesianGame) -> None:
        self.payoffs, self.prior = game.payoffs, game.prior.ravel()
        self.observation_space = gymnasium.spaces.MultiDiscrete([TYPES, TYPES])
        self.action_space = gymnasium.spaces.MultiDiscrete([ACTIONS, ACTIONS])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        cell = self.np_random.choice(TYPES**2, p=self.prior)
        self.types = np.array(divmod(int(cell), TYPES))
        return self.types, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        (t0, t1), (a0, a1) = self.types, action
        every = [self.payoffs[0][t0, t1, :, a1], self.payoffs[1][t0, t1, a0, :]]
        rewards = np.array([every[0][a0], every[1][a1]])
        info = {"rewards": rewards, "counterfactual": every}
        return self.types, float(rewards.sum()), True, False, info


def gymnasium_loop(game: BayesianGame, rounds: int) -> None:
    """One episode a round; actions drawn from the learners' strategies."""
    environment, learners = GymnasiumGame(game), [LoopLearner(), LoopLearner()]
    rng = np.random.default_rng(0)
    environment.reset(seed=0)
    for _ in range(rounds):
        seen, _ = environment.reset()
        actions = np.array([rng.choice(ACTIONS, p=learners[i].strategy(seen[i])) for i in range(2)])
        _, _, _, _, info = environment.step(actions)
        for i in range(2):
            learners[i].learn(seen[i], info["counterfactual"][i])


def torch_batch(game: BayesianGame, rounds: int, seeds: int) -> None:
    """Seeds side by side in tensors, CPU."""
    torch.set_num_threads(1)
    payoffs = [torch.tensor(u) for u in game.payoffs]
    cumulative = torch.tensor(np.cumsum(game.prior.ravel()))
    totals, rows = [torch.zeros(seeds, TYPES, ACTIONS, dtype=torch.float64) for _ in range(2)], torch.arange(seeds)
    eta = float(np.log1p(EPSILON))
    with torch.no_grad():
        for _ in range(rounds):
            numbers = torch.rand(seeds, 3, dtype=torch.float64)
            cell = torch.searchsorted(cumulative, numbers[:, 0].contiguous(), right=True).clamp(max=TYPES**2 - 1)
            own = [cell // TYPES, cell % TYPES]
            played = []
            for i in range(2):
                x = torch.softmax(eta * totals[i][rows, own[i]], dim=1)
                played.append((x.cumsum(1) <= numbers[:, 1 + i, None]).sum(1).clamp(max=ACTIONS - 1))
            totals[0][rows, own[0]] += payoffs[0][own[0], own[1], :, played[1]]
            totals[1][rows, own[1]] += payoffs[1][own[0], own[1], played[0]]


OPENSPIEL = r"""
import json, sys, time
import numpy as np, pyspiel
from open_spiel.python.algorithms import external_sampling_mccfr, regret_matching, cfr
import importlib.metadata
d = json.load(sys.stdin)
prior, u = np.array(d["prior"]), [np.array(x) for x in d["payoffs"]]
K, A = prior.shape[0], u[0].shape[2]
kind = pyspiel.GameType(
    short_name="bayes", long_name="bayes", dynamics=pyspiel.GameType.Dynamics.SEQUENTIAL,
    chance_mode=pyspiel.GameType.ChanceMode.EXPLICIT_STOCHASTIC,
    information=pyspiel.GameType.Information.IMPERFECT_INFORMATION, utility=pyspiel.GameType.Utility.GENERAL_SUM,
    reward_model=pyspiel.GameType.RewardModel.TERMINAL, max_num_players=2, min_num_players=2,
    provides_information_state_string=True, provides_information_state_tensor=False,
    provides_observation_string=False, provides_observation_tensor=False,
    provides_factored_observation_string=False)
info = pyspiel.GameInfo(num_distinct_actions=A, max_chance_outcomes=K * K, num_players=2, min_utility=0.0,
    max_utility=1.0, max_game_length=2)
outcomes = [(c, float(p)) for c, p in enumerate(prior.ravel())]
class Game(pyspiel.Game):
    def __init__(self, params=None): super().__init__(kind, info, params or dict())
    def new_initial_state(self): return State(self)
class State(pyspiel.State):
    def __init__(self, game): super().__init__(game); self.cell, self.a = None, []
    def current_player(self):
        if self.cell is None: return pyspiel.PlayerId.CHANCE
        return pyspiel.PlayerId.TERMINAL if len(self.a) == 2 else len(self.a)
    def _legal_actions(self, player): return list(range(A))
    def chance_outcomes(self): return outcomes
    def _apply_action(self, action):
        if self.cell is None: self.cell = action
        else: self.a.append(action)
    def _action_to_string(self, player, action): return str(action)
    def is_terminal(self): return len(self.a) == 2
    def returns(self):
        return [float(x[(*divmod(self.cell, K), *self.a)]) if len(self.a) == 2 else 0.0 for x in u]
    def information_state_string(self, player): return f"{player}:{divmod(self.cell, K)[player]}"
    def __str__(self): return f"{self.cell}{self.a}"
pyspiel.register_game(kind, Game)
game = Game()
out = {"version": importlib.metadata.version("open_spiel")}
solver = external_sampling_mccfr.ExternalSamplingSolver(game)
solver.iteration(); t = time.process_time(); n = 300
for _ in range(n): solver.iteration()
out["external-sampling CFR, iterations a second"] = n / (time.process_time() - t)
solver = cfr.CFRSolver(game)
solver.evaluate_and_update_policy(); t = time.process_time(); n = 3
for _ in range(n): solver.evaluate_and_update_policy()
out["CFR (types and actions in expectation), iterations a second"] = n / (time.process_time() - t)
n = 2000; t = time.process_time()
regret_matching.regret_matching([u[0][0, 0], u[1][0, 0]], iterations=n)
out["regret matching, complete information, iterations a second"] = n / (time.process_time() - t)
print(json.dumps(out))
"""


def rate(call: Any, rounds: int, repeats: int = 3, clock: Any = time.process_time) -> float:
    """Best rounds a second of a few calls: processor time, or wall time where threads share the work."""
    best = 0.0
    for _ in range(repeats):
        start = clock()
        call()
        best = max(best, rounds / (clock() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--openspiel", metavar="PYTHON", help="an interpreter that has open_spiel")
    options = parser.parse_args()
    game, rule = make_game(0), MultiplicativeWeights(EPSILON)
    games = [make_game(k) for k in range(1000)]

    def ours(rounds: int, seeds: int, **more: Any) -> Any:
        return run_learners(game, rule, rounds, seeds=seeds, keep=False, **more)

    run_learners(game, rule, 10, compiled=True)  # load or compile
    loop, single = python_loop(game, 2000), ours(2000, 1, compiled=True)
    plain = ours(2000, 1, compiled=False)
    agree = all(np.allclose(loop[i], single.last[i][0]) and np.allclose(loop[i], plain.last[i][0]) for i in range(2))
    rates = {
        "lean Python loop, one game": rate(lambda: python_loop(game, 5000), 5000),
        "gymnasium.Env loop, one game": rate(lambda: gymnasium_loop(game, 5000), 5000),
        "numpy (plain path), one game": rate(lambda: ours(5000, 1, compiled=False), 5000),
        "numpy (plain path), 1000 seeds": rate(lambda: ours(300, 1000, compiled=False), 300_000),
        "torch, one game": rate(lambda: torch_batch(game, 1000, 1), 1000),
        "torch, 1000 seeds": rate(lambda: torch_batch(game, 300, 1000), 300_000),
        "compiled, one game": rate(lambda: ours(1_000_000, 1, compiled=True), 1_000_000),
        "compiled, 1000 seeds, one thread": rate(lambda: ours(10_000, 1000, compiled=True), 10**7),
        "compiled, 1000 seeds, all threads": rate(
            lambda: ours(10_000, 1000, compiled=True, threads=0), 10**7, clock=time.perf_counter
        ),
        "compiled, 1000 games, one thread": rate(lambda: run_games(games, rule, 10_000, compiled=True), 10**7),
        "compiled, 1000 games, all threads": rate(
            lambda: run_games(games, rule, 10_000, compiled=True, threads=0), 10**7, clock=time.perf_counter
        ),
        "compiled, 1000 seeds, all threads, with average play": rate(
            lambda: ours(2000, 1000, compiled=True, threads=0, checkpoints=(2000,)), 2 * 10**6, clock=time.perf_counter
        ),
    }
    loops = [name for name in rates if " loop, " in name]
    document: dict[str, Any] = {
        "command": "python benchmarks/learners.py" + (" --openspiel PYTHON" if options.openspiel else ""),
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "load_average": os.getloadavg(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
            "torch": torch.__version__,
            "gymnasium": gymnasium.__version__,
        },
        "game": "2 players, 4 correlated types, 5 actions, seed 0 (many games: seeds 0 to 999); runs from seed 0",
        "all_end_in_the_same_strategies": agree,
        "time": "processor time; wall time with all threads",
        "rounds_a_second": {name: round(value) for name, value in rates.items()},
        "times_faster_than": {
            loop: {name: round(value / rates[loop], 1) for name, value in rates.items() if name.startswith("compiled")}
            for loop in loops
        },
        "rounds_a_second_by_rule_1000_seeds_one_thread": {
            name: round(
                rate(lambda kind=kind: run_learners(game, kind(), 1000, seeds=1000, keep=False, compiled=True), 10**6)
            )
            for name, kind in LEARNERS.items()
        },
    }
    if options.openspiel:
        data = json.dumps({"prior": game.prior.tolist(), "payoffs": [u.tolist() for u in game.payoffs]})
        found = subprocess.run(
            [options.openspiel, "-c", OPENSPIEL], input=data, capture_output=True, text=True, check=True
        )
        document["openspiel"] = json.loads(found.stdout.splitlines()[-1])
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
