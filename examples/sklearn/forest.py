"""A forest or a support vector machine of scikit-learn, cross-validated fold by fold: pruned and resumed at a fold.

    fts enqueue examples/sklearn/forest.py:objective --trials 8 --direction maximize
    fts worker --until-empty

Needs scikit-learn.
"""

import optuna
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import fts


def objective(trial: optuna.Trial) -> float:
    """Returns the accuracy over five folds."""
    wine = load_wine()
    if trial.suggest_categorical("model", ["forest", "svm"]) == "forest":
        depth = trial.suggest_int("max_depth", 1, 16, log=True)
        model = RandomForestClassifier(n_estimators=20, max_depth=depth)  # unseeded: fts seeds numpy
    else:
        model = make_pipeline(StandardScaler(), SVC(C=trial.suggest_float("C", 1e-3, 1e3, log=True)))
    return fts.callbacks.sklearn(trial, model, wine.data, wine.target, cv=5)
