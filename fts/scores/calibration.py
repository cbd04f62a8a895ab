"""Puts a 95 % interval around each point of a calibration plot: the observed rate among days of similar prediction.

Wilson's interval of a rate (1927) for the effective number of days: the days of a bin are divided by Kish's
design effect (1965), the variance of its rate over blocks of days divided by that over single days.
"""

# shapes: N samples, R resamples

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fts.scores.intervals import resample
from fts.scores.metrics import CalibrationBin, Floats, bin_members, calibration_bins, checked_pair

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Z = 1.959964  # quantile of a 95 % interval
RESAMPLES = 400  # enough for a variance, not for its tails


@dataclass(frozen=True)
class RateInterval:
    """One point: its bin, the interval of its rate, and the effective number of independent days."""

    bin: CalibrationBin
    low: float
    high: float
    n_effective: float


def rate_intervals(y: ArrayLike, p: ArrayLike, block: float, seed: int = 0) -> list[RateInterval]:
    """Returns the bins of `calibration_bins(y, p)` with intervals; block: mean number of days drawn together."""
    y_N, p_N = checked_pair(y, p)
    weights = resample(len(y_N), block, seed, RESAMPLES)
    found = []
    for one, member in zip(calibration_bins(y_N, p_N), bin_members(p_N), strict=True):
        n = one.n / _design_effect(y_N, member.astype(float), weights, one)
        found.append(RateInterval(one, *wilson(one.observed, n), n))
    return found


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a rate seen in n independent cases."""
    centre = (rate * n + Z * Z / 2) / (n + Z * Z)
    half = Z * math.sqrt(n * rate * (1 - rate) + Z * Z / 4) / (n + Z * Z)
    return max(0.0, centre - half), min(1.0, centre + half)


def _design_effect(y: Floats, member: Floats, weights: Floats, one: CalibrationBin) -> float:
    """Returns at least 1; exactly 1 for a bin of equal labels, for which resamples show no variance."""
    naive = one.observed * (1 - one.observed) / one.n
    if naive == 0:
        return 1.0
    days = weights @ member
    rates = (weights @ (member * y))[days > 0] / days[days > 0]
    return max(1.0, float(np.var(rates)) / naive)
