"""Draws days in blocks: the stationary bootstrap of Politis and Romano, with numpy alone.

The `arch` package has the same to the last bit (tests/analysis/test_bootstrap.py holds both side by side), but to load
it costs a second and 80 MB: too much between two trials, and in a worker that lives for weeks.
"""

# shapes: N samples in time order, R resamples

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def stationary_indices(n_samples: int, block: int, seed: int, n: int) -> Counts:
    """indices_RN: the samples of each of n resamples, in runs of `block` on average that wrap around at the end.

    A resample begins anywhere, and each next sample is with probability 1 / block one drawn at random, else the one
    that follows (Politis and Romano 1994, JASA 89, 1303-1313). Same seed, same indices.
    """
    generator = np.random.default_rng(seed)
    drawn_RN, chance_RN = np.empty((n, n_samples), dtype=np.int64), np.empty((n, n_samples))
    for row in range(n):  # in this order, as arch reads its generator
        drawn_RN[row] = generator.integers(n_samples, size=n_samples, dtype=np.int64)
        chance_RN[row] = generator.random(n_samples)
    begins_RN = chance_RN <= 1.0 / block
    begins_RN[:, 0] = True
    at_N = np.arange(n_samples)
    begin_RN = np.maximum.accumulate(np.where(begins_RN, at_N, 0), axis=1)  # of the run each sample is in
    return (np.take_along_axis(drawn_RN, begin_RN, axis=1) + at_N - begin_RN) % n_samples


def best_block(values: Floats) -> float:
    """The mean block that estimates the variance of the mean of N values in time order best; may be NaN or infinite.

    Politis and White (2004, Econometric Reviews 23, 53-70) with the correction of Patton, Politis and White (2009,
    28, 372-375): (2 g^2 / (2 s^2))^(1/3) N^(1/3) of flat-top weighted autocovariances, at most 3 root N or N / 3.
    """
    n = len(values)
    covariances, correlations = _autocovariances(values, lags=math.ceil(math.sqrt(n)) + _quiet_lags(n))
    bandwidth = _bandwidth(correlations, n)
    slope, variance = 0.0, covariances[0]
    for lag in range(1, bandwidth + 1):
        weight = 1.0 if lag / bandwidth <= 0.5 else 2 * (1 - lag / bandwidth)
        slope += 2 * weight * lag * covariances[lag]
        variance += 2 * weight * covariances[lag]
    best = ((2 * slope**2) / (2 * variance**2)) ** (1 / 3) * n ** (1 / 3)
    return float(min(best, math.ceil(min(3 * math.sqrt(n), n / 3))))


def _autocovariances(values: Floats, lags: int) -> tuple[Floats, Floats]:
    """Covariances of values with those `lag` before, and their correlations without sign, for lag = 0..lags."""
    n = len(values)
    centred = values - values.mean(0)
    covariances, correlations = np.zeros(lags + 1), np.zeros(lags + 1)
    for lag in range(lags + 1):
        product = centred[lag:] @ centred[: n - lag]
        later, earlier = centred[lag + 1 :], centred[: -(lag + 1)]
        covariances[lag] = product / n
        with np.errstate(divide="ignore", invalid="ignore"):  # a single day is left, and it is an average one
            correlations[lag] = np.abs(product) / np.sqrt((later @ later) * (earlier @ earlier))
    return covariances, correlations


def _quiet_lags(n: int) -> int:
    """How many correlations in a row must look like chance."""
    return max(5, int(math.log10(n)))


def _bandwidth(correlations: Floats, n: int) -> int:
    """Twice the lag after which correlations look like chance, at most the largest lag."""
    most, quiet = len(correlations) - 1, _quiet_lags(n)
    chance = 2 * math.sqrt(math.log10(n) / n)
    for lag in range(quiet, most + 1):
        if (correlations[lag - quiet : lag] < chance).all():
            return min(2 * max(lag - quiet, 1), most)
    return most
