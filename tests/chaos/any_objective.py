"""What the studies of any_study.py run: each function checkpoints, and says when it goes on from a wrong state."""

from __future__ import annotations

import os
import random
import time
from typing import Any

import optuna

import fts

PAUSE_S = float(os.environ.get("STORM_PAUSE_S", "0.02"))
EPOCHS = 5


def descend(
    trial: Any, rate: float, harm: float = 0.0, epochs: int = EPOCHS, metric: str = "val_loss", **more: float
) -> float:
    """A few epochs, each with a file in its checkpoint that must be the one of the state."""
    checkpoint = fts.checkpoint(trial)
    state = checkpoint.load() or {"epoch": 0, "loss": 1.0, "log": []}
    if state["epoch"]:
        kept = checkpoint.files["weights.txt"].read_text()
        assert kept == repr(state["loss"]), f"the file says {kept}, the state {state['loss']!r}"
    for epoch in range(state["epoch"] + 1, epochs + 1):
        time.sleep(PAUSE_S)
        loss = state["loss"] * (1 - rate) + harm * random.random()
        state = {"epoch": epoch, "loss": loss, "log": [*state["log"], loss]}
        if epoch == 2:
            trial.set_user_attr("second", loss)
            trial.set_constraint("second", loss - 0.9)
        fts.report(trial, epoch, **{metric: loss}, **more)
        weights = checkpoint.dir / "weights.txt"
        weights.write_text(repr(loss))
        checkpoint.save(state, files=[weights])
        if trial.should_prune():
            raise optuna.TrialPruned
    assert len(state["log"]) == epochs
    return float(state["loss"])


def declared(trial: Any, lr: float, layers: int, optimizer: str, momentum: float | None, size: str) -> Any:
    """Goals, a constraint, branches, predictions and an artifact."""
    loss = descend(trial, lr, 0.01 + (momentum or 0.0) / 20, latency=float(layers))
    fts.predictions(trial, [0.0, 1.0, 2.0], [loss, 1 - loss, 2 - loss], index=["a", "b", "c"])
    model = fts.checkpoint(trial).dir / "model.txt"
    model.write_text(repr(loss))
    fts.artifact(trial, model)
    return {"val_loss": loss, "latency": layers * (2.0 if size == "M" else 1.0), "n_params": 10.0 * layers}


def baseline(trial: Any, size: str) -> Any:
    return {"val_loss": 0.5, "latency": 1.0, "n_params": 1.0}


def branches(trial: Any) -> float:
    """Define-by-run."""
    rate = trial.suggest_float("lr", 1e-3, 0.5, log=True)
    widths = [trial.suggest_int(f"width{n}", 1, 9) for n in range(trial.suggest_int("layers", 1, 3))]
    if trial.suggest_categorical("optimizer", ["adam", "sgd"]) == "sgd":
        rate *= 1 - trial.suggest_float("momentum", 0.0, 0.9)
    return descend(trial, rate, 0.002 * sum(widths))


def two_goals(trial: Any) -> tuple[float, float]:
    x = trial.suggest_float("x", 0.0, 1.0)
    y = trial.suggest_float("y", 0.0, 1.0)
    return descend(trial, x, 0.0, 3, "loss") + y, x * x + (1 - y) ** 2


def wordy(trial: Any) -> float:
    """Each trial adds some fourteen thousand letters to the history."""
    words = [str(n) * 2000 for n in range(7)]
    word = trial.suggest_categorical("word", words)
    x = trial.suggest_float("x", 0.0, 1.0)
    time.sleep(PAUSE_S)
    trial.report(x, 1)
    return float(x + len(word) % 7)


def points(width: int, kind: str, power: float | None) -> float:
    time.sleep(PAUSE_S)
    return 1 / width + (0.0 if power is None else power)


def shrinks(trial: Any, size: int) -> float:
    """Fits once it was made small enough."""
    loss = descend(trial, size / 10, 0.0, 2)
    if fts.shrink(trial) < size:
        raise MemoryError(f"{size} is too large")
    return loss + fts.shrink(trial)


def too_large(trial: Any, size: int) -> float:
    """Some never fit."""
    loss = descend(trial, size / 20, 0.0, 2)
    if size > 5:
        raise MemoryError(f"{size} is too large")
    return loss


def numbers(x: float, y: float, seed: int) -> float:
    time.sleep(PAUSE_S)
    return (x - 0.3) ** 2 + (y - 0.6) ** 2 + seed % 7 / 100


def hangs(trial: Any, x: float) -> float:
    """Some never come to their end."""
    loss = descend(trial, x, 0.0, 2)
    while x > 0.7:
        time.sleep(0.1)
    return loss


def diverges(trial: Any, x: float) -> float:
    loss = descend(trial, x, 0.0, 3)
    if 0.4 < x < 0.5:
        raise ValueError("of its own making")
    return float("nan") if x > 0.6 else loss
