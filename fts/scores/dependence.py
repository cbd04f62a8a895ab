"""Measures how strongly days depend on each other: the block length, and the slow dependence that blocks miss.

A daily score is a slow part (calm and wild months) plus much independent noise. Its autocovariance is then
R(k) = c * rho^k for k >= 1, small and long: blocks of root N days cover less than half of its sum at rho .97, and an
interval from them is too narrow by as much. So the exponential is fitted and summed to infinity
(`slow_variance`), and intervals are widened accordingly (`widening`). Why blocks and kernels fail there:
Mueller (2014), Journal of Business & Economic Statistics 32, 311-322.
"""

# shapes: N values in time order, L lags, G values of rho

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
RHO_G = np.concatenate([np.arange(0.5, 0.9, 0.05), np.arange(0.9, 0.975, 0.01)])
# up to .97, as Andrews and Monahan (1992, Econometrica 60, 953-966): closer to 1, a few years cannot show the decay
ROUNDS = 4  # iterations that correct for the estimated mean; the fifth changes less than a hundredth

Floats = NDArray[np.float64]


class TooFewSamples(ValueError):
    """The number of samples is too small for this result."""


def block_length(series: ArrayLike, horizon: int) -> float:
    """Returns the mean block for resampling `series` (N values in time order): Politis and White's, at least H and √N.

    `series` is the averaged quantity: per-sample losses, or the AUC's influence values. A constant series needs only
    the label overlap. Raises TooFewSamples below ten samples or two horizons.
    """
    from arch.bootstrap import optimal_block_length  # here, not above: a second of imports that a reader does not need

    values = np.asarray(series, dtype=np.float64)
    if horizon < 1:
        raise ValueError(f"a horizon is at least one trading day, got {horizon}")
    if len(values) < max(10, 2 * horizon):
        raise TooFewSamples(
            f"{len(values)} samples are too few for an interval at horizon {horizon}: at least {max(10, 2 * horizon)}"
        )
    if np.ptp(values) < 1e-12:
        return float(horizon)
    chosen = float(optimal_block_length(values)["stationary"].iloc[0])
    return max(float(horizon), math.sqrt(len(values)), chosen if math.isfinite(chosen) else 1.0)


def freedom_of(n: int, block: float) -> float:
    """Returns the degrees of freedom of Student's t for N samples in blocks: only N / block pieces are independent."""
    return max(3.0, n / block) - 1


def widening(series: ArrayLike, block: float) -> float:
    """Returns the factor, at least 1, by which an interval from resampled blocks is too narrow.

    series: as in `block_length`. Two causes: only N / block pieces are independent (Student's t over the normal
    quantile), and blocks miss part of a slow dependence.
    """
    from scipy.special import ndtri, stdtrit  # here, not above: importing the types does not need it

    values = np.asarray(series, dtype=np.float64)
    pieces = freedom_of(len(values), block) + 1
    upper = (1 + LEVEL) / 2
    student = float(stdtrit(pieces - 1, upper) / ndtri(upper) * math.sqrt(pieces / (pieces - 1)))
    seen = blocks_variance(values, block)
    return student * math.sqrt(max(1.0, slow_variance(values) / seen)) if seen > 0 else student


def effective_size(series: ArrayLike, block: float) -> float:
    """Returns the number of independent samples with an equally wide interval of the mean of `series`; at most N.

    The interval is that of resampled blocks, widened by `widening`.
    """
    values = np.asarray(series, dtype=np.float64)
    naive = float(values.var())
    if naive < 1e-24:
        return float(len(values))
    whole = max(blocks_variance(values, block) * widening(values, block) ** 2, 1e-24)
    return float(min(len(values), len(values) * naive / whole))


def blocks_variance(series: ArrayLike, block: float) -> float:
    """Returns N times the stationary bootstrap's variance of the mean of N values, in closed form.

    Politis and Romano (1994), lemma 1: R(0) + sum_k ((1 - k/N)(1 - q)^k + (k/N)(1 - q)^(N - k)) R(k) over
    k = 1..N-1, with q = 1/block and R the circular autocovariances (equal for k and N - k).
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    circular = _autocovariances(values, n)
    k = np.arange(1, n)
    keep = 1 - 1 / max(1.0, block)
    damping = (1 - k / n) * keep**k + (k / n) * keep ** (n - k)
    return float(circular[0] + damping @ circular[1:])


def slow_variance(series: ArrayLike) -> float:
    """Returns N times the variance of the mean of N values if a slow part explains their autocovariances; else 0.

    c * rho^k is fitted to R(1..2 root N) by least squares, rho from a grid; returns R(0) + 2 c rho / (1 - rho).
    Autocovariances around an estimated mean are too low by that variance over N, which is added back. A fit that
    explains no more than two free numbers do by chance (Bayesian information criterion) is rejected.
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    lags = min(n - 1, int(2 * math.sqrt(n)))
    raw = _autocovariances(values, 2 * n)[: lags + 1] / (1 - np.arange(lags + 1) / n)
    if raw[0] < 1e-24:
        return 0.0
    decay_GL = RHO_G[:, None] ** np.arange(1, lags + 1)
    power_G = (decay_GL**2).sum(axis=1)
    found = 0.0
    for _ in range(ROUNDS):
        covariance = raw + found / n
        c_G = np.maximum(0.0, decay_GL @ covariance[1:]) / power_G
        explained_G = c_G**2 * power_G
        best = int(explained_G.argmax())
        if n * explained_G[best] / covariance[0] ** 2 < 2 * math.log(n):
            return 0.0
        found = float(covariance[0] + 2 * c_G[best] * RHO_G[best] / (1 - RHO_G[best]))
    return found


def _autocovariances(values: Floats, length: int) -> Floats:
    """Returns R(0..length-1) over N: circular for length N, ordinary for 2 N and more (second half mirrored)."""
    spectrum = np.fft.rfft(values - values.mean(), length)
    return np.fft.irfft(np.abs(spectrum) ** 2, length) / len(values)
