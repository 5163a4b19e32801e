"""The summary of an audit in a terminal: 80 columns, readable without colour."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ...verify.numerals import show
from .dynamic import figures_table, horizon_table, is_dynamic
from .text import LEARNED, MEANING, READOUTS, WIDTH, asides, for_terminals, learner_rows, pacts, span, summary

Document = Mapping[str, Any]
_COLOURS = {"holds": "green", "refuted": "red", "inconclusive": "yellow"}


@for_terminals
def audit_text(document: Document) -> str:
    """What `spverify report` prints for one leader."""
    subject, verdict, dynamic = document["subject"], document["verdict"], is_dynamic(document)
    rivals: list[RenderableType] = [] if dynamic else [_learners(document), Text("")]
    parts: list[RenderableType] = [
        Text.assemble(
            (f" {verdict.upper()} ", f"bold reverse {_COLOURS[verdict]}"),
            ("  " + subject["name"], "bold"),
            f"  ({subject['setting']['name']}, {subject['policy']['leader_action']} leader)",
        ),
        Text(summary(document)),
        Text(""),
        figures_table(document) if dynamic else _figures(document),
        Text(""),
        horizon_table(document) if dynamic else _readouts(document),
        Text(""),
        *rivals,
        _required(document),
    ]
    together = [statement for statement in pacts(document) if statement["verdict"] == "holds"]
    if together:  # others are among the notes
        parts += [Text(""), Text("Followers who act together", "bold")]
        parts += [_aside(statement) for statement in together]
    notes = asides(document)
    if notes:
        parts += [Text(""), Text("Not required, good to know", "bold")]
        parts += [_aside(statement) for statement in notes]
    return _render([*parts, Text("")])


def _figures(document: Document) -> Table:
    """The figures of the first screen."""
    headline = document["headline"]
    figures = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    figures.add_column()
    figures.add_column(no_wrap=True)
    figures.add_column()
    for answer in headline["answers"]:
        note = f"{answer['figure']} {answer['value']} ({answer['evidence']}): {answer['text']}"
        figures.add_row(answer["question"], Text(answer["answer"], "bold"), note)
    return figures


def _aside(statement: Document) -> RenderableType:
    row = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    row.add_column(width=12)
    row.add_column()
    row.add_row(statement["verdict"], statement["text"])
    return row


def _readouts(document: Document) -> Table:
    """Value and gap by horizon (its factor, and updates in all), one column a readout; fits 80 columns."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("value (gap)", no_wrap=True)
    trained = document["subject"]["readout"]
    for readout in LEARNED:
        table.add_column(READOUTS[readout] + (" *" if readout == trained else ""), justify="right", no_wrap=True)
    rows = document["tables"]["readouts"]
    for factor in sorted({row["factor"] for row in rows}):
        own = {row["readout"]: row for row in rows if row["factor"] == factor}
        cells = [f"{show(own[r]['value'], 4)} ({show(own[r]['gap'], 2)})" for r in LEARNED]
        table.add_row(f"×{factor}: {own['argmax']['rounds']}", *cells)
    return table


def _learners(document: Document) -> Table:
    """Value and gap by learning rule, at the longest horizon that all rules were asked for."""
    rows = learner_rows(document)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column(f"×{rows[0]['argmax']['factor']}, by rule", no_wrap=True)
    trained = document["subject"]["readout"]
    for readout in LEARNED:
        table.add_column(READOUTS[readout] + (" *" if readout == trained else ""), justify="right", no_wrap=True)
    for row in rows:
        cells = [f"{show(row[r]['value'], 4)} ({show(row[r]['gap'], 2)})" for r in LEARNED]
        table.add_row(row["learner"], *cells)
    return table


def _required(document: Document) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("required statement", no_wrap=True)
    table.add_column("measured", justify="right", no_wrap=True)
    table.add_column("threshold", justify="right", no_wrap=True)
    table.add_column("evidence", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for statement in document["statements"]:
        if statement["role"] == "required":
            verdict = statement["verdict"]
            table.add_row(
                statement["id"],
                _number(statement["measured"]),
                _number(statement["threshold"]),
                statement["evidence"],
                Text(verdict, "bold " + _COLOURS[verdict] if verdict != "holds" else _COLOURS[verdict]),
            )
    return table


def _number(value: float | None) -> str:
    return "" if value is None else show(value, 5)


@for_terminals
def comparison_text(document: Document) -> str:
    """Several leaders side by side."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("leader", "verdict", "value", "reference", "range", "gap"):
        table.add_column(name, justify="left" if name in ("leader", "verdict") else "right", overflow="fold")
    for row in document["comparison"]["rows"]:
        table.add_row(
            row["name"],
            Text(row["verdict"], _COLOURS[row["verdict"]]),
            show(row["value"], 5),
            show(row["reference"]["value"], 5) if row["reference"] else "",
            span(row["range"]),
            show(row["gap"], 3),
        )
    worst = {row["verdict"] for row in document["comparison"]["rows"]}
    legend = [Text(f"{verdict}: {MEANING[verdict]}") for verdict in MEANING if verdict in worst]
    return _render([Text("Side by side", "bold"), Text(""), table, Text(""), *legend, Text("")])


def _render(parts: Sequence[RenderableType]) -> str:
    """Text for standard output: with colour codes only where that is a terminal."""
    colours = Console(file=sys.stdout)
    console = Console(
        file=io.StringIO(),
        width=WIDTH,
        force_terminal=colours.is_terminal,
        no_color=colours.no_color,
        color_system=colours.color_system,  # type: ignore[arg-type]
        highlight=False,
        emoji=False,
        markup=False,
    )
    for part in parts:
        console.print(part)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())
