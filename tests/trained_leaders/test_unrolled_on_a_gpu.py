"""Mode "unrolled" on a device that is not the CPU (`far_device`): what goes there stays there, and comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spverify.trained_leaders.hyper import Hyper, default_hyper
from spverify.trained_leaders.settings import Setting, get_setting
from spverify.trained_leaders.train import train

from .far_device import Far, far_device


def short(setting: Setting, **changes: Any) -> Hyper:
    return replace(
        default_hyper(setting, mode="unrolled", leader_action=changes.pop("leader_action", "pure")),
        **{"batch": 3, "iterations": 3, "restarts": 1, "slack": -1.0, **changes},
    )


def elsewhere(hyper: Hyper, device: str) -> Hyper:
    """The same on a device whose name users cannot give."""
    moved = replace(hyper)
    object.__setattr__(moved, "device", device)
    return moved


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("maintain", {}),
        ("maintain", {"leader_action": "mixture", "readout": "empirical"}),
        ("mspm-pi", {"updates": 3, "horizons": (1, 2), "readout": "last"}),
        ("matrix-design", {"updates": 3, "horizons": (1,), "objective": "episode"}),
    ],
)
def test_the_same_leader_as_on_the_cpu(name: str, changes: dict[str, Any]) -> None:
    setting = get_setting(name)
    hyper = short(setting, **changes)
    here = train(setting, seed=0, hyper=hyper)
    with far_device() as device:
        there = train(setting, seed=0, hyper=elsewhere(hyper, device))
    assert np.array_equal(here.table, there.table)
    for name in ("mean", "entropy", "best"):
        assert [r[name] for r in there.history] == pytest.approx([r[name] for r in here.history], rel=1e-9)
    assert not torch.are_deterministic_algorithms_enabled()


class Enough(Exception):
    pass


def test_what_a_killed_run_left_is_taken_up_there_and_read_anywhere(tmp_path: Path) -> None:
    setting, path = get_setting("maintain"), tmp_path / "state"

    def stop(record: dict[str, Any]) -> None:
        if record["total"] == 2:
            raise Enough

    with far_device() as device:
        hyper = elsewhere(short(setting, restarts=2), device)
        whole = train(setting, seed=0, hyper=hyper)
        with pytest.raises(Enough):
            train(setting, seed=0, hyper=hyper, state_path=path, save_every=0.0, progress=stop)
        resumed = train(setting, seed=0, hyper=hyper, state_path=path, resume=True)
    assert resumed.history == whole.history and np.array_equal(resumed.table, whole.table)
    with pytest.raises(Enough), far_device():
        train(setting, seed=0, hyper=hyper, state_path=path, save_every=0.0, progress=stop)
    state = torch.load(path, weights_only=True)  # where there is no such device
    assert state["learner"]["logits"].device.type == "cpu"


def test_the_device_refuses_what_a_gpu_refuses() -> None:
    with far_device() as device:
        here, there = torch.ones(3), torch.ones(3).to(device)
        assert isinstance(there + 1, Far) and float((there + there.sum()).max()) == 4
        assert there[torch.tensor([0, 2])].cpu().tolist() == [1, 1]
        with pytest.raises(RuntimeError, match="cuda:0 and cpu"):
            there + here
        with pytest.raises(RuntimeError, match="expected to be in the same device"):
            torch.zeros(2).to(device).index_add(0, torch.tensor([0, 1, 1]), there)
        with pytest.raises(RuntimeError, match="numpy"):
            there.numpy()
