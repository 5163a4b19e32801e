"""The interval for the population gap behind a log covers it, also under drift, and admits knowing nothing."""

from fractions import Fraction

import numpy as np
import pytest

from spverify.solvers.learners import Exp3, IteratedBestResponse, RegretMatchingPlus, run_learners
from spverify.verify.confidence import check_independence, estimate_gap, estimate_mean
from spverify.verify.convergence import regret_path
from spverify.verify.errors import SpverifyError, UsageError
from spverify.verify.game import BayesianGame
from spverify.verify.histories import History
from spverify.verify.play import MixturePlay, PlayLog
from spverify.verify.regret import assess, interim_regrets

GAME = BayesianGame(
    np.array([[0.4, 0.1], [0.2, 0.3]]),
    [np.random.default_rng(i).random((2, 2, 2, 2)) for i in range(2)],
)


def drifting_log(rounds, seed):
    """Types from the prior, actions from strategies that move all the time; and the strategies themselves."""
    rng = np.random.default_rng(seed)
    phase = np.linspace(0, 6, rounds)
    first = 0.5 + 0.45 * np.sin(phase[:, None] + np.array([0.0, 1.5])[None])
    second = 0.5 + 0.45 * np.cos(2 * phase[:, None] + np.array([0.0, 2.5])[None])
    strategies = [np.stack([x, 1 - x], axis=-1) for x in (first, second)]
    joint = rng.choice(4, size=rounds, p=GAME.prior.ravel())
    types = np.stack(np.unravel_index(joint, (2, 2)), axis=1)
    chance = [strategies[i][np.arange(rounds), types[:, i], 0] for i in range(2)]
    actions = np.stack([(rng.random(rounds) >= p).astype(int) for p in chance], axis=1)
    return PlayLog(types, actions), MixturePlay(None, strategies)


def test_the_interval_covers_the_gap_of_the_averaged_play():
    """300 logs at level .9: misses stay below what a correct interval exceeds with probability 1e-6."""
    missed = 0
    for seed in range(300):
        log, strategies = drifting_log(400, seed)
        regrets = interim_regrets(GAME, strategies.conditional(GAME))
        gap = max(0.0, max(float(rows.max()) for rows in regrets))
        found = estimate_gap(GAME, log, level=0.9)
        covered = found.lower <= gap <= found.upper
        for rows, low, high in zip(regrets, found.regret_lower, found.regret_upper, strict=True):
            covered &= bool((low <= rows).all() and (rows <= high).all())
        missed += not covered
    assert missed <= 56  # 300 * .1 = 30 expected at most; 5 standard deviations above


@pytest.mark.parametrize(
    "rule", [Exp3(rate="tuned"), RegretMatchingPlus(), IteratedBestResponse()], ids=lambda r: r.name
)
def test_the_interval_covers_where_strategies_answer_to_the_log_itself(rule):
    """Learners' logs, each looked at three times: at level .9 at most 8 of 80 are missed, 22 with 5 deviations."""
    missed = 0
    run = run_learners(GAME, rule, 512, seeds=80, rng_seed=3)
    for b in range(80):
        log, path = run.log(b), regret_path(GAME, [x[b] for x in run.strategies])
        bad = False
        for stop in (32, 128, 512):
            found = estimate_gap(GAME, PlayLog(log.types[:stop], log.actions[:stop]), level=0.9)
            gap = max(0.0, *(float(rows[stop - 1].max()) for rows in path))
            bad |= not found.lower <= gap <= found.upper
        missed += bad
    assert missed <= 22


def test_more_rounds_say_more():
    widths = [np.ptp([(g := estimate_gap(GAME, drifting_log(n, 1)[0])).lower, g.upper]) for n in (100, 1000, 20_000)]
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.15


def test_unvisited_types_leave_the_gap_open():
    log = PlayLog(np.zeros((1000, 2), dtype=int), np.zeros((1000, 2), dtype=int))
    found = estimate_gap(GAME, log)
    assert found.upper >= max(GAME.payoff_range(i) for i in range(2)) - 1e-12
    assert found.visits[0].tolist() == [1000, 0]


def test_one_action_has_no_gap():
    game = BayesianGame([[1]], [[[[[5]]]], [[[[7]]]]])
    found = estimate_gap(game, PlayLog([[0, 0]], [[0, 0]]))
    assert (found.lower, found.upper) == (0, 0)


def test_wrong_arguments():
    log, _ = drifting_log(10, 0)
    with pytest.raises(SpverifyError, match="level"):
        estimate_gap(GAME, log, level=1.0)
    with pytest.raises(SpverifyError, match="from 0 to 1"):
        estimate_gap(GAME, PlayLog([[0, 2]], [[0, 0]]))


def test_rounds_can_be_counted_instead_of_kept():
    log, _ = drifting_log(1500, 4)
    whole, counted = estimate_gap(GAME, log), estimate_gap(GAME, History.of(GAME, log))
    assert (whole.lower, whole.upper) == (counted.lower, counted.upper)


def test_the_interval_is_the_formula_of_theory_t6():
    """One row round by round: centre from the rounds before the last power of two, best lambda of the grid."""
    game = BayesianGame([[1, 1]], [np.array([[[[0.0, 1.0], [2.0, -1.0]]]]), np.zeros((1, 1, 1, 1))])
    rng = np.random.default_rng(0)
    types = np.stack([np.zeros(300, int), rng.integers(0, 2, 300)], axis=1)
    actions = rng.integers(0, 2, (300, 2))
    found = estimate_gap(game, PlayLog(types, actions), level=0.9)
    x = np.array([[0.0, 1.0], [2.0, -1.0]])[1, actions[:, 1]] - game.payoffs[0][0, 0][tuple(actions.T)]
    variation = 0.0
    for t in range(300):
        known = 0 if t == 0 else 2 ** (t.bit_length() - 1)
        variation += (x[t] - x[:known].sum() / max(1, known)) ** 2
    c = 4.0  # gains of action 1 are -2 to 2
    steps = 0.8 * 2.0 ** (-np.arange(40) / 2) / c
    psi = (-np.log(1 - c * steps) - c * steps) / c**2
    rows = 2 + 2 * 2
    radius = ((np.log(2 * rows * 40 / 0.1) + psi * variation) / steps).min()
    assert found.regret_upper[0][0, 1] == pytest.approx((x.sum() + radius) / 300, rel=1e-9)
    assert found.regret_lower[0][0, 1] == pytest.approx((x.sum() - radius) / 300, rel=1e-9)


def test_it_covers_at_every_time_at_once():
    """A watcher who looks at 40 points of the same log, and stops at the worst, is not misled more often either."""
    missed = 0
    for seed in range(60):
        log, strategies = drifting_log(800, 1000 + seed)
        bad = False
        for stop in range(20, 801, 20):
            part = MixturePlay(None, [x[:stop] for x in strategies.strategies])
            gap = max(0.0, max(float(rows.max()) for rows in interim_regrets(GAME, part.conditional(GAME))))
            found = estimate_gap(GAME, PlayLog(log.types[:stop], log.actions[:stop]), level=0.8)
            bad |= not found.lower <= gap <= found.upper
        missed += bad
    assert missed <= 28  # 12 expected at most; 5 standard deviations above


# ---------------------------------------------------------------------------------------- planted plays

STEP = BayesianGame([1], [[[0, 1]]])
"""One player: action 1 is worth 1 more, so that the gap of a play is how often it takes action 0."""


def worker_log(chances, rng):
    """Action 0 with these chances, round by round."""
    actions = (rng.random(len(chances)) >= chances).astype(int)
    return PlayLog(np.zeros((len(chances), 1), int), actions[:, None])


@pytest.mark.parametrize("kind", ["steady", "late", "early", "waves"])
def test_plays_just_above_epsilon_rarely_hold(kind):
    """Gap planted at .22: 'holds at .2' is said in at most 5% of logs (here 400, so at most 42 with 5 deviations)."""
    rounds = 3000
    time = np.arange(rounds) / rounds
    chances = {
        "steady": np.full(rounds, 0.22),
        "late": np.where(time < 0.78, 0.0, 1.0),
        "early": np.where(time < 0.22, 1.0, 0.0),
        "waves": 0.22 + 0.2 * np.sin(40 * time * np.pi),
    }[kind]
    assert chances.mean() == pytest.approx(0.22, abs=1e-3)
    rng = np.random.default_rng(7)
    holds = sum(estimate_gap(STEP, worker_log(chances, rng)).upper <= 0.2 for _ in range(400))
    assert holds <= 42


def test_thin_data_decides_nothing_and_much_data_does():
    rng = np.random.default_rng(0)
    thin = estimate_gap(STEP, worker_log(np.full(30, 0.2), rng))
    assert thin.lower <= 0.05 < 0.35 <= thin.upper
    much = estimate_gap(STEP, worker_log(np.full(20_000, 0.2), rng))
    assert 0.15 < much.lower < 0.2 < much.upper < 0.25


def plug_in_interval(x):
    """What a plain check does: mean and 1.96 standard errors of the row that looks worst."""
    means = x.mean(axis=0)
    worst = means.argmax()
    return means[worst] - 1.96 * x[:, worst].std() / np.sqrt(len(x))


def test_a_naive_plug_in_check_accuses_the_innocent():
    """20 worthless deviations with gains of +-1: the naive 95% check often refutes gap 0, the interval never."""
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (21, 64))
    signs[0] = 0.0
    centred = signs - signs.mean(axis=1, keepdims=True)
    game = BayesianGame([[1]], [centred.reshape(1, 1, 21, 64), np.zeros((1, 1, 1, 64))])
    rng = np.random.default_rng(0)
    naive = ours = 0
    for _ in range(100):
        other = rng.integers(0, 64, 400)
        log = PlayLog(np.zeros((400, 2), int), np.stack([np.zeros(400, int), other], axis=1))
        naive += plug_in_interval(centred[1:, other].T) > 0
        ours += estimate_gap(game, log).lower > 0
    assert naive > 25
    assert ours == 0


def predictable_plug_in(x, alpha):
    """The predictable plug-in empirical-Bernstein interval (Waudby-Smith, Ramdas 2023), for x in [0, 1]."""
    t = np.arange(1, len(x) + 1)
    mean = (0.5 + np.cumsum(x)) / (t + 1)
    variance = (0.25 + np.cumsum((x - mean) ** 2)) / (t + 1)
    mean, variance = np.r_[0.5, mean[:-1]], np.r_[0.25, variance[:-1]]
    rate = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(t + 1))), 0.75)
    v = (x - mean) ** 2 * (-np.log1p(-rate) - rate)
    centre, radius = (rate * x).sum() / rate.sum(), (np.log(2 / alpha) + v.sum()) / rate.sum()
    return centre - radius, centre + radius


def test_a_betting_sequence_misses_when_strategies_drift():
    """Its weights fall with time, so it estimates a mean of early rounds: every log is missed where ours covers all."""
    rounds = 20_000
    chances = np.where(np.arange(rounds) < rounds // 2, 0.9, 0.1)
    rng = np.random.default_rng(1)
    theirs = ours = 0
    for _ in range(100):
        log = worker_log(chances, rng)
        low, high = predictable_plug_in(1.0 - log.actions[:, 0], 0.05)
        theirs += not low <= chances.mean() <= high
        found = estimate_gap(STEP, log)
        ours += not found.lower <= chances.mean() <= found.upper
    assert theirs == 100
    assert ours <= 5


# ---------------------------------------------------------------------------------------- assumption A2

COMPLETE = BayesianGame(np.ones((1, 1)), [np.zeros((1, 1, 2, 2))] * 2)


def test_independent_play_is_not_accused_even_when_it_drifts():
    """Level .9 each log: at most 10% of 300 logs and 5 deviations; the drift bound is the strategies' own."""
    refuted = 0
    for seed in range(300):
        log, strategies = drifting_log(1000, 5000 + seed)
        drift = max(float(np.abs(np.diff(x, axis=0)).max()) for x in strategies.strategies)
        refuted += check_independence(GAME, log, level=0.9, drift=drift).verdict == "refuted"
    assert refuted <= 55


def test_strategies_that_jump_in_step_do_not_signal():
    """Pooled over rounds the actions are perfectly correlated, yet each round is a product: A1 alone cannot refute."""
    rng = np.random.default_rng(0)
    rounds = 4000
    joint = rng.choice(4, size=rounds, p=GAME.prior.ravel())
    types = np.stack(np.unravel_index(joint, (2, 2)), axis=1)
    both = (np.arange(rounds) // 100) % 2
    found = check_independence(GAME, PlayLog(types, np.stack([both, both], axis=1)))
    assert found.signalling is None
    assert found.verdict == "inconclusive"


def test_an_action_that_follows_anothers_type_is_found():
    rng = np.random.default_rng(0)
    joint = rng.choice(4, size=2000, p=GAME.prior.ravel())
    types = np.stack(np.unravel_index(joint, (2, 2)), axis=1)
    actions = np.stack([types[:, 1], rng.integers(0, 2, 2000)], axis=1)
    for log in (PlayLog(types, actions), History.of(GAME, PlayLog(types, actions))):
        found = check_independence(GAME, log, level=0.999)
        assert found.verdict == "refuted"
        assert found.signalling.players == (0, 1)
        assert abs(found.signalling.measured) > found.signalling.radius


def test_a_common_lottery_is_found_where_strategies_hold_still():
    """Chicken's traffic light: both act on one coin. An own coin each is left alone."""
    rng = np.random.default_rng(0)
    coin = rng.integers(0, 2, 2000)
    zeros = np.zeros((2000, 2), int)
    found = check_independence(COMPLETE, PlayLog(zeros, np.stack([coin, 1 - coin], axis=1)), drift=0.01)
    assert found.verdict == "refuted"
    assert found.signalling is None
    assert found.correlation.players == (1, 0)
    own = check_independence(COMPLETE, PlayLog(zeros, rng.integers(0, 2, (2000, 2))))
    assert own.verdict == "inconclusive"
    assert check_independence(COMPLETE, History.of(COMPLETE, PlayLog(zeros, zeros))).correlation is None


def test_little_data_accuses_nobody():
    log = PlayLog(np.zeros((8, 2), int), [[0, 0], [1, 1]] * 4)
    assert check_independence(COMPLETE, log).verdict == "inconclusive"
    assert check_independence(COMPLETE, PlayLog([[0, 0]], [[0, 0]])).verdict == "inconclusive"
    assert check_independence(BayesianGame([1], [[[0, 1]]]), PlayLog([[0]] * 9, [[0]] * 9)).verdict == "inconclusive"
    with pytest.raises(SpverifyError, match="drift"):
        check_independence(COMPLETE, log, drift=-1.0)


@pytest.mark.parametrize("unit", [1e-170, 1e-300])
def test_gains_too_small_to_be_squared_leave_the_gap_open(unit):
    """Their squares are 0 in doubles; half of a hundred rounds forgo a unit."""
    game = BayesianGame(np.array([1]), [np.array([[0.0, unit]])])
    found = estimate_gap(game, PlayLog([[0]] * 100, [[0], [1]] * 50))
    assert found.lower < 0.5 * unit < found.upper <= unit


def test_payoffs_that_doubles_cannot_tell_apart_leave_the_gap_open():
    game = BayesianGame([1], [[["10000000000000000", "10000000000000000.5"]]])
    log = PlayLog([[0]] * 100, [[0]] * 100)
    assert assess(game, log).gap_exact == Fraction(1, 2)
    assert estimate_gap(game, log).upper >= 0.5
    assert game.payoff_error(0) >= 0.5 and BayesianGame([1], [[[1, 2.5]]]).payoff_error(0) == 0.0


def test_the_mean_of_samples_too_small_to_be_squared():
    samples = np.where(np.arange(200) % 2, 1.0, 0.0)
    (low, high), (tiny_low, tiny_high) = (estimate_mean(s * samples, lowest=0, highest=s) for s in (1.0, 1e-170))
    assert tiny_low / 1e-170 == pytest.approx(low) and tiny_high / 1e-170 == pytest.approx(high)
    with pytest.raises(UsageError, match="at least one sample"):
        estimate_mean([], lowest=0, highest=1)
