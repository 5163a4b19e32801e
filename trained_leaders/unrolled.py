"""Gradient through the followers' unrolled response, for a population of leaders in lock step.

In exact expectation the learners' whole response phase is a smooth function of the leader's rows: every play is a sum
over the ways it can go, weighted by the rows' probabilities, and multiplicative weights are a softmax of what was
earned. So value - gap at every horizon is differentiated by back-propagation, and many starts climb side by side.
Rows and, for the argmax readout, followers' final mixes are softened less and less; what is looked at, and in the end
deployed, are the rows put on the grid (or tables).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from math import log1p
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..verify.errors import UsageError
from .evaluate import mixed_seed, score_tables
from .hyper import Hyper
from .mechanism import mixture_counts, pure_actions, softmax
from .settings import Setting

MAX_PATHS = 2**19
PIECES = 40  # steps that stand for the updates of one horizon
LOOKED_AT = 8  # members of the population that meet sampled followers, each iteration
COLDEST = 0.1  # temperature of the rows at the end, 1 in the beginning
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Paths:
    """Every way a play can go.

    Args:
        cells: joint types and actions of each path, as an index in C order, shape (L,).
        decisions: what the leader does on the way, as indices observation * n_actions + action; n_obs * n_actions
            after the end; shape (L, steps).
        payoffs: followers' payoffs, then the leader's, shape (L, n + 1).
    """

    cells: NDArray[np.int64]
    decisions: NDArray[np.int64]
    payoffs: Floats


def all_paths(setting: Setting) -> Paths:
    """Plays every cell under every answer of the leader that matters there.

    Raises:
        UsageError: there are too many of them.
    """
    n, width = len(setting.players), len(setting.actions)
    sizes = [len(p.types) for p in setting.players] + [len(p.actions) for p in setting.players]
    cells = np.array(list(product(*(range(size) for size in sizes))))
    where = np.arange(len(cells))
    tables = np.tile(setting.legal.argmax(axis=1), (len(cells), 1))
    taken = np.zeros((len(cells), 0), dtype=np.int64)
    done: list[tuple[NDArray[Any], NDArray[Any], Floats]] = []
    while len(where):
        outcome = setting.play(tables, cells[where, :n], cells[where, n:])
        depth = taken.shape[1]
        steps = outcome.observations.shape[1]
        met = outcome.observations[:, depth] if depth < steps else np.full(len(where), -1)
        over = met < 0
        paid = np.concatenate([outcome.followers, outcome.leader[:, None]], axis=1)
        done.append((where[over], taken[over], paid[over]))
        going = np.flatnonzero(~over)
        row, action = np.nonzero(setting.legal[met[going]])
        parent = going[row]
        if len(parent) > MAX_PATHS:
            raise UsageError(f"{setting.name}: a play can go in more than {MAX_PATHS} ways; try mode 'ppo'")
        # An observation is met at most once a play, so what is written here is what this path did there.
        tables = tables[parent]
        tables[np.arange(len(parent)), met[parent]] = action
        taken = np.concatenate([taken[parent], (met[parent] * width + action)[:, None]], axis=1)
        where = where[parent]
    longest = max(part.shape[1] for _, part, _ in done)
    none = len(setting.observations) * width
    padded = [np.pad(part, ((0, 0), (0, longest - part.shape[1])), constant_values=none) for _, part, _ in done]
    return Paths(np.concatenate([d[0] for d in done]), np.concatenate(padded), np.concatenate([d[2] for d in done]))


class ExpectedResponse:
    """Value and gap of followers who learn in exact expectation, differentiable in the leader's rows."""

    def __init__(self, setting: Setting, hyper: Hyper) -> None:
        self.n, self.scale = len(setting.players), setting.payoff_scale
        self.rate = log1p(hyper.epsilon)
        self.types = tuple(len(p.types) for p in setting.players)
        self.actions = tuple(len(p.actions) for p in setting.players)
        paths = all_paths(setting)
        self._cells, self._decisions, self._payoffs = (
            torch.from_numpy(part).to(hyper.device) for part in (paths.cells, paths.decisions, paths.payoffs)
        )
        self._count = int(np.prod(self.types + self.actions))
        self.prior = torch.from_numpy(setting.prior.astype(float)).to(hyper.device)
        self._letters = "abcdefgh"[: self.n], "ijklmnop"[: self.n]
        self._seen, self._matters = [], []
        for i in range(self.n):
            own = self.prior.sum(dim=[k for k in range(self.n) if k != i]) if self.n > 1 else self.prior
            shaped = own.reshape([-1 if k == i else 1 for k in range(self.n)])
            self._seen.append(torch.where(shaped > 0, self.prior / shaped.clamp(min=1e-300), 0.0))
            self._matters.append(own > 0)
        horizons = sorted(hyper.horizons) if hyper.objective == "robust" else [1]
        # A lone follower's payoffs do not depend on what others do, so one step is as good as many.
        pieces = PIECES if self.n > 1 else 1
        self._steps: list[tuple[float, int]] = []  # and the horizon reached, or 0
        before = 0
        for factor in horizons:
            span = hyper.updates * factor - before
            count = min(pieces, span)
            self._steps += [(span / count, factor * (k == count - 1)) for k in range(count)]
            before = hyper.updates * factor
        self._readout, self.longest = hyper.readout, horizons[-1]

    def games(self, rows: Tensor) -> Tensor:
        """Payoffs in every cell, shape (n + 1, B, types.., actions..), for rows (B, n_obs, n_actions)."""
        flat = torch.cat([rows.flatten(1), rows.new_ones(len(rows), 1)], dim=1)
        chance = flat[:, self._decisions].prod(dim=2)
        cells = [
            rows.new_zeros(len(rows), self._count).index_add(1, self._cells, chance * column)
            for column in self._payoffs.unbind(dim=1)
        ]
        return torch.stack(cells).reshape(self.n + 1, len(rows), *self.types, *self.actions)

    def plays(self, rows: Tensor, sharpness: float = 1.0) -> tuple[Tensor, Tensor]:
        """The leader's value and the followers' gap at each horizon, both of shape (horizons, B).

        Most weighted actions are no smooth function. In their place stand final mixes as sharp as after `sharpness`
        times as many updates of the same kind, but no more than at the longest horizon.
        """
        games = self.games(rows)
        types, acts = self._letters
        scores = [rows.new_zeros(len(rows), t, a) for t, a in zip(self.types, self.actions, strict=True)]
        terms = ",".join(f"z{t}{a}" for t, a in zip(types, acts, strict=True))
        total, length = rows.new_zeros(games.shape[1:]), 0.0
        values, gaps = [], []
        for step, reached in self._steps:
            now = [torch.softmax(score * self.rate, dim=2) for score in scores]
            if self._readout == "empirical":
                total, length = total + step * torch.einsum(f"{terms}->z{types}{acts}", *now), length + step
            earned = []
            for i in range(self.n):
                others = [k for k in range(self.n) if k != i]
                spec = f"{types},z{types}{acts}" + "".join(f",z{types[k]}{acts[k]}" for k in others)
                earned.append(
                    torch.einsum(f"{spec}->z{types[i]}{acts[i]}", self._seen[i], games[i], *(now[k] for k in others))
                )
            scores = [score + won * (step / self.scale) for score, won in zip(scores, earned, strict=True)]
            if reached:
                sharp = min(sharpness, self.longest / reached) if self._readout == "argmax" else 1.0
                last = [torch.softmax(score * (self.rate * sharp), dim=2) for score in scores]
                averaged = self._readout == "empirical"
                sigma = total / length if averaged else torch.einsum(f"{terms}->z{types}{acts}", *last)
                values.append(torch.einsum(f"{types},z{types}{acts},z{types}{acts}->z", self.prior, sigma, games[-1]))
                gaps.append(self._gap(games, sigma))
        return torch.stack(values), torch.stack(gaps)

    def _gap(self, games: Tensor, sigma: Tensor) -> Tensor:
        """The largest interim regret, at least 0 (theory T3), shape (B,)."""
        types, acts = self._letters
        worst = sigma.new_zeros(len(sigma))
        for i in range(self.n):
            own, act = types[i], acts[i]
            rest = acts.replace(act, "")
            against = sigma.sum(dim=1 + self.n + i)
            instead = torch.einsum(
                f"{types},z{types}{rest},z{types}{acts}->z{own}{act}", self._seen[i], against, games[i]
            )
            kept = torch.einsum(f"{types},z{types}{acts},z{types}{acts}->z{own}", self._seen[i], sigma, games[i])
            regret = (instead.amax(dim=2) - kept) * self._matters[i]
            worst = torch.maximum(worst, regret.amax(dim=1))
        return worst


class UnrolledGradient:
    """One population; has the shape of the other learners of `train.py`.

    Args:
        hyper: `batch` members, `lr` of Adam on their logits, `iterations` until they are cold.
    """

    def __init__(self, setting: Setting, hyper: Hyper, seed: int, start: int) -> None:
        self.setting, self.hyper = setting, hyper
        self._seeds = (seed, start)
        self.response = ExpectedResponse(setting, hyper)
        self._legal = torch.from_numpy(setting.legal.copy()).to(hyper.device)
        drawn = np.random.default_rng([seed, start]).normal(size=(hyper.batch, *setting.legal.shape))
        self.logits = torch.from_numpy(drawn).to(hyper.device).requires_grad_()
        self.optimiser = torch.optim.Adam([self.logits], lr=hyper.lr)
        self._temperature = 1.0
        self._best = 0

    def rows(self) -> Tensor:
        """The population's mixtures at the present temperature, shape (B, n_obs, n_actions)."""
        masked = (self.logits / self._temperature).masked_fill(~self._legal, -torch.inf)
        return torch.softmax(masked, dim=2)

    def iterate(self, iteration: int) -> tuple[NDArray[Any], Floats, dict[str, float]]:
        hyper = self.hyper
        done = iteration / max(1, hyper.iterations - 1)
        if hyper.leader_action == "pure":  # mixtures are not to be cooled: they are what is looked for
            self._temperature = COLDEST**done
        with _repeatable(hyper.device):
            values, gaps = self.response.plays(self.rows(), self.response.longest**done)
            worth = (values - hyper.gap_weight * gaps if hyper.objective == "robust" else values).amin(dim=0)
            self.optimiser.zero_grad()
            (-worth.sum() / self.setting.payoff_scale).backward()
            self.optimiser.step()
        order = np.argsort(-worth.detach().cpu().numpy(), kind="stable")
        self._best = int(order[0])
        tables = self._tables(order[:LOOKED_AT])
        scores, _ = score_tables(self.setting, hyper, tables, rng_seed=mixed_seed(*self._seeds, iteration))
        return tables, scores, {"mean": float(worth.detach().mean()), "entropy": self._entropy()}

    def _tables(self, members: NDArray[np.int64]) -> NDArray[Any]:
        """What these members commit to."""
        logits = self.logits.detach().cpu().numpy()[members]
        if self.hyper.leader_action == "pure":
            return pure_actions(logits, self.setting.legal)
        return mixture_counts(softmax(logits, self.setting.legal), self.hyper.grid) / self.hyper.grid

    def _entropy(self) -> float:
        with torch.no_grad():
            return float(torch.special.entr(self.rows()).sum(dim=2).mean())

    def mode(self) -> NDArray[Any]:
        return self._tables(np.array([self._best]))[0]

    def finished(self) -> bool:
        """Every member's rows are as good as pure."""
        return self.hyper.leader_action == "pure" and self._entropy() < 0.001

    def state(self) -> dict[str, Any]:
        # On the CPU, so that a state can be read where there is no such device.
        saved = self.optimiser.state_dict()
        saved["state"] = {k: {name: part.cpu() for name, part in own.items()} for k, own in saved["state"].items()}
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        return {
            "logits": self.logits.detach().cpu().clone(),
            "optimiser": buffer.getvalue(),
            "temperature": self._temperature,
            "best": self._best,
        }

    def load(self, state: dict[str, Any]) -> None:
        with torch.no_grad():
            self.logits.copy_(state["logits"])
        self.optimiser.load_state_dict(torch.load(io.BytesIO(state["optimiser"]), weights_only=True))
        self._temperature, self._best = state["temperature"], state["best"]


@contextmanager
def _repeatable(device: str) -> Iterator[None]:
    """On a GPU, kernels that add in the same order every time; a resumed run is to be the same run."""
    if device == "cpu":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts; its own rule for this
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
