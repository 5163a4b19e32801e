"""Step-level PPO: advantages against a loop in plain Python, rollouts that are plays, and the paper's ablations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.trained_leaders.hyper import default_hyper
from spverify.trained_leaders.mappo import StepPPO, generalised_advantages
from spverify.trained_leaders.pomdp import REWARD
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.train import train, train_leader
from spverify.verify.errors import UsageError


def plain_advantages(rewards: list[float], values: list[float], trace: float) -> list[float]:
    """The definition: sum over later steps of trace^k times the one-step errors."""
    errors = [r + (values[k + 1] if k + 1 < len(values) else 0.0) - values[k] for k, r in enumerate(rewards)]
    return [sum(trace ** (j - k) * errors[j] for j in range(k, len(errors))) for k in range(len(errors))]


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 9), episodes=st.integers(1, 4), trace=st.sampled_from([0.0, 0.5, 0.95, 1.0]), data=st.data()
)
def test_advantages_are_the_definition_along_the_steps_that_were_asked(
    length: int, episodes: int, trace: float, data: st.DataObject
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    asked = rng.random((length, episodes)) < 0.7
    rewards = rng.normal(size=asked.shape) * asked
    values = rng.normal(size=asked.shape) * asked
    advantages, targets = generalised_advantages(rewards, values, asked, trace)
    for b in range(episodes):
        rows = np.flatnonzero(asked[:, b])
        expected = plain_advantages(rewards[rows, b].tolist(), values[rows, b].tolist(), trace)
        np.testing.assert_allclose(advantages[rows, b], expected, atol=1e-12)
        np.testing.assert_allclose(targets[rows, b], np.array(expected) + values[rows, b], atol=1e-12)
        assert not advantages[~asked[:, b], b].any()


@pytest.mark.parametrize("name", ["maintain", "simple-allocation-2", "matrix-design", "mspm-pi"])
def test_rollouts_hold_every_step_of_every_play(name: str) -> None:
    setting = get_setting(name)
    hyper = replace(default_hyper(setting, mode="mappo"), batch=5, updates=4, reward_plays=3)
    played = StepPPO(setting, hyper, 0, 0).rollout()
    actions = sum(len(p.actions) for p in setting.players)
    steps = len(setting.players) if name == "mspm-pi" else 1
    assert played.observations.shape == ((4 * actions + 3) * steps, 5)
    assert (played.phases == REWARD).sum() == 3 * steps
    asked = played.observations >= 0
    assert setting.legal[played.observations[asked], played.actions[asked]].all()
    assert not played.rewards[~asked].any() and not played.rewards[played.phases != REWARD].any()
    # A play begins with a question, so each play's first row is asked.
    assert asked[::steps].all()
    low, high = (-1.0, 0.0) if name == "mspm-pi" else (0.0, 2.0)
    assert (low <= played.returns).all() and (played.returns <= high).all()


def learner(seed: int = 0, **changes: Any) -> StepPPO:
    setting = get_setting("maintain")
    return StepPPO(setting, replace(default_hyper(setting, mode="mappo"), **changes), seed, 0)


def test_learning_from_the_response_phase_is_what_commitment_earns() -> None:
    """Theory T8: with the response phase fresh draws earn above any row's 20, without it the myopic 10.

    Seeds 0..7 earned 21 to 26 at some point of 20 iterations, and 9.4 to 10.1 at the end without the response phase.
    Which iterations are good depends on the processor's rounding, so the best five in a row count.
    """
    torch.set_num_threads(1)
    for seed in range(2):
        kept, dropped = learner(seed), learner(seed, response_steps=False)
        earned = np.array([[k.iterate(t)[2]["mean"] for t in range(20)] for k in (kept, dropped)])
        running = np.array([np.convolve(row, np.full(5, 0.2), mode="valid") for row in earned])
        assert running[0].max() > 16 > 13 > running[1, -5:].max()


def test_only_the_full_critic_tells_decisions_apart() -> None:
    """The actor's view is one observation on maintain, so its critic predicts one number at every step.

    That the view decides what is earned is a matter of many seeds: benchmarks/ablations.py.
    """
    torch.set_num_threads(1)
    for view in ("full", "actor"):
        trained = learner(critic_view=view)
        trained.iterate(0)
        played = trained.rollout()
        with torch.no_grad():
            values = trained.critic(trained.seen(played, played.observations >= 0)).double().numpy()
        assert len(values) == played.observations.size
        assert (np.ptp(values) > 1e-3) == (view == "full")


def test_a_leader_who_sees_the_phase_earns_what_no_commitment_does(tmp_path: Path) -> None:
    """Theory T8 ii: row 0 while followers learn, row 1 while they pay, 30. What it is paid for is no commitment.

    Seeds 0..5 earned 28.8 to 30 within 30 iterations.
    """
    torch.set_num_threads(1)
    earned: list[float] = []
    document = train_leader(
        "maintain", mode="mappo", out=tmp_path / "s.pt",
        overrides={"phase_visible": True, "iterations": 30, "restarts": 1},
        progress=lambda record: earned.append(record["mean"]),
    )[0]  # fmt: skip
    assert max(earned) > 26
    found = inspect_leader(tmp_path / "s.pt")
    assert document["value"]["argmax"] == 10 and found.policy_kind == "table" and found.rows[0][1] == 1


def test_carried_followers_begin_where_they_stopped() -> None:
    reset, carried = learner(updates=30), learner(updates=30, followers_start="carried")
    for trained in (reset, carried):
        first, second = trained.rollout(), trained.rollout()
        undecided = np.ptp(second.states[0, :, 2:5], axis=1).max() < 1e-6
        assert undecided == (trained is reset)
        if trained is carried:  # the last round's play begins with the strategies before its update
            assert np.abs(second.states[0, :, 2:5] - first.states[89, :, 2:5]).max() < 0.2


def test_what_the_response_phase_pays_is_what_happened_in_it() -> None:
    quiet, paid = learner(updates=40).rollout(), learner(updates=40, response_rewards=True).rollout()
    learning = quiet.phases != REWARD
    assert not quiet.rewards[learning].any() and np.array_equal(quiet.returns, paid.returns)
    # One of a round's three plays happened; row 0 and 1 pay 20 and 30 at column 0 and row 1 pays 10 at column 1.
    rounds = paid.rewards[learning].reshape(40, 3, -1)
    assert ((rounds > 0).sum(axis=1) <= 1).all() and (rounds > 0).any()
    assert set(np.round(rounds[rounds > 0] * 32 * 30).astype(int)) <= {5, 10, 20, 30}
    # Two followers share one play: it is counted once.
    setting = get_setting("matrix-design")
    hyper = replace(default_hyper(setting, mode="mappo"), updates=10, response_rewards=True)
    played = StepPPO(setting, hyper, 0, 0).rollout()
    assert ((played.rewards[played.phases != REWARD].reshape(10, 4, -1) > 0).sum(axis=1) == 1).all()


def test_small_settings_reach_their_optimum() -> None:
    for name, optimum in (("escape", 30.0), ("two-by-two", 1.0), ("simple-allocation-3", 1.0)):
        setting = get_setting(name)
        result = train(setting, seed=0, hyper=default_hyper(setting, mode="mappo"))
        assert result.evaluation.value["argmax"] == pytest.approx(optimum) and result.evaluation.gap["argmax"] == 0
        assert result.policy["kind"] == "network"


def test_the_policy_itself_as_a_mixture(tmp_path: Path) -> None:
    document = train_leader(
        "maintain", mode="mappo", leader_action="mixture", out=tmp_path / "m.pt",
        overrides={"iterations": 40, "restarts": 1},
    )[0]  # fmt: skip
    found = inspect_leader(tmp_path / "m.pt")
    assert found.leader_action == "mixture" and found.network_agrees
    assert document["value"]["argmax"] > 22
    assert found.training["algorithm"] == "multiplicative-weights followers; step-level PPO, critic on the state"


@pytest.mark.parametrize("changes", [{}, {"followers_start": "carried", "phase_visible": True}])
def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path, changes: dict[str, Any]) -> None:
    setting = get_setting("simple-allocation-2")
    hyper = replace(
        default_hyper(setting, mode="mappo"), iterations=4, restarts=2, batch=4, updates=10, slack=-1.0, **changes
    )
    whole = train(setting, seed=2, hyper=hyper)

    def interrupt(record: dict[str, Any]) -> None:
        if record["total"] == 6:
            raise KeyboardInterrupt

    state = tmp_path / "run.state"
    with pytest.raises(KeyboardInterrupt):
        train(setting, seed=2, hyper=hyper, progress=interrupt, state_path=state)
    resumed = train(setting, seed=2, hyper=hyper, state_path=state, resume=True)
    assert resumed.history == whole.history and resumed.policy == whole.policy
    assert all(np.array_equal(resumed.tensors[k], whole.tensors[k]) for k in whole.tensors)


def test_hyper_parameters_that_do_not_fit_are_refused() -> None:
    hyper = default_hyper(get_setting("maintain"), mode="mappo")
    for change in ({"reward_plays": 0}, {"readout": "empirical"}, {"types": "expected", "opponents": "expected"}):
        with pytest.raises(UsageError, match="mode 'mappo' needs reward plays"):
            replace(hyper, **change)
    with pytest.raises(UsageError, match="critic_view must be one of full, actor"):
        replace(hyper, critic_view="some")
