"""Step-level PPO with a central critic (MAPPO), in the paper's manner, read from top to bottom.

Every step of every play is a decision: the actor, which sees the base observation only, acts afresh each time it is
asked. Followers learn in the response phase from all plays of their own actions; only the plays of the reward phase
pay. Advantages are generalised ones without discounting, so it is the critic, who sees followers' strategies and the
phase, that tells the leader what its answers did to its followers (theory T8). What it commits to in the end is the
policy's mode, or the policy itself as a mixture.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .evaluate import score_tables
from .hyper import Hyper
from .mechanism import softmax
from .policy import Actor, Critic, MixtureHead, PureHead, normalised
from .pomdp import RESPONSE, REWARD
from .responses import Hedge, one_hot
from .settings import Setting

SAMPLES = 15  # tables drawn from the policy and looked at beside its mode, each iteration
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Rollout:
    """A batch of B outer episodes as L rows of decisions; a row where an episode was not asked has observation -1.

    Args:
        observations, actions: shape (L, B).
        phases: shape (L,).
        rewards: shape (L, B), payoff divided by the setting's scale.
        states: what the full critic sees besides the observation, shape (L, B, ...).
        returns: what the reward phase paid, shape (B,).
    """

    observations: NDArray[np.int64]
    actions: NDArray[np.int64]
    phases: NDArray[np.int64]
    rewards: Floats
    states: NDArray[np.float32]

    @property
    def returns(self) -> Floats:
        return self.rewards[self.phases == REWARD].sum(axis=0)


class StepPPO:
    """One start; has the shape of the other learners of `train.py`."""

    def __init__(self, setting: Setting, hyper: Hyper, seed: int, start: int) -> None:
        self.setting, self.hyper = setting, hyper
        self._rng = np.random.default_rng([seed, start])
        self.type_shape = tuple(len(p.types) for p in setting.players)
        self.action_shape = tuple(len(p.actions) for p in setting.players)
        own = sum(t * a for t, a in zip(self.type_shape, self.action_shape, strict=True))
        self._state_size = 2 + own + sum(self.type_shape) + sum(self.action_shape)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(self._rng.integers(2**62)))
            # Where the phase is seen, an observation in the reward phase is another one.
            self._legal = np.tile(setting.legal, (2 if hyper.phase_visible else 1, 1))
            self.actor = Actor(self._legal, hyper.hidden, hyper.activation)
            seen = len(self._legal) + (self._state_size if hyper.critic_view == "full" else 0)
            self.critic = Critic(seen, max(hyper.hidden, default=32))
        self._choices = PureHead(self._legal)
        self._carried: Hedge | None = None
        # Fresh draws at every step are a mixture to the followers; a pure leader commits to the likeliest actions.
        mixture = hyper.leader_action == "mixture"
        self.head = MixtureHead(self._legal, hyper.grid) if mixture else self._choices
        self.optimiser = torch.optim.Adam([*self.actor.parameters(), *self.critic.parameters()], lr=hyper.lr)
        prior = setting.prior.astype(float).ravel()
        self._cumulative, self._last_cell = np.cumsum(prior), int(np.flatnonzero(prior)[-1])

    # --- playing ---

    def rollout(self) -> Rollout:
        """B outer episodes with the present policy: E rounds of learning, then R plays that pay."""
        hyper, setting, size = self.hyper, self.setting, self.hyper.batch
        learning, earning = self._acting()
        learners = self._learners()
        rows: list[tuple[NDArray[Any], ...]] = []
        n, plays = len(self.type_shape), hyper.reward_plays
        weight = np.full(size, 1 / (plays * setting.payoff_scale))
        for t in range(hyper.updates):
            types = self._draw_types(size)
            strategies = learners.strategies()
            mixed = [learners.strategy_at(i, types[:, i]) for i in range(n)]
            actions = np.stack([_pick(np.cumsum(m, axis=1), self._rng) for m in mixed], axis=1)
            for i in range(n):
                paid = np.empty((size, self.action_shape[i]))
                for own in range(self.action_shape[i]):
                    instead = actions.copy()
                    instead[:, i] = own
                    # Of the plays that followers learn from, the one that happened is the first follower's own.
                    pays = weight * (actions[:, 0] == own) if i == 0 and hyper.response_rewards else np.zeros(size)
                    clock = (RESPONSE, t / hyper.updates)
                    paid[:, own] = self._play(rows, learning, types, instead, strategies, clock, pays)[:, i]
                learners.learn_at(i, types[:, i], paid)
        frozen = learners.strategies()
        if hyper.readout == "argmax":
            frozen = [one_hot(best, width) for best, width in zip(learners.argmax(), self.action_shape, strict=True)]
        for t in range(plays):
            types = self._draw_types(size)
            mixed = [frozen[i][np.arange(size), types[:, i]] for i in range(n)]
            actions = np.stack([_pick(np.cumsum(m, axis=1), self._rng) for m in mixed], axis=1)
            self._play(rows, earning, types, actions, frozen, (REWARD, t / plays), weight)
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        return Rollout(*columns)

    def _acting(self) -> tuple[Floats, Floats]:
        """Cumulative probabilities of the actor in the two phases, the same ones unless it sees the phase."""
        with torch.no_grad():
            probabilities = softmax(self.actor().double().numpy(), self._legal)
        n_obs = len(self.setting.observations)
        cumulative = np.cumsum(probabilities, axis=1)
        return cumulative[:n_obs], cumulative[-n_obs:]

    def _learners(self) -> Hedge:
        """Followers who begin undecided, or those of the episode before."""
        if self._carried is not None:
            return self._carried
        hyper = self.hyper
        learners = Hedge(
            hyper.batch, self.type_shape, self.action_shape, epsilon=hyper.epsilon, scale=self.setting.payoff_scale
        )
        if hyper.followers_start == "carried":
            self._carried = learners
        return learners

    def _play(
        self,
        rows: list[tuple[NDArray[Any], ...]],
        acting: Floats,
        types: NDArray[np.int64],
        actions: NDArray[np.int64],
        strategies: list[Floats],
        clock: tuple[int, float],
        weight: Floats,
    ) -> Floats:
        """One play in each episode, written down step by step; the followers' payoffs."""
        size = len(types)
        # An observation is met at most once a play, so a fresh table is a fresh draw at every step.
        uniforms = self._rng.random((size, len(acting), 1))
        tables = (uniforms >= acting[:, :-1]).sum(axis=2)
        outcome = self.setting.play(tables, types, actions)
        met = outcome.observations.T
        rewards = np.zeros(met.shape)
        rewards[(met >= 0).sum(axis=0) - 1, np.arange(size)] = outcome.leader * weight
        parts = [np.tile(clock, (size, 1)), *(s.reshape(size, -1) for s in strategies)]
        parts += [one_hot(types[:, i], width) for i, width in enumerate(self.type_shape)]
        parts += [one_hot(actions[:, i], width) for i, width in enumerate(self.action_shape)]
        state = np.concatenate(parts, axis=1).astype(np.float32)
        chosen = tables[np.arange(size), np.maximum(met, 0)]
        phases = np.full(len(met), clock[0])
        rows.append((met, chosen, phases, rewards, np.repeat(state[None], len(met), axis=0)))
        return outcome.followers

    def _draw_types(self, size: int) -> NDArray[np.int64]:
        cells = np.searchsorted(self._cumulative, self._rng.random(size), side="right")
        return np.stack(np.unravel_index(np.minimum(cells, self._last_cell), self.type_shape), axis=1)

    # --- learning ---

    def iterate(self, iteration: int) -> tuple[NDArray[Any], Floats, dict[str, float]]:
        played = self.rollout()
        self._improve(played, 1 - iteration / self.hyper.iterations)
        with torch.no_grad():
            entropy = float(self._choices.entropy(self.actor()))
        tables = self.mode()[None]
        if self.hyper.leader_action == "pure":
            _, earning = self._acting()
            drawn = (self._rng.random((SAMPLES, len(earning), 1)) >= earning[:, :-1]).sum(axis=2)
            tables = np.concatenate([tables, drawn])
        scores, _ = score_tables(self.setting, self.hyper, tables, rng_seed=int(self._rng.integers(2**62)))
        figures = {"mean": float(played.returns.mean() * self.setting.payoff_scale), "entropy": entropy}
        return tables, scores, figures

    def _improve(self, played: Rollout, remaining: float) -> None:
        """Several epochs of clipped policy gradient over all steps, the critic regressed beside it."""
        hyper = self.hyper
        asked = played.observations >= 0
        if not hyper.response_steps:
            asked = asked & (played.phases == REWARD)[:, None]
        where = np.nonzero(asked)
        observation = torch.from_numpy(self._inputs(played)[where])
        action = torch.from_numpy(played.actions[where])
        seen = self.seen(played, asked)
        with torch.no_grad():
            values = np.zeros(asked.shape)
            values[where] = self.critic(seen).double().numpy()
            old = self._log_probabilities()[observation, action]
        advantages, targets = generalised_advantages(played.rewards, values, asked, hyper.trace)
        advantage = normalised(torch.from_numpy(advantages[where]).float())
        target = torch.from_numpy(targets[where]).float()
        order_rng = torch.Generator().manual_seed(int(self._rng.integers(2**62)))
        for _ in range(hyper.epochs):
            for part in torch.randperm(len(action), generator=order_rng).split(hyper.minibatch):
                new = self._log_probabilities()[observation[part], action[part]]
                ratio = (new - old[part]).exp()
                clipped = ratio.clamp(1 - hyper.clip, 1 + hyper.clip)
                loss = -torch.minimum(ratio * advantage[part], clipped * advantage[part]).mean()
                loss = loss + 0.5 * (self.critic(seen[part]) - target[part]).square().mean()
                loss = loss - hyper.entropy * remaining * self._choices.entropy(self.actor())
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()

    def seen(self, played: Rollout, asked: NDArray[np.bool_]) -> Tensor:
        """What the critic sees at the decisions of a mask (L, B), one row each."""
        observation = torch.eye(len(self._legal))[torch.from_numpy(self._inputs(played)[asked])]
        if self.hyper.critic_view == "actor":
            return observation
        return torch.cat([torch.from_numpy(played.states[asked]), observation], dim=1)

    def _inputs(self, played: Rollout) -> NDArray[np.int64]:
        """Which of the actor's inputs each decision is, shape (L, B): the observation, with its phase if that shows."""
        shift = len(self.setting.observations) * (played.phases == REWARD) * self.hyper.phase_visible
        return played.observations + shift[:, None]

    def _log_probabilities(self) -> Tensor:
        """Shape (n_obs, n_actions); the actor is evaluated once per observation, not once per step."""
        logits: Tensor = self._choices.distribution(self.actor()).logits
        return logits

    # --- what training needs of every learner ---

    def mode(self) -> NDArray[Any]:
        with torch.no_grad():
            return self.head.mode(self.actor())[-len(self.setting.observations) :]

    def finished(self) -> bool:
        """A policy that hardly varies any more will not move."""
        with torch.no_grad():
            return float(self._choices.entropy(self.actor())) < 0.01

    def state(self) -> dict[str, Any]:
        buffer = io.BytesIO()
        torch.save(self.optimiser.state_dict(), buffer)
        copied = {
            name: {key: value.clone() for key, value in module.state_dict().items()}
            for name, module in {"actor": self.actor, "critic": self.critic}.items()
        }
        kept = [] if self._carried is None else [*self._carried.scores, *self._carried.updates]
        followers = [torch.from_numpy(part.copy()) for part in kept]
        rng = json.dumps(self._rng.bit_generator.state)
        return {**copied, "optimiser": buffer.getvalue(), "rng": rng, "followers": followers}

    def load(self, state: dict[str, Any]) -> None:
        self.actor.load_state_dict(state["actor"])
        self.critic.load_state_dict(state["critic"])
        self.optimiser.load_state_dict(torch.load(io.BytesIO(state["optimiser"]), weights_only=True))
        self._rng.bit_generator.state = json.loads(state["rng"])
        if state["followers"]:
            learners, n = self._learners(), len(self.type_shape)
            learners.scores = [part.numpy().copy() for part in state["followers"][:n]]
            learners.updates = [part.numpy().copy() for part in state["followers"][n:]]


def generalised_advantages(
    rewards: Floats, values: Floats, asked: NDArray[np.bool_], trace: float
) -> tuple[Floats, Floats]:
    """Undiscounted GAE(trace) along the rows that were asked, and the critic's targets; all of shape (L, B).

    A reward on a row that is not asked belongs to the decision before it.
    """
    advantages = np.zeros_like(values)
    following, running = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    pending = np.zeros(values.shape[1])
    for k in range(len(values) - 1, -1, -1):
        here = asked[k]
        pending = pending + rewards[k]
        error = pending + following - values[k]
        running = np.where(here, error + trace * running, running)
        advantages[k] = np.where(here, running, 0)
        following = np.where(here, values[k], following)
        pending = np.where(here, 0, pending)
    return advantages, advantages + values


def _pick(cumulative: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """A draw from each row of cumulative probabilities."""
    return (rng.random((len(cumulative), 1)) >= cumulative[:, :-1]).sum(axis=1)
