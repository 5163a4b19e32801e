"""Cross-entropy search over deterministic tables: no network, the strongest simple method on message mechanisms.

A product distribution over tables is drawn from, the best few per cent are kept, and the distribution moves towards
them (engines E6). One instance is one start; `train.py` runs the starts.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluate import score_tables
from .hyper import Hyper
from .settings import DynamicSetting, Setting

RUNS = 4


class CrossEntropySearch:
    """One start of the search.

    Args:
        hyper: `batch` tables an iteration, `elite` share kept, `smoothing` towards it, `floor` on probabilities.
    """

    def __init__(self, setting: Setting | DynamicSetting, hyper: Hyper, seed: int, start: int) -> None:
        self.setting, self.hyper = setting, hyper
        self._seed = (seed, start)
        self._rng = np.random.default_rng([seed, start])
        self._rows = setting.legal / setting.legal.sum(axis=1, keepdims=True)

    def iterate(self, iteration: int) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, float]]:
        hyper = self.hyper
        cumulative = np.cumsum(self._rows, axis=1)
        uniforms = self._rng.random((hyper.batch, len(self._rows), 1))
        tables = (uniforms >= cumulative[:, :-1]).sum(axis=2)
        # Several response phases a table, or the elite are the lucky ones.
        rng_seed = int(self._rng.integers(2**62))
        runs, _ = score_tables(self.setting, hyper, tables, rng_seed=rng_seed, runs=RUNS)
        scores = runs.mean(axis=1)
        kept = tables[np.argsort(-scores, kind="stable")[: max(2, int(hyper.elite * hyper.batch))]]
        share = (kept[..., None] == np.arange(self._rows.shape[1])).mean(axis=0)
        moved = hyper.smoothing * share + (1 - hyper.smoothing) * self._rows
        moved = np.where(
            self.setting.legal, np.maximum(moved, hyper.floor / self.setting.legal.sum(axis=1)[:, None]), 0
        )
        self._rows = moved / moved.sum(axis=1, keepdims=True)
        safe = np.where(self._rows > 0, self._rows, 1.0)
        entropy = float(-(self._rows * np.log(safe)).sum(axis=1).mean())
        return tables, scores, {"mean": float(scores.mean()), "entropy": entropy}

    def mode(self) -> NDArray[Any]:
        return self._rows.argmax(axis=1)

    def finished(self) -> bool:
        """Every observation has settled on one action."""
        return bool(self._rows.max(axis=1).min() > 0.95)

    def state(self) -> dict[str, Any]:
        return {"rows": self._rows.tolist(), "rng": json.dumps(self._rng.bit_generator.state)}

    def load(self, state: dict[str, Any]) -> None:
        self._rows = np.array(state["rows"])
        self._rng.bit_generator.state = json.loads(state["rng"])
