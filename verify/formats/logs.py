"""Play logs in files: CSV, Parquet, npz and JSON, read whole or streamed in chunks (docs/formats.md).

Reading is strict: anything but the expected columns of whole numbers is refused with its place. `stream_log` gives
arrays of a few rounds at a time and `read_history` only their counts, so that a CSV, Parquet or npz log may be larger
than memory. Parquet needs the optional package pyarrow (`pip install "spverify[parquet]"`).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..errors import FormatError, PlayError, SpverifyError, UnreadableError, UsageError
from ..game import BayesianGame
from ..histories import History
from ..plain import check_keys, check_round, opened, parse_json, parse_npy, parse_play, read_json
from ..play import PlayLog
from .atomic import write_atomic

CHUNK_BYTES = 1 << 23
MAX_MEMORY_BYTES = 1 << 30
CHUNK_ROUNDS = 1 << 18
MAX_META_BYTES = 1 << 16

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, KeyError)
"""What the standard library raises at a zip file that is damaged."""

_WHOLE = re.compile(r"\s*[+-]?[0-9]{1,4000}\s*")

IntegerArray = npt.NDArray[np.integer]
Chunk = tuple[IntegerArray, IntegerArray]


def column_names(n: int) -> list[str]:
    """Columns of a log of n players: ``type_0 .. type_{n-1}, action_0 .. action_{n-1}``."""
    return [f"type_{i}" for i in range(n)] + [f"action_{i}" for i in range(n)]


def read_log(path: str | Path, game: BayesianGame) -> PlayLog:
    """A log, whole, checked against its game.

    Args:
        path: ``.csv``, ``.parquet``, ``.npz``, or a JSON play document.
        game: the game that was played.

    Raises:
        SpverifyError: naming file, place, what was expected and what was found.
    """
    parts = list(stream_log(path, game))
    try:
        if not parts:
            raise PlayError("expected a non-empty list of rounds", field="rounds")
        log = PlayLog(*(np.concatenate(values) for values in zip(*parts, strict=True)))
        History.of(game, log)
        return log
    except SpverifyError as error:
        raise error.at(path) from None


def read_history(path: str | Path, game: BayesianGame) -> History:
    """The counts of a log, checked against its game; only a JSON log has to fit in memory.

    Raises:
        SpverifyError: naming file, place, what was expected and what was found.
    """
    try:
        return History.stream(game, stream_log(path, game))
    except SpverifyError as error:
        raise error.at(path) from None


def is_long_log(path: str | Path) -> bool:
    """Whether a file is a log, and so large that its counts should be read rather than its rounds."""
    try:
        large = Path(path).stat().st_size > MAX_MEMORY_BYTES
    except OSError:
        return False
    suffix = Path(path).suffix
    return large and (suffix in (".csv", ".parquet") or (suffix == ".npz" and npz_is_log(path)))


def stream_log(path: str | Path, game: BayesianGame) -> Iterator[Chunk]:
    """The rounds of a log in order, as chunks (types (t, n), actions (t, n)); indices are not yet checked.

    Raises:
        SpverifyError: while iterating, naming file and place.
    """
    source = {".csv": _csv_chunks, ".parquet": _parquet_chunks, ".npz": _npz_chunks}.get(Path(path).suffix)
    try:
        if source:
            yield from source(path, game)
        else:
            document = read_json(path)
            if not isinstance(document, dict) or document.get("kind") != "log":
                raise PlayError('expected a play document of the kind "log"', field="kind")
            log = log_of_document(document, game)
            yield log.types, log.actions
    except SpverifyError as error:
        raise error.at(path) from None


def write_log(log: PlayLog, path: str | Path) -> None:
    """Writes a log as ``.csv`` or ``.parquet``, atomically; other forms are `write_play`'s."""
    values = np.hstack([log.types, log.actions])
    names = column_names(log.types.shape[1])
    if Path(path).suffix == ".parquet":
        arrow, parquet = _arrow(path)
        sink = io.BytesIO()
        parquet.write_table(arrow.table(dict(zip(names, values.T, strict=True))), sink)
        write_atomic(path, sink.getvalue())
        return
    write_atomic(path, ",".join(names).encode() + b"\n" + _csv_bytes(values))


# ------------------------------------------------------------------------------------------ CSV


def _csv_bytes(values: IntegerArray) -> bytes:
    if values.max(initial=0) < 10:
        out = np.full((len(values), 2 * values.shape[1]), ord(","), dtype=np.uint8)
        out[:, ::2] = values + ord("0")
        out[:, -1] = ord("\n")
        return out.tobytes()
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(values.tolist())
    return text.getvalue().encode()


def _csv_chunks(path: str | Path, game: BayesianGame) -> Iterator[Chunk]:
    n, line, rounds = game.n_players, 2, 0
    with opened(path) as stream:
        _check_header(stream.readline(MAX_META_BYTES), n)
        rest = b""
        while data := stream.read(CHUNK_BYTES):
            data = rest + data
            cut = data.rfind(b"\n") + 1
            data, rest = data[:cut], data[cut:]
            if data:
                chunk = _csv_rows(data, game, line, rounds)
                yield chunk
                line, rounds = line + data.count(b"\n"), rounds + len(chunk[0])
        if rest:
            yield _csv_rows(rest + b"\n", game, line, rounds)


def _check_header(header: bytes, n: int) -> None:
    try:
        names = [name.strip() for name in header.decode("utf-8-sig").split(",")]
    except UnicodeDecodeError:
        raise UnreadableError("expected CSV text in UTF-8, found bytes that are not text") from None
    if [name.strip('"') for name in names] != column_names(n):
        raise PlayError(f"expected the columns {','.join(column_names(n))}", field="line 1")


def _csv_rows(data: bytes, game: BayesianGame, line: int, rounds: int) -> Chunk:
    """Rounds of some whole lines; ``line`` and ``rounds`` are the numbers of the first, for messages."""
    n = game.n_players
    values = _digits(data.replace(b"\r\n", b"\n"), 2 * n)
    if values is None:
        values = _csv_slowly(data, game, line, rounds)
    return values[:, :n], values[:, n:]


def _digits(data: bytes, width: int) -> IntegerArray | None:
    """Lines of ``width`` short unsigned numbers, read as arrays; None if anything else is there."""
    codes = np.frombuffer(data, dtype=np.uint8)
    if len(codes) % (2 * width) == 0:  # the common case: single digits everywhere
        grid = codes.reshape(-1, 2 * width)
        digits = grid[:, ::2] - np.uint8(48)
        ends = np.array([44] * (width - 1) + [10], dtype=np.uint8)
        if (digits < 10).all() and (grid[:, 1::2] == ends).all():
            return digits
    stops = np.flatnonzero(codes < 48)
    if len(stops) == 0 or len(stops) % width or (codes > 57).any():
        return None
    marks = codes[stops].reshape(-1, width)
    if (marks[:, -1] != 10).any() or (marks[:, :-1] != 44).any():
        return None
    lengths = np.diff(stops, prepend=-1) - 1
    if lengths.min() < 1 or lengths.max() > 9:
        return None
    values = np.zeros(len(stops), dtype=np.int64)
    for k in range(int(lengths.max())):
        there = lengths > k
        values[there] += (codes[stops[there] - 1 - k].astype(np.int64) - 48) * 10**k
    return values.reshape(-1, width)


def _csv_slowly(data: bytes, game: BayesianGame, line: int, rounds: int) -> IntegerArray:
    """The same with Python's csv reader, which knows quotes and blanks and can say what is wrong where."""
    n = game.n_players
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8")))
    except UnicodeDecodeError:
        raise UnreadableError("expected CSV text in UTF-8, found bytes that are not text") from None
    found: list[list[int]] = []
    k = line - 1
    try:
        for k, row in enumerate(rows, start=line):
            if not row:
                continue
            if len(row) != 2 * n:
                raise PlayError(f"expected {2 * n} numbers, got {len(row)}", field=f"line {k}")
            if not all(_WHOLE.fullmatch(cell) for cell in row):
                raise PlayError(f"expected whole numbers, got {','.join(row)[:40]!r}", field=f"line {k}")
            numbers = [int(cell) for cell in row]
            check_round([numbers[:n], numbers[n:]], game.plain, f"rounds[{rounds + len(found)}]")
            found.append(numbers)
    except csv.Error as error:
        raise PlayError(f"expected {2 * n} numbers between commas, but {error}", field=f"line {k + 1}") from None
    return np.array(found, dtype=np.int64).reshape(-1, 2 * n)


# ------------------------------------------------------------------------------------------ Parquet


def _arrow(path: str | Path) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        message = 'Parquet logs need the package pyarrow: pip install "spverify[parquet]"'
        raise UsageError(message, path=path) from None
    return pyarrow, pyarrow.parquet


def _parquet_chunks(path: str | Path, game: BayesianGame) -> Iterator[Chunk]:
    n = game.n_players
    arrow, parquet = _arrow(path)
    with opened(path) as stream:
        try:
            table = parquet.ParquetFile(stream)
            names = table.schema_arrow.names
            if sorted(names) != sorted(column_names(n)):
                raise PlayError(f"expected the columns {','.join(column_names(n))}, got {','.join(names)[:80]}")
            for field in table.schema_arrow:
                if not arrow.types.is_integer(field.type):
                    raise PlayError(f"expected whole numbers, got {field.type}", field=field.name)
            start = 0
            for batch in table.iter_batches(CHUNK_ROUNDS, columns=column_names(n)):
                for name, column in zip(column_names(n), batch.columns, strict=True):
                    if column.null_count:
                        row = start + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
                        raise PlayError("expected a whole number, found nothing", field=f"{name}[{row}]")
                values = [column.to_numpy() for column in batch.columns]
                yield _integers(np.stack(values[:n], axis=1)), _integers(np.stack(values[n:], axis=1))
                start += len(batch)
        except (arrow.ArrowException, OSError, ValueError) as error:
            what = str(error).partition("\n")[0][:120]
            raise UnreadableError(f"expected a Parquet file, but it is damaged or of another format ({what})") from None


def _integers(values: npt.NDArray) -> IntegerArray:
    """The same, unsigned 64-bit ones as signed; those beyond become the largest, which is out of every range."""
    if values.dtype != np.uint64:
        return values
    return np.minimum(values, np.uint64(np.iinfo(np.int64).max)).astype(np.int64)


# ------------------------------------------------------------------------------------------ npz


def _npz_chunks(path: str | Path, game: BayesianGame) -> Iterator[Chunk]:
    n = game.n_players
    try:
        with opened(path) as stream, zipfile.ZipFile(stream) as archive:
            _check_npz(archive)
            with archive.open("types.npy") as types, archive.open("actions.npy") as actions:
                kinds = [_header(types, "types", n), _header(actions, "actions", n)]
                rounds, other = (length for _, length in kinds)
                if rounds != other:
                    raise PlayError(f"expected as many types as actions, got {rounds} and {other}", field="actions")
                for start in range(0, rounds, CHUNK_ROUNDS):
                    size = min(CHUNK_ROUNDS, rounds - start) * n
                    yield _values(types, kinds[0][0], size, n), _values(actions, kinds[1][0], size, n)
    except _DAMAGED:
        raise UnreadableError("expected an .npz archive, but it is damaged or of another format") from None


def npz_is_log(path: str | Path) -> bool:
    """Whether an npz file says that it is a log; False where it says nothing readable."""
    try:
        with zipfile.ZipFile(path) as archive:
            document = _meta(archive)
            return isinstance(document, dict) and document.get("kind") == "log"
    except (SpverifyError, OSError, *_DAMAGED):
        return False


def _meta(archive: zipfile.ZipFile) -> Any:
    if archive.getinfo("meta.npy").file_size > MAX_META_BYTES:
        raise FormatError(f"is larger than {MAX_META_BYTES} bytes", field="meta")
    return parse_json(parse_npy(archive.read("meta.npy"), "meta").text("meta"))


def _check_npz(archive: zipfile.ZipFile) -> None:
    """Refuses an archive whose arrays or meta are not those of a log."""
    known, found = {"meta.npy", "types.npy", "actions.npy"}, archive.namelist()
    for name in sorted(known.symmetric_difference(found)):
        raise PlayError("unknown array" if name in found else "is missing", field=name.removesuffix(".npy"))
    if len(found) > len(known):
        raise PlayError("expected each array once in the archive")
    document = check_keys(_meta(archive), "spverify-play", ("kind",))
    if document["kind"] != "log":
        raise PlayError(f'expected "log", got {str(document["kind"])[:40]!r}', field="meta.kind")


def _header(member: IO[bytes], name: str, n: int) -> tuple[np.dtype, int]:
    """Dtype and length of an array (rounds, n) of whole numbers."""
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        shape, fortran, dtype = read(member)
    except Exception as error:  # of many kinds, for a header is Python text
        raise UnreadableError(f"expected a numpy header ({type(error).__name__})", field=name) from None
    if dtype.kind not in "iu":
        raise PlayError(f"expected whole numbers, got numpy dtype {dtype}", field=name)
    if len(shape) != 2 or shape[1] != n or (fortran and min(shape) > 1):
        raise PlayError(f"expected axes (round, player) with {n} players in C order, got {shape}", field=name)
    return dtype, shape[0]


def _values(member: IO[bytes], dtype: np.dtype, size: int, n: int) -> IntegerArray:
    data = member.read(size * dtype.itemsize)
    if len(data) != size * dtype.itemsize:
        raise EOFError
    return _integers(np.frombuffer(data, dtype=dtype)).reshape(-1, n)


# ------------------------------------------------------------------------------------------ JSON


def log_of_document(document: dict[str, Any], game: BayesianGame) -> PlayLog:
    """The log of a JSON play document, checked against its game; well-formed ones are read as arrays."""
    doc = check_keys(document, "spverify-play", ("kind", "rounds"))
    values = _nested(doc["rounds"], game.n_players)
    if values is None:
        rounds = parse_play(doc, game.plain).rounds
        values = np.array(rounds, dtype=np.int64)
    log = PlayLog(values[:, 0], values[:, 1])
    History.of(game, log)
    return log


def _nested(rounds: object, n: int) -> IntegerArray | None:
    """[[[types..], [actions..]], ..] as an array (T, 2, n); None where it is anything else."""
    if not isinstance(rounds, list) or not rounds or set(map(type, rounds)) != {list} or set(map(len, rounds)) != {2}:
        return None
    parts = list(chain.from_iterable(rounds))
    if set(map(type, parts)) != {list} or set(map(len, parts)) != {n}:
        return None
    numbers = list(chain.from_iterable(parts))
    if set(map(type, numbers)) != {int}:  # true and 1.0 are no indices
        return None
    try:
        return np.array(numbers, dtype=np.int64).reshape(-1, 2, n)
    except OverflowError:
        return None
