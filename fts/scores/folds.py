"""Scores a model that is trained again for each fold: the mean over its folds, with an interval over days and seeds.

Each fold has its own model, whose probabilities rank only its own days, so an AUC over all days would compare
predictions of different models. Days are resampled over all folds together, in blocks as in fts.scores.intervals. The
variation over seeds is added (Student's t of their spread), because resampling days does not show it.
"""

# shapes: N days of all folds in time order, S trainings of one configuration, R resamples

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fts.scores.dependence import LEVEL, block_length, freedom_of, widening
from fts.scores.intervals import RESAMPLES, SERIES, Interval, checked_labels, percentiles, resample
from fts.scores.metrics import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Luck:
    """Variation of a score among trainings of one configuration that differ only in their seed."""

    sd: float  # standard deviation of a score over folds
    freedom: int

    def half_width(self, trainings: Iterable[int]) -> float:
        """Half width of the 95 % interval of a sum of means, each over so many trainings; 0: that mean has no seed."""
        from scipy.stats import t  # here, not above: importing the types does not need it

        share = sum(1 / n for n in trainings if n)
        return float(t.ppf((1 + LEVEL) / 2, self.freedom)) * self.sd * float(np.sqrt(share))


def fold_days(n: int, folds: int) -> list[NDArray[np.int64]]:
    """Returns the days of each fold: validation parts have equal length and follow each other."""
    return np.array_split(np.arange(n), folds)


def over_folds(metric: str, y: Floats, p: Floats, folds: int, weights: Floats | None = None) -> Floats:
    """Returns the mean of the folds' scores: R values, one without weights; NaN if a fold has only one class."""
    score = METRICS[metric]
    with np.errstate(invalid="ignore", divide="ignore"):
        each = [score(y[k], p[k], None if weights is None else weights[:, k]) for k in fold_days(len(y), folds)]
    mean_R: Floats = np.mean(each, axis=0)
    return mean_R


def luck_of(scores: Iterable[Sequence[float]]) -> Luck | None:
    """Pools the seed variation over configurations; `scores` has one list per configuration. None if none has two."""
    again = [np.asarray(values, float) for values in scores if len(values) > 1]
    freedom = sum(len(values) - 1 for values in again)
    if not freedom:
        return None
    squares = sum(float(((values - values.mean()) ** 2).sum()) for values in again)
    return Luck(float(np.sqrt(squares / freedom)), freedom)


def over_seeds(recorded: Sequence[Sequence[float | None]], luck: Luck | None) -> Interval | None:
    """Returns the mean of the recorded scores of all trainings of one configuration; None if one has no interval.

    recorded: score, low and high end of each training. The interval is as wide as theirs on average, and for the luck
    of the seed. `fts results` and the page use it, so that they show the same numbers.
    """
    known = [(value, low, high) for value, low, high in recorded if None not in (value, low, high)]
    if not known or len(known) < len(recorded):
        return None
    score_S, low_S, high_S = np.array(known, float).T
    half, value = luck.half_width([len(known)]) if luck else 0.0, float(score_S.mean())
    below, above = (float(np.hypot(np.abs(end_S - score_S).mean(), half)) for end_S in (low_S, high_S))
    return Interval(value, max(0.0, value - below), min(1.0, value + above))


def measured(
    metric: str, y: Floats, p_SN: Sequence[Floats], folds: int, horizon: int, luck: Luck | None, n: int = RESAMPLES
) -> Interval:
    """Returns the mean score over folds and trainings of one configuration. Raises TooFewSamples."""
    return _interval(metric, y, (p_SN,), folds, horizon, luck, (len(p_SN),), n)


def paired(
    metric: str,
    y: Floats,
    first_SN: Sequence[Floats],
    second_SN: Sequence[Floats],
    folds: int,
    horizon: int,
    luck: Luck | None,
    trainings: tuple[int, int] | None = None,
    n: int = RESAMPLES,
) -> Interval:
    """Returns first minus second on the same days. `trainings`: how many of each depend on a seed (a single one: 0).

    Raises TooFewSamples.
    """
    usual = tuple(len(each) if len(each) > 1 else 0 for each in (first_SN, second_SN))
    return _interval(metric, y, (first_SN, second_SN), folds, horizon, luck, trainings or usual, n)


def _interval(
    metric: str,
    y: Floats,
    sides: Sequence[Sequence[Floats]],
    folds: int,
    horizon: int,
    luck: Luck | None,
    trainings: Iterable[int],
    n: int,
) -> Interval:
    """Returns one score over folds, or the first minus the second."""
    checked = [[checked_labels(y, p) for p in side] for side in sides]
    y = checked[0][0][0]
    signs = (1.0, -1.0)[: len(sides)]

    def combined(value: Callable[[Floats], Floats]) -> Floats:
        means = [np.mean([value(p) for _, p in side], axis=0) for side in checked]
        apart: Floats = np.sum([sign * mean for sign, mean in zip(signs, means, strict=True)], axis=0)
        return apart

    series = SERIES[metric]
    parts = fold_days(len(y), folds)
    apart = combined(lambda p: np.concatenate([series(y[k], p[k]) for k in parts]))
    block = block_length(apart, horizon)
    weights = resample(len(y), block, seed=0, n=n)
    value = float(combined(lambda p: over_folds(metric, y, p, folds))[0])
    drawn = combined(lambda p: over_folds(metric, y, p, folds, weights))
    name = metric if len(sides) == 1 else f"difference in {metric}"
    days = percentiles(name, value, drawn, widening(apart, block), freedom_of(len(y), block))
    half = luck.half_width(trainings) if luck is not None else 0.0
    if luck is None or half == 0:
        return days
    low, high = (float(np.hypot(end - value, half)) for end in (days.low, days.high))
    both = (((days.high - days.low) / 2, days.freedom), (half, luck.freedom))
    return Interval(value, value - low, value + high, _freedom_of_sum(both))


def _freedom_of_sum(parts: Sequence[tuple[float, float]]) -> float:
    """Returns the degrees of freedom of a sum of parts (Welch-Satterthwaite), (half width, freedom) each."""
    from scipy.stats import t  # here, not above: see Luck.half_width

    variances = [(half / float(t.ppf((1 + LEVEL) / 2, freedom))) ** 2 for half, freedom in parts]
    return sum(variances) ** 2 / sum(v**2 / freedom for v, (_, freedom) in zip(variances, parts, strict=True))
