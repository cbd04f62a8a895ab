"""Scores of a vector of probabilities, weighted, so that a thousand resamples are one matrix operation.

Every metric takes (y_N, p_N, weights_RN or None) and returns R values, NaN for a resample without one of the classes;
with weights None it returns the one value of the plain sample. They agree with scikit-learn to rounding
(tests/analysis).
"""

# shapes: N samples, R resamples, G groups of equal predictions, B bins

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats | None], Floats]

SMALLEST_P = 1e-7  # a probability of exactly 0 or 1 costs at most 16 nats
BINS = 10


@dataclass(frozen=True)
class CalibrationBin:
    """Samples of similar prediction: mean prediction and observed rate."""

    mean_p: float
    observed: float
    n: int
    n_pos: int


def checked_pair(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    """Returns y and p as float64 vectors of one length. Raises ValueError for different lengths or missing values."""
    y_N, p_N = np.asarray(y, dtype=np.float64), np.asarray(p, dtype=np.float64)
    if y_N.ndim != 1 or y_N.shape != p_N.shape:
        raise ValueError(f"labels and predictions must be two vectors of one length, got {y_N.shape} and {p_N.shape}")
    if not np.isfinite(p_N).all():
        raise ValueError(f"{(~np.isfinite(p_N)).sum()} of {len(p_N)} predictions are not finite numbers")
    if not np.isin(y_N, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1 without gaps; leave out samples with an unknown future")
    return y_N, p_N


def auc(y: Floats, p: Floats, weights: Floats | None) -> Floats:
    """Area under the ROC curve by weighted ranks; ties count half."""
    pos, neg = _by_group(y, p, weights)
    below = np.cumsum(neg, axis=1) - neg / 2
    return _ratio((pos * below).sum(axis=1), pos.sum(axis=1) * neg.sum(axis=1))


def average_precision(y: Floats, p: Floats, weights: Floats | None) -> Floats:
    """Sum over thresholds of the gain in recall times the precision there, as scikit-learn defines it."""
    pos, neg = (side[:, ::-1] for side in _by_group(y, p, weights))
    hits, flagged = np.cumsum(pos, axis=1), np.cumsum(pos + neg, axis=1)
    precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
    return _ratio((pos * precision).sum(axis=1), pos.sum(axis=1))


def log_loss(y: Floats, p: Floats, weights: Floats | None) -> Floats:
    """Mean negative log likelihood in nats."""
    return _mean(log_losses(y, p), weights)


def brier(y: Floats, p: Floats, weights: Floats | None) -> Floats:
    """Mean squared error of the probability."""
    return _mean((p - y) ** 2, weights)


def precision_at(y: Floats, p: Floats, weights: Floats | None, rate: float) -> Floats:
    """Returns the share of positives among the `rate` share with the highest predictions; splits a tie at the cut."""
    hits, flagged, _ = _flag(y, p, weights, rate)
    return _ratio(hits, flagged)


def recall_at(y: Floats, p: Floats, weights: Floats | None, rate: float) -> Floats:
    """Returns the share of all positives that are in the `rate` share of samples with the highest predictions."""
    hits, _, positives = _flag(y, p, weights, rate)
    return _ratio(hits, positives)


def expected_calibration_error(y: Floats, p: Floats, weights: Floats | None, bins: int = BINS) -> Floats:
    """Returns the mean distance of predicted and observed rate over bins of equal counts, weighted by counts."""
    member_NB = _bin_of(p, bins)[:, None] == np.arange(bins)[None, :]
    gap_NB = member_NB * (p - y)[:, None]
    w = np.ones((1, len(y))) if weights is None else weights
    error_R: Floats = np.abs(w @ gap_NB).sum(axis=1) / w.sum(axis=1)
    return error_R


def calibration_noise(y: Floats, p: Floats, weights: Floats, bins: int = BINS) -> Floats:
    """Returns the calibration error by chance, R: distances of each resample's gaps from the sample's own."""
    member_NB = _bin_of(p, bins)[:, None] == np.arange(bins)[None, :]
    gap_NB = member_NB * (p - y)[:, None]
    chance_RB = weights @ gap_NB / weights.sum(axis=1, keepdims=True) - gap_NB.mean(axis=0)
    noise_R: Floats = np.abs(chance_RB).sum(axis=1)
    return noise_R


def calibration_bins(y: ArrayLike, p: ArrayLike, bins: int = BINS) -> list[CalibrationBin]:
    """Returns the bins of the calibration plot; equal predictions share a bin, so there may be fewer."""
    y_N, p_N = checked_pair(y, p)
    return [
        CalibrationBin(float(p_N[m].mean()), float(y_N[m].mean()), int(m.sum()), int(y_N[m].sum()))
        for m in bin_members(p_N, bins)
    ]


def bin_members(p: Floats, bins: int = BINS) -> list[NDArray[np.bool_]]:
    """Returns the members of each non-empty bin, boolean N each, by rising prediction."""
    bin_of_N = _bin_of(p, bins)
    return [inside for b in range(bins) if (inside := bin_of_N == b).any()]


def log_losses(y: Floats, p: Floats) -> Floats:
    """Returns the negative log likelihood of each sample in nats, N."""
    safe = np.clip(p, SMALLEST_P, 1 - SMALLEST_P)
    return -(y * np.log(safe) + (1 - y) * np.log1p(-safe))


def auc_influence(y: Floats, p: Floats) -> Floats:
    """Returns how far each sample moves the AUC, N: its placement among the other class, centred, over its class share.

    The AUC's variance is that of the mean of these values (DeLong 1988), so their autocorrelation decides the
    block length and the effective sample size.
    """
    pos, neg = y == 1, y == 0
    placement = np.empty(len(y))
    placement[pos] = _share_below(p[neg], p[pos])
    placement[neg] = 1 - _share_below(p[pos], p[neg])
    centred = placement - placement[pos].mean()
    pull_N: Floats = np.where(pos, centred / pos.mean(), centred / neg.mean())
    return pull_N


METRICS: dict[str, Metric] = {
    "auc": auc,
    "log_loss": log_loss,
    "brier": brier,
    "average_precision": average_precision,
}


def _by_group(y: Floats, p: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """Returns the weight of positives and negatives in each group of equal predictions, rising: two of shape RG."""
    order = np.argsort(p, kind="stable")
    starts = np.flatnonzero(np.diff(p[order], prepend=-np.inf))
    w = np.ones((1, len(y))) if weights is None else weights
    sorted_w, sorted_y = w[:, order], y[order]
    pos = np.add.reduceat(sorted_w * sorted_y, starts, axis=1)
    neg = np.add.reduceat(sorted_w * (1 - sorted_y), starts, axis=1)
    return pos, neg


def _flag(y: Floats, p: Floats, weights: Floats | None, rate: float) -> tuple[Floats, Floats, Floats]:
    """Returns the weights of hits, flagged samples and positives, each R, if the top `rate` share is flagged."""
    pos, neg = (side[:, ::-1] for side in _by_group(y, p, weights))
    mass = pos + neg
    target = rate * mass.sum(axis=1, keepdims=True)
    before = np.cumsum(mass, axis=1) - mass
    share = np.clip(np.divide(target - before, mass, out=np.zeros_like(mass), where=mass > 0), 0, 1)
    return (share * pos).sum(axis=1), target[:, 0], pos.sum(axis=1)


def _bin_of(p: Floats, bins: int) -> NDArray[np.intp]:
    edges = np.quantile(p, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, p, side="left")


def _share_below(pool: Floats, values: Floats) -> Floats:
    """Returns for each value the share of `pool` below it; ties count half."""
    ordered = np.sort(pool)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (2 * len(ordered))


def _mean(values: Floats, weights: Floats | None) -> Floats:
    if weights is None:
        return np.array([values.mean()])
    mean_R: Floats = weights @ values / weights.sum(axis=1)
    return mean_R


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
