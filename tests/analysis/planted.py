"""Series with a known truth: volatility that clusters, labels that overlap, predictions that move slowly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def slow_noise(rng: np.random.Generator, n: int, persistence: float) -> Floats:
    """A standard normal AR(1), n."""
    noise = np.empty(n)
    noise[0] = rng.standard_normal()
    kicks = rng.standard_normal(n) * np.sqrt(1 - persistence**2)
    for t in range(1, n):
        noise[t] = persistence * noise[t - 1] + kicks[t]
    return noise


def threshold_labels(
    rng: np.random.Generator, n: int, horizon: int, persistence: float = 0.97
) -> tuple[Floats, Floats]:
    """(labels, log volatility), both n: does a walk with clustered volatility rise 1 % within `horizon` days?"""
    log_vol = 0.8 * slow_noise(rng, n + horizon, persistence)
    returns = 0.01 * np.exp(0.5 * log_vol) * rng.standard_normal(n + horizon)
    ahead = np.stack([returns[1 + k : 1 + k + n] for k in range(horizon - 1)] + [returns[horizon : horizon + n]])
    return (np.cumsum(ahead, axis=0).max(axis=0) >= 0.01).astype(float), log_vol[:n]


def probabilities(signal: Floats) -> Floats:
    return 1 / (1 + np.exp(-signal))
