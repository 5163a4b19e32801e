"""Message codes: bounds against brute force and the published table, and tables that attain them with exact proofs."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from spverify.solvers.learners import MultiplicativeWeights, run_learners
from spverify.trained_leaders.evaluate import limit_figures
from spverify.trained_leaders.hyper import default_hyper
from spverify.trained_leaders.leader_file import read_leader
from spverify.trained_leaders.settings import Followers, get_setting, table_rows
from spverify.trained_leaders.settings.codes import MessageCodes
from spverify.trained_leaders.settings.prices import SequentialPrices
from spverify.trained_leaders.structured import StructuredSearch
from spverify.trained_leaders.train import train, train_leader
from spverify.verify.errors import UsageError
from spverify.verify.play import MixturePlay
from spverify.verify.regret import interim_regrets, objective_value

F = Fraction
TABLE = [  # settings S4: optimum in the argmax readout, and in the last mixed or average readouts
    ("mspm-pi", "0", "0"),
    ("mspm-grid-3", "0", "0"),
    ("mspm-grid-4", "0", "0"),
    ("mspm-grid-5", "0", "-1/200"),
    ("mspm-grid-6", "0", "-1/120"),
]


def prices(name: str, **parameters: object) -> SequentialPrices:
    setting = get_setting(name, parameters)
    assert isinstance(setting, SequentialPrices)
    return setting


def correlated(values: tuple[F, ...], weights: list[list[int]], **more: object) -> SequentialPrices:
    total = sum(map(sum, weights))
    prior = tuple(tuple(F(w, total) for w in row) for row in weights)
    return SequentialPrices("drawn", (values, values), prior, **more)  # type: ignore[arg-type]


def brute_force(setting: SequentialPrices, mixed: bool) -> Fraction:
    """The definition, told in loops: codes, then message profiles, then orders and prices."""
    messages, lowest = range(setting.messages), min(setting.price_grid)

    def buys(value: F, price: F) -> bool:
        return value > price or (setting.tie == "buy" and value == price)

    def mixes(own: tuple[F, ...]) -> list[list[list[F]]]:
        undecided = [F(1, setting.messages)] * setting.messages if mixed else [F(m == 0) for m in messages]
        choices = [[undecided] if v <= lowest else [[F(m == said) for m in messages] for said in messages] for v in own]
        return [list(code) for code in product(*choices)]

    best = F(-9)
    for codes in product(*(mixes(own) for own in setting.values)):
        total = F(0)
        for said in product(messages, repeat=2):
            plans = []
            for order in permutations(range(2)):
                for posted in product(setting.price_grid, repeat=2):
                    worth = F(0)
                    for types in product(*(range(len(own)) for own in setting.values)):
                        values = [own[t] for own, t in zip(setting.values, types, strict=True)]
                        got = next((values[i] for i in order if buys(values[i], posted[i])), F(0))
                        weight = setting.prior[types] * codes[0][types[0]][said[0]] * codes[1][types[1]][said[1]]
                        worth += weight * (got - max(values))
                    plans.append(worth)
            total += max(plans)
        best = max(best, total)
    return best


@pytest.mark.parametrize(("name", "argmax", "mixed"), TABLE)
def test_bounds_are_the_published_optima(name: str, argmax: str, mixed: str) -> None:
    found = {r.name: r for r in get_setting(name).references()}
    assert found["code-bound-argmax"].value == F(argmax) and found["code-bound-argmax"].readouts == ("argmax",)
    assert found["code-bound-mixed"].value == F(mixed) and set(found["code-bound-mixed"].readouts) == {
        "last",
        "empirical",
    }


@pytest.mark.parametrize(
    "setting",
    [
        prices("mspm-pi"),
        prices("mspm-correlated-pi"),
        prices("mspm-pi", tie="buy", prices="0,0.2,0.4,1"),
        prices("mspm-grid-3", messages=1),
        prices("mspm-pi", messages=3, prices="0.1,0.3,0.6"),
        # No price separates the two lower values, and one of them is below every price.
        correlated((F(1, 10), F(1, 2), F(1)), [[3, 1, 0], [1, 2, 2], [0, 1, 4]], prices=(F(1, 4), F(3, 4))),
    ],
    ids=lambda s: f"{s.name}-{s.messages}-{s.tie}",
)
@pytest.mark.parametrize("mixed", [False, True])
def test_bounds_by_brute_force(setting: SequentialPrices, mixed: bool) -> None:
    assert MessageCodes(setting, mixed=mixed).bound == brute_force(setting, mixed)


@pytest.mark.parametrize("name", ["mspm-pi", "mspm-correlated-pi", "mspm-grid-5"])
def test_no_table_exceeds_the_bounds_at_any_horizon(name: str) -> None:
    """Tables drawn at random, and readouts of learners that have hardly begun: the proof speaks about them too."""
    setting = prices(name)
    rng = np.random.default_rng(0)
    bounds = {mixed: float(MessageCodes(setting, mixed=mixed).bound) for mixed in (False, True)}
    for _ in range(6):
        table = [int(rng.choice(np.flatnonzero(legal))) for legal in setting.legal]
        game = setting.tabulate(table_rows(setting, table))
        for rounds in (3, 60):
            run = run_learners(game, MultiplicativeWeights(0.1), rounds, seeds=2, rng_seed=1)
            for seed in range(2):
                for readout in ("empirical", "last", "argmax"):
                    value = objective_value(game, run.readout(readout, seed=seed).conditional(game))
                    assert value <= bounds[readout != "argmax"] + 1e-12


def test_types_that_never_learn_are_those_no_price_undercuts() -> None:
    codes = MessageCodes(prices("mspm-pi"), mixed=True)
    assert [fixed.tolist() for fixed in codes.undecided] == [[False, False], [True, False]]
    assert [len(c) for c in codes._codes] == [4, 2]


def test_enumerations_that_are_too_large_are_not_tried() -> None:
    setting = prices("mspm-grid-6", messages=8)
    assert not MessageCodes(setting, mixed=True).tractable
    assert {r.name for r in setting.references()} == {"first-best", "message-free"}
    with pytest.raises(UsageError, match="too many message codes to rank"):
        train(setting, seed=0, hyper=default_hyper(setting, mode="structured"))
    with pytest.raises(UsageError, match="maintain is none"):
        train(get_setting("maintain"), seed=0, hyper=default_hyper(get_setting("maintain"), mode="structured"))


@pytest.mark.parametrize("name", ["mspm-pi", "mspm-correlated-pi", "mspm-grid-3", "mspm-grid-4"])
def test_structured_search_proves_optimality_in_both_readouts(name: str) -> None:
    setting = get_setting(name)
    for seed in range(2):
        result = train(setting, seed=seed, hyper=default_hyper(setting, mode="structured"))
        assert {k: v["optimal"] for k, v in result.optimality.items()} == {"argmax": "yes", "mixed": "yes"}
        assert result.evaluation.value["argmax"] == pytest.approx(0) and result.evaluation.gap["argmax"] <= 0.005


def test_structured_search_on_the_fine_grids() -> None:
    """Grid-5 has tables that are optimal in both readouts; on grid-6 one table for each readout is needed."""
    five = get_setting("mspm-grid-5")
    hyper = replace(default_hyper(five, mode="structured"), iterations=5, updates=400)
    assert train(five, seed=0, hyper=hyper).optimality["mixed"] == {
        "value": "-1/200",
        "gap": "0",
        "bound": "-1/200",
        "optimal": "yes",
    }
    six = get_setting("mspm-grid-6")
    hyper = replace(default_hyper(six, mode="structured"), iterations=5, updates=400)
    assert train(six, seed=0, hyper=hyper).optimality["mixed"]["value"] == "-1/120"
    argmax = train(six, seed=0, hyper=replace(hyper, settled=False)).optimality
    assert argmax["argmax"] == {"value": "0", "gap": "0", "bound": "0", "optimal": "yes"}
    assert argmax["mixed"]["optimal"] == "no"


@pytest.mark.parametrize(("name", "readout"), [("mspm-grid-5", "last"), ("mspm-grid-6", "empirical")])
def test_finalists_for_followers_who_mix_are_optimal_in_the_long_run(name: str, readout: str) -> None:
    """However little they are worth at a short horizon, where tables that nobody keeps to look better."""
    setting = get_setting(name)
    hyper = replace(default_hyper(setting, mode="structured"), readout=readout, updates=20, settled=False, batch=64)
    tables, _, _ = StructuredSearch(setting, hyper, seed=1, start=0).iterate(0)
    found = [limit_figures(setting, table, hyper.followers)["mixed"] for table in tables]
    assert {(f["optimal"], f["gap"]) for f in found} == {("yes", "0")}


def test_codes_read_off_by_argmax_are_kept_against_undecided_types_who_mix() -> None:
    """The readout says message 0 for types that never learn; those who learn beside them meet even mixes."""
    setting = prices("mspm-grid-6")
    hyper = replace(default_hyper(setting, mode="structured"), settled=False)
    search, rng = StructuredSearch(setting, hyper, seed=0, start=0), np.random.default_rng(0)
    kept = 0
    for k in range(4):
        problem = search._problem(k)
        start = np.array([rng.choice(options) for options in problem.attaining])
        chosen, margin = problem.improve(rng, start, goal=0.02)
        if margin <= 1e-9:
            continue
        game = setting.tabulate(table_rows(setting, search._table(chosen)))
        mixes = [
            np.where(fixed[:, None], 0.5, np.eye(2)[code])[None]
            for fixed, code in zip(search._ranks.undecided, problem.codes, strict=True)
        ]
        assert (
            max(float(rows.max()) for rows in interim_regrets(game, MixturePlay([1], mixes).conditional(game))) <= 1e-9
        )
        kept += 1
    assert kept


@pytest.mark.parametrize(("name", "twin"), [("mspm-grid-4", "0"), ("mspm-grid-5", "0"), ("mspm-grid-6", "-1/180")])
def test_what_the_mixed_optimum_costs_in_the_argmax_readout(name: str, twin: str) -> None:
    """Over all codes and plans that attain the mixed bound, the best value when undecided types say message 0."""
    setting = prices(name)
    mixed, ties = MessageCodes(setting, mixed=True), MessageCodes(setting, mixed=False)
    best = F(-9)
    for value, codes in mixed.ranked():
        if value < mixed.bound:
            break
        total = 0
        for said in product(range(2), repeat=2):
            uniform = [mixed.weights(i, c[None])[0, said[i]] for i, c in enumerate(codes)]
            zero = [ties.weights(i, np.maximum(c, 0)[None])[0, said[i]] for i, c in enumerate(codes)]
            worth = np.einsum("zab,a,b->z", mixed._losses, *uniform)
            total += int(np.einsum("zab,a,b->z", ties._losses, *zero)[worth == worth.max()].max())
        best = max(best, F(total, ties._scale))
    assert best == F(twin)


def test_long_run_figures_are_what_sampled_learners_come_to() -> None:
    setting = get_setting("mspm-grid-3")
    result = train(setting, seed=3, hyper=default_hyper(setting, mode="structured"))
    game = setting.tabulate(table_rows(setting, result.table))
    run = run_learners(game, MultiplicativeWeights(0.1), 20_000, seeds=2, checkpoints=(20_000,), keep=False)
    for seed in range(2):
        last = run.readout("last", seed=seed).conditional(game)
        assert objective_value(game, last) == pytest.approx(float(F(result.optimality["mixed"]["value"])), abs=1e-3)
        assert max(float(rows.max()) for rows in interim_regrets(game, last)) <= 0.005


def test_a_table_that_is_not_optimal_is_not_called_so() -> None:
    setting = get_setting("mspm-pi")
    table = np.array([int(np.flatnonzero(legal)[-1]) for legal in setting.legal])
    figures = limit_figures(setting, table, Followers(100))
    assert figures["argmax"]["optimal"] == figures["mixed"]["optimal"] == "no"
    assert F(figures["argmax"]["value"]) < 0
    assert limit_figures(get_setting("maintain"), np.array([0]), Followers(100)) == {}


def test_seeds_side_by_side_give_the_same_leaders(tmp_path: Path) -> None:
    seen: list[int] = []
    together = train_leader(
        "mspm-pi", mode="structured", seeds=[0, 1], jobs=2, out=tmp_path / "a.pt",
        progress=lambda record: seen.append(record["seed"]),
    )  # fmt: skip
    alone = train_leader("mspm-pi", mode="structured", seeds=[0, 1], out=tmp_path / "b.pt")
    for a, b in zip(together, alone, strict=True):
        assert read_leader(a["leader"]).policy == read_leader(b["leader"]).policy
        assert a["value"] == b["value"] and a["optimality"] == b["optimality"]
    assert seen == [0, 1]
    record = read_leader(tmp_path / "a.seed0.pt").training
    assert record["optimality"]["mixed"]["optimal"] == "yes" and record["mode"] == "structured"
    assert record["command"] == "spverify train mspm-pi --seed 0 --mode structured"
    with pytest.raises(UsageError, match="jobs must be at least 1"):
        train_leader("mspm-pi", jobs=0, out=tmp_path / "c.pt")
