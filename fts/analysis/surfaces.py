"""Tests whether parameters have the same effect at every horizon if horizons differ in noise.

At a noisy horizon the best trials are further from the true best, and ranks follow the parameters less. So neither may
be compared directly: with noise of .3, 1 and 3 times the signal that called 26 of 100 equal truths different. Here each
horizon's values are described by a quadratic response surface of the searched parameters (Box and Wilson 1951, Journal
of the Royal Statistical Society B 13, 1-45). If one search can serve all, they are one surface up to offset and scale,
`y_h = a_h + s_h * g(x)`, each with its own noise. The likelihood ratio of a surface for each horizon is compared with
the ratios of studies simulated from the common surface at the same configurations (a parametric bootstrap: Davison and
Hinkley 1997, section 4.2).
"""

# shapes: N trials of one horizon, H horizons, K parameters, Q = 2K terms (each parameter and its square), S studies

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SIMULATIONS = 300
ROUNDS = 15  # rounds of fitting surface and scales in turn
SPARE = 5  # trials of a horizon beyond the terms of its surface; with fewer its noise is unreliable
FAR = 10.0  # median distances at which a bad value is cut: a diverged trial tells nothing about the surface
LEAST = 1e-9
RIDGE = 1e-6  # relative to a term's sum of squares: two parameters that vary together have no separate surface


def p_common(parameters: Sequence[Floats], losses: Sequence[Floats], seed: int = 0) -> float | None:
    """Returns the probability of surfaces that differ this much if all horizons had one surface.

    parameters: (N, K) per horizon, on the scale they were searched; losses: N per horizon, lower is better. None if
    a horizon has too few trials for a surface. Parameters that do not vary are left out.
    """
    pooled = np.concatenate(list(parameters))
    varies = np.ptp(pooled, axis=0) > LEAST
    if len(parameters) < 2 or not varies.any():
        return None
    middle, spread = pooled[:, varies].mean(axis=0), pooled[:, varies].std(axis=0)
    designs = [_terms((x[:, varies] - middle) / spread) for x in parameters]
    values = [_cut(np.asarray(y, dtype=np.float64))[None] for y in losses]
    too_few = any(len(design) < design.shape[1] + 1 + SPARE for design in designs)
    if too_few or any(np.ptp(y) < LEAST for y in values):
        return None
    told, noise_SH = _common(designs, values)
    seen = _ratio(designs, values, noise_SH)[0]
    rng = np.random.default_rng(seed)
    made = []
    for h, here in enumerate(told):  # the fit has absorbed some noise: the share of its terms, and a level
        spent = 1 + designs[h].shape[1] / len(designs)
        noise = noise_SH[0, h] * np.sqrt(here.shape[1] / (here.shape[1] - spent))
        made.append(here + noise * rng.standard_normal((SIMULATIONS, here.shape[1])))
    _, made_noise_SH = _common(designs, made)
    reached = np.count_nonzero(_ratio(designs, made, made_noise_SH) >= seen - LEAST)
    return float((1 + reached) / (1 + SIMULATIONS))


def _terms(x_NK: Floats) -> Floats:
    """Returns each parameter and its square, centred, (N, 2K)."""
    return np.hstack([x_NK, x_NK**2 - 1])


def _cut(y_N: Floats) -> Floats:
    """Returns values in units of the horizon's own spread, with bad values cut."""
    middle = np.median(y_N)
    distance = np.median(np.abs(y_N - middle)) or np.std(y_N) or 1.0
    cut: Floats = np.minimum((y_N - middle) / distance, FAR)
    return cut


def _common(designs: list[Floats], values: list[Floats]) -> tuple[list[Floats], Floats]:
    """Fits the likeliest common surface of S studies in turns; returns its values (S, N) and its noise (S, H).

    designs: (N, Q) per horizon; values: (S, N) per horizon.
    """
    n_studies, n_terms = len(values[0]), designs[0].shape[1]
    squares = [design.T @ design for design in designs]
    scale_SH = np.ones((n_studies, len(designs)))
    noise_SH = np.ones((n_studies, len(designs)))
    offset_SH = np.stack([y.mean(axis=1) for y in values], axis=1)
    told: list[Floats] = []
    for _ in range(ROUNDS):
        weight_SH, pull_SH = (scale_SH / noise_SH) ** 2, scale_SH / noise_SH**2
        left_SQQ = sum(weight_SH[:, h, None, None] * squares[h] for h in range(len(designs)))
        ridge_S = RIDGE * np.trace(left_SQQ, axis1=1, axis2=2) / n_terms + 1e-12
        left_SQQ = left_SQQ + ridge_S[:, None, None] * np.eye(n_terms)
        right_SQ = sum(pull_SH[:, h, None] * ((y - offset_SH[:, h, None]) @ designs[h]) for h, y in enumerate(values))
        terms_SQ = np.linalg.solve(left_SQQ, right_SQ[..., None])[..., 0]
        told = []
        for h, (design, y) in enumerate(zip(designs, values, strict=True)):
            surface = terms_SQ @ design.T
            apart = surface - surface.mean(axis=1, keepdims=True)
            spread_S = np.mean(apart**2, axis=1)
            slope_S = np.mean(apart * y, axis=1) / np.maximum(spread_S, 1e-12)
            scale_SH[:, h] = np.maximum(slope_S, 0.0)  # below 0 the best would be the worst
            offset_SH[:, h] = y.mean(axis=1) - scale_SH[:, h] * surface.mean(axis=1)
            told.append(offset_SH[:, h, None] + scale_SH[:, h, None] * surface)
            noise_SH[:, h] = np.maximum(np.sqrt(np.mean((y - told[h]) ** 2, axis=1)), 1e-6)
    return told, noise_SH


def _ratio(designs: list[Floats], values: list[Floats], noise_SH: Floats) -> Floats:
    """Returns twice the log likelihood ratio of a surface for each horizon over the common one, S."""
    found_S = np.zeros(len(values[0]))
    for h, (design, y) in enumerate(zip(designs, values, strict=True)):
        basis = np.linalg.qr(np.hstack([np.ones((len(design), 1)), design]))[0]
        rest = y - (y @ basis) @ basis.T
        own_S = np.maximum(np.mean(rest**2, axis=1), 1e-12)
        found_S += len(design) * (2 * np.log(noise_SH[:, h]) - np.log(own_S))
    return found_S
