"""Computes how good the best of n trials without skill looks, so that luck is not mistaken for skill.

Fifty blind searches on one validation set end with a best AUC above one half. How far above is simulated on the actual
labels: the actual predictions are cut into blocks of days and put in random order, which keeps how slowly they change
and removes what they know. The analytic counterpart is Bailey and Lopez de Prado's expected maximum (2014, Journal of
Portfolio Management 40, 94-107), and `deflated` is their idea: the best score minus the expected gain by luck.
"""

# shapes: N samples in time order, R simulations

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fts.scores.dependence import block_length
from fts.scores.intervals import checked_labels
from fts.scores.metrics import auc

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SIMULATIONS = 2000
EULER = 0.5772156649015329


@dataclass(frozen=True)
class NoSkillSearch:
    """Results of n trials without skill, and the observed result. All values are AUCs on the same labels."""

    n_trials: int
    sd: float  # of one no-skill trial's AUC around 0.5
    expected_best: float  # mean of the best of n no-skill trials, simulated
    expected_best_formula: float  # the same by the normal approximation
    luck_limit: float  # 95 % of no-skill searches stay below it
    observed: float
    deflated: float  # observed - (expected_best - 0.5)
    p_value: float  # chance that the best of n no-skill trials reaches the observed value

    @property
    def beyond_luck(self) -> bool:
        return self.observed > self.luck_limit

    @property
    def p_told(self) -> str:
        """Formats `p 0.031`, or `p < 0.015` if no simulation reached it: then only a bound is known."""
        floor = 1 - (1 - 1 / (1 + SIMULATIONS)) ** self.n_trials
        if self.p_value <= floor * (1 + 1e-9):
            return f"p < {math.ceil(floor * 1000) / 1000:.3f}"
        return f"p {self.p_value:.3f}"


def no_skill_search(
    y: ArrayLike, p: ArrayLike, n_trials: int, horizon: int, seed: int = 0, n: int = SIMULATIONS
) -> NoSkillSearch:
    """Returns how far the best of `n_trials` blind trials would come on these labels.

    y, p: labels 0/1 and the best trial's probabilities, N in time order; horizon in trading days. Trials count as
    independent, which real searches are not: the expected best is an upper bound, the deflated value a lower one.
    Raises TooFewSamples for a single class.
    """
    if n_trials < 1:
        raise ValueError(f"a search has at least one trial, got {n_trials}")
    y_N, p_N = checked_labels(y, p)
    null_R = np.sort(null_aucs(y_N, p_N, _kept_together(p_N, horizon), seed, n))
    sd = float(null_R.std())
    observed = float(auc(y_N, p_N, None)[0])
    best = _expected_maximum(null_R, n_trials)
    return NoSkillSearch(
        n_trials=n_trials,
        sd=sd,
        expected_best=best,
        expected_best_formula=0.5 + sd * expected_maximum_normal(n_trials),
        luck_limit=float(np.quantile(null_R, 0.95 ** (1 / n_trials))),
        observed=observed,
        deflated=observed - (best - 0.5),
        p_value=float(1 - (1 - (1 + np.count_nonzero(null_R >= observed)) / (1 + n)) ** n_trials),
    )


def _kept_together(p: NDArray[np.float64], horizon: int) -> float:
    """Returns the days per block: twice an interval's, because shuffling cuts dependence, and at most a quarter of all.

    On simulated years without skill and with moods that last for months (AR .97) single blocks called 8 in 100 better
    than luck, double ones 6.
    """
    block = block_length(p, horizon)
    return max(block, min(2 * block, len(p) / 4))


def null_aucs(
    y: NDArray[np.float64], p: NDArray[np.float64], block: float, seed: int, n: int = SIMULATIONS
) -> NDArray[np.float64]:
    """Returns AUCs of n block-shuffled copies of p against the unchanged labels, R."""
    from arch.bootstrap import StationaryBootstrap  # here, not above: 2 s of imports
    from scipy.stats import rankdata

    bootstrap = StationaryBootstrap(max(1, round(block)), p, seed=np.random.default_rng(seed))
    drawn_RN = np.stack([drawn[0] for drawn, _ in bootstrap.bootstrap(n)])
    ranks_RN = rankdata(drawn_RN, axis=1)
    n_pos = y.sum()
    aucs_R: NDArray[np.float64] = (ranks_RN @ y - n_pos * (n_pos + 1) / 2) / (n_pos * (len(y) - n_pos))
    return aucs_R


def expected_maximum_normal(n_trials: int) -> float:
    """Mean of the largest of n standard normals: (1 - g) Q(1 - 1/n) + g Q(1 - 1/(n e)), g Euler's constant."""
    from scipy.special import ndtri

    if n_trials == 1:
        return 0.0
    return float((1 - EULER) * ndtri(1 - 1 / n_trials) + EULER * ndtri(1 - 1 / (n_trials * math.e)))


def _expected_maximum(sorted_draws: NDArray[np.float64], n_trials: int) -> float:
    """Exact mean of the largest of n draws from the simulated distribution."""
    share = np.arange(len(sorted_draws) + 1) / len(sorted_draws)
    return float(sorted_draws @ np.diff(share**n_trials))
