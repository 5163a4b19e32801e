"""Smallest and largest value of an objective over the epsilon-BCCE of a game, each side ending in certificates.

Theory T4 (the three sets) and T5 (what proves what). Solvers search; the kernel decides: every number returned here
is the kernel's own or one that it accepted, so a solver's error can widen a range but never make it false.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from ..verify import fast_kernel
from ..verify.certificate import (
    Certificate,
    assessed,
    exact_objective,
    outer_certificate,
    round_multipliers,
)
from ..verify.errors import FormatError, UsageError
from ..verify.game import BayesianGame, FloatArray, array_of
from ..verify.kernel import SETS, check_certificate, objective_tensor
from ..verify.notebook import html_table
from ..verify.plain import Tensor, parse_number
from ..verify.play import MixturePlay, PlanPlay, Play, SparsePlay
from .arrays import Problem
from .branching import best_profile
from .search import ENTRY_BYTES, METHODS, Pool, Proof, Proposal, interior_seconds, search_cells, search_plans
from .threads import on_one_thread

PROOF_NODES = {False: 1_500_000, True: 40_000_000}
"""Longest strategic-form search that a certificate may ask of the kernel, and of its fast twin."""

NODE_SECONDS = {False: (3e-6, 6e-8), True: (2e-7, 3e-9)}
"""What a node of that search costs them: this, and this for each cell of the tables it updates (measured)."""

SEARCH_SHARE = 0.5
"""Of the time for the strategic form, what the search may take; the rest is for the proof."""

GRACE = 1.0
"""Seconds that an interrupt leaves for proving what the strategic form's search found."""

NS_SHARE = 0.7
"""Of the time for the non-signalling set, what its own search may take; the rest is for the sets around it."""

EXACT_CELLS = 1_000_000
"""Up to here an exact optimum is proved with its own long multipliers; beyond, with short ones and a loss of ~1e-9."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Side:
    """One end of a range.

    Attributes:
        outer: no member of the epsilon-set is worth more (for the minimum: less), exactly.
        inner: what the best play found is worth, exactly; None if none was found.
        inner_gap: that play's exact gap. ``inner`` bounds the true optimum only if this is at most epsilon.
        certificate: proves ``outer``.
        inner_certificate: proves ``inner`` and bounds ``inner_gap``.
        method: how this side was found and proved, in words.
        interrupted: whether the user stopped the search.
    """

    outer: Fraction
    inner: Fraction | None
    inner_gap: Fraction | None
    certificate: Certificate
    inner_certificate: Certificate | None
    method: str = ""
    interrupted: bool = False

    @property
    def width(self) -> Fraction | None:
        """How far apart ``outer`` and ``inner`` are; None without an inner play."""
        return None if self.inner is None else abs(self.outer - self.inner)

    @property
    def closed(self) -> bool:
        """Whether ``outer`` and ``inner`` are equal to within 1e-9 of the value's size."""
        return self.width is not None and self.width <= Fraction(1, 10**9) * max(abs(self.outer), Fraction(1, 10**9))


@dataclass(frozen=True)
class EquilibriumRange:
    """The proved interval of an objective over an equilibrium set.

    Attributes:
        objective: ``leader``, ``welfare``, ``player:I`` or ``custom``.
        equilibrium_set: ``sf``, ``ns`` or ``tc``.
        epsilon: largest allowed interim regret, payoff units.
        min, max: the two ends: ``min.outer <= true minimum`` and ``true maximum <= max.outer``.
        proved: the kernel accepted both ends, and both have a play whose gap is at most epsilon + 1e-9.
        method: how it was done, in words.
        seconds: wall time.
    """

    objective: str
    equilibrium_set: str
    epsilon: Fraction
    min: Side
    max: Side
    proved: bool
    method: str
    seconds: float

    @property
    def closed(self) -> bool:
        """Whether both ends are proved and known: ``outer`` and ``inner`` equal to within 1e-9 of the values' size."""
        return self.proved and self.min.closed and self.max.closed

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped a search, which may have made the range wider than it need be."""
        return self.min.interrupted or self.max.interrupted

    def _repr_html_(self) -> str:
        """A short table for notebooks: both ends, what is proved and what was reached."""
        status = "proved" if self.proved else "not proved"
        title = f"{self.objective} over {self.equilibrium_set} at epsilon {float(self.epsilon):g}, {status}"
        rows = [
            [name, f"{float(side.outer):g}", "none found" if side.inner is None else f"{float(side.inner):g}"]
            for name, side in (("least", self.min), ("most", self.max))
        ]
        return html_table(title, ["end", "bound", "play found"], rows)


def equilibrium_range(
    game: BayesianGame,
    *,
    objective: str | npt.ArrayLike | Tensor = "leader",
    equilibrium_set: str | None = None,
    epsilon: Fraction | float | str = 0,
    method: str = "auto",
    seconds: float = 60.0,
    memory: float | None = None,
    progress: Progress | None = None,
) -> EquilibriumRange:
    """Smallest and largest value of an objective over the epsilon-BCCE of a game (theory T4, T5).

    Args:
        game: the followers' game.
        objective: ``leader``, ``welfare``, ``player:I``, or an array with axes (types.., actions..) or 1
            (doubles, or a `Tensor` of exact numbers).
        equilibrium_set: ``sf`` (strategic form, what independent learners converge to; the default), ``ns``
            (non-signalling, contains it) or ``tc`` (type-conditional, contains both).
        epsilon: largest allowed interim regret, payoff units; a string or Fraction is exact.
        method: how to search. ``auto`` chooses by the game's shape and the search's progress. For tc and ns:
            ``direct`` (one linear program over all cells), ``interior`` (interior-point method over all cells, no
            matrix made); for tc also ``sifting`` (column generation over cells); for sf ``plans`` (column generation
            over strategy profiles).
        seconds: time for the searches. When it is spent, what is proved by then is returned, wider.
        memory: GiB that the linear programs may take (the game itself not counted); where they would need more, what
            is proved by then is returned, wider. None for no limit.
        progress: called with a line of text now and then.

    An interrupt (Ctrl-C) ends the searches; what is proved by then is returned.

    Returns:
        The range; both ends carry certificates that the kernel accepted.

    Raises:
        UsageError: an unknown objective or set, a method that the set or the game does not have, or a negative
            epsilon.

    Example:
        >>> from spverify.verify.game import BayesianGame
        >>> chicken = BayesianGame([[1]], [[[[[6, 2], [7, 0]]]], [[[[6, 7], [2, 0]]]]])
        >>> found = equilibrium_range(chicken, objective="welfare", equilibrium_set="tc")
        >>> found.min.outer, found.max.outer, found.max.inner, found.proved
        (Fraction(36, 5), Fraction(21, 2), Fraction(21, 2), True)
    """
    return _range(game, objective, equilibrium_set, epsilon, method, seconds, progress, _pool(memory))


def _pool(memory: float | None) -> Pool:
    if memory is None:
        return Pool()
    if not memory > 0:
        raise UsageError(f"expected a positive number of GiB, got {memory!r}", field="memory")
    return Pool(entries=memory * 2**30 / ENTRY_BYTES)


def _range(
    game: BayesianGame,
    objective: str | npt.ArrayLike | Tensor,
    equilibrium_set: str | None,
    epsilon: Fraction | float | str,
    method: str,
    seconds: float,
    progress: Progress | None,
    pool: Pool,
) -> EquilibriumRange:
    start = monotonic()
    which = equilibrium_set or "sf"
    if which not in SETS:
        raise UsageError(f"expected the equilibrium set sf, ns or tc, got {equilibrium_set!r}")
    if method not in METHODS[which]:
        known = ", ".join(METHODS[which][:-1]) + f" or {METHODS[which][-1]}"
        raise UsageError(f"expected the method {known} for the set {which}, got {method!r}", field="method")
    eps = parse_epsilon(epsilon)
    name = objective if isinstance(objective, str) else "custom"
    values = game.objective(array_of(objective) if isinstance(objective, Tensor) else objective)
    if isinstance(objective, Tensor):
        tensor = objective
    else:
        tensor = objective_tensor(game.plain, name) if isinstance(objective, str) else exact_objective(values, game)
    sides = {}
    for share, sense in ((0.5, "upper"), (1.0, "lower")):
        deadline = monotonic() + share * max(0.0, start + seconds - monotonic()) * (not pool.interrupted)
        told = None if progress is None else _prefixed(progress, "largest" if sense == "upper" else "smallest")
        problem = Problem(game, tensor, values, sense, eps)
        if method == "interior" and not problem.n_regrets:
            raise UsageError(
                "the method interior needs a player who can gain from a deviation; use direct", field="method"
            )
        aim = tensor if name == "custom" else name
        sides[sense] = _side(problem, aim, which, method, deadline, pool, told)
    # 1e-9 of slack is meant for payoffs of order 1; smaller payoffs get less
    largest = max(game.payoff_range(i) for i in range(game.n_players))
    tolerance = Fraction(1, 10**9) * min(Fraction(1), Fraction(largest))
    proved = all(side.inner_gap is not None and side.inner_gap <= eps + tolerance for side in sides.values())
    method = f"max: {sides['upper'].method}; min: {sides['lower'].method}"
    return EquilibriumRange(name, which, eps, sides["lower"], sides["upper"], proved, method, monotonic() - start)


def range_end(
    game: BayesianGame,
    objective: Tensor,
    *,
    sense: str,
    equilibrium_set: str,
    epsilon: Fraction,
    seconds: float,
    pool: Pool | None = None,
) -> Side:
    """One end of the range of an exact objective: the largest value for the sense ``upper``, else the least."""
    problem = Problem(game, objective, game.objective(array_of(objective)), sense, epsilon)
    return _side(problem, objective, equilibrium_set, "auto", monotonic() + seconds, pool or Pool(), None)


def range_curve(
    game: BayesianGame,
    epsilons: Iterable[Fraction | float | str],
    *,
    objective: str | npt.ArrayLike | Tensor = "leader",
    equilibrium_set: str | None = None,
    method: str = "auto",
    seconds: float = 60.0,
    memory: float | None = None,
    progress: Progress | None = None,
) -> list[EquilibriumRange]:
    """`equilibrium_range` for several epsilons, the time shared among them (theory T9: selection risk as a curve).

    Each search starts from the columns that the one before ended with.
    """
    start, grid, pool = monotonic(), list(epsilons), _pool(memory)
    out = []
    for k, epsilon in enumerate(grid):
        left = max(0.0, start + seconds - monotonic()) / (len(grid) - k)
        out.append(_range(game, objective, equilibrium_set, epsilon, method, left, progress, pool))
    return out


def parse_epsilon(value: Fraction | float | str) -> Fraction:
    """An epsilon made exact; UsageError if it is no number or negative."""
    try:
        epsilon = parse_number(value.item() if isinstance(value, np.generic) else value, "epsilon")
    except FormatError as error:
        raise UsageError(error.message, field="epsilon") from None
    if epsilon < 0:
        raise UsageError(f"expected a number that is not negative, got {float(epsilon):g}", field="epsilon")
    return epsilon


def _prefixed(progress: Progress, word: str) -> Progress:
    return lambda text: progress(f"{word} value: {text}")


# ------------------------------------------------------------------------------- from a search to a proved side


@on_one_thread
def _side(
    problem: Problem,
    aim: str | Tensor,
    which: str,
    method: str,
    deadline: float,
    pool: Pool,
    progress: Progress | None,
) -> Side:
    game, court = problem.game, Court(problem, aim, which)
    # with one joint type, or one player, the three sets are the same
    alike = game.prior.size == 1 or game.n_players == 1
    found = Proposal()
    try:
        if which == "sf" and (not alike or method == "plans"):
            now = monotonic()
            until = now + SEARCH_SHARE * (deadline - now)
            found = search_plans(problem, deadline=until, pool=pool, progress=progress)
            if pool.interrupted:
                until = monotonic()
                deadline = min(deadline, until + GRACE)
            if progress:
                progress("the kernel replays the proof")
            if not found.converged:
                # what the plans' duals prove is far out then: the sets that contain this one first
                court.outside(found, until + 0.5 * (deadline - until), progress, pool)
                court.strategic(found, deadline)
            elif not court.strategic(found, deadline):
                court.outside(found, deadline, progress, pool)
        elif which == "tc" or alike:
            options: dict[str, Any] = {"deadline": deadline, "progress": progress, "pool": pool, "method": method}
            found = search_cells(problem, signalling=True, **options)
            court.multipliers(found)
        else:
            found = _non_signalling(problem, method, deadline, pool, progress)
            court.multipliers(found)
    except KeyboardInterrupt:
        pool.interrupted = True
    if pool.interrupted:
        found.method += ", interrupted"
    certificate = court.outer()
    inner, gap = court.inner([_as_set(play, game, which) for play in found.plays])
    method, value = found.method.strip(", "), inner.value if inner else None
    return Side(certificate.value, value, gap, certificate, inner, method, pool.interrupted)


def _non_signalling(problem: Problem, method: str, deadline: float, pool: Pool, progress: Progress | None) -> Proposal:
    """The non-signalling program; where it is too large or slow, also the sets on either side of it."""
    start = monotonic()
    until = start + NS_SHARE * (deadline - start)
    found = search_cells(problem, signalling=False, deadline=until, progress=progress, pool=pool, method=method)
    if found.converged or pool.interrupted:
        return found
    if not found.proofs:
        half = 0.5 * (monotonic() + deadline)
        outer = search_cells(problem, signalling=True, deadline=half, progress=progress, pool=pool)
        found.proofs = outer.proofs
        found.method += f"; bound from the type-conditional set ({outer.method})"
    inner = search_plans(problem, deadline=deadline, pool=pool, progress=progress)
    found.plays = inner.plays + found.plays
    found.method += f"; play from the strategic form ({inner.method})"
    return found


def _as_set(play: Play, game: BayesianGame, which: str) -> Play:
    """A conditional play of one joint type or one player in a form that shows it to be of the strategic form."""
    if which != "sf" or not isinstance(play, SparsePlay):
        return play
    weights = [mass for *_, mass in play.cells]
    if game.n_players > 1:
        return PlanPlay(weights, [[[actions[i]] for _, actions, _ in play.cells] for i in range(game.n_players)])
    rows = [[Fraction(0)] * game.action_shape[0] for _ in range(game.type_shape[0])]
    for (t,), (a,), mass in play.cells:
        rows[t][a] = mass
    return MixturePlay([Fraction(1)], [[rows]])


class Court:
    """Collects what the kernel accepts about one side, and picks the best of it."""

    def __init__(self, problem: Problem, aim: str | Tensor, which: str) -> None:
        self.problem, self.game, self.which, self.aim = problem, problem.game, which, aim
        self.sense = "upper" if problem.sign > 0 else "lower"
        self.fast = fast_kernel.big(problem.game.plain)
        self.accepted: list[Certificate] = []

    def _accepts(self, certificate: Certificate) -> bool:
        """The kernel's answer; the game is handed over as it is, which spares parsing the certificate's copy of it."""
        plain = self.game.plain
        check = fast_kernel.check_certificate if self.fast else check_certificate
        return check(certificate.content, plain).accepted

    def _try(self, proof: Proof) -> bool:
        certificate = outer_certificate(
            self.game,
            sense=self.sense,
            equilibrium_set=self.which,
            objective=self.aim,
            epsilon=self.problem.epsilon,
            multipliers=proof.multipliers,
            potentials=proof.potentials,
            value=proof.value,
        )
        # without a value the certificate claims what the kernel itself found; on big games once is enough
        if not (proof.value is None and fast_kernel.big(self.game.plain)) and not self._accepts(certificate):
            return False
        self.accepted.append(certificate)
        return True

    def multipliers(self, found: Proposal) -> None:
        """Bounds that multipliers prove at once, by a maximum at each joint type."""
        for proof in found.proofs:
            if proof.value is not None and math.prod(self.game.shape) > EXACT_CELLS:
                continue
            if self._try(proof) and proof.value is not None:
                return  # the value of an exact optimum: nothing better is to be had
            if proof.value is not None:
                self._try(Proof(proof.multipliers, proof.potentials))

    def outer(self) -> Certificate:
        """The best accepted bound; multipliers of zero prove the most that any play could be worth."""
        if not self.accepted:
            self._try(Proof([np.zeros(mask.shape) for mask in self.game.feasible]))
        return min(self.accepted, key=lambda certificate: self.problem.sign * certificate.value)

    def inner(self, plays: list[Play]) -> tuple[Certificate | None, Fraction | None]:
        """The first play that the kernel accepts as a member of the set, with its exact gap."""
        for play in plays:
            certificate, gap, member = assessed(
                self.game, play, objective=self.aim, epsilon=self.problem.epsilon, equilibrium_set=self.which
            )
            if member:  # the certificate claims the kernel's own value and gap, which need not be found twice
                return certificate, gap
        return None, None

    def strategic(self, found: Proposal, deadline: float) -> bool:
        """Bounds that only the search over strategies proves; False if none as tight as the search found."""
        return any(self._strategic(proof, deadline) for proof in found.proofs)

    def _strategic(self, proof: Proof, deadline: float) -> bool:
        problem = self.problem
        rows = proof.multipliers if proof.value is not None else round_multipliers(self.game, proof.multipliers)
        y = [np.zeros(mask.shape) for mask in self.game.feasible]
        for i, t, a, number in rows:
            y[i][t, a] = float(number) * problem.payoff_scale[i] / problem.objective_scale
        c = problem.pricer.whole(y)
        paid = sum(float(problem.epsilon) / s * float(z.sum()) for s, z in zip(problem.payoff_scale, y, strict=True))
        if proof.value is not None:
            limit = (problem.sign * float(proof.value) - problem.objective_low) / problem.objective_scale - paid
            return self._replays(c, limit + 1e-11, deadline) and self._try(Proof(rows, None, proof.value))
        top = best_profile(c, self.game, limit=-np.inf, deadline=deadline, max_nodes=20 * PROOF_NODES[False])
        # a claim further out has a shorter proof: the nearest that the kernel can follow, by bisection of the exponent
        fails, works = -10.0, 1.0
        if self._replays(c, top.bound + 10.0**fails, deadline):
            works = fails
        while works - fails > 0.1:
            middle = 0.5 * (fails + works)
            if self._replays(c, top.bound + 10.0**middle, deadline):
                works = middle
            else:
                fails = middle
        claim = self._outward(top.bound + 10.0**works + paid)
        return self._try(Proof(rows, None, claim)) and top.complete and works < -8.0

    def _replays(self, c: FloatArray, limit: float, deadline: float) -> bool:
        """Whether the kernel's search would end in time, found out by running through it in doubles."""
        types, actions = self.game.type_shape, self.game.action_shape
        cells = max(math.prod(types) // t * max(actions) for t in types)
        node, cell = NODE_SECONDS[self.fast]
        affordable = max(deadline - monotonic(), 0.5) / (node + cell * cells)
        most = min(PROOF_NODES[self.fast], int(affordable))
        return best_profile(c, self.game, limit=limit, max_nodes=most, improve=False).complete

    def _outward(self, scaled: float) -> Fraction:
        """A short rational just outside a scaled value, in the objective's own units."""
        low, scale = Fraction(self.problem.objective_low), Fraction(self.problem.objective_scale)
        grid = Fraction(2) ** (math.frexp(self.problem.objective_scale)[1] - 36)
        value = low + scale * Fraction(scaled)
        return self.problem.sign * (math.ceil(value / grid) * grid)

    def outside(self, found: Proposal, deadline: float, progress: Progress | None, pool: Pool) -> None:
        """Bounds over the sets that contain the strategic form, where its own could not be proved."""
        options = {"deadline": deadline, "progress": progress, "pool": pool}
        # the type-conditional set is quick, and says something even where the other runs out of time
        self.multipliers(search_cells(self.problem, signalling=True, **options))  # type: ignore[arg-type]
        found.method += "; bound also from the type-conditional set"
        if interior_seconds(self.problem) <= deadline - monotonic():
            self.multipliers(search_cells(self.problem, signalling=False, **options))  # type: ignore[arg-type]
            found.method += " and the non-signalling set"
        for proof in found.proofs:
            self._try(Proof(proof.multipliers))
