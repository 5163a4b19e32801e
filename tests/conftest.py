"""Fixtures every room's tests share, and the settings that keep the suite repeatable.

Reference values come from outside the code under test: `data/` holds brute-force ranges and published values.
"""

from __future__ import annotations

import os

# Set before numpy is first imported: small contractions are slower on more threads, and workers share cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Repeatable by default; `HYPOTHESIS_PROFILE=explore pytest` draws fresh examples.
settings.register_profile("repeatable", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The repository root, which is the package `spverify`."""
    return ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """`tests/data`: reference files from outside this project's code."""
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def examples_dir() -> Path:
    """`examples`: the game, play and log files the documentation refers to."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def known_values(data_dir: Path) -> dict[str, Any]:
    """Published and closed-form values (`tests/data/known_values.json`)."""
    return json.loads((data_dir / "known_values.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def equilibrium_ranges(data_dir: Path) -> list[dict[str, Any]]:
    """Brute-force ranges of the leader's value (`tests/data/equilibrium_ranges.json`)."""
    return json.loads((data_dir / "equilibrium_ranges.json").read_text(encoding="utf-8"))
