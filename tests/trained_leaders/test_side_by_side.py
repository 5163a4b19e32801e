"""Seeds side by side on each backend, event files, what a killed run leaves, and hyper-parameters as text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spverify.trained_leaders.hyper import Hyper, default_hyper, parse_hyper
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.side_by_side import map_side_by_side
from spverify.trained_leaders.train import train, train_leader
from spverify.verify.errors import UsageError


@pytest.mark.parametrize(("backend", "needs"), [("dask", "distributed"), ("ray", "ray")])
@pytest.mark.filterwarnings("ignore")
def test_clusters_of_this_machine(backend: str, needs: str, tmp_path: Path) -> None:
    """Trainings themselves: Dask hashes what it is given to call, and hung on one that has no hash."""
    pytest.importorskip(needs)
    here = train_leader("conitzer", seeds=[0, 1], mode="enumerate", out=tmp_path / "here.pt")
    there = train_leader("conitzer", seeds=[0, 1], mode="enumerate", out=tmp_path / "a.pt", jobs=2, backend=backend)
    assert [d["value"] for d in there] == [d["value"] for d in here]
    assert read_leader(tmp_path / "a.pt").policy == read_leader(tmp_path / "here.pt").policy


def test_a_misspelt_backend_is_refused_where_one_job_needs_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="backend must be one of loky, ray, dask, got 'slurm'"):
        train_leader("maintain", seeds=[0], out=tmp_path / "leader.pt", backend="slurm")


@pytest.mark.parametrize(("backend", "module"), [("ray", "ray"), ("dask", "distributed")])
def test_a_backend_that_is_not_installed(backend: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=f'pip install "spverify\\[{backend}\\]"'):
        list(map_side_by_side(divmod, [(1, 1)], jobs=2, backend=backend))
    with pytest.raises(UsageError, match="backend must be one of loky, ray, dask, got 'slurm'"):
        list(map_side_by_side(divmod, [(1, 1)], jobs=2, backend="slurm"))


def test_tensorboard_is_named_when_it_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r'event files need TensorBoard: pip install "spverify\[tensorboard\]"'):
        train_leader("maintain", mode="enumerate", out=tmp_path / "a.pt", tensorboard=tmp_path / "events")


def test_event_files_hold_the_records(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train_leader("conitzer", mode="unrolled", out=tmp_path / "a.pt", tensorboard=tmp_path / "events", quick=True)
    records = [json.loads(line) for line in (tmp_path / "a.pt.log.jsonl").read_text().splitlines()[:-1]]
    events = accumulator.EventAccumulator(str(tmp_path / "events" / "seed0"))
    events.Reload()
    told = [(event.step, event.value) for event in events.Scalars("mean")]
    assert told == [(r["total"], pytest.approx(r["mean"], rel=1e-6)) for r in records]


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from spverify.trained_leaders.hyper import default_hyper
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.train import train
world = get_setting("conitzer")
hyper = replace(default_hyper(world), slack=-1.0, restarts=2, iterations=200)
train(world, seed=0, hyper=hyper, state_path=Path(sys.argv[1]), log=Path(sys.argv[2]), save_every=0.0)
"""


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Killed without warning in the middle; its log may be ahead of its state, and is set right."""
    state, log = tmp_path / "a.state", tmp_path / "a.jsonl"
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(state), str(log)])
    while not (log.exists() and len(log.read_text().splitlines()) >= 7):
        assert child.poll() is None
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert state.exists()
    with log.open("a") as stream:
        stream.write('{"total": ')
    setting = get_setting("conitzer")
    hyper = replace(default_hyper(setting), slack=-1.0, restarts=2, iterations=200)
    resumed = train(setting, seed=0, hyper=hyper, state_path=state, log=log, resume=True)
    whole = train(setting, seed=0, hyper=hyper)
    assert not state.exists() and resumed.history == whole.history and resumed.policy == whole.policy
    assert all(np.array_equal(resumed.tensors[k], whole.tensors[k]) for k in whole.tensors)
    assert [json.loads(line) for line in log.read_text().splitlines()] == whole.history


SIDE_BY_SIDE = """
import sys
from spverify.trained_leaders.train import train_leader
if __name__ == "__main__":
    long = {"slack": -1.0, "restarts": 99, "iterations": 9999}
    train_leader("conitzer", seeds=[0, 1], jobs=2, out=sys.argv[1], overrides=long)
"""


def test_ctrl_c_leaves_a_state_of_every_seed_that_was_running(tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(SIDE_BY_SIDE)
    command = [sys.executable, str(tmp_path / "run.py"), str(tmp_path / "a.pt")]
    child = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)
    logs = [tmp_path / f"a.seed{k}.pt.log.jsonl" for k in (0, 1)]
    while not all(log.exists() and log.stat().st_size for log in logs):
        assert child.poll() is None
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does
    assert b"KeyboardInterrupt" in child.communicate()[1]
    assert all((tmp_path / f"a.seed{k}.pt.state").exists() for k in (0, 1))


def test_finished_seeds_are_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    first = train_leader("conitzer", seeds=[0, 1], out=out)
    stamps = [(tmp_path / f"a.seed{k}.pt").stat().st_mtime_ns for k in (0, 1)]
    (tmp_path / "a.seed1.pt.log.jsonl").write_text("cut off")
    again = train_leader("conitzer", seeds=[0, 1], out=out, resume=True)
    assert (tmp_path / "a.seed0.pt").stat().st_mtime_ns == stamps[0]
    assert (tmp_path / "a.seed1.pt").stat().st_mtime_ns > stamps[1]
    assert again[0] == first[0] and again[1]["value"] == first[1]["value"]
    other = train_leader("conitzer", seeds=[0, 1], out=out, resume=True, updates=50)
    assert other[0]["updates"] == 50 and read_leader(tmp_path / "a.seed0.pt").training["horizon"] == 50


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no CUDA device that PyTorch can use here"):
        train_leader("maintain", mode="unrolled", out=tmp_path / "a.pt", overrides={"device": "cuda"})


@given(st.builds(Hyper, restarts=st.integers(1, 99), lr=st.floats(1e-9, 10), critic=st.booleans(),
                 horizons=st.lists(st.integers(1, 999), min_size=1).map(tuple)))  # fmt: skip
def test_hyper_parameters_survive_as_text(hyper: Hyper) -> None:
    texts = {k: ",".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in hyper.document().items()}
    assert Hyper(**parse_hyper(texts)) == hyper


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"retarts": "3"}, "unknown hyper-parameter 'retarts'; the nearest is 'restarts'"),
        ({"restarts": "many"}, "hyper-parameter restarts: expected a whole number, got 'many'"),
        ({"lr": "nan"}, "hyper-parameter lr: expected a number, got 'nan'"),
        ({"critic": "maybe"}, "hyper-parameter critic: expected yes or no, got 'maybe'"),
        ({"horizons": "1;2"}, "hyper-parameter horizons: expected whole numbers such as 1,10,100, got '1;2'"),
    ],
)
def test_texts_that_are_no_hyper_parameters(given_: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_hyper(given_)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.0}, "lr must be positive"),
        ({"epsilon": -0.1}, "epsilon must be positive"),
        ({"gap_weight": -1.0}, "gap_weight must not be negative"),
        ({"elite": 1.5}, "elite must be from 0 to 1"),
        ({"horizons": ()}, "horizons must be whole numbers of at least 1"),
        ({"hidden": (0,)}, "hidden must be whole numbers of at least 1"),
    ],
)
def test_hyper_parameters_out_of_range(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Hyper(**changes)  # type: ignore[arg-type]
