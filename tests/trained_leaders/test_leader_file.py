"""Hostile and damaged leader files: each is refused with one sentence that names the rule (engines E7)."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spverify.trained_leaders.checkpoint import save_leader_table, write_leader
from spverify.trained_leaders.leader_file import MAX_FILE_BYTES, parse_leader_bytes, read_leader
from spverify.trained_leaders.policy import Actor
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.verify.errors import LeaderFileError, SettingError, UnreadableError

SETTING = get_setting("simple-allocation-3")


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small network leader that says items 0, 2, 1."""
    actor = Actor(SETTING.legal, (4,))
    actor.imitate(np.where(np.array([0, 2, 1])[:, None] == np.arange(3), 4.0, -4.0))
    policy = {"kind": "network", "leader_action": "pure", "table": [0, 2, 1], "hidden": [4], "activation": "relu"}
    path = tmp_path_factory.mktemp("leader") / "honest.pt"
    write_leader(path, setting=SETTING, policy=policy, tensors=actor.arrays(), training={"seed": 3, "horizon": 100})
    return path.read_bytes()


def saved(document: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return buffer.getvalue()


def document(honest: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(honest), weights_only=True)


def changed(honest: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    found = document(honest)
    change(found)
    return saved(found)


def rezipped(honest: bytes, method: int, replace: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(honest)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, (replace or {}).get(entry.filename, old.read(entry)))
    return buffer.getvalue()


def refuse(tmp_path: Path, data: bytes, message: str) -> None:
    """Refused by the reader and by the whole inspection, in one sentence that names the file."""
    path = tmp_path / "bad.pt"
    path.write_bytes(data)
    with pytest.raises(LeaderFileError, match=message) as caught:
        read_leader(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    with pytest.raises(LeaderFileError, match=message):
        inspect_leader(path)


def test_an_honest_file_is_read_by_us_and_by_torch(tmp_path: Path, honest: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(honest)
    leader = read_leader(path)
    assert leader.setting == "simple-allocation-3" and leader.policy["table"] == [0, 2, 1]
    ours, theirs = leader.tensors, document(honest)["tensors"]
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy())
    assert leader.size == len(honest) and len(honest) < 100_000


def test_a_file_torch_wrote_again_is_still_honest(tmp_path: Path, honest: bytes) -> None:
    path = tmp_path / "again.pt"
    torch.save(document(honest), path)  # another archive name inside
    assert read_leader(path).policy["table"] == [0, 2, 1]


def test_the_same_leader_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        save_leader_table(tmp_path / name, "maintain", [0])
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"a leader, honestly\n", "not a leader file: expected a torch zip archive"),
        (pickle.dumps({"format": "spverify-leader"}), "not a leader file"),
        (b"PK\x03\x04" + b"\0" * 60, "truncated or damaged"),
    ],
    ids=["empty", "text", "pickle", "zip-start"],
)
def test_other_files(tmp_path: Path, data: bytes, message: str) -> None:
    refuse(tmp_path, data, message)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    for read in (read_leader, inspect_leader):
        with pytest.raises(UnreadableError, match="cannot be read"):
            read(tmp_path / "none.pt")
        with pytest.raises(UnreadableError, match="cannot be read"):
            read(tmp_path)


def test_every_truncation_is_refused(honest: bytes) -> None:
    for length in range(0, len(honest), 7):
        with pytest.raises(LeaderFileError):
            parse_leader_bytes(honest[:length])


def test_every_flipped_bit_is_refused(honest: bytes) -> None:
    """Not only in the members: headers, padding, directory and end records too."""
    for position in range(len(honest)):
        flipped = bytearray(honest)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises(LeaderFileError):
            parse_leader_bytes(bytes(flipped))


def test_bytes_before_and_after_are_refused(tmp_path: Path, honest: bytes) -> None:
    refuse(tmp_path, honest + b"\0", "truncated or damaged|bytes between")
    refuse(tmp_path, b"#!" + honest, "not a leader file")


def test_too_large(tmp_path: Path, honest: bytes) -> None:
    path = tmp_path / "large.pt"
    with path.open("wb") as stream:
        stream.write(honest)
        stream.truncate(MAX_FILE_BYTES + 1)  # sparse: nothing is really written
    with pytest.raises(LeaderFileError, match=f"larger than {MAX_FILE_BYTES} bytes"):
        read_leader(path)


def test_compressed_members_and_bombs(tmp_path: Path, honest: bytes) -> None:
    refuse(tmp_path, rezipped(honest, zipfile.ZIP_DEFLATED), "is compressed; only stored members are allowed")
    bomb = rezipped(honest, zipfile.ZIP_DEFLATED, {"archive/data/0": b"\0" * 50_000_000})
    assert len(bomb) < 100_000
    refuse(tmp_path, bomb, "is compressed")


def test_overlapping_members(tmp_path: Path, honest: bytes) -> None:
    """Two directory entries that point at the same bytes: the stored form of a bomb."""
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        offsets = {e.filename: e.header_offset for e in archive.infolist()}
        start = archive.start_dir
    data = bytearray(honest)
    place = start
    while data[place : place + 4] == b"PK\x01\x02":
        name_length = struct.unpack("<H", data[place + 28 : place + 30])[0]
        if data[place + 46 : place + 46 + name_length] == b"archive/data/1":
            data[place + 42 : place + 46] = struct.pack("<I", offsets["archive/data/0"])
        place += 46 + name_length
    refuse(tmp_path, bytes(data), "damaged|changed")


def test_plainly_stored_zips_that_torch_did_not_write(tmp_path: Path, honest: bytes) -> None:
    refuse(tmp_path, rezipped(honest, zipfile.ZIP_STORED), "header torch.save does not write|were changed")


def test_unexpected_and_too_many_members(tmp_path: Path, honest: bytes) -> None:
    buffer = io.BytesIO(honest)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("archive/code/run.py", "print(1)")
    refuse(tmp_path, buffer.getvalue(), "unexpected member 'archive/code/run.py'")
    refuse(tmp_path, saved([torch.zeros(1) for _ in range(200)]), "members; at most 128 are allowed")


class Payload:
    """What an attacker would pickle."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def test_code_in_the_pickle_is_named_and_never_runs(tmp_path: Path, honest: bytes) -> None:
    victim = tmp_path / "made-by-the-attacker"
    refuse(tmp_path, saved({"format": Payload(str(victim))}), r"the pickle names posix\.mkdir, which is not allowed")
    refuse(tmp_path, changed(honest, lambda d: d["claims"].update(value=Payload(str(victim)))), "not allowed")
    refuse(tmp_path, saved(torch.nn.Linear(2, 2)), "not allowed")
    assert not victim.exists()


def test_opcodes_outside_the_list(tmp_path: Path) -> None:
    refuse(tmp_path, saved({"a": {1, 2}}), "not allowed")
    refuse(tmp_path, saved({"a": b"raw"}), "not allowed")
    refuse(tmp_path, saved({"a": 1 + 2j}), "not allowed")


def bomb_of_shared_lists() -> Any:
    """A few hundred bytes that a recursive walker would take 2^40 steps to walk."""
    inner: Any = []
    for _ in range(40):
        inner = [inner, inner]
    return inner


def test_shared_and_cyclic_containers(tmp_path: Path, honest: bytes) -> None:
    data = saved({"format": "spverify-leader", "claims": bomb_of_shared_lists()})
    assert len(data) < 3000
    refuse(tmp_path, data, "appears in more than one place|deeper than")
    ring: list[Any] = []
    ring.append(ring)
    refuse(tmp_path, saved({"claims": ring}), "appears in more than one place")
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    refuse(tmp_path, saved({"claims": deep}), "deeper than")


def with_tensor(tensor: torch.Tensor, name: str = "actor.0.weight") -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        found["tensors"][name] = tensor

    return change


def strided() -> torch.Tensor:
    """Four terabytes that take a few bytes on disk."""
    return torch.zeros(1).expand(10**6, 10**6)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (strided(), "is no dense view of 1 numbers"),
        (torch.zeros(4, 3).T, "is no dense view"),
        (torch.zeros(9)[2:], "is no dense view"),
        (torch.zeros(2, 2, 2), "at most two plain dimensions"),
        (torch.full((4, 3), float("nan")), "holds NaN or infinite numbers"),
        (torch.full((4, 3), float("inf")), "holds NaN or infinite numbers"),
        (torch.zeros(4, 3, dtype=torch.float16), "torch.HalfStorage, which is not allowed"),
        (torch.zeros(4, 3, requires_grad=True), "carries gradients or hooks"),
        (torch.zeros(4, 3, dtype=torch.float64), r"tensors.actor.0.weight: expected float32 \(4, 3\), got float64"),
        (torch.zeros(5, 3), r"tensors.actor.0.weight: expected float32 \(4, 3\), got float32 \(5, 3\)"),
    ],
    ids=["stride-0", "transposed", "offset", "3d", "nan", "inf", "half", "grad", "double", "shape"],
)
def test_tensors_that_are_not_plain(tmp_path: Path, honest: bytes, tensor: torch.Tensor, message: str) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(changed(honest, with_tensor(tensor)))
    with pytest.raises(LeaderFileError, match=message):
        inspect_leader(path)


def test_tensors_that_share_or_are_missing(tmp_path: Path, honest: bytes) -> None:
    def share(found: dict[str, Any]) -> None:
        found["tensors"]["copy"] = found["tensors"]["actor.0.weight"].view(-1)

    refuse(tmp_path, changed(honest, share), "two tensors share the storage")
    path = tmp_path / "bad.pt"
    path.write_bytes(changed(honest, lambda d: d["tensors"].pop("actor.1.bias")))
    with pytest.raises(LeaderFileError, match=r"tensors.actor.1.bias: missing or unknown tensor"):
        inspect_leader(path)
    refuse(tmp_path, changed(honest, lambda d: d.update(claims={"value": torch.zeros(1)})), "a tensor stands outside")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "format: expected format 'spverify-leader', got 'other'"),
        (lambda d: d.update(version=2), "version: expected version 1, got 2"),
        (lambda d: d.update(extra=1), "extra: unknown field"),
        (lambda d: d.pop("claims"), "claims: a required field is missing"),
        (lambda d: d["training"].update(colour="red"), "training.colour: unknown field"),
        (lambda d: d["training"].update(seed="3"), "training.seed: expected a whole number, got text"),
        (
            lambda d: d["training"].update(followers={"updates": 3}),
            "training.followers.epsilon: a required field is missing",
        ),
        (lambda d: d["claims"].update(value={"mode": 1.0}), "claims.value.mode: unknown field"),
        (lambda d: d["claims"].update(value={"last": float("nan")}), "claims.value.last: expected a finite number"),
        (lambda d: d["policy"].update(kind="oracle"), "policy.kind: expected 'table' or 'network'"),
        (lambda d: d["policy"].update(activation="sin"), "policy.activation: expected 'relu' or 'tanh'"),
        (lambda d: d["policy"].update(hidden=[4, 10**9]), "policy.hidden: expected at most 4 widths"),
        (lambda d: d["policy"].update(rows=[]), "a pure leader must have 'policy.table' only"),
        (lambda d: d["policy"].update(kind="table"), "must have"),
        (lambda d: d["setting"].update(parameters={1: 2}), "a key is not text"),
        (lambda d: d["training"].update(seed=2**70), "does not fit 64 bits"),
    ],
)
def test_wrong_documents(tmp_path: Path, honest: bytes, change: Callable[[dict[str, Any]], None], message: str) -> None:
    refuse(tmp_path, changed(honest, change), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d["setting"].update(name="simple-alocation-3"),
            "setting: unknown setting 'simple-alocation-3'; the nearest is",
        ),
        (
            lambda d: d["setting"].update(parameters={"messages": 2}),
            "setting: setting 'simple-allocation-3' has no parameter",
        ),
        (lambda d: d["policy"].update(table=[0, 1]), "policy.table: .* expected 3 actions, one each, got 2"),
        (lambda d: d["policy"].update(table=[0, 1, 3]), "policy.table: .* entry 2 of the table: expected 0..2, got 3"),
        (lambda d: d["policy"].update(table=[0, 1, "2"]), "policy.table: expected action indices"),
    ],
)
def test_documents_that_do_not_fit_their_setting(
    tmp_path: Path, honest: bytes, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(changed(honest, change))
    with pytest.raises(LeaderFileError, match=message):
        inspect_leader(path)


def test_what_we_would_refuse_to_read_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "never.pt"
    with pytest.raises(LeaderFileError, match=r"training\.mood: unknown field"):
        save_leader_table(path, "maintain", [0], training={"mood": "good"})
    with pytest.raises(SettingError, match="commits to pure actions, not to mixtures"):
        save_leader_table(path, "mspm-pi", [["1/2", "1/2"]])
    assert not path.exists()
