"""Ties, margins, tolerances, perturbed games and payments: against hand computation and brute force."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spverify.reports import robustness
from spverify.reports.audit import Options, audit_leader
from spverify.reports.subject import Subject
from spverify.trained_leaders.tabulate import inspect_leader
from spverify.trained_leaders.zoo import zoo_path
from spverify.verify.game import BayesianGame

from .conftest import PRICES

OPTIONS = Options.of(epsilon="0.05", quick=True, seeds=2, rng_seed=0)


def subject_of(path: Path) -> Subject:
    return Subject.of("x", path, inspect_leader(path), OPTIONS)


def statements(path: Path, **options: Any) -> dict[str, Any]:
    return {s.id: s for s in audit_leader(path, quick=True, **options).statements}


def test_margins_of_one_follower(leader_file: Callable[..., Path]) -> None:
    """(0.26, 0.74) of maintain pays the follower 3.9, 3.7, 0 and the leader 27.4, 7.4, 0."""
    found = statements(leader_file("margin", "maintain", [["26/100", "74/100", 0]]))
    edge = found["knife-edge"]
    assert edge.verdict == "refuted" and edge.details["margin_exact"] == "1/5"
    assert edge.details["value_after_exact"] == "37/5"
    assert found["ties"].verdict == "holds" and found["ties"].details["indifferent"] == []
    firm = statements(leader_file("firm", "maintain", [0]))["knife-edge"]
    assert firm.verdict == "holds" and firm.measured == 15


def test_ties_are_broken_against_the_leader(leader_file: Callable[..., Path]) -> None:
    """At (1/4, 3/4, 0) columns 0 and 1 pay the follower 15/4 each and the leader 27.5 and 7.5."""
    found = statements(leader_file("tie", "maintain", [["1/4", "3/4", 0]]))["ties"]
    assert found.verdict == "refuted" and found.measured == 7.5 and found.details["ways"] == 2


def test_the_worst_tie_break_is_that_of_brute_force() -> None:
    rng = np.random.default_rng(3)
    game = BayesianGame(
        rng.integers(1, 4, (2, 2)),
        [rng.integers(0, 2, (2, 2, 2, 3)), rng.integers(0, 2, (2, 2, 2, 3))],
        rng.integers(-3, 4, (2, 2, 2, 3)),
    )
    profile = ((0, 1), (2, 0))
    found = robustness._balance(game.plain, profile)

    def value(s: Any) -> float:
        return sum(game.prior[t, u] * game.leader[t, u, s[0][t], s[1][u]] for t in range(2) for u in range(2))

    assert float(found.value) == pytest.approx(value(profile))
    best = {(c.player, c.type): c.best for c in found.choices}
    for i, t in best:
        gains = []
        for a in range(game.action_shape[i]):
            total = 0.0
            for other in range(2):
                types = (t, other) if i == 0 else (other, t)
                actions = (a, profile[1][other]) if i == 0 else (profile[0][other], a)
                total += game.prior[types] * game.payoffs[i][types + actions]
            gains.append(total)
        top = [a for a, g in enumerate(gains) if g > max(gains) - 1e-12]
        assert best[i, t] == tuple(top)
    options = [best[i, t] if len(best[i, t]) > 1 else (profile[i][t],) for i in range(2) for t in range(2)]
    worst = min(value(((a, b), (c, d))) for a, b, c, d in product(*options))
    assert float(found.worst or 0) == pytest.approx(worst)


def test_a_loss_that_hangs_on_ties_is_seen() -> None:
    """The episode-trained price mechanism owes its 0 to a buyer of value 0, whom nothing ties to a message."""
    found = statements(Path(zoo_path("mspm-pi-episode")))
    assert found["ties"].verdict == "refuted" and found["ties"].details["indifferent"] == ["buyer 1: value 0"]
    assert statements(Path(zoo_path("mspm-pi")))["ties"].verdict == "holds"


def test_stricter_tolerances_name_the_first_horizon(leader_file: Callable[..., Path]) -> None:
    """Row 0 of maintain: the average play's gap is 3.45, 0.351, 0.0351 at the three horizons; the scale is 30."""
    found = statements(leader_file("strict", "maintain", [0]))
    for share, first in (("0.05", 10), ("0.01", 100), ("0.001", None)):
        assert found[f"tolerance.{share}"].details["first_horizon"]["empirical"] == first
        assert found[f"tolerance.{share}"].verdict == "holds"


def test_perturbed_priors_are_priors_near_the_own(leader_file: Callable[..., Path]) -> None:
    subject = subject_of(leader_file("prior", "mspm-pi", PRICES))
    changes = list(robustness._other_priors(subject, 4))
    assert len(changes) == 2 * 4 + 2 and len(list(robustness._other_priors(subject, 3))) == 2 * 3 + 2
    own = subject.game.prior
    for _, change, _, game in changes:
        near = BayesianGame.from_plain(game).prior
        assert sum(game.prior.values()) == 1 and 0 < np.abs(near - own).max() < 0.1
        if change.startswith("correlated"):
            for i in range(2):
                assert near.sum(axis=1 - i) == pytest.approx(own.sum(axis=1 - i))


def test_coupled_types_rise_together_or_apart() -> None:
    game = BayesianGame([["1/8", "1/8"], ["3/8", "3/8"]], [np.zeros((2, 2, 1, 1)), np.zeros((2, 2, 1, 1))])
    assert robustness._coupled(game, reverse=False) == {
        (0, 0): Fraction(1, 4),
        (1, 0): Fraction(1, 4),
        (1, 1): Fraction(1, 2),
    }
    assert robustness._coupled(game, reverse=True) == {
        (0, 1): Fraction(1, 4),
        (1, 1): Fraction(1, 4),
        (1, 0): Fraction(1, 2),
    }


def test_noise_pushes_an_indifferent_type_both_ways(leader_file: Callable[..., Path]) -> None:
    found = statements(leader_file("noisy", "maintain", [["1/4", "3/4", 0]]))["sensitivity.payoffs"]
    assert found.verdict == "refuted" and found.measured == pytest.approx(7.5)


def test_payments_of_a_price_mechanism(leader_file: Callable[..., Path]) -> None:
    """What buyers pay, recomputed by playing every pair of values out."""
    path = leader_file("paid", "mspm-pi", PRICES)
    found = statements(path)
    subject = subject_of(path)
    replays, setting = subject.replays(), subject.setting
    table = np.array([PRICES])
    total, price = 0.0, [float(p) for p in setting.price_grid]  # type: ignore[attr-defined]
    profile = [x[0].argmax(axis=-1) for x in replays.snapshots(100, "argmax", 0).units]
    for types in product(range(2), repeat=2):
        said = np.array([[profile[i][types[i]] for i in range(2)]])
        outcome = setting.play(table, np.array([types]), said)
        asked = [divmod(PRICES[o], len(price)) for o in outcome.observations[0] if o >= 0]
        buyer, k = asked[-1]
        sold = setting._buys(setting.values[buyer][types[buyer]], setting.price_grid[k])  # type: ignore[attr-defined]
        total += float(setting.prior[types]) * (price[k] if sold else 0)
    assert found["payments"].measured == pytest.approx(total)
    assert "payments" not in statements(leader_file("unpaid", "maintain", [0]))


def test_bonuses_of_matrix_design_are_counted(leader_file: Callable[..., Path]) -> None:
    """A leader that pays the largest pair of bonuses at every cell pays it whatever the followers do."""
    from spverify.trained_leaders.settings import get_setting

    setting = get_setting("matrix-design")
    most = len(setting.actions) - 1
    found = statements(leader_file("generous", "matrix-design", [most] * len(setting.observations)))
    assert found["payments"].measured == pytest.approx(float(2 * max(setting.bonuses)) / 6)  # type: ignore[attr-defined]


def test_one_type_has_no_other_prior(leader_file: Callable[..., Path]) -> None:
    assert "sensitivity.prior" not in statements(leader_file("alone", "maintain", [0]))
