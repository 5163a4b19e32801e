"""Leaders of the dynamic settings (S5, S6): train every seed, measure all of them, set them beside fixed rules.

    python benchmarks/dynamic_settings.py --folder runs/ [--seeds 10] [--runs 64] [--only platform ...] [--zoo]

Seeds whose leader file is in the folder are not trained again. Figures are those of `spverify report`: values over
runs of Q-learners at the training horizon and at 10 and 100 times it, exact gaps a round, exact replies where they can
be had.
`--zoo` writes the leader with the best training objective, and its card, into the package.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from spverify.trained_leaders.dynamic import exact_replies, measure_rule, reply_value
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.settings import DynamicSetting, get_world
from spverify.trained_leaders.train import train_leader

WORLDS: dict[str, tuple[str, dict[str, str]]] = {
    "platform": ("platform", {}),
    "platform-hidden-cost": ("platform-hidden-cost", {}),
    "repeated-prisoners-dilemma": ("repeated-prisoners-dilemma", {}),
    "repeated-battle-of-the-sexes": ("repeated-battle-of-the-sexes", {}),
    "repeated-coordination": ("repeated-coordination", {}),
    "repeated-coordination-5": ("repeated-coordination", {"x": "-5"}),
}
ABOUT = {
    "platform": "Learning sellers are led to the lowest price: the global maximum, 1.126, which no rule exceeds. A cap "
    "at 1.05 attains it too: a tie with the best baseline, no win.",
    "platform-hidden-cost": "The platform does not know whether a sale costs 1 or 1.35; the sellers do.",
    "repeated-prisoners-dilemma": "Worth 14 to an exact follower; the grim rule earns 15 from learners, 13 from it.",
    "repeated-battle-of-the-sexes": "Insists on its own favourite, whatever the follower did.",
    "repeated-coordination": "Insists on its own favourite, although the follower gains .001 a round by it.",
    "repeated-coordination-5": "The same where miscoordination costs the leader 5.",
}
HORIZONS = (1, 10, 100)
RNG_SEED = 123


def world_of(key: str) -> DynamicSetting:
    name, parameters = WORLDS[key]
    world = get_world(name, parameters)
    assert isinstance(world, DynamicSetting)
    return world


def measure(world: DynamicSetting, games: Any, runs: int, horizons: tuple[int, ...] = HORIZONS) -> dict[str, Any]:
    """Values and gaps of one rule."""
    weights = [w for _, w in world.scenarios]
    periods = [factor * world.periods for factor in horizons]
    found = measure_rule(games, weights, world.learner, periods, runs=runs, rng_seed=RNG_SEED)
    out: dict[str, Any] = {}
    for factor, at in zip(horizons, found, strict=True):
        values = [float(v.middle) for v in at.values]
        gains = [max(float(g.high) for f in run for g in f.gain) for run in at.runs]
        out[f"x{factor}"] = {
            "value": sum(values) / runs,
            "least": min(values),
            "most": max(values),
            "gap": max(gains),
            "gap_median": sorted(gains)[runs // 2],
        }
    if exact_replies(games):
        out["best-reply"] = float(reply_value(games, weights))
    return out


def run_world(key: str, folder: Path, seeds: int, runs: int) -> dict[str, Any]:
    """Every seed of one world, and the fixed rules."""
    world, (name, parameters) = world_of(key), WORLDS[key]
    rows = []
    for seed in range(seeds):
        path = folder / f"{key}.seed{seed}.pt"
        if not path.exists():
            train_leader(name, parameters=parameters, seeds=[seed], out=path)
        leader = read_leader(path)
        table = leader.policy["table"]
        status = leader.training["status"].split(": objective ")[1]
        objective = float(status.split(" ")[0] if "deployed the mode" in leader.training["status"] else
                          status.split(", ")[1].split(" ")[0])  # fmt: skip
        rows.append({
            "seed": seed, "file": path.name, "sha256": leader.sha256, "table": table, "objective": objective,
            "deployed": leader.training["status"].split(":")[0].removeprefix("deployed the "),
            "seconds": leader.training["seconds"], "figures": measure(world, world.unfold(table), runs),
        })  # fmt: skip
        print(
            key,
            seed,
            {k: v if isinstance(v, float) else round(v["value"], 4) for k, v in rows[-1]["figures"].items()},
            flush=True,
        )
    rules = {rule: measure(world, games, runs, (1,)) for rule, games in world.rules().items()}
    references = {r.name: float(r.value) for r in world.references()}
    return {"setting": name, "parameters": parameters, "references": references, "rules": rules, "seeds": rows}


def card(key: str, found: dict[str, Any], shipped: dict[str, Any], runs: int) -> str:
    """The card of a shipped leader."""
    path = Path(__file__).parent.parent / f"trained_leaders/zoo/{key}.pt"
    leader = read_leader(path)
    best = max(found["rules"], key=lambda r: found["rules"][r].get("best-reply", found["rules"][r]["x1"]["value"]))
    exact = "best-reply" in shipped["figures"]
    top = found["rules"][best].get("best-reply", found["rules"][best]["x1"]["value"])
    own = [row["figures"].get("best-reply", row["figures"]["x1"]["value"]) for row in found["seeds"]]
    parameters = "".join(f", {k} = {v}" for k, v in found["parameters"].items())
    lines = [
        f"# {key}",
        "",
        ABOUT[key],
        "",
        f"- setting: `{found['setting']}`{parameters}, leader action: pure, mode: {leader.training['mode']}",
        f"- made by: `{leader.training['command']} -o {key}.pt`",
        f"- sha256: `{leader.sha256}`, {leader.size} bytes",
        f"- shipped seed: {shipped['seed']} of 0..{len(own) - 1}, the best training objective",
        f"- best fixed rule: {best}, worth {top:.4f}; {sum(v >= top - 1e-9 for v in own)} of {len(own)} seeds are "
        "worth at least as much",
        "- references: " + ", ".join(f"{name} {value:.4f}" for name, value in found["references"].items()),
        "",
        f"Value (least to most) / largest gap a round over {runs} runs of Q-learners, at the training horizon and at "
        "10 and 100 times it" + (", and the value against an exact reply" if exact else "") + ", for every seed:",
        "",
        "| seed | deployed | x1 | x10 | x100 |" + (" exact reply |" if exact else "") + " seconds |",
        "|---|---|---|---|---|" + ("---|" if exact else "") + "---|",
    ]
    for row in found["seeds"]:
        cells = [
            f"{at['value']:.4f} ({at['least']:.4f} to {at['most']:.4f}) / {at['gap']:.4f}"
            for at in (row["figures"][f"x{factor}"] for factor in HORIZONS)
        ]
        cells += [f"{row['figures']['best-reply']:.4f}"] if exact else []
        lines.append(f"| {row['seed']} | {row['deployed']} | {' | '.join(cells)} | {row['seconds']:.1f} |")
    lines += [
        "",
        "Fixed rules, at the training horizon:",
        "",
        "| rule | value | largest gap a round |",
        "|---|---|---|",
    ]
    for rule, figures in found["rules"].items():
        value = figures.get("best-reply", figures["x1"]["value"])
        lines.append(f"| {rule} | {value:.4f} | {figures['x1']['gap']:.4f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--only", nargs="*", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--zoo", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    place = Path(__file__).parent / "results/dynamic_settings.json"
    results = json.loads(place.read_text(encoding="utf-8")) if place.exists() else {"worlds": {}}
    results["command"] = "python benchmarks/dynamic_settings.py --folder runs/ --zoo"
    for key in options.only:
        began = time.process_time()
        found = run_world(key, options.folder, options.seeds, options.runs)
        found["cpu_seconds"] = round(time.process_time() - began, 1)
        results["worlds"][key] = {"runs": options.runs, **found}
        place.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if options.zoo:
            shipped = max(found["seeds"], key=lambda row: row["objective"])
            zoo = Path(__file__).parent.parent / "trained_leaders/zoo"
            shutil.copyfile(options.folder / shipped["file"], zoo / f"{key}.pt")
            (zoo / f"{key}.md").write_text(card(key, found, shipped, options.runs), encoding="utf-8")


if __name__ == "__main__":
    main()
