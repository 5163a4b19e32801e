"""Leaders trained elsewhere: from a torch module, a Stable-Baselines3 policy or any function to a `leader.pt`.

A policy is asked at every observation, and what it answers is the table that gets audited. Plain networks are stored
with their weights, so that an audit evaluates them itself. Of any other policy the file holds the table and a record of
perturbations: whether its answers changed when it was asked again, in another order, one by one, in training mode, or
with noise beside the observation (theory T8: a commitment depends on the observation and on nothing else).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import UsageError
from .checkpoint import table_policy, write_leader
from .leader_file import MAX_HIDDEN, MAX_WIDTH
from .mechanism import mixture_rows, network_scores, pure_actions, softmax
from .settings import World, asked_world, rows_as_text

Floats = NDArray[np.float64]
Asking = list[tuple[NDArray[np.int64], Floats]]
GRID = 1_000_000
TRIALS = 8
SAME = 1e-5
"""Probabilities closer than this count as the same: batched and single float32 products differ by rounding."""

ILLEGAL = ("refuse", "mask", "lowest")


@dataclass(frozen=True)
class Probe:
    """One way of asking again.

    Args:
        name: "repeat", "order", "single", "mode" or "outside".
        evaluations: answers compared, one an observation.
        changed: how many differed from the table.
        difference: the largest change of a probability (pure leaders: of an action's, 0 or 1).
    """

    name: str
    evaluations: int
    changed: int
    difference: float


@dataclass(frozen=True)
class SavedLeader:
    """What was written.

    Args:
        path: the leader file.
        source: what the policy was: a class name with its module.
        structural: the weights are in the file, so an audit evaluates the network itself.
        probes: what perturbation showed.
    """

    path: Path
    source: str
    structural: bool
    probes: tuple[Probe, ...]

    @property
    def committed(self) -> bool:
        """No probe changed an answer."""
        return all(probe.changed == 0 for probe in self.probes)


def save_leader(
    policy: Any,
    *,
    setting: World | str,
    path: str | Path,
    parameters: Mapping[str, Any] | None = None,
    leader_action: str = "pure",
    encoding: str | NDArray[Any] = "one-hot",
    outside: int = 0,
    illegal: str = "refuse",
    seed: int = 0,
    training: Mapping[str, Any] | None = None,
    claims: Mapping[str, Any] | None = None,
) -> SavedLeader:
    """Save a policy that was trained elsewhere, so that it can be audited like any other leader.

    Args:
        policy: a `torch.nn.Module` or a function from a batch of encoded observations, shape (n, ..), to scores of
            actions (logits, shape (n, n_actions)) or to actions (whole numbers, shape (n,)); or a Stable-Baselines3
            model or actor-critic policy, asked for its logits.
        setting: a setting, or its name with `parameters`.
        leader_action: "pure", the highest score; "mixture", the softmax of the scores, in multiples of 1e-6.
        encoding: how an observation is fed in: "one-hot" (float32), "index" (int64), or an array with one row an
            observation. Stable-Baselines3 policies encode for themselves.
        outside: so many more inputs follow the encoded observation; they are zero but for noise in one probe.
        illegal: what is done where the highest score is on an action that is not legal: "refuse"; "mask" takes the
            best legal one; "lowest" takes the lowest legal one, as `stackelberg_env` does.
        seed: of the orders and the noise.
        training, claims: record and claims; an audit treats them as data to be checked.

    Returns:
        What was written. A policy whose answers change is saved with that record, and an audit refutes it.

    Raises:
        UsageError: a policy that cannot be asked, or answers of the wrong form.
        SettingError: a mechanism that does not fit the setting.

    Example:
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     place = pathlib.Path(folder) / "mine.pt"
        ...     save_leader(lambda seen: seen.argmax(axis=1), setting="simple-allocation-3", path=place).committed
        True
    """
    world = asked_world(setting, parameters) if isinstance(setting, str) else setting
    if leader_action not in world.leader_actions:
        raise UsageError(f"{world.name}: leader_action must be {' or '.join(world.leader_actions)}")
    if illegal not in ILLEGAL:
        raise UsageError(f"illegal must be one of {', '.join(ILLEGAL)}, got {illegal!r}")
    if outside < 0:
        raise UsageError(f"outside must be at least 0, got {outside}")
    asked = _Asked(policy, world, encoding, outside)
    reader = _Answers(world, leader_action, illegal)
    with asked.evaluation_mode():
        scores = asked.all()
        reader.check(scores)
        answers = reader.of(scores)
        probes = _probe(asked, reader, answers, np.random.default_rng(seed))
    origin = {
        "source": asked.source,
        "encoding": asked.encoding,
        "illegal": illegal,
        "probes": [[probe.name, probe.evaluations, probe.changed, probe.difference] for probe in probes],
    }
    place = Path(path)
    steady = not outside and all(probe.changed == 0 for probe in probes)
    network = _as_network(asked, reader, answers) if steady else None
    if network is None:
        mechanism = [int(a) for a in answers.argmax(axis=1)] if reader.pure else answers.tolist()
        spec, tensors = table_policy(world, mechanism), None
    else:
        spec, tensors = network
    record = {"algorithm": f"trained elsewhere: {asked.source}", **(training or {})}
    write_leader(
        place, setting=world, policy={**spec, "origin": origin}, tensors=tensors, training=record, claims=claims
    )
    return SavedLeader(place, asked.source, network is not None, tuple(probes))


# ------------------------------------------------------------------------------------ asking


class _Asked:
    """A policy behind one way of asking: observation indices in, scores out."""

    def __init__(self, policy: Any, world: World, encoding: str | NDArray[Any], outside: int) -> None:
        self._n, self._width, self.outside = len(world.observations), len(world.actions), outside
        policy = getattr(policy, "policy", policy)  # a Stable-Baselines3 model holds its policy
        self.sb3 = hasattr(policy, "get_distribution") and hasattr(policy, "obs_to_tensor")
        if not callable(policy):
            raise UsageError(f"expected a policy that can be called, got {type(policy).__name__}")
        self.policy = policy
        self.module = policy if hasattr(policy, "state_dict") and hasattr(policy, "eval") else None
        kind = policy if hasattr(policy, "__qualname__") else type(policy)
        self.source = f"{kind.__module__}.{kind.__qualname__}"[:200]
        if self.sb3 and outside:
            raise UsageError("a Stable-Baselines3 policy encodes for itself, so nothing lies outside its observation")
        if isinstance(encoding, str) and encoding not in ("one-hot", "index"):
            raise UsageError(f"encoding must be 'one-hot', 'index' or an array, got {encoding!r}")
        self.encoding = "its own" if self.sb3 else encoding if isinstance(encoding, str) else "array"
        if isinstance(encoding, str):
            self._rows = np.eye(self._n, dtype=np.float32) if encoding == "one-hot" else np.arange(self._n)
        else:
            self._rows = np.asarray(encoding)
        if len(self._rows) != self._n:
            raise UsageError(f"encoding: expected {self._n} rows, one an observation, got {len(self._rows)}")
        if outside and self._rows.ndim != 2:
            raise UsageError("inputs outside the observation need an encoding of one flat row an observation")

    def all(self) -> Floats:
        """Scores at every observation, shape (n_obs, n_actions)."""
        return self.at(np.arange(self._n))

    def at(self, observations: NDArray[np.int64], noise: NDArray[Any] | None = None) -> Floats:
        """Scores for a batch of observations, shape (n, n_actions)."""
        try:
            raw = self._raw(observations, noise)
            found = np.asarray(raw.detach().cpu().numpy() if hasattr(raw, "detach") else raw)
        except UsageError:
            raise
        except Exception as error:  # whatever a stranger's policy raises is bad input here
            said = str(error).strip().splitlines() or ["no message"]
            raise UsageError(
                f"the policy {self.source} failed on a batch of {len(observations)} observations: "
                f"{type(error).__name__}: {said[0][:200]}"
            ) from error
        n, width = len(observations), self._width
        if found.shape == (n,) and found.dtype.kind in "iu":
            if found.min() < 0 or found.max() >= width:
                raise UsageError(f"the policy {self.source} answers {found.max()}: expected actions 0..{width - 1}")
            return (found[:, None] == np.arange(width)).astype(float)
        if found.shape != (n, width) or found.dtype.kind not in "fiu":
            raise UsageError(
                f"the policy {self.source} answers {found.dtype} of shape {found.shape}: expected scores of shape "
                f"{(n, width)} or whole numbers of shape {(n,)}"
            )
        if np.isnan(found).any() or (found == np.inf).any() or not np.isfinite(found).any(axis=1).all():
            raise UsageError(f"the policy {self.source} answers NaN or infinite scores")
        return found.astype(float)

    def _raw(self, observations: NDArray[np.int64], noise: NDArray[Any] | None) -> Any:
        if self.sb3:
            distribution = self.policy.get_distribution(self.policy.obs_to_tensor(observations)[0]).distribution
            if not hasattr(distribution, "logits"):
                raise UsageError("expected a Stable-Baselines3 policy over discrete actions")
            return distribution.logits
        given = self._rows[observations]
        if self.outside:
            beside = np.zeros((len(observations), self.outside)) if noise is None else noise
            given = np.concatenate([given, beside.astype(given.dtype)], axis=1)
        if self.module is None:
            return self.policy(given)
        import torch

        tensor = torch.from_numpy(np.ascontiguousarray(given))
        weights = next(iter(self.module.parameters()), None)
        if weights is not None:  # where the weights are, and in their precision
            tensor = tensor.to(weights.device, weights.dtype if tensor.is_floating_point() else None)
        with torch.no_grad():
            return self.policy(tensor)

    def beside(self, rng: np.random.Generator, scale: float) -> NDArray[Any]:
        """Random inputs beside every observation, shape (n_obs, outside)."""
        return scale * rng.standard_normal((self._n, self.outside))

    @contextmanager
    def evaluation_mode(self) -> Iterator[None]:
        """A module is asked in evaluation mode and left as it was."""
        if self.module is None:
            yield
            return
        before = bool(self.module.training)
        self.module.eval()
        try:
            yield
        finally:
            self.module.train(before)


@dataclass(frozen=True)
class _Answers:
    """From scores to what is committed to, as rows of probabilities."""

    world: World
    leader_action: str
    illegal: str

    @property
    def pure(self) -> bool:
        return self.leader_action == "pure"

    def check(self, scores: Floats) -> None:
        """Refuses actions that are not legal, unless the caller said what becomes of them."""
        world = self.world
        first = scores.argmax(axis=1)
        if self.pure:
            outlaw = ~world.legal[np.arange(len(first)), first]
        else:
            shares = np.where(world.legal, 0.0, _softmax(scores))
            first, outlaw = shares.argmax(axis=1), shares.max(axis=1) > SAME
        if outlaw.any() and self.illegal == "refuse":
            at = int(outlaw.argmax())
            raise UsageError(
                f"at {world.observations[at]!r} the policy wants {world.actions[first[at]]!r}, which is not legal "
                "there: say illegal='mask' to choose among legal actions, or illegal='lowest' to take the lowest legal "
                "one instead, as the environment does"
            )

    def of(self, scores: Floats, observations: NDArray[np.int64] | None = None) -> Floats:
        """Rows of probabilities, shape of `scores`."""
        legal = self.world.legal if observations is None else self.world.legal[observations]
        if self.pure:
            first = pure_actions(scores, legal) if self.illegal == "mask" else scores.argmax(axis=1)
            rows = (first[:, None] == np.arange(scores.shape[1])).astype(float)
        else:
            rows = softmax(scores, legal) if self.illegal != "lowest" else _softmax(scores)
        if self.illegal == "lowest":
            every = np.arange(len(rows))
            rows[every, legal.argmax(axis=1)] += np.where(legal, 0.0, rows).sum(axis=1)
            rows = np.where(legal, rows, 0.0)
        return rows


def _softmax(scores: Floats) -> Floats:
    return softmax(scores, np.ones(scores.shape, dtype=bool))


# ------------------------------------------------------------------------------------ perturbing


def _probe(asked: _Asked, reader: _Answers, answers: Floats, rng: np.random.Generator) -> list[Probe]:
    """Asks again in ways that must not matter, in evaluation mode but for one probe."""
    every = np.arange(len(answers))

    def repeat() -> Asking:
        return [(every, asked.all()) for _ in range(TRIALS)]

    def order() -> Asking:
        batches = [rng.permutation(every) for _ in range(TRIALS)]
        batches += [rng.choice(every, 2 * len(every)) for _ in range(TRIALS)]
        return [(batch, asked.at(batch)) for batch in batches]

    def single() -> Asking:
        return [(one[None], asked.at(one[None])) for _ in range(2) for one in rng.permutation(every)]

    def outside() -> Asking:
        scales = [scale for scale in (1e-3, 1.0, 1e3) for _ in range(TRIALS)]
        return [(every, asked.at(every, asked.beside(rng, scale))) for scale in scales]

    def mode() -> Asking:
        module: Any = asked.module
        module.train()
        try:
            return repeat()
        finally:
            module.eval()

    probes = {"repeat": repeat, "order": order, "single": single}
    if asked.outside:
        probes["outside"] = outside
    if asked.module is not None:
        probes["mode"] = mode
    out = []
    for name, ask in probes.items():
        changes = np.concatenate(
            [np.abs(reader.of(scores, batch) - answers[batch]).max(axis=1) for batch, scores in ask()]
        )
        out.append(Probe(name, len(changes), int((changes > SAME).sum()), float(changes.max())))
    return out


# ------------------------------------------------------------------------------------ plain networks


def _as_network(
    asked: _Asked, reader: _Answers, answers: Floats
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]] | None:
    """The policy with its weights as a leader file holds them, where it is a plain network that answers the same."""
    layers = _layers(asked)
    if layers is None:
        return None
    linear, activation = layers
    shape = reader.world.legal.shape
    widths = [linear[0].in_features, *(layer.out_features for layer in linear)]
    hidden = widths[1:-1]
    if (widths[0], widths[-1]) != shape or len(hidden) > MAX_HIDDEN or max(hidden, default=1) > MAX_WIDTH:
        return None
    tensors: dict[str, NDArray[Any]] = {}
    for k, layer in enumerate(linear):
        weight = layer.weight.detach().cpu().numpy().astype(np.float32)
        bias = np.zeros(len(weight)) if layer.bias is None else layer.bias.detach().cpu().numpy()
        tensors |= {f"actor.{k}.weight": weight, f"actor.{k}.bias": bias.astype(np.float32)}
    policy = {"kind": "network", "hidden": hidden, "activation": activation}
    scores = network_scores(policy, tensors, shape)
    if reader.pure:
        table = pure_actions(scores, reader.world.legal)
        if not np.array_equal(table, answers.argmax(axis=1)):
            return None
        return {**policy, **table_policy(reader.world, table.tolist()), "kind": "network"}, tensors
    rows = mixture_rows(scores, reader.world.legal, GRID)
    if np.abs(np.array(rows, dtype=float) - answers).max() > 2 * SAME:
        return None
    return {**policy, **table_policy(reader.world, rows_as_text(rows)), "kind": "network", "grid": GRID}, tensors


def _layers(asked: _Asked) -> tuple[list[Any], str] | None:
    """Linear layers and the one activation between them, if that is all the policy is; on one-hot observations."""
    policy = asked.policy
    if asked.sb3:
        if type(getattr(policy, "features_extractor", None)).__name__ != "FlattenExtractor":
            return None
        space = policy.observation_space
        parts = [*policy.mlp_extractor.policy_net, policy.action_net] if hasattr(space, "n") else []
    elif asked.module is not None and asked.encoding == "one-hot":
        parts = _flat(policy)
    else:
        return None
    # Exact classes: what a module of another class does between its parts is its own affair.
    kinds = [f"{type(part).__module__}.{type(part).__name__}" for part in parts]
    between = set(kinds[1::2])
    if len(parts) % 2 == 0 or set(kinds[::2]) != {"torch.nn.modules.linear.Linear"} or len(between) > 1:
        return None
    known = {"torch.nn.modules.activation.ReLU": "relu", "torch.nn.modules.activation.Tanh": "tanh"}
    activation = known.get(between.pop()) if between else "relu"
    return None if activation is None else (parts[::2], activation)


def _flat(module: Any) -> list[Any]:
    """The parts of a sequence of modules, in order; a module of any other class is one part."""
    if f"{type(module).__module__}.{type(module).__name__}" != "torch.nn.modules.container.Sequential":
        return [module]
    return [part for child in module for part in _flat(child)]
