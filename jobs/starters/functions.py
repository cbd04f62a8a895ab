"""`fts init function`: a small numpy network that reports, saves checkpoints and can be pruned."""

STUDY = """\
# fts check study.toml      tries it: repeatable? resumable? how long, how much memory?
# fts enqueue study.toml    adds it to the queue;  fts worker  runs it;  fts status  shows its progress

[study]
name = "circles"
objective = "train.py:objective"
seed = 0                            # same seed, same search

[matrix]                            # each combination is a cell with a search of its own
activation = ["relu", "tanh"]

[budget]
trials = 6                          # of each cell; raise it and enqueue again: more trials are added
epochs = 10                         # reports of a whole trial, for the forecast

[metrics]
loss = { goal = "minimize" }
accuracy = {}                       # recorded, too

[search]
sampler = "tpe"                     # or random, gp
pruner = "median"                   # or none, percentile, halving
"""

SCRIPT = '''\
"""A network of one hidden layer on two noisy half circles; a trial takes a second. Put your own training here."""

import numpy as np
import optuna

import fts

EPOCHS, ROWS = 10, 400


def objective(trial, activation="relu"):
    width = trial.suggest_int("width", 2, 32, log=True)
    rate = trial.suggest_float("rate", 1e-2, 3.0, log=True)

    x, y = half_circles(np.random.default_rng(0))
    rng = np.random.default_rng(fts.seed(trial, "weights"))  # differs from trial to trial, never from run to run
    checkpoint = fts.checkpoint(trial)  # survives kill -9
    state = checkpoint.load() or {"epoch": -1, "w1": rng.normal(0, 1, (3, width)), "w2": rng.normal(0, 1, (width, 1))}
    loss = np.inf
    for epoch in range(state["epoch"] + 1, EPOCHS):
        for _ in range(20):
            loss, accuracy = step(state, x, y, activation, rate)
        fts.report(trial, epoch, loss=loss, accuracy=accuracy)
        state["epoch"] = epoch
        checkpoint.save(state)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss


def half_circles(rng):
    angle = rng.uniform(0, np.pi, ROWS)
    side = np.arange(ROWS) % 2
    x = np.where(side, 1 - np.cos(angle), np.cos(angle)), np.where(side, 0.5 - np.sin(angle), np.sin(angle))
    noisy = np.stack(x, axis=1) + rng.normal(0, 0.2, (ROWS, 2))
    return np.c_[noisy, np.ones(ROWS)], side[:, None].astype(float)


def step(state, x, y, activation, rate):
    """One step of gradient descent on the cross-entropy; the loss and accuracy before it."""
    z = x @ state["w1"]
    h = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
    p = 1 / (1 + np.exp(-np.clip(h @ state["w2"], -30, 30)))
    back = (p - y) @ state["w2"].T * (1 - h**2 if activation == "tanh" else h > 0)
    state["w2"] = state["w2"] - rate * h.T @ (p - y) / ROWS
    state["w1"] = state["w1"] - rate * x.T @ back / ROWS
    loss = -np.mean(y * np.log(p + 1e-9) + (1 - y) * np.log(1 - p + 1e-9))
    return float(loss), float(((p > 0.5) == y).mean())
'''
