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


@numba.njit(cache=True, nogil=True)
def play(
    code: int,
    anytime: bool,
    by_factors: bool,
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
    weights before the latest payoff is counted twice. Numbers and noise are of these seeds alone.
    """
    n, rounds = len(actions), numbers.shape[1]
    keeping, watching = kept.shape[1] > 0, seen_types.shape[1] > 0
    played = np.zeros(n, dtype=np.int64)
    for b in range(low, high):
        g = game_of[b]
        x, totals, recent, plain, sum_of, count = now[b], memory[b], latest[b], bases[b], sums[b], updates[b]
        table, factor, steps, line, rate = tables[g], factors[g], guide[g], cumulative[g], coefficients[g]
        final = last_cell[g]
        for r in range(rounds):
            draws = numbers[b - low, r]
            if keeping:
                for i in range(n):
                    k, copy = first_cell[i], first_copy[i]
                    while k < (first_cell[i + 1] if i + 1 < n else len(x)):
                        for _ in range(actions[i]):
                            kept[b, r, k] = x[k] / sum_of[copy]
                            k += 1
                        copy += 1
            u = draws[0]
            cell = steps[int(u * len(steps))]
            while cell < final and line[cell] <= u:
                cell += 1
            for i in range(n):
                drawn, width = cell_types[cell, i], actions[i]
                copy, start = first_copy[i] + drawn, first_cell[i] + drawn * width
                u, a, reached = draws[1 + i] * sum_of[copy], 0, 0.0
                mine = x[start : start + width]
                for k in range(len(mine)):  # counted through, because a jump out is guessed wrong too often
                    reached += mine[k]
                    a += 1 if reached <= u else 0
                played[i] = min(a, last_action[copy])
                if watching:
                    seen_types[b, r, i] = drawn
                    seen_actions[b, r, i] = played[i]
            noise_at = 0
            for i in range(n):
                at = cell_rows[cell, i]
                for j in range(n):
                    at += played[j] * action_steps[i, j]
                copy, width = first_copy[i] + cell_types[cell, i], actions[i]
                start = first_cell[i] + cell_types[cell, i] * width
                stop = start + width
                mine, own, gains = x[start:stop], totals[start:stop], table[at : at + width]
                count[copy] += 1

                # learn, and leave in `now` the next strategy or what it is made of
                total = 0.0
                if code in (_MATCHING, _MATCHING_PLUS):
                    mean, allowed, feasible = 0.0, 0, mask[start:stop]
                    for a in range(width):
                        mean += gains[a] * mine[a]
                    for a in range(width):
                        if feasible[a]:
                            value = own[a] + (gains[a] - mean)
                            if code == _MATCHING_PLUS and value < 0.0:
                                value = 0.0
                            own[a] = value
                            mine[a] = max(value, 0.0)
                            total += mine[a]
                            allowed += 1
                    for a in range(width):
                        if total > 0:
                            mine[a] /= total
                        elif feasible[a]:
                            mine[a] = 1.0 / allowed
                    continue
                if code == _EXP3:
                    a = played[i]
                    own[a] -= (largest[g, i] - gains[a]) / (mine[a] / sum_of[copy])
                elif code == _BEST_RESPONSE:
                    for a in range(width):
                        own[a] = gains[a] if mask[start + a] else -np.inf
                elif not by_factors:
                    for a in range(width):
                        own[a] += gains[a]
                elif code == _OPTIMISTIC:
                    times, base = factor[at : at + width], plain[start:stop]
                    for a in range(width):
                        own[a] += gains[a]
                        base[a] *= times[a]
                        mine[a] = base[a] * times[a]
                        total += mine[a]
                else:
                    times = factor[at : at + width]
                    for a in range(width):
                        own[a] += gains[a]
                        mine[a] *= times[a]
                        total += mine[a]
                if code == _OPTIMISTIC:
                    recent[start:stop] = gains
                if by_factors and (count[copy] & _AFRESH) != 0 and _SMALLEST < total < _LARGEST:
                    sum_of[copy] = total
                    continue

                eta = rate[copy]
                if anytime:
                    eta /= math.sqrt(count[copy] + 1.0)
                best, leader, total = -np.inf, start, 0.0
                for k in range(start, stop):
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
                    for k in range(start, stop):
                        x[k] = 1.0 if k == leader else 0.0
                    continue
                for k in range(start, stop):
                    if mask[k]:
                        x[k] = 1.0 if k == leader else math.exp(x[k] - best)
                        total += x[k]
                        if by_factors and code == _OPTIMISTIC:
                            plain[k] = math.exp(totals[k] * eta - best)
                sum_of[copy] = total
