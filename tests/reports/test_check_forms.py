"""`spverify check` on every form of play that every learner leaves, in every file form, and on files gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spverify.solvers.learners import LEARNERS, run_learners
from spverify.verify.formats import logs, write_game, write_play
from spverify.verify.game import BayesianGame
from spverify.verify.histories import History, history_regrets
from spverify.verify.play import ConditionalPlay, PlanPlay, Play, PlayLog
from spverify.verify.regret import assess

from .conftest import Outcome

Run = Callable[..., Outcome]
SUFFIXES = {
    **dict.fromkeys(("empirical", "last", "argmax", "plan", "conditional"), (".play.json", ".play.npz")),
    "log": (".play.json", ".play.npz", ".csv", ".parquet"),
}
SETS = {"empirical": ("sf",), "last": ("sf",), "argmax": ("sf",), "plan": ("sf",), "conditional": ("ns", "tc")}


@pytest.fixture(scope="module")
def game(tmp_path_factory: pytest.TempPathFactory) -> tuple[BayesianGame, Path]:
    """Two players of correlated types and two and three actions, with a leader."""
    rng = np.random.default_rng(7)
    payoffs = [rng.integers(0, 9, (2, 3, 2, 3)), rng.integers(0, 9, (1, 3, 2, 3))]
    made = BayesianGame([["1/4", "1/8", 0], ["1/8", "1/4", "1/4"]], payoffs, rng.integers(0, 9, (1, 1, 2, 3)))
    path = tmp_path_factory.mktemp("forms") / "own.game.json"
    write_game(made, path)
    return made, path


def forms(game: BayesianGame, learner: str) -> dict[str, Play]:
    """What a run leaves, in all four forms of play; the mixture in its three readouts."""
    run = run_learners(game, LEARNERS[learner](payoff_scale=9.0), 80, rng_seed=5)
    out: dict[str, Play] = {kind: run.readout(kind) for kind in ("empirical", "last", "argmax")}
    out["plan"] = PlanPlay([1], [rows[:1] for rows in run.leading])
    out["conditional"] = ConditionalPlay(out["empirical"].conditional(game))
    out["log"] = run.log()
    return out


@pytest.mark.parametrize("learner", LEARNERS)
def test_every_form_of_play_is_checked_in_every_file_form(
    spverify: Run, game: tuple[BayesianGame, Path], learner: str, tmp_path: Path
) -> None:
    own, path = game
    plays = forms(own, learner)
    for form, play in plays.items():
        expected = assess(own, History.of(own, play) if isinstance(play, PlayLog) else play)
        for suffix in SUFFIXES[form]:
            if suffix == ".parquet":
                pytest.importorskip("pyarrow")
            file = tmp_path / f"{form}{suffix}"
            write_play(play, file)
            found = spverify("check", path, file, "--epsilon", "9", "--json")
            assert found.code == 0 and found.err == "", (form, suffix)
            document = found.document
            assert document["verdict"] == "holds" and document["set"] in SETS.get(form, ("tc",))
            # a file of doubles is put on the grid of theory T1, which moves weights by less than 1e-12
            assert document["gap"] == pytest.approx(expected.gap, abs=1e-9)
            assert document["leader_value"] == pytest.approx(expected.leader_value, abs=1e-9)
            assert (document["confidence"] is None) == (form != "log") == (document["independence"] is None)
        text = spverify("check", path, file)
        assert text.code in (0, 1, 3) and max(map(len, text.out.splitlines())) <= 80
    log = plays["log"]
    assert isinstance(log, PlayLog)
    regrets = [r for rows in history_regrets(own, History.of(own, log)) for row in rows for r in row if r is not None]
    assert document["gap_exact"] == str(max(regrets))


# ---------------------------------------------------------------------------------------- logs that say little


def random_log(game: BayesianGame, rounds: int, seed: int = 0) -> PlayLog:
    rng = np.random.default_rng(seed)
    flat = rng.choice(game.prior.size, rounds, p=game.prior.ravel())
    types = np.stack(np.unravel_index(flat, game.type_shape), axis=1)
    return PlayLog(types, np.stack([rng.integers(0, k, rounds) for k in game.action_shape], axis=1))


LOGS = SUFFIXES["log"]


def written(log: PlayLog, folder: Path, suffix: str) -> Path:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    path = folder / f"log{suffix}"
    write_play(log, path)
    return path


@pytest.mark.parametrize("suffix", LOGS)
def test_a_thin_log_is_inconclusive(
    spverify: Run, game: tuple[BayesianGame, Path], suffix: str, tmp_path: Path
) -> None:
    """Its own gap is far above epsilon, and nothing follows for the play behind it."""
    path = written(random_log(game[0], 12), tmp_path, suffix)
    found = spverify("check", game[1], path, "--epsilon", "0.01", "--json")
    assert (found.code, found.document["verdict"]) == (3, "inconclusive")
    assert found.document["gap"] > 0.01 > found.document["confidence"]["gap_lower"]
    assert "too short" in spverify("check", game[1], path, "--epsilon", "0.01").out


@pytest.mark.parametrize("suffix", LOGS)
def test_a_log_of_signals_is_told_that_it_refutes_independence(
    spverify: Run, game: tuple[BayesianGame, Path], suffix: str, tmp_path: Path
) -> None:
    """Player 0 of type 1 does what player 1's type is: no strategy of its own type alone plays like that."""
    log = random_log(game[0], 3000)
    actions = log.actions.copy()
    actions[:, 0] = np.where(log.types[:, 0] == 1, np.minimum(log.types[:, 1], 1), actions[:, 0])
    path = written(PlayLog(log.types, actions), tmp_path, suffix)
    document = spverify("check", game[1], path, "--json").document
    assert document["independence"]["verdict"] == "refuted" and document["set"] == "tc"
    assert document["independence"]["signalling"].startswith("player 0 of type 1 plays action")
    assert "independent action" in spverify("check", game[1], path).out
    fair = spverify("check", game[1], written(log, tmp_path, suffix), "--json").document["independence"]
    assert fair["verdict"] == "inconclusive" and fair["signalling"] is None


@pytest.mark.parametrize("suffix", LOGS)
def test_a_log_larger_than_memory_is_counted(
    spverify: Run, game: tuple[BayesianGame, Path], suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but JSON are streamed in pieces; the figures are those of the log in memory."""
    path = written(random_log(game[0], 2000), tmp_path, suffix)
    kept = spverify("check", game[1], path, "--json").document
    monkeypatch.setattr(logs, "MAX_MEMORY_BYTES", 10)
    monkeypatch.setattr(logs, "CHUNK_BYTES", 999)
    monkeypatch.setattr(logs, "CHUNK_ROUNDS", 77)
    assert logs.is_long_log(path) == (suffix != ".play.json")
    counted = spverify("check", game[1], path, "--json").document
    same = ("gap_exact", "confidence", "witness", "per_type_sum", "ex_ante", "leader_value", "drift", "verdict", "set")
    assert {key: counted[key] for key in same} == {key: kept[key] for key in same}


# ---------------------------------------------------------------------------------------- files that are not right


@pytest.mark.parametrize("form", SUFFIXES)
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_truncated_file_is_one_sentence(
    spverify: Run, game: tuple[BayesianGame, Path], form: str, share: float, tmp_path: Path
) -> None:
    play = forms(game[0], "mw")[form]
    for suffix in SUFFIXES[form]:
        if suffix == ".parquet":
            pytest.importorskip("pyarrow")
        whole, path = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
        write_play(play, whole)
        data = whole.read_bytes()
        cut = data[: int(share * len(data))]
        path.write_bytes(cut[:-1] if cut.endswith(b"\n") else cut)  # a CSV file cut between lines is a shorter log
        found = spverify("check", game[1], path, "--json")
        assert found.code == 2 and found.document["error"]["path"] == str(path), suffix
        assert found.err.startswith(f"error: {path}: ") and found.err.count("\n") == 1, suffix


def test_wrong_columns_are_named(spverify: Run, game: tuple[BayesianGame, Path], tmp_path: Path) -> None:
    three = PlayLog(np.zeros((5, 3), dtype=int), np.zeros((5, 3), dtype=int))
    words = {
        ".csv": "expected the columns type_0,type_1,action_0,action_1",
        ".parquet": "expected the columns type_0,type_1,action_0,action_1, got",
        ".play.npz": "expected axes (round, player) with 2 players",
        ".play.json": "rounds[0]",
    }
    for suffix in LOGS:
        path = written(three, tmp_path, suffix)
        found = spverify("check", game[1], path)
        assert found.code == 2 and words[suffix] in found.err and found.err.count("\n") == 1


@pytest.mark.parametrize("suffix", LOGS)
@pytest.mark.parametrize(
    ("types", "actions", "words"),
    [
        ([[0, 0], [0, 2]], [[0, 0], [0, 0]], "probability 0"),
        ([[0, 0], [0, 3]], [[0, 0], [0, 0]], "rounds[1]"),
        ([[0, 0], [0, 0]], [[0, 0], [2, 0]], "rounds[1]"),
    ],
    ids=["impossible types", "no such type", "no such action"],
)
def test_rounds_that_cannot_be_are_named(
    spverify: Run, game: tuple[BayesianGame, Path], suffix: str, types: Any, actions: Any, words: str, tmp_path: Path
) -> None:
    path = written(PlayLog(np.array(types), np.array(actions)), tmp_path, suffix)
    found = spverify("check", game[1], path)
    assert found.code == 2 and words in found.err and found.err.count("\n") == 1
