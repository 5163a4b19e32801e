"""The answer to `spverify replay` as plain text, at most 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...verify.errors import printable
from ...verify.numerals import show
from .text import colour, facts, for_terminals, paragraph, table


@for_terminals
def replay_text(document: Mapping[str, Any]) -> str:
    """What the learners did, in a screenful."""
    learner, goes_on = document["learner"], document.get("dynamic", False)
    lines = [f"{learner['title']} on {printable(document['game'])}", ""]
    if document["verdict"] is not None:
        claim = document["statements"][-1]
        word = claim["verdict"].upper()
        first, *rest = paragraph(f"{word}: {claim['text']}.")
        lines += [first.replace(word, colour(word, claim["verdict"]), 1), *rest, *paragraph(claim["why"]), ""]
    shown = document["gap"]["checkpoints"]
    step = max(1, len(shown) // 8)
    picked = [*shown[:-1][::step], shown[-1]]
    rows = [
        [
            str(line["round"]),
            show(line["median"], 3),
            show(line["max"], 3),
            show(line["value"], 5) if goes_on else _bound(document, line),
        ]
        for line in picked
    ]
    last = "leader's value" if goes_on else "regret bound"
    lines += table(["round", "gap, median", "gap, worst", last], rows, right=(0, 1, 2, 3))
    facts_ = [("stays below", _stays(document))]
    rate = document["rate"]
    if rate["exponent"] is not None:
        span = "" if rate["lower"] is None else f", {show(rate['lower'], 3)} to {show(rate['upper'], 3)}"
        facts_.append(("rate", f"gap about rounds^{show(rate['exponent'], 3)}{span} (median over runs)"))
    facts_.append(("last actions", _calm(document)) if goes_on else ("last iterates", _moves(document)))
    names = {"empirical": "while they learn", "argmax": "frozen"} if goes_on else {}
    for kind, found in document["readouts"].items():
        evidence = "proved" if goes_on else "exact"
        parts = [] if found["gap"] is None else [f"gap up to {show(found['gap']['max'])} ({evidence})"]
        if found["value"] is not None:
            parts.append(f"leader's value {show(found['value']['mean'])} on average")
        if parts:
            facts_.append((names.get(kind, kind), ", ".join(parts)))
    for statement in document["statements"]:
        if statement["id"].startswith("regret."):
            facts_.append(("theory T7", f"{statement['verdict']}: {statement['text']}"))
    if goes_on:
        facts_.append(("theory T7", "no bound is known for Q-learning, and nothing says that it settles"))
    for path in document["files"]:
        facts_.append(("written" if path == document["files"][0] else "", path))
    return "\n".join([*lines, "", *facts(facts_)])


def _stays(document: Mapping[str, Any]) -> str:
    settled = [mark for mark in document["gap"]["settled"] if mark is not None]
    by = f"; the last of them by round {max(settled)}" if settled else ""
    return f"gap <= {show(document['epsilon'])} to the end in {len(settled)} of {document['seeds']} runs{by}"


def _moves(document: Mapping[str, Any]) -> str:
    """How many runs settle, cycle or wander, and that the latter two do not converge."""
    counts = {kind: count for kind, count in document["motion"].items() if count}
    words = [
        f"{n} {kind[:-1]}{_periods(document['periods']) if kind == 'cycles' else ''}" for kind, n in counts.items()
    ]
    end = "" if set(counts) == {"settles"} else "; not all of them converge"
    return f"of {document['seeds']} runs {', '.join(words)}{end}"


def _calm(document: Mapping[str, Any]) -> str:
    """Of Q-learners: whose greedy actions stayed the same, and what frozen play repeats."""
    text = f"unchanged over the last tenth of rounds in {document['motion']['settles']} of {document['seeds']} runs"
    lengths = ", ".join(map(str, document["periods"]))
    return text + (f"; frozen, play repeats cycles of length {lengths}" if lengths else "")


def _bound(document: Mapping[str, Any], line: Mapping[str, Any]) -> str:
    bounds = [row["bound"] for row in document["regret"] if row["round"] == line["round"] and row["bound"] is not None]
    return show(max(bounds), 3) if bounds else "none"


def _periods(periods: list[int]) -> str:
    return f" (period {', '.join(map(str, periods[:5]))} rounds)" if periods else ""
