"""What followers who choose an equilibrium together could take from the leader, or leave to it.

Among the equilibria that are best for a coalition, or for all followers, the leader's least and largest value. Both
steps end in certificates of theory T5: the joint optimum is enclosed between a play and a bound, and the leader's value
among equilibria worth at least that play to the coalition is bounded by the range of a weighted sum of the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import Any

import numpy as np
import numpy.typing as npt

from ..verify.certificate import Certificate, assessed, exact_objective
from ..verify.errors import UsageError
from ..verify.game import BayesianGame
from ..verify.kernel import SETS, conditional_cells, exact_gap, exact_value, objective_tensor
from ..verify.plain import PlainPlay, Tensor, parse_play
from ..verify.play import MixturePlay, PlanPlay, Play, SparsePlay, exact, play_of
from .bounds import Side, parse_epsilon, range_end

MAX_STEPS = 24
"""Prices tried for each end; each step is a vertex of a polygon, and small games need two or three."""


@dataclass(frozen=True)
class CoalitionEnd:
    """The leader's least or largest value among equilibria that are best for the coalition.

    Attributes:
        outer: no equilibrium worth at least the threshold to the coalition is worth more (for the minimum: less).
        inner: what the best play found is worth; it is worth at least the threshold to the coalition. None if none was.
        inner_gap: that play's exact gap; None without a play.
        price: mu of theory T5: ``outer`` is the certificate's value less mu times the threshold.
        certificate: proves the range of objective + mu x coalition's payoff (the minimum: objective - mu x that).
        inner_certificate: proves ``inner``.
    """

    outer: Fraction
    inner: Fraction | None
    inner_gap: Fraction | None
    price: Fraction
    certificate: Certificate
    inner_certificate: Certificate | None


@dataclass(frozen=True)
class CoalitionRange:
    """The proved interval of an objective over the equilibria that are best for a coalition.

    Attributes:
        coalition: its players.
        objective: ``leader``, ``welfare``, ``player:I`` or ``custom``.
        equilibrium_set: ``sf``, ``ns`` or ``tc``.
        epsilon: largest allowed interim regret, payoff units.
        joint: the largest sum of the coalition's payoffs over the set: ``inner <= optimum <= outer``.
        threshold: ``joint.inner`` less the slack; every equilibrium that is best for the coalition reaches it.
        min, max: the two ends, over all equilibria worth at least the threshold to the coalition.
        proved: the threshold's play is in the set, and both ends have plays whose gap is at most epsilon + 1e-9.
        seconds: wall time.
    """

    coalition: tuple[int, ...]
    objective: str
    equilibrium_set: str
    epsilon: Fraction
    joint: Side
    threshold: Fraction
    min: CoalitionEnd
    max: CoalitionEnd
    proved: bool
    seconds: float


def coalition_range(
    game: BayesianGame,
    coalition: Iterable[int] | None = None,
    *,
    objective: str | npt.ArrayLike | Tensor = "leader",
    equilibrium_set: str = "sf",
    epsilon: Fraction | float | str = 0,
    slack: Fraction | float | str = 0,
    seconds: float = 60.0,
) -> CoalitionRange:
    """Least and largest objective over the epsilon-BCCE that are best for a coalition of followers (theory T4, T5).

    Args:
        game: the followers' game.
        coalition: its players; all of them when left out.
        objective: ``leader``, ``welfare``, ``player:I``, or an array as in `equilibrium_range`.
        equilibrium_set: ``sf``, ``ns`` or ``tc``.
        epsilon: largest allowed interim regret, payoff units.
        slack: how much less than the optimum the coalition puts up with, payoff units.
        seconds: time for the searches; when it is spent, what is proved by then is returned, wider.

    Raises:
        UsageError: no such player, set or objective; a negative epsilon or slack.

    Example:
        >>> from spverify.verify.game import BayesianGame
        >>> sexes = BayesianGame([[1]], [[[[[3, 0], [0, 2]]]], [[[[2, 0], [0, 4]]]]], leader=[[[[9, 1], [1, 5]]]])
        >>> found = coalition_range(sexes)
        >>> found.joint.outer, found.min.outer, found.max.outer, found.proved
        (Fraction(6, 1), Fraction(5, 1), Fraction(5, 1), True)
    """
    start = monotonic()
    players = tuple(range(game.n_players)) if coalition is None else tuple(sorted(set(coalition)))
    if not players or not all(isinstance(i, int) and 0 <= i < game.n_players for i in players):
        raise UsageError(f"expected players from 0 to {game.n_players - 1}, got {players}", field="coalition")
    if equilibrium_set not in SETS:
        raise UsageError(f"expected the equilibrium set sf, ns or tc, got {equilibrium_set!r}")
    eps, allowed = parse_epsilon(epsilon), parse_epsilon(slack)
    if isinstance(objective, Tensor):
        name, aim = "custom", objective
    elif isinstance(objective, str):
        name, aim = objective, objective_tensor(game.plain, objective)
    else:
        name, aim = "custom", exact_objective(game.objective(objective), game)
    together = weighted_sum([(Fraction(1), game.plain.payoffs[i]) for i in players])
    question: dict[str, Any] = {"equilibrium_set": equilibrium_set, "epsilon": eps}
    joint = _uninterrupted(range_end(game, together, sense="upper", seconds=seconds / 3, **question))
    threshold = (joint.outer if joint.inner is None else joint.inner) - allowed
    ends = []
    for sign, share in ((1, 0.5), (-1, 1.0)):
        deadline = monotonic() + share * max(0.0, start + seconds - monotonic())
        search = _End(game, aim, together, threshold, sign, joint, question)
        ends.append(search.run(deadline))
    tolerance = Fraction(1, 10**9) * min(Fraction(1), Fraction(max(map(game.payoff_range, range(game.n_players)))))
    # the threshold is below the optimum only if the play that it comes from is itself in the set
    proved = joint.inner_gap is not None and joint.inner_gap <= eps
    proved &= all(end.inner_gap is not None and end.inner_gap <= eps + tolerance for end in ends)
    return CoalitionRange(
        players, name, equilibrium_set, eps, joint, threshold, ends[1], ends[0], proved, monotonic() - start
    )


def _uninterrupted(side: Side) -> Side:
    """One end of a range; Ctrl-C ends the whole question, not just the search that it met."""
    if side.interrupted:
        raise KeyboardInterrupt
    return side


@dataclass(frozen=True)
class _Found:
    """A play, and what it is worth: to the objective (with the end's sign) and to the coalition."""

    play: PlainPlay
    gap: Fraction
    value: Fraction
    joint: Fraction


class _End:
    """Searches the price mu at which the bound on objective + mu (coalition's payoff - threshold) is lowest.

    That bound is convex in mu, and each play found is a line below it, so the next price is where the lines of the best
    play on either side of the threshold meet; there a mixture of the two reaches the threshold exactly.
    """

    def __init__(
        self,
        game: BayesianGame,
        aim: Tensor,
        together: Tensor,
        threshold: Fraction,
        sign: int,
        joint: Side,
        question: dict[str, Any],
    ) -> None:
        self.game, self.aim, self.together, self.sign, self.question = game, aim, together, sign, question
        self.threshold = threshold
        self.above = self._found(joint)
        self.below: _Found | None = None

    def _found(self, side: Side) -> _Found | None:
        if side.inner_certificate is None or side.inner_gap is None:
            return None
        plain = parse_play(side.inner_certificate.content["evidence"]["play"], self.game.plain)
        return self._worth(plain)

    def _worth(self, plain: PlainPlay) -> _Found:
        exact_game = self.game.plain
        value, joint = (exact_value(exact_game, plain, w) for w in (self.aim, self.together))
        return _Found(plain, exact_gap(exact_game, plain)[0], self.sign * value, joint)

    def run(self, deadline: float) -> CoalitionEnd:
        price, best = Fraction(0), None
        for step in range(MAX_STEPS):
            left = max(0.0, deadline - monotonic())
            objective = weighted_sum([(Fraction(1), self.aim), (self.sign * price, self.together)])
            sense = "upper" if self.sign > 0 else "lower"
            share = left / 2 if step else left / 4
            side = _uninterrupted(range_end(self.game, objective, sense=sense, seconds=share, **self.question))
            bound = self.sign * side.outer - price * self.threshold
            if best is None or bound < best[0]:
                best = (bound, price, side.certificate)
            found = self._found(side)
            if found is None or self.above is None or monotonic() > deadline:
                break
            held = found.joint >= self.threshold
            if held and (price == 0 or found.value > self.above.value or found.joint < self.above.joint):
                self.above = found
            elif not held:
                self.below = found
            mixed = self._mixture()
            reached = max(play.value for play in (self.above, mixed) if play is not None)
            if self.below is None or best[0] - reached <= Fraction(1, 10**10) * max(abs(best[0]), Fraction(1, 10**9)):
                break
            following = self._meeting()
            if following is None or following == price:
                break
            price = following
        assert best is not None
        inner = self.above
        mixed = self._mixture()
        if inner is not None and mixed is not None and mixed.value > inner.value:
            inner = mixed
        bound, price, certificate = best
        proof = None
        if inner is not None:
            play = play_of(inner.play, self.game)
            proof, _, member = assessed(self.game, play, objective=self.aim, **self.question)
            if not member:  # no form of mixture is known to leave the set, but what is claimed is checked
                inner = proof = None
        return CoalitionEnd(
            self.sign * bound,
            None if inner is None else self.sign * inner.value,
            None if inner is None else inner.gap,
            price,
            certificate,
            proof,
        )

    def _meeting(self) -> Fraction | None:
        """The price at which the plays on either side are worth the same, a little more where they need not be mixed.

        Where the threshold is the optimum itself, nothing is lost by a price that is too high.
        """
        assert self.above is not None and self.below is not None
        rise = self.above.joint - self.below.joint
        if rise <= 0 or self.below.value <= self.above.value:
            return None
        price = (self.below.value - self.above.value) / rise
        if self.above.joint == self.threshold:
            price *= Fraction(5, 4)
        return price.limit_denominator(1 << 40) or None

    def _mixture(self) -> _Found | None:
        """The plays on either side, mixed so that the coalition gets the threshold exactly."""
        if self.above is None or self.below is None or self.above.joint <= self.threshold:
            return None
        share = (self.threshold - self.below.joint) / (self.above.joint - self.below.joint)
        both = [self.above.play, self.below.play]
        return self._worth(exact(mixed_play(self.game, both, [share, 1 - share]), self.game))


def weighted_sum(terms: Sequence[tuple[Fraction, Tensor]]) -> Tensor:
    """The exact sum of multiples of broadcasting arrays."""
    shape = np.broadcast_shapes(*(tensor.shape for _, tensor in terms))
    denominator = math.lcm(*(factor.denominator * tensor.denominator for factor, tensor in terms))
    total: Any = np.zeros(shape, dtype=object)
    for factor, tensor in terms:
        times = factor.numerator * (denominator // (factor.denominator * tensor.denominator))
        values = np.empty(len(tensor.numerators), dtype=object)
        values[:] = list(tensor.numerators)
        total = total + times * values.reshape(tensor.shape)
    return Tensor(shape, [int(value) for value in total.ravel()], denominator)


def mixed_play(game: BayesianGame, plays: Sequence[PlainPlay], shares: Sequence[Fraction]) -> Play:
    """One play that is each of some plays with its share: of plans a plan, of mixtures a mixture, else conditional.

    Args:
        game: the game.
        plays: exact plays.
        shares: probabilities, exact; they sum to 1.
    """
    kinds = {play.kind for play in plays}
    parts = list(zip(plays, shares, strict=True))
    weights = [share * weight for play, share in parts for weight in play.weights]
    players = range(game.n_players)
    if kinds == {"plan"}:
        return PlanPlay(weights, [[profile[i] for play in plays for profile in play.profiles] for i in players])
    if kinds == {"mixture"}:
        snapshots = [[play.strategies[i].nested(Fraction) for play in plays] for i in players]
        return MixturePlay(weights, [[row for array in arrays for row in array] for arrays in snapshots])
    mass: dict[Any, Fraction] = {}
    for play, share in parts:
        cells, denominator, _, _ = conditional_cells(game.plain, play)
        for types, here in cells.items():
            for actions, numerator in here:
                at = (types, actions)
                mass[at] = mass.get(at, Fraction(0)) + share * Fraction(numerator, denominator)
    return SparsePlay([(types, actions, weight) for (types, actions), weight in mass.items()])
