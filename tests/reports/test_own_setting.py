"""Settings of the user's own: the page's example, all its commands, and what is refused (settings S7)."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spverify.trained_leaders.checkpoint import save_leader_table
from spverify.trained_leaders.gym_env import OuterEpisode
from spverify.trained_leaders.settings import Followers, asked_setting, asked_world, get_setting
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.verify.errors import LeaderFileError, SettingError

from .conftest import Outcome, blocks

Run = Callable[..., Outcome]
NAME = "inspection:Inspection"


@pytest.fixture
def folder(repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the page's module in it; what was imported is forgotten afterwards."""
    (code,) = blocks(repo_root / "docs/own-settings.md", "python")
    (tmp_path / "inspection.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    before, path = set(sys.modules), list(sys.path)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_the_commands_of_the_page(repo_root: Path, folder: Path, spverify: Run) -> None:
    (commands,) = blocks(repo_root / "docs/own-settings.md", "sh")
    for line in commands.splitlines():
        command, _, code = line.partition("# exit ")
        ran = spverify(*shlex.split(command)[1:])
        assert ran.code == int(code), f"{line}\n{ran.err}"
    assert "is a setting that has to be imported" in ran.err and len(ran.err.splitlines()) == 1
    found = inspect_leader(folder / "leader.pt", allow_import=NAME)
    assert found.rows == ((0, 1), (1, 0)) and found.training["command"] == f"spverify train {NAME} --seed 0"
    assert inspect_leader(folder / "fifth.pt", allow_import=NAME).parameters == {"share": "1/5"}


def test_the_reference_is_the_best_table(folder: Path) -> None:
    setting = asked_setting(NAME)
    worth = {}
    for table in product((0, 1), repeat=2):
        game = setting.tabulate([[int(a == k) for k in (0, 1)] for a in table])
        assert game.leader is not None
        best = game.payoffs[0].argmax(axis=1)
        worth[table] = float(np.mean(game.leader[[0, 1], best]))
    assert max(worth.values()) == worth[1, 0] == float(setting.references()[0].value) == 1


def test_play_pays_what_the_tabulated_game_says(folder: Path) -> None:
    setting = asked_setting(NAME)
    rows = [["1/4", "3/4"], ["2/3", "1/3"]]
    game = setting.tabulate(rows)
    assert game.leader is not None
    cells = np.array(list(product((0, 1), repeat=2)))
    tables = np.repeat(np.array([[[0.25, 0.75], [2 / 3, 1 / 3]]]), 4, axis=0)
    outcome = setting.play(tables, cells[:, :1], cells[:, 1:])
    assert np.allclose(outcome.leader, game.leader.ravel()) and np.allclose(
        outcome.followers[:, 0], game.payoffs[0].ravel()
    )


def test_it_works_where_any_setting_does(folder: Path) -> None:
    setting = asked_setting(NAME)
    assert setting.name == NAME
    outer = OuterEpisode(setting, Followers(100), 8, "argmax", np.random.default_rng(0))
    total = 0.0
    while not outer.done:
        total += outer.act(1 - outer.observation)
    assert total * 3 == pytest.approx(np.clip(total * 3, 0.5, 1.5))


def test_a_file_alone_imports_nothing(folder: Path) -> None:
    (folder / "evil.py").write_text("open('ran', 'w').close()\nworld = 1\n", encoding="utf-8")
    save_leader_table(folder / "x.pt", NAME, [1, 0])
    data = (folder / "x.pt").read_bytes()
    assert b"inspection:Inspection" in data
    with pytest.raises(LeaderFileError, match=r"has to be imported, .* say so with --allow-import inspection:Ins"):
        inspect_leader(folder / "x.pt")
    with pytest.raises(LeaderFileError, match="has to be imported"):
        inspect_leader(folder / "x.pt", allow_import="evil:world")
    with pytest.raises(SettingError, match="has to be imported"):
        get_setting("evil:world", allow_import="evil:other")
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("name", "parameters", "sentence"),
    [
        ("nowhere.at.all:X", {}, "cannot import 'nowhere.at.all': ModuleNotFoundError"),
        ("inspection:Missing", {}, "module 'inspection' has no 'Missing'"),
        ("inspection:FIRM", {}, "inspection:FIRM is no setting: it has no 'players'"),
        (NAME, {"share": "x"}, "cannot be made: ValueError"),
        (NAME, {"colour": "red"}, "cannot be made: TypeError"),
        ("broken:boom", {}, "cannot import 'broken': ZeroDivisionError: division by zero"),
        ("parts:halves", {}, "prior: expected exact probabilities"),
        ("parts:lost", {}, r"legal: expected booleans of shape \(2, 2\)"),
        ("parts:stuck", {}, "legal: expected a legal action at each observation"),
        ("parts:twice", {}, "observations: expected distinct labels"),
        ("parts:odd", {}, "leader_actions: expected"),
        ("parts:free", {}, "payoff_scale: expected a positive number"),
        ("parts:alone", {}, "players: expected at least one Player"),
        ("parts:deaf", {}, "followers: expected a Followers"),
        ("parts:raises", {}, "RuntimeError: no prior today"),
        ("parts:fine", {"share": "1/2"}, "is a setting already and has no parameter 'share'"),
        ("inspection:", {}, "unknown setting 'inspection:'"),
        ("../inspection:Inspection", {}, "unknown setting"),
    ],
)
def test_refusals(folder: Path, name: str, parameters: dict[str, Any], sentence: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    (folder / "parts.py").write_text(
        """
import numpy as np
from inspection import Inspection

def changed(**parts):
    return type("Changed", (Inspection,), parts)()

halves = changed(prior=np.array([0.5, 0.6]))
lost = changed(legal=np.ones((3, 2), dtype=bool))
stuck = changed(legal=np.zeros((2, 2), dtype=bool))
twice = changed(observations=("a", "a"))
odd = changed(leader_actions=("both",))
free = changed(payoff_scale=0)
alone = changed(players=())
deaf = changed(followers=3)
fine = changed()

def no_prior(self):
    raise RuntimeError("no prior today")

raises = changed(prior=property(no_prior))
""",
        encoding="utf-8",
    )
    with pytest.raises(SettingError, match=sentence) as caught:
        asked_world(name, parameters)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("member", "body", "sentence"),
    [
        ("references", "return [1 / 0]", "references failed: ZeroDivisionError: division by zero"),
        ("references", "return [('optimum', 1)]", "references: expected a list of Reference"),
        ("references", "return [Reference('The best', F(1), 'text')]", "of lower-case letters, digits and hyphens"),
        ("tabulate", "raise KeyError('row')", "tabulate failed: KeyError: 'row'"),
        ("tabulate", "return BayesianGame([1], [[[0, 0]]])", "tabulate: expected a BayesianGame with the leader's"),
        ("play", "return 3", "play: expected an Outcome of followers (4, 1), leader (4,)"),
    ],
)
def test_settings_whose_methods_fail(folder: Path, spverify: Run, member: str, body: str, sentence: str) -> None:
    """Mistakes in a user's own code are no bugs of ours: one sentence, exit code 2."""
    (folder / "slips.py").write_text(
        f"from inspection import *\n\n\nclass Slips(Inspection):\n    def {member}(self, *given):\n        {body}\n",
        encoding="utf-8",
    )
    save_leader_table(folder / "slips.pt", "slips:Slips", [1, 0])
    found = spverify("report", "slips.pt", "--quick", "--allow-import", "slips:Slips", "--out", "audit")
    assert found.code == 2 and sentence in found.err and found.err.count("\n") == 1, found.err


def test_a_setting_whose_play_and_game_disagree_is_refuted(folder: Path, spverify: Run) -> None:
    (folder / "slip.py").write_text(
        "import inspection\n\n\nclass Slip(inspection.Inspection):\n"
        "    def play(self, tables, types, actions):\n"
        "        return super().play(tables, types, 1 - actions)\n",
        encoding="utf-8",
    )
    save_leader_table(folder / "slip.pt", "slip:Slip", [1, 0])
    found = spverify("report", "slip.pt", "--quick", "--allow-import", "slip:Slip", "--json", "--out", "audit")
    verdicts = {s["id"]: s["verdict"] for s in found.document["statements"]}
    assert found.code == 1 and verdicts["tabulation"] == "refuted"
