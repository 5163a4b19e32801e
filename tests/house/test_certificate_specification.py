"""A second certificate checker, written from `docs/formats.md` alone: naive, in fractions, by enumeration.

It shares no code with the kernel. Where both speak they must agree, so the page is enough to write a checker.
"""

from __future__ import annotations

import json
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spverify

Index = tuple[int, ...]


class Reader:
    """A game document, read as the page says: exact numbers, broadcasting axes, normalised prior, masks."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.n = len(document["players"])
        self.types = [range(len(player["types"])) for player in document["players"]]
        self.actions = [range(len(player["actions"])) for player in document["players"]]
        weights = {theta: self.entry(document["prior"], theta) for theta in product(*self.types)}
        self.p = {theta: weight / sum(weights.values()) for theta, weight in weights.items()}

    def entry(self, array: Any, index: Index) -> Fraction:
        for k in index:
            array = array[k if len(array) > 1 else 0]
        return Fraction(array)

    def own(self, i: int, t: int) -> Fraction:
        return sum((p for theta, p in self.p.items() if theta[i] == t), Fraction(0))

    def allowed(self, i: int, t: int) -> list[int]:
        mask = self.document.get("feasible")
        return [a for a in self.actions[i] if mask is None or mask[i][t][a]]

    def joint_actions(self, theta: Index) -> list[Index]:
        return list(product(*(self.allowed(i, t) for i, t in enumerate(theta))))

    def objective(self, name: str, cell: Index) -> Fraction:
        if name == "welfare":
            return sum((self.entry(u, cell) for u in self.document["payoffs"]), Fraction(0))
        if name == "leader":
            return self.entry(self.document["leader"], cell)
        return self.entry(self.document["payoffs"][int(name.removeprefix("player:"))], cell)


def least_provable(game: Reader, certificate: dict[str, Any]) -> Fraction:
    """The smallest (for `lower`: largest) value that the certificate's evidence proves for its set."""
    claim, evidence = certificate["claim"], certificate["evidence"]
    s = 1 if claim["kind"] == "upper" else -1
    y = {tuple(row[:3]): Fraction(row[3]) for row in evidence["multipliers"]}

    @cache
    def c(theta: Index, a: Index) -> Fraction:
        if game.p[theta] == 0:
            return Fraction(0)
        total = s * game.p[theta] * game.objective(claim["objective"], theta + a)
        for (i, t, deviation), multiplier in y.items():
            if theta[i] == t:
                u, moved = game.document["payoffs"][i], (*a[:i], deviation, *a[i + 1 :])
                gain = game.entry(u, theta + moved) - game.entry(u, theta + a)
                total -= game.p[theta] / game.own(i, t) * multiplier * gain
        return total

    def centred(theta: Index, a: Index) -> Fraction:
        total = Fraction(0)
        for j, f in enumerate(evidence["potentials"] or []):
            column = [game.entry(f, (*theta[:j], t, *theta[j + 1 :], *a)) for t in game.types[j]]
            total += column[theta[j]] - sum(column) / len(column)
        return total

    paid = Fraction(claim["epsilon"]) * sum(y.values())
    cell_by_cell = sum(max(c(theta, a) + centred(theta, a) for a in game.joint_actions(theta)) for theta in game.p)
    bound = paid + cell_by_cell
    if claim["set"] == "sf":
        strategies = [list(product(*(game.allowed(i, t) for t in game.types[i]))) for i in range(game.n)]
        best = max(
            sum(c(theta, tuple(s_i[t] for s_i, t in zip(profile, theta, strict=True))) for theta in game.p)
            for profile in product(*strategies)
        )
        bound = min(bound, paid + best)
    return s * bound


def some_game(name: str, examples_dir: Path, equilibrium_ranges: list[dict[str, Any]]) -> dict[str, Any]:
    for entry in equilibrium_ranges:
        if entry["game"]["name"] == name:
            return entry["game"]
    return json.loads((examples_dir / f"{name}.game.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("equilibrium_set", ["tc", "ns", "sf"])
@pytest.mark.parametrize("sense", ["upper", "lower"])
@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("random-2p-2a-2t-100", "leader"),
        ("random-3p-2a-2t-102", "welfare"),
        ("diagonal-prior", "player:0"),
        ("first-price-auction", "leader"),
        ("interim-not-exante", "player:0"),
    ],
)
def test_both_checkers_draw_the_same_line(
    name: str,
    objective: str,
    sense: str,
    equilibrium_set: str,
    examples_dir: Path,
    equilibrium_ranges: list[dict[str, Any]],
) -> None:
    document = some_game(name, examples_dir, equilibrium_ranges)
    reader, game = Reader(document), spverify.BayesianGame.from_document(document)
    rng = np.random.default_rng(len(name))
    rows = [
        [i, t, a, f"{rng.integers(0, 8)}/{rng.integers(1, 8)}"]
        for i in range(reader.n)
        for t in reader.types[i]
        for a in reader.allowed(i, t)
        if reader.own(i, t) > 0 and rng.random() < 0.8
    ]
    potentials = None
    if equilibrium_set == "ns":
        shapes = [[len(x) for x in reader.types + reader.actions] for _ in range(reader.n)]
        for j, shape in enumerate(shapes):
            shape[reader.n + j] = 1
        potentials = [rng.integers(-3, 4, size=shape).tolist() for shape in shapes]
    certificate: dict[str, Any] = {
        "format": "spverify-certificate",
        "version": 1,
        "claim": {"kind": sense, "set": equilibrium_set, "objective": objective, "epsilon": "1/20"},
        "game": document,
        "game_sha256": game.sha256,
        "evidence": {"multipliers": rows, "potentials": potentials, "play": None, "objective": None},
    }
    line = least_provable(reader, certificate)
    beyond = Fraction(-1 if sense == "upper" else 1, 10**12)
    certificate["claim"]["value"] = str(line)
    assert spverify.check_certificate(certificate).accepted
    certificate["claim"]["value"] = str(line + beyond)
    assert not spverify.check_certificate(certificate).accepted


def test_the_digest_is_of_what_the_page_says(examples_dir: Path) -> None:
    import hashlib

    document = json.loads((examples_dir / "diagonal-prior.game.json").read_text(encoding="utf-8"))

    def canonical(value: Any) -> Any:
        return [canonical(item) for item in value] if isinstance(value, list) else str(Fraction(value))

    wanted = {**document, "prior": canonical(document["prior"]), "payoffs": canonical(document["payoffs"])}
    text = json.dumps(wanted, sort_keys=True, separators=(",", ":"))
    game = spverify.read_game(examples_dir / "diagonal-prior.game.json")
    assert hashlib.sha256(text.encode("ascii")).hexdigest() == game.sha256
