"""Gambit strategic-form files (`.nfg`), read and written exactly, with the standard library alone.

A file is a game of complete information, unless its comment holds a `spverify-game` document: then it is that Bayesian
game, and the table must be its strategic form, one strategy a plan (theory T2), payoffs expected over the prior, so
that Gambit's equilibria of the file are equilibria of the Bayesian game. A last player named `leader` with one strategy
carries the leader's payoff. docs/formats.md#gambit has the convention.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import prod
from pathlib import Path
from typing import NoReturn

from .errors import FormatError, GameError, SpverifyError, UsageError
from .plain import PlainGame, Tensor, number_text, parse_game, parse_json, parse_number, read_bytes, tensor

LEADER = "leader"
MAX_BYTES = 1 << 26
MAX_PROFILES = 1 << 18

# Possessive: a file of one long text must not cost memory for places to come back to.
_TOKEN = re.compile(r'\s*(?:"(?P<text>[^"\\]*+(?:\\.[^"\\]*+)*+)"|(?P<sign>[{},])|(?P<word>[^\s"{},]+))', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def read_nfg(path: str | Path) -> PlainGame:
    """The game of a `.nfg` file, payoff or outcome version; every number is taken exactly.

    Raises:
        SpverifyError: naming the file, the place, what was expected and what was found.
    """
    try:
        data = read_bytes(path, MAX_BYTES)
        try:
            return parse_nfg(data.decode("utf-8"))
        except UnicodeDecodeError:
            raise FormatError("expected UTF-8 text") from None
    except SpverifyError as error:
        raise error.at(path) from None


def parse_nfg(text: str) -> PlainGame:
    """The game of a `.nfg` file's text.

    Example:
        >>> game = parse_nfg('NFG 1 R "two" { "row" "col" } { 2 2 } 1 0  0 1  0 1/3  2 2')
        >>> game.action_shape, [str(value) for value in game.payoffs[1].values()]
        ((2, 2), ['0', '1/3', '1', '2'])
    """
    title, names, strategies, comment, columns = _Reader(text).file()
    if comment.lstrip().startswith("{") and '"spverify-game"' in comment:
        return _bayesian(comment, strategies, columns)
    leader = None
    if len(names) > 1 and names[-1] == LEADER and len(strategies[-1]) == 1:
        names, strategies, leader = names[:-1], strategies[:-1], columns.pop()
    shape = tuple(len(labels) for labels in strategies)
    axes = (1,) * len(names) + shape
    document = {
        "format": "spverify-game",
        "version": 1,
        "name": title,
        "players": [
            {"name": name, "types": ["only"], "actions": labels} for name, labels in zip(names, strategies, strict=True)
        ],
        "prior": Tensor((1,) * len(names), [1], 1),
        "payoffs": [tensor(_c_order(column, shape), axes) for column in columns],
    }
    if leader is not None:
        document["leader"] = tensor(_c_order(leader, shape), axes)
    return parse_game(document)


def _c_order(column: Sequence[Fraction], shape: Sequence[int]) -> Iterator[Fraction]:
    """Gambit's tables run through the first player's strategies fastest; ours through the last player's."""
    steps = [prod(shape[:i]) for i in range(len(shape))]
    for profile in product(*(range(0, size * step, step) for size, step in zip(shape, steps, strict=True))):
        yield column[sum(profile)]


def _bayesian(comment: str, strategies: list[list[str]], columns: list[list[Fraction]]) -> PlainGame:
    """The game in the comment, after checking that the table is its strategic form, number by number."""
    try:
        game = parse_game(parse_json(comment))
    except SpverifyError as error:
        raise FormatError(f"the game in it is refused: {error}", field="comment") from None
    plans = _plans(game)
    expected = [len(own) for own in plans] + [1] * (game.leader is not None)
    found = [len(labels) for labels in strategies]
    if found != expected:
        raise GameError(
            f"expected {_times(expected)}, one a plan of the game in the comment, got {_times(found)}",
            field="strategies",
        )
    for index, row in enumerate(_strategic_form(game, plans)):
        stated = [column[index] for column in columns]
        if list(row) != stated:
            raise GameError(
                f"expected {_row(row)} from the game in the comment, got {_row(stated)}", field=f"profile {index + 1}"
            )
    return game


def _times(counts: Sequence[int]) -> str:
    return " × ".join(map(str, counts))


def _row(numbers: Sequence[Fraction]) -> str:
    return " ".join(number_text(number) for number in numbers)


# ---------------------------------------------------------------------------------------------- reading


class _Reader:
    """Tokens of one file, taken one after the other; each refusal names the line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = self._start = 0
        self._next: tuple[str, str] | None = None

    def file(self) -> tuple[str, list[str], list[list[str]], str, list[list[Fraction]]]:
        """Title, players, strategies, comment, and one column of payoffs a player in the file's order of profiles."""
        if self._take("word") != "NFG" or self._take("word") != "1":
            self._refuse("expected a Gambit file that begins with NFG 1")
        if self._take("word") not in ("R", "D"):
            self._refuse("expected R after NFG 1")
        title = self._take("text")
        names = self._braced_texts()
        if not names:
            self._refuse("expected at least one player")
        if len(set(names)) != len(names):
            self._refuse("expected distinct names of players")
        strategies = self._strategies(len(names))
        comment = self._take("text") if self._peek()[0] == "text" else ""
        profiles = prod(len(labels) for labels in strategies)
        rows = (
            self._outcomes(len(names), profiles) if self._peek() == ("sign", "{") else self._table(len(names), profiles)
        )
        if self._peek()[0]:
            self._refuse(f"expected the end of the file after {profiles} profiles, got {self._peek()[1]!r}")
        return title, names, strategies, comment, [list(column) for column in zip(*rows, strict=True)]

    def _strategies(self, n: int) -> list[list[str]]:
        self._sign("{")
        out: list[list[str]] = []
        profiles = 1
        while self._peek() != ("sign", "}"):
            if self._peek() == ("sign", "{"):
                labels = self._braced_texts()
            else:
                labels = [str(k + 1) for k in range(self._count(MAX_PROFILES, 1))]
            if not labels or len(set(labels)) != len(labels):
                self._refuse(f"expected distinct strategies for player {len(out) + 1}, at least one")
            out.append(labels)
            profiles *= len(labels)
            if profiles > MAX_PROFILES:
                self._refuse(f"expected at most {MAX_PROFILES} strategy profiles, got {profiles} and more")
        self._sign("}")
        if len(out) != n:
            self._refuse(f"expected strategies for {n} players, got {len(out)}")
        return out

    def _braced_texts(self) -> list[str]:
        self._sign("{")
        out = []
        while self._peek() != ("sign", "}"):
            out.append(self._take("text"))
        self._sign("}")
        return out

    def _table(self, n: int, profiles: int) -> list[list[Fraction]]:
        """The payoff version: a number for each player at each profile."""
        return [[self._number() for _ in range(n)] for _ in range(profiles)]

    def _outcomes(self, n: int, profiles: int) -> list[list[Fraction]]:
        """The outcome version: named payoff vectors, then the number of one for each profile; 0 pays nothing."""
        self._sign("{")
        known = [[Fraction(0)] * n]
        while self._peek() == ("sign", "{"):
            self._sign("{")
            self._take("text")
            payoffs = [self._number()]
            while self._peek() != ("sign", "}"):
                if self._peek() == ("sign", ","):
                    self._sign(",")
                payoffs.append(self._number())
            self._sign("}")
            if len(payoffs) != n:
                self._refuse(f"expected {n} payoffs in outcome {len(known)}, got {len(payoffs)}")
            known.append(payoffs)
        self._sign("}")
        return [known[self._count(len(known) - 1, 0)] for _ in range(profiles)]

    def _count(self, most: int, least: int) -> int:
        word = self._take("word")
        if not (word.isascii() and word.isdigit() and len(word) < 10 and least <= int(word) <= most):
            self._refuse(f"expected a whole number from {least} to {most}, got {word[:40]!r}")
        return int(word)

    def _number(self) -> Fraction:
        word = self._take("word")
        try:
            return parse_number(word)
        except FormatError:
            self._refuse(f"expected a payoff such as 3, 0.25 or 1/3, got {word[:40]!r}")

    # --- tokens ---

    def _peek(self) -> tuple[str, str]:
        """The next token as (kind, value); kind is empty at the end."""
        if self._next is None:
            match = _TOKEN.match(self._text, self._at)
            if match is not None:
                kind = str(match.lastgroup)
                self._start, self._at = match.start(kind), match.end()
                self._next = (kind, match.group(kind))
            elif self._text[self._at :].strip():
                self._start = self._at
                self._refuse('expected a closing quote (")')
            else:
                self._start, self._next = len(self._text), ("", "")
        return self._next

    def _take(self, kind: str) -> str:
        found, value = self._peek()
        if found != kind:
            what = {"text": 'a text in quotes ("..")', "word": "a word or a number"}[kind]
            self._refuse(f"expected {what}, got {value[:40]!r}" if found else f"expected {what}, but the file ends")
        self._next = None
        return _ESCAPED.sub(r"\1", value) if kind == "text" else value

    def _sign(self, sign: str) -> None:
        found = self._peek()
        if found != ("sign", sign):
            self._refuse(
                f"expected {sign}, got {found[1][:40]!r}" if found[0] else f"expected {sign}, but the file ends"
            )
        self._next = None

    def _refuse(self, message: str) -> NoReturn:
        raise FormatError(message, field=f"line {self._text.count(chr(10), 0, self._start) + 1}")


# ---------------------------------------------------------------------------------------------- writing


def nfg_text(game: PlainGame) -> str:
    """The `.nfg` text of a game: its strategic form, and the game itself in the comment where the table says less.

    Raises:
        UsageError: more strategy profiles than a file may have.
    """
    plans = _plans(game)
    names = _labels([name for name, _, _ in game.players])
    strategies = [_labels([_plan_name(game, i, plan) for plan in own]) for i, own in enumerate(plans)]
    if game.leader is not None:
        names.append(LEADER)
        strategies.append(["committed"])
    rows = "\n".join(_row(row) for row in _strategic_form(game, plans))

    def text(comment: str) -> str:
        return (
            f"NFG 1 R {_quoted(_labels([game.name])[0])} {_braced(names)}\n\n"
            f"{{ {chr(10).join(_braced(labels) for labels in strategies)}\n}}\n{_quoted(comment)}\n\n{rows}\n"
        )

    # A file without comment is read as complete information, under the names that Gambit takes.
    plain = text("")
    if max(game.type_shape) == 1 and parse_nfg(plain).sha256 == game.sha256:
        return plain
    return text(json.dumps(game.document(), separators=(",", ":")))


def _plans(game: PlainGame) -> list[list[tuple[int, ...]]]:
    """Every plan of each player, as its action at each own type; feasible actions only."""
    rows = [[[a for a, allowed in enumerate(row) if allowed] for row in mask] for mask in game.feasible]
    profiles = prod(len(row) for own in rows for row in own)
    if profiles > MAX_PROFILES:
        raise UsageError(
            f"the game has {profiles} profiles of pure plans, more than the {MAX_PROFILES} that a .nfg file may have; "
            "keep it as .game.json or .npz"
        )
    return [list(product(*own)) for own in rows]


def _strategic_form(game: PlainGame, plans: list[list[tuple[int, ...]]]) -> Iterator[tuple[Fraction, ...]]:
    """Expected payoffs at each profile of plans, the leader's last, in Gambit's order of profiles."""
    arrays = [*game.payoffs, *([] if game.leader is None else [game.leader])]
    weights = zip(product(*map(range, game.type_shape)), game.prior.numerators, strict=True)
    cells = [(types, weight) for types, weight in weights if weight]
    for backwards in product(*reversed(plans)):
        profile = backwards[::-1]
        indices = [(*types, *(plan[own] for plan, own in zip(profile, types, strict=True))) for types, _ in cells]
        yield tuple(
            Fraction(
                sum(
                    weight * array.numerators[sum(i * s for i, s in zip(index, array.strides, strict=True))]
                    for index, (_, weight) in zip(indices, cells, strict=True)
                ),
                array.denominator * game.prior.denominator,
            )
            for array in arrays
        )


def _plan_name(game: PlainGame, i: int, plan: tuple[int, ...]) -> str:
    """`type:action` for each own type, or the action alone where there is one type."""
    _, types, actions = game.players[i]
    if len(types) == 1:
        return actions[plan[0]]
    return "; ".join(f"{own}:{actions[action]}" for own, action in zip(types, plan, strict=True))


def _labels(names: list[str]) -> list[str]:
    """Labels that Gambit takes: distinct, printable ASCII, single spaces."""
    out: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for name in names:
        ascii_only = "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in name)
        base = label = " ".join(ascii_only.split()) or "_"
        while label in out:
            numbers[base] = numbers.get(base, 1) + 1
            label = f"{base}_{numbers[base]}"
        out[label] = None
    return list(out)


def _braced(labels: list[str]) -> str:
    return "{ " + " ".join(_quoted(label) for label in labels) + " }"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
