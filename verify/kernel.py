"""The exact checker: re-proves a certificate from the game alone, in integers, with no solver and no floating point.

This file and the readers in `plain.py` are all that has to be trusted. Everything is theory T5: an upper bound holds
for *any* multipliers y >= 0 and *any* potentials f, so a wrong solver can only have made a bound weak, never false;
an attained value and a gap are recomputed from the play. Standard library only.

How the numbers are held: each array is integers over one denominator (`plain.Tensor`); a joint type or joint action
is a tuple, and its place in an array is a dot product with the array's strides, which are 0 on broadcast axes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

from .errors import CertificateError, FormatError, UsageError, printable
from .numerals import show
from .plain import (
    PlainGame,
    PlainPlay,
    SumNumerators,
    Tensor,
    check_fields,
    check_keys,
    common_denominator,
    number_text,
    parse_game,
    parse_number,
    parse_play,
    parse_tensor,
    player_of,
)

SETS = ("sf", "ns", "tc")
SET_NAMES = {
    "sf": "strategic-form Bayesian coarse correlated equilibria",
    "ns": "non-signalling Bayesian coarse correlated equilibria",
    "tc": "type-conditional Bayesian coarse correlated equilibria",
}
KINDS = ("upper", "lower", "attained", "gap")
MAX_NODES = 2_000_000
FREE = -1

Multipliers = Sequence[tuple[int, int, int, Fraction]]
Cells = dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]]
Conditional = tuple[Cells, int, dict[tuple[int, ...], int], int]


# ------------------------------------------------------------------------------- the game, ready for arithmetic


def joint_types(game: PlainGame) -> list[tuple[int, ...]]:
    """All joint types, C order."""
    return list(product(*map(range, game.type_shape)))


def feasible_actions(game: PlainGame, types: Sequence[int]) -> list[tuple[int, ...]]:
    """All joint actions that are feasible at a joint type, C order."""
    rows = [[a for a, ok in enumerate(game.feasible[i][t]) if ok] for i, t in enumerate(types)]
    return list(product(*rows))


def place(array: Tensor, index: Sequence[int]) -> int:
    """Where an index stands in an array's entries."""
    return sum(k * stride for k, stride in zip(index, array.strides, strict=True))


def prior_weight(game: PlainGame, types: Sequence[int]) -> int:
    """p(types) times the prior's denominator."""
    return game.prior.numerators[place(game.prior, types)]


def marginals(game: PlainGame) -> list[list[Fraction]]:
    """p_i(t_i) for each player and own type."""
    out = [[0] * count for count in game.type_shape]
    for types, weight in zip(joint_types(game), game.prior.numerators, strict=True):
        for i, t in enumerate(types):
            out[i][t] += weight
    return [[Fraction(weight, game.prior.denominator) for weight in row] for row in out]


def objective_tensor(game: PlainGame, objective: str, custom: object = None) -> Tensor:
    """The array w(types, actions) of an objective: ``leader``, ``welfare``, ``player:I`` or ``custom``.

    Raises:
        UsageError: an unknown objective, or ``leader`` for a game that has none.
    """
    axes = game.type_shape + game.action_shape
    if objective == "leader":
        if game.leader is None:
            raise UsageError('the game has no "leader" payoffs; ask for welfare or player:I')
        return game.leader
    if objective == "welfare":
        total = SumNumerators(game.payoffs, axes)
        return Tensor(axes, total, total.denominator)
    if objective == "custom":
        if custom is None:
            raise UsageError("a custom objective needs its array")
        return parse_tensor(custom, axes, "objective")
    return game.payoffs[player_of(objective, game.n)]


# ------------------------------------------------------------------------------- plays


def conditional_cells(game: PlainGame, play: PlainPlay) -> Conditional:
    """What a play does at each joint type, exactly, and how often each joint type occurs.

    Returns:
        (cells, sigma_denominator, weights, weight_denominator): ``cells[types]`` lists (joint action, numerator);
        ``weights[types]`` is the numerator of the joint type's probability, under the prior, or for a log under the
        log's own frequencies (theory T6 (i)).
    """
    cells: Cells = {}
    weights = {types: prior_weight(game, types) for types in joint_types(game)}
    weight_denominator = game.prior.denominator
    if play.kind == "log":
        counts: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
        for round_ in play.rounds:
            counts[round_] = counts.get(round_, 0) + 1
        weights = dict.fromkeys(weights, 0)
        for (types, _), count in counts.items():
            weights[types] += count
        denominator = math.lcm(*(count for count in weights.values() if count))
        for (types, actions), count in counts.items():
            cells.setdefault(types, []).append((actions, count * (denominator // weights[types])))
        return cells, denominator, weights, len(play.rounds)
    if play.kind == "conditional" and play.sigma is None:
        denominator = common_denominator((chance.denominator for *_, chance in play.cells), len(play.cells))
        for types, actions, chance in play.cells:
            mass = chance.numerator * (denominator // chance.denominator)
            cells.setdefault(types, []).append((actions, mass))
        return cells, denominator, weights, weight_denominator
    if play.kind == "conditional":
        assert play.sigma is not None
        for types in weights:
            found = ((a, play.sigma.numerators[place(play.sigma, types + a)]) for a in feasible_actions(game, types))
            cells[types] = [(a, mass) for a, mass in found if mass]
        return cells, play.sigma.denominator, weights, weight_denominator
    scale = math.lcm(*(weight.denominator for weight in play.weights))
    shares = [(k, weight.numerator * (scale // weight.denominator)) for k, weight in enumerate(play.weights) if weight]
    # who[i][t][k]: what type t of player i plays in snapshot k, as (action, numerator) without zeros
    who: list[list[list[list[tuple[int, int]]]]] = []
    for i, count in enumerate(game.action_shape):
        if play.kind == "plan":
            who.append([[[(profile[i][t], 1)] for profile in play.profiles] for t in range(game.type_shape[i])])
            continue
        numerators, step = play.strategies[i].numerators, game.type_shape[i] * count
        starts = [range(t * count, len(numerators), step) for t in range(game.type_shape[i])]
        who.append([[[(a, x) for a, x in enumerate(numerators[k : k + count]) if x] for k in own] for own in starts])
        scale *= play.strategies[i].denominator
    for types in weights:
        total: dict[int, int] = {}
        chosen = [who[i][t] for i, t in enumerate(types)]
        for k, share in shares:
            joint = [(0, share)]  # (place of the joint action of the players so far, mass)
            for rows, count in zip(chosen, game.action_shape, strict=True):
                joint = [(at * count + a, mass * x) for at, mass in joint for a, x in rows[k]]
            for at, mass in joint:
                total[at] = total.get(at, 0) + mass
        cells[types] = [(_joint_action(game, at), total[at]) for at in sorted(total)]
    return cells, scale, weights, weight_denominator


def _joint_action(game: PlainGame, place: int) -> tuple[int, ...]:
    """The joint action at a place in C order."""
    out = []
    for count in reversed(game.action_shape):
        place, action = divmod(place, count)
        out.append(action)
    return tuple(reversed(out))


def exact_value(game: PlainGame, play: PlainPlay, objective: Tensor) -> Fraction:
    """The play's expected objective W(sigma) = sum_types p(types) sum_a sigma(a|types) w(types, a)."""
    return _value(game, conditional_cells(game, play), objective)


def _value(game: PlainGame, conditional: Conditional, objective: Tensor) -> Fraction:
    cells, scale, weights, total = conditional
    value, numerators = 0, objective.entries
    for types, row in cells.items():
        if weights[types]:
            base = place(objective, types + (0,) * game.n)
            own = [(place(objective, (0,) * game.n + a), mass) for a, mass in row]
            value += weights[types] * sum(mass * numerators[base + offset] for offset, mass in own)
    return Fraction(value, total * scale * objective.denominator)


def exact_regrets(game: PlainGame, play: PlainPlay) -> list[list[list[Fraction | None]]]:
    """Interim regrets r_i(t_i, a') of theory T3, exactly; None where p_i(t_i) = 0 or a' is not feasible.

    For a log the prior is the log's own frequencies.
    """
    return _regrets(game, conditional_cells(game, play))


def _regrets(game: PlainGame, conditional: Conditional) -> list[list[list[Fraction | None]]]:
    cells, scale, weights, _ = conditional
    out: list[list[list[Fraction | None]]] = []
    for i in range(game.n):
        payoff, count = game.payoffs[i], game.action_shape[i]
        own_stride, numerators = payoff.strides[game.n + i], payoff.entries
        gains = [[0] * count for _ in range(game.type_shape[i])]
        visits = [0] * game.type_shape[i]
        for types, row in cells.items():
            weight = weights[types]
            if not weight:
                continue
            visits[types[i]] += weight
            base = place(payoff, types + (0,) * game.n)
            played = 0
            against: dict[int, int] = {}
            for actions, mass in row:
                here = base + place(payoff, (0,) * game.n + actions)
                played += mass * numerators[here]
                others = here - actions[i] * own_stride
                against[others] = against.get(others, 0) + mass
            gain = gains[types[i]]
            for a in range(count):
                shift = a * own_stride
                deviated = sum(mass * numerators[others + shift] for others, mass in against.items())
                gain[a] += weight * (deviated - played)
        unit = scale * payoff.denominator
        out.append(
            [
                [
                    Fraction(gains[t][a], visits[t] * unit) if visits[t] and game.feasible[i][t][a] else None
                    for a in range(count)
                ]
                for t in range(game.type_shape[i])
            ]
        )
    return out


def exact_gap(game: PlainGame, play: PlainPlay) -> tuple[Fraction, tuple[int, int, int] | None]:
    """The gap of theory T3 and its witness (player, type, deviation); the witness is None when nobody gains."""
    return _largest(exact_regrets(game, play))


def measured(game: PlainGame, conditional: Conditional, objective: Tensor) -> tuple[Fraction, Fraction]:
    """The gap of a play and its value, from what `conditional_cells` says of it."""
    return _largest(_regrets(game, conditional))[0], _value(game, conditional, objective)


def _largest(regrets: list[list[list[Fraction | None]]]) -> tuple[Fraction, tuple[int, int, int] | None]:
    best, witness = Fraction(0), None
    for i, rows in enumerate(regrets):
        for t, row in enumerate(rows):
            for a, regret in enumerate(row):
                if regret is not None and regret > best:
                    best, witness = regret, (i, t, a)
    return best, witness


def is_non_signalling(game: PlainGame, play: PlainPlay, conditional: Conditional | None = None) -> bool:
    """Whether for each j the marginal of sigma on a_-j is the same for all types of j, exactly (theory T4).

    ``conditional`` spares finding `conditional_cells` again.
    """
    if play.kind in ("plan", "mixture"):
        return True
    if play.kind == "log":
        return False
    cells, _, weights, _ = conditional or conditional_cells(game, play)
    if len(cells) < len(weights):
        return False  # nothing is said at some types of probability 0, where the marginals count as well
    for j in range(game.n):
        seen: dict[tuple[int, ...], dict[tuple[int, ...], int]] = {}
        for types, row in cells.items():
            marginal: dict[tuple[int, ...], int] = {}
            for actions, mass in row:
                rest = actions[:j] + actions[j + 1 :]
                marginal[rest] = marginal.get(rest, 0) + mass
            if seen.setdefault(types[:j] + types[j + 1 :], marginal) != marginal:
                return False
    return True


def smallest_set(game: PlainGame, play: PlainPlay, conditional: Conditional | None = None) -> str:
    """The smallest of sf, ns, tc that the form of the play shows it to belong to; arguments as `is_non_signalling`."""
    if play.kind in ("plan", "mixture"):
        return "sf"
    return "ns" if is_non_signalling(game, play, conditional) else "tc"


# ------------------------------------------------------------------------------- outer bounds


def scaled_gains(
    game: PlainGame, objective: Tensor, multipliers: Multipliers
) -> tuple[list[dict[int, dict[int, int]]], int]:
    """The multipliers as whole numbers that go with the arrays' numerators, and the denominator all of it is over.

    Returns:
        (gains, common): ``gains[i][t_i][a']`` = z_i(t_i, a') * common / (denominator of u_i), where
        z_i(t_i, a') = y_i(t_i, a') / p_i(t_i); ``common`` is also a multiple of the objective's denominator.
    """
    p = marginals(game)
    z = [(i, t, a, y / p[i][t]) for i, t, a, y in multipliers]
    z_den = common_denominator((value.denominator for *_, value in z), len(z))
    u_den = math.lcm(*(payoff.denominator for payoff in game.payoffs))
    common = math.lcm(objective.denominator, z_den * u_den)
    gains: list[dict[int, dict[int, int]]] = [{} for _ in range(game.n)]
    for i, t, a, value in z:
        gains[i].setdefault(t, {})[a] = int(value * (common // game.payoffs[i].denominator))
    return gains, common


def paid(epsilon: Fraction, multipliers: Multipliers) -> Fraction:
    """What the allowed regret adds to a bound: epsilon times the sum of the multipliers."""
    return epsilon * sum((y for *_, y in multipliers), Fraction(0)) if epsilon else epsilon


def bracket_table(
    game: PlainGame, objective: Tensor, sign: int, multipliers: Multipliers
) -> tuple[dict[tuple[int, ...], list[tuple[tuple[int, ...], int]]], int]:
    """The bracket of theory T5 without potentials, for every joint type, over one denominator.

    c(types, a) = p(types) * { sign * w(types, a) - sum_i sum_a' z_i(t_i, a') [u_i(types, a', a_-i) - u_i(types, a)] }
    with z_i(t_i, a') = y_i(t_i, a') / p_i(t_i), since p(t_-i | t_i) = p(types) / p_i(t_i). Zero where p(types) = 0.
    """
    gains, common = scaled_gains(game, objective, multipliers)
    w_factor = sign * (common // objective.denominator)
    zero = (0,) * game.n
    table = {}
    for types in joint_types(game):
        weight = prior_weight(game, types)
        actions = feasible_actions(game, types)
        if not weight:
            table[types] = [(a, 0) for a in actions]
            continue
        base = place(objective, types + zero)
        read = objective.entries
        values = [w_factor * read[base + place(objective, zero + a)] for a in actions]
        for i in range(game.n):
            row = gains[i].get(types[i])
            if not row:
                continue
            u, own = game.payoffs[i], game.payoffs[i].strides[game.n + i]
            start, total, numerators = place(u, types + zero), sum(row.values()), u.entries
            deviated: dict[int, int] = {}
            for k, a in enumerate(actions):
                here = start + place(u, zero + a)
                others = here - a[i] * own
                if others not in deviated:
                    deviated[others] = sum(mult * numerators[others + dev * own] for dev, mult in row.items())
                values[k] -= deviated[others] - total * numerators[here]
        table[types] = [(a, weight * value) for a, value in zip(actions, values, strict=True)]
    return table, game.prior.denominator * common


def centred_potentials(potentials: Sequence[Tensor]) -> list[tuple[Tensor, list[int], int]]:
    """f~_j = f_j minus its *unweighted* mean over all types of j (theory T5): (f_j, sums over t_j, stride of t_j)."""
    out = []
    for j, f in enumerate(potentials):
        stride, count = f.strides[j], f.shape[j]
        sums = []
        for k in range(len(f.numerators)):
            first = k - (k // stride % count) * stride if stride else k
            sums.append(sum(f.numerators[first + t * stride] for t in range(count)))
        out.append((f, sums, count))
    return out


def outer_bound(
    game: PlainGame,
    *,
    objective: Tensor,
    sense: str,
    epsilon: Fraction,
    multipliers: Multipliers,
    potentials: Sequence[Tensor] | None = None,
) -> Fraction:
    """The bound of theory T5, exactly: for ``sense="upper"`` no epsilon-BCCE is worth more, for ``"lower"`` less.

    Without potentials it holds for TC (hence NS and SF), with potentials for NS (hence SF).

    Args:
        game: the game.
        objective: w, axes (types.., actions..), from `objective_tensor`.
        sense: ``upper`` or ``lower``.
        epsilon: the largest allowed interim regret, in payoff units.
        multipliers: (player, own type, deviation, y) with y >= 0, at feasible deviations of types with p_i > 0.
        potentials: one array a player, axes (types.., actions..) with length 1 on the player's own action axis.
    """
    sign = 1 if sense == "upper" else -1
    table, denominator = bracket_table(game, objective, sign, multipliers)
    total = 0
    unit = denominator
    if potentials is None:
        total = sum(max(value for _, value in row) for row in table.values())
    else:
        centred = centred_potentials(potentials)
        unit = math.lcm(denominator, *(f.denominator * count for f, _, count in centred))
        c_factor = unit // denominator
        zero = (0,) * game.n
        for types, row in table.items():
            parts = []
            for f, sums, count in centred:
                parts.append((f, sums, count, unit // (f.denominator * count), place(f, types + zero)))
            best = None
            for a, value in row:
                here = c_factor * value
                for f, sums, count, factor, base in parts:
                    k = base + place(f, zero + a)
                    here += factor * (count * f.numerators[k] - sums[k])
                best = here if best is None or here > best else best
            total += best or 0
    bound = paid(epsilon, multipliers) + Fraction(total, unit)
    return sign * bound


def strategic_form_holds(
    game: PlainGame,
    *,
    objective: Tensor,
    sense: str,
    epsilon: Fraction,
    multipliers: Multipliers,
    value: Fraction,
    max_nodes: int = MAX_NODES,
) -> tuple[bool, int]:
    """Whether the SF-exact bound of theory T5 is at most ``value`` (at least, for ``lower``): (answer, nodes searched).

    Depth-first search over the strategies of all players but one, one (player, own type) at a time; the remaining
    player's best reply decomposes over its own types. A branch is cut when its bound is within the claim: the sum over
    the last player's types of its best reply to the most that the others' free choices could give each reply. Choices
    that would lower the bound most on their own come first: any order is sound, this one is short. False also when the
    search would need more than ``max_nodes``.
    """
    sign = 1 if sense == "upper" else -1
    table, denominator = bracket_table(game, objective, sign, multipliers)
    slack = sign * value - paid(epsilon, multipliers)
    limit = math.floor(slack * denominator)
    last = replying_player(game)
    choices = [[[a for a, ok in enumerate(row) if ok] for row in game.feasible[i]] for i in range(game.n)]
    # tops[types][actions of the others, FREE where not chosen yet] = the most c can be, for each reply of the last
    tops: dict[tuple[int, ...], dict[tuple[int, ...], list[int]]] = {}
    for types, row in table.items():
        known: dict[tuple[int, ...], list[int]] = {}
        for a, c in row:
            known.setdefault(a[:last] + (FREE,) + a[last + 1 :], []).append(c)
        tops[types] = known

    def top(types: tuple[int, ...], chosen: tuple[int, ...]) -> list[int]:
        known = tops[types]
        if chosen not in known:
            i = max(j for j, a in enumerate(chosen) if a == FREE and j != last)
            parts = [top(types, chosen[:i] + (a,) + chosen[i + 1 :]) for a in choices[i][types[i]]]
            known[chosen] = [max(values) for values in zip(*parts, strict=True)]
        return known[chosen]

    state = dict.fromkeys(table, (FREE,) * game.n)
    totals = [[0] * len(row) for row in choices[last]]
    for types, chosen in state.items():
        totals[types[last]] = [x + y for x, y in zip(totals[types[last]], top(types, chosen), strict=True)]
    affected = {
        (i, t): [types for types in table if types[i] == t] for i in range(game.n) for t in range(len(choices[i]))
    }

    def children(totals: list[list[int]], i: int, t: int) -> Iterator[tuple[int, list[list[int]]]]:
        """The totals with each action of player i's type t in turn."""
        before = [(types, state[types]) for types in affected[i, t]]
        rest = list(totals)
        for types, chosen in before:
            rest[types[last]] = [x - y for x, y in zip(rest[types[last]], top(types, chosen), strict=True)]
        for action in choices[i][t]:
            after = list(rest)
            for types, chosen in before:
                now = top(types, chosen[:i] + (action,) + chosen[i + 1 :])
                after[types[last]] = [x + y for x, y in zip(after[types[last]], now, strict=True)]
            yield action, after

    def average(i: int, t: int) -> Fraction:
        return Fraction(sum(sum(map(max, after)) for _, after in children(totals, i, t)), len(choices[i][t]))

    order = sorted((pair for pair in affected if pair[0] != last), key=lambda pair: average(*pair))
    nodes = 1

    def search(depth: int, totals: list[list[int]]) -> bool:
        """Whether every completion of a choice whose bound is beyond the claim is within it after all."""
        nonlocal nodes
        if depth == len(order):
            return False
        i, t = order[depth]
        for action, after in children(totals, i, t):
            nodes += 1
            if nodes > max_nodes:
                return False
            if sum(map(max, after)) <= limit:
                continue
            before = {types: state[types] for types in affected[i, t]}
            state.update((types, chosen[:i] + (action,) + chosen[i + 1 :]) for types, chosen in before.items())
            if not search(depth + 1, after):
                return False
            state.update(before)
        return True

    try:
        return sum(map(max, totals)) <= limit or search(0, totals), nodes
    except RecursionError:  # a thousand types to go through: as if the nodes had run out
        return False, max_nodes + 1


def replying_player(game: PlainGame) -> int:
    """The player with most strategies, whose best reply the strategic-form search need not enumerate."""
    size = [sum(math.log(sum(row)) for row in game.feasible[i]) for i in range(game.n)]
    return max(range(game.n), key=lambda i: (size[i], i))


# ------------------------------------------------------------------------------- certificates


@dataclass(frozen=True)
class Recheck:
    """The kernel's answer: whether the certificate proves its claim, the claim in words, its value, and if not why."""

    accepted: bool
    statement: str
    value: Fraction
    reason: str | None


@dataclass(frozen=True)
class Claim:
    """What a certificate says; see ``docs/formats.md``."""

    kind: str
    equilibrium_set: str
    objective: str
    epsilon: Fraction
    value: Fraction

    def sentence(self, game: PlainGame) -> str:
        """The claim in words; a number that has to be rounded is rounded so that the sentence stays true."""
        name, of = printable(game.name), SET_NAMES[self.equilibrium_set]
        subject = {"leader": "the leader's value", "welfare": "welfare", "custom": "the given objective"}.get(
            self.objective, f"the payoff of player {self.objective.partition(':')[2]}"
        )
        if self.kind == "gap":
            gain = _decimal(self.value, "nearest")
            return f'in the game "{name}" the largest gain from a fixed deviation against this play is {gain}'
        if self.kind == "attained":
            within = f"a play whose largest gain from a fixed deviation is at most {_decimal(self.epsilon, 'up')}"
            value = _decimal(self.value, "nearest")
            return f'in the game "{name}" {subject} is {value} at {within}, of the form of the {of}'
        side, direction = ("at most", "up") if self.kind == "upper" else ("at least", "down")
        value, epsilon = _decimal(self.value, direction), _decimal(self.epsilon, "down")
        return f'in the game "{name}" {subject} is {side} {value} over all {of} with epsilon {epsilon}'


def _decimal(value: Fraction, direction: str) -> str:
    """A short number exactly, a longer one rounded in a direction; "about" says so where that is the nearest."""
    if max(abs(value.numerator), value.denominator) < 10**12 and len(number_text(value)) <= 12:
        return number_text(value)
    return ("about " if direction == "nearest" else "") + show(value, 10, direction)


def check_certificate(
    document: object,
    game: PlainGame | None = None,
    *,
    max_nodes: int = MAX_NODES,
    outer: Callable[..., Fraction] = outer_bound,
    strategic: Callable[..., tuple[bool, int]] = strategic_form_holds,
    measure: Callable[..., tuple[Fraction, Fraction]] = measured,
) -> Recheck:
    """Re-proves a certificate (theory T5).

    Args:
        document: a ``spverify-certificate`` document.
        game: the game, needed where the certificate does not carry it; must be the same game where it does.
        max_nodes: how long the strategic-form search may take before the certificate is refused.
        outer, strategic, measure: what computes the outer bound, searches strategies, and measures plays; `fast_kernel`
            puts its own here.

    Raises:
        FormatError, CertificateError: the document is not a certificate, or there is no game to check it on.
    """
    doc = check_keys(document, "spverify-certificate", ("claim", "game", "game_sha256", "evidence"))
    if doc["game"] is not None:
        own = parse_game(doc["game"])
        if game is not None and game.sha256 != own.sha256:
            raise CertificateError("the certificate carries another game than the one given", field="game")
        game = own
    if game is None:
        raise CertificateError("the certificate carries no game; give the game file as well", field="game")
    claim = _claim(doc["claim"])
    evidence = check_fields(doc["evidence"], "evidence", (), ("multipliers", "potentials", "play", "objective"))
    try:
        objective = objective_tensor(game, claim.objective, evidence.get("objective"))
    except UsageError as error:
        raise CertificateError(error.message, field="claim.objective") from None
    sentence = claim.sentence(game)
    if doc["game_sha256"] != game.sha256:
        return Recheck(False, sentence, claim.value, "the game is not the one the certificate was made for (sha256)")
    if claim.kind in ("upper", "lower"):
        reason = _check_outer(game, claim, objective, evidence, max_nodes, outer, strategic)
    else:
        reason = _check_play(game, claim, objective, evidence, measure)
    return Recheck(reason is None, sentence, claim.value, reason)


def _claim(value: object) -> Claim:
    fields = check_fields(value, "claim", ("kind", "set", "objective", "epsilon", "value"))
    for name, allowed in (("kind", KINDS), ("set", SETS)):
        if not isinstance(fields[name], str) or fields[name] not in allowed:
            raise CertificateError(f"expected one of {', '.join(allowed)}", field=f"claim.{name}")
    if not isinstance(fields["objective"], str):
        raise CertificateError("expected the name of an objective", field="claim.objective")
    epsilon = parse_number(fields["epsilon"], "claim.epsilon")
    if epsilon < 0:
        raise CertificateError("expected a number that is not negative", field="claim.epsilon")
    return Claim(
        fields["kind"],
        fields["set"],
        fields["objective"],
        epsilon,
        parse_number(fields["value"], "claim.value"),
    )


def parse_multipliers(value: object, game: PlainGame) -> tuple[list[tuple[int, int, int, Fraction]], str | None]:
    """The multipliers of a certificate, and why they prove nothing if they do not."""
    if not isinstance(value, list):
        raise CertificateError("expected a list of [player, type, deviation, number]", field="evidence.multipliers")
    p, out = marginals(game), []
    seen: set[tuple[int, int, int]] = set()
    for k, item in enumerate(value):
        where = f"evidence.multipliers[{k}]"
        if not isinstance(item, list) or len(item) != 4 or any(type(x) is not int for x in item[:3]):
            raise CertificateError("expected [player, type, deviation, number]", field=where)
        i, t, a = item[:3]
        y = parse_number(item[3], where + "[3]")
        if not (0 <= i < game.n and 0 <= t < game.type_shape[i] and 0 <= a < game.action_shape[i]):
            return [], f"multiplier {k} speaks of a player, type or deviation that the game does not have"
        if y < 0:
            return [], f"multiplier {k} is negative"
        if (i, t, a) in seen:
            return [], f"multiplier {k} repeats a row"
        seen.add((i, t, a))
        if y and (not game.feasible[i][t][a] or p[i][t] == 0):
            return [], f"multiplier {k} is on a deviation that is not feasible or on a type of probability 0"
        if y:
            out.append((i, t, a, y))
    return out, None


def potential_axes(game: PlainGame, j: int) -> tuple[int, ...]:
    """The axes of player j's potential: types and actions, length 1 on its own action."""
    actions = game.action_shape
    return game.type_shape + actions[:j] + (1,) + actions[j + 1 :]


def parse_potentials(value: object, game: PlainGame) -> list[Tensor]:
    """The potentials of a certificate: one array a player, length 1 on its own action axis."""
    if not isinstance(value, list) or len(value) != game.n:
        raise CertificateError("expected one array a player", field="evidence.potentials")
    return [
        parse_tensor(item, potential_axes(game, j), f"evidence.potentials[{j}]", broadcast=False)
        for j, item in enumerate(value)
    ]


def _check_outer(
    game: PlainGame,
    claim: Claim,
    objective: Tensor,
    evidence: dict[str, Any],
    max_nodes: int,
    outer: Callable[..., Fraction],
    strategic: Callable[..., tuple[bool, int]],
) -> str | None:
    if evidence.get("play") is not None:
        raise CertificateError("a bound is proved by multipliers, not by a play", field="evidence.play")
    multipliers, wrong = parse_multipliers(evidence.get("multipliers"), game)
    if wrong:
        return wrong
    potentials = None
    if evidence.get("potentials") is not None:
        if claim.equilibrium_set == "tc":
            return "potentials prove nothing about the type-conditional set"
        potentials = parse_potentials(evidence["potentials"], game)
    proof = {
        "objective": objective,
        "sense": claim.kind,
        "epsilon": claim.epsilon,
        "multipliers": multipliers,
    }
    bound = outer(game, potentials=potentials, **proof)
    if (bound <= claim.value) if claim.kind == "upper" else (bound >= claim.value):
        return None
    if claim.equilibrium_set == "sf":
        holds, nodes = strategic(game, value=claim.value, max_nodes=max_nodes, **proof)
        if holds:
            return None
        if nodes > max_nodes:
            return f"the strategic-form search did not finish within {max_nodes} nodes"
        claimed = _decimal(claim.value, "nearest")
        return f"the multipliers do not prove the bound {claimed} over the strategic-form set"
    out, back = ("up", "down") if claim.kind == "upper" else ("down", "up")
    return f"the multipliers prove only {_decimal(bound, out)}, not {_decimal(claim.value, back)}"


def _check_play(
    game: PlainGame,
    claim: Claim,
    objective: Tensor,
    evidence: dict[str, Any],
    measure: Callable[..., tuple[Fraction, Fraction]],
) -> str | None:
    if evidence.get("play") is None:
        raise CertificateError("is missing", field="evidence.play")
    if evidence.get("multipliers") or evidence.get("potentials"):
        raise CertificateError("multipliers and potentials prove bounds, not plays", field="evidence")
    try:
        play = parse_play(evidence["play"], game)
    except FormatError as error:
        error.field = "evidence.play" + (f".{error.field}" if error.field else "")
        raise
    if play.kind == "log":
        raise CertificateError("a log certifies no play; give the play itself", field="evidence.play")
    conditional = conditional_cells(game, play)
    if SETS.index(smallest_set(game, play, conditional)) > SETS.index(claim.equilibrium_set):
        return f"the play is not shown to belong to the {SET_NAMES[claim.equilibrium_set]}"
    gap, value = measure(game, conditional, objective)
    if claim.kind == "gap":
        return None if gap == claim.value else f"the gap is {_decimal(gap, 'nearest')}, not what is claimed"
    if value != claim.value:
        return f"the play is worth {_decimal(value, 'nearest')}, not what is claimed"
    if gap <= claim.epsilon:
        return None
    return f"a deviation gains {_decimal(gap, 'up')}, more than epsilon {_decimal(claim.epsilon, 'down')}"
