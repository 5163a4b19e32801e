"""What mkdocs does before it builds the site: generated parts, and a view of the package that griffe can read.

The repository root is the package, and griffe would walk everything below it, environments too; so it is shown a
copy of the four rooms. Commands, options and the audit's schema are written into their pages by the program itself.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("verify", "solvers", "trained_leaders", "reports")


def on_startup(**_: Any) -> None:
    """Copies the package's Python files to build/reference-source/spverify, before any plugin looks for them."""
    source = ROOT / "build" / "reference-source" / "spverify"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    shutil.copyfile(ROOT / "__init__.py", source / "__init__.py")
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            goal = source / file.relative_to(ROOT)
            goal.parent.mkdir(parents=True, exist_ok=True)
            # griffe sets the section "Examples" as code; the house writes "Example".
            text = file.read_text(encoding="utf-8")
            goal.write_text(re.sub(r"^( +)Example:$", r"\1Examples:", text, flags=re.MULTILINE), encoding="utf-8")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills in what the program says about itself; links that leave docs/, for the examples say, become text."""
    for name, write in (("commands", command_line), ("schema", schema_table)):
        marker = f"<!-- written here by make docs: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, write())
    if "/" in page.file.src_uri:
        return markdown
    return re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", markdown)


def command_line() -> str:
    """Commands and options, as typer describes them."""
    code = "import sys; sys.argv[0] = 'typer'; from typer.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "spverify.reports.cli", "utils", "docs", "--name", "spverify"],
        cwd=ROOT / "docs",
        capture_output=True,
        text=True,
        check=True,
    )
    return html.unescape(ran.stdout).replace("# `spverify`\n", "", 1).replace("<", "&lt;")


def schema_table() -> str:
    """The audit's fields, one row each."""
    schema = json.loads((ROOT / "reports" / "schemas" / "audit.schema.json").read_text(encoding="utf-8"))
    rows = "\n".join(
        f"| `{name}` | {kind} | {'yes' if needed else ''} |" for name, kind, needed in fields(schema, schema)
    )
    return f"| field | type | always there |\n|---|---|---|\n{rows}\n"


def fields(node: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> list[tuple[str, str, bool]]:
    """(path, type, whether required) of every named field below a node of the schema; `[]` stands for each item."""
    if "$ref" in node:
        node = {**schema["$defs"][node["$ref"].rpartition("/")[2]], **{k: v for k, v in node.items() if k != "$ref"}}
    if "items" in node and isinstance(node["items"], dict):
        return fields(node["items"], schema, f"{prefix}[]")
    found = []
    for name, child in node.get("properties", {}).items():
        path = f"{prefix}.{name}".lstrip(".")
        found.append((path, kind_of(child, schema), name in node.get("required", ())))
        found.extend(fields(child, schema, path))
    return found


def kind_of(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """A few words for what a node of the schema admits."""
    if "$ref" in node:
        return kind_of(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
    for choice in ("anyOf", "oneOf"):
        if choice in node:
            return " or ".join(kind_of(one, schema) for one in node[choice])
    kind = node.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
