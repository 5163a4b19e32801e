"""`spverify replay` of leaders whose play goes on: figures agree with the exact games, claims get verdicts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from spverify.reports.command_replay import checkpoints
from spverify.reports.dynamic import table_of
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.zoo import zoo_path

from .conftest import Outcome

Run = Callable[..., Outcome]


@pytest.mark.parametrize("name", ["platform-hidden-cost", "repeated-prisoners-dilemma"])
def test_written_policies_forgo_what_was_told(spverify: Run, tmp_path: Path, name: str) -> None:
    options = ("--rounds", 1500, "--seeds", 3, "--plays", 3, "--out", tmp_path)
    found = spverify("replay", f"zoo:{name}", *options, "--json").document
    assert found["learner"]["name"] == "q-learning" and found["dynamic"] and found["verdict"] is None
    assert [line["round"] for line in found["gap"]["checkpoints"]] == list(checkpoints(1500))
    leader = inspect_leader(zoo_path(name))
    world = leader.dynamic_world
    assert world is not None
    games, labels = world.unfold(table_of(leader)), [label for label, _ in world.scenarios]
    worst, total = [], 0.0
    for b in range(3):
        with (tmp_path / f"policies-{b}.csv").open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        gains = []
        for game, (label, weight) in zip(games, world.scenarios, strict=True):
            own = [row for row in rows if row["scenario"] == label]
            assert [row["state"] for row in own] == list(game.states)
            policies = [
                (tuple(game.actions[i].index(row[player]) for row in own),) for i, player in enumerate(game.players)
            ]
            played = [s for s, row in enumerate(own) if row["played"] == "1"]
            judged = played if game.rounds is None else game.starting_states
            for i in range(len(game.players)):
                response = game.best_response(i, policies).gain
                gains.append(max(float(response[s].high) for s in judged) * float(game.per_round))
            at = played[0] if game.rounds is None else game.starting_states[0]
            total += float(weight) * float(game.leader_value(policies, at).middle) / 3
        worst.append(max(gains))
    assert found["readouts"]["argmax"]["gap"]["max"] == pytest.approx(max(worst), abs=1e-12)
    assert found["gap"]["final"]["min"] == pytest.approx(min(worst), abs=1e-12)
    assert found["readouts"]["argmax"]["value"]["mean"] == pytest.approx(total)
    with (tmp_path / "convergence.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["scenario"] for row in rows} == set(labels)
    assert max(float(row["gap_max"]) for row in rows if row["round"] == "1500") == found["gap"]["final"]["max"]
    assert sorted(Path(path).name for path in found["files"]) == sorted(path.name for path in tmp_path.iterdir())
    text = spverify("replay", f"zoo:{name}", "--rounds", 1500, "--seeds", 3).out
    assert max(map(len, text.splitlines())) <= 80 and "no bound is known for Q-learning" in text


def test_the_training_horizon_is_taken_and_claims_end_in_a_verdict(spverify: Run) -> None:
    """Whatever it learns, the follower of this leader forgoes less than 9 a round."""
    leader = "zoo:repeated-prisoners-dilemma"
    for seeds, verdict, code in ((40, "holds", 0), (4, "inconclusive", 3)):
        found = spverify("replay", leader, "--seeds", seeds, "--probability", 0.9, "--epsilon", "9", "--json")
        assert (found.document["verdict"], found.code, found.document["rounds"]) == (verdict, code, 20_000)
    slower = spverify("replay", leader, "--rounds", 50, "--seeds", 2, "--learning-rate", 0.5, "--json").document
    assert slower["learner"]["rate"] == 0.5


@pytest.mark.parametrize(
    ("subject", "options", "words"),
    [
        ("zoo:platform", ("--learner", "rm"), "followers are Q-learners: expected q-learning, got 'rm'"),
        ("zoo:platform", ("--rate", "tuned"), "no such choice"),
        ("zoo:platform", ("--types", "expected"), "no such choice"),
        ("zoo:platform", ("--payoff-scale", "2"), "no such choice"),
        ("zoo:platform", ("--rounds", "6000000"), "at most 5000000"),
        ("zoo:platform", ("--learning-rate", "2"), "rate cannot be 2.0"),
        ("zoo:maintain", ("--learner", "q-learning"), "Q-learning is for leaders whose play goes on"),
    ],
)
def test_questions_that_cannot_be_put(spverify: Run, subject: str, options: tuple[str, ...], words: str) -> None:
    found = spverify("replay", subject, "--seeds", 1, *options)
    assert found.code == 2 and words in found.err and found.err.count("\n") == 1
