"""Compares a model with volatility forecasts: does it know more than how much prices move?

The rivals are the strongest forecasts on the same days, by AUC and by log loss, so their luck counts against the
model. Intervals hold for all compared models at once, as in the other comparisons of the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fts.analysis.baselines import PRIOR, best_baseline
from fts.analysis.reality_check import FEWEST_DAYS, superior_p
from fts.analysis.volatility import FORECASTS
from fts.scores.dependence import TooFewSamples
from fts.scores.intervals import Difference, Interval, compare
from fts.scores.metrics import log_losses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fts.analysis.study_data import BaselineRow


@dataclass(frozen=True)
class BeyondVolatility:
    """One model and the volatility forecasts of its days."""

    forecast: BaselineRow  # with the highest AUC
    auc_gain: Difference  # model minus that forecast, paired
    lowest: BaselineRow  # with the lowest log loss
    loss_gain: Difference  # below 0: the model is better
    looks: int  # number of compared models
    superior_p: float | None = None  # of any trial of the cell, by log loss against `lowest`

    @property
    def auc_at_once(self) -> Interval:
        return self.auc_gain.interval.at_once(self.looks)

    @property
    def loss_at_once(self) -> Interval:
        return self.loss_gain.interval.at_once(self.looks)

    @property
    def verdict(self) -> str:
        """Returns above | below | open, by AUC."""
        gain = self.auc_at_once
        return "open" if gain.covers(0.0) else "above" if gain.value > 0 else "below"


def is_forecast(row: BaselineRow) -> bool:
    """Whether a baseline is a volatility forecast."""
    return row.result.name in FORECASTS


def beyond_volatility(
    y: NDArray[np.float64],
    p: NDArray[np.float64],
    dates: NDArray[np.datetime64],
    rivals: Iterable[BaselineRow],
    horizon: int,
    looks: int,
    seed: int = 0,
    losses_NM: NDArray[np.float64] | None = None,
) -> BeyondVolatility | None:
    """Compares a model's probabilities p; losses_NM: daily log losses of all trials among which it was chosen.

    Returns None without a forecast for all of the days, or if the days do not allow an interval.
    """
    known = {row: theirs for row in rivals if is_forecast(row) and (theirs := row.on(dates)) is not None}
    if not known:
        return None
    by_auc, by_loss = (_strongest(known, by) for by in ("auc", "loss"))
    try:
        auc_gain = compare(y, p, known[by_auc], horizon, "auc", seed)
        loss_gain = compare(y, p, known[by_loss], horizon, "log_loss", seed)
    except TooFewSamples:
        return None
    p_value = None
    if losses_NM is not None and losses_NM.shape[1] and len(y) >= FEWEST_DAYS:
        p_value = superior_p(losses_NM, log_losses(y, known[by_loss]), horizon, seed)
    return BeyondVolatility(by_auc, auc_gain, by_loss, loss_gain, looks, p_value)


def strongest_learner(rows: Iterable[BaselineRow], seed: int = 0) -> tuple[BaselineRow, BeyondVolatility] | None:
    """Returns the best baseline by AUC that is not a volatility forecast, and its comparison with the forecasts.

    rows: of one question. The interval holds for all such baselines at once, because it was chosen among them.
    """
    rows = list(rows)
    learners = [row for row in rows if not is_forecast(row) and row.result.name != PRIOR]
    if not learners:
        return None
    best = _strongest(learners, "auc")
    if best.y is None:
        return None
    p = best.result.predictions.astype(np.float64)
    found = beyond_volatility(best.y, p, best.dates, rows, best.horizon, len(learners), seed)
    return None if found is None else (best, found)


def _strongest(rows: Iterable[BaselineRow], by: str) -> BaselineRow:
    rows = list(rows)
    strongest = best_baseline([row.result for row in rows], by)
    return next(row for row in rows if row.result is strongest)
