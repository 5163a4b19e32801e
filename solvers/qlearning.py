"""Q-learners in dynamic games (theory T7): tabular, independent, thousands of runs at once.

A run is one seed in one game; games differ by the leader's committed rule. `qlearning_compiled.py` has the same loop
compiled, and both draw the same counter-based random numbers, so they find the same figures. What frozen learners are
worth and what they forgo is decided elsewhere (`verify/dynamic.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
CHUNK = 20_000
"""Periods a compiled call plays before it comes up for air, so that it can be interrupted."""


@dataclass(frozen=True)
class QLearning:
    """How a follower learns: Q(s, a) moves by ``rate`` towards r + discount × max Q(s', ·).

    Args:
        rate: alpha, in (0, 1].
        discount: in [0, 1].
        exploration: chance of a uniformly random action in the first period.
        decay: the chance in period t is exploration × exp(-decay t).
        initial: "rivals" starts Q at the discounted payoff against uniformly random rivals, "zero" at 0.

    Ties between actions go to the lowest index.
    """

    rate: float
    discount: float
    exploration: float = 1.0
    decay: float = 0.0
    initial: str = "rivals"

    def __post_init__(self) -> None:
        for name, value, fits in (
            ("rate", self.rate, 0 < self.rate <= 1),
            ("discount", self.discount, 0 <= self.discount <= 1),
            ("exploration", self.exploration, 0 <= self.exploration <= 1),
            ("decay", self.decay, self.decay >= 0),
        ):
            if not fits:
                raise UsageError(f"Q-learning: {name} cannot be {value}")
        if self.initial not in ("rivals", "zero") or (self.initial == "rivals" and self.discount == 1):
            raise UsageError(f"Q-learning: initial must be 'zero', or 'rivals' with a discount, got {self.initial!r}")

    def explores(self, first: int, last: int) -> Floats:
        """The chance to explore in periods first, .., last - 1."""
        return self.exploration * np.exp(-self.decay * np.arange(first, last))


@dataclass(frozen=True)
class BatchDynamics:
    """The dynamic games of G rules, in floating point; `verify.dynamic.DynamicGame` is the exact form of one.

    Args:
        successor: next states, shape (G, S, J); joint actions J in C order over players.
        payoffs: shape (G, n, S, J).
        leader: shape (G, S, J).
        actions: how many actions each of the n players has.
        start: probability of each starting state, shape (S,).
        rounds: an episode's length, after which play starts anew; None if it goes on.
    """

    successor: Ints
    payoffs: Floats
    leader: Floats
    actions: tuple[int, ...]
    start: Floats
    rounds: int | None = None

    def __post_init__(self) -> None:
        size, states, joint = self.leader.shape
        if self.successor.shape != (size, states, joint) or joint != prod(self.actions):
            raise UsageError(f"expected next states of shape {self.leader.shape}, got {self.successor.shape}")
        if self.successor.size and not 0 <= self.successor.min() <= self.successor.max() < states:
            raise UsageError(f"expected next states from 0 to {states - 1}")
        if self.payoffs.shape != (size, len(self.actions), states, joint) or self.start.shape != (states,):
            raise UsageError(f"expected payoffs of shape (G, n, S, J) and S starts, got {self.payoffs.shape}")

    @property
    def steps(self) -> Ints:
        """What one more in player i's action adds to the joint action."""
        return np.array([prod(self.actions[i + 1 :]) for i in range(len(self.actions))], dtype=np.int64)

    def first_values(self, learner: QLearning) -> Floats:
        """Q before the first period, shape (G, n, S, most actions); -inf where a player has no such action."""
        size, n, states, _ = self.payoffs.shape
        out = np.full((size, n, states, max(self.actions)), -np.inf)
        for i, width in enumerate(self.actions):
            if learner.initial == "zero":
                out[:, i, :, :width] = 0.0
                continue
            shaped = self.payoffs[:, i].reshape(size, states, *self.actions)
            others = tuple(2 + k for k in range(n) if k != i)
            out[:, i, :, :width] = shaped.mean(axis=others) / (1 - learner.discount)
        return out


@dataclass(frozen=True)
class Snapshot:
    """Learners after some periods.

    Attributes:
        periods: how many.
        greedy: the action each would take, ties to the lowest index, shape (B, n, S).
        state: where play stands, shape (B,).
        changed: the last period in which a greedy action changed, 0 if none ever did, shape (B, n).
        earned: the leader's mean payoff a period so far, shape (B,).
    """

    periods: int
    greedy: Ints
    state: Ints
    changed: Ints
    earned: Floats


def run_qlearning(
    games: BatchDynamics,
    learner: QLearning,
    periods: Sequence[int],
    *,
    game_of: NDArray[Any],
    seeds: NDArray[Any],
    compiled: bool = True,
) -> list[Snapshot]:
    """Let independent Q-learners play B runs.

    Args:
        games: the games.
        learner: how every player learns.
        periods: ascending; a snapshot is taken after each of these many periods. One run serves all.
        game_of: the game of each run, shape (B,).
        seeds: the seed of each run, shape (B,), not negative; equal seeds meet equal random numbers in any game.
        compiled: False plays with numpy, slowly: the same numbers.

    Raises:
        UsageError: periods that are not ascending, or runs of games that do not exist.
    """
    wanted = [int(p) for p in periods]
    if not wanted or wanted[0] < 1 or wanted != sorted(set(wanted)):
        raise UsageError(f"expected ascending numbers of periods from 1 on, got {list(periods)}")
    game_of, keys = np.asarray(game_of, dtype=np.int64), _keys(np.asarray(seeds))
    if game_of.shape != keys.shape or (len(game_of) and not 0 <= game_of.min() <= game_of.max() < len(games.leader)):
        raise UsageError(f"expected one game of 0..{len(games.leader) - 1} and one seed a run")
    size, n = len(game_of), len(games.actions)
    values = games.first_values(learner)[game_of]
    # Draw number 0 is the starting state; period t and player i use draw 1 + t n + i.
    starts = np.minimum(np.searchsorted(np.cumsum(games.start), uniforms(keys, 0), side="right"), len(games.start) - 1)
    state = starts.astype(np.int64)
    changed, total = np.zeros((size, n), dtype=np.int64), np.zeros(size)
    play: Any = _play_periods
    if compiled:
        from .qlearning_compiled import play_periods

        play = play_periods
    constant = (
        games.successor, games.payoffs, games.leader, np.array(games.actions, dtype=np.int64), games.steps, game_of,
        keys, float(learner.rate), float(learner.discount), games.rounds or 0, starts.astype(np.int64),
    )  # fmt: skip
    out, done = [], 0
    for until in wanted:
        while done < until:
            stop = min(until, done + CHUNK)
            play(*constant, done, learner.explores(done, stop), values, state, changed, total)
            done = stop
        out.append(Snapshot(done, values.argmax(axis=-1), state.copy(), changed.copy(), total / done))
    return out


def run_seeds(rng_seed: int, runs: int) -> NDArray[np.uint64]:
    """Seeds of runs 0, 1, .. under one seed of everything; other seeds give other runs."""
    first: Any = _mix(np.array([rng_seed], dtype=np.uint64))
    return _mix(first + np.arange(runs, dtype=np.uint64))


def _keys(seeds: NDArray[Any]) -> NDArray[np.uint64]:
    return _mix(np.asarray((seeds.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN), dtype=np.uint64))


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters counters."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(MIX_1)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(MIX_2)
    return x ^ (x >> np.uint64(31))


def uniforms(keys: NDArray[np.uint64], draw: int) -> Floats:
    """Draw number ``draw`` of each run, in [0, 1)."""
    offset = np.uint64((draw + 1) * GOLDEN % 2**64)
    return np.asarray((_mix(keys + offset) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _play_periods(
    successor: Ints,
    payoffs: Floats,
    leader: Floats,
    actions: Ints,
    steps: Ints,
    game_of: Ints,
    keys: NDArray[np.uint64],
    rate: float,
    discount: float,
    rounds: int,
    starts: Ints,
    first: int,
    explore: Floats,
    values: Floats,
    state: Ints,
    changed: Ints,
    total: Floats,
) -> None:
    """Some periods of all runs, in place: numpy across runs, one period after another."""
    runs, n = np.arange(len(game_of)), len(actions)
    for k, chance in enumerate(explore):
        t = first + k
        joint = np.zeros(len(runs), dtype=np.int64)
        before, played = [], []
        for i in range(n):
            greedy = values[runs, i, state].argmax(axis=1)
            u = uniforms(keys, 1 + t * n + i)
            random = (u / chance * actions[i]).astype(np.int64) if chance > 0 else greedy
            action = np.where(u < chance, np.minimum(random, actions[i] - 1), greedy)
            joint += action * steps[i]
            before.append(greedy)
            played.append(action)
        after = successor[game_of, state, joint]
        ends = rounds > 0 and (t + 1) % rounds == 0
        total += leader[game_of, state, joint]
        for i in range(n):
            target = payoffs[game_of, i, state, joint]
            if not ends:
                target = target + discount * values[runs, i, after].max(axis=1)
            old = values[runs, i, state, played[i]]
            values[runs, i, state, played[i]] = old + rate * (target - old)
            moved = values[runs, i, state].argmax(axis=1) != before[i]
            changed[moved, i] = t + 1
        state[:] = starts if ends else after


def frozen_values(games: BatchDynamics, game_of: NDArray[Any], snapshot: Snapshot) -> Floats:
    """What the frozen learners' play is worth to the leader, shape (B,): the average over the cycle reached from where
    play stands, or the total of an episode from the first starting state where episodes end."""
    game_of = np.asarray(game_of)
    runs = np.arange(len(game_of))
    joint = np.einsum("bns,n->bs", snapshot.greedy, games.steps)
    pay = np.take_along_axis(games.leader[game_of], joint[..., None], axis=2)[..., 0]
    follow = np.take_along_axis(games.successor[game_of], joint[..., None], axis=2)[..., 0]
    if games.rounds is not None:
        out = np.zeros(len(runs))
        for s in np.flatnonzero(games.start):
            at, total = np.full(len(runs), s), np.zeros(len(runs))
            for _ in range(games.rounds):
                total += pay[runs, at]
                at = follow[runs, at]
            out += games.start[s] * total
        return out
    at = snapshot.state
    for _ in range(follow.shape[1]):  # after that many steps play is on its cycle
        at = follow[runs, at]
    anchor, total, length, open_ = at, np.zeros(len(runs)), np.zeros(len(runs)), np.ones(len(runs), dtype=bool)
    while open_.any():
        total += np.where(open_, pay[runs, at], 0.0)
        length += open_
        at = follow[runs, at]
        open_ &= at != anchor
    return total / length
