"""Sampled dynamics compiled with numba: one copy, one round and one seed after another, without Python in between.

The rules are those of `rules.py`, case by case; random numbers come in ready-made, so both paths see the same ones. A
thread can run its own range of seeds, since nothing here holds the interpreter. At a fixed rate exponential weights are
multiplied by factors from a table, and computed afresh from the totals every so often, before rounding adds up.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

_OPTIMISTIC, _MATCHING, _MATCHING_PLUS, _EXP3, _PERTURBED, _FICTITIOUS, _BEST_RESPONSE = range(1, 8)
_AFRESH = 63
"""Weights are computed afresh at every update whose number has none of these bits."""
_SMALLEST, _LARGEST = 1e-30, 1e30
"""And whenever their sum leaves this range."""
_Index: Any = np.uint64
_ONE: Any = _Index(1)
"""Places in arrays are unsigned here: signed ones would be looked at for negative numbers, which costs a third of the
speed. An unsigned and a signed number make a float, so that even 1 needs its kind."""


@numba.njit(cache=True, nogil=True)
def play(
    code: int,
    anytime: bool,
    steady: Any,
    low: int,
    high: int,
    game_of: Any,
    cell_types: Any,
    cell_rows: Any,
    actions: Any,
    first_copy: Any,
    first_cell: Any,
    action_steps: Any,
    tables: Any,
    factors: Any,
    largest: Any,
    cumulative: Any,
    guide: Any,
    last_cell: Any,
    mask: Any,
    last_action: Any,
    coefficients: Any,
    memory: Any,
    latest: Any,
    bases: Any,
    now: Any,
    sums: Any,
    updates: Any,
    numbers: Any,
    noise: Any,
    kept: Any,
    seen_types: Any,
    seen_actions: Any,
) -> None:
    """Some rounds of the seeds ``low`` to ``high``, in place; the arrays are laid out by `run._Compiled`.

    ``now`` holds the next strategies up to a factor: those of a copy add up to its entry of ``sums``. ``bases`` are
    weights before the latest payoff is counted twice. ``steady`` says of each game whether weights go by ``factors``.
    Numbers and noise are of these seeds alone.
    """
    n, rounds = _Index(len(actions)), numbers.shape[1]
    keeping, watching = kept.shape[1] > 0, seen_types.shape[1] > 0
    played = np.zeros(len(actions), dtype=np.uint64)
    for b in range(low, high):
        g = game_of[b]
        x, totals, recent, plain, sum_of, count = now[b], memory[b], latest[b], bases[b], sums[b], updates[b]
        table, factor, steps, line, rate = tables[g], factors[g], guide[g], cumulative[g], coefficients[g]
        final, by_factors = last_cell[g], steady[g]
        for r in range(rounds):
            draws = numbers[b - low, r]
            if keeping:
                for i in range(n):
                    k, copy = first_cell[i], first_copy[i]
                    while k < (first_cell[i + _ONE] if i + _ONE < n else _Index(len(x))):
                        for _ in range(actions[i]):
                            kept[b, r, k] = x[k] / sum_of[copy]
                            k += _ONE
                        copy += _ONE
            u = draws[0]
            cell = steps[_Index(u * len(steps))]
            while cell < final and line[cell] <= u:
                cell += _ONE
            for i in range(n):
                drawn, width = cell_types[cell, i], actions[i]
                copy, start = first_copy[i] + drawn, first_cell[i] + drawn * width
                u, a, reached = draws[_ONE + i] * sum_of[copy], _Index(0), 0.0
                for k in range(start, start + width):  # counted through: a jump out is guessed wrong too often
                    reached += x[k]
                    a += _Index(reached <= u)
                played[i] = min(a, last_action[copy])
                if watching:
                    seen_types[b, r, i] = drawn
                    seen_actions[b, r, i] = played[i]
            noise_at = _Index(0)
            for i in range(n):
                at = cell_rows[cell, i]
                for j in range(n):
                    at += played[j] * action_steps[i, j]
                drawn, width = cell_types[cell, i], actions[i]
                copy, start = first_copy[i] + drawn, first_cell[i] + drawn * width
                count[copy] += 1

                # learn, and leave in `now` the next strategy or what it is made of
                total = 0.0
                if code in (_MATCHING, _MATCHING_PLUS):
                    mean, allowed = 0.0, 0
                    for a in range(width):
                        mean += table[at + a] * x[start + a]
                    for a in range(width):
                        k = start + a
                        if mask[k]:
                            value = totals[k] + (table[at + a] - mean)
                            if code == _MATCHING_PLUS and value < 0.0:
                                value = 0.0
                            totals[k] = value
                            x[k] = max(value, 0.0)
                            total += x[k]
                            allowed += 1
                    for k in range(start, start + width):
                        if total > 0:
                            x[k] /= total
                        elif mask[k]:
                            x[k] = 1.0 / allowed
                    continue
                if code == _EXP3:
                    a = played[i]
                    k = start + a
                    totals[k] -= (largest[g, i] - table[at + a]) / (x[k] / sum_of[copy])
                elif code == _BEST_RESPONSE:
                    for a in range(width):
                        totals[start + a] = table[at + a] if mask[start + a] else -np.inf
                elif not by_factors:
                    for a in range(width):
                        totals[start + a] += table[at + a]
                elif code == _OPTIMISTIC:
                    for a in range(width):
                        k = start + a
                        totals[k] += table[at + a]
                        base = plain[k] * factor[at + a]
                        plain[k] = base
                        value = base * factor[at + a]
                        x[k] = value
                        total += value
                else:
                    for a in range(width):
                        k = start + a
                        totals[k] += table[at + a]
                        value = x[k] * factor[at + a]
                        x[k] = value
                        total += value
                if code == _OPTIMISTIC:
                    for a in range(width):
                        recent[start + a] = table[at + a]
                if by_factors and (count[copy] & _AFRESH) != 0 and _SMALLEST < total < _LARGEST:
                    sum_of[copy] = total
                    continue

                eta = rate[copy]
                if anytime:
                    eta /= math.sqrt(count[copy] + 1.0)
                best, leader, total = -np.inf, start, 0.0
                for k in range(start, start + width):
                    if not mask[k]:
                        continue
                    score = totals[k]
                    if code == _OPTIMISTIC:
                        score = score + recent[k]
                    if code < _FICTITIOUS:
                        score = score * eta
                    if code == _PERTURBED:
                        score = score + noise[b - low, r, noise_at + k - start]
                    x[k] = score
                    if score > best:
                        best, leader = score, k
                noise_at += width
                if code >= _PERTURBED:
                    for k in range(start, start + width):
                        x[k] = 1.0 if k == leader else 0.0
                    continue
                for k in range(start, start + width):
                    if mask[k]:
                        x[k] = 1.0 if k == leader else math.exp(x[k] - best)
                        total += x[k]
                        if by_factors and code == _OPTIMISTIC:
                            plain[k] = math.exp(totals[k] * eta - best)
                sum_of[copy] = total
