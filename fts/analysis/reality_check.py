"""Tests all trials and baselines of a cell together: is any trial better than the best baseline, which may be best?

Two tests on daily log losses in blocks of days, from the `arch` package. Superior predictive ability (Hansen
2005, Journal of Business & Economic Statistics 23, 365-380; White's reality check with better power): if no trial
were better than the baseline, how often would the best of so many come as far? The model confidence set (Hansen, Lunde
and Nason 2011, Econometrica 79, 453-497): the trials and baselines that these days cannot distinguish from the best.
"""

# shapes: N days in time order, M trials, B baselines

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fts.scores.dependence import block_length
from fts.scores.intervals import RESAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.05
MOST_IN_SET = 150  # models in a set: every pair is resampled, and 400 models take 6 GB and minutes
FEWEST_DAYS = 100  # with fewer both tests have little power and reject too often


@dataclass(frozen=True)
class RealityCheck:
    """All of a cell's trials against its baselines, by log loss on the same days."""

    n_trials: int
    n_days: int
    rival: str  # the baseline with the lowest loss
    p_value: float  # of superior predictive ability, consistent
    n_in_set: int | None  # trials in the 95 % model confidence set; None: too many models
    baselines_in_set: tuple[str, ...]

    @property
    def some_trial_is_better(self) -> bool:
        return self.p_value < LEVEL


def reality_check(
    losses_NM: NDArray[np.float64],  # shapes are upper-case suffixes
    baselines: dict[str, NDArray[np.float64]],
    horizon: int,
    seed: int = 0,
) -> RealityCheck | None:
    """losses_NM: daily log losses of each trial; baselines: name -> daily log losses, N; horizon in trading days.

    Returns None if nothing can be compared: no trial, no baseline, or fewer days than FEWEST_DAYS or two horizons.
    """
    n_days, n_trials = losses_NM.shape
    if not n_trials or not baselines or n_days < max(FEWEST_DAYS, 2 * horizon):
        return None
    names = sorted(baselines)
    rivals_NB = np.stack([baselines[name] for name in names], axis=1)
    best = int(rivals_NB.mean(axis=0).argmin())
    best_N = rivals_NB[:, best]
    inside = _confidence_set(np.hstack([losses_NM, rivals_NB]), _block(losses_NM, best_N, horizon), seed)
    return RealityCheck(
        n_trials=n_trials,
        n_days=n_days,
        rival=names[best],
        p_value=superior_p(losses_NM, best_N, horizon, seed),
        n_in_set=None if inside is None else sum(inside[:n_trials]),
        baselines_in_set=tuple(name for name, kept in zip(names, (inside or [])[n_trials:], strict=False) if kept),
    )


def _confidence_set(losses: NDArray[np.float64], block: int, seed: int) -> list[bool] | None:
    """Returns which models (columns) are in the set; None if there are too many."""
    apart, column_of = np.unique(losses, axis=1, return_inverse=True)
    if apart.shape[1] > MOST_IN_SET:
        return None
    kept = {0}  # arch cannot compare models of equal losses, so one represents them
    if apart.shape[1] > 1:
        from arch.bootstrap import MCS  # here, not above: 2 s of imports

        every = MCS(apart, size=LEVEL, reps=RESAMPLES, block_size=block, method="R", seed=seed)
        every.compute()
        kept = set(map(int, np.asarray(every.included, dtype=int)))
    return [int(column) in kept for column in np.ravel(column_of)]


def superior_p(losses_NM: NDArray[np.float64], rival_N: NDArray[np.float64], horizon: int, seed: int = 0) -> float:
    """Returns the consistent p value of superior predictive ability: is any of M trials better than this rival?"""
    from arch.bootstrap import SPA  # see _confidence_set

    losses_NM = losses_NM[:, (losses_NM != rival_N[:, None]).any(axis=0)]
    if not losses_NM.shape[1]:  # a trial that equals the rival has no statistic, and p would be 0 for all of them
        return 1.0
    test = SPA(rival_N, losses_NM, block_size=_block(losses_NM, rival_N, horizon), reps=RESAMPLES, seed=seed)
    test.compute()
    return float(test.pvalues["consistent"])


def _block(losses_NM: NDArray[np.float64], rival_N: NDArray[np.float64], horizon: int) -> int:
    apart_N = losses_NM[:, losses_NM.mean(axis=0).argmin()] - rival_N
    return max(1, round(block_length(apart_N, horizon)))
