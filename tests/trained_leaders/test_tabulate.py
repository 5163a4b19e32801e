"""From file to game: what the child finds, its limits, and that neither process needs torch."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from spverify.trained_leaders.checkpoint import save_leader_table, write_leader
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.mechanism import evaluate_mechanism, mixture_counts, network_scores
from spverify.trained_leaders.policy import Actor
from spverify.trained_leaders.settings import exact_rows, get_setting, rows_as_text, table_rows
from spverify.trained_leaders.tabulate import inspect_leader, start_inspection
from spverify.verify.errors import LeaderFileError


def test_a_hand_written_table(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    claims = {"value": {"argmax": 20.0}, "gap": {"argmax": 0.0}, "updates": 100}
    save_leader_table(path, "maintain", [0], claims=claims)
    found = inspect_leader(path)
    assert found.setting == "maintain" and found.leader_action == "pure" and found.policy_kind == "table"
    assert found.claims == claims and found.network_agrees and all(max(row) == 1 for row in found.rows)
    assert found.rows == ((Fraction(1), Fraction(0), Fraction(0)),)
    np.testing.assert_array_equal(found.game.leader, [[20, 0, 0]])
    np.testing.assert_array_equal(found.game.payoffs[0], [[15, 0, 0]])
    assert found.world == get_setting("maintain")


def test_a_mixture_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    save_leader_table(path, "maintain", [["1/3", "2/3", 0]])
    found = inspect_leader(path)
    assert found.rows[0][0] == Fraction(1, 3)
    assert found.game.sha256 == get_setting("maintain").tabulate([["1/3", "2/3", 0]]).sha256


def test_parameters_reach_the_game(tmp_path: Path) -> None:
    setting = get_setting("mspm-pi", {"messages": 1, "prices": "1/3,2/3"})
    save_leader_table(tmp_path / "p.pt", setting, [0, 0, 2])
    found = inspect_leader(tmp_path / "p.pt")
    assert found.parameters == setting.parameters and found.game.action_shape == (1, 1)
    assert found.game.sha256 == setting.tabulate(table_rows(setting, [0, 0, 2])).sha256


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_the_network_is_evaluated_as_torch_does(hidden: tuple[int, ...], activation: str) -> None:
    setting = get_setting("mspm-pi")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        actor = Actor(setting.legal, hidden, activation)
    policy = {"hidden": list(hidden), "activation": activation}
    scores = network_scores(policy, actor.arrays(), setting.legal.shape)
    np.testing.assert_allclose(scores, actor().detach().numpy(), atol=1e-5)


def test_a_table_its_network_does_not_say_is_found_out(tmp_path: Path) -> None:
    setting = get_setting("simple-allocation-3")
    actor = Actor(setting.legal, (6,))
    actor.imitate(np.where(np.array([0, 1, 2])[:, None] == np.arange(3), 4.0, -4.0))
    policy = {"kind": "network", "leader_action": "pure", "table": [0, 1, 1], "hidden": [6], "activation": "relu"}
    write_leader(tmp_path / "liar.pt", setting=setting, policy=policy, tensors=actor.arrays())
    found = inspect_leader(tmp_path / "liar.pt")
    assert not found.network_agrees and found.network_difference == 1
    honest = {**policy, "table": [0, 1, 2]}
    write_leader(tmp_path / "honest.pt", setting=setting, policy=honest, tensors=actor.arrays())
    found = inspect_leader(tmp_path / "honest.pt")
    assert found.network_agrees and found.network_difference == 0 and found.margin == pytest.approx(8, abs=1e-4)


def test_mixture_networks_commit_on_a_grid(tmp_path: Path) -> None:
    setting = get_setting("maintain")
    actor = Actor(setting.legal, (6,))
    actor.imitate(np.log([[0.26, 0.739, 0.001]]))
    rows = [["13/50", "739/1000", "1/1000"]]
    policy = {
        "kind": "network", "leader_action": "mixture", "rows": rows, "hidden": [6], "activation": "relu", "grid": 1000,
    }  # fmt: skip
    write_leader(tmp_path / "m.pt", setting=setting, policy=policy, tensors=actor.arrays())
    leader = read_leader(tmp_path / "m.pt")
    mechanism = evaluate_mechanism(leader, setting)
    assert mechanism.network_agrees and rows_as_text(mechanism.rows) == rows_as_text(exact_rows(setting, rows))


def test_mixture_counts_are_probabilities_on_the_grid() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(5), size=200)
    counts = mixture_counts(probabilities, 1000)
    assert (counts.sum(axis=1) == 1000).all() and counts.min() >= 0
    assert np.abs(counts / 1000 - probabilities).max() < 1e-3


def test_starting_early_and_giving_up(tmp_path: Path) -> None:
    save_leader_table(tmp_path / "m.pt", "maintain", [1])
    with start_inspection(tmp_path / "m.pt") as running:
        assert running.result().rows[0][1] == 1
    with start_inspection(tmp_path / "m.pt"):
        pass  # nobody waits: the child is ended, nothing leaks (warnings are errors here)


def test_limits_hold(tmp_path: Path) -> None:
    """A mechanism of 3,888 observations, for which neither memory nor time allowed suffices."""
    setting = get_setting("mspm-pi", {"messages": 36})
    first = [int(np.flatnonzero(legal)[0]) for legal in setting.legal]
    save_leader_table(tmp_path / "large.pt", setting, first)
    with pytest.raises(LeaderFileError, match=r"needs more than \d+ MiB of memory|out of memory"):
        inspect_leader(tmp_path / "large.pt", memory_mb=60)
    with pytest.raises(LeaderFileError, match="took longer than 0.01 s"):
        inspect_leader(tmp_path / "large.pt", seconds=0.01)


def test_no_process_imports_torch(tmp_path: Path) -> None:
    save_leader_table(tmp_path / "m.pt", "maintain", [0])
    program = (
        "import sys; from spverify.trained_leaders.tabulate import inspect_leader, tabulate_leader, read_leader; "
        f"inspect_leader({str(tmp_path / 'm.pt')!r}); tabulate_leader(read_leader({str(tmp_path / 'm.pt')!r})); "
        "print('torch' in sys.modules, 'scipy' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]
