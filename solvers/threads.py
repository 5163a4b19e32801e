"""One thread for linear algebra on many small arrays.

More threads gain nothing there, and on a machine with other work they wait for each other: measured on two busy cores,
ranges over the non-signalling set took 15 to 80 times as long. Whoever has many games to solve uses processes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import ParamSpec, TypeVar

from threadpoolctl import ThreadpoolController

P = ParamSpec("P")
T = TypeVar("T")


@cache
def _libraries() -> ThreadpoolController:
    """What is loaded by now; finding it takes some milliseconds."""
    return ThreadpoolController()


def on_one_thread(function: Callable[P, T]) -> Callable[P, T]:
    """The function, during which BLAS and LAPACK use one thread."""

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> T:
        with _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited
