"""The tables of docs/ranges.md, made of the recorded results, so that page and records cannot drift apart.

Run `python benchmarks/tables.py` after a benchmark; it fills in what stands between `<!-- table: NAME -->` and
`<!-- end of table -->`. A house test compares the page with what this makes.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "ranges.md"
RESULTS = ROOT / "benchmarks" / "results"
DIRECT = {"highs-simplex": "HiGHS simplex", "highs-ipx": "HiGHS ipx", "highs-hipo": "HiPO"}
OTHERS = DIRECT | {"cvxpy-highs": "cvxpy + HiGHS", "openspiel": "OpenSpiel"}
MARKED = re.compile(r"(<!-- table: ([a-z]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
NOTHING = "–"

Json = dict[str, Any]


def main() -> None:
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def filled(page: str) -> str:
    """The page with every marked table as the records have it."""
    races, ranges, auctions = (
        json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("range_races", "ranges", "auctions")
    )
    made = {
        "races": races_table(races["races"]),
        "ratios": ratios_table(races["races"]),
        "answers": answers_table(races["races"]),
        "ranges": ranges_table(ranges["ranges"]),
        "auctions": auctions_table(auctions["ranges"]),
    }
    return MARKED.sub(lambda found: found[1] + made[found[2]] + found[3], page)


# ------------------------------------------------------------------------------- one end, in several ways


def races_table(races: list[Json]) -> str:
    """What this package and the other ways took."""
    rows = []
    for race in races:
        this = race["this"]
        own = [short(this[f"{part}_seconds"]) for part in ("search", "proof", "digest")]
        rows.append([*case(race), *own, f"{this['memory_gib']:.2f}", *(spent(race, way) for way in OTHERS)])
    return table([*CASE, "search", "proof", "digest", "GiB", *OTHERS.values()], rows)


def ratios_table(races: list[Json]) -> str:
    """Other ways' times by this package's, without and with its proof."""
    rows = []
    for race in races:
        this = race["this"]
        search, proof = this["search_seconds"], this["proof_seconds"]
        direct, cvxpy = [race.get(way, {}) for way in DIRECT], [race.get("cvxpy-highs", {})]
        times = [ratio(ways, mine) for mine in (search, search + proof) for ways in (cvxpy, direct)]
        rows.append([*case(race), *times, short(proof / search)])
    both = "search + proof"
    titles = ["cvxpy / search", "best direct / search", f"cvxpy / ({both})", f"best direct / ({both})"]
    return table([*CASE, *titles, "proof / search"], rows)


def answers_table(races: list[Json]) -> str:
    """How near this package's ends are to exact; how far the other ways' values are outside them, and their plays."""
    rows = []
    for race in races:
        this, ended = race["this"], [race[way] for way in OTHERS if "value" in race.get(way, {})]
        beyond = [way["beyond_bound"] for way in ended]
        numbers = [max(beyond), -min(beyond), max(way["largest_regret"] for way in ended)] if ended else []
        own = [tiny(this["outer_minus_inner"]), tiny(this["inner_gap"])]
        rows.append([*case(race), *own, str(len(ended)), *map(tiny, numbers), *[NOTHING] * (3 - len(numbers))])
    titles = ["width", "gap", "others", "furthest outside", "furthest inside", "largest regret"]
    return table([*CASE, *titles], rows)


CASE = ["set", "players, actions, types", "columns", "end"]


def case(race: Json) -> list[str]:
    """The first cells of a race's row."""
    columns = race["columns"]
    shown = f"{columns:,}" if columns < 10**9 else f"10^{math.log10(columns):.0f}"
    return [
        race["set"].upper(),
        sizes(race),
        shown,
        f"{'most' if race['end'] == 'upper' else 'least'} {race['objective']}",
    ]


def spent(race: Json, name: str) -> str:
    """What another way took, or why there is no such number."""
    if name == "openspiel" and race["types"] > 1:
        return NOTHING
    way = race.get(name, {"not_run": ""})
    if "solve_seconds" in way:
        return short(total(way))
    if "not_finished" in way:
        return f"> {way['not_finished']}"
    (reason,) = way
    return reason.replace("_", " ")


def total(way: Json) -> float:
    return float(way["build_seconds"] + way["solve_seconds"])


def ratio(ways: list[Json], mine: float) -> str:
    """The quickest of some ways by this package's seconds; a lower bound where all of them ran out of time."""
    ended = [total(way) for way in ways if "solve_seconds" in way]
    if ended:
        return short(min(ended) / mine)
    limits = [way.get("not_finished", "") for way in ways]
    if not all(limit.endswith(" s") for limit in limits):
        return NOTHING
    return f"> {short(min(float(limit.removesuffix(' s')) for limit in limits) / mine)}"


def short(number: float) -> str:
    """Two digits, or all before the point, without an exponent."""
    return f"{number:,.0f}" if number >= 10 else f"{float(f'{number:.2g}'):g}"


def tiny(value: float) -> str:
    """A number of which only the size counts; 0 below 1e-12."""
    return short(value) if value >= 1e-3 else "0" if value < 1e-12 else f"{value:.0e}"


# ------------------------------------------------------------------------------- both ends


def ranges_table(ranges: list[Json]) -> str:
    """Both ends searched, proved, re-checked."""
    rows = []
    for found in ranges:
        cells = (found["types"] * found["actions"]) ** found["players"]
        times = [found["search_cpu_seconds"], found["total_cpu_seconds"], max(found["recheck_cpu_seconds"])]
        own = [found["set"].upper(), sizes(found), f"{cells:,}", found["objective"]]
        rows.append([*own, *(short(seconds) for seconds in times), widest(found)])
    return table(["set", "players, actions, types", "cells", "objective", "search", "all", "recheck", "width"], rows)


def auctions_table(ranges: list[Json]) -> str:
    """The range of revenue by the number of values and by set, and what finding it took."""
    names = ["tc", "ns", "sf"]
    known = {(found["k"], found["set"]): found for found in ranges}
    rows = []
    for k in sorted({k for k, _ in known}):
        row = [known.get((k, name)) for name in names]
        times = ["" if found is None else short(found["cpu_seconds"]) for found in row]
        rows.append([str(k), *map(interval, row), *times])
    return table(["K", *(name.upper() for name in names), *(f"{name.upper()}, seconds" for name in names)], rows)


def interval(found: Json | None) -> str:
    """A proved interval, and how far it is from closed."""
    if found is None:
        return ""
    shown = f"[{found['min']:.4f}, {found['max']:.4f}]"
    return shown if found["closed"] else f"{shown} open by {widest(found)}"


def widest(found: Json) -> str:
    """The larger distance of the two ends' bounds from their plays."""
    widths = found["outer_minus_inner"]
    return NOTHING if None in widths else tiny(max(widths))


def sizes(row: Json) -> str:
    return f"{row['players']}, {row['actions']}, {row['types']}"


def table(titles: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
