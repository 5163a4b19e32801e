"""The files under `examples/` mean what the documentation says: each number below is a closed form."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import spverify


@pytest.mark.parametrize(
    ("game_name", "play_name", "gap", "witness"),
    [
        ("interim-not-exante", "interim-not-exante", Fraction(1, 4), (0, 1, 1)),
        ("battle-of-the-sexes", "battle-of-the-sexes", Fraction(0), None),
        ("chicken", "chicken-traffic-light", Fraction(0), None),
        ("first-price-auction", "first-price-auction", Fraction(0), None),
        ("diagonal-prior", "diagonal-prior", Fraction(0), None),
        # What a learner ends in that believes its opponent's type independent of its own.
        ("diagonal-prior", "diagonal-prior-marginals", Fraction(1), (0, 1, 1)),
    ],
)
def test_gap_of_each_example(
    examples_dir: Path, game_name: str, play_name: str, gap: Fraction, witness: tuple[int, int, int] | None
) -> None:
    game = spverify.read_game(examples_dir / f"{game_name}.game.json")
    report = spverify.assess(game, spverify.read_play(examples_dir / f"{play_name}.play.json", game))
    assert report.gap_exact == gap
    assert report.gap == pytest.approx(float(gap), abs=1e-12)
    found = report.witness
    assert (None if found is None else (found.player, found.type, found.deviation)) == witness
    assert report.equilibrium_set == "sf"


def test_interim_not_exante_has_three_different_sums(examples_dir: Path) -> None:
    game = spverify.read_game(examples_dir / "interim-not-exante.game.json")
    report = spverify.assess(game, spverify.read_play(examples_dir / "interim-not-exante.play.json", game))
    assert np.allclose(report.per_type_sum, [1 / 8, 0])
    assert np.allclose(report.ex_ante, [0, 0])
    assert report.nashconv is None


def test_product_of_marginals_would_call_the_wrong_play_right(examples_dir: Path) -> None:
    game = spverify.read_game(examples_dir / "diagonal-prior.game.json")
    marginals = [game.marginal(i) for i in range(2)]
    truth, wrong = game.prior, np.outer(*marginals)
    assert np.array_equal(truth, np.diag([0.5, 0.5]))
    # Player 1 plays its type; player 0 of type 1 compares action 0 (worth 1.2 against a 0) with action 1.
    assert np.allclose(truth[1] / truth[1].sum() * [1.2, 0], [0, 0])
    assert wrong[1, 0] / wrong[1].sum() * 1.2 > wrong[1, 1] / wrong[1].sum() * 1.0


def test_the_log_is_readable_and_of_the_planted_play(examples_dir: Path) -> None:
    game = spverify.read_game(examples_dir / "diagonal-prior.game.json")
    log = spverify.read_play(examples_dir / "diagonal-prior.log.csv", game)
    assert log.kind == "log"
    types, actions = np.asarray(log.types), np.asarray(log.actions)
    assert types.shape == actions.shape == (2000, 2)
    assert (types[:, 0] == types[:, 1]).all()
    assert (actions[:, 1] == types[:, 1]).all()


def test_first_price_auction_masks_bids_above_the_value(examples_dir: Path) -> None:
    game = spverify.read_game(examples_dir / "first-price-auction.game.json")
    for mask in game.feasible:
        assert np.array_equal(mask, [[True, True, False], [True, True, True]])
    play = spverify.read_play(examples_dir / "first-price-auction.play.json", game)
    # Bids 0 and 1/2: the price is 1/2 unless both values are low.
    assert spverify.assess(game, play).leader_value == pytest.approx(3 / 8, abs=1e-12)


def test_every_command_of_the_examples_page_runs(examples_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    shutil.copytree(examples_dir, folder)
    commands = re.findall(r"^spverify .*$", (folder / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    verdicts = {}
    for command in commands:
        ran = subprocess.run(
            [sys.executable, "-m", "spverify", *shlex.split(command)[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode in (0, 1, 3), f"{command}: {ran.stderr[-2000:]}"
        verdicts[command.removeprefix("spverify ")] = ran.returncode
    log = "check diagonal-prior.game.json diagonal-prior.log.csv --epsilon"
    assert [verdicts[f"{log} {e}"] for e in ("0.2", "0.08", "0.005")] == [0, 3, 1]
    assert verdicts["check interim-not-exante.game.json interim-not-exante.play.json --out proofs"] == 1
    assert verdicts["recheck proofs/gap.cert.json"] == 0
    assert verdicts["check diagonal-prior.game.json diagonal-prior-marginals.play.json"] == 1


@pytest.mark.parametrize(
    ("name", "objective", "equilibrium_set", "low", "high"),
    [
        ("battle-of-the-sexes", "welfare", "sf", 2.4, 5),
        ("chicken", "welfare", "sf", 7.2, 10.5),
        ("first-price-auction", "leader", "sf", 0, 0.5),
        ("first-price-auction", "leader", "tc", 0, 0.625),
    ],
)
def test_ranges_named_on_the_examples_page(
    examples_dir: Path, name: str, objective: str, equilibrium_set: str, low: float, high: float
) -> None:
    game = spverify.read_game(examples_dir / f"{name}.game.json")
    found = spverify.equilibrium_range(game, objective=objective, equilibrium_set=equilibrium_set)
    assert found.proved
    assert float(found.min.outer) == pytest.approx(low, abs=1e-6)
    assert float(found.max.outer) == pytest.approx(high, abs=1e-6)
    for side in (found.min, found.max):
        assert side.certificate.recheck().accepted
