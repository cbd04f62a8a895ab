"""Checks whether a result on all validation days holds in each year, and in calm and in nervous markets.

A regime is a calendar year, or a third of the days by the VIX of the day if it covers them, else by the volatility of
the twenty days before (both known on the day). The resamples are those of all days, cut to a regime, so that intervals
keep the dependence of days.
"""

# shapes: T days of prices, N predicted days, R resamples

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.analysis.interval_text import signed
from fts.scores.dependence import LEVEL, TooFewSamples, block_length
from fts.scores.folds import fold_days
from fts.scores.intervals import Interval, resample
from fts.scores.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fts.analysis.study_data import BaselineRow, StudyData
    from fts.analysis.summarise import CellSummary, Group
    from fts.analysis.walked import Walked

COVERED = 2 / 3  # share of days from which the VIX decides; days without it are in no third
DAYS = 20  # number of returns in a day's volatility
THIRDS = ("calm", "middling", "nervous")
FEWEST = 15  # days of each class in a regime; with fewer an AUC is meaningless
RESAMPLES = 500
HEAD = ["regime", "days", "AUC", "minus the baseline"]
NOTE = (
    "AUC of each winner, and its difference to the strongest baseline on the same days, in parts of its days: the days "
    "of walk-forward if it has them (mean over seeds, days of the same fold compared), else the validation "
    "days. Parts are thirds by the VIX if it covers two thirds of the days, else by the volatility of the "
    f"{DAYS} days before (the title says which), and calendar years. The intervals (95 %) include only the luck of the "
    "days of one regime, not of the seed; among many regimes some differ by luck. Regimes with fewer than "
    f"{FEWEST} days of either class are left out."
)


@dataclass(frozen=True)
class Regime:
    """A model's scores in a part of its days."""

    name: str  # calm | 2014 ...
    n: int
    n_pos: int
    auc: float
    gain: Interval | None  # in AUC over the baseline; None without a baseline on these days


def volatility(prices: pd.DataFrame) -> pd.Series:
    """Returns the standard deviation of the log returns of the DAYS days up to and including each day."""
    returns = pd.Series(np.log(prices["Close"].to_numpy(float)), index=prices.index).diff()
    return returns.rolling(DAYS).std()


def regimes(
    y_N: np.ndarray,
    p_SN: Sequence[np.ndarray],
    rival_N: np.ndarray | None,
    days: pd.DatetimeIndex,
    volatility_N: np.ndarray,
    horizon: int,
    folds: int = 1,
) -> list[Regime]:
    """Returns thirds by volatility, then years. All arrays have the same N days in time order. Raises TooFewSamples."""
    weights_RN = resample(len(y_N), block_length(y_N, horizon), 0, RESAMPLES)
    fold_N = np.concatenate([np.full(len(k), n) for n, k in enumerate(fold_days(len(y_N), folds))])
    found = []
    for name, member in _parts(days, volatility_N):
        n_pos = int(y_N[member].sum())
        if min(n_pos, member.sum() - n_pos) < FEWEST:
            continue
        gain = None
        y, weights, fold = y_N[member], weights_RN[:, member], fold_N[member]
        value = _mean_auc(y, [p[member] for p in p_SN], fold)[0]
        if rival_N is not None:
            mine, theirs = [p[member] for p in p_SN], [rival_N[member]]
            apart = value - _mean_auc(y, theirs, fold)[0]
            drawn = _mean_auc(y, mine, fold, weights) - _mean_auc(y, theirs, fold, weights)
            low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            gain = Interval(float(apart), float(low), float(high))
        found.append(Regime(name, int(member.sum()), n_pos, float(value), gain))
    return found


def _mean_auc(
    y_N: np.ndarray, p_SN: Sequence[np.ndarray], fold_N: np.ndarray, weights_RN: np.ndarray | None = None
) -> np.ndarray:
    """Returns R mean AUCs of S trainings over the pairs of days of one fold: each fold has its own model and scale."""
    weights_RN = np.ones((1, len(y_N))) if weights_RN is None else weights_RN
    total_R, pairs_R = np.zeros(len(weights_RN)), np.zeros(len(weights_RN))
    for fold in np.unique(fold_N):
        at = fold_N == fold
        n_R = (weights_RN[:, at] @ y_N[at]) * (weights_RN[:, at] @ (1 - y_N[at]))
        with np.errstate(divide="ignore", invalid="ignore"):  # a fold of a resample may have only one class
            mean_R = np.mean([auc(y_N[at], p[at], weights_RN[:, at]) for p in p_SN], axis=0)
        total_R += np.where(n_R > 0, n_R * mean_R, 0.0)
        pairs_R += n_R
    with np.errstate(divide="ignore", invalid="ignore"):
        found_R: np.ndarray = total_R / pairs_R
    return found_R


def _parts(days: pd.DatetimeIndex, volatility_N: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    edges = np.nanquantile(volatility_N, [1 / 3, 2 / 3]) if np.isfinite(volatility_N).any() else np.full(2, np.nan)
    third_N = np.where(np.isfinite(volatility_N), np.digitize(volatility_N, edges), -1)
    for n, name in enumerate(THIRDS):
        yield name, third_N == n
    for year in sorted(set(days.year)):
        yield str(year), days.year.to_numpy() == year


def nervousness(study: StudyData, prices: pd.DataFrame, days: pd.DatetimeIndex) -> tuple[str, np.ndarray]:
    """Says what the thirds are based on, and returns its value on each of the days; NaN if unknown."""
    if study.vix is not None and len(days):
        vix_N = study.vix.reindex(days).to_numpy(float)
        known = int(np.isfinite(vix_N).sum())
        if known >= COVERED * len(days):
            return f"by the VIX, known on {known} of {len(days)} days", vix_N
    return f"by the volatility of {DAYS} days", volatility(prices).reindex(days).to_numpy(float)


def of_cell(study: StudyData, cell: CellSummary, walk: Walked | None = None) -> tuple[str, list[Regime]]:
    """Returns a title and the regimes; no regime without predictions and prices of enough days for an interval.

    Uses the days of the walk if there is one.
    """
    prices = study.prices.get(str((cell.best or {}).get("data_md5")))
    if prices is None or (walk is None and cell.predictions is None):
        return "", []
    if walk is not None:
        dates, y, p_SN, folds = walk.row.dates, walk.row.y, walk.row.p_SN, walk.row.folds
    else:
        assert cell.predictions is not None, "has been looked at"
        dates, folds = cell.predictions["date"].to_numpy().astype("datetime64[D]"), 1
        y, p_SN = cell.predictions["y"].to_numpy(float), (cell.predictions["p"].to_numpy(float),)
    days, rival = pd.DatetimeIndex(dates), _rival(cell, walk)
    by, known = nervousness(study, prices, days)
    by = f"{len(days)} days{'' if walk is None else ' of walk-forward'}, thirds {by}"
    try:
        return by, regimes(y, p_SN, None if rival is None else rival.on(dates), days, known, cell.horizon, folds)
    except TooFewSamples:
        return by, []


def _rival(cell: CellSummary, walk: Walked | None) -> BaselineRow | None:
    if walk is None:
        return cell.baseline
    return None if walk.baseline is None else walk.baseline.rival


def section(study: StudyData, groups: tuple[Group, ...], walks: Sequence[Walked] = ()) -> dict[str, Any]:
    """Returns a section for fts.analysis.sections."""
    tables: list[dict[str, Any]] = []
    walk_of = {walk.row.experiment: walk for walk in walks}
    for group in groups:
        for cell in group.cells:
            walk = walk_of.get(cell.experiment)
            by, found = of_cell(study, cell, walk)
            rows = [_row(_rival(cell, walk), regime) for regime in found]
            if rows:
                title = f"{cell.budget} at h{cell.horizon}" + (f" ({group.task})" if len(groups) > 1 else "")
                title += f", {by}"
                tables.append({"title": title, "rows": [HEAD, *rows], "names": 1, "folded": True})
    return {"id": "regimes", "nav": "regimes", "title": "In which markets?", "note": NOTE, "tables": tables}


def _row(rival: BaselineRow | None, regime: Regime) -> list[tuple[str, str, str]]:
    beside = ("—", "", "")
    if regime.gain is not None and rival is not None:
        beside = (signed(regime.gain), rival.result.name, "")
    return [
        (regime.name, "", ""),
        (str(regime.n), f"{regime.n_pos} with the rise", ""),
        (f"{regime.auc:.3f}", "", ""),
        beside,
    ]
