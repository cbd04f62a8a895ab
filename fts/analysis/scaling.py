"""Fits L(N) = E + A * N^-alpha to loss against counted parameters, and tests it against a constant.

Form and robust fit (Huber loss on log residuals, many starts) follow Hoffmann et al. 2022, "Training Compute-Optimal
Large Language Models", appendix D.2. A slope from fewer than three sizes is refused, and the law is always compared
with "no scaling": a constant, by AICc and by predicting each size from the others. Its intervals include the noise of
days and of training (scaling_interval); without a spread over seeds there is no interval and no verdict.
"""

# shapes: P points (size, value), S sizes, R draws of all values

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fts.analysis.scaling_interval import STEEPEST, Bounds, SeedNoise, bounds, covariance

Floats = NDArray[np.float64]

FEWEST_SIZES = 3
LOSS, ERROR = "loss", "error 1 - AUC"  # what may be fitted; a loss is in nats, an error has no unit
HUBER_DELTA = 1e-2  # log units: about one percent of the loss, the spread between seeds
ALPHAS = (0.05, 0.1, 0.2, 0.4, 0.8)  # starting points


class TooFewSizes(ValueError):
    """A slope was requested from fewer than three sizes."""


@dataclass(frozen=True)
class PowerLaw:
    floor: float  # E
    scale: float  # A, for N in units of the smallest size
    alpha: float
    smallest: float  # number of parameters of the smallest size

    def __call__(self, n_params: ArrayLike) -> Floats:
        sizes = np.asarray(n_params, dtype=np.float64) / self.smallest
        return np.asarray(self.floor + self.scale * sizes**-self.alpha)


@dataclass(frozen=True)
class ScalingFit:
    """The law, its interval, and the verdict against "no scaling"."""

    law: PowerLaw
    alpha_low: float | None  # 95 % interval; None if the noise of training is unknown
    alpha_high: float | None
    gain: float  # value of the smallest size minus that of the largest
    gain_low: float | None  # below zero: a rise is possible
    gain_high: float | None
    aicc_gain: float | None  # AICc(constant) - AICc(law): above 2 favours the law; None: too few points
    left_out_ratio: float | None  # error of the law over that of a constant on left-out sizes; None below four sizes
    n_points: int
    n_sizes: int
    verdict: str  # scales | no scaling seen | cannot say
    sentence: str


def fit_scaling(
    n_params: ArrayLike,
    values: ArrayLike,
    draws: ArrayLike | None = None,
    seeds: SeedNoise | None = None,
    wider: float = 1.0,
    what: str = LOSS,
) -> ScalingFit:
    """Fits the law to P points; sizes may repeat (trainings of one size with different seeds).

    n_params: counted parameters; values: losses (or 1 - AUC), positive, lower is better; draws: the same P values
    recomputed on R resamples of the validation days (R, P), so that noise shared by all sizes cancels; wider: the
    factor by which their intervals are too narrow (fts.scores.dependence). seeds: the spread over seeds, if points do
    not repeat; without either there is no interval and no verdict. what: name of the values in the sentence. Raises
    TooFewSizes.
    """
    sizes_P, values_P = np.asarray(n_params, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if sizes_P.shape != values_P.shape or sizes_P.ndim != 1 or not (values_P > 0).all() or not (sizes_P > 0).all():
        raise ValueError("sizes and values must be two vectors of one length with positive numbers only")
    distinct_S, of_size_P = np.unique(sizes_P, return_inverse=True)
    if len(distinct_S) < FEWEST_SIZES:
        raise TooFewSizes(f"a slope needs at least {FEWEST_SIZES} sizes, got {len(distinct_S)}")
    law = fit_power_law(sizes_P, values_P)
    found = _bounds(distinct_S, of_size_P, values_P, draws, seeds, wider)
    aicc_gain, left_out = _aicc_gain(sizes_P, values_P, law), _left_out_ratio(sizes_P, values_P)
    verdict = _verdict(found, aicc_gain, left_out)
    return ScalingFit(
        law=law,
        alpha_low=None if found is None else found.alpha_low,
        alpha_high=None if found is None else found.alpha_high,
        gain=float(values_P[of_size_P == 0].mean() - values_P[of_size_P == len(distinct_S) - 1].mean()),
        gain_low=None if found is None else found.gain_low,
        gain_high=None if found is None else found.gain_high,
        aicc_gain=aicc_gain,
        left_out_ratio=left_out,
        n_points=len(sizes_P),
        n_sizes=len(distinct_S),
        verdict=verdict,
        sentence=_sentence(verdict, law, found, len(distinct_S), what),
    )


def fit_power_law(n_params: Floats, values: Floats, start: PowerLaw | None = None) -> PowerLaw:
    """Returns the best law by Huber loss on log residuals, from several starts (or only from `start`)."""
    from scipy.optimize import least_squares  # here, not above: 1 s of imports

    smallest = float(n_params.min())
    relative, logs = n_params / smallest, np.log(values)

    def residuals(theta: Floats) -> Floats:
        floor, scale, alpha = theta
        residual_P: Floats = np.log(np.maximum(floor + scale * relative**-alpha, 1e-12)) - logs
        return residual_P

    def slopes(theta: Floats) -> Floats:
        floor, scale, alpha = theta
        power = relative**-alpha
        by_parameter: Floats = np.stack([np.ones_like(power), power, -scale * np.log(relative) * power], axis=1)
        slope_PK: Floats = by_parameter / np.maximum(floor + scale * power, 1e-12)[:, None]
        return slope_PK

    least, most = float(values.min()), float(values.max())
    starts = [(share * least, most - share * least, alpha) for share in (0.2, 0.9) for alpha in ALPHAS]
    if start is not None:
        starts = [(start.floor, start.scale, start.alpha)]
    bounds = ([0.0, 0.0, 1e-3], [most * 1.5, most * 3, STEEPEST])
    inside = [np.clip(np.array(s), np.array(bounds[0]) + 1e-9, np.array(bounds[1]) - 1e-9) for s in starts]
    options = {"jac": slopes, "bounds": bounds, "loss": "huber", "f_scale": HUBER_DELTA, "max_nfev": 60}
    fits = [least_squares(residuals, s, **options) for s in inside]
    floor, scale, alpha = min(fits, key=lambda fit: float(fit.cost)).x
    return PowerLaw(float(floor), float(scale), float(alpha), smallest)


def _bounds(
    sizes_S: Floats,
    of_size_P: NDArray[np.intp],
    values_P: Floats,
    draws: ArrayLike | None,
    seeds: SeedNoise | None,
    wider: float,
) -> Bounds | None:
    """Returns the intervals by the mean of each size; None if the variation over seeds is unknown."""
    count_S = np.bincount(of_size_P)
    mean_S = np.bincount(of_size_P, values_P) / count_S
    if seeds is None:
        freedom = len(values_P) - len(sizes_S)
        if freedom < 1:
            return None
        sd = math.sqrt(float(((values_P - mean_S[of_size_P]) ** 2).sum()) / freedom)
        seeds = SeedNoise(sd, freedom, tuple(map(float, count_S)))
    draws_RS = None
    if draws is not None:
        draws_RP = np.asarray(draws, dtype=np.float64)
        if draws_RP.ndim != 2 or draws_RP.shape[1] != len(values_P):
            raise ValueError(f"draws must have one column per point, got {draws_RP.shape} for {len(values_P)} points")
        draws_RS = np.stack([draws_RP[:, of_size_P == s].mean(axis=1) for s in range(len(sizes_S))], axis=1)
    return bounds(sizes_S / sizes_S[0], mean_S, covariance(seeds, draws_RS, wider), seeds)


def _aicc_gain(sizes: Floats, values: Floats, law: PowerLaw) -> float | None:
    """AICc with Gaussian log residuals: n log(RSS / n) + 2k + 2k(k + 1)/(n - k - 1), k counts the variance too."""
    n, logs = len(values), np.log(values)
    if n < 6:  # k = 4 for the law: below this the denominator is not positive
        return None
    of_constant = _aicc(logs - logs.mean(), n, 2)
    return of_constant - _aicc(np.log(law(sizes)) - logs, n, 4)


def _aicc(residuals: Floats, n: int, k: int) -> float:
    rss = max(float(residuals @ residuals), 1e-18)
    return n * math.log(rss / n) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def _left_out_ratio(sizes: Floats, values: Floats) -> float | None:
    """Returns the root mean squared log error on each size predicted from the others: law over constant."""
    distinct = np.unique(sizes)
    if len(distinct) < FEWEST_SIZES + 1:
        return None
    of_law, of_constant = [], []
    for size in distinct:
        out = sizes == size
        law = fit_power_law(sizes[~out], values[~out])
        truth = float(np.log(values[out]).mean())
        of_law.append(math.log(max(float(law(size)), 1e-12)) - truth)
        of_constant.append(float(np.log(values[~out]).mean()) - truth)
    return math.sqrt(sum(e * e for e in of_law) / max(sum(e * e for e in of_constant), 1e-18))


def _verdict(found: Bounds | None, aicc_gain: float | None, left_out: float | None) -> str:
    if found is None:
        return "cannot say"
    votes = [] if aicc_gain is None else [aicc_gain > 2]
    votes += [] if left_out is None else [left_out < 1]
    return "scales" if found.gain_low > 0 and all(votes) else "no scaling seen"


def _sentence(verdict: str, law: PowerLaw, found: Bounds | None, n_sizes: int, what: str) -> str:
    if found is None:
        return (
            f"These {n_sizes} sizes cannot tell a power law from a constant: it is not known how far two seeds of one "
            "configuration lie apart (`fts replicate CELL --seeds 3` measures it)."
        )
    unit = " nats" if what == LOSS else ""
    text = f"alpha {law.alpha:.2f} [{found.alpha_low:.2f}, {found.alpha_high:.2f}]"
    ends = f"{found.gain_low:.4f}, {found.gain_high:.4f}".replace("-", "−")
    text += f"; fall from smallest to largest [{ends}]{unit}"
    if verdict == "scales":
        return f"The {what} falls over {n_sizes} sizes: {text}."
    return f"A constant fits {n_sizes} sizes as well as a power law ({text})."
