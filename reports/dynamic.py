"""The audit of a leader whose play goes on (settings S5 and S6, decision 0009): its own questions, the same `Audit`.

Q-learners learn again against the leader's rule and against the rules it has to beat; what frozen learners forgo is
found exactly in each follower's Markov decision problem. Means over runs are statistical, everything about one run is
proved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..solvers.qlearning import QLearning
from ..trained_leaders.dynamic import BEST_REPLY, Q_LEARNING, Measured, exact_replies, measure_rule, reply_value
from ..trained_leaders.settings import DynamicSetting
from ..trained_leaders.settings.setting import Reference
from ..trained_leaders.tabulate import Tabulation
from ..verify.confidence import estimate_mean
from ..verify.convergence import clopper_pearson
from ..verify.dynamic import DynamicGame
from ..verify.enclosures import Enclosure
from ..verify.errors import LeaderFileError, SpverifyError
from ..verify.numerals import outward, show
from ..verify.plain import number_text
from ..verify.verdict import Statement, Verdict
from .statements import state

if TYPE_CHECKING:
    from .audit import Options

FULL_RUNS, QUICK_RUNS = 200, 80
MAX_PERIODS, QUICK_PERIODS = 5_000_000, 200_000
"""Longest replays; horizons beyond are left out."""

CHANCE = Fraction(9, 10)
"""Learners without guarantees may miss now and then: so likely a run must end with a gap that is allowed."""

QUICK_RULE_RUNS = 40
"""Runs of each rule to compare with in a quick audit, which leaves out what followers forgo under it."""

LEVEL = 0.95
TAIL = Fraction(1, 10)
"""Learners count as settled whose greedy actions stay the same over this last share of the periods."""

WORDS = {
    "empirical": "average while they learn",
    "argmax": "learners, then frozen",
    BEST_REPLY: "exact reply, ties against the leader",
}


@dataclass(frozen=True)
class DynamicSubject:
    """One leader of a dynamic setting under audit.

    Attributes:
        learner, periods: how the followers learn: as in training, else the setting's default.
        readout: "argmax" (frozen learners) or "best-reply", whichever the leader was trained for.
        threshold: largest gap allowed a round, payoff units.
        factors: horizons that are replayed, as multiples of the training horizon.
        runs: replays.
        games, weights: the followers' game in each scenario, and its probability.
    """

    name: str
    path: Path
    leader: Tabulation
    options: Options
    setting: DynamicSetting = field(repr=False)
    learner: QLearning
    periods: int
    readout: str
    threshold: Fraction
    factors: tuple[int, ...]
    runs: int
    quick: bool
    games: tuple[DynamicGame, ...] = field(repr=False)
    weights: tuple[Fraction, ...]

    @classmethod
    def of(
        cls, name: str, path: Path, leader: Tabulation, setting: DynamicSetting, options: Options, *, runs: int | None
    ) -> DynamicSubject:
        """The subject of a leader file.

        Raises:
            LeaderFileError: a training record that names followers or a readout which cannot be.
        """
        stated, quick = leader.training.get("followers", {}), not options.curve
        learner, periods = setting.learner, setting.periods
        if stated.get("rule", Q_LEARNING) != Q_LEARNING:
            raise LeaderFileError(f"expected {Q_LEARNING}, got {stated['rule']!r}", path=path, field=_FOLLOWERS)
        if "rule" in stated:
            names = ("rate", "discount", "exploration", "decay", "initial")
            try:
                learner = QLearning(*(stated.get(key, getattr(learner, key)) for key in names))
            except SpverifyError as error:
                raise LeaderFileError(error.message, path=path, field=_FOLLOWERS) from None
            periods = stated["updates"]
        games = setting.unfold(table_of(leader))
        exact = exact_replies(games)
        readout = leader.training.get("readout", BEST_REPLY if exact else "argmax")
        if not 1 <= periods <= MAX_PERIODS:
            raise LeaderFileError(f"expected 1 to {MAX_PERIODS} periods, got {periods}", path=path, field=_FOLLOWERS)
        if readout not in ("argmax", *([BEST_REPLY] if exact else [])):
            raise LeaderFileError(f"expected a readout of this setting, got {readout!r}", path=path, field="training")
        longest = QUICK_PERIODS if quick else MAX_PERIODS
        factors = tuple(f for f in options.factors if f == 1 or f * periods <= longest)
        threshold = options.epsilon * Fraction(setting.payoff_scale)
        weights = tuple(w for _, w in setting.scenarios)
        count = runs or (QUICK_RUNS if quick else FULL_RUNS)
        return cls(
            name, path, leader, options, setting, learner, periods, readout, threshold, factors, count, quick, games,
            weights,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------ what is measured

    @cached_property
    def measured(self) -> dict[int, Measured]:
        """The leader's runs by horizon factor."""
        found = self._measure(self.games, [f * self.periods for f in self.factors], self.runs, self.options.rng_seed)
        return dict(zip(self.factors, found, strict=True))

    @cached_property
    def rules(self) -> dict[str, Measured]:
        """Runs of the rules to compare with, at the training horizon, on the same random numbers."""
        runs = min(self.runs, QUICK_RULE_RUNS) if self.quick else self.runs
        return {
            name: self._measure(games, [self.periods], runs, self.options.rng_seed, gains=not self.quick)[0]
            for name, games in self.setting.rules().items()
        }

    def again(self, runs: int, rng_seed: int, periods: int) -> Measured:
        """The runs behind a trainer's claims."""
        return self._measure(self.games, [periods], runs, rng_seed)[0]

    def _measure(
        self, games: tuple[DynamicGame, ...], periods: list[int], runs: int, rng_seed: int, *, gains: bool = True
    ) -> list[Measured]:
        return measure_rule(games, self.weights, self.learner, periods, runs=runs, rng_seed=rng_seed, gains=gains)

    @cached_property
    def reply(self) -> Fraction | None:
        """The leader's value against an exact reply; None where that is out of reach."""
        return reply_value(self.games, self.weights) if exact_replies(self.games) else None

    @cached_property
    def any_play(self) -> Enclosure:
        """The leader's value whatever the followers do."""
        parts = [game.any_play().times(w) for game, w in zip(self.games, self.weights, strict=True)]
        return sum(parts, Enclosure.exactly(0))

    @property
    def value(self) -> Enclosure:
        """The leader's value under the readout it was trained for: exact, or the mean over runs."""
        return self.measured[1].mean if self.readout == "argmax" else Enclosure.exactly(self.reply or 0)

    def rule_value(self, name: str) -> Enclosure:
        """The same of a rule to compare with."""
        if self.readout == "argmax":
            return self.rules[name].mean
        return Enclosure.exactly(reply_value(self.setting.rules()[name], self.weights))

    @property
    def per(self) -> str:
        """What the leader's value is counted by."""
        return "a period" if self.games[0].rounds is None else f"in all {self.games[0].rounds} rounds"

    def interval(self, measured: Measured, level: float = LEVEL) -> tuple[float, float]:
        """Confidence interval for the mean over all runs there could be."""
        values = [float(v.middle) for v in measured.values]
        low, high = estimate_mean(values, lowest=self._bounds[0], highest=self._bounds[1], level=level)
        return float(low), float(high)

    @cached_property
    def _bounds(self) -> tuple[float, float]:
        """What the leader and the rules to compare with can earn, whatever the followers do."""
        found = [self.any_play]
        for games in self.setting.rules().values():
            parts = [game.any_play().times(w) for game, w in zip(games, self.weights, strict=True)]
            found.append(sum(parts, Enclosure.exactly(0)))
        return outward(min(e.low for e in found), "down"), outward(max(e.high for e in found), "up")

    @cached_property
    def stake(self) -> Fraction:
        """What is at stake for the leader: from the worst rule to the best reference; at least from its own range."""
        tops = [r.value for r in self.setting.references() if r.kind != "baseline"]
        floors = [self.rule_value(name).low for name in self.setting.rules()]
        return max(max(tops) - min(floors), Fraction(0)) if tops else self.any_play.width

    def to_document(self) -> dict[str, Any]:
        """The audit's ``subject``."""
        leader, options, game = self.leader, self.options, self.games[0]
        labels = [label for label, _ in self.setting.scenarios]
        return {
            "name": self.name,
            "dynamic": True,
            "sha256": leader.sha256,
            "bytes": leader.size,
            "setting": {"name": leader.setting, "parameters": leader.parameters},
            "policy": {"kind": leader.policy_kind, "leader_action": leader.leader_action},
            "players": [
                {"name": name, "types": labels, "actions": list(own)}
                for name, own in zip(game.players, game.actions, strict=True)
            ],
            "payoff_scale": self.setting.payoff_scale,
            "followers": {
                "rule": Q_LEARNING,
                "updates": self.periods,
                "rate": self.learner.rate,
                "discount": self.learner.discount,
                "exploration": self.learner.exploration,
                "decay": self.learner.decay,
                "initial": self.learner.initial,
            },
            "states": len(game.states),
            "rounds": game.rounds,
            "readout": self.readout,
            "threshold": float(self.threshold),
            "threshold_exact": number_text(self.threshold),
            "options": {
                "epsilon": number_text(options.epsilon),
                "seeds": self.runs,
                "factors": list(self.factors),
                "rng_seed": options.rng_seed,
                "within": number_text(options.within),
            },
            "training": leader.training,
            "claims": leader.claims,
        }


_FOLLOWERS = "training.followers"


def table_of(leader: Tabulation) -> list[int]:
    """The action at each observation; dynamic settings have pure leaders only."""
    return [row.index(1) for row in leader.rows]


# ------------------------------------------------------------------------------------ questions


def ask_tabulation(subject: DynamicSubject) -> list[Statement]:
    """Does one round, worked out anew from the rules, do what the exact game says?"""
    table, count, worst, right = table_of(subject.leader), 0, 0.0, True
    for scenario, game in enumerate(subject.games):
        widths = [range(len(own)) for own in game.actions]
        for s in range(len(game.states)):
            for joint, acts in enumerate(product(*widths)):
                after, pay, lead = subject.setting.step(table, scenario, s, acts)
                right &= after == game.successor[s][joint]
                sides = [*game.payoffs, game.leader]
                for own, found in zip(sides, [*pay, lead], strict=True):
                    worst = max(worst, abs(found - float((own[0][s][joint] + own[1][s][joint]) / 2)))
                count += 1
    tolerance = 1e-9 * subject.setting.payoff_scale
    return [
        state(
            "tabulation",
            "required",
            f"All {count} rounds (scenario × state × actions), worked out step by step, lead where the exact game says "
            "and pay what it says.",
            right and worst <= tolerance,
            measured=worst,
            threshold=tolerance,
            evidence="float",
            why="Every exact figure below is about this game, so it must be the setting's. One wrong successor, or a "
            "payoff further off than the threshold, would refute it.",
        )
    ]


def ask_learners(subject: DynamicSubject) -> list[Statement]:
    """Have the Q-learners stopped changing their minds, and what does their frozen play repeat?"""
    out = []
    for factor, found in subject.measured.items():
        latest = [max(f.changed for f in run) for run in found.runs]
        calm = sum(Fraction(at) <= (1 - TAIL) * found.periods for at in latest)
        low, _ = clopper_pearson(calm, len(latest), level=LEVEL)
        lengths = Counter(len(f.cycle) for run in found.runs for f in run)
        listed = ", ".join(f"{length} ({lengths[length]})" for length in sorted(lengths))
        ends = subject.games[0].rounds is not None
        cycles = "" if ends else f" Frozen, their play repeats cycles of length (times) {listed}."
        out.append(
            state(
                f"learners.x{factor}",
                "information",
                f"After {found.periods} periods {calm} of {len(latest)} runs ended with greedy actions that had not "
                f"changed over the last {show(100 * TAIL)}% of periods.{cycles}",
                calm == len(latest),
                measured=calm / len(latest),
                threshold=1.0,
                evidence="statistical",
                why="Q-learning has no convergence guarantee against other learners. Late changes matter where they "
                "move the play: the gap and the horizons below say whether they do. Every run would have to be calm.",
                confidence=LEVEL,
                share_at_least=low,
                last_change={"median": float(np.median(latest)), "largest": max(latest)},
                cycle_lengths={str(length): lengths[length] for length in sorted(lengths)},
            )
        )
    return out


def ask_gaps(subject: DynamicSubject) -> list[Statement]:
    """What does a follower forgo against the others' frozen policies?"""
    out = []
    found, a_round = subject.measured[1], "a round by a best response in its Markov decision problem"
    required = subject.readout == "argmax"
    gains = sorted(_run_gap(run).high for run in found.runs)
    within, count = sum(g <= subject.threshold for g in gains), len(gains)
    low, high = clopper_pearson(within, count, level=LEVEL)
    verdict: Verdict = "holds" if low >= CHANCE else "refuted" if high < CHANCE else "inconclusive"
    usual = gains[-(-count * CHANCE.numerator // CHANCE.denominator) - 1]
    place = "on the cycle that is played" if subject.games[0].rounds is None else "from the first round on"
    out.append(
        state(
            "gap.argmax",
            "required" if required else "information",
            f"With a chance of at least {show(CHANCE)}, learning ends where no follower gains more than "
            f"{show(subject.threshold)} {a_round}, {place}: so did {within} of {count} runs; the largest gain is "
            f"{show(gains[-1], 3, 'up')}.",
            verdict,
            measured=usual,
            threshold=subject.threshold,
            evidence="statistical",
            why="The gap of play that goes on. In each run every follower's problem against the others' frozen "
            f"policies is solved exactly, so its gain is proved (measured: what {show(100 * CHANCE)}% of runs stay "
            "within); the chance is judged by the exact binomial interval. More runs narrow it.",
            confidence=LEVEL,
            chance=[low, high],
            largest=outward(gains[-1], "up"),
            within_threshold=within,
            runs=count,
        )
    )
    everywhere = found.gap(anywhere=True)
    out.append(
        state(
            "gap.argmax.anywhere",
            "information",
            f"From no state, met or not, does a follower gain more than {show(subject.threshold)} {a_round}: the "
            f"largest gain of all runs is {show(everywhere.high, 3, 'up')}.",
            _at_most(everywhere, subject.threshold),
            measured=everywhere.high,
            threshold=subject.threshold,
            why="Subgame perfection of frozen learners. They hardly visit some states, and what they would do there is "
            "noise; but it is also the threat that holds their play together.",
        )
    )
    if subject.reply is not None:
        out.append(
            state(
                f"gap.{BEST_REPLY}",
                "required" if not required else "information",
                "A follower who replies by backward induction gains nothing by any other strategy, one that remembers "
                "all rounds included.",
                True,
                measured=0.0,
                threshold=0.0,
                why="Backward induction compares every action in every state and round, in rational arithmetic.",
            )
        )
    return out


def _run_gap(run: tuple[Any, ...]) -> Enclosure:
    gains = [g for frozen in run for g in frozen.gain]
    return Enclosure(max(g.low for g in gains), max(g.high for g in gains))


def _at_most(found: Enclosure, threshold: Fraction) -> Verdict:
    if found.high <= threshold:
        return "holds"
    return "refuted" if found.low > threshold else "inconclusive"


def _at_least(found: Enclosure, least: Fraction, *, strictly: bool = False) -> Verdict:
    if found.low > least or (found.low == least and not strictly):
        return "holds"
    return "refuted" if found.high < least or (found.high == least and strictly) else "inconclusive"


def ask_values(subject: DynamicSubject) -> list[Statement]:
    """What is the leader worth?"""
    out = []
    if subject.reply is not None:
        out.append(
            state(
                f"value.{BEST_REPLY}",
                "information",
                f"Against a follower who replies exactly, ties broken against the leader, it earns "
                f"{show(subject.reply)} {subject.per}.",
                True,
                measured=subject.reply,
                why="Backward induction over all rounds, in rational arithmetic: no learner is involved.",
                value_exact=number_text(subject.reply),
            )
        )
    found = subject.measured[1]
    low, high = subject.interval(found)
    values = [float(v.middle) for v in found.values]
    out.append(
        state(
            "value.argmax",
            "information",
            f"Against frozen Q-learners the leader earns {show(found.mean.middle)} {subject.per}, the mean of "
            f"{len(values)} runs ({show(min(values), 4)} to {show(max(values), 4)}); the mean over all runs lies "
            f"between {show(low, 4, 'down')} and {show(high, 4, 'up')}.",
            True,
            measured=found.mean.middle,
            evidence="statistical",
            why="Each run's value is proved (the average over the cycle reached, or the total of an episode); the "
            "interval is empirical-Bernstein, valid for any distribution of runs within what play can pay.",
            confidence=LEVEL,
            interval=[low, high],
            values=[min(values), max(values)],
            enclosure=[outward(found.mean.low, "down"), outward(found.mean.high, "up")],
        )
    )
    earned = found.earned * (subject.games[0].rounds or 1)
    out.append(
        state(
            "value.empirical",
            "information",
            f"While the followers learned, exploration included, it earned {show(earned)} {subject.per}.",
            True,
            measured=earned,
            evidence="float",
            why="What deployment costs until the followers have settled.",
        )
    )
    return out


def ask_horizons(subject: DynamicSubject) -> list[Statement]:
    """Does the value last when the followers go on learning?"""
    first, allowed = subject.measured[1].mean, subject.options.within * subject.stake
    out = []
    for factor, found in subject.measured.items():
        if factor == 1:
            continue
        change = found.mean - first
        fell = change.low < -allowed
        out.append(
            state(
                f"horizon.x{factor}",
                "required" if subject.readout == "argmax" else "information",
                f"After {found.periods} periods, {factor} times the training horizon, the leader earns "
                f"{show(found.mean.middle)}, no more than {show(allowed)} less than the {show(first.middle)} before.",
                not fell,
                measured=change.middle,
                threshold=-allowed,
                why="A leader can look good against learners that stopped too early. The same runs went on learning; "
                "a fall by more than the threshold would refute it.",
                gap=outward(found.gap().high, "up"),
                values=[float(min(v.middle for v in found.values)), float(max(v.middle for v in found.values))],
            )
        )
    return out


def ask_rules(subject: DynamicSubject) -> list[Statement]:
    """Is the leader better than rules that need no learning?"""
    found = {name: compare(subject, name) for name in subject.setting.rules()}
    best = max(found, key=lambda name: subject.rule_value(name).middle)
    verdicts = {row["verdict"] for row in found.values()}
    worst: Verdict = next((v for v in ("refuted", "inconclusive") if v in verdicts), "holds")
    learned = subject.readout == "argmax"
    out = [
        state(
            "baselines",
            "required",
            f"The leader earns at least as much as each of {len(found)} fixed rules; the best of those, {best}, earns "
            f"{show(subject.rule_value(best).middle)}, the leader {show(subject.value.middle)}.",
            worst,
            measured=subject.value.middle,
            threshold=subject.rule_value(best).middle,
            evidence="statistical" if learned else "exact",
            why="A learned rule that a fixed one equals or beats is not worth its trouble. Holds where intervals are "
            "apart or no run is worse; followers learned on the same random numbers."
            if learned
            else "Each rule's value against an exact reply is exact. One rule that earns more would refute it.",
            **({"confidence": LEVEL} if learned else {}),
        )
    ]
    for name, row in found.items():
        out.append(
            state(
                f"baseline.{name.replace(' ', '-')}",
                "information",
                f"The leader ({show(subject.value.middle)}) earns at least as much as the rule {name} "
                f"({show(subject.rule_value(name).middle)}){row['how']}.",
                row["verdict"],
                measured=subject.value.middle - subject.rule_value(name).middle,
                threshold=0.0,
                evidence="statistical" if learned else "exact",
                why="One comparison of the statement on baselines.",
                **row["details"],
            )
        )
    return out


def compare(subject: DynamicSubject, name: str) -> dict[str, Any]:
    """The verdict on one rule: by exact values, or by intervals of means, or run by run."""
    if subject.readout != "argmax":
        better = subject.value.low >= subject.rule_value(name).high
        return {"verdict": "holds" if better else "refuted", "how": "", "details": {}}
    own, rule = subject.measured[1], subject.rules[name]
    level = 1 - (1 - LEVEL) / (
        1 + len(subject.rules)
    )  # the leader's interval and those of all rules, together at LEVEL
    mine, theirs = subject.interval(own, level), subject.interval(rule, level)
    pairs = list(zip(own.values, rule.values, strict=False))
    worse = sum(a.low < b.low for a, b in pairs)
    verdict: Verdict = "inconclusive"
    if mine[0] >= theirs[1] or not worse:
        verdict = "holds"
    elif mine[1] < theirs[0]:
        verdict = "refuted"
    share = clopper_pearson(worse, len(pairs), level=LEVEL)[1]
    details = {"confidence": LEVEL, "interval": list(theirs), "runs_worse": worse, "runs": len(pairs)}
    how = f", and was worse in {worse} of {len(pairs)} runs"
    return {"verdict": verdict, "how": how, "details": {**details, "share_worse_at_most": share}}


def ask_references(subject: DynamicSubject) -> list[Statement]:
    """How far is the leader from the best one?"""
    out = []
    for reference in subject.setting.references():
        if reference.readouts and subject.readout not in reference.readouts:
            continue
        distance, baseline = subject.value.middle - reference.value, reference.kind == "baseline"
        required = reference.kind == "optimum"
        reach = subject.options.within * subject.stake
        least = reference.value if baseline else reference.value - reach
        aim = f"more than {show(reference.value)}" if baseline else f"within {show(reach)} of {show(reference.value)}"
        runs = f", the mean of {subject.runs} runs" if subject.readout == "argmax" else ""
        out.append(
            state(
                f"reference.{reference.name}",
                "required" if required else "information",
                f"The leader is worth {aim} ({reference.text}): it is worth {show(subject.value.middle)}{runs}, "
                f"{show(abs(distance), 3)} {'above' if distance > 0 else 'below'}.",
                _at_least(subject.value, least, strictly=baseline),
                measured=subject.value.middle,
                threshold=least,
                why="How good the play is and how far the leader is from the best possible are different questions; "
                "this is the second.",
                kind=reference.kind,
                readout=subject.readout,
                value=float(reference.value),
                value_exact=number_text(reference.value),
                distance=float(distance),
            )
        )
    return out


def ask_range(subject: DynamicSubject) -> list[Statement]:
    """What could the leader get whatever its followers do?"""
    found = subject.any_play
    return [
        state(
            "range.any-play",
            "information",
            f"Whatever the followers do, the leader earns between {show(found.low, direction='down')} and "
            f"{show(found.high, direction='up')} {subject.per}.",
            True,
            why="Proved over all play, equilibrium or not: least and largest mean of a cycle of states, or totals over "
            "all sequences. Other equilibria of play that goes on are not searched for: there are very many.",
            min=outward(found.low, "down"),
            max=outward(found.high, "up"),
        )
    ]


def ask_claims(subject: DynamicSubject) -> list[Statement]:
    """Is what the trainer stored true? Every claim is recomputed."""
    claims = subject.leader.claims
    known = ("empirical", "last", "argmax", BEST_REPLY)
    stored = [(kind, readout) for kind in ("value", "gap") for readout in known if readout in claims.get(kind, {})]
    if not stored:
        return []
    periods, runs = claims.get("updates", subject.periods), claims.get("runs", 1)
    rng_seed = claims.get("rng_seed", 0)
    why = (
        "A claim is data to be checked, never to be trusted: the followers learned again, from the seeds that the file "
        "names. A figure that differs refutes it; a smaller gap than claimed does not."
    )
    if not (runs > 0 and rng_seed >= 0 and 0 < periods <= MAX_PERIODS and runs * periods <= 100 * MAX_PERIODS):
        text = f"cannot be recomputed: {runs} runs of {periods} periods are out of reach."
        return [
            state(f"claim.{k}.{r}", "required", f"The trainer's claim on {k} and {r} {text}", "inconclusive", why=why)
            for k, r in stored
        ]
    found = subject.again(runs, rng_seed, periods)
    figures: dict[tuple[str, str], Fraction | float] = {
        ("value", "empirical"): found.earned * (subject.games[0].rounds or 1),
        ("value", "last"): found.mean.middle,
        ("value", "argmax"): found.mean.middle,
        ("gap", "last"): found.gap().high,
        ("gap", "argmax"): found.gap().high,
    }
    if subject.reply is not None:
        figures |= {("value", BEST_REPLY): subject.reply, ("gap", BEST_REPLY): Fraction(0)}
    tolerance = 1e-6 * subject.setting.payoff_scale
    out = []
    for kind, readout in stored:
        claim, figure = float(claims[kind][readout]), figures.get((kind, readout))
        if figure is None:
            text = f"The trainer claims {kind} {show(claim)} under {readout}, which this setting does not have."
            out.append(state(f"claim.{kind}.{readout}", "required", text, False, threshold=claim, why=why))
            continue
        off = float(figure) - claim
        out.append(
            state(
                f"claim.{kind}.{readout}",
                "required",
                f"The trainer claims {kind} {show(claim)} under {readout}; recomputed over {runs} "
                f"run{'s' if runs > 1 else ''} of {periods} periods it is {show(figure)}.",
                abs(off) <= tolerance if kind == "value" else off <= tolerance,
                measured=figure,
                threshold=claim,
                evidence="float" if readout == "empirical" else "exact",
                why=why,
                tolerance=tolerance,
                runs=runs,
                updates=periods,
                rng_seed=rng_seed,
            )
        )
    return out


# ------------------------------------------------------------------------------------ figures and tables


def headline(subject: DynamicSubject) -> dict[str, Any]:
    """The figures of the first screen."""
    found, value = subject.measured[1], subject.value
    aims: list[Reference] = [
        r
        for kind in ("optimum", "bound")
        for r in subject.setting.references()
        if r.kind == kind and (not r.readouts or subject.readout in r.readouts)
    ]
    learned = subject.readout == "argmax"
    gap = found.gap().high if learned else Fraction(0)
    values = [float(v.middle) for v in found.values] if learned else [float(value.low)]
    return {
        "readout": subject.readout,
        "reference": {"name": aims[0].name, "value": float(aims[0].value), "text": aims[0].text} if aims else None,
        "value": float(value.middle),
        "value_exact": number_text(value.low) if value.low == value.high else None,
        "values": [min(values), max(values)],
        "interval": list(subject.interval(found)) if learned else None,
        "range": {
            "set": "any-play",
            "min": outward(subject.any_play.low, "down"),
            "max": outward(subject.any_play.high, "up"),
            "min_exact": number_text(subject.any_play.low),
            "max_exact": number_text(subject.any_play.high),
            "proved": True,
        },
        "gap": outward(gap, "up"),
        "gap_exact": number_text(gap) if not learned or found.gap().low == gap else None,
        "threshold": float(subject.threshold),
        "within": [sum(_run_gap(r).high <= subject.threshold for r in found.runs), len(found.runs)]
        if learned
        else None,
        "per": subject.per,
    }


def readout_table(subject: DynamicSubject) -> list[dict[str, Any]]:
    """Value and gap by horizon and readout."""
    rows: list[dict[str, Any]] = []
    for factor, found in subject.measured.items():
        values = [float(v.middle) for v in found.values]
        earned = found.earned * (subject.games[0].rounds or 1)
        base: dict[str, Any] = {"factor": factor, "rounds": found.periods}
        rows.append({**base, "readout": "empirical", **_figures(earned, [earned], None)})
        gap = outward(found.gap().high, "up")
        rows.append({**base, "readout": "argmax", **_figures(float(found.mean.middle), values, gap)})
    if subject.reply is not None:
        own = _figures(float(subject.reply), [float(subject.reply)], 0.0)
        rows.append({"factor": 1, "rounds": 0, "readout": BEST_REPLY, **own})
    return rows


def _figures(value: float, values: list[float], gap: float | None) -> dict[str, Any]:
    return {"value": value, "value_min": min(values), "value_max": max(values), "gap": gap}


def rule_table(subject: DynamicSubject) -> list[dict[str, Any]]:
    """The leader and the rules it is compared with, best first; value and gap at the training horizon."""
    rows = [{"rule": subject.name, "own": True, **_rule_row(subject, subject.value, subject.measured[1])}]
    for name, found in subject.rules.items():
        rows.append({"rule": name, "own": False, **_rule_row(subject, subject.rule_value(name), found)})
    return sorted(rows, key=lambda row: -row["value"])


def _rule_row(subject: DynamicSubject, value: Enclosure, found: Measured) -> dict[str, Any]:
    values = [float(v.middle) for v in found.values] if subject.readout == "argmax" else [float(value.low)]
    return {
        "value": float(value.middle),
        "value_min": min(values),
        "value_max": max(values),
        "scenarios": [
            float(np.mean([float(run[k].value.middle) for run in found.runs])) for k in range(len(subject.weights))
        ],
        "gap": outward(found.gap().high, "up") if found.runs[0][0].gain else None,
    }


def deviation_table(subject: DynamicSubject) -> list[dict[str, Any]]:
    """What each follower forgoes a round in each scenario: the largest and the median over runs, and from anywhere."""
    found, rows = subject.measured[1], []
    for k, (label, _) in enumerate(subject.setting.scenarios):
        for i, player in enumerate(subject.games[k].players):
            gains = [run[k].gain[i].high for run in found.runs]
            rows.append(
                {
                    "scenario": label,
                    "player": player,
                    "largest": outward(max(gains), "up"),
                    "median": float(np.median([float(g) for g in gains])),
                    "anywhere": outward(max(run[k].anywhere[i].high for run in found.runs), "up"),
                    "within_threshold": sum(g <= subject.threshold for g in gains),
                    "runs": len(gains),
                }
            )
    return rows


def cycle_table(subject: DynamicSubject, most: int = 6) -> list[dict[str, Any]]:
    """What frozen play does, most frequent first: the states it repeats, or those of an episode."""
    found, rows = subject.measured[1], []
    for k, (label, _) in enumerate(subject.setting.scenarios):
        counted: Counter[tuple[int, ...]] = Counter()
        values: dict[tuple[int, ...], float] = {}
        for run in found.runs:
            cycle = run[k].cycle
            if subject.games[k].rounds is None:  # the same cycle may be entered at any of its states
                at = cycle.index(min(cycle))
                cycle = cycle[at:] + cycle[:at]
            counted[cycle] += 1
            values[cycle] = float(run[k].value.middle)
        for cycle, times in counted.most_common(most):
            names = [subject.games[k].states[s] for s in cycle]
            rows.append({"scenario": label, "states": names, "runs": times, "value": values[cycle]})
    return rows


def statements(subject: DynamicSubject) -> list[Statement]:
    """Every answer but those about the file itself, in the order of the report."""
    return [
        *ask_tabulation(subject),
        *ask_learners(subject),
        *ask_gaps(subject),
        *ask_values(subject),
        *ask_horizons(subject),
        *ask_rules(subject),
        *ask_references(subject),
        *ask_range(subject),
        *ask_claims(subject),
    ]


def tables(subject: DynamicSubject) -> dict[str, Any]:
    """The tables of the audit."""
    return {
        "readouts": readout_table(subject),
        "margins": [],
        "sensitivity": [],
        "rules": rule_table(subject),
        "deviations": deviation_table(subject),
        "cycles": cycle_table(subject),
    }


def series(subject: DynamicSubject) -> Mapping[str, Any]:
    """The data behind pictures: those of one-shot audits, where they make sense."""
    readings = subject.measured.items()
    return {
        "range_curve": [],
        "points": [
            {
                "factor": factor,
                "readout": "argmax",
                "gap": outward(found.gap().high, "up"),
                "value": float(found.mean.middle),
                "trained": subject.readout == "argmax",
            }
            for factor, found in readings
        ],
        "references": [{"name": r.name, "value": float(r.value), "kind": r.kind} for r in subject.setting.references()],
        "regret": [],
        "play": [],
    }
