"""Followers who act together: what the leader is worth at the equilibria that are best for a coalition of them.

Learning rules say nothing about followers who talk. Among the equilibria at their joint optimum the leader's least and
largest value are proved (theory T5); like every range this is information and moves no verdict of an audit.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

from ..solvers.coalition import CoalitionRange, coalition_range
from ..verify.certificate import Certificate
from ..verify.numerals import outward, show
from ..verify.plain import number_text
from ..verify.verdict import Statement, Verdict
from .audit import Progress
from .command_bounds import end_document
from .questions import READOUT_WORDS, Readings, own_epsilons, proved, slack
from .statements import state
from .subject import Subject

MOST_PAIRS = 6
"""So many pairs are asked about beside all followers: those of four."""

SECONDS_SHARE = Fraction(1, 4)
"""Of the time for ranges, so much is there for coalitions."""


@dataclass(frozen=True)
class Pact:
    """The proved range at one coalition's joint optimum; ``name`` is what ids and file names call it."""

    name: str
    found: CoalitionRange


def prove_pacts(subject: Subject, readings: Readings, say: Progress) -> list[Pact]:
    """All followers together, and in a full audit each pair of three or four; none where there is one follower."""
    n = subject.game.n_players
    if n == 1:
        return []
    pairs = list(combinations(range(n), 2)) if n > 2 and subject.options.curve else []
    asked = [tuple(range(n)), *(pairs if len(pairs) <= MOST_PAIRS else [])]
    epsilon = own_epsilons(subject, readings)[subject.readout]
    seconds = subject.options.seconds * float(SECONDS_SHARE) / len(asked)
    out = []
    for players in asked:
        name = "all" if len(players) == n else "-".join(map(str, players))
        say(f"proving what {'all followers' if name == 'all' else f'followers {name}'} could agree on")
        out.append(Pact(name, coalition_range(subject.game, players, epsilon=epsilon, seconds=seconds)))
    return out


def ask_pacts(subject: Subject, pacts: list[Pact], readings: Readings) -> list[Statement]:
    """Is the leader worth as much where its followers agree on what is best for them together?"""
    reading = readings[1, subject.readout]
    least = reading.value - slack(subject)
    out = []
    for pact in pacts:
        found, epsilon = pact.found, show(pact.found.epsilon, 12)
        low, high = show(found.min.outer, direction="down"), show(found.max.outer, direction="up")
        worth = show(found.min.outer) if found.min.outer == found.max.outer else f"between {low} and {high}"
        names = [subject.game.players[i].name for i in found.coalition]
        who = "all followers" if pact.name == "all" else " and ".join(names)
        out.append(
            state(
                f"coalition.{pact.name}@{epsilon}",
                "information",
                f"If {who} agree on what is best for them together, among strategic-form equilibria with ε = {epsilon} "
                f"(worth {show(found.threshold)} to them in sum), the leader is worth {worth}; at least {show(least)} "
                "is asked.",
                _verdict(found, least),
                measured=found.min.outer,
                threshold=least,
                why="Followers who talk choose the equilibrium, and no theorem on learning speaks of them. The bar is "
                f"the value under the {READOUT_WORDS[subject.readout]}, less {show(slack(subject))}. It would be "
                "refuted by an equilibrium at the joint optimum that leaves the leader less, and upheld by a leader "
                "whose followers gain together only where it gains.",
                players=names,
                epsilon_exact=number_text(found.epsilon),
                joint={
                    "outer": outward(found.joint.outer, "up"),
                    "outer_exact": number_text(found.joint.outer),
                    "inner_exact": None if found.joint.inner is None else number_text(found.joint.inner),
                },
                threshold_exact=number_text(found.threshold),
                min=end_document(found.min, "down"),
                max=end_document(found.max, "up"),
                proved=found.proved,
                certificates=[name for name, _ in _certificates(pact)],
            )
        )
    return out


def _verdict(found: CoalitionRange, least: Fraction) -> Verdict:
    """Refuted only by a play at the joint optimum itself, up to a billionth of it."""
    if not found.proved:
        return "inconclusive"
    if found.min.outer >= least:
        return "holds"
    joint, inner = found.joint, found.min.inner
    assert joint.inner is not None and inner is not None  # proved ranges have plays at their ends
    at_optimum = joint.outer - joint.inner <= Fraction(1, 10**9) * max(Fraction(1), abs(joint.outer))
    return "refuted" if at_optimum and inner < least else "inconclusive"


def _certificates(pact: Pact) -> list[tuple[str, Certificate]]:
    found = pact.found
    pairs = {
        "joint": (found.joint.certificate, found.joint.inner_certificate),
        "min": (found.min.certificate, found.min.inner_certificate),
        "max": (found.max.certificate, found.max.inner_certificate),
    }
    return [
        (f"coalition-{pact.name}-{name}-{kind}.cert.json", certificate)
        for name, pair in pairs.items()
        for kind, certificate in zip(("outer", "inner"), pair, strict=True)
        if certificate is not None
    ]


def pact_certificates(pacts: list[Pact]) -> dict[str, dict[str, object]]:
    """Every certificate behind what the coalitions could take."""
    return {name: proved(certificate) for pact in pacts for name, certificate in _certificates(pact)}
