"""The Stackelberg POMDP as a PettingZoo parallel environment, in which the followers are agents too.

Whatever learns in them replaces the learners inside of `gym_env`: independent learners, MAPPO, a fixed rule. PettingZoo
is imported only when asked for.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import UsageError
from .gym_env import draw_types, flat_prior, unfold
from .settings import Outcome, Setting, asked_setting

if TYPE_CHECKING:
    from pettingzoo import ParallelEnv

LEADER = "leader"
Questions = Generator[tuple[int, float], int, Outcome]


def stackelberg_parallel_env(
    setting: Setting | str, *, response_plays: int | None = None, reward_plays: int = 32
) -> ParallelEnv[str, Any, Any]:
    """One outer episode after another, with a leader and the setting's followers as agents.

    A play of the base game takes several steps. First the followers act, each knowing its own type; then the leader is
    asked until the play is over, one question a step. Actions of agents whose turn it is not are ignored. An outer
    episode is `response_plays` plays, in which the leader earns nothing and followers should learn, then `reward_plays`
    plays, in which followers should stay as they are (theory T8).

    Args:
        setting: a setting, or its name.
        response_plays: plays of the response phase; the setting's own number of updates if left out.
        reward_plays: plays that pay the leader, each its payoff / (reward_plays * payoff_scale).

    Followers observe their type and are paid payoff / payoff_scale at the end of every play. The leader observes what
    it is asked at, and one more value, the last, when it is not asked. `infos[agent]` holds ``turn`` (is this agent's
    action looked at), ``phase`` ("response" or "reward") and ``action_mask``; a leader's action that is not legal is
    replaced by the lowest legal one. `state()`: phase, share of it that is over, one-hot types, the leader's
    observation.

    Raises:
        UsageError: PettingZoo is not installed, or a number of plays below 1.

    Example:
        >>> env = stackelberg_parallel_env("mspm-pi")  # doctest: +SKIP
        >>> observations, infos = env.reset(seed=0)  # doctest: +SKIP
    """
    try:
        from gymnasium import spaces
        from pettingzoo import ParallelEnv
    except ImportError as error:
        raise UsageError('the environment needs PettingZoo: pip install "spverify[pettingzoo]"') from error
    world = asked_setting(setting)
    plays = (world.followers.updates if response_plays is None else response_plays, reward_plays)
    if min(plays) < 1:
        raise UsageError(f"expected at least 1 response play and 1 reward play, got {plays[0]} and {plays[1]}")
    names = [player.name for player in world.players]
    if len({*names, LEADER}) != len(names) + 1:
        names = [f"follower {i}" for i in range(len(names))]
    n_obs, n_actions = world.legal.shape
    shape = tuple(len(player.types) for player in world.players)
    prior = flat_prior(world)

    class StackelbergParallelEnv(ParallelEnv[str, Any, Any]):
        def __init__(self) -> None:
            self.metadata = {"name": f"stackelberg-{world.name}", "render_modes": [], "is_parallelizable": True}
            self.render_mode = None
            self.possible_agents = [LEADER, *names]
            self.agents: list[str] = []
            sizes = [(n_obs + 1, n_actions), *((len(p.types), len(p.actions)) for p in world.players)]
            self.observation_spaces = {
                a: spaces.Discrete(seen) for a, (seen, _) in zip(self.possible_agents, sizes, strict=True)
            }
            self.action_spaces = {
                a: spaces.Discrete(done) for a, (_, done) in zip(self.possible_agents, sizes, strict=True)
            }
            size = 2 + sum(shape) + n_obs + 1
            self.state_space = spaces.Box(0.0, 1.0, (size,), np.float32)
            self._rng = np.random.default_rng()
            self._questions: Questions | None = None

        def observation_space(self, agent: str) -> Any:
            return self.observation_spaces[agent]

        def action_space(self, agent: str) -> Any:
            return self.action_spaces[agent]

        def reset(
            self, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[dict[str, Any], dict[str, Any]]:
            if seed is not None:
                self._rng = np.random.default_rng(seed)
            self.agents = list(self.possible_agents)
            self._phase, self._over = 0, 0
            self._begin_play()
            return self._observations(), self._infos()

        def step(self, actions: dict[str, Any]) -> tuple[dict[str, Any], ...]:
            if not self.agents:
                raise UsageError("reset the environment before the first step and after the last")
            agents, outcome = self.agents, None
            try:
                if self._questions is None:
                    own = np.array([[int(actions[name]) for name in names]])
                    self._questions = unfold(world, self._types, own)
                    self._asked, _ = next(self._questions)
                else:
                    legal = world.legal[self._asked]
                    answer = int(actions[LEADER])
                    self._asked, _ = self._questions.send(answer if legal[answer] else int(legal.argmax()))
            except StopIteration as end:
                outcome = end.value
            rewards = dict.fromkeys(agents, 0.0)
            if outcome is not None:
                rewards |= {
                    name: float(paid) / world.payoff_scale
                    for name, paid in zip(names, outcome.followers[0], strict=True)
                }
                if self._phase:
                    rewards[LEADER] = float(outcome.leader[0]) / (reward_plays * world.payoff_scale)
                self._end_play()
            observations, infos = self._observations(), self._infos()
            terminations = dict.fromkeys(agents, not self.agents)
            return observations, rewards, terminations, dict.fromkeys(agents, False), infos

        def state(self) -> NDArray[np.float32]:
            parts = [np.eye(width)[own] for width, own in zip(shape, self._types[0], strict=True)]
            clock = [float(self._phase), self._over / plays[self._phase]]
            return np.concatenate([clock, *parts, np.eye(n_obs + 1)[self._asked]]).astype(np.float32)

        def _begin_play(self) -> None:
            self._types = draw_types(prior, shape, self._rng)
            self._questions = None
            self._asked = n_obs

        def _end_play(self) -> None:
            """The next play, if there is one; after the last, observations stay those of the last."""
            self._over += 1
            if self._over == plays[self._phase] and self._phase == 0:
                self._phase, self._over = 1, 0
            elif self._over == plays[self._phase]:
                self.agents = []
                self._asked = n_obs
                return
            self._begin_play()

        def _observations(self) -> dict[str, Any]:
            return {LEADER: self._asked} | {name: int(own) for name, own in zip(names, self._types[0], strict=True)}

        def _infos(self) -> dict[str, Any]:
            followers_turn = self._questions is None
            shared = {"phase": ("response", "reward")[self._phase]}
            legal = np.ones(n_actions, np.int8) if self._asked == n_obs else world.legal[self._asked].astype(np.int8)
            infos = {LEADER: {**shared, "turn": not followers_turn, "action_mask": legal}}
            for name in names:
                mask = np.ones(self.action_spaces[name].n, np.int8)
                infos[name] = {**shared, "turn": followers_turn, "action_mask": mask}
            return infos

    return StackelbergParallelEnv()
