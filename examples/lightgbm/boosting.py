"""Gradient boosting with LightGBM: each round is a step, pruned and resumed at a round.

    fts enqueue examples/lightgbm/boosting.py:objective --trials 8 --metric valid_0-l2
    fts worker --until-empty

Needs lightgbm and scikit-learn (for its diabetes data).
"""

import lightgbm as lgb
import optuna
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

import fts


def objective(trial: optuna.Trial) -> float:
    """Returns the squared error on a quarter of the patients."""
    patients = load_diabetes()
    x, held_out, y, truth = train_test_split(patients.data, patients.target / 100, test_size=0.25, random_state=0)
    params = {
        "objective": "l2",
        "num_threads": 1,
        "deterministic": True,
        "verbose": -1,
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.5, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 2, 32, log=True),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "bagging_freq": 1,
    }
    data = lgb.Dataset(x, y)
    callbacks = fts.callbacks.lightgbm(trial, "valid_0-l2")
    model = lgb.train(
        params,
        data,
        callbacks.rounds(25),
        valid_sets=[lgb.Dataset(held_out, truth, reference=data)],
        callbacks=callbacks,
        init_model=callbacks.model,
    )
    fts.predictions(trial, truth, model.predict(held_out))
    return callbacks.value
