"""What a notebook shows of a game, of regrets and of a range: short, right and escaped."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from spverify.solvers.bounds import equilibrium_range
from spverify.verify.game import BayesianGame, Player
from spverify.verify.play import PlanPlay
from spverify.verify.regret import assess


def coordination(actions: int = 2, **parts: object) -> BayesianGame:
    """Both earn 1 where their actions are the same."""
    payoff = [[[[int(a == b) for b in range(actions)] for a in range(actions)]]]
    return BayesianGame([[1]], [payoff, payoff], **parts)


def test_names_in_a_game_are_escaped() -> None:
    players = [Player("<b>bold</b>", ("<i>",), ("a&b", "c")), Player("other", ("t",), ("a", '"'))]
    shown = coordination(players=players, name="<script>")._repr_html_()
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown and "&lt;i&gt;" in shown and "a&amp;b" in shown
    assert "&lt;script&gt;, without leader" in shown
    assert "<b>" not in shown and "<i>" not in shown and "<script>" not in shown


def test_many_actions_are_cut_short() -> None:
    shown = coordination(30)._repr_html_()
    assert shown.count("... (30 in all)") == 2 and len(shown) < 1000


def test_regrets_name_who_gains() -> None:
    game = coordination()
    wrong = assess(game, PlanPlay([1], [[[0]], [[1]]]))._repr_html_()
    assert "gap 1, play in sf: player 0, type 0, gains by always playing action 1" in wrong
    assert "<td>1</td><td>1</td><td>1</td><td>1</td>" in wrong  # player 1
    assert "gains" not in assess(game, PlanPlay([1], [[[0]], [[0]]]))._repr_html_()


def test_a_range_shows_both_ends() -> None:
    found = equilibrium_range(coordination(), objective="welfare", equilibrium_set="tc")
    shown = found._repr_html_()
    assert "welfare over tc at epsilon 0, proved" in shown
    assert "<td>least</td><td>1</td><td>1</td>" in shown and "<td>most</td><td>2</td><td>2</td>" in shown
    less = replace(found, objective="<b>", proved=False, min=replace(found.min, inner=None))._repr_html_()
    assert "&lt;b&gt; over tc" in less and "<b>" not in less and "not proved" in less and "none found" in less


def test_the_assertion_needs_no_hypothesis() -> None:
    """A fresh interpreter in which `import hypothesis` fails."""
    code = """
import sys
sys.modules["hypothesis"] = None
import spverify
from spverify.verify import testing
game = spverify.BayesianGame([[1]], [[[[[1, 0], [0, 1]]]], [[[[1, 0], [0, 1]]]]])
testing.assert_bcce(game, spverify.PlanPlay([1], [[[0]], [[0]]]))
try:
    testing.assert_bcce(game, spverify.PlanPlay([1], [[[0]], [[1]]]))
except AssertionError as error:
    print(error)
try:
    testing.games
except ImportError as error:
    print(type(error).__name__)
print(hasattr(testing, "nothing"))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    told, missing, other = ran.stdout.splitlines()
    assert "gains 1 by always playing" in told
    assert missing == "ModuleNotFoundError" and other == "False"
