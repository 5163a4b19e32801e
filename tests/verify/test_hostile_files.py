"""Files that somebody has tampered with: a reader answers, or refuses in one sentence; nothing else is ever raised."""

import copy
import io
import json
import random
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from spverify.verify import fast_kernel, kernel, plain
from spverify.verify.certificate import attained_certificate, gap_certificate, outer_certificate
from spverify.verify.errors import SpverifyError
from spverify.verify.formats import read_game, read_play, write_game, write_play
from spverify.verify.formats.logs import read_history
from spverify.verify.game import BayesianGame
from spverify.verify.plain import parse_json
from spverify.verify.play import ConditionalPlay, MixturePlay, PlanPlay, PlayLog, SparsePlay
from spverify.verify.regret import assess

GAME = BayesianGame(
    [["1/4", "1/4"], ["1/2", 0]],
    [
        [[[[1, 2], [0, 1]], [[3, 1], [0, 0]]], [[[1, 1], [0, 2]], [[2, 2], [1, "1/3"]]]],
        [[[[1, 0], [0, 1]]], [[[0, 0], [1, 1]]]],
    ],
    leader=[[[[1, 2], [3, 4]]]],
    feasible=[[[True, False], [True, True]], [[True, True], [True, True]]],
)
DOUBLES = BayesianGame(np.array([[0.25, 0.25], [0.5, 0.0]]), [np.ones((2, 2, 2, 2)), np.ones((1, 1, 2, 2))])
_FIRST = np.zeros(GAME.shape)
_FIRST[..., 0, 0] = 1.0
PLAYS = [
    ConditionalPlay(_FIRST),
    PlanPlay(["1/2", "1/2"], [[[0, 1], [0, 0]], [[0, 1], [1, 1]]]),
    MixturePlay(None, [np.array([[[1, 0], [0.5, 0.5]]]), np.array([[[0.25, 0.75], [0.5, 0.5]]])]),
    PlayLog([[0, 0], [1, 0], [0, 1]], [[0, 0], [1, 1], [0, 1]]),
    SparsePlay([((0, 0), (0, 0), "1"), ((0, 1), (0, 0), "1/2"), ((0, 1), (0, 1), "1/2"), ((1, 0), (1, 1), 1)]),
]
ODD = [
    *(None, True, 0, 1, -1, 3, 10**18, 1.5, -0.0, 1e-320, 1e101, 0.1, "", "x", "1/3", "1/0", "-1/2", "1e999", "1e-999"),
    *(
        "9" * 5000,
        "\ud800",
        "two\nlines",
        "\u0663",
        [],
        {},
        [[]],
        [1],
        [[0], [0]],
        {"a": 1},
        float("inf"),
        float("nan"),
    ),
]


def tampered(document, rng):
    """The document after one to three changes somewhere."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = list(_places(document))[1:]
        if not places:
            break
        *way, last = rng.choice(places)
        parent = document
        for key in way:
            parent = parent[key]
        change = rng.randrange(4)
        if change == 0 and isinstance(parent, dict) and rng.random() < 0.3:
            parent["two\nlines"] = parent.pop(last)
        elif change == 0:
            del parent[last]
        elif change == 1 and isinstance(parent, list):
            parent.insert(last, copy.deepcopy(rng.choice(ODD)))
        else:
            parent[last] = copy.deepcopy(rng.choice(ODD))
    return document


def _places(document, here=()):
    yield here
    items = document.items() if isinstance(document, dict) else enumerate(document) if type(document) is list else ()
    for key, value in items:
        yield from _places(value, (*here, key))


def answer(ask):
    """What is answered, or the refusal; both can be printed."""
    try:
        return ask()
    except SpverifyError as error:
        sentence = str(error)
        assert sentence.strip() and "\n" not in sentence
        sentence.encode("utf-8")
        return None


def read_game_text(text):
    game = BayesianGame.from_document(parse_json(text))
    names = (game.name, *(name for player in game.players for name in (player.name, *player.types, *player.actions)))
    "".join(names).encode("utf-8")
    return game.sha256


def test_games():
    rng, document = random.Random(1), GAME.to_document()
    answers = [answer(lambda: read_game_text(json.dumps(tampered(document, rng)))) for _ in range(600)]
    assert answers.count(None) > 300


def test_plays(tmp_path):
    rng, path = random.Random(2), tmp_path / "p.play.json"
    documents = [play.to_document() for play in PLAYS]
    for _ in range(800):
        path.write_text(json.dumps(tampered(rng.choice(documents), rng)))
        answer(lambda: assess(GAME, read_play(path, GAME)))


def test_certificates_and_both_kernels_agree():
    rng = random.Random(3)
    certificates = [attained_certificate(GAME, play) for play in PLAYS if play.kind != "log"]
    certificates.append(gap_certificate(GAME, PLAYS[1]))
    for which, sense in (("sf", "upper"), ("ns", "lower"), ("tc", "upper")):
        f = None if which != "ns" else [np.full((2, 2, 1, 2), 0.5), np.full((2, 2, 2, 1), 0.25)]
        question = {"sense": sense, "equilibrium_set": which, "objective": "leader", "epsilon": Fraction(0)}
        certificates.append(outer_certificate(GAME, multipliers=[(0, 1, 0, Fraction(1, 3))], potentials=f, **question))
    accepted = 0
    for _ in range(500):
        document = dict(rng.choice(certificates).document)
        part = rng.choice(["claim", "evidence", "evidence", ""])
        document = {**document, part: tampered(document[part], rng)} if part else tampered(document, rng)
        text = json.dumps(document)
        checks = (kernel.check_certificate, fast_kernel.check_certificate)
        slow, fast = (answer(lambda c=check, t=text: c(parse_json(t))) for check in checks)
        assert (slow is None) == (fast is None)
        if slow is not None:
            assert slow.accepted == fast.accepted
            (slow.statement + str(slow.reason)).encode("utf-8")
            accepted += slow.accepted
    assert accepted


@pytest.mark.parametrize("what", ["game", *(play.kind for play in PLAYS[:4])])
def test_npz_archives(what, tmp_path):
    rng, path = random.Random(4), tmp_path / "x.npz"
    if what == "game":
        write_game(DOUBLES, path)
    else:
        write_play(next(play for play in PLAYS if play.kind == what), path)
    with zipfile.ZipFile(path) as archive:
        honest = {name: archive.read(name) for name in archive.namelist()}
    odd = [np.array(1.0), np.zeros((3, 0)), np.array("x"), np.array([1j]), np.array([np.nan]), np.array("\ud800")]
    odd += [np.array(json.dumps({"format": "spverify-play", "version": 1, "kind": []})), np.ones((2, 2), order="F")]
    odd += [np.zeros(2, dtype=[("a", "f8")]), np.array([[2**63]], dtype=np.uint64), np.array([], dtype=">i4")]
    others = [_npy(values) for values in odd]
    for _ in range(250):
        members = dict(honest)
        name = rng.choice(list(members))
        change = rng.randrange(5)
        if change == 0:
            members[name] = rng.choice(others)
        elif change == 1:
            members[rng.choice(["meta", "x.npy", name])] = members.pop(name)
        elif change == 2:
            members[name] = members[name][: rng.randrange(len(members[name]))]
        else:
            data = bytearray(members[name])
            for _ in range(rng.choice([1, 2, 8])):
                data[rng.randrange(min(len(data), 140))] = rng.randrange(256)
            members[name] = bytes(data)
        with zipfile.ZipFile(path, "w") as archive:
            for key, value in members.items():
                archive.writestr(key, value)
        if what == "game":
            answer(lambda: read_game(path).sha256)
        answer(lambda: read_play(path, GAME))
        answer(lambda: read_history(path, GAME))


def _npy(values):
    out = io.BytesIO()
    np.lib.format.write_array(out, values, allow_pickle=False)
    return out.getvalue()


def test_csv_logs(tmp_path):
    rng, path = random.Random(5), tmp_path / "log.csv"
    lines = b"type_0,type_1,action_0,action_1\n" + b"0,1,0,1\n0,0,0,0\n" * 6
    odd = [
        b"\r",
        b"\r\n",
        b",",
        b'"',
        b"\0",
        b"-1",
        b"1.5",
        b"9" * 5000,
        b"\xff",
        b"1_0",
        "\u0663".encode(),
        b"x" * 200_000,
    ]
    for _ in range(400):
        data = bytearray(lines)
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(data))
            data[at : at + rng.randrange(4)] = rng.choice(odd)
        path.write_bytes(data)
        answer(lambda: read_play(path, GAME))
        answer(lambda: read_history(path, GAME))


@pytest.mark.parametrize("cell", ["1_0", "\u0661", "0x1", "1e0"])
def test_a_number_in_a_csv_log_is_plain_digits(cell, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(f"type_0,action_0\n0,{cell}\n", encoding="utf-8")
    with pytest.raises(SpverifyError, match="line 2: expected whole numbers"):
        read_play(path, BayesianGame([1], [[[0] * 11]]))


def test_an_archive_that_holds_an_array_twice_is_refused(tmp_path):
    path = tmp_path / "g.npz"
    write_game(DOUBLES, path)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("prior.npy", archive.read("prior.npy"))
    with pytest.raises(SpverifyError, match="prior: stands twice"):
        read_game(path)


def test_parquet_logs(tmp_path):
    pytest.importorskip("pyarrow")
    rng, path = random.Random(6), tmp_path / "log.parquet"
    write_play(PlayLog([[0, 1]] * 30, [[0, 1]] * 30), path)
    honest = path.read_bytes()
    for _ in range(300):
        data = bytearray(honest)
        for _ in range(rng.choice([1, 1, 4])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data if rng.random() < 0.9 else data[: rng.randrange(len(data))])
        answer(lambda: read_play(path, GAME))
        answer(lambda: read_history(path, GAME))


def test_parquet_columns_of_odd_names(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "log.parquet"
    parquet.write_table(arrow.table({"a\nb": [1]}), path)
    with pytest.raises(SpverifyError, match="got a\N{REPLACEMENT CHARACTER}b$"):
        read_play(path, GAME)


def test_numbers_without_a_common_denominator_of_reasonable_length_are_refused(monkeypatch):
    """A few thousand denominators of thousands of digits each would take hours and all memory."""
    monkeypatch.setattr(plain, "MOST_BITS", 1 << 20)
    numbers = [f"1/{10**3000 + k}" for k in range(40)]
    game = {**GAME.to_document(), "prior": [1]}
    del game["feasible"], game["leader"]
    game["players"] = [{"name": "p", "types": ["t"], "actions": [str(k) for k in range(40)]}]
    with pytest.raises(SpverifyError, match="exact numbers have a common denominator of [0-9]+ bits or more"):
        BayesianGame.from_document({**game, "payoffs": [[numbers]]})
    honest = BayesianGame.from_document({**game, "payoffs": [[list(range(40))]]})
    question = {"sense": "upper", "equilibrium_set": "tc", "objective": "welfare", "epsilon": Fraction(0)}
    document = outer_certificate(honest, multipliers=[(0, 0, 0, Fraction(1))], **question).document
    rows = [[0, 0, k, number] for k, number in enumerate(numbers)]
    for check in (kernel.check_certificate, fast_kernel.check_certificate):
        with pytest.raises(SpverifyError, match="40 exact numbers"):
            check({**document, "evidence": {"multipliers": rows}})
