"""What several files here share."""

from __future__ import annotations

import pytest

from spverify.trained_leaders.settings import get_setting


@pytest.fixture
def optimal_prices() -> list[int]:
    """A table for mspm-pi that loses no welfare with followers who say their type (docs/settings.md)."""
    setting = get_setting("mspm-pi")
    codes = [(1, ".01", ".01"), (1, ".39", ".01"), (0, ".21", ".01"), (0, ".21", ".43")]
    return [
        setting.action_index(buyer, price)
        for first, price, second in codes
        for buyer, price in ((first, price), (0, second), (1, second))
    ]
