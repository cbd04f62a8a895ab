"""Scores what a transformer has to beat: class prior, logistic regression, random forest, gradient boosting.

They see the same windows and the same split as every trial of the cell, in seconds. Two views of a window: `last row`
(the features of its last day, as they are) and `window` (its last day and every fifth before it, each feature
standardised within the window as RevIN does it for the transformer, plus the mean and sd that takes away, so that no
level is hidden).
"""

# shapes: T days, F features, N windows, C days of context

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fts.scores.dependence import TooFewSamples
from fts.scores.intervals import auc_interval
from fts.scores.metrics import METRICS, checked_pair

if TYPE_CHECKING:
    from fts.study.cell_data import CellData

Floats = NDArray[np.float32]

LAST_ROW, WINDOW, NOTHING = "last row", "window", "nothing"
PRIOR = "class prior"
TREES = 200
DAYS_APART = 5  # all 80 days of 25 features cost a forest 25 s and won nothing over every fifth (S&P 500, h1 and h5)
SMALLEST_SD = 1e-8  # a feature that stands still within a window becomes 0, not infinite


@dataclass(frozen=True)
class BaselineResult:
    name: str  # class prior | logistic regression | random forest | gradient boosting
    inputs: str  # nothing | last row | window
    n_val: int
    n_pos: int
    loss: float  # log loss in nats
    auc: float
    auc_low: float  # 95 % interval
    auc_high: float
    brier: float
    average_precision: float
    seconds: float  # fit and predict
    predictions: NDArray[np.float32]  # probabilities, in the order of val_ends


def run_baselines(cell: CellData, seed: int = 0, n_jobs: int = 1) -> Iterator[BaselineResult]:
    """One result per baseline and view, cheapest first; same cell and seed, same numbers (whatever n_jobs is).

    n_jobs: threads of the random forest (-1: all). Raises ValueError when a window has no label or a missing feature.
    """
    for baseline in BASELINES:
        yield fit_one(baseline["model"], baseline["inputs"], cell, seed, n_jobs)


def fit_one(name: str, inputs: str, cell: CellData, seed: int = 0, n_jobs: int = 1) -> BaselineResult:
    """One baseline on one view of the windows, an entry of BASELINES; raises KeyError for any other."""
    if name == PRIOR:
        return score_baseline(name, inputs, cell, lambda: np.full(len(cell.val_ends), cell.prior), seed)
    view = VIEWS[inputs]
    train, val = view(cell, cell.train_ends), view(cell, cell.val_ends)
    predict = partial(_fit_and_predict, MODELS[name](seed, n_jobs), train, _labels(cell, cell.train_ends), val)
    return score_baseline(name, inputs, cell, predict, seed)


def best_baseline(results: list[BaselineResult], by: str = "auc") -> BaselineResult:
    """The strongest of them: highest `auc` or `average_precision`, lowest `loss` or `brier`."""
    if not results:
        raise ValueError("there are no baseline results to choose from; run the baselines first")
    sign = 1 if by in ("auc", "average_precision") else -1
    return max(results, key=lambda result: sign * getattr(result, by))


def score_baseline(
    name: str, inputs: str, cell: CellData, predict: Callable[[], NDArray[Any]], seed: int
) -> BaselineResult:
    """Times `predict` (probabilities in the order of val_ends) and scores it on the validation labels of `cell`."""
    start = time.perf_counter()
    predictions = predict()
    seconds = time.perf_counter() - start
    return score_predictions(name, inputs, _labels(cell, cell.val_ends), predictions, cell.horizon, seed, seconds)


def score_predictions(
    name: str, inputs: str, y: ArrayLike, predictions: ArrayLike, horizon: int, seed: int = 0, seconds: float = 0.0
) -> BaselineResult:
    """The scores of stored probabilities: y 0/1 and predictions, n_val each in time order; horizon in trading days."""
    y_N, p_N = checked_pair(y, np.asarray(predictions, dtype=np.float32))
    scores = {metric: float(score(y_N, p_N, None)[0]) for metric, score in METRICS.items()}
    try:
        low, high = auc_interval(y_N, p_N, horizon, seed)
    except TooFewSamples:
        low, high = 0.0, 1.0  # nothing is known of it
    return BaselineResult(
        name=name,
        inputs=inputs,
        n_val=len(y_N),
        n_pos=int(y_N.sum()),
        loss=scores["log_loss"],
        auc=scores["auc"],
        auc_low=low,
        auc_high=high,
        brier=scores["brier"],
        average_precision=scores["average_precision"],
        seconds=seconds,
        predictions=np.asarray(predictions, dtype=np.float32),
    )


def last_rows(cell: CellData, ends: NDArray[np.int64]) -> Floats:
    """x_NF: the features of each window's last day."""
    return cell.features_TF[ends]


def flat_windows(cell: CellData, ends: NDArray[np.int64]) -> Floats:
    """Each window standardised per feature, every fifth day flattened, then the means and sds that were taken away.

    Result: (N, F * (days kept + 2)).
    """
    days = ends[:, None] + np.arange(1 - cell.context, 1)[None, :]
    x_NCF = cell.features_TF[days]
    mean_N1F = x_NCF.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    sd_N1F = x_NCF.std(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    x_NCF = (x_NCF - mean_N1F) / np.maximum(sd_N1F, SMALLEST_SD)
    x_NCF = x_NCF[:, ::-DAYS_APART]
    return np.concatenate([x_NCF.reshape(len(ends), -1), mean_N1F[:, 0], sd_N1F[:, 0]], axis=1)


def _fit_and_predict(model: Any, train: Floats, labels: NDArray[np.int64], val: Floats) -> NDArray[Any]:
    predicted: NDArray[Any] = model.fit(train, labels).predict_proba(val)[:, 1]
    return predicted


def _logistic(seed: int, _n_jobs: int) -> Any:
    from sklearn.linear_model import LogisticRegression  # 1 s of imports, paid only by who fits
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, solver="newton-cholesky", random_state=seed))


def _forest(seed: int, n_jobs: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier  # see _logistic

    return RandomForestClassifier(
        TREES,
        min_samples_leaf=10,
        max_features="sqrt",
        max_samples=0.5,  # neighbouring windows are nearly copies: half of them make the trees differ
        random_state=seed,
        n_jobs=n_jobs,
    )


def _boosting(seed: int, _n_jobs: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # see _logistic

    return HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=100,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=1.0,
        max_features=0.3,
        early_stopping=False,  # its validation share would be drawn at random from overlapping windows
        random_state=seed,
    )


VIEWS: dict[str, Callable[[Any, NDArray[np.int64]], Floats]] = {LAST_ROW: last_rows, WINDOW: flat_windows}
MODELS: dict[str, Callable[[int, int], Any]] = {
    "logistic regression": _logistic,
    "random forest": _forest,
    "gradient boosting": _boosting,
}

# cheapest first; trial n of a baseline job is entry n
BASELINES = [{"model": PRIOR, "inputs": NOTHING}] + [
    {"model": model, "inputs": inputs} for inputs in VIEWS for model in MODELS
]


def _labels(cell: CellData, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    y = cell.y_T[ends]
    if not np.isfinite(y).all():
        raise ValueError(
            f"{int((~np.isfinite(y)).sum())} of {len(y)} windows of {cell.name} have no label: their future is unknown"
        )
    return y.astype(np.int64)
