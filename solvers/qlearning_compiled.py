"""The loop of `qlearning.py` compiled with numba: one run after another, one period after another.

The numbers are those of the numpy path, operation by operation; nothing here holds the interpreter.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .qlearning import GOLDEN, MIX_1, MIX_2

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)
_30, _27, _31, _11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@numba.njit(cache=True, nogil=True)
def play_periods(
    successor: Any,
    payoffs: Any,
    leader: Any,
    actions: Any,
    steps: Any,
    game_of: Any,
    keys: Any,
    rate: float,
    discount: float,
    rounds: int,
    starts: Any,
    first: int,
    explore: Any,
    values: Any,
    state: Any,
    changed: Any,
    total: Any,
) -> None:
    """Some periods of all runs, in place; arguments as in `qlearning._play_periods`."""
    n = len(actions)
    played = np.zeros(n, dtype=np.int64)
    greedy = np.zeros(n, dtype=np.int64)
    for b in range(len(game_of)):
        g, s, key = game_of[b], state[b], keys[b]
        sofar = total[b]
        counter = key + np.uint64(2 + first * n) * _GOLDEN
        for k in range(len(explore)):
            t, chance, joint = first + k, explore[k], 0
            for i in range(n):
                best, at = values[b, i, s, 0], 0
                for a in range(1, actions[i]):
                    if values[b, i, s, a] > best:
                        best, at = values[b, i, s, a], a
                greedy[i] = at
                x = counter
                counter += _GOLDEN
                x = (x ^ (x >> _30)) * _MIX_1
                x = (x ^ (x >> _27)) * _MIX_2
                u = ((x ^ (x >> _31)) >> _11) * 2.0**-53
                if u < chance:
                    at = min(int(u / chance * actions[i]), actions[i] - 1)
                played[i] = at
                joint += at * steps[i]
            after = successor[g, s, joint]
            ends = rounds > 0 and (t + 1) % rounds == 0
            sofar += leader[g, s, joint]
            for i in range(n):
                target = payoffs[g, i, s, joint]
                if not ends:
                    most = values[b, i, after, 0]
                    for a in range(1, actions[i]):
                        if values[b, i, after, a] > most:
                            most = values[b, i, after, a]
                    target = target + discount * most
                old = values[b, i, s, played[i]]
                values[b, i, s, played[i]] = old + rate * (target - old)
                best, at = values[b, i, s, 0], 0
                for a in range(1, actions[i]):
                    if values[b, i, s, a] > best:
                        best, at = values[b, i, s, a], a
                if at != greedy[i]:
                    changed[b, i] = t + 1
            s = starts[b] if ends else after
        state[b] = s
        total[b] = sofar
