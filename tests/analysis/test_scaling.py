"""A planted law is recovered, a constant is not called a law, and two sizes give no slope."""

import numpy as np
import pytest

from fts.analysis.scaling import ERROR, TooFewSizes, fit_power_law, fit_scaling
from fts.analysis.scaling_interval import SeedNoise, bounds, covariance

SIZES = np.array([2e6, 2e7, 2e8, 2e9])


def law(n, floor=0.5, scale=0.15, alpha=0.3):
    return floor + scale * (n / 2e6) ** -alpha


def test_a_noiseless_law_is_recovered():
    found = fit_power_law(SIZES, law(SIZES))
    assert (found.floor, found.scale, found.alpha) == pytest.approx((0.5, 0.15, 0.3), rel=0.02)
    assert found(2e10) == pytest.approx(law(2e10), rel=0.01)


def test_a_planted_law_is_recovered_within_its_interval():
    rng = np.random.default_rng(0)
    sizes = np.repeat(SIZES, 5)
    fit = fit_scaling(sizes, law(sizes) + 0.003 * rng.standard_normal(len(sizes)))
    assert fit.alpha_low <= 0.3 <= fit.alpha_high
    assert fit.gain_low <= law(2e6) - law(2e9) <= fit.gain_high
    assert fit.verdict == "scales"
    assert fit.left_out_ratio < 1


def test_an_outlier_does_not_carry_the_fit_away():
    sizes = np.repeat(SIZES, 5)
    values = law(sizes)
    values[7] = 0.9
    assert fit_power_law(sizes, values).alpha == pytest.approx(0.3, abs=0.06)


def test_noise_without_a_trend_is_no_scaling():
    rng = np.random.default_rng(1)
    sizes = np.repeat(SIZES, 5)
    fit = fit_scaling(sizes, 0.6 + 0.01 * rng.standard_normal(len(sizes)))
    assert fit.verdict == "no scaling seen"
    assert "constant" in fit.sentence


def days(values, own=0.001, draws=200, seed=2):
    """Resamples of the same days: what all sizes share moves them together."""
    rng = np.random.default_rng(seed)
    return values + 0.02 * rng.standard_normal((draws, 1)) + own * rng.standard_normal((draws, len(values)))


def single(sd, freedom, sizes=4):
    return SeedNoise(sd, freedom, (1.0,) * sizes)


def test_noise_of_days_that_all_sizes_share_cancels():
    fit = fit_scaling(SIZES, law(SIZES), days(law(SIZES)), single(0.001, 20))
    assert fit.gain_high - fit.gain_low < 0.02
    assert fit.verdict == "scales"


def test_days_alone_without_a_spread_over_seeds_cannot_say():
    fit = fit_scaling(SIZES, law(SIZES), days(law(SIZES)))
    assert (fit.verdict, fit.alpha_low, fit.gain_low) == ("cannot say", None, None)
    assert "fts replicate" in fit.sentence


def test_a_wider_or_less_known_spread_over_seeds_widens_both_intervals():
    fits = [
        fit_scaling(SIZES, law(SIZES), days(law(SIZES)), single(sd, freedom))
        for sd, freedom in ((0.001, 20), (0.004, 20), (0.004, 2))
    ]
    assert fits[0].gain_high - fits[0].gain_low < fits[1].gain_high - fits[1].gain_low
    assert fits[1].gain_high - fits[1].gain_low < fits[2].gain_high - fits[2].gain_low
    assert fits[0].alpha_low >= fits[1].alpha_low >= fits[2].alpha_low


def test_a_rise_is_not_hidden():
    fit = fit_scaling(SIZES, law(SIZES)[::-1], days(law(SIZES)), single(0.001, 20))
    assert fit.gain < 0 and fit.gain_high < 0
    assert fit.verdict == "no scaling seen"


@pytest.mark.parametrize("trainings", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("truth", [law(SIZES, scale=0.05), np.full(4, 0.55)], ids=["law", "constant"])
def test_the_intervals_hold_the_truth_in_93_of_100_and_a_constant_scales_in_at_most_3(truth, trainings):
    rng = np.random.default_rng(3)
    sd, rounds, held_fall, held_alpha, fell = 0.004, 200, 0, 0, 0
    for n in range(rounds):
        day = 0.02 * rng.standard_normal() + 0.002 * rng.standard_normal(4)
        trained = truth + day + sd * rng.standard_normal((trainings, 4))
        other = trained if trainings > 1 else sd * rng.standard_normal((3, 1))  # one configuration with three seeds
        freedom = (len(other) - 1) * other.shape[1]
        seeds = SeedNoise(float(np.sqrt(other.var(axis=0, ddof=1).mean())), freedom, (float(trainings),) * 4)
        values = trained.mean(axis=0)
        found = bounds(SIZES / SIZES[0], values, covariance(seeds, days(values, 0.002, seed=n)), seeds)
        held_fall += found.gain_low <= truth[0] - truth[-1] <= found.gain_high
        held_alpha += found.alpha_low <= 0.3 <= found.alpha_high
        fell += found.gain_low > 0
    assert held_fall >= 0.93 * rounds
    assert held_alpha >= 0.93 * rounds
    if truth[0] == truth[-1]:
        assert fell <= 0.03 * rounds


@pytest.mark.parametrize("sizes", [SIZES[:1], SIZES[:2], np.repeat(SIZES[:2], 4)])
def test_fewer_than_three_sizes_are_refused(sizes):
    with pytest.raises(TooFewSizes, match="at least 3"):
        fit_scaling(sizes, law(sizes))


def test_the_sentence_of_an_error_does_not_speak_of_a_loss_in_nats():
    rng = np.random.default_rng(0)
    sizes = np.repeat(SIZES, 5)
    sentence = fit_scaling(sizes, law(sizes) + 0.003 * rng.standard_normal(len(sizes)), what=ERROR).sentence
    assert sentence.startswith("The error 1 - AUC falls") and "nats" not in sentence


def test_three_single_points_without_any_spread_cannot_say():
    fit = fit_scaling(SIZES[:3], law(SIZES[:3]))
    assert fit.verdict == "cannot say"
    assert fit.alpha_low is None


def test_three_sizes_are_enough_where_the_fall_is_far_beyond_the_noise():
    fit = fit_scaling(SIZES[:3], law(SIZES[:3]), seeds=single(0.004, 6, 3))
    assert fit.verdict == "scales"


def test_what_is_not_a_loss_is_refused():
    with pytest.raises(ValueError, match="positive"):
        fit_scaling(SIZES, [0.6, 0.5, 0.0, 0.5])
