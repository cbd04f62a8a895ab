"""Scores predictions, and converts logits to probabilities (only here).

AUC and Brier score equal scikit-learn's bit for bit (tests/training/test_parts.py), without its 1.1 s and 77 MB of
imports in every trial's process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EpochScores:
    loss: float  # cross-entropy, natural logarithm
    auc: float | None  # None: only one class, or a logit that is not finite
    brier: float
    low: float  # smallest probability
    high: float
    spread: float  # standard deviation of the probabilities


def score(logits: Floats, y: Floats) -> EpochScores:
    """Returns scores of n logits against n labels in {0, 1}; non-finite logits give NaN scores, not an error."""
    if not np.isfinite(logits).all():
        return EpochScores(float("nan"), None, float("nan"), float("nan"), float("nan"), float("nan"))
    p = probabilities(logits)
    return EpochScores(
        cross_entropy(logits, y),
        auc(logits, y),
        brier(p, y),
        float(p.min()),
        float(p.max()),
        float(p.std(dtype=np.float64)),
    )


def probabilities(logits: Floats) -> Floats:
    """Returns the sigmoid of float32 logits, without overflow."""
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return np.exp(-np.logaddexp(0, -z)).astype(np.float32)


def cross_entropy(logits: Floats, y: Floats) -> float:
    """Returns the mean of log(1 + exp(-z)) over rises and log(1 + exp(z)) over the others, in float64."""
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        return float(np.mean(np.logaddexp(0, np.where(y > 0.5, -z, z))))


def auc(logits: Floats, y: Floats) -> float | None:
    """Returns the area under the ROC curve; None with only one class."""
    if len(np.unique(y)) < 2 or not np.isfinite(logits).all():
        return None
    order = np.argsort(-logits, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(logits[order])), len(y) - 1)  # the last of each group of equal logits
    hits = np.cumsum(y[order] > 0.5, dtype=np.float64)[ends]
    alarms = 1.0 + ends - hits
    if len(ends) > 2:  # corners only: the last bit of the sum depends on the number of terms
        corner = np.concatenate(([True], (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0), [True]))
        hits, alarms = hits[corner], alarms[corner]
    rate = np.concatenate(([0.0], hits / hits[-1]))
    width = np.diff(np.concatenate(([0.0], alarms / alarms[-1])))
    return float((width * (rate[1:] + rate[:-1]) / 2.0).sum())


def brier(p: Floats, y: Floats) -> float:
    """Returns the mean squared error of the probability, in float64, summed over both classes as in scikit-learn."""
    p64, y64 = p.astype(np.float64), y.astype(np.float64)
    both = (1 - y64 - (1 - p64)) ** 2 + (y64 - p64) ** 2
    return float(np.average(both)) * 0.5


def prior_loss(y_train: Floats, y_val: Floats) -> float:
    """Returns the validation cross-entropy of always predicting the training base rate (clipped by half a window)."""
    n = len(y_train)
    rate = float(np.clip(np.mean(y_train, dtype=np.float64), 0.5 / n, 1 - 0.5 / n))
    share = float(np.mean(y_val, dtype=np.float64))
    return float(-(share * np.log(rate) + (1 - share) * np.log(1 - rate)))
