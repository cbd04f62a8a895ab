"""Intervals of the fall of a loss and of the exponent of its law, from the noise of days and of training together.

Resampled days alone miss that the same size trained with another seed has another value. Both go into one covariance of
the sizes' values. The fall is the difference of the smallest and the largest size with Student's t: it needs no law.
The exponent's interval contains every alpha whose best law E + A * N^-alpha, by generalised least squares, misfits by
at most t^2 more than the best one of all (a profile likelihood: Venzon and Moolgavkar 1988, Applied Statistics 37,
87-94). A spread estimated from few seeds has few degrees of freedom, and so a wide t. `python -m benchmarks coverage`
measures how often both contain the truth.
"""

# shapes: S sizes, R resamples of days

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
STEEPEST = 3.0  # alpha above this is a step, not a law
FLATTEST = 1e-3
ALPHAS_A = np.geomspace(FLATTEST, STEEPEST, 161)


@dataclass(frozen=True)
class SeedNoise:
    """Standard deviation of a value over seeds, for one training, and its degrees of freedom."""

    sd: float
    freedom: float  # degrees of freedom: trainings minus configurations
    trainings: tuple[float, ...]  # trainings per size, whose mean is its value


@dataclass(frozen=True)
class Bounds:
    """95 % intervals of a law; the fall may be negative, alpha is in [FLATTEST, STEEPEST]."""

    alpha_low: float
    alpha_high: float
    gain_low: float
    gain_high: float


def covariance(seeds: SeedNoise, draws_RS: Floats | None, wider: float = 1.0) -> Floats:
    """Returns the (S, S) covariance of the sizes' values over seeds and, with `draws_RS`, over days (times wider^2)."""
    of_seeds = np.diag(seeds.sd**2 / np.asarray(seeds.trainings, dtype=np.float64))
    if draws_RS is None:
        return of_seeds
    return of_seeds + wider**2 * np.cov(draws_RS, rowvar=False)


def bounds(relative_S: Floats, values_S: Floats, noise_SS: Floats, seeds: SeedNoise) -> Bounds:
    """Returns the intervals of alpha and of the fall from the smallest to the largest size.

    relative_S: sizes in units of the smallest, rising; values_S: one value each; noise_SS: their `covariance`.
    """
    from scipy.special import stdtrit  # here, not above: importing the types does not need it

    student = float(stdtrit(seeds.freedom, (1 + LEVEL) / 2))
    fall = float(values_S[0] - values_S[-1])
    reach = student * math.sqrt(float(noise_SS[0, 0] + noise_SS[-1, -1] - 2 * noise_SS[0, -1]))
    inverse_SS: Floats = np.linalg.inv(noise_SS + np.eye(len(values_S)) * 1e-18).astype(np.float64)
    misfit_A = np.array([_misfit(relative_S**-alpha, values_S, inverse_SS) for alpha in ALPHAS_A])
    alphas = ALPHAS_A[misfit_A - misfit_A.min() <= student**2]
    return Bounds(float(alphas.min()), float(alphas.max()), fall - reach, fall + reach)


def _misfit(power_S: Floats, values_S: Floats, inverse_SS: Floats) -> float:
    """Returns the misfit of the best `E + A * power` by generalised least squares; a law falls, so A is at least 0."""
    design_S2 = np.stack([np.ones_like(power_S), power_S], axis=1)
    fitted_2 = np.linalg.solve(design_S2.T @ inverse_SS @ design_S2, design_S2.T @ inverse_SS @ values_S)
    if fitted_2[1] < 0:
        ones_S = np.ones_like(values_S)
        fitted_2 = np.array([ones_S @ inverse_SS @ values_S / (ones_S @ inverse_SS @ ones_S), 0.0])
    rest_S = values_S - design_S2 @ fitted_2
    return float(rest_S @ inverse_SS @ rest_S)
