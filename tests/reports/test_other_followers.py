"""Other learning rules, many runs, the four answers and the decision tree: what the first pages of a report say."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spverify.reports.audit import audit_leader
from spverify.reports.render.html import audit_html
from spverify.reports.render.terminal import audit_text
from spverify.reports.seeds import _regrets
from spverify.solvers.learners import LEARNERS
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.zoo import zoo_path
from spverify.verify.confidence import estimate_mean
from spverify.verify.errors import UsageError
from spverify.verify.regret import interim_regrets

from .conftest import FOLLOWERS, PRICES, TRAINING
from .test_audit import by_id


@pytest.fixture(scope="module")
def prices(leader_file: Callable[..., Path]) -> dict[str, Any]:
    return audit_leader(leader_file("others", "mspm-pi", PRICES), quick=True).to_document()


def test_every_rule_meets_the_leader(prices: dict[str, Any]) -> None:
    found, rows = by_id(prices), prices["tables"]["learners"]
    assert {row["learner"] for row in rows} == set(LEARNERS) and len(rows) == 3 * len(LEARNERS)
    assert {f"regret.{name}" for name in LEARNERS} <= found.keys()
    assert [row["learner"] for row in rows if row["own"]] == ["mw"] * 3
    own = {row["readout"]: row for row in prices["tables"]["readouts"] if row["factor"] == 1}
    for row in rows:
        assert row["value_min"] <= row["value"] <= row["value_max"]
        if row["own"]:
            assert all(row[key] == own[row["readout"]][key] for key in ("value", "gap", "rounds"))
    for name, rule in LEARNERS.items():
        statement = found[f"regret.{name}"]
        assert statement["role"] == ("required" if name == "mw" else "information")
        if rule.guarantee == "always":
            assert statement["verdict"] == "holds" and statement["measured"] <= statement["threshold"] == 1
        if rule.guarantee == "expectation":
            assert statement["details"]["lower"] <= statement["measured"] <= statement["details"]["upper"]


def test_a_dominant_action_is_found_by_every_rule(leader_file: Callable[..., Path]) -> None:
    """Row 0 of maintain makes column 0 dominant: whoever learns ends there, and the leader has 20."""
    document = audit_leader(leader_file("dominant", "maintain", [0]), quick=True).to_document()
    finals = [row for row in document["tables"]["learners"] if row["readout"] == "argmax"]
    assert {row["value"] for row in finals if row["learner"] != "exp3"} == {20.0}


def test_rules_that_draw_get_many_runs_beside_followers_who_learn_in_expectation(
    leader_file: Callable[..., Path],
) -> None:
    still = {**TRAINING, "followers": {**FOLLOWERS, "types": "expected", "opponents": "expected"}}
    audit = audit_leader(leader_file("still", "maintain", [0], training=still), quick=True)
    document = audit.to_document()
    assert {row["runs"] for row in document["tables"]["seeds"]} == {1}
    assert all(by_id(document)[f"regret.{name}"]["details"]["runs"] == 256 for name in ("exp3", "ftpl"))
    assert "Learning is all in expectation here" in audit_html(document)


def test_seeds_come_with_intervals(prices: dict[str, Any]) -> None:
    found = by_id(prices)
    value, gap = found["seeds.value"], found["seeds.gap"]
    assert value["evidence"] == gap["evidence"] == "statistical"
    assert value["details"]["lower"] <= value["measured"] <= value["details"]["upper"]
    assert 0 <= gap["details"]["lower"] <= gap["measured"] <= gap["details"]["upper"] <= 1
    for row in prices["tables"]["seeds"]:
        assert row["least"] <= row["q05"] <= row["median"] <= row["q95"] <= row["most"]
        assert row["lower"] <= row["mean"] <= row["upper"]


def test_learning_in_expectation_needs_no_interval(leader_file: Callable[..., Path]) -> None:
    followers = {**TRAINING["followers"], "types": "expected", "opponents": "expected"}
    path = leader_file("expected", "maintain", [0], training={**TRAINING, "followers": followers})
    found = by_id(audit_leader(path, quick=True).to_document())
    assert found["seeds.value"]["evidence"] == "float" and found["seeds.value"]["details"]["runs"] == 1
    assert found["seeds.value"]["details"]["lower"] == found["seeds.value"]["details"]["upper"] == 20
    assert "every run is the same" in found["seeds.gap"]["text"] and found["seeds.gap"]["verdict"] == "holds"


@pytest.mark.parametrize("name", ["mspm-grid-4", "matrix-design", "escape"])
def test_regrets_of_many_plays_are_those_of_each(name: str) -> None:
    game = inspect_leader(zoo_path(name)).game
    plays = np.random.default_rng(0).random((3, *game.shape))
    joint = plays * game.prior.reshape((1, *game.type_shape, *(1,) * game.n_players))
    for i in range(game.n_players):
        expected = np.stack([interim_regrets(game, sigma)[i] for sigma in plays])
        np.testing.assert_allclose(_regrets(game, joint, i), expected, rtol=0, atol=1e-12)


def test_the_mean_lies_in_its_interval_as_often_as_it_says() -> None:
    """Skewed samples, where a normal interval is too short: rare ones at the far end."""
    rng = np.random.default_rng(3)
    samples = (rng.random((60, 2000)) < 0.02).astype(float)
    low, high = estimate_mean(samples, lowest=0, highest=1, level=0.9)
    assert ((low <= 0.02) & (high >= 0.02)).mean() >= 0.9
    assert (low >= 0).all() and (high <= 1).all() and (high - low).max() < 1
    assert [float(end) for end in estimate_mean([3.0], lowest=1, highest=4)] == [1.0, 4.0]
    with pytest.raises(UsageError, match="between lowest and highest"):
        estimate_mean([3.0], lowest=0, highest=1)


ANSWERS = {
    # name: did it converge, how far from equilibrium, the worst, how far from the best
    "maintain": ("yes", "0", "20", "at it"),
    "maintain-myopic": ("yes", "0", "10", "10 below"),
    "maintain-boaster": ("yes", "0", "10", "10 below"),  # it settled: on less than its file claims
    "mspm-pi-episode": ("no", None, None, "at it"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_four_answers(name: str) -> None:
    document = audit_leader(zoo_path(name), name=name, quick=True).to_document()
    headline, ids = document["headline"], by_id(document)
    answers = headline["answers"]
    assert all(expected in (None, a["answer"]) for a, expected in zip(answers, ANSWERS[name], strict=True))
    assert all(identity in ids for a in answers for identity in a["statements"])
    assert Fraction(answers[1]["value"]) >= Fraction(headline["gap_exact"])  # rounded up
    assert Fraction(answers[2]["answer"]) <= Fraction(headline["range"]["min_exact"])  # rounded down
    words = " ".join(audit_text(document).split())
    assert all(a["figure"] in words and a["value"] in words for a in answers)


def test_the_decision_tree_is_the_mechanism(prices: dict[str, Any]) -> None:
    """Every offer in the tree is what the mechanism table says there, the second to whom the first left over."""
    tree = prices["tree"]
    assert len(tree["children"]) == 4  # two messages of two buyers
    offers: list[str] = []

    def walk(node: dict[str, Any]) -> None:
        if node["text"].startswith("offer"):
            offers.append(node["text"].removeprefix("offer to "))
            assert node["children"][0]["text"].startswith("sold")
        for child in node["children"]:
            walk(child)

    walk(tree)
    table = {row["observation"]: row["actions"][0]["action"] for row in prices["mechanism"]}
    first = [table[f"messages {m}, item unsold, buyers 0 and 1 left"] for m in ("00", "01", "10", "11")]
    assert offers[::2] == first
    for said, action, second in zip(("00", "01", "10", "11"), first, offers[1::2], strict=True):
        other = 1 - int(action.split()[1])
        assert second == table[f"messages {said}, item unsold, buyer {other} left"]


def test_other_settings_have_no_tree(leader_file: Callable[..., Path]) -> None:
    assert audit_leader(leader_file("treeless", "maintain", [0]), quick=True).tree is None
