"""`spverify claims`: the claims of a paper, recomputed; terminal, and with `--out` JSON, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..verify.formats import dump_json
from ..verify.formats.atomic import write_atomic
from .answer import Answer, check_folder
from .claims import claims_document, claims_path, judge_claims, read_claims


def run_claims(file: str, *, out: Path | None, progress: Callable[[str], None] | None) -> Answer:
    """Judges every claim of a file and writes the report where ``out`` says.

    Raises:
        SpverifyError: a file that is refused, or a folder that cannot be written.
    """
    check_folder(out)
    found = read_claims(claims_path(file))
    document = claims_document(found, judge_claims(found, progress))
    if out is None:
        return Answer(document)
    from .render.html import claims_html
    from .render.markdown import claims_markdown

    files = (out / "claims.html", out / "claims.md", out / "claims.json")
    for path, text in zip(files, (claims_html(document), claims_markdown(document), dump_json(document)), strict=True):
        write_atomic(path, text)
    return Answer(document, files)
