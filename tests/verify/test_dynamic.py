"""Exact best responses in dynamic games, against closed forms and against every policy there is."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spverify.verify.dynamic import DynamicGame, Policy, Table
from spverify.verify.enclosures import Enclosure
from spverify.verify.errors import GameError, PlayError

CD = ("cooperate", "defect")


def dilemma(discount: Fraction, rounds: int | None = None) -> DynamicGame:
    """The prisoner's dilemma whose state is the last joint action, starting from mutual cooperation."""
    row: Table = ((Fraction(3), Fraction(1), Fraction(4), Fraction(2)),) * 4
    column: Table = ((Fraction(3), Fraction(4), Fraction(1), Fraction(2)),) * 4
    start = (Fraction(1), Fraction(0), Fraction(0), Fraction(0))
    states = ("cc", "cd", "dc", "dd")
    payoffs = ((row, row), (column, column))
    return DynamicGame(
        ("row", "column"), states, (CD, CD), ((0, 1, 2, 3),) * 4, payoffs, (row, row), start, discount, rounds
    )


GRIM: Policy = ((0, 1, 1, 1),)
TIT_FOR_TAT = (((0, 1, 0, 1),), ((0, 0, 1, 1),))
ALWAYS_DEFECT: Policy = ((1, 1, 1, 1),)


def test_grim_trigger_is_a_best_reply_from_its_own_threshold_on() -> None:
    # Deviating pays 4 + d 2 / (1 - d), staying 3 / (1 - d): worth it below d = 1/2 only.
    for discount in (Fraction(1, 3), Fraction(1, 2), Fraction(3, 4)):
        answer = dilemma(discount).best_response(0, [GRIM, GRIM])
        stay, leave = 3 / (1 - discount), 4 + 2 * discount / (1 - discount)
        assert answer.value[0] == Enclosure.exactly(stay)
        assert answer.optimum[0] == Enclosure.exactly(max(stay, leave))
        assert answer.gain[3] == Enclosure.exactly(0)  # in the punishment everybody defects for ever


def test_with_an_end_the_last_round_is_a_temptation() -> None:
    game = dilemma(Fraction(1), 5)
    answer = game.best_response(0, TIT_FOR_TAT)
    assert answer.value[0] == Enclosure.exactly(15) and answer.gain[0] == Enclosure.exactly(1)
    assert [row[0] for row in answer.policy] == [0, 0, 0, 0, 1]
    assert game.leader_value(TIT_FOR_TAT, 0) == Enclosure.exactly(15)
    assert game.per_round == Fraction(1, 5) and len(game.path(TIT_FOR_TAT, 0)[0]) == 5


def test_paths_and_cycles() -> None:
    game = dilemma(Fraction(9, 10))
    met, begins = game.path(TIT_FOR_TAT, 1)  # one defection goes to and fro for ever
    assert [s for s, _ in met] == [1, 2] and begins == 0
    assert game.leader_value(TIT_FOR_TAT, 1) == Enclosure.exactly(Fraction(5, 2))
    assert game.cycle([GRIM, ALWAYS_DEFECT], 0) == [(3, 3)]


@st.composite
def games(draw: st.DrawFn, rounds: int | None) -> DynamicGame:
    n = draw(st.integers(1, 2))
    count = draw(st.integers(1, 3))
    widths = [draw(st.integers(1, 2)) for _ in range(n)]
    joint = widths[0] * (widths[1] if n == 2 else 1)
    number = st.integers(-4, 4)

    def table() -> tuple[Table, Table]:
        low = tuple(tuple(Fraction(draw(number)) for _ in range(joint)) for _ in range(count))
        wide = Fraction(draw(st.integers(0, 1)), 8)
        return low, tuple(tuple(v + wide for v in row) for row in low)

    return DynamicGame(
        players=tuple(f"p{i}" for i in range(n)),
        states=tuple(f"s{k}" for k in range(count)),
        actions=tuple(tuple("ab"[:w]) for w in widths),
        successor=tuple(tuple(draw(st.integers(0, count - 1)) for _ in range(joint)) for _ in range(count)),
        payoffs=tuple(table() for _ in range(n)),
        leader=table(),
        start=(Fraction(1),) + (Fraction(0),) * (count - 1),
        discount=draw(st.sampled_from([Fraction(1, 2), Fraction(9, 10)])),
        rounds=rounds,
    )


def policies_of(game: DynamicGame, i: int) -> list[Policy]:
    return [(row,) for row in product(range(len(game.actions[i])), repeat=len(game.states))]


def total(game: DynamicGame, i: int, policies: list[Policy], state: int, side: int, steps: int) -> Fraction:
    """Discounted payoffs of the first steps, summed one by one."""
    out, weight = Fraction(0), Fraction(1)
    for t in range(steps):
        joint = game.joint(policies, t, state)
        out += weight * game.payoffs[i][side][state][joint]
        state, weight = game.successor[state][joint], weight * game.discount
    return out


@settings(max_examples=25)
@given(games(None), st.randoms(use_true_random=False))
def test_for_ever_no_stationary_policy_does_better(game: DynamicGame, random: object) -> None:
    policies = [policies_of(game, i)[random.randrange(len(policies_of(game, i)))] for i in range(len(game.players))]  # type: ignore[attr-defined]
    steps = 60
    for i in range(len(game.players)):
        answer = game.best_response(i, policies)
        rest = 5 * game.discount**steps / (1 - game.discount)  # payoffs are at most 4 1/8 in size
        for s in range(len(game.states)):
            for side, end in ((0, answer.value[s].low), (1, answer.value[s].high)):
                assert abs(total(game, i, policies, s, side, steps) - end) <= rest
            for side, end in ((0, answer.optimum[s].low), (1, answer.optimum[s].high)):
                tried = [
                    total(game, i, [*policies[:i], own, *policies[i + 1 :]], s, side, steps)
                    for own in policies_of(game, i)
                ]
                assert abs(max(tried) - end) <= rest
            assert 0 <= answer.gain[s].low <= answer.gain[s].high


def tree(game: DynamicGame, i: int, policies: list[Policy], state: int, t: int, side: int) -> Fraction:
    """The most player i can get from round t on, trying every sequence of its actions."""
    if t == game.rounds:
        return Fraction(0)
    joint = game.joint(policies, t, state)
    return max(
        game.payoffs[i][side][state][a] + game.discount * tree(game, i, policies, game.successor[state][a], t + 1, side)
        for a in game.replies(i, joint)
    )


@settings(max_examples=25)
@given(games(3), st.randoms(use_true_random=False))
def test_with_an_end_no_history_dependent_strategy_does_better(game: DynamicGame, random: object) -> None:
    policies = [policies_of(game, i)[random.randrange(len(policies_of(game, i)))] for i in range(len(game.players))]  # type: ignore[attr-defined]
    for i in range(len(game.players)):
        answer = game.best_response(i, policies)
        for s in range(len(game.states)):
            assert answer.optimum[s].low == tree(game, i, policies, s, 0, 0)
            assert answer.optimum[s].high == tree(game, i, policies, s, 0, 1)
            assert answer.value[s].low == total(game, i, policies, s, 0, 3)
            best = [*policies[:i], answer.policy, *policies[i + 1 :]]
            assert total(game, i, best, s, 1, 3) == answer.optimum[s].high


def reachable_cycle_means(game: DynamicGame) -> list[Fraction]:
    """Means of the leader's payoffs (lower ends) over every simple cycle, walked edge by edge."""
    found: list[Fraction] = []

    def walk(path: list[int], paid: list[Fraction]) -> None:
        for joint, after in enumerate(game.successor[path[-1]]):
            pay = game.leader[0][path[-1]][joint]
            if after in path:
                loop = [*paid[path.index(after) :], pay]
                found.append(sum(loop, Fraction(0)) / len(loop))
            else:
                walk([*path, after], [*paid, pay])

    for start in game.starting_states:
        walk([start], [])
    return found


@settings(max_examples=40)
@given(games(None), games(3))
def test_whatever_followers_do(endless: DynamicGame, short: DynamicGame) -> None:
    means = reachable_cycle_means(endless)
    wide = endless.leader[1][0][0] - endless.leader[0][0][0]
    assert endless.any_play() == Enclosure(min(means), max(means) + wide)
    totals = []
    for acts in product(range(short.joint_actions), repeat=3):
        state, paid = 0, Fraction(0)
        for joint in acts:
            paid += short.leader[0][state][joint]
            state = short.successor[state][joint]
        totals.append(paid)
    assert short.any_play().low == min(totals) and short.any_play().high >= max(totals)


@pytest.mark.parametrize("favour", [0, 1, -1])
def test_exact_replies_break_ties_as_told(favour: int) -> None:
    # The follower does not care; the leader gets 1 from its second action in the last round only.
    pay: Table = ((Fraction(0), Fraction(0)),)
    lead: Table = ((Fraction(0), Fraction(1)),)
    game = DynamicGame(
        ("f",), ("only",), (("a", "b"),), ((0, 0),), ((pay, pay),), (lead, lead), (Fraction(1),), Fraction(1), 2
    )
    value, policy = game.reply_values(favour)
    assert value == Enclosure.exactly(2 if favour == 1 else 0)
    assert policy == (((1,), (1,)) if favour == 1 else ((0,), (0,)))
    with pytest.raises(GameError, match="one follower"):
        dilemma(Fraction(1), 5).reply_values()


def test_refusals() -> None:
    game = dilemma(Fraction(1, 2))
    for change, words in (
        ({"discount": Fraction(1)}, "discount"),
        ({"discount": Fraction(0)}, "discount"),
        ({"rounds": 0}, "at least 1 round"),
        ({"start": (Fraction(1),) * 4}, "sum to 1"),
        ({"start": (Fraction(1),)}, "starting probabilities"),
        ({"successor": ((0, 1, 2, 4),) * 4}, "next state"),
        ({"leader": (((),), ((),))}, "expected payoffs"),
        ({"players": ()}, "players"),
        ({"leader": (game.payoffs[0][0], game.payoffs[1][0])}, "lower ends"),
    ):
        with pytest.raises(GameError, match=words):
            replace(game, **change)  # type: ignore[arg-type]
    for policies, words in (
        ([GRIM], "2 policies"),
        ([GRIM, GRIM * 3], "1 row"),
        ([GRIM, ((0, 0, 0, 2),)], "action of 0..1"),
        ([GRIM, ((0, 0, 0),)], "in every state"),
    ):
        with pytest.raises(PlayError, match=words):
            game.best_response(0, policies)
