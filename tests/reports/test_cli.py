"""The command line as scripts and people meet it: documents, exit codes, one sentence for bad input."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from .conftest import PRICES, Outcome

Run = Callable[..., Outcome]

GAME = {
    "format": "spverify-game",
    "version": 1,
    "name": "g",
    "players": [{"name": "a", "types": ["t"], "actions": ["x", "y"]}],
    "prior": [1],
    "payoffs": [[[1, 0]]],
}
PLAY = {"format": "spverify-play", "version": 1, "kind": "conditional", "sigma": [["1/2", "1/2"]]}


def write(path: Path, document: object) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------ check


def test_check_knows_the_gap_from_the_ex_ante_gain(spverify: Run, examples_dir: Path) -> None:
    """Theory T3's example: gap 1/4, per-type sum 1/8, ex-ante 0."""
    files = examples_dir / "interim-not-exante.game.json", examples_dir / "interim-not-exante.play.json"
    found = spverify("check", *files, "--json")
    assert found.code == 1 and found.err == ""
    document = found.document
    assert document["command"] == "check" and document["verdict"] == "refuted" and document["set"] == "sf"
    assert (document["gap"], document["gap_exact"]) == (0.25, "1/4")
    assert document["per_type_sum"][0] == 0.125 and document["ex_ante"] == [0, 0]
    assert document["witness"] == {"player": 0, "type": 1, "deviation": 1, "gain": 0.25}
    assert document["nashconv"] is None and document["confidence"] is None
    assert {"epsilon", "leader_value"} <= document.keys()
    text = spverify("check", *files).out
    assert "ex-ante deviations alone" in text and "each type deviates or not" in text
    assert "ex-ante deviations alone" not in spverify("check", files[0], files[1], "--epsilon", "1/4").out


@pytest.mark.parametrize(
    ("epsilon", "code"),
    [("1/4", 0), ("0.25", 0), ("0.2499999999999999999999", 1), ("0.2500000000000000000001", 0)],
)
def test_epsilon_is_text_and_exact(spverify: Run, examples_dir: Path, epsilon: str, code: int) -> None:
    files = examples_dir / "interim-not-exante.game.json", examples_dir / "interim-not-exante.play.json"
    assert spverify("check", *files, "--epsilon", epsilon).code == code


def test_check_of_a_log_speaks_of_the_population(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    files = examples_dir / "diagonal-prior.game.json", examples_dir / "diagonal-prior.log.csv"
    found = spverify("check", *files, "--epsilon", "0.1", "--json", "--out", tmp_path)
    assert found.code == 3 and found.document["verdict"] == "inconclusive"
    confidence = found.document["confidence"]
    assert confidence["level"] == 0.95 and confidence["gap_lower"] <= 0.1 < confidence["gap_upper"]
    assert "log certifies no play" in found.err and not list(tmp_path.iterdir())
    assert spverify("check", *files, "--epsilon", "5").code == 0
    assert spverify("check", *files, "--epsilon", "0").code == 1


def test_a_gap_certificate_is_written_and_accepted(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    files = examples_dir / "chicken.game.json", examples_dir / "chicken-traffic-light.play.json"
    found = spverify("check", *files, "--out", tmp_path, "--json")
    assert found.code == 0
    again = spverify("recheck", found.document["certificate"], "--json")
    assert again.code == 0 and again.document["accepted"] and again.document["value_exact"] == "0"


def test_standard_input(spverify: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    game = write(tmp_path / "g.game.json", GAME)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(PLAY).encode())))
    assert spverify("check", game, "-", "--json").document["gap_exact"] == "1/2"
    refused = spverify("check", "-", "-")
    assert refused.code == 2 and "standard input" in refused.err


# ------------------------------------------------------------------------------------ bounds and recheck


def test_bounds_are_sound_outwards_and_their_certificates_hold(
    spverify: Run, examples_dir: Path, tmp_path: Path
) -> None:
    """Least and largest welfare over the coarse correlated equilibria of the battle of the sexes: 2.4 and 5."""
    found = spverify("bounds", examples_dir / "battle-of-the-sexes.game.json", "--out", tmp_path, "--json")
    assert found.code == 0
    document = found.document
    assert (document["objective"], document["set"], document["proved"]) == ("welfare", "sf", True)
    assert document["min"]["outer"] <= 2.4 + 1e-15 and Fraction(document["min"]["outer"]) <= Fraction("2.4")
    assert document["max"]["outer"] == 5 and document["max"]["inner"] == 5 and document["max"]["inner_gap"] == 0
    assert document["epsilon"] == 0 and document["method"] and document["seconds"] >= 0
    written = sorted(tmp_path.glob("*.cert.json"))
    assert len(written) == 4 and document["min"]["certificate"] in map(str, written)
    for path in written:
        assert spverify("recheck", path).code == 0


def test_bounds_along_a_curve_of_an_objective_from_a_file(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    array = tmp_path / "same-place.json"
    array.write_text("[[[[1, 0], [0, 1]]]]")
    game = examples_dir / "battle-of-the-sexes.game.json"
    options = ["--objective", array, "--curve", "0,1/10,0.5", "--time", "20", "--memory", "4", "--json"]
    found = spverify("bounds", game, *options, "--out", tmp_path)
    assert found.code == 0
    curve = found.document["curve"]
    assert [point["epsilon_exact"] for point in curve] == ["0", "1/10", "1/2"]
    assert curve[0]["min"] >= curve[1]["min"] >= curve[2]["min"]
    assert found.document["closed"]
    assert found.document["objective"] == "custom"
    certificate = found.document["min"]["certificate"]
    assert spverify("recheck", certificate).code == 0
    assert spverify("recheck", certificate, "--fast").code == 0
    refused = spverify("bounds", game, "--objective", tmp_path / "none.npy")
    assert_refused(refused, "none.npy", "No such file")
    assert_refused(spverify("bounds", game, "--curve", "0,-1"), "--curve", "not negative")


def test_bounds_at_a_coalitions_joint_optimum(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    """Chicken: together they earn 10.5 at most, and then 5.25 each."""
    options = (examples_dir / "chicken.game.json", "--objective", "player:0", "--coalition", "all")
    found = spverify("bounds", *options, "--out", tmp_path, "--json").document["coalition"]
    assert found["players"] == [0, 1] and found["proved"]
    assert found["threshold_exact"] == found["joint"]["outer_exact"] == "21/2"
    assert found["min"]["outer_exact"] == found["max"]["outer_exact"] == "21/4"
    for end, sign in ((found["min"], 1), (found["max"], -1)):
        assert spverify("recheck", end["inner_certificate"]).code == 0
        proof = spverify("recheck", end["certificate"], "--json").document
        assert proof["accepted"]
        paid = Fraction(end["price_exact"]) * Fraction(found["threshold_exact"])
        assert Fraction(end["outer_exact"]) == Fraction(proof["value_exact"]) + sign * paid
    text = spverify("bounds", *options, "--slack", "1/2").out
    assert "choose the equilibrium together" in text and max(map(len, text.splitlines())) <= 80
    assert_refused(spverify("bounds", *options[:3], "--coalition", "0,2"), "--coalition", "players from 0 to 1")
    assert_refused(spverify("bounds", *options, "--slack", "-1"), "--slack", "not negative")


def test_bounds_write_no_file_unless_asked(
    spverify: Run, examples_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = spverify("bounds", examples_dir / "chicken.game.json", "--objective", "player:0", "--set", "tc", "--json")
    assert found.document["min"]["certificate"] is None and found.document["set"] == "tc"
    assert (found.document["min"]["outer"], found.document["max"]["outer"]) == (2, 7)
    assert not list(tmp_path.iterdir())


def test_a_wrong_certificate_is_refused_not_an_error(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    spverify("bounds", examples_dir / "chicken.game.json", "--out", tmp_path)
    path = next(tmp_path.glob("*max-outer.cert.json"))
    document = json.loads(path.read_text())
    document["claim"]["value"] = "1"
    write(path, document)
    found = spverify("recheck", path, "--json")
    assert found.code == 1 and not found.document["accepted"] and found.document["reason"]
    del document["claim"]
    assert spverify("recheck", write(path, document)).code == 2


def test_all_certificates_of_a_folder_are_proved_again(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    spverify("bounds", examples_dir / "chicken.game.json", "--out", tmp_path / "deep" / "er")
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.cert.json"))
    found = spverify("recheck", tmp_path, "--json")
    assert found.code == 0 and found.document["accepted"]
    assert [one["file"] for one in found.document["certificates"]] == names
    assert f"{len(names)} certificates" in spverify("recheck", tmp_path).out
    document = json.loads((tmp_path / names[0]).read_text())
    document["claim"]["value"] = "-1" if document["claim"]["kind"] == "upper" else "100"
    write(tmp_path / names[0], document)
    found = spverify("recheck", tmp_path)
    assert found.code == 1 and f"1 of {len(names)} certificates refused" in found.out and "Not proved: " in found.out
    (tmp_path / names[-1]).write_text("{}")
    assert_refused(spverify("recheck", tmp_path), names[-1])
    (tmp_path / "empty").mkdir()
    assert_refused(spverify("recheck", tmp_path / "empty"), "empty")


def test_recheck_loads_no_numpy(examples_dir: Path, tmp_path: Path, spverify: Run) -> None:
    spverify("bounds", examples_dir / "first-price-auction.game.json", "--out", tmp_path)
    files = [str(path) for path in tmp_path.glob("*.cert.json")]
    code = (
        "import sys; from spverify.reports.cli import run\n"
        "codes = [run(['recheck', f, '--json']) for f in sys.argv[1:]]\n"
        "heavy = {'numpy', 'scipy', 'torch', 'cvxpy', 'highspy', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(0 if set(codes) == {0} and not heavy else f'{codes} {heavy}')"
    )
    assert len(files) == 4
    done = subprocess.run(
        [sys.executable, "-c", code, *files, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# ------------------------------------------------------------------------------------ bad input


def changed(document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**document, **fields}


BAD_GAMES = {
    "text": ("hello", "JSON"),
    "empty": ("", "empty"),
    "negative prior": (changed(GAME, prior=[-1]), "prior"),
    "zero prior": (changed(GAME, prior=[0]), "prior"),
    "axes": (changed(GAME, payoffs=[[[1, 0, 3]]]), "payoffs"),
    "unknown key": (changed(GAME, colour="red"), "colour"),
    "NaN": (json.dumps(GAME).replace("[1, 0]", "[NaN, 0]"), "NaN"),
    "infinity": (json.dumps(GAME).replace("[1, 0]", "[1e999, 0]"), "1e999"),
    "duplicate key": (json.dumps(GAME).replace('"version": 1', '"version": 1, "version": 1'), "version"),
    "other version": (changed(GAME, version=2), "version"),
    "a list": ([1, 2], "spverify-game"),
}
BAD_PLAYS = {
    "sum": (changed(PLAY, sigma=[[0.5, 0.4]]), "sigma"),
    "negative": (changed(PLAY, sigma=[[1.5, -0.5]]), "sigma"),
    "kind": (changed(PLAY, kind="dance"), "kind"),
    "axes": (changed(PLAY, sigma=[["1/3", "1/3", "1/3"]]), "sigma"),
    "unknown key": (changed(PLAY, extra=1), "extra"),
}


def assert_refused(found: Outcome, *words: str) -> None:
    assert found.code == 2
    assert found.out == "" or list(found.document) == ["error"]
    (line,) = found.err.strip().splitlines()
    assert line.startswith("error: ") and "Traceback" not in found.err
    for word in words:
        assert word in line, line


@pytest.mark.parametrize("case", BAD_GAMES)
def test_bad_games(spverify: Run, tmp_path: Path, case: str) -> None:
    document, word = BAD_GAMES[case]
    game, play = write(tmp_path / "bad.game.json", document), write(tmp_path / "p.play.json", PLAY)
    assert_refused(spverify("check", game, play), "bad.game.json", word)
    assert_refused(spverify("bounds", game), "bad.game.json", word)
    error = spverify("bounds", game, "--json").document["error"]
    assert set(error) == {"kind", "message", "path"} and error["path"] == str(game) and word in error["message"]


@pytest.mark.parametrize("case", BAD_PLAYS)
def test_bad_plays(spverify: Run, tmp_path: Path, case: str) -> None:
    document, word = BAD_PLAYS[case]
    game, play = write(tmp_path / "g.game.json", GAME), write(tmp_path / "bad.play.json", document)
    assert_refused(spverify("check", game, play), "bad.play.json", word)
    assert_refused(spverify("check", game, play, "--json"), "bad.play.json", word)


def test_files_that_are_not_there(spverify: Run, tmp_path: Path) -> None:
    game = write(tmp_path / "g.game.json", GAME)
    assert_refused(spverify("check", tmp_path / "no.game.json", game), "no.game.json", "no such file")
    assert_refused(spverify("check", tmp_path, game), "directory")
    assert_refused(spverify("recheck", tmp_path / "no.cert.json"), "no.cert.json")
    assert_refused(spverify("report", tmp_path / "no.pt"), "no.pt")
    assert_refused(spverify("show", tmp_path), str(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["dance"], "dance"),
        (["check"], "game"),
        (["check", "a", "b", "--colour", "red"], "--colour"),
        (["check", "a", "b", "--epsilon", "-1"], "--epsilon"),
        (["check", "a", "b", "--epsilon", "nan"], "--epsilon"),
        (["bounds", "a", "--epsilon", "many"], "--epsilon"),
        (["check", "a", "b", "--epsilon", "1e400"], "--epsilon"),
        (["report", "a.pt", "--epsilon", "1e400"], "--epsilon"),
        (["bounds", "a", "--set", "xx"], "--set"),
        (["bounds", "a", "--seconds", "soon"], "--seconds"),
        (["report", "a.pt", "--epsilon", "-0.1"], "--epsilon"),
        (["report"], "LEADER"),
        (["report", "zoo:nobody"], "nobody"),
        (["train", "mantain"], "maintain"),
        (["train", "maintain", "--set-param", "x"], "--set-param"),
        (["train", "maintain", "--set-param", "x=1"], "'x'"),
        (["train", "maintain", "--hyper", "restarts"], "--hyper: expected NAME=VALUE"),
        (["train", "maintain", "--hyper", "restart=2"], "the nearest is 'restarts'"),
        (["train", "maintain", "--device", "cuda"], "mode 'ppo' has nothing for a GPU to do"),
        (["train", "maintain", "--seeds", "2", "--jobs", "2", "--backend", "slurm"], "loky, ray, dask"),
        (["train", "maintain", "--seeds", "few"], "--seeds"),
        (["train", "maintain", "--seeds", "1,1"], "--seeds"),
    ],
)
def test_usage_errors_are_one_sentence(spverify: Run, arguments: list[str], word: str) -> None:
    assert_refused(spverify(*arguments), word)
    found = spverify(*arguments, "--json")
    assert_refused(found, word)
    assert word in found.document["error"]["message"]


def test_an_unknown_objective(spverify: Run, examples_dir: Path) -> None:
    assert_refused(spverify("bounds", examples_dir / "chicken.game.json", "--objective", "player:7"), "player:7")
    assert_refused(spverify("bounds", examples_dir / "chicken.game.json", "--objective", "leader"), "leader")


def test_an_interruption_is_130(spverify: Run, examples_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("spverify.verify.formats.read_game", interrupt)
    found = spverify("bounds", examples_dir / "chicken.game.json")
    assert found.code == 130 and "interrupted" in found.err and "Traceback" not in found.err


def test_a_failure_of_ours_says_so(spverify: Run, examples_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("spverify.verify.formats.read_game", fail)
    found = spverify("bounds", examples_dir / "chicken.game.json", "--json")
    assert found.code == 70 and found.document["error"]["kind"] == "bug"
    assert "bug" in found.err and "Traceback" not in found.err
    with pytest.raises(ZeroDivisionError):
        spverify("--debug", "bounds", examples_dir / "chicken.game.json")


def test_a_folder_that_is_a_file(spverify: Run, examples_dir: Path, tmp_path: Path) -> None:
    taken = write(tmp_path / "taken", "x")
    files = examples_dir / "chicken.game.json", examples_dir / "chicken-traffic-light.play.json"
    assert_refused(spverify("check", *files, "--out", taken), "taken")
    assert_refused(spverify("bounds", files[0], "--out", taken), "taken")
    assert_refused(spverify("report", "zoo:maintain", "--quick", "--out", taken), "taken")
    assert taken.read_text() == "x"


@pytest.mark.parametrize("arguments", [["settings"], ["settings", "--json"], ["bounds", "chicken.game.json", "--json"]])
def test_any_output_encoding_will_do(examples_dir: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "spverify", *arguments],
        capture_output=True,
        check=False,
        cwd=examples_dir,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.isascii()


# ------------------------------------------------------------------------------------ the rest


def test_settings_show_and_version(spverify: Run, leader_file: Callable[..., Path]) -> None:
    document = spverify("settings", "--json").document
    by_name = {item["name"]: item for item in document["settings"]}
    values = {r["name"]: r["value_exact"] for r in by_name["maintain"]["references"]}
    assert values == {"pure-optimum": "20", "mixed-optimum": "55/2"}
    path = leader_file("shown", "maintain", [["1/4", "3/4", 0]], claims={"value": {"argmax": 27.5}})
    shown = spverify("show", path, "--json").document
    assert shown["setting"]["name"] == "maintain" and shown["policy"]["leader_action"] == "mixture"
    assert [cell["exact"] for cell in shown["mechanism"][0]["actions"]] == ["3/4", "1/4"]
    assert shown["claims"] == {"value": {"argmax": 27.5}}
    assert spverify("--version").out.strip().count(".") == 2


def test_text_fits_eighty_columns_and_carries_no_colour(
    spverify: Run, examples_dir: Path, leader_file: Callable[..., Path]
) -> None:
    path = leader_file("narrow", "mspm-pi", PRICES)
    commands = [
        ["settings"],
        ["show", path],
        ["bounds", examples_dir / "first-price-auction.game.json"],
        ["check", examples_dir / "diagonal-prior.game.json", examples_dir / "diagonal-prior.log.csv"],
    ]
    for command in commands:
        found = spverify(*command)
        assert "\033" not in found.out and found.out
        assert max(map(len, found.out.splitlines())) <= 80


def test_train_says_what_it_made(spverify: Run, tmp_path: Path) -> None:
    out = tmp_path / "leader.pt"
    found = spverify("train", "two-by-two", "--quick", "--seeds", "2", "-o", out, "--json")
    assert found.code == 0 and found.err == ""
    assert [one["seed"] for one in found.document] == [0, 1]
    for one in found.document:
        keys = {"command", "setting", "mode", "seed", "value", "gap", "updates", "seconds", "leader"}
        assert keys <= one.keys() and set(one["value"]) == set(one["gap"]) == {"empirical", "last", "argmax"}
    assert out.exists()
    assert spverify("show", out).code == 0


def test_followers_of_either_version_of_the_paper_are_on_record(spverify: Run, tmp_path: Path) -> None:
    for paper, rate, tie in ((4, 0.01, "buy"), (5, 0.1, "reject")):
        out = tmp_path / f"{paper}.pt"
        found = spverify(
            "train",
            "mspm-pi",
            "--mode",
            "unrolled",
            "--paper",
            paper,
            "--steps",
            "2",
            "--hyper",
            "restarts=1",
            "-o",
            out,
        )
        assert found.code == 0
        shown = spverify("show", out, "--json").document
        assert shown["training"]["followers"]["epsilon"] == rate and shown["setting"]["parameters"]["tie"] == tie
    assert spverify("train", "mspm-pi", "--paper", "3").code == 2


def test_names_in_a_file_cannot_write_over_an_answer(spverify: Run, tmp_path: Path) -> None:
    """A game from a stranger, whose name forges a verdict and whose other names move the cursor."""
    players = [{"name": "\x1b[2Jrow", "types": ["\u202et"], "actions": ["c\n", "d"]}]
    forged = {**GAME, "name": "g\n\x1b[32mHOLDS: all is well", "players": players}
    game, play = write(tmp_path / "g.game.json", forged), write(tmp_path / "p.play.json", PLAY)
    answers = [
        spverify("check", game, play),
        spverify("bounds", game, "--out", tmp_path / "out"),
        spverify("replay", game, "--rounds", 20),
        *(spverify("recheck", path) for path in sorted((tmp_path / "out").glob("*outer.cert.json"))[:1]),
    ]
    for answer in answers:
        assert answer.out and "\ufffd" in answer.out
        assert not {"\x1b", "\u202e"} & set(answer.out) and "\nHOLDS: all is well" not in answer.out
