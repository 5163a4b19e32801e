"""Documents: what is written reads back as the same thing; what is malformed is refused with its place."""

import json
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spverify.verify.errors import FormatError, GameError, SpverifyError, UsageError
from spverify.verify.formats import read_game, read_play, write_game, write_play
from spverify.verify.game import BayesianGame, Player
from spverify.verify.plain import (
    exact_row,
    grid_row,
    number_json,
    parse_json,
    parse_number,
    parse_play,
    read_plain_game,
)
from spverify.verify.play import ConditionalPlay, MixturePlay, PlanPlay, PlayLog
from spverify.verify.regret import assess
from spverify.verify.testing import games, plays

GAME = {
    "format": "spverify-game",
    "version": 1,
    "name": "an example",
    "players": [
        {"name": "row", "types": ["low", "high"], "actions": ["a", "b"]},
        {"name": "col", "types": ["only"], "actions": ["x", "y", "z"]},
    ],
    "prior": [["1/4"], ["3/4"]],
    "payoffs": [[[[[1, 2, 3], [4, 5, 6]]], [[[0, 0, 0], [1, 1, 1]]]], [[[[1]]]]],
    "leader": [[[[0.5]]]],
}


@given(data=st.data())
def test_games_read_back_with_the_same_digest(data, tmp_path_factory):
    game = data.draw(games())
    folder = tmp_path_factory.mktemp("games")
    write_game(game, folder / "g.game.json")
    again = read_game(folder / "g.game.json")
    assert again.sha256 == game.sha256 == read_plain_game(folder / "g.game.json").sha256
    try:
        write_game(game, folder / "g.npz")
    except UsageError:
        assert "/3" in json.dumps(game.to_document()["payoffs"]) + json.dumps(game.to_document()["leader"])
        return
    assert read_game(folder / "g.npz").sha256 == game.sha256


@given(data=st.data())
def test_plays_read_back_and_mean_the_same(data, tmp_path_factory):
    game = data.draw(games(max_cells=80))
    play = data.draw(plays(game))
    path = tmp_path_factory.mktemp("plays") / "p.play.json"
    write_play(play, path)
    assert assess(game, read_play(path, game)).gap_exact == assess(game, play).gap_exact


def float_plays():
    return [
        ConditionalPlay(np.full((2, 1, 2, 3), 1 / 6)),
        PlanPlay(np.array([0.25, 0.75]), [[[0, 1], [1, 1]], [[0], [2]]]),
        MixturePlay(np.array([0.5, 0.5]), [np.full((2, 2, 2), 0.5), np.full((2, 1, 3), 1 / 3)]),
        PlayLog([[0, 0], [1, 0]], [[0, 2], [1, 1]]),
    ]


@pytest.mark.parametrize("play", float_plays(), ids=lambda play: play.kind)
@pytest.mark.parametrize("suffix", [".json", ".npz", ".csv"])
def test_all_forms_in_all_files(play, suffix, tmp_path):
    game = BayesianGame.from_document(GAME)
    path = tmp_path / f"p{suffix}"
    if suffix == ".csv" and play.kind != "log":
        with pytest.raises(UsageError, match="only a log"):
            write_play(play, path)
        return
    write_play(play, path)
    again = read_play(path, game)
    assert again.kind == play.kind
    assert assess(game, again).gap_exact == assess(game, play).gap_exact
    np.testing.assert_allclose(again.conditional(game), play.conditional(game), atol=1e-11)


def with_field(*path, value):
    document = json.loads(json.dumps(GAME))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return document


BAD_GAMES = {
    "negative prior": (with_field("prior", 0, 0, value=-1), "prior[0][0]", "negative"),
    "zero prior": (with_field("prior", value=[[0], [0]]), "prior", "positive"),
    "float prior off": (with_field("prior", value=[[0.2], [0.7]]), "prior", "sum to 1"),
    "prior shape": (with_field("prior", value=[[1, 1], [1, 1]]), "prior", "axis 1 has length 2, expected 1"),
    "payoff axes": (with_field("payoffs", 0, 0, 0, 0, value=[1, 2]), "payoffs[0]", "length"),
    "ragged": (with_field("payoffs", 0, 0, 0, 0, value=5), "payoffs[0][0][0][0]", "levels of lists"),
    "enormous": (with_field("leader", 0, 0, 0, 0, value=1e101), "leader", "at most 1e100"),
    "enormous rational": (with_field("payoffs", 1, 0, 0, 0, 0, value="-2e100"), "payoffs[1]", "at most 1e100"),
    "a word": (with_field("leader", 0, 0, 0, 0, value="x"), "leader[0][0][0][0]", "expected a number"),
    "zero denominator": (with_field("leader", 0, 0, 0, 0, value="1/0"), "leader[0][0][0][0]", "expected a number"),
    "true": (with_field("leader", 0, 0, 0, 0, value=True), "leader[0][0][0][0]", "expected a number"),
    "unknown key": (with_field("colour", value="red"), "colour", "unknown key"),
    "unknown version": (with_field("version", value=2), "version", "expected version 1"),
    "no players": (with_field("players", value=[]), "players", "non-empty"),
    "twice the same name": (with_field("players", 0, "types", value=["a", "a"]), "players[0].types", "distinct"),
    "missing payoff": (with_field("payoffs", value=[[[[[1]]]]]), "payoffs", "one a player"),
    "empty mask": (
        with_field("feasible", value=[[[True, True], [False, False]], [[True] * 3]]),
        "feasible[0][1]",
        "at least one",
    ),
    "not an object": ([1], None, "expected an object"),
    "another format": (with_field("format", value="spverify-play"), "format", "expected"),
}


@pytest.mark.parametrize("name", BAD_GAMES)
def test_bad_games_are_refused_with_their_place(name, tmp_path):
    document, field, words = BAD_GAMES[name]
    path = tmp_path / "bad.game.json"
    path.write_text(json.dumps(document))
    with pytest.raises(FormatError) as caught:
        read_game(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert words in message
    assert field is None or field in message
    assert "\n" not in message


BAD_TEXTS = {
    "empty": "",
    "text": "hello, this is no game",
    "truncated": json.dumps(GAME)[:-30],
    "NaN": json.dumps(GAME).replace("0.5", "NaN"),
    "infinity": json.dumps(GAME).replace("0.5", "1e999"),
    "duplicate key": json.dumps(GAME).replace('"version": 1', '"version": 1, "version": 1'),
    "deep": "[" * 100_000,
    "huge integer": json.dumps(GAME).replace("0.5", "9" * 5000),
    "huge string": json.dumps(GAME).replace("0.5", '"' + "9" * 50_000 + '"'),
    "huge exponent": json.dumps(GAME).replace("0.5", '"1e999999999"'),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_bad_files_are_refused(name, tmp_path):
    path = tmp_path / "bad.game.json"
    path.write_text(BAD_TEXTS[name])
    with pytest.raises(SpverifyError) as caught:
        read_game(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x00" * 100, b"\x80\x04K\x01."])
def test_bad_archives_are_refused(content, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(SpverifyError, match="expected an .npz archive"):
        read_game(path)


def test_truncated_and_flipped_archives_are_refused_or_read_as_valid_games(tmp_path):
    path = tmp_path / "g.npz"
    write_game(BayesianGame.from_document(GAME), path)
    whole = path.read_bytes()
    for cut in range(0, len(whole), 37):
        path.write_bytes(whole[:cut])
        with pytest.raises(SpverifyError):
            read_game(path)
    for at in range(0, len(whole), 11):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            read_game(path)
        except SpverifyError as error:
            assert str(error).startswith(str(path))


@pytest.mark.parametrize("path", ["nowhere.json", "."])
def test_missing_files_and_folders(path, tmp_path):
    with pytest.raises(SpverifyError, match=r"no such file|directory"):
        read_game(tmp_path / path)


BAD_PLAYS = {
    "not 1": (
        {"kind": "conditional", "sigma": [[[[0.5, 0, 0], [0, 0.4, 0]]], [[[1, 0, 0], [0, 0, 0]]]]},
        "sigma[0][0]",
    ),
    "negative": (
        {"kind": "conditional", "sigma": [[[[1.5, 0, 0], [0, -0.5, 0]]], [[[1, 0, 0], [0, 0, 0]]]]},
        "sigma[0][0][4]",
    ),
    "axes": ({"kind": "conditional", "sigma": [[[[1, 0], [0, 0]]], [[[1, 0], [0, 0]]]]}, "sigma"),
    "plan weight": ({"kind": "plan", "profiles": [{"weight": "1/2", "strategies": [[0, 1], [2]]}]}, "profiles"),
    "plan index": (
        {"kind": "plan", "profiles": [{"weight": 1, "strategies": [[0, 2], [2]]}]},
        "profiles[0].strategies[0][1]",
    ),
    "plan length": (
        {"kind": "plan", "profiles": [{"weight": 1, "strategies": [[0], [2]]}]},
        "profiles[0].strategies[0]",
    ),
    "kind": ({"kind": "dream"}, "kind"),
    "mixture": ({"kind": "mixture", "weights": [1], "strategies": [[[[1, 0]]], [[[1, 0, 0]]]]}, "strategies[0]"),
    "log type": ({"kind": "log", "rounds": [[[2, 0], [0, 0]]]}, "rounds[0][0][0]"),
    "log action": ({"kind": "log", "rounds": [[[0, 0], [0, 3]]]}, "rounds[0][1][1]"),
    "log empty": ({"kind": "log", "rounds": []}, "rounds"),
    "unknown key": ({"kind": "log", "rounds": [[[0, 0], [0, 0]]], "colour": 1}, "colour"),
}


@pytest.mark.parametrize("name", BAD_PLAYS)
def test_bad_plays_are_refused_with_their_place(name, tmp_path):
    document, field = BAD_PLAYS[name]
    path = tmp_path / "bad.play.json"
    path.write_text(json.dumps({"format": "spverify-play", "version": 1, **document}))
    with pytest.raises(FormatError) as caught:
        read_play(path, BayesianGame.from_document(GAME))
    assert str(caught.value).startswith(f"{path}: {field}")


def test_mass_on_a_masked_action_and_types_of_probability_zero():
    masks = [[[True, False], [True, True]], [[True]]]
    game = BayesianGame([[1], [0]], [[[[[0], [0]]]], [[[[0]]]]], feasible=masks)
    with pytest.raises(FormatError, match="not feasible"):
        assess(game, PlanPlay([1], [[[1, 0]], [[0]]]))
    with pytest.raises(FormatError, match="probability 0"):
        assess(game, PlayLog([[1, 0]], [[0, 0]]))


@pytest.mark.parametrize(
    "text",
    [
        "type_0,action_0\n0,0\n",
        "type_0,type_1,action_0,action_1\n0,0,x,0\n",
        "",
        "type_0,type_1,action_0,action_1\n1,0\n",
    ],
)
def test_bad_csv_logs(text, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(FormatError) as caught:
        read_play(path, BayesianGame.from_document(GAME))
    assert "line" in str(caught.value) or "rounds" in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_itself(value):
    assert parse_number(value) == Fraction(value)
    assert parse_number(parse_json(json.dumps(number_json(Fraction(value))))) == Fraction(value)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda row: sum(row) > 0))
def test_grid_rows_sum_to_one_keep_zeros_and_move_little(row):
    exact = [Fraction(x) for x in row]
    rounded = grid_row(exact)
    assert sum(rounded) == 1
    for before, after in zip(exact, rounded, strict=True):
        assert abs(before / sum(exact) - after) <= Fraction(1, 2**40)
        assert before or not after


def test_rational_rows_must_sum_to_one_exactly():
    assert exact_row(["1/3", "1/3", "1/3"], "row") == ([Fraction(1, 3)] * 3, 0)
    with pytest.raises(FormatError, match="sum to 1"):
        exact_row(["1/3", "1/3", "0.3333333333"], "row")


def test_a_row_seen_before_is_still_read_as_what_it_is():
    game = BayesianGame([1], [[[0, 1]]]).plain
    document = {"format": "spverify-play", "version": 1, "kind": "mixture", "weights": ["1/2", "1/2"]}
    play = parse_play({**document, "strategies": [[[[1.0, 0.0]], [[1, 0]]]]}, game)
    assert list(play.strategies[0].values()) == [1, 0, 1, 0]
    with pytest.raises(FormatError, match=r"strategies\[0\]\[1\]\[0\]\[0\].*expected a number, got True"):
        parse_play({**document, "strategies": [[[[1.0, 0.0]], [[True, False]]]]}, game)


def test_a_game_that_npz_cannot_hold_leaves_the_file_alone(tmp_path):
    path = tmp_path / "g.npz"
    write_game(BayesianGame([1], [[[1, 2]]]), path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="rational numbers"):
        write_game(BayesianGame([1], [[[1, "1/3"]]]), path)
    assert path.read_bytes() == before


def test_plays_of_exact_numbers_can_be_written_as_npz(tmp_path):
    game, path = BayesianGame([1], [[[1, 2]]]), tmp_path / "p.npz"
    sigma = [["1/4", Fraction(3, 4)]]
    for play in (ConditionalPlay(sigma), MixturePlay(["1"], [[sigma]]), PlanPlay(["1/4", "3/4"], [[[0], [1]]])):
        write_play(play, path)
        assert read_play(path, game).conditional(game).tolist() == [[0.25, 0.75]]


def test_whole_numbers_that_no_double_holds_stay_exact():
    game = BayesianGame(np.array([2**53 + 1, 2**53 - 1]), [np.array([[2**53 + 1, 0]])])
    assert list(game.plain.payoffs[0].values()) == [2**53 + 1, 0]
    assert list(game.plain.prior.values()) == [Fraction(2**53 + 1, 2**54), Fraction(2**53 - 1, 2**54)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prior": [["1"], ["1e-301"]]}, "prior: expected probabilities of 0 or at least 1e-300"),
        ({"prior": [["1"], ["-1e999"]]}, "prior[1][0]: expected probabilities, got the negative -1e+999"),
        ({"name": "\ud800"}, "found half of a surrogate pair"),
    ],
)
def test_games_that_are_refused(change, words, tmp_path):
    path = tmp_path / "g.game.json"
    path.write_text(json.dumps({**GAME, **change}))
    with pytest.raises(SpverifyError, match=re.escape(words)):
        read_game(path)


def test_the_smallest_probability_is_positive_in_doubles_too():
    game = BayesianGame([["1"], ["2e-300"]], GAME["payoffs"])
    assert (game.prior > 0).all()


def test_too_many_players_for_arrays_are_refused():
    def nested(levels):
        return [nested(levels - 1)] if levels > 1 else [1]

    players = [{"name": str(i), "types": ["t"], "actions": ["a"]} for i in range(25)]
    document = {"format": "spverify-game", "version": 1, "name": "x", "players": players}
    with pytest.raises(GameError, match="players: expected at most 24 players, got 25"):
        BayesianGame.from_document({**document, "prior": nested(25), "payoffs": [nested(50)] * 25})


def test_plans_of_fractions_of_an_action_are_refused():
    with pytest.raises(SpverifyError, match="strategies: expected whole numbers"):
        PlanPlay([1], [[[0.7]]])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 3}, "name: expected a name, got 3"),
        ({"players": [Player("p", ("t",), ("a", "a"))]}, "players[0].actions: expected distinct names"),
        ({"players": [Player("p", (1,), ("a", "b"))]}, "players[0].types: expected a non-empty list of names"),
        ({"players": [Player(None, ("t",), ("a", "b"))]}, "players: expected a name for each player"),
        ({"players": [Player("p", ("t",), ("a", "b"))] * 2}, "players: expected 1 players"),
    ],
)
def test_names_beside_arrays_are_checked_as_those_of_files(change, words):
    with pytest.raises(GameError, match=re.escape(words)):
        BayesianGame(np.ones(1), [np.zeros((1, 2))], **change)
