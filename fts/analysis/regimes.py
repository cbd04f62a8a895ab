"""Asks whether what holds on all validation days holds in each year, and in calm and in nervous markets.

A regime is a third of the days by the VIX of the day where it covers them, else by the volatility of the twenty days
before (both known on the day), or a calendar year. The
resamples are those of all days, cut to a regime, so that intervals keep how days hang together.
"""

# shapes: T days of prices, N predicted days, R resamples

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fts.scores.dependence import LEVEL, TooFewSamples, block_length
from fts.scores.intervals import Interval, resample
from fts.scores.metrics import auc

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fts.analysis.study_data import StudyData
    from fts.analysis.summarise import CellSummary, Group

COVERED = 2 / 3  # of the days, from which the VIX decides; days without it belong to no third
DAYS = 20  # of returns that a day's volatility is measured on
THIRDS = ("calm", "middling", "nervous")
FEWEST = 15  # days of each class in a regime: below, an AUC says nothing
RESAMPLES = 500
HEAD = ["regime", "days", "AUC", "minus the baseline"]
NOTE = (
    "AUC of each winner, and its difference to the strongest baseline on the same days, in parts of the validation "
    "days: thirds by the VIX where it covers two thirds of them, else by the volatility of the "
    f"{DAYS} days before (the title says which), and calendar years. The intervals (95 %) are those of "
    "one regime alone: of many regimes some differ by luck. Regimes with fewer than "
    f"{FEWEST} days of either class are left out."
)


@dataclass(frozen=True)
class Regime:
    """A model in a part of its days."""

    name: str  # calm | 2014 ...
    n: int
    n_pos: int
    auc: float
    gain: Interval | None  # in AUC over the baseline; None: there is none on these days


def volatility(prices: pd.DataFrame) -> pd.Series:
    """Standard deviation of the log returns of the DAYS days up to and including each day."""
    returns = pd.Series(np.log(prices["Close"].to_numpy(float)), index=prices.index).diff()
    return returns.rolling(DAYS).std()


def regimes(
    y_N: np.ndarray,
    p_N: np.ndarray,
    rival_N: np.ndarray | None,
    days: pd.DatetimeIndex,
    volatility_N: np.ndarray,
    horizon: int,
    seed: int = 0,
) -> list[Regime]:
    """Thirds by volatility, then years. All arrays are of the same N days in time order. Raises TooFewSamples."""
    weights_RN = resample(len(y_N), block_length(y_N, horizon), seed, RESAMPLES)
    found = []
    for name, member in _parts(days, volatility_N):
        n_pos = int(y_N[member].sum())
        if min(n_pos, member.sum() - n_pos) < FEWEST:
            continue
        gain = None
        y, p, weights = y_N[member], p_N[member], weights_RN[:, member]
        if rival_N is not None:
            value = float(auc(y, p, None)[0] - auc(y, rival_N[member], None)[0])
            with np.errstate(divide="ignore", invalid="ignore"):  # a resample may hold one class alone
                drawn = auc(y, p, weights) - auc(y, rival_N[member], weights)
            low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            gain = Interval(value, float(low), float(high))
        found.append(Regime(name, int(member.sum()), n_pos, float(auc(y, p, None)[0]), gain))
    return found


def _parts(days: pd.DatetimeIndex, volatility_N: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    edges = np.nanquantile(volatility_N, [1 / 3, 2 / 3]) if np.isfinite(volatility_N).any() else np.full(2, np.nan)
    third_N = np.where(np.isfinite(volatility_N), np.digitize(volatility_N, edges), -1)
    for n, name in enumerate(THIRDS):
        yield name, third_N == n
    for year in sorted(set(days.year)):
        yield str(year), days.year.to_numpy() == year


def nervousness(study: StudyData, prices: pd.DataFrame, days: pd.DatetimeIndex) -> tuple[str, np.ndarray]:
    """What the thirds go by, in words, and its value on each of the days; NaN where it is not known."""
    if study.vix is not None and len(days):
        vix_N = study.vix.reindex(days).to_numpy(float)
        known = int(np.isfinite(vix_N).sum())
        if known >= COVERED * len(days):
            return f"by the VIX, known on {known} of {len(days)} days", vix_N
    return f"by the volatility of {DAYS} days", volatility(prices).reindex(days).to_numpy(float)


def of_cell(study: StudyData, cell: CellSummary) -> tuple[str, list[Regime]]:
    """What the thirds go by; no regime without predictions and prices of days that carry an interval."""
    prices = study.prices.get(str((cell.best or {}).get("data_md5")))
    if cell.predictions is None or prices is None:
        return "", []
    days = pd.DatetimeIndex(cell.predictions["date"])
    by, known = nervousness(study, prices, days)
    rival = None if cell.baseline is None else cell.baseline.on(days.to_numpy().astype("datetime64[D]"))
    y, p = cell.predictions["y"].to_numpy(float), cell.predictions["p"].to_numpy(float)
    try:
        return by, regimes(y, p, rival, days, known, cell.horizon)
    except TooFewSamples:
        return by, []


def section(study: StudyData, groups: tuple[Group, ...]) -> dict[str, Any]:
    """As fts.analysis.sections wants it."""
    tables: list[dict[str, Any]] = []
    for group in groups:
        for cell in group.cells:
            by, found = of_cell(study, cell)
            rows = [_row(cell, regime) for regime in found]
            if rows:
                title = f"{cell.budget} at h{cell.horizon}" + (f" ({group.task})" if len(groups) > 1 else "")
                title += f", thirds {by}"
                tables.append({"title": title, "rows": [HEAD, *rows], "names": 1, "folded": True})
    return {"id": "regimes", "nav": "regimes", "title": "In which markets?", "note": NOTE, "tables": tables}


def _row(cell: CellSummary, regime: Regime) -> list[tuple[str, str, str]]:
    gain, rival = "—", ""
    if regime.gain is not None and cell.baseline is not None:
        told = regime.gain
        gain = f"{told.value:+.3f} [{told.low:+.3f}, {told.high:+.3f}]".replace("-", "−")
        rival = cell.baseline.result.name
    return [
        (regime.name, "", ""),
        (str(regime.n), f"{regime.n_pos} with the rise", ""),
        (f"{regime.auc:.3f}", "", ""),
        (gain, rival, ""),
    ]
