"""Puts a 95 % interval around every score by resampling blocks of days: overlapping windows are not independent.

A label of horizon H shares H - 1 days with its neighbour and predictions change slowly, so 500 validation days contain
less information than 500 coin tosses. Blocks of days are therefore drawn together: the stationary bootstrap of Politis
and Romano (1994, JASA 89, 1303-1313) of the `arch` package, with the block length of Politis and White (2004), never
below H or the square root of N, because calm and wild months last longer than their rule detects. Percentiles are then
widened for the small number of blocks and for the slow dependence that blocks miss (fts.scores.dependence).
`python -m benchmarks coverage --full` measures how often the interval contains the truth: with moods that last for
months (AR .97, 640 days) in less than 95 of 100 cases, so treat a narrow miss of zero as no miss.
"""

# shapes: N samples in time order, R resamples

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fts.scores.dependence import LEVEL, TooFewSamples, block_length, effective_size, freedom_of, widening
from fts.scores.metrics import (
    METRICS,
    Metric,
    auc,
    auc_influence,
    calibration_noise,
    checked_pair,
    expected_calibration_error,
    log_losses,
    precision_at,
    recall_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RESAMPLES = 1000  # with 1000 the ends of a 95 % interval vary by about 0.1 of its width between seeds
RANGES = dict.fromkeys(("auc", "brier", "average_precision", "precision", "recall", "calibration_error"), (0.0, 1.0))
RANGES["log_loss"] = (0.0, math.inf)
MOST_FREEDOM = 1e6  # beyond it Student's t is the normal distribution to six digits
FEWEST_BOTH_CLASSES = 0.5  # share of the resamples; below it an AUC interval would describe only a lucky selection

Floats = NDArray[np.float64]

SERIES: dict[str, Callable[[Floats, Floats], Floats]] = {  # per-sample series whose mean varies as the metric does
    "auc": auc_influence,
    "average_precision": auc_influence,
    "log_loss": log_losses,
    "brier": lambda y, p: (p - y) ** 2,
}


@dataclass(frozen=True)
class Interval:
    """A score on all samples and its 95 % interval."""

    value: float
    low: float
    high: float
    freedom: float = math.inf  # degrees of freedom of Student's t in its width; infinite: the normal distribution

    def covers(self, value: float) -> bool:
        return self.low <= value <= self.high

    def recorded(self, low: float | None, high: float | None) -> Interval:
        """Returns the score with the ends that its trial recorded, so that all tables agree; itself without both."""
        if low is None or high is None or math.isnan(low) or math.isnan(high):
            return self
        return replace(self, low=float(low), high=float(high))

    def at_once(self, looks: int) -> Interval:
        """Returns the interval that holds for `looks` such numbers at once (Bonferroni), scaling each side separately.

        The best of 30 trials that were as good as the baseline looked clearly better in 25 of 100 simulated searches;
        with this interval in 1 or 2. If the trials have nothing in common, in 2 or 3; in 6, were it scaled by normal
        quantiles (250 and 500 days: 12 and 22 blocks).
        """
        from scipy.special import stdtrit  # here, not above: importing the types does not need it

        freedom = min(self.freedom, MOST_FREEDOM)
        wider = float(stdtrit(freedom, 1 - (1 - LEVEL) / 2 / looks) / stdtrit(freedom, (1 + LEVEL) / 2))
        low, high = self.value - wider * (self.value - self.low), self.value + wider * (self.high - self.value)
        return replace(self, low=low, high=high)


@dataclass(frozen=True)
class Scores:
    """All scores of a vector of probabilities, with intervals, and the counts behind them."""

    n: int
    n_pos: int
    n_effective: float  # number of independent samples with an equally wide AUC interval
    block: float  # mean number of days drawn together
    rate: float  # share of days flagged for precision and recall
    n_flagged: int
    n_hit: int  # flagged and positive
    auc: Interval
    log_loss: Interval
    brier: Interval
    average_precision: Interval
    precision: Interval
    recall: Interval
    calibration_error: Interval  # see `calibration_interval`: includes zero unless chance cannot explain the error
    calibration_limit: float  # 95 % quantile of the error of a calibrated forecaster


@dataclass(frozen=True)
class Difference:
    """A paired comparison: first minus second on the same samples, in the same resamples."""

    metric: str
    first: float
    second: float
    interval: Interval
    n: int
    block: float

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return not self.interval.covers(0.0)


def auc_interval(y: ArrayLike, p: ArrayLike, horizon: int, seed: int, n: int = 500) -> tuple[float, float]:
    """Returns the 95 % interval of the AUC, fast enough for the end of every trial (about 0.05 s for 600 samples).

    y, p: labels 0/1 and probabilities (or logits), N in time order; horizon in trading days; n resamples.
    Raises TooFewSamples if one class is missing in more than half of the resamples.
    """
    y_N, p_N = checked_labels(y, p)
    influence = auc_influence(y_N, p_N)
    block = block_length(influence, horizon)
    drawn = auc(y_N, p_N, resample(len(y_N), block, seed, n))
    interval = percentiles("auc", auc(y_N, p_N, None)[0], drawn, widening(influence, block))
    return interval.low, interval.high


def measure(
    y: ArrayLike, p: ArrayLike, horizon: int, seed: int = 0, n: int = RESAMPLES, rate: float | None = None
) -> Scores:
    """Returns all scores of one vector of probabilities with their intervals.

    y, p: labels 0/1 and probabilities in [0, 1], N in time order; horizon in trading days; rate: the share of days to
    flag for precision and recall (default: the base rate). All metrics use the same resamples.
    Raises TooFewSamples for a single class or fewer than two horizons of samples.
    """
    y_N, p_N = checked_labels(y, p)
    rate = float(y_N.mean()) if rate is None else rate
    if not 0 < rate <= 1:
        raise ValueError(f"rate is the share of days to flag and lies in (0, 1], got {rate}")
    influence, losses = auc_influence(y_N, p_N), log_losses(y_N, p_N)
    block = max(block_length(series, horizon) for series in (influence, losses))
    weights = resample(len(y_N), block, seed, n)
    metrics: dict[str, Metric] = {
        **METRICS,
        "precision": partial(precision_at, rate=rate),
        "recall": partial(recall_at, rate=rate),
    }
    wider = {name: widening(series(y_N, p_N), block) for name, series in SERIES.items()}
    found = {
        name: percentiles(name, metric(y_N, p_N, None)[0], metric(y_N, p_N, weights), wider.get(name, wider["auc"]))
        for name, metric in metrics.items()
    }
    n_flagged = round(rate * len(y_N))
    found["calibration_error"], limit = calibration_interval(y_N, p_N, weights, widening(y_N - p_N, block))
    return Scores(
        n=len(y_N),
        n_pos=int(y_N.sum()),
        n_effective=effective_size(influence, block),
        block=block,
        rate=rate,
        n_flagged=n_flagged,
        n_hit=round(found["precision"].value * n_flagged),
        calibration_limit=limit,
        **found,
    )


def calibration_interval(y: Floats, p: Floats, weights: Floats, wider: float) -> tuple[Interval, float]:
    """Returns the 95 % interval of the expected calibration error, and the 95 % quantile for a calibrated forecaster.

    A mean of distances is never below zero, so chance alone makes it large, and resamples contain that chance twice:
    their percentiles never contain the truth of a calibrated forecaster. So the lower end is reflected at the value,
    and is zero if the value is no larger than the noise (`calibration_noise`). On simulated days (5 kinds, with and
    without overlap) that covered the truth in 91-100 %, percentiles did in 0-98 %.
    """
    value = float(expected_calibration_error(y, p, None)[0])
    plain = percentiles("calibration_error", value, expected_calibration_error(y, p, weights), wider)
    limit = float(np.quantile(calibration_noise(y, p, weights), LEVEL)) * wider
    low = 0.0 if value <= limit else max(0.0, 2 * value - plain.high)
    return Interval(value, low, plain.high), limit


def compare(
    y: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    horizon: int,
    metric: str = "auc",
    seed: int = 0,
    n: int = RESAMPLES,
) -> Difference:
    """Returns first minus second in `metric` on the same N samples, with its interval.

    metric: auc, log_loss, brier or average_precision; labels and vectors as in `measure`. Pairing removes what both
    vectors share (a hard year is hard for both), so this interval is narrower than two separate ones suggest.
    Raises ValueError if the vectors differ in length or the metric is unknown.
    """
    if metric not in METRICS:
        raise ValueError(f"no paired comparison for {metric!r}; choose one of {', '.join(METRICS)}")
    y_N, a_N = checked_labels(y, first)
    _, b_N = checked_pair(y, second)
    series = SERIES[metric]
    apart = series(y_N, a_N) - series(y_N, b_N)
    block = block_length(apart, horizon)
    weights = resample(len(y_N), block, seed, n)
    score = METRICS[metric]
    value_a, value_b = float(score(y_N, a_N, None)[0]), float(score(y_N, b_N, None)[0])
    drawn = score(y_N, a_N, weights) - score(y_N, b_N, weights)
    interval = percentiles(
        f"difference in {metric}", value_a - value_b, drawn, widening(apart, block), freedom_of(len(y_N), block)
    )
    return Difference(metric, value_a, value_b, interval, len(y_N), block)


def resample(n_samples: int, block: float, seed: int, n: int = RESAMPLES) -> Floats:
    """Returns weights_RN: how often each of N samples is in each of n resamples; rows sum to N. A function of seed.

    Read-only and cached: the scores of one page use few different ones; the newest four are kept.
    """
    return _resampled(n_samples, max(1, round(block)), seed, n)


@functools.lru_cache(maxsize=4)
def _resampled(n_samples: int, block: int, seed: int, n: int) -> Floats:
    from arch.bootstrap import StationaryBootstrap  # see block_length

    bootstrap = StationaryBootstrap(block, np.arange(n_samples), seed=np.random.default_rng(seed))
    weights = np.empty((n, n_samples))
    for row, (drawn, _) in enumerate(bootstrap.bootstrap(n)):
        weights[row] = np.bincount(drawn[0], minlength=n_samples)
    weights.flags.writeable = False
    return weights


def checked_labels(y: ArrayLike, p: ArrayLike) -> tuple[Floats, Floats]:
    """Like `checked_pair`, and requires both classes. Raises TooFewSamples if all labels are equal or missing."""
    y_N, p_N = checked_pair(y, p)
    if not len(y_N) or y_N.min() == y_N.max():
        why = f"all {len(y_N)} labels are {y_N[0]:.0f}" if len(y_N) else "there are no labels"
        raise TooFewSamples(f"{why}: nothing can be ranked")
    return y_N, p_N


def percentiles(name: str, value: float, drawn: Floats, wider: float, freedom: float = math.inf) -> Interval:
    """Returns the 95 % interval from resampled values, each end moved to `wider` times its distance from the value."""
    usable = drawn[np.isfinite(drawn)]
    if len(usable) < FEWEST_BOTH_CLASSES * len(drawn):
        raise TooFewSamples(
            f"{name}: only {len(usable)} of {len(drawn)} resamples hold both classes, so there is no interval to give"
        )
    low, high = np.quantile(usable, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    least, most = RANGES.get(name, (-math.inf, math.inf))
    return Interval(
        float(value),
        float(max(least, value - wider * (value - low))),
        float(min(most, value + wider * (high - value))),
        freedom,
    )
