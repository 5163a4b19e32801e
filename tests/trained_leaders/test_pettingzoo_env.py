"""The POMDP with followers as agents: PettingZoo's own tests, and episodes that earn what the base game pays."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spverify.trained_leaders.pettingzoo_env import stackelberg_parallel_env
from spverify.trained_leaders.settings import get_setting
from spverify.verify.errors import SettingError, UsageError

Policy = Callable[[int], int]


def play_out(env: Any, policies: dict[str, Policy], seed: int = 0) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Sums of rewards, and the infos of every step."""
    observations, infos = env.reset(seed=seed)
    totals, seen = dict.fromkeys(env.possible_agents, 0.0), [infos]
    while env.agents:
        actions = {a: policies[a](observations[a]) if infos[a]["turn"] else 0 for a in env.agents}
        observations, rewards, _, _, infos = env.step(actions)
        seen.append(infos)
        totals = {a: totals[a] + rewards[a] for a in totals}
    return totals, seen


@pytest.mark.parametrize("name", ["maintain", "simple-allocation-2", "matrix-design", "mspm-pi"])
def test_pettingzoo_has_nothing_to_say_against_it(name: str) -> None:
    api = pytest.importorskip("pettingzoo.test")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*(deprecated|observation_space|action_space).*")
        api.parallel_api_test(stackelberg_parallel_env(name, response_plays=3, reward_plays=2), num_cycles=60)
        api.parallel_seed_test(lambda: stackelberg_parallel_env(name, response_plays=3, reward_plays=2), num_cycles=10)


@pytest.mark.parametrize(("row", "column", "value"), [(0, 0, 20), (1, 1, 10), (1, 0, 30), (2, 2, 5)])
def test_a_cell_of_a_matrix_game_pays_what_it_says(row: int, column: int, value: float) -> None:
    pytest.importorskip("pettingzoo")
    env = stackelberg_parallel_env("maintain", response_plays=4, reward_plays=5)
    totals, seen = play_out(env, {"leader": lambda o: row, "follower": lambda t: column})
    assert totals["leader"] * 30 == pytest.approx(value)  # the reward phase alone pays the leader
    follower = get_setting("maintain").follower_table[row][column]
    assert totals["follower"] * 30 == pytest.approx(float(follower) * 9)
    assert len(seen) == 1 + 2 * 9  # a step in which the follower acts, a step in which the leader answers
    assert [infos["leader"]["phase"] for infos in seen].count("response") == 8


def test_messages_reach_the_leader() -> None:
    pytest.importorskip("pettingzoo")
    env = stackelberg_parallel_env("simple-allocation-3", response_plays=2, reward_plays=20)
    totals, _ = play_out(env, {"leader": lambda message: message, "follower": lambda own: own})
    assert totals["leader"] == pytest.approx(1) and totals["follower"] == pytest.approx(22)


def test_an_optimal_price_mechanism_loses_nothing_with_the_codes_it_is_made_for(optimal_prices: list[int]) -> None:
    pytest.importorskip("pettingzoo")
    env = stackelberg_parallel_env("mspm-pi", response_plays=5, reward_plays=40)
    buyers = env.possible_agents[1:]
    says = {buyers[0]: lambda own: own, buyers[1]: lambda own: own}
    totals, seen = play_out(env, {"leader": lambda o: optimal_prices[o], **says})
    assert totals["leader"] == pytest.approx(0, abs=1e-12)
    assert all(seen[0][buyer]["turn"] and not seen[0]["leader"]["turn"] for buyer in buyers)


def test_what_is_not_legal_is_replaced_and_masked() -> None:
    pytest.importorskip("pettingzoo")
    env = stackelberg_parallel_env("mspm-pi", response_plays=50, reward_plays=1)
    setting = get_setting("mspm-pi")
    high = setting.action_index(0, "1")  # nobody buys at 1, so the leader is asked again, when only buyer 1 is left
    observations, infos = env.reset(seed=0)
    asked = []
    while env.agents:
        if infos["leader"]["turn"]:
            assert infos["leader"]["action_mask"].tolist() == setting.legal[observations["leader"]].tolist()
            asked.append(bool(infos["leader"]["action_mask"][high]))
        assert env.state_space.contains(env.state())
        assert all(env.observation_space(a).contains(np.int64(o)) for a, o in observations.items())
        observations, *_, infos = env.step(dict.fromkeys(env.possible_agents, 0) | {"leader": high})
    assert asked == [True, False] * 51


def test_misuse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pettingzoo")
    with pytest.raises(UsageError, match="at least 1 response play and 1 reward play, got 0 and 32"):
        stackelberg_parallel_env("maintain", response_plays=0)
    with pytest.raises(UsageError, match="reset the environment"):
        stackelberg_parallel_env("maintain").step({"leader": 0, "follower": 0})
    with pytest.raises(SettingError, match="dynamic setting"):
        stackelberg_parallel_env("platform")
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    with pytest.raises(UsageError, match="needs PettingZoo"):
        stackelberg_parallel_env("maintain")
