"""Claims of papers: the shipped ones, every kind against known values, and files that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from spverify.reports.claims import claims_path, judge_claims, read_claims
from spverify.reports.render.html import claims_html
from spverify.reports.render.markdown import claims_markdown
from spverify.trained_leaders.settings import get_world
from spverify.verify.errors import SpverifyError
from spverify.verify.verdict import Statement

from .conftest import Outcome

Run = Callable[..., Outcome]
HEAD = 'format = "spverify-claims"\nversion = 1\ntitle = "A paper"\n'


def write(folder: Path, *claims: str) -> Path:
    path = folder / "claims.toml"
    path.write_text(HEAD + "".join(f"[[claim]]\n{claim}\n" for claim in claims), encoding="utf-8")
    return path


def judge(folder: Path, claim: str) -> Statement:
    (found,) = judge_claims(read_claims(write(folder, f'id = "it"\ntext = "It is so."\n{claim}')))
    return found


def test_the_shipped_claims() -> None:
    """What is computed is decided, unless seeds differ too much; what is not is said to be open, with a reason."""
    found = {s.id.removeprefix("claim."): s for s in judge_claims(read_claims(claims_path("paper:stackelberg-pomdp")))}
    assert {name for name, s in found.items() if s.role == "required" and s.verdict == "refuted"} == set()
    assert found["mspm-pi-table-gap-25"].verdict == "refuted"
    for name, s in found.items():
        assert (
            s.verdict != "inconclusive"
            or s.evidence == "statistical"
            or (s.measured is None and "Not recomputed" in s.why)
        ), name
    assert found["ablation-critic-maintain"].verdict == found["ablation-critic-matrix-design"].verdict == "holds"
    exact = {"maintain-mixed": "55/2", "mspm-grid-6-message-free": "-2/45", "mspm-grid-5-mixed-bound": "-1/200"}
    for name, value in exact.items():
        assert found[name].details["measured_exact"] == value and found[name].verdict == "holds"
    assert found["updates-3-actions-rate-0.01"].measured == 2265
    assert sum(s.verdict == "holds" for s in found.values()) >= 39


RECORDED = 'kind = "seeds"\nrecord = "a run"\ncomparison = "at least"\n'


@pytest.mark.parametrize(
    ("claim", "measured", "verdict"),
    [
        ('kind = "commitment"\nsetting = "conitzer"\nover = "mixed"\nvalue = 2.5', 2.5, "holds"),
        ('kind = "commitment"\nsetting = "conitzer"\nover = "mixed"\nvalue = 2.4', 2.5, "refuted"),
        (
            'kind = "commitment"\nleader = [[1, 3], [0, 2]]\nfollower = [[1, 0], [0, 1]]\nover = "pure"\nvalue = 2',
            2,
            "holds",
        ),
        ('kind = "reference"\nsetting = "simple-allocation-2"\nname = "optimum"\nvalue = "2/3"', 2 / 3, "holds"),
        ('kind = "reference"\nsetting = "simple-allocation-2"\nname = "optimum"\nvalue = 0.667', 2 / 3, "refuted"),
        (
            'kind = "reference"\nsetting = "simple-allocation-2"\nname = "optimum"\nvalue = 0.667\ntolerance = 0.001',
            2 / 3,
            "holds",
        ),
        ('kind = "leader"\nsetting = "maintain"\ntable = ["row 1"]\nreadout = "argmax"\nvalue = 10', 10, "holds"),
        (
            'kind = "leader"\nsetting = "maintain"\nmixture = [["1/4", 0.75, 0]]\nreadout = "argmax"\nvalue = 27.5',
            27.5,
            "holds",
        ),
        (
            'kind = "leader"\nsetting = "maintain"\ntable = [0]\nreadout = "empirical"\nupdates = 1\nfigure = "gap"\n'
            'comparison = "at most"\nvalue = 1',
            10,
            "refuted",
        ),
        ('kind = "updates"\nactions = 2\nrate = 0.1\ntarget = 0.05\nvalue = 190', 191, "refuted"),
        (
            'kind = "updates"\nactions = 2\nrate = 0.1\ntarget = 0.05\ncomparison = "at least"\nvalue = 190',
            191,
            "holds",
        ),
        ('kind = "updates"\nactions = 2\nrate = 9\ntarget = 0.05\nvalue = 190', None, "inconclusive"),
        ('kind = "reference"\nsetting = "no-such-world"\nname = "optimum"\nvalue = 1', None, "inconclusive"),
        ('kind = "reference"\nsetting = "escape"\nname = "no-such"\nvalue = 1', None, "inconclusive"),
        ('kind = "other"\nreason = "it needs a telescope"', None, "inconclusive"),
        (f"{RECORDED}figures = [1, 2, 3]\nvalue = 1", 2, "holds"),  # no mean of draws is below the least figure
        (f"{RECORDED}figures = [1, 2, 3]\nvalue = 3.5", 2, "refuted"),
        (f"{RECORDED}figures = [1, 2, 3]\nvalue = 2", 2, "inconclusive"),
        (f"{RECORDED}figures = [1, 2, 3]\nvalue = 3.5\ntolerance = 2.5", 2, "holds"),
        (f'{RECORDED}figures = [5, 7]\nagainst = ["9/2", 6.5]\nvalue = 0.5', 0.5, "holds"),
        (f'{RECORDED}figures = ["-1/2", "-1/2"]\nvalue = 0'.replace("least", "most"), -0.5, "holds"),
        (f"{RECORDED}figures = [1, 1]\nvalue = 0".replace("least", "most"), 1, "refuted"),
        ('kind = "reference"\nsetting = "simple-allocation-2"\nname = "optimum"\nvalue = "2/3"', 2 / 3, "holds"),
        ('kind = "reference"\nsetting = "simple-allocation-5"\nname = "message-free"\nvalue = "1/3"', 1 / 3, "holds"),
    ],
)
def test_kinds(tmp_path: Path, claim: str, measured: float | None, verdict: str) -> None:
    found = judge(tmp_path, claim)
    assert found.verdict == verdict
    assert found.measured == (measured if measured is None else pytest.approx(measured, abs=1e-9))


def test_games_and_plays_lie_beside_the_file(tmp_path: Path, repo_root: Path) -> None:
    for name in ("battle-of-the-sexes.game.json", "interim-not-exante.game.json", "interim-not-exante.play.json"):
        (tmp_path / name).write_bytes((repo_root / "examples" / name).read_bytes())
    least = 'kind = "range"\ngame = "battle-of-the-sexes.game.json"\nobjective = "welfare"\nside = "min"\nvalue = 2.4'
    found = judge(tmp_path, least)
    assert found.verdict == "holds" and Fraction(found.details["measured_exact"]) == Fraction(12, 5)
    gap = 'kind = "gap"\ngame = "interim-not-exante.game.json"\nplay = "interim-not-exante.play.json"\nvalue = "1/4"'
    assert judge(tmp_path, gap).verdict == "holds"


@pytest.mark.parametrize(
    ("claim", "verdict", "share"),
    [
        ('value = 0.9\nlearner = "mw"\nepsilon = 3', "holds", 1.0),  # larger than any regret
        ('value = 0.9\nlearner = "rm+"\nepsilon = 3\nruns = 5', "inconclusive", 1.0),
        ('value = 0.5\nlearner = "exp3"\nepsilon = "1/1000000"\nschedule = "tuned"', "refuted", 0.0),
        ('value = 0.5\nlearner = "fp"\nepsilon = 3\ntypes = "expected"\nlevel = 0.9', "holds", 1.0),
    ],
)
def test_claims_of_reaching_a_gap(tmp_path: Path, repo_root: Path, claim: str, verdict: str, share: float) -> None:
    name = "battle-of-the-sexes.game.json"
    (tmp_path / name).write_bytes((repo_root / "examples" / name).read_bytes())
    found = judge(tmp_path, f'kind = "reach"\nrounds = 50\n{claim}\ngame = "{name}"')
    assert (found.verdict, found.measured, found.evidence) == (verdict, share, "statistical")
    assert found.details["chance_lower"] <= share <= found.details["chance_upper"]


def test_claims_of_reaching_a_gap_under_a_leader(tmp_path: Path) -> None:
    world = 'kind = "reach"\nsetting = "maintain"\ntable = ["row 1"]\nrounds = 2000\nlearner = "mw"\nvalue = 0.9'
    assert judge(tmp_path, f"{world}\nepsilon = 1.5").verdict == "holds"
    assert judge(tmp_path, f"{world}\nepsilon = 0.001").verdict == "refuted"


def test_claims_of_reaching_a_gap_where_play_goes_on(tmp_path: Path) -> None:
    """Against row 1 for ever the follower of the coordination game has at most 2 a round to lose."""
    world = 'kind = "reach"\nsetting = "repeated-coordination"\nrounds = 300\nvalue = 0.9\nruns = 40'
    size = len(get_world("repeated-coordination").observations)
    table = f"{world}\ntable = {[1] * size}"
    ours = f'{table}\nlearner = "q-learning"'
    one_shot = 'kind = "reach"\nsetting = "maintain"\ntable = [0]\nrounds = 9\nvalue = 1'
    found = judge(tmp_path, f"{ours}\nepsilon = 2")
    assert (found.verdict, found.measured, found.evidence) == ("holds", 1.0, "statistical")
    assert 0 <= found.details["gap_median"] <= found.details["gap_max"] <= 2
    for claim, words in (
        (f'{table}\nlearner = "mw"\nepsilon = 2', "where followers are Q-learners"),
        (f"{ours}\nepsilon = 2\npayoff_scale = 2", "learn from what they are paid"),
        (f'{world}\nmixture = [[1, 0]]\nlearner = "q-learning"\nepsilon = 2', "no leaders who commit to a mixture"),
        (f'{one_shot}\nlearner = "q-learning"\nepsilon = 2', "one Bayesian game"),
    ):
        open_ = judge(tmp_path, claim)
        assert open_.verdict == "inconclusive" and words in f"{open_.text} {open_.why} {open_.details}"


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        *(
            (f'id = "a"\ntext = "t"\nkind = "reach"\nrounds = {fields}', words)
            for fields, words in (
                ('9\nlearner = "mv"\nepsilon = 1\nvalue = 1\ngame = "g"', r"claim\[0\].learner: .*ftpl"),
                ('9\nlearner = "mw"\nepsilon = 1\nvalue = 2\ngame = "g"', r"claim\[0\].value: .*at most 1"),
                ('0\nlearner = "mw"\nepsilon = 1\nvalue = 1\ngame = "g"', r"claim\[0\].rounds"),
                ('9\nlearner = "mw"\nepsilon = 1\nvalue = 1', "a game, or a setting"),
                ('9\nlearner = "mw"\nepsilon = 1\nvalue = 1\nsetting = "maintain"', "a table of actions or"),
                ('9\nlearner = "mw"\nepsilon = 1\nvalue = 1\ngame = "g"\ntolerance = 1', "without a tolerance"),
                ('9\nlearner = "mw"\nepsilon = 1\nvalue = 1\ngame = "g"\nlevel = 1', "level"),
                ('9\nlearner = "mw"\nepsilon = 1\nvalue = 1\ngame = "g"\nrng_seed = -1', "rng_seed"),
                (
                    '9\nlearner = "rm"\nepsilon = 1\nvalue = 1\nschedule = "tuned"\nsetting = "maintain"\ntable = [0]',
                    "no learning rate",
                ),
            )
        ),
        ('id = "a"\ntext = "t"\nkind = "guess"', r"claim\[0\].kind"),
        ('id = "a"\ntext = "t"\nkind = "reference"\nsetting = "escape"\nvalue = 1', r"claim\[0\].name.*missing"),
        ('id = "a"\ntext = "t"\nkind = "other"\nreason = "r"\nvalu = 1', r"claim\[0\].valu.*did you mean value"),
        ('id = "a"\ntext = "t"\nkind = "seeds"\nfigures = [1, 2]\nrecord = "r"\nvalue = 1', "at least or at most"),
        (f'id = "a"\ntext = "t"\n{RECORDED}figures = [1]\nvalue = 1', "at least 2 seeds, got 1"),
        (f'id = "a"\ntext = "t"\n{RECORDED}figures = [1, 2]\nagainst = [1]\nvalue = 1', "got 2 and 1"),
        (f'id = "a"\ntext = "t"\n{RECORDED}figures = [1, "x"]\nvalue = 1', r"claim\[0\].figures"),
        (f'id = "a"\ntext = "t"\n{RECORDED}figures = 1\nvalue = 1', r"claim\[0\].figures.*expected a list"),
        ('id = "a b"\ntext = "t"\nkind = "other"\nreason = "r"', r"claim\[0\].id"),
        ('id = "a"\ntext = "t"\nkind = "other"\nreason = "r"\nvalue = nan', r"claim\[0\].value"),
        ('id = "a"\ntext = "t"\nkind = "other"\nreason = "r"\ntolerance = -1', r"claim\[0\].tolerance"),
        ('id = "a"\ntext = "t"\nkind = "other"\nreason = "r"\ncomparison = "near"', r"claim\[0\].comparison"),
        ('id = "a"\ntext = "t"\nkind = "updates"\nactions = 0\nrate = 1\ntarget = 1\nvalue = 1', "actions"),
        ('id = "a"\ntext = "t"\nkind = "commitment"\nover = "pure"\nvalue = 1', "a setting, or the payoff tables"),
        (
            'id = "a"\ntext = "t"\nkind = "leader"\nsetting = "maintain"\nreadout = "last"\nvalue = 1\n'
            'table = ["row 9"]',
            r"claim\[0\].*no action 'row 9'",
        ),
        (
            'id = "a"\ntext = "t"\nkind = "commitment"\nover = "pure"\nvalue = 1\n'
            "leader = [[1], [2]]\nfollower = [[1]]",
            r"claim\[0\].*same shape",
        ),
        ('id = "a"\ntext = "t"\nkind = "gap"\ngame = "none.json"\nplay = "none.json"\nvalue = 1', "none.json"),
        ("id = ", "expected TOML"),
    ],
)
def test_refused(spverify: Run, tmp_path: Path, claim: str, words: str) -> None:
    path = write(tmp_path, claim)
    with pytest.raises(SpverifyError, match=words):
        judge_claims(read_claims(path))
    found = spverify("claims", path)
    assert found.code == 2 and found.out == "" and len(found.err.strip().splitlines()) == 1


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    one = 'id = "a"\ntext = "t"\nkind = "other"\nreason = "r"'
    with pytest.raises(SpverifyError, match=r"claims.toml: claim\[1\].id: a is given twice"):
        read_claims(write(tmp_path, one, one))


def test_exit_codes_and_outputs(spverify: Run, tmp_path: Path) -> None:
    good = 'id = "good"\ntext = "a|b <i>"\nkind = "commitment"\nsetting = "maintain"\nover = "pure"\nvalue = 20'
    bad = good.replace("good", "bad").replace("20", "21")
    open_ = 'id = "open"\ntext = "t"\nkind = "other"\nreason = "r"'
    for claims, code in (((good,), 0), ((good, bad, open_), 1), ((good, open_), 3)):
        found = spverify("claims", write(tmp_path, *claims), "--json")
        assert found.code == code and len(found.document["statements"]) == len(claims)
    aside = bad + '\nrole = "information"'
    assert spverify("claims", write(tmp_path, good, aside)).code == 0
    found = spverify("claims", write(tmp_path, good, bad, open_), "--out", tmp_path / "r")
    assert "REFUTED" in found.out and max(map(len, found.out.splitlines())) <= 80 + len(str(tmp_path))
    document = json.loads((tmp_path / "r/claims.json").read_text(encoding="utf-8"))
    page, markdown = claims_html(document), claims_markdown(document)
    assert (tmp_path / "r/claims.html").read_text(encoding="utf-8") == page and "<i>" not in page
    assert (tmp_path / "r/claims.md").read_text(encoding="utf-8") == markdown and "a\\|b" in markdown
    for statement in document["statements"]:
        assert f'id="{statement["id"]}"' in page
    assert spverify("claims", "paper:none").code == 2


def test_a_range_that_did_not_close_decides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chicken's most welfare is 10.5; a bound of 11 that no play reaches neither upholds nor refutes 10.5."""
    from spverify.solvers import bounds

    exactly = bounds.equilibrium_range

    def loosely(*arguments: Any, **options: Any) -> Any:
        found = exactly(*arguments, **options)
        return replace(found, max=replace(found.max, outer=Fraction(11)))

    examples = Path(__file__).parents[2] / "examples"
    claim = f'kind = "range"\ngame = "{examples / "chicken.game.json"}"\nside = "max"\nvalue = 10.5'
    assert judge(tmp_path, claim).verdict == "holds"
    monkeypatch.setattr(bounds, "equilibrium_range", loosely)
    assert judge(tmp_path, claim).verdict == "inconclusive"
