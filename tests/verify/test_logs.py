"""Logs in every file form read back as written, whole or streamed, and bad ones are refused with their place."""

import json
import sys
import zipfile

import numpy as np
import pytest

from spverify.verify.errors import SpverifyError, UsageError
from spverify.verify.formats import logs, read_play, write_play
from spverify.verify.formats.logs import read_history, read_log, stream_log
from spverify.verify.game import BayesianGame
from spverify.verify.play import ConditionalPlay, PlayLog

GAME = BayesianGame(np.full((2, 12), 1 / 24), [np.zeros((2, 12, 3, 11)), np.ones((2, 12, 3, 11))])
FORMS = [".csv", ".npz", ".json", ".parquet"]


def some_log(rounds=1000, high=True):
    rng = np.random.default_rng(0)
    sizes = (2, 12, 3, 11) if high else (2, 9, 3, 9)
    values = np.stack([rng.integers(0, k, rounds) for k in sizes], axis=1)
    return PlayLog(values[:, :2], values[:, 2:])


def needs(suffix):
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")


@pytest.mark.parametrize("suffix", FORMS)
@pytest.mark.parametrize("high", [False, True], ids=["single digits", "two digits"])
def test_logs_read_back_as_written(suffix, high, tmp_path, monkeypatch):
    needs(suffix)
    monkeypatch.setattr(logs, "CHUNK_BYTES", 100)
    monkeypatch.setattr(logs, "CHUNK_ROUNDS", 7)
    log, path = some_log(high=high), tmp_path / f"log{suffix}"
    write_play(log, path)
    for again in (read_play(path, GAME), read_log(path, GAME)):
        assert again.kind == "log"
        np.testing.assert_array_equal(again.types, log.types)
        np.testing.assert_array_equal(again.actions, log.actions)
    chunks = list(stream_log(path, GAME))
    assert len(chunks) > 1 or suffix == ".json"
    total = read_history(path, GAME).total
    np.testing.assert_array_equal(log.counts(GAME).ravel()[total.cells], total.times)
    assert total.rounds == 1000


@pytest.mark.parametrize(
    "text",
    [
        "type_0,type_1,action_0,action_1\r\n0,1,2,3\r\n1,11,0,10\r\n",
        "type_0, type_1, action_0, action_1\n0, 1, 2, 3\n1,11,0,10",
        '\ufefftype_0,"type_1",action_0,action_1\n"0",1,2,3\n\n1,11,+0,10\n\n',
        "type_0,type_1,action_0,action_1\n00,01,02,000000000003\n1,11,0,10\n",
    ],
    ids=["windows", "blanks", "quotes and empty lines", "leading zeros"],
)
def test_csv_dialects(text, tmp_path):
    path = tmp_path / "log.csv"
    path.write_bytes(text.encode())
    log = read_log(path, GAME)
    assert log.types.tolist() == [[0, 1], [1, 11]]
    assert log.actions.tolist() == [[2, 3], [0, 10]]


HEAD = "type_0,type_1,action_0,action_1\n"
FINE = "0,1,2,3\n" * 30
BAD_CSV = {
    "columns": ("type_0,action_0\n0,0\n", "line 1: expected the columns type_0,type_1,action_0,action_1"),
    "too few": (HEAD + FINE + "0,1,2\n", "line 32: expected 4 numbers, got 3"),
    "a word": (HEAD + FINE + "0,1,2,x\n", "line 32: expected whole numbers, got '0,1,2,x'"),
    "a fraction": (HEAD + FINE + "0,1,2,0.5\n", "line 32: expected whole numbers"),
    "out of range": (HEAD + FINE + "0,1,2,11\n", "rounds[30][1][1]: expected an action index from 0 to 10, got 11"),
    "negative": (HEAD + FINE + "0,-1,2,1\n", "rounds[30][0][1]: expected a type index from 0 to 11, got -1"),
    "enormous": (HEAD + FINE + "0,1,2," + "9" * 30 + "\n", "rounds[30][1][1]: expected an action index from 0 to 10"),
    "no rounds": (HEAD, "rounds: expected a non-empty list of rounds"),
    "empty": ("", "line 1: expected the columns"),
    "not text": (b"type_0,type_1,action_0,action_1\n0,1,2,\xff\n", "expected CSV text in UTF-8"),
}


@pytest.mark.parametrize("name", BAD_CSV)
@pytest.mark.parametrize("chunk", [10, 1 << 20])
def test_bad_csv_names_its_place(name, chunk, tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "CHUNK_BYTES", chunk)
    text, words = BAD_CSV[name]
    path = tmp_path / "log.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for read in (read_log, read_history, read_play):
        with pytest.raises(SpverifyError) as caught:
            read(path, GAME)
        assert str(caught.value).startswith(f"{path}: {words}")


def npz(path, **arrays):
    meta = json.dumps({"format": "spverify-play", "version": 1, "kind": "log"})
    np.savez(path, **{"meta": np.array(meta), **arrays})
    return path


GOOD = {"types": np.zeros((5, 2), np.uint8), "actions": np.zeros((5, 2), np.int32)}
BAD_NPZ = {
    "floats": ({"types": np.zeros((5, 2))}, "types: expected whole numbers, got numpy dtype float64"),
    "axes": ({"types": np.zeros((5, 3), int)}, "types: expected axes (round, player) with 2 players"),
    "lengths": ({"types": np.zeros((4, 2), int)}, "actions: expected as many types as actions, got 4 and 5"),
    "unknown": ({"colour": np.zeros(1)}, "colour: unknown array"),
    "range": ({"types": np.full((5, 2), 2**64 - 1, np.uint64)}, "rounds[0][0][0]: expected a type index from 0 to 1"),
    "none": ({"types": np.zeros((0, 2), int), "actions": np.zeros((0, 2), int)}, "rounds: expected a non-empty list"),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_npz_names_its_place(name, tmp_path):
    arrays, words = BAD_NPZ[name]
    path = npz(tmp_path / "log.npz", **{**GOOD, **arrays})
    for read in (read_log, read_history, read_play):
        with pytest.raises(SpverifyError) as caught:
            read(path, GAME)
        assert str(caught.value).startswith(f"{path}: {words}")


def test_damaged_npz(tmp_path):
    path = npz(tmp_path / "log.npz", **GOOD)
    data = path.read_bytes()
    for bad in (data[:-40], b"PK" + data[2:300], b"nothing"):
        path.write_bytes(bad)
        for read in (read_log, read_play):
            with pytest.raises(SpverifyError, match="archive"):
                read(path, GAME)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("types.npy", b"")
    with pytest.raises(SpverifyError, match="is missing"):
        read_log(path, GAME)


@pytest.mark.parametrize("bad", ["true", "1.0", '"1"', "99999999999999999999", "null", "[1]"])
def test_bad_json_logs(bad, tmp_path):
    path = tmp_path / "log.json"
    rounds = "[[0, 1], [2, 3]], " * 3 + f"[[0, {bad}], [2, 3]]"
    path.write_text(f'{{"format": "spverify-play", "version": 1, "kind": "log", "rounds": [{rounds}]}}')
    for read in (read_log, read_play):
        with pytest.raises(SpverifyError, match=r"rounds\[3\]\[0\]\[1\]"):
            read(path, GAME)


def test_only_logs_are_read_as_logs(tmp_path):
    path = tmp_path / "p.json"
    write_play(ConditionalPlay(np.full((2, 12, 3, 11), 1 / 33)), path)
    with pytest.raises(SpverifyError, match='kind "log"'):
        read_log(path, GAME)


def test_bad_parquet(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    names, path = logs.column_names(2), tmp_path / "log.parquet"
    cases = [
        ({name: [0] for name in names[:3]}, "expected the columns"),
        ({name: [0.5] for name in names}, "type_0: expected whole numbers, got double"),
        (
            {name: [0, None if name == "action_1" else 0] for name in names},
            "action_1[1]: expected a whole number, found nothing",
        ),
        ({name: [0, 5] for name in names}, "rounds[1][0][0]: expected a type index from 0 to 1, got 5"),
    ]
    for columns, words in cases:
        parquet.write_table(pyarrow.table(columns), path)
        with pytest.raises(SpverifyError) as caught:
            read_play(path, GAME)
        assert str(caught.value).startswith(f"{path}: {words}")
    path.write_bytes(b"PAR1 nothing")
    with pytest.raises(SpverifyError, match="expected a Parquet file"):
        read_play(path, GAME)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r'pip install "spverify\[parquet\]"'):
        write_play(some_log(), tmp_path / "log.parquet")


@pytest.mark.parametrize("suffix", FORMS)
def test_a_missing_file_is_one_sentence(suffix, tmp_path):
    needs(suffix)
    with pytest.raises(SpverifyError, match="no such file"):
        read_play(tmp_path / f"log{suffix}", GAME)
    with pytest.raises(SpverifyError, match="no such file"):
        read_history(tmp_path / f"log{suffix}", GAME)
