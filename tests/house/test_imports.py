"""Who may load what, looked at from outside: a fresh interpreter, then `sys.modules`.

import-linter reads the source; these tests see what really happens, imports inside functions included.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

HEAVY = {"torch", "cvxpy", "matplotlib", "scipy", "highspy", "flint"}
SOLVERS = {"torch", "cvxpy", "scipy", "highspy", "flint"}

IMPORT_ALL = """
import importlib, json, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [sys.argv[1]]
if hasattr(package, "__path__") and sys.argv[1] != "spverify":
    names += [module.name for module in pkgutil.walk_packages(package.__path__, sys.argv[1] + ".")]
for name in names:
    importlib.import_module(name)
tops = {name.partition(".")[0] for name in sys.modules}
rooms = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("spverify.")}
print(json.dumps({"names": names, "loaded": sorted(tops | rooms)}))
"""

RUN_COMMAND = """
import json, sys
sys.argv = ["spverify", *sys.argv[1:]]
from spverify.reports.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
print("\\n@@" + json.dumps({"code": code or 0, "loaded": sorted({n.partition(".")[0] for n in sys.modules})}))
"""


def loaded_by_import(python: Run, module: str) -> set[str]:
    ran = python(IMPORT_ALL, module)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return set(json.loads(ran.stdout.splitlines()[-1])["loaded"])


def run_command(python: Run, *arguments: str) -> tuple[int, set[str], str]:
    ran = python(RUN_COMMAND, *arguments)
    before, mark, after = ran.stdout.rpartition("\n@@")
    assert mark, ran.stderr[-3000:]
    answer = json.loads(after)
    return answer["code"], set(answer["loaded"]), before


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("spverify", HEAVY | {"numpy"}),
        ("spverify.verify.kernel", HEAVY | {"numpy"}),
        (
            "spverify.verify",
            HEAVY | {"jinja2", "rich", "typer", "spverify.solvers", "spverify.trained_leaders", "spverify.reports"},
        ),
        ("spverify.solvers", {"torch", "matplotlib", "spverify.trained_leaders", "spverify.reports"}),
        ("spverify.trained_leaders.settings", {"torch", "spverify.reports"}),
        ("spverify.trained_leaders.pomdp", {"torch", "spverify.reports"}),
        ("spverify.trained_leaders", {"spverify.reports"}),
        ("spverify.reports", {"torch"}),
    ],
)
def test_a_room_loads_only_what_it_may(python: Run, module: str, never: set[str]) -> None:
    assert loaded_by_import(python, module) & never == set()


def test_help_starts_without_the_heavy_libraries(python: Run) -> None:
    code, loaded, text = run_command(python, "--help")
    assert code == 0
    assert loaded & HEAVY == set()
    for command in ("report", "train", "check", "bounds", "recheck", "settings", "show"):
        assert command in text


def test_recheck_runs_on_the_standard_library_alone(python: Run, examples_dir: Path, tmp_path: Path) -> None:
    from spverify import read_game, read_play
    from spverify.verify.certificate import gap_certificate

    game = read_game(examples_dir / "interim-not-exante.game.json")
    play = read_play(examples_dir / "interim-not-exante.play.json", game)
    certificate = tmp_path / "gap.cert.json"
    gap_certificate(game, play).write(certificate)
    code, loaded, text = run_command(python, "recheck", str(certificate), "--json")
    assert code == 0
    answer = json.loads(text)
    assert answer["accepted"] is True
    assert answer["value_exact"] == "1/4"
    assert loaded & (SOLVERS | {"numpy", "matplotlib"}) == set()


RECHECK_ALL = """
import json, sys
from pathlib import Path
from spverify.verify.kernel import check_certificate
from spverify.verify.plain import read_json
answers = {}
for path in sorted(Path(sys.argv[1]).rglob("*.cert.json")):
    answer = check_certificate(read_json(path))
    answers[path.name] = [answer.accepted, answer.reason]
print(json.dumps({"answers": answers, "loaded": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def test_every_certificate_of_a_report_is_proved_again_without_numpy(python: Run, tmp_path: Path) -> None:
    code, loaded, _ = run_command(python, "report", "zoo:maintain", "--quick", "--out", str(tmp_path / "report"))
    assert code in (0, 1, 3)
    assert "torch" not in loaded, "the audit reads a stranger's file in a child, and itself needs no torch"
    for name in ("audit.json", "report.html", "report.md"):
        assert (tmp_path / "report" / name).stat().st_size > 0
    ran = python(RECHECK_ALL, str(tmp_path / "report"))
    assert ran.returncode == 0, ran.stderr[-3000:]
    found = json.loads(ran.stdout)
    assert len(found["answers"]) >= 5
    assert {name: why for name, (accepted, why) in found["answers"].items() if not accepted} == {}
    assert set(found["loaded"]) & (SOLVERS | {"numpy", "matplotlib"}) == set()
