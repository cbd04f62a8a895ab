"""Measures how often a 95 % interval contains the truth, on simulated years, and how often plain percentiles do.

python -m benchmarks coverage [--full]

Days have a persistent mood (an AR(1) with the given memory), the label says whether mood and chance of the next H days
exceed a level, and the forecaster sees the mood through equally persistent noise. 640 days, as in a validation split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks import Row
from fts.scores.dependence import block_length, effective_size
from fts.scores.intervals import SERIES, Interval, auc_interval, compare, resample
from fts.scores.metrics import METRICS

DAYS = 640
MANY_DAYS = 200_000  # number of days from which the truth is computed
RESAMPLES = 400
PLAIN = "percentiles of the same blocks"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of simulated year."""

    name: str
    memory: float  # of the mood and of the forecaster's noise: the correlation of consecutive days
    horizon: int = 1


KINDS = (
    Kind("independent days", 0.0),
    Kind("labels of 5 days", 0.0, 5),
    Kind("moods of weeks (.9)", 0.9),
    Kind("moods of months (.97)", 0.97),
    Kind("moods of months, 5 days", 0.97, 5),
)
SCORES = {"auc": "AUC", "log_loss": "log loss", "difference": "difference of two AUCs"}


def rows(quick: bool = True) -> list[Row]:
    """Returns a row per kind of year and score: the percentage of samples with an interval that contains the truth."""
    return [row for kind in KINDS for row in covered(kind, samples=40 if quick else 300)]


def covered(kind: Kind, samples: int) -> list[Row]:
    rng = np.random.default_rng(1)
    y, first, second = years(rng, MANY_DAYS, kind)
    truth = {name: float(METRICS[name](y, first, None)[0]) for name in ("auc", "log_loss")}
    truth["difference"] = truth["auc"] - float(METRICS["auc"](y, second, None)[0])
    held: dict[str, list[tuple[bool, bool, float]]] = {name: [] for name in SCORES}
    sizes = []
    for turn in range(samples):
        y, first, second = years(rng, DAYS, kind)
        for name, ours in intervals(y, first, second, kind.horizon, turn).items():
            plain = percentiles(name, y, first, second, kind.horizon, turn)
            wider = (ours.high - ours.low) / max(plain.high - plain.low, 1e-12)
            held[name].append((ours.covers(truth[name]), plain.covers(truth[name]), wider))
        series = SERIES["auc"](y, first)
        sizes.append(effective_size(series, block_length(series, kind.horizon)))
    told = []
    for name, found in held.items():
        kept, by_plain, wider = np.mean(found, axis=0).tolist()
        note = f"{wider:.2f} times as wide"
        note += f"; as good as {np.median(sizes):.0f} independent days of {DAYS}" if name == "auc" else ""
        told.append(
            Row(
                f"{SCORES[name]}, {kind.name}",
                100 * kept,
                "%",
                100 * by_plain,
                PLAIN,
                repeats=samples,
                note=note,
            )
        )
    return told


def intervals(y: Floats, first: Floats, second: Floats, horizon: int, seed: int) -> dict[str, Interval]:
    """Returns our intervals: the first forecaster's AUC and log loss, and the first AUC minus the second."""
    even = np.full(len(y), 0.5)  # its loss is the same on every day, so a difference to it is the loss itself
    loss = compare(y, first, even, horizon, "log_loss", seed, RESAMPLES)
    return {
        "auc": Interval(math.nan, *auc_interval(y, first, horizon, seed, RESAMPLES)),
        "log_loss": Interval(loss.first, loss.interval.low + loss.second, loss.interval.high + loss.second),
        "difference": compare(y, first, second, horizon, "auc", seed, RESAMPLES).interval,
    }


def percentiles(name: str, y: Floats, first: Floats, second: Floats, horizon: int, seed: int) -> Interval:
    """Returns the interval of the same bootstrap without widening."""
    metric = "log_loss" if name == "log_loss" else "auc"
    series = SERIES[metric](y, first) - (SERIES[metric](y, second) if name == "difference" else 0.0)
    weights = resample(len(y), block_length(series, horizon), seed, RESAMPLES)
    drawn = METRICS[metric](y, first, weights)
    if name == "difference":
        drawn = drawn - METRICS[metric](y, second, weights)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Interval(math.nan, float(low), float(high))


def years(rng: np.random.Generator, days: int, kind: Kind) -> tuple[Floats, Floats, Floats]:
    """Returns (labels, one forecaster's probabilities, another's), each of `days` values."""
    mood, own, other = (lasting(rng, days, kind.memory) for _ in range(3))
    chance = rng.standard_normal(days + kind.horizon - 1)
    ahead = np.convolve(chance, np.ones(kind.horizon), "valid") / math.sqrt(kind.horizon)
    y = (mood + ahead > 0.6).astype(float)
    first, second = (1 / (1 + np.exp(0.6 - 0.8 * mood - 0.6 * noise)) for noise in (own, other))
    return y, first, second


def lasting(rng: np.random.Generator, days: int, memory: float) -> Floats:
    """Returns a standard normal AR(1) of `days` values."""
    from scipy.signal import lfilter

    started = lfilter([math.sqrt(1 - memory**2)], [1, -memory], rng.standard_normal(days + 500))
    return np.asarray(started[500:])
