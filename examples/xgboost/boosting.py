"""Gradient boosting with XGBoost: each round is a step, pruned and resumed at a round.

    fts enqueue examples/xgboost/boosting.py:objective --trials 8 --metric validation-mlogloss
    fts worker --until-empty

Needs xgboost and scikit-learn (for its wine data).
"""

import optuna
import xgboost as xgb
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import fts


def objective(trial: optuna.Trial) -> float:
    """Returns the cross-entropy on a quarter of the wines."""
    wine = load_wine()
    x, held_out, y, truth = train_test_split(wine.data, wine.target, test_size=0.25, random_state=0)
    validation = xgb.DMatrix(held_out, truth)
    params = {
        "objective": "multi:softprob",
        "num_class": 3,
        "nthread": 1,
        "eta": trial.suggest_float("eta", 0.01, 0.5, log=True),
        "max_depth": trial.suggest_int("max_depth", 1, 6),
        "subsample": trial.suggest_float("subsample", 0.5, 1.0),
        "colsample_bynode": trial.suggest_float("colsample_bynode", 0.3, 1.0),
    }
    callback = fts.callbacks.xgboost(trial, "validation-mlogloss")
    model = xgb.train(
        params,
        xgb.DMatrix(x, y),
        callback.rounds(25),
        evals=[(validation, "validation")],
        callbacks=[callback],
        xgb_model=callback.model,
        verbose_eval=False,
    )
    fts.predictions(trial, truth, model.predict(validation))
    return callback.value
