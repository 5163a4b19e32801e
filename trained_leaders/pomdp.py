"""The Stackelberg POMDP (theory T8) as a lock-step batch of outer episodes. Numpy only.

An outer episode is a response phase, in which followers learn against the episode's committed table and the leader
earns nothing, and a reward phase, in which the frozen followers play and the leader earns. The actor sees the base
game's observation only; everything else is shown to the critic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import SettingError
from ..verify.play import independent
from .responses import READOUTS, BatchGames, Floats, Hedge, expected_payoffs, gaps, play_all_cells, read, values
from .settings import Followers, Setting
from .settings.setting import check_legal

RESPONSE, REWARD = 0, 1


@dataclass(frozen=True)
class FirstVisits:
    """The decisions of a batch: the first time each (episode, table, observation) was asked, and the state then.

    Args:
        episode, table, observation: indices, shape (K,); `table` is 0, or the phase when tables are per phase.
        states: what the critic sees, shape (K, state_size).
    """

    episode: NDArray[np.int64]
    table: NDArray[np.int64]
    observation: NDArray[np.int64]
    states: Floats


@dataclass(frozen=True)
class Episodes:
    """A finished batch of B outer episodes.

    Args:
        returns: sum of rewards (gamma = 1), setting's units, shape (B,).
        visited: observations asked in each phase, shape (B, 2, n_obs).
        last: final mixed strategies, (B, |T_i|, |A_i|) for each follower.
        leading: most weighted actions after the last update, ties to the lowest index, (B, |T_i|) for each follower.
        average: time average of play, shape (B, types.., actions..).
        frozen: sigma(a | types) of the reward phase's readout, same shape.
        gaps: the followers' gap under `frozen` (theory T3), payoff units, shape (B,).
        updates: how often each (follower, type) learned, (B, |T_i|).
        first_visits: None unless asked for.
    """

    returns: Floats
    visited: NDArray[np.bool_]
    last: tuple[Floats, ...]
    leading: tuple[NDArray[np.int64], ...]
    average: Floats
    frozen: Floats
    gaps: Floats
    updates: tuple[NDArray[np.int64], ...]
    first_visits: FirstVisits | None


@dataclass(frozen=True)
class StackelbergPOMDP:
    """The environment of the leader's learning problem.

    Args:
        setting: the base game.
        followers: updates per response phase, learning rate, sampled or expected types and opponents.
        reward_plays: R, plays of the reward phase; each pays w / R. 0 pays the exact expectation instead.
        readout: how followers play when frozen: "empirical" (a past round drawn uniformly), "last" or "argmax".
        simulate: "play" unfolds every play and every counterfactual play of the base game step by step; "lookup"
            plays each (types, actions) once a table and looks results up: the same numbers, faster.
        phase_visible: an ablation that breaks the commitment: tables have shape (B, 2, ..), one for each phase.

    With sampled types and opponents, episode b draws from `numpy.random.default_rng([rng_seed, b])`: in each round
    one uniform for the joint type (C order of the prior), then one for each follower's action.
    """

    setting: Setting
    followers: Followers
    reward_plays: int = 0
    readout: str = "argmax"
    simulate: str = "lookup"
    phase_visible: bool = False

    def __post_init__(self) -> None:
        if self.readout not in READOUTS:
            raise SettingError(f"readout must be one of {', '.join(READOUTS)}, got {self.readout!r}")
        if self.simulate not in ("play", "lookup"):
            raise SettingError(f"simulate must be 'play' or 'lookup', got {self.simulate!r}")
        if self.reward_plays < 0:
            raise SettingError(f"reward_plays must be at least 0, got {self.reward_plays}")
        if (self.followers.types, self.followers.opponents) == ("expected", "sampled"):
            raise SettingError("expected types need expected opponents")

    @property
    def state_size(self) -> int:
        """Length of the critic's state vector."""
        n_obs, n_actions = self.setting.legal.shape
        own = sum(len(p.types) * len(p.actions) for p in self.setting.players)
        drawn = sum(len(p.types) + len(p.actions) for p in self.setting.players)
        return 2 + own + drawn + n_obs + n_obs * n_actions

    def run(
        self, tables: NDArray[Any], *, rng_seed: int = 0, record: bool = False, streams: NDArray[np.int64] | None = None
    ) -> Episodes:
        """Play B outer episodes to their end.

        Args:
            tables: what the leader commits to, one entry an episode; with a phase axis second if `phase_visible`.
            rng_seed: see the class.
            streams: the b of each episode's random numbers, shape (B,); 0..B-1 if not given. Equal ones are common
                random numbers.
            record: keep the critic's state at every first visit (not in exact expectation, where nothing is drawn).
        """
        tables = np.asarray(tables)
        phases = [tables[:, 0], tables[:, 1]] if self.phase_visible else [tables, tables]
        for committed in phases:
            check_legal(self.setting, committed)
        run = _Run(self, phases, rng_seed, record, streams)
        run.response_phase()
        returns = run.reward_phase()
        return Episodes(
            returns=returns,
            visited=np.stack(run.visited, axis=1),
            last=tuple(run.learners.strategies()),
            leading=tuple(run.learners.argmax()),
            average=run.average / self.followers.updates,
            frozen=run.frozen,
            gaps=gaps(run.games(REWARD), run.frozen),
            updates=tuple(run.learners.updates),
            first_visits=run.decisions(),
        )


class _Run:
    """The moving parts of one batch."""

    def __init__(
        self,
        env: StackelbergPOMDP,
        phases: list[NDArray[Any]],
        rng_seed: int,
        record: bool,
        streams: NDArray[np.int64] | None,
    ) -> None:
        self.env, self.phases, self.record = env, phases, record
        setting, self.size = env.setting, len(phases[0])
        self.n = len(setting.players)
        self.type_shape = tuple(len(p.types) for p in setting.players)
        self.action_shape = tuple(len(p.actions) for p in setting.players)
        self.expected = env.followers.types == "expected"
        self.every = np.arange(self.size)
        self.learners = Hedge(
            self.size, self.type_shape, self.action_shape, epsilon=env.followers.epsilon, scale=setting.payoff_scale
        )
        self.average = np.zeros((self.size, *self.type_shape, *self.action_shape))
        self.visited = [np.zeros((self.size, len(setting.observations)), dtype=bool) for _ in range(2)]
        self._games: list[BatchGames | None] = [None, None]
        self._found: list[tuple[NDArray[np.int64], int, NDArray[np.int64], Floats]] = []
        prior = setting.prior.astype(float).ravel()
        self._cumulative, self._last_cell = np.cumsum(prior), int(np.flatnonzero(prior)[-1])
        self._generators: list[np.random.Generator] = []
        if not self.expected:
            chosen = range(self.size) if streams is None else streams.tolist()
            self._generators = [np.random.default_rng([rng_seed, b]) for b in chosen]

    # --- the base game ---

    def games(self, phase: int) -> BatchGames:
        """Every cell played once under the phase's tables; shared when both phases have the same tables."""
        if self._games[phase] is None:
            same = self.phases[0] is self.phases[1] and self._games[1 - phase] is not None
            self._games[phase] = (
                self._games[1 - phase] if same else play_all_cells(self.env.setting, self.phases[phase])
            )
        found = self._games[phase]
        assert found is not None
        return found

    def play(
        self, phase: int, types: NDArray[np.int64], actions: NDArray[np.int64]
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """One play in each episode: follower payoffs (B, n), leader's (B,), observations asked (B, n_obs)."""
        if self.env.simulate == "play":
            outcome = self.env.setting.play(self.phases[phase], types, actions)
            return outcome.followers, outcome.leader, outcome.visited(len(self.env.setting.observations))
        games = self.games(phase)
        cell = (self.every, *types.T, *actions.T)
        return np.stack([p[cell] for p in games.payoffs], axis=1), games.leader[cell], games.visits[cell]

    # --- response phase ---

    def response_phase(self) -> None:
        """E rounds; the leader earns nothing, its decisions count."""
        rounds = self.env.followers.updates
        if self.expected:
            games = self.games(RESPONSE)
            for _ in range(rounds):
                now = self.learners.strategies()
                self.average += independent(now)
                for i in range(self.n):
                    self.learners.learn(i, expected_payoffs(games, i, now))
            self.visited[RESPONSE] |= self._met_with_mass(games)
            return
        uniforms = np.stack([g.random((rounds, 1 + self.n)) for g in self._generators])
        for t in range(rounds):
            self._sampled_round(uniforms[:, t], t)

    def _sampled_round(self, uniforms: Floats, t: int) -> None:
        now = self.learners.strategies()
        self.average += independent(now)
        types = self._types(uniforms[:, 0])
        mixed = [strategy[self.every, types[:, i]] for i, strategy in enumerate(now)]
        actions = np.stack([_draw(m, uniforms[:, 1 + i]) for i, m in enumerate(mixed)], axis=1)
        asked = np.zeros_like(self.visited[RESPONSE])
        feedback = []
        for i in range(self.n):
            paid = np.empty((self.size, self.action_shape[i]))
            for action in range(self.action_shape[i]):
                # Counterfactual feedback is a play of the base game in which follower i does this instead.
                instead = actions.copy()
                instead[:, i] = action
                payoffs, _, met = self.play(RESPONSE, types, instead)
                paid[:, action] = payoffs[:, i]
                asked |= met
            feedback.append(paid)
        if self.env.followers.opponents == "expected":
            feedback = [self._against_mixed(i, types, mixed) for i in range(self.n)]
        self._note(RESPONSE, t, asked & ~self.visited[RESPONSE], types, actions)
        self.visited[RESPONSE] |= asked
        for i in range(self.n):
            self.learners.learn_at(i, types[:, i], feedback[i])

    def _against_mixed(self, i: int, types: NDArray[np.int64], mixed: list[Floats]) -> Floats:
        """Follower i's payoffs at the drawn types, expected over the opponents' actions, shape (B, |A_i|)."""
        games = self.games(RESPONSE)
        at = games.payoffs[i][(self.every, *types.T)]
        letters = games.letters[1]
        others = [k for k in range(self.n) if k != i]
        terms = "".join(f",z{letters[k]}" for k in others)
        return np.einsum(f"z{letters}{terms}->z{letters[i]}", at, *(mixed[k] for k in others))

    # --- reward phase ---

    def reward_phase(self) -> Floats:
        """R plays of frozen followers, or the exact expectation when R = 0."""
        plays = self.env.reward_plays
        self.frozen = self._frozen()
        if plays == 0 or self.expected:
            games = self.games(REWARD)
            sigma = self.frozen
            weight = games.prior.reshape(games.type_shape + (1,) * self.n) * sigma
            met = self._met(games, weight > 0)
            self._note(REWARD, 0, met & ~self._known(REWARD))
            self.visited[REWARD] |= met
            return values(games, sigma)
        sigma = self.frozen.reshape(self.size, -1, int(np.prod(self.action_shape)))
        returns = np.zeros(self.size)
        uniforms = np.stack([g.random((plays, 2)) for g in self._generators])
        for t in range(plays):
            cell = self._type_cells(uniforms[:, t, 0])
            types = np.stack(np.unravel_index(cell, self.type_shape), axis=1)
            drawn = _draw(sigma[self.every, cell], uniforms[:, t, 1])
            actions = np.stack(np.unravel_index(drawn, self.action_shape), axis=1)
            _, leader, met = self.play(REWARD, types, actions)
            self._note(REWARD, t, met & ~self._known(REWARD), types, actions)
            self.visited[REWARD] |= met
            returns += leader / plays
        return returns

    def _frozen(self) -> Floats:
        """sigma(a | types) of the frozen followers; a uniformly drawn past round is the time average."""
        if self.env.readout == "empirical":
            return self.average / self.env.followers.updates
        return read(self.games(REWARD), self.learners, self.env.readout)

    def _met_with_mass(self, games: BatchGames) -> NDArray[np.bool_]:
        mass = games.prior.reshape(games.type_shape + (1,) * self.n) > 0
        return self._met(games, np.broadcast_to(mass, games.leader.shape))

    def _met(self, games: BatchGames, cells: NDArray[np.bool_]) -> NDArray[np.bool_]:
        met = games.visits & cells[..., None]
        return np.any(met.reshape(self.size, -1, met.shape[-1]), axis=1)

    # --- draws, states, decisions ---

    def _type_cells(self, uniforms: Floats) -> NDArray[np.int64]:
        cells = np.searchsorted(self._cumulative, uniforms, side="right")
        return np.minimum(cells, self._last_cell)

    def _types(self, uniforms: Floats) -> NDArray[np.int64]:
        return np.stack(np.unravel_index(self._type_cells(uniforms), self.type_shape), axis=1)

    def _known(self, phase: int) -> NDArray[np.bool_]:
        """Observations whose action is fixed already, shape (B, n_obs)."""
        return self.visited[phase] if self.env.phase_visible else self.visited[RESPONSE] | self.visited[REWARD]

    def _note(
        self,
        phase: int,
        t: int,
        fresh: NDArray[np.bool_],
        types: NDArray[np.int64] | None = None,
        actions: NDArray[np.int64] | None = None,
    ) -> None:
        """Record the decisions taken now, with the state they are taken in.

        The state is all there is: phase, counter, followers' strategies, the play under way (0 where a reward in
        exact expectation draws none), the table so far, the observation.
        """
        if not self.record or not fresh.any():
            return
        episode, observation = np.nonzero(fresh)
        total = self.env.followers.updates if phase == RESPONSE else max(1, self.env.reward_plays)
        clock = np.tile([float(phase), t / total], (len(episode), 1))
        inside = [s[episode].reshape(len(episode), -1) for s in self.learners.strategies()]
        drawn = [_indicator(types, i, s, episode) for i, s in enumerate(self.type_shape)]
        said = [_indicator(actions, i, s, episode) for i, s in enumerate(self.action_shape)]
        known = self._known(phase)[episode]
        rows = one_hot_rows(self.phases[phase][episode], self.env.setting) * known[..., None]
        asked = (observation[:, None] == np.arange(fresh.shape[1])).astype(float)
        states = np.concatenate([clock, *inside, *drawn, *said, rows.reshape(len(episode), -1), asked], axis=1)
        self._found.append((episode, phase, observation, states))

    def decisions(self) -> FirstVisits | None:
        if not self.record:
            return None
        table = [np.full(len(e), p if self.env.phase_visible else 0) for e, p, _, _ in self._found]
        parts = [[f[0] for f in self._found], table, [f[2] for f in self._found], [f[3] for f in self._found]]
        if not self._found:
            none = np.zeros(0, dtype=np.int64)
            return FirstVisits(none, none, none, np.zeros((0, self.env.state_size)))
        return FirstVisits(*(np.concatenate(part) for part in parts))


def one_hot_rows(tables: NDArray[Any], setting: Setting) -> Floats:
    """Tables in either form as rows of probabilities, shape (B, n_obs, n_actions)."""
    if tables.ndim == 3:
        return tables
    return (tables[..., None] == np.arange(setting.legal.shape[1])).astype(float)


def _indicator(drawn: NDArray[np.int64] | None, i: int, width: int, episode: NDArray[np.int64]) -> Floats:
    if drawn is None:
        return np.zeros((len(episode), width))
    return (drawn[episode, i][:, None] == np.arange(width)).astype(float)


def _draw(probabilities: Floats, uniforms: Floats) -> NDArray[np.int64]:
    """The cell of the cumulative distribution that each uniform falls in, shape (B,)."""
    return (uniforms[:, None] >= np.cumsum(probabilities, axis=1)[:, :-1]).sum(axis=1)
