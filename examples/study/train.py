"""Fits a polynomial to a curve by gradient descent, in a second or two: the functions of study.toml in this folder."""

import math
import random
from typing import Any

import fts

POINTS = {"S": 20, "M": 40, "L": 80}
CURVES = {
    "sine": lambda x: math.sin(3 * x),
    "steps": lambda x: float(x > 0),
    "line": lambda x: 2 * x,
}


def space(data: str, size: str) -> dict[str, Any]:
    """Returns the range of the degree: lines need no high degree, more points allow a higher one."""
    return {"degree": {"low": 1, "high": 2 if data == "line" else {"S": 4, "M": 8, "L": 15}[size]}}


def objective(trial: Any, data: str, size: str) -> dict[str, float]:
    params = trial.params
    dice = random.Random(fts.seed(trial, "points") % 2**32)
    train, val = points(dice, data, size), points(dice, data, size)
    weights, speed = [0.0] * (params["degree"] + 1), [0.0] * (params["degree"] + 1)
    losses = {}
    for epoch in range(5):
        for _ in range(20):
            slopes = gradient(weights, train)
            for k, slope in enumerate(slopes):
                speed[k] = params.get("momentum", 0.0) * speed[k] - params["lr"] * slope
                weights[k] += speed[k]
        losses = {"val_loss": loss(weights, val), "train_loss": loss(weights, train), "n_weights": float(len(weights))}
        fts.report(trial, epoch, **losses)
        if trial.should_prune():
            import optuna

            raise optuna.TrialPruned
    return losses


def baseline(trial: Any, data: str, size: str) -> dict[str, float]:
    """Predicts the mean of the curve."""
    dice = random.Random(fts.seed(trial, "points") % 2**32)
    train, val = points(dice, data, size), points(dice, data, size)
    mean = sum(y for _, y in train) / len(train)
    return {"val_loss": loss([mean], val), "n_weights": 1.0}


def points(dice: random.Random, data: str, size: str) -> list[tuple[float, float]]:
    places = [dice.uniform(-1, 1) for _ in range(POINTS[size])]
    return [(x, CURVES[data](x) + dice.gauss(0, 0.1)) for x in places]


def value(weights: list[float], x: float) -> float:
    return sum(weight * x**k for k, weight in enumerate(weights))


def loss(weights: list[float], rows: list[tuple[float, float]]) -> float:
    return min(sum((value(weights, x) - y) ** 2 for x, y in rows) / len(rows), 1e6)


def gradient(weights: list[float], rows: list[tuple[float, float]]) -> list[float]:
    errors = [value(weights, x) - y for x, y in rows]
    return [
        sum(2 * error * x**k for error, (x, _) in zip(errors, rows, strict=True)) / len(rows)
        for k in range(len(weights))
    ]
