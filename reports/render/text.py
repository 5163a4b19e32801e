"""Short answers as plain text, at most 80 columns and readable without colour. Standard library only."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from fractions import Fraction
from functools import wraps
from typing import Any, ParamSpec

from ...verify.errors import printable
from ...verify.numerals import show, show_exact

WIDTH = 80
SET_NAMES = {"sf": "strategic-form", "ns": "non-signalling", "tc": "type-conditional"}
READOUTS = {"empirical": "average play", "last": "final mix", "argmax": "final actions", "best-reply": "exact reply"}
LEARNED = ("empirical", "last", "argmax")
"""The readouts of every learner; `best-reply` is only where an exact reply can be had."""
MEANING = {
    "holds": "every required statement was upheld",
    "refuted": "a required statement does not hold",
    "inconclusive": "nothing refuted, but something required could not be decided",
}
_COLOURS = {"holds": "32", "accepted": "32", "refuted": "31", "refused": "31", "inconclusive": "33"}


Arguments = ParamSpec("Arguments")


def for_terminals(render: Callable[Arguments, str]) -> Callable[Arguments, str]:
    """A rendering whose documents' texts cannot move the cursor or begin a line: names come from strangers' files."""

    @wraps(render)
    def rendered(*documents: Arguments.args, **options: Arguments.kwargs) -> str:
        return render(*map(_lines_kept, documents), **options)

    return rendered


def _lines_kept(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value.replace("\n", " "))
    if isinstance(value, Mapping):
        return {_lines_kept(key): _lines_kept(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_lines_kept(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{part.name: _lines_kept(getattr(value, part.name)) for part in fields(value)})
    return value


def colour(word: str, key: str | None = None) -> str:
    """The word in bold and in the colour of its verdict, where standard output is a terminal that wants colour."""
    code = _COLOURS.get(key or word.lower(), "0")
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return word
    return f"\033[1;{code}m{word}\033[0m"


def facts(rows: Iterable[tuple[str, str]], indent: int = 2) -> list[str]:
    """Lines of label and text, texts aligned and wrapped; an empty label continues the one above."""
    rows = list(rows)
    pad = max((len(label) for label, _ in rows), default=0) + 2
    lines = []
    for label, text in rows:
        start = " " * indent + label.ljust(pad)
        lines += textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=" " * (indent + pad)) or [start]
    return lines


def paragraph(text: str, indent: int = 2) -> list[str]:
    """A sentence, wrapped."""
    return textwrap.wrap(text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent)


def summary(document: Mapping[str, Any]) -> str:
    """One sentence: how the required statements ended."""
    required = [s for s in document["statements"] if s["role"] == "required"]
    failed = [s["id"] for s in required if s["verdict"] == "refuted"]
    open_ = [s["id"] for s in required if s["verdict"] == "inconclusive"]
    if failed:
        return f"{len(failed)} of {len(required)} required statements are refuted: {', '.join(failed)}."
    if open_:
        return f"{len(open_)} of {len(required)} required statements could not be decided: {', '.join(open_)}."
    others = len(asides(document))
    rest = f"; of the others {others} do{'es' if others == 1 else ''} not" if others else ""
    return f"All {len(required)} required statements hold{rest}."


def asides(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Information that does not hold: it decides nothing, and a reader should know it."""
    return [s for s in document["statements"] if s["role"] == "information" and s["verdict"] != "holds"]


def pacts(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What followers who act together could do, one statement a coalition; none with one follower."""
    return [s for s in document["statements"] if s["id"].startswith("coalition.")]


def learner_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a learning rule, at the longest horizon that all rules were asked for: its entries by readout, and the
    verdict on its regret."""
    verdicts = {s["id"]: s["verdict"] for s in document["statements"]}
    rows: dict[str, dict[str, Any]] = {}
    for entry in document["tables"]["learners"]:  # longer horizons come later
        row = rows.setdefault(entry["learner"], {key: entry[key] for key in ("learner", "title", "own", "guarantee")})
        row["verdict"] = verdicts[f"regret.{entry['learner']}"]
        row[entry["readout"]] = entry
    return list(rows.values())


def span(found: Mapping[str, Any], digits: int = 5) -> str:
    """A proved range in words, rounded outwards; one number where both ends are the same."""
    low, high = Fraction(found["min_exact"]), Fraction(found["max_exact"])
    if low == high and show(low, digits, "down") == show(high, digits, "up"):
        return show(low, digits)
    return f"{show(low, digits, 'down')} … {show(high, digits, 'up')}"


@for_terminals
def check_text(document: Mapping[str, Any], players: Iterable[Any]) -> str:
    """The answer to `check`; ``players`` are the game's, for names."""
    names = list(players)
    epsilon = show_exact(Fraction(document["epsilon_exact"]))
    gap = show_exact(Fraction(document["gap_exact"]))
    log, verdict = document["play"] == "log", document["verdict"]
    lines = [f"{colour(verdict.upper(), verdict)}: {printable(document['game'])}", ""]
    if log:
        lines += paragraph(_log_sentence(document, epsilon))
    elif verdict == "holds":
        lines += paragraph(f"No fixed deviation gains more than epsilon = {epsilon}: this play is an epsilon-BCCE.")
    else:
        lines += paragraph(f"A follower gains {gap}, more than epsilon = {epsilon}, by a fixed deviation.")
        if max(document["ex_ante"]) <= document["epsilon"]:
            lines += paragraph("A check of ex-ante deviations alone, as other tools make it, would have passed this.")
    rows = [("gap", f"{gap}  (exact{', of the log under its own frequencies' if log else ''})")]
    if document["witness"]:
        at = document["witness"]
        player = names[at["player"]]
        who = f'{player.name} of type "{player.types[at["type"]]}"'
        rows.append(("who gains", printable(f'{who}, by always playing "{player.actions[at["deviation"]]}"')))
    if document["confidence"]:
        c = document["confidence"]
        text = f"{show(c['gap_lower'], direction='down')} to {show(c['gap_upper'], direction='up')}"
        rows.append(("gap behind the log", f"{text}  (statistical, confidence {show(c['level'])})"))
    if document["independence"]:
        rows += _independence_rows(document["independence"])
        rows.append(("drift", _drift_sentence(document["drift"], names)))
    which = document["set"]
    rows.append(("kind of play", f"{document['play']}, {SET_NAMES[which]} ({which})"))
    for label, key, meaning in (
        ("per-type sum", "per_type_sum", "each type deviates or not"),
        ("ex-ante gain", "ex_ante", "all types deviate together"),
    ):
        values = [f"{printable(p.name)} {show(v)}" for p, v in zip(names, document[key], strict=True)]
        rows.append((label, f"{', '.join(values)}  ({meaning})"))
    if document["nashconv"] is not None:
        rows.append(("NashConv", f"{show(document['nashconv'])}  (their sum over players, of independent play)"))
    if document["leader_value"] is not None:
        rows.append(("leader's value", show(document["leader_value"])))
    if document["largest_change"]:
        rows.append(("made exact", f"probabilities moved by at most {show(document['largest_change'], 2, 'up')}"))
    if document["certificate"]:
        rows.append(("certificate", document["certificate"]))
    return "\n".join([*lines, "", *facts(rows)])


def _independence_rows(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if found["signalling"]:
        text = f"refuted at confidence {show(found['level'])}: {found['signalling']}"
        rows.append(("independent action", text))
    if found["correlation"]:
        unless = "" if found["drift"] is None else f" by more than {show(found['drift'])}"
        text = f"{found['correlation']}; not independent, unless strategies moved in step between rounds{unless}"
        rows.append(("correlation", text))
    return rows


def _drift_sentence(found: Mapping[str, Any], names: list[Any]) -> str:
    if found["change"] is None:
        return f"none shown at confidence {show(found['level'])} (a log never proves steady play)"
    at = found["change"]
    player = names[at["player"]]
    return printable(
        f'play changed, at confidence {show(found["level"])}: {player.name} of type "{player.types[at["type"]]}" '
        f'played "{player.actions[at["action"]]}" in {at["frequency_before"]:.1%} of its visits in rounds 1 to '
        f"{at['before'][1]}, in {at['frequency_after']:.1%} in rounds {at['after'][0] + 1} to {at['after'][1]}; the "
        "gap is that of the average over rounds, and says nothing about later ones"
    )


def _log_sentence(document: Mapping[str, Any], epsilon: str) -> str:
    level = show(document["confidence"]["level"])
    end = f"epsilon = {epsilon}, at confidence {level} and if types are drawn from the prior."
    return {
        "holds": f"The averaged play behind this log has a gap of at most {end}",
        "refuted": f"The averaged play behind this log has a gap above {end}",
        "inconclusive": f"The log is too short, or too close, to tell on which side the gap lies of {end}",
    }[document["verdict"]]


@for_terminals
def bounds_text(document: Mapping[str, Any]) -> str:
    """The answer to `bounds`."""
    which, objective = document["set"], document["objective"]
    words = {"leader": "the leader's value", "welfare": "welfare", "custom": "the objective of the file"}
    subject = words.get(objective, f"the payoff of {objective}")
    epsilon = show_exact(Fraction(document["epsilon_exact"]))
    word = "PROVED" if document["proved"] else "BOUNDS ONLY"
    low, high = Fraction(document["min"]["outer_exact"]), Fraction(document["max"]["outer_exact"])
    lines = [f"{colour(word, 'holds' if document['proved'] else 'inconclusive')}: {printable(document['game'])}", ""]
    span = f"[{show(low, 9, 'down')}, {show(high, 9, 'up')}]"
    lines += paragraph(
        f"Over all {SET_NAMES[which]} BCCE ({which}) with epsilon = {epsilon}, {subject} lies in {span}."
    )
    rows = []
    for name, direction, side in (("least", "down", document["min"]), ("most", "up", document["max"])):
        outer = show_exact(Fraction(side["outer_exact"]), 9, direction)
        rows.append((f"{name}, proved", f"{outer}  (no equilibrium is worth {'less' if name == 'least' else 'more'})"))
        if side["inner_exact"] is None:
            rows.append((f"{name}, reached", "no play is shown"))
        else:
            gap = show(Fraction(side["inner_gap_exact"]), 3, "up")
            inner = show_exact(Fraction(side["inner_exact"]), 9)
            rows.append((f"{name}, reached", f"{inner}  (by a play with gap {gap}, exact)"))
            if side["width"]:
                rows.append((f"{name}, open", f"{show(Fraction(side['width']), 3, 'up')} between proved and reached"))
    rows.append(("method", document["method"]))
    rows.append(("time", f"{document['seconds']:.2f} s"))
    for side in (document["min"], document["max"]):
        rows += [("certificate", side[key]) for key in ("certificate", "inner_certificate") if side[key]]
    lines += ["", *facts(rows)]
    held = [(name, side["held_back_by"]) for name, side in (("least", document["min"]), ("most", document["max"]))]
    if any(prices for _, prices in held):
        lines += ["", "  What holds an end back"]
        lines += facts([(name, price["sentence"]) for name, prices in held for price in prices[:2]])
    if "curve" in document:
        cells = [(p["epsilon_exact"], Fraction(p["min_exact"]), Fraction(p["max_exact"]), p) for p in document["curve"]]
        body = [[e, show(a, 7, "down"), show(b, 7, "up"), "yes" if p["proved"] else "no"] for e, a, b, p in cells]
        lines += ["", *table(["epsilon", "least", "most", "proved"], body, right=(1, 2))]
    if "coalition" in document:
        lines += ["", *_coalition_lines(document["coalition"], subject)]
    return "\n".join(lines)


def _coalition_lines(found: Mapping[str, Any], subject: str) -> list[str]:
    players = ", ".join(map(str, found["players"]))
    low, high = Fraction(found["min"]["outer_exact"]), Fraction(found["max"]["outer_exact"])
    threshold = show_exact(Fraction(found["threshold_exact"]), 9)
    lines = paragraph(
        f"If followers {players} choose the equilibrium together ({'proved' if found['proved'] else 'bounds only'}): "
        f"in every equilibrium worth at least {threshold} to them, {subject} lies in "
        f"[{show(low, 9, 'down')}, {show(high, 9, 'up')}]."
    )
    rows = [("joint optimum", f"at most {show_exact(Fraction(found['joint']['outer_exact']), 9, 'up')}")]
    for name, side in (("least", found["min"]), ("most", found["max"])):
        if side["inner_exact"] is not None:
            gap = show(Fraction(side["inner_gap_exact"]), 3, "up")
            rows.append(
                (f"{name}, reached", f"{show_exact(Fraction(side['inner_exact']), 9)}  (by a play with gap {gap})")
            )
    for side in (found["joint"], found["min"], found["max"]):
        rows += [("certificate", side[key]) for key in ("certificate", "inner_certificate") if side[key]]
    return [*lines, *facts(rows)]


@for_terminals
def recheck_text(document: Mapping[str, Any]) -> str:
    """The answer to `recheck`, about one certificate or all those of a folder."""
    if "certificates" in document:
        found = document["certificates"]
        refused = [one for one in found if not one["accepted"]]
        word = "refused" if refused else "accepted"
        count = f"{len(refused)} of {len(found)} certificates {word}" if refused else f"{len(found)} certificates"
        lines = [f"{colour(word.upper(), word)} by the exact kernel: {count}", ""]
        for one in found:
            mark = "accepted" if one["accepted"] else "refused"
            lines += [f"{mark:10}{one['file']}", *paragraph(_claim(one), 10)]
        return "\n".join(lines)
    word = "accepted" if document["accepted"] else "refused"
    return "\n".join([f"{colour(word.upper(), word)} by the exact kernel", "", *paragraph(_claim(document))])


def _claim(answer: Mapping[str, Any]) -> str:
    statement = answer["statement"][0].upper() + answer["statement"][1:] + "."
    return statement + (f" Not proved: {answer['reason']}." if answer["reason"] else "")


def table(head: list[str], rows: list[list[str]], indent: int = 2, right: Iterable[int] = ()) -> list[str]:
    """Lines of a table with aligned columns; the last column is wrapped to the page."""
    right = set(right)
    widths = [max(len(line[k]) for line in [head, *rows]) for k in range(len(head))]
    room = WIDTH - indent - sum(widths[:-1]) - 2 * (len(head) - 1)
    widths[-1] = max(min(widths[-1], room), 12)

    def lines(cells: list[str]) -> list[str]:
        shown = [c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
        start = " " * indent + "  ".join(shown[:-1]) + ("  " if len(shown) > 1 else "")
        last = textwrap.wrap(cells[-1], widths[-1]) or [""]
        first = last[0].rjust(widths[-1]) if len(head) - 1 in right else last[0]
        return [(start + first).rstrip(), *(" " * len(start) + more for more in last[1:])]

    rule = " " * indent + "─" * min(WIDTH - indent, sum(widths) + 2 * (len(head) - 1))
    return [*lines(head), rule, *(line for row in rows for line in lines(row))]


@for_terminals
def claims_text(document: Mapping[str, Any]) -> str:
    """The verdict on every claim of a paper, and why where it does not hold."""
    statements = document["statements"]
    verdict = document["verdict"]
    lines = [f"{colour(verdict.upper(), verdict)}: {document['title']}", "", *paragraph(claims_summary(document)), ""]
    rows = [
        [
            s["id"].removeprefix("claim."),
            "" if s["threshold"] is None else show(s["threshold"], 5),
            "" if s["measured"] is None else show(s["measured"], 5),
            s["verdict"],
        ]
        for s in statements
    ]
    lines += table(["claim", "claimed", "recomputed", "verdict"], rows, right=[1, 2])
    for s in statements:
        if s["verdict"] != "holds":
            lines += ["", *paragraph(f"{s['id'].removeprefix('claim.')} ({s['verdict']}): {s['text']} {s['why']}")]
    return "\n".join(lines)


def claims_summary(document: Mapping[str, Any]) -> str:
    """How many claims ended how, in one sentence."""
    found = [s["verdict"] for s in document["statements"]]
    counts = [
        f"{found.count(word)} {words[found.count(word) > 1]}" for word, words in _CLAIMS_WORDS.items() if word in found
    ]
    return f"Of {len(found)} claim{'s' if len(found) > 1 else ''}, {', '.join(counts)}."


_CLAIMS_WORDS = {
    "holds": ("holds", "hold"),
    "refuted": ("is refuted", "are refuted"),
    "inconclusive": ("cannot be decided here",) * 2,
}


@for_terminals
def settings_text(document: Mapping[str, Any]) -> str:
    """The settings as a table."""
    rows = []
    for item in document["settings"]:
        known = [f"{r['name']} {_short(Fraction(r['value_exact']))}" for r in item["references"]]
        sizes = [_counts(item["types"]), _counts(item["follower_actions"])]
        first = [item["name"], *sizes, "/".join(item["leader_action"])]
        rows += [[*(first if k == 0 else [""] * 4), value] for k, value in enumerate(known or [""])]
    lines = table(["setting", "types", "actions", "leader", "values known"], rows)
    return "\n".join([*lines, "", *paragraph("Train one with `spverify train NAME -o leader.pt`.")])


def _short(value: Fraction) -> str:
    """A short decimal where that is exact or the fraction is long, else the fraction."""
    text = show(value, 5)
    return text if Fraction(text) == value or value.denominator > 9999 else str(value)


def _counts(numbers: list[int]) -> str:
    return "×".join(map(str, numbers))


@for_terminals
def leader_text(document: Mapping[str, Any]) -> str:
    """What a leader file contains."""
    setting, policy = document["setting"], document["policy"]
    parameters = ", ".join(f"{k} = {v}" for k, v in setting["parameters"].items())
    rows = [
        ("setting", setting["name"] + (f" ({parameters})" if parameters else "")),
        ("policy", f"{policy['kind']}, leader action {policy['leader_action']}"),
        ("file", f"{document['bytes']} bytes, sha256 {document['sha256'][:16]}…"),
    ]
    training = document["training"]
    if training:
        followers = training.get("followers", {})
        for key in ("algorithm", "mode", "seed", "steps", "horizon", "readout", "status", "command"):
            if key in training:
                rows.append((key, str(training[key])))
        if followers:
            shown = ", ".join(f"{k} {v}" for k, v in followers.items())
            rows.append(("followers", shown))
    lines = [document["leader"], "", *facts(rows), "", "  What it does"]
    mechanism = [
        [item["observation"], ", ".join(_action(cell) for cell in item["actions"])] for item in document["mechanism"]
    ]
    lines += table(["observation", "leader's action"], mechanism)
    claims = document["claims"]
    if claims:
        lines += ["", "  What its trainer claims (unchecked here; `spverify report` recomputes it)"]
        names = [name for name in ("value", "gap") if name in claims]
        readouts = list(claims[names[0]]) if names else []
        figures = [[r, *(show(claims[n][r]) if r in claims[n] else "" for n in names)] for r in readouts]
        lines += table(["readout", *names], figures)
    return "\n".join(lines)


def _action(cell: Mapping[str, Any]) -> str:
    return cell["action"] if cell["exact"] == "1" else f"{cell['action']} ({cell['exact']})"


@for_terminals
def train_text(documents: Sequence[Mapping[str, Any]], best: str) -> str:
    """What was trained: value and gap under each readout, one line a seed; ``best`` is the file to go on with."""
    readouts = list(documents[0]["value"])
    rows = []
    for d in documents:
        figures = [
            show(d["value"][r], 5) + (f" ({show(d['gap'][r], 2, 'up')})" if r in d["gap"] else "") for r in readouts
        ]
        rows.append([str(d["seed"]), *figures, f"{d['seconds']:.1f} s", d["leader"]])
    head = ["seed", *readouts, "time", "leader"]
    right = [1, 2, 3, 4]
    lines = [f"{documents[0]['setting']}: value (gap) under each readout", "", *table(head, rows, right=right)]
    return "\n".join(
        [*lines, "", *paragraph(f"Audit {'it' if len(documents) == 1 else 'the best'}: spverify report {best}")]
    )
