"""Renderings: self-contained, readable without script, colour or sight, and nothing in a name can break them."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from spverify.reports.audit import audit_leader
from spverify.reports.command_report import compare
from spverify.reports.render.html import audit_html, comparison_html
from spverify.reports.render.markdown import audit_markdown, comparison_markdown
from spverify.reports.render.pictures import regret_picture
from spverify.reports.render.terminal import audit_text, comparison_text

from .conftest import PRICES

HOSTILE = '<b>x|y & "z"\''
VOID = {"meta", "br", "link", "img"}


@pytest.fixture(scope="session")
def document(leader_file: Callable[..., Path]) -> dict[str, Any]:
    path = leader_file("rendered", "mspm-pi", PRICES)
    return audit_leader(path, name=HOSTILE, quick=True).to_document()


class Page(HTMLParser):
    """Elements in order, with a check that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(document: dict[str, Any]) -> None:
    text = audit_html(document)
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "img"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
        assert not any(name.startswith("on") for name in attributes)
    assert "url(http" not in text and "@import" not in text
    assert set(re.findall(r"https?://[^\s\"<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_the_page_can_be_heard(document: dict[str, Any]) -> None:
    page = Page(audit_html(document))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert len(pictures) == 2 * 4  # each once for desktops and once for phones; a style shows one of them
    for attributes in pictures:
        assert attributes["role"] == "img" and len(attributes["aria-label"] or "") > 40
    assert dict(page.elements)["html"] == {"lang": "en"}
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")


def test_ids_are_unique_and_every_statement_has_its_anchor(document: dict[str, Any]) -> None:
    page = Page(audit_html(document))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {statement["id"] for statement in document["statements"]} <= set(ids)


def test_pictures_take_their_colours_from_the_page(document: dict[str, Any]) -> None:
    text = audit_html(document)
    for svg in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL):
        assert "var(--ink)" in svg or "var(--muted)" in svg
        assert not re.findall(r"#0(\d)0(?:\1)0(?:\1)", svg)
        assert "<text" in svg  # words stay words


@pytest.mark.parametrize(
    ("rounds", "regret", "ticks"),
    [((3, 5), (0.4, 0.3), ["3", "5"]), ((10, 10**6), (0.0, -1.0), ["10¹", "10³", "10⁵"]), ((7,), (0.4,), ["7"])],
)
def test_a_regret_picture_of_any_size_is_labelled_and_nothing_leaves_it(
    rounds: tuple[int, ...], regret: tuple[float, ...], ticks: list[str]
) -> None:
    one = {"player": "a buyer with a name", "type": "of a type", "rounds": rounds, "regret": regret}
    series = [one | {"bound": [2.0] * len(rounds)}] * 5
    for narrow in (False, True):
        svg = regret_picture({"series": {"regret": series}}, narrow=narrow)
        words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
        assert [word for word in words if word in ticks] and all(word in words for word in ticks)
        assert sum(word.endswith("…") for word in words) == (5 if narrow else 0)
        box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
        assert box is not None
        for x, y in re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", svg):
            assert 0 <= float(x) <= float(box[1]) and 0 <= float(y) <= float(box[2])


def test_a_hostile_name_is_only_text(document: dict[str, Any]) -> None:
    text = audit_html(document)
    assert "<b>x" not in text and "&lt;b&gt;x|y &amp;" in text
    assert "<b>" not in audit_markdown(document) and "x\\|y" in audit_markdown(document)
    both = {"comparison": compare([document, document])}
    assert "<b>x" not in comparison_html(both, ["a/report.html", "b/report.html"])
    assert "x\\|y" in comparison_markdown(both, ["a", "b"])
    assert HOSTILE in audit_text(document)


def test_every_statement_is_in_every_long_form(document: dict[str, Any]) -> None:
    page, markdown = audit_html(document), audit_markdown(document)
    for statement in document["statements"]:
        assert f">{statement['id']}<" in page and f"`{statement['id']}`" in markdown


def test_terminal_is_eighty_columns_without_colour(document: dict[str, Any]) -> None:
    for text in (audit_text(document), comparison_text({"comparison": compare([document] * 3)})):
        assert "\033" not in text
        assert max(map(len, text.splitlines())) <= 80
    summary = audit_text(document)
    assert document["verdict"].upper() in summary
    for statement in document["statements"]:
        assert statement["role"] == "information" or statement["id"] in summary


def test_markdown_tables_are_rectangular(document: dict[str, Any]) -> None:
    width = 0
    for line in audit_markdown(document).splitlines():
        cells = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0
        assert not (cells and width) or cells == width
        width = cells
