"""Interim regrets, the gap, and the three sums that differ (theory T3), vectorised; and the exact gap beside them.

All of it is tensor contraction over (types.., actions..): no matrix of deviations is ever built. Exact numbers come
from the kernel. Confidence statements about the population behind a log are in `confidence.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from .game import BayesianGame, FloatArray
from .histories import History, history_regrets, history_value
from .kernel import exact_regrets, exact_value, marginals, objective_tensor, smallest_set
from .notebook import html_table
from .plain import PlainPlay
from .play import Play, PlayLog, exact, play_of


def weighted_regrets(game: BayesianGame, joint: FloatArray) -> list[FloatArray]:
    """Sum over cells of joint(types, a) [u_i(types, a', a_-i) - u_i(types, a)], shape (|T_i|, |A_i|) for each player.

    ``joint`` has axes (types.., actions..); with ``joint = prior * sigma`` this is p_i(t_i) r_i(t_i, a').
    """
    n = game.n_players
    out = []
    for i, payoff in enumerate(game.near_payoffs):
        against = joint.sum(axis=n + i, keepdims=True)
        deviated = _expected(against, payoff, (i, n + i), game)
        played = _expected(joint, payoff, (i,), game)
        out.append(deviated - played)
    return out


def _expected(joint: FloatArray, payoff: FloatArray, keep: tuple[int, ...], game: BayesianGame) -> FloatArray:
    """Sum of joint * payoff over all axes but own type and own action, shape (|T_i|, |A_i|) or (|T_i|, 1).

    Axes on which the payoff is constant are summed out of the joint first, so private values cost nothing.
    """
    axes = range(2 * game.n_players)
    constant = tuple(k for k in axes if payoff.shape[k] == 1 and k not in keep)
    product = joint.sum(axis=constant, keepdims=True) * payoff
    total = product.sum(axis=tuple(k for k in axes if k not in keep))
    width = game.action_shape[keep[0]] if len(keep) == 2 else 1
    return np.broadcast_to(total.reshape(game.type_shape[keep[0]], -1), (game.type_shape[keep[0]], width))


def interim_regrets(game: BayesianGame, sigma: FloatArray) -> list[FloatArray]:
    """r_i(t_i, a') of theory T3 in payoff units, shape (|T_i|, |A_i|) for each player.

    -inf where p_i(t_i) = 0 or the deviation is not feasible, so that a maximum ignores it.

    Args:
        game: the game.
        sigma: axes (types.., actions..).
    """
    n = game.n_players
    weighted = weighted_regrets(game, game.prior.reshape(game.type_shape + (1,) * n) * sigma)
    return [_per_visit(game, i, rows, game.marginal(i)) for i, rows in enumerate(weighted)]


def _per_visit(game: BayesianGame, i: int, rows: FloatArray, own: FloatArray) -> FloatArray:
    known = game.feasible[i] & (own > 0)[:, None]
    return np.where(known, rows / np.where(own > 0, own, 1.0)[:, None], -np.inf)


def objective_value(game: BayesianGame, sigma: FloatArray, objective: str | npt.ArrayLike = "leader") -> float:
    """W(sigma): the expected objective, payoff units; axes of ``sigma`` are (types.., actions..)."""
    n = game.n_players
    joint = game.prior.reshape(game.type_shape + (1,) * n) * sigma
    return float((joint * game.objective(objective)).sum())


def dual_payoff(game: BayesianGame, objective: FloatArray, multipliers: Sequence[FloatArray]) -> FloatArray:
    """The bracket of theory T5 without potentials, axes (types.., actions..).

    p(types) w(types, a) - sum_i p(t_-i | t_i) sum_a' y_i(t_i, a') [u_i(types, a', a_-i) - u_i(types, a)].
    This is also the reduced cost of every column sigma(a | types) at once.

    Args:
        game: the game.
        objective: w, broadcasting over (types.., actions..).
        multipliers: y_i >= 0, shape (|T_i|, |A_i|), for each player.
    """
    n = game.n_players
    tail = (1,) * n
    out = np.array(np.broadcast_to(game.prior.reshape(game.type_shape + tail) * objective, game.shape))
    for i, y in enumerate(multipliers):
        if not y.any():
            continue
        payoff = game.payoffs[i]
        own = np.broadcast_to(payoff, [y.shape[0] if k == i else s for k, s in enumerate(payoff.shape)])
        if payoff.shape[n + i] == 1:
            continue  # constant in the own action: every bracket is zero
        moved = np.moveaxis(own, (i, n + i), (0, 1))
        deviated = np.moveaxis(np.einsum("ta,ta...->t...", y, moved)[:, None], (0, 1), (i, n + i))
        total = y.sum(axis=1).reshape([-1 if k == i else 1 for k in range(2 * n)])
        out -= game.conditional(i).reshape(game.type_shape + tail) * (deviated - total * own)
    return out


@dataclass(frozen=True)
class Witness:
    """The deviation that gains most: player, own type, action deviated to (indices), and the gain in payoff units."""

    player: int
    type: int
    deviation: int
    gain: float


@dataclass(frozen=True)
class RegretReport:
    """What a play leaves on the table (theory T3).

    Attributes:
        regrets: interim regrets, shape (|T_i|, |A_i|) for each player; -inf where there is no row.
        gap: max(0, largest regret): the epsilon of an epsilon-BCCE, payoff units.
        gap_exact: the same exactly, for the play put on the grid of theory T1.
        witness: who gains the gap and how; None if nobody gains.
        per_type_sum: for each player, sum over own types of p_i max(0, max regret).
        ex_ante: for each player, the gain of one deviation strategy against not deviating at all.
        nashconv: sum of ex_ante; None unless the play is one product profile.
        leader_value, leader_value_exact: the leader's value under the play; None if the game has no leader.
        equilibrium_set: the smallest of sf, ns, tc to which the form of the play shows it to belong.
        largest_change: the most any probability moved when the play was made exact.
    """

    regrets: tuple[FloatArray, ...]
    gap: float
    gap_exact: Fraction
    witness: Witness | None
    per_type_sum: tuple[float, ...]
    ex_ante: tuple[float, ...]
    nashconv: float | None
    leader_value: float | None
    leader_value_exact: Fraction | None
    equilibrium_set: str
    largest_change: Fraction

    def _repr_html_(self) -> str:
        """A short table for notebooks: one line a player; the gap and who gains it above."""
        title = f"gap {self.gap:g}, play in {self.equilibrium_set}"
        if self.witness is not None:
            who = self.witness
            title += f": player {who.player}, type {who.type}, gains by always playing action {who.deviation}"
        rows = [
            [i, f"{max(0.0, float(regrets.max())):g}", f"{by_type:g}", f"{gain:g}"]
            for i, (regrets, by_type, gain) in enumerate(
                zip(self.regrets, self.per_type_sum, self.ex_ante, strict=True)
            )
        ]
        return html_table(title, ["player", "largest regret", "per-type sum", "ex ante"], rows)


def assess(game: BayesianGame, play: Play | PlainPlay | History) -> RegretReport:
    """Regret, gap and the three sums of a play, in floats and exactly (theory T3).

    For a log, or its counts, the prior is the log's own frequencies (theory T6 (i)). A play that is exact already is
    taken as it is.

    Raises:
        PlayError: a play that does not fit the game.

    Example:
        >>> from spverify.verify.game import BayesianGame
        >>> from spverify.verify.play import PlanPlay
        >>> game = BayesianGame([["1/2"], ["1/2"]],
        ...     [[[[[1, 0], [0, 1]]], [[[0, 0], ["1/2", "1/2"]]]], [[[[0, 0], [0, 0]]], [[[0, 0], [0, 0]]]]])
        >>> report = assess(game, PlanPlay(["1/2", "1/2"], [[[0, 0], [1, 1]], [[0], [1]]]))
        >>> report.gap_exact, report.per_type_sum[0], report.ex_ante[0]
        (Fraction(1, 4), 0.125, 0.0)
    """
    value = None
    if isinstance(play, PlainPlay) and play.kind == "log":
        play = play_of(play, game)
    if isinstance(play, (PlayLog, History)):
        history = play if isinstance(play, History) else History.of(game, play)
        rows, own = history_regrets(game, history), _frequencies(history)
        if game.leader is not None:
            value = history_value(history, objective_tensor(game.plain, "leader"))
        form = (False, "tc", Fraction(0))
    else:
        plain = play if isinstance(play, PlainPlay) else exact(play, game)
        rows, own = exact_regrets(game.plain, plain), marginals(game.plain)
        if game.leader is not None:
            value = exact_value(game.plain, plain, objective_tensor(game.plain, "leader"))
        form = (is_product(plain), smallest_set(game.plain, plain), plain.largest_change)
    product, smallest, change = form
    regrets, per_type, ex_ante = [], [], []
    gap, witness = Fraction(0), None
    for i, table in enumerate(rows):
        regrets.append(np.array([[-np.inf if r is None else float(r) for r in row] for row in table]))
        best = [max((r for r in row if r is not None), default=None) for row in table]
        known = [(p, r) for p, r in zip(own[i], best, strict=True) if r is not None]
        per_type.append(float(sum((p * max(r, Fraction(0)) for p, r in known), Fraction(0))))
        ex_ante.append(float(max(sum((p * r for p, r in known), Fraction(0)), Fraction(0))))
        for t, row in enumerate(table):
            for a, r in enumerate(row):
                if r is not None and r > gap:
                    gap, witness = r, Witness(i, t, a, float(r))
    return RegretReport(
        tuple(regrets),
        float(gap),
        gap,
        witness,
        tuple(per_type),
        tuple(ex_ante),
        sum(ex_ante) if product else None,
        None if value is None else float(value),
        value,
        smallest,
        change,
    )


def is_product(plain: PlainPlay) -> bool:
    """Whether the play is one profile of independent strategies, the only case in which NashConv is defined."""
    return plain.kind in ("plan", "mixture") and sum(weight > 0 for weight in plain.weights) == 1


def _frequencies(history: History) -> list[list[Fraction]]:
    """How often each own type occurs in a log, as exact frequencies."""
    return [[Fraction(int(c), history.rounds) for c in history.visits(i)] for i in range(history.n_players)]
