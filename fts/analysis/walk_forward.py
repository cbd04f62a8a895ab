"""Walk-forward folds that leak nothing: each trains on the past only, with a purge between training and validation.

A training window ends at least horizon + context - 1 days before a validation window does: then no training label
looks into validation (purge, horizon days), and no validation window shows a day that training has seen (embargo,
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
    """`folds` pairs of growing training and equal validation stretches over `ends`, in time order.

    ends: positions of the last days of all windows allowed (never the test split's), rising by 1; context and horizon
    in trading days; max_train: windows to train on at most (None: all of the past). Raises ValueError when the windows
    do not carry that many folds.
    """
    from sklearn.model_selection import TimeSeriesSplit  # 1 s of imports, paid only by who splits

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
