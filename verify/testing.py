"""For other people's tests: an assertion about plays, and Hypothesis strategies for games and plays.

`assert_bcce` needs nothing beyond this package. The strategies `games` and `plays` need `hypothesis`, so their module
is imported when one of them is asked for.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .game import BayesianGame
from .plain import parse_number
from .play import Play
from .regret import assess

if TYPE_CHECKING:
    from .strategies import games, plays

__all__ = ["assert_bcce", "games", "plays"]


def __getattr__(name: str) -> Any:
    if name not in ("games", "plays"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import strategies

    return getattr(strategies, name)


def assert_bcce(game: BayesianGame, play: Play, *, epsilon: int | float | str | Fraction = 0) -> None:
    """Fails with a witness unless the play is an epsilon-BCCE, decided exactly (theory T3).

    Args:
        game: the game.
        play: any of the four forms; a log is judged under its own frequencies.
        epsilon: largest allowed gain, payoff units; a string such as ``"0.05"`` is exactly that.

    Raises:
        AssertionError: naming the player, type and deviation that gain more.
    """
    report = assess(game, play)
    allowed = parse_number(epsilon, "epsilon")
    if report.gap_exact > allowed:
        found = report.witness
        assert found is not None
        player = game.players[found.player]
        raise AssertionError(
            f"not an epsilon-BCCE for epsilon = {float(allowed):g}: {player.name} of type {player.types[found.type]} "
            f"gains {found.gain:g} by always playing {player.actions[found.deviation]}"
        )
