"""Followers' response algorithms (theory T7): independent learners, one per (player, own type), batched over seeds.

Full counterfactual feedback: after a round a copy learns what each of its actions would have paid. `run_learners`
plays any `Learner`; today there is `MultiplicativeWeights`. What a run is worth is decided elsewhere (`verify`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..verify.errors import BudgetError, UsageError
from ..verify.game import BayesianGame, FloatArray, axis_letters
from ..verify.play import IntArray, MixturePlay, PlayLog
from ..verify.regret import interim_regrets

_CHUNK_ROUNDS = 8_192
_CHUNK_BYTES = 1 << 26
MAX_SNAPSHOT_BYTES = 1 << 31

READOUTS = ("empirical", "last", "argmax")
MODES = ("sampled", "expected")


class Learner(Protocol):
    """A rule that turns what actions would have paid so far into the next mixed strategy."""

    payoff_scale: float

    def strategy(self, totals: FloatArray, updates: IntArray, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """The next mixed strategies, one row a copy.

        Args:
            totals: cumulative payoffs over ``payoff_scale``, -inf at infeasible actions; shape (copies, |A|).
            updates: updates so far, shape (copies,).
            actions: number of feasible actions, shape (copies,).
            horizon: updates the copy can expect in the whole run, shape (copies,).
        """
        ...

    def eta(self, updates: Any, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """The learning rate after so many updates, for payoffs over ``payoff_scale``."""
        ...


@dataclass(frozen=True)
class MultiplicativeWeights:
    """Multiplicative weights, w <- w (1 + epsilon)^u, in log space (theory T7).

    Args:
        epsilon: the paper's rate; eta = ln(1 + epsilon). Used when ``rate`` is ``fixed``.
        rate: ``fixed``; ``tuned`` to the horizon, eta = sqrt(8 ln K / N); or ``anytime``, weights proportional to
            exp(eta_t x cumulative payoff) with eta_t = 2 sqrt(ln K / t) at a copy's t-th update.
        payoff_scale: payoffs are divided by this before the learner sees them; the rules assume a range of 1 then.
    """

    epsilon: float = 0.1
    rate: str = "fixed"
    payoff_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.rate not in ("fixed", "tuned", "anytime"):
            raise UsageError(f"expected the rate fixed, tuned or anytime, got {self.rate!r}", field="rate")
        for name in ("epsilon", "payoff_scale"):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value > 0):
                raise UsageError(f"expected a positive number, got {value!r}", field=name)

    def eta(self, updates: Any, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """eta for the strategy used after ``updates`` updates; broadcasts."""
        spread = np.log(np.maximum(actions, 2))
        if self.rate == "tuned":
            return np.asarray(np.sqrt(8.0 * spread / np.maximum(horizon, 1.0)))
        if self.rate == "anytime":
            return np.asarray(2.0 * np.sqrt(spread / (updates + 1.0)))
        return np.full(np.broadcast_shapes(np.shape(updates), np.shape(actions)), math.log1p(self.epsilon))

    def strategy(self, totals: FloatArray, updates: IntArray, actions: IntArray, horizon: FloatArray) -> FloatArray:
        """exp(eta totals), normalised; exactly tied totals get exactly equal probabilities."""
        if self.rate == "fixed":
            logs = totals * math.log1p(self.epsilon)
        else:
            logs = totals * self.eta(updates, actions, horizon)[:, None]
        logs -= logs.max(axis=1, keepdims=True)
        weights = np.exp(logs, out=logs)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights


@dataclass(frozen=True, eq=False)
class LearnerRun:
    """A finished response of B seeds over T rounds.

    Attributes:
        strategies: for each player the mixed strategies used in rounds 1..T, shape (B, T, |T_i|, |A_i|); None if
            they were not kept.
        last: the mixed strategies after T updates, shape (B, |T_i|, |A_i|) for each player.
        leading: the most weighted action of each copy after T updates, ties to the lowest index, shape (B, |T_i|).
        updates: how often each copy was updated, shape (B, |T_i|) for each player.
        checkpoints: rounds at which averages were taken.
        averages: for each checkpoint the average play sigma so far, shape (B, types.., actions..).
        updates_at: for each checkpoint the updates so far, as `updates`.
        types, actions: what was drawn, shape (B, T, n); None where nothing was.
    """

    strategies: tuple[FloatArray, ...] | None
    last: tuple[FloatArray, ...]
    leading: tuple[IntArray, ...]
    updates: tuple[IntArray, ...]
    checkpoints: tuple[int, ...]
    averages: dict[int, FloatArray]
    updates_at: dict[int, tuple[IntArray, ...]]
    types: npt.NDArray[np.int16] | None
    actions: npt.NDArray[np.int16] | None

    def readout(self, kind: str, seed: int = 0) -> MixturePlay:
        """The play that the run is read as (theory T7).

        Args:
            kind: ``empirical`` (the average over time, what the theorem covers), ``last`` (final mixed strategies) or
                ``argmax`` (final most-weighted actions).
            seed: which of the B seeds.

        Raises:
            UsageError: another kind, or ``empirical`` where the strategies were not kept.
        """
        if kind == "empirical":
            if self.strategies is None:
                raise UsageError("the empirical readout needs the strategies of all rounds; run with keep=True")
            return MixturePlay(None, [x[seed] for x in self.strategies])
        if kind == "last":
            return MixturePlay([1.0], [x[seed][None] for x in self.last])
        if kind == "argmax":
            hot = [np.eye(x.shape[2])[best[seed]][None] for x, best in zip(self.last, self.leading, strict=True)]
            return MixturePlay([1.0], hot)
        raise UsageError(f"expected the readout {', '.join(READOUTS)}, got {kind!r}")

    def log(self, seed: int = 0) -> PlayLog:
        """The drawn types and actions, one row a round."""
        if self.types is None or self.actions is None:
            raise UsageError("only a run with sampled types and sampled opponents has a log")
        return PlayLog(self.types[seed].astype(np.int64), self.actions[seed].astype(np.int64))

    def regrets_at(self, game: BayesianGame, checkpoint: int, seed: int = 0) -> list[FloatArray]:
        """Interim regrets of the average play up to a checkpoint, payoff units (theory T3)."""
        if checkpoint not in self.averages:
            raise UsageError(f"expected one of the checkpoints {self.checkpoints}, got {checkpoint}")
        return interim_regrets(game, self.averages[checkpoint][seed])


def run_learners(
    game: BayesianGame,
    learner: Learner,
    rounds: int,
    *,
    seeds: int = 1,
    types: str = "sampled",
    opponents: str = "sampled",
    rng_seed: int = 0,
    checkpoints: Sequence[int] = (),
    keep: bool = True,
) -> LearnerRun:
    """Lets one learner per (player, own type) play the game for some rounds (theory T7).

    With ``types="sampled"`` a joint type is drawn each round and only the drawn copies learn; with ``expected`` every
    copy learns each round from its expected payoffs. ``opponents`` says whether those are against sampled actions or
    against mixed strategies; with expected types and sampled opponents one number a player picks the action at each
    of its types. Seed b draws from ``default_rng([rng_seed, b])``: each round one number for the joint type (C order,
    cumulative prior), then one a player for its action (cumulative strategy).

    Args:
        game: the game.
        learner: the rule of all copies.
        rounds: T.
        seeds: B independent repetitions, computed side by side.
        types, opponents: ``sampled`` or ``expected``.
        rng_seed: first part of the seeds.
        checkpoints: rounds at which the average play so far is taken.
        keep: keep the strategies of all rounds; without them memory does not grow with T (but for draws).

    Raises:
        UsageError: options out of range.
        BudgetError: strategies that would need more than 2 GiB.

    Example:
        >>> from spverify.verify.game import BayesianGame
        >>> game = BayesianGame([1], [[[1, 0, 0]]])
        >>> run = run_learners(game, MultiplicativeWeights(0.1), 100)
        >>> run.leading[0][0].tolist(), run.readout("argmax").strategies[0].tolist()
        ([0], [[[1.0, 0.0, 0.0]]])
    """
    for name, mode in (("types", types), ("opponents", opponents)):
        if mode not in MODES:
            raise UsageError(f"expected sampled or expected, got {mode!r}", field=name)
    if rounds < 1 or seeds < 1:
        raise UsageError(f"expected at least one round and one seed, got {rounds} and {seeds}")
    marks = tuple(sorted(set(checkpoints)))
    if marks and not 1 <= marks[0] <= marks[-1] <= rounds:
        raise UsageError(f"expected rounds from 1 to {rounds}, got {marks}", field="checkpoints")
    size = 8 * rounds * seeds * sum(mask.size for mask in game.feasible)
    if keep and size > MAX_SNAPSHOT_BYTES:
        raise BudgetError(
            f"the strategies of {rounds} rounds and {seeds} seeds need {size / 2**30:.1f} GiB; "
            "ask for fewer, or for keep=False with checkpoints"
        )
    return _Run(game, learner, rounds, seeds, types, opponents, rng_seed, marks, keep).play()


class _Run:
    """The state of a run: one row a copy, seed-major, for each player."""

    def __init__(
        self,
        game: BayesianGame,
        learner: Learner,
        rounds: int,
        seeds: int,
        types: str,
        opponents: str,
        rng_seed: int,
        checkpoints: tuple[int, ...],
        keep: bool,
    ) -> None:
        self.game, self.learner, self.rounds, self.seeds = game, learner, rounds, seeds
        self.types, self.opponents, self.checkpoints, self.keep = types, opponents, checkpoints, keep
        self.n = game.n_players
        self.rngs = [np.random.default_rng([rng_seed, b]) for b in range(seeds)]
        self.counts, self.horizon, self.totals, self.updates, self.now = [], [], [], [], []
        self.last_action = [self._last(mask) for mask in game.feasible]
        for i, mask in enumerate(game.feasible):
            visits = game.marginal(i) * rounds if types == "sampled" else np.full(len(mask), float(rounds))
            self.counts.append(np.tile(mask.sum(axis=1), seeds))
            self.horizon.append(np.tile(visits, seeds))
            self.totals.append(np.tile(np.where(mask, 0.0, -np.inf), (seeds, 1)))
            self.updates.append(np.zeros(seeds * len(mask), dtype=np.int64))
            self.now.append(self._respond(i, slice(None)))
        self.payoffs = [_Payoffs(game, i, learner.payoff_scale) for i in range(self.n)]

    @staticmethod
    def _last(mask: Any) -> IntArray:
        """The last feasible action at each type: where a number just below 1 must not fall off the end."""
        return np.asarray(mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1))

    def _respond(self, i: int, rows: Any) -> FloatArray:
        return self.learner.strategy(
            self.totals[i][rows], self.updates[i][rows], self.counts[i][rows], self.horizon[i][rows]
        )

    def play(self) -> LearnerRun:
        game, shape = self.game, [(self.seeds, *mask.shape) for mask in self.game.feasible]
        kept = tuple(np.empty((self.seeds, self.rounds, *mask.shape)) for mask in game.feasible) if self.keep else None
        joint = np.zeros((self.seeds, *game.shape)) if self.checkpoints else None
        averages, updates_at = {}, {}
        drawn = self.types == "sampled" and self.opponents == "sampled"
        seen = [np.empty((self.seeds, self.rounds, self.n), dtype=np.int16) for _ in range(2)] if drawn else None
        start = 0
        for stop in self._stops():
            if kept is None:
                chunk = tuple(np.empty((self.seeds, stop - start, *mask.shape)) for mask in game.feasible)
            else:
                chunk = tuple(x[:, start:stop] for x in kept)
            self._chunk(chunk, None if seen is None else [array[:, start:stop] for array in seen])
            if joint is not None:
                joint += _joint_sums(chunk, self.n)
            start = stop
            if joint is not None and stop in self.checkpoints:
                averages[stop] = joint / stop
                updates_at[stop] = tuple(u.reshape(s[:2]).copy() for u, s in zip(self.updates, shape, strict=True))
        return LearnerRun(
            kept,
            tuple(x.reshape(s) for x, s in zip(self.now, shape, strict=True)),
            tuple(total.argmax(axis=1).reshape(s[:2]) for total, s in zip(self.totals, shape, strict=True)),
            tuple(u.reshape(s[:2]) for u, s in zip(self.updates, shape, strict=True)),
            self.checkpoints,
            averages,
            updates_at,
            seen[0] if seen else None,
            seen[1] if seen else None,
        )

    def _stops(self) -> list[int]:
        """Ends of chunks: short enough for memory, and at every checkpoint."""
        bytes_a_round = 8 * self.seeds * sum(mask.size for mask in self.game.feasible)
        step = max(1, min(_CHUNK_ROUNDS, _CHUNK_BYTES // bytes_a_round))
        return sorted({*range(step, self.rounds, step), *self.checkpoints, self.rounds})

    def _chunk(self, chunk: tuple[FloatArray, ...], seen: list[Any] | None) -> None:
        rounds = chunk[0].shape[1]
        if self.types == "expected" and self.opponents == "expected":
            for t in range(rounds):
                self._note(chunk, t)
                self._learn_all(self._mixed())
            return
        numbers = np.stack([rng.random((rounds, 1 + self.n)) for rng in self.rngs], axis=1)  # (rounds, B, 1 + n)
        if self.types == "expected":
            for t in range(rounds):
                self._note(chunk, t)
                self._learn_all(self._sampled_everywhere(numbers[t]))
            return
        prior = self.game.prior.ravel()
        flat = np.searchsorted(np.cumsum(prior), numbers[..., 0], side="right")
        flat = np.minimum(flat, np.flatnonzero(prior)[-1])
        drawn = np.unravel_index(flat, self.game.type_shape)
        rows = [np.arange(self.seeds) * k + d for k, d in zip(self.game.type_shape, drawn, strict=True)]
        ends = [last[d] for last, d in zip(self.last_action, drawn, strict=True)]
        bases = [payoff.base(drawn) for payoff in self.payoffs]
        if seen is not None:
            seen[0][...] = np.stack(drawn, axis=-1).transpose(1, 0, 2)
        for t in range(rounds):
            self._note(chunk, t)
            here = [row[t] for row in rows]
            mixed = [x[row] for x, row in zip(self.now, here, strict=True)]
            if self.opponents == "sampled":
                played = [
                    np.minimum((x.cumsum(axis=1) <= numbers[t, :, 1 + i, None]).sum(axis=1), ends[i][t])
                    for i, x in enumerate(mixed)
                ]
                if seen is not None:
                    for i, a in enumerate(played):
                        seen[1][:, t, i] = a
                gains = [payoff.against(base[t], played) for payoff, base in zip(self.payoffs, bases, strict=True)]
            else:
                gains = [payoff.expected(base[t], mixed) for payoff, base in zip(self.payoffs, bases, strict=True)]
            for i, row in enumerate(here):
                self.totals[i][row] += gains[i]
                self.updates[i][row] += 1
                self.now[i][row] = self._respond(i, row)

    def _note(self, chunk: tuple[FloatArray, ...], t: int) -> None:
        for kept, x in zip(chunk, self.now, strict=True):
            kept[:, t] = x.reshape(kept.shape[0], *kept.shape[2:])

    def _mixed(self) -> list[FloatArray]:
        return [x.reshape(self.seeds, *mask.shape) for x, mask in zip(self.now, self.game.feasible, strict=True)]

    def _sampled_everywhere(self, numbers: FloatArray) -> list[FloatArray]:
        """One pure strategy a player and seed, as 0-1 strategies."""
        out = []
        for i, x in enumerate(self._mixed()):
            chosen = (x.cumsum(axis=2) <= numbers[:, 1 + i, None, None]).sum(axis=2)
            out.append(np.eye(x.shape[2])[np.minimum(chosen, self.last_action[i])])
        return out

    def _learn_all(self, strategies: list[FloatArray]) -> None:
        for i, payoff in enumerate(self.payoffs):
            gains = payoff.interim(strategies)
            self.totals[i] += gains.reshape(self.totals[i].shape)
            self.updates[i] += np.tile(payoff.known, self.seeds)
        for i in range(self.n):
            self.now[i] = self._respond(i, slice(None))


class _Payoffs:
    """One player's payoffs over the scale, laid out so that a round reads one row: its payoff for each own action."""

    def __init__(self, game: BayesianGame, i: int, scale: float) -> None:
        n = game.n_players
        self.game, self.i, self.n, self.scale = game, i, n, scale
        moved = np.moveaxis(game.payoffs[i] / scale, n + i, -1)
        self.table = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
        steps, step = [], 1
        for length in reversed(moved.shape[:-1]):
            steps.append(0 if length == 1 else step)
            step *= length
        steps.reverse()
        self.type_steps, self.action_steps = steps[:n], steps[n:]
        self.others = [j for j in range(n) if j != i]
        self.shape = game.action_shape
        self.known = (game.marginal(i) > 0).astype(np.int64)
        self._interim: Callable[[list[FloatArray]], FloatArray] | None = None

    def base(self, types: Sequence[Any]) -> Any:
        """Row numbers at given types and everyone else's action 0."""
        return sum((t * step for t, step in zip(types, self.type_steps, strict=True)), start=np.zeros_like(types[0]))

    def against(self, base: IntArray, played: list[IntArray]) -> FloatArray:
        """Payoff for each own action against sampled actions, shape (B, |A_i|) or (B, 1)."""
        rows = base
        for j, step in zip(self.others, self.action_steps, strict=True):
            if step:
                rows = rows + played[j] * step
        return self.table[rows]

    def expected(self, base: IntArray, mixed: list[FloatArray]) -> FloatArray:
        """Payoff for each own action against mixed strategies at the drawn types, shape (B, |A_i|) or (B, 1)."""
        rows, weights = base[:, None], np.ones((len(base), 1))
        for j, step in zip(self.others, self.action_steps, strict=True):
            if step:
                rows = (rows[:, :, None] + np.arange(self.shape[j]) * step).reshape(len(base), -1)
                weights = (weights[:, :, None] * mixed[j][:, None]).reshape(len(base), -1)
        return np.einsum("br,bra->ba", weights, self.table[rows])

    def interim(self, strategies: list[FloatArray]) -> FloatArray:
        """Expected payoff of each own type and action against strategies (B, |T_j|, |A_j|), shape (B, |T_i|, |A_i|)."""
        if self._interim is None:
            self._interim = self._contraction()
        return self._interim(strategies)

    def _contraction(self) -> Callable[[list[FloatArray]], FloatArray]:
        game, n, i = self.game, self.n, self.i
        types, actions = axis_letters(n)
        payoff = game.payoffs[i] / self.scale
        needed = [j for j in range(n) if payoff.shape[n + j] > 1]
        weighted = game.conditional(i).reshape(game.type_shape + (1,) * n) * payoff
        weighted = weighted.reshape(*game.type_shape, *(payoff.shape[n + j] for j in needed))
        mixers = [j for j in needed if j != i]
        inputs = [types + "".join(actions[j] for j in needed), *(f"y{types[j]}{actions[j]}" for j in mixers)]
        own = actions[i] if i in needed else ""
        formula = f"{','.join(inputs)}->{'y' if mixers else ''}{types[i]}{own}"
        path: Any = None

        def contract(strategies: list[FloatArray]) -> FloatArray:
            nonlocal path
            operands = [weighted, *(strategies[j] for j in mixers)]
            if path is None:
                path = np.einsum_path(formula, *operands, optimize="optimal")[0]
            found = np.einsum(formula, *operands, optimize=path)
            found = found if own else found[..., None]
            return np.broadcast_to(found, (len(strategies[i]), *strategies[i].shape[1:]))

        return contract


def _joint_sums(chunk: tuple[FloatArray, ...], n: int) -> FloatArray:
    """Sum over rounds of the product of strategies, shape (B, types.., actions..)."""
    types, actions = axis_letters(n)
    terms = ",".join(f"yz{t}{a}" for t, a in zip(types, actions, strict=True))
    return np.einsum(f"{terms}->y{types}{actions}", *chunk, optimize=True)


def regret_bound(
    game: BayesianGame,
    learner: MultiplicativeWeights,
    rounds: int,
    *,
    delta: float,
    updates: Sequence[Any],
    types: str,
    opponents: str | None = None,
    checkpoints: int = 1,
    horizon: int | None = None,
) -> list[FloatArray]:
    """Right-hand sides of theory T7: what the average play's interim regrets stay below, payoff units.

    With anything sampled they hold with probability at least ``1 - delta`` for all rows and checkpoints at once;
    with expected types and opponents always.

    Args:
        game: the game.
        learner: the rule.
        rounds: T, the rounds averaged over.
        delta: allowed probability of failure.
        updates: N of each copy after those rounds, shape (.., |T_i|) for each player (`LearnerRun.updates`).
        types, opponents: as in `run_learners`; ``opponents`` is taken to be as ``types`` when left out.
        checkpoints: how many checkpoints share the ``delta``.
        horizon: rounds of the whole run, to which a ``tuned`` rate was tuned; ``rounds`` when left out.

    Returns:
        For each player an array like ``updates``; infinite for types of probability 0.
    """
    if not 0 < delta < 1:
        raise UsageError(f"expected a probability strictly between 0 and 1, got {delta}", field="delta")
    opponents = opponents or types
    rows = sum(int(mask[game.marginal(i) > 0].sum()) for i, mask in enumerate(game.feasible))
    log = math.log(rows * checkpoints / delta)
    out = []
    for i, mask in enumerate(game.feasible):
        actions, own, span = mask.sum(axis=1), game.marginal(i), game.payoff_range(i)
        visits = np.asarray(updates[i], dtype=float)
        # rounds that matter to a copy: p_i T when types are drawn, T otherwise
        share = own if types == "sampled" else np.ones_like(own)
        regret = _total_regret(learner, visits, actions, share * (horizon or rounds), span / learner.payoff_scale)
        with np.errstate(divide="ignore", invalid="ignore"):
            bound = regret / (share * rounds)
            if types == "sampled":
                bound = bound + np.sqrt(2 * log / (own * rounds)) + (1 + own) * log / (3 * own * rounds)
            elif opponents == "sampled":
                bound = bound + math.sqrt(2 * log / rounds)
        bound = np.where(actions == 1, 0.0, span * bound)  # a copy with one action cannot regret it
        out.append(np.where(own > 0, bound, np.inf))
    return out


def _total_regret(
    learner: MultiplicativeWeights, visits: FloatArray, actions: Any, horizon: FloatArray, ratio: float
) -> FloatArray:
    """Largest total regret after some updates, payoffs scaled to [0, 1]; ``ratio`` scales the rate with them."""
    if ratio == 0:
        return np.zeros(np.broadcast_shapes(visits.shape, actions.shape))
    if learner.rate == "anytime":
        # ln K / eta_N + sum over t of eta_t / 8, with sum of 1/sqrt(t) <= 2 sqrt(N)
        return np.sqrt(visits * np.log(actions)) * (0.5 / ratio + 0.5 * ratio)
    eta = ratio * learner.eta(np.zeros_like(horizon), actions, horizon)
    return np.log(actions) / eta + eta * visits / 8.0
