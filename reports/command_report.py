"""`spverify report`: audit leaders and write what was found: JSON, HTML, Markdown, certificates, and a summary.

Every leader's folder is complete before the next leader is looked at, so an interruption loses only the one at hand.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..verify.certificate import Certificate
from ..verify.errors import UnreadableError, UsageError
from ..verify.formats import dump_json
from ..verify.formats.atomic import write_atomic
from ..verify.verdict import Verdict
from .answer import check_folder
from .audit import Audit, Options, audit_leader
from .command_show import leader_name, leader_path
from .render.junit import junit_xml

Say = Callable[[str], None]


def run_report(
    leaders: list[str],
    *,
    out: Path | None,
    quick: bool,
    epsilon: str,
    seeds: int | None,
    rng_seed: int,
    within: str,
    junit: Path | None,
    allow_import: str | None,
    as_json: bool,
    say: Say,
) -> Verdict:
    """Audits the leaders, writes the reports, prints the summary or the document, and returns the verdict over all.

    Raises:
        SpverifyError: a leader that is refused, an option that makes no sense, a folder that cannot be written.
    """
    Options.of(epsilon=epsilon, quick=quick, seeds=seeds, rng_seed=rng_seed, within=within)  # refused before any work
    names = _names(leaders)
    paths = [leader_path(leader) for leader in leaders]
    single = len(leaders) == 1
    folder = out if out is not None else Path(f"{names[0]}-report" if single else "comparison-report")
    check_folder(folder)
    if junit is not None and junit.is_dir():
        raise UsageError(f"--junit: expected a file, but {junit} is a folder")
    documents: list[dict[str, Any]] = []
    for name, path in zip(names, paths, strict=True):
        tell = _progress(say, "" if single else f"{name}: ")
        audit = audit_leader(
            path,
            name=_shown(name),
            epsilon=epsilon,
            quick=quick,
            seeds=seeds,
            rng_seed=rng_seed,
            within=within,
            allow_import=allow_import,
            progress=tell,
        )
        tell("writing the report")
        documents.append(write_audit(audit, folder if single else folder / name))
        if not as_json:
            from .render.terminal import audit_text

            print(audit_text(documents[-1]))
    if single:
        result: dict[str, Any] = documents[0]
        where = [folder / "report.html"]
    else:
        result = {"command": "report", "audits": documents, "comparison": compare(documents)}
        where = [write_comparison(result, names, folder), *(folder / name / "report.html" for name in names)]
    if junit is not None:
        write_atomic(junit, junit_xml(documents))
    if as_json:
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        if not single:
            from .render.terminal import comparison_text

            print(comparison_text(result))
        print("\n".join(f"Report: {path}" for path in where))
    return _worst(documents)


def _names(leaders: list[str]) -> list[str]:
    """One name a leader; equal stems get a number, so that no report overwrites another."""
    names: list[str] = []
    for leader in leaders:
        base = name = leader_name(leader)
        k = 2
        while name in names:
            name, k = f"{base}-{k}", k + 1
        if not name or name in (".", ".."):
            raise UsageError(f"expected the name of a leader file, got {leader!r}")
        names.append(name)
    return names


def _shown(name: str) -> str:
    """A file's name as text, also where its bytes are no text in this locale."""
    return os.fsencode(name).decode("utf-8", "replace")


def _progress(say: Say, prefix: str) -> Say:
    """Progress goes to standard error, one line a step; nothing when that is not a terminal."""
    if not sys.stderr.isatty():
        return lambda message: None
    return lambda message: say(f"{prefix}{message} …")


def write_audit(audit: Audit, folder: Path) -> dict[str, Any]:
    """Writes audit.json, report.html, report.md, report.junit.xml and the certificates; returns the audit document.

    The JSON is written last, so that a folder which has it is complete; certificates of an earlier audit are removed.
    """
    from .render.html import audit_html
    from .render.markdown import audit_markdown

    document = audit.to_document()
    certificates = folder / "certificates"
    try:
        (folder / "audit.json").unlink(missing_ok=True)
        for old in certificates.glob("*.cert.json"):
            if old.name not in audit.certificates:
                old.unlink()
    except OSError as error:
        raise UnreadableError(f"cannot be replaced: {error.strerror or error}", path=folder) from None
    for name, certificate in audit.certificates.items():
        Certificate(certificate).write(certificates / name)
    write_atomic(folder / "report.html", audit_html(document))
    write_atomic(folder / "report.md", audit_markdown(document))
    write_atomic(folder / "report.junit.xml", junit_xml([document]))
    write_atomic(folder / "audit.json", dump_json(document))
    return document


def write_comparison(result: dict[str, Any], names: list[str], folder: Path) -> Path:
    """Writes the page, the Markdown and the JSON that set several audits side by side; returns the page."""
    from .render.html import comparison_html
    from .render.markdown import comparison_markdown

    places = [quote(os.fsencode(name)) for name in names]
    write_atomic(folder / "report.html", comparison_html(result, [f"{place}/report.html" for place in places]))
    write_atomic(folder / "report.md", comparison_markdown(result, [f"{place}/report.md" for place in places]))
    write_atomic(folder / "comparison.json", dump_json(result["comparison"]))
    return folder / "report.html"


def compare(documents: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures that set leaders side by side, one row a leader, in the order given."""
    rows = []
    for document in documents:
        headline, subject = document["headline"], document["subject"]
        required = [s for s in document["statements"] if s["role"] == "required"]
        rows.append(
            {
                "name": subject["name"],
                "setting": subject["setting"]["name"],
                "leader_action": subject["policy"]["leader_action"],
                "verdict": document["verdict"],
                "required": len(required),
                "holding": sum(s["verdict"] == "holds" for s in required),
                "readout": headline["readout"],
                "reference": headline["reference"],
                "value": headline["value"],
                "gap": headline["gap"],
                "threshold": headline["threshold"],
                "range": headline["range"],
                "values": {s["id"].partition(".")[2]: s["measured"] for s in _starting(document, "value.")},
                "gaps": {s["id"].partition(".")[2]: s["measured"] for s in _starting(document, "gap.")},
                "references": {
                    s["id"].partition(".")[2]: s["details"]["value"] for s in _starting(document, "reference.")
                },
            }
        )
    return {"format": "spverify-comparison", "version": 1, "rows": rows}


def _starting(document: dict[str, Any], prefix: str) -> list[dict[str, Any]]:
    return [statement for statement in document["statements"] if statement["id"].startswith(prefix)]


def _worst(documents: list[dict[str, Any]]) -> Verdict:
    verdicts = {document["verdict"] for document in documents}
    if "refuted" in verdicts:
        return "refuted"
    return "inconclusive" if "inconclusive" in verdicts else "holds"
