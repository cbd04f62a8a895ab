r"""A network of one hidden layer on scikit-learn's digits, in numpy: a study of ten seconds.

    fts enqueue examples/function/digits.py:objective --trials 6 -m activation=relu,tanh \
        --direction maximize --metric accuracy
    fts worker --until-empty

It runs under plain Optuna, too: `optuna.create_study(direction="maximize").optimize(objective, n_trials=6)`.
"""

import numpy as np
import optuna
from sklearn.datasets import load_digits

import fts

EPOCHS, BATCH, TRAIN = 12, 32, 1300  # of 1,797 images of 8 x 8


def objective(trial: optuna.Trial, activation: str = "relu") -> float:
    """Returns the accuracy on 497 images outside the training set."""
    width = trial.suggest_int("width", 8, 64, log=True)
    rate = trial.suggest_float("learning_rate", 1e-3, 1.0, log=True)
    decay = trial.suggest_float("decay", 1e-6, 1e-2, log=True)
    digits = load_digits()
    x, y = digits.data / 16.0, digits.target
    rng = np.random.default_rng(fts.seed(trial, "weights"))
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {  # None at first; after a kill the last saved state
        "epoch": -1,
        "w1": rng.normal(0, 0.15, (64, width)),
        "w2": rng.normal(0, 0.15, (width, 10)),
    }
    accuracy = 0.0
    for epoch in range(state["epoch"] + 1, EPOCHS):
        order = np.random.default_rng(fts.seed(trial, f"order {epoch}")).permutation(TRAIN)
        for start in range(0, TRAIN, BATCH):
            step(state, x[rows := order[start : start + BATCH]], y[rows], activation, rate, decay)
        accuracy = float((logits(state, x[TRAIN:], activation).argmax(1) == y[TRAIN:]).mean())
        fts.report(trial, epoch, accuracy=accuracy)
        state["epoch"] = epoch
        checkpoint.save(state)
        if trial.should_prune():
            raise optuna.TrialPruned
    return accuracy


def hidden(state: dict, x: np.ndarray, activation: str) -> np.ndarray:
    z = x @ state["w1"]
    return np.tanh(z) if activation == "tanh" else np.maximum(z, 0)


def logits(state: dict, x: np.ndarray, activation: str) -> np.ndarray:
    return hidden(state, x, activation) @ state["w2"]


def step(state: dict, x: np.ndarray, y: np.ndarray, activation: str, rate: float, decay: float) -> None:
    """Takes one step of gradient descent on the cross-entropy."""
    h = hidden(state, x, activation)
    z = h @ state["w2"]
    p = np.exp(z - z.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(y)), y] -= 1.0
    back = (p @ state["w2"].T) * (1 - h**2 if activation == "tanh" else h > 0)
    state["w2"] -= rate * (h.T @ p / len(y) + decay * state["w2"])
    state["w1"] -= rate * (x.T @ back / len(y) + decay * state["w1"])
