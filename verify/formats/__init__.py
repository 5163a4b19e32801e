"""Readers and writers for games and plays: JSON, npz, and CSV logs (docs/formats.md).

Reading is strict and exact (`plain.py`); errors name the file and the field. Writing is atomic.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PlayError, SpverifyError, UnreadableError, UsageError
from ..game import BayesianGame
from ..plain import parse_json, parse_play, read_bytes, read_json, read_npz, read_plain_game
from ..play import ConditionalPlay, PlanPlay, Play, PlayLog, play_of
from .atomic import write_atomic

__all__ = ["dump_json", "read_game", "read_json", "read_play", "write_atomic", "write_game", "write_play"]


def dump_json(document: object) -> str:
    """The text of a JSON document as spverify writes it; NaN and infinities are refused."""
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_game(path: str | Path) -> BayesianGame:
    """A game from ``*.game.json`` (``-`` is standard input) or ``.npz``.

    Raises:
        SpverifyError: naming file, field, what was expected and what was found.
    """
    return BayesianGame.from_plain(read_plain_game(path))


def write_game(game: BayesianGame, path: str | Path) -> None:
    """Writes a game as JSON, or as ``.npz`` for big arrays; an ``.npz`` holds doubles and refuses what they cannot."""
    if not str(path).endswith(".npz"):
        write_atomic(path, dump_json(game.to_document()))
        return
    meta = {k: v for k, v in game.to_document().items() if k in ("format", "version", "name", "players")}
    arrays: dict[str, Any] = {"meta": np.array(json.dumps(meta)), "prior": _prior_array(game)}
    arrays |= {f"payoffs_{i}": payoff for i, payoff in enumerate(game.payoffs)}
    if game.leader is not None:
        arrays["leader"] = game.leader
    if not all(mask.all() for mask in game.feasible):
        arrays |= {f"feasible_{i}": mask for i, mask in enumerate(game.feasible)}
    data = _npz_bytes(arrays)
    write_atomic(path, data)
    if read_game(path).sha256 != game.sha256:
        Path(path).unlink()
        raise UsageError("the game has rational numbers that doubles cannot hold; write it as .game.json", path=path)


def _prior_array(game: BayesianGame) -> Any:
    """Integer weights where they fit, so that a rational prior survives; doubles otherwise."""
    weights = game.plain.prior.numerators
    if max(weights) < 1 << 62:
        return np.array(weights, dtype=np.int64).reshape(game.type_shape)
    return game.prior


def _npz_bytes(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    arrays = {name: np.ascontiguousarray(v) if np.ndim(v) else v for name, v in arrays.items()}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def read_play(path: str | Path, game: BayesianGame) -> Play:
    """A play for a game from ``*.play.json``, ``.npz`` (same names), or a CSV log with columns type_0.., action_0...

    The returned play is validated against the game.

    Raises:
        SpverifyError: naming file, field, what was expected and what was found.
    """
    try:
        if str(path).endswith(".csv"):
            document = _csv_document(path, game)
        elif str(path).endswith(".npz"):
            document = _npz_play_document(path, game)
        else:
            document = read_json(path)
        return play_of(parse_play(document, game.plain), game)
    except SpverifyError as error:
        raise error.at(path) from None


def write_play(play: Play, path: str | Path) -> None:
    """Writes a play as JSON, a log also as CSV, arrays also as ``.npz``."""
    if str(path).endswith(".csv"):
        if not isinstance(play, PlayLog):
            raise UsageError("only a log can be written as CSV", path=path)
        n = play.types.shape[1]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([f"type_{i}" for i in range(n)] + [f"action_{i}" for i in range(n)])
        writer.writerows(np.hstack([play.types, play.actions]).tolist())
        write_atomic(path, out.getvalue())
    elif str(path).endswith(".npz"):
        write_atomic(path, _npz_bytes(_npz_play_arrays(play)))
    else:
        write_atomic(path, dump_json(play.to_document()))


def _npz_play_arrays(play: Play) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "meta": np.array(json.dumps({"format": "spverify-play", "version": 1, "kind": play.kind}))
    }
    if isinstance(play, ConditionalPlay):
        return {**arrays, "sigma": np.asarray(play.sigma, dtype=float)}
    if isinstance(play, PlayLog):
        return {**arrays, "types": play.types, "actions": play.actions}
    arrays["weights"] = np.array([float(weight) for weight in play.weights])
    kinds = int if isinstance(play, PlanPlay) else float
    return {
        **arrays,
        **{f"strategies_{i}": np.asarray(rows, dtype=kinds) for i, rows in enumerate(play.strategies)},
    }


def _npz_play_document(path: str | Path, game: BayesianGame) -> dict[str, Any]:
    arrays = read_npz(path)
    if "meta" not in arrays:
        raise PlayError("is missing", field="meta")
    document = parse_json(arrays["meta"].text("meta"))
    kind = document.get("kind") if isinstance(document, dict) else None
    players = range(game.n_players)
    expected = {
        "conditional": ["sigma"],
        "log": ["types", "actions"],
        "plan": ["weights", *(f"strategies_{i}" for i in players)],
        "mixture": ["weights", *(f"strategies_{i}" for i in players)],
    }
    if kind not in expected:
        raise PlayError(f"expected one of {', '.join(expected)}", field="meta.kind")
    for name in {*expected[kind], *arrays} - {"meta"}:
        if name not in expected[kind] or name not in arrays:
            raise PlayError("unknown array" if name in arrays else "is missing", field=name)

    def nested(name: str) -> Any:
        values = arrays[name].tensor(name)
        number = float if arrays[name].is_float() else int
        return values.nested(number)

    if kind == "conditional":
        return {**document, "sigma": nested("sigma")}
    if kind == "log":
        return {
            **document,
            "rounds": [list(pair) for pair in zip(nested("types"), nested("actions"), strict=True)],
        }
    strategies = [nested(f"strategies_{i}") for i in players]
    if kind == "mixture":
        return {**document, "weights": nested("weights"), "strategies": strategies}
    weights = nested("weights")
    if any(len(rows) != len(weights) for rows in strategies):
        raise PlayError(f"expected {len(weights)} profiles for each player", field="strategies")
    profiles = [{"weight": w, "strategies": [rows[k] for rows in strategies]} for k, w in enumerate(weights)]
    return {**document, "profiles": profiles}


def _csv_document(path: str | Path, game: BayesianGame) -> dict[str, Any]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableError("expected CSV text in UTF-8, found bytes that are not text") from None
    rows = list(csv.reader(io.StringIO(text)))
    n = game.n_players
    header = [f"type_{i}" for i in range(n)] + [f"action_{i}" for i in range(n)]
    if not rows or [name.strip() for name in rows[0]] != header:
        raise PlayError(f"expected the columns {','.join(header)}", field="line 1")
    rounds = []
    for k, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        if len(row) != 2 * n:
            raise PlayError(f"expected {2 * n} numbers, got {len(row)}", field=f"line {k}")
        try:
            numbers = [int(cell) for cell in row]
        except ValueError:
            raise PlayError(f"expected whole numbers, got {','.join(row)[:40]!r}", field=f"line {k}") from None
        rounds.append([numbers[:n], numbers[n:]])
    return {"format": "spverify-play", "version": 1, "kind": "log", "rounds": rounds}
