"""The answer to `spverify replay` as plain text, at most 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..numerals import show
from .text import colour, facts, paragraph, table


def replay_text(document: Mapping[str, Any]) -> str:
    """What the learners did, in a screenful."""
    learner, seeds = document["learner"], document["seeds"]
    lines = [f"{learner['title']} on {document['game']}", ""]
    if document["verdict"] is not None:
        claim = document["statements"][-1]
        lines += [f"  {colour(claim['verdict'].upper(), claim['verdict'])}: {claim['text']}."]
        lines += [*paragraph(claim["why"]), ""]
    shown = document["gap"]["checkpoints"]
    step = max(1, len(shown) // 8)
    picked = [*shown[:-1][::step], shown[-1]]
    rows = [
        [str(line["round"]), show(line["median"], 3), show(line["max"], 3), _bound(document, line)] for line in picked
    ]
    lines += table(["round", "gap, median", "gap, worst", "regret bound"], rows, right=(0, 1, 2, 3))
    settled = [mark for mark in document["gap"]["settled"] if mark is not None]
    by = f"; the last of them by round {max(settled)}" if settled else ""
    rate, moves = document["rate"], document["motion"]
    facts_ = [("stays below", f"gap <= {show(document['epsilon'])} to the end in {len(settled)} of {seeds} runs{by}")]
    if rate["exponent"] is not None:
        span = "" if rate["lower"] is None else f", {show(rate['lower'], 3)} to {show(rate['upper'], 3)}"
        facts_.append(("rate", f"gap about rounds^{show(rate['exponent'], 3)}{span} (median over runs)"))
    words = [f"{count} {kind}" for kind, count in moves.items() if count]
    facts_.append(("last iterates", ", ".join(words) + _periods(document["periods"])))
    for kind, found in document["readouts"].items():
        if found["gap"] is None:
            continue
        text = f"gap up to {show(found['gap']['max'])} (exact)"
        if found["value"] is not None:
            text += f", leader's value {show(found['value']['mean'])} on average"
        facts_.append((kind, text))
    for statement in document["statements"]:
        if statement["id"].startswith("regret."):
            facts_.append(("theory T7", f"{statement['verdict']}: {statement['text']}"))
    for path in document["files"]:
        facts_.append(("written" if path == document["files"][0] else "", path))
    return "\n".join([*lines, "", *facts(facts_)])


def _bound(document: Mapping[str, Any], line: Mapping[str, Any]) -> str:
    bounds = [row["bound"] for row in document["regret"] if row["round"] == line["round"] and row["bound"] is not None]
    return show(max(bounds), 3) if bounds else "none"


def _periods(periods: list[int]) -> str:
    return f" (period {', '.join(map(str, periods[:5]))} rounds)" if periods else ""
