"""The digest of a big game's content, quickly: the bytes that `PlainGame.sha256` hashes, made by numpy in blocks.

A double is a whole number over a power of two; its decimal digits come from a table, four at a time, the power's text
from another. What is hashed is the same to the last byte, and the tests hold it to that.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .plain import DoubleNumerators, PlainGame, Tensor

_BLOCK = 1 << 14
"""Numbers written at once: their text fits the processor's cache."""

_WORTH_IT = 64
"""Below so many numbers Python's own text is as quick."""

_CHUNK = 10_000

_MARK = 128
"""Bytes from here on stand for brackets until the text is made; all text is ASCII."""

Ints = npt.NDArray[np.int64]


def game_sha256(game: PlainGame) -> str:
    """The same as ``game.sha256``, which is then known."""
    if "sha256" not in game.__dict__:
        game.__dict__["sha256"] = game.digest(_canonical)
    return game.sha256


def _canonical(array: Tensor) -> Iterator[bytes]:
    """The bytes of `Tensor.canonical`."""
    whole = _whole_numbers(array)
    if whole is None:
        yield "".join(array.canonical()).encode("ascii")
        return
    depth = len(array.shape)
    # after a number stands what parts it from the next, or one byte for the brackets that end here and begin
    ends = np.array([list(b'","'), *([_MARK + k, 0, 0] for k in range(1, depth + 1))], dtype=np.uint8)
    brackets = [b'"' + b"]" * k + b"," + b"[" * k + b'"' for k in range(1, depth)] + [b'"' + b"]" * depth]
    sizes = [int(np.prod(array.shape[k:])) for k in range(1, depth)]
    yield b"[" * depth + b'"'
    first, count = 0, len(array.numerators)
    for numerators, powers in whole:
        after = np.arange(first + 1, first + 1 + len(numerators))
        level = sum((after % size == 0).astype(np.int64) for size in sizes) + (after == count)
        text = _text(numerators, powers, np.take(ends, level, axis=0))
        for k, bracket in enumerate(brackets, start=1):
            text = text.replace(bytes([_MARK + k]), bracket)
        yield text
        first += len(numerators)


def _whole_numbers(array: Tensor) -> Iterator[tuple[Ints, Ints]] | None:
    """An array's entries in blocks, as (odd or whole numerator, power of two below it); None if they do not fit."""
    if len(array.numerators) < _WORTH_IT:
        return None
    if isinstance(array.numerators, DoubleNumerators):
        doubles = np.frombuffer(array.numerators.values)
        if max(float(doubles.max()), -float(doubles.min())) >= 2.0**62:
            return None
        return (_of_doubles(doubles[k : k + _BLOCK]) for k in range(0, len(doubles), _BLOCK))
    power = array.denominator.bit_length() - 1
    if array.denominator != 1 << power or max(max(array.numerators), -min(array.numerators)) >= 1 << 62:
        return None
    numbers = np.array(array.numerators, dtype=np.int64)
    blocks = (numbers[k : k + _BLOCK] for k in range(0, len(numbers), _BLOCK))
    return (_lowest_terms(block, np.full(len(block), power)) for block in blocks)


def _of_doubles(values: npt.NDArray[np.float64]) -> tuple[Ints, Ints]:
    mantissa, exponent = np.frexp(values)
    power = 53 - exponent.astype(np.int64)
    numerators = np.ldexp(mantissa, 53).astype(np.int64)
    return _lowest_terms(np.where(power < 0, numerators << np.maximum(-power, 0), numerators), np.maximum(power, 0))


def _lowest_terms(numerators: Ints, powers: Ints) -> tuple[Ints, Ints]:
    """numerators / 2^powers with as many twos taken out as there are above and below."""
    lowest_bit = (numerators & -numerators).astype(np.float64)
    twos = np.where(numerators == 0, powers, np.minimum(np.frexp(lowest_bit)[1] - 1, powers))
    return numerators >> np.minimum(twos, 63), powers - twos


def _text(numerators: Ints, powers: Ints, ends: npt.NDArray[np.uint8]) -> bytes:
    """Each number's sign, digits, power of two and end, without the zero bytes that pad them."""
    below = np.take(_powers(int(powers.max())), powers, axis=0)
    count, rest = len(numerators), np.abs(numerators)
    chunks = -(-len(str(int(rest.max()))) // 4)
    digits = np.empty((count, chunks), dtype=np.uint32)
    for k in reversed(range(chunks)):
        above = rest // _CHUNK
        digits[:, k] = np.take(_digits(), rest - above * _CHUNK + (above == 0) * _CHUNK)
        rest = above
    minus = np.where(numerators < 0, ord("-"), 0)[:, None]
    out = np.concatenate([minus.astype(np.uint8), digits.view(np.uint8), below, ends], axis=1)
    out[numerators == 0, 4 * chunks] = ord("0")
    return out.tobytes().translate(None, b"\0")


def _table(texts: list[bytes]) -> npt.NDArray[np.uint8]:
    """Texts as rows of bytes, padded with zero bytes."""
    width = max(map(len, texts))
    return np.array([list(text.ljust(width, b"\0")) for text in texts], dtype=np.uint8).reshape(len(texts), width)


@cache
def _powers(highest: int) -> npt.NDArray[np.uint8]:
    """What stands below a numerator: nothing for 2^0, else a stroke and the power."""
    return _table([b"", *(f"/{1 << k}".encode() for k in range(1, highest + 1))])


@cache
def _digits() -> Any:
    """Four digits of 0 to 9999 as one number of 32 bits: with leading zeros, then without."""
    full = [f"{k:04}".encode() for k in range(_CHUNK)]
    bare = [b"\0\0\0\0", *(str(k).encode().rjust(4, b"\0") for k in range(1, _CHUNK))]
    return np.frombuffer(b"".join(full + bare), dtype=np.uint32)
