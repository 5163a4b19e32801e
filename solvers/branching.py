"""Branch and bound for the best pure strategy profile, compiled: exact pricing, and a trial of the kernel's proof.

It searches what the kernel searches (theory T5): all players but the one with most strategies choose, one (player, own
type) after the other in the kernel's order, and that one's reply decomposes over its own types. So the number of nodes
a proof needs is known before the kernel is asked. The search runs in slices, so that time limits and Ctrl-C work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numba
import numpy as np

from ..verify.game import BayesianGame, FloatArray
from .arrays import IntArray

SLICE = 1 << 18
"""Nodes between two looks at the clock: tens of milliseconds."""


@dataclass(frozen=True, eq=False)
class Search:
    """What branch and bound found.

    Attributes:
        bound: no profile is worth more.
        profile: the best profile found above the limit, packed; None if there is none.
        nodes: nodes visited.
        complete: False if it ran out of nodes or time; ``bound`` holds all the same.
    """

    bound: float
    profile: IntArray | None
    nodes: int
    complete: bool


def best_profile(
    c: FloatArray,
    game: BayesianGame,
    *,
    limit: float,
    deadline: float = np.inf,
    max_nodes: float = np.inf,
    improve: bool = True,
    enough: float = np.inf,
) -> Search:
    """The profile s that maximises the sum over types of c(types, s(types)).

    Args:
        c: axes (types.., actions..), -inf where infeasible.
        game: for the masks.
        limit: profiles worth at most this do not matter.
        deadline: `time.monotonic` value at which to stop.
        max_nodes: how many nodes to visit.
        improve: raise the limit to the best value found; False replays the kernel's proof that nothing exceeds it.
        enough: how many nodes to visit once some profile above the limit is found.
    """
    tree = _Tree(c, game)
    if tree.root_bound <= limit:
        return Search(limit, None, 1, True)
    if not len(tree.players):
        return Search(tree.root_bound, tree.profile(np.zeros(0, dtype=np.int64), tree.root), 1, True)
    return tree.run(limit, deadline, max_nodes, improve, enough)


class _Tree:
    """The tables of one search.

    ``tops[types, code, a]`` is the most c can be at a joint type for reply a of the last player, where ``code`` says
    what the others chose there: for each its action, or one past its actions while it is free.
    """

    def __init__(self, c: FloatArray, game: BayesianGame) -> None:
        n, masks = game.n_players, game.feasible
        sizes = [sum(math.log(count) for count in mask.sum(axis=1)) for mask in masks]
        self.last = max(range(n), key=lambda i: (sizes[i], i))
        others = [i for i in range(n) if i != self.last]
        self.game, types = game, game.type_shape
        tops = np.moveaxis(c, n + self.last, -1)
        for k in range(n - 1):
            tops = np.concatenate([tops, tops.max(axis=n + k, keepdims=True)], axis=n + k)
        self.widths = [game.action_shape[i] for i in others]
        strides = [math.prod(w + 1 for w in self.widths[k + 1 :]) for k in range(n - 1)]
        tops = np.ascontiguousarray(tops.reshape(game.prior.size, -1, game.action_shape[self.last]))
        grid = np.indices(types).reshape(n, -1)
        self.own = grid[self.last]
        self.root = np.zeros((types[self.last], tops.shape[2]))
        np.add.at(self.root, self.own, tops[:, -1])
        self.root_bound = float(self.root.max(axis=1).sum())
        # the root keeps -inf at the last player's infeasible actions, so that the changes to it may be finite
        self.tops = np.where(np.isfinite(tops), tops, 0.0)
        pairs = [(k, t) for k, i in enumerate(others) for t in range(types[i])]
        scored: list[tuple[float, int, IntArray, IntArray]] = []
        for k, t in pairs:
            here, free = np.flatnonzero(grid[others[k]] == t), self.tops.shape[1] - 1
            actions = np.flatnonzero(masks[others[k]][t])
            codes = free + (actions - self.widths[k]) * strides[k]
            change = np.zeros((len(actions), *self.root.shape))
            moved = self.tops[here[:, None], codes] - self.tops[here, free][:, None]
            np.add.at(change.swapaxes(0, 1), self.own[here], moved)
            scored.append((float((self.root + change).max(axis=2).sum(axis=1).mean()), len(scored), here, actions))
        scored.sort(key=lambda entry: entry[:2])
        self.players = np.array([pairs[at][0] for _, at, *_ in scored], dtype=np.int64)
        self.types = np.array([pairs[at][1] for _, at, *_ in scored], dtype=np.int64)
        self.strides = np.array([strides[k] for k in self.players], dtype=np.int64)
        self.here, self.counts = _padded([here for *_, here, _ in scored])
        self.actions, self.widest = _padded([actions for *_, actions in scored])
        self.others = others

    def run(self, limit: float, deadline: float, max_nodes: float, improve: bool, enough: float) -> Search:
        depth, width = self.actions.shape
        own, replies = self.root.shape
        totals = np.zeros((depth + 1, own, replies))
        totals[0] = self.root
        codes = np.full((depth + 1, len(self.own)), self.tops.shape[1] - 1, dtype=np.int64)
        children, bounds = np.zeros((depth, width), dtype=np.int64), np.full((depth, width), -np.inf)
        # where the search stands: level, next child at each level, how many children each level has
        at, count = np.zeros(depth, dtype=np.int64), np.full(depth, -1, dtype=np.int64)
        frees = np.array([self.widths[k] for k in self.players], dtype=np.int64)
        best, best_totals = np.full(depth, -1, dtype=np.int64), np.zeros((own, replies))
        start, nodes, level = limit, 1, 0
        while level >= 0:
            room = min(SLICE, max_nodes - nodes)
            if room <= 0 or monotonic() > deadline:
                break
            level, visited, limit = _search(
                level,
                int(room),
                limit,
                improve,
                self.tops,
                self.own,
                self.here,
                self.counts,
                self.actions,
                self.widest,
                self.strides,
                frees,
                totals,
                codes,
                children,
                bounds,
                at,
                count,
                best,
                best_totals,
            )
            nodes += visited
            if best[0] >= 0:
                if not improve:
                    break
                max_nodes = min(max_nodes, nodes + enough)
                enough = np.inf
        found = best[0] >= 0
        profile = self.profile(best, best_totals) if found else None
        if level < 0:
            return Search(limit if found else start, profile, nodes, improve or not found)
        left = [self.root_bound] if nodes == 1 else []
        for k in range(level + 1):
            left.extend(bounds[k, at[k] : max(count[k], 0)].tolist())
            if count[k] < 0:
                left.append(float(totals[k].max(axis=1).sum()))
        if found and not improve:
            left.append(float(best_totals.max(axis=1).sum()))
        return Search(max(limit, *left), profile, nodes, False)

    def profile(self, chosen: IntArray, totals: FloatArray) -> IntArray:
        """The packed profile of some choices, the last player answering them."""
        strategies = [np.zeros(count, dtype=np.int64) for count in self.game.type_shape]
        for k, t, a in zip(self.players.tolist(), self.types.tolist(), chosen.tolist(), strict=True):
            strategies[self.others[k]][t] = a
        strategies[self.last] = totals.argmax(axis=1)
        return np.concatenate(strategies)[None]


def _padded(rows: list[IntArray]) -> tuple[IntArray, IntArray]:
    """Rows of different lengths as one array, and their lengths."""
    counts = np.array([len(row) for row in rows], dtype=np.int64)
    out = np.zeros((len(rows), int(counts.max(initial=0))), dtype=np.int64)
    for k, row in enumerate(rows):
        out[k, : len(row)] = row
    return out, counts


@numba.njit(cache=True, nogil=True)
def _search(
    level: int,
    room: int,
    limit: float,
    improve: bool,
    tops: Any,
    own: Any,
    here: Any,
    counts: Any,
    actions: Any,
    widest: Any,
    strides: Any,
    frees: Any,
    totals: Any,
    codes: Any,
    children: Any,
    bounds: Any,
    at: Any,
    count: Any,
    best: Any,
    best_totals: Any,
) -> Any:
    """Some nodes of the search from where it stands, in place; returns (level, nodes visited, limit).

    ``count[level]`` is -1 until the children of the node at that level are reckoned; the level is -1 at the end. With
    ``improve`` children go by falling bound; a profile above the limit raises it, or ends the slice without.
    """
    depth = len(strides)
    n_own, replies = totals.shape[1], totals.shape[2]
    visited = 0
    rest = np.empty((n_own, replies))
    while level >= 0 and visited < room:
        if count[level] < 0:
            # what the totals are without the joint types that this choice touches, then with each choice there
            for t in range(n_own):
                for b in range(replies):
                    rest[t, b] = totals[level, t, b]
            for j in range(counts[level]):
                theta = here[level, j]
                row = tops[theta, codes[level, theta]]
                for b in range(replies):
                    rest[own[theta], b] -= row[b]
            kept = 0
            for k in range(widest[level]):
                step = (actions[level, k] - frees[level]) * strides[level]
                scratch = totals[level + 1]
                for t in range(n_own):
                    for b in range(replies):
                        scratch[t, b] = rest[t, b]
                for j in range(counts[level]):
                    theta = here[level, j]
                    row = tops[theta, codes[level, theta] + step]
                    for b in range(replies):
                        scratch[own[theta], b] += row[b]
                bound = 0.0
                for t in range(n_own):
                    most = scratch[t, 0]
                    for b in range(1, replies):
                        if scratch[t, b] > most:
                            most = scratch[t, b]
                    bound += most
                visited += 1
                if bound > limit:
                    place = kept
                    if improve:
                        while place > 0 and bounds[level, place - 1] < bound:
                            bounds[level, place] = bounds[level, place - 1]
                            children[level, place] = children[level, place - 1]
                            place -= 1
                    bounds[level, place] = bound
                    children[level, place] = actions[level, k]
                    kept += 1
            count[level] = kept
            at[level] = 0
        while at[level] < count[level] and bounds[level, at[level]] <= limit:
            at[level] += 1
        if at[level] == count[level]:
            count[level] = -1
            level -= 1
            continue
        action = children[level, at[level]]
        at[level] += 1
        step = (action - frees[level]) * strides[level]
        for t in range(n_own):
            for b in range(replies):
                totals[level + 1, t, b] = totals[level, t, b]
        for j in range(len(own)):
            codes[level + 1, j] = codes[level, j]
        for j in range(counts[level]):
            theta = here[level, j]
            old = tops[theta, codes[level, theta]]
            new = tops[theta, codes[level, theta] + step]
            codes[level + 1, theta] = codes[level, theta] + step
            for b in range(replies):
                totals[level + 1, own[theta], b] += new[b] - old[b]
        if level + 1 < depth:
            level += 1
            count[level] = -1
            continue
        for k in range(depth):
            best[k] = children[k, at[k] - 1]
        for t in range(n_own):
            for b in range(replies):
                best_totals[t, b] = totals[depth, t, b]
        if not improve:
            return level, visited, limit
        limit = bounds[level, at[level] - 1]
    return level, visited, limit
