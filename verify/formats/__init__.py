"""Readers and writers for games and plays: JSON, npz, Gambit's nfg, and logs as CSV or Parquet (docs/formats.md).

Reading is strict and exact (`plain.py`, logs in `logs.py`); errors name the file and the field. Writing is atomic.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PlayError, SpverifyError, UsageError
from ..gambit import nfg_text
from ..game import BayesianGame
from ..plain import (
    npz_game_document,
    parse_game,
    parse_json,
    parse_npz,
    parse_play,
    read_json,
    read_npz,
    read_plain_game,
)
from ..play import ConditionalPlay, PlanPlay, Play, PlayLog, SparsePlay, as_doubles, play_of
from .atomic import write_atomic
from .logs import log_of_document, npz_is_log, read_log, write_log

__all__ = ["dump_json", "read_game", "read_json", "read_play", "write_atomic", "write_game", "write_play"]


def dump_json(document: object) -> str:
    """The text of a JSON document as spverify writes it; NaN and infinities are refused."""
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def read_game(path: str | Path) -> BayesianGame:
    """A game from ``*.game.json`` (``-`` is standard input), ``.npz`` or Gambit's ``.nfg``.

    Raises:
        SpverifyError: naming file, field, what was expected and what was found.
    """
    return BayesianGame.from_plain(read_plain_game(path))


def write_game(game: BayesianGame, path: str | Path) -> None:
    """Writes a game as JSON, as ``.npz`` for big arrays, or as ``.nfg`` for Gambit; each reads back as the same game.

    An ``.npz`` holds doubles and refuses what they cannot; an ``.nfg`` lists every profile of plans, up to a limit.
    """
    if str(path).endswith(".nfg"):
        write_atomic(path, nfg_text(game.plain))
        return
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
    if parse_game(npz_game_document(parse_npz(data))).sha256 != game.sha256:
        raise UsageError("the game has rational numbers that doubles cannot hold; write it as .game.json", path=path)
    write_atomic(path, data)


def _prior_array(game: BayesianGame) -> Any:
    """Integer weights where they fit, so that a rational prior survives; doubles otherwise."""
    weights = game.plain.prior.numerators
    if max(weights) < 1 << 62:
        return np.array(weights, dtype=np.int64).reshape(game.type_shape)
    return game.prior


def _npz_bytes(arrays: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    arrays = {name: np.ascontiguousarray(v) if np.ndim(v) else v for name, v in arrays.items()}
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def read_play(path: str | Path, game: BayesianGame) -> Play:
    """A play for a game from ``*.play.json``, ``.npz`` (same names), or a log as ``.csv`` or ``.parquet``.

    The returned play is validated against the game.

    Raises:
        SpverifyError: naming file, field, what was expected and what was found.
    """
    try:
        if str(path).endswith((".csv", ".parquet")) or (str(path).endswith(".npz") and npz_is_log(path)):
            return read_log(path, game)
        document = _npz_play_document(path, game) if str(path).endswith(".npz") else read_json(path)
        if isinstance(document, dict) and document.get("kind") == "log":
            return log_of_document(document, game)
        return play_of(parse_play(document, game.plain), game)
    except SpverifyError as error:
        raise error.at(path) from None


def write_play(play: Play, path: str | Path) -> None:
    """Writes a play as JSON, a log also as CSV or Parquet, arrays also as ``.npz``: in doubles, exact only in JSON."""
    if str(path).endswith((".csv", ".parquet")):
        if not isinstance(play, PlayLog):
            raise UsageError("only a log can be written as CSV or Parquet", path=path)
        write_log(play, path)
    elif str(path).endswith(".npz"):
        write_atomic(path, _npz_bytes(_npz_play_arrays(play)))
    else:
        write_atomic(path, dump_json(play.to_document()))


def _npz_play_arrays(play: Play) -> dict[str, Any]:
    arrays: dict[str, Any] = {
        "meta": np.array(json.dumps({"format": "spverify-play", "version": 1, "kind": play.kind}))
    }
    if isinstance(play, ConditionalPlay):
        return {**arrays, "sigma": as_doubles(play.sigma)}
    if isinstance(play, PlayLog):
        return {**arrays, "types": play.types, "actions": play.actions}
    if isinstance(play, SparsePlay):
        raise UsageError("a play given by its cells is written as JSON")
    arrays["weights"] = as_doubles(play.weights)
    for i, rows in enumerate(play.strategies):
        arrays[f"strategies_{i}"] = rows if isinstance(play, PlanPlay) else as_doubles(rows)
    return arrays


def _npz_play_document(path: str | Path, game: BayesianGame) -> dict[str, Any]:
    arrays = read_npz(path)
    if "meta" not in arrays:
        raise PlayError("is missing", field="meta")
    document = parse_json(arrays["meta"].text("meta"))
    kind = document.get("kind") if isinstance(document, dict) else None
    players = range(game.n_players)
    expected = {
        "conditional": ["sigma"],
        "plan": ["weights", *(f"strategies_{i}" for i in players)],
        "mixture": ["weights", *(f"strategies_{i}" for i in players)],
    }
    if not isinstance(kind, str) or kind not in expected:
        raise PlayError(f"expected one of {', '.join(expected)} and log", field="meta.kind")
    for name in {*expected[kind], *arrays} - {"meta"}:
        if name not in expected[kind] or name not in arrays:
            raise PlayError("unknown array" if name in arrays else "is missing", field=name)

    def nested(name: str) -> Any:
        values = arrays[name].tensor(name)
        number = float if arrays[name].is_float() else int
        return values.nested(number)

    if kind == "conditional":
        return {**document, "sigma": nested("sigma")}
    strategies = [nested(f"strategies_{i}") for i in players]
    if kind == "mixture":
        return {**document, "weights": nested("weights"), "strategies": strategies}
    weights = nested("weights")
    lists = all(isinstance(rows, list) for rows in (weights, *strategies))
    if not lists or any(len(rows) != len(weights) for rows in strategies):
        raise PlayError("expected one weight a profile, and as many profiles for each player", field="strategies")
    profiles = [{"weight": w, "strategies": [rows[k] for rows in strategies]} for k, w in enumerate(weights)]
    return {**document, "profiles": profiles}
