"""The pictures of a report as inline SVG: text stays text, colours are the page's own, same input same bytes.

matplotlib draws with stand-in colours that are replaced by CSS variables, so one picture serves light, dark and print.
Each function takes the audit document and returns SVG with a title for those who cannot see it; ``narrow`` is for
phones, where a wide picture shrunk would have letters too small to read.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")

from matplotlib import rc_context
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure

from ...verify.game import FloatArray
from ...verify.numerals import show
from .text import READOUTS, learner_rows

Document = Mapping[str, Any]

# Stand-ins: colours no picture would use by itself, each replaced by a variable of the page.
INK, MUTED, RULE, BAND, FIRST, SECOND, THIRD, PAPER = (f"#0{k}0{k}0{k}" for k in range(1, 9))
_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    BAND: "--band",
    FIRST: "--first",
    SECOND: "--second",
    THIRD: "--third",
    PAPER: "--paper",
}
READOUT_STYLE: dict[Any, Any] = {"empirical": (SECOND, "o"), "last": (THIRD, "s"), "argmax": (FIRST, "D")}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "path.simplify": False,
}


def range_picture(document: Document, *, narrow: bool = False) -> str:
    """The proved range of the leader's value as a curve in epsilon, with the replays' own gaps and values marked."""
    curve = [point for point in document["series"]["range_curve"] if point["set"] == "sf"]
    curve.sort(key=lambda point: point["epsilon"])
    points = [point for point in document["series"]["points"] if point["factor"] == 1]
    own = max(point["gap"] for point in points)
    with rc_context({**_STYLE, "svg.hashsalt": f"range{narrow}"}):
        figure, axes = _figure(*(_NARROW if narrow else _WIDE))
        end = max(curve[-1]["epsilon"], own * 1.15, 1e-9)
        x, low, high = _envelope(curve, end)
        axes.fill_between(x, low, high, color=BAND, linewidth=0, zorder=1)
        axes.plot(x, low, color=FIRST, linewidth=1.4, zorder=2)
        axes.plot(x, high, color=FIRST, linewidth=1.4, zorder=2)
        values = [*low, *high, *(p["value"] for p in points)]
        shown = _references(document, values, narrow)
        values += [reference["value"] for reference in shown]
        bottom, top = min(values), max(values)
        margin = 0.09 * (top - bottom or abs(top) or 1.0)
        axes.set_ylim(bottom - margin, top + margin)
        axes.set_xlim(-0.012 * end, end)
        for reference in shown:
            axes.axhline(reference["value"], color=MUTED, linewidth=0.9, dashes=(4, 3), zorder=1.5)
        limit = document["subject"]["threshold"]
        if 0 < limit < end:
            axes.axvline(limit, color=MUTED, linewidth=0.9, dashes=(1, 2), zorder=1.5)
            axes.annotate(
                "largest gap allowed",
                (limit, 0.0),
                xycoords=("data", "axes fraction"),
                xytext=(4, 5),
                textcoords="offset points",
                fontsize=9,
                color=MUTED,
            )
        trails = _trails(axes, document["series"]["points"])
        board = _Board(axes, _PLOT_NARROW if narrow else _PLOT_WIDE)
        for line in [(x, low), (x, high), *trails, *(([0, end], [r["value"]] * 2) for r in shown)]:
            board.keep_off(*line)
        _mark(board, points)
        for reference in shown:
            words = f"{reference['name']} {show(reference['value'], 4)}"
            board.label(words, end, reference["value"], _LINE_PLACES, fontsize=9, color=MUTED)
        axes.set_xlabel("ε: the gain a follower may forgo (payoff units)")
        axes.set_ylabel("leader's value")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        return _svg(figure, _range_words(document, curve, points))


def _envelope(curve: Sequence[Document], end: float) -> tuple[list[float], list[float], list[float]]:
    """The tightest bound that all certificates together prove, at every epsilon from 0 to ``end``.

    The multipliers behind a bound at one epsilon prove a bound at every other, linear in it (theory T5), so between
    the epsilons that were asked nothing is interpolated.
    """
    starts = [point["epsilon"] for point in curve]
    meets = []
    for edge in ("min", "max"):
        for one, two in pairwise(curve):
            steep = one[f"{edge}_slope"] - two[f"{edge}_slope"]
            apart = two[edge] - one[edge] + one[f"{edge}_slope"] * one["epsilon"]
            if steep:
                meets.append((apart - two[f"{edge}_slope"] * two["epsilon"]) / steep)
    x = sorted({0.0, end, *starts, *(meet for meet in meets if 0 < meet < end)})
    low = [max(p["min"] + p["min_slope"] * (e - p["epsilon"]) for p in curve) for e in x]
    high = [min(p["max"] + p["max_slope"] * (e - p["epsilon"]) for p in curve) for e in x]
    return x, low, high


def _references(document: Document, values: Sequence[float], narrow: bool) -> list[dict[str, Any]]:
    """References worth a line: distinct values, not so far off that they would flatten the picture.

    Several of one value share a line and, where there is room, their names.
    """
    spread = max(values) - min(values) or abs(max(values)) or 1.0
    out: list[dict[str, Any]] = []
    for reference in document["series"]["references"]:
        near = min(values) - spread <= reference["value"] <= max(values) + spread
        same = next((r for r in out if abs(r["value"] - reference["value"]) < 1e-9 * spread), None)
        if same:
            same["name"] += "" if narrow else f", {reference['name']}"
        elif near:
            out.append(dict(reference))
    return out


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
Line = tuple[Sequence[float], Sequence[float]]


def _trails(axes: Any, points: Sequence[Document]) -> list[Line]:
    """Where each readout goes as the followers learn longer: a thin line and small marks; returns the lines."""
    out: list[Line] = []
    for readout, (colour, marker) in READOUT_STYLE.items():
        own = sorted((p for p in points if p["readout"] == readout), key=lambda p: p["factor"])
        x, y = [p["gap"] for p in own], [p["value"] for p in own]
        axes.plot(x, y, color=colour, linewidth=0.9, zorder=3, clip_on=False)
        axes.plot(x[1:], y[1:], marker, color=colour, markersize=3.2, linestyle="none", zorder=4, clip_on=False)
        out.append((x, y))
    return out


# Where a label may stand beside its place, in points, best first; the sign of x says on which side.
_MARK_PLACES = [(x, y) for reach in ((-3.5, 9, -16), (22, -29)) for x in (10, -10) for y in reach]
_LINE_PLACES = [(-0.1 - 45 * k, y) for k in range(11) for y in (3, -14)]
_WIDE, _NARROW = (9.2, 4.1), (4.7, 4.3)  # of a figure, inches
_PLOT_WIDE, _PLOT_NARROW = (590.0, 240.0), (270.0, 255.0)  # of its plotting area, points: near enough for labels
_CHARACTER, _LINE = 5.9, 12.0
_WORDS_WEIGH = 20  # covering words or a mark is as bad as covering so many points of a line
Box = tuple[float, float, float, float]


class _Board:
    """The plotting area of a picture, in points, and what already stands on it: labels go where they cover least."""

    def __init__(self, axes: Any, size: tuple[float, float]) -> None:
        self.axes = axes
        self.width, self.height = size
        self.taken: list[tuple[Box, int]] = []  # with how bad it is to cover it

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """Where data coordinates lie."""
        (left, right), (bottom, top) = self.axes.get_xlim(), self.axes.get_ylim()
        return (x - left) / (right - left) * self.width, (y - bottom) / (top - bottom) * self.height

    def keep_off(self, xs: Sequence[float], ys: Sequence[float]) -> None:
        """Nothing shall cover this line."""
        corners = [self.spot(x, y) for x, y in zip(xs, ys, strict=True)]
        for (x0, y0), (x1, y1) in pairwise(corners):
            for k in range(61):
                x, y = x0 + k / 60 * (x1 - x0), y0 + k / 60 * (y1 - y0)
                self.taken.append(((x, y, x, y), 1))

    def label(self, words: str, x: float, y: float, places: Sequence[tuple[float, float]], **look: Any) -> None:
        """Writes words beside a point, at the place that collides least; the first among equals."""
        here, width = self.spot(x, y), _CHARACTER * len(words)
        boxes = []
        for dx, dy in places:
            start = here[0] + dx if dx > 0 else here[0] + dx - width
            boxes.append(((start, here[1] + dy - 1, start + width, here[1] + dy + _LINE), dx, dy))
        inside = [b for b in boxes if b[0][0] >= 0 and b[0][2] <= self.width and b[0][1] >= 0]
        taken = np.array([[*box, weight] for box, weight in self.taken]).reshape(-1, 5).T
        box, dx, dy = min(inside or boxes, key=lambda b: _covered(b[0], taken))
        self.taken.append((box, _WORDS_WEIGH))
        side = "left" if dx > 0 else "right"
        self.axes.annotate(words, (x, y), xytext=(dx, dy), textcoords="offset points", ha=side, zorder=6, **look)


def _covered(box: Box, taken: FloatArray) -> float:
    """How bad it is to stand here: the weights of what overlaps; ``taken`` holds boxes and weights as columns."""
    left, bottom, right, top, weight = taken
    over = (box[0] <= right) & (left <= box[2]) & (box[1] <= top) & (bottom <= box[3])
    return float(weight[over].sum())


def _mark(board: _Board, points: Sequence[Document]) -> None:
    """The replays' marks, each with its readout and value beside it."""
    for point in sorted(points, key=lambda p: p["trained"]):
        colour, marker = READOUT_STYLE[point["readout"]]
        look = {"color": colour, "markersize": 8.5 if point["trained"] else 6.5, "markeredgecolor": PAPER}
        spot = [point["gap"]], [point["value"]]
        board.axes.plot(*spot, marker, **look, markeredgewidth=1.2, zorder=5, clip_on=False)
        x, y = board.spot(point["gap"], point["value"])
        board.taken.append(((x - 5, y - 5, x + 5, y + 5), _WORDS_WEIGH))
    for point in sorted(points, key=lambda p: not p["trained"]):
        board.label(
            f"{READOUTS[point['readout']]}: {show(point['value'], 4)}",
            point["gap"],
            point["value"],
            _MARK_PLACES,
            fontsize=9.5,
            color=READOUT_STYLE[point["readout"]][0],
            fontweight="bold" if point["trained"] else "normal",
        )


def _range_words(document: Document, curve: Sequence[Document], points: Sequence[Document]) -> str:
    first, last = curve[0], curve[-1]
    trained = next(point for point in points if point["trained"])
    return (
        f"Proved range of the leader's value against ε: from {show(first['min'], 4)} to {show(first['max'], 4)} at "
        f"ε = 0, from {show(last['min'], 4)} to {show(last['max'], 4)} at ε = {show(last['epsilon'], 3)}. The replays "
        f"reached {show(trained['value'], 4)} with a gap of {show(trained['gap'], 3)}."
    )


def horizon_picture(document: Document, *, narrow: bool = False) -> str:
    """The leader's value by readout and horizon, with the spread over replays."""
    rows = document["tables"]["readouts"]
    factors = sorted({row["factor"] for row in rows})
    with rc_context({**_STYLE, "svg.hashsalt": f"horizon{narrow}"}):
        figure, axes = _figure(*((_NARROW[0], 3.6) if narrow else (_WIDE[0], 3.2)))
        values = [row[key] for row in rows for key in ("value_min", "value_max")]
        shown = _references(document, values, narrow)
        values += [reference["value"] for reference in shown]
        bottom, top = min(values), max(values)
        margin = 0.12 * (top - bottom or abs(top) or 1.0)
        axes.set_ylim(bottom - margin, top + margin)
        for reference in shown:
            axes.axhline(reference["value"], color=MUTED, linewidth=0.9, dashes=(4, 3), zorder=1)
        ends = []
        for k, readout in enumerate(READOUT_STYLE):
            own = {row["factor"]: row for row in rows if row["readout"] == readout}
            colour, marker = READOUT_STYLE[readout]
            x = [n + 0.05 * (k - 1) for n in range(len(factors))]
            y = [own[factor]["value"] for factor in factors]
            axes.vlines(
                x,
                [own[f]["value_min"] for f in factors],
                [own[f]["value_max"] for f in factors],
                color=colour,
                linewidth=1.4,
                zorder=2,
            )
            axes.plot(
                x,
                y,
                marker=marker,
                color=colour,
                linewidth=1.4,
                markersize=6.5,
                markeredgecolor=PAPER,
                markeredgewidth=1,
                zorder=3,
            )
            ends.append((y[-1], f"{READOUTS[readout]} {show(y[-1], 4)}", colour))
        # Room at the left for the names of references, at the right for those of readouts.
        room = (0.6 if narrow else 0.2) * len(factors)
        axes.set_xlim(-0.2 * len(factors) if shown else -0.25, (len(factors) - 1) + room)
        _spread_labels(axes, ends, len(factors) - 1 + 0.04 * len(factors), top - bottom + 2 * margin)
        _label_left(axes, [(r["value"], r["name"]) for r in shown])
        axes.set_xticks(range(len(factors)))
        rounds = {row["factor"]: row["rounds"] for row in rows}
        axes.set_xticklabels([f"×{factor}\n{rounds[factor]}{'' if narrow else ' updates'}" for factor in factors])
        axes.set_ylabel("leader's value")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        words = "; ".join(
            f"{READOUTS[readout]} "
            + ", ".join(f"{show(r['value'], 4)} at ×{r['factor']}" for r in rows if r["readout"] == readout)
            for readout in READOUT_STYLE
        )
        return _svg(figure, f"The leader's value by horizon: {words}.")


def _label_left(axes: Any, labels: Sequence[tuple[float, str]]) -> None:
    for value, text in labels:
        axes.annotate(
            text,
            (0.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(4, 3),
            textcoords="offset points",
            ha="left",
            fontsize=9,
            color=MUTED,
        )


def _spread_labels(axes: Any, labels: Sequence[tuple[float, str, str]], x: float, height: float) -> None:
    """Labels (value, words, colour) at the right end, moved apart evenly where their lines meet."""
    least = 0.09 * height
    places = [value for value, _, _ in sorted(labels)]
    for _ in range(50):
        for k in range(len(places) - 1):
            short = least - (places[k + 1] - places[k])
            if short > 1e-12 * height:
                places[k] -= short / 2
                places[k + 1] += short / 2
    bottom, top = axes.get_ylim()
    shift = min(0.0, top - least / 2 - places[-1]) + max(0.0, bottom + least / 2 - places[0])
    for (_, words, colour), y in zip(sorted(labels), places, strict=True):
        axes.annotate(words, (x, y + shift), va="center", fontsize=9.5, color=colour, annotation_clip=False)


def regret_picture(document: Document, *, narrow: bool = False) -> str:
    """Average regret against the bound for multiplicative weights, log-log, one panel a player and type.

    All panels are drawn in one pair of axes, in points: a pair each takes most of the time that a report takes.
    """
    series = document["series"]["regret"]
    columns = min(len(series), 2 if narrow or len(series) == 4 else 3)
    lines = math.ceil(len(series) / columns)
    width = 72 * (_NARROW if narrow else _WIDE)[0]
    left, right, foot, head, apart, line = 54.0, 6.0, 36.0, 18.0, 12.0, 137.0
    wide, high = (width - left - right - apart * (columns - 1)) / columns, line - head - 8
    positive = [r for s in series for r in s["regret"] if r > 0]
    bounds = [b for s in series for b in s["bound"] if b > 0]
    top = max([*bounds, *positive, 1e-6]) * 2
    floor = max(min([*positive, *bounds, top / 10]) / 2, top * 1e-7)
    rounds = [r for s in series for r in s["rounds"]]
    across, up = _Decades(min(rounds), max(rounds), wide, 0.05), _Decades(floor, top, high, 0.0)
    with rc_context({**_STYLE, "svg.hashsalt": f"regret{narrow}", "font.size": 9}):
        figure = Figure(figsize=(width / 72, (lines * line + foot) / 72))
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, lines * line + foot))
        axes.set_axis_off()
        strokes: dict[str, list[list[tuple[float, float]]]] = {"grid": [], "frame": [], "bound": [], "regret": []}
        bands = []
        for k, one in enumerate(series):
            row, column = divmod(k, columns)
            x0, y0 = left + column * (wide + apart), foot + (lines - 1 - row) * line
            for y, words in up.ticks:
                strokes["grid"].append([(x0, y0 + y), (x0 + wide, y0 + y)])
                if column == 0:
                    strokes["frame"].append([(x0 - 3.5, y0 + y), (x0, y0 + y)])
                    axes.text(x0 - 6, y0 + y, words, color=MUTED, ha="right", va="center")
            for x, words in across.ticks:
                strokes["frame"].append([(x0 + x, y0 - 3.5), (x0 + x, y0)])
                if k + columns >= len(series):
                    axes.text(x0 + x, y0 - 6, words, color=MUTED, ha="center", va="top")
            strokes["frame"].append([(x0, y0 + high), (x0, y0), (x0 + wide, y0)])
            at = [x0 + across.place(r) for r in one["rounds"]]
            regret, bound = ([y0 + up.place(max(r, floor)) for r in one[key]] for key in ("regret", "bound"))
            bands.append([*zip(at, regret, strict=True), *reversed(list(zip(at, bound, strict=True)))])
            strokes["regret"].append(list(zip(at, regret, strict=True)))
            strokes["bound"].append(list(zip(at, bound, strict=True)))
            title, most = f"{one['player']}: {one['type']}", int((wide + apart) / _CHARACTER)
            axes.text(x0, y0 + high + 6, title if len(title) <= most else title[: most - 1] + "…", color=INK)
        axes.add_collection(LineCollection(strokes["grid"], colors=RULE, linewidths=0.7, zorder=0.5), autolim=False)
        axes.add_collection(PolyCollection(bands, facecolors=BAND, linewidths=0, zorder=1), autolim=False)
        for name, colour, look in (
            ("frame", MUTED, {"linewidths": 0.8}),
            ("bound", MUTED, {"linewidths": 1.2, "linestyles": [(0, (4, 3))]}),
            ("regret", FIRST, {"linewidths": 1.8}),
        ):
            axes.add_collection(LineCollection(strokes[name], colors=colour, zorder=2, **look), autolim=False)
        axes.text((left + width) / 2, 6, "rounds of learning", color=MUTED, ha="center")
        axes.text(12, foot + lines * line / 2, "average regret", color=MUTED, rotation=90, ha="center", va="center")
        last = ", ".join(
            f"{s['player']} {s['type']} {show(s['regret'][-1], 2)} of {show(s['bound'][-1], 2)}" for s in series
        )
        return _svg(figure, f"Average regret stays below the bound (dashed). At the longest horizon: {last}.")


class _Decades:
    """A logarithmic axis from ``low`` to ``high``, ``length`` points long, a ``margin`` of it left free at each end."""

    def __init__(self, low: float, high: float, length: float, margin: float) -> None:
        self.low, span = math.log10(low), math.log10(high / low) or 1.0
        self.start, self.scale = margin * length, (1 - 2 * margin) * length / span
        powers = range(math.ceil(self.low - 1e-9), math.floor(self.low + span + 1e-9) + 1)
        powers = powers[:: math.ceil(len(powers) / 5)] if len(powers) > 1 else powers
        self.ticks = [(self.place(10.0**k), "10" + str(k).translate(_RAISED)) for k in powers]
        if len(powers) < 2:
            self.ticks = [(self.place(value), show(value, 2)) for value in dict.fromkeys((low, high))]

    def place(self, value: float) -> float:
        """How far along the axis a value stands, in points."""
        return self.start + (math.log10(value) - self.low) * self.scale


def learner_picture(document: Document, *, narrow: bool = False) -> str:
    """The leader's value by learning rule, one line a rule, one mark a readout, with the spread over replays."""
    rows = learner_rows(document)
    with rc_context({**_STYLE, "svg.hashsalt": f"learners{narrow}"}):
        figure, axes = _figure((_NARROW if narrow else _WIDE)[0], 0.9 + 0.42 * len(rows))
        values = [row[readout][key] for row in rows for readout in READOUT_STYLE for key in ("value_min", "value_max")]
        shown = _references(document, values, narrow)
        for reference in shown:
            axes.axvline(reference["value"], color=MUTED, linewidth=0.9, dashes=(4, 3), zorder=1)
        look = {"markersize": 6, "markeredgecolor": PAPER, "markeredgewidth": 0.8, "linestyle": "none", "zorder": 3}
        for step, (readout, (colour, marker)) in enumerate(READOUT_STYLE.items()):
            own, y = [row[readout] for row in rows], [k + 0.22 * (step - 1) for k in range(len(rows))]
            ends = ([entry[end] for entry in own] for end in ("value_min", "value_max"))
            axes.hlines(y, *ends, color=colour, linewidth=1.6, zorder=2)
            axes.plot([entry["value"] for entry in own], y, marker, color=colour, label=READOUTS[readout], **look)
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels([row["learner"] if narrow else row["title"] for row in rows], color=INK)
        for row, words in zip(rows, axes.get_yticklabels(), strict=True):
            words.set_color(MUTED if row["guarantee"] == "none" else INK)
            words.set_fontweight("bold" if row["own"] else "normal")
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.margins(x=0.06)
        axes.set_xlabel("leader's value" + "".join(f"; {r['name']} {show(r['value'], 4)} dashed" for r in shown[:1]))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9, handletextpad=0.2, columnspacing=1)
        words = "; ".join(
            f"{row['title']} " + ", ".join(f"{show(row[r]['value'], 4)} ({READOUTS[r]})" for r in READOUT_STYLE)
            for row in rows
        )
        return _svg(figure, f"The leader's value by learning rule: {words}.")


def _figure(width: float, height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _svg(figure: Figure, words: str) -> str:
    """The figure as an <svg> element with a label, its colours tied to the page's variables."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: ([^;\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--sans)", text)
    # Names that nothing refers to would stand twice in a page with several pictures; the others are salted hashes.
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", text)
    box = re.search(r'viewBox="([^"]+)"', text)
    assert box is not None
    head = f'<svg class="picture" role="img" aria-label="{escape(words, quote=True)}" viewBox="{box[1]}"'
    head += ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)
