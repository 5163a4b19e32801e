"""A price mechanism as a decision tree: what is said, who is offered the item at what price, and what follows.

The tree is data (text, the edge that leads to it, and what comes next); renderings draw it as nested lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from ..trained_leaders.settings.prices import SequentialPrices
from .robustness import Profile
from .subject import Subject

MOST_PROFILES = 32
"""So many message profiles are drawn; of more, those that some types send."""


def price_tree(subject: Subject, profile: Profile) -> dict[str, Any] | None:
    """The tree of a price mechanism; None in other settings.

    Args:
        subject: the leader.
        profile: for each buyer the message that each type sends, to say from whom a message comes.
    """
    setting = subject.setting
    if not isinstance(setting, SequentialPrices):
        return None
    n = len(setting.values)
    senders = [
        [[value for value, sent in zip(own, says, strict=True) if sent == m] for m in range(setting.messages)]
        for own, says in zip(setting.values, profile, strict=True)
    ]
    profiles = list(product(range(setting.messages), repeat=n))
    few = len(profiles) <= MOST_PROFILES
    branches = []
    for said in profiles:
        from_whom = [senders[i][m] for i, m in enumerate(said)]
        if not few and not all(from_whom):
            continue
        words = "; ".join(f"buyer {i} says {m} ({_values(from_whom[i])})" for i, m in enumerate(said))
        branches += _next(subject, said, from_whom, tuple(range(n)), words)
    left_out = "" if len(branches) >= len(profiles) else f", {len(profiles) - len(branches)} that nobody sends left out"
    return {"edge": "", "text": f"The buyers send messages{left_out}", "children": branches}


def _values(values: Sequence[Fraction]) -> str:
    if not values:
        return "no type does"
    return f"value{'s' if len(values) > 1 else ''} {', '.join(map(str, values))}"


def _next(
    subject: Subject, said: tuple[int, ...], left_types: Sequence[Sequence[Fraction]], left: tuple[int, ...], edge: str
) -> list[dict[str, Any]]:
    """What the leader does next, one node an action that it may take; the end of the tree where nobody is left."""
    setting = subject.setting
    assert isinstance(setting, SequentialPrices)
    if not left:
        return [{"edge": edge, "text": "the item is not sold", "children": []}]
    offset = 0
    for message in said:
        offset = offset * setting.messages + message
    row = subject.leader.rows[offset * len(setting.groups) + setting.groups.index(left)]
    out = []
    for action, probability in enumerate(row):
        if not probability:
            continue
        buyer, k = divmod(action, len(setting.price_grid))
        price, buys = setting.price_grid[k], setting.acceptance(buyer)[k]
        accepts = [v for v, yes in zip(setting.values[buyer], buys, strict=True) if yes and v in left_types[buyer]]
        declines = [v for v in left_types[buyer] if v not in accepts]
        chance = "" if probability == 1 else f", with probability {probability}"
        sold = {"edge": f"buys ({_values(accepts)})", "text": f"sold to buyer {buyer} for {price}", "children": []}
        others = tuple(j for j in left if j != buyer)
        rest = _next(subject, said, left_types, others, f"declines ({_values(declines)})")
        out.append({"edge": edge, "text": f"offer to buyer {buyer} at {price}{chance}", "children": [sold, *rest]})
    return out
