"""Intervals that hold what they promise, and metrics that agree with scikit-learn."""

import numpy as np
import pytest
from scipy.special import stdtrit
from sklearn import metrics as reference
from statsmodels.stats.proportion import proportion_confint

from benchmarks.coverage import Kind, covered
from fts.scores.calibration import rate_intervals, wilson
from fts.scores.dependence import TooFewSamples, block_length, blocks_variance, effective_size, slow_variance, widening
from fts.scores.intervals import Interval, auc_interval, calibration_interval, compare, measure, resample
from fts.scores.metrics import (
    METRICS,
    auc,
    auc_influence,
    calibration_bins,
    expected_calibration_error,
    precision_at,
    recall_at,
)
from tests.analysis.planted import probabilities, slow_noise, threshold_labels


def tossed(n=300, seed=0, decimals=2):
    """Labels and predictions with ties and some skill."""
    rng = np.random.default_rng(seed)
    p = rng.random(n).round(decimals)
    return (rng.random(n) < p).astype(float), np.clip(p, 0.01, 0.99)


def repeated(y, p, weights):
    index = np.repeat(np.arange(len(y)), weights.astype(int))
    return y[index], p[index]


@pytest.mark.parametrize(
    ("name", "slow"),
    [
        ("auc", reference.roc_auc_score),
        ("average_precision", reference.average_precision_score),
        ("log_loss", reference.log_loss),
        ("brier", reference.brier_score_loss),
    ],
)
def test_weighted_metrics_equal_scikit_learn_on_the_repeated_samples(name, slow):
    y, p = tossed()
    weights = resample(len(y), 5, seed=1, n=20)
    fast = METRICS[name](y, p, weights)
    assert fast == pytest.approx([slow(*repeated(y, p, w)) for w in weights], abs=1e-12)
    assert METRICS[name](y, p, None)[0] == pytest.approx(slow(y, p), abs=1e-12)


def test_precision_and_recall_at_a_rate_flag_exactly_that_share():
    y = np.array([1, 1, 0, 1, 0, 0, 0, 0, 0, 0.0])
    p = np.linspace(0.9, 0.1, 10)
    assert precision_at(y, p, None, rate=0.4)[0] == pytest.approx(3 / 4)
    assert recall_at(y, p, None, rate=0.2)[0] == pytest.approx(2 / 3)


def test_a_constant_predictor_has_the_base_rate_as_precision():
    y, _ = tossed()
    assert precision_at(y, np.full(len(y), 0.3), None, rate=0.1)[0] == pytest.approx(y.mean())


def test_calibration_error_is_small_for_honest_and_large_for_boastful_probabilities():
    y, p = tossed(4000, decimals=4)
    assert expected_calibration_error(y, p, None)[0] < 0.03
    assert expected_calibration_error(y, np.clip(p + 0.2, 0, 1), None)[0] > 0.15
    assert sum(b.n for b in calibration_bins(y, p)) == 4000


def test_the_variance_of_the_influence_is_the_variance_of_the_auc():
    y, p = tossed(400)
    by_resampling = auc(y, p, resample(400, 1, seed=0, n=4000)).std()
    assert auc_influence(y, p).std() / np.sqrt(400) == pytest.approx(by_resampling, rel=0.07)


def test_what_blocks_see_of_a_variance_has_a_closed_form():
    series = slow_noise(np.random.default_rng(3), 600, 0.8)
    by_resampling = 600 * (resample(600, 20, seed=0, n=4000) @ series / 600).var()
    assert blocks_variance(series, 20) == pytest.approx(by_resampling, rel=0.1)
    assert effective_size(series, 20) <= 600 * series.var() / blocks_variance(series, 20)


def test_without_skill_the_interval_covers_one_half_about_95_percent_of_the_time():
    rng = np.random.default_rng(5)
    covered = 0
    for turn in range(200):
        y, _ = threshold_labels(rng, 400, horizon=5)
        p = probabilities(slow_noise(rng, 400, 0.9))
        low, high = auc_interval(y, p, horizon=5, seed=turn, n=200)
        covered += low <= 0.5 <= high
    assert 0.90 <= covered / 200 <= 0.99


def noisy_mood(rng, n, persistence):
    """A slow part under noise of the same size, n: what a daily score looks like where moods last."""
    return slow_noise(rng, n, persistence) + rng.standard_normal(n)


def test_the_variance_of_a_slow_mean_is_found_where_blocks_see_less_than_half_of_it():
    """640 days of an AR(.97) under noise: N times the variance of their mean, over 40 samples."""
    rng = np.random.default_rng(11)
    truth = 640 * np.var([noisy_mood(rng, 640, 0.97).mean() for _ in range(1000)])
    samples = [noisy_mood(rng, 640, 0.97) for _ in range(40)]
    by_blocks = np.median([blocks_variance(sample, 25) for sample in samples])
    fitted = np.median([slow_variance(sample) for sample in samples])
    assert by_blocks < 0.5 * truth
    assert 0.55 * truth < fitted < 1.5 * truth


def test_independent_days_have_no_slow_part_and_constant_ones_no_variance():
    rng = np.random.default_rng(12)
    assert sum(slow_variance(rng.standard_normal(640)) > 0 for _ in range(60)) <= 3
    assert slow_variance(np.full(640, 0.3)) == 0
    assert effective_size(np.full(640, 0.3), 25) == 640
    assert widening(np.full(640, 0.3), 1) == pytest.approx(1, abs=0.01)


def test_intervals_hold_the_truth_more_often_where_moods_last_for_months():
    """Thirty made-up splits; `python -m benchmarks coverage --full` makes 300 of each kind."""
    for row in covered(Kind("moods of months", 0.97), samples=30):
        assert row.ours >= 80 and row.ours >= row.reference


def test_blocks_give_wider_intervals_than_single_days_on_overlapping_labels():
    rng = np.random.default_rng(7)
    y, log_vol = threshold_labels(rng, 600, horizon=5)
    p = probabilities(log_vol)
    single_days = np.ptp(np.quantile(auc(y, p, resample(600, 1, seed=0)), [0.025, 0.975]))
    low, high = auc_interval(y, p, horizon=5, seed=0)
    assert high - low > 1.2 * single_days
    assert measure(y, p, horizon=5, n=100).n_effective < 400


def test_a_planted_difference_is_clear_and_none_is_not():
    rng = np.random.default_rng(11)
    y, log_vol = threshold_labels(rng, 800, horizon=3)
    skilled = probabilities(log_vol)
    blind = probabilities(slow_noise(rng, 800, 0.9))
    also_skilled = probabilities(log_vol + 0.1 * rng.standard_normal(800))
    assert compare(y, skilled, blind, horizon=3).clear
    assert compare(y, skilled, blind, horizon=3, metric="brier").interval.value < 0
    assert not compare(y, skilled, also_skilled, horizon=3).clear


def test_pairing_is_narrower_than_two_intervals_suggest():
    rng = np.random.default_rng(13)
    y, log_vol = threshold_labels(rng, 600, horizon=3)
    first, second = probabilities(log_vol), probabilities(log_vol + 0.3 * rng.standard_normal(600))
    paired = compare(y, first, second, horizon=3).interval
    alone = measure(y, first, horizon=3, n=300).auc
    assert paired.high - paired.low < alone.high - alone.low


def test_same_seed_same_interval():
    y, p = tossed()
    assert auc_interval(y, p, horizon=1, seed=4) == auc_interval(y, p, horizon=1, seed=4)
    assert auc_interval(y, p, horizon=1, seed=4) != auc_interval(y, p, horizon=1, seed=5)


def test_the_block_is_never_shorter_than_the_label_overlap():
    assert block_length(np.random.default_rng(0).standard_normal(120), horizon=20) >= 20


def test_a_collapsed_predictor_scores_one_half_and_nothing_else():
    y, _ = tossed()
    assert auc_interval(y, np.full(len(y), 0.3), horizon=1, seed=0) == (0.5, 0.5)


def test_a_perfect_score_from_one_prediction_shows_its_count_and_its_width():
    y = np.zeros(100)
    y[[20, 21, 60, 61, 90]] = 1
    p = np.linspace(0.1, 0.2, 100)
    p[20] = 0.9
    scores = measure(y, p, horizon=1, rate=0.01)
    assert (scores.n_hit, scores.n_flagged) == (1, 1)
    assert scores.precision.value == 1.0
    assert scores.precision.low < 0.3


@pytest.mark.parametrize(
    ("y", "p", "told"),
    [
        (np.ones(50), np.linspace(0, 1, 50), "all 50 labels are 1"),
        (np.r_[np.zeros(4), 1.0], np.linspace(0, 1, 5), "too few"),
        (np.r_[np.zeros(25), np.ones(25)], np.full(50, np.nan), "50 of 50 predictions are not finite"),
        (np.full(50, 0.5), np.linspace(0, 1, 50), "labels must be 0 or 1"),
        (np.zeros(50), np.zeros(49), "two vectors of one length"),
    ],
)
def test_what_cannot_be_scored_is_refused_with_the_reason(y, p, told):
    with pytest.raises(ValueError, match=told):
        auc_interval(y, p, horizon=1, seed=0)


def test_one_class_is_its_own_error():
    with pytest.raises(TooFewSamples):
        measure(np.zeros(40), np.linspace(0, 1, 40), horizon=1)


@pytest.mark.parametrize(("shift", "told"), [(0.0, False), (0.05, None), (0.1, True)])
def test_the_calibration_interval_holds_the_truth_where_percentiles_do_not(shift, told):
    """Forty samples of 645 days whose true rates are known: what was promised, or a little more."""
    held = apart = by_percentiles = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        p = rng.beta(2, 5, 645)
        truth = np.clip(p + shift, 0, 1)
        y = (rng.random(645) < truth).astype(float)
        weights = rng.multinomial(645, np.ones(645) / 645, size=200).astype(float)
        interval, limit = calibration_interval(y, p, weights, wider=1.0)
        error = float(expected_calibration_error(truth, p, None)[0])
        held += interval.covers(error)
        apart += interval.value > limit
        assert interval.low == 0 or interval.value > limit
        low, high = np.quantile(expected_calibration_error(y, p, weights), [0.025, 0.975])
        by_percentiles += low <= error <= high
    assert held >= 34
    if told is False:
        assert apart <= 6 and by_percentiles == 0
    if told:
        assert apart >= 36


def test_a_dot_of_a_calibration_plot_is_known_less_well_where_days_hang_together():
    rng = np.random.default_rng(3)
    state = np.repeat(rng.random(40) < 0.4, 16).astype(float)  # whole stretches of days share their label
    alone = rng.permutation(state)
    p = np.repeat([0.3, 0.5], 320)
    together, apart = (rate_intervals(y, p, block=25)[0] for y in (state, alone))
    assert together.n_effective < 0.3 * apart.n_effective
    assert together.high - together.low > 1.5 * (apart.high - apart.low)
    assert together.low < together.bin.observed < together.high


def test_a_rate_of_nothing_still_has_an_upper_end():
    (dot,) = rate_intervals(np.zeros(50), np.full(50, 0.1), block=5)
    assert dot.low == 0 and 0.05 < dot.high < 0.1
    assert wilson(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    for hits, n in ((0, 7), (3, 12), (80, 100), (100, 100)):
        assert wilson(hits / n, n) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-7)


def test_an_interval_for_many_looks_is_wider_by_students_t_of_its_blocks() -> None:
    """By normal quantiles, 30 looks at nothing gave a clear difference in 6 of 100 searches instead of 2.5."""
    days = np.random.default_rng(1).normal(size=(400, 30, 12))  # searches, looks, independent pieces of days
    mean, sd = days.mean(-1), days.std(-1, ddof=1) / np.sqrt(12)
    alone = stdtrit(11, 0.975) * sd

    def wrong(freedom: float) -> float:
        found = [
            any(Interval(m, m - h, m + h, freedom).at_once(30).low > 0 for m, h in zip(*search, strict=True))
            for search in zip(mean, alone, strict=True)
        ]
        return float(np.mean(found))

    assert wrong(11) < 0.04 < wrong(np.inf)
    assert Interval(1.0, 0.0, 2.0).at_once(1) == Interval(1.0, 0.0, 2.0)


def test_a_comparison_of_days_knows_its_blocks() -> None:
    rng = np.random.default_rng(2)
    y, p, q = rng.integers(0, 2, 300), rng.random(300), rng.random(300)
    found = compare(y, p, q, 21)
    assert found.interval.freedom == pytest.approx(300 / found.block - 1) and found.interval.freedom < 14
    wider = found.interval.at_once(30)
    assert (wider.high - wider.value) / (found.interval.high - wider.value) > 1.7, "1.6 by normal quantiles"
