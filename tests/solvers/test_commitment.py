"""Optimal commitment against known values and an independent program (theory T9)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from spverify.solvers.commitment import optimal_mixed_commitment, optimal_pure_commitment
from spverify.verify.errors import SpverifyError

GAMES = {
    "escape": [[(15, 15), (10, 10), (0, 0)], [(10, 10), (10, 10), (0, 0)], [(0, 0), (0, 0), (30, 30)]],
    "maintain": [[(20, 15), (0, 0), (0, 0)], [(30, 0), (10, 5), (0, 0)], [(0, 0), (0, 0), (5, 10)]],
    "conitzer": [[(1, 1), (3, 0)], [(0, 0), (2, 1)]],
    "two-by-two": [[(3, 2), (1, 3)], [(2, 0), (0, 1)]],
}


def tables(name: str) -> tuple[list[list[int]], list[list[int]]]:
    return [[a for a, _ in row] for row in GAMES[name]], [[b for _, b in row] for row in GAMES[name]]


def test_known_values(known_values: dict[str, Any]) -> None:
    for entry in known_values["commitment"]:
        leader, follower = tables(entry["name"])
        pure, mixed = optimal_pure_commitment(leader, follower), optimal_mixed_commitment(leader, follower)
        assert pure.value == entry["pure"] and pure.proved
        assert mixed.value == Fraction(str(entry["mixed"])) and mixed.proved


def test_knife_edges() -> None:
    maintain = optimal_mixed_commitment(*tables("maintain"))
    assert maintain.mixture == (Fraction(1, 4), Fraction(3, 4), 0) and maintain.margin == 0
    assert maintain.pessimistic == Fraction(15, 2)
    conitzer = optimal_mixed_commitment(*tables("conitzer"))
    assert conitzer.mixture == (Fraction(1, 2), Fraction(1, 2)) and conitzer.margin == 0
    assert optimal_pure_commitment(*tables("maintain")).margin == 15
    assert optimal_pure_commitment([[1], [2]], [[0], [0]]).margin is None


@given(rows=st.integers(1, 5), width=st.integers(1, 5), seed=st.integers(0, 10**6), power=st.sampled_from([-9, 0, 9]))
def test_mixed_against_an_independent_program(rows: int, width: int, seed: int, power: int) -> None:
    rng = np.random.default_rng(seed)
    leader, follower = rng.integers(-4, 9, (rows, width)), rng.integers(-4, 9, (rows, width))
    best = -np.inf
    for b in range(width):
        against = (follower - follower[:, b : b + 1]).T
        found = linprog(-leader[:, b], against, np.zeros(width), np.ones((1, rows)), [1.0], method="highs")
        if found.status == 0:
            best = max(best, -found.fun)
    scaled = [[Fraction(int(v)) * Fraction(10) ** power for v in row] for row in leader]
    other = [[Fraction(int(v)) * Fraction(10) ** -power for v in row] for row in follower]
    answer = optimal_mixed_commitment(scaled, other)
    assert answer.proved and sum(answer.mixture) == 1 and min(answer.mixture) >= 0
    assert float(answer.value / Fraction(10) ** power) == pytest.approx(best, abs=1e-7)
    pays = [sum(x * row[b] for x, row in zip(answer.mixture, other, strict=True)) for b in range(width)]
    assert pays[answer.response] == max(pays)
    assert answer.value >= optimal_pure_commitment(scaled, other).value >= answer.pessimistic or answer.margin == 0


def test_bad_tables() -> None:
    for leader, follower in (([[1, 2]], [[1]]), ([[1], [2, 3]], [[1], [2]]), ([["x"]], [[1]]), ([], [])):
        with pytest.raises(SpverifyError):
            optimal_mixed_commitment(leader, follower)
