"""The page in a real browser: nothing cut at desktop and phone width, no dead links, the figures of the JSON.

Needs a Chromium on the machine; without one these tests are skipped and `test_render.py` is what there is.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

from spverify.reports.audit import audit_leader
from spverify.reports.command_report import write_audit
from spverify.reports.render.text import span
from spverify.trained_leaders.zoo import zoo_path
from spverify.verify.numerals import show

CHROMIUM = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PROBE = """<script>
addEventListener("load", () => {
  const page = document.documentElement, seen = [];
  for (const e of document.querySelectorAll("main *")) {
    const box = e.getBoundingClientRect();
    if (box.width && getComputedStyle(e).display !== "none" && !e.closest("svg") && !e.closest("thead")
        && !e.closest("pre") && (box.right > innerWidth + 1 || box.left < -1)) seen.push(e.tagName + "." + e.className);
  }
  const cut = [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1);
  const lost = [...document.querySelectorAll("a[href^='#']")].filter(a => !document.getElementById(a.hash.slice(1)));
  const pictures = [...document.querySelectorAll("svg.picture")].filter(e => e.getBoundingClientRect().width > 0);
  const small = pictures.filter(e => e.getBoundingClientRect().width > innerWidth);
  const followed = [...document.querySelectorAll("nav a[href^='#']")].map(a => {
    const goal = document.getElementById(a.hash.slice(1));
    goal?.scrollIntoView();
    const end = page.scrollHeight - innerHeight - scrollY < 2;
    const top = goal ? goal.getBoundingClientRect().top : NaN;
    const seen = Math.abs(top) < 60 || (end && top < innerHeight);
    return {link: a.innerText, heading: goal ? goal.innerText : "", seen};
  });
  scrollTo(0, 0);
  const kinds = "main h2, main h3, main p, main table, main svg.picture, main li, main dt";
  const blocks = [...document.querySelectorAll(kinds)]
    .filter(e => e.getBoundingClientRect().width && getComputedStyle(e).display !== "none");
  const boxes = blocks.map(e => e.getBoundingClientRect()), over = [];
  for (let i = 0; i < blocks.length; i++) for (let k = i + 1; k < blocks.length; k++) {
    const a = boxes[i], b = boxes[k];
    const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (wide > 2 && high > 2 && !blocks[i].contains(blocks[k]) && !blocks[k].contains(blocks[i]))
      over.push(blocks[i].innerText.slice(0, 30) + " | " + blocks[k].innerText.slice(0, 30));
  }
  parent.document.title = JSON.stringify({followed, overlaps: over,
    outside: seen, scrolls: cut.length, lost: lost.length, wide: small.length,
    width: innerWidth, over: page.scrollWidth - innerWidth, pictures: pictures.length,
    text: document.querySelector("main").innerText});
});
</script>"""


@pytest.fixture(scope="module", params=["mspm-pi", "maintain-myopic"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pages")
    write_audit(audit_leader(zoo_path(request.param), name=request.param, quick=True), path)
    return path


@pytest.fixture
def browse(tmp_path: Path) -> Callable[..., Any]:
    """What a probe in the page measures once the browser has laid it out, and the words a reader sees."""

    def call(page: str, width: int) -> Any:
        # A window is never as narrow as a phone, a frame may be.
        inner = escape(page.replace("</body>", PROBE + "</body>"))
        probed = tmp_path / "probed.html"
        probed.write_text(
            f'<!doctype html><title></title><iframe style="border:0;width:{width}px;height:1000px" srcdoc="{inner}">',
            encoding="utf-8",
        )
        assert CHROMIUM is not None
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"]
        arguments += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", probed.as_uri()]
        dom = subprocess.run([CHROMIUM, *arguments], capture_output=True, text=True, timeout=120, check=True).stdout
        return json.loads(unescape(re.findall(r"<title>(.*?)</title>", dom, flags=re.DOTALL)[0]))

    return call


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_cut_and_the_figures_are_those_of_the_json(
    folder: Path, browse: Callable[..., Any], width: int
) -> None:
    found = browse((folder / "report.html").read_text(encoding="utf-8"), width)
    assert found["width"] == width
    assert found["outside"] == [] and found["over"] <= 0 and found["scrolls"] == 0 and found["wide"] == 0
    assert found["lost"] == 0 and found["pictures"] == 4 and found["overlaps"] == []
    assert len(found["followed"]) > 8
    for step in found["followed"]:
        assert step["seen"] and step["heading"].strip().startswith(step["link"].strip()), step
    document = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    headline, words = document["headline"], " ".join(found["text"].split()).replace("\N{MINUS SIGN}", "-")
    assert f"setting {document['subject']['setting']['name']}" in words
    assert document["verdict"].upper() in words
    for answer in headline["answers"]:
        whole = (answer[key] for key in ("question", "evidence", "answer", "figure", "value", "text"))
        assert " ".join(whole) in words
    assert f"Value reached {show(headline['value'], 5)} " in words
    assert f"Gap {show(headline['gap'], 4)} " in words
    assert f"Proved range {span(headline['range'])} " in words
    for statement in document["statements"]:
        assert " ".join(statement["text"].split()) in words and statement["id"] in words
