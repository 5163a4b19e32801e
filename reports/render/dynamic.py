"""The audit of a leader whose play goes on, as Markdown and in a terminal; the page is a template of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ...verify.numerals import show
from .text import span

Document = Mapping[str, Any]

WORDS = {
    "empirical": "while they learn",
    "argmax": "frozen learners",
    "best-reply": "exact reply",
}


def is_dynamic(document: Document) -> bool:
    """Whether an audit is about play that goes on."""
    return bool(document["subject"].get("dynamic"))


def scenarios(document: Document) -> list[str]:
    """What followers may know and the leader never sees."""
    return list(document["subject"]["players"][0]["types"])


def allowed(headline: Document) -> str:
    """The gap allowed, and for learners in how many runs it was kept; the gap itself is the largest."""
    limit = show(headline["threshold"], 4)
    if headline["within"] is None:
        return f"{limit} is allowed"
    return f"largest; {headline['within'][0]} of {headline['within'][1]} runs within {limit}"


def figures_table(document: Document) -> Table:
    """The figures of the first screen, for a terminal."""
    headline = document["headline"]
    evidence = "exact" if headline["interval"] is None else "mean of runs"
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_row(
        "Value reached",
        Text(show(headline["value"], 5), "bold"),
        f"{headline['per']}, {WORDS[headline['readout']]}",
        evidence,
    )
    if headline["reference"]:
        aim = headline["reference"]
        table.add_row("", "", f"{aim['name'].replace('-', ' ')} {show(aim['value'], 5)}", "")
    best = next(row for row in document["tables"]["rules"] if not row["own"])
    table.add_row("Best fixed rule", Text(show(best["value"], 5), "bold"), best["rule"], evidence)
    table.add_row("Whatever they do", Text(span(headline["range"]), "bold"), "all play of the followers", "exact")
    table.add_row("Gap a round", Text(show(headline["gap"], 3), "bold"), allowed(headline), "exact")
    return table


def horizon_table(document: Document) -> Table:
    """Value and gap by horizon and readout, for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("horizon", "followers", "value", "over runs", "largest gap"):
        table.add_column(name, justify="left" if name in ("horizon", "followers") else "right", no_wrap=True)
    for row in document["tables"]["readouts"]:
        trained = " *" if row["readout"] == document["subject"]["readout"] else ""
        table.add_row(*_readout_cells(row, WORDS[row["readout"]] + trained))
    return table


def _readout_cells(row: Document, name: str) -> list[str]:
    return [
        f"×{row['factor']}: {row['rounds']}" if row["rounds"] else "",
        name,
        show(row["value"], 5),
        _spread(row),
        "" if row["gap"] is None else show(row["gap"], 3),
    ]


def _spread(row: Document) -> str:
    if row["value_min"] == row["value_max"]:
        return "all"
    return f"{show(row['value_min'], 4)} … {show(row['value_max'], 4)}"


def lead_rows(document: Document) -> list[list[str]]:
    """The figures of the first screen, for Markdown: figure, value, evidence."""
    headline = document["headline"]
    evidence = "exact" if headline["interval"] is None else "mean of runs"
    best = next(row for row in document["tables"]["rules"] if not row["own"])
    return [
        ["value reached", f"**{show(headline['value'])}** {headline['per']} ({WORDS[headline['readout']]})", evidence],
        ["best fixed rule", f"**{show(best['value'])}** ({best['rule']})", evidence],
        ["whatever the followers do", f"**{span(headline['range'], 6)}**", "exact"],
        ["gap a round", f"**{show(headline['gap'], 3)}** ({allowed(headline)})", "exact"],
    ]


def sections(document: Document) -> list[tuple[str, list[str], list[list[str]]]]:
    """The tables of the report for Markdown: title, head, rows."""
    tables, labels = document["tables"], scenarios(document)
    apart = labels if len(labels) > 1 else []
    return [
        (
            "Beside rules that need no learning",
            ["rule", "value", "over runs", *apart, "learners' gap"],
            [
                [
                    row["rule"] + (" (audited)" if row["own"] else ""),
                    show(row["value"]),
                    _spread(row),
                    *([show(v, 5) for v in row["scenarios"]] if apart else []),
                    "" if row["gap"] is None else show(row["gap"], 3),
                ]
                for row in tables["rules"]
            ],
        ),
        (
            "What frozen followers do",
            ["states, in order", "scenario", "runs", "value"],
            [
                [" → ".join(row["states"]), row["scenario"], str(row["runs"]), show(row["value"])]
                for row in tables["cycles"]
            ],
        ),
        (
            "What each follower forgoes",
            ["follower", "scenario", "largest", "median run", "from any state", "runs within allowed"],
            [
                [
                    row["player"],
                    row["scenario"],
                    *(show(row[key], 3) for key in ("largest", "median", "anywhere")),
                    f"{row['within_threshold']} of {row['runs']}",
                ]
                for row in tables["deviations"]
            ],
        ),
        (
            "When the followers go on learning",
            ["horizon: periods", "followers", "value", "over runs", "largest gap"],
            [_readout_cells(row, WORDS[row["readout"]]) for row in tables["readouts"]],
        ),
    ]
