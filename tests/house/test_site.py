"""The documentation's site: every page has its place, no link is broken, and nothing comes from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


def test_every_page_has_its_place_in_the_navigation(repo_root: Path) -> None:
    text = (repo_root / "mkdocs.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"^ +- .*?: ([\w/-]+\.md)$", text.partition("\nnav:")[2], re.MULTILINE))
    docs = repo_root / "docs"
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md") if not re.match(r"0\d+-", page.name)}
    assert listed == pages


def test_the_site_asks_nobody_for_anything(repo_root: Path) -> None:
    text = (repo_root / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in text and "http" not in text


class Links(HTMLParser):
    """Addresses that a page refers to, and its anchors."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attributes if value}
        self.anchors |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        for name in ("src", "href") if tag in ("script", "img", "link", "source", "iframe") else ():
            if name in found and found.get("rel") not in ("canonical", "prev", "next"):
                self.loads.add(found[name])


@pytest.mark.slow
def test_the_built_site_has_no_broken_link_and_loads_nothing_from_elsewhere(repo_root: Path, tmp_path: Path) -> None:
    for package in ("mkdocs", "material", "mkdocstrings_handlers.python"):
        pytest.importorskip(package)
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=repo_root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert built.returncode == 0, (built.stdout + built.stderr)[-4000:]
    pages = {}
    for file in sorted((tmp_path / "site").rglob("*.html")):
        pages[file] = Links()
        pages[file].feed(file.read_text(encoding="utf-8"))
    assert len(pages) > 20
    broken = []
    for file, page in pages.items():
        if file.name == "404.html":
            continue  # its addresses start at the root of a server
        broken += [f"{file.name} loads {address}" for address in page.loads if re.match(r"(https?:)?//", address)]
        for address in page.links | page.loads:
            parts = urlsplit(address)
            if parts.scheme or address.startswith("//"):
                continue
            goal = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if not goal.exists():
                broken.append(f"{file.name}: {address}")
            elif parts.fragment and goal in pages and unquote(parts.fragment) not in pages[goal].anchors:
                broken.append(f"{file.name}: {address} (no such anchor)")
    assert broken == []
