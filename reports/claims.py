"""Claims of a paper, each put to the test: a TOML file of statements with figures goes in, verdicts come out.

The format is docs/claims.md. What this version cannot recompute is *inconclusive* with the reason, never left out; a
file that is not of the format is refused. The claims of the paper that this project started from ship in `claims/`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fractions import Fraction
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from ..solvers.learners import LEARNERS, MODES
from ..trained_leaders.dynamic import Q_LEARNING
from ..trained_leaders.settings import (
    DynamicSetting,
    Setting,
    World,
    get_world,
    has_setting,
)
from ..trained_leaders.settings.setting import table_rows
from ..verify.errors import FormatError, SpverifyError, UnreadableError, UsageError
from ..verify.game import BayesianGame
from ..verify.numerals import outward, show
from ..verify.plain import number_text, parse_number, read_bytes
from ..verify.verdict import Evidence, Statement, Verdict, combine
from .statements import state

SHIPPED = "paper:"
MAX_ROUNDS, MAX_SEEDS, MAX_RUNS = 100_000, 64, 10_000
RANGE_SECONDS = 30.0
BOOTSTRAPS, ROUNDING = 10_000, 1e-12

_COMMON = {"id", "text", "kind", "source", "version", "role", "value", "comparison", "tolerance"}
_KINDS: dict[str, tuple[set[str], set[str]]] = {
    # kind: (required fields, optional fields) beside the common ones
    "reference": ({"setting", "name"}, {"parameters"}),
    "commitment": ({"over"}, {"setting", "parameters", "leader", "follower"}),
    "leader": ({"setting", "readout"}, {"parameters", "table", "mixture", "updates", "rate", "seeds", "figure"}),
    "reach": (
        {"learner", "rounds", "epsilon"},
        {"game", "setting", "parameters", "table", "mixture", "rate", "schedule", "types", "opponents", "runs"}
        | {"payoff_scale", "level", "rng_seed"},
    ),
    "updates": ({"actions", "rate", "target"}, set()),
    "range": ({"game", "side"}, {"objective", "set", "epsilon"}),
    "gap": ({"game", "play"}, set()),
    "seeds": ({"figures", "record"}, {"against"}),
    "other": ({"reason"}, set()),
}
_COMPARISONS = {"equals": "", "at least": "at least ", "at most": "at most "}


class OutOfReachError(Exception):
    """A claim that this version cannot recompute; the message says why."""


@dataclass(frozen=True)
class Found:
    """A recomputed figure.

    Attributes:
        value: exact, or exact about a float computation as `evidence` says.
        evidence: how it was obtained.
        how: in words, a clause.
        decided: False where the figure bounds the truth only.
        details: more figures.
    """

    value: Fraction
    evidence: Evidence
    how: str
    decided: bool
    details: Mapping[str, Any]


@dataclass(frozen=True)
class ClaimsFile:
    """Claims as read, checked for form.

    Attributes:
        title, source: of the paper.
        folder: relative game and play files start here.
        claims: one table each.
    """

    title: str
    source: str
    folder: Path
    claims: tuple[Mapping[str, Any], ...]


def claims_path(text: str) -> Path:
    """The file that a name on the command line means; ``paper:NAME`` is a shipped one.

    Raises:
        UsageError: no shipped claims have that name.
    """
    if not text.startswith(SHIPPED):
        return Path(text)
    folder, name = Path(__file__).parent / "claims", text.removeprefix(SHIPPED)
    shipped = sorted(path.stem for path in folder.glob("*.toml"))
    if name not in shipped:
        raise UsageError(f"no claims are shipped for {name!r}; there are {', '.join(SHIPPED + s for s in shipped)}")
    return folder / f"{name}.toml"


def read_claims(path: str | Path) -> ClaimsFile:
    """Reads and checks a claims file; every number is taken exactly as written.

    Raises:
        UnreadableError, FormatError: not readable, no TOML, or fields that are wrong, missing or unknown.
    """
    try:
        document = tomllib.loads(read_bytes(path).decode("utf-8"), parse_float=str)
    except UnicodeDecodeError:
        raise UnreadableError("expected UTF-8 text", path=path) from None
    except tomllib.TOMLDecodeError as error:
        raise FormatError(f"expected TOML: {error}", path=path) from None
    try:
        _fields(document, "", {"format", "version", "title", "claim"}, {"source"})
        if document["format"] != "spverify-claims" or document["version"] != 1:
            raise FormatError(
                f"expected format spverify-claims, version 1, got {document['format']}, {document['version']}",
                field="format",
            )
        claims = document["claim"]
        if not isinstance(claims, list) or not claims:
            raise FormatError("expected at least one [[claim]]", field="claim")
        known: set[str] = set()
        for k, claim in enumerate(claims):
            _check(claim, f"claim[{k}]")
            if claim["id"] in known:
                raise FormatError(f"{claim['id']} is given twice", field=f"claim[{k}].id")
            known.add(claim["id"])
        return ClaimsFile(
            _text(document, "title", ""), str(document.get("source", "")), Path(path).parent, tuple(claims)
        )
    except SpverifyError as error:
        raise error.at(str(path)) from None


def _fields(table: Any, where: str, required: set[str], optional: set[str]) -> None:
    if not isinstance(table, dict):
        raise FormatError("expected a table", field=where or "the file")
    for key in table:
        if key not in required | optional:
            near = get_close_matches(key, required | optional, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise FormatError(f"unknown field{hint}", field=f"{where}.{key}".lstrip("."))
    for key in sorted(required):
        if key not in table:
            raise FormatError("this field is missing", field=f"{where}.{key}".lstrip("."))


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(table[key], str) or not table[key].strip():
        raise FormatError(f"expected text, got {table[key]!r}", field=f"{where}.{key}".lstrip("."))
    return " ".join(table[key].split())


def _check(claim: Any, where: str) -> None:
    if not isinstance(claim, dict) or claim.get("kind") not in _KINDS:
        got = claim.get("kind") if isinstance(claim, dict) else claim
        raise FormatError(f"expected one of {', '.join(_KINDS)}, got {got!r}", field=f"{where}.kind")
    required, optional = _KINDS[claim["kind"]]
    base = {"id", "text", "kind"} | ({"value"} if claim["kind"] != "other" else set())
    _fields(claim, where, base | required, (_COMMON - base) | optional)
    for key in (
        "id",
        "text",
        *({"source", "version", "setting", "name", "reason", "game", "play", "learner", "record"} & claim.keys()),
    ):
        _text(claim, key, where)
    if not all(c.isalnum() or c in "-_." for c in claim["id"]):
        raise FormatError(f"expected letters, digits, - _ and ., got {claim['id']!r}", field=f"{where}.id")
    for key in ("value", "tolerance", "rate", "target", "epsilon", "payoff_scale", "level"):
        if key in claim:
            number = parse_number(claim[key], f"{where}.{key}")
            if key != "value" and (number < 0 or (key not in ("tolerance", "epsilon") and not number)):
                raise FormatError(f"expected a positive number, got {claim[key]}", field=f"{where}.{key}")
    for key, allowed in (
        ("comparison", tuple(_COMPARISONS)),
        ("role", ("required", "information")),
        ("readout", ("empirical", "last", "argmax", "best-reply")),
        ("figure", ("value", "gap")),
        ("over", ("pure", "mixed")),
        ("side", ("min", "max")),
        ("set", ("sf", "ns", "tc")),
        ("learner", (*LEARNERS, Q_LEARNING)),
        ("schedule", ("fixed", "tuned", "anytime")),
        ("types", MODES),
        ("opponents", MODES),
    ):
        if key in claim and claim[key] not in allowed:
            raise FormatError(f"expected {' or '.join(allowed)}, got {claim[key]!r}", field=f"{where}.{key}")
    for key, most in (
        ("updates", MAX_ROUNDS), ("seeds", MAX_SEEDS), ("actions", 10**9), ("rounds", MAX_ROUNDS), ("runs", MAX_RUNS)
    ):  # fmt: skip
        if key in claim and (type(claim[key]) is not int or not 1 <= claim[key] <= most):
            raise FormatError(f"expected a whole number from 1 to {most}, got {claim[key]!r}", field=f"{where}.{key}")
    if claim["kind"] == "reach":
        _check_reach(claim, where)
    if claim["kind"] == "seeds":
        _check_seeds(claim, where)
    leads = claim["kind"] == "leader" or (claim["kind"] == "reach" and "setting" in claim)
    if leads and ("table" in claim) == ("mixture" in claim):
        raise FormatError("expected a table of actions or a mixture, one of the two", field=where)
    tables = {"leader", "follower"} & claim.keys()
    if claim["kind"] == "commitment" and (len(tables) == 1 or ("setting" in claim) == bool(tables)):
        raise FormatError("expected a setting, or the payoff tables leader and follower", field=where)


def _check_reach(claim: Mapping[str, Any], where: str) -> None:
    if not 0 < parse_number(claim["value"]) <= 1:
        raise FormatError(f"expected a probability above 0 and at most 1, got {claim['value']}", field=f"{where}.value")
    if claim.get("comparison", "at least") != "at least" or "tolerance" in claim:
        raise FormatError("a claim about reaching a gap is at least its value, without a tolerance", field=where)
    if ("game" in claim) == ("setting" in claim) or ("game" in claim and {"table", "mixture"} & claim.keys()):
        raise FormatError("expected a game, or a setting with a table or a mixture", field=where)
    if "level" in claim and not parse_number(claim["level"]) < 1:
        raise FormatError(f"expected a level between 0 and 1, got {claim['level']}", field=f"{where}.level")
    if "rng_seed" in claim and (type(claim["rng_seed"]) is not int or claim["rng_seed"] < 0):
        raise FormatError(f"expected a whole number from 0 on, got {claim['rng_seed']!r}", field=f"{where}.rng_seed")


def _check_seeds(claim: Mapping[str, Any], where: str) -> None:
    if claim.get("comparison", "equals") == "equals":
        raise FormatError("a claim about seeds is at least or at most its value", field=f"{where}.comparison")
    counts = {}
    for key in ("figures", "against"):
        if key in claim:
            counts[key] = len([parse_number(x, f"{where}.{key}") for x in _list(claim[key], f"{where}.{key}")])
    if counts["figures"] < 2 or len(set(counts.values())) > 1:
        got = " and ".join(map(str, counts.values()))
        raise FormatError(f"expected a figure for each of at least 2 seeds, got {got}", field=f"{where}.figures")


# ------------------------------------------------------------------------------------ recomputing


def judge_claims(found: ClaimsFile, progress: Callable[[str], None] | None = None) -> list[Statement]:
    """One statement a claim, in the file's order (theory T10).

    Raises:
        SpverifyError: a claim whose tables, games or plays are malformed.
    """
    out = []
    for k, claim in enumerate(found.claims):
        if progress:
            progress(f"claim {k + 1} of {len(found.claims)}: {claim['id']}")
        try:
            out.append(_judge(claim, found.folder))
        except SpverifyError as error:
            if error.path is None and not str(error).startswith("claim["):
                raise type(error)(str(error), field=f"claim[{k}] ({claim['id']})") from None
            raise
    return out


def _judge(claim: Mapping[str, Any], folder: Path) -> Statement:
    text = " ".join(claim["text"].split())
    origin = ", ".join(str(claim[key]) for key in ("source", "version") if key in claim)
    role = claim.get("role", "required")
    details: dict[str, Any] = {"kind": claim["kind"], "source": claim.get("source"), "version": claim.get("version")}
    where = f" ({origin})" if origin else ""
    try:
        found = _RECOMPUTE[claim["kind"]](claim, folder)
    except OutOfReachError as reason:
        return state(
            f"claim.{claim['id']}",
            role,
            text,
            "inconclusive",
            threshold=parse_number(claim["value"]) if "value" in claim else None,
            why=f"Not recomputed{where}: {reason}.",
            **details,
        )
    claimed, slack = parse_number(claim["value"]), parse_number(claim.get("tolerance", 0))
    comparison = claim.get("comparison", "at least" if claim["kind"] == "reach" else "equals")
    above, below = found.value - claimed > slack, claimed - found.value > slack
    wrong = {"equals": above or below, "at least": below, "at most": above}[comparison]
    verdict: Verdict = "refuted" if wrong else "holds"
    obtained = "Recorded" if claim["kind"] == "seeds" else "Recomputed"
    within = f" (tolerance {show(slack)})" if slack else ""
    return state(
        f"claim.{claim['id']}",
        role,
        text,
        verdict if found.decided else "inconclusive",
        measured=found.value,
        threshold=claimed,
        evidence=found.evidence,
        why=f"Claimed{where}: {_COMPARISONS[comparison]}{show(claimed)}{within}. {obtained}: {show(found.value)}, "
        f"{found.how}. {_what_would_change(wrong, comparison)}",
        comparison=comparison,
        claimed_exact=number_text(claimed),
        measured_exact=number_text(found.value),
        tolerance=float(slack),
        **details,
        **found.details,
    )


def _what_would_change(wrong: bool, comparison: str) -> str:
    side = {"equals": "further from the claim", "at least": "below the claim", "at most": "above the claim"}
    return "A figure that agrees would uphold it." if wrong else f"A figure {side[comparison]} would refute it."


def _world(claim: Mapping[str, Any]) -> Setting | DynamicSetting:
    if not has_setting(claim["setting"]):
        raise OutOfReachError(f"this version has no setting {claim['setting']}")
    return get_world(claim["setting"], claim.get("parameters"))


def _reference(claim: Mapping[str, Any], folder: Path) -> Found:
    setting = _world(claim)
    for reference in setting.references():
        if reference.name == claim["name"]:
            return Found(reference.value, "exact", f"by {setting.name}: {reference.text}", True, {})
    raise OutOfReachError(f"{setting.name} knows no reference {claim['name']}")


def _commitment(claim: Mapping[str, Any], folder: Path) -> Found:
    from ..solvers.commitment import optimal_mixed_commitment, optimal_pure_commitment
    from ..trained_leaders.settings.matrix import MatrixGame

    if "setting" in claim:
        setting = _world(claim)
        if not isinstance(setting, MatrixGame):
            raise OutOfReachError(f"{setting.name} is no matrix game")
        tables: tuple[Any, Any] = (setting.leader_table, setting.follower_table)
    else:
        tables = _matrix(claim["leader"], "leader"), _matrix(claim["follower"], "follower")
        if [len(row) for row in tables[0]] != [len(row) for row in tables[1]]:
            raise FormatError("expected tables of the same shape", field="follower")
    best = (optimal_pure_commitment if claim["over"] == "pure" else optimal_mixed_commitment)(*tables)
    row = ", ".join(map(str, best.mixture))
    details = {
        "mixture": [number_text(p) for p in best.mixture],
        "margin": None if best.margin is None else number_text(best.margin),
        "pessimistic": number_text(best.pessimistic),
    }
    how = f"at ({row}), the follower breaking ties for the leader; {show(best.pessimistic)} if against it"
    return Found(best.value, "exact", how, best.proved, details)


def _matrix(rows: Any, field: str) -> list[list[Fraction]]:
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise FormatError("expected a list of rows", field=field)
    if len({len(row) for row in rows}) > 1:
        raise FormatError("expected rows of one length", field=field)
    return [[parse_number(entry, field) for entry in row] for row in rows]


def _leader(claim: Mapping[str, Any], folder: Path) -> Found:
    from .replay import READOUTS, Followers, Replays

    setting = _world(claim)
    if isinstance(setting, DynamicSetting):
        return _dynamic_leader(claim, setting)
    if claim["readout"] not in READOUTS:
        raise OutOfReachError(f"{setting.name} has no readout {claim['readout']}")
    own = setting.followers
    rate = float(parse_number(claim["rate"])) if "rate" in claim else own.epsilon
    followers = Followers(claim.get("updates", own.updates), rate, own.types, own.opponents)
    seeds = claim.get("seeds", 8)
    replays = Replays(_led(claim, setting), followers, float(setting.payoff_scale), (1,), seeds, 0)
    reading = replays.readings[1, claim["readout"]]
    figure = claim.get("figure", "value")
    value = reading.value if figure == "value" else reading.gap
    whose = "value, mean" if figure == "value" else "gap, the largest"
    how = f"{whose} over {seeds} replays of {followers.updates} updates, {claim['readout']} readout"
    details = {"readout": claim["readout"], "gap": float(reading.gap), "leader_value": float(reading.value)}
    spread = [float(min(reading.values)), float(max(reading.values))]
    return Found(value, "exact", how, True, {**details, "values": spread, "updates": followers.updates, "seeds": seeds})


def _led(claim: Mapping[str, Any], setting: Setting) -> BayesianGame:
    """The followers' game under the claim's table or mixture."""
    if "table" in claim:
        return setting.tabulate(
            table_rows(setting, [_action(setting, entry) for entry in _list(claim["table"], "table")])
        )
    return setting.tabulate(tuple(tuple(row) for row in _matrix(claim["mixture"], "mixture")))


def _reach(claim: Mapping[str, Any], folder: Path) -> Found:
    from ..verify.convergence import check_reach

    setting = None if "game" in claim else _world(claim)
    if isinstance(setting, DynamicSetting):
        gaps, title, scale = _dynamic_gaps(claim, setting), "Q-learning", float(setting.payoff_scale)
        details: dict[str, Any] = {}
    else:
        gaps, title, scale, details = _learned_gaps(claim, setting, folder)
    found = check_reach(
        gaps,
        epsilon=float(parse_number(claim["epsilon"])),
        rounds=claim["rounds"],
        probability=float(parse_number(claim["value"])),
        learner=title,
        level=float(parse_number(claim.get("level", "0.95"))),
        scale=scale,
    )
    details |= {"gap_median": float(np.median(gaps)), "gap_max": max(gaps), **found.details}
    share = Fraction(found.details["successes"], len(gaps))
    low, high = found.details["chance_lower"], found.details["chance_upper"]
    how = (
        f"the share of {len(gaps)} independent runs of {title} that reached it; by the exact binomial interval "
        f"the chance is between {low:.4g} and {high:.4g} at confidence {found.details['level']:g}"
    )
    return Found(share, "statistical", how, found.verdict != "inconclusive", details)


def _learned_gaps(
    claim: Mapping[str, Any], setting: Setting | None, folder: Path
) -> tuple[list[float], str, float, dict[str, Any]]:
    """Gaps of runs in one Bayesian game, the learner's title, the payoff scale, and the game's digest."""
    from ..solvers.learners import run_learners
    from ..verify.formats import read_game
    from .command_replay import Question, game_scale, make_learner

    if claim["learner"] == Q_LEARNING:
        raise OutOfReachError("Q-learning is for play that goes on, and this is one Bayesian game")
    if setting is None:
        game = read_game(folder / claim["game"])
        scale = game_scale(game)
    else:
        game, scale = _led(claim, setting), float(setting.payoff_scale)
    scale = float(parse_number(claim["payoff_scale"])) if "payoff_scale" in claim else scale
    rate = float(parse_number(claim["rate"])) if "rate" in claim else None
    learner = make_learner(Question(learner=claim["learner"], rate=claim.get("schedule"), learning_rate=rate), scale)
    run = run_learners(
        game,
        learner,
        claim["rounds"],
        seeds=claim.get("runs", 100),
        types=claim.get("types", "sampled"),
        opponents=claim.get("opponents", "sampled"),
        rng_seed=claim.get("rng_seed", 0),
        checkpoints=(claim["rounds"],),
        keep=False,
        threads=0,
    )
    runs = range(len(run.last[0]))
    gaps = [max(0.0, *(float(r.max()) for r in run.regrets_at(game, claim["rounds"], b))) for b in runs]
    return gaps, learner.title, scale, {"game_sha256": game.sha256}


def _dynamic_gaps(claim: Mapping[str, Any], setting: DynamicSetting) -> list[float]:
    """Gaps a round of Q-learners in the setting, frozen after the rounds of the claim; from above."""
    from ..trained_leaders.dynamic import measure_rule

    if claim["learner"] != Q_LEARNING:
        raise OutOfReachError(f"play of {setting.name} goes on, where followers are Q-learners")
    if "mixture" in claim:
        raise OutOfReachError(f"{setting.name} has no leaders who commit to a mixture")
    if claim.keys() & {"schedule", "types", "opponents", "payoff_scale"}:
        raise OutOfReachError(f"the followers of {setting.name} learn from what they are paid, at one rate")
    learner = setting.learner
    if "rate" in claim:
        learner = replace(learner, rate=float(parse_number(claim["rate"])))
    games = setting.unfold([_action(setting, entry) for entry in _list(claim["table"], "table")])
    weights = [w for _, w in setting.scenarios]
    runs, rng_seed = claim.get("runs", 100), claim.get("rng_seed", 0)
    (found,) = measure_rule(games, weights, learner, [claim["rounds"]], runs=runs, rng_seed=rng_seed)
    return [outward(max(g.high for f in run for g in f.gain), "up") for run in found.runs]


def _dynamic_leader(claim: Mapping[str, Any], setting: DynamicSetting) -> Found:
    """Value or gap of a table whose play goes on: against an exact reply, or the mean over runs of Q-learners."""
    from ..trained_leaders.dynamic import BEST_REPLY, exact_replies, measure_rule, reply_value

    if "table" not in claim:
        raise OutOfReachError(f"{setting.name} has no leaders who commit to a mixture")
    table = [_action(setting, entry) for entry in _list(claim["table"], "table")]
    games, weights = setting.unfold(table), [w for _, w in setting.scenarios]
    figure = claim.get("figure", "value")
    if claim["readout"] == BEST_REPLY:
        if not exact_replies(games):
            raise OutOfReachError(f"{setting.name} has no readout {BEST_REPLY}")
        value = reply_value(games, weights) if figure == "value" else Fraction(0)
        return Found(value, "exact", "by backward induction, ties broken against the leader", True, {})
    if claim["readout"] == "empirical" or "rate" in claim:
        raise OutOfReachError(f"the followers of {setting.name} are Q-learners with one rate, read when frozen")
    seeds, periods = claim.get("seeds", 32), claim.get("updates", setting.periods)
    (found,) = measure_rule(games, weights, setting.learner, [periods], runs=seeds, rng_seed=0)
    value = found.mean.middle if figure == "value" else found.gap().high
    whose = "value, mean" if figure == "value" else "gap a round, the largest"
    values = [float(v.middle) for v in found.values]
    details = {"values": [min(values), max(values)], "updates": periods, "seeds": seeds}
    return Found(value, "exact", f"{whose} over {seeds} runs of {periods} periods", True, details)


def _list(given: Any, field: str) -> list[Any]:
    if not isinstance(given, list):
        raise FormatError(f"expected a list, got {given!r}", field=field)
    return given


def _action(setting: World, entry: Any) -> int:
    if type(entry) is int:
        return entry
    try:
        return setting.actions.index(entry)
    except ValueError:
        near = get_close_matches(str(entry), setting.actions, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise FormatError(f"{setting.name} has no action {entry!r}{hint}", field="table") from None


def _updates(claim: Mapping[str, Any], folder: Path) -> Found:
    """Theory T7 for expected feedback and payoffs in [0, 1]: ln K / (η N) + η / 8 ≤ target."""
    rate, target = parse_number(claim["rate"]), float(parse_number(claim["target"]))
    eta, actions = log(1 + float(rate)), claim["actions"]
    left = target - eta / 8
    if left <= 0:
        raise OutOfReachError(f"at this rate the bound stays above {show(eta / 8, 4)} however long the learning")
    count = max(1, round(log(actions) / (eta * left)))
    while log(actions) / (eta * count) + eta / 8 > target:
        count += 1
    while count > 1 and log(actions) / (eta * (count - 1)) + eta / 8 <= target:
        count -= 1
    return Found(Fraction(count), "float", "the fewest updates with ln K/(ηN) + η/8 at most the target", True, {})


def _range(claim: Mapping[str, Any], folder: Path) -> Found:
    from ..solvers.bounds import equilibrium_range
    from ..verify.formats import read_game

    game = read_game(folder / claim["game"])
    objective = claim.get("objective", "leader" if game.leader is not None else "welfare")
    epsilon, which = parse_number(claim.get("epsilon", 0)), claim.get("set", "sf")
    found = equilibrium_range(game, objective=objective, equilibrium_set=which, epsilon=epsilon, seconds=RANGE_SECONDS)
    if found.interrupted:
        raise KeyboardInterrupt
    side = found.min if claim["side"] == "min" else found.max
    reached = None if side.inner is None else number_text(side.inner)
    how = f"proved for every {which} equilibrium at epsilon {show(epsilon)}"
    # An end that no play reaches may lie further in than its bound, on the other side of what is claimed.
    decided = found.proved and side.closed
    if not decided:
        how += f", and reached up to {'no play' if side.inner is None else show(side.inner)}"
    return Found(side.outer, "exact", how, decided, {"reached": reached, "game_sha256": game.sha256})


def _gap(claim: Mapping[str, Any], folder: Path) -> Found:
    from ..verify.formats import read_game, read_play
    from ..verify.regret import assess

    game = read_game(folder / claim["game"])
    report = assess(game, read_play(folder / claim["play"], game))
    assert report.gap_exact is not None
    return Found(report.gap_exact, "exact", "the largest gain of any type by a fixed deviation", True, {})


def _seeds(claim: Mapping[str, Any], folder: Path) -> Found:
    """The mean over recorded seeds, of the difference where there are two sides, and its bootstrap interval."""
    numbers = [parse_number(x) for x in claim["figures"]]
    if "against" in claim:
        numbers = [x - parse_number(y) for x, y in zip(numbers, claim["against"], strict=True)]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    rng = np.random.default_rng(0)
    draws = rng.choice([float(x) for x in numbers], size=(BOOTSTRAPS, len(numbers))).mean(axis=1)
    low, high = (float(q) for q in np.quantile(draws, [0.025, 0.975]))
    claimed, slack = float(parse_number(claim["value"])), float(parse_number(claim.get("tolerance", 0)))
    # The whole interval must lie on one side of the value.
    down, up = claimed - slack - ROUNDING, claimed + slack + ROUNDING
    decided = low >= down or high < down if claim["comparison"] == "at least" else high <= up or low > up
    of = "the mean difference" if "against" in claim else "the mean"
    record = " ".join(claim["record"].split()).rstrip(".")
    how = (
        f"{of} over {len(numbers)} seeds of {record}; 95% bootstrap interval {low:.4g} to {high:.4g}, "
        f"least {show(min(numbers))}, most {show(max(numbers))}"
    )
    details = {"seeds": len(numbers), "mean_lower": low, "mean_upper": high, "record": record}
    return Found(mean, "statistical", how, decided, details)


def _other(claim: Mapping[str, Any], folder: Path) -> Found:
    raise OutOfReachError(" ".join(claim["reason"].split()).rstrip("."))


_RECOMPUTE: dict[str, Callable[[Mapping[str, Any], Path], Found]] = {
    "reference": _reference,
    "commitment": _commitment,
    "leader": _leader,
    "updates": _updates,
    "range": _range,
    "reach": _reach,
    "gap": _gap,
    "seeds": _seeds,
    "other": _other,
}


def claims_document(found: ClaimsFile, statements: list[Statement]) -> dict[str, Any]:
    """What ``spverify claims`` prints with ``--json``."""
    return {
        "command": "claims",
        "format": "spverify-claims-verdicts",
        "version": 1,
        "title": found.title,
        "source": found.source,
        "statements": [statement.to_document() for statement in statements],
        "verdict": combine(statements),
    }
