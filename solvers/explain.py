"""What holds a range back, in words: the dual prices of its proof, largest first.

A certificate's multiplier y of "type t of player i gains at most epsilon by playing a' always" is what one payoff unit
of room in that row is worth at that end of the range (theory T5). Nothing is computed here but an order.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..verify.errors import printable
from ..verify.game import BayesianGame
from ..verify.kernel import parse_multipliers
from .bounds import Side


@dataclass(frozen=True)
class DualPrice:
    """The price of one regret row.

    Attributes:
        player, type, deviation: which row, as indices.
        price: by how much the end of the range moves outwards for each payoff unit by which this type gains less
            from this deviation, units of the objective for each payoff unit; for small changes.
        sentence: the same in words, with the game's names.
    """

    player: int
    type: int
    deviation: int
    price: Fraction
    sentence: str


def dual_prices(side: Side, game: BayesianGame, *, most: int = 5) -> list[DualPrice]:
    """The dearest regret rows of one end of a range, from the certificate that proves it (theory T5).

    Args:
        side: an end of an `EquilibriumRange`.
        game: its game.
        most: how many to list.

    Example:
        >>> from spverify.solvers.bounds import equilibrium_range
        >>> chicken = BayesianGame([[1]], [[[[[6, 2], [7, 0]]]], [[[[6, 7], [2, 0]]]]])
        >>> found = equilibrium_range(chicken, objective="welfare", equilibrium_set="tc")
        >>> price = dual_prices(found.max, chicken)[0]
        >>> price.player, price.deviation, price.price
        (0, 1, Fraction(3, 4))
    """
    document = side.certificate.content
    rows, _ = parse_multipliers(document["evidence"]["multipliers"], game.plain)
    upper = document["claim"]["kind"] == "upper"
    rows.sort(key=lambda row: (-row[3], *row[:3]))
    return [DualPrice(*row, _sentence(game, row, upper)) for row in rows[:most]]


def _sentence(game: BayesianGame, row: tuple[int, int, int, Fraction], upper: bool) -> str:
    i, t, a, price = row
    player = game.players[i]
    who = player.name if game.type_shape[i] == 1 else f"type {player.types[t]} of {player.name}"
    end, way = ("largest", "rises") if upper else ("smallest", "falls")
    return printable(
        f"the {end} value {way} by {float(price):.4g} for each payoff unit by which {who} gains less "
        f"from playing {player.actions[a]} always"
    )
