"""Short HTML tables, for what notebooks show of a result.

One helper, so that every name that comes from a file is escaped in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def html_table(title: str, head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A table with a title; every text is escaped.

    Example:
        >>> html_table("gap", ["who"], [["<b>"]])
        '<table><caption>gap</caption><thead><tr><th>who</th></tr></thead><tbody><tr><td>&lt;b&gt;</td></tr></tbody></table>'
    """
    body = "".join(_row("td", row) for row in rows)
    return f"<table><caption>{escape(title)}</caption><thead>{_row('th', head)}</thead><tbody>{body}</tbody></table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
