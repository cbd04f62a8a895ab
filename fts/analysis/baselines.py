"""The baselines: class prior, volatility forecasts, regression, trees, a small network.

They use the same windows and the same split as every trial of the cell, and take seconds. Three views: `last row` (the
raw features of a window's last day), `window` (its last day and every fifth before it, each feature standardised within
the window as RevIN does for the transformer, plus the removed mean and sd, so that no level is hidden) and `bars` (the
prices up to the window's last day, for a forecast of the volatility).
"""

# shapes: T days, F features, N windows, C days of context

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fts.analysis.boosted import HISTOGRAMS, LIGHTGBM, XGBOOST, BoostedTrees, installed
from fts.analysis.volatility import ATR, EWMA, FORECASTS, GARCH, HAR, log_variance
from fts.scores.dependence import TooFewSamples
from fts.scores.folds import measured, over_folds
from fts.scores.intervals import auc_interval
from fts.scores.metrics import METRICS, checked_pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Floats = NDArray[np.float32]


class CellData(Protocol):
    """The fields of a cell's data (fts.study.cell_data) that baselines use. T rows, F features."""

    @property
    def features_TF(self) -> Floats: ...  # noqa: N802  # shapes are upper-case suffixes
    @property
    def bars_T5(self) -> NDArray[np.float64]: ...  # noqa: N802
    @property
    def y_T(self) -> Floats: ...  # noqa: N802
    @property
    def train_ends(self) -> NDArray[np.int64]: ...
    @property
    def val_ends(self) -> NDArray[np.int64]: ...
    @property
    def name(self) -> str: ...
    @property
    def context(self) -> int: ...
    @property
    def horizon(self) -> int: ...
    @property
    def prior(self) -> float: ...


LAST_ROW, WINDOW, BARS, NOTHING = "last row", "window", "bars", "nothing"
PRIOR, NETWORK = "class prior", "small network"
TREES = 200
DAYS_APART = 5  # all 80 days of 25 features took a forest 25 s and were no better than every fifth (S&P 500, h1 and h5)
EPOCHS = 20  # of the small network
SMALLEST_SD = 1e-8  # a feature that is constant within a window becomes 0, not infinite


@dataclass(frozen=True)
class BaselineResult:
    name: str  # as in BASELINES
    inputs: str  # nothing | last row | window | bars
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
    """Yields one result per baseline and view, cheapest first; deterministic for cell and seed, whatever n_jobs is.

    n_jobs: threads of the random forest (-1: all). Raises ValueError if a window has no label or a missing feature.
    """
    for number in range(len(BASELINES)):
        baseline = baseline_params(number)
        yield fit_one(baseline["model"], baseline["inputs"], cell, seed, n_jobs)


def baseline_params(number: int) -> dict[str, str]:
    """Returns the parameters of trial `number` of a baseline job: an entry of BASELINES and the boosting library.

    The trial's record keeps the library, so that a result keeps its meaning if another library is installed later.
    """
    if not 0 <= number < len(BASELINES):
        raise ValueError(
            f"there are {len(BASELINES)} baselines, from trial 0 to {len(BASELINES) - 1}; asked for {number}"
        )
    baseline = dict(BASELINES[number])
    return baseline | {"model": installed()} if baseline["model"] == HISTOGRAMS else baseline


def fit_one(name: str, inputs: str, cell: CellData, seed: int = 0, n_jobs: int = 1) -> BaselineResult:
    """Fits one baseline on one view of the windows, an entry of BASELINES. Raises KeyError for any other."""
    if name == PRIOR:
        return score_baseline(name, inputs, cell, lambda: np.full(len(cell.val_ends), cell.prior), seed)
    train, val = _seen(name, inputs, cell, seed)
    predict = partial(_fit_and_predict, MODELS[name](seed, n_jobs), train, _labels(cell, cell.train_ends), val)
    return score_baseline(name, inputs, cell, predict, seed)


def best_baseline(results: list[BaselineResult], by: str = "auc") -> BaselineResult:
    """Returns the strongest result: highest `auc` or `average_precision`, lowest `loss` or `brier`."""
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
    """Scores stored probabilities: y 0/1 and predictions, n_val each in time order; horizon in trading days."""
    y_N, p_N = checked_pair(y, np.asarray(predictions, dtype=np.float32))
    scores = {metric: float(score(y_N, p_N, None)[0]) for metric, score in METRICS.items()}
    try:
        low, high = auc_interval(y_N, p_N, horizon, seed)
    except TooFewSamples:
        low, high = 0.0, 1.0  # no interval is known
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


def on_folds(result: BaselineResult, y: ArrayLike, folds: int, horizon: int) -> BaselineResult:
    """Returns the result with AUC as the mean over folds, each predicted by its own model."""
    y_N, p_N = checked_pair(y, result.predictions)
    auc = float(over_folds("auc", y_N, p_N, folds)[0])
    try:
        interval = measured("auc", y_N, [p_N], folds, horizon, None, 500)
    except TooFewSamples:
        return replace(result, auc=auc, auc_low=0.0, auc_high=1.0)
    return replace(result, auc=auc, auc_low=interval.low, auc_high=interval.high)


def last_rows(cell: CellData, ends: NDArray[np.int64]) -> Floats:
    """Returns x_NF: the features of each window's last day."""
    return cell.features_TF[ends]


def flat_windows(cell: CellData, ends: NDArray[np.int64]) -> Floats:
    """Returns windows standardised per feature, every fifth day flattened, then the removed means and sds.

    Result: (N, F * (days kept + 2)).
    """
    days = ends[:, None] + np.arange(1 - cell.context, 1)[None, :]
    x_NCF = cell.features_TF[days]
    mean_N1F = x_NCF.mean(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    sd_N1F = x_NCF.std(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)
    x_NCF = (x_NCF - mean_N1F) / np.maximum(sd_N1F, SMALLEST_SD)
    x_NCF = x_NCF[:, ::-DAYS_APART]
    return np.concatenate([x_NCF.reshape(len(ends), -1), mean_N1F[:, 0], sd_N1F[:, 0]], axis=1)


def _seen(name: str, inputs: str, cell: CellData, seed: int) -> tuple[Floats, Floats]:
    """Returns a baseline's inputs for each training and each validation window, both (N, inputs)."""
    ends = cell.train_ends, cell.val_ends
    if inputs == BARS:
        days = log_variance(name, cell.bars_T5, int(cell.train_ends[-1]) + 1, cell.horizon, seed)
        return days[ends[0], None].astype(np.float32), days[ends[1], None].astype(np.float32)
    return VIEWS[inputs](cell, ends[0]), VIEWS[inputs](cell, ends[1])


def _fit_and_predict(model: Any, train: Floats, labels: NDArray[np.int64], val: Floats) -> NDArray[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Stochastic Optimizer: Maximum iterations")  # stopping at EPOCHS is intended
        predicted: NDArray[Any] = model.fit(train, labels).predict_proba(val)[:, 1]
    return predicted


def _logistic(seed: int, _n_jobs: int) -> Any:
    from sklearn.linear_model import LogisticRegression  # here, not above: 1 s of imports
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
        early_stopping=False,  # its validation share would be a random draw from overlapping windows
        random_state=seed,
    )


def _network(seed: int, _n_jobs: int) -> Any:
    """32 units; penalty and epochs were chosen on folds of the training days of two indices (docs/LOG.md)."""
    from sklearn.neural_network import MLPClassifier  # see _logistic
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((32,), alpha=1.0, batch_size=64, max_iter=EPOCHS, random_state=seed)
    return make_pipeline(StandardScaler(), network)


def _volatility(seed: int, _n_jobs: int) -> Any:
    """Maps the logarithm of a forecast variance to a probability; fits two numbers."""
    from sklearn.linear_model import LogisticRegression  # see _logistic
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=1e4, solver="newton-cholesky", random_state=seed))


VIEWS: dict[str, Callable[[Any, NDArray[np.int64]], Floats]] = {LAST_ROW: last_rows, WINDOW: flat_windows}
MODELS: dict[str, Callable[[int, int], Any]] = {
    "logistic regression": _logistic,
    "random forest": _forest,
    "gradient boosting": _boosting,
    NETWORK: _network,
    **dict.fromkeys(FORECASTS, _volatility),
    **{library: partial(BoostedTrees, library) for library in (XGBOOST, LIGHTGBM, HISTOGRAMS)},
}

# Trial n of a baseline job is entry n for ever: add new entries at the end; they extend jobs with fewer. To change
# what an entry computes, add a new one with a `version`, which makes it another configuration.
BASELINES: list[dict[str, str]] = [
    {"model": PRIOR, "inputs": NOTHING},
    *({"model": model, "inputs": inputs} for inputs in VIEWS for model in list(MODELS)[:3]),
    *({"model": model, "inputs": BARS} for model in (ATR, EWMA, HAR, GARCH)),
    {"model": NETWORK, "inputs": LAST_ROW},
    {"model": HISTOGRAMS, "inputs": LAST_ROW},
]


def _labels(cell: CellData, ends: NDArray[np.int64]) -> NDArray[np.int64]:
    y = cell.y_T[ends]
    if not np.isfinite(y).all():
        raise ValueError(
            f"{int((~np.isfinite(y)).sum())} of {len(y)} windows of {cell.name} have no label: their future is unknown"
        )
    return y.astype(np.int64)
