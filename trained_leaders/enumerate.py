"""Every table there is, where they are few: the best of them, with nothing left out.

What a table is worth to learners in exact expectation bounds its training objective from above, so all tables are
scored that way, batch by batch, and only those that could still beat the best one meet sampled followers. At the end
no table has a higher objective than the leader: that is proved by having looked at all of them.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..verify.errors import UsageError
from .evaluate import checked_scores, lasting_scores
from .hyper import Hyper
from .settings import DynamicSetting, Setting

MAX_TABLES = 2**21
CHECKS = 64  # tables that meet sampled followers in one iteration, at most


def count_tables(setting: Setting | DynamicSetting) -> int:
    """How many deterministic leaders a setting has.

    Example:
        >>> from spverify.trained_leaders.settings import get_setting
        >>> count_tables(get_setting("simple-allocation-3")), count_tables(get_setting("matrix-design"))
        (27, 1679616)
    """
    return prod(int(row.sum()) for row in setting.legal)


class Enumeration:
    """All tables once; has the shape of the other learners of `train.py`."""

    def __init__(self, setting: Setting | DynamicSetting, hyper: Hyper, seed: int, start: int) -> None:
        self.setting, self.hyper, self._seed = setting, hyper, seed
        self.count = count_tables(setting)
        if self.count > MAX_TABLES:
            raise UsageError(
                f"mode 'enumerate' looks at every table, and {setting.name} has {self.count:.3g}, over {MAX_TABLES}; "
                "try mode 'search'"
            )
        self._choices = [np.flatnonzero(row) for row in setting.legal]
        self._next, self._score = 0, -np.inf
        self._best = self._tables(np.zeros(1, dtype=np.int64))[0]
        self._open = np.zeros(0, dtype=np.int64)  # tables that may still be better than the best, and their bounds
        self._bounds = np.zeros(0)

    def _tables(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tables of these numbers, counted with the last observation fastest; shape (B, n_obs)."""
        places = np.unravel_index(numbers, [len(choice) for choice in self._choices])
        return np.stack([choice[place] for choice, place in zip(self._choices, places, strict=True)], axis=1)

    def iterate(self, iteration: int) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, float]]:
        """The next batch of tables gets its bounds; those of highest bound meet sampled followers."""
        fresh = np.arange(self._next, min(self._next + self.hyper.batch, self.count))
        self._next += len(fresh)
        bounds = lasting_scores(self.setting, self.hyper, self._tables(fresh)) if len(fresh) else np.zeros(0)
        self._open, self._bounds = np.concatenate([self._open, fresh]), np.concatenate([self._bounds, bounds])
        order = np.argsort(-self._bounds, kind="stable")
        self._open, self._bounds = self._open[order], self._bounds[order]
        looked = 0
        while looked < min(CHECKS, len(self._open)) and self._bounds[looked] > self._score:
            table = self._tables(self._open[looked : looked + 1])
            score = float(checked_scores(self.setting, self.hyper, table, self._seed)[0][0])
            if score > self._score:
                self._score, self._best = score, table[0]
            looked += 1
        hopeful = self._bounds[looked:] > self._score
        self._open, self._bounds = self._open[looked:][hopeful], self._bounds[looked:][hopeful]
        figures = {"mean": self._score, "share": self._next / self.count, "open": float(len(self._open))}
        return self._best[None], np.array([self._score]), figures

    def mode(self) -> NDArray[Any]:
        return self._best

    def finished(self) -> bool:
        """Every table was looked at, and none is left that could be better."""
        return self._next == self.count and not len(self._open)

    def state(self) -> dict[str, Any]:
        return {
            "next": self._next,
            "score": self._score,
            "best": self._best.tolist(),
            "open": self._open.tolist(),
            "bounds": self._bounds.tolist(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self._next, self._score, self._best = state["next"], state["score"], np.array(state["best"])
        self._open, self._bounds = np.array(state["open"], dtype=np.int64), np.array(state["bounds"])
