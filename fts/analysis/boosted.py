"""Boosted trees as in the earlier study: XGBoost, else LightGBM, else scikit-learn's, whichever is installed.

Depth 6, at most 100 trees, step size .1, 80 % of the rows and features per tree. The earlier scripts stopped at the
tree that was best on the validation days themselves. Here the number of trees has the lowest loss on the last fifth of
the training days; then the model is fitted on all training days.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from fts.installing import installing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

XGBOOST, LIGHTGBM, HISTOGRAMS = "XGBoost", "LightGBM", "boosted trees"
MODULES = {XGBOOST: "xgboost", LIGHTGBM: "lightgbm"}
TREES = 100
HELD_OUT = 0.2  # of the training windows, the last in time
GAP = 80  # windows between those and the earlier ones: closer ones share days


def installed() -> str:
    """Returns the library that a new trial uses here; its record keeps the name."""
    return next((name for name, module in MODULES.items() if find_spec(module) is not None), HISTOGRAMS)


class BoostedTrees:
    """A classifier with scikit-learn's two methods."""

    def __init__(self, library: str, seed: int, n_jobs: int) -> None:
        if library in MODULES and find_spec(MODULES[library]) is None:
            module = MODULES[library]
            raise ModuleNotFoundError(f"{library} is not installed here; run `{installing(module)}`", name=module)
        self.library, self.seed, self.n_jobs = library, seed, n_jobs

    def fit(self, x: NDArray[Any], y: NDArray[Any]) -> BoostedTrees:
        stop = int(len(x) * (1 - HELD_OUT))
        earlier, later = slice(0, max(1, stop - GAP)), slice(stop, None)
        self.n_trees = TREES
        if len(np.unique(y[earlier])) > 1 and len(np.unique(y[later])) > 1:
            tried = _classifier(self.library, TREES, self.seed, self.n_jobs).fit(x[earlier], y[earlier])
            self.n_trees = 1 + int(np.argmin(list(_losses(_stages(self.library, tried, x[later]), y[later]))))
        self.model = _classifier(self.library, self.n_trees, self.seed, self.n_jobs).fit(x, y)
        return self

    def predict_proba(self, x: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.model.predict_proba(x)
        return found


def _losses(stages: Iterable[NDArray[Any]], y: NDArray[Any]) -> Iterator[float]:
    for p in stages:
        p = np.clip(p[:, 1].astype(np.float64), 1e-7, 1 - 1e-7)
        yield -float(np.mean(np.where(y == 1, np.log(p), np.log(1 - p))))


def _stages(library: str, model: Any, x: NDArray[Any]) -> Iterable[NDArray[Any]]:
    """Yields the probabilities of the first tree, of the first two, and so on."""
    if library == XGBOOST:
        return (model.predict_proba(x, iteration_range=(0, n)) for n in range(1, TREES + 1))
    if library == LIGHTGBM:
        return (model.predict_proba(x, num_iteration=n) for n in range(1, TREES + 1))
    stages: Iterable[NDArray[Any]] = model.staged_predict_proba(x)
    return stages


def _classifier(library: str, trees: int, seed: int, n_jobs: int) -> Any:
    if library == XGBOOST:
        from xgboost import XGBClassifier  # optional, not a dependency

        return XGBClassifier(
            n_estimators=trees, max_depth=6, learning_rate=0.1, subsample=0.8, colsample_bytree=0.8, random_state=seed,
            n_jobs=n_jobs, verbosity=0,
        )  # fmt: skip
    if library == LIGHTGBM:
        from lightgbm import LGBMClassifier  # likewise

        return LGBMClassifier(
            n_estimators=trees, max_depth=6, num_leaves=64, learning_rate=0.1, subsample=0.8, subsample_freq=1,
            colsample_bytree=0.8, random_state=seed, n_jobs=n_jobs, deterministic=True, force_col_wise=True, verbose=-1,
        )  # fmt: skip
    from sklearn.ensemble import HistGradientBoostingClassifier  # here, not above: 1 s of imports

    return HistGradientBoostingClassifier(
        max_iter=trees, max_depth=6, max_leaf_nodes=64, learning_rate=0.1, max_features=0.8, early_stopping=False,
        random_state=seed,
    )  # fmt: skip
