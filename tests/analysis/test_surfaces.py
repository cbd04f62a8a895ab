"""Horizons of one truth and unequal noise are rarely called different; horizons that want other settings are."""

import numpy as np
import pytest

from fts.analysis.surfaces import p_common

BEST, OTHER = np.array([0.2, 0.7, 0.5]), np.array([0.7, 0.3, 0.5])
SIGNAL = 0.35  # the spread of the bowl over the searched space
ROUNDS = 100


def searched(best, noise, rng, n=40):
    """A random search of a bowl: configurations (n, 3) and losses; noise in units of the bowl's own spread."""
    x = rng.random((n, 3))
    bowl = ((x - best) ** 2 * np.array([1.0, 0.6, 0.3])).sum(axis=1)
    return x, bowl + noise * SIGNAL * rng.standard_normal(n)


def called_different(noises, bests, rounds=ROUNDS):
    found = 0
    for seed in range(rounds):
        rng = np.random.default_rng(seed)
        cells = [searched(best, noise, rng) for noise, best in zip(noises, bests, strict=True)]
        found += p_common([x for x, _ in cells], [y for _, y in cells], seed) < 0.05
    return found / rounds


@pytest.mark.parametrize(
    "noises",
    [
        (0.3, 1, 3),
        pytest.param((0.3, 0.3, 0.3), marks=pytest.mark.slow),
        pytest.param((3, 3, 0.1), marks=pytest.mark.slow),
    ],
)
def test_one_truth_under_unequal_noise_is_rarely_called_different(noises):
    assert called_different(noises, (BEST, BEST, BEST)) <= 0.1  # 5 of 100, and room for chance


def test_other_best_settings_are_found():
    assert called_different((0.3, 0.3, 0.3), (BEST, BEST, OTHER), rounds=20) >= 0.9


def test_what_is_best_at_one_horizon_and_worst_at_the_other_is_no_common_surface():
    rng = np.random.default_rng(0)
    x = rng.random((40, 3))
    slope = x @ np.array([1.0, 0.5, 0.2])
    assert p_common((x, x), (slope + 0.05 * rng.standard_normal(40), -slope + 0.05 * rng.standard_normal(40))) < 0.01


@pytest.mark.parametrize("n", [5, 11])
def test_too_few_trials_for_a_surface_give_no_answer(n):
    rng = np.random.default_rng(0)
    cells = [searched(BEST, 0.3, rng, n) for _ in range(2)]
    assert p_common([x for x, _ in cells], [y for _, y in cells]) is None
