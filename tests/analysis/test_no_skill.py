"""The best of many blind trials is compared with luck, not with one half."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fts.analysis.luck import expected_maximum_normal, no_skill_search, null_aucs
from fts.scores.metrics import auc
from tests.analysis.planted import probabilities, slow_noise, threshold_labels


def test_the_best_of_fifty_blind_trials_is_not_beyond_luck():
    rng = np.random.default_rng(0)
    y, _ = threshold_labels(rng, 400, horizon=3)
    blind = [probabilities(slow_noise(rng, 400, 0.9)) for _ in range(50)]
    best = max(blind, key=lambda p: auc(y, p, None)[0])
    search = no_skill_search(y, best, n_trials=50, horizon=3)
    assert search.observed > 0.56  # looks like skill
    assert not search.beyond_luck
    assert abs(search.deflated - 0.5) < 0.03
    assert search.p_value > 0.05


def test_real_skill_stays_beyond_luck():
    rng = np.random.default_rng(1)
    signal = slow_noise(rng, 600, 0.9)
    y = (rng.random(600) < probabilities(1.5 * signal)).astype(float)
    search = no_skill_search(y, probabilities(signal), n_trials=50, horizon=1)
    assert search.beyond_luck
    assert 0.5 < search.deflated < search.observed
    assert search.p_told == "p < 0.025", "no simulation came so far: only a bound is known"


def test_simulated_and_analytic_maximum_agree():
    rng = np.random.default_rng(2)
    y, _ = threshold_labels(rng, 500, horizon=1)
    search = no_skill_search(y, probabilities(slow_noise(rng, 500, 0.8)), n_trials=50, horizon=1)
    assert search.expected_best == pytest.approx(search.expected_best_formula, abs=0.01)


def test_one_trial_expects_one_half():
    rng = np.random.default_rng(3)
    y, _ = threshold_labels(rng, 500, horizon=1)
    search = no_skill_search(y, rng.random(500), n_trials=1, horizon=1)
    assert search.expected_best == pytest.approx(0.5, abs=0.005)


def test_slow_predictions_are_luckier_than_fast_ones():
    rng = np.random.default_rng(4)
    y, _ = threshold_labels(rng, 500, horizon=5)
    slow = no_skill_search(y, probabilities(slow_noise(rng, 500, 0.97)), n_trials=20, horizon=5)
    fast = no_skill_search(y, rng.random(500), n_trials=20, horizon=5)
    assert slow.expected_best > fast.expected_best


def test_the_vectorised_null_is_the_auc_of_each_shuffled_copy():
    rng = np.random.default_rng(5)
    y = (rng.random(60) < 0.4).astype(float)
    p = np.arange(60.0)
    null = null_aucs(y, p, block=1, seed=9, n=3)
    from arch.bootstrap import StationaryBootstrap

    drawn = StationaryBootstrap(1, p, seed=np.random.default_rng(9)).bootstrap(3)
    assert null == pytest.approx([roc_auc_score(y, copy[0]) for copy, _ in drawn])


def test_the_expected_maximum_of_fifty_normals_is_the_tabled_one():
    assert expected_maximum_normal(50) == pytest.approx(2.249, abs=0.03)
