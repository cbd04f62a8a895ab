"""Scores the predictions of trials (fts.predictions): bootstrap intervals, paired comparisons, calibration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fts.frozen import dataclass
from fts.jobs.records.artifacts import DAMAGE
from fts.jobs.records.intervals import EstimatedValue, share_interval

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

FILE = "predictions.npz"  # in a trial's folder, with y_true, y_pred and index
RESAMPLES, BINS, FEWEST = 2000, 10, 10  # FEWEST: rows
NUMBERS, TEXTS = "biuf", "US"  # numpy's kinds of dtypes
LARGEST_FILE = 512 << 20  # bytes


@dataclass(frozen=True)
class ShownPredictions:
    y_true: NDArray[Any]
    y_pred: NDArray[Any]
    index: NDArray[Any]


@dataclass(frozen=True)
class Score:
    """One score of a trial's predictions; smaller is better if `loss`."""

    name: str
    loss: bool
    interval: EstimatedValue  # bootstrap over rows


@dataclass(frozen=True)
class Bin:
    """Forecasts of about this probability, and the share that came true."""

    forecast: float
    share: EstimatedValue


def read(folder: Path) -> ShownPredictions | None:
    """Returns a trial's predictions; None if there are none or they cannot be read."""
    import numpy as np  # here, not above: only a study with predictions needs it

    path = folder / FILE
    try:
        if not path.is_file() or path.is_symlink() or path.stat().st_size > LARGEST_FILE:
            return None
        with np.load(path, allow_pickle=False) as found:
            truth, predicted, index = (found[name] for name in ("y_true", "y_pred", "index"))
    except DAMAGE:
        return None
    if not len(truth) == len(predicted) == len(index) or len(truth) < FEWEST:
        return None
    return ShownPredictions(truth, predicted, index)


def losses(found: ShownPredictions) -> tuple[str, bool, NDArray[Any]] | None:
    """Returns (name of the score, whether smaller is better, each row's share of it); None if it cannot be scored."""
    import numpy as np

    if found.y_true.dtype.kind not in NUMBERS + TEXTS or found.y_pred.dtype.kind not in NUMBERS + TEXTS:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        scored = _losses(found)
    return scored if scored is not None and np.isfinite(scored[2]).all() else None


def _losses(found: ShownPredictions) -> tuple[str, bool, NDArray[Any]] | None:
    """Scores numbers and texts; a row's share may be nan.

    Probabilities of 0 and 1, or of classes: log loss. Classes: accuracy. Numbers: squared error.
    """
    import numpy as np

    truth, predicted = found.y_true, found.y_pred
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted[:, 0]
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if truth.dtype.kind in TEXTS or predicted.dtype.kind in TEXTS:
        return ("accuracy", False, (truth == predicted).astype(float)) if truth.shape == predicted.shape else None
    if truth.ndim == 1 and predicted.ndim == 2 and truth.dtype.kind in "iub" and is_distribution(predicted):
        if int(truth.min()) < 0 or int(truth.max()) >= predicted.shape[1]:
            return None
        chosen = predicted[np.arange(len(truth)), truth.astype(int)]
        return "log loss", True, -np.log(np.clip(chosen.astype(float), 1e-15, 1.0))
    if truth.shape != predicted.shape:
        return None
    if is_binary(found):
        p = np.clip(predicted.astype(float), 1e-15, 1 - 1e-15)
        return "log loss", True, -np.where(truth == 1, np.log(p), np.log1p(-p))
    if truth.dtype.kind in "iub" and predicted.dtype.kind in "iub":
        return "accuracy", False, (truth == predicted).reshape(len(truth), -1).all(axis=1).astype(float)
    squared = (truth.astype(float) - predicted.astype(float)) ** 2
    return "squared error", True, squared.reshape(len(truth), -1).mean(axis=1)


def is_distribution(predicted: NDArray[Any]) -> bool:
    return bool((predicted >= 0).all() and (abs(predicted.sum(axis=1) - 1) < 1e-3).all())


def is_binary(found: ShownPredictions) -> bool:
    """Whether the predictions are probabilities of a truth that is 0 or 1."""
    truth, predicted = found.y_true, found.y_pred
    if truth.ndim != 1 or predicted.ndim != 1 or predicted.dtype.kind != "f" or truth.dtype.kind not in "iubf":
        return False
    return bool(((truth == 0) | (truth == 1)).all() and ((predicted >= 0) & (predicted <= 1)).all())


def score(found: ShownPredictions, seed: int = 0) -> Score | None:
    scored = losses(found)
    if scored is None:
        return None
    name, loss, rows = scored
    return Score(name, loss, bootstrap(rows, lambda chosen: chosen.mean(axis=-1), seed))


def difference(one: ShownPredictions, other: ShownPredictions, seed: int = 0) -> Score | None:
    """Returns the score of `one` minus `other` on their common rows; None if they cannot be compared."""
    import numpy as np

    if len(np.unique(one.index)) < len(one.index) or len(np.unique(other.index)) < len(other.index):
        return None
    shared, mine, theirs = np.intersect1d(one.index, other.index, return_indices=True)
    a, b = losses(part(one, mine)), losses(part(other, theirs))
    if len(shared) < FEWEST or a is None or b is None or a[:2] != b[:2]:
        return None
    if not np.array_equal(one.y_true[mine], other.y_true[theirs]):
        return None  # the same index stands for different rows
    return Score(a[0], a[1], bootstrap(a[2] - b[2], lambda chosen: chosen.mean(axis=-1), seed))


def part(found: ShownPredictions, rows: NDArray[Any]) -> ShownPredictions:
    return ShownPredictions(found.y_true[rows], found.y_pred[rows], found.index[rows])


def bootstrap(rows: NDArray[Any], of: Callable[[NDArray[Any]], Any], seed: int) -> EstimatedValue:
    """Returns the percentile interval over resampled rows, which it treats as independent."""
    import numpy as np

    chance = np.random.default_rng(seed)
    n = len(rows)
    drawn = np.empty(RESAMPLES)
    for k in range(RESAMPLES):
        drawn[k] = of(rows[chance.integers(0, n, n)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    return EstimatedValue(float(of(rows)), float(low), float(high), n, "bootstrap")


def calibration(found: ShownPredictions) -> list[Bin]:
    """Returns ten bins of equally many forecasts, with Wilson's intervals; [] if they are not probabilities."""
    import numpy as np

    if not is_binary(found) or len(found.y_true) < 5 * BINS:
        return []
    order = np.argsort(found.y_pred, kind="stable")
    return [
        Bin(float(found.y_pred[rows].mean()), share_interval(int(found.y_true[rows].sum()), len(rows)))
        for rows in np.array_split(order, BINS)
        if len(rows) and math.isfinite(float(found.y_pred[rows].mean()))
    ]
