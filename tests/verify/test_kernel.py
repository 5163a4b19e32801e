"""The kernel against brute force; certificates that are mutated are refused, or still say something true."""

import copy
import functools
import json
import sys
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from brute_force import Oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.solvers.bounds import equilibrium_range
from spverify.verify.certificate import (
    assessed,
    attained_certificate,
    gap_certificate,
    mixture_certificates,
    outer_certificate,
)
from spverify.verify.errors import FormatError, SpverifyError
from spverify.verify.game import BayesianGame, Player
from spverify.verify.kernel import (
    check_certificate,
    objective_tensor,
    outer_bound,
    potential_axes,
    strategic_form_holds,
)
from spverify.verify.plain import digest, number_text, read_json, tensor
from spverify.verify.play import MixturePlay, PlanPlay
from spverify.verify.regret import assess
from spverify.verify.testing import games, plays


@st.composite
def duals(draw, game, denominators=(1, 2, 3)):
    """Random multipliers on rows that count."""
    rows = []
    for i in range(game.n_players):
        for t in range(game.type_shape[i]):
            for a in range(game.action_shape[i]):
                if game.feasible[i][t, a] and game.marginal(i)[t] > 0 and draw(st.booleans()):
                    rows.append((i, t, a, Fraction(draw(st.integers(1, 4)), draw(st.sampled_from(denominators)))))
    return rows


def as_potentials(game, values):
    """Potentials as arrays, from their entries in C order."""
    return [tensor(flat, potential_axes(game, j)) for j, flat in enumerate(values)]


@st.composite
def potentials(draw, game):
    """Random potentials, exact."""
    out = []
    for j in range(game.n_players):
        count = int(np.prod(potential_axes(game.plain, j)))
        out.append([Fraction(draw(st.integers(-3, 3)), 2) for _ in range(count)])
    return as_potentials(game.plain, out)


def bracket(oracle, rows, sign, t, a):
    """The bracket of theory T5, written out."""
    out = sign * oracle.p[t] * oracle.w(t, a)
    for i, ti, dev, y in rows:
        if t[i] == ti and oracle.p[t]:
            moved = a[:i] + (dev,) + a[i + 1 :]
            out -= oracle.p[t] / oracle.own(i, ti) * y * (oracle.u(i, t, moved) - oracle.u(i, t, a))
    return out


@given(st.data())
def test_outer_bound_equals_the_formula(data):
    game = data.draw(games(max_cells=80))
    rows, f = data.draw(duals(game)), data.draw(potentials(game))
    sense, epsilon = data.draw(st.sampled_from(["upper", "lower"])), Fraction(data.draw(st.integers(0, 3)), 7)
    oracle, sign = Oracle(game.to_document()), 1 if sense == "upper" else -1

    def centred(j, t, a):
        index = t + a[:j] + (0,) + a[j + 1 :]

        def at(idx):
            k = sum(k * s for k, s in zip(idx, f[j].strides, strict=True))
            return Fraction(f[j].numerators[k], f[j].denominator)

        mean = sum(at(index[:j] + (k,) + index[j + 1 :]) for k in oracle.types[j]) / len(oracle.types[j])
        return at(index) - mean

    total = epsilon * sum((y for *_, y in rows), Fraction(0))
    plain = total
    for t in oracle.joint_types:
        total += max(
            bracket(oracle, rows, sign, t, a) + sum(centred(j, t, a) for j in range(oracle.n)) for a in oracle.cells(t)
        )
        plain += max(bracket(oracle, rows, sign, t, a) for a in oracle.cells(t))
    arguments = {
        "objective": objective_tensor(game.plain, "leader"),
        "sense": sense,
        "epsilon": epsilon,
        "multipliers": rows,
    }
    assert outer_bound(game.plain, potentials=f, **arguments) == sign * total
    assert outer_bound(game.plain, **arguments) == sign * plain


@given(st.data())
@settings(max_examples=300)
def test_any_multipliers_and_potentials_bound_every_play(data):
    """No epsilon-BCCE beats the bound, whatever y and f are; here epsilon is the drawn play's own gap."""
    game = data.draw(games(max_cells=80))
    kind = data.draw(st.sampled_from(["conditional", "plan", "mixture"]))
    play, rows = data.draw(plays(game, kinds=(kind,))), data.draw(duals(game))
    report = assess(game, play)
    w = objective_tensor(game.plain, "leader")
    f = None if kind == "conditional" else data.draw(potentials(game))
    for sense in ("upper", "lower"):
        bound = outer_bound(
            game.plain, objective=w, sense=sense, epsilon=report.gap_exact, multipliers=rows, potentials=f
        )
        ok = report.leader_value_exact <= bound if sense == "upper" else report.leader_value_exact >= bound
        assert ok


@given(st.data())
def test_strategic_form_search_equals_enumeration(data):
    game = data.draw(games(max_cells=60, max_actions=3, max_types=2))
    rows = data.draw(duals(game))
    sense = data.draw(st.sampled_from(["upper", "lower"]))
    sign = 1 if sense == "upper" else -1
    oracle = Oracle(game.to_document())
    best = max(
        sum(bracket(oracle, rows, sign, t, tuple(s[i][t[i]] for i in range(oracle.n))) for t in oracle.joint_types)
        for s in oracle.profiles()
    )
    exact = sign * best
    arguments = {
        "objective": objective_tensor(game.plain, "leader"),
        "sense": sense,
        "epsilon": Fraction(0),
        "multipliers": rows,
    }
    assert strategic_form_holds(game.plain, value=exact, **arguments)[0]
    assert not strategic_form_holds(game.plain, value=exact - sign * Fraction(1, 10**12), **arguments)[0]


def test_strategic_form_search_stops_at_its_node_limit():
    rng = np.random.default_rng(0)
    game = BayesianGame(
        np.full((3, 3), 1 / 9), [rng.random((3, 3, 3, 3)) for _ in range(2)], leader=rng.random((3, 3, 3, 3))
    )
    w = objective_tensor(game.plain, "leader")
    rows = [(i, t, a, Fraction(1)) for i in range(2) for t in range(3) for a in range(3)]
    arguments = {"objective": w, "sense": "upper", "epsilon": Fraction(0), "multipliers": rows}
    low, high = Fraction(-50), Fraction(50)
    while high - low > Fraction(1, 1000):
        middle = (low + high) / 2
        holds, _ = strategic_form_holds(game.plain, value=middle, **arguments)
        low, high = (low, middle) if holds else (middle, high)
    holds, needed = strategic_form_holds(game.plain, value=high, **arguments)
    assert holds
    assert needed > 5
    holds, nodes = strategic_form_holds(game.plain, value=high, max_nodes=needed // 2, **arguments)
    assert not holds
    assert nodes > needed // 2


# ------------------------------------------------------------------------------------------- mutations


@functools.cache
def originals():
    """Tight certificates of every kind and set, on two games; multipliers come from the brute-force program."""
    rng = np.random.default_rng(5)
    out = []
    for shape in ((2, 2, 2, 2), (2, 1, 2, 3)):
        u = [rng.integers(0, 7, shape).tolist() for _ in range(2)]
        game = BayesianGame(rng.integers(1, 5, shape[:2]).tolist(), u, leader=rng.integers(0, 7, shape).tolist())
        for which in ("sf", "ns", "tc"):
            found = equilibrium_range(game, equilibrium_set=which, epsilon="1/10")
            for side in (found.min, found.max):
                out.append(side.certificate.document)
                if side.inner_certificate is not None:
                    out.append(side.inner_certificate.document)
        strategies = [[[0] * shape[0], [1] * shape[0]], [[0] * shape[1], [1] * shape[1]]]
        play = PlanPlay(["1/3", "2/3"], strategies)
        out += [gap_certificate(game, play).document, attained_certificate(game, play, objective="welfare").document]
    return [json.loads(json.dumps(document)) for document in out]


def numbers(document, at=()):
    """Paths of all numbers (also those written as text) below a document."""
    if isinstance(document, dict):
        return [path for key, value in document.items() for path in numbers(value, (*at, key))]
    if isinstance(document, list):
        return [path for k, value in enumerate(document) for path in numbers(value, (*at, k))]
    is_number = isinstance(document, (int, float)) and not isinstance(document, bool)
    is_text = isinstance(document, str) and document.lstrip("-").replace("/", "", 1).isdigit()
    return [at] if is_number or is_text else []


def get(document, path):
    for key in path:
        document = document[key]
    return document


def put(document, path, value):
    get(document, path[:-1])[path[-1]] = value


def change(data, document, under):
    """Changes one number below one of the given branches."""
    paths = [p for p in numbers(document) if p[: len(under)] == under]
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    old = Fraction(get(document, path))
    new = data.draw(
        st.sampled_from([old + 1, -old, old + Fraction(1, 1000), old - Fraction(1, 10**6), old * 2, Fraction(0)])
    )
    put(document, path, f"{new.numerator}/{new.denominator}")


def swap_axes(data, document):
    game = document["game"]
    k = data.draw(st.sampled_from([0, 1]))
    game["payoffs"][k] = np.array(game["payoffs"][k], dtype=object).swapaxes(2, 3).tolist()


def reseal(document):
    """Gives the document the digest of the game it now carries, as a careful forger would."""
    try:
        document["game_sha256"] = BayesianGame.from_document(document["game"]).sha256
    except FormatError:
        document["game_sha256"] = digest(document["game"])


MUTATIONS = {
    "multiplier or play": lambda data, d: change(data, d, ("evidence",)),
    "claimed value": lambda data, d: change(data, d, ("claim", "value")),
    "epsilon": lambda data, d: change(data, d, ("claim", "epsilon")),
    "payoff": lambda data, d: change(data, d, ("game", "payoffs")),
    "payoff, resealed": lambda data, d: (change(data, d, ("game", "payoffs")), reseal(d)),
    "leader, resealed": lambda data, d: (change(data, d, ("game", "leader")), reseal(d)),
    "prior, resealed": lambda data, d: (change(data, d, ("game", "prior")), reseal(d)),
    "set": lambda data, d: d["claim"].update(set=data.draw(st.sampled_from(["sf", "ns", "tc"]))),
    "sign": lambda data, d: d["claim"].update(
        kind={"upper": "lower", "lower": "upper"}.get(d["claim"]["kind"], "attained")
    ),
    "kind": lambda data, d: d["claim"].update(kind=data.draw(st.sampled_from(["upper", "lower", "attained", "gap"]))),
    "objective": lambda data, d: d["claim"].update(
        objective=data.draw(st.sampled_from(["welfare", "player:0", "player:1"]))
    ),
    "swapped axes": lambda data, d: (swap_axes(data, d), reseal(d)),
    "player count": lambda data, d: (d["game"]["players"].pop(), d["game"]["payoffs"].pop(), reseal(d)),
    "swapped players": lambda data, d: (d["game"]["payoffs"].reverse(), reseal(d)),
    "dropped evidence": lambda data, d: (
        d["evidence"].update(multipliers=[], potentials=None)
        if d["evidence"]["multipliers"]
        else d["evidence"].update(play=None)
    ),
    "repeated row": lambda data, d: (d["evidence"]["multipliers"] or []).extend(
        (d["evidence"]["multipliers"] or [])[:1]
    ),
    "digest": lambda data, d: d.update(game_sha256="0" * 64),
}


@functools.cache
def optimum(text, *query):
    return Oracle(json.loads(text)).optimum(*query)


def is_true(document):
    """Whether the claim is true, by brute force, whatever its evidence says."""
    claim, game = document["claim"], document["game"]
    epsilon, value = Fraction(claim["epsilon"]), Fraction(claim["value"])
    oracle = Oracle(game)
    if claim["kind"] in ("upper", "lower"):
        sense = "max" if claim["kind"] == "upper" else "min"
        best = optimum(json.dumps(game), claim["set"], epsilon, sense, claim["objective"])
        return best is None or (best <= value + 1e-6 if sense == "max" else best >= value - 1e-6)
    play = document["evidence"]["play"]
    plan = [(Fraction(p["weight"]), p["strategies"]) for p in play["profiles"]] if play["kind"] == "plan" else None

    cells = {(tuple(t), tuple(a)): Fraction(mass) for t, a, mass in play.get("cells", ())}

    def sigma(t, a):
        if cells:
            return cells.get((t, a), Fraction(0))
        if plan is None:
            return Fraction(oracle._pick(play["sigma"], t + a))
        return sum(w for w, s in plan if all(s[i][t[i]] == a[i] for i in range(oracle.n)))

    gap = max([Fraction(0), *(oracle.regret(sigma, row) for row in oracle.rows())])
    if claim["kind"] == "gap":
        return gap == value
    return gap <= epsilon and oracle.value(sigma, claim["objective"]) == value


def test_the_originals_are_accepted_and_true():
    assert len(originals()) >= 20
    for document in originals():
        answer = check_certificate(document)
        assert answer.accepted, answer.reason
        assert is_true(document)


@pytest.mark.parametrize("name", MUTATIONS)
@given(data=st.data())
@settings(max_examples=200)
def test_a_mutated_certificate_is_refused_or_still_true(name, data):
    document = copy.deepcopy(data.draw(st.sampled_from(originals())))
    MUTATIONS[name](data, document)
    try:
        answer = check_certificate(document)
    except FormatError:
        return  # malformed: a different answer from wrong, and a refusal all the same
    if answer.accepted:
        assert is_true(document), name


# ------------------------------------------------------------------------------------------- files


def folder(name):
    return sorted((Path(__file__).parent / "certificates" / name).glob("*.cert.json"))


@pytest.mark.parametrize("path", folder("correct"), ids=lambda p: p.name)
def test_correct_files_are_accepted(path):
    assert check_certificate(json.loads(path.read_text())).accepted


@pytest.mark.parametrize("path", folder("incorrect"), ids=lambda p: p.name)
def test_incorrect_files_are_refused_with_a_reason(path):
    answer = check_certificate(json.loads(path.read_text()))
    assert not answer.accepted
    assert answer.reason


@pytest.mark.parametrize("path", folder("malformed"), ids=lambda p: p.name)
def test_malformed_files_are_errors(path):
    with pytest.raises(SpverifyError):
        check_certificate(read_json(path))


def test_the_game_may_be_kept_apart_but_must_be_the_same():
    game = BayesianGame([[1]], [[[[[3, 0], [5, 1]]]], [[[[3, 5], [0, 1]]]]])
    zero = [np.zeros((1, 2)), np.zeros((1, 2))]
    document = outer_certificate(
        game, sense="upper", equilibrium_set="tc", objective="welfare", epsilon=Fraction(0), multipliers=zero
    ).document
    apart = {**document, "game": None}
    assert check_certificate(apart, game.plain).accepted
    other = BayesianGame([[1]], [[[[[3, 0], [5, 2]]]], [[[[3, 5], [0, 1]]]]])
    assert not check_certificate(apart, other.plain).accepted
    with pytest.raises(FormatError, match="give the game file"):
        check_certificate(apart)
    with pytest.raises(FormatError, match="another game"):
        check_certificate(document, other.plain)


def test_potentials_must_be_centred_without_weights():
    """Types of probability zero take part in the mean and in the sum (theory T5); the kernel counts them."""
    game = BayesianGame([[1], [0]], [[[[[0]]], [[[0]]]], [[[[0, 0]]], [[[0, 0]]]]], leader=[[[[0, 1]]], [[[0, 0]]]])
    w = objective_tensor(game.plain, "leader")
    for f in product([-2, 0, 3], repeat=4):
        arrays = as_potentials(game.plain, [[Fraction(x) for x in f], [Fraction(0)] * 2])
        bound = outer_bound(
            game.plain, objective=w, sense="upper", epsilon=Fraction(0), multipliers=[], potentials=arrays
        )
        assert bound >= 1  # the second follower may always play action 1, whatever the first one's type


def bound_document(game, epsilon, value, rows):
    zero = [np.zeros(mask.shape) for mask in game.feasible]
    arguments = {"sense": "upper", "equilibrium_set": "tc", "objective": "leader", "epsilon": Fraction(epsilon)}
    document = outer_certificate(game, multipliers=zero, value=Fraction(value), **arguments).document
    document["evidence"]["multipliers"] = rows
    return document


def test_a_negative_multiplier_would_prove_something_false_and_is_refused():
    """With epsilon 1 the follower may give the leader 1, but y = -1/2 on a slack row 'proves' at most 1/2."""
    game = BayesianGame([1], [[[1, 0]]], leader=[[0, 1]])
    assert check_certificate(bound_document(game, 1, 1, [])).accepted
    answer = check_certificate(bound_document(game, 1, "1/2", [[0, 0, 1, "-1/2"]]))
    assert not answer.accepted
    assert "negative" in answer.reason


def test_a_multiplier_on_a_masked_deviation_would_prove_something_false_and_is_refused():
    """The only feasible action gives the leader 5; a temptation that is not feasible must not lower the bound."""
    game = BayesianGame([1], [[[0, 10]]], leader=[[5, 5]], feasible=[[[True, False]]])
    answer = check_certificate(bound_document(game, 0, -5, [[0, 0, 1, "1"]]))
    assert not answer.accepted
    assert "not feasible" in answer.reason


def test_a_multiplier_on_a_type_of_probability_zero_is_refused():
    game = BayesianGame([1, 0], [[[0, 1], [1, 0]]], leader=[[5, 5], [0, 0]])
    answer = check_certificate(bound_document(game, 0, 5, [[0, 1, 0, "1"]]))
    assert not answer.accepted
    assert "probability 0" in answer.reason


def test_figures_handed_over_for_a_mixture_are_taken_for_nothing():
    game = BayesianGame([1], [[[0, 1]]], leader=[[2, 0]])
    play = MixturePlay(["1/4", "3/4"], [[[["1/2", "1/2"]], [[0, 1]]]])
    gap, value = mixture_certificates(game, play, gap=Fraction(1, 8), value=Fraction(1, 4))
    assert gap.recheck().accepted
    assert value.recheck().accepted
    for wrong in ({"gap": Fraction(1, 9), "value": Fraction(1, 4)}, {"gap": Fraction(1, 8), "value": Fraction(1, 3)}):
        answers = [certificate.recheck().accepted for certificate in mixture_certificates(game, play, **wrong)]
        assert answers != [True, True]
        assert not answers[0] or wrong["gap"] == Fraction(1, 8)


def _bound(game, **claim):
    claim = {"kind": "upper", "set": "tc", "objective": "welfare", "epsilon": "0", "value": "1", **claim}
    evidence = {"multipliers": []}
    head = {"format": "spverify-certificate", "version": 1}
    return {**head, "claim": claim, "game": game.to_document(), "game_sha256": game.sha256, "evidence": evidence}


def test_a_claim_in_words_is_rounded_to_the_side_on_which_it_is_true():
    game = BayesianGame([[1]], [[[[["1/3"]]]], [[[["1/3"]]]]])
    for kind, words in (("upper", "at most 0.6666666667 "), ("lower", "at least 0.6666666666 ")):
        answer = check_certificate(_bound(game, kind=kind, value=f"{2 * 10**13}/{3 * 10**13}"))
        assert answer.accepted and f"welfare is {'at most' if kind == 'upper' else 'at least'} 2/3 " in answer.statement
        step = 1 if kind == "upper" else -1
        answer = check_certificate(_bound(game, kind=kind, value=f"{2 * 10**13 + step}/{3 * 10**13}"))
        assert answer.accepted and words in answer.statement
        answer = check_certificate(_bound(game, kind=kind, value=f"{2 * 10**13 - step}/{3 * 10**13}"))
        assert not answer.accepted
    gap = gap_certificate(game, PlanPlay(["1"], [[[0]], [[0]]])).document
    attained = attained_certificate(game, PlanPlay(["1"], [[[0]], [[0]]]), objective="welfare").document
    attained = {**attained, "claim": {**attained["claim"], "epsilon": "12345678901235/1000000000000000000"}}
    assert "largest gain from a fixed deviation against this play is 0" in check_certificate(gap).statement
    assert "is 2/3 at a play whose largest gain from a fixed deviation is at most 1.234567891e-05," in (
        check_certificate(attained).statement
    )


@pytest.mark.parametrize("field", ["value", "epsilon"])
def test_numbers_beyond_all_doubles_are_claims_like_others(field):
    answer = check_certificate(_bound(BayesianGame([[1]], [[[[[1]]]], [[[[1]]]]]), **{field: "1e999"}))
    assert answer.accepted == (field == "value")
    assert "1e+999" in answer.statement


def test_reasons_tell_numbers_of_thousands_of_digits():
    game = BayesianGame([[1]], [[[[[0, 1], [1, 0]]]], [[[[1, 0], [0, 1]]]]])
    document = _bound(game, value="0")
    rows = [[0, 0, 0, f"1/{10**4000 + 1}"], [0, 0, 1, f"1/{10**4000 + 3}"], [1, 0, 0, f"1/{10**4000 + 7}"]]
    answer = check_certificate({**document, "evidence": {"multipliers": rows}})
    assert not answer.accepted and answer.reason == "the multipliers prove only 1.000000001, not 0"
    with pytest.raises(SpverifyError, match="longer than the 4300 digits"):
        number_text(Fraction(1, 10**5000))


@pytest.mark.parametrize(
    "objective", ["player:" + "1" * 5000, "player:2", "player:01", "player:", "player:\u0661", "x"]
)
def test_objectives_that_are_none(objective):
    game = BayesianGame([[1]], [[[[[1]]]], [[[[1]]]]])
    with pytest.raises(SpverifyError, match=r"expected the objective leader, welfare or player:0 to player:1, got "):
        check_certificate(_bound(game, objective=objective))
    with pytest.raises(SpverifyError, match=r"expected the objective leader, welfare or player:0 to player:1, got "):
        game.objective(objective)


def test_a_name_cannot_write_over_the_answer():
    game = BayesianGame([[1]], [[[[[1]]]], [[[[1]]]]], name="x\n\x1b[2JACCEPTED \u202e")
    assert '"x\ufffd\ufffd[2JACCEPTED \ufffd"' in check_certificate(_bound(game)).statement


def test_a_search_deeper_than_python_goes_is_refused():
    game = BayesianGame(
        np.ones((60, 60)) / 3600, [np.zeros((1, 1, 1, 1)), np.zeros((1, 1, 1, 1))], leader=np.ones((60, 60, 1, 1)),
        players=[Player(name, tuple(map(str, range(60))), ("a", "b")) for name in "xy"],
    )  # fmt: skip
    proof = {"sense": "upper", "epsilon": Fraction(0), "multipliers": []}
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back
    limit = sys.getrecursionlimit()
    objective = objective_tensor(game.plain, "leader")
    try:
        sys.setrecursionlimit(depth + 50)
        holds, nodes = strategic_form_holds(
            game.plain, objective=objective, value=Fraction(1, 2), max_nodes=500, **proof
        )
    finally:
        sys.setrecursionlimit(limit)
    assert not holds and nodes == 501


@given(data=st.data())
@settings(max_examples=60)
def test_what_is_assessed_as_a_member_is_what_a_recheck_accepts(data):
    game = data.draw(games(max_cells=80))
    play = data.draw(plays(game))
    which = data.draw(st.sampled_from(["sf", "ns", "tc", None]))
    epsilon = data.draw(st.sampled_from([Fraction(0), Fraction(2)]))
    certificate, gap, member = assessed(game, play, objective="leader", epsilon=epsilon, equilibrium_set=which)
    assert certificate.recheck().accepted == member
    assert gap == assess(game, play).gap_exact and certificate.epsilon == max(gap, epsilon)
