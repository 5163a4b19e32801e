"""Other followers: every learning rule of `solvers/learners` meets the leader, and value, gap and regret are measured.

The theorem behind an equilibrium claim asks for learners that learn, not for one rule; a leader that is worth much
against one rule only owes it to that rule. Regrets are held against the inequality of theory T7 where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..solvers.learners import LEARNERS, Exp3, Learner, MultiplicativeWeights, regret_bound
from ..verify.confidence import estimate_mean
from ..verify.numerals import show
from ..verify.plain import number_text
from ..verify.verdict import Statement, Verdict
from .audit import DELTA
from .questions import READOUT_WORDS, slack
from .replay import READOUTS, Followers, Reading, Replays
from .seeds import FreshRuns, fresh_runs
from .statements import state
from .subject import Subject

LONGEST = 100_000
"""Rounds beyond which the other rules are not asked to go on to ×10."""

LEVEL = 0.99
"""Confidence of a statement on mean regret."""


@dataclass(frozen=True)
class Rival:
    """One learning rule, met by the leader.

    Attributes:
        rule: the rule and its rate.
        own: whether it is the followers' own.
        readings: by (factor, readout), as the audit's own.
        share: largest share of the bound of theory T7 that any player's type used up at any checkpoint, over replays;
            None for a rule without a bound.
        runs: many runs, where the bound speaks of their mean.
    """

    rule: Learner
    own: bool
    readings: Mapping[tuple[int, str], Reading]
    share: float | None
    runs: FreshRuns | None


def rival_factors(subject: Subject) -> tuple[int, ...]:
    """Horizons at which other rules are looked at: the training horizon, and ten times that in a full audit."""
    longer = subject.options.curve and 10 in subject.factors and 10 * subject.followers.updates <= LONGEST
    return (1, 10) if longer else (1,)


def meet_rivals(subject: Subject, replays: Replays) -> list[Rival]:
    """The leader against every rule, the followers' own first; the same seeds for all.

    Rules with a learning rate take the followers' own, but for EXP3, whose rate is tuned to its horizon because its
    estimates grow with the inverse of a probability. EXP3 knows only what its own action paid, so for it types and
    opponents are sampled whatever the followers do.
    """
    scale, factors = float(subject.setting.payoff_scale), rival_factors(subject)
    out = []
    for kind in LEARNERS.values():
        own = kind is MultiplicativeWeights
        followers = subject.followers
        if own:
            rule = replays.learner
            met = {factor: replays for factor in factors}
        else:
            options: dict[str, Any] = {"payoff_scale": scale}
            if kind is Exp3:
                options["rate"] = "tuned"
            elif "epsilon" in kind.__dataclass_fields__:
                options["epsilon"] = followers.epsilon
            rule = kind(**options)
            if rule.bandit:
                followers = replace(followers, types="sampled", opponents="sampled")
            # A run for each horizon: rates are tuned to it, and what weighs most is known at the end of a run.
            met = {factor: _replays(subject, followers, factor, rule) for factor in factors}
        readings = {(f, r): replace(met[f].readings[f if own else 1, r], factor=f) for f in factors for r in READOUTS}
        always, mean_only = (rule.guarantee == word for word in ("always", "expectation"))
        out.append(
            Rival(
                rule,
                own,
                readings,
                max(c.ratio for c in met[factors[-1]].regret_curves(DELTA)) if always else None,
                fresh_runs(subject, rule, followers) if mean_only else None,
            )
        )
    return out


def _replays(subject: Subject, followers: Followers, factor: int, rule: Learner) -> Replays:
    longer = replace(followers, updates=factor * followers.updates)
    scale, rng_seed = float(subject.setting.payoff_scale), subject.options.rng_seed
    return Replays(subject.game, longer, scale, (1,), subject.seeds, rng_seed, rule)


def ask_rivals(subject: Subject, rivals: list[Rival]) -> list[Statement]:
    """Does each rule regret no more than it may, and is the leader worth as much against every rule that learns?"""
    asked = [_ask_regret(subject, rival) for rival in rivals if not rival.own]
    return [*asked, _ask_learners(subject, rivals)]


def _ask_regret(subject: Subject, rival: Rival) -> Statement:
    if rival.share is not None:
        return _always(subject, rival.rule, rival.share)
    if rival.runs is not None:
        return _on_average(subject, rival.rule, rival.runs)
    return _without_bound(subject, rival)


def _always(subject: Subject, rule: Learner, share: float) -> Statement:
    share = max(share, 0.0)
    sampled = subject.followers.draw
    return state(
        f"regret.{rule.name}",
        "information",
        f"Followers who learn by {rule.title} regret no more than its bound allows, at every checkpoint of every "
        f"replay; the largest share of the bound used is {show(share, 3)}.",
        share <= 1,
        measured=share,
        threshold=1.0,
        evidence="statistical" if sampled else "float",
        why="Only figures against learners that learn say something about equilibria. Regret above the bound would "
        f"refute this; the bound itself fails with probability at most {DELTA:g}.",
        guarantee=rule.guarantee,
        confidence=1 - DELTA if sampled else None,
    )


def _on_average(subject: Subject, rule: Learner, runs: FreshRuns) -> Statement:
    """Mean regret over fresh runs, row by row, against a bound on the mean."""
    game = subject.game
    bounds = regret_bound(
        game,
        rule,
        runs.rounds,
        delta=DELTA,
        updates=[np.zeros(k) for k in game.type_shape],
        types="sampled" if rule.bandit else subject.followers.types,
    )
    rows = sum(int(np.isfinite(table[0]).sum()) for table in runs.regrets)
    shares, lows, highs = [0.0], [0.0], [0.0]
    for i, table in enumerate(runs.regrets):
        known = np.isfinite(table[0]) & (bounds[i] > 0)[:, None]
        if not known.any():
            continue
        span = game.payoff_range(i)
        limit = np.broadcast_to(bounds[i][:, None], known.shape)[known]
        low, high = estimate_mean(table[:, known], lowest=-span, highest=span, level=1 - (1 - LEVEL) / rows)
        shares.append(float((table[:, known].mean(axis=0) / limit).max()))
        lows.append(float((low / limit).max()))
        highs.append(float((high / limit).max()))
    least, most, mean = max(lows), max(highs), max(shares)
    verdict: Verdict = "holds" if most <= 1 else "refuted" if least > 1 else "inconclusive"
    return state(
        f"regret.{rule.name}",
        "information",
        f"Followers who learn by {rule.title} regret, on average over {runs.count} runs of {runs.rounds} updates, "
        f"{show(mean, 3)} of what its bound on the mean allows; between {show(least, 3, 'down')} and "
        f"{show(most, 3, 'up')} at confidence {LEVEL:g}.",
        verdict,
        measured=mean,
        threshold=1.0,
        evidence="statistical",
        why="This rule's bound holds on average over runs, not in each. An interval above the bound would refute it; "
        "more runs would decide where the interval straddles it.",
        guarantee=rule.guarantee,
        level=LEVEL,
        lower=least,
        upper=most,
        runs=runs.count,
    )


def _without_bound(subject: Subject, rival: Rival) -> Statement:
    factor = rival_factors(subject)[-1]
    reading = rival.readings[factor, "empirical"]
    limit = show(subject.threshold, direction="down")
    return state(
        f"regret.{rival.rule.name}",
        "information",
        f"Followers who play by {rival.rule.title}, for which no bound is known, regret at most "
        f"{show(reading.gap, direction='up')} after {reading.rounds} updates; {limit} is allowed.",
        reading.gap <= subject.threshold,
        measured=reading.gap,
        threshold=subject.threshold,
        why="Without a bound nothing promises that such followers come near an equilibrium; here it was only seen. "
        "Average play that leaves a larger gain refutes it, a longer horizon may restore it.",
        guarantee=rival.rule.guarantee,
        rounds=reading.rounds,
    )


def _ask_learners(subject: Subject, rivals: list[Rival]) -> Statement:
    factor, readout, allowed = rival_factors(subject)[-1], subject.readout, slack(subject)
    own = next(rival for rival in rivals if rival.own).readings[factor, readout]
    learning = [rival for rival in rivals if rival.rule.guarantee != "none"]
    worst = min(learning, key=lambda rival: rival.readings[factor, readout].value)
    least = worst.readings[factor, readout].value
    others = [rival for rival in rivals if rival.rule.guarantee == "none"]
    rest = "; ".join(f"{rival.rule.title} {show(rival.readings[factor, readout].value, 4)}" for rival in others)
    return state(
        "learners",
        "information",
        f"Against {len(learning)} learning rules with a regret bound, after {own.rounds} updates, under the "
        f"{READOUT_WORDS[readout]}, the leader is worth at least {show(least)} ({worst.rule.title}); against its own "
        f"followers {show(own.value)}. Without a bound: {rest}.",
        least >= own.value - allowed,
        measured=least,
        threshold=own.value - allowed,
        why="Nobody knows by which rule followers will learn. A rule with a bound against which the leader is worth "
        f"less, by more than {show(allowed)}, refutes this; a leader whose followers have one clear best choice would "
        "change the verdict.",
        least_exact=number_text(least),
        worst=worst.rule.name,
        rounds=own.rounds,
    )


def learner_table(subject: Subject, rivals: list[Rival]) -> list[dict[str, Any]]:
    """One row a rule, horizon and readout: value (mean, least and largest over replays) and largest gap."""
    return [
        {
            "learner": rival.rule.name,
            "title": rival.rule.title,
            "own": rival.own,
            "guarantee": rival.rule.guarantee,
            "rate": getattr(rival.rule, "rate", None),
            "factor": factor,
            "rounds": reading.rounds,
            "readout": readout,
            "trained": rival.own and readout == subject.readout,
            "value": float(reading.value),
            "value_min": float(min(reading.values)),
            "value_max": float(max(reading.values)),
            "gap": float(reading.gap),
        }
        for rival in rivals
        for (factor, readout), reading in rival.readings.items()
    ]
