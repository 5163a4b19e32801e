"""Train every shipped case on ten seeds, measure all of them, and (with --zoo) refresh the shipped leaders.

Run `python benchmarks/training.py` for the figures in benchmarks/results/training.json; `--zoo` also rewrites
trained_leaders/zoo from the same runs; `--only NAME` repeats one case; `--resume` keeps the seeds that are recorded
already and trains the others, each written as it ends. Every figure is a measurement of the finished leader file:
value and exact gap at x1, x10 and x100 of the training horizon, uncompressed, with sampled types.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.trained_leaders import zoo
from spverify.trained_leaders.checkpoint import save_leader_table
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.pomdp import StackelbergPOMDP
from spverify.trained_leaders.settings import get_setting
from spverify.trained_leaders.settings.setting import Followers
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.train import train_leader
from spverify.verify.formats import write_atomic
from spverify.verify.regret import interim_regrets, objective_value

RESULTS = Path(__file__).parent / "results" / "training.json"
FACTORS, RUNS = (1, 10, 100), 8
# Step-level PPO in the paper's manner: its follower updates, and the iterations of 32 outer episodes in which the
# leader takes its million steps.
PAPER = (
    ("mspm-pi", 25, 144), ("mspm-grid-3", 75, 60), ("mspm-grid-4", 133, 36), ("mspm-grid-5", 208, 24),
    ("mspm-grid-6", 300, 17),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One thing to train: `target` is the value to reach with a gap of at most `gap`, both setting's units.

    Value and gap are those of `readout` at `factor` times the training horizon. With `optimal`, the exact long-run
    value of that readout must equal the proved bound too, at an exact gap of 0.
    """

    name: str
    setting: str
    target: float
    gap: float
    leader_action: str = "pure"
    mode: str = "ppo"
    about: str = ""
    zoo: bool = False
    seeds: int = 10
    optimal: str = ""
    readout: str = "argmax"
    factor: int = 1
    overrides: dict[str, Any] = field(default_factory=dict)


CASES = (
    Case("escape", "escape", 30, 0.05, zoo=True, about="Leaves the trap: row 2, worth 30."),
    Case("maintain", "maintain", 20, 0.05, zoo=True, about="Commits to row 0, worth 20; row 1 tempts with 30."),
    Case("conitzer", "conitzer", 2, 0.05, zoo=True, about="Commits to row 0, worth 2, the best row."),
    Case("two-by-two", "two-by-two", 1, 0.05, zoo=True, about="Commits to the row worth 1; no mixture is worth more."),
    Case(
        "maintain-mixture", "maintain", 0.99 * 27.5, 0.05, leader_action="mixture", zoo=True,
        about="A mixture just inside the knife-edge (1/4, 3/4, 0), so that followers settle on column 0 without a tie.",
    ),
    Case("escape-mixture", "escape", 0.99 * 30, 0.05, leader_action="mixture"),
    Case("two-by-two-mixture", "two-by-two", 0.99 * 1, 0.05, leader_action="mixture"),
    Case(
        "conitzer-mixture", "conitzer", 0.99 * 2.5, 0.05, leader_action="mixture", zoo=True,
        about="A mixture just inside the knife-edge (1/2, 1/2).",
    ),
    Case(
        "simple-allocation-1", "simple-allocation-1", 1 / 3, 0.05, zoo=True,
        about="One message tells nothing: any item is as good as another, 1/3.",
    ),
    Case("simple-allocation-2", "simple-allocation-2", 2 / 3, 0.05, zoo=True, about="Two items for two messages: 2/3."),
    Case("simple-allocation-3", "simple-allocation-3", 1, 0.05, zoo=True, about="A different item for each message."),
    Case(
        "mspm-pi", "mspm-pi", 0, 0.005, zoo=True,
        about="Loses no welfare, and does so in the long run under all three readouts, not only by argmax ties.",
    ),
    Case("mspm-pi-search", "mspm-pi", 0, 0.005, mode="search"),
    Case(
        "mspm-pi-episode", "mspm-pi", 0, 0.005, mode="episode", zoo=True, seeds=3,
        about="Trained on the plain return of 100-update episodes, argmax readout: a loss of 0 by that readout only. "
        "Followers who learn on, or who stay undecided, lose welfare: an audit at longer horizons must show it.",
    ),
    # Every other mode where it applies; for message mechanisms of more than three values "structured" is the search.
    *(
        Case(f"{name}-{mode}", name, target, gap, mode=mode)
        for name, target, gap, modes in (
            ("escape", 30, 0.05, ("enumerate", "unrolled", "search")),
            ("maintain", 20, 0.05, ("enumerate", "unrolled", "search")),
            ("conitzer", 2, 0.05, ("enumerate", "unrolled", "search")),
            ("two-by-two", 1, 0.05, ("enumerate", "unrolled", "search")),
            ("simple-allocation-1", 1 / 3, 0.05, ("enumerate", "unrolled", "search")),
            ("simple-allocation-2", 2 / 3, 0.05, ("enumerate", "unrolled", "search")),
            ("simple-allocation-3", 1, 0.05, ("enumerate", "unrolled", "search")),
            ("matrix-design", 10 / 6, 0.05, ("unrolled", "search")),
            ("mspm-pi", 0, 0.005, ("unrolled", "structured")),
            ("mspm-correlated-pi", 0, 0.005, ("unrolled", "search", "structured")),
            ("mspm-grid-3", 0, 0.005, ("unrolled", "search")),
        )
        for mode in modes
    ),
    *(
        Case(f"mspm-{name}-structured-long", f"mspm-{name}", 0, 0.005, mode="structured", overrides={"updates": 1000})
        for name in ("pi", "correlated-pi")
    ),
    *(
        Case(f"{name}-mixture-unrolled", name, 0.99 * target, 0.05, leader_action="mixture", mode="unrolled")
        for name, target in (("escape", 30), ("maintain", 27.5), ("conitzer", 2.5), ("two-by-two", 1))
    ),
    *(
        Case(
            f"{name}-paper", name, 0, 0.005, mode="mappo",
            overrides={
                "objective": "episode", "updates": updates, "iterations": iterations, "restarts": 1, "entropy": 0.0,
            },
        )
        for name, updates, iterations in PAPER
    ),
    Case(
        "matrix-design", "matrix-design", 10 / 6, 0.05, zoo=True,
        about="Bonuses that lead two followers to an asymmetric cell, worth 10/6.",
    ),
    Case(
        "mspm-correlated-pi", "mspm-correlated-pi", 0, 0.005, zoo=True,
        about="Values that are not independent: no welfare is lost, where a message-free leader loses .07.",
    ),
    *(
        Case(
            f"mspm-grid-{size}", f"mspm-grid-{size}", 0, 0.005, mode="structured", zoo=True, optimal="mixed",
            overrides={"updates": 1000},
            about="Proved optimal for followers who mix: loses nothing in the long run, in every readout.",
        )
        for size in (3, 4)
    ),
    *(
        Case(
            f"mspm-grid-{size}", f"mspm-grid-{size}", target, 0.005, mode="structured", zoo=True, optimal="mixed",
            readout="last", factor=100,
            overrides={"readout": "last", "updates": updates, "iterations": 8, **more},
            about=f"Trained for followers' last mixed strategies and proved optimal for them: worth {worth} in the "
            f"long run, and no leader is worth more. {twin}",
        )
        for size, target, updates, more, worth, twin in (
            (
                5, -1 / 200, 1000, {"batch": 288}, "-1/200",
                "Some of these tables lose nothing in the argmax readout; that 0 is ties.",
            ),
            (
                6, -1 / 120, 2000, {}, "-1/120",
                "In the argmax readout, tables that attain -1/120 are worth at most -1/180.",
            ),
        )
    ),
    *(
        Case(
            f"mspm-grid-{size}-argmax", f"mspm-grid-{size}", 0, 0.005, mode="structured", optimal="argmax",
            overrides={"settled": False, "batch": 288, "updates": updates},
        )
        for size, updates in ((5, 4000), (6, 8000))
    ),
    Case(
        "maintain-myopic", "maintain", 10, 0.05, mode="basic", zoo=True, seeds=3,
        about="A bad leader on purpose: the response phase was hidden from the learner, which takes the tempting row 1 "
        "and is paid 10 where commitment earns 20.",
    ),
)  # fmt: skip


def measure(path: Path) -> dict[str, Any]:
    """Value and gap of a leader file by horizon and readout, with the learners of the solvers room."""
    found = inspect_leader(path)
    setting, follow = get_setting(found.setting, found.parameters), read_leader(path).training["followers"]
    learner = MultiplicativeWeights(follow["epsilon"], payoff_scale=setting.payoff_scale)
    horizons = {}
    for factor in FACTORS:
        rounds = follow["updates"] * factor
        run = run_learners(
            found.game,
            learner,
            rounds,
            seeds=RUNS,
            types=follow["types"],
            opponents=follow["opponents"],
            rng_seed=77,
            checkpoints=(rounds,),
            keep=False,
        )
        value: dict[str, float] = {}
        gap: dict[str, float] = {}
        for readout in ("empirical", "last", "argmax"):
            plays = [
                run.averages[rounds][b]
                if readout == "empirical"
                else run.readout(readout, seed=b).conditional(found.game)
                for b in range(RUNS)
            ]
            value[readout] = float(np.mean([objective_value(found.game, sigma) for sigma in plays]))
            worst = max(float(r.max()) for sigma in plays for r in interim_regrets(found.game, sigma))
            gap[readout] = max(0.0, worst)
        horizons[f"x{factor}"] = {"value": value, "gap": gap}
    return {"network_agrees": found.network_agrees, "horizons": horizons}


def reaches(case: Case, found: dict[str, Any], slack: float = 0.0) -> bool:
    """Whether value and gap are as good as the case asks, the value up to this share of the setting's payoff scale."""
    least = case.target - slack * get_setting(case.setting).payoff_scale
    if case.factor > 1:  # a limit that mixed play comes close to
        least -= 0.001
    return found["value"][case.readout] >= least - 1e-9 and found["gap"][case.readout] <= case.gap


def run_seed(case: Case, seed: int, folder: Path) -> dict[str, Any]:
    """One training, its leader left in the folder, and what it came to."""
    out = folder / f"{case.name}.seed{seed}.pt"
    began = time.process_time()
    document = train_leader(
        case.setting,
        leader_action=case.leader_action,
        mode=case.mode,
        seeds=[seed],
        out=out,
        overrides=case.overrides,
    )[0]
    spent = time.process_time() - began
    names = ("seed", "value", "gap", "updates", "deployed", "objective", "iterations", "starts")
    measured = measure(out)
    reached = reaches(case, document if case.factor == 1 else measured["horizons"][f"x{case.factor}"])
    optimality = document.get("optimality", {})
    if case.optimal:
        reached = reached and optimality[case.optimal]["optimal"] == "yes"
    least = case.target - 0.002 * get_setting(case.setting).payoff_scale
    print(case.name, seed, "reached" if reached else "missed", f"{spent:.1f} s", document["objective"], flush=True)
    return {
        **{name: document[name] for name in names},
        "optimality": optimality,
        "reached": reached,
        "mode_reached": document["objective"]["mode"] >= least,
        "best_sample_reached": document["objective"]["best_sample"] >= least,
        "cpu_seconds": round(spent, 2),
        "persistent": {name: reaches(case, found, 0.001) for name, found in measured["horizons"].items()},
        **measured,
    }


def described(case: Case) -> dict[str, Any]:
    """What a record says of its case; seeds of another description are not kept."""
    return {
        "setting": case.setting,
        "leader_action": case.leader_action,
        "mode": case.mode,
        "overrides": case.overrides,
        "target": {
            "readout": case.readout,
            "value": case.target,
            "gap": case.gap,
            "at": case.factor,
            "optimal_in": case.optimal,
        },
    }


def counted(case: Case, seeds: list[dict[str, Any]]) -> dict[str, Any]:
    """The record of a case: every seed, and how many reached what."""
    return {
        **described(case),
        "proved_optimal": {
            name: sum(s["optimality"].get(name, {}).get("optimal") == "yes" for s in seeds)
            for name in ("argmax", "mixed")
        },
        **{name: sum(s[name] for s in seeds) for name in ("reached", "mode_reached", "best_sample_reached")},
        "of": len(seeds),
        "persistent": {f"x{factor}": sum(s["persistent"][f"x{factor}"] for s in seeds) for factor in FACTORS},
        "seeds": seeds,
    }


def write_results(cases: dict[str, Any]) -> None:
    """All records, a line for each case and each seed."""
    text = json.dumps({"command": "python benchmarks/training.py --zoo", "runs": RUNS, "cases": cases})
    lines = re.sub(r'("[^"]+": \{"setting": |\{"seed": )', r"\n\1", text)
    write_atomic(RESULTS, lines + "\n")


def kept(case: Case, known: dict[str, Any]) -> list[dict[str, Any]]:
    """The recorded seeds of a case, if they were recorded under this very description."""
    asked = json.loads(json.dumps(described(case)))
    if any(known.get(name) != value for name, value in asked.items()) or "best_sample_reached" not in known:
        return []
    return list(known["seeds"])


def _optimality_lines(result: dict[str, Any], best: dict[str, Any]) -> list[str]:
    """What is proved about the long run, exactly, for price mechanisms."""
    found = best["optimality"]
    if not found:
        return []
    count = result["of"]
    said = "; ".join(
        f"{name} {f['value']} at gap {f['gap']}, where no leader is worth more than {f['bound']}"
        for name, f in found.items()
    )
    proved = ", ".join(f"{result['proved_optimal'][name]} of {count} seeds for {name}" for name in found)
    return [f"- in the long run, exactly: {said}; proved optimal: {proved}"]


def ship(case: Case, result: dict[str, Any], folder: Path) -> None:
    """Copy the best seed and write its card."""
    home = Path(zoo.__file__).parent
    shutil.copyfile(folder / f"{case.name}.seed{best_seed(case, result)['seed']}.pt", home / f"{case.name}.pt")
    write_card(case, result)


def best_seed(case: Case, result: dict[str, Any]) -> dict[str, Any]:
    """By readouts proved optimal, then value - gap at x100, then at x1; first of equals."""

    def merit(seed: dict[str, Any]) -> tuple[float, ...]:
        reads = [(seed["horizons"][at], r) for at in ("x100", "x1") for r in (case.readout, "empirical")]
        proved = sum(f["optimal"] == "yes" for f in seed["optimality"].values())
        return (seed["reached"], proved, *(round(at["value"][r] - at["gap"][r], 4) for at, r in reads))

    found: dict[str, Any] = max(result["seeds"], key=merit)
    return found


def write_card(case: Case, result: dict[str, Any]) -> None:
    """The card beside a shipped leader, of all recorded seeds."""
    best = best_seed(case, result)
    path = Path(zoo.__file__).parent / f"{case.name}.pt"
    leader = read_leader(path)
    if leader.training["seed"] != best["seed"]:
        raise ValueError(f"{path} is of seed {leader.training['seed']}, the best one recorded is {best['seed']}")
    lines = [
        f"# {case.name}",
        "",
        case.about,
        "",
        f"- setting: `{case.setting}`, leader action: {case.leader_action}, mode: {case.mode}",
        f"- made by: `{leader.training['command']} -o {case.name}.pt`",
        f"- sha256: `{leader.sha256}`, {leader.size} bytes",
        f"- shipped seed: {best['seed']} of 0..{result['of'] - 1}; {result['reached']} of {result['of']} seeds reached "
        f"{case.readout} value {case.target:.4g} with gap at most {case.gap:g}"
        + (f" at {case.factor} times the training horizon" if case.factor > 1 else "")
        + (" and the proved long-run optimum" if case.optimal else ""),
        *_optimality_lines(result, best),
        "",
        "Value / gap by readout at the training horizon (16 response phases), and at 100 times it (8), for every seed:",
        "",
        "| seed | deployed | empirical | last | argmax | x100 empirical | x100 last | x100 argmax | CPU seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for seed in result["seeds"]:
        cells = [f"{seed['value'][r]:.4f} / {seed['gap'][r]:.4f}" for r in ("empirical", "last", "argmax")]
        far = seed["horizons"]["x100"]
        cells += [f"{far['value'][r]:.4f} / {far['gap'][r]:.4f}" for r in ("empirical", "last", "argmax")]
        lines.append(f"| {seed['seed']} | {seed['deployed']} | {' | '.join(cells)} | {seed['cpu_seconds']} |")
    path.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")


BOASTER = """# maintain-boaster

A leader whose claim is false, on purpose: an audit must refute it.

Its maker let the leader see the phase: row 0 while the followers learned, row 1 while it was paid, and measured 30
(theory T8 ii). A file commits to one row; this one says row 1 and claims the 30. Followers who learn against row 1
play column 1, and it is worth 10.

- setting: `maintain`, leader action: pure, written by hand, not trained
- made by: `python benchmarks/training.py --boaster`
- sha256: `{sha256}`, {size} bytes
"""


def ship_boaster() -> None:
    """A leader file with the return of the phase-seeing policy as its claim."""
    setting = get_setting("maintain")
    seeing = StackelbergPOMDP(setting, Followers(100), phase_visible=True)
    claimed = float(seeing.run(np.array([[[0], [1]]])).returns[0])
    home = Path(zoo.__file__).parent
    path = home / "maintain-boaster.pt"
    followers = {"updates": 100, "epsilon": 0.1, "types": "sampled", "opponents": "sampled"}
    training = {
        "algorithm": "none: written by hand",
        "followers": followers,
        "horizon": 100,
        "readout": "argmax",
        "command": "python benchmarks/training.py --boaster",
    }
    claims = {"value": {"argmax": claimed}, "gap": {"argmax": 0.0}, "updates": 100, "runs": 1, "rng_seed": 0}
    save_leader_table(path, setting, [1], training=training, claims=claims)
    leader = read_leader(path)
    text = BOASTER.format(sha256=leader.sha256, size=leader.size)
    path.with_suffix(".md").write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", action="store_true", help="also refresh the shipped leaders and their cards")
    parser.add_argument("--only", action="append", help="run one case (repeatable)")
    parser.add_argument("--seeds", type=int, help="fewer seeds than ten, 0 first; the record says how many")
    parser.add_argument("--boaster", action="store_true", help="only write the leader with the false claim")
    parser.add_argument("--resume", action="store_true", help="keep recorded seeds and train the missing ones")
    chosen = parser.parse_args()
    if chosen.zoo and chosen.resume:
        parser.error("--zoo needs the leader files of every seed, and --resume has those of the new ones only")
    if chosen.boaster:
        ship_boaster()
        return
    unknown = set(chosen.only or ()) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no case {min(unknown)!r}; there are {', '.join(case.name for case in CASES)}")
    known = json.loads(RESULTS.read_text())["cases"] if RESULTS.exists() else {}
    for case in CASES:
        if chosen.only and case.name not in chosen.only:
            continue
        seeds = kept(case, known.get(case.name, {})) if chosen.resume else []
        done = {seed["seed"] for seed in seeds}
        with tempfile.TemporaryDirectory() as folder:
            for seed in sorted(set(range(min(case.seeds, chosen.seeds or case.seeds))) - done):
                seeds = sorted([*seeds, run_seed(case, seed, Path(folder))], key=lambda s: int(s["seed"]))
                known[case.name] = counted(case, seeds)
                write_results(known)
            if chosen.zoo and case.zoo:
                ship(case, known[case.name], Path(folder))


if __name__ == "__main__":
    main()
