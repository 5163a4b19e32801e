"""Leaders trained elsewhere: what is saved, what perturbation sees, and what is refused."""

from __future__ import annotations

import warnings
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spverify.trained_leaders.checkpoint import save_leader_table, write_leader
from spverify.trained_leaders.foreign import SavedLeader, save_leader
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.verify.errors import LeaderFileError, SettingError, UsageError

SETTING = "simple-allocation-3"


def save(policy: Any, folder: Path, **options: Any) -> tuple[SavedLeader, dict[str, Any]]:
    """The answer, and the policy that the file then holds."""
    path = folder / "mine.pt"
    saved = save_leader(policy, **{"setting": SETTING, "path": path, **options})
    return saved, read_leader(path).policy


def changed(saved: SavedLeader) -> set[str]:
    return {probe.name for probe in saved.probes if probe.changed}


def network(*, seed: int = 0, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), activation(), nn.Linear(8, 3))


class Wrapped(nn.Module):
    """A module of a class of its own: what it does in `forward` only running it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 3)
        self.calls = 0
        with torch.no_grad():
            self.inner.weight.copy_(torch.eye(3).roll(1, 0))

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return self.inner(seen)


class Stateful(Wrapped):
    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return super().forward(seen).roll(self.calls // 4, 1)


class Crowded(Wrapped):
    """Looks at what else is in the batch."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return super().forward(seen) + 5 * seen[0]


class Curious(Wrapped):
    """Looks past the observation."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return super().forward(seen[:, :3]) + 10 * seen[:, 3:].sum(dim=1, keepdim=True) * torch.eye(3)[0]


class Lottery(Wrapped):
    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        return super().forward(seen) + 3 * torch.randn(len(seen), 3)


class Forgetful(Wrapped):
    """Another policy in training mode."""

    def forward(self, seen: torch.Tensor) -> torch.Tensor:
        scores = super().forward(seen)
        return scores.flip(1) if self.training else scores


# ------------------------------------------------------------------------------------ what is saved


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_a_plain_network_is_saved_with_its_weights(tmp_path: Path, activation: type[nn.Module]) -> None:
    module = network(activation=activation).train()
    saved, policy = save(module, tmp_path)
    assert saved.structural and saved.committed and module.training
    assert policy["kind"] == "network" and policy["hidden"] == [8]
    assert policy["table"] == module(torch.eye(3)).argmax(dim=1).tolist()
    found = inspect_leader(saved.path)
    assert found.network_agrees and found.commitment["origin"]["source"] == "torch.nn.modules.container.Sequential"


@pytest.mark.parametrize("hidden", [[], [4, 4]])
def test_other_depths(tmp_path: Path, hidden: list[int]) -> None:
    widths = [3, *hidden, 3]
    parts: list[nn.Module] = []
    for a, b in pairwise(widths):
        parts += [nn.Linear(a, b, bias=False), nn.ReLU()]
    saved, policy = save(nn.Sequential(*parts[:-1]), tmp_path)
    assert saved.structural and policy["hidden"] == hidden


def test_a_mixture_is_the_softmax(tmp_path: Path) -> None:
    module = network()
    saved, policy = save(module, tmp_path, leader_action="mixture")
    rows = [[float(p.partition("/")[0]) / float(p.partition("/")[2] or 1) for p in row] for row in policy["rows"]]
    assert saved.structural and np.allclose(rows, torch.softmax(module(torch.eye(3)), 1).detach(), atol=3e-6)
    wrapped, policy = save(lambda seen: module(torch.from_numpy(seen)), tmp_path, leader_action="mixture")
    assert not wrapped.structural and wrapped.committed and policy["kind"] == "table"


@pytest.mark.parametrize(
    "module",
    [
        Wrapped(),
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
        nn.Sequential(nn.Linear(3, 2000), nn.ReLU(), nn.Linear(2000, 3)),
        nn.Sequential(nn.Linear(3, 3), nn.Softmax(dim=1)),
    ],
    ids=["own class", "two activations", "too wide", "odd end"],
)
def test_any_other_module_is_saved_as_a_table(tmp_path: Path, module: nn.Module) -> None:
    saved, policy = save(module, tmp_path)
    assert not saved.structural and saved.committed
    assert policy["kind"] == "table" and policy["table"] == module(torch.eye(3)).argmax(dim=1).tolist()
    assert [probe.name for probe in saved.probes] == ["repeat", "order", "single", "mode"]


def test_a_module_in_double_precision(tmp_path: Path) -> None:
    saved, _ = save(nn.Sequential(nn.Linear(3, 3)).double(), tmp_path)
    assert saved.structural and saved.committed


def test_functions_of_indices_and_of_own_encodings(tmp_path: Path) -> None:
    saved, policy = save(lambda seen: (seen + 1) % 3, tmp_path, encoding="index")
    assert policy["table"] == [1, 2, 0] and saved.committed
    assert "<lambda>" in saved.source and policy["origin"]["encoding"] == "index"
    rows = np.array([[0.0, 2.0], [1.0, 1.0], [2.0, 0.0]])
    _, policy = save(lambda seen: seen[:, 0].astype(int), tmp_path, encoding=rows)
    assert policy["table"] == [0, 1, 2]


def test_the_three_ways_give_one_mechanism(tmp_path: Path) -> None:
    module = network()
    table = module(torch.eye(3)).argmax(dim=1).tolist()
    save_leader(module, setting=SETTING, path=tmp_path / "a.pt")
    save_leader(lambda seen: np.array(table)[seen], setting=SETTING, path=tmp_path / "b.pt", encoding="index")
    save_leader_table(tmp_path / "c.pt", SETTING, table)
    found = [inspect_leader(tmp_path / name) for name in ("a.pt", "b.pt", "c.pt")]
    assert found[0].rows == found[1].rows == found[2].rows
    assert len({leader.game.sha256 for leader in found}) == 1


# ------------------------------------------------------------------------------------ what perturbation sees


@pytest.mark.parametrize(
    ("module", "options", "seen"),
    [
        (Stateful(), {}, {"repeat", "order", "single"}),
        (Crowded(), {}, {"order", "single"}),
        (Curious(), {"outside": 2}, {"outside"}),
        (nn.Sequential(Lottery(), nn.Linear(3, 3)), {}, {"repeat", "order", "single"}),
        (Lottery(), {}, {"repeat", "order", "single"}),
        (Forgetful(), {}, {"mode"}),
        (nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.9), nn.Linear(64, 3)), {}, {"mode"}),
    ],
    ids=["memory", "batch", "outside", "chance inside", "chance", "mode", "dropout"],
)
def test_what_is_no_commitment_is_seen(
    tmp_path: Path, module: nn.Module, options: dict[str, Any], seen: set[str]
) -> None:
    torch.manual_seed(1)
    saved, policy = save(module, tmp_path, **options)
    assert not saved.structural and not saved.committed
    assert seen <= changed(saved) <= seen | {"mode"}
    recorded = {name for name, _, count, _ in policy["origin"]["probes"] if count}
    assert recorded == changed(saved)


def test_a_module_that_ignores_what_lies_outside_is_committed(tmp_path: Path) -> None:
    saved, _ = save(lambda seen: seen[:, :3], tmp_path, outside=4)
    assert saved.committed and "outside" in {probe.name for probe in saved.probes}


# ------------------------------------------------------------------------------------ actions that are not legal


def test_actions_that_are_not_legal(tmp_path: Path) -> None:
    world = get_setting("mspm-pi")
    at = int(world.legal.all(axis=1).argmin())
    wrong = int(world.legal[at].argmin())
    scores = np.where(np.arange(len(world.actions)) == wrong, 2.0, 0.0) + np.arange(len(world.actions)) * 1e-3
    policy = lambda seen: np.tile(scores, (len(seen), 1))  # noqa: E731
    with pytest.raises(UsageError, match=r"is not legal there: say illegal='mask'"):
        save(policy, tmp_path, setting=world)
    _, masked = save(policy, tmp_path, setting=world, illegal="mask")
    _, lowest = save(policy, tmp_path, setting=world, illegal="lowest")
    legal = np.flatnonzero(world.legal[at])
    assert masked["table"][at] == legal[-1] and lowest["table"][at] == legal[0]
    assert masked["origin"]["illegal"] == "mask"


# ------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("policy", "options", "sentence"),
    [
        (3, {}, "expected a policy that can be called, got int"),
        (lambda seen: seen[:, :2], {}, r"answers float32 of shape \(3, 2\): expected scores of shape \(3, 3\)"),
        (lambda seen: seen * np.nan, {}, "answers NaN or infinite scores"),
        (lambda seen: np.full(len(seen), 7), {}, r"answers 7: expected actions 0..2"),
        (lambda seen: 1 / 0, {}, "failed on a batch of 3 observations: ZeroDivisionError"),
        (lambda seen: seen, {"leader_action": "stochastic"}, "leader_action must be pure or mixture"),
        (lambda seen: seen, {"illegal": "x"}, "illegal must be one of refuse, mask, lowest"),
        (lambda seen: seen, {"outside": -1}, "outside must be at least 0"),
        (lambda seen: seen, {"encoding": "binary"}, "encoding must be 'one-hot', 'index' or an array"),
        (lambda seen: seen, {"encoding": np.eye(2)}, "expected 3 rows, one an observation, got 2"),
        (lambda seen: seen, {"encoding": "index", "outside": 1}, "one flat row an observation"),
    ],
)
def test_refusals(tmp_path: Path, policy: Any, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        save(policy, tmp_path, **options)
    assert not (tmp_path / "mine.pt").exists()


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="unknown setting"):
        save(lambda seen: seen, tmp_path, setting="simple-alocation")


@pytest.mark.parametrize(
    ("origin", "sentence"),
    [
        ({}, "policy.origin.source: a required field is missing"),
        ({"source": "x", "probes": [["repeat", 3, 4, 0.0]]}, r"policy.origin.probes\[0\]: expected"),
        (
            {"source": "x", "probes": [["repeat", 3, 0, 0.0], ["repeat", 3, 0, 0.0]]},
            r"policy.origin.probes\[1\]: expected",
        ),
        ({"source": "x", "probes": [["magic", 3, 0, 0.0]]}, "each name of repeat, order"),
        ({"source": "x" * 201, "probes": []}, "policy.origin.source: expected at most 200 printable"),
        ({"source": "x\n", "probes": []}, "policy.origin.source: expected at most 200 printable"),
        ({"source": "x", "probes": [], "code": "y"}, "policy.origin.code: unknown field"),
    ],
)
def test_damaged_records_are_refused(tmp_path: Path, origin: dict[str, Any], sentence: str) -> None:
    policy = {"kind": "table", "leader_action": "pure", "table": [0], "origin": origin}
    with pytest.raises(LeaderFileError, match=sentence):
        write_leader(tmp_path / "x.pt", setting=get_setting("maintain"), policy=policy)


def test_a_stable_baselines_archive_is_never_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data", "pytorch_variables.pth", "policy.pth", "policy.optimizer.pth"):
            archive.writestr(name, b"\x80\x04cos\nsystem\n")
    with pytest.raises(LeaderFileError, match=r"holds pickled objects and is never opened; export .*save_leader"):
        inspect_leader(path)


# ------------------------------------------------------------------------------------ Stable-Baselines3


@pytest.fixture(scope="module")
def sb3_model() -> Any:
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    gymnasium = pytest.importorskip("gymnasium")

    class Match(gymnasium.Env):  # type: ignore[misc,name-defined]
        """Gives 1 for the action that equals the observation."""

        observation_space = gymnasium.spaces.Discrete(3)
        action_space = gymnasium.spaces.Discrete(3)

        def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[int, dict[str, Any]]:
            super().reset(seed=seed)
            self.seen = int(self.np_random.integers(3))
            return self.seen, {}

        def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
            return self.seen, float(action == self.seen), True, False, {}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stable_baselines3.PPO("MlpPolicy", Match(), n_steps=64, batch_size=64, seed=0, device="cpu")
        model.learn(64)
    return model


def test_a_stable_baselines_policy_is_saved_with_its_weights(sb3_model: Any, tmp_path: Path) -> None:
    saved, policy = save(sb3_model, tmp_path)
    assert saved.structural and saved.committed and saved.source.startswith("stable_baselines3.")
    assert policy["hidden"] == [64, 64] and policy["activation"] == "tanh"
    assert policy["table"] == [int(sb3_model.predict(np.array(o), deterministic=True)[0]) for o in range(3)]
    again, policy = save(sb3_model.policy, tmp_path, leader_action="mixture")
    assert again.structural and inspect_leader(again.path).network_agrees
    with pytest.raises(UsageError, match="encodes for itself"):
        save(sb3_model, tmp_path, outside=1)
