"""Cross-validation of a scikit-learn estimator that can be pruned and resumed after each fold.

def objective(trial):
    forest = RandomForestClassifier(max_depth=trial.suggest_int("depth", 2, 32, log=True))
    return fts.callbacks.sklearn(trial, forest, X, y, cv=5)
"""

from __future__ import annotations

import importlib
from typing import Any

from fts.jobs.trial.callbacks.epochs import Epochs

SCORE = "score"


def sklearn(trial: Any, estimator: Any, X: Any, y: Any, cv: Any = 5, scoring: Any = None, groups: Any = None) -> float:
    """Returns the mean score over the folds. Each fold reports the mean so far and its own score.

    `cv`, `scoring` and `groups` are as in cross_val_score.
    """
    base, selection = (importlib.import_module(f"sklearn.{name}") for name in ("base", "model_selection"))
    rows = importlib.import_module("sklearn.utils")._safe_indexing
    scorer = importlib.import_module("sklearn.metrics").check_scoring(estimator, scoring)
    splitter = selection.check_cv(cv, y, classifier=base.is_classifier(estimator))
    folds = list(splitter.split(X, y, groups))  # before load() restores the generators, from which a shuffle draws
    epochs = Epochs(trial, SCORE)
    scores: list[float] = epochs.state["scores"] if epochs.state else []
    for fold, (train, test) in enumerate(folds):
        if fold < epochs.done:
            continue
        fitted = base.clone(estimator).fit(rows(X, train), None if y is None else rows(y, train))
        scores.append(float(scorer(fitted, rows(X, test), None if y is None else rows(y, test))))
        epochs.report(fold, {SCORE: sum(scores) / len(scores), "fold": scores[-1]})
        epochs.save(fold, lambda: {"scores": scores})
        epochs.prune(fold)
    return sum(scores) / len(scores)
