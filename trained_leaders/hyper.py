"""Every hyper-parameter of training in one dataclass, with defaults by the size of the setting. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from difflib import get_close_matches
from math import isfinite
from typing import Any

from ..verify.errors import UsageError
from .dynamic import BEST_REPLY, exact_replies
from .responses import READOUTS
from .settings import DynamicSetting, Followers, Setting

REWARD_PLAYS = 32
MODES = ("ppo", "episode", "basic", "mappo", "unrolled", "search", "structured", "enumerate")
TABLE_MODES = ("search", "structured", "enumerate")  # they look for one pure table
# What can be left out or added in step-level training (theory T8), and the paper's choice.
ABLATIONS: dict[str, Any] = {
    "critic_view": "full",
    "response_steps": True,
    "phase_visible": False,
    "followers_start": "reset",
    "response_rewards": False,
}
# Fields of `Hyper` that not every mode reads.
_NETWORKS = ("ppo", "episode", "basic", "mappo")
READ_BY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("hidden", "activation", "clip", "epochs", "minibatch", "entropy"), _NETWORKS),
    **dict.fromkeys(("lr", "grid"), (*_NETWORKS, "unrolled")),
    **dict.fromkeys(("elite", "smoothing", "floor"), ("search",)),
    "critic": ("ppo", "episode", "basic"),
    "trace": ("mappo",),
}


@dataclass(frozen=True)
class Hyper:
    """How a leader is trained.

    Args:
        mode: "ppo", episode-level policy gradient on the robust objective; "episode", the same on the plain return
            of the episode, as in the paper (it may rely on ties and on followers who have not converged); "basic",
            the paper's ablation that hides the response phase from the learner (it becomes myopic); "search",
            cross-entropy search over tables, without a network; "structured", for sequential prices with messages:
            codes ranked by a proven bound, tables that attain it, varied; "mappo", step-level PPO as in the paper;
            "unrolled", gradient through the expected response; "enumerate", every table where they are few.
        leader_action: "pure" or "mixture".
        objective: "robust", the least over horizons of value - gap_weight * gap; or "episode", the plain return.
        readout: how the followers of the reward phase play: "argmax", "last" or "empirical"; in a dynamic setting
            "argmax" (frozen Q-learners) or "best-reply" (an exact reply, ties against the leader).
        updates, epsilon, types, opponents: the followers (theory T7).
        horizons: multiples of `updates` that the robust objective looks at.
        settled: the robust objective also asks for the last mixed strategies at the longest horizon.
        phases: of the sampled response phases that a table is chosen by, the robust objective takes "worst" or "mean".
        slack: a start ends when its objective is this share of the payoff scale below a proven bound.
        gap_weight: price of one unit of follower regret in the robust objective.
        reward_plays: plays of the reward phase; 0 takes the exact expectation.
        iterations, batch, restarts: updates of the networks in one start, episodes for each, independent starts.
            Starts end early when a proven bound of the setting is reached.
        hidden, activation, lr, clip, epochs, minibatch, entropy: networks and PPO; `entropy` falls to 0 linearly.
        critic: a critic on the full state; otherwise the mean return is the baseline.
        critic_view: in mode "mappo", what the critic sees: "full" (followers' strategies, types, actions, phase) or
            "actor" (the observation only, plain PPO).
        response_steps: in mode "mappo", whether decisions of the response phase are learned from (theory T8).
        phase_visible: in mode "mappo", whether the actor sees the phase: it then commits to nothing, and what it does
            while it is paid is what is stored.
        followers_start: in mode "mappo", "reset" (followers begin every outer episode undecided) or "carried" (they
            go on from the episode before).
        response_rewards: in mode "mappo", whether the plays of the response phase pay like those of the reward phase.
        trace: in mode "mappo", the lambda of generalised advantages.
        grid: mixtures are committed to in multiples of 1 / grid.
        elite, smoothing, floor: cross-entropy search.
        evaluation_runs: response phases behind each reported figure.
        device: in mode "unrolled", "cpu" or "cuda": where the population's responses are computed.
    """

    mode: str = "ppo"
    leader_action: str = "pure"
    objective: str = "robust"
    readout: str = "argmax"
    updates: int = 100
    epsilon: float = 0.1
    types: str = "sampled"
    opponents: str = "sampled"
    horizons: tuple[int, ...] = (1, 10, 100)
    settled: bool = True
    phases: str = "worst"
    slack: float = 0.002
    gap_weight: float = 1.0
    reward_plays: int = 0
    iterations: int = 60
    batch: int = 128
    restarts: int = 4
    hidden: tuple[int, ...] = (32,)
    activation: str = "relu"
    lr: float = 0.01
    clip: float = 0.2
    epochs: int = 4
    minibatch: int = 1024
    entropy: float = 0.02
    critic: bool = True
    critic_view: str = "full"
    response_steps: bool = True
    phase_visible: bool = False
    followers_start: str = "reset"
    response_rewards: bool = False
    trace: float = 0.95
    grid: int = 1000
    elite: float = 0.05
    smoothing: float = 0.7
    floor: float = 0.01
    evaluation_runs: int = 16
    device: str = "cpu"

    def __post_init__(self) -> None:
        choices: dict[str, Sequence[str]] = {
            "mode": MODES,
            "leader_action": ("pure", "mixture"),
            "objective": ("robust", "episode"),
            "readout": (*READOUTS, BEST_REPLY),
            "phases": ("worst", "mean"),
            "critic_view": ("full", "actor"),
            "followers_start": ("reset", "carried"),
            "device": ("cpu", "cuda"),
            "activation": ("relu", "tanh"),
        }
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise UsageError(f"{field} must be one of {', '.join(allowed)}, got {getattr(self, field)!r}")
        for field in ("updates", "iterations", "batch", "restarts", "epochs", "minibatch", "grid", "evaluation_runs"):
            if getattr(self, field) < 1:
                raise UsageError(f"{field} must be at least 1, got {getattr(self, field)}")
        for field in ("epsilon", "lr", "clip", "floor"):
            if not getattr(self, field) > 0:
                raise UsageError(f"{field} must be positive, got {getattr(self, field)}")
        for field in ("gap_weight", "entropy", "reward_plays"):
            if getattr(self, field) < 0:
                raise UsageError(f"{field} must not be negative, got {getattr(self, field)}")
        for field in ("elite", "smoothing", "trace"):
            if not 0 <= getattr(self, field) <= 1:
                raise UsageError(f"{field} must be from 0 to 1, got {getattr(self, field)}")
        for field in ("horizons", "hidden"):
            if any(size < 1 for size in getattr(self, field)) or not self.horizons:
                raise UsageError(f"{field} must be whole numbers of at least 1, got {list(getattr(self, field))}")
        if self.mode == "mappo" and (self.reward_plays < 1 or self.readout == "empirical" or self.types != "sampled"):
            raise UsageError("mode 'mappo' needs reward plays, sampled types and the readout argmax or last")
        if self.mode in TABLE_MODES and self.leader_action != "pure":
            raise UsageError(f"mode {self.mode!r} looks for pure tables; train mixtures with mode 'ppo'")
        for field, plain in ABLATIONS.items():
            if self.mode != "mappo" and getattr(self, field) != plain:
                raise UsageError(f"{field} is a matter of mode 'mappo', and mode {self.mode!r} has no such choice")
        if self.device != "cpu" and self.mode != "unrolled":
            raise UsageError(
                f"mode {self.mode!r} has nothing for a GPU to do; device {self.device!r} is for 'unrolled'"
            )

    @property
    def commits(self) -> bool:
        """Whether the leader does the same while followers learn and while it is paid."""
        return self.mode != "basic" and not self.phase_visible

    @property
    def followers(self) -> Followers:
        return Followers(self.updates, self.epsilon, self.types, self.opponents)

    def document(self) -> dict[str, Any]:
        """Plain values for the training record."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def changed(hyper: Hyper, changes: Mapping[str, Any]) -> Hyper:
    """Hyper-parameters with some of them changed.

    Raises:
        UsageError: an unknown one, one that the mode does not read, or a value it cannot have.

    Example:
        >>> changed(Hyper(mode="search"), {"batch": 10}).batch
        10
        >>> changed(Hyper(mode="search"), {"lr": 0.1})
        Traceback (most recent call last):
        ...
        spverify.verify.errors.UsageError: mode 'search' has no lr; ppo, episode, basic, mappo, unrolled have
    """
    mode = changes.get("mode", hyper.mode)
    for name, value in changes.items():
        if name not in hyper.document():
            raise UsageError(f"unknown hyper-parameter {name!r}; known: {', '.join(hyper.document())}")
        readers = READ_BY.get(name, MODES)
        if mode not in readers and value != getattr(hyper, name):
            verb = "have" if len(readers) > 1 else "has"
            raise UsageError(f"mode {mode!r} has no {name}; {', '.join(readers)} {verb}")
    return replace(hyper, **changes)


def parse_hyper(texts: Mapping[str, str]) -> dict[str, Any]:
    """Fields of `Hyper` from the command line.

    Raises:
        UsageError: an unknown field, or a text that is not of its kind.

    Example:
        >>> parse_hyper({"restarts": "8", "horizons": "1,10", "response_steps": "no"})
        {'restarts': 8, 'horizons': (1, 10), 'response_steps': False}
    """
    return {name: _parsed(name, text) for name, text in texts.items()}


def _parsed(name: str, text: str) -> Any:
    defaults = asdict(Hyper())
    if name not in defaults:
        near = get_close_matches(name, defaults, n=1, cutoff=0.0)[0]
        raise UsageError(f"unknown hyper-parameter {name!r}; the nearest is {near!r}")
    kind = type(defaults[name])
    words = {"yes": True, "true": True, "no": False, "false": False}
    try:
        if kind is bool:
            return words[text.lower()]
        if kind is tuple:
            return tuple(int(part) for part in text.split(",") if part)
        value = kind(text)
        if kind is float and not isfinite(value):
            raise ValueError
        return value
    except (ValueError, KeyError):
        said = {bool: "yes or no", tuple: "whole numbers such as 1,10,100", int: "a whole number", float: "a number"}
        raise UsageError(f"hyper-parameter {name}: expected {said[kind]}, got {text!r}") from None


def default_hyper(
    setting: Setting | DynamicSetting, *, leader_action: str = "pure", mode: str = "ppo", quick: bool = False
) -> Hyper:
    """Defaults by the number of choices the leader has; `quick` trains about an eighth as long."""
    if leader_action not in setting.leader_actions:
        offer = " or ".join(setting.leader_actions)
        raise UsageError(f"{setting.name}: the leader's action must be {offer}, got {leader_action!r}")
    if isinstance(setting, DynamicSetting):
        return _dynamic_hyper(setting, mode=mode, quick=quick)
    follow = setting.followers
    hyper = Hyper(
        mode=mode,
        reward_plays=REWARD_PLAYS if mode == "mappo" else 0,
        leader_action=leader_action,
        updates=follow.updates,
        epsilon=follow.epsilon,
        types=follow.types,
        opponents=follow.opponents,
    )
    if leader_action == "mixture":
        hyper = replace(hyper, iterations=150, batch=256, restarts=2, entropy=0.0)
    elif len(setting.observations) > 4:
        hyper = replace(hyper, iterations=120, batch=512, restarts=6)
    if mode == "search":
        hyper = replace(hyper, iterations=60, batch=600, restarts=10)
    if mode == "mappo":
        hyper = replace(hyper, iterations=100, batch=32, restarts=2, lr=0.01, minibatch=4096, entropy=0.01)
    if mode == "structured":
        hyper = replace(hyper, iterations=20, batch=96, restarts=1, phases="mean", slack=0.001)
    if mode == "unrolled":
        hyper = replace(hyper, iterations=60, batch=32, restarts=6, lr=0.1)
    if mode == "enumerate":
        return _to_the_end(hyper)
    if mode in ("basic", "episode"):
        hyper = replace(hyper, objective="episode", restarts=1)
    if quick:
        hyper = replace(hyper, iterations=max(10, hyper.iterations // 4), restarts=max(1, hyper.restarts // 2))
    return hyper


def _to_the_end(hyper: Hyper) -> Hyper:
    """An enumeration ends by itself, and half of one proves nothing, quick or not."""
    return replace(hyper, iterations=2**31, batch=2048, restarts=1)


def _dynamic_hyper(setting: DynamicSetting, *, mode: str, quick: bool) -> Hyper:
    """Followers are Q-learners, so that one look at a table costs thousands of periods: batches are smaller."""
    if mode not in ("ppo", "search", "enumerate"):
        raise UsageError(
            f"{setting.name}: followers are Q-learners, train with mode ppo, search or enumerate, got {mode!r}"
        )
    exact = exact_replies(setting.unfold([0] * len(setting.observations)))
    hyper = Hyper(
        mode=mode,
        readout=BEST_REPLY if exact else "argmax",
        updates=setting.periods,
        horizons=(1,),
        settled=False,
        phases="mean",
        critic=False,
        iterations=50,
        batch=64,
        restarts=1,
        elite=0.1,
    )
    if mode == "enumerate":
        return _to_the_end(hyper)
    return replace(hyper, iterations=10, batch=32, restarts=1) if quick else hyper
