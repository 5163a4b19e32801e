"""Exact numbers, and games and plays as plain Python data: all that the kernel needs to know of a document.

Standard library only, so that a certificate can be re-checked where numpy was never imported. The numpy side
(`game.py`, `play.py`) is built on the same readers, so a document means the same thing to both. What a number
means is theory T1; what a play is, theory T2; the document layouts are in ``docs/formats.md``.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import math
import re
import struct
import sys
import zipfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import filterfalse, islice, product
from pathlib import Path
from typing import IO, Any

from .errors import BudgetError, FormatError, GameError, PlayError, SpverifyError, UnreadableError, UsageError
from .numerals import show, show_exact

GRID = 1 << 40
"""Play rows given as floats are put on the grid of multiples of 1/GRID (theory T1)."""

SUM_TOLERANCE = Fraction(1, 10**9)
"""How far a row of floats may be from summing to 1 (theory T1)."""

LARGEST_PAYOFF = 10**100
SMALLEST_SHARE = Fraction(1, 10**300)
"""Positive probabilities are at least this, so that they are positive in doubles too."""

MAX_DOCUMENT_BYTES = 1 << 30
MOST_BITS = 1 << 31
"""So many bits may numbers take that are written over one denominator."""

MAX_DIGITS = 4300
_RATIONAL = re.compile(r"[+-]?[0-9]+(/[0-9]+)?")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")

# ---------------------------------------------------------------------------------------------- numbers


def parse_number(value: object, where: str = "number") -> Fraction:
    """The exact value of a document's number: a double is itself, a string ``"p/q"`` or ``"0.1"`` is exactly that.

    Args:
        value: an int, a finite float, a Fraction, or a string.
        where: the field, for the error message.

    Raises:
        FormatError: anything else, including NaN, infinities, booleans and a zero denominator.

    Example:
        >>> parse_number("0.1"), parse_number("2/6"), parse_number(0.5)
        (Fraction(1, 10), Fraction(1, 3), Fraction(1, 2))
    """
    if isinstance(value, str):
        if len(value) > 2 * MAX_DIGITS:
            raise FormatError(f"a number of {len(value)} characters is longer than allowed", field=where)
        text = value.strip()
        try:
            if _RATIONAL.fullmatch(text):
                over, _, under = text.partition("/")
                return Fraction(int(over), int(under or 1))
            if _DECIMAL.fullmatch(text):
                return Fraction(text)
        except (ZeroDivisionError, ValueError):
            pass
        raise FormatError(f'expected a number or a string such as "1/3" or "0.1", got {_show(value)}', field=where)
    if isinstance(value, Fraction):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError(f"expected a number, got {_show(value)}", field=where)
    if isinstance(value, float) and not math.isfinite(value):
        raise FormatError(f"expected a finite number, got {value}", field=where)
    return Fraction(value)


def number_text(value: Fraction) -> str:
    """The canonical text of a rational: ``"p"`` or ``"p/q"`` in lowest terms.

    Raises:
        BudgetError: a number longer than Python writes (and than `parse_number` reads).
    """
    return _ratio_text(value.numerator, value.denominator)


def _ratio_text(numerator: int, denominator: int) -> str:
    try:
        return str(numerator) if denominator == 1 else f"{numerator}/{denominator}"
    except ValueError:
        raise BudgetError(f"an exact number came out longer than the {MAX_DIGITS} digits that are written") from None


def number_json(value: Fraction) -> int | float | str:
    """The shortest JSON form that reads back as exactly this number."""
    return _ratio_json(value.numerator, value.denominator)


def _ratio_json(numerator: int, denominator: int) -> int | float | str:
    if numerator % denominator == 0 and abs(numerator) < denominator << 53:
        return numerator // denominator
    try:
        nearest = numerator / denominator
    except OverflowError:
        return number_text(Fraction(numerator, denominator))
    p, q = nearest.as_integer_ratio()
    return nearest if p * denominator == q * numerator else number_text(Fraction(numerator, denominator))


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


# ---------------------------------------------------------------------------------------------- reading JSON


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise FormatError(f"the key {_show(key)} stands twice in one object")
        out[key] = value
    return out


def _nearest_double(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FormatError(f"the number {_show(text)} is too large for a double")
    return value


def _integer(text: str) -> int:
    return int(text) if len(text) <= 15 else int(_nearest_double(text))


def _refuse_constant(text: str) -> None:
    raise FormatError(f"{text} is not a number that a document may hold")


def parse_json(text: str | bytes) -> Any:
    """Reads JSON strictly: duplicate keys, NaN, infinities, numbers beyond a double, half a surrogate are refused."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        found = json.loads(
            text,
            object_pairs_hook=_no_duplicates,
            parse_float=_nearest_double,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        return found
    except UnicodeDecodeError:
        raise UnreadableError("expected JSON text in UTF-8, found bytes that are not text") from None
    except UnicodeEncodeError:
        raise UnreadableError("expected Unicode text, found half of a surrogate pair (\\ud800 to \\udfff)") from None
    except json.JSONDecodeError as error:
        what = (
            "is empty" if not text.strip() else f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        )
        raise UnreadableError(f"expected a JSON document, but the file {what}") from None
    except RecursionError:
        raise UnreadableError("expected a JSON document, but its lists are nested too deeply") from None


@contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to read bytes from, or standard input for ``-``; trouble with it is one sentence."""
    try:
        if str(path) == "-":
            if sys.stdin is None:
                raise UnreadableError("standard input is closed", path=path)
            yield sys.stdin.buffer
        else:
            with open(path, "rb") as stream:
                yield stream
    except FileNotFoundError:
        raise UnreadableError("no such file", path=path) from None
    except IsADirectoryError:
        raise UnreadableError("expected a file, found a directory", path=path) from None
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}", path=path) from None


def read_bytes(path: str | Path, limit: int = MAX_DOCUMENT_BYTES) -> bytes:
    """The bytes of a file, or of standard input for ``-``; refused beyond ``limit`` bytes."""
    with opened(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise UnreadableError(f"is larger than the {limit} bytes that are read", path=path)
    return data


def read_json(path: str | Path) -> Any:
    """A JSON document from a file (``-`` is standard input); every error names the file."""
    try:
        return parse_json(read_bytes(path))
    except SpverifyError as error:
        raise error.at(path) from None


# ---------------------------------------------------------------------------------------------- arrays


IN_MEMORY = 1 << 14
"""Numerators of arrays up to so many entries are kept once they were worked out: about 50 bytes each."""


class DoubleNumerators(Sequence[int]):
    """The numerators of an array of doubles over a power of two, worked out when asked for; big arrays' are not kept.

    Args:
        values: a flat view of doubles.
        exponent: the least binary exponent (as `math.frexp` gives it) of those that are no whole numbers; else 53.
    """

    def __init__(self, values: memoryview, exponent: int) -> None:
        self.values = values
        self.shift = max(0, 53 - exponent)
        self._kept: list[int] = []

    @classmethod
    def of(cls, values: memoryview, where: str) -> DoubleNumerators:
        """The same, with the exponent found here; NaN and infinities are refused."""
        if not math.isfinite(sum(values)):  # finite doubles may add up to infinity, so then each is looked at
            for value in values:
                if not math.isfinite(value):
                    raise FormatError(f"expected a finite number, got {value}", field=where)
        least = min(map(abs, filterfalse(float.is_integer, values)), default=None)
        exponent = 53 if least is None else min(53, math.frexp(least)[1])
        return cls(values, exponent)

    @property
    def denominator(self) -> int:
        """The common denominator, a power of two."""
        return 1 << self.shift

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, k: Any) -> Any:
        if self._kept:
            return self._kept[k]
        if isinstance(k, slice):
            return [self._numerator(value) for value in self.values[k].tolist()]
        return self._numerator(self.values[k])

    def __iter__(self) -> Iterator[int]:
        for start in range(0, len(self.values), 1 << 16):
            yield from self[start : start + (1 << 16)]

    def kept(self) -> list[int]:
        """All of them, worked out once."""
        if not self._kept:
            self._kept = [self._numerator(value) for value in self.values.tolist()]
        return self._kept

    def _numerator(self, value: float) -> int:
        try:
            return int(math.ldexp(value, self.shift))  # a whole number by now, so no digit is lost
        except OverflowError:
            numerator, denominator = value.as_integer_ratio()
            return numerator << (self.shift - denominator.bit_length() + 1)

    def texts(self) -> Iterator[str]:
        """`number_text` of the doubles; they are in lowest terms as they come."""
        for start in range(0, len(self.values), 1 << 16):
            for value in self.values[start : start + (1 << 16)].tolist():
                numerator, denominator = value.as_integer_ratio()
                yield str(numerator) if denominator == 1 else f"{numerator}/{denominator}"


class SumNumerators(Sequence[int]):
    """The numerators of a sum of broadcasting arrays, worked out when asked for (welfare of a big game)."""

    def __init__(self, terms: Sequence[Tensor], shape: tuple[int, ...]) -> None:
        self.terms, self.shape = tuple(terms), shape
        self.denominator = math.lcm(*(term.denominator for term in terms))

    def __len__(self) -> int:
        return math.prod(self.shape)

    def __getitem__(self, k: Any) -> Any:
        if isinstance(k, slice):
            return [self[at] for at in range(*k.indices(len(self)))]
        if not 0 <= k < len(self):
            raise IndexError(k)
        index = []
        for length in reversed(self.shape):
            k, rest = divmod(k, length)
            index.append(rest)
        return self._at(index[::-1])

    def __iter__(self) -> Iterator[int]:
        return map(self._at, product(*map(range, self.shape)))

    def _at(self, index: Sequence[int]) -> int:
        places = (sum(x * s for x, s in zip(index, term.strides, strict=True)) for term in self.terms)
        parts = zip(self.terms, places, strict=True)
        return sum(term.numerators[at] * (self.denominator // term.denominator) for term, at in parts)


@dataclass(frozen=True)
class Tensor:
    """An exact array in C order: ``numerators[k] / denominator``; an axis of length 1 broadcasts."""

    shape: tuple[int, ...]
    numerators: Sequence[int]
    denominator: int = 1

    @cached_property
    def strides(self) -> tuple[int, ...]:
        """Steps in elements along each axis, 0 on axes of length 1, so broadcasting is only indexing."""
        out, step = [], 1
        for length in reversed(self.shape):
            out.append(0 if length == 1 else step)
            step *= length
        return tuple(reversed(out))

    @property
    def entries(self) -> Sequence[int]:
        """The numerators, as a list where they are few enough to be kept: what is quick to read in any order."""
        few = isinstance(self.numerators, DoubleNumerators) and len(self.numerators) <= IN_MEMORY
        return self.numerators.kept() if few else self.numerators  # type: ignore[attr-defined]

    def values(self) -> Iterator[Fraction]:
        """The entries as Fractions, in C order."""
        return (Fraction(value, self.denominator) for value in self.numerators)

    def nested(self, show: Callable[[Fraction], Any] = number_json) -> Any:
        """Nested lists of the entries, each as ``show`` gives it."""
        if show is number_json and isinstance(self.numerators, DoubleNumerators):
            doubles: Sequence[float] = self.numerators.values.tolist()
            whole = 1 << 53
            return nest([int(x) if x.is_integer() and abs(x) < whole else x for x in doubles], self.shape)
        cache: dict[int, Any] = {}
        flat = []
        for value in self.numerators:
            if value not in cache:
                if show is number_json:
                    cache[value] = _ratio_json(value, self.denominator)
                elif show is number_text:
                    common = math.gcd(value, self.denominator)
                    cache[value] = _ratio_text(value // common, self.denominator // common)
                else:
                    cache[value] = show(Fraction(value, self.denominator))
            flat.append(cache[value])
        return nest(flat, self.shape)

    def texts(self) -> Iterator[str]:
        """`number_text` of the entries, in C order."""
        if isinstance(self.numerators, DoubleNumerators):
            yield from self.numerators.texts()
            return
        cache: dict[int, str] = {}
        for value in self.numerators:
            if value not in cache:
                if len(cache) > 1 << 16:
                    cache.clear()
                cache[value] = number_text(Fraction(value, self.denominator))
            yield cache[value]

    def canonical(self) -> Iterator[str]:
        """The canonical JSON text of the nested lists of `texts`, in pieces, so that big arrays need little memory."""
        width, texts = self.shape[-1], self.texts()
        sizes = [math.prod(self.shape[k:-1]) for k in range(len(self.shape) - 1)]
        for row in range(math.prod(self.shape[:-1])):
            opened = sum(row % size == 0 for size in sizes)
            closed = sum((row + 1) % size == 0 for size in sizes)
            cells = '","'.join(islice(texts, width))
            yield ("," if row else "") + "[" * opened + f'["{cells}"]' + "]" * closed


def nest(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    """Nested lists of the given shape from entries in C order."""
    rows: list[Any] = list(flat)
    for length in reversed(shape[1:]):
        rows = [rows[k : k + length] for k in range(0, len(rows), length)]
    return rows if shape else rows[0]


def common_denominator(denominators: Iterable[int], count: int) -> int:
    """The least common denominator of ``count`` numbers.

    Raises:
        BudgetError: it is so long that the numbers over it would fill the memory: a stranger's file must not do that.
    """
    out = 1
    for denominator in set(denominators):
        out = math.lcm(out, denominator)
        if out.bit_length() * count > MOST_BITS:
            raise BudgetError(f"{count} exact numbers have a common denominator of {out.bit_length()} bits or more")
    return out


def tensor(values: Iterable[Fraction], shape: Sequence[int]) -> Tensor:
    """A Tensor over the least common denominator of its entries."""
    entries = list(values)
    denominator = common_denominator((value.denominator for value in entries), len(entries))
    scaled = [value.numerator * (denominator // value.denominator) for value in entries]
    return Tensor(tuple(shape), scaled, denominator)


def flatten(value: object, ndim: int, where: str) -> tuple[tuple[int, ...], list[Any]]:
    """Shape and entries of nested lists with exactly ``ndim`` levels; ragged nesting is refused with its place."""
    shape: list[int] = []
    level: list[Any] = [value]
    for _ in range(ndim):
        length: int | None = None
        below: list[Any] = []
        for k, item in enumerate(level):
            if not isinstance(item, (list, tuple)):
                at = where + _index(k, shape)
                raise FormatError(
                    f"expected {ndim} levels of lists, found {_show(item)} at level {len(shape)}", field=at
                )
            if length is None:
                length = len(item)
            elif len(item) != length:
                at = where + _index(k, shape)
                raise FormatError(f"expected a list of length {length}, got length {len(item)}", field=at)
            below.extend(item)
        if not length:
            raise FormatError("expected a non-empty list", field=where)
        shape.append(length)
        level = below
    return tuple(shape), level


def _index(k: int, shape: Sequence[int]) -> str:
    parts = []
    for length in reversed(shape):
        k, rest = divmod(k, length)
        parts.append(f"[{rest}]")
    return "".join(reversed(parts))


def parse_tensor(value: object, shape: Sequence[int], where: str, *, broadcast: bool = True) -> Tensor:
    """An exact array from nested lists, checked against the axes it must have."""
    if isinstance(value, Tensor):
        got, flat = value.shape, None
    else:
        got, flat = flatten(value, len(shape), where)
    for axis, (have, want) in enumerate(zip(got, shape, strict=False)):
        if have != want and not (broadcast and have == 1):
            raise FormatError(
                f"axis {axis} has length {have}, expected {want}{' or 1' if broadcast else ''}", field=where
            )
    if len(got) != len(shape):
        raise FormatError(f"expected {len(shape)} axes, got {len(got)}", field=where)
    if flat is None:
        assert isinstance(value, Tensor)
        return value
    return tensor((parse_number(item, where + _index(k, got)) for k, item in enumerate(flat)), got)


# ---------------------------------------------------------------------------------------------- documents


def check_keys(document: object, what: str, required: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    """The document itself, if it is an object of format ``what``, version 1, with just these keys."""
    if not isinstance(document, dict):
        raise FormatError(f'expected an object with "format": "{what}", got {_show(document)}')
    if document.get("format") != what:
        raise FormatError(f'expected "{what}", got {_show(document.get("format"))}', field="format")
    version = document.get("version")
    if version != 1 or isinstance(version, bool):
        raise FormatError(f"expected version 1, got {_show(version)}", field="version")
    return check_fields(document, "", required, optional, also=("format", "version"))


def check_fields(
    document: object,
    where: str,
    required: Iterable[str],
    optional: Iterable[str] = (),
    also: Iterable[str] = (),
) -> dict[str, Any]:
    """The object itself, if it has all required keys and no unknown one."""
    if not isinstance(document, dict):
        raise FormatError(f"expected an object, got {_show(document)}", field=where or None)
    required = tuple(required)
    allowed = {*required, *optional, *also}
    for key in document:
        if key not in allowed:
            raise FormatError(
                f"unknown key; known are {', '.join(sorted(allowed))}", field=f"{where}.{key}".lstrip(".")
            )
    for key in required:
        if key not in document:
            raise FormatError("is missing", field=f"{where}.{key}".lstrip("."))
    return document


def distinct_names(value: object, where: str) -> tuple[str, ...]:
    """A list of distinct names, at least one, as a tuple; GameError for anything else."""
    if not isinstance(value, (list, tuple)) or not value or not all(isinstance(item, str) for item in value):
        raise GameError(f"expected a non-empty list of names, got {_show(value)}", field=where)
    if len(set(value)) != len(value):
        raise GameError("expected distinct names", field=where)
    return tuple(value)


# ---------------------------------------------------------------------------------------------- games


@dataclass(frozen=True)
class PlainGame:
    """A Bayesian game (theory T1) as exact plain data; made by `parse_game`, which validates it.

    ``prior`` is normalised exactly: its numerators sum to its denominator. ``feasible[i][t][a]`` is the mask.
    """

    name: str
    players: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    prior: Tensor
    payoffs: tuple[Tensor, ...]
    leader: Tensor | None
    feasible: tuple[tuple[tuple[bool, ...], ...], ...]

    @property
    def n(self) -> int:
        return len(self.players)

    @cached_property
    def type_shape(self) -> tuple[int, ...]:
        return tuple(len(types) for _, types, _ in self.players)

    @cached_property
    def action_shape(self) -> tuple[int, ...]:
        return tuple(len(actions) for _, _, actions in self.players)

    def document(self, show: Callable[[Fraction], Any] = number_json) -> dict[str, Any]:
        """The ``spverify-game`` document of this game."""
        out = self._frame()
        out["prior"] = self.prior.nested(show)
        out["payoffs"] = [payoff.nested(show) for payoff in self.payoffs]
        if self.leader is not None:
            out["leader"] = self.leader.nested(show)
        return out

    def _frame(self) -> dict[str, Any]:
        """The document without its arrays of numbers."""
        out: dict[str, Any] = {
            "format": "spverify-game",
            "version": 1,
            "name": self.name,
            "players": [{"name": p, "types": list(t), "actions": list(a)} for p, t, a in self.players],
        }
        if not all(all(map(all, mask)) for mask in self.feasible):
            out["feasible"] = [[list(row) for row in mask] for mask in self.feasible]
        return out

    @cached_property
    def sha256(self) -> str:
        """Digest of the canonical content: sorted keys, rationals in lowest terms as text.

        The same as `digest` of ``document(number_text)``, without building that document.
        """
        return self.digest(lambda array: (piece.encode("ascii") for piece in array.canonical()))

    def digest(self, canonical: Callable[[Tensor], Iterable[bytes]]) -> str:
        """`sha256`, given what makes the bytes of an array's canonical text."""
        out = hashlib.sha256()

        def take(array: Tensor) -> None:
            for piece in canonical(array):
                out.update(piece)

        head = {k: v for k, v in self._frame().items() if k < "leader"}
        out.update(_canonical_text(head)[:-1].encode("ascii"))
        if self.leader is not None:
            out.update(b',"leader":')
            take(self.leader)
        out.update(f',"name":{_canonical_text(self.name)},"payoffs":['.encode("ascii"))
        for i, payoff in enumerate(self.payoffs):
            out.update(b"," if i else b"")
            take(payoff)
        players = _canonical_text(self._frame()["players"])
        out.update(f'],"players":{players},"prior":'.encode("ascii"))
        take(self.prior)
        out.update(b',"version":1}')
        return out.hexdigest()


def player_of(objective: str, n: int) -> int:
    """Which player's payoff the objective ``player:I`` means, in a game of n players.

    Raises:
        UsageError: any other objective.
    """
    names = [f"player:{i}" for i in range(n)]
    if objective not in names:
        shown = _show(objective)
        raise UsageError(f"expected the objective leader, welfare or player:0 to player:{n - 1}, got {shown}")
    return names.index(objective)


def digest(document: object) -> str:
    """sha256 of a document's canonical JSON text."""
    return hashlib.sha256(_canonical_text(document).encode("ascii")).hexdigest()


def _canonical_text(document: object) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


GAME_KEYS = (("name", "players", "prior", "payoffs"), ("leader", "feasible"))


def parse_game(document: object) -> PlainGame:
    """Reads a ``spverify-game`` document (arrays may be `Tensor` values already) and validates all of it.

    Raises:
        FormatError, GameError: with the field, what was expected, and what was found.
    """
    doc = check_keys(document, "spverify-game", *GAME_KEYS)
    if not isinstance(doc["name"], str):
        raise GameError(f"expected a name, got {_show(doc['name'])}", field="name")
    if not isinstance(doc["players"], (list, tuple)) or not doc["players"]:
        raise GameError("expected a non-empty list of players", field="players")
    players = []
    for i, player in enumerate(doc["players"]):
        where = f"players[{i}]"
        fields = check_fields(player, where, ("name", "types", "actions"))
        if not isinstance(fields["name"], str):
            raise GameError(f"expected a name, got {_show(fields['name'])}", field=f"{where}.name")
        types, actions = (
            distinct_names(fields["types"], f"{where}.types"),
            distinct_names(fields["actions"], f"{where}.actions"),
        )
        players.append((fields["name"], types, actions))
    n = len(players)
    type_shape = tuple(len(p[1]) for p in players)
    action_shape = tuple(len(p[2]) for p in players)
    axes = type_shape + action_shape
    if not isinstance(doc["payoffs"], (list, tuple)) or len(doc["payoffs"]) != n:
        raise GameError(f"expected a list of {n} arrays, one a player", field="payoffs")
    payoffs = tuple(_payoff(doc["payoffs"][i], axes, f"payoffs[{i}]") for i in range(n))
    leader = None if doc.get("leader") is None else _payoff(doc["leader"], axes, "leader")
    masks = _masks(doc.get("feasible"), type_shape, action_shape)
    return PlainGame(doc["name"], tuple(players), _prior(doc["prior"], type_shape), payoffs, leader, masks)


def _payoff(value: object, axes: tuple[int, ...], where: str) -> Tensor:
    """A payoff array; numbers are bounded so that sums and products of them stay within the range of doubles."""
    out = parse_tensor(value, axes, where)
    numerators = out.numerators.values if isinstance(out.numerators, DoubleNumerators) else out.numerators
    one = 1 if isinstance(out.numerators, DoubleNumerators) else out.denominator
    if max(max(numerators), -min(numerators)) > LARGEST_PAYOFF * one:
        raise GameError("expected payoffs of at most 1e100 in size; use another unit", field=where)
    return out


def _prior(value: object, shape: tuple[int, ...]) -> Tensor:
    """Weights normalised exactly; floats must sum to 1 already, ints and rationals may be any positive weights."""
    is_float = not isinstance(value, Tensor) and any(
        isinstance(item, float) for item in flatten(value, len(shape), "prior")[1]
    )
    weights = parse_tensor(value, shape, "prior", broadcast=False)
    return normalised_prior(weights, is_float=is_float)


def normalised_prior(weights: Tensor, *, is_float: bool) -> Tensor:
    """The prior of given weights (theory T1); see `parse_game` for what is refused."""
    for k, weight in enumerate(weights.numerators):
        if weight < 0:
            shown = show(Fraction(weight, weights.denominator))
            raise GameError(
                f"expected probabilities, got the negative {shown}", field="prior" + _index(k, weights.shape)
            )
    total = sum(weights.numerators)
    if total == 0:
        raise GameError("expected some positive probability, got only zeros", field="prior")
    if is_float and abs(Fraction(total, weights.denominator) - 1) > SUM_TOLERANCE:
        shown = show(Fraction(total, weights.denominator), 12)
        raise GameError(f"expected probabilities that sum to 1, got the sum {shown}", field="prior")
    if min(filter(None, weights.numerators)) < SMALLEST_SHARE * total:
        raise GameError("expected probabilities of 0 or at least 1e-300, got a smaller one", field="prior")
    divisor = math.gcd(total, *weights.numerators)
    return Tensor(weights.shape, [w // divisor for w in weights.numerators], total // divisor)


def _masks(
    value: object, type_shape: tuple[int, ...], action_shape: tuple[int, ...]
) -> tuple[tuple[tuple[bool, ...], ...], ...]:
    n = len(type_shape)
    if value is None:
        return tuple(((True,) * action_shape[i],) * type_shape[i] for i in range(n))
    if not isinstance(value, (list, tuple)) or len(value) != n:
        raise GameError(f"expected a list of {n} boolean arrays, one a player", field="feasible")
    out = []
    for i in range(n):
        where = f"feasible[{i}]"
        shape, flat = flatten(value[i], 2, where)
        if shape != (type_shape[i], action_shape[i]):
            raise GameError(f"expected shape {(type_shape[i], action_shape[i])}, got {shape}", field=where)
        for k, item in enumerate(flat):
            if not isinstance(item, bool):
                raise GameError(f"expected true or false, got {_show(item)}", field=where + _index(k, shape))
        rows = tuple(tuple(row) for row in nest(flat, shape))
        for t, row in enumerate(rows):
            if not any(row):
                raise GameError("expected at least one feasible action", field=f"{where}[{t}]")
        out.append(rows)
    return tuple(out)


# ---------------------------------------------------------------------------------------------- plays


@dataclass(frozen=True)
class PlainPlay:
    """A play (theory T2) as exact plain data. Which fields are set depends on ``kind``.

    Attributes:
        kind: ``conditional``, ``plan``, ``mixture`` or ``log``.
        sigma: conditional, given in full: axes (types.., actions..).
        cells: conditional, given by its support: (joint types, joint action, probability).
        weights: plan, mixture: one exact weight a profile or snapshot, summing to 1.
        profiles: plan: for each profile and player the action at each own type.
        strategies: mixture: for each player axes (snapshot, own type, action).
        rounds: log: (types, actions) of each round.
        largest_change: the most any probability moved when floats were put on the grid.
    """

    kind: str
    sigma: Tensor | None = None
    cells: tuple[tuple[tuple[int, ...], tuple[int, ...], Fraction], ...] = ()
    weights: tuple[Fraction, ...] = ()
    profiles: tuple[tuple[tuple[int, ...], ...], ...] = ()
    strategies: tuple[Tensor, ...] = ()
    rounds: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    largest_change: Fraction = field(default=Fraction(0))


def exact_row(values: Sequence[object], where: str) -> tuple[list[Fraction], Fraction]:
    """A probability row made exact (theory T1), and the largest change any entry took.

    Rationals must sum to exactly 1. With a float among them the sum may be off by 1e-9; the row is then normalised
    and put on the 2^-40 grid by largest remainder (ties to the lowest index), so zeros stay zero.
    """
    if any(isinstance(value, float) for value in values):
        parts, one, change = _exact_parts(values, where)
        return [Fraction(part, one) for part in parts], change
    return _rational_row(values, where)[0], Fraction(0)


def _row(values: Sequence[object], where: str) -> tuple[list[Fraction], list[int], int]:
    """Probabilities as they are written, and as whole numbers over one denominator."""
    try:
        row = [parse_number(value) for value in values]
    except FormatError:  # once more, to say which
        row = [parse_number(value, f"{where}[{k}]") for k, value in enumerate(values)]
    parts, one = _whole(row)
    for k, part in enumerate(parts):
        if part < 0:
            raise PlayError(f"expected a probability, got the negative {show(row[k])}", field=f"{where}[{k}]")
    return row, parts, one


def _rational_row(values: Sequence[object], where: str) -> tuple[list[Fraction], list[int], int]:
    """`_row` where no float is among the values, so that they must sum to exactly 1."""
    row, parts, one = _row(values, where)
    if sum(parts) != one:
        shown = show_exact(Fraction(sum(parts), one), 12)
        raise PlayError(f"expected probabilities that sum to 1, got the sum {shown}", field=where)
    return row, parts, one


def _exact_parts(values: Sequence[object], where: str) -> tuple[list[int], int, Fraction]:
    """`exact_row` as whole numbers over one denominator: (numerators, denominator, largest change)."""
    if not any(isinstance(value, float) for value in values):
        _, parts, one = _rational_row(values, where)
        return parts, one, Fraction(0)
    if all(type(value) is float and 0 <= value < math.inf for value in values):
        ratios = [value.as_integer_ratio() for value in values]  # type: ignore[attr-defined]
        one = max(denominator for _, denominator in ratios)  # all of them are powers of two
        parts = [numerator * (one // denominator) for numerator, denominator in ratios]
    else:
        _, parts, one = _row(values, where)
    total = sum(parts)
    if abs(total - one) * SUM_TOLERANCE.denominator > SUM_TOLERANCE.numerator * one:
        shown = show(Fraction(total, one), 12)
        raise PlayError(f"expected probabilities that sum to 1, got the sum {shown}", field=where)
    units = _largest_remainder(parts, GRID)
    change = max(abs(unit * one - part * GRID) for unit, part in zip(units, parts, strict=True))
    return units, GRID, Fraction(change, GRID * one)


def grid_row(row: Sequence[Fraction], grid: int = GRID) -> list[Fraction]:
    """A non-negative row normalised and rounded to multiples of ``1/grid`` by largest remainder; zeros stay zero."""
    return [Fraction(unit, grid) for unit in _largest_remainder(_whole(row)[0], grid)]


def _whole(row: Sequence[Fraction]) -> tuple[list[int], int]:
    """A row over its common denominator, and that denominator."""
    one = common_denominator((value.denominator for value in row), len(row))
    return [value.numerator * (one // value.denominator) for value in row], one


def _largest_remainder(parts: Sequence[int], grid: int) -> list[int]:
    """Whole numbers that sum to ``grid``, in proportion to the parts; ties go to the lowest index."""
    total = sum(parts)
    units, rests = zip(*[divmod(part * grid, total) for part in parts], strict=True)
    missing = grid - sum(units)
    if not missing:
        return list(units)
    raised = set(sorted(range(len(parts)), key=lambda k: (-rests[k], k))[:missing])
    return [unit + (k in raised) for k, unit in enumerate(units)]


def parse_play(document: object, game: PlainGame) -> PlainPlay:
    """Reads a ``spverify-play`` document for this game and makes it exact.

    Raises:
        FormatError, PlayError: with the field, what was expected, and what was found.
    """
    if not isinstance(document, dict):
        raise FormatError(f'expected an object with "format": "spverify-play", got {_show(document)}')
    kind = document.get("kind")
    keys: Mapping[str, tuple[str, ...]] = {
        "conditional": ("kind", "cells" if "cells" in document else "sigma"),
        "plan": ("kind", "profiles"),
        "mixture": ("kind", "weights", "strategies"),
        "log": ("kind", "rounds"),
    }
    if document.get("format") == "spverify-play" and not (isinstance(kind, str) and kind in keys):
        raise PlayError(f"expected one of {', '.join(keys)}, got {_show(kind)}", field="kind")
    doc = check_keys(document, "spverify-play", keys.get(str(kind), ("kind",)))
    return {"conditional": _conditional, "plan": _plan, "mixture": _mixture, "log": _log}[str(kind)](doc, game)


def _sparse(doc: dict[str, Any], game: PlainGame) -> PlainPlay:
    """A conditional play by its support; joint types of probability 0 may be left out altogether."""
    if not isinstance(doc["cells"], (list, tuple)) or not doc["cells"]:
        raise PlayError("expected a non-empty list of [[types..], [actions..], probability]", field="cells")
    rows: dict[tuple[int, ...], dict[tuple[int, ...], object]] = {}
    for k, item in enumerate(doc["cells"]):
        where = f"cells[{k}]"
        if not isinstance(item, (list, tuple)) or len(item) != 3:
            raise PlayError("expected [[types..], [actions..], probability]", field=where)
        types, actions = _check_cell(item[0], item[1], game, where)
        row = rows.setdefault(types, {})
        if actions in row:
            raise PlayError("repeats a cell", field=where)
        row[actions] = item[2]
    cells: list[tuple[tuple[int, ...], tuple[int, ...], Fraction]] = []
    change = Fraction(0)
    for types in product(*map(range, game.type_shape)):
        if types in rows:
            exact, moved = exact_row(list(rows[types].values()), f"cells of types {list(types)}")
            change = max(change, moved)
            cells += [(types, a, mass) for a, mass in zip(rows[types], exact, strict=True) if mass]
        elif game.prior.numerators[sum(t * s for t, s in zip(types, game.prior.strides, strict=True))]:
            raise PlayError(
                f"expected cells for the types {list(types)}, which have positive probability", field="cells"
            )
    return PlainPlay("conditional", cells=tuple(cells), largest_change=change)


def _conditional(doc: dict[str, Any], game: PlainGame) -> PlainPlay:
    if "cells" in doc:
        return _sparse(doc, game)
    axes = game.type_shape + game.action_shape
    shape, flat = flatten(doc["sigma"], len(axes), "sigma")
    if shape != axes:
        raise PlayError(f"expected axes {axes} (types, then actions), got {shape}", field="sigma")
    block = math.prod(game.action_shape)
    entries: list[Fraction] = []
    change = Fraction(0)
    for k, types in enumerate(product(*map(range, game.type_shape))):
        where = "sigma" + "".join(f"[{t}]" for t in types)
        row, moved = exact_row(flat[k * block : (k + 1) * block], where)
        change = max(change, moved)
        for a, actions in enumerate(product(*map(range, game.action_shape))):
            if row[a] and not all(game.feasible[i][types[i]][actions[i]] for i in range(game.n)):
                place = where + "".join(f"[{x}]" for x in actions)
                raise PlayError(f"has mass {show(row[a])} on an action that is not feasible for its type", field=place)
        entries.extend(row)
    return PlainPlay("conditional", sigma=tensor(entries, axes), largest_change=change)


def _refuse_mass(parts: list[int], one: int, feasible: Sequence[bool], where: str) -> None:
    for a, mass in enumerate(parts):
        if mass and not feasible[a]:
            raise PlayError(
                f"has mass {show(Fraction(mass, one))} on an action that is not feasible for its type",
                field=f"{where}[{a}]",
            )


def _stacked(rows: Sequence[tuple[list[int], int]], shape: Sequence[int]) -> Tensor:
    """Rows of whole numbers, each over its own denominator, as one array over the least that serves them all."""
    one = common_denominator((denominator for _, denominator in rows), math.prod(shape))
    entries = [part * (one // denominator) for parts, denominator in rows for part in parts]
    common = math.gcd(one, *entries)
    return Tensor(tuple(shape), [entry // common for entry in entries], one // common)


def _plan(doc: dict[str, Any], game: PlainGame) -> PlainPlay:
    if not isinstance(doc["profiles"], (list, tuple)) or not doc["profiles"]:
        raise PlayError("expected a non-empty list of profiles", field="profiles")
    profiles, weights = [], []
    for k, item in enumerate(doc["profiles"]):
        where = f"profiles[{k}]"
        fields = check_fields(item, where, ("weight", "strategies"))
        weights.append(fields["weight"])
        rows = fields["strategies"]
        if not isinstance(rows, (list, tuple)) or len(rows) != game.n:
            raise PlayError(f"expected {game.n} strategies, one a player", field=f"{where}.strategies")
        profile = []
        for i, row in enumerate(rows):
            at = f"{where}.strategies[{i}]"
            if not isinstance(row, (list, tuple)) or len(row) != game.type_shape[i]:
                raise PlayError(f"expected a list of {game.type_shape[i]} actions, one a type", field=at)
            for t, action in enumerate(row):
                _check_action(action, game, i, t, f"{at}[{t}]")
            profile.append(tuple(row))
        profiles.append(tuple(profile))
    exact, change = exact_row(weights, "profiles[*].weight")
    return PlainPlay("plan", weights=tuple(exact), profiles=tuple(profiles), largest_change=change)


def _check_action(action: object, game: PlainGame, i: int, t: int, where: str) -> None:
    count = game.action_shape[i]
    if isinstance(action, bool) or not isinstance(action, int) or not 0 <= action < count:
        raise PlayError(f"expected an action index from 0 to {count - 1}, got {_show(action)}", field=where)
    if not game.feasible[i][t][action]:
        raise PlayError(f"action {action} is not feasible for type {t} of player {i}", field=where)


def _mixture(doc: dict[str, Any], game: PlainGame) -> PlainPlay:
    if not isinstance(doc["weights"], (list, tuple)) or not doc["weights"]:
        raise PlayError("expected a non-empty list of weights", field="weights")
    count = len(doc["weights"])
    weights, change = exact_row(doc["weights"], "weights")
    if not isinstance(doc["strategies"], (list, tuple)) or len(doc["strategies"]) != game.n:
        raise PlayError(f"expected {game.n} arrays, one a player", field="strategies")
    strategies = []
    for i, value in enumerate(doc["strategies"]):
        where = f"strategies[{i}]"
        shape, flat = flatten(value, 3, where)
        width = game.action_shape[i]
        if shape != (count, game.type_shape[i], width):
            wanted = (count, game.type_shape[i], width)
            raise PlayError(f"expected axes {wanted} (snapshot, own type, action), got {shape}", field=where)
        rows = []
        known: dict[tuple[float, ...], tuple[list[int], int]] = {}  # learners stay where they are for many snapshots
        for k in range(0, len(flat), width):
            values, t = flat[k : k + width], k // width % shape[1]
            floats = all(type(value) is float for value in values)  # an integer 1 equals 1.0, and is read differently
            row = known.get(tuple(values)) if floats else None
            if row is None:
                at = where + _index(k // width, shape[:2])
                parts, one, moved = _exact_parts(values, at)
                change = max(change, moved)
                row = parts, one
                if floats:
                    known[tuple(values)] = row
            if not all(allowed or not part for part, allowed in zip(row[0], game.feasible[i][t], strict=True)):
                _refuse_mass(*row, game.feasible[i][t], where + _index(k // width, shape[:2]))
            rows.append(row)
        strategies.append(_stacked(rows, shape))
    return PlainPlay("mixture", weights=tuple(weights), strategies=tuple(strategies), largest_change=change)


def _log(doc: dict[str, Any], game: PlainGame) -> PlainPlay:
    if not isinstance(doc["rounds"], (list, tuple)) or not doc["rounds"]:
        raise PlayError("expected a non-empty list of rounds", field="rounds")
    rounds = [check_round(item, game, f"rounds[{k}]") for k, item in enumerate(doc["rounds"])]
    return PlainPlay("log", rounds=tuple(rounds))


def check_round(item: object, game: PlainGame, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """One round of a log, ``[[types..], [actions..]]``, as tuples; refused where it does not fit the game.

    Raises:
        PlayError: with the field ``where``, what was expected, and what was found.
    """
    if not isinstance(item, (list, tuple)) or len(item) != 2:
        raise PlayError("expected [[types..], [actions..]]", field=where)
    types, actions = _check_cell(item[0], item[1], game, where)
    index = sum(t * stride for t, stride in zip(types, game.prior.strides, strict=True))
    if game.prior.numerators[index] == 0:
        raise PlayError("these types have probability 0 under the prior", field=where)
    return types, actions


def _check_cell(types: object, actions: object, game: PlainGame, where: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A joint type and a joint action that is feasible for it, as tuples."""
    masks = game.feasible
    for part, name in ((types, "types"), (actions, "actions")):
        if not isinstance(part, (list, tuple)) or len(part) != len(masks):
            raise PlayError(f"expected {len(masks)} {name}, one a player", field=where)
    assert isinstance(types, (list, tuple))
    assert isinstance(actions, (list, tuple))
    for t, a, mask in zip(types, actions, masks, strict=True):
        fits = type(t) is int and 0 <= t < len(mask) and type(a) is int and 0 <= a < len(mask[t]) and mask[t][a]
        if not fits:
            _refuse_cell(types, actions, game, where)
    return tuple(types), tuple(actions)


def _refuse_cell(types: Sequence[object], actions: Sequence[object], game: PlainGame, where: str) -> None:
    for i, t in enumerate(types):
        if isinstance(t, bool) or not isinstance(t, int) or not 0 <= t < game.type_shape[i]:
            upper = game.type_shape[i] - 1
            raise PlayError(f"expected a type index from 0 to {upper}, got {_show(t)}", field=f"{where}[0][{i}]")
        _check_action(actions[i], game, i, t, f"{where}[1][{i}]")


# ---------------------------------------------------------------------------------------------- npz


@dataclass(frozen=True)
class NpzArray:
    """One array of an ``.npz`` file: dtype text as numpy writes it, shape, and the bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    def tensor(self, where: str) -> Tensor:
        """The exact values; a double is itself."""
        codes = {"<f8": "d", "<f4": "f", "<i8": "q", "<i4": "i", "<i2": "h", "|i1": "b", "|u1": "B"}
        if self.dtype not in codes:
            raise FormatError(f"expected real or integer numbers, got numpy dtype {self.dtype}", field=where)
        values = array(codes[self.dtype])
        values.frombytes(self.data)
        if self.is_float():
            numerators = DoubleNumerators.of(memoryview(array("d", values)), where)
            return Tensor(self.shape, numerators, numerators.denominator)
        return Tensor(self.shape, values.tolist())

    def is_float(self) -> bool:
        return self.dtype[1] == "f"

    def booleans(self, where: str) -> Any:
        """Nested lists of a boolean array."""
        if self.dtype != "|b1":
            raise FormatError(f"expected booleans, got numpy dtype {self.dtype}", field=where)
        return nest([byte != 0 for byte in self.data], self.shape)

    def text(self, where: str) -> str:
        """The one string that the array holds."""
        if self.dtype[:2] != "<U" or self.shape not in ((), (1,)):
            raise FormatError(f"expected one string, got numpy dtype {self.dtype}", field=where)
        try:
            return self.data.decode("utf-32-le").rstrip("\0")
        except UnicodeDecodeError:
            raise FormatError("expected Unicode text, found something else", field=where) from None


def read_npz(path: str | Path) -> dict[str, NpzArray]:
    """The arrays of an ``.npz`` file, read with the standard library; nothing in it is ever unpickled."""
    try:
        return parse_npz(read_bytes(path))
    except SpverifyError as error:
        raise error.at(path) from None


def parse_npz(data: bytes) -> dict[str, NpzArray]:
    """The arrays of an ``.npz`` file's bytes; see `read_npz`."""
    out: dict[str, NpzArray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > 4096 or sum(entry.file_size for entry in entries) > MAX_DOCUMENT_BYTES:
                raise UnreadableError("the archive unpacks to more than is read")
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in out:
                    raise FormatError("stands twice in the archive", field=name)
                out[name] = parse_npy(archive.read(entry), name)
            return out
    except SpverifyError:
        raise
    except Exception as error:  # zlib.error is not importable from zipfile; any failure here is a damaged archive
        raise UnreadableError(
            f"expected an .npz archive, but it is damaged or of another format ({type(error).__name__})"
        ) from None


def parse_npy(data: bytes, where: str) -> NpzArray:
    """One array from the bytes of a ``.npy`` file; only plain numbers and texts, never empty."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        raise UnreadableError("expected a numpy array", field=where)
    size = 2 if data[6] == 1 else 4
    (length,) = struct.unpack("<H" if size == 2 else "<I", data[8 : 8 + size])
    start = 8 + size + length
    try:
        header = ast.literal_eval(data[8 + size : start].decode("latin1"))
        dtype, shape, fortran = str(header["descr"]), tuple(header["shape"]), header["fortran_order"]
        count = math.prod(int(length) for length in shape)
        width = int(dtype[2:]) * (4 if dtype[1] == "U" else 1)
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError, IndexError):
        raise UnreadableError("expected a numpy header", field=where) from None
    if dtype[1] not in "fiubU" or (fortran and len(shape) > 1):
        raise UnreadableError(f"expected plain numbers in C order, got numpy dtype {dtype}", field=where)
    if any(type(x) is not int or x < 1 for x in shape):
        raise UnreadableError(f"expected an array that is not empty, got the shape {shape}", field=where)
    if len(data) - start != count * width:
        raise UnreadableError(f"expected {count * width} bytes of data, got {len(data) - start}", field=where)
    return NpzArray(dtype, shape, data[start:])


def read_plain_game(path: str | Path) -> PlainGame:
    """A game from ``*.game.json``, ``.npz`` or Gambit's ``.nfg``, exactly, with the standard library alone."""
    if str(path).endswith(".nfg"):
        from .gambit import read_nfg

        return read_nfg(path)
    try:
        if str(path).endswith(".npz"):
            return parse_game(npz_game_document(read_npz(path)))
        return parse_game(read_json(path))
    except SpverifyError as error:
        raise error.at(path) from None


def npz_game_document(arrays: Mapping[str, NpzArray]) -> dict[str, Any]:
    """The game document that the arrays of an ``.npz`` file stand for, arrays as `Tensor` values."""
    if "meta" not in arrays or "prior" not in arrays:
        raise FormatError("expected arrays named meta and prior", field="meta" if "meta" not in arrays else "prior")
    meta = parse_json(arrays["meta"].text("meta"))
    if not isinstance(meta, dict) or {"prior", "payoffs", "leader", "feasible"} & meta.keys():
        raise FormatError("expected an object with format, version, name and players", field="meta")
    players = meta.get("players")
    count = len(players) if isinstance(players, list) else 0
    known = {"meta", "prior", "leader"} | {f"{name}_{i}" for name in ("payoffs", "feasible") for i in range(count)}
    for name in arrays:
        if name not in known:
            raise FormatError("unknown array", field=name)
    document = dict(meta)
    prior = arrays["prior"].tensor("prior")
    document["prior"] = normalised_prior(prior, is_float=arrays["prior"].is_float())
    document["payoffs"] = []
    for i in range(count):
        if f"payoffs_{i}" not in arrays:
            raise FormatError("is missing", field=f"payoffs_{i}")
        document["payoffs"].append(arrays[f"payoffs_{i}"].tensor(f"payoffs_{i}"))
    if "leader" in arrays:
        document["leader"] = arrays["leader"].tensor("leader")
    masks = [f"feasible_{i}" for i in range(count)]
    if any(name in arrays for name in masks):
        for name in masks:
            if name not in arrays:
                raise FormatError("is missing; give one mask a player or none", field=name)
        document["feasible"] = [arrays[name].booleans(name) for name in masks]
    return document
