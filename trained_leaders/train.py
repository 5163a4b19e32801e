"""Training a leader: episode-level policy gradient (PPO) in the Stackelberg POMDP, read from top to bottom.

An iteration draws a batch of tables from the actor, lets followers learn against each, scores the episodes, and moves
the actor at every (episode, observation) that was asked, with the episode's score as return (engines E6). Starts are
repeated because single runs stick; what the mode of the policy is worth and what the best sampled table is worth are
kept apart.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..verify.errors import FormatError, SpverifyError, UsageError
from ..verify.formats import write_atomic
from .checkpoint import read_leader, write_leader
from .dynamic import Q_LEARNING
from .enumerate import Enumeration
from .evaluate import (
    Evaluation,
    checked_scores,
    evaluate_rows,
    evaluation_seed,
    limit_figures,
    mixed_seed,
    score_tables,
    stated_policy,
)
from .hyper import TABLE_MODES, Hyper, changed, default_hyper
from .mappo import StepPPO
from .policy import Actor, Critic, MixtureHead, PureHead, normalised
from .pomdp import REWARD, Episodes, StackelbergPOMDP
from .search import CrossEntropySearch
from .settings import DynamicSetting, Setting, World, asked_world
from .settings.imported import ImportedSetting
from .side_by_side import check_backend, map_side_by_side
from .structured import StructuredSearch
from .unrolled import UnrolledGradient

CANDIDATES = 3  # sampled tables that are looked at again, each iteration
GLANCE = 16  # response phases of a first look
ALGORITHMS = {"search": "cross-entropy search", "structured": "structured search over message codes and prices"}
ALGORITHMS |= {"mappo": "step-level PPO, critic on the state", "enumerate": "all tables, by enumeration"}
ALGORITHMS["unrolled"] = "gradient through the unrolled expected response"
Progress = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class TrainingResult:
    """A trained leader and what it came to.

    Args:
        policy, tensors: as stored in a leader file.
        table: the committed table, action indices (n_obs,) or rows (n_obs, n_actions).
        evaluation: value and gap for each readout at the training horizon.
        deployed: "mode" if the policy's mode is the leader, "best sample" if the best table drawn was better.
        mode_score, best_score: the objective's value for both, setting's units.
        iterations: iterations done, all starts together; `starts`: how many starts.
        seconds: wall time.
        optimality: see `evaluate.limit_figures`; empty for settings without message codes.
        enumerated: how many tables were looked at, where all were: none has a higher objective. 0 otherwise.
        history: one record an iteration.
    """

    setting: Setting | DynamicSetting
    hyper: Hyper
    seed: int
    policy: dict[str, Any]
    tensors: dict[str, NDArray[Any]] = field(repr=False)
    table: NDArray[Any]
    evaluation: Evaluation
    deployed: str
    mode_score: float
    best_score: float
    iterations: int
    starts: int
    seconds: float
    history: list[dict[str, Any]] = field(repr=False)
    optimality: dict[str, dict[str, str]] = field(default_factory=dict)
    enumerated: int = 0

    def training_record(self, command: str) -> dict[str, Any]:
        """The `training` part of a leader file."""
        follow = self.hyper.followers
        followers: dict[str, Any] = asdict(follow)
        rule = "multiplicative-weights"
        if isinstance(self.setting, DynamicSetting):
            rule = Q_LEARNING
            followers = {"updates": follow.updates, "rule": rule, **asdict(self.setting.learner)}
        return {
            "algorithm": f"{rule} followers; " + ALGORITHMS.get(self.hyper.mode, "episode-level PPO"),
            "mode": self.hyper.mode,
            "followers": followers,
            "seed": self.seed,
            "steps": self.iterations * self.hyper.batch,
            "seconds": round(self.seconds, 2),
            "versions": {name: version(name) for name in ("spverify", "torch", "numpy")} | {"python": python_version()},
            "horizon": follow.updates,
            "readout": self.hyper.readout,
            "hyper": self.hyper.document(),
            "command": command,
            "status": f"deployed the {self.deployed}: objective {self.mode_score:.6g} for the policy's mode, "
            f"{self.best_score:.6g} for the best sampled table, {self.starts} start(s)",
            **self.proofs,
        }

    @property
    def proofs(self) -> dict[str, Any]:
        """What training proved about the leader, as the parts of documents that say so."""
        known = {"optimality": self.optimality, "enumerated": self.enumerated}
        return {name: value for name, value in known.items() if value}

    @property
    def deployed_score(self) -> float:
        """The objective of what was deployed."""
        return self.mode_score if self.deployed == "mode" else self.best_score


class Learner(Protocol):
    """One start of a training algorithm."""

    def iterate(self, iteration: int) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, float]]:
        """One iteration: the tables tried, their scores, and figures for the log."""

    def mode(self) -> NDArray[Any]: ...

    def finished(self) -> bool: ...

    def state(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


class PolicyGradient:
    """One start of episode-level PPO."""

    def __init__(self, setting: Setting | DynamicSetting, hyper: Hyper, seed: int, start: int) -> None:
        self.setting, self.hyper = setting, hyper
        self._seeds = (seed, start)
        self._basic = hyper.mode == "basic"
        states = 1  # no critic looks at the insides of Q-learners
        if not isinstance(setting, DynamicSetting):
            states = StackelbergPOMDP(setting, hyper.followers, phase_visible=self._basic).state_size
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(seed, start))
            self.actor = Actor(setting.legal, hyper.hidden, hyper.activation)
            self.critic = Critic(states, max(hyper.hidden, default=32))
        mixture = hyper.leader_action == "mixture"
        self.head = MixtureHead(setting.legal, hyper.grid) if mixture else PureHead(setting.legal)
        parameters = [*self.actor.parameters(), *self.head.parameters(), *self.critic.parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=hyper.lr)
        self._generator = torch.Generator().manual_seed(mixed_seed(seed, start, 1))

    def iterate(self, iteration: int) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, float]]:
        hyper = self.hyper
        with torch.no_grad():
            logits = self.actor()
            # The ablation commits to nothing: what it does while followers learn and while it earns are two draws.
            raw = self.head.draw(logits, hyper.batch * (2 if self._basic else 1), self._generator)
        tables = self.head.tables(raw)
        if self._basic:
            tables = tables.reshape(hyper.batch, 2, *tables.shape[1:])
            raw = raw.reshape(hyper.batch, 2, *raw.shape[1:])[:, REWARD]
        scores, episodes = score_tables(
            self.setting, hyper, tables, rng_seed=mixed_seed(*self._seeds, 2, iteration), record=True
        )
        visits = episodes.first_visits
        if visits is None:
            episode, observation = (torch.from_numpy(k) for k in np.nonzero(episodes.visited.any(axis=1)))
            states = None
        else:
            kept = visits.table == (REWARD if self._basic else 0)
            episode, observation = torch.from_numpy(visits.episode[kept]), torch.from_numpy(visits.observation[kept])
            states = torch.from_numpy(visits.states[kept]).float() if hyper.critic else None
        centre, spread = scores.mean(), scores.std() + 1e-8
        target = torch.from_numpy((scores - centre) / spread).float()[episode]
        self._improve(raw, episode, observation, states, target, 1 - iteration / hyper.iterations)
        with torch.no_grad():
            entropy = float(self.head.entropy(self.actor()))
        return tables, scores, {"mean": float(centre), "entropy": entropy}

    def _improve(
        self,
        raw: Tensor,
        episode: Tensor,
        observation: Tensor,
        states: Tensor | None,
        target: Tensor,
        remaining: float,
    ) -> None:
        """Several epochs of clipped policy gradient on the batch's decisions."""
        hyper = self.hyper
        with torch.no_grad():
            old = self.head.log_prob(self.actor(), raw)[episode, observation]
            advantage = target - self.critic(states) if states is not None else target
            advantage = normalised(advantage)
        for _ in range(hyper.epochs):
            order = torch.randperm(len(episode), generator=self._generator)
            for part in order.split(max(hyper.minibatch, 1 + len(order) // 4)):
                logits = self.actor()
                new = self.head.log_prob(logits, raw)[episode[part], observation[part]]
                ratio = (new - old[part]).exp()
                clipped = ratio.clamp(1 - hyper.clip, 1 + hyper.clip)
                loss = -torch.minimum(ratio * advantage[part], clipped * advantage[part]).mean()
                loss = loss - hyper.entropy * remaining * self.head.entropy(logits)
                if states is not None:
                    loss = loss + 0.5 * (self.critic(states[part]) - target[part]).square().mean()
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()

    def mode(self) -> NDArray[Any]:
        with torch.no_grad():
            return self.head.mode(self.actor())

    def finished(self) -> bool:
        """A pure policy that hardly varies any more will not move."""
        with torch.no_grad():
            return self.hyper.leader_action == "pure" and float(self.head.entropy(self.actor())) < 0.01

    def state(self) -> dict[str, Any]:
        modules = {"actor": self.actor, "head": self.head, "critic": self.critic}
        copied = {k: {n: v.clone() for n, v in m.state_dict().items()} for k, m in modules.items()}
        buffer = io.BytesIO()  # a deep copy: Adam's state_dict refers to tensors that change in place
        torch.save(self.optimiser.state_dict(), buffer)
        return {**copied, "optimiser": buffer.getvalue(), "generator": self._generator.get_state()}

    def load(self, state: dict[str, Any]) -> None:
        self.actor.load_state_dict(state["actor"])
        self.head.load_state_dict(state["head"])
        self.critic.load_state_dict(state["critic"])
        self.optimiser.load_state_dict(torch.load(io.BytesIO(state["optimiser"]), weights_only=True))
        self._generator.set_state(state["generator"])


@dataclass
class _Progress:
    """Where a training run stands; everything a resumed run needs besides the learner's own state."""

    start: int = 0
    iteration: int = 0
    total: int = 0
    seconds: float = 0.0
    best_score: float = -np.inf
    best_table: NDArray[Any] | None = None
    mode_score: float = -np.inf
    mode_state: dict[str, Any] | None = None
    figures: dict[str, float] = field(default_factory=dict)  # value and largest gap of the best so far, in its check
    history: list[dict[str, Any]] = field(default_factory=list)


def train(
    setting: Setting | DynamicSetting,
    *,
    seed: int,
    hyper: Hyper,
    progress: Progress | None = None,
    log: Path | None = None,
    state_path: Path | None = None,
    resume: bool = False,
    save_every: float = 30.0,
    keep_state: bool = False,
    tensorboard: Path | None = None,
) -> TrainingResult:
    """Train one leader.

    Args:
        seed: everything random follows from it.
        progress: called after each iteration with its record.
        log: JSON lines, one record an iteration.
        state_path: where the state is kept, every `save_every` seconds and on Ctrl-C.
        resume: go on from `state_path`; the result is the same, bit for bit, as without the interruption.
        keep_state: leave the state where it is at the end, for callers who have something to write first.
        tensorboard: a folder for TensorBoard's event files.

    Raises:
        FormatError: a state made by other settings, hyper-parameters or seed.
        UsageError: TensorBoard is asked for and not installed, or a GPU and there is none.
    """
    if hyper.device == "cuda" and not torch.cuda.is_available():  # asked where it works: a cluster's workers differ
        raise UsageError("device 'cuda' was asked for, and there is no CUDA device that PyTorch can use here")
    torch.set_num_threads(1)  # tiny networks: more threads only wait for each other (engines E6)
    run = _TrainingRun(setting, seed, hyper)
    if resume and state_path is not None and state_path.exists():
        run.load(state_path)
    if log is not None:
        write_atomic(log, "".join(json.dumps(record) + "\n" for record in run.at.history))
    scalars = None if tensorboard is None else _scalars(tensorboard, run.at.total)
    saved, began, before = time.monotonic(), time.perf_counter(), run.at.seconds
    snapshot = run.state() if state_path is not None else None
    try:
        while not run.done:
            record = run.step()
            run.at.seconds = before + time.perf_counter() - began
            if log is not None:
                with log.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(record) + "\n")
            if scalars is not None:
                for name, number in record.items():
                    if isinstance(number, float):
                        scalars.add_scalar(name, number, record["total"])
            if progress is not None:
                progress(record)
            if state_path is not None:
                snapshot = run.state()
                if time.monotonic() - saved > save_every:
                    write_atomic(state_path, snapshot)
                    saved = time.monotonic()
    except KeyboardInterrupt:
        if state_path is not None and snapshot is not None:
            write_atomic(state_path, snapshot)  # the last whole iteration
        raise
    finally:
        if scalars is not None:
            scalars.close()
    result = run.result()
    if state_path is not None and not keep_state:
        state_path.unlink(missing_ok=True)
    return result


def _scalars(folder: Path, done: int) -> Any:
    """A TensorBoard writer; what a killed run wrote after its last saved state is told again."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UsageError('event files need TensorBoard: pip install "spverify[tensorboard]"') from None
    return SummaryWriter(str(folder), purge_step=done + 1)


class _TrainingRun:
    def __init__(self, setting: Setting | DynamicSetting, seed: int, hyper: Hyper) -> None:
        self.setting, self.seed, self.hyper = setting, seed, hyper
        self.at = _Progress()
        self.learner = self._new_learner()
        self.bound = proven_bound(setting, hyper)
        self.done = False

    def _new_learner(self) -> Learner:
        kinds: dict[str, Any] = {"search": CrossEntropySearch, "structured": StructuredSearch, "mappo": StepPPO}
        kinds |= {"unrolled": UnrolledGradient, "enumerate": Enumeration}
        kind = kinds.get(self.hyper.mode, PolicyGradient)
        learner: Learner = kind(self.setting, self.hyper, self.seed, self.at.start)
        return learner

    def step(self) -> dict[str, Any]:
        """One iteration; begins the next start, or ends, where this one is over."""
        at, hyper = self.at, self.hyper
        tables, scores, figures = self.learner.iterate(at.iteration)
        if hyper.commits and scores.max() > at.best_score:
            # One response phase can be lucky: a sample counts for what it is worth in several others.
            candidates = tables[np.argsort(-scores, kind="stable")[:CANDIDATES]]
            score, table = self._best_of(candidates, at.best_score)
            if score > at.best_score or at.best_table is None:
                at.best_score, at.best_table = score, table.copy()
        at.iteration += 1
        at.total += 1
        over = at.iteration >= hyper.iterations or self.learner.finished()
        if over or at.iteration % 5 == 0:
            score, _ = self._best_of(self.learner.mode()[None], at.mode_score)
            # A policy that sees the phase is not after what its mode is worth as a commitment: the last one is it.
            if score > at.mode_score or at.mode_state is None or hyper.phase_visible:
                at.mode_score, at.mode_state = score, self.learner.state()
            # A search is for one table; a policy is trained until its mode is as good.
            over = over or score >= self.bound or (hyper.mode in TABLE_MODES and at.best_score >= self.bound)
        record: dict[str, Any] = {
            "seed": self.seed,
            "start": at.start,
            "iteration": at.iteration,
            "total": at.total,
            **figures,
        }
        record |= {"best": _finite(at.best_score), "mode": _finite(at.mode_score), **at.figures}
        # How much of the work is done, at most: starts end early where a bound is reached.
        record.setdefault("share", (at.start + at.iteration / hyper.iterations) / hyper.restarts)
        at.history.append(record)
        if over:
            at.start += 1
            at.iteration = 0
            self.done = at.start >= hyper.restarts or max(at.best_score, at.mode_score) >= self.bound
            if not self.done:
                self.learner = self._new_learner()
        return record

    def _best_of(self, tables: NDArray[Any], floor: float) -> tuple[float, NDArray[Any]]:
        """The best table and its objective over CHECK response phases; over fewer if that is below `floor` already."""
        tried, _ = checked_scores(self.setting, self.hyper, tables, self.seed, GLANCE)
        table, score = tables[tried.argmax()], float(tried.max())
        if score > floor:
            scores, episodes = checked_scores(self.setting, self.hyper, table[None], self.seed)
            score = float(scores[0])
            if score > max(self.at.best_score, self.at.mode_score) and isinstance(episodes, Episodes):
                self.at.figures = {"value": float(episodes.returns.mean()), "gap": float(episodes.gaps.max())}
        return score, table

    def result(self) -> TrainingResult:
        """The leader: the best mode of all starts, or the best sampled table where that is worth more."""
        at, hyper = self.at, self.hyper
        assert at.mode_state is not None
        self.learner.load(at.mode_state)
        table, deployed, mode_score = self.learner.mode(), "mode", at.mode_score
        best_score = at.best_score if at.best_table is not None else mode_score
        if best_score > mode_score + hyper.slack * self.setting.payoff_scale and at.best_table is not None:
            table, deployed = at.best_table, "best sample"
        policy, tensors = self._stored(table)
        evaluation = evaluate_rows(
            self.setting, table, hyper.followers, runs=hyper.evaluation_runs, rng_seed=evaluation_seed(self.seed)
        )
        return TrainingResult(
            self.setting, hyper, self.seed, policy, tensors, table, evaluation, deployed, mode_score, best_score,
            at.total, at.start, at.seconds, at.history, limit_figures(self.setting, table, hyper.followers),
            self.learner.count if isinstance(self.learner, Enumeration) and self.learner.finished() else 0,
        )  # fmt: skip

    def _stored(self, table: NDArray[Any]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """The network if it says exactly `table`, having imitated it if need be; else the plain table."""
        hyper = self.hyper
        plain = stated_policy(self.setting, table)
        # A network that sees the phase is not what a leader file may hold; what it does while it is paid is a table.
        if not isinstance(self.learner, PolicyGradient | StepPPO) or hyper.phase_visible:
            return {"kind": "table", **plain}, {}
        if not np.array_equal(self.learner.mode(), table):
            self.learner.actor.imitate(self.learner.head.targets(table))
        if not np.array_equal(self.learner.mode(), table):
            return {"kind": "table", **plain}, {}
        spec = {"kind": "network", "hidden": list(hyper.hidden), "activation": hyper.activation, **plain}
        if hyper.leader_action == "mixture":
            spec["grid"] = hyper.grid
        return spec, self.learner.actor.arrays()

    # --- interruption ---

    def _identity(self) -> str:
        return json.dumps([self.setting.name, self.setting.parameters, self.seed, self.hyper.document()])

    def state(self) -> bytes:
        """Everything, as bytes that `load` understands; safe to load."""
        at = self.at
        buffer = io.BytesIO()
        table = None if at.best_table is None else torch.from_numpy(at.best_table)
        numbers = [at.start, at.iteration, at.total, at.seconds, at.best_score, at.mode_score]
        document = {
            "identity": self._identity(),
            "numbers": numbers,
            "table": table,
            "mode": at.mode_state,
            "figures": at.figures,
            "history": json.dumps(at.history),
            "learner": self.learner.state(),
            "done": self.done,
        }
        torch.save(document, buffer)
        return buffer.getvalue()

    def load(self, path: Path) -> None:
        try:
            state = torch.load(path, weights_only=True)
            identity = state["identity"]
        except Exception as error:
            raise FormatError(f"cannot resume from this file ({type(error).__name__})", path=path) from error
        if identity != self._identity():
            raise FormatError("was written with another setting, seed or hyper-parameters; remove it", path=path)
        start, iteration, total, seconds, best, mode = state["numbers"]
        table = None if state["table"] is None else state["table"].numpy()
        history = json.loads(state["history"])
        found = (table, mode, state["mode"], state["figures"])
        self.at = _Progress(start, iteration, total, seconds, best, *found, history)
        self.done = state["done"]
        self.learner = self._new_learner()
        self.learner.load(state["learner"])


def _finite(score: float) -> float | None:
    return score if np.isfinite(score) else None


def proven_bound(setting: World, hyper: Hyper) -> float:
    """The least value no leader can exceed, by the setting's references, less `slack`; infinite if there is none.

    Training stops early at it; it is never used to choose between leaders.
    """
    # The robust objective is a least value over readouts, so a bound on any of them bounds it.
    looked_at = {hyper.readout} | ({"last"} if hyper.settled else set())
    known = [
        float(r.value)
        for r in setting.references()
        if r.kind in ("optimum", "bound")
        and (not r.leader_actions or hyper.leader_action in r.leader_actions)
        and (not r.readouts or looked_at & set(r.readouts))
    ]
    return min(known) - hyper.slack * setting.payoff_scale if known and hyper.objective == "robust" else float("inf")


# --- what the command line calls ---


def train_leader(
    setting_name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    leader_action: str = "pure",
    mode: str = "ppo",
    seeds: Sequence[int] = (0,),
    out: str | Path = "leader.pt",
    updates: int | None = None,
    steps: int | None = None,
    quick: bool = False,
    resume: bool = False,
    jobs: int = 1,
    backend: str = "loky",
    tensorboard: str | Path | None = None,
    progress: Progress | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Train leaders for a setting and write them.

    One seed is written to `out`. Several are written beside it, `leader.seed3.pt` for seed 3, and `out` is a copy of
    the best one (by the training objective of what was deployed). Next to each stand its log, `.log.jsonl`, and
    while it runs its state, `.state`, from which `resume` goes on.

    Args:
        setting_name, parameters: the world.
        leader_action: "pure" or "mixture".
        mode: one of `hyper.MODES`; see `hyper.Hyper`.
        updates: follower updates in a response phase.
        steps: training iterations of one start.
        quick: train about an eighth as long.
        resume: go on with what was interrupted, and leave alone seeds that were finished with the same options.
        jobs: seeds trained side by side, in processes of their own; the leaders are the same. Each seed stops by
            itself on Ctrl-C and keeps its state.
        backend: where they run: "loky" (this machine), "ray" or "dask" (see `side_by_side`).
        tensorboard: a folder for event files, one folder in it for each seed.
        progress: called after each iteration with its record; once a seed where several are trained side by side.
        overrides: any other field of `hyper.Hyper`.

    Returns:
        One `train` document a seed (formats: value and gap by readout, updates, seconds, leader).

    Raises:
        SettingError: an unknown setting or parameter.
        UsageError: an unknown mode, parametrisation or hyper-parameter, no seeds or a repeated one.
    """
    setting = asked_world(setting_name, parameters)
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UsageError(f"expected distinct seeds of at least 0, got {list(seeds)}")
    changes = dict(overrides or {})
    if updates is not None:
        changes["updates"] = updates
    if steps is not None:
        changes["iterations"] = steps
    hyper = default_hyper(setting, leader_action=leader_action, mode=mode, quick=quick)
    foreign = {"epsilon", "types", "opponents"} & set(changes)
    if foreign and isinstance(setting, DynamicSetting):
        raise UsageError(f"{setting.name}: followers are Q-learners, {min(foreign)!r} says nothing about them")
    hyper = changed(hyper, changes)
    if jobs < 1:
        raise UsageError(f"jobs must be at least 1, got {jobs}")
    check_backend(backend)  # also where one seed, or one job, needs none
    out = Path(out)
    paths = [out if len(seeds) == 1 else out.with_name(f"{out.stem}.seed{seed}{out.suffix}") for seed in seeds]
    board = None if tensorboard is None else Path(tensorboard)
    task = _SeedTask(setting_name, dict(parameters or {}), hyper, quick, changes, resume, board)
    finished: Iterable[tuple[dict[str, Any], float]]
    if jobs == 1 or len(seeds) == 1:
        finished = (task(seed, path, progress) for seed, path in zip(seeds, paths, strict=True))
    else:
        finished = _side_by_side(task, seeds, paths, jobs, backend, progress)
    documents, best = [], -np.inf
    for (document, score), path in zip(finished, paths, strict=True):
        documents.append(document)
        if len(seeds) > 1 and score > best:
            best = score
            write_atomic(out, path.read_bytes())
    return documents


@dataclass(frozen=True, eq=False)  # Dask hashes what it is to call, and a value with dictionaries has no hash
class _SeedTask:
    """Training of one seed, as plain data that another process can be sent."""

    setting_name: str
    parameters: dict[str, Any]
    hyper: Hyper
    quick: bool
    changes: dict[str, Any]
    resume: bool
    tensorboard: Path | None

    def __call__(self, seed: int, path: Path, progress: Progress | None = None) -> tuple[dict[str, Any], float]:
        """Trains and writes; the document of the seed and the objective of what was deployed."""
        setting = asked_world(self.setting_name, self.parameters)
        log, state = (path.with_name(path.name + ending) for ending in (".log.jsonl", ".state"))
        if self.resume and not state.exists() and (known := self._finished(setting, seed, path, log)) is not None:
            return known
        result = train(
            setting,
            seed=seed,
            hyper=self.hyper,
            progress=progress,
            log=log,
            state_path=state,
            resume=self.resume,
            keep_state=True,
            tensorboard=None if self.tensorboard is None else self.tensorboard / f"seed{seed}",
        )
        command = _command(setting, self.hyper, seed, self.quick, self.changes)
        write_result(path, result, command=command)
        document, score = train_document(result, path), result.deployed_score
        with log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"finished": document, "objective": score}) + "\n")
        state.unlink(missing_ok=True)
        return document, score

    def _finished(self, setting: World, seed: int, path: Path, log: Path) -> tuple[dict[str, Any], float] | None:
        """What an earlier run said of this seed, if it was trained to its end with the same options."""
        try:
            leader, last = read_leader(path), json.loads(log.read_text("utf-8").splitlines()[-1])
            asked = (setting.name, dict(setting.parameters), seed, self.hyper.document())
            made = (leader.setting, leader.parameters, leader.training["seed"], leader.training["hyper"])
            return (last["finished"], float(last["objective"])) if asked == made else None
        except (SpverifyError, OSError, ValueError, LookupError):
            return None


def _side_by_side(
    task: _SeedTask, seeds: Sequence[int], paths: Sequence[Path], jobs: int, backend: str, progress: Progress | None
) -> Iterator[tuple[dict[str, Any], float]]:
    """One job a seed; a line of progress when one is finished."""
    finished = map_side_by_side(task, list(zip(seeds, paths, strict=True)), jobs=jobs, backend=backend)
    for count, (document, score) in enumerate(finished, start=1):
        if progress is not None:
            progress(
                {
                    "seed": document["seed"],
                    "start": document["starts"] - 1,
                    "iteration": document["iterations"],
                    "total": document["iterations"],
                    "best": _finite(score),
                    "share": count / len(seeds),
                }
            )
        yield document, score


def write_result(path: str | Path, result: TrainingResult, *, command: str = "") -> None:
    """Write the leader of a training run, with its record and claims."""
    write_leader(
        path,
        setting=result.setting,
        policy=result.policy,
        tensors=result.tensors,
        training=result.training_record(command),
        claims=result.evaluation.claims(),
    )


def train_document(result: TrainingResult, path: str | Path) -> dict[str, Any]:
    """The `train` document of one seed (docs/formats.md)."""
    return {
        "command": "train",
        "setting": result.setting.name,
        "mode": result.hyper.mode,
        "leader_action": result.hyper.leader_action,
        "seed": result.seed,
        "value": result.evaluation.value,
        "gap": result.evaluation.gap,
        "updates": result.evaluation.updates,
        "seconds": round(result.seconds, 2),
        "leader": str(path),
        "deployed": result.deployed,
        "objective": {"mode": result.mode_score, "best_sample": result.best_score},
        "iterations": result.iterations,
        "starts": result.starts,
        **result.proofs,
    }


def _command(setting: World, hyper: Hyper, seed: int, quick: bool, changes: Mapping[str, Any]) -> str:
    """The command that makes this leader again."""
    parts = ["spverify train", setting.name, f"--seed {seed}"]
    given = setting.parameters
    default = {} if isinstance(setting, ImportedSetting) else asked_world(setting.name).parameters
    parts += [f"--set-param {k}={_text(v)}" for k, v in given.items() if default.get(k) != v]
    if hyper.leader_action != "pure":
        parts.append(f"--leader-action {hyper.leader_action}")
    if hyper.mode != "ppo":
        parts.append(f"--mode {hyper.mode}")
    parts += ["--quick"] if quick else []
    names = {"updates": "updates", "iterations": "steps"}
    parts += [f"--{names[k]} {v}" if k in names else f"--hyper {k}={_text(v)}" for k, v in changes.items()]
    return " ".join(parts)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
