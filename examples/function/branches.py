"""Parameters that depend on each other: branches and loops, reports, pruning; no library but Optuna.

fts enqueue examples/function/branches.py:objective --trials 20
fts worker --until-empty
"""

import math

import optuna


def objective(trial: optuna.Trial) -> float:
    """A function with two minima, approached over ten steps."""
    kind = trial.suggest_categorical("kind", ["wide", "narrow"])
    x = trial.suggest_float("x", -5.0, 5.0)
    if kind == "wide":
        loss = 0.2 * x**2 + 1
    else:
        layers = trial.suggest_int("layers", 1, 3)
        loss = abs(x - 2) + sum(trial.suggest_float(f"width_{n}", 0.0, 1.0) for n in range(layers))
    for step in range(10):
        trial.report(loss + math.exp(-step), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return loss
