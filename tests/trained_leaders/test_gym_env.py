"""The POMDP for other libraries: Gymnasium's own checker, and episodes that earn what the batch environment says."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pytest

from spverify.trained_leaders.gym_env import OuterEpisode, stackelberg_env
from spverify.trained_leaders.settings import Followers, get_setting
from spverify.verify.errors import UsageError


def run_table(name: str, table: list[int], updates: int, plays: int, seed: int) -> tuple[float, int]:
    """The return of committing to a table, and how many decisions there were."""
    setting = get_setting(name)
    outer = OuterEpisode(setting, Followers(updates), plays, "argmax", np.random.default_rng(seed))
    total, steps = 0.0, 0
    while not outer.done:
        total += outer.act(table[outer.observation])
        steps += 1
    return total, steps


@pytest.mark.parametrize(("row", "value"), [(0, 20), (1, 10), (2, 5)])
def test_committing_to_a_row_of_maintain_earns_its_value(row: int, value: float) -> None:
    total, steps = run_table("maintain", [row], 100, 8, 0)
    assert total * 30 == pytest.approx(value)
    assert steps == 100 * 3 + 8  # one decision in each counterfactual play, one in each play that pays


def test_a_table_that_is_optimal_for_price_mechanisms_loses_nothing(optimal_prices: list[int]) -> None:
    total, steps = run_table("mspm-pi", optimal_prices, 400, 50, 0)
    assert total == pytest.approx(0) and 400 * 4 + 50 <= steps <= 2 * (400 * 4 + 50)


def test_rewards_come_in_the_reward_phase_only() -> None:
    setting = get_setting("simple-allocation-3")
    outer = OuterEpisode(setting, Followers(5), 3, "last", np.random.default_rng(0))
    rewards, phases = [], []
    while not outer.done:
        phases.append(outer.state()[0])
        rewards.append(outer.act(outer.observation))
    assert phases == [0.0] * 15 + [1.0] * 3
    assert rewards[:15] == [0.0] * 15 and set(rewards[15:]) <= {0.0, 1 / 3}
    assert outer.state().shape == (2 + 9,)


@pytest.mark.parametrize("name", ["maintain", "simple-allocation-2", "matrix-design", "mspm-pi"])
def test_gymnasium_has_nothing_to_say_against_it(name: str) -> None:
    checker = pytest.importorskip("gymnasium.utils.env_checker")
    env = stackelberg_env(name, Followers(3), reward_plays=2, critic_state=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice about registering environments
        checker.check_env(env, skip_render_check=True)
    observation, info = env.reset(seed=1)
    mask = info["action_mask"]
    assert mask.tolist() == get_setting(name).legal[observation].tolist()
    if not mask.all():
        assert env.step(int(mask.argmin()))[4]["replaced"]
    again, _ = env.reset(seed=1)
    assert again == observation


def test_misuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnasium")
    with pytest.raises(UsageError, match="must sample"):
        stackelberg_env("maintain", Followers(3, types="expected", opponents="expected"))
    with pytest.raises(UsageError, match="at least 1 reward play"):
        stackelberg_env("maintain", reward_plays=0)
    with pytest.raises(UsageError, match="reset the environment"):
        stackelberg_env("maintain").step(0)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(UsageError, match="needs Gymnasium"):
        stackelberg_env("maintain")
