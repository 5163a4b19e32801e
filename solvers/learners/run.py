"""Learners at play: rounds of a Bayesian game, many seeds and games at once, in expectation or sampled (theory T7).

Sampled dynamics run compiled; the plain numpy path does the same with the same random numbers, and everything in
expectation is contraction. Full counterfactual feedback, except for bandit rules: after a round a copy learns what
each of its actions would have paid.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...verify.errors import BudgetError, UsageError
from ...verify.game import BayesianGame, FloatArray, axis_letters
from ...verify.play import IntArray, MixturePlay, PlayLog
from ...verify.regret import interim_regrets
from .rules import Exponential, Learner

_CHUNK_ROUNDS = 8_192
_CHUNK_BYTES = 1 << 26
_NOISE = 0x6E6F697365  # third part of the seed of a noisy rule's own numbers
# microseconds: a plain round (and each seed in it), and loading numba with the compiled loop
_ROUND_COST, _LOADING_COST = 100, 1_500_000
_GUIDE = 256
_NUMBERS = 1 << 15
"""Random numbers drawn at once: few enough to stay in a processor's cache."""
_LARGEST_STEP = 4.0
"""Rate times payoff range up to which weights go by factors: 64 of them stay within a double's range."""
MAX_SNAPSHOT_BYTES = 1 << 31

READOUTS = ("empirical", "last", "argmax")
MODES = ("sampled", "expected")


@dataclass(frozen=True, eq=False)
class LearnerRun:
    """A finished response of B seeds over T rounds; runs of several games lie one after another along B.

    Attributes:
        strategies: for each player the mixed strategies used in rounds 1..T, shape (B, T, |T_i|, |A_i|); None if
            they were not kept.
        last: the mixed strategies after T updates, shape (B, |T_i|, |A_i|) for each player.
        leading: the most weighted action of each copy after T updates, ties to the lowest index, shape (B, |T_i|).
        updates: how often each copy was updated, shape (B, |T_i|) for each player.
        checkpoints: rounds at which averages were taken.
        averages: for each checkpoint the average play sigma so far, shape (B, types.., actions..).
        updates_at: for each checkpoint the updates so far, as `updates`.
        types, actions: what was drawn, shape (B, T, n); None where nothing was, or was not kept.
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
            raise UsageError("only a run with sampled types and sampled opponents, kept, has a log")
        return PlayLog(self.types[seed], self.actions[seed])

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
    rng_seed: int | Sequence[int] = 0,
    checkpoints: Sequence[int] = (),
    keep: bool = True,
    draws: bool | None = None,
    compiled: bool | None = None,
    threads: int = 1,
) -> LearnerRun:
    """Lets one learner per (player, own type) play the game for some rounds (theory T7).

    With ``types="sampled"`` a joint type is drawn each round and only the drawn copies learn; with ``expected`` every
    copy learns each round from its expected payoffs. ``opponents`` says whether those are against sampled actions or
    against mixed strategies; with expected types and sampled opponents one number a player picks the action at each
    of its types. Seed b draws from ``default_rng([rng_seed, b])``: each round one number for the joint type (C order,
    cumulative prior), then one a player for its action (cumulative strategy). A bandit rule is told only what its own
    sampled action paid, so that for it both must be sampled.

    Args:
        game: the game.
        learner: the rule of all copies.
        rounds: T.
        seeds: B independent repetitions, computed side by side.
        types, opponents: ``sampled`` or ``expected``.
        rng_seed: first part, or parts, of the seeds.
        checkpoints: rounds at which the average play so far is taken.
        keep: keep the strategies of all rounds.
        draws: keep what was drawn in all rounds; as ``keep`` when left out. With neither, memory does not grow with T.
        compiled: run sampled dynamics compiled, or plain: the same numbers up to rounding of the last digit. Left
            out, runs that are done before numba is loaded are plain.
        threads: threads that share the seeds of a compiled run; 0 is one a processor.

    Raises:
        UsageError: options out of range, or a bandit rule in expectation.
        BudgetError: strategies and draws that would need more than 2 GiB.

    Example:
        >>> from spverify.verify.game import BayesianGame
        >>> from spverify.solvers.learners import MultiplicativeWeights
        >>> game = BayesianGame([1], [[[1, 0, 0]]])
        >>> run = run_learners(game, MultiplicativeWeights(0.1), 100)
        >>> run.leading[0][0].tolist(), run.readout("argmax").strategies[0].tolist()
        ([0], [[[1.0, 0.0, 0.0]]])
    """
    parts = [rng_seed] if isinstance(rng_seed, int) else list(rng_seed)
    run = _Run([game], learner, rounds, seeds, [parts], types, opponents, checkpoints, keep, draws, compiled, threads)
    return run.play()


def run_games(
    games: Sequence[BayesianGame],
    learner: Learner,
    rounds: int,
    *,
    seeds: int = 1,
    rng_seed: int = 0,
    checkpoints: Sequence[int] = (),
    keep: bool = False,
    draws: bool | None = None,
    compiled: bool | None = None,
    threads: int = 1,
) -> LearnerRun:
    """`run_learners` on many games of one shape and one set of masks at once, types and opponents sampled.

    Returns:
        One run whose seeds lie game after game: entry ``k * seeds + b`` is what
        ``run_learners(games[k], learner, rounds, rng_seed=[rng_seed, k])`` gives at seed b.

    Raises:
        UsageError: games of different shapes or masks, payoffs that broadcast differently, options out of range.
        BudgetError: strategies that would need more than 2 GiB.
    """
    if not games:
        raise UsageError("expected at least one game")
    first = games[0]
    for game in games[1:]:
        same = game.shape == first.shape and all(
            np.array_equal(a, b) for a, b in zip(game.feasible, first.feasible, strict=True)
        )
        if not same or [u.shape for u in game.payoffs] != [u.shape for u in first.payoffs]:
            raise UsageError("expected games of one shape, with the same masks and payoff axes")
    seed_parts = [[rng_seed, k] for k in range(len(games))]
    modes = ("sampled", "sampled")
    run = _Run(list(games), learner, rounds, seeds, seed_parts, *modes, checkpoints, keep, draws, compiled, threads)
    return run.play()


class _Run:
    """Checks a run's options, cuts it into chunks, and gathers what the engine leaves."""

    def __init__(
        self,
        games: list[BayesianGame],
        learner: Learner,
        rounds: int,
        seeds: int,
        seed_parts: list[list[int]],
        types: str,
        opponents: str,
        checkpoints: Sequence[int],
        keep: bool,
        draws: bool | None,
        compiled: bool | None,
        threads: int,
    ) -> None:
        for name, mode in (("types", types), ("opponents", opponents)):
            if mode not in MODES:
                raise UsageError(f"expected sampled or expected, got {mode!r}", field=name)
        if rounds < 1 or seeds < 1:
            raise UsageError(f"expected at least one round and one seed, got {rounds} and {seeds}")
        self.drawn = types == "sampled" and opponents == "sampled"
        if learner.bandit and not self.drawn:
            raise UsageError(f"{learner.title} learns from its own sampled payoff: types and opponents must be sampled")
        self.checkpoints = tuple(sorted(set(checkpoints)))
        if self.checkpoints and not 1 <= self.checkpoints[0] <= self.checkpoints[-1] <= rounds:
            raise UsageError(f"expected rounds from 1 to {rounds}, got {self.checkpoints}", field="checkpoints")
        self.layout = _Layout(games[0])
        self.batch = len(games) * seeds
        self.game, self.rounds, self.keep = games[0], rounds, keep
        self.watch = self.drawn and (keep if draws is None else draws)
        if self.watch and max(games[0].shape) > 1 << 15:
            raise BudgetError(
                "draws are kept for games of at most 32768 types or actions a player; ask for draws=False"
            )
        size = rounds * self.batch * (8 * self.layout.cells * keep + 4 * self.layout.n * self.watch)
        if size > MAX_SNAPSHOT_BYTES:
            raise BudgetError(
                f"what {rounds} rounds and {self.batch} seeds play needs {size / 2**30:.1f} GiB; "
                "ask for fewer rounds or seeds"
            )
        rngs = [np.random.default_rng([*parts, b]) for parts in seed_parts for b in range(seeds)]
        noises = None
        if learner.noisy:
            noises = [np.random.default_rng([*parts, b, _NOISE]) for parts in seed_parts for b in range(seeds)]
        visits = [
            [game.marginal(i) * rounds if types == "sampled" else np.full(k, float(rounds)) for game in games]
            for i, k in enumerate(self.layout.types)
        ]
        if compiled is None:  # by the arguments alone, so that the same question always has the same digits
            compiled = rounds * (_ROUND_COST * len(games) + self.batch) > _LOADING_COST
        self.engines: list[_Plain | _Compiled]
        if self.drawn and compiled:
            self.engines = [_Compiled(games, self.layout, learner, seeds, visits, rngs, noises, threads)]
        else:
            self.engines = [
                _Plain(
                    game,
                    self.layout,
                    learner,
                    [rows[k] for rows in visits],
                    rngs[k * seeds : (k + 1) * seeds],
                    None if noises is None else noises[k * seeds : (k + 1) * seeds],
                    types,
                    opponents,
                )
                for k, game in enumerate(games)
            ]

    def play(self) -> LearnerRun:
        layout, shape = self.layout, (self.batch, self.rounds)
        kept = np.empty((*shape, layout.cells)) if self.keep else None
        seen = [np.empty((*shape, layout.n), dtype=np.int16) for _ in range(2)] if self.watch else None
        joint = np.zeros((self.batch, *self.game.shape)) if self.checkpoints else None
        averages, updates_at = {}, {}
        start = 0
        for stop in self._stops():
            chunk = None
            if kept is not None:
                chunk = kept[:, start:stop]
            elif joint is not None:
                chunk = np.empty((self.batch, stop - start, layout.cells))
            first = 0
            for engine in self.engines:
                rows = slice(first, first + engine.batch)
                drawn = None if seen is None else [array[rows, start:stop] for array in seen]
                engine.chunk(stop - start, None if chunk is None else chunk[rows], drawn)
                first += engine.batch
            start = stop
            if joint is not None and chunk is not None:
                joint += _joint_sums(layout.split(chunk), self.game)
                if stop in self.checkpoints:
                    averages[stop] = joint / stop
                    updates_at[stop] = self._gathered("updates")
        return LearnerRun(
            None if kept is None else layout.split(kept),
            self._gathered("strategies"),
            tuple(scores.argmax(axis=-1) for scores in self._gathered("scores")),
            self._gathered("updates"),
            self.checkpoints,
            averages,
            updates_at,
            seen[0] if seen else None,
            seen[1] if seen else None,
        )

    def _gathered(self, what: str) -> tuple[Any, ...]:
        """Something of all engines, for each player, seeds one after another."""
        found = [getattr(engine, what)() for engine in self.engines]
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))

    def _stops(self) -> list[int]:
        """Ends of chunks: short enough for memory, and at every checkpoint."""
        step = _CHUNK_ROUNDS
        if self.keep or self.checkpoints:
            step = max(1, min(step, _CHUNK_BYTES // (8 * self.batch * self.layout.cells)))
        return sorted({*range(step, self.rounds, step), *self.checkpoints, self.rounds})


class _Layout:
    """Where copies and their actions stand when all of them lie in one row: player by player, type by type."""

    def __init__(self, game: BayesianGame) -> None:
        self.n = game.n_players
        self.types, self.actions = game.type_shape, game.action_shape
        sizes = [t * a for t, a in zip(self.types, self.actions, strict=True)]
        self.first_cell = np.cumsum([0, *sizes[:-1]])
        self.first_copy = np.cumsum([0, *self.types[:-1]])
        self.cells, self.copies = sum(sizes), sum(self.types)
        self.masks = game.feasible
        # the last feasible action at each type: where a number just below 1 must not fall off the end
        self.last_action = [mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1) for mask in game.feasible]

    def split(self, flat: npt.NDArray) -> tuple[npt.NDArray, ...]:
        """Views (.., |T_i|, |A_i|) of arrays (.., cells)."""
        out = []
        for start, t, a in zip(self.first_cell, self.types, self.actions, strict=True):
            out.append(flat[..., start : start + t * a].reshape(*flat.shape[:-1], t, a))
        return tuple(out)

    def split_copies(self, flat: npt.NDArray) -> tuple[npt.NDArray, ...]:
        """Copies (.., |T_i|) of arrays (.., copies)."""
        return tuple(flat[..., start : start + t].copy() for start, t in zip(self.first_copy, self.types, strict=True))


def _gumbel(uniform: FloatArray) -> FloatArray:
    with np.errstate(divide="ignore"):
        return -np.log(-np.log(uniform))


class _Plain:
    """The rounds in numpy: for each player memory (seeds, own types, slots, actions)."""

    def __init__(
        self,
        game: BayesianGame,
        layout: _Layout,
        learner: Learner,
        visits: list[FloatArray],
        rngs: list[np.random.Generator],
        noises: list[np.random.Generator] | None,
        types: str,
        opponents: str,
    ) -> None:
        self.game, self.layout, self.learner, self.rngs, self.noises = game, layout, learner, rngs, noises
        self.types, self.opponents, self.n = types, opponents, layout.n
        self.batch = len(rngs)
        self.seeds = np.arange(self.batch)
        self.counts = [mask.sum(axis=1) for mask in layout.masks]
        self.horizon = visits
        self.payoffs = [_Payoffs(game, i, learner.payoff_scale) for i in range(self.n)]
        self.memory, self.updates_now, self.now = [], [], []
        noise = self._noise(layout.cells)
        for i, mask in enumerate(layout.masks):
            memory = np.zeros((self.batch, len(mask), learner.slots, mask.shape[1]))
            memory[:, :, 0] = np.where(mask, 0.0, -np.inf)
            self.memory.append(memory)
            self.updates_now.append(np.zeros((self.batch, len(mask)), dtype=np.int64))
            self.now.append(np.empty((self.batch, *mask.shape)))
            self._respond_all(i, None if noise is None else layout.split(noise)[i])

    def strategies(self) -> list[FloatArray]:
        """Current mixed strategies, (seeds, own types, actions) for each player."""
        return self.now

    def updates(self) -> list[IntArray]:
        """Updates so far, (seeds, own types) for each player."""
        return [counts.copy() for counts in self.updates_now]

    def scores(self) -> list[FloatArray]:
        """What the most weighted action is most of, as `strategies`."""
        rows = [memory.reshape(-1, *memory.shape[2:]) for memory in self.memory]
        return [self.learner.scores(flat).reshape(x.shape) for flat, x in zip(rows, self.now, strict=True)]

    def _noise(self, width: int) -> FloatArray | None:
        if self.noises is None:
            return None
        return _gumbel(np.stack([rng.random(width) for rng in self.noises]))

    def _respond_all(self, i: int, noise: FloatArray | None) -> None:
        memory, x = self.memory[i], self.now[i]
        eta = np.broadcast_to(self.learner.eta(self.updates_now[i], self.counts[i], self.horizon[i]), x.shape[:2])
        rows = memory.reshape(-1, *memory.shape[2:])
        flat = None if noise is None else noise.reshape(len(rows), -1)
        self.now[i] = self.learner.respond(rows, eta.ravel(), flat).reshape(x.shape)

    def chunk(self, rounds: int, kept: FloatArray | None, seen: list[Any] | None) -> None:
        """Some rounds; ``kept`` (seeds, rounds, cells) takes the strategies, ``seen`` what was drawn."""
        views = None if kept is None else self.layout.split(kept)
        if self.types == "expected":
            self._expected(rounds, views)
        else:
            self._sampled(rounds, views, seen)

    def _note(self, views: tuple[FloatArray, ...] | None, t: int) -> None:
        if views is not None:
            for kept, x in zip(views, self.now, strict=True):
                kept[:, t] = x

    def _expected(self, rounds: int, views: tuple[FloatArray, ...] | None) -> None:
        numbers = None
        if self.opponents == "sampled":
            numbers = np.stack([rng.random((rounds, 1 + self.n)) for rng in self.rngs], axis=1)
        for t in range(rounds):
            self._note(views, t)
            met = self.now if numbers is None else self._sampled_everywhere(numbers[t])
            gains = [payoff.interim(met) for payoff in self.payoffs]
            noise = self._noise(self.layout.cells)
            for i, payoff in enumerate(self.payoffs):
                memory, used = self.memory[i], self.now[i]
                rows = memory.reshape(-1, *memory.shape[2:])
                self.learner.learn(rows, gains[i].reshape(len(rows), -1), used.reshape(len(rows), -1), None)
                self.updates_now[i] += payoff.known
                self._respond_all(i, None if noise is None else self.layout.split(noise)[i])

    def _sampled_everywhere(self, numbers: FloatArray) -> list[FloatArray]:
        """One pure strategy a player and seed, as 0-1 strategies."""
        out = []
        for i, x in enumerate(self.now):
            chosen = (x.cumsum(axis=2) <= numbers[:, 1 + i, None, None]).sum(axis=2)
            out.append(np.eye(x.shape[2])[np.minimum(chosen, self.layout.last_action[i])])
        return out

    def _sampled(self, rounds: int, views: tuple[FloatArray, ...] | None, seen: list[Any] | None) -> None:
        layout, learner, seeds = self.layout, self.learner, self.seeds
        numbers = np.stack([rng.random((rounds, 1 + self.n)) for rng in self.rngs], axis=1)  # (rounds, B, 1 + n)
        prior = self.game.prior.ravel()
        flat = np.searchsorted(np.cumsum(prior), numbers[..., 0], side="right")
        flat = np.minimum(flat, np.flatnonzero(prior)[-1])
        drawn = np.unravel_index(flat, layout.types)
        ends = [last[d] for last, d in zip(layout.last_action, drawn, strict=True)]
        bases = [payoff.base(drawn) for payoff in self.payoffs]
        if seen is not None:
            seen[0][...] = np.stack(drawn, axis=-1).transpose(1, 0, 2)
        for t in range(rounds):
            self._note(views, t)
            here = [(seeds, d[t]) for d in drawn]
            mixed = [x[at] for x, at in zip(self.now, here, strict=True)]
            played: list[Any] = [None] * self.n
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
            noise = self._noise(sum(layout.actions))
            start = 0
            for i, at in enumerate(here):
                memory = self.memory[i][at]
                told = self.payoffs[i].largest - gains[i] if learner.bandit else gains[i]
                learner.learn(memory, told, mixed[i], played[i])
                self.memory[i][at] = memory
                self.updates_now[i][at] += 1
                eta = learner.eta(self.updates_now[i][at], self.counts[i][at[1]], self.horizon[i][at[1]])
                stop = start + layout.actions[i]
                self.now[i][at] = learner.respond(memory, eta, None if noise is None else noise[:, start:stop])
                start = stop


class _Compiled:
    """The rounds of `compiled.play`: everything of all players in one row a seed."""

    def __init__(
        self,
        games: list[BayesianGame],
        layout: _Layout,
        learner: Learner,
        seeds: int,
        visits: list[list[FloatArray]],
        rngs: list[np.random.Generator],
        noises: list[np.random.Generator] | None,
        threads: int,
    ) -> None:
        self.layout, self.learner, self.rngs, self.noises = layout, learner, rngs, noises
        self.batch = len(rngs)
        self.threads = min(threads or os.cpu_count() or 1, self.batch)
        self.game_of = np.repeat(np.arange(len(games)), seeds)
        # games are of one shape, so where things stand in the first one's tables is where they stand in all
        sides = [_Payoffs(games[0], i, learner.payoff_scale) for i in range(layout.n)]
        tables = [self._table(games, i) for i in range(layout.n)]
        self.tables = np.concatenate([table.reshape(len(games), -1) for table in tables], axis=1)
        self.largest = np.zeros((len(games), layout.n))
        if learner.bandit:
            self.largest[:] = [[_largest(game, i) / learner.payoff_scale for i in range(layout.n)] for game in games]
        # where the payoffs of a joint type start in a table, and how far each action leads on from there
        cell_types = np.stack(np.unravel_index(np.arange(games[0].prior.size), layout.types), axis=1)
        starts = np.cumsum([0, *(table[0].size for table in tables[:-1])])
        type_steps = np.array([side.type_steps for side in sides])
        actions = np.array(layout.actions)
        self.cell_types, self.actions = _places(cell_types), _places(actions)
        self.cell_rows = _places(starts + cell_types @ type_steps.T * actions)
        self.action_steps = _places(np.array([side.all_action_steps for side in sides]) * actions[:, None])
        self.first_copy, self.first_cell = _places(layout.first_copy), _places(layout.first_cell)
        priors = np.stack([game.prior.ravel() for game in games])
        self.cumulative = np.cumsum(priors, axis=1)
        last_cell = priors.shape[1] - 1 - (priors[:, ::-1] > 0).argmax(axis=1)
        # the first cell that a number from k / size on can mean: where the search for it starts
        steps = np.arange(_GUIDE) / _GUIDE
        guide = np.stack([np.searchsorted(row, steps, side="right") for row in self.cumulative])
        self.guide, self.last_cell = _places(np.minimum(guide, last_cell[:, None])), _places(last_cell)
        self.mask = np.concatenate([mask.ravel() for mask in layout.masks])
        self.last_action = _places(np.concatenate(layout.last_action))
        rates = [learner.coefficient(mask.sum(axis=1), np.stack(visits[i])) for i, mask in enumerate(layout.masks)]
        self.coefficients = np.concatenate(rates, axis=1)
        self.memory = np.tile(np.where(self.mask, 0.0, -np.inf), (self.batch, 1))
        self.latest = np.zeros((self.batch, layout.cells))
        self.counts = np.zeros((self.batch, layout.copies), dtype=np.int64)
        self.now = self._begin(games, visits)
        self.sums = np.ones((self.batch, layout.copies))
        self.bases = self.now.copy()
        # not for a bandit rule: it divides by its own weights, which makes much of a last digit
        self.by_factors = np.zeros(len(games), dtype=bool)
        self.factors = np.zeros((len(games), 1))
        if isinstance(learner, Exponential) and not (learner.anytime or learner.noisy or learner.bandit):
            self._find_factors(tables, [side.own_type for side in sides], rates)

    def _table(self, games: list[BayesianGame], i: int) -> FloatArray:
        """Player i's payoffs in all games as `_Payoffs.table` has them, one for each own action."""
        n, width = self.layout.n, self.layout.actions[i]
        payoffs = np.stack([game.payoffs[i] for game in games]) / self.learner.payoff_scale
        moved = np.moveaxis(payoffs, 1 + n + i, -1)
        table = moved.reshape(len(games), -1, moved.shape[-1])
        return np.ascontiguousarray(np.broadcast_to(table, (*table.shape[:2], width)))

    def _find_factors(
        self, tables: list[FloatArray], own_types: list[IntArray | None], rates: list[FloatArray]
    ) -> None:
        """What a payoff multiplies weights by, laid out as the tables, for games where that is one steady number.

        Payoffs are taken from the middle of their range first, which changes no strategy and keeps weights in range.
        """
        steady, parts = np.ones(len(tables[0]), dtype=bool), []
        for table, own, rate in zip(tables, own_types, rates, strict=True):
            low, high = table.min(axis=(1, 2)), table.max(axis=(1, 2))
            steady &= (high - low) * rate.max(axis=1) <= _LARGEST_STEP
            if own is None:
                steady &= np.ptp(rate, axis=1) == 0
            parts.append((table, (low + high) / 2, rate[:, :1] if own is None else rate[:, own]))
        self.by_factors = steady
        if steady.any():
            factors = [
                np.exp(np.where(steady[:, None], eta, 0.0)[..., None] * (table - middle[:, None, None]))
                for table, middle, eta in parts
            ]
            self.factors = np.concatenate([part.reshape(len(steady), -1) for part in factors], axis=1)
        else:
            self.factors = np.zeros((len(steady), 1))

    def _begin(self, games: list[BayesianGame], visits: list[list[FloatArray]]) -> FloatArray:
        """The strategies before anything was learned; the plain path's, which need no compiled twin."""
        noise = self._noise(self.layout.cells, 1)
        first, seeds = [], self.batch // len(games)
        for i, (mask, memory) in enumerate(zip(self.layout.masks, self.layout.split(self.memory), strict=True)):
            state = np.zeros((self.batch, len(mask), self.learner.slots, mask.shape[1]))
            state[:, :, 0] = memory
            horizon = np.repeat(np.stack(visits[i]), seeds, axis=0)
            eta = np.broadcast_to(self.learner.eta(0, mask.sum(axis=1), horizon), state.shape[:2])
            draws = None if noise is None else self.layout.split(noise[:, 0])[i].reshape(-1, mask.shape[1])
            flat = state.reshape(-1, *state.shape[2:])
            first.append(self.learner.respond(flat, eta.ravel(), draws).reshape(self.batch, -1))
        return np.concatenate(first, axis=1)

    def strategies(self) -> tuple[FloatArray, ...]:
        """As `_Plain.strategies`."""
        sums = self.layout.split_copies(self.sums)
        return tuple(x / total[..., None] for x, total in zip(self.layout.split(self.now), sums, strict=True))

    def updates(self) -> tuple[IntArray, ...]:
        """As `_Plain.updates`."""
        return self.layout.split_copies(self.counts)

    def scores(self) -> tuple[FloatArray, ...]:
        """As `_Plain.scores`."""
        both = np.stack([self.memory, self.latest], axis=1)
        return self.layout.split(self.learner.scores(both))

    def _noise(self, width: int, rounds: int, seeds: slice = slice(None)) -> FloatArray | None:
        if self.noises is None:
            return None
        return _gumbel(np.stack([rng.random((rounds, width)) for rng in self.noises[seeds]]))

    def chunk(self, rounds: int, kept: FloatArray | None, seen: list[Any] | None) -> None:
        """As `_Plain.chunk`."""
        from .compiled import play  # numba takes a moment to load, and only sampled runs need it

        layout = self.layout
        # fresh arrays in C order, so that numba compiles the loop for one layout only
        strategies = np.empty((self.batch, 0 if kept is None else rounds, layout.cells))
        met = [np.empty((self.batch, 0 if seen is None else rounds, layout.n), dtype=np.int16) for _ in range(2)]

        def part(low: int, high: int) -> None:
            group = max(1, _NUMBERS // (rounds * (1 + layout.n)))
            numbers = np.empty((min(group, high - low), rounds, 1 + layout.n))
            for first in range(low, high, group):
                last = min(high, first + group)
                for b in range(first, last):
                    self.rngs[b].random(out=numbers[b - first])
                noise = self._noise(sum(layout.actions), rounds, slice(first, last))
                play(
                    self.learner.code,
                    self.learner.anytime,
                    self.by_factors,
                    first,
                    last,
                    self.game_of,
                    self.cell_types,
                    self.cell_rows,
                    self.actions,
                    self.first_copy,
                    self.first_cell,
                    self.action_steps,
                    self.tables,
                    self.factors,
                    self.largest,
                    self.cumulative,
                    self.guide,
                    self.last_cell,
                    self.mask,
                    self.last_action,
                    self.coefficients,
                    self.memory,
                    self.latest,
                    self.bases,
                    self.now,
                    self.sums,
                    self.counts,
                    numbers,
                    np.zeros((1, 1, 1)) if noise is None else noise,
                    strategies,
                    met[0],
                    met[1],
                )

        edges = np.linspace(0, self.batch, self.threads + 1).astype(int)
        if self.threads == 1:
            part(0, self.batch)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(part, edges[:-1].tolist(), edges[1:].tolist()))
        if kept is not None:
            kept[...] = strategies
        if seen is not None:
            seen[0][...], seen[1][...] = met


def _places(values: npt.NDArray) -> npt.NDArray[np.uint64]:
    """Places in arrays as `compiled.play` takes them."""
    return values.astype(np.uint64)


def _largest(game: BayesianGame, i: int) -> float:
    """Player i's largest payoff over feasible cells, payoff units."""
    payoff, cells = np.broadcast_arrays(game.payoffs[i], game.feasible_cells)
    return float(payoff[cells].max())


class _Payoffs:
    """One player's payoffs over the scale, laid out so that a round reads one row: its payoff for each own action."""

    def __init__(self, game: BayesianGame, i: int, scale: float) -> None:
        n = game.n_players
        self.game, self.i, self.n, self.scale = game, i, n, scale
        moved = np.moveaxis(game.payoffs[i] / scale, n + i, -1)
        self.own_type: IntArray | None = None  # own type of each row of the table, where it depends on it
        if moved.shape[i] > 1 or game.type_shape[i] == 1:
            own = np.arange(moved.shape[i]).reshape([-1 if k == i else 1 for k in range(2 * n - 1)])
            self.own_type = np.broadcast_to(own, moved.shape[:-1]).ravel()
        self.table = np.ascontiguousarray(moved).reshape(-1, moved.shape[-1])
        steps, step = [], 1
        for length in reversed(moved.shape[:-1]):
            steps.append(0 if length == 1 else step)
            step *= length
        steps.reverse()
        self.type_steps, self.action_steps = steps[:n], steps[n:]
        self.all_action_steps = [*self.action_steps[:i], 0, *self.action_steps[i:]]
        self.largest = _largest(game, i) / scale
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


def _joint_sums(chunk: tuple[FloatArray, ...], game: BayesianGame) -> FloatArray:
    """Sum over rounds of the product of strategies, shape (B, types.., actions..); matrix products over the rounds."""
    n, (batch, rounds) = len(chunk), chunk[0].shape[:2]
    if n == 1:
        return chunk[0].sum(axis=1)
    *others, last = (np.ascontiguousarray(x).reshape(batch, rounds, -1) for x in chunk)
    axes = [k for t, a in zip(game.type_shape, game.action_shape, strict=True) for k in (t, a)]
    out = np.empty((batch, int(np.prod(axes))))
    step = max(1, _CHUNK_BYTES // (8 * int(np.prod([x.shape[2] for x in others]))))
    for b in range(batch):
        total = np.zeros((out.shape[1] // last.shape[2], last.shape[2]))
        for start in range(0, rounds, step):
            product = others[0][b, start : start + step]
            for x in others[1:]:
                product = (product[:, :, None] * x[b, start : start + step, None, :]).reshape(len(product), -1)
            total += product.T @ last[b, start : start + step]
        out[b] = total.ravel()
    order = [0, *(1 + 2 * i for i in range(n)), *(2 + 2 * i for i in range(n))]
    return out.reshape(batch, *axes).transpose(order)
