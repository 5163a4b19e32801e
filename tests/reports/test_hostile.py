"""What a shell, a file system or a careless user does to the command line: each found once as a bug."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Outcome

Run = Callable[..., Outcome]
SPVERIFY = (sys.executable, "-m", "spverify")


def refused(found: Outcome, *words: str) -> None:
    """Exit code 2, and one sentence with these words."""
    assert found.code == 2 and found.err.startswith("error: ") and found.err.count("\n") == 1, found
    assert all(word in found.err for word in words), found.err


# ------------------------------------------------------------------------------------ streams


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["settings"], 0),
        (["check", "chicken.game.json", "chicken-traffic-light.play.json"], 0),
        (["check", "interim-not-exante.game.json", "interim-not-exante.play.json"], 1),
    ],
)
def test_a_reader_who_leaves_changes_no_verdict(examples_dir: Path, arguments: list[str], code: int) -> None:
    """`spverify .. | head`: exit code 1 would say refuted."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        done = subprocess.run(
            [*SPVERIFY, *arguments], cwd=examples_dir, stdout=pipe, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("settings >&-", 0, ""),
        ("check - p.play.json <&-", 2, "error: -: standard input is closed\n"),
        ("settings >/dev/full", 2, "error: reading or writing failed: No space left on device\n"),
    ],
)
def test_closed_and_full_streams(tmp_path: Path, command: str, code: int, said: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m spverify {command}', sys.executable],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, said)


# ------------------------------------------------------------------------------------ places to write to


def test_places_that_cannot_be_written_are_refused_before_the_work(
    spverify: Run, examples_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    game = examples_dir / "chicken.game.json"
    play = examples_dir / "chicken-traffic-light.play.json"
    (tmp_path / "taken").write_text("x", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    commands = (
        ["check", game, play],
        ["bounds", game],
        ["replay", game],
        ["claims", "paper:stackelberg-pomdp"],
        ["report", "zoo:platform"],
    )
    for command in commands:
        refused(spverify(*command, "--out", "taken"), "--out: expected a folder", "taken")
        refused(spverify(*command, "--out", "taken/below"), "--out: expected a folder", "taken")
    refused(spverify("train", "maintain", "-o", "taken/leader.pt"), "--out: expected a folder", "taken")
    refused(spverify("train", "maintain", "-o", "folder"), "--out: expected a file", "folder")
    refused(spverify("train", "maintain", "-o", ""), "--out: expected a file")
    refused(spverify("train", "maintain", "--tensorboard", "taken"), "--tensorboard: expected a folder", "taken")
    refused(spverify("report", "zoo:platform", "--junit", "folder"), "--junit: expected a file", "folder")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "taken"]


def test_leaders_are_all_looked_for_before_the_first_is_audited(
    spverify: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(spverify("report", "zoo:maintain", "no.pt"), "no.pt: no such file")
    refused(spverify("report", "zoo:maintain", tmp_path), str(tmp_path), "found a directory")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "g", "p", "--level", "nan"], ("--level", "between 0 and 1")),
        (["check", "g", "p", "--drift", "inf"], ("--drift", "finite")),
        (["bounds", "g", "--curve", ""], ("--curve",)),
        (["replay", "g", "--level", "nan"], ("--level", "between 0 and 1")),
        (["train", "maintain", "--seeds", "0-99999999999"], ("--seeds", "1 to 1000")),
        (["train", "maintain", "--seeds", "99999999999999"], ("--seeds", "1 to 1000")),
        (["train", "maintain", "--seeds", "9" * 5000], ("--seeds",)),
        (["train", "maintain", "--seed", str(2**64)], ("seeds up to",)),
        (["train", "matrix-design", "--set-param", "bonuses=1e999999999"], ("bonuses must be numbers",)),
    ],
)
def test_absurd_options(spverify: Run, arguments: list[str], words: tuple[str, ...]) -> None:
    refused(spverify(*arguments), *words)


def test_absurd_options_of_a_replay(spverify: Run, examples_dir: Path) -> None:
    game = examples_dir / "chicken.game.json"
    refused(spverify("replay", game, "--payoff-scale", "1e308"), "--payoff-scale", "1e+308")
    refused(spverify("replay", game, "--learning-rate", "0"), "--learning-rate", "positive")
    refused(spverify("replay", game, "--rounds", "10000000", "--seeds", "100000"), "GiB", "fewer rounds or seeds")


def test_more_memory_than_there_is_is_no_bug(spverify: Run, tmp_path: Path) -> None:
    found = spverify("train", "maintain", "--updates", 10**15, "--quick", "-o", tmp_path / "a.pt")
    refused(found, "more memory than there is")


# ------------------------------------------------------------------------------------ names from strangers


@pytest.mark.parametrize("name", ["it\n\nHOLDS: it", "\x1b[2J\x1b[H", "\u202egame", "a\u2028b"])
def test_names_cannot_write_into_the_terminal(
    spverify: Run, leader_file: Callable[..., Path], examples_dir: Path, tmp_path: Path, name: str
) -> None:
    source = json.loads((examples_dir / "interim-not-exante.game.json").read_text(encoding="utf-8"))
    players = [{**player, "name": f"{name}{i}", "actions": [name, "y"]} for i, player in enumerate(source["players"])]
    game, leader = tmp_path / "odd.game.json", leader_file("odd", "two-by-two", [0], training={"command": name})
    game.write_text(json.dumps({**source, "name": name, "players": players}), encoding="utf-8")
    for command in (
        ["check", game, examples_dir / "interim-not-exante.play.json"],
        ["bounds", game],
        ["replay", game, "--rounds", "5", "--seeds", "1"],
        ["show", leader],
    ):
        found = spverify(*command)
        assert found.code in (0, 1) and found.err == ""
        assert all(character.isprintable() for character in found.out.replace("\n", ""))
        assert not re.search("^HOLDS: it", found.out, re.MULTILINE), found.out


# ------------------------------------------------------------------------------------ Ctrl-C


def test_ctrl_c_in_a_search(spverify: Run, examples_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bounds` says what is proved by then; an audit stops, for a weaker range would depend on when it came."""

    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    for search in ("search_cells", "search_plans"):
        monkeypatch.setattr(f"spverify.solvers.bounds.{search}", interrupt)
    game = examples_dir / "first-price-auction.game.json"
    found = spverify("bounds", game, "--curve", "0,1", "--out", tmp_path / "bounds", "--json")
    assert found.code == 130 and found.err == "interrupted; this is what was proved by then\n"
    assert found.document["set"] == "sf" and "curve" not in found.document
    assert found.document["min"]["outer"] <= 0 and found.document["max"]["outer"] >= 0.5
    assert spverify("recheck", found.document["max"]["certificate"]).code == 0
    claim = f'id = "it"\ntext = "."\nkind = "range"\ngame = "{game}"\nside = "max"\nvalue = 1'
    path = tmp_path / "c.toml"
    path.write_text(
        f'format = "spverify-claims"\nversion = 1\ntitle = "A paper"\n[[claim]]\n{claim}\n', encoding="utf-8"
    )
    for command in (["claims", path], ["report", "zoo:maintain", "--quick"], ["bounds", game, "--coalition", "all"]):
        found = spverify(*command, "--out", tmp_path / command[0])
        assert found.code == 130 and "interrupted" in found.err, command
    assert not (tmp_path / "report").exists() and not (tmp_path / "claims").exists()
