"""The questions an audit asks, each answered by statements with verdicts (theory T10).

Ids are those of docs/formats.md. A statement says what was measured, against what, from which evidence, and what
would have changed the verdict. Required are those without which a leader's figures mean nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from ..solvers.bounds import EquilibriumRange, equilibrium_range
from ..solvers.commitment import optimal_mixed_commitment, optimal_pure_commitment
from ..trained_leaders.settings.matrix import MatrixGame
from ..verify.certificate import Certificate, mixture_certificates
from ..verify.numerals import outward, show
from ..verify.plain import number_text
from ..verify.regret import assess
from ..verify.verdict import Statement, Verdict
from .audit import Progress
from .dynamic import DynamicSubject
from .render.text import SET_NAMES
from .replay import READOUTS, Reading, RegretCurve, Replays
from .statements import state
from .subject import MAX_CELLS, MAX_ROUNDS, Subject

Readings = Mapping[tuple[int, str], Reading]

CELLS_CHECKED = 4096
"""Plays of the setting that are unfolded to check the tabulated game: all of them if there are no more than this."""

CURVE_POINTS = 8

AGREEMENT = Fraction(1, 10)
"""Share of what is at stake for the leader that two readouts of settled followers may differ by."""

SETTLED = 100
"""From this multiple of the training horizon on, followers who have not decided are taken to stay so."""

READOUT_WORDS = {
    "empirical": "average play over all rounds",
    "last": "final mixed strategies",
    "argmax": "final most likely actions",
}


# ------------------------------------------------------------------------------------ the file and the mechanism


def ask_file(subject: Subject | DynamicSubject) -> list[Statement]:
    """Is the file what it seems, and safe to read?"""
    leader = subject.leader
    own = hashlib.sha256(subject.path.read_bytes()).hexdigest()
    return [
        state(
            "file.integrity",
            "required",
            f"The file is a well-formed leader of {leader.size} bytes and was read without running anything in it.",
            own == leader.sha256,
            why="A stranger's file can carry code or exhaust a machine; this one passed every rule of the reader, in a "
            "child process with limits. A file that changed while it was read would be refuted.",
            sha256=leader.sha256,
        )
    ]


def ask_commitment(subject: Subject | DynamicSubject) -> list[Statement]:
    """Is the leader a commitment: a function of what it observes, and nothing else?

    A table or a network on the one-hot observation cannot be anything else, and the reader of leader files takes no
    others: what is left to check is that table and network agree. Of a policy trained elsewhere, whose file
    holds no weights, it is known only by perturbation, from the record made when it was saved.
    """
    leader, facts = subject.leader, subject.leader.commitment
    network, origin = leader.policy_kind == "network", facts["origin"]
    probes = _probes_document(origin)
    if origin is not None and not network:
        return [_commitment_by_perturbation(subject, origin, probes)]
    agreed = "and its network answers as the stated table does at every one of them" if network else ""
    return [
        state(
            "commitment",
            "required",
            f"What the leader does depends only on which of its {len(leader.observations)} observations it sees"
            f"{', ' + agreed if agreed else ''}.",
            leader.network_agrees,
            measured=leader.network_difference,
            threshold=0.0,
            evidence="float" if network else "exact",
            why="A leader that saw the phase of training or the followers' thoughts would be no commitment, and its "
            "figures would not carry over. One differing entry between network and table would refute this.",
            established="by structure",
            inputs=facts["inputs"],
            margin=leader.margin,
            source=origin["source"] if origin else None,
            probes=probes,
        )
    ]


def _probes_document(origin: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    keys = ("name", "evaluations", "changed", "difference")
    return [dict(zip(keys, probe, strict=True)) for probe in origin["probes"]] if origin else []


PROBE_WORDS = {
    "repeat": "asked again",
    "order": "asked in another order",
    "single": "asked one by one",
    "outside": "given noise beside the observation",
    "mode": "in training mode",
}

NEEDED_PROBES = ("repeat", "order", "single")


def _commitment_by_perturbation(
    subject: Subject | DynamicSubject, origin: Mapping[str, Any], probes: list[dict[str, Any]]
) -> Statement:
    """The verdict over the recorded perturbations: only the switch to training mode may be left undecided."""
    changed = {probe["name"]: probe["changed"] for probe in probes if probe["changed"]}
    missing = [PROBE_WORDS[name] for name in NEEDED_PROBES if name not in {probe["name"] for probe in probes}]
    asked = [probe for probe in probes if probe["name"] != "mode"]
    evaluations = sum(probe["evaluations"] for probe in asked)
    share = 1 - 0.05 ** (1 / evaluations) if evaluations else 1.0
    verdict: Verdict = "holds"
    if changed.keys() - {"mode"}:
        verdict = "refuted"
    elif changed or missing:
        verdict = "inconclusive"
    if changed:
        found = "; ".join(f"{PROBE_WORDS[name]}, {count} answers changed" for name, count in changed.items())
    elif missing:
        found = f"it was not {', '.join(missing)}, so this is open"
    else:
        everything = sum(probe["evaluations"] for probe in probes)
        ways = ", ".join(PROBE_WORDS[probe["name"]] for probe in probes)
        found = f"none of {everything} answers changed when it was {ways}"
    return state(
        "commitment",
        "required",
        f"What the leader does depends only on which of its {len(subject.leader.observations)} observations it sees: "
        f"the file holds the answers of {origin['source']}, not its weights; {found}.",
        verdict,
        measured=sum(changed.values()),
        threshold=0.0,
        evidence="statistical",
        why="The table audited here is a commitment; whether the policy that will be deployed is one was tried when it "
        "was saved, and this audit reads that record. At 95% confidence a policy that answered at random in more than "
        f"{show(100 * share, 3)}% of evaluations would have shown it; one that waits for its moment would not. A file "
        "with the weights of a plain network is checked by structure instead.",
        established="by perturbation",
        source=origin["source"],
        encoding=origin.get("encoding"),
        illegal=origin.get("illegal"),
        confidence=0.95,
        evaluations=evaluations,
        probes=probes,
    )


def ask_tabulation(subject: Subject) -> list[Statement]:
    """Does the setting, played step by step, pay what the tabulated game says?"""
    game, setting, n = subject.game, subject.setting, subject.game.n_players
    cells = np.array(list(product(*map(range, game.shape)))) if np.prod(game.shape) <= CELLS_CHECKED else None
    total = int(np.prod(game.shape))
    if cells is None:
        rng = np.random.default_rng(subject.options.rng_seed)
        cells = np.stack([rng.integers(k, size=CELLS_CHECKED) for k in game.shape], axis=1)
    rows = subject.leader.rows
    if subject.leader.leader_action == "pure":
        table = np.array([[row.index(1) for row in rows]])
    else:
        table = np.array([[[float(p) for p in row] for row in rows]])
    outcome = setting.play(np.repeat(table, len(cells), axis=0), cells[:, :n], cells[:, n:])
    assert game.leader is not None
    stated = [np.broadcast_to(u, game.shape)[tuple(cells.T)] for u in (*game.payoffs, game.leader)]
    played = [*outcome.followers.T, outcome.leader]
    difference = max(float(np.abs(a - b).max()) for a, b in zip(played, stated, strict=True))
    tolerance = 1e-9 * float(setting.payoff_scale)
    prior = [Fraction(p) for p in np.asarray(setting.prior).ravel().tolist()]
    same_prior = prior == list(game.plain.prior.values())
    how = f"All {total} plays" if len(cells) == total else f"{len(cells)} of {total} plays drawn at random"
    return [
        state(
            "tabulation",
            "required",
            f"{how} (types × actions), unfolded step by step, pay what the tabulated game says.",
            same_prior and difference <= tolerance,
            measured=difference,
            threshold=tolerance,
            evidence="float",
            why="Every exact figure below speaks about the tabulated game. A play that pays otherwise in the setting "
            "itself would refute this, and the rest with it.",
            plays=len(cells),
            prior_equal=same_prior,
        )
    ]


# ------------------------------------------------------------------------------------ plays


def certify_plays(subject: Subject, replays: Replays) -> dict[str, dict[str, Any]]:
    """Gap and value of the worst replay at the training horizon, one certificate each readout and figure."""
    out = {}
    for readout in READOUTS:
        reading = replays.readings[1, readout]
        worst = reading.worst_seed
        play = replays.snapshots(reading.rounds, readout, worst).play
        measured = {"gap": reading.gaps[worst], "value": reading.values[worst]}
        gap, value = mixture_certificates(subject.game, play, **measured)
        out[f"gap-{readout}.cert.json"], out[f"value-{readout}.cert.json"] = proved(gap), proved(value)
    return out


def proved(certificate: Certificate) -> dict[str, Any]:
    """The document, once the kernel has accepted it."""
    answer = certificate.recheck()
    if not answer.accepted:
        raise AssertionError(f"a certificate of this audit proves nothing: {answer.reason}")
    return certificate.document


def ask_gaps(subject: Subject, replays: Replays) -> list[Statement]:
    """How much would a follower gain by ignoring what it learned? One statement a readout, at the training horizon."""
    out = []
    for readout in READOUTS:
        reading = replays.readings[1, readout]
        report = assess(subject.game, replays.exactly(reading.rounds, readout, reading.worst_seed))
        limit = show(subject.threshold, direction="down")
        out.append(
            state(
                f"gap.{readout}",
                "required" if readout == subject.readout else "information",
                f"After {reading.rounds} updates, against the {READOUT_WORDS[readout]}, no follower gains more than "
                f"{limit} by a fixed deviation; the largest gain is {show(reading.gap, direction='up')}.",
                reading.gap <= subject.threshold,
                measured=reading.gap,
                threshold=subject.threshold,
                why="The gap is the ε of the ε-equilibrium that the followers reached; above the threshold some type "
                "would rather ignore the mechanism. The worst of all replays decides.",
                gap_exact=number_text(reading.gap),
                gaps=[float(gap) for gap in reading.gaps],
                witness=_witness(subject, report),
                per_type_sum=list(report.per_type_sum),
                ex_ante=list(report.ex_ante),
                nashconv=report.nashconv,
                certificate=f"gap-{readout}.cert.json",
            )
        )
    return out


def _witness(subject: Subject, report: Any) -> dict[str, Any] | None:
    if report.witness is None:
        return None
    at, player = report.witness, subject.game.players[report.witness.player]
    return {
        "player": player.name,
        "type": player.types[at.type],
        "deviation": player.actions[at.deviation],
        "gain": at.gain,
    }


def ask_values(subject: Subject, readings: Readings) -> list[Statement]:
    """What is the leader worth against what the followers learned?"""
    out = []
    for readout in READOUTS:
        reading = readings[1, readout]
        out.append(
            state(
                f"value.{readout}",
                "information",
                f"After {reading.rounds} updates, under the {READOUT_WORDS[readout]}, the leader is worth "
                f"{show(reading.value)} on average over {subject.seeds} replays{_spread(reading)}.",
                True,
                measured=reading.value,
                why="Readouts of one and the same learning can differ a lot; the theorem speaks about the average "
                "play, papers often report the final actions. The figure is computed exactly, so this cannot fail.",
                value_exact=number_text(reading.value),
                values=[float(value) for value in reading.values],
                certificate=f"value-{readout}.cert.json",
            )
        )
    return out


def _spread(reading: Reading) -> str:
    low, high = min(reading.values), max(reading.values)
    return "" if low == high else f", from {show(low)} to {show(high)}"


def ask_horizons(subject: Subject, readings: Readings) -> list[Statement]:
    """Does it last when the followers go on learning?"""
    claim = subject.claim("value", subject.readout)
    promised = claim if claim is not None else readings[1, subject.readout].value
    least = promised - subject.threshold
    out = []
    for factor in subject.options.horizons(subject.followers.updates):
        if factor not in subject.factors:
            out.append(_unreached(subject, factor))
            continue
        reading = readings[factor, subject.readout]
        lasting = reading.gap <= subject.threshold and reading.value >= least
        out.append(
            state(
                f"horizon.x{factor}",
                "required",
                f"After {factor} × the training horizon ({reading.rounds} updates), under the "
                f"{READOUT_WORDS[subject.readout]}, the leader is worth {show(reading.value)} and the gap is "
                f"{show(reading.gap, direction='up')}: at least {show(least, direction='up')} and at most "
                f"{show(subject.threshold, direction='down')} are asked.",
                lasting,
                measured=reading.value,
                threshold=least,
                why="A leader can look good against followers who have not finished learning. Less value than "
                f"{'claimed' if claim is not None else 'at the training horizon'}, less the tolerance, or a gap above "
                "the threshold in any replay refutes it.",
                rounds=reading.rounds,
                gap=float(reading.gap),
                gap_exact=number_text(reading.gap),
                gap_threshold=float(subject.threshold),
                value_exact=number_text(reading.value),
                value_least=float(min(reading.values)),
                replays=subject.seeds,
            )
        )
    return out


def ask_agreement(subject: Subject, readings: Readings) -> list[Statement]:
    """Is the value there for followers who mix as they learned to, or only by the way their play is read off?

    Asked of leaders trained on final actions, against the final mixed strategies, and of leaders trained on final
    mixed strategies, against the average play; who is judged by the average play is judged by what the theorem covers.
    """
    other = {"argmax": "last", "last": "empirical"}.get(subject.readout)
    if other is None:
        return []
    factor, effect, allowed = subject.factors[-1], effect_size(subject), slack(subject)
    own, rival = readings[factor, subject.readout], readings[factor, other]
    agrees, settled = rival.value >= own.value - allowed, factor >= SETTLED
    verb = "is" if other == "empirical" else "are"
    return [
        state(
            "horizon.agreement",
            "required",
            f"After {factor} × the training horizon the {READOUT_WORDS[other]} {verb} worth no less than the "
            f"{READOUT_WORDS[subject.readout]}, up to {show(allowed)}: {show(rival.value)} against {show(own.value)}."
            + ("" if agrees or settled else " They may yet meet: no longer horizon was looked at."),
            agrees if agrees or settled else "inconclusive",
            measured=rival.value,
            threshold=own.value - allowed,
            why="Followers who stay undecided for ever are coordinated by a readout that breaks their ties, not by the "
            f"leader. The tolerance is {AGREEMENT * 100}% of what is at stake for the leader, or the gap allowed if "
            "that is less. A leader whose rules let undecided types decide, or lose nothing by their indecision, "
            "would change the verdict.",
            readout=subject.readout,
            against=other,
            rounds=own.rounds,
            tolerance=float(allowed),
            effect=None if effect is None else float(effect),
        )
    ]


def _unreached(subject: Subject, factor: int) -> Statement:
    return state(
        f"horizon.x{factor}",
        "required",
        f"{factor} × the training horizon is {factor * subject.followers.updates} updates, more than the {MAX_ROUNDS} "
        "that an audit replays: whether the leader lasts that long is open.",
        "inconclusive",
        why="A leader can look good against followers who have not finished learning; this horizon was not looked at.",
    )


def ask_regret(subject: Subject, replays: Replays, curves: list[RegretCurve], delta: float) -> list[Statement]:
    """Do the followers regret no more than the theorem on their learning rule allows?"""
    worst = max(curves, key=lambda curve: curve.ratio)
    player = subject.game.players[worst.player]
    sampled = subject.followers.draw
    fails = f"fails with probability at most {delta:g}" if sampled else "never fails where nothing is drawn"
    return [
        state(
            "regret.mw",
            "required",
            "In every replay, at every checkpoint, each player and type has regretted less than the bound for "
            f"multiplicative weights allows; the largest share of the bound used is {show(max(worst.ratio, 0.0), 3)}.",
            all(curve.ratio <= 1 for curve in curves),
            measured=max(worst.ratio, 0.0),
            threshold=1.0,
            evidence="statistical" if sampled else "float",
            why="The theorem behind the equilibrium claim needs learners that learn. Regret above the bound would mean "
            f"that these are none; the bound itself {fails}.",
            confidence=1 - delta if sampled else None,
            checkpoints=list(replays.checkpoints),
            tightest={"player": player.name, "type": player.types[worst.type]},
        )
    ]


# ------------------------------------------------------------------------------------ ranges


@dataclass(frozen=True)
class RangePoint:
    """A proved range at one epsilon; ``asked`` tells a statement from a mere point of the curve."""

    epsilon: Fraction
    asked: bool
    found: EquilibriumRange

    @property
    def name(self) -> str:
        """The epsilon in short, as ids and file names carry it; it is that epsilon exactly."""
        return show(self.epsilon, 12)


def _rounded_up(value: Fraction) -> Fraction:
    """Three significant digits, upwards: an epsilon that the play satisfies and a person can read."""
    return Fraction(show(value, 3, "up"))


def own_epsilons(subject: Subject, readings: Readings) -> dict[str, Fraction]:
    """The play's own epsilon by readout: its exact gap at the training horizon, rounded up to three digits."""
    return {readout: _rounded_up(readings[1, readout].gap) for readout in READOUTS}


def prove_ranges(subject: Subject, readings: Readings, say: Progress) -> list[RangePoint]:
    """The leader's least and largest value over its followers' equilibria, at epsilon 0, the play's own, and others."""
    own = own_epsilons(subject, readings)
    asked = sorted({Fraction(0), *own.values()})
    points = set(asked)
    if subject.options.curve:
        end = max(2 * asked[-1], subject.threshold)
        points |= {_rounded_up(end * k / CURVE_POINTS) for k in range(1, CURVE_POINTS + 1)}
    questions = [("sf", epsilon) for epsilon in sorted(points)]
    if subject.options.curve and subject.game.n_players > 1:
        questions += [(which, epsilon) for which in ("ns", "tc") for epsilon in asked]
    out = []
    for which, epsilon in questions:
        say(f"proving the {SET_NAMES[which]} range at epsilon {show(epsilon)}")
        seconds = subject.options.seconds / len(questions)
        found = equilibrium_range(
            subject.game, objective="leader", equilibrium_set=which, epsilon=epsilon, seconds=seconds
        )
        if found.interrupted:  # a weaker range because of Ctrl-C would depend on when it came
            raise KeyboardInterrupt
        out.append(RangePoint(epsilon, epsilon in asked, found))
    return out


def ask_ranges(subject: Subject, ranges: list[RangePoint], readings: Readings) -> list[Statement]:
    """How bad and how good could another equilibrium of the same leader be?"""
    own = own_epsilons(subject, readings)
    out = []
    for point in ranges:
        if not point.asked:
            continue
        found, which = point.found, point.found.equilibrium_set
        low, high = found.min.outer, found.max.outer
        whose = [readout for readout in READOUTS if own[readout] == point.epsilon]
        note = f" (the ε of the {' and '.join(READOUT_WORDS[r] for r in whose)})" if whose else ""
        out.append(
            state(
                f"range.{which}@{point.name}",
                "information",
                f"Over every {SET_NAMES[which]} equilibrium with ε = {point.name}{note} the leader is worth between "
                f"{show(low, direction='down')} and {show(high, direction='up')}.",
                "holds" if found.proved else "inconclusive",
                measured=high - low,
                why="Other learners, or other luck, may settle on another equilibrium of the same mechanism: the width "
                "of this range is that risk. It is inconclusive where the two ends were not both reached by a play.",
                min=_side_document(found.min, "down"),
                max=_side_document(found.max, "up"),
                epsilon_exact=number_text(point.epsilon),
                readouts=whose,
                proved=found.proved,
                method=found.method,
                same_set=subject.game.n_players == 1,
                certificates=[name for name, _ in _certificates(point)],
            )
        )
    return out


def _side_document(side: Any, direction: str) -> dict[str, Any]:
    return {
        "outer": outward(side.outer, direction),
        "outer_exact": number_text(side.outer),
        "inner": None if side.inner is None else float(side.inner),
        "inner_gap": None if side.inner_gap is None else float(side.inner_gap),
    }


def _certificates(point: RangePoint) -> list[tuple[str, Certificate]]:
    stem = f"range-{point.found.equilibrium_set}-{point.name}"
    found = []
    for name, side in (("min", point.found.min), ("max", point.found.max)):
        for kind, certificate in (("outer", side.certificate), ("inner", side.inner_certificate)):
            if certificate is not None and (point.asked or kind == "outer"):
                found.append((f"{stem}-{name}-{kind}.cert.json", certificate))
    return found


def range_certificates(ranges: list[RangePoint]) -> dict[str, dict[str, Any]]:
    """Every certificate behind a range that was asked or drawn."""
    return {name: proved(certificate) for point in ranges for name, certificate in _certificates(point)}


# ------------------------------------------------------------------------------------ references and claims


@dataclass(frozen=True)
class ReferenceValue:
    """A value to compare the leader with, and how it is meant (theory T9).

    ``proof`` says how the value was found again, where it was: by exact optimisation over all commitments.
    """

    name: str
    value: Fraction
    text: str
    kind: str
    readout: str
    proof: Mapping[str, Any]


def references(subject: Subject) -> list[ReferenceValue]:
    """The setting's references that speak about this kind of leader, proved again where that is cheap."""
    out = []
    for reference in subject.setting.references():
        if reference.leader_actions and subject.leader.leader_action not in reference.leader_actions:
            continue
        readout = subject.readout
        if reference.readouts and readout not in reference.readouts:
            readout = reference.readouts[0]
        value, proof = reference.value, {}
        if isinstance(subject.setting, MatrixGame) and reference.name in _COMMITMENTS:
            best = _COMMITMENTS[reference.name](subject.setting.leader_table, subject.setting.follower_table)
            proof = {
                "recomputed": number_text(best.value),
                "proved": best.proved,
                "setting_agrees": best.value == value,
                "margin": None if best.margin is None else number_text(best.margin),
                "pessimistic": number_text(best.pessimistic),
            }
            value = best.value
        out.append(ReferenceValue(reference.name, value, reference.text, reference.kind, readout, proof))
    return _with_best_table(subject, out)


def _with_best_table(subject: Subject, known: list[ReferenceValue]) -> list[ReferenceValue]:
    """The same, with the best deterministic leader beside each value that it attains, or else as one more reference."""
    best = subject.best_table
    if best is None or not best.closed:  # a search that ran out of time found a table, not the best one
        return known
    proof = {
        "table": list(best.table),
        "table_value": number_text(best.value),
        "table_worst": number_text(best.worst),
        "table_method": best.method,
        "no_table_above": best.bound,
    }
    met = [r.kind != "baseline" and r.value == best.value for r in known]
    if any(met):
        return [
            replace(r, proof={**r.proof, **proof}) if attained else r for r, attained in zip(known, met, strict=True)
        ]
    text = "the best deterministic leader, at its best pure Bayes-Nash equilibrium"
    return [*known, ReferenceValue("best-deterministic", best.value, text, "bound", "argmax", proof)]


_COMMITMENTS = {"pure-optimum": optimal_pure_commitment, "mixed-optimum": optimal_mixed_commitment}


def required_optimum(subject: Subject) -> ReferenceValue | None:
    """The proved optimum over commitments of this leader's kind; None where the setting knows none.

    A matrix game's mixed optimum is a mere bound for leaders who commit to a row, and the optimum for mixtures.
    """
    for reference in references(subject):
        mixed = reference.name == "mixed-optimum" and subject.leader.leader_action == "mixture"
        if (reference.kind == "optimum" or mixed) and reference.proof.get("proved", True):
            return reference
    return None


def effect_size(subject: Subject) -> Fraction | None:
    """How much is at stake for the leader: from the worst reference to the best; None where nothing is known.

    The worst is the setting's baseline (a leader who ignores what it sees) or, where the setting names none below the
    best, the least payoff that the leader can get at all.
    """
    known = references(subject)
    optimum = required_optimum(subject)
    tops = [optimum.value] if optimum else [r.value for r in known if r.kind != "baseline"]
    if not tops:
        return None
    floors = [r.value for r in known if r.kind == "baseline" and r.value < max(tops)]
    if not floors:
        leader = subject.game.plain.leader
        assert leader is not None
        matrix = subject.setting.leader_table if isinstance(subject.setting, MatrixGame) else (leader.values(),)
        floors = [min(min(row) for row in matrix)]
    return max(max(tops) - max(floors), Fraction(0))


def slack(subject: Subject) -> Fraction:
    """A difference in value that a reader may overlook: a tenth of what is at stake, or the gap allowed if less."""
    effect = effect_size(subject)
    return subject.threshold if effect is None else min(subject.threshold, effect * AGREEMENT)


def ask_references(subject: Subject, readings: Readings) -> list[Statement]:
    """How far is the leader from the best possible one? The proved optimum is required, the others are information."""
    optimum, effect = required_optimum(subject), effect_size(subject)
    out = []
    for reference in references(subject):
        required = optimum is not None and reference.name == optimum.name
        reading = readings[1, subject.readout if required else reference.readout]
        distance = reading.value - reference.value
        baseline = reference.kind == "baseline"
        reach = subject.options.within * effect if required and effect is not None else subject.threshold
        reached = distance > 0 if baseline else distance >= -reach
        if baseline:
            aim = f"The leader is worth more than {show(reference.value)}"
        else:
            aim = f"The leader comes within {show(reach)} of {show(reference.value)}"
        out.append(
            state(
                f"reference.{reference.name}",
                "required" if required else "information",
                f"{aim} ({reference.text}): it is worth {show(reading.value)}.",
                reached,
                measured=reading.value,
                threshold=reference.value if baseline else reference.value - reach,
                why=_why_reference(subject, effect) if required else _WHY_REFERENCE,
                kind=reference.kind,
                readout=reading.readout,
                value=float(reference.value),
                value_exact=number_text(reference.value),
                distance=float(distance),
                within=number_text(subject.options.within) if required else None,
                **reference.proof,
            )
        )
    return out


_WHY_REFERENCE = (
    "How good the play is, how bad another equilibrium could be, and how far the leader is from the best one are three "
    "different questions; this is the third."
)


def _why_reference(subject: Subject, effect: Fraction | None) -> str:
    share = show(100 * subject.options.within)
    size = "" if effect is None else f", which is {show(effect)} here"
    return (
        "The best leader of this kind is known exactly, so falling short is no matter of taste. At most "
        f"{share}% of what is at stake is allowed, from the worst reference to the best{size}. A leader closer to the "
        "optimum, or a larger --within, would change the verdict."
    )


def ask_claims(subject: Subject) -> list[Statement]:
    """Is what the trainer stored true? Every claim is recomputed from the tabulated game."""
    claims = subject.leader.claims
    stored = [(kind, readout) for kind in ("value", "gap") for readout in READOUTS if readout in claims.get(kind, {})]
    if not stored:
        return []
    updates = claims.get("updates", subject.followers.updates)
    runs, rng_seed = claims.get("runs", 1), claims.get("rng_seed", 0)
    why = (
        "A claim is data to be checked, never to be trusted: the followers learned again, from the seeds that the file "
        "names, on the tabulated game. A figure that differs refutes it; a smaller gap than claimed does not."
    )
    cells = sum(mask.size for mask in subject.game.feasible)
    if not (
        runs > 0 and updates > 0 and rng_seed >= 0 and runs * updates * cells <= MAX_CELLS and updates <= MAX_ROUNDS
    ):
        return [
            state(
                f"claim.{kind}.{readout}",
                "required",
                f"The trainer's claim on {kind} and {readout} readout cannot be recomputed: {runs} runs of {updates} "
                "updates are out of reach.",
                "inconclusive",
                why=why,
            )
            for kind, readout in stored
        ]
    again = subject.replays(seeds=runs, rng_seed=rng_seed, updates=updates).readings
    tolerance = Fraction(1, 10**6) * Fraction(subject.setting.payoff_scale)
    out = []
    for kind, readout in stored:
        reading, claim = again[1, readout], subject.claim(kind, readout)
        assert claim is not None
        found = reading.value if kind == "value" else reading.gap
        true = abs(found - claim) <= tolerance if kind == "value" else found <= claim + tolerance
        out.append(
            state(
                f"claim.{kind}.{readout}",
                "required",
                f"The trainer claims {kind} {show(claim)} under the {READOUT_WORDS[readout]}; recomputed over {runs} "
                f"replay{'s' if runs > 1 else ''} of {updates} updates it is {show(found)}.",
                true,
                measured=found,
                threshold=claim,
                why=why,
                recomputed_exact=number_text(found),
                tolerance=float(tolerance),
                runs=runs,
                updates=updates,
                rng_seed=rng_seed,
            )
        )
    return out


# ------------------------------------------------------------------------------------ figures and tables


def headline(subject: Subject, readings: Readings, ranges: list[RangePoint]) -> dict[str, Any]:
    """The three figures of the first screen: value reached and its best reference, proved range, gap."""
    reading = readings[1, subject.readout]
    own = own_epsilons(subject, readings)[subject.readout]
    point = next(p for p in ranges if p.epsilon == own and p.found.equilibrium_set == "sf")
    aims = [r for kind in ("optimum", "bound") for r in references(subject) if r.kind == kind]
    return {
        "readout": subject.readout,
        "reference": {"name": aims[0].name, "value": float(aims[0].value), "text": aims[0].text} if aims else None,
        "value": float(reading.value),
        "value_exact": number_text(reading.value),
        "values": [float(min(reading.values)), float(max(reading.values))],
        "range": {
            "set": "sf",
            "epsilon": float(own),
            "epsilon_exact": number_text(own),
            "min": outward(point.found.min.outer, "down"),
            "max": outward(point.found.max.outer, "up"),
            "min_exact": number_text(point.found.min.outer),
            "max_exact": number_text(point.found.max.outer),
            "proved": point.found.proved,
        },
        "gap": float(reading.gap),
        "gap_exact": number_text(reading.gap),
        "threshold": float(subject.threshold),
    }


def readout_table(readings: Readings) -> list[dict[str, Any]]:
    """Value and gap for each horizon and readout."""
    return [
        {
            "factor": factor,
            "rounds": reading.rounds,
            "readout": readout,
            "value": float(reading.value),
            "value_min": float(min(reading.values)),
            "value_max": float(max(reading.values)),
            "gap": float(reading.gap),
        }
        for (factor, readout), reading in readings.items()
    ]


def _slope(certificate: Certificate) -> float:
    """Sum of the multipliers y: the same y prove a bound at every other epsilon, this steep in it (theory T5)."""
    return float(sum((Fraction(row[3]) for row in certificate.document["evidence"]["multipliers"]), Fraction(0)))


def range_series(ranges: list[RangePoint]) -> list[dict[str, Any]]:
    """The range as a curve in epsilon, for each set, with the slopes at which each proof carries to other epsilons."""
    return [
        {
            "set": point.found.equilibrium_set,
            "epsilon": float(point.epsilon),
            "min": outward(point.found.min.outer, "down"),
            "max": outward(point.found.max.outer, "up"),
            "min_slope": -_slope(point.found.min.certificate),
            "max_slope": _slope(point.found.max.certificate),
            "proved": point.found.proved,
        }
        for point in ranges
    ]


def play_points(subject: Subject, readings: Readings) -> list[dict[str, Any]]:
    """Where the replays lie: gap and value by readout and horizon."""
    return [
        {
            "factor": factor,
            "readout": readout,
            "gap": float(reading.gap),
            "value": float(reading.value),
            "trained": readout == subject.readout,
        }
        for (factor, readout), reading in readings.items()
    ]


def reference_series(subject: Subject) -> list[dict[str, Any]]:
    """Reference values, for lines in pictures."""
    return [{"name": r.name, "value": float(r.value), "kind": r.kind} for r in references(subject)]


def regret_series(subject: Subject, curves: list[RegretCurve]) -> list[dict[str, Any]]:
    """Measured regret and its bound over rounds, for each player and type."""
    players = subject.game.players
    return [
        {
            "player": players[curve.player].name,
            "type": players[curve.player].types[curve.type],
            "rounds": list(curve.rounds),
            "regret": list(curve.regret),
            "bound": list(curve.bound),
        }
        for curve in curves
    ]


def play_series(subject: Subject, replays: Replays) -> list[dict[str, Any]]:
    """How often each type of each player takes each action, averaged over replays, at the training horizon."""
    out = []
    for readout in READOUTS:
        parts = [replays.snapshots(subject.followers.updates, readout, seed) for seed in range(subject.seeds)]
        for i, player in enumerate(subject.game.players):
            means = [np.average(part.play.strategies[i], axis=0, weights=part.counts) for part in parts]
            out.append(
                {
                    "readout": readout,
                    "player": player.name,
                    "types": list(player.types),
                    "actions": list(player.actions),
                    "probabilities": np.mean(means, axis=0).tolist(),
                }
            )
    return out
