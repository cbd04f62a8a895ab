"""`fts init xgboost`: gradient boosting with one report per round."""

STUDY = """\
# fts check study.toml      tries it: repeatable? resumable? how long, how much memory?
# fts enqueue study.toml    adds it to the queue;  fts worker  runs it;  fts status  shows its progress

[study]
name = "wines"
objective = "train.py:objective"
seed = 0                            # same seed, same search

[budget]
trials = 6                          # raise it and enqueue again: more trials are added
epochs = 25                         # reports of a whole trial: rounds

[metrics]
validation-mlogloss = { goal = "minimize" }

[search]
sampler = "tpe"                     # or random, gp
pruner = "median"                   # or none, percentile, halving
"""

SCRIPT = '''\
"""Gradient boosting on scikit-learn's wines; a trial takes a second. Put your own data here."""

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
'''
