"""Sampled dynamics compiled with numba: one copy, one round and one seed after another, without Python in between.

The rules are those of `rules.py`, case by case; random numbers come in ready-made, so both paths see the same ones. A
thread can run its own range of seeds, since nothing here holds the interpreter.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

_OPTIMISTIC, _MATCHING, _MATCHING_PLUS, _EXP3, _PERTURBED, _FICTITIOUS, _BEST_RESPONSE = range(1, 8)


@numba.njit(cache=True, nogil=True)
def play(
    code: int,
    anytime: bool,
    low: int,
    high: int,
    game_of: Any,
    cell_types: Any,
    cell_rows: Any,
    actions: Any,
    first_copy: Any,
    first_cell: Any,
    widths: Any,
    action_steps: Any,
    tables: Any,
    largest: Any,
    cumulative: Any,
    guide: Any,
    last_cell: Any,
    mask: Any,
    last_action: Any,
    coefficients: Any,
    memory: Any,
    latest: Any,
    now: Any,
    updates: Any,
    numbers: Any,
    noise: Any,
    kept: Any,
    seen_types: Any,
    seen_actions: Any,
) -> None:
    """Some rounds of the seeds ``low`` to ``high``, in place; the arrays are laid out by `run._Compiled`."""
    n, rounds = len(actions), numbers.shape[1]
    keeping, watching = kept.shape[1] > 0, seen_types.shape[1] > 0
    played = np.zeros(n, dtype=np.int64)
    for b in range(low, high):
        g = game_of[b]
        for r in range(rounds):
            if keeping:
                for k in range(now.shape[1]):
                    kept[b, r, k] = now[b, k]
            u, end = numbers[b, r, 0], last_cell[g]
            cell = guide[g, int(u * guide.shape[1])]
            while cell < end and cumulative[g, cell] <= u:
                cell += 1
            for i in range(n):
                drawn = cell_types[cell, i]
                start = first_cell[i] + drawn * actions[i]
                end, u, a = last_action[first_copy[i] + drawn], numbers[b, r, 1 + i], 0
                reached = now[b, start]
                while reached <= u and a < end:
                    a += 1
                    reached += now[b, start + a]
                played[i] = a
                if watching:
                    seen_types[b, r, i] = drawn
                    seen_actions[b, r, i] = a
            noise_at = 0
            for i in range(n):
                at, step = cell_rows[cell, i], 1 if widths[i] > 1 else 0
                for j in range(n):
                    at += played[j] * action_steps[i, j]
                copy, width = first_copy[i] + cell_types[cell, i], actions[i]
                start = first_cell[i] + cell_types[cell, i] * width
                stop = start + width
                updates[b, copy] += 1
                eta = coefficients[g, copy]
                if anytime:
                    eta /= math.sqrt(updates[b, copy] + 1.0)

                # learn, and leave in `now` what the next strategy is made of
                best, leader, total, allowed = -np.inf, start, 0.0, 0
                if code in (_MATCHING, _MATCHING_PLUS):
                    mean = 0.0
                    for a in range(width):
                        mean += tables[g, at + a * step] * now[b, start + a]
                    for a in range(width):
                        if mask[start + a]:
                            value = memory[b, start + a] + (tables[g, at + a * step] - mean)
                            if code == _MATCHING_PLUS and value < 0.0:
                                value = 0.0
                            memory[b, start + a] = value
                            now[b, start + a] = max(value, 0.0)
                            total += now[b, start + a]
                            allowed += 1
                    for k in range(start, stop):
                        if total > 0:
                            now[b, k] /= total
                        elif mask[k]:
                            now[b, k] = 1.0 / allowed
                    continue
                if code == _EXP3:
                    k = start + played[i]
                    memory[b, k] -= (largest[g, i] - tables[g, at + played[i] * step]) / now[b, k]
                for a in range(width):
                    k = start + a
                    if not mask[k]:
                        continue
                    gain = tables[g, at + a * step]
                    if code == _BEST_RESPONSE:
                        memory[b, k] = gain
                    elif code != _EXP3:
                        memory[b, k] += gain
                    score = memory[b, k]
                    if code == _OPTIMISTIC:
                        latest[b, k] = gain
                        score = score + gain
                    if code < _FICTITIOUS:
                        score = score * eta
                    if code == _PERTURBED:
                        score = score + noise[b, r, noise_at + a]
                    now[b, k] = score
                    if score > best:
                        best, leader = score, k
                noise_at += width

                if code >= _PERTURBED:
                    for k in range(start, stop):
                        now[b, k] = 1.0 if k == leader else 0.0
                    continue
                for k in range(start, stop):
                    if mask[k]:
                        now[b, k] = 1.0 if k == leader else math.exp(now[b, k] - best)
                        total += now[b, k]
                share = 1.0 / total
                for k in range(start, stop):
                    now[b, k] *= share
