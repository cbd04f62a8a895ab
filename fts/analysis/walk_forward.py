"""Walk-forward folds without leaks: each trains only on the past, with a purge between training and validation.

A training window ends at least horizon + context - 1 days before a validation window does: then no training label
looks into validation (purge, horizon days), and no validation window contains a training day (embargo,
context - 1 days). The folds are scikit-learn's TimeSeriesSplit over window ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Fold:
    """Positions of the last days of windows, as in the cell's data: train strictly before val."""

    number: int  # from 1
    train_ends: NDArray[np.int64]
    val_ends: NDArray[np.int64]


def walk_forward(
    ends: NDArray[np.int64], folds: int, context: int, horizon: int, max_train: int | None = None
) -> list[Fold]:
    """Returns `folds` pairs of growing training and equal validation parts over `ends`, in time order.

    ends: positions of the last days of all allowed windows (never the test split's), rising by 1; context and horizon
    in trading days; max_train: largest number of training windows (None: all of the past). Raises ValueError if there
    are too few windows for that many folds.
    """
    from sklearn.model_selection import TimeSeriesSplit  # here, not above: 1 s of imports

    ends = np.asarray(ends, dtype=np.int64)
    if not (np.diff(ends) == 1).all():
        raise ValueError("window ends must rise by one day each: a gap would shorten the purge between folds")
    gap = horizon + context - 1
    needed = (folds + 1) * (gap + 1)
    if folds < 2 or len(ends) < needed:
        raise ValueError(
            f"{len(ends)} windows are too few for {folds} walk-forward folds with {gap} days between training and "
            f"validation; at least 2 folds and {needed} windows are needed"
        )
    splitter = TimeSeriesSplit(n_splits=folds, gap=gap, max_train_size=max_train)
    return [Fold(k, ends[train], ends[val]) for k, (train, val) in enumerate(splitter.split(ends), start=1)]
