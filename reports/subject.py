"""Who is audited: the leader as the child process understood it, its world, and how its followers learn.

Everything the file says about itself is data to be checked; this module only reads it, with the setting's own defaults
where the file is silent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..solvers.learners import MODES
from ..trained_leaders.settings import Setting
from ..trained_leaders.tabulate import Tabulation
from ..verify.errors import LeaderFileError
from ..verify.game import BayesianGame
from ..verify.plain import number_text
from .deterministic import BestLeader, best_deterministic_leader
from .replay import READOUTS, Followers, Replays

if TYPE_CHECKING:
    from .audit import Options

MAX_CELLS = 40_000_000
"""Strategies kept in memory for a replay; longer horizons get fewer seeds."""

MAX_ROUNDS = 1_000_000
"""Longest replay; a file may name any horizon, and an audit must end."""

LEAST_RATE, LARGEST_RATE = 1e-6, 1e6

DEFAULT_READOUT = "argmax"


@dataclass(frozen=True)
class Subject:
    """One leader under audit.

    Attributes:
        name: what the report calls it.
        path: the file.
        leader: what the child process made of it.
        setting: the world, made anew in this process.
        followers: how the followers learn: as in training, else the setting's default.
        readout: the readout the leader was trained for; argmax where the file does not say.
        threshold: largest gap allowed, payoff units, exact.
        factors: the horizons that can be replayed, of those the user asked for.
        seeds: replays that fit in memory at the longest horizon.
    """

    name: str
    path: Path
    leader: Tabulation
    options: Options
    setting: Setting = field(repr=False)
    followers: Followers
    readout: str
    threshold: Fraction
    factors: tuple[int, ...]
    seeds: int

    @cached_property
    def best_table(self) -> BestLeader | None:
        """The best deterministic leader, where this one is deterministic and those can be searched."""
        return best_deterministic_leader(self.setting) if self.leader.leader_action == "pure" else None

    @classmethod
    def of(cls, name: str, path: Path, leader: Tabulation, options: Options) -> Subject:
        """The subject of a tabulated leader.

        Raises:
            LeaderFileError: a training record that names followers or a readout which cannot be.
        """
        world = leader.world
        stated, default = leader.training.get("followers", {}), world.followers
        followers = Followers(
            *(stated.get(key, getattr(default, key)) for key in ("updates", "epsilon", "types", "opponents"))
        )
        readout = leader.training.get("readout", DEFAULT_READOUT)
        for place, fits, expected in (
            ("followers.updates", 1 <= followers.updates <= MAX_ROUNDS, f"1 to {MAX_ROUNDS} updates"),
            ("followers.epsilon", LEAST_RATE <= followers.epsilon <= LARGEST_RATE, "a rate from 1e-6 to 1e6"),
            ("followers.types", followers.types in MODES, "sampled or expected"),
            ("followers.opponents", followers.opponents in MODES, "sampled or expected"),
            ("readout", readout in READOUTS, "empirical, last or argmax"),
        ):
            if not fits:
                found = readout if place == "readout" else getattr(followers, place.partition(".")[2])
                raise LeaderFileError(f"expected {expected}, got {found!r}", path=path, field=f"training.{place}")
        factors = tuple(
            factor for factor in options.horizons(followers.updates) if factor * followers.updates <= MAX_ROUNDS
        )
        cells = sum(len(p.types) * len(p.actions) for p in world.players) * followers.updates * factors[-1]
        threshold = options.epsilon * Fraction(world.payoff_scale)
        seeds = max(1, min(options.seeds, MAX_CELLS // cells))
        return cls(name, path, leader, options, world, followers, readout, threshold, factors, seeds)

    @property
    def game(self) -> BayesianGame:
        """The followers' exact game under this leader."""
        return self.leader.game

    def replays(self, *, seeds: int | None = None, rng_seed: int | None = None, updates: int | None = None) -> Replays:
        """The audit's replays; with other numbers, those behind the trainer's claims, at one horizon."""
        own = self.followers
        if updates is not None:
            own = Followers(updates, own.epsilon, own.types, own.opponents)
        return Replays(
            self.game,
            own,
            float(self.setting.payoff_scale),
            self.factors if updates is None else (1,),
            self.seeds if seeds is None else seeds,
            self.options.rng_seed if rng_seed is None else rng_seed,
        )

    def claim(self, kind: str, readout: str) -> Fraction | None:
        """A figure that the trainer stored (``value`` or ``gap``), or None."""
        stored = self.leader.claims.get(kind, {}).get(readout)
        return Fraction(stored) if stored is not None and math.isfinite(stored) else None

    def to_document(self) -> dict[str, Any]:
        """The audit's ``subject``."""
        leader, options = self.leader, self.options
        return {
            "name": self.name,
            "sha256": leader.sha256,
            "bytes": leader.size,
            "setting": {"name": leader.setting, "parameters": leader.parameters},
            "policy": {"kind": leader.policy_kind, "leader_action": leader.leader_action},
            "players": [
                {"name": p.name, "types": list(p.types), "actions": list(p.actions)} for p in self.game.players
            ],
            "game_sha256": self.game.sha256,
            "payoff_scale": float(self.setting.payoff_scale),
            "followers": {
                "rule": "multiplicative weights",
                "updates": self.followers.updates,
                "epsilon": self.followers.epsilon,
                "types": self.followers.types,
                "opponents": self.followers.opponents,
            },
            "readout": self.readout,
            "threshold": float(self.threshold),
            "threshold_exact": number_text(self.threshold),
            "options": {
                "epsilon": number_text(options.epsilon),
                "seeds": self.seeds,
                "factors": list(self.factors),
                "rng_seed": options.rng_seed,
                "within": number_text(options.within),
            },
            "training": leader.training,
            "claims": leader.claims,
        }
