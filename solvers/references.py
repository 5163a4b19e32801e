"""References for a leader's value (theory T9): pure Bayes-Nash equilibria, and what no commitment can beat.

The two are yardsticks for a leader, not statements about learners. Which bound on commitments is valid depends on
what the leader observes; the function asks, and the naive program is not offered for a leader who observes actions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from time import monotonic
from typing import Any

import highspy
import numpy as np

from ..verify.certificate import Certificate
from ..verify.errors import UsageError
from ..verify.game import BayesianGame, FloatArray
from ..verify.kernel import exact_regrets, exact_value, marginals, objective_tensor
from ..verify.play import PlanPlay, exact
from .arrays import Columns, IntArray, Problem
from .bounds import equilibrium_range, parse_epsilon
from .commitment import Commitment, optimal_mixed_commitment
from .linear import Program
from .plans import pack, plan_columns, unpack

MOST_PROFILES = 2_000_000
MOST_EQUILIBRIA = 20_000
MOST_CELLS = 30_000
MOST_REPLIES = 512
MOST_WORK, LITTLE_WORK = 2e9, 3e7
"""Rules times profiles times types and deviations: what enumeration takes on, and up to where it is chosen."""

MOST_FOUND = 5_000_000
MOST_ANSWERS, MOST_PROGRAMS = 20_000, 20_000
SAME = 1e-8
"""Rules that promise no more than this share of the leader's payoff range beyond the best are not looked at."""

_CHUNK = 4096


@dataclass(frozen=True)
class PureEquilibria:
    """All pure Bayes-Nash equilibria of a game.

    Attributes:
        strategies: for each player an integer array (K, |T_i|): the action at each own type.
        values: the objective at each, exactly.
        profiles: how many profiles were looked at; all there are.
    """

    strategies: tuple[IntArray, ...]
    values: tuple[Fraction, ...]
    profiles: int

    @property
    def best(self) -> Fraction | None:
        """The largest value; None if there is no pure equilibrium."""
        return max(self.values, default=None)

    @property
    def worst(self) -> Fraction | None:
        """The smallest value; None if there is no pure equilibrium."""
        return min(self.values, default=None)


def pure_equilibria(game: BayesianGame, *, objective: str = "leader", epsilon: Fraction | str = "0") -> PureEquilibria:
    """All pure Bayes-Nash equilibria by enumeration, with the objective's value at each (theory T9).

    Types of probability 0 count once, with their first feasible action. Doubles only screen; every answer is decided
    exactly.

    Args:
        game: of at most 2,000,000 pure strategy profiles.
        objective: ``leader``, ``welfare`` or ``player:I``.
        epsilon: largest gain left to any type, payoff units.

    Raises:
        UsageError: too many profiles, or an unknown objective.

    Example:
        >>> chicken = BayesianGame([[1]], [[[[[6, 2], [7, 0]]]], [[[[6, 7], [2, 0]]]]])
        >>> found = pure_equilibria(chicken, objective="welfare")
        >>> [tuple(int(s[k, 0]) for s in found.strategies) for k in range(2)], found.best
        ([(0, 1), (1, 0)], Fraction(9, 1))
    """
    eps = parse_epsilon(epsilon)
    aim = objective_tensor(game.plain, objective)
    each = []
    for i, mask in enumerate(game.feasible):
        rows = [
            np.flatnonzero(row) if p > 0 else np.flatnonzero(row)[:1]
            for row, p in zip(mask, game.marginal(i), strict=True)
        ]
        each.append(rows)
    count = int(np.prod([float(len(row)) for rows in each for row in rows]))
    if count > MOST_PROFILES:
        raise UsageError(f"expected at most {MOST_PROFILES:,} pure strategy profiles, got {count:,}")
    lists = [np.array(list(product(*rows)), dtype=np.int64) for rows in each]
    shape = tuple(len(rows) for rows in lists)
    problem = Problem(game, aim, game.objective(objective), "upper", eps)
    # a difference of payoffs is off by rounding, and twice by what doubles are off from exact payoffs far from 0
    loose = 1e-9 + max(4 * game.payoff_error(i) / scale for i, scale in enumerate(problem.payoff_scale))
    kept: list[IntArray] = []
    step = max(1, _CHUNK * 64 // game.prior.size)
    for start in range(0, count, step):
        index = np.unravel_index(np.arange(start, min(count, start + step)), shape)
        keys = pack([rows[k] for rows, k in zip(lists, index, strict=True)])
        columns = plan_columns(problem.arrays, problem.rows, problem.n_regrets, keys)
        worst = np.full(len(keys), -np.inf)
        regrets = columns.row < problem.n_regrets
        excess = columns.value[regrets] - problem.bounds[columns.row[regrets]]
        np.maximum.at(worst, columns.column[regrets], excess)
        kept.append(keys[worst <= loose])
        if sum(map(len, kept)) > MOST_EQUILIBRIA:
            raise UsageError(f"expected at most {MOST_EQUILIBRIA:,} pure equilibria, found more")
    candidates = np.concatenate(kept)
    good, values = [], []
    for key in candidates:
        play = exact(PlanPlay([1], unpack(key[None], game.type_shape)), game)
        rows_ = exact_regrets(game.plain, play)
        if all(r is None or r <= eps for table in rows_ for row in table for r in row):
            good.append(key)
            values.append(exact_value(game.plain, play, aim))
    keys = np.array(good, dtype=np.int64).reshape(-1, sum(game.type_shape))
    return PureEquilibria(tuple(unpack(keys, game.type_shape)), tuple(values), count)


# ------------------------------------------------------------------------------- the best deterministic rule


@dataclass(frozen=True)
class BestRule:
    """The best deterministic rule of a leader who answers the followers' actions (messages), and where it is attained.

    Attributes:
        value: the leader's value at the rule's best pure Bayes-Nash equilibrium, exactly.
        worst: the leader's value at the same rule's worst pure Bayes-Nash equilibrium, exactly.
        bound: no rule has a pure equilibrium worth more, as doubles tell, to 1e-8 of the leader's payoff range; above
            ``value`` where time ran out.
        rule: the leader's action at each joint action of the followers, axes (actions..).
        strategies: the followers' equilibrium: for each an integer array (|T_i|,).
        rules, profiles: how many of each there are.
        method: ``enumeration`` or ``milp``.
    """

    value: Fraction
    worst: Fraction
    bound: float
    rule: IntArray
    strategies: tuple[IntArray, ...]
    rules: int
    profiles: int
    method: str


def best_deterministic_rule(
    prior: Any,
    payoffs: Sequence[Any],
    leader: Any,
    *,
    epsilon: Fraction | float | str = 0,
    method: str = "auto",
    seconds: float = 60.0,
) -> BestRule | None:
    """The best deterministic mechanism (theory T9): by enumeration, or by an integer program for each strategy profile.

    A rule answers every joint action of the followers with one action of the leader; followers know the rule and play
    a pure Bayes-Nash equilibrium of the game it makes, the leader's best one. Doubles search; that what is returned is
    an equilibrium, and what it is worth, is decided exactly.

    Once a profile is fixed, its being an equilibrium is linear in which answer is given where: one small integer
    program (HiGHS) a profile, those that promise most without incentives first, until none promises more than the best
    found. Where a follower's action is a mere message, profiles that only rename messages are tried once.

    Args:
        prior: axes (types..).
        payoffs: one array a follower, axes (types.., leader's actions, actions..); doubles, or exact numbers.
        leader: the leader's payoff, same axes.
        epsilon: largest gain left to any type, payoff units.
        method: ``enumeration`` of all rules and profiles in batches, ``milp``, or ``auto``: the first if it is small.
        seconds: time for the integer programs; when it is spent, the best found and a bound on all are returned.

    Returns:
        None if no rule has a pure equilibrium (of ``milp`` that was stopped: if none was found).

    Raises:
        UsageError: an unknown method, arrays that do not fit, or too many rules and profiles to look at.

    Example:
        >>> likes = np.array([[[[1.0]], [[0.0]]], [[[0.0]], [[1.0]]]])[..., 0].repeat(2, axis=2)  # type t wants item t
        >>> best = best_deterministic_rule(np.ones(2) / 2, [likes], likes)
        >>> best.value, best.worst, best.rule.tolist(), best.method
        (Fraction(1, 1), Fraction(1, 1), [0, 1], 'enumeration')
    """
    if method not in ("auto", "enumeration", "milp"):
        raise UsageError(f"expected the method auto, enumeration or milp, got {method!r}", field="method")
    rules = _Rules(np.asarray(prior), payoffs, leader, parse_epsilon(epsilon))
    if method == "enumeration" or (method == "auto" and rules.work <= LITTLE_WORK):
        return _enumerated(rules)
    return _programmed(rules, monotonic() + seconds)


class _Rules:
    """Rules and profiles as arrays: tables in doubles, axes (joint type, leader's action, joint action)."""

    def __init__(self, prior: Any, payoffs: Sequence[Any], leader: Any, epsilon: Fraction) -> None:
        n = self.n = prior.ndim
        given = [np.asarray(u) for u in (*payoffs, leader)]
        try:
            full = np.broadcast_shapes(*(u.shape for u in given))
        except ValueError:
            full = ()
        if len(payoffs) != n or len(full) != 2 * n + 1 or full[:n] not in (prior.shape, (1,) * n):
            raise UsageError("expected one array a follower with axes (types.., leader's actions, actions..)")
        self.prior, self.epsilon = prior, epsilon
        self.types, self.answers, self.actions = prior.shape, full[n], full[n + 1 :]
        self.width = int(np.prod(self.actions))
        shape = (prior.size, self.answers, self.width)
        self.exact = [np.broadcast_to(u, prior.shape + full[n:]).reshape(shape) for u in given]
        self.tables = [u.astype(float) for u in self.exact]  # the leader's own is the last
        frame = BayesianGame(prior, [np.zeros((1,) * (2 * n))] * n)
        self.weights = [frame.conditional(i).ravel() for i in range(n)] + [frame.prior.ravel()]
        self.scale = max(float(np.ptp(table)) for table in self.tables[:n]) or 1.0
        self.n_rules = self.answers**self.width
        self.n_profiles = math.prod(a**t for a, t in zip(self.actions, self.types, strict=True))
        self.work = self.n_rules * self.n_profiles * prior.size * (1 + sum(self.actions))

    def profiles(self, lists: list[list[tuple[int, ...]]]) -> tuple[list[IntArray], list[IntArray]]:
        """All profiles of some strategies of each follower; and what each profile does at each joint type."""
        each = [np.array(rows, dtype=np.int64).reshape(len(rows), -1) for rows in lists]
        index = np.indices([len(rows) for rows in each]).reshape(self.n, -1)
        strategies = [rows[k] for rows, k in zip(each, index, strict=True)]
        grid = np.indices(self.types).reshape(self.n, -1)
        return strategies, [s[:, grid[j]] for j, s in enumerate(strategies)]

    def place(self, chosen: Sequence[IntArray], i: int | None = None, a: int = 0) -> IntArray:
        """The joint action chosen at each joint type, player i playing a instead if that is asked."""
        moved = [np.full_like(c, a) if j == i else c for j, c in enumerate(chosen)]
        return np.asarray(np.ravel_multi_index(moved, self.actions))

    def game(self, rule: IntArray) -> BayesianGame:
        """The followers' game that a rule makes, exactly."""
        shape = (*self.types, *self.actions)
        made = [table[:, rule, np.arange(len(rule))].reshape(shape).tolist() for table in self.exact]
        return BayesianGame(self.prior.tolist(), made[:-1], leader=made[-1])

    def assess(self, rule: IntArray, strategies: tuple[IntArray, ...]) -> tuple[Fraction | None, BayesianGame]:
        """What a rule is worth at a profile, exactly, None where that is no equilibrium; and its game."""
        game = self.game(rule)
        play = exact(PlanPlay([1], [s[None] for s in strategies]), game)
        regrets = (r for table in exact_regrets(game.plain, play) for row in table for r in row)
        if any(r is not None and r > self.epsilon for r in regrets):
            return None, game
        return exact_value(game.plain, play, objective_tensor(game.plain, "leader")), game

    def best(
        self, value: Fraction, bound: float, rule: IntArray, strategies: tuple[IntArray, ...], method: str
    ) -> BestRule:
        """The answer, with the worst equilibrium of the same rule beside it."""
        worst = pure_equilibria(self.game(rule), epsilon=str(self.epsilon)).worst
        assert worst is not None
        shaped = rule.reshape(self.actions)
        return BestRule(value, worst, bound, shaped, strategies, self.n_rules, self.n_profiles, method)


def _enumerated(rules: _Rules) -> BestRule | None:
    """Every rule at every profile, many rules at once."""
    if rules.work > MOST_WORK:
        work = float(min(rules.work, 10**99))
        raise UsageError(
            f"expected rules times profiles times types and deviations of at most {MOST_WORK:.0e}, got {work:.0e}"
        )
    n, types, answers, width = rules.n, rules.types, rules.answers, rules.width
    lists = [list(product(range(a), repeat=t)) for a, t in zip(rules.actions, types, strict=True)]
    strategies, chosen = rules.profiles(lists)
    place, at = rules.place(chosen), np.arange(rules.prior.size)
    found: list[tuple[Any, Any, Any]] = []
    count = 0
    step = max(1, 4_000_000 // (place.size * max(rules.actions)))
    for first in range(0, rules.n_rules, step):
        numbers = np.arange(first, min(rules.n_rules, first + step))
        some = np.stack(np.unravel_index(numbers, (answers,) * width), axis=1)
        good = np.ones((len(some), place.shape[0]), dtype=bool)
        for i in range(n):
            table = rules.tables[i]
            stay = table[at, some[:, place], place]
            for a in range(rules.actions[i]):
                other = rules.place(chosen, i, a)
                gain = rules.weights[i] * (table[at, some[:, other], other] - stay)
                own = gain.reshape(*gain.shape[:2], *types).sum(axis=tuple(2 + j for j in range(n) if j != i))
                good &= (own <= float(rules.epsilon) + 1e-9 * rules.scale).all(axis=2)
        value = (rules.weights[n] * rules.tables[n][at, some[:, place], place]).sum(axis=2)
        rows, columns = np.nonzero(good)
        found.append((value[rows, columns], first + rows, columns))
        count += len(rows)
        if count > MOST_FOUND:
            raise UsageError(f"expected at most {MOST_FOUND:,} pairs of a rule and a pure equilibrium, found more")
    values, numbers, columns = (np.concatenate(part) for part in zip(*found, strict=True))
    for at_ in np.argsort(-values, kind="stable").tolist():
        rule, k = np.array(np.unravel_index(numbers[at_], (answers,) * width)), columns[at_]
        equilibrium = tuple(s[k] for s in strategies)
        worth, _ = rules.assess(rule, equilibrium)
        if worth is not None:  # else an equilibrium in doubles only
            return rules.best(worth, float(worth), rule, equilibrium, "enumeration")
    return None


def _programmed(rules: _Rules, deadline: float) -> BestRule | None:
    """One integer program a profile, the most promising first."""
    if rules.answers * rules.width > MOST_ANSWERS:
        pairs = rules.answers * rules.width
        raise UsageError(f"expected at most {MOST_ANSWERS:,} pairs of a joint action and an answer, got {pairs:,}")
    most = max(a**t for a, t in zip(rules.actions, rules.types, strict=True))
    lists = [_strategies(rules, i) for i in range(rules.n)] if most <= MOST_PROFILES else []
    count = math.prod(map(len, lists)) if lists else rules.n_profiles
    if count > MOST_PROGRAMS:
        raise UsageError(f"expected at most {MOST_PROGRAMS:,} pure strategy profiles, got {count:,}")
    strategies, chosen = rules.profiles(lists)
    aims = np.zeros((count, rules.width, rules.answers))
    place, size = rules.place(chosen), rules.prior.size
    for theta in range(size):
        here = place[:, theta]
        aims[np.arange(count), here] += rules.weights[-1][theta] * rules.tables[-1][theta][:, here].T
    promises = aims.max(axis=2).sum(axis=1)
    unit = float(np.ptp(rules.tables[-1])) or 1.0
    best: tuple[Fraction, IntArray, tuple[IntArray, ...]] | None = None
    bound = -np.inf
    for k in np.argsort(-promises, kind="stable").tolist():
        floor = -np.inf if best is None else float(best[0])
        if promises[k] <= floor + SAME * unit:
            break
        if monotonic() >= deadline:
            bound = max(bound, float(promises[k]))
            break
        equilibrium = tuple(s[k] for s in strategies)
        tried, reached = _one_program(rules, [c[k] for c in chosen], aims[k], equilibrium, floor, unit, deadline)
        bound = max(bound, reached)
        if tried is not None and (best is None or tried[0] > best[0]):
            best = (*tried, equilibrium)
    if best is None:
        return None
    return rules.best(best[0], max(bound, float(best[0])), best[1], best[2], "milp")


def _strategies(rules: _Rules, i: int) -> list[tuple[int, ...]]:
    """A follower's pure strategies; where its action changes no payoff but through the answer, up to renaming."""
    everything = list(product(range(rules.actions[i]), repeat=rules.types[i]))
    axes = (rules.prior.size, rules.answers, *rules.actions)
    tables = [np.moveaxis(table.reshape(axes), 2 + i, 0) for table in rules.tables]
    if any((table != table[:1]).any() for table in tables):
        return everything
    # each action is met for the first time after all smaller ones
    return [s for s in everything if all(a <= max(s[:k], default=-1) + 1 for k, a in enumerate(s))]


def _one_program(
    rules: _Rules,
    chosen: Sequence[IntArray],
    aim: FloatArray,
    equilibrium: tuple[IntArray, ...],
    floor: float,
    unit: float,
    deadline: float,
) -> tuple[tuple[Fraction, IntArray] | None, float]:
    """The best rule that has a profile as its equilibrium, if it is worth more than ``floor``, and a bound on all."""
    width, answers = rules.width, rules.answers
    place = rules.place(chosen)
    rows: list[FloatArray] = []
    types = np.indices(rules.types).reshape(rules.n, -1)
    for i in range(rules.n):
        for a in range(rules.actions[i]):
            other = rules.place(chosen, i, a)
            gain = np.zeros((rules.types[i], width, answers))
            for theta in np.flatnonzero(other != place).tolist():
                t, weight, table = types[i][theta], rules.weights[i][theta] / rules.scale, rules.tables[i][theta]
                gain[t, other[theta]] += weight * table[:, other[theta]]
                gain[t, place[theta]] -= weight * table[:, place[theta]]
            rows.extend(gain[gain.any(axis=(1, 2))].reshape(-1, width * answers))
    gains = np.array(rows, dtype=np.float64).reshape(-1, width * answers)
    once = np.repeat(np.eye(width), answers, axis=1)
    program = _Integers(aim.ravel() / unit, (floor + SAME * unit) / unit)
    program.add(once, 1.0, 1.0)
    program.add(gains, -np.inf, float(rules.epsilon) / rules.scale + 1e-10)
    best, most = None, floor
    while True:
        x, bound = program.solve(deadline - monotonic())
        if x is None or monotonic() > deadline:
            return best, max(most, min(float(aim.max(axis=1).sum()), unit * bound))
        rule = x.reshape(width, answers).argmax(axis=1)
        worth, _ = rules.assess(rule, equilibrium)
        if worth is not None and float(worth) > most:
            best, most = (worth, rule), float(worth)
            program.aim_for((most + SAME * unit) / unit)
        # not again this one, which may be an equilibrium in doubles only
        taken = np.zeros((width, answers))
        taken[np.arange(width), rule] = 1.0
        program.add(taken.reshape(1, -1), -np.inf, width - 1.0)


class _Integers:
    """max aim x over x of zeros and ones with aim x >= floor and rows that are added; tolerances of 1e-9 (HiGHS)."""

    def __init__(self, aim: FloatArray, floor: float) -> None:
        self.highs, count = highspy.Highs(), len(aim)
        for name, value in (
            ("output_flag", False),
            ("threads", 1),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 1e-10),
            ("mip_feasibility_tolerance", 1e-9),
            ("primal_feasibility_tolerance", 1e-9),
        ):
            self.highs.setOptionValue(name, value)
        none = np.zeros(0, dtype=np.int32)
        starts, zero, one = np.zeros(count, dtype=np.int32), np.zeros(count), np.ones(count)
        self.highs.addCols(count, -aim, zero, one, 0, starts, none, np.zeros(0))
        whole = np.full(count, highspy.HighsVarType.kInteger)
        self.highs.changeColsIntegrality(count, np.arange(count, dtype=np.int32), whole)
        self.add(aim.reshape(1, -1), floor, np.inf)

    def add(self, matrix: FloatArray, lower: float, upper: float) -> None:
        """Adds rows, all with the same bounds."""
        for row in matrix:
            at = np.flatnonzero(row).astype(np.int32)
            self.highs.addRow(lower, upper, len(at), at, row[at])

    def aim_for(self, floor: float) -> None:
        """Asks for more than before."""
        self.highs.changeRowBounds(0, floor, np.inf)

    def solve(self, seconds: float) -> tuple[FloatArray | None, float]:
        """x, None if there is none or time is spent; and how much no x exceeds, as the solver tells."""
        self.highs.setOptionValue("time_limit", self.highs.getRunTime() + max(seconds, 0.05))
        self.highs.run()
        status = self.highs.getModelStatus()
        if status == highspy.HighsModelStatus.kOptimal:
            return np.array(self.highs.getSolution().col_value), -self.highs.getInfo().mip_dual_bound
        none = status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible)
        return None, -np.inf if none else -self.highs.getInfo().mip_dual_bound


# ------------------------------------------------------------------------------- what no commitment can beat


@dataclass(frozen=True)
class CommitmentBound:
    """No commitment of the leader is worth more than ``value`` at any equilibrium of the set.

    Attributes:
        value: exact.
        observes: what the leader's rule may depend on: ``nothing`` or ``actions``.
        equilibrium_set: over which the followers' equilibria range.
        certificate: for ``nothing``, over the game in which the leader is one more player without stakes (the last).
            For ``actions`` there is none: the value was computed exactly from multipliers, here.
    """

    value: Fraction
    observes: str
    equilibrium_set: str
    certificate: Certificate | None = None


def commitment_bound(
    prior: Any,
    payoffs: Sequence[FloatArray],
    leader: FloatArray,
    *,
    observes: str,
    epsilon: Fraction | float | str = 0,
    equilibrium_set: str = "tc",
    seconds: float = 60.0,
) -> CommitmentBound:
    """An upper bound on any commitment's value at any epsilon-BCCE of the followers (theory T9).

    Args:
        prior: axes (types..).
        payoffs: one array a follower, axes (types.., leader's actions, actions..), doubles.
        leader: the leader's payoff, same axes.
        observes: ``nothing``: the leader draws an action by itself; it joins the recommendation, and obedience is asked
            of followers only. ``actions``: its action may answer theirs, so a deviation may be met with the worst
            answer. (Asking for obedience against the recommended answer would be a false bound there.)
        epsilon: largest interim regret, payoff units.
        equilibrium_set: ``tc``, and for ``nothing`` also ``sf`` or ``ns``, which are tighter.
        seconds: time budget.

    Raises:
        UsageError: an unknown word, arrays that do not fit, or a program that is too big.

    Example:
        >>> table = np.array([[1.0, 3.0], [0.0, 2.0]])[None]  # one type; leader's rows, follower's columns
        >>> reply = np.array([[1.0, 0.0], [0.0, 1.0]])[None]
        >>> commitment_bound(np.ones(1), [reply], table, observes="nothing").value
        Fraction(5, 2)
    """
    prior = np.asarray(prior)
    n = prior.ndim
    full = np.broadcast_shapes(*(np.shape(u) for u in (*payoffs, leader)))
    if len(payoffs) != n or len(full) != 2 * n + 1 or full[:n] not in (prior.shape, (1,) * n):
        raise UsageError("expected one array a follower with axes (types.., leader's actions, actions..)")
    if observes == "nothing":
        arrays = [
            np.moveaxis(np.asarray(u, dtype=float), n, -1)[(slice(None),) * n + (None,)] for u in (*payoffs, leader)
        ]
        still = np.zeros((1,) * (2 * n + 2))
        game = BayesianGame(prior[..., None], [*arrays[:n], still], leader=arrays[n])
        found = equilibrium_range(game, equilibrium_set=equilibrium_set, epsilon=epsilon, seconds=2 * seconds)
        return CommitmentBound(found.max.outer, observes, found.equilibrium_set, found.max.certificate)
    if observes != "actions":
        raise UsageError(f"expected that the leader observes nothing or actions, got {observes!r}")
    if equilibrium_set != "tc":
        raise UsageError("against a leader who observes actions only the type-conditional bound is known: expected tc")
    shape = prior.shape + full[n:]
    if np.prod(shape) > MOST_CELLS:
        raise UsageError(f"expected at most {MOST_CELLS:,} cells (types, leader's action, actions)")
    return _answering(
        prior, [np.broadcast_to(u, shape) for u in payoffs], np.broadcast_to(leader, shape), epsilon, seconds
    )


def _answering(
    prior: Any, payoffs: Sequence[FloatArray], leader: FloatArray, epsilon: Any, seconds: float
) -> CommitmentBound:
    """max over mu(l, a | types) with gains 1{a_i != a'} (min_l' u_i(types, l', a', a_-i) - u_i(types, l, a)) <= eps."""
    n, eps = prior.ndim, parse_epsilon(epsilon)
    frame = BayesianGame(prior, [np.zeros((1,) * (2 * n))] * n)
    types = np.indices(prior.shape).reshape(n, -1)
    live = np.flatnonzero(frame.prior.ravel() > 0)
    width = leader[(0,) * n].size
    stay, moved, rows, parts, units = [], [], [], [], []
    first = 0
    for i, u in enumerate(payoffs):
        axis, count = n + 1 + i, u.shape[n + 1 + i]
        # what a deviation to a' brings at worst, last axis a'; NaN where a' is played anyway
        worst = np.expand_dims(np.moveaxis(u.min(axis=n, keepdims=True), axis, -1), axis)
        own = np.eye(count, dtype=bool).reshape([count if k == axis else 1 for k in range(2 * n + 1)] + [count])
        table = np.broadcast_to(np.where(own, np.nan, worst), (*u.shape, count))
        stay.append(u.reshape(prior.size, width)[live])
        moved.append(table.reshape(prior.size, width, count)[live])
        numbers = first + np.arange(prior.shape[i] * count).reshape(prior.shape[i], count)
        rows.append(numbers[types[i][live]])
        first += numbers.size
        gains = np.nan_to_num(moved[i] - stay[i][..., None])
        scale = float(np.abs(gains).max()) or 1.0
        units.append(np.full(numbers.size, scale))
        weighted = frame.conditional(i).ravel()[live][:, None, None] * gains / scale
        cells = (len(live) * width, count)
        parts.append((np.broadcast_to(rows[i][:, None], gains.shape).reshape(cells), weighted.reshape(cells)))
    aim = leader.reshape(prior.size, width)[live]
    low, span, unit = float(aim.min()), float(np.ptp(aim)) or 1.0, np.concatenate(units)
    parts.append((np.repeat(first + np.arange(len(live)), width)[:, None], np.ones((len(live) * width, 1))))
    program = Program(np.minimum(float(eps) / unit, 2.0), np.ones(len(live)))
    cost = frame.prior.ravel()[live][:, None] * (aim - low) / span
    program.add(Columns.of(cost.ravel(), parts))
    solution = program.solve(seconds)
    y = np.zeros(first) if solution is None else np.maximum(solution.duals[:first], 0.0) * span / unit
    multipliers = [Fraction(float(v)).limit_denominator(1 << 30) for v in y]
    return CommitmentBound(_weak_duality(frame, live, aim, stay, moved, rows, multipliers, eps), "actions", "tc")


def _weak_duality(
    frame: BayesianGame,
    live: IntArray,
    aim: FloatArray,
    stay: list[FloatArray],
    moved: list[FloatArray],
    rows: list[IntArray],
    multipliers: list[Fraction],
    epsilon: Fraction,
) -> Fraction:
    """The bound that any multipliers >= 0 prove, in rationals."""
    prior, own = list(frame.plain.prior.values()), marginals(frame.plain)
    types = np.indices(frame.type_shape).reshape(frame.n_players, -1)
    bound = epsilon * sum(multipliers, Fraction(0))
    for k, theta in enumerate(live.tolist()):
        prices = []
        for i, numbers in enumerate(rows):
            share = prior[theta] / own[i][int(types[i][theta])]
            prices.append([(a, multipliers[r] * share) for a, r in enumerate(numbers[k].tolist()) if multipliers[r]])
        values = []
        for cell in range(aim.shape[1]):
            here = prior[theta] * Fraction(float(aim[k, cell]))
            for i, row in enumerate(prices):
                for a, price in row:
                    if not np.isnan(moved[i][k, cell, a]):
                        here -= price * (Fraction(float(moved[i][k, cell, a])) - Fraction(float(stay[i][k, cell])))
            values.append(here)
        bound += max(values)
    return bound


def optimal_bayesian_commitment(prior: Sequence[Any], leader_payoffs: Any, follower_payoffs: Any) -> Commitment:
    """The best mixture to commit to against one follower with private types, exactly and proved (theory T9).

    The follower's replies are its pure strategies (one action a type), so the game is first written as one table
    (Harsanyi); then as `optimal_mixed_commitment`. ``response`` is the strategy's number, types in C order.

    Args:
        prior: T weights, exact or doubles.
        leader_payoffs, follower_payoffs: axes (follower's type, leader's action, follower's action).

    Raises:
        UsageError: more than 512 strategies of the follower, or arrays that do not fit.

    Example:
        >>> follower = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
        >>> best = optimal_bayesian_commitment([1, 1], [[[1, 0], [0, 0]], [[1, 0], [0, 0]]], follower)
        >>> best.value, best.proved
        (Fraction(1, 2), True)
    """
    weights = [Fraction(w) for w in prior]
    tables: list[Any] = []
    for name, given in (("leader_payoffs", leader_payoffs), ("follower_payoffs", follower_payoffs)):
        values = np.array(given, dtype=object)
        if values.ndim != 3 or len(values) != len(weights):
            raise UsageError(f"expected {name} with axes (follower's type, leader's action, follower's action)")
        exactly = np.empty(values.shape, dtype=object)
        exactly.ravel()[:] = [Fraction(v) for v in values.ravel().tolist()]
        tables.append(exactly)
    types, actions = len(tables[0]), tables[0].shape[2]
    if actions**types > MOST_REPLIES or tables[1].shape != tables[0].shape:
        raise UsageError(f"expected tables of one shape and at most {MOST_REPLIES} strategies of the follower")
    total = sum(weights)
    if min(weights) < 0 or total == 0:
        raise UsageError("expected weights of types that are not negative, and not all 0", field="prior")
    strategies = list(product(range(actions), repeat=types))
    merged = [
        np.stack([sum(w / total * table[t, :, s[t]] for t, w in enumerate(weights)) for s in strategies], axis=1)
        for table in tables
    ]
    return optimal_mixed_commitment(merged[0].tolist(), merged[1].tolist())
