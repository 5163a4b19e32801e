"""Play that goes on: the followers' game in states under one committed leader, and exact best responses in it.

Against the others' frozen policies each follower faces a Markov decision problem. Values, best responses and what a
follower could gain are computed in rational arithmetic, whether play ends after some rounds or goes on for ever with
a discount; payoffs known between two rationals only give answers between two rationals. No floating point decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import prod

from .enclosures import Enclosure
from .errors import GameError, PlayError

Policy = tuple[tuple[int, ...], ...]
"""What one follower does: one row of actions by state if it does the same in every round, else one row a round."""

Table = tuple[tuple[Fraction, ...], ...]
"""Exact payoffs by state and joint action."""


@dataclass(frozen=True)
class DynamicGame:
    """The followers' game under a committed leader: finite states, and a known successor of every joint action.

    Args:
        players, states: labels.
        actions: labels of each player's actions.
        successor: ``successor[state][joint]`` is the next state; joint actions are counted in C order.
        payoffs: for each player, payoff tables ``[state][joint]`` as (lower ends, upper ends); equal where exact.
        leader: the leader's payoff, likewise.
        start: probability of each state at the beginning.
        discount: of the followers, in (0, 1]; below 1 if play goes on for ever.
        rounds: how many rounds are played; None if play goes on for ever.

    Raises:
        GameError: parts that do not fit together.

    Example:
        The prisoner's dilemma repeated for ever against itself, with one state:

        >>> table = lambda cells: (tuple(Fraction(c) for c in cells),)
        >>> row, column = table([3, 1, 4, 2]), table([3, 4, 1, 2])
        >>> game = DynamicGame(("row", "column"), ("any",), (("c", "d"), ("c", "d")), ((0, 0, 0, 0),),
        ...     ((row, row), (column, column)), (row, row), (Fraction(1),), Fraction(9, 10), None)
        >>> game.best_response(0, [((0,),), ((0,),)]).gain[0].low  # 4 instead of 3 for ever
        Fraction(10, 1)
    """

    players: tuple[str, ...]
    states: tuple[str, ...]
    actions: tuple[tuple[str, ...], ...]
    successor: tuple[tuple[int, ...], ...]
    payoffs: tuple[tuple[Table, Table], ...] = field(repr=False)
    leader: tuple[Table, Table] = field(repr=False)
    start: tuple[Fraction, ...]
    discount: Fraction
    rounds: int | None

    def __post_init__(self) -> None:
        n, count, joint = len(self.players), len(self.states), self.joint_actions
        if not n or not count or len(self.actions) != n or len(self.payoffs) != n or not joint:
            raise GameError(f"expected players, states and actions of each player, got {n} players, {count} states")
        if len(self.successor) != count or any(
            len(row) != joint or min(row) < 0 or max(row) >= count for row in self.successor
        ):
            raise GameError(f"expected a next state of 0..{count - 1} for each of {count} × {joint} joint actions")
        for low, high in (*self.payoffs, self.leader):
            if any(len(part) != count or any(len(row) != joint for row in part) for part in (low, high)):
                raise GameError(f"expected payoffs for each of {count} states × {joint} joint actions")
            if any(a > b for one, two in zip(low, high, strict=True) for a, b in zip(one, two, strict=True)):
                raise GameError("expected lower ends of payoffs that do not exceed the upper ends")
        if len(self.start) != count or min(self.start) < 0 or sum(self.start) != 1:
            raise GameError(f"expected {count} starting probabilities that sum to 1")
        if not 0 < self.discount <= 1 or (self.rounds is None and self.discount == 1):
            raise GameError(f"expected a discount in (0, 1], below 1 for play without end, got {self.discount}")
        if self.rounds is not None and self.rounds < 1:
            raise GameError(f"expected at least 1 round, got {self.rounds}")

    @property
    def joint_actions(self) -> int:
        """Number of joint actions."""
        return prod(len(own) for own in self.actions)

    @cached_property
    def _steps(self) -> tuple[int, ...]:
        widths = [len(own) for own in self.actions]
        return tuple(prod(widths[i + 1 :]) for i in range(len(widths)))

    @property
    def per_round(self) -> Fraction:
        """What turns a total into an average a round: 1 over the number of rounds, or 1 - discount."""
        if self.rounds is None:
            return 1 - self.discount
        return 1 / sum((self.discount**t for t in range(self.rounds)), Fraction(0))

    @cached_property
    def starting_states(self) -> tuple[int, ...]:
        """States in which play can begin."""
        return tuple(s for s, p in enumerate(self.start) if p)

    def check_policies(self, policies: Sequence[Policy]) -> None:
        """Refuse policies that do not fit this game.

        Raises:
            PlayError: a wrong number of policies, rounds or states, or an action that does not exist.
        """
        if len(policies) != len(self.players):
            raise PlayError(f"expected {len(self.players)} policies, got {len(policies)}")
        for name, policy, own in zip(self.players, policies, self.actions, strict=True):
            if len(policy) not in (1, self.rounds):
                raise PlayError(f"policy of {name}: expected 1 row or one a round, got {len(policy)}")
            if any(len(row) != len(self.states) or min(row) < 0 or max(row) >= len(own) for row in policy):
                raise PlayError(f"policy of {name}: expected an action of 0..{len(own) - 1} in every state")

    def joint(self, policies: Sequence[Policy], t: int, state: int) -> int:
        """The joint action that policies take in a state at round ``t``."""
        rows = (policy[t if len(policy) > 1 else 0] for policy in policies)
        return sum(row[state] * step for row, step in zip(rows, self._steps, strict=True))

    def replies(self, i: int, joint: int) -> list[int]:
        """The joint actions in which player i does something of its own choice and the others what they do."""
        base = joint - (joint // self._steps[i] % len(self.actions[i])) * self._steps[i]
        return [base + a * self._steps[i] for a in range(len(self.actions[i]))]

    # ------------------------------------------------------------------------------------ following policies

    def path(self, policies: Sequence[Policy], state: int) -> tuple[list[tuple[int, int]], int]:
        """The (state, joint action) pairs met from a state on, and where among them they begin to repeat.

        With finitely many rounds nothing repeats: the second number is the number of rounds.
        """
        self.check_policies(policies)
        met: list[tuple[int, int]] = []
        if self.rounds is not None:
            for t in range(self.rounds):
                action = self.joint(policies, t, state)
                met.append((state, action))
                state = self.successor[state][action]
            return met, self.rounds
        first: dict[int, int] = {}
        while state not in first:
            first[state] = len(met)
            action = self.joint(policies, 0, state)
            met.append((state, action))
            state = self.successor[state][action]
        return met, first[state]

    def cycle(self, policies: Sequence[Policy], state: int) -> list[tuple[int, int]]:
        """The pairs that play repeats for ever from a state on; all pairs met where play has an end."""
        met, begins = self.path(policies, state)
        return met if self.rounds is not None else met[begins:]

    def leader_value(self, policies: Sequence[Policy], state: int) -> Enclosure:
        """The leader's payoff from a state on: the sum over all rounds, or the average over the cycle reached."""
        met = self.cycle(policies, state)
        ends = [sum((table[s][a] for s, a in met), Fraction(0)) for table in self.leader]
        found = Enclosure(ends[0], ends[1])
        return found if self.rounds is not None else found.times(Fraction(1, len(met)))

    def any_play(self) -> Enclosure:
        """What the leader gets whatever its followers do: from the least to the most, over all starts.

        A total where play has an end; else a long-run average, least and most over all cycles of states (Karp 1978).
        """
        if self.rounds is not None:
            return Enclosure(self._extreme_total(min, self.leader[0]), self._extreme_total(max, self.leader[1]))
        low, high = self.leader
        negated = tuple(tuple(-v for v in row) for row in high)
        return Enclosure(self._least_mean(low), -self._least_mean(negated))

    def _extreme_total(self, pick: Callable[[list[Fraction]], Fraction], table: Table) -> Fraction:
        assert self.rounds is not None
        value = [Fraction(0)] * len(self.states)
        for _ in range(self.rounds):
            value = [
                pick([pay + value[s] for pay, s in zip(row, follow, strict=True)])
                for row, follow in zip(table, self.successor, strict=True)
            ]
        return pick([value[s] for s in self.starting_states])

    def _least_mean(self, table: Table) -> Fraction:
        """The least mean of a cycle that can be reached: walks of k steps for k up to the number of states."""
        count = len(self.states)
        walks: list[list[Fraction | None]] = [[Fraction(0) if p else None for p in self.start]]
        for _ in range(count):
            after: list[Fraction | None] = [None] * count
            for s, so_far in enumerate(walks[-1]):
                if so_far is None:
                    continue
                for pay, end in zip(table[s], self.successor[s], strict=True):
                    best = after[end]
                    if best is None or so_far + pay < best:
                        after[end] = so_far + pay
            walks.append(after)
        means = []
        for s, last in enumerate(walks[count]):
            shorter = [(walks[k][s], k) for k in range(count)]
            if last is not None:
                means.append(max((last - w) / (count - k) for w, k in shorter if w is not None))
        return min(means)

    # ------------------------------------------------------------------------------------ values

    def best_response(self, i: int, policies: Sequence[Policy]) -> BestResponse:
        """What player i gets and could get, in each state at the beginning, against the others' frozen policies.

        No policy at all does better, one that remembers the past included: against policies that look at the state
        (and the round) only, the problem is a Markov decision problem.
        """
        self.check_policies(policies)
        low, high = self.payoffs[i]
        own, best, policy = [], [], policies[i]
        for table in (low, high) if low is not high else (low,):
            if self.rounds is not None:
                mine, most, policy = self._backward(i, policies, table)
            else:
                mine = self._follow(policies, table)
                most, policy = self._optimise(i, policies, table)
            own.append(mine)
            best.append(most)
        value = tuple(Enclosure(a, b) for a, b in zip(own[0], own[-1], strict=True))
        optimum = tuple(Enclosure(a, b) for a, b in zip(best[0], best[-1], strict=True))
        gain = tuple(_gain(v, o) for v, o in zip(value, optimum, strict=True))
        return BestResponse(i, value, optimum, gain, policy)

    def _backward(
        self, i: int, policies: Sequence[Policy], table: Table
    ) -> tuple[list[Fraction], list[Fraction], Policy]:
        assert self.rounds is not None
        value = best = [Fraction(0)] * len(self.states)
        rows: list[tuple[int, ...]] = []
        for t in reversed(range(self.rounds)):
            next_value, next_best, row = [], [], []
            for s, (pay, follow) in enumerate(zip(table, self.successor, strict=True)):
                joint = self.joint(policies, t, s)
                next_value.append(pay[joint] + self.discount * value[follow[joint]])
                offers = [pay[a] + self.discount * best[follow[a]] for a in self.replies(i, joint)]
                next_best.append(max(offers))
                row.append(offers.index(max(offers)))
            value, best = next_value, next_best
            rows.append(tuple(row))
        return value, best, tuple(reversed(rows))

    def _follow(self, policies: Sequence[Policy], table: Table) -> list[Fraction]:
        """Discounted values for ever: successors are known, so each state leads into a cycle with a closed form."""
        joint = [self.joint(policies, 0, s) for s in range(len(self.states))]
        return _discounted(
            [table[s][a] for s, a in enumerate(joint)],
            [self.successor[s][a] for s, a in enumerate(joint)],
            self.discount,
        )

    def _optimise(self, i: int, policies: Sequence[Policy], table: Table) -> tuple[list[Fraction], Policy]:
        """Policy iteration; it ends when Bellman's equation holds exactly, whose solution is unique and optimal."""
        open_to = [self.replies(i, self.joint(policies, 0, s)) for s in range(len(self.states))]
        chosen = [replies[a] for replies, a in zip(open_to, policies[i][0], strict=True)]
        while True:
            value = _discounted(
                [table[s][a] for s, a in enumerate(chosen)],
                [self.successor[s][a] for s, a in enumerate(chosen)],
                self.discount,
            )
            better = False
            for s, replies in enumerate(open_to):
                offers = [table[s][a] + self.discount * value[self.successor[s][a]] for a in replies]
                if max(offers) > value[s]:
                    chosen[s], better = replies[offers.index(max(offers))], True
            if not better:
                row = tuple(replies.index(a) for replies, a in zip(open_to, chosen, strict=True))
                return value, (row,)

    # ------------------------------------------------------------------------------------ all replies at once

    def reply_values(self, favour: int = 0) -> tuple[Enclosure, Policy]:
        """One follower who best-replies exactly in a game with an end: the leader's expected total, and the reply.

        Args:
            favour: how the follower breaks ties: 0 to its lowest action, 1 for the leader, -1 against it.

        Raises:
            GameError: several followers, play without end, or payoffs that are not exact.
        """
        low, high = self.payoffs[0]
        if len(self.players) != 1 or self.rounds is None or low != high or self.leader[0] != self.leader[1]:
            raise GameError("exact replies by backward induction need one follower, an end and exact payoffs")
        own = lead = [Fraction(0)] * len(self.states)
        rows: list[tuple[int, ...]] = []
        for _ in range(self.rounds):
            next_own, next_lead, row = [], [], []
            for s in range(len(self.states)):
                offers = [
                    (
                        low[s][a] + self.discount * own[self.successor[s][a]],
                        self.leader[0][s][a] + lead[self.successor[s][a]],
                    )
                    for a in range(self.joint_actions)
                ]
                most = max(mine for mine, _ in offers)
                tied = [a for a, (mine, _) in enumerate(offers) if mine == most]
                pick = tied[0] if not favour else max(tied, key=lambda a: (favour * offers[a][1], -a))
                next_own.append(most)
                next_lead.append(offers[pick][1])
                row.append(pick)
            own, lead = next_own, next_lead
            rows.append(tuple(row))
        total = sum((p * v for p, v in zip(self.start, lead, strict=True)), Fraction(0))
        return Enclosure(total, total), tuple(reversed(rows))


@dataclass(frozen=True)
class BestResponse:
    """One follower's Markov decision problem, solved exactly.

    Attributes:
        player: index.
        value: what its own policy is worth from each state on, total over rounds (discounted).
        optimum: what the best policy is worth.
        gain: the difference, never negative.
        policy: a best policy (for the upper ends of payoffs, where those are not exact).
    """

    player: int
    value: tuple[Enclosure, ...]
    optimum: tuple[Enclosure, ...]
    gain: tuple[Enclosure, ...]
    policy: Policy

    def largest(self, states: Sequence[int]) -> Enclosure:
        """The largest gain over some states."""
        return Enclosure(max(self.gain[s].low for s in states), max(self.gain[s].high for s in states))


def _gain(value: Enclosure, optimum: Enclosure) -> Enclosure:
    """What is gained: 0 at least, because the policy in use is among those compared with."""
    difference = optimum - value
    return Enclosure(max(Fraction(0), difference.low), max(Fraction(0), difference.high))


def _discounted(pay: Sequence[Fraction], follow: Sequence[int], discount: Fraction) -> list[Fraction]:
    """Discounted sums along a map of states, for ever."""
    value: list[Fraction | None] = [None] * len(pay)
    for start in range(len(pay)):
        path: list[int] = []
        at: dict[int, int] = {}
        state = start
        while value[state] is None and state not in at:
            at[state] = len(path)
            path.append(state)
            state = follow[state]
        if value[state] is None:  # a new cycle, from `state` back to `state`
            cycle = path[at[state] :]
            total = sum((discount**k * pay[s] for k, s in enumerate(cycle)), Fraction(0))
            value[state] = total / (1 - discount ** len(cycle))
        for s in reversed(path):
            if value[s] is None:
                later = value[follow[s]]
                assert later is not None
                value[s] = pay[s] + discount * later
    return [v for v in value if v is not None]
