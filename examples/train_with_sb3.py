"""Train a leader with Stable-Baselines3's PPO on spverify's Gymnasium environment, and save it for an audit.

`python examples/train_with_sb3.py -o leader.pt` makes the shipped leader `zoo:simple-allocation-3-sb3`: four seeds, of
which the first whose most likely actions earn the most is kept. Needs `pip install "spverify[gym]" stable-baselines3`.
"""

from __future__ import annotations

import argparse
import warnings
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from spverify import save_leader
from spverify.trained_leaders.evaluate import Evaluation, evaluate_rows
from spverify.trained_leaders.gym_env import stackelberg_env
from spverify.trained_leaders.settings import get_setting

ENVIRONMENTS = 64


def train(name: str, seed: int, steps: int) -> PPO:
    """PPO on many environments at once; the return of an outer episode is not discounted (theory T8)."""
    environments = DummyVecEnv([lambda: stackelberg_env(name)] * ENVIRONMENTS)
    options: dict[str, Any] = {"learning_rate": 1e-2, "gamma": 1.0, "gae_lambda": 1.0, "n_epochs": 2}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about sizes of minibatches
        model = PPO("MlpPolicy", environments, n_steps=332, batch_size=4096, seed=seed, device="cpu", **options)
    return model.learn(steps)


def measure(name: str, model: PPO) -> Evaluation:
    """Value and gap of the most likely actions, by readout, over 16 response phases."""
    setting = get_setting(name)
    table = [int(model.predict(np.array(o), deterministic=True)[0]) for o in range(len(setting.observations))]
    return evaluate_rows(setting, np.array(table), setting.followers, runs=16, rng_seed=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", default="simple-allocation-3")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("-o", "--out", type=Path, default=Path("leader.pt"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    best: tuple[float, int, PPO, Evaluation] | None = None
    for seed in range(chosen.seeds):
        model = train(chosen.setting, seed, chosen.steps)
        found = measure(chosen.setting, model)
        cells = " | ".join(f"{found.value[r]:.4f} / {found.gap[r]:.4f}" for r in ("empirical", "last", "argmax"))
        print(f"| {seed} | {cells} |", flush=True)
        if best is None or found.value["argmax"] > best[0]:
            best = found.value["argmax"], seed, model, found
    assert best is not None
    _, seed, model, found = best
    followers = get_setting(chosen.setting).followers
    save_leader(
        model,
        setting=chosen.setting,
        path=chosen.out,
        illegal="lowest",
        training={
            "algorithm": "Stable-Baselines3 PPO on stackelberg_env",
            "followers": {
                "updates": followers.updates,
                "epsilon": followers.epsilon,
                "types": followers.types,
                "opponents": followers.opponents,
            },
            "seed": seed,
            "steps": model.num_timesteps,
            "readout": "argmax",
            "command": "python examples/train_with_sb3.py",
            "versions": {
                "python": python_version(),
                **{name: version(name) for name in ("spverify", "torch", "stable_baselines3", "gymnasium")},
            },
        },
        claims=found.claims(),
    )
    print(f"seed {seed} is in {chosen.out}")


if __name__ == "__main__":
    main()
