"""A planted law is recovered, a constant is not called a law, and two sizes give no slope."""

import numpy as np
import pytest

from fts.analysis.scaling import ERROR, TooFewSizes, fit_power_law, fit_scaling

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


def test_resampled_days_carry_the_interval_of_single_points():
    rng = np.random.default_rng(2)
    shared = 0.02 * rng.standard_normal((200, 1))
    draws = law(SIZES) + shared + 0.001 * rng.standard_normal((200, 4))
    fit = fit_scaling(SIZES, law(SIZES), draws)
    assert fit.gain_high - fit.gain_low < 0.02  # noise that all sizes share cancels
    assert fit.verdict == "scales"


@pytest.mark.parametrize("sizes", [SIZES[:1], SIZES[:2], np.repeat(SIZES[:2], 4)])
def test_fewer_than_three_sizes_are_refused(sizes):
    with pytest.raises(TooFewSizes, match="at least 3"):
        fit_scaling(sizes, law(sizes))


def test_the_sentence_of_an_error_does_not_speak_of_a_loss_in_nats():
    rng = np.random.default_rng(0)
    sizes = np.repeat(SIZES, 5)
    sentence = fit_scaling(sizes, law(sizes) + 0.003 * rng.standard_normal(len(sizes)), what=ERROR).sentence
    assert sentence.startswith("The error 1 - AUC falls") and "nats" not in sentence


def test_three_single_points_fit_any_law_and_so_cannot_say():
    fit = fit_scaling(SIZES[:3], law(SIZES[:3]))
    assert fit.verdict == "cannot say"
    assert fit.alpha_low is None


def test_what_is_not_a_loss_is_refused():
    with pytest.raises(ValueError, match="positive"):
        fit_scaling(SIZES, [0.6, 0.5, 0.0, 0.5])
