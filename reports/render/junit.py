"""Audits as JUnit XML, so that a CI server lists the statements as test cases."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

Document = Mapping[str, Any]

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(documents: Sequence[Document]) -> str:
    """One suite an audit, one case a statement.

    A required statement that is refuted is a failure, one that is inconclusive an error; information that does not
    hold is skipped: shown, and no reason to fail.
    """
    root = Element("testsuites", {"name": "spverify"})
    for document in documents:
        name = _printable(document["subject"]["name"])
        suite = SubElement(root, "testsuite", {"name": name})
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        for statement in document["statements"]:
            case = SubElement(suite, "testcase", {"classname": f"spverify.{name}", "name": statement["id"]})
            counts["tests"] += 1
            kind = _kind(statement)
            if kind:
                tag, count = kind
                counts[count] += 1
                ending = SubElement(case, tag, {"message": _printable(statement["text"])})
                if tag != "skipped":
                    ending.set("type", statement["verdict"])
                ending.text = _printable(statement["why"])
        suite.attrib.update({key: str(value) for key, value in counts.items()})
    indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _kind(statement: Document) -> tuple[str, str] | None:
    if statement["verdict"] == "holds":
        return None
    if statement["role"] != "required":
        return "skipped", "skipped"
    return ("failure", "failures") if statement["verdict"] == "refuted" else ("error", "errors")


def _printable(text: str) -> str:
    """Text without the characters that XML cannot carry."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
