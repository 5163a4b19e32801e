"""Gambit's .nfg files: exact, round trips of every game, refusals in one sentence, and what pygambit makes of them."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from spverify.verify.errors import SpverifyError, UsageError
from spverify.verify.formats import read_game, write_game
from spverify.verify.gambit import _labels, nfg_text, parse_nfg
from spverify.verify.game import BayesianGame, Player
from spverify.verify.testing import games

PAYOFFS = """NFG 1 R "Selten \\"horse\\"" { "row" "col" }
{ { "T" "B" } { "l" "m" "r" } }
"any comment"

1 0   2 1/3   -3 0.1   4 1e-1   5 .5   6 -1/7
"""
OUTCOMES = """NFG 1 R "by outcomes" { "row" "col" } { 2 2 }
{ { "win" 1, 2/3 } { "" -1 0 } }
1 0 2 1
"""


def test_the_first_player_runs_fastest_and_numbers_are_exact() -> None:
    game = parse_nfg(PAYOFFS)
    assert game.name == 'Selten "horse"'
    assert game.players == (("row", ("only",), ("T", "B")), ("col", ("only",), ("l", "m", "r")))
    assert list(game.payoffs[0].values()) == [1, -3, 5, 2, 4, 6]
    expected = [0, Fraction(1, 10), Fraction(1, 2), Fraction(1, 3), Fraction(1, 10), Fraction(-1, 7)]
    assert list(game.payoffs[1].values()) == expected


def test_outcomes_are_shared_and_zero_pays_nothing() -> None:
    game = parse_nfg(OUTCOMES)
    assert list(game.payoffs[0].values()) == [1, -1, 0, 1]
    assert list(game.payoffs[1].values()) == [Fraction(2, 3), 0, 0, Fraction(2, 3)]
    assert game.players[1][2] == ("1", "2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "line 1: expected a word or a number, but the file ends"),
        ("EFG 2 R", "line 1: expected a Gambit file that begins with NFG 1"),
        ("NFG 1 X", "line 1: expected R after NFG 1"),
        ('NFG 1 R "t" { }', "line 1: expected at least one player"),
        ('NFG 1 R "t" { "a" "a" } { 1 1 } 1 1', "line 1: expected distinct names of players"),
        ('NFG 1 R "t { "a" }', "line 1: expected {, got 'a'"),
        ('NFG 1 R "t" { "a" "b } ', "line 1: expected a closing quote"),
        ('NFG 1 R "t" { "a" } { 0 } 1', "line 1: expected a whole number from 1 to 262144, got '0'"),
        ('NFG 1 R "t" { "a" } { { "x" "x" } } 1 1', "expected distinct strategies for player 1"),
        ('NFG 1 R "t" { "a" "b" }\n{ 2 }\n1 1', "line 2: expected strategies for 2 players, got 1"),
        ('NFG 1 R "t" { "a" "b" } { 2 2 }\n\n1 2 3 4 5 6 7', "line 3: expected a word or a number, but the file ends"),
        ('NFG 1 R "t" { "a" } { 1 }\n1 2', "line 2: expected the end of the file after 1 profiles, got '2'"),
        ('NFG 1 R "t" { "a" } { 1 }\nnan', "line 2: expected a payoff such as 3, 0.25 or 1/3, got 'nan'"),
        ('NFG 1 R "t" { "a" } { 1 }\n1/0', "line 2: expected a payoff such as 3, 0.25 or 1/3, got '1/0'"),
        ('NFG 1 R "t" { "a" } { 1 }\n{ { "" 1 2 } } 1', "expected 1 payoffs in outcome 1, got 2"),
        ('NFG 1 R "t" { "a" } { 1 }\n{ { "" 1 } } 2', "expected a whole number from 0 to 1, got '2'"),
        ('NFG 1 R "t" { "a" "b" } { 600 600 }', "expected at most 262144 strategy profiles, got 360000"),
        ('NFG 1 R "t" { "a" } { 1 } "{ \\"spverify-game\\"" 1', "comment: the game in it is refused: expected a JSON"),
    ],
)
def test_refusals_name_line_expected_and_got(text: str, sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.nfg"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpverifyError) as caught:
        read_game(path)
    assert str(caught.value).startswith(f"{path}: ") and sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_comment_of_somebody_else_is_a_comment() -> None:
    assert parse_nfg('NFG 1 R "t" { "a" } { 1 } "{see the paper}" 1').action_shape == (1,)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "bad.nfg"
    path.write_bytes(b"NFG \xff")
    with pytest.raises(SpverifyError, match="expected UTF-8 text"):
        read_game(path)


@given(game=games())
def test_every_game_reads_back_as_itself(game: BayesianGame) -> None:
    assert parse_nfg(nfg_text(game.plain)).sha256 == game.sha256


@pytest.mark.parametrize("name", ["interim-not-exante", "diagonal-prior", "chicken", "first-price-auction"])
def test_examples_read_back_as_themselves(repo_root: Path, tmp_path: Path, name: str) -> None:
    game = read_game(repo_root / f"examples/{name}.game.json")
    write_game(game, tmp_path / "game.nfg")
    assert read_game(tmp_path / "game.nfg").sha256 == game.sha256


def awkward() -> BayesianGame:
    """Names that Gambit does not take, and a follower who could pass for the leader's seat."""
    players = [Player("käufer", ("only",), ('say "a"', "back\\slash")), Player("leader", ("only",), ("x",))]
    return BayesianGame(prior=[[1]], payoffs=[[[[["1/3"], [2]]]], [[[[0], [1]]]]], players=players, name='t "q" \\ é {')


def test_awkward_names_survive() -> None:
    game = awkward()
    assert parse_nfg(nfg_text(game.plain)).sha256 == game.sha256


def test_a_table_that_is_not_of_the_game_in_the_comment_is_refused(repo_root: Path) -> None:
    text = nfg_text(read_game(repo_root / "examples/interim-not-exante.game.json").plain)
    head, _, table = text.rstrip().rpartition('"\n\n')
    first = table.split("\n", 1)[0]
    changed = f'{head}"\n\n{table.replace(first, "7 " + first.split(" ", 1)[1], 1)}'
    with pytest.raises(SpverifyError, match=r"profile 1: expected .* from the game in the comment, got 7 "):
        parse_nfg(changed)
    fewer = "\n".join(text.replace(' "matcher:1; one-lover:1"', "").splitlines()[:-2])
    with pytest.raises(
        SpverifyError, match=r"strategies: expected 4 × 2, one a plan of the game in the comment, got 3 × 2"
    ):
        parse_nfg(fewer)


def test_games_with_too_many_plans_are_refused(tmp_path: Path) -> None:
    game = BayesianGame(prior=np.full((20,), 0.05), payoffs=[np.zeros((20, 2))])
    with pytest.raises(UsageError, match="1048576 profiles of pure plans, more than the 262144"):
        write_game(game, tmp_path / "big.nfg")
    assert not (tmp_path / "big.nfg").exists()


# ------------------------------------------------------------------------------------ pygambit


def gambit_payoffs(text: str) -> tuple[list[str], dict[tuple[int, ...], list[Fraction]]]:
    """Players and payoffs as pygambit reads them."""
    pygambit = pytest.importorskip("pygambit")
    game = pygambit.read_nfg(io.BytesIO(text.encode("utf-8")))
    players = list(game.players)
    strategies = [list(player.strategies) for player in players]
    table = {}
    for cell in product(*(range(len(own)) for own in strategies)):
        outcome = game[tuple(own[k] for own, k in zip(strategies, cell, strict=True))]
        table[cell] = [Fraction(str(outcome[player])) for player in players]
    return [player.label for player in players], table


def test_pygambit_reads_what_we_write(repo_root: Path) -> None:
    game = read_game(repo_root / "examples/first-price-auction.game.json")
    names, table = gambit_payoffs(nfg_text(game.plain))
    assert names[-1] == "leader" and len(table) == (2 * 3) ** 2
    # A plan is a bid at each value, none above it; expected payoffs by brute force over the prior.
    plans = [[(a, b) for a in (0, 1) for b in (0, 1, 2)]] * 2
    exact = [np.array(payoff.nested(str), dtype=object) for payoff in game.plain.payoffs]
    for cell, found in table.items():
        own = [plans[i][cell[i]] for i in range(2)]
        for i in range(2):
            total = sum(
                Fraction(1, 4) * Fraction(np.broadcast_to(exact[i], game.shape)[s, t, own[0][s], own[1][t]])
                for s in range(2)
                for t in range(2)
            )
            assert found[i] == total


def test_pygambit_reads_awkward_names() -> None:
    names, table = gambit_payoffs(nfg_text(awkward().plain))
    assert names == ["k?ufer", "leader"] and table[0, 0] == [Fraction(1, 3), 0]


@pytest.mark.parametrize("text", [PAYOFFS, OUTCOMES])
def test_we_read_what_pygambit_writes(text: str) -> None:
    pygambit = pytest.importorskip("pygambit")
    written = pygambit.read_nfg(io.BytesIO(text.encode())).to_nfg()
    assert "{" in written.split('"\n', 2)[-1]  # pygambit writes the outcome version
    ours, theirs = parse_nfg(text), parse_nfg(written)
    assert [list(u.values()) for u in theirs.payoffs] == [list(u.values()) for u in ours.payoffs]
    assert theirs.players == ours.players


def test_equilibria_of_the_file_are_equilibria_of_the_bayesian_game(repo_root: Path) -> None:
    """Gambit solves the written strategic form; verify finds no regret for any type of positive probability."""
    pygambit = pytest.importorskip("pygambit")
    from spverify.verify.play import PlanPlay
    from spverify.verify.regret import assess

    game = read_game(repo_root / "examples/diagonal-prior.game.json")
    file = pygambit.read_nfg(io.BytesIO(nfg_text(game.plain).encode()))
    plans = [(a, b) for a in (0, 1) for b in (0, 1)]
    found = pygambit.nash.enumpure_solve(file).equilibria
    assert found
    for profile in found:
        chosen = [
            next(k for k, strategy in enumerate(player.strategies) if profile[strategy] == 1)
            for player in list(file.players)[:2]
        ]
        play = PlanPlay(weights=["1"], strategies=[[list(plans[chosen[0]])], [list(plans[chosen[1]])]])
        assert assess(game, play).gap_exact == 0


def test_many_strategies_of_many_players_are_refused_before_they_are_listed() -> None:
    names = " ".join(f'"{k}"' for k in range(2000))
    with pytest.raises(SpverifyError, match=r"at most 262144 strategy profiles, got 68718952449 and more"):
        parse_nfg(f'NFG 1 R "x" {{ {names} }} {{ {"262143 " * 2000} }}')


def test_tens_of_thousands_of_names_alike_are_told_apart_in_a_moment() -> None:
    labels = _labels([chr(0x4E00 + k) for k in range(20_000)] + ["?_2", "b", "b"])
    assert labels[:3] == ["?", "?_2", "?_3"] and labels[-3:] == ["?_2_2", "b", "b_2"]
    assert len(set(labels)) == len(labels)
