"""What a set of predictions is worth: the one place where logits become probabilities.

AUC and Brier score are scikit-learn's to the last bit (tests/training/test_parts.py), without its 1.1 s and 77 MB of
imports in every trial's process.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Scores:
    loss: float  # cross-entropy, natural logarithm
    auc: float | None  # None: one class only, or a value that is no number
    brier: float
    low: float  # smallest probability
    high: float
    spread: float  # their standard deviation


def score(logits: Floats, y: Floats) -> Scores:
    """Scores of n logits against n labels in {0, 1}; non-finite logits give non-finite scores, not an error."""
    if not np.isfinite(logits).all():
        return Scores(float("nan"), None, float("nan"), float("nan"), float("nan"), float("nan"))
    p = probabilities(logits)
    return Scores(
        cross_entropy(logits, y),
        auc(logits, y),
        brier(p, y),
        float(p.min()),
        float(p.max()),
        float(p.std(dtype=np.float64)),
    )


def probabilities(logits: Floats) -> Floats:
    """The sigmoid of float32 logits, without overflow."""
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # not a number stays so
        return np.exp(-np.logaddexp(0, -z)).astype(np.float32)


def cross_entropy(logits: Floats, y: Floats) -> float:
    """Mean of log(1 + exp(-z)) over rises and log(1 + exp(z)) over the others, in float64."""
    z = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # not a number stays so
        return float(np.mean(np.logaddexp(0, np.where(y > 0.5, -z, z))))


def auc(logits: Floats, y: Floats) -> float | None:
    """Area under the ROC curve; None where there is one class only."""
    if len(np.unique(y)) < 2 or not np.isfinite(logits).all():
        return None
    order = np.argsort(-logits, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(logits[order])), len(y) - 1)  # the last of each group of equal logits
    hits = np.cumsum(y[order] > 0.5, dtype=np.float64)[ends]
    alarms = 1.0 + ends - hits
    if len(ends) > 2:  # corners only: the sum's last bit depends on how many terms it has
        corner = np.concatenate(([True], (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0), [True]))
        hits, alarms = hits[corner], alarms[corner]
    rate = np.concatenate(([0.0], hits / hits[-1]))
    width = np.diff(np.concatenate(([0.0], alarms / alarms[-1])))
    return float((width * (rate[1:] + rate[:-1]) / 2.0).sum())


def brier(p: Floats, y: Floats) -> float:
    """Mean squared error of the probability, in float64 and summed over both classes as scikit-learn does."""
    p64, y64 = p.astype(np.float64), y.astype(np.float64)
    both = (1 - y64 - (1 - p64)) ** 2 + (y64 - p64) ** 2
    return float(np.average(both)) * 0.5


def prior_loss(y_train: Floats, y_val: Floats) -> float:
    """Cross-entropy on validation of always saying the training base rate (kept off 0 and 1 by half a window)."""
    n = len(y_train)
    rate = float(np.clip(np.mean(y_train, dtype=np.float64), 0.5 / n, 1 - 0.5 / n))
    share = float(np.mean(y_val, dtype=np.float64))
    return float(-(share * np.log(rate) + (1 - share) * np.log(1 - rate)))
