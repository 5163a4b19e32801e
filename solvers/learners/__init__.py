"""Followers' response algorithms (theory T7): independent learners, one per (player, own type), batched over seeds.

`rules` says how a copy turns feedback into its next strategy, `run` lets copies play, `bounds` has the inequalities of
theory T7. What a run is worth is decided elsewhere (`verify`).
"""

from .bounds import regret_bound
from .rules import (
    LEARNERS,
    Exp3,
    FictitiousPlay,
    FollowThePerturbedLeader,
    IteratedBestResponse,
    Learner,
    MultiplicativeWeights,
    OptimisticHedge,
    RegretMatching,
    RegretMatchingPlus,
)
from .run import MODES, READOUTS, LearnerRun, run_games, run_learners

__all__ = [
    "LEARNERS",
    "MODES",
    "READOUTS",
    "Exp3",
    "FictitiousPlay",
    "FollowThePerturbedLeader",
    "IteratedBestResponse",
    "Learner",
    "LearnerRun",
    "MultiplicativeWeights",
    "OptimisticHedge",
    "RegretMatching",
    "RegretMatchingPlus",
    "regret_bound",
    "run_games",
    "run_learners",
]
