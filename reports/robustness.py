"""How fine the balance is: stricter tolerances, indifferent and nearly indifferent types, other priors and payoffs.

Everything here is information: it moves no verdict, and tells a reader how far the required figures carry. Perturbed
games are made from exact numbers, so that values and gaps on them are exact too; where the followers learn again, they
learn as in the audit's own replays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from math import prod
from typing import Any

import numpy as np

from ..trained_leaders.settings.design import MatrixDesign
from ..trained_leaders.settings.prices import SequentialPrices
from ..verify.game import BayesianGame
from ..verify.kernel import exact_regrets, exact_value, objective_tensor
from ..verify.numerals import show
from ..verify.plain import PlainGame, PlainPlay, Tensor, number_text, tensor
from ..verify.verdict import Statement
from .questions import READOUT_WORDS, Readings, slack
from .replay import READOUTS, Replays
from .statements import state
from .subject import Subject

TOLERANCES = (Fraction(1, 20), Fraction(1, 100), Fraction(1, 1000))
"""Epsilons at which every report says whether the play is an equilibrium, in units of the payoff scale."""

SHIFT = Fraction(1, 10)
"""Priors and payoffs are moved by this share."""

NOISE = Fraction(1, 20)
"""Random noise on payoffs, as a share of the follower's payoff range."""

TIE_BREAKS = 1024
"""So many ways to break ties are tried one by one."""

CELLS_MOVED = 20_000
"""Games with more payoffs than this are not perturbed."""


@dataclass(frozen=True)
class Effort:
    """How many perturbed games there are: joint types made more or less likely, draws of noise, replays of each."""

    cells: int
    draws: int
    seeds: int


FULL, QUICK = Effort(cells=16, draws=3, seeds=2), Effort(cells=3, draws=1, seeds=1)


# ------------------------------------------------------------------------------------ tolerance


def ask_tolerances(subject: Subject, readings: Readings) -> list[Statement]:
    """Is the play an equilibrium at stricter tolerances too, in payoff units and against what followers can win?"""
    scale = Fraction(subject.setting.payoff_scale)
    stake = follower_stake(subject)
    own = readings[1, subject.readout]
    out = []
    for share in TOLERANCES:
        epsilon = share * scale
        first = {
            readout: next((f for f in subject.factors if readings[f, readout].gap <= epsilon), None)
            for readout in READOUTS
        }
        words = "; ".join(
            f"{READOUT_WORDS[readout]} {'at no horizon replayed' if at is None else f'from ×{at} on'}"
            for readout, at in first.items()
        )
        size = f", {show(100 * epsilon / stake, 3)}% of the most a follower has at stake" if stake else ""
        out.append(
            state(
                f"tolerance.{show(share)}",
                "information",
                f"At ε = {show(epsilon)} (payoff units{size}) the {READOUT_WORDS[subject.readout]} "
                f"{'are' if subject.readout != 'empirical' else 'is'} an equilibrium at the training horizon. First "
                f"horizon at which the gap is that small: {words}.",
                own.gap <= epsilon,
                measured=own.gap,
                threshold=epsilon,
                why="An ε that is small against the payoff scale can be large against what a follower can win or lose. "
                "Longer learning, or a leader that leaves followers a clearer choice, would change the verdict.",
                share=number_text(share),
                stake=None if not stake else float(stake),
                first_horizon=first,
            )
        )
    return out


def follower_stake(subject: Subject) -> Fraction:
    """The widest range of any follower's payoffs under this leader, payoff units."""
    return max(Fraction(subject.game.payoff_range(i)) for i in range(subject.game.n_players))


# ------------------------------------------------------------------------------------ margins and ties

Profile = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Choice:
    """One type's choice under some profile of final actions; payoff units, exact.

    Attributes:
        player, type: indices.
        best: its best actions, more than one where it is indifferent.
        second: the best of the others, None if there is none.
        margin: what it loses by `second`.
        after: the leader's value if this type alone takes `second`.
    """

    player: int
    type: int
    best: tuple[int, ...]
    second: int | None
    margin: Fraction | None
    after: Fraction | None


@dataclass(frozen=True)
class Balance:
    """How firmly the followers hold to their final actions at the longest horizon, in one profile that replays reached.

    Attributes:
        profile: for each player the action at each own type.
        value: the leader's.
        choices: one a player and type of positive probability.
        worst: the leader's least value over the ways in which indifferent types may choose; None if too many.
        ways: how many there are.
    """

    profile: Profile
    value: Fraction
    choices: tuple[Choice, ...]
    worst: Fraction | None
    ways: int


def balances(subject: Subject, replays: Replays) -> list[Balance]:
    """One `Balance` for each distinct profile of final actions that the replays reached at the longest horizon."""
    rounds = subject.followers.updates * subject.factors[-1]
    profiles: dict[Profile, None] = {}
    for seed in range(subject.seeds):
        units = replays.snapshots(rounds, "argmax", seed).units
        profiles[tuple(tuple(x[0].argmax(axis=-1).tolist()) for x in units)] = None
    return [_balance(subject.game.plain, profile) for profile in profiles]


def _balance(game: PlainGame, profile: Profile) -> Balance:
    leader = objective_tensor(game, "leader")

    def value(other: Profile) -> Fraction:
        return exact_value(game, PlainPlay("plan", weights=(Fraction(1),), profiles=(other,)), leader)

    regrets = exact_regrets(game, PlainPlay("plan", weights=(Fraction(1),), profiles=(profile,)))
    choices = []
    for i, table in enumerate(regrets):
        for t, row in enumerate(table):
            gains = {a: r for a, r in enumerate(row) if r is not None}
            if not gains:
                continue
            top = max(gains.values())
            best = tuple(a for a, r in gains.items() if r == top)
            rest = {a: r for a, r in gains.items() if r < top}
            second = max(rest, key=lambda a: rest[a]) if rest else None
            margin = None if second is None else top - rest[second]
            after = None if second is None else value(_switched(profile, i, t, second))
            choices.append(Choice(i, t, best, second, margin, after))
    tied = [choice for choice in choices if len(choice.best) > 1]
    ways = prod(len(choice.best) for choice in tied)
    worst = None
    if ways <= TIE_BREAKS:
        worst = min(value(_broken(profile, tied, taken)) for taken in product(*(choice.best for choice in tied)))
    return Balance(profile, value(profile), tuple(choices), worst, ways)


def _switched(profile: Profile, player: int, own_type: int, action: int) -> Profile:
    return tuple(
        tuple(action if (i, t) == (player, own_type) else a for t, a in enumerate(own)) for i, own in enumerate(profile)
    )


def _broken(profile: Profile, tied: list[Choice], taken: tuple[int, ...]) -> Profile:
    for choice, action in zip(tied, taken, strict=True):
        profile = _switched(profile, choice.player, choice.type, action)
    return profile


def ask_balance(subject: Subject, found: list[Balance]) -> list[Statement]:
    """What if indifferent types choose otherwise, and how much must a type overlook before it does the leader harm?"""
    return [_ask_ties(subject, found), _ask_knife_edge(subject, found)]


def _ask_ties(subject: Subject, found: list[Balance]) -> Statement:
    allowed = slack(subject)
    tied = sorted({(c.player, c.type) for b in found for c in b.choices if len(c.best) > 1})
    names = [_type_name(subject, player, own) for player, own in tied]
    settled = [b for b in found if b.worst is not None]
    worst = min(settled, key=lambda b: (b.worst - b.value) if b.worst is not None else 0, default=None)
    counted = len(settled) == len(found)
    measured = threshold = None
    holds = True
    if not names:
        text = "No type is indifferent under the final actions at the longest horizon."
    elif worst is None or worst.worst is None:
        text = f"{len(names)} types are indifferent, in too many ways to try them all."
    else:
        measured, threshold = worst.worst, worst.value - allowed
        holds = measured >= threshold
        who = f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} indifferent"
        text = (
            f"Under the final actions at the longest horizon, {who}; if such ties are broken against the leader, all "
            f"else unchanged, it is worth {show(measured)} instead of {show(worst.value)}."
        )
    return state(
        "ties",
        "information",
        text,
        holds if counted or not holds else "inconclusive",
        measured=measured,
        threshold=threshold,
        why="An indifferent type owes the leader nothing: whether it helps is up to a tie rule, in the paper's readout "
        "the lowest index. A leader that pays such types to choose well would change the verdict.",
        indifferent=names,
        ways=max(b.ways for b in found),
    )


def _ask_knife_edge(subject: Subject, found: list[Balance]) -> Statement:
    allowed, limit = slack(subject), subject.threshold
    costly = [
        (choice.margin, choice, balance)
        for balance in found
        for choice in balance.choices
        if choice.margin is not None and choice.after is not None and choice.after < balance.value - allowed
    ]
    why = (
        "At the best commitment followers are often close to indifferent, and a slip then costs the leader much. A "
        "margin above the gap that this audit allows, or a smaller harm, would change the verdict."
    )
    if not costly:
        text = f"No single type that takes its second-best action costs the leader more than {show(allowed)}."
        return state("knife-edge", "information", text, True, threshold=limit, why=why)
    margin, choice, balance = min(costly, key=lambda item: item[0])
    assert choice.second is not None and choice.after is not None
    player = subject.game.players[choice.player]
    return state(
        "knife-edge",
        "information",
        f"A type must overlook at least {show(limit)} before its second-best action costs the leader more than "
        f"{show(allowed)}: {_type_name(subject, choice.player, choice.type)} loses {show(margin)} by "
        f"{player.actions[choice.second]}, and the leader falls from {show(balance.value)} to {show(choice.after)}.",
        margin >= limit,
        measured=margin,
        threshold=limit,
        why=why,
        margin_exact=number_text(margin),
        value_after_exact=number_text(choice.after),
    )


def _type_name(subject: Subject, player: int, own: int) -> str:
    who = subject.game.players[player]
    return who.name if len(who.types) == 1 else f"{who.name}: {who.types[own]}"


def margin_table(subject: Subject, found: list[Balance]) -> list[dict[str, Any]]:
    """Each type's best and second-best action in the first profile that the replays reached."""
    rows = []
    for choice in found[0].choices:
        player = subject.game.players[choice.player]
        rows.append(
            {
                "player": player.name,
                "type": player.types[choice.type],
                "best": [player.actions[a] for a in choice.best],
                "second": None if choice.second is None else player.actions[choice.second],
                "margin": None if choice.margin is None else float(choice.margin),
                "value": float(found[0].value),
                "value_after": None if choice.after is None else float(choice.after),
            }
        )
    return rows


# ------------------------------------------------------------------------------------ other priors, other payoffs


@dataclass(frozen=True)
class Moved:
    """One perturbed game, and how the leader fares in it.

    Attributes:
        kind: ``prior`` or ``payoffs``.
        change: what was changed, in words.
        stretch: by how much gaps may grow with the payoffs themselves.
        held_value, held_gap: of the play that the followers had learned before the change.
        value, gap: after they learned again: mean and largest over replays.
    """

    kind: str
    change: str
    stretch: Fraction
    held_value: Fraction
    held_gap: Fraction
    value: Fraction
    gap: Fraction


def perturb(subject: Subject, replays: Replays) -> list[Moved]:
    """The leader's fate in games near its own; empty where the game is too big."""
    game = subject.game.plain
    if prod(game.type_shape) * prod(game.action_shape) > CELLS_MOVED:
        return []
    reading = replays.readings[1, subject.readout]
    held = replays.snapshots(reading.rounds, subject.readout, reading.worst_seed).plain
    effort = FULL if subject.options.curve else QUICK
    out = []
    for kind, change, stretch, near in (*_other_priors(subject, effort.cells), *_other_payoffs(subject, effort.draws)):
        again = Replays(
            BayesianGame.from_plain(near),
            subject.followers,
            float(subject.setting.payoff_scale),
            (1,),
            min(subject.seeds, effort.seeds),
            subject.options.rng_seed,
        ).readings[1, subject.readout]
        rows = [r for table in exact_regrets(near, held) for row in table for r in row if r is not None]
        value = exact_value(near, held, objective_tensor(near, "leader"))
        out.append(Moved(kind, change, stretch, value, max(Fraction(0), *rows), again.value, again.gap))
    return out


Change = tuple[str, str, Fraction, PlainGame]


def _other_priors(subject: Subject, most: int) -> Iterator[Change]:
    game, players = subject.game.plain, subject.game.players
    shape = game.type_shape
    weights = list(game.prior.values())
    cells = list(product(*map(range, shape)))
    likely = [k for k, p in enumerate(weights) if p]
    if len(likely) < 2:
        return
    if len(likely) > most:
        rng = np.random.default_rng([subject.options.rng_seed, len(likely)])
        likely = sorted(rng.choice(likely, most, replace=False).tolist())
    one = Fraction(1)
    for k in likely:
        who = ", ".join(players[i].types[t] for i, t in enumerate(cells[k]))
        for sign, word in ((1, "more"), (-1, "less")):
            moved = [p * (1 + sign * SHIFT) if j == k else p for j, p in enumerate(weights)]
            total = sum(moved, Fraction(0))
            prior = tensor([p / total for p in moved], shape)
            yield "prior", f"{show(100 * SHIFT)}% {word} often {who}", one, replace(game, prior=prior)
    if game.n > 1:
        for word, reverse in (("together", False), ("apart", True)):
            joint = _coupled(subject.game, reverse=reverse)
            mixed = [
                (1 - SHIFT) * p + SHIFT * joint.get(cell, Fraction(0)) for cell, p in zip(cells, weights, strict=True)
            ]
            yield (
                "prior",
                f"correlated: {show(100 * SHIFT)}% move {word}",
                one,
                replace(game, prior=tensor(mixed, shape)),
            )


def _coupled(game: BayesianGame, *, reverse: bool) -> Mapping[tuple[int, ...], Fraction]:
    """The joint law with the same marginals in which types rise together; ``reverse`` turns odd players round."""
    shape = game.type_shape
    marginals = [[Fraction(0)] * k for k in shape]
    for cell, p in zip(product(*map(range, shape)), game.plain.prior.values(), strict=True):
        for i, t in enumerate(cell):
            marginals[i][t] += p
    orders = [list(range(k))[:: -1 if reverse and i % 2 else 1] for i, k in enumerate(shape)]
    left = [[marginals[i][t] for t in order] for i, order in enumerate(orders)]
    at = [0] * len(shape)
    out: dict[tuple[int, ...], Fraction] = {}
    while all(k < len(own) for k, own in zip(at, left, strict=True)):
        mass = min(own[k] for k, own in zip(at, left, strict=True))
        if mass:
            out[tuple(order[k] for k, order in zip(at, orders, strict=True))] = mass
        for i, own in enumerate(left):
            own[at[i]] -= mass
            if not own[at[i]]:
                at[i] += 1
    return out


def _other_payoffs(subject: Subject, draws: int) -> Iterator[Change]:
    game = subject.game.plain
    for factor, word in ((Fraction(1, 2), "half"), (Fraction(2), "twice")):
        scaled = tuple(tensor([factor * v for v in u.values()], u.shape) for u in game.payoffs)
        yield "payoffs", f"followers' payoffs {word} as large", factor, replace(game, payoffs=scaled)
    rng = np.random.default_rng([subject.options.rng_seed, len(game.payoffs)])
    for draw in range(draws):
        steps = [rng.integers(-1000, 1001, size=prod(payoff.shape)).tolist() for payoff in game.payoffs]
        # Each draw and its opposite: a type that was indifferent is pushed both ways.
        for sign, word in ((1, ""), (-1, " reversed")):
            noisy = []
            for i, payoff in enumerate(game.payoffs):
                unit = sign * NOISE * Fraction(subject.game.payoff_range(i)) / 1000
                pairs = zip(payoff.values(), steps[i], strict=True)
                noisy.append(tensor([v + unit * step for v, step in pairs], payoff.shape))
            change = f"noise of up to {show(100 * NOISE)}% on followers' payoffs, draw {draw + 1}{word}"
            yield "payoffs", change, Fraction(1), replace(game, payoffs=tuple(noisy))


def ask_sensitivity(subject: Subject, moved: list[Moved], readings: Readings) -> list[Statement]:
    """Does the leader stand when types are a little more or less likely, or followers want something a little else?"""
    value, allowed = readings[1, subject.readout].value, slack(subject)
    asked = (
        ("prior", f"other priors ({show(100 * SHIFT)}% more or less of a type, or correlated)"),
        ("payoffs", f"other payoffs (half, twice, noise of {show(100 * NOISE)}%)"),
    )
    out = []
    for kind, words in asked:
        games = [m for m in moved if m.kind == kind]
        if not games:
            continue
        worst = min(games, key=lambda m: m.value)
        loose = [m for m in games if m.gap > subject.threshold * m.stretch]
        lasting = worst.value >= value - allowed and not loose
        out.append(
            state(
                f"sensitivity.{kind}",
                "information",
                f"On {len(games)} games with {words}, where the followers learn again, the leader is worth at least "
                f"{show(worst.value)} (least with {worst.change}), and the gap stays within what is allowed"
                f"{'' if not loose else f' but for {len(loose)} of them'}.",
                lasting,
                measured=worst.value,
                threshold=value - allowed,
                why="A leader is trained on one prior and one payoff table, and meets others. Change by more than "
                f"{show(allowed)}, or followers who do not settle, would refute this; a leader that uses no more of "
                "the prior than it must would restore it.",
                games=len(games),
                largest_gap=float(max(m.gap for m in games)),
                least_value_if_play_stays=float(min(m.held_value for m in games)),
                largest_gap_if_play_stays=float(max(m.held_gap for m in games)),
            )
        )
    return out


def sensitivity_table(moved: list[Moved]) -> list[dict[str, Any]]:
    """One row a perturbed game."""
    return [
        {
            "kind": m.kind,
            "change": m.change,
            "value": float(m.value),
            "gap": float(m.gap),
            "held_value": float(m.held_value),
            "held_gap": float(m.held_gap),
        }
        for m in moved
    ]


# ------------------------------------------------------------------------------------ payments


def ask_payments(subject: Subject, readings: Readings, replays: Replays) -> list[Statement]:
    """What changes hands that the reward does not count? Asked of price mechanisms and of matrix design."""
    setting, game, reading = subject.setting, subject.game.plain, readings[1, subject.readout]
    if isinstance(setting, SequentialPrices):
        kept = _mean(subject, replays, objective_tensor(game, "welfare"))  # net of what buyers pay
        paid = reading.value + setting.first_best - kept
        text = (
            f"On average buyers pay {show(paid)} and keep {show(kept)} of a welfare of {show(paid + kept)}; the "
            "leader's reward does not count what is paid."
        )
    elif isinstance(setting, MatrixDesign):
        bonuses = setting.payments(subject.leader.rows)
        paid = sum((_mean(subject, replays, objective_tensor(game, "custom", each)) for each in bonuses), Fraction(0))
        text = f"On average the leader pays bonuses of {show(paid)} in all; its reward does not count them."
    else:
        return []
    return [
        state(
            "payments",
            "information",
            text,
            True,
            measured=paid,
            why="A reward that ignores money is indifferent between a cheap and a dear way to the same end, and who "
            "pays is not. This is a figure, not a test: nothing can refute it.",
            paid_exact=number_text(paid),
        )
    ]


def _mean(subject: Subject, replays: Replays, objective: Tensor) -> Fraction:
    """An objective's mean over the replays, at the training horizon under the trained readout."""
    rounds, seeds = subject.followers.updates, range(subject.seeds)
    plays = [replays.snapshots(rounds, subject.readout, seed).plain for seed in seeds]
    return sum((exact_value(subject.game.plain, play, objective) for play in plays), Fraction(0)) / len(plays)
