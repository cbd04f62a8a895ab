"""Puts a 95 % interval around each dot of a calibration plot: the rate that came, of days that were promised alike.

Wilson's interval of a rate (1927), on as many days as their overlap leaves: the days of a bin are divided by Kish's
design effect (1965), the variance of its rate over blocks of days against that over single days.
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

Z = 1.959964  # of a 95 % interval
RESAMPLES = 400  # for a variance, not for its tails


@dataclass(frozen=True)
class RateInterval:
    """One dot: its bin, how far its rate is known, and of how many independent days it tells."""

    bin: CalibrationBin
    low: float
    high: float
    n_effective: float


def rate_intervals(y: ArrayLike, p: ArrayLike, block: float, seed: int = 0) -> list[RateInterval]:
    """The bins of `calibration_bins` with their intervals; y, p as there, block: days drawn together, on average."""
    y_N, p_N = checked_pair(y, p)
    weights = resample(len(y_N), block, seed, RESAMPLES)
    found = []
    for one, member in zip(calibration_bins(y_N, p_N), bin_members(p_N), strict=True):
        n = one.n / _design_effect(y_N, member.astype(float), weights, one)
        found.append(RateInterval(one, *wilson(one.observed, n), n))
    return found


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a rate seen in n independent cases."""
    centre = (rate * n + Z * Z / 2) / (n + Z * Z)
    half = Z * math.sqrt(n * rate * (1 - rate) + Z * Z / 4) / (n + Z * Z)
    return max(0.0, centre - half), min(1.0, centre + half)


def _design_effect(y: Floats, member: Floats, weights: Floats, one: CalibrationBin) -> float:
    """At least 1; 1 too for a bin of equal labels, of which resamples know nothing."""
    naive = one.observed * (1 - one.observed) / one.n
    if naive == 0:
        return 1.0
    days = weights @ member
    rates = (weights @ (member * y))[days > 0] / days[days > 0]
    return max(1.0, float(np.var(rates)) / naive)
