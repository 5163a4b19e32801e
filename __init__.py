"""spverify: train Stackelberg leaders, and prove what their followers' equilibria can do to them.

The public API is the short list of names below, re-exported lazily: importing the package loads neither numpy
nor torch, so that `spverify recheck` and `spverify --help` stay free of both. Everything else lives in the four
rooms `spverify.verify`, `spverify.solvers`, `spverify.trained_leaders` and `spverify.reports`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reports.audit import audit_leader
    from .solvers.bounds import equilibrium_range
    from .trained_leaders.checkpoint import save_leader_table
    from .trained_leaders.foreign import save_leader
    from .verify.certificate import Certificate
    from .verify.errors import SpverifyError
    from .verify.formats import read_game, read_play, write_game, write_play
    from .verify.game import BayesianGame, Player
    from .verify.kernel import check_certificate
    from .verify.play import ConditionalPlay, MixturePlay, PlanPlay, PlayLog, SparsePlay
    from .verify.regret import assess

__version__ = "0.1.0"

__all__ = [
    "BayesianGame",
    "Certificate",
    "ConditionalPlay",
    "MixturePlay",
    "PlanPlay",
    "PlayLog",
    "Player",
    "SparsePlay",
    "SpverifyError",
    "__version__",
    "assess",
    "audit_leader",
    "check_certificate",
    "equilibrium_range",
    "read_game",
    "read_play",
    "save_leader",
    "save_leader_table",
    "write_game",
    "write_play",
]

_HOME = {
    "BayesianGame": ".verify.game",
    "Certificate": ".verify.certificate",
    "ConditionalPlay": ".verify.play",
    "MixturePlay": ".verify.play",
    "PlanPlay": ".verify.play",
    "PlayLog": ".verify.play",
    "Player": ".verify.game",
    "SparsePlay": ".verify.play",
    "SpverifyError": ".verify.errors",
    "assess": ".verify.regret",
    "audit_leader": ".reports.audit",
    "check_certificate": ".verify.kernel",
    "equilibrium_range": ".solvers.bounds",
    "read_game": ".verify.formats",
    "read_play": ".verify.formats",
    "save_leader": ".trained_leaders.foreign",
    "save_leader_table": ".trained_leaders.checkpoint",
    "write_game": ".verify.formats",
    "write_play": ".verify.formats",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its room on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
