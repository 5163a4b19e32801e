"""The audit as Markdown, for issues, wikis and version control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ...verify.numerals import show, show_exact
from .dynamic import is_dynamic, lead_rows, sections
from .text import LEARNED, MEANING, READOUTS, SET_NAMES, asides, claims_summary, learner_rows, pacts, span, summary

Document = Mapping[str, Any]


def audit_markdown(document: Document) -> str:
    """The report of one audit."""
    subject = document["subject"]
    lines = [
        f"# {_plain(subject['name'])}: {document['verdict']}",
        "",
        f"Setting `{subject['setting']['name']}`, {subject['policy']['leader_action']} leader. {summary(document)}",
        "",
        *_table(
            ["figure", "", "evidence"] if is_dynamic(document) else ["question", "answer", "figure", "evidence"],
            lead_rows(document) if is_dynamic(document) else _lead(document),
        ),
    ]
    notes = asides(document)
    if notes:
        lines += ["## Not required, good to know", ""]
        lines += [f"- *{s['verdict']}*: {_plain(s['text'])}" for s in notes]
        lines += [""]
    lines += ["## What the leader does", ""]
    rows = [[r["observation"], ", ".join(_action(cell) for cell in r["actions"])] for r in document["mechanism"]]
    lines += _table(["observation", "action"], rows)
    lines += _dynamic_findings(document) if is_dynamic(document) else _findings(document)
    lines += ["## Every statement", ""]
    lines += _table(
        ["id", "role", "verdict", "measured", "threshold", "evidence", "statement"],
        [
            [
                f"`{s['id']}`",
                s["role"],
                s["verdict"],
                "" if s["measured"] is None else show(s["measured"], 8),
                "" if s["threshold"] is None else show(s["threshold"], 8),
                s["evidence"],
                s["text"],
            ]
            for s in document["statements"]
        ],
    )
    lines += [
        "## How this was made",
        "",
        f"- file: {subject['bytes']} bytes, sha256 `{subject['sha256']}`",
        f"- followers: {', '.join(f'{k} {v}' for k, v in subject['followers'].items())}",
        f"- replays: {subject['options']['seeds']} seeds from {subject['options']['rng_seed']}",
        *_proofs(document),
        "",
        f"spverify {document['spverify']}",
    ]
    return "\n".join(lines) + "\n"


def _proofs(document: Document) -> list[str]:
    count = len(document["certificates"])
    return [f"- certificates: {count}, each re-proved by `spverify recheck certificates/NAME`"] if count else []


def _lead(document: Document) -> list[list[str]]:
    """The four answers of the first screen."""
    return [
        [a["question"], f"**{a['answer']}**", f"{a['figure']} **{a['value']}**: {a['text']}", a["evidence"]]
        for a in document["headline"]["answers"]
    ]


def _findings(document: Document) -> list[str]:
    """Horizons, ranges and robustness of a one-shot audit."""
    lines: list[str] = []
    if document["tree"]:
        lines += ["As a decision tree:", "", *_branches(document["tree"]), ""]
    lines += ["## When the followers go on learning", ""]
    lines += _table(
        ["horizon", "updates", "readout", "value", "over replays", "largest gap"],
        [
            [
                f"×{row['factor']}",
                str(row["rounds"]),
                READOUTS[row["readout"]],
                show(row["value"]),
                f"{show(row['value_min'])} … {show(row['value_max'])}",
                show(row["gap"], 6),
            ]
            for row in document["tables"]["readouts"]
        ],
    )
    rules = learner_rows(document)
    lines += ["## Other followers: every learning rule", "", f"After {rules[0]['argmax']['rounds']} updates:", ""]
    lines += _table(
        ["rule", "regret", *(head for r in LEARNED for head in (READOUTS[r], "gap"))],
        [
            [row["title"], row["verdict"], *(show(row[r][key], 4) for r in LEARNED for key in ("value", "gap"))]
            for row in rules
        ],
    )
    lines += ["## How much is luck", ""]
    lines += _table(
        ["readout", "runs", "mean", "mean lies within", "confidence", "9 runs in 10", "within the gap allowed"],
        [
            [
                READOUTS[row["readout"]],
                str(row["runs"]),
                show(row["mean"]),
                f"{show(row['lower'])} … {show(row['upper'])}",
                show(row["level"]),
                f"{show(row['q05'])} … {show(row['q95'])}",
                f"{show(100 * row['within'], 4)}%",
            ]
            for row in document["tables"]["seeds"]
        ],
    )
    lines += ["## Equilibrium selection", ""]
    lines += _table(
        ["equilibria", "ε", "least value", "most value", "proved"],
        [
            [
                SET_NAMES[s["id"][6:8]],
                show_exact(Fraction(s["details"]["epsilon_exact"])),
                show(Fraction(s["details"]["min"]["outer_exact"]), 6, "down"),
                show(Fraction(s["details"]["max"]["outer_exact"]), 6, "up"),
                "both ends" if s["details"]["proved"] else "outer ends only",
            ]
            for s in document["statements"]
            if s["id"].startswith("range.")
        ],
    )
    for s in pacts(document):
        lines += [f"*{s['verdict']}*: {_plain(s['text'])}", ""]
    lines += ["## How fine is the balance", ""]
    lines += _table(
        ["type", "best", "second best", "type loses", "leader then"],
        [
            [
                f"{row['player']}: {row['type']}",
                " or ".join(row["best"]),
                row["second"] or "",
                "" if row["margin"] is None else show(row["margin"]),
                "" if row["value_after"] is None else show(row["value_after"]),
            ]
            for row in document["tables"]["margins"]
        ],
    )
    if document["tables"]["sensitivity"]:
        lines += _table(
            ["change", "value", "gap", "value of the old play", "gap of the old play"],
            [
                [row["change"], *(show(row[key]) for key in ("value", "gap", "held_value", "held_gap"))]
                for row in document["tables"]["sensitivity"]
            ],
        )
    return lines


def _dynamic_findings(document: Document) -> list[str]:
    """The tables of an audit of play that goes on."""
    lines: list[str] = []
    for title, head, rows in sections(document):
        lines += [f"## {title}", "", *_table(head, rows)]
    return lines


def comparison_markdown(document: Document, links: Sequence[str]) -> str:
    """Several audits side by side; ``links`` are their pages."""
    rows = []
    for row, link in zip(document["comparison"]["rows"], links, strict=True):
        rows.append(
            [
                f"[{row['name']}]({link})",
                row["setting"],
                row["verdict"],
                f"{row['holding']} of {row['required']}",
                f"{show(row['value'])} ({READOUTS[row['readout']]})",
                f"{show(row['reference']['value'])} ({row['reference']['name']})" if row["reference"] else "",
                span(row["range"]),
                f"{show(row['gap'], 6)} of {show(row['threshold'])}",
            ]
        )
    head = [
        "leader",
        "setting",
        "verdict",
        "required that hold",
        "value",
        "reference",
        "proved range",
        "gap of allowed",
    ]
    legend = [f"- *{verdict}*: {words}" for verdict, words in MEANING.items()]
    return "\n".join(["# Leaders side by side", "", *_table(head, rows), *legend]) + "\n"


def claims_markdown(document: Document) -> str:
    """A paper's claims and their verdicts."""
    rows = [
        [
            f"`{s['id'].removeprefix('claim.')}`",
            s["verdict"],
            s["text"],
            "" if s["threshold"] is None else show(s["threshold"]),
            "" if s["measured"] is None else show(s["measured"]),
            s["evidence"] if s["measured"] is not None else "",
            s["why"],
        ]
        for s in document["statements"]
    ]
    head = ["claim", "verdict", "statement", "claimed", "recomputed", "evidence", "why"]
    lines = [f"# {_plain(document['title'])}: {document['verdict']}", "", claims_summary(document), ""]
    return "\n".join([*lines, *_table(head, rows)]) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[_plain(cell) for cell in row] for row in rows]
    return [_row(head), _row(["---"] * len(head)), *(_row(row) for row in cells), ""]


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(text: str) -> str:
    """Text that cannot end a table cell or a line."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _branches(node: Document, depth: int = 0) -> list[str]:
    edge = f"{_plain(node['edge'])} → " if node["edge"] else ""
    lines = [f"{'  ' * depth}- {edge}**{_plain(node['text'])}**"]
    return [*lines, *(line for child in node["children"] for line in _branches(child, depth + 1))]


def _action(cell: Document) -> str:
    return cell["action"] if cell["exact"] == "1" else f"{cell['action']} ({cell['exact']})"
