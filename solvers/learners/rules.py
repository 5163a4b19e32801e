"""The rules of learners (theory T7), each a frozen dataclass of its parameters.

A rule keeps for every copy, that is every (player, own type), one or two numbers an action, and is written for many
copies at once: `respond` gives their next mixed strategies, `learn` takes in what a round has shown. The same rules,
one copy at a time, are in `compiled.py`; tests hold the two together. Payoffs are over ``payoff_scale`` here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ...verify.errors import UsageError
from ...verify.game import FloatArray
from ...verify.play import IntArray


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What all rules share.

    Args:
        payoff_scale: payoffs are divided by this before the learner sees them; bounds and tuned rates take payoffs to
            have a range of 1 then.
    """

    payoff_scale: float = 1.0

    name: ClassVar[str]
    title: ClassVar[str]
    code: ClassVar[int]
    """Number of the rule in `compiled.py`."""
    slots: ClassVar[int] = 1
    """Numbers kept for each action."""
    noisy: ClassVar[bool] = False
    """Whether each response takes fresh random numbers."""
    bandit: ClassVar[bool] = False
    """Whether a copy is told the payoff of the action it played only."""
    guarantee: ClassVar[str] = "always"
    """Whether the bound of theory T7 holds for every run (``always``), for the mean over runs (``expectation``), or
    there is none (``none``)."""
    anytime: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _positive(self, "payoff_scale")

    def coefficient(self, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """Learning rate of copies with so many actions and so many updates to expect; 1 where a rule has none.

        Where ``anytime`` is set, the rate after k updates is this over sqrt(k + 1).
        """
        return np.ones(np.broadcast_shapes(np.shape(actions), np.shape(horizon)))

    def eta(self, updates: Any, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """The learning rate after so many updates; broadcasts."""
        rate = self.coefficient(actions, horizon)
        return rate / np.sqrt(np.asarray(updates) + 1.0) if self.anytime else rate

    def scores(self, memory: FloatArray) -> FloatArray:
        """What the most weighted action is most of, shape (copies, |A|); -inf at infeasible actions."""
        return memory[:, 0]

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """The next mixed strategies.

        Args:
            memory: shape (copies, slots, |A|), first slot -inf at infeasible actions; all other entries start at 0.
            eta: learning rates, shape (copies,).
            noise: standard Gumbel numbers, shape (copies, |A|), for a rule that is ``noisy``.
        """
        raise NotImplementedError

    def learn(self, memory: FloatArray, gains: FloatArray, used: FloatArray, played: IntArray | None) -> None:
        """Takes in a round, in place.

        Args:
            memory: shape (copies, slots, |A|).
            gains: what each action would have paid, shape (copies, |A|), or (copies, 1) where all pay the same.
            used: the strategies of the round, shape (copies, |A|).
            played: the actions drawn, shape (copies,), for a rule that is ``bandit``; its gains are then losses.
        """
        memory[:, 0] += gains


def _positive(rule: Any, name: str) -> None:
    value = getattr(rule, name)
    if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
        raise UsageError(f"expected a positive number, got {value!r}", field=name)


def softmax(logs: FloatArray) -> FloatArray:
    """exp, normalised by row; exactly tied entries get exactly equal probabilities."""
    weights = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def one_hot(scores: FloatArray) -> FloatArray:
    """All weight on the highest score of a row, ties to the lowest index."""
    return (scores.argmax(axis=1)[:, None] == np.arange(scores.shape[1])).astype(float)


@dataclass(frozen=True)
class Exponential(Learner):
    """Rules with a learning rate.

    Args:
        epsilon: the rate as the paper has it; eta = ln(1 + epsilon). Used when ``rate`` is ``fixed``.
        rate: ``fixed``; ``tuned`` to the horizon; or ``anytime``, falling with the updates.
    """

    epsilon: float = 0.1
    rate: str = "fixed"

    rates: ClassVar[tuple[str, ...]] = ("fixed", "tuned", "anytime")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rate not in self.rates:
            expected = ", ".join(self.rates[:-1]) + " or " + self.rates[-1]
            raise UsageError(f"expected the rate {expected}, got {self.rate!r}", field="rate")
        _positive(self, "epsilon")

    @property
    def anytime(self) -> bool:  # type: ignore[override]
        """Whether the rate falls with the updates."""
        return self.rate == "anytime"

    def coefficient(self, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """See `Learner.coefficient`."""
        actions, horizon = np.broadcast_arrays(actions, horizon)
        if self.rate == "fixed":
            return np.full(actions.shape, math.log1p(self.epsilon))
        count = np.maximum(actions, 2)
        return self._tuned(count, np.maximum(horizon, 1.0)) if self.rate == "tuned" else self._anytime(count)

    def _tuned(self, actions: Any, horizon: FloatArray) -> FloatArray:
        return np.sqrt(8.0 * np.log(actions) / horizon)

    def _anytime(self, actions: Any) -> FloatArray:
        return 2.0 * np.sqrt(np.log(actions))


@dataclass(frozen=True)
class MultiplicativeWeights(Exponential):
    """Multiplicative weights or Hedge, w <- w (1 + epsilon)^u, in log space (theory T7); the paper's learner.

    Args:
        epsilon: the paper's rate; eta = ln(1 + epsilon). Used when ``rate`` is ``fixed``.
        rate: ``fixed``; ``tuned`` to the horizon, eta = sqrt(8 ln K / N); or ``anytime``, weights proportional to
            exp(eta_t x cumulative payoff) with eta_t = 2 sqrt(ln K / t) at a copy's t-th update.
        payoff_scale: see `Learner`.
    """

    name: ClassVar[str] = "mw"
    title: ClassVar[str] = "multiplicative weights"
    code: ClassVar[int] = 0

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """exp(eta totals), normalised."""
        return softmax(memory[:, 0] * eta[:, None])


@dataclass(frozen=True)
class OptimisticHedge(Exponential):
    """Hedge that counts the latest payoff twice, as a forecast of the next (theory T7).

    Args:
        epsilon, payoff_scale: as in `MultiplicativeWeights`.
        rate: ``fixed``, or ``tuned``: eta = sqrt(ln K / N).

    Source: Rakhlin, Sridharan 2013; Syrgkanis, Agarwal, Luo, Schapire 2015.
    """

    name: ClassVar[str] = "optimistic"
    title: ClassVar[str] = "optimistic Hedge"
    code: ClassVar[int] = 1
    slots: ClassVar[int] = 2
    rates: ClassVar[tuple[str, ...]] = ("fixed", "tuned")

    def _tuned(self, actions: Any, horizon: FloatArray) -> FloatArray:
        return np.sqrt(np.log(actions) / horizon)

    def scores(self, memory: FloatArray) -> FloatArray:
        """Totals plus the latest payoff."""
        return memory[:, 0] + memory[:, 1]

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """exp(eta (totals + latest)), normalised."""
        return softmax(self.scores(memory) * eta[:, None])

    def learn(self, memory: FloatArray, gains: FloatArray, used: FloatArray, played: IntArray | None) -> None:
        """See `Learner.learn`."""
        memory[:, 0] += gains
        memory[:, 1] = gains


@dataclass(frozen=True)
class RegretMatching(Learner):
    """Regret matching: weights proportional to positive cumulative regret, uniform where there is none (theory T7).

    Source: Hart, Mas-Colell 2000.
    """

    name: ClassVar[str] = "rm"
    title: ClassVar[str] = "regret matching"
    code: ClassVar[int] = 2

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """Positive parts, normalised."""
        positive = np.maximum(memory[:, 0], 0.0)
        total = positive.sum(axis=1, keepdims=True)
        allowed = memory[:, 0] > -np.inf
        uniform = allowed / allowed.sum(axis=1, keepdims=True)
        return np.where(total > 0, positive / np.where(total > 0, total, 1.0), uniform)

    def learn(self, memory: FloatArray, gains: FloatArray, used: FloatArray, played: IntArray | None) -> None:
        """See `Learner.learn`."""
        memory[:, 0] += gains - (gains * used).sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class RegretMatchingPlus(RegretMatching):
    """Regret matching whose cumulative regrets never fall below 0 (theory T7).

    Source: Tammelin 2014.
    """

    name: ClassVar[str] = "rm+"
    title: ClassVar[str] = "regret matching+"
    code: ClassVar[int] = 3

    def learn(self, memory: FloatArray, gains: FloatArray, used: FloatArray, played: IntArray | None) -> None:
        """See `Learner.learn`."""
        super().learn(memory, gains, used, played)
        np.maximum(memory[:, 0], 0.0, out=memory[:, 0], where=memory[:, 0] > -np.inf)


@dataclass(frozen=True)
class Exp3(Exponential):
    """Exponential weights from bandit feedback: a copy learns only what its own action paid (theory T7).

    Losses are the player's largest payoff minus what was paid, divided by the chance of the action played.

    Args:
        epsilon, payoff_scale: as in `MultiplicativeWeights`.
        rate: ``fixed``; ``tuned``, eta = sqrt(2 ln K / (K N)); or ``anytime``, eta_t = sqrt(ln K / (K t)).

    Source: Auer, Cesa-Bianchi, Freund, Schapire 2002; the form with losses is Bubeck, Cesa-Bianchi 2012, theorem 3.1.
    """

    name: ClassVar[str] = "exp3"
    title: ClassVar[str] = "EXP3"
    code: ClassVar[int] = 4
    bandit: ClassVar[bool] = True
    guarantee: ClassVar[str] = "expectation"

    def _tuned(self, actions: Any, horizon: FloatArray) -> FloatArray:
        return np.sqrt(2.0 * np.log(actions) / (actions * horizon))

    def _anytime(self, actions: Any) -> FloatArray:
        return np.sqrt(np.log(actions) / actions)

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """exp(-eta estimated losses), normalised."""
        return softmax(memory[:, 0] * eta[:, None])

    def learn(self, memory: FloatArray, gains: FloatArray, used: FloatArray, played: IntArray | None) -> None:
        """See `Learner.learn`."""
        assert played is not None
        rows = np.arange(len(memory))
        losses = np.broadcast_to(gains, used.shape)[rows, played]
        memory[rows, 0, played] -= losses / used[rows, played]


@dataclass(frozen=True)
class FollowThePerturbedLeader(Exponential):
    """The action with the highest cumulative payoff plus fresh Gumbel noise / eta, alone (theory T7).

    Its draws are those of `MultiplicativeWeights` in distribution; what it plays is recorded as drawn.

    Args:
        epsilon, rate, payoff_scale: as in `MultiplicativeWeights`.

    Source: Hannan 1957; Kalai, Vempala 2005.
    """

    name: ClassVar[str] = "ftpl"
    title: ClassVar[str] = "follow the perturbed leader"
    code: ClassVar[int] = 5
    noisy: ClassVar[bool] = True
    guarantee: ClassVar[str] = "expectation"

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """All weight on the perturbed leader."""
        assert noise is not None
        return one_hot(memory[:, 0] * eta[:, None] + noise)


@dataclass(frozen=True)
class FictitiousPlay(Learner):
    """Best reply to everything seen so far, ties to the lowest index; no bound (theory T7).

    Source: Brown 1951.
    """

    name: ClassVar[str] = "fp"
    title: ClassVar[str] = "fictitious play"
    code: ClassVar[int] = 6
    guarantee: ClassVar[str] = "none"

    def respond(self, memory: FloatArray, eta: FloatArray, noise: FloatArray | None) -> FloatArray:
        """All weight on the action with the highest total."""
        return one_hot(memory[:, 0])


@dataclass(frozen=True)
class IteratedBestResponse(FictitiousPlay):
    """Best reply to the latest round alone, ties to the lowest index; no bound (theory T7)."""

    name: ClassVar[str] = "ibr"
    title: ClassVar[str] = "iterated best response"
    code: ClassVar[int] = 7

    def learn(self, memory: FloatArray, gains: FloatArray, used: FloatArray, played: IntArray | None) -> None:
        """See `Learner.learn`."""
        memory[:, 0] = np.where(memory[:, 0] > -np.inf, gains, -np.inf)


LEARNERS: dict[str, type[Learner]] = {
    rule.name: rule
    for rule in (
        MultiplicativeWeights,
        OptimisticHedge,
        RegretMatching,
        RegretMatchingPlus,
        Exp3,
        FollowThePerturbedLeader,
        FictitiousPlay,
        IteratedBestResponse,
    )
}
"""All rules by their short names."""
