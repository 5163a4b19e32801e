"""Audit every shipped leader in full: verdict, value and gap up to 100 times the training horizon, proved ranges.

Run `python benchmarks/zoo_audit.py` for benchmarks/results/zoo_audit.json; `--only NAME` repeats one leader. Each
figure is from the audit document that `spverify report zoo:NAME` writes; processor time is that of the whole audit.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spverify.trained_leaders.zoo import list_zoo

RESULTS = Path(__file__).parent / "results" / "zoo_audit.json"


def audit(name: str) -> dict[str, Any]:
    """The audit of one leader, in short."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "spverify", "report", f"zoo:{name}", "--out", folder]
        code = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
        document = json.loads((Path(folder) / "audit.json").read_text(encoding="utf-8"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    statements = [{"measured": None, "details": {}, **s} for s in document["statements"]]
    horizons = {
        s["id"].partition(".")[2]: {"value": s["measured"], "gap": s["details"].get("gap"), "verdict": s["verdict"]}
        for s in statements
        if s["id"].startswith("horizon.x")
    }
    ranges = {
        s["id"].partition(".")[2]: [_end(s["details"][side]) for side in ("min", "max")]
        for s in statements
        if s["id"].startswith("range.") and "min" in s["details"]
    }
    return {
        "verdict": document["verdict"],
        "exit_code": code,
        "not_held": {s["id"]: s["verdict"] for s in statements if s["role"] == "required" and s["verdict"] != "holds"},
        "readout": next((s["details"]["readout"] for s in statements if s["id"] == "horizon.agreement"), None),
        "value": {s["id"].partition(".")[2]: s["measured"] for s in statements if s["id"].startswith("value.")},
        "gap": {s["id"].partition(".")[2]: s["measured"] for s in statements if s["id"].startswith("gap.")},
        "horizons": horizons,
        "ranges": ranges,
        "user_seconds": round(after.ru_utime - before.ru_utime, 1),
    }


def _end(side: dict[str, Any] | float) -> float:
    """A proved end of a range: of one game it comes with its proof, of play that goes on it is a number."""
    return float(side["outer"] if isinstance(side, dict) else side)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=list_zoo(), help="one leader (repeatable)")
    chosen = parser.parse_args().only or list_zoo()
    known = json.loads(RESULTS.read_text())["leaders"] if RESULTS.exists() else {}
    for name in chosen:
        known[name] = audit(name)
        print(name, known[name]["verdict"], known[name]["not_held"], known[name]["horizons"], flush=True)
        document = {"command": "python benchmarks/zoo_audit.py", "leaders": {k: known[k] for k in sorted(known)}}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
