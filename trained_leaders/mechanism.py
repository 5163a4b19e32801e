"""From a leader file to the mechanism it commits to: one exact row of probabilities per base observation.

The network is evaluated here in plain numpy, once per observation, independently of torch; its answer is
compared with the table the file states. Numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import LeaderFileError, SettingError
from .leader_file import LeaderFile
from .settings import ExactRows, World, exact_rows, table_rows


@dataclass(frozen=True)
class Mechanism:
    """What a leader does.

    Args:
        rows: shape (n_obs, n_actions), exact probabilities; the mechanism that is audited.
        network_agrees: the network's own answer equals `rows` at every observation (True for a plain table).
        difference: the largest absolute difference between the two.
        margin: the smallest lead of a chosen action's logit over the next legal one; None without a pure
            network.
    """

    rows: ExactRows
    network_agrees: bool
    difference: float
    margin: float | None


def stated_rows(leader: LeaderFile, setting: World) -> ExactRows:
    """The rows the file states, checked against the setting; raises `LeaderFileError`."""
    if leader.policy["leader_action"] not in setting.leader_actions:
        raise LeaderFileError(
            f"setting {setting.name} has no {leader.policy['leader_action']} leaders",
            field="policy.leader_action",
        )
    pure = leader.policy["leader_action"] == "pure"
    place = "policy.table" if pure else "policy.rows"
    try:
        if pure:
            table = leader.policy["table"]
            if any(type(action) is not int for action in table):
                raise SettingError("expected action indices")
            return table_rows(setting, table)
        rows = leader.policy["rows"]
        if any(type(row) is not list or any(type(p) is not str for p in row) for row in rows):
            raise SettingError('expected rows of "p/q" texts')
        return exact_rows(setting, rows)
    except SettingError as error:
        raise LeaderFileError(error.message, field=place) from None


def evaluate_mechanism(leader: LeaderFile, setting: World) -> Mechanism:
    """The stated rows, compared with what the network answers.

    Raises:
        LeaderFileError: rows or tensors that do not fit the setting.
    """
    rows = stated_rows(leader, setting)
    if leader.policy["kind"] == "table":
        return Mechanism(rows, True, 0.0, None)
    scores = network_scores(leader.policy, leader.tensors, setting.legal.shape)
    if leader.policy["leader_action"] == "pure":
        own = table_rows(setting, pure_actions(scores, setting.legal).tolist())
        margin = _margin(scores, setting.legal)
    else:
        own = mixture_rows(scores, setting.legal, leader.policy["grid"])
        margin = None
    gaps = (abs(a - b) for mine, yours in zip(own, rows, strict=True) for a, b in zip(mine, yours, strict=True))
    difference = float(max(gaps))
    return Mechanism(rows, difference == 0.0, difference, margin)


def network_scores(
    policy: Mapping[str, Any], tensors: Mapping[str, NDArray[Any]], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Logits of the actor at every observation, shape (n_obs, n_actions), in double precision.

    The actor's only input is the one-hot base observation, so these rows are all it can ever do.
    """
    n_obs, n_actions = shape
    widths = [n_obs, *policy["hidden"], n_actions]
    layers = range(len(widths) - 1)
    expected: dict[str, tuple[int, ...]] = {f"actor.{k}.weight": (widths[k + 1], widths[k]) for k in layers}
    expected |= {f"actor.{k}.bias": (widths[k + 1],) for k in layers}
    if set(tensors) != set(expected):
        wrong = sorted(set(tensors) ^ set(expected))[0]
        raise LeaderFileError("missing or unknown tensor", field=f"tensors.{wrong}")
    for name, size in expected.items():
        if tensors[name].shape != size or tensors[name].dtype != np.float32:
            got = f"{tensors[name].dtype} {tensors[name].shape}"
            raise LeaderFileError(f"expected float32 {size}, got {got}", field=f"tensors.{name}")
    values = np.eye(n_obs)
    for k in layers:
        values = values @ tensors[f"actor.{k}.weight"].astype(float).T + tensors[f"actor.{k}.bias"].astype(float)
        if k < len(widths) - 2:
            values = np.maximum(values, 0) if policy["activation"] == "relu" else np.tanh(values)
    return values


def pure_actions(scores: NDArray[np.floating[Any]], legal: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The highest-scoring legal action at each observation, ties to the lowest index; shape (n_obs,)."""
    return np.where(legal, scores, -np.inf).argmax(axis=-1)


def mixture_rows(scores: NDArray[np.floating[Any]], legal: NDArray[np.bool_], grid: int) -> ExactRows:
    """Softmax over legal actions, on multiples of 1/grid by largest remainder: the mixture committed to."""
    rows = []
    for counts in mixture_counts(softmax(scores, legal), grid):
        rows.append(tuple(Fraction(int(c), grid) for c in counts))
    return tuple(rows)


def softmax(scores: NDArray[np.floating[Any]], legal: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities over legal actions, along the last axis."""
    masked = np.where(legal, scores, -np.inf)
    weights = np.exp(masked - masked.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def mixture_counts(probabilities: NDArray[np.float64], grid: int) -> NDArray[np.int64]:
    """Whole numbers that sum to `grid` along the last axis, by largest remainder."""
    scaled = probabilities * grid
    counts = np.floor(scaled + 1e-9).astype(np.int64)
    missing = grid - counts.sum(axis=-1, keepdims=True)
    rank = np.argsort(np.argsort(-(scaled - counts), axis=-1, kind="stable"), axis=-1)
    return counts + (rank < missing)


def _margin(scores: NDArray[np.float64], legal: NDArray[np.bool_]) -> float | None:
    ordered = np.sort(np.where(legal, scores, -np.inf), axis=-1)
    lead = ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else np.array([np.inf])
    lead = lead[np.isfinite(lead)]
    return float(lead.min()) if len(lead) else None
