"""`spverify replay`: what it measures agrees with `check` on the plays it writes, and claims get verdicts."""

from __future__ import annotations

import csv
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from spverify.reports.command_replay import checkpoints
from spverify.solvers.learners import LEARNERS
from spverify.verify.formats import logs, write_game
from spverify.verify.game import BayesianGame
from spverify.verify.play import PlayLog

from .conftest import Outcome

Run = Callable[..., Outcome]


def test_written_plays_have_the_gaps_that_were_told(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    game = examples_dir / "diagonal-prior.game.json"
    found = spverify("replay", game, "--rounds", 300, "--seeds", 3, "--plays", 3, "--out", tmp_path, "--json").document
    for kind in ("empirical", "last", "argmax"):
        gaps = []
        for b in range(3):
            checked = spverify("check", game, tmp_path / f"{kind}-{b}.play.npz", "--json").document
            assert checked["set"] == "sf"
            gaps.append(Fraction(checked["gap_exact"]))
        assert float(max(gaps)) == pytest.approx(found["readouts"][kind]["gap"]["max"], abs=1e-10)
    assert found["gap"]["final"]["max"] == pytest.approx(found["readouts"]["empirical"]["gap"]["max"], abs=1e-9)
    log = spverify("check", game, tmp_path / "log-0.csv", "--json").document
    assert log["play"] == "log" and log["independence"]["verdict"] == "inconclusive"
    with (tmp_path / "convergence.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {int(row["round"]) for row in rows} == set(checkpoints(300))
    assert all(float(row["regret_max"]) <= float(row["bound"]) for row in rows)
    assert sorted(Path(path).name for path in found["files"]) == sorted(path.name for path in tmp_path.iterdir())


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_learner_replays(spverify: Run, examples_dir: Path, learner: str) -> None:
    game = examples_dir / "first-price-auction.game.json"
    found = spverify("replay", game, "--learner", learner, "--rounds", 200, "--seeds", 6, "--json")
    assert found.code == 0 and found.err == ""
    document = found.document
    assert document["learner"]["name"] == learner and document["verdict"] is None
    assert len(document["gap"]["settled"]) == 6
    assert (document["regret"][0]["bound"] is None) == (learner in ("fp", "ibr"))
    statements = {s["id"]: s["verdict"] for s in document["statements"]}
    assert statements.get(f"regret.{learner}", "none") == {
        "exp3": "inconclusive", "ftpl": "inconclusive", "fp": "none", "ibr": "none"
    }.get(learner, "holds")  # fmt: skip
    text = spverify("replay", game, "--learner", learner, "--rounds", 200, "--seeds", 6)
    assert text.code == 0 and max(map(len, text.out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("epsilon", "seeds", "verdict", "code"),
    [("5", 40, "holds", 0), ("5", 4, "inconclusive", 3), ("1/1000000", 40, "refuted", 1)],
)
def test_claims_end_in_a_verdict(
    spverify: Run, examples_dir: Path, epsilon: str, seeds: int, verdict: str, code: int
) -> None:
    game = examples_dir / "battle-of-the-sexes.game.json"
    options = ("--rounds", 50, "--seeds", seeds, "--epsilon", epsilon, "--probability", 0.9)
    found = spverify("replay", game, *options, "--json")
    assert (found.document["verdict"], found.code) == (verdict, code)
    assert verdict.upper() in spverify("replay", game, *options).out


def test_a_cycle_is_said_to_be_one(spverify: Run, tmp_path: Path) -> None:
    """Matching pennies, best replies to the latest round in expectation: a cycle of four."""
    game = tmp_path / "pennies.game.json"
    players = (
        '[{"name": "a", "types": ["t"], "actions": ["h", "t"]}, {"name": "b", "types": ["t"], "actions": ["h", "t"]}]'
    )
    payoffs = "[[[[[1, 0], [0, 1]]]], [[[[0, 1], [1, 0]]]]]"
    game.write_text(
        f'{{"format": "spverify-game", "version": 1, "name": "pennies", "players": {players}, "prior": [[1]],'
        f' "payoffs": {payoffs}}}'
    )
    options = ("--types", "expected", "--opponents", "expected", "--seeds", 1, "--rounds", 200)
    found = spverify("replay", game, "--learner", "ibr", *options, "--json").document
    assert found["motion"] == {"settles": 0, "cycles": 1, "wanders": 0}
    assert found["periods"] == [4]
    assert found["readouts"]["empirical"]["gap"]["max_exact"] == "0"
    assert found["readouts"]["last"]["gap"]["max_exact"] == "1"
    text = " ".join(spverify("replay", game, "--learner", "ibr", *options).out.split())
    assert "of 1 runs 1 cycle (period 4 rounds); not all of them converge" in text


def test_rounding_has_no_rate(spverify: Run, tmp_path: Path) -> None:
    """The players' payoffs are 198 orders of magnitude apart: what is left of a gap in doubles is rounding."""
    payoffs = [k * np.eye(2).reshape(1, 1, 2, 2) for k in (1e99, 1e-99)]
    write_game(BayesianGame(np.ones((1, 1)), payoffs), tmp_path / "far.game.json")
    options = ("--rounds", 60, "--seeds", 5, "--rng-seed", 1, "--json")
    found = spverify("replay", tmp_path / "far.game.json", *options).document
    assert found["rate"]["exponent"] is None and found["rate"]["runs"] == 0


def test_a_leader_is_replayed_with_its_settings_scale(spverify: Run) -> None:
    found = spverify("replay", "zoo:maintain", "--rounds", 100, "--seeds", 2, "--json").document
    assert found["learner"]["payoff_scale"] == 30
    assert found["readouts"]["argmax"]["value"]["mean"] == 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--learner", "best"), "expected one of mw, optimistic"),
        (("--learner", "rm", "--rate", "tuned"), "no learning rate"),
        (("--rate", "slow"), "fixed, tuned or anytime"),
        (("--learner", "exp3", "--types", "expected"), "must be sampled"),
        (("--types", "drawn"), "sampled or expected"),
        (("--payoff-scale", "0"), "positive"),
        (("--level", "1.5"), "between 0 and 1"),
        (("--probability", "2"), "at most 1"),
        (("--epsilon", "-1"), "not negative"),
        (("--rounds", "10000000", "--seeds", "1000"), "GiB"),
    ],
)
def test_questions_that_cannot_be_put(spverify: Run, examples_dir: Path, options: tuple[str, ...], words: str) -> None:
    found = spverify("replay", examples_dir / "chicken.game.json", "--rounds", "20", *options)
    assert found.code == 2 and words in found.err and found.err.count("\n") == 1


def test_a_common_lottery_in_a_log_is_told(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    types = rng.integers(0, 2, 4000)
    both = np.stack([types, types, rng.integers(0, 2, 4000), rng.integers(0, 2, 4000)], axis=1)
    names = ",".join(logs.column_names(2))
    game = examples_dir / "diagonal-prior.game.json"
    lottery = both.copy()
    lottery[:, 3] = lottery[:, 2]
    for name, rows, sign in (("own", both, None), ("lottery", lottery, "correlation")):
        path = tmp_path / f"{name}.csv"
        path.write_text(names + "\n" + "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n")
        found = spverify("check", game, path, "--json").document["independence"]
        assert (found["correlation"] is not None) == (sign == "correlation")
        assert found["verdict"] == "inconclusive" and found["signalling"] is None
    assert "not independent" in spverify("check", game, tmp_path / "lottery.csv").out
    vouched = spverify("check", game, tmp_path / "lottery.csv", "--drift", "0.001", "--json").document["independence"]
    assert vouched["verdict"] == "refuted" and vouched["drift"] == 0.001
    assert spverify("check", game, tmp_path / "lottery.csv", "--drift", "-1").code == 2


def test_a_log_whose_play_drifted_is_told_so(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    game = examples_dir / "diagonal-prior.game.json"
    rng = np.random.default_rng(0)
    types = rng.integers(0, 2, 1024)
    actions = rng.integers(0, 2, (1024, 2))
    changed = np.where(np.arange(1024)[:, None] < 512, actions, 0)
    for name, played, verdict in (("steady", actions, "inconclusive"), ("changed", changed, "refuted")):
        path = tmp_path / f"{name}.csv"
        logs.write_log(PlayLog(np.stack([types, types], axis=1), played), path)
        found = spverify("check", game, path, "--level", "0.999", "--json").document["drift"]
        assert found["verdict"] == verdict and (found["change"] is None) == (verdict == "inconclusive")
    assert found["change"]["before"] == [0, 512] and found["change"]["after"] == [512, 1024]
    text = spverify("check", game, path).out
    assert "play changed" in text and max(map(len, text.splitlines())) <= 80


def test_long_logs_are_counted_not_kept(spverify: Run, examples_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = examples_dir / "diagonal-prior.game.json", examples_dir / "diagonal-prior.log.csv"
    kept = spverify("check", *files, "--json").document
    monkeypatch.setattr(logs, "MAX_MEMORY_BYTES", 10)
    counted = spverify("check", *files, "--json").document
    for key in ("gap_exact", "confidence", "witness", "per_type_sum", "verdict", "play"):
        assert counted[key] == kept[key]
