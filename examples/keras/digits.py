"""A Keras model on scikit-learn's digits: pruned, resumed at its last epoch.

    KERAS_BACKEND=torch fts enqueue examples/keras/digits.py:objective --trials 4 --metric val_loss
    fts worker --until-empty

Needs keras with one of its backends, and scikit-learn.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")  # tensorflow and jax work, too

import keras
import optuna
from sklearn.datasets import load_digits

import fts


def objective(trial: optuna.Trial) -> float:
    """Returns the cross-entropy on images outside the training set."""
    digits = load_digits()
    x, y = digits.data / 16.0, digits.target
    model = keras.Sequential(
        [
            keras.layers.Input((64,)),
            keras.layers.Dense(trial.suggest_int("width", 16, 64, log=True), activation="relu"),
            keras.layers.Dropout(trial.suggest_float("dropout", 0.0, 0.5)),
            keras.layers.Dense(10),
        ]
    )
    rate = trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    callback = fts.callbacks.keras(trial, "val_loss")
    held_out = (x[1300:], y[1300:])
    model.fit(
        x[:1300],
        y[:1300],
        batch_size=64,
        epochs=4,
        initial_epoch=callback.initial_epoch,
        validation_data=held_out,
        callbacks=[callback],
        verbose=0,
    )
    return callback.value
