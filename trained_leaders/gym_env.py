"""The Stackelberg POMDP as a Gymnasium environment, so that leaders can be trained with other libraries.

One step is one decision of the leader in one play. Followers learn from all plays of their own actions in the response
phase, which pays nothing; the plays of the reward phase pay (theory T8). Gymnasium is imported only when asked for.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import UsageError
from .responses import Hedge, one_hot
from .settings import Followers, Outcome, Setting, asked_setting

if TYPE_CHECKING:
    import gymnasium

Steps = Generator[tuple[int, float], int, float]


def stackelberg_env(
    setting: Setting | str,
    followers: Followers | None = None,
    *,
    reward_plays: int = 32,
    readout: str = "argmax",
    critic_state: bool = False,
) -> gymnasium.Env[Any, Any]:
    """An environment of one outer episode after another; observation and action spaces are discrete.

    Args:
        setting: a setting, or its name.
        followers: how they learn; the setting's own way if not given. Types and opponents are sampled.
        reward_plays: plays that pay, each leader's payoff / (reward_plays * payoff_scale).
        readout: what frozen followers do: "argmax" or "last".
        critic_state: also give ``info["state"]``, float32: phase, clock, and all followers' mixed strategies.

    ``info["action_mask"]`` says what is legal; an action that is not is replaced by the lowest legal one, and
    ``info["replaced"]`` says so.

    Raises:
        UsageError: Gymnasium is not installed, or followers who do not sample.

    Example:
        >>> env = stackelberg_env("maintain")  # doctest: +SKIP
        >>> observation, info = env.reset(seed=0)  # doctest: +SKIP
    """
    try:
        import gymnasium
    except ImportError as error:
        raise UsageError('the environment needs Gymnasium: pip install "spverify[gym]"') from error
    world = asked_setting(setting)
    follow = followers or world.followers
    if (follow.types, follow.opponents) != ("sampled", "sampled"):
        raise UsageError("the environment plays, so followers must sample types and opponents")
    if readout not in ("argmax", "last") or reward_plays < 1:
        raise UsageError("expected readout argmax or last and at least 1 reward play")

    class StackelbergEnv(gymnasium.Env[Any, Any]):
        def __init__(self) -> None:
            self.metadata = {"render_modes": []}
            self.observation_space = gymnasium.spaces.Discrete(len(world.observations))
            self.action_space = gymnasium.spaces.Discrete(len(world.actions))
            self._outer: OuterEpisode | None = None

        def reset(
            self, *, seed: int | None = None, options: dict[str, Any] | None = None
        ) -> tuple[Any, dict[str, Any]]:
            super().reset(seed=seed)
            self._outer = OuterEpisode(world, follow, reward_plays, readout, self.np_random)
            return self._outer.observation, self._info(replaced=False)

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            if self._outer is None or self._outer.done:
                raise UsageError("reset the environment before the first step and after the last")
            legal = world.legal[self._outer.observation]
            replaced = not legal[int(action)]
            reward = self._outer.act(int(legal.argmax()) if replaced else int(action))
            return self._outer.observation, reward, self._outer.done, False, self._info(replaced=replaced)

        def _info(self, *, replaced: bool) -> dict[str, Any]:
            assert self._outer is not None
            info: dict[str, Any] = {
                "action_mask": world.legal[self._outer.observation].astype(np.int8),
                "replaced": replaced,
            }
            if critic_state:
                info["state"] = self._outer.state()
            return info

    return StackelbergEnv()


class OuterEpisode:
    """One outer episode, decision by decision; needs no Gymnasium.

    Attributes:
        observation: what the leader is asked at now; the last one asked once the episode is done.
        done: no more questions.
    """

    def __init__(
        self, setting: Setting, followers: Followers, reward_plays: int, readout: str, rng: np.random.Generator
    ) -> None:
        self._setting, self._followers, self._rng = setting, followers, rng
        self._plays, self._readout = reward_plays, readout
        self._types = tuple(len(p.types) for p in setting.players)
        self._actions = tuple(len(p.actions) for p in setting.players)
        self._learners = Hedge(1, self._types, self._actions, epsilon=followers.epsilon, scale=setting.payoff_scale)
        self._prior = flat_prior(setting)
        self._clock = (0.0, 0.0)
        self._steps = self._run()
        self.done = False
        self.observation, _ = next(self._steps)

    def act(self, action: int) -> float:
        """Answers the question; the reward since then."""
        try:
            self.observation, reward = self._steps.send(action)
        except StopIteration as end:
            self.done, reward = True, end.value
        return float(reward)

    def state(self) -> NDArray[np.float32]:
        """Phase, share of it that is over, followers' mixed strategies."""
        mixed = [s.ravel() for s in self._learners.strategies()]
        return np.concatenate([self._clock, *mixed]).astype(np.float32)

    def _run(self) -> Steps:
        """Yields (observation, reward so far unpaid) and is sent actions; returns the last reward."""
        updates = self._followers.updates
        for t in range(updates):
            self._clock = (0.0, t / updates)
            types = self._draw_types()
            mixed = [self._learners.strategy_at(i, types[:, i])[0] for i in range(len(self._types))]
            actions = np.array([[self._rng.choice(len(m), p=m / m.sum()) for m in mixed]])
            for i, count in enumerate(self._actions):
                paid = np.empty((1, count))
                for own in range(count):
                    instead = actions.copy()
                    instead[0, i] = own
                    outcome = yield from unfold(self._setting, types, instead)
                    paid[0, own] = outcome.followers[0, i]
                self._learners.learn_at(i, types[:, i], paid)
        frozen = self._learners.strategies()
        if self._readout == "argmax":
            best = self._learners.argmax()
            frozen = [one_hot(b, width) for b, width in zip(best, self._actions, strict=True)]
        reward = 0.0
        for t in range(self._plays):
            self._clock = (1.0, t / self._plays)
            types = self._draw_types()
            mixed = [frozen[i][0, types[0, i]] for i in range(len(self._types))]
            actions = np.array([[self._rng.choice(len(m), p=m / m.sum()) for m in mixed]])
            outcome = yield from unfold(self._setting, types, actions, reward)
            reward = outcome.leader[0] / (self._plays * self._setting.payoff_scale)
        return reward

    def _draw_types(self) -> NDArray[np.int64]:
        return draw_types(self._prior, self._types, self._rng)


def draw_types(prior: NDArray[np.float64], shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """A joint type from the prior, flat and summing to 1, as a batch of one, shape (1, n)."""
    return np.array([np.unravel_index(rng.choice(len(prior), p=prior), shape)])


def unfold(
    setting: Setting, types: NDArray[np.int64], actions: NDArray[np.int64], unpaid: float = 0.0
) -> Generator[tuple[int, float], int, Outcome]:
    """One play of the base game, asking until every observation that it meets has an answer.

    Yields the observation asked with the reward still to be paid (once), is sent the leader's action; returns what the
    play came to. `types` and `actions` have shape (1, n).
    """
    table = setting.legal.argmax(axis=1)[None]
    answered: set[int] = set()
    while True:
        outcome = setting.play(table, types, actions)
        # What is met up to the first question without an answer does not depend on later answers.
        asked = next((int(o) for o in outcome.observations[0] if o >= 0 and int(o) not in answered), None)
        if asked is None:
            return outcome
        table[0, asked] = yield asked, unpaid
        unpaid = 0.0
        answered.add(asked)


def flat_prior(setting: Setting) -> NDArray[np.float64]:
    """The prior's probabilities in C order; their sum is 1 in floating point."""
    prior = setting.prior.astype(float).ravel()
    return prior / prior.sum()
