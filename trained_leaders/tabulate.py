"""From a leader file to the followers' exact Bayesian game, in a child process with memory and time limits.

A leader file comes from a stranger, so it is opened by a child (`python -m
spverify.trained_leaders.tabulate`) that can neither outgrow its limits nor write a file; what it found
comes back as JSON and is validated again. Neither process imports torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..verify.errors import LeaderFileError, SettingError, SpverifyError, UnreadableError
from ..verify.game import BayesianGame
from .leader_file import LeaderFile, read_leader
from .mechanism import evaluate_mechanism
from .settings import DynamicSetting, ExactRows, Setting, get_setting, get_world


@dataclass(frozen=True)
class Tabulation:
    """A leader, understood: what it is, what it does, and the exact game it makes its followers play.

    Args:
        sha256, size: of the file's bytes, as the child read them.
        setting, parameters: the world.
        leader_action, policy_kind: "pure" or "mixture"; "table" or "network".
        training, claims: the trainer's record, unchecked.
        observations, actions: labels.
        rows: (n_obs, n_actions) exact probabilities.
        tabulated: the followers' game under `rows`; None where play goes on (`dynamic_world`).
        network_agrees, network_difference, margin: see `mechanism.Mechanism`.
        commitment: what the policy is asked with (``inputs``), and for leaders trained elsewhere its ``origin``.
        seconds: time the child took.
        allow_import: the setting that the user let be imported.
    """

    sha256: str
    size: int
    setting: str
    parameters: dict[str, Any]
    leader_action: str
    policy_kind: str
    training: dict[str, Any]
    claims: dict[str, Any]
    observations: tuple[str, ...]
    actions: tuple[str, ...]
    rows: ExactRows
    tabulated: BayesianGame | None = field(repr=False)
    network_agrees: bool
    network_difference: float
    margin: float | None
    commitment: dict[str, Any]
    seconds: float
    allow_import: str | None = None

    @property
    def game(self) -> BayesianGame:
        """The followers' Bayesian game.

        Raises:
            SettingError: a dynamic setting has none.
        """
        if self.tabulated is None:
            raise SettingError(f"{self.setting} is a dynamic setting: its followers' game is not one Bayesian game")
        return self.tabulated

    @property
    def dynamic_world(self) -> DynamicSetting | None:
        """The setting object of a leader whose play goes on; None for a one-shot setting."""
        world = get_world(self.setting, self.parameters, allow_import=self.allow_import)
        return world if isinstance(world, DynamicSetting) else None

    @property
    def world(self) -> Setting:
        """The setting object, made anew in this process."""
        return get_setting(self.setting, self.parameters, allow_import=self.allow_import)


def inspect_leader(
    path: str | Path, *, seconds: float = 60.0, memory_mb: int = 6144, allow_import: str | None = None
) -> Tabulation:
    """Read, evaluate and tabulate a leader file within limits.

    Args:
        seconds: wall and CPU time the child may use.
        memory_mb: address space the child may use, MiB.
        allow_import: a setting ``package.module:Attribute`` that may be imported if the file names it.

    Raises:
        LeaderFileError: the file is refused, or a limit was reached; one sentence naming the rule.
        UnreadableError: no such file.
    """
    return start_inspection(path, seconds=seconds, memory_mb=memory_mb, allow_import=allow_import).result()


def start_inspection(
    path: str | Path, *, seconds: float = 60.0, memory_mb: int = 6144, allow_import: str | None = None
) -> Inspection:
    """Start the child and return at once, so that the caller can load other things meanwhile."""
    return Inspection(Path(path), seconds, memory_mb, allow_import)


class Inspection:
    """A running child; `result()` waits for it. As a context manager it ends a child nobody waited for."""

    def __init__(self, path: Path, seconds: float, memory_mb: int, allow_import: str | None = None) -> None:
        self._path, self._seconds, self._memory_mb = path, seconds, memory_mb
        self._allow_import = allow_import
        self._deadline = time.monotonic() + seconds
        command = [sys.executable, "-P", "-m", _module_name(), str(path), str(seconds), str(memory_mb)]
        command += [allow_import] if allow_import else []
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )

    def __enter__(self) -> Inspection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child if it still runs."""
        if self._child.poll() is None:
            self._child.kill()
        self._child.communicate()

    def result(self) -> Tabulation:
        """Wait for the child and validate what it said."""
        try:
            out, err = self._child.communicate(timeout=max(0.05, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.close()
            raise LeaderFileError(
                f"reading and tabulating took longer than {self._seconds:g} s", path=self._path
            ) from None
        try:
            answer = json.loads(out)
        except ValueError:
            raise LeaderFileError(self._explain(err), path=self._path) from None
        if "error" in answer:
            kind, message, place = answer["error"]
            raised = UnreadableError if kind == UnreadableError.kind else LeaderFileError
            raise raised(message, path=self._path, field=place)
        return _from_answer(answer | {"allow_import": self._allow_import})

    def _explain(self, err: bytes) -> str:
        code = self._child.returncode
        if b"MemoryError" in err or b"allocate" in err:
            return f"reading and tabulating needs more than {self._memory_mb} MiB of memory"
        if code < 0:
            return f"reading and tabulating hit signal {-code}: over {self._seconds:g} s or out of memory"
        last = err.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no message"]
        return f"reading and tabulating failed with exit code {code} ({last[0][:200]})"


def tabulate_leader(leader: LeaderFile, allow_import: str | None = None) -> dict[str, Any]:
    """What the child answers, as a JSON document; runs in the calling process, without limits."""
    try:
        setting = get_world(leader.setting, leader.parameters, allow_import=allow_import)
    except SpverifyError as error:
        raise LeaderFileError(error.message, field="setting") from None
    mechanism = evaluate_mechanism(leader, setting)
    return {
        "sha256": leader.sha256,
        "size": leader.size,
        "setting": setting.name,
        "parameters": leader.parameters,
        "leader_action": leader.policy["leader_action"],
        "policy_kind": leader.policy["kind"],
        "training": leader.training,
        "claims": leader.claims,
        "observations": list(setting.observations),
        "actions": list(setting.actions),
        # Rows are sparse: (observation, action, probability).
        "cells": [[o, a, str(p)] for o, row in enumerate(mechanism.rows) for a, p in enumerate(row) if p],
        "game": None if isinstance(setting, DynamicSetting) else setting.tabulate(mechanism.rows).to_document(),
        "network_agrees": mechanism.network_agrees,
        "network_difference": mechanism.difference,
        "margin": mechanism.margin,
        "commitment": {
            "inputs": "base observation (one-hot)" if leader.policy["kind"] == "network" else "base observation",
            "origin": leader.policy.get("origin"),
        },
    }


def _from_answer(answer: Mapping[str, Any]) -> Tabulation:
    observations, actions = tuple(answer["observations"]), tuple(answer["actions"])
    rows = [[Fraction(0)] * len(actions) for _ in observations]
    for o, a, p in answer["cells"]:
        rows[o][a] = Fraction(p)
    game = answer["game"]
    plain = {k: v for k, v in answer.items() if k not in ("observations", "actions", "cells", "game")}
    return Tabulation(
        **plain,
        observations=observations,
        actions=actions,
        rows=tuple(tuple(row) for row in rows),
        tabulated=BayesianGame.from_document(game, source="tabulated game") if game is not None else None,
    )


def _limit(seconds: float, memory_mb: int) -> None:
    """Bound this process: memory, processor time, no core dump, no byte written to any file."""
    whole = max(1, int(seconds + 0.999))
    for what, amount in (
        (resource.RLIMIT_CPU, whole),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_AS, memory_mb * 2**20),
    ):
        # A system that cannot set one of them (macOS and address space) still has the parent's timeout.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (amount, amount))


def _module_name() -> str:
    return f"{__package__}.tabulate"


def _main(arguments: list[str]) -> int:
    start = time.perf_counter()
    path, seconds, memory_mb, *allowed = arguments
    _limit(float(seconds), int(memory_mb))
    try:
        answer = tabulate_leader(read_leader(path), *allowed)
    except SpverifyError as error:
        print(json.dumps({"error": [error.kind, error.message, error.field]}))
        return 0
    answer["seconds"] = time.perf_counter() - start
    sys.stdout.write(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
